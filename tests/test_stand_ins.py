"""Check what stands in where Python runs in a browser; see test_site.py."""

import json
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
import regex
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from helpers import DATA, SHIPPED
from helpers.runs import browser
from helpers.runs.guards import LONG_WORD
from helpers.stories.files import read_ranks
from helpers.tinystories import END_OF_TEXT, PATTERN

ROOT = Path(__file__).resolve().parents[1]
# A character that only one of the two lists of Unicode has tells nothing.
KNOWN = st.characters(max_codepoint=0x2FFF, exclude_categories=["Cn", "Cs"])
TEXTS = st.text(KNOWN) | st.text("a1 '\t\n.é中½²\x1c\u3000Ⅷ🙂s")


@given(TEXTS)
@pytest.mark.parametrize("pattern", [PATTERN, LONG_WORD.pattern])
def test_re_finds_what_regex_finds(pattern, text):
    wanted = regex.findall(pattern, text)
    assert browser.search("findall", pattern, text) == wanted


def test_no_letter_is_left_out():
    beyond = map(chr, range(browser.LAST, 0x110000))
    assert not {unicodedata.category(c)[0] for c in beyond} & {"L", "N"}


@pytest.fixture(scope="module")
def encodings():
    """Return tiktoken's encoding of the shipped run, and ours."""
    ranks = read_ranks(DATA / "runs" / SHIPPED / "tokenizer.tiktoken")
    made = {"pat_str": PATTERN, "mergeable_ranks": ranks}
    made["special_tokens"] = {END_OF_TEXT: len(ranks)}
    return tiktoken.Encoding("bpe", **made), browser.Encoding("bpe", **made)


@given(st.text() | TEXTS)
def test_encoding(encodings, text):
    theirs, ours = encodings
    text = "".join(c for c in text if unicodedata.category(c) != "Cs")
    ids = theirs.encode_ordinary(text)
    assert ours.decode(ids) == text
    if all(unicodedata.category(c) != "Cn" for c in text):
        assert ours.encode_ordinary(text) == ids


def test_encoding_of_odd_ids(encodings):
    theirs, ours = encodings
    assert ours.n_vocab == theirs.n_vocab
    assert ours.eot_token == theirs.eot_token
    for i in (0, 200, theirs.n_vocab - 1):
        assert ours.decode([i]) == theirs.decode([i])
    texts = ["a cat", "", "the  dog\n"]
    batch = theirs.encode_ordinary_batch(texts)
    assert ours.encode_ordinary_batch(texts) == batch


@pytest.mark.parametrize("kind", [browser.OneByOne, ThreadPoolExecutor])
def test_one_by_one_does_as_threads_do(kind):
    with kind(2) as pool:
        assert list(pool.map(pow, [2, 3], [3, 2])) == [8, 9]
        failed = pool.submit(int, "x")
        with pytest.raises(ValueError, match="invalid literal"):
            failed.result()


@pytest.mark.parametrize("number", browser.FEWER_STEPS)
def test_a_lesson_has_what_is_shortened(number):
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(c.source for c in cells if c.cell_type == "code")
    for many, few in browser.FEWER_STEPS[number].items():
        assert many in code, (many, few)


def test_the_site_has_one_pinned_stack():
    web = ROOT / "web"
    pinned = json.loads((web / "package.json").read_text("utf-8"))
    locked = json.loads((web / "package-lock.json").read_text("utf-8"))
    packages = locked["packages"]
    for name, version in pinned["dependencies"].items():
        assert packages[f"node_modules/{name}"]["version"] == version
    assert all("integrity" in p for name, p in packages.items() if name)
    settings = json.loads((web / "jupyter-lite.json").read_text("utf-8"))
    assert "https:" not in json.dumps(settings)  # nothing from elsewhere
