"""Mistakes in the functions of appendix A4, and right versions of them."""

import numpy as np

from helpers.checks import torch_ops

_rng = np.random.default_rng(4)
_x = _rng.normal(size=(2, 5, 24))
CALLS = {
    "rms_norm": (torch_ops.rms_norm, (_x, _rng.normal(size=24)), {}),
    "swiglu": (torch_ops.swiglu, (_x,), {}),
    "rope": (
        torch_ops.rope,
        (_rng.normal(size=(2, 3, 5, 6)),),
        {"positions": np.arange(5)},
    ),
    "repeat_heads": (
        torch_ops.repeat_heads,
        (_rng.normal(size=(2, 2, 5, 6)),),
        {"times": 3},
    ),
}
MEAN = "(x * x).sum(axis=-1, keepdims=True) / C"
TURN = "first[...] = a * cos - b * sin"
SUM = "dout.reshape(B, H // cache, cache, S, D).sum(axis=2)"

WRONG = {
    "rms_norm": [
        ("np.sqrt(square + eps)", "(np.sqrt(square) + eps)", "outside"),
        ("square + eps", "square", "lacks eps"),
        (MEAN, MEAN.removesuffix(" / C"), "a sum where a mean"),
        (MEAN, "x.var(axis=-1, keepdims=True)", "variance"),
        ("normed * weight, (", "normed, (", "lacks the weight"),
        ("normed = x * rrms", "normed = (x - x.mean()) * rrms", "-"),
        ("    return normed", "    normed", "Is there a return?"),
    ],
    "rms_norm_backward": [
        (" - normed * along_normed", "", "lacks the term along"),
        ("dnormed - normed", "dnormed + normed", "added, not subtracted"),
        ("dnormed = dout * weight", "dnormed = dout", "lacks the weight"),
        ("rrms * (dnormed", "(dnormed", "factor r"),
        (".mean(axis=-1, ", ".sum(axis=-1, ", "sum where a mean"),
        ("(dout * normed).reshape", "dout.reshape", "dout * x-hat"),
        ("return rrms", "return dweight, rrms", "-"),
    ],
    "swiglu": [
        ("gate, value = np", "value, gate = np", "each other's place"),
        ("silu(gate)", "(gate, silu(gate)[1])", "lacks silu"),
        ("opened * value,", "opened + value,", "added: multiply"),
        ("opened * value,", "opened * silu(value)[0],", "both halves"),
        (
            "np.split(x, 2, axis=-1)",
            "(x[..., 0::2], x[..., 1::2])",
            "every other channel",
        ),
        ("    return opened", "    opened", "Is there a return?"),
    ],
    "swiglu_backward": [
        (
            "[dgate, dout * opened]",
            "[dout * opened, dgate]",
            "each other's place",
        ),
        ("dout * value, silu_cache", "dout, silu_cache", "factor value"),
        (
            "silu_backward(dout * value, silu_cache)",
            "dout * value",
            "lacks silu_backward",
        ),
        ("dout * opened]", "dout]", "factor silu(gate)"),
        ("axis=-1)", "axis=0)", "-"),
        ("    return np", "    np", "Is there a return?"),
    ],
    "rope": [
        (TURN, TURN.replace("-", "+"), "-"),
        ("angles = rope_angles", "angles = -rope_angles", "other way"),
        (
            "rope_angles(positions,",
            "rope_angles(positions + 1,",
            "positions from 1",
        ),
        ("pairs_of(x, layout)", "pairs_of(x, 'pairs')", "-"),
        ("angles[:, None]", "angles[:1, None]", "-"),
        (TURN, TURN.replace("b * sin", "b"), "-"),
        ("    return out", "    out", "Is there a return?"),
    ],
    "rope_backward": [
        ("-positions", "positions", "turned forward once more"),
        ("-positions", "-positions - 1", "positions from 1"),
        ("rope(dout, -positions, layout)[0]", "dout", "turn it back"),
        (", layout)[0]", ")[0]", "pairs the channels as"),
        ("layout)[0]", "layout)", "-"),
        ("    return rope", "    rope", "Is there a return?"),
    ],
    "repeat_heads": [
        ("np.repeat(x, times, axis=1)", "np.tile(x, (1, times, 1, 1))", "til"),
        ("axis=1", "axis=2", "-"),
        ("times, axis=1), times", "times, axis=1), None", "-"),
        ("np.repeat(x, times, axis=1)", "x", "-"),
        ("    return np", "    np", "Is there a return?"),
    ],
    "repeat_heads_backward": [
        (".sum(axis=2)", ".mean(axis=2)", "mean over the group"),
        (".sum(axis=2)", "[:, :, 0]", "first head of each group"),
        (".sum(axis=2)", "[:, :, -1]", "last head of each group"),
        (
            SUM,
            "dout.reshape(B, cache, H // cache, S, D).sum(axis=1)",
            "stand side by side",
        ),
        (".sum(axis=2)", ".sum(axis=1)", "-"),
        ("    return dout", "    dout", "Is there a return?"),
    ],
    "grouped_attention": [
        ("k, _ = rope(k, positions)", "pass", "lacks rope on the keys"),
        (
            "k, _ = rope(k, positions)",
            "k, _ = rope(k, positions + 1)",
            "keys one position ahead",
        ),
        ("q, keys, values, mask", "q, keys, values", "without the mask"),
        ("keys, values, mask", "values, keys, mask", "k and v in each"),
        ("    return out", "    out", "Is there a return?"),
    ],
    "grouped_attention_backward": [
        ('dq = rope_backward(dq, cache["rope"])', "pass", "backward on dq"),
        ('dk = rope_backward(dk, cache["rope"])', "pass", "backward on dk"),
        ('if "rope" in cache:', "if False:", "lacks rope_backward"),
        ("[dq, dk, dv], axis=1", "[dq, dv, dk], axis=1", "dk and dv"),
        (
            'dk = repeat_heads_backward(dkeys, cache["repeat"])',
            'dk = dkeys[:, :: cache["repeat"]]',
            "sum over the group in dk",
        ),
        ("    return dx", "    dx", "Is there a return?"),
    ],
    "gpt2_params": [
        ("{h}.ln_1", "{h}.ln_2", "-"),
        (
            '"attention": {"qkv": qkv, "out": out}',
            '"attention": {"qkv": out, "out": qkv}',
            "qkv and out",
        ),
        (
            '"feed_forward": {"up": up, "down": down}',
            '"feed_forward": {"up": down, "down": up}',
            "up and down",
        ),
        ('tensors["wte.weight"]', 'tensors["wpe.weight"].copy()', "-"),
        ('pair(f"{h}.attn.c_proj")', 'pair(f"{h}.mlp.c_proj")', "-"),
        ('block(f"h.{i}") for', 'block("h.0") for', "block 0 in every"),
        ("range(config.n_layers)", "range(config.n_layers - 1)", "last block"),
        (
            'tensors[f"{name}.{key}"] for',
            'tensors[f"{name}.{key}"].T for',
            "as ours",
        ),
        (
            '        "final_norm"',
            '        "head": {"weight": tensors["wte.weight"]},\n'
            '        "final_norm"',
            "it is tied",
        ),
        ('        "final_norm": pair("ln_f"),\n', "", "-"),
        (
            '    return {\n        "token',
            '    {\n        "token',
            "Is there a return?",
        ),
    ],
}

RIGHT = {
    "rms_norm": [
        (MEAN, "np.mean(x**2, axis=-1, keepdims=True)"),
        ("x * rrms", "x / np.sqrt(square + eps)"),
        """
def rms_norm(x, weight, eps=1e-5):
    root = np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return x / root * weight, (x, root, weight)


def rms_norm_backward(dout, cache):
    x, root, weight = cache
    g, C = dout * weight, x.shape[-1]
    dot = (g * x).sum(-1, keepdims=True) / (C * root**3)
    axes = tuple(range(x.ndim - 1))
    return g / root - x * dot, (dout * x / root).sum(axis=axes)
""",
    ],
    "rms_norm_backward": [
        ("rrms * (dnormed", "1 * rrms * (dnormed"),
        ("len(weight)", "weight.size"),
        ("return rrms", "return 1.0 * rrms"),
    ],
    "swiglu": [
        (
            "np.split(x, 2, axis=-1)",
            "x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]",
        ),
        ("opened * value,", "np.multiply(value, opened),"),
        ("(opened, value, silu_cache)", "[opened, value, silu_cache]"),
    ],
    "swiglu_backward": [
        ("dout * opened]", "opened * dout]"),
        ("dout * value", "value * dout"),
        (
            "opened, value, silu_cache = cache",
            "(opened, value, silu_cache) = cache",
        ),
    ],
    "rope": [
        (TURN, "first[...] = cos * a - sin * b"),
        ("np.empty_like(x)", "np.zeros_like(x)"),
        """
def rope(x, positions, layout="pairs"):
    angles = rope_angles(positions, x.shape[-1])
    if positions.ndim == 2:
        angles = angles[:, None]
    if layout == "halves":
        z = x[..., : x.shape[-1] // 2] + 1j * x[..., x.shape[-1] // 2 :]
    else:
        z = x[..., 0::2] + 1j * x[..., 1::2]
    z = z * np.exp(1j * angles).astype(z.dtype)
    if layout == "halves":
        out = np.concatenate([z.real, z.imag], axis=-1)
    else:
        out = np.stack([z.real, z.imag], axis=-1).reshape(x.shape)
    return out, (positions, layout)
""",
    ],
    "rope_backward": [
        ("-positions", "0 - positions"),
        (
            "rope(dout, -positions, layout)[0]",
            "rope(dout, -positions, layout=layout)[0]",
        ),
        ("positions, layout = cache", "(positions, layout) = cache"),
    ],
    "repeat_heads": [
        ("np.repeat(x, times, axis=1)", "x.repeat(times, axis=1)"),
        ("np.repeat(x, times, axis=1)", "np.repeat(x, times, axis=-3)"),
        (
            "np.repeat(x, times, axis=1)",
            "x[:, np.arange(x.shape[1] * times) // times]",
        ),
    ],
    "repeat_heads_backward": [
        (SUM, "sum(dout[:, i::cache] for i in range(cache))"),
        (".sum(axis=2)", ".sum(2)"),
        ("H // cache, cache, S, D", "-1, cache, S, D"),
    ],
    "grouped_attention": [
        (
            "n_heads // k.shape[1])\n    values",
            "q.shape[1] // k.shape[1])\n    values",
        ),
        ("(q, keys, values, mask)", "(q, keys, values, mask=mask)"),
        ("cache = {}", "cache = dict()"),
    ],
    "grouped_attention_backward": [
        ("[dq, dk, dv], axis=1)", "(dq, dk, dv), axis=1)"),
        ("grads(dout, cache", "grads(1.0 * dout, cache"),
        ("return dx, {", "return 1.0 * dx, {"),
    ],
    "gpt2_params": [
        ("range(config.n_layers)", "list(range(config.n_layers))"),
        ('for key in ("weight", "bias")', 'for key in ["weight", "bias"]'),
        """
def gpt2_params(tensors, config):
    names = {
        "norm1": "ln_1",
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "norm2": "ln_2",
        "feed_forward.up": "mlp.c_fc",
        "feed_forward.down": "mlp.c_proj",
    }
    blocks = []
    for i in range(config.n_layers):
        block = {"attention": {}, "feed_forward": {}}
        for ours, theirs in names.items():
            *path, last = ours.split(".")
            place = block[path[0]] if path else block
            name = f"h.{i}.{theirs}"
            weight, bias = tensors[name + ".weight"], tensors[name + ".bias"]
            place[last] = dict(weight=weight, bias=bias)
        blocks.append(block)
    return {
        "token_embedding": {"weight": tensors["wte.weight"]},
        "position_embedding": {"weight": tensors["wpe.weight"]},
        "blocks": blocks,
        "final_norm": {k: tensors["ln_f." + k] for k in ("weight", "bias")},
    }
""",
    ],
}
