"""What the functions of appendix A5 are tried on."""

import numpy as np

from helpers.assistant import IGNORE
from helpers.checks.cases import pair, refusal, value
from helpers.stories.grammar import story_entropy, tell_story


def grammar_for(rng):
    girl = {"name": "Mia", "thing": "cake", "end": "often"}
    boy = {"name": "Tom", "thing": "kite", "end": "happy"}
    cub = {"name": "Bo", "thing": "ring", "end": "next day"}
    for title, request in (("a girl", girl), ("a boy", boy), ("a cub", cub)):
        yield value(title, request, use=_told, keeps_dtype=False)
    yield refusal("a thing that no story has", boy | {"thing": "dragon"})
    yield refusal("no name", {"thing": "kite", "end": "happy"})


def answer_batch(rng):
    yield value("two rows", [[9, 1], [9, 2, 3]], [[4, 5, 6], [7]])
    yield value("one row", [[3]], [[5, 4]])
    yield value("a long prompt", [[9, 8, 7, 6, 5], [1]], [[2], [3, 4]])


def lora(rng):
    weight, A, B = (rng.normal(size=s) for s in ((7, 5), (7, 2), (2, 5)))
    yield pair("rank 2", weight, A, B)
    yield pair("scale 0.3", weight, A, B, scale=0.3)
    yield pair("B at zero", weight, A, 0 * B, scale=2.0)


def token_log_probs(rng):
    logits = rng.normal(size=(2, 4, 7))
    targets = rng.integers(0, 7, (2, 4))
    some = targets.copy()
    some[0, 0] = some[1, 2] = IGNORE
    yield pair("all scored", logits, targets)
    yield pair("some ignored", logits, some)
    yield pair("large logits", 300 + 40 * logits, some)


def dpo_loss(rng):
    chosen, rejected = rng.normal(0, 2, size=(2, 5))
    yield pair("five pairs", chosen, rejected)
    yield pair("at the start", 0 * chosen, 0 * rejected)
    yield pair("beta 0.7", chosen, rejected, beta=0.7)
    yield pair("far apart", 9000 * chosen, rejected)


def group_advantages(rng):
    mixed = [4.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    yield value("groups of four", mixed, 4, keeps_dtype=False)
    yield value("groups of two", mixed[::-1], 2, keeps_dtype=False)
    drawn = rng.normal(3, 2, size=12).tolist()
    yield value("groups of three", drawn, 3, keeps_dtype=False)


def clipped_gain(rng):
    log_probs, old, advantages = rng.normal(0, 0.4, size=(3, 4, 5))
    old[0, 0] = log_probs[0, 0]
    advantages *= 4
    advantages[1] *= np.sign(advantages[1]) * [1, -1, 1, -1, 1]
    old[1] = log_probs[1] - [0.5, 0.6, -0.7, -0.8, 0.1]  # all that is clipped
    fixed = {"old": old, "advantages": advantages}
    yield pair("ratios", log_probs, **fixed)
    yield pair("clip 0.05", log_probs, **fixed, clip=0.05)


def kl_estimate(rng):
    log_probs, reference = rng.normal(-1, 0.6, size=(2, 3, 4))
    yield pair("two policies", log_probs, reference)
    yield pair("the same policy", log_probs, log_probs.copy())


def exact_kl(rng):
    logits, reference = rng.normal(size=(2, 3, 7))
    yield pair("rows of seven", logits, reference)
    yield pair("one row", 3 * logits[0], reference[0])


def policy_loss(rng):
    log_probs, old, reference = rng.normal(-1, 0.4, size=(3, 4, 5))
    fixed = {"old": old, "reference": reference}
    fixed |= {"advantages": rng.normal(size=4)}
    fixed |= {"scored": rng.random((4, 5)) < 0.7}
    yield pair("no KL", log_probs, **fixed)
    yield pair("KL", log_probs, **fixed, clip=0.1, beta=0.5)


def _told(grammar_for, request):
    """Say what a grammar tells, and how much it leaves open."""
    grammar = grammar_for(request)
    story = tell_story(np.random.default_rng(0), grammar)
    return {"a story": story, "nats": round(story_entropy(grammar), 9)}
