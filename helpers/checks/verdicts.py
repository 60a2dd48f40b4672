"""Say in one sentence what is wrong with a value.

Support code, for gradients.py and blanks.py.
"""

import contextlib
import re
import reprlib
import sys
import textwrap
import traceback

import numpy as np

TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}
MARKS = {True: ("✓", 32), False: ("✗", 31)}  # and the terminal's colour


class Mistake(AssertionError):
    """Say which array is wrong, how ("shape", "wrong", ...), and the cause.

    `line` holds the same as try_backward prints it; `cause` is None where
    the numbers do not give one away.
    """

    def __init__(self, kind, name, text, cause=None):
        self.kind, self.name, self.text, self.cause = kind, name, text, cause
        self.where = self.when = ""  # "softmax with one row: "
        super().__init__(kind, name, text, cause)

    def __str__(self):
        said = f"{self.where}{self.name}{self.when} {self.text}"
        return f"{said}. {self.cause}" if self.cause else said

    @property
    def line(self):
        """Return the sentence behind its kind, as "wrong: dx by 2 ..."."""
        if self.kind == "error":
            said = f"error: {self.text.removeprefix('raises ')}"
        else:
            text = self.text.removeprefix("is wrong ")
            said = f"{self.kind}: {self.name} {text}"
        return f"{said}. {self.cause}" if self.cause else said

    def _render_traceback_(self):
        """Let Jupyter show the sentence in place of the traceback."""
        return with_mark(str(self), False, "")


def wrap(sentence, indent=""):
    """Return a sentence in lines that break between words.

    JupyterLab breaks a line that is too long anywhere. indent: what all lines
    but the first begin with.
    """
    options = {"subsequent_indent": indent, "break_on_hyphens": False}
    return textwrap.wrap(sentence, 79, **options) or [""]


def say(sentence, right=None):
    """Print a sentence, its lines after the first set in, with its mark."""
    print("\n".join(with_mark(sentence, right)))


def with_mark(sentence, right, indent="    "):
    """Return a sentence in lines; in a notebook with a mark in colour.

    right: True for a green tick, False for a red cross, None for no mark.
    """
    if right is None or not notebook():
        return wrap(sentence, indent)
    mark, colour = MARKS[right]
    first, *rest = wrap(f"{mark} {sentence}", indent)
    return [first.replace(mark, f"\x1b[{colour}m{mark}\x1b[0m", 1), *rest]


def notebook():
    """Return the shell of the notebook that runs this; None elsewhere."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython and get_ipython()
    return shell if hasattr(shell, "kernel") else None


# numbers


def relative_error(got, expected):
    """Return max |got - expected| over max |expected| (at least 1e-3)."""
    gap = find_gap(got, expected)
    return float(gap.max(initial=0.0) / find_size(expected))


def find_gap(got, expected):
    """Return |got - expected|, 0 where both are the same infinity."""
    got, expected = np.asarray(got), np.asarray(expected)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(np.subtract(got, expected, dtype=np.float64))
    return np.where(got == expected, 0.0, gap)


def find_size(expected):
    """Return the largest absolute number that is finite, at least 1e-3."""
    sizes = np.abs(expected)
    return sizes.max(initial=1e-3, where=np.isfinite(sizes))


def find_problem(name, got, expected, tolerance, dtype):
    """Return kind, name and text of what is wrong with an array, or None.

    dtype: what an array of floats must have, None = any.
    """
    array, expected = to_array(got), np.asarray(expected)
    if array is None:
        wanted = show(expected if expected.ndim else expected.item())
        return "wrong", name, f"is {show(got)}, expected {wanted}"
    if array.shape != expected.shape:
        return "shape", name, compare_shapes(array.shape, expected.shape)
    if text := compare_kinds(got, expected, dtype):
        return "dtype", name, text
    if expected.dtype.kind != "f" and array.dtype.kind != "f":
        return find_unequal(name, array, expected)
    error = relative_error(array, expected)
    if error < tolerance:
        return None
    at = find_worst(array, expected)
    place = f", worst at index {at}" if at else ""
    numbers = tell_apart(array[at], expected[at])
    size = f" by {error:.2g} of its size" if np.isfinite(error) else ""
    text = f"is wrong{size}{place}: {numbers}"
    return "wrong", name, text


def to_array(value):
    """Return a value as an array of numbers, or None if it is not one."""
    with contextlib.suppress(ValueError):  # lists of different lengths
        array = np.asarray(value)
        return array if array.dtype.kind in "biuf" else None


def compare_kinds(got, expected, dtype):
    """Return a clause if got holds another kind of number, or None."""
    if not isinstance(got, np.ndarray | np.generic):
        return None
    kind = expected.dtype.kind
    if kind == "f":
        wrong = dtype is not None and got.dtype != dtype
        return f"is {got.dtype} in a {dtype.__name__} run" if wrong else None
    if got.dtype.kind != kind:
        return f"is {got.dtype}, expected {expected.dtype}"


def find_unequal(name, got, expected):
    """Return the problem of an array that has to be equal, or None."""
    wrong = got != expected
    if not wrong.any():
        return None
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    text = f"is {got[at]}, expected {expected[at]}"
    if at:
        count = f"in {wrong.sum()} of {wrong.size} places"
        text = (
            f"is wrong {count}, first at index {at}: "
            f"got {got[at]}, expected {expected[at]}"
        )
    return "wrong", name, text


def find_worst(got, expected):
    """Return the index of the largest gap; of the first NaN if there is."""
    gap = find_gap(got, expected)
    gap = np.where(np.isnan(gap), np.inf, gap)
    worst = np.unravel_index(gap.argmax(), gap.shape)
    return tuple(int(i) for i in worst)


def tell_apart(got, expected):
    """Return "got 0.40213, expected 0.40211": digits enough to differ."""
    for digits in range(4, 18):
        ours, theirs = f"{got:.{digits}g}", f"{expected:.{digits}g}"
        if ours != theirs:
            break
    return f"got {ours}, expected {theirs}"


def compare_shapes(shape, wanted):
    """Return a clause on a shape that is not as wanted."""
    text = f"has shape {shape}, expected {wanted}"
    if sorted(shape) != sorted(wanted):
        return text
    moved = [
        i for i, pair in enumerate(zip(shape, wanted)) if len({*pair}) > 1
    ]
    if len(moved) == 2:
        return f"{text}: axes {moved[0]} and {moved[1]} have changed places"
    return f"{text}: the axes are in another order"


def same(got, expected):
    """Say whether two arrays agree to seven digits of their size."""
    if expected is None or np.shape(got) != np.shape(expected):
        return False
    scale = np.abs(expected).max(initial=1e-3)
    gap = np.subtract(got, expected, dtype=np.float64)
    gap = np.abs(gap).max(initial=0.0)
    return bool(gap <= 1e-7 * scale < np.inf)


def equal(got, wrong):
    """Say whether two values of any kind agree, NaN and infinity too."""
    if isinstance(wrong, dict):
        alike = isinstance(got, dict) and got.keys() == wrong.keys()
        return alike and all(equal(got[key], wrong[key]) for key in wrong)
    if isinstance(wrong, tuple | list):
        alike = isinstance(got, tuple | list) and len(got) == len(wrong)
        return alike and all(map(equal, got, wrong))
    if isinstance(wrong, str | bytes | type(None)):
        return type(got) is type(wrong) and got == wrong
    got, wrong = to_array(got), to_array(wrong)
    if got is None or wrong is None or got.shape != wrong.shape:
        return False
    ours, theirs = np.isfinite(got), np.isfinite(wrong)
    odd = np.array_equal(got[~ours], wrong[~theirs], equal_nan=True)
    finite = np.where(ours, got, 0), np.where(theirs, wrong, 0)
    return bool(ours.any() and odd and (ours == theirs).all()) and same(
        *finite
    )


# values of any kind


def compare(name, got, expected, tolerance, dtype=None):
    """Raise Mistake unless a value is as expected.

    Arrays go by find_problem; lists, tuples and dicts part by part;
    everything else must be equal.
    """
    if is_number(expected):
        if problem := find_problem(name, got, expected, tolerance, dtype):
            raise Mistake(*problem, explain_none(got))
    elif isinstance(expected, dict):
        compare_dicts(name, got, expected, tolerance, dtype)
    elif isinstance(expected, tuple | list):
        compare_lists(name, got, expected, tolerance, dtype)
    elif type(got) is not type(expected) or got != expected:
        text = f"is {show(got)}, expected {show(expected)}"
        raise Mistake("wrong", name, text, explain_none(got))


def show(value):
    """Return a value in short; a number of NumPy's as Python has it."""
    return reprlib.repr(
        value.item() if isinstance(value, np.generic) else value
    )


def is_number(value):
    """Say whether a value is an array or a number."""
    return isinstance(value, np.ndarray | np.generic | int | float)


def explain_none(got):
    """Return the cause of a None."""
    return "Is there a return?" if got is None else None


def compare_dicts(name, got, expected, tolerance, dtype):
    """Compare two dicts, key by key."""
    if not isinstance(got, dict):
        text = f"is {show(got)}, expected a dict"
        raise Mistake("wrong", name, text, explain_none(got))
    for key in [*expected, *got]:
        if key not in got:
            raise Mistake("wrong", name, f"lacks {key!r}")
        if key not in expected:
            raise Mistake("wrong", name, f"has {key!r}, which is too much")
    for key, value in expected.items():
        compare(f"{name}[{key!r}]", got[key], value, tolerance, dtype)


def compare_lists(name, got, expected, tolerance, dtype):
    """Compare two lists, tuples or arrays, part by part."""
    if not isinstance(got, tuple | list | np.ndarray):
        text = f"is {show(got)}, expected {len(expected)} in a "
        text += type(expected).__name__
        raise Mistake("wrong", name, text, explain_none(got))
    if len(got) != len(expected):
        text = f"has {len(got)} parts, expected {len(expected)}"
        raise Mistake("wrong", name, text)
    for i, (part, value) in enumerate(zip(got, expected)):
        compare(f"{name}[{i}]", part, value, tolerance, dtype)


# what a learner's code raises


def to_mistake(error, name):
    """Return what a function raised as a Mistake with its line number."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    found = find_place(error)
    if found:
        what += f" (line {found.lineno} of the cell with {found.name})"
    last = traceback.extract_tb(error.__traceback__)[-1]
    cause = explain_error(error) if found == last else None
    mistake = Mistake("error", name, f"raises {what}", cause)
    mistake.culprit = found.name if found else name
    return mistake


def find_place(error):
    """Return the innermost frame that lies in a cell, or None."""
    frames = traceback.extract_tb(error.__traceback__)
    cells = [f for f in frames if re.match("<|.*ipykernel_", f.filename)]
    return cells[-1] if cells else None


def explain_error(error):
    """Return the usual cause of what NumPy or Python says, or None."""
    for pattern, cause in ERRORS:
        if found := re.search(pattern, str(error)):
            shapes = [re.findall(r"\d+", shape) for shape in found.groups()]
            if not shapes or any(
                long[:-1] == short and long[-1] != "1"
                for long, short in (shapes, shapes[::-1])
            ):
                return cause
    return None


ERRORS = [
    (
        r"broadcast together with shapes (\([\d,]*\)) (\([\d,]*\))",
        "The last axis got lost: keepdims=True keeps it as an axis of "
        "length 1.",
    ),
    (
        "mismatch in its core dimension",
        "In a @ b the last axis of a must be as long as the last but one of "
        "b: a transpose is missing or too many.",
    ),
    (
        r"values to unpack \(expected",
        "A function returned fewer or more things than are unpacked there.",
    ),
]
