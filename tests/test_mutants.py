"""The checks fail when they should: every deliberate mistake is caught.

Each line of the tables is one mistake: a function, a fragment of its source,
what to put in its place, and why somebody might write that. The module is
rebuilt with the mistake, so its own callers use it, and one of the very calls
that test_gradients.py or test_training.py makes on the real code must now
raise AssertionError.
"""

import inspect
from types import ModuleType

import pytest
from test_gradients import CHECKS, prove
from test_training import PROOFS

from helpers import (
    attention,
    embeddings,
    language_model,
    training,
    transformer_block,
)

# a broken softmax may well overflow on the way
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ATTENTION = [
    ("linear", "out += bias", "pass", "bias forgotten"),
    ("linear_backward", "dx = (drows", "dx = -(drows", "wrong sign"),
    (
        "linear_backward",
        "rows.T @ drows",
        "rows.T @ drows / len(rows)",
        "mean over rows instead of sum",
    ),
    (
        "linear_backward",
        "drows.sum(axis=0)",
        "dout.sum(axis=0)",
        "bias summed over the batch but not the positions",
    ),
    (
        "linear_backward",
        "drows.sum(axis=0)",
        "drows.mean(axis=0)",
        "mean of the bias gradient",
    ),
    (
        "linear_backward",
        " if has_bias else None",
        "",
        "gradient of a bias that is not there",
    ),
    (
        "softmax",
        "x - x.max(axis=-1, keepdims=True)",
        "x",
        "overflow: maximum not subtracted",
    ),
    (
        "softmax",
        "weights.sum(axis=-1",
        "weights.sum(axis=-2",
        "columns sum to 1 instead of rows",
    ),
    ("softmax_backward", "(dout - inner)", "dout", "second term missing"),
    ("softmax_backward", "dout - inner", "dout + inner", "wrong sign"),
    (
        "softmax_backward",
        "weights * (dout - inner)",
        "weights * (1 - weights) * dout",
        "only the diagonal of the Jacobian",
    ),
    (
        "softmax_backward",
        "(dout * weights).sum(axis=-1",
        "dout.sum(axis=-1",
        "weights missing in the inner product",
    ),
    (
        "softmax_backward",
        ".sum(axis=-1",
        ".sum(axis=None",
        "inner product over all rows at once",
    ),
    (
        "softmax_backward",
        ".sum(axis=-1",
        ".mean(axis=-1",
        "mean instead of sum in the inner product",
    ),
    (
        "scaled_dot_product_attention",
        "1.0 / math.sqrt(q.shape[-1])",
        "1.0",
        "scale missing, forward and backward",
    ),
    (
        "scaled_dot_product_attention",
        "math.sqrt(q.shape[-1])",
        "math.sqrt(q.shape[-2])",
        "scale by T instead of D",
    ),
    (
        "scaled_dot_product_attention",
        "math.sqrt",
        "np.sqrt",
        "a NumPy scalar turns float32 into float64",
    ),
    (
        "scaled_dot_product_attention",
        "(q @ k.swapaxes(-1, -2)) * scale",
        "(q @ k.swapaxes(-1, -2)) / np.float64(q.shape[-1]) ** 0.5",
        "the same, written differently",
    ),
    ("mask_scores", "-np.inf", "0.0", "masked scores 0, not excluded"),
    ("mask_scores", "-np.inf", "-5.0", "masked scores not low enough"),
    ("mask_scores", "(mask, scores", "(~mask, scores", "mask reversed"),
    (
        "scaled_dot_product_attention_backward",
        "weights.swapaxes(-1, -2) @ dout",
        "weights @ dout",
        "dv: transpose missing",
    ),
    (
        "scaled_dot_product_attention_backward",
        "dscores @ k",
        "dscores.swapaxes(-1, -2) @ k",
        "dq: one transpose too many",
    ),
    (
        "scaled_dot_product_attention_backward",
        "dscores.swapaxes(-1, -2) @ q",
        "dscores @ q",
        "dk: transpose missing",
    ),
    (
        "scaled_dot_product_attention_backward",
        "dscores.swapaxes(-1, -2) @ q",
        "q.swapaxes(-1, -2) @ dscores",
        "dk = Q^T dS, which is its transpose",
    ),
    (
        "scaled_dot_product_attention_backward",
        "dscores.swapaxes(-1, -2) @ q",
        "(q.swapaxes(-1, -2) @ dscores).reshape(k.shape)",
        "the same, forced into shape",
    ),
    (
        "scaled_dot_product_attention_backward",
        "(dweights, weights) * scale",
        "(dweights, weights)",
        "scale missing in the backward pass",
    ),
    (
        "scaled_dot_product_attention_backward",
        "softmax_backward(dweights, weights)",
        "dweights",
        "softmax left out",
    ),
    (
        "scaled_dot_product_attention_backward",
        "return dq, dk, dv",
        "return dk, dq, dv",
        "two gradients swapped",
    ),
    (
        "split_heads",
        "reshape(B, T, n_heads, C // n_heads).swapaxes(1, 2)",
        "reshape(B, n_heads, T, C // n_heads)",
        "heads cut without a transpose",
    ),
    (
        "split_heads_backward",
        "merge_heads(dout)[0]",
        "dout.reshape(dout.shape[0], dout.shape[2], -1)",
        "heads merged without a transpose",
    ),
    (
        "merge_heads",
        "x.swapaxes(1, 2).reshape",
        "x.reshape",
        "heads merged without a transpose",
    ),
    (
        "merge_heads_backward",
        "split_heads(dout, cache)[0]",
        "dout.reshape(len(dout), cache, dout.shape[1], -1)",
        "heads cut without a transpose",
    ),
    (
        "multi_head_attention_backward",
        "np.concatenate(dq_dk_dv, axis=1)",
        "np.concatenate(dq_dk_dv[::-1], axis=1)",
        "q, k, v joined in the wrong order",
    ),
    (
        "multi_head_attention_backward",
        "np.concatenate(dq_dk_dv, axis=1)",
        "np.concatenate(3 * dq_dk_dv[:1], axis=1)",
        "dq used for dk and dv",
    ),
    (
        "multi_head_attention_backward",
        "np.concatenate(dq_dk_dv, axis=1)",
        "np.concatenate(3 * [sum(dq_dk_dv) / 3], axis=1)",
        "dq = dk = dv, the total right",
    ),
    (
        "linear_grads",
        '"weight": dweight',
        '"weight": dweight.reshape(dweight.shape[::-1]).T',
        "a square weight transposed",
    ),
    (
        "linear_grads",
        "dbias is not None",
        "False",
        "bias gradient lost",
    ),
]

EMBEDDINGS = [
    (
        "embedding_backward",
        "np.add.at(dweight, ids.reshape(-1), dout.reshape(-1, shape[1]))",
        "dweight[ids.reshape(-1)] += dout.reshape(-1, shape[1])",
        "a repeated id counts once",
    ),
    (
        "embedding_backward",
        "np.add.at(dweight, ids.reshape(-1), dout.reshape(-1, shape[1]))",
        "dweight[ids] = dout",
        "the last of a repeated id wins",
    ),
    (
        "embedding_backward",
        "np.zeros(shape, dout.dtype)",
        "np.zeros(shape)",
        "float64 table in a float32 run",
    ),
    (
        "learned_positions",
        "weight[:T]",
        "weight[-T:]",
        "positions counted from the end of the table",
    ),
    (
        "learned_positions_backward",
        "dout.reshape(-1, *dout.shape[-2:]).sum(axis=0)",
        "dout[0]",
        "only the first sequence of the batch",
    ),
    (
        "learned_positions_backward",
        ".sum(axis=0)",
        ".mean(axis=0)",
        "mean over the batch",
    ),
    (
        "learned_positions_backward",
        "dweight[:T]",
        "dweight[-T:]",
        "rows at the wrong end of the table",
    ),
    (
        "learned_positions_backward",
        "np.zeros(shape, dout.dtype)",
        "np.zeros(shape)",
        "float64 table in a float32 run",
    ),
]

BLOCK = [
    (
        "layer_norm",
        "(centred * centred).sum(axis=-1, keepdims=True) / C",
        "x.var(axis=-1, ddof=1, keepdims=True)",
        "variance over C - 1",
    ),
    (
        "layer_norm",
        "np.sqrt(variance + eps)",
        "(np.sqrt(variance) + eps)",
        "eps outside the root",
    ),
    ("layer_norm_backward", " - along_ones", "", "mean term missing"),
    (
        "layer_norm_backward",
        " - normed * along_normed",
        "",
        "variance term missing",
    ),
    ("layer_norm_backward", "- normed *", "+ normed *", "wrong sign"),
    ("layer_norm_backward", "dout * weight", "dout", "weight missing"),
    ("layer_norm_backward", "rstd * (", "(", "1 / std missing"),
    (
        "layer_norm_backward",
        "dnormed.mean(",
        "dnormed.sum(",
        "sum instead of mean",
    ),
    (
        "layer_norm_backward",
        "dbias = dout.reshape(-1, C).sum(axis=0)",
        "dbias = dout.sum(axis=0)",
        "bias summed over the batch but not the positions",
    ),
    (
        "layer_norm_backward",
        "dbias = dout.reshape(-1, C).sum(axis=0)",
        "dbias = dout.sum(axis=-1)",
        "bias summed over the channels",
    ),
    (
        "layer_norm_backward",
        "(dout * normed).reshape",
        "(dout * normed * weight).reshape",
        "weight in its own gradient",
    ),
    (
        "layer_norm_backward",
        "(dout * normed).reshape(-1, C).sum",
        "(dout * normed).reshape(-1, C).mean",
        "mean over rows instead of sum",
    ),
    ("relu_backward", "dout * (cache > 0)", "dout", "relu left out"),
    ("relu_backward", "cache > 0", "dout > 0", "looks at the gradient"),
    ("relu_backward", "cache > 0", "cache >= 0", "slope 1 at exactly 0"),
    ("gelu", "(x * x * x)", "(x * x)", "cube missing"),
    (
        "gelu",
        "math.sqrt(2 / math.pi)",
        "np.sqrt(2 / np.pi)",
        "a NumPy scalar turns float32 into float64",
    ),
    ("gelu_backward", "1.0 + tanh + x", "x", "first term missing"),
    (
        "gelu_backward",
        " + x * (1.0 - tanh * tanh) * du",
        "",
        "second term missing",
    ),
    (
        "gelu_backward",
        "(1.0 - tanh * tanh)",
        "(1.0 - tanh)",
        "square missing in the slope of tanh",
    ),
    ("gelu_backward", "3 * 0.044715", "0.044715", "3 of x^3 missing"),
    ("gelu_backward", ") * du", ")", "chain rule stops at tanh"),
    (
        "dropout",
        "x.dtype.type(1.0 / (1.0 - p))",
        "np.float64(1.0 / (1.0 - p))",
        "a NumPy scalar turns float32 into float64",
    ),
    ("dropout", "type(1.0 / (1.0 - p))", "type(1.0)", "factor missing"),
    (
        "dropout_backward",
        "dout * cache",
        "dout * (cache > 0)",
        "factor missing in the backward pass",
    ),
    (
        "dropout_backward",
        "dout if cache is None else dout * cache",
        "dout",
        "gradient passes where the number did not",
    ),
    (
        "feed_forward_backward",
        'dhidden = act_backward(dhidden, cache["act"])',
        "pass",
        "activation left out",
    ),
    (
        "feed_forward_backward",
        'act_backward(dhidden, cache["act"])',
        "ACTIVATIONS['relu'][1](dhidden, cache['up'][0] @ cache['up'][1])",
        "always relu, before the bias",
    ),
    (
        "residual_backward",
        "dout + dh",
        "dh if pre else dout + dh",
        "residual path dropped in pre-norm",
    ),
    (
        "residual_backward",
        "dout + dh",
        "dout + dh if pre else dh",
        "residual path dropped in post-norm",
    ),
    ("residual_backward", "dout + dh", "dout", "sublayer's path dropped"),
    (
        "residual_backward",
        'pre = cache["pre"]',
        'pre = cache["norm"] is not None',
        "pre-norm's backward for post-norm",
    ),
    (
        "residual_backward",
        'pre = cache["pre"]',
        "pre = False",
        "post-norm's backward for pre-norm",
    ),
    (
        "residual_backward",
        'dropout_backward(dout, cache["dropout"])',
        "dout",
        "dropout forgotten",
    ),
    (
        "residual_backward",
        '"weight": dweight, "bias": dbias',
        '"weight": dbias, "bias": dweight',
        "weight and bias swapped",
    ),
    (
        "transformer_block_backward",
        'dx, cache["attention"]',
        'dout, cache["attention"]',
        "attention gets the gradient from above the feed-forward",
    ),
    (
        "transformer_block",
        'x, feed, params["norm2"]',
        'x, feed, params["norm1"]',
        "the first norm used twice",
    ),
]

MODEL = [
    (
        "cross_entropy",
        "picked[keep].mean()",
        "picked[keep].sum()",
        "sum instead of mean",
    ),
    (
        "cross_entropy",
        "picked[keep].mean()",
        "(picked * keep).mean()",
        "ignored targets counted in the mean",
    ),
    (
        "log_softmax",
        "logits - logits.max(axis=-1, keepdims=True)",
        "logits",
        "overflow: maximum not subtracted",
    ),
    (
        "cross_entropy_backward",
        " / int(keep.sum())",
        "",
        "1 / count missing",
    ),
    (
        "cross_entropy_backward",
        "int(keep.sum())",
        "keep.size",
        "ignored targets counted",
    ),
    (
        "cross_entropy_backward",
        "int(keep.sum())",
        "len(keep)",
        "divided by the batch only",
    ),
    (
        "cross_entropy_backward",
        "keep * (float(dout) / int(keep.sum()))",
        "float(dout) / int(keep.sum()) + 0.0 * keep",
        "ignored targets get a gradient",
    ),
    (
        "cross_entropy_backward",
        "float(dout) /",
        "1.0 /",
        "the gradient from above ignored",
    ),
    (
        "cross_entropy_backward",
        "picked - 1",
        "picked + 1",
        "wrong sign of the one-hot",
    ),
    (
        "cross_entropy_backward",
        "picked - 1",
        "picked",
        "one-hot forgotten",
    ),
    (
        "cross_entropy_backward",
        "return dlogits",
        "p = np.exp(log_probs)\n"
        "    inner = (dlogits * p).sum(axis=-1, keepdims=True)\n"
        "    return p * (dlogits - inner)",
        "softmax's Jacobian applied to p - y, which has it already",
    ),
    (
        "cross_entropy_backward",
        "dlogits *= scale[..., None].astype(dlogits.dtype)",
        "dlogits = dlogits * scale[..., None]",
        "float64 scale in a float32 run",
    ),
    (
        "embed",
        "x + table.astype(x.dtype)",
        "x + table",
        "float64 positions in a float32 run",
    ),
    (
        "embed_backward",
        'dropout_backward(dout, cache["dropout"])',
        "dout",
        "dropout forgotten",
    ),
    (
        "head",
        'params["token_embedding"]["weight"].T',
        'params["token_embedding"]["weight"].T[:, ::-1]',
        "tokens scored in reverse order",
    ),
    (
        "head_backward",
        "drows.T @ rows if tied",
        "(rows.T @ drows).reshape(weight.T.shape) if tied",
        "tied gradient not transposed",
    ),
    (
        "language_model",
        "causal_mask(ids.shape[1]) if mask is None else mask",
        "mask",
        "no mask: the model sees the future",
    ),
    (
        "language_model",
        "(x, block, config, mask, rng)",
        "(x, block, config, mask)",
        "dropout off in the blocks",
    ),
    (
        "language_model_backward",
        'grads["token_embedding"]["weight"] += from_head["weight"]',
        "pass",
        "tied: only the gradient of the lookup",
    ),
    (
        "language_model_backward",
        'grads["token_embedding"]["weight"] += from_head["weight"]',
        'grads["token_embedding"] = from_head',
        "tied: only the gradient of the head",
    ),
    (
        "language_model_backward",
        "insert(0, block_grads)",
        "append(block_grads)",
        "the blocks' gradients in reverse order",
    ),
    (
        "language_model_backward",
        'reversed(cache["blocks"])',
        'cache["blocks"]',
        "backward through the blocks from first to last",
    ),
    (
        "language_model_backward",
        "dx, block_grads",
        "_, block_grads",
        "every block gets the gradient of the last",
    ),
    (
        "language_model_backward",
        "dx, dweight, dbias = layer_norm_backward",
        "_, dweight, dbias = layer_norm_backward",
        "final norm left out of dx",
    ),
    (
        "language_model_backward",
        '"weight": dweight, "bias": dbias',
        '"weight": dbias, "bias": dweight',
        "weight and bias swapped",
    ),
    (
        "loss_and_grads",
        "cross_entropy_backward(1.0, ",
        "cross_entropy_backward(loss, ",
        "the loss itself flows back, not 1",
    ),
    (
        "loss_and_grads",
        "config, rng=rng)",
        "config)",
        "dropout never on",
    ),
]

MUTANTS = [
    (module, *row)
    for module, rows in (
        (attention, ATTENTION),
        (embeddings, EMBEDDINGS),
        (transformer_block, BLOCK),
        (language_model, MODEL),
    )
    for row in rows
]

OPTIMIZERS = [
    ("SGD.step", "-= lr * velocity", "+= lr * velocity", "uphill"),
    ("SGD.step", "-= lr * velocity", "-= lr * grad", "no momentum"),
    (
        "SGD.step",
        "velocity += grad",
        "velocity += (1 - self.momentum) * grad",
        "momentum as a running mean",
    ),
    ("SGD.step", "velocity += grad", "velocity -= grad", "wrong sign"),
    (
        "SGD.step",
        "lr = self.lr if lr is None else lr",
        "lr = self.lr",
        "the schedule's rate ignored",
    ),
    (
        "Adam.direction",
        "square += (1 - beta2)",
        "square += (1 - beta1)",
        "beta1 in the second moment",
    ),
    (
        "Adam.direction",
        "mean += (1 - beta1)",
        "mean += beta1",
        "old and new swapped in the mean",
    ),
    (
        "Adam.direction",
        "grad * grad - square",
        "grad - square",
        "gradient not squared",
    ),
    (
        "Adam.direction",
        "mean / (1 - beta1**t)",
        "mean",
        "mean not corrected",
    ),
    (
        "Adam.direction",
        "square / (1 - beta2**t)",
        "square",
        "square not corrected",
    ),
    (
        "Adam.direction",
        "1 - beta1**t",
        "1 - beta1",
        "corrected as if every step were the first",
    ),
    (
        "Adam.direction",
        "np.sqrt(square / (1 - beta2**t)) + self.eps",
        "np.sqrt(square / (1 - beta2**t) + self.eps)",
        "eps inside the root",
    ),
    (
        "Adam.direction",
        "np.sqrt(square / (1 - beta2**t)) + self.eps",
        "square / (1 - beta2**t) + self.eps",
        "root forgotten",
    ),
    ("Adam.step", "+= 1", "+= 2", "steps counted twice"),
    ("Adam.step", "-= lr", "+= lr", "uphill"),
    (
        "Adam.step",
        "lr = self.lr if lr is None else lr",
        "lr = self.lr",
        "the schedule's rate ignored",
    ),
    ("AdamW.step", "array.ndim >= 2", "True", "vectors decay too"),
    ("AdamW.step", "array.ndim >= 2", "array.ndim < 2", "only vectors decay"),
    ("AdamW.step", "array.ndim >= 2", "False", "nothing decays"),
    (
        "AdamW.step",
        "lr * self.weight_decay",
        "self.weight_decay",
        "decay without the rate",
    ),
    ("AdamW.step", "*= 1 - lr", "*= 1 + lr", "weights pushed outwards"),
    (
        "AdamW.step",
        "        for array in self.params.values():\n"
        "            if array.ndim >= 2:\n"
        "                array *= 1 - lr * self.weight_decay\n"
        "        super().step(grads, lr)\n",
        "        for name, grad in named_arrays(grads).items():\n"
        "            if grad.ndim >= 2:\n"
        "                grad += self.weight_decay * self.params[name]\n"
        "        super().step(grads, lr)\n",
        "L2 in the gradient instead of decay apart from it",
    ),
    (
        "AdamW.step",
        "        for array in self.params.values():\n",
        "        super().step(grads, lr)\n"
        "        grads = {}\n"
        "        for array in self.params.values():\n",
        "decay after the step",
    ),
    (
        "AdamW.__init__",
        "(params, lr, betas, eps)",
        "(params, lr)",
        "betas and eps ignored",
    ),
    (
        "clip_grad_norm",
        "max_norm < norm < math.inf",
        "True",
        "small gradients blown up",
    ),
    (
        "clip_grad_norm",
        "math.sqrt(sum(float(np.vdot(g, g)) for g in arrays))",
        "sum(float(np.vdot(g, g)) for g in arrays)",
        "root forgotten",
    ),
    (
        "clip_grad_norm",
        "max_norm / norm",
        "max_norm / math.sqrt(float(np.vdot(grad, grad)))",
        "every array clipped by itself",
    ),
    (
        "clip_grad_norm",
        "max_norm / norm",
        "1 / norm",
        "clipped to 1, whatever max_norm is",
    ),
    (
        "clip_grad_norm",
        "return norm",
        "return min(norm, max_norm)",
        "returns the norm after clipping",
    ),
    (
        "learning_rate",
        "(step + 1) / warmup",
        "step / warmup",
        "first step has rate 0",
    ),
    (
        "learning_rate",
        "0.5 * (1.0 + math.cos",
        "(1.0 + math.cos",
        "twice the peak",
    ),
    (
        "learning_rate",
        "(step - warmup) / max(total - warmup, 1)",
        "step / total",
        "a jump where the warm-up ends",
    ),
    (
        "learning_rate",
        "min((step - warmup) / max(total - warmup, 1), 1.0)",
        "(step - warmup) / max(total - warmup, 1)",
        "rises again, or goes below 0, after the end",
    ),
    (
        "learning_rate",
        "final + (1.0 - final) * left",
        "left",
        "falls to 0 instead of final",
    ),
    (
        "learning_rate",
        "final + (1.0 - final) * left",
        "max(final, left)",
        "cut off at final instead of bent",
    ),
    ("learning_rate", "left = 1.0 - done", "left = done", "line goes up"),
    (
        "learning_rate",
        "math.pi * done",
        "math.pi / 2 * done",
        "half of the cosine",
    ),
]

# functions that are not ops themselves: whose cases must notice them
NOTICED_BY = {
    "mask_scores": "scaled_dot_product_attention",
    "linear_grads": "multi_head_attention",
    "log_softmax": "cross_entropy",
    "loss_and_grads": "loss",
}


def rebuild(module, function, old, new, times=1):
    """Return a copy of module in which function has new in place of old."""
    target = module
    for name in function.split("."):
        target = getattr(target, name)
    source = inspect.getsource(target)
    assert source.count(old) == times, f"{function}: {old!r} is not there"
    text = inspect.getsource(module)
    assert text.count(source) == 1
    text = text.replace(source, source.replace(old, new))
    mutant = ModuleType(module.__name__)
    exec(compile(text, module.__file__, "exec"), vars(mutant))
    return mutant


def find_failure(op, module):
    """Return the label of the first case that fails, or None."""
    for label in CHECKS[op]:
        try:
            prove(op, label, module)
        except AssertionError:
            return label
    return None


def name_of(row):
    *_, function, _, _, why = row
    return f"{function}: {why}"


@pytest.mark.parametrize("row", MUTANTS, ids=name_of)
def test_mutant_is_caught(row):
    module, function, old, new, why = row
    mutant = rebuild(module, function, old, new)
    name = function.removesuffix("_backward")
    op = NOTICED_BY.get(name, name)
    label = find_failure(op, mutant)
    assert label is not None, f"{function}: nothing notices {why}"
    prove(op, label)  # the same call, on the real code


@pytest.mark.parametrize("row", OPTIMIZERS, ids=name_of)
def test_optimizer_mutant_is_caught(row):
    function, old, new, _ = row
    mutant = rebuild(training, function, old, new)
    proof = PROOFS[function.split(".")[0]]
    with pytest.raises(AssertionError):
        proof(mutant)
    proof(training)


@pytest.mark.parametrize(
    "module, op",
    [
        (attention, "scaled_dot_product_attention"),
        (embeddings, "embedding"),
        (transformer_block, "transformer_block"),
        (language_model, "loss"),
    ],
)
def test_a_copy_without_a_mistake_passes(module, op):
    """It is the mistake that the cases notice, not the copying."""
    function = "loss_and_grads" if op == "loss" else op
    assert find_failure(op, rebuild(module, function, '"""', '"""', 2)) is None


def test_there_are_enough_mutants():
    assert len(set(MUTANTS)) == len(MUTANTS) >= 30
    assert len(set(OPTIMIZERS)) == len(OPTIMIZERS) >= 15
