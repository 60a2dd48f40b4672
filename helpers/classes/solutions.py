"""Read what a lesson publishes as the solution of its exercises.

Support code, for judge.py and sandbox.py. A blank's solution is on the shelf;
that of an exercise stands in the notebook alone, folded away below it.
"""

import ast
import json
import re
from functools import cache
from importlib import import_module
from pathlib import Path

from helpers.checks import lessons
from helpers.checks.shelf import statements

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SOLUTION = re.compile(
    r"<summary>Solution</summary>.*?```python\n(.*?)```", re.DOTALL
)


@cache
def cells_of(lesson):
    """Return [(kind, source)] of the lesson that builds a module."""
    said = f'compare_with_shelf("{lesson}")'
    for path in sorted(NOTEBOOKS.glob("[0A]*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        cells = [
            (cell["cell_type"], "".join(cell["source"]))
            for cell in notebook["cells"]
        ]
        if any(kind == "code" and said in text for kind, text in cells):
            return cells
    raise ValueError(f"no notebook builds helpers/{lesson}.py")


def code_of(lesson):
    """Return the sources of the code cells of a lesson."""
    return [text for kind, text in cells_of(lesson) if kind == "code"]


@cache
def published(lesson):
    """Return the sources of the solutions of a lesson's exercises."""
    texts = [text for kind, text in cells_of(lesson) if kind == "markdown"]
    return [source for text in texts for source in SOLUTION.findall(text)]


def solve(lesson, without=()):
    """Return {name: function} of the published solutions, without some.

    They find what the modules up to their lesson define.
    """
    world, found = {}, {}
    for name in lessons.LESSONS[: lessons.LESSONS.index(lesson) + 1]:
        world |= vars(import_module(f"helpers.{name}"))
    for source in published(lesson):
        nodes = [
            node
            for node in statements(source)
            if getattr(node, "name", None) not in without
        ]
        code = compile(ast.Module(nodes, []), "<solution>", "exec")
        exec(code, world)
        names = [node.name for node in nodes if hasattr(node, "name")]
        found |= {name: world[name] for name in names}
    return found


@cache
def solved(lesson):
    """Return {name: function} of all published solutions of a lesson."""
    return solve(lesson)


def find(lesson, name):
    """Return a function of the shelf, of a method the class, or a solution."""
    owner = name.partition(".")[0]
    if owner in lessons.names_in(lesson):
        return lessons.shelf(lesson)[owner]
    return solved(lesson)[name]
