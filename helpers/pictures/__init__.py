"""What the lessons show: arrays, plots, sliders, and the course's sentence.

Every picture goes through `show`, with a text alternative.
"""

from helpers.pictures.arrays import named, show_arrays
from helpers.pictures.plots import (
    plot_attention,
    plot_bars,
    plot_lines,
    plot_log_log,
    plot_losses,
    plot_runs,
    plot_table,
)
from helpers.pictures.sentence import (
    EMBEDDING,
    FEATURES,
    IDS,
    VOCABULARY,
    WORDS,
)
from helpers.pictures.sliders import slide

__all__ = [
    "EMBEDDING",
    "FEATURES",
    "IDS",
    "VOCABULARY",
    "WORDS",
    "named",
    "plot_attention",
    "plot_bars",
    "plot_lines",
    "plot_log_log",
    "plot_losses",
    "plot_runs",
    "plot_table",
    "show_arrays",
    "slide",
]
