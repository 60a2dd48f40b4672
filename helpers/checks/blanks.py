"""Check a function on fixed calls: check(softmax).

Support code, for the line below each function that a learner writes. The
calls stand in helpers/checks/cases, what has to come in helpers/checks/
answers; neither torch nor the learner's other functions have a say.
"""

import copy
import dis

import numpy as np

from helpers.checks import answers, gradients
from helpers.checks.cases import RECORDED, cast, find_cases, has_floats
from helpers.checks.inspection import (
    FLOAT64,
    Trial,
    call,
    changed_in_place,
    explain_result,
    inspect_pair,
    name_changed,
)
from helpers.checks.lessons import judge_alone, lesson_of, namespace_of
from helpers.checks.verdicts import (
    TOLERANCE,
    Mistake,
    compare,
    say,
    to_mistake,
)


def check(*functions):
    """Print for each function that it is right, and what it was tried on.

    A backward is tried together with its forward. Raises Mistake with one
    sentence on the first thing that is wrong, ValueError for a function that
    no lesson asks for.
    """
    for function in functions:
        say(check_one(function), right=True)


def check_one(function):
    """Return the line on a function that is right; raise Mistake if not."""
    forward = find_forward(function)
    lesson, name = lesson_of(function), forward.__qualname__
    pair = (function,) if forward is function else (forward, function)
    kinds = ("pair",) if len(pair) > 1 else ("pair", "value", "refusal")
    titles = [c.title for c in find_cases(lesson, name) if c.kind in kinds]
    if not titles:
        raise ValueError(f"check knows no cases of {function.__qualname__}")

    def judge(*pair):
        for dtype in TOLERANCE:
            for case in find_cases(lesson, name):
                if case.kind in kinds:
                    try_case(lesson, name, pair, case, dtype)

    with gradients.recorded(pair[0], pair[-1], "right"):
        judge_alone(pair, judge)
    number = f"{len(titles)} cases" if len(titles) > 1 else "one case"
    return f"{function.__qualname__}: right in {number}: {', '.join(titles)}"


def find_forward(function):
    """Return the forward of a backward; of anything else, itself."""
    name = function.__qualname__
    forward = name.removesuffix("_backward")
    if forward == name or "." in name:
        return function
    if forward not in namespace_of(function):
        raise NotImplementedError(f"write {forward}, then {name}")
    return namespace_of(function)[forward]


def try_case(lesson, name, pair, case, dtype):
    """Raise Mistake if a function or pair fails a case in one dtype."""
    if dtype is np.float32 and not has_floats(case):
        return
    expected = case.expected
    if expected is RECORDED and case.kind != "refusal":
        expected = answers.load(lesson)[name][case.title]
    case.arguments = cast(case.arguments, dtype)
    case.settings = cast(case.settings, dtype)
    try:
        TRY[case.kind](name, pair, case, expected, dtype)
    except Mistake as mistake:
        if not mistake.name.startswith(name):
            backward = len(pair) > 1 and mistake.name != "out"
            function = f"{name}_backward" if backward else name
            mistake.where = f"{function} with {case.title}: "
        elif mistake.kind != "refusal":
            mistake.when = f" with {case.title}"
        raise


# one case


class RecordedAnswer:
    """Hold what has to come out of a pair."""

    def __init__(self, expected):
        self.out, self.kept = expected["out"], expected["grads"]

    def grads(self, dout):
        """Return the gradients of the one dout that all cases share."""
        return self.kept


def try_pair(name, pair, case, expected, dtype):
    """Look at a forward, and at its backward if that is asked."""
    op, op_backward = pair if len(pair) == 2 else (*pair, None)
    if case.use:
        op, adapted = case.use(op, op_backward)
        op_backward = op_backward and adapted
    trial = Trial(
        op,
        op_backward,
        list(case.arguments),
        case.settings,
        dtype,
        TOLERANCE[dtype],
        RecordedAnswer(expected),
        case.in_place,
    )
    inspect_pair(trial)


def try_value(name, pair, case, expected, dtype):
    """Compare what a function returns."""
    given = copy.deepcopy((case.arguments, case.settings))
    got = call(adapt(name, pair[0], case), *given[0], **given[1])
    wanted = dtype if has_floats(case) and case.keeps_dtype else None
    try:
        compare("result", got, expected, TOLERANCE[dtype], wanted)
    except Mistake as mistake:
        if mistake.kind == "dtype" and dtype is np.float32:
            mistake.cause = FLOAT64
        mistake.cause = mistake.cause or explain_result(
            name, got, expected, case.arguments, case.settings
        )
        raise
    changed = name_changed(pair[0], case, *given)
    if changed and changed not in case.in_place:
        raise changed_in_place(name, changed)


def adapt(name, function, case):
    """Return a function of the arguments of a case alone."""
    if not case.use:
        return function

    def use(*arguments, **settings):
        return case.use(function, *arguments, **settings)

    use.__name__ = name
    return use


def try_refusal(name, pair, case, expected, dtype):
    """Raise Mistake unless a function raises a ValueError of its own."""
    text = f"does not refuse {case.title}: raise ValueError"
    cause = None
    try:
        adapt(name, pair[0], case)(*case.arguments, **case.settings)
    except NotImplementedError:
        raise
    except ValueError as error:
        if raised_in_words(error):
            return
        cause = f"Python says, later: {' '.join(str(error).split())}"
    except Exception as error:
        cause = to_mistake(error, name).text.replace("raises", "It raises", 1)
    raise Mistake("refusal", name, text, cause)


def raised_in_words(error):
    """Say whether a raise statement made an exception, not NumPy."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    code = trace.tb_frame.f_code.co_code
    return dis.opname[code[trace.tb_lasti]] == "RAISE_VARARGS"


TRY = {"pair": try_pair, "value": try_value, "refusal": try_refusal}
