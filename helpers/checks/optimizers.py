"""Compare an optimizer with torch's, step by step.

Support code, used in lesson 06.
"""

import numpy as np

from helpers.checks.gradients import Mistake, Report, relative_error

SHAPES = {"a": (3, 4), "b": (4, 2), "c": (5,)}
STEPS, TOLERANCE = 10, 1e-12


def check_optimizer(ours, theirs, **settings):
    """Take ten steps with the same random gradients in both; compare.

    ours is a class such as SGD, theirs one such as torch.optim.SGD; both get
    the settings. As in AdamW, weight decay is for matrices only. Returns a
    Report; raises Mistake, an AssertionError that names the first step after
    which a parameter differs.
    """
    import torch

    rng = np.random.default_rng(6)
    params = random_arrays(rng)
    tensors = {name: torch.tensor(a) for name, a in params.items()}
    optimizer = ours(params, **settings)
    reference = theirs(groups(tensors.values(), settings), **settings)
    for step in range(1, STEPS + 1):
        grads = random_arrays(rng)
        for name, grad in grads.items():
            tensors[name].grad = torch.tensor(grad)
        optimizer.step(grads)
        reference.step()
        errors = {
            name: relative_error(array, tensors[name].numpy())
            for name, array in params.items()
        }
        for name, error in errors.items():
            if not error < TOLERANCE:
                text = f"is wrong by {error:.2g} of its size after step {step}"
                raise Mistake("wrong", name, text)
    reference = f"torch after {STEPS} steps"
    return Report(ours.__name__, reference, {"float64": errors}, [TOLERANCE])


def random_arrays(rng):
    """Return {name: array} of two matrices and a vector."""
    return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


def groups(tensors, settings):
    """Return torch's parameter groups: vectors do not decay."""
    decay = settings.get("weight_decay", 0.0)
    return [
        {"params": [tensor], "weight_decay": decay * (tensor.ndim >= 2)}
        for tensor in tensors
    ]
