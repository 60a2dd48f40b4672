"""Show a figure with a text alternative: under a cell, or in a slider."""

import base64
import io
from contextlib import contextmanager
from contextvars import ContextVar

from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

DPI = 100
_collected = ContextVar("collected", default=None)


def plain(text):
    """Return text that Matplotlib shows as it is: $$ is no mathematics."""
    return str(text).replace("$", r"\$")


def say(numbers):
    """Return numbers in words, two digits each."""
    return ", ".join(f"{number:.2f}" for number in numbers)


def new_figure(width, height):
    """Return a figure of this size in inches, and its axes."""
    figure = Figure((width, height), layout="constrained", dpi=DPI)
    return figure, figure.subplots()


def as_png(figure):
    """Return a figure as the bytes of a PNG file."""
    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    few = Image.open(drawn).convert("RGB").quantize(128)  # a third of the size
    few.save(file, format="png", optimize=True)
    return file.getvalue()


def as_base64(figure):
    """Return a figure as the text that notebooks and pages keep."""
    return base64.b64encode(as_png(figure)).decode()


def show(figure, alt):
    """Show a figure; alt says in words what is to be seen.

    The words are the output's text, and what is read out in its place.
    """
    collected = _collected.get()
    if collected is not None:
        collected.append((figure, alt))
        return
    display_picture(as_base64(figure), alt)


def display_picture(png, alt, text="", **more):
    """Display a PNG in base64, and more kinds of output beside it.

    Its text begins with a line that gives nothing away: JupyterLab shows the
    first line of an output that is folded.
    """
    words = f"A picture:\n{alt}\n{text}".strip()
    bundle = {"image/png": png, "text/plain": words} | more
    metadata = {"image/png": {"alt": alt}, "needs_background": "light"}
    display(bundle, raw=True, metadata=metadata)


@contextmanager
def collect():
    """Give a list of (figure, alt) in place of showing what is drawn."""
    figures = []
    token = _collected.set(figures)
    try:
        yield figures
    finally:
        _collected.reset(token)
