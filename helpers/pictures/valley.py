"""Draw optimizers on their way down a valley, and gradients as arrows."""

import numpy as np
from matplotlib.patches import Circle

from helpers.pictures.figures import new_figure, plain, show
from helpers.pictures.plots import STYLES

START = np.array([-4.0, 1.0])
COLOURS = ["#d95f02", "#31688e", "#1b7837", "#762a83"]


def valley(w, steep=25.0):
    """Return the loss at points w (..., 2); its gradient is (w0, steep w1)."""
    return (w[..., 0] ** 2 + steep * w[..., 1] ** 2) / 2


def walk(kind, steep=25.0, n_steps=40, **settings):
    """Let an optimizer such as SGD walk down; return its path (N + 1, 2)."""
    w = START.copy()
    optimizer = kind({"w": w}, **settings)
    path = [w.copy()]
    for _ in range(n_steps):
        optimizer.step({"w": w * [1.0, steep]})
        path.append(w.copy())
    return np.array(path)


def show_valley(paths, steep=25.0):
    """Draw {name: path (N, 2)} on the valley, each with its last loss."""
    figure, axis = new_figure(7, 3)
    x, y = np.meshgrid(np.linspace(-4.6, 2, 100), np.linspace(-1.6, 1.6, 80))
    losses = valley(np.stack([x, y], axis=-1), steep)
    levels = np.geomspace(0.1, 40, 10)
    axis.contour(x, y, losses, levels, colors="#bbbbbb", linewidths=0.7)
    texts = []
    for (name, path), style, colour in zip(paths.items(), STYLES, COLOURS):
        texts.append(f"{name}: {valley(path[-1], steep):.3g}")
        look = {"color": colour, "marker": ".", "lw": 1.3}
        axis.plot(*path.T, style, label=plain(texts[-1]), **look)
    axis.plot(0, 0, "*", color="black", ms=10)
    axis.set(xlim=(-4.6, 2), ylim=(-1.6, 1.6))
    axis.set(xlabel="the flat direction", ylabel="the steep one")
    title = f"loss after {len(path) - 1} steps"
    axis.legend(title=title, fontsize=8, title_fontsize=8, loc="lower right")
    show(figure, f"On a valley, {title}: {'; '.join(texts)}")


def show_arrows(arrows, radius, alt):
    """Draw {name: (x, y)} as arrows from 0, and a circle of a radius."""
    figure, axis = new_figure(5.5, 3)
    axis.add_patch(Circle((0, 0), radius, fill=False, ls="--", ec="#777777"))
    for (name, (x, y)), colour in zip(arrows.items(), COLOURS):
        label = f"{plain(name)}: ({x:g}, {y:g})".replace("-", "−")
        look = {"angles": "xy", "scale_units": "xy", "scale": 1}
        axis.quiver(0, 0, x, y, color=colour, label=label, zorder=3, **look)
    ends = np.array([*arrows.values(), (radius, radius), (-radius, -radius)])
    (left, low), (right, high) = ends.min(axis=0), ends.max(axis=0)
    axis.set(xlim=(left - 0.2, right + 0.4), ylim=(low - 0.2, high + 0.4))
    axis.set_aspect("equal")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=9)
    show(figure, alt)
