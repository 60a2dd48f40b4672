"""Draw what functions do: activations with their slopes, bands of runs."""

import numpy as np
from matplotlib.figure import Figure

from helpers.pictures.figures import DPI, new_figure, plain, show

STYLES = ["-", "--", ":", "-."]


def plot_slopes(pairs, x):
    """Draw activations from -4 to 4, and the line that touches each at x.

    pairs: {name: (op, op_backward)}. Prints values and slopes at x.
    """
    points = np.linspace(-4, 4, 201)
    figure, axis = new_figure(5.5, 3)
    near = np.array([-1.0, 1.0])
    for (name, (op, op_backward)), style in zip(pairs.items(), STYLES):
        (value,), cache = op(np.array([x]))
        (slope,) = op_backward(np.ones(1), cache)
        (line,) = axis.plot(points, op(points)[0], style, label=plain(name))
        look = {"color": line.get_color(), "lw": 3, "alpha": 0.6}
        axis.plot(x + near, value + slope * near, **look)
        axis.plot(x, value, "o", color=line.get_color())
        print(f"{name}({x:.2f}) = {value:.3f}, slope {slope:.3f}")
    axis.set(xlabel="x", ylabel="value", ylim=(-1.5, 4.2))
    axis.legend()
    axis.grid(alpha=0.3)
    names = ", ".join(pairs)
    show(figure, f"{names} from -4 to 4, with their slopes at x = {x:.2f}")


def plot_bands(panels, xlabel, ylabel):
    """Draw {title: {name: (runs, N)}}, a panel each: median, and all runs.

    A band goes from the lowest of the runs to the highest.
    """
    width = 0.8 + 2.6 * len(panels)
    figure = Figure((width, 3.4), layout="constrained", dpi=DPI)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, curves) in zip(axes, panels.items()):
        for (name, runs), style in zip(curves.items(), STYLES * len(curves)):
            steps = range(runs.shape[1])
            middle = np.median(runs, axis=0)
            (line,) = axis.plot(steps, middle, style, label=plain(name))
            look = {"color": line.get_color(), "alpha": 0.2}
            axis.fill_between(steps, runs.min(0), runs.max(0), **look)
        axis.set_title(plain(title), fontsize=9)
        axis.set_xlabel(plain(xlabel))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(plain(ylabel))
    names = list(curves)
    figure.legend(
        axes[0].lines, names, loc="outside lower center", ncols=4, fontsize=8
    )
    alt = f"{ylabel} against {xlabel}, bands of {', '.join(names)}"
    show(figure, f"{alt}; {', '.join(panels)}")
