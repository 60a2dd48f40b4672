"""Every backward pass equals torch's, in float64 to 1e-9 and float32 to 1e-5.

CHECKS holds the cases, by op: random inputs and a random gradient flowing in,
sizes that differ from each other, parameters away from their initial values.
A backward pass without a case fails the suite. test_mutants.py runs the same
cases on deliberately broken copies of the code, to prove that they can fail.
"""

import itertools
from functools import partial

import numpy as np
import pytest
import torch_reference as reference

from helpers import (
    attention,
    embeddings,
    generation,
    language_model,
    tinystories,
    training,
    transformer_block,
)
from helpers.checks import check_backward, check_numerically
from helpers.language_model import ModelConfig, init_params
from helpers.runs.params import map_arrays

LESSONS = (
    attention,
    embeddings,
    transformer_block,
    language_model,
    tinystories,
    training,
    generation,
)
# B, T, H, D, F; max_seq_len is T + 3 and the vocabulary 11
SIZES = [(2, 5, 3, 4, 7), (3, 4, 2, 5, 6), (1, 1, 2, 3, 5)]
V = 11
CHECKS = {}  # op: {label: (arrays, settings)}


def find_backwards():
    """Return {op: module} for every public <op>_backward of the lessons."""
    return {
        name.removesuffix("_backward"): module
        for module in LESSONS
        for name, function in vars(module).items()
        if name.endswith("_backward")
        and not name.startswith("_")
        and function.__module__ == module.__name__
    }


MODULES = find_backwards() | {"loss": language_model}


def add(op, label, *arrays, **settings):
    """Put a case on the list."""
    cases = CHECKS.setdefault(op, {})
    assert label not in cases
    cases[label] = arrays, settings


def residual_ops(module):
    """Residual takes a function; let that be a feed-forward."""

    def residual(x, params, norm, config, rng=None):
        feed = partial(
            module.feed_forward, params=params, activation=config.activation
        )
        return module.residual(x, feed, norm, config, rng)

    def residual_backward(dout, cache):
        feed_backward = module.feed_forward_backward
        return module.residual_backward(dout, cache, feed_backward)

    return residual, residual_backward


def loss_ops(module):
    """Take the path that trains: one call gives the loss and the grads."""

    def loss(ids, targets, params, config, rng=None):
        return module.loss_and_grads(ids, targets, params, config, rng)

    def loss_backward(dloss, grads):
        return map_arrays(lambda grad: grad * dloss, grads)

    return loss, loss_backward


def reference_residual(x, params, norm, config, rng=None):
    feed = partial(
        reference.feed_forward, params=params, activation=config.activation
    )
    return reference.residual(x, feed, norm, config, rng)


OPS = {"residual": residual_ops, "loss": loss_ops}
REFERENCES = {"residual": reference_residual}


def prove(op, label, module=None):
    """Run one case, on a broken copy of the module if one is given."""
    module = module or MODULES[op]
    if op in OPS:
        forward, backward = OPS[op](module)
    else:
        forward = getattr(module, op)
        backward = getattr(module, op + "_backward")
    arrays, settings = CHECKS[op][label]
    torch_op = REFERENCES.get(op) or getattr(reference, op)
    return check_backward(forward, backward, torch_op, arrays, **settings)


def config_of(size, **options):
    _, T, H, D, F = size
    sizes = {"d_model": H * D, "n_heads": H, "n_layers": 2, "d_ff": F}
    return ModelConfig(vocab_size=V, max_seq_len=T + 3, **sizes, **options)


def moved_params(config, rng):
    """Draw parameters, then move all of them: no norm weight stays 1."""
    params = init_params(config, rng, np.float64)
    return map_arrays(lambda a: a + rng.normal(0, 0.3, a.shape), params)


def padding_mask(rng, *shape):
    """Hide keys at random, but leave each query its first."""
    mask = rng.random(shape) < 0.6
    mask[..., 0] = True
    return mask


# --- attention ---


def add_attention(rng, size, s):
    B, T, H, D, F = size
    x = rng.normal(size=(B, T, F))
    weight, bias = rng.normal(size=(F, D)), rng.normal(size=D)
    add("linear", f"bias{s}", x, weight, bias)
    add("linear", f"no bias{s}", x, weight)
    add("linear", f"rows{s}", x[0], weight, bias)
    add("softmax", f"scores{s}", rng.normal(size=(B, H, T, T + 2)))
    add("softmax", f"row{s}", rng.normal(size=F))
    add("softmax", f"large{s}", 1000 + 5 * rng.normal(size=(B, F)))
    q, k, v = rng.normal(size=(3, B, H, T, D))
    more_k, more_v = rng.normal(size=(2, B, H, T + 2, D))
    name = "scaled_dot_product_attention"
    add(name, f"unmasked{s}", q, k, v)
    add(name, f"more keys{s}", q, more_k, more_v)
    add(name, f"causal{s}", q, k, v, mask=np.tri(T, dtype=bool))
    mask = padding_mask(rng, B, 1, T, T + 2)
    add(name, f"padding{s}", q, more_k, more_v, mask=mask)
    add(name, f"one head{s}", q[0, 0], more_k[0, 0], more_v[0, 0])
    add("split_heads", f"heads{s}", rng.normal(size=(B, T, H * D)), n_heads=H)
    add("merge_heads", f"heads{s}", q)


def add_multi_head(rng, size, s):
    B, T, H, D, _ = size
    x = rng.normal(size=(B, T, H * D))
    masks = {
        "unmasked": None,
        "causal": np.tri(T, dtype=bool),
        "padding": padding_mask(rng, B, 1, T, T),
    }
    for bias, label in itertools.product([True, False], masks):
        config = config_of(size, bias=bias)
        params = moved_params(config, rng)["blocks"][0]["attention"]
        settings = {"n_heads": H, "mask": masks[label]}
        label = f"{label}{' bias' if bias else ''}{s}"
        add("multi_head_attention", label, x, params, **settings)


# --- embeddings ---


def add_embeddings(rng, size, s):
    B, T, H, D, _ = size
    C = H * D
    weight = rng.normal(size=(V, C))
    repeated = rng.integers(0, 3, size=(B, T + 4))
    add("embedding", f"repeated{s}", repeated, weight)
    add("embedding", f"row{s}", np.array([4, 4, 0, 10, 4]), weight)
    x, table = rng.normal(size=(B, T, C)), rng.normal(size=(T + 3, C))
    add("learned_positions", f"shorter{s}", x, table)
    add("learned_positions", f"full{s}", x, table[:T])


# --- the block ---


def add_elementwise(rng, size, s):
    x = rng.normal(size=size[:3])
    x.flat[::4] = 0.0  # relu's kink
    for op in ("relu", "gelu"):
        add(op, f"normal{s}", x)
        add(op, f"large{s}", 8 * x)
    add("dropout", f"p 0.3{s}", x, p=0.3, rng=np.random.default_rng(3))
    add("dropout", f"p 0.8{s}", x, p=0.8, rng=np.random.default_rng(4))
    add("dropout", f"p 0{s}", x, p=0.0, rng=np.random.default_rng(5))
    add("dropout", f"evaluation{s}", x, p=0.5, rng=None)


def add_layer_norm(rng, size, s):
    B, T, H, D, _ = size
    x = rng.normal(1.0, 2.0, size=(B, T, H * D))
    weight, bias = rng.normal(size=(2, H * D))
    add("layer_norm", f"usual eps{s}", x, weight, bias)
    add("layer_norm", f"large eps{s}", x, weight, bias, eps=0.5)
    add("layer_norm", f"small x{s}", x * 1e-3, weight, bias)
    add("layer_norm", f"one row{s}", x[0, 0], weight, bias)


def add_blocks(rng, size, s):
    B, T, H, D, _ = size
    x = rng.normal(size=(B, T, H * D))
    for kinds in itertools.product(
        ["pre", "post"], ["gelu", "relu"], [True, False], [0.0, 0.3]
    ):
        norm, activation, bias, p = kinds
        options = {"activation": activation, "bias": bias, "dropout": p}
        config = config_of(size, norm=norm, **options)
        params = moved_params(config, rng)["blocks"][0]
        label = " ".join(map(str, kinds)) + s
        settings = {"rng": np.random.default_rng(5)}
        feed, norm1 = params["feed_forward"], params["norm1"]
        add("residual", label, x, feed, norm1, config, **settings)
        add("transformer_block", label, x, params, config, **settings)
        settings["mask"] = np.tri(T, dtype=bool)
        label = "causal " + label
        add("transformer_block", label, x, params, config, **settings)
        if norm == "pre" and p == 0.0:
            label = f"{activation} {bias}{s}"
            add("feed_forward", label, x, feed, activation)


# --- the model ---


def add_cross_entropy(rng, size, s):
    B, T = size[:2]
    logits = rng.normal(size=(B, T + 1, V))
    targets = rng.integers(0, V, size=(B, T + 1))
    some = targets.copy()
    some[0, 0], some[-1, -1] = -100, 3
    op = "cross_entropy"
    add(op, f"all{s}", logits, targets)
    add(op, f"some ignored{s}", logits, some)
    fives = np.where(some == -100, 5, some)
    add(op, f"5 ignored{s}", logits, fives, ignore_index=5)
    add(op, f"large{s}", 500 + 40 * logits, some)
    add(op, f"rows{s}", logits[0], targets[0])


def add_ends(rng, size, s):
    B, T, H, D, _ = size
    ids = rng.integers(0, 4, size=(B, T))
    x = rng.normal(size=(B, T, H * D))
    for positions, p in itertools.product(
        ["learned", "sinusoidal"], [0.0, 0.3]
    ):
        config = config_of(size, positions=positions, dropout=p)
        params = moved_params(config, rng)
        used = ("token_embedding", "position_embedding")
        params = {key: params[key] for key in used if key in params}
        settings = {"rng": np.random.default_rng(6)}
        label = f"{positions} {p}{s}"
        add("embed", label, ids, params, config, **settings)
    for tied in (True, False):
        params = moved_params(config_of(size, tied_head=tied), rng)
        key = "token_embedding" if tied else "head"
        add("head", f"{key}{s}", x, {key: params[key]})


KINDS = {
    "norm": ("pre", "post"),
    "activation": ("gelu", "relu"),
    "positions": ("learned", "sinusoidal"),
    "tied_head": (True, False),
    "bias": (True, False),
}
COMBINATIONS = [
    dict(zip(KINDS, kinds)) for kinds in itertools.product(*KINDS.values())
]


def add_models(rng, size, s):
    B, T = size[:2]
    ids = rng.integers(0, V - 2, size=(B, T))  # some twice, some never
    targets = rng.integers(0, V, size=(B, T))
    targets[0, 0] = -100 if targets.size > 1 else 1
    for options in COMBINATIONS:
        for p in (0.0, 0.25):
            config = config_of(size, **options, dropout=p)
            params = moved_params(config, rng)
            settings = {"rng": np.random.default_rng(7)}
            label = " ".join(map(str, options.values())) + f" {p}{s}"
            add("language_model", label, ids, params, config, **settings)
            add("loss", label, ids, targets, params, config, **settings)
    mask = padding_mask(rng, T, T)
    config = config_of(size)
    params = moved_params(config, rng)
    add("language_model", f"own mask{s}", ids, params, config, mask=mask)


for seed, size in enumerate(SIZES):
    suffix = f" {seed}"
    rng = np.random.default_rng(seed)
    add_attention(rng, size, suffix)
    add_multi_head(rng, size, suffix)
    add_embeddings(rng, size, suffix)
    add_elementwise(rng, size, suffix)
    add_layer_norm(rng, size, suffix)
    add_blocks(rng, size, suffix)
    add_cross_entropy(rng, size, suffix)
    add_ends(rng, size, suffix)
    if size != SIZES[1]:
        add_models(rng, size, suffix)


@pytest.mark.parametrize(
    "op, label", [(op, label) for op in CHECKS for label in CHECKS[op]]
)
def test_backward_equals_torch(op, label):
    prove(op, label)


def test_every_backward_has_a_case():
    assert set(CHECKS) == set(MODULES)
    assert len(MODULES) > 15


@pytest.mark.parametrize("op, place", [("language_model", 2), ("loss", 3)])
def test_every_configuration_is_among_the_cases(op, place):
    configs = [arrays[place] for arrays, _ in CHECKS[op].values()]
    seen = {
        (*(getattr(config, kind) for kind in KINDS), config.dropout > 0)
        for config in configs
    }
    assert len(seen) == 2**6


@pytest.mark.parametrize(
    "op",
    [
        "softmax",
        "scaled_dot_product_attention",
        "multi_head_attention",
        "layer_norm",
        "gelu",
        "feed_forward",
        "transformer_block",
        "cross_entropy",
        "language_model",
    ],
)
def test_backward_equals_central_differences(op):
    module = MODULES[op]
    arrays, settings = next(iter(CHECKS[op].values()))
    backward = getattr(module, op + "_backward")
    forward = getattr(module, op)
    check_numerically(forward, backward, arrays, samples=8, **settings)


@pytest.mark.parametrize("seed", range(3))
def test_default_model_is_gpt2(seed):
    rng, size = np.random.default_rng(seed), SIZES[0]
    config = config_of(size)
    params, ids = moved_params(config, rng), rng.integers(0, V, size[:2])

    def gpt2(ids, params, config):
        return reference.gpt2(ids, params, config.n_heads)

    model = language_model.language_model
    backward = language_model.language_model_backward
    check_backward(model, backward, gpt2, (ids, params, config))


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_post_norm_relu_block_is_the_one_of_2017(seed, masked):
    rng, (B, T, H, D, _) = np.random.default_rng(seed), SIZES[0]
    config = config_of(SIZES[0], norm="post", activation="relu", bias=False)
    params = moved_params(config, rng)["blocks"][0]
    x = rng.normal(size=(B, T, H * D))

    def block_2017(x, params, config, mask=None):
        return reference.block_2017(x, params, config.n_heads, mask)

    block = transformer_block.transformer_block
    backward = transformer_block.transformer_block_backward
    mask = np.tri(T, dtype=bool) if masked else None
    check_backward(block, backward, block_2017, (x, params, config), mask=mask)


@pytest.mark.parametrize("T, C", [(1, 1), (5, 12), (7, 5), (40, 6)])
def test_sinusoidal_positions_follow_the_paper(T, C):
    got = embeddings.sinusoidal_positions(T, C)
    expected = reference.sinusoidal_positions(T, C).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-12)
