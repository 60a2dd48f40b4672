"""Check what the cells of a notebook cannot show about themselves."""

import ast
import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
from lesson_table import measure

from helpers.checks import definitions

ROOT = Path(__file__).resolve().parent.parent

LESSONS = {  # in their order: the notebook and the module it builds
    "01_causal_mask": "attention",
    "02_embeddings": "embeddings",
    "03_transformer_block": "transformer_block",
    "04_language_model": "language_model",
    "05_tinystories": "tinystories",
    "06_training": "training",
    "07_generation": "generation",
    "A1_digit_operations": "digit_operations",
    "A2_experiments": "experiments",
    "A3_scale": "scale",
    "A4_llama": "llama",
    "A5_assistant": "assistant",
}
ORDER = list(LESSONS.values())
pytestmark = pytest.mark.quick
NOTEBOOKS = {p.stem: p for p in sorted(ROOT.glob("notebooks/*.ipynb"))}
HELPERS = ROOT / "helpers"
MODULES = {  # dotted names under helpers, such as "runs.files"
    ".".join(path.relative_to(HELPERS).with_suffix("").parts): (
        path.read_text("utf-8")
    )
    for path in sorted(HELPERS.rglob("*.py"))
}

every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)
every_lesson = pytest.mark.parametrize(
    "name", [name for name in LESSONS if name in NOTEBOOKS]
)
every_numbered_lesson = pytest.mark.parametrize(
    "name", [name for name in LESSONS if name[0] == "0"]
)
MACHINE_PATH = r"(?<![\w.])/(home|root|tmp|work|Users|usr|opt)/|:\\Users"


@cache
def read(name):
    return nbformat.read(NOTEBOOKS[name], as_version=4)


def code_of(name):
    """Return the source of each code cell, magics left out."""
    cells = [c for c in read(name).cells if c.cell_type == "code"]
    return [re.sub(r"(?m)^[%!].*$", "", cell.source) for cell in cells]


@cache
def imports(source, anywhere=True):
    """Return the dotted names that a source imports: anywhere, or at once."""
    tree, names = ast.parse(source), set()
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            names.update(f"{node.module}.{a.name}" for a in node.names)
    return names


def helpers_in(source):
    """Return the lesson modules that a source imports."""
    return {m for m in ORDER if f"helpers.{m}" in imports(source)}


def built_in(name):
    """Return {name: source} of what the cells of a notebook define last."""
    found = {}
    for source in code_of(name):
        found |= definitions(source)
    return found


# every notebook as a file


@every_notebook
def test_valid_with_unique_cell_ids(name):
    notebook = json.loads(NOTEBOOKS[name].read_text("utf-8"))
    ids = [cell.get("id") for cell in notebook["cells"]]
    assert all(ids) and len(set(ids)) == len(ids)  # nbformat mends these
    nbformat.validate(notebook)


@every_notebook
def test_run_from_top_to_bottom(name):
    cells = [c for c in read(name).cells if c.cell_type == "code"]
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(1, len(cells) + 1)), "run `make run`"
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]


@every_notebook
def test_metadata(name):
    metadata = read(name).metadata
    assert metadata.kernelspec.name == "python3"
    assert "widgets" not in metadata


@every_notebook
def test_size(name):
    assert NOTEBOOKS[name].stat().st_size < 500_000


@every_notebook
def test_no_machine_path(name):
    for cell in read(name).cells:
        shown = [cell.source]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            shown += [data[kind] for kind in data if kind.startswith("text/")]
            shown.append(output.get("text", ""))
        assert not re.search(MACHINE_PATH, "\n".join(shown)), cell.source


@every_notebook
def test_formulas_are_not_escaped_twice(name):
    for cell in read(name).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\\\\[a-zA-Z]|[\t\f\b]", cell.source)


@every_notebook
def test_cells_are_short(name):
    for source in code_of(name):
        assert len(source.splitlines()) <= 25, source


@every_notebook
def test_every_picture_has_words(name):
    for cell in read(name).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                assert output.metadata["image/png"]["alt"], cell.source


@every_notebook
def test_what_is_to_be_predicted_is_out_of_sight(name):
    for cell in read(name).cells:
        if "predict" in cell.metadata.get("tags", []):
            assert cell.metadata.jupyter.outputs_hidden, cell.source


@every_numbered_lesson
def test_a_lesson_shows_more_than_it_judges(name):
    row = measure(NOTEBOOKS[name])
    assert row["words"] <= 3000 and row["whys"] >= 2, row
    assert row["drawings"] >= 5 and row["predictions"] >= 5, row
    assert 2 <= row["sliders"] <= 3, row
    assert row["shown"] >= 2 * row["verdicts"], row


@every_lesson
def test_number_of_cells(name):
    most = 60 if name == "06_training" else 70
    assert 45 <= len(read(name).cells) <= most


@every_numbered_lesson
def test_set_up_is_short(name):
    set_up = next(c for c in read(name).cells if c.cell_type == "code")
    assert "import numpy as np" in set_up.source
    lines = set_up.source.splitlines()
    assert len([line for line in lines if line[:1] != "#"]) <= 8


@every_numbered_lesson
def test_calls_have_no_literal_star(name):
    """f(*(a, b)) is f(a, b), and only saves a line."""
    nodes = ast.walk(ast.parse("\n".join(code_of(name))))
    for call in [node for node in nodes if isinstance(node, ast.Call)]:
        for argument in call.args:
            if isinstance(argument, ast.Starred):
                literal = isinstance(argument.value, ast.Tuple | ast.List)
                assert not literal, ast.unparse(call)


# one notebook, one module


@every_lesson
def test_builds_all_of_its_module(name):
    built, shelf = built_in(name), definitions(MODULES[LESSONS[name]])
    for thing, source in shelf.items():
        assert built.get(thing) == source, f"{thing} is not as on the shelf"


@every_notebook
def test_builds_nothing_of_another_module(name):
    own = LESSONS.get(name)  # may have a name that another has: evaluate
    built = set(built_in(name)) - set(definitions(MODULES.get(own, "")))
    for cell in read(name).cells:  # A4 builds what exercises asked for
        if "exercise" in cell.metadata.get("tags", []):
            built -= set(definitions(cell.source))
    for module in set(ORDER) - {own}:
        assert not set(definitions(MODULES[module])) & built


@every_lesson
def test_ends_by_comparing_with_the_shelf(name):
    call = f'compare_with_shelf("{LESSONS[name]}")'
    assert any(call in cell.source for cell in read(name).cells[-5:])


@pytest.mark.parametrize("module", ORDER)
def test_star_import_brings_all_that_a_lesson_built(module):
    names = []
    for node in ast.parse(MODULES[module]).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [t.id for t in node.targets if isinstance(t, ast.Name)]
    if "__all__" in names:
        public = {name for name in names if name[0] != "_"}
        listed = importlib.import_module(f"helpers.{module}").__all__
        assert len(listed) == len(set(listed)) and set(listed) == public


@every_lesson
def test_notebook_imports_only_earlier_modules(name):
    later = set(ORDER[ORDER.index(LESSONS[name]) :])
    assert not later & helpers_in("\n".join(code_of(name)))


@pytest.mark.parametrize("module", ORDER)
def test_module_imports_only_earlier_modules(module):
    later = set(ORDER[ORDER.index(module) :])
    assert not later & helpers_in(MODULES[module])


# the house


def test_the_shelf_holds_the_lessons_and_its_folders():
    found = {path.name for path in HELPERS.iterdir()} - {"__pycache__"}
    lessons = {f"{module}.py" for module in ORDER}
    folders = {"checks", "lab", "panel", "pictures", "pretrained", "runs"}
    folders |= {"classes", "stories"}
    assert found == lessons | folders | {"__init__.py", "__main__.py"}


def test_no_module_imports_itself_on_its_way():
    """Follow the imports at the top of each module; look for circles."""

    def follow(module, way=()):
        assert module not in way, " -> ".join([*way, module])
        for name in imports(MODULES[module], anywhere=False):
            name = name.removeprefix("helpers.")
            for other in {name, f"{name}.__init__"} & set(MODULES):
                if not module.startswith(f"{name}."):
                    follow(other, (*way, module))

    for module in MODULES:
        follow(module)


# torch


def test_only_checks_know_torch():
    for module, source in MODULES.items():
        if not module.startswith("checks."):
            roots = {name.partition(".")[0] for name in imports(source)}
            assert "torch" not in roots, module


@every_lesson
def test_torch_is_imported_last(name):
    """Where it is missing, all that came before in the cell is there."""
    for source in code_of(name):
        _, found, rest = source.partition("\nimport torch")
        assert not found or "import" not in rest.replace("import torch", "")


def test_lessons_need_neither_torch_nor_datasets_nor_widgets():
    code = "import sys; sys.modules.update(torch=None, datasets=None)\n"
    code += "sys.modules.update(ipywidgets=None, anywidget=None)\nimport "
    code += ", ".join(f"helpers.{module}" for module in ORDER)
    code += ", helpers.checks.torch_ops"  # loads torch when it is called
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_set_up_needs_neither_torch_nor_datasets():
    """Which take seconds to load, if they are there."""
    code = "import sys; sys.modules.update(torch=None, datasets=None)\n"
    for name in LESSONS:
        code += f"exec({code_of(name)[0]!r}, {{}})\n"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# lesson 06


def test_training_is_seen_plain():
    """A short lesson, a loop of few lines, and the model's own words."""
    code = [c for c in read("06_training").cells if c.cell_type == "code"]
    assert sum(len(cell.source.splitlines()) for cell in code) <= 420
    (cell,) = [c for c in code if "in train_steps(run, draw, " in c.source]
    loop = cell.source[cell.source.index("for loss") :]
    assert len(loop.splitlines()) <= 12
    story = code[-2]  # before the comparison with the shelf
    assert "write(run" in story.source
    assert len(story.outputs[0].text.split()) > 20
