"""What the lessons show: arrays, plots, sliders, and the course's sentence.

Every picture goes through `show`, with a text alternative.
"""

from helpers.pictures.arrays import named, show_arrays
from helpers.pictures.curves import plot_bands, plot_slopes
from helpers.pictures.memory import show_memory
from helpers.pictures.merges import show_cuts
from helpers.pictures.models import show_flow, show_surprise, show_tree
from helpers.pictures.norms import show_norm, show_projection, show_roads
from helpers.pictures.plots import (
    plot_attention,
    plot_bars,
    plot_histogram,
    plot_lines,
    plot_log_log,
    plot_losses,
    plot_runs,
    plot_table,
)
from helpers.pictures.sentence import (
    BLOCK,
    EMBEDDING,
    FEATURES,
    IDS,
    VOCABULARY,
    WORDS,
)
from helpers.pictures.sliders import slide
from helpers.pictures.valley import show_arrows, show_valley, walk
from helpers.pictures.wirings import show_wirings

__all__ = [
    "BLOCK",
    "EMBEDDING",
    "FEATURES",
    "IDS",
    "VOCABULARY",
    "WORDS",
    "named",
    "plot_attention",
    "plot_bands",
    "plot_bars",
    "plot_histogram",
    "plot_lines",
    "plot_log_log",
    "plot_losses",
    "plot_runs",
    "plot_slopes",
    "plot_table",
    "show_arrays",
    "show_arrows",
    "show_cuts",
    "show_flow",
    "show_memory",
    "show_norm",
    "show_projection",
    "show_roads",
    "show_surprise",
    "show_tree",
    "show_valley",
    "show_wirings",
    "slide",
    "walk",
]
