"""Draw a whole model: where its parameters sit, which way gradients flow,
and what a guess costs."""

import numpy as np

from helpers.pictures.figures import new_figure, show
from helpers.runs.params import named_arrays

INK, RED, BLUE, ORANGE = "#333333", "#b2182b", "#31688e", "#d95f02"
PALE, TABLE = "#eef2f7", "#fde0c5"


def show_surprise(p):
    """Draw what a right guess of probability p costs, and the slope there.

    Prints the cost in nats and bits, and the slope.
    """
    figure, axis = new_figure(5.5, 3)
    points = np.linspace(0.005, 1, 300)
    axis.plot(points, -np.log(points), color=BLUE)
    near = np.array([-0.15, 0.15])
    axis.plot(p + near, -np.log(p) - near / p, color=ORANGE)
    axis.plot(p, -np.log(p), "o", color=ORANGE)
    axis.set(xlim=(0, 1.05), ylim=(-0.3, 5.5))
    axis.set(xlabel="probability of what came", ylabel="loss (nats)")
    axis.grid(alpha=0.3)
    nats = -np.log(p)
    print(f"{nats:.3f} nats, {nats / np.log(2):.3f} bits, slope {-1 / p:.2f}")
    show(figure, f"-log p from 0 to 1; at p = {p:.2f} it is {nats:.3f}")


def show_tree(params):
    """Draw the tree of a model's parameters, a bar for each branch.

    Of equal blocks one is drawn, and counted once.
    """
    rows = rows_of(params)
    if "head" not in params:
        rows.append((0, "head: the token table again", "(tied)", 0))
    figure, axis = new_figure(7.6, 0.24 * len(rows) + 0.3)
    axis.set(xlim=(0, 10), ylim=(len(rows) - 0.4, -0.8))
    axis.axis("off")
    most = max(count for *_, count in rows)
    for y, (depth, name, shapes, count) in enumerate(rows):
        look = {"va": "center", "size": 9}
        axis.text(0.3 * depth, y, name, weight="bold", **look)
        axis.text(3.0, y, shapes, color="#555555", **look)
        if count:
            axis.barh(y, 2.6 * count / most, left=6.3, height=0.7, color=BLUE)
            axis.text(6.4 + 2.6 * count / most, y, f"{count:,}", **look)
    if "head" not in params:
        look = {"color": ORANGE, "ls": "--", "lw": 1.4}
        last = len(rows) - 1
        axis.plot([9.75, 9.9, 9.9, 4.2], [0, 0, last, last], **look)
        arrow(axis, (4.2, last), (3.9, last), ORANGE)
    names = ", ".join(f"{row[1]} {row[3]:,}" for row in rows if row[3])
    show(figure, f"The tree of parameters:\n{names}")


def rows_of(tree, depth=0):
    """Return (depth, name, shapes, count) of every branch of a tree."""
    rows = []
    for name, branch in tree.items():
        if isinstance(branch, list):
            rows.append((depth, f"{name}, each of {len(branch)}", "", 0))
            rows += rows_of(branch[0], depth + 1)
        elif all(isinstance(part, dict) for part in branch.values()):
            rows.append((depth, name, "", 0))
            rows += rows_of(branch, depth + 1)
        else:
            arrays = named_arrays(branch)
            shapes = [f"{key} {a.shape}" for key, a in arrays.items()]
            count = sum(a.size for a in arrays.values())
            rows.append((depth, name, "  ".join(shapes), count))
    return rows


def show_flow(n_layers=2):
    """Draw the chain of a tied model forward, and in red the gradient back.

    The token table is used at both ends, and two gradients arrive at it.
    """
    steps = ["embed", *[f"block {i}" for i in range(n_layers)]]
    steps += ["norm", "head", "loss"]
    figure, axis = new_figure(8.2, 2.6)
    axis.set(xlim=(0, 2 * len(steps) + 1.0), ylim=(-3.0, 1.3))
    axis.axis("off")
    places = {step: 2 * i + 1.6 for i, step in enumerate(steps)}
    axis.text(0.15, 0, "ids", ha="center", va="center", size=10)
    tail = 0.4
    for step, place in places.items():
        box(axis, place, 0, step, PALE)
        arrow(axis, (tail, 0.15), (place - 0.65, 0.15), INK)
        if step != "embed":
            arrow(axis, (place - 0.65, -0.15), (tail, -0.15), RED)
        tail = place + 0.65
    middle = (places["embed"] + places["head"]) / 2
    box(axis, middle, -2.3, "token table (V, C)", TABLE)
    for step, side, words in (
        ("embed", -1.5, "to the rows of the ids"),
        ("head", 1.5, "to every row"),
    ):
        start, end = (places[step], -0.5), (middle + side, -2.15)
        arrow(axis, start, end, RED)
        x = (3 * start[0] + 2 * end[0]) / 5
        look = {"ha": "right" if side < 0 else "left", "color": RED}
        axis.text(x + side / 5, -1.35, words, size=9, **look)
    show(
        figure,
        f"{' → '.join(['ids', *steps])}; the gradient flows back from the "
        "loss, and two gradients arrive at the token table: from the head "
        "to every row, from the embedding to the rows of the ids.",
    )


def box(axis, x, y, text, colour):
    """Write text in a box, its middle at x, y."""
    shape = {"boxstyle": "round,pad=0.45", "fc": colour, "ec": "#888888"}
    axis.text(x, y, text, ha="center", va="center", size=9.5, bbox=shape)


def arrow(axis, start, end, colour):
    """Draw an arrow from start to end."""
    look = {"arrowstyle": "-|>", "color": colour, "lw": 1.4}
    look |= {"shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=look)
