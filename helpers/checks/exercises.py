"""Turn the lessons into notebooks to fill in, and see how far they are.

    python -m helpers.checks.exercises write [--fresh 03]
    python -m helpers.checks.exercises progress [01 02]

Support code, not built in a lesson. In a lesson the tag `blank` marks a cell
whose functions the learner writes; its metadata holds "hints", a sentence or
two under each function's name. The tag `exercise` marks a stub with a check.
"""

import argparse
import ast
import contextlib
import hashlib
import itertools
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from helpers import DATA, SHIPPED
from helpers.checks import VERDICTS, is_blank
from helpers.checks.shelf import lines_of, statements
from helpers.runs.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
LESSONS, EXERCISES = ROOT / "notebooks", ROOT / "exercises"
RESULTS = ".progress.json"  # in EXERCISES: what the last run found
FAILED = ("wrong", "raises an error")  # of the verdicts of a check
KNOWN = ("matches torch", "right", *FAILED)
LARGEST = 50 * 2**20  # bytes of a notebook, or of what we kept of it
CELL_SECONDS, COPY_SECONDS = 300, 1200  # what may be taken

INTRO = """\
This is your copy of [the lesson]({lesson}), with its functions left out. \
Write them where it says **Your turn**, with the hints if you like, and run \
the check below them. *Run All Cells* stops with a sentence at the first one \
that is missing. `make progress` runs all your copies and says how far they \
are; `make exercises FRESH={number}` writes a fresh copy beside this one."""

SHOW = """\
from helpers.checks.exercises import show_progress

show_progress("{name}")"""

# What the kernel runs before a learner's cells. What a lesson writes under
# DATA goes to a temporary folder.
BEFORE = """\
import pathlib, helpers
helpers.DATA = pathlib.Path({data!r})
from helpers.checks import exercises
exercises.keep_verdicts({path!r}, {checks!r})
del exercises, helpers, pathlib"""


RIGHTS = """\
Run what is filled in and print how far it is. The cells run on this machine
with your rights, as in JupyterLab: they can read and write what you can. Run
only copies that you wrote or trust."""


class Step(NamedTuple):
    """A source to run, and the number of its cell in the copy.

    quiet: an error in it is not where the copy stops.
    """

    number: int
    source: str
    id: str | None = None
    quiet: bool = False


# write


def write_exercises(fresh=(), lessons=LESSONS, folder=EXERCISES):
    """Write a copy to fill in of every lesson; never touch one that exists.

    fresh: beginnings of the names of lessons, such as "03", that get one
    more copy beside the first. Raises ValueError if one fits no lesson.
    """
    relative = Path(os.path.relpath(lessons, folder)).as_posix()
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
    notebook = nbformat.read(lesson, as_version=4)
    intro = INTRO.format(
        lesson=f"{relative}/{lesson.name}", number=lesson.name[:2]
    )
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, relative, lesson.parent)
        elif cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if has_tag(cell, "blank"):
            cells.append(your_turn(cell))
            cell.source = leave_blank(cell.source)
        cells.append(cell)
    cells[1:1] = [
        new_markdown_cell(intro, id="intro"),
        new_code_cell(SHOW.format(name=lesson.stem), id="progress"),
    ]
    notebook.cells = cells
    nbformat.validate(notebook)
    return notebook


def has_tag(cell, tag):
    """Say whether a cell carries a tag."""
    return tag in cell.metadata.get("tags", [])


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
    """Return the markdown cell that goes above a blank, with its hints.

    A hint is for a function, a method such as "Adam.step", or a class.
    """
    names = list(functions(cell.source))
    listed = ", ".join(f"`{name}`" for name in names)
    listed = " and ".join(listed.rsplit(", ", 1))
    parts = [f"**Your turn.** Write {listed}."]
    hints = cell.metadata.get("hints", {})
    owners = [part for n in names for part in (n.partition(".")[0], n)]
    for name in dict.fromkeys(owners):
        if name in hints:
            title = "Hint" if len(hints) == 1 else f"Hint for {name}"
            parts.append(f"<details><summary>{title}</summary>")
            parts += [hints[name], "</details>"]
    return new_markdown_cell("\n\n".join(parts), id=f"{cell.id}-turn")


def functions(source):
    """Return {name: node} of the functions of a cell, "Adam.step" of a class.

    Methods such as __init__ are left out: they are given.
    """
    found = {}
    for node in statements(source):
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        for part in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(part, ast.FunctionDef) and part.name[:2] != "__":
                found[f"{node.name}.{part.name}"] = part
    return found


def leave_blank(source):
    """Return a source whose functions say what to write in their bodies.

    Signatures, decorators and docstrings stay as they are.
    """
    lines = lines_of(source)
    for name, node in reversed(functions(source).items()):
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
    for lesson in find(names, lessons):
        result = {"code": None, "verdicts": []}
        try:
            notebook = read(folder / lesson.name)
            result["code"] = digest(notebook)
            if all(blanks(notebook).get(name) for name in to_write(lesson)):
                result["note"] = "all blank"
            else:
                result["verdicts"], result["note"] = run(
                    lesson, notebook, folder
                )
            print_table(lesson, notebook, result)
        except Exception as error:  # a copy can hold anything
            result["note"] = one_line(error)
            print(f"{lesson.stem}: {result['note']}")
        keep_result(folder, lesson.stem, result)


def show_progress(name, lessons=LESSONS, folder=EXERCISES):
    """Print the table of one copy, as it is saved and as it last ran."""
    try:
        notebook = read(folder / f"{name}.ipynb")
    except ValueError as error:
        print(f"{name}: {error}")
        return
    result = load_results(folder).get(name, {})
    if result.get("code") != digest(notebook):
        result = {"note": "not run since it changed: make progress"}
    print_table(lessons / f"{name}.ipynb", notebook, result)


def read(path):
    """Return a notebook; ValueError, for the table, if there is none."""
    if not os.path.lexists(path):
        raise ValueError("not begun: make exercises writes it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an old form, which is mended
            notebook = nbformat.reads(read_text(path), as_version=4)
            nbformat.validate(notebook)
        return notebook
    except Exception as error:  # a damaged file can raise almost anything
        raise ValueError(f"is no notebook: {one_line(error)}") from None


def read_text(path):
    """Return the text of a file; OSError if it is none, or a huge one."""
    if not path.is_file():  # a named pipe never ends
        raise OSError("it is not a file")
    if path.stat().st_size > LARGEST:
        raise OSError(f"it has more than {LARGEST >> 20} MB")
    return path.read_text("utf-8")


def digest(notebook):
    """Return a number that changes with the code, not with outputs."""
    code = "\0".join(cell.source for cell in code_cells(notebook))
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()


def code_cells(notebook):
    """Return the code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def one_line(text):
    """Return the first line of a text, with nothing that moves a cursor."""
    line = f"{text}".strip().partition("\n")[0][:200]
    return "".join(c if c.isprintable() else " " for c in line)


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
        and isinstance(row.get("verdicts"), list)
        and all(map(is_verdict, row["verdicts"]))
    )


def is_verdict(found):
    """Say whether something is the name of a function and a verdict."""
    pair = isinstance(found, tuple | list) and len(found) == 2
    return pair and isinstance(found[0], str) and found[1] in KNOWN


def keep_result(folder, name, result):
    """Keep what a run found for show_progress, if it can be written."""
    if folder.is_dir():
        text = json.dumps(load_results(folder) | {name: result}) + "\n"
        try:
            write_whole(folder / RESULTS, text)
        except OSError as error:
            print(f"not kept for the first cell: {one_line(error)}")


# running a copy


def run(lesson, notebook, folder):
    """Run a copy; return what its checks find, and where it stops."""
    steps, checks = with_checks(lesson, notebook)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        place = Path(place)
        copy_files(folder, place / "exercises")
        for shipped in ("experiments", f"runs/{SHIPPED}"):
            shutil.copytree(DATA / shipped, place / "data" / shipped)
        path = place / "verdicts.json"
        before = BEFORE.format(
            data=str(place / "data"), path=str(path), checks=checks
        )
        steps = [Step(0, before), *steps]
        note = execute(steps, place / "exercises")
        try:
            found = json.loads(read_text(path))
        except (OSError, ValueError):
            found = []
    return [verdict for verdict in found if is_verdict(verdict)], note


def copy_files(folder, place):
    """Copy the files of a folder and of those in it, and nothing odd."""

    def odd(folder, names):
        paths = [os.path.join(folder, name) for name in names]
        return [
            os.path.basename(path)
            for path in paths
            if os.path.islink(path) or not os.path.isdir(path)
            if not os.path.isfile(path)
        ]

    with contextlib.suppress(shutil.Error):  # says what it could not read
        shutil.copytree(folder, place, ignore=odd)


def with_checks(lesson, notebook):
    """Return the steps of a copy, with the lesson's checks put back.

    Where the learner changed or removed a cell that the lesson gives, the
    lesson's runs as well. Behind an exercise comes its check. Returns the
    sources whose verdicts count as well, each with the names that all of
    them are about: none, but for an exercise.
    """
    steps = [
        Step(number, cell.source, cell.id)
        for number, cell in enumerate(code_cells(notebook), 1)
    ]
    checks, end = {}, 0
    for cell in code_cells(nbformat.read(lesson, as_version=4)):
        stubs = stubs_of(cell)
        place = find_cell(cell, stubs, steps)
        end = end if place is None else place + 1
        if has_tag(cell, "blank"):
            continue
        check = without(cell.source, stubs)
        checks[check] = list(stubs)
        if place is None or steps[place].source != check:
            number = steps[end - 1].number if end else 1
            steps.insert(end, Step(number, check))
            end += 1
            if place is not None and not stubs:
                steps[place] = steps[place]._replace(quiet=True)
    return steps, checks


def find_cell(cell, names, steps):
    """Return where a cell of the lesson is in a copy, or None.

    Known by its id, by its source, or by one of the names it defines.
    """
    for fits in (
        lambda step: step.id == cell.id,
        lambda step: step.source == cell.source,
        lambda step: names.keys() & functions(step.source).keys(),
    ):
        for place, step in enumerate(steps):
            if fits(step):
                return place
    return None


def keep_verdicts(path, checks):
    """Write to path, cell by cell, what a lesson's own cells find.

    For the kernel in which a copy runs; checks are those of with_checks.
    """
    from IPython import get_ipython

    kept = []

    def keep(result):
        about = checks.get(result.info.raw_cell)
        for name, verdict in VERDICTS if about is not None else []:
            names = about if about and name not in about else [name]
            kept.extend((name, verdict) for name in names)
        VERDICTS.clear()
        Path(path).write_text(json.dumps(list(filter(is_verdict, kept))))

    get_ipython().events.register("post_run_cell", keep)


def execute(steps, folder):
    """Run steps in a new kernel, also those behind one that fails.

    Returns where Run All Cells would stop and why, as a clause. Nothing that
    the cells print is fetched.
    """
    from jupyter_client import KernelManager  # what only writes needs none

    found, end = None, time.monotonic() + COPY_SECONDS
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(
        cwd=str(folder),
        extra_arguments=["--log-level=CRITICAL"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = manager.blocking_client()
    client.start_channels(iopub=False, stdin=False, hb=False, control=False)
    try:
        for step in steps:
            try:
                reply = ask(manager, client, step.source, end)
            except ValueError as error:
                return f"did not get past [{step.number}]: {error}"
            if not (found or step.quiet):
                found = say_stop(step.number, reply)
        return found or "runs to its end"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def ask(manager, client, source, end):
    """Run a source in a kernel; return its reply.

    Raises ValueError if the kernel dies, or takes too long.
    """
    number = client.execute(source, allow_stdin=False, stop_on_error=False)
    end = min(end, time.monotonic() + CELL_SECONDS)
    while time.monotonic() < end:
        with contextlib.suppress(queue.Empty):
            message = client.get_shell_msg(timeout=0.5)
            if message["parent_header"].get("msg_id") == number:
                return message["content"]
        if not manager.is_alive():
            raise ValueError("its kernel died")
    raise ValueError("it took too long")


def say_stop(number, reply):
    """Return where Run All Cells stops and why, as a clause, or None."""
    if reply.get("status") != "error":
        return None
    kind, text = reply.get("ename"), reply.get("evalue")
    kind = {"NotImplementedError": "not yet: ", "Mistake": ""}.get(
        kind, f"{kind}: "
    )
    return f"stops at [{number}]: {one_line(f'{kind}{text}')}"


def print_table(lesson, notebook, result):
    """Print a row for each function of a lesson: how far its copy is."""
    print(f"{lesson.stem}: {result['note']}")
    blank = blanks(notebook)
    for name in to_write(lesson):
        if name not in blank:
            state = "not defined"
        elif blank[name]:
            state = "blank"
        else:
            state = worst(name, result.get("verdicts"))
        print(f"    {name:<40}{state}")


def blanks(notebook):
    """Return {name: whether it is blank} of what the cells define last."""
    found = {}
    for cell in code_cells(notebook):
        found |= dict.fromkeys(assigned(cell.source), False)
        nodes = functions(cell.source).items()
        found |= {name: is_blank(node) for name, node in nodes}
    return found


def assigned(source):
    """Return the names that a cell binds by = or import."""
    names = []
    for node in statements(source):
        targets = node.targets if isinstance(node, ast.Assign) else []
        names += [t.id for t in targets if isinstance(t, ast.Name)]
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
    return names


def worst(name, verdicts):
    """Return the worst that the checks found of a function."""
    if verdicts is None:
        return "written, not run"
    found = [verdict for checked, verdict in verdicts if checked == name]
    found.sort(key=lambda verdict: verdict not in FAILED)
    return found[0] if found else "written"


def to_write(lesson):
    """Return the names of the functions that a lesson leaves to its reader."""
    names = []
    for cell in nbformat.read(lesson, as_version=4).cells:
        if has_tag(cell, "blank"):
            names += functions(cell.source)
        names += stubs_of(cell)
    return names


def stubs_of(cell):
    """Return {name: node} of what an exercise leaves to its reader."""
    nodes = functions(cell.source) if has_tag(cell, "exercise") else {}
    return {name: node for name, node in nodes.items() if is_blank(node)}


def without(source, nodes):
    """Return a source without some of its functions."""
    lines = lines_of(source)
    for node in reversed(nodes.values()):
        del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join(lines).strip()


# the command line


def main(argv=None):
    """Run one command; return the exit code: 0 done, 2 an error, 130 ^C."""
    with contextlib.suppress(AttributeError):  # what a notebook prints to
        sys.stdout.reconfigure(errors="replace")
    parser = argparse.ArgumentParser("python -m helpers.checks.exercises")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("write", help="write copies to fill in")
    add.add_argument("--fresh", nargs="+", default=(), metavar="03")
    add.set_defaults(command=lambda args: write_exercises(args.fresh))
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
