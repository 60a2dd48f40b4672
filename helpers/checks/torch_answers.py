"""What PyTorch answers to a check: live, or as it was put on file.

Support code, for gradients.py and optimizers.py. Where torch is installed it
is asked. Elsewhere its answers to the checks of the lessons are read from
answers/torch_<lesson>.npz, which `python -m helpers.checks.record` writes;
tests/test_torch_answers.py asks torch again.
"""

import ast
import copy
import dataclasses
import importlib.util
import linecache
from functools import cache
from types import SimpleNamespace

import numpy as np

from helpers.checks import answers, torch_ops
from helpers.checks.inspection import is_float
from helpers.checks.verdicts import equal
from helpers.runs.params import map_arrays


@cache
def load_torch():
    """Return the module torch, or None where it is not to be had."""
    try:
        import torch
    except (ImportError, OSError):  # OSError: a library of it is missing
        return None
    return torch


def is_installed():
    """Say whether torch is there, without the seconds that it takes."""
    return importlib.util.find_spec("torch") is not None


def find_answer(torch_op, inputs, settings):
    """Return what torch answers, live or on file, or None.

    inputs: as a check got them, in float64 of numbers that fit float32. An
    answer has `reference`, a name for it, the `inputs` that it is for, `out`
    and grads(dout).
    """
    if load_torch():
        return TorchAnswer(torch_op, inputs, settings)
    return look_up(torch_op, inputs, settings, filed_answers())


class TorchAnswer:
    """Let torch compute what has to come out, in float64."""

    reference = "torch"

    def __init__(self, torch_op, inputs, settings):
        self.inputs = inputs
        tensors, settings = to_tensors(inputs), to_tensors(settings)
        self.tensor = torch_op(*tensors, **settings)
        self.leaves = [
            tensor for value, tensor in zip(inputs, tensors) if is_float(value)
        ]
        self.out = self.tensor.detach().numpy()

    def grads(self, dout):
        """Return the gradient of each float array that went in."""
        flowing = load_torch().tensor(dout, dtype=self.tensor.dtype)
        map_arrays(forget, self.leaves)
        self.tensor.backward(flowing, retain_graph=True)
        return map_arrays(lambda tensor: tensor.grad.numpy(), self.leaves)


class FiledAnswer:
    """Hold what torch answered when it was recorded."""

    def __init__(self, row, inputs):
        self.reference = f"torch {row['torch']} on file"
        floats = iter(widen(row["floats"]))
        self.inputs = [next(floats) if is_float(v) else v for v in inputs]
        self.out, self.kept = row["out"], row["grads"]

    def grads(self, dout):
        """Return the gradient of each float array that went in.

        dout: always the same for an out of one shape (Trial.draw_dout).
        """
        return self.kept


def forget(tensor):
    """Forget the gradient of a tensor."""
    tensor.grad = None


def to_tensors(values):
    """Return a list or dict with tensors in place of the arrays.

    Those of floats, at any depth of an input, get a gradient.
    """

    def convert(value):
        if isinstance(value, np.ndarray):
            kind = value.dtype.kind == "f"
            wide = value.astype(np.float64) if kind else value
            return load_torch().tensor(wide, requires_grad=kind)
        if isinstance(value, dict | list):
            return map_arrays(convert, value)
        return copy.deepcopy(value)

    if isinstance(values, dict):
        return {name: convert(value) for name, value in values.items()}
    return [convert(value) for value in values]


# on file


@cache
def filed_answers():
    """Return {label: rows} of all lessons."""
    found = {}
    for path in sorted(answers.FOLDER.glob("torch_*.npz")):
        for label, rows in answers.load(path.stem).items():
            found.setdefault(label, []).extend(rows.values())
    return found


def filed_versions():
    """Return the versions of torch whose answers are on file."""
    rows = [row for rows in filed_answers().values() for row in rows]
    return sorted({row["torch"] for row in rows})


def look_up(torch_op, inputs, settings, filed):
    """Return the answer to a call whose arrays are as on file, or None.

    They agree in shape, and in their numbers to seven digits; the answer's
    own inputs are those that were on file.
    """
    floats, rest = describe_call(inputs, settings)
    for row in filed.get(label_of(torch_op), ()):
        if equal(floats, row["floats"]) and equal(rest, row["rest"]):
            return FiledAnswer(row, inputs)


def to_row(answer, settings, dout):
    """Return an answer of torch as it goes on file."""
    floats, rest = describe_call(answer.inputs, settings)
    return {
        "torch": load_torch().__version__.partition("+")[0],
        "floats": floats,
        "rest": rest,
        "out": answer.out,
        "grads": answer.grads(dout) if answer.tensor.requires_grad else [],
    }


def describe_call(inputs, settings):
    """Return the arrays that get gradients, in float32, and what else counts.

    Both as answers.pack can write them.
    """
    floats = [value for value in inputs if is_float(value)]
    others = [value for value in inputs if not is_float(value)]
    narrow = map_arrays(lambda a: np.asarray(a, np.float32), floats)
    return narrow, describe([others, settings])


def describe(value):
    """Return what of a value torch's answer depends on, in plain parts."""
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, SimpleNamespace) or dataclasses.is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {name: describe(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [describe(part) for part in value]
    known = np.ndarray | np.generic | bool | int | float | str | None
    return value if isinstance(value, known) else repr(value)


def label_of(torch_op):
    """Return the name of one of torch_ops, or the source of another; None.

    The source as ast writes it, the same in every Python and layout.
    """
    if torch_op.__module__ == torch_ops.__name__:
        return torch_op.__name__
    code = torch_op.__code__
    lines = linecache.getlines(code.co_filename)
    try:
        nodes = list(ast.walk(ast.parse("".join(lines))))
    except SyntaxError:  # a cell with a line of IPython's
        return None
    kinds = ast.FunctionDef | ast.Lambda
    found = [node for node in nodes if isinstance(node, kinds)]
    found = [n for n in found if n.lineno == code.co_firstlineno]
    return ast.unparse(found[0]) if len(found) == 1 else None


def widen(tree):
    """Return a list of trees of arrays in float64."""
    return map_arrays(lambda array: array.astype(np.float64), tree)
