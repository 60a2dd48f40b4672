"""Pictures: every array can be drawn, every slider moves, all have words."""

import base64
import io
from dataclasses import replace

import ipywidgets as widgets
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from helpers import pictures
from helpers.language_model import PRESETS, init_params, language_model
from helpers.pictures import (
    arrays,
    attention,
    embeddings,
    figures,
    memory,
    named,
    plot_attention,
    plot_histogram,
    plot_lines,
    show_arrays,
    show_arrows,
    show_cuts,
    show_memory,
    show_valley,
    slide,
    valley,
)
from helpers.scale import distinct_bytes

ODD = {
    "a vector": np.arange(5),
    "a column": np.ones((7, 1)),
    "one number": np.array([[0.0]]),
    "heads": np.random.default_rng(0).normal(size=(3, 4, 2)),
    "words": np.array(["$$", "Tom", "a cat's"]),
    "a mask": np.tril(np.ones((4, 4), bool)),
    "no score": np.array([[0.5, -np.inf], [np.nan, np.inf]]),
    "zeros": np.zeros((2, 3)),
    "float32": np.full((2, 2), -1e-7, np.float32),
    "large": np.array([[123456.0, -0.04]]),
}


@pytest.mark.parametrize("n", [1, 3, 4, 5, 24])
def test_heads_stand_three_in_a_row(n):
    """A lesson is narrower than four of them."""
    with figures.collect() as found:
        plot_attention(np.full((n, 4, 4), 0.25), list("some"))
    [(figure, _)] = found
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == [f"head {h}" for h in range(n)] + [""]  # the colours
    assert figure.get_size_inches()[0] < 8


def drawn(*parts):
    texts, alt = texts_of(show_arrays, *parts, alt="in words")
    assert alt == "in words"
    return texts


def texts_of(draw, *arguments, **settings):
    """Return the words of the one picture that is drawn, and its alt."""
    with figures.collect() as found:
        draw(*arguments, **settings)
    [(figure, alt)] = found
    assert figures.as_png(figure).startswith(b"\x89PNG")
    return [text.get_text() for text in figure.findobj(Text)], alt


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("colours", ["signed", "weights", "grey"])
def test_every_array_is_drawn(name, colours):
    texts = drawn(named(name, ODD[name], colours=colours, mark=np.s_[:1]))
    assert name in texts


def test_values_are_written_as_they_are():
    texts = drawn(named("x", [[0.25, -0.04, -np.inf, 3]], digits=2))
    assert {"0.25", "−0.04", "−∞", "3.00"} <= set(texts)
    assert "0.0" in drawn(named("x", [[-0.04]]))  # and no minus zero
    assert {"7", "12"} <= set(drawn(named("ids", np.array([7, 12]))))


def test_labels_shapes_and_arrows():
    look = {"rows": ["it"], "columns": ["$$", "cat"]}
    parts = [named("w", [[0.1, 0.9]], **look), "softmax →", named("p", [1])]
    texts = drawn(*parts, "\n", "gradient ←")
    assert {"w", "(1, 2)", "it", r"\$\$", "softmax", "gradient"} <= set(texts)


@pytest.mark.parametrize("shape", [(), (2, 2, 2, 2), (3, 25)])
def test_too_much_is_refused_in_words(shape):
    with pytest.raises(ValueError, match="show a part of it"):
        named("x", np.zeros(shape))


def test_a_frame_is_where_the_index_says(monkeypatch):
    found = []
    monkeypatch.setattr(arrays, "Rectangle", lambda *a, **k: found.append(a))
    figure = figures.new_figure(1, 1)[1]
    monkeypatch.setattr(figure, "add_patch", lambda patch: None)
    part = named("x", np.zeros((4, 5)), mark=np.s_[1:3, 2])
    arrays.frame(figure, part, x=10.0, y=20.0, side=2.0)
    assert found == [((14.0, 21.0), 2.0, 2)]


def figure_of(draw, *arguments, **settings):
    """Return the one figure that is shown, and its words."""
    with figures.collect() as found:
        draw(*arguments, **settings)
    [(figure, alt)] = found
    assert alt and figures.as_png(figure).startswith(b"\x89PNG")
    return figure


def test_a_piece_is_as_wide_as_it_has_bytes():
    rows = {"pieces": ["é", " a$", b"\xe7"], "bytes": list("abcdef")}
    pairs = {(b"a", b" b"): 1, ("$", "x"): 3, ("y", "z"): 3}
    figure = figure_of(show_cuts, rows, "in words", pairs)
    cuts, bars = figure.axes
    widths = [patch.get_width() for patch in cuts.patches]
    assert widths == [2, 3, 1] + 6 * [1]
    texts = [text.get_text() for text in cuts.texts]
    assert texts[:5] == ["pieces", "é", r"␣a\$", "e7", "3"]
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names == [r"\$ x", "y z", "a ␣b"]
    assert [bar.get_width() for bar in bars.patches] == [3, 3, 1]
    colours = [bar.get_facecolor() for bar in bars.patches]
    assert colours[0] != colours[1] == colours[2]


def test_a_long_text_is_drawn_smaller():
    figure = figure_of(show_cuts, {"long": ["a"] * 200}, "in words")
    assert figure.get_figwidth() == 9


def test_a_histogram_counts_and_marks():
    figure = figure_of(plot_histogram, [3, 3, 5], "tokens", "stories", at=4)
    [axis] = figure.axes
    assert [bar.get_height() for bar in axis.patches] == [2, 0, 1]
    assert axis.lines[0].get_xdata() == [4, 4]


class Descent:
    """Step against the gradient."""

    def __init__(self, params, lr):
        self.params, self.lr = params, lr

    def step(self, grads):
        self.params["w"] -= self.lr * grads["w"]


def test_a_walk_down_the_valley():
    """Each step multiplies the distances by 1 - lr and 1 - steep lr."""
    path = valley.walk(Descent, steep=10, n_steps=3, lr=0.15)
    factors = 0.85 ** np.arange(4), (-0.5) ** np.arange(4)
    assert np.allclose(path, valley.START * np.transpose(factors))
    assert valley.valley(np.array([2.0, 3.0]), steep=10) == 2 + 45
    figure = figure_of(show_valley, {"down": path}, steep=10)
    line = figure.axes[0].lines[0]
    assert np.array_equal(line.get_xydata(), path)
    last = valley.valley(path[-1], 10)
    assert line.get_label() == f"down: {last:.3g}"


def test_arrows_fit_into_the_picture():
    arrows = {"a": (4.0, -3.0), "b": (-2.0, 0.5)}
    figure = figure_of(show_arrows, arrows, radius=1, alt="in words")
    [axis] = figure.axes
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    assert left < -2 and right > 4 and low < -3 and high > 1
    assert len(axis.collections) == 2


def test_memory_is_that_of_a_step(capsys):
    """The cache of a step is as large as the picture says."""
    config = replace(PRESETS["tiny"], vocab_size=50, max_seq_len=6)
    params = init_params(config, np.random.default_rng(0))
    ids = np.zeros((3, 6), np.int64)
    logits, cache = language_model(ids, params, config)
    sizes = memory.memory_of(config, B=3, T=6)
    kept = distinct_bytes(cache, (params, ids)) / 1e6
    cached = sizes["attention weights"] + sizes["the rest of the cache"]
    assert np.isclose(cached, kept)
    assert sizes["logits"] == 3 * logits.nbytes / 1e6
    figure = figure_of(show_memory, config, B=3, T=6)
    assert len(figure.axes[0].patches) == 4
    assert "18 tokens a step" in capsys.readouterr().out


def test_a_picture_of_few_colours_looks_the_same():
    """Quantising moves no colour by more than can be seen."""
    figure, axis = figures.new_figure(3, 2)
    axis.imshow(np.linspace(0, 1, 64)[None], cmap="cividis", aspect="auto")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figures.DPI)
    whole, few = (
        np.asarray(Image.open(f).convert("RGB")).astype(int)
        for f in (file, io.BytesIO(figures.as_png(figure)))
    )
    assert abs(whole - few).max() < 32 and abs(whole - few).mean() < 2


def test_a_place_is_marked_on_each_curve():
    curves = {"up": [0, 10], "down": [3, 1]}
    figure = figure_of(plot_lines, [0, 4], curves, "x", "y", at=1)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_ydata()[0] for dot in dots] == [2.5, 2.5]


@pytest.fixture
def bundles(monkeypatch):
    """Collect what sliders display."""
    found = []
    monkeypatch.setattr(figures, "display", lambda b, **_: found.append(b))
    return found


@pytest.fixture
def boxes(monkeypatch, bundles):
    """Collect the knobs and the view of each slider."""
    found, vbox = [], widgets.VBox
    monkeypatch.setattr(
        widgets, "VBox", lambda parts: found.append(parts) or vbox(parts)
    )
    return found


def test_a_slider_draws_again(bundles, boxes):
    seen = []

    def look(temperature, heads, causal, kind):
        seen.append((temperature, heads, causal, kind))
        print(f"at {temperature:.1f} <")
        show_arrays(named("x", [temperature]), alt=f"x = {temperature:.1f}")

    ranges = {"temperature": (0.0, 5.0, 1.0), "heads": (1, 4)}
    slide(look, **ranges, causal=True, kind=["a", "b"])
    [(first, second, third, fourth, view)] = boxes
    assert bundles[0]["text/plain"] == "A picture:\nx = 1.0\nat 1.0 <"
    assert base64.b64decode(bundles[0]["image/png"]).startswith(b"\x89PNG")
    assert 'alt="x = 1.0"' in view.value and "at 1.0 &lt;" in view.value
    first.value, second.value = 2.5, 3
    third.value, fourth.value = False, "b"
    assert seen[0] == (1.0, 1, True, "a") and seen[-1] == (2.5, 3, False, "b")
    assert 'alt="x = 2.5"' in view.value


def test_a_slider_keeps_the_names_it_was_made_with(boxes):
    names = {"scale": 2, "show_arrays": show_arrays, "named": named}
    body = "show_arrays(named('x', [x * scale]), alt=f'{x * scale}')"
    source = f"def look(x):\n    {body}"
    exec(source, names)
    slide(names["look"], x=(1, 5))
    names["scale"] = "a later cell's"
    [(x, view)] = boxes
    x.value = 3
    assert 'alt="6"' in view.value


def test_a_slider_says_what_went_wrong(boxes):
    slide(lambda x: show_arrays(named("x", [1 / x]), alt="1 / x"), x=(0, 5, 1))
    [(x, view)] = boxes
    x.value = 0
    assert "ZeroDivisionError" in view.value


# lesson 01


def test_bars_have_arrows_as_long_as_the_gradient():
    weights, push = np.array([0.5, 0.3, 0.2]), np.array([0.25, -0.15, 0.0])
    texts, alt = texts_of(attention.bars, ["a", "b", "c"], weights, push)
    assert {"0.50", "0.30", "0.20", "+0.25", "−0.15"} <= set(texts)
    assert "+0.00" not in texts and "b -0.15" in alt


def test_a_gaze_goes_to_what_has_weight():
    weights = np.array([[[1.0, 0, 0], [0.02, 0.98, 0], [0.3, 0, 0.7]]])
    words = ["Tom", "had", "it"]
    texts, alt = texts_of(attention.gaze, words, weights, [2], ["who?"])
    assert {"0.30", "0.70", "who?"} <= set(texts) and "0.00" not in texts
    assert alt == "head 0, it looks at it: 0.70"
    with figures.collect() as found:
        attention.gaze(words, weights, [1, 2], ["who?"])
    assert len(found[0][0].axes[0].lines) == 4  # arcs


def test_attention_is_drawn_forward_and_backward():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 3, 4))
    scores = np.where(np.tri(3), q @ k.T, -np.inf)
    weights = np.tri(3) / np.arange(1, 4)[:, None]
    texts, alt = texts_of(
        attention.by_hand, q, k, v, scores, weights, weights @ v
    )
    assert texts.count("−∞") == 3 and "0.33, 0.33, 0.33" in alt
    texts, alt = texts_of(attention.gradients, v, weights, scores, q, k, v)
    assert {"softmax", "@ v.T", "dq", "dk", "dv"} <= set(texts)
    texts, alt = texts_of(
        attention.scores_to_weights, scores, weights, ["a", "b", "c"]
    )
    assert alt.endswith("a a, b a, c a")
    texts, alt = texts_of(
        attention.softmax_gradient, "abc", weights, v[:, 0], q[:, 0]
    )
    assert "∂p/∂x" in texts and f"{q[2, 0]:.2f}" in alt


def test_heads_are_drawn_as_they_are_cut():
    x = np.arange(32.0).reshape(8, 4)
    texts, alt = texts_of(attention.mix, np.eye(8), x, x)
    assert "28.00, 29.00, 30.00, 31.00" in alt
    halves = x[:4].reshape(4, 2, 2).swapaxes(0, 1)
    words = list("abcd")
    texts, _ = texts_of(
        attention.split, x[:4], halves, x[:4].reshape(2, 4, 2), words
    )
    assert texts.count("15.0") == 3 and "split" in texts
    heads = np.split(np.arange(24).reshape(6, 2, 2), 3)
    qkv = np.arange(24).reshape(2, 12)
    texts, _ = texts_of(attention.parts, qkv, heads, words[:2])
    assert {"q", "k", "v", "qkv", "(2, 12)"} <= set(texts)
    assert texts.count("23") == 2


# lesson 02


def test_a_lookup_and_its_gradient_are_drawn():
    table, ids = np.arange(32.0).reshape(8, 4), np.array([7, 2])
    words = ["Tom", "cat"]
    texts, alt = texts_of(
        embeddings.lookup, words, ids, table, table[ids], place=1
    )
    assert texts.count("31.0") == 2 and "2 of cat picks row 2" in alt
    rows = np.eye(8)[ids]
    texts, _ = texts_of(embeddings.one_hot, words, rows, table, rows @ table)
    assert texts.count("1") == 2 and texts.count("31.0") == 2
    tables = {"add": table[:, :1], "+=": -table[:, :1]}
    texts, alt = texts_of(embeddings.scatter, words, np.ones((2, 1)), tables)
    assert {"gradient", "add", "+=", "28", "−28"} <= set(texts)
    assert "add has 0, 4, 8" in alt
    outs = table[:2], table[1::-1]
    texts, alt = texts_of(
        embeddings.orders, [words, words[::-1]], outs, row="cat"
    )
    assert alt.count("4.00, 5.00, 6.00, 7.00") == 2
    texts, _ = texts_of(embeddings.shared, table[None], table[:, :2])
    assert {"dweight", "dout", "sum over the batch"} <= set(texts)


def test_positions_are_drawn_as_a_clock_and_as_likeness():
    angle = np.arange(12.0)[:, None]
    table = np.hstack([np.sin(angle), np.cos(angle)])
    _, alt = texts_of(embeddings.waves, table, position=3, pair=0)
    assert "(0.14, -0.99)" in alt
    for position, near in ((0, 1), (11, 10)):
        _, alt = texts_of(embeddings.alike, {"a": table}, position)
        assert alt.endswith(f"a, position {near}: 0.54")  # cos 1


# lessons 03 and 04

ROW = np.array([2.0, 4.0, 6.0, 8.0])
NORMED = (ROW - 5) / np.sqrt(5)
BENDS = {"square": (lambda x: (x * x, x), lambda dout, x: 2 * x * dout)}
LEAF = {"weight": np.ones((5, 6)), "bias": np.ones(6)}
TREE = {"table": {"weight": np.ones((9, 5))}, "part": [{"up": LEAF}] * 2}
RUNS = np.arange(6.0).reshape(2, 3)
DRAWINGS = {  # name: (its arguments, what is written in it or said of it)
    "show_norm": ((ROW, NORMED), ["2.00", "row: mean 5.00, deviation 2.24"]),
    "show_roads": ((ROW,), ["direct: 0.447", "through r: −0.201"]),
    "show_projection": ((np.eye(4)[0], NORMED), ["what is left: 0.548"]),
    "show_wirings": ((), ["pre-norm (GPT-2)", "the norm on the road"]),
    "show_surprise": ((0.25,), ["loss (nats)"]),
    "show_tree": ((TREE,), ["part, each of 2", "36", "(tied)"]),
    "show_flow": ((3,), ["block 2", "to every row", "token table (V, C)"]),
    "plot_slopes": ((BENDS, 3.0), ["square"]),
    "plot_bands": (({"a": {"b": RUNS}}, "x", "y"), ["a", "b", "x", "y"]),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_of_a_lesson(name):
    arguments, written = DRAWINGS[name]
    texts, alt = texts_of(getattr(pictures, name), *arguments)
    assert len(alt) > 20 and set(written) <= set(texts)


@pytest.mark.parametrize("c, d", [(0, 0), (1, 3)])
def test_the_three_roads_add_up(c, d):
    """To the derivative, which a small step finds as well."""
    _, alt = texts_of(pictures.show_roads, ROW, c, d)
    step = 1e-6 * np.eye(4)[c]
    up, down = ((x - x.mean()) / x.std() for x in (ROW + step, ROW - step))
    assert alt.endswith(f"together {(up - down)[d] / 2e-6:.3f}")


def test_a_head_of_its_own_is_not_tied():
    head = {"head": {"weight": np.ones((5, 9))}}
    texts, alt = texts_of(pictures.show_tree, TREE | head)
    assert "(tied)" not in texts and alt.endswith("head 45")


def test_what_a_guess_costs_is_printed(capsys):
    texts_of(pictures.show_surprise, 0.25)
    assert capsys.readouterr().out == "1.386 nats, 2.000 bits, slope -4.00\n"


def test_slopes_are_printed(capsys):
    texts_of(pictures.plot_slopes, BENDS, 3.0)
    assert capsys.readouterr().out == "square(3.00) = 9.000, slope 6.000\n"
