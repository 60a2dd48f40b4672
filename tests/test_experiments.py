"""The experiments of A2: gradients of changed models, and the kept runs."""

import csv
import inspect
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch.nn.functional as F

from helpers import attention, experiments, language_model, transformer_block
from helpers.checks import Mistake, check_backward, check_numerically
from helpers.experiments import (
    BASE,
    LABELS,
    PLAN,
    REPLACEMENTS,
    RESULTS,
    SCORES,
    Setup,
    compare,
    model_config,
    pick,
    planned,
    read_runs,
    replaced,
    run_plan,
    run_setup,
    verdict,
    write_runs,
)
from helpers.language_model import (
    ModelConfig,
    init_params,
    language_model_backward,
)
from helpers.runs.params import map_arrays

TINY = Setup("stories", d_model=4, steps=2, warmup=0, lr=0.01, n_layers=1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# what is put in place of parts


def test_unscaled_attention(rng):
    q, k, v = (rng.normal(size=(2, 3, T, 4)) for T in (5, 7, 7))
    mask = np.tri(5, 7, 2, dtype=bool)

    def torch_op(q, k, v, mask):
        return F.scaled_dot_product_attention(q, k, v, mask, scale=1.0)

    pair = (
        experiments.unscaled_attention,
        experiments.unscaled_attention_backward,
    )
    check_backward(*pair, torch_op, (q, k, v), mask=mask)


def test_no_norm(rng):
    x, weight, bias = (rng.normal(size=s) for s in ((2, 5, 12), 12, 12))
    pair = experiments.no_norm, experiments.no_norm_backward

    def torch_op(x, weight, bias):
        return x * weight + bias

    check_backward(*pair, torch_op, (x, weight, bias))


def test_no_residual(rng):
    x, weight = rng.normal(size=(2, 5, 12)), rng.normal(size=(12, 12))
    norm = dict(zip(("weight", "bias"), rng.normal(size=(2, 12))))

    def op(x, weight, norm):
        def sublayer(h):
            return attention.linear(h, weight)

        return experiments.no_residual(x, sublayer, norm, None)

    def op_backward(dout, cache):
        linear_backward = attention.linear_backward

        def backward(dout, cache):
            return linear_backward(dout, cache)[:2]

        return experiments.no_residual_backward(dout, cache, backward)

    def torch_op(x, weight, norm):
        return F.layer_norm(x, (12,), norm["weight"], norm["bias"]) @ weight

    check_backward(op, op_backward, torch_op, (x, weight, norm))


def logits(params, ids, config):
    """Call the model as the op of a gradient check."""
    return language_model.language_model(ids, params, config)


PROOFS = {
    "unscaled_attention": test_unscaled_attention,
    "no_norm": test_no_norm,
    "no_residual": test_no_residual,
}


def changed_model(rng, positions):
    """Return parameters away from their initial values, ids and config."""
    config = ModelConfig(
        vocab_size=11,
        max_seq_len=8,
        d_model=12,
        n_heads=3,
        n_layers=2,
        d_ff=7,
        positions=positions,
    )
    params = init_params(config, rng, np.float64)
    params = map_arrays(lambda a: a + 0.3 * rng.normal(size=a.shape), params)
    return params, rng.integers(0, 11, (2, 5)), config


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_whole_model_with_a_part_replaced(name, rng):
    params, *rest = changed_model(rng, "sinusoidal")
    before, _ = logits(params, *rest)
    with replaced(REPLACEMENTS[name]):
        pair = logits, language_model_backward
        # the gradient reaches every parameter
        check_numerically(*pair, (params,), ids=rest[0], config=rest[1])
        after, _ = logits(params, *rest)
    assert np.allclose(before, after) == (name == "nothing")


MUTANTS = [
    ("no_norm_backward", "dout * weight,", "dout,", "weight missing"),
    ("no_norm_backward", "(dout * x)", "dout", "x missing"),
    ("no_residual_backward", "return dx", "return dx + dout", "sum kept"),
    ("unscaled_attention_backward", "dq * root", "dq", "root missing"),
    ("unscaled_attention", "q * root", "q", "scaled all the same"),
]


@pytest.mark.parametrize("function, old, new, why", MUTANTS)
def test_check_notices_a_mistake(function, old, new, why, rng, monkeypatch):
    source = inspect.getsource(getattr(experiments, function))
    assert source.count(old) == 1
    namespace = dict(vars(experiments))
    exec(source.replace(old, new), namespace)
    monkeypatch.setattr(experiments, function, namespace[function])
    with pytest.raises(Mistake):
        PROOFS[function.removesuffix("_backward")](rng)


def test_parts_are_put_back():
    def parts():
        modules = attention, transformer_block, language_model
        names = set(itertools.chain(*REPLACEMENTS.values()))
        found = [(m, n) for m in modules for n in names if hasattr(m, n)]
        return {(m.__name__, n): getattr(m, n) for m, n in found}

    before = parts()
    for functions in REPLACEMENTS.values():
        with pytest.raises(KeyError), replaced(functions):
            changed = {key for key in before if parts()[key] != before[key]}
            assert {name for _, name in changed} == set(functions)
            raise KeyError
        assert parts() == before


def test_no_norm_replaces_every_layer_norm(rng):
    params, ids, config = changed_model(rng, "learned")
    with replaced(REPLACEMENTS["no norm"]):
        once, _ = logits(params, ids, config)
        params["final_norm"] = {"weight": 2 * params["final_norm"]["weight"]}
        params["final_norm"]["bias"] = np.zeros(12)
        assert not np.allclose(once, logits(params, ids, config)[0])
        doubled = map_arrays(np.copy, params)
        doubled["final_norm"]["weight"] *= 2  # linear: nothing normalises
        twice, _ = logits(doubled, ids, config)
        assert np.allclose(twice, 2 * logits(params, ids, config)[0])


# the kept runs


def test_file_holds_exactly_what_is_planned():
    with open(RESULTS, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [tuple(row[name] for name in LABELS) for row in rows] == list(
        planned()
    )
    for row in rows:
        used = [row[name] for name in SCORES if row[name]]
        assert len(used) == (7 if row["task"] == "digits" else 2)
        assert all(math.isfinite(float(value)) for value in used)


def test_every_variant_has_five_seeds():
    assert all(len(seeds) >= 5 for *_, seeds in PLAN)


def test_a_kept_run_can_be_repeated():
    key = next(k for k in planned() if k[:3] == ("sizes", "1 layer", "0"))
    scores, row = run_setup(*planned()[key]), read_runs()[key]
    for name in ("loss", "accuracy"):
        assert scores[name] == pytest.approx(float(row[name]), abs=0.02)


def test_seed_decides():
    first, again, other = (run_setup(TINY, seed) for seed in (3, 3, 4))
    assert first == again != other


def test_untied_head_and_loud_tokens():
    setup = replace(TINY, steps=1, lr=1e-30, tied_head=False)
    loud = replace(setup, token_std=0.7)
    assert not model_config(setup).tied_head
    quiet, loud = (experiments.train_setup(s, 0)[0] for s in (setup, loud))
    tables = [p["token_embedding"]["weight"].std() for p in (quiet, loud)]
    assert np.allclose(tables, [0.02, 0.7], rtol=0.05)
    assert np.array_equal(quiet["head"]["weight"], loud["head"]["weight"])


# what is said about them


def test_verdict():
    assert verdict([3, 4], [1, 2]) == "higher"
    assert verdict([1, 2], [3, 4]) == "lower"
    for values in ([2, 5], [0, 5], [2, 2], [1, 4]):
        assert verdict(values, [2, 4]) == "no clear difference"


def test_compare(capsys):
    compare({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [1.5, 1.7]})
    out = capsys.readouterr().out.splitlines()
    assert [line.split() for line in out] == [
        ["a", "1.500", "±", "0.707"],
        ["b", "3.500", "±", "0.707", "higher"],
        ["c", "1.600", "±", "0.141", "no", "clear", "difference"],
    ]


def test_pick():
    rows = [{"seed": "0", "loss": "1.5"}, {"seed": "1", "loss": "2.5"}]
    assert pick(rows, "loss") == [1.5, 2.5]
    assert pick(rows, "loss", seed=1) == [2.5]


# the plan and the file


def test_run_plan_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    path = tmp_path / "runs.csv"
    monkeypatch.setattr(experiments, "BASE", BASE | {"stories": TINY})
    plan = [("small", "stories", {"a": {}, "b": {"n_heads": 1}}, range(2))]
    monkeypatch.setattr(experiments, "PLAN", plan)
    run_plan(path, workers=1)
    assert capsys.readouterr().out == "4 runs in runs.csv, 4 of them new\n"
    whole, rows = path.read_text(), read_runs(path)
    del rows[list(rows)[1]]
    write_runs(rows, path)
    assert path.read_text() != whole
    run_plan(path, workers=1)
    assert capsys.readouterr().out == "4 runs in runs.csv, 1 of them new\n"
    assert path.read_text() == whole

    plan[0][2]["a"]["lr"] = 0.5  # other settings: its rows do not count
    assert [key[1] for key in read_runs(path)] == ["b", "b"]


def test_file_that_is_not_there(tmp_path):
    assert read_runs(tmp_path / "runs.csv") == {}
