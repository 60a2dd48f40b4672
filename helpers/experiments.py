"""Change one thing at a time, train with several seeds, keep the results.

Built in notebooks/A2_experiments.ipynb. `python -m helpers.experiments` runs
whatever of PLAN is not in data/experiments/A2_runs.csv yet.
"""

import contextlib
import functools
import itertools
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from tqdm.auto import tqdm

from helpers import DATA, attention, language_model, transformer_block
from helpers.attention import (
    scaled_dot_product_attention,
    scaled_dot_product_attention_backward,
)
from helpers.digit_operations import (
    EOS,
    IDS,
    OPERATIONS,
    TOKENS,
    decoder_batch,
    make_data,
)
from helpers.embeddings import sinusoidal_positions
from helpers.language_model import (
    ModelConfig,
    accuracy,
    cross_entropy,
)
from helpers.runs.speed import cores, keep_freed_memory, one_blas_thread
from helpers.runs.tables import read_rows, write_rows
from helpers.tinystories import (
    END_OF_TEXT,
    bpe_tokenizer,
    load_stories,
    sample_batch,
    split_stories,
    tokenize_stories,
    train_bpe,
)
from helpers.training import (
    SGD,
    Adam,
    AdamW,
    TrainSettings,
    start_run,
    train_steps,
)
from helpers.transformer_block import layer_norm, layer_norm_backward

RESULTS = DATA / "experiments" / "A2_runs.csv"


class Task(NamedTuple):
    """Hold draw(rng) -> ids, targets to train on, and a held-out batch."""

    vocab_size: int
    draw: object
    ids: np.ndarray
    targets: np.ndarray


@functools.cache
def digits():
    """Return the task of A1: answer First(3,1,2) and the like.

    A batch is 32 questions; held out are questions of which none is trained.
    """
    train, valid, _ = make_data(largest=9)
    ids, targets = decoder_batch(train)
    valid_ids, valid_targets = decoder_batch(valid)
    valid_targets[valid_targets == EOS] = -100  # score the digit alone

    def draw(rng):
        rows = rng.integers(len(ids), size=32)
        return ids[rows], targets[rows]

    return Task(len(TOKENS), draw, valid_ids, valid_targets)


@functools.cache
def stories():
    """Return the task of the lessons: continue stories of the grammar.

    A batch is 8 windows of 32 tokens; held out are 256 windows of other
    stories, always the same.
    """
    train, valid = split_stories(load_stories("grammar"))
    tokenizer = bpe_tokenizer(train_bpe(END_OF_TEXT.join(train[:1000]), 1024))
    tokens = tokenize_stories(train, tokenizer)
    valid_tokens = tokenize_stories(valid, tokenizer)

    def draw(rng, tokens=tokens, B=8):
        return sample_batch(tokens, B, 32, rng)

    held_out = draw(np.random.default_rng(0), valid_tokens, 256)
    return Task(tokenizer.vocab_size, draw, *held_out)


TASKS = {"digits": digits, "stories": stories}


@dataclass(frozen=True)
class Setup:
    """Say everything about a run but its seed."""

    task: str
    d_model: int
    steps: int
    warmup: int
    lr: float
    optimizer: str = "AdamW"
    replaced: str = "nothing"
    n_heads: int = 4
    n_layers: int = 2
    norm: str = "pre"
    positions: str = "learned"
    token_std: float = 0.02
    tied_head: bool = True


BASE = {
    "digits": Setup("digits", d_model=64, steps=600, warmup=150, lr=3e-3),
    "stories": Setup("stories", d_model=32, steps=300, warmup=100, lr=1e-2),
}


def no_positions(T, C):
    """Return zeros in place of the (T, C) table of sines and cosines."""
    return np.zeros((T, C))


def quiet_positions(T, C):
    """Return the sines and cosines at the size of a learned table, 0.02."""
    return 0.02 * math.sqrt(2) * sinusoidal_positions(T, C)


def no_norm(x, weight, bias):
    """Scale and shift as layer_norm does, and normalise nothing."""
    return x * weight + bias, (x, weight)


def no_norm_backward(dout, cache):
    """Return dx, dweight, dbias."""
    x, weight = cache
    rows = tuple(range(x.ndim - 1))
    return dout * weight, (dout * x).sum(axis=rows), dout.sum(axis=rows)


def no_residual(x, sublayer, norm_params, config, rng=None):
    """Return sublayer(norm(x)): a pre-norm residual that adds nothing."""
    h, norm_cache = layer_norm(x, **norm_params)
    out, sublayer_cache = sublayer(h)
    return out, (norm_cache, sublayer_cache)


def no_residual_backward(dout, cache, sublayer_backward):
    """Return dx, the sublayer's grads and the norm's grads."""
    norm_cache, sublayer_cache = cache
    dh, grads = sublayer_backward(dout, sublayer_cache)
    dx, dweight, dbias = layer_norm_backward(dh, norm_cache)
    return dx, grads, {"weight": dweight, "bias": dbias}


def unscaled_attention(q, k, v, mask=None):
    """Attend with scores q @ k.T, not divided by sqrt(D)."""
    root = math.sqrt(q.shape[-1])
    out, cache = scaled_dot_product_attention(q * root, k, v, mask)
    return out, (cache, root)


def unscaled_attention_backward(dout, cache):
    """Return dq, dk, dv."""
    cache, root = cache
    dq, dk, dv = scaled_dot_product_attention_backward(dout, cache)
    return dq * root, dk, dv


REPLACEMENTS = {
    "nothing": {},
    "no positions": {"sinusoidal_positions": no_positions},
    "quiet sines": {"sinusoidal_positions": quiet_positions},
    "no norm": {
        "NORMS": dict.fromkeys(["pre", "post"], (no_norm, no_norm_backward)),
    },
    "no residual": {
        "residual": no_residual,
        "residual_backward": no_residual_backward,
    },
    "no scale": {
        "scaled_dot_product_attention": unscaled_attention,
        "scaled_dot_product_attention_backward": unscaled_attention_backward,
    },
}


@contextlib.contextmanager
def replaced(functions):
    """Let the model call other functions under the names of its own.

    functions {name: function}; every module of the model that knows the
    name uses the new one inside the with block, and the old one after it.
    """
    modules = attention, transformer_block, language_model
    with contextlib.ExitStack() as stack:
        for module, name in itertools.product(modules, functions):
            if hasattr(module, name):
                change = patch.object(module, name, functions[name])
                stack.enter_context(change)
        yield


OPTIMIZERS = {
    "SGD": functools.partial(SGD, momentum=0.9),
    "Adam": functools.partial(Adam, betas=(0.9, 0.95)),
    "AdamW": functools.partial(AdamW, betas=(0.9, 0.95), weight_decay=0.1),
}


def model_config(setup):
    """Return the ModelConfig of a setup."""
    task = TASKS[setup.task]()
    return ModelConfig(
        vocab_size=task.vocab_size,
        max_seq_len=task.ids.shape[1],
        d_model=setup.d_model,
        n_heads=setup.n_heads,
        n_layers=setup.n_layers,
        d_ff=4 * setup.d_model,
        norm=setup.norm,
        positions=setup.positions,
        tied_head=setup.tied_head,
    )


def train_setup(setup, seed):
    """Train one model; return its parameters and the loss of each step.

    All in float64; machines drift apart all the same, only much later.
    """
    settings = TrainSettings(
        steps=setup.steps, lr=setup.lr, warmup=setup.warmup, seed=seed
    )
    run = start_run(model_config(setup), settings, np.float64)
    run.params["token_embedding"]["weight"] *= setup.token_std / 0.02
    run.optimizer = OPTIMIZERS[setup.optimizer](run.params)
    draw = TASKS[setup.task]().draw
    return run.params, [loss for loss, _ in train_steps(run, draw)]


def score(params, setup):
    """Return held-out loss and accuracy, of digits by operation too."""
    task, config = TASKS[setup.task](), model_config(setup)
    logits, _ = language_model.language_model(task.ids, params, config)
    loss, _ = cross_entropy(logits, task.targets)
    scores = {"loss": loss, "accuracy": accuracy(logits, task.targets)}
    for operation in OPERATIONS if setup.task == "digits" else ():
        rows = task.ids[:, 0] == IDS[operation]
        scores[operation] = accuracy(logits[rows], task.targets[rows])
    return scores


def run_setup(setup, seed):
    """Train one model and return its scores."""
    keep_freed_memory()
    with replaced(REPLACEMENTS[setup.replaced]), one_blas_thread():
        params, _ = train_setup(setup, seed)
        return score(params, setup)


PARTS = {
    "complete": {},
    "no positions": {"positions": "sinusoidal", "replaced": "no positions"},
    "no residual": {"replaced": "no residual"},
    "no norm": {"replaced": "no norm"},
    "one head": {"n_heads": 1},
    "no scale": {"replaced": "no scale"},
}
SINES = {"positions": "sinusoidal"}
ENDS = {
    "sines": SINES,
    "quiet sines": SINES | {"replaced": "quiet sines"},
    "sines, loud tokens": SINES | {"token_std": 0.7, "tied_head": False},
    "untied head": {"tied_head": False},
}
SWEPT = {
    "AdamW": {},
    "AdamW, no warm-up": {"warmup": 0},
    "post-norm": {"norm": "post"},
    "post-norm, no warm-up": {"norm": "post", "warmup": 0},
    "Adam": {"optimizer": "Adam"},
    "no residual": PARTS["no residual"],
    "no norm": PARTS["no norm"],
}
RATES = 0.005, 0.01, 0.02, 0.04
DEEP = {
    "6 layers": {"n_layers": 6},
    "6 layers, no warm-up": {"n_layers": 6, "warmup": 0},
    "6 layers, post-norm": {"n_layers": 6, "norm": "post"},
    "6 layers, post-norm, no warm-up": {
        "n_layers": 6,
        "norm": "post",
        "warmup": 0,
    },
}
SIZES = {
    "1 layer": {"n_layers": 1},
    "4 layers": {"n_layers": 4},
    "16 channels": {"d_model": 16},
    "64 channels": {"d_model": 64},
    "128 channels": {"d_model": 128},
}


def at_rate(lr):
    """Return SWEPT with another learning rate, SGD's 25 times that."""
    variants = {name: changes | {"lr": lr} for name, changes in SWEPT.items()}
    return variants | {"SGD": {"optimizer": "SGD", "lr": 25 * lr}}


PLAN = [
    ("parts", "digits", PARTS, range(5)),
    ("parts", "stories", PARTS, range(5)),
    ("ends", "digits", ENDS, range(5)),
    ("ends", "stories", ENDS, range(5)),
    *(("rates", "stories", at_rate(lr), range(5, 10)) for lr in RATES),
    ("sizes", "stories", SIZES, range(5)),
    ("depth", "stories", DEEP, range(5)),
]
SCORES = ["loss", "accuracy", *OPERATIONS]
LABELS = ["experiment", "variant", "seed", *Setup.__dataclass_fields__]


def verdict(values, others):
    """Say whether all of values lie above, or all below, all of others."""
    if min(values) > max(others):
        return "higher"
    if max(values) < min(others):
        return "lower"
    return "no clear difference"


def compare(groups):
    """Print mean and spread of {name: values}, and a verdict on each.

    The spread is the standard deviation; the verdict is verdict() of a
    group and the first one.
    """
    first = None
    for name, values in groups.items():
        said = verdict(values, first) if first else ""
        mean, spread = np.mean(values), np.std(values, ddof=1)
        print(f"{name:22}{mean:7.3f} ± {spread:.3f}  {said}".rstrip())
        first = first or values


def pick(rows, column, **labels):
    """Return a score of the rows with these labels, one number a seed."""
    return [
        float(row[column])
        for row in rows
        if all(row[name] == str(label) for name, label in labels.items())
    ]


def planned():
    """Return {settings as in the row of a run: (setup, seed)}."""
    runs = {}
    for experiment, task, variants, seeds in PLAN:
        for variant, changes in variants.items():
            setup = replace(BASE[task], **changes)
            for seed in seeds:
                settings = experiment, variant, seed, *asdict(setup).values()
                runs[tuple(map(str, settings))] = setup, seed
    return runs


def read_runs(path=RESULTS):
    """Return {settings: row} of the runs in a file that are still planned."""
    if not path.exists():
        return {}
    rows = {
        tuple(row[name] for name in LABELS): row
        for row in read_rows(path, str)
    }
    return {key: rows[key] for key in planned() if key in rows}


def write_runs(rows, path=RESULTS):
    """Write {settings: row} to a csv file in the order of the plan."""
    made = [rows[key] for key in planned() if key in rows]
    write_rows(path, made, LABELS + SCORES)


def run_plan(path=RESULTS, workers=None):
    """Run what is planned and not in the file; keep each row as it comes.

    Ctrl-C stops after the runs under way; the next call goes on from there.
    """
    wanted, rows = planned(), read_runs(path)
    left = [key for key in wanted if key not in rows]
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers or cores(), spawn)
    try:
        runs = {pool.submit(run_setup, *wanted[key]): key for key in left}
        bar = tqdm(as_completed(runs), total=len(runs), disable=not runs)
        for run in bar:
            scores = {name: round(x, 4) for name, x in run.result().items()}
            rows[runs[run]] = dict(zip(LABELS, runs[run])) | scores
            write_runs(rows, path)
    finally:
        pool.shutdown(cancel_futures=True)
    print(f"{len(rows)} runs in {path.name}, {len(left)} of them new")


if __name__ == "__main__":
    run_plan()
