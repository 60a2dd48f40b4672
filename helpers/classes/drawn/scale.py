"""What a grade of appendix A3 adds: other sizes, and the exercises."""

import numpy as np

from helpers.checks.cases import pair, value
from helpers.checks.cases import scale as known
from helpers.checks.verdicts import Mistake
from helpers.language_model import ModelConfig
from helpers.scale import distinct_bytes


def parameter_counts(rng):
    yield value("drawn sizes", _config(rng))
    yield value("drawn sizes, no biases", _config(rng, bias=False))


def product_flops(rng):
    yield value("drawn sizes", _config(rng), *_batch(rng))


def step_flops(rng):
    yield value("drawn sizes", _config(rng), *_batch(rng))


def activation_bytes(rng):
    yield value("drawn sizes", _config(rng), *_batch(rng))


def slope(rng):
    x = np.sort(rng.uniform(1, 99, 6)).tolist()
    yield value("drawn points", x, rng.uniform(1, 99, 6).tolist())


def tokens_for_loss(rng):
    tokens = np.cumsum(rng.integers(50, 900, 5)).tolist()
    losses = np.sort(rng.uniform(2, 5, 5))[::-1].tolist()
    log = known._log(*zip(tokens, losses))
    for i, share in enumerate(rng.random(2)):
        loss = losses[i + 1] + share * (losses[i] - losses[i + 1])
        yield value(f"behind row {i + 1}", log, float(loss), use=known._say)


def lawful_loss(rng):
    yield value("a drawn law", *_sizes(rng, 2), _law(rng))


def best_split(rng):
    yield value("a drawn law", 1e6 * _sizes(rng, 1)[0], _law(rng))


def training_days(rng):
    share = float(rng.uniform(0.1, 0.9))
    yield value("a drawn run", 1e9 * _sizes(rng, 1)[0], 3e12, share)
    n = int(rng.integers(2, 99))
    yield value("several devices", 1e9 * _sizes(rng, 1)[0], 3e12, share, n)


def state_bytes(rng):
    n_devices = int(rng.integers(2, 12))
    n_params = n_devices * int(rng.integers(50, 999))
    for stage in range(4):
        yield value(f"drawn, stage {stage}", n_params, n_devices, stage)


def ring_seconds(rng):
    link = rng.uniform(0.1, 90, size=2).tolist()
    n_bytes, N = rng.integers(9, 9999), rng.integers(2, 30)
    yield value("a drawn ring", int(n_bytes), int(N), *link)


def step_seconds(rng):
    shared, alone, *link = rng.uniform(0.1, 90, size=4).tolist()
    n_bytes, N = rng.integers(9, 9999), rng.integers(2, 30)
    yield value("a drawn ring", shared, alone, int(n_bytes), int(N), *link)


def utilisation(rng):
    for T in rng.permutation(np.arange(4, 40))[:2].tolist():
        speed, peak = rng.uniform(1e3, 1e6), rng.uniform(1e11, 1e13)
        yield value(f"T = {T}", _config(rng), T, float(speed), float(peak))


def light(rng):
    C, F = 7, 11
    x, up = rng.normal(size=(2, 5, C)), rng.normal(size=(C, F))
    params = {"up": {"weight": up, "bias": rng.normal(size=F)}}
    params["down"] = {"weight": rng.normal(size=(F, C))}
    yield pair("gelu", x, params, "gelu", use=_forgetful)
    yield pair("relu", x, params, "relu", use=_forgetful)


def doubling(rng):
    for N in (8, 2, 1):
        vectors = rng.integers(-99, 99, (N, 5))
        yield value(f"{N} ranks", vectors)


def _forgetful(light, light_backward):
    """Let a cache that holds more than its arguments be a mistake."""

    def forward(x, params, activation):
        found = light(x, params, activation)
        whole = isinstance(found, tuple) and len(found) == 2
        if whole and distinct_bytes(found[1], [x, params]):
            text = "keeps more in its cache than its arguments"
            raise Mistake("wrong", "light", text)
        return found

    forward.__name__ = "light"
    return forward, light_backward


def _config(rng, **settings):
    """Return a config of drawn sizes."""
    heads, layers, width, d_ff = rng.integers(2, 9, size=4).tolist()
    return ModelConfig(
        vocab_size=int(rng.integers(20, 90)),
        max_seq_len=60,
        d_model=2 * heads * width,
        n_heads=heads,
        n_layers=layers,
        d_ff=3 * d_ff,
        **settings,
    )


def _batch(rng):
    return rng.integers(2, 12, size=2).tolist()


def _sizes(rng, n):
    return (10 ** rng.uniform(6, 11, n)).tolist()


def _law(rng):
    E, A, alpha, B, beta = rng.uniform(0.2, 0.5, 5).tolist()
    return 4 * E, 900 * A, alpha, 2000 * B, beta
