"""The usual mistakes in the functions of lesson 04."""

import numpy as np

from helpers import language_model as right
from helpers.attention import softmax, softmax_backward
from helpers.embeddings import embedding, sinusoidal_positions
from helpers.runs.params import named_arrays
from helpers.transformer_block import dropout, layer_norm, transformer_block


def log_softmax(logits):
    p, _ = softmax(logits)
    yield "is the softmax: its logarithm is missing", p
    yield "has the wrong sign", -right.log_softmax(logits)
    yield (
        (
            "is the logarithm of a softmax that had become 0: subtract "
            "log(sum(exp)), take no log of a single probability"
        ),
        np.log(p),
    )
    plain = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    yield "overflowed: subtract the maximum of each row before exp", plain
    top = logits.max(axis=-1, keepdims=True)
    shifted = logits - top
    yield "lacks the logarithm of the sum", shifted
    total = np.exp(shifted).sum(axis=-1, keepdims=True)
    yield "has the sum subtracted, not its logarithm", shifted - total
    yield "is divided by the logarithm of the sum", shifted / np.log(total)
    yield "lost the maximum in its first term", logits - np.log(total)
    mean = np.exp(shifted).mean(axis=-1, keepdims=True)
    yield (
        "has a mean where the sum over the row is wanted",
        (shifted - np.log(mean)),
    )
    yield (
        "is summed over all rows, not its own",
        (shifted - np.log(np.exp(shifted).sum())),
    )
    yield (
        "has the logarithm of the sum added, not subtracted",
        (shifted + np.log(total)),
    )
    yield "has a logarithm with base 2, not e", shifted - np.log2(total)
    whole = logits - logits.max()
    yield (
        (
            "lost rows far below the largest logit of all: subtract the "
            "maximum of each row"
        ),
        whole - np.log(np.exp(whole).sum(axis=-1, keepdims=True)),
    )
    for axis in (0, -2) if logits.ndim > 1 else ():
        turned = right.log_softmax(logits.swapaxes(axis, -1))
        yield (
            f"is summed over axis {axis}, not over the last one",
            (turned.swapaxes(axis, -1)),
        )
        column = np.exp(shifted).sum(axis=axis, keepdims=True)
        yield (
            f"is summed over axis {axis}, not over the last one",
            (shifted - np.log(column)),
        )
    yield (
        "is in bits: it is divided by log(2)",
        (right.log_softmax(logits) / np.log(2)),
    )


def cross_entropy(logits, targets, ignore_index=-100):
    keep = targets != ignore_index
    rows = np.where(keep, targets, 0)[..., None]

    def pick(scores):
        return np.take_along_axis(scores, rows, axis=-1)[..., 0]

    log_probs = right.log_softmax(logits)
    costs = -pick(log_probs)
    yield "has the wrong sign: the loss is minus the mean", -mean(costs, keep)
    yield (
        "is a sum where a mean over the targets is wanted",
        (float(costs[keep].sum())),
    )
    yield (
        "counts the ignored targets in its mean",
        (float((costs * keep).mean())),
    )
    yield "has the ignored targets scored too", float(costs.mean())
    yield (
        "takes the logits for log-probabilities: log_softmax first",
        (-mean(pick(logits), keep)),
    )
    p = np.exp(log_probs)
    yield (
        "is the mean probability: its logarithm is missing",
        (mean(pick(p), keep)),
    )
    yield (
        "is minus the mean probability: its logarithm is missing",
        (-mean(pick(p), keep)),
    )
    yield (
        "is the logarithm of the mean, not the mean of the logarithms",
        (-float(np.log(mean(pick(p), keep)))),
    )
    yield (
        "is in bits: nats need the logarithm with base e",
        (mean(costs, keep) / float(np.log(2))),
    )
    yield (
        "went through the softmax twice",
        (-mean(pick(right.log_softmax(p)), keep)),
    )
    if targets.ndim > 1:
        means = [mean(c, k) for c, k in zip(costs, keep) if k.any()]
        yield (
            "is a mean of means: each target counts once",
            (float(np.mean(means))),
        )
    if ignore_index != -100:
        kept = targets != -100
        yield (
            "ignores -100 where ignore_index is wanted",
            (float(costs[kept].mean())),
        )
        plain = -np.take_along_axis(log_probs, targets[..., None], axis=-1)
        yield "ignores -100 where ignore_index is wanted", float(plain.mean())


def mean(array, keep):
    """Return the mean of what is kept, a float."""
    return float(array[keep].mean())


def cross_entropy_backward(dout, logits, targets, ignore_index=-100):
    keep = targets != ignore_index
    _, cache = right.cross_entropy(logits, targets, ignore_index)
    dlogits = right.cross_entropy_backward(1.0, cache)
    dout, count = float(dout), int(keep.sum())
    p, _ = softmax(logits)
    one_hot = np.eye(p.shape[-1])[np.where(keep, targets, 0)]
    kept = keep[..., None]
    yield "lacks dout", dlogits
    yield "is not divided by the number of targets", dlogits * dout * count
    yield (
        "is divided by the number of all targets, the ignored too",
        (dlogits * dout * count / keep.size),
    )
    yield (
        "is not divided by the number of targets, and lacks dout",
        (dlogits * count),
    )
    yield "is truth minus probability: the sign is wrong", -dlogits * dout
    yield (
        "lacks the one-hot: 1 is subtracted at each target",
        (p * kept * dout / count),
    )
    for there in (p + one_hot, np.where(one_hot > 0, 1 - p, p)):
        yield (
            "is wrong at the targets: probability minus 1 is wanted there",
            there * kept * dout / count,
        )
    yield "is not 0 where a target is ignored", (p - one_hot) * dout / count
    yield (
        "is not 0 where a target is ignored",
        ((p - one_hot * kept) * dout / count),
    )
    yield (
        "lacks exp: the cache holds log-probabilities",
        ((right.log_softmax(logits) - one_hot) * kept * dout / count),
    )
    yield (
        "is the gradient of minus the probability alone, -1 / p",
        (-one_hot / np.where(one_hot > 0, p, 1) * kept * dout / count),
    )
    yield (
        "is minus the one-hot: the probabilities are missing",
        (-one_hot * kept * dout / count),
    )
    yield (
        "went through softmax_backward: p - one-hot has that in it",
        (softmax_backward(dlogits * dout, p)),
    )


def accuracy(logits, targets, ignore_index=-100):
    keep = targets != ignore_index
    hits = logits.argmax(axis=-1) == targets
    yield "counts the ignored targets as wrong", float((hits & keep).mean())
    yield "is a number of hits, not a share", float(hits[keep].sum())
    yield "is a number of hits, not a share", int(hits[keep].sum())
    yield "is the share that is wrong", float((~hits)[keep].mean())
    worst = logits.argmin(axis=-1) == targets
    yield "looks at the lowest logit, not the highest", mean(worst, keep)
    if ignore_index != -100:
        yield "does not leave out ignore_index", float(hits.mean())


def count_params(params):
    arrays = list(named_arrays(params).values())
    yield "is the number of arrays, not of the numbers in them", len(arrays)
    yield "counts rows (len), not numbers (size)", sum(map(len, arrays))
    matrices = sum(a.size for a in arrays if a.ndim > 1)
    yield "counts the matrices alone, without biases", matrices
    yield "is a number of bytes", sum(a.nbytes for a in arrays)
    sums = sum(sum(a.shape) for a in arrays)
    yield "adds up the lengths of the axes: their product is wanted", sums
    yield (
        "has the first block alone",
        sum(
            array.size
            for name, array in named_arrays(params).items()
            if not name.startswith("blocks.") or name.startswith("blocks.0.")
        ),
    )
    yield (
        "lacks the blocks: go into lists too",
        sum(
            array.size
            for name, array in named_arrays(params).items()
            if not name.startswith("blocks.")
        ),
    )


def init_linear(config, rng, M, N, std=0.02):
    def start(weight, bias=0.0):
        made = {"weight": weight}
        if config.bias:
            made["bias"] = np.full(N, bias)
        return made

    drawn = rng.normal(size=(M, N))
    yield "is all zero: equal rows would stay equal", start(0 * drawn)
    yield "has a standard deviation of 1, not std", start(drawn)
    yield "has std as its variance", start(np.sqrt(std) * drawn)
    yield (
        "has the square of std as its standard deviation",
        (start(std**2 * drawn)),
    )
    yield "has a bias of 1: start it at 0", start(std * drawn, 1.0)
    if std != 0.02:
        yield "has a std of 0.02, not the one given", start(0.02 * drawn)


def init_norm(C):
    yield (
        "has a weight of 0, which loses what it norms: start at 1",
        {"weight": np.zeros(C), "bias": np.zeros(C)},
    )
    yield (
        "has a bias of 1: start it at 0",
        {"weight": np.ones(C), "bias": np.ones(C)},
    )
    yield (
        "has weight and bias in each other's place",
        {"weight": np.zeros(C), "bias": np.ones(C)},
    )


def perplexity(loss):
    yield "is the loss itself: take its exponential", loss
    yield "is a power of 2: nats need a power of e", 2**loss
    yield "is exp(-loss), a probability: the sign is wrong", np.exp(-loss)


def embed(ids, params, config, rng=None):
    x, _ = embedding(ids, params["token_embedding"]["weight"])
    B, T, C = x.shape
    if config.positions == "learned":
        table = params["position_embedding"]["weight"]
        first = table[:T]
        at_ids = table[ids % len(table)]
        yield (
            "has the rows of the ids as positions, not rows 0 to T - 1",
            (dropout(x + at_ids, config.dropout, rng)[0]),
        )
        other = sinusoidal_positions(T, C).astype(x.dtype)
        yield "has sinusoidal positions where config says learned", x + other
    else:
        first = sinusoidal_positions(T, C).astype(x.dtype)
    yield "lacks the positions", x
    yield "has its positions multiplied, not added", x * first
    yield "has its positions subtracted", x - first
    yield (
        "is multiplied by the square root of d_model: GPT-2 does not",
        (x * np.sqrt(C).astype(x.dtype) + first),
    )
    if rng is not None:
        yield "lacks the dropout", x + first
        dropped, _ = dropout(x, config.dropout, rng)
        yield "has dropout before the positions are added", dropped + first


def embed_backward(dout, ids, params, config, rng=None):
    B, T, C = dout.shape
    learned = config.positions == "learned"
    _, cache = right.embed(ids, params, config, rng)
    named = named_arrays(right.embed_backward(dout, cache))
    if cache["dropout"] is not None:
        plain = right.embed_backward(dout, cache | {"dropout": None})
        yield "lacks dropout_backward", named_arrays(plain)
    used = cache["dropout"]
    flowing = dout if used is None else dout * used
    once = np.zeros_like(params["token_embedding"]["weight"])
    once[ids] = flowing
    name = "token_embedding.weight"
    yield "has the last use of an id alone: uses add up", {name: once}
    if learned:
        name, table = "position_embedding.weight", named
        first = np.zeros_like(table[name])
        first[:T] = flowing[0]
        yield "has the first sequence alone: sum over the batch", {name: first}
        yield (
            "is a mean over the batch: a sum is wanted",
            {name: table[name] / B},
        )


def head(x, params):
    if "head" in params:
        return
    weight = params["token_embedding"]["weight"]
    logits = x @ weight.T
    yield "went through a softmax: the head returns scores", softmax(logits)[0]
    yield (
        "is divided by the square root of C: the head is not scaled",
        (logits / np.sqrt(x.shape[-1]).astype(x.dtype)),
    )
    yield (
        "is a log_softmax: the head returns scores",
        (right.log_softmax(logits)),
    )


def head_backward(dlogits, x, params):
    tied = "head" not in params
    rows, drows = (a.reshape(-1, a.shape[-1]) for a in (x, dlogits))
    dweight = drows.T @ rows if tied else rows.T @ drows
    name = "token_embedding.weight" if tied else "head.weight"
    yield (
        "has the transposed shape: (V, C) for the table, (C, V) else",
        {name: dweight.T},
    )
    last = np.tensordot(dlogits[-1], x[-1], (0, 0))
    yield (
        "has the last sequence alone: sum over all rows",
        {name: last if tied else last.T},
    )
    yield (
        "is a mean over the rows: a sum is wanted",
        {name: dweight / len(rows)},
    )


def language_model(ids, params, config, mask=None, rng=None):
    mask = np.tri(ids.shape[1], dtype=bool) if mask is None else mask
    blocks, pre = params["blocks"], config.norm == "pre"

    def run(blocks=blocks, mask=mask, norm=pre, rng=rng, drops=(True, True)):
        rng = np.random.default_rng() if rng is None else again(rng)
        x, _ = right.embed(ids, params, config, rng if drops[0] else None)
        for block in blocks:
            one = rng if drops[1] else None
            x, _ = transformer_block(x, block, config, mask, one)
        if norm:
            x, _ = layer_norm(x, **params["final_norm"])
        return right.head(x, params)[0]

    none = (rng is not None,) * 2
    everything = np.ones_like(mask)
    yield (
        "sees what follows: mask None means causal",
        (run(mask=everything, drops=none)),
    )
    yield (
        "sees what follows and not what was: the mask is turned over",
        (run(mask=np.tri(ids.shape[1], dtype=bool).T, drops=none)),
    )
    yield (
        "has the causal mask in place of the one given",
        (run(mask=np.tri(ids.shape[1], dtype=bool), drops=none)),
    )
    yield "lacks its last block", run(blocks[:-1], drops=none)
    yield "lacks the first block", run(blocks[1:], drops=none)
    yield "lacks the blocks", run([], drops=none)
    yield "has the blocks in reverse", run(blocks[::-1], drops=none)
    yield (
        "has the first block twice, in place of the second",
        (run(blocks[:1] * len(blocks), drops=none)),
    )
    yield (
        "has the last block in place of all",
        (run(blocks[-1:] * len(blocks), drops=none)),
    )
    if pre:
        yield (
            "lacks the final norm of a pre-norm model",
            (run(norm=False, drops=none)),
        )
    if rng is not None:
        yield (
            "lacks the dropout: rng is handed to no function",
            (run(drops=(False, False))),
        )
        yield (
            "lacks the dropout of the embedding: embed takes rng too",
            (run(drops=(False, True))),
        )
        yield (
            "lacks the dropout of the blocks: they take rng too",
            (run(drops=(True, False))),
        )
    yield (
        "is a softmax of the logits: return the logits",
        (softmax(run(drops=none))[0]),
    )


def again(rng):
    """Return a generator in the state of another, which stays as it is."""
    copy = np.random.default_rng()
    copy.bit_generator.state = rng.bit_generator.state
    return copy


def language_model_backward(dlogits, ids, params, config, mask=None, rng=None):
    _, cache = right.language_model(ids, params, config, mask, rng)
    grads = named_arrays(right.language_model_backward(dlogits, cache))
    dx, from_head = right.head_backward(dlogits, cache["head"])
    tied = "token_embedding" in from_head
    table = "token_embedding.weight"
    if tied:
        head = from_head["token_embedding"]["weight"]
        both = grads[table]
        yield (
            "lacks the head's gradient: the table is used twice",
            {table: both - head},
        )
        yield (
            "lacks the lookup's gradient: the table is used twice",
            {table: head},
        )
        yield "has the head's gradient twice", {table: both + head}
        yield "has the head's gradient subtracted", {table: both - 2 * head}
        yield "is a mean of its two gradients: they add up", {table: both / 2}
    n = len(params["blocks"])
    if n > 1:
        mixed = {
            name: grads[
                re_number(name, n - 1 - int(name.split(".")[1]))
                if name.startswith("blocks.")
                else name
            ]
            for name in grads
        }
        yield "belongs to another block: backward reads them in reverse", mixed


def re_number(name, i):
    """Return the name of an array in another block."""
    _, _, rest = name.split(".", 2)
    return f"blocks.{i}.{rest}"


def loss_and_grads(ids, targets, params, config, rng=None):
    logits, cache = right.language_model(ids, params, config, rng=rng)
    loss, loss_cache = right.cross_entropy(logits, targets)

    def answer(dlogits, cache=cache, loss=loss):
        grads = right.language_model_backward(dlogits, cache)
        return {"loss": loss} | named_arrays(grads)

    dlogits = right.cross_entropy_backward(1.0, loss_cache)
    yield (
        "has dout = loss in its backward: it starts with 1.0",
        (answer(dlogits * loss)),
    )
    yield (
        "starts its backward with dout = -1: the gradient points uphill",
        (answer(-dlogits)),
    )
    if targets.min() >= 0:
        of_ids, ids_cache = right.cross_entropy(logits, ids)
        yield (
            "scores the ids: the targets are what comes next",
            (
                answer(
                    right.cross_entropy_backward(1.0, ids_cache), loss=of_ids
                )
            ),
        )
    yield (
        "has the loss per sequence: cross_entropy gives it per token",
        (answer(dlogits, loss=loss * ids.shape[1])),
    )
    yield (
        "is multiplied by the number of targets",
        (answer(dlogits * (targets != -100).sum())),
    )
    if rng is not None:
        plain, still = right.language_model(ids, params, config)
        loss, loss_cache = right.cross_entropy(plain, targets)
        dlogits = right.cross_entropy_backward(1.0, loss_cache)
        yield (
            "lacks the dropout: hand rng to language_model",
            (answer(dlogits, still, loss)),
        )


def count_by_formula(config):
    V, C, F = config.vocab_size, config.d_model, config.d_ff
    L, T = config.n_layers, config.max_seq_len
    maps = 4 * C * C + 4 * C + 2 * C * F + F + C
    whole = (V + T) * C + L * (maps + 4 * C) + 2 * C
    lost = {
        "lacks the table of tokens": V * C,
        "lacks the table of positions": T * C,
        "lacks the two tables": (V + T) * C,
        "lacks the norm behind the last block": 2 * C,
        "lacks 4 C a block: the two norms, or the biases of attention": (
            L * 4 * C
        ),
        "counts one norm in a block: there are two": L * 2 * C,
        "counts C for a norm: it has a weight and a bias": (2 * L + 1) * C,
        "lacks the bias of q, k and v": L * 3 * C,
        "lacks the biases of the feed-forward layer": L * (F + C),
        "lacks the biases of the linear maps": L * (5 * C + F),
        "lacks the map behind the heads": L * (C * C + C),
        "counts one of the two maps of the feed-forward layer": L * F * C,
        "counts one block: n_layers is missing": (L - 1) * (maps + 4 * C),
    }
    for clause, number in lost.items():
        yield clause, whole - number
    yield "counts a head: a tied one has no table of its own", whole + V * C


def rows_with_gradient(ids, p, params, config):
    def rows(where):
        return np.unique(where).tolist()

    yield "lacks what stands at p: its own loss needs it", rows(ids[:, :p])
    yield (
        "has every token of ids: the targets at other places must be -100",
        rows(ids),
    )
    yield (
        "has the tokens at p alone: they see what stands before them",
        rows(ids[:, p]),
    )
    yield "has the tokens of one sequence alone", rows(ids[0, : p + 1])
    yield (
        "has all rows: use the params and config that are given",
        [*range(config.vocab_size)],
    )
    yield (
        "counts columns: look for the largest of each row",
        [*range(config.d_model)],
    )


def smooth(logits, targets, epsilon):
    keep, V = targets != -100, logits.shape[-1]
    onehot = np.eye(V)[np.where(keep, targets, 0)]
    logs = right.log_softmax(logits)

    def loss(goal):
        return -(goal * logs).sum(axis=-1)[keep].mean()

    goal = (1 - epsilon) * onehot + epsilon / V
    yield (
        "is divided by all positions: those without a target do not count",
        loss(goal) * keep.mean(),
    )
    yield (
        "has a loss for positions without a target: they do not count",
        -(goal * logs).sum(axis=-1).mean(),
    )
    yield (
        "lacks 1 - epsilon, the share of the target",
        loss(onehot + epsilon / V),
    )
    yield (
        "lacks the share of the others, epsilon / V",
        loss((1 - epsilon) * onehot),
    )
    yield (
        "gives each token epsilon: they share it, epsilon / V",
        loss((1 - epsilon) * onehot + epsilon),
    )
    yield (
        "gives the target no part of epsilon: all V tokens share it",
        loss((1 - epsilon) * onehot + (1 - onehot) * epsilon / V),
    )
    yield "is the cross-entropy: epsilon does nothing", loss(onehot)


def smooth_backward(dout, logits, targets, epsilon):
    keep, V = targets != -100, logits.shape[-1]
    onehot = np.eye(V)[np.where(keep, targets, 0)]
    goal = (1 - epsilon) * onehot + epsilon / V
    logs = right.log_softmax(logits)
    scale = keep[:, None] * dout / keep.sum()
    yield "has log p where p is wanted", (logs - goal) * scale
    yield (
        "is p - one-hot: the mixed targets are wanted",
        scale * (np.exp(logs) - onehot),
    )
    yield "lacks p", -goal * scale
    yield "lacks the mixed targets", np.exp(logs) * scale
