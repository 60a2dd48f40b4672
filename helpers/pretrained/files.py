"""Read and write the files of Hugging Face: tensors, names, vocabularies.

Support code, not built in a lesson. What is damaged raises ValueError, in one
sentence; what is written is whole or not there at all.
"""

import json
from pathlib import Path

import numpy as np

from helpers.runs.files import brief, whole_file
from helpers.runs.memory import check_file

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}  # and BF16


def damaged(path, what, cause):
    """Return an error for a file that cannot be read."""
    return ValueError(
        f"{path} is not a whole {what} ({brief(cause)}); fetch it again"
    )


# tensors


def read_tensors(path, dtype=np.float32):
    """Return {name: array} of the floats in a .safetensors file.

    Half precision of either kind becomes dtype. Raises OSError or ValueError.
    """
    from safetensors import SafetensorError, deserialize

    check_file(path)
    content = Path(path).read_bytes()
    try:
        found = deserialize(content)
    except SafetensorError as error:
        raise damaged(path, ".safetensors file", error) from None
    del content
    tensors = {}
    while found:
        name, about = found.pop()
        tensors[name] = to_array(about, dtype)
    return {name: a for name, a in tensors.items() if a is not None}


def to_array(about, dtype):
    """Return one tensor as an array; None if it holds no floats."""
    if about["dtype"] == "BF16":  # the upper half of a float32
        halves = np.frombuffer(about["data"], "<u2").astype("<u4")
        array = (halves << 16).view("<f4")
    elif about["dtype"] in KINDS:
        array = np.frombuffer(about["data"], KINDS[about["dtype"]])
    else:
        return None
    return array.reshape(about["shape"]).astype(dtype)


def write_tensors(path, tensors):
    """Write {name: array} to a .safetensors file, whole or not at all."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(a) for name, a in tensors.items()}
    with whole_file(path) as file:
        file.write(save(tensors, metadata={"format": "pt"}))


def read_json(path):
    """Return what a JSON file says; ValueError unless that is a dict."""
    check_file(path)
    try:
        found = json.loads(Path(path).read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds {type(found).__name__}, not names")
    except ValueError as error:
        raise damaged(path, "JSON file", error) from None
    return found


# byte-level BPE, as Hugging Face writes it


def byte_letters():
    """Return {byte: the letter that stands for it in their files}.

    A byte that can be printed is its own letter of Latin-1; the others, in
    order, are those from 256 on. Source: Radford et al. 2019, encoder.py.
    """
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in kept]
    letters = {byte: chr(byte) for byte in kept}
    return letters | {byte: chr(256 + i) for i, byte in enumerate(rest)}


def read_vocabulary(folder):
    """Return ranks {bytes: id} from tokenizer.json or vocab.json.

    <|endoftext|>, the last id, is left out. Raises ValueError for another
    kind of tokenizer.
    """
    path = Path(folder) / "tokenizer.json"
    if path.exists():
        model = read_json(path).get("model")
        model = model if isinstance(model, dict) else {}
        vocabulary, kind = model.get("vocab"), model.get("type")
    else:
        path = Path(folder) / "vocab.json"
        vocabulary, kind = read_json(path), "BPE"
    bytes_of = {letter: byte for byte, letter in byte_letters().items()}
    try:
        if kind != "BPE":
            raise ValueError(f"its kind is {kind}")
        return {
            bytes(bytes_of[letter] for letter in word): rank
            for word, rank in vocabulary.items()
            if word != "<|endoftext|>"
        }
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is no byte-level BPE ({brief(error)}), the only kind "
            "that is read here; take GPT-2's, or one that export wrote"
        ) from None
