"""Find what a class handed in: whose it is, of which lesson, which cells.

Support code, for grade.py. What learning platforms export: a notebook a
student or a folder a student, named as Canvas ("doejane_12_345_x.ipynb"),
Moodle ("Jane Doe_12_assignsubmission_file/x.ipynb"), Gradescope
("submission_123/x.ipynb") do. Nothing is run and no link is followed.
"""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from helpers.checks.cells import one_line, to_write
from helpers.checks.exercises import find
from helpers.classes.judge import graded

LARGEST = 20 * 2**20  # bytes of a notebook that is read
DEEPEST = 6  # folders within the folder of a student
NOTEBOOKS = ".ipynb"


class Submission(NamedTuple):
    """Name a student and a notebook of theirs; None if they sent none."""

    student: str
    path: Path | None


def find_submissions(folder):
    """Return the Submissions of a class, in a fixed order.

    Raises ValueError if there are none.
    """
    folder, found = Path(folder), []
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name that of the class")
    for path in sorted(folder.iterdir(), key=natural):
        if path.name[:1] in "._" or path.is_symlink():
            continue
        if path.is_dir():
            paths = list(notebooks_in(path))
            student = name_of_folder(path.name)
            found += [Submission(student, p) for p in paths or [None]]
        elif path.suffix == NOTEBOOKS:
            found.append(Submission(name_of_file(path.stem), path))
    if not found:
        raise ValueError(
            f"{folder} holds no notebooks and no folders; unpack what the "
            "class handed in there"
        )
    return found


def natural(path):
    """Return what sorts x-2 before x-10."""
    parts = re.split(r"(\d+)", str(path))
    return [(p.isdecimal(), int(p) if p.isdecimal() else p) for p in parts]


def notebooks_in(folder):
    """Yield the notebooks in the folder of a student, in a fixed order."""
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        keep = [name for name in folders if name[:1] not in "._"]
        folders[:] = sorted(keep, key=natural) if depth < DEEPEST else []
        for name in sorted(files, key=natural):
            if name.endswith(NOTEBOOKS) and name[:1] not in "._":
                yield Path(place) / name


def name_of_folder(name):
    """Return the student of a folder."""
    return re.sub(r"_assignsubmission_.*$", "", name).strip() or name


def name_of_file(stem):
    """Return the student of a file: without the name of the lesson."""
    canvas = re.match(r"([^_]+)(?:_LATE)?_(\d+)_\d+_", stem)
    if canvas:
        return f"{canvas[1]}_{canvas[2]}"
    for lesson in lessons():
        stem = re.sub(rf"[ _-]*{re.escape(lesson.stem)}[ _-]*", "", stem)
    return stem or "no name"


# what a notebook holds


def read_sources(path):
    """Return the sources of a notebook's code cells.

    Raises ValueError, in one sentence, for what is no notebook.
    """
    try:
        if path.is_symlink() or not path.is_file():
            raise ValueError("it is not a file")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST >> 20} MB")
        cells = json.loads(path.read_bytes().decode("utf-8-sig"))["cells"]
        code = [c for c in cells if c["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in code]
    except Exception as error:  # a damaged file can raise almost anything
        said = "its cells are damaged"
        said = one_line(error) if isinstance(error, ValueError) else said
        raise ValueError(f"is no notebook: {said}") from None
    if not sources:
        raise ValueError("is empty: it has no code cells")
    return [s.encode("utf-8", "replace").decode() for s in sources]


@cache
def lessons():
    """Return {path: names of its graded functions} of the lessons."""
    found = {}
    for path in find([]):
        names = graded(module_of(path), to_write(path))
        found[path] = names
    return found


@cache
def module_of(path):
    """Return the name of the module of the shelf that a lesson builds."""
    said = re.search(r"compare_with_shelf\(\W+(\w+)", path.read_text("utf-8"))
    return said[1]


def lesson_of(path, sources):
    """Return the lesson of a notebook; ValueError if it is of none.

    Its name says it, or the functions that it defines.
    """
    for lesson in lessons():
        if lesson.stem in path.name:
            return lesson
    text = "\n".join(sources)
    defined = set(re.findall(r"(?m)^\s*(?:def|class)\s+(\w+)", text))
    counts = {
        lesson: sum(n.partition(".")[0] in defined for n in names)
        for lesson, names in lessons().items()
    }
    best = max(counts, key=counts.get)
    if counts[best] == 0:
        raise ValueError("defines no function of any lesson")
    return best
