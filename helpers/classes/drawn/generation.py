"""What a grade of lesson 07 adds: other chances, and the exercises."""

import numpy as np

from helpers.checks.cases import generation as known
from helpers.checks.cases import value
from helpers.language_model import ModelConfig


def draw(rng):
    probs, darts = _probs(rng, 7).tolist(), rng.random(9).tolist()
    yield value("nine drawn darts", probs, darts, use=known._throw)


def keep_top_k(rng):
    yield value("drawn chances", _probs(rng, 12), int(rng.integers(2, 11)))


def keep_top_p(rng):
    probs = _probs(rng, 12)
    yield value("drawn chances", probs, float(rng.uniform(0.3, 0.9)))


def keep_min_p(rng):
    probs = _probs(rng, 12)
    yield value("drawn chances", probs, float(rng.uniform(0.1, 0.6)))


def new_positions(rng):
    length, padding = int(rng.integers(5, 20)), rng.integers(5, size=4)
    yield value("a drawn cache", known._kv(length), int(rng.integers(1, 6)))
    yield value("drawn padding", known._kv(length, padding), 3)


def new_mask(rng):
    length, padding = int(rng.integers(5, 20)), rng.integers(5, size=4)
    kv, T = known._kv(length, padding), int(rng.integers(2, 6))
    yield value("drawn padding", kv, T, use=known._mask)
    yield value("a drawn cache", known._kv(length), T, use=known._mask)


def pad_left(rng):
    sizes = rng.integers(1, 8, size=4)
    prompts = [rng.integers(1, 99, size=n).tolist() for n in sizes]
    yield value("four drawn prompts", prompts, use=known._pad)


def cut_at(rng):
    ids = rng.integers(1, 99, size=9).tolist()
    yield value("nine drawn ids", ids, ids[int(rng.integers(9))])


def cache_bytes(rng):
    for i, n_bytes in enumerate((2, 4)):
        heads, layers, width = rng.integers(2, 9, size=3).tolist()
        sizes = {"d_model": heads * width, "n_heads": heads, "d_ff": 7}
        config = ModelConfig(
            vocab_size=50, max_seq_len=99, n_layers=layers + i, **sizes
        )
        n_tokens = int(rng.integers(2, 99))
        yield value(f"{n_bytes} bytes", config, n_tokens, n_bytes)


def surprises(rng):
    logits, ids = 3 * rng.normal(size=(6, 9)), rng.integers(9, size=6)
    yield value("six tokens", logits, ids)
    yield value("two tokens", logits[:2], ids[:2])


def keep_typical(rng):
    probs = _probs(rng, 9)
    for mass in rng.uniform(0.2, 0.9, 3).tolist():
        yield value(f"mass = {mass:.4f}", probs, mass)
    some = np.where(np.arange(9) % 4, probs, 0)
    yield value("some that are cut already", some / some.sum(), 0.5)


def _probs(rng, V):
    return rng.dirichlet(np.ones(V))
