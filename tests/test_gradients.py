"""Every backward pass equals torch's, in float64 to 1e-9 and float32 to 1e-5.

CHECKS holds the cases, by op: random inputs and a random gradient flowing in,
sizes that differ from each other, parameters away from their initial values.
A backward pass without a case fails the suite. What depends on the kind of
model is tried in the configurations of pairwise.py. test_mutants.py runs the
same cases on deliberately broken copies of the code, to prove that they can
fail.
"""

import itertools
import re
from ast import literal_eval
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch_reference as reference
from pairwise import CHOICES, CONFIGS, ROWS, SIZES, V, config_of, name_of

from helpers import (
    assistant,
    attention,
    embeddings,
    generation,
    language_model,
    llama,
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
    llama,
    assistant,
)
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


def add_attention(rng, size):
    B, T, H, D, F = SIZES[size]
    x = rng.normal(size=(B, T, F))
    weight, bias = rng.normal(size=(F, D)), rng.normal(size=D)
    add("linear", f"bias {size}", x, weight, bias)
    add("linear", f"no bias {size}", x, weight)
    add("linear", f"rows {size}", x[0], weight, bias)
    add("softmax", f"scores {size}", rng.normal(size=(B, H, T, T + 2)))
    add("softmax", f"row {size}", rng.normal(size=F))
    add("softmax", f"large {size}", 1000 + 5 * rng.normal(size=(B, F)))
    q, k, v = rng.normal(size=(3, B, H, T, D))
    more_k, more_v = rng.normal(size=(2, B, H, T + 2, D))
    name = "scaled_dot_product_attention"
    add(name, f"unmasked {size}", q, k, v)
    add(name, f"more keys {size}", q, more_k, more_v)
    add(name, f"causal {size}", q, k, v, mask=np.tri(T, dtype=bool))
    mask = padding_mask(rng, B, 1, T, T + 2)
    add(name, f"padding {size}", q, more_k, more_v, mask=mask)
    add(name, f"one head {size}", q[0, 0], more_k[0, 0], more_v[0, 0])
    add(
        "split_heads",
        f"heads {size}",
        rng.normal(size=(B, T, H * D)),
        n_heads=H,
    )
    add("merge_heads", f"heads {size}", q)


def add_multi_head(rng, size):
    B, T, H, D, _ = SIZES[size]
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
        label = f"{label}{' bias' if bias else ''} {size}"
        add("multi_head_attention", label, x, params, **settings)


# --- embeddings ---


def add_embeddings(rng, size):
    B, T, H, D, _ = SIZES[size]
    C = H * D
    weight = rng.normal(size=(V, C))
    repeated = rng.integers(0, 3, size=(B, T + 4))
    add("embedding", f"repeated {size}", repeated, weight)
    add("embedding", f"row {size}", np.array([4, 4, 0, 10, 4]), weight)
    x, table = rng.normal(size=(B, T, C)), rng.normal(size=(T + 3, C))
    add("learned_positions", f"shorter {size}", x, table)
    add("learned_positions", f"full {size}", x, table[:T])


# --- the block ---


def add_elementwise(rng, size):
    x = rng.normal(size=SIZES[size][:3])
    x.flat[::4] = 0.0  # relu's kink
    for op in ("relu", "gelu"):
        add(op, f"normal {size}", x)
        add(op, f"large {size}", 8 * x)
    add("dropout", f"p 0.3 {size}", x, p=0.3, rng=np.random.default_rng(3))
    add("dropout", f"p 0.8 {size}", x, p=0.8, rng=np.random.default_rng(4))
    add("dropout", f"p 0 {size}", x, p=0.0, rng=np.random.default_rng(5))
    add("dropout", f"evaluation {size}", x, p=0.5, rng=None)


def add_layer_norm(rng, size):
    B, T, H, D, _ = SIZES[size]
    x = rng.normal(1.0, 2.0, size=(B, T, H * D))
    weight, bias = rng.normal(size=(2, H * D))
    add("layer_norm", f"usual eps {size}", x, weight, bias)
    add("layer_norm", f"large eps {size}", x, weight, bias, eps=0.5)
    add("layer_norm", f"small x {size}", x * 1e-3, weight, bias)
    add("layer_norm", f"one row {size}", x[0, 0], weight, bias)


def add_block(rng, label, size, config):
    B, T, H, D, _ = SIZES[size]
    x = rng.normal(size=(B, T, H * D))
    params = moved_params(config, rng)["blocks"][0]
    feed, norm = params["feed_forward"], params["norm1"]
    settings = {"rng": np.random.default_rng(5)}
    add("feed_forward", label, x, feed, config.activation)
    add("residual", label, x, feed, norm, config, **settings)
    add("transformer_block", label, x, params, config, **settings)
    settings["mask"] = np.tri(T, dtype=bool)
    add("transformer_block", f"causal {label}", x, params, config, **settings)


# --- Llama's parts ---


def add_llama(rng, size):
    B, T, H, D, F = SIZES[size]
    x = rng.normal(1.0, 2.0, size=(B, T, H * D))
    weight = rng.normal(size=H * D)
    add("rms_norm", f"usual eps {size}", x, weight)
    add("rms_norm", f"large eps {size}", x, weight, eps=0.5)
    add("rms_norm", f"small x {size}", x * 1e-3, weight)
    add("rms_norm", f"one row {size}", x[0, 0], weight)
    add("silu", f"normal {size}", x)
    add("silu", f"large {size}", 100 * x)
    add("swiglu", f"normal {size}", rng.normal(size=(B, T, 2 * F)))
    add("swiglu", f"row {size}", rng.normal(size=2 * F))
    q = rng.normal(size=(B, H, T, D))
    places = {"row": np.arange(T), "padding": rng.integers(0, 99, (B, T))}
    for layout, label in itertools.product(("pairs", "halves"), places):
        settings = {"positions": places[label], "layout": layout}
        add("rope", f"{layout} {label} {size}", q, **settings)
    add("repeat_heads", f"each alone {size}", q, times=1)
    add("repeat_heads", f"groups of 3 {size}", q, times=3)
    for n_kv_heads, bias in itertools.product({1, 2, H}, (True, False)):
        config = config_of(size, n_kv_heads=n_kv_heads, bias=bias)
        params = moved_params(config, rng)["blocks"][0]["attention"]
        mask = np.tri(T, dtype=bool)
        for name in ("grouped_attention", "rope_attention"):
            label = f"{n_kv_heads} of {H} {'bias ' if bias else ''}{size}"
            add(name, f"causal {label}", x, params, n_heads=H, mask=mask)
            add(name, f"unmasked {label}", x, params, n_heads=H)


# --- the model ---


def add_cross_entropy(rng, size):
    B, T = SIZES[size][:2]
    logits = rng.normal(size=(B, T + 1, V))
    targets = rng.integers(0, V, size=(B, T + 1))
    some = targets.copy()
    some[0, 0], some[-1, -1] = -100, 3
    op = "cross_entropy"
    add(op, f"all {size}", logits, targets)
    add(op, f"some ignored {size}", logits, some)
    fives = np.where(some == -100, 5, some)
    add(op, f"5 ignored {size}", logits, fives, ignore_index=5)
    add(op, f"large {size}", 500 + 40 * logits, some)
    add(op, f"rows {size}", logits[0], targets[0])


def add_model(rng, label, size, config):
    B, T, H, D, _ = SIZES[size]
    ids = rng.integers(0, V - 2, size=(B, T))  # some twice, some never
    targets = rng.integers(0, V, size=(B, T))
    targets[0, 0] = -100 if targets.size > 1 else 1
    params = moved_params(config, rng)
    settings = {"rng": np.random.default_rng(7)}
    add("language_model", label, ids, params, config, **settings)
    add("loss", label, ids, targets, params, config, **settings)
    used = ("token_embedding", "position_embedding")
    ends = {key: params[key] for key in used if key in params}
    add("embed", label, ids % 4, ends, config, **settings)
    key = "token_embedding" if config.tied_head else "head"
    x = rng.normal(size=(B, T, H * D))
    add("head", label, x, {key: params[key]})
    settings["mask"] = padding_mask(rng, T, T)
    add("language_model", f"own mask {label}", ids, params, config, **settings)


# --- the assistant ---


def fixed(array):
    """Return what gets no gradient, so that float32 runs stay float32."""
    return np.asarray(array, dtype=np.float32)


def add_log_probs(rng, size):
    B, T, H, D, _ = SIZES[size]
    logits, reference = rng.normal(size=(2, B, T + 1, V))
    targets = rng.integers(0, V, size=(B, T + 1))
    add("token_log_probs", f"all {size}", logits, targets)
    some = targets.copy()
    some[0, 0], some[-1, -1] = -100, 3
    add("token_log_probs", f"some ignored {size}", logits, some)
    add("token_log_probs", f"large {size}", 500 + 40 * logits, some)
    add("exact_kl", f"logits {size}", logits, 2 * reference)
    add("exact_kl", f"a row {size}", logits[0, 0], reference[0, 0])
    weight = rng.normal(size=(H * D, T))
    A, B = rng.normal(size=(H * D, 2)), rng.normal(size=(2, T))
    add("lora", f"rank 2 {size}", weight, A, B, scale=0.7)
    add("lora", f"zero start {size}", weight, A, 0 * B, scale=3.0)


def add_preferences(rng, size):
    B, T = SIZES[size][:2]
    chosen, rejected = rng.normal(0, 3, size=(2, B * T + 1))
    add("dpo_loss", f"pairs {size}", chosen, rejected)
    add("dpo_loss", f"at the start {size}", 0 * chosen, 0 * rejected)
    add("dpo_loss", f"far apart {size}", 900 * chosen, rejected, beta=0.7)
    log_probs, old, reference = rng.normal(-1, 0.4, size=(3, B + 1, T + 2))
    each = {"old": fixed(old), "advantages": fixed(rng.normal(size=old.shape))}
    add("clipped_gain", f"ratios {size}", log_probs, **each)
    add("clipped_gain", f"narrow {size}", log_probs, **each, clip=0.05)
    add("kl_estimate", f"drawn {size}", log_probs, reference)
    each["advantages"] = fixed(rng.normal(size=len(old)))
    each["reference"] = fixed(reference)
    each["scored"] = padding_mask(rng, *old.shape)
    add("policy_loss", f"no KL {size}", log_probs, **each)
    add("policy_loss", f"KL {size}", log_probs, **each, clip=0.3, beta=0.6)


for seed, size in enumerate(SIZES):
    rng = np.random.default_rng(seed)
    add_attention(rng, size)
    add_multi_head(rng, size)
    add_embeddings(rng, size)
    add_elementwise(rng, size)
    add_layer_norm(rng, size)
    add_cross_entropy(rng, size)
    if size != "1x1":
        add_llama(rng, size)
    add_log_probs(rng, size)
    add_preferences(rng, size)

for seed, (row, config) in enumerate(zip(ROWS, CONFIGS.values())):
    rng = np.random.default_rng(seed)
    add_block(rng, name_of(row), row[0], config)
    add_model(rng, name_of(row), row[0], config)


def every_case():
    """Yield op and label of each case; the first of an op is a quick one."""
    for op, labels in CHECKS.items():
        first, *others = labels
        yield pytest.param(op, first, marks=pytest.mark.quick)
        yield from ((op, label) for label in others)


@pytest.mark.parametrize("op, label", list(every_case()))
def test_backward_equals_torch(op, label):
    prove(op, label)


def test_every_backward_has_a_case():
    assert set(CHECKS) == set(MODULES)
    assert len(MODULES) > 15


def allowed(name):
    """Return the values ModelConfig allows, as its refusal lists them."""
    if name == "dropout":
        return (0.0, 0.3)
    if name == "n_kv_heads":
        return (None, 1, 2)
    with pytest.raises(ValueError) as refusal:
        config_of("1x1", **{name: "?"})
    return literal_eval(re.search(r"\(.+\)", str(refusal.value))[0])


def test_every_pair_of_choices_is_among_the_configurations():
    values = [tuple(SIZES), *(allowed(name) for name in CHOICES)]
    assert len(ROWS[0]) == len(values)
    for i, j in itertools.combinations(range(len(values)), 2):
        pairs = {(row[i], row[j]) for row in ROWS}
        missing = set(itertools.product(values[i], values[j])) - pairs
        assert not missing, f"no row of pairwise.py has {missing}"


def test_eight_rows_hold_every_pair_twice():
    """Without one token alone, in which much cannot be seen, and Llama."""
    rows = [row[:-1] for row in ROWS[:8]]
    for column, other in itertools.combinations(zip(*rows), 2):
        pairs = Counter(zip(column, other))
        assert set(pairs.values()) == {2} and len(pairs) == 4


@pytest.mark.parametrize(
    "op", ["residual", "transformer_block", "embed", "language_model", "loss"]
)
def test_every_configuration_is_among_the_cases(op):
    arrays = [arrays for arrays, _ in CHECKS[op].values()]
    used = [v for v in itertools.chain(*arrays) if type(v) is ModelConfig]
    assert all(config in used for config in CONFIGS.values())


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
    rng, config = np.random.default_rng(seed), config_of("2x5")
    params, ids = moved_params(config, rng), rng.integers(0, V, (2, 5))

    def gpt2(ids, params, config):
        return reference.gpt2(ids, params, config.n_heads)

    model = language_model.language_model
    backward = language_model.language_model_backward
    check_backward(model, backward, gpt2, (ids, params, config))


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_post_norm_relu_block_is_the_one_of_2017(seed, masked):
    rng = np.random.default_rng(seed)
    config = config_of("2x5", norm="post", activation="relu", bias=False)
    params = moved_params(config, rng)["blocks"][0]
    x = rng.normal(size=(2, 5, config.d_model))

    def block_2017(x, params, config, mask=None):
        return reference.block_2017(x, params, config.n_heads, mask)

    block = transformer_block.transformer_block
    backward = transformer_block.transformer_block_backward
    mask = np.tri(5, dtype=bool) if masked else None
    check_backward(block, backward, block_2017, (x, params, config), mask=mask)


@pytest.mark.parametrize("T, C", [(1, 1), (5, 12), (7, 5), (40, 6)])
def test_sinusoidal_positions_follow_the_paper(T, C):
    got = embeddings.sinusoidal_positions(T, C)
    expected = reference.sinusoidal_positions(T, C).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-12)
