"""Which names a cell binds, needs of others, and may change in place.

Support code for kernels.py.
"""

import ast
import builtins
import re

from helpers.checks.shelf import parse

BODIES = "body", "orelse", "handlers", "finalbody"  # of a statement
APART = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
TRAINS = r"train(_steps?|_on_\w+)?$"  # names of what trains a run
LOOKS = r"(check|compare_|display|plot|show|slide|try_)"  # and of what looks
PICTURES = r"helpers\.(checks|pictures)\b"  # modules that only look
READS = {"copy", "get", "items", "keys", "split", "splitlines", "values"}
HARMLESS = {*dir(builtins)} - {"delattr", "next", "setattr"}


class Names:
    """Hold the names that a cell binds, and those it needs from others."""

    def __init__(self, nodes):
        self.bound, self.read = set(), set()
        self.scan(nodes)

    def scan(self, nodes):
        """Go through statements in their order."""
        for node in nodes:
            inner = [p for part in BODIES for p in getattr(node, part, [])]
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.look(node, local=True)
                self.bound.add(node.name)
            elif inner:
                heads = ast.iter_child_nodes(node)
                for head in heads:
                    if head not in inner:
                        self.look(head)
                self.scan(inner)
            else:
                self.look(node)

    def look(self, node, local=False):
        """Take the names of one statement, or of the head of one.

        local: what it binds stays inside.
        """
        read, bound, inside = set(), set(), set()
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                store = isinstance(part.ctx, ast.Store)
                (bound if store else read).add(part.id)
            elif isinstance(part, ast.comprehension):
                names = ast.walk(part.target)
                inside |= {getattr(name, "id", None) for name in names}
            elif isinstance(part, ast.arg):
                inside.add(part.arg)
            elif isinstance(part, ast.alias):
                bound.add((part.asname or part.name).partition(".")[0])
            elif isinstance(part, ast.AugAssign):
                read.add(getattr(part.target, "id", None))
        if local:
            inside |= bound
        self.read |= read - inside - self.bound
        self.bound |= bound - inside


def names_of(source):
    """Return the Names of a cell."""
    return Names(parse(source))


def changed(source, looking=()):
    """Return the names of what a cell may change in place.

    x of x[0] = 1, x.y += 1, del x[0]; and what goes into a call that is made
    for its effect: x.append(y), fill(x), for _ in fill(x), and whatever
    trains; not into one of looking. What the functions of the cell do inside
    is left out.
    """
    found = set()
    for part in walk(parse(source)):
        stored = isinstance(getattr(part, "ctx", None), ast.Store | ast.Del)
        if stored and not isinstance(part, ast.Name):
            found.add(root(part))
        for call in effects(part):
            if root(call.func) not in looking:
                found |= handed(call)
    return found - {None}


def walk(nodes):
    """Yield statements and their parts, without the bodies of functions."""
    left = [*nodes]
    while left:
        yield (node := left.pop())
        if not isinstance(node, APART):
            left += ast.iter_child_nodes(node)


def effects(part):
    """Yield the calls in a part of a cell that are made for their effect."""
    if isinstance(part, ast.Expr):
        calls = [part.value]
    elif isinstance(part, ast.For | ast.comprehension):
        calls = walk([part.iter])
    elif isinstance(part, ast.Call):
        calls = [part] if re.match(TRAINS, name_of(part)) else []
    else:
        calls = []
    yield from (call for call in calls if isinstance(call, ast.Call))


def handed(call):
    """Return the names of what a call may change: x, y of x.f(y) and f(x, y).

    None of what only reads or shows.
    """
    method = isinstance(call.func, ast.Attribute)
    known = READS if method else HARMLESS
    if name_of(call) in known or re.match(LOOKS, name_of(call)):
        return set()
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return {root(part) for part in given + [call.func] * method}


def name_of(call):
    """Return f of f(x) and of x.f(y)."""
    return getattr(call.func, "attr", None) or getattr(call.func, "id", "")


def root(node):
    """Return x of x, x[0], x.y and of a star before x, else None."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def imported(sources):
    """Return the names given to whole modules, and to what only looks."""
    whole, looking = [], []
    for part in walk(node for source in sources for node in parse(source)):
        if isinstance(part, ast.Import):
            whole.append(part)
        elif re.match(PICTURES, getattr(part, "module", None) or ""):
            looking.append(part)
    return Names(whole).bound, Names(looking).bound
