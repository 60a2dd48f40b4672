"""Learners' mistakes in appendix A2."""

import numpy as np
import torch.nn.functional as F

from helpers.attention import causal_mask
from helpers.checks import check_backward
from helpers.checks.gradients import check_value

SCALE = (
    '    run.params["token_embedding"]["weight"] *= setup.token_std / 0.02\n'
)
MAKE = "    run.optimizer = OPTIMIZERS[setup.optimizer](run.params)\n"

WRONG = {
    "verdict": [
        ("min(values) > max(others)", "min(values) >= max(others)", "a tie"),
        ("max(values) < min(others)", "max(values) <= min(others)", "a tie"),
        (
            "min(values) > max(others)",
            "max(values) > max(others)",
            "goes by some of the runs",
        ),
        (
            "max(values) < min(others)",
            "min(values) < min(others)",
            "-",
        ),
        (
            '''        return "higher"
    if max(values) < min(others):
        return "lower"''',
            '''        return "lower"
    if max(values) < min(others):
        return "higher"''',
            "in each other's place",
        ),
        (
            """    if min(values) > max(others):
        return "higher"
    if max(values) < min(others):""",
            """    if np.mean(values) > np.mean(others):
        return "higher"
    if np.mean(values) < np.mean(others):""",
            "goes by the means",
        ),
        (
            """    if min(values) > max(others):
        return "higher"
    if max(values) < min(others):""",
            """    if max(values) > max(others):
        return "higher"
    if min(values) < min(others):""",
            "goes by some of the runs",
        ),
        (
            'return "no clear difference"',
            'print("no clear difference")',
            "there a return?",
        ),
        (
            "def verdict(values, others):\n"
            "    if all(a > b for a, b in zip(values, others)):\n"
            "        return 'higher'\n"
            "    if all(a < b for a, b in zip(values, others)):\n"
            "        return 'lower'\n"
            "    return 'no clear difference'\n",
            "-",
        ),
        (
            "min(values) > max(others)",
            "values[0] > max(others)",
            "goes by some of the runs",
        ),
    ],
    "compare": [
        ("ddof=1", "ddof=0", "ddof=1 is wanted"),
        (", ddof=1", "", "ddof=1 is wanted"),
        ("np.std(", "np.var(", "the variance"),
        ("np.mean(values),", "np.median(values),", "the median"),
        ("verdict(values, first)", "verdict(first, values)", "with each"),
        ("first = first or values", "first = values", "the one before"),
        (
            'verdict(values, first) if first else ""',
            "verdict(values, first or values)",
            "on the first group",
        ),
        ("        first = first or values\n", "", "lacks the verdicts"),
        (
            "np.std(values, ddof=1)",
            "np.std(values, ddof=1) / len(values) ** 0.5",
            "the standard error",
        ),
        ("{spread:.3f}", "{spread:.2f}", "-"),
        (
            "np.mean(values), np.std",
            "np.mean(list(groups.values())[0]), np.std",
            "-",
        ),
    ],
    "quiet_positions": [
        ("math.sqrt(2) * ", "", "lacks the root of 2"),
        ("math.sqrt(2)", "2", "in place of its root"),
        (
            "0.02 * math.sqrt(2)",
            "0.02 / math.sqrt(2)",
            "divided by the root of 2",
        ),
        ("0.02 * math.sqrt(2) * ", "", "as loud as sines are"),
        ("0.02 * ", "", "lacks the 0.02"),
        ("sinusoidal_positions(T, C)", "sinusoidal_positions(C, T)", "-"),
        (
            "sinusoidal_positions(T, C)",
            "np.random.default_rng(0).normal(size=(T, C))",
            "-",
        ),
        (
            "0.02 * math.sqrt(2) * sinusoidal_positions(T, C)",
            "np.zeros((T, C))",
            "is zero",
        ),
    ],
    "no_norm": [
        (" + bias", "", "lacks the bias"),
        ("x * weight + bias", "x + bias", "lacks the weight"),
        (
            "x * weight + bias",
            "layer_norm(x, weight, bias)[0]",
            "normalised still",
        ),
        ("x * weight + bias", "x", "lacks weight and bias"),
        (
            "x * weight + bias",
            "(x - x.mean(axis=-1, keepdims=True)) * weight + bias",
            "is centred",
        ),
        ("x * weight + bias", "x @ weight + bias", "-"),
        ("x * weight + bias, (x, weight)", "x * weight + bias", "no cache"),
        (
            "    return x * weight + bias, (x, weight)",
            "    x *= weight\n    x += bias\n    return x, (x, weight)",
            "changed x in place",
        ),
    ],
    "no_norm_backward": [
        ("return dout * weight,", "return dout,", "lacks the weight"),
        ("(dout * x).sum(axis=rows)", "dout.sum(axis=rows)", "lacks x"),
        (
            "(dout * x).sum(axis=rows), dout.sum(axis=rows)",
            "(dout * x).mean(axis=rows), dout.mean(axis=rows)",
            "mean over rows",
        ),
        ("(dout * x).sum(axis=rows)", "dout * x", "summed over axis"),
        ("range(x.ndim - 1)", "range(1)", "the first axis alone"),
        ("range(x.ndim - 1)", "range(x.ndim)", "is summed over all axes"),
        (
            "return dout * weight, (dout * x).sum(axis=rows),"
            " dout.sum(axis=rows)",
            "return dout * weight, dout.sum(axis=rows), (dout *"
            " x).sum(axis=rows)",
            "has the gradients of weight and bias in each",
        ),
        (
            "return dout * weight, (dout * x).sum(axis=rows),"
            " dout.sum(axis=rows)",
            "return dout * weight, (dout * x).sum(axis=rows)",
            "Return one for each",
        ),
        ("    rows =", "    dout *= weight\n    rows =", "in place"),
        (
            "(dout * x).sum(axis=rows)",
            "(dout * weight).sum(axis=rows)",
            "lacks x",
        ),
    ],
    "no_residual": [
        ("return out,", "return x + out,", "has x added"),
        ("return out,", "return h + out,", "norm's output added"),
        ("sublayer(h)", "sublayer(x)", "lacks the norm"),
        ("return out,", "return h,", "lacks the sublayer"),
        (
            "    h, norm_cache = layer_norm(x, **norm_params)\n"
            "    out, sublayer_cache = sublayer(h)",
            "    h, sublayer_cache = sublayer(x)\n"
            "    out, norm_cache = layer_norm(h, **norm_params)",
            "behind the sublayer",
        ),
        (
            "layer_norm(x, **norm_params)",
            "layer_norm(x, np.ones(x.shape[-1], x.dtype),"
            " np.zeros(x.shape[-1], x.dtype))",
            "the norm's weight and bias",
        ),
        ("**norm_params", "norm_params", "missing 1 required"),
        ("return out, (norm_cache, sublayer_cache)", "return out", "no cache"),
    ],
    "no_residual_backward": [
        ("return dx,", "return dx + dout,", "as if the shortcut were there"),
        ("return dx,", "return dx + dh,", "behind the norm"),
        ("return dx,", "return dh,", "back through the norm"),
        (
            "layer_norm_backward(dh,",
            "layer_norm_backward(dout,",
            "back through the sublayer",
        ),
        ('{"weight": dweight, "bias": dbias}', "(dweight, dbias)", "-"),
        (
            '{"weight": dweight, "bias": dbias}',
            '{"weight": dbias, "bias": dweight}',
            "has the gradients of weight and bias in each",
        ),
        (
            "return dx, grads, {",
            "return dx, {",
            "one for each, in the order of the arguments",
        ),
        ("return dx, grads,", "return grads, dx,", "-"),
        (
            '{"weight": dweight, "bias": dbias}',
            '{"dweight": dweight, "dbias": dbias}',
            "-",
        ),
    ],
    "unscaled_attention": [
        ("q * root", "q", "is scaled still"),
        ("q * root", "q / root", "divided once more"),
        ("q * root, k, v", "q * root**2, k, v", "multiplied by D in all"),
        ("q * root, k, v", "q * root, k * root, v", "multiplied by D in all"),
        (", mask)\n    return", ")\n    return", "mask ignored"),
        ("q * root, k, v", "q, k, v * root", "the root in v"),
        ("math.sqrt(q.shape[-1])", "np.sqrt(q.shape[-1])", "float64"),
        (
            "    out, cache = scaled_dot_product_attention(q * root,",
            "    q *= root\n    out, cache = scaled_dot_product_attention(q,",
            "changed q in place",
        ),
        (
            "math.sqrt(q.shape[-1])",
            "math.sqrt(q.shape[-2])",
            "has the root of T, not of D",
        ),
        ("return out, (cache, root)", "return out, cache, root", "-"),
    ],
    "unscaled_attention_backward": [
        ("dq * root", "dq", "lacks the root"),
        ("dq * root", "dq / root", "divided by the root"),
        ("dq * root, dk", "dq * root**2, dk", "the root twice"),
        ("dq * root, dk, dv", "dq * root, dk * root, dv", "which k never had"),
        ("dq * root, dk, dv", "dq * root, dk, dv * root", "which v never had"),
        (
            "dq * root, dk, dv",
            "dq * root, dv, dk",
            "and dv have changed places",
        ),
        (
            "    return dq * root",
            "    dq *= root\n    return dq * root",
            "the root twice",
        ),
        (
            "return dq * root, dk, dv",
            "return dq * root, dk",
            "Return one for each",
        ),
        (
            "(dout, cache)\n    return",
            "(dout * root, cache)\n    return",
            "has the root in dout",
        ),
    ],
    "train_setup": [
        (", np.float64)", ")", "in float32"),
        (SCALE, "", "does not use token_std"),
        (
            "setup.token_std / 0.02",
            "setup.token_std",
            "begins at 0.02 already",
        ),
        (MAKE, "", "is trained with AdamW, whatever the setup"),
        (
            SCALE + MAKE,
            MAKE
            + SCALE.replace(
                '["weight"] *=',
                '["weight"] = run.params["token_embedding"]["weight"] *',
            ),
            "does not learn its tokens",
        ),
        (", seed=seed", "", "does not use seed"),
        ("OPTIMIZERS[setup.optimizer]", 'OPTIMIZERS["AdamW"]', "with AdamW"),
        (", warmup=setup.warmup", "", "does not use warmup"),
        ("lr=setup.lr, ", "", "does not use lr"),
        ("steps=setup.steps, ", "", "-"),
        ("return run.params, [loss", "return run, [loss", "-"),
        (
            "[loss for loss, _ in train_steps(run, draw)]",
            "list(train_steps(run, draw))",
            "-",
        ),
        (
            "run.params, [loss for loss, _ in train_steps(run, draw)]",
            "[loss for loss, _ in train_steps(run, draw)], run.params",
            "-",
        ),
        (
            "OPTIMIZERS[setup.optimizer](run.params)",
            "AdamW(run.params)",
            "is trained with other betas and weight decay",
        ),
    ],
    "chance": [
        ("2 / math.comb", "1 / math.comb", "is the chance of higher alone"),
        ("math.comb(n + m, n)", "math.comb(m, n)", "chooses from m runs"),
        (
            "math.comb(n + m, n)",
            "math.perm(n + m, n)",
            "counts orders of the n runs as different",
        ),
        (
            "2 / math.comb(n + m, n)",
            "2 * 0.5 ** (n + m)",
            "tosses a coin for each run",
        ),
        (
            "2 / math.comb(n + m, n)",
            "math.comb(n + m, n)",
            "is the number of ways",
        ),
        (
            "2 / math.comb(n + m, n)",
            "2 / math.factorial(n + m)",
            "counts all orders as different",
        ),
    ],
    "uniform_attention": [
        (
            "mask / mask.sum(axis=-1, keepdims=True)",
            "mask / mask.shape[-1]",
            "divided by S",
        ),
        ("mask / mask.sum(axis=-1, keepdims=True)", "mask * 1.0", "is a sum"),
        (
            "mask / mask.sum(axis=-1, keepdims=True)",
            "np.full(mask.shape, 1 / mask.shape[-1])",
            "is the mean of all rows",
        ),
        ("weights @ v,", "weights.T @ v,", "weights transposed"),
        (
            "weights.swapaxes(-1, -2) @ dout",
            "weights @ dout",
            "transpose the weights",
        ),
        ("weights.swapaxes(-1, -2) @ dout", "dout", "is dout as it came"),
        ("    weights = weights.astype(q.dtype)\n", "", "A float64 took part"),
        (
            "np.zeros_like(q), np.zeros_like(k),",
            "q, k,",
            "has q added once too often",
        ),
        ("np.zeros_like(q), np.zeros_like(k), ", "", "Return one for each"),
        ("np.zeros_like(q), np.zeros_like(k),", "None, None,", "-"),
        (
            "weights @ v,",
            "attention.scaled_dot_product_attention(q, k, v, mask)[0],",
            "by q and k",
        ),
    ],
    "rms_norm": [
        (
            "(x * x).mean(axis=-1, keepdims=True)",
            "x.var(axis=-1, keepdims=True)",
            "standard deviation",
        ),
        ("(x * x).mean(", "(x * x).sum(", "of the sum"),
        (
            "(x * x).mean(axis=-1, keepdims=True)",
            "(x * x).mean()",
            "for all rows",
        ),
        (" + eps)", ")", "lacks eps"),
        (
            "np.sqrt(mean_square + eps)",
            "(np.sqrt(mean_square) + eps)",
            "eps outside the root",
        ),
        ("normed * weight + bias", "normed + bias", "lacks the weight"),
        (
            "(dnormed - normed",
            "(dnormed - dnormed.mean(axis=-1, keepdims=True) - normed",
            "term of the mean, which is gone",
        ),
        (
            "(dnormed - normed * along_normed)",
            "dnormed",
            "term of the root mean square",
        ),
        ("dnormed = dout * weight", "dnormed = dout", "lacks the weight"),
        (
            "(dnormed * normed).mean(",
            "(dnormed * normed).sum(",
            "in place of its mean",
        ),
        (
            "rrms * (dnormed - normed * along_normed)",
            "dnormed - normed * along_normed",
            "lacks the division",
        ),
        (
            "(dout * normed).sum(axis=rows)",
            "dout.sum(axis=rows)",
            "that of the bias",
        ),
        ("(dnormed - normed *", "(dnormed + normed *", "plus where minus"),
        ("normed = x * rrms", "normed = x", "is not divided"),
    ],
}

RIGHT = {
    "verdict": [
        """
def verdict(values, others):
    if all(a > b for a in values for b in others):
        return "higher"
    if all(a < b for a in values for b in others):
        return "lower"
    return "no clear difference"
""",
        """
def verdict(values, others):
    values, others = np.sort(values), np.sort(others)
    if values[0] > others[-1]:
        return "higher"
    elif values[-1] < others[0]:
        return "lower"
    else:
        return "no clear difference"
""",
        ("min(values) > max(others)", "max(others) < min(values)"),
    ],
    "compare": [
        """
def compare(groups):
    names = list(groups)
    for i, name in enumerate(names):
        values = groups[name]
        mean = sum(values) / len(values)
        squares = sum((v - mean) ** 2 for v in values)
        spread = (squares / (len(values) - 1)) ** 0.5
        line = f"{name}   {mean:.3f} ± {spread:.3f}"
        if i > 0:
            line += "  " + verdict(values, groups[names[0]])
        print(line)
""",
        ("np.std(values, ddof=1)", "np.sqrt(np.var(values, ddof=1))"),
        (
            "{name:22}{mean:7.3f} ± {spread:.3f}  {said}",
            "{name:<30} {mean:.3f} ± {spread:.3f} {said}",
        ),
    ],
    "quiet_positions": [
        ("0.02 * math.sqrt(2) *", "0.02 / math.sqrt(0.5) *"),
        (
            "0.02 * math.sqrt(2) * sinusoidal_positions(T, C)",
            "sinusoidal_positions(T, C) * np.float64(0.02 * 2**0.5)",
        ),
        (
            "    return 0.02 * math.sqrt(2) * sinusoidal_positions(T, C)",
            "    table = sinusoidal_positions(T, C)\n"
            "    return 0.02 * table / np.sqrt((table**2).mean())",
        ),
    ],
    "no_norm": [
        """
def no_norm(x, weight, bias):
    return bias + weight * x, {"x": x, "weight": weight}


def no_norm_backward(dout, cache):
    rows = cache["x"].reshape(-1, cache["x"].shape[-1])
    flat = dout.reshape(rows.shape)
    dweight = np.einsum("rc,rc->c", flat, rows)
    return dout * cache["weight"], dweight, flat.sum(axis=0)
""",
        ("(x, weight)", "[x, weight]"),
        ("x * weight + bias", "np.multiply(x, weight) + bias"),
    ],
    "no_norm_backward": [
        ("tuple(range(x.ndim - 1))", "tuple(range(dout.ndim))[:-1]"),
        (
            "return dout * weight, (dout * x).sum(axis=rows),"
            " dout.sum(axis=rows)",
            "return [dout * weight, (dout * x).sum(axis=rows),"
            " dout.sum(axis=rows)]",
        ),
        """
def no_norm_backward(dout, cache):
    x, weight = cache
    dx, dweight, dbias = dout * weight, dout * x, dout
    while dbias.ndim > 1:
        dweight, dbias = dweight.sum(axis=0), dbias.sum(axis=0)
    return dx, dweight, dbias
""",
    ],
    "no_residual": [
        """
def no_residual(x, sublayer, norm_params, config, rng=None):
    weight, bias = norm_params["weight"], norm_params["bias"]
    h, norm = layer_norm(x, weight, bias)
    out, inner = sublayer(h)
    return out, {"norm": norm, "inner": inner}


def no_residual_backward(dout, cache, sublayer_backward):
    dh, grads = sublayer_backward(dout, cache["inner"])
    dx, dweight, dbias = layer_norm_backward(dh, cache["norm"])
    return dx, grads, dict(weight=dweight, bias=dbias)
""",
        (
            "return out, (norm_cache, sublayer_cache)",
            "cache = [norm_cache, sublayer_cache]\n    return out, cache",
        ),
        (
            "    out, sublayer_cache = sublayer(h)\n"
            "    return out, (norm_cache, sublayer_cache)",
            "    result = sublayer(h)\n"
            "    return result[0], (norm_cache, result[1])",
        ),
    ],
    "no_residual_backward": [
        (
            '{"weight": dweight, "bias": dbias}',
            'dict(zip(("weight", "bias"), (dweight, dbias)))',
        ),
        (
            "    norm_cache, sublayer_cache = cache\n"
            "    dh, grads = sublayer_backward(dout, sublayer_cache)",
            "    norm_cache = cache[0]\n"
            "    dh, grads = sublayer_backward(dout, cache[1])",
        ),
        (
            '{"weight": dweight, "bias": dbias}',
            '{"bias": dbias, "weight": dweight}',
        ),
    ],
    "unscaled_attention": [
        """
def unscaled_attention(q, k, v, mask=None):
    scores = np.einsum("...td,...sd->...ts", q, k)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return weights @ v, (q, k, v, weights)


def unscaled_attention_backward(dout, cache):
    q, k, v, weights = cache
    dweights = dout @ v.swapaxes(-1, -2)
    inner = (dweights * weights).sum(axis=-1, keepdims=True)
    dscores = weights * (dweights - inner)
    dk = dscores.swapaxes(-1, -2) @ q
    return dscores @ k, dk, weights.swapaxes(-1, -2) @ dout
""",
        """
def unscaled_attention(q, k, v, mask=None):
    D = q.shape[-1]
    out, cache = scaled_dot_product_attention(q, k * D**0.5, v, mask)
    return out, {"cache": cache, "D": D}


def unscaled_attention_backward(dout, cache):
    dq, dk, dv = scaled_dot_product_attention_backward(dout, cache["cache"])
    return dq, dk * cache["D"] ** 0.5, dv
""",
        ("math.sqrt(q.shape[-1])", "float(np.sqrt(q.shape[-1]))"),
    ],
    "unscaled_attention_backward": [
        ("return dq * root, dk, dv", "return root * dq, dk, dv"),
        (
            "    cache, root = cache\n"
            "    dq, dk, dv ="
            " scaled_dot_product_attention_backward(dout, cache)",
            "    inner, root = cache\n"
            "    dq, dk, dv ="
            " scaled_dot_product_attention_backward(dout, inner)",
        ),
        (
            "    return dq * root, dk, dv",
            "    dq *= root\n    return dq, dk, dv",
        ),
    ],
    "train_setup": [
        """
def train_setup(setup, seed):
    plan = dict(steps=setup.steps, lr=setup.lr, warmup=setup.warmup)
    run = start_run(
        model_config(setup), TrainSettings(seed=seed, **plan), dtype=np.float64
    )
    table = run.params["token_embedding"]
    table["weight"] = table["weight"] * (setup.token_std / 0.02)
    run.optimizer = OPTIMIZERS[setup.optimizer](run.params)
    losses = []
    for loss, norm in train_steps(run, TASKS[setup.task]().draw):
        losses.append(loss)
    return run.params, losses
""",
        (SCALE + MAKE, MAKE + SCALE),
        (
            "run.params, [loss for loss, _ in train_steps(run, draw)]",
            "run.params, [step[0] for step in train_steps(run, draw)]",
        ),
        (
            "    return run.params, [loss for loss, _ in"
            " train_steps(run, draw)]",
            "    losses, _ = zip(*train_steps(run, draw))\n"
            "    return run.params, losses",
        ),
    ],
    "chance": [
        ("2 / math.comb(n + m, n)", "2 / math.comb(n + m, m)"),
        (
            "2 / math.comb(n + m, n)",
            "2 * math.factorial(n) * math.factorial(m) /"
            " math.factorial(n + m)",
        ),
        (
            "2 / math.comb(n + m, n)",
            "np.float64(2) / len(list(itertools.combinations(range(n +"
            " m), n)))",
        ),
    ],
    "uniform_attention": [
        """
def uniform_attention(q, k, v, mask=None):
    shape = q.shape[-2], k.shape[-2]
    mask = np.ones(shape, bool) if mask is None else mask
    return attention.scaled_dot_product_attention(0 * q, 0 * k, v, mask)


def uniform_attention_backward(dout, cache):
    q, k, v, weights, scale = cache
    dv = np.einsum("...ts,...td->...sd", weights, dout)
    return np.zeros_like(q), np.zeros_like(k), dv
""",
        ("np.zeros_like(q), np.zeros_like(k),", "0 * q, 0 * k,"),
        (
            "weights.swapaxes(-1, -2) @ dout",
            "np.matmul(np.swapaxes(weights, -1, -2), dout)",
        ),
    ],
    "rms_norm": [
        (
            "return rrms * (dnormed - normed * along_normed)",
            "return dnormed * rrms - rrms * normed * along_normed",
        ),
        (
            "(x * x).mean(axis=-1, keepdims=True)",
            "np.square(x).mean(-1, keepdims=True)",
        ),
        """
def rms_norm(x, weight, bias, eps=1e-5):
    root = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return x / root * weight + bias, {"x": x, "root": root, "weight": weight}


def rms_norm_backward(dout, cache):
    x, root, C = cache["x"], cache["root"], cache["x"].shape[-1]
    d = dout * cache["weight"]
    inner = np.einsum("...c,...c->...", d, x)[..., None]
    dx = d / root - x * inner / (C * root**3)
    axes = tuple(range(x.ndim - 1))
    return dx, (dout * x / root).sum(axis=axes), dout.sum(axis=axes)
""",
    ],
}

SOLUTIONS = {
    "chance": '''\
def chance(n, m):
    """Return how likely n equal runs all lie above or all below m others."""
    return 2 / math.comb(n + m, n)
''',
    "uniform_attention": '''\
def uniform_attention(q, k, v, mask=None):
    """Return the mean of the rows of v a query may see, and a cache."""
    weights = mask / mask.sum(axis=-1, keepdims=True)  # (T, S)
    weights = weights.astype(q.dtype)
    return weights @ v, (weights, q, k)


def uniform_attention_backward(dout, cache):
    """Return dq, dk, dv."""
    weights, q, k = cache
    dv = weights.swapaxes(-1, -2) @ dout  # (..., S, D)
    return np.zeros_like(q), np.zeros_like(k), dv
''',
    "rms_norm": '''\
def rms_norm(x, weight, bias, eps=1e-5):
    """Return x over its root mean square, scaled and shifted, and a cache."""
    mean_square = (x * x).mean(axis=-1, keepdims=True)
    rrms = 1.0 / np.sqrt(mean_square + eps)  # (..., 1)
    normed = x * rrms
    return normed * weight + bias, (normed, rrms, weight)


def rms_norm_backward(dout, cache):
    """Return dx, dweight, dbias."""
    normed, rrms, weight = cache
    rows = tuple(range(dout.ndim - 1))
    dweight, dbias = (dout * normed).sum(axis=rows), dout.sum(axis=rows)
    dnormed = dout * weight
    along_normed = (dnormed * normed).mean(axis=-1, keepdims=True)
    return rrms * (dnormed - normed * along_normed), dweight, dbias
''',
}


def judge_chance(chance):
    """Call the exercise as its cell does."""
    check_value(chance, 1 / 28, 3, 5)


def judge_uniform_attention(uniform_attention):
    """Call the exercise as its cell does."""
    check_backward(
        uniform_attention,
        uniform_attention.__globals__["uniform_attention_backward"],
        lambda q, k, v, mask: F.scaled_dot_product_attention(
            0 * q, k, v, mask
        ),
        tuple(np.random.default_rng(1).normal(size=(3, 2, 3, 5, 4))),
        mask=causal_mask(5),
    )


def judge_rms_norm(rms_norm):
    """Call the exercise as its cell does."""
    rng = np.random.default_rng(1)
    check_backward(
        rms_norm,
        rms_norm.__globals__["rms_norm_backward"],
        lambda x, weight, bias: (
            F.rms_norm(x, x.shape[-1:], weight, 1e-5) + bias
        ),
        tuple(rng.normal(size=s) for s in ((2, 5, 12), (12,), (12,))),
    )


JUDGES = {
    "chance": judge_chance,
    "uniform_attention": judge_uniform_attention,
    "rms_norm": judge_rms_norm,
}
