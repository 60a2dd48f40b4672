"""What the cases of helpers/checks expect is what the shelf and torch compute.

check() compares with recorded numbers; here they are computed anew, and where
torch has the operation, by torch too. And every usual mistake that causes
know can be computed for every case.
"""

import numpy as np
import pytest

from helpers.checks import answers, causes, check, torch_ops
from helpers.checks.cases import cast, find_cases, with_cases
from helpers.checks.inspection import Trial
from helpers.checks.lessons import names_in, shelf
from helpers.checks.record import compute, find, is_recorded
from helpers.checks.torch_answers import TorchAnswer
from helpers.checks.verdicts import compare
from helpers.runs.params import named_arrays

CASES = [
    (lesson, name, case.title)
    for lesson, names in with_cases().items()
    for name in names
    for case in find_cases(lesson, name)
]
every_case = pytest.mark.parametrize("lesson, name, title", CASES)


def find_case(lesson, name, title):
    """Return one case, with its arrays in float64."""
    cases = find_cases(lesson, name)
    (case,) = [case for case in cases if case.title == title]
    case.arguments = cast(case.arguments, np.float64)
    case.settings = cast(case.settings, np.float64)
    return case


@pytest.mark.parametrize("lesson", with_cases())
def test_nothing_is_recorded_that_no_case_asks_for(lesson):
    wanted = {(n, title) for module, n, title in CASES if module == lesson}
    recorded = {
        (name, title)
        for name, titles in answers.load(lesson).items()
        for title in titles
    }
    assert recorded <= wanted
    assert (answers.FOLDER / f"{lesson}.npz").stat().st_size < 100_000


@every_case
def test_recorded_is_what_the_shelf_returns(lesson, name, title):
    case = find_case(lesson, name, title)
    if is_recorded(case):
        recorded = answers.load(lesson)[name][title]
        compare("result", compute(lesson, name, case), recorded, 1e-12)


def has_torch(lesson, name, title):
    """Say whether torch has the operation of a case."""
    case = find_case(lesson, name, title)
    return hasattr(torch_ops, name) and not case.use and is_recorded(case)


@pytest.mark.parametrize(
    "lesson, name, title", [case for case in CASES if has_torch(*case)]
)
def test_recorded_is_what_torch_returns(lesson, name, title):
    pytest.importorskip("torch")
    case = find_case(lesson, name, title)
    torch_op = getattr(torch_ops, name)
    recorded = answers.load(lesson)[name][title]
    if case.kind == "value":
        got = torch_op(*case.arguments, **case.settings).numpy()
        compare("result", got, recorded, 1e-9)
        return
    given = list(case.arguments), case.settings
    torchs = TorchAnswer(torch_op, *given)
    compare("out", torchs.out, recorded["out"], 1e-9)
    trial = Trial(find(lesson, name), None, *given, np.float64, 0, None)
    grads = torchs.grads(trial.draw_dout(torchs.out))
    for got, expected in zip(grads, recorded["grads"], strict=True):
        compare("grad", named_arrays(got), named_arrays(expected), 1e-9)


@pytest.mark.parametrize(
    "lesson, name",
    [(m, n) for m, names in with_cases().items() for n in names],
)
def test_the_shelf_is_right(lesson, name, capsys):
    for each in {name, f"{name}_backward"} & names_in(lesson):
        owner, _, method = each.partition(".")
        function = shelf(lesson)[owner]
        check(getattr(function, method) if method else function)
        assert f"{each}: right in" in capsys.readouterr().out


@every_case
def test_causes_can_be_computed(lesson, name, title):
    case = find_case(lesson, name, title)
    if case.kind == "refusal" or case.use:
        return
    with np.errstate(all="ignore"):
        if formulas := causes.find(name):
            list(formulas(*case.arguments, **case.settings))
        if formulas := causes.find(f"{name}_backward"):
            recorded = answers.load(lesson)[name][title]
            dout = np.ones_like(recorded["out"])
            list(formulas(dout, *case.arguments, **case.settings))
