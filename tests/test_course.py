"""What a class gets: no line of a solution in it, and a day's work goes."""

import ast
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from helpers.checks import cells, exercises, shelf
from helpers.checks.exercises import find
from helpers.classes import course
from helpers.lab import jobs

SHORT = 12  # nodes: what is shorter, as B, T, C = x.shape, tells nothing
ELSEWHERE = {  # what a given function, or torch's, says as well
    "n_bytes = sum((len(story.encode('utf-8')) for story in stories))",
    "q, k, v = split_groups(qkv, n_heads, x.shape[-1] // n_heads)",
    "G = (parts.shape[1] - n_heads) // 2",
}
FILLED = "01_causal_mask.ipynb"
PLUGINS = ("nbval", "xdist", "xdist.looponfail")  # not in a course
TESTS = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests"]
TESTS += [word for name in PLUGINS for word in ("-p", f"no:{name}")]


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    """Write a course once."""
    to = tmp_path_factory.mktemp("course") / "workbook"
    course.write_course(to, "2027-spring")
    return to


def statements(source):
    """Return {text of its tree: source} of the longer statements."""
    found = {}
    for node in shelf.parse(source):
        for part in ast.walk(node):
            names = ast.FunctionDef | ast.ClassDef
            if isinstance(part, ast.stmt) and not isinstance(part, names):
                load = ast.Load | ast.Store
                size = sum(not isinstance(p, load) for p in ast.walk(part))
                if size >= SHORT:
                    found[ast.dump(part)] = ast.unparse(part)
    return found


def code_in(markdown):
    """Return the Python in a markdown cell."""
    return "\n".join(re.findall(r"```python\n(.*?)```", markdown, re.DOTALL))


@cache
def solutions():
    """Return the statements of all that a learner writes."""
    found = {}
    for lesson in find([]):
        for cell in cells.read_lesson(lesson).cells:
            if cells.has_tag(cell, "blank"):
                nodes = cells.functions(cell.source)
                for name in cells.blanks_of(cell):
                    found |= statements(ast.unparse(nodes[name]))
            elif "<summary>Solution</summary>" in cell.source:
                text = cell.source.partition("<summary>Solution</summary>")[2]
                found |= statements(code_in(text))
    return found


def sources_in(folder):
    """Yield (path, source) of all Python in a folder."""
    for path in folder.rglob("*.py"):
        yield path, path.read_text("utf-8")
    for path in folder.rglob("*.ipynb"):
        for cell in cells.read_lesson(path).cells:
            is_code = cell.cell_type == "code"
            yield path, cell.source if is_code else code_in(cell.source)


def test_no_line_of_a_solution_is_handed_out(handed_out):
    assert len(solutions()) > 300
    told = [
        f"{path.relative_to(handed_out)}: {line}"
        for path, source in sources_in(handed_out)
        for tree, line in statements(source).items()
        if tree in solutions() and line not in ELSEWHERE
    ]
    assert not told, "\n".join(told)


def test_the_search_for_solutions_finds_one():
    source = Path(course.ROOT, "helpers", "attention.py").read_text("utf-8")
    assert len(statements(source).keys() & solutions().keys()) > 10


def test_hints_stay_and_solutions_go(handed_out):
    text = (handed_out / "exercises" / FILLED).read_text("utf-8")
    assert text.count("<summary>Hint") > 10
    assert "<summary>Solution" not in text and "gpt.py)" not in text
    assert not (handed_out / "notebooks" / "gpt.py").exists()
    assert not (handed_out / "helpers" / "classes").exists()
    assert len(list((handed_out / "exercises").glob("*.ipynb"))) == len(
        find([])
    )


def test_links_lead_somewhere(handed_out):
    lost = []
    for path in [*handed_out.glob("*.md"), *handed_out.glob("e*/*.ipynb")]:
        text = path.read_text("utf-8")
        if path.suffix == ".ipynb":
            parts = [c["source"] for c in json.loads(text)["cells"]]
            text = "\n".join("".join(part) for part in parts)
        for target in re.findall(r"\]\(([\w/.-]+\.\w+)\)", text):
            if not (path.parent / target).exists():
                lost.append(f"{path.name}: {target}")
    assert not lost, "\n".join(sorted(set(lost)))


def test_another_term_has_other_numbers(handed_out, tmp_path):
    course.write_course(tmp_path / "fall", "2027-fall")
    one, other = (
        (folder / "helpers/checks/cases/__init__.py").read_text("utf-8")
        for folder in (handed_out, tmp_path / "fall")
    )
    seed = re.compile(r"^SEED = (\d+)", re.MULTILINE)
    assert seed.search(one)[1] != seed.search(other)[1] != "0"
    lesson = f"notebooks/{FILLED}"
    same = (tmp_path / "fall" / lesson, handed_out / lesson)
    assert same[0].read_bytes() == same[1].read_bytes()


def test_nothing_is_written_over(handed_out, capsys):
    assert jobs.run("course", [str(handed_out)]) == 2
    assert "is not empty" in capsys.readouterr().err


# a student's day


def ask(folder, *words):
    """Return what a command in the folder of a course prints."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME")}
    found = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(folder), "WORKBOOK_DATA": "grammar"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return found.stdout + found.stderr


def fill_in(folder, ids):
    """Write what the lesson has into some blanks of the copy of 01."""
    path = folder / "exercises" / FILLED
    notebook = json.loads(path.read_text("utf-8"))
    solved = cells.read_lesson(exercises.LESSONS / FILLED).cells
    source = {cell.id: cell.source for cell in solved}
    for cell in notebook["cells"]:
        if "blank" in cell["metadata"].get("tags", []) and (
            ids == "all" or f"def {ids}(" in source[cell["id"]]
        ):
            cell["source"] = source[cell["id"]]
    path.write_text(json.dumps(notebook), "utf-8")


@pytest.mark.slow
def test_a_day_of_a_student(handed_out):
    said = ask(handed_out, *TESTS)
    assert "skipped" in said or "SKIPPED" in said
    assert "failed" not in said and "error" not in said.lower()
    fill_in(handed_out, "softmax")
    progress = "-m", "helpers.checks.exercises", "progress", "01"
    said = ask(handed_out, *progress)
    assert re.search(r"softmax +right\n", said), said
    assert "write softmax_backward" in said
    assert "1 of 16 right, 15 blank" in said
    fill_in(handed_out, "all")
    said = ask(handed_out, *progress)
    assert "12 of 16 right, 4 blank" in said, said
    code = "from helpers.checks.mine import use_my_functions as use; use('02')"
    code += "; from helpers.attention import causal_mask as m; print(m(2))"
    said = ask(handed_out, "-c", code)
    assert "01: 12 of 12 of your own" in said, said
    assert "[[ True False]" in said


@pytest.mark.slow
def test_a_wrong_function_is_told_in_the_course(handed_out):
    path = handed_out / "exercises" / FILLED
    text = path.read_text("utf-8")
    wrong = text.replace("axis=-1, keepdims=True)", "axis=-1)")
    path.write_text(wrong, "utf-8")
    said = ask(handed_out, *TESTS)
    path.write_text(text, "utf-8")
    assert "FFss" in said and "softmax with" in said, said
