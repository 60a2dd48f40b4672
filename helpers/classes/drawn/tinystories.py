"""What a grade of lesson 05 adds: other texts, and the exercises."""

import numpy as np

from helpers.checks.cases import tinystories as known
from helpers.checks.cases import value

SYLLABLES = ("he", "hen", "the", "ba", "na", "n", "a", "é", "猫", "12", "'s")
END = known.END


def count_words(rng):
    yield value("a drawn text", _text(rng, 30))
    yield value("a drawn text with separators", _text(rng, 20, END))


def count_pairs(rng):
    words = rng.integers(5, 9, (6, 5)).tolist()
    counts = rng.integers(1, 20, 6).tolist()
    yield value("six drawn words", words, counts, use=known._count)


def merge(rng):
    for letters in (2, 3):
        word = rng.integers(letters, size=15).tolist()
        at = int(rng.integers(13))
        pair = tuple(word[at : at + 2])
        new_id = int(rng.integers(256, 999))
        yield value(f"a drawn word of {letters} letters", word, pair, new_id)


def merge_everywhere(rng):
    words = rng.integers(1, 4, (7, 6)).tolist()
    counts = rng.integers(1, 20, 7).tolist()
    given = tuple(words[0][:2]), 256, words, counts
    yield value("seven drawn words", *given, use=known._merge_and_look)


def most_frequent(rng):
    pairs = [(int(i), int(rng.integers(9))) for i in range(8)]
    counts = dict(zip(pairs, rng.integers(1, 30, 8).tolist()))
    entries = [(-n, pair) for pair, n in counts.items()]
    old = rng.integers(1, 9, 8).tolist()
    entries += [(-counts[p] - n, p) for p, n in zip(pairs, old)]
    yield value("eight pairs that fell", entries, counts, 6, use=known._pop)


def train_bpe(rng):
    size = int(rng.integers(262, 280))
    yield value("a drawn text", _text(rng, 60), size, use=known._learn)
    text = _text(rng, 40, END)
    yield value("separators in it", text, size, use=known._learn)


def encode_word(rng):
    merges = [b"he", b"na", b"the", b"en", b"nana", b"hen", b"th", b"an"]
    drawn = [merges[i] for i in rng.permutation(8)]
    ranks = known._ranks(b" ".join(drawn))
    word = "".join(_syllables(rng, 9)).encode()
    yield value("a drawn word, drawn ranks", word, ranks)


def split_stories(rng):
    stories = [f"story {n}" for n in rng.permutation(99)[:17].tolist()]
    yield value("seventeen stories", stories)
    seed, twice = int(rng.integers(1, 99)), stories + stories[:5]
    yield value("another seed, some twice", twice, 0.2, seed)


def tokenize_stories(rng):
    stories = ["".join(_letters(rng, n)) for n in (5, 3, 7)]
    given = stories, known._Letters(int(rng.integers(90, 900))), False
    yield value("three drawn stories", *given, use=known._tokenize)


def sample_batch(rng):
    n, T = int(rng.integers(14, 24)), int(rng.integers(2, 8))
    tokens = 300 + np.arange(n, dtype=np.uint16)
    yield value(f"{n} tokens, T = {T}", tokens, 400, T, use=known._sample)


def bytes_per_token(rng):
    texts = [_text(rng, n) for n in (5, 9, 2)]
    yield value("letters", texts, list)
    yield value("words", texts, str.split)


def story_mask(rng):
    ids = rng.integers(1, 9, 14)
    ids[rng.permutation(14)[:3]] = 0
    yield value("three separators", ids, 0)
    yield value("another separator", ids, int(ids[5]))
    yield value("no separator", ids, 99)


def bigram_loss(rng):
    for V in (3, 7):
        train, valid = rng.integers(V, size=40), rng.integers(V, size=12)
        yield value(f"{V} tokens", train, valid, V)
    yield value("tokens that are never seen", train, valid, 11)


def _syllables(rng, n):
    return [SYLLABLES[i] for i in rng.integers(len(SYLLABLES), size=n)]


def _letters(rng, n):
    return [chr(97 + i) for i in rng.integers(26, size=n)]


def _text(rng, n, *separators):
    """Return n drawn syllables, with a space or more between some."""
    between = ["", "", " ", " ", "  ", ", ", *separators]
    gaps = [between[i] for i in rng.integers(len(between), size=n)]
    pairs = zip(_syllables(rng, n), gaps)
    return "".join(part for pair in pairs for part in pair)
