"""The shelf: what the notebooks build, one module a notebook."""

from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
SHIPPED = "tinystories"  # the run in data/runs that comes with the workbook
