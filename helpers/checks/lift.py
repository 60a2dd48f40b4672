"""Take functions out of a notebook by its syntax tree, with what they need.

Support code, for mine.py and the grading of a class. Nothing else of the
notebook runs.
"""

import ast
import contextlib
import io
import symtable

from helpers.checks.shelf import statements


def lift(sources, world, names):
    """Return the namespace of cells that have run only what names need.

    world: the names that are there before; of these only what the cells
    define under one of names takes the place.
    """
    nodes = {}  # name: the statement that binds it last
    for source in sources:
        for node in statements(source):
            nodes |= dict.fromkeys(bound_by(node), node)
    owners = {name.partition(".")[0] for name in names}
    wanted, waiting = set(), [n for n in owners if n in nodes]
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting += [
            other
            for other in read_by(nodes[name])
            if other in nodes
            and other not in wanted
            and (other in owners or other not in world)
        ]
    lifted = world | {"__name__": "__main__"}
    once = {id(nodes[name]): nodes[name] for name in nodes if name in wanted}
    for node in once.values():
        source = ast.Module([node], [])
        silent = contextlib.redirect_stdout(io.StringIO())
        with contextlib.suppress(Exception), silent:
            exec(compile(source, "<your function>", "exec"), lifted)
    return lifted


def read_by(node):
    """Return the names that a statement reads from around it, sorted.

    What is local to a function or its own argument is not among them.
    """
    top = symtable.symtable(ast.unparse(node), "<cell>", "exec")
    found, waiting = set(), [top]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        found |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (table is top or symbol.is_global())
        }
    return sorted(found)


def bound_by(node):
    """Return the names that a statement of a notebook binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [a.asname or a.name.partition(".")[0] for a in node.names]
        return [name for name in names if name != "*"]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [
        part.id
        for target in targets
        for part in ast.walk(target)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    ]
