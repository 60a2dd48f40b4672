"""Whatever comes to a border, a result or one clear sentence leaves it.

`make test` sends over 20,000 inputs, the same ones each time; `make fuzz`
sends new ones, some sixteen times as many. FUZZ counts the examples, each of
which goes to several borders. An error must be a ValueError or OSError of one
sentence from a raise of our own: nothing from inside NumPy, tiktoken or torch.
"""

import contextlib
import io
import json
import math
import os
import re
import sys
import warnings
import zipfile
from dataclasses import replace
from fractions import Fraction

import nbformat
import numpy as np
import pytest
from clear import assert_clear
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from nbformat.v4 import new_code_cell, new_notebook

from helpers import __main__ as cli
from helpers import tinystories, training
from helpers.checks import exercises, kernels
from helpers.generation import (
    beam_search,
    generate,
    generate_batch,
    next_token_probs,
    penalise_repeats,
)
from helpers.language_model import (
    ModelConfig,
    cross_entropy,
    init_params,
    language_model,
)
from helpers.panel import sampling_panel
from helpers.runs import checkpoints, files, loop, report
from helpers.stories import download
from helpers.stories.files import mend
from helpers.stories.grammar import tell_stories
from helpers.tinystories import (
    END_OF_TEXT,
    BPETokenizer,
    CharTokenizer,
    bpe_tokenizer,
    char_tokenizer,
    encode_word,
    load_stories,
    sample_batch,
    split_stories,
    tokenize_stories,
    train_bpe,
)
from helpers.training import TrainSettings, start_run

INPUTS = int(os.environ.get("FUZZ", 6200))
STORIES = tell_stories(20)
RANKS = train_bpe(END_OF_TEXT.join(STORIES), 300)
TOKENIZER = bpe_tokenizer(RANKS)
CONFIG = ModelConfig(
    vocab_size=300, max_seq_len=16, d_model=8, n_heads=2, n_layers=1, d_ff=8
)
PARAMS = init_params(CONFIG, np.random.default_rng(0))
SHORT = TrainSettings(steps=2, batch_size=2, seq_len=8, eval_every=1)
answers = 0


@pytest.fixture(autouse=True)
def count_inputs(request):
    """Tell the summary how many inputs a test has sent."""
    before = answers
    yield
    request.node.user_properties.append(("fuzzed", answers - before))


def fuzz(share, **strategies):
    """Send a share of all inputs, in thousandths, to a test."""

    def decorate(test):
        limits = settings(
            max_examples=max(INPUTS * share // 1000, 1),
            suppress_health_check=list(HealthCheck),
            derandomize="FUZZ" not in os.environ,
            deadline=None,
        )
        return limits(given(**strategies)(test))

    return decorate


def answer(call, *args, **options):
    """Return the result of a call, or None after a clear error."""
    global answers
    answers += 1
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call(*args, **options)
        except (ValueError, OSError) as error:
            assert_clear(error)


# --- what comes ---

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
SPECIAL = [END_OF_TEXT, "<|", "|>", " ", "\n", "\t", "'s", "'", "\0", "\ufeff"]
SPECIAL += ["é", "🙂", "e\u0301", "â€œ", "Ã©", "\x9d", "\ufffd", "\ud83d", "9"]
TEXT = ANY_TEXT | st.lists(st.sampled_from(SPECIAL), max_size=12).map("".join)
ODD = [
    *(None, True, "", "0.5", b"", b"one", [], (), {}, object(), range(3)),
    *(math.nan, math.inf, -math.inf, 5e-324, 1e308, -0.0, 10**400, -(10**30)),
    *(1j, Fraction(1, 3), np.float32(0.5), np.int64(3), np.array(2)),
    *(np.array([1.0, 2.0]), np.array([], int), [[1], [2, 3]], [None]),
]
JUNK = (
    st.sampled_from(ODD)
    | st.integers(-3, 40)
    | st.integers()
    | st.floats()
    | st.floats(0, 1)
    | TEXT
)
COUNTS = JUNK.filter(  # what is possible, but takes hours, is no bad input
    lambda value: type(value) is not int or not 64 < value < 2**45
)
ARRAYS = npst.arrays(
    st.sampled_from(["i8", "u2", "u8", "f4", "f8", "?", "U2", "c8", "O"]),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
    elements=None,
)
TOKENS = npst.arrays("u2", st.integers(0, 30), elements=st.integers(0, 310))
IDS = st.lists(st.integers(-2, 305), max_size=18)
PROMPT = st.lists(st.integers(0, 299), min_size=1, max_size=15)
A_TEXT_OR_JUNK = TEXT | JUNK


def some_of(**strategies):
    """Draw a dict with some of the names."""
    return st.fixed_dictionaries({}, optional=strategies)


# --- tokenizers ---


@fuzz(100, text=TEXT)
def test_every_text_comes_back(text):
    ids = answer(TOKENIZER.encode, text)
    if ids is None:
        with pytest.raises(UnicodeEncodeError):
            text.encode("utf-8")
    else:
        assert TOKENIZER.decode(ids) == text
        assert TOKENIZER.end_of_text not in ids
        assert answer(TOKENIZER.encode_batch, [text, text]) == [ids, ids]


@fuzz(60, data=st.binary(max_size=40))
def test_every_byte_string_comes_back(data):
    tokens = list(RANKS)
    ids = answer(encode_word, data, RANKS)
    assert b"".join(tokens[i] for i in ids) == data
    text = data.decode("utf-8", errors="replace")
    assert answer(TOKENIZER.decode, ids) == text
    assert answer(TOKENIZER.decode, list(data)) == text


@fuzz(40, text=ANY_TEXT, more=ANY_TEXT)
def test_characters_come_back_or_are_named(text, more):
    tokenizer = answer(char_tokenizer, text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    ids = answer(tokenizer.encode, more)
    assert (ids is None) == bool(set(more) - set(text))


@fuzz(90, value=JUNK, values=st.lists(JUNK, max_size=3), ids=IDS)
def test_tokenizers_take_anything(value, values, ids):
    for tokenizer in (TOKENIZER, char_tokenizer("abc")):
        answer(tokenizer.encode, value)
        answer(tokenizer.encode_batch, value)
        answer(tokenizer.encode_batch, values)
        answer(tokenizer.decode, value)
        answer(tokenizer.decode, values)
        answer(tokenizer.decode, ids)
    answer(bpe_tokenizer, value)
    answer(char_tokenizer, value)
    answer(CharTokenizer, values)


@fuzz(
    30,
    text=A_TEXT_OR_JUNK,
    size=st.integers(250, 300) | JUNK,
    special=st.just((END_OF_TEXT,)) | st.lists(TEXT, max_size=2) | JUNK,
)
def test_training_a_tokenizer(text, size, special):
    ranks = answer(train_bpe, text, size, special)
    if ranks is not None:
        assert len(ranks) <= size - len(special)
        tokenizer = answer(bpe_tokenizer, ranks)
        assert tokenizer.decode(tokenizer.encode(text)) == text


@fuzz(20, change=st.dictionaries(JUNK.filter(lambda v: v.__hash__), JUNK))
def test_ranks_with_odd_entries(change):
    answer(bpe_tokenizer, RANKS | change)
    ranks = {token: rank for token, rank in RANKS.items() if rank != 7}
    answer(bpe_tokenizer, ranks | change)


# --- files of text ---


def spoiled(content):
    """Draw content with a piece cut out, doubled or replaced."""

    def spoil(where, length, new):
        place = round(where * len(content))
        return content[:place] + new + content[place + length :]

    return st.builds(
        spoil, st.floats(0, 1), st.integers(0, 600), st.binary(max_size=9)
    )


STORY_FILE = END_OF_TEXT.join(["One “day”.", "Café, é.", "Tim sat."]).encode()


@fuzz(30, content=st.binary(max_size=60) | spoiled(STORY_FILE))
def test_story_files(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "stories.txt"
    path.write_bytes(content)
    stories = answer(load_stories, path)
    assert stories is None or all(s == s.strip() != "" for s in stories)
    assert path.read_bytes() == content


def file_of(tokenizer, folder):
    tokenizer.save(folder / "saved")
    return (folder / "saved").read_bytes()


@fuzz(40, draw=st.data())
def test_tokenizer_files(draw, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    for tokenizer in (TOKENIZER, char_tokenizer("abc é")):
        content = draw.draw(
            st.binary(max_size=60) | spoiled(file_of(tokenizer, folder))
        )
        (folder / "file").write_bytes(content)
        for kind in (BPETokenizer, CharTokenizer):
            loaded = answer(kind.load, folder / "file")
            if loaded is not None:
                loaded.encode("")


@fuzz(40, text=TEXT)
def test_mending(text):
    mended = answer(mend, text)
    if mended != text:  # only what UTF-8 read as Windows-1252 can be
        back = mended.encode("utf-8").decode("cp1252", errors="replace")
        assert len(back) == len(text)
    with contextlib.suppress(UnicodeError):
        garbled = text.encode("utf-8").decode("cp1252")
        meant = not re.search("[ÂÃâð]", garbled)  # a sign that may be meant
        meant = meant and not re.search("[^\0-\x7f]{2}", text)
        assert answer(mend, garbled) == (garbled if meant else text)


# --- stories and batches ---


@fuzz(
    40,
    stories=st.lists(TEXT, max_size=6) | JUNK | st.lists(JUNK, max_size=3),
    fraction=st.floats(0, 1) | JUNK,
    seed=st.integers(0, 9) | JUNK,
)
def test_splitting_and_joining(stories, fraction, seed):
    parts = answer(split_stories, stories, fraction, seed)
    if parts is not None:
        assert not set(parts[0]) & set(parts[1])
        assert set(parts[0]) | set(parts[1]) == set(stories)
    tokens = answer(tokenize_stories, stories, TOKENIZER)
    if tokens is not None:
        assert (tokens == TOKENIZER.end_of_text).sum() == len(stories) + 1


@fuzz(
    70,
    tokens=TOKENS | ARRAYS | JUNK,
    B=st.integers(1, 4) | COUNTS,
    T=st.integers(1, 9) | JUNK,
    starts=st.none() | st.none() | TOKENS | ARRAYS | JUNK,
)
def test_batches(tokens, B, T, starts):
    rng = np.random.default_rng(0)
    batch = answer(sample_batch, tokens, B, T, rng, starts)
    if batch is not None:
        ids, targets = batch
        assert ids.shape == targets.shape == (B, T)
        answer(language_model, ids, PARAMS, CONFIG)
        run = start_run(CONFIG, SHORT)
        answer(training.train_step, run, ids, targets)


# --- settings ---

FIELDS = dict.fromkeys(ModelConfig.__dataclass_fields__, JUNK)
NUMBERS = ["vocab_size", "max_seq_len", "d_model", "n_heads", "n_layers"]
FIELDS |= {name: st.sampled_from([1, 2, 6, 8]) | COUNTS for name in NUMBERS}
FIELDS["d_ff"] = COUNTS
FIELDS["norm"] = st.sampled_from(["pre", "post"]) | JUNK
FIELDS["positions"] = st.sampled_from(["learned", "sinusoidal"]) | JUNK


@fuzz(80, changes=some_of(**FIELDS))
def test_model_configs(changes):
    config = answer(replace, CONFIG, **changes)
    run = config and answer(start_run, config, SHORT)
    if run is not None:
        ids = np.zeros((1, 1), int)
        logits, _ = answer(language_model, ids, run.params, config)
        assert logits.shape == (1, 1, config.vocab_size)
        json.dumps(checkpoints.describe_run(run))


@fuzz(
    80,
    changes=some_of(**dict.fromkeys(TrainSettings.__dataclass_fields__, JUNK)),
)
def test_train_settings(changes):
    chosen = answer(replace, SHORT, **changes)
    run = chosen and answer(start_run, CONFIG, chosen)
    if run is not None:
        ids = np.zeros((1, 4), int)
        answer(training.train_step, run, ids, ids)
        json.dumps(checkpoints.describe_run(run))


# --- arrays ---


@fuzz(70, ids=ARRAYS | IDS | JUNK, targets=ARRAYS)
def test_the_model_takes_any_array(ids, targets):
    answer(language_model, ids, PARAMS, CONFIG)
    answer(cross_entropy, np.zeros((*targets.shape, 7)), targets)
    run = start_run(CONFIG, SHORT)
    answer(training.train_step, run, ids, targets)
    answer(training.train_step, run, targets, targets)


@fuzz(
    30,
    tokens=TOKENS | ARRAYS | JUNK,
    B=st.integers(1, 4) | JUNK,
    T=st.none() | st.integers(1, 20) | JUNK,
)
def test_evaluation(tokens, B, T):
    loss = answer(training.evaluate, tokens, PARAMS, CONFIG, B, T)
    assert loss is None or loss > 0
    answer(loop.evaluate_stories, tokens, PARAMS, CONFIG)


# --- sampling ---

SAMPLING = some_of(
    temperature=st.floats(0, 3) | JUNK,
    top_k=st.none() | st.integers(1, 9) | JUNK,
    top_p=st.none() | st.floats(0, 1) | JUNK,
    min_p=st.none() | st.floats(0, 1) | JUNK,
)
LOGITS = npst.arrays(
    st.just("f4"), st.integers(0, 9), elements=st.floats(width=32)
)


@fuzz(100, logits=LOGITS | ARRAYS | JUNK, options=SAMPLING)
def test_sampling_settings(logits, options):
    probs = answer(next_token_probs, logits, **options)
    if probs is not None:
        assert probs.ndim == 1 and abs(probs.sum() - 1) < 1e-9
        assert np.all(probs >= 0)
    answer(next_token_probs, np.arange(5.0), **options)


@fuzz(
    40,
    prompt=PROMPT | IDS | JUNK,
    n_tokens=st.integers(0, 3) | JUNK,
    options=SAMPLING,
    penalty=st.just(1.0) | JUNK,
    n_beams=st.integers(1, 3) | COUNTS,
    stop=st.none() | st.integers(0, 299) | st.text(max_size=2),
)
def test_generation(prompt, n_tokens, options, penalty, n_beams, stop):
    model, rng = (PARAMS, CONFIG), np.random.default_rng(0)
    options = {"n_tokens": n_tokens, "rng": rng, "stop_id": stop} | options
    options["repetition_penalty"] = penalty
    ids = answer(generate, prompt, *model, **options)
    assert ids is None or len(ids) <= n_tokens
    answer(generate_batch, prompt, *model, **options)
    answer(generate_batch, [[1], prompt], *model, **options)
    answer(beam_search, [1, 2], *model, n_beams=n_beams, n_tokens=2)
    answer(
        beam_search,
        prompt,
        *model,
        n_beams=n_beams,
        n_tokens=n_tokens,
        stop_id=stop,
    )
    answer(penalise_repeats, np.arange(5.0), [1], penalty)


# --- checkpoints ---


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return a run and the path of its checkpoint."""
    run = start_run(CONFIG, SHORT)
    tokens = np.random.default_rng(0).integers(0, 300, 60).astype(np.uint16)
    loop.train_on_stories(run, tokens, tokens[:20], progress=False)
    path = tmp_path_factory.mktemp("run") / "c.npz"
    checkpoints.write_checkpoint(path, run)
    return run, path


@fuzz(40, draw=st.data())
def test_spoiled_checkpoints(draw, checkpoint):
    run, path = checkpoint
    damaged = path.with_name("damaged.npz")
    damaged.write_bytes(draw.draw(spoiled(path.read_bytes())))
    loaded = answer(checkpoints.read_checkpoint, damaged)
    if loaded is not None:
        same = [checkpoints.describe_run(r) for r in (run, loaded)]
        assert same[0] == same[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: (
        st.lists(part, max_size=3)
        | st.dictionaries(st.text(max_size=3), part, max_size=3)
    ),
    max_leaves=4,
)


@fuzz(40, draw=st.data())
def test_checkpoints_that_say_odd_things(draw, checkpoint):
    path = checkpoint[1]
    arrays = files.read_arrays(path)
    about = json.loads(str(arrays["about"]))
    names = st.sampled_from(sorted(about))
    name = draw.draw(names)
    inner = about[name]
    if isinstance(inner, dict) and inner and draw.draw(st.booleans()):
        inner[draw.draw(st.sampled_from(sorted(inner)))] = draw.draw(JSON)
    else:
        about[name] = draw.draw(JSON)
    arrays["about"] = np.array(json.dumps(about))
    files.write_arrays(path.with_name("odd.npz"), arrays)
    answer(checkpoints.read_checkpoint, path.with_name("odd.npz"))


@fuzz(
    40,
    members=st.dictionaries(
        st.sampled_from(["about.npy", "sha256.npy", "x.npy", "x", "../x.npy"]),
        st.binary(max_size=80)
        | st.builds(
            lambda shape, rest: header(shape) + rest,
            st.lists(st.integers(-3, 10**12), max_size=3).map(tuple),
            st.binary(max_size=80),
        ),
    ),
    packed=st.booleans(),
    cut=st.integers(0, 400) | st.just(10**6),
)
def test_archives_of_anything(members, packed, cut, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "archive.npz"
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    path.write_bytes(path.read_bytes()[:cut])
    assert answer(checkpoints.read_checkpoint, path) is None


def header(shape):
    """Return how a .npy file begins that says it holds such an array."""
    file = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


# --- the command line ---

VALUES = ["0", "1", "3", "8", "-1", "2.5", "nan", "inf", "1e400", "x", "", "é"]
VALUES += ["9" * 30, "\udcff", "--", "-x", "grammar", "tiny", "my-run", "a b"]
VALUES += ["{folder}", "{folder}/stories.txt", "{folder}/none", "{folder}/bad"]
OPTIONS = {
    "data": ["from", "stories", "held-out", "force", "folder"],
    "train": [
        *("preset", "name", "stories", "valid-stories", "resume", "force"),
        *("vocab-size", "d-model", "n-heads", "n-layers", "d-ff", "dropout"),
        *("like", "folder", *(n.replace("_", "-") for n in vars(SHORT))),
    ],
    "generate": [
        *("run", "prompt", "temperature", "top-k", "top-p", "min-p"),
        *("length", "seed", "beams", "folder"),
    ],
    "eval": ["run", "on", "folder"],
    "report": ["run", "on", "folder"],
}
BASE = {
    "data": ["--folder={folder}/new", "--from={folder}/stories.txt"],
    "train": [
        *("--folder={folder}", "--stories={folder}/stories.txt", "--force"),
        *("--vocab-size=280", "--d-model=8", "--n-layers=1", "--d-ff=8"),
        *("--seq-len=8", "--batch-size=2", "--valid-stories=1"),
    ],
    "generate": ["--folder={folder}", "--run=my-run", "--length=3"],
    "eval": ["--folder={folder}", "--run=my-run", "--on={folder}/two.txt"],
    "report": ["--folder={folder}", "--run=my-run", "--on={folder}/two.txt"],
}


@st.composite
def commands(draw):
    """Draw a command that would work, and options that may spoil it."""
    command = draw(st.sampled_from(sorted(OPTIONS)))
    words = [command, *BASE[command]]
    for option in draw(
        st.lists(st.sampled_from(OPTIONS[command]), min_size=1, max_size=3)
    ):
        value = draw(st.sampled_from(VALUES))
        words.append(draw(st.sampled_from([f"--{option}={value}", value])))
        words.append(f"--{option}")
        words.append(value)
    return words[: draw(st.integers(1, len(words)))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a data folder with stories and a small run."""
    folder = tmp_path_factory.mktemp("data")
    for name, stories in (("stories", STORIES), ("two", STORIES[:2])):
        (folder / f"{name}.txt").write_text(END_OF_TEXT.join(stories))
    (folder / "bad").write_bytes(b"\xff\xfe\0")
    run = start_run(CONFIG, SHORT)
    checkpoints.save_run(folder / "runs" / "my-run", run, TOKENIZER)
    return folder


def short(run, *args, **options):
    """Train for a step only, however many were asked for."""
    run.settings = replace(run.settings, steps=run.step + 1)
    return loop.train_on_stories(run, *args, **options)


def report_quickly(patch):
    """Let a report tell two stories and time nothing."""
    patch.setattr(report, "N_TOLD", 2)
    patch.setattr(report, "measure_speed", lambda run: SPEED)


SPEED = {"seconds_per_step": 0.1, "gflop_per_step": 1.0, "sgemm_gflops": 9.0}


@fuzz(45, words=commands())
def test_commands(words, folder):
    global answers
    answers += 1
    out, err, here = io.StringIO(), io.StringIO(), os.getcwd()
    words = [word.format(folder=folder) for word in words]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "train_on_stories", short)
        patch.setattr(report, "draw_figures", lambda *_: None)
        report_quickly(patch)
        patch.setattr(tinystories, "tell_stories", lambda n: STORIES)
        patch.setattr(download, "hub_reachable", lambda: False)
        patch.chdir(folder)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.main(words)
            except SystemExit as stop:  # argparse says how it is used
                code = stop.code
                assert code in (0, 2)
                return
    assert os.getcwd() == here and code in (0, 1, 2), err.getvalue()
    if code == 2:
        last = err.getvalue().splitlines()[-1]
        assert last.startswith("error: ") and len(last) < 500


# --- the report ---

NUMBERS_OF_A_ROW = st.just(0.0) | st.floats(-1e9, 1e9) | st.integers(0, 10**9)
ROWS = st.fixed_dictionaries(
    {
        "step": st.integers(1, 10**6),  # others are refused
        "tokens": st.integers(0, 10**12),
        **dict.fromkeys(("train_loss", "valid_loss"), NUMBERS_OF_A_ROW),
        **dict.fromkeys(("grad_norm", "seconds"), NUMBERS_OF_A_ROW),
    }
)


@fuzz(
    2,
    log=st.lists(ROWS, max_size=15),
    reach=st.integers(1, 20),
    texts=st.lists(TEXT, min_size=1, max_size=4),
    scale=st.sampled_from([0, 0.02, 1, 1e3]),
)
def test_every_run_has_a_report(log, reach, texts, scale, tmp_path_factory):
    """Whatever its log says, however far it reaches, whatever it is asked."""
    folder = tmp_path_factory.getbasetemp() / "reported"
    run = start_run(replace(CONFIG, max_seq_len=reach), SHORT)
    for array in run.params["blocks"][0]["feed_forward"]["up"].values():
        array += scale
    run.log = log
    checkpoints.save_run(folder, run, TOKENIZER)
    (folder / "measured.json").unlink(missing_ok=True)
    text = f"\n{END_OF_TEXT}\n".join(texts)
    path = folder / "texts.txt"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.MonkeyPatch.context() as patch:
        report_quickly(patch)
        line = answer(report.write_report, folder, [path])
    stories = answer(load_stories, path)
    assert (line is None) == (stories is None)


@fuzz(40, draw=st.data())
def test_measurements_that_say_odd_things(draw, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "measured"
    path = folder / "measured.json"
    if not path.exists():
        checkpoints.save_run(folder, start_run(CONFIG, SHORT), TOKENIZER)
        (folder / "two.txt").write_text(END_OF_TEXT.join(STORIES[:2]))
        with pytest.MonkeyPatch.context() as patch:
            report_quickly(patch)
            report.write_report(folder, [folder / "two.txt"])
    whole = json.loads(path.read_text("utf-8"))
    inner = whole
    while draw.draw(st.booleans()) and isinstance(inner, dict) and inner:
        key = draw.draw(st.sampled_from(sorted(inner)))
        if not isinstance(inner[key], dict) or draw.draw(st.booleans()):
            inner[key] = draw.draw(JSON)
            break
        inner = inner[key]
    odd = folder / "odd.json"
    odd.write_text(
        json.dumps(draw.draw(st.just(whole) | st.just(whole) | JSON))
    )
    answer(report.read_measured, odd, start_run(CONFIG, SHORT))


# --- copies of a lesson ---

GIVEN = "from helpers.checks import *"
WRITTEN = "def twice(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2"
CHECK = "try_value(twice, 4, 2); try_value(half, 1, 2)"
PIECES = [
    *(
        "def twice(x):\n",
        "def half(x=",
        "class twice:\n",
        "    return 2 * x\n",
    ),
    *(
        "    raise NotImplementedError\n",
        "\n\n",
        "twice = half = abs\n",
        "[",
        ")",
    ),
    *(
        "%%time\n",
        "!ls\n",
        "half?\n",
        "@checked\n",
        "if True:\n    ",
        '"""',
        "#",
    ),
    *(
        "\\",
        "\t",
        "\0",
        "\r",
        "\f",
        "\u2028",
        "\ud83d",
        "é = 1\n",
        "del half\n",
    ),
    *(
        "async ",
        "*",
        "lambda: ",
        "import twice as half\n",
        "1" * 5000,
        "-" * 999,
    ),
    *(GIVEN, WRITTEN, CHECK),
]
SOURCE = st.lists(st.sampled_from(PIECES) | TEXT, max_size=6).map("".join)


def notebook_of(*sources):
    """Return a lesson of three cells, or a copy, whose second is a blank."""
    tags = [{}, {"tags": ["blank"]}, {}]
    cells = [
        new_code_cell(source, metadata=tag, id=f"c{i}")
        for i, (source, tag) in enumerate(zip(sources, tags))
    ]
    return new_notebook(cells=cells)


WHOLE = nbformat.writes(notebook_of(GIVEN, WRITTEN, CHECK)).encode()
ODD_CELLS = st.dictionaries(
    st.sampled_from(["id", "cell_type", "source", "metadata", "outputs", "x"]),
    JSON | SOURCE,
    max_size=3,
)
COPIES = (
    spoiled(WHOLE)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(SOURCE, min_size=3, max_size=3).map(
        lambda sources: json.dumps(notebook_of(*sources)).encode()
    )
    | ODD_CELLS.map(
        lambda odd: json.dumps(
            {**json.loads(WHOLE), "cells": [notebook_of("")["cells"][0] | odd]}
        ).encode()
    )
)
RESULTS_KEPT = st.dictionaries(
    st.just("01_small"),
    JSON | some_of(note=JSON, code=JSON, digests=JSON, verdicts=JSON),
)


def look_only(lesson, notebook, folder):
    """Stand for kernels.run, without a kernel."""
    steps, _ = kernels.with_checks(lesson, notebook)
    kernels.without_looks(steps, lesson)
    return [("twice", "right", "")], "runs to its end"


@fuzz(40, copy=COPIES, kept=RESULTS_KEPT | JSON)
def test_a_copy_of_any_state_has_a_table(copy, kept, tmp_path_factory):
    global answers
    answers += 1
    place = tmp_path_factory.getbasetemp()
    lessons, folder = place / "lessons", place / "copies"
    for path, content in (
        (lessons / "01_small.ipynb", WHOLE),
        (folder / "01_small.ipynb", copy),
        (folder / exercises.RESULTS, json.dumps(kept).encode()),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    out = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
    ):
        patch.setattr(exercises, "run", look_only)
        exercises.show_progress("01_small", lessons, folder)
        exercises.progress((), lessons, folder)
        exercises.show_progress("01_small", lessons, folder)
    said = out.getvalue().splitlines()
    assert all(line.isprintable() and len(line) < 300 for line in said)
    try:
        exercises.read(folder / "01_small.ipynb")
    except ValueError:
        assert all(line.startswith("01_small: is no no") for line in said)
    else:
        names = [line.split()[0] for line in said if line.startswith("    ")]
        assert names.count("twice") >= 2 or "01_small: all blank" in said


# --- the panel ---


@fuzz(
    20, prompt=TEXT, temperature=st.floats(-1, 3), top_k=st.integers(-1, 120)
)
def test_the_panel_takes_any_prompt(prompt, temperature, top_k):
    global answers
    answers += 1
    panel = the_panel()
    panel.prompt.value = prompt
    panel.temperature.value, panel.top_k.value = temperature, top_k
    panel.generate.click()
    assert panel.wait(30)
    assert isinstance(panel.text, str)


def the_panel(made=[]):  # noqa: B006, one panel for all
    if not made:
        made.append(sampling_panel(PARAMS, CONFIG, TOKENIZER))
    return made[0]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
