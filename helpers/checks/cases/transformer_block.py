"""What the functions of lesson 03 are tried on."""

import functools
import inspect
from types import SimpleNamespace

import numpy as np

from helpers import transformer_block as right
from helpers.checks.cases import pair
from helpers.checks.verdicts import Mistake

# Uneven axes: no length is another's, or the square root of D.
B, T, C, F = 3, 5, 7, 11
H, D = 4, 3  # of a block


def layer_norm(rng):
    x = _draw(rng, B, T, C)
    weight, bias = rng.normal(size=(2, C))
    yield pair("rows of 7", x, weight, bias)
    yield pair("a single row", x[0, 0], weight, bias)
    yield pair("T = 1", x[:, :1], weight, bias)
    yield pair("rows far from 0", x + 30, weight, bias)
    yield pair("rows as small as eps", 0.004 * x, weight, bias)
    yield pair("eps = 0.3", x, weight, bias, eps=0.3)
    equal = x.copy()
    equal[1, 2] = 3.0
    yield pair("a row of equal numbers", equal, weight, bias)


def relu(rng):
    x = _draw(rng, B, T, C)
    yield pair("both signs", x)
    yield pair("a single row", x[0, 0])
    yield pair("zeros", np.where(x < -0.5, 0.0, x))
    yield pair("tiny numbers", 1e-4 * x)


def gelu(rng):
    x = _draw(rng, B, T, C)
    yield pair("both signs", x)
    yield pair("a single row", x[0, 0])
    yield pair("zeros", np.where(x < -0.5, 0.0, x))
    yield pair("large numbers", 20 * x)


def dropout(rng):
    x = _draw(rng, B, T, C)
    yield pair("p = 0.25", x, 0.25, np.random.default_rng(3))
    yield pair("p = 0.8", x, 0.8, np.random.default_rng(1))
    yield pair("a single row", x[0, 0], 0.25, np.random.default_rng(0))
    yield pair("no rng", x, 0.25, None)
    yield pair("p = 0", x, 0.0, np.random.default_rng(3))


def feed_forward(rng):
    x = _draw(rng, B, T, C)
    params = {"up": _linear(rng, C, F), "down": _linear(rng, F, C)}
    use = _with_activations
    yield pair("relu", x, params, "relu", use=use)
    yield pair("gelu", x, params, "gelu", use=use)
    yield pair("no biases", x, _bare(params), "relu", use=use)
    yield pair("T = 1", x[:, :1], params, activation="gelu", use=use)


def residual(rng):
    x = _draw(rng, B, T, C)
    params = {"sublayer": rng.normal(size=(C, C))}
    norm = {"norm": _norm(rng, C)}
    for name in ("pre", "post"):
        given = x, params, norm, _config(name)
        yield pair(f"{name}-norm", *given, use=_with_sublayer)
        yield pair(
            f"{name}-norm with dropout",
            *given[:3],
            _config(name, dropout=0.25),
            np.random.default_rng(3),
            use=_with_sublayer,
        )
    config = _config("pre", dropout=0.25)
    yield pair("no rng", x, params, norm, config, use=_with_sublayer)


def transformer_block(rng):
    x = _draw(rng, 2, T, H * D)
    params = {
        "norm1": _norm(rng, H * D),
        "attention": {
            "qkv": _linear(rng, H * D, 3 * H * D),
            "out": _linear(rng, H * D, H * D),
        },
        "norm2": _norm(rng, H * D),
        "feed_forward": {
            "up": _linear(rng, H * D, F),
            "down": _linear(rng, F, H * D),
        },
    }
    bare = {
        key: part if key.startswith("norm") else _bare(part)
        for key, part in params.items()
    }
    mask = np.tri(T, dtype=bool)
    pre, post = _config("pre"), _config("post", activation="relu")
    yield pair("pre-norm with gelu", x, params, pre)
    yield pair("post-norm with relu", x, params, post)
    yield pair("a causal mask", x, params, pre, mask)
    yield pair("no biases", x, bare, post, mask)
    given = x[:1], params, _config("pre", dropout=0.25), mask
    yield pair("dropout", *given, rng=np.random.default_rng(3))
    yield pair("T = 1", x[:, :1], params, pre)


def _with_activations(op, op_backward):
    """Return a pair that finds the shelf's functions in ACTIVATIONS."""

    def wrap(function):
        names = inspect.unwrap(function).__globals__

        @functools.wraps(function)
        def wrapped(*args, **settings):
            theirs = names["ACTIVATIONS"]
            names["ACTIVATIONS"] = theirs | right.ACTIVATIONS
            try:
                return function(*args, **settings)
            finally:
                names["ACTIVATIONS"] = theirs

        return wrapped

    return wrap(op), op_backward and wrap(op_backward)


def _with_sublayer(op, op_backward):
    """Return residual and its backward around the sublayer tanh(h) @ weight.

    The trees hold one key more, which tells the gradients apart.
    """

    def residual(x, params, norm_params, config, rng=None):
        weight = params["sublayer"]

        def sublayer(h):
            return np.tanh(h) @ weight, (h.copy(), weight)

        return op(x, sublayer, norm_params["norm"], config, rng)

    def residual_backward(dout, cache):
        found = op_backward(dout, cache, _sublayer_backward)
        number = len(found) if isinstance(found, tuple | list) else 1
        if number != 3:
            text = f"returned {number} things, expected dx, grads, norm_grads"
            cause = "Is there a return?" if found is None else None
            raise Mistake("count", "residual_backward", text, cause)
        dx, grads, norm_grads = found
        return dx, {"sublayer": grads}, {"norm": norm_grads}

    return residual, op_backward and residual_backward


def _sublayer_backward(dout, cache):
    h, weight = cache
    rows = np.tanh(h).reshape(-1, len(weight))
    dweight = rows.T @ dout.reshape(-1, len(weight))
    return dout @ weight.T * (1 - np.tanh(h) ** 2), dweight


def _draw(rng, *shape):
    """Return other numbers than those dout begins with."""
    return rng.normal(size=(2, *shape))[1]


def _config(norm, activation="gelu", dropout=0.0):
    return SimpleNamespace(
        attention="full",
        norm=norm,
        activation=activation,
        n_heads=H,
        dropout=dropout,
    )


def _norm(rng, C):
    weight, bias = rng.normal(size=(2, C))
    return {"weight": 1 + 0.5 * weight, "bias": bias}


def _linear(rng, M, N):
    weight, bias = rng.normal(size=(M, N)), rng.normal(size=N)
    return {"weight": weight / M**0.5, "bias": bias}


def _bare(params):
    return {key: {"weight": p["weight"]} for key, p in params.items()}
