"""Judge what the functions of a submission returned.

Support code, for grade.py. The numbers come from the sandbox, what has to
come out is computed here, from the shelf; so nothing that a notebook prints,
defines or changes has a say in its verdict.
"""

import hashlib
import re
from functools import cache
from typing import NamedTuple

import numpy as np

from helpers.checks import record
from helpers.checks.blanks import RecordedAnswer, judge_value, located
from helpers.checks.cases import RECORDED, cast, has_floats
from helpers.checks.cells import one_line
from helpers.checks.inspection import (
    changed_in_place,
    judge_grads,
    judge_out,
    name_of,
)
from helpers.checks.verdicts import TOLERANCE, Mistake
from helpers.classes.drawn import find_cases
from helpers.classes.sandbox import kinds_of, make_trial
from helpers.classes.solutions import find
from helpers.classes.wire import unpack

TOLERANCES = {np.float64: 1e-9, np.float32: 1e-4}  # numbers are fresh
ADDRESS = re.compile("0x[0-9a-f]{4,}")
VERDICTS = (  # what may be said of a function, the best first
    "right",
    "wrong",
    "error",
    "time-out",
    "import",
    "blank",
    "unreadable",
)


class Row(NamedTuple):
    """Say what a function of a student is, and why."""

    function: str
    verdict: str
    sentence: str = ""


def seed_of(term, use="checks"):
    """Return the seed of a term's numbers; one year's answers help no other.

    use: those of a "grade" are none that the checks of a course show. 0,
    whose answers are recorded, is the seed of no term.
    """
    text = f"{use} {term}".encode()
    return int(hashlib.sha256(text).hexdigest()[:8], 16) + 1


def graded(lesson, names):
    """Return the names of those functions that have cases."""
    return [n for n in names if find_cases(lesson, kinds_of(lesson, n)[1])]


def judge(rows):
    """Return the Row of a function of those in each way it was tried.

    It is right if it is in one.
    """
    right = [row for row in rows if row.verdict == "right"]
    return right[0] if right else rows[0]


def judge_way(lesson, name, answer, seed):
    """Return the Row of a function tried in one way.

    Whatever the answer is: the process that gave it can have forged it.
    """
    try:
        row = judge_answer(lesson, name, answer, seed)
        return row_of_refused(row, answer["seen"])
    except Exception as error:
        return Row(name, "error", clean(f"no result can be read: {error}"))


def judge_answer(lesson, name, answer, seed):
    """Return the Row of a function from what came, without what was refused.

    Raises almost anything if that has no known form.
    """
    if answer["state"]:
        return row_of_state(name, *answer["state"])
    runs = expect(lesson, name, seed)
    try:
        for said, run in zip(answer["cases"], runs):
            judge_case(lesson, name, said, *run)
    except Mistake as mistake:
        verdict = "error" if mistake.kind == "error" else "wrong"
        return Row(name, verdict, clean(mistake))
    except NotImplementedError as error:
        return Row(name, "blank", clean(error))
    if len(answer["cases"]) == len(runs) and answer["ended"] is True:
        return Row(name, "right")
    if answer["late"]:
        return Row(name, "time-out", "it took too long")
    return Row(name, "error", "its process ended before its time")


def row_of_state(name, word, sentence):
    """Return the Row of what is blank, not there, or not Python."""
    if word == "missing":
        return Row(name, "blank", "no cell defines it")
    return Row(name, "blank" if word == "blank" else "error", clean(sentence))


def row_of_refused(row, seen):
    """Return a Row that says what was refused, if a function is not right."""
    if not seen or row.verdict in ("right", "time-out"):
        return row
    first = clean(seen[0])
    verdict = "import" if first.startswith("import ") else "error"
    said = first.removeprefix("import ")
    return Row(row.function, verdict, f"not allowed: {said}")


def clean(text):
    """Return one line that is the same in every run: no addresses."""
    return one_line(ADDRESS.sub("0x...", f"{text}"))


@cache
def expect(lesson, name, seed):
    """Return (case, dtype, what has to come) of each run of the sandbox."""
    kinds, forward = kinds_of(lesson, name)
    found = []
    for dtype in TOLERANCE:
        for i, case in enumerate(find_cases(lesson, forward, seed)):
            if case.kind in kinds and (
                dtype is np.float64 or has_floats(case)
            ):
                case.arguments = cast(case.arguments, dtype)
                case.settings = cast(case.settings, dtype)
                found.append((case, dtype, wanted(lesson, forward, seed, i)))
    return found


@cache
def wanted(lesson, forward, seed, i):
    """Return what has to come out of a case, in float64."""
    case = find_cases(lesson, forward, seed)[i]
    if record.is_recorded(case):
        return record.compute(lesson, forward, case, find)
    return None if case.expected is RECORDED else case.expected


def judge_case(lesson, name, said, case, dtype, expected):
    """Raise Mistake if what came out of a case is wrong."""
    _, forward = kinds_of(lesson, name)
    functions = [find(lesson, each) for each in dict.fromkeys([forward, name])]
    with located(forward, case, len(functions) > 1):
        if case.kind == "pair":
            judge_pair(functions, said, case, dtype, expected)
        elif case.kind == "value":
            got = take(said, "result")
            tolerance = TOLERANCES[dtype]
            judge_value(name, got, case, expected, dtype, tolerance)
            raise_changed(name, said)
        raise_said(said)


def judge_pair(functions, said, case, dtype, expected):
    """Look at out, then at what was changed, then at the gradients."""
    answer = RecordedAnswer(expected)
    trial = make_trial(functions, case, dtype, TOLERANCES[dtype], answer)
    out = take(said, "out")
    judge_out(trial, out)
    raise_changed(name_of(trial.op), said)
    if trial.op_backward:
        dout = trial.draw_dout(expected["out"])
        judge_grads(trial, out, dout, take(said, "grads"))


def take(said, key):
    """Return one of the values that came, or raise what came in its place."""
    if key not in said:
        raise_said(said)
        raise ValueError(f"there is no {key}")
    return unpack(said[key])


def raise_changed(name, said):
    """Raise Mistake if a function changed an argument in place."""
    if said["changed"]:
        raise changed_in_place(name, one_line(said["changed"]))


def raise_said(said):
    """Raise what a function of the learner raised."""
    if "blank" in said:
        raise NotImplementedError(one_line(said["blank"]))
    if "mistake" in said:
        kind, name, text, cause = said["mistake"]
        cause = None if cause is None else one_line(cause)
        raise Mistake(str(kind), one_line(name), one_line(text), cause)
