"""What learners write in lesson 01; test_mistakes.py says what a row is."""

import numpy as np

from helpers.attention import causal_mask
from helpers.checks import torch_ops
from helpers.checks.gradients import check_value

LINEAR_BACKWARD = """
def linear_backward(dout, cache):
    x, weight, has_bias = cache
    rows = x.reshape(-1, x.shape[-1])
    drows = dout.reshape(-1, dout.shape[-1])
    dx = (drows @ weight.T).reshape(x.shape)
    dweight = rows.T @ drows
    dbias = drows.sum(axis=0) if has_bias else None
"""
SUM = "sum over the last axis that is subtracted"
IN_PLACE = "in place: work on a copy"
BROADCAST = "keepdims=True keeps it"
TRANSPOSE = "transpose"

WRONG = {
    "linear": [
        ("        out += bias", "        pass", "lacks the bias"),
        ("        out += bias", "        out -= bias", "subtracted"),
        ("        out += bias", "        out += 2 * bias", "added twice"),
        ("@ weight", "@ weight.T", "a transpose is missing or too many"),
        ("out.reshape(*x.shape[:-1], -1)", "out", "right numbers"),
        ("bias is not None)", "bias is not None), 0", "no cache"),
        ("(x, weight, bias is not None)", "None", "-"),
        ("weight, bias is not None)", "weight, True)", "was not given"),
        (
            "weight, bias is not None)",
            "weight, False)",
            "None for bias, which was given",
        ),
        (
            "def linear(x, weight, bias=None):\n"
            "    return x @ weight + bias, (x, weight, True)",
            "-",
        ),
        (
            "def linear(x, weight, bias):\n"
            "    return x @ weight + bias, (x, weight, True)",
            "missing 1 required positional argument: 'bias'",
        ),
        (
            "def linear(x, weight, bias=None):\n"
            "    bias = np.zeros(weight.shape[1]) if bias is None else bias\n"
            "    return x @ weight + bias, (x, weight, True)",
            "float64 took part",
        ),
        (
            "def linear(x, weight, bias=None):\n"
            "    weight *= 1.5\n"
            "    return x @ weight, (x, weight, False)",
            "-",
        ),
        (
            "def linear(x, weight, bias=None):\n"
            "    if bias:\n"
            "        return x @ weight + bias, (x, weight, True)\n"
            "    return x @ weight, (x, weight, False)",
            "-",
        ),
        (
            "def linear(x, weight, bias=None):\n"
            "    out = x @ weight\n"
            "    return out if bias is None else out + bias",
            "no cache",
        ),
        (
            (
                "def linear(x, weight, bias=None):\n"
                "    return x @ weight + bias, (x, weight, bias is not "
                "None)\n"
            ),
            "-",
        ),
    ],
    "linear_backward": [
        ("dx = (drows", "dx = -(drows", "wrong sign"),
        ("drows @ weight.T", "drows @ weight", "a transpose is missing"),
        (".reshape(x.shape)", "", "not the right shape"),
        ("rows.T @ drows", "drows.T @ rows", "is the transpose"),
        ("rows.T @ drows", "rows.T @ drows / len(rows)", "in place of a sum"),
        ("drows.sum(axis=0)", "dout.sum(axis=0)", "still be summed over"),
        ("drows.sum(axis=0)", "drows.mean(axis=0)", "in place of a sum"),
        ("drows.sum(axis=0)", "drows.sum()", "summed over axis"),
        ("drows.sum(axis=0)", "drows.sum(axis=1)", "-"),
        ("drows.sum(axis=0)", "drows", "must still be summed"),
        (" if has_bias else None", "", "was not given"),
        ("return dx, dweight, dbias", "return dx, dweight", "Return one for"),
        (
            "return dx, dweight, dbias",
            "return dweight, dx, dbias",
            "in another order than dx, dweight, dbias",
        ),
        (
            "return dx, dweight, dbias",
            "return dbias, dweight, dx",
            "in another order than",
        ),
        ("return dx, dweight, dbias", "pass", "Is there a return?"),
        ("dweight = rows.T", "drows *= 2\n    dweight = rows.T", IN_PLACE),
        ("dbias = drows", "rows += 1\n    dbias = drows", IN_PLACE),
        ("dweight = rows.T @ drows", "dweight = weight", "-"),
    ],
    "softmax": [
        ("x - x.max(axis=-1, keepdims=True)", "x", "want of subtracting"),
        (
            "x.max(axis=-1, keepdims=True)",
            "x.max()",
            "subtract the maximum of each row",
        ),
        (
            "x.max(axis=-1, keepdims=True)",
            "x.mean(axis=-1, keepdims=True)",
            "subtracting the maximum",
        ),
        ("x.max(axis=-1, keepdims=True)", "x.max(axis=-1)", BROADCAST),
        ("weights.sum(axis=-1, keepdims=True)", "weights.sum()", "all rows"),
        (
            "weights.sum(axis=-1, keepdims=True)",
            "weights.sum(axis=-1)",
            BROADCAST,
        ),
        ("sum(axis=-1", "sum(axis=-2", "sum along axis -2"),
        ("sum(axis=-1", "sum(axis=0", "sum along axis 0"),
        (
            "weights /= weights.sum",
            "weights /= 2 * weights.sum",
            "2 times too",
        ),
        ("    weights /= weights.sum(axis=-1, keepdims=True)\n", "", "not di"),
        ("np.exp(x - ", "(x - ", "lacks the exponential"),
        ("np.exp(x - x.max", "np.exp(x.max", "-"),
        ("np.exp(x", "2 ** (x", "powers of 2"),
        ("return weights, weights", "return weights", "no cache"),
        ("return weights, weights", "return np.log(weights), weights", "log"),
        (
            "    weights = np.exp",
            "    x -= x.max(axis=-1, keepdims=True)\n    weights = np.exp",
            "changed x in place",
        ),
        (
            "weights = np.exp(x - x.max(axis=-1, keepdims=True))",
            "weights = np.exp(x - x.max(axis=-1, keepdims=True), out=x)",
            "changed x in place",
        ),
        (
            "return weights, weights",
            "return weights / 0, weights",
            "NaN or infinity",
        ),
        (
            "return weights, weights",
            "return weights.tolist(), weights",
            "is a list",
        ),
        (
            "def softmax(x):\n"
            "    e = np.exp(x - x.max(axis=-2, keepdims=True))\n"
            "    p = e / e.sum(axis=-2, keepdims=True)\n"
            "    return p, p",
            "use axis=-1",
        ),
        (
            "def softmax(x):\n"
            "    e = np.exp(x - np.max(x, -1, keepdims=True))\n"
            "    return (e / e.sum(-1, keepdims=True)).astype(float), e",
            "float64 took part",
        ),
        (
            "def softmax(x):\n"
            "    total = undefined.sum()\n"
            "    return x / total, x",
            "-",
        ),
        (
            "    weights = np.exp(x - x.max(axis=-1, keepdims=True))",
            (
                "    x -= x.max(axis=-1, keepdims=True)\n"
                "    weights = np.exp(x)"
            ),
            "in place",
        ),
    ],
    "softmax_backward": [
        ("(dout - inner)", "dout", SUM),
        ("dout - inner", "dout + inner", SUM),
        ("dout - inner", "inner - dout", "wrong sign"),
        ("weights * (dout", "(dout", "in front of the bracket"),
        (
            "weights * (dout - inner)",
            "weights * (1 - weights) * dout",
            "diagonal",
        ),
        ("(dout * weights).sum(axis=-1", "dout.sum(axis=-1", SUM),
        (".sum(axis=-1", ".sum(axis=None", SUM),
        (".sum(axis=-1", ".sum(axis=-2", "-"),
        (".sum(axis=-1", ".mean(axis=-1", SUM),
        (", keepdims=True", "", BROADCAST),
        ("(dout * weights)", "(dout * weights**2)", "once too often"),
        ("return weights * (dout - inner)", "return dout", "dout unchanged"),
        ("return weights", "return 2 * weights", "2 times too large"),
        ("return weights", "return -3 * weights", "-3 times"),
        ("return weights * (dout - inner)", "pass", "Is there a return?"),
        (
            "return weights * (dout - inner)",
            "return weights * (dout - inner), None",
            "expected dx alone",
        ),
        (
            "return weights * (dout - inner)",
            "return (weights * (dout - inner),)",
            "expected dx alone",
        ),
        (
            "return weights * (dout - inner)",
            "dout -= inner\n    dout *= weights\n    return dout",
            "changed dout in place",
        ),
        (
            "return weights * (dout - inner)",
            "weights *= dout - inner\n    return weights",
            "changed an array of the cache in place",
        ),
        ("    weights = cache\n", "    x, weights = cache\n", "unpack"),
        (
            (
                "    inner = (dout * weights).sum(axis=-1, keepdims=True)\n"
                "    return weights * (dout - inner)"
            ),
            (
                "    dout -= (dout * weights).sum(axis=-1, keepdims=True)\n"
                "    dout *= weights\n"
                "    return dout"
            ),
            "in place",
        ),
    ],
    "causal_mask": [
        (
            "np.tril(np.ones((T, T), dtype=bool))",
            "np.triu(np.ones((T, T), dtype=bool))",
            "follows",
        ),
        ("dtype=bool))", "dtype=bool), 1)", "one diagonal too many"),
        ("dtype=bool))", "dtype=bool), -1)", "must see itself"),
        (
            "np.tril(np.ones((T, T), dtype=bool))",
            "np.ones((T, T), dtype=bool)",
            "hides nothing",
        ),
        ("np.tril(", "~np.tril(", "turn it over"),
        (", dtype=bool", "", "is float64, expected bool"),
        ("dtype=bool", "dtype=int", "is int64, expected bool"),
        ("ones((T, T)", "ones((T, T + 1)", "-"),
        ("return ", "", "Is there a return?"),
        (
            "np.tril(np.ones((T, T), dtype=bool))",
            "np.tril(np.ones((3, 3), dtype=bool))",
            "-",
        ),
        (
            "def causal_mask(T):\n"
            "    return np.where(np.tri(T) > 0, 0.0, -np.inf)",
            "is float64, expected bool",
        ),
    ],
    "mask_scores": [
        ("-np.inf", "-1e9", "minus infinity is wanted"),
        ("-np.inf", "-1e4", "minus infinity is wanted"),
        ("-np.inf", "np.finfo(scores.dtype).min", "is wanted"),
        ("-np.inf", "0.0", "is 0 where it is hidden"),
        ("-np.inf", "np.inf", "plus infinity"),
        ("-np.inf", "-5.0", "-"),
        ("(mask, scores", "(~mask, scores", "True = may attend"),
        ("np.where(mask, scores, -np.inf)", "scores", "without the mask"),
        ("np.where(mask, scores, -np.inf)", "scores * mask", "is 0 where"),
        ("if not mask.any(axis=-1).all()", "if False", "does not refuse"),
        ("mask.any(axis=-1)", "mask.any(axis=-2)", "-"),
        ("mask.any(axis=-1).all()", "mask.any()", "does not refuse"),
        ("mask.any(axis=-1).all()", "mask.all()", "-"),
        ("raise ValueError(", "raise TypeError(", "It raises TypeError"),
        ("raise ValueError(", "print(", "does not refuse"),
        (
            "    return np.where(mask, scores, -np.inf)",
            "    scores[~np.broadcast_to(mask, scores.shape)] = -np.inf\n"
            "    return scores",
            "changed scores in place",
        ),
        (
            "def mask_scores(scores, mask):\n"
            "    assert mask.any(axis=-1).all()\n"
            "    return np.where(mask, scores, -np.inf)",
            "It raises AssertionError",
        ),
        (
            "def mask_scores(scores, mask):\n"
            "    if not mask.any(axis=-1).all():\n"
            "        raise ValueError('nothing to attend to')\n"
            "    return np.where(mask, scores, np.float64(-np.inf))",
            "float64 took part",
        ),
        (
            (
                "def mask_scores(scores, mask):\n"
                "    return np.where(mask, scores, -np.inf)\n"
            ),
            "does not refuse",
        ),
        ("any(axis=-1)", "any(axis=0)", "-"),
    ],
    "scaled_dot_product_attention": [
        ("1.0 / math.sqrt(q.shape[-1])", "1.0", "lacks the division by"),
        ("1.0 / math.sqrt(q.shape[-1])", "1.0 / q.shape[-1]", "divided by D"),
        ("1.0 / math.sqrt", "math.sqrt", "is multiplied by"),
        ("math.sqrt(q.shape[-1])", "math.sqrt(q.shape[-2])", "root of"),
        ("math.sqrt(q.shape[-1])", "math.sqrt(k.shape[-2])", "root of"),
        ("math.sqrt(q.shape[-1])", "math.sqrt(v.shape[-1])", "width of v"),
        ("math.sqrt", "np.sqrt", "np.sqrt(number)"),
        (
            "    if mask is not None:\n"
            "        scores = mask_scores(scores, mask)\n",
            "",
            "without the mask",
        ),
        (
            "mask_scores(scores, mask)",
            "mask_scores(scores, ~mask)",
            "-",
        ),
        ("mask_scores(scores, mask)", "scores * mask", "hidden scores of 0"),
        ("mask_scores(scores, mask)", "scores + mask", "mask added"),
        (
            "mask_scores(scores, mask)",
            "np.where(mask, scores, -np.inf)",
            "does not refuse",
        ),
        (
            "mask_scores(scores, mask)",
            "np.where(mask, scores, -1e9)",
            "does not refuse",
        ),
        (
            "        scores = mask_scores(scores, mask)\n"
            "    weights, _ = softmax(scores)\n",
            "        pass\n"
            "    weights, _ = softmax(scores)\n"
            "    if mask is not None:\n"
            "        weights = weights * mask\n",
            "masked after the softmax",
        ),
        (
            "weights, _ = softmax(scores)",
            "weights = scores",
            "lacks the softmax|NaN or infinity",
        ),
        (
            "softmax(scores)",
            "softmax(scores.swapaxes(-1, -2))",
            "scores transposed",
        ),
        ("weights, _ = softmax(scores)", "weights = softmax(scores)", "-"),
        ("return weights @ v", "return weights @ k", "mixes k"),
        ("return weights @ v", "return v", "-"),
        ("return weights @ v", "return weights", "-"),
        (
            "return weights @ v",
            "return weights.swapaxes(-1, -2) @ v",
            "weights transposed|a transpose too many",
        ),
        ("q @ k.swapaxes(-1, -2)", "q @ k", "a transpose is missing"),
        (
            "q @ k.swapaxes(-1, -2)",
            "k @ q.swapaxes(-1, -2)",
            "scores transposed",
        ),
        (
            "(q, k, v, weights, scale)",
            "(k, q, v, weights, scale)",
            "each other's place",
        ),
        (
            "(q, k, v, weights, scale)",
            "(q, k, v, scores, scale)",
            "-|NaN or infinity",
        ),
        ("v, (q, k, v, weights, scale)", "v, None", "unpack"),
        (
            "    scores = (q",
            "    q *= 1.0 / scale\n    scores = (q",
            "lacks the division",
        ),
        (
            "    scores = (q",
            "    q *= scale\n    scale = 1.0\n    scores = (q",
            "changed q in place",
        ),
        (
            "    if mask is not None:",
            "    if mask:",
            "-",
        ),
        (
            (
                "    if mask is not None:\n"
                "        scores = mask_scores(scores, mask)\n"
                "    weights, _ = softmax(scores)\n"
            ),
            (
                "    weights, _ = softmax(scores)\n"
                "    if mask is not None:\n"
                "        weights = weights * mask\n"
            ),
            "is masked after the softmax",
        ),
        (" * scale  #", "  #", "lacks the division by the square root of D"),
        (
            "        scores = mask_scores(scores, mask)",
            "        pass",
            "is what it would be without the mask",
        ),
    ],
    "scaled_dot_product_attention_backward": [
        ("weights.swapaxes(-1, -2) @ dout", "weights @ dout", TRANSPOSE),
        (
            "dq = (dscores @ k)",
            "dq = (dscores.swapaxes(-1, -2) @ k)",
            TRANSPOSE,
        ),
        ("dscores.swapaxes(-1, -2) @ q", "dscores @ q", TRANSPOSE),
        (
            "dscores.swapaxes(-1, -2) @ q",
            "q.swapaxes(-1, -2) @ dscores",
            "transpose of what",
        ),
        ("dq = (dscores @ k)", "dq = (dscores @ q)", "needs k"),
        (
            "dscores.swapaxes(-1, -2) @ q",
            "dscores.swapaxes(-1, -2) @ k",
            "needs q",
        ),
        ("(dscores @ k) * scale", "dscores @ k", "square root of the"),
        ("weights)\n", "weights) / scale\n", "lacks the scale"),
        ("weights)\n", "weights) * scale\n", "scale twice"),
        ("weights)\n", "weights) / scale**2\n", "divided by the scale"),
        (
            "softmax_backward(dweights, weights)",
            "dweights",
            "lacks softmax_backward",
        ),
        (
            "softmax_backward(dweights, weights)",
            "dweights / scale",
            "lacks softmax_backward",
        ),
        (
            "softmax_backward(dweights, weights)",
            "dweights * weights",
            "lacks the sum",
        ),
        (
            "softmax_backward(dweights, weights)",
            "dweights * weights * (1 - weights)",
            "diagonal",
        ),
        (
            "softmax_backward(dweights, weights)",
            "softmax_backward(weights, weights)",
            "not of dweights",
        ),
        (
            "softmax_backward(dweights, weights)",
            "softmax_backward(weights, dweights)",
            "-",
        ),
        ("return dq, dk, dv", "return dk, dq, dv", "have changed places"),
        ("return dq, dk, dv", "return dv, dk, dq", "have changed places"),
        ("return dq, dk, dv", "return dv, dv, dv", "is what dv should be"),
        ("return dq, dk, dv", "return dq, dk", "Return one for each"),
        ("return dq, dk, dv", "return dq, dk, dv, None, None", "-"),
        ("dout @ v.swapaxes(-1, -2)", "dout @ v", "a transpose is missing"),
        (
            "dv = weights.swapaxes(-1, -2) @ dout",
            "dv = dout",
            "dout unchanged",
        ),
        (
            "dq = (dscores @ k)",
            "dscores *= 1.5\n    dq = (dscores @ k)",
            "1.5 times",
        ),
        ("dq = (dscores @ k)", "k *= 2\n    dq = (dscores @ k)", IN_PLACE),
        (
            "q, k, v, weights, scale = cache",
            "q, k, v, weights = cache",
            "unpack",
        ),
        (
            (
                "    dq = (dscores @ k) * scale  # (..., T, D)\n"
                "    dk = (dscores.swapaxes(-1, -2) @ q)"
            ),
            (
                "    dk = (dscores @ k) * scale  # (..., T, D)\n"
                "    dq = (dscores.swapaxes(-1, -2) @ q)"
            ),
            "and dk have changed places",
        ),
    ],
    "split_heads": [
        (".swapaxes(1, 2)", "", "axes 1 and 2 have changed places"),
        (
            "x.reshape(B, T, n_heads, C // n_heads).swapaxes(1, 2)",
            "x.reshape(B, n_heads, T, C // n_heads)",
            "reshape where a transpose",
        ),
        (
            "n_heads, C // n_heads).swapaxes(1, 2)",
            "C // n_heads, n_heads).transpose(0, 3, 1, 2)",
            "every H-th channel",
        ),
        ("swapaxes(1, 2)", "swapaxes(2, 3)", "-"),
        ("swapaxes(1, 2)", "swapaxes(0, 1)", "-"),
        ("swapaxes(1, 2), None", "swapaxes(1, 2)", "no cache"),
        ("C // n_heads", "C / n_heads", "-"),
        ("x.reshape(B, T, n_heads", "x.reshape(B, T, 4", "-"),
        ("    return", "    x *= 2\n    return", "2 times too large"),
    ],
    "split_heads_backward": [
        ("merge_heads(dout)[0]", "merge_heads(dout)", "expected dx alone"),
        ("merge_heads(dout)[0]", "dout", "-"),
        (
            "merge_heads(dout)[0]",
            "dout.reshape(dout.shape[0], dout.shape[2], -1)",
            "reshape where a transpose",
        ),
        (
            "merge_heads(dout)[0]",
            "dout.transpose(0, 2, 3, 1).reshape(len(dout), dout.shape[2], -1)",
            "mixed",
        ),
        (
            "return merge_heads(dout)[0]",
            "return merge_heads(dout)[0], None",
            "expected dx alone",
        ),
        (
            "return merge_heads(dout)[0]",
            "merge_heads(dout)[0]",
            "Is there a return?",
        ),
        ("merge_heads(dout)[0]", "-merge_heads(dout)[0]", "wrong sign"),
    ],
    "merge_heads": [
        (".swapaxes(1, 2)", "", "reshape where a transpose"),
        (
            "x.swapaxes(1, 2)",
            "x.transpose(0, 2, 3, 1)",
            "channels of the heads mixed",
        ),
        ("B, T, H * D", "B, H * D, T", "changed places"),
        (".reshape(B, T, H * D)", "", "right numbers"),
        ("H * D), H", "H * D)", "no cache"),
        ("H * D), H", "H * D), D", "-"),
        ("H * D), H", "H * D), None", "-"),
        ("x.swapaxes(1, 2)", "(x * 2).swapaxes(1, 2)", "2 times too large"),
    ],
    "merge_heads_backward": [
        (
            "split_heads(dout, cache)[0]",
            "split_heads(dout, cache)",
            "expected dx alone",
        ),
        (
            "split_heads(dout, cache)[0]",
            "split_heads(dout, cache)[0], None",
            "expected dx alone",
        ),
        (
            "split_heads(dout, cache)[0]",
            "dout.reshape(dout.shape[0], cache, dout.shape[1], -1)",
            "reshape where a transpose",
        ),
        (
            "split_heads(dout, cache)[0]",
            "dout.reshape(*dout.shape[:2], cache, -1)",
            "axes 1 and 2 have",
        ),
        ("return split", "split", "Is there a return?"),
        ("split_heads(dout, cache)[0]", "split_heads(dout, 4)[0]", "-"),
        ("split_heads(dout, cache)[0]", "dout", "-"),
    ],
    "multi_head_attention": [
        ("if x.shape[-1] % n_heads:", "if False:", "does not refuse"),
        (
            "if x.shape[-1] % n_heads:",
            "if n_heads % x.shape[-1]:",
            "-",
        ),
        ("q, k, v = np.split", "k, q, v = np.split", "another order"),
        ("q, k, v = np.split", "v, k, q = np.split", "another order"),
        (
            "split_heads(qkv, 3 * n_heads)",
            "split_heads(qkv, n_heads)",
            "-|single head",
        ),
        ("np.split(parts, 3, axis=1)", "np.split(parts, 3, axis=-1)", "-"),
        (
            "np.split(parts, 3, axis=1)",
            "parts[:, 0::3], parts[:, 1::3], parts[:, 2::3]",
            "in turn",
        ),
        ("(q, k, v, mask)", "(q, k, v)", "without the mask"),
        (
            "(q, k, v, mask)",
            "(q, k, v, ~mask if mask is not None else None)",
            "-",
        ),
        (
            'out, cache["out"] = linear(merged, **params["out"])',
            "out = merged",
            "lacks the last linear map",
        ),
        ("    return out, cache", "    return out + x, cache", "lesson 03"),
        (
            'linear(merged, **params["out"])',
            'linear(merged, params["out"]["weight"])',
            "lacks the bias of the last",
        ),
        (
            'linear(x, **params["qkv"])',
            'linear(x, params["qkv"]["weight"])',
            "lacks the bias of qkv",
        ),
        (
            'linear(x, **params["qkv"])',
            'linear(x, params["qkv"]["weight"], params["qkv"]["bias"])',
            "-",
        ),
        (
            'merged, cache["merge"] = merge_heads(heads)',
            'merged, cache["merge"] = heads.reshape(x.shape), n_heads',
            "reshaped, not merged",
        ),
        ("    return out, cache", "    return out", "no cache"),
        ("    return out, cache", "    return out, None", "-"),
        (
            'cache["merge"] = merge_heads(heads)',
            'cache["join"] = merge_heads(heads)',
            "-",
        ),
    ],
    "multi_head_attention_backward": [
        (
            "np.concatenate(dq_dk_dv, axis=1)",
            "np.concatenate(dq_dk_dv[::-1], axis=1)",
            "another order",
        ),
        (
            "np.concatenate(dq_dk_dv, axis=1)",
            "np.concatenate(dq_dk_dv, axis=-1)",
            "in the wrong places",
        ),
        (
            "np.concatenate(dq_dk_dv, axis=1)",
            "np.concatenate([dq_dk_dv[0]] * 3, axis=1)",
            "stands for all 3",
        ),
        (
            "np.concatenate(dq_dk_dv, axis=1)",
            "np.concatenate((dq_dk_dv[1], dq_dk_dv[0], dq_dk_dv[2]), axis=1)",
            "another order",
        ),
        ("return dx, {", "return {", "Return one for"),
        (
            'return dx, {"qkv": qkv_grads, "out": out_grads}',
            'return {"qkv": qkv_grads, "out": out_grads}, dx',
            "in another order than dx, dparams",
        ),
        (
            '{"qkv": qkv_grads, "out": out_grads}',
            '{"qkv": out_grads, "out": qkv_grads}',
            "-",
        ),
        (
            '{"qkv": qkv_grads, "out": out_grads}',
            '{"qkv": qkv_grads}',
            "has no gradient",
        ),
        (
            '{"qkv": qkv_grads, "out": out_grads}',
            '{"qkv": qkv_grads, "out": out_grads, "x": dx}',
            "is no parameter",
        ),
        (
            'merge_heads_backward(dmerged, cache["merge"])',
            'dmerged.reshape(len(dout), cache["merge"], dout.shape[1], -1)',
            "-",
        ),
        (
            "split_heads_backward(dparts, None)",
            "dparts.reshape(dmerged.shape[0], dmerged.shape[1], -1)",
            "-",
        ),
        ("return dx, {", "return dx + dout, {", "has dout added"),
        (
            'linear_grads(dqkv, cache["qkv"])',
            'linear_grads(dqkv, cache["out"])',
            "a transpose is missing",
        ),
        (
            'dmerged, out_grads = linear_grads(dout, cache["out"])',
            '_, out_grads = linear_grads(dout, cache["out"])\n'
            "    dmerged = dout",
            "-",
        ),
    ],
    "linear_grads": [
        (
            '    if dbias is not None:\n        grads["bias"] = dbias\n',
            "",
            "lacks 'bias'",
        ),
        (
            "    if dbias is not None:\n        grads",
            "    if True:\n        grads",
            "'bias', which is too much",
        ),
        ("return dx, grads", "return grads, dx", "-"),
        ("return dx, grads", "return grads", "-"),
        ('"weight": dweight', '"weight": dweight.T', "-"),
        ('"weight": dweight', '"dweight": dweight', "lacks 'weight'"),
        ("return dx, grads", "return dx, dweight, dbias", "has 3 parts"),
        ("return dx, grads", "pass", "Is there a return?"),
        (
            ('    if dbias is not None:\n        grads["bias"] = dbias\n'),
            '    grads["bias"] = dbias\n',
            "-",
        ),
    ],
    "window_mask": [
        (
            "causal_mask(T) & ~too_old",
            "(causal_mask(T) & ~too_old).astype(int)",
            "expected bool",
        ),
        (
            "causal_mask(T) & ~too_old",
            "(causal_mask(T) & ~too_old) * 1.0",
            "expected bool",
        ),
        ("dtype=bool), -w)", "dtype=bool), -3)", "-"),
        ("dtype=bool), -w)", "dtype=bool), -w - 1)", "shows w + 1 positions"),
        ("dtype=bool), -w)", "dtype=bool), -w + 1)", "shows w - 1 positions"),
        ("causal_mask(T) & ~too_old", "~too_old", "is not causal"),
        (
            "causal_mask(T) & ~too_old",
            "causal_mask(T) | ~too_old",
            "has or where and is wanted",
        ),
        (
            "return causal_mask(T) & ~too_old",
            "too_old & 1",
            "Is there a return?",
        ),
        (
            "return causal_mask(T) & ~too_old",
            "return (causal_mask(T) & ~too_old).astype(float)",
            "-",
        ),
    ],
}

RIGHT = {
    "linear": [
        "def linear(x, weight, bias=None):\n"
        "    out = x @ weight\n"
        "    if bias is not None:\n"
        "        out = out + bias\n"
        "    return out, (x, weight, bias is not None)",
        "def linear(x, weight, bias=None):\n"
        "    out = np.einsum('...m,mn->...n', x, weight)\n"
        "    cache = {'x': x, 'w': weight, 'bias': bias}\n"
        "    return (out if bias is None else out + bias), cache\n\n\n"
        "def linear_backward(dout, cache):\n"
        "    x, w = cache['x'], cache['w']\n"
        "    axes = list(range(x.ndim - 1))\n"
        "    dw = np.tensordot(x, dout, (axes, axes))\n"
        "    if cache['bias'] is None:\n"
        "        return dout @ w.T, dw\n"
        "    return dout @ w.T, dw, dout.reshape(-1, w.shape[1]).sum(0)",
        "def linear(x, weight, bias=None):\n"
        "    out = np.tensordot(x, weight, axes=1)\n"
        "    out += 0 if bias is None else bias\n"
        "    return out, (x, weight, bias is not None)",
        "def linear(x, weight, bias=None):\n"
        "    rows = x.reshape(-1, len(weight))\n"
        "    out = np.stack([row @ weight for row in rows])\n"
        "    out = out if bias is None else out + bias\n"
        "    shape = (*x.shape[:-1], weight.shape[1])\n"
        "    return out.reshape(shape), (x, weight, bias is not None)",
    ],
    "linear_backward": [
        LINEAR_BACKWARD + "    return [dx, dweight, dbias]",
        LINEAR_BACKWARD + "    return (dx, dweight, dbias)",
        LINEAR_BACKWARD + "    if not has_bias:\n        return dx, dweight\n"
        "    return dx, dweight, dbias",
        "def linear_backward(dout, cache):\n"
        "    x, w, has_bias = cache\n"
        "    axes = tuple(range(dout.ndim - 1))\n"
        "    dw = np.tensordot(x, dout, (axes, axes))\n"
        "    return dout @ w.T, dw, dout.sum(axis=axes) if has_bias else None",
        "def linear_backward(dout, cache):\n"
        "    x, w, has_bias = cache\n"
        "    dw, db = np.zeros_like(w), np.zeros_like(w[0])\n"
        "    rows = x.reshape(-1, len(w))\n"
        "    for row, drow in zip(rows, dout.reshape(-1, len(db))):\n"
        "        dw += np.outer(row, drow)\n"
        "        db += drow\n"
        "    return dout @ w.T, dw, db if has_bias else None",
    ],
    "softmax": [
        "def softmax(x):\n"
        "    x = x - x.max(axis=-1, keepdims=True)\n"
        "    e = np.exp(x)\n"
        "    p = e / e.sum(axis=-1, keepdims=True)\n"
        "    return p, p",
        "def softmax(x):\n"
        "    e = np.exp(x - x.max(-1)[..., None])\n"
        "    p = e / e.sum(-1)[..., None]\n"
        "    return p, {'p': p}\n\n\n"
        "def softmax_backward(dout, cache):\n"
        "    p = cache['p']\n"
        "    return p * (dout - (dout * p).sum(-1)[..., None])",
        "def softmax(x):\n"
        "    e = np.exp(x - x.max(axis=-1, keepdims=True))\n"
        "    p = e / e.sum(axis=-1, keepdims=True)\n"
        "    return p, x\n\n\n"
        "def softmax_backward(dout, cache):\n"
        "    p, _ = softmax(cache)\n"
        "    return p * (dout - (dout * p).sum(axis=-1, keepdims=True))",
        "def softmax(x):\n"
        "    wide = x.astype(np.float64)\n"
        "    e = np.exp(wide - wide.max(axis=-1, keepdims=True))\n"
        "    p = (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)\n"
        "    return p, p",
        "def softmax(x):\n"
        "    z = x - np.max(x, axis=-1, keepdims=True)\n"
        "    log = np.log(np.exp(z).sum(axis=-1, keepdims=True))\n"
        "    p = np.exp(z - log)\n"
        "    return p, p",
        "from dataclasses import dataclass\n\n\n"
        "@dataclass\n"
        "class Cache:\n"
        "    p: object\n\n\n"
        "def softmax(x):\n"
        "    rows = x.reshape(-1, x.shape[-1])\n"
        "    p = np.empty_like(rows)\n"
        "    for i, row in enumerate(rows):\n"
        "        e = np.exp(row - max(row))\n"
        "        p[i] = e / sum(e)\n"
        "    p = p.reshape(x.shape)\n"
        "    return p, Cache(p)\n\n\n"
        "def softmax_backward(dout, cache):\n"
        "    inner = (dout * cache.p).sum(axis=-1, keepdims=True)\n"
        "    return cache.p * dout - cache.p * inner",
        (
            "def softmax(x):\n"
            "    e = np.exp(x - x.max(axis=-1, keepdims=True))\n"
            "    return e / e.sum(axis=-1, keepdims=True), x\n"
            "\n"
            "\n"
            "def softmax_backward(dout, cache):\n"
            "    p, _ = softmax(cache)\n"
            "    return p * (dout - (dout * p).sum(axis=-1, "
            "keepdims=True))\n"
        ),
    ],
    "softmax_backward": [
        "def softmax_backward(dout, cache):\n"
        "    g = dout * cache\n"
        "    return g - cache * g.sum(axis=-1, keepdims=True)",
        "def softmax_backward(dout, cache):\n"
        "    inner = np.einsum('...n,...n->...', dout, cache)\n"
        "    return cache * (dout - inner[..., None])",
        "def softmax_backward(dout, cache):\n"
        "    p = cache\n"
        "    eye = np.eye(p.shape[-1], dtype=p.dtype)\n"
        "    jacobian = p[..., :, None] * (eye - p[..., None, :])\n"
        "    return np.einsum('...i,...ij->...j', dout, jacobian)",
        "def softmax_backward(dout, cache):\n"
        "    dx = dout.copy()\n"
        "    dx -= (dout * cache).sum(axis=-1, keepdims=True)\n"
        "    dx *= cache\n"
        "    return dx",
        "def softmax_backward(dp, p):\n"
        "    return p * (dp - np.sum(p * dp, -1, keepdims=True))",
    ],
    "causal_mask": [
        "def causal_mask(T):\n    return np.tri(T, dtype=bool)",
        "def causal_mask(T):\n"
        "    i = np.arange(T)\n"
        "    return i[:, None] >= i",
        "def causal_mask(T):\n"
        "    mask = np.zeros((T, T), dtype=bool)\n"
        "    for i in range(T):\n"
        "        mask[i, : i + 1] = True\n"
        "    return mask",
        "def causal_mask(T):\n"
        "    return ~np.triu(np.ones((T, T), dtype=bool), k=1)",
    ],
    "mask_scores": [
        "def mask_scores(scores, mask):\n"
        "    if (~mask).all(axis=-1).any():\n"
        "        raise ValueError('a row of the mask is empty')\n"
        "    return np.where(mask, scores, -np.inf)",
        "def mask_scores(scores, mask):\n"
        "    if not np.all(mask.sum(axis=-1)):\n"
        "        raise ValueError('nothing to attend to')\n"
        "    out = scores.copy()\n"
        "    out[~np.broadcast_to(mask, out.shape)] = -np.inf\n"
        "    return out",
        "def empty(mask):\n"
        "    return not mask.any(axis=-1).all()\n\n\n"
        "def mask_scores(scores, mask):\n"
        "    if empty(mask):\n"
        "        raise ValueError('every row needs a key')\n"
        "    hidden = np.full_like(scores, -np.inf)\n"
        "    return np.where(mask, scores, hidden)",
        "def mask_scores(scores, mask):\n"
        "    out = np.where(mask, scores, float('-inf'))\n"
        "    if np.isneginf(out.max(axis=-1)).any():\n"
        "        raise ValueError('a query sees nothing')\n"
        "    return out",
    ],
    "scaled_dot_product_attention": [
        "def scaled_dot_product_attention(q, k, v, mask=None):\n"
        "    scale = q.shape[-1] ** -0.5\n"
        "    scores = np.einsum('...td,...sd->...ts', q, k) * scale\n"
        "    if mask is not None:\n"
        "        scores = mask_scores(scores, mask)\n"
        "    weights, _ = softmax(scores)\n"
        "    out = np.einsum('...ts,...sd->...td', weights, v)\n"
        "    return out, (q, k, v, weights, scale)",
        "def scaled_dot_product_attention(q, k, v, mask=None):\n"
        "    root = math.sqrt(q.shape[-1])\n"
        "    scores = (q / root) @ np.swapaxes(k, -1, -2)\n"
        "    if mask is not None:\n"
        "        scores = mask_scores(scores, mask)\n"
        "    weights = softmax(scores)[0]\n"
        "    return weights @ v, (q, k, v, weights, 1 / root)",
        "def scaled_dot_product_attention(q, k, v, mask=None):\n"
        "    scale = 1 / float(np.sqrt(q.shape[-1]))\n"
        "    scores = q @ k.swapaxes(-1, -2) * scale\n"
        "    if mask is not None:\n"
        "        if not mask.any(axis=-1).all():\n"
        "            raise ValueError('an empty row')\n"
        "        scores = np.where(mask, scores, -1e30)\n"
        "    e = np.exp(scores - scores.max(axis=-1, keepdims=True))\n"
        "    p = e / e.sum(axis=-1, keepdims=True)\n"
        "    return p @ v, {'q': q, 'k': k, 'v': v, 'p': p, 'scale': scale}"
        "\n\n\n"
        "def scaled_dot_product_attention_backward(dout, cache):\n"
        "    q, k, v = cache['q'], cache['k'], cache['v']\n"
        "    p = cache['p']\n"
        "    ds = softmax_backward(dout @ v.swapaxes(-1, -2), p)\n"
        "    ds = ds * cache['scale']\n"
        "    return ds @ k, ds.swapaxes(-1, -2) @ q, "
        "p.swapaxes(-1, -2) @ dout",
    ],
    "scaled_dot_product_attention_backward": [
        "def scaled_dot_product_attention_backward(dout, cache):\n"
        "    q, k, v, p, scale = cache\n"
        "    dv = np.einsum('...ts,...td->...sd', p, dout)\n"
        "    dp = np.einsum('...td,...sd->...ts', dout, v)\n"
        "    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True)) * scale\n"
        "    dk = np.einsum('...ts,...td->...sd', ds, q)\n"
        "    return np.einsum('...ts,...sd->...td', ds, k), dk, dv",
        "def scaled_dot_product_attention_backward(dout, cache):\n"
        "    q, k, v, p, scale = cache\n"
        "    dv = np.swapaxes(p, -1, -2) @ dout\n"
        "    ds = softmax_backward(dout @ np.swapaxes(v, -1, -2), p)\n"
        "    dq = ds @ (k * scale)\n"
        "    dk = np.swapaxes(ds, -1, -2) @ (q * scale)\n"
        "    return dq, dk, dv",
        "def scaled_dot_product_attention_backward(dout, cache):\n"
        "    q, k, v, p, scale = cache\n"
        "    delta = (dout * (p @ v)).sum(axis=-1, keepdims=True)\n"
        "    ds = p * (dout @ v.swapaxes(-1, -2) - delta) * scale\n"
        "    return (\n"
        "        ds @ k,\n"
        "        (q.swapaxes(-1, -2) @ ds).swapaxes(-1, -2),\n"
        "        (dout.swapaxes(-1, -2) @ p).swapaxes(-1, -2),\n"
        "    )",
    ],
    "split_heads": [
        "def split_heads(x, n_heads):\n"
        "    B, T, C = x.shape\n"
        "    x = x.reshape(B, T, n_heads, -1)\n"
        "    return x.transpose(0, 2, 1, 3), (B, T, C)",
        "def split_heads(x, n_heads):\n"
        "    return np.stack(np.split(x, n_heads, axis=-1), axis=1), None",
        "def split_heads(x, n_heads):\n"
        "    B, T, C = x.shape\n"
        "    D = C // n_heads\n"
        "    out = np.empty((B, n_heads, T, D), x.dtype)\n"
        "    for h in range(n_heads):\n"
        "        out[:, h] = x[..., h * D : (h + 1) * D]\n"
        "    return out, n_heads",
    ],
    "split_heads_backward": [
        "def split_heads_backward(dout, cache):\n"
        "    B, H, T, D = dout.shape\n"
        "    return dout.swapaxes(1, 2).reshape(B, T, H * D)",
        "def split_heads_backward(dout, cache):\n"
        "    return np.concatenate(list(dout.swapaxes(0, 1)), axis=-1)",
        "def split_heads_backward(dout, cache):\n"
        "    dx, _ = merge_heads(dout)\n"
        "    return dx",
    ],
    "merge_heads": [
        "def merge_heads(x):\n"
        "    B, H, T, D = x.shape\n"
        "    return x.transpose(0, 2, 1, 3).reshape(B, T, -1), x.shape[1]",
        "def merge_heads(x):\n"
        "    heads = [x[:, h] for h in range(x.shape[1])]\n"
        "    return np.concatenate(heads, axis=-1), x.shape[1]",
        "def merge_heads(x):\n"
        "    B, H, T, D = x.shape\n"
        "    return x.swapaxes(1, 2).reshape(B, T, H * D), x.shape\n\n\n"
        "def merge_heads_backward(dout, cache):\n"
        "    B, H, T, D = cache\n"
        "    return dout.reshape(B, T, H, D).swapaxes(1, 2)",
    ],
    "merge_heads_backward": [
        "def merge_heads_backward(dout, cache):\n"
        "    dx, _ = split_heads(dout, cache)\n"
        "    return dx",
        "def merge_heads_backward(dout, cache):\n"
        "    B, T, C = dout.shape\n"
        "    return dout.reshape(B, T, cache, -1).transpose(0, 2, 1, 3)",
        "def merge_heads_backward(dout, cache):\n"
        "    return np.stack(np.split(dout, cache, axis=2), axis=1)",
    ],
    "multi_head_attention": [
        "def multi_head_attention(x, params, n_heads, mask=None):\n"
        "    if x.shape[-1] % n_heads != 0:\n"
        "        raise ValueError('n_heads must divide C')\n"
        "    qkv, c1 = linear(x, **params['qkv'])\n"
        "    q, k, v = np.split(qkv, 3, axis=-1)\n"
        "    q, k, v = (split_heads(a, n_heads)[0] for a in (q, k, v))\n"
        "    heads, c2 = scaled_dot_product_attention(q, k, v, mask)\n"
        "    merged, c3 = merge_heads(heads)\n"
        "    out, c4 = linear(merged, **params['out'])\n"
        "    cache = {'qkv': c1, 'heads': c2, 'merge': c3, 'out': c4}\n"
        "    return out, cache",
        "def multi_head_attention(x, params, n_heads, mask=None):\n"
        "    C = x.shape[-1]\n"
        "    if C // n_heads * n_heads != C:\n"
        "        raise ValueError(f'{n_heads} does not divide {C}')\n"
        "    qkv, c1 = linear(x, **params['qkv'])\n"
        "    parts, _ = split_heads(qkv, 3 * n_heads)\n"
        "    H = n_heads\n"
        "    q, k, v = parts[:, :H], parts[:, H : 2 * H], parts[:, 2 * H :]\n"
        "    heads, c2 = scaled_dot_product_attention(q, k, v, mask=mask)\n"
        "    merged, c3 = merge_heads(heads)\n"
        "    out, c4 = linear(merged, **params['out'])\n"
        "    return out, dict(qkv=c1, heads=c2, merge=c3, out=c4)",
        "def multi_head_attention(x, params, n_heads, mask=None):\n"
        "    if x.shape[-1] % n_heads:\n"
        "        raise ValueError('n_heads must divide C')\n"
        "    B, T, C = x.shape\n"
        "    D = C // n_heads\n"
        "    qkv, c1 = linear(x, **params['qkv'])\n"
        "    parts = qkv.reshape(B, T, 3, n_heads, D)\n"
        "    q, k, v = parts.transpose(2, 0, 3, 1, 4)\n"
        "    heads, c2 = scaled_dot_product_attention(q, k, v, mask)\n"
        "    merged, c3 = merge_heads(heads)\n"
        "    out, c4 = linear(merged, **params['out'])\n"
        "    return out, (c1, c2, c3, c4)\n\n\n"
        "def multi_head_attention_backward(dout, cache):\n"
        "    c1, c2, c3, c4 = cache\n"
        "    dmerged, dout_params = linear_grads(dout, c4)\n"
        "    dheads = merge_heads_backward(dmerged, c3)\n"
        "    dqkv = scaled_dot_product_attention_backward(dheads, c2)\n"
        "    flat = [merge_heads(d)[0] for d in dqkv]\n"
        "    dx, dqkv_params = linear_grads(np.concatenate(flat, -1), c1)\n"
        "    return dx, {'out': dout_params, 'qkv': dqkv_params}",
    ],
    "multi_head_attention_backward": [
        "def multi_head_attention_backward(dout, cache):\n"
        "    grads = {}\n"
        "    d, grads['out'] = linear_grads(dout, cache['out'])\n"
        "    d = merge_heads_backward(d, cache['merge'])\n"
        "    d = scaled_dot_product_attention_backward(d, cache['heads'])\n"
        "    d = split_heads_backward(np.concatenate(d, axis=1), None)\n"
        "    d, grads['qkv'] = linear_grads(d, cache['qkv'])\n"
        "    return d, grads",
        "def multi_head_attention_backward(dout, cache):\n"
        "    dmerged, dout_p = linear_grads(dout, cache['out'])\n"
        "    dheads = merge_heads_backward(dmerged, cache['merge'])\n"
        "    parts = scaled_dot_product_attention_backward(\n"
        "        dheads, cache['heads']\n"
        "    )\n"
        "    dqkv = np.concatenate([merge_heads(p)[0] for p in parts], -1)\n"
        "    dx, dqkv_p = linear_grads(dqkv, cache['qkv'])\n"
        "    return [dx, {'qkv': dqkv_p, 'out': dout_p}]",
        "def multi_head_attention_backward(dout, cache):\n"
        "    dmerged, dw, db = linear_backward(dout, cache['out'])\n"
        "    dheads = merge_heads_backward(dmerged, cache['merge'])\n"
        "    dq, dk, dv = scaled_dot_product_attention_backward(\n"
        "        dheads, cache['heads']\n"
        "    )\n"
        "    dparts = np.concatenate((dq, dk, dv), axis=1)\n"
        "    dqkv = merge_heads(dparts)[0]\n"
        "    dx, dw2, db2 = linear_backward(dqkv, cache['qkv'])\n"
        "    out, qkv = {'weight': dw}, {'weight': dw2}\n"
        "    if db is not None:\n"
        "        out['bias'] = db\n"
        "    if db2 is not None:\n"
        "        qkv['bias'] = db2\n"
        "    return dx, {'qkv': qkv, 'out': out}",
    ],
    "linear_grads": [
        "def linear_grads(dout, cache):\n"
        "    dx, *rest = linear_backward(dout, cache)\n"
        "    pairs = zip(('weight', 'bias'), rest)\n"
        "    return dx, {n: g for n, g in pairs if g is not None}",
        "def linear_grads(dout, cache):\n"
        "    dx, dw, db = linear_backward(dout, cache)\n"
        "    if db is None:\n"
        "        return dx, {'weight': dw}\n"
        "    return dx, {'weight': dw, 'bias': db}",
        "def linear_grads(dout, cache):\n"
        "    dx, dw, db = linear_backward(dout, cache)\n"
        "    return dx, {'weight': dw} | ({} if db is None else {'bias': db})",
    ],
    "window_mask": [
        "def window_mask(T, w):\n"
        "    i, j = np.indices((T, T))\n"
        "    return (j <= i) & (j > i - w)",
        "def window_mask(T, w):\n"
        "    return np.tri(T, dtype=bool) ^ np.tri(T, k=-w, dtype=bool)",
        "def window_mask(T, w):\n"
        "    rows = [[i - w < j <= i for j in range(T)] for i in range(T)]\n"
        "    return np.array(rows)",
    ],
}

SOLUTIONS = {
    "window_mask": '''\
def window_mask(T, w):
    """Return the (T, T) mask in which row i sees columns i-w+1..i."""
    too_old = np.tril(np.ones((T, T), dtype=bool), -w)
    return causal_mask(T) & ~too_old
''',
}


def judge_window_mask(window_mask):
    """Call the exercise as its cell does."""
    expected = causal_mask(5)
    expected[3:, 0] = expected[4, 1] = False
    check_value(window_mask, expected, 5, 3)
    check_value(window_mask, np.eye(4, dtype=bool), 4, 1)


JUDGES = {"window_mask": judge_window_mask}


def calls():
    """Return the lesson's check_backward calls, as its cells make them."""
    rng = np.random.default_rng(1)
    B, T, H, D = 2, 5, 3, 4
    C = H * D

    def random_linear(M, N):
        return {"weight": rng.normal(size=(M, N)), "bias": rng.normal(size=N)}

    x, qkv = rng.normal(size=(B, T, C)), rng.normal(size=(3, B, H, T, D))
    params = {"qkv": random_linear(C, 3 * C), "out": random_linear(C, C)}
    weight, bias = rng.normal(size=(C, 7)), rng.normal(size=7)
    arrays = {
        "softmax": (rng.normal(size=(2, 5, 7)),),
        "scaled_dot_product_attention": (*qkv, causal_mask(T)),
        "linear": (x, weight, bias),
        "split_heads": (x, H),
        "merge_heads": (qkv[0],),
        "multi_head_attention": (x, params, H, causal_mask(T)),
    }
    return {op: (getattr(torch_ops, op), a, {}) for op, a in arrays.items()}


CALLS = calls()
