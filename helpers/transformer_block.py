"""Layer norm, activations, dropout, feed-forward, residual, the block.

Built in notebooks/03_transformer_block.ipynb.
"""

import math

import numpy as np

from helpers.attention import (
    linear,
    linear_grads,
    multi_head_attention,
    multi_head_attention_backward,
)

__all__ = [
    "layer_norm",
    "layer_norm_backward",
    "relu",
    "relu_backward",
    "gelu",
    "gelu_backward",
    "ACTIVATIONS",
    "NORMS",
    "ATTENTIONS",
    "dropout",
    "dropout_backward",
    "feed_forward",
    "feed_forward_backward",
    "residual",
    "residual_backward",
    "transformer_block",
    "transformer_block_backward",
]


def layer_norm(x, weight, bias, eps=1e-5):
    """Give each position mean 0 and variance 1, then scale and shift it.

    x (..., C), weight (C,), bias (C,) -> out (..., C).
    Source: Ba, Kiros and Hinton 2016, section 3.
    """
    C = x.shape[-1]
    centred = x - x.sum(axis=-1, keepdims=True) / C
    variance = (centred * centred).sum(axis=-1, keepdims=True) / C
    rstd = 1.0 / np.sqrt(variance + eps)  # (..., 1)
    normed = centred * rstd
    return normed * weight + bias, (normed, rstd, weight)


def layer_norm_backward(dout, cache):
    """Return dx, dweight, dbias."""
    normed, rstd, weight = cache
    C = dout.shape[-1]
    dweight = (dout * normed).reshape(-1, C).sum(axis=0)
    dbias = dout.reshape(-1, C).sum(axis=0)
    dnormed = dout * weight
    along_ones = dnormed.mean(axis=-1, keepdims=True)
    along_normed = (dnormed * normed).mean(axis=-1, keepdims=True)
    dx = rstd * (dnormed - along_ones - normed * along_normed)
    return dx, dweight, dbias


def relu(x):
    """Keep what is positive: max(x, 0), any shape."""
    return np.maximum(x, 0), x


def relu_backward(dout, cache):
    """Return dx; at exactly 0 the slope is taken as 0, as torch does."""
    return dout * (cache > 0)


def gelu(x):
    """Weigh x by an approximate normal probability of staying on.

    The tanh form, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), any shape.
    Source: Hendrycks and Gimpel 2016, section 2; GPT-2 uses this form.
    """
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
    tanh = np.tanh(u)
    return 0.5 * x * (1.0 + tanh), (x, tanh)


def gelu_backward(dout, cache):
    """Return dx for the tanh form of GELU."""
    x, tanh = cache
    du = math.sqrt(2 / math.pi) * (1.0 + 3 * 0.044715 * (x * x))
    return dout * 0.5 * (1.0 + tanh + x * (1.0 - tanh * tanh) * du)


ACTIVATIONS = {
    "gelu": (gelu, gelu_backward),
    "relu": (relu, relu_backward),
}
NORMS = dict.fromkeys(["pre", "post"], (layer_norm, layer_norm_backward))
ATTENTIONS = {
    "full": (multi_head_attention, multi_head_attention_backward),
}


def dropout(x, p, rng):
    """Zero each number with probability p, scale the rest by 1 / (1 - p).

    x any shape, 0 <= p < 1. With rng None (evaluation) x passes unchanged.
    Source: Srivastava et al. 2014; scaled in training, as torch does.
    """
    if rng is None or p == 0.0:
        return x, None
    keep = rng.random(x.shape, dtype=np.float32) >= p
    factor = keep * x.dtype.type(1.0 / (1.0 - p))  # 0 or 1 / (1 - p)
    return x * factor, factor


def dropout_backward(dout, cache):
    """Return dx: the gradient passes where the number passed."""
    return dout if cache is None else dout * cache


def feed_forward(x, params, activation):
    """Widen to d_ff, apply the activation, narrow again, per position.

    x (B, T, C), params {"up": {"weight": (C, F), "bias"}, "down": {...}},
    activation "gelu" or "relu" -> out (B, T, C).
    """
    act, _ = ACTIVATIONS[activation]
    cache = {"activation": activation}
    hidden, cache["up"] = linear(x, **params["up"])  # (B, T, F)
    hidden, cache["act"] = act(hidden)
    out, cache["down"] = linear(hidden, **params["down"])  # (B, T, C)
    return out, cache


def feed_forward_backward(dout, cache):
    """Return dx and grads, a dict with the keys of params."""
    _, act_backward = ACTIVATIONS[cache["activation"]]
    dhidden, down_grads = linear_grads(dout, cache["down"])
    dhidden = act_backward(dhidden, cache["act"])  # (B, T, F)
    dx, up_grads = linear_grads(dhidden, cache["up"])
    return dx, {"up": up_grads, "down": down_grads}


def residual(x, sublayer, norm_params, config, rng=None):
    """Add a sublayer's output to its input, with the norm before or after.

    x (B, T, C); sublayer maps it to out, cache; pre-norm returns
    x + sublayer(norm(x)), post-norm returns norm(x + sublayer(x)).
    Sources: Radford et al. 2019 (pre), Vaswani et al. 2017 (post).
    """
    norm, _ = NORMS[config.norm]
    pre = config.norm != "post"
    cache = {"kind": config.norm, "pre": pre}
    h = x
    if pre:
        h, cache["norm"] = norm(h, **norm_params)
    h, cache["sublayer"] = sublayer(h)
    h, cache["dropout"] = dropout(h, config.dropout, rng)
    out = x + h
    if not pre:
        out, cache["norm"] = norm(out, **norm_params)
    return out, cache


def residual_backward(dout, cache, sublayer_backward):
    """Return dx, the sublayer's grads and the norm's grads."""
    _, norm_backward = NORMS[cache["kind"]]
    pre = cache["pre"]
    if not pre:
        dout, *dnorm = norm_backward(dout, cache["norm"])
    dh = dropout_backward(dout, cache["dropout"])
    dh, grads = sublayer_backward(dh, cache["sublayer"])
    if pre:
        dh, *dnorm = norm_backward(dh, cache["norm"])
    return dout + dh, grads, dict(zip(("weight", "bias"), dnorm))


def transformer_block(x, params, config, mask=None, rng=None):
    """Apply attention, then feed-forward, each inside a residual.

    x (B, T, C), params {"norm1", "attention", "norm2", "feed_forward"},
    mask as in attention (None = every position sees all), rng for dropout
    -> out (B, T, C). config gives attention ("full"), n_heads, norm,
    activation, dropout.
    """
    attention, _ = ATTENTIONS[config.attention]

    def attend(h):
        return attention(h, params["attention"], config.n_heads, mask)

    def feed(h):
        return feed_forward(h, params["feed_forward"], config.activation)

    cache = {"kind": config.attention}
    x, cache["attention"] = residual(x, attend, params["norm1"], config, rng)
    x, cache["feed_forward"] = residual(x, feed, params["norm2"], config, rng)
    return x, cache


def transformer_block_backward(dout, cache):
    """Return dx and grads, a dict with the keys of params."""
    _, attention_backward = ATTENTIONS[cache["kind"]]
    grads = {}
    dx, grads["feed_forward"], grads["norm2"] = residual_backward(
        dout, cache["feed_forward"], feed_forward_backward
    )
    dx, grads["attention"], grads["norm1"] = residual_backward(
        dx, cache["attention"], attention_backward
    )
    return dx, grads
