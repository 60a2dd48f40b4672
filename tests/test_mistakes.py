"""Learners' mistakes: each gets its verdict, and no right answer is accused.

tests/mistakes/<lesson>.py holds, for the functions of a lesson, WRONG: rows
of a fragment of the shelf's source, what stands in its place, and a phrase of
the cause that the sentence must hold, or one of two, as "one|two"; "-" where
the mistake need only be found: then no cause may be named. A row of two is a
whole source and the phrase. RIGHT: sources in other styles, which must pass.
SOLUTIONS and JUDGES do the same for exercises. CALLS: {op: (torch_op, arrays,
settings)}, the lesson's own check_backward; it may overlook a mistake, but
must not mislead.

    python tests/test_mistakes.py attention      prints every sentence
"""

import ast
import contextlib
import importlib
import inspect
import io
import sys
from pathlib import Path

import pytest

from helpers.checks import check, check_backward
from helpers.checks.lessons import LESSONS, shelf
from helpers.checks.verdicts import Mistake

sys.path.insert(0, str(Path(__file__).parent))
FILES = [p.stem for p in Path(__file__).parent.glob("mistakes/[a-z]*.py")]
FOUND = [lesson for lesson in LESSONS if lesson in FILES]
KINDS = ("right cause", "no cause", "misled", "traceback", "passed")


def corpus(lesson):
    """Return the module of a lesson's mistakes."""
    return importlib.import_module(f"mistakes.{lesson}")


def source_of(lesson, name):
    """Return the source of a function, or of the class of a method."""
    solutions = getattr(corpus(lesson), "SOLUTIONS", {})
    owner = name.partition(".")[0]
    return solutions.get(name) or inspect.getsource(shelf(lesson)[owner])


def part_of(source, name):
    """Return the source of one method of a class; of a function, all."""
    _, _, method = name.partition(".")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == method:
            lines = source.splitlines(keepends=True)
            return "".join(lines[node.lineno - 1 : node.end_lineno])
    return source


def write(lesson, name, row):
    """Return the functions of a notebook in which one version stands."""
    if isinstance(row, str):
        source = row
    else:
        old, new = row
        source = source_of(lesson, name)
        part = part_of(source, name)
        assert part.count(old) == 1, f"{name}: {old!r} is not there once"
        source = source.replace(part, part.replace(old, new))
    module = importlib.import_module(f"helpers.{lesson}")
    namespace = vars(module) | {"__name__": "__main__"}
    forward = name.removesuffix("_backward")
    for part in ({forward, f"{forward}_backward"} - {name}) & set(namespace):
        run(source_of(lesson, part), namespace)
    run(source, namespace)
    return namespace


def run(source, namespace):
    """Run a source as a cell."""
    exec(compile(source, "<cell>", "exec"), namespace)


def find(namespace, name):
    """Return a function, or a method such as Adam.step."""
    owner, _, method = name.partition(".")
    return getattr(namespace[owner], method) if method else namespace[owner]


def judge(lesson, name, row):
    """Return what check says of a version; None if it finds nothing."""
    namespace = write(lesson, name, row)
    judges = getattr(corpus(lesson), "JUDGES", {})
    names = [name]
    if f"{name}_backward" in namespace:
        names.append(f"{name}_backward")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            if name in judges:
                judges[name](namespace[name])
            else:
                check(*(find(namespace, each) for each in names))
    except Mistake as mistake:
        return mistake
    except Exception as error:
        return error


def judge_by_torch(lesson, name, row):
    """Return what the lesson's own check_backward says of a version."""
    op = name.removesuffix("_backward")
    calls = getattr(corpus(lesson), "CALLS", {})
    if op not in calls:
        return None
    torch_op, arrays, settings = calls[op]
    namespace = write(lesson, name, row)
    pair = namespace[op], namespace[f"{op}_backward"]
    try:
        check_backward(*pair, torch_op, arrays, **settings)
    except Exception as error:
        return error


def outcome(said, phrase):
    """Return which of KINDS a verdict is."""
    if said is None:
        return "passed"
    if not isinstance(said, Mistake):
        return "traceback"
    phrases = phrase.split("|")
    if any(p in str(said) for p in phrases if p != "-"):
        return "right cause"
    return "misled" if said.cause else "no cause"


def verdicts(lesson):
    """Yield name, row, phrase, and what check says, of each wrong version."""
    for name, rows in corpus(lesson).WRONG.items():
        for *row, phrase in rows:
            row = row[0] if len(row) == 1 else tuple(row)
            yield name, row, phrase, judge(lesson, name, row)


@pytest.mark.parametrize("lesson", FOUND)
def test_wrong_versions(lesson, record_property):
    counts, bad = dict.fromkeys(KINDS, 0), []
    for name, row, phrase, said in verdicts(lesson):
        kind = outcome(said, phrase)
        counts[kind] += 1
        if kind not in KINDS[:2]:
            bad.append(f"{kind}: {name}, {row}: {said!r}")
        by_torch = judge_by_torch(lesson, name, row)
        kind = outcome(by_torch, phrase)
        if kind in ("misled", "traceback"):
            bad.append(f"{kind} by torch: {name}, {row}: {by_torch}")
    record_property("mistakes", counts | {"wrong": sum(counts.values())})
    assert not bad, "\n".join(bad)
    assert counts["right cause"] >= 0.6 * sum(counts.values())


@pytest.mark.parametrize("lesson", FOUND)
def test_right_versions(lesson, record_property):
    accused = []
    for name, rows in corpus(lesson).RIGHT.items():
        for row in rows:
            said = judge(lesson, name, row)
            said = said or judge_by_torch(lesson, name, row)
            accused += [f"{name}: {said}\n{row}"] if said else []
    rows = sum(map(len, corpus(lesson).RIGHT.values()))
    record_property("mistakes", {"right": rows, "accused": len(accused)})
    assert not accused, "\n".join(accused)


@pytest.mark.parametrize("lesson", FOUND)
def test_there_are_enough(lesson):
    wrong, right = corpus(lesson).WRONG, corpus(lesson).RIGHT
    for name in wrong.keys() | right.keys():
        assert len(set(wrong[name])) == len(wrong[name]) >= 5, name
        assert len(set(right[name])) == len(right[name]) >= 3, name


if __name__ == "__main__":
    for chosen in sys.argv[1:] or FOUND:
        for name, row, phrase, said in verdicts(chosen):
            print(f"[{outcome(said, phrase)}] {name}: {row}")
            print(f"    wanted: {phrase}\n    {said}")
