"""Measure what appendix A4 shows: GPT-2's block against Llama's.

Support code. `python -m helpers.runs.llama_tables` writes what is not there
of data/experiments/A4_*.csv, in some minutes, on one thread and in float64,
so that other machines find the same losses. The times are of this machine,
and with them the number of steps that take as long as GPT-2's.
"""

import time
from dataclasses import replace
from statistics import mean

import numpy as np
from tqdm.auto import tqdm

from helpers.experiments import BASE, model_config, stories
from helpers.language_model import (
    count_params,
    cross_entropy,
    init_params,
    language_model,
)
from helpers.llama import LLAMA
from helpers.runs.speed import keep_freed_memory, one_blas_thread
from helpers.runs.tables import FOLDER, read_table, write_rows
from helpers.training import TrainSettings, start_run, train_step, train_steps

KINDS = {
    "GPT-2": {},
    "RMS norm": {"norm": "rms"},
    "RoPE": {"positions": "rope"},
    "SwiGLU": {"activation": "swiglu"},
    "grouped heads": {"n_kv_heads": 2},
    "Llama": LLAMA | {"n_kv_heads": 2},
}
RATES = 0.005, 0.01, 0.02, 0.04
STEPS = BASE["stories"].steps


def config_of(kind):
    """Return a kind's config, with as many parameters as GPT-2's.

    What a kind saves or spends elsewhere its feed-forward layer gets or pays.
    """
    gpt2 = model_config(BASE["stories"])
    wanted, config = parameters(gpt2), replace(gpt2, **KINDS[kind])
    configs = [replace(config, d_ff=d_ff) for d_ff in range(1, 400)]
    return min(configs, key=lambda c: abs(parameters(c) - wanted))


def parameters(config):
    """Return how many numbers a model of this config has."""
    return count_params(init_params(config, np.random.default_rng(0)))


def run_of(kind, lr, seed, steps):
    """Return a new run in float64."""
    warmup = BASE["stories"].warmup
    settings = TrainSettings(steps=steps, lr=lr, warmup=warmup, seed=seed)
    return start_run(config_of(kind), settings, np.float64)


def measure(experiment, kind, lr, seed, steps=STEPS):
    """Train one model; return a row of the table."""
    task, run = stories(), run_of(kind, lr, seed, steps)
    for _ in train_steps(run, task.draw):
        pass
    logits, _ = language_model(task.ids, run.params, run.config)
    loss, _ = cross_entropy(logits, task.targets)
    return {
        "experiment": experiment,
        "kind": kind,
        "lr": lr,
        "seed": seed,
        "steps": steps,
        "d_ff": run.config.d_ff,
        "parameters": count_params(run.params),
        "loss": round(loss, 4),
    }


def times(rounds=150):
    """Time steps of all kinds in turn; return the shortest of each.

    In time of the processor: what else the machine does counts less.
    """
    runs = {kind: run_of(kind, 0.01, 0, 10 * rounds) for kind in KINDS}
    batch = stories().draw(np.random.default_rng(0))
    best = dict.fromkeys(KINDS, np.inf)
    for _ in range(rounds):
        for kind, run in runs.items():
            began = time.process_time()
            train_step(run, *batch)
            best[kind] = min(best[kind], time.process_time() - began)
    return [
        {"kind": kind, "milliseconds": round(1000 * seconds, 3)}
        for kind, seconds in best.items()
    ]


def best_rate(rows, kind):
    """Return the rate at which a kind's mean loss is least."""
    return min(
        RATES,
        key=lambda lr: mean(
            row["loss"]
            for row in rows
            if (row["kind"], row["lr"]) == (kind, lr)
        ),
    )


def losses():
    """Yield a row a run: rates on seeds of their own, then the comparison."""
    rates = [
        measure("rates", kind, lr, seed)
        for kind in ("GPT-2", "Llama")
        for lr in RATES
        for seed in tqdm(range(5, 8), f"{kind} at {lr}")
    ]
    yield from rates
    chosen = {kind: best_rate(rates, kind) for kind in ("GPT-2", "Llama")}
    for kind in KINDS:
        lr = chosen.get(kind, chosen["GPT-2"])
        for seed in tqdm(range(5), kind):
            yield measure("parameters", kind, lr, seed)
    took = {r["kind"]: r["milliseconds"] for r in read_table("A4_times")}
    steps = round(STEPS * took["GPT-2"] / took["Llama"])
    for seed in tqdm(range(5), "Llama, equal time"):
        yield measure("time", "Llama", chosen["Llama"], seed, steps)


def main():
    """Write the tables that are not there."""
    keep_freed_memory()
    with one_blas_thread():
        for name, make in (("A4_times", times), ("A4_blocks", losses)):
            path = FOLDER / f"{name}.csv"
            if not path.exists():
                write_rows(path, list(make()))
            print(f"{path.name}: {len(read_table(name))} rows")


if __name__ == "__main__":
    main()
