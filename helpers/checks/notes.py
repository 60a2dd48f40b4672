"""Find the first wrong line of a function, on request.

Support code. In a function under test write, say,

    note(dweights=dweights, dscores=dscores)

and a check that fails says which of these is the first that is wrong: each
is compared with the local variable of that name in the shelf's function, run
on the same inputs. Outside a check note does nothing.
"""

import contextlib
import sys

import numpy as np

from helpers.checks.diagnosis import Context, diagnose
from helpers.checks.verdicts import find_problem

_NOTED = []  # a list for each check that is running, innermost last


def note(**arrays):
    """Keep arrays of a function under test, in this order, for its check."""
    if _NOTED:
        kept = {name: np.array(array) for name, array in arrays.items()}
        _NOTED[-1].extend(kept.items())


@contextlib.contextmanager
def collect():
    """Yield the list into which note writes meanwhile."""
    _NOTED.append([])
    try:
        yield _NOTED[-1]
    finally:
        _NOTED.pop()


def judge(noted, function, arguments, context, tolerance):
    """Return a sentence on the first noted array that is wrong, or None.

    function: the shelf's, which is run on arguments to see its locals.
    """
    if not noted:
        return None
    values, right = watch(function, *arguments), []
    known = [name for name in dict(noted) if name in values]
    for name, got in noted:
        problems = [
            find_problem(name, got, value, tolerance, got.dtype.type)
            for value in values.get(name, [])
        ]
        if problems and all(problems):
            cause = explain(name, got, values[name][-1], context)
            text = problems[-1][2]
            return f"{name} is the first noted that is wrong: it {text}{cause}"
        right += [name] if problems else []
    if not known:
        return f"note knows these names here: {', '.join(values)}"
    return f"As noted, right so far: {', '.join(dict.fromkeys(right))}"


def explain(name, got, expected, context):
    """Return the cause of a wrong intermediate array behind a dot, or ""."""
    guess = Context(
        {name: got},
        {name: expected},
        context.inputs,
        context.integers,
        context.numbers,
        context.dout,
        name,
    )
    with contextlib.suppress(Exception):
        if sentence := diagnose(guess):
            return f". {sentence.removesuffix('.')}"
    return ""


def watch(function, *arguments, **settings):
    """Return {name: [values it had]} of a function's local arrays."""
    values, before = {}, sys.gettrace()

    def keep(frame, event, _):
        for name, value in frame.f_locals.items():
            if isinstance(value, np.ndarray | float):
                seen = values.setdefault(name, [])
                if not any(np.array_equal(value, old) for old in seen):
                    seen.append(np.array(value))
        return keep

    def enter(frame, event, _):
        return keep if frame.f_code is function.__code__ else None

    sys.settrace(enter)
    try:
        function(*arguments, **settings)
    finally:
        sys.settrace(before)
    return values
