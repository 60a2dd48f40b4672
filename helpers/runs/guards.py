"""Say no in one sentence: settings, ids, texts and files are checked here.

Support code, not built in a lesson. Each check returns, or raises a
ValueError that says what came, what was expected, and what to do.
notebooks/ERRORS.md lists them all; doors.py says which function asks what.
"""

import math
import os
import re
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import regex

from helpers.runs.files import brief, fingerprint
from helpers.runs.memory import check_file, check_room
from helpers.runs.params import named_arrays

SIZES = ("vocab_size", "max_seq_len", "d_model", "n_heads", "n_layers", "d_ff")
CHOICES = {  # a setting, and what it may be
    "norm": ("pre", "post", "rms"),
    "activation": ("gelu", "relu", "swiglu"),
    "positions": ("learned", "sinusoidal", "rope"),
    "tied_head": (True, False),
    "bias": (True, False),
    "decay": ("cosine", "linear"),
    "windows": ("anywhere", "stories"),
}
NUMBERS = {  # a setting, for which values it is good, and that in words
    "dropout": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "valid_fraction": (lambda x: 0 <= x <= 1, "in [0, 1]"),
    "lr": (lambda x: 0 < x < math.inf, "positive"),
    "final": (lambda x: 0 <= x <= 1, "in [0, 1]"),
    "weight_decay": (lambda x: 0 <= x < math.inf, "0 or more"),
    "beta1": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "beta2": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "max_norm": (lambda x: x > 0, "positive"),
    "temperature": (lambda x: 0 <= x < math.inf, "0 or more"),
    "top_k": (lambda x: x >= 1 and x % 1 == 0, "an integer >= 1"),
    "top_p": (lambda x: 0 < x <= 1, "above 0 and at most 1"),
    "min_p": (lambda x: 0 <= x <= 1, "between 0 and 1"),
    "repetition_penalty": (lambda x: 0 < x < math.inf, "positive"),
}
LONG_WORD = regex.compile(  # each looked at from its beginning only
    "|".join(
        f"(?<!{kind}){kind}{{1001}}"
        for kind in (r"\p{L}", r"\p{N}", r"[^\s\p{L}\p{N}]", r"\s")
    )
)
FINITE = (math.isfinite, "a finite number")  # what a log holds


# one value


def show(value):
    """Return a value, as Python writes it, in one short line."""
    return brief(repr(value), 60)


def check_integer(name, value, least=1):
    """Raise ValueError unless value is an integer and large enough."""
    if isinstance(value, np.integer):
        raise ValueError(
            f"{name} must be an integer of Python, not of NumPy; write "
            f"int({show(value)})"
        )
    if type(value) is not int or value < least:
        raise ValueError(
            f"{name} must be an integer >= {least}, not {show(value)}"
        )
    if value >= 2**63:
        raise ValueError(f"{name} must be below 2**63, not {show(value)}")


def check_number(name, value, rule=None):
    """Raise ValueError unless value is a number that is good for name.

    rule: (what is true of a good one, that in words), if not in NUMBERS.
    """
    fits, words = rule or NUMBERS[name]
    try:
        number = isinstance(value, int | float | np.integer | np.floating)
        good = number and type(value) is not bool and fits(float(value))
    except OverflowError:  # an integer beyond every float
        good = False
    if not good:
        raise ValueError(f"{name} must be {words}, not {show(value)}")


def check_choice(name, value):
    """Raise ValueError unless value is one of CHOICES."""
    allowed = CHOICES[name]
    if not isinstance(value, str | bool) or value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, not {show(value)}")


def check_names(function, settings, known):
    """Raise ValueError for the first setting that a function does not know."""
    for name in settings:
        if name not in known:
            raise ValueError(
                f"{function} has no setting {name!r}; "
                f"it takes {', '.join(known)}"
            )


# the model and its loss


def check_config(config):
    """Raise ValueError, in one sentence, for the first impossible setting."""
    for name in SIZES:
        check_integer(name, getattr(config, name))
    for name in ("norm", "activation", "positions", "tied_head", "bias"):
        check_choice(name, getattr(config, name))
    if config.d_model % config.n_heads:
        raise ValueError(
            f"{show(config.n_heads)} heads do not divide d_model = "
            f"{show(config.d_model)}; choose a number of heads that does"
        )
    check_number("dropout", config.dropout)
    if config.n_kv_heads is not None:
        check_integer("n_kv_heads", config.n_kv_heads)
        if config.n_heads % config.n_kv_heads:
            raise ValueError(
                f"{config.n_kv_heads} heads of keys cannot share "
                f"{config.n_heads} of queries evenly; choose an n_kv_heads "
                "that divides n_heads"
            )
    D = config.d_model // config.n_heads
    if config.positions == "rope" and D % 2:
        raise ValueError(
            f"rope turns pairs of channels and a head has {D}; choose an "
            "even d_model / n_heads"
        )


def check_ids(ids, config):
    """Raise ValueError unless ids is a (B, T) batch that fits the model."""
    array = isinstance(ids, np.ndarray)
    if not array or ids.ndim != 2 or ids.size == 0:
        found = f"shape {ids.shape}" if array else show(ids)
        raise ValueError(
            f"ids must be a non-empty (B, T) array, not {found}; "
            "wrap a single sequence as ids[None]"
        )
    if ids.shape[1] > config.max_seq_len:
        raise ValueError(
            f"a sequence of {ids.shape[1]} tokens is longer than max_seq_len"
            f" = {config.max_seq_len}; cut it or build a model with more"
        )


def check_mask(mask, shape):
    """Raise ValueError unless a mask is boolean and broadcasts to shape."""
    array = isinstance(mask, np.ndarray)
    if not array or mask.dtype != bool:
        raise ValueError(
            "a mask must be a boolean array, True = may attend, not "
            f"{mask.dtype if array else show(mask)}; mask == 0 makes one of "
            "an additive mask"
        )
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"a mask of shape {mask.shape} does not fit scores of shape "
            f"{shape}; give one that broadcasts to it"
        )


def check_targets(targets, V, ignore_index=-100):
    """Raise ValueError unless there are targets and all lie in 0..V-1.

    Those that are ignore_index do not count.
    """
    if targets.dtype.kind not in "iu":
        raise ValueError(f"targets must be integers, not {targets.dtype}")
    targets = targets[targets != ignore_index]
    if targets.size == 0:
        raise ValueError(
            "no target to score: all are ignore_index; leave one at least"
        )
    if targets.min() < 0 or targets.max() >= V:
        raise ValueError(
            f"targets must lie in 0..{V - 1} or be ignore_index; "
            f"found {targets.min()}..{targets.max()}"
        )


def check_batch(ids, targets, config):
    """Raise ValueError unless ids and targets are a batch for the model."""
    check_ids(ids, config)
    if targets.shape != ids.shape:
        raise ValueError(
            f"targets of shape {targets.shape} do not fit ids of shape "
            f"{ids.shape}; give one target for each id"
        )
    check_targets(targets, config.vocab_size)


# texts and tokens


def check_string(text):
    """Raise ValueError unless text is a string."""
    if not isinstance(text, str):
        raise ValueError(f"a text must be a string, not {show(text)}")


def check_text(text):
    """Raise ValueError unless text can be encoded.

    tiktoken recurses over white space and gives up at about a million.
    """
    check_string(text)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has half a character at place {error.start}; "
            "read it as UTF-8"
        ) from None
    if len(text) >= 100_000 and re.search(r"(?<!\s)\s{100000}", text):
        raise ValueError(
            "the text has 100,000 spaces or line breaks in a row; remove them"
        )


def check_words(text):
    """Raise ValueError for a word too long to learn byte pairs from.

    A word is looked through again for each pair that it holds.
    """
    found = LONG_WORD.search(text)
    if found:
        raise ValueError(
            f"the text has a word of more than 1,000 letters, signs or "
            f"spaces, {show(found[0][:9] + '...')}, from which byte pairs "
            "are learnt too slowly; put spaces or line ends into it"
        )


def check_texts(texts):
    """Raise ValueError unless texts is a list of strings to encode."""
    if not isinstance(texts, list | tuple):
        raise ValueError(f"texts must be a list of strings, not {show(texts)}")
    for text in texts:
        check_text(text)


def check_some_text(stories):
    """Raise ValueError unless there is text in a list of stories."""
    check_texts(stories)
    if not any(stories):
        raise ValueError("no story text to score; give at least one story")


def check_special_tokens(tokens):
    """Raise ValueError unless tokens is a tuple or list of strings."""
    if not isinstance(tokens, list | tuple) or not all(
        isinstance(token, str) and token for token in tokens
    ):
        raise ValueError(
            f"special_tokens must be a tuple of strings, not {show(tokens)}"
        )
    for token, longer in permutations(tokens, 2):
        if longer.startswith(token):
            raise ValueError(
                f"the special token {show(token)} is also how "
                f"{show(longer)} begins; choose tokens of which none begins "
                "another"
            )


def check_vocab_size(vocab_size, special_tokens):
    """Raise ValueError unless there is room for all bytes, and the rest."""
    check_integer("vocab_size", vocab_size)
    smallest = 256 + len(special_tokens)
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size {vocab_size} is too small: 256 bytes and "
            f"{len(special_tokens)} special tokens need {smallest}"
        )


def check_ranks(ranks):
    """Raise ValueError unless ranks are all bytes and ids 0, 1, 2, ..."""
    if not isinstance(ranks, dict) or any(
        bytes([i]) not in ranks for i in range(256)
    ):
        raise ValueError(
            "ranks lack some of the 256 single bytes; "
            "pass the ranks that train_bpe returned"
        )
    numbers = range(len(ranks))
    if {type(token) for token in ranks} != {bytes} or (
        set(ranks.values()) != set(numbers)
    ):
        raise ValueError(
            "ranks must number tokens of bytes 0, 1, 2, ... once each; "
            "pass the ranks that train_bpe returned"
        )


def check_token_ids(ids, vocab_size):
    """Raise ValueError unless ids is a list of ids that exist."""
    row = isinstance(ids, np.ndarray) and ids.ndim == 1
    if not row and not isinstance(ids, list | tuple | range):
        raise ValueError(f"ids must be a list of token ids, not {show(ids)}")
    for i in ids:
        if not isinstance(i, int | np.integer):
            raise ValueError(f"a token id must be an integer, not {show(i)}")
        if not 0 <= i < vocab_size:
            raise ValueError(
                f"token id {show(i)} is outside the vocabulary of "
                f"{vocab_size}; use the tokenizer it came from"
            )


def check_alphabet(characters):
    """Raise ValueError unless each of characters is a string of length 1.

    An iterator is refused as well: it can be read only once.
    """
    try:
        again = iter(characters) is not characters
        found = list(characters) if again else [None]
    except TypeError:
        found = [None]
    if any(not isinstance(c, str) or len(c) != 1 for c in found):
        raise ValueError(
            "a vocabulary must be a text or a list of characters, not "
            f"{show(characters)}"
        )


def check_characters(text, known):
    """Raise ValueError that names the first character not in known."""
    check_string(text)
    unknown = set(text) - set(known)
    if unknown:
        raise ValueError(
            f"character {min(unknown)!r} is not in this vocabulary; "
            "build the tokenizer from text that has it"
        )


def check_tokenizer(tokenizer, config):
    """Raise ValueError unless the tokenizer fits the model."""
    if tokenizer.vocab_size != config.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} tokens and the model "
            f"{config.vocab_size}; use the tokenizer the model was trained "
            "with"
        )


def check_rng(rng):
    """Raise ValueError for a number in the place of a random generator."""
    if isinstance(rng, int | float | np.number):
        raise ValueError(
            f"rng must be a generator, such as np.random.default_rng({rng})"
            f", not {show(rng)}"
        )


def check_llama2c(path):
    """Raise ValueError for a checkpoint of llama2.c that is not whole."""
    from helpers.llama import llama2c_config, llama2c_shapes

    check_file(path)
    try:
        sizes = np.zeros(7, "<i4")
        held = np.fromfile(path, "<i4", 7)
        sizes[: len(held)] = held  # of a short file some stay 0
        config = llama2c_config(sizes)
    except ValueError as error:
        raise ValueError(
            f"{path} is no checkpoint of llama2.c ({brief(error)}); take "
            "stories260K.bin or its like"
        ) from None
    shapes = llama2c_shapes(config).values()
    wanted = 4 * (7 + sum(math.prod(shape) for shape in shapes))
    found = os.path.getsize(path)
    if found != wanted:
        raise ValueError(
            f"{path} has {found:,} bytes and its sizes ask for {wanted:,}; "
            "fetch it again"
        )


def check_pieces(pieces, scores):
    """Raise ValueError unless these are the pieces of a LlamaTokenizer.

    Text is cut into words before pieces are merged, so none may hold a space
    behind a letter.
    """
    if len(pieces) != len(scores):
        raise ValueError(
            f"{len(pieces)} pieces and {len(scores)} scores are not one a "
            "piece; read both from one file"
        )
    if [*pieces[3:259]] != [bytes([i]) for i in range(256)]:
        raise ValueError(
            "pieces 3 to 258 must be the 256 single bytes, in order; use the "
            "tokenizer of a model of llama2.c"
        )
    for piece in pieces[259:]:
        if b" " in piece.lstrip(b" "):
            raise ValueError(
                f"the piece {show(piece)} holds words; use a tokenizer whose "
                "pieces are parts of one"
            )


# stories and batches


def check_split(stories, valid_fraction, seed):
    """Raise ValueError unless stories can be split with nothing empty."""
    check_texts(stories)
    check_integer("seed", seed, 0)
    check_number("valid_fraction", valid_fraction)
    n = len(set(stories))
    if not 0 < round(n * valid_fraction) < n:
        raise ValueError(
            f"{n} different stories cannot be split with "
            f"valid_fraction = {valid_fraction}; both parts need one"
        )


def check_uint16(vocab_size):
    """Raise ValueError for a vocabulary whose ids need more than 16 bits."""
    if vocab_size > 2**16:
        raise ValueError(
            f"a vocabulary of {vocab_size} does not fit uint16; "
            "use one of at most 65,536"
        )


def check_tokens(tokens, B=1, T=1, stories=False):
    """Raise ValueError unless tokens is an array (N,) of two ids or more.

    B windows of at most T + 1 of them are worked on at a time; stories asks
    for <|endoftext|>, the token that comes first, at the end of one.
    """
    check_integer("B", B)
    check_integer("T", T)
    array = isinstance(tokens, np.ndarray)
    if not array or tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise ValueError(
            f"tokens must be an array (N,) of integers, not {show(tokens)}; "
            "tokenize_stories makes one"
        )
    if len(tokens) < 2:
        raise ValueError(
            f"a text of {len(tokens)} tokens holds no target; give 2 or more"
        )
    if stories and (tokens == tokens[0]).sum() < 2:
        raise ValueError(
            "no story ends in these tokens; join stories by tokenize_stories"
        )


def check_windows(tokens, B, T, starts=None):
    """Raise ValueError unless B windows of T + 1 tokens can be cut."""
    check_tokens(tokens, B, T)
    last = len(tokens) - T - 1
    if last < 0:
        raise ValueError(
            f"{len(tokens)} tokens are too few for windows of {show(T)} and "
            "their targets; use more text or a smaller T"
        )
    check_room(f"a batch of {show(B)} windows", 16 * B * (T + 1))
    if starts is None:
        return
    array = isinstance(starts, np.ndarray) and starts.dtype.kind in "iu"
    if (
        not array
        or starts.ndim != 1
        or not (starts.size and 0 <= starts.min() <= starts.max() <= last)
    ):
        raise ValueError(
            f"starts must be an array of places in 0..{last}, not "
            f"{show(starts)}; story_starts finds them"
        )


# training


def check_settings(settings):
    """Raise ValueError, in one sentence, for the first that cannot work."""
    for name in ("steps", "batch_size", "seq_len", "eval_every"):
        check_integer(name, getattr(settings, name))
    for name in ("warmup", "seed"):
        check_integer(name, getattr(settings, name), 0)
    for name in ("lr", "final", "weight_decay", "beta1", "beta2", "max_norm"):
        check_number(name, getattr(settings, name))
    for name in ("decay", "windows"):
        check_choice(name, getattr(settings, name))


def check_memory(config, settings):
    """Raise ValueError for a run that this machine cannot hold.

    Counts matrices and their gradients and means, one batch, and the scores
    and logits of four sequences: less than what is needed.
    """
    C, T = config.d_model, settings.seq_len
    rows = config.vocab_size + config.max_seq_len
    rows += config.n_layers * (2 * C + 2 * config.d_ff)
    scores = 4 * T * (config.n_layers * config.n_heads * T + config.vocab_size)
    n_bytes = 16 * (rows * C + settings.batch_size * T) + 4 * scores
    check_room("this run", n_bytes)


def check_same(hashes, name, found, what):
    """Note a fingerprint; ValueError if it was noted and was another."""
    wanted = hashes.setdefault(name, found)
    if found != wanted:
        raise ValueError(
            f"{what} (fingerprint {found[:8]}) is not what this run began "
            f"with ({wanted[:8]}); use the same again, and the same options, "
            "or start a new run"
        )


def check_name(name):
    """Raise ValueError unless a run may be called so: a folder in runs/."""
    if not re.fullmatch(r"(?!\.)[^\x00-\x1f/\\:*?\"<>|]+", name):
        raise ValueError(
            f"--name must name a folder inside runs/, not {show(name)}; use "
            "letters, digits, - and _"
        )


def check_alone(path, run, found, expected):
    """Raise ValueError if a checkpoint is not what this process left there.

    found, expected: version() of the file; None if there is none.
    """
    if found is not None and found != expected:
        raise ValueError(
            f"another program has written {path}, so step {run.step} was not "
            "saved there; let one train at a time, and go on from there with "
            "--resume"
        )


def check_data(run, tokens, valid_tokens):
    """Raise ValueError if a run goes on with other tokens than it had."""
    hashes = run.notes.setdefault("hashes", {})
    for name, array in (("tokens", tokens), ("valid_tokens", valid_tokens)):
        found = fingerprint({name: np.asarray(array)})
        check_same(hashes, name, found, f"the array {name}")


def check_finite(run, loss, norm=0.0, grads=None):
    """Raise ValueError if a loss or the norm of the gradients is no number.

    Names the step, an array, and the last good checkpoint. Gradients flow
    back from the loss and spoil all they meet, so the array is the bad one
    that comes last in the model.
    """
    if math.isfinite(loss) and math.isfinite(norm):
        return
    where = ""
    named = named_arrays(grads or {})
    for name in named_arrays(run.params):
        if name in named and not has_norm(named[name]):
            where = f" and the gradient of {name} is NaN or too large"
    raise ValueError(
        f"step {run.step}: the loss is {loss:g}{where}, so the run stops "
        f"here; {last_good(run)} with a lower lr than {run.settings.lr:g}"
    )


def has_norm(array):
    """Tell whether the sum of the squares of an array is a number."""
    return math.isfinite(float(np.vdot(array, array)))


def check_arrays(run, arrays):
    """Raise ValueError for an array that must not go into a checkpoint."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(
                f"step {run.step}: {name} is not finite, so the run was not "
                f"saved; {last_good(run)} with a lower lr than "
                f"{run.settings.lr:g}"
            )


def last_good(run):
    """Say where to go back to."""
    saved = run.notes.get("saved")
    return f"go back to {saved}" if saved else "start again"


def check_about(run):
    """Raise ValueError for a loaded run that cannot have been saved so."""
    check_integer("step", run.step, 0)
    for row in run.log:
        check_integer("step of a row", row["step"])
        for name in ("train_loss", "valid_loss", "grad_norm", "seconds"):
            check_number(name, row[name], FINITE)
    for loss, norm in run.notes["recent"]:
        check_number("loss", loss, FINITE)
        check_number("norm", norm, FINITE)
    for found in run.notes["hashes"].values():
        check_text(found)
    check_stories(**run.notes["stories"])


def check_stories(source=None, valid_stories=1):
    """Raise ValueError unless a run can have been trained on these."""
    check_string(source or "")  # a path may hold any bytes
    check_integer("valid_stories", valid_stories)


def check_size(path, config, arrays):
    """Raise ValueError if a config asks for more numbers than a file holds.

    Counts some of the matrices only. So a small file makes no large run.
    """
    C, V = config.d_model, config.vocab_size
    table = SimpleNamespace(shape=(V, C), dtype="float32")
    name = "params/token_embedding.weight"
    check_fit(path, name, arrays.get(name), table)
    least = V * C + 2 * config.n_layers * C * (C + config.d_ff)
    if config.positions == "learned":
        least += config.max_seq_len * C
    held = sum(a.size for n, a in arrays.items() if n.startswith("params/"))
    if least > held:
        raise ValueError(
            f"{path} does not fit its config, which asks for {least:,} "
            f"numbers or more: there are {held:,}; use an older one"
        )


def check_fit(path, name, loaded, array):
    """Raise ValueError unless a loaded array can take the place of array."""
    if loaded is None:
        found = "missing"
    elif loaded.shape != array.shape or loaded.dtype.kind != "f":
        found = f"{loaded.dtype} {loaded.shape}"
    elif not np.isfinite(loaded).all():
        found = "not finite"
    else:
        return
    raise ValueError(
        f"{path} does not fit its config: {name} is {found}, expected "
        f"{array.dtype} {array.shape}; use an older one"
    )


# generation


def check_sampling(temperature=1.0, top_k=None, top_p=None, min_p=None):
    """Raise ValueError, in one sentence, for a setting out of its range."""
    check_number("temperature", temperature)
    filters = {"top_k": top_k, "top_p": top_p, "min_p": min_p}
    for name, value in filters.items():
        if value is not None:
            check_number(name, value)


def check_logits(logits):
    """Raise ValueError unless logits is a row (V,) with a highest number."""
    try:
        row = np.asarray(logits, np.float64)
    except (TypeError, ValueError, OverflowError):  # text, ragged, huge
        row = np.zeros(0)
    if row.ndim != 1 or row.size == 0:
        raise ValueError(
            f"logits must be a row of numbers (V,), not {show(logits)}"
        )
    if not np.isfinite(row.max()):
        raise ValueError(
            "the logits hold NaN or infinity: the model has diverged; "
            "use an older checkpoint"
        )


def check_prompt(ids, config, n_tokens=0):
    """Raise ValueError for a prompt that is empty or leaves no room.

    n_tokens, how many are to follow, must be an integer.
    """
    check_integer("n_tokens", n_tokens, 0)
    check_token_ids(ids, config.vocab_size)
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


def check_prompts(prompts, config, n_tokens=0):
    """Raise ValueError unless prompts is a list of prompts, at least one."""
    check_integer("n_tokens", n_tokens, 0)
    if not isinstance(prompts, list | tuple) or not prompts:
        raise ValueError(
            f"prompts must be a list of at least one, not {show(prompts)}"
        )
    for prompt in prompts:
        check_prompt(prompt, config)


def check_stop_id(stop_id, config):
    """Raise ValueError unless stop_id is one token id, or None."""
    if stop_id is None:
        return
    good = isinstance(stop_id, int | np.integer) and type(stop_id) is not bool
    if not good or not 0 <= stop_id < config.vocab_size:
        raise ValueError(
            f"stop_id must be one token id in 0..{config.vocab_size - 1}, or "
            f"None, not {show(stop_id)}"
        )


def check_space(length, config):
    """Raise ValueError for more tokens than a KV cache has room for."""
    if length > config.max_seq_len:
        raise ValueError(
            f"{length} tokens are more than max_seq_len = "
            f"{config.max_seq_len}; use a shorter prompt"
        )


def check_beams(n_beams, config):
    """Raise ValueError for no beams, or more than there is memory for."""
    check_integer("n_beams", n_beams)
    numbers = 2 * config.n_layers * config.max_seq_len * config.d_model
    check_room(f"a search with {show(n_beams)} beams", 4 * n_beams * numbers)
