"""A learner's own functions in place of the shelf's: use_my_functions."""

import ast
import inspect
import os
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell

from helpers import attention, training, transformer_block
from helpers.checks import exercises, mine, table
from helpers.checks.cells import blanks_of, code_cells, functions, has_tag
from helpers.language_model import TINY, init_params, loss_and_grads

FIRST = exercises.find(["01", "02", "03"])
COUNTS = "from collections import Counter\n\nCOUNTS = Counter()"
SOFTMAX = """
def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True), {"e": e}


check(softmax)"""
CACHE = "(q, k, v, weights, scale)"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Write copies of three lessons whose functions count their calls."""
    folder = tmp_path_factory.mktemp("exercises")
    for path in FIRST:
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.insert(0, new_code_cell(COUNTS))
        for cell in code_cells(notebook):
            if has_tag(cell, "blank"):
                for name in reversed(blanks_of(cell)):
                    cell.source = counting(cell.source, name)
        nbformat.write(notebook, folder / path.name)
    return folder


def counting(source, name):
    """Return a source whose function counts that it was called."""
    lines, node = source.splitlines(), functions(source)[name]
    first = node.body[bool(ast.get_docstring(node)) :][0]
    indent = " " * first.col_offset
    lines.insert(first.lineno - 1, f'{indent}COUNTS["{name}"] += 1')
    return "\n".join(lines)


@pytest.fixture
def copies(filled, tmp_path):
    """Return a folder of copies, and take what they put on the shelf off."""
    yield shutil.copytree(filled, tmp_path / "exercises")
    mine.put_back()


def edit(folder, lesson, name, source):
    """Replace a function of a copy; a source may hold others as well."""
    (path,) = folder.glob(f"{lesson}*")
    notebook = nbformat.read(path, as_version=4)
    cells = [c for c in code_cells(notebook) if name in functions(c.source)]
    cells[-1].source = source
    nbformat.write(notebook, path)


def use(folder, before, capsys):
    """Return what use_my_functions prints, a line a lesson."""
    capsys.readouterr()
    mine.use_my_functions(before, folder=folder)
    return capsys.readouterr().out.splitlines()


def step():
    """Return the loss and gradients of a small model."""
    params = init_params(TINY, np.random.default_rng(0), np.float64)
    ids = np.arange(12).reshape(2, 6) % TINY.vocab_size
    return loss_and_grads(ids, ids, params, TINY)


def test_later_lessons_call_what_the_learner_wrote(copies, capsys):
    before, forward = step(), transformer_block.ACTIVATIONS["gelu"][0]
    said = use(copies, "04", capsys)
    for line in said:
        _, taken, _, count, *rest = line.split()
        assert taken == count and " ".join(rest) == "of your own"
    assert [line[:3] for line in said] == ["01:", "02:", "03:"]
    after = step()
    assert after[0] == before[0]
    calls = attention.COUNTS + transformer_block.COUNTS
    asked = {"softmax", "softmax_backward", "layer_norm", "gelu", "residual"}
    assert asked <= {*calls} and calls["softmax"] >= TINY.n_layers
    assert forward is transformer_block.ACTIVATIONS["gelu"][0]
    mine.put_back()
    assert not hasattr(attention, "COUNTS") and step()[0] == before[0]


def test_what_is_not_right_is_left_and_named(copies, capsys):
    name = "softmax_backward"
    edit(copies, "01", name, f"def {name}(dout, cache):\n    return dout")
    blank = 'def layer_norm(x, w, b):\n    raise NotImplementedError("write")'
    edit(copies, "03", "layer_norm", blank)
    (copies / FIRST[1].name).unlink()
    first, second, third = use(copies, "04", capsys)
    assert first.endswith(" of your own; not right yet: softmax_backward")
    assert second.startswith("02: none of your own (not begun: ")
    assert "; blank: layer_norm" in third
    step()
    assert attention.COUNTS["softmax"]
    assert not attention.COUNTS["softmax_backward"]


def test_a_cache_that_others_read_in_another_form(copies, capsys):
    name = "scaled_dot_product_attention"
    source = inspect.getsource(vars(attention)[name])
    edit(copies, "01", name, source.replace(CACHE, f'{{"all": {CACHE}}}'))
    source = inspect.getsource(vars(attention)[f"{name}_backward"])
    source = source.replace("= cache", '= cache["all"]')
    edit(copies, "01", f"{name}_backward", source)
    (line,) = use(copies, "02", capsys)
    assert f"of another form than what calls it: {name}, {name}_ba" in line
    step()
    assert attention.COUNTS["softmax"]


def test_a_method_and_a_default_are_the_learners(tmp_path, capsys):
    path = exercises.find(["06"])[0]
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        for name in {"SGD.step", "train_step"} & functions(cell.source).keys():
            cell.source = counting(cell.source, name)
    notebook.cells.insert(0, new_code_cell(COUNTS))
    nbformat.write(notebook, tmp_path / path.name)
    try:
        said = use(tmp_path, "07", capsys)[-1]
        assert said.startswith("06: ") and said.endswith(" of your own")
        optimizer = training.SGD({"a": np.ones(2)}, lr=1.0)
        training.COUNTS.clear()  # of the checks
        optimizer.step({"a": np.ones(2)})
        assert not optimizer.params["a"].any()
        assert training.COUNTS == {"SGD.step": 1}
    finally:
        mine.put_back()


def test_the_first_cell_of_a_copy_has_the_switch():
    source = exercises.to_exercise(FIRST[2], ".").cells[2].source
    namespace = {}
    assert '\n# use_my_functions(before="03")\n' in source
    exec(source.split("\nshow")[0], namespace)
    assert namespace["use_my_functions"] is mine.use_my_functions
    assert "mine" not in exercises.to_exercise(FIRST[0], ".").cells[2].source


KERNEL = """
import sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
from helpers.checks import exercises
for cell in sys.argv[2:]:
    shell.run_cell(cell)
exercises.show_progress("01_causal_mask", folder=Path(sys.argv[1]))
"""
SET_UP = """
import numpy as np
from helpers.checks import check, compare_with_shelf
from helpers.runs.doors import checked"""
MASK = "def causal_mask(T):\n    return np.tri(T, dtype=bool)"


def in_kernel(folder, *cells):
    """Return what cells and then the table print, in a new IPython."""
    run = [sys.executable, "-c", KERNEL, folder, SET_UP, *cells]
    own = os.environ | {"IPYTHONDIR": f"{folder}/ipython"}
    said = subprocess.run(run, capture_output=True, text=True, env=own)
    assert not said.stderr
    return said.stdout


def test_the_table_knows_what_its_kernel_knows(tmp_path):
    notebook = exercises.to_exercise(FIRST[0], ".")
    nbformat.write(notebook, tmp_path / FIRST[0].name)
    wrong = MASK.replace("np.tri(T, dtype", "np.ones((T, T), dtype")
    left = MASK.replace("    ", "    raise NotImplementedError\n    ")
    mistyped = f"def linear(x:\n    return x\n\n\n{MASK}"
    for cells, word, cause in (
        ([MASK], "right", None),
        ([MASK + "\n\n\ncheck(causal_mask)", wrong], "wrong", "causal_mask w"),
        ([wrong, MASK], "right", None),
        ([left], "wrong", "causal_mask: it still says raise NotImplemented"),
        ([MASK, mistyped], "right", "linear: it is not Python: line 1: '(' w"),
    ):
        said = in_kernel(tmp_path, SOFTMAX, *cells)
        shown = said.partition("01_causal_mask: as this kernel has it")[2]
        rows = dict(line.split()[:2] for line in shown.splitlines()[1:13])
        assert rows["softmax"] == "right"
        assert rows["causal_mask"] == word
        assert rows["mask_scores"] == "blank"
        assert cause is None or cause in shown
    assert "1 of 12 right" not in said and "2 of" in said


def test_the_last_cell_says_right_in_other_words(tmp_path):
    wrong = "def merge_heads(x):\n    return x, x"
    last = 'compare_with_shelf("attention")'
    said = in_kernel(tmp_path, SOFTMAX, MASK, wrong, last)
    for line in (
        "softmax: right, in other words than helpers/attention.py",
        "causal_mask: right, in other words than helpers/attention.py",
        "merge_heads: differs from helpers/attention.py",
        "linear: not defined here, see helpers/attention.py",
    ):
        assert line in said.splitlines()


def test_a_long_cause_ends_with_a_word():
    cause = "axes 1 and 2 have changed places " * 20
    line = exercises.one_line(cause)
    assert line.endswith(" …") and len(line) <= 200
    assert cause.startswith(line[:-2]) and line[-3] in "s12d"
    assert len(exercises.one_line("x" * 500)) <= 200


def test_rows_fit_a_terminal(capsys):
    states = {
        "scaled_dot_product_attention_backward": table.State(
            "wrong", "dq is wrong by 0.5 of its size, worst at index 0. " * 4
        ),
        "softmax": table.WRITTEN,
    }
    table.print_table("01_causal_mask", "runs to its end", states)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 79
    assert "    0 of 2 right, 1 wrong, 1 written" in lines
    assert "    (written: no check has looked at it since it was w" in lines[4]
