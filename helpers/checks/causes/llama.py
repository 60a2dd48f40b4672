"""The usual mistakes in the functions of appendix A4.

Those in rms_norm and silu are lesson 03's, where both are exercises.
"""

import contextlib
import re

import numpy as np

from helpers import attention
from helpers import llama as right
from helpers.runs.params import named_arrays
from helpers.transformer_block import gelu

OTHER = {"pairs": "halves", "halves": "pairs"}


def swiglu(x):
    gate, value = np.split(x, 2, axis=-1)
    opened, _ = right.silu(gate)
    yield (
        "has gate and value in each other's place: the first half is the gate",
        right.silu(value)[0] * gate,
    )
    yield "lacks silu on the gate", gate * value
    yield "has the logistic function alone for silu", opened / gate * value
    yield "has gelu where silu is wanted", gelu(gate)[0] * value
    yield "has both halves go through silu", opened * right.silu(value)[0]
    yield "has the halves added: multiply", opened + value
    yield (
        "takes every other channel for the gate: cut the last axis in halves",
        right.silu(x[..., 0::2])[0] * x[..., 1::2],
    )


def swiglu_backward(dout, x):
    gate, value = np.split(x, 2, axis=-1)
    opened, cache = right.silu(gate)
    dgate = right.silu_backward(dout * value, cache)
    dvalue = dout * opened
    bare = right.silu_backward(dout, cache)

    def join(first, second):
        return {"dx": np.concatenate([first, second], axis=-1)}

    yield (
        "has the gradients of gate and value in each other's place",
        join(dvalue, dgate),
    )
    yield "lacks silu_backward in its first half", join(dout * value, dvalue)
    yield "lacks the factor value in its first half", join(bare, dvalue)
    yield (
        "has the gate where silu of it is wanted, in its second half",
        join(dgate, dout * gate),
    )
    yield "lacks the factor silu(gate) in its second half", join(dgate, dout)
    yield "lacks both factors", join(bare, dout)


def pairs_of(x, layout):
    other = right.pairs_of(x, OTHER[layout])
    yield f'has the channels of "{OTHER[layout]}": see layout', other


def rope_angles(positions, D, base=10_000.0):
    rising = base ** (np.arange(0, D, 2) / D)
    steps = base ** (-np.arange(0, D, 2) / D)
    yield (
        "has the fast turns last: the power is -2i / D",
        (positions[..., None] * rising),
    )
    yield (
        "has half the range: the power is -2i / D",
        (positions[..., None] * base ** (-np.arange(D // 2) / D)),
    )
    yield (
        "has angles for all D channels: one a pair",
        positions[..., None] * base ** (-np.arange(D) / D),
    )
    yield "counts positions from 1", (positions[..., None] + 1) * steps
    yield (
        "has turns in degrees: no factor",
        np.degrees(positions[..., None] * steps),
    )


def rope(x, positions, layout="pairs"):
    yield (
        "turns the other way: the first of a pair is a cos - b sin",
        right.rope(x, -positions, layout)[0],
    )
    yield "counts positions from 1", right.rope(x, positions + 1, layout)[0]
    yield (
        f'pairs the channels as "{OTHER[layout]}" does: see layout',
        right.rope(x, positions, OTHER[layout])[0],
    )
    out, _ = right.rope(x, positions, layout)
    a, b = right.pairs_of(out, layout)
    if layout == "pairs":
        yield (
            "has the turned channels in halves: put each where it was",
            np.concatenate([a, b], axis=-1),
        )
    swapped = np.empty_like(out)
    first, second = right.pairs_of(swapped, layout)
    first[...], second[...] = b, a
    yield "has the two channels of a pair in each other's place", swapped
    yield "is x unchanged", x
    yield "has x added: RoPE turns, and adds nothing", x + out


def rope_backward(dout, x, positions, layout="pairs"):
    yield (
        "is turned forward once more: the way back is by minus the positions",
        right.rope(dout, positions, layout)[0],
    )
    yield "is dout unchanged: turn it back", dout
    yield (
        f'pairs the channels as "{OTHER[layout]}" does: see layout',
        right.rope(dout, -positions, OTHER[layout])[0],
    )
    yield (
        "has positions from 1",
        right.rope(dout, -positions - 1, layout)[0],
    )
    yield "has the gradient of x for that of out", right.rope(x, -positions)[0]


def repeat_heads(x, times):
    tiled = np.tile(x, (1, times, 1, 1))
    yield (
        "repeats the row of heads, not each head: np.repeat, not np.tile",
        tiled,
    )


def repeat_heads_backward(dout, x, times):
    B, G, S, D = x.shape
    groups = dout.reshape(B, G, times, S, D)
    yield "is a mean over the group: a sum is wanted", groups.mean(axis=2)
    yield (
        "has the first head of each group alone: sum over the group",
        groups[:, :, 0],
    )
    yield (
        "has the last head of each group alone: sum over the group",
        groups[:, :, -1],
    )
    yield (
        "adds heads that are G apart: those of a group stand side by side",
        dout.reshape(B, times, G, S, D).sum(axis=1),
    )


def split_groups(qkv, n_heads, D):
    q, k, v = right.split_groups(qkv, n_heads, D)
    yield "has k and v in each other's place", [q, v, k]
    yield "has k, v and q in this order: q comes first", [k, v, q]


def grouped_attention(x, params, n_heads, mask=None, positions=None):
    qkv, _ = attention.linear(x, **params["qkv"])
    q, k, v = right.split_groups(qkv, n_heads, x.shape[-1] // n_heads)
    times = n_heads // k.shape[1]

    def turn(heads, more=0):
        if positions is None:
            return heads
        return right.rope(heads, positions + more)[0]

    def finish(q, k, v, mask=mask, repeat=right.repeat_heads):
        k, v = repeat(k, times)[0], repeat(v, times)[0]
        heads, _ = attention.scaled_dot_product_attention(q, k, v, mask)
        merged, _ = attention.merge_heads(heads)
        return attention.linear(merged, **params["out"])[0]

    def tile(heads, times):
        return np.tile(heads, (1, times, 1, 1)), None

    yield "has k and v in each other's place", finish(turn(q), turn(v), k)
    if mask is not None:
        bare = finish(turn(q), turn(k), v, None)
        yield "is what it would be without the mask", bare
    if 1 < k.shape[1] < n_heads:
        yield (
            "gives query head h the key head h mod G: those of a group "
            "stand side by side",
            finish(turn(q), turn(k), v, repeat=tile),
        )
    if positions is not None:
        yield "lacks rope", finish(q, k, v)
        yield "lacks rope on the queries", finish(q, turn(k), v)
        yield "lacks rope on the keys", finish(turn(q), k, v)
        yield "has the values turned too", finish(turn(q), turn(k), turn(v))
        yield (
            "has queries one position ahead of the keys",
            finish(turn(q, 1), turn(k), v),
        )
        yield (
            "has keys one position ahead of the queries",
            finish(turn(q), turn(k, 1), v),
        )


def grouped_attention_backward(
    dout, x, params, n_heads, mask=None, positions=None
):
    _, cache = right.grouped_attention(x, params, n_heads, mask, positions)
    times = cache["repeat"]
    dmerged, out_grads = attention.linear_grads(dout, cache["out"])
    dheads = attention.merge_heads_backward(dmerged, cache["merge"])
    dq, dkeys, dvalues = attention.scaled_dot_product_attention_backward(
        dheads, cache["heads"]
    )

    def gather(heads):
        return right.repeat_heads_backward(heads, times)

    def back(heads):
        if "rope" not in cache:
            return heads
        return right.rope_backward(heads, cache["rope"])

    def finish(dq, dk, dv):
        parts = np.concatenate([dq, dk, dv], axis=1)
        dqkv = attention.split_heads_backward(parts, None)
        dx, grads = attention.linear_grads(dqkv, cache["qkv"])
        return {"dx": dx} | named_arrays({"qkv": grads})

    dk, dv = gather(dkeys), gather(dvalues)
    if times > 1:
        first, last = dkeys[:, ::times], dvalues[:, ::times]
        yield (
            "lacks the sum over the group: it has the first head alone",
            finish(back(dq), back(first), last),
        )
        yield (
            "lacks the sum over the group in dk: it has the first head alone",
            finish(back(dq), back(first), dv),
        )
        yield (
            "lacks the sum over the group in dv: it has the first head alone",
            finish(back(dq), back(dk), last),
        )
        yield (
            "has means over the group: a sum is wanted",
            finish(back(dq), back(dk / times), dv / times),
        )
    if "rope" in cache:
        yield "lacks rope_backward", finish(dq, dk, dv)
        yield "lacks rope_backward on dq", finish(dq, back(dk), dv)
        yield "lacks rope_backward on dk", finish(back(dq), dk, dv)
        far_q, far_k = (right.rope(d, positions)[0] for d in (dq, dk))
        yield (
            "has dq and dk turned forward once more: back is by minus the "
            "positions",
            finish(far_q, far_k, dv),
        )
        yield "has dq turned forward once more", finish(far_q, back(dk), dv)
        yield "has dk turned forward once more", finish(back(dq), far_k, dv)
        yield (
            "has rope_backward on dv too: values are not turned",
            finish(back(dq), back(dk), back(dv)),
        )
    if dk.shape == dq.shape:
        swapped = finish(back(dk), back(dq), dv)
        yield "has dq and dk in each other's place", swapped
    yield (
        "has dk and dv in each other's place",
        finish(back(dq), dv, back(dk)),
    )


def rope_attention(x, params, n_heads, mask=None):
    positions = np.arange(x.shape[1])
    yield from grouped_attention(x, params, n_heads, mask, positions)


def rope_attention_backward(dout, x, params, n_heads, mask=None):
    given = x, params, n_heads, mask, np.arange(x.shape[1])
    yield from grouped_attention_backward(dout, *given)


def gpt2_params(tensors, config):
    def read(change=lambda name: name, turn=lambda array: array):
        found = {name: tensors[change(name)] for name in tensors}
        found |= {n: turn(a) for n, a in found.items() if _is_map(n)}
        return right.gpt2_params(found, config)

    def exchange(one, other):
        place = {one: other, other: one}
        pattern = "|".join(map(re.escape, place))
        return lambda name: re.sub(pattern, lambda f: place[f[0]], name)

    for parts, what in {
        ("ln_1", "ln_2"): "norm1 and norm2",
        ("attn.c_attn", "attn.c_proj"): "qkv and out",
        ("mlp.c_fc", "mlp.c_proj"): "up and down",
        ("attn.c_proj", "mlp.c_proj"): "the two that GPT-2 calls c_proj",
        ("wte", "wpe"): "the tables of tokens and positions",
        ("weight", "bias"): "weights and biases",
    }.items():
        with contextlib.suppress(KeyError):
            yield f"has {what} in each other's place", read(exchange(*parts))
    yield (
        "has maps transposed: GPT-2's are (in, out), as ours",
        read(turn=np.transpose),
    )
    yield (
        "has the tensors of block 0 in every block",
        read(lambda name: re.sub(r"h\.\d+", "h.0", name)),
    )
    params = read()
    yield (
        "has a head: it is tied",
        params | {"head": params["token_embedding"]},
    )
    yield "lacks the last block", params | {"blocks": params["blocks"][:-1]}


def _is_map(name):
    """Say whether a tensor of GPT-2 is the weight of a linear map."""
    return re.search(r"\.c_\w+\.weight$", name)
