"""Read notebooks of any state, and what their cells define.

Support code for exercises.py.
"""

import ast
import os
import warnings

from helpers.checks.shelf import is_blank, lines_of, statements

LARGEST = 50 * 2**20  # bytes of a file that is read
LONGEST = 200  # characters of a line that is shown


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
