"""Read and write the files of lesson 05: stories, ranks, characters, tokens.

Support code, not built in a lesson. What is damaged raises ValueError, in
one sentence; what is written is whole or not there at all.
"""

import base64
import json
import re
from pathlib import Path

import numpy as np

from helpers.runs.files import whole_file, write_whole
from helpers.runs.guards import check_alphabet
from helpers.runs.memory import check_file

INVISIBLE = "\ufeff\u200b" + "".join(
    filter(str.isspace, map(chr, range(0x3001)))
)


def read_parts(path, separator):
    """Read a text file; return what stands between separators, stripped.

    Empty parts are left out, and no more than the parts is kept in memory.
    Raises ValueError for a file that is not UTF-8 or holds nothing else.
    """
    check_file(path, times=5)  # what data and train take at most
    parts, place = [], 0
    with open(path, "rb") as file:
        for raw in cut(file, separator.encode("utf-8")):
            try:
                part = trim(raw.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path} is not UTF-8 text (byte {place + error.start}); "
                    "convert it to UTF-8 first"
                ) from None
            if part:
                parts.append(part)
            place += len(raw) + len(separator)
    if not parts:
        raise ValueError(f"{path} holds no story; choose another file")
    return parts


def cut(file, separator):
    """Yield what stands between separators in a binary file, as it comes."""
    held = b""
    while chunk := file.read(2**20 + len(held)):  # long parts take long steps
        *parts, held = (held + chunk).split(separator)
        yield from parts
    yield held


def trim(text):
    """Return text without what cannot be seen at its ends.

    Lines end as Python has it, whatever system wrote the text.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.strip(INVISIBLE)


def mend(text):
    """Undo UTF-8 that was read as Windows-1252, as in `â€œHello`.

    Text of which any part cannot have come about so stays as it is, and so
    does what may be meant: a capital before a quotation mark, as in `JOSÉ’s`.
    """
    if not re.search("[\xc2-\xf4]", text):
        return text
    try:
        undefined = "\x81\x8d\x8f\x90\x9d"  # in Windows-1252
        parts = re.split(f"([{undefined}])", text)
        codecs = ["cp1252", "latin-1"]  # by turns
        raw = [p.encode(codecs[i % 2]) for i, p in enumerate(parts)]
        mended = b"".join(raw).decode("utf-8")
    except UnicodeError:
        return text
    sure = re.search("[ÂÃâð]", text) or re.search("[^\0-\x7f]{2}", mended)
    return mended if sure else text


def read_ranks(path):
    """Read a .tiktoken file into {bytes: id}; ValueError if it is none."""
    ranks = {}
    check_file(path)
    try:
        for line in Path(path).read_text(encoding="ascii").splitlines():
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
    except ValueError:
        raise ValueError(
            f"{path} is not a .tiktoken file: line {len(ranks) + 1} must be "
            "base64, a space, an id; use the file that a tokenizer saved"
        ) from None
    return ranks


def write_ranks(path, ranks):
    """Write a .tiktoken file: on each line base64, a space, the id."""
    lines = [
        f"{base64.b64encode(token).decode()} {rank}\n"
        for token, rank in ranks.items()
    ]
    write_whole(path, "".join(lines))


def gpt2_ranks():
    """Return the 50,256 ranks of GPT-2.

    tiktoken downloads them once and keeps them in a cache. Raises OSError
    without network and cache.
    """
    from tiktoken_ext.openai_public import gpt2

    try:
        return gpt2()["mergeable_ranks"]
    except OSError:
        raise OSError(
            "GPT-2's vocabulary is neither in tiktoken's cache nor can it be "
            "downloaded; connect once, or use train_bpe"
        ) from None


def read_characters(path):
    """Read a JSON list of characters; ValueError if it is something else."""
    check_file(path)
    try:
        characters = json.loads(Path(path).read_text("ascii"))
        check_alphabet(characters)
    except ValueError:
        raise ValueError(
            f"{path} is not a JSON list of characters; use the file that a "
            "tokenizer saved"
        ) from None
    return characters


def write_characters(path, characters):
    """Write a JSON list of characters."""
    write_whole(path, json.dumps(characters))


def write_tokens(path, tokens):
    """Write an array to a .npy file."""
    with whole_file(path) as file:
        np.save(file, tokens)
