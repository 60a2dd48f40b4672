"""What a grade of lesson 04 adds: the exercises."""

import numpy as np

from helpers.checks.cases import pair, value
from helpers.language_model import ModelConfig, init_params
from helpers.runs.params import map_arrays


def count_by_formula(rng):
    for n_heads in (1, 3):
        yield value(f"{n_heads} heads", _config(rng, n_heads))


def rows_with_gradient(rng):
    config = _config(rng, 2, tied_head=False)
    drawn = init_params(config, rng, np.float64)
    params = map_arrays(lambda a: a + 0.3 * rng.normal(size=a.shape), drawn)
    ids = rng.integers(config.vocab_size, size=(2, 5))
    for p in (1, int(rng.integers(2, 5))):
        yield value(f"position {p} of 5", ids, p, params, config)
    yield value("the first position", ids, 0, params, config)


def smooth(rng):
    logits, targets = 2 * rng.normal(size=(6, 7)), rng.integers(7, size=6)
    some = targets.copy()
    some[rng.permutation(6)[:2]] = -100
    yield pair("some targets ignored", logits, some, 0.1)
    yield pair("a target in each row", logits, targets, 0.3)
    yield pair("no smoothing", logits, some, 0.0)


def _config(rng, n_heads, **settings):
    """Return a config of random sizes."""
    draw = rng.integers(5, 60, size=3).tolist()
    return ModelConfig(
        vocab_size=draw[0] + 5,
        max_seq_len=draw[1],
        d_model=2 * n_heads * int(rng.integers(2, 6)),
        n_heads=n_heads,
        n_layers=int(rng.integers(1, 4)),
        d_ff=draw[2],
        **settings,
    )
