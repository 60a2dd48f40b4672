"""What a grade of lesson 06 adds: other runs, and the exercises."""

import copy
from tempfile import TemporaryDirectory

import numpy as np

from helpers.checks.cases import training as known
from helpers.checks.cases import value


def learning_rate(rng):
    steps, (warmup, cooldown) = np.arange(40), rng.integers(2, 9, 2).tolist()
    peak, final = rng.uniform(0.1, 2, 2).round(3).tolist()
    given = steps, peak, warmup, 20 + cooldown
    use = {"use": known._follow_rate}
    yield value("a drawn cosine", *given, final=final / 4, **use)
    yield value("a drawn line", *given, "linear", **use)


def train_step(rng):
    drawn = rng.uniform(0.05, 0.5, 3).round(3).tolist()
    settings = {"lr": drawn[0], "final": drawn[1], "warmup": 3}
    given = {"start": int(rng.integers(1, 15)), "loss": 9 * drawn[2]}
    yield value("three drawn steps", use=known._train, **given, **settings)


def train_steps(rng):
    yield value("drawn matrices", _matrix(rng), 3, use=_loop)
    yield value("no steps", _matrix(rng), 0, use=_loop)


def run_arrays(rng):
    yield value("a drawn run", _matrix(rng), use=_list_arrays)


def save_checkpoint(rng):
    yield value("a drawn run", _matrix(rng), use=_save_and_look)


def load_checkpoint(rng):
    yield value("a drawn run", _matrix(rng), use=_load_and_look)


def hold_rate(rng):
    for cooldown in (1, 5):
        warmup, total = int(rng.integers(2, 7)), int(rng.integers(14, 30))
        peak = round(float(rng.uniform(0.1, 3)), 3)
        given = np.arange(total + 1), peak, warmup, cooldown, total
        yield value(f"a cool-down of {cooldown}", *given)
    short = np.arange(9), peak, 6, 7, 8
    yield value("no step at the peak", *short)


def join_grads(rng):
    grads = list(rng.normal(size=(3, 4, 5)))
    counts = rng.integers(1, 40, 3).tolist()
    loose = {"keeps_dtype": False}
    yield value("three parts", grads, counts, **loose)
    yield value("one part", grads[:1], counts[:1], **loose)


def averaged(rng):
    points = rng.normal(size=(6, 4))
    for beta in rng.uniform(0.2, 0.95, 2).round(3).tolist():
        yield value(f"beta = {beta}", points, beta, keeps_dtype=False)
    yield value("a single point", points[:1], 0.9, keeps_dtype=False)


def _matrix(rng):
    return rng.normal(size=(3, 4)).tolist()


def _begin(matrix, step=0):
    """Return a run of a drawn matrix and a vector."""
    run = known._start(step, steps=8)
    run.params["w"][:] = matrix
    return run


def _begun(matrix):
    """Return a run of a drawn matrix that has made three steps."""
    run = _begin(matrix)
    known._go_on(run, 3)
    return run


def _loop(train_steps, matrix, left):
    """Return all losses and norms of a loop over the steps that are left."""
    run = _begin(matrix, 8 - left)
    gradient = known._make_gradient(0.0, 1.0)
    rows = list(train_steps(run, known._draw, gradient=gradient))
    found = {"losses and norms": np.array(rows), "step": run.step}
    return found | {"w": run.params["w"]}


def _list_arrays(run_arrays, matrix):
    return {k: copy.copy(v) for k, v in run_arrays(_begun(matrix)).items()}


def _save_and_look(save, matrix):
    return _round_trip(save, known._partner(save, "load_checkpoint"), matrix)


def _load_and_look(load, matrix):
    return _round_trip(known._partner(load, "save_checkpoint"), load, matrix)


def _round_trip(save, load, matrix):
    """Return a new run into which a drawn one was loaded."""
    run = known._start(0)
    with TemporaryDirectory() as folder:
        save(f"{folder}/run.npz", _begun(matrix))
        load(f"{folder}/run.npz", run)
    return known._look(run)
