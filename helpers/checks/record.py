"""Record what has to come out of the cases, from the shelf.

    python -m helpers.checks.record [attention ...]

Support code. Without names it records all lessons. tests/test_answers.py
proves that what is recorded is what the shelf, and torch, compute.
"""

import sys

import numpy as np

from helpers.checks import answers
from helpers.checks.blanks import adapt
from helpers.checks.cases import RECORDED, cast, find_cases, with_cases
from helpers.checks.inspection import Trial, run_backward, run_forward
from helpers.checks.lessons import shelf


def record(lesson, names, seed=None):
    """Return {function: {title: what has to come}} for a lesson."""
    found = {}
    for name in names:
        cases = [c for c in find_cases(lesson, name, seed) if is_recorded(c)]
        found[name] = {c.title: compute(lesson, name, c) for c in cases}
    return {name: kept for name, kept in found.items() if kept}


def is_recorded(case):
    """Say whether what has to come of a case is not said by itself."""
    return case.kind != "refusal" and case.expected is RECORDED


def compute(lesson, name, case):
    """Return what the shelf's function returns in a case, in float64."""
    case.arguments = cast(case.arguments, np.float64)
    case.settings = cast(case.settings, np.float64)
    function = find(lesson, name)
    if case.kind == "value":
        function = adapt(name, function, case)
        return function(*case.arguments, **case.settings)
    pair = function, find(lesson, f"{name}_backward")
    op, op_backward = case.use(*pair) if case.use else pair
    given = list(case.arguments), case.settings, np.float64, 0, None
    trial = Trial(op, op_backward, *given, case.in_place)
    out, cache = run_forward(trial)
    grads = run_backward(trial, trial.draw_dout(out), cache)
    return {"out": out, "grads": grads}


def find(lesson, name):
    """Return a function of the shelf; of a method, the class."""
    return shelf(lesson)[name.partition(".")[0]]


def main(names):
    """Write the answers of some lessons, or of all; say how large."""
    for lesson, functions in with_cases().items():
        if not names or lesson in names:
            answers.save(lesson, record(lesson, functions))
            size = (answers.FOLDER / f"{lesson}.npz").stat().st_size
            print(f"{lesson}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
