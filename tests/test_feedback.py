"""What a check says of a mistake is true, and right more often than not.

mutants.txt says for every mistake in a backward pass what a helpful sentence
would have to name, in brackets if the check does not say so. Where it says
something else test_mutants.py fails; here is the count, and every sentence.
"""

import re
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from test_gradients import CHECKS, MODULES, OPS
from test_mutants import MUTANTS

from helpers.checks import (
    Mistake,
    check_backward,
    gradients,
    try_backward,
    try_value,
)
from helpers.checks.diagnosis import ANY_SHAPE, SAME_SHAPE, Context, diagnose

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def test_127_of_134_mistakes_get_the_right_diagnosis(capsys):
    """And none another: test_mutants.py holds each check to the table."""
    told = [mutant.says for mutant in MUTANTS if mutant.says]
    silent = [says for says in told if says.startswith("(")]
    right = len(told) - len(silent)
    with capsys.disabled():
        line = f"diagnoses: {right} of {len(told)} mutants right"
        print(f"\n{line}, {len(silent)} silent", file=sys.stderr)
    assert (right, len(told)) == (127, 134)


# each sentence, by the function that knows it

rng = np.random.default_rng(0)
dx, other, dout = rng.normal(size=(3, 2, 5, 6))
ids = np.array([[3, 1, 3, 0, 3], [1, 1, 5, 3, 0]])
matrix, bias = rng.normal(size=(7, 6)), rng.normal(size=6)
lookup = np.zeros((7, 6))
np.add.at(lookup, ids, dout)
weights = rng.random((2, 5, 5))
p = np.exp(dx) / np.exp(dx).sum(axis=-1, keepdims=True)
logits_grad = (p - np.eye(6)[ids]) / 10
scale_of_rows = 1 + rng.random((2, 5, 1))


def context(got, expected, name="dx", **more):
    """Return the Context of one wrong array in a small lesson."""
    given = {"inputs": {"x": other}, "integers": {}, "numbers": {}}
    given["dout"] = dout
    given |= {key: more.pop(key) for key in given if key in more}
    results = {"out": more.pop("out", other * 3)} | more.pop("right", {})
    wrong = more.pop("wrong", {})
    assert not more
    got = results | wrong | {name: got}
    return Context(got, results | {name: expected}, **given, name=name)


def with_changes(array, index, value):
    array = array.copy()
    array[index] = value
    return array


SAMPLES = {
    "transposed": context(matrix.T, matrix),
    "sum_missing": context(dout, dout.sum(axis=(0, 1))),
    "wrong_axes": context(dout.sum(axis=2), dout.sum(axis=(0, 1))),
    "reshaped": context(dx.reshape(10, 6), dx),
    "not_finite": context(with_changes(dx, 0, np.nan), dx),
    "zero": context(np.zeros_like(dx), dx),
    "unchanged": context(dout, dx),
    "wrong_sign": context(-dx, dx),
    "swapped": context(other, dx, right={"dk": other}, wrong={"dk": dx}),
    "equal_to_another": context(
        other, dx, right={"dk": p}, wrong={"dk": other}
    ),
    "constant_factor": context(10 * dx, dx),
    "moved": context(np.roll(matrix, 2, axis=0), matrix),
    "parts_reordered": context(dx[..., [2, 3, 0, 1, 4, 5]], dx),
    "parts_equal": context(np.tile(dx[..., :2], 3), dx),
    "scrambled": context(dx.swapaxes(0, 1).reshape(dx.shape), dx),
    "transpose_inside": context(
        weights @ dout, weights.swapaxes(-1, -2) @ dout
    ),
    "missing_term": context(dx, dx + dout),
    "extra_term": context(dx + dout, dx),
    "extra_factor": context(dx * other, dx),
    "missing_factor": context(dx, dx * other),
    "diagonal_only": context(dout * p * (1 - p), dx, out=p),
    "softmax_twice": context(
        p * (logits_grad - (logits_grad * p).sum(-1, keepdims=True)),
        logits_grad,
        inputs={"logits": dx},
    ),
    "row_factor": context(dx * scale_of_rows, dx),
    "row_constant": context(dx + scale_of_rows, dx),
    "row_of_out": context(dx + scale_of_rows * p, dx, out=p),
    "row_of_x": context(dx + scale_of_rows * (other - 1), dx),
    "repeated_ids": context(
        with_changes(np.zeros((7, 6)), ids, dout),
        lookup,
        integers={"ids": ids},
    ),
    "lookup_only": context(lookup, lookup + matrix, integers={"ids": ids}),
    "head_only": context(matrix, lookup + matrix, integers={"ids": ids}),
    "one_of_batch": context(dout[0], dout.sum(axis=0)),
    "one_hot": context(p / 10, logits_grad, integers={"targets": ids}),
    "should_be_zero": context(dx, with_changes(dx, ids > 2, 0)),
    "partly_zero": context(dx * (other > 0), dx),
    "some_indices": context(with_changes(matrix, 4, bias), matrix),
}


def recogniser_of(sample):
    """Return the name of the function that speaks first, and its clause."""
    got = np.asarray(sample.got[sample.name])
    expected = np.asarray(sample.expected[sample.name])
    same_shape = SAME_SHAPE if got.shape == expected.shape else []
    for recognise in ANY_SHAPE + same_shape:
        if clause := recognise(got, expected, sample):
            return recognise.__name__, clause
    return None, None


@pytest.mark.parametrize("name", SAMPLES)
def test_every_recogniser_is_reached(name):
    found, clause = recogniser_of(SAMPLES[name])
    assert found == name
    assert diagnose(SAMPLES[name]) == f"dx {clause}."


def test_every_recogniser_has_a_sample():
    names = {recognise.__name__ for recognise in ANY_SHAPE + SAME_SHAPE}
    assert names == set(SAMPLES)
    assert len(names) == len(ANY_SHAPE + SAME_SHAPE)


@pytest.mark.parametrize(
    "said, sample",
    [
        ("over axis 1:", context(dx, dx.sum(axis=1, keepdims=True))),
        ("last sequence", context(dout[-1], dout.sum(axis=0))),
        ("is what dk should be", context(other, dx, right={"dk": other})),
        (
            "down.bias should be: the same gradient arrived",
            context(bias, matrix[0], "bias", right={"down.bias": bias}),
        ),
        ("lacks b, which", context(dx, dx + bias, inputs={"b": bias})),
        (
            "NaN or infinity",
            context(np.full((2, 5), np.inf), dout.sum(axis=(0, 1))),
        ),
        ("reversed along axis 0", context(matrix[::-1], matrix)),
        ("is -2.5 times", context(-2.5 * dx, dx)),
        ("is 2.6 times too large everywhere.", context(2.6 * dx, dx)),
        ("10 is the number of rows of x, 2 x 5", context(dx / 10, dx)),
        ("a sum in place of a mean", context(6 * dx, dx)),
        ("square root of the length of axis 2", context(6**0.5 * dx, dx)),
        ("0.3 is p", context(0.3 * dx, dx, numbers={"p": 0.3})),
        ("0.7 is 1 - p", context(0.7 * dx, dx, numbers={"p": 0.3})),
        ("3.7 is out", context(3.7 * dx, dx, out=3.7, dout=np.array(0.2))),
        ("0.2 is dout", context(dx / 0.2, dx, out=3.7, dout=np.array(0.2))),
        (
            "8 is the number of ids that count",
            context(
                8 * dx, dx, integers={"ids": np.abs(ids) - 100 * (ids < 1)}
            ),
        ),
        (
            "0.9 is the share of t that count",
            context(
                0.9 * dx,
                dx,
                integers={"t": with_changes(ids, (0, 0), 9)},
                numbers={"ignore_index": 9},
            ),
        ),
    ],
)
def test_every_sentence_is_reached(said, sample):
    assert said in diagnose(sample)


# nothing is said without reason


def honest_contexts():
    """Yield a Context, got right, for one case of every op."""
    for op, cases in CHECKS.items():
        module = MODULES[op]
        pair = getattr(module, op, None), getattr(module, op + "_backward", 0)
        forward, backward = OPS[op](module) if op in OPS else pair
        arrays, settings = next(iter(cases.values()))
        inputs = [gradients._cast(array, np.float64) for array in arrays]
        out, flowing, grads = gradients._run(
            forward, backward, inputs, settings, np.float64
        )
        named = gradients._name(forward, inputs, out, grads)
        went_in = gradients._name_inputs(forward, inputs, settings)
        named = {key: np.asarray(array) for key, array in named.items()}
        yield Context(named, dict(named), *went_in, flowing)


def test_what_is_right_gets_no_diagnosis():
    for sample in honest_contexts():
        for name in sample.expected:
            assert diagnose(replace(sample, name=name)) is None


@pytest.mark.parametrize("seed", range(3))
def test_garbage_gets_no_diagnosis(seed):
    rng = np.random.default_rng(seed)
    for sample in honest_contexts():
        sample.got = {
            name: rng.normal(size=np.shape(array))
            for name, array in sample.expected.items()
        }
        for name in sample.expected:
            assert diagnose(replace(sample, name=name)) is None


def test_no_shape_breaks_a_diagnosis():
    shapes = [(), (0,), (1,), (3,), (1, 1), (2, 3), (0, 3), (3, 2), (2, 3, 4)]
    rng = np.random.default_rng(0)
    for got, expected, flowing, given in product(shapes, repeat=4):
        diagnose(
            context(
                rng.normal(size=got),
                rng.normal(size=expected),
                out=rng.normal(size=flowing),
                dout=rng.normal(size=flowing),
                inputs={"x": rng.normal(size=given)},
                integers={"ids": rng.integers(0, 3, size=given)},
            )
        )


# what the checks print

x = rng.normal(size=(2, 5))


def twice(x):
    return 2 * x, None


def twice_backward(dout, cache):
    return 2 * dout


def torch_twice(x):
    return 2 * x


def said_of_backward(backward, forward=twice):
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("builtins.print", lines.append)
        try_backward(forward, backward, torch_twice, (x,))
    (said,) = lines
    assert max(map(len, said.splitlines())) <= 79
    return re.sub(r"\s+", " ", said)


def cell(source):
    """Return what a notebook cell defines last."""
    namespace = {"np": np}
    exec(compile(source, "<cell>", "exec"), namespace)
    return list(namespace.values())[-1]


def float64_leak(dout, cache):
    return np.float64(2) * dout.astype(np.float64)


def imprecise(dout, cache):
    return 2 * dout + (np.finfo(dout.dtype).eps > 1e-10) * np.float32(0.1)


BLANK = 'def f(dout, cache):\n    raise NotImplementedError("write f")'
BROKEN = "def f(dout, cache):\n    rows = 3\n    return rows / 0"


@pytest.mark.parametrize(
    "backward, text",
    [
        (twice_backward, "matches torch: out, dx"),
        (cell(BLANK), "not yet: write f"),
        (lambda dout, cache: dout[0], "shape: dx has shape (5,), expected ("),
        (lambda dout, cache: -2 * dout, "wrong: dx by 2 of its size, worst"),
        (lambda dout, cache: -2 * dout, "at index (0, 4): got 5.717, expecte"),
        (lambda dout, cache: -2 * dout, ". dx has the wrong sign everywhere."),
        (float64_leak, "dtype: dx is float64 in a float32 run. A float64 too"),
        (imprecise, "The float64 run agreed: the formula is right"),
        (lambda dout, cache: None, "0 gradients for 1 arrays (x). Is there a"),
        (lambda dout, cache: (dout, dout), "returned a tuple of 2, expected"),
        (
            cell(BROKEN),
            "error: ZeroDivisionError: division by zero (line 3 of",
        ),
    ],
)
def test_try_backward_says_it_in_one_sentence(backward, text):
    assert text in said_of_backward(backward)


def test_a_forward_without_a_cache_is_named():
    said = said_of_backward(twice_backward, lambda x: 2 * x)
    assert said == "count: out has no cache: return out, cache"


def test_too_few_gradients_are_counted():
    def add(a, b):
        return a + b, None

    with pytest.raises(Mistake, match="1 gradients for 2 .* Return one for"):
        check_backward(add, lambda d, c: d, lambda a, b: a + b, (x, x))


def test_jupyter_shows_a_mistake_without_a_traceback():
    assert Mistake(
        "wrong", "dx", "is wrong by 2", "Why."
    )._render_traceback_() == ["dx is wrong by 2. Why."]


@pytest.mark.parametrize(
    "grads, said",
    [({}, "weight has no gradient"), ({"weight": x, "b": x}, "b has a grad")],
)
def test_missing_and_surplus_gradients_are_named(grads, said):
    def use(params):
        return params["weight"] * 1, None

    with pytest.raises(Mistake, match=said):
        arrays = {"weight": x}
        check_backward(
            use, lambda *_: grads, lambda p: p["weight"] * 1, (arrays,)
        )


@pytest.mark.parametrize(
    "got, expected, text",
    [
        (3, 3, "right"),
        (0.1 + 0.2, 0.3, "right"),
        ([1, 2], (1, 2), "right"),
        (np.eye(2) > 0, [[True, False], [False, True]], "right"),
        ([[1], [2, 3]], [[1], [2, 3]], "right"),
        (-np.inf, -np.inf, "right"),
        (10_000_001, 10_000_000, "wrong: result is 10000001, expected 100000"),
        (None, 3, "wrong: result is None, expected 3. Is there a return?"),
        (None, np.eye(2), "wrong: result is None, expected array"),
        ("a", np.eye(2), "wrong: result is 'a', expected array"),
        (True, False, "wrong: result is True, expected False"),
        (np.float64(0.5), ["a"], "wrong: result is 0.5, expected 1 in a lis"),
        (["a"], ["b"], "wrong: result[0] is 'a', expected 'b'"),
        (np.ones(3), np.ones(4), "shape: result has shape (3,), expected (4,"),
        (x, x + np.eye(2, 5), "worst at index (0, 0): got"),
    ],
)
def test_try_value_says_it_in_one_sentence(got, expected, text, capsys):
    try_value(lambda: got, expected)
    assert text in " ".join(capsys.readouterr().out.split())


def parts(function):
    return len(function(1))


def test_functions_that_are_handed_over_are_judged_with_the_check(monkeypatch):
    monkeypatch.setattr(gradients, "VERDICTS", [])

    try_value(parts, 3, twice)
    assert gradients.VERDICTS == [("twice", "wrong"), ("parts", "wrong")]


def test_verdicts_are_recorded_by_name(monkeypatch):
    monkeypatch.setattr(gradients, "VERDICTS", [])
    said_of_backward(twice_backward)
    said_of_backward(cell(BROKEN))
    said_of_backward(cell(BLANK))
    try_value(twice, 5, 2)
    assert gradients.VERDICTS == [
        ("twice", "matches torch"),
        ("twice_backward", "matches torch"),
        ("f", "raises an error"),
        ("twice", "matches torch"),  # its backward is blank
        ("twice", "wrong"),
    ]
