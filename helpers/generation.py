"""From logits to text: sampling, KV cache, streaming, batches, beam search.

Built in notebooks/07_generation.ipynb.
"""

import numpy as np

from helpers.attention import (
    causal_mask,
    linear,
    merge_heads,
    scaled_dot_product_attention,
    split_heads,
)
from helpers.embeddings import embedding, sinusoidal_positions
from helpers.language_model import head, log_softmax
from helpers.runs import checked, one_blas_thread
from helpers.transformer_block import NORMS, feed_forward, residual

__all__ = [
    "next_token_probs",
    "apply_temperature",
    "keep_top_k",
    "keep_top_p",
    "keep_min_p",
    "penalise_repeats",
    "draw",
    "next_token",
    "KVCache",
    "new_positions",
    "new_mask",
    "cached_attention",
    "CACHED_ATTENTIONS",
    "cached_block",
    "next_logits",
    "position_vectors",
    "sample_steps",
    "stream",
    "generate",
    "generate_batch",
    "pad_left",
    "cut_at",
    "beam_search",
    "extend_beams",
]


@checked
def next_token_probs(
    logits, temperature=1.0, top_k=None, top_p=None, min_p=None
):
    """Turn logits (V,) into the probabilities (V,) to draw from, float64.

    temperature 0 puts everything on the most likely token. The filters act
    in the order top_k, top_p, min_p, each on what the one before left.
    Raises ValueError for a setting out of its range.
    """
    logits = np.asarray(logits, dtype=np.float64)
    probs = apply_temperature(logits, temperature)
    for keep, setting in (
        (keep_top_k, top_k),
        (keep_top_p, top_p),
        (keep_min_p, min_p),
    ):
        if setting is not None:
            probs = np.where(keep(probs, setting), probs, 0.0)
            probs /= probs.sum()
    return probs


def apply_temperature(logits, temperature):
    """Return softmax(logits / temperature); 0 means the favourite alone."""
    if temperature == 0:
        return (np.arange(len(logits)) == logits.argmax()).astype(float)
    with np.errstate(over="ignore"):  # minus infinity is as good
        scaled = (logits - logits.max()) / temperature
    return np.exp(log_softmax(scaled))


def keep_top_k(probs, k):
    """Mark the k most likely tokens; among equals the smaller ids."""
    keep = np.zeros(len(probs), dtype=bool)
    keep[np.argsort(-probs, kind="stable")[: int(k)]] = True
    return keep


def keep_top_p(probs, p):
    """Mark the most likely tokens up to the one whose sum reaches p.

    Source: Holtzman et al. 2020, section 3.1.
    """
    order = np.argsort(-probs, kind="stable")
    before = np.cumsum(probs[order]) - probs[order]  # mass ahead of each
    keep = np.zeros(len(probs), dtype=bool)
    keep[order] = before < p
    keep[order[0]] = True  # the most likely token always stays
    return keep


def keep_min_p(probs, p):
    """Mark the tokens with at least p times the highest probability.

    Source: Nguyen et al. 2024, section 3.
    """
    return probs >= p * probs.max()


@checked
def penalise_repeats(logits, ids, penalty):
    """Make tokens that occurred less likely: divide or multiply their logit.

    logits (V,), ids seen so far; penalty 1 changes nothing.
    Raises ValueError unless penalty is positive.
    Source: Keskar et al. 2019, section 4.1.
    """
    logits = np.array(logits)
    if penalty == 1:
        return logits
    seen = np.unique(np.asarray(ids, dtype=np.int64))
    old = logits[seen]
    logits[seen] = np.where(old > 0, old / penalty, old * penalty)
    return logits


def draw(probs, rng):
    """Draw a token id from probabilities (V,)."""
    edges = np.cumsum(probs)
    return int(np.searchsorted(edges, rng.random() * edges[-1], "right"))


def next_token(logits, ids, rng, repetition_penalty=1.0, **settings):
    """Draw a token to follow ids; return it and what it was drawn from.

    logits (V,) -> a token id, probs (V,); settings are next_token_probs'.
    """
    logits = penalise_repeats(logits, ids, repetition_penalty)
    probs = next_token_probs(logits, **settings)
    return draw(probs, rng), probs


class KVCache:
    """Keep the keys and values of every layer for B sequences.

    Both are (n_layers, B, H, max_seq_len, D), preallocated; length counts
    the places in use, padding (B,) the unused ones at the left.
    """

    def __init__(self, params, config, B=1, padding=None):
        H = config.n_kv_heads or config.n_heads
        D = config.d_model // config.n_heads
        shape = (config.n_layers, B, H, config.max_seq_len, D)
        dtype = params["token_embedding"]["weight"].dtype
        self.keys = np.zeros(shape, dtype)
        self.values = np.zeros(shape, dtype)
        self.length = 0
        self.padding = padding

    def store(self, layer, k, v):
        """Put k and v (B, H, T, D) behind the rest; return all so far."""
        end = self.length + k.shape[2]
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


def new_positions(kv, T):
    """Return the positions of the T tokens behind kv, (T,) or (B, T)."""
    places = np.arange(kv.length, kv.length + T)
    if kv.padding is None:
        return places
    return np.maximum(places - kv.padding[:, None], 0)


def new_mask(kv, T):
    """Return what the T tokens behind kv may attend to; None means all.

    (T, S) or, with padding, (B, 1, T, S). A padding token sees itself, so
    that no row is empty; nobody else sees it.
    """
    if T == 1 and kv.padding is None:
        return None
    S = kv.length + T
    causal = causal_mask(S)[kv.length :]  # (T, S)
    if kv.padding is None:
        return causal
    real = np.arange(S) >= kv.padding[:, None, None, None]
    return causal & (real | np.eye(S, dtype=bool)[kv.length :])


def cached_attention(x, params, n_heads, kv, layer):
    """Attend from the new positions to everything stored so far.

    x (B, T, C) -> out (B, T, C), with a cache as residual expects it.
    """
    qkv, _ = linear(x, **params["qkv"])  # (B, T, 3C)
    parts, _ = split_heads(qkv, 3 * n_heads)  # (B, 3H, T, D)
    q, k, v = np.split(parts, 3, axis=1)  # (B, H, T, D) each
    keys, values = kv.store(layer, k, v)  # (B, H, S, D)
    mask = new_mask(kv, x.shape[1])
    heads, _ = scaled_dot_product_attention(q, keys, values, mask)
    merged, _ = merge_heads(heads)  # (B, T, C)
    return linear(merged, **params["out"])


CACHED_ATTENTIONS = {"full": cached_attention}


def cached_block(x, params, config, kv, layer):
    """Apply one block to the new positions only: (B, T, C) -> (B, T, C)."""
    attention = CACHED_ATTENTIONS[config.attention]

    def attend(h):
        return attention(h, params["attention"], config.n_heads, kv, layer)

    def feed(h):
        return feed_forward(h, params["feed_forward"], config.activation)

    x, _ = residual(x, attend, params["norm1"], config)
    x, _ = residual(x, feed, params["norm2"], config)
    return x


@checked
@one_blas_thread()
def next_logits(ids, params, config, kv):
    """Feed new ids (B, T) behind what kv holds; return logits (B, V).

    The logits are those after the last new id. Raises ValueError if there
    is no room for the ids.
    """
    T = ids.shape[1]
    x, _ = embedding(ids, params["token_embedding"]["weight"])
    positions = new_positions(kv, T)
    x = x + position_vectors(positions, params, config).astype(x.dtype)
    for layer, block in enumerate(params["blocks"]):
        x = cached_block(x, block, config, kv, layer)
    kv.length += T
    x = x[:, -1:]  # only the last position predicts
    if config.norm != "post":
        norm, _ = NORMS[config.norm]
        x, _ = norm(x, **params["final_norm"])
    logits, _ = head(x, params)  # (B, 1, V)
    return logits[:, 0]


def position_vectors(positions, params, config):
    """Return the vector of each position: (..., ) -> (..., C)."""
    if config.positions == "learned":
        return params["position_embedding"]["weight"][positions]
    if config.positions == "rope":
        return np.zeros(1)  # attention turns queries and keys instead
    return sinusoidal_positions(config.max_seq_len, config.d_model)[positions]


@checked
def sample_steps(
    prompt_ids, params, config, n_tokens=200, rng=None, stop_id=None, **knobs
):
    """Yield (token id, the probabilities it was drawn from), one by one.

    Ends after n_tokens, at stop_id, or when max_seq_len is reached; knobs
    are repetition_penalty and the settings of next_token_probs.
    """
    rng = np.random.default_rng() if rng is None else rng
    kv = KVCache(params, config)
    ids = [int(i) for i in prompt_ids]
    new = ids
    for _ in range(min(n_tokens, config.max_seq_len - len(ids))):
        logits = next_logits(np.array([new]), params, config, kv)[0]
        token, probs = next_token(logits, ids, rng, **knobs)
        if token == stop_id:
            return
        yield token, probs
        new = [token]
        ids.append(token)


@checked
def stream(prompt_ids, params, config, **settings):
    """Yield new token ids as they come; settings are sample_steps'."""
    for token, _ in sample_steps(prompt_ids, params, config, **settings):
        yield token


@checked
def generate(prompt_ids, params, config, **settings):
    """Return the list of new token ids; settings are sample_steps'."""
    return list(stream(prompt_ids, params, config, **settings))


@checked
def generate_batch(
    prompts, params, config, n_tokens=200, rng=None, stop_id=None, **knobs
):
    """Continue several prompts side by side; return new ids for each.

    knobs are sample_steps'; each row draws with an rng of its own.
    """
    ids, padding = pad_left(prompts)  # (B, T), (B,)
    kv = KVCache(params, config, len(prompts), padding)
    rng = np.random.default_rng() if rng is None else rng
    rngs = rng.spawn(len(prompts))
    texts = [[] for _ in prompts]
    for _ in range(min(n_tokens, config.max_seq_len - ids.shape[1])):
        logits = next_logits(ids, params, config, kv)  # (B, V)
        for row, text in enumerate(texts):
            seen = [*prompts[row], *text]  # no padding
            token, _ = next_token(logits[row], seen, rngs[row], **knobs)
            text.append(token)
        ids = np.array([[text[-1]] for text in texts])
        if all(stop_id in text for text in texts):
            break
    return [cut_at(text, stop_id) for text in texts]


def pad_left(prompts):
    """Align prompts at the right: ids (B, T), padding (B,)."""
    T = max(len(prompt) for prompt in prompts)
    padding = np.array([T - len(prompt) for prompt in prompts])
    ids = np.zeros((len(prompts), T), dtype=np.int64)
    for row, prompt in zip(ids, prompts):
        row[T - len(prompt) :] = prompt
    return ids, padding


def cut_at(text, stop_id):
    """Return the ids of a text up to stop_id, or all if it is not there."""
    return text[: text.index(stop_id)] if stop_id in text else text


@checked
def beam_search(
    prompt_ids, params, config, n_beams=4, n_tokens=50, stop_id=None
):
    """Follow the n_beams most likely continuations side by side.

    Returns [(new token ids, log probability), ...], the best first.
    """
    kv = KVCache(params, config, n_beams)
    logits = next_logits(np.array([prompt_ids] * n_beams), params, config, kv)
    beams = [([], 0.0)]
    finished = []
    for _ in range(min(n_tokens, config.max_seq_len - len(prompt_ids))):
        beams, parents, done = extend_beams(beams, logits, n_beams, stop_id)
        finished += done
        best = sorted(finished, key=lambda beam: -beam[1])[:n_beams]
        if not beams or len(best) == n_beams and best[-1][1] >= beams[0][1]:
            break  # no open beam can still overtake a finished one
        kv.keys[:, : len(parents)] = kv.keys[:, parents]
        kv.values[:, : len(parents)] = kv.values[:, parents]
        new = np.zeros((n_beams, 1), dtype=np.int64)
        new[: len(beams), 0] = [ids[-1] for ids, _ in beams]
        logits = next_logits(new, params, config, kv)
    return sorted(finished + beams, key=lambda beam: -beam[1])[:n_beams]


@checked
def extend_beams(beams, logits, n_beams, stop_id):
    """Return the n_beams best open beams, their parents, and finished ones.

    logits (at least len(beams), V); a beam is (ids, log probability).
    """
    log_probs = log_softmax(logits[: len(beams)].astype(np.float64))
    totals = log_probs + np.array([[score] for _, score in beams])
    order = np.argsort(-totals, axis=None, kind="stable")[: 2 * n_beams]
    open_beams = []
    parents = []
    finished = []
    for parent, token in zip(*np.unravel_index(order, totals.shape)):
        ids, _ = beams[parent]
        score = float(totals[parent, token])
        if token == stop_id:
            finished.append((ids, score))
        elif len(open_beams) < n_beams:
            open_beams.append(([*ids, int(token)], score))
            parents.append(int(parent))
    return open_beams, parents, finished
