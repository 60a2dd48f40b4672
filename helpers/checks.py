"""Prove a hand-written backward pass right, or say what is wrong with it.

Support code, used in every lesson. torch is imported only when a check runs.
"""

import ast
import contextlib
import copy
import importlib.util
import inspect
import sys

import numpy as np

from helpers.params import map_arrays, named_arrays

TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}

CELLS = []  # the source of every notebook cell run since the import
if "IPython" in sys.modules and (
    shell := sys.modules["IPython"].get_ipython()
):
    shell.events.register("pre_run_cell", lambda i: CELLS.append(i.raw_cell))


def check_backward(op, op_backward, torch_op, *arrays, **settings):
    """Compare op and op_backward with torch_op, in float64 and float32.

    op(*arrays, **settings) must return out, cache; torch_op the same out
    from tensors. Arrays may be float arrays or nested dicts of them (both
    get gradients), integer arrays or other values (passed as they are).
    The gradient that flows in is random. torch always computes in float64.
    Returns a Report that prints as one line; raises AssertionError that
    names the first array that is wrong, and by how much.
    """
    errors = {}
    for dtype, tolerance in TOLERANCE.items():
        inputs = [_cast(array, dtype) for array in arrays]
        out, dout, grads = _run(op, op_backward, inputs, settings, dtype)
        expected = _run_torch(torch_op, inputs, settings, dout)
        got = _name(op, inputs, out, grads)
        wanted = _name(op, inputs, *expected)
        errors[dtype.__name__] = _compare(got, wanted, tolerance, dtype)
    return Report(op.__name__, "torch", errors, TOLERANCE.values())


def check_numerically(op, op_backward, *arrays, samples=40, **settings):
    """Compare op_backward with central differences of op, without torch.

    Nudges up to `samples` random entries of each array by 1e-5 either way,
    in float64. Returns a Report; raises AssertionError as check_backward.
    """
    inputs = [_cast(array, np.float64) for array in arrays]
    out, dout, grads = _run(op, op_backward, inputs, settings, np.float64)
    got = _name(op, inputs, out, grads)
    values = _name(op, inputs, out, [a for a in inputs if _is_float(a)])
    rng, errors = np.random.default_rng(0), {}

    def loss():
        return float((op(*inputs, **copy.deepcopy(settings))[0] * dout).sum())

    for name in list(got)[1:]:
        array = values[name]
        chosen = rng.permutation(array.size)[:samples]
        slopes = [_slope(loss, array, index) for index in chosen]
        picked = got[name].reshape(-1)[chosen]
        pair = {name: picked}, {name: np.array(slopes)}
        errors |= _compare(*pair, 1e-6, np.float64)
    return Report(op.__name__, "central differences", {"": errors}, [1e-6])


class Report:
    """Hold the relative errors of a check that passed; print one line."""

    def __init__(self, name, reference, errors, tolerances):
        self.name, self.reference, self.errors = name, reference, errors
        self.tolerances = tolerances

    def __repr__(self):
        names = list(next(iter(self.errors.values())))
        if len(names) > 8:
            names = [names[0], f"{len(names) - 1} gradients"]
        kinds = [
            f"{dtype} to {tolerance:.0e}".strip().replace("e-0", "e-")
            for dtype, tolerance in zip(self.errors, self.tolerances)
        ]
        return (
            f"{self.name} matches {self.reference} "
            f"({', '.join(kinds)}): {', '.join(names)}"
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
    got, expected = np.asarray(got), np.asarray(expected)
    if not expected.size:
        return 0.0
    scale = max(np.abs(expected).max(), 1e-3)
    return float(np.abs(got - expected).max() / scale)


def _is_float(array):
    """Say whether an argument gets a gradient."""
    if isinstance(array, dict | list):
        return True
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


def _cast(array, dtype):
    """Copy float arrays, alone or in a tree, to dtype; pass other values."""
    if not _is_float(array):
        return array
    return map_arrays(lambda part: np.array(part, dtype), array)


def _run(op, op_backward, inputs, settings, dtype):
    """Return out, a random dout and the list of gradients."""
    out, cache = op(*inputs, **copy.deepcopy(settings))
    rng = np.random.default_rng(0)
    dout = np.asarray(rng.normal(size=np.shape(out)), dtype)
    grads = op_backward(dout, cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
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
        raise AssertionError(
            f"{op.__name__}_backward returned {len(grads)} gradients for "
            f"{len(names)} arrays ({', '.join(names)})"
        )
    named = {"out": out}
    for name, grad in zip(names, grads):
        tree = isinstance(grad, dict | list)
        named |= named_arrays(grad) if tree else {"d" + name: grad}
    return named


def _compare(got, wanted, tolerance, dtype):
    """Return {name: relative error}; raise at the first that is wrong."""
    if set(got) != set(wanted):
        odd = ", ".join(sorted(set(got) ^ set(wanted)))
        raise AssertionError(f"gradients and parameters differ in: {odd}")
    errors = {}
    for name, expected in wanted.items():
        _check_form(name, got[name], expected, dtype)
        errors[name] = error = relative_error(got[name], expected)
        if not error < tolerance:
            raise AssertionError(_describe(name, got[name], expected, error))
    return errors


def _check_form(name, got, expected, dtype):
    """Raise AssertionError unless shape and dtype are as they must be."""
    if np.shape(got) != np.shape(expected):
        raise AssertionError(
            f"{name} has shape {np.shape(got)}, expected {np.shape(expected)}"
        )
    if isinstance(got, np.ndarray | np.generic) and got.dtype != dtype:
        raise AssertionError(
            f"{name} is {got.dtype} in a {dtype.__name__} run"
        )


def _describe(name, got, expected, error):
    """Say in one line how far off an array is, and where."""
    gap = np.abs(np.asarray(got) - np.asarray(expected))
    gap = np.where(np.isnan(gap), np.inf, gap)  # NaN is as wrong as can be
    at = np.unravel_index(gap.argmax(), gap.shape) if gap.shape else ()
    place = f" at {tuple(int(i) for i in at)}" if at else ""
    return (
        f"{name} is wrong by {error:.2g} of its size, most{place}: "
        f"got {np.asarray(got)[at]:.4g}, expected "
        f"{np.asarray(expected)[at]:.4g}"
    )


def _slope(loss, array, index, step=1e-5):
    """Return d loss / d array.flat[index] by central differences."""
    kept = array.flat[index]
    array.flat[index] = kept + step
    above = loss()
    array.flat[index] = kept - step
    below = loss()
    array.flat[index] = kept
    return (above - below) / (2 * step)


def compare_with_shelf(module):
    """Say for each definition of helpers/<module>.py if a notebook has it.

    Prints one line a name: "same as" or "differs from" the shelf, comparing
    the source text with the cell that was run last.
    """
    path = importlib.util.find_spec(f"helpers.{module}").origin
    with open(path, encoding="utf-8") as file:
        shelf = definitions(file.read())
    here = {}
    for cell in CELLS:
        here.update(definitions(cell))
    for name, source in shelf.items():
        verdict = "same as" if here.get(name) == source else "differs from"
        verdict = verdict if name in here else "not defined here, see"
        print(f"{name}: {verdict} helpers/{module}.py")


def definitions(source):
    """Return {name: source text} of functions, classes and CONSTANTS."""
    try:
        nodes, lines = ast.parse(source).body, source.splitlines()
    except SyntaxError:  # a cell with a magic in it
        return {}
    found = {}
    for node in nodes:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = text
        elif isinstance(node, ast.Assign) and _is_constant(node):
            found[node.targets[0].id] = text
    return found


def _is_constant(node):
    """Say whether an assignment binds one upper-case name."""
    return isinstance(node.targets[0], ast.Name) and (
        node.targets[0].id.isupper()
    )
