"""Draw what lesson 02 does: lookup, its gradient, and positions."""

import numpy as np
from matplotlib.figure import Figure

from helpers.pictures.arrays import named, show_arrays
from helpers.pictures.figures import DPI, plain, show
from helpers.pictures.sentence import FEATURES, VOCABULARY

MARK = "#d95f02"


def lookup(words, ids, table, out, place):
    """Draw ids (T,) picking rows of a table (V, C); one place is framed."""
    show_arrays(
        named("ids", ids[:, None], words, colours="grey", mark=np.s_[place]),
        "row →",
        named("weight", table, VOCABULARY, FEATURES, mark=np.s_[ids[place]]),
        "copy →",
        named("out", out, words, FEATURES, mark=np.s_[place]),
        alt=f"The id {ids[place]} of {words[place]} picks row {ids[place]} of "
        "the table",
    )


def one_hot(words, rows, table, out):
    """Draw one-hot rows (T, V) @ table (V, C) = out (T, C)."""
    show_arrays(
        named("one_hot", rows, words, VOCABULARY, colours="grey", digits=0),
        "\n",
        "@",
        named("weight", table, VOCABULARY, FEATURES),
        "=",
        named("out", out, words, FEATURES),
        alt="Each row with a single 1, times the table, is a row of the table",
    )


def scatter(words, dout, dweights):
    """Draw dout (T, 1) flowing back into tables {name: (V, 1)}."""
    tables = [
        named(name, table, VOCABULARY, digits=0)
        for name, table in dweights.items()
    ]
    said = [
        f"{name} has {', '.join(f'{number:.0f}' for number in table.ravel())}"
        for name, table in dweights.items()
    ]
    show_arrays(
        *tables,
        "gradient ←",
        named("dout", dout, words, digits=0),
        alt=f"For {', '.join(VOCABULARY)}: {'; '.join(said)}",
    )


def orders(sentences, outs, row):
    """Draw what two orders of words become, the row of one word framed."""
    tables = []
    for words, out in zip(sentences, outs):
        mark = np.s_[words.index(row)]
        name = f"out of {' '.join(words)}"
        tables.append(named(name, out, words, FEATURES, digits=2, mark=mark))
    rows = [out[words.index(row)] for words, out in zip(sentences, outs)]
    said = " and ".join(", ".join(f"{x:.2f}" for x in r) for r in rows)
    show_arrays(*tables, alt=f"The rows of {row}: {said}")


def shared(dout, dweight):
    """Draw dout (B, T, C) summed into a table of positions."""
    show_arrays(
        named("dweight", dweight, digits=0),
        "sum over the batch ←",
        named("dout", dout, digits=0),
        alt="Each row of the table has the sum of the gradients of the "
        "sequences at its position; rows that were not used have zeros",
    )


def waves(table, position, pair):
    """Draw a table of sines and cosines, one pair of columns as a clock.

    table (T, C). The row of the position and the pair are marked.
    """
    T, C = table.shape
    figure = Figure((9, 3.4), layout="constrained", dpi=DPI)
    whole, curve, clock = figure.subplots(1, 3, width_ratios=(4, 4, 2.2))
    whole.imshow(table, aspect="auto", cmap="RdBu", vmin=-1, vmax=1)
    whole.axhline(position, color=MARK)
    whole.axvspan(2 * pair - 0.5, 2 * pair + 1.5, fill=False, ec=MARK, lw=2)
    whole.set(xlabel="channel", ylabel="position")
    sine, cosine = table[:, 2 * pair], table[:, 2 * pair + 1]
    curve.plot(sine, range(T), label=f"channel {2 * pair}")
    curve.plot(cosine, range(T), "--", label=f"channel {2 * pair + 1}")
    curve.axhline(position, color=MARK)
    curve.set(xlabel="value", ylim=(T - 0.5, -0.5), xlim=(-1.1, 1.1))
    curve.legend(loc="lower right", fontsize=8)
    angle = np.linspace(0, 2 * np.pi, 100)
    clock.plot(np.sin(angle), np.cos(angle), color="#999999")
    hand = sine[position], cosine[position]
    clock.plot([0, hand[0]], [0, hand[1]], color=MARK, lw=3)
    clock.set(xlabel="sine", ylabel="cosine", aspect="equal")
    clock.set_title(f"position {position}", size=10)
    show(
        figure,
        f"A table of waves, faster at the left; at position {position} the "
        f"hand of pair {pair} points to ({hand[0]:.2f}, {hand[1]:.2f})",
    )


def alike(tables, position):
    """Draw how like one row every row is: tables {name: (T, C)} in a row.

    The likeness is the cosine of the angle between two rows.
    """
    figure = Figure((8, 2.8), layout="constrained", dpi=DPI)
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    said = []
    for axis, (name, table) in zip(axes, tables.items()):
        unit = table / np.linalg.norm(table, axis=1, keepdims=True)
        cosines = unit @ unit[position]
        axis.plot(cosines)
        axis.axvline(position, color=MARK, ls=":")
        axis.set_title(plain(name), size=10)
        axis.set(xlabel="position", ylabel="cosine", ylim=(-0.6, 1.05))
        axis.grid(alpha=0.3)
        after = position + 1 if position + 1 < len(table) else position - 1
        said.append(f"{name}, position {after}: {cosines[after]:.2f}")
    show(figure, f"Likeness to position {position}; {'; '.join(said)}")
