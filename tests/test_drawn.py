"""What a grade is made of: every function, and numbers of its term.

The exercises are graded as the rest is: the published solution and others
that are right are right, and wrong ones are not. tests/mistakes has what
learners write, and exercises.py the rest.
"""

import json
from functools import cache

import exercises
import numpy as np
import pytest
import test_mistakes as mistakes

from helpers.checks import lessons
from helpers.checks.cells import to_write
from helpers.classes import drawn, judge, sandbox, solutions
from helpers.classes.judge import seed_of
from helpers.classes.submissions import lessons as graded
from helpers.classes.submissions import module_of

SEED = seed_of("2027-spring", "grade")
EXERCISES = [
    (module_of(path), name)
    for path, names in graded().items()
    for name in names
    if name not in lessons.names_in(module_of(path))
]
UNSEEN = {  # in a corpus, no mistake where a pair is apart
    ", dtype=logits.dtype",  # a cache in float64 behind a loss, a float
    "_, full_cache = feed_forward(*cache)",  # right, and slow
}
SAME = {  # functions whose cases are the same in every term, and why
    "best_seconds": "it measures a time; there is no answer to learn by heart",
    "perplexity": "",
}


@cache
def room_of(lesson):
    return sandbox.prepare(lesson)


def grade(lesson, name, sources):
    """Return the Row of a function, as grade.py finds it without fences."""
    cells = solutions.code_of(lesson) + list(sources)
    job = {"lesson": lesson, "names": [name], "cells": cells}
    job |= {"room": room_of(lesson)}
    rows = []
    for way in sandbox.ways_of(lesson, name):
        theirs = dict(lessons.shelf(lesson))
        if way == "beside":
            theirs |= solutions.solve(lesson)
        functions = sandbox.take(job, name, theirs, way)
        said = [
            sandbox.try_run(functions, case, dtype, name)
            for case, dtype in sandbox.draw_cases(lesson, name, SEED)
        ]
        answer = {"cases": json.loads(json.dumps(said)), "ended": True}
        answer = sandbox.NO_ANSWER | answer
        rows.append(judge.judge_way(lesson, name, answer, SEED))
        if rows[-1].verdict == "right":
            break
    return judge.judge(rows)


def published(lesson, name, row=None):
    """Return the published solutions, with one replacement in a function."""
    sources = list(solutions.published(lesson))
    (at,) = [i for i, s in enumerate(sources) if f"def {name}(" in s]
    if row:
        before, found, after = sources[at].partition(f"def {name}(")
        part, end, rest = after.partition("\n\n\n")
        assert part.count(row[0]) == 1, f"{name}: {row[0]!r}"
        sources[at] = before + found + part.replace(*row) + end + rest
    return sources


def is_right(lesson, name, sources):
    """Say whether a function is right, and the backward beside it."""
    pair = {name, f"{name}_backward"} & {n for _, n in EXERCISES}
    rows = [grade(lesson, each, sources) for each in pair]
    return all(row.verdict == "right" for row in rows)


def versions(lesson, name):
    """Return the right and the wrong versions of an exercise, as cells."""
    right, wrong = exercises.VERSIONS.get(lesson, {}).get(name, ([], []))
    right, wrong = (
        [published(lesson, name, row) for row in rows]
        for rows in (right, wrong)
    )
    if not right:
        corpus = mistakes.corpus(lesson)
        right = [written(lesson, name, r) for r in corpus.RIGHT[name][:1]]
        rows = [r for r in corpus.WRONG[name] if r[0] not in UNSEEN]
        some = rows[:: len(rows) - 1]  # test_mistakes.py has them all
        wrong = [written(lesson, name, r[:-1]) for r in some]
    return [published(lesson, name), *right], wrong


def written(lesson, name, row):
    """Return the published solutions, and behind them a version."""
    if isinstance(row, str) or len(row) == 1:
        source = row if isinstance(row, str) else row[0]
    else:
        source = mistakes.source_of(lesson, name)
        part = mistakes.part_of(source, name)
        source = source.replace(part, part.replace(*row))
    return [*published(lesson, name), source]


def test_every_function_that_is_written_is_graded():
    for path, names in graded().items():
        assert names == to_write(path), path.name
    assert len(EXERCISES) > 45


@pytest.mark.parametrize("lesson, name", EXERCISES)
def test_an_exercise_is_graded(lesson, name):
    right, wrong = versions(lesson, name)
    assert len(right) >= 2 <= len(wrong)
    for sources in right:
        row = grade(lesson, name, sources)
        assert row.verdict == "right", (row, sources[-1])
    assert not [s[-1] for s in wrong if is_right(lesson, name, s)]


# the terms


def told(value):
    """Return what goes into a case, as something that can be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return [(key, told(part)) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [told(part) for part in value]
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return told({**vars(value)})
    return "" if isinstance(value, np.random.Generator) else repr(value)


def inputs(lesson, name, term):
    """Return what goes into the cases of a function in a term."""
    forward = sandbox.kinds_of(lesson, name)[1]
    cases = drawn.find_cases(lesson, forward, seed_of(term, "grade"))
    return [told([case.arguments, case.settings]) for case in cases]


@pytest.mark.parametrize("path", graded(), ids=lambda path: path.stem)
def test_two_terms_have_other_cases_for_every_function(path):
    lesson = module_of(path)
    same = {
        name
        for name in graded()[path]
        if all(
            one == other
            for one, other in zip(
                inputs(lesson, name, "spring"), inputs(lesson, name, "fall")
            )
        )
    }
    assert same == set(SAME) & set(graded()[path])
    for name in graded()[path]:
        assert inputs(lesson, name, "a") == inputs(lesson, name, "a")


def test_a_grade_has_no_numbers_that_a_course_shows():
    """Its checks, and what has to come of them, are in a student's hands."""
    shown = [
        told([case.arguments, case.settings])
        for case in drawn.find_cases("attention", "softmax", seed_of("spring"))
    ]
    assert not [
        case
        for case in inputs("attention", "softmax", "spring")
        if case in shown
    ]
