"""Let later lessons run on the functions that a learner wrote in earlier ones.

Support code, for the first code cell of a copy. A learner's function is taken
out of the copy by its syntax tree, with the helpers, imports and constants it
names, and tried on its cases. If it is right its code takes the place of the
shelf's: whatever holds the function of helpers/<lesson>.py, be it a later
module, a table or a default, then runs the learner's.
"""

import contextlib
import importlib
import inspect
import io
import re

import numpy as np

from helpers.checks.blanks import check_one
from helpers.checks.cases import find_cases
from helpers.checks.cells import code_cells, read, to_write
from helpers.checks.exercises import EXERCISES, LESSONS, find
from helpers.checks.lessons import blank_in, names_in, rebuild
from helpers.checks.lift import lift
from helpers.checks.table import find_own, look_up, read_states
from helpers.runs.params import attention_weights

PARTS = "__code__", "__defaults__", "__kwdefaults__"
UNDO = []  # what takes the shelf's own back


def use_my_functions(before, lessons=LESSONS, folder=EXERCISES):
    """Put a learner's right functions of earlier lessons on the shelf.

    before: the beginning of the name of the lesson that wants them, as "04".
    Prints for each earlier lesson which were taken and which left. Lasts as
    long as this kernel; a second call begins anew.
    """
    put_back()
    for lesson in find([], lessons):
        if lesson.name.startswith(before):
            break
        print(f"{lesson.name[:2]}: {take(lesson, folder)}")


def put_back():
    """Take everything of the learner's off the shelf again."""
    while UNDO:
        UNDO.pop()()


def take(lesson, folder):
    """Put what is right in a copy on the shelf; say what that was."""
    try:
        notebook = read(folder / lesson.name)
    except ValueError as error:
        return f"none of your own ({error})"
    module = module_of(lesson)
    names = [n for n in to_write(lesson) if n in names_in(module.__name__[8:])]
    sources = [cell.source for cell in code_cells(notebook)]
    mine = lift(sources, world_of(module), names)
    left = {name: why(name, mine, notebook) for name in names}
    right = [name for name in names if not left[name]]
    for name in find_unfit(module, right, mine):
        left[name] = "of another form than what calls it"
    taken = [name for name in names if not left[name]]
    reasons = {}
    for name in names:
        if left[name]:
            reasons.setdefault(left[name], []).append(name)
    said = [f"{reason}: {', '.join(n)}" for reason, n in reasons.items()]
    return "; ".join([f"{len(taken)} of {len(names)} of your own", *said])


def module_of(lesson):
    """Return the module of the shelf that a lesson builds."""
    text = lesson.read_text("utf-8")
    (name,) = set(re.findall(r"compare_with_shelf\(\W+(\w+)\W+\)", text))
    return importlib.import_module(f"helpers.{name}")


def world_of(module):
    """Return the names of a module of the shelf, without its blanks."""
    blank = blank_in(module.__name__.removeprefix("helpers."))
    return {n: v for n, v in vars(module).items() if n not in blank}


def why(name, mine, notebook):
    """Return why a function cannot be taken, or None."""
    states = read_states(cell.source for cell in code_cells(notebook))
    state, function = look_up(states, name), find_own(name, mine)
    if state and state.word == "blank":
        return "blank"
    if not function:
        return "not defined"
    silent = contextlib.redirect_stdout(io.StringIO())
    try:
        with silent:
            check_one(function)
    except (Exception, SystemExit) as error:
        unknown = isinstance(error, ValueError)
        return "without a check" if unknown else "not right yet"


# onto the shelf


def find_unfit(module, names, mine):
    """Put functions on the shelf; return those that do not fit there.

    What is right by itself can hold a cache of another form than the shelf's
    functions around it read.
    """
    start = len(UNDO)
    for name in names:
        put(module, name, mine)
    if fits(module):
        return []
    undo_to(start)
    unfit = []
    for name in names:
        if name in unfit or name.endswith("_backward"):
            continue
        pair = [n for n in (name, f"{name}_backward") if n in names]
        start = len(UNDO)
        for each in pair:
            put(module, each, mine)
        if not fits(module):
            undo_to(start)
            unfit += pair
    return unfit


def undo_to(start):
    """Take back what was put on the shelf since."""
    while len(UNDO) > start:
        UNDO.pop()()


def put(module, name, mine):
    """Put one function, with the helpers it names, on the shelf."""
    owner, _, method = name.rpartition(".")
    function = find_own(name, mine)
    for helper, value in mine.items():
        if helper not in vars(module):
            vars(module)[helper] = value
            UNDO.append(lambda helper=helper: vars(module).pop(helper))
    if owner:
        replace_method(vars(module)[owner], method, function, vars(module))
    else:
        replace_code(vars(module)[name], function)


def replace_code(theirs, function):
    """Let a function of the shelf do what another does, for all who hold it.

    Decorators stay the shelf's.
    """
    theirs, function = inspect.unwrap(theirs), inspect.unwrap(function)
    kept = [getattr(theirs, part) for part in PARTS]

    def undo():
        for part, value in zip(PARTS, kept):
            setattr(theirs, part, value)

    UNDO.append(undo)
    for part in PARTS:
        setattr(theirs, part, getattr(function, part))


def replace_method(owner, name, function, world):
    """Give a class of the shelf another method."""
    kept = vars(owner)[name]
    UNDO.append(lambda: setattr(owner, name, kept))
    cell = (lambda: owner).__closure__[0]
    setattr(owner, name, rebuild(function, world, cell))


def fits(module):
    """Say whether a module agrees with its cases, a model with its reader."""
    lesson = module.__name__.removeprefix("helpers.")
    for name in sorted(names_in(lesson)):
        if find_cases(lesson, name):
            owner, _, method = name.rpartition(".")
            function = vars(module)[owner or name]
            function = getattr(function, method) if owner else function
            try:
                check_one(function)
            except NotImplementedError:
                pass  # a shelf that was handed out has blanks
            except Exception:
                return False
    return shows_attention()


def shows_attention():
    """Say whether a model's cache has its weights where plots look."""
    from helpers.language_model import TINY, init_params, language_model

    params = init_params(TINY, np.random.default_rng(0))
    try:
        _, cache = language_model(np.array([[0, 1, 2]]), params, TINY)
        weights = attention_weights(cache)
        shape = (TINY.n_layers, 1, TINY.n_heads, 3, 3)
        return weights.shape == shape and np.allclose(weights.sum(-1), 1)
    except NotImplementedError:
        return True  # there is no model yet
    except Exception:
        return False
