"""What learners write in lesson 07; test_mistakes.py says what a row is.

The usual mistakes are those that the causes know, made in the shelf's
source; the others are written anew, and so try the causes from outside.
"""

import numpy as np

from helpers.checks.causes import generation as causes
from helpers.checks.gradients import check_value
from helpers.language_model import ModelConfig

TOP_P = (
    "def keep_top_p(probs, p):\n"
    "    order = np.argsort(-probs)\n"
    "    total = np.cumsum(probs[order])\n"
)
OTHERS = {
    "draw": [
        ("    return int", "    int", "Is there a return?"),
        (
            "def draw(probs, rng):\n    return int(np.argmax(probs))",
            "the most likely token",
        ),
        (
            "def draw(probs, rng):\n"
            "    return int(np.searchsorted(np.cumsum(probs), rng.random()))",
            "to the token before",
        ),
        (
            "def draw(probs, rng):\n"
            "    dart = rng.random()\n"
            "    for i, p in enumerate(probs):\n"
            "        if dart < p:\n"
            "            return i\n"
            "    return len(probs) - 1",
            "compares its dart with each probability, not with the sums",
        ),
        (
            "def draw(probs, rng):\n"
            "    edges = np.cumsum(probs)\n"
            "    dart = np.random.default_rng(0).random() * edges[-1]\n"
            "    return int(np.searchsorted(edges, dart, 'right'))",
            "-",
        ),
        (
            "def draw(probs, rng):\n"
            "    edges = np.cumsum(probs)\n"
            "    return int(np.searchsorted(edges, rng.random(), 'right'))",
            "a line of length 1",
        ),
        (
            ('int(np.searchsorted(edges, rng.random() * edges[-1], "right"))'),
            "int(probs.argmax())",
            "is the most likely token, whatever the dart",
        ),
    ],
    "keep_top_k": [
        ("-probs", "probs", "least likely tokens marked"),
        ("[: int(k)]", "[: int(k) + 1]", "one token too many"),
        ("[: int(k)]", "[: int(k) - 1]", "one token too few"),
        ("    return keep", "    keep", "Is there a return?"),
        ("dtype=bool", "dtype=int", "-"),
        (
            "def keep_top_k(probs, k):\n"
            "    return probs >= np.sort(probs)[-k]",
            "all equals at the edge",
        ),
        (
            "def keep_top_k(probs, k):\n"
            "    keep = np.zeros(len(probs), bool)\n"
            "    keep[np.argsort(probs)[::-1][:k]] = True\n"
            "    return keep",
            "the larger ids among equals",
        ),
        (
            "def keep_top_k(probs, k):\n"
            "    keep = np.zeros(len(probs), bool)\n"
            "    keep[np.argsort(probs)[-k:]] = True\n"
            "    return keep",
            "the larger ids among equals",
        ),
        (
            "def keep_top_k(probs, k):\n"
            "    return np.argsort(-probs, kind='stable') < k",
            "takes argsort for ranks",
        ),
        (
            "def keep_top_k(probs, k):\n"
            "    return np.argsort(-probs, kind='stable')[:k]",
            "is the ids of the tokens, not a mark for each",
        ),
        (
            "def keep_top_k(probs, k):\n"
            "    probs[np.argsort(-probs, kind='stable')[k:]] = 0\n"
            "    return probs > 0",
            "-",
        ),
        (
            'keep[np.argsort(-probs, kind="stable")[: int(k)]] = True',
            "keep[probs >= np.sort(probs)[-int(k)]] = True",
            "marks all equals at the edge, more than k",
        ),
    ],
    "keep_top_p": [
        (
            "keep[order] = before < p",
            "keep[order] = before <= p",
            "to the dot",
        ),
        (" - probs[order]  #", "  #", "the token that crosses"),
        (
            "    keep[order[0]] = True  # the most likely token always "
            "stays\n    return keep",
            "    keep[order[0]] = True",
            "Is there a return?",
        ),
        ("keep[order] = ", "keep = ", "the sorted row"),
        ("-probs, kind", "probs, kind", "begins with the least likely"),
        (
            TOP_P + "    keep = np.zeros(len(probs), bool)\n"
            "    keep[order[total <= p]] = True\n"
            "    keep[order[0]] = True\n"
            "    return keep",
            "the token that crosses",
        ),
        (
            TOP_P + "    keep = np.zeros(len(probs), bool)\n"
            "    keep[order[: np.searchsorted(total, p)]] = True\n"
            "    return keep",
            "the token that crosses",
        ),
        (
            TOP_P + "    keep = np.zeros(len(probs), bool)\n"
            "    last = np.searchsorted(total, p, 'right')\n"
            "    keep[order[: last + 1]] = True\n"
            "    return keep",
            "reached to the dot",
        ),
        (
            "def keep_top_p(probs, p):\n"
            "    order = np.argsort(probs)\n"
            "    total = np.cumsum(probs[order])\n"
            "    last = np.searchsorted(total, p)\n"
            "    keep = np.zeros(len(probs), dtype=bool)\n"
            "    keep[order[: last + 1]] = True\n"
            "    return keep",
            "begins with the least likely",
        ),
        (
            "def keep_top_p(probs, p):\n    return np.cumsum(probs) < p",
            "-",
        ),
        (
            "def keep_top_p(probs, p):\n    return probs > p",
            "a probability of p or more",
        ),
    ],
    "keep_min_p": [
        (">=", ">", "exactly p times"),
        (">=", "<=", "the tokens to cut"),
        (" * probs.max()", "", "lacks the factor"),
        ("p * probs.max()", "p / probs.max()", "divided by p"),
        ("probs.max()", "probs.sum()", "lacks the factor"),
        ("probs.max()", "probs.mean()", "goes by the mean"),
        ("    return ", "    ", "Is there a return?"),
    ],
    "apply_temperature": [
        (") / temperature", ") * temperature", "multiplied by T"),
        (
            "return np.exp(log_softmax(scaled))",
            "return log_softmax(scaled)",
            "the logarithm",
        ),
        (
            "(logits - logits.max()) / temperature",
            "logits / temperature",
            "NaN or infinity",
        ),
        (
            "    if temperature == 0:\n        return (np.arange(len(logits)) "
            "== logits.argmax()).astype(float)\n",
            "",
            "NaN or infinity",
        ),
        ("== logits.argmax()", "== logits.argmin()", "the lowest logit"),
        (
            "(np.arange(len(logits)) == logits.argmax()).astype(float)",
            "(logits == logits.max()).astype(float)",
            "a 1 for each of the equals",
        ),
        (
            "(np.arange(len(logits)) == logits.argmax()).astype(float)",
            "logits.argmax()",
            "-",
        ),
        (
            "def apply_temperature(logits, temperature):\n"
            "    top = logits == logits.max()\n"
            "    if temperature == 0:\n"
            "        return top / top.sum()\n"
            "    e = np.exp((logits - logits.max()) / temperature)\n"
            "    return e / e.sum()",
            "shares between equals",
        ),
        (
            "def apply_temperature(logits, temperature):\n"
            "    e = np.exp(logits - logits.max())\n"
            "    return e / e.sum() / max(temperature, 1e-9)",
            "the probabilities divided",
        ),
        (
            "def apply_temperature(logits, temperature):\n"
            "    if temperature == 0:\n"
            "        return np.eye(len(logits))[logits.argmax()]\n"
            "    e = np.exp(logits / temperature)\n"
            "    return e / e.sum()",
            "NaN or infinity",
        ),
    ],
    "next_token_probs": [
        ("@checked\n", "", "-"),
        ("    return probs", "    probs", "Is there a return?"),
        ("dtype=np.float64", "dtype=np.float32", "-"),
        (
            "    for keep, setting in (\n",
            "    logits /= 2\n    for keep, setting in (\n",
            "-",
        ),
        (
            "@checked\n"
            "def next_token_probs(logits, temperature=1.0, top_k=None,\n"
            "                     top_p=None, min_p=None):\n"
            "    logits = np.asarray(logits, np.float64)\n"
            "    probs = apply_temperature(logits, temperature)\n"
            "    keep = np.ones(len(probs), bool)\n"
            "    if top_k:\n"
            "        keep &= keep_top_k(probs, top_k)\n"
            "    if top_p:\n"
            "        keep &= keep_top_p(probs, top_p)\n"
            "    if min_p:\n"
            "        keep &= keep_min_p(probs, min_p)\n"
            "    probs = np.where(keep, probs, 0)\n"
            "    return probs / probs.sum()",
            "more than the one before left",
        ),
        (
            "@checked\n"
            "def next_token_probs(logits, temperature=1.0, top_k=None,\n"
            "                     top_p=None, min_p=None):\n"
            "    probs = apply_temperature(np.asarray(logits, float), 1.0)\n"
            "    if top_k is not None:\n"
            "        probs = np.where(keep_top_k(probs, top_k), probs, 0)\n"
            "        probs /= probs.sum()\n"
            "    if top_p is not None:\n"
            "        probs = np.where(keep_top_p(probs, top_p), probs, 0)\n"
            "        probs /= probs.sum()\n"
            "    if min_p is not None:\n"
            "        probs = np.where(keep_min_p(probs, min_p), probs, 0)\n"
            "        probs /= probs.sum()\n"
            "    return probs",
            "temperature ignored",
        ),
        (
            "np.where(keep(probs, setting), probs, 0.0)",
            "probs[keep(probs, setting)]",
            "-",
        ),
        (
            "np.asarray(logits, dtype=np.float64)",
            "np.asarray(logits)",
            "is not float64",
        ),
    ],
    "penalise_repeats": [
        ("logits = np.array(logits)", "pass", "in place"),
        ("    logits[seen] = ", "    return ", "-"),
        (
            "    return logits\n    seen",
            "    return\n    seen",
            "Is there a return?",
        ),
        (
            "def penalise_repeats(logits, ids, penalty):\n"
            "    logits = logits.copy()\n"
            "    for i in ids:\n"
            "        if logits[i] > 0:\n"
            "            logits[i] /= penalty\n"
            "        else:\n"
            "            logits[i] *= penalty\n"
            "    return logits",
            "each time an id occurs",
        ),
        (
            "def penalise_repeats(logits, ids, penalty):\n"
            "    logits = logits.copy()\n"
            "    for i in set(ids):\n"
            "        logits[i] /= penalty\n"
            "    return logits",
            "divides negative logits too",
        ),
        (
            "def penalise_repeats(logits, ids, penalty):\n"
            "    for i in set(ids):\n"
            "        logits[i] *= penalty if logits[i] < 0 else 1 / penalty\n"
            "    return logits",
            "-",
        ),
        ("@checked\n", "", "-"),
        (
            "np.where(old > 0, old / penalty, old * penalty)",
            "old",
            "has the penalty ignored",
        ),
        (
            "logits = np.array(logits)",
            "logits = np.asarray(logits)",
            "in place",
        ),
    ],
    "next_token": [
        (
            "return draw(probs, rng), probs",
            "draw(probs, rng), probs",
            "Is there a return?",
        ),
        (
            "penalise_repeats(logits, ids, repetition_penalty)",
            "penalise_repeats(logits, ids, 1 / repetition_penalty)",
            "-",
        ),
        ("repetition_penalty=1.0", "repetition_penalty=1.2", "-"),
        ("(logits, **settings)", "(logits, settings)", "-"),
        (
            "def next_token(logits, ids, rng, repetition_penalty=1, **more):\n"
            "    probs = next_token_probs(logits, **more)\n"
            "    return draw(probs, rng), probs",
            "repetition penalty ignored",
        ),
        (
            "def next_token(logits, ids, rng, repetition_penalty=1, **more):\n"
            "    probs = next_token_probs(logits, **more)\n"
            "    probs = penalise_repeats(probs, ids, repetition_penalty)\n"
            "    return draw(probs, rng), probs",
            "-",
        ),
    ],
    "KVCache.store": [
        ("end = self.length + k.shape[2]", "end = k.shape[2]", "-"),
        ("k.shape[2]", "k.shape[1]", "-"),
        ("k.shape[2]", "1", "-"),
        (
            "        return self.keys[layer, :, :, :end], "
            "self.values[layer, :, :, :end]",
            "        return self.keys[layer, :, :, self.length : end], "
            "self.values[layer, :, :, self.length : end]",
            "the new keys and values alone",
        ),
        (
            "        return self.keys[layer, :, :, :end], "
            "self.values[layer, :, :, :end]",
            "        return self.keys[:, :, :, :end], "
            "self.values[:, :, :, :end]",
            "-",
        ),
        (
            "        return self.keys[layer, :, :, :end], "
            "self.values[layer, :, :, :end]",
            "        pass",
            "Is there a return?",
        ),
        ("self.length : end] = k", "self.length : end] += k * 2", "-"),
    ],
    "new_positions": [
        ("kv.length, kv.length + T", "T", "begins at 0"),
        ("kv.length, kv.length + T", "kv.length, T", "-"),
        (
            "kv.length, kv.length + T",
            "kv.length + 1, kv.length + T + 1",
            "one place too far",
        ),
        ("- kv.padding[:, None]", "- kv.padding", "-"),
        (
            "- kv.padding[:, None]",
            "+ kv.padding[:, None]",
            "the padding added",
        ),
        (
            "np.maximum(places - kv.padding[:, None], 0)",
            "places - kv.padding[:, None]",
            "falls below 0",
        ),
        (
            "np.maximum(places - kv.padding[:, None], 0)",
            "places",
            "padding ignored",
        ),
        ("    if kv.padding is None:\n        return places\n", "", "-"),
        (
            "np.maximum(places - kv.padding[:, None], 0)",
            "np.maximum(places - kv.padding[:, None], 1)",
            "-",
        ),
    ],
    "new_mask": [
        ("[kv.length :]  # (T, S)", "", "a row for the stored tokens"),
        ("[kv.length :]  # (T, S)", "[:T]", "the first T rows"),
        ("S = kv.length + T", "S = T", "-"),
        (">= kv.padding", "> kv.padding", "one place of padding too many"),
        (">= kv.padding", "< kv.padding", "hides what is real"),
        (
            "real | np.eye(S, dtype=bool)[kv.length :]",
            "real",
            "a padding token nothing to see",
        ),
        (
            "    if T == 1 and kv.padding is None:",
            "    if T == 1:",
            "padding ignored",
        ),
        (
            "T == 1 and kv.padding is None",
            "kv.padding is None",
            "lets all see all",
        ),
        (
            "return causal & (real | np.eye(S, dtype=bool)[kv.length :])",
            "return causal",
            "padding ignored",
        ),
        ("causal & (real", "causal | (real", "-"),
        ("[:, None, None, None]", "[:, None, None]", "the axis of the heads"),
        ("causal_mask(S)", "causal_mask(S).T", "the transpose"),
    ],
    "cached_attention": [
        (
            "    parts, _ = split_heads(qkv, 3 * n_heads)  # (B, 3H, T, D)\n",
            "    parts, _ = split_heads(qkv, 3)  # (B, 3H, T, D)\n",
            "-",
        ),
        ("3 * n_heads)", "n_heads)", "-"),
        ("axis=1)", "axis=2)", "-"),
        (
            "mask = new_mask(kv, x.shape[1])",
            "mask = new_mask(kv, 1)",
            "has no mask",
        ),
        (
            "attention(q, keys, values, mask)",
            "attention(q, keys, values)",
            "has no mask",
        ),
        ("    return linear", "    linear", "Is there a return?"),
    ],
    "cached_block": [
        ("config.n_heads, kv, layer)", "1, kv, layer)", "-"),
        (
            'feed_forward(h, params["feed_forward"], config.activation)',
            'feed_forward(h, params["feed_forward"])',
            "-",
        ),
        ("x, _ = residual(x, feed", "_, x = residual(x, feed", "-"),
        ("    return x\n", "", "Is there a return?"),
        ("        return attention(", "        attention(", "-"),
        (
            "def cached_block(x, params, config, kv, layer):\n"
            "    h, _ = NORMS['pre'][0](x, **params['norm1'])\n"
            "    x = x + cached_attention(\n"
            "        h, params['attention'], config.n_heads, kv, layer)[0]\n"
            "    h, _ = NORMS['pre'][0](x, **params['norm2'])\n"
            "    return x + feed_forward(\n"
            "        h, params['feed_forward'], config.activation)[0]",
            "is pre-norm, whatever config.norm says",
        ),
        (
            "def cached_block(x, params, config, kv, layer):\n"
            "    h, _ = NORMS['pre'][0](x, **params['norm1'])\n"
            "    a, _ = cached_attention(\n"
            "        h, params['attention'], config.n_heads, kv, layer)\n"
            "    h, _ = NORMS['pre'][0](x, **params['norm2'])\n"
            "    f, _ = feed_forward(\n"
            "        h, params['feed_forward'], config.activation)\n"
            "    return x + a + f",
            "has both parts read x",
        ),
        (
            "config.n_heads, kv, layer)",
            "config.n_heads, kv, layer - 1)",
            "the first layer's places",
        ),
    ],
    "position_vectors": [
        ('if config.positions == "learned"', "if True", "-"),
        (
            'if config.positions == "learned"',
            "if False",
            "is sinusoidal, whatever",
        ),
        ('["weight"][positions]', '["weight"]', "the whole table"),
        (
            '["weight"][positions]',
            '["weight"][: positions.shape[-1]]',
            "begins at 0",
        ),
        ("config.d_model)[positions]", "config.d_model)", "the whole table"),
        (
            "(config.max_seq_len, config.d_model)[positions]",
            "(positions.shape[-1], config.d_model)",
            "begins at 0",
        ),
        (
            '["weight"][positions]',
            '["weight"][positions + 1]',
            "one place too far",
        ),
        ('params["position_embedding"]', 'params["token_embedding"]', "-"),
    ],
    "next_logits": [
        ('    if config.norm != "post":\n', "    if True:\n", "-"),
        ("@checked\n", "", "It raises IndexError"),
        ("    return logits[:, 0]", "    logits[:, 0]", "Is there a return?"),
        (".astype(x.dtype)", "", "A float64 took part"),
        ("    T = ids.shape[1]", "    T = ids.shape[0]", "-"),
        (
            "    x = x[:, -1:]  # only the last position predicts\n",
            "",
            "the first new id, not the last",
        ),
    ],
    "sample_steps": [
        (
            "min(n_tokens, config.max_seq_len - len(ids))",
            "min(n_tokens, config.max_seq_len)",
            "tokens are more than max_seq_len",
        ),
        (
            "min(n_tokens, config.max_seq_len - len(ids))",
            "n_tokens",
            "tokens are more than max_seq_len",
        ),
        (
            "        new = [token]\n        ids.append(token)\n",
            "        ids.append(token)\n        new = ids\n",
            "-",
        ),
        ("        new = [token]\n", "", "-"),
        (
            "config.max_seq_len - len(ids)",
            "config.max_seq_len - len(ids) + 1",
            "-",
        ),
        ("        yield token, probs\n", "        return token, probs\n", "-"),
        ("yield token, probs", "yield probs, token", "-"),
        ("np.array([new])", "np.array(new)", "-"),
        ("np.array([new])", "np.array([ids])", "-"),
        ("[0]\n        token", "\n        token", "-"),
        (
            "    kv = KVCache(params, config)\n    ids = [int(i) for i in "
            "prompt_ids]\n",
            "    kv = KVCache(params, config)\n    ids = prompt_ids\n",
            "-",
        ),
        (
            "        if token == stop_id:\n            return\n",
            "        if token == stop_id:\n            break\n        if "
            "len(ids) == 5:\n            break\n",
            "-",
        ),
        (
            "    ids = [int(i) for i in prompt_ids]\n",
            "    ids = [int(i) for i in prompt_ids]\n"
            "    if stop_id in ids:\n        return\n",
            "-",
        ),
        ("        new = [token]\n", "        new = ids\n", "-"),
        (
            "next_token(logits, ids, rng, **knobs)",
            "next_token(logits, [], rng, **knobs)",
            "-",
        ),
    ],
    "generate_batch": [
        (
            "logits = next_logits(ids, params, config, kv)  # (B, V)",
            "ids, padding = pad_left(\n"
            "            [[*p, *t] for p, t in zip(prompts, texts)])\n"
            "        kv = KVCache(params, config, len(prompts), padding)\n"
            "        logits = next_logits(ids, params, config, kv)",
            "-",
        ),
        ("        ids = np.array([[text[-1]] for text in texts])\n", "", "-"),
        (
            "min(n_tokens, config.max_seq_len - ids.shape[1])",
            "n_tokens",
            "tokens are more than max_seq_len",
        ),
        (
            "    return [cut_at(text, stop_id) for text in texts]",
            "    pass",
            "Is there a return?",
        ),
        (
            "ids, padding = pad_left(prompts)",
            "padding, ids = pad_left(prompts)",
            "-",
        ),
        (
            "[[text[-1]] for text in texts]",
            "[text[-1] for text in texts]",
            "-",
        ),
        ("[[text[-1]] for text in texts]", "[text for text in texts]", "-"),
        (
            "logits[row], seen, rngs[row]",
            "logits[row], seen, rngs[0]",
            "with one generator",
        ),
        (
            "            text.append(token)\n",
            "            text = [token]\n",
            "-",
        ),
        (
            "        if all(stop_id in text for text in texts):\n"
            "            break\n",
            "        if all(text[-1] == stop_id for text in texts[:1]):\n"
            "            break\n",
            "ends where the first row stops",
        ),
        (
            "seen = [*prompts[row], *text]  # no padding",
            "seen = [*ids[row], *text]",
            "-",
        ),
        ("config.max_seq_len - ids.shape[1]", "config.max_seq_len", "-"),
    ],
    "pad_left": [
        ("max(len", "min(len", "-"),
        ("row[T - len(prompt) :]", "row[-len(prompt) - 1 : -1]", "-"),
        (
            "def pad_left(prompts):\n"
            "    T = max(map(len, prompts))\n"
            "    ids = [[*p, *[0] * (T - len(p))] for p in prompts]\n"
            "    ids = np.array(ids)\n"
            "    return ids, np.array([T - len(p) for p in prompts])",
            "padding at the right",
        ),
        (
            "def pad_left(prompts):\n"
            "    T = max(map(len, prompts))\n"
            "    ids = np.array([[0] * (T - len(p)) + p for p in prompts])\n"
            "    return ids, np.array([len(p) for p in prompts])",
            "lengths of prompts",
        ),
    ],
    "cut_at": [
        (" if stop_id in text else text", "", "-"),
        ("    return ", "    ", "Is there a return?"),
        (
            "def cut_at(text, stop_id):\n"
            "    return text[:-1] if stop_id in text else text",
            "lacks the last id, wherever stop_id stands",
        ),
    ],
    "extend_beams": [
        (
            "    return open_beams, parents, finished",
            "    return open_beams, finished, parents",
            "-",
        ),
        ("for _, score in beams", "for score, _ in beams", "-"),
        (
            "np.array([[score] for _, score in beams])",
            "np.array([score for _, score in beams])",
            "last axis got lost",
        ),
        ("logits[: len(beams)]", "logits", "-"),
        ("if token == stop_id", "if stop_id and token != stop_id", "-"),
        (
            "([*ids, int(token)], score)",
            "(ids.append(int(token)), score)",
            "-",
        ),
        (
            "np.unravel_index(order, totals.shape)",
            "np.unravel_index(order, totals.T.shape)",
            "-",
        ),
        (
            "np.unravel_index(order, totals.shape)",
            "np.unravel_index(order, totals.shape)[::-1]",
            "-",
        ),
        (
            "    return open_beams, parents",
            "    open_beams, parents",
            "Is there a return?",
        ),
    ],
    "beam_search": [
        (
            "min(n_tokens, config.max_seq_len - len(prompt_ids))",
            "n_tokens",
            "tokens are more than max_seq_len",
        ),
        ("KVCache(params, config, n_beams)", "KVCache(params, config)", "-"),
        ("kv.keys[:, parents]\n", "kv.keys[:, parents[::-1]]\n", "-"),
        ("    return sorted", "    sorted", "Is there a return?"),
        (
            ("sorted(finished + beams, key=lambda beam: -beam[1])[:n_beams]"),
            "beams[:n_beams]",
            "-",
        ),
        ("config.max_seq_len - len(prompt_ids)", "config.max_seq_len", "-"),
    ],
}


def usual(name):
    """Return the rows that the causes of a function know."""
    key = name.replace(".", "_").upper()
    return getattr(causes, key, ())


WRONG = {name: [*usual(name), *rows] for name, rows in OTHERS.items()}

RIGHT = {
    "draw": [
        "def draw(probs, rng):\n"
        "    return int(rng.choice(len(probs), p=probs))",
        "def draw(probs, rng):\n"
        "    edges = np.cumsum(probs)\n"
        "    dart = rng.random() * edges[-1]\n"
        "    return int((edges <= dart).sum())",
        "def draw(probs, rng):\n"
        "    dart = rng.uniform(0, probs.sum())\n"
        "    edge = 0.0\n"
        "    for i, p in enumerate(probs):\n"
        "        edge += p\n"
        "        if dart < edge:\n"
        "            return i\n"
        "    return int(np.flatnonzero(probs)[-1])",
    ],
    "keep_top_k": [
        "def keep_top_k(probs, k):\n"
        "    rank = np.argsort(np.argsort(-probs, kind='stable'))\n"
        "    return rank < k",
        "def keep_top_k(probs, k):\n"
        "    best = sorted(range(len(probs)), key=lambda i: -probs[i])[:k]\n"
        "    return np.isin(np.arange(len(probs)), best)",
        "def keep_top_k(probs, k):\n"
        "    keep = [False] * len(probs)\n"
        "    for i in np.lexsort((np.arange(len(probs)), -probs))[:k]:\n"
        "        keep[i] = True\n"
        "    return np.array(keep)",
    ],
    "keep_top_p": [
        TOP_P + "    last = np.searchsorted(total, p)\n"
        "    keep = np.zeros(len(probs), dtype=bool)\n"
        "    keep[order[: last + 1]] = True\n"
        "    return keep",
        "def keep_top_p(probs, p):\n"
        "    keep, mass = np.zeros(len(probs), bool), 0.0\n"
        "    for i in np.argsort(-probs):\n"
        "        keep[i] = True\n"
        "        mass += probs[i]\n"
        "        if mass >= p:\n"
        "            break\n"
        "    return keep",
        TOP_P + "    inside = np.concatenate([[True], total[:-1] < p])\n"
        "    keep = np.empty(len(probs), bool)\n"
        "    keep[order] = inside\n"
        "    return keep",
    ],
    "keep_min_p": [
        "def keep_min_p(probs, p):\n    return ~(probs < max(probs) * p)",
        "def keep_min_p(probs, p):\n"
        "    return np.array([q >= p * np.amax(probs) for q in probs])",
        "def keep_min_p(probs, p):\n"
        "    keep = np.zeros_like(probs, dtype=bool)\n"
        "    keep[probs >= probs[probs.argmax()] * p] = True\n"
        "    return keep",
    ],
    "apply_temperature": [
        "def apply_temperature(logits, temperature):\n"
        "    if temperature == 0:\n"
        "        return np.eye(len(logits))[np.argmax(logits)]\n"
        "    e = np.exp((logits - logits.max()) / temperature)\n"
        "    return e / e.sum()",
        "def apply_temperature(logits, temperature):\n"
        "    probs = np.zeros_like(logits)\n"
        "    if temperature == 0:\n"
        "        probs[logits.argmax()] = 1\n"
        "        return probs\n"
        "    scaled = (logits - np.max(logits)) / temperature\n"
        "    return np.exp(scaled - np.log(np.exp(scaled).sum()))",
        "def apply_temperature(logits, temperature):\n"
        "    logits = logits.astype(np.float64)\n"
        "    if not temperature:\n"
        "        best = logits.argmax()\n"
        "        return np.array([float(i == best) for i in "
        "range(len(logits))])\n"
        "    weights = np.exp((logits - logits.max()) / temperature)\n"
        "    weights /= weights.sum()\n"
        "    return weights",
    ],
    "next_token_probs": [
        ("if setting is not None", "if setting"),
        "@checked\n"
        "def next_token_probs(logits, temperature=1.0, top_k=None,\n"
        "                     top_p=None, min_p=None):\n"
        "    logits = np.array(logits, float)\n"
        "    probs = apply_temperature(logits, temperature)\n"
        "    if top_k is not None:\n"
        "        probs = probs * keep_top_k(probs, top_k)\n"
        "        probs = probs / probs.sum()\n"
        "    if top_p is not None:\n"
        "        probs = probs * keep_top_p(probs, top_p)\n"
        "        probs = probs / probs.sum()\n"
        "    if min_p is not None:\n"
        "        probs = probs * keep_min_p(probs, min_p)\n"
        "        probs = probs / probs.sum()\n"
        "    return probs",
        (
            "            probs = np.where(keep(probs, setting), probs, 0.0)\n",
            "            probs[~keep(probs, setting)] = 0\n",
        ),
    ],
    "penalise_repeats": [
        "@checked\n"
        "def penalise_repeats(logits, ids, penalty):\n"
        "    logits = logits.copy()\n"
        "    for i in set(int(i) for i in ids):\n"
        "        if logits[i] > 0:\n"
        "            logits[i] /= penalty\n"
        "        else:\n"
        "            logits[i] *= penalty\n"
        "    return logits",
        "@checked\n"
        "def penalise_repeats(logits, ids, penalty):\n"
        "    seen = np.isin(np.arange(len(logits)), ids)\n"
        "    lower = np.where(logits < 0, logits * penalty, "
        "logits / penalty)\n"
        "    return np.where(seen, lower, logits)",
        (
            "np.where(old > 0, old / penalty, old * penalty)",
            "old * penalty ** -np.sign(old)",
        ),
    ],
    "next_token": [
        "def next_token(logits, ids, rng, repetition_penalty=1.0, **more):\n"
        "    lower = penalise_repeats(logits, ids, repetition_penalty)\n"
        "    probs = next_token_probs(lower, **more)\n"
        "    token = draw(probs, rng)\n"
        "    return token, probs",
        "def next_token(logits, ids, rng, repetition_penalty=1.0, **more):\n"
        "    if repetition_penalty != 1:\n"
        "        logits = penalise_repeats(logits, ids, "
        "repetition_penalty)\n"
        "    probs = next_token_probs(logits, **more)\n"
        "    return (draw(probs, rng), probs)",
        "def next_token(logits, ids, rng, repetition_penalty=1.0,\n"
        "               temperature=1.0, top_k=None, top_p=None, "
        "min_p=None):\n"
        "    logits = penalise_repeats(logits, ids, repetition_penalty)\n"
        "    probs = next_token_probs(\n"
        "        logits, temperature, top_k, top_p, min_p)\n"
        "    return np.int64(draw(probs, rng)), probs",
    ],
    "KVCache.store": [
        (
            "        self.keys[layer, :, :, self.length : end] = k\n",
            "        self.keys[layer][:, :, self.length : end, :] = k\n",
        ),
        (
            "        return self.keys[layer, :, :, :end], "
            "self.values[layer, :, :, :end]",
            "        return tuple(\n"
            "            a[layer, :, :, :end] for a in (self.keys, "
            "self.values)\n        )",
        ),
        (
            "        end = self.length + k.shape[2]\n",
            "        B, H, T, D = k.shape\n        end = self.length + T\n",
        ),
    ],
    "new_positions": [
        "def new_positions(kv, T):\n"
        "    places = kv.length + np.arange(T)\n"
        "    if kv.padding is not None:\n"
        "        places = (places - kv.padding[:, np.newaxis]).clip(0)\n"
        "    return places",
        "def new_positions(kv, T):\n"
        "    places = list(range(kv.length, kv.length + T))\n"
        "    if kv.padding is None:\n"
        "        return np.array(places)\n"
        "    return np.array(\n"
        "        [[max(p - n, 0) for p in places] for n in kv.padding])",
        "def new_positions(kv, T):\n"
        "    places = np.arange(T) + kv.length\n"
        "    if kv.padding is None:\n"
        "        return places\n"
        "    rows = np.subtract.outer(-kv.padding, -places)\n"
        "    rows[rows < 0] = 0\n"
        "    return rows",
    ],
    "new_mask": [
        (
            "    if T == 1 and kv.padding is None:\n        return None\n",
            "",
        ),
        "def new_mask(kv, T):\n"
        "    S = kv.length + T\n"
        "    mask = np.tri(T, S, kv.length, dtype=bool)\n"
        "    if kv.padding is None:\n"
        "        return mask\n"
        "    rows = np.arange(kv.length, S)[:, None]\n"
        "    columns = np.arange(S)\n"
        "    hidden = columns < kv.padding.reshape(-1, 1, 1, 1)\n"
        "    return mask & ~(hidden & (rows != columns))",
        "def new_mask(kv, T):\n"
        "    S = kv.length + T\n"
        "    if kv.padding is None:\n"
        "        return None if T == 1 else causal_mask(S)[-T:]\n"
        "    mask = np.zeros((len(kv.padding), 1, T, S), dtype=bool)\n"
        "    for b, n in enumerate(kv.padding):\n"
        "        for t in range(T):\n"
        "            at = kv.length + t\n"
        "            mask[b, 0, t, n : at + 1] = True\n"
        "            mask[b, 0, t, at] = True\n"
        "    return mask",
    ],
    "cached_attention": [
        "def cached_attention(x, params, n_heads, kv, layer):\n"
        "    B, T, C = x.shape\n"
        "    qkv = linear(x, **params['qkv'])[0]\n"
        "    q, k, v = np.split(qkv, 3, axis=-1)\n"
        "    q, k, v = (split_heads(a, n_heads)[0] for a in (q, k, v))\n"
        "    k, v = kv.store(layer, k, v)\n"
        "    heads, _ = scaled_dot_product_attention(\n"
        "        q, k, v, new_mask(kv, T))\n"
        "    out = linear(merge_heads(heads)[0], **params['out'])[0]\n"
        "    return out, None",
        (
            "q, k, v = np.split(parts, 3, axis=1)",
            "q, k, v = (parts[:, i * n_heads : (i + 1) * n_heads] "
            "for i in range(3))",
        ),
        "def cached_attention(x, params, n_heads, kv, layer):\n"
        "    B, T, C = x.shape\n"
        "    qkv, _ = linear(x, **params['qkv'])\n"
        "    qkv = qkv.reshape(B, T, 3, n_heads, C // n_heads)\n"
        "    q, k, v = np.einsum('bticd->ibctd', qkv)\n"
        "    k, v = kv.store(layer, k, v)\n"
        "    mask = new_mask(kv, T)\n"
        "    out, _ = scaled_dot_product_attention(q, k, v, mask)\n"
        "    out = np.moveaxis(out, 1, 2).reshape(B, T, C)\n"
        "    return linear(out, **params['out'])",
    ],
    "cached_block": [
        "def cached_block(x, params, config, kv, layer):\n"
        "    x, _ = residual(\n"
        "        x, lambda h: cached_attention(\n"
        "            h, params['attention'], config.n_heads, kv, layer),\n"
        "        params['norm1'], config)\n"
        "    x, _ = residual(\n"
        "        x, lambda h: feed_forward(\n"
        "            h, params['feed_forward'], config.activation),\n"
        "        params['norm2'], config)\n"
        "    return x",
        "def cached_block(x, params, config, kv, layer):\n"
        "    n = config.n_heads\n"
        "    parts = [\n"
        "        (lambda h: cached_attention(\n"
        "            h, params['attention'], n, kv, layer), 'norm1'),\n"
        "        (lambda h: feed_forward(\n"
        "            h, params['feed_forward'], config.activation), "
        "'norm2'),\n"
        "    ]\n"
        "    for part, norm in parts:\n"
        "        x = residual(x, part, params[norm], config)[0]\n"
        "    return x",
        "def cached_block(x, params, config, kv, layer):\n"
        "    def norm(x, name):\n"
        "        return NORMS[config.norm][0](x, **params[name])[0]\n"
        "    pre = config.norm == 'pre'\n"
        "    h = norm(x, 'norm1') if pre else x\n"
        "    x = x + cached_attention(\n"
        "        h, params['attention'], config.n_heads, kv, layer)[0]\n"
        "    x = x if pre else norm(x, 'norm1')\n"
        "    h = norm(x, 'norm2') if pre else x\n"
        "    x = x + feed_forward(\n"
        "        h, params['feed_forward'], config.activation)[0]\n"
        "    return x if pre else norm(x, 'norm2')",
    ],
    "position_vectors": [
        "def position_vectors(positions, params, config):\n"
        "    if config.positions == 'learned':\n"
        "        table = params['position_embedding']['weight']\n"
        "    else:\n"
        "        table = sinusoidal_positions(\n"
        "            config.max_seq_len, config.d_model)\n"
        "    return table[positions]",
        "def position_vectors(positions, params, config):\n"
        "    if config.positions == 'sinusoidal':\n"
        "        waves = sinusoidal_positions(\n"
        "            config.max_seq_len, config.d_model)\n"
        "        return np.take(waves, positions, axis=0)\n"
        "    table = params['position_embedding']['weight']\n"
        "    return embedding(positions, table)[0]",
        "def position_vectors(positions, params, config):\n"
        "    if config.positions == 'learned':\n"
        "        table = params['position_embedding']['weight']\n"
        "    else:\n"
        "        table = sinusoidal_positions(\n"
        "            positions.max() + 1, config.d_model)\n"
        "    rows = [table[p] for p in positions.ravel()]\n"
        "    return np.array(rows).reshape(*positions.shape, -1)",
    ],
    "next_logits": [
        (
            '    x, _ = embedding(ids, params["token_embedding"]["weight"])\n',
            "    x = params['token_embedding']['weight'][ids]\n",
        ),
        "@checked\n"
        "def next_logits(ids, params, config, kv):\n"
        "    B, T = ids.shape\n"
        "    x = params['token_embedding']['weight'][ids]\n"
        "    at = new_positions(kv, T)\n"
        "    x = (x + position_vectors(at, params, config))."
        "astype(x.dtype)\n"
        "    for i in range(config.n_layers):\n"
        "        x = cached_block(x, params['blocks'][i], config, kv, i)\n"
        "    kv.length = kv.length + T\n"
        "    if config.norm == 'pre':\n"
        "        norm, _ = NORMS['pre']\n"
        "        x = norm(x, **params['final_norm'])[0]\n"
        "    return head(x, params)[0][:, -1]",
        (
            "    return logits[:, 0]",
            "    return logits.squeeze(1)",
        ),
    ],
    "sample_steps": [
        "@checked\n"
        "def sample_steps(prompt_ids, params, config, n_tokens=200,\n"
        "                 rng=None, stop_id=None, **knobs):\n"
        "    if rng is None:\n"
        "        rng = np.random.default_rng()\n"
        "    kv = KVCache(params, config)\n"
        "    text, n = list(prompt_ids), len(prompt_ids)\n"
        "    new = np.array([text])\n"
        "    while len(text) < min(n + n_tokens, config.max_seq_len):\n"
        "        logits = next_logits(new, params, config, kv)\n"
        "        token, probs = next_token(logits[0], text, rng, **knobs)\n"
        "        if stop_id is not None and token == stop_id:\n"
        "            break\n"
        "        text.append(token)\n"
        "        new = np.array([[token]])\n"
        "        yield token, probs",
        (
            "    ids = [int(i) for i in prompt_ids]\n",
            "    ids = [*map(int, prompt_ids)]\n",
        ),
        (
            "        yield token, probs\n        new = [token]\n"
            "        ids.append(token)\n",
            "        ids.append(token)\n        new = ids[-1:]\n"
            "        yield (token, probs)\n",
        ),
    ],
    "generate_batch": [
        (
            "        if all(stop_id in text for text in texts):\n"
            "            break\n",
            "",
        ),
        (
            "            seen = [*prompts[row], *text]  # no padding\n",
            "            seen = list(prompts[row]) + text\n",
        ),
        "@checked\n"
        "def generate_batch(prompts, params, config, n_tokens=200,\n"
        "                   rng=None, stop_id=None, **knobs):\n"
        "    rng = np.random.default_rng() if rng is None else rng\n"
        "    rngs = rng.spawn(len(prompts))\n"
        "    ids, padding = pad_left(prompts)\n"
        "    kv = KVCache(params, config, len(prompts), padding)\n"
        "    seen = [list(prompt) for prompt in prompts]\n"
        "    new, T = ids, ids.shape[1]\n"
        "    for t in range(T, min(T + n_tokens, config.max_seq_len)):\n"
        "        logits = next_logits(new, params, config, kv)\n"
        "        new = np.zeros((len(prompts), 1), int)\n"
        "        for b in range(len(prompts)):\n"
        "            new[b], _ = next_token(\n"
        "                logits[b], seen[b], rngs[b], **knobs)\n"
        "            seen[b].append(int(new[b, 0]))\n"
        "    return [\n"
        "        cut_at(s[len(p):], stop_id) for s, p in zip(seen, prompts)]",
    ],
    "pad_left": [
        "def pad_left(prompts):\n"
        "    T = max(map(len, prompts))\n"
        "    padding = [T - len(p) for p in prompts]\n"
        "    ids = [[0] * n + list(p) for n, p in zip(padding, prompts)]\n"
        "    return np.array(ids), np.array(padding)",
        "def pad_left(prompts):\n"
        "    T = max(len(p) for p in prompts)\n"
        "    ids = np.zeros((len(prompts), T), int)\n"
        "    padding = np.zeros(len(prompts), int)\n"
        "    for b, p in enumerate(prompts):\n"
        "        padding[b] = T - len(p)\n"
        "        ids[b, padding[b]:] = p\n"
        "    return ids, padding",
        "def pad_left(prompts):\n"
        "    T = len(max(prompts, key=len))\n"
        "    padding = T - np.array([len(p) for p in prompts])\n"
        "    rows = [np.pad(p, (n, 0)) for p, n in zip(prompts, padding)]\n"
        "    return np.stack(rows), padding",
    ],
    "cut_at": [
        "def cut_at(text, stop_id):\n"
        "    if stop_id not in text:\n"
        "        return text\n"
        "    return text[: text.index(stop_id)]",
        "def cut_at(text, stop_id):\n"
        "    kept = []\n"
        "    for i in text:\n"
        "        if i == stop_id:\n"
        "            break\n"
        "        kept.append(i)\n"
        "    return kept",
        "def cut_at(text, stop_id):\n"
        "    return text[: [*text, stop_id].index(stop_id)]",
    ],
    "extend_beams": [
        "def extend_beams(beams, logits, n_beams, stop_id):\n"
        "    rows = log_softmax(logits[: len(beams)].astype(float))\n"
        "    found = [\n"
        "        (score + rows[b, t], b, t)\n"
        "        for b, (_, score) in enumerate(beams)\n"
        "        for t in range(rows.shape[1])\n"
        "    ]\n"
        "    found.sort(key=lambda one: -one[0])\n"
        "    open_beams, parents, finished = [], [], []\n"
        "    for total, b, t in found[: 2 * n_beams]:\n"
        "        if t == stop_id:\n"
        "            finished.append((beams[b][0], total))\n"
        "        elif len(parents) < n_beams:\n"
        "            open_beams.append((beams[b][0] + [t], total))\n"
        "            parents.append(b)\n"
        "    return open_beams, parents, finished",
        (
            "    for parent, token in zip(*np.unravel_index(order, "
            "totals.shape)):\n",
            "    for i in order:\n"
            "        parent, token = divmod(int(i), totals.shape[1])\n",
        ),
        (
            "    return open_beams, parents, finished",
            "    return open_beams, np.array(parents, int), tuple(finished)",
        ),
    ],
    "beam_search": [
        (
            "    logits = next_logits(np.array([prompt_ids] * n_beams), "
            "params, config, kv)\n",
            "    start = np.tile(prompt_ids, (n_beams, 1))\n"
            "    logits = next_logits(start, params, config, kv)\n",
        ),
        (
            "        kv.keys[:, : len(parents)] = kv.keys[:, parents]\n"
            "        kv.values[:, : len(parents)] = kv.values[:, parents]\n",
            "        moved = parents + [0] * (n_beams - len(parents))\n"
            "        kv.keys = kv.keys[:, moved]\n"
            "        kv.values = kv.values[:, moved]\n",
        ),
        "@checked\n"
        "def beam_search(prompt_ids, params, config, n_beams=4,\n"
        "                n_tokens=50, stop_id=None):\n"
        "    from helpers.language_model import language_model\n"
        "    beams, finished = [([], 0.0)], []\n"
        "    room = config.max_seq_len - len(prompt_ids)\n"
        "    for _ in range(min(n_tokens, room)):\n"
        "        ids = [list(prompt_ids) + new for new, _ in beams]\n"
        "        logits, _ = language_model(np.array(ids), params, config)\n"
        "        beams, _, done = extend_beams(\n"
        "            beams, logits[:, -1], n_beams, stop_id)\n"
        "        finished += done\n"
        "        if not beams:\n"
        "            break\n"
        "    both = finished + beams\n"
        "    return sorted(both, key=lambda beam: beam[1])[::-1][:n_beams]",
    ],
}

SOLUTIONS = {
    "cache_bytes": """\
def cache_bytes(config, n_tokens, n_bytes):
    return 2 * config.n_layers * n_tokens * config.d_model * n_bytes
""",
    "surprises": """\
def surprises(logits, ids):
    rows = log_softmax(logits[:-1])
    return -rows[np.arange(len(rows)), ids[1:]]
""",
    "keep_typical": """\
def keep_typical(probs, mass):
    surprise = -np.log(np.maximum(probs, 1e-12))
    distance = np.abs(surprise - (probs * surprise).sum())
    order = np.argsort(distance, kind="stable")
    before = np.cumsum(probs[order]) - probs[order]
    keep = np.zeros(len(probs), dtype=bool)
    keep[order] = before < mass
    return keep
""",
}


def judge_cache_bytes(function):
    config = ModelConfig(
        vocab_size=50257,
        max_seq_len=1024,
        d_model=1600,
        n_heads=25,
        n_layers=48,
        d_ff=6400,
    )
    check_value(function, 307_200_000, config, 1000, 2)


def judge_surprises(function):
    ids = np.array([2, 0, 1, 1])
    probs = np.array(
        [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25]]
    )
    logits = np.log(probs) + [[3], [1], [4], [1]]
    check_value(function, -np.log([0.5, 0.6, 0.2]), logits, ids)


def judge_keep_typical(function):
    probs = np.array([0.3, 0.02, 0.0, 0.12, 0.25, 0.16, 0.1, 0.05])
    expected = np.isin(np.arange(8), [3, 4, 5])
    check_value(function, expected, probs, 0.5)


JUDGES = {
    "cache_bytes": judge_cache_bytes,
    "surprises": judge_surprises,
    "keep_typical": judge_keep_typical,
}
WRONG |= {
    "cache_bytes": [
        ("2 * ", "", "is half"),
        (
            "config.d_model",
            "config.d_model * config.n_heads",
            "counts heads of C numbers",
        ),
        ("config.d_model", "config.d_ff", "has d_ff where d_model is wanted"),
        (
            "* n_tokens *",
            "* config.max_seq_len *",
            "counts max_seq_len places",
        ),
        (" * n_bytes\n", "\n", "is half"),
        (" * n_bytes\n", " / n_bytes\n", "is a quarter"),
    ],
    "surprises": [
        ("return -rows", "return rows", "lacks the minus"),
        ("log_softmax(logits[:-1])", "logits[:-1]", "lacks log_softmax"),
        ("ids[1:]", "ids[:-1]", "asks row t for token t, which it has read"),
        (
            "logits[:-1]",
            "logits[1:]",
            "asks row t for token t, which it has read",
        ),
        (
            "rows[np.arange(len(rows)), ids[1:]]",
            "rows[:, ids[1:]]",
            "has every id from every row",
        ),
        ("    return -rows", "    return 1 - rows", "is 1 - log p"),
        ("    return -rows", "    -rows", "Is there a return?"),
    ],
    "keep_typical": [
        (
            "np.abs(surprise - (probs * surprise).sum())",
            "surprise - (probs * surprise).sum()",
            "goes by surprise alone, as top-p does",
        ),
        (
            "np.maximum(probs, 1e-12)",
            "probs",
            "comes from NaN, 0 times the logarithm of 0",
        ),
        (
            "before < mass",
            "before + probs[order] < mass",
            "loses the token that crosses the mass",
        ),
        (
            "np.argsort(distance",
            "np.argsort(-distance",
            "keeps the least typical first",
        ),
        (
            "(probs * surprise).sum()",
            "surprise.mean()",
            "goes by the distance to the mean surprise",
        ),
        ("keep[order] = ", "keep = ", "is in the order of the distances"),
        (
            "distance = np.abs(surprise - (probs * surprise).sum())",
            "distance = surprise",
            "goes by surprise alone, as top-p does",
        ),
    ],
}
RIGHT |= {
    "cache_bytes": [
        "def cache_bytes(config, n_tokens, n_bytes):\n"
        "    D = config.d_model // config.n_heads\n"
        "    shape = (config.n_layers, config.n_heads, n_tokens, D)\n"
        "    return 2 * n_bytes * int(np.prod(shape))",
        "def cache_bytes(config, n_tokens, n_bytes):\n"
        "    numbers = config.n_layers * config.d_model * n_tokens\n"
        "    return numbers * n_bytes + numbers * n_bytes",
        "def cache_bytes(config, n_tokens, n_bytes):\n"
        "    each = np.int64(n_bytes) * config.d_model\n"
        "    return each * n_tokens * config.n_layers * 2",
    ],
    "surprises": [
        "def surprises(logits, ids):\n"
        "    rows = log_softmax(logits)\n"
        "    return np.array(\n"
        "        [-rows[t, ids[t + 1]] for t in range(len(ids) - 1)])",
        "def surprises(logits, ids):\n"
        "    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)\n"
        "    return -np.log(p[np.arange(len(ids) - 1), ids[1:]])",
        "def surprises(logits, ids):\n"
        "    rows = log_softmax(logits[:-1])\n"
        "    picked = np.take_along_axis(rows, ids[1:, None], axis=1)\n"
        "    return -picked[:, 0]",
    ],
    "keep_typical": [
        "def keep_typical(probs, mass):\n"
        "    with np.errstate(divide='ignore'):\n"
        "        surprise = -np.log(probs)\n"
        "    some = probs > 0\n"
        "    entropy = (probs[some] * surprise[some]).sum()\n"
        "    order = np.argsort(np.abs(surprise - entropy))\n"
        "    total = np.cumsum(probs[order])\n"
        "    keep = np.zeros(len(probs), bool)\n"
        "    keep[order[: np.searchsorted(total, mass) + 1]] = True\n"
        "    return keep",
        "def keep_typical(probs, mass):\n"
        "    surprise = -np.log(probs + 1e-30)\n"
        "    distance = abs(surprise - probs @ surprise)\n"
        "    keep, total = np.zeros(len(probs), bool), 0.0\n"
        "    for i in np.argsort(distance):\n"
        "        if total >= mass:\n"
        "            break\n"
        "        keep[i] = True\n"
        "        total += probs[i]\n"
        "    return keep",
        (
            "np.abs(surprise - (probs * surprise).sum())",
            "(surprise - np.vdot(probs, surprise)) ** 2",
        ),
    ],
}
