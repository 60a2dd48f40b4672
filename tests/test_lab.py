"""What a learner begins with: copies, the start page, jobs without make."""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from helpers import __main__ as cli
from helpers import attention
from helpers.checks import (
    check,
    exercises,
    stops,
    torch_answers,
    try_value,
    verdicts,
)
from helpers.checks.exercises import find, keep_result, write_exercises
from helpers.lab import copies, home, jobs, start
from helpers.lab.server import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
LESSON, OTHER = "01_causal_mask.ipynb", "02_embeddings.ipynb"


@pytest.fixture
def lessons(tmp_path):
    """Return a folder with two short lessons and a page."""
    folder = tmp_path / "notebooks"
    (folder / "figures").mkdir(parents=True)
    for name in (LESSON, OTHER):
        write(folder / name, "x = 1", "y = 2")
    (folder / "NOTATION.md").write_text("words")
    (folder / "figures" / "model.svg").write_text("<svg/>")
    return folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lessons"


def write(path, *sources, output=None):
    """Write a notebook of these code cells, the last with an output."""
    cells = [
        nbformat.v4.new_code_cell(source, id=f"c{i}")
        for i, source in enumerate(sources)
    ]
    if output:
        cells[-1].outputs = [nbformat.v4.new_output("stream", text=output)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def sources(path):
    return [cell.source for cell in nbformat.read(path, 4).cells]


def test_copies_are_as_the_originals(lessons, folder):
    copies.write_copies(lessons=lessons, folder=folder)
    names = {LESSON, OTHER, "NOTATION.md", "figures/model.svg"}
    assert set(copies.find_originals(folder)) == names
    for name in names:
        assert (folder / name).read_bytes() == (lessons / name).read_bytes()


def test_a_copy_follows_its_original_until_it_is_edited(
    lessons, folder, capsys
):
    two = {"lessons": lessons, "folder": folder}
    copies.write_copies(**two)
    write(folder / LESSON, "x = 1", "y = 2", output="2")  # run, not edited
    write(folder / OTHER, "x = 1", "y = 3")
    copies.write_copies(**two)
    assert "output_type" in (folder / LESSON).read_text()
    assert capsys.readouterr().out == ""
    for name in (LESSON, OTHER):
        write(lessons / name, "x = 1", "z = 4")
    copies.write_copies(**two)
    assert sources(folder / LESSON) == ["x = 1", "z = 4"]
    assert sources(folder / OTHER) == ["x = 1", "y = 3"]
    said = capsys.readouterr().out
    assert said.startswith("lessons/02_embeddings.ipynb: kept as you changed")
    assert said.count("\n") == 1


def test_one_command_restores_and_loses_nothing(lessons, folder, capsys):
    two = {"lessons": lessons, "folder": folder}
    copies.write_copies(**two)
    for source in ("y = 3", "y = 4"):
        write(folder / OTHER, source)
        copies.write_copies(["02"], **two)
    write(folder / LESSON, "x = 1", "y = 2", output="half a run")
    copies.write_copies(["01"], **two)
    for name in (LESSON, OTHER):
        assert (folder / name).read_bytes() == (lessons / name).read_bytes()
    kept = [folder / f"02_embeddings.mine-{n}.ipynb" for n in (1, 2)]
    assert [sources(path) for path in kept] == [["y = 3"], ["y = 4"]]
    assert capsys.readouterr().out.count("what you had changed") == 2
    with pytest.raises(ValueError, match="no lesson begins with '99'"):
        copies.write_copies(["99"], **two)


@pytest.mark.parametrize("damage", [b"", b"half a note", b"[]", b"\xff"])
def test_a_damaged_copy_is_kept_and_damaged_digests_forgotten(
    lessons, folder, damage
):
    two = {"lessons": lessons, "folder": folder}
    copies.write_copies(**two)
    (folder / LESSON).write_bytes(damage)
    (folder / copies.DIGESTS).write_bytes(damage)
    copies.write_copies(**two)
    assert (folder / LESSON).read_bytes() == damage
    assert sources(folder / OTHER) == ["x = 1", "y = 2"]


# the start page


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Return folders of copies and exercises, written as `make lab` does."""
    two = {"copies": tmp_path / "lessons", "exercises": tmp_path / "exercises"}
    copies.write_copies(folder=two["copies"])
    write_exercises(folder=two["exercises"], read=two["copies"])
    return two


def row(page, number):
    return next(line for line in page.splitlines() if f"| {number} |" in line)


def test_the_page_leads_everywhere(places):
    path = start.write_start(**places)
    page = path.read_text("utf-8")
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) > 20
    assert [link for link in links if not (path.parent / link).exists()] == []
    for lesson in find(()):
        assert f"]({lesson.name})" in page
        minutes, count = re.search(
            r"\w \| (\d+) \| .*\| 0 of (\d+) \|", row(page, lesson.name[:2])
        ).groups()
        assert int(minutes) >= 30 and int(count) > 5
    assert "Go on" not in page


def test_the_page_says_how_far_one_is(places):
    name = "01_causal_mask"
    (lesson,) = find(["01"])
    copy = places["exercises"] / f"{name}.ipynb"
    notebook = nbformat.read(copy, 4)
    full = {cell.id: cell.source for cell in nbformat.read(lesson, 4).cells}
    for cell in notebook.cells:
        if "def softmax(x)" in cell.source:
            cell.source = full[cell.id]
    nbformat.write(notebook, copy)
    found = {
        "code": None,
        "note": "runs to its end",
        "digests": exercises.digests(notebook),
        "verdicts": [("softmax", "right", "")],
    }
    keep_result(places["exercises"], name, found)
    page = start.write_start(**places).read_text("utf-8")
    assert "| 1 of 16 |" in row(page, "01")
    assert f"[01 Build causal self-attention](../exercises/{name}" in page
    copy = places["copies"] / "02_embeddings.ipynb"
    copy.write_text(copy.read_text("utf-8") + "\n", "utf-8")
    page = start.write_start(**places).read_text("utf-8")
    assert ", begun |" in row(page, "02")
    assert "(../lessons/02_embeddings.ipynb)" in page


def test_the_page_says_what_checks_compare_with(places, monkeypatch):
    for installed, said in (
        (True, "with PyTorch, which is installed"),
        (False, r"with what PyTorch [\d.]+ answered"),
    ):
        monkeypatch.setattr(start, "is_installed", lambda here=installed: here)
        page = start.write_start(**places).read_text("utf-8")
        assert re.search(said, page)
    assert torch_answers.filed_versions()


# in a notebook


def test_a_verdict_has_its_mark_in_a_notebook_alone(monkeypatch, capsys):
    assert verdicts.with_mark("right", True) == ["right"]
    monkeypatch.setattr(verdicts, "notebook", lambda: True)
    tick, cross = "\x1b[32m✓\x1b[0m ", "\x1b[31m✗\x1b[0m "
    check(attention.softmax)
    assert capsys.readouterr().out.startswith(f"{tick}softmax: right in")
    try_value(len, 2, "abc")
    assert capsys.readouterr().out.startswith(f"{cross}wrong: result")
    first, second = verdicts.with_mark("word " * 20, False)
    assert len(first) - len("\x1b[31m\x1b[0m") <= 79
    assert second.startswith("    word")
    mistake = verdicts.Mistake("wrong", "dx", "is wrong")
    assert mistake._render_traceback_() == [f"{cross}dx is wrong"]


def test_what_failed_is_shown_until_it_runs(monkeypatch):
    shown = []
    watcher = stops.Watcher("01_causal_mask")
    monkeypatch.setattr(watcher, "show", shown.append)

    def ran(cell, error=None):
        info = SimpleNamespace(cell_id=cell)
        watcher.look(SimpleNamespace(info=info, error_in_exec=error))

    ran("a")
    ran("b", ValueError("1 < 2\nmore"))
    assert shown == [
        'Stopped at <a href="01_causal_mask.ipynb#cell-id=b">this cell</a>: '
        "1 &lt; 2"
    ]
    ran("a")
    ran("b")
    assert shown[1:] == [""]


# jobs


def test_every_target_of_make_is_a_job():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z0-9]+):.*## ", makefile, re.MULTILINE))
    called = set(re.findall(r"-m helpers (\w+)", makefile))
    for_make = {"help", "setup", "torch", "clean", "format", "fuzz", "bench"}
    for_make |= {
        "classroom",
        "environments",
        "grammar",
        "long",
        "lite",
        "book",
        "testsite",
    }
    assert targets - for_make <= called
    assert called <= {*jobs.JOBS, "data", "train", "report", "gpt2", "llama"}
    groups = re.findall(r"^#: (.+)$", makefile, re.MULTILINE)
    assert groups == ["To learn", "To teach", "To train", "To contribute"]


def test_help_lists_the_jobs(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    assert set(jobs.JOBS) <= set(re.findall(r"^    (\w+)", said, re.M))


@pytest.mark.parametrize(
    "words, commands",
    [
        (
            ["test", "-x"],
            [
                "-m ruff check",
                "-m ruff format --check",
                f"-m pytest --durations=5 -n {jobs.WORKERS} -x",
            ],
        ),
        (
            ["run", "01"],
            ["tests/run_notebooks.py 01", "-m helpers generate --seed 1"],
        ),
        (
            ["experiments"],
            [
                "-m helpers.experiments",
                "-m helpers.runs.digit_tables",
                "-m helpers.runs.scale_tables",
                "-m helpers.runs.llama_tables",
                "-m helpers.runs.assistant_tables",
            ],
        ),
    ],
)
def test_a_job_calls_what_it_should(words, commands, monkeypatch):
    called = []
    monkeypatch.setattr(
        jobs, "call", lambda *words: called.append(" ".join(words)) or 0
    )
    monkeypatch.setenv("WORKBOOK_DATA", "")
    assert cli.main(words) == 0
    assert called == commands
    called.clear()
    monkeypatch.setattr(jobs, "call", lambda *w: called.append(w) or 3)
    assert cli.main(words) == 3
    assert len(called) == 1


def test_what_is_missing_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", None)
    assert cli.main(["lab"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'pip install -c constraints.txt -e ".[lab]"' in said
    monkeypatch.setitem(jobs.JOBS, "lab", lambda words: {}["no"])
    with pytest.raises(KeyError):  # a fault of ours is not hidden
        cli.main(["lab"])


@pytest.mark.parametrize("job", ["lessons", "exercises"])
def test_a_number_that_no_lesson_has(job, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "write_folders", lambda: None)
    assert cli.main([job, "--fresh", "99"]) == 2
    assert "no lesson begins with '99'" in capsys.readouterr().err


# where the repository lives


def copy_of_what_says_it(folder):
    """Copy the files that say where the repository lives."""
    for where in home.SAID_IN:
        for path in ROOT.glob(where):
            if path.is_file():
                copy = folder / path.relative_to(ROOT)
                copy.parent.mkdir(exist_ok=True)
                shutil.copy(path, copy)


def test_another_home_is_written_everywhere(tmp_path):
    copy_of_what_says_it(tmp_path)
    old = home.find_home(tmp_path)
    changed = home.write_home("someone/work.book", tmp_path)
    names = {path.name for path in changed}
    assert {"README.md", "pyproject.toml", "01_causal_mask.ipynb"} <= names
    assert home.find_home(tmp_path) == "someone/work.book"
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or old not in path.read_text("utf-8")
    for wrong in ("someone", "https://github.com/someone/book", "a/b/c", ""):
        with pytest.raises(ValueError, match="no repository on GitHub"):
            home.write_home(wrong, tmp_path)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda p: p.stem
)
def test_the_set_up_says_how_to_install(path):
    """In its first line, which a traceback on helpers shows as well."""
    cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    first, *rest = cells[0].source.splitlines()
    assert first.endswith(f"git+https://github.com/{home.find_home()}")
    assert any(re.match("(from|import) helpers", line) for line in rest)


# what is installed


def test_a_learner_needs_no_torch_and_no_datasets():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == {"lab", "check", "data", "site", "mpi", "test"}
    needed = " ".join(project["dependencies"] + extras["lab"])
    assert not re.search("torch|datasets|pytest|nbval", needed)
    wanted = sum(extras.values(), project["dependencies"])
    assert [w for w in wanted if re.match(r"[\w-]+==", w)] == []


def test_the_environment_holds_what_was_asked_for():
    text = (ROOT / "environment.yml").read_text("utf-8")
    for name in (
        *("numpy", "jupyterlab", "nbval", "tiktoken", "datasets"),
        *("matplotlib-base", "ipywidgets", "pytorch-cpu"),
    ):
        assert re.search(rf"^  - {name}$", text, re.MULTILINE), name
    json.loads((SETTINGS / "labconfig/page_config.json").read_text())
