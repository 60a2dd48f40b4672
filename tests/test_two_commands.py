"""Two commands on one folder, in any order, with a kill at any moment.

    python tests/test_two_commands.py KIND [all]    one of KINDS

runs a command that is killed, or halts, before single calls by which it
changes the disk: open for writing, write, rename, remove, mkdir, rmdir, chmod,
lock, fsync. Then another command runs to its end. Whatever there was is there
still, or what a command has finished; and nothing else is left behind.

It is killed before each call and halts before every second one, with `all`
before each; and after a kill comes one command, with `all` two.
"""

import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache, partial
from pathlib import Path

import pytest
from test_crash import exit_code, in_child, needs_fork, state
from tqdm.auto import tqdm

from helpers import __main__ as cli
from helpers import tinystories
from helpers.runs import checkpoints, files, folders, loop
from helpers.runs.checkpoints import load_run
from helpers.stories.grammar import tell_stories
from helpers.tinystories import END_OF_TEXT, train_bpe

CALLS = {  # that change a disk, as Python tells of them
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"),
    *("os.utime", "os.truncate", "os.link", "os.symlink", "fcntl.flock"),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
SIZES = {
    "vocab-size": 280,
    "d-model": 4,
    "n-heads": 1,
    "n-layers": 1,
    "d-ff": 4,
    "seq-len": 8,
    "batch-size": 1,
    "eval-every": 1,
    "warmup": 0,
    "final": 1,  # the same rate however many steps there are
    "valid-stories": 1,
}
LITTLE = [f"--{name}={value}" for name, value in SIZES.items()]
TRAIN = ["train", "--name=run", *LITTLE, "--steps=2", "--stories={old}"]
FORCE = ["train", "--name=run", *LITTLE, "--steps=1", "--stories={new}"]
FORCE += ["--force", "--seed=1"]
RESUME = ["train", "--name=run", "--resume", "--steps=4"]
GENERATE = ["generate", "--run=run", "--length=2", "--seed=1"]
DATA = ["data", "--from={new}"]
READ = ["train", "--name=reader", *LITTLE, "--steps=1", "--force"]
KINDS = {  # what is there, what is killed, and what comes after it
    "train": ([], TRAIN, [GENERATE, TRAIN, RESUME, FORCE]),
    "train --force": ([TRAIN], FORCE, [GENERATE, TRAIN, RESUME, FORCE]),
    "train --resume": ([TRAIN], RESUME, [GENERATE, TRAIN, RESUME, FORCE]),
    "data": ([], DATA, [READ, DATA, [*DATA, "--force"]]),
    "data --force": (
        [["data", "--from={old}"]],
        [*DATA, "--force"],
        [READ, DATA, [*DATA, "--force"]],
    ),
}


# --- commands in small worlds ---


def make_sources(folder):
    """Write the stories of before and those of after."""
    for seed, name in enumerate(("old", "new")):
        text = END_OF_TEXT.join(tell_stories(12, seed))
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def run(words, world):
    """Run a command in a world; return its code and what it said."""
    places = {name: world.parent / f"{name}.txt" for name in ("old", "new")}
    words = [word.format(**places) for word in words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([*words, f"--folder={world}"])
    return code, out.getvalue() + err.getvalue()


def quick():
    """Leave out what takes long and writes nothing."""
    tqdm.monitor_interval = 0  # a thread could hold its lock at a fork
    os.fsync = lambda _: None
    cli.report = cli.ask_grammar = lambda *_: None
    cli.train_bpe = cache(train_bpe)
    cli.build_parser = cache(cli.build_parser)
    tinystories.tell_stories = lambda n: tell_stories(12, 9)
    os.environ.pop("WORKBOOK_DATA", None)


def found_in(world):
    """Return what a world holds: the state of its run, or its stories."""
    quiet = contextlib.redirect_stderr(io.StringIO())
    with contextlib.suppress(FileNotFoundError), quiet:
        return state(load_run(world / "runs" / "run")[0])
    folders.put_back(world / "tinystories")
    with contextlib.suppress(FileNotFoundError):
        parts = [
            (world / "tinystories" / name).read_bytes()
            for name in ("train.txt", "valid.txt")
        ]
        return b"|".join(parts).decode()
    return None


def litter(world):
    """Return what a finished command should not have left."""
    return [
        path
        for path in world.rglob("*")
        if path.name.startswith(".") or path.suffix == ".partial"
    ]


def history(words, world):
    """Return all that found_in may find while a command runs, in order."""
    saved = [found_in(world)]

    def save_and_note(folder, run, *args, save=checkpoints.save_run):
        save(folder, run, *args)
        saved.append(state(run))

    save = checkpoints.save_run
    loop.save_run = checkpoints.save_run = save_and_note
    code, said = run(words, world)
    loop.save_run = checkpoints.save_run = save
    assert code == 0, said
    return [*saved, found_in(world)]


# --- one that is killed, or halts ---


class Halves:
    """A file that is written in two steps."""

    def __init__(self, file, point):
        self.file, self.point = file, point

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        data, half = memoryview(data), len(data) // 2
        self.point()
        self.file.write(data[:half])
        self.file.flush()
        self.point()
        self.file.write(data[half:])
        self.file.flush()
        self.point = lambda: None  # the first write of a file is enough
        return len(data)


def watched(words, world, at, stop):
    """Run a command; call stop() before its call number `at`."""
    calls = itertools.count(1)

    def point(*_):
        if next(calls) == at:
            stop()

    def hear(event, args):
        if event == "open":
            path, _, flags = args
            wanted = flags & WRITING and str(world) in str(path)
        else:
            wanted = event in CALLS
        if wanted:
            point()

    def open_halves(path, mode):
        return Halves(open(path, mode), point)

    os.fsync, files.open = point, open_halves
    sys.addaudithook(hear)
    return run(words, world)[0]


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


class Halted:
    """A command that waits before its call number `at`."""

    def __init__(self, words, world, at):
        reading, told = os.pipe()
        waiting, self.go = os.pipe()

        def halt():
            os.write(told, b"!")
            os.read(waiting, 1)

        def task():
            os.close(self.go), os.close(reading)
            return watched(words, world, at, halt)

        self.pid = in_child(task)
        os.close(told), os.close(waiting)
        self.waits = os.read(reading, 1) == b"!"  # or it is done
        os.close(reading)

    def end(self, killed=False):
        """Go on to the end, or be killed; return the exit code."""
        if killed:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.go)
        return exit_code(self.pid)


class Worlds:
    """Copies of a small data folder, and what has been seen in them."""

    def __init__(self, folder, kind, all_of_them):
        self.folder, self.number = folder, itertools.count()
        self.n_after, self.step = (2, 1) if all_of_them else (1, 2)
        before, self.first, self.others = KINDS[kind]
        make_sources(folder)
        self.start = folder / "start"
        self.start.mkdir()
        for words in before:
            assert run(words, self.start)[0] == 0
        self.past = history(self.first, self.copy(self.start))
        self.done = {self.past[0], *self.last_ones()}
        self.counts = dict.fromkeys(("kills", "halts", "lost", "litter"), 0)

    def copy(self, world):
        new = self.folder / f"world-{next(self.number)}"
        shutil.copytree(world, new)
        return new

    def last_ones(self):
        """Yield what finished commands leave, alone or one after the other."""
        for words in ([self.first], *([self.first, o] for o in self.others)):
            world = self.copy(self.start)
            for one in words:
                run(one, world)
            yield found_in(world)
        for other in self.others:
            world = self.copy(self.start)
            run(other, world)
            yield found_in(world)
            run(self.first, world)
            yield found_in(world)

    def check(self, world, allowed, other):
        """Count what was lost, and what a command left that writes there."""
        found = found_in(world)
        self.counts["lost"] += found not in allowed
        if other not in (GENERATE, READ):
            self.counts["litter"] += bool(litter(world))
        shutil.rmtree(world)

    def after(self, at):
        """Return n_after of the other commands, by turns."""
        n = len(self.others)
        return [self.others[(at + i) % n] for i in range(self.n_after)]

    def kill_everywhere(self):
        """Kill the first command before each call; run others then."""
        newest = 0
        for at in itertools.count(1):
            world = self.copy(self.start)
            if self.killed(world, at) == 0:
                return
            found = found_in(self.copy(world))
            self.counts["lost"] += found not in self.past[newest:]
            if found in self.past:
                newest = max(newest, self.past.index(found))
            for other in self.after(at):
                self.counts["kills"] += 1
                after = self.copy(world)
                code, said = run(other, after)
                self.counts["lost"] += not right(other, code, said, found)
                self.check(after, {*self.done, found}, other)
            shutil.rmtree(world)

    def killed(self, world, at):
        task = partial(watched, self.first, world, at, kill)
        return exit_code(in_child(task))

    def halt_everywhere(self):
        """Halt the first; run another; let the first go on or be killed."""
        for turn, at in enumerate(itertools.count(1, self.step)):
            rounds, place = divmod(turn, len(self.others))
            other, killed = self.others[place], rounds % 3 == 2
            world = self.copy(self.start)
            first = Halted(self.first, world, at)
            if not first.waits:
                first.end()
                return
            self.counts["halts"] += 1
            code, said = run(other, world)
            assert code in (0, 2) and "Traceback" not in said, said
            ended = first.end(killed)
            assert killed or ended in (0, 2)
            if killed:  # the next one puts in order what it left
                run(other, world)
            self.check(world, {*self.done, *self.past}, other)


def right(words, code, said, found):
    """Tell whether a command said what it has to say of what it found."""
    if words is GENERATE or words is RESUME:
        return code == (0 if found else 2)
    if words is TRAIN:
        return code == 2 and "holds a run" in said if found else code == 0
    if words is DATA:
        return code == 2 and "has stories" in said if found else code == 0
    if words is READ:
        source = "TinyStories" if found else "embedded grammar"
        return code == 0 and source in said
    return code == 0


def main(kind, share="some"):
    """Do some or all of one kind; print what was counted."""
    quick()
    with tempfile.TemporaryDirectory() as folder:
        worlds = Worlds(Path(folder), kind, share == "all")
        worlds.kill_everywhere()
        worlds.halt_everywhere()
        print(json.dumps(worlds.counts))


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "share, least",
    [("some", 25), pytest.param("all", 50, marks=pytest.mark.long)],
)
def test_nothing_is_lost_between_two_commands(kind, share, least, request):
    words = [sys.executable, __file__, kind, share]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    request.node.user_properties.append(("two commands", counts))
    assert counts["lost"] == counts["litter"] == 0
    assert counts["kills"] >= least and counts["halts"] >= least // 2


if __name__ == "__main__":
    main(*sys.argv[1:])
