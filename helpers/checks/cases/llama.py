"""What the functions of appendix A4 are tried on."""

from types import SimpleNamespace

import numpy as np

from helpers.checks.cases import pair, value

# Uneven axes: no length is another's, or a constant of a formula.
B, T, H, D, F = 2, 5, 4, 6, 7
C = H * D


def rms_norm(rng):
    x, weight = 2 * rng.normal(size=(B, T, C)), rng.normal(size=C)
    yield pair("rows of 24", x + 0.5, weight)
    yield pair("a single row", x[0, 0], weight)
    yield pair("small numbers", 1e-3 * x, weight)
    yield pair("another eps", x, weight, eps=0.3)


def silu(rng):
    x = rng.normal(size=(B, T, F))
    yield pair("numbers near 0", x)
    yield pair("numbers from -90 to 90", 30 * np.clip(x, -3, 3))


def swiglu(rng):
    yield pair("7 gates, 7 values", rng.normal(size=(B, T, 2 * F)))
    yield pair("a single row", rng.normal(size=2 * F))


def rope_angles(rng):
    given = np.arange(T), D
    yield value("positions 0 to 4", *given, keeps_dtype=False)
    rows = np.array([[0, 0, 1], [3, 4, 5]])
    yield value("two rows of positions", rows, 4, keeps_dtype=False)
    yield value("another base", *given, base=50.0, keeps_dtype=False)


def pairs_of(rng):
    x = rng.normal(size=(T, D))
    yield value("pairs", x, "pairs", use=_as_tuple)
    yield value("halves", x, "halves", use=_as_tuple)


def rope(rng):
    x = rng.normal(size=(B, H, T, D))
    rows = np.array([[0, 0, 1, 2, 3], [7, 8, 9, 10, 11]])
    for layout in ("pairs", "halves"):
        yield pair(f"{layout} at 0 to 4", x, np.arange(T), layout)
        yield pair(f"{layout}, a row of positions each", x, rows, layout)
    yield pair("T = 1", x[:, :, :1], np.array([3]))


def repeat_heads(rng):
    x = rng.normal(size=(B, 2, T, D))
    yield pair("groups of 3", x, 3)
    yield pair("each alone", x, 1)


def split_groups(rng):
    for G in (1, 2, H):
        qkv = rng.normal(size=(B, T, C + 2 * G * D))
        yield value(f"{G} of 4 heads", qkv, H, D, use=_as_tuple)


def grouped_attention(rng):
    causal = np.tri(T, dtype=bool)
    x, narrow = rng.normal(size=(B, T, C)), rng.normal(size=(B, T, 2 * D))
    turned = {"positions": np.arange(T)}
    yield pair("2 heads of keys for 4", x, _params(rng, H, 2), H, causal)
    one, two = _params(rng, 2, 1), _params(rng, 2, 2)
    yield pair("turned", narrow, one, 2, causal, **turned)
    yield pair("as many heads, turned", narrow, two, 2, causal, **turned)
    bare = {key: {"weight": p["weight"]} for key, p in one.items()}
    yield pair("no mask, no biases", narrow, bare, 2)


def rope_attention(rng):
    x, mask = rng.normal(size=(B, T, 2 * D)), np.tri(T, dtype=bool)
    yield pair("one head of keys for 2", x, _params(rng, 2, 1), 2, mask)
    yield pair("T = 1", x[:, :1], _params(rng, 2, 2), 2)


def to_halves(rng):
    yield value("two heads of 6", np.arange(12.0), 6, expected=_HALVES)
    yield value("a matrix", rng.normal(size=(T, C)), D)


def to_pairs(rng):
    yield value("two heads of 6", _HALVES, 6, expected=np.arange(12.0))
    yield value("a matrix", rng.normal(size=(T, C)), D)


def gpt2_params(rng):
    for title, n in (("two blocks", 2), ("one block", 1)):
        yield value(title, _tensors(rng, n), SimpleNamespace(n_layers=n))


_HALVES = np.array([0.0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11])


def _as_tuple(function, *arguments):
    return tuple(function(*arguments))


def _params(rng, H, G):
    return {
        "qkv": _linear(rng, H * D, (H + 2 * G) * D),
        "out": _linear(rng, H * D, H * D),
    }


def _linear(rng, M, N):
    return {"weight": rng.normal(size=(M, N)), "bias": rng.normal(size=N)}


def _tensors(rng, n_layers):
    """Return arrays under GPT-2's names; they are longer in a real one."""
    square, wide = (3, 3), (3, 5)
    shapes = {"wte.weight": wide, "wpe.weight": wide} | _both("ln_f", 3)
    for h in (f"h.{i}" for i in range(n_layers)):
        shapes |= _both(f"{h}.ln_1", 3) | _both(f"{h}.ln_2", 3)
        shapes |= _both(f"{h}.attn.c_attn", wide)
        shapes |= _both(f"{h}.attn.c_proj", square)
        shapes |= _both(f"{h}.mlp.c_fc", wide)
        shapes |= _both(f"{h}.mlp.c_proj", wide[::-1])
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def _both(name, shape):
    """Return the shapes of a weight and its bias."""
    bias = shape[-1] if isinstance(shape, tuple) else shape
    return {f"{name}.weight": shape, f"{name}.bias": bias}
