"""The usual mistakes in the functions of lesson 03."""

import copy
import math

import numpy as np

from helpers import attention
from helpers import transformer_block as right

SLOPE = math.sqrt(2 / math.pi)


def layer_norm(x, weight, bias, eps=1e-5):
    C = x.shape[-1]
    mean = x.mean(axis=-1, keepdims=True)
    centred = x - mean
    variance = (centred * centred).mean(axis=-1, keepdims=True)

    def finish(normed, weight=weight, bias=bias):
        return normed * weight + bias

    std = np.sqrt(variance + eps)
    normed = centred / std
    yield "lacks eps", finish(centred / np.sqrt(variance))
    yield (
        "has eps outside the square root",
        finish(centred / (np.sqrt(variance) + eps)),
    )
    yield "has eps subtracted", finish(centred / np.sqrt(variance - eps))
    if eps != 1e-5:
        plain = finish(centred / np.sqrt(variance + 1e-5))
        yield "has eps = 1e-5 in place of what was given", plain
    for other in (1e-6, 1e-3):
        small = finish(centred / np.sqrt(variance + other))
        yield f"has another eps, {other:.0e}", small
    yield (
        "is divided by the variance, not by its root",
        finish(centred / (variance + eps)),
    )
    yield "lacks the division by the standard deviation", finish(centred)
    yield "is multiplied by the standard deviation", finish(centred * std)
    yield "lacks the mean that is subtracted from x", finish(x / std)
    squares = np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    yield (
        "has the mean of x * x for its variance: subtract the mean",
        (finish(centred / squares)),
    )
    yield (
        "is divided by the root of the mean of x * x, mean left in",
        (finish(x / squares)),
    )
    if C > 1:
        sample = np.sqrt(variance * C / (C - 1) + eps)
        yield (
            "has C - 1 in its variance: it is a mean over C",
            finish(centred / sample),
        )
    total = np.sqrt(variance * C + eps)
    yield "has a sum for its variance: divide by C", finish(centred / total)
    yield "lacks the weight and the bias", normed
    yield "lacks the weight", normed + bias
    yield "lacks the bias", normed * weight
    yield (
        "has weight and bias in each other's place",
        finish(normed, bias, weight),
    )
    yield "has the bias before the weight", (normed + bias) * weight
    yield "has the weight added to 1", finish(normed, 1 + weight)
    for axis in (0, 1, (0, 1), None)[: 4 if x.ndim == 3 else 0]:
        centre = x - x.mean(axis=axis, keepdims=True)
        size = (centre * centre).mean(axis=axis, keepdims=True)
        where = "over everything" if axis is None else f"over axis {axis}"
        yield (
            f"has mean and variance {where}: use the last axis",
            finish(centre / np.sqrt(size + eps)),
        )
        yield (
            f"has its variance {where}: use the last axis",
            finish(centred / np.sqrt(size + eps)),
        )


def layer_norm_backward(dout, x, weight, bias, eps=1e-5):
    C = x.shape[-1]
    _, (normed, rstd, _) = right.layer_norm(x, weight, bias, eps)
    dx, dweight, dbias = right.layer_norm_backward(
        dout, (normed, rstd, weight)
    )
    axes = tuple(range(x.ndim - 1))

    def means(g):
        along = (g * normed).mean(axis=-1, keepdims=True)
        return g.mean(axis=-1, keepdims=True), normed * along

    g = dout * weight
    ones, stretch = means(g)
    bare = rstd * (dout - sum(means(dout)))
    yield "lacks the weight: g is dout * weight", {"dx": bare}
    yield (
        "has the weight outside: it belongs into g = dout * weight",
        {"dx": bare * weight},
    )
    yield (
        "is divided by the weight: g is dout * weight",
        {"dx": rstd * (dout / weight - sum(means(dout / weight)))},
    )
    yield (
        "lacks the mean of g: the road through the mean",
        {"dx": rstd * (g - stretch)},
    )
    yield (
        "lacks the term along x-hat: the road through the variance",
        {"dx": rstd * (g - ones)},
    )
    yield (
        "lacks both subtracted terms: mean and variance depend on x",
        {"dx": rstd * g},
    )
    yield "lacks both subtracted terms, and the weight", {"dx": rstd * dout}
    yield "lacks everything but the weight", {"dx": g}
    yield "lacks the factor 1 / std", {"dx": g - ones - stretch}
    yield "has the factor 1 / std twice", {"dx": dx * rstd}
    yield "is divided by 1 / std", {"dx": (g - ones - stretch) / rstd}
    yield (
        "lacks the factor 1 / std in front of its first term",
        {"dx": g - rstd * (ones + stretch)},
    )
    yield (
        "has its two terms added, not subtracted",
        {"dx": rstd * (g + ones + stretch)},
    )
    yield (
        "has the mean of g added, not subtracted",
        {"dx": rstd * (g + ones - stretch)},
    )
    yield (
        "has the term along x-hat added, not subtracted",
        {"dx": rstd * (g - ones + stretch)},
    )
    yield (
        "has sums where means are wanted: divide by C",
        {"dx": rstd * (g - C * ones - C * stretch)},
    )
    yield (
        "has a sum for the mean of g: divide by C",
        {"dx": rstd * (g - C * ones - stretch)},
    )
    yield (
        "has a sum for the mean of g * x-hat: divide by C",
        {"dx": rstd * (g - ones - C * stretch)},
    )
    yield (
        "lacks the factor x-hat in its last term",
        {"dx": rstd * (g - ones - (g * normed).mean(axis=-1, keepdims=True))},
    )
    yield (
        "has the square of x-hat inside its mean",
        {"dx": rstd * (g - ones - (g * normed**2).mean(-1, keepdims=True))},
    )
    yield (
        "has the mean of g, not of g * x-hat, along x-hat",
        {"dx": rstd * (g - ones - normed * ones)},
    )
    yield (
        "has twice the term along x-hat",
        {"dx": rstd * (g - ones - 2 * stretch)},
    )
    yield (
        "has half the term along x-hat",
        {"dx": rstd * (g - ones - 0.5 * stretch)},
    )
    centred = normed / rstd
    for plain, name in ((x, "x"), (centred, "x - mean")):
        along = (g * plain).mean(axis=-1, keepdims=True)
        yield (
            f"has {name} where x-hat is wanted",
            {"dx": rstd * (g - ones - plain * along)},
        )
        yield (
            f"has {name} where x-hat is wanted",
            {"dx": rstd * (g - ones - normed * along)},
        )
        total = (dout * plain).sum(axis=axes)
        yield (
            f"is the sum of dout * {name}: of dout * x-hat is wanted",
            {"dweight": total},
        )
    yield (
        "has dout where g = dout * weight is wanted in its first term",
        {"dx": rstd * (dout - ones - stretch)},
    )
    alone = means(dout)
    yield (
        "has dout where g = dout * weight is wanted in its means",
        {"dx": rstd * (g - sum(alone))},
    )
    yield (
        "has dout where g = dout * weight is wanted in the mean of g",
        {"dx": rstd * (g - alone[0] - stretch)},
    )
    yield (
        "has dout where g is wanted in the mean of g * x-hat",
        {"dx": rstd * (g - ones - alone[1])},
    )
    yield (
        "lacks the factor x-hat: it is the sum of dout alone",
        {
            "dweight": dbias,
            "dbias": dbias,
        },
    )
    yield (
        "has the factor weight: it is the sum of dout * x-hat",
        {"dweight": dweight * weight},
    )
    yield (
        "has the factor weight: it is the sum of dout",
        {"dbias": dbias * weight},
    )
    yield (
        "has g where dout is wanted",
        {
            "dweight": dweight * weight,
            "dbias": dbias * weight,
        },
    )
    if x.ndim == 3:
        rows = x.size // C
        yield (
            f"is a mean over the rows: all {rows} add up",
            {"dweight": dweight / rows},
        )
        yield (
            f"is a mean over the rows: all {rows} add up",
            {"dbias": dbias / rows},
        )


forgot_weight = layer_norm_backward  # of "Break it"


def relu(x):
    yield "keeps what is negative, and cuts off the rest", np.minimum(x, 0)
    yield "is the absolute value", np.abs(x)
    yield "is 0 or 1: the slope in place of the value", (x > 0).astype(x.dtype)
    yield "lets what is negative through in part", np.where(x > 0, x, 0.01 * x)
    yield "lets what is negative through in part", np.where(x > 0, x, 0.1 * x)
    yield "is x unchanged: what is negative becomes 0", x
    yield "is cut off at 1: what is positive stays as it is", np.clip(x, 0, 1)


def relu_backward(dout, x):
    yield "has the slope 1 at 0: there it is taken as 0", dout * (x >= 0)
    yield (
        "has the slope 1/2 at 0: there it is taken as 0",
        (dout * np.where(x == 0, 0.5, x > 0)),
    )
    yield "lets the gradient pass where x was negative", dout * (x < 0)
    yield "lets the gradient pass where x was negative", dout * (x <= 0)
    yield (
        "is dout times relu(x): the slope is 0 or 1",
        (dout * np.maximum(x, 0)),
    )
    yield "is max(dout, 0): the sign of x counts", np.maximum(dout, 0)
    yield "is the slope alone: multiply by dout", (x > 0).astype(x.dtype)
    yield "lacks the slope: where x was negative it is 0", dout
    yield (
        "is dout times the sign of x: the slope is 0 or 1",
        (dout * np.sign(x)),
    )
    yield "is dout times x: the slope is 0 or 1", dout * x


def gelu(x):
    cube = x * x * x
    u = SLOPE * (x + 0.044715 * cube)
    tanh = np.tanh(u)
    yield "lacks the factor 1/2", x * (1 + tanh)
    yield "lacks the 1 beside the tanh", 0.5 * x * tanh
    yield "has 1 - tanh: it is 1 + tanh", 0.5 * x * (1 - tanh)
    yield "lacks the factor x", 0.5 * (1 + tanh)
    yield "lacks the tanh: u stands in its place", 0.5 * x * (1 + u)

    def finish(u):
        return 0.5 * x * (1 + np.tanh(u))

    inner = x + 0.044715 * cube
    yield "lacks the square root of 2/pi", finish(inner)
    yield "has 2/pi without its square root", finish(2 / math.pi * inner)
    yield "has the square root of pi/2, not of 2/pi", finish(inner / SLOPE)
    for n in (1 / math.pi, 2 * math.pi, math.pi, 2.0):
        yield (
            "has another root than that of 2/pi",
            finish(math.sqrt(n) * inner),
        )
    yield (
        "has the square root of 2/pi on x alone, not on the cube",
        finish(SLOPE * x + 0.044715 * cube),
    )
    yield (
        "has x squared where it is cubed",
        finish(SLOPE * (x + 0.044715 * x * x)),
    )
    yield "lacks the cube", finish(SLOPE * x)
    yield "lacks the factor 0.044715 of the cube", finish(SLOPE * (x + cube))
    yield "has the cube subtracted", finish(SLOPE * (x - 0.044715 * cube))
    for n in (0.44715, 0.0044715, 0.047715, 0.04715, 0.0447, 0.04471):
        yield (
            f"has the factor {n} where 0.044715 is wanted",
            finish(SLOPE * (x + n * cube)),
        )
    erf = np.vectorize(math.erf)(x / math.sqrt(2)).astype(x.dtype)
    yield (
        "is the exact form with erf: the tanh form is wanted",
        (0.5 * x * (1 + erf)),
    )
    for n in (1.0, 1.702):
        yield (
            "is x times a logistic function: the tanh form is wanted",
            (x / (1 + np.exp(-n * x))),
        )
    yield "is relu(x)", np.maximum(x, 0)


def gelu_backward(dout, x):
    u = SLOPE * (x + 0.044715 * x * x * x)
    t = np.tanh(u)
    du = SLOPE * (1 + 3 * 0.044715 * x * x)

    def finish(du=du, slope=1 - t * t):
        return dout * 0.5 * (1 + t + x * slope * du)

    yield (
        "lacks the second term of the product rule, the slope of t",
        (dout * 0.5 * (1 + t)),
    )
    yield (
        "lacks the first term of the product rule, (1 + t) / 2",
        (dout * 0.5 * x * (1 - t * t) * du),
    )
    yield "lacks the factor 1/2", 2 * finish()
    yield (
        "lacks the factor 1/2 of its second term",
        dout * (0.5 * (1 + t) + x * (1 - t * t) * du),
    )
    yield (
        "lacks the factor 1/2 of its first term",
        dout * (1 + t + 0.5 * x * (1 - t * t) * du),
    )
    yield "lacks u', the slope of u: tanh'(u) u' is wanted", finish(1.0)
    yield "lacks 1 - t^2, the slope of tanh", finish(slope=1.0)
    yield "has 1 - t where 1 - t^2 is wanted", finish(slope=1 - t)
    yield "has 1 + t^2 where 1 - t^2 is wanted", finish(slope=1 + t * t)
    yield "has t where its slope 1 - t^2 is wanted", finish(slope=t)
    yield "has u where t is wanted in 1 - t^2", finish(slope=1 - u * u)
    yield (
        "lacks the factor x of its second term",
        dout * 0.5 * (1 + t + (1 - t * t) * du),
    )
    yield (
        "has its second term subtracted",
        dout * 0.5 * (1 + t - x * (1 - t * t) * du),
    )
    yield "lacks the square root of 2/pi in u'", finish(du / SLOPE)
    yield (
        "lacks the 3 in u': the slope of x^3 is 3 x^2",
        finish(SLOPE * (1 + 0.044715 * x * x)),
    )
    yield (
        "has 2 for the 3 in u': the slope of x^3 is 3 x^2",
        finish(SLOPE * (1 + 2 * 0.044715 * x * x)),
    )
    yield (
        "has x where x^2 is wanted in u'",
        finish(SLOPE * (1 + 3 * 0.044715 * x)),
    )
    yield (
        "has x^3 where x^2 is wanted in u'",
        finish(SLOPE * (1 + 3 * 0.044715 * x**3)),
    )
    yield "lacks the 1 in u'", finish(SLOPE * 3 * 0.044715 * x * x)
    yield "lacks the cube's share in u'", finish(SLOPE)
    yield "lacks the 0.044715 in u'", finish(SLOPE * (1 + 3 * x * x))
    yield "lacks the 1 beside t", dout * 0.5 * (t + x * (1 - t * t) * du)
    yield "is the slope alone: multiply by dout", finish() / dout
    yield (
        "is dout times gelu(x), not times its slope",
        (dout * 0.5 * x * (1 + t)),
    )
    yield (
        "lacks dout in its second term",
        0.5 * (dout * (1 + t) + x * (1 - t * t) * du),
    )
    yield (
        "lacks dout in its first term",
        0.5 * (1 + t + dout * x * (1 - t * t) * du),
    )


def dropout(x, p, rng):
    one = x.dtype.type(1 / (1 - p))
    if rng is None or p == 0:
        yield "is scaled though nothing is dropped", x * one
        yield "is scaled though nothing is dropped", x * x.dtype.type(1 - p)
        if rng is not None:
            yield "is zero: with p = 0 everything stays", 0 * x
        return
    draw = copy.deepcopy(rng).random(x.shape, dtype=np.float32)
    wide = copy.deepcopy(rng).random(x.shape)
    keep = draw >= p
    yield "lacks the factor 1 / (1 - p)", x * keep
    yield "has the factor 1 - p: divide by it", x * keep * (1 - p)
    yield "has the factor 1 / p: it is 1 / (1 - p)", x * keep / p
    yield "has the factor p: it is 1 / (1 - p)", x * keep * p
    yield "is x unchanged: nothing is dropped", x
    yield "has everything scaled and nothing dropped", x * one
    drop = draw < p
    for factor in (one, 1, 1 / p, 1 - p):
        yield (
            "keeps what it should drop: keep where the number drawn is >= p",
            x * drop * x.dtype.type(factor),
        )
    other = (
        "is drawn in another way: keep where rng.random(x.shape, "
        "dtype=np.float32) >= p"
    )
    drawn = [wide >= p, wide < 1 - p, wide > p, draw < 1 - p]
    ways = (
        lambda rng: rng.binomial(1, 1 - p, x.shape),
        lambda rng: rng.binomial(1, 1 - p, size=x.size).reshape(x.shape),
        lambda rng: rng.choice([0, 1], x.shape, p=[p, 1 - p]),
        lambda rng: rng.uniform(size=x.shape) >= p,
        lambda rng: rng.standard_normal(x.shape) >= p,
        lambda rng: rng.random(x.shape[-1], dtype=np.float32) >= p,
        lambda rng: rng.random(x.shape[-1]) >= p,
        lambda rng: p <= rng.random(x.T.shape, dtype=np.float32).T,
    )
    drawn += [way(copy.deepcopy(rng)) for way in ways]
    for kept in drawn:
        for factor in (one, 1):
            yield other, x * kept.astype(x.dtype) * factor


def dropout_backward(dout, x, p, rng):
    one = dout.dtype.type(1 / (1 - p))
    if rng is None or p == 0:
        yield "is scaled though nothing was dropped", dout * one
        return
    keep = copy.deepcopy(rng).random(x.shape, dtype=np.float32) >= p
    yield "lacks the factor 1 / (1 - p)", dout * keep
    yield "has the factor 1 / (1 - p) twice", dout * keep * one * one
    yield "has the factor 1 - p: divide by it", dout * keep / one
    yield "is scaled, but not zero where x was dropped", dout * one
    yield (
        "passes where x was dropped, not where it was kept",
        (dout * ~keep * one),
    )
    yield "passes where x was dropped, not where it was kept", dout * ~keep
    yield "lacks both the zeros and the factor", dout
    yield (
        "is multiplied by what came out: use the factors",
        (dout * x * keep * one),
    )
    yield "is the factors alone: multiply by dout", keep * one


def feed_forward(x, params, activation):
    act, _ = right.ACTIVATIONS[activation]
    up, down = params["up"], params["down"]
    hidden = attention.linear(x, **up)[0]
    out = attention.linear(act(hidden)[0], **down)[0]
    yield "lacks the activation", attention.linear(hidden, **down)[0]
    other = "relu" if activation == "gelu" else "gelu"
    yield (
        f"has {other} where {activation} is wanted",
        (right.feed_forward(x, params, other)[0]),
    )
    yield "has the activation at the end too", act(out)[0]
    after = attention.linear(hidden, **down)[0]
    yield (
        "has the activation after down: it comes between the maps",
        (act(after)[0]),
    )
    twice = act(act(hidden)[0])[0]
    yield "has the activation twice", attention.linear(twice, **down)[0]
    yield "has x added: that comes with residual", out + x
    if "bias" in up:
        bare = act(x @ up["weight"])[0]
        yield "lacks the bias of up", attention.linear(bare, **down)[0]
        yield "lacks both biases", bare @ down["weight"]
        yield "lacks the bias of down", out - down["bias"]
        late = act(x @ up["weight"])[0] + up["bias"]
        yield (
            "has the bias of up after the activation",
            (attention.linear(late, **down)[0]),
        )


def feed_forward_backward(dout, x, params, activation):
    _, cache = right.feed_forward(x, params, activation)
    _, act_backward = right.ACTIVATIONS[activation]
    dhidden, grads = attention.linear_grads(dout, cache["down"])
    passed, up_grads = attention.linear_grads(dhidden, cache["up"])
    yield (
        "lacks the backward of the activation",
        _named(dx=passed, up=up_grads),
    )
    yield "lacks the backward of the activation", {"dx": passed}
    other = "relu" if activation == "gelu" else "gelu"
    if other == "relu":
        hidden, _ = cache["act"]
        dact = right.relu_backward(dhidden, hidden)
    else:
        dact = right.gelu_backward(dhidden, right.gelu(cache["act"])[1])
    dx, up_grads = attention.linear_grads(dact, cache["up"])
    yield f"has the backward of {other}", _named(dx=dx, up=up_grads)
    twice = act_backward(act_backward(dhidden, cache["act"]), cache["act"])
    dx, up_grads = attention.linear_grads(twice, cache["up"])
    yield (
        "has the backward of the activation twice",
        _named(dx=dx, up=up_grads),
    )
    dx, _ = right.feed_forward_backward(dout, cache)
    yield "has dout added: that comes with residual", {"dx": dx + dout}


def residual(x, params, norm_params, config, rng=None):
    weight, norm = params["sublayer"], norm_params["norm"]

    def f(h):
        return np.tanh(h) @ weight

    def n(h, eps=1e-5):
        return right.layer_norm(h, **norm)[0]

    def drop(h, p=config.dropout):
        return right.dropout(h, p, copy.deepcopy(rng))[0]

    yield from _wirings(x, f, n, drop, config.norm == "pre")


def _wirings(x, f, n, drop, pre):
    """Yield what wrong wirings of a residual give."""
    wrong = n(x + drop(f(x))) if pre else x + drop(f(n(x)))
    yield (
        (
            "is post-norm where pre-norm is wanted"
            if pre
            else "is pre-norm where post-norm is wanted"
        ),
        wrong,
    )
    right_h = f(n(x)) if pre else f(x)
    end = (lambda s: s) if pre else n
    yield "lacks the shortcut: add x", end(drop(right_h))
    yield "lacks dropout", end(x + right_h)
    yield (
        "has dropout on the sum: it belongs on the branch alone",
        end(drop(x + right_h)),
    )
    before = f(drop(n(x))) if pre else f(drop(x))
    yield "has dropout before the sublayer: it comes after", end(x + before)
    yield "lacks the norm", x + drop(f(x))
    if pre:
        yield (
            "has the shortcut start behind the norm: add x itself",
            (n(x) + drop(right_h)),
        )
        yield (
            "has the norm after the sublayer: it comes before",
            (x + drop(n(f(x)))),
        )
        yield "has a norm on the sum too", n(x + drop(right_h))
    else:
        yield (
            "has dropout after the norm: it belongs on the branch",
            drop(end(x + right_h)),
        )
        yield (
            "has the norm on the branch alone, not on the sum",
            (x + n(drop(right_h))),
        )
        yield "has a norm before the sublayer too", n(x + drop(f(n(x))))
    yield "has x added twice", end(2 * x + drop(right_h))
    yield "has the branch subtracted", end(x - drop(right_h))
    yield "lacks the sublayer", end(x + drop(n(x) if pre else x))


def residual_backward(dout, x, params, norm_params, config, rng=None):
    weight, norm = params["sublayer"], norm_params["norm"]
    C = len(weight)

    def sublayer(h):
        return np.tanh(h) @ weight, h

    def sublayer_backward(dout, h):
        rows = np.tanh(h).reshape(-1, C)
        grad = rows.T @ dout.reshape(-1, C)
        return dout @ weight.T * (1 - np.tanh(h) ** 2), grad

    given = x, sublayer, norm, config, copy.deepcopy(rng)
    _, cache = right.residual(*given)
    for clause, dx, grad, norm_grads in _wrong_backwards(
        dout, cache, sublayer_backward
    ):
        yield clause, _named(dx=dx, sublayer=grad, norm=norm_grads)


def _wrong_backwards(dout, cache, sublayer_backward):
    """Yield clause, dx, grads, norm grads of wrong ways back."""
    pre = cache["pre"]
    dx, grads, norm_grads = right.residual_backward(
        dout, cache, sublayer_backward
    )
    norm = cache["norm"]

    def back(dh, drop=True):
        if drop:
            dh = right.dropout_backward(dh, cache["dropout"])
        return sublayer_backward(dh, cache["sublayer"])

    def through_norm(dh):
        dh, dweight, dbias = right.layer_norm_backward(dh, norm)
        return dh, {"weight": dweight, "bias": dbias}

    if pre:
        dh, grads_wrong = back(dout, drop=False)
        dh, norm_wrong = through_norm(dh)
        yield "lacks dropout_backward", dout + dh, grads_wrong, norm_wrong
        minus = 2 * dout - dx
        yield "has the branch subtracted: add it", minus, None, None
        yield "lacks the shortcut: add dout", dx - dout, None, None
        plain, _ = back(dout)
        yield (
            "lacks the norm's backward on the branch",
            dout + plain,
            grads,
            norm_grads,
        )
        through, norm_wrong = through_norm(dout + plain)
        yield (
            "has the norm's backward on shortcut and branch together: in "
            "pre-norm it acts on the branch alone",
            through,
            grads,
            None,
        )
        dsum, norm_wrong = through_norm(dout)
        dh, grads_wrong = back(dsum)
        yield (
            "is the backward of post-norm: in pre-norm the norm comes last, "
            "and on the branch alone",
            dsum + dh,
            grads_wrong,
            norm_wrong,
        )
        yield (
            "has the norm's backward before the sublayer's: in pre-norm it "
            "comes last",
            dout + dh,
            grads_wrong,
            norm_wrong,
        )
    else:
        dsum, _ = through_norm(dout)
        dh, grads_wrong = back(dsum, drop=False)
        yield "lacks dropout_backward", dsum + dh, grads_wrong, norm_grads
        dh, _ = back(dsum)
        yield (
            "lacks the shortcut: add what came out of the norm",
            dh,
            None,
            None,
        )
        yield (
            "has dout on the shortcut: in post-norm it goes through the norm "
            "first",
            dout + dh,
            grads,
            norm_grads,
        )
        dh, grads_wrong = back(dout)
        yield (
            "lacks the norm's backward: in post-norm it comes first",
            dout + dh,
            grads_wrong,
            None,
        )
        dh, norm_wrong = through_norm(dh)
        yield (
            "is the backward of pre-norm: in post-norm the norm comes first",
            dout + dh,
            grads_wrong,
            norm_wrong,
        )


def transformer_block(x, params, config, mask=None, rng=None):
    pre = config.norm == "pre"

    def attend(h, mask=mask, n_heads=config.n_heads):
        return attention.multi_head_attention(
            h, params["attention"], n_heads, mask
        )[0]

    def feed(h, activation=config.activation):
        return right.feed_forward(h, params["feed_forward"], activation)[0]

    def step(x, f, name, rng, shortcut=True, pre=pre, p=config.dropout):
        n = params[name]
        h = f(right.layer_norm(x, **n)[0] if pre else x)
        h = right.dropout(h, p, rng)[0]
        out = x + h if shortcut else h
        return out if pre else right.layer_norm(out, **n)[0]

    def run(
        first=(attend, "norm1"),
        second=(feed, "norm2"),
        shortcuts=(True, True),
        **options,
    ):
        drawn = copy.deepcopy(rng)
        h = step(x, *first, drawn, shortcuts[0], **options)
        return step(h, *second, drawn, shortcuts[1], **options)

    if mask is not None:
        yield "has the mask ignored", run((lambda h: attend(h, None), "norm1"))
    if rng is not None and config.dropout:
        yield "lacks dropout: hand rng on to both residuals", run(p=0.0)
        drawn = copy.deepcopy(rng)
        half = step(x, attend, "norm1", drawn)
        yield (
            "lacks dropout in the second residual: hand rng on",
            step(half, feed, "norm2", None),
        )
        half = step(x, attend, "norm1", None)
        yield (
            "lacks dropout in the first residual: hand rng on",
            step(half, feed, "norm2", copy.deepcopy(rng)),
        )
        half = step(x, attend, "norm1", copy.deepcopy(rng))
        yield (
            "has the same numbers drawn in both residuals",
            step(half, feed, "norm2", copy.deepcopy(rng)),
        )
    yield (
        "has norm1 and norm2 in each other's place",
        run((attend, "norm2"), (feed, "norm1")),
    )
    yield "has norm1 in both residuals", run(second=(feed, "norm1"))
    yield "has norm2 in both residuals", run((attend, "norm2"))
    yield (
        "has the feed-forward before the attention",
        run((feed, "norm2"), (attend, "norm1")),
    )
    yield (
        "has the feed-forward before the attention",
        run((feed, "norm1"), (attend, "norm2")),
    )
    yield (
        "lacks the feed-forward",
        step(x, attend, "norm1", copy.deepcopy(rng)),
    )
    yield (
        "lacks the attention: the feed-forward reads what came out of it",
        step(x, feed, "norm2", copy.deepcopy(rng)),
    )
    yield "lacks the shortcut around attention", run(shortcuts=(False, True))
    yield (
        "lacks the shortcut around the feed-forward",
        run(shortcuts=(True, False)),
    )
    yield "lacks both shortcuts", run(shortcuts=(False, False))
    yield (
        "has the norm in the wrong place: config.norm says where",
        run(pre=not pre),
    )
    other = "relu" if config.activation == "gelu" else "gelu"
    yield (
        f"has {other}: config.activation is {config.activation}",
        run(second=(lambda h: feed(h, other), "norm2")),
    )
    yield (
        "has a single head: config.n_heads says how many",
        run((lambda h: attend(h, n_heads=1), "norm1")),
    )


def transformer_block_backward(dout, x, params, config, mask=None, rng=None):
    given = x, params, config, mask, copy.deepcopy(rng)
    _, cache = right.transformer_block(*given)
    dmiddle, _, _ = right.residual_backward(
        dout, cache["feed_forward"], right.feed_forward_backward
    )
    dx, grads, norm_grads = right.residual_backward(
        dmiddle, cache["attention"], attention.multi_head_attention_backward
    )
    if config.norm == "pre":
        yield (
            "lacks what goes past attention, the shortcut",
            {"dx": dx - dmiddle},
        )
    alone, grads, norm_grads = right.residual_backward(
        dout, cache["attention"], attention.multi_head_attention_backward
    )
    yield (
        "has dout go into attention's backward: what came out of the "
        "feed-forward's is wanted",
        _named(dx=alone, attention=grads, norm1=norm_grads),
    )
    yield "is the gradient at the middle of the block", {"dx": dmiddle}
    yield "has the gradient at the middle added", {"dx": dx + dmiddle}
    yield "has dout added", {"dx": dx + dout}


no_shortcut = transformer_block_backward  # of "Break it"


def _named(**trees):
    """Return {"dx": ..., "up.weight": ...}, without what is None."""
    found = {}

    def add(name, tree):
        if isinstance(tree, dict):
            for key, part in tree.items():
                add(f"{name}.{key}", part)
        elif tree is not None:
            found[name] = tree

    for name, tree in trees.items():
        add(name, tree)
    return found


# exercises


def silu(x):
    gate = 1 / (1 + np.exp(-x))
    yield "is the logistic function alone: multiply by x", gate
    yield "has exp(x) where exp(-x) is wanted", x / (1 + np.exp(x))
    yield "has tanh for the logistic function", x * np.tanh(x)
    yield "has 1 - exp(-x) below: it is 1 + exp(-x)", x / (1 - np.exp(-x))
    yield "has the square of x", x * x * gate
    yield "is gelu(x)", right.gelu(x)[0]
    yield "lacks the division: it is x / (1 + exp(-x))", x * (1 + np.exp(-x))


def silu_backward(dout, x):
    gate = 1 / (1 + np.exp(-x))
    slope = gate * (1 - gate)
    yield (
        "lacks the second term of the product rule, x times the slope",
        (dout * gate),
    )
    yield "lacks the first term of the product rule", dout * x * slope
    yield (
        "is dout times the slope of the logistic function alone",
        (dout * slope),
    )
    yield "lacks the factor x of its second term", dout * (gate + slope)
    yield "has its second term subtracted", dout * (gate - x * slope)
    yield (
        "has 1 + gate where 1 - gate is wanted",
        dout * gate * (1 + x * (1 + gate)),
    )
    yield (
        "has 1 - gate^2, the slope of tanh",
        dout * (gate + x * (1 - gate**2)),
    )
    yield (
        "has 1 - gate where gate (1 - gate) is wanted",
        dout * (gate + x * (1 - gate)),
    )
    yield "has gate where its slope is wanted", dout * (gate + x * gate)
    yield "is the slope alone: multiply by dout", gate + x * slope
    yield "lacks dout in its second term", dout * gate + x * slope
    out = x * gate
    yield "has out where x is wanted", dout * gate * (1 + out * (1 - gate))
    yield "has the factor 1 - gate on both terms", dout * slope * (1 + x)


def rms_norm(x, weight, *, eps=1e-5):
    square = (x * x).mean(axis=-1, keepdims=True)
    yield "lacks eps", x / np.sqrt(square) * weight
    yield (
        "has eps outside the square root",
        (x / (np.sqrt(square) + eps) * weight),
    )
    yield "lacks the root", x / (square + eps) * weight
    yield (
        "has a sum where a mean is wanted: divide by C",
        (x / np.sqrt(square * x.shape[-1] + eps) * weight),
    )
    normed = x / np.sqrt(square + eps)
    yield "lacks the weight", normed
    centred, _ = right.layer_norm(x, weight, np.zeros_like(weight))
    yield "is layer norm: the mean stays in", centred
    moved = normed - normed.mean(axis=-1, keepdims=True)
    yield "has the mean of x taken off: only the size changes", moved * weight
    variance = ((x - x.mean(axis=-1, keepdims=True)) ** 2).mean(
        axis=-1, keepdims=True
    )
    yield (
        "has the variance where the mean of x * x is wanted",
        (x / np.sqrt(variance + eps) * weight),
    )
    yield "is multiplied by the root: divide", x * np.sqrt(square) * weight
    yield (
        "has the mean over everything: use the last axis",
        (x / np.sqrt((x * x).mean() + eps) * weight),
    )
    yield "has another eps", x / np.sqrt(square + 1e-6) * weight


def rms_norm_backward(dout, x, weight, *, eps=1e-5):
    rrms = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    normed, g = x * rrms, dout * weight
    stretch = normed * (g * normed).mean(axis=-1, keepdims=True)
    dx = rrms * (g - stretch)
    bare = rrms * (
        dout - normed * (dout * normed).mean(axis=-1, keepdims=True)
    )
    mean = g.mean(axis=-1, keepdims=True)
    axes = tuple(range(x.ndim - 1))
    yield "lacks the weight: g is dout * weight", {"dx": bare}
    yield "lacks the term along x-hat: the road through r", {"dx": rrms * g}
    yield "lacks the term along x-hat, and the weight", {"dx": rrms * dout}
    yield (
        "has the mean of g subtracted: that is layer norm's",
        {"dx": dx - rrms * mean},
    )
    yield (
        "has the mean of g subtracted, not the term along x-hat",
        {"dx": rrms * (g - mean)},
    )
    yield "lacks the factor r", {"dx": g - stretch}
    yield "has the factor r twice", {"dx": dx * rrms}
    yield (
        "has a sum where a mean is wanted: divide by C",
        {"dx": rrms * (g - x.shape[-1] * stretch)},
    )
    yield (
        "has its second term added, not subtracted",
        {"dx": rrms * (g + stretch)},
    )
    yield (
        "lacks the factor x-hat in its last term",
        {"dx": rrms * (g - (g * normed).mean(axis=-1, keepdims=True))},
    )
    yield (
        "has x where x-hat is wanted",
        {"dx": rrms * (g - x * (g * x).mean(axis=-1, keepdims=True))},
    )
    yield (
        "is the sum of dout alone: of dout * x-hat is wanted",
        {"dweight": dout.sum(axis=axes)},
    )
    yield (
        "is the sum of dout * x: of dout * x-hat is wanted",
        {"dweight": (dout * x).sum(axis=axes)},
    )
    yield (
        "has the factor weight: it is the sum of dout * x-hat",
        {"dweight": (g * normed).sum(axis=axes)},
    )
    yield (
        "is a mean over the rows: they add up",
        {"dweight": (dout * normed).mean(axis=axes)},
    )


def gated(x, params):
    gate, up, down = (params[key]["weight"] for key in ("gate", "up", "down"))
    act = right.gelu(x @ gate)[0]
    yield "lacks the activation", x @ gate * (x @ up) @ down
    yield (
        "has the activation on up, not on the gate",
        (x @ gate * right.gelu(x @ up)[0] @ down),
    )
    both = right.gelu(x @ gate)[0] * right.gelu(x @ up)[0]
    yield "has the activation on both", both @ down
    yield (
        "has the activation after the product",
        (right.gelu(x @ gate * (x @ up))[0] @ down),
    )
    yield "has a sum where a product is wanted", (act + x @ up) @ down
    yield "lacks up", act @ down
    yield "lacks the gate", x @ up @ down
    yield "has the gate's map for up too", act * (x @ gate) @ down
    yield (
        "has up's map for the gate too",
        (right.gelu(x @ up)[0] * (x @ up) @ down),
    )
    yield "has relu for gelu", np.maximum(x @ gate, 0) * (x @ up) @ down


def gated_backward(dout, x, params):
    hidden, gate_cache = attention.linear(x, **params["gate"])
    act, gelu_cache = right.gelu(hidden)
    up, up_cache = attention.linear(x, **params["up"])
    _, down_cache = attention.linear(act * up, **params["down"])
    dhidden, _ = attention.linear_grads(dout, down_cache)

    def back(dgate, dup):
        first, gate_grads = attention.linear_grads(dgate, gate_cache)
        second, up_grads = attention.linear_grads(dup, up_cache)
        return first, second, gate_grads, up_grads

    dgate = right.gelu_backward(dhidden * up, gelu_cache)
    first, second, _, _ = back(dgate, dhidden * act)
    yield "lacks the gradient through up: x was used twice", {"dx": first}
    yield (
        "lacks the gradient through the gate: x was used twice",
        {"dx": second},
    )
    wrongs = {
        "lacks gelu_backward before the gate's map": (
            dhidden * up,
            dhidden * act,
        ),
        "has the gate's value before the activation: up's factor is act": (
            dgate,
            dhidden * hidden,
        ),
        "has act and up in each other's place": (
            right.gelu_backward(dhidden * act, gelu_cache),
            dhidden * up,
        ),
        "has the factor act on the way to the gate: it is up": (
            right.gelu_backward(dhidden * act, gelu_cache),
            dhidden * act,
        ),
        "lacks the factor up on the way to the gate": (
            right.gelu_backward(dhidden, gelu_cache),
            dhidden * act,
        ),
        "lacks the factor act on the way to up": (dgate, dhidden),
    }
    for clause, parts in wrongs.items():
        first, second, gate_grads, up_grads = back(*parts)
        yield clause, _named(dx=first + second, gate=gate_grads, up=up_grads)
