"""Make a class of students who wrote right, wrong, odd and hostile things.

    python tests/classroom.py FOLDER [100]

test_classes.py grades some of it, and with -m classroom the hundred. What
has to come is known of each function: expected.json, beside the folder of
the class, has {student: {function: verdict}}; "not right" is wrong or error.
"""

import ast
import itertools
import json
import sys
import textwrap
from functools import cache
from pathlib import Path

import test_mistakes as mistakes

from helpers.checks import exercises
from helpers.checks.cells import functions, read_lesson
from helpers.checks.lessons import names_in
from helpers.checks.shelf import lines_of
from helpers.classes.solutions import published
from helpers.classes.submissions import lessons, module_of

STEMS = {path.name[:2]: path for path in exercises.find([])}
HONEST = tuple(sorted(STEMS))


@cache
def lesson_cells(number):
    """Return the sources of a lesson's code cells, its exercises solved."""
    cells = read_lesson(STEMS[number]).cells
    code = [c.source for c in cells if c.cell_type == "code"]
    return code + published(module_of(STEMS[number]))


@cache
def copy_cells(number):
    """Return the sources of the copy of a lesson, with its blanks."""
    cells = exercises.to_exercise(STEMS[number], "../notebooks").cells
    return [c.source for c in cells if c.cell_type == "code"]


def names_of(number):
    """Return the graded functions of a lesson."""
    return lessons()[STEMS[number]]


def write_in(cells, versions):
    """Return cells in which functions have other versions.

    versions: {name: source}, of a class the whole of it.
    """
    found = list(cells)
    for name, source in versions.items():
        owner = name.partition(".")[0]
        for i, cell in enumerate(found):
            for node in ast.parse(cell).body:
                if getattr(node, "name", None) == owner:
                    lines = lines_of(cell)
                    heads = [node, *node.decorator_list]
                    first = min(head.lineno for head in heads) - 1
                    lines[first : node.end_lineno] = source.splitlines()
                    found[i] = "\n".join(lines)
                    break
    return found


def notebook(cells, output=None):
    """Return a notebook as JSON; output: what its last cell printed."""
    printed = [{"output_type": "stream", "name": "stdout", "text": output}]
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "metadata": {},
                    "source": source,
                    "execution_count": 1,
                    "outputs": printed if output else [],
                }
                for source in cells
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


# honest work


def corpus(number, kind):
    """Return {function: rows} of tests/mistakes for a lesson."""
    lesson = module_of(STEMS[number])
    return getattr(mistakes.corpus(lesson), kind)


def version(number, name, row):
    """Return the source of a version from tests/mistakes."""
    lesson = module_of(STEMS[number])
    if isinstance(row, str):
        return textwrap.dedent(row).strip("\n")
    source = mistakes.source_of(lesson, name)
    part = mistakes.part_of(source, name)
    return source.replace(part, part.replace(*row))


def right_student(number, k):
    """Return the cells of a student who writes in another style."""
    rows = corpus(number, "RIGHT")
    versions = {
        name: version(number, name, rows[name][k % len(rows[name])])
        for name in names_of(number)
        if name in rows and "." not in name
    }
    cells = lesson_cells(number)
    for name in versions.keys() - names_in(module_of(STEMS[number])):
        cells = [*cells, versions.pop(name)]  # an exercise, both its halves
    return write_in(cells, versions), {}


def wrong_student(number, k, some=3):
    """Return the cells of a student with some mistakes."""
    rows, shelf = corpus(number, "WRONG"), names_in(module_of(STEMS[number]))
    names = [n for n in names_of(number) if n in shelf.intersection(rows)]
    names = [n for n in names if "." not in n]
    chosen = list(itertools.islice(itertools.cycle(names), k, k + 3 * some, 3))
    versions = {
        name: version(number, name, wrong_row(rows[name], k))
        for name in dict.fromkeys(chosen)
    }
    expected = dict.fromkeys(versions, "not right")
    return write_in(lesson_cells(number), versions), expected


def wrong_row(rows, k):
    """Return the k-th wrong version, without the phrase of its verdict."""
    *row, _ = rows[k % len(rows)]
    return row[0] if len(row) == 1 else tuple(row)


def half_student(number, k):
    """Return the cells of a student who wrote the first k functions."""
    done = [name for name in names_of(number)[:k] if "." not in name]
    source = {}
    for cell in lesson_cells(number):
        for name, node in functions(cell).items():
            if name in done:
                heads = [node, *node.decorator_list]
                first = min(head.lineno for head in heads) - 1
                lines = lines_of(cell)[first : node.end_lineno]
                source[name] = "\n".join(lines)
    left = [name for name in names_of(number) if name not in done]
    expected = dict.fromkeys(left, "blank")
    return write_in(copy_cells(number), source), expected


# what is odd: {title: ({function: source}, {function: verdict})}, of lesson 01

HEAD = "def softmax(x):\n"
RIGHT = """\
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights, weights"""
GIVES_UP = "    return x, x"


def softmax(*lines, rest=GIVES_UP, before=()):
    """Return a softmax that begins with other lines."""
    body = [f"    {line}" for line in lines]
    return {"softmax": "\n".join([*before, HEAD + "\n".join(body), rest])}


def odd_students(outside):
    """Return {title: (versions, expected)} of odd and hostile functions."""
    spoilt = str(outside / "spoilt")
    canary = str(outside / "canary")
    shelf = str(exercises.ROOT / "helpers/attention.py")
    found = {
        "loop": (softmax("while True: pass"), "time-out"),
        "sleep": (softmax("import time; time.sleep(10**6)"), "time-out"),
        "memory": (softmax("a = [np.ones(10**7) for _ in range(10**6)]"),
                   "error"),
        "list": (softmax("a = [0]", "while True: a += a"), "error"),
        "flood": (softmax("while True: print('x' * 10**6)"), "time-out"),
        "recursion": (softmax("return softmax(x)"), "error"),
        "exit": (softmax("import os; os._exit(0)"), "error"),
        "quit": (softmax("raise SystemExit"), "error"),
        "huge": (softmax("return np.ones((9000, 9000)), x"), "error"),
        "object": (softmax("class A: pass", "return A(), x"), "wrong"),
        "pickle": (softmax(
            "class A(np.ndarray):",
            f"    def __reduce__(self): return open, ({spoilt!r}, 'w')",
            "return np.zeros(3).view(A), x"), "wrong"),
        "shelf inside": (softmax(
            "from helpers.attention import softmax as f", "return f(x)"),
            "import"),
        "shelf above": (softmax(
            "return shelf.softmax(x)",
            before=["import helpers.attention as shelf", ""]), "import"),
        "shelf by name": (softmax(
            "import importlib",
            "return importlib.import_module('helpers.attention').softmax(x)"),
            "import"),
        "shelf alone": ({"softmax": "from helpers.attention import softmax"},
                        "import"),
        "shelf in a module": (softmax(
            "import sys",
            "f = [m for n, m in sys.modules.items() if 'attention' in n]",
            "return f[0].softmax(x)"), "error"),
        "shelf around": (softmax(
            "return multi_head_attention.__globals__['softmax'](x)"),
            "not right"),
        "shelf from disk": (softmax(
            f"text = open({shelf!r}).read()", "space = {}",
            "exec(text, space)",
            "return space['softmax'](x)"), "error"),
        "torch": (softmax("import torch", "y = torch.softmax(x, -1)"),
                  "import"),
        "patched numpy": (softmax(
            "np.abs = np.subtract = lambda *a, **k: 0 * x",
            "np.allclose = np.array_equal = lambda *a, **k: True"), "wrong"),
        "patched checks": (softmax(
            "import helpers.checks.verdicts as v",
            "v.compare = lambda *a, **k: None"), "import"),
        "patched modules": (softmax(
            "import sys", "for m in list(sys.modules.values()):",
            "    for n in ('compare', 'judge_out', 'find_problem', 'pack'):",
            "        hasattr(m, n) and setattr(m, n, lambda *a, **k: None)"),
            "not right"),
        "frames": (softmax(
            "try: 1 / 0",
            "except ZeroDivisionError as e: f = e.__traceback__.tb_frame",
            "while f:",
            "    for k, v in list(f.f_locals.items()):",
            "        if hasattr(v, 'expected'): v.expected = x",
            "    f = f.f_back"), "wrong"),
        "answers": (softmax(
            "import sys", "try: 1 / 0",
            "except ZeroDivisionError as e: f = e.__traceback__.tb_frame",
            "while f and 'tell' not in f.f_locals: f = f.f_back",
            "for _ in range(11): f.f_locals['tell'](cases={})",
            "f.f_locals['tell'](ended=True)", "import os", "os._exit(0)"),
            "not right"),
        "results": (softmax(
            "import os",
            """said = b'{"cases": {}}\\n{"ended": true}\\n'""",
            "for fd in range(3, 64):",
            "    for _ in range(30):",
            "        try: os.write(fd, said)",
            "        except OSError: pass", "os._exit(0)"), "not right"),
        "rereads": (softmax(
            "import sys", "f = sys._getframe()",
            "while 'code_of' not in f.f_globals: f = f.f_back",
            "text = [s for s in f.f_globals['code_of']('attention')",
            "        if 'def softmax' in s][0]",
            "space = {'np': np}", "exec(text, space)",
            "return space['softmax'](x)"), "error"),
        "regrows": (softmax(
            "import ast, sys", "f = sys._getframe()",
            "while 'lessons' not in f.f_globals: f = f.f_back",
            "nodes = f.f_globals['lessons'].tree_of('attention')",
            "nodes = [n for n in nodes if getattr(n, 'name', 0) == 'softmax']",
            "space = {'np': np}",
            "exec(compile(ast.Module(nodes, []), 'x', 'exec'), space)",
            "return space['softmax'](x)"), "error"),
        "equals all": (softmax(
            "class A:",
            "    shape, ndim, dtype = x.shape, x.ndim, x.dtype",
            "    def __eq__(s, o): return True",
            "    def __sub__(s, o): return 0 * x",
            "    def __array__(s, *a, **k): return x",
            "    __rsub__ = __sub__", "return A(), x"), "wrong"),
        "lies": (softmax(
            "class A(np.ndarray):",
            "    def __sub__(s, o): return np.zeros(s.shape)",
            "    __rsub__ = __sub__",
            "    __array_ufunc__ = lambda s, *a, **k: np.zeros(s.shape)",
            "    __eq__ = lambda s, o: np.ones(s.shape, bool)",
            "return x.view(A), x"), "wrong"),
        "dies late": (softmax(
            "class A:",
            "    def __del__(s): raise SystemExit",
            "class B:",
            "    def __del__(s): raise KeyboardInterrupt",
            "B()", "return x, A()"), "wrong"),
        "at exit": (softmax(
            "import atexit, os",
            "atexit.register(os._exit, 0)"), "wrong"),
        "traces": (softmax(
            "import sys",
            "def look(f, e, a): f.f_locals.update(expected=x)",
            "sys.settrace(look)"), "error"),
        "collects": (softmax(
            "import gc",
            "f = [o for o in gc.get_objects()",
            "     if getattr(o, '__name__', '') == 'softmax']",
            "return f[0](x)"), "error"),
        "late thread": (softmax(
            "import threading, time",
            "def late(): time.sleep(1), print('softmax: right')",
            "threading.Thread(target=late, daemon=True).start()"), "error"),
        "hides": (softmax(
            "import sys", "f = sys._getframe()",
            "while f:",
            "    if 'seen' in f.f_locals: f.f_locals['seen'].clear()",
            "    f = f.f_back",
            f"open({spoilt!r}, 'w')"), "error"),
        "pipes": (softmax(f"import os; os.mkfifo({spoilt!r})"), "error"),
        "node": (softmax(f"import os; os.mknod({spoilt!r})"), "error"),
        "database": (softmax(
            "import sys; sys.meta_path.clear()",
            f"import sqlite3; sqlite3.connect({spoilt!r}).execute('x')"),
            "import"),
        "interpreter": (softmax(
            "import _xxsubinterpreters as i",
            f"to = {spoilt!r}",
            "i.run_string(i.create(), 'open(%r, 1)' % to)"),
            "import"),
        "cases": ({"sinusoidal_positions":
                   "def sinusoidal_positions(T, C):\n"
                   "    import sys; f = sys._getframe()\n"
                   "    while 'cases' not in f.f_globals: f = f.f_back\n"
                   "    known = f.f_globals['cases'].embeddings\n"
                   "    return known._table(T, C)"}, "error"),
        "exercise": ({"window_mask": "def window_mask(T, w):\n"
                      "    return np.tri(T, dtype=bool)"}, "wrong"),
        "writes": (softmax(f"open({spoilt!r}, 'w').write('x')"), "error"),
        "deletes": (softmax(f"import os; os.remove({canary!r})"), "error"),
        "renames": (softmax(f"import os; os.rename({canary!r}, 'x')"),
                    "error"),
        "links": (softmax(f"import os; os.symlink({canary!r}, 'x')"),
                  "error"),
        "climbs": (softmax("open('../../spoilt', 'w').write('x')"), "error"),
        "dumps": (softmax(f"np.save({spoilt!r}, x)"), "error"),
        "shell": (softmax(f"import os; os.system('touch {spoilt}')"),
                  "error"),
        "process": (softmax(
            f"import subprocess; subprocess.run(['touch', {spoilt!r}])"),
            "error"),
        "fork bomb": (softmax("import os", "while True: os.fork()"), "error"),
        "quiet bomb": (softmax(
            "import _posixsubprocess as p, os",
            "a = [b'sh', b'-c', b'sleep 60 & sleep 60']",
            "r, w = os.pipe()",
            "while True: p.fork_exec(a, [b'/bin/sh'], True, (), None, None,"
            " -1, -1, -1, -1, -1, -1, r, w, False, False, 0, None, None,"
            " None, -1, None, True)"), "error"),
        "threads": (softmax(
            "import threading, time",
            "while True: threading.Thread(target=time.sleep, args=(99,))"
            ".start()"), "error"),
        "kills": (softmax("import os; os.kill(os.getppid(), 9)"), "error"),
        "socket": (softmax("import socket",
                           "socket.create_connection(('127.0.0.1', 80))"),
                   "error"),
        "ctypes": (softmax("import ctypes; ctypes.string_at(0)"), "error"),
        "many files": (softmax(
            "for i in range(10**6): open(f'{i}', 'w').write('x' * 10**6)"),
            "error"),
        "own notes": (softmax(
            "open('notes', 'w').write('x')", "import os",
            "os.makedirs('d', exist_ok=True)",
            "os.rename('notes', 'd/notes')", rest=RIGHT),
            "right"),
        "prints": (softmax("print('softmax: right in 6 cases')"), "wrong"),
        "syntax": ({"softmax": "def softmax(x:\n    return x"}, "error"),
        "deep": ({"softmax": "def softmax(x):\n    return "
                  + "(" * 5000 + ")" * 5000}, "error"),
        "null": ({"softmax": "def softmax(x):\n    return '\0'"}, "error"),
        "gone": ({"softmax": ""}, "blank"),
        "lambda": ({"softmax": "softmax = lambda x: (x, x)"}, "wrong"),
        "a number": ({"softmax": "softmax = 3"}, "blank"),
        "async": ({"softmax": "async def softmax(x):\n    return x"},
                  "blank"),
        "default": ({"softmax": "def softmax(x, _=open('/etc/passwd')):\n"
                     "    return x"}, "error"),
    }  # fmt: skip
    return {
        title: (versions, dict.fromkeys(versions, verdict))
        for title, (versions, verdict) in found.items()
    }


FILES = {  # what is no notebook
    "broken": b'{"cells": [',
    "empty": b"",
    "binary": bytes(range(256)) * 40,
    "bare": b'{"cells": [], "metadata": {}}',
    "other form": b'{"cells": {"a": 1}}',
    "nested": b"[" * 100_000,
    "other work": notebook(["def foo():\n    return 1"]).encode(),
}


# the class


def make_class(folder, n=100, outside=None):
    """Write what n students hand in; return what has to come of them.

    {student: {function: verdict}}; what is not named is right. {} stands
    for a notebook that is all right, {"": "unreadable"} for none.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    outside = Path(outside or folder.parent)
    expected = {}
    students = itertools.islice(class_of(outside), n)
    for i, (title, student) in enumerate(students):
        name = f"{i:03} {title}"
        content, expected[name] = student
        place = folder / name / "work.ipynb"
        if i % 3 == 1:  # a notebook a student
            place = folder / f"{name}.ipynb"
        elif i % 3 == 2:  # as Moodle has it
            place = folder / f"{name}_assignsubmission_file" / "work.ipynb"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    return expected


def class_of(outside):
    """Yield (title, (content of a file, expected)), the telling ones first."""
    odd = [odd_student(*item) for item in odd_students(outside).items()]
    files = [(t, (c, {"": "unreadable"})) for t, c in FILES.items()]
    honest = honest_students()
    yield from few(odd, files, honest)
    yield from [*odd, *files]
    yield from honest


def few(odd, files, honest):
    """Yield one of each kind, for a small class, and take them out."""
    titles = ("shelf inside", "loop", "fork bomb", "writes", "patched numpy")
    for title in titles:
        (found,) = [student for student in odd if student[0] == title]
        odd.remove(found)
        yield found
    yield files.pop(0)
    for _ in range(3):
        yield next(honest)


def odd_student(title, item):
    """Return an odd student, who has the rest of a lesson right."""
    versions, expected = item
    numbers = [n for n in ("01", "02") if versions.keys() <= {*names_of(n)}]
    cells = write_in(lesson_cells(numbers[0]), versions)
    output = "softmax: right in 6 cases\n" * (title == "prints")
    return title, (notebook(cells, output).encode(), expected)


def honest_students():
    """Yield students who did their work, well or not, one after another."""
    kinds = [right_student, wrong_student, half_student]
    for k in itertools.count():
        for kind in kinds:
            number = HONEST[k % len(HONEST)]
            cells, expected = kind(number, k + 1)
            title = f"{kind.__name__[:-8]} {number} {k}"
            yield title, (notebook(cells).encode(), expected)


if __name__ == "__main__":
    to = Path(sys.argv[1])
    made = make_class(to, int(sys.argv[2]) if sys.argv[2:] else 100)
    to.with_name("expected.json").write_text(json.dumps(made, indent=1))
