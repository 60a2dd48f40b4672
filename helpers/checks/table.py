"""Say of each function of a lesson how far a learner's copy is.

Support code for exercises.py and shelf.py. A kernel knows the functions it
has run, and what the checks found of each; for the others there is the copy
as it is saved, and what `make progress` kept.
"""

import ast
import contextlib
import hashlib
import inspect
import io
import re
import sys
import textwrap
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from helpers.checks.cells import (
    assigned,
    code_cells,
    functions,
    one_line,
)
from helpers.checks.shelf import CELLS, broken, find_left_over, is_blank

WIDTH = 79
WORDS = ("right", "wrong", "blank", "written", "not defined", "unreadable")
LEGEND = {
    "written": "no check has looked at it since it was written",
    "not defined": "no cell defines it",
}
LEFT_OVER = (
    "it still says raise NotImplementedError above what you wrote: take that "
    "out"
)


class State(NamedTuple):
    """How far a function is: one of WORDS, and why it is wrong."""

    word: str
    sentence: str = ""


WRITTEN, BLANK = State("written"), State("blank")
MISSING, UNREADABLE = State("not defined"), State("unreadable")


def to_state(verdict, sentence):
    """Return the state that a verdict of a check stands for."""
    if verdict in ("right", "matches torch"):
        return State("right")
    return State("wrong", one_line(sentence))


# what cells say


def read_states(sources):
    """Return {name: state} of what cells define last, without verdicts."""
    found = {}
    for source in sources:
        found |= read_cell(source)
    return found


@lru_cache(1000)
def read_cell(source):
    """Return {name: state} of what one cell defines."""
    found = dict.fromkeys(assigned(source), WRITTEN)
    for name, node in functions(source).items():
        found[name] = WRITTEN
        if is_blank(node):
            found[name] = BLANK
        elif find_left_over(node) is not None:
            found[name] = State("wrong", LEFT_OVER)
    for name, why in broken(source).items():
        found[name] = State("wrong", one_line(f"it is not Python: {why}"))
    return found


def look_up(states, name):
    """Return the state of a function, or of a method by that of its class."""
    owner = states.get(name.partition(".")[0])
    if owner and owner.word == "wrong":
        return owner
    return states.get(name)


def digests(notebook):
    """Return {name: a number that changes with the code of a function}."""
    found = {}
    for cell in code_cells(notebook):
        for name, node in functions(cell.source).items():
            text = ast.unparse(node).encode("utf-8", "replace")
            found[name] = hashlib.sha256(text).hexdigest()
    return found


def saved_states(names, notebook, result):
    """Return {name: state} of functions as saved, and as they last ran."""
    states = read_states(cell.source for cell in code_cells(notebook))
    digest, kept = digests(notebook), result.get("digests", {})
    found = {}
    for name in names:
        found[name] = look_up(states, name) or MISSING
        same = name in kept and kept[name] == digest.get(name)
        if found[name] == WRITTEN and (same or name not in digest):
            found[name] = worst(name, result.get("verdicts", []))
    return found


def worst(name, verdicts):
    """Return the worst that the checks found of a function."""
    found = [to_state(*rest) for checked, *rest in verdicts if checked == name]
    found.sort(key=lambda state: state.word == "right")
    return found[0] if found else WRITTEN


# what this kernel knows


def in_kernel():
    """Return the names of the notebook that runs this; {} elsewhere."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython and get_ipython()
    return shell.user_ns if shell else {}


def find_own(name, namespace):
    """Return a function or method that was made in a notebook, or None."""
    owner, _, method = name.rpartition(".")
    found = namespace.get(owner or name)
    if getattr(found, "__module__", None) != "__main__":
        return None
    found = vars(found).get(method) if owner else found
    return found if inspect.isfunction(found) else None


def live_states(names, namespace=None, exercises=()):
    """Return {name: state} of the functions that this kernel has run.

    One that was written anew since its last check is tried on its cases;
    not one of the exercises, whose name may be that of another lesson's.
    """
    from helpers.checks.gradients import LATEST, code_of

    namespace = in_kernel() if namespace is None else namespace
    cells, found = read_states(CELLS), {}
    for name in names:
        function = find_own(name, namespace)
        state = look_up(cells, name)
        if state and state.word in ("blank", "wrong"):
            found[name] = state
        elif function:
            finding = LATEST.get(name)
            known = finding and finding.code == code_of(function)
            if not known and name not in exercises:
                try_cases(function)
                finding = LATEST.get(name)
            known = finding and finding.code == code_of(function)
            found[name] = to_state(*finding[:2]) if known else WRITTEN
    return found


def try_cases(function):
    """Let the cases of a function, if it has any, say what it is."""
    from helpers.checks.blanks import check_one

    silent = contextlib.redirect_stdout(io.StringIO())
    with contextlib.suppress(Exception, SystemExit), silent:
        check_one(function)


def is_right(name):
    """Say whether a function, or each method of a class, is right here."""
    from helpers.checks.gradients import LATEST

    names = [n for n in LATEST if n.partition(".")[0] == name]
    states = live_states(names or [name]).values()
    return bool(states) and all(state.word == "right" for state in states)


# the table


def print_table(stem, note, states):
    """Print a row for each function, the totals, and what is wrong."""
    print(f"{stem}: {note}")
    width = max(map(len, states), default=0) + 2
    for name, state in states.items():
        print(f"    {name:<{width}}{state.word}")
    print(f"    {say_totals(states.values())}")
    seen = {state.word for state in states.values()}
    for word, meaning in LEGEND.items():
        if word in seen:
            print(f"    ({word}: {meaning})")
    for name, state in states.items():
        named = state.sentence.startswith(f"{name} ")
        if state.sentence:
            print(wrap(state.sentence if named else f"{name}: {state[1]}"))


def say_totals(states):
    """Return "9 of 15 right, 2 wrong, 4 blank"."""
    count = Counter(state.word for state in states)
    rest = [f"{count[word]} {word}" for word in WORDS[1:] if count[word]]
    return ", ".join([f"{count['right']} of {count.total()} right", *rest])


def wrap(text):
    """Return a text in lines of WIDTH, set in, broken between words."""
    text = re.sub(r"\s+", " ", text)
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=" " * 4,
        subsequent_indent=" " * 6,
        break_on_hyphens=False,
    )
