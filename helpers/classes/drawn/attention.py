"""What a grade of lesson 01 adds: other sizes, and the exercises."""

import numpy as np

from helpers.checks.cases import pair, value


def causal_mask(rng):
    for T in rng.permutation(np.arange(4, 40))[:3].tolist():
        yield value(f"T = {T}", T)


def normalise(rng):
    positive = rng.random((2, 5, 7)) + 0.5
    yield pair("rows of 7", positive)
    yield pair("a single row", positive[0, 0])
    yield pair("rows of large numbers", 1000 * positive)


def window_mask(rng):
    T = int(rng.integers(5, 12))
    yield value("a window of some", T, int(rng.integers(2, T)))
    yield value("a window of one", T, 1)
    yield value("a window wider than the text", T, T + 2)


def multi_query_backward(rng):
    q, dout = rng.normal(size=(2, 2, 3, 5, 4))
    k, v = rng.normal(size=(2, 2, 1, 7, 4))
    yield value("one key for 3 heads", q, k, v, dout, use=_attend)
    yield value("one head", q[:, :1], k, v, dout[:, :1], use=_attend)


def _attend(multi_query_backward, q, k, v, dout):
    """Return the gradients behind the attention that is in reach."""
    names = multi_query_backward.__globals__
    _, cache = names["scaled_dot_product_attention"](q, k, v)
    return multi_query_backward(dout, cache)
