"""Let several processes train one model: mpiexec -n N python -m helpers train.

Support code; appendix A3 explains it. Every rank draws the same batch, works
on its share of it, and gets the sum of all gradients, so that all make the
same step. Rank 0 is the usual program, which alone reads stories, prints and
writes; the others follow it. mpi4py is imported only under mpiexec.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from helpers.runs.checkpoints import load_run
from helpers.runs.loop import train_on_stories
from helpers.runs.params import named_arrays
from helpers.runs.speed import batch_loss_and_grads, cores, micro_batch

LAST_WORDS = """
import sys
if not sys.stdin.read():  # the pipe was closed without a word
    print(sys.argv[1], file=sys.stderr)
"""


class Team:
    """The processes that train as one: train() gets gradient and agree."""

    def __init__(self, comm):
        from mpi4py import MPI

        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.in_place = MPI.IN_PLACE
        here = comm.Split_type(MPI.COMM_TYPE_SHARED).size  # on this machine
        self.workers = max(1, min(cores(), (os.cpu_count() or 1) // here))

    def gradient(self, ids, targets, params, config, rng=None):
        """Do what batch_loss_and_grads does, together; all get the sums."""
        loss, grads = batch_loss_and_grads(
            ids,
            targets,
            params,
            config,
            rng,
            workers=self.workers,
            share=(self.rank, self.size),
        )
        self.sum_up(next(iter(named_arrays(grads).values())).base)
        return self.comm.allreduce(loss), grads

    def plugs(self):
        """Return the two options of train that make it a team's."""
        return {"gradient": self.gradient, "agree": self.agree}

    def sum_up(self, vector):
        """Replace vector by the sum of the vectors of all ranks."""
        self.comm.Allreduce(self.in_place, vector)

    def agree(self, pressed):
        """Tell all ranks to stop after the same step if Ctrl-C hit one."""
        return self.comm.allreduce(bool(pressed)) > 0


def mpiexec():
    """Return the mpiexec that starts this environment's processes."""
    name = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    return name or "mpiexec"


def n_started():
    """Return how many processes mpiexec says it started, 1 without one."""
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):  # Open MPI; the others
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    return 1


@functools.cache
def find_team():
    """Return the team this process belongs to, None if it is alone.

    Raises ValueError if mpiexec started it and mpi4py is missing or does
    not know the others.
    """
    if n_started() == 1:
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # or it finds no MPI
        raise ValueError(
            f"mpiexec started this, but mpi4py does not work ({error}); "
            'pip install -e ".[mpi]", or leave out mpiexec'
        ) from None
    if MPI.COMM_WORLD.size != n_started():
        raise ValueError(
            f"mpiexec started {n_started()} processes, but mpi4py's MPI knows "
            f"of {MPI.COMM_WORLD.size}; use the mpiexec of its environment"
        )
    team = Team(MPI.COMM_WORLD)
    threadpool_limits(team.workers, user_api="blas")
    sys.stdout.reconfigure(line_buffering=True)  # mpiexec reads a pipe
    return team


@contextlib.contextmanager
def all_or_none():
    """End every rank if this one fails, so that none waits for it forever."""
    try:
        yield
    except BaseException as error:
        if n_started() > 1 and "mpi4py.MPI" in sys.modules:
            from mpi4py.run import set_abort_status

            team = find_team()
            time.sleep(bool(team and team.rank > 0))  # rank 0 says it first
            stopped = isinstance(error, KeyboardInterrupt)
            set_abort_status(130 if stopped else 2)
        raise


def check_share(team, settings):
    """Raise ValueError unless each batch has work for every rank."""
    if team is None:
        return
    batch, size = settings.batch_size, micro_batch(settings.seq_len)
    if batch <= size * (team.size - 1):
        raise ValueError(
            f"{team.size} processes cannot share a batch of {batch}: each "
            f"takes {size} sequences or more; start fewer, or a run with "
            f"--batch-size {size * team.size}"
        )


@contextlib.contextmanager
def lead(team, folder, run, parts):
    """Let the other ranks take part in the training in the block.

    Yields the options of train that do it, none if there is no team.
    folder is where run has been saved, parts the tokens to train and to
    measure on.
    """
    if team is None:
        yield {}
        return
    batch = run.settings.batch_size
    print(f"{team.size} processes share each batch of {batch} sequences")
    message = (
        "\nerror: a process was killed, and the others were ended with it; "
        f"{folder} has the last checkpoint, and --resume goes on from there"
    )
    team.comm.bcast((folder, run.settings, parts))
    with last_words(message):
        yield team.plugs()


def follow(team):
    """Take part in the training that rank 0 leads; print nothing."""
    folder, settings, parts = team.comm.bcast(None)
    run, _ = load_run(folder)
    run.settings = settings  # --resume may have asked for more steps
    with contextlib.redirect_stdout(None):
        train_on_stories(run, *parts, progress=False, **team.plugs())


@contextlib.contextmanager
def last_words(message):
    """Have message printed if this process is killed in the block.

    Another one waits at the end of a pipe, which the system closes.
    """
    watcher = subprocess.Popen(
        [sys.executable, "-c", LAST_WORDS, message],
        stdin=subprocess.PIPE,
        start_new_session=True,  # out of reach of what kills this one
    )
    try:
        yield
    finally:
        watcher.communicate(b"goodbye")
