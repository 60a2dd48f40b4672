"""The usual mistakes in the functions of appendix A2."""

import math

import numpy as np

from helpers import experiments as right
from helpers.attention import (
    scaled_dot_product_attention,
    scaled_dot_product_attention_backward,
    softmax_backward,
)
from helpers.embeddings import sinusoidal_positions
from helpers.runs.params import map_arrays
from helpers.training import AdamW, TrainSettings, start_run, train_steps
from helpers.transformer_block import layer_norm, layer_norm_backward


def verdict(values, others):
    low, high, unclear = min(values), max(values), "no clear difference"

    def say(higher, lower):
        return "higher" if higher else "lower" if lower else unclear

    ties = low == max(others) or high == min(others)
    if ties:
        yield (
            "takes a tie for a difference: use > and <",
            say(low >= max(others), high <= min(others)),
        )
        return
    turned = say(high < min(others), low > max(others))
    yield "has higher and lower in each other's place", turned
    mean, other = np.mean(values), np.mean(others)
    yield (
        "goes by some of the runs: all have to lie on one side",
        say(high > max(others), low < min(others)),
    )
    yield (
        "goes by the means: all runs have to lie on one side",
        say(mean > other, mean < other),
    )


def compare(groups):
    first = next(iter(groups.values()))

    def lines(ddof=1, of=np.mean, around=np.std, judge=None, mark=""):
        found, before = [], None
        for name, values in groups.items():
            said = mark
            if before is not None:
                said = (judge or right.verdict)(values, before)
            elif mark == "itself":
                said = right.verdict(values, values)
            spread = f"{around(values, ddof=ddof):.3f}"
            found.append([name, f"{of(values):.3f}", spread, said])
            before = first
        return found

    yield "has the spread of ddof=0: ddof=1 is wanted", lines(ddof=0)
    yield "has the variance, not its root", lines(around=np.var)
    yield "has the median, not the mean", lines(of=np.median)

    def error(values, ddof):
        return np.std(values, ddof=ddof) / len(values) ** 0.5

    yield (
        "has the standard error, not the standard deviation",
        lines(around=error),
    )
    yield (
        "compares the first group with each, not each with the first",
        (lines(judge=lambda values, first: right.verdict(first, values))),
    )
    yield (
        "has a verdict on the first group: it is what others meet",
        lines(mark="itself"),
    )
    chain, before = lines(), None
    for line, values in zip(chain, groups.values()):
        line[-1] = right.verdict(values, before) if before else ""
        before = values
    yield "compares each group with the one before, not with the first", chain
    bare = [[*line[:3], ""] for line in lines()]
    yield "lacks the verdicts", bare


def quiet_positions(T, C):
    table = sinusoidal_positions(T, C)
    yield (
        "lacks the root of 2: sines have root mean square sqrt(1/2)",
        (0.02 * table),
    )
    yield (
        "is divided by the root of 2, not multiplied",
        (0.02 / math.sqrt(2) * table),
    )
    yield "has 2 in place of its root", 0.04 * table
    yield "is as loud as sines are", table
    yield "lacks the 0.02", math.sqrt(2) * table
    yield "is zero", np.zeros((T, C))


def no_norm(x, weight, bias):
    yield "lacks the bias", x * weight
    yield "lacks the weight", x + bias
    out, _ = layer_norm(x, weight, bias)
    yield "is normalised still", out
    yield "lacks weight and bias", x
    yield (
        "is centred: the mean goes off no longer",
        ((x - x.mean(axis=-1, keepdims=True)) * weight + bias),
    )
    yield "has the bias inside the product", (x + bias) * weight


def no_norm_backward(dout, x, weight, bias):
    rows = tuple(range(x.ndim - 1))
    yield "lacks the weight", {"dx": dout}
    dweight, dbias = (dout * x).sum(axis=rows), dout.sum(axis=rows)
    yield "lacks x", {"dweight": dbias, "dbias": dbias}
    yield (
        "has the gradients of weight and bias in each other's place",
        {
            "dweight": dbias,
            "dbias": dweight,
        },
    )
    yield (
        "has the mean over rows in place of the sum",
        {
            "dweight": (dout * x).mean(axis=rows),
            "dbias": dout.mean(axis=rows),
        },
    )
    _, cache = layer_norm(x, weight, bias)
    dx, dweight, dbias = layer_norm_backward(dout, cache)
    yield "is that of the layer norm, which is gone", {"dx": dx}
    yield (
        "has the normalised x of the layer norm, which is gone",
        {"dweight": dweight},
    )
    if rows:
        yield (
            "is summed over the first axis alone",
            {"dweight": (dout * x).sum(axis=0)},
        )
        yield (
            "is summed over the first axis alone",
            {"dbias": dout.sum(axis=0)},
        )
    yield "is summed over all axes", {"dbias": dout.sum()}
    yield (
        "lacks x: it is dout * weight",
        {"dweight": (dout * weight).sum(axis=rows)},
    )


def no_residual(x, norm_params, params):
    weight, (h, _) = params["map"], layer_norm(x, **norm_params)
    out = h @ weight
    yield "has x added: nothing is added here", out + x
    yield "has the norm's output added: nothing is added here", out + h
    yield "lacks the norm", x @ weight
    yield "lacks the sublayer", h
    after, _ = layer_norm(x @ weight, **norm_params)
    yield "has the norm behind the sublayer, as in post-norm", after
    post, _ = layer_norm(x + x @ weight, **norm_params)
    yield "is post-norm, with the shortcut", post
    plain, _ = layer_norm(x, np.ones_like(h[0, 0]), np.zeros_like(h[0, 0]))
    yield "lacks the norm's weight and bias", plain @ weight


def no_residual_backward(dout, x, norm_params, params):
    weight = params["map"]
    h, cache = layer_norm(x, **norm_params)
    dh = dout @ weight.T
    dx, *_ = layer_norm_backward(dh, cache)
    yield "has dout added, as if the shortcut were there", {"x": dx + dout}
    yield "has dout added, as if the shortcut were there", {"dx": dx + dout}
    yield (
        "has dh added, as if the shortcut began behind the norm",
        {"dx": dx + dh},
    )
    yield "lacks the way back through the norm", {"dx": dh}
    _, dweight, dbias = layer_norm_backward(dh, cache)
    yield (
        "has the gradients of weight and bias in each other's place",
        {
            "weight": dbias,
            "bias": dweight,
        },
    )
    through, *_ = layer_norm_backward(dout, cache)
    yield "lacks the way back through the sublayer", {"dx": through}


def unscaled_attention(q, k, v, mask=None):
    root = math.sqrt(q.shape[-1])

    def attend(factor):
        return scaled_dot_product_attention(q * factor, k, v, mask)[0]

    yield (
        "is scaled still: its scores are divided by the square root of D",
        (attend(1.0)),
    )
    yield (
        "is divided once more: multiply q by the square root of D",
        attend(1 / root),
    )
    yield (
        "is multiplied by D in all: its square root undoes the division",
        attend(root**2),
    )
    if q.shape[-2] != q.shape[-1]:
        yield "has the root of T, not of D", attend(math.sqrt(q.shape[-2]))
    if mask is not None:
        bare, _ = scaled_dot_product_attention(q * root, k, v)
        yield "has the mask ignored", bare
    loud = scaled_dot_product_attention(q, k, v * root, mask)[0]
    yield "has the root in v", loud


def unscaled_attention_backward(dout, q, k, v, mask=None):
    root = math.sqrt(q.shape[-1])
    _, cache = scaled_dot_product_attention(q * root, k, v, mask)
    dq, dk, dv = scaled_dot_product_attention_backward(dout, cache)
    yield "lacks the root that q was multiplied by", {"dq": dq}
    yield "is divided by the root, not multiplied", {"dq": dq / root}
    yield "has the root twice", {"dq": dq * root**2}
    yield "has the root too, which k never had", {"dk": dk * root}
    yield (
        "has the root too, which k never had",
        {
            "dq": dq * root,
            "dk": dk * root,
        },
    )
    yield (
        "has the root in dout: it belongs to dq alone",
        {
            "dq": dq * root**2,
            "dk": dk * root,
            "dv": dv * root,
        },
    )
    yield "has the root too, which v never had", {"dv": dv * root}
    _, scaled = scaled_dot_product_attention(q, k, v, mask)
    other = scaled_dot_product_attention_backward(dout, scaled)
    yield "is that of attention with the scale", {"dq": other[0]}


def train_setup(setup, seed):
    from helpers.checks.cases.experiments import _trained

    def train(
        dtype=np.float64, std=setup.token_std, seed=seed, late=None, **other
    ):
        def wrong(setup, _):
            plan = {
                "steps": setup.steps,
                "lr": setup.lr,
                "warmup": setup.warmup,
                "seed": seed,
            }
            settings = TrainSettings(**plan | other.get("plan", {}))
            run = start_run(right.model_config(setup), settings, dtype)
            name = other.get("optimizer", setup.optimizer)
            optimizer = right.OPTIMIZERS.get(name, name)
            if late:
                run.optimizer = optimizer(run.params)
            if late == "all":
                run.params = map_arrays(np.copy, run.params)
            run.params["token_embedding"]["weight"] *= std / 0.02
            if late == "tokens":
                table = run.params["token_embedding"]
                table["weight"] = table["weight"].copy()
            if not late:
                run.optimizer = optimizer(run.params)
            draw = right.TASKS[setup.task]().draw
            losses = [loss for loss, _ in train_steps(run, draw)]
            return run.params, losses

        return _trained(wrong, setup, seed)

    yield (
        "is trained in float32: start_run needs np.float64",
        train(np.float32),
    )
    if setup.token_std != 0.02:
        yield "does not use token_std", train(std=0.02)
    yield (
        "is multiplied by token_std: it begins at 0.02 already",
        train(std=setup.token_std * 0.02),
    )
    yield "does not use seed", train(seed=0)
    yield (
        "is trained with other betas and weight decay than OPTIMIZERS",
        train(optimizer=AdamW),
    )
    if setup.optimizer != "AdamW":
        yield (
            "is trained with AdamW, whatever the setup says",
            train(optimizer="AdamW"),
        )
    yield "does not learn: the optimizer holds other arrays", train(late="all")
    yield (
        "does not learn its tokens: the optimizer holds other arrays",
        (train(late="tokens")),
    )
    yield "does not use warmup", train(plan={"warmup": 0})
    yield "does not use warmup", train(plan={"warmup": TrainSettings.warmup})
    yield "does not use lr", train(plan={"lr": TrainSettings.lr})
    yield "does not use steps", train(plan={"steps": setup.steps + 1})


def uniform_attention(q, k, v, mask=None):
    mask = np.ones((q.shape[-2], k.shape[-2]), bool) if mask is None else mask
    n = mask.sum(axis=-1, keepdims=True)
    wide = mask.astype(v.dtype)
    yield (
        "is the mean of all rows: only those that the mask shows count",
        (np.broadcast_to(v.mean(axis=-2, keepdims=True), v.shape)),
    )
    yield "is a sum: divide by the number of rows a query may see", wide @ v
    yield (
        "is divided by S: the number of rows a query may see is wanted",
        (wide @ v / mask.shape[-1]),
    )
    yield "has the weights transposed", (wide / n).swapaxes(-1, -2) @ v
    out, _ = scaled_dot_product_attention(q, k, v, mask)
    yield "is attention by q and k: they say nothing here", out


def uniform_attention_backward(dout, q, k, v, mask=None):
    mask = np.ones((q.shape[-2], k.shape[-2]), bool) if mask is None else mask
    wide = (mask / mask.sum(axis=-1, keepdims=True)).astype(v.dtype)
    yield "has weights @ dout: transpose the weights", {"dv": wide @ dout}
    yield "is dout as it came: the weights are left out", {"dv": dout}
    bare = mask.astype(v.dtype).swapaxes(-1, -2) @ dout
    yield "lacks the division by the rows a query may see", {"dv": bare}
    dscores = softmax_backward(dout @ v.swapaxes(-1, -2), wide)
    yield "is not zero: q and k change nothing", {"dq": dscores @ k}


def rms_norm(x, weight, bias, eps=1e-5):
    square = (x * x).mean(axis=-1, keepdims=True)
    out, _ = layer_norm(x, weight, bias)
    yield "is layer norm: the mean is not subtracted here", out
    yield (
        "is divided by the mean square: take its root",
        (x / (square + eps) * weight + bias),
    )
    norm = np.sqrt((x * x).sum(axis=-1, keepdims=True) + eps)
    yield (
        "is divided by the root of the sum, not of the mean",
        (x / norm * weight + bias),
    )
    yield (
        "is divided by the standard deviation: no mean is subtracted",
        (x / np.sqrt(x.var(axis=-1, keepdims=True) + eps) * weight + bias),
    )
    root = np.sqrt(square + eps)
    yield "lacks the weight", x / root + bias
    yield "lacks the bias", x / root * weight
    yield "lacks eps", x / np.sqrt(square) * weight + bias
    yield (
        "has eps outside the root",
        (x / (np.sqrt(square) + eps) * weight + bias),
    )
    yield (
        "has one mean square for all rows",
        (x / np.sqrt((x * x).mean() + eps) * weight + bias),
    )
    yield "is not divided: x is left as it is", x * weight + bias
    yield "is multiplied by the root mean square", x * root * weight + bias


def rms_norm_backward(dout, x, weight, bias, eps=1e-5):
    rstd = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    x_hat, d = x * rstd, dout * weight
    inner = (d * x_hat).mean(axis=-1, keepdims=True)
    axes = tuple(range(x.ndim - 1))
    mean = d.mean(axis=-1, keepdims=True)
    yield (
        "has layer norm's term of the mean, which is gone",
        {"dx": rstd * (d - mean - x_hat * inner)},
    )
    yield "lacks the term of the root mean square", {"dx": rstd * d}
    yield (
        "lacks the weight",
        {
            "dx": rstd
            * (dout - x_hat * (dout * x_hat).mean(axis=-1, keepdims=True))
        },
    )
    yield (
        "has a sum over the row in place of its mean",
        {"dx": rstd * (d - x_hat * inner * x.shape[-1])},
    )
    yield (
        "lacks the division by the root mean square",
        {"dx": d - x_hat * inner},
    )
    yield (
        "has x where x over its root mean square is wanted",
        {"dx": rstd * (d - x * (d * x).mean(axis=-1, keepdims=True))},
    )
    yield (
        "has x where x over its root mean square is wanted",
        {"dx": rstd * (d - x * inner)},
    )
    yield "has plus where minus is wanted", {"dx": rstd * (d + x_hat * inner)}
    yield (
        "has x where x over its root mean square is wanted",
        {"dweight": (dout * x).sum(axis=axes)},
    )
    yield "lacks x: it is that of the bias", {"dweight": dout.sum(axis=axes)}


def chance(n, m):
    ways = math.comb(n + m, n)
    yield "is the chance of higher alone: lower counts too", 1 / ways
    yield "is the number of ways: divide by it", ways
    yield "is ways / 2, the other way round", ways / 2
    yield "chooses from m runs: there are n + m", 2 / math.comb(m, n)
    yield (
        "counts orders of the n runs as different: math.comb does not",
        2 / math.perm(n + m, n),
    )
    yield (
        "counts all orders as different: which runs lie on top is enough",
        2 / math.factorial(n + m),
    )
    yield "tosses a coin for each run: count rankings", 2 * 0.5 ** (n + m)
