"""Compare an optimizer with torch's, step by step.

Support code, used in lesson 06.
"""

import numpy as np

from helpers.checks.gradients import Mistake, Report, relative_error
from helpers.checks.lessons import shelf
from helpers.checks.torch_answers import find_answer

SHAPES = {"a": (3, 4), "b": (4, 2), "c": (5,)}
STEPS, TOLERANCE = 10, 1e-12


def check_optimizer(ours, theirs, **settings):
    """Take ten steps with the same random gradients in both; compare.

    ours is a class such as SGD, theirs one of torch_ops such as
    torch_ops.SGD; both get the settings. As in AdamW, weight decay is for
    matrices only. Without torch its steps are on file; for other settings
    those of the shelf stand in. Returns a Report; raises Mistake, an
    AssertionError that names the first step after which a parameter differs.
    """
    rng = np.random.default_rng(6)
    params = random_arrays(rng)
    grads = [random_arrays(rng) for _ in range(STEPS)]
    name, wanted = find_steps(theirs, params, grads, settings)
    found = take_steps(ours, params, grads, settings)
    for step, pair in enumerate(zip(found, wanted, strict=True), 1):
        rows = zip(params, *map(split, pair))
        errors = {key: relative_error(*arrays) for key, *arrays in rows}
        for key, error in errors.items():
            if not error < TOLERANCE:
                text = f"is wrong by {error:.2g} of its size after step {step}"
                raise Mistake("wrong", key, text)
    reference = f"{name} after {STEPS} steps"
    return Report(ours.__name__, reference, {"float64": errors}, [TOLERANCE])


def random_arrays(rng):
    """Return {name: array} of two matrices and a vector.

    Cut to what float32 can hold, as the arrays of every check.
    """
    arrays = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    return {n: a.astype(np.float32).astype(float) for n, a in arrays.items()}


def find_steps(theirs, params, grads, settings):
    """Return who answers, and all parameters after each step, a row each."""
    answer = find_answer(theirs, [params, grads], settings)
    if answer:
        return answer.reference, answer.out
    optimizer = shelf("training")[theirs.__name__]
    return "the shelf", take_steps(optimizer, params, grads, settings)


def take_steps(kind, params, grads, settings):
    """Return all parameters after each step of ours, a row each."""
    params = {name: array.copy() for name, array in params.items()}
    optimizer, rows = kind(params, **settings), []
    for grad in grads:
        optimizer.step({name: array.copy() for name, array in grad.items()})
        rows.append(np.concatenate([a.ravel() for a in params.values()]))
    return rows


def split(row):
    """Return the parts of a row of parameters, one for each of SHAPES."""
    ends = np.cumsum([np.prod(shape) for shape in SHAPES.values()])
    return np.split(row, ends[:-1])
