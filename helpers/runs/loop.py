"""The loop of lesson 06 for hours: a log, a bar, Ctrl-C, checkpoints.

Support code. train() takes its steps from train_steps and keeps books between
them; it changes nothing about a step.
"""

import sys
import time
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from helpers.runs.checkpoints import CHECKPOINTS, TOKENIZER, save_run
from helpers.runs.folders import version
from helpers.runs.guards import (
    check_alone,
    check_data,
    check_finite,
    check_tokens,
)
from helpers.runs.scoring import token_nats
from helpers.runs.speed import batch_loss_and_grads, keep_freed_memory
from helpers.runs.stops import Patient, signals_call
from helpers.tinystories import sample_batch, story_starts
from helpers.training import evaluate, train_steps


def train(
    run,
    draw,
    measure,
    folder=None,
    progress=True,
    gradient=batch_loss_and_grads,
    agree=any,
    tokenizer=None,
):
    """Train on to settings.steps; return the log, a list of rows.

    draw(rng) returns a batch, measure(run) the loss of a row. Saves to folder
    with each row, tokenizer too if it is gone. Ctrl-C and the like stop after
    the step under way and save what there is; of several processes,
    agree(pressed) tells all when one is to stop. Raises ValueError if the run
    diverges, or if another program writes to the folder.
    """
    keep_freed_memory()
    s, stop, pressed = run.settings, False, []
    recent = run.notes.setdefault("recent", [])
    save = saver(folder, run, tokenizer)
    bar = tqdm(
        total=s.steps,
        initial=run.step,
        disable=not progress,
        file=Patient(sys.stderr),
    )
    began = time.perf_counter() - (run.log[-1]["seconds"] if run.log else 0)
    noted = signals_call(lambda *_: pressed.append(True))
    with bar, noted, np.errstate(all="ignore"):
        for loss, norm in train_steps(run, draw, gradient):
            recent.append((loss, norm))
            bar.update()
            bar.set_postfix(loss=loss, refresh=False)
            stop = agree(pressed)
            due = run.step % s.eval_every == 0 or run.step == s.steps
            if due:
                add_row(run, measure(run), time.perf_counter() - began)
            if due or stop:
                save()
            if stop:
                break
    if stop:
        said = f"stopped after step {run.step}; the model keeps what it has"
        print(said, file=Patient(sys.stdout))
    return run.log


def saver(folder, run, tokenizer):
    """Return a function that saves run to folder, if there is one.

    Refuses once another program has written there.
    """
    if folder is None:
        return lambda: None
    newest = Path(folder) / CHECKPOINTS[0]
    left = version(newest)  # by whoever has saved the run

    def save():
        nonlocal left
        check_alone(newest, run, version(newest), left)
        whole = (Path(folder) / TOKENIZER).exists()
        save_run(folder, run, None if whole else tokenizer)
        left = version(newest)

    return save


def add_row(run, valid_loss, seconds):
    """Append step, tokens, mean losses, grad norm and seconds to the log."""
    check_finite(run, valid_loss)
    s = run.settings
    loss, norm = np.mean(run.notes["recent"], axis=0)
    run.notes["recent"].clear()
    run.log.append(
        {
            "step": run.step,
            "tokens": run.step * s.batch_size * s.seq_len,
            "train_loss": float(loss),
            "valid_loss": valid_loss,
            "grad_norm": float(norm),
            "seconds": round(seconds, 1),
        }
    )


def train_on_stories(run, tokens, valid_tokens, folder=None, **options):
    """Train on windows of tokens as settings say; options are train's.

    Raises ValueError if the run goes on with other tokens than it had.
    """
    check_data(run, tokens, valid_tokens)
    s, starts = run.settings, None
    if s.windows == "stories":
        starts = story_starts(tokens, s.seq_len)

    def draw(rng):
        return sample_batch(tokens, s.batch_size, s.seq_len, rng, starts)

    def measure(run):
        if s.windows == "stories":
            return evaluate_stories(valid_tokens, run.params, run.config)
        return evaluate(valid_tokens, run.params, run.config, T=s.seq_len)

    return train(run, draw, measure, folder, **options)


def evaluate_stories(tokens, params, config):
    """Return the mean loss over tokens, every story scored from its start.

    tokens (N,) as tokenize_stories makes them. Nats per token.
    """
    check_tokens(tokens, stories=True)
    ends = np.flatnonzero(tokens == tokens[0])
    stories = [tokens[i : j + 1] for i, j in zip(ends, ends[1:])]
    nats = [token_nats(ids, params, config).sum() for ids in stories]
    return float(sum(nats) / (ends[-1] - ends[0]))
