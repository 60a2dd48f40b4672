"""What a grade of appendix A5 adds: other requests, and the exercises."""

from helpers.assistant import ASKABLE
from helpers.checks.cases import assistant as known
from helpers.checks.cases import pair, value


def grammar_for(rng):
    wanted = {"use": known._told, "keeps_dtype": False}
    for i in range(3):
        request = {
            kind: list(words)[rng.integers(len(words))]
            for kind, words in ASKABLE.items()
        }
        yield value(f"the {i + 1}th drawn request", request, **wanted)


def answer_batch(rng):
    sizes = rng.integers(1, 7, size=(2, 4))
    prompts, answers = (
        [rng.integers(1, 99, size=n).tolist() for n in row] for row in sizes
    )
    yield value("four drawn rows", prompts, answers)


def price(rng):
    for i in range(3):
        p, r = rng.uniform(0.05, 0.95, size=2).tolist()
        yield value(f"the {i + 1}th drawn pair", p, r)


def leave_one_out(rng):
    rewards = rng.normal(size=12)
    for size in (2, 3, 4):
        yield value(f"groups of {size}", rewards, size)


def thin(rng):
    x, A, B, weight = (
        rng.normal(size=s) for s in ((6, 5), (5, 2), (2, 7), (5, 7))
    )
    yield pair("rank 2", x, A, B, weight=weight)
    yield pair("a single row", x[:1], A, B, weight=weight)
