"""The usual mistakes in a function, as formulas, one module a lesson.

Support code, for diagnosis.py. A module has, under the name of a function
that a learner writes, a generator that yields pairs: a clause that goes on
after the name of the array ("out lacks the division by the square root of
D"), and the array that this mistake gives. One for a forward gets the
arguments of the forward; one for a backward gets dout before them, and
yields the first gradient that is wrong, or a dict such as {"dk": ..., "dv":
...} to say that all of these are so. A clause is said only if the learner's
array equals the one yielded to seven digits, and no other clause's does.
"""

import contextlib
import importlib
import importlib.util
import re

from helpers.checks.lessons import LESSONS
from helpers.checks.verdicts import equal


def find(function):
    """Return the generator of the wrong formulas of a function, or None."""
    return next(find_all(function), None)


def find_all(function):
    """Yield the generators of all lessons that know a function's name."""
    for lesson in LESSONS:
        name = f"helpers.checks.causes.{lesson}"
        if importlib.util.find_spec(name):
            found = vars(importlib.import_module(name))
            generator = found.get(re.sub(r"\W", "_", function))
            if getattr(generator, "__module__", None) == name:
                yield generator


def list_formulas(context):
    """Return pairs of a clause and its result; [] for an unknown function."""
    is_out = context.name in ("out", "result")
    arguments = context.arguments if is_out else (context.dout,)
    arguments += () if is_out else context.arguments
    for generator in find_all(context.function):
        # two lessons may have an exercise of one name: other arguments
        with contextlib.suppress(Exception):
            return list(generator(*arguments, **context.settings))
    return []


def find_formula(context):
    """Return the clause of the one wrong formula that gives what was got.

    helpers/checks/causes/<lesson>.py has, under the name of a function, one
    that yields (clause, result) for the usual mistakes in it.
    """
    found = {}  # clause: how many arrays speak for it
    for clause, result in list_formulas(context):
        if context.name == "result" or not isinstance(result, dict):
            result = {context.name: result}
        if context.name in result and all(
            equal(context.got[name], array) for name, array in result.items()
        ):
            found[clause] = max(len(result), found.get(clause, 0))
    best = [c for c, n in found.items() if n == max(found.values())]
    return best[0] if len(best) == 1 else None
