"""From stories to batches: byte-pair encoding, tokenizers, token arrays.

Built in notebooks/05_tinystories.ipynb.
"""

import heapq
import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import regex
import tiktoken

from helpers import DATA
from helpers.runs.files import whole_file, write_whole
from helpers.runs.guards import (
    check_alphabet,
    check_characters,
    check_ranks,
    check_split,
    check_text,
    check_texts,
    check_token_ids,
    check_vocab_size,
    check_windows,
    mend,
    read_characters,
    read_ranks,
    read_text,
    write_ranks,
)
from helpers.stories.grammar import tell_stories

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
    pairs, where = Counter(), defaultdict(set)
    for index, (word, count) in enumerate(zip(words, counts)):
        for pair in zip(word, word[1:]):
            pairs[pair] += count
            where[pair].add(index)
    return pairs, where


def merge(word, pair, new_id):
    """Replace each occurrence of pair in a list of ids, left to right."""
    merged, i = [], 0
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
        new = words[index] = merge(old, pair, new_id)
        for gone in zip(old, old[1:]):
            pairs[gone] -= count
        for made in zip(new, new[1:]):
            pairs[made] += count
            where[made].add(index)
            changed.add(made)
        changed.update(zip(old, old[1:]))
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


def train_bpe(text, vocab_size, special_tokens=(END_OF_TEXT,)):
    """Learn byte-pair merges from text; return ranks {bytes: id}.

    Ids 0..255 are the bytes, then come the merges in the order made.
    vocab_size counts the special tokens too, which follow. A short text may
    give fewer merges. Raises ValueError if vocab_size is too small.
    Source: Sennrich, Haddow and Birch 2016, section 3.2.
    """
    size = check_vocab_size(vocab_size, special_tokens)
    counted = count_words(check_text(text), special_tokens)
    words, counts = [list(w) for w in counted], list(counted.values())
    pairs, where = count_pairs(words, counts)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    tokens = [bytes([i]) for i in range(256)]
    while len(tokens) < size and (pair := most_frequent(heap, pairs)):
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        for changed in merge_everywhere(
            pair, len(tokens) - 1, words, counts, pairs, where
        ):
            heapq.heappush(heap, (-pairs[changed], changed))
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


class BPETokenizer:
    """Encode text with byte-pair ranks {bytes: id}, run by tiktoken.

    Special tokens in text are plain text; bad bytes decode to U+FFFD."""

    def __init__(self, ranks):
        self.ranks, self.encoding = ranks, make_encoding(ranks)
        self.vocab_size = self.encoding.n_vocab
        self.end_of_text = self.encoding.eot_token

    def encode(self, text):
        return self.encoding.encode_ordinary(check_text(text))

    def encode_batch(self, texts):
        return self.encoding.encode_ordinary_batch(check_texts(texts))

    def decode(self, ids):
        return self.encoding.decode(check_token_ids(ids, self.vocab_size))

    def save(self, path):
        write_ranks(self.ranks, path)

    @classmethod
    def load(cls, path):
        return cls(read_ranks(path))


def make_encoding(ranks):
    """Return a tiktoken.Encoding with <|endoftext|> as the last id."""
    check_ranks(ranks)
    return tiktoken.Encoding(
        "bpe",
        pat_str=PATTERN,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: len(ranks)},
    )


def bpe_tokenizer(ranks):
    """Return a tokenizer for the ranks that train_bpe found."""
    return BPETokenizer(ranks)


def gpt2_tokenizer():
    """Return GPT-2's tokenizer of 50,257 tokens.

    tiktoken downloads its vocabulary once and keeps it in a cache. Raises
    OSError without network and cache.
    """
    from tiktoken_ext.openai_public import gpt2

    try:
        return BPETokenizer(gpt2()["mergeable_ranks"])
    except OSError:
        raise OSError(
            "GPT-2's vocabulary is neither in tiktoken's cache nor can it be "
            "downloaded; connect once, or use train_bpe"
        ) from None


class CharTokenizer:
    """Encode text one character at a time; unknown ones are ValueErrors."""

    def __init__(self, characters):
        self.characters = check_alphabet(characters)
        self.ids = {c: i for i, c in enumerate(self.characters)}
        self.end_of_text, self.vocab_size = len(self.ids), len(self.ids) + 1

    def encode(self, text):
        check_characters(text, self.ids)
        return [self.ids[c] for c in text]

    def encode_batch(self, texts):
        return [self.encode(text) for text in check_texts(texts)]

    def decode(self, ids):
        pieces = [*self.characters, END_OF_TEXT]
        return "".join(pieces[i] for i in check_token_ids(ids, len(pieces)))

    def save(self, path):
        write_whole(path, json.dumps(self.characters))

    @classmethod
    def load(cls, path):
        return cls(read_characters(path))


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
    parts = read_text(source).split(END_OF_TEXT)
    stories = [mend(story) for part in parts if (story := part.strip())]
    if not stories:
        raise ValueError(f"{source} holds no story; choose another file")
    return stories


def split_stories(stories, valid_fraction=0.1, seed=0):
    """Drop repeated stories, shuffle, and split into train and valid.

    Raises ValueError if either part would be empty.
    """
    check_split(stories, valid_fraction, seed)
    unique = list(dict.fromkeys(stories))
    n_valid = round(len(unique) * valid_fraction)
    if not 0 < n_valid < len(unique):
        raise ValueError(
            f"{len(unique)} different stories cannot be split with "
            f"valid_fraction = {valid_fraction}; both parts need one"
        )
    order = np.random.default_rng(seed).permutation(len(unique))
    shuffled = [unique[i] for i in order]
    return shuffled[n_valid:], shuffled[:n_valid]


def open_stories(folder=DATA):
    """Return train stories, valid stories, and the name of their source.

    Those that `make data` wrote, if there are any, else the grammar's. The
    environment variable WORKBOOK_DATA=grammar asks for the grammar.
    """
    folder = Path(folder) / "tinystories"
    asked = os.environ.get("WORKBOOK_DATA")
    if asked == "grammar" or not (folder / "train.txt").exists():
        return *split_stories(load_stories("grammar")), "embedded grammar"
    paths = folder / "train.txt", folder / "valid.txt"
    return *map(load_stories, paths), "TinyStories"


def tokenize_stories(stories, tokenizer, path=None):
    """Join stories into one uint16 array, <|endoftext|> around each.

    With a path the array is written there (.npy) and comes back
    memory-mapped. Raises ValueError for a vocabulary above 65,536.
    """
    if tokenizer.vocab_size > 2**16:
        raise ValueError(
            f"a vocabulary of {tokenizer.vocab_size} does not fit uint16; "
            "use one of at most 65,536"
        )
    end = [tokenizer.end_of_text]
    pieces = [end]
    for ids in tokenizer.encode_batch(stories):
        pieces += [ids, end]
    tokens = np.concatenate(pieces).astype(np.uint16)
    if path is None:
        return tokens
    with whole_file(path) as file:
        np.save(file, tokens)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def story_starts(tokens, T):
    """Return the places where a story begins that T + 1 tokens follow.

    tokens (N,) as tokenize_stories makes them, <|endoftext|> first.
    """
    return np.flatnonzero(tokens[: max(len(tokens) - T, 0)] == tokens[0])


def sample_batch(tokens, B, T, rng, starts=None):
    """Cut B random windows: ids and, one place further on, the targets.

    tokens (N,) -> ids (B, T), targets (B, T), int64. starts are the places
    where a window may begin; None means anywhere.
    Raises ValueError if no window of T + 1 tokens fits.
    """
    check_windows(tokens, B, T, starts)
    if starts is None:
        places = rng.integers(0, len(tokens) - T, size=B)
    else:
        places = rng.choice(starts, size=B)
    windows = np.stack([tokens[s : s + T + 1] for s in places])
    windows = windows.astype(np.int64)  # (B, T + 1)
    return windows[:, :-1], windows[:, 1:].copy()  # share no memory
