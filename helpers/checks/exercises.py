"""Turn the lessons into notebooks to fill in, and see how far they are.

    python -m helpers.checks.exercises write [--fresh 03]
    python -m helpers.checks.exercises progress [01 02]

Support code, not built in a lesson. In a lesson the tag `blank` marks a cell
whose functions the learner writes. Its metadata holds, under each function's
name, a "contract" (what it gets and returns, what its cache holds and who
reads it) and "hints"; "given" lists functions of the cell that are left in.
The tag `exercise` marks a stub with a check.
"""

import argparse
import ast
import contextlib
import hashlib
import itertools
import json
import os
import re
import sys
import textwrap
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from helpers.checks.cells import (
    blanks,
    blanks_of,
    code_cells,
    exercises_in,
    functions,
    given,
    has_tag,
    one_line,
    read,
    read_lesson,
    read_text,
    to_write,
)
from helpers.checks.kernels import is_row, run
from helpers.checks.shelf import lines_of
from helpers.checks.stops import watch
from helpers.checks.table import (
    BLANK,
    MISSING,
    UNREADABLE,
    digests,
    live_states,
    print_table,
    saved_states,
    say_totals,
)
from helpers.lab.copies import COPIES
from helpers.runs.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
LESSONS, EXERCISES = ROOT / "notebooks", ROOT / "exercises"
RESULTS = ".progress.json"  # in EXERCISES: what the last run found

INTRO = """\
This is your copy of [the lesson]({lesson}), with its functions left out. \
Write them where it says **Your turn**, with the hints if you like, and run \
the check below them. *Run All Cells* stops with a sentence at the first one \
that is missing. `make progress` runs all your copies and says how far they \
are; `make exercises FRESH={number}` writes a fresh copy beside this one."""

SHOW = """\
from helpers.checks.exercises import show_progress

show_progress("{name}")"""
SWITCH = """\
from helpers.checks.exercises import show_progress
from helpers.checks.mine import use_my_functions

# Without its # the next line takes your own functions of earlier lessons:
# use_my_functions(before="{number}")
show_progress("{name}")"""

CHANGED = "not run since it changed: make progress"

RIGHTS = """\
Run what is filled in and print how far it is. The cells run on this machine
with your rights, as in JupyterLab: they can read and write what you can. Run
only copies that you wrote or trust."""


# write


def write_exercises(fresh=(), lessons=LESSONS, folder=EXERCISES, read=None):
    """Write a copy to fill in of every lesson; never touch one that exists.

    fresh: beginnings of the names of lessons, such as "03", that get one
    more copy beside the first. read: where links to a lesson lead, if not to
    lessons. Raises ValueError if a beginning fits no lesson.
    """
    relative = Path(os.path.relpath(read or lessons, folder)).as_posix()
    for lesson in find(fresh, lessons):
        paths = copies(lesson, folder) if fresh else [folder / lesson.name]
        free = (path for path in paths if not os.path.lexists(path))
        path = next(free, None)
        if path is None:
            print(
                f"{folder.name}/{lesson.name}: kept as it is; make exercises "
                f"FRESH={lesson.name[:2]} writes a fresh copy beside it"
            )
            continue
        notebook = to_exercise(lesson, relative)
        write_whole(path, nbformat.writes(notebook) + "\n")
        n_blanks = len(to_write(lesson))
        print(f"{folder.name}/{path.name}: written, {n_blanks} to fill in")


def find(names, lessons=LESSONS):
    """Return the lessons whose names begin so, or all.

    Raises ValueError for a name that fits none.
    """
    paths = sorted(lessons.glob("[0A]*.ipynb"))
    for name in names:
        if not any(path.name.startswith(name) for path in paths):
            raise ValueError(
                f"no lesson begins with {name!r}; name one as in 03 or A1"
            )
    return [p for p in paths if not names or p.name.startswith(tuple(names))]


def copies(lesson, folder):
    """Yield the names a copy of a lesson may have, the usual one first."""
    yield folder / lesson.name
    for n in itertools.count(1):
        yield folder / f"{lesson.stem}.fresh-{n}.ipynb"


def to_exercise(lesson, relative):
    """Return a lesson as a notebook with blanks and without outputs.

    relative: the way from the exercises to the lessons, for links.
    """
    notebook = read_lesson(lesson)
    number = lesson.name[:2]
    intro = INTRO.format(lesson=f"{relative}/{lesson.name}", number=number)
    show = SHOW if number == "01" else SWITCH
    show = show.format(name=lesson.stem, number=number)
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, relative, lesson.parent)
        elif cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if has_tag(cell, "blank"):
            cells.append(your_turn(cell))
            cell.source = leave_blank(cell.source, given(cell))
        cells.append(cell)
    cells[1:1] = [
        new_markdown_cell(intro, id="intro"),
        new_code_cell(show, id="progress"),
    ]
    notebook.cells = cells
    nbformat.validate(notebook)
    return notebook


def relink(markdown, relative, lessons):
    """Let links to files beside the lessons work from the exercises.

    Links from lesson to lesson stay: each has its exercise.
    """

    def replace(match):
        opening, target = match.groups()
        is_lesson = re.fullmatch(r"0.*\.ipynb", target)
        if is_lesson or not (lessons / target).exists():
            return match[0]
        return f"{opening}{relative}/{target}"

    return re.sub(r"""(\]\(|src=")([^)\s"#]+)""", replace, markdown)


def your_turn(cell):
    """Return the markdown cell above a blank: its contract and its hints.

    A hint is for a function, a method such as "Adam.step", or a class.
    """
    names = blanks_of(cell)
    listed = ", ".join(f"`{name}`" for name in names)
    listed = " and ".join(listed.rsplit(", ", 1))
    parts = [f"**Your turn.** Write {listed}."]
    contract = cell.metadata.get("contract", {})
    parts += [f"- `{name}`: {text}" for name, text in contract.items()]
    hints = cell.metadata.get("hints", {})
    owners = [part for n in names for part in (n.partition(".")[0], n)]
    for name in dict.fromkeys(owners):
        if name in hints:
            title = "Hint" if len(hints) == 1 else f"Hint for {name}"
            parts.append(f"<details><summary>{title}</summary>")
            parts += [hints[name], "</details>"]
    return new_markdown_cell("\n\n".join(parts), id=f"{cell.id}-turn")


def leave_blank(source, given=()):
    """Return a source whose functions say what to write in their bodies.

    Signatures, decorators and docstrings stay as they are, and the functions
    named in given do as a whole.
    """
    lines = lines_of(source)
    for name, node in reversed(functions(source).items()):
        if name in given:
            continue
        doc, first = ast.get_docstring(node), node.body[0]
        starts = [first, *getattr(first, "decorator_list", [])]
        start = min(part.lineno for part in starts) - 1
        what = f"write {name}"
        if doc:
            start = first.end_lineno
            what += f": {first_sentence(doc)}"
        statement = raise_not_written(what, node.col_offset + 4)
        lines[start : node.end_lineno] = statement.splitlines()
    return "\n".join(lines)


def first_sentence(doc):
    """Return the first sentence of a docstring, on one line, without dot."""
    paragraph = " ".join(doc.split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".")


def raise_not_written(message, indent):
    """Return the statement that raises, in lines of at most 79 columns."""
    statement = f"raise NotImplementedError({quote(message)})"
    if indent + len(statement) > 79:
        pieces = textwrap.wrap(message, 79 - indent - 7)
        pieces[:-1] = [piece + " " for piece in pieces[:-1]]
        lines = "".join(f"    {quote(piece)}\n" for piece in pieces)
        statement = f"raise NotImplementedError(\n{lines})"
    return textwrap.indent(statement, " " * indent)


def quote(text):
    """Return text as a Python string in double quotes."""
    return json.dumps(text, ensure_ascii=False)


# progress


def progress(names=(), lessons=LESSONS, folder=EXERCISES):
    """Run the copies of the lessons, print a table, and keep it.

    Runs them as they are saved, in a temporary folder, with the rights of
    whoever calls this. A copy that cannot be run says why, and the table
    goes on.
    """
    counted = []
    for lesson in find(names, lessons):
        result = {"code": None, "verdicts": [], "digests": {}}
        states = dict.fromkeys(to_write(lesson), BLANK)
        path = folder / lesson.name
        try:
            notebook = read(path)
            result["code"] = digest(notebook)
            result["digests"] = digests(notebook)
            if all(blanks(notebook).get(name) for name in states):
                result["note"] = "all blank"
            else:
                result["verdicts"], result["note"] = run(
                    lesson, notebook, folder
                )
            states = saved_states(states, notebook, result)
            print_table(lesson.stem, result["note"], states)
        except Exception as error:  # a copy can hold anything
            result["note"] = one_line(error)
            print(f"{lesson.stem}: {result['note']}")
            if os.path.lexists(path):
                states = dict.fromkeys(states, UNREADABLE)
        counted += states.values()
        keep_result(folder, lesson.stem, result)
    if len(find(names, lessons)) > 1:
        print(f"all: {say_totals(counted)}")


def show_progress(name, lessons=LESSONS, folder=EXERCISES):
    """Print the table of one copy: as this kernel has it, else as saved.

    What this kernel has not run is shown as it was when it last ran. Above
    the table stands from now on where a cell fails.
    """
    watch(name)
    result = load_results(folder).get(name, {})
    path = lessons / f"{name}.ipynb"
    there = path.is_file()
    names, own = (to_write(path), exercises_in(path)) if there else ([], [])
    live, note = live_states(names, exercises=own), "as this kernel has it"
    try:
        notebook = read(folder / f"{name}.ipynb")
        states = saved_states(names, notebook, result)
    except ValueError as error:
        if not live:
            print(f"{name}: {error}")
            return
        states = dict.fromkeys(names, MISSING)
    if not live:
        same = result.get("code") == digest(notebook)
        note = result["note"] if same else CHANGED
    print_table(name, note, states | live)


def digest(notebook):
    """Return a number that changes with the code, not with outputs."""
    code = "\0".join(cell.source for cell in code_cells(notebook))
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()


def load_results(folder):
    """Return what `make progress` kept; what is damaged is left out."""
    try:
        found = json.loads(read_text(folder / RESULTS))
    except (OSError, ValueError, RecursionError):
        return {}
    rows = found.items() if isinstance(found, dict) else []
    return {name: row for name, row in rows if is_result(row)}


def is_result(row):
    """Say whether something read is what keep_result wrote."""
    return (
        isinstance(row, dict)
        and isinstance(row.get("note"), str)
        and isinstance(row.get("digests"), dict)
        and isinstance(row.get("verdicts"), list)
        and all(map(is_row, row["verdicts"]))
    )


def keep_result(folder, name, result):
    """Keep what a run found for show_progress, if it can be written.

    A link to another file is replaced, and what it leads to stays.
    """
    path = folder / RESULTS
    if folder.is_dir():
        text = json.dumps(load_results(folder) | {name: result}) + "\n"
        try:
            if path.is_symlink() and path.is_file():
                path.unlink()
            write_whole(path, text)
        except OSError as error:
            print(f"not kept for the first cell: {one_line(error)}")


# the command line


def main(argv=None):
    """Run one command; return the exit code: 0 done, 2 an error, 130 ^C."""
    with contextlib.suppress(AttributeError):  # what a notebook prints to
        sys.stdout.reconfigure(errors="replace")
    parser = argparse.ArgumentParser("python -m helpers.checks.exercises")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("write", help="write copies to fill in")
    add.add_argument("--fresh", nargs="+", default=(), metavar="03")
    add.set_defaults(
        command=lambda args: write_exercises(args.fresh, read=COPIES)
    )
    text = "run the copies and print a table"
    add = commands.add_parser("progress", help=text, description=RIGHTS)
    add.add_argument("lessons", nargs="*", metavar="03")
    add.set_defaults(command=lambda args: progress(args.lessons))
    args = parser.parse_args(argv)
    try:
        args.command(args)
    except (ValueError, OSError) as error:
        print("error:", error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
