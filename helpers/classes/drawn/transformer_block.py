"""What a grade of lesson 03 adds: the exercises."""

from helpers.checks.cases import pair

B, T, C, F = 2, 5, 7, 11


def silu(rng):
    x = 3 * rng.normal(size=(B, T, C))
    yield pair("both signs", x)
    yield pair("a single row", x[0, 0])
    yield pair("large numbers", 10 * x)


def rms_norm(rng):
    x, weight = rng.normal(size=(B, T, C)) + 0.3, rng.normal(size=C)
    yield pair("rows of 7", x, weight)
    yield pair("T = 1", x[:, :1], weight)
    yield pair("small numbers", 0.003 * x, weight)


def gated(rng):
    x = rng.normal(size=(B, T, C))
    sizes = {"gate": (C, F), "up": (C, F), "down": (F, C)}
    params = {
        name: {"weight": rng.normal(size=size) / size[0] ** 0.5}
        for name, size in sizes.items()
    }
    yield pair("11 gates", x, params)
    yield pair("T = 1", x[:, :1], params)
