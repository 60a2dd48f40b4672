"""The path that trains is the textbook one, only sooner.

batch_loss_and_grads against torch by the same check, against loss_and_grads,
and with any number of workers; dropout, ignored targets and a tied or untied
head included.
"""

import numpy as np
import pytest
import torch_reference as reference

from helpers.checks import check_backward
from helpers.language_model import ModelConfig, init_params, loss_and_grads
from helpers.runs import speed
from helpers.runs.params import map_arrays, named_arrays

SIZES = {"d_model": 12, "n_heads": 3, "n_layers": 2, "d_ff": 20}
KINDS = {
    "gpt2": {},
    "2017": {"norm": "post", "activation": "relu", "bias": False},
    "untied, sinusoidal": {"tied_head": False, "positions": "sinusoidal"},
}


def problem(seed=0, dtype=np.float64, **options):
    """Return a batch of 7 sequences with gaps, parameters and a config."""
    rng = np.random.default_rng(seed)
    config = ModelConfig(vocab_size=11, max_seq_len=8, **SIZES, **options)
    params = init_params(config, rng, np.float64)
    params = map_arrays(lambda a: a + rng.normal(0, 0.3, a.shape), params)
    ids, targets = rng.integers(0, 11, (2, 7, 5))
    targets[rng.random(targets.shape) < 0.3] = -100
    targets[2] = -100  # a micro-batch may have nothing to score
    return ids, targets, map_arrays(lambda a: a.astype(dtype), params), config


def batch_loss(ids, targets, params, config, size=4):
    return speed.batch_loss_and_grads(ids, targets, params, config, size=size)


def batch_loss_backward(dloss, grads):
    return map_arrays(lambda grad: grad * dloss, grads)


def torch_loss(ids, targets, params, config, size):
    return reference.loss(ids, targets, params, config)


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_matches_torch(kind, size):
    arrays = problem(**KINDS[kind])
    check_backward(
        batch_loss, batch_loss_backward, torch_loss, arrays, size=size
    )


def test_equals_the_textbook_to_rounding():
    arrays = problem()
    loss, grads = loss_and_grads(*arrays)
    sooner, batch_grads = speed.batch_loss_and_grads(*arrays)
    assert sooner == pytest.approx(loss, rel=1e-13)
    for name, grad in named_arrays(grads).items():
        other = named_arrays(batch_grads)[name]
        np.testing.assert_allclose(other, grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_same_bits_with_any_number_of_workers(workers):
    arrays = problem(dtype=np.float32, dropout=0.3)
    results = [
        speed.batch_loss_and_grads(
            *arrays, np.random.default_rng(1), size=2, workers=n
        )
        for n in (1, workers)
    ]
    assert results[0][0] == results[1][0]
    for name, grad in named_arrays(results[0][1]).items():
        other = named_arrays(results[1][1])[name]
        assert grad.dtype == np.float32
        np.testing.assert_array_equal(grad, other)


def test_dropout_differs_between_micro_batches_and_steps():
    ids, targets, params, config = problem(dropout=0.5)
    ids[:], targets[:] = ids[0], ids[1]
    rng = np.random.default_rng(0)
    losses = [
        speed.batch_loss_and_grads(ids, targets, params, config, rng, size=s)
        for s in (7, 7, 1)
    ]
    assert len({loss for loss, _ in losses}) == 3


def test_no_target_to_score():
    ids, targets, params, config = problem()
    with pytest.raises(ValueError, match="no target"):
        speed.batch_loss_and_grads(
            ids, np.full_like(targets, -100), params, config
        )


def test_blas_threads_come_back():
    before = [lib["num_threads"] for lib in speed._controller().info()]
    with speed.one_blas_thread():
        inside = list(speed._controller().info())
    blas = [lib for lib in inside if lib["user_api"] == "blas"]
    assert blas and all(lib["num_threads"] == 1 for lib in blas)
    after = [lib["num_threads"] for lib in speed._controller().info()]
    assert after == before


def test_the_last_to_leave_puts_blas_threads_back():
    """As when the panel writes while a cell trains, in whatever order."""

    def threads():
        libraries = speed._controller().info()
        return {b["num_threads"] for b in libraries if b["user_api"] == "blas"}

    with speed._controller().limit(limits=2, user_api="blas"):
        first, second = speed.one_blas_thread(), speed.one_blas_thread()
        for context in (first, second):
            context.__enter__()
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == {2}


def test_keeping_memory_is_harmless_without_glibc(monkeypatch):
    monkeypatch.setattr(speed.ctypes, "CDLL", lambda name: object())
    speed.keep_freed_memory()
