"""Checks say the same without torch: its answers to the lessons are on file.

What is on file is asked of torch again. The lessons run where torch cannot be
imported and have to print what they print with it. Other arrays get central
differences.
"""

import os
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from helpers import attention, training
from helpers.checks import (
    Mistake,
    answers,
    check_backward,
    check_optimizer,
    torch_answers,
    torch_ops,
    try_backward,
)
from helpers.checks.cells import code_cells, has_tag
from helpers.checks.kernels import Step, without_looks
from helpers.checks.record import ask_torch
from helpers.checks.verdicts import compare

HERE = Path(__file__).resolve().parent
PATHS = {p.stem: p for p in sorted((HERE.parent / "notebooks").glob("[0A]*"))}
FILED = [path.stem for path in sorted(answers.FOLDER.glob("torch_*.npz"))]
ASKING = r"\b(check_backward|check_optimizer|try_backward)\("
PAIR = attention.softmax, attention.softmax_backward


def asks(cell):
    """Say whether a cell asks for torch's answer."""
    return re.search(ASKING, cell.source)


ASKED = [
    path
    for path in PATHS.values()
    if any(map(asks, code_cells(nbformat.read(path, 4))))
]


@pytest.fixture(scope="module")
def answered():
    """Return what torch answers to all lessons, asked in one kernel."""
    pytest.importorskip("torch")
    return ask_torch(ASKED)


@pytest.mark.parametrize("path", ASKED, ids=lambda path: path.stem)
@pytest.mark.slow
def test_on_file_is_what_torch_answers(path, answered):
    filed = answers.load(f"torch_{path.stem}")
    compare("answer", answered[path], filed, 1e-12)


@pytest.fixture(scope="module")
def without_torch():
    """Return {id_of(...): cell} of lessons on file, run in one kernel."""
    cells = []
    for name in FILED:
        path = PATHS[name.removeprefix("torch_")]
        cells += [new_code_cell("%reset -f"), *cells_for_verdicts(path)]
    places = HERE / "without_torch", os.environ.get("PYTHONPATH", "")
    where = {"metadata": {"path": str(HERE.parent / "notebooks")}}
    options = {"timeout": 300, "coalesce_streams": True, "resources": where}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
        NotebookClient(new_notebook(cells=cells), **options).execute()
    return {cell.id: cell for cell in cells}


def cells_for_verdicts(path):
    """Return the code cells of a lesson, empty where no verdict needs them."""
    cells = code_cells(nbformat.read(path, 4))
    steps = [Step(i, cell.source) for i, cell in enumerate(cells)]
    kept = {step.number: step for step in without_looks(steps, path)}
    for number, cell in enumerate(cells):
        cell.source = kept[number].source if number in kept else ""
        cell.id = id_of(path, cell)
    return cells


def id_of(path, cell):
    """Return an id that no other lesson's cell has."""
    return f"{path.stem}-{cell.id}"


@pytest.mark.parametrize("name", FILED)
@pytest.mark.slow
def test_lessons_say_the_same_without_torch(name, without_torch):
    path = PATHS[name.removeprefix("torch_")]
    for cell in filter(asks, code_cells(nbformat.read(path, 4))):
        if not has_tag(cell, "nbval-ignore-output"):
            said = text_of(without_torch[id_of(path, cell)])
            found = re.sub(r"torch [\d.]+ on file", "torch", said)
            assert found == text_of(cell), cell.source


def text_of(cell):
    """Return what a cell printed and returned, as one line."""
    texts = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    ]
    return " ".join(" ".join(texts).split())  # lines break elsewhere


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setattr(torch_answers, "load_torch", lambda: None)


def on_file():
    """Return the first input of softmax in lesson 01."""
    return np.random.default_rng(1).normal(size=(2, 5, 7))


def others():
    return np.random.default_rng(2).normal(size=(2, 5, 7))


def minus(dout, cache):
    return -attention.softmax_backward(dout, cache)


def twice(x):
    p, cache = attention.softmax(x)
    return 2 * p, cache


def test_the_verdict_names_the_reference(no_torch):
    said = str(check_backward(*PAIR, torch_ops.softmax, (on_file(),)))
    assert re.match(r"softmax matches torch [\d.]+ on file \(float64 to", said)
    said = str(check_backward(*PAIR, torch_ops.softmax, (others(),)))
    assert said == "softmax matches central differences (to 1e-6): dx"


def test_a_mistake_is_found_either_way(no_torch):
    for x in (on_file(), others()):
        with pytest.raises(Mistake, match="dx is wrong by 2 of its size"):
            check_backward(PAIR[0], minus, torch_ops.softmax, (x,))
    with pytest.raises(Mistake, match="Compared with central differences"):
        check_backward(PAIR[0], minus, torch_ops.softmax, (others(),))


def test_what_is_on_file_sees_a_mistake_in_the_forward(no_torch):
    with pytest.raises(Mistake, match="out is wrong"):
        check_backward(twice, PAIR[1], torch_ops.softmax, (on_file(),))


def test_arrays_that_differ_in_the_last_digits_are_the_same(no_torch):
    x = on_file() * (1 + 1e-9)
    assert "on file" in str(check_backward(*PAIR, torch_ops.softmax, (x,)))
    x = on_file() * (1 + 1e-5)
    assert "central" in str(check_backward(*PAIR, torch_ops.softmax, (x,)))


def test_another_torch_op_has_another_answer(no_torch):
    def other(x):
        return torch_ops.softmax(x)

    assert "central" in str(check_backward(*PAIR, other, (on_file(),)))
    assert torch_answers.label_of(other) == (
        "def other(x):\n    return torch_ops.softmax(x)"
    )


def test_settings_count(no_torch):
    op = "scaled_dot_product_attention"
    pair = getattr(attention, op), getattr(attention, f"{op}_backward")
    q, k, v = np.random.default_rng(4).normal(size=(3, 2, 3, 5, 4))
    masks = {"on file": attention.causal_mask(5), "central": np.ones((5, 5))}
    for reference, mask in masks.items():
        settings = {"mask": mask.astype(bool)}
        given = getattr(torch_ops, op), (q, k, v)
        assert reference in str(check_backward(*pair, *given, **settings))


def test_try_backward_names_it(no_torch, capsys):
    try_backward(*PAIR, torch_ops.softmax, (others(),))
    assert capsys.readouterr().out == "matches central differences: dx\n"


def test_optimizers_go_by_the_shelf_where_nothing_is_on_file(no_torch):
    def said(**settings):
        return str(check_optimizer(training.Adam, torch_ops.Adam, **settings))

    assert re.match(r"Adam matches torch [\d.]+ on file after", said(lr=0.01))
    assert said(lr=0.02).startswith("Adam matches the shelf after 10 steps")
