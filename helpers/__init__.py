"""The shelf: what the notebooks build, one module a notebook."""

from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
