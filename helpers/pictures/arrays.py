"""Draw arrays as tables of cells, with names, shapes, values and arrows."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers.pictures.figures import DPI, plain, show

MOST = 24  # cells along an axis that are still drawn
CELL = 0.42  # inches, the width of a cell
FLAT = 0.75  # its height by its width
WIDEST = 9.0  # inches of a figure
INK = "#333333"
COLOURS = {"signed": "RdBu", "weights": "cividis", "grey": "Greys"}


@dataclass
class Named:
    """An array, and how to draw it; see named."""

    name: str
    values: np.ndarray
    rows: list | None = None
    columns: list | None = None
    colours: str = "signed"
    mark: object = None
    digits: int = 1


def named(name, values, rows=None, columns=None, **look):
    """Say how an array is drawn: its name, and labels of rows and columns.

    values (N,), (M, N), or (H, M, N), drawn as H tables one below the other:
    numbers, booleans (True is dark), or words. Minus infinity is hatched, NaN
    is an empty place. look: colours "signed" (blue above 0, red below),
    "weights" (0 to 1), or "grey"; mark, an index such as np.s_[2] or
    np.s_[:, 1:3] to frame; digits after the point.
    Raises ValueError for other shapes, or more than 24 cells along an axis.
    """
    values = np.asarray(values)
    if not 1 <= values.ndim <= 3 or max(values.shape) > MOST:
        raise ValueError(
            f"{name} has shape {values.shape}; draw at most three axes of "
            f"at most {MOST} cells: show a part of it"
        )
    return Named(name, values, rows, columns, **look)


def show_arrays(*parts, alt):
    """Draw arrays from left to right, with what stands between them.

    parts: named(...); text such as "@", "=" or "+"; text that ends in an
    arrow ("softmax →", or "gradient ←"), which is drawn as one; "\\n" goes on
    below. alt says in words what is to be seen.
    """
    lines = [[]]
    for part in parts:
        if isinstance(part, str) and part == "\n":
            lines.append([])
        else:
            lines[-1].append(part)
    boxes = [[size(part) for part in line] for line in lines]
    width = max(sum(w for w, _ in line) for line in boxes)
    heights = [max(h for _, h in line) for line in boxes]
    cell = min(CELL, WIDEST / width)
    tall = sum(heights) * cell * FLAT
    figure = Figure((width * cell, tall), dpi=DPI)
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, width), frame_on=False)
    axis.set(ylim=(sum(heights), 0), xticks=[], yticks=[])
    font = min(8.5, 21 * cell)
    top = 0.0
    for line, sizes, height in zip(lines, boxes, heights):
        left = 0.0
        for part, (w, h) in zip(line, sizes):
            draw = draw_text if isinstance(part, str) else draw_array
            draw(axis, part, left, top + (height - h) / 2, w, h, font)
            left += w
        top += height
    show(figure, alt)


def tables_of(part):
    """Return the values as a list of tables: an axis more is a list more."""
    values = np.atleast_2d(part.values)
    return list(values) if values.ndim == 3 else [values]


def text_of(value, digits):
    """Return what stands in a cell."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool | np.bool_):
        return "1" if value else "·"
    if np.isnan(value):
        return ""
    if np.isinf(value):
        return "−∞" if value < 0 else "∞"
    digits = 0 if isinstance(value, int | np.integer) else digits
    text = f"{value:.{digits}f}".replace("-", "−")
    return text.lstrip("−") if not text.strip("−0.") else text


def letters(labels):
    """Return how many cells the longest of some labels takes."""
    return max((len(str(label)) for label in labels or []), default=0) * 0.22


def cell_width(part):
    """Return the width of a cell: that of its longest text, 1 at least."""
    texts = [text_of(v, part.digits) for v in part.values.ravel().tolist()]
    return max(1.0, 0.3 + letters(texts))


def size(part):
    """Return width and height of a part in cells, its labels included."""
    if isinstance(part, str):
        return max(1.2, 0.6 + letters(part.rstrip("→←").splitlines())), 1.0
    tables = tables_of(part)
    M, N = tables[0].shape
    head = f"{part.name} {shape_of(part)}"
    width = max(cell_width(part) * N, letters([head]) * 1.05)
    height = len(tables) * (M + 0.35) + 1.3
    if part.columns is not None:
        height += letters(part.columns) / FLAT + 0.2
    return width + letters(part.rows) + 0.8, height


def shape_of(part):
    """Return the shape as it is written, (8, 2)."""
    return str(part.values.shape).replace(",)", ")")


def draw_text(axis, text, left, top, width, height, font):
    """Write what stands between two arrays, with an arrow if it ends so."""
    middle, y = left + width / 2, top + height / 2
    if text[-1:] not in ("→", "←"):
        axis.text(
            middle, y, plain(text), size=1.5 * font, ha="center", va="center"
        )
        return
    ends = [(left + width - 0.1, y + 0.2), (left + 0.1, y + 0.2)]
    head, tail = ends if text[-1] == "→" else ends[::-1]
    colour = INK if text[-1] == "→" else "#b2182b"
    arrow = {"arrowstyle": "-|>", "color": colour}
    axis.annotate("", head, tail, arrowprops=arrow)
    words = plain(text[:-1].strip())
    axis.text(middle, y, words, size=font, ha="center", color=colour)


def draw_array(axis, part, left, top, width, height, font):
    """Draw one named array with its labels in the room it has."""
    side = cell_width(part)
    tables = tables_of(part)
    M, N = tables[0].shape
    x = left + letters(part.rows) + 0.4
    y = top + 1.0
    axis.text(x, top + 0.6, plain(part.name), size=1.1 * font, weight="bold")
    after = x + 1.08 * letters([part.name + " "])
    axis.text(after, top + 0.6, shape_of(part), size=0.9 * font, color="#666")
    if part.columns is not None:
        y += letters(part.columns) / FLAT + 0.2
        for j, label in enumerate(part.columns):
            centre = x + (j + 0.5) * side
            look = {"rotation": 90, "ha": "center", "va": "bottom"}
            axis.text(centre, y - 0.12, plain(label), size=font, **look)
    paint = painter(part)
    for table in tables:
        for (i, j), value in np.ndenumerate(table):
            draw_cell(
                axis, value, part, x + j * side, y + i, side, paint, font
            )
        for i, label in enumerate(part.rows or []):
            look = {"ha": "right", "va": "center", "size": font}
            axis.text(x - 0.15, y + i + 0.5, plain(label), **look)
        y += M + 0.35
    if part.mark is not None:
        frame(axis, part, x, y - len(tables) * (M + 0.35), side)


def painter(part):
    """Return the function that gives a value its colour."""
    from matplotlib import colormaps  # not before a picture is wanted

    values = part.values
    if values.dtype.kind in "US":
        return lambda value: (0.93, 0.95, 0.98, 1.0)
    colours = "grey" if values.dtype.kind == "b" else part.colours
    table = colormaps[COLOURS[colours]]
    known = np.abs(values[np.isfinite(values)].astype(float))
    most = float(known.max(initial=0)) or 1.0
    if colours == "signed":  # pale, so that numbers can be read on it
        return lambda value: table(0.5 + 0.33 * value / most)
    if colours == "weights":
        return lambda value: table(float(value))
    return lambda value: table(0.75 * value / most)


def draw_cell(axis, value, part, x, y, side, paint, font):
    """Draw one cell: its colour, and its value in an ink that can be read."""
    look = {"edgecolor": "#999999", "linewidth": 0.6}
    if part.values.dtype.kind == "f" and not np.isfinite(value):
        hatch = "////" if np.isinf(value) else None
        style = "-" if hatch else ":"
        axis.add_patch(
            Rectangle(
                (x, y), side, 1, fc="white", hatch=hatch, ls=style, **look
            )
        )
        back = (1, 1, 1)
    else:
        back = paint(value)
        axis.add_patch(Rectangle((x, y), side, 1, fc=back, **look))
    dark = 0.3 * back[0] + 0.6 * back[1] + 0.1 * back[2] < 0.5
    middle = (x + side / 2, y + 0.52)
    look = {"ha": "center", "va": "center", "size": font}
    text = text_of(value, part.digits)
    if text == "−∞":
        look["bbox"] = {"fc": "white", "ec": "none", "pad": 1}
    axis.text(*middle, text, color="white" if dark else "black", **look)


def frame(axis, part, x, y, side):
    """Draw a frame around the cells that mark picks."""
    picked = np.zeros(part.values.shape, bool)
    picked[part.mark] = True
    M = np.atleast_2d(part.values).shape[-2]
    for number, table in enumerate(tables_of(Named("", picked))):
        if not table.any():
            continue
        i, j = np.nonzero(table)
        corner = x + j.min() * side, y + number * (M + 0.35) + i.min()
        size = (np.ptp(j) + 1) * side, np.ptp(i) + 1
        axis.add_patch(
            Rectangle(corner, *size, fill=False, ec="#d95f02", lw=2)
        )
