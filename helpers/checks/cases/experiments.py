"""What the functions of appendix A2 are tried on."""

import contextlib
import io
import math

import numpy as np

from helpers.checks.cases import pair, value
from helpers.experiments import Setup

B, T, H, D = 2, 5, 4, 3
S, C = 6, 7


def verdict(rng):
    low, high = [1.0, 2.5, 1.5], [3.0, 2.75, 4.0]
    yield value("all above", high, low, expected="higher")
    yield value("all below", low, high, expected="lower")
    nothing = "no clear difference"
    around = [2.75, 1.1, 1.0]
    yield value("a lower mean", around, low, expected=nothing)
    yield value("one run among the others", [3.0, 2.0], low, expected=nothing)
    yield value("one run below", [0.5, 2.0], low, expected=nothing)
    yield value("inside the others", [1.6, 2.0], low, expected=nothing)
    yield value("a tie at the top", [2.5, 3.0], low, expected=nothing)
    yield value("a tie at the bottom", [0.5, 1.0], low, expected=nothing)
    yield value("groups unlike in size", [5.0], low, expected="higher")


def compare(rng):
    groups = {
        "first way": [1.31, 1.34, 1.29, 1.36, 1.33],
        "second way": [1.28, 1.33, 1.27, 1.35, 1.30],
        "third way": [1.41, 1.44, 1.40, 1.46, 1.39],
        "fourth way": [1.30, 1.34, 1.37],
        "fifth way": [1.11, 1.14, 1.26],
    }
    lines = [
        ["first way", "1.326", "0.027", ""],
        ["second way", "1.306", "0.034", "no clear difference"],
        ["third way", "1.420", "0.029", "higher"],
        ["fourth way", "1.337", "0.035", "no clear difference"],
        ["fifth way", "1.170", "0.079", "lower"],
    ]
    yield value("five groups", groups, expected=lines, use=_printed)
    alone = {"alone": [0.25, 0.75]}
    line = [["alone", "0.500", "0.354", ""]]
    yield value("one group", alone, expected=line, use=_printed)


def quiet_positions(rng):
    yield value("5 places of 6 channels", 5, 6)
    yield value("one place", 1, 4)
    yield value("as loud as 0.02", 16, 8, expected=0.02, use=_loudness)


def no_norm(rng):
    weight, bias = rng.normal(size=(2, C))
    yield pair("a batch", rng.normal(size=(B, T, C)), weight, bias)
    yield pair("one row", rng.normal(size=C), weight, bias)
    yield pair("one axis of rows", rng.normal(size=(T, C)), weight, bias)
    yield pair("four axes", rng.normal(size=(B, 3, T, C)), weight, bias)


def no_residual(rng):
    x = rng.normal(size=(B, T, C))
    norm = {"weight": rng.normal(size=C), "bias": rng.normal(size=C)}
    inner = {"map": rng.normal(size=(C, C))}
    yield pair("a linear sublayer", x, norm, inner, use=_around)
    yield pair("T = 1", x[:, :1], norm, inner, use=_around)


def unscaled_attention(rng):
    q, more = rng.normal(size=(2, B, H, T, D))
    k, v = rng.normal(size=(2, B, H, S, D))
    causal = np.tri(T, dtype=bool)
    yield pair("no mask", q, k, v)
    yield pair("a causal mask", q, more, q[::-1] + more, causal)
    yield pair("a head without a batch", q[0, 0], k[0, 0], v[0, 0])
    wide = rng.normal(size=(2, T, 7))
    yield pair("7 channels", *wide, rng.normal(size=(T, 7)), mask=causal)


def train_setup(rng):
    few = {"d_model": 8, "n_heads": 2, "n_layers": 1, "warmup": 2, "lr": 0.01}
    few |= {"task": "digits", "steps": 4}
    yield value("AdamW", Setup(**few), 3, use=_trained)
    loud = Setup(**few, token_std=0.7, tied_head=False)
    yield value("loud tokens", loud, 0, use=_trained)
    sgd = Setup(**few, optimizer="SGD", positions="sinusoidal")
    yield value("SGD", sgd, 5, use=_trained)


def _printed(compare, groups):
    """Return the words that compare prints, line by line."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        compare(groups)
    lines = []
    for line in out.getvalue().splitlines():
        name, _, rest = line.partition("  ")
        if "±" not in line:
            lines.append(line)
            continue
        name, mean = line.partition("±")[0].rsplit(maxsplit=1)
        spread, *said = line.partition("±")[2].split()
        lines.append([name.strip(), mean, spread, " ".join(said)])
    return lines


def _loudness(quiet_positions, T, C):
    """Return the root mean square of a table."""
    return math.sqrt(np.mean(quiet_positions(T, C) ** 2))


def _around(no_residual, no_residual_backward):
    """Return the pair as functions of arrays, around a linear sublayer."""

    def sublayer(params):
        def call(h):
            return h @ params["map"], h

        return call

    def forward(x, norm_params, params):
        result = no_residual(x, sublayer(params), norm_params, None)
        if not isinstance(result, tuple) or len(result) != 2:
            return result
        out, cache = result
        return out, (cache, params)

    def backward(dout, cache):
        cache, params = cache

        def sublayer_backward(dout, h):
            rows = h.reshape(-1, h.shape[-1])
            dmap = rows.T @ dout.reshape(-1, dout.shape[-1])
            return dout @ params["map"].T, {"map": dmap}

        grads = no_residual_backward(dout, cache, sublayer_backward)
        if not isinstance(grads, tuple | list) or len(grads) != 3:
            return grads
        return grads[0], grads[2], grads[1]

    forward.__name__ = "no_residual"
    backward.__name__ = "no_residual_backward"
    return forward, backward


def _trained(train_setup, setup, seed):
    """Return the losses of a short run, and some of what it learnt."""
    params, losses = train_setup(setup, seed)
    table = params["token_embedding"]["weight"]
    found = {"losses": list(losses), "dtype": table.dtype.name}
    return found | {"token embedding": table[:3]}
