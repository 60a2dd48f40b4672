"""Draw a text cut into pieces, one way below the other: bytes, tokens."""

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers.pictures.figures import DPI, plain, show

LETTER = 0.26  # inches, the width of a byte
WIDEST = 9.0  # of a figure
MOST = 8  # bars of pairs
MARKED = "#d95f02"


def show_cuts(rows, alt, pairs=None):
    """Draw {label: pieces}, each row a text cut into pieces.

    A piece, text or bytes, is as wide as it has bytes, and the bluer the
    longer; the number of pieces stands at the end of a row. pairs {(left,
    right): count} are drawn as bars below, the first of the most frequent
    in orange.
    """
    sizes = [sum(map(n_bytes, pieces)) for pieces in rows.values()]
    head = max(len(str(label)) for label in rows) * 0.35 + 0.5
    units = max(max(sizes) + head + 3, 18)
    width = min(units * LETTER, WIDEST)
    tall, more = 0.38 * len(rows) + 0.1, 2.4 if pairs else 0
    figure = Figure((width, tall + more), dpi=DPI)
    share = tall / (tall + more)
    axis = figure.add_axes((0, 1 - share, 1, share), frame_on=False)
    axis.set(xlim=(-head, units - head), ylim=(len(rows), -0.15))
    axis.set(xticks=[], yticks=[])
    for y, (label, pieces) in enumerate(rows.items()):
        draw_row(axis, y, label, pieces)
    if pairs:
        left, rest = head / units, 1 - share
        box = (left, 0.28 * rest, 0.92 - left, 0.66 * rest)
        draw_pairs(figure.add_axes(box), pairs)
    show(figure, alt)


def n_bytes(piece):
    """Return how many bytes a piece has."""
    return len(piece) if isinstance(piece, bytes) else len(piece.encode())


def readable(piece):
    """Return what stands for a piece: ␣ for a space, e9 for half a letter."""
    if isinstance(piece, bytes):
        try:
            piece = piece.decode()
        except UnicodeDecodeError:
            return piece.hex(" ")
    return plain(piece.replace(" ", "␣").replace("\n", "↵"))


def draw_row(axis, y, label, pieces):
    """Draw the pieces of one row side by side."""
    look = {"va": "center", "size": 9}
    axis.text(-0.3, y + 0.4, plain(label), ha="right", **look)
    x = 0
    for piece in pieces:
        size = n_bytes(piece)
        blue = min(0.12 * (size - 1), 0.6)
        colour = (0.97 - blue, 0.97 - 0.55 * blue, 1.0)
        box = Rectangle((x, y), size, 0.8, fc=colour, ec="#555555", lw=0.8)
        axis.add_patch(box)
        axis.text(x + size / 2, y + 0.42, readable(piece), ha="center", **look)
        x += size
    axis.text(x + 0.3, y + 0.4, len(pieces), color="#666666", **look)


def draw_pairs(axis, pairs):
    """Draw the most frequent pairs as bars, the first of the most marked."""
    most = sorted(pairs.items(), key=lambda item: -item[1])[:MOST]
    names = [" ".join(map(readable, pair)) for pair, _ in most]
    colours = [MARKED] + ["#31688e"] * (len(most) - 1)
    axis.barh(range(len(most)), [n for _, n in most], color=colours)
    axis.set_yticks(range(len(most)), names, fontsize=9)
    axis.invert_yaxis()
    axis.set_xlabel("times it occurs", fontsize=9)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.tick_params(labelsize=9)
