"""The few plots the notebooks share. Support code, not built in a lesson."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from helpers.pictures.figures import DPI, new_figure, plain, show

STYLES = ["-", "--", ":", "-."]


def against(names, xlabel, ylabel):
    """Return the text alternative of curves."""
    return f"{ylabel} against {xlabel}: {', '.join(map(str, names))}"


def plot_attention(weights, labels=None, titles=None):
    """Draw attention weights (H, T, S), one picture a head, three in a row.

    Row = the position that attends, column = what it attends to.
    """
    names = titles or [f"head {h}" for h in range(len(weights))]
    across, down = min(len(weights), 3), math.ceil(len(weights) / 3)
    size = 2.2 * across + 1, 2.6 * down
    figure = Figure(size, layout="constrained", dpi=DPI)
    axes = figure.subplots(down, across, squeeze=False)
    for axis, head, name in zip(axes.flat, weights, names):
        image = draw_head(axis, head, labels)
        axis.set_title(plain(name), fontsize=9)
    for axis in axes.flat[len(weights) :]:
        axis.remove()
    axes[0, 0].set_ylabel("position")
    used = axes.flat[: len(weights)].tolist()
    figure.colorbar(image, ax=used, label="weight", shrink=0.8)
    show(figure, f"Attention weights, {', '.join(map(str, names))}")


def draw_head(axis, weights, labels):
    """Draw the weights (T, S) of one head, its positions with their labels."""
    T, S = weights.shape
    rows, columns = (list(map(plain, labels or range(n))) for n in (T, S))
    axis.set_xlabel("attended to")
    axis.set_xticks(range(S), columns, rotation=90, fontsize=7)
    axis.set_yticks(range(T), rows, fontsize=7)
    return axis.imshow(weights, cmap="cividis", vmin=0, vmax=1)


def plot_lines(x, curves, xlabel, ylabel, at=None):
    """Draw {name: y} against x, told apart by colour and by line style.

    at: an x to mark with a dot on each curve.
    """
    figure, axis = new_figure(5.5, 3)
    for (name, y), style in zip(curves.items(), STYLES * len(curves)):
        [line] = axis.plot(x, y, style, label=plain(name))
        if at is not None:
            axis.plot(at, np.interp(at, x, y), "o", color=line.get_color())
    axis.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
    axis.legend()
    axis.grid(alpha=0.3)
    show(figure, against(curves, xlabel, ylabel))


def plot_table(table, xlabel, ylabel, label):
    """Draw a matrix as a picture, zero in the middle of the colours."""
    figure, axis = new_figure(5.5, 3)
    size = np.abs(table).max()
    image = axis.imshow(
        table, aspect="auto", cmap="RdBu", vmin=-size, vmax=size
    )
    axis.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
    figure.colorbar(image, ax=axis, label=plain(label))
    show(figure, f"{label}, {ylabel} by {xlabel}")


def plot_bars(names, values, xlabel):
    """Draw one horizontal bar a name, the first at the top."""
    height = 0.28 * len(names) + 0.8
    figure, axis = new_figure(5.5, height)
    axis.barh(range(len(names)), values, color="#31688e")
    axis.set_yticks(range(len(names)), list(map(plain, names)))
    axis.invert_yaxis()
    axis.set_xlabel(plain(xlabel))
    show(figure, f"{xlabel}, a bar each: {', '.join(map(str, names))}")


def plot_histogram(values, xlabel, ylabel, at=None):
    """Draw how often whole numbers occur; at: one to mark by a line."""
    figure, axis = new_figure(5.5, 2.6)
    edges = np.arange(min(values), max(values) + 2) - 0.5
    axis.hist(values, edges, color="#31688e")
    if at is not None:
        axis.axvline(at, color="black", ls="--", label=str(at))
        axis.legend()
    axis.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
    show(figure, f"{ylabel} against {xlabel}")


def plot_losses(log, floor=None):
    """Draw train and validation loss of a log against tokens seen.

    floor: the entropy of the text, drawn as a line no loss can pass.
    """
    figure, axis = new_figure(5.5, 3.2)
    tokens = [row["tokens"] for row in log]
    for name, style in (("train", "-"), ("valid", "--")):
        losses = [row[f"{name}_loss"] for row in log]
        axis.plot(tokens, losses, style, marker=".", label=name)
    if floor is not None:
        axis.axhline(floor, color="black", ls=":", label="entropy of the text")
    axis.set(xlabel="tokens seen", ylabel="loss (nats per token)")
    axis.set_ylim(bottom=0)
    axis.legend()
    axis.grid(alpha=0.3)
    show(figure, "Train and validation loss against tokens seen")


def plot_log_log(curves, xlabel, ylabel):
    """Draw {name: (x, y)} on two logarithmic axes, each with its marker.

    A curve of many points has none.
    """
    figure, axis = new_figure(5.5, 3.4)
    looks = zip(STYLES * len(curves), "os^vDPX*<>" * len(curves))
    for (name, (x, y)), (style, marker) in zip(curves.items(), looks):
        marker = marker if len(x) < 30 else ""
        axis.loglog(x, y, style, marker=marker, ms=5, label=plain(name))
    for side in (axis.xaxis, axis.yaxis):
        low, high = side.get_view_interval()
        if high < 5 * low:
            side.set_major_locator(MaxNLocator(6))
        elif high < 1000 * low:
            side.set_major_locator(LogLocator(subs=(1, 2, 5)))
        side.set_major_formatter("{x:g}" if high < 1e4 * low else "{x:.0e}")
        side.set_minor_formatter("")
    axis.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3, which="both")
    show(figure, against(curves, xlabel, ylabel))


def plot_runs(curves, xlabel, ylabel):
    """Draw {name: {x: one number a run}}: each run, means, and spreads.

    The spread is the standard deviation. Numbers x are joined and spaced by
    their logarithm; words are neither.
    """
    figure, axis = new_figure(5.5, 3.2)
    words = isinstance(next(iter(next(iter(curves.values())))), str)
    looks = zip(STYLES * len(curves), "os^vDPX*<>" * len(curves))
    for (name, runs), (style, marker) in zip(curves.items(), looks):
        look = {"ls": "none" if words else style, "marker": marker}
        means = [np.mean(values) for values in runs.values()]
        spreads = [np.std(values, ddof=1) for values in runs.values()]
        places = [plain(x) if words else x for x in runs]
        bars = axis.errorbar(
            places, means, spreads, capsize=3, label=plain(name), **look
        )
        for x, values in zip(places, runs.values()):
            dots = {"color": bars[0].get_color(), "s": 10, "alpha": 0.5}
            axis.scatter([x] * len(values), values, **dots)
    if words:
        for label in axis.get_xticklabels():
            label.set(rotation=25, ha="right", rotation_mode="anchor")
    else:
        numbers = sorted({x for runs in curves.values() for x in runs})
        axis.set_xscale("log")
        axis.set_xticks(numbers, map(str, numbers), fontsize=8)
        axis.set_xticks([], minor=True)
    axis.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
    if len(curves) > 1:
        axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    show(figure, against(curves, xlabel, ylabel))
