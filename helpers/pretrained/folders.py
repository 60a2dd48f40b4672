"""Folders of Hugging Face and of llama2.c, read as runs, and written.

Support code, not built in a lesson. A folder in data/runs that holds somebody
else's model is loaded as a run is, and can do all that a run can but go on.
"""

import json
from pathlib import Path

import numpy as np

from helpers.llama import read_llama2c
from helpers.pretrained.files import (
    byte_letters,
    read_json,
    read_tensors,
    read_vocabulary,
    write_tensors,
)
from helpers.pretrained.llama2c import LlamaTokenizer
from helpers.pretrained.models import (
    describe,
    params_from,
    read_config,
    tensors_of,
)
from helpers.runs.files import write_whole
from helpers.runs.guards import check_tokenizer
from helpers.runs.params import map_arrays
from helpers.tinystories import END_OF_TEXT, BPETokenizer
from helpers.training import SGD, Run, TrainSettings

TENSORS = "model.safetensors"
LLAMA2C = ("stories260K.bin", "tok512.bin")


def holds_pretrained(folder):
    """Tell whether a folder holds somebody else's model."""
    folder = Path(folder)
    return any((folder / name).exists() for name in (TENSORS, LLAMA2C[0]))


def load_pretrained(folder, dtype=np.float32):
    """Return a run to generate from, and its tokenizer.

    Raises OSError, or ValueError for files that are damaged, do not belong
    together, or are of another model.
    """
    folder = Path(folder)
    if (folder / TENSORS).exists():
        params, config, tokenizer = read_folder(folder, dtype)
    else:
        params, config = read_llama2c(folder / LLAMA2C[0])
        params = map_arrays(lambda array: array.astype(dtype), params)
        tokenizer = LlamaTokenizer.load(folder / LLAMA2C[1])
    check_tokenizer(tokenizer, config)
    optimizer = SGD({})
    optimizer.state["step"] = -1  # it cannot go on
    rng = np.random.default_rng(0)
    settings = TrainSettings(seq_len=config.max_seq_len)
    return Run(config, settings, params, optimizer, rng), tokenizer


def read_folder(folder, dtype):
    """Return params, config and tokenizer of a folder of Hugging Face."""
    about = read_json(folder / "config.json")
    config = read_config(about, folder / "config.json")
    path = folder / TENSORS
    params = params_from(read_tensors(path, dtype), config, path)
    return params, config, BPETokenizer(read_vocabulary(folder))


def export(run, tokenizer, folder):
    """Write a run as a folder that transformers loads.

    Raises ValueError for a model or a tokenizer that has no counterpart.
    """
    folder = Path(folder)
    if not isinstance(tokenizer, BPETokenizer):
        raise ValueError(
            f"a {type(tokenizer).__name__} has no counterpart in a "
            "tokenizer.json; export a run with byte-pair encoding"
        )
    about = describe(run.config, tokenizer.end_of_text)
    tensors = tensors_of(run.params, run.config)
    write_whole(folder / "config.json", json.dumps(about, indent=2) + "\n")
    words = describe_tokenizer(tokenizer.ranks)
    write_whole(folder / "tokenizer.json", json.dumps(words) + "\n")
    kind = {"tokenizer_class": "PreTrainedTokenizerFast"}
    kind |= {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
    text = json.dumps(kind, indent=2) + "\n"
    write_whole(folder / "tokenizer_config.json", text)
    write_tensors(folder / TENSORS, tensors)


def describe_tokenizer(ranks):
    """Return the tokenizer.json of byte-pair ranks {bytes: id}.

    It merges two words whenever their union is one, the lowest id first, as
    tiktoken does: so each way to cut a word in two is a merge.
    """
    letters = byte_letters()
    words = {
        token: "".join(letters[byte] for byte in token) for token in ranks
    }
    merges = []
    for token in sorted(ranks, key=ranks.get):
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        cuts = [(a, b) for a, b in cuts if a in ranks and b in ranks]
        merges += [[words[a], words[b]] for a, b in cuts]
    end = {"id": len(ranks), "content": END_OF_TEXT, "special": True}
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    bytes_only = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [end | dict.fromkeys(flags, False)],
        "normalizer": None,
        "pre_tokenizer": bytes_only,
        "post_processor": None,
        "decoder": bytes_only,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {words[t]: ranks[t] for t in sorted(ranks, key=ranks.get)}
            | {END_OF_TEXT: len(ranks)},
            "merges": merges,
        },
    }
