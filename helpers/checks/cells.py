"""Read notebooks of any state, and what their cells define.

Support code for exercises.py.
"""

import ast
import builtins
import os
import re
import warnings

from helpers.checks.shelf import is_blank, lines_of, parse, statements

LARGEST = 50 * 2**20  # bytes of a file that is read
BODIES = "body", "orelse", "handlers", "finalbody"  # of a statement
LONGEST = 200  # characters of a line that is shown
APART = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
TRAINS = r"train(_steps?|_on_\w+)?$"  # names of what trains a run
LOOKS = r"(check|compare_|display|plot|show|slide|try_)"  # and of what looks
PICTURES = r"helpers\.(checks|pictures)\b"  # modules that only look
READS = {"copy", "get", "items", "keys", "split", "splitlines", "values"}
HARMLESS = {*dir(builtins)} - {"delattr", "next", "setattr"}


def read(path):
    """Return a notebook; ValueError, for the table, if there is none."""
    import nbformat  # takes a second, for which no kernel need wait

    if not os.path.lexists(path):
        raise ValueError("not begun: make exercises writes it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an old form, which is mended
            notebook = nbformat.reads(read_text(path), as_version=4)
            nbformat.validate(notebook)
        return notebook
    except Exception as error:  # a damaged file can raise almost anything
        raise ValueError(f"is no notebook: {one_line(error)}") from None


def read_lesson(path):
    """Return the notebook of a lesson, which is whole."""
    import nbformat

    return nbformat.read(path, as_version=4)


def read_text(path):
    """Return the text of a file; OSError if it is none, or a huge one."""
    if not path.is_file():  # a named pipe never ends
        raise OSError("it is not a file")
    if path.stat().st_size > LARGEST:
        raise OSError(f"it has more than {LARGEST >> 20} MB")
    return path.read_text("utf-8")


def one_line(text):
    """Return the first line of a text, with nothing that moves a cursor.

    What is too long is cut between words.
    """
    line = f"{text}".strip().partition("\n")[0][:1000]
    line = "".join(c if c.isprintable() else " " for c in line)
    if len(line) <= LONGEST:
        return line
    line = line[: LONGEST - 1]
    end = line.rfind(" ", LONGEST // 2)
    return f"{line[:end]} …"


def code_cells(notebook):
    """Return the code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def has_tag(cell, tag):
    """Say whether a cell carries a tag."""
    return tag in cell.metadata.get("tags", [])


def functions(source):
    """Return {name: node} of the functions of a cell, "Adam.step" of a class.

    Methods such as __init__ are left out: they are given.
    """
    found = {}
    for node in statements(source):
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        for part in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(part, ast.FunctionDef) and part.name[:2] != "__":
                found[f"{node.name}.{part.name}"] = part
    return found


def assigned(source):
    """Return the names that a cell binds by = or import."""
    names = []
    for node in statements(source):
        targets = node.targets if isinstance(node, ast.Assign) else []
        names += [t.id for t in targets if isinstance(t, ast.Name)]
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
    return names


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


def blanks(notebook):
    """Return {name: whether it is blank} of what the cells define last."""
    found = {}
    for cell in code_cells(notebook):
        found |= dict.fromkeys(assigned(cell.source), False)
        nodes = functions(cell.source).items()
        found |= {name: is_blank(node) for name, node in nodes}
    return found


def stubs_of(cell):
    """Return {name: node} of what an exercise leaves to its reader."""
    nodes = functions(cell.source) if has_tag(cell, "exercise") else {}
    return {name: node for name, node in nodes.items() if is_blank(node)}


def without(source, nodes):
    """Return a source without some of its functions."""
    lines = lines_of(source)
    for node in reversed(nodes.values()):
        del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join(lines).strip()


def given(cell):
    """Return the names of the functions of a blank cell that are given."""
    return set(cell.metadata.get("given", ()))


def blanks_of(cell):
    """Return the names of the functions of a cell that are to be written."""
    return [n for n in functions(cell.source) if n not in given(cell)]


def to_write(lesson):
    """Return the names of the functions that a lesson leaves to its reader."""
    names = []
    for cell in read_lesson(lesson).cells:
        if has_tag(cell, "blank"):
            names += blanks_of(cell)
        names += stubs_of(cell)
    return names


def exercises_in(lesson):
    """Return the names of the functions of a lesson's exercises."""
    return {n for cell in read_lesson(lesson).cells for n in stubs_of(cell)}
