"""Know which lesson a function belongs to, and run it among the shelf's.

Support code, for the checks. A learner's function is judged with the other
functions of its lesson taken from the shelf: a copy of it runs in a namespace
that is the notebook's, overlaid with what helpers/<lesson>.py defines, except
for the functions under test. So one wrong function accuses no right one.
"""

import ast
import contextlib
import importlib
import inspect
import types
from functools import cache
from pathlib import Path

from helpers.checks.shelf import is_blank
from helpers.checks.verdicts import Mistake

LESSONS = (  # the modules of the lessons, in their order
    "attention",
    "embeddings",
    "transformer_block",
    "language_model",
    "tinystories",
    "training",
    "generation",
    "digit_operations",
    "experiments",
    "scale",
    "llama",
    "assistant",
)


@cache
def tree_of(module):
    """Return the statements of a lesson's module."""
    path = Path(__file__).resolve().parents[1] / f"{module}.py"
    return ast.parse(path.read_text("utf-8")).body


@cache
def names_in(module):
    """Return the names that a lesson's module defines, with "Adam.step"."""
    found = set()
    for node in tree_of(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        for part in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(part, ast.FunctionDef):
                found.add(f"{node.name}.{part.name}")
    return found


@cache
def blank_in(module):
    """Return the names in a module that are blank, or call what is."""
    kinds = ast.FunctionDef | ast.ClassDef
    nodes = [node for node in tree_of(module) if isinstance(node, kinds)]
    blank = {node.name for node in nodes if is_blank(node)}
    before = None
    while blank != before:
        before = set(blank)
        for node in nodes:
            named = {getattr(part, "id", None) for part in ast.walk(node)}
            blank |= {node.name} if named & before else set()
    return blank


def lesson_of(function):
    """Return the module that a function is built for, or None.

    The functions of an exercise belong where most of the notebook's do.
    """
    namespace = namespace_of(function)
    here = namespace.get("__name__", "")
    if here.removeprefix("helpers.") in LESSONS:
        return here.removeprefix("helpers.")
    own = {name for name, value in namespace.items() if is_own(value)}
    name = function.__qualname__
    found = [m for m in LESSONS if name in names_in(m)]
    return max(
        found or [m for m in LESSONS if own & names_in(m)],
        key=lambda module: len(own & names_in(module)),
        default=None,
    )


def namespace_of(function):
    """Return the globals of a function, under its decorators."""
    return inspect.unwrap(function).__globals__


def is_own(value):
    """Say whether a function or class was made in a notebook."""
    return getattr(value, "__module__", None) == "__main__"


def shelf(module):
    """Return {name: function or class} of what a lesson's module defines.

    In a course that was handed out most of it is blank, and left out.
    """
    found = vars(importlib.import_module(f"helpers.{module}"))
    names = names_in(module) - blank_in(module)
    return {name: found[name] for name in names if name in found}


def isolate(*functions):
    """Return copies of functions that call the shelf's, not the learner's.

    Functions that do not come from a notebook are returned as they are; a
    method comes back as its class, with the other methods of the shelf.
    """
    own = [function for function in functions if is_own(function)]
    if not own:
        return tuple(map(plain, functions))
    module = lesson_of(own[0])
    theirs = shelf(module) if module else {}
    return put_among(theirs, namespace_of(own[0]), functions)


def put_among(theirs, namespace, functions):
    """Return copies of functions of a namespace that call theirs in it."""
    own = [function for function in functions if is_own(function)]
    world = namespace | theirs
    ours = {
        name: value
        for name, value in namespace.items()
        if is_own(value) and inspect.isfunction(value) and name not in theirs
    }
    ours |= {f.__name__: f for f in own if f.__qualname__.isidentifier()}
    for name, function in ours.items():
        world[name] = rebuild(function, world)
    for name, value in namespace.items():
        if type(value) in (dict, tuple, list):  # such as ACTIVATIONS
            world[name] = swap(value, lambda part: among(part, world))
    return tuple(
        take(function, world) if is_own(function) else plain(function)
        for function in functions
    )


def among(part, world):
    """Return what world has in place of a function of a notebook."""
    if inspect.isfunction(part) and is_own(part):
        return world.get(part.__name__, part)
    return part


def swap(value, change):
    """Return a value with the functions in its tables changed.

    change: gets what a table holds and returns what to hold in its place.
    Where nothing is changed the value itself comes back.
    """
    if type(value) is dict:
        parts = {key: swap(part, change) for key, part in value.items()}
        same = all(parts[key] is value[key] for key in value)
    elif type(value) in (tuple, list):
        parts = type(value)(swap(part, change) for part in value)
        same = all(new is old for new, old in zip(parts, value))
    else:
        return change(value)
    return value if same else parts


def plain(function):
    """Return a function as it is; of a method, its class."""
    owner, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    return namespace_of(function).get(owner, function) if owner else function


def judge_alone(functions, judge):
    """Return what judge says of functions among the shelf's.

    What is wrong there gets a second look among the learner's own: a cache
    of another form than the shelf's is no mistake.
    """
    try:
        return judge(*isolate(*functions))
    except Mistake as mistake:
        if any(is_own(function) for function in functions):
            with contextlib.suppress(Exception):
                return judge(*map(plain, functions))
        raise mistake


def take(function, world):
    """Return a function rebuilt in world, or the class of a method."""
    owner, _, method = function.__qualname__.rpartition(".")
    if owner in world and isinstance(world[owner], type):
        return with_method(world[owner], method, function, world)
    return rebuild(function, world)


def rebuild(function, world, owner=None):
    """Return a copy of a function with other globals.

    What a decorator has wrapped is rebuilt, the wrapper stays around it.
    """
    inner, cells = getattr(function, "__wrapped__", None), {}
    if inner:
        cells[inner] = types.CellType(rebuild(inner, world, owner))
        world = function.__globals__
    copy = types.FunctionType(
        function.__code__,
        world,
        function.__name__,
        function.__defaults__,
        close(function, cells, owner),
    )
    for name in ("__kwdefaults__", "__qualname__", "__module__", "__dict__"):
        setattr(copy, name, getattr(function, name))
    return copy


def close(function, cells, owner):
    """Return the closure of a copy; super() finds its class in owner."""
    if not function.__closure__:
        return None
    closure = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__):
        if name == "__class__" and owner:
            cell = owner
        elif inspect.isfunction(cell.cell_contents):
            cell = cells.get(cell.cell_contents, cell)
        closure.append(cell)
    return tuple(closure)


def with_method(theirs, name, function, world):
    """Return a copy of a class of the shelf with one method of the learner."""
    cell = types.CellType()
    parts = dict(vars(theirs))
    for unwanted in ("__dict__", "__weakref__"):
        parts.pop(unwanted, None)
    for key, part in parts.items():
        if isinstance(part, types.FunctionType):
            parts[key] = rebuild(part, part.__globals__, cell)
    parts[name] = rebuild(function, world, cell)
    cell.cell_contents = type(theirs)(theirs.__name__, theirs.__bases__, parts)
    return cell.cell_contents
