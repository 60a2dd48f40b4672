"""What a check says of a mistake is true, and right more often than not.

KEYWORDS says for every mistake in a backward pass of test_mutants.py what a
helpful sentence would have to name, whether the check says so or not. Where
it says something else the suite fails; where it says nothing it only counts.
"""

import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from test_gradients import CHECKS, MODULES, OPS
from test_mutants import MUTANTS, NOTICED_BY, find_failure, name_of, rebuild

from helpers.checks import (
    Mistake,
    check_backward,
    gradients,
    try_backward,
    try_value,
)
from helpers.checks.diagnosis import ANY_SHAPE, SAME_SHAPE, Context, diagnose

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

KEYWORDS = {
    "linear_backward": {
        "wrong sign": "wrong sign",
        "mean over rows instead of sum": "mean in place of a sum",
        "bias summed over the batch but not the positions": "summed over",
        "mean of the bias gradient": "mean in place of a sum",
        "gradient of a bias that is not there": "was not given",
    },
    "softmax_backward": {
        "second term missing": "the sum over the last axis that is subtract",
        "wrong sign": "the sum over the last axis that is subtract",
        "only the diagonal of the Jacobian": "diagonal",
        "weights missing in the inner product": "the sum over the last axis",
        "inner product over all rows at once": "the sum over the last axis",
        "mean instead of sum in the inner product": "sum over the last axis",
    },
    "scaled_dot_product_attention_backward": {
        "dv: transpose missing": "dv has a transpose too many or too few",
        "dq: one transpose too many": "dq has a transpose too many or too",
        "dk: transpose missing": "dk has a transpose too many or too few",
        "dk = Q^T dS, which is its transpose": "dk is the transpose",
        "the same, forced into shape": "reshape where a transpose is needed",
        "scale missing in the backward pass": "square root of the length",
        "softmax left out": "softmax",
        "two gradients swapped": "dq and dk have changed places",
    },
    "split_heads_backward": {
        "heads merged without a transpose": "reshape where a transpose",
    },
    "merge_heads_backward": {
        "heads cut without a transpose": "reshape where a transpose",
    },
    "multi_head_attention_backward": {
        "q, k, v joined in the wrong order": "3 parts of its last axis in an",
        "dq used for dk and dv": "one gradient stands for all 3",
        "dq = dk = dv, the total right": "one gradient stands for all 3",
    },
    "linear_grads": {
        "a square weight transposed": "transpose",
        "bias gradient lost": "bias has no gradient",
    },
    "embedding_backward": {
        "a repeated id counts once": "names more than once",
        "the last of a repeated id wins": "names more than once",
        "float64 table in a float32 run": "np.zeros(shape)",
    },
    "learned_positions_backward": {
        "only the first sequence of the batch": "first sequence of the batch",
        "mean over the batch": "mean in place of a sum",
        "rows at the wrong end of the table": "moved by 3 along axis 0",
        "float64 table in a float32 run": "np.zeros(shape)",
    },
    "layer_norm_backward": {
        "mean term missing": "the mean or sum over the last axis",
        "variance term missing": "variance",
        "wrong sign": "variance",
        "weight missing": "weight",
        "1 / std missing": "1 / std",
        "sum instead of mean": "the mean or sum over the last axis",
        "bias summed over the batch but not the positions": "summed over",
        "bias summed over the channels": "summed over axis 2",
        "weight in its own gradient": "factor weight once too often",
        "mean over rows instead of sum": "mean in place of a sum",
    },
    "relu_backward": {
        "relu left out": "left out",
        "looks at the gradient": "sign of x",
        "slope 1 at exactly 0": "where it should be 0",
    },
    "gelu_backward": {
        "first term missing": "lacks",
        "second term missing": "lacks",
        "square missing in the slope of tanh": "square",
        "3 of x^3 missing": "3",
        "chain rule stops at tanh": "lacks the factor",
    },
    "dropout_backward": {
        "factor missing in the backward pass": "1 - p",
        "gradient passes where the number did not": "left out",
    },
    "feed_forward_backward": {
        "activation left out": "left out",
        "always relu, before the bias": "activation",
    },
    "residual_backward": {
        "residual path dropped in pre-norm": "(a residual) comes back",
        "residual path dropped in post-norm": "residual",
        "sublayer's path dropped": "left out",
        "pre-norm's backward for post-norm": "between them is left out",
        "post-norm's backward for pre-norm": "between them is left out",
        "dropout forgotten": "dropout",
        "weight and bias swapped": "have changed places",
    },
    "transformer_block_backward": {
        "attention gets the gradient from above the feed-forward": (
            "attention.out.bias is what feed_forward.down.bias should be: "
            "the same gradient arrived"
        ),
    },
    "cross_entropy_backward": {
        "1 / count missing": "12 is the number of targets that count",
        "ignored targets counted": "the share of targets that count",
        "divided by the batch only": "6 is the length of axis 1 of logits",
        "ignored targets get a gradient": "ignored or dropped gets no",
        "the gradient from above ignored": "is dout",
        "wrong sign of the one-hot": "wrong at targets alone",
        "one-hot forgotten": "wrong at targets alone",
        "softmax's Jacobian applied to p - y, which has it already": (
            "softmax's backward once more"
        ),
        "float64 scale in a float32 run": "float64 took part",
    },
    "embed_backward": {"dropout forgotten": "dropout"},
    "head_backward": {"tied gradient not transposed": "transpose"},
    "language_model_backward": {
        "tied: only the gradient of the lookup": "head's gradient is missing",
        "tied: only the gradient of the head": "lookup's gradient is missing",
        "the blocks' gradients in reverse order": (
            "blocks.0.norm1.weight and blocks.1.norm1.weight have changed"
        ),
        "backward through the blocks from first to last": "order",
        "every block gets the gradient of the last": (
            "blocks.1.feed_forward.down.bias should be: the same gradient"
        ),
        "final norm left out of dx": "final_norm.bias should be: the same",
        "weight and bias swapped": "have changed places",
    },
    "loss_and_grads": {
        "the loss itself flows back, not 1": "2.97 is out",
        "dropout never on": "dropout",
    },
}
PASSES = [
    row
    for row in MUTANTS
    if row[1].endswith("_backward") or row[1] in KEYWORDS
]


def said_of(row):
    """Return what the check says of a mistake behind the numbers."""
    module, function, old, new, _ = row
    mutant = rebuild(module, function, old, new)
    name = function.removesuffix("_backward")
    found = []
    original = Mistake.__init__

    def listen(self, *arguments):
        original(self, *arguments)
        found.append(arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mistake, "__init__", listen)
        assert find_failure(NOTICED_BY.get(name, name), mutant)
    kind, array, text, *cause = found[-1]
    if kind == "count":
        return f"{array} {text} {cause}"
    return cause[0]


def test_at_least_half_of_the_mutants_get_the_right_diagnosis(capsys):
    right, silent, misled = [], [], []
    for row in PASSES:
        keyword = KEYWORDS.get(row[1], {}).get(row[-1])
        said = said_of(row)
        if said is None:
            silent.append(name_of(row))
        elif keyword is not None and keyword in said:
            right.append(name_of(row))
        else:
            misled.append((name_of(row), said))
    with capsys.disabled():
        line = f"diagnoses: {len(right)} of {len(PASSES)} mutants right"
        print(f"\n{line}, {len(silent)} silent", file=sys.stderr)
    assert not misled
    assert len(right) >= len(PASSES) / 2
    assert len(PASSES) > 70


def test_the_table_names_mutants_that_exist():
    listed = {(f, why) for f, whys in KEYWORDS.items() for why in whys}
    assert listed == {(row[1], row[-1]) for row in PASSES}


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
    (line,) = lines
    return line


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
    "backward, line",
    [
        (twice_backward, "matches torch: out, dx"),
        (cell(BLANK), "not yet: write f"),
        (lambda dout, cache: dout[0], "shape: dx has shape (5,), expected ("),
        (lambda dout, cache: -2 * dout, "wrong: dx by 2 of its size, first"),
        (lambda dout, cache: -2 * dout, "at index (0, 0): got -0.2515, expe"),
        (lambda dout, cache: -2 * dout, ". dx has the wrong sign everywhere."),
        (float64_leak, "dtype: dx is float64 in a float32 run. A float64 too"),
        (imprecise, "The float64 run agreed: the formula is right"),
        (lambda dout, cache: None, "0 gradients for 1 arrays (x). Is there a"),
        (lambda dout, cache: (dout, dout), "2 gradients for 1 arrays (x). R"),
        (
            cell(BROKEN),
            "error: ZeroDivisionError: division by zero (line 3 of",
        ),
    ],
)
def test_try_backward_says_it_in_one_line(backward, line):
    assert line in said_of_backward(backward)


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
    "got, expected, line",
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
        (["a"], ["b"], "wrong: result is ['a'], expected ['b']"),
        (np.ones(3), np.ones(4), "shape: result has shape (3,), expected (4,"),
        (x, x + np.eye(2, 5), "first at index (0, 0): got"),
    ],
)
def test_try_value_says_it_in_one_line(got, expected, line, capsys):
    try_value(lambda: got, expected)
    assert line in capsys.readouterr().out


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
        ("twice", "right"),
        ("twice", "wrong"),
    ]
