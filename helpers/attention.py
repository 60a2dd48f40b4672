"""Attention, forward and backward.

Built in notebooks/01_causal_mask.ipynb. Every forward returns `out, cache`;
its backward takes `dout, cache` and returns one gradient for each array the
forward was given. Masks are boolean, True = may attend.
"""

import math

import numpy as np

from helpers.runs.doors import checked

__all__ = [
    "linear",
    "linear_backward",
    "softmax",
    "softmax_backward",
    "causal_mask",
    "scaled_dot_product_attention",
    "mask_scores",
    "scaled_dot_product_attention_backward",
    "split_heads",
    "split_heads_backward",
    "merge_heads",
    "merge_heads_backward",
    "multi_head_attention",
    "multi_head_attention_backward",
    "linear_grads",
]


def linear(x, weight, bias=None):
    """Multiply by a matrix and add a bias.

    x (..., M), weight (M, N), bias (N,) or None -> out (..., N).
    """
    out = x.reshape(-1, x.shape[-1]) @ weight  # (R, N)
    if bias is not None:
        out += bias
    return out.reshape(*x.shape[:-1], -1), (x, weight, bias is not None)


def linear_backward(dout, cache):
    """Return dx, dweight, dbias (None where there was no bias)."""
    x, weight, has_bias = cache
    rows = x.reshape(-1, x.shape[-1])  # (R, M)
    drows = dout.reshape(-1, dout.shape[-1])  # (R, N)
    dx = (drows @ weight.T).reshape(x.shape)
    dweight = rows.T @ drows  # (M, N)
    dbias = drows.sum(axis=0) if has_bias else None  # (N,)
    return dx, dweight, dbias


def softmax(x):
    """Turn the last axis into probabilities that sum to 1.

    x (..., N) -> weights (..., N).
    """
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights, weights


def softmax_backward(dout, cache):
    """Return dx for a softmax over the last axis."""
    weights = cache
    inner = (dout * weights).sum(axis=-1, keepdims=True)
    return weights * (dout - inner)


def causal_mask(T):
    """Return the (T, T) boolean mask in which row i sees columns 0..i."""
    return np.tril(np.ones((T, T), dtype=bool))


@checked
def scaled_dot_product_attention(q, k, v, mask=None):
    """Mix the rows of v by how well each query fits each key.

    q (..., T, D), k and v (..., S, D) -> out (..., T, D). The mask is
    boolean and broadcasts to (..., T, S); True = may attend; None = all may.
    Raises ValueError if a query may attend to nothing.
    Source: Vaswani et al. 2017, section 3.2.1.
    """
    scale = 1.0 / math.sqrt(q.shape[-1])  # a Python float keeps the dtype
    scores = (q @ k.swapaxes(-1, -2)) * scale  # (..., T, S)
    if mask is not None:
        scores = mask_scores(scores, mask)
    weights, _ = softmax(scores)
    return weights @ v, (q, k, v, weights, scale)


def mask_scores(scores, mask):
    """Set the scores a query may not see to minus infinity.

    scores (..., T, S), boolean mask broadcasting to it -> (..., T, S).
    Raises ValueError if a row of the mask allows nothing.
    """
    if not mask.any(axis=-1).all():
        raise ValueError(
            "the mask leaves a query nothing to attend to; "
            "allow every row at least one key"
        )
    return np.where(mask, scores, -np.inf)


def scaled_dot_product_attention_backward(dout, cache):
    """Return dq, dk, dv."""
    q, k, v, weights, scale = cache
    dv = weights.swapaxes(-1, -2) @ dout  # (..., S, D)
    dweights = dout @ v.swapaxes(-1, -2)  # (..., T, S)
    dscores = softmax_backward(dweights, weights)
    dq = (dscores @ k) * scale  # (..., T, D)
    dk = (dscores.swapaxes(-1, -2) @ q) * scale  # (..., S, D)
    return dq, dk, dv


def split_heads(x, n_heads):
    """Cut the channels into heads: (B, T, C) -> (B, H, T, D)."""
    B, T, C = x.shape
    return x.reshape(B, T, n_heads, C // n_heads).swapaxes(1, 2), None


def split_heads_backward(dout, cache):
    """Return dx (B, T, C) from dout (B, H, T, D)."""
    return merge_heads(dout)[0]


def merge_heads(x):
    """Lay the heads side by side again: (B, H, T, D) -> (B, T, C)."""
    B, H, T, D = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * D), H


def merge_heads_backward(dout, cache):
    """Return dx (B, H, T, D) from dout (B, T, C)."""
    return split_heads(dout, cache)[0]


def multi_head_attention(x, params, n_heads, mask=None):
    """Let every position attend to the others in n_heads subspaces.

    x (B, T, C), params {"qkv": {"weight": (C, 3C), "bias"}, "out": {...}}
    -> out (B, T, C). Raises ValueError if n_heads does not divide C.
    Source: Vaswani et al. 2017, section 3.2.2.
    """
    if x.shape[-1] % n_heads:
        raise ValueError(
            f"{n_heads} heads do not divide d_model = {x.shape[-1]}; "
            "choose a number of heads that does"
        )
    cache = {}
    qkv, cache["qkv"] = linear(x, **params["qkv"])  # (B, T, 3C)
    parts, _ = split_heads(qkv, 3 * n_heads)  # (B, 3H, T, D)
    q, k, v = np.split(parts, 3, axis=1)  # each (B, H, T, D)
    heads, cache["heads"] = scaled_dot_product_attention(q, k, v, mask)
    merged, cache["merge"] = merge_heads(heads)  # (B, T, C)
    out, cache["out"] = linear(merged, **params["out"])
    return out, cache


def multi_head_attention_backward(dout, cache):
    """Return dx and grads, a dict with the keys of params."""
    dmerged, out_grads = linear_grads(dout, cache["out"])
    dheads = merge_heads_backward(dmerged, cache["merge"])  # (B, H, T, D)
    dq_dk_dv = scaled_dot_product_attention_backward(dheads, cache["heads"])
    dparts = np.concatenate(dq_dk_dv, axis=1)  # (B, 3H, T, D)
    dqkv = split_heads_backward(dparts, None)  # (B, T, 3C)
    dx, qkv_grads = linear_grads(dqkv, cache["qkv"])
    return dx, {"qkv": qkv_grads, "out": out_grads}


def linear_grads(dout, cache):
    """Return dx and the parameter gradients of a linear map as a dict."""
    dx, dweight, dbias = linear_backward(dout, cache)
    grads = {"weight": dweight}
    if dbias is not None:
        grads["bias"] = dbias
    return dx, grads
