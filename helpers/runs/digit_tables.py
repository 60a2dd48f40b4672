"""The longer runs of appendix A1, and the tables they leave.

Support code. `python -m helpers.runs.digit_tables` writes to data/experiments
those of the tables that are not there, in a quarter of an hour on one core.
"""

from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from helpers.digit_operations import (
    DECODER,
    ENCODER,
    OPERATIONS,
    SETTINGS,
    blindfolded,
    decoder_answers,
    decoder_loss_and_grads,
    encoder_answers,
    encoder_loss_and_grads,
    head_drops,
    make_data,
    share_right,
    start,
    train_and_keep_best,
    unseen_questions,
)
from helpers.runs.speed import keep_freed_memory, one_blas_thread
from helpers.runs.tables import FOLDER, write_rows


def removals(seeds=range(12)):
    """Train an encoder a seed; yield a row for each thing taken from it.

    removed is a head, such as 0.2, or a number's view of the operation; test
    and unseen are shares answered right by the whole model; the rest are the
    points of accuracy on unseen questions that each operation loses.
    """
    train, valid, test = make_data(9)
    unseen = unseen_questions(train, valid)
    pair = encoder_loss_and_grads, encoder_answers
    for seed in seeds:
        run = start(ENCODER, replace(SETTINGS, seed=seed))
        best = train_and_keep_best(run, train, valid, *pair), ENCODER
        whole = share_right(unseen, encoder_answers, *best)
        share = share_right(test, encoder_answers, *best)["all"]
        drops = head_drops(unseen, *best)
        lost = {
            f"head {layer}.{head}": drops[layer, head]
            for layer, head in np.ndindex(drops.shape[:2])
        }
        for name, place in {"a": 2, "b": 4, "c": 6}.items():
            rest = share_right(unseen, blindfolded([place]), *best)
            points = [100 * (whole[op] - rest[op]) for op in OPERATIONS]
            lost[f"view of {name}"] = np.array(points)
        shares = {"test": round(share, 4), "unseen": round(whole["all"], 4)}
        for removed, points in lost.items():
            by_operation = dict(zip(OPERATIONS, points.round(1) + 0.0))
            yield {"seed": seed, "removed": removed} | shares | by_operation


def two_digits(seeds=range(5), steps=8000):
    """Train a decoder a seed on 0..99; yield a row an epoch, and the test."""
    train, valid, test = make_data(99)
    pair = decoder_loss_and_grads, decoder_answers
    for seed in seeds:
        settings = replace(SETTINGS, steps=steps, warmup=200, seed=seed)
        run = start(DECODER, settings, np.float32)
        best = train_and_keep_best(run, train, valid, *pair)
        shares = share_right(test, decoder_answers, best, DECODER)
        last = {"step": run.step, "loss": run.log[-1]["loss"]}
        parts = [("valid", row) for row in run.log] + [("test", last | shares)]
        for part, row in parts:
            numbers = {key: round(n, 6) for key, n in row.items()}
            yield {"seed": seed, "part": part} | numbers


TABLES = {"A1_removals": removals, "A1_two_digits": two_digits}


def make_table(name, folder=FOLDER):
    """Make a table of TABLES and write it to folder/name.csv."""
    keep_freed_memory()
    with one_blas_thread():
        rows = list(tqdm(TABLES[name](), name, unit=" rows"))
    write_rows(folder / f"{name}.csv", rows)


if __name__ == "__main__":
    for name in TABLES:
        if not (FOLDER / f"{name}.csv").exists():
            make_table(name)
