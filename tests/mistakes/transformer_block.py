"""Mistakes in the functions of lesson 03, and right versions of them."""

import inspect
from types import SimpleNamespace

import numpy as np

from helpers.checks import check_backward, torch_ops

_rng = np.random.default_rng(4)
_x = _rng.normal(size=(2, 5, 12))
_weight, _bias = _rng.normal(size=(2, 12))


def _linear(M, N, bias=True):
    params = {"weight": _rng.normal(size=(M, N))}
    return params | ({"bias": _rng.normal(size=N)} if bias else {})


def _norm():
    weight, bias = 0.5 * _rng.normal(size=(2, 12))
    return {"weight": 1 + weight, "bias": bias}


_block = {
    "norm1": _norm(),
    "attention": {"qkv": _linear(12, 36), "out": _linear(12, 12)},
    "norm2": _norm(),
    "feed_forward": {"up": _linear(12, 7), "down": _linear(7, 12)},
}
_config = SimpleNamespace(
    attention="full", norm="pre", activation="gelu", n_heads=3, dropout=0.0
)
CALLS = {
    "layer_norm": (torch_ops.layer_norm, (_x, _weight, _bias), {}),
    "relu": (torch_ops.relu, (_x,), {}),
    "gelu": (torch_ops.gelu, (_x,), {}),
    "dropout": (
        torch_ops.dropout,
        (_x,),
        {"p": 0.25, "rng": np.random.default_rng(5)},
    ),
    "feed_forward": (
        torch_ops.feed_forward,
        (_x, _block["feed_forward"], "gelu"),
        {},
    ),
    "transformer_block": (
        torch_ops.encoder_layer,
        (_x, _block, _config, np.tri(5, dtype=bool)),
        {},
    ),
}

KEEPDIMS = "keepdims=True keeps it"

WRONG = {
    "layer_norm": [
        ("variance + eps", "variance", "lacks eps"),
        ("np.sqrt(variance + eps)", "(np.sqrt(variance) + eps)", "outside"),
        ("variance + eps", "variance + 1e-5", "in place of what was given"),
        ("variance + eps", "variance + 1e-6", "another eps"),
        ("np.sqrt(variance + eps)", "(variance + eps)", "not by its root"),
        (
            "normed = centred * rstd",
            "normed = centred * np.sqrt(variance + eps)",
            "multiplied by the standard deviation",
        ),
        ("normed = centred", "normed = x", "lacks the mean"),
        (
            "(centred * centred).sum(axis=-1, keepdims=True) / C",
            "(centred * centred).sum(axis=-1, keepdims=True) / (C - 1)",
            "C - 1 in its variance",
        ),
        (
            "(centred * centred).sum(axis=-1, keepdims=True) / C",
            "(centred * centred).sum(axis=-1, keepdims=True)",
            "a sum for its variance",
        ),
        ("(centred * centred)", "(x * x)", "subtract the mean"),
        ("normed * weight + bias", "normed * weight", "lacks the bias"),
        ("normed * weight + bias", "normed + bias", "lacks the weight"),
        ("normed * weight + bias", "normed", "lacks the weight and the"),
        ("normed * weight + bias", "(normed + bias) * weight", "bias before"),
        ("normed * weight + bias", "normed * bias + weight", "each other's"),
        ("normed * weight + bias", "normed * (1 + weight) + bias", "to 1"),
        (
            "x - x.sum(axis=-1, keepdims=True) / C",
            "x - x.mean(axis=-1)",
            KEEPDIMS,
        ),
        (
            "centred = x - x.sum(axis=-1, keepdims=True) / C\n"
            "    variance = (centred * centred).sum(axis=-1, keepdims=True)"
            " / C",
            "centred = x - x.mean()\n    variance = (centred**2).mean()",
            "over everything",
        ),
        (
            "centred = x - x.sum(axis=-1, keepdims=True) / C\n"
            "    variance = (centred * centred).sum(axis=-1, keepdims=True)"
            " / C",
            "centred = x - x.mean(0)\n    variance = (centred**2).mean(0)",
            "over axis 0",
        ),
        (
            "centred = x - x.sum(axis=-1, keepdims=True) / C\n",
            "x -= x.sum(axis=-1, keepdims=True) / C\n    centred = x\n",
            "changed x in place",
        ),
        (
            "variance = (centred * centred).sum(axis=-1, keepdims=True) / C",
            "variance = (x * x).mean(-1, keepdims=True) - "
            "x.mean(-1, keepdims=True) ** 2",
            "digits get lost",
        ),
        (", (normed, rstd, weight)", "", "has no cache"),
        ("    return normed", "    normed", "Is there a return?"),
        ("variance + eps", "variance + np.float64(eps)", "float64 took part"),
    ],
    "layer_norm_backward": [
        ("dnormed = dout * weight", "dnormed = dout", "lacks the weight"),
        (" - along_ones", "", "road through the mean"),
        (" - normed * along_normed", "", "road through the variance"),
        (
            "dnormed - along_ones - normed * along_normed",
            "dnormed",
            "mean and variance depend on x",
        ),
        ("dx = rstd *", "dx =", "lacks the factor 1 / std"),
        ("dx = rstd *", "dx = rstd * rstd *", "1 / std twice"),
        ("dx = rstd *", "dx = 1 / rstd *", "divided by 1 / std"),
        (
            "rstd * (dnormed - along_ones",
            "rstd * (dnormed + along_ones",
            "of g added",
        ),
        ("- normed * along", "+ normed * along", "along x-hat added"),
        (
            "- normed * along_normed",
            "- along_normed",
            "lacks the factor x-hat",
        ),
        (
            "(dnormed * normed).mean",
            "(dnormed * normed).sum",
            "for the mean of g *",
        ),
        ("dnormed.mean(", "dnormed.sum(", "a sum for the mean of g:"),
        ("dnormed.mean(", "dout.mean(", "in the mean of g"),
        ("(dnormed * normed).mean", "(dout * normed).mean", "of g * x-hat"),
        ("rstd * (dnormed -", "rstd * (dout -", "in its first term"),
        ("(dnormed * normed).mean", "dnormed.mean", "not of g * x-hat"),
        ("(dout * normed).resh", "dout.resh", "lacks the factor x-hat"),
        (
            "(dout * normed).resh",
            "(dout * weight * normed).resh",
            "factor weight",
        ),
        ("dbias = dout.resh", "dbias = (dout * weight).resh", "factor weight"),
        (
            "(dout * normed).reshape(-1, C).sum(axis=0)",
            "(dout * normed).reshape(-1, C).mean(axis=0)",
            "mean over the rows",
        ),
        (
            "(dout * normed).reshape(-1, C).sum(axis=0)",
            "(dout * normed).sum(axis=0)",
            "must still be summed over axis 0",
        ),
        (
            "(dout * normed).reshape(-1, C).sum(axis=0)",
            "dout * normed",
            "must still be summed over axis 0 and 1",
        ),
        (
            "dbias = dout.reshape(-1, C).sum(axis=0)",
            "dbias = dout.sum(axis=-1)",
            "summed over axis 2, not over 0 and 1",
        ),
        (
            "return dx, dweight, dbias",
            "return dx, dbias, dweight",
            "changed places",
        ),
        (
            "return dx, dweight, dbias",
            "return dweight, dx, dbias",
            "another order",
        ),
        (
            "return dx, dweight, dbias",
            "return dx, dweight",
            "2 gradients for 3",
        ),
        ("return dx, dweight, dbias", "return dx", "1 gradients for 3"),
        ("    return dx", "    dx", "Is there a return?"),
        (
            "dnormed = dout * weight",
            "dout *= weight\n    dnormed = dout",
            "changed dout in place",
        ),
        (
            "    along_ones",
            "    normed *= 1.5\n    along_ones",
            "changed an array of the cache",
        ),
        (
            "dnormed.mean(axis=-1, keepdims=True)",
            "dnormed.mean(axis=-1)",
            KEEPDIMS,
        ),
        ("return dx, dweight", "return -dx, dweight", "wrong sign"),
        ("return dx, dweight", "return dout, dweight", "is dout unchanged"),
    ],
    "relu": [
        ("np.maximum(x, 0)", "np.minimum(x, 0)", "keeps what is negative"),
        ("np.maximum(x, 0)", "np.abs(x)", "absolute value"),
        ("np.maximum(x, 0)", "(x > 0).astype(x.dtype)", "the slope in place"),
        ("np.maximum(x, 0)", "np.where(x > 0, x, 0.01 * x)", "in part"),
        ("np.maximum(x, 0)", "np.clip(x, 0, 1)", "cut off at 1"),
        ("np.maximum(x, 0)", "x.max(axis=-1)", "-"),
        ("np.maximum(x, 0)", "x > 0", "-"),
        ("np.maximum(x, 0), x", "np.maximum(x, 0)", "has no cache"),
        ("np.maximum(x, 0), x", "np.maximum(x, 0, out=x), x", "changed x in"),
        (
            "return np.maximum(x, 0), x",
            "x[x < 0] = 0\n    return x, x",
            "changed x in",
        ),
        (
            "np.maximum(x, 0)",
            "np.maximum(x, np.zeros(x.shape))",
            "float64 took",
        ),
    ],
    "relu_backward": [
        ("cache > 0", "cache >= 0", "the slope 1 at 0"),
        ("(cache > 0)", "(cache < 0)", "pass where x was negative"),
        ("dout * (cache > 0)", "dout * np.maximum(cache, 0)", "times relu(x)"),
        ("dout * (cache > 0)", "dout * (dout > 0)", "sign of x counts"),
        (
            "dout * (cache > 0)",
            "(cache > 0).astype(dout.dtype)",
            "multiply by dout",
        ),
        ("dout * (cache > 0)", "dout", "lacks the slope"),
        (
            "dout * (cache > 0)",
            "dout * np.sign(cache)",
            "sign of x: the slope",
        ),
        (
            "return dout * (cache > 0)",
            "dout[cache <= 0] = 0\n    return dout",
            "changed dout in place",
        ),
        (
            "return dout * (cache > 0)",
            "dout *= cache > 0\n    return dout",
            "changed dout in place",
        ),
        ("dout * (cache > 0)", "(dout * (cache > 0),)", "expected dx alone"),
        ("    return dout", "    dout", "Is there a return?"),
        (
            "dout * (cache > 0)",
            "dout * np.where(cache > 0, 1.0, np.zeros(cache.shape))",
            "float64 took part",
        ),
        ("cache > 0", "cache > 1e-2", "is zero everywhere"),
    ],
    "gelu": [
        ("0.5 * x * (1.0 + tanh)", "x * (1.0 + tanh)", "lacks the factor 1/2"),
        ("(1.0 + tanh)", "tanh", "lacks the 1 beside"),
        ("(1.0 + tanh)", "(1.0 - tanh)", "it is 1 + tanh"),
        ("0.5 * x * (1.0 + tanh)", "0.5 * (1.0 + tanh)", "lacks the factor x"),
        ("math.sqrt(2 / math.pi) * (x", "(x", "lacks the square root of 2/pi"),
        ("math.sqrt(2 / math.pi)", "2 / math.pi", "without its square root"),
        ("math.sqrt(2 / math.pi)", "math.sqrt(math.pi / 2)", "root of pi/2"),
        ("(x * x * x)", "(x * x)", "squared where it is cubed"),
        (" + 0.044715 * (x * x * x)", "", "lacks the cube"),
        ("0.044715 * (x * x * x)", "(x * x * x)", "0.044715 of the cube"),
        ("0.044715 * (", "0.44715 * (", "0.044715 is wanted"),
        ("(x + 0.044715 *", "(x - 0.044715 *", "the cube subtracted"),
        (
            "math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))",
            "math.sqrt(2 / math.pi) * x + 0.044715 * (x * x * x)",
            "on x alone",
        ),
        ("0.5 * x * (1.0 + tanh)", "x / (1 + np.exp(-1.702 * x))", "logistic"),
        ("0.5 * x * (1.0 + tanh)", "np.maximum(x, 0)", "is relu(x)"),
        ("math.sqrt(2 / math.pi)", "np.sqrt(2 / np.pi)", "float64 took part"),
        (", (x, tanh)", "", "has no cache"),
        ("    u = ", "    x += 1\n    x -= 1\n    u = ", "changed x in place"),
    ],
    "gelu_backward": [
        (" + x * (1.0 - tanh * tanh) * du", "", "lacks the second term"),
        ("1.0 + tanh + x * (1", "x * (1", "lacks the first term"),
        ("dout * 0.5 *", "dout *", "lacks the factor 1/2"),
        (
            "0.5 * (1.0 + tanh + x * (1.0 - tanh * tanh) * du)",
            "(0.5 * (1.0 + tanh) + x * (1.0 - tanh * tanh) * du)",
            "1/2 of its second",
        ),
        (" * du)", ")", "lacks u'"),
        ("(1.0 - tanh * tanh) * ", "", "lacks 1 - t^2"),
        ("(1.0 - tanh * tanh)", "(1.0 - tanh)", "has 1 - t where"),
        ("(1.0 - tanh * tanh)", "(1.0 + tanh * tanh)", "has 1 + t^2"),
        ("x * (1.0 - tanh", "(1.0 - tanh", "lacks the factor x"),
        ("+ x * (1.0", "- x * (1.0", "second term subtracted"),
        ("math.sqrt(2 / math.pi) * (1", "(1", "root of 2/pi in u'"),
        ("3 * 0.044715", "0.044715", "lacks the 3 in u'"),
        ("(x * x)", "x", "x where x^2 is wanted"),
        (
            "(1.0 + 3 * 0.044715 * (x * x))",
            "(3 * 0.044715 * (x * x))",
            "lacks the 1 in u'",
        ),
        (" * (1.0 + 3 * 0.044715 * (x * x))", "", "cube's share"),
        ("3 * 0.044715", "2 * 0.044715", "has 2 for the 3"),
        ("(1.0 + tanh + x", "(tanh + x", "lacks the 1 beside t"),
        ("dout * 0.5", "0.5", "multiply by dout"),
        (
            "return dout * 0.5",
            "dout *= 0.5\n    return dout",
            "changed dout in place",
        ),
        ("math.sqrt(2 / math.pi)", "np.sqrt(2 / np.pi)", "float64 took part"),
        ("    return dout", "    dout", "Is there a return?"),
    ],
    "dropout": [
        (
            "keep * x.dtype.type(1.0 / (1.0 - p))",
            "keep.astype(x.dtype)",
            "lacks the factor 1 / (1 - p)",
        ),
        ("1.0 / (1.0 - p)", "1.0 - p", "has the factor 1 - p"),
        ("(1.0 / (1.0 - p))", "(1.0 / p)", "has the factor 1 / p"),
        (
            "rng.random(x.shape, dtype=np.float32) >= p",
            "rng.random(x.shape, dtype=np.float32) < p",
            "keeps what it should drop",
        ),
        (
            "rng.random(x.shape, dtype=np.float32) >= p",
            "rng.random(x.shape) >= p",
            "drawn in another way",
        ),
        (
            "rng.random(x.shape, dtype=np.float32) >= p",
            "rng.random(x.shape) < 1 - p",
            "drawn in another way",
        ),
        (
            "rng.random(x.shape, dtype=np.float32) >= p",
            "rng.random(x.shape, dtype=np.float32) < 1 - p",
            "drawn in another way",
        ),
        (
            "rng.random(x.shape, dtype=np.float32) >= p",
            "rng.binomial(1, 1 - p, x.shape)",
            "drawn in another way",
        ),
        (
            "rng.random(x.shape, dtype=np.float32) >= p",
            "rng.random(x.shape[-1], dtype=np.float32) >= p",
            "drawn in another way",
        ),
        ("rng is None or p == 0.0", "p == 0.0", "with no rng"),
        (
            "x.dtype.type(1.0 / (1.0 - p))",
            "np.float64(1.0 / (1.0 - p))",
            "float64 took part",
        ),
        (
            "return x * factor, factor",
            "x *= factor\n    return x, factor",
            "changed x in place",
        ),
        ("return x * factor, factor", "return x * factor", "has no cache"),
        (
            "        return x, None",
            "        return x * (1.0 - p), None",
            "scaled though nothing",
        ),
        (
            "return x * factor, factor",
            "return x, factor",
            "nothing is dropped",
        ),
        ("return x, None", "return x", "has no cache"),
    ],
    "dropout_backward": [
        (
            "dout if cache is None else dout * cache",
            "dout * cache",
            "with no rng",
        ),
        ("dout * cache", "dout * (cache > 0)", "lacks the factor 1 / (1 - p)"),
        ("dout * cache", "dout", "lacks both the zeros"),
        ("dout * cache", "cache", "multiply by dout"),
        ("dout * cache", "dout * cache * cache", "twice"),
        ("dout * cache", "dout * (cache == 0)", "where x was dropped"),
        ("dout * cache", "dout * cache.max()", "not zero where x was dropped"),
        (
            "return dout if cache is None else dout * cache",
            "if cache is not None:\n        dout *= cache\n    return dout",
            "changed dout in place",
        ),
        (
            "dout if cache is None else dout * cache",
            "(dout if cache is None else dout * cache), None",
            "expected dx alone",
        ),
        ("    return dout", "    dout", "Is there a return?"),
    ],
    "feed_forward": [
        ("act(hidden)", "(hidden, act(hidden)[1])", "lacks the activation"),
        (
            "ACTIVATIONS[activation]",
            'ACTIVATIONS["gelu"]',
            "gelu where relu is wanted",
        ),
        (
            "ACTIVATIONS[activation]",
            'ACTIVATIONS["relu"]',
            "relu where gelu is wanted",
        ),
        (
            'linear(x, **params["up"])',
            'linear(x, params["up"]["weight"])',
            "lacks the bias of up",
        ),
        (
            'linear(hidden, **params["down"])',
            'linear(hidden, params["down"]["weight"])',
            "lacks the bias of down",
        ),
        (
            'linear(x, **params["up"])',
            'linear(x, params["up"]["weight"], params["up"]["bias"])',
            "with no biases",
        ),
        ("return out, cache", "return out + x, cache", "comes with residual"),
        ("return out, cache", "return act(out)[0], cache", "at the end too"),
        ("return out, cache", "return hidden, cache", "-"),
        ("return out, cache", "return out", "has no cache"),
        ("_ = ACTIVATIONS", "_, _ = ACTIVATIONS", "unpacked there"),
        (
            'linear(x, **params["up"])',
            'linear(x, **params["down"])',
            "core dimension",
        ),
        ('hidden, cache["act"] = act(hidden)', "hidden = act(hidden)", "-"),
    ],
    "feed_forward_backward": [
        (
            'act_backward(dhidden, cache["act"])',
            "dhidden",
            "lacks the backward of the activation",
        ),
        (
            'ACTIVATIONS[cache["activation"]]',
            'ACTIVATIONS["gelu"]',
            "with relu",
        ),
        (
            'act_backward(dhidden, cache["act"])',
            'act_backward(act_backward(dhidden, cache["act"]), cache["act"])',
            "twice",
        ),
        ("return dx, {", "return dx + dout, {", "comes with residual"),
        (
            '{"up": up_grads, "down": down_grads}',
            '{"up": down_grads, "down": up_grads}',
            "-",
        ),
        (
            '"up": up_grads, "down": down_grads',
            '"up": up_grads',
            "has no gradient",
        ),
        ('{"up": up_grads, "down": down_grads}', "{}", "has no gradient"),
        (
            'return dx, {"up": up_grads, "down": down_grads}',
            'return {"up": up_grads, "down": down_grads}, dx',
            "another order",
        ),
        (
            'return dx, {"up": up_grads, "down": down_grads}',
            "return dx",
            "1 gradients for 2",
        ),
        ("return dx, {", "return dhidden, {", "-"),
        ("    return dx", "    dx", "Is there a return?"),
        (
            'act_backward(dhidden, cache["act"])',
            'act_backward(dout, cache["act"])',
            "-",
        ),
        (
            '"down": down_grads',
            '"down": down_grads, "act": dhidden',
            "is no parameter",
        ),
    ],
    "residual": [
        (
            'pre = config.norm != "post"',
            "pre = True",
            "is pre-norm where post-norm",
        ),
        (
            'pre = config.norm != "post"',
            "pre = False",
            "is post-norm where pre-norm",
        ),
        ("out = x + h", "out = h", "lacks the shortcut"),
        (
            "dropout(h, config.dropout, rng)",
            "dropout(h, config.dropout, None)",
            "lacks dropout",
        ),
        (
            "dropout(h, config.dropout, rng)",
            "dropout(h, 0.0, rng)",
            "lacks dropout",
        ),
        (
            "if pre:",
            "x = x if not pre else layer_norm(x, **norm_params)[0]\n"
            "    if pre:",
            "behind the norm",
        ),
        ("    out = x + h", "    x += h\n    out = x", "changed x in place"),
        (
            'out, cache["norm"] = norm(out,',
            'out, cache["norm"] = norm(h,',
            "lacks the shortcut",
        ),
        (
            "norm(h, **norm_params)",
            "(h, norm(h, **norm_params)[1])",
            "lacks the norm",
        ),
        (
            'h, cache["dropout"] = dropout(h, config.dropout, rng)\n'
            "    out = x + h",
            'out, cache["dropout"] = dropout(x + h, config.dropout, rng)',
            "dropout on the sum",
        ),
        ("out = x + h", "out = x + x + h", "x added twice"),
        ("out = x + h", "out = x - h", "branch subtracted"),
        ("return out, cache", "return out", "has no cache"),
        ('h, cache["sublayer"] = sublayer(h)', "h = sublayer(h)", "-"),
        (
            'h, cache["sublayer"] = sublayer(h)',
            'h, cache["sublayer"] = sublayer(x)',
            "lacks the norm",
        ),
        (
            'h, cache["dropout"] = dropout(h, config.dropout, rng)',
            'cache["dropout"] = None',
            "lacks dropout",
        ),
    ],
    "residual_backward": [
        (
            'dropout_backward(dout, cache["dropout"])',
            "dout",
            "lacks dropout_backward",
        ),
        ("return dout + dh", "return dh", "lacks the shortcut"),
        ("return dout + dh", "return dout - dh", "branch subtracted"),
        (
            "    if pre:\n"
            "        dh, *dnorm = norm_backward(dh, "
            'cache["norm"])',
            "    if pre:\n"
            "        dh, *dnorm = norm_backward(dout + dh, "
            'cache["norm"])\n'
            "        dh = dh - dout",
            "shortcut and branch together",
        ),
        (
            "    if pre:\n"
            "        dh, *dnorm = norm_backward(dh, "
            'cache["norm"])',
            "    if pre:\n"
            "        _, *dnorm = norm_backward(dh, "
            'cache["norm"])',
            "norm's backward on the branch",
        ),
        ("return dout + dh,", "return dout,", "is dout unchanged"),
        ("dout + dh, grads,", "grads, dout + dh,", "-"),
        (
            'dict(zip(("weight", "bias"), dnorm))',
            "dnorm[0], dnorm[1]",
            "returned 4 things",
        ),
        (
            '("weight", "bias")',
            '("bias", "weight")',
            "changed places",
        ),
        (', dict(zip(("weight", "bias"), dnorm))', "", "returned 2 things"),
        ("    return dout", "    dout", "Is there a return?"),
        ("if not pre:\n        dout, *", "if True:\n        dout, *", "-"),
        (
            'dh, grads = sublayer_backward(dh, cache["sublayer"])',
            '_, grads = sublayer_backward(dh, cache["sublayer"])',
            "-",
        ),
        (
            "return dout + dh",
            "dout += dh\n    return dout",
            "changed dout in place",
        ),
        (
            """
def residual_backward(dout, cache, sublayer_backward):
    dh = dropout_backward(dout, cache["dropout"])
    dh, grads = sublayer_backward(dh, cache["sublayer"])
    dx, dweight, dbias = layer_norm_backward(dout + dh, cache["norm"])
    return dx, grads, {"weight": dweight, "bias": dbias}
""",
            "shortcut and branch together",
        ),
        (
            """
def residual_backward(dout, cache, sublayer_backward):
    dh = dropout_backward(dout, cache["dropout"])
    dh, grads = sublayer_backward(dh, cache["sublayer"])
    dh, dweight, dbias = layer_norm_backward(dh, cache["norm"])
    return dout + dh, grads, {"weight": dweight, "bias": dbias}
""",
            "is the backward of pre-norm",
        ),
        (
            """
def residual_backward(dout, cache, sublayer_backward):
    dsum, dweight, dbias = layer_norm_backward(dout, cache["norm"])
    dh = dropout_backward(dsum, cache["dropout"])
    dh, grads = sublayer_backward(dh, cache["sublayer"])
    return dsum + dh, grads, {"weight": dweight, "bias": dbias}
""",
            "is the backward of post-norm",
        ),
        (
            """
def residual_backward(dout, cache, sublayer_backward):
    pre, dskip = cache["pre"], dout
    if not pre:
        dout, dweight, dbias = layer_norm_backward(dout, cache["norm"])
    dh = dropout_backward(dout, cache["dropout"])
    dh, grads = sublayer_backward(dh, cache["sublayer"])
    if pre:
        dh, dweight, dbias = layer_norm_backward(dh, cache["norm"])
    return dskip + dh, grads, {"weight": dweight, "bias": dbias}
""",
            "dout on the shortcut",
        ),
    ],
    "transformer_block": [
        ('params["norm1"], config, rng', 'params["norm1"], config', "rng on"),
        ('params["norm2"], config, rng', 'params["norm2"], config', "rng on"),
        ("config.n_heads, mask", "config.n_heads", "mask ignored"),
        ("config.n_heads, mask", "1, mask", "a single head"),
        (
            'attend, params["norm1"]',
            'attend, params["norm2"]',
            "norm2 in both",
        ),
        ('feed, params["norm2"]', 'feed, params["norm1"]', "norm1 in both"),
        ("config.activation", '"gelu"', "config.activation is relu"),
        ("config.activation", '"relu"', "config.activation is gelu"),
        ("return x, cache", "return x", "has no cache"),
        (
            '    x, cache["feed_forward"] = residual(x, feed, '
            'params["norm2"], config, rng)',
            '    y, cache["feed_forward"] = residual(x, feed, '
            'params["norm2"], config, rng)',
            "lacks the feed-forward",
        ),
        (
            '    x, cache["attention"] = residual(',
            '    y, cache["attention"] = residual(',
            "lacks the attention",
        ),
        (
            '    x, cache["attention"] = residual(x, attend, params["norm1"],'
            " config, rng)\n"
            '    x, cache["feed_forward"] = residual(x, feed, '
            'params["norm2"], config, rng)\n',
            '    x, cache["feed_forward"] = residual(x, feed, '
            'params["norm2"], config, rng)\n'
            '    x, cache["attention"] = residual(x, attend, params["norm1"],'
            " config, rng)\n",
            "feed-forward before the attention",
        ),
        (
            'residual(x, feed, params["norm2"], config, rng)\n'
            "    return x, cache",
            'residual(x, feed, params["norm2"], config, rng)\n'
            "    return h, cache",
            "-",
        ),
        ("residual(x, attend, params", "residual(x, mask, params", "-"),
        ('params["attention"]', 'params["feed_forward"]', "-"),
    ],
    "transformer_block_backward": [
        (
            'dx, cache["attention"]',
            'dout, cache["attention"]',
            "dout go into attention's backward",
        ),
        ("return dx, grads", "return dx", "1 gradients for 2"),
        ("return dx, grads", "return grads, dx", "another order"),
        ("    return dx", "    dx", "Is there a return?"),
        ("return dx, grads", "return dx + dout, grads", "dout added"),
        (
            '    dx, grads["attention"], grads["norm1"] =',
            '    _, grads["attention"], grads["norm1"] =',
            "gradient at the middle of the block",
        ),
        (
            'grads["feed_forward"], grads["norm2"] = residual',
            'grads["norm2"], grads["feed_forward"] = residual',
            "-",
        ),
        ('grads["norm1"] =', "_ =", "has no gradient"),
        (
            'grads["attention"], grads["norm1"] =',
            'grads["attention"], grads["norm2"] =',
            "has no gradient",
        ),
        (
            'dout, cache["feed_forward"], feed_forward_backward',
            'dout, cache["attention"], attention_backward',
            "-",
        ),
        (
            """
def transformer_block_backward(dout, cache):
    grads = {}
    dmiddle, grads["feed_forward"], grads["norm2"] = residual_backward(
        dout, cache["feed_forward"], feed_forward_backward
    )
    dx, grads["attention"], grads["norm1"] = residual_backward(
        dmiddle, cache["attention"], multi_head_attention_backward
    )
    return dx - dmiddle, grads
""",
            "the shortcut",
        ),
        (
            """
def transformer_block_backward(dout, cache):
    grads = {}
    dmiddle, grads["feed_forward"], grads["norm2"] = residual_backward(
        dout, cache["feed_forward"], feed_forward_backward
    )
    dx, grads["attention"], grads["norm1"] = residual_backward(
        dmiddle, cache["attention"], multi_head_attention_backward
    )
    return dx + dmiddle, grads
""",
            "gradient at the middle added",
        ),
    ],
}

RIGHT = {
    "layer_norm": [
        """
def layer_norm(x, weight, bias, eps=1e-5):
    mean = x.mean(-1, keepdims=True)
    std = (x.var(-1, keepdims=True) + eps) ** 0.5
    normed = (x - mean) / std
    return weight * normed + bias, {"n": normed, "std": std, "w": weight}


def layer_norm_backward(dout, cache):
    n, std, w = cache["n"], cache["std"], cache["w"]
    g = dout * w
    dx = g - g.mean(-1, keepdims=True) - n * (g * n).mean(-1, keepdims=True)
    axes = tuple(range(dout.ndim - 1))
    return dx / std, (dout * n).sum(axes), dout.sum(axes)
""",
        """
def layer_norm(x, weight, bias, eps=1e-5):
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    out = np.empty_like(rows)
    for i, row in enumerate(rows):
        out[i] = (row - row.mean()) / math.sqrt(row.var() + eps)
    out = (out * weight + bias).reshape(x.shape).astype(x.dtype)
    return out, (x, weight, eps)


def layer_norm_backward(dout, cache):
    x, weight, eps = cache
    C = x.shape[-1]
    dx = np.empty((x.size // C, C))
    dweight, dbias = np.zeros((2, C))
    rows = zip(x.reshape(-1, C), dout.reshape(-1, C).astype(float))
    for i, (row, drow) in enumerate(rows):
        r = 1 / math.sqrt(row.astype(float).var() + eps)
        n = (row.astype(float) - row.astype(float).mean()) * r
        jacobian = r * (np.eye(C) - 1 / C - np.outer(n, n) / C)
        dx[i] = jacobian @ (drow * weight)
        dweight += drow * n
        dbias += drow
    dtype = x.dtype
    dx = dx.reshape(x.shape).astype(dtype)
    return dx, dweight.astype(dtype), dbias.astype(dtype)
""",
        """
def layer_norm(x, weight, bias, eps=1e-5):
    C = x.shape[-1]
    mean = np.einsum("...c->...", x)[..., None] / C
    centred = x - mean
    variance = np.einsum("...c,...c->...", centred, centred)[..., None] / C
    rstd = 1 / np.sqrt(variance + eps)
    normed = centred * rstd
    return normed * weight + bias, [normed, rstd, weight]
""",
        ("1.0 / np.sqrt(variance + eps)", "(variance + eps) ** -0.5"),
    ],
    "layer_norm_backward": [
        (
            "(dout * normed).reshape(-1, C).sum(axis=0)",
            'np.einsum("rc,rc->c", dout.reshape(-1, C), normed.reshape(-1, '
            "C))",
        ),
        ("return dx, dweight, dbias", "return [dx, dweight, dbias]"),
        (
            "dx = rstd * (dnormed - along_ones - normed * along_normed)",
            "dx = rstd / C * (C * dnormed - dnormed.sum(-1, keepdims=True)"
            " - normed * (dnormed * normed).sum(-1, keepdims=True))",
        ),
        """
def layer_norm_backward(dout, cache):
    normed, rstd, weight = cache
    C = len(weight)
    dnormed = weight * dout
    # the three roads, one after the other
    drstd = (dnormed * normed / rstd).sum(-1, keepdims=True)
    dcentred = dnormed * rstd
    dvariance = -0.5 * rstd**3 * drstd
    dcentred = dcentred + 2 / C * (normed / rstd) * dvariance
    dx = dcentred - dcentred.mean(-1, keepdims=True)
    axes = tuple(range(dout.ndim))[:-1]
    return dx, np.sum(dout * normed, axes), np.sum(dout, axes)
""",
    ],
    "relu": [
        ("np.maximum(x, 0), x", "x * (x > 0), x > 0"),
        ("np.maximum(x, 0)", "np.where(x > 0, x, 0)"),
        """
def relu(x):
    out = x.copy()
    out[out < 0] = 0
    return out, {"mask": out > 0}


def relu_backward(dout, cache):
    dx = dout.copy()
    dx[~cache["mask"]] = 0
    return dx
""",
        ("np.maximum(x, 0)", "x.clip(min=0)"),
    ],
    "relu_backward": [
        ("dout * (cache > 0)", "np.where(cache > 0, dout, 0)"),
        ("dout * (cache > 0)", "dout * np.sign(np.maximum(cache, 0))"),
        ("dout * (cache > 0)", "dout * np.heaviside(cache, 0)"),
        ("dout * (cache > 0)", "dout * ~(cache <= 0)"),
    ],
    "gelu": [
        ("(x * x * x)", "x**3"),
        """
def gelu(x):
    t = np.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3))
    return x / 2 * (1 + t), {"x": x, "t": t}


def gelu_backward(dout, cache):
    x, t = cache["x"], cache["t"]
    du = (2 / math.pi) ** 0.5 * (1 + 0.134145 * x**2)
    return (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du) * dout
""",
        """
def gelu(x):
    wide = x.astype(np.float64)
    u = np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)
    out = 0.5 * wide + 0.5 * wide * np.tanh(u)
    return out.astype(x.dtype), x


def gelu_backward(dout, cache):
    x = cache.astype(np.float64)
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    du = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    slope = (1 + t) / 2 + x / 2 * (1 - t * t) * du
    return (dout * slope).astype(dout.dtype)
""",
    ],
    "gelu_backward": [
        ("(x * x)", "x**2"),
        ("(1.0 - tanh * tanh)", "(1 - tanh) * (1 + tanh)"),
        (
            "dout * 0.5 * (1.0 + tanh + x * (1.0 - tanh * tanh) * du)",
            "dout * (0.5 * (1 + tanh)) + dout * (x / 2 * du * (1 - tanh**2))",
        ),
    ],
    "dropout": [
        ("rng is None or p == 0.0", "rng is None"),
        (
            "keep * x.dtype.type(1.0 / (1.0 - p))",
            "(keep / (1 - p)).astype(x.dtype)",
        ),
        (
            "return x * factor, factor",
            "return np.where(keep, x / (1 - p), 0).astype(x.dtype), factor",
        ),
        """
def dropout(x, p, rng):
    if rng is None:
        return x, np.ones_like(x)
    mask = np.zeros_like(x)
    drawn = rng.random(x.shape, dtype=np.float32)
    mask[drawn >= p] = 1 / (1 - p)
    return x * mask, mask


def dropout_backward(dout, cache):
    return cache * dout
""",
        """
def dropout(x, p, rng):
    if not p or rng is None:
        return x.copy(), {"p": 0.0}
    drop = rng.random(size=x.shape, dtype=np.float32) < p
    out = x / (1 - p)
    out[drop] = 0
    return out, {"p": p, "drop": drop}


def dropout_backward(dout, cache):
    if not cache["p"]:
        return dout
    dx = dout / (1 - cache["p"])
    dx[cache["drop"]] = 0
    return dx
""",
    ],
    "dropout_backward": [
        (
            "return dout if cache is None else dout * cache",
            "if cache is None:\n        return dout\n    return cache * dout",
        ),
        ("dout if cache", "dout.copy() if cache"),
        (
            "dout if cache is None else dout * cache",
            "np.multiply(dout, 1 if cache is None else cache)",
        ),
    ],
    "feed_forward": [
        (
            'linear(x, **params["up"])',
            'linear(x, params["up"]["weight"], params["up"].get("bias"))',
        ),
        """
def feed_forward(x, params, activation):
    forward, backward = ACTIVATIONS[activation]
    h, c1 = linear(x, **params["up"])
    a, c2 = forward(h)
    y, c3 = linear(a, **params["down"])
    return y, (c1, c2, c3, backward)


def feed_forward_backward(dout, cache):
    c1, c2, c3, backward = cache
    da, down = linear_grads(dout, c3)
    dx, up = linear_grads(backward(da, c2), c1)
    return dx, dict(up=up, down=down)
""",
        """
def feed_forward(x, params, activation):
    hidden, up = linear(x, **params["up"])
    hidden, act = gelu(hidden) if activation == "gelu" else relu(hidden)
    out, down = linear(hidden, **params["down"])
    return out, [activation, up, act, down]


def feed_forward_backward(dout, cache):
    activation, up, act, down = cache
    grads = {}
    dhidden, grads["down"] = linear_grads(dout, down)
    back = gelu_backward if activation == "gelu" else relu_backward
    dx, grads["up"] = linear_grads(back(dhidden, act), up)
    return dx, grads
""",
    ],
    "feed_forward_backward": [
        (
            'return dx, {"up": up_grads, "down": down_grads}',
            'return [dx, {"down": down_grads, "up": up_grads}]',
        ),
        (
            '_, act_backward = ACTIVATIONS[cache["activation"]]',
            'act_backward = ACTIVATIONS[cache["activation"]][1]',
        ),
        """
def feed_forward_backward(dout, cache):
    x, W, has_bias = cache["down"]
    rows = dout.reshape(-1, dout.shape[-1])
    grads = {"down": {"weight": x.reshape(-1, len(W)).T @ rows}}
    if has_bias:
        grads["down"]["bias"] = rows.sum(axis=0)
    back = ACTIVATIONS[cache["activation"]][1]
    dx, grads["up"] = linear_grads(back(dout @ W.T, cache["act"]), cache["up"])
    return dx, grads
""",
    ],
    "residual": [
        """
def residual(x, sublayer, norm_params, config, rng=None):
    if config.norm == "pre":
        n, norm = layer_norm(x, norm_params["weight"], norm_params["bias"])
        f, sub = sublayer(n)
        d, drop = dropout(f, config.dropout, rng)
        return x + d, ("pre", norm, sub, drop)
    f, sub = sublayer(x)
    d, drop = dropout(f, config.dropout, rng)
    out, norm = layer_norm(x + d, norm_params["weight"], norm_params["bias"])
    return out, ("post", norm, sub, drop)


def residual_backward(dout, cache, sublayer_backward):
    kind, norm, sub, drop = cache
    if kind == "pre":
        dh, grads = sublayer_backward(dropout_backward(dout, drop), sub)
        dh, dw, db = layer_norm_backward(dh, norm)
        return dout + dh, grads, dict(weight=dw, bias=db)
    ds, dw, db = layer_norm_backward(dout, norm)
    dh, grads = sublayer_backward(dropout_backward(ds, drop), sub)
    return ds + dh, grads, dict(weight=dw, bias=db)
""",
        """
class Kept:
    pass


def residual(x, sublayer, norm_params, config, rng=None):
    kept, h = Kept(), x
    kept.post = config.norm == "post"
    if not kept.post:
        h, kept.norm = layer_norm(h, **norm_params)
    h, kept.sublayer = sublayer(h)
    h, kept.dropout = dropout(h, config.dropout, rng)
    out = h + x
    if kept.post:
        out, kept.norm = layer_norm(out, **norm_params)
    return out, kept


def residual_backward(dout, cache, sublayer_backward):
    norm_grads = {}
    if cache.post:
        dout, *found = layer_norm_backward(dout, cache.norm)
    dh = dropout_backward(dout, cache.dropout)
    dh, grads = sublayer_backward(dh, cache.sublayer)
    if not cache.post:
        dh, *found = layer_norm_backward(dh, cache.norm)
    norm_grads["weight"], norm_grads["bias"] = found
    return dh + dout, grads, norm_grads
""",
        ("    out = x + h", "    h += x\n    out = h"),
        ("out = x + h", "out = np.add(x, h)"),
    ],
    "residual_backward": [
        ("return dout + dh", "return np.add(dh, dout)"),
        ("dout, *dnorm =", "(dout, *dnorm) ="),
        (
            'dict(zip(("weight", "bias"), dnorm))',
            '{"bias": dnorm[1], "weight": dnorm[0]}',
        ),
    ],
    "transformer_block": [
        """
def transformer_block(x, params, config, mask=None, rng=None):
    h, first = residual(
        x,
        lambda h: multi_head_attention(
            h, params["attention"], config.n_heads, mask=mask
        ),
        params["norm1"],
        config,
        rng=rng,
    )
    out, second = residual(
        h,
        lambda h: feed_forward(h, params["feed_forward"], config.activation),
        params["norm2"],
        config,
        rng=rng,
    )
    return out, (first, second)


def transformer_block_backward(dout, cache):
    first, second = cache
    dh, feed, norm2 = residual_backward(dout, second, feed_forward_backward)
    dx, attend, norm1 = residual_backward(
        dh, first, multi_head_attention_backward
    )
    return dx, {
        "norm1": norm1,
        "attention": attend,
        "norm2": norm2,
        "feed_forward": feed,
    }
""",
        """
def transformer_block(x, params, config, mask=None, rng=None):
    subs = {
        "attention": lambda h: multi_head_attention(
            h, params["attention"], config.n_heads, mask
        ),
        "feed_forward": lambda h: feed_forward(
            h, params["feed_forward"], config.activation
        ),
    }
    caches = []
    for i, (name, sub) in enumerate(subs.items(), 1):
        x, kept = residual(x, sub, params[f"norm{i}"], config, rng)
        caches.append((name, kept))
    return x, caches


def transformer_block_backward(dout, cache):
    grads, backs = {}, [multi_head_attention_backward, feed_forward_backward]
    for i in (2, 1):
        name, kept = cache[i - 1]
        dout, grads[name], grads[f"norm{i}"] = residual_backward(
            dout, kept, backs[i - 1]
        )
    return dout, grads
""",
        """
def transformer_block(x, params, config, mask=None, rng=None):
    pre, cache = config.norm == "pre", {"pre": config.norm == "pre"}
    h = x
    if pre:
        h, cache["n1"] = layer_norm(h, **params["norm1"])
    h, cache["a"] = multi_head_attention(
        h, params["attention"], config.n_heads, mask
    )
    h, cache["d1"] = dropout(h, config.dropout, rng)
    x = x + h
    if not pre:
        x, cache["n1"] = layer_norm(x, **params["norm1"])
    h = x
    if pre:
        h, cache["n2"] = layer_norm(h, **params["norm2"])
    h, cache["f"] = feed_forward(h, params["feed_forward"], config.activation)
    h, cache["d2"] = dropout(h, config.dropout, rng)
    x = x + h
    if not pre:
        x, cache["n2"] = layer_norm(x, **params["norm2"])
    return x, cache


def transformer_block_backward(dout, cache):
    grads = {}
    steps = [("2", "f", "feed_forward", feed_forward_backward)]
    steps += [("1", "a", "attention", multi_head_attention_backward)]
    for n, key, name, back in steps:
        if not cache["pre"]:
            dout, dw, db = layer_norm_backward(dout, cache["n" + n])
        dh = dropout_backward(dout, cache["d" + n])
        dh, grads[name] = back(dh, cache[key])
        if cache["pre"]:
            dh, dw, db = layer_norm_backward(dh, cache["n" + n])
        grads["norm" + n] = {"weight": dw, "bias": db}
        dout = dout + dh
    return dout, grads
""",
    ],
    "transformer_block_backward": [
        ("return dx, grads", "return dx, dict(reversed(grads.items()))"),
        ("return dx, grads", "return [dx, grads]"),
        """
def transformer_block_backward(dout, cache):
    dh, feed, norm2 = residual_backward(
        dout, cache["feed_forward"], sublayer_backward=feed_forward_backward
    )
    dx, attend, norm1 = residual_backward(
        dh,
        cache["attention"],
        lambda d, kept: multi_head_attention_backward(d, kept),
    )
    grads = dict(attention=attend, norm1=norm1)
    return dx, grads | dict(feed_forward=feed, norm2=norm2)
""",
    ],
}

# exercises

SOLUTIONS = {}
SOLUTIONS["silu"] = SOLUTIONS["silu_backward"] = '''
def silu(x):
    """Return out and a cache, x any shape."""
    gate = 1.0 / (1.0 + np.exp(-x))
    return x * gate, (x, gate)


def silu_backward(dout, cache):
    """Return dx."""
    x, gate = cache
    return dout * gate * (1.0 + x * (1.0 - gate))
'''
SOLUTIONS["rms_norm"] = SOLUTIONS["rms_norm_backward"] = '''
def rms_norm(x, weight):
    """Return out and a cache, x (..., C), weight (C,)."""
    rrms = 1.0 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)
    normed = x * rrms
    return normed * weight, (normed, rrms, weight)


def rms_norm_backward(dout, cache):
    """Return dx, dweight."""
    normed, rrms, weight = cache
    dnormed = dout * weight
    along = (dnormed * normed).mean(axis=-1, keepdims=True)
    dweight = (dout * normed).reshape(-1, len(weight)).sum(axis=0)
    return rrms * (dnormed - normed * along), dweight
'''
SOLUTIONS["gated"] = SOLUTIONS["gated_backward"] = '''
def gated(x, params):
    """Return out and a cache, params {"gate", "up": (C, F), "down"}."""
    act, gate_cache = linear(x, **params["gate"])
    act, gelu_cache = gelu(act)
    up, up_cache = linear(x, **params["up"])
    out, down_cache = linear(act * up, **params["down"])
    return out, (act, up, gate_cache, gelu_cache, up_cache, down_cache)


def gated_backward(dout, cache):
    """Return dx and grads with the keys of params."""
    act, up, gate_cache, gelu_cache, up_cache, down_cache = cache
    grads = {}
    dhidden, grads["down"] = linear_grads(dout, down_cache)
    dact = gelu_backward(dhidden * up, gelu_cache)
    dx_gate, grads["gate"] = linear_grads(dact, gate_cache)
    dx_up, grads["up"] = linear_grads(dhidden * act, up_cache)
    return dx_gate + dx_up, grads
'''

_gated = {
    "gate": _linear(12, 7, bias=False),
    "up": _linear(12, 7, bias=False),
    "down": _linear(7, 12, bias=False),
}


def _judge(name, *arrays):
    def judge(function):
        names = inspect.unwrap(function).__globals__
        pair = names[name], names[f"{name}_backward"]
        check_backward(*pair, getattr(torch_ops, name), arrays)

    return {name: judge, f"{name}_backward": judge}


JUDGES = (
    _judge("silu", 3 * _x)
    | _judge("rms_norm", _x, _weight)
    | _judge("gated", _x, _gated)
)

WRONG |= {
    "silu": [
        ("return x * gate", "return gate", "multiply by x"),
        ("np.exp(-x)", "np.exp(x)", "exp(x) where exp(-x)"),
        ("1.0 / (1.0 + np.exp(-x))", "np.tanh(x)", "tanh for the logistic"),
        ("(1.0 + np.exp(-x))", "(1.0 - np.exp(-x))", "it is 1 + exp(-x)"),
        ("return x * gate, (x, gate)", "return x * gate", "has no cache"),
        ("return x * gate", "return gelu(x)[0]", "is gelu(x)"),
        ("1.0 / (1.0", "np.float64(1.0) / (1.0", "float64 took part"),
        ("    gate = ", "    x *= 2\n    gate = ", "-"),
    ],
    "silu_backward": [
        (" * (1.0 + x * (1.0 - gate))", "", "lacks the second term"),
        ("(1.0 + x * (1.0 - gate))", "x * (1 - gate)", "lacks the first term"),
        ("(1.0 + x * (1.0 - gate))", "(1 - gate)", "logistic function alone"),
        ("(1.0 + x * (", "(1.0 + (", "lacks the factor x"),
        ("1.0 + x *", "1.0 - x *", "second term subtracted"),
        ("(1.0 - gate)", "(1.0 + gate)", "has 1 + gate"),
        ("return dout * gate", "return gate", "multiply by dout"),
        ("    return dout", "    dout", "Is there a return?"),
        ("dout * gate * (1.0 + x * (1.0 - gate))", "dout", "dout unchanged"),
        (
            "return dout",
            "dout *= 1.5\n    return dout",
            "changed dout in place",
        ),
        (
            "(1.0 + x * (1.0 - gate))",
            "(1.0 - gate)",
            "is dout times the slope of the logistic",
        ),
        (
            "1.0 + x * (1.0 - gate)",
            "x * (1.0 - gate)",
            "lacks the first term of the product rule",
        ),
        ("(1.0 - gate))", "gate)", "-"),
    ],
    "rms_norm": [
        (" + 1e-5", "", "lacks eps"),
        ("normed * weight, (", "normed, (", "lacks the weight"),
        ("(x * x).mean(", "(x * x).sum(", "a sum where a mean"),
        (
            "(x * x).mean(axis=-1, keepdims=True)",
            "(x * x).mean()",
            "use the last axis",
        ),
        (
            "    normed = x *",
            "    normed = (x - x.mean(-1, keepdims=True)) *",
            "mean of x taken off",
        ),
        (
            "(x * x).mean(axis=-1, keepdims=True)",
            "x.var(axis=-1, keepdims=True)",
            "the variance where",
        ),
        (
            "(x * x).mean(axis=-1, keepdims=True)",
            "(x * x).mean(axis=-1)",
            "keepdims=True keeps",
        ),
        ("1.0 / np.sqrt(", "1.0 / (", "lacks the root"),
        ("1e-5", "np.float64(1e-5)", "float64 took part"),
        (", (normed, rrms, weight)", "", "has no cache"),
    ],
    "rms_norm_backward": [
        ("dnormed = dout * weight", "dnormed = dout", "lacks the weight"),
        (" - normed * along", "", "road through r"),
        ("- normed * along", "- along", "lacks the factor x-hat"),
        ("- normed * along", "+ normed * along", "added, not subtracted"),
        ("return rrms * (", "return (", "lacks the factor r"),
        (
            "(dnormed * normed).mean",
            "(dnormed * normed).sum",
            "a sum where a mean",
        ),
        (
            "- normed * along",
            "- dnormed.mean(-1, keepdims=True) - normed * along",
            "that is layer norm's",
        ),
        (
            "(dout * normed).reshape(-1, len(weight)).sum(axis=0)",
            "dout.reshape(-1, len(weight)).sum(axis=0)",
            "of dout alone",
        ),
        (
            "(dout * normed).reshape(-1, len(weight)).sum(axis=0)",
            "(dout * normed).sum(axis=0)",
            "still be summed over axis 0",
        ),
        (
            "(dnormed - normed * along), dweight",
            "(dnormed - normed * along)",
            "1 gradients for 2",
        ),
        (
            "return rrms * (dnormed - normed * along), dweight",
            "return dweight, rrms * (dnormed - normed * along)",
            "another order",
        ),
    ],
    "gated": [
        (
            "act, gelu_cache = gelu(act)",
            "_, gelu_cache = gelu(act)",
            "lacks the activation",
        ),
        ("act * up,", "act + up,", "a sum where a product"),
        ("linear(act * up,", "linear(act,", "lacks up"),
        ("linear(act * up,", "linear(up,", "lacks the gate"),
        (
            'linear(x, **params["up"])',
            'linear(x, **params["gate"])',
            "gate's map for up",
        ),
        (
            'linear(x, **params["gate"])',
            'linear(x, **params["up"])',
            "up's map for the gate",
        ),
        ("gelu(act)", "relu(act)", "relu for gelu"),
        ("linear(act * up,", "linear(act @ up,", "core dimension"),
        ("return out, (act", "return (act", "-"),
    ],
    "gated_backward": [
        ("return dx_gate + dx_up", "return dx_gate", "through up: x was used"),
        ("return dx_gate + dx_up", "return dx_up", "through the gate: x was"),
        (
            "gelu_backward(dhidden * up, gelu_cache)",
            "dhidden * up",
            "lacks gelu_backward",
        ),
        (
            "gelu_backward(dhidden * up,",
            "gelu_backward(dhidden * act,",
            "factor act on the way to the gate",
        ),
        (
            "gelu_backward(dhidden * up,",
            "gelu_backward(dhidden,",
            "lacks the factor up",
        ),
        (
            "linear_grads(dhidden * act, up_cache)",
            "linear_grads(dhidden, up_cache)",
            "lacks the factor act",
        ),
        (
            "linear_grads(dhidden * act, up_cache)",
            "linear_grads(dhidden * gate_cache[0][..., :7], up_cache)",
            "-",
        ),
        ("dx_gate + dx_up, grads", "dx_gate + dx_up", "1 gradients for 2"),
        (
            "return dx_gate + dx_up, grads",
            "return grads, dx_gate + dx_up",
            "another order",
        ),
        ('grads["gate"] = linear', "_ = linear", "has no gradient"),
    ],
}

RIGHT |= {
    "silu": [
        ("1.0 / (1.0 + np.exp(-x))", "0.5 * (1 + np.tanh(x / 2))"),
        ("(x, gate)", "[x.copy(), gate]"),
        """
def silu(x):
    return x / (1 + np.exp(-x)), {"x": x}


def silu_backward(dout, cache):
    e = np.exp(-cache["x"])
    return dout * (1 / (1 + e) + cache["x"] * e / (1 + e) ** 2)
""",
    ],
    "silu_backward": [
        (
            "dout * gate * (1.0 + x * (1.0 - gate))",
            "dout * gate + dout * x * gate * (1 - gate)",
        ),
        (
            "dout * gate * (1.0 + x * (1.0 - gate))",
            "(gate + x * gate - x * gate**2) * dout",
        ),
        ("x, gate = cache", "(x, gate) = cache\n    out = x * gate"),
    ],
    "rms_norm": [
        (
            "1.0 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)",
            "((x**2).mean(-1, keepdims=True) + 1e-5) ** -0.5",
        ),
        (
            "(x * x).mean(axis=-1, keepdims=True)",
            'np.einsum("...c,...c->...", x, x)[..., None] / len(weight)',
        ),
        """
def rms_norm(x, weight):
    square = np.mean(x * x, axis=-1)[..., None]
    return x / np.sqrt(square + 1e-5) * weight, {"x": x, "w": weight}


def rms_norm_backward(dout, cache):
    x, w = cache["x"], cache["w"]
    r = 1 / np.sqrt(np.mean(x * x, axis=-1)[..., None] + 1e-5)
    g = dout * w
    dx = r * g - r**3 * x * np.mean(g * x, axis=-1)[..., None]
    return dx, np.einsum("btc,btc->c", dout, x * r)
""",
    ],
    "rms_norm_backward": [
        (
            "(dout * normed).reshape(-1, len(weight)).sum(axis=0)",
            "(dout * normed).sum(axis=(0, 1))",
        ),
        (
            "return rrms * (dnormed - normed * along), dweight",
            "return [rrms * dnormed - rrms * normed * along, dweight]",
        ),
        (
            "(dnormed * normed).mean(axis=-1, keepdims=True)",
            "np.mean(dnormed * normed, axis=-1)[..., np.newaxis]",
        ),
    ],
    "gated": [
        ("act * up,", "up * act,"),
        ('linear(x, **params["up"])', 'linear(x, params["up"]["weight"])'),
        """
def gated(x, params):
    G, U, D = (params[key]["weight"] for key in ("gate", "up", "down"))
    act, kept = gelu(x @ G)
    return (act * (x @ U)) @ D, (x, params, act, kept)


def gated_backward(dout, cache):
    x, params, act, kept = cache
    G, U, D = (params[key]["weight"] for key in ("gate", "up", "down"))
    dhidden = dout @ D.T
    up = x @ U
    dgate = gelu_backward(dhidden * up, kept)
    dup = dhidden * act
    return dgate @ G.T + dup @ U.T, {
        "gate": {"weight": np.einsum("btc,btf->cf", x, dgate)},
        "up": {"weight": np.einsum("btc,btf->cf", x, dup)},
        "down": {"weight": np.einsum("btf,btc->fc", act * up, dout)},
    }
""",
    ],
    "gated_backward": [
        ("dx_gate + dx_up, grads", "dx_up + dx_gate, dict(grads)"),
        ("return dx_gate + dx_up, grads", "return [dx_gate + dx_up, grads]"),
        (
            "gelu_backward(dhidden * up, gelu_cache)",
            "gelu_backward(dhidden, gelu_cache) * up",
        ),
    ],
}
