"""What a loss is turned into for readers: accuracy and perplexity."""

import math

import numpy as np
import pytest

from helpers.language_model import accuracy, cross_entropy, perplexity


@pytest.mark.parametrize("V", [1, 2, 7, 4096])
def test_perplexity_of_a_fair_choice_is_the_number_of_choices(V):
    loss, _ = cross_entropy(np.zeros((3, V)), np.zeros(3, dtype=int))
    assert perplexity(loss) == pytest.approx(V)


def test_perplexity_is_the_inverse_of_the_mean_probability():
    """The geometric mean: of 1/2 and 1/8 it is 1/4."""
    logits = np.log([[0.5, 0.25, 0.25], [0.5, 0.375, 0.125]])
    loss, _ = cross_entropy(logits, np.array([0, 2]))
    assert perplexity(loss) == pytest.approx(4)
    assert perplexity(0.0) == 1.0
    assert perplexity(math.log(10)) == pytest.approx(10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [float, np.float32, np.float64])
def test_perplexity_of_a_run_that_diverged(kind):
    """Beyond what a float can hold it is inf, without a warning."""
    assert math.isfinite(perplexity(kind(709)))
    assert perplexity(kind(710)) == perplexity(kind("inf")) == math.inf
    assert math.isnan(perplexity(kind("nan")))


LOGITS = np.array(  # (2, 3, 4); the favourites are 1 3 0 and 2 2 0
    [
        [[0.0, 2.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.1], [9.0, 1.0, 1.0, 1.0]],
        [[0.0, 0.0, 5.0, 4.0], [-3.0, -2.0, -1.0, -2.0], [1.0, 1.0, 0, 0]],
    ]
)


@pytest.mark.parametrize(
    "targets, options, expected",
    [
        ([[1, 3, 0], [2, 2, 0]], {}, 1.0),
        ([[0, 0, 1], [0, 0, 1]], {}, 0.0),
        ([[1, 3, 0], [2, 1, 1]], {}, 4 / 6),
        ([[1, 3, -100], [-100, 0, -100]], {}, 2 / 3),
        ([[-100, -100, -100], [-100, 2, -100]], {}, 1.0),
        ([[1, 3, 7], [7, 0, 7]], {"ignore_index": 7}, 2 / 3),
        ([[1, 0, 1], [0, 0, 0]], {"ignore_index": 0}, 1 / 2),
    ],
)
def test_accuracy_by_hand(targets, options, expected):
    got = accuracy(LOGITS, np.array(targets), **options)
    assert type(got) is float and got == pytest.approx(expected)


def test_accuracy_of_one_row():
    assert accuracy(LOGITS[0], np.array([1, 0, 0])) == pytest.approx(2 / 3)
