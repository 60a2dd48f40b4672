"""Draw what lesson 01 does with its arrays, and who looks at whom.

Every function is given the arrays; it computes nothing but their places.
"""

import numpy as np
from matplotlib.figure import Figure

from helpers.pictures.arrays import named, show_arrays
from helpers.pictures.figures import DPI, new_figure, plain, say, show
from helpers.pictures.sentence import FEATURES, WORDS

COLOURS = ["#d95f02", "#31688e", "#7b3294", "#1b7837"]
LEAST = 0.005  # a weight below is not drawn


def bars(names, weights, push=None):
    """Draw the weights of one row as bars, and where a gradient moves them.

    push (N,): the gradient of the scores, drawn as an arrow on each bar with
    its number: up where a larger score makes the loss larger.
    """
    figure, axis = new_figure(0.75 * len(names) + 1.5, 2.6)
    places = np.arange(len(names))
    axis.bar(places, weights, 0.6, color="#9ecae1", edgecolor="#31688e")
    for place, weight in zip(places, weights):
        low = 0.01 if weight > 0.1 else weight + 0.01
        axis.text(place, low, f"{weight:.2f}", ha="center", va="bottom")
    moves = np.zeros(len(names)) if push is None else np.asarray(push)
    for place, weight, move in zip(places, weights, moves):
        if abs(move) > LEAST:
            draw_move(axis, place, weight, move)
    axis.set_xticks(places, list(map(plain, names)))
    axis.set(ylim=(-0.02, 1.05), ylabel="weight")
    said = ", ".join(f"{n} {w:.2f}" for n, w in zip(names, weights))
    pushed = ", ".join(f"{n} {m:+.2f}" for n, m in zip(names, moves))
    pushed = "" if push is None else f"; arrows: {pushed}"
    show(figure, f"Weights as bars: {said}{pushed}")


def draw_move(axis, place, weight, move):
    """Draw an arrow as long as a move, from the top of a bar."""
    colour = "#1b7837" if move > 0 else "#b2182b"
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": 2}
    arrow |= {"shrinkA": 0, "shrinkB": 0}
    ends = (place, weight + move), (place, weight)
    axis.annotate("", ends[0], ends[1], arrowprops=arrow)
    text = f"{move:+.2f}".replace("-", "−")
    y = max(weight, weight + move) + 0.02
    axis.text(place, y, text, ha="center", color=colour, size=9)


def gaze(words, weights, rows, titles):
    """Draw arcs from each word of rows to the words it attends to.

    weights (H, T, T): a line of words for each head. The larger a weight the
    wider its arc; from 0.05 on it stands below the word where the arc ends.
    """
    H, lines = len(weights), len(rows)
    size = (8, H * (1.5 + 0.2 * lines))
    figure = Figure(size, layout="constrained", dpi=DPI)
    for h, axis in enumerate(figure.subplots(H, 1, squeeze=False)[:, 0]):
        axis.set_title(plain(titles[h]), loc="left", size=10)
        axis.set(xlim=(-0.9, len(words) - 0.4), ylim=(-0.35 - lines / 4, 1.1))
        axis.axis("off")
        for place, word in enumerate(words):
            look = {"ha": "center", "va": "top", "size": 11}
            look["weight"] = "bold" if place in rows else "normal"
            axis.text(place, -0.08, plain(word), **look)
        for line, row in enumerate(rows):
            colour, below = COLOURS[line % len(COLOURS)], -0.4 - line / 4
            look = {"va": "top", "size": 9, "color": colour}
            axis.text(-0.9, below, plain(words[row]), **look)
            draw_arcs(axis, weights[h][row], row, below, colour)
    show(figure, say_gaze(words, weights, rows))


def draw_arcs(axis, weights, row, below, colour):
    """Draw where one row of weights (T,) looks, with numbers at a height."""
    angle = np.linspace(0, np.pi, 40)
    for place, weight in enumerate(weights):
        if weight < LEAST:
            continue
        reach = (row - place) / 2 or 0.12  # half as wide: a loop to itself
        x = row - (row - place) / 2 + reach * np.cos(angle)
        height = 0.25 + 0.75 * abs(row - place) / len(weights)
        look = {"color": colour, "lw": 0.5 + 5 * weight}
        axis.plot(x, height * np.sin(angle), **look)
        if weight >= 0.05:
            look = {"ha": "center", "va": "top", "size": 9, "color": colour}
            axis.text(place, below, f"{weight:.2f}", **look)


def say_gaze(words, weights, rows):
    """Return in words where each row looks most, head by head."""
    said = []
    for h, head in enumerate(weights):
        for row in rows:
            most = int(head[row].argmax())
            share = f"{words[most]}: {head[row].max():.2f}"
            said.append(f"head {h}, {words[row]} looks at {share}")
    return "; ".join(said)


def mix(weights, x, out):
    """Draw weights (8, 8) @ x (8, 4) = out, the last row framed."""
    show_arrays(
        named("weights", weights, WORDS, WORDS, colours="weights", digits=2),
        "\n",
        "@",
        named("x", x, WORDS, FEATURES),
        "=",
        named("out", out, WORDS, FEATURES, digits=2, mark=np.s_[-1]),
        alt="Each row of weights mixes the rows of x; the framed row, of "
        f"{WORDS[-1]}, is {say(out[-1])}",
    )


def softmax_gradient(names, jacobian, dp, dx):
    """Draw jacobian (N, N) @ dp (N,) = dx (N,)."""
    show_arrays(
        named("∂p/∂x", jacobian, names, names, digits=2),
        "@",
        named("dp", dp[:, None]),
        "=",
        named("dx", dx[:, None], digits=2),
        alt=f"The matrix of derivatives times {say(dp)} is {say(dx)}",
    )


def scores_to_weights(scores, weights, words=WORDS):
    """Draw scores (T, S), -inf hatched, and the weights they become."""
    most = [words[int(row.argmax())] for row in weights]
    pairs = ", ".join(f"{a} {b}" for a, b in zip(words, most))
    show_arrays(
        named("scores", scores, words, words),
        "\n",
        "softmax →",
        named("weights", weights, words, words, colours="weights", digits=2),
        alt=f"Scores, hatched above the diagonal, and weights; the largest "
        f"of each row, row column: {pairs}",
    )


def by_hand(q, k, v, scores, weights, out):
    """Draw the three formulas of attention for a few tokens, D = 4.

    A star is on what the cache keeps.
    """
    show_arrays(
        named("q ★", q, digits=2),
        "@",
        named("k.T ★", k.T),
        "/ 2 =",
        named("scores", scores, digits=2),
        "\n",
        "softmax →",
        named("weights ★", weights, colours="weights", digits=2),
        "@",
        named("v ★", v),
        "=",
        named("out", out, mark=np.s_[-1]),
        alt=f"From q and k to scores, with the future hatched, to weights, "
        f"whose last row is {say(weights[-1])}, and to out",
    )


def gradients(dout, dweights, dscores, dq, dk, dv):
    """Draw the same road back, from right to left."""
    show_arrays(
        named("dscores", dscores, digits=2, mark=np.s_[-1]),
        "softmax ←",
        named("dweights", dweights),
        "@ v.T ←",
        named("dout", dout),
        "\n",
        named("dq", dq, digits=2),
        "dscores @ k / 2 ←",
        named("dv", dv, digits=2),
        "weights.T @ dout ←",
        "\n",
        named("dk", dk, digits=2),
        "dscores.T @ q / 2 ←",
        alt="Gradients flow from right to left: the last row of dscores is "
        f"{say(dscores[-1])}; dq has its last row alone, dk all three",
    )


def split(x, heads, wrong, words):
    """Draw x (T, C) cut into heads (2, T, D), and a reshape alone beside."""
    D = heads.shape[-1]
    show_arrays(
        named("x", x, words, FEATURES, mark=np.s_[:, D:]),
        "split →",
        named("heads", heads, words, mark=np.s_[1]),
        "reshape →",
        named("wrong", wrong),
        alt="Head 1 takes the last channels of every word; a reshape alone "
        "gives it all channels of the last words",
    )


def parts(qkv, heads, words):
    """Draw the columns of qkv (T, 3C) as heads of q, k and v: (H, T, D)."""
    C = qkv.shape[-1] // 3
    tables = [
        named(name, array, words, colours="grey")
        for name, array in zip("qkv", heads)
    ]
    show_arrays(
        named("qkv", qkv, words, colours="grey", mark=np.s_[:, :C]),
        "\n",
        "cut →",
        *tables,
        alt="The first third of the columns of qkv becomes the heads of q, "
        "the second those of k, the last those of v",
    )
