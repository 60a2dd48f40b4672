"""Stand before the real torch on the path, as if it were not installed."""

raise ModuleNotFoundError("No module named 'torch'", name="torch")
