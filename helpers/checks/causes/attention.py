"""The usual mistakes in the functions of lesson 01."""

import math

import numpy as np

from helpers import attention as right

LOWEST, LOWEST32 = np.finfo(np.float64).min, np.finfo(np.float32).min


def linear(x, weight, bias=None):
    out = x @ weight
    if bias is not None:
        yield "lacks the bias", out
        yield "has the bias added twice", out + 2 * bias
        yield "has the bias subtracted", out - bias


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    yield "is divided by the sum of all rows, not of its own", e / e.sum()
    yield "is not divided by the sum of its row", e
    if x.ndim > 1:
        down = np.exp(x - x.max(axis=-2, keepdims=True))
        down /= down.sum(axis=-2, keepdims=True)
        yield "sums to 1 along the last axis but one: use axis=-1", down
        first = np.exp(x - x.max(axis=0, keepdims=True))
        first /= first.sum(axis=0, keepdims=True)
        yield "sums to 1 along axis 0: use axis=-1", first
        whole = np.exp(x - x.max())
        whole /= whole.sum(axis=-1, keepdims=True)
        yield (
            (
                "lost rows far below the largest number of all: subtract the "
                "maximum of each row"
            ),
            whole,
        )
    for axis in range(-x.ndim, -1):
        total = e.sum(axis=axis, keepdims=True)
        name = axis + x.ndim and axis  # the first axis is 0 to everybody
        yield f"is divided by the sum along axis {name}: use -1", e / total
    plain = np.exp(x)
    plain /= plain.sum(axis=-1, keepdims=True)
    yield "overflowed: subtract the maximum of each row before exp", plain
    for row in (x, x - x.max(axis=-1, keepdims=True)):
        total = row.sum(axis=-1, keepdims=True)
        yield "lacks the exponential", row / total
    two = 2.0 ** (x - x.max(axis=-1, keepdims=True))
    yield (
        "has powers of 2, not of e: use np.exp",
        (two / two.sum(axis=-1, keepdims=True)),
    )
    less = np.exp(x.min(axis=-1, keepdims=True) - x)
    less /= less.sum(axis=-1, keepdims=True)
    yield "has the largest weight at the smallest score: a wrong sign", less
    log = x - x.max(axis=-1, keepdims=True)
    log = log - np.log(np.exp(log).sum(axis=-1, keepdims=True))
    yield "is the logarithm of what it should be", log


def softmax_backward(dout, x):
    p, _ = right.softmax(x)
    inner = (dout * p).sum(axis=-1, keepdims=True)
    yield "lacks the weights in front of the bracket", dout - inner
    yield (
        (
            "is dout * weights alone: the sum over the last axis that is "
            "subtracted is missing"
        ),
        p * dout,
    )
    squares = (dout * p**2).sum(axis=-1, keepdims=True)
    yield "has the weights once too often in its sum", p * (dout - squares)


def causal_mask(T):
    ones = np.ones((T, T), dtype=bool)
    yield "lets a position see what follows and not what was", np.triu(ones)
    yield (
        "has one diagonal too many: a position sees the next",
        np.tril(ones, 1),
    )
    yield "lacks the diagonal: a position must see itself", np.tril(ones, -1)
    yield "hides nothing", ones
    yield (
        "hides what is allowed and allows the rest: turn it over",
        ~np.tril(ones),
    )


def mask_scores(scores, mask):
    for low in (-1e4, -1e9, -1e10, -1e12, -1e30, LOWEST, LOWEST32):
        yield (
            (
                "is a large number where minus infinity is wanted: its weight "
                "is 0 only if the other scores are not as low"
            ),
            np.where(mask, scores, low),
        )
    yield (
        ("is 0 where it is hidden: softmax makes a weight of that"),
        np.where(mask, scores, 0.0),
    )
    yield (
        ("is hidden where the mask is True: True = may attend"),
        np.where(mask, -np.inf, scores),
    )
    yield (
        ("is plus infinity where it should be minus infinity"),
        np.where(mask, scores, np.inf),
    )
    yield "is what it would be without the mask", scores


def scaled_dot_product_attention(q, k, v, mask=None):
    D, S = q.shape[-1], k.shape[-2]
    dots = q @ k.swapaxes(-1, -2)

    def attend(scores, mask=mask, hidden=-np.inf):
        if mask is not None:
            scores = np.where(mask, scores, hidden)
        return right.softmax(scores)[0] @ v

    scores = dots / math.sqrt(D)
    yield "lacks the division by the square root of D", attend(dots)
    yield "is divided by D, not by its square root", attend(dots / D)
    times = dots * math.sqrt(D)
    yield "is multiplied by the square root of D, not divided", attend(times)
    for n, name in {q.shape[-2]: "T", S: "S"}.items():
        if n not in (D, 1):
            other = attend(dots / math.sqrt(n))
            yield f"has the square root of {name}, not of D", other
    if v.shape[-1] != D:
        other = attend(dots / math.sqrt(v.shape[-1]))
        yield "has the square root of the width of v, not of q", other
    plain = scores if mask is None else np.where(mask, scores, 0.0)
    yield "lacks the softmax", plain @ v
    if k.shape == v.shape:
        weights = scores if mask is None else np.where(mask, scores, -np.inf)
        yield "mixes k where v is wanted", right.softmax(weights)[0] @ k
    if q.shape[-2] == S:
        turned = attend(scores.swapaxes(-1, -2))
        yield "has its scores transposed: q @ k.T is wanted", turned
        mixed = right.softmax(scores)[0].swapaxes(-1, -2) @ v
        yield "has its weights transposed", mixed
    rows = np.exp(scores) if mask is None else np.exp(scores) * mask
    down = rows / rows.sum(axis=-2, keepdims=True)
    yield "has the softmax along the queries, not along the keys", down @ v
    if mask is not None:
        yield "is what it would be without the mask", attend(scores, None)
        yield (
            "has the mask turned over: True = may attend",
            attend(scores, ~mask),
        )
        weights = right.softmax(scores)[0]
        yield (
            (
                "is masked after the softmax: the weights that are left no "
                "longer sum to 1"
            ),
            (weights * mask) @ v,
        )
        yield (
            "has hidden scores of 0 where minus infinity is wanted",
            attend(scores, mask, 0.0),
        )
        yield "has the mask added to the scores", attend(scores + mask, None)
        late = np.where(mask, dots, -np.inf)
        yield (
            "lacks the division by the square root of D",
            (right.softmax(late)[0] @ v),
        )


def scaled_dot_product_attention_backward(dout, q, k, v, mask=None):
    _, cache = right.scaled_dot_product_attention(q, k, v, mask)
    *_, p, scale = cache
    dweights = dout @ v.swapaxes(-1, -2)

    def both(dscores):
        return {"dq": dscores @ k, "dk": dscores.swapaxes(-1, -2) @ q}

    dscores = right.softmax_backward(dweights, p) * scale
    yield (
        "lacks softmax_backward: dweights went on as dscores",
        both(dweights * scale),
    )
    yield "lacks softmax_backward, and the scale too", both(dweights)
    yield (
        "lacks the scale, 1 / the square root of the length of the last axis",
        both(dscores / scale),
    )
    yield "has the scale twice", both(dscores * scale)
    yield "is divided by the scale, not multiplied", both(dscores / scale**2)
    yield (
        ("has the diagonal of softmax's Jacobian alone: use softmax_backward"),
        both(dweights * p * (1 - p) * scale),
    )
    yield "lacks the sum in softmax's gradient", both(dweights * p * scale)
    yield (
        ("has softmax_backward of dout times out, not of dweights"),
        both(right.softmax_backward(p, p) * scale),
    )
    if q.shape == k.shape:
        yield "is dscores @ q: the gradient of q needs k", {"dq": dscores @ q}
        turned = dscores.swapaxes(-1, -2) @ k
        yield "is dscores.T @ k: the gradient of k needs q", {"dk": turned}
        yield (
            (
                "and dk have q and k in each other's place: the cache is read "
                "in another order than it was made in"
            ),
            {"dq": dscores @ q, "dk": turned},
        )
        yield (
            ("has a transpose too many or too few: dscores.T @ q is wanted"),
            {"dk": dscores @ q},
        )
        yield (
            ("has a transpose too many or too few: dscores @ k is wanted"),
            {"dq": dscores.swapaxes(-1, -2) @ k},
        )
        yield (
            "has a transpose too many or too few: weights.T @ dout is wanted",
            {"dv": p @ dout},
        )
    raw = dweights.swapaxes(-1, -2) @ dout
    yield "has dweights where the weights are wanted", {"dv": raw}


def split_heads(x, n_heads):
    B, T, C = x.shape
    if C % n_heads == 0:
        D = C // n_heads
        mixed = x.reshape(B, T, D, n_heads).transpose(0, 3, 1, 2)
        yield (
            (
                "gives a head every H-th channel: reshape the last axis into "
                "(H, D), not (D, H)"
            ),
            mixed,
        )
        yield (
            (
                "has a reshape where a transpose is needed: a head gets "
                "whole tokens"
            ),
            x.reshape(B, n_heads, T, D),
        )


def merge_heads(x):
    B, H, T, D = x.shape
    yield (
        (
            "has the channels of the heads mixed: put H and D side by side, "
            "in this order"
        ),
        x.transpose(0, 2, 3, 1).reshape(B, T, H * D),
    )
    yield (
        (
            "has a reshape where a transpose is needed: heads fall into the "
            "place of tokens"
        ),
        x.reshape(B, T, H * D),
    )


def split_heads_backward(dout, x, n_heads):
    yield from merge_heads(dout)


def merge_heads_backward(dout, x):
    yield from split_heads(dout, x.shape[1])


def multi_head_attention(x, params, n_heads, mask=None):
    qkv, _ = right.linear(x, **params["qkv"])
    parts, _ = right.split_heads(qkv, 3 * n_heads)
    q, k, v = np.split(parts, 3, axis=1)

    def finish(q, k, v, mask=mask):
        heads, _ = right.scaled_dot_product_attention(q, k, v, mask)
        return right.linear(right.merge_heads(heads)[0], **params["out"])[0]

    for order in ((q, v, k), (k, q, v), (k, v, q), (v, k, q), (v, q, k)):
        yield "has q, k and v in another order than q, k, v", finish(*order)
    if mask is not None:
        yield "is what it would be without the mask", finish(q, k, v, None)
    if n_heads > 1:
        one, _ = right.multi_head_attention(x, params, 1, mask)
        yield "has a single head for each of q, k and v", one
        mixed = parts[:, 0::3], parts[:, 1::3], parts[:, 2::3]
        yield (
            (
                "takes q, k and v in turn from the heads: the first H are "
                "queries, the next H keys"
            ),
            finish(*mixed),
        )
        heads, _ = right.scaled_dot_product_attention(q, k, v, mask)
        flat = heads.reshape(x.shape)
        yield (
            "has its heads reshaped, not merged",
            (right.linear(flat, **params["out"])[0]),
        )
    heads, _ = right.scaled_dot_product_attention(q, k, v, mask)
    merged, _ = right.merge_heads(heads)
    yield "lacks the last linear map", merged
    weight = params["out"]["weight"]
    if "bias" in params["out"]:
        yield "lacks the bias of the last linear map", merged @ weight
    if "bias" in params["qkv"]:
        bare = {"qkv": {"weight": params["qkv"]["weight"]}} | {
            "out": params["out"]
        }
        out, _ = right.multi_head_attention(x, bare, n_heads, mask)
        yield "lacks the bias of qkv", out
    yield "has x added: that comes in lesson 03", finish(q, k, v) + x


def window_mask(T, w):
    rows, columns = np.indices((T, T))
    past, near = columns <= rows, rows - columns < w
    yield "is not causal: row i sees nothing behind column i", near
    yield "is causal alone: row i begins at column i - w + 1", past
    yield (
        "shows w + 1 positions: row i begins at column i - w + 1",
        past & (rows - columns < w + 1),
    )
    yield (
        "shows w - 1 positions: the window holds the position itself",
        past & (rows - columns < w - 1),
    )
    yield "has or where and is wanted", past | near
    yield "shows what has to go, and hides what stays", past & ~near
    yield "is True where it must be False", ~(past & near)
    yield (
        "shows w positions on either side",
        np.abs(rows - columns) < w,
    )
    yield "is turned round: columns lie in the past", (past & near).T
