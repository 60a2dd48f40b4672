"""Bad input gets one clear sentence, and files stay as they were.

Each case calls a helper with one thing that is wrong. It must raise
ValueError or OSError, in one line that names what came and what was expected,
from our own code and with no second traceback before it. Loading never
changes a file, and a save that fails half-way leaves the old file whole.
"""

import base64
import contextlib
import json
import traceback

import numpy as np
import pytest
from tiktoken_ext import openai_public

from helpers import training
from helpers.attention import (
    causal_mask,
    multi_head_attention,
    scaled_dot_product_attention,
)
from helpers.borders import check_sampling
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
from helpers.language_model import (
    ModelConfig,
    cross_entropy,
    init_params,
    language_model,
)
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
SETTINGS = TrainSettings(steps=4, batch_size=2, seq_len=4, eval_every=2)
RANKS = train_bpe("one two one two", 260)
X = np.zeros((2, 5, 12), np.float32)
NAN = float("nan")


def config(**changes):
    return ModelConfig(**SIZES | changes)


def ask(ids):
    return language_model(np.array(ids), PARAMS, CONFIG)


def score(targets, shape=(2, 3, 11), **settings):
    return cross_entropy(np.zeros(shape), np.array(targets), **settings)


def attend(mask):
    q = np.zeros((1, 2, 3, 4))
    return scaled_dot_product_attention(q, q, q, mask=np.array(mask))


def sample(**settings):
    return generate([1, 2], PARAMS, CONFIG, n_tokens=2, **settings)


def fill_cache():
    kv = KVCache(PARAMS, CONFIG)
    next_logits(np.ones((1, 6), int), PARAMS, CONFIG, kv)
    return next_logits(np.ones((1, 3), int), PARAMS, CONFIG, kv)


def train_on(n_tokens, n_valid, **changes):
    tokens = np.zeros(n_tokens, np.uint16)
    settings = TrainSettings(
        **{"steps": 2, "batch_size": 2, "seq_len": 4} | changes
    )
    run = start_run(CONFIG, settings)
    return training.train(run, tokens, tokens[:n_valid], progress=False)


def assert_clear(error, words):
    message = str(error)
    assert message and "\n" not in message and len(message) < 300
    for word in words:
        assert word in message
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    assert "site-packages" not in last, "raised inside another library"
    assert error.__context__ is None or error.__suppress_context__


CASES = {
    # the model
    "id too large": (lambda: ask([[1, 99]]), ["99", "11"]),
    "id just too large": (lambda: ask([[11]]), ["id 11", "of 11"]),
    "negative id": (lambda: ask([[-1, 3]]), ["-1", "11"]),
    "negative id alone": (
        lambda: embedding(np.array([2, -3]), X[0]),
        ["-3", "5"],
    ),
    "fractional ids": (lambda: ask([[1.0, 2.0]]), ["integer", "float64"]),
    "too long": (lambda: ask([[1] * 9]), ["9", "max_seq_len", "8"]),
    "too long for the table": (
        lambda: learned_positions(X, X[0, :4]),
        ["5", "4"],
    ),
    "ids without a batch": (lambda: ask([1, 2]), ["(2,)", "(B, T)"]),
    "no ids": (lambda: ask(np.zeros((2, 0), int)), ["(2, 0)", "(B, T)"]),
    "heads": (lambda: config(n_heads=5), ["5", "12"]),
    "heads of attention": (
        lambda: multi_head_attention(X, {}, n_heads=7),
        ["7", "12"],
    ),
    "norm": (lambda: config(norm="both"), ["norm", "both", "pre", "post"]),
    "activation": (
        lambda: config(activation="swish"),
        ["activation", "swish", "gelu", "relu"],
    ),
    "positions": (
        lambda: config(positions="rotary"),
        ["positions", "rotary", "learned", "sinusoidal"],
    ),
    "dropout 1": (lambda: config(dropout=1), ["dropout", "1"]),
    "dropout below 0": (lambda: config(dropout=-0.1), ["dropout", "-0.1"]),
    "dropout NaN": (lambda: config(dropout=NAN), ["dropout", "nan"]),
    "no layers": (lambda: config(n_layers=0), ["n_layers", "0", ">= 1"]),
    "fractional size": (lambda: config(d_ff=2.5), ["d_ff", "2.5"]),
    "size as text": (lambda: config(d_model="12"), ["d_model", "'12'"]),
    "mask row": (
        lambda: attend([[True, False, True], [False] * 3, [True] * 3]),
        ["mask", "nothing", "at least one"],
    ),
    "mask from the model": (
        lambda: language_model(
            np.ones((1, 3), int), PARAMS, CONFIG, mask=~causal_mask(3)
        ),
        ["mask", "nothing", "at least one"],
    ),
    # the loss
    "all ignored": (lambda: score(np.full((2, 3), -100)), ["ignore_index"]),
    "target too large": (
        lambda: score([[0, 1, 2], [3, 4, 11]]),
        ["0..10", "11"],
    ),
    "negative target": (lambda: score([[0, 1, 2], [3, 4, -1]]), ["-1"]),
    "usual ignore_index not the one set": (
        lambda: score([[0, 1, 2], [3, 4, -100]], ignore_index=5),
        ["-100", "0..10"],
    ),
    "targets of another shape": (
        lambda: score([[0, 1], [3, 4]]),
        ["(2, 2)", "(2, 3"],
    ),
    # tokenizers
    "vocabulary too small": (
        lambda: train_bpe("some text", 256),
        ["256", "257"],
    ),
    "vocabulary too small for two": (
        lambda: train_bpe("some text", 257, ("<a>", "<b>")),
        ["257", "258"],
    ),
    "ranks without bytes": (lambda: bpe_tokenizer({b"a": 0}), ["256"]),
    "ranks without one byte": (
        lambda: bpe_tokenizer({k: v for k, v in RANKS.items() if v != 7}),
        ["256"],
    ),
    "ranks with a gap": (
        lambda: bpe_tokenizer(RANKS | {b"zz": 999}),
        ["0, 1, 2"],
    ),
    "ranks twice": (lambda: bpe_tokenizer(RANKS | {b"zz": 3}), ["once"]),
    "unknown character": (
        lambda: char_tokenizer("abc").encode("abz"),
        ["'z'", "vocabulary"],
    ),
    "unknown character in a batch": (
        lambda: char_tokenizer("abc").encode_batch(["a", "🐈"]),
        ["'🐈'", "vocabulary"],
    ),
    "decode": (
        lambda: bpe_tokenizer(RANKS).decode([260]),
        ["260", "vocabulary"],
    ),
    "decode below 0": (
        lambda: bpe_tokenizer(RANKS).decode([-1]),
        ["-1", "260"],
    ),
    "decode a character": (
        lambda: char_tokenizer("abc").decode([0, 4]),
        ["4", "vocabulary"],
    ),
    "decode a character below 0": (
        lambda: char_tokenizer("abc").decode([-1]),
        ["-1", "vocabulary"],
    ),
    # stories
    "one story": (lambda: split_stories(["a", "a"]), ["1", "valid_fraction"]),
    "all for validation": (
        lambda: split_stories(["a", "b"], 1.0),
        ["2", "valid_fraction"],
    ),
    "too few tokens": (
        lambda: sample_batch(np.zeros(5), 2, 5, np.random.default_rng(0)),
        ["5 tokens", "windows of 5"],
    ),
    "vocabulary too large": (
        lambda: tokenize_stories(["a"], CharTokenizer(map(chr, range(65536)))),
        ["65537", "uint16"],
    ),
    # training
    "decay": (
        lambda: training.learning_rate(9, 1.0, 2, 10, decay="cos"),
        ["cosine", "linear", "'cos'"],
    ),
    "decay, before anything runs": (
        lambda: TrainSettings(decay="cos"),
        ["cosine", "linear", "'cos'"],
    ),
    "no steps": (lambda: TrainSettings(steps=0), ["steps", "1"]),
    "fractional batch": (
        lambda: TrainSettings(batch_size=2.5),
        ["batch_size", "2.5"],
    ),
    "rate 0": (lambda: TrainSettings(lr=0), ["lr", "0"]),
    "rate NaN": (lambda: TrainSettings(lr=NAN), ["lr", "nan"]),
    "too little to train on": (lambda: train_on(4, 4), ["4 tokens", "of 4"]),
    "windows too long for the model": (
        lambda: train_on(50, 50, seq_len=9),
        ["9", "max_seq_len", "8"],
    ),
    "too little to validate on": (lambda: train_on(50, 1), ["1", "2"]),
    "nothing to evaluate": (
        lambda: training.evaluate(np.zeros(0, int), PARAMS, CONFIG),
        ["0", "2"],
    ),
    "no stories to score": (
        lambda: training.bits_per_byte(
            [], bpe_tokenizer(RANKS), PARAMS, CONFIG
        ),
        ["stor"],
    ),
    # generation
    "top_p 0": (lambda: sample(top_p=0), ["top_p", "0"]),
    "top_p above 1": (lambda: sample(top_p=1.5), ["top_p", "1.5"]),
    "top_p NaN": (lambda: sample(top_p=NAN), ["top_p", "nan"]),
    "min_p above 1": (lambda: sample(min_p=1.5), ["min_p", "1.5"]),
    "temperature below 0": (
        lambda: sample(temperature=-0.5),
        ["temperature", "-0.5", "0 or more"],
    ),
    "temperature NaN": (
        lambda: sample(temperature=NAN),
        ["temperature", "nan"],
    ),
    "temperature infinite": (
        lambda: sample(temperature=float("inf")),
        ["temperature", "inf"],
    ),
    "top_k 0": (lambda: sample(top_k=0), ["top_k", "0", ">= 1"]),
    "top_k fractional": (lambda: sample(top_k=2.5), ["top_k", "2.5"]),
    "top_k NaN": (lambda: check_sampling(top_k=NAN), ["top_k", "nan"]),
    "top_k infinite": (
        lambda: check_sampling(top_k=float("inf")),
        ["top_k", "inf"],
    ),
    "penalty 0": (
        lambda: penalise_repeats(np.zeros(3), [1], 0),
        ["penalty", "positive", "0"],
    ),
    "penalty NaN": (
        lambda: sample(repetition_penalty=NAN),
        ["penalty", "positive", "nan"],
    ),
    "logits NaN": (
        lambda: next_token_probs(np.array([1.0, NAN, 2.0])),
        ["logits", "NaN"],
    ),
    "logits NaN, greedy": (
        lambda: next_token_probs(np.array([1.0, NAN, 2.0]), temperature=0),
        ["logits", "NaN"],
    ),
    "empty prompt": (lambda: generate([], PARAMS, CONFIG), ["prompt", "one"]),
    "empty prompt, streamed": (
        lambda: next(stream([], PARAMS, CONFIG)),
        ["prompt", "one"],
    ),
    "empty prompt in a batch": (
        lambda: generate_batch([[1], []], PARAMS, CONFIG),
        ["prompt", "one"],
    ),
    "no prompts": (lambda: generate_batch([], PARAMS, CONFIG), ["prompt"]),
    "empty prompt, beams": (
        lambda: beam_search([], PARAMS, CONFIG),
        ["prompt", "one"],
    ),
    "no beams": (
        lambda: beam_search([1], PARAMS, CONFIG, n_beams=0),
        ["n_beams", "0"],
    ),
    "prompt too long": (
        lambda: generate([1] * 8, PARAMS, CONFIG),
        ["8 tokens", "max_seq_len"],
    ),
    "prompt too long in a batch": (
        lambda: generate_batch([[1], [1] * 9], PARAMS, CONFIG),
        ["9 tokens", "max_seq_len"],
    ),
    "prompt too long, beams": (
        lambda: beam_search([1] * 8, PARAMS, CONFIG),
        ["8 tokens", "max_seq_len"],
    ),
    "prompt of another tokenizer": (
        lambda: generate([1, 300], PARAMS, CONFIG),
        ["300", "11", "tokenizer"],
    ),
    "negative prompt": (
        lambda: generate_batch([[1, -2]], PARAMS, CONFIG),
        ["-2", "11"],
    ),
    "cache full": (fill_cache, ["9", "max_seq_len", "8"]),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_value(name):
    call, words = CASES[name]
    with pytest.raises(ValueError) as caught:
        call()
    assert_clear(caught.value, words)


def test_gpt2_without_network(monkeypatch):
    def gpt2():
        raise ConnectionError("a long story\nabout sockets")

    monkeypatch.setattr(openai_public, "gpt2", gpt2)
    with pytest.raises(OSError) as caught:
        gpt2_tokenizer()
    assert_clear(caught.value, ["cache", "train_bpe"])


# --- files that cannot be read ---

GOOD_RANK = base64.b64encode(b"a").decode() + " 0\n"
TEXT_FILES = {
    "stories empty": (load_stories, b"", ["file", "no story"]),
    "stories blank": (load_stories, b" \n<|endoftext|>\n", ["no story"]),
    "stories latin-1": (load_stories, b"caf\xe9 au lait", ["UTF-8", "3"]),
    "stories utf-16": (load_stories, "Tim".encode("utf-16"), ["UTF-8"]),
    "ranks empty": (BPETokenizer.load, b"", ["256"]),
    "ranks too few": (BPETokenizer.load, GOOD_RANK.encode(), ["256"]),
    "ranks as prose": (
        BPETokenizer.load,
        b"Once upon a time",
        ["file", ".tiktoken", "base64"],
    ),
    "ranks not base64": (BPETokenizer.load, b"a*b 0", ["file", "base64"]),
    "ranks cut off": (
        BPETokenizer.load,
        GOOD_RANK[:-3].encode(),
        ["file", ".tiktoken"],
    ),
    "ranks not numbered": (BPETokenizer.load, b"YQ== x", ["file", "id"]),
    "ranks binary": (BPETokenizer.load, b"\x00\xff\x80", [".tiktoken"]),
    "characters as prose": (
        CharTokenizer.load,
        b"Once upon a time",
        ["file", "list of characters"],
    ),
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
    "characters as words": (
        CharTokenizer.load,
        b'["Once", "upon"]',
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
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load(path)
    assert_clear(caught.value, words)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "load",
    [
        load_stories,
        BPETokenizer.load,
        CharTokenizer.load,
        training.load_checkpoint,
        training.load_run,
    ],
)
def test_missing_file(load, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load(tmp_path / "nowhere")
    assert_clear(caught.value, ["nowhere"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "load", [load_stories, BPETokenizer.load, training.load_checkpoint]
)
def test_folder_in_place_of_a_file(load, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises((OSError, ValueError)) as caught:
        load(tmp_path / "folder")
    assert_clear(caught.value, ["folder"])


def test_run_without_its_tokenizer(tmp_path):
    training.save_run(tmp_path, start_run(CONFIG, SETTINGS))
    with pytest.raises(FileNotFoundError) as caught:
        training.load_run(tmp_path)
    assert_clear(caught.value, ["tokenizer.tiktoken"])


# --- checkpoints ---


def write_checkpoint(path):
    run = start_run(CONFIG, SETTINGS)
    training.save_checkpoint(path, run)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def edit(change):
    """Return a damage that changes the arrays of a checkpoint."""

    def damage(path, arrays):
        change(arrays)
        with open(path, "wb") as file:
            np.savez(file, **arrays)

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
    """Change one byte in the middle of an array."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
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


NAME = "params/final_norm.bias"
DAMAGES = {
    "empty": cut(0),
    "first tenth": cut(0.1),
    "half": cut(0.5),
    "almost whole": cut(0.99),
    "one byte": flip,
    "encrypted": encrypt,
    "text, renamed": lambda path, _: path.write_text("Once upon a time.\n"),
    "zip magic, then text": lambda path, _: path.write_bytes(b"PK\3\4 Once"),
    "array, renamed": numpy_array,
    "pickled": pickled,
    "nothing about it": edit(lambda a: a.pop("about")),
    "about as prose": edit(lambda a: a.update(about=np.array("Once"))),
    "about a list": edit(lambda a: a.update(about=np.array("[1]"))),
    "setting unknown": edit_about(lambda a: a["config"].update(moe=8)),
    "setting missing": edit_about(lambda a: a["config"].pop("d_ff")),
    "config impossible": edit_about(lambda a: a["config"].update(n_heads=5)),
    "rng unknown": edit_about(lambda a: a["rng"].update(bit_generator="X")),
    "step missing": edit_about(lambda a: a.pop("step")),
    "array missing": edit(lambda a: a.pop(NAME)),
    "another shape": edit(lambda a: a.update({NAME: np.zeros(5)})),
    "another config": edit_about(lambda a: a["config"].update(d_model=24)),
    "optimizer half": edit(lambda a: a.pop(NAME.replace("params", "square"))),
}
NOT_FITTING = {
    "array missing": [NAME, "missing", "(12,)"],
    "another shape": [NAME, "(5,)", "(12,)"],
    "another config": ["(11, 12)", "(11, 24)"],
    "optimizer half": ["square/final_norm.bias", "missing", "(12,)"],
    "config impossible": ["5 heads"],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_checkpoint(name, tmp_path):
    path = tmp_path / "model.npz"
    DAMAGES[name](path, write_checkpoint(path))
    before = path.read_bytes()
    with pytest.raises(ValueError) as caught:
        training.load_checkpoint(path)
    words = NOT_FITTING.get(name, ["not a whole checkpoint"])
    assert_clear(caught.value, ["model.npz", *words])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_undamaged_checkpoint_loads(tmp_path):
    path = tmp_path / "model.npz"
    edit(lambda arrays: None)(path, write_checkpoint(path))
    assert training.load_checkpoint(path).config == CONFIG


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
    """All files but what *.partial holds, which nobody reads."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.suffix != ".partial"
    }


def trained_run(steps=4):
    run = start_run(CONFIG, SETTINGS)
    tokens = np.random.default_rng(0).integers(0, 11, 60).astype(np.uint16)
    training.train(run, tokens, tokens[:20], progress=False)
    return run


SAVES = {
    "checkpoint": lambda folder: training.save_checkpoint(
        folder / "checkpoint.npz", trained_run()
    ),
    "run": lambda folder: training.save_run(
        folder, trained_run(), bpe_tokenizer(RANKS)
    ),
    "ranks": lambda folder: bpe_tokenizer(
        train_bpe("other text " * 3, 262)
    ).save(folder / "tokenizer.tiktoken"),
    "characters": lambda folder: char_tokenizer(
        map(chr, range(300, 400))
    ).save(folder / "characters.json"),
    "tokens": lambda folder: tokenize_stories(
        ["other text " * 9], bpe_tokenizer(RANKS), folder / "tokens.npy"
    ),
}


@pytest.mark.parametrize("name", SAVES)
def test_failed_save_leaves_the_old_file(name, tmp_path):
    tokenizer = bpe_tokenizer(RANKS)
    training.save_run(tmp_path, start_run(CONFIG, SETTINGS), tokenizer)
    char_tokenizer("abc").save(tmp_path / "characters.json")
    tokenize_stories(["one"], tokenizer, tmp_path / "tokens.npy")
    before = contents(tmp_path)
    with pytest.raises(OSError), disk_full():
        SAVES[name](tmp_path)
    assert contents(tmp_path) == before
    training.load_run(tmp_path)


@pytest.mark.parametrize(
    "part, n_bytes", [("config.json", 50), ("log.csv", 1000)]
)
def test_old_file_stays_when_a_small_one_fails(
    part, n_bytes, tmp_path, monkeypatch
):
    """The checkpoint is written, then the disk is full."""
    run, tokenizer = trained_run(), bpe_tokenizer(RANKS)
    run.log *= 30
    training.save_run(tmp_path, start_run(CONFIG, SETTINGS), tokenizer)
    before = contents(tmp_path)
    real = training.save_checkpoint

    def save_then_fill(*args, **settings):
        real(*args, **settings)
        stack.enter_context(disk_full(n_bytes))

    monkeypatch.setattr(training, "save_checkpoint", save_then_fill)
    with contextlib.ExitStack() as stack, pytest.raises(OSError):
        training.save_run(tmp_path, run, tokenizer)
    assert contents(tmp_path)[part] == before[part]
    assert training.load_run(tmp_path)[0].log == run.log


def test_save_into_a_place_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError) as caught:
        training.save_run(tmp_path / "file", start_run(CONFIG, SETTINGS))
    assert_clear(caught.value, ["file"])
    assert (tmp_path / "file").read_text() == "in the way"
