"""The shelf: what the notebooks build, one module a notebook."""

import logging
import sys
from pathlib import Path

# Matplotlib works in a home that cannot be written to, and says much of it.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

HERE = Path(__file__).resolve().parent
INSTALLED = HERE / "data"  # where pip puts it; a checkout has it beside us
DATA = INSTALLED if INSTALLED.is_dir() else HERE.parent / "data"
SHIPPED = "tinystories"  # the run in data/runs that comes with the workbook
SHIPPED_RUNS = [SHIPPED, "grammar"]  # A5 begins with the second

if sys.platform == "emscripten":
    from helpers.runs import browser

    browser.stand_in()
