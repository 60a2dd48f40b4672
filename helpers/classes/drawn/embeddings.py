"""What a grade of lesson 02 adds: other sizes, and the exercises."""

import numpy as np

from helpers.checks.cases import pair, value

V, C = 9, 5


def sinusoidal_positions(rng):
    for i in range(3):
        T, width = int(rng.integers(2, 60)), int(rng.integers(1, 20))
        yield value(f"{T} x {width}, the {i + 1}th drawn", T, width)


def by_sorting(rng):
    ids, dout = rng.integers(V - 2, size=(3, 4)), rng.normal(size=(3, 4, C))
    yield value("ids that repeat", dout, (ids, (V, C)))
    yield value("one sequence", dout[0], (ids[0], (V, C)))
    same = np.full((3, 4), rng.integers(V))
    yield value("one id alone", dout, (same, (V, C)))


def scaled_embedding(rng):
    ids, weight = rng.integers(V, size=(2, 6)), rng.normal(size=(V, C))
    yield pair("5 channels", ids, weight)
    yield pair("3 channels", ids[0], weight[:, :3])


def moving_matrix(rng):
    yield value("6 channels", int(rng.integers(2, 30)), 6)
    yield value("10 channels", int(rng.integers(30, 90)), 10)
    yield value("4 channels", int(rng.integers(1, 9)), 4)
