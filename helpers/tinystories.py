"""From stories to batches: byte-pair encoding, tokenizers, token arrays.

Built in notebooks/05_tinystories.ipynb.
"""

import heapq
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import regex
import tiktoken

from helpers import DATA
from helpers.runs.doors import checked
from helpers.stories import files
from helpers.stories.grammar import tell_stories

__all__ = [
    "END_OF_TEXT",
    "PATTERN",
    "count_words",
    "count_pairs",
    "merge",
    "merge_everywhere",
    "most_frequent",
    "train_bpe",
    "encode_word",
    "make_encoding",
    "BPETokenizer",
    "bpe_tokenizer",
    "gpt2_tokenizer",
    "CharTokenizer",
    "char_tokenizer",
    "load_stories",
    "split_stories",
    "open_stories",
    "tokenize_stories",
    "story_starts",
    "sample_batch",
]

END_OF_TEXT = "<|endoftext|>"

# contractions, words, numbers and punctuation, each with its leading space;
# runs of space last. Source: Radford et al. 2019 (GPT-2), section 2.2.
PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    r"|\s+(?!\S)|\s+"
)


def count_words(text, special_tokens=(END_OF_TEXT,)):
    """Cut text into pre-tokens and count each as a tuple of bytes.

    Special tokens separate pieces and are not counted.
    """
    pieces = [text]
    if special_tokens:
        pieces = regex.split("|".join(map(regex.escape, special_tokens)), text)
    words = Counter()
    for piece in pieces:
        words.update(regex.findall(PATTERN, piece))
    return {tuple(w.encode("utf-8")): count for w, count in words.items()}


def count_pairs(words, counts):
    """Count adjacent pairs, and note which words hold each.

    words: lists of ids; counts: how often each occurs
    -> {pair: count}, {pair: set of word indices}.
    """
    pairs = Counter()
    where = defaultdict(set)
    for index, (word, count) in enumerate(zip(words, counts)):
        for pair in zip(word, word[1:]):
            pairs[pair] += count
            where[pair].add(index)
    return pairs, where


def merge(word, pair, new_id):
    """Replace each occurrence of pair in a list of ids, left to right."""
    merged = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged


def merge_everywhere(pair, new_id, words, counts, pairs, where):
    """Merge pair in the words that hold it; return pairs with a new count.

    Updates words, pairs and where in place; no other word is looked at.
    """
    changed = set()
    for index in where.pop(pair):
        old, count = words[index], counts[index]
        new = merge(old, pair, new_id)
        words[index] = new
        before = Counter(zip(old, old[1:])).items()
        after = Counter(zip(new, new[1:])).items()
        for gone, times in before - after:
            pairs[gone] -= times * count
            changed.add(gone)
        for made, times in after - before:
            pairs[made] += times * count
            where[made].add(index)
            changed.add(made)
    return [other for other in changed if pairs[other] > 0]


def most_frequent(heap, pairs):
    """Pop the pair that occurs most, the smallest ids first among equals.

    Entries whose count is out of date are dropped. None if nothing is left.
    """
    while heap:
        negative_count, pair = heapq.heappop(heap)
        if -negative_count == pairs[pair] > 0:
            return pair
    return None


@checked
def train_bpe(text, vocab_size, special_tokens=(END_OF_TEXT,)):
    """Learn byte-pair merges from text; return ranks {bytes: id}.

    Ids 0..255 are the bytes, then come the merges in the order made.
    vocab_size counts the special tokens too, which follow. A short text may
    give fewer merges. Raises ValueError if vocab_size is too small.
    Source: Sennrich, Haddow and Birch 2016, section 3.2.
    """
    counted = count_words(text, special_tokens)
    words = [list(word) for word in counted]
    counts = list(counted.values())
    pairs, where = count_pairs(words, counts)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    tokens = [bytes([i]) for i in range(256)]
    for new_id in range(256, vocab_size - len(special_tokens)):
        pair = most_frequent(heap, pairs)
        if pair is None:
            break
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        changed = merge_everywhere(pair, new_id, words, counts, pairs, where)
        for other in changed:
            heapq.heappush(heap, (-pairs[other], other))
    return {token: i for i, token in enumerate(tokens)}


def encode_word(word, ranks):
    """Encode one pre-token (bytes) by merging the lowest rank first."""
    parts = [bytes([b]) for b in word]
    while len(parts) > 1:
        joined = [a + b for a, b in zip(parts, parts[1:])]
        best = min(joined, key=lambda part: ranks.get(part, len(ranks)))
        if best not in ranks:
            break
        i = joined.index(best)
        parts[i : i + 2] = [best]
    return [ranks[part] for part in parts]


@checked
def make_encoding(ranks):
    """Return a tiktoken.Encoding with <|endoftext|> as the last id."""
    return tiktoken.Encoding(
        "bpe",
        pat_str=PATTERN,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: len(ranks)},
    )


@checked
class BPETokenizer:
    """Encode text with byte-pair ranks {bytes: id}, run by tiktoken."""

    def __init__(self, ranks):
        self.ranks = ranks
        self.encoding = make_encoding(ranks)
        self.vocab_size = self.encoding.n_vocab
        self.end_of_text = self.encoding.eot_token

    def encode(self, text):
        return self.encoding.encode_ordinary(text)

    def encode_batch(self, texts):
        return self.encoding.encode_ordinary_batch(texts)

    def decode(self, ids):
        return self.encoding.decode(list(ids))

    def save(self, path):
        files.write_ranks(path, self.ranks)

    @classmethod
    def load(cls, path):
        return cls(files.read_ranks(path))


def bpe_tokenizer(ranks):
    """Return a tokenizer for the ranks that train_bpe found.

    Special tokens in text are plain text; bad bytes decode to U+FFFD.
    """
    return BPETokenizer(ranks)


def gpt2_tokenizer():
    """Return GPT-2's tokenizer of 50,257 tokens.

    tiktoken downloads its vocabulary once and keeps it in a cache. Raises
    OSError without network and cache.
    """
    return BPETokenizer(files.gpt2_ranks())


@checked
class CharTokenizer:
    """Encode text one character at a time; unknown ones are ValueErrors."""

    def __init__(self, characters):
        self.pieces = [*sorted(set(characters)), END_OF_TEXT]
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}
        self.end_of_text = self.ids[END_OF_TEXT]
        self.vocab_size = len(self.pieces)

    def encode(self, text):
        return [self.ids[character] for character in text]

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        return "".join(self.pieces[i] for i in ids)

    def save(self, path):
        files.write_characters(path, self.pieces[:-1])

    @classmethod
    def load(cls, path):
        return cls(files.read_characters(path))


def char_tokenizer(text):
    """Return a tokenizer of the characters that occur in text."""
    return CharTokenizer(text)


def load_stories(source):
    """Return a list of stories.

    source: a text file with a line <|endoftext|> after each story, or the
    word "grammar" for 6,000 stories of the embedded grammar. Letters that
    were garbled on the way, as in `cafÃ©`, are mended. Raises OSError or
    ValueError if the file is missing, empty or not UTF-8.
    """
    if source == "grammar":
        return tell_stories(6000)
    stories = files.read_parts(source, END_OF_TEXT)
    return [files.mend(story) for story in stories]


@checked
def split_stories(stories, valid_fraction=0.1, seed=0):
    """Drop repeated stories, shuffle, and split into train and valid.

    Raises ValueError if either part would be empty.
    """
    unique = list(dict.fromkeys(stories))
    order = np.random.default_rng(seed).permutation(len(unique))
    shuffled = [unique[i] for i in order]
    n_valid = round(len(unique) * valid_fraction)
    return shuffled[n_valid:], shuffled[:n_valid]


def open_stories(folder=DATA):
    """Return train stories, valid stories, and the name of their source.

    Those that `make data` wrote, if there are any, else the grammar's. The
    environment variable WORKBOOK_DATA=grammar asks for the grammar.
    """
    folder = Path(folder) / "tinystories"
    asked = os.environ.get("WORKBOOK_DATA")
    if asked == "grammar" or not (folder / "train.txt").exists():
        train, valid = split_stories(load_stories("grammar"))
        return train, valid, "embedded grammar"
    train = load_stories(folder / "train.txt")
    valid = load_stories(folder / "valid.txt")
    return train, valid, "TinyStories"


@checked
def tokenize_stories(stories, tokenizer, path=None):
    """Join stories into one uint16 array, <|endoftext|> around each.

    With a path the array is written there (.npy) and comes back
    memory-mapped. Raises ValueError for a vocabulary above 65,536.
    """
    end = np.array([tokenizer.end_of_text], np.uint16)
    pieces = [end]
    for story in stories:
        pieces += [np.array(tokenizer.encode(story), np.uint16), end]
    tokens = np.concatenate(pieces)
    if path is None:
        return tokens
    files.write_tokens(path, tokens)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def story_starts(tokens, T):
    """Return the places where a story begins that T + 1 tokens follow.

    tokens (N,) as tokenize_stories makes them, <|endoftext|> first.
    """
    return np.flatnonzero(tokens[: max(len(tokens) - T, 0)] == tokens[0])


@checked
def sample_batch(tokens, B, T, rng, starts=None):
    """Cut B random windows: ids and, one place further on, the targets.

    tokens (N,) -> ids (B, T), targets (B, T), int64. starts are the places
    where a window may begin; None means anywhere.
    Raises ValueError if no window of T + 1 tokens fits.
    """
    if starts is None:
        places = rng.integers(0, len(tokens) - T, size=B)
    else:
        places = rng.choice(starts, size=B)
    windows = np.stack([tokens[s : s + T + 1] for s in places])
    windows = windows.astype(np.int64)  # (B, T + 1)
    return windows[:, :-1], windows[:, 1:].copy()  # share no memory
