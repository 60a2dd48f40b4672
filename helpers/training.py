"""Optimizers, schedule, clipping, the loop, evaluation, checkpoints.

Built in notebooks/06_training.ipynb.
"""

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from helpers.language_model import (
    ModelConfig,
    cross_entropy,
    init_params,
    language_model,
)
from helpers.runs.files import (
    brief,
    ctrl_c_waits,
    read_arrays,
    read_newest,
    text_fingerprint,
    write_arrays,
    write_table,
    write_whole,
)
from helpers.runs.guards import (
    check_about,
    check_arrays,
    check_data,
    check_finite,
    check_fit,
    check_memory,
    check_same,
    check_settings,
    check_texts,
    check_tokenizer,
    check_tokens,
)
from helpers.runs.params import named_arrays
from helpers.runs.speed import Alone, keep_freed_memory
from helpers.tinystories import BPETokenizer, sample_batch, story_starts

CHECKPOINTS = ("checkpoint.npz", "checkpoint-before.npz")  # newest first
TOKENIZER = "tokenizer.tiktoken"


class SGD:
    """Step against the gradient, with momentum.

    Source: Sutskever et al. 2013, in the form torch.optim.SGD uses.
    """

    def __init__(self, params, lr=1e-3, momentum=0.0):
        self.params, self.lr, self.momentum = (
            named_arrays(params),
            lr,
            momentum,
        )
        self.state = {"velocity": zeros_like(self.params), "step": 0}

    def step(self, grads, lr=None):
        """Update the parameters in place; lr overrides the usual one."""
        lr = self.lr if lr is None else lr
        self.state["step"] += 1
        for name, grad in named_arrays(grads).items():
            velocity = self.state["velocity"][name]
            velocity *= self.momentum
            velocity += grad
            self.params[name] -= lr * velocity


def zeros_like(named):
    """Return zeros of the same shapes and dtypes under the same names."""
    return {name: np.zeros_like(array) for name, array in named.items()}


class Adam:
    """Step by mean / root mean square of the gradient, both running.

    Source: Kingma and Ba 2015, algorithm 1."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        self.params, self.lr = named_arrays(params), lr
        self.betas, self.eps = betas, eps
        mean, square = zeros_like(self.params), zeros_like(self.params)
        self.state = {"mean": mean, "square": square, "step": 0}

    def step(self, grads, lr=None):
        """Update the parameters in place; lr overrides the usual one."""
        lr = self.lr if lr is None else lr
        self.state["step"] += 1
        for name, grad in named_arrays(grads).items():
            self.params[name] -= lr * self.direction(name, grad)

    def direction(self, name, grad):
        (beta1, beta2), t = self.betas, self.state["step"]
        mean, square = self.state["mean"][name], self.state["square"][name]
        mean += (1 - beta1) * (grad - mean)
        square += (1 - beta2) * (grad * grad - square)
        root = np.sqrt(square / (1 - beta2**t)) + self.eps
        return (mean / (1 - beta1**t)) / root


class AdamW(Adam):
    """Adam with weights pulled towards zero apart from the gradient.

    Only matrices decay: biases and layer norms keep their size.
    Source: Loshchilov and Hutter 2019, algorithm 2.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.01,
    ):
        super().__init__(params, lr, betas, eps)
        self.weight_decay = weight_decay

    def step(self, grads, lr=None):
        """Shrink the matrices, then step as Adam does."""
        lr = self.lr if lr is None else lr
        for array in self.params.values():
            if array.ndim >= 2:
                array *= 1 - lr * self.weight_decay
        super().step(grads, lr)


def learning_rate(step, peak, warmup, total, decay="cosine", final=0.1):
    """Return the rate for a step counted from 0.

    Rises linearly to peak over warmup steps, then falls to final * peak at
    step total along a cosine or a line ("cosine", "linear"), and stays.
    Raises ValueError for another decay.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min((step - warmup) / max(total - warmup, 1), 1.0)
    if decay == "cosine":
        left = 0.5 * (1.0 + math.cos(math.pi * done))
    elif decay == "linear":
        left = 1.0 - done
    else:
        raise ValueError(f'decay must be "cosine" or "linear", not {decay!r}')
    return peak * (final + (1.0 - final) * left)


def clip_grad_norm(grads, max_norm):
    """Scale all gradients so that their joint norm is at most max_norm.

    Works in place; returns the norm before clipping, a float. A norm that
    is no number changes nothing.
    Source: Pascanu, Mikolov and Bengio 2013, section 3.2.
    """
    arrays = named_arrays(grads).values()
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in arrays))
    if max_norm < norm < math.inf:
        for grad in arrays:
            grad *= max_norm / norm
    return norm


def evaluate(tokens, params, config, B=16, T=None):
    """Return the mean loss over tokens, every target scored exactly once.

    tokens (N,) are cut into windows of T (default max_seq_len), so the
    result does not depend on chance. Nats per token.
    """
    T = config.max_seq_len if T is None else T
    check_tokens(tokens, B, T)
    T = min(T, len(tokens) - 1)
    total, starts = 0.0, list(range(0, len(tokens) - 1, T))
    for first in range(0, len(starts), B):
        rows = [tokens[s : s + T + 1] for s in starts[first : first + B]]
        ids, targets = pad_windows(rows, T)
        logits, _ = language_model(ids, params, config)
        loss, _ = cross_entropy(logits, targets)
        total += loss * int((targets >= 0).sum())
    return total / (len(tokens) - 1)


def pad_windows(rows, T, ignore_index=-100):
    """Stack windows of up to T + 1 tokens into ids and targets (B, T).

    A window that ends early is filled with id 0 and ignored targets.
    """
    ids = np.zeros((len(rows), T), dtype=np.int64)
    targets = np.full((len(rows), T), ignore_index, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row) - 1] = row[:-1]
        targets[i, : len(row) - 1] = row[1:]
    return ids, targets


def story_windows(ids, T):
    """Cut a story's ids into windows of T, each half over the one before.

    Yields ids, targets; a target the window before has scored is ignored,
    so each is scored once, with at least T / 2 tokens before it.
    """
    done = 0  # targets scored so far
    while done < len(ids) - 1:
        start = max(0, done - T // 2) if done else 0
        window = np.asarray(ids[start : start + T + 1], dtype=np.int64)
        targets = window[1:].copy()
        targets[: done - start] = -100
        yield window[:-1], targets
        done = start + len(window) - 1


def story_nats(ids, params, config):
    """Return minus the log probability of a story, in nats.

    ids begin and end with <|endoftext|>; all but the first are scored.
    """
    nats = 0.0
    for window, targets in story_windows(ids, config.max_seq_len):
        logits, _ = language_model(window[None], params, config)
        loss, _ = cross_entropy(logits, targets[None])
        nats += loss * int((targets >= 0).sum())
    return nats


def evaluate_stories(tokens, params, config):
    """Return the mean loss over tokens, every story scored from its start.

    tokens (N,) as tokenize_stories makes them. Nats per token.
    """
    check_tokens(tokens, stories=True)
    ends = np.flatnonzero(tokens == tokens[0])
    stories = [tokens[i : j + 1] for i, j in zip(ends, ends[1:])]
    nats = sum(story_nats(ids, params, config) for ids in stories)
    return nats / (ends[-1] - ends[0])


def bits_per_byte(stories, tokenizer, params, config):
    """Score every story from its start, <|endoftext|> at its end included.

    Returns bits per UTF-8 byte of story text: a measure that does not
    depend on the tokenizer.
    """
    check_tokenizer(tokenizer, config)
    n_bytes = sum(len(s.encode("utf-8")) for s in check_texts(stories))
    if n_bytes == 0:
        raise ValueError("no story text to score; give at least one story")
    end, nats = tokenizer.end_of_text, 0.0
    for story in stories:
        ids = [end, *tokenizer.encode(story), end]
        nats += story_nats(ids, params, config)
    return nats / math.log(2) / n_bytes


@dataclass(frozen=True)
class TrainSettings:
    """Say how to train. Raises ValueError for what cannot work."""

    steps: int = 1000
    batch_size: int = 32
    seq_len: int = 128
    lr: float = 2e-3
    warmup: int = 50
    decay: str = "cosine"  # or "linear"
    final: float = 0.1  # share of the rate that is left at the end
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    max_norm: float = 1.0
    eval_every: int = 100
    windows: str = "anywhere"  # begin there, or at "stories"
    seed: int = 0

    def __post_init__(self):
        check_settings(self)


@dataclass
class Run:
    """Hold everything a training run needs to go on from where it is."""

    config: ModelConfig
    settings: TrainSettings
    params: dict
    optimizer: AdamW
    rng: np.random.Generator
    step: int = 0
    log: list = field(default_factory=list)
    recent: list = field(default_factory=list)  # loss, norm since the last row
    hashes: dict = field(default_factory=dict)  # of tokenizer and data
    saved: str = ""  # the last good checkpoint


def start_run(config, settings):
    """Draw the parameters and set up the optimizer of a new run."""
    check_memory(config, settings)
    rng = np.random.default_rng(settings.seed)
    params = init_params(config, rng)
    return Run(config, settings, params, make_optimizer(params, settings), rng)


def make_optimizer(params, settings):
    """Return the AdamW optimizer that settings ask for."""
    betas = (settings.beta1, settings.beta2)
    return AdamW(
        params, settings.lr, betas, weight_decay=settings.weight_decay
    )


def run_arrays(run, optimizer=True):
    """Return {name: array} of all that training changes, not copied."""
    named = {"params": named_arrays(run.params)}
    if optimizer:
        named |= {key: run.optimizer.state[key] for key in ("mean", "square")}
    return {
        f"{k}/{n}": a for k, part in named.items() for n, a in part.items()
    }


def train_step(run, ids, targets, team=Alone):
    """Update the run's parameters from one batch; return loss, grad norm.

    Raises ValueError, and changes nothing, if either is no number.
    """
    s, model = run.settings, (run.params, run.config, run.rng)
    loss, grads = team.loss_and_grads(ids, targets, *model)
    norm = clip_grad_norm(grads, s.max_norm)
    check_finite(run, loss, norm, grads)
    lr = learning_rate(run.step, s.lr, s.warmup, s.steps, s.decay, s.final)
    run.optimizer.step(grads, lr)
    run.step += 1
    return loss, norm


def keep_books(run, valid_tokens, folder, stop, began):
    """Add a row if one is due; save the run then, and when it stops."""
    s = run.settings
    due = run.step % s.eval_every == 0 or run.step == s.steps
    if due:
        add_row(run, valid_tokens, time.perf_counter() - began)
    if folder is not None and (due or stop):
        save_run(folder, run)


def train(run, tokens, valid_tokens, folder=None, progress=True, team=Alone):
    """Train on to settings.steps; return the log, a list of rows.

    Ctrl-C stops early and saves what there is. Raises ValueError if the run
    diverges, or goes on with other data.
    """
    check_data(run, tokens, valid_tokens)
    keep_freed_memory()
    s, starts, stop = run.settings, None, False
    if s.windows == "stories":
        starts = story_starts(tokens, s.seq_len)
    bar = tqdm(total=s.steps, initial=run.step, disable=not progress)
    began = time.perf_counter() - (run.log[-1]["seconds"] if run.log else 0)
    with bar, ctrl_c_waits() as pressed, np.errstate(all="ignore"):
        while run.step < s.steps and not stop:
            sizes = s.batch_size, s.seq_len
            batch = sample_batch(tokens, *sizes, run.rng, starts)
            run.recent.append(train_step(run, *batch, team))
            bar.update()
            bar.set_postfix(loss=run.recent[-1][0], refresh=False)
            stop = team.agree(pressed)
            keep_books(run, valid_tokens, folder, stop, began)
    if stop:
        print(f"stopped after step {run.step}; the model keeps what it has")
    return run.log


def add_row(run, valid_tokens, seconds):
    """Append step, tokens, mean losses, grad norm and seconds to the log."""
    loss, norm = np.mean(run.recent, axis=0)
    s, model = run.settings, (run.params, run.config)
    if s.windows == "stories":
        valid = evaluate_stories(valid_tokens, *model)
    else:
        valid = evaluate(valid_tokens, *model, T=s.seq_len)
    check_finite(run, valid)
    run.recent = []
    run.log.append(
        {
            "step": run.step,
            "tokens": run.step * s.batch_size * s.seq_len,
            "train_loss": float(loss),
            "valid_loss": valid,
            "grad_norm": float(norm),
            "seconds": round(seconds, 1),
        }
    )


def describe_run(run):
    """Return what is not an array in a run, ready for JSON."""
    return {
        "config": asdict(run.config),
        "settings": asdict(run.settings),
        "step": run.step,
        "rng": run.rng.bit_generator.state,
        "log": run.log,
        "recent": run.recent,
        "hashes": run.hashes,
    }


def make_run(about):
    """Return the run that describe_run described, but for its arrays."""
    config = ModelConfig(**about["config"])
    run = start_run(config, TrainSettings(**about["settings"]))
    run.rng.bit_generator.state = about["rng"]
    run.step, run.log = about["step"], about["log"]
    run.recent, run.hashes = about["recent"], about["hashes"]
    check_about(run)
    return run


def save_checkpoint(path, run, dtype=np.float32, optimizer=True, before=None):
    """Write a run to one .npz file, whole or not at all.

    The checkpoint that stood there moves to the path before, if one is
    given. dtype float16 and optimizer=False make a small file to generate
    from. Raises OSError, or ValueError if the run has diverged.
    """
    arrays = {
        name: array.astype(dtype)
        for name, array in run_arrays(run, optimizer).items()
    }
    check_arrays(run, arrays)
    arrays["about"] = np.array(json.dumps(describe_run(run)))
    write_arrays(path, arrays, before)
    run.saved = f"{path} (step {run.step})"


def load_checkpoint(path, before=None):
    """Read what save_checkpoint wrote and return the run.

    Takes the file before, and says so, if path is missing or damaged. Raises
    FileNotFoundError, or ValueError if there is no whole one that fits.
    """
    return read_newest(read_run, path, before)


def read_run(path):
    """Return the run of one checkpoint; raise as load_checkpoint does."""
    arrays = read_arrays(path)
    try:
        run = make_run(json.loads(str(arrays["about"])))
    except Exception as error:  # what is missing or odd can raise anything
        raise ValueError(
            f"{path} does not describe a run ({brief(error)}); use an older "
            "one"
        ) from None
    trained = any(name.startswith("mean/") for name in arrays)
    for name, array in run_arrays(run, trained).items():
        check_fit(path, name, arrays.get(name), array)
        array[:] = arrays[name]
    run.optimizer.state["step"] = run.step if trained else 0
    run.saved = f"{path} (step {run.step})"
    return run


def save_run(folder, run, tokenizer=None, **options):
    """Write the tokenizer, config.json, log.csv and checkpoint.npz.

    The checkpoint before this one stays as checkpoint-before.npz. The newest
    comes last: once it is there, all that belongs to it is.
    """
    folder = Path(folder)
    if tokenizer is not None:
        tokenizer.save(folder / TOKENIZER)
        run.hashes["tokenizer"] = text_fingerprint(folder / TOKENIZER)
    about = describe_run(run)
    text = json.dumps({k: about[k] for k in ("config", "settings")}, indent=2)
    write_whole(folder / "config.json", text + "\n")
    write_table(folder / "log.csv", run.log)
    newest, before = (folder / name for name in CHECKPOINTS)
    save_checkpoint(newest, run, before=before, **options)


def load_run(folder):
    """Return the run and the tokenizer that save_run wrote to a folder.

    Raises OSError, or ValueError if they do not belong together.
    """
    path = Path(folder) / TOKENIZER
    run = load_checkpoint(*(Path(folder) / name for name in CHECKPOINTS))
    tokenizer = BPETokenizer.load(path)
    check_tokenizer(tokenizer, run.config)
    check_same(run.hashes, "tokenizer", text_fingerprint(path), path)
    return run, tokenizer
