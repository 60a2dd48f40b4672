"""The loop of lesson 06 for hours: a log, a bar, Ctrl-C, checkpoints.

Support code. train() takes its steps from train_steps and keeps books between
them; it changes nothing about a step.
"""

import contextlib
import signal
import time

import numpy as np
from tqdm.auto import tqdm

from helpers.runs.checkpoints import save_run
from helpers.runs.guards import check_data, check_finite, check_tokens
from helpers.runs.scoring import token_nats
from helpers.runs.speed import batch_loss_and_grads, keep_freed_memory
from helpers.tinystories import sample_batch, story_starts
from helpers.training import evaluate, train_steps

INTERRUPTS = [  # Ctrl-C, and what a console of Windows can send to a program
    getattr(signal, name)
    for name in ("SIGINT", "SIGBREAK")
    if hasattr(signal, name)
]


def train(
    run,
    draw,
    measure,
    folder=None,
    progress=True,
    gradient=batch_loss_and_grads,
    agree=any,
):
    """Train on to settings.steps; return the log, a list of rows.

    draw(rng) returns a batch, measure(run) the loss of a row. Saves to folder
    with each row. Ctrl-C stops after the step under way and saves what there
    is; of several processes, agree(pressed) tells all when one is to stop.
    Raises ValueError if the run diverges.
    """
    keep_freed_memory()
    s, stop = run.settings, False
    recent = run.notes.setdefault("recent", [])
    bar = tqdm(total=s.steps, initial=run.step, disable=not progress)
    began = time.perf_counter() - (run.log[-1]["seconds"] if run.log else 0)
    with bar, ctrl_c_waits() as pressed, np.errstate(all="ignore"):
        for loss, norm in train_steps(run, draw, gradient):
            recent.append((loss, norm))
            bar.update()
            bar.set_postfix(loss=loss, refresh=False)
            stop = agree(pressed)
            due = run.step % s.eval_every == 0 or run.step == s.steps
            if due:
                add_row(run, measure(run), time.perf_counter() - began)
            if folder is not None and (due or stop):
                save_run(folder, run)
            if stop:
                break
    if stop:
        print(f"stopped after step {run.step}; the model keeps what it has")
    return run.log


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


@contextlib.contextmanager
def ctrl_c_waits():
    """Turn Ctrl-C into an entry of the list that is yielded."""
    pressed, before = [], {}
    with contextlib.suppress(ValueError):  # in a thread: no Ctrl-C comes here
        for number in INTERRUPTS:
            before[number] = signal.signal(
                number, lambda *_: pressed.append(True)
            )
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
