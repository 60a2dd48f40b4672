"""Token embedding and positions, forward and backward.

Built in notebooks/02_embeddings.ipynb.
"""

import numpy as np

__all__ = [
    "embedding",
    "embedding_backward",
    "learned_positions",
    "learned_positions_backward",
    "sinusoidal_positions",
]


def embedding(ids, weight):
    """Look up one row of weight for each id.

    ids (...) integers in 0..V-1, weight (V, C) -> out (..., C).
    Raises ValueError for an id outside the table.
    """
    V = len(weight)
    if ids.dtype.kind not in "iu":
        raise ValueError(f"ids must be integers, not {ids.dtype}")
    if ids.size and not (ids.min() >= 0 and ids.max() < V):
        bad = ids[(ids < 0) | (ids >= V)][0]
        raise ValueError(
            f"token id {bad} is outside the vocabulary of {V}; "
            "ids must come from the tokenizer this model was built for"
        )
    return weight[ids], (ids, weight.shape)


def embedding_backward(dout, cache):
    """Return dweight (V, C): row i collects dout wherever ids == i."""
    ids, shape = cache
    dweight = np.zeros(shape, dout.dtype)
    np.add.at(dweight, ids.reshape(-1), dout.reshape(-1, shape[1]))
    return dweight


def learned_positions(x, weight):
    """Add the learned vector of each position.

    x (B, T, C), weight (max_seq_len, C) -> out (B, T, C).
    Raises ValueError if x is longer than the table.
    """
    T = x.shape[-2]
    if len(weight) < T:
        raise ValueError(
            f"a sequence of {T} tokens is longer than max_seq_len = "
            f"{len(weight)}; cut it or build the model with a larger one"
        )
    return x + weight[:T], (T, weight.shape)


def learned_positions_backward(dout, cache):
    """Return dx (B, T, C) and dweight (max_seq_len, C)."""
    T, shape = cache
    dweight = np.zeros(shape, dout.dtype)
    dweight[:T] = dout.reshape(-1, *dout.shape[-2:]).sum(axis=0)
    return dout, dweight


def sinusoidal_positions(T, C):
    """Return the fixed (T, C) table of sines and cosines, in float64.

    Columns 2i and 2i+1 hold sin and cos of position / 10000^(2i/C).
    Source: Vaswani et al. 2017, section 3.5.
    """
    position = np.arange(T)[:, None]  # (T, 1)
    frequency = 10000.0 ** (-np.arange(0, C, 2) / C)  # (ceil(C / 2),)
    table = np.empty((T, C))
    table[:, 0::2] = np.sin(position * frequency)
    table[:, 1::2] = np.cos(position * frequency[: C // 2])
    return table
