"""The shelf: what the notebooks build, one module a notebook."""

import logging
import sys
from importlib import import_module
from pathlib import Path

# Matplotlib works in a home that cannot be written to, and says much of it.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

HERE = Path(__file__).resolve().parent
INSTALLED = HERE / "data"  # where pip puts it; a checkout has it beside us
DATA = INSTALLED if INSTALLED.is_dir() else HERE.parent / "data"
SHIPPED = "tinystories"  # the run in data/runs that comes with the workbook
SHIPPED_RUNS = [SHIPPED, "grammar"]  # A5 begins with the second


def by_name(package, places):
    """Return a __getattr__ that looks names up when they are asked for.

    places: {name: the module of the package that has it}.
    """

    def look_up(name):
        if name not in places:
            raise AttributeError(f"{package} has no {name}")
        return getattr(import_module(f"{package}.{places[name]}"), name)

    return look_up


if sys.platform == "emscripten":
    from helpers.runs import browser

    browser.stand_in()
