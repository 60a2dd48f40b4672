"""What a grade of appendix A2 adds: other runs, and the exercises."""

import numpy as np

from helpers.checks.cases import experiments as known
from helpers.checks.cases import pair, value
from helpers.experiments import Setup


def verdict(rng):
    low = rng.uniform(1, 2, 5).round(3).tolist()
    high = rng.uniform(2.5, 4, 3).round(3).tolist()
    yield value("drawn above", high, low)
    yield value("drawn below", low, high)
    yield value("drawn among the others", [*low, high[0]], high)


def compare(rng):
    groups = {
        f"way {letter}": rng.normal(mean, 0.3, 5).round(4).tolist()
        for letter, mean in zip("abcd", (2.0, 2.1, 3.9, 0.4))
    }
    yield value("four drawn groups", groups, use=known._printed)


def train_setup(rng):
    few = {"d_model": 8, "n_heads": 2, "n_layers": 1, "warmup": 2}
    lr, seed = round(float(rng.uniform(0.005, 0.02)), 4), rng.integers(999)
    setup = Setup(task="digits", steps=2, lr=lr, **few)
    yield value("a drawn seed", setup, int(seed), use=known._trained)


def quiet_positions(rng):
    T, C = rng.integers(3, 40, size=2).tolist()
    yield value(f"{T} places of {C} channels", T, C)


def chance(rng):
    for i in range(3):
        n, m = rng.integers(2, 9, size=2).tolist()
        yield value(f"{n} and {m}, the {i + 1}th drawn", n, m)


def uniform_attention(rng):
    q, k, v = rng.normal(size=(3, 2, 4, 5, 3))
    causal = np.tri(5, dtype=bool)
    padding = rng.random((5, 5)) < 0.6
    padding[:, 0] = True
    yield pair("a causal mask", q, k, v, mask=causal)
    yield pair("padding", q, k, v, mask=padding)


def rms_norm(rng):
    x, weight, bias = (rng.normal(size=s) for s in ((2, 5, 7), 7, 7))
    yield pair("rows of 7", x, weight, bias)
    yield pair("a single row", x[0, 0], weight, bias)
    yield pair("another eps", x, weight, bias, eps=0.3)
