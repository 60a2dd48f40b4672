"""Measure what appendix A3 shows: how a step grows, what messages cost.

Support code. `python -m helpers.runs.scale_tables [growth] [mpi]` writes
data/experiments/A3_*.csv, those named or else those that are not there, in
about five minutes, best on a machine that does nothing else. One thread a
process, so that two processes can be compared with one.
"""

import json
import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace

import numpy as np

from helpers.language_model import PRESETS, init_params, loss_and_grads
from helpers.runs.files import brief
from helpers.runs.params import named_arrays
from helpers.runs.speed import keep_freed_memory, one_blas_thread
from helpers.runs.tables import FOLDER, write_rows

BASE = {"T": 128, "d_model": 128, "n_layers": 2, "vocab_size": 4096, "B": 4}
GROWTH = {
    "T": (64, 128, 256, 512, 1024),
    "d_model": (64, 128, 256, 512),
    "n_layers": (1, 2, 4, 8),
    "vocab_size": (1024, 2048, 4096, 8192, 16384),
    "B": (1, 2, 4, 8, 16),
}
BYTES = [4 * 4**i for i in range(12)]  # 4 B to 16 MiB


def write(name, rows):
    """Write rows, dicts with the same keys, to data/experiments/name.csv."""
    write_rows(FOLDER / f"{name}.csv", rows)
    print(f"{name}.csv: {len(rows)} rows")


# how a step grows


def model(T, d_model, n_layers, vocab_size):
    """Return a config of these sizes: heads of 32, d_ff four times wider."""
    return replace(
        PRESETS["small"],
        vocab_size=vocab_size,
        max_seq_len=T,
        d_model=d_model,
        n_heads=d_model // 32,
        n_layers=n_layers,
        d_ff=4 * d_model,
    )


def problem(B, T, **sizes):
    """Return the arguments of loss_and_grads for one batch."""
    config = model(T, **sizes)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, config.vocab_size, (B, T))
    return ids, ids, init_params(config, rng), config


def peak_bytes(function, *arguments):
    """Return how much more memory NumPy held at most while function ran."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    function(*arguments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


def growth(rounds=10):
    """Time one step as one size at a time grows; keep the shortest times.

    What else the machine does can only lengthen a time.
    """
    keep_freed_memory()
    cases = [(name, value) for name in GROWTH for value in GROWTH[name]]
    times = {case: [] for case in cases}
    with one_blas_thread():
        for _ in range(rounds):
            for name, value in cases:
                arguments = problem(**BASE | {name: value})
                began = time.perf_counter()
                loss_and_grads(*arguments)
                times[name, value].append(time.perf_counter() - began)
        rows = []
        for name, value in cases:
            arguments = problem(**BASE | {name: value})
            row = {"size": name, "value": value}
            row["seconds"] = f"{min(times[name, value]):.4g}"
            row["peak_bytes"] = peak_bytes(loss_and_grads, *arguments)
            rows.append(row)
    write("A3_growth", rows)


# several processes


def rank_program(work, n):
    """Do what mpi() asks for in one of the processes; rank 0 prints JSON."""
    from mpi4py import MPI

    keep_freed_memory()
    works = {"step": time_steps, "reduce": time_reduce, "losses": find_losses}
    found = works[work](MPI, n)
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(found))


def time_steps(MPI, B, steps=10):
    """Return the seconds of steps on B sequences: three parts of each."""
    from helpers.runs.distributed import Team
    from helpers.training import AdamW

    clock = time.perf_counter
    team = Team(MPI.COMM_WORLD)
    team.workers = 1
    ids, targets, params, config = problem(**BASE | {"B": B})
    optimizer = AdamW(params, 0.1, lr=2e-3, betas=(0.9, 0.95))
    real = team.sum_up
    waited = []
    found = []

    def timed(vector):
        began = clock()
        real(vector)
        waited.append(clock() - began)

    team.sum_up = timed
    for _ in range(steps + 2):
        team.comm.Barrier()
        began = clock()
        _, grads = team.gradient(ids, targets, params, config)
        between = clock()
        optimizer.step(grads)
        update = clock() - between
        found.append((between - began - waited[-1], waited[-1], update))
    return found[2:]  # the first two find cold memory


def find_losses(MPI, steps):
    """Return the losses of the first steps of a small run, with dropout."""
    from helpers.runs.distributed import Team
    from helpers.training import TrainSettings, start_run, train_step

    settings = TrainSettings(steps=steps, warmup=5)
    sizes = {"T": 64, "d_model": 64, "n_layers": 2, "vocab_size": 512}
    run = start_run(replace(model(**sizes), dropout=0.1), settings)
    team = Team(MPI.COMM_WORLD)
    found = []
    for _ in range(steps):
        ids, targets = run.rng.integers(0, 512, (2, 16, 64))
        loss, _ = train_step(run, ids, targets, gradient=team.gradient)
        found.append(loss)
    return found


def time_reduce(MPI, n_bytes, repeats=30):
    """Return the seconds of all-reduces of n_bytes of float32."""
    vector = np.zeros(n_bytes // 4, np.float32)
    found = []
    for _ in range(repeats + 3):
        MPI.COMM_WORLD.Barrier()
        began = time.perf_counter()
        MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, vector)
        found.append(time.perf_counter() - began)
    return found[3:]


def ask(N, work, n):
    """Return what rank_program prints on N ranks."""
    from helpers.runs.distributed import mpiexec

    command = [mpiexec(), "-n", str(N), sys.executable, "-m"]
    command += ["helpers.runs.scale_tables", "--rank", work, str(n)]
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=os.environ | one_thread, capture_output=True, text=True
    )
    if done.returncode:
        raise OSError(f"{mpiexec()} failed ({brief(done.stderr[-200:])})")
    return json.loads(done.stdout)


def mpi(rounds=8):
    """Time steps of 1, 2 and 4 ranks in turns, and all-reduces of 2.

    Keeps the shortest step of each kind, and the shortest all-reduces.
    """
    cases = [("strong", N, 16) for N in (1, 2, 4)]
    cases += [("weak", N, 8 * N) for N in (1, 2, 4)]
    found = {case: [] for case in cases}
    for _ in range(rounds):
        for kind, N, B in cases:
            found[kind, N, B] += ask(N, "step", B)
    params = problem(**BASE)[2]
    n_bytes = 4 * sum(a.size for a in named_arrays(params).values())
    names = ("gradient", "all_reduce", "update")
    rows = []
    for kind, N, B in cases:
        shortest = min(found[kind, N, B], key=sum)
        row = {"scaling": kind, "ranks": N, "B": B, "gradient_bytes": n_bytes}
        row |= {name: f"{s:.4g}" for name, s in zip(names, shortest)}
        rows.append(row)
    write("A3_mpi", rows)
    rows = []
    for n in BYTES:
        seconds = min(ask(2, "reduce", n))
        rows.append({"bytes": n, "seconds": f"{seconds:.4g}"})
    write("A3_all_reduce", rows)


TABLES = {
    "growth": (growth, ["A3_growth"]),
    "mpi": (mpi, ["A3_mpi", "A3_all_reduce"]),
}


def main(words):
    """Make the tables of the names given, else those that are not there."""
    if words[:1] == ["--rank"]:
        return rank_program(words[1], int(words[2]))
    for name, (function, tables) in TABLES.items():
        there = all((FOLDER / f"{table}.csv").exists() for table in tables)
        if name in words or not words and not there:
            function()


if __name__ == "__main__":
    main(sys.argv[1:])
