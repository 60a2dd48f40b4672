"""Compare what a notebook defines with what is on the shelf.

Support code, used at the end of every lesson.
"""

import ast
import importlib.util
import sys

CELLS = []  # the source of every notebook cell run since the import


def compare_with_shelf(module):
    """Say for each definition of helpers/<module>.py if a notebook has it.

    Prints one line a name: "same as" or "differs from" the shelf, comparing
    the source text with the cell that was run last.
    """
    path = importlib.util.find_spec(f"helpers.{module}").origin
    with open(path, encoding="utf-8") as file:
        shelf = definitions(file.read())
    here = {}
    for cell in CELLS:
        here.update(definitions(cell))
    for name, source in shelf.items():
        verdict = "same as" if here.get(name) == source else "differs from"
        if name not in here:
            verdict = "not defined here, see"
        elif is_blank(ast.parse(here[name])):
            verdict = "not written yet, see"
        print(f"{name}: {verdict} helpers/{module}.py")


def definitions(source):
    """Return {name: source text} of functions, classes and CONSTANTS."""
    try:
        nodes, lines = ast.parse(source).body, source.splitlines()
    except SyntaxError:  # a cell with a magic in it
        return {}
    found = {}
    for node in nodes:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = text
        elif isinstance(node, ast.Assign) and _is_constant(node):
            found[node.targets[0].id] = text
    return found


def is_blank(node):
    """Say whether a function or a part of it is still to be written."""
    return any(
        isinstance(part, ast.Raise)
        and "NotImplementedError" in ast.unparse(part)
        for part in ast.walk(node)
    )


def _is_constant(node):
    """Say whether an assignment binds one upper-case name."""
    return isinstance(node.targets[0], ast.Name) and (
        node.targets[0].id.isupper()
    )


# A hook, as IPython keeps no history under nbval: In is empty there.
if "IPython" in sys.modules and (
    shell := sys.modules["IPython"].get_ipython()
):
    shell.events.register("pre_run_cell", lambda i: CELLS.append(i.raw_cell))
