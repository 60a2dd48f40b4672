"""Record what the checks expect: of the cases, and of torch in the lessons.

    python -m helpers.checks.record [attention ...] [01 ...]

Support code. A module names the cases of a lesson, which the shelf answers;
a number names a lesson, whose checks PyTorch answers. Without names all are
recorded. tests/test_answers.py and tests/test_torch_answers.py prove that
what is recorded is what the shelf, and torch, compute.
"""

import sys
from pathlib import Path

import nbformat
import numpy as np

from helpers.checks import answers, gradients, optimizers, torch_answers
from helpers.checks.blanks import adapt
from helpers.checks.cases import RECORDED, cast, find_cases, with_cases
from helpers.checks.inspection import Trial, run_backward, run_forward
from helpers.checks.kernels import (
    Step,
    apart,
    execute,
    with_checks,
    without_looks,
)
from helpers.checks.lessons import shelf

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


# the cases


def record(lesson, names, seed=None):
    """Return {function: {title: what has to come}} for a lesson."""
    found = {}
    for name in names:
        cases = [c for c in find_cases(lesson, name, seed) if is_recorded(c)]
        found[name] = {c.title: compute(lesson, name, c) for c in cases}
    return {name: kept for name, kept in found.items() if kept}


def is_recorded(case):
    """Say whether what has to come of a case is not said by itself."""
    return case.kind != "refusal" and case.expected is RECORDED


def find(lesson, name):
    """Return a function of the shelf; of a method, the class."""
    return shelf(lesson)[name.partition(".")[0]]


def compute(lesson, name, case, find=find):
    """Return what the right function returns in a case, in float64.

    find: what finds it, by default on the shelf.
    """
    case.arguments = cast(case.arguments, np.float64)
    case.settings = cast(case.settings, np.float64)
    function = find(lesson, name)
    if case.kind == "value":
        function = adapt(name, function, case)
        return function(*case.arguments, **case.settings)
    pair = function, find(lesson, f"{name}_backward")
    op, op_backward = case.use(*pair) if case.use else pair
    given = list(case.arguments), case.settings, np.float64, 0, None
    trial = Trial(op, op_backward, *given, case.in_place)
    out, cache = run_forward(trial)
    grads = run_backward(trial, trial.draw_dout(out), cache)
    return {"out": out, "grads": grads}


# torch's answers

BEFORE = """\
%reset -f
import pathlib, helpers
helpers.DATA = pathlib.Path({data!r})
from helpers.checks.record import keep_answers
keep_answers({path!r})
del helpers, keep_answers, pathlib"""


def ask_torch(lessons):
    """Return {path: {label: {number: row}}}: torch's answers to checks.

    The cells of all lessons run in one kernel, as far as a verdict needs
    them; each lesson begins without names. Raises ValueError if a cell fails.
    """
    if not lessons:  # no kernel for nothing
        return {}
    with apart(NOTEBOOKS) as (place, data):
        files = {path: place / f"{path.stem}.npz" for path in lessons}
        steps = []
        for lesson, file in files.items():
            before = BEFORE.format(data=str(data), path=str(file))
            steps += [Step(lesson.stem, before), *steps_of(lesson)]
        note = execute(steps, place / "exercises", len(lessons))
        if note != "runs to its end":
            raise ValueError(f"a lesson {note}")
        asked = {path: file for path, file in files.items() if file.exists()}
        return {path: answers.read(file) for path, file in asked.items()}


def steps_of(lesson):
    """Return the steps of a lesson that bear on a verdict, with its name."""
    steps, _ = with_checks(lesson, nbformat.read(lesson, as_version=4))
    return [
        step._replace(number=f"{lesson.stem} {step.number}")
        for step in without_looks(steps, lesson)
    ]


def keep_answers(path):
    """Write to a file what torch answers to the checks of this kernel."""
    kept = {}

    def find(torch_op, inputs, settings):
        answer = torch_answers.TorchAnswer(torch_op, inputs, settings)
        rows = kept.setdefault(torch_answers.label_of(torch_op), {})
        filed = {label: [*rows.values()] for label, rows in kept.items()}
        if not torch_answers.look_up(torch_op, inputs, settings, filed):
            trial = Trial(None, None, inputs, settings, np.float64, 0, None)
            dout = trial.draw_dout(answer.out)
            row = torch_answers.to_row(answer, settings, dout)
            rows[str(len(rows))] = row
            answers.write(Path(path), kept)
        return answer

    gradients.find_answer = optimizers.find_answer = find


# both


def main(names):
    """Write the answers of some lessons, or of all; say how large."""
    for lesson, functions in with_cases().items():
        if not names or lesson in names:
            save(lesson, record(lesson, functions))
    lessons = [
        path
        for path in sorted(NOTEBOOKS.glob("[0A]*.ipynb"))
        if not names or path.name.startswith(tuple(names))
    ]
    for path, found in ask_torch(lessons).items():
        save(f"torch_{path.stem}", found)


def save(name, found):
    """Write the answers of one file, if there are any; say how large."""
    path = answers.FOLDER / f"{name}.npz"
    if found:
        answers.write(path, found)
        print(f"{name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
