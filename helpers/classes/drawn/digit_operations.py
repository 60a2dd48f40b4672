"""What a grade of appendix A1 adds: other questions, and the exercises."""

from dataclasses import replace

import numpy as np

from helpers.checks.cases import digit_operations as known
from helpers.checks.cases import pair, value
from helpers.digit_operations import ENCODER, OPERATIONS
from helpers.training import TrainSettings


def tokenize(rng):
    yield value("three drawn questions", "".join(_questions(rng, 3, 99)))


def detokenize(rng):
    yield value("drawn ids", rng.integers(20, size=12).tolist())


def make_questions(rng):
    largest, seed = int(rng.integers(6, 15)), int(rng.integers(999))
    given = 5 * int(rng.integers(130, 190)), largest, seed
    yield value("a drawn number of them", *given, use=known._draw)


def unseen_questions(rng):
    every = [
        f"{op}({a},{b},{c})"
        for op in OPERATIONS
        for a in range(10)
        for b in range(10)
        for c in range(10)
    ]
    mixed = [every[i] for i in rng.permutation(len(every))]
    yield value("nine drawn ones left", mixed[9:3000], mixed[3000:])


def pad_rows(rng):
    sizes = rng.integers(1, 8, size=5)
    rows = [rng.integers(2, 20, size=n).tolist() for n in sizes]
    yield value("five drawn rows", rows)


def decoder_batch(rng):
    yield value("four drawn questions", _questions(rng, 4, 30))


def start(rng):
    config = replace(ENCODER, d_model=6, n_heads=3, n_layers=1, d_ff=4)
    config = replace(config, vocab_size=7, max_seq_len=5)
    seed = int(rng.integers(99_999))
    settings = TrainSettings(steps=9, seed=seed, beta1=0.8, beta2=0.7)
    yield value("a drawn seed", config, settings, use=known._begin)


def epochs_of(rng):
    asked = sorted(set(_questions(rng, 17, 30)))
    B = int(rng.integers(3, 7))
    yield value(f"batches of {B}, drawn", asked, B, use=known._show)


def share_right(rng):
    asked = sorted(set(_questions(rng, 12, 9)))
    told = [str(n) for n in rng.integers(10, size=len(asked))]
    given = dict(zip(asked, told)), "params", "config"
    yield value("drawn answers", asked, *given, use=known._share)


def confusion(rng):
    told = [str(n) for n in rng.integers(4, size=20)]
    yield value("drawn answers", _questions(rng, 20, 3), told)


def head_drops(rng):
    (case, *_) = known.head_drops(rng)
    asked, *model = case.arguments
    some = [asked[i] for i in rng.permutation(len(asked))[:15]]
    yield value("fifteen drawn questions", some, *model, **known._LOOSE)


def blind(rng):
    yield value("nine drawn questions", _questions(rng, 9, 3))
    yield value("numbers of two digits", _questions(rng, 5, 40))


def mean_pool(rng):
    x, lengths = rng.normal(size=(3, 5, 4)), rng.integers(1, 6, size=(3, 1))
    yield pair("drawn lengths", x, np.arange(5) < lengths)
    yield pair("no padding", x, np.ones((3, 5), bool))
    holes = np.arange(5) % 2 == rng.integers(2, size=(3, 1))
    yield pair("holes", x, holes)


def rollout(rng):
    weights = rng.random((4, 5, 5))
    weights /= weights.sum(axis=-1, keepdims=True)
    yield value("4 layers", weights, keeps_dtype=False)
    yield value("2 layers", weights[:2], keeps_dtype=False)


def _questions(rng, n, largest):
    """Return n questions on numbers 0..largest."""
    names = list(OPERATIONS)
    return [
        f"{names[rng.integers(5)]}({a},{b},{c})"
        for a, b, c in rng.integers(largest + 1, size=(n, 3))
    ]
