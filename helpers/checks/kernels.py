"""Run a learner's copy in a kernel of its own, and keep what its checks find.

Support code for exercises.py. A copy runs with the rights of whoever asks,
within limits of time and size. Nothing it prints is fetched; only verdicts of
the lesson's own cells count.
"""

import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from helpers import DATA, SHIPPED_RUNS
from helpers.checks.cells import (
    code_cells,
    functions,
    has_tag,
    one_line,
    read_lesson,
    read_text,
    stubs_of,
    to_write,
    without,
)
from helpers.checks.gradients import LATEST, VERDICTS, code_of
from helpers.checks.names import changed, imported, names_of
from helpers.checks.shelf import broken, parts
from helpers.checks.table import find_own, try_cases

FAILED = ("wrong", "raises an error")  # of the verdicts of a check
KNOWN = ("matches torch", "right", *FAILED)
CHECKS = r"\b(check|check_\w+|try_\w+)\("  # what gives a verdict
CHECK = r"(?m)^check\([^()]*\)$"  # one that needs nothing of its cell
CELL_SECONDS, COPY_SECONDS = 300, 1200  # what a cell and a copy may take
LARGEST_WRITTEN = 2**30  # bytes of a file that a cell writes

# What the kernel runs before a learner's cells. What a lesson writes under
# DATA goes to a temporary folder.
BEFORE = """\
import pathlib, helpers
helpers.DATA = pathlib.Path({data!r})
from helpers.checks.kernels import keep_verdicts, limit_files
limit_files()
keep_verdicts({path!r}, {checks!r}, {names!r})
del helpers, keep_verdicts, limit_files, pathlib"""


class Step(NamedTuple):
    """A source to run, and the number of its cell in the copy.

    quiet: an error in it is not where the copy stops.
    """

    number: int | str
    source: str
    id: str | None = None
    quiet: bool = False


def run(lesson, notebook, folder):
    """Run a copy; return what its checks find, and where it stops."""
    steps, checks = with_checks(lesson, notebook)
    steps = without_looks(steps, lesson)
    with apart(folder) as (place, data):
        path, names = place / "verdicts.json", to_write(lesson)
        before = BEFORE.format(
            data=str(data), path=str(path), checks=checks, names=names
        )
        note = execute([Step(0, before), *steps], place / "exercises")
        return read_verdicts(path), note


@contextlib.contextmanager
def apart(folder):
    """Make a temporary folder with a copy of one, and data of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        place = Path(place)
        copy_files(folder, place / "exercises")
        for shipped in ("experiments", *(f"runs/{n}" for n in SHIPPED_RUNS)):
            shutil.copytree(DATA / shipped, place / "data" / shipped)
        yield place, place / "data"


def read_verdicts(path):
    """Return what keep_verdicts wrote; the learner's code can change it."""
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return []
    return list(filter(is_row, found)) if isinstance(found, list) else []


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

    Of a cell that is not Python the parts that are run as well. Where the
    learner changed or removed a cell that the lesson gives, the
    lesson's runs as well. Behind an exercise comes its check. Returns the
    sources whose verdicts count as well, each with the names that all of
    them are about: none, but for an exercise.
    """
    steps = []
    for number, cell in enumerate(code_cells(notebook), 1):
        steps.append(Step(number, cell.source, cell.id))
        if broken(cell.source):
            for _, text in parts(cell.source):
                steps.append(Step(number, text, quiet=True))
    checks, end = {}, 0
    for cell in code_cells(read_lesson(lesson)):
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


def without_looks(steps, lesson):
    """Return the steps that bear on a verdict.

    Of a cell of the lesson that only shows something, or trains a model to
    show it, check(...) alone is left, unless a step that stays uses a name it
    binds: then its training is short.
    """
    looks = {
        cell.source
        for cell in code_cells(read_lesson(lesson))
        if not has_tag(cell, "blank") and only_shows(cell.source)
    } | {step.source for step in steps if shows_table(step)}
    kept, used = [], {"*"}
    modules, looking = imported(step.source for step in steps)
    for step in reversed(steps):
        if step.source in looks:
            made = changed(step.source, looking) - modules
            made |= names_of(step.source).bound
            step = shorten(step) if made & used else only_check(step)
        if step.source:
            kept.append(step)
            used |= names_of(step.source).read
    return kept[::-1]


def shows_table(step):
    """Say whether a step is the first cell of a copy, with nothing added."""
    return step.id == "progress" and "\nuse_my_functions(" not in step.source


def only_shows(source):
    """Say whether a cell gives no verdict but by a check(...) of its own."""
    return not re.search(CHECKS, re.sub(CHECK, "", source))


def only_check(step):
    """Return a step with the check(...) of its cell alone."""
    return step._replace(source="\n".join(re.findall(CHECK, step.source)))


def shorten(step):
    """Return a step that trains for a fiftieth of its hundreds of steps.

    Settings that other cells train by stay.
    """
    if not re.search(r"\bfor\b", step.source):
        return step
    source = re.sub(
        r"\b(steps=|range\()(\d{3,})",
        lambda found: f"{found[1]}{int(found[2]) // 50}",
        step.source,
    )
    changed = source != step.source
    return step._replace(source=source, quiet=step.quiet or changed)


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


def keep_verdicts(path, checks, names):
    """Write to path, cell by cell, what a lesson's own checks find.

    For the kernel in which a copy runs; checks are those of with_checks. Of
    the names each function that a cell has written anew is tried on its
    cases, unless an exercise asks for it, and what was found of an older one
    is forgotten.
    """
    from IPython import get_ipython

    shell = get_ipython()
    shell.user_ns.update(exit=lambda: None, quit=lambda: None)
    keeper = Keeper(checks, names)

    def keep(result):
        keeper.look(result.info.raw_cell, shell.user_ns)
        Path(path).write_text(json.dumps(keeper.rows()), "utf-8")

    shell.events.register("post_run_cell", keep)


class Keeper:
    """Keep what is found of each function since it was written last."""

    def __init__(self, checks, names):
        self.checks, self.names = checks, names
        self.codes, self.found = {}, {}  # {name: {verdict: sentence}}

    def look(self, source, namespace):
        """Keep what a cell that has just run has found."""
        about = self.checks.get(source)
        verdicts = [] if about is None else list(filter(is_verdict, VERDICTS))
        new = self.find_new(namespace)
        self.found.update((name, {}) for name in new)
        for name, verdict in verdicts:
            names = about if about and name not in about else [name]
            self.add(names, name, verdict)
        exercises = set().union(*self.checks.values())
        for function in (new[name] for name in new.keys() - exercises):
            VERDICTS.clear()
            try_cases(function)
            for name, verdict in VERDICTS:
                self.add([name], name, verdict)
        VERDICTS.clear()

    def find_new(self, namespace):
        """Return {name: function} of those with another code than before."""
        owned = {name: find_own(name, namespace) for name in self.names}
        codes = {name: code_of(f) for name, f in owned.items() if f}
        new = [name for name in codes if self.codes.get(name) != codes[name]]
        self.codes |= codes
        return {name: owned[name] for name in new}

    def add(self, names, checked, verdict):
        """Keep a verdict on one function for some names."""
        finding = LATEST.get(checked)
        known = finding and finding.verdict == verdict
        sentence = str(finding.sentence) if known else ""
        for name in names:
            self.found.setdefault(name, {}).setdefault(verdict, sentence)

    def rows(self):
        """Return all that is kept as [(name, verdict, sentence), ...]."""
        return [(n, *row) for n in self.found for row in self.found[n].items()]


def limit_files():
    """Let no file that this process writes grow without end."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows
        import resource

        most = LARGEST_WRITTEN
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def execute(steps, folder, n_copies=1):
    """Run the steps of copies in a new kernel, also behind one that fails.

    Returns where Run All Cells would stop and why, as a clause. Nothing that
    the cells print is fetched.
    """
    from jupyter_client import KernelManager  # what only writes needs none

    found, end = None, time.monotonic() + n_copies * COPY_SECONDS
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


def is_verdict(found):
    """Say whether something is the name of a function and a verdict."""
    pair = isinstance(found, tuple | list) and len(found) == 2
    return pair and isinstance(found[0], str) and found[1] in KNOWN


def is_row(found):
    """Say whether something is a name, a verdict and a sentence."""
    triple = isinstance(found, tuple | list) and len(found) == 3
    return triple and is_verdict(found[:2]) and isinstance(found[2], str)
