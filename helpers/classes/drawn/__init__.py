"""What only a grade is made of, one module a lesson.

Support code, for judge.py and sandbox.py. A module such as drawn/attention.py
has generators of cases, as those of helpers/checks/cases are: one for each
exercise at the end of a lesson, and one for each function there that takes
whole numbers or texts, whose cases are the same in every term. What has to
come is in no file: it is computed, of an exercise from the solution that its
lesson publishes.
"""

import importlib
from functools import cache

from helpers.checks import cases, lessons


def find_cases(lesson, function, seed=None):
    """Return all cases of a function: those of its check, then those here."""
    known = cases.find_cases(lesson, function, seed)
    return known + cases.find_cases(lesson, function, seed, __name__)


@cache
def practised(lesson):
    """Return the names of the exercises of a lesson that have cases here."""
    module = importlib.import_module(f"{__name__}.{lesson}")
    here = {
        name
        for name, thing in vars(module).items()
        if getattr(thing, "__module__", None) == module.__name__
        and name[0] != "_"
    }
    return here - lessons.names_in(lesson)
