"""Check the story grammar: exact entropy, one derivation, clean English."""

import re
from math import inf, log

import numpy as np
import pytest

from helpers.stories.grammar import (
    GRAMMAR,
    _derivations,
    is_story,
    story_entropy,
    story_log_prob,
    tell_stories,
    tell_story,
)

COINS = {"story": "{coin} {coin}", "coin": ["heads", "tails"]}
ECHO = {"story": "{x=coin} {x} {x.Not}", "coin": [(1, "a", {"not": "b"})]}
BIASED = {"story": [(3, "sun"), (1, "rain and {wind}")], "wind": ["no", "yes"]}
AMBIGUOUS = {"story": ["{a}{a}"], "a": ["x", "xx"]}


@pytest.fixture(scope="module")
def stories():
    return tell_stories(5000, seed=7)


def test_entropy_by_hand():
    assert story_entropy(COINS) == pytest.approx(2 * log(2))
    assert story_entropy(ECHO) == 0
    rain_or_sun = -0.75 * log(0.75) - 0.25 * log(0.25)
    assert story_entropy(BIASED) == pytest.approx(rain_or_sun + log(2) / 4)


def test_log_prob_by_hand():
    assert story_log_prob("heads tails", COINS) == pytest.approx(-2 * log(2))
    assert story_log_prob("sun", BIASED) == pytest.approx(log(3 / 4))
    assert story_log_prob("rain and no", BIASED) == pytest.approx(-log(8))
    assert story_log_prob("xxx", AMBIGUOUS) == pytest.approx(-log(2))
    assert len(list(_derivations("xxx", AMBIGUOUS))) == 2


def test_bound_name_repeats_with_its_attributes():
    assert tell_story(np.random.default_rng(0), ECHO) == "a a B"
    assert is_story("a a B", ECHO)
    assert not is_story("a b B", ECHO)


def test_sample_mean_agrees_with_exact_entropy(stories):
    losses = -np.array([story_log_prob(story) for story in stories[:4000]])
    error = losses.std(ddof=1) / np.sqrt(len(losses))
    assert abs(losses.mean() - story_entropy()) < 4 * error
    assert 22 < story_entropy() < 60


def test_every_story_has_one_derivation(stories):
    assert {len(list(_derivations(s, GRAMMAR))) for s in stories} == {1}


def test_every_choice_is_told_sooner_or_later(stories):
    text = "\n".join(stories)
    for choices in GRAMMAR.values():
        for choice in [choices] if isinstance(choices, str) else choices:
            template = choice if isinstance(choice, str) else choice[1]
            pattern = re.split(r"\{.*?\}", template)
            assert re.search(".*?".join(map(re.escape, pattern)), text, re.S)


@pytest.mark.parametrize("who", [0, -1], ids=["hero", "friend"])
@pytest.mark.parametrize("mention", [1, -1], ids=["second", "last"])
def test_changed_name_is_rejected(stories, who, mention):
    for story in stories[:50]:
        name = re.findall(r"(?:named|I am) ([A-Z]\w+)", story)[who]
        start = [m.start() for m in re.finditer(name, story)][mention]
        other = "Lily" if name != "Lily" else "Mia"
        changed = story[:start] + other + story[start + len(name) :]
        assert not is_story(changed)
        assert story_log_prob(changed) == -inf


@pytest.mark.parametrize("text", ["", "Once upon a time", "The cat sat."])
def test_other_text_is_rejected(stories, text):
    assert not is_story(text)
    assert not is_story(stories[0] + text + " ")
    assert not is_story(stories[0][:-1])
    assert story_log_prob(text) == -inf


def test_same_seed_same_stories(stories):
    assert tell_stories(20, seed=7) == stories[:20]
    assert tell_stories(20, seed=8) != stories[:20]


def test_few_duplicates(stories):
    assert len(stories) - len(set(stories)) < 5


def test_length(stories):
    words = [len(story.split()) for story in stories]
    assert min(words) >= 60 and max(words) <= 130
    distinct = set(re.findall(r"[a-z]+", "\n".join(stories).lower()))
    assert 250 <= len(distinct) <= 400


@pytest.mark.parametrize(
    "wrong",
    [
        r"[{}=*]",  # a slot left over
        r"\b[Aa] [aeiouAEIOU]",  # a apple
        r"\b[Aa]n [^aeiou]",  # an tree
        r"  | \n|\n |\s$|^\s|\n\n",  # stray white space
        r"\.\"? [a-z]",  # lower case after a full stop
        r"[!?] [a-z]",  # and after ! or ?, outside quotes
        r"(^|\n)\"?[a-z]",  # and at the start of a line
        r"[.,!?]{2}| [.,!?]",  # stray punctuation
        r"[^.!?\"]$|[^.!?\"]\n",  # a line without an end
        r"\b(\w+) \1\b",  # a word twice
    ],
)
def test_style(stories, wrong):
    found = [s for s in stories[:2000] if re.search(wrong, s)]
    assert not found, found[0]


def test_quotes_are_paired_in_every_line(stories):
    lines = "\n".join(stories[:2000]).split("\n")
    assert all(line.count('"') % 2 == 0 for line in lines)
