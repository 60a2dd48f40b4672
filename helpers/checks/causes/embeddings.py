"""The usual mistakes in the functions of lesson 02."""

import numpy as np

from helpers import embeddings as right

ROWS = "every place that used a row adds to its gradient"


def embedding(ids, weight):
    V, C = weight.shape
    index = ids.astype(np.int64)
    rows = weight[index]
    yield "has the row before each id: id i is row i", weight[index - 1]
    yield "has the row after each id: id i is row i", weight[(index + 1) % V]
    yield "has the rows counted from the end", weight[V - 1 - index]
    yield (
        "lacks axis=0: np.take goes through the flat table",
        np.take(weight, index),
    )
    mean = rows.mean(axis=-1, keepdims=True)
    yield "is the mean of each row: the row itself is wanted", mean[..., 0]
    yield "has the mean of each row taken off: the row is wanted", rows - mean
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    yield "has its rows divided by their length", rows / length
    if ids.ndim > 1:
        yield (
            "is the average of each sequence: every id has its own row",
            rows.mean(axis=-2),
        )
        yield "has the ids of a sequence reversed", weight[index[..., ::-1]]


def embedding_backward(dout, ids, weight):
    V, C = weight.shape
    flat, rows = ids.reshape(-1), dout.reshape(-1, C)
    dweight = right.embedding_backward(dout, (ids, weight.shape))
    count = np.bincount(flat, minlength=V)[:, None]
    yield (
        f"is divided by how often each id occurs: {ROWS}",
        dweight / np.maximum(count, 1),
    )
    yield f"is divided by the number of ids: {ROWS}", dweight / ids.size
    yield "has the row after each id", np.roll(dweight, 1, axis=0)
    yield (
        "holds how often each id occurs, not dout",
        np.broadcast_to(count.astype(dout.dtype), dweight.shape),
    )
    first = np.zeros_like(dweight)
    first[flat[::-1]] = rows[::-1]
    last = np.zeros_like(dweight)
    for i, row in zip(flat, rows):
        last[i] = row
    for one in (first, last):
        yield f"has one gradient alone where an id repeats: {ROWS}", one
    yield "is multiplied by weight: it is dout alone", dweight * weight
    yield "began with ones: the table of gradients begins at 0", dweight + 1
    if ids.ndim == 2:
        lost = np.zeros_like(dweight)
        for sequence, drows in zip(ids, dout):
            lost[sequence] += drows
        yield (
            (
                "lost what repeats within a sequence: dweight[ids] += dout "
                "writes each row once"
            ),
            lost,
        )
        one = np.zeros_like(dweight)
        np.add.at(one, ids[0], dout[0])
        yield f"has the first sequence of the batch alone: {ROWS}", one
        one = np.zeros_like(dweight)
        np.add.at(one, ids[0], dout.sum(axis=0))
        yield "uses the ids of the first sequence for all", one


def learned_positions(x, weight):
    T, C = x.shape[-2:]
    rows = weight[:T]
    yield "is the rows of the table alone: x is to be added", rows
    yield "is the rows of the table alone: x is to be added", rows + 0 * x
    yield "is x alone: the rows of the table are to be added", x
    yield "is x times the rows of the table: add them", x * rows
    yield "has the rows of the table taken off: add them", x - rows
    yield "has the rows of the table added twice", x + 2 * rows
    yield "has x multiplied by the square root of C", x * C**0.5 + rows
    yield "has the rows in reverse order", x + rows[::-1]
    if len(weight) > T:
        yield (
            "begins at row 1 of the table, not at row 0",
            x + weight[1 : T + 1],
        )
        yield (
            "takes the last T rows of the table: take the first",
            (x + weight[-T:]),
        )
        yield "has one row for all positions, that of number T", x + weight[T]
    yield "has one row for all positions, the first", x + weight[0]
    yield "has one row for all positions, the last", x + weight[T - 1]
    yield (
        "has the mean of the table for all positions",
        x + weight.mean(axis=0),
    )
    yield "has the sum of the rows for all positions", x + rows.sum(axis=0)


def learned_positions_backward(dout, x, weight):
    T = x.shape[-2]
    shared = np.zeros_like(weight)
    total = dout.sum(axis=0)
    yield (
        "is T rows long: a row that was not used has the gradient 0",
        {"dweight": total},
    )
    if len(weight) > T:
        late = shared.copy()
        late[-T:] = total
        yield (
            "stands in the last T rows: the first were used",
            {"dweight": late},
        )
    whole = shared.copy()
    whole[:T] = dout.sum(axis=(0, 1))
    yield (
        "is summed over the positions too: each position has its own row",
        {"dweight": whole},
    )
    whole = shared + dout.sum(axis=(0, 1))
    yield (
        "is summed over the positions too: each position has its own row",
        {"dweight": whole},
    )
    mean = shared.copy()
    mean[:T] = dout.mean(axis=0)
    if len(dout) > 1:
        yield (
            "is a mean over the batch: the gradients add up",
            {"dweight": mean},
        )
    late = shared.copy()
    late[1 : T + 1] = total[: len(late[1 : T + 1])]
    yield "begins at row 1, not at row 0", {"dweight": late}
    backwards = shared.copy()
    backwards[:T] = total[::-1]
    yield "has its rows in reverse order", {"dweight": backwards}
    scaled = shared.copy()
    scaled[:T] = (dout * weight[:T]).sum(axis=0)
    yield (
        "has the factor weight: out is a sum, not a product",
        {"dweight": scaled},
    )
    yield (
        "has the factor weight: out is a sum, not a product",
        {"dx": dout * weight[:T]},
    )
    yield (
        "has the rows of the table added: it is dout alone",
        {"dx": dout + weight[:T]},
    )
    yield "is the sum over the batch: x got dout as it is", {"dx": total}
    yield (
        "is the sum over the batch: x got dout as it is",
        {"dx": total + 0 * dout},
    )


def sinusoidal_positions(T, C):
    column = np.arange(C)
    even = column - column % 2

    def table(exponent=even / C, start=0, base=10000.0, odd=column % 2):
        angle = np.arange(start, start + T)[:, None] / base**exponent
        return np.where(odd, np.cos(angle), np.sin(angle))

    yield "begins at position 1: the first is 0", table(start=1)
    yield (
        "has sines and cosines in each other's place: sines first",
        table(odd=1 - column % 2),
    )
    yield "has i / C in the exponent: it is 2i / C", table(even / 2 / C)
    yield (
        (
            "has the number of the column in the exponent: both columns of a "
            "pair have the frequency of the even one"
        ),
        table(column / C),
    )
    yield "has twice the exponent: it is 2i / C", table(2 * even / C)
    yield (
        "has frequencies that grow: divide by 10000^(2i/C)",
        table(-even / C),
    )
    yield "lacks the division by C in the exponent", table(even)
    yield "lacks the division by C in the exponent", table(even / 2)
    yield "has sines alone: the odd columns are cosines", table(odd=0 * column)
    yield (
        "has cosines alone: the even columns are sines",
        table(odd=0 * column + 1),
    )
    for base in (1000.0, 1e5, np.e):
        yield f"has the base {base:.4g}, not 10000", table(base=base)
    if C > 2:
        yield (
            "divides by C - 2 in the exponent, not by C",
            table(even / (C - C % 2 - 2) if C > 3 else even),
        )
    halves = np.concatenate([table()[:, 0::2], table()[:, 1::2]], axis=1)
    yield "has all sines first, then all cosines: they take turns", halves
    index = np.arange(T)[:, None] + 0.0
    yield (
        "holds the angles: their sines and cosines are wanted",
        index / 10000.0 ** (even / C),
    )
    degrees = np.deg2rad(index / 10000.0 ** (even / C))
    yield (
        "has its angles in degrees",
        np.where(column % 2, np.cos(degrees), np.sin(degrees)),
    )


# exercises


def by_sorting(dout, ids, weight):
    yield from embedding_backward(dout, ids, weight)
    flat, rows = ids.reshape(-1), dout.reshape(-1, weight.shape[1])
    order = np.argsort(flat, kind="stable")
    ranked = flat[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    found = np.zeros_like(weight)
    found[ranked[starts]] = np.add.reduceat(rows, starts)
    yield "has its rows not sorted along with the ids", found
    found = right.embedding_backward(dout, (ids, weight.shape))
    found[ranked[0]] = 0
    yield "lacks the first run: one starts at index 0", found
    found = np.zeros_like(weight)
    found[: len(starts)] = np.add.reduceat(rows[order], starts)
    yield (
        "has its sums in the first rows: each belongs in the row of its id",
        found,
    )


def scaled_embedding(ids, weight):
    V, C = weight.shape
    rows = weight[ids]
    yield "lacks the factor: the square root of C", rows
    yield "is multiplied by C: its square root is wanted", rows * C
    yield "is divided by the square root of C: multiply", rows / C**0.5
    yield "has the square root of V, not of C", rows * V**0.5
    yield (
        "has the square root of the length of a sequence",
        (rows * ids.shape[-1] ** 0.5),
    )
    yield "has the root added: multiply by it", rows + C**0.5


def scaled_embedding_backward(dout, ids, weight):
    V, C = weight.shape
    plain = right.embedding_backward(dout, (ids, weight.shape))
    yield "lacks the factor: the square root of C", plain
    yield "has the factor twice: the square root of C", plain * C
    yield "is divided by the square root of C: multiply", plain / C**0.5
    yield "has the square root of V, not of C", plain * V**0.5
    lost = np.zeros_like(plain)
    lost[ids] += dout * C**0.5
    yield f"has one gradient alone where an id repeats: {ROWS}", lost


def moving_matrix(k, C):
    def turn(k=k, way=1, power=lambda i: -i / C, parts="cs"):
        move = np.zeros((C, C))
        for i in range(0, C, 2):
            angle = k * 10000.0 ** power(i)
            c, s = np.cos(angle), way * np.sin(angle)
            turns = {"cs": [[c, -s], [s, c]], "sc": [[s, c], [c, -s]]}
            move[i : i + 2, i : i + 2] = turns[parts]
        return move

    yield "turns backwards: it is the transpose", turn(way=-1)
    yield "turns by 1, not by k", turn(k=1)
    yield (
        "has frequencies 10000^(i / C): the exponent is negative",
        turn(power=lambda i: i / C),
    )
    yield (
        "has i / 2 in the exponent: the i of column i is wanted",
        turn(power=lambda i: -i / 2 / C),
    )
    yield (
        "has 2 i in the exponent: the i of column i is wanted",
        turn(power=lambda i: -2 * i / C),
    )
    yield "turns all pairs at one frequency", turn(power=lambda i: 0)
    yield "has sine and cosine exchanged", turn(parts="sc")
