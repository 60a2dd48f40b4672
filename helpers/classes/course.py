"""Write what a class gets: python -m helpers course FOLDER.

Support code. The folder is this repository with its blanks left blank: the
lessons without solutions, the shelf without the functions that a lesson
leaves to its reader, and copies to fill in. The numbers of the checks are
those of a term.
"""

import ast
import re
import shutil
from pathlib import Path

import nbformat

from helpers.checks import answers, cases, record
from helpers.checks.cells import (
    blanks_of,
    functions,
    given,
    has_tag,
    read_lesson,
    read_text,
    to_write,
)
from helpers.checks.exercises import (
    ROOT,
    find,
    leave_blank,
    write_exercises,
)
from helpers.classes.judge import seed_of
from helpers.classes.submissions import module_of
from helpers.runs.files import write_whole

HANDOUT = Path(__file__).resolve().parent / "handout"
# Whole files and folders that go along; helpers/ is done by itself.
TAKEN = (
    "LICENSE",
    "constraints.txt",
    "pyproject.toml",
    ".gitignore",
    "data/README.md",
    "data/experiments",
    "data/runs/grammar",
    "data/runs/tinystories",
    "notebooks/NOTATION.md",
    "notebooks/ERRORS.md",
    "notebooks/figures",
)
LEFT_OUT = ("classes", "__pycache__")
SHORT = 12  # parts of the syntax tree of a statement: fewer tell nothing
TOLD = "# Left out here: it has lines in it that you write. It comes in class."
SOLUTION = re.compile(
    r"<details><summary>(?:Solution|The bug|Answer)</summary>.*?</details>\s*",
    re.DOTALL,
)
LINES = re.compile(r"\| In \[gpt\.py\][^\n]*\n")
PAGE = re.compile(r"\[([^\]]*)\]\((?:\.\./notebooks/)?gpt\.py[^)]*\)")
TOOLS = re.compile(  # sections on how our own code is tested
    r"\n\[tool\.(?:pytest|ruff)[^\n]*\]\n.*?(?=\n\[|\Z)", re.DOTALL
)
SWITCH = re.compile(
    r"# Without its # the next line takes (.*)\n# (use_my_functions)"
)


def write_course(to, term=""):
    """Write a course into a new folder.

    Raises ValueError if there is something in it.
    """
    to = Path(to)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ValueError(f"{to} is not empty; name a folder that is new")
    for name in TAKEN:
        copy(ROOT / name, to / name)
    copy(ROOT / "helpers", to / "helpers")
    for path in (to / "helpers" / "checks" / "causes").glob("[!_]*.py"):
        path.unlink()  # beside a mistake stands the formula that it misses
    for name in ("Makefile", "README.md"):
        copy(HANDOUT / name, to / name)
    copy(HANDOUT / "test_mine.py", to / "tests" / "test_mine.py")
    for lesson in find([]):
        path = to / "notebooks" / lesson.name
        write_whole(path, nbformat.writes(without_solutions(lesson)) + "\n")
        write_shelf(lesson, to)
    write_numbers(to, term)
    write_project(to)
    write_exercises(lessons=to / "notebooks", folder=to / "exercises")
    for path in sorted((to / "exercises").glob("*.ipynb")):
        turn_on(path)


def copy(source, target):
    """Copy a file or folder, without what a class does not get."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        left_out = shutil.ignore_patterns(*LEFT_OUT, "*.lock")
        shutil.copytree(source, target, ignore=left_out)
    else:
        shutil.copyfile(source, target)


# the lessons and the shelf


def without_solutions(lesson):
    """Return a lesson with its blanks left blank and nothing printed."""
    notebook = read_lesson(lesson)
    solutions = solutions_of(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = LINES.sub("", SOLUTION.sub("", cell.source))
            text = PAGE.sub(r"\1", text)
            cell.source = text.strip() or "(The answer comes in class.)"
            continue
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if has_tag(cell, "blank"):
            cell.source = leave_blank(cell.source, given(cell))
        elif cell.cell_type == "code" and tells(cell.source, solutions):
            cell.source = TOLD
    return notebook


def statements_of(node):
    """Return the trees, as texts, of the statements of a function or cell.

    What has fewer than SHORT parts, as `return x`, tells nothing.
    """
    contexts = ast.Load | ast.Store
    kinds = ast.FunctionDef | ast.ClassDef
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.stmt) and not isinstance(part, kinds):
            parts = [p for p in ast.walk(part) if not isinstance(p, contexts)]
            found |= {ast.dump(part)} if len(parts) >= SHORT else set()
    return found


def solutions_of(notebook):
    """Return the statements that a lesson leaves to its reader."""
    found = set()
    for cell in notebook.cells:
        if has_tag(cell, "blank"):
            nodes = functions(cell.source)
            for name in blanks_of(cell):
                found |= statements_of(nodes[name])
    return found


def tells(source, solutions):
    """Say whether a cell has a statement of a solution in a function.

    A version to find the mistake in has most lines of the right one.
    """
    nodes = functions(source).values()
    return any(statements_of(node) & solutions for node in nodes)


def write_shelf(lesson, to):
    """Leave blank on the shelf what a lesson leaves to its reader."""
    path = to / "helpers" / f"{module_of(lesson)}.py"
    source = read_text(path)
    left = set(functions(source)) - set(to_write(lesson))
    write_whole(path, leave_blank(source, left))


def turn_on(path):
    """Let a copy take the learner's own functions of earlier lessons."""
    notebook = read_lesson(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = SWITCH.sub(r"# This takes \1\n\2", cell.source)
    write_whole(path, nbformat.writes(notebook) + "\n")


# the rest


def write_numbers(to, term):
    """Give the checks the numbers of a term, and record what has to come."""
    seed, folder = seed_of(term), to / "helpers" / "checks"
    path = folder / "cases" / "__init__.py"
    line = f"SEED = {cases.SEED}  #"
    source = read_text(path)
    if source.count(line) != 1:
        raise ValueError(f"{path} has no line {line!r}")
    write_whole(path, source.replace(line, f"SEED = {seed}  #"))
    for module, names in cases.with_cases().items():
        kept = record.record(module, names, seed)
        answers.write(folder / "answers" / f"{module}.npz", kept)


def write_project(to):
    """Take out of the project what a class does not get, or have installed."""
    path = to / "pyproject.toml"
    text = TOOLS.sub("", read_text(path))
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if '"helpers.classes' not in line]
    write_whole(path, "".join(kept))
