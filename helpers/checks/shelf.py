"""Compare what a notebook defines with what is on the shelf.

Support code, used at the end of every lesson.
"""

import ast
import importlib.util
import re
import sys
import warnings

CELLS = []  # the source of every notebook cell run since the import
NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


def compare_with_shelf(module):
    """Say for each definition of helpers/<module>.py if a notebook has it.

    Prints one line a name: "same as" or "differs from" the shelf, comparing
    the source text with the cell that was run last; "right, in other words
    than" where the text differs and the checks agree.
    """
    from helpers.checks.table import is_right  # which imports this module

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
        elif here[name] != source and is_right(name):
            verdict = "right, in other words than"
        print(f"{name}: {verdict} helpers/{module}.py")


def definitions(source):
    """Return {name: source text} of functions, classes and CONSTANTS."""
    lines, found = lines_of(source), {}
    for node in parse(source):
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = text
        elif isinstance(node, ast.Assign) and _is_constant(node):
            found[node.targets[0].id] = text
    return found


def parse(source):
    """Return the statements of a cell; of one that is not Python, its parts'.

    A line that only IPython knows, such as %%time or !ls, is passed over.
    """
    whole, _ = parse_text(source)
    if whole is not None:
        return whole
    nodes = []
    for first, text in parts(source):
        for node in parse_text(text)[0] or []:
            nodes.append(ast.increment_lineno(node, first))
    return nodes


def parse_text(source):
    """Return the statements of a text or None, and why it is not Python."""
    magic = r"(?m)^(\s*)([%!?].*|[\w.]+\s*=\s*[%!].*|[\w.]+\?\??[ \t]*)$"
    for text in (source, re.sub(magic, r"\1pass", source)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of an escape such as "\d"
                return ast.parse(text).body, None
        except NOT_PYTHON as error:
            found = error
    return None, found


def parts(source):
    """Return (lines above it, text) of each part of a cell.

    A part begins with a function or class, or behind an empty line.
    """
    lines = lines_of(source)
    starts = [0]
    for i, (above, line) in enumerate(zip(lines, lines[1:]), 1):
        begins = re.match(r"(def|class)\b", line) and above[:1] != "@"
        if begins or (re.match(r"[@\w]", line) and not above.strip()):
            starts.append(i)
    ends = [*starts[1:], len(lines)]
    return [(i, "\n".join(lines[i:end])) for i, end in zip(starts, ends)]


def broken(source):
    """Return {name: why} of the functions of a cell that are not Python."""
    if parse_text(source)[0] is not None:
        return {}
    found = {}
    for first, text in parts(source):
        nodes, error = parse_text(text)
        name = re.search(r"(?m)^(?:def|class)\s+(\w+)", text)
        if nodes is None and name:
            line = first + (getattr(error, "lineno", None) or 1)
            why = getattr(error, "msg", None) or type(error).__name__
            found[name[1]] = f"line {line}: {why}"
    return found


def statements(source):
    """Yield the statements of a cell, and those in its if, with and try."""
    waiting = parse(source)
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            parts = ("body", "orelse", "handlers", "finalbody")
            inner = [p for part in parts for p in getattr(node, part, [])]
            waiting = inner + waiting


def lines_of(source):
    """Return the lines of a source as Python counts them.

    str.splitlines ends lines at U+2028 and others too.
    """
    return re.split(r"\r\n|\r|\n", source)


def is_blank(node):
    """Say whether a function, or one in a class or cell, is to be written.

    It is if it comes to a `raise NotImplementedError` before any return. One
    for odd input, or left beside the answer, makes no blank.
    """
    if not isinstance(node, ast.FunctionDef):
        parts = getattr(node, "body", [])
        kinds = ast.FunctionDef | ast.ClassDef
        return any(is_blank(p) for p in parts if isinstance(p, kinds))
    left = find_left_over(node)
    if left is None:
        return False
    return not any(map(_may_return, node.body[left + 1 :]))


def find_left_over(node):
    """Return which statement of a function raises NotImplementedError.

    None if there is none before the first return.
    """
    for i, part in enumerate(node.body):
        if isinstance(part, ast.Raise):
            raises = "NotImplementedError" in ast.unparse(part)
            return i if raises else None
        if _may_return(part):
            return None
    return None


def _may_return(node):
    """Say whether a statement of a function can return or yield."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
        return False
    if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom):
        return True
    return any(map(_may_return, ast.iter_child_nodes(node)))


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
