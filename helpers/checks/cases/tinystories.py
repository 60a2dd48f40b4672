"""What the functions of lesson 05 are tried on."""

import heapq
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from helpers.checks.cases import refusal, value

END = "<|endoftext|>"
TEXT = (
    "the hen and the then hens, themselves then; the café had a naïve café "
    f"hen, hehehe aaaaa aaaa{END}the other hen gathered there{END}"
    "banana bananas, the bandana 12 1212 the 猫"
)


def count_words(rng):
    def case(title, text, *special, **counts):
        words = {tuple(w.encode("utf-8")): n for w, n in counts.items()}
        return value(title, text, *special, expected=words)

    yield case("a text", "the cat cat,", **{"the": 1, " cat": 2, ",": 1})
    text = f"the cat dog{END}the cat"
    cats = {"the": 2, " cat": 2, " dog": 1}
    yield case("a separator", text, **cats)
    yield case("letters outside ASCII", "café 猫 猫", **{"café": 1, " 猫": 2})
    yield value("an apostrophe, numbers, marks", "Tim's 12 hats, Tim's!  Yes.")
    yield value("lines and runs of space", "one\n\ntwo   three \n one ")
    capitals = {"The": 1, " the": 1, " THE": 1}
    yield case("capitals", "The the THE", **capitals)
    yield value("no special tokens", f"a{END}", ())
    kept = {"ax": 1, "b": 1, " x": 1}
    yield case("two special tokens", "ax[x]b x", (END, "[x]"), **kept)
    yield case("nothing between two separators", END + END)
    yield case("an empty text", "")


def count_pairs(rng):
    def case(title, words, counts, pairs, where):
        expected = {"pairs": pairs, "where": where, "where holds sets": True}
        given = words, counts
        return value(title, *given, use=_count, expected=expected)

    banana = {(98, 97): 3, (97, 110): 6, (110, 97): 6}
    at = dict.fromkeys(banana, [0])
    yield case("one word", [list(b"banana")], [3], banana, at)
    words = [[5, 6, 7], [6, 7], [8], [5, 6, 5, 6]]
    pairs = {(5, 6): 3 + 2 * 11, (6, 7): 3 + 10, (6, 5): 11}
    at = {(5, 6): [0, 3], (6, 7): [0, 1], (6, 5): [3]}
    yield case("words of different counts", words, [3, 10, 9, 11], pairs, at)
    four = {(97, 97): 4}
    yield case("pairs that overlap", [[97] * 5], [1], four, {(97, 97): [0]})
    yield case("words of one id", [[1], []], [4, 4], {}, {})
    yield value(
        "asked for a pair that never occurs",
        [[1, 2]],
        [1],
        expected=(0, []),
        use=_ask_for_another,
    )


def _count(f, words, counts):
    found = f(words, counts)
    if not isinstance(found, tuple) or len(found) != 2:
        return found
    pairs, where = found
    sets = all(isinstance(part, set) for part in where.values())
    return {
        "pairs": dict(pairs),
        "where": {
            pair: sorted(indices) if np.iterable(indices) else indices
            for pair, indices in where.items()
        },
        "where holds sets": sets,
    }


def _ask_for_another(f, words, counts):
    pairs, where = f(words, counts)
    return pairs[8, 9], sorted(where[8, 9])


def merge(rng):
    def case(title, word, pair, new_id, expected):
        return value(title, word, pair, new_id, expected=expected)

    banana, merged = list(b"banana"), [98, 256, 256, 97]
    yield case("a n in banana", banana, (97, 110), 256, merged)
    sevens = [256, 256, 7]
    yield case("a pair that overlaps itself", [7] * 5, (7, 7), 256, sevens)
    ends, merged = [2, 3, 2, 3, 1, 2, 3], [256, 256, 1, 256]
    yield case("a pair at the end", ends, (2, 3), 256, merged)
    yield case("half a pair at the end", [2, 1, 2], (2, 1), 9, [9, 2])
    yield case("a pair that is not there", [3, 2, 1], (2, 3), 9, [3, 2, 1])
    again = [256, 1, 256]
    yield case("merging a merged id", again, (256, 1), 300, [300, 256])
    yield case("one id", [4], (4, 4), 256, [4])
    yield case("no id", [], (4, 4), 256, [])


def merge_everywhere(rng):
    def case(title, pair, words, counts):
        return value(title, pair, 256, words, counts, use=_merge_and_look)

    words = [[1, 2, 3], [4, 1, 2], [3, 4], [1, 2, 1, 2], [2, 1]]
    yield case("three of five words", (1, 2), words, [5, 7, 20, 2, 4])
    yield case(
        "a pair that overlaps itself", (7, 7), [[7] * 5, [7, 8]], [3, 4]
    )
    yield case("a word that is the pair", (1, 2), [[1, 2], [3, 1]], [6, 2])
    many = [[5, 1, 2, 6], [5, 6], [6, 1, 2, 6, 1, 2, 5], [1, 1, 2, 2], [9]]
    yield case("neighbours on both sides", (1, 2), many, [2, 3, 5, 7, 11])


class _Watched(list):
    """Note which of its places are read."""

    def __init__(self, content):
        super().__init__(content)
        self.seen = set()

    def __getitem__(self, i):
        self.seen |= (
            set(range(*i.indices(len(self))))
            if isinstance(i, slice)
            else {i % len(self)}
        )
        return super().__getitem__(i)

    def __iter__(self):
        self.seen |= set(range(len(self)))
        return super().__iter__()


def _merge_and_look(f, pair, new_id, words, counts):
    """Return what merge_everywhere has done, whatever its style."""
    words = _Watched([list(word) for word in words])
    pairs, where = Counter(), defaultdict(set)
    for i, word in enumerate(list.__iter__(words)):
        for found in zip(word, word[1:]):
            pairs[found] += counts[i]
            where[found].add(i)
    before = pairs.copy()
    changed = f(pair, new_id, words, counts, pairs, where)
    seen, words = sorted(words.seen), [*list.__iter__(words)]
    left = {found: n for found, n in pairs.items() if n}
    spans = {found: i for i, w in enumerate(words) for found in zip(w, w[1:])}
    return {
        "words": words,
        "pairs": left,
        "where": {
            found: [
                i
                for i in sorted(where[found])
                if found in zip(words[i], words[i][1:])
            ]
            for found in spans
        },
        "returned": sorted(
            {
                p
                for p in changed or ()
                if left.get(p, 0) != before[p] and p in left
            }
        ),
        "words it looked at": seen,
    }


def most_frequent(rng):
    three = [(-3, (1, 2)), (-5, (2, 1)), (-4, (9, 9))]
    counts = {(1, 2): 3, (2, 1): 5, (9, 9): 4}
    right = [(2, 1), (9, 9), (1, 2), None]
    yield _pops("three pairs", three, counts, 4, right)
    equal = [(-4, (7, 1)), (-4, (2, 9)), (-4, (2, 3))]
    counts = {(7, 1): 4, (2, 9): 4, (2, 3): 4}
    yield _pops("equals", equal, counts, 2, [(2, 3), (2, 9)])
    fell = [(-9, (1, 2)), (-4, (5, 6)), (-3, (7, 8)), (-2, (1, 2))]
    fell += [(-1, (9, 9))]
    counts = {(1, 2): 2, (5, 6): 4, (7, 8): 3, (9, 9): 1}
    right = [(5, 6), (7, 8), (1, 2)]
    yield _pops("a count that fell", fell, counts, 3, right)
    grew = [(-5, (1, 2)), (-4, (5, 6)), (-8, (7, 8))]
    counts = {(1, 2): 6, (5, 6): 4, (7, 8): 9}
    yield _pops("counts that grew", grew, counts, 2, [(5, 6), None])
    gone = [(-3, (1, 2)), (0, (3, 4)), (-1, (5, 6))]
    counts = {(3, 4): 0, (5, 6): 1}
    yield _pops("pairs that are gone", gone, counts, 2, [(5, 6), None])
    yield _pops("an empty heap", [], {(1, 2): 3}, 1, [None])


def _pops(title, entries, counts, times, expected):
    return value(
        title, entries, counts, times, use=_pop, expected=[*map(str, expected)]
    )


def _pop(f, entries, counts, times):
    """Return what most_frequent gives several times in a row."""
    heap, pairs = list(entries), Counter(counts)
    heapq.heapify(heap)
    return [str(f(heap, pairs)) for _ in range(times)]


def train_bpe(rng):
    def case(title, text, vocab_size, *more):
        return value(title, text, vocab_size, *more, use=_learn)

    yield case("the words of the lesson", "the then them the cat cats", 261)
    yield case("forty merges", TEXT, 297)
    yield case("equals", "bd ac db ca", 260)
    yield case("letters outside ASCII", "猫猫猫 café café", 264)
    yield case("a text that has no more pairs", f"abab{END}ab", 300)
    yield case("room for the bytes alone", "the the", 257)
    yield case(
        "two special tokens",
        "aXXYbXXYcXXY the then hens then",
        261,
        (END, "XXY"),
    )
    yield case("no special tokens", f"the{END}{END}", 259, ())
    yield case("an empty text", "", 270)
    yield refusal("a vocabulary without room for the bytes", "the", 256)


def _learn(f, *arguments):
    """Return the merges that train_bpe finds, and whether the rest is so."""
    ranks = f(*arguments)
    if not isinstance(ranks, dict) or not all(map(_is_bytes, ranks)):
        return ranks
    tokens = sorted(ranks, key=ranks.get)
    bytes_first = tokens[:256] == [bytes([i]) for i in range(256)]
    return {
        "merges": [token for token in tokens if len(token) > 1],
        "the 256 bytes come first": bytes_first,
        "ids count from 0": sorted(ranks.values()) == [*range(len(ranks))],
    }


def _is_bytes(token):
    return isinstance(token, bytes)


def encode_word(rng):
    plain = _ranks(b"bc ab cd abc the th he")
    few = _ranks(b"bc ab cd")
    late = dict(sorted(few.items(), reverse=True))  # the order is no rank
    low = [97, 256, 100]
    yield value("the lowest rank first", b"abcd", few, expected=low)
    yield value("a merge of merges", b"zabc", plain, expected=[122, 259])
    yield value(
        "ranks in another order", b"abcd", late, expected=[97, 256, 100]
    )
    odd = [256, 256, 97]
    yield value("an odd row of equals", b"aaaaa", _ranks(b"aa"), expected=odd)
    yield value("two of the same", b"cdxcd", plain, expected=[258, 120, 258])
    moved = _ranks(b"th he the", first=rng.permutation(256))
    yield value("bytes whose ids are others", b"other the", moved)
    cat = _ranks("猫 é".encode())
    yield value("letters outside ASCII", "猫é".encode(), cat)
    yield value("one byte", b"q", plain, expected=[113])
    yield value("no byte", b"", plain, expected=[])


def _ranks(merges, first=range(256)):
    tokens = [bytes([i]) for i in first] + merges.split()
    return {token: i for i, token in enumerate(tokens)}


def split_stories(rng):
    stories = [f"story {letter}" for letter in "hcbmdaflkegij"]
    twice = stories[:9] + stories[4:] + stories[:2]
    yield value("thirteen stories", stories)
    yield value("some that occur twice", twice, 0.3)
    yield value("another seed", stories, seed=3)
    yield value("a fraction that rounds up", stories[:9], 0.3)
    yield value("three stories", stories[:3], 0.4, 1)
    yield refusal("one story told twice", stories[:1] * 2, 0.5)
    yield refusal("a part that would be empty", stories[:4])


def tokenize_stories(rng):
    def case(title, stories, tokenizer=None, to_file=False):
        options = stories, tokenizer or _Letters(90), to_file
        return value(title, *options, use=_tokenize)

    yield case("three stories", ["abc", "de", "f"])
    yield case("one story", ["hello"])
    yield case("an empty story", ["ab", "", "c"])
    yield case("no story", [])
    yield case("ids up to 65,535", ["abc", "zy"], _Letters(65_535))
    yield case("a path", ["abc", "de"], to_file=True)
    yield refusal("a vocabulary of 65,537", ["ab"], _Letters(65_536))


class _Letters:
    """Give letters ids that count down from end_of_text."""

    def __init__(self, end_of_text):
        self.end_of_text, self.vocab_size = end_of_text, end_of_text + 1

    def encode(self, text):
        return [self.end_of_text + 96 - ord(letter) for letter in text]

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]


def _tokenize(f, stories, tokenizer, to_file):
    """Return the tokens and their dtype; of a file, how it came back."""
    if not to_file:
        tokens = f(stories, tokenizer)
        if not isinstance(tokens, np.ndarray):
            return tokens
        return {"tokens": [*map(int, tokens)], "dtype": str(tokens.dtype)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.npy"
        tokens = f(stories, tokenizer, path)
        written = [*map(int, np.load(path))] if path.exists() else "nothing"
        result = {
            "tokens": [*map(int, tokens)],
            "dtype": str(tokens.dtype),
            "in the file": written,
            "memory-mapped": isinstance(tokens, np.memmap),
        }
        del tokens  # Windows keeps a mapped file otherwise
    return result


def sample_batch(rng):
    tokens = 300 + np.arange(23, dtype=np.uint16)
    shape = [(400, 5), (400, 5)]
    right = {
        "shapes": shape,
        "dtypes": ["int64", "int64"],
        "a window is T tokens in a row": True,
        "targets are the ids one place further on": True,
        "places where a window begins": [*range(18)],
        "all places are as likely": True,
        "the places follow no order": True,
        "the same seed gives the same batch": True,
    }
    yield value("anywhere", tokens, 400, 5, use=_sample, expected=right)
    few = right | {"places where a window begins": [0, 4, 17]}
    yield value(
        "starts",
        tokens,
        400,
        5,
        np.array([0, 4, 17]),
        use=_sample,
        expected=few,
    )
    one = right | {
        "shapes": [(3, 22), (3, 22)],
        "places where a window begins": [0],
    }
    yield value(
        "a single window fits", tokens, 3, 22, use=_sample, expected=one
    )
    two = right | {
        "shapes": [(60, 1), (60, 1)],
        "places where a window begins": [0, 1, 2],
    }
    yield value("T = 1", tokens[:4], 60, 1, use=_sample, expected=two)
    generator = np.random.default_rng(0)
    yield refusal("a text shorter than a window", tokens[:5], 2, 5, generator)


def _sample(f, tokens, B, T, starts=None):
    """Return what is true of a batch, however its places were drawn."""
    batches = []
    for _ in range(2):
        batch = f(tokens, B, T, np.random.default_rng(4), starts)
        if not isinstance(batch, tuple) or len(batch) != 2:
            return batch
        batches.append([np.array(part) for part in batch])
    ids, targets = batches[0]
    wide = ids.astype(int), targets.astype(int)
    places, counts = np.unique(wide[0][:, 0] - 300, return_counts=True)
    steps = np.diff(wide[0][:, 0])
    order = len(counts) > 1 and (
        (steps == 1).mean() > 0.8 or (steps >= 0).all()
    )
    in_a_row = (np.diff(wide[0], axis=1) == 1).all()
    further = wide[0].shape == wide[1].shape and (wide[1] - wide[0] == 1).all()
    return {
        "shapes": [ids.shape, targets.shape],
        "dtypes": [str(ids.dtype), str(targets.dtype)],
        "a window is T tokens in a row": bool(in_a_row),
        "targets are the ids one place further on": bool(further),
        "places where a window begins": [*map(int, places)],
        "all places are as likely": bool(counts.max() < 5 * counts.min()),
        "the places follow no order": not order,
        "the same seed gives the same batch": all(
            np.array_equal(*parts) for parts in zip(*batches)
        ),
    }
