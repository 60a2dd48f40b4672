"""What a function is tried on, one module a lesson.

Support code, for blanks.py. A module such as cases/attention.py has, under
the name of each function that a learner writes (Adam_step for Adam.step), a
generator that is handed a fresh random generator and yields cases:

    def softmax(rng):
        yield pair("rows of 7", rng.normal(size=(2, 5, 7)))

    def causal_mask(rng):
        yield value("T = 3", 3)
        yield value("T = 1", 1, expected=np.array([[True]]))

    def mask_scores(rng):
        mask = np.array([[True, False], [False, False]])
        yield refusal("a row that may see nothing", np.zeros((2, 2)), mask)

`pair` is for a forward that returns out, cache, and its backward: both are
checked with it, the forward alone as soon as it is written. `value` is for
every other function. What has to come is recorded from the shelf (python -m
helpers.checks.record), unless `expected` says it. `refusal` wants a
ValueError raised in words, and not by NumPy.

A title is a few words, different for each case of a function. Arguments are
made anew for every run. Float arrays run in float64 and in float32; whole
numbers, texts, configs, functions go in as they are. Arguments must not be
changed, except those named in in_place; a result keeps their dtype, except
with keeps_dtype=False.

use: a function that calls the learner's, where a plain call does not do; it
gets the function and the arguments, and returns what is to be compared:
    value("three steps", params, grads, use=take_three_steps)
For a method it gets the class, with the learner's method and the shelf's
others. For a pair, use gets (op, op_backward) and returns two functions to
look at in their place.
"""

import importlib
import importlib.util
import re
from dataclasses import dataclass, field

import numpy as np

from helpers.checks.lessons import LESSONS, names_in

RECORDED = object()
SEED = 0  # of the numbers; `make course` writes another


@dataclass
class Case:
    """Hold one call with a known outcome; made by pair, value, refusal."""

    kind: str
    title: str
    arguments: tuple
    settings: dict = field(default_factory=dict)
    expected: object = RECORDED
    use: object = None
    in_place: tuple = ()
    keeps_dtype: bool = True


def pair(title, *arguments, use=None, in_place=(), **settings):
    """Return a case of a forward that returns out, cache, and its backward."""
    return Case("pair", title, arguments, settings, use=use, in_place=in_place)


def value(
    title,
    *arguments,
    expected=RECORDED,
    use=None,
    in_place=(),
    keeps_dtype=True,
    **settings,
):
    """Return a case of a function that returns something else."""
    options = expected, use, in_place, keeps_dtype
    return Case("value", title, arguments, settings, *options)


def refusal(title, *arguments, use=None, **settings):
    """Return a case that has to raise ValueError."""
    return Case("refusal", title, arguments, settings, use=use)


def find_cases(lesson, function, seed=None, package=__name__):
    """Return the cases of a function, made anew; [] if it has none.

    seed: of their numbers, None = SEED, of which it is recorded what comes.
    package: of the modules that make them.
    """
    name = f"{package}.{lesson}"
    if not lesson or not importlib.util.find_spec(name):
        return []
    module = importlib.import_module(name)
    generator = vars(module).get(re.sub(r"\W", "_", function))
    if getattr(generator, "__module__", None) != name:
        return []
    return list(
        generator(np.random.default_rng(SEED if seed is None else seed))
    )


def cast(value, dtype):
    """Return value with the float arrays in it in another dtype, as copies.

    They are cut to float32 first: both runs see the same numbers.
    """
    if isinstance(value, dict):
        return {key: cast(part, dtype) for key, part in value.items()}
    if type(value) in (tuple, list):
        return type(value)(cast(part, dtype) for part in value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(np.float32).astype(dtype)
    return value


def has_floats(case):
    """Say whether an array of floats is among the arguments of a case."""

    def look(value):
        if isinstance(value, dict):
            return any(map(look, value.values()))
        if isinstance(value, tuple | list):
            return any(map(look, value))
        return isinstance(value, np.ndarray) and value.dtype.kind == "f"

    return look((case.arguments, case.settings))


def with_cases():
    """Return {lesson: names of the functions that have cases}."""
    found = {}
    for lesson in LESSONS:
        module = f"helpers.checks.cases.{lesson}"
        if importlib.util.find_spec(module):
            names = {re.sub(r"\W", "_", n): n for n in names_in(lesson)}
            found[lesson] = [
                names[key]
                for key, thing in vars(importlib.import_module(module)).items()
                if getattr(thing, "__module__", None) == module
                and key[0] != "_"
            ]
    return found
