"""The tokenizer of llama2.c.

Support code, not built in a lesson: appendix A4 reads the checkpoint.
"""

import itertools
import re
import struct
from pathlib import Path

from helpers.pretrained.files import damaged
from helpers.runs.guards import (
    check_pieces,
    check_text,
    check_texts,
    check_token_ids,
)
from helpers.runs.memory import check_file
from helpers.tinystories import encode_word


class LlamaTokenizer:
    """Encode text by merging the two pieces whose union scores best.

    pieces: the bytes of each id; the first three stand for no text, and id 1
    begins and ends one. scores: a number for each.
    """

    end_of_text = 1

    def __init__(self, pieces, scores):
        check_pieces(pieces, scores)
        self.pieces, self.vocab_size = pieces, len(pieces)
        self.ids = rank_pieces(pieces, scores)
        self.ranks = {pieces[i]: rank for rank, i in enumerate(self.ids)}

    def encode(self, text):
        check_text(text)
        words = re.findall(" *[^ ]*", f" {text}" if text else "")
        ranks = (encode_word(word.encode(), self.ranks) for word in words)
        return [self.ids[rank] for rank in itertools.chain(*ranks)]

    def encode_batch(self, texts):
        check_texts(texts)
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        check_token_ids(ids, self.vocab_size)
        return b"".join(self.pieces[i] for i in ids).decode(errors="replace")

    @classmethod
    def load(cls, path):
        return cls(*read_pieces(path))


def rank_pieces(pieces, scores):
    """Return ids in the order in which encoding looks for their pieces.

    Single characters first, with which it begins; then the best scores. Of
    ids with the same piece the last counts.
    """
    ids = {piece: i for i, piece in enumerate(pieces) if i > 2}

    def place(i):
        return len(pieces[i].decode(errors="replace")) > 1, -scores[i]

    return sorted(ids.values(), key=place)


def read_pieces(path):
    """Return pieces, a list of bytes, and scores from a file of llama2.c.

    The longest length (int32), then for each id a score (float32), a length
    (int32) and so many bytes. "<0x41>" stands for the byte 0x41.
    """
    check_file(path)
    content, place = Path(path).read_bytes(), 4
    pieces, scores = [], []
    try:
        while place < len(content):
            score, length = struct.unpack_from("<fi", content, place)
            piece = content[place + 8 : place + 8 + length]
            if not 0 <= length == len(piece):
                raise struct.error(f"piece {len(pieces)} is cut short")
            pieces.append(to_bytes(piece))
            scores.append(score)
            place += 8 + length
    except struct.error as error:
        raise damaged(path, "tokenizer of llama2.c", error) from None
    return pieces, scores


def to_bytes(piece):
    """Return the byte that a piece such as <0x41> stands for, or the piece."""
    found = re.fullmatch(rb"<0x([0-9A-F]{2})>", piece)
    return bytes.fromhex(found[1].decode()) if found else piece
