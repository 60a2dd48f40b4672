"""Grade a class: python -m helpers grade FOLDER.

Support code. Two notebooks at a time, each in a sandbox of its own. What is
found of a notebook is kept under the digest of all that decides it: its
bytes, the term, and the code that grades; so a run that was stopped goes on
where it was, and a notebook that did not change costs nothing.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from helpers.classes import pages
from helpers.classes.judge import Row, judge, judge_way, seed_of
from helpers.classes.sandbox import NO_ANSWER, kinds_of, ways_of
from helpers.classes.submissions import (
    find_submissions,
    lesson_of,
    lessons,
    module_of,
    read_sources,
)
from helpers.runs.files import write_whole

HELPERS = Path(__file__).resolve().parents[1]
SECONDS = 10  # of computing, that a function has for all its cases
KEPT = ".kept"  # in the folder of the grades
SANDBOX = "from helpers.classes.sandbox import main; main()"
# Nothing of the instructor's own goes along: no keys, no tokens.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": str(HELPERS.parent),
    "WORKBOOK_DATA": "grammar",
    "LC_ALL": "C.UTF-8",
}


class Result(NamedTuple):
    """Hold what was found of one notebook.

    trees: {function: digest of its syntax tree}, to look for copies.
    """

    student: str
    lesson: str
    rows: list
    trees: dict


def grade(folder, to, term="", workers=2, seconds=SECONDS):
    """Grade a class and write the pages; return the Results."""
    found = find_submissions(folder)
    to = Path(to)
    (to / KEPT).mkdir(parents=True, exist_ok=True)
    seed = seed_of(term, "grade")
    lessons()  # before the threads ask for it

    def one(submission):
        return grade_one(submission, to / KEPT, seed, seconds)

    with ThreadPoolExecutor(workers) as pool:
        try:
            bar = tqdm(pool.map(one, found), total=len(found), unit="notebook")
            results = only_last(list(bar))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    pages.write(to, results)
    return results


def only_last(results):
    """Leave of a student's several notebooks of a lesson the last.

    One that cannot be read counts if there is no other.
    """
    last, readable = {}, {r.student for r in results if r.lesson}
    for result in results:
        if result.lesson or result.student not in readable:
            last[result.student, result.lesson] = result
    return list(last.values())


def grade_one(submission, kept, seed, seconds):
    """Return the Result of one notebook, from what was kept if it is there."""
    student, path = submission
    try:
        if path is None:
            raise ValueError("the folder holds no notebook")
        sources = read_sources(path)
        lesson = lesson_of(path, sources)
    except (ValueError, OSError) as error:
        return Result(student, "", [Row("", "unreadable", str(error))], {})
    asked = module_of(lesson), lessons()[lesson], sources, seed, seconds
    place = kept / f"{digest(asked)}.json"
    try:
        rows, trees = json.loads(place.read_text("utf-8"))
    except (OSError, ValueError):
        rows, trees = run(*asked)
        write_whole(place, json.dumps([rows, trees]))
    return Result(student, lesson.stem, [Row(*row) for row in rows], trees)


def digest(asked):
    """Return a number that changes with all that decides a grade."""
    text = json.dumps([asked, version()])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def version():
    """Return a number that changes with the code that grades."""
    total = hashlib.sha256()
    for path in sorted(HELPERS.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def run(lesson, names, sources, seed, seconds):
    """Return the rows of a notebook's functions, and their trees."""
    job = {
        "lesson": lesson,
        "names": names,
        "cells": sources,
        "seed": seed,
        "seconds": seconds,
    }
    rows, trees, late = [], {}, set()
    with sandbox(job) as ask:
        for name in names:
            found, (_, forward) = [], kinds_of(lesson, name)
            for way in ways_of(lesson, name):
                if name in late or (way != "beside" and forward in late):
                    continue  # nor would it come to an end there
                answer = ask(name, way)
                late |= {name} if answer["late"] else set()
                trees[name] = f"{answer['tree']}"
                found.append(judge_way(lesson, name, answer, seed))
                if answer["state"] or found[-1].verdict == "right":
                    break
            rows.append(judge(found))
    return rows, {n: tree for n, tree in trees.items() if tree != "None"}


@contextlib.contextmanager
def sandbox(job):
    """Yield a function that asks a sandbox for the answer of a function."""
    process = subprocess.Popen(
        [sys.executable, "-s", "-c", SANDBOX],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT | {"PATH": os.defpath},
    )

    def say(value):
        process.stdin.write(json.dumps(value).encode() + b"\n")
        process.stdin.flush()

    def ask(name, way):
        try:
            say([name, way])
            return json.loads(process.stdout.readline())
        except (OSError, ValueError):  # it is gone
            return NO_ANSWER

    with process:
        try:
            say(job)
            if not process.stdout.readline():
                raise ValueError(f"the sandbox of {job['lesson']} is broken")
            yield ask
        finally:
            process.kill()
