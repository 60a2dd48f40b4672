"""Try each function that you wrote on its cases: right, wrong, or blank."""

import pytest

from helpers.checks.blanks import check_one
from helpers.checks.cases import find_cases
from helpers.checks.cells import code_cells, read, to_write
from helpers.checks.exercises import EXERCISES, find
from helpers.checks.lift import lift
from helpers.checks.mine import module_of, world_of
from helpers.checks.table import find_own, look_up, read_states
from helpers.checks.verdicts import Mistake


def functions():
    """Yield (lesson, name) of what is to be written and has cases."""
    for lesson in find([]):
        module = module_of(lesson).__name__.removeprefix("helpers.")
        for name in to_write(lesson):
            forward = name.removesuffix("_backward")
            if find_cases(module, name) or find_cases(module, forward):
                yield lesson, name


@pytest.mark.parametrize(
    "lesson, name",
    [
        pytest.param(*row, id=f"{row[0].stem[:2]}-{row[1]}")
        for row in functions()
    ],
)
def test_function(lesson, name):
    path = EXERCISES / lesson.name
    if not path.is_file():
        pytest.skip("not begun: make exercises writes it")
    sources = [cell.source for cell in code_cells(read(path))]
    state = look_up(read_states(sources), name)
    if not state or state.word == "blank":
        pytest.skip("blank")
    if state.word == "wrong":
        pytest.fail(f"{name}: {state.sentence}", pytrace=False)
    module = module_of(lesson)
    mine = lift(sources, world_of(module), to_write(lesson))
    function = find_own(name, mine)
    assert function, "no cell defines it"
    said = verdict(function)
    if said:
        pytest.fail(said, pytrace=False)


def verdict(function):
    """Return what is wrong with a function, "" if nothing is."""
    try:
        check_one(function)
    except NotImplementedError as error:
        pytest.skip(f"{error}")
    except Mistake as mistake:
        return f"{mistake}"
    return ""
