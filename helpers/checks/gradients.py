"""Prove a hand-written backward pass right, or say what is wrong with it.

Support code, used in every lesson. torch is imported only when a check runs.
"""

import contextlib
import copy
import inspect
import re
import reprlib
import sys
import traceback

import numpy as np

from helpers.checks.diagnosis import Context, diagnose
from helpers.runs.params import map_arrays, named_arrays

TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}

VERDICTS = []  # (function, verdict) of every check made since the import


def check_backward(op, op_backward, torch_op, arrays, **settings):
    """Compare op and op_backward with torch_op, in float64 and float32.

    op(*arrays, **settings) must return out, cache; torch_op the same out
    from tensors. arrays is one tuple of float arrays or nested dicts of them
    (both get gradients), integer arrays or other values (passed as they
    are), as for torch.autograd.gradcheck.
    The gradient that flows in is random. torch always computes in float64.
    Returns a Report that prints as one line; raises Mistake, an
    AssertionError that names the first array that is wrong, by how much,
    and the usual cause where the numbers give it away.
    """
    errors = {}
    with _recorded(op, op_backward, "matches torch"):
        for dtype, tolerance in TOLERANCE.items():
            inputs = _inputs(arrays, dtype)
            out, dout, grads = _run(op, op_backward, inputs, settings, dtype)
            expected = _run_torch(torch_op, inputs, settings, dout)
            got = _name(op, inputs, out, grads)
            wanted = _name(op, inputs, *expected)
            went_in = _name_inputs(op, inputs, settings)
            context = Context(got, wanted, *went_in, dout)
            errors[dtype.__name__] = _compare(context, tolerance, dtype)
    return Report(op.__name__, "torch", errors, TOLERANCE.values())


def check_numerically(op, op_backward, arrays, samples=40, **settings):
    """Compare op_backward with central differences of op, without torch.

    Nudges up to `samples` random entries of each array by 1e-5 either way,
    in float64. Returns a Report; raises Mistake as check_backward does.
    """
    inputs = _inputs(arrays, np.float64)
    out, dout, grads = _run(op, op_backward, inputs, settings, np.float64)
    got = _name(op, inputs, out, grads)
    values = _name(op, inputs, out, [a for a in inputs if _is_float(a)])
    rng = np.random.default_rng(0)
    errors = {}

    def loss():
        return float((op(*inputs, **copy.deepcopy(settings))[0] * dout).sum())

    for name in list(got)[1:]:
        array = values[name]
        chosen = rng.permutation(array.size)[:samples]
        slopes = [_slope(loss, array, index) for index in chosen]
        picked = {name: got[name].reshape(-1)[chosen]}
        expected = {name: np.array(slopes)}
        context = Context(picked, expected, {}, {}, {}, dout)
        errors |= _compare(context, 1e-6, np.float64)
    return Report(op.__name__, "central differences", {"": errors}, [1e-6])


def try_backward(op, op_backward, torch_op, arrays, **settings):
    """Print in one line what check_backward finds; raise nothing."""

    def check():
        report = check_backward(op, op_backward, torch_op, arrays, **settings)
        return f"matches torch: {report.arrays()}"

    _print_outcome(check)


def try_value(function, expected, *arguments, **settings):
    """Print in one line if function(*arguments, **settings) is expected.

    Numbers and arrays are compared to six digits, integers, strings and
    everything else exactly. Raises nothing.
    """

    def check():
        with _recorded(function, function, "right"):
            got = function(*copy.deepcopy(arguments), **settings)
            _compare_values(got, expected)
        return "right"

    _print_outcome(check)


class Mistake(AssertionError):
    """Say which array is wrong, how ("shape", "wrong", ...), and the cause.

    `line` holds the same as try_backward prints it.
    """

    def __init__(self, kind, name, text, cause=None):
        text += f". {cause}" if cause else ""
        super().__init__(f"{name} {text}")
        self.name = name
        self.line = f"{kind}: {name} {text.removeprefix('is wrong ')}"

    def _render_traceback_(self):
        """Let Jupyter show the sentence in place of the traceback."""
        return [str(self)]


class Report:
    """Hold the relative errors of a check that passed; print one line."""

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
        return (
            f"{self.name} matches {self.reference} "
            f"({', '.join(kinds)}): {self.arrays()}"
        )


@contextlib.contextmanager
def must_fail():
    """Print what a check finds; raise AssertionError if it finds nothing."""
    try:
        yield
    except AssertionError as error:
        print("caught:", error)
    else:
        raise AssertionError("the check did not notice the mistake")


def relative_error(got, expected):
    """Return max |got - expected| over max |expected| (at least 1e-3)."""
    gap = _gap(got, expected)
    return float(gap.max(initial=0.0) / _size(expected))


def _gap(got, expected):
    """Return |got - expected|, 0 where both are the same infinity."""
    got, expected = np.asarray(got), np.asarray(expected)
    with np.errstate(invalid="ignore"):
        gap = np.abs(got - expected)
    return np.where(got == expected, 0.0, gap)


def _size(expected):
    """Return the largest absolute number that is finite, at least 1e-3."""
    sizes = np.abs(expected)
    return sizes.max(initial=1e-3, where=np.isfinite(sizes))


def _is_float(array):
    """Say whether an argument gets a gradient."""
    if isinstance(array, dict | list):
        return True
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


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


def _cast(array, dtype):
    """Copy float arrays, alone or in a tree, to dtype; pass other values."""
    if not _is_float(array):
        return array
    return map_arrays(lambda part: np.array(part, dtype), array)


def _run(op, op_backward, inputs, settings, dtype):
    """Return out, a random dout and the list of gradients."""
    result = op(*inputs, **copy.deepcopy(settings))
    if not isinstance(result, tuple) or len(result) != 2:
        raise Mistake("count", "out", "has no cache: return out, cache")
    out, cache = result
    rng = np.random.default_rng(0)
    dout = np.asarray(rng.normal(size=np.shape(out)), dtype)
    grads = op_backward(dout, cache)
    grads = grads if isinstance(grads, tuple | list) else (grads,)
    return out, dout, [grad for grad in grads if grad is not None]


def _run_torch(torch_op, inputs, settings, dout):
    """Return torch's out and gradients as NumPy arrays, in float64."""
    try:
        import torch
    except ImportError:
        raise ImportError(
            "PyTorch is not installed, so nothing to compare with: "
            "pip install torch, or use check_numerically"
        ) from None

    def to_tensor(array):
        wide = array.astype(np.float64) if array.dtype.kind == "f" else array
        return torch.tensor(wide, requires_grad=array.dtype.kind == "f")

    def convert(value):
        if isinstance(value, np.ndarray | dict | list):
            return map_arrays(to_tensor, value)
        return copy.deepcopy(value)

    tensors = [convert(value) for value in inputs]
    settings = {
        key: to_tensor(value) if isinstance(value, np.ndarray) else value
        for key, value in copy.deepcopy(settings).items()
    }
    out = torch_op(*tensors, **settings)
    out.backward(torch.tensor(dout, dtype=out.dtype))
    grads = [
        map_arrays(lambda tensor: tensor.grad.numpy(), tensor)
        for value, tensor in zip(inputs, tensors)
        if _is_float(value)
    ]
    return out.detach().numpy(), grads


def _name(op, inputs, out, grads):
    """Return {"out": out, "dx": ..., "qkv.weight": ...} for a report."""
    names = [
        name
        for name, value in zip(
            inspect.signature(op).parameters, inputs, strict=False
        )
        if _is_float(value)
    ]
    if len(names) != len(grads):
        raise _miscounted(op, names, grads)
    named = {"out": out}
    for name, grad in zip(names, grads):
        tree = isinstance(grad, dict | list)
        named |= named_arrays(grad) if tree else {"d" + name: grad}
    return named


def _miscounted(op, names, grads):
    """Return the Mistake of too few or too many gradients."""
    if not grads:
        cause = "Is there a return?"
    elif len(grads) < len(names):
        cause = "Return one for each, in the order of the arguments."
    else:
        cause = "Return None for an array that was not given."
    text = (
        f"returned {len(grads)} gradients for {len(names)} arrays "
        f"({', '.join(names)})"
    )
    return Mistake("count", f"{op.__name__}_backward", text, cause)


def _name_inputs(op, inputs, settings):
    """Return dicts of the float arrays, integer arrays and numbers given."""
    names = inspect.signature(op).parameters
    given = dict(zip(names, inputs, strict=False)) | settings
    floats, integers, numbers = {}, {}, {}
    for name, value in given.items():
        if isinstance(value, dict | list):
            floats |= named_arrays(value)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            (floats if value.dtype.kind == "f" else integers)[name] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[name] = value
    return floats, integers, numbers


def _compare(context, tolerance, dtype):
    """Return {name: relative error}; raise Mistake at the first wrong."""
    got, wanted = context.got, context.expected
    errors = {}
    for name in [*wanted, *got]:
        if name not in got:
            raise Mistake("count", name, "has no gradient")
        if name not in wanted:
            raise Mistake("count", name, "has a gradient, but is no parameter")
    for name, expected in wanted.items():
        if problem := _problem(name, got[name], expected, tolerance, dtype):
            raise Mistake(*problem, _cause(problem[0], context, dtype))
        errors[name] = relative_error(got[name], expected)
    return errors


def _problem(name, got, expected, tolerance, dtype):
    """Return kind, name and text of what is wrong with an array, or None."""
    shape, wanted = np.shape(got), np.shape(expected)
    if shape != wanted:
        return "shape", name, f"has shape {shape}, expected {wanted}"
    if isinstance(got, np.ndarray | np.generic) and got.dtype != dtype:
        return "dtype", name, f"is {got.dtype} in a {dtype.__name__} run"
    error = relative_error(got, expected)
    if error < tolerance:
        return None
    got, expected = np.asarray(got), np.asarray(expected)
    right = _gap(got, expected) < tolerance * _size(expected)
    at = tuple(int(i) for i in np.argwhere(~right)[0])
    return (
        "wrong",
        name,
        f"is wrong by {error:.2g} of its size"
        f"{f', first at index {at}' if at else ''}: "
        f"got {got[at]:.4g}, expected {expected[at]:.4g}",
    )


def _cause(kind, context, dtype):
    """Return a sentence on the usual cause, or None."""
    if kind == "dtype" and dtype is np.float32:
        return (
            "A float64 took part: np.sqrt(number) and np.zeros(shape) give "
            "one, math.sqrt and a dtype do not."
        )
    for name in context.expected:
        context.name = name
        with contextlib.suppress(Exception):  # a guess must hide no finding
            if sentence := diagnose(context):
                return sentence
    if kind == "wrong" and dtype is np.float32:
        return "The float64 run agreed: the formula is right, digits get lost."
    return None


def _compare_values(got, expected):
    """Raise Mistake unless got is expected; floats to six digits."""
    found, wanted = _numbers(got), _numbers(expected)
    if found is None or wanted is None:
        wrong = found is not wanted or got != expected
    else:
        exact = np.asarray(expected).dtype.kind != "f"
        tolerance = 1e-15 if exact else 1e-6
        wrong = _problem("result", found, wanted, tolerance, np.float64)
        if wrong and max(found.ndim, wanted.ndim):
            raise Mistake(*wrong)
    if wrong:
        text = f"is {reprlib.repr(got)}, expected {reprlib.repr(expected)}"
        cause = "Is there a return?" if got is None else None
        raise Mistake("wrong", "result", text, cause)


def _numbers(value):
    """Return a value as an array of float64, or None if it is not numbers."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None


@contextlib.contextmanager
def _recorded(forward, backward, success):
    """Put what a check finds of both functions on VERDICTS."""
    names = [getattr(f, "__name__", "") for f in (forward, backward)]
    found = [(name, success) for name in names]
    try:
        yield
    except Mistake as mistake:
        at_fault = int(mistake.name != "out")
        found[at_fault:] = [(names[at_fault], "wrong")]
        raise
    except NotImplementedError:
        found = []
        raise
    except Exception as error:
        place = _place(error)
        found = [(place.name, "raises an error")] if place else []
        raise
    finally:
        VERDICTS.extend(found)


def _print_outcome(check):
    """Print what check returns, or in one line what it raises."""
    try:
        line = check()
    except Mistake as mistake:
        line = mistake.line
    except NotImplementedError as error:
        line = f"not yet: {error}"
    except Exception as error:  # a learner's code may raise anything
        what = " ".join(f"{type(error).__name__}: {error}".split())
        place = _place(error)
        line = f"error: {what}"
        if place:
            line += f" (line {place.lineno} of the cell with {place.name})"
    print(line)


def _place(error):
    """Return the innermost frame that lies in a cell, or None."""
    frames = traceback.extract_tb(error.__traceback__)
    cells = [f for f in frames if re.match("<|.*ipykernel_", f.filename)]
    return cells[-1] if cells else None


def _slope(loss, array, index, step=1e-5):
    """Return d loss / d array.flat[index] by central differences."""
    kept = array.flat[index]
    array.flat[index] = kept + step
    above = loss()
    array.flat[index] = kept - step
    below = loss()
    array.flat[index] = kept
    return (above - below) / (2 * step)


def _say_not_yet(shell, kind, error, trace, tb_offset=None):
    """Show one sentence where a cell calls a blank; the cell has failed."""
    if traceback.extract_tb(trace)[-1] == _place(error):
        error._render_traceback_ = lambda: [f"not yet: {error}"]
    shell.showtraceback((kind, error, trace))


if "IPython" in sys.modules and (
    shell := sys.modules["IPython"].get_ipython()
):
    shell.set_custom_exc((NotImplementedError,), _say_not_yet)
