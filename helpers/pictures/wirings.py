"""Draw the two wirings of a residual, and the road back in each."""

from helpers.pictures.figures import new_figure, show

INK, RED, PALE, NORM = "#333333", "#b2182b", "#eef2f7", "#fde0c5"
PRE = ["norm", "sublayer", "+"]
POST = ["sublayer", "+", "norm"]


def show_wirings():
    """Draw pre-norm above post-norm, the gradient's road back in red."""
    figure, axis = new_figure(7.2, 3.2)
    axis.set(xlim=(0, 12), ylim=(-0.6, 5.0))
    axis.axis("off")
    draw_wiring(axis, 2.9, "pre-norm (GPT-2)", PRE, "nothing on the road")
    draw_wiring(axis, 0, "post-norm (2017)", POST, "the norm on the road")
    show(
        figure,
        "Pre-norm: x + sublayer(norm(x)), nothing stands on the shortcut. "
        "Post-norm: norm(x + sublayer(x)), the norm stands on the way out. "
        "The gradient's road back along the shortcut is drawn in red.",
    )


def draw_wiring(axis, y, title, steps, words):
    """Draw one wiring at height y: its steps, the shortcut, the road back."""
    axis.text(0.2, y + 1.6, title, weight="bold", size=10)
    places = dict(zip(steps, (3.2, 6.2, 9.2)))
    line(axis, [(0.9, y), (11.1, y)], INK)
    plus, lane = places["+"], y + 0.8
    over = [(1.4, y), (1.4, lane), (plus, lane), (plus, y + 0.35)]
    line(axis, over, INK)
    lane, road = lane + 0.15, plus + 0.5
    back = [(11.1, y + 0.15), (road, y + 0.15), (road, lane), (1.2, lane)]
    line(axis, [*back, (1.2, y + 0.25)], RED)
    axis.text(3.8, lane + 0.15, words, size=9, ha="center", color=RED)
    for end, text in ((0.5, "x"), (11.5, "out")):
        axis.text(end, y, text, size=11, ha="center", va="center")
    for step, place in places.items():
        colour = NORM if step == "norm" else PALE
        shape = "circle,pad=0.2" if step == "+" else "round,pad=0.5"
        box = {"boxstyle": shape, "fc": colour, "ec": INK}
        look = {"ha": "center", "va": "center", "size": 10, "zorder": 3}
        axis.text(place, y, step, bbox=box, **look)


def line(axis, points, colour):
    """Draw a line with corners, an arrow at its end."""
    *_, before, end = points
    axis.plot(*zip(*points[:-1]), color=colour, lw=1.5)
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.5}
    arrow |= {"shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, before, arrowprops=arrow)
