"""notebooks/gpt.py: one page, and equal to the shelf."""

import ast
import copy
import json
import re
import subprocess
import sys
import types
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from helpers import training
from helpers.language_model import ModelConfig, init_params, loss_and_grads
from helpers.runs.params import map_arrays, named_arrays

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "notebooks" / "gpt.py"
SOURCE = PATH.read_text("utf-8")
LINES = SOURCE.splitlines()
HEADING = re.compile(r"# (\d\d) · (.+?) -+")
LESSONS = {p.name[:2]: p for p in sorted(PATH.parent.glob("0*.ipynb"))}

pytestmark = pytest.mark.quick

# B * T is odd, no size is 2 or the root of D; S is the longest sequence
Sizes = namedtuple("Sizes", "B T C H F V L S")
SIZES = [
    Sizes(B=3, T=5, C=12, H=4, F=7, V=11, L=1, S=5),
    Sizes(B=1, T=9, C=15, H=5, F=8, V=6, L=3, S=13),
    Sizes(B=7, T=1, C=10, H=1, F=21, V=17, L=4, S=3),
]
every_size = pytest.mark.parametrize("sizes", SIZES)


def load(source=SOURCE):
    """Return the page as a module."""
    page = types.ModuleType("gpt")
    exec(compile(source, PATH, "exec"), page.__dict__)
    return page


PAGE = load()


def config_of(sizes):
    return ModelConfig(
        vocab_size=sizes.V,
        max_seq_len=sizes.S,
        d_model=sizes.C,
        n_heads=sizes.H,
        n_layers=sizes.L,
        d_ff=sizes.F,
    )


def example(sizes, dtype=np.float64):
    """Return a batch, and parameters away from where they start."""
    rng = np.random.default_rng(0)
    params = map_arrays(
        lambda a: (a + rng.normal(0, 0.3, a.shape)).astype(dtype),
        init_params(config_of(sizes), rng),
    )
    ids = rng.integers(sizes.V, size=(sizes.B, sizes.T))
    targets = rng.integers(sizes.V, size=(sizes.B, sizes.T))
    return ids, targets, params


def largest_gap(got, expected):
    """Return the largest |got - expected| of two trees, relative to both."""
    got, expected = named_arrays(got), named_arrays(expected)
    assert set(got) == set(expected)
    for name in expected:
        assert got[name].shape == expected[name].shape, name
    return max(
        np.abs(got[name] - wanted).max() / max(np.abs(wanted).max(), 1e-3)
        for name, wanted in expected.items()
    )


def gradient_gap(page, sizes):
    """Return how far loss and gradients are from the shelf's."""
    ids, targets, params = example(sizes)
    loss, grads = page.loss_and_grads(ids, targets, params, sizes.H)
    shelf = loss_and_grads(ids, targets, params, config_of(sizes))
    return max(abs(loss - shelf[0]), largest_gap(grads, shelf[1]))


def step_gap(page, sizes, size_of_grads=1.0):
    """Return how far parameters are from the shelf's after three steps.

    Both get the same gradients: where one is zero but for rounding, as that
    of the keys' bias, Adam makes a whole step of what is left.
    """
    _, _, params = example(sizes)
    twin, rng = copy.deepcopy(params), np.random.default_rng(1)
    moments = [np.zeros((2, *a.shape)) for a in page.leaves(params)]
    optimizer = training.AdamW(twin, betas=(0.9, 0.95), weight_decay=0.1)
    for t in range(1, 4):
        grads = map_arrays(
            lambda a: rng.normal(0, size_of_grads, a.shape), params
        )
        page.adamw(
            page.leaves(params),
            page.leaves(copy.deepcopy(grads)),
            moments,
            t,
            lr=0.01 * t,
        )
        norm = training.clip_grad_norm(grads, 1.0)
        assert (norm > 1) == (size_of_grads == 1.0)
        optimizer.lr = 0.01 * t
        optimizer.step(grads)
    return largest_gap(params, twin)


# equal to the shelf


@every_size
def test_loss_and_gradients_are_the_shelfs(sizes):
    assert gradient_gap(PAGE, sizes) < 1e-12


@every_size
@pytest.mark.parametrize("size_of_grads", [1.0, 1e-3])
def test_three_steps_of_adamw_are_the_shelfs(sizes, size_of_grads):
    assert step_gap(PAGE, sizes, size_of_grads) < 1e-12


MUTANTS = """\
tied gradient    | dtokens += np.tensordot         | np.tensordot
a repeated id    | np.add.at(dtokens, ids, dx)     | dtokens[ids] += dx
no mask          | np.where(np.tri(T), scores      | np.where(True, scores
no scale         | dscores @ k / D**0.5            | dscores @ k
heads            | transpose(1, 3, 0, 2, 4)        | transpose(1, 0, 3, 2, 4)
residual         | return dx + dout                | return dx
layer norm       | dx -= normed *                  | dx += normed *
gelu             | 3 * 0.044715                    | 2 * 0.044715
mean             | / targets.size                  | / len(targets)
order of blocks  | .insert(0, block_grads)         | .append(block_grads)
no clipping      | grad /= max(norm, 1.0)          | pass
biases decay     | (array.ndim == 2)               | 1
betas            | (1 - 0.95**t)                   | (1 - 0.9**t)
eps              | 1e-8                            | 1e-4
"""


@pytest.mark.parametrize(
    "row", MUTANTS.splitlines(), ids=lambda row: row.partition("  ")[0]
)
def test_mutant_is_caught(row):
    _, right, wrong = (part.strip() for part in row.split(" | "))
    assert SOURCE.count(right) == 1, right
    page = load(SOURCE.replace(right, wrong))
    gaps = [gradient_gap(page, sizes) for sizes in SIZES]
    gaps += [step_gap(page, sizes) for sizes in SIZES]
    assert not max(gaps) < 1e-6


def test_float32_stays_float32():
    ids, targets, params = example(SIZES[0], np.float32)
    logits, _ = PAGE.language_model(ids, params, SIZES[0].H)
    loss, grads = PAGE.loss_and_grads(ids, targets, params, SIZES[0].H)
    arrays = PAGE.leaves(params)
    moments = [np.zeros((2, *a.shape), a.dtype) for a in arrays]
    PAGE.adamw(arrays, PAGE.leaves(grads), moments, 1, 0.01)
    made = [logits, loss, *PAGE.leaves(grads), *arrays, *moments]
    assert {array.dtype for array in made} == {np.dtype(np.float32)}


def test_starts_as_the_shelf_does():
    sizes = Sizes(B=1, T=1, C=80, H=1, F=160, V=1100, L=3, S=90)
    rng = np.random.default_rng(0)
    params = PAGE.init_params(1100, 90, 80, 160, 3, rng)
    config = config_of(sizes)
    shelf = named_arrays(init_params(config, np.random.default_rng(1)))
    assert set(shelf) == set(named_arrays(params))
    for name, array in named_arrays(params).items():
        assert array.dtype == np.float32 and array.shape == shelf[name].shape
        assert np.isclose(array.std(), shelf[name].std(), rtol=0.05), name
        assert np.isclose(array.mean(), shelf[name].mean(), atol=1e-3), name


# a page


def test_fits_a_page():
    assert len(LINES) <= 200
    assert max(map(len, LINES)) <= 79


def test_needs_numpy_only():
    nodes = ast.parse(SOURCE).body
    names = {
        alias.name.partition(".")[0]
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names - set(sys.stdlib_module_names) == {"numpy"}


def sections():
    """Return {number of the lesson: (title, first line, last line)}."""
    starts = [n for n, line in enumerate(LINES, 1) if HEADING.fullmatch(line)]
    found = {}
    for first, after in zip(starts, [*starts[1:], len(LINES) + 1]):
        number, title = HEADING.fullmatch(LINES[first - 1]).groups()
        last = after - 1
        while not LINES[last - 1].strip():
            last -= 1
        found[number] = (title, first, last)
    return found


def first_cells(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells[:3]]


def test_a_section_for_every_lesson():
    assert list(sections()) == list(LESSONS)
    for number, (title, _, _) in sections().items():
        opening = first_cells(LESSONS[number])[0].splitlines()[0]
        assert opening == f"# {number} · {title}"


@pytest.mark.parametrize("number", LESSONS)
def test_the_lesson_names_its_lines(number):
    """Find the row `| In [gpt.py](gpt.py) | lines 8–42 |` of its header."""
    table = "\n".join(first_cells(LESSONS[number]))
    row = re.search(r"(?m)^\| In .*gpt\.py.*\| lines (\d+)–(\d+)", table)
    assert row, "the header table has no row for gpt.py"
    assert tuple(map(int, row.groups())) == sections()[number][1:]


# a script


def run_page(folder, code, *words):
    """Run the page with few steps elsewhere; return what it prints."""
    source = SOURCE
    for long, short in [("steps=3000", "steps=60"), ("t % 200", "t % 20")]:
        assert source.count(long) == 1
        source = source.replace(long, short)
    (folder / "gpt.py").write_text(source, "utf-8")
    words = [sys.executable, "-c", code, *map(str, words)]
    result = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, encoding="utf-8"
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("file", [True, False], ids=["file", "grammar"])
def test_trains_and_writes(tmp_path, file):
    code = "import runpy, sys; "
    code += "sys.modules['helpers'] = None; " if file else ""
    code += "runpy.run_path('gpt.py', run_name='__main__')"
    words = [ROOT / "tests" / "stories.txt"] if file else []
    printed = run_page(tmp_path, code, *words)
    said = re.findall(r"step +\d+  loss (\d\.\d+) nats per letter\n", printed)
    losses = [float(number) for number in said]
    assert len(losses) == 3 and losses[0] > losses[-1]
    assert len(printed.splitlines()) > 3  # and then what it wrote
