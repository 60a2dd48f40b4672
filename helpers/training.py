"""Optimizers, schedule, clipping, one step and the loop, evaluation, saving.

Built in notebooks/06_training.ipynb.
"""

import json
import math
import os
from dataclasses import dataclass, field

import numpy as np

from helpers.language_model import (
    ModelConfig,
    cross_entropy,
    init_params,
    language_model,
    loss_and_grads,
)
from helpers.runs.doors import checked
from helpers.runs.guards import check_finite
from helpers.runs.params import named_arrays, zeros_like
from helpers.runs.scoring import token_nats

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "learning_rate",
    "clip_grad_norm",
    "TrainSettings",
    "Run",
    "start_run",
    "train_step",
    "train_steps",
    "token_windows",
    "evaluate",
    "bits_per_byte",
    "run_arrays",
    "save_checkpoint",
    "load_checkpoint",
]


class SGD:
    """Step against the gradient, with momentum as torch.optim.SGD has it."""

    def __init__(self, params, lr=1e-3, momentum=0.0):
        self.params = named_arrays(params)
        self.lr = lr
        self.momentum = momentum
        self.state = {"velocity": zeros_like(self.params), "step": 0}

    def step(self, grads):
        """Update the parameters in place."""
        self.state["step"] += 1
        for name, grad in named_arrays(grads).items():
            velocity = self.state["velocity"][name]
            velocity *= self.momentum
            velocity += grad
            self.params[name] -= self.lr * velocity


class Adam:
    """Step by mean / root mean square of the gradient: Kingma and Ba 2015."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        self.params = named_arrays(params)
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.state = {"mean": zeros_like(self.params), "step": 0}
        self.state["square"] = zeros_like(self.params)

    def step(self, grads):
        """Update the parameters in place."""
        self.state["step"] += 1
        for name, grad in named_arrays(grads).items():
            self.params[name] -= self.lr * self.direction(name, grad)

    def direction(self, name, grad):
        """Update both means; return the corrected mean over the root."""
        beta1, beta2 = self.betas
        t = self.state["step"]
        m, v = self.state["mean"][name], self.state["square"][name]
        m += (1 - beta1) * (grad - m)
        v += (1 - beta2) * (grad * grad - v)
        return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + self.eps)


class AdamW(Adam):
    """Adam, and matrices pulled towards zero: Loshchilov and Hutter 2019."""

    def __init__(self, params, weight_decay=0.01, **settings):
        super().__init__(params, **settings)
        self.weight_decay = weight_decay

    def step(self, grads):
        """Shrink the matrices, then step as Adam does."""
        for array in self.params.values():
            if array.ndim >= 2:
                array *= 1 - self.lr * self.weight_decay
        super().step(grads)


@checked
def learning_rate(step, peak, warmup, total, decay="cosine", final=0.1):
    """Return the rate for a step counted from 0.

    Rises linearly to peak over warmup steps, then falls to final * peak at
    step total along a cosine or a line ("cosine", "linear"), and stays.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min((step - warmup) / max(total - warmup, 1), 1.0)
    left = 1.0 - done  # along a line
    if decay == "cosine":
        left = 0.5 * (1.0 + math.cos(math.pi * done))
    return peak * (final + (1.0 - final) * left)


@checked
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


@dataclass(frozen=True)
@checked
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


@dataclass
class Run:
    """Hold everything a training run needs to go on from where it is."""

    config: ModelConfig
    settings: TrainSettings
    params: dict
    optimizer: AdamW
    rng: np.random.Generator
    step: int = 0
    log: list = field(default_factory=list)  # a row now and then
    notes: dict = field(default_factory=dict)  # what helpers.runs remembers


@checked
def start_run(config, settings, dtype=np.float32):
    """Draw the parameters and set up the optimizer of a new run."""
    rng = np.random.default_rng(settings.seed)
    params = init_params(config, rng, dtype)
    betas = settings.beta1, settings.beta2
    optimizer = AdamW(params, settings.weight_decay, betas=betas)
    return Run(config, settings, params, optimizer, rng)


def train_step(run, *batch, gradient=loss_and_grads):
    """Update the run's parameters from one batch; return loss, grad norm.

    gradient(*batch, params, config, rng) returns the loss and grads.
    Raises ValueError, and changes nothing, if either is no number.
    """
    s = run.settings
    loss, grads = gradient(*batch, run.params, run.config, run.rng)
    norm = clip_grad_norm(grads, s.max_norm)
    check_finite(run, loss, norm, grads)
    lr = learning_rate(run.step, s.lr, s.warmup, s.steps, s.decay, s.final)
    run.optimizer.lr = lr
    run.optimizer.step(grads)
    run.step += 1
    return loss, norm


def train_steps(run, draw, gradient=loss_and_grads):
    """Train on batches draw(rng) to settings.steps; yield loss, grad norm."""
    while run.step < run.settings.steps:
        yield train_step(run, *draw(run.rng), gradient=gradient)


def token_windows(tokens, B, T):
    """Yield ids, targets (B, T) that hold every target; the last are fewer."""
    whole = (len(tokens) - 1) // T * T
    ids = tokens[:whole].reshape(-1, T)
    targets = tokens[1 : whole + 1].reshape(-1, T)
    for i in range(0, len(ids), B):
        yield ids[i : i + B], targets[i : i + B]
    if whole < len(tokens) - 1:
        yield tokens[None, whole:-1], tokens[None, whole + 1 :]


@checked
def evaluate(tokens, params, config, B=16, T=None):
    """Return the mean loss of tokens (N,) in nats, each target scored once."""
    n_targets = len(tokens) - 1
    T = min(T or config.max_seq_len, n_targets)
    nats = 0.0
    for ids, targets in token_windows(tokens, B, T):
        logits, _ = language_model(ids, params, config)
        nats += cross_entropy(logits, targets)[0] * targets.size
    return nats / n_targets


@checked
def bits_per_byte(stories, tokenizer, params, config):
    """Score every story from its start, <|endoftext|> at its end included.

    Returns bits per UTF-8 byte of story text: a measure that does not
    depend on the tokenizer.
    """
    end = tokenizer.end_of_text
    nats = 0.0
    for story in stories:
        ids = [end, *tokenizer.encode(story), end]
        nats += float(token_nats(ids, params, config).sum())
    n_bytes = sum(len(story.encode("utf-8")) for story in stories)
    return nats / math.log(2) / n_bytes


def run_arrays(run):
    """Return {name: array} of all that training changes, not copied."""
    state = run.optimizer.state
    means = {"mean": state["mean"], "square": state["square"]}
    return named_arrays({"params": run.params} | means)


def save_checkpoint(path, run):
    """Write a run to an .npz file: beside, and then in the place of path."""
    about = {"step": run.step, "rng": run.rng.bit_generator.state}
    with open(f"{path}.partial", "wb") as file:
        np.savez(file, about=json.dumps(about), **run_arrays(run))
    os.replace(f"{path}.partial", path)


def load_checkpoint(path, run):
    """Put a run of the same config and settings to where it was saved."""
    with np.load(path) as file:
        for name, array in run_arrays(run).items():
            array[:] = file[name]
        about = json.loads(str(file["about"]))
    run.step = run.optimizer.state["step"] = about["step"]
    run.rng.bit_generator.state = about["rng"]
