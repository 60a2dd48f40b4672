"""Let a reader move a slider under a picture.

Without a kernel, on paper and in a comparison of outputs the picture stands
alone, as drawn with the values it begins with.
"""

import html
import io
from contextlib import redirect_stdout
from types import FunctionType

import ipywidgets as widgets

from helpers.pictures.figures import as_base64, collect, display_picture

WIDGET = "application/vnd.jupyter.widget-view+json"


def slide(draw, **ranges):
    """Show what draw(name=value, ...) draws and prints, a slider for a name.

    draw shows one picture. ranges: name=(low, high) or (low, high, start),
    all whole numbers or not; name=True or False for a box to tick; name=[...]
    for a choice. Names that draw uses keep the values that they have now,
    whatever later cells call so.
    """
    draw = with_names_of_now(draw)
    knobs = {name: knob(name, range_) for name, range_ in ranges.items()}
    view = widgets.HTML()

    def drawn():
        values = {name: control.value for name, control in knobs.items()}
        return draw_with(draw, values)

    def redraw(change):
        try:
            view.value = as_html(*drawn())
        except Exception as error:  # nobody else would show it
            view.value = f"<pre>{html.escape(repr(error))}</pre>"

    png, alt, text = drawn()
    view.value = as_html(png, alt, text)
    for control in knobs.values():
        control.observe(redraw, "value")
    box = widgets.VBox([*knobs.values(), view])
    display_picture(
        png, alt, text, **{WIDGET: box._repr_mimebundle_()[WIDGET]}
    )


def with_names_of_now(draw):
    """Return a function like draw that keeps the global names of now."""
    names = dict(draw.__globals__)
    now = FunctionType(draw.__code__, names, closure=draw.__closure__)
    now.__defaults__ = draw.__defaults__
    return now


def knob(name, range_):
    """Return the widget that chooses a value; its label is the name."""
    style = {"description_width": "initial"}
    look = {"description": name.replace("_", " "), "style": style}
    if isinstance(range_, bool):
        return widgets.Checkbox(range_, indent=False, **look)
    if isinstance(range_, list):
        return widgets.Dropdown(options=range_, **look)
    low, high, *start = range_
    look |= {"min": low, "max": high, "value": start[0] if start else low}
    if all(isinstance(number, int) for number in range_):
        return widgets.IntSlider(**look)
    step = float(f"{(high - low) / 50:.0e}")  # one digit: 0.098 -> 0.1
    return widgets.FloatSlider(step=step, **look)


def draw_with(draw, values):
    """Return what draw(**values) makes: its picture, alt and printed text."""
    printed = io.StringIO()
    with collect() as figures, redirect_stdout(printed):
        draw(**values)
    [(figure, alt)] = figures
    return as_base64(figure), alt, printed.getvalue()


def as_html(png, alt, text):
    """Return picture and text as HTML."""
    alt, text = html.escape(alt, quote=True), html.escape(text)
    style = "background: white; max-width: 100%"
    image = f'<img alt="{alt}" style="{style}" src="data:image/png;base64,'
    return f'{image}{png}"><pre>{text}</pre>'
