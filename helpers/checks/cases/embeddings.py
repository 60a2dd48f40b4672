"""What the functions of lesson 02 are tried on."""

import math

import numpy as np

from helpers.checks.cases import pair, refusal, value

# Uneven axes: no length is another's.
B, T, C, V = 4, 5, 3, 11


def embedding(rng):
    weight = rng.normal(size=(V, C))
    ids = rng.integers(V - 3, size=(B, T))
    ids[0, :3] = ids[2, 1] = 1  # repeats, in one sequence and across
    yield pair("ids that repeat", ids, weight)
    yield pair("one sequence", ids[0], weight)
    yield pair("the first and the last row", np.array([[0, V - 1]]), weight)
    yield pair("all rows", rng.permutation(V)[None], weight)
    yield pair("ids of three axes", rng.integers(V, size=(2, B, T)), weight)
    yield pair("ids stored as int32", ids.astype(np.int32), weight)
    yield refusal("the id -1", np.array([[0, -1, 2]]), weight)
    yield refusal(f"the id {V} in {V} rows", np.array([[V, 3]]), weight)
    yield refusal("ids that are floats", np.array([[0.0, 2.0]]), weight)


def learned_positions(rng):
    weight, x = rng.normal(size=(V, C)), rng.normal(size=(B, T, C))
    yield pair("fewer tokens than rows", x, weight)
    yield pair("as many tokens as rows", x, weight[:T])
    yield pair("T = 1", x[:, :1], weight)
    yield pair("a batch of one", x[:1], weight)
    yield refusal("one token too many", x, weight[: T - 1])
    yield refusal("5 tokens and a table of one row", x, weight[:1])


def sinusoidal_positions(rng):
    for T, C in ((7, 12), (40, 4), (5, 9), (3, 1), (1, 2)):
        yield value(f"{T} x {C}", T, C, expected=_table(T, C))


def _table(T, C):
    """Return the definition, one number at a time."""
    table = np.empty((T, C))
    for t in range(T):
        for i in range(C):
            wave = math.cos if i % 2 else math.sin
            table[t, i] = wave(t / 10000 ** ((i - i % 2) / C))
    return table
