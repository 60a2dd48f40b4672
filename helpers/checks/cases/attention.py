"""What the functions of lesson 01 are tried on."""

import numpy as np

from helpers.checks.cases import pair, refusal, value

# Uneven axes: no length is another's, or the square root of D.
B, T, H, D = 2, 5, 4, 3
S, C = 6, H * D


def linear(rng):
    x, weight = rng.normal(size=(B, T, C)), rng.normal(size=(C, 11))
    bias = rng.normal(size=11)
    yield pair("a bias", x, weight, bias)
    yield pair("no bias", x, weight)
    yield pair("bias=None", x, weight, bias=None)
    yield pair("a single row", x[0, 0], weight, bias)
    yield pair("T = 1", x[:, :1], weight, bias)
    yield pair("four axes", rng.normal(size=(B, 3, T, C)), weight)


def softmax(rng):
    x = rng.normal(size=(4, T, S))
    yield pair("rows of 6", x)
    yield pair("a single row", x[0, 0])
    yield pair("rows of 1", x[..., :1])
    yield pair("scores near 1000", 1000 + np.float32(x))
    yield pair("rows of different size", x + 400 * np.arange(T)[:, None])
    masked = x.copy()
    masked[:, 1:, 0] = masked[:, 0, 1:] = -np.inf
    yield pair("scores of minus infinity", masked)


def causal_mask(rng):
    three = [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    yield value("T = 3", 3, expected=np.array(three, bool))
    yield value("T = 1", 1, expected=np.array([[True]]))
    yield value("T = 8", 8)


def mask_scores(rng):
    scores = rng.normal(size=(B, T, S))
    yield value("a mask for each score", scores, _padding(rng, B, T, S))
    yield value("one mask for all", scores, _padding(rng, T, S))
    yield value("keys hidden from all", scores, _padding(rng, B, 1, S))
    yield value("nothing hidden", scores, np.ones((T, S), bool))
    mask = _padding(rng, T, S)
    mask[3] = False
    yield refusal("a query that may see nothing", scores, mask)
    mask = np.ones((T, S), bool)
    mask[:, 2] = False
    yield value("a key that nobody may see", scores, mask)


def scaled_dot_product_attention(rng):
    q, more = rng.normal(size=(2, B, H, T, D))
    k, v = rng.normal(size=(2, B, H, S, D))
    causal = np.tri(T, dtype=bool)
    yield pair("as many queries as keys", q, more, q[::-1] + more)
    yield pair("more queries than keys", q, k, v)
    yield pair("a causal mask", q, more, q[::-1] + more, causal)
    yield pair("padding", q, k, v, mask=_padding(rng, B, 1, T, S))
    yield pair("T = 1", q[:, :, :1], k, v)
    yield pair("one head, no batch", q[0, 0], k[0, 0], v[0, 0])
    yield pair("values of another width", q, k, rng.normal(size=(B, H, S, 7)))
    yield pair("large scores", 5 * q[0], 5 * k[0], v[0])
    empty = causal.copy()
    empty[0] = False
    yield refusal("a query that may see nothing", q, more, more, empty)


def split_heads(rng):
    x = rng.normal(size=(B, T, C))
    yield pair("4 heads", x, H)
    yield pair("one head", x, 1)
    yield pair("heads of one channel", x, n_heads=C)
    yield pair("T = 1", x[:, :1], H)


def merge_heads(rng):
    x = rng.normal(size=(B, H, T, D))
    yield pair("4 heads", x)
    yield pair("one head", x[:, :1])
    yield pair("T = 1", x[:, :, :1])


def multi_head_attention(rng):
    x = rng.normal(size=(B, T, C))
    params = {"qkv": _linear(rng, C, 3 * C), "out": _linear(rng, C, C)}
    causal = np.tri(T, dtype=bool)
    bare = {key: {"weight": part["weight"]} for key, part in params.items()}
    yield pair("no mask", x, params, H)
    yield pair("a causal mask", x, params, H, causal)
    yield pair("padding", x, params, H, mask=_padding(rng, B, 1, T, T))
    yield pair("no biases", x, bare, H, causal)
    yield pair("one head", x[:1], params, 1, causal)
    yield pair("T = 1", x[:, :1], params, H)
    yield refusal("heads that do not divide the channels", x, params, 5)


def linear_grads(rng):
    x, dout = rng.normal(size=(B, T, C)), rng.normal(size=(B, T, 11))
    weight = rng.normal(size=(C, 11))
    yield value("a bias", dout, (x, weight, True))
    yield value("no bias", dout, (x, weight, False))


def _linear(rng, M, N):
    return {"weight": rng.normal(size=(M, N)), "bias": rng.normal(size=N)}


def _padding(rng, *shape):
    """Hide keys at random, but leave each query its first."""
    mask = rng.random(shape) < 0.6
    mask[..., 0] = True
    return mask
