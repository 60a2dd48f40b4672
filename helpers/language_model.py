"""The whole decoder-only model and its loss, forward and backward.

Built in notebooks/04_language_model.ipynb.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from helpers.attention import causal_mask, linear
from helpers.embeddings import (
    embedding,
    embedding_backward,
    learned_positions,
    learned_positions_backward,
    sinusoidal_positions,
)
from helpers.runs.doors import checked
from helpers.runs.params import map_arrays, named_arrays
from helpers.transformer_block import (
    NORMS,
    dropout,
    dropout_backward,
    transformer_block,
    transformer_block_backward,
)

__all__ = [
    "ModelConfig",
    "TINY",
    "PRESETS",
    "init_linear",
    "init_norm",
    "init_block",
    "init_params",
    "count_params",
    "embed",
    "embed_backward",
    "head",
    "head_backward",
    "language_model",
    "language_model_backward",
    "log_softmax",
    "cross_entropy",
    "cross_entropy_backward",
    "loss_and_grads",
    "accuracy",
    "perplexity",
]


@dataclass(frozen=True, kw_only=True)
@checked
class ModelConfig:
    """Fix shape and kind of a model; raise ValueError if none can be."""

    vocab_size: int
    max_seq_len: int
    d_model: int
    n_heads: int
    n_layers: int
    d_ff: int
    norm: str = "pre"  # or "post"; appendix A4 adds "rms"
    activation: str = "gelu"  # or "relu"; "swiglu"
    positions: str = "learned"  # or "sinusoidal"; "rope"
    tied_head: bool = True
    bias: bool = True  # on the linear maps; layer norms always have one
    dropout: float = 0.0
    n_kv_heads: int | None = None  # as many as n_heads; A4 takes fewer

    @property
    def attention(self):
        """Return which of ATTENTIONS a block uses."""
        kind = "full" if self.n_kv_heads is None else "grouped"
        return "rope" if self.positions == "rope" else kind


TINY = ModelConfig(
    vocab_size=4096,
    max_seq_len=256,
    d_model=64,
    n_heads=2,
    n_layers=2,
    d_ff=256,
)
PRESETS = {
    "tiny": TINY,
    "small": replace(TINY, d_model=128, n_heads=4, d_ff=512),
    "medium": replace(TINY, d_model=256, n_heads=8, n_layers=4, d_ff=1024),
}


def init_linear(config, rng, M, N, std=0.02):
    """Draw a weight (M, N) from N(0, std^2), with a zero bias (N,)."""
    params = {"weight": rng.normal(0.0, std, (M, N))}
    if config.bias:
        params["bias"] = np.zeros(N)
    return params


def init_norm(C, bias=True):
    """Start a norm as the identity on normalised input."""
    params = {"weight": np.ones(C)}
    if bias:
        params["bias"] = np.zeros(C)
    return params


def init_block(config, rng):
    """Draw the parameters of one block.

    The two maps that write into the residual stream start smaller, so that
    the stream keeps its size however many blocks add to it.
    Source: Radford et al. 2019, section 2.3.
    """
    C, F = config.d_model, config.d_ff
    kv = C // config.n_heads * (config.n_kv_heads or config.n_heads)
    up = 2 * F if config.activation == "swiglu" else F
    bias = config.norm != "rms"
    small = 0.02 / math.sqrt(2 * config.n_layers)
    return {
        "norm1": init_norm(C, bias),
        "attention": {
            "qkv": init_linear(config, rng, C, C + 2 * kv),
            "out": init_linear(config, rng, C, C, small),
        },
        "norm2": init_norm(C, bias),
        "feed_forward": {
            "up": init_linear(config, rng, C, up),
            "down": init_linear(config, rng, F, C, small),
        },
    }


def init_params(config, rng, dtype=np.float32):
    """Draw the parameters of a whole model as nested dicts of arrays."""
    V, C = config.vocab_size, config.d_model
    params = {"token_embedding": {"weight": rng.normal(0, 0.02, (V, C))}}
    if config.positions == "learned":
        table = rng.normal(0, 0.02, (config.max_seq_len, C))
        params["position_embedding"] = {"weight": table}
    params["blocks"] = [
        init_block(config, rng) for _ in range(config.n_layers)
    ]
    if config.norm != "post":
        params["final_norm"] = init_norm(C, config.norm != "rms")
    if not config.tied_head:
        params["head"] = {"weight": rng.normal(0, 0.02, (C, V))}
    return map_arrays(lambda array: array.astype(dtype), params)


def count_params(params):
    """Return how many numbers training may change."""
    return sum(array.size for array in named_arrays(params).values())


@checked
def embed(ids, params, config, rng=None):
    """Turn ids (B, T) into the vectors (B, T, C) the first block reads.

    Raises ValueError if ids are not (B, T), are out of range, or are longer
    than max_seq_len.
    """
    cache = {}
    x, cache["tokens"] = embedding(ids, params["token_embedding"]["weight"])
    if config.positions == "learned":
        table = params["position_embedding"]["weight"]
        x, cache["positions"] = learned_positions(x, table)
    elif config.positions == "sinusoidal":
        table = sinusoidal_positions(ids.shape[1], config.d_model)
        x = x + table.astype(x.dtype)
    x, cache["dropout"] = dropout(x, config.dropout, rng)
    return x, cache


def embed_backward(dout, cache):
    """Return grads of the token embedding and of learned positions."""
    dx = dropout_backward(dout, cache["dropout"])
    grads = {}
    if "positions" in cache:
        dx, dtable = learned_positions_backward(dx, cache["positions"])
        grads["position_embedding"] = {"weight": dtable}
    dtokens = embedding_backward(dx, cache["tokens"])
    return {"token_embedding": {"weight": dtokens}} | grads


def head(x, params):
    """Score every token of the vocabulary: x (B, T, C) -> logits (B, T, V).

    Tied: the scores are dot products with the token embedding's rows.
    Source of tying: Press and Wolf 2017.
    """
    tied = "head" not in params
    if tied:
        weight = params["token_embedding"]["weight"].T  # (C, V)
    else:
        weight = params["head"]["weight"]
    logits, _ = linear(x, weight)
    return logits, (x, weight, tied)


def head_backward(dlogits, cache):
    """Return dx and grads under the name of the matrix that was used."""
    x, weight, tied = cache
    rows = x.reshape(-1, x.shape[-1])  # (R, C)
    drows = dlogits.reshape(-1, dlogits.shape[-1])  # (R, V)
    dweight = drows.T @ rows if tied else rows.T @ drows
    name = "token_embedding" if tied else "head"
    dx = (drows @ weight.T).reshape(x.shape)
    return dx, {name: {"weight": dweight}}


def language_model(ids, params, config, mask=None, rng=None):
    """Score the next token at every position.

    ids (B, T) integers -> logits (B, T, V). mask None means causal; a
    boolean mask replaces it. rng switches dropout on.
    Raises ValueError for ids that do not fit the model.
    """
    cache = {"kind": config.norm, "blocks": []}
    x, cache["embed"] = embed(ids, params, config, rng)
    mask = causal_mask(ids.shape[1]) if mask is None else mask
    for block in params["blocks"]:
        x, block_cache = transformer_block(x, block, config, mask, rng)
        cache["blocks"].append(block_cache)
    if config.norm != "post":
        norm, _ = NORMS[config.norm]
        x, cache["final_norm"] = norm(x, **params["final_norm"])
    logits, cache["head"] = head(x, params)
    return logits, cache


def language_model_backward(dlogits, cache):
    """Return grads, nested dicts with the keys of params."""
    dx, grads = head_backward(dlogits, cache["head"])
    if "final_norm" in cache:
        _, norm_backward = NORMS[cache["kind"]]
        dx, *dnorm = norm_backward(dx, cache["final_norm"])
        grads["final_norm"] = dict(zip(("weight", "bias"), dnorm))
    grads["blocks"] = []
    for block_cache in reversed(cache["blocks"]):
        dx, block_grads = transformer_block_backward(dx, block_cache)
        grads["blocks"].insert(0, block_grads)
    from_head = grads.pop("token_embedding", None)
    grads |= embed_backward(dx, cache["embed"])
    if from_head is not None:  # a tied matrix collects both gradients
        grads["token_embedding"]["weight"] += from_head["weight"]
    return grads


def log_softmax(logits):
    """Return log(softmax(logits)) over the last axis without overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@checked
def cross_entropy(logits, targets, ignore_index=-100):
    """Average minus log probability of the targets, in nats per token.

    logits (..., V), targets (...) integers in 0..V-1 or ignore_index
    -> loss, a float. Raises ValueError if there is no target to score or
    one is outside the vocabulary.
    """
    keep = targets != ignore_index
    log_probs = log_softmax(logits)
    rows = np.where(keep, targets, 0)[..., None]
    picked = np.take_along_axis(log_probs, rows, axis=-1)[..., 0]
    loss = -float(picked[keep].mean())
    return loss, (log_probs, rows, keep)


def cross_entropy_backward(dout, cache):
    """Return dlogits = (softmax - one-hot) / count, zero where ignored."""
    log_probs, rows, keep = cache
    dlogits = np.exp(log_probs)
    picked = np.take_along_axis(dlogits, rows, axis=-1)
    np.put_along_axis(dlogits, rows, picked - 1, axis=-1)
    scale = keep * (float(dout) / int(keep.sum()))
    dlogits *= scale[..., None].astype(dlogits.dtype)
    return dlogits


def loss_and_grads(ids, targets, params, config, rng=None):
    """Run the model forward and backward on one batch.

    ids and targets (B, T) -> loss in nats per token, grads like params.
    """
    logits, model_cache = language_model(ids, params, config, rng=rng)
    loss, loss_cache = cross_entropy(logits, targets)
    dlogits = cross_entropy_backward(1.0, loss_cache)
    return loss, language_model_backward(dlogits, model_cache)


def accuracy(logits, targets, ignore_index=-100):
    """Return the share of scored targets that have the highest logit."""
    keep = targets != ignore_index
    return float((logits.argmax(axis=-1) == targets)[keep].mean())


def perplexity(loss):
    """Return exp(loss): as unsure as a fair choice among that many tokens.

    Beyond what a float can hold it is inf.
    """
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
