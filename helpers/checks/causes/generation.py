"""The usual mistakes in the functions of lesson 07."""

import numpy as np

from helpers import generation as right
from helpers.checks.cases import generation as cases
from helpers.checks.causes.altered import altered
from helpers.language_model import log_softmax

# the text of the shelf, what stands in its place, and what is then so


DRAW = (
    (
        "rng.random() * edges[-1]",
        "rng.random()",
        "is thrown at a line of length 1: stretch the dart to the last edge",
    ),
    ('"right"', '"left"', "gives a dart on an edge to the token before"),
    (
        "edges = np.cumsum(probs)",
        "edges = probs",
        "has the probabilities for edges, not their running sums",
    ),
    (
        "int(np.searchsorted(edges",
        "len(probs) - 1 - int(np.searchsorted(edges",
        "counts the tokens from the end",
    ),
    (
        'np.searchsorted(edges, rng.random() * edges[-1], "right")',
        "rng.random() * len(probs)",
        "makes all tokens as likely",
    ),
)


def draw(probs, darts, times=None):
    given = probs, darts, times
    yield from altered(right.draw, DRAW, given, use=cases._throw)
    rng, each = cases._Darts(darts), []
    for _ in range(times or len(darts)):
        below = np.flatnonzero(rng.random() < np.array(probs))
        each.append(int([*below, len(probs) - 1][0]))
    yield "compares its dart with each probability, not with the sums", each
    best = [int(np.argmax(probs))] * (times or len(darts))
    yield "is the most likely token, whatever the dart", best


def keep_top_k(probs, k):
    def mark(order, n=None):
        return np.isin(np.arange(len(probs)), order[: k if n is None else n])

    order = np.argsort(-probs, kind="stable")
    up = np.argsort(probs, kind="stable")
    yield "has the least likely tokens marked: sort downwards", mark(up)
    yield "is the ids of the tokens, not a mark for each", order[:k]
    yield "takes argsort for ranks: it gives ids", order < k
    yield "prefers the larger ids among equals", mark(up[::-1])
    yield "has one token too many", mark(order, k + 1)
    if k > 1:
        yield "has one token too few", mark(order, k - 1)
    if k <= len(probs):
        edge = probs[order[k - 1]]
        yield "marks all equals at the edge, more than k", probs >= edge
        if (probs == edge).sum() > 1:
            less = probs > edge
            yield "lacks the tokens as likely as the one at the edge", less
    yield "marks the first k ids, however likely", np.arange(len(probs)) < k
    yield "marks the tokens that are cut, not those kept", ~mark(order)


def keep_top_p(probs, p):
    order = np.argsort(-probs, kind="stable")
    totals = np.cumsum(probs[order])

    def mark(chosen, order=order):
        keep = np.zeros(len(probs), dtype=bool)
        keep[order] = chosen
        return keep

    yield "loses the token that crosses the line", mark(totals <= p)
    yield "loses the token that crosses the line", mark(totals < p)
    first = totals < p
    first[0] = True
    yield "loses the token that crosses the line", mark(first)
    first = totals <= p
    first[0] = True
    yield "loses the token that crosses the line", mark(first)
    before = totals - probs[order]
    yield "keeps one more where p is reached to the dot", mark(before <= p)
    up = np.argsort(probs, kind="stable")
    ahead = np.cumsum(probs[up]) - probs[up]
    yield "begins with the least likely token", mark(ahead < p, up)
    row = before < p
    yield "is in the order of the sorted row: put it back to the ids", row
    row = row.copy()
    row[order[0]] = True
    yield "is in the order of the sorted row: put it back to the ids", row
    yield (
        "goes by the ids, not from the most likely token down",
        (np.cumsum(probs) - probs < p),
    )
    yield "marks what is cut, not what is kept", ~mark(before < p)
    yield "keeps each token of a probability of p or more", probs >= p


def keep_min_p(probs, p):
    kept = np.where(probs >= p * probs.max(), probs, 0)
    yield "is the probabilities that are kept, not marks", kept
    yield (
        "lacks the factor: p is a share of the highest probability",
        (probs >= p),
    )
    yield (
        "lacks the tokens with exactly p times the highest",
        (probs > p * probs.max()),
    )
    yield "is divided by p, not multiplied", probs >= probs.max() / p
    yield "marks the tokens to cut, not those to keep", probs < p * probs.max()
    yield "goes by the mean, not by the highest", probs >= p * probs.mean()
    yield "goes by the lowest, not by the highest", probs >= p * probs.min()


def apply_temperature(logits, temperature):
    top = logits.max()
    if temperature == 0:
        equals = (logits == top).astype(float)
        yield (
            "shares between equals: the first takes all",
            equals / equals.sum(),
        )
        yield "has a 1 for each of the equals", equals
        plain = np.exp(log_softmax(logits))
        yield "is the softmax, as if T were 1", plain
        last = len(logits) - 1 - logits[::-1].argmax()
        yield (
            "takes the last of the equals",
            cases._marks(len(logits), last).astype(float),
        )
        yield (
            "takes the lowest logit",
            cases._marks(len(logits), logits.argmin()).astype(float),
        )
        return
    if temperature != 1:
        yield (
            "is multiplied by T, not divided",
            np.exp(log_softmax(logits * temperature)),
        )
        yield "has T ignored", np.exp(log_softmax(logits))
        probs = np.exp(log_softmax(logits))
        yield (
            "has the probabilities divided, not the logits",
            (probs / temperature),
        )
        yield (
            "has the softmax of probabilities: divide the logits",
            np.exp(log_softmax(probs / temperature)),
        )
        yield (
            "has T in the exponent: divide by it",
            np.exp(log_softmax(logits / temperature**2)),
        )
    yield (
        "is the logarithm of the probabilities",
        log_softmax((logits - top) / temperature),
    )
    yield "is not divided by its sum", np.exp((logits - top) / temperature)
    yield "is not divided by its sum", np.exp(logits / temperature)


LEFT = (
    "lets a filter look at more than the one before left: top_k, top_p, "
    "min_p, each followed by a division by the sum"
)
NEXT_TOKEN_PROBS = (
    (
        "            probs /= probs.sum()\n",
        "",
        "does not sum to 1: divide by the sum after each filter",
    ),
    (
        "            probs /= probs.sum()\n    return probs",
        "    return probs / probs.sum()",
        LEFT,
    ),
    (
        "apply_temperature(logits, temperature)",
        "apply_temperature(logits, 1.0)",
        "has the temperature ignored",
    ),
    (
        "np.where(keep(probs, setting), probs, 0.0)",
        "np.where(keep(probs, setting), 0.0, probs)",
        "keeps what is to be cut",
    ),
    (
        "    logits = np.asarray(logits, dtype=np.float64)\n",
        "",
        "is not float64: make it so before anything else",
    ),
    ("        (keep_top_k, top_k),\n", "", "has top_k ignored"),
    ("        (keep_top_p, top_p),\n", "", "has top_p ignored"),
    ("        (keep_min_p, min_p),\n", "", "has min_p ignored"),
    (
        "        (keep_top_k, top_k),\n        (keep_top_p, top_p),\n"
        "        (keep_min_p, min_p),\n",
        "        (keep_min_p, min_p),\n        (keep_top_p, top_p),\n"
        "        (keep_top_k, top_k),\n",
        LEFT,
    ),
    (
        "        (keep_top_k, top_k),\n        (keep_top_p, top_p),\n",
        "        (keep_top_p, top_p),\n        (keep_top_k, top_k),\n",
        LEFT,
    ),
    (
        "keep(probs, setting), probs, 0.0",
        "keep(apply_temperature(logits, temperature), setting), probs, 0.0",
        LEFT,
    ),
    (
        "    return probs\n",
        "    return apply_temperature(np.log(probs), temperature)\n",
        "has the temperature applied twice",
    ),
)


def next_token_probs(logits, **settings):
    function, given = right.next_token_probs, (logits,)
    use, rows = cases._look, NEXT_TOKEN_PROBS
    if len(settings) > 1:  # cases with one setting come first
        rows = [row for row in rows if "ignored" not in row[2]]
    yield from altered(function, rows, given, settings, use)
    if settings.get("temperature", 1) not in (0, 1):
        plain = settings | {"temperature": 1.0}
        probs = function(logits, **plain)
        with np.errstate(divide="ignore"):
            late = right.apply_temperature(
                np.log(probs), settings["temperature"]
            )
        if len(settings) > 1:
            found = {"probs": late, "dtype": "float64"}
            yield "has the temperature after the filters", found


PENALISE_REPEATS = (
    (
        "np.where(old > 0, old / penalty, old * penalty)",
        "old / penalty",
        "divides negative logits too, which makes them larger",
    ),
    (
        "np.where(old > 0, old / penalty, old * penalty)",
        "old * penalty",
        "multiplies positive logits too, which makes them larger",
    ),
    (
        "np.where(old > 0, old / penalty, old * penalty)",
        "np.where(old > 0, old * penalty, old / penalty)",
        "makes repeats more likely: divide where positive, multiply where "
        "negative",
    ),
    (
        "np.where(old > 0, old / penalty, old * penalty)",
        "old - penalty",
        "has the penalty subtracted",
    ),
    (
        "seen = np.unique(np.asarray(ids, dtype=np.int64))",
        "seen = np.arange(len(logits))",
        "changes all tokens, not those that occurred",
    ),
    (
        "seen = np.unique(np.asarray(ids, dtype=np.int64))",
        "seen = np.asarray(ids, dtype=np.int64)[-1:]",
        "changes the last id alone",
    ),
    (
        "seen = np.unique(np.asarray(ids, dtype=np.int64))",
        "seen = np.setdiff1d(np.arange(len(logits)), "
        "np.array(ids, dtype=int))",
        "changes the tokens that did not occur",
    ),
    (
        "    if penalty == 1:\n",
        "    if penalty <= 1:\n",
        "has the penalty ignored",
    ),
    ("    if penalty == 1:\n", "    if True:\n", "has the penalty ignored"),
)


def penalise_repeats(logits, ids, penalty):
    given = logits, ids, penalty
    yield from altered(right.penalise_repeats, PENALISE_REPEATS, given)
    often = np.array(logits)
    for i in ids:
        often[i] = often[i] / penalty if often[i] > 0 else often[i] * penalty
    yield "is penalised once for each time an id occurs", often


NEXT_TOKEN = (
    (
        "    logits = penalise_repeats(logits, ids, repetition_penalty)\n",
        "",
        "has the repetition penalty ignored",
    ),
    (
        "next_token_probs(logits, **settings)",
        "next_token_probs(logits)",
        "has the settings of next_token_probs ignored",
    ),
    (
        "return draw(probs, rng), probs",
        "return int(probs.argmax()), probs",
        "takes the most likely token: draw it",
    ),
    (
        "return draw(probs, rng), probs",
        "return draw(probs, np.random.default_rng(0)), probs",
        "draws with another generator than rng",
    ),
    (
        "return draw(probs, rng), probs",
        "return draw(probs, rng), logits",
        "returns the logits, not the probabilities",
    ),
    (
        "return draw(probs, rng), probs",
        "return probs, draw(probs, rng)",
        "has the token and the probabilities in the wrong order",
    ),
    (
        "return draw(probs, rng), probs",
        "return draw(probs, rng)",
        "lacks the probabilities",
    ),
    (
        "penalise_repeats(logits, ids, repetition_penalty)",
        "penalise_repeats(logits, ids[-1:], repetition_penalty)",
        "has the last id alone penalised",
    ),
    (
        "    probs = next_token_probs(logits, **settings)\n"
        "    return draw(probs, rng), probs",
        "    probs = next_token_probs(logits, **settings)\n"
        "    return draw(probs, rng), next_token_probs(logits)",
        "returns other probabilities than those it drew from",
    ),
)


def next_token(*arguments, **settings):
    use, function = cases._choose, right.next_token
    yield from altered(function, NEXT_TOKEN, arguments, settings, use)


KVCACHE_STORE = (
    (
        "self.length : end] = v\n",
        "self.length : end] = v\n        self.length = end\n",
        "moves length on: next_logits does, after the last layer",
    ),
    (
        "        return self.keys[layer, :, :, :end], "
        "self.values[layer, :, :, :end]",
        "        return k, v",
        "returns the new keys and values alone, not all so far",
    ),
    (
        "        return self.keys[layer, :, :, :end], "
        "self.values[layer, :, :, :end]",
        "        return self.keys[layer], self.values[layer]",
        "returns the empty places as well: only up to the end in use",
    ),
    (
        "self.length : end] = v",
        "self.length : end] = k",
        "has the keys stored as values",
    ),
    (
        "        return self.keys[layer, :, :, :end], "
        "self.values[layer, :, :, :end]",
        "        return self.values[layer, :, :, :end], "
        "self.keys[layer, :, :, :end]",
        "returns values and keys in the wrong order",
    ),
    (
        "        self.keys[layer, :, :, self.length : end] = k\n"
        "        self.values[layer, :, :, self.length : end] = v\n",
        "        self.keys[layer, :, :, : k.shape[2]] = k\n"
        "        self.values[layer, :, :, : k.shape[2]] = v\n",
        "writes to the first places, not behind those in use",
    ),
    (
        "        self.keys[layer, :, :, self.length : end] = k\n"
        "        self.values[layer, :, :, self.length : end] = v\n",
        "        self.keys[:, :, :, self.length : end] = k\n"
        "        self.values[:, :, :, self.length : end] = v\n",
        "writes to every layer",
    ),
    (
        "        self.keys[layer, :, :, self.length : end] = k\n",
        "",
        "does not store the keys",
    ),
)


def KVCache_store(*arguments):
    function, use = right.KVCache, cases._store
    yield from altered(function, KVCACHE_STORE, arguments, use=use)


def new_positions(kv, T):
    places = np.arange(kv.length, kv.length + T)
    if kv.padding is None:
        yield "begins at 0, whatever the cache holds", np.arange(T)
    yield "begins one place too far", places + 1
    yield "ends where the new tokens begin", np.arange(kv.length)
    if kv.padding is not None:
        padding = kv.padding[:, None]
        yield "has the padding ignored", places
        yield "has the padding ignored", np.tile(places, (len(padding), 1))
        yield "falls below 0 at the padding", places - padding
        yield "has the padding added, not subtracted", places + padding
        yield "has the padding ignored behind it", np.maximum(places, padding)
        yield (
            "begins at 0, whatever the cache holds",
            np.maximum(np.arange(T) - padding, 0),
        )


def new_mask(kv, T):
    S = kv.length + T
    square = np.tri(S, dtype=bool)
    rows = square[kv.length :]
    if kv.padding is None:
        yield (
            "lets all see all: the new tokens must not look ahead",
            np.ones((T, S), dtype=bool),
        )
        if kv.length:
            yield (
                "is for the new tokens alone: all S places are columns",
                (np.tri(T, dtype=bool)),
            )
            yield "has a row for the stored tokens too: the last T", square
            yield "has the first T rows, not the last", square[:T]
        return
    padding = kv.padding[:, None, None, None]
    real, eye = np.arange(S) >= padding, np.eye(S, dtype=bool)[kv.length :]
    yield "has the padding ignored", rows
    yield "leaves a padding token nothing to see: it sees itself", rows & real
    yield (
        "lacks the axis of the heads: (B, 1, T, S)",
        (rows & (real | eye))[:, 0],
    )
    yield (
        "has one place of padding too many",
        rows & ((np.arange(S) > padding) | eye),
    )
    yield "hides what is real and shows the padding", rows & (~real | eye)
    yield "is not causal", np.broadcast_to(real | eye, (rows & real).shape)
    yield "lets each see itself and no more", rows & real & eye | eye & ~real
    if kv.length:
        shifted = np.arange(S) >= padding + kv.length
        yield (
            "takes the padding to be among the new tokens",
            rows & (shifted | eye),
        )


CACHED_ATTENTION = (
    (
        "    merged, _ = merge_heads(heads)  # (B, T, C)\n",
        "    merged = heads.reshape(x.shape)\n",
        "has its heads reshaped, not merged",
    ),
    (
        "    mask = new_mask(kv, x.shape[1])\n",
        "    mask = new_mask(kv, x.shape[1])\n    kv.length += x.shape[1]\n",
        "moves kv.length on: next_logits does, once for all layers",
    ),
    (
        "attention(q, keys, values, mask)",
        "attention(q, values, keys, mask)",
        "has the keys and values of store in the wrong order",
    ),
    (
        "    keys, values = kv.store(layer, k, v)  # (B, H, S, D)\n"
        "    mask = new_mask(kv, x.shape[1])\n",
        "    keys, values = kv.store(layer, k, v)  # (B, H, S, D)\n"
        "    mask = None\n",
        "has no mask: new_mask makes it",
    ),
    (
        "scaled_dot_product_attention(q, keys, values, mask)",
        "scaled_dot_product_attention(q, k, v, mask)",
        "attends to the new keys alone: use those that store returns",
    ),
    (
        "scaled_dot_product_attention(q, keys, values, mask)",
        "scaled_dot_product_attention(q, k, v, mask[..., -k.shape[2]:] if "
        "mask is not None else None)",
        "attends to the new keys alone: use those that store returns",
    ),
    (
        "kv.store(layer, k, v)",
        "kv.store(0, k, v)",
        "uses the first layer's places: kv.store(layer, ...)",
    ),
    (
        "kv.store(layer, k, v)",
        "kv.store(layer, v, k)",
        "has keys and values in the wrong order",
    ),
    (
        "q, k, v = np.split",
        "k, q, v = np.split",
        "has q, k and v in another order",
    ),
    (
        "q, k, v = np.split",
        "q, v, k = np.split",
        "has keys and values in the wrong order",
    ),
    (
        'return linear(merged, **params["out"])',
        "return merged, None",
        "lacks the last linear map",
    ),
    (
        'return linear(merged, **params["out"])',
        'return linear(merged, **params["out"])[0]',
        "comes without a cache: residual unpacks out, cache",
    ),
    (
        'return linear(merged, **params["out"])',
        'return linear(merged, params["out"]["weight"])',
        "lacks the bias of the last linear map",
    ),
    (
        'linear(x, **params["qkv"])',
        'linear(x, params["qkv"]["weight"])',
        "lacks the bias of qkv",
    ),
    (
        'return linear(merged, **params["out"])',
        'return linear(merged, **params["out"])[0] + x, None',
        "has x added: that is residual's work",
    ),
    (
        "new_mask(kv, x.shape[1])",
        "causal_mask(keys.shape[2])[-x.shape[1]:]",
        "knows no padding: new_mask makes the mask",
    ),
)


def cached_attention(*arguments):
    function, use = right.cached_attention, cases._attend
    yield from altered(function, CACHED_ATTENTION, arguments, use=use)


RESIDUALS = (
    '    x, _ = residual(x, attend, params["norm1"], config)\n'
    '    x, _ = residual(x, feed, params["norm2"], config)\n'
)
CACHED_BLOCK = (
    (
        RESIDUALS,
        '    for part, norm in ((attend, "norm1"), (feed, "norm2")):\n'
        "        h, _ = NORMS['pre'][0](x, **params[norm])\n"
        "        x = x + part(h)[0]\n",
        "is pre-norm, whatever config.norm says: residual looks at it",
    ),
    (
        RESIDUALS,
        '    a, _ = residual(x, attend, params["norm1"], config)\n'
        '    f, _ = residual(x, feed, params["norm2"], config)\n'
        "    x = a + f - x\n",
        "has both parts read x: feed-forward comes behind attention",
    ),
    (
        RESIDUALS,
        '    x, _ = residual(x, feed, params["norm2"], config)\n'
        '    x, _ = residual(x, attend, params["norm1"], config)\n',
        "has feed-forward before attention",
    ),
    (
        '    x, _ = residual(x, feed, params["norm2"], config)\n',
        "",
        "lacks the feed-forward part",
    ),
    (
        '    x, _ = residual(x, attend, params["norm1"], config)\n',
        "",
        "lacks the attention part",
    ),
    ('params["norm2"]', 'params["norm1"]', "has norm1 in both places"),
    (
        'feed_forward(h, params["feed_forward"], config.activation)',
        'feed_forward(h, params["feed_forward"], "gelu")',
        "has config.activation ignored",
    ),
    (
        'residual(x, attend, params["norm1"], config)',
        "attend(x)",
        "lacks the residual around attention",
    ),
    (
        'residual(x, feed, params["norm2"], config)',
        "feed(x)",
        "lacks the residual around feed-forward",
    ),
    (
        'x, _ = residual(x, attend, params["norm1"], config)',
        'x = x + attend(NORMS["pre"][0](x, **params["norm1"])[0])[0]',
        "is pre-norm, whatever config.norm says: residual looks at it",
    ),
    (
        "config.n_heads, kv, layer)",
        "config.n_heads, kv, 0)",
        "uses the first layer's places: pass layer on",
    ),
    (
        "    return x\n",
        "    return x, None\n",
        "comes with a cache: return x alone",
    ),
)


def cached_block(pieces, params, config, padding):
    function, use = right.cached_block, cases._block
    given = pieces, params, config, padding
    yield from altered(function, CACHED_BLOCK, given, use=use)


def position_vectors(positions, params, config):
    table = params.get("position_embedding", {}).get("weight")
    waves = right.sinusoidal_positions(config.max_seq_len, config.d_model)
    if config.positions == "learned":
        yield "is sinusoidal, whatever config.positions says", waves[positions]
    T = positions.shape[-1]
    found = table if config.positions == "learned" else waves
    yield "begins at 0, whatever the positions", found[:T]
    yield "is the whole table", found
    yield (
        "is one place too far",
        found[np.minimum(positions + 1, len(found) - 1)],
    )


NEXT_LOGITS = (
    (
        "kv.length += T",
        "kv.length += ids.size",
        "moves kv.length on by all ids: by T, the length of a row",
    ),
    ("kv.length += T", "kv.length -= T", "moves kv.length backwards"),
    (
        'enumerate(params["blocks"])',
        'enumerate(params["blocks"][:1])',
        "goes through the first block alone",
    ),
    (
        "x = cached_block(",
        "cached_block(",
        "throws away what the blocks return",
    ),
    (
        "    kv.length += T\n",
        "",
        "does not move kv.length on: add T, once for all layers",
    ),
    (
        "    kv.length += T\n",
        "    kv.length += 1\n",
        "moves kv.length on by 1, not by T",
    ),
    (
        "    kv.length += T\n",
        "    kv.length = T\n",
        "sets kv.length to T: add to it",
    ),
    (
        "x = cached_block(x, block, config, kv, layer)",
        "x = cached_block(x, block, config, kv, layer); kv.length += T",
        "moves kv.length on in each layer: once, behind the loop",
    ),
    (
        "cached_block(x, block, config, kv, layer)",
        "cached_block(x, block, config, kv, 0)",
        "uses the first layer's places in every layer",
    ),
    (
        "positions = new_positions(kv, T)",
        "positions = np.arange(T)",
        "has positions from 0, whatever the cache holds",
    ),
    (
        "positions = new_positions(kv, T)",
        "positions = np.arange(kv.length, kv.length + T)",
        "counts padding among the positions: new_positions does not",
    ),
    (
        "    x = x + position_vectors(positions, params, config)"
        ".astype(x.dtype)\n",
        "",
        "lacks the position vectors",
    ),
    (
        '        x, _ = norm(x, **params["final_norm"])\n',
        "",
        "lacks the final norm",
    ),
    ("x = x[:, -1:]", "x = x[:, :1]", "is for the first new id, not the last"),
    (
        "return logits[:, 0]",
        "return logits",
        "has an axis too many: logits (B, V)",
    ),
    (
        "return logits[:, 0]",
        "return np.exp(logits[:, 0])",
        "is the exponential of the logits",
    ),
    (
        "logits, _ = head(x, params)",
        'logits, _ = linear(x, params["token_embedding"]["weight"].T)',
        "has the head always tied: head looks at params",
    ),
)


def next_logits(pieces, params, config, padding=None):
    function, use = right.next_logits, cases._feed
    given = pieces, params, config, padding
    yield from altered(function, NEXT_LOGITS, given, use=use)


WHOLE = (
    "runs the model over the whole text for each token: after the first "
    "step feed only what was just drawn"
)
SAMPLE_STEPS = (
    (
        "next_logits(np.array([new]), params, config, kv)",
        "next_logits(np.array([ids]), params, config, "
        "KVCache(params, config))",
        WHOLE,
    ),
    (
        "        if token == stop_id:\n            return\n        yield "
        "token, probs\n",
        "        yield token, probs\n        if token == stop_id:\n"
        "            return\n",
        "yields stop_id before it stops",
    ),
    (
        "        if token == stop_id:\n            return\n",
        "",
        "never stops at stop_id",
    ),
    (
        "        if token == stop_id:\n            return\n",
        "        if stop_id and token == stop_id:\n            return\n",
        "takes a stop_id of 0 for none",
    ),
    (
        "        if token == stop_id:\n            return\n",
        "        if token == stop_id:\n            continue\n",
        "goes on behind stop_id: return",
    ),
    (
        "        ids.append(token)\n",
        "",
        "does not append the token to ids: the penalty must see it",
    ),
    (
        "next_token(logits, ids, rng",
        "next_token(logits, new, rng",
        "lets the penalty see the last token alone",
    ),
    (
        "next_token(logits, ids, rng, **knobs)",
        "next_token(logits, ids, rng)",
        "has the knobs ignored",
    ),
    (
        "next_token(logits, ids, rng, **knobs)",
        "next_token(logits, ids, np.random.default_rng(0), **knobs)",
        "draws with another generator than rng",
    ),
    (
        "min(n_tokens, config.max_seq_len - len(ids))",
        "min(n_tokens, config.max_seq_len - len(ids) - 1)",
        "ends one token early",
    ),
    (
        "min(n_tokens, config.max_seq_len - len(ids))",
        "min(n_tokens - len(ids), config.max_seq_len - len(ids))",
        "counts the prompt among n_tokens",
    ),
    (
        "min(n_tokens, config.max_seq_len - len(ids))",
        "config.max_seq_len - len(ids)",
        "has n_tokens ignored",
    ),
    (
        "yield token, probs",
        "yield token",
        "yields the token alone: token, probs",
    ),
    (
        "rng = np.random.default_rng() if rng is None else rng",
        "rng = np.random.default_rng(0)",
        "draws with another generator than rng",
    ),
)


def sample_steps(prompt, params, config, seed, **settings):
    given = prompt, params, config, seed
    rows = SAMPLE_STEPS
    if settings.get("stop_id") == 0:  # then both are the same
        rows = [row for row in rows if row[2] != "never stops at stop_id"]
    function = right.sample_steps
    yield from altered(function, rows, given, settings, cases._write)
    rows = SAMPLE_STEPS[:1]
    yield from altered(function, rows, given, settings, cases._feeds)


GENERATE_BATCH = (
    (
        "texts = [[] for _ in prompts]",
        "texts = [[]] * len(prompts)",
        "has one list for all rows: each needs its own",
    ),
    (
        "KVCache(params, config, len(prompts), padding)",
        "KVCache(params, config, len(prompts))",
        "lets real tokens see the padding: the cache must know of it",
    ),
    (
        "seen = [*prompts[row], *text]",
        "seen = text",
        "lets the penalty see the new tokens alone: the prompt counts",
    ),
    (
        "seen = [*prompts[row], *text]",
        "seen = prompts[row]",
        "lets the penalty see the prompt alone",
    ),
    (
        "seen = [*prompts[row], *text]",
        "seen = [0] * int(padding[row]) + [*prompts[row], *text]",
        "lets the penalty see the padding",
    ),
    (
        "rngs = rng.spawn(len(prompts))",
        "rngs = [rng] * len(prompts)",
        "draws all rows with one generator: rng.spawn gives each its own",
    ),
    (
        "rngs = rng.spawn(len(prompts))",
        "rngs = rng.spawn(1) * len(prompts)",
        "draws all rows with one generator: rng.spawn gives each its own",
    ),
    (
        "return [cut_at(text, stop_id) for text in texts]",
        "return texts",
        "is not cut at stop_id",
    ),
    (
        "        if all(stop_id in text for text in texts):\n",
        "        if any(stop_id in text for text in texts):\n",
        "ends where the first row stops: wait for all",
    ),
    (
        "min(n_tokens, config.max_seq_len - ids.shape[1])",
        "config.max_seq_len - ids.shape[1]",
        "has n_tokens ignored",
    ),
    (
        "rngs[row], **knobs)",
        "rngs[row])",
        "has the knobs ignored",
    ),
    (
        "next_token(logits[row], seen",
        "next_token(logits[0], seen",
        "takes the first row's logits for every row",
    ),
    (
        "        ids = np.array([[text[-1]] for text in texts])\n",
        "        ids = np.array([[texts[0][-1]] for text in texts])\n",
        "feeds the first row's token to every row",
    ),
    (
        "return [cut_at(text, stop_id) for text in texts]",
        "return [[*p, *cut_at(t, stop_id)] for p, t in zip(prompts, texts)]",
        "has the prompts in front: new ids alone",
    ),
    (
        "min(n_tokens, config.max_seq_len - ids.shape[1])",
        "min(n_tokens, config.max_seq_len - ids.shape[1] - 1)",
        "ends one token early",
    ),
)


def generate_batch(prompts, params, config, seed, **settings):
    given = prompts, params, config, seed
    use, function = cases._write_batch, right.generate_batch
    yield from altered(function, GENERATE_BATCH, given, settings, use)


PAD_LEFT = (
    (
        "        row[T - len(prompt) :] = prompt\n",
        "        pass\n",
        "has zeros alone: the prompts are missing",
    ),
    (
        "return ids, padding",
        "return ids",
        "lacks the padding: return ids, padding",
    ),
    (
        "row[T - len(prompt) :] = prompt",
        "row[: len(prompt)] = prompt",
        "has the padding at the right",
    ),
    (
        "T - len(prompt) for prompt",
        "len(prompt) for prompt",
        "has lengths of prompts for padding: T less that",
    ),
    (
        "[T - len(prompt) for prompt in prompts]",
        "[T - len(prompt) for prompt in prompts][::-1]",
        "has the padding of another row",
    ),
    (
        "row[T - len(prompt) :] = prompt",
        "row[T - len(prompt) :] = prompt[::-1]",
        "has the prompts backwards",
    ),
    (
        "return ids, padding",
        "return padding, ids",
        "has ids and padding in the wrong order",
    ),
    (
        "np.zeros((len(prompts), T), dtype=np.int64)",
        "np.full((len(prompts), T), -1)",
        "is padded with -1: pad with 0, an id that exists",
    ),
    (
        "return ids, padding",
        "return ids, padding[:, None]",
        "has padding of shape (B, 1): (B,) is wanted",
    ),
)


def pad_left(prompts):
    yield from altered(right.pad_left, PAD_LEFT, (prompts,), use=cases._pad)


CUT_AT = (
    (
        "text[: text.index(stop_id)]",
        "text[: text.index(stop_id) - 1]",
        "is cut one id too early",
    ),
    ("else text", "else []", "is empty where stop_id is not there"),
    (
        "text[: text.index(stop_id)]",
        "text.index(stop_id)",
        "is a place, not the ids before it",
    ),
    (
        "text[: text.index(stop_id)]",
        "text[:-1]",
        "lacks the last id, wherever stop_id stands",
    ),
    (
        "text[: text.index(stop_id)]",
        "text[: text.index(stop_id) + 1]",
        "keeps stop_id: cut before it",
    ),
    (
        "text[: text.index(stop_id)]",
        "text[text.index(stop_id) + 1 :]",
        "is what follows stop_id",
    ),
    (
        "text[: text.index(stop_id)]",
        "text[: len(text) - 1 - text[::-1].index(stop_id)]",
        "is cut at the last stop_id, not the first",
    ),
    (
        "text[: text.index(stop_id)]",
        "[i for i in text if i != stop_id]",
        "only leaves stop_id out: what follows goes too",
    ),
    (
        "text[: text.index(stop_id)] if stop_id in text else text",
        "text",
        "is not cut",
    ),
)


def cut_at(text, stop_id):
    yield from altered(right.cut_at, CUT_AT, (text, stop_id))


EXTEND_BEAMS = (
    (
        "totals = log_probs + np",
        "totals = log_probs - np",
        "has the scores of the beams subtracted",
    ),
    (
        "    totals = log_probs + np.array([[score] for _, score in beams])\n",
        "    totals = log_probs\n",
        "lacks the scores of the beams: add each to its row",
    ),
    (
        "log_softmax(logits[: len(beams)].astype(np.float64))",
        "logits[: len(beams)].astype(np.float64)",
        "adds up logits, not log-probabilities",
    ),
    (
        "log_softmax(logits[: len(beams)].astype(np.float64))",
        "np.exp(log_softmax(logits[: len(beams)].astype(np.float64)))",
        "adds up probabilities, not their logarithms",
    ),
    (
        "np.argsort(-totals, ",
        "np.argsort(totals, ",
        "has the least likely beams: sort downwards",
    ),
    (
        "[: 2 * n_beams]",
        "[:n_beams]",
        "has too few open beams where some finish: twice n_beams candidates",
    ),
    (
        "        if token == stop_id:\n"
        "            finished.append((ids, score))\n        elif len",
        "        if len",
        "takes stop_id for a token like others",
    ),
    (
        "finished.append((ids, score))",
        "finished.append(([*ids, int(token)], score))",
        "has stop_id in the finished beams: leave it out",
    ),
    (
        "finished.append((ids, score))",
        "pass",
        "loses the beams that finish",
    ),
    (
        "        elif len(open_beams) < n_beams:\n",
        "        else:\n",
        "has more open beams than n_beams",
    ),
    (
        "open_beams.append(([*ids, int(token)], score))",
        "open_beams.append(([int(token)], score))",
        "has the last id alone: append it to those of the beam",
    ),
    (
        "parents.append(int(parent))",
        "parents.append(len(parents))",
        "numbers the parents 0, 1, 2: which beam did each come from?",
    ),
    (
        "parents.append(int(parent))",
        "parents.append(int(token))",
        "has tokens for parents",
    ),
    (
        "log_softmax(logits[: len(beams)].astype(np.float64))",
        "log_softmax(logits[: len(beams)].astype(np.float64).T).T",
        "has its softmax along the beams, not along the tokens",
    ),
    (
        "float(totals[parent, token])",
        "float(log_probs[parent, token])",
        "scores the last token alone: take the total",
    ),
    (
        "float(totals[parent, token])",
        "float(totals[parent, token]) / (len(ids) + 1)",
        "has its scores divided by the length",
    ),
)


def extend_beams(*arguments):
    function, use = right.extend_beams, cases._extend
    yield from altered(function, EXTEND_BEAMS, arguments, use=use)


MOVE = (
    "        kv.keys[:, : len(parents)] = kv.keys[:, parents]\n"
    "        kv.values[:, : len(parents)] = kv.values[:, parents]\n"
)
BEAM_SEARCH = (
    (
        "beams = [([], 0.0)]",
        "beams = [([], 0.0)] * n_beams",
        "begins with equal beams, which stay equal: begin with one",
    ),
    (
        "beams = [([], 0.0)]",
        "beams = [([], 1.0)]",
        "begins with another score than 0",
    ),
    (
        "[ids[-1] for ids, _ in beams]",
        "[ids[0] for ids, _ in beams]",
        "feeds the first new token of each beam, not the last",
    ),
    (
        "= kv.values[:, parents]",
        "= kv.keys[:, parents]",
        "has keys moved into the places of values",
    ),
    (
        "extend_beams(beams, logits, n_beams, ",
        "extend_beams(beams, logits, 1, ",
        "keeps a single beam",
    ),
    (
        MOVE,
        "",
        "leaves the cache where it was: it moves with its beam",
    ),
    (
        "        kv.values[:, : len(parents)] = kv.values[:, parents]\n",
        "",
        "moves the keys with their beam, but not the values",
    ),
    (
        "        kv.keys[:, : len(parents)] = kv.keys[:, parents]\n",
        "",
        "moves the values with their beam, but not the keys",
    ),
    (
        "        finished += done\n",
        "",
        "loses the beams that have finished",
    ),
    (
        "return sorted(finished + beams,",
        "return sorted(beams,",
        "loses the beams that have finished",
    ),
    (
        "return sorted(finished + beams,",
        "return sorted(finished or beams,",
        "loses the beams that are still open",
    ),
    (
        "finished + beams, key=lambda beam: -beam[1])[:n_beams]",
        "finished + beams, key=lambda beam: beam[1])[:n_beams]",
        "has the worst beams first",
    ),
    (
        "finished + beams, key=lambda beam: -beam[1])[:n_beams]",
        "finished + beams, key=lambda beam: -beam[1])",
        "has more than n_beams beams",
    ),
    (
        "finished + beams, key=lambda beam: -beam[1])[:n_beams]",
        "finished + beams, key=lambda beam: -beam[1])[:1]",
        "has the best beam alone",
    ),
    (
        "min(n_tokens, config.max_seq_len - len(prompt_ids))",
        "config.max_seq_len - len(prompt_ids)",
        "has n_tokens ignored",
    ),
    (
        "extend_beams(beams, logits, n_beams, stop_id)",
        "extend_beams(beams, logits, n_beams, None)",
        "never stops at stop_id",
    ),
    (
        "        if not beams or len(best) == n_beams and "
        "best[-1][1] >= beams[0][1]:\n",
        "        if finished:\n",
        "ends at the first finished beam: open ones may still overtake it",
    ),
    (
        "        if not beams or len(best) == n_beams and "
        "best[-1][1] >= beams[0][1]:\n",
        "        if len(finished) >= n_beams:\n",
        "ends when n_beams have finished: open ones may still overtake them",
    ),
    (
        "[ids[-1] for ids, _ in beams]",
        "beams[0][0][-1]",
        "feeds the best beam's token to all",
    ),
    (
        "finished + beams, key=lambda beam: -beam[1])",
        "finished + beams, key=lambda beam: -beam[1] / max(len(beam[0]), 1))",
        "is sorted by the score of a token, not of the whole",
    ),
    (
        "        logits = next_logits(new, params, config, kv)\n",
        "",
        "never runs the model again: feed the last token of each beam",
    ),
)


def beam_search(prompt, params, config, n_beams=4, **settings):
    given = prompt, params, config
    settings["n_beams"] = n_beams
    function, use = right.beam_search, cases._search
    yield from altered(function, BEAM_SEARCH, given, settings, use)


def cache_bytes(config, n_tokens, n_bytes):
    whole = 2 * config.n_layers * n_tokens * config.d_model * n_bytes
    if n_bytes == 2:
        yield (
            "is half: there are keys and values, and 2 bytes to a number",
            whole // 2,
        )
    else:
        yield "is half: keys and values are two arrays", whole // 2
        yield "counts numbers: each has n_bytes", whole // n_bytes
        yield "is divided by n_bytes: multiply", whole / n_bytes**2
    yield "is a quarter: two arrays, n_bytes a number", whole // 4
    yield (
        "counts heads of C numbers: a head is C / H wide",
        whole * config.n_heads,
    )
    yield (
        "counts one head: all heads together hold C",
        whole // config.n_heads,
    )
    yield (
        "has d_ff where d_model is wanted",
        whole // config.d_model * config.d_ff,
    )
    yield (
        "counts max_seq_len places: n_tokens are kept",
        whole // n_tokens * config.max_seq_len,
    )
    yield "counts one layer: n_layers is missing", whole // config.n_layers
    yield "counts one token: n_tokens is missing", whole // n_tokens
    yield (
        "counts q, k and v: q is not kept",
        whole // 2 * 3,
    )


def surprises(logits, ids):
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    at = np.arange(len(ids) - 1)
    yield "lacks the minus", logs[at, ids[1:]]
    yield "lacks log_softmax: logits are only scores", -logits[at, ids[1:]]
    yield (
        "lacks log_softmax and the minus: logits are only scores",
        logits[at, ids[1:]],
    )
    yield (
        "asks row t for token t, which it has read: t + 1 is next",
        -logs[at, ids[:-1]],
    )
    yield (
        "asks row t for token t, which it has read: t + 1 is next",
        -logs[at + 1, ids[1:]],
    )
    yield "asks row t + 1 for token t", -logs[at + 1, ids[:-1]]
    yield (
        "has every id from every row: index with rows and ids together",
        -logs[:-1, ids[1:]],
    )
    yield "has p: -log p is wanted", np.exp(logs[at, ids[1:]])
    yield "is 1 - log p", 1 - logs[at, ids[1:]]
    yield "is in bits: np.log gives nats", -logs[at, ids[1:]] / np.log(2)
    yield "is their mean: one number for each token", -logs[at, ids[1:]].mean()
    yield "is their sum: one number for each token", -logs[at, ids[1:]].sum()
    over_time = logits - np.log(np.exp(logits).sum(axis=0, keepdims=True))
    yield (
        "has a softmax over the positions: each row sums to 1",
        -over_time[at, ids[1:]],
    )
    every = np.arange(len(ids))
    yield "keeps the row after the last token", -logs[every, np.roll(ids, -1)]


def keep_typical(probs, mass):
    surprise = -np.log(np.maximum(probs, 1e-12))
    entropy = (probs * surprise).sum()

    def keep(distance, before=0.0):
        order = np.argsort(distance, kind="stable")
        ahead = np.cumsum(probs[order]) - (1 - before) * probs[order]
        kept = np.zeros(len(probs), dtype=bool)
        kept[order] = ahead < mass
        return kept

    typical = np.abs(surprise - entropy)
    yield (
        "goes by surprise alone, as top-p does: its distance to the entropy "
        "is wanted, and the absolute one",
        keep(surprise),
    )
    yield "has the distance turned round", keep(entropy - surprise)
    yield "keeps the least typical first", keep(-typical)
    yield "loses the token that crosses the mass", keep(typical, before=1.0)
    yield "is True where it must be False", ~keep(typical)
    yield (
        "is in the order of the distances: put each back in its place",
        (keep(typical)[np.argsort(typical, kind="stable")]),
    )
    with np.errstate(all="ignore"):
        spoilt = -np.log(probs)
        odd = np.abs(spoilt - (probs * spoilt).sum())
        yield (
            "comes from NaN, 0 times the logarithm of 0: raise the "
            "probabilities to 1e-12",
            keep(odd),
        )
    yield (
        "goes by the distance to the mean surprise: weigh it by probs",
        keep(np.abs(surprise - surprise.mean())),
    )
