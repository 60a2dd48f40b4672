"""From GPT-2's block to Llama's: RMS norm, RoPE, SwiGLU, grouped heads.

Built in notebooks/A4_llama.ipynb, which puts each in the tables from which
lessons 03, 04 and 07 choose; so one model serves both. Then somebody else's
weights in our trees: those of llama2.c, of GPT-2, of Hugging Face's Llama.
"""

import math

import numpy as np

from helpers.attention import (
    linear,
    linear_grads,
    merge_heads,
    merge_heads_backward,
    scaled_dot_product_attention,
    scaled_dot_product_attention_backward,
    split_heads,
    split_heads_backward,
)
from helpers.generation import CACHED_ATTENTIONS, new_mask, new_positions
from helpers.language_model import ModelConfig
from helpers.runs.doors import checked
from helpers.transformer_block import ACTIVATIONS, ATTENTIONS, NORMS

__all__ = [
    "rms_norm",
    "rms_norm_backward",
    "silu",
    "silu_backward",
    "swiglu",
    "swiglu_backward",
    "rope_angles",
    "pairs_of",
    "rope",
    "rope_backward",
    "repeat_heads",
    "repeat_heads_backward",
    "split_groups",
    "grouped_attention",
    "grouped_attention_backward",
    "rope_attention",
    "rope_attention_backward",
    "cached_grouped_attention",
    "cached_rope_attention",
    "LLAMA",
    "beside",
    "llama_block",
    "llama2c_config",
    "llama2c_shapes",
    "read_llama2c",
    "gpt2_params",
    "to_halves",
    "to_pairs",
]


def rms_norm(x, weight, eps=1e-5):
    """Give each position a root mean square of 1, then scale it.

    x (..., C), weight (C,) -> out (..., C).
    Source: Zhang and Sennrich 2019, section 4.
    """
    C = x.shape[-1]
    square = (x * x).sum(axis=-1, keepdims=True) / C
    rrms = 1.0 / np.sqrt(square + eps)  # (..., 1)
    normed = x * rrms
    return normed * weight, (normed, rrms, weight)


def rms_norm_backward(dout, cache):
    """Return dx, dweight."""
    normed, rrms, weight = cache
    dweight = (dout * normed).reshape(-1, len(weight)).sum(axis=0)
    dnormed = dout * weight
    along_normed = (dnormed * normed).mean(axis=-1, keepdims=True)
    return rrms * (dnormed - normed * along_normed), dweight


def silu(x):
    """Weigh x by a logistic gate of itself: x / (1 + exp(-x)), any shape.

    Source: Elfwing, Uchibe and Doya 2018; Swish with beta = 1.
    """
    gate = 0.5 * (1.0 + np.tanh(0.5 * x))  # 1 / (1 + exp(-x)), no overflow
    return x * gate, (x, gate)


def silu_backward(dout, cache):
    """Return dx."""
    x, gate = cache
    return dout * gate * (1.0 + x * (1.0 - gate))


def swiglu(x):
    """Multiply the second half of the channels by silu of the first.

    x (..., 2F) -> out (..., F). Source: Shazeer 2020, section 2.
    """
    gate, value = np.split(x, 2, axis=-1)  # (..., F) each
    opened, silu_cache = silu(gate)
    return opened * value, (opened, value, silu_cache)


def swiglu_backward(dout, cache):
    """Return dx (..., 2F): the gradients of gate and value side by side."""
    opened, value, silu_cache = cache
    dgate = silu_backward(dout * value, silu_cache)
    return np.concatenate([dgate, dout * opened], axis=-1)


def rope_angles(positions, D, base=10_000.0):
    """Return the angles (..., D / 2) by which positions (...) turn pairs.

    Pair i turns by base^(-2i / D) a position; in float64.
    Source: Su et al. 2021, section 3.2.2.
    """
    frequency = base ** (-np.arange(0, D, 2) / D)  # (D / 2,)
    return positions[..., None] * frequency


def pairs_of(x, layout):
    """Return views of the first and of the second channels of all pairs.

    layout "pairs": channels (0, 1), (2, 3), ..., as in Llama's own code;
    "halves": (0, D / 2), (1, D / 2 + 1), ..., as in Hugging Face's.
    """
    if layout == "pairs":
        return x[..., 0::2], x[..., 1::2]
    return np.split(x, 2, axis=-1)


def rope(x, positions, layout="pairs"):
    """Turn each pair of channels by an angle that grows with the position.

    x (B, H, T, D), positions (T,) or (B, T) -> out like x.
    """
    angles = rope_angles(positions, x.shape[-1])
    if positions.ndim == 2:
        angles = angles[:, None]  # (B, 1, T, D / 2): alike for all heads
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    a, b = pairs_of(x, layout)
    out = np.empty_like(x)
    first, second = pairs_of(out, layout)
    first[...] = a * cos - b * sin
    second[...] = a * sin + b * cos
    return out, (positions, layout)


def rope_backward(dout, cache):
    """Return dx: turn back, which is to turn by minus the positions."""
    positions, layout = cache
    return rope(dout, -positions, layout)[0]


def repeat_heads(x, times):
    """Let each head serve a group: (B, G, S, D) -> (B, G times, S, D)."""
    return np.repeat(x, times, axis=1), times


def repeat_heads_backward(dout, cache):
    """Return dx (B, G, S, D): the sum over each group."""
    B, H, S, D = dout.shape
    return dout.reshape(B, H // cache, cache, S, D).sum(axis=2)


def split_groups(qkv, n_heads, D):
    """Cut channels into heads: all of q, and as few of k and v as there are.

    qkv (B, T, (H + 2 G) D) -> q (B, H, T, D), k and v (B, G, T, D).
    """
    parts, _ = split_heads(qkv, qkv.shape[-1] // D)  # (B, H + 2 G, T, D)
    G = (parts.shape[1] - n_heads) // 2
    return np.split(parts, [n_heads, n_heads + G], axis=1)


def grouped_attention(x, params, n_heads, mask=None, positions=None):
    """Attend with fewer heads of keys and values than of queries.

    x (B, T, C), params as multi_head_attention has them, but "qkv" gives
    (H + 2 G) D channels, where G divides H -> out (B, T, C). positions, if
    given, turn queries and keys.
    Source: Ainslie et al. 2023, section 2.2.
    """
    cache = {}
    qkv, cache["qkv"] = linear(x, **params["qkv"])
    q, k, v = split_groups(qkv, n_heads, x.shape[-1] // n_heads)
    if positions is not None:
        q, cache["rope"] = rope(q, positions)
        k, _ = rope(k, positions)
    keys, cache["repeat"] = repeat_heads(k, n_heads // k.shape[1])
    values, _ = repeat_heads(v, n_heads // k.shape[1])
    heads, cache["heads"] = scaled_dot_product_attention(q, keys, values, mask)
    merged, cache["merge"] = merge_heads(heads)  # (B, T, C)
    out, cache["out"] = linear(merged, **params["out"])
    return out, cache


def grouped_attention_backward(dout, cache):
    """Return dx and grads, a dict with the keys of params."""
    dmerged, out_grads = linear_grads(dout, cache["out"])
    dheads = merge_heads_backward(dmerged, cache["merge"])  # (B, H, T, D)
    dq, dkeys, dvalues = scaled_dot_product_attention_backward(
        dheads, cache["heads"]
    )
    dk = repeat_heads_backward(dkeys, cache["repeat"])  # (B, G, T, D)
    dv = repeat_heads_backward(dvalues, cache["repeat"])
    if "rope" in cache:
        dq = rope_backward(dq, cache["rope"])
        dk = rope_backward(dk, cache["rope"])
    dqkv = split_heads_backward(np.concatenate([dq, dk, dv], axis=1), None)
    dx, qkv_grads = linear_grads(dqkv, cache["qkv"])
    return dx, {"qkv": qkv_grads, "out": out_grads}


def rope_attention(x, params, n_heads, mask=None):
    """Attend as grouped_attention does, from positions 0, 1, 2, ..."""
    positions = np.arange(x.shape[1])
    return grouped_attention(x, params, n_heads, mask, positions)


def rope_attention_backward(dout, cache):
    """Return dx and grads, a dict with the keys of params."""
    return grouped_attention_backward(dout, cache)


def cached_grouped_attention(x, params, n_heads, kv, layer, positions=None):
    """Attend from new positions to all stored, as cached_attention does.

    The cache keeps G heads, and turned keys: a position never changes.
    """
    qkv, _ = linear(x, **params["qkv"])
    q, k, v = split_groups(qkv, n_heads, x.shape[-1] // n_heads)
    if positions is not None:
        q, _ = rope(q, positions)
        k, _ = rope(k, positions)
    keys, values = kv.store(layer, k, v)  # (B, G, S, D)
    times = n_heads // k.shape[1]
    keys, _ = repeat_heads(keys, times)  # (B, H, S, D)
    values, _ = repeat_heads(values, times)
    mask = new_mask(kv, x.shape[1])
    heads, _ = scaled_dot_product_attention(q, keys, values, mask)
    merged, _ = merge_heads(heads)  # (B, T, C)
    return linear(merged, **params["out"])


def cached_rope_attention(x, params, n_heads, kv, layer):
    """Attend as cached_grouped_attention does, from where kv ends."""
    positions = new_positions(kv, x.shape[1])
    return cached_grouped_attention(x, params, n_heads, kv, layer, positions)


NORMS["rms"] = rms_norm, rms_norm_backward
ACTIVATIONS["swiglu"] = swiglu, swiglu_backward
ATTENTIONS["grouped"] = grouped_attention, grouped_attention_backward
ATTENTIONS["rope"] = rope_attention, rope_attention_backward
CACHED_ATTENTIONS["grouped"] = cached_grouped_attention
CACHED_ATTENTIONS["rope"] = cached_rope_attention


LLAMA = {
    "norm": "rms",
    "activation": "swiglu",
    "positions": "rope",
    "bias": False,
}


def beside(*matrices):
    """Lay matrices (out, in) side by side in one of ours, (in, out)."""
    return {"weight": np.ascontiguousarray(np.concatenate(matrices).T)}


def llama_block(part):
    """Return the parameters of a block from the matrices Llama names."""
    return {
        "norm1": {"weight": part["norm1"]},
        "attention": {
            "qkv": beside(part["q"], part["k"], part["v"]),
            "out": beside(part["out"]),
        },
        "norm2": {"weight": part["norm2"]},
        "feed_forward": {
            "up": beside(part["gate"], part["up"]),
            "down": beside(part["down"]),
        },
    }


def llama2c_config(sizes):
    """Return the config for the seven integers that begin a file."""
    names = ("d_model", "d_ff", "n_layers", "n_heads", "n_kv_heads")
    named = dict(zip((*names, "vocab_size", "max_seq_len"), map(int, sizes)))
    tied = named["vocab_size"] > 0  # a minus sign: a head follows
    named["vocab_size"] = abs(named["vocab_size"])
    return ModelConfig(tied_head=tied, **named, **LLAMA)


def llama2c_shapes(config):
    """Return {name: shape} of the float32 arrays of a file, in order."""
    C, F, L = config.d_model, config.d_ff, config.n_layers
    D = C // config.n_heads
    kv, table = config.n_kv_heads * D, (config.vocab_size, C)
    shapes = {"table": table, "norm1": (L, C), "q": (L, C, C)}
    shapes |= {"k": (L, kv, C), "v": (L, kv, C), "out": (L, C, C)}
    shapes |= {"norm2": (L, C), "gate": (L, F, C), "down": (L, C, F)}
    shapes |= {"up": (L, F, C), "final_norm": (C,)}
    shapes |= {"turns": (config.max_seq_len, D)}  # not needed
    return shapes if config.tied_head else shapes | {"head": table}


@checked
def read_llama2c(path):
    """Read a checkpoint of llama2.c; return params, config.

    Raises OSError, or ValueError for a file that is not whole.
    """
    with open(path, "rb") as file:
        config = llama2c_config(np.fromfile(file, "<i4", 7))
        arrays = {
            name: np.fromfile(file, "<f4", math.prod(shape)).reshape(shape)
            for name, shape in llama2c_shapes(config).items()
        }
    whole = ("table", "final_norm", "turns", "head")
    layered = {n: a for n, a in arrays.items() if n not in whole}
    params = {
        "token_embedding": {"weight": arrays["table"]},
        "blocks": [
            llama_block({n: a[i] for n, a in layered.items()})
            for i in range(config.n_layers)
        ],
        "final_norm": {"weight": arrays["final_norm"]},
    }
    if not config.tied_head:
        params["head"] = beside(arrays["head"])
    return params, config


def gpt2_params(tensors, config):
    """Return our tree of GPT-2's tensors {name: array}, under its names."""

    def pair(name):
        return {key: tensors[f"{name}.{key}"] for key in ("weight", "bias")}

    def block(h):
        qkv, out = pair(f"{h}.attn.c_attn"), pair(f"{h}.attn.c_proj")
        up, down = pair(f"{h}.mlp.c_fc"), pair(f"{h}.mlp.c_proj")
        return {
            "norm1": pair(f"{h}.ln_1"),
            "attention": {"qkv": qkv, "out": out},
            "norm2": pair(f"{h}.ln_2"),
            "feed_forward": {"up": up, "down": down},
        }

    return {
        "token_embedding": {"weight": tensors["wte.weight"]},
        "position_embedding": {"weight": tensors["wpe.weight"]},
        "blocks": [block(f"h.{i}") for i in range(config.n_layers)],
        "final_norm": pair("ln_f"),
    }


def to_halves(x, D):
    """Reorder the channels of each head from pairs to halves.

    x (..., H D): channels 0, 1, 2, ... of a head become 0, 2, ..., 1, 3, ...
    """
    pairs = x.reshape(*x.shape[:-1], -1, D // 2, 2)
    return pairs.swapaxes(-1, -2).reshape(x.shape)


def to_pairs(x, D):
    """Reorder the channels of each head from halves to pairs."""
    halves = x.reshape(*x.shape[:-1], -1, 2, D // 2)
    return halves.swapaxes(-1, -2).reshape(x.shape)
