"""What a grade of appendix A4 adds: other positions, and the exercises."""

from dataclasses import replace

import numpy as np

from helpers.checks.cases import pair, value
from helpers.language_model import ModelConfig


def rope_angles(rng):
    rows, base = rng.integers(99, size=(2, 5)), float(rng.uniform(20, 9999))
    yield value("drawn positions", rows, 6, base=base, keeps_dtype=False)


def kv_bytes(rng):
    for groups in (None, 2, 1):
        layers, width = rng.integers(2, 9, size=2).tolist()
        config = ModelConfig(
            vocab_size=50,
            max_seq_len=99,
            d_model=12 * width,
            n_heads=6,
            n_layers=layers,
            d_ff=7,
            n_kv_heads=groups,
        )
        n_tokens, n_bytes = rng.integers(2, 99, size=2).tolist()
        yield value(f"{groups} groups", config, n_tokens, n_bytes)


def geglu(rng):
    x = rng.normal(size=(2, 5, 14))
    yield pair("7 gates, 7 values", x)
    yield pair("a single row", x[0, 0])


def complex_rope(rng):
    x = rng.normal(size=(2, 3, 5, 6))
    yield pair("0 to 4", x, positions=np.arange(5))
    yield pair("drawn positions", x, positions=rng.integers(60, size=5))


def gpt2_params(rng):
    config = ModelConfig(
        vocab_size=5, max_seq_len=4, d_model=2, n_heads=1, n_layers=2, d_ff=3
    )
    names = ["wte.weight", "wpe.weight", *_both("ln_f")]
    for i in range(config.n_layers):
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            names += _both(f"h.{i}.{part}")
        names += _both(f"h.{i}.ln_1") + _both(f"h.{i}.ln_2")
    tensors = {name: rng.normal(size=3) for name in names}
    yield value("two layers", tensors, config)
    some = {name: rng.normal(size=2) for name in names if "h.1." not in name}
    yield value("one layer", some, replace(config, n_layers=1))


def _both(name):
    return [f"{name}.weight", f"{name}.bias"]
