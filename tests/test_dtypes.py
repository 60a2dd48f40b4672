"""A float32 run holds no float64 array, in any pair of choices.

One stray float64 number turns everything after it into float64 and doubles
the time of a step. A tracer looks at every local variable and every result
of every function in helpers/ while a step, with dropout, and a generation
run; a walker looks through nested results, caches and states. Exceptions are
listed by name, with the reason. Controls prove that both notice one array.
"""

import contextlib
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pairwise
import pytest

import helpers
from helpers import attention, generation, training
from helpers.language_model import (
    cross_entropy,
    cross_entropy_backward,
    init_params,
    language_model,
    language_model_backward,
    loss_and_grads,
)
from helpers.runs.params import map_arrays, named_arrays
from helpers.runs.speed import batch_loss_and_grads
from helpers.training import TrainSettings, start_run, train_step
from helpers.transformer_block import NORMS

HELPERS = str(Path(helpers.__file__).parent)
CONFIGS = {  # dropout in all of them: one more place for a float64
    name.rpartition(" ")[0]: replace(config, max_seq_len=8, dropout=0.2)
    for name, config in pairwise.CONFIGS.items()
}
GPT2 = next(iter(CONFIGS.values()))
WIDE_ON_PURPOSE = {
    "sinusoidal_positions": "a (T, C) table, cast before it is added",
    "position_vectors": "rows of that table, cast before they are added",
    "embed.table": "that table",
    "rope_angles": "a (T, D / 2) table, its cosines cast before use",
    "rope.angles": "that table",
    "cross_entropy_backward.scale": "one number a target, cast before use",
}


def wide_floats(value, path=""):
    """Yield the paths of all NumPy floats in value that are not float32.

    Looks into dicts, lists, tuples, sets and objects of helpers/. A Python
    float is no NumPy number and widens nothing.
    """
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind == "f" and value.dtype != np.float32:
            yield path
        return
    if type(value).__module__.startswith("helpers."):
        value = vars(value)
    if isinstance(value, dict):
        for key, part in value.items():
            yield from wide_floats(part, f"{path}.{key}")
    elif isinstance(value, list | tuple | set):
        for index, part in enumerate(value):
            yield from wide_floats(part, f"{path}.{index}")


@contextlib.contextmanager
def tracing():
    """Collect "function.variable" for all float64 seen in helpers/."""
    found, seen = set(), set()

    def look(frame, event, result):
        code = frame.f_code
        if event != "return" or not code.co_filename.startswith(HELPERS):
            return
        seen.add(code.co_name)
        if code.co_name in WIDE_ON_PURPOSE:
            return
        for name, value in {**frame.f_locals, "return": result}.items():
            if list(wide_floats(value)):
                found.add(f"{code.co_name}.{name}")

    old = sys.getprofile()
    sys.setprofile(look)
    threading.setprofile(look)  # for the workers of a step
    try:
        yield found, seen
    finally:
        sys.setprofile(old)
        threading.setprofile(None)


def new_run(config):
    return start_run(config, TrainSettings(steps=5, warmup=2))


def batch(config):
    rng = np.random.default_rng(0)
    return rng.integers(0, config.vocab_size, (2, 2, 5))


every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@every_config
def test_train_step_stays_float32(config):
    run = new_run(config)
    with tracing() as (found, seen):
        for gradient in (loss_and_grads, batch_loss_and_grads):
            train_step(run, *batch(config), gradient=gradient)
    assert found <= set(WIDE_ON_PURPOSE), found
    norm_backward = NORMS[config.norm][1].__name__
    assert {"dropout", norm_backward, "direction"} <= seen
    assert "micro_loss_and_grads" in seen
    assert not list(wide_floats(run))


@every_config
def test_caches_and_gradients_are_float32(config):
    ids, targets = batch(config)
    params = new_run(config).params
    rng = np.random.default_rng(0)
    logits, cache = language_model(ids, params, config, rng=rng)
    _, loss_cache = cross_entropy(logits, targets)
    dlogits = cross_entropy_backward(1.0, loss_cache)
    grads = language_model_backward(dlogits, cache)
    assert not list(wide_floats([logits, cache, loss_cache, dlogits, grads]))
    assert {a.dtype for a in named_arrays(grads).values()} == {
        np.dtype(np.float32)
    }


@every_config
def test_generation_stays_float32(config):
    params = new_run(config).params
    kv = generation.KVCache(params, config, B=2)
    padded = generation.KVCache(params, config, 2, padding=np.array([0, 1]))
    with tracing() as (found, seen):
        for cache in (kv, padded):
            for ids in (batch(config)[0][:, :3], batch(config)[0][:, 3:4]):
                logits = generation.next_logits(ids, params, config, cache)
                assert logits.dtype == np.float32
    assert found <= set(WIDE_ON_PURPOSE), found
    assert generation.CACHED_ATTENTIONS[config.attention].__name__ in seen
    assert kv.keys.dtype == kv.values.dtype == np.float32
    assert not list(wide_floats([kv, padded]))


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
def test_optimizer_state_is_float32(optimizer):
    params = new_run(GPT2).params
    optimizer = getattr(training, optimizer)(params)
    with tracing() as (found, _):
        for _ in range(2):
            optimizer.step(map_arrays(np.ones_like, params))
    assert not found
    assert not list(wide_floats([params, optimizer]))


# --- controls ---


@pytest.mark.parametrize("wide", [np.zeros(2), np.float64(1), np.zeros(())])
def test_walker_notices_one_float64(wide):
    narrow = np.zeros(2, np.float32)
    tree = {"a": (narrow, [narrow, 1.5]), "b": np.arange(3), "c": None}
    assert not list(wide_floats(tree))
    tree["d"] = (narrow, [{"x": wide}])
    assert list(wide_floats(tree)) == [".d.1.0.x"]


def test_walker_looks_into_a_run():
    run = new_run(GPT2)
    assert not list(wide_floats(run))
    mean = run.optimizer.state["mean"]
    mean["final_norm.bias"] = mean["final_norm.bias"].astype(np.float64)
    assert list(wide_floats(run)) == [".optimizer.state.mean.final_norm.bias"]


def test_tracer_notices_a_numpy_scalar(monkeypatch):
    """A np.float64 scale, that is gone from the parameters afterwards."""

    class Wide:
        def sqrt(self, number):
            return np.sqrt(number)

    monkeypatch.setattr(attention, "math", Wide())
    run = new_run(GPT2)
    with tracing() as (found, _):
        train_step(run, *batch(GPT2))
    assert "scaled_dot_product_attention.scores" in found


def test_tracer_notices_float64_parameters():
    config = GPT2
    params = init_params(config, np.random.default_rng(0), np.float64)
    with tracing() as (found, _):
        language_model(batch(config)[0], params, config)
    assert "gelu.u" in found and "head.return" in found
