"""Pictures: every array can be drawn, every slider moves, all have words."""

import base64

import ipywidgets as widgets
import numpy as np
import pytest
from matplotlib.text import Text

from helpers.pictures import (
    arrays,
    figures,
    named,
    show_arrays,
    slide,
    sliders,
)

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


def drawn(*parts):
    with figures.collect() as found:
        show_arrays(*parts, alt="in words")
    [(figure, alt)] = found
    assert alt == "in words"
    assert figures.as_png(figure).startswith(b"\x89PNG")
    return [text.get_text() for text in figure.findobj(Text)]


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


@pytest.fixture
def bundles(monkeypatch):
    """Collect what sliders display."""
    found = []
    monkeypatch.setattr(sliders, "display", lambda b, **_: found.append(b))
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
    assert bundles[0]["text/plain"] == "x = 1.0\nat 1.0 <"
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
