"""Bad input gets one clear sentence, and files stay as they were.

Each row of a table is one thing that is done wrong. It must raise ValueError
or OSError in one line that names what came and what was expected, from a
raise of our own. notebooks/ERRORS.md shows them all, and no raise at a border
is without a row:

    python tests/test_bad_input.py    writes that page
"""

import argparse
import base64
import contextlib
import errno
import importlib
import inspect
import io
import json
import math
import os
import sys
import tempfile
import time
import tracemalloc
import zipfile
from dataclasses import is_dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from clear import HELPERS, assert_clear, from_the_system, origin, raises_of
from filelock import FileLock
from tiktoken_ext import openai_public

from helpers import __main__ as cli
from helpers import assistant, digit_operations, training
from helpers.attention import (
    causal_mask,
    multi_head_attention,
    scaled_dot_product_attention,
)
from helpers.checks import exercises
from helpers.embeddings import embedding, learned_positions
from helpers.generation import (
    KVCache,
    beam_search,
    generate,
    generate_batch,
    next_logits,
    next_token_probs,
    penalise_repeats,
    stream,
)
from helpers.lab import copies, home
from helpers.language_model import (
    ModelConfig,
    cross_entropy,
    init_params,
    language_model,
)
from helpers.llama import (
    LLAMA,
    llama2c_config,
    llama2c_shapes,
    read_llama2c,
)
from helpers.pretrained.folders import export, load_pretrained
from helpers.pretrained.llama2c import LlamaTokenizer, read_pieces
from helpers.runs import (
    checkpoints,
    distributed,
    doors,
    files,
    folders,
    guards,
    loop,
    memory,
    report,
    speed,
)
from helpers.runs.checkpoints import CHECKPOINTS, TOKENIZER, load_run, save_run
from helpers.runs.guards import check_sampling, show
from helpers.stories import download
from helpers.stories.files import mend
from helpers.stories.grammar import tell_stories
from helpers.tinystories import (
    BPETokenizer,
    CharTokenizer,
    bpe_tokenizer,
    char_tokenizer,
    gpt2_tokenizer,
    load_stories,
    sample_batch,
    split_stories,
    tokenize_stories,
    train_bpe,
)
from helpers.training import TrainSettings, start_run

PAGE = HELPERS.parent / "notebooks" / "ERRORS.md"
SIZES = {
    "vocab_size": 11,
    "max_seq_len": 8,
    "d_model": 12,
    "n_heads": 3,
    "n_layers": 1,
    "d_ff": 7,
}
CONFIG = ModelConfig(**SIZES)
PARAMS = init_params(CONFIG, np.random.default_rng(0))
DIVERGED = PARAMS | {
    "final_norm": {"weight": np.ones(12), "bias": np.nan * np.ones(12)}
}
SETTINGS = TrainSettings(steps=4, batch_size=2, seq_len=4, eval_every=2)
RANKS = train_bpe("one two one two", 260)
SPELLED = {"vocab_size": 260, "d_model": 12, "n_heads": 3, "d_ff": 7}
STORIES = tell_stories(20)
X = np.zeros((2, 5, 12), np.float32)
NAN, INF = math.nan, math.inf
RNG = np.random.default_rng(0)


ONE_RANK = {"COMM_WORLD.size": 1}


# --- what is called in the rows ---


def config(**changes):
    return ModelConfig(**SIZES | changes)


def settings(**changes):
    return replace(SETTINGS, **changes)


def ask(ids):
    return language_model(np.array(ids), PARAMS, CONFIG)


def score(targets, shape=(2, 3, 11), **options):
    return cross_entropy(np.zeros(shape), np.array(targets), **options)


def attend(mask):
    q = np.zeros((1, 2, 3, 4))
    return scaled_dot_product_attention(q, q, q, mask=np.array(mask))


def sample(**options):
    return generate([1, 2], PARAMS, CONFIG, **{"n_tokens": 2} | options)


def fill_cache():
    kv = KVCache(PARAMS, CONFIG)
    next_logits(np.ones((1, 6), int), PARAMS, CONFIG, kv)
    return next_logits(np.ones((1, 3), int), PARAMS, CONFIG, kv)


def with_8_gb(call, *args, **options):
    with mock.patch.object(memory, "memory_size", lambda: 8 * 2**30):
        return call(*args, **options)


def with_1_gb_free(call, *args, **options):
    with mock.patch.object(memory, "memory_free", lambda: 2**30):
        return with_8_gb(call, *args, **options)


def train_on(n_tokens, n_valid, folder=None, **changes):
    tokens = np.zeros(n_tokens, np.uint16)
    run = start_run(CONFIG, settings(**changes))
    valid = tokens[:n_valid]
    return loop.train_on_stories(run, tokens, valid, folder, progress=False)


def a_run(steps=4):
    """Return a trained run whose tokenizer has RANKS."""
    run = start_run(config(vocab_size=260), SETTINGS)
    tokens = np.random.default_rng(0).integers(0, 260, 60).astype(np.uint16)
    loop.train_on_stories(run, tokens, tokens[:20], progress=False)
    return run


def saved(folder):
    """Save a run to a folder and return the folder."""
    save_run(folder, a_run(), bpe_tokenizer(RANKS))
    return folder


def resumed_with(folder, **data):
    run, _ = load_run(saved(folder))
    tokens = np.random.default_rng(0).integers(0, 260, 60).astype(np.uint16)
    data = {"tokens": tokens, "valid_tokens": tokens[:20]} | data
    return loop.train_on_stories(run, **data, progress=False)


def diverged(loss=1.0, norm=1.0, **bad):
    run = start_run(CONFIG, SETTINGS)
    grads = {name: np.full(3, value) for name, value in bad.items()}
    run.params = {name: np.zeros(3) for name in bad}
    guards.check_finite(run, loss, norm, grads)


def save_diverged(folder):
    run = start_run(CONFIG, SETTINGS)
    run.params["final_norm"]["bias"][2] = NAN
    checkpoints.write_checkpoint(folder / "model.npz", run)


def text_file(folder, content, name="file"):
    path = folder / name
    path.write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    return path


def no_gpt2():
    def gpt2():
        raise ConnectionError("a long story\nabout sockets")

    with mock.patch.object(openai_public, "gpt2", gpt2):
        gpt2_tokenizer()


def hub_that_hangs_up():
    error = ConnectionError("Connection reset\nby peer")
    hub = mock.Mock(load_dataset=mock.Mock(side_effect=error))
    with mock.patch.dict(sys.modules, datasets=hub):
        download.download_stories(1)


def write_where_no_folder_can_be(folder):
    (folder / "in the way").write_text("")
    save_run(folder / "in the way", start_run(CONFIG, SETTINGS))


def write_to_a_pipe(folder):
    os.mkfifo(folder / TOKENIZER)
    bpe_tokenizer(RANKS).save(folder / TOKENIZER)


def write_to_a_full_disk(folder):
    def open_full(path, mode):
        return open("/dev/full", mode)

    with mock.patch.object(files, "open", open_full, create=True):
        bpe_tokenizer(RANKS).save(folder / TOKENIZER)


def large_file(folder, gigabytes):
    """Return a file that takes no room on the disk."""
    path = text_file(folder, "")
    os.truncate(path, gigabytes * 2**30)
    return path


def command(*words):
    """Do what a command does, through main; raise the error that it says."""
    words, caught, said = [str(word) for word in words], [], io.StringIO()

    def note(error):
        caught.append(error)
        return one_line(error)

    one_line = cli.one_line
    with (
        mock.patch.object(cli, "one_line", note),
        contextlib.redirect_stderr(said),
    ):
        code = cli.main(words)
    if code:
        *_, last = said.getvalue().splitlines()
        assert code == 2 and last == f"error: {one_line(caught[0])}"
        raise caught[0]


def train_here(folder, *options):
    source = text_file(folder, "<|endoftext|>".join(STORIES), "stories.txt")
    sizes = ["--vocab-size=280", "--seq-len=16", "--steps=1", "--d-model=8"]
    words = "train", "--folder", folder, "--stories", source, *sizes, *options
    return command(*words)


BYTES = [b"", b"", b"", *(bytes([i]) for i in range(256))]
FAR = {"rope_type": "default", "rope_theta": 500_000.0}


def llama2c(folder, cut=0):
    """Write a checkpoint of llama2.c, or most of it; return its path."""
    sizes = np.array([24, 7, 2, 4, 2, 11, 9], "<i4")
    shapes = llama2c_shapes(llama2c_config(sizes)).values()
    n_bytes = 4 * sum(math.prod(shape) for shape in shapes) - cut
    return text_file(folder, sizes.tobytes() + bytes(n_bytes))


def theirs(folder, kind=None, cut=None, words=None, **about):
    """Export a run, change settings or cut a file, and return the folder."""
    run = a_run()
    if kind:
        run.config = config(vocab_size=260, **kind)
        run.params = init_params(run.config, RNG)
    export(run, bpe_tokenizer(RANKS), folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | about))
    if words:
        text_file(
            folder, f'{{"model": {{"type": "{words}"}}}}', "tokenizer.json"
        )
    if cut:
        content = (folder / cut).read_bytes()
        (folder / cut).write_bytes(content[: len(content) // 2])
    return folder


def export_among_other_files(folder):
    (folder / "out").mkdir()
    text_file(folder / "out", "mine")
    command("export", "--to", folder / "out")


def fetch_twice(folder):
    (folder / "runs" / "stories260K").mkdir(parents=True)
    command("llama", "--folder", folder, "--from", folder)


def fetch_nonsense(folder):
    answer = mock.Mock(side_effect=RuntimeError("<html>\nsorry"))
    with (
        mock.patch("huggingface_hub.hf_hub_download", answer),
        mock.patch.object(cli.download, "hub_reachable", lambda: True),
    ):
        command("gpt2", "--folder", folder)


def train_twice(folder):
    train_here(folder)
    train_here(folder)


def resume(folder, *options):
    source = text_file(folder, "<|endoftext|>".join(STORIES), "stories.txt")
    words = "--resume", "--folder", folder, "--stories", source
    command("train", *words, *options)


def resume_for_fewer_steps(folder):
    save_run(folder / "runs" / "my-tiny", a_run(), bpe_tokenizer(RANKS))
    resume(folder, "--steps=3")


def resume_without_optimizer(folder):
    path = folder / "runs" / "my-tiny"
    save_run(path, a_run(), bpe_tokenizer(RANKS), optimizer=False)
    resume(folder)


def train_while_it_trains(folder):
    train_here(folder)
    with folders.only_one(folder / "runs" / "my-tiny"):
        resume(folder)


def write_data_twice_at_once(folder):
    source = text_file(folder, "<|endoftext|>".join(STORIES), "stories.txt")
    with folders.only_one(folder / "tinystories"):
        command("data", "--folder", folder, "--from", source)


def train_among_other_files(folder):
    (folder / "runs" / "mine").mkdir(parents=True)
    text_file(folder / "runs" / "mine", "{}", "config.json")
    train_here(folder, "--name=mine")


def save_over_another(folder):
    """Save where another program has saved after the run was loaded."""
    run, _ = load_run(saved(folder))
    save = loop.saver(folder, run, None)
    save_run(folder, load_run(folder)[0])
    save()


def replace_what_cannot_move(folder):
    """As on Windows, where another program looks into the folder."""
    train_here(folder)
    error = OSError(errno.EBUSY, "Device or resource busy")
    with mock.patch.object(folders, "move", side_effect=error):
        train_here(folder, "--force")


def where_nothing_can_lock(folder):
    error = OSError(errno.ENOLCK, "No locks available")
    with (
        mock.patch.object(FileLock, "acquire", side_effect=error),
        folders.only_one(folder / "runs" / "run"),
    ):
        pass


def report_on_replaced(folder):
    """Measure a run, and let another take its place meanwhile."""
    path = saved(folder / "my-tiny")
    other = bpe_tokenizer(train_bpe("other words", 260))

    def measure(*_):
        save_run(path, start_run(a_run().config, SETTINGS), other)
        return {}

    with mock.patch.object(report, "measure_all", measure):
        command("report", "--run", path, "--on", text_file(folder, "One."))


def report_on_damaged(folder, text):
    text_file(saved(folder / "my-tiny"), text, "measured.json")
    command("report", "--run", folder / "my-tiny")


class NoMPI:
    """What stands for mpi4py where it is not installed."""

    def __getattr__(self, name):
        raise ImportError("No module named 'mpi4py'")


def found_by_mpiexec(mpi4py):
    """Train as if mpiexec had started two processes."""
    distributed.find_team.cache_clear()
    with (
        mock.patch.dict("os.environ", PMI_SIZE="2"),
        mock.patch.dict(sys.modules, mpi4py=mpi4py),
    ):
        command("train")


def train_in_a_team(folder, *options):
    """Train as the first of three processes."""
    team = mock.Mock(rank=0, size=3)
    with mock.patch.object(distributed, "find_team", lambda: team):
        train_here(folder, *options)


# --- checkpoints that are spoiled ---


def write_checkpoint(path):
    checkpoints.write_checkpoint(path, start_run(CONFIG, SETTINGS))
    return files.read_arrays(path)


def edit(change):
    """Return a damage that changes the arrays and makes a new checksum."""

    def damage(path, arrays):
        change(arrays)
        files.write_arrays(path, arrays)

    return damage


def edit_about(change):
    def damage(arrays):
        about = json.loads(str(arrays["about"]))
        change(about)
        arrays["about"] = np.array(json.dumps(about))

    return edit(damage)


def cut(share):
    def damage(path, arrays):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def flip(path, arrays):
    """Change one byte in the middle of the largest array."""
    content = bytearray(path.read_bytes())
    content[content.index(b"feed_forward.up.weight") + 400] ^= 255
    path.write_bytes(content)


def encrypt(path, arrays):
    """Set the bit that says the first array needs a password."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


def numpy_array(path, arrays):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def pickled(path, arrays):
    arrays["about"] = np.array({"config": {}}, dtype=object)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def tamper(path, arrays):
    """Change a weight and keep the checksum of before."""
    with np.load(path) as file:
        checksum = file["sha256"]
    arrays["params/final_norm.bias"][0] = 5
    with open(path, "wb") as file:
        np.savez(file, **arrays, sha256=checksum)


def strip(path, arrays):
    """Write the same arrays without the checksum."""
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def compress(path, arrays):
    """Write a small file that becomes large when it is read."""
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays, zeros=np.zeros(10**6))


def claim(path, arrays):
    """Let the head of an array ask for more than the file has."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            told = b"'shape': (99999,), }"
            said = member.getvalue().replace(b"'shape': (12,), }   ", told)
            archive.writestr(f"{name}.npy", said)


NAME = "params/final_norm.bias"
WHOLE, RUN = "not a whole checkpoint", "does not describe a run"
FITS = "does not fit its config"
DAMAGES = {  # what was done, how, and what the sentence says
    "load an empty file": (cut(0), [WHOLE]),
    "load the first half of a file": (cut(0.5), [WHOLE]),
    "load a file that lacks its last bytes": (cut(0.99), [WHOLE]),
    "load a file in which a byte has flipped": (flip, [WHOLE, "Bad CRC-32"]),
    "load a file that was edited": (tamper, ["checksum does not fit"]),
    "load a file with a password": (encrypt, [WHOLE]),
    "load text that is called .npz": (
        lambda path, _: path.write_text("Once upon a time.\n"),
        [WHOLE],
    ),
    "load a text that begins as a zip file": (
        lambda path, _: path.write_bytes(b"PK\3\4 Once"),
        [WHOLE],
    ),
    "load one array that is called .npz": (numpy_array, [WHOLE]),
    "load a file with Python objects": (pickled, [WHOLE]),
    "load arrays that are no run": (edit(lambda a: a.pop("about")), [RUN]),
    "describe the run in prose": (
        edit(lambda a: a.update(about=np.array("Once"))),
        [RUN],
    ),
    "describe the run in a list": (
        edit(lambda a: a.update(about=np.array("[1]"))),
        [RUN],
    ),
    "add a setting nobody knows": (
        edit_about(lambda a: a["config"].update(moe=8)),
        [RUN, "moe"],
    ),
    "leave a setting out": (
        edit_about(lambda a: a["config"].pop("d_ff")),
        [RUN, "d_ff"],
    ),
    "write an impossible setting": (
        edit_about(lambda a: a["config"].update(n_heads=5)),
        [RUN, "5 heads"],
    ),
    "name a generator nobody knows": (
        edit_about(lambda a: a["rng"].update(bit_generator="X")),
        [RUN],
    ),
    "leave the step out": (edit_about(lambda a: a.pop("step")), [RUN, "step"]),
    "write a step below 0": (
        edit_about(lambda a: a.update(step=-2)),
        [RUN, "-2"],
    ),
    "leave a number out of the log": (
        edit_about(lambda a: a.update(log=[{"step": 1}])),
        [RUN, "train_loss"],
    ),
    "write NaN into the log": (
        edit_about(lambda a: a.update(recent=[[NAN, 1.0]])),
        [RUN, "finite", "nan"],
    ),
    "write NaN into a setting": (
        edit_about(lambda a: a["settings"].update(lr=NAN)),
        [RUN, "lr", "nan"],
    ),
    "leave the checksum out": (strip, [WHOLE, "sha256"]),
    "load a file that grows when it is read": (
        compress,
        [WHOLE, "larger than the file"],
    ),
    "load arrays that are shorter than they say": (
        claim,
        [WHOLE, "larger than it may be"],
    ),
    "ask for more layers than there are": (
        edit_about(lambda a: a["config"].update(n_layers=10**9)),
        [FITS, "456,000,000,228 numbers or more", "there are 1,111"],
    ),
    "leave an array out": (
        edit(lambda a: a.pop(NAME)),
        [FITS, NAME, "missing", "(12,)"],
    ),
    "give an array another shape": (
        edit(lambda a: a.update({NAME: np.zeros(5)})),
        [FITS, NAME, "(5,)", "(12,)"],
    ),
    "write NaN into an array": (
        edit(lambda a: a.update({NAME: np.full(12, NAN)})),
        [FITS, NAME, "not finite"],
    ),
    "give an array another dtype": (
        edit(lambda a: a.update({NAME: np.array(["a"] * 12)})),
        [FITS, NAME, "<U1"],
    ),
    "load arrays of a smaller model": (
        edit_about(lambda a: a["config"].update(d_model=24)),
        [FITS, "(11, 12)", "(11, 24)"],
    ),
    "leave half of the optimizer out": (
        edit(lambda a: a.pop(NAME.replace("params", "square"))),
        [FITS, "square/final_norm.bias", "missing", "(12,)"],
    ),
}
SAME_EVERYWHERE = [  # their sentences are ours to the last letter
    "load a file that grows when it is read",
    "load arrays that are shorter than they say",
    "ask for more layers than there are",
    "load text that is called .npz",
    "load a file in which a byte has flipped",
    "load a file that was edited",
    "write an impossible setting",
    "leave an array out",
    "give an array another shape",
    "load arrays of a smaller model",
    "write a step below 0",
]


def load_damaged(damage):
    def call(folder):
        path = folder / "model.npz"
        damage(path, write_checkpoint(path))
        checkpoints.read_checkpoint(path)

    return call


# --- the rows: what is done, the call, words of the sentence ---

MODEL = {
    "a size of 0": (lambda _: config(n_layers=0), ["n_layers", "0", ">= 1"]),
    "a size that is no integer": (
        lambda _: config(d_ff=2.5),
        ["d_ff", "2.5"],
    ),
    "a size as text": (lambda _: config(d_model="12"), ["d_model", "'12'"]),
    "heads that do not divide d_model": (
        lambda _: config(n_heads=5),
        ["5", "12"],
    ),
    "the same, without a config": (
        lambda _: multi_head_attention(X, {}, n_heads=7),
        ["7", "12"],
    ),
    "no heads of keys": (
        lambda _: config(n_kv_heads=0),
        ["n_kv_heads", "0", ">= 1"],
    ),
    "heads of keys that cannot be shared": (
        lambda _: config(n_kv_heads=2),
        ["2 heads of keys", "3 of queries", "divides"],
    ),
    "rope with an odd number of channels a head": (
        lambda _: config(d_model=15, positions="rope"),
        ["pairs", "5", "even"],
    ),
    "an unknown norm": (
        lambda _: config(norm="both"),
        ["norm", "both", "pre", "post"],
    ),
    "an unknown activation": (
        lambda _: config(activation="swish"),
        ["activation", "swish", "gelu", "relu"],
    ),
    "unknown positions": (
        lambda _: config(positions="rotary"),
        ["positions", "rotary", "learned", "sinusoidal"],
    ),
    "a head tied with words": (
        lambda _: config(tied_head="yes"),
        ["tied_head", "True", "'yes'"],
    ),
    "dropout of 1": (lambda _: config(dropout=1), ["dropout", "1"]),
    "dropout below 0": (lambda _: config(dropout=-0.1), ["dropout", "-0.1"]),
    "dropout NaN": (lambda _: config(dropout=NAN), ["dropout", "nan"]),
    "an id above the vocabulary": (lambda _: ask([[1, 99]]), ["99", "11"]),
    "an id just above it": (lambda _: ask([[11]]), ["id 11", "of 11"]),
    "an id below 0": (lambda _: ask([[-1, 3]]), ["-1", "11"]),
    "an id below 0, in a table alone": (
        lambda _: embedding(np.array([2, -3]), X[0]),
        ["-3", "5"],
    ),
    "ids that are no integers": (
        lambda _: ask([[1.0, 2.0]]),
        ["integer", "float64"],
    ),
    "a list for an array of ids": (
        lambda _: language_model([[1, 2]], PARAMS, CONFIG),
        ["(B, T) array", "[[1, 2]]"],
    ),
    "ids without a batch": (lambda _: ask([1, 2]), ["(2,)", "(B, T)"]),
    "no ids": (lambda _: ask(np.zeros((2, 0), int)), ["(2, 0)", "(B, T)"]),
    "more ids than max_seq_len": (
        lambda _: ask([[1] * 9]),
        ["9", "max_seq_len", "8"],
    ),
    "more positions than the table has": (
        lambda _: learned_positions(X, X[0, :4]),
        ["5", "4"],
    ),
    "a mask with an empty row": (
        lambda _: attend([[True, False, True], [False] * 3, [True] * 3]),
        ["mask", "nothing", "at least one"],
    ),
    "a mask the wrong way round": (
        lambda _: language_model(
            np.ones((1, 3), int), PARAMS, CONFIG, mask=~causal_mask(3)
        ),
        ["mask", "nothing", "at least one"],
    ),
    "an additive mask": (
        lambda _: attend(np.where(causal_mask(3), 0.0, -1e9)),
        ["boolean", "float64", "mask == 0"],
    ),
    "a list for a mask": (
        lambda _: scaled_dot_product_attention(X, X, X, [[True]]),
        ["boolean array", "[[True]]"],
    ),
    "a mask of another size": (
        lambda _: attend(causal_mask(4)),
        ["(4, 4)", "(1, 2, 3, 3)", "broadcasts"],
    ),
    "a mask with more axes than the scores": (
        lambda _: attend(np.ones((2, 1, 1, 3, 3), bool)),
        ["(2, 1, 1, 3, 3)", "(1, 2, 3, 3)"],
    ),
    "targets that are all ignored": (
        lambda _: score(np.full((2, 3), -100)),
        ["ignore_index"],
    ),
    "a target above the vocabulary": (
        lambda _: score([[0, 1, 2], [3, 4, 11]]),
        ["0..10", "11"],
    ),
    "a target below 0": (lambda _: score([[0, 1, 2], [3, 4, -1]]), ["-1"]),
    "-100 where ignore_index is another": (
        lambda _: score([[0, 1, 2], [3, 4, -100]], ignore_index=5),
        ["-100", "0..10"],
    ),
    "targets that are no integers": (
        lambda _: score([[0, 1, 2.5], [3, 4, 1]]),
        ["integers", "float64"],
    ),
    "targets of another shape than logits": (
        lambda _: score([[0, 1], [3, 4]]),
        ["(2, 2)", "(2, 3"],
    ),
}
TEXTS = {
    "a vocabulary of fewer than all bytes": (
        lambda _: train_bpe("some text", 256),
        ["256", "257"],
    ),
    "the same, with two special tokens": (
        lambda _: train_bpe("some text", 257, ("<a>", "<b>")),
        ["257", "258"],
    ),
    "one special token, not in a tuple": (
        lambda _: train_bpe("some text", 300, "<|endoftext|>"),
        ["special_tokens", "tuple", "'<|endoftext|>'"],
    ),
    "a special token that begins another": (
        lambda _: train_bpe("some text", 300, ("<|a", "<|a|>")),
        ["'<|a'", "'<|a|>'", "none begins another"],
    ),
    "a vocabulary counted by NumPy": (
        lambda _: train_bpe("some text", np.int64(300)),
        ["vocab_size", "NumPy", "int(np.int64(300))"],
    ),
    "a number of 30 digits": (
        lambda _: train_bpe("some text", 10**30),
        ["vocab_size", "2**63", "1000"],
    ),
    "a word of a million letters": (
        lambda _: train_bpe("one " + "x" * 10**6, 300),
        ["1,000 letters", "'xxxxxxxxx...'", "spaces or line ends"],
    ),
    "bytes for a text": (
        lambda _: bpe_tokenizer(RANKS).encode(b"one"),
        ["string", "b'one'"],
    ),
    "one text for a list of texts": (
        lambda _: tokenize_stories("one", bpe_tokenizer(RANKS)),
        ["list of strings", "'one'"],
    ),
    "half a character": (
        lambda _: bpe_tokenizer(RANKS).encode("one \ud83d"),
        ["half a character", "4", "UTF-8"],
    ),
    "100,000 spaces": (
        lambda _: bpe_tokenizer(RANKS).encode(" " * 100_000),
        ["100,000", "in a row"],
    ),
    "ranks without the bytes": (lambda _: bpe_tokenizer({b"a": 0}), ["256"]),
    "ranks with a gap": (
        lambda _: bpe_tokenizer(RANKS | {b"zz": 999}),
        ["0, 1, 2"],
    ),
    "a rank given twice": (
        lambda _: bpe_tokenizer(RANKS | {b"zz": 3}),
        ["once"],
    ),
    "an id that no token has": (
        lambda _: bpe_tokenizer(RANKS).decode([260]),
        ["260", "vocabulary"],
    ),
    "an id below 0, decoded": (
        lambda _: bpe_tokenizer(RANKS).decode([-1]),
        ["-1", "260"],
    ),
    "text for ids": (
        lambda _: bpe_tokenizer(RANKS).decode("one"),
        ["list of token ids", "'one'"],
    ),
    "one id for a list of ids": (
        lambda _: bpe_tokenizer(RANKS).decode(5),
        ["list", "5"],
    ),
    "a character that is not known": (
        lambda _: char_tokenizer("abc").encode("abz"),
        ["'z'", "vocabulary"],
    ),
    "the same, in a batch": (
        lambda _: char_tokenizer("abc").encode_batch(["a", "🐈"]),
        ["'🐈'", "vocabulary"],
    ),
    "a number for a text, by characters": (
        lambda _: char_tokenizer("abc").encode(5),
        ["string", "5"],
    ),
    "words for characters": (
        lambda _: CharTokenizer(["Once", "upon"]),
        ["characters", "'Once'"],
    ),
    "an id that no character has": (
        lambda _: char_tokenizer("abc").decode([0, 4]),
        ["4", "vocabulary"],
    ),
    "GPT-2's vocabulary without network": (
        lambda _: no_gpt2(),
        ["cache", "train_bpe"],
    ),
    "a .tiktoken file that is prose": (
        lambda f: BPETokenizer.load(text_file(f, "Once upon a time")),
        ["file", ".tiktoken", "base64", "line 1"],
    ),
    "a .tiktoken file that is empty": (
        lambda f: BPETokenizer.load(text_file(f, "")),
        ["256"],
    ),
    "a list of characters that is prose": (
        lambda f: CharTokenizer.load(text_file(f, "Once upon a time")),
        ["file", "list of characters"],
    ),
}
STORY_FILES = {
    "a story file in Latin-1": (
        lambda f: load_stories(text_file(f, b"caf\xe9 au lait")),
        ["UTF-8", "3"],
    ),
    "a story file of white space": (
        lambda f: load_stories(text_file(f, b" \n<|endoftext|>\n")),
        ["file", "no story"],
    ),
    "a story file ten times as large as the memory": (
        lambda f: with_8_gb(load_stories, large_file(f, 80)),
        ["file needs 400 GB", "has 8"],
    ),
    "one larger than what is free of it": (
        lambda f: with_1_gb_free(load_stories, large_file(f, 1)),
        ["file needs 5 GB", "1 are free", "close other programs"],
    ),
    "a device for a story file": (
        lambda _: load_stories(os.devnull),
        [os.devnull, "pipe or a device", "a file first"],
    ),
    "one story to split": (
        lambda _: split_stories(["a", "a"]),
        ["1", "valid_fraction"],
    ),
    "all stories held out": (
        lambda _: split_stories(["a", "b"], 1.0),
        ["2", "valid_fraction"],
    ),
    "more than all held out": (
        lambda _: split_stories(["a", "b"], 1.5),
        ["valid_fraction", "[0, 1]", "1.5"],
    ),
    "a vocabulary above 65,536": (
        lambda _: tokenize_stories(
            ["a"], CharTokenizer(list(map(chr, range(65536))))
        ),
        ["65537", "uint16"],
    ),
    "a window longer than the text": (
        lambda _: sample_batch(np.zeros(5, int), 2, 5, RNG),
        ["5 tokens", "windows of 5"],
    ),
    "a batch of no windows": (
        lambda _: sample_batch(np.zeros(9, int), 0, 5, RNG),
        ["B", ">= 1", "0"],
    ),
    "a seed for a random generator": (
        lambda _: sample_batch(np.zeros(9, int), 2, 5, rng=42),
        ["rng", "np.random.default_rng(42)"],
    ),
    "a list for the array of tokens": (
        lambda _: sample_batch([1, 2, 3, 4], 1, 2, RNG),
        ["(N,)", "[1, 2, 3, 4]"],
    ),
    "tokens without an end of a story": (
        lambda _: loop.evaluate_stories(np.array([3, 1, 2]), PARAMS, CONFIG),
        ["no story ends", "tokenize_stories"],
    ),
    "windows that start beyond the text": (
        lambda _: sample_batch(
            np.zeros(9, int), 2, 5, RNG, starts=np.array([7])
        ),
        ["0..3", "story_starts", "[7]"],
    ),
    "the hub stops answering": (
        lambda _: hub_that_hangs_up(),
        ["TinyStories did not arrive", "reset by peer", "take a file"],
    ),
}
TRAINING = {
    "no steps": (lambda _: settings(steps=0), ["steps", "1"]),
    "a batch of 2.5": (
        lambda _: settings(batch_size=2.5),
        ["batch_size", "2.5"],
    ),
    "a rate of 0": (lambda _: settings(lr=0), ["lr", "0", "positive"]),
    "a rate of NaN": (lambda _: settings(lr=NAN), ["lr", "nan"]),
    "a rate of 10 to the 400": (
        lambda _: settings(lr=10**400),
        ["lr", "1000"],
    ),
    "a warm-up below 0": (lambda _: settings(warmup=-1), ["warmup", "-1"]),
    "a final share above 1": (lambda _: settings(final=2), ["final", "2"]),
    "a beta of 1": (lambda _: settings(beta2=1), ["beta2", "1", "[0, 1)"]),
    "a negative decay": (
        lambda _: settings(weight_decay=-0.1),
        ["weight_decay", "-0.1"],
    ),
    "a norm of 0": (lambda _: settings(max_norm=0), ["max_norm", "0"]),
    "a seed below 0": (lambda _: settings(seed=-1), ["seed", "-1"]),
    "an unknown decay": (
        lambda _: settings(decay="cos"),
        ["cosine", "linear", "'cos'"],
    ),
    "unknown windows": (
        lambda _: settings(windows="all"),
        ["anywhere", "stories", "'all'"],
    ),
    "an unknown decay, in the schedule": (
        lambda _: training.learning_rate(9, 1.0, 2, 10, decay="cos"),
        ["cosine", "linear", "'cos'"],
    ),
    "a warm-up of 0.1 steps, in the schedule": (
        lambda _: training.learning_rate(0, 1.0, 0.1, 1000),
        ["warmup", "0.1"],
    ),
    "clip gradients to a norm below 0": (
        lambda _: training.clip_grad_norm({"a": np.ones(3)}, -1),
        ["max_norm", "positive", "-1"],
    ),
    "a model larger than the machine": (
        lambda _: with_8_gb(start_run, config(d_model=12 * 10**6), SETTINGS),
        ["GB", "the machine has 8", "smaller"],
    ),
    "a window longer than the model's reach": (
        lambda _: train_on(50, 50, seq_len=9),
        ["9", "max_seq_len", "8"],
    ),
    "too little to train on": (lambda _: train_on(4, 4), ["4 tokens", "of 4"]),
    "too little to measure on": (lambda _: train_on(50, 1), ["1", "2"]),
    "targets that do not fit the ids": (
        lambda _: training.train_step(
            start_run(CONFIG, SETTINGS),
            np.ones((2, 4), int),
            np.ones((2, 3), int),
            gradient=speed.batch_loss_and_grads,
        ),
        ["(2, 3)", "(2, 4)"],
    ),
    "nothing to evaluate": (
        lambda _: training.evaluate(np.zeros(0, int), PARAMS, CONFIG),
        ["0", "2"],
    ),
    "no stories to score": (
        lambda _: training.bits_per_byte(
            [],
            bpe_tokenizer(RANKS),
            PARAMS,
            config(vocab_size=260),
        ),
        ["stor"],
    ),
    "a tokenizer of another size": (
        lambda _: training.bits_per_byte(
            ["one"], bpe_tokenizer(RANKS), PARAMS, CONFIG
        ),
        ["260", "11"],
    ),
    "the loss becomes NaN": (
        lambda _: diverged(loss=NAN),
        ["step 0", "loss is nan", "start again", "0.002"],
    ),
    "a gradient becomes NaN": (
        lambda _: diverged(norm=NAN, first=NAN, second=NAN, third=1.0),
        ["step 0", "loss is 1", "second", "NaN or too large"],
    ),
    "save a run that has diverged": (
        save_diverged,
        ["params/final_norm.bias", "not finite", "not saved"],
    ),
}
CHECKPOINT_FILES = {
    "resume with other stories": (
        lambda f: resumed_with(f, tokens=np.zeros(60, np.uint16)),
        ["tokens", "not what this run began with", "same again"],
    ),
    "measure on other stories": (
        lambda f: resumed_with(f, valid_tokens=np.zeros(20, np.uint16)),
        ["valid_tokens", "not what this run began with"],
    ),
    "put another tokenizer beside a checkpoint": (
        lambda f: (
            bpe_tokenizer(train_bpe("one two six six", 260)).save(
                saved(f) / TOKENIZER
            ),
            load_run(f),
        ),
        [TOKENIZER, "not what this run began with"],
    ),
    "put one of another size there": (
        lambda f: (
            bpe_tokenizer(train_bpe("", 260)).save(saved(f) / TOKENIZER),
            load_run(f),
        ),
        ["257", "260"],
    ),
    "load where no checkpoint is": (
        lambda f: load_run(f / "nowhere"),
        ["no checkpoint", "nowhere", "train one"],
    ),
    **{
        what: (load_damaged(DAMAGES[what][0]), DAMAGES[what][1])
        for what in SAME_EVERYWHERE
    },
    "save where a file is in the way": (
        write_where_no_folder_can_be,
        ["in the way", "cannot be written", "choose a folder"],
    ),
    "save to a pipe": (
        write_to_a_pipe,
        [TOKENIZER, "device or a pipe", "stood there stays"],
    ),
    "save to a full disk": (
        write_to_a_full_disk,
        [TOKENIZER, "No space left", "what stood there stays", "make room"],
    ),
}
GENERATION = {
    "a temperature below 0": (
        lambda _: sample(temperature=-0.5),
        ["temperature", "-0.5", "0 or more"],
    ),
    "a temperature of NaN": (
        lambda _: sample(temperature=NAN),
        ["temperature", "nan"],
    ),
    "an infinite temperature": (
        lambda _: sample(temperature=INF),
        ["temperature", "inf"],
    ),
    "a temperature as text": (
        lambda _: sample(temperature="hot"),
        ["temperature", "'hot'"],
    ),
    "top_k of 0": (lambda _: sample(top_k=0), ["top_k", "0", ">= 1"]),
    "top_k of 2.5": (lambda _: sample(top_k=2.5), ["top_k", "2.5"]),
    "top_k NaN": (lambda _: check_sampling(top_k=NAN), ["top_k", "nan"]),
    "top_k infinite": (lambda _: check_sampling(top_k=INF), ["top_k", "inf"]),
    "top_p of 0": (lambda _: sample(top_p=0), ["top_p", "0"]),
    "top_p above 1": (lambda _: sample(top_p=1.5), ["top_p", "1.5"]),
    "top_p NaN": (lambda _: sample(top_p=NAN), ["top_p", "nan"]),
    "min_p above 1": (lambda _: sample(min_p=1.5), ["min_p", "1.5"]),
    "a penalty of 0": (
        lambda _: penalise_repeats(np.zeros(3), [1], 0),
        ["penalty", "positive", "0"],
    ),
    "a penalty of NaN": (
        lambda _: sample(repetition_penalty=NAN),
        ["penalty", "positive", "nan"],
    ),
    "a misspelt setting": (
        lambda _: sample(temprature=0.5),
        ["generate", "'temprature'", "temperature", "top_k"],
    ),
    "half a token to write": (
        lambda _: sample(n_tokens=0.5),
        ["n_tokens", "0.5"],
    ),
    **{
        f"a stop_id that is {what}": (
            lambda _, stop_id=stop_id: sample(stop_id=stop_id),
            ["stop_id", "one token id", "0..10", show(stop_id)],
        )
        for what, stop_id in {
            "a list": [0],
            "a tuple": (0, 1),
            "a set": {0},
            "text": "<|endoftext|>",
            "no token": 11,
            "true": True,
        }.items()
    },
    "a stop_id that is a list, in a batch": (
        lambda _: generate_batch([[1]], PARAMS, CONFIG, stop_id=[0]),
        ["stop_id", "[0]"],
    ),
    "a stop_id that is a list, with beams": (
        lambda _: beam_search([1], PARAMS, CONFIG, stop_id=[0]),
        ["stop_id", "[0]"],
    ),
    "beams of a model that has diverged": (
        lambda _: beam_search([1], DIVERGED, CONFIG),
        ["NaN", "older checkpoint"],
    ),
    "a batch of a model that has diverged": (
        lambda _: generate_batch([[1]], DIVERGED, CONFIG),
        ["NaN", "older checkpoint"],
    ),
    "logits with NaN": (
        lambda _: next_token_probs(np.array([1.0, NAN, 2.0])),
        ["logits", "NaN"],
    ),
    "logits with NaN, greedy": (
        lambda _: next_token_probs(np.array([1.0, NAN, 2.0]), temperature=0),
        ["logits", "NaN"],
    ),
    "logits of a batch": (
        lambda _: next_token_probs(np.zeros((1, 2))),
        ["(V,)", "[[0., 0.]]"],
    ),
    "an empty prompt": (
        lambda _: generate([], PARAMS, CONFIG),
        ["prompt", "one"],
    ),
    "an empty prompt, streamed": (
        lambda _: next(stream([], PARAMS, CONFIG)),
        ["prompt", "one"],
    ),
    "an empty prompt in a batch": (
        lambda _: generate_batch([[1], []], PARAMS, CONFIG),
        ["prompt", "one"],
    ),
    "an empty prompt, with beams": (
        lambda _: beam_search([], PARAMS, CONFIG),
        ["prompt", "one"],
    ),
    "no prompts": (
        lambda _: generate_batch([], PARAMS, CONFIG),
        ["prompt", "at least one"],
    ),
    "no beams": (
        lambda _: beam_search([1], PARAMS, CONFIG, n_beams=0),
        ["n_beams", "0"],
    ),
    "a billion beams": (
        lambda _: with_8_gb(beam_search, [1], PARAMS, CONFIG, n_beams=10**9),
        ["1000000000 beams", "715 GB", "has 8", "smaller"],
    ),
    "a prompt that is text": (
        lambda _: generate("Once", PARAMS, CONFIG),
        ["list of token ids", "'Once'"],
    ),
    "a prompt of fractions": (
        lambda _: generate([1, 2.5], PARAMS, CONFIG),
        ["token id", "integer", "2.5"],
    ),
    "a prompt as long as max_seq_len": (
        lambda _: generate([1] * 8, PARAMS, CONFIG),
        ["8 tokens", "max_seq_len"],
    ),
    "the same in a batch": (
        lambda _: generate_batch([[1], [1] * 9], PARAMS, CONFIG),
        ["9 tokens", "max_seq_len"],
    ),
    "the same, with beams": (
        lambda _: beam_search([1] * 8, PARAMS, CONFIG),
        ["8 tokens", "max_seq_len"],
    ),
    "a prompt of another tokenizer": (
        lambda _: generate([1, 300], PARAMS, CONFIG),
        ["300", "11", "tokenizer"],
    ),
    "a prompt with an id below 0": (
        lambda _: generate_batch([[1, -2]], PARAMS, CONFIG),
        ["-2", "11"],
    ),
    "more tokens than the cache has room for": (
        lambda _: fill_cache(),
        ["9", "max_seq_len", "8"],
    ),
}
PRETRAINED = {
    "a checkpoint of llama2.c cut short": (
        lambda f: read_llama2c(llama2c(f, cut=4)),
        ["19,632 bytes", "19,636", "again"],
    ),
    "another file in its place": (
        lambda f: read_llama2c(text_file(f, "a text " * 9)),
        ["no checkpoint of llama2.c", "stories260K.bin"],
    ),
    "more pieces than scores": (
        lambda _: LlamaTokenizer([b"a"] * 300, [0.0]),
        ["300 pieces", "1 scores", "one file"],
    ),
    "pieces that lack the bytes": (
        lambda _: LlamaTokenizer([b"a"] * 300, [0.0] * 300),
        ["256 single bytes", "in order"],
    ),
    "a piece of two words": (
        lambda _: LlamaTokenizer([*BYTES, b"once upon"], [0.0] * 260),
        ["once upon", "words"],
    ),
    "a tokenizer of llama2.c cut short": (
        lambda f: read_pieces(text_file(f, "1234567890")),
        ["not a whole tokenizer", "again"],
    ),
    "a model of another kind": (
        lambda f: load_pretrained(theirs(f, model_type="bert")),
        ["'bert'", "gpt2 and llama"],
    ),
    "a model with an activation we have not": (
        lambda f: load_pretrained(theirs(f, activation_function="silu")),
        ["activation", "silu", "gelu_new"],
    ),
    "a Llama with another base of RoPE": (
        lambda f: load_pretrained(theirs(f, LLAMA, rope_parameters=FAR)),
        ["rope_theta", "500000"],
    ),
    "a config.json that lacks a size": (
        lambda f: load_pretrained(theirs(f, n_head=None)),
        ["cannot be built", "n_heads"],
    ),
    "a config.json cut short": (
        lambda f: load_pretrained(theirs(f, cut="config.json")),
        ["config.json", "not a whole JSON file"],
    ),
    "a model.safetensors cut short": (
        lambda f: load_pretrained(theirs(f, cut="model.safetensors")),
        ["not a whole .safetensors file", "again"],
    ),
    "tensors of a smaller model": (
        lambda f: load_pretrained(theirs(f, n_layer=2)),
        ["no tensor", "h.1."],
    ),
    "tensors of another shape": (
        lambda f: load_pretrained(theirs(f, n_inner=5)),
        ["up.weight", "(12, 7)", "(12, 5)"],
    ),
    "a tokenizer of another kind": (
        lambda f: load_pretrained(theirs(f, words="WordPiece")),
        ["byte-level BPE", "WordPiece"],
    ),
    "`export` of a model without a counterpart": (
        lambda f: theirs(f, {"norm": "post"}),
        ["'post'", "no counterpart", "GPT-2"],
    ),
    "`export` with another tokenizer": (
        lambda f: export(a_run(), char_tokenizer("abc"), f / "out"),
        ["CharTokenizer", "no counterpart"],
    ),
    "`export` into a folder that holds files": (
        export_among_other_files,
        ["holds files", "--to"],
    ),
    "`llama` from a folder without its files": (
        lambda f: command("llama", "--folder", f / "d", "--from", f),
        ["stories260K.bin", "--from"],
    ),
    "`llama` twice": (
        fetch_twice,
        ["is there already", "--force"],
    ),
    "`gpt2` when the hub answers nonsense": (
        fetch_nonsense,
        ["gpt2 did not arrive", "FROM="],
    ),
}
COMMANDS = {
    "`data` twice": (
        lambda f: [
            command("data", "--folder", f, "--from", source)
            for source in [
                text_file(f, "<|endoftext|>".join(STORIES), "stories.txt")
            ]
            * 2
        ],
        ["has stories already", "--force"],
    ),
    "`train` twice": (train_twice, ["holds a run", "--resume", "--force"]),
    "`data` while it runs": (
        write_data_twice_at_once,
        ["another `data` command", "tinystories", "wait"],
    ),
    "`data` of a file without `<endoftext>`": (
        lambda f: command(
            *("data", "--folder", f, "--from", text_file(f, "A play.\n\nB."))
        ),
        ["one story", "<|endoftext|>"],
    ),
    "`train` on such a file": (
        lambda f: command(
            *("train", "--folder", f, "--stories", text_file(f, "A play."))
        ),
        ["one story", "<|endoftext|>"],
    ),
    "`train` in a folder with other files": (
        train_among_other_files,
        ["mine", "config.json", "no run", "another --name"],
    ),
    "`train --name ../project`": (
        lambda f: train_here(f, "--name=../project"),
        ["--name", "inside runs/", "'../project'"],
    ),
    "`train` where two write to one folder": (
        save_over_another,
        ["another program", "checkpoint.npz", "step 4 was not", "--resume"],
    ),
    "`train --force` while a program holds the folder": (
        replace_what_cannot_move,
        ["my-tiny cannot be written (Device", "what stood there stays"],
    ),
    "`train` on a disk without locks": (
        where_nothing_can_lock,
        ["cannot lock files", "No locks available", "another --folder"],
    ),
    "`train --resume --dropout 0.2`": (
        lambda f: resume(f, "--dropout=0.2"),
        ["only --steps, --lr and --max-norm", "dropout"],
    ),
    "`train --resume --like tinystories`": (
        lambda f: resume(f, "--like=tinystories"),
        ["only --steps", "not like"],
    ),
    "`train --resume --steps 3` after step 4": (
        resume_for_fewer_steps,
        ["has made 4 steps", "more"],
    ),
    "`train --resume` of a run without its optimizer": (
        resume_without_optimizer,
        ["without its optimizer", "train a new run"],
    ),
    "`train --resume` while it trains": (
        train_while_it_trains,
        ["another training", "my-tiny", "--name"],
    ),
    "`mpiexec` without mpi4py": (
        lambda _: found_by_mpiexec(NoMPI()),
        ["mpi4py does not work", 'pip install -e ".[mpi]"'],
    ),
    "`mpiexec` of another MPI than mpi4py's": (
        lambda _: found_by_mpiexec(mock.Mock(MPI=mock.Mock(**ONE_RANK))),
        ["started 2 processes", "knows of 1", "use the mpiexec"],
    ),
    "more processes than a batch has work for": (
        lambda f: train_in_a_team(f, "--batch-size=8", "--seq-len=4"),
        ["3 processes", "a batch of 8", "--batch-size 12"],
    ),
    "`generate --beams 3 --top-k 9`": (
        lambda f: command("generate", "--beams=3", "--top-k=9"),
        ["beam search draws nothing"],
    ),
    "`report` of a run that was never measured": (
        lambda f: command("report", "--run", saved(f / "my-tiny")),
        ["not been measured", "held-out", "ON=FILE"],
    ),
    "the same, where measured.json is damaged": (
        lambda f: report_on_damaged(f, "[]"),
        ["measured.json", "not what a report has written", "ON=FILE"],
    ),
    "`report` while `train --force` replaces the run": (
        report_on_replaced,
        ["my-tiny was replaced", "once more"],
    ),
    "`make exercises FRESH=99`": (
        lambda f: exercises.write_exercises(["99"], folder=f),
        ["'99'", "03"],
    ),
    "`make lessons FRESH=99`": (
        lambda f: copies.write_copies(["99"], folder=f),
        ["'99'", "03"],
    ),
    "`python -m helpers home workbook`": (
        lambda f: home.write_home("workbook"),
        ["'workbook'", "owner/name"],
    ),
}
DIGITS = {
    "a question with spaces": (
        lambda _: digit_operations.tokenize("Max(3, 1, 2)"),
        ["' '", "Max(3, 1, 2)", "without spaces"],
    ),
    "a question of two numbers": (
        lambda _: digit_operations.answer("Max(3,1)"),
        ["Max(3,1)", "three numbers"],
    ),
    "too few questions to hold some out": (
        lambda _: digit_operations.split_questions(["Max(3,1,2)"] * 9, RNG),
        ["1 distinct", "0.1", "more questions"],
    ),
    "an answer of two digits for the encoder": (
        lambda _: digit_operations.encoder_batch(["Max(3,12,2)"]),
        ["12", "one token", "decoder"],
    ),
    "an epoch after the last step": (
        lambda _: digit_operations.train_and_keep_best(
            mock.Mock(step=4, settings=SETTINGS), [], [], None, None
        ),
        ["all 4 steps", "new run"],
    ),
    "remove a head that is not there": (
        lambda _: digit_operations.without_heads(PARAMS, CONFIG, [(0, 3)]),
        ["head 3", "layer 0", "3 heads"],
    ),
}
ASSISTANT = {
    "a request for what no story has": (
        lambda _: assistant.grammar_for({"name": "Tom", "thing": "dragon"}),
        ["thing 'dragon'", "kite", "pumpkin"],
    ),
}
SECTIONS = {
    "The model and its loss": MODEL,
    "Texts and tokens": TEXTS,
    "Stories and batches": STORY_FILES,
    "Training": TRAINING,
    "Checkpoints and runs": CHECKPOINT_FILES,
    "Generation": GENERATION,
    "Somebody else's weights (A4)": PRETRAINED,
    "Commands": COMMANDS,
    "Digit operations (A1)": DIGITS,
    "Assistant (A5)": ASSISTANT,
}
ROWS = {
    f"{section}: {what}": row
    for section, rows in SECTIONS.items()
    for what, row in rows.items()
}


def error_of(call, folder):
    """Return what a call raises; with a quiet standard output."""
    with contextlib.redirect_stdout(None), pytest.raises(Exception) as caught:
        call(folder)
    return caught.value


def sentence(error, folder):
    """Return what an error says, without the path of the folder."""
    text = str(error)
    if from_the_system(error):
        text = f"{error.filename}: {error.strerror}"
    return text.replace(f"{folder}/", "").replace("|", "\\|")


def needs_dev_full(name):
    return "full disk" in name and not Path("/dev/full").exists()


@pytest.mark.parametrize("name", ROWS)
def test_row(name, tmp_path):
    if needs_dev_full(name):
        pytest.skip("only Linux has a disk that is always full")
    call, words = ROWS[name]
    error = error_of(call, tmp_path)
    assert_clear(error)
    assert not [word for word in words if word not in str(error)], str(error)


# --- the page that shows them ---

HEADER = """# What an error says

Each row is made by doing what it says; `tests/test_bad_input.py` holds the
calls, writes this page, and fails if a sentence has changed or if a `raise`
at a border has no row. Numbers and names are those of the test's small model
and files. What comes from the operating system reads `FILE: what it says`.
"""


def page(folder):
    """Return the page, one table a section, made by running every row."""
    parts = [HEADER]
    for section, rows in SECTIONS.items():
        parts.append(f"\n## {section}\n\n| what you did | what it says |")
        parts.append("|---|---|")
        for i, (what, (call, _)) in enumerate(rows.items()):
            place = folder / section.split()[0] / str(i)
            place.mkdir(parents=True)
            said = sentence(error_of(call, place), place)
            parts.append(f"| {what} | {said} |")
    return "\n".join(parts) + "\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="made on Linux")
def test_the_page_says_what_is_said(tmp_path):
    assert PAGE.read_text(encoding="utf-8") == page(tmp_path)


BORDERS = [
    *("attention", "embeddings", "transformer_block", "language_model"),
    *("tinystories", "training", "generation", "digit_operations"),
    "assistant",
    *("runs/guards", "runs/doors", "runs/files", "runs/speed"),
    *("runs/memory", "runs/folders"),
    *("runs/checkpoints", "runs/distributed", "runs/report"),
    *("stories/download", "stories/files", "__main__"),
    *("pretrained/folders", "pretrained/fetch"),
]


def test_every_raise_has_a_row(tmp_path):
    found = set()
    for i, (name, (call, _)) in enumerate(ROWS.items()):
        if not needs_dev_full(name):
            (tmp_path / str(i)).mkdir()
            found.add(origin(error_of(call, tmp_path / str(i))))
    for read in (cli.count, cli.whole_number):
        with pytest.raises(argparse.ArgumentTypeError) as caught:
            read("many")  # argparse turns it into its own sentence
        found.add(origin(caught.value))
    found |= {origin(refused_by(doors, name)) for name in REFUSED}
    missing = [
        f"helpers/{module}.py:{line}"
        for module in BORDERS
        for line in raises_of(str(HELPERS / f"{module}.py"))
        if (f"{module}.py", line) not in found
    ]
    assert not missing


# --- the doors, at which all this is said ---

REFUSED = {  # by doors of lesson 06, and by the functions they guard
    "evaluate": (np.zeros(0, int), PARAMS, CONFIG),
    "bits_per_byte": (
        [],
        bpe_tokenizer(RANKS),
        PARAMS,
        config(vocab_size=260),
    ),
    "start_run": (config(d_model=12 * 10**8), SETTINGS),
}


def refused_by(module, name):
    call = getattr(module, name)
    return error_of(lambda _: call(*REFUSED[name]), None)


@pytest.mark.parametrize("name", REFUSED)
def test_a_door_says_what_its_function_says(name):
    said = str(refused_by(doors, name))
    assert said == str(refused_by(training, name))


LESSONS = [
    importlib.import_module(f"helpers.{path.stem}")
    for path in sorted(HELPERS.glob("[a-z]*.py"))
]
NAMES = [
    name
    for name, thing in vars(doors).items()
    if getattr(thing, "__module__", None) == doors.__name__
    and name not in ("checked", "behind", "bring_kinds", "check_knobs")
]


def behind_door(name):
    """Return the functions and classes of that name, and methods."""
    kind, _, method = name.partition("_")
    found = [vars(module).get(name) for module in LESSONS]
    found += [
        vars(vars(module).get(kind, object)).get(method) for module in LESSONS
    ]
    return [thing for thing in found if thing is not None]


@pytest.mark.parametrize("name", NAMES)
def test_a_door_takes_the_arguments_of_what_it_guards(name):
    taken = inspect.signature(getattr(doors, name))
    guarded = behind_door(name)
    if any(is_dataclass(thing) for thing in guarded):
        assert len(taken.parameters) == 1  # the new object
        return
    calls = [
        thing.__init__ if inspect.isclass(thing) else thing
        for thing in guarded
    ]
    assert taken in [inspect.signature(call) for call in calls]


# --- files that cannot be read ---

GOOD_RANK = base64.b64encode(b"a").decode() + " 0\n"
TEXT_FILES = {
    "stories empty": (load_stories, b"", ["file", "no story"]),
    "stories utf-16": (load_stories, "Tim".encode("utf-16"), ["UTF-8"]),
    "ranks too few": (BPETokenizer.load, GOOD_RANK.encode(), ["256"]),
    "ranks not base64": (BPETokenizer.load, b"a*b 0", ["file", "base64"]),
    "ranks cut off": (
        BPETokenizer.load,
        GOOD_RANK[:-3].encode(),
        ["file", ".tiktoken"],
    ),
    "ranks not numbered": (BPETokenizer.load, b"YQ== x", ["file", "id"]),
    "ranks binary": (BPETokenizer.load, b"\x00\xff\x80", [".tiktoken"]),
    "characters a number": (
        CharTokenizer.load,
        b"5",
        ["file", "list of characters"],
    ),
    "characters as numbers": (
        CharTokenizer.load,
        b"[1, 2]",
        ["file", "list of characters"],
    ),
    "characters binary": (
        CharTokenizer.load,
        b"\x00\xff\x80",
        ["file", "list of characters"],
    ),
}


@pytest.mark.parametrize("name", TEXT_FILES)
def test_damaged_text_file(name, tmp_path):
    load, content, words = TEXT_FILES[name]
    path = text_file(tmp_path, content)
    error = error_of(lambda _: load(path), None)
    assert_clear(error)
    assert not [word for word in words if word not in str(error)], str(error)
    assert path.read_bytes() == content


def test_an_iterator_of_characters_is_refused_before_it_is_used_up():
    characters = iter("abc")
    assert_clear(error_of(lambda _: CharTokenizer(characters), None))
    assert "".join(characters) == "abc"


@pytest.mark.parametrize(
    "load",
    [
        load_stories,
        BPETokenizer.load,
        CharTokenizer.load,
        checkpoints.read_checkpoint,
        checkpoints.load_run,
    ],
)
def test_missing_file(load, tmp_path):
    error = error_of(lambda f: load(f / "nowhere"), tmp_path)
    assert isinstance(error, FileNotFoundError) and "nowhere" in str(error)
    assert_clear(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "load", [load_stories, BPETokenizer.load, checkpoints.read_checkpoint]
)
def test_folder_in_place_of_a_file(load, tmp_path):
    (tmp_path / "folder").mkdir()
    error = error_of(lambda f: load(f / "folder"), tmp_path)
    assert_clear(error)
    assert "folder" in str(error)


def test_run_without_its_tokenizer(tmp_path):
    save_run(tmp_path, start_run(CONFIG, SETTINGS))
    error = error_of(load_run, tmp_path)
    assert_clear(error)
    assert isinstance(error, FileNotFoundError) and TOKENIZER in str(error)


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_checkpoint(what, tmp_path):
    damage, words = DAMAGES[what]
    path = tmp_path / "model.npz"
    damage(path, write_checkpoint(path))
    before = path.read_bytes()
    error = error_of(lambda _: checkpoints.read_checkpoint(path), tmp_path)
    assert_clear(error)
    for word in ["model.npz", "use an older one", *words]:
        assert word in str(error), str(error)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_undamaged_checkpoint_loads(tmp_path):
    path = tmp_path / "model.npz"
    edit(lambda arrays: None)(path, write_checkpoint(path))
    assert checkpoints.read_checkpoint(path).config == CONFIG


# --- stories that were garbled on the way ---


@pytest.mark.parametrize(
    "text",
    [
        "“Hi,” he said…",
        "It’s a café",
        "naïve — “so”",
        "猫 and 🙂",
        "à É Í Ï Ð Ý",
        "café",
        "Привет, мир",
    ],
)
def test_mojibake_is_mended(text, tmp_path):
    """What UTF-8 read as Windows-1252 gives, whatever the C1 bytes became."""
    garbled = text.encode("utf-8").decode("cp1252", errors="replace")
    raw = [bytes([b]) for b in text.encode("utf-8")]
    loose = "".join(
        b.decode("latin-1" if b in b"\x81\x8d\x8f\x90\x9d" else "cp1252")
        for b in raw
    )
    path = text_file(tmp_path, f"{loose}\n<|endoftext|>\n{text}")
    assert load_stories(path) == [text, text]
    if "\ufffd" in garbled:  # what is lost is left alone
        path = text_file(tmp_path, garbled)
        assert load_stories(path) == [garbled]


@pytest.mark.parametrize(
    "text",
    [
        *("plain", "“Hi” café", "«CAFÉ»", "naïve", "Ã", "â€", "Âme â€œ“"),
        *("ÃÂ î", "JOSÉ’s dog", "OLÉ”", "CAFÉ…", "É\xa0", "SEÑ’", "é’”"),
    ],
)
def test_what_is_no_mojibake_stays(text):
    assert mend(text) == text


# --- how much memory there is ---


def memory_of(monkeypatch, folder, **files):
    """Let the system say what files/with/double__underscores say."""
    for name, text in files.items():
        path = folder.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name.replace("_in_", ".")).write_text(text)
    monkeypatch.setattr(memory, "PROC", folder / "proc")
    monkeypatch.setattr(memory, "GROUPS", folder / "groups")
    memory.memory_size.cache_clear()
    monkeypatch.setattr(memory, "memory_size", memory.memory_size.__wrapped__)
    return memory.memory_size(), memory.memory_free()


GB = 2**30
AVAILABLE = f"MemTotal: 9 kB\nMemAvailable: {3 * 2**20} kB\n"


def test_memory_without_a_system_that_says_more(monkeypatch, tmp_path):
    whole, free = memory_of(monkeypatch, tmp_path)
    assert 0 < whole <= free == memory.NO_LIMIT


def test_memory_of_a_container(monkeypatch, tmp_path):
    """The limit may be that of a group above; files can be given back."""
    whole, free = memory_of(
        monkeypatch,
        tmp_path,
        proc__meminfo=AVAILABLE,
        proc__self__cgroup="1:cpu:/x\n0::/a/b\n",
        groups__a__memory_in_max=f"{GB}\n",
        groups__a__memory_in_current=f"{GB // 2}\n",
        groups__a__memory_in_stat=f"anon 5\ninactive_file {GB // 4}\n",
        groups__a__b__memory_in_max="max\n",
    )
    assert (whole, free) == (GB, 3 * GB // 4)


def test_memory_of_an_older_container(monkeypatch, tmp_path):
    (tmp_path / "groups" / "memory").mkdir(parents=True)
    group = tmp_path / "groups" / "memory"
    (group / "memory.limit_in_bytes").write_text(f"{2 * GB}\n")
    (group / "memory.usage_in_bytes").write_text(f"{3 * GB}\n")
    whole, free = memory_of(
        monkeypatch,
        tmp_path,
        proc__meminfo=AVAILABLE,
        proc__self__cgroup="5:memory:/out/of/sight\n",
    )
    assert (whole, free) == (2 * GB, 0)


def test_needs_and_memory_are_never_the_same_number(monkeypatch):
    monkeypatch.setattr(memory, "memory_size", lambda: 24 * GB - 5)
    with pytest.raises(ValueError, match="24 GB .* the machine has 23.9;"):
        memory.check_room("this", 24 * GB - 4)
    memory.check_room("this", 2**27)


# --- texts that take long ---


def seconds(call, *args):
    began = time.perf_counter()
    with contextlib.suppress(ValueError):
        call(*args)
    return time.perf_counter() - began


@pytest.mark.parametrize(
    "text",
    [
        (" " * 99_999 + "a") * 10,
        "a" * 2_000_000,
        ("x" * 1000 + " ") * 2000,
        "\ufffd" * 1_000_000,
        "\n \t" * 500_000,
        "é" * 1_000_000,
    ],
    ids=["spaces", "a word", "long words", "odd signs", "lines", "accents"],
)
def test_a_text_of_megabytes_takes_seconds(text):
    """To look at, to encode, and to say no to."""
    assert seconds(guards.check_text, text) < 3
    assert seconds(guards.check_words, text) < 3
    assert seconds(bpe_tokenizer(RANKS).encode, text) < 5
    assert seconds(mend, text) < 3


def test_a_small_file_asks_for_no_memory(tmp_path):
    """However large the run is that it says it holds."""
    path = tmp_path / "model.npz"
    change = {"d_model": 12 * 2**14, "d_ff": 2**16, "vocab_size": 2**14}
    for name, value in change.items():
        edit_about(lambda a, n=name, v=value: a["config"].update({n: v}))(
            path, write_checkpoint(path)
        )
        tracemalloc.start()
        error = error_of(lambda _: checkpoints.read_checkpoint(path), None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert FITS in str(error) and peak < 2**21


# --- saves that fail half-way ---


@contextlib.contextmanager
def disk_full(n_bytes=100):
    """Let every write beyond n_bytes of a file fail, as on a full disk."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


SAVES = {
    "checkpoint": lambda folder: checkpoints.write_checkpoint(
        folder / CHECKPOINTS[0], a_run()
    ),
    "run": lambda folder: save_run(folder, a_run(), bpe_tokenizer(RANKS)),
    "ranks": lambda folder: bpe_tokenizer(
        train_bpe("other text " * 3, 262)
    ).save(folder / TOKENIZER),
    "characters": lambda folder: char_tokenizer(
        list(map(chr, range(300, 400)))
    ).save(folder / "characters.json"),
    "tokens": lambda folder: tokenize_stories(
        ["other text " * 9], bpe_tokenizer(RANKS), folder / "tokens.npy"
    ),
}


@pytest.mark.parametrize("name", SAVES)
def test_failed_save_leaves_the_old_file(name, tmp_path):
    saved(tmp_path)
    char_tokenizer("abc").save(tmp_path / "characters.json")
    tokenize_stories(["one"], bpe_tokenizer(RANKS), tmp_path / "tokens.npy")
    before = contents(tmp_path)
    with disk_full():
        error = error_of(SAVES[name], tmp_path)
    assert isinstance(error, OSError)
    assert_clear(error)
    assert contents(tmp_path) == before
    load_run(tmp_path)


@pytest.mark.parametrize("n_bytes", [50, 1000])
def test_failed_save_of_a_longer_log_leaves_the_old_one(n_bytes, tmp_path):
    """No room for config.json, or for log.csv."""
    saved(tmp_path)
    run = a_run()
    run.log *= 30
    before = contents(tmp_path)
    with disk_full(n_bytes), pytest.raises(OSError):
        save_run(tmp_path, run)
    assert contents(tmp_path) == before


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        text = page(Path(temporary))
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE.name}: {len(ROWS)} rows", file=sys.stderr)
