"""Prove a hand-written backward pass right, or say what is wrong with it.

Support code, used in every lesson. torch is imported only when a check runs.
"""

import contextlib
import copy
import inspect
import sys
import traceback
from typing import NamedTuple

import numpy as np

from helpers.checks.inspection import (
    Trial,
    call,
    changed_in_place,
    explain_result,
    inspect_pair,
    is_float,
    name_grads,
    name_of,
    run_backward,
    run_forward,
    sort_inputs,
)
from helpers.checks.lessons import (
    judge_alone,
    lesson_of,
    names_in,
)
from helpers.checks.torch_answers import find_answer
from helpers.checks.verdicts import (
    TOLERANCE,
    Mistake,
    compare,
    find_place,
    find_problem,
    relative_error,
    say,
    to_mistake,
    with_mark,
    wrap,
)
from helpers.runs.params import map_arrays

VERDICTS = []  # (function, verdict) of every check made since the import
DIFFERENCES = "Compared with central differences."
LATEST = {}  # {function: Finding}, the last one


class Finding(NamedTuple):
    """What a check found of a function, in a word and in a sentence.

    code: of the function it looked at, which may have been written anew.
    """

    verdict: str
    sentence: str
    code: object


def check_backward(op, op_backward, torch_op, arrays, **settings):
    """Compare op and op_backward with torch_op, in float64 and float32.

    op(*arrays, **settings) must return out, cache; torch_op the same out
    from tensors. arrays is one tuple of float arrays or nested dicts of them
    (both get gradients), integer arrays or other values (passed as they
    are), as for torch.autograd.gradcheck.
    The gradient that flows in is random. torch always computes in float64,
    of numbers that fit float32, so both runs see the same ones. Where it is
    not installed its answer is on file, or central differences stand in,
    which cannot see a mistake in op itself.
    A pair from a notebook runs among the functions of the shelf. Returns a
    Report that prints as a sentence; raises Mistake, an AssertionError that
    names the first thing that is wrong (inspection.py has the order), by how
    much, and the usual cause where the numbers give it away.
    """
    answer = find_answer(torch_op, _cut(arrays), settings)
    if not answer:
        return _without_torch(op, op_backward, arrays, settings)

    def judge(op, op_backward):
        errors = {}
        for dtype, tolerance in TOLERANCE.items():
            inputs = _inputs(answer.inputs, dtype)
            given = inputs, settings, dtype, tolerance, answer
            errors[dtype.__name__] = inspect_pair(
                Trial(op, op_backward, *given)
            )
        return errors

    with recorded(op, op_backward, "matches torch"):
        errors = judge_alone((op, op_backward), judge)
    tolerances = TOLERANCE.values()
    return Report(name_of(op), answer.reference, errors, tolerances)


def _without_torch(op, op_backward, arrays, settings):
    """Compare with central differences what torch has no answer to."""

    def judge(op, op_backward):
        try:
            return check_numerically(op, op_backward, arrays, **settings)
        except Mistake as mistake:
            mistake.cause = mistake.cause or DIFFERENCES
            raise

    with recorded(op, op_backward, "right"):
        return judge_alone((op, op_backward), judge)


def check_numerically(op, op_backward, arrays, samples=40, **settings):
    """Compare op_backward with central differences of op, without torch.

    Nudges up to `samples` random entries of each array by 1e-5 either way,
    in float64. Returns a Report; raises Mistake as check_backward does.
    """
    inputs = _inputs(arrays, np.float64)
    out, dout, grads = _run(op, op_backward, inputs, settings, np.float64)
    got = _name(op, inputs, out, grads)
    values = _name(op, inputs, out, [a for a in inputs if is_float(a)])
    rng = np.random.default_rng(0)
    errors = {}

    def loss():
        return float((op(*inputs, **copy.deepcopy(settings))[0] * dout).sum())

    for name in list(got)[1:]:
        array = values[name]
        if np.shape(got[name]) != array.shape:
            raise Mistake(*find_problem(name, got[name], array, 0, None))
        chosen = rng.permutation(array.size)[:samples]
        slopes = [_slope(loss, array, index) for index in chosen]
        picked = got[name].reshape(-1)[chosen]
        problem = find_problem(name, picked, np.array(slopes), 1e-6, None)
        if problem:
            raise Mistake(*problem)
        errors[name] = relative_error(picked, np.array(slopes))
    return Report(op.__name__, "central differences", {"": errors}, [1e-6])


def try_backward(op, op_backward, torch_op, arrays, **settings):
    """Say in one sentence what check_backward finds; raise nothing."""

    def check():
        report = check_backward(op, op_backward, torch_op, arrays, **settings)
        return f"matches {report.reference}: {report.arrays()}"

    _print_outcome(check)


def try_value(function, expected, *arguments, **settings):
    """Say in one sentence if function(*arguments, **settings) is expected.

    Numbers and arrays are compared to six digits, integers, strings and
    everything else exactly. Raises nothing.
    """

    def check():
        check_value(function, expected, *arguments, **settings)
        return "right"

    _print_outcome(check)


def check_value(function, expected, *arguments, **settings):
    """Raise Mistake unless function(*arguments, **settings) is expected.

    Functions among the arguments are judged with it.
    """

    def judge(function):
        given = copy.deepcopy(arguments)
        got = call(function, *given, **settings)
        try:
            compare("result", got, expected, 1e-6)
        except Mistake as mistake:
            mistake.cause = mistake.cause or explain_result(
                name_of(function), got, expected, arguments, settings
            )
            raise

    with contextlib.ExitStack() as stack:
        for judged in filter(inspect.isfunction, (function, *arguments)):
            stack.enter_context(recorded(judged, judged, "right"))
        judge_alone((function,), judge)


class Report:
    """Hold the relative errors of a check that passed; print a sentence."""

    def __init__(self, name, reference, errors, tolerances):
        self.name, self.reference, self.errors = name, reference, errors
        self.tolerances = tolerances

    def arrays(self):
        """Return the names of what was compared, or how many they are."""
        names = list(next(iter(self.errors.values())))
        if len(names) > 8:
            names = [names[0], f"{len(names) - 1} gradients"]
        return ", ".join(names)

    def __repr__(self):
        kinds = [
            f"{dtype} to {tolerance:.0e}".strip().replace("e-0", "e-")
            for dtype, tolerance in zip(self.errors, self.tolerances)
        ]
        line = (
            f"{self.name} matches {self.reference} "
            f"({', '.join(kinds)}): {self.arrays()}"
        )
        return "\n".join(with_mark(line, True))


@contextlib.contextmanager
def must_fail():
    """Print what a check finds; raise AssertionError if it finds nothing."""
    try:
        yield
    except AssertionError as error:
        say(f"caught: {error}")
    else:
        raise AssertionError("the check did not notice the mistake")


def _inputs(arrays, dtype):
    """Return the arguments of a check in one dtype.

    Raises ValueError if arrays is a single array: it would go row by row.
    """
    if not isinstance(arrays, tuple | list):
        raise ValueError(
            "the arrays of a check come as one tuple, not as a "
            f"{type(arrays).__name__}; a single one as (x,)"
        )
    return [_cast(array, dtype) for array in arrays]


def _cut(arrays):
    """Return the arguments in float64, cut to what float32 can hold."""
    return _inputs(_inputs(arrays, np.float32), np.float64)


def _cast(array, dtype):
    """Copy float arrays, alone or in a tree, to dtype; pass other values."""
    if not is_float(array):
        return array
    return map_arrays(lambda part: np.array(part, dtype), array)


def _run(op, op_backward, inputs, settings, dtype):
    """Return out, a random dout and the list of gradients."""
    trial = Trial(op, op_backward, inputs, settings, dtype, 0, None)
    out, cache = run_forward(trial)
    if trial.changes:
        raise changed_in_place(op, trial.changes)
    dout = trial.draw_dout(out)
    return out, dout, run_backward(trial, dout, cache)


def _name(op, inputs, out, grads):
    """Return {"out": out, "dx": ..., "qkv.weight": ...} for a report."""
    trial = Trial(op, None, inputs, {}, np.float64, 0, None)
    return {"out": out} | name_grads(trial, grads)


def _name_inputs(op, inputs, settings):
    """Return dicts of the float arrays, integer arrays and numbers given."""
    names = inspect.signature(op).parameters
    return sort_inputs(dict(zip(names, inputs)) | settings)


@contextlib.contextmanager
def recorded(forward, backward, success):
    """Put what a check finds of both functions on VERDICTS and LATEST."""
    pair = {getattr(f, "__qualname__", ""): f for f in (forward, backward)}
    names, sentence = list(pair), ""
    found = [(name, success) for name in names]
    try:
        yield
    except Mistake as mistake:
        sentence = str(mistake)
        if mistake.kind == "error":
            found = [(find_culprit(mistake, pair), "raises an error")]
        else:
            at_fault = 0 if mistake.name in ("out", names[0]) else -1
            found = found[:at_fault] + [(names[at_fault], "wrong")]
        raise
    except NotImplementedError as error:
        found = found[:1] if hasattr(error, "so_far") else []
        raise
    except Exception:  # not the learner's fault
        found = []
        raise
    finally:
        VERDICTS.extend(found)
        for name, verdict in found:
            function = pair.get(name) or globals_of(forward).get(name)
            text = sentence if verdict != success else ""
            LATEST[name] = Finding(verdict, text, code_of(function))


def find_culprit(mistake, pair):
    """Return the name of the function that raised what a Mistake tells.

    What a helper of the learner's own raises is the fault of who calls it.
    """
    culprit = getattr(mistake, "culprit", "")
    for name, function in pair.items():
        if culprit == name.rpartition(".")[2]:
            return name
        lesson = globals_of(function) and lesson_of(function)
        if lesson and culprit in names_in(lesson):
            return culprit
    return mistake.name if mistake.name in pair else [*pair][-1]


def globals_of(function):
    """Return the globals of a function; {} of what has none."""
    return getattr(inspect.unwrap(function), "__globals__", {})


def code_of(function):
    """Return the code of a function under its decorators, or None."""
    return getattr(inspect.unwrap(function), "__code__", None)


def _print_outcome(check):
    """Print what check returns, or in one sentence what it raises."""
    try:
        say(check(), right=True)
    except Mistake as mistake:
        say(mistake.line, right=False)
    except NotImplementedError as error:
        say(say_not_yet(error))
    except Exception as error:  # a learner's code may raise anything
        say(to_mistake(error, "").line, right=False)


def say_not_yet(error):
    """Return the sentence on a function that is still to be written."""
    so_far = getattr(error, "so_far", "")
    return f"not yet: {error}{so_far}"


def _slope(loss, array, index, step=1e-5):
    """Return d loss / d array.flat[index] by central differences."""
    kept = array.flat[index]
    array.flat[index] = kept + step
    above = loss()
    array.flat[index] = kept - step
    below = loss()
    array.flat[index] = kept
    return (above - below) / (2 * step)


def _show_not_yet(shell, kind, error, trace, tb_offset=None):
    """Show one sentence where a cell calls a blank; the cell has failed."""
    if traceback.extract_tb(trace)[-1] == find_place(error):
        error._render_traceback_ = lambda: wrap(say_not_yet(error))
    shell.showtraceback((kind, error, trace))


if "IPython" in sys.modules and (
    shell := sys.modules["IPython"].get_ipython()
):
    shell.set_custom_exc((NotImplementedError,), _show_not_yet)
