"""Stories become tokens without loss, and merges are those of others.

train_bpe finds the merges that rustbpe finds, and those of a plain program
that counts everything again after each merge; the fast encoder equals the
slow one of the lesson; any text comes back from its ids; splits share no
story; token arrays and batches are what they should be, position by position.
"""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
import regex
import rustbpe
from hypothesis import given
from hypothesis import strategies as st
from tiktoken.load import load_tiktoken_bpe
from tiktoken_ext import openai_public

from helpers import tinystories
from helpers.stories.grammar import tell_stories
from helpers.tinystories import (
    END_OF_TEXT,
    PATTERN,
    BPETokenizer,
    CharTokenizer,
    bpe_tokenizer,
    char_tokenizer,
    encode_word,
    gpt2_tokenizer,
    load_stories,
    open_stories,
    sample_batch,
    split_stories,
    tokenize_stories,
    train_bpe,
)

STORIES = tell_stories(120)
NASTY = (
    "aaaa aaaaa aaa aa a aaaaaaa bbb ababab bababa\n\n\n\n   \t\t\t  x "
    "🐈🐈🐈 🐈\u200d⬛ 日本語日本語 日本 中文中文 1111 112 11 2 3.14159 \r\n"
    "'s we'll don't café cafe\u0301 !!!! ?!?! ... «»\u00a0\u2003 \0\0 \n\t\n"
)
TEXTS = {"stories": "\n".join(STORIES), "nasty": 3 * NASTY}
RANKS = train_bpe(TEXTS["stories"], 500)
BPE = bpe_tokenizer(RANKS)
any_text = st.text() | st.text("ab \n\t'é🐈1!", max_size=40)
# Unicode's newest letters are symbols to a program a version older
settled_text = st.text(
    st.characters(exclude_categories=["Cn", "Cs"], max_codepoint=0xFFFF)
)


# --- training ---


def rust_merges(pieces, size):
    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(pieces, size, pattern=PATTERN)
    return {bytes(t): i for t, i in tokenizer.get_mergeable_ranks()}


def join(word, pair):
    """Join each occurrence of a pair of byte strings, left to right."""
    joined = []
    for part in word:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def naive_merges(text, size):
    """Count all pairs again for every merge."""
    ranks = {bytes([i]): i for i in range(256)}
    words = Counter(
        tuple(bytes([b]) for b in word.encode())
        for word in regex.findall(PATTERN, text)
    )
    while len(ranks) < size:
        pairs = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], ranks[p[0]], ranks[p[1]]))
        ranks[best[0] + best[1]] = len(ranks)
        joined = Counter()
        for word, count in words.items():
            joined[join(word, best)] += count
        words = joined
    return ranks


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("size", [256, 257, 270, 400, 1000])
def test_merges_equal_rustbpe(name, size):
    text = TEXTS[name]
    assert train_bpe(text, size + 1) == rust_merges([text], size)
    assert train_bpe(text, size, ()) == rust_merges([text], size)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("size", [256, 300, 420])
def test_merges_equal_counting_everything_again(name, size):
    text = TEXTS[name][:20_000]
    assert train_bpe(text, size, ()) == naive_merges(text, size)


@given(st.text("ab é", max_size=80), st.integers(256, 290))
def test_merges_of_repeated_letters(text, size):
    got = train_bpe(text, size, ())
    assert got == naive_merges(text, size)
    assert list(got.values()) == list(range(len(got)))


def test_a_merge_changes_the_counts_beside_it(monkeypatch):
    """However long the words are: at most two are gone and two are new."""
    letters = np.random.default_rng(0).integers(97, 123, (20, 500))
    text = " ".join(bytes(row.tolist()).decode() for row in letters)
    merge_everywhere, changed = tinystories.merge_everywhere, []

    def count(*args):
        changed.extend(new := merge_everywhere(*args))
        return new

    monkeypatch.setattr(tinystories, "merge_everywhere", count)
    ids = bpe_tokenizer(train_bpe(text, 1000)).encode(text)
    assert 0 < len(changed) < 4 * (len(text) - len(ids))


def test_merges_do_not_cross_special_tokens():
    story = "so so <|sep|>so so"
    text = END_OF_TEXT.join([story] * 5)
    special = (END_OF_TEXT, "<|sep|>")
    pieces = regex.split(r"<\|endoftext\|>|<\|sep\|>", text)
    assert train_bpe(text, 300, special) == rust_merges(pieces, 298)


def test_short_text_gives_what_it_can():
    assert list(train_bpe("abc abc", 300))[256:] == [b"ab", b"abc", b" abc"]
    assert len(train_bpe("", 300)) == 256


@given(settled_text)
def test_pattern_cuts_as_gpt2(text):
    cut = regex.findall(PATTERN, text)
    assert cut == regex.findall(openai_public.r50k_pat_str, text)
    assert "".join(cut) == text


# --- tokenizers ---


@given(settled_text | st.text("ab \n\t'é🐈1!", max_size=40))
def test_fast_encoder_equals_encode_word(text):
    words = regex.findall(PATTERN, text)
    expected = [i for w in words for i in encode_word(w.encode(), RANKS)]
    assert BPE.encode(text) == expected


@pytest.mark.parametrize("text", [*TEXTS.values(), ""])
def test_encoders_agree_on_long_text(text):
    words = regex.findall(PATTERN, text)
    expected = [i for w in words for i in encode_word(w.encode(), RANKS)]
    assert BPE.encode(text) == expected
    assert BPE.encode_batch([text, "", text]) == [expected, [], expected]


@given(any_text)
def test_any_text_comes_back(text):
    assert BPE.decode(BPE.encode(text)) == text
    char = char_tokenizer(text)
    assert char.decode(char.encode(text)) == text


@pytest.mark.parametrize("make", [lambda text: BPE, char_tokenizer])
def test_special_text_is_plain_text(make):
    text = f"One. {END_OF_TEXT} Two.{END_OF_TEXT}"
    tokenizer = make(text)
    ids = tokenizer.encode(text)
    assert tokenizer.end_of_text not in ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([tokenizer.end_of_text]) == END_OF_TEXT
    assert tokenizer.end_of_text == tokenizer.vocab_size - 1


def test_decode_takes_arrays_and_broken_characters():
    ids = BPE.encode("🐈")
    assert BPE.decode(np.array(ids, dtype=np.uint16)) == "🐈"
    assert "\ufffd" in BPE.decode(ids[:1])


def test_bpe_save_and_load(tmp_path):
    path = tmp_path / "ranks.tiktoken"
    BPE.save(path)
    loaded = BPETokenizer.load(path)
    assert loaded.ranks == RANKS and loaded.vocab_size == 500
    assert loaded.encode(NASTY) == BPE.encode(NASTY)


def test_saved_ranks_are_read_by_tiktoken(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    BPE.save(tmp_path / "ranks.tiktoken")
    assert load_tiktoken_bpe(str(tmp_path / "ranks.tiktoken")) == RANKS


def test_char_tokenizer(tmp_path):
    tokenizer = char_tokenizer("banana 🐈")
    assert tokenizer.encode("nab") == [3, 1, 2]
    assert tokenizer.encode_batch(["a", "", "b"]) == [[1], [], [2]]
    assert tokenizer.vocab_size == 6
    tokenizer.save(tmp_path / "characters.json")
    loaded = CharTokenizer.load(tmp_path / "characters.json")
    assert loaded.pieces == tokenizer.pieces == [*" abn🐈", END_OF_TEXT]
    assert loaded.encode("🐈") == [4]


def test_gpt2_tokenizer_uses_tiktokens_ranks(monkeypatch):
    gpt2 = {"mergeable_ranks": RANKS}
    monkeypatch.setattr(openai_public, "gpt2", lambda: gpt2)
    assert gpt2_tokenizer().encode(NASTY) == BPE.encode(NASTY)


# --- stories ---


@pytest.mark.parametrize(
    "text",
    [
        "One.\n<|endoftext|>\nTwo.\nMore.\n<|endoftext|>\n",
        "One.\r\n<|endoftext|>\r\nTwo.\r\nMore.",
        "\ufeff<|endoftext|><|endoftext|>One.<|endoftext|> \nTwo.\nMore.",
    ],
)
def test_load_stories_from_a_file(text, tmp_path):
    path = tmp_path / "stories.txt"
    path.write_bytes(text.encode())
    assert load_stories(path) == ["One.", "Two.\nMore."]
    assert load_stories(str(path)) == ["One.", "Two.\nMore."]


def test_load_stories_from_the_grammar():
    stories = load_stories("grammar")
    assert len(stories) == 6000
    assert stories == load_stories("grammar")
    assert all(story == story.strip() != "" for story in stories)


def test_open_stories_takes_what_is_there(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBOOK_DATA", raising=False)
    train, valid, source = open_stories(tmp_path)
    assert (train, valid) == split_stories(load_stories("grammar"))
    assert "grammar" in source
    (tmp_path / "tinystories").mkdir()
    for name in ("train", "valid"):
        path = tmp_path / "tinystories" / f"{name}.txt"
        path.write_text(f"A {name} story.")
    train, valid, source = open_stories(tmp_path)
    assert (train, valid) == (["A train story."], ["A valid story."])
    assert "grammar" not in source
    monkeypatch.setenv("WORKBOOK_DATA", "grammar")
    assert len(open_stories(tmp_path)[0]) > 4000


def test_split_is_disjoint_deduplicated_and_deterministic():
    doubled = STORIES + STORIES[:50]
    train, valid = split_stories(doubled, valid_fraction=0.25, seed=3)
    unique = set(STORIES)
    assert len(valid) == round(0.25 * len(unique))
    assert len(train) + len(valid) == len(unique)
    assert set(train) | set(valid) == unique
    assert split_stories(doubled, 0.25, seed=3) == (train, valid)
    assert split_stories(doubled, 0.25, seed=4) != (train, valid)
    assert train[:20] != [s for s in STORIES if s in train][:20]  # shuffled


@pytest.mark.parametrize("make", [lambda text: BPE, char_tokenizer])
def test_end_of_text_stands_around_each_story(make):
    stories = ["One.", "Two, three.", "Four\nfive."]
    tokenizer = make("".join(stories))
    tokens = tokenize_stories(stories, tokenizer)
    assert tokens.dtype == np.uint16
    text = tokenizer.decode(tokens)
    assert text == END_OF_TEXT + END_OF_TEXT.join(stories) + END_OF_TEXT
    ends = np.flatnonzero(tokens == tokenizer.end_of_text)
    assert len(ends) == 4 and ends[0] == 0 and ends[-1] == len(tokens) - 1


@pytest.mark.parametrize("stories", [STORIES, ["", "a", ""], [""], []])
@pytest.mark.parametrize("name", ["tokens.npy", "tokens", "new/tokens.npy"])
def test_memory_mapped_equals_in_memory(stories, name, tmp_path):
    path = tmp_path / name
    mapped = tokenize_stories(stories, BPE, path)
    in_memory = tokenize_stories(stories, BPE)
    assert isinstance(mapped, np.memmap) and path.exists()
    assert mapped.dtype == in_memory.dtype == np.uint16
    np.testing.assert_array_equal(mapped, in_memory)
    assert len(in_memory) == len(stories) + 1 + sum(
        len(BPE.encode(story)) for story in stories
    )


def test_no_more_than_a_story_is_held_as_a_list():
    """In a list an id takes up to 36 bytes, in the array 2."""
    stories = STORIES * 30
    tracemalloc.start()
    tokenize_stories(stories, BPE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * sum(map(len, stories))


def test_largest_id_fits_uint16():
    class Largest:
        vocab_size, end_of_text = 2**16, 2**16 - 1

        def encode(self, text):
            return [0, 65_534]

    tokens = tokenize_stories(["story"], Largest())
    assert tokens.tolist() == [65_535, 0, 65_534, 65_535]


@pytest.mark.parametrize("mapped", [True, False])
def test_targets_are_ids_shifted_by_one(mapped, tmp_path):
    path = tmp_path / "tokens.npy" if mapped else None
    tokens = tokenize_stories(STORIES, BPE, path)
    rng = np.random.default_rng(0)
    ids, targets = sample_batch(tokens, B=4, T=7, rng=rng)
    assert ids.shape == targets.shape == (4, 7)
    assert ids.dtype == targets.dtype == np.int64
    np.testing.assert_array_equal(ids[:, 1:], targets[:, :-1])
    windows = np.lib.stride_tricks.sliding_window_view(tokens, 8)
    for row, target in zip(ids, targets):
        assert ([*row, target[-1]] == windows).all(axis=1).any()
    again = sample_batch(tokens, 4, 7, np.random.default_rng(0))
    np.testing.assert_array_equal(ids, again[0])


@pytest.mark.parametrize("n", [6, 7, 12])
def test_every_window_is_drawn_sooner_or_later(n):
    tokens = np.arange(n, dtype=np.uint16)
    ids, targets = sample_batch(tokens, 300, 5, np.random.default_rng(0))
    assert set(ids[:, 0]) == set(range(n - 5))
    assert targets.max() == n - 1
