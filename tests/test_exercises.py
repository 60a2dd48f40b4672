"""The notebooks to fill in: what is left out, and that it can be put back.

The cells of a copy run here without a kernel, one after the other. Where one
stops because a function is blank, the lesson's own is put back and the cell
runs again. So every function is missed once, and once all are there, every
check must pass. With all put back a copy is the lesson, which nbval runs:
what no check needs is left out here, and what trains does so for few steps.
What needs kernels is tested on small lessons of its own.
"""

import ast
import contextlib
import copy
import dis
import io
import itertools
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from functools import cache
from types import CodeType

import matplotlib
import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import helpers
from helpers import checks, tinystories
from helpers.checks import (
    cells,
    exercises,
    gradients,
    is_blank,
    kernels,
    names,
)
from helpers.checks.exercises import functions, has_tag
from helpers.checks.kernels import FAILED
from helpers.checks.table import live_states

pytest.importorskip("torch")  # the lessons check with it
matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore")
PATHS = {path.stem: path for path in exercises.find([])}
every_lesson = pytest.mark.parametrize("name", PATHS)


@cache
def lesson(name):
    return nbformat.read(PATHS[name], as_version=4)


@cache
def exercise(name):
    return exercises.to_exercise(PATHS[name], "../notebooks")


def pairs(name):
    """Return each cell of a lesson with the same cell of its copy."""
    cells = {cell.id: cell for cell in exercise(name).cells}
    return [(cell, cells[cell.id]) for cell in lesson(name).cells]


def blank_pairs(name):
    return [pair for pair in pairs(name) if has_tag(pair[0], "blank")]


def body_of(node):
    """Return where the lines of a body begin and end, docstring left out."""
    first = node.body[0]
    doc = ast.get_docstring(node)
    return slice(
        first.end_lineno if doc else first.lineno - 1, node.end_lineno
    )


def put_back(blank, solution, name):
    """Return a blank's source with the body of one function put back."""
    lines = blank.splitlines()
    place, body = functions(blank)[name], functions(solution)[name]
    lines[body_of(place)] = solution.splitlines()[body_of(body)]
    return "\n".join(lines)


# the copy beside the lesson


@every_lesson
def test_nothing_but_the_blanks_differs(name):
    turns = {f"{cell.id}-turn" for cell, _ in blank_pairs(name)}
    ids = [cell.id for cell in exercise(name).cells]
    added = {"intro", "progress"} | turns
    assert turns and added <= set(ids)
    assert [i for i in ids if i not in added] == [
        cell.id for cell in lesson(name).cells
    ]
    for cell, other in pairs(name):
        assert cell.cell_type == other.cell_type
        assert cell.metadata == other.metadata
        if cell.cell_type == "markdown":
            assert other.source.replace("../notebooks/", "") == cell.source
        elif not has_tag(cell, "blank"):
            assert other.source == cell.source
    code = exercises.code_cells(exercise(name))
    assert not any(cell.outputs or cell.execution_count for cell in code)


@every_lesson
def test_a_blank_is_its_solution_with_lines_removed(name):
    for cell, blank in blank_pairs(name):
        source = blank.source
        assert max(map(len, source.splitlines())) <= 79
        for function, node in functions(source).items():
            if function in exercises.given(cell):
                continue
            (statement,) = node.body[bool(ast.get_docstring(node)) :]
            assert isinstance(statement, ast.Raise)
            message = ast.literal_eval(statement.exc.args[0])
            assert re.match(rf"write {re.escape(function)}(:|$)", message)
            source = put_back(source, cell.source, function)
        assert source == cell.source != blank.source


@every_lesson
def test_every_blank_has_a_hint(name):
    cells = {cell.id: cell for cell in exercise(name).cells}
    for cell, _ in blank_pairs(name):
        names = set(exercises.blanks_of(cell))
        owners = {function.partition(".")[0] for function in names}
        hints, turn = cell.metadata["hints"], cells[f"{cell.id}-turn"].source
        assert hints and set(hints) <= names | owners
        assert turn.count("<details>") == len(hints)
        assert all(hint in turn for hint in hints.values())
        assert all(f"`{function}`" in turn for function in names)


@every_lesson
def test_every_blank_has_a_contract(name):
    """What it gets and returns stands above it, also in the copy."""
    cells = {cell.id: cell for cell in exercise(name).cells}
    for cell, _ in blank_pairs(name):
        contract = cell.metadata["contract"]
        assert set(contract) == set(exercises.blanks_of(cell))
        turn = cells[f"{cell.id}-turn"].source
        for function, text in contract.items():
            assert f"- `{function}`: {text}" in turn
            assert len(text.split()) >= 4, function


def calls_of(cell):
    """Return the calls of the checks in a cell, outside functions."""
    nodes = ast.parse(cell.source).body
    return [
        call
        for node in nodes
        if not isinstance(node, ast.FunctionDef | ast.ClassDef)
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "").startswith(("check", "try_"))
    ]


@every_lesson
def test_no_answer_stands_in_a_call(name):
    """A blank is checked by its name; an answer is a number or a name."""
    for cell in exercises.code_cells(exercise(name)):
        for call in calls_of(cell):
            if call.func.id == "check":
                assert all(
                    isinstance(argument, ast.Name | ast.Attribute)
                    for argument in call.args
                )
            elif call.func.id == "try_value" and has_tag(cell, "exercise"):
                expected = call.args[1]
                stubs = {*cells.stubs_of(cell)}
                named = {getattr(n, "id", None) for n in ast.walk(expected)}
                assert not stubs & named
                assert not has_list(expected) or name == "07_generation"


def has_list(node):
    """Say whether a source holds a list of numbers."""
    return any(
        isinstance(part, ast.List | ast.Tuple)
        and len(part.elts) > 2
        and all(isinstance(e, ast.Constant) for e in part.elts)
        for part in ast.walk(node)
    )


@every_lesson
def test_links_lead_somewhere(name):
    folder = exercises.EXERCISES
    for cell in exercise(name).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([\w./-]+\.\w+)\)", cell.source):
                path = os.path.normpath(folder / target)
                is_copy = target.removesuffix(".ipynb") in PATHS
                assert is_copy or os.path.exists(path), target


# which cells to run

LOADS = ("LOAD_NAME", "LOAD_GLOBAL")
CHECKS = {n for n in checks.__all__ if n.startswith(("check_", "try_"))}


def reads(code):
    """Return the global names that code, or a function in it, looks up."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in LOADS}
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return found.union(*map(reads, inner))


class Names:
    """Say which names a cell uses, takes from above, binds, or changes.

    It uses what its statements look up, function bodies left out: these are
    in `bodies`, by the name of the function.
    """

    def __init__(self, source):
        tree, defined = ast.parse(source), (ast.FunctionDef, ast.ClassDef)
        code = compile(tree, "<cell>", "exec")
        self.bodies, self.uses = {}, set()
        for node in tree.body:
            names = reads(compile(ast.Module([node], []), "<cell>", "exec"))
            if isinstance(node, defined):
                self.bodies[node.name] = names
            else:
                self.uses |= names
        self.binds, self.takes = set(), set()
        for step in dis.get_instructions(code):
            if step.opname == "STORE_NAME":
                self.binds.add(step.argval)
            elif step.opname in LOADS and step.argval not in self.binds:
                self.takes.add(step.argval)
        self.takes |= reads(code) - self.binds
        self.changes = {changed(node) for node in ast.walk(tree)}


def changed(node):
    """Return x of `x[0] = 1`, `x.y = 1` and `x.append(1)`, else None."""
    part = node
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        part = node.value.func
    elif not isinstance(getattr(node, "ctx", None), ast.Store):
        return None
    if not isinstance(part, ast.Attribute | ast.Subscript):
        return None
    while isinstance(part, ast.Attribute | ast.Subscript):
        part = part.value
    return getattr(part, "id", None)


def with_what_they_need(wanted, cells):
    """Return the wanted places in a list of Names, and those they rest on."""
    kept, left = set(), list(wanted)
    while left:
        if (place := left.pop()) in kept:
            continue
        kept.add(place)
        names, seen = set(cells[place].takes), set()
        while names:
            seen.add(name := names.pop())
            for above in reversed(range(place)):
                cell = cells[above]
                if name in cell.binds | cell.changes:
                    left.append(above)
                if name in cell.binds:
                    names |= cell.bodies.get(name, set()) - seen
                    break
    return kept


def reachable(names, cells):
    """Return names, and those that functions of these names look up."""
    left, seen = set(names), set()
    while left:
        seen.add(name := left.pop())
        for cell in cells:
            left |= cell.bodies.get(name, set()) - seen
    return seen


def to_run(name, blanks):
    """Return the ids of the cells of a lesson that its copy has to run.

    These are all down to the first that uses a blank, all that check, the
    first to use a blank that none of these uses, and what they rest on.
    """
    lesson_cells = exercises.code_cells(lesson(name))
    cells = [Names(cell.source) for cell in lesson_cells]
    users = {blank.partition(".")[0]: [] for blank in blanks}
    for depth in (lambda names, cells: names, reachable):  # itself comes first
        for place, cell in enumerate(cells):
            for blank in set(users) & depth(cell.uses, cells):
                users[blank].append(place)
    first = min(places[0] for places in users.values())
    checking = {place for place, c in enumerate(cells) if c.uses & CHECKS}
    kept = with_what_they_need({*range(first + 1), *checking}, cells)
    for places in users.values():
        if not kept & set(places):
            kept |= with_what_they_need(places[:1], cells)
    return {lesson_cells[place].id for place in kept}


# running it

NAMING = (ast.Assign, ast.ClassDef)  # of functions, or of a class above


class Reader:
    """Run the cells of a copy; put back what they find missing."""

    def __init__(self, name):
        self.namespace = {"__name__": "__main__"}
        self.cells = copy.deepcopy(exercise(name).cells)
        cells = {cell.id: cell for cell in self.cells}
        self.blanks = {  # function: the blank and the lesson's source
            function: (cells[cell.id], cell.source)
            for cell, _ in blank_pairs(name)
            for function in exercises.blanks_of(cell)
        }
        self.missed = []  # (id of the cell that stopped, function)
        self.tables = []  # cells run that do nothing but name things

    def run(self, cell):
        """Run a cell as often as it takes; return what it prints."""
        while True:
            try:
                printed = self.execute(cell.source)
                nodes = ast.parse(cell.source).body
                if all(isinstance(node, NAMING) for node in nodes):
                    self.tables.append(cell)
                return printed
            except NotImplementedError as error:
                function = re.match(r"write ([\w.]+)", str(error))[1]
                self.missed.append((cell.id, function))
                self.restore(function)

    def restore(self, function):
        """Put one function back; run its cell and tables with it again."""
        cell, solution = self.blanks[function]
        cell.source = put_back(cell.source, solution, function)
        with contextlib.suppress(NotImplementedError):  # of its own check
            self.execute(cell.source)
        owner = function.partition(".")[0]
        for table in self.tables:
            if owner in table.source and table is not cell:
                self.execute(table.source)

    def execute(self, source):
        """Run a source; return what it prints."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "<cell>", "exec"), self.namespace)
        return printed.getvalue()

    def first_call(self):
        """Return the id of the first cell that names a blank it calls."""
        names = {function.partition(".")[0] for function in self.blanks}
        for cell in self.cells:
            if cell.cell_type == "code":
                body = ast.parse(cell.source).body
                if has_tag(cell, "blank"):  # its check, and no function
                    body = [n for n in body if isinstance(n, ast.Expr)]
                nodes = itertools.chain.from_iterable(map(ast.walk, body))
                if names & {getattr(node, "id", None) for node in nodes}:
                    return cell.id


ONCE = {  # for all lessons, and for cells that run several times
    name: cache(getattr(tinystories, name))
    for name in ("open_stories", "train_bpe")
}


@pytest.fixture
def data(monkeypatch, tmp_path):
    """Let lessons write elsewhere, and read what is shipped."""
    runs = [f"runs/{name}" for name in helpers.SHIPPED_RUNS]
    for shipped in (*runs, "experiments"):
        shutil.copytree(helpers.DATA / shipped, tmp_path / shipped)
    monkeypatch.setattr(helpers, "DATA", tmp_path)
    monkeypatch.setenv("WORKBOOK_DATA", "grammar")
    monkeypatch.setattr(checks, "VERDICTS", [])
    for slow, once in ONCE.items():
        monkeypatch.setattr(tinystories, slow, once)
    yield


FEW = {  # in a lesson: here
    "run.step % 60 ==": "run.step % 4 ==",
    " = make_data(9)": " = (part[:64] for part in make_data(9))",
    " = unseen_questions(train, valid)": (
        " = unseen_questions(train, valid)[::50]"
    ),
    "draw_requests(60, ": "draw_requests(8, ",  # A5
    "lr=3e-3, warmup=20": "lr=3e-3, warmup=1",
    "losses).reshape(-1, 10)": "losses).reshape(-1, 4)",
    "range(10, 241, 10)": "[4]",
    "verified(*pair)": "len(pair[1]) % 2",  # what is hardly tuned splits too
}


def shorten(source):
    """Let a lesson train for a few steps, on little."""
    for text, here in FEW.items():
        source = source.replace(text, here)
    return re.sub(
        r"\b(steps=|range\()(\d{3,})",
        lambda found: f"{found[1]}{int(found[2]) // 50}",
        source,
    )


def solve(cell, below):
    """Return the solution of an exercise, and the cell with stubs removed."""
    text = re.split(r"<summary>Solution</summary>", below.source)[1]
    solution = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    solved = functions(solution)
    stubs = functions(cell.source)
    assert {n for n, node in stubs.items() if is_blank(node)} == set(solved)
    lines = cell.source.splitlines()
    for name in reversed(solved):
        node = stubs[name]
        assert ast.unparse(node.args) == ast.unparse(solved[name].args)
        del lines[node.lineno - 1 : node.end_lineno]
    return solution, "\n".join(lines)


@every_lesson
def test_stops_at_every_blank_and_passes_when_all_are_back(name, data):
    reader = Reader(name)
    first_call = reader.first_call()
    places = to_run(name, reader.blanks)
    for cell, below in zip(reader.cells, [*reader.cells[1:], None]):
        if cell.id not in places and not has_tag(cell, "blank"):
            continue
        cell.source = shorten(cell.source)
        printed = reader.run(cell)
        if has_tag(cell, "exercise"):
            assert printed.startswith("not yet: ")
            solution, check = solve(cell, below)
            reader.execute(solution)
            printed = reader.execute(check)
            right = r"(matches torch: out.*\n|right\n)+"
            assert re.fullmatch(right, printed), printed
    assert reader.missed[0][0] == first_call
    assert {function for _, function in reader.missed} == set(reader.blanks)
    assert not [
        v for v in checks.VERDICTS if v[1] in FAILED and v[0] in reader.blanks
    ]


def test_exercises_are_three_a_lesson():
    for name in PATHS:
        cells = [c for c in lesson(name).cells if has_tag(c, "exercise")]
        assert len(cells) == 3, name


# writing it


def test_writing_again_loses_nothing(tmp_path, capsys):
    folder = tmp_path / "exercises"
    exercises.write_exercises(folder=folder)
    first, second, third, *_ = (folder / f"{name}.ipynb" for name in PATHS)
    first.write_text(first.read_text("utf-8").replace("raise", "return"))
    second.write_bytes(b"half a note")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    third.unlink()
    capsys.readouterr()
    exercises.write_exercises(folder=folder)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after == before
    said = capsys.readouterr().out.splitlines()
    assert ["kept" in line for line in said].count(False) == 1
    assert "make exercises FRESH=01" in said[0]
    for _ in range(2):
        exercises.write_exercises(["01"], folder=folder)
    fresh = {path.name for path in folder.iterdir()} - set(before)
    assert fresh == {f"{first.stem}.fresh-{n}.ipynb" for n in (1, 2)}
    assert first.read_bytes() == before[first.name]


def test_an_unknown_lesson_is_refused(capsys):
    assert exercises.main(["write", "--fresh", "99"]) == 2
    assert "no lesson begins with '99'" in capsys.readouterr().err


# kernels: Run All, and the table

IMPORT = "from helpers.checks import compare_with_shelf, try_value"
LESSON = '''\
def double(x):
    """Return twice x."""
    return 2 * x


def half(x):
    """Return half of x."""
    return x / 2'''
STUB = '''\
def triple(x):
    """Return three times x."""
    raise NotImplementedError("the next one")


try_value(triple, 3, 1)'''
CALLS = ["print(double(2))", "try_value(double, 4, 2); try_value(half, 1, 2)"]


def write_lesson(path, blank=LESSON, stub=STUB):
    """Write a small lesson, or somebody's copy of it."""
    cells = [
        new_markdown_cell("# A small lesson"),
        new_code_cell(IMPORT),
        new_code_cell(blank, metadata={"tags": ["blank"]}),
        *map(new_code_cell, CALLS),
        new_code_cell(stub, metadata={"tags": ["exercise"]}),
    ]
    for i, cell in enumerate(cells):  # a copy keeps the ids of its lesson
        cell.id = f"c{i}"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)


def test_run_all_stops_with_a_sentence(tmp_path):
    write_lesson(tmp_path / "01_small.ipynb")
    notebook = exercises.to_exercise(tmp_path / "01_small.ipynb", ".")
    client = NotebookClient(notebook, kernel_name="python3")
    with pytest.raises(CellExecutionError):
        client.execute()
    _, imports, blank, call, *rest = exercises.code_cells(notebook)
    assert imports.execution_count and not (imports.outputs + blank.outputs)
    (output,) = call.outputs
    assert output.output_type == "error"
    assert output.ename == "NotImplementedError"
    assert output.traceback == ["not yet: write double: Return twice x"]
    assert not any(cell.execution_count for cell in rest)


@pytest.fixture
def learner(tmp_path):
    """Write six equal lessons, and six copies in different states."""
    lessons, folder = tmp_path / "notebooks", tmp_path / "exercises"
    wrong = LESSON.replace("2 * x", "3 * x")
    both = wrong.replace("x / 2", "x / 0")
    sources = {
        "01_begun": (wrong, STUB.replace("raise", "return 3 * x #")),
        "02_damaged": (LESSON,),
        "03_deadly": (LESSON + "\nimport os; os._exit(1)",),
        "04_mistyped": (LESSON.replace("):", ")", 1),),
        "05_missing": (both,),
        "06_untouched": (exercises.leave_blank(LESSON),),
    }
    for name, parts in sources.items():
        write_lesson(lessons / f"{name}.ipynb")
        write_lesson(folder / f"{name}.ipynb", *parts)
    (folder / "02_damaged.ipynb").write_text('{"cells": [')
    (folder / "05_missing.ipynb").unlink()
    return {"lessons": lessons, "folder": folder}


def test_the_table(learner, capsys):
    files = {p.name: p.read_bytes() for p in learner["folder"].iterdir()}
    exercises.progress(**learner)
    said = re.split(r"(?m)^(?=\d\d_)", capsys.readouterr().out)[1:]
    rows = [" ".join(text.split()) for text in said]
    assert rows[0].startswith(
        "01_begun: runs to its end double wrong half right triple right 2 of 3"
        " right, 1 wrong double: result is 6, expected 4"
    )
    assert rows[1].startswith("02_damaged: is no notebook")
    assert "03_deadly: did not get past [2]: its kernel died" in rows[2]
    assert "04_mistyped: stops at [2]: SyntaxError" in rows[3]
    assert "double wrong half written triple blank" in rows[3]
    assert "double: it is not Python: line 1: expected ':'" in rows[3]
    assert "05_missing: not begun" in rows[4]
    assert "06_untouched: all blank double blank half blank" in rows[5]
    total = "all: 2 of 18 right, 2 wrong, 8 blank, 3 written, 3 unreadable"
    assert rows[5].endswith(total)
    kept = {p.name: p.read_bytes() for p in learner["folder"].iterdir()}
    results = json.loads(kept.pop(exercises.RESULTS))
    assert kept == files and set(results) == {p.split(":")[0] for p in rows}


def test_the_first_cell_shows_what_was_run(learner, capsys):
    def shown(name="01_begun"):
        exercises.show_progress(name, **learner)
        return " ".join(capsys.readouterr().out.split())

    assert "not run since it changed" in shown()
    assert "double written" in shown()
    assert "written: no check has looked at it" in shown()
    exercises.progress(["01"], **learner)
    capsys.readouterr()
    assert "double wrong half right" in shown()
    path = learner["folder"] / "01_begun.ipynb"
    text = path.read_text("utf-8")
    path.write_text(text.replace("x / 2", "x / 3"), "utf-8")
    assert "double wrong half written" in shown()  # double is as it was
    (learner["folder"] / exercises.RESULTS).write_text("[]")
    assert "not run since" in shown()
    assert "not begun" in shown("05_missing")
    assert "is no notebook" in shown("02_damaged")


# the table goes on, whatever lies in exercises/


def cells_changed(**changes):
    """Return a notebook whose first code cell is changed; None removes."""
    cell = new_code_cell("x = 1") | changes
    cell = {key: value for key, value in cell.items() if value is not None}
    return json.dumps(new_notebook() | {"cells": [cell]})


DAMAGED = {
    "empty": "",
    "half": '{"cells": [',
    "null": "null",
    "a number": "5",
    "a list": "[1]",
    "deep": "[" * 100_000,
    "other json": '{"cells": 5}',
    "latin-1": b'{"caf\xe9": 1}',
    "no source": json.dumps(
        new_notebook()
        | {"cells": [{"cell_type": "code", "metadata": {}, "outputs": []}]}
    ),
    "no kind": cells_changed(cell_type=None),
    "odd kind": cells_changed(cell_type="odd"),
    "source 5": cells_changed(source=5),
    "escapes": '{"cells": "\x1b[31m\x1b]0;owned\x07"',
}
ODD_FILES = {
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "loop": lambda path: path.symlink_to(path),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "link to a pipe": lambda path: (
        os.mkfifo(path.with_name("pipe")),
        path.symlink_to("pipe"),
    ),
    "huge": lambda path: (path.touch(), os.truncate(path, 2**40)),
} | {
    name: lambda path, text=text: path.write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    for name, text in DAMAGED.items()
}
on_posix = pytest.mark.skipif(os.name == "nt", reason="pipes and links")

ODD_FIELDS = {
    str(fields): fields
    for fields in (
        {"note": 5},
        {"digests": 5},
        {"verdicts": 5},
        {"verdicts": [5]},
        {"verdicts": [[]]},
        {"verdicts": [["double", "right"]]},
        {"verdicts": [["double", "right", 5]]},
    )
}


@pytest.fixture
def two(tmp_path):
    """Write two lessons, and a copy of the second that is all blank."""
    lessons, folder = tmp_path / "notebooks", tmp_path / "exercises"
    for name in ("01_first", "02_second"):
        write_lesson(lessons / f"{name}.ipynb")
    blank = exercises.leave_blank(LESSON)
    write_lesson(folder / "02_second.ipynb", blank)
    return {"lessons": lessons, "folder": folder}


@on_posix
@pytest.mark.parametrize("name", ODD_FILES)
def test_the_table_goes_on_past_a_file(name, two, capsys):
    path = two["folder"] / "01_first.ipynb"
    ODD_FILES[name](path)
    exercises.progress(**two)
    exercises.show_progress("01_first", **two)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("01_first: is no notebook: ")
    assert first.isprintable() and len(first) < 250
    assert rest[0] == "02_second: all blank" and rest[-1] == first
    exercises.write_exercises(**two)
    assert "01_first.ipynb: kept as it is" in capsys.readouterr().out
    assert os.path.lexists(path)


@on_posix
@pytest.mark.parametrize(
    "name",
    [
        *ODD_FILES,
        *("true", '"text"', '{"02_second": 5}', '{"02_second": {}}'),
        *ODD_FIELDS,
    ],
)
def test_the_table_goes_on_past_odd_results(name, two, capsys):
    code = exercises.digest(exercises.read(two["folder"] / "02_second.ipynb"))
    path = two["folder"] / exercises.RESULTS
    if name in ODD_FILES:
        ODD_FILES[name](path)
    else:
        if name in ODD_FIELDS:
            kept = {"code": code, "note": "x", "verdicts": [], "digests": {}}
            name = json.dumps({"02_second": kept | ODD_FIELDS[name]})
        path.write_text(name)
    exercises.show_progress("02_second", **two)
    exercises.progress(["02"], **two)
    said = capsys.readouterr().out
    assert said.startswith("02_second: not run since it changed")
    assert "02_second: all blank" in said
    if "pipe" in name:
        assert stat.S_ISFIFO(path.stat().st_mode)
        assert f"{exercises.RESULTS} cannot be written (it is a device" in said


@on_posix
def test_what_a_link_leads_to_stays(two, tmp_path):
    target, link = tmp_path / "precious", two["folder"] / exercises.RESULTS
    target.write_text("kept")
    link.symlink_to(target)
    exercises.progress(**two)
    assert target.read_text() == "kept"
    assert not link.is_symlink() and "02_second" in link.read_text()


def test_what_is_blank():
    def blank(*lines):
        body = "".join(f"    {line}\n" for line in lines)
        return is_blank(ast.parse(f"def f(x):\n{body}"))

    given = 'raise NotImplementedError("write f")'
    assert blank(given) and blank('"""Say."""', given)
    assert blank("y = 2 * x", given)
    assert blank("def g(y):", "    return y", given)
    assert not blank("return x", given)
    assert not blank("if x is None:", f"    {given}", "return x")
    assert not blank("if x:", "    return 1", given)
    assert not blank("yield x", given)
    assert not blank(given, "return 2 * x")
    assert blank(given, "y = 2 * x")
    assert not blank("raise ValueError(x)", given)
    assert not blank("pass")


@pytest.mark.parametrize(
    "cell",
    [
        "%%time\ndef f(x):\n    return x",
        "!ls\ndef f(x):\n    return x",
        "def f(x):\n    return x\nf?",
        "?f\nfiles = !ls\nif True:\n    %pwd\ndef f(x):\n    return x",
        "f = lambda x: x",
        "from mine import g as f",
        "if True:\n    def f(x):\n        return x",
        "try:\n    f = 1\nexcept ValueError:\n    pass",
        "#\u2028\x0c\x85\ndef f(x):\n    return x",
    ],
)
def test_what_a_cell_defines(cell):
    notebook = new_notebook(cells=[new_code_cell(cell)])
    assert exercises.blanks(notebook) == {"f": False}
    found = checks.definitions(cell).get("f", "def f(x):\n    return x")
    assert found == "def f(x):\n    return x"


@pytest.mark.parametrize(
    "cell", ["%%bash\nls -l", "x = (", "x = '\0'", "x = " + "1 +" * 20_000]
)
def test_a_cell_that_is_not_python_defines_nothing(cell):
    assert functions(cell) == {} and checks.definitions(cell) == {}


def test_no_lesson_assigns_to_the_name_of_a_blank():
    for path in PATHS.values():
        names = set(exercises.to_write(path))
        for cell in exercises.code_cells(lesson(path.stem)):
            assert not names & {*cells.assigned(cell.source)}


# in kernels


@pytest.fixture
def ran(tmp_path, capfd):
    """Return a function that runs a copy and returns all that is printed.

    It takes what the copy has in place of the lesson's blank, or a function
    that edits the cells of a right copy.
    """
    lessons, folder = tmp_path / "notebooks", tmp_path / "exercises"
    path = folder / "01_small.ipynb"
    write_lesson(lessons / path.name)

    def ran(blank=LESSON, edit=None):
        write_lesson(path, blank)
        if edit:
            notebook = nbformat.read(path, as_version=4)
            edit(notebook.cells)
            nbformat.write(notebook, path)
        exercises.progress(lessons=lessons, folder=folder)
        said = "".join(capfd.readouterr())
        assert all(line.isprintable() for line in said.splitlines()), said
        return " ".join(said.split())

    ran.folder = folder
    return ran


ROWS = "double right half right triple blank 2 of 3 right, 1 blank"
RIGHT = f"runs to its end {ROWS}"


@pytest.mark.parametrize(
    "line",
    [
        "print(5); print('[\"x\"]')",
        "import sys; sys.stdout = open('out.txt', 'w')",
        "import os; os.close(1); os.close(2)",
        "print = open = str = list = json = None",
        "import builtins; builtins.print = lambda *_: None",
        "import os; os.chdir('/')",
        "print('x' * 10**8)",
        "exit()",
    ],
)
def test_verdicts_come_whatever_is_printed(line, ran):
    said = ran(f"{LESSON}\n\n{line}")
    assert said.endswith(f" {ROWS}")


def test_nothing_of_a_copy_reaches_the_terminal(ran):
    escape = "\x1b]0;owned\x07"
    line = f"import os; os.write(1, {escape.encode()}); os.write(2, b'yes')"
    line += f"; print({escape!r}); os.system('echo yes'); raise OSError(%r)"
    said = ran(f"{LESSON}\n\n{line % escape}")
    assert "stops at [2]: OSError: ]0;owned" in said
    assert "half right" in said
    assert "yes" not in said


def test_a_question_gets_no_answer_and_is_named(ran):
    said = ran(f"{LESSON}\n\ninput()")
    assert "stops at [2]: StdinNotImplementedError: " in said


@pytest.mark.parametrize("name", ["pipe", "loop", "link to a pipe", "link"])
@on_posix
def test_a_copy_runs_beside_anything(name, ran):
    make = ODD_FILES | {"link": lambda path: path.symlink_to("..")}
    ran.folder.mkdir()
    make[name](ran.folder / "beside")
    (ran.folder / "mine.py").write_text("two = 2")
    source = LESSON.replace("2 * x", "two * x")
    assert ran(f"from mine import two\n\n\n{source}") == f"01_small: {RIGHT}"


def test_a_copy_that_never_ends_keeps_its_verdicts(ran, monkeypatch):
    endless, ask = "while True: pass", kernels.ask

    def hurry(manager, client, source, end):
        """Let the endless cell alone be short of time."""
        limit = 1 if source == endless else kernels.COPY_SECONDS
        monkeypatch.setattr(kernels, "CELL_SECONDS", limit)
        return ask(manager, client, source, end)

    monkeypatch.setattr(kernels, "ask", hurry)
    said = ran(edit=lambda cells: cells.append(new_code_cell(endless)))
    assert said == f"01_small: did not get past [6]: it took too long {ROWS}"


def test_a_copy_writes_no_endless_file(ran, monkeypatch):
    line = "open('big', 'wb').truncate(2**40)"
    assert "stops at [2]: OSError" in ran(f"{LESSON}\n\n{line}")


def test_the_checks_are_the_lessons(ran):
    """Changed, removed, or outdone: they judge all the same."""
    wrong = LESSON.replace("2 * x", "3 * x").replace("x / 2", "x / 3")
    forged = """
from helpers.checks import VERDICTS
VERDICTS += [("double", "right"), ("half", "matches torch"), (5, None)]"""

    def change(cells):
        cells[4].source = "try_value(double, 6, 2)" + forged

    def remove(cells):
        del cells[4]

    for edit in (change, remove):
        assert "double wrong half wrong" in ran(wrong + forged, edit)

    def spoil(cells):
        cells[4].source = "undefined"
        cells[5].source = STUB.replace("raise", "return 3 * x #") + "\n1 / 0"
        cells.append(new_code_cell("try_value(double, 5, 2)"))

    said = ran(edit=spoil)
    assert "stops at [5]: ZeroDivisionError" in said
    assert "double right half right triple right" in said


def test_of_a_cell_that_only_shows_the_check_alone_runs(tmp_path):
    sources = [
        "check(double, half)\n\nprint(double(3))",
        "z = 3",
        "check(half)\ny = 5",
        "x = 6\ncheck_backward(half, x)",
        "try_value(half, 1, y)",
    ]
    path = tmp_path / "01_small.ipynb"
    notebook = new_notebook(cells=[*map(new_code_cell, sources)])
    nbformat.write(notebook, path)
    table = exercises.SWITCH.format(name="01_small", number="01")
    own = table.replace("# use_my", "use_my")
    for first, stays in ((table, []), (own, [own])):
        cells = [new_code_cell(first, id="progress"), *notebook.cells]
        copy = new_notebook(cells=cells)
        steps, _ = kernels.with_checks(path, copy)
        kept = [step.source for step in kernels.without_looks(steps, path)]
        assert kept == [*stays, "check(double, half)", *sources[2:]]


CHANGES = {
    "weights[...] = 1": "weights",
    "weights[0] += 1": "weights",
    "run.step = 3": "run",
    "del table['a']": "table",
    "log.append(row)": "log row",
    "run.log.append(3)": "run",
    "fill(weights, [loss])": "weights",
    "fill(*both, out=weights[0])": "both weights",
    "np.add.at(weights, ids, 1)": "np weights ids",
    "for _ in train_steps(run, draw): pass": "run draw",
    "losses = [loss for loss in islice(walk(run), 3)]": "run",
    "loss, _ = train_step(run, gradient=step)": "run step",
    "steps = train_steps(run, draw)": "run draw",
    "if loss:\n    for w in (1, 2):\n        weights[w] = 1": "weights",
    "print(f(weights)); len(weights)": "",
    "for a, b in zip(range(3), weights.items()): print(a)": "",
    "loss = measure(run)": "",
    "plot_lines(weights); draw.row(weights); check(f)": "",
    "def fill(x):\n    x[0] = 1": "",
    "double = lambda x: x.append(1)": "",
    "ranks = train_bpe(text, 5)": "",
}


@pytest.mark.parametrize("source", CHANGES)
def test_what_a_cell_may_change_in_place(source):
    assert names.changed(source, {"draw"}) == {*CHANGES[source].split()}


def test_a_cell_of_any_depth_is_looked_through():
    deep = "np" + ".a" * 900 + "[0] = 1\nimport numpy as np"
    assert names.changed(deep) == {"np"}
    assert names.imported([deep]) == ({"np"}, set())


def slice_of(sources, path):
    """Return of the cells of a small lesson what bears on a verdict."""
    notebook = new_notebook(cells=[*map(new_code_cell, sources)])
    nbformat.write(notebook, path)
    steps, _ = kernels.with_checks(path, notebook)
    return [step.source for step in kernels.without_looks(steps, path)]


TRAINING = "for _ in train_steps(run, draw, steps=500):\n    pass"


@pytest.mark.parametrize(
    "change",
    [
        "run.params[...] = 1",
        "run.log.append(3)",
        "losses = [loss for loss in train_steps(run, draw)]",
        "loss = train_step(run)",
    ],
)
def test_a_cell_that_changes_what_a_check_reads_stays(change, tmp_path):
    checks = ["run = start()", change, "try_value(half, 1, run)"]
    assert slice_of(checks, tmp_path / "01_small.ipynb") == checks
    checks[-1] = "try_value(half, 1, other)"
    assert slice_of(checks, tmp_path / "01_small.ipynb") == checks[2:]


def test_training_in_place_stays_and_is_short(tmp_path):
    sources = ["run = start()", TRAINING, "try_value(half, 1, run)"]
    found = slice_of(sources, tmp_path / "01_small.ipynb")
    assert found == [sources[0], TRAINING.replace("500", "10"), sources[2]]


def test_a_cell_that_only_looks_at_what_a_check_reads_goes(tmp_path):
    sources = ["import numpy as np\nfrom helpers.pictures import a as draw"]
    sources += ["draw.row(run)", "for x in np.diff(x): print(x)"]
    sources += ["try_value(half, np.ones(3), run, draw)"]
    found = slice_of(sources, tmp_path / "01_small.ipynb")
    assert found == [sources[0], sources[-1]]


def test_an_exercise_is_judged_by_what_its_check_finds(tmp_path, capsys):
    """Where a check calls another function, with the exercise's in it."""
    stub = STUB.replace("triple, 3, 1", "(lambda f: f(1)), 3, triple")
    lessons, folder = tmp_path / "notebooks", tmp_path / "exercises"
    write_lesson(lessons / "01_small.ipynb", stub=stub)
    answer = stub.replace("raise", "return 4 * x #")
    write_lesson(folder / "01_small.ipynb", stub=answer)
    exercises.progress(lessons=lessons, folder=folder)
    assert "triple wrong" in " ".join(capsys.readouterr().out.split())


def test_a_copy_finds_the_tables_and_the_run_that_are_shipped(ran):
    line = """
from helpers import DATA
(DATA / "experiments" / "A2_runs.csv").read_text()
(DATA / "runs" / "tinystories" / "config.json").read_text()
(DATA / "new").write_text("kept apart")"""
    assert ran(LESSON + line) == f"01_small: {RIGHT}"
    assert not (helpers.DATA / "new").exists()


def solved(name, folder):
    """Write a copy of a lesson in which everything is right."""
    notebook = copy.deepcopy(lesson(name))
    for cell, below in itertools.pairwise(notebook.cells):
        if has_tag(cell, "exercise"):
            cell.source = "\n\n\n".join(solve(cell, below))
    folder.mkdir()
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.mark.slow
@every_lesson
def test_a_right_copy_runs_to_its_end_and_all_of_it_is_right(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("WORKBOOK_DATA", "grammar")
    solved(name, tmp_path / "exercises")
    exercises.progress([name], folder=tmp_path / "exercises")
    n = len(exercises.to_write(PATHS[name]))
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == f"{name}: runs to its end"
    assert last == f"    {n} of {n} right"


def test_an_exercise_is_not_tried_on_the_cases_of_another_lesson():
    """rms_norm is an exercise of 03 and of A2, and a function of A4."""
    source = "def rms_norm(x):\n    return 2 * x"
    namespace = {"__name__": "__main__"}
    exec(source, namespace)
    names = ["rms_norm"]
    assert live_states(names, namespace)["rms_norm"].word == "wrong"
    gradients.LATEST.clear()
    states = live_states(names, namespace, exercises=names)
    assert states["rms_norm"].word == "written"
    keeper = kernels.Keeper({"try_value(rms_norm)": names}, names)
    keeper.look(source, namespace)
    assert keeper.rows() == []
    keeper = kernels.Keeper({}, names)
    keeper.look(source, namespace)
    assert keeper.rows()[0][1] != "right"


STOPPED = """
import functools, pathlib, sys
from helpers.checks import exercises

place = pathlib.Path(sys.argv[1])
folders = {"lessons": place / "notebooks", "folder": place / "exercises"}
exercises.progress = functools.partial(exercises.progress, **folders)
sys.exit(exercises.main(["progress"]))
"""


@on_posix
def test_control_c_stops_the_table_and_the_kernel(tmp_path):
    for name in ("01_first", "02_second"):
        write_lesson(tmp_path / "notebooks" / f"{name}.ipynb")
        source = f"{LESSON}\n\nopen('begun', 'w')\nwhile True: pass"
        source = source.replace("begun", str(tmp_path / "begun"))
        write_lesson(tmp_path / "exercises" / f"{name}.ipynb", source)
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.1)
    (kernel,) = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "\nstopped\n")
    assert process.returncode == 130
    psutil.wait_procs([kernel], timeout=10)
    assert not kernel.is_running()


def test_the_help_says_whose_rights_a_copy_has(capsys):
    with pytest.raises(SystemExit):
        exercises.main(["progress", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "with your rights" in said


def test_copies_are_written_without_torch_or_a_kernel():
    """It would take seconds to import them."""
    source = """
import sys
from helpers.checks import exercises
print({"torch", "matplotlib", "IPython", "jupyter_client"} & {*sys.modules})
"""
    run = [sys.executable, "-c", source]
    assert subprocess.check_output(run, text=True) == "set()\n"


@pytest.mark.parametrize("name", ["04_language_model"])
def test_a_cell_may_run_again_after_the_last(name, data):
    """Later cells leave its names alone."""
    namespace = {"__name__": "__main__"}
    sources = [cell.source for cell in exercises.code_cells(lesson(name))]
    for source in [*sources, *reversed(sources)]:
        with contextlib.redirect_stdout(None):
            exec(compile(source, "<cell>", "exec"), namespace)
