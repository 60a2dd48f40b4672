"""Draw layer norm: a row and its norm, the three roads of its gradient, and
what the gradient leaves out."""

import numpy as np
from matplotlib.figure import Figure

from helpers.pictures.figures import DPI, new_figure, say, show

BLUE, ORANGE, RED, GREY = "#31688e", "#d95f02", "#b2182b", "#999999"


def show_norm(row, normed):
    """Draw the numbers of a row (C,) as bars, and beside them its norm."""
    figure = Figure((6.4, 2.3), layout="constrained", dpi=DPI)
    axes = figure.subplots(1, 2)
    for axis, values, name in zip(axes, (row, normed), ("row", "normed")):
        axis.bar(range(len(values)), values, color=BLUE)
        axis.axhline(np.mean(values), color=ORANGE, ls="--")
        mean, spread = np.mean(values) + 0.0, np.std(values)
        title = f"{name}: mean {mean:.2f}, deviation {spread:.2f}"
        axis.set_title(title.replace("-0.00", "0.00"), fontsize=9)
        axis.set_xlabel("channel (dashed: the mean)")
        axis.set_xticks(range(len(values)))
        axis.margins(y=0.2)
        for c, value in enumerate(values):
            look = {"ha": "center", "va": "bottom" if value >= 0 else "top"}
            axis.text(c, value, f"{value:.2f}", size=8, **look)
    axes[1].set_ylim(-2.3, 2.3)
    show(figure, f"Bars: the row {say(row)}, and normed {say(normed)}")


def show_roads(row, c=0, d=0):
    """Draw the three roads on which channel c of a row (C,) acts on normed d.

    Each carries a factor; the derivative is their sum.
    """
    C, mean, rstd = len(row), np.mean(row), 1 / np.std(row)
    normed = (row - mean) * rstd
    factors = [rstd * (c == d), -rstd / C, -rstd * normed[c] * normed[d] / C]
    names = ["direct", "through the mean", "through r"]
    words = [f"{n}: {f:.3f}" for n, f in zip(names, factors)]
    figure, axis = new_figure(6.6, 2.6)
    axis.set(xlim=(0, 10), ylim=(-2.2, 2.2))
    axis.axis("off")
    heights, colours = [0, 1.6, -1.6], [BLUE, ORANGE, RED]
    for text, y, colour in zip(words, heights, colours):
        draw_road(axis, text.replace("-", "−"), y, colour)
    put(axis, 0.9, 0, f"$x_{c}$ = {row[c]:g}")
    put(axis, 9.0, 0, rf"$\hat x_{d}$ = {normed[d]:.3f}")
    put(axis, 4.9, 1.6, rf"$\mu$ = {mean:g}")
    put(axis, 4.9, -1.6, f"$r$ = {rstd:.3f}")
    total = f"together {sum(factors):.3f}"
    axis.text(9.0, -0.9, total.replace("-", "−"), ha="center", size=9)
    alt = f"Roads from x{c} to normed x{d}: {', '.join(words)}, {total}"
    show(figure, alt)


def put(axis, x, y, text):
    """Write text in a box, its middle at x, y."""
    box = {"boxstyle": "round,pad=0.4", "fc": "#eef2f7", "ec": GREY}
    axis.text(x, y, text, ha="center", va="center", size=10, bbox=box)


def draw_road(axis, text, y, colour):
    """Draw a road from left to right at height y, with its factor."""
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.8}
    steps = [((1.7, 0), (8.0, 0))]
    if y:
        steps = [((1.6, y / 5), (4.1, y)), ((5.7, y), (8.2, y / 4))]
    for tail, head in steps:
        axis.annotate("", head, tail, arrowprops=arrow)
    x, above = (7.6, y * 0.85 - 0.1) if y else (4.9, 0.15)
    look = {"ha": "left" if y else "center", "size": 9, "color": colour}
    axis.text(x, above, text, **look)


def show_projection(g, normed):
    """Draw g (C,) in 3-D: its parts along ones and normed, and the rest.

    The axes are these three directions: whatever C is, g lies among them.
    """
    ones = np.ones(len(g)) / np.sqrt(len(g))
    along = normed / np.linalg.norm(normed)
    rest = g - (g @ ones) * ones - (g @ along) * along
    parts = np.array([g @ ones, g @ along, np.linalg.norm(rest)])
    figure = Figure((5.6, 3.4), dpi=DPI)
    axis = figure.add_axes((0, 0, 1, 1), projection="3d")
    axis.view_init(elev=16, azim=-110)
    axis.set_axis_off()
    axis.set_box_aspect((1, 1, 0.7), zoom=1.4)
    corners = np.array([[-0.8, 0.8], [-0.8, 0.8]])
    look = {"color": "#dddddd", "alpha": 0.4}
    axis.plot_surface(corners, corners.T, 0 * corners, **look)
    names = ["along the ones", r"along $\hat x$", "what is left"]
    for name, end, colour in zip(names, np.diag(parts), (ORANGE, RED, BLUE)):
        draw_vector(axis, end, colour, f"{name}: {end.sum():.3f}")
    draw_vector(axis, parts, "black", "g")
    for kept in ((1, 1, 0), (0, 0, 1)):
        axis.plot(*zip(parts, parts * kept), color=GREY, ls=":")
    for kept in ((1, 0, 0), (0, 1, 0)):
        foot = parts * (1, 1, 0)
        axis.plot(*zip(foot, parts * kept), color=GREY, ls=":")
    words = "g and its parts along ones, along normed x, and what is left"
    show(figure, f"{words}: {', '.join(f'{part:.3f}' for part in parts)}")


def draw_vector(axis, end, colour, text):
    """Draw an arrow from the origin, with text beyond its end."""
    axis.quiver(0, 0, 0, *end, color=colour, lw=2, arrow_length_ratio=0.12)
    look = {"color": colour, "size": 9}
    look["ha"] = "left" if end[0] > 0 else "center"
    look["va"] = "top" if end[1] < 0 == end[2] else "bottom"
    axis.text(*(1.1 * end), text.replace("-", "−"), **look)
