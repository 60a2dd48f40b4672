"""Draw what lesson 07 does to probabilities: darts, filters, beams."""

from matplotlib.figure import Figure

from helpers.pictures.figures import DPI, new_figure, plain, show

INK = "#31688e"
SHADES = ["#c6dbef", "#9ecae1", "#6baed6", "#4292c6"]


def show_darts(probs, darts, names):
    """Draw probabilities as stretches of the line from 0 to 1, and darts."""
    figure, axis = new_figure(6.5, 1.3)
    left = 0.0
    for p, name, shade in zip(probs, names, SHADES * len(probs)):
        axis.barh(0, p, left=left, color=shade, edgecolor="white")
        axis.text(
            left + p / 2,
            0,
            f"{plain(name)}\n{p:.2f}",
            ha="center",
            va="center",
        )
        left += p
    arrow = {"arrowstyle": "-|>", "color": "#d95f02", "lw": 2}
    for dart in darts:
        axis.annotate("", (dart, 0.35), (dart, 0.95), arrowprops=arrow)
        axis.text(dart, 1.0, f"{dart:.2f}", ha="center", color="#d95f02")
    axis.set(xlim=(0, 1), ylim=(-0.4, 1.3), yticks=[])
    axis.spines[["left", "right", "top"]].set_visible(False)
    show(figure, "The line from 0 to 1, a stretch for each token, and darts")


def show_filters(settings, names):
    """Draw {setting: probabilities} over the same tokens, a row each.

    A token of probability 0 is cut: it has a cross.
    """
    rows = len(settings)
    top = max(max(probs) for probs in settings.values())
    size = (0.5 * len(names) + 2.5, 0.75 * rows + 1.0)
    figure = Figure(size, layout="constrained", dpi=DPI)
    axes = figure.subplots(rows, 1, sharex=True, sharey=True, squeeze=False)
    for axis, (setting, probs) in zip(axes[:, 0], settings.items()):
        axis.bar(range(len(names)), probs, color=INK)
        for i, p in enumerate(probs):
            text = f"{p:.2f}" if p else "×"
            axis.text(i, p, text, ha="center", va="bottom", size=7)
        axis.set_ylabel(plain(setting), rotation=0, ha="right", va="center")
        axis.set(yticks=[], ylim=(0, 1.3 * top))
        axis.spines[["left", "right", "top"]].set_visible(False)
    axes[-1, 0].set_xticks(range(len(names)), map(plain, names), rotation=90)
    show(figure, f"Probabilities of tokens under {', '.join(settings)}")


def show_beams(texts, scores):
    """Draw lists of words as a tree: what they share is drawn once.

    scores: a log-probability for each text, written at its end.
    """
    steps = max(map(len, texts))
    figure, axis = new_figure(0.62 * steps + 1.2, 0.45 * len(texts) + 0.3)
    for row, (text, score) in enumerate(zip(texts, scores)):
        sames = [common(text, other) for other in texts[:row]]
        shared = max(sames, default=0)
        if shared:
            places = [shared - 1, *range(shared, len(text))]
            rows = [sames.index(shared)] + [row] * (len(text) - shared)
            axis.plot(places, rows, color="#999999", zorder=0)
        else:
            axis.plot(
                [0, len(text) - 1], [row, row], color="#999999", zorder=0
            )
        for step in range(shared, len(text)):
            box = {"fc": "#eef3f8", "ec": "#999999", "lw": 0.5}
            look = {"ha": "center", "va": "center", "size": 7, "bbox": box}
            axis.text(step, row, plain(text[step]), **look)
        axis.text(steps - 0.3, row, f"{score:.2f}", size=8, va="center")
    axis.set(xlim=(-0.6, steps + 0.6), ylim=(len(texts) - 0.5, -0.5))
    axis.axis("off")
    show(figure, f"The tree of {len(texts)} beams, the best one first")


def common(a, b):
    """Return how many words two lists begin with in common."""
    pairs = list(zip(a, b))
    return next((i for i, (x, y) in enumerate(pairs) if x != y), len(pairs))
