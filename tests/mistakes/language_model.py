"""Mistakes in the functions of lesson 04, and right ones in other styles."""

import numpy as np

from helpers.checks import check_backward, torch_ops
from helpers.checks.cases import language_model as cases
from helpers.checks.gradients import check_value
from helpers.language_model import ModelConfig

RNG = np.random.default_rng(4)
LOGITS = 3 * RNG.normal(size=(2, 5, 7))
LABELS = np.array([[3, 1, -100, 0, 6], [-100, -100, 2, 2, 5]])
PARAMS = cases._params(cases.CONFIG, RNG)

CALLS = {
    "cross_entropy": (torch_ops.cross_entropy, (LOGITS, LABELS), {}),
    "language_model": (
        torch_ops.gpt2,
        (cases.IDS, PARAMS, cases.CONFIG),
        {},
    ),
}

FIRST = "shifted = logits - logits.max(axis=-1, keepdims=True)"
SECOND = "return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))"
PICK = "picked = np.take_along_axis(log_probs, rows, axis=-1)[..., 0]"
LOSS = "loss = -float(picked[keep].mean())"
SCALE = "scale = keep * (float(dout) / int(keep.sum()))"
HITS = "return float((logits.argmax(axis=-1) == targets)[keep].mean())"
SIZES = "array.size for array in named_arrays(params).values()"
DROP = 'x, cache["dropout"] = dropout(x, config.dropout, rng)'
ADD = 'x, cache["positions"] = learned_positions(x, table)'
BLOCK = "x, block_cache = transformer_block(x, block, config, mask, rng)"
JOIN = 'grads["token_embedding"]["weight"] += from_head["weight"]'
MODEL = "language_model(ids, params, config, rng=rng)"

SOLUTIONS = {
    "count_by_formula": '''\
def count_by_formula(config):
    """Return how many parameters a model has, as an integer."""
    C, F = config.d_model, config.d_ff
    tables = (config.vocab_size + config.max_seq_len) * C
    attention = (C + 1) * 3 * C + (C + 1) * C
    feed_forward = (C + 1) * F + (F + 1) * C
    block = attention + feed_forward + 4 * C
    return tables + config.n_layers * block + 2 * C
''',
    "rows_with_gradient": '''\
def rows_with_gradient(ids, p, params, config):
    """Return a sorted list of ids, for ids (B, T) and a position p."""
    targets = np.full(ids.shape, -100)
    targets[:, p] = 0
    _, grads = loss_and_grads(ids, targets, params, config)
    table = grads["token_embedding"]["weight"]
    return np.flatnonzero(np.abs(table).max(axis=1)).tolist()
''',
    "smooth": '''\
def smooth(logits, targets, epsilon):
    """Return the mean loss and a cache, logits (N, V), targets (N,)."""
    keep, V = targets != -100, logits.shape[-1]
    onehot = np.eye(V, dtype=logits.dtype)[np.where(keep, targets, 0)]
    goal = (1 - epsilon) * onehot + epsilon / V
    log_probs = log_softmax(logits)
    losses = -(goal * log_probs).sum(axis=-1)
    return float(losses[keep].mean()), (log_probs, goal, keep)


def smooth_backward(dout, cache):
    """Return dlogits (N, V)."""
    log_probs, goal, keep = cache
    dlogits = (np.exp(log_probs) - goal) * (float(dout) / int(keep.sum()))
    return dlogits * keep[:, None]
''',
}


def judge_count(count_by_formula):
    """Call the exercise as its cell does."""
    size = {"vocab_size": 61, "max_seq_len": 17, "d_model": 12, "d_ff": 23}
    narrow = ModelConfig(n_heads=3, n_layers=5, **size)
    size = {"vocab_size": 50257, "max_seq_len": 1024, "d_model": 768}
    gpt2 = ModelConfig(n_heads=12, n_layers=12, d_ff=3072, **size)
    check_value(count_by_formula, 7255, narrow)
    check_value(count_by_formula, 124_439_808, gpt2)


def judge_rows(rows_with_gradient):
    """Call the exercise as its cell does."""
    other = cases._params(cases.OTHER, np.random.default_rng(2))
    lines = np.array([[3, 1, 4, 3, 0], [6, 10, 1, 5, 6]])
    arguments = lines, 2, other, cases.OTHER
    check_value(rows_with_gradient, cases.ROWS_AT_2, *arguments)


def judge_smooth(smooth):
    """Call the exercise as its cell does."""
    rows = np.random.default_rng(3).normal(size=(6, 7))
    goals = np.array([0, 1, -100, 3, 5, 6])
    backward = smooth.__globals__["smooth_backward"]
    check_backward(smooth, backward, torch_ops.smooth, (rows, goals, 0.1))


JUDGES = {
    "count_by_formula": judge_count,
    "rows_with_gradient": judge_rows,
    "smooth": judge_smooth,
}

WRONG = {
    "count_by_formula": [
        ("(config.vocab_size +", "(2 * config.vocab_size +", "counts a head"),
        (" + 2 * C", "", "lacks the norm behind the last block"),
        ("+ 4 * C", "", "lacks 4 C a block"),
        ("(C + 1) * 3 * C", "C * 3 * C", "lacks the bias of q, k and v"),
        ("config.n_layers * block", "block", "counts one block"),
        (
            "(C + 1) * F + (F + 1) * C",
            "2 * C * F",
            "lacks the biases of the feed-forward layer",
        ),
        ("return tables", "return 0 * tables", "lacks the two tables"),
        ("return tables", "tables", "Is there a return"),
    ],
    "rows_with_gradient": [
        ("targets[:, p] = 0", "targets[:, :p] = 0", "lacks what stands at p"),
        ("targets[:, p] = 0", "targets[:, :] = 0", "has every token of ids"),
        ("targets[:, p] = 0", "targets[p] = 0", "-"),
        ("np.flatnonzero(", "np.unique(ids)\n    (", "-"),
        ("max(axis=1)", "max(axis=0)", "counts columns"),
        ("return np", "np", "Is there a return"),
    ],
    "smooth": [
        (
            "losses[keep].mean()",
            "losses.mean()",
            "has a loss for positions without a target",
        ),
        ("losses[keep].mean()", "losses[keep].sum()", "sum in place"),
        (
            "(1 - epsilon) * onehot",
            "onehot",
            "lacks 1 - epsilon, the share of the target",
        ),
        (" + epsilon / V", "", "lacks the share of the others, epsilon / V"),
        (" + epsilon / V", " + epsilon", "gives each token epsilon"),
        ("int(keep.sum())", "keep.size", "share of targets"),
        (" * keep[:, None]", "", "ignored"),
        (
            "(np.exp(log_probs) - goal)",
            "(log_probs - goal)",
            "has log p where p is wanted",
        ),
        ("(np.exp(log_probs) - goal)", "(goal - np.exp(log_probs))", "sign"),
        (", dtype=logits.dtype", "", "float64"),
        ("(float(dout) / int(keep.sum()))", "(1 / int(keep.sum()))", "dout"),
    ],
    "log_softmax": [
        (FIRST, "shifted = logits", "exp grew"),
        (FIRST, "shifted = logits - logits.max()", "largest logit of all"),
        (FIRST, "shifted = logits - logits.max(axis=-1)", "keepdims"),
        ("np.exp(shifted).sum", "np.exp(shifted).mean", "a mean"),
        ("np.log(np.exp(shifted)", "(np.exp(shifted)", "not its logarithm"),
        (
            SECOND,
            "p = np.exp(shifted)\n"
            "    return np.log(p / p.sum(axis=-1, keepdims=True))",
            "had become 0",
        ),
        (
            SECOND,
            "p = np.exp(shifted)\n"
            "    return p / p.sum(axis=-1, keepdims=True)",
            "is the softmax",
        ),
        ("return shifted -", "return shifted +", "added, not"),
        ("return shifted -", "return logits -", "lost the maximum"),
        ("return shifted -", "return shifted /", "divided by the log"),
        ("return shifted - ", "return -shifted + ", "wrong sign"),
        (
            "(axis=-1, keepdims=True))",
            "(axis=0, keepdims=True))",
            "over axis 0",
        ),
        (
            SECOND,
            "return shifted - np.log(np.exp(shifted).sum())",
            "over all rows",
        ),
        ("np.log(", "np.log2(", "base 2"),
        (
            FIRST,
            "logits -= logits.max(axis=-1, keepdims=True)\n"
            "    shifted = logits",
            "work on a copy",
        ),
        (SECOND, "shifted - np.log(np.exp(shifted).sum(axis=-1))", "keepdims"),
    ],
    "cross_entropy": [
        ("-float(", "float(", "wrong sign"),
        ("[keep].mean", "[keep].sum", "a sum where a mean"),
        (
            LOSS,
            "loss = -float((picked * keep).mean())",
            "counts the ignored targets",
        ),
        ("picked[keep]", "picked", "scored too"),
        ("targets != ignore_index", "targets != -100", "-100 where"),
        ("log_probs = log_softmax(logits)", "log_probs = logits", "logits"),
        (
            "log_softmax(logits)",
            "np.exp(log_softmax(logits))",
            "logarithm is missing",
        ),
        (
            "log_softmax(logits)",
            "log_softmax(np.exp(log_softmax(logits)))",
            "softmax twice",
        ),
        (
            LOSS,
            "loss = -float(np.log(np.exp(picked[keep]).mean()))",
            "logarithm of the mean",
        ),
        (
            LOSS,
            "loss = -float((picked[keep] / np.log(2)).mean())",
            "in bits",
        ),
        (
            "log_softmax(logits)",
            "np.log(np.exp(logits)"
            " / np.exp(logits).sum(axis=-1, keepdims=True))",
            "exp grew",
        ),
        ("@checked\n", "", "-"),
        (
            "np.where(keep, targets, 0)[..., None]",
            "targets[..., None]",
            "-",
        ),
        ("return loss, (log_probs, rows, keep)", "return loss", "-"),
        (
            LOSS,
            "loss = -float(np.mean([p[k].mean() for p, k in"
            " zip(picked, keep) if k.any()]))",
            "mean of means",
        ),
        ("targets, 0)", "targets + 1, 0)", "-"),
    ],
    "cross_entropy_backward": [
        (SCALE, "scale = keep / int(keep.sum())", "lacks dout"),
        (SCALE, "scale = keep * float(dout)", "not divided"),
        (SCALE, "scale = keep * 1.0", "lacks dout"),
        (
            SCALE,
            "scale = keep * (float(dout) / keep.size)",
            "the ignored too",
        ),
        (
            SCALE,
            "scale = np.full(keep.shape, float(dout) / int(keep.sum()))",
            "not 0 where",
        ),
        ("picked - 1,", "picked,", "lacks the one-hot"),
        ("picked - 1,", "picked + 1,", "at the targets"),
        ("picked - 1,", "1 - picked,", "at the targets"),
        (
            "dlogits = np.exp(log_probs)",
            "dlogits = log_probs.copy()",
            "lacks exp",
        ),
        (
            "return dlogits",
            "return -dlogits",
            "sign",
        ),
        (
            "return dlogits",
            "p = np.exp(log_probs)\n"
            "    return p * (dlogits - (dlogits * p).sum(-1, keepdims=True))",
            "softmax",
        ),
        (
            "dlogits *= scale[..., None].astype(dlogits.dtype)",
            "dlogits = dlogits * scale[..., None]",
            "float64",
        ),
        (
            "dlogits *= scale[..., None].astype(dlogits.dtype)",
            "dlogits = dlogits * (keep[..., None] * (dout / keep.sum()))",
            "float64",
        ),
        (
            "dlogits = np.exp(log_probs)",
            "dlogits = np.exp(log_probs, out=log_probs)",
            "work on a copy",
        ),
        ("return dlogits", "return dlogits, None", "-"),
        ("    return dlogits", "", "Is there a return"),
    ],
    "accuracy": [
        (
            HITS,
            "return float((logits.argmax(axis=-1) == targets).mean())",
            "ignored targets as wrong",
        ),
        ("[keep].mean", "[keep].sum", "number of hits"),
        ("argmax", "argmin", "lowest logit"),
        (" == targets)", " != targets)", "share that is wrong"),
        ("targets != ignore_index", "targets != -100", "leave out"),
        ("targets != ignore_index", "targets >= 0", "leave out"),
        ("argmax(axis=-1)", "argmax(axis=0)", "-"),
        (HITS, "return logits.argmax(axis=-1) == targets", "-"),
        ("return float", "float", "Is there a return"),
    ],
    "count_params": [
        (
            f"return sum({SIZES})",
            "return len(named_arrays(params))",
            "number of arrays",
        ),
        ("array.size", "len(array)", "counts rows"),
        ("array.size", "array.nbytes", "bytes"),
        ("array.size", "sum(array.shape)", "lengths of the axes"),
        (SIZES, f"{SIZES} if array.ndim > 1", "matrices alone"),
        (
            "named_arrays(params).values()",
            "params.values()",
            "-",
        ),
        ("return sum", "sum", "Is there a return"),
    ],
    "init_linear": [
        ("rng.normal(0.0, std, (M, N))", "np.zeros((M, N))", "all zero"),
        (
            "rng.normal(0.0, std, (M, N))",
            "rng.normal(size=(M, N))",
            "deviation of 1",
        ),
        ("std, (M, N)", "std, (N, M)", "changed places"),
        ("std, (", "std**2, (", "square of std"),
        ("std, (", "0.02, (", "not the one given"),
        ("if config.bias:", "if True:", "-"),
        ("np.zeros(N)", "np.ones(N)", "bias of 1"),
        ("np.zeros(N)", "np.zeros(M)", "-"),
        (
            "rng.normal(0.0, std, (M, N))",
            "rng.normal(0.0, 1.0, (M, N))",
            "has a standard deviation of 1, not std",
        ),
    ],
    "init_norm": [
        ("np.ones(C)", "np.zeros(C)", "weight of 0"),
        ("np.zeros(C)", "np.ones(C)", "bias of 1"),
        ("if bias:", "if not bias:", "-"),
        ("np.ones(C)", "np.ones((C, 1))", "-"),
        ('"bias"', '"shift"', "-"),
    ],
    "perplexity": [
        ("math.exp(loss)", "loss", "loss itself"),
        ("math.exp(loss)", "2**loss", "power of e"),
        ("math.exp(loss)", "math.exp(-loss)", "sign"),
        ("math.exp(loss)", "1 / loss", "-"),
        ("math.exp(loss)", "math.log(loss)", "-"),
    ],
    "embed": [
        ("@checked\n", "", "-"),
        (DROP, 'cache["dropout"] = None', "lacks the dropout"),
        (ADD, 'x, cache["positions"] = dropout(x, 0, None)', "lacks the pos"),
        (ADD, "x = x * table[: ids.shape[1]]", "multiplied"),
        (ADD, "x = x + table[ids % len(table)]", "rows of the ids"),
        (ADD, "x = x + table", "-"),
        (
            DROP,
            f"x = x * math.sqrt(config.d_model)\n    {DROP}",
            "the square root of the length",
        ),
        ("        x = x + table.astype(x.dtype)", "        pass", "lacks the"),
        (".astype(x.dtype)", "", "float64"),
        (
            'if config.positions == "learned":',
            "if True:",
            "-",
        ),
        (
            'if config.positions == "learned":',
            "if False:",
            "lacks the positions",
        ),
        (
            '    x, cache["dropout"] = dropout(x, config.dropout, rng)',
            '    x += 0\n    x, cache["dropout"] = dropout(x, 0.5, rng)',
            "-",
        ),
        (
            "ids.shape[1], config.d_model)",
            "config.max_seq_len, config.d_model)",
            "-",
        ),
        ("    return x, cache", "    return x", "-"),
        (
            (
                '    x, cache["tokens"] = embedding(ids, '
                'params["token_embedding"]["weight"])\n'
            ),
            (
                '    weight = params["token_embedding"]["weight"]\n'
                '    x, cache["tokens"] = weight[ids], (ids, weight.shape)\n'
            ),
            "does not refuse",
        ),
    ],
    "embed_backward": [
        (
            'dropout_backward(dout, cache["dropout"])',
            "dout",
            "lacks dropout_backward",
        ),
        (
            'grads["position_embedding"] = {"weight": dtable}',
            "pass",
            "-",
        ),
        ('"weight": dtable', '"weight": dtable / len(dout)', "mean over"),
        (
            'if "positions" in cache:',
            'grads["position_embedding"] = {"weight": 0 * dout[0]}\n'
            '    if "positions" in cache:',
            "-",
        ),
        (
            '"weight": dtokens',
            '"weight": dtokens * len(dout)',
            "2 times too large",
        ),
        (
            'return {"token_embedding": {"weight": dtokens}} | grads',
            "return dtokens, grads",
            "No gradient goes to ids",
        ),
        (
            'return {"token_embedding": {"weight": dtokens}} | grads',
            "return grads",
            "-",
        ),
        (
            'dtokens = embedding_backward(dx, cache["tokens"])',
            'dtokens = embedding_backward(dx[:1], cache["tokens"])',
            "-",
        ),
        (
            'embedding_backward(dx, cache["tokens"])',
            "0 * dx[0]",
            "-",
        ),
        (
            'embedding_backward(dx, cache["tokens"])',
            'embedding_backward(-dx, cache["tokens"])',
            "sign",
        ),
    ],
    "head": [
        ('"head" not in params', "True", "-"),
        ('"head" not in params', "False", "-"),
        ('"head" not in params', '"token_embedding" in params', "-"),
        ('["weight"].T', '["weight"]', "transpose"),
        (
            "return logits, (x, weight, tied)",
            "return np.exp(log_softmax(logits)), (x, weight, tied)",
            "softmax",
        ),
        (
            "return logits, (x, weight, tied)",
            "return log_softmax(logits), (x, weight, tied)",
            "log_softmax",
        ),
        (
            "return logits, (x, weight, tied)",
            "return logits / math.sqrt(x.shape[-1]), (x, weight, tied)",
            "not scaled",
        ),
        (
            "return logits, (x, weight, tied)",
            "return logits",
            "-",
        ),
    ],
    "head_backward": [
        (
            "drows.T @ rows if tied else rows.T @ drows",
            "rows.T @ drows",
            "transpose",
        ),
        (
            "drows.T @ rows if tied else rows.T @ drows",
            "drows.T @ rows",
            "transpose",
        ),
        ("drows @ weight.T", "drows @ weight", "transpose"),
        ("(drows @ weight.T).reshape(x.shape)", "drows @ weight.T", "shape"),
        (
            '"token_embedding" if tied else "head"',
            '"head"',
            "-",
        ),
        ("return dx, {name", "return {name", "Return one for each"),
        (
            'return dx, {name: {"weight": dweight}}',
            'return {name: {"weight": dweight}}, dx',
            "-",
        ),
        (
            '{"weight": dweight}',
            '{"weight": dweight / len(rows)}',
            "mean over the rows",
        ),
        (
            'return dx, {name: {"weight": dweight}}',
            "return dx, {name: dweight}",
            "-",
        ),
        (
            'return dx, {name: {"weight": dweight}}',
            "return dlogits, {name: {'weight': dweight}}",
            "-",
        ),
    ],
    "language_model": [
        (
            "causal_mask(ids.shape[1]) if mask is None else mask",
            "mask",
            "sees what follows",
        ),
        (
            "causal_mask(ids.shape[1]) if mask is None else mask",
            "causal_mask(ids.shape[1])",
            "in place of the one given",
        ),
        (
            "causal_mask(ids.shape[1]) if mask is None else mask",
            "causal_mask(config.max_seq_len)",
            "-",
        ),
        (
            "causal_mask(ids.shape[1]) if mask is None else mask",
            "causal_mask(ids.shape[1]).T if mask is None else mask",
            "not what was",
        ),
        ('in params["blocks"]', 'in params["blocks"][:1]', "last block"),
        ('in params["blocks"]', 'in params["blocks"][1:]', "first block"),
        ('in params["blocks"]', 'in params["blocks"][::-1]', "in reverse"),
        ('in params["blocks"]', "in []", "lacks the blocks"),
        ('config.norm != "post"', "False", "final norm"),
        ('config.norm != "post"', "True", "-"),
        (
            "embed(ids, params, config, rng)",
            "embed(ids, params, config)",
            "dropout of the embedding",
        ),
        ("config, mask, rng)", "config, mask)", "dropout of the blocks"),
        ("config, mask, rng)", "config, rng)", "sees what follows"),
        ("config, mask, rng)", "config, rng=rng)", "sees what follows"),
        (
            'logits, cache["head"] = head(x, params)',
            'x, cache["head"] = head(x, params)\n'
            "    logits = np.exp(log_softmax(x))",
            "softmax of the logits",
        ),
        (
            "mask=None, rng=None",
            "rng=None",
            "-",
        ),
        ("return logits, cache", "return logits", "-"),
        (
            ("def language_model(ids, params, config, mask=None, rng=None):"),
            ("def language_model(ids, params, config, rng=None, mask=None):"),
            "has the causal mask in place of the one",
        ),
    ],
    "language_model_backward": [
        (JOIN, "pass", "head's gradient"),
        (
            JOIN,
            'grads["token_embedding"]["weight"] = from_head["weight"]',
            "lookup's gradient",
        ),
        (JOIN, JOIN.replace("+=", "-="), "subtracted"),
        (
            'in reversed(cache["blocks"])',
            'in cache["blocks"]',
            "-",
        ),
        (
            'grads["blocks"].insert(0, block_grads)',
            'grads["blocks"].append(block_grads)',
            "reverse",
        ),
        (
            "dx, *dnorm =",
            "_, *dnorm =",
            "the same gradient arrived at both",
        ),
        (
            '("weight", "bias")',
            '("bias", "weight")',
            "changed places",
        ),
        (
            'grads["final_norm"] = dict(zip(("weight", "bias"), dnorm))',
            "pass",
            "-",
        ),
        (
            "dx, block_grads = transformer_block_backward(dx, block_cache)",
            "_, block_grads = transformer_block_backward(dx, block_cache)",
            "the same gradient arrived at both",
        ),
        (
            "    return grads",
            "    return grads, dx",
            "No gradient goes to ids",
        ),
        (
            JOIN,
            'grads["token_embedding"]["weight"] += 2 * from_head["weight"]',
            "head's gradient twice",
        ),
        (
            JOIN,
            JOIN + '\n        grads["token_embedding"]["weight"] /= 2',
            "they add up",
        ),
        (
            (
                "    if from_head is not None:  # a tied matrix collects "
                "both gradients\n"
                '        grads["token_embedding"]["weight"] += '
                'from_head["weight"]\n'
            ),
            "",
            "lacks the head's gradient",
        ),
    ],
    "loss_and_grads": [
        (MODEL, "language_model(ids, params, config)", "lacks the dropout"),
        (MODEL, "language_model(ids, params, config, rng)", "-"),
        ("backward(1.0,", "backward(loss,", "dout = loss"),
        ("backward(1.0,", "backward(-1.0,", "uphill"),
        ("return loss, ", "return loss * ids.shape[1], ", "per token"),
        (
            "return loss, language_model_backward(dlogits, model_cache)",
            "return language_model_backward(dlogits, model_cache), loss",
            "-",
        ),
        (
            "cross_entropy(logits, targets)",
            "cross_entropy(logits, ids)",
            "scores the ids",
        ),
        ("backward(1.0,", "backward(targets.size,", "number of targets"),
        (
            "return loss, language_model_backward(dlogits, model_cache)",
            "return loss",
            "-",
        ),
        (
            "language_model_backward(dlogits, model_cache)",
            "language_model_backward(dlogits, loss_cache)",
            "-",
        ),
    ],
}

RIGHT = {
    "count_by_formula": [
        ("(C + 1) * 3 * C + (C + 1) * C", "4 * C * (C + 1)"),
        (
            "return tables + config.n_layers * block + 2 * C",
            "blocks = sum(block for _ in range(config.n_layers))\n"
            "    return int(tables + blocks + 2 * C)",
        ),
        """
def count_by_formula(config):
    C, F, n = config.d_model, config.d_ff, config.n_layers
    weights = n * (4 * C * C + 2 * C * F)
    biases = n * (4 * C + F + C)
    norms = 2 * C * (2 * n + 1)
    rows = config.vocab_size + config.max_seq_len
    return np.int64(rows * C + weights + biases + norms)
""",
    ],
    "rows_with_gradient": [
        (
            "np.flatnonzero(np.abs(table).max(axis=1)).tolist()",
            "[i for i, row in enumerate(table) if row.any()]",
        ),
        (
            "np.flatnonzero(np.abs(table).max(axis=1)).tolist()",
            "np.nonzero((table**2).sum(axis=1) > 0)[0].tolist()",
        ),
        ("targets[:, p] = 0", "targets[:, p] = ids[:, 0]"),
        (".tolist()", ""),
    ],
    "smooth": [
        ("float(losses[keep].mean())", "losses[keep].mean()"),
        (
            "float(losses[keep].mean())",
            "float((losses * keep).sum() / keep.sum())",
        ),
        """
def smooth(logits, targets, epsilon):
    keep = np.flatnonzero(targets != -100)
    log_probs = log_softmax(logits)
    hit = log_probs[keep, targets[keep]].mean()
    even = log_probs[keep].mean()
    loss = -(1 - epsilon) * hit - epsilon * even
    return float(loss), (log_probs, targets, keep, epsilon)


def smooth_backward(dout, cache):
    log_probs, targets, keep, epsilon = cache
    dlogits = np.zeros_like(log_probs)
    V = log_probs.shape[1]
    for i in keep:
        dlogits[i] = np.exp(log_probs[i]) - epsilon / V
        dlogits[i, targets[i]] -= 1 - epsilon
    return dlogits * (float(dout) / len(keep))
""",
    ],
    "log_softmax": [
        (
            SECOND,
            "total = np.exp(shifted).sum(-1)[..., None]\n"
            "    return shifted - np.log(total)",
        ),
        (FIRST, "shifted = logits - np.max(logits, -1)[..., None]"),
        """
def log_softmax(logits):
    rows = logits.reshape(-1, logits.shape[-1])
    out = np.empty_like(rows)
    for i, row in enumerate(rows):
        row = row - row.max()
        out[i] = row - np.log(sum(np.exp(row)))
    return out.reshape(logits.shape)
""",
        """
def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
""",
    ],
    "cross_entropy": [
        (
            LOSS,
            "loss = -float((picked * keep).sum() / keep.sum())",
        ),
        """
@checked
def cross_entropy(logits, targets, ignore_index=-100):
    log_probs = log_softmax(logits)
    losses = []
    for place in np.ndindex(targets.shape):
        if targets[place] != ignore_index:
            losses.append(-log_probs[place][targets[place]])
    keep = targets != ignore_index
    rows = np.where(keep, targets, 0)[..., None]
    return sum(losses) / len(losses), (log_probs, rows, keep)
""",
        """
@checked
def cross_entropy(logits, targets, ignore_index=-100):
    keep = targets != ignore_index
    safe = np.where(keep, targets, 0)
    truth = np.eye(logits.shape[-1], dtype=logits.dtype)[safe]
    log_probs = log_softmax(logits)
    losses = -(truth * log_probs).sum(axis=-1)
    return float(losses[keep].mean()), {"p": np.exp(log_probs),
                                        "truth": truth, "keep": keep}


def cross_entropy_backward(dout, cache):
    keep = cache["keep"]
    scale = float(dout) / int(keep.sum())
    return (cache["p"] - cache["truth"]) * keep[..., None] * scale
""",
        """
def cross_entropy(logits, targets, ignore_index=-100):
    if targets.shape != logits.shape[:-1]:
        raise ValueError("one target for each row")
    rows = logits.reshape(-1, logits.shape[-1])
    goals = targets.ravel()
    scored = np.flatnonzero(goals != ignore_index)
    if len(scored) == 0:
        raise ValueError("nothing to score")
    if goals[scored].min() < 0 or goals[scored].max() >= rows.shape[1]:
        raise ValueError("a target is outside the vocabulary")
    log_probs = log_softmax(rows)
    loss = -log_probs[scored, goals[scored]].mean()
    return loss, (log_probs, goals, scored, logits.shape)


def cross_entropy_backward(dout, cache):
    log_probs, goals, scored, shape = cache
    drows = np.zeros_like(log_probs)
    drows[scored] = np.exp(log_probs[scored])
    drows[scored, goals[scored]] -= 1
    return drows.reshape(shape) * (float(dout) / len(scored))
""",
    ],
    "cross_entropy_backward": [
        """
def cross_entropy_backward(dout, cache):
    log_probs, rows, keep = cache
    V = log_probs.shape[-1]
    truth = np.eye(V, dtype=log_probs.dtype)[rows[..., 0]]
    dlogits = (np.exp(log_probs) - truth) * keep[..., None]
    return dlogits * (float(dout) / int(keep.sum()))
""",
        """
def cross_entropy_backward(dout, cache):
    log_probs, rows, keep = cache
    dlogits = np.zeros_like(log_probs)
    for place in zip(*np.nonzero(keep)):
        dlogits[place] = np.exp(log_probs[place])
        dlogits[place][rows[place]] -= 1
    dlogits *= dout / keep.sum()
    return dlogits
""",
        (SCALE, "scale = np.where(keep, float(dout) / keep.sum(), 0.0)"),
        (
            "dlogits = np.exp(log_probs)",
            "dlogits = np.array([np.exp(row) for row in log_probs])",
        ),
    ],
    "accuracy": [
        (HITS, "return (logits.argmax(-1) == targets)[keep].mean()"),
        (
            HITS,
            "hits = (np.argmax(logits, axis=-1) == targets) & keep\n"
            "    return hits.sum() / keep.sum()",
        ),
        """
def accuracy(logits, targets, ignore_index=-100):
    hits = [
        row.argmax() == target
        for row, target in zip(
            logits.reshape(-1, logits.shape[-1]), targets.ravel()
        )
        if target != ignore_index
    ]
    return sum(hits) / len(hits)
""",
    ],
    "count_params": [
        ("array.size", "np.prod(array.shape)"),
        ("array.size", "len(array.ravel())"),
        """
def count_params(params):
    if isinstance(params, dict):
        return sum(count_params(part) for part in params.values())
    if isinstance(params, list):
        return sum(map(count_params, params))
    return params.size
""",
    ],
    "init_linear": [
        ("rng.normal(0.0, std, (M, N))", "rng.normal(0.0, std, size=(M, N))"),
        ("rng.normal(0.0, std, (M, N))", "std * rng.normal(size=(M, N))"),
        ("rng.normal(0.0, std, (M, N))", "std * rng.standard_normal((M, N))"),
    ],
    "init_norm": [
        ("np.ones(C)", "np.full(C, 1.0)"),
        ("np.zeros(C)", "0.0 * np.ones(C)"),
        (
            'params = {"weight": np.ones(C)}',
            "params = dict(weight=np.ones(C))",
        ),
    ],
    "perplexity": [
        ("math.exp(loss)", "np.exp(loss)"),
        ("math.exp(loss)", "math.e**loss"),
        ("math.exp(loss)", "2 ** (loss / math.log(2))"),
    ],
    "embed": [
        (ADD, 'x, cache["positions"] = learned_positions(x, weight=table)'),
        """
@checked
def embed(ids, params, config, rng=None):
    x, tokens = embedding(ids, **params["token_embedding"])
    positions = None
    if config.positions == "sinusoidal":
        x += sinusoidal_positions(*x.shape[1:]).astype(x.dtype)
    else:
        x, positions = learned_positions(x, **params["position_embedding"])
    x, drop = dropout(x, config.dropout, rng)
    return x, (tokens, positions, drop)


def embed_backward(dout, cache):
    tokens, positions, drop = cache
    dx = dropout_backward(dout, drop)
    grads = {}
    if positions is not None:
        dx, dweight = learned_positions_backward(dx, positions)
        grads["position_embedding"] = {"weight": dweight}
    grads["token_embedding"] = {"weight": embedding_backward(dx, tokens)}
    return grads
""",
        """
def embed(ids, params, config, rng=None):
    weight = params["token_embedding"]["weight"]
    if ids.ndim != 2 or ids.shape[1] > config.max_seq_len:
        raise ValueError("ids must be (B, T) with T <= max_seq_len")
    if ids.min() < 0 or ids.max() >= len(weight):
        raise ValueError("an id is outside the vocabulary")
    T, x = ids.shape[1], weight[ids]
    learned = config.positions == "learned"
    if learned:
        x = x + params["position_embedding"]["weight"][:T]
    else:
        x = x + sinusoidal_positions(T, config.d_model).astype(x.dtype)
    x, drop = dropout(x, config.dropout, rng)
    cache = dict(ids=ids, V=len(weight), drop=drop)
    cache["L"] = config.max_seq_len if learned else None
    return x, cache


def embed_backward(dout, cache):
    dx = dropout_backward(dout, cache["drop"])
    dtokens = np.zeros((cache["V"], dx.shape[-1]), dx.dtype)
    np.add.at(dtokens, cache["ids"], dx)
    grads = {"token_embedding": {"weight": dtokens}}
    if cache["L"] is not None:
        dtable = np.zeros((cache["L"], dx.shape[-1]), dx.dtype)
        dtable[: dx.shape[1]] = dx.sum(axis=0)
        grads["position_embedding"] = {"weight": dtable}
    return grads
""",
    ],
    "embed_backward": [
        (
            'return {"token_embedding": {"weight": dtokens}} | grads',
            'grads["token_embedding"] = {"weight": dtokens}\n    return grads',
        ),
        (
            'return {"token_embedding": {"weight": dtokens}} | grads',
            "return dict(grads, token_embedding=dict(weight=dtokens))",
        ),
        (
            'if "positions" in cache:',
            'if cache.get("positions") is not None:',
        ),
    ],
    "head": [
        ("logits, _ = linear(x, weight)", "logits = x @ weight"),
        (
            "logits, _ = linear(x, weight)",
            'logits = np.einsum("btc,cv->btv", x, weight)',
        ),
        """
from helpers.attention import linear_grads


def head(x, params):
    if "head" in params:
        out, cache = linear(x, params["head"]["weight"])
        return out, ("head", cache)
    out, cache = linear(x, params["token_embedding"]["weight"].T)
    return out, ("token_embedding", cache)


def head_backward(dlogits, cache):
    name, cache = cache
    dx, grads = linear_grads(dlogits, cache)
    dweight = grads["weight"]
    if name == "token_embedding":
        dweight = dweight.T
    return dx, {name: {"weight": dweight}}
""",
    ],
    "head_backward": [
        (
            "(drows @ weight.T).reshape(x.shape)",
            "dlogits @ weight.T",
        ),
        (
            "drows.T @ rows if tied else rows.T @ drows",
            'np.einsum("rv,rc->vc" if tied else "rv,rc->cv", drows, rows)',
        ),
        """
def head_backward(dlogits, cache):
    x, weight, tied = cache
    dweight = np.zeros(weight.shape, x.dtype)
    for rows, drows in zip(x, dlogits):
        dweight += rows.T @ drows
    if tied:
        return dlogits @ weight.T, {"token_embedding": {"weight": dweight.T}}
    return dlogits @ weight.T, {"head": {"weight": dweight}}
""",
    ],
    "language_model": [
        (
            "mask = causal_mask(ids.shape[1]) if mask is None else mask",
            "if mask is None:\n        mask = causal_mask(ids.shape[1])",
        ),
        (
            'norm(x, **params["final_norm"])',
            'norm(x, params["final_norm"]["weight"],'
            ' params["final_norm"]["bias"])',
        ),
        """
def language_model(ids, params, config, mask=None, rng=None):
    caches = []
    if mask is None:
        mask = np.tri(ids.shape[1], dtype=bool)
    x, cache = embed(ids, params, config, rng)
    caches.append(cache)
    for i in range(config.n_layers):
        x, cache = transformer_block(
            x, params["blocks"][i], config, mask, rng
        )
        caches.append(cache)
    norm = None
    if "final_norm" in params:
        x, norm = NORMS["pre"][0](x, **params["final_norm"])
    logits, last = head(x, params)
    return logits, (caches, norm, last)


def language_model_backward(dlogits, cache):
    (first, *blocks), norm, last = cache
    dx, grads = head_backward(dlogits, last)
    if norm is not None:
        dx, dweight, dbias = NORMS["pre"][1](dx, norm)
        grads["final_norm"] = {"weight": dweight, "bias": dbias}
    found = []
    while blocks:
        dx, block = transformer_block_backward(dx, blocks.pop())
        found.append(block)
    grads["blocks"] = found[::-1]
    for name, part in embed_backward(dx, first).items():
        if name in grads:
            part["weight"] = part["weight"] + grads[name]["weight"]
        grads[name] = part
    return grads
""",
    ],
    "language_model_backward": [
        (
            'grads["blocks"].insert(0, block_grads)',
            'grads["blocks"] = [block_grads, *grads["blocks"]]',
        ),
        (
            JOIN,
            'both = grads["token_embedding"]["weight"] + from_head["weight"]'
            '\n        grads["token_embedding"] = {"weight": both}',
        ),
        (
            'for block_cache in reversed(cache["blocks"]):',
            'for block_cache in cache["blocks"][::-1]:',
        ),
    ],
    "loss_and_grads": [
        ("backward(1.0,", "backward(1,"),
        (MODEL, "language_model(ids, params, config, None, rng)"),
        """
def loss_and_grads(ids, targets, params, config, rng=None):
    logits, model_cache = language_model(ids, params, config, rng=rng)
    loss, (log_probs, rows, keep) = cross_entropy(logits, targets)
    p = np.exp(log_probs)
    truth = np.eye(p.shape[-1], dtype=p.dtype)[rows[..., 0]]
    dlogits = (p - truth) * keep[..., None] * (1.0 / int(keep.sum()))
    return loss, language_model_backward(dlogits, model_cache)
""",
    ],
}
