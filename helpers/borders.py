"""Say no in one sentence: settings, ids and files are checked here.

Support code, not built in a lesson. Each function returns, or raises a
ValueError that says what came, what was expected, and what to do.
"""

import base64
import json
from pathlib import Path

import numpy as np

from helpers.safety import write_whole


def check_config(config):
    """Raise ValueError, in one sentence, for the first impossible setting."""
    fields = list(config.__dataclass_fields__)
    choices = {
        "norm": ("pre", "post"),
        "activation": ("gelu", "relu"),
        "positions": ("learned", "sinusoidal"),
    }
    for name in fields[:6]:  # the sizes
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, not {value!r}")
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            value = getattr(config, name)
            raise ValueError(f"{name} must be one of {allowed}, not {value!r}")
    if config.d_model % config.n_heads:
        raise ValueError(
            f"{config.n_heads} heads do not divide d_model = "
            f"{config.d_model}; choose a number of heads that does"
        )
    if not 0.0 <= config.dropout < 1.0:
        raise ValueError(f"dropout must be in [0, 1), not {config.dropout}")


def check_ids(ids, config):
    """Raise ValueError unless ids is a (B, T) batch that fits the model."""
    if ids.ndim != 2 or ids.size == 0:
        raise ValueError(
            f"ids must be a non-empty (B, T) batch, not shape {ids.shape}; "
            "wrap a single sequence as ids[None]"
        )
    if ids.shape[1] > config.max_seq_len:
        raise ValueError(
            f"a sequence of {ids.shape[1]} tokens is longer than max_seq_len"
            f" = {config.max_seq_len}; cut it or build a model with more"
        )


def check_targets(targets, V):
    """Raise ValueError unless there are targets and all lie in 0..V-1."""
    if targets.size == 0:
        raise ValueError("no target to score: all are ignore_index")
    if targets.min() < 0 or targets.max() >= V:
        raise ValueError(
            f"targets must lie in 0..{V - 1} or be ignore_index; "
            f"found {targets.min()}..{targets.max()}"
        )


def check_vocab_size(vocab_size, special_tokens):
    """Return how many tokens are left for bytes and merges, at least 256."""
    smallest = 256 + len(special_tokens)
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size {vocab_size} is too small: 256 bytes and "
            f"{len(special_tokens)} special tokens need {smallest}"
        )
    return vocab_size - len(special_tokens)


def check_ranks(ranks):
    """Raise ValueError unless ranks are all bytes and ids 0, 1, 2, ..."""
    if any(bytes([i]) not in ranks for i in range(256)):
        raise ValueError(
            "ranks lack some of the 256 single bytes; "
            "pass the ranks that train_bpe returned"
        )
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise ValueError("ranks must number the tokens 0, 1, 2, ... once each")


def check_token_ids(ids, vocab_size):
    """Return ids as a list of int; ValueError for one that does not exist."""
    ids = [int(i) for i in ids]
    for i in ids:
        if not 0 <= i < vocab_size:
            raise ValueError(
                f"token id {i} is outside the vocabulary of {vocab_size}"
            )
    return ids


def check_characters(text, known):
    """Raise ValueError that names the first character not in known."""
    unknown = set(text) - set(known)
    if unknown:
        raise ValueError(
            f"character {min(unknown)!r} is not in this vocabulary; "
            "build the tokenizer from text that has it"
        )


def read_ranks(path):
    """Read a .tiktoken file into {bytes: id}; ValueError if it is none."""
    ranks = {}
    try:
        for line in Path(path).read_text(encoding="ascii").splitlines():
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
    except ValueError as error:
        raise ValueError(
            f"{path} is not a .tiktoken file (base64, a space, an id "
            f"on each line): {error}"
        ) from None
    return ranks


def write_ranks(ranks, path):
    """Write a .tiktoken file: on each line base64, a space, the id."""
    lines = [
        f"{base64.b64encode(token).decode()} {rank}\n"
        for token, rank in ranks.items()
    ]
    write_whole(path, "".join(lines))


def read_characters(path):
    """Read a JSON list of characters; ValueError if it is something else."""
    try:
        characters = json.loads(Path(path).read_text(encoding="ascii"))
    except ValueError:
        characters = None
    if not isinstance(characters, list) or any(
        not isinstance(c, str) or len(c) != 1 for c in characters
    ):
        raise ValueError(f"{path} is not a JSON list of characters")
    return characters


def check_tokenizer(tokenizer, config):
    """Raise ValueError unless the tokenizer fits the model."""
    if tokenizer.vocab_size != config.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} tokens and the model "
            f"{config.vocab_size}; use the tokenizer the model was trained "
            "with"
        )


def check_settings(settings):
    """Raise ValueError, in one sentence, for the first that cannot work."""
    for name in ("steps", "batch_size", "seq_len", "eval_every"):
        value = getattr(settings, name)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, not {value!r}")
    if settings.decay not in ("cosine", "linear"):
        raise ValueError(
            f'decay must be "cosine" or "linear", not {settings.decay!r}'
        )
    if not settings.lr > 0:
        raise ValueError(f"lr must be positive, not {settings.lr}")


def check_sampling(temperature=1.0, top_k=None, top_p=None, min_p=None):
    """Raise ValueError, in one sentence, for a setting out of its range."""
    if not (0 <= temperature < np.inf):
        raise ValueError(f"temperature must be 0 or more, not {temperature}")
    if top_k is not None and not (top_k >= 1 and top_k % 1 == 0):
        raise ValueError(f"top_k must be an integer >= 1, not {top_k}")
    if top_p is not None and not (0 < top_p <= 1):
        raise ValueError(f"top_p must be above 0 and at most 1, not {top_p}")
    if min_p is not None and not (0 <= min_p <= 1):
        raise ValueError(f"min_p must be between 0 and 1, not {min_p}")


def check_prompt(ids, config):
    """Raise ValueError for a prompt that is empty or leaves no room."""
    if len(ids) == 0:
        raise ValueError(
            "the prompt is empty; begin with at least one token, such as "
            "<|endoftext|>, after which a new story starts"
        )
    if len(ids) >= config.max_seq_len:
        raise ValueError(
            f"a prompt of {len(ids)} tokens leaves no room: max_seq_len is "
            f"{config.max_seq_len}; shorten it"
        )
