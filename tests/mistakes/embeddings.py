"""Mistakes in the functions of lesson 02, and right versions of them."""

import inspect

import numpy as np

from helpers.checks import check_backward, torch_ops
from helpers.checks.gradients import check_value

_rng = np.random.default_rng(4)
_ids = np.array([[3, 1, 3, 3, 0], [6, 3, 1, 5, 6]])
_weight = _rng.normal(size=(7, 6))
CALLS = {
    "embedding": (torch_ops.embedding, (_ids, _weight), {}),
    "learned_positions": (
        torch_ops.learned_positions,
        (_rng.normal(size=(2, 5, 6)), _rng.normal(size=(9, 6))),
        {},
    ),
}

WRONG = {
    "embedding": [
        ("ids.min() >= 0 and ids.max()", "ids.max()", "refuse the id -1"),
        (" and ids.max() < V", "", "refuse the id 11"),
        ("ids.max() < V", "ids.max() <= V", "refuse the id 11"),
        (
            "ids.max() < V)",
            "ids.max() < V - 1)",
            "with the first and the last row",
        ),
        ('kind not in "iu"', 'kind == "?"', "refuse ids that are floats"),
        ('.kind not in "iu"', " != np.int64", "ids stored as int32"),
        ("weight[ids], (ids, weight.shape)", "weight[ids]", "has no cache"),
        ("return weight[ids]", "return weight[ids - 1]", "row before each id"),
        (
            "return weight[ids]",
            "return weight[(ids.astype(int) + 1) % V]",
            "row after each id",
        ),
        ("weight[ids],", "np.take(weight, ids),", "lacks axis=0"),
        (
            "weight[ids],",
            "weight[ids] * weight.shape[1] ** 0.5,",
            "square root of the length of axis 1 of weight",
        ),
        (
            "weight[ids],",
            "weight[ids] - weight[ids].mean(axis=-1, keepdims=True),",
            "mean of each row taken off",
        ),
        ("weight[ids],", "weight[ids].mean(axis=-1),", "mean of each row"),
        ("weight[ids],", "weight[ids].mean(axis=-2),", "average of each"),
        ("weight[ids],", "weight[ids].swapaxes(-1, -2),", "changed places"),
        ("return weight[ids], (", "weight[ids], (", "Is there a return?"),
        (
            "def embedding(ids, weight):\n"
            "    return weight[ids], (ids, weight.shape)",
            "refuse the id -1",
        ),
        (
            "def embedding(ids, weight):\n"
            "    ids = np.clip(ids, 0, len(weight) - 1)\n"
            "    return weight[ids], (ids, weight.shape)",
            "refuse the id -1",
        ),
        (
            "def embedding(ids, weight):\n"
            "    assert ids.min() >= 0 and ids.max() < len(weight)\n"
            "    return weight[ids], (ids, weight.shape)",
            "refuse the id -1",
        ),
        (
            "def embedding(ids, weight):\n"
            "    if (ids < 0).all() or (ids >= len(weight)).all():\n"
            "        raise ValueError('outside')\n"
            "    return weight[ids], (ids, weight.shape)",
            "refuse the id -1",
        ),
        (
            "def embedding(ids, weight):\n"
            "    if ids.min() < 0 or ids.max() >= len(weight):\n"
            "        raise IndexError('outside')\n"
            "    return weight[ids], (ids, weight.shape)",
            "refuse the id -1",
        ),
        (
            "return weight[ids],",
            "return weight[ids] * 0 + weight[ids].mean(),",
            "-",
        ),
    ],
    "embedding_backward": [
        (
            "np.add.at(dweight, ids.reshape(-1), dout.reshape(-1, shape[1]))",
            "dweight[ids] += dout",
            "one gradient alone",
        ),
        (
            "np.add.at(dweight, ids.reshape(-1), dout.reshape(-1, shape[1]))",
            "dweight[ids] = dout",
            "one gradient alone",
        ),
        (
            "np.add.at(dweight, ids.reshape(-1), dout.reshape(-1, shape[1]))",
            "for sequence, rows in zip(ids, dout):\n"
            "        dweight[sequence] += rows",
            "lost what repeats within a sequence",
        ),
        (
            "np.add.at(dweight, ids.reshape(-1), dout.reshape(-1, shape[1]))",
            "np.add.at(dweight, ids[0], dout[0])",
            "first sequence of the batch alone",
        ),
        (
            "np.add.at(dweight, ids.reshape(-1), dout.reshape(-1, shape[1]))",
            "np.add.at(dweight, ids[0], dout.sum(axis=0))",
            "ids of the first sequence for all",
        ),
        ("zeros(shape, dout.dtype)", "zeros(shape)", "A float64 took part"),
        ("return dweight", "return ids, dweight", "expected dweight alone"),
        ("return dweight", "return None, dweight", "expected dweight alone"),
        ("    return dweight", "    dweight", "Is there a return?"),
        ("return dweight", "return dout", "-"),
        ("return dweight", "return dweight.T", "is the transpose of"),
        ("return dweight", "return dweight / ids.size", "number of ids"),
        ("return dweight", "return -dweight", "wrong sign"),
        (
            "return dweight",
            "count = np.bincount(ids.reshape(-1), minlength=shape[0])\n"
            "    return dweight / np.maximum(count, 1)[:, None]"
            ".astype(dout.dtype)",
            "divided by how often each id occurs",
        ),
        (
            "    np.add.at",
            "    dout *= 1.5\n    dout /= 1.5\n    np.add.at",
            "changed dout in place",
        ),
        (
            "    np.add.at",
            "    ids += 1\n    ids %= shape[0]\n    np.add.at",
            "changed an array of the cache in place",
        ),
        (
            "dweight, ids.resh",
            "dweight, (ids.astype(int) + 1).resh",
            "row after each id",
        ),
        ("dout.reshape(-1, shape[1])", "dout.reshape(shape[1], -1)", "-"),
        ("zeros(shape", "ones(shape", "began with ones"),
        (
            "return dweight",
            "return np.zeros(ids.shape, dout.dtype), dweight",
            "-",
        ),
    ],
    "learned_positions": [
        ("if len(weight) < T", "if False", "refuse one token too many"),
        ("if len(weight) < T", "if len(weight) <= T", "many tokens as rows"),
        (
            "if len(weight) < T",
            "if len(weight) < T and len(weight) > 1",
            "refuse 5 tokens and a table of one row",
        ),
        ("T = x.shape[-2]", "T = x.shape[0]", "-"),
        ("T = x.shape[-2]", "T = x.shape[-1]", "-"),
        ("return x + weight[:T]", "return x + weight[T]", "of number T"),
        ("return x + weight[:T]", "return x + weight[-T:]", "the last T rows"),
        (
            "return x + weight[:T]",
            "return x + weight[1 : T + 1]",
            "begins at row 1",
        ),
        ("return x + weight[:T]", "return x * weight[:T]", "is x times"),
        ("return x + weight[:T]", "return x - weight[:T]", "taken off"),
        ("return x + weight[:T]", "return weight[:T]", "x is to be added"),
        (
            "return x + weight[:T], (T, weight.shape)",
            "return x + weight[:T]",
            "has no cache",
        ),
        (
            "return x + weight[:T]",
            "x += weight[:T]\n    return x",
            "changed x in place",
        ),
        (
            "return x + weight[:T]",
            "return x * x.shape[-1] ** 0.5 + weight[:T]",
            "x multiplied by the square root of C",
        ),
        ("return x + weight[:T]", "return x + weight[0]", "the first"),
        (
            "return x + weight[:T]",
            "return x + weight.mean(axis=0)",
            "mean of the table",
        ),
        (
            "def learned_positions(x, weight):\n"
            "    x = x[:, : len(weight)]\n"
            "    T = x.shape[1]\n"
            "    return x + weight[:T], (T, weight.shape)",
            "refuse one token too many",
        ),
        (
            "def learned_positions(x, weight):\n"
            "    T = x.shape[1]\n"
            "    return x + weight[:T], (T, weight.shape)",
            "refuse one token too many",
        ),
        (
            "def learned_positions(x, weight):\n"
            "    T = x.shape[1]\n"
            "    positions = np.arange(T) % len(weight)\n"
            "    return x + weight[positions], (T, weight.shape)",
            "refuse one token too many",
        ),
        (
            (
                "def learned_positions(x, weight):\n"
                "    T = x.shape[-2]\n"
                "    return x + weight[:T], (T, weight.shape)\n"
            ),
            "does not refuse",
        ),
    ],
    "learned_positions_backward": [
        (
            "dout.reshape(-1, *dout.shape[-2:]).sum(axis=0)",
            "dout[0]",
            "first sequence of the batch alone",
        ),
        (
            "dout.reshape(-1, *dout.shape[-2:]).sum(axis=0)",
            "dout[-1]",
            "last sequence of the batch alone",
        ),
        (".sum(axis=0)", ".mean(axis=0)", "mean over the batch"),
        (".sum(axis=0)", ".sum(axis=1)", "-"),
        (".sum(axis=0)", ".sum(axis=(0, 1))", "summed over the positions"),
        ("zeros(shape, dout.dtype)", "zeros(shape)", "A float64 took part"),
        ("return dout, dweight", "return dout, dweight[:T]", "T rows long"),
        ("return dout, dweight", "return dweight, dout", "another order"),
        ("return dout, dweight", "return dweight", "1 gradients for 2"),
        ("    return dout, dweight", "    pass", "Is there a return?"),
        ("return dout, dweight", "return None, dweight", "-"),
        ("return dout, dweight", "return dout, -dweight", "wrong sign"),
        (
            "return dout, ",
            "return np.zeros_like(dout), ",
            "is zero everywhere",
        ),
        ("return dout, ", "return dout.sum(axis=0), ", "x got dout as it is"),
        ("dweight[:T] =", "dweight[-T:] =", "in the last T rows"),
        (
            "    return dout",
            "    dout[1:] = 0\n    return dout",
            "changed dout in place",
        ),
        ("zeros(shape", "ones(shape", "should be 0"),
    ],
    "sinusoidal_positions": [
        ("np.arange(T)", "np.arange(1, T + 1)", "begins at position 1"),
        (
            "np.sin(position * frequency)\n    table[:, 1::2] = np.cos(",
            "np.cos(position * frequency)\n    table[:, 1::2] = np.sin(",
            "in each other's place",
        ),
        ("np.cos(", "np.sin(", "has sines alone"),
        ("(-np.arange(0, C, 2) / C)", "(np.arange(0, C, 2) / C)", "that grow"),
        ("np.arange(0, C, 2) / C", "np.arange(0, C, 2) / 2 / C", "it is 2i"),
        ("np.arange(0, C, 2) / C", "2 * np.arange(0, C, 2) / C", "it is 2i"),
        ("np.arange(0, C, 2) / C", "np.arange(0, C, 2)", "division by C"),
        ("10000.0", "1000.0", "has the base 1000"),
        ("frequency[: C // 2]", "frequency", "with 5 x 9"),
        (
            "    return table",
            "    return np.concatenate([table[:, 0::2], table[:, 1::2]], 1)",
            "sines first",
        ),
        ("return table", "return table.T", "changed places"),
        ("    return table", "    pass", "Is there a return?"),
        ("return table", "return table.astype(np.float32)", "-"),
        ("np.empty((T, C))", "np.empty((T, C), np.float32)", "-"),
        (
            "def sinusoidal_positions(T, C):\n"
            "    angle = np.arange(T)[:, None] / 10000.0 ** (np.arange(C) / C)"
            "\n    return np.where(np.arange(C) % 2, np.cos(angle), "
            "np.sin(angle))",
            "both columns of a pair",
        ),
        (
            "def sinusoidal_positions(T, C):\n"
            "    even = np.arange(C) // 2 * 2\n"
            "    angle = np.arange(T)[:, None] / 10000.0 ** (even / C)\n"
            "    return angle",
            "holds the angles",
        ),
        (
            "def sinusoidal_positions(T, C):\n"
            "    i = np.arange(C // 2)\n"
            "    angle = np.arange(T)[:, None] / 10000.0 ** (2 * i / C)\n"
            "    both = np.stack([np.sin(angle), np.cos(angle)], axis=-1)\n"
            "    return both.reshape(T, -1)",
            "with 5 x 9",
        ),
    ],
}

RIGHT = {
    "embedding": [
        ("weight[ids],", "np.take(weight, ids, axis=0),"),
        ('kind not in "iu"', 'kind in "fb"'),
        """
def embedding(ids, weight):
    if ids.dtype.kind == "f" or ids.min() < 0 or ids.max() >= len(weight):
        raise ValueError(f"ids must be whole and in 0..{len(weight) - 1}")
    return weight[ids, :], (weight.shape, ids)


def embedding_backward(dout, cache):
    shape, ids = cache
    dweight = np.zeros(shape, dtype=dout.dtype)
    np.add.at(dweight, ids, dout)
    return dweight
""",
        """
def embedding(ids, weight):
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError("ids must be integers")
    if np.any(ids < 0) or np.any(ids >= len(weight)):
        raise ValueError("an id is not in the table")
    one_hot = np.eye(len(weight), dtype=weight.dtype)[ids]
    return one_hot @ weight, {"one_hot": one_hot}


def embedding_backward(dout, cache):
    rows = cache["one_hot"].reshape(-1, cache["one_hot"].shape[-1])
    return rows.T @ dout.reshape(len(rows), -1)
""",
        """
def embedding(ids, weight):
    V, C = weight.shape
    out = np.zeros((ids.size, C), dtype=weight.dtype)
    for r, i in enumerate(ids.flatten()):
        if i != int(i) or ids.dtype.kind == "f":
            raise ValueError("no integer")
        if i < 0 or i > V - 1:
            raise ValueError(f"{i} is not in 0..{V - 1}")
        out[r] = weight[i]
    return out.reshape(ids.shape + (C,)), (ids.copy(), weight)


def embedding_backward(dout, cache):
    ids, weight = cache
    dweight = np.zeros_like(weight)
    for i, row in zip(ids.flatten(), dout.reshape(-1, weight.shape[1])):
        dweight[i] += row
    return dweight
""",
        (
            "def embedding(ids, weight):\n"
            "    if ids.dtype.kind not in 'iu' or ids.size and "
            "(ids.min() < 0 or ids.max() >= len(weight)):\n"
            "        raise ValueError('ids')\n"
            "    return weight[ids], (weight.shape, ids)\n"
            "\n"
            "\n"
            "def embedding_backward(dout, cache):\n"
            "    shape, ids = cache\n"
            "    dweight = np.zeros(shape, dout.dtype)\n"
            "    np.add.at(dweight, ids, dout)\n"
            "    return dweight\n"
        ),
    ],
    "embedding_backward": [
        """
def embedding_backward(dout, cache):
    ids, (V, C) = cache
    E = (ids.reshape(-1, 1) == np.arange(V)).astype(dout.dtype)
    return np.einsum("rv,rc->vc", E, dout.reshape(-1, C))
""",
        """
def embedding_backward(dout, cache):
    ids, (V, C) = cache
    flat = ids.ravel()
    columns = [
        np.bincount(flat, weights=column, minlength=V)
        for column in dout.reshape(-1, C).T
    ]
    return np.stack(columns, axis=1).astype(dout.dtype)
""",
        """
def embedding_backward(dout, cache):
    ids, shape = cache
    dweight = np.zeros(shape)
    for i in range(shape[0]):
        dweight[i] = dout[ids == i].sum(axis=0)
    return dweight.astype(dout.dtype)
""",
        """
def embedding_backward(dout, cache):
    ids, shape = cache
    dweight = np.zeros(shape, dtype=dout.dtype)
    np.add.at(dweight, ids, dout)
    return dweight
""",
    ],
    "learned_positions": [
        ("T = x.shape[-2]", "T = x.shape[1]"),
        ("x + weight[:T]", "np.add(weight[np.arange(T)], x)"),
        """
def learned_positions(x, weight):
    B, T, C = x.shape
    if T > weight.shape[0]:
        raise ValueError("too long")
    out = np.empty_like(x)
    for b in range(B):
        for t in range(T):
            out[b, t] = x[b, t] + weight[t]
    return out, {"T": T, "rows": len(weight)}


def learned_positions_backward(dout, cache):
    B, T, C = dout.shape
    dweight = np.zeros((cache["rows"], C), dtype=dout.dtype)
    for b in range(B):
        dweight[: cache["T"]] += dout[b]
    return dout.copy(), dweight
""",
        """
def learned_positions(x, weight):
    if x.shape[1] > len(weight):
        raise ValueError("too long")
    rows, cache = embedding(np.arange(x.shape[1]), weight)
    return x + rows, cache


def learned_positions_backward(dout, cache):
    return dout, embedding_backward(dout.sum(axis=0), cache)
""",
    ],
    "learned_positions_backward": [
        (
            "dout.reshape(-1, *dout.shape[-2:]).sum(axis=0)",
            'np.einsum("btc->tc", dout)',
        ),
        """
def learned_positions_backward(dout, cache):
    T, (rows, C) = cache
    total = dout.sum(axis=0)
    rest = np.zeros((rows - T, C), dout.dtype)
    return dout.copy(), np.concatenate([total, rest])
""",
        """
def learned_positions_backward(dout, cache):
    T, shape = cache
    dweight = np.zeros(shape)
    positions = np.arange(len(dout) * T) % T
    np.add.at(dweight, positions, dout.reshape(-1, shape[1]))
    return [dout, dweight.astype(dout.dtype)]
""",
        """
def learned_positions_backward(dout, cache):
    T, shape = cache
    return dout, np.pad(dout.sum(0), ((0, shape[0] - T), (0, 0)))
""",
    ],
    "sinusoidal_positions": [
        """
def sinusoidal_positions(T, C):
    table = np.zeros((T, C))
    for t in range(T):
        for c in range(C):
            i = c // 2
            angle = t / 10000 ** (2 * i / C)
            table[t, c] = np.sin(angle) if c % 2 == 0 else np.cos(angle)
    return table
""",
        """
def sinusoidal_positions(T, C):
    even = np.arange(C) // 2 * 2
    angle = np.arange(T)[:, None] * np.exp(-np.log(10000.0) * even / C)
    return np.where(np.arange(C) % 2 == 0, np.sin(angle), np.cos(angle))
""",
        """
def sinusoidal_positions(T, C):
    pairs = (C + 1) // 2
    angle = np.outer(np.arange(T), 1 / 10000 ** (2 * np.arange(pairs) / C))
    wave = np.exp(1j * angle)
    both = np.stack([wave.imag, wave.real], axis=-1)
    return both.reshape(T, 2 * pairs)[:, :C]
""",
    ],
}

# exercises

SOLUTIONS = {
    "by_sorting": '''
def by_sorting(dout, cache):
    """Return dweight (V, C) without np.add.at."""
    ids, shape = cache
    flat, rows = ids.reshape(-1), dout.reshape(-1, shape[1])
    order = np.argsort(flat, kind="stable")
    ranked = flat[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    dweight = np.zeros(shape, dout.dtype)
    dweight[ranked[starts]] = np.add.reduceat(rows[order], starts)
    return dweight
''',
    "moving_matrix": '''
def moving_matrix(k, C):
    """Return the (C, C) matrix that takes row t to row t + k, any t."""
    move = np.zeros((C, C))
    for i in range(0, C, 2):
        angle = k * 10000.0 ** (-i / C)
        c, s = np.cos(angle), np.sin(angle)
        move[i : i + 2, i : i + 2] = [[c, -s], [s, c]]
    return move
''',
}
SOLUTIONS["scaled_embedding"] = SOLUTIONS["scaled_embedding_backward"] = '''
def scaled_embedding(ids, weight):
    """Look up rows and scale them by sqrt(C): (..., C), cache."""
    out, cache = embedding(ids, weight)
    return out * weight.shape[1] ** 0.5, cache


def scaled_embedding_backward(dout, cache):
    """Return dweight (V, C)."""
    ids, shape = cache
    return embedding_backward(dout * shape[1] ** 0.5, cache)
'''


def _judge_sorting(function):
    def lookup(ids, weight):
        return weight[ids], (ids, weight.shape)

    check_backward(
        lookup, function, torch_ops.embedding, (_ids, _weight[:, :4])
    )


def _judge_scaled(function):
    names = inspect.unwrap(function).__globals__
    check_backward(
        names["scaled_embedding"],
        names["scaled_embedding_backward"],
        lambda ids, W: W[ids] * W.shape[1] ** 0.5,
        (_ids, _weight[:, :5]),
    )


def _judge_moving(function):
    far = torch_ops.sinusoidal_positions(1000, 6).numpy()
    expected = np.linalg.lstsq(far[:-5], far[5:])[0]
    check_value(function, expected, 5, 6)


JUDGES = {
    "by_sorting": _judge_sorting,
    "scaled_embedding": _judge_scaled,
    "scaled_embedding_backward": _judge_scaled,
    "moving_matrix": _judge_moving,
}

WRONG |= {
    "by_sorting": [
        ("rows[order]", "rows", "not sorted along with the ids"),
        ("dweight[ranked[starts]]", "dweight[: len(starts)]", "first rows"),
        ("zeros(shape, dout.dtype)", "zeros(shape)", "A float64 took part"),
        ("np.add.reduceat(rows[order], starts)", "rows[order][starts]", "one"),
        ("np.add.reduceat(rows[order], starts)", "rows[starts]", "-"),
        ("np.add.reduceat(rows[order]", "np.add.reduceat(dout[order]", "-"),
        ("(rows[order], starts)", "(rows[order], ranked)", "-"),
        ("    return dweight", "    pass", "Is there a return?"),
        ("np.r_[True, ranked", "np.r_[False, ranked", "first run"),
    ],
    "scaled_embedding": [
        ("return out * weight.shape[1] ** 0.5", "return out", "lacks the fac"),
        ("weight.shape[1] ** 0.5", "weight.shape[1]", "multiplied by C"),
        ("out * weight.shape[1]", "out / weight.shape[1]", "is divided by"),
        ("weight.shape[1] **", "weight.shape[0] **", "square root of V"),
        ("out * weight.shape[1]", "out + weight.shape[1]", "root added"),
        (
            "weight.shape[1] ** 0.5",
            "np.sqrt(weight.shape[1])",
            "A float64 took part",
        ),
    ],
    "scaled_embedding_backward": [
        ("dout * shape[1] ** 0.5", "dout", "lacks the factor"),
        ("dout * shape[1] ** 0.5", "dout * shape[1]", "the factor twice"),
        ("dout * shape[1]", "dout / shape[1]", "is divided by"),
        ("dout * shape[1]", "dout * shape[0]", "square root of V"),
        ("dout * shape[1] ** 0.5", "dout * np.sqrt(shape[1])", "float64 took"),
        ("return embedding_backward", "embedding_backward", "Is there a"),
        (
            "return embedding_backward(dout * shape[1] ** 0.5, cache)",
            "dweight = np.zeros(shape, dout.dtype)\n"
            "    dweight[ids] += dout * shape[1] ** 0.5\n"
            "    return dweight",
            "one gradient alone",
        ),
    ],
    "moving_matrix": [
        ("[[c, -s], [s, c]]", "[[c, s], [-s, c]]", "turns backwards"),
        ("[[c, -s], [s, c]]", "[[c, -s], [-s, c]]", "-"),
        ("(-i / C)", "(-i / 2 / C)", "has i / 2 in the exponent"),
        ("angle = k * ", "angle = ", "turns by 1, not by k"),
        ("    return move", "    pass", "Is there a return?"),
        (
            "[[c, -s], [s, c]]",
            "[[s, c], [c, -s]]",
            "has sine and cosine exchanged",
        ),
        ("(-i / C)", "(i / C)", "has frequencies 10000^(i / C)"),
    ],
}

RIGHT |= {
    "by_sorting": [
        ("zeros(shape, dout.dtype)", "zeros(shape, dtype=dout.dtype)"),
        """
def by_sorting(dout, cache):
    ids, (V, C) = cache
    flat = ids.ravel()
    order = flat.argsort()
    found, starts = np.unique(flat[order], return_index=True)
    dweight = np.zeros((V, C))
    sums = np.add.reduceat(dout.reshape(-1, C)[order], starts, axis=0)
    dweight[found] = sums
    return dweight.astype(dout.dtype)
""",
        """
def by_sorting(dout, cache):
    ids, (V, C) = cache
    flat = ids.ravel()
    order = flat.argsort(kind="stable")
    rows = dout.reshape(-1, C)[order]
    ends = np.searchsorted(flat[order], np.arange(V + 1))
    parts = zip(ends[:-1], ends[1:])
    return np.stack([rows[a:b].sum(axis=0) for a, b in parts])
""",
    ],
    "scaled_embedding": [
        ("weight.shape[1] ** 0.5", "float(np.sqrt(weight.shape[1]))"),
        """
def scaled_embedding(ids, weight):
    factor = weight.dtype.type(weight.shape[1] ** 0.5)
    return embedding(ids, weight * factor)


def scaled_embedding_backward(dout, cache):
    _, shape = cache
    return embedding_backward(dout, cache) * dout.dtype.type(shape[1] ** 0.5)
""",
        """
def scaled_embedding(ids, weight):
    out, inner = embedding(ids, weight)
    factor = weight.shape[1] ** 0.5
    return factor * out, {"inner": inner, "factor": factor}


def scaled_embedding_backward(dout, cache):
    return embedding_backward(cache["factor"] * dout, cache["inner"])
""",
    ],
    "scaled_embedding_backward": [
        (
            "embedding_backward(dout * shape[1] ** 0.5, cache)",
            "shape[1] ** 0.5 * embedding_backward(dout, cache)",
        ),
        ("dout * shape[1] ** 0.5", "dout * dout.shape[-1] ** 0.5"),
        """
def scaled_embedding(ids, weight):
    out, _ = embedding(ids, weight)
    return out * weight.shape[-1] ** 0.5, (ids, weight)


def scaled_embedding_backward(dout, cache):
    ids, weight = cache
    dweight = np.zeros_like(weight)
    np.add.at(dweight, ids, dout * weight.shape[-1] ** 0.5)
    return dweight
""",
    ],
    "moving_matrix": [
        """
def moving_matrix(k, C):
    far = sinusoidal_positions(500, C)
    return np.linalg.lstsq(far[:-k], far[k:])[0]
""",
        """
def moving_matrix(k, C):
    angle = k / 10000 ** (np.arange(0, C, 2) / C)
    move = np.diag(np.repeat(np.cos(angle), 2))
    i = np.arange(0, C, 2)
    move[i, i + 1], move[i + 1, i] = -np.sin(angle), np.sin(angle)
    return move
""",
        """
def moving_matrix(k, C):
    blocks = []
    for i in range(C // 2):
        turn = np.exp(1j * k / 10000 ** (2 * i / C))
        block = np.zeros((2, C))
        block[:, 2 * i : 2 * i + 2] = [
            [turn.real, -turn.imag],
            [turn.imag, turn.real],
        ]
        blocks.append(block)
    return np.concatenate(blocks)
""",
    ],
}
