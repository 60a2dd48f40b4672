"""Guess from the numbers alone what usually makes an array so wrong.

Support code, for gradients.py. Each recogniser knows one mistake: it returns a
clause that is true of the array, with the usual cause behind a colon, or None.
They are tried in order. Rather no clause than a wrong one.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from helpers.checks.causes import find_formula
from helpers.checks.verdicts import equal, same


@dataclass
class Context:
    """Hold what a check knows besides the array that is wrong."""

    got: dict  # {name: array} of the result and all gradients
    expected: dict  # the same, as they should be
    inputs: dict  # {name: array} of the floats that went in
    integers: dict  # {name: array} of ids, targets
    numbers: dict  # {name: number}, such as p
    dout: np.ndarray
    name: str = ""  # of that array: "out", "dx", "qkv.weight"
    function: str = ""  # that returned it
    arguments: tuple = ()  # of the forward
    settings: dict = field(default_factory=dict)


def diagnose(context):
    """Return one sentence on the array called context.name, or None."""
    got, expected = context.got[context.name], context.expected[context.name]
    if isinstance(expected, dict | list | tuple | str):
        clause = None if equal(got, expected) else find_formula(context)
        return clause and f"{context.name} {clause}."
    got, expected = np.asarray(got), np.asarray(expected)
    recognisers = ANY_SHAPE
    if got.shape == expected.shape:
        recognisers = ANY_SHAPE + SAME_SHAPE
    with np.errstate(all="ignore"):  # what overflows is not the same
        if same(got, expected):
            return None
        if clause := find_formula(context):
            return f"{context.name} {clause}."
        for recognise in recognisers:
            if clause := recognise(got, expected, context):
                return f"{context.name} {clause}."
    return None


def spread(array, like):
    """Return array broadcast to the shape of another, or None."""
    try:
        return np.broadcast_to(array, like.shape)
    except ValueError:
        return None


# whatever the shape


def not_finite(got, expected, context):
    """Recognise NaN and infinity."""
    if not np.isfinite(got).all():
        return (
            "holds NaN or infinity: 0 was divided by 0, infinity met "
            "infinity, or exp grew too large for want of subtracting the "
            "maximum"
        )


def transposed(got, expected, context):
    """Recognise the transpose of the right array."""
    if got.ndim >= 2 and same(got.swapaxes(-1, -2), expected):
        return "is the transpose of what it should be"


def sum_missing(got, expected, context):
    """Recognise a sum over the uses of an array that is left out."""
    extra = got.ndim - expected.ndim
    axes = tuple(range(extra))
    if extra == 0:
        axes = tuple(np.flatnonzero(np.equal(expected.shape, 1)))
    if axes and same(got.sum(axis=axes, keepdims=extra == 0), expected):
        return (
            f"must still be summed over axis {' and '.join(map(str, axes))}: "
            "what was used several times collects the gradient of every use"
        )


def wrong_axes(got, expected, context):
    """Recognise dout summed over the wrong axes."""
    dout, sums = context.dout, {}
    for n in range(1, dout.ndim + 1):
        for axes in itertools.combinations(range(dout.ndim), n):
            sums[axes] = dout.sum(axis=axes)
    right = [axes for axes in sums if same(sums[axes], expected)]
    wrong = [axes for axes in sums if same(sums[axes], got)]
    if right and wrong:
        one, other = (" and ".join(map(str, a[0])) for a in (wrong, right))
        return f"is dout summed over axis {one}, not over {other}"


def reshaped(got, expected, context):
    """Recognise the right numbers in another shape."""
    if got.shape != expected.shape and same(got.ravel(), expected.ravel()):
        return "has the right numbers, but not the right shape"


# everywhere


def zero(got, expected, context):
    """Recognise an array that is zero."""
    if not got.any():
        return "is zero everywhere: not computed yet, or lost on the way"


def unchanged(got, expected, context):
    """Recognise dout, handed on as it came."""
    if same(got, context.dout) and context.name != "out":
        return "is dout unchanged: what the function does to x is left out"


def wrong_sign(got, expected, context):
    """Recognise the right array times -1."""
    if same(-got, expected):
        return "has the wrong sign everywhere"


def swapped(got, expected, context):
    """Recognise what another array should be."""
    for name, wanted in context.expected.items():
        if name == context.name or not same(got, wanted):
            continue
        if same(context.got[name], expected):
            return f"and {name} have changed places"
        if name.endswith("bias") and context.name.endswith("bias"):
            return (
                f"is what {name} should be: the same gradient arrived at "
                "both, so what lies between them is left out"
            )
        return f"is what {name} should be"


def equal_to_another(got, expected, context):
    """Recognise one array returned twice."""
    for name, other in context.got.items():
        if name in ("out", context.name) or not same(got, other):
            continue
        if not same(expected, context.expected[name]):
            return f"is equal to {name}: one gradient stands for both"


def constant_factor(got, expected, context):
    """Recognise the right array times a number."""
    factor = float(np.vdot(got, expected) / np.vdot(expected, expected))
    if abs(factor) < 1e-6 or not same(got / factor, expected):
        return None
    why = name_factor(abs(factor), context)
    if not why and np.count_nonzero(expected) < 3:
        return None  # any number is a multiple of any other
    if factor < 0:
        return f"is {factor:.3g} times what it should be{why}"
    if factor > 1:
        return f"is {factor:.3g} times too large everywhere{why}"
    return f"is {1 / factor:.3g} times too small everywhere{why}"


def name_factor(factor, context):
    """Return what a factor may be, as far as names and shapes tell."""
    found = {}  # one of each kind
    for kind, number, what in known_numbers(context):
        if number == 2 and context.name in ("out", "result"):
            continue  # a 2 has many causes
        for value in (factor, 1 / factor):
            if number > 0 and math.isclose(value, number, rel_tol=1e-7):
                found.setdefault(kind, (number, what))
    if not found:
        return ""
    numbers, names = zip(*found.values())
    why = f"; {numbers[0]:.3g} is {' or '.join(names)}"
    if set(found) <= {"targets", "rows", "axis"}:
        pair = ("sum", "mean") if factor > 1 else ("mean", "sum")
        why += f", perhaps a {pair[0]} in place of a {pair[1]}"
    return why


def known_numbers(context):
    """Yield (kind, number, what it is) for what may become a factor."""
    ignored = context.numbers.get("ignore_index", -100)
    for name, array in context.integers.items():
        counts = array != ignored
        yield "targets", counts.sum(), f"the number of {name} that count"
        yield "targets", array.size, f"the number of all {name}"
        if array.size:
            yield "share", counts.mean(), f"the share of {name} that count"
    for name, value in context.numbers.items():
        yield name, value, name
        yield name, 1 - value, f"1 - {name}"
    if context.dout.ndim == 0:
        yield "dout", float(context.dout), "dout"
        yield "out", float(context.expected["out"]), "out"
    for name, array in context.inputs.items():
        if array.ndim > 2:
            *rows, _ = array.shape
            what = (
                f"the number of rows of {name}, {' x '.join(map(str, rows))}"
            )
            yield "rows", math.prod(rows), what
        for axis, n in enumerate(array.shape):
            what = f"the length of axis {axis} of {name}"
            yield "axis", n, what
            yield "root", math.sqrt(n), f"the square root of {what}"


# right numbers in wrong places


def moved(got, expected, context):
    """Recognise rows, columns, ... that are shifted or reversed."""
    for axis, n in enumerate(got.shape):
        if same(got, np.flip(expected, axis)):
            return f"is reversed along axis {axis}"
        for shift in range(1, min(n, 50)):
            if same(got, np.roll(expected, shift, axis)):
                return f"is moved by {shift} along axis {axis}"


def parts_reordered(got, expected, context):
    """Recognise parts of the last axis, as q, k, v, out of order."""
    for n, (ours, theirs) in split_evenly(got, expected):
        order = [
            next((i for i, t in enumerate(theirs) if same(o, t)), None)
            for o in ours
        ]
        if sorted(order, key=str) == list(range(n)):
            return f"has the {n} parts of its last axis in another order"


def parts_equal(got, expected, context):
    """Recognise one part that stands in place of all."""
    if context.name in ("out", "result"):
        return None
    for n, (ours, theirs) in split_evenly(got, expected):
        alike = all(same(part, ours[0]) for part in ours)
        if alike and not same(theirs[0], theirs[1]):
            return (
                f"has {n} equal parts along its last axis: one gradient "
                f"stands for all {n}"
            )


def split_evenly(*arrays):
    """Yield n and the arrays cut in n along the last axis, n = 3, 2, 4."""
    length = arrays[0].shape[-1] if arrays[0].ndim else 0
    for n in (3, 2, 4):
        if length and length % n == 0 and length > n:
            yield n, [np.split(array, n, axis=-1) for array in arrays]


def scrambled(got, expected, context):
    """Recognise the right numbers in an order unknown."""
    if got.size > 3 and same(np.sort(got, None), np.sort(expected, None)):
        return (
            "has the right numbers in the wrong places: a reshape where a "
            "transpose is needed, or the other way round"
        )


# one term or factor of the formula


def transpose_inside(got, expected, context):
    """Recognise M b where M.T b is wanted."""
    for name, b in {"dout": context.dout, **context.inputs}.items():
        if b.shape != got.shape or b.ndim < 2 or b.shape[-2] < 2:
            continue
        # if got = M b and expected = M.T b, both are b.T M b
        b_transposed = b.swapaxes(-1, -2)
        if same(b_transposed @ got, expected.swapaxes(-1, -2) @ b):
            return (
                f"has a transpose too many or too few: a matrix times {name} "
                "where that matrix transposed is wanted"
            )


def missing_term(got, expected, context):
    """Recognise a sum without one of its terms."""
    for name, array in {"dout": context.dout, **context.inputs}.items():
        if not same(expected - got, spread(array, expected)):
            continue
        if name == "dout":
            return (
                "lacks dout, which is to be added: what went past the "
                "function (a residual) comes back"
            )
        return f"lacks {name}, which is to be added"


def extra_term(got, expected, context):
    """Recognise a sum with a term too many."""
    for name, array in {"dout": context.dout, **context.inputs}.items():
        if same(got - expected, spread(array, expected)):
            return f"has {name} added once too often"


def extra_factor(got, expected, context):
    """Recognise a product with a factor too many."""
    for name, array in context.inputs.items():
        array = spread(array, expected)
        if array is not None and same(got, expected * array):
            return f"has the factor {name} once too often"


def missing_factor(got, expected, context):
    """Recognise a product without one of its factors."""
    for name, array in context.inputs.items():
        array = spread(array, expected)
        if array is not None and same(got * array, expected):
            return f"lacks the factor {name}"


def diagonal_only(got, expected, context):
    """Recognise the gradient of a softmax of independent outputs."""
    out, dout = context.expected["out"], context.dout
    if out.shape == got.shape and same(got, dout * out * (1 - out)):
        return (
            "is dout * out * (1 - out), the diagonal of softmax's Jacobian: "
            "every output depends on every input of its row"
        )


def softmax_twice(got, expected, context):
    """Recognise p - y sent through the softmax once more."""
    for x in context.inputs.values():
        if x.shape != expected.shape or not x.ndim:
            continue
        p = np.exp(x - x.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        inner = (expected * p).sum(axis=-1, keepdims=True)
        if same(got, p * (expected - inner)):
            return (
                "went through softmax's backward once more: p - y has that "
                "in it already"
            )


# only a part is wrong


def repeated_ids(got, expected, context):
    """Recognise rows that kept one of several gradients."""
    for name, ids in context.integers.items():
        shape = (*ids.shape, *expected.shape[1:])
        if expected.ndim != 2 or context.dout.shape != shape:
            continue
        rows = {i: context.dout[ids == i] for i in np.unique(ids)}
        wrong = [i for i in range(len(got)) if not same(got[i], expected[i])]
        if all(any(same(got[i], r) for r in rows.get(i, [])) for i in wrong):
            return (
                f"has one gradient alone in the rows that {name} names more "
                "than once: np.add.at adds all, dweight[ids] += dout does not"
            )


def lookup_only(got, expected, context):
    """Recognise a tied matrix without the head's gradient."""
    for name, absent in unnamed_rows(expected, context):
        if expected[absent].any() and not got[absent].any():
            return (
                f"is zero in the rows that {name} does not name: the matrix "
                "is used twice (tied), and the head's gradient is missing"
            )


def head_only(got, expected, context):
    """Recognise a tied matrix without the lookup's gradient."""
    others = set(context.expected) - {context.name}
    if not all(same(context.got[n], context.expected[n]) for n in others):
        return None
    for name, absent in unnamed_rows(expected, context):
        if expected[absent].any() and same(got[absent], expected[absent]):
            return (
                f"is right in the rows that {name} does not name: the matrix "
                "is used twice (tied), and the lookup's gradient is missing "
                "or wrong"
            )


def unnamed_rows(matrix, context):
    """Yield the name of ids into a matrix, and the rows they never name."""
    for name, ids in context.integers.items():
        rows = np.arange(len(matrix)) if matrix.ndim == 2 else []
        if np.isin(ids, rows).all() and len(rows):
            yield name, np.setdiff1d(rows, ids)


def one_of_batch(got, expected, context):
    """Recognise one sequence's gradient in place of the batch's."""
    dout = context.dout
    if dout.ndim != expected.ndim + 1 or len(dout) < 2:
        return None
    used = tuple(slice(n) for n in dout.shape[1:])
    if not same(dout.sum(axis=0), expected[used]):
        return None
    for index, place in ((0, "first"), (-1, "last")):
        if same(dout[index], got[used]):
            return (
                f"has the {place} sequence of the batch alone: every one "
                "used it, so their gradients add up"
            )


def one_hot(got, expected, context):
    """Recognise errors at the targets, and nowhere else."""
    for name, targets in context.integers.items():
        if expected.ndim == 0 or targets.shape != expected.shape[:-1]:
            continue
        there = np.arange(expected.shape[-1]) == targets[..., None]
        if same(np.where(there, expected, got), expected):
            return f"is wrong at {name} alone: the 1 to subtract stands there"


def should_be_zero(got, expected, context):
    """Recognise errors where 0 is expected, and nowhere else."""
    if expected.any() and same(np.where(expected == 0, 0, got), expected):
        return (
            "is right except where it should be 0: what is masked, ignored "
            "or dropped gets no gradient"
        )


def partly_zero(got, expected, context):
    """Recognise errors where 0 is found, and nowhere else."""
    if got.any() and same(got, np.where(got == 0, 0, expected)):
        return "is right except where it is 0: part of it is lost"


# each row is off in the same way


def row_factor(got, expected, context):
    """Recognise rows that are each off by a factor."""
    if in_span(got - expected, expected):
        return (
            "is off by a factor for each row: one such as 1 / std is missing "
            "or wrong"
        )


def row_constant(got, expected, context):
    """Recognise rows that are each off by a constant."""
    if in_span(got - expected, np.ones_like(expected)):
        return (
            "is off by a constant for each row: the mean or sum over the "
            "last axis that is subtracted is missing or wrong"
        )


def row_of_out(got, expected, context):
    """Recognise rows that are each off by a multiple of out."""
    if in_span(got - expected, context.expected["out"]):
        return (
            "is off by a multiple of out for each row: the sum over the last "
            "axis that is subtracted is missing or wrong"
        )


def row_of_x(got, expected, context):
    """Recognise rows that are each off by a multiple of x - mean."""
    x = context.inputs.get(context.name.removeprefix("d"))
    if x is not None and in_span(got - expected, np.ones_like(x), x):
        return (
            "is off by a multiple of x - mean for each row: the term along "
            "it (from the variance) is missing or wrong"
        )


def in_span(rows, *basis):
    """Say whether each row is a combination of the same rows of basis."""
    n = rows.shape[-1] if rows.ndim else 0
    if n < len(basis) + 2 or any(b.shape != rows.shape for b in basis):
        return False
    columns = np.stack([b.reshape(-1, n) for b in basis], axis=-1)
    return all(
        same(matrix @ np.linalg.lstsq(matrix, row)[0], row)
        for matrix, row in zip(columns, rows.reshape(-1, n))
    )


def some_indices(got, expected, context):
    """Recognise errors at one or two indices of an axis."""
    for axis, n in enumerate(expected.shape):
        pairs = zip(np.moveaxis(got, axis, 0), np.moveaxis(expected, axis, 0))
        wrong = [str(i) for i, pair in enumerate(pairs) if not same(*pair)]
        if len(wrong) <= 2 < n:
            return f"is wrong only at {' and '.join(wrong)} of axis {axis}"


ANY_SHAPE = [not_finite, transposed, sum_missing, wrong_axes, reshaped]
SAME_SHAPE = [
    zero,
    unchanged,
    wrong_sign,
    swapped,
    equal_to_another,
    constant_factor,
    moved,
    parts_reordered,
    parts_equal,
    scrambled,
    transpose_inside,
    missing_term,
    extra_term,
    extra_factor,
    missing_factor,
    diagonal_only,
    softmax_twice,
    repeated_ids,
    lookup_only,
    head_only,
    one_of_batch,
    one_hot,
    should_be_zero,
    partly_zero,
    row_factor,
    row_constant,
    row_of_out,
    row_of_x,
    some_indices,
]
