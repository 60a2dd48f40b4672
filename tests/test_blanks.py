"""The line below a blank: what check says, and whom it blames."""

import contextlib
import importlib

import numpy as np
import pytest

from helpers.checks import (
    Mistake,
    check,
    check_backward,
    gradients,
    note,
    torch_ops,
    try_backward,
)
from helpers.checks.lessons import isolate, lesson_of

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SOFTMAX = """
def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True), e / e.sum(axis=-1, keepdims=True)
"""
BLANK = """
def softmax_backward(dout, cache):
    raise NotImplementedError("write softmax_backward")
"""
NOTED = """
def scaled_dot_product_attention_backward(dout, cache):
    q, k, v, weights, scale = cache
    dv = weights.swapaxes(-1, -2) @ dout
    dweights = dout @ v.swapaxes(-1, -2)
    dscores = softmax_backward(dweights, weights)
    note(dweights=dweights, dscores=dscores, dv=dv)
    dq = (dscores @ k) * scale
    return dq, (dscores.swapaxes(-1, -2) @ q) * scale, dv
"""


def notebook(*sources, lesson="attention"):
    """Return the globals of a notebook that ran cells after the lesson."""
    module = importlib.import_module(f"helpers.{lesson}")
    namespace = vars(module) | {"__name__": "__main__", "note": note}
    for source in sources:
        exec(compile(source, "<cell>", "exec"), namespace)
    return namespace


def said(function, *arguments, **settings):
    """Return what a check raises, in words."""
    with pytest.raises(Mistake) as caught:
        function(*arguments, **settings)
    return str(caught.value)


def test_a_forward_is_checked_before_its_backward_is_written(capsys):
    lesson = notebook(SOFTMAX, BLANK)
    check(lesson["softmax"])
    said = capsys.readouterr().out
    assert said.startswith("softmax: right in 6 cases: rows of 6")
    assert len(said.splitlines()) > 1  # none is too long for a page
    assert max(map(len, said.splitlines())) <= 79
    with pytest.raises(NotImplementedError, match="write softmax_backward"):
        check(lesson["softmax_backward"])


def test_the_verdict_of_out_is_given_while_the_backward_is_blank(capsys):
    wrong = SOFTMAX.replace("e.sum(axis=-1, keepdims=True)", "e.sum()")
    x = np.random.default_rng(0).normal(size=(4, 5))
    for forward, line in (
        (SOFTMAX, "not yet: write softmax_backward (softmax is right)"),
        (wrong, "wrong: out by 0.79 of"),
    ):
        lesson = notebook(forward, BLANK)
        pair = lesson["softmax"], lesson["softmax_backward"]
        try_backward(*pair, torch_ops.softmax, (x,))
        assert line in capsys.readouterr().out


def test_a_wrong_function_accuses_no_right_one():
    lesson = notebook(
        "def softmax(x):\n    return x / 0, x",
        "def softmax_backward(dout, cache):\n    return dout",
        "def mask_scores(scores, mask):\n    return scores",
        NOTED,
    )
    name = "scaled_dot_product_attention"
    check(lesson[f"{name}_backward"])
    assert "softmax with" in said(check, lesson["softmax"])
    assert "without the mask" in said(check, lesson["mask_scores"])
    q, k, v = np.random.default_rng(0).normal(size=(3, 4, 5, 3))
    pair = lesson[name], lesson[f"{name}_backward"]
    check_backward(*pair, getattr(torch_ops, name), (q, k, v))


def test_a_wrong_function_accuses_no_exercise():
    for lesson, wrong, name in (
        ("attention", "causal_mask(T)", "window_mask"),
        ("embeddings", "sinusoidal_positions(T, C)", "moving_matrix"),
        ("language_model", "count_params(params)", "count_by_formula"),
        ("language_model", "loss_and_grads(*a)", "rows_with_gradient"),
        ("digit_operations", "answer(question)", "blind"),
    ):
        mistakes = importlib.import_module(f"mistakes.{lesson}")
        source = f"def {wrong}:\n    return np.ones((9, 9))"
        cells = notebook(source, mistakes.SOLUTIONS[name], lesson=lesson)
        mistakes.JUDGES[name](cells[name])


def test_functions_of_ones_own_are_kept_with_the_shelf_around_them():
    lesson = notebook(
        "def twice(x):\n    return 2 * softmax(x)[0]",
        "def softmax(x):\n    return np.zeros_like(x), None",
        "def causal_mask(T):\n    return twice(np.zeros((T, T)))",
    )
    (function,) = isolate(lesson["causal_mask"])
    assert function(2).sum() == 4 and lesson["causal_mask"](2).sum() == 0
    assert lesson_of(lesson["twice"]) == "attention"


def test_a_method_runs_in_the_class_of_the_shelf():
    source = """
class SGD:
    def __init__(self):
        raise TypeError("not this one")

    def step(self, grads, lr=None):
        return self.params, __class__
"""
    lesson = notebook(source, lesson="training")
    (owner,) = isolate(lesson["SGD"].step)
    params, cell = owner({"a": np.ones(2)}, lr=0.1).step({})
    assert list(params) == ["a"] and cell is owner
    assert owner is not lesson["SGD"]


@pytest.mark.parametrize(
    "slip, line",
    [
        (
            ("weights)\n", "weights) * scale\n"),
            "dscores is the first noted that is wrong: it is wrong by 0.4",
        ),
        (
            ("dout @ v.swapaxes(-1, -2)", "2 * dout @ v.swapaxes(-1, -2)"),
            "dweights is the first noted that is wrong",
        ),
        (
            ("note(dweights=dweights, dscores", "dscores *= 2; note(ds"),
            "note knows these names here: dout",
        ),
    ],
)
def test_the_first_wrong_noted_array_is_named(slip, line):
    source = NOTED.replace(*slip)
    source = source.replace("ds=dscores, dv=dv", "ds=dscores")
    name = "scaled_dot_product_attention_backward"
    assert line in said(check, notebook(source)[name])


def test_where_all_noted_is_right_what_follows_is_wrong():
    source = NOTED.replace("dq = (dscores @ k)", "dq = -(dscores @ k)")
    name = "scaled_dot_product_attention_backward"
    what = said(check, notebook(source)[name])
    assert "As noted, right so far: dweights, dscores, dv" in what
    note(anything=1)  # outside a check nothing happens


def test_a_crash_is_one_line_with_the_learners_line_number():
    lesson = notebook("def softmax(x):\n    y = x\n    return y + None, y")
    what = said(check, lesson["softmax"])
    assert "softmax with rows of 6 raises TypeError: unsupp" in what
    assert "(line 3 of the cell with softmax)" in what
    x = np.ones((2, 3))
    pair = lesson["softmax"], lesson["softmax_backward"]
    assert "line 3" in said(check_backward, *pair, torch_ops.softmax, (x,))


def test_what_no_lesson_asks_for_is_refused():
    with pytest.raises(ValueError, match="check knows no cases of twice"):
        check(notebook("def twice(x):\n    return 2 * x")["twice"])


def test_verdicts_name_the_one_to_blame(monkeypatch):
    monkeypatch.setattr(gradients, "VERDICTS", [])
    lesson = notebook(SOFTMAX, BLANK, "def causal_mask(T):\n    return 1 / 0")
    names = ("softmax", "causal_mask", "softmax_backward")
    for name in names:
        with contextlib.suppress(Mistake, NotImplementedError):
            check(lesson[name])
    assert gradients.VERDICTS == [
        ("softmax", "right"),
        ("causal_mask", "raises an error"),
        ("softmax", "right"),
    ]


def test_a_wrong_gelu_reaches_no_right_feed_forward_through_a_table():
    lesson = notebook(
        "def gelu(x):\n    return x / 0, x",
        'ACTIVATIONS = {"gelu": (gelu, gelu_backward), "own": (abs, abs)}',
        "def feed_forward(x, params, activation):\n"
        "    return ACTIVATIONS[activation][0](x)",
        lesson="transformer_block",
    )
    (function,) = isolate(lesson["feed_forward"])
    assert function(np.ones(1), {}, "gelu")[0] == pytest.approx([0.8412], 1e-4)
    assert function(-1, {}, "own") == 1
    assert lesson["ACTIVATIONS"]["gelu"][0] is lesson["gelu"]
