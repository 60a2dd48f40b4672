"""Every count of appendix A3 against what is there, and its models too.

Sizes are drawn at random; the counts must be exact.
"""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import scale
from helpers.language_model import (
    ModelConfig,
    count_params,
    init_params,
    language_model,
    loss_and_grads,
)
from helpers.runs import scale_tables
from helpers.runs.params import named_arrays
from helpers.runs.tables import read_rows, read_table

sizes = st.integers(1, 9)


@st.composite
def problems(draw):
    """Draw a config, its parameters, a batch and a generator or None."""
    n_heads, T = draw(sizes), draw(sizes)
    config = ModelConfig(
        vocab_size=draw(st.integers(2, 40)),
        max_seq_len=T + draw(st.integers(0, 3)),
        d_model=n_heads * draw(st.integers(1, 5)),
        n_heads=n_heads,
        n_layers=draw(st.integers(1, 3)),
        d_ff=draw(sizes),
        norm=draw(st.sampled_from(["pre", "post"])),
        activation=draw(st.sampled_from(["gelu", "relu"])),
        positions=draw(st.sampled_from(["learned", "sinusoidal"])),
        tied_head=draw(st.booleans()),
        bias=draw(st.booleans()),
        dropout=draw(st.sampled_from([0.0, 0.3])),
    )
    rng = np.random.default_rng(0)
    params = init_params(config, rng)
    ids = rng.integers(0, config.vocab_size, (draw(sizes), T))
    coins = np.random.default_rng(1) if draw(st.booleans()) else None
    return config, params, ids, coins


# counts


@given(problems())
def test_parameters_are_counted_exactly(problem):
    config, params, _, _ = problem
    parts = scale.parameter_counts(config)
    assert sum(parts.values()) == count_params(params)


@given(problems())
def test_flops_are_counted_exactly(problem):
    config, params, ids, coins = problem
    _, notes = scale.trace(language_model, ids, params, config, None, coins)
    seen = [flops for name, flops, _ in notes if name == "matmul"]
    assert sum(seen) == sum(scale.product_flops(config, *ids.shape).values())
    assert len(seen) == 6 * config.n_layers + 1
    _, notes = scale.trace(loss_and_grads, ids, ids, params, config, coins)
    seen = [flops for name, flops, _ in notes if name == "matmul"]
    assert sum(seen) == scale.step_flops(config, *ids.shape)


@given(problems())
def test_activations_are_counted_exactly(problem):
    config, params, ids, coins = problem
    _, cache = language_model(ids, params, config, rng=coins)
    held = scale.distinct_bytes(cache, [params, ids])
    assert held == scale.activation_bytes(config, *ids.shape, rng=coins)


@given(problems())
def test_tracing_changes_nothing(problem):
    config, params, ids, _ = problem
    loss, grads = loss_and_grads(ids, ids, params, config)
    (seen_loss, seen), _ = scale.trace(
        loss_and_grads, ids, ids, params, config
    )
    assert seen_loss == loss
    for name, grad in named_arrays(grads).items():
        traced = named_arrays(seen)[name]
        assert type(traced) is np.ndarray
        np.testing.assert_array_equal(traced, grad)


def test_notes_of_small_operations():
    x, y = np.ones((2, 3, 4)), np.ones((2, 4, 5), np.float32)
    notes = scale.trace(np.matmul, x, y)[1]
    assert notes == [("matmul", 2 * 2 * 3 * 4 * 5, 192 + 160 + 240)]
    assert scale.trace(np.sum, x)[1] == [("sum", 24, 192)]
    assert scale.trace(lambda x: x + 1.0, x)[1] == [("add", 24, 384)]
    assert scale.trace(np.concatenate, [x, x])[1][0][1] == 0

    def in_place(x):
        x *= 2

    assert scale.trace(in_place, x)[1] == [("multiply", 24, 384)]
    assert (x == 2).all()


def test_distinct_bytes_counts_memory_once():
    x = np.zeros((4, 6))
    cache = x[:2], [x.T, {"more": np.zeros(3)}], "no array", None
    assert scale.distinct_bytes(cache, []) == 8 * (24 + 3)
    assert scale.distinct_bytes(cache, [x[1:]]) == 8 * 3


# time


def test_slope_of_a_power():
    x = np.array([1.0, 3.0, 20.0])
    assert scale.slope(x, 7 * x**1.5) == pytest.approx(1.5)


def test_best_seconds_is_the_shortest(monkeypatch):
    clock = iter([0, 3, 10, 11, 20, 25])
    monkeypatch.setattr(scale.time, "perf_counter", lambda: next(clock))
    seen = []
    assert scale.best_seconds(seen.append, 5, repeats=3) == 1
    assert seen == [5, 5, 5]


def test_roof_bends_where_both_limits_meet():
    roof = scale.roof([0.5, 4.0, 100.0], peak=40.0, bandwidth=10.0)
    np.testing.assert_array_equal(roof, [5.0, 40.0, 40.0])


# loss


def test_tokens_for_loss():
    rows = zip((10, 100, 10_000), (4.0, 3.0, 2.0))
    log = [{"tokens": t, "valid_loss": loss} for t, loss in rows]
    assert scale.tokens_for_loss(log, 5.0) == 10
    assert scale.tokens_for_loss(log, 3.0) == pytest.approx(100)
    assert scale.tokens_for_loss(log, 2.5) == pytest.approx(1000)
    assert scale.tokens_for_loss(log, 1.9) is None


@pytest.mark.parametrize("law", scale.LAWS.values(), ids=list(scale.LAWS))
@pytest.mark.parametrize("flops", [1e18, 1e21, 5.76e23])
def test_best_split_is_the_lowest_of_many(flops, law):
    n_params, n_tokens = scale.best_split(flops, law)
    assert 6 * n_params * n_tokens == pytest.approx(flops)
    others = n_params * np.geomspace(0.1, 10, 501)
    losses = scale.lawful_loss(others, flops / 6 / others, law)
    assert losses.argmin() == 250


def test_laws_as_published():
    """Besiroglu et al.: 20 tokens a parameter at Chinchilla's budget."""
    n_params, n_tokens = scale.best_split(
        5.76e23, scale.LAWS["Besiroglu et al. 2024"]
    )
    assert 15 < n_tokens / n_params < 25
    loss = scale.lawful_loss(70e9, 1.4e12, scale.LAWS["Hoffmann et al. 2022"])
    assert loss == pytest.approx(1.69 + 0.083 + 0.163, abs=0.001)


# machines


def test_training_days():
    assert scale.training_days(86_400e12, 2e12, 0.5) == pytest.approx(1)
    assert scale.training_days(1e20, 1e14, 0.4, 8) == pytest.approx(
        scale.training_days(1e20, 1e14, 0.4) / 8
    )


def test_state_bytes_as_in_the_paper():
    """Rajbhandari et al. 2020, figure 1: 7.5e9 parameters, 64 devices."""
    held = [scale.state_bytes(7.5e9, 64, stage) / 1e9 for stage in range(4)]
    assert np.round(held, 1).tolist() == [120.0, 31.4, 16.6, 1.9]


@given(st.integers(1, 8), st.integers(0, 30))
def test_ring_gives_every_rank_the_sum(N, size):
    vectors = np.random.default_rng(size).integers(-99, 99, (N, size))
    before = vectors.copy()
    results, sent = scale.ring_all_reduce(list(vectors))
    for result in results:
        np.testing.assert_array_equal(result, vectors.sum(axis=0))
    np.testing.assert_array_equal(vectors, before)
    assert len(sent) == 2 * (N - 1)
    assert sent.sum() == 2 * (N - 1) * size * 8


@pytest.mark.parametrize("N", [2, 3, 8])
def test_ring_seconds_follow_the_messages(N):
    vectors = list(np.random.default_rng(0).random((N, 48)))
    results, sent = scale.ring_all_reduce(vectors)
    for result in results:  # floats, too, are the same bits everywhere
        np.testing.assert_array_equal(result, results[0])
    seconds = sum(0.5 + step.max() / 100.0 for step in sent)
    assert scale.ring_seconds(48 * 8, N, 0.5, 100.0) == pytest.approx(seconds)
    assert (sent.sum(axis=0) == 2 * (N - 1) / N * 48 * 8).all()


def test_step_seconds_has_three_parts():
    ring = scale.ring_seconds(100, 4, 1.0, 10.0)
    step = scale.step_seconds(8.0, 0.5, 100, 4, 1.0, 10.0)
    assert step == pytest.approx(2.0 + 0.5 + ring)
    assert scale.step_seconds(8.0, 0.5, 100, 1, 1.0, 10.0) == 8.5


# what was measured


def test_tables_hold_what_the_notebook_reads():
    rows = read_table("A3_growth")
    cases = {(row["size"], row["value"]) for row in rows}
    assert cases == {
        (n, v) for n in scale_tables.GROWTH for v in scale_tables.GROWTH[n]
    }
    assert all(row["seconds"] > 0 < row["peak_bytes"] for row in rows)
    rows = read_table("A3_mpi")
    assert [(row["scaling"], row["ranks"]) for row in rows] == [
        (kind, N) for kind in ("strong", "weak") for N in (1, 2, 4)
    ]
    params = scale_tables.problem(**scale_tables.BASE)[2]
    assert {row["gradient_bytes"] for row in rows} == {
        4 * count_params(params)
    }
    rows = read_table("A3_all_reduce")
    assert [row["bytes"] for row in rows] == scale_tables.BYTES


def test_growth_writes_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale_tables, "FOLDER", tmp_path)
    monkeypatch.setattr(scale_tables, "GROWTH", {"B": (1, 2), "T": (8,)})
    base = {"T": 4, "d_model": 32, "n_layers": 1, "vocab_size": 50, "B": 1}
    monkeypatch.setattr(scale_tables, "BASE", base)
    scale_tables.growth(rounds=2)
    assert "A3_growth.csv: 3 rows" in capsys.readouterr().out
    rows = read_rows(tmp_path / "A3_growth.csv")
    assert [row["value"] for row in rows] == [1, 2, 8]
    with open(tmp_path / "A3_growth.csv", newline="") as file:
        assert next(csv.reader(file))[:2] == ["size", "value"]


def test_only_tables_that_are_not_there_are_made(tmp_path, monkeypatch):
    made = []
    tables = {
        name: (lambda name=name: made.append(name), files)
        for name, (_, files) in scale_tables.TABLES.items()
    }
    monkeypatch.setattr(scale_tables, "TABLES", tables)
    monkeypatch.setattr(scale_tables, "FOLDER", tmp_path)
    for name in ("A3_growth", "A3_mpi"):
        (tmp_path / f"{name}.csv").touch()
    scale_tables.main([])
    assert made == ["mpi"]  # one of its two tables is lacking
    scale_tables.main(["growth"])
    assert made == ["mpi", "growth"]


def test_peak_bytes_sees_the_most_that_was_held():
    def hold(n):
        big = np.zeros(n, np.uint8)
        small = big[:10].copy()
        del big
        return small

    peak = scale_tables.peak_bytes(hold, 10**6)
    assert 10**6 <= peak < 1.1 * 10**6
