"""Several processes train as one does: the same losses, and no loose ends.

These tests start MPI jobs; CI installs MPI with the extra of that name.
"""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from helpers import __main__ as cli
from helpers.language_model import ModelConfig, init_params
from helpers.runs import distributed, speed
from helpers.runs.checkpoints import load_run
from helpers.runs.params import named_arrays
from helpers.stories.grammar import tell_stories
from helpers.tinystories import END_OF_TEXT

needs_mpi = pytest.mark.skipif(
    sys.platform == "win32", reason="jobs are started and killed as on Unix"
)
SMALL = {
    "vocab-size": 300,
    "steps": 20,
    "eval-every": 1,
    "batch-size": 12,
    "seq-len": 16,
    "valid-stories": 3,
}
ENV = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a data folder with a file of stories."""
    folder = tmp_path_factory.mktemp("däta folder")
    text = END_OF_TEXT.join(tell_stories(60))
    (folder / "stories.txt").write_text(text, encoding="utf-8")
    return folder


def words(folder, name, *options, **changes):
    """Return the words of a command that trains a small run."""
    settings = SMALL | changes
    made = [f"--{key}={value}" for key, value in settings.items()]
    source = "--stories", folder / "stories.txt", "--folder", folder
    command = ["train", *source, "--name", name, *made, *options]
    return [str(word) for word in command]


def job(N, command, **options):
    """Start a command of helpers on N ranks."""
    start = [distributed.mpiexec(), "-n", str(N), sys.executable, "-m"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [*start, "helpers", *command], env=ENV, text=True, **pipes, **options
    )


def finish(process, seconds=120):
    """Wait for a job; return exit code, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def assert_same_run(folder, name, other, rel=1e-6):
    """Compare every loss and all parameters of two runs."""
    runs = [load_run(folder / "runs" / each)[0] for each in (name, other)]
    assert runs[0].step == runs[1].step == 20
    for row, expected in zip(*(run.log for run in runs)):
        for key in ("step", "train_loss", "valid_loss"):
            assert row[key] == pytest.approx(expected[key], rel=rel)
    mine, others = (named_arrays(run.params).values() for run in runs)
    gap = sum(((a - b) ** 2).sum() for a, b in zip(mine, others)) ** 0.5
    assert gap < rel * sum((a**2).sum() for a in others) ** 0.5
    state = [run.rng.bit_generator.state for run in runs]
    assert state[0] == state[1]


@pytest.fixture(scope="module")
def alone(folder):
    """Train the run that all others are compared with, without MPI."""
    assert cli.main(words(folder, "alone", "--dropout=0.2")) == 0
    assert cli.main(words(folder, "alone-plain", "--dropout=0")) == 0


# the same numbers


@needs_mpi
@pytest.mark.parametrize(
    "N, like, dropout",
    [(2, "alone-plain", 0), (2, "alone", 0.2), (3, "alone", 0.2)],
)
def test_ranks_train_as_one(N, like, dropout, folder, alone):
    name = f"{like}-{N}"
    command = words(folder, name, f"--dropout={dropout}")
    code, out, err = finish(job(N, command))
    assert code == 0, err
    assert out.count("model: ") == 1  # rank 0 alone speaks
    assert f"{N} processes share each batch of 12" in out
    assert err.count("| 0/20") == 1  # and alone draws a bar
    assert_same_run(folder, name, like)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_shares_add_up(n):
    rng = np.random.default_rng(0)
    config = ModelConfig(
        vocab_size=11,
        max_seq_len=8,
        d_model=12,
        n_heads=3,
        n_layers=2,
        d_ff=20,
        dropout=0.3,
    )
    params = init_params(config, rng, np.float64)
    batch = (*rng.integers(0, 11, (2, 10, 5)), params, config)

    def part(i, n):
        coins = np.random.default_rng(7)
        return speed.batch_loss_and_grads(*batch, coins, size=2, share=(i, n))

    loss, grads = part(0, 1)
    parts = [part(i, n) for i in range(n)]
    assert sum(p[0] for p in parts) == pytest.approx(loss, rel=1e-12)
    for name, grad in named_arrays(grads).items():
        sums = sum(named_arrays(p[1])[name] for p in parts)
        np.testing.assert_allclose(sums, grad, rtol=1e-9, atol=1e-12)


def test_gradients_are_one_message():
    """What Team sends is the memory of all gradients, and nothing else."""
    rng = np.random.default_rng(0)
    config = ModelConfig(
        vocab_size=11,
        max_seq_len=8,
        d_model=12,
        n_heads=3,
        n_layers=2,
        d_ff=20,
    )
    params = init_params(config, rng)
    ids = rng.integers(0, 11, (4, 5))
    _, grads = speed.batch_loss_and_grads(ids, ids, params, config)
    arrays = list(named_arrays(grads).values())
    vector = arrays[0].base
    assert vector.ndim == 1
    assert vector.size == sum(array.size for array in arrays)
    assert all(array.base is vector for array in arrays)


# what may go wrong


def ranks_of(process):
    """Return the processes of a job that train, rank 0 or another."""
    children = psutil.Process(process.pid).children(recursive=True)
    found = []
    for child in children:
        line = child.cmdline()
        if line[1:3] == ["-m", "helpers"]:
            found.append(child)
    return sorted(found, key=lambda child: child.pid)


@needs_mpi
@pytest.mark.parametrize("victim", [0, 1])
def test_killed_rank_ends_the_job(victim, folder, alone):
    name = f"killed-{victim}"
    path = folder / "runs" / name / "log.csv"
    process = job(2, words(folder, name, "--dropout=0.2"))
    while process.poll() is None and not (path.exists() and rows(path) > 3):
        time.sleep(0.002)
    ranks_of(process)[victim].kill()
    code, _, err = finish(process, seconds=60)
    assert code != 0
    assert f"{folder / 'runs' / name} has the last checkpoint" in err
    assert "--resume goes on" in err and "Traceback" not in err
    run, _ = load_run(folder / "runs" / name)
    assert 0 < run.step < 20
    source = "--stories", folder / "stories.txt", "--folder", folder
    command = ["train", "--resume", "--name", name, "--valid-stories", 3]
    code, out, err = finish(job(2, map(str, [*command, *source])))
    assert code == 0, err
    assert_same_run(folder, name, "alone")


def rows(path):
    return path.read_text().count("\n") - 1


@needs_mpi
def test_ctrl_c_stops_all_after_the_same_step(folder):
    path = folder / "runs" / "stopped" / "log.csv"
    command = words(folder, "stopped", **{"steps": 5000, "eval-every": 20})
    process = job(2, command, start_new_session=True)
    while process.poll() is None and not (path.exists() and rows(path) > 0):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    code, out, err = finish(process)
    assert code == 0, err
    assert out.count("stopped after step") == 1
    run, _ = load_run(folder / "runs" / "stopped")
    assert 20 <= run.step < 5000
    assert f"after step {run.step:,}, on 3 stories" in out


@needs_mpi
def test_one_sentence_from_rank_0(folder, alone):
    small = words(folder, "refused", **{"batch-size": 4})
    for command, sentence in (
        (small, "cannot share a batch of 4"),
        (words(folder, "alone"), "holds a run"),
    ):
        code, out, err = finish(job(2, command))
        assert code == 2 and sentence in err
        assert err.count("error: ") == 1 and "Traceback" not in err
    assert not (folder / "runs" / "refused").exists()


@needs_mpi
def test_an_error_of_one_rank_ends_all(folder):
    program = f"""
import sys
from helpers.runs import distributed
from helpers.__main__ import main
if distributed.find_team().rank == 1:
    def load_run(folder):
        raise OSError("the disk of this rank is gone")
    distributed.load_run = load_run
sys.exit(main({words(folder, "half")!r}))
"""
    start = [distributed.mpiexec(), "-n", "2", sys.executable, "-c", program]
    done = subprocess.run(
        start, capture_output=True, text=True, timeout=60, env=ENV
    )
    assert done.returncode == 2
    assert "error: the disk of this rank is gone" in done.stderr


# without MPI


def test_alone_without_mpiexec(monkeypatch):
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert distributed.n_started() == 1
    monkeypatch.setenv("PMI_SIZE", "what")
    assert distributed.n_started() == 1
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    assert distributed.n_started() == 3


def test_mpi4py_is_left_alone_without_mpiexec():
    code = (
        "import sys; from helpers import __main__; "
        "from helpers.runs import distributed as d; "
        "assert d.find_team() is None and 'mpi4py' not in sys.modules"
    )
    env = {k: v for k, v in ENV.items() if not k.startswith(("PMI", "OMPI"))}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), 15)"])
def test_last_words_are_those_of_the_dead(end, capfd):
    code = (
        "import os; from helpers.runs.distributed import last_words\n"
        f"with last_words('remember me'):\n    {end}"
    )
    subprocess.run([sys.executable, "-c", code])
    err, deadline = capfd.readouterr().err, time.time() + 20
    while end != "pass" and not err and time.time() < deadline:
        time.sleep(0.05)
        err = capfd.readouterr().err
    assert err.strip() == ("" if end == "pass" else "remember me")
