"""A run survives whatever ends it, and goes on as if nothing had been.

    python tests/test_crash.py random 50 [SEED]
    python tests/test_crash.py every

train a small model by the command line, kill it with SIGKILL, at random
moments or before every single call by which a save reaches the disk, and
resume it. After each kill the checkpoint must be one that a run which nobody
stopped passes through, bit for bit, and no older than the last that was saved.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel
from tqdm.auto import tqdm

from helpers import DATA, SHIPPED
from helpers import __main__ as cli
from helpers.language_model import ModelConfig
from helpers.runs import checkpoints, files, folders, loop
from helpers.runs.checkpoints import CHECKPOINTS, load_run
from helpers.runs.files import (
    fingerprint,
    read_arrays,
    read_newest,
    write_arrays,
)
from helpers.runs.params import named_arrays
from helpers.stories.grammar import tell_stories
from helpers.tinystories import END_OF_TEXT, bpe_tokenizer, train_bpe
from helpers.training import TrainSettings, start_run

PATIENCE = 300  # seconds; a busy machine is no failure
OPTIONS = {
    "vocab-size": 300,
    "d-model": 16,
    "n-heads": 2,
    "n-layers": 1,
    "d-ff": 16,
    "dropout": 0.1,
    "seq-len": 16,
    "batch-size": 2,
    "steps": 12,
    "eval-every": 1,  # save after each step
    "warmup": 2,
    "valid-stories": 1,
}
NEWEST, BEFORE = CHECKPOINTS
pytestmark = pytest.mark.filterwarnings(  # no traceback of a ZipFile's end
    "error::pytest.PytestUnraisableExceptionWarning"
)
needs_fork = pytest.mark.skipif(
    sys.platform != "linux",
    reason="no copies of a process on Windows, nor with Apple's BLAS",
)


# --- the command line, killed ---


def write_stories(folder):
    text = END_OF_TEXT.join(tell_stories(20))
    (folder / "stories.txt").write_text(text, encoding="utf-8")


def command(folder, name, **changes):
    """Return the words that begin a run, or go on with it."""
    begun = any((folder / "runs" / name / c).exists() for c in CHECKPOINTS)
    options = {"valid-stories": 1} if begun else OPTIONS | changes
    return [
        "train",
        *("--resume" if begun else "--force", "--name", name),
        *("--folder", str(folder), "--stories", str(folder / "stories.txt")),
        *(f"--{option}={value}" for option, value in options.items()),
    ]


def state(run):
    """Return a fingerprint of all that decides how a run goes on."""
    rows = [{k: v for k, v in r.items() if k != "seconds"} for r in run.log]
    about = checkpoints.describe_run(run) | {"log": rows}
    arrays = {"about": np.array(json.dumps(about, sort_keys=True))}
    for key in ("mean", "square"):
        arrays |= {
            f"{key} {n}": a for n, a in run.optimizer.state[key].items()
        }
    return fingerprint(arrays | named_arrays(run.params))


def load(folder, name):
    """Return the run of a folder, or None if it has never been saved."""
    with contextlib.suppress(FileNotFoundError):
        return load_run(folder / "runs" / name)[0]


def straight_states(folder, **changes):
    """Train without a stop; return {step: state} of each save."""
    states = {None: None}

    def save_and_note(folder, run, *args):
        save(folder, run, *args)
        states[run.step] = state(run)

    save = checkpoints.save_run
    loop.save_run = checkpoints.save_run = save_and_note
    assert cli.main(command(folder, "straight", **changes)) == 0
    loop.save_run = checkpoints.save_run = save
    return states


def in_child(task):
    """Run a task in a copy of this process; return its id."""
    if pid := os.fork():
        return pid
    tqdm.set_lock(threading.RLock())  # a kill must not lock the parent's
    code = 99
    try:
        with open(os.devnull, "w") as nowhere:
            sys.stdout = sys.stderr = nowhere
            code = task()
    finally:
        os._exit(code)


def exit_code(pid):
    """Wait for a child; return its exit code, -9 if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def train_slowly(words, pipe, rng):
    """Train; write each step that was saved to a pipe.

    The calls by which a save reaches the disk take longer, so that many
    kills fall between them.
    """

    def pause(*_):
        time.sleep(rng.uniform(0, 0.003))

    def replace_slowly(*paths, replace=os.replace):
        pause(), replace(*paths), pause()

    def save_and_tell(folder, run, *args, save=checkpoints.save_run):
        save(folder, run, *args)
        os.write(pipe, f"{run.step} ".encode())

    os.fsync, os.replace = pause, replace_slowly
    loop.save_run = save_and_tell
    return cli.main(words)


def kill_after(n_saves, seconds, words, rng):
    """Train in a child; kill it some time after it has saved so often.

    Returns its exit code and the steps that it has saved.
    """
    reading, writing = os.pipe()
    child_rng = random.Random(rng.random())
    pid = in_child(lambda: train_slowly(words, writing, child_rng))
    os.close(writing)
    told = [b"-"]
    while told[-1] and b"".join(told).count(b" ") < n_saves:
        told.append(os.read(reading, 4096))  # nothing: the child is done
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    while told[-1]:
        told.append(os.read(reading, 4096))
    os.close(reading)
    return exit_code(pid), [int(s) for s in b"".join(told)[1:].split()]


def kill_at_random(folder, n_kills, seed):
    """Kill and resume; count kills, exact resumes and lost checkpoints."""
    rng, chains, newest = random.Random(seed), count(), -1
    kinds = ("kills", "exact", "lost", "finished", "in a write")
    counts = dict.fromkeys(kinds, 0)
    os.fsync = lambda _: None  # what a killed process wrote stays, even so
    began = time.perf_counter()
    states = straight_states(folder)
    longest, name = 0.3 * (time.perf_counter() - began), "run"
    while counts["kills"] < n_kills:
        words, n_saves = command(folder, name), rng.randrange(4)
        seconds = rng.uniform(0, longest / (1 + n_saves))
        code, told = kill_after(n_saves, seconds, words, rng)
        newest, run = max([newest, *told]), load(folder, name)
        step = run.step if run else None
        exact = (state(run) if run else None) == states[step]
        counts["kills"] += code == -signal.SIGKILL
        counts["exact"] += code == -signal.SIGKILL and exact
        counts["lost"] += (-1 if step is None else step) < newest
        counts["in a write"] += any(folder.rglob("*.partial"))
        assert code in (0, -signal.SIGKILL) and exact
        if step == OPTIONS["steps"]:  # all the way: begin another
            counts["finished"] += 1
            name, newest = f"run-{next(chains)}", -1
    return counts


def train_to_call(n, words):
    """Train; die before the n-th call by which files reach the disk."""
    calls = count(1)

    def deadly(call):
        def function(*args):
            if next(calls) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args)

        return function

    os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
    return cli.main(words)


def kill_at_every_call(folder):
    """Kill once before each call, and resume; count as kill_at_random."""
    os.fsync = lambda _: None
    states = straight_states(folder, steps=2)
    counts, newest = (
        dict.fromkeys(("kills", "exact", "lost", "between"), 0),
        -1,
    )
    for n in count(1):
        name = f"run-{n}"
        words = command(folder, name, steps=2)
        code = exit_code(in_child(lambda n=n, w=words: train_to_call(n, w)))
        if code == 0:
            return counts
        run = load(folder, name)
        step = run.step if run else None
        counts["lost"] += (-1 if step is None else step) < newest
        newest = -1 if step is None else step  # a later kill saves no less
        counts["between"] += not (folder / "runs" / name / NEWEST).exists()
        exact = (state(run) if run else None) == states[step]
        assert cli.main(command(folder, name, steps=2)) == 0
        table = (folder / "runs" / name / "log.csv").read_text()
        assert table.splitlines()[-1].startswith("2,")  # two steps, told
        counts["kills"] += code == -signal.SIGKILL
        counts["exact"] += exact and state(load(folder, name)) == states[2]


def in_a_process_of_its_own(*words):
    """Run this file as a program; return what it counted."""
    words = [sys.executable, __file__, *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_fork
@pytest.mark.slow
def test_fifty_kills_at_random_lose_nothing():
    counts = in_a_process_of_its_own("random", "50", "7")
    assert counts["kills"] == counts["exact"] == 50 and counts["lost"] == 0
    assert counts["finished"] >= 1 and counts["in a write"] >= 5


@needs_fork
@pytest.mark.slow
def test_a_kill_before_any_call_loses_nothing():
    counts = in_a_process_of_its_own("every")
    assert counts["kills"] == counts["exact"] >= 30 and counts["lost"] == 0
    assert counts["between"] >= 2


# --- stopped by hand ---

CONFIG = ModelConfig(
    vocab_size=300, max_seq_len=16, d_model=16, n_heads=2, n_layers=1, d_ff=16
)
LONG = TrainSettings(steps=10**6, batch_size=2, seq_len=16, eval_every=10**6)
SHORT = replace(LONG, steps=6, eval_every=2, warmup=2)
TOKENS = np.random.default_rng(0).integers(0, 300, 400).astype(np.uint16)
VALID = TOKENS[:50]
TOKENIZER = bpe_tokenizer(train_bpe(" ".join(tell_stories(20)), 300))


def training(folder, *shell, **changes):
    """Start to train, as a person does in a terminal."""
    write_stories(folder)
    words = command(folder, "run", **changes)
    return subprocess.Popen(
        [*shell, sys.executable, "-u", "-m", "helpers", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        preexec_fn=hear_all if os.name == "posix" else None,
    )


def hear_all():
    """Hear SIGHUP, though the tests themselves may run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def heard(child, word="loss="):
    """Return what a child says until a word: the first step is done."""
    said = ""
    while word not in said:
        assert (piece := child.stdout.read(1)), said
        said += piece
    return said


FAR = {"steps": 10**6, "eval-every": 10**6}  # the next row
STOPS = [getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)]
if os.name == "posix":  # what kill sends, and a terminal that is closed
    STOPS += [signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", STOPS)
def test_ctrl_c_and_the_like_save_what_there_is(number, tmp_path):
    child = training(tmp_path, **FAR)
    said = heard(child)
    child.send_signal(number)
    said += child.communicate(timeout=PATIENCE)[0]
    run, _ = load_run(tmp_path / "runs" / "run")
    assert child.returncode == 0 and run.step > 0
    assert f"stopped after step {run.step}" in said
    assert len(run.notes["recent"]) == run.step and not run.log


def test_ctrl_c_reaches_a_training_whose_output_nobody_reads(tmp_path):
    """As in `train 2>&1 | tee log`, where Ctrl-C ends tee first."""
    child = training(tmp_path, **FAR)
    heard(child)
    child.stdout.close()
    time.sleep(0.3)  # the bar is drawn some times more, for nobody
    child.send_signal(STOPS[0])
    assert child.wait(PATIENCE) == 0
    assert load_run(tmp_path / "runs" / "run")[0].step > 0


@pytest.mark.skipif(os.name != "posix", reason="said in the shell of Unix")
@pytest.mark.parametrize(
    "where, code",
    [
        ("2>&-", 0),
        (">&- 2>&-", 0),
        ("2>/dev/full", 0),
        (">/dev/full", 2),
        (">/dev/full 2>&1", 2),
        ("| true", 0),
        ("2>&1 | head -c 60 >/dev/null", 0),
    ],
)
def test_no_output_ends_a_training(where, code, tmp_path):
    if "full" in where and not Path("/dev/full").exists():
        pytest.skip("only Linux has a disk that is always full")
    pipe = "" if "|" not in where else "; exit ${PIPESTATUS[0]}"
    shell = shutil.which("bash"), "-c", f'"$0" "$@" {where} {pipe}'
    child = training(tmp_path, *shell, steps=30)
    said = child.communicate(timeout=PATIENCE)[0]
    assert load_run(tmp_path / "runs" / "run")[0].step == 30
    assert child.returncode == code and "Traceback" not in said
    assert "BrokenPipe" not in said
    if code and "2>" not in where:
        assert "error: the output is lost ([Errno 28] No space left" in said


def test_a_log_that_is_open_elsewhere_stops_nothing(
    tmp_path, monkeypatch, capsys
):
    """A spreadsheet on Windows lets no other program replace its file."""
    replaced = os.replace

    def replace_others(old, new):
        if Path(new).name == "log.csv":
            raise OSError(32, "The file is used by another process")
        replaced(old, new)

    monkeypatch.setattr(os, "replace", replace_others)
    saved_run(tmp_path)
    assert load_run(tmp_path)[0].step == 6
    said = capsys.readouterr().err
    assert "log.csv cannot be written (The file is used" in said
    assert "; the run itself is saved" in said
    monkeypatch.undo()
    checkpoints.write_summary(tmp_path, load_run(tmp_path)[0])
    assert (tmp_path / "log.csv").read_text().count("\n") == 4


TRAIN_IN_A_CELL = """
import numpy as np
from helpers.language_model import ModelConfig
from helpers.runs.loop import train_on_stories
from helpers.training import TrainSettings, start_run
tokens = np.arange(400, dtype=np.uint16) % 300
config = ModelConfig(
    vocab_size=300, max_seq_len=16, d_model=16, n_heads=2, n_layers=1, d_ff=16
)
run = start_run(config, TrainSettings(10**6, 2, 16, eval_every=10**6))
print("training", flush=True)
log = train_on_stories(run, tokens, tokens[:50], {folder!r}, progress=False)
print("returned", log, run.step)
"""


def test_the_stop_button_of_jupyterlab_saves_what_there_is(tmp_path):
    manager, client = start_new_kernel()
    said = ""

    def hear(message):
        nonlocal said
        said += message["content"].get("text", "")
        if "training" in said and "stopped" not in said:
            time.sleep(0.5)
            manager.interrupt_kernel()

    try:
        reply = client.execute_interactive(
            TRAIN_IN_A_CELL.format(folder=str(tmp_path)),
            output_hook=hear,
            timeout=PATIENCE,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok", said
    run = checkpoints.read_checkpoint(tmp_path / NEWEST)
    assert f"stopped after step {run.step};" in said and run.step > 0
    assert f"returned [] {run.step}" in said


# --- what a checkpoint belongs to ---


def saved_run(folder, settings=SHORT):
    """Train to the end and save; return the run."""
    run = start_run(CONFIG, settings)
    checkpoints.save_run(folder, run, TOKENIZER)
    loop.train_on_stories(run, TOKENS, VALID, folder, progress=False)
    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refuses(call, *words):
    """Return whether a call raises ValueError with these words."""
    with pytest.raises((ValueError, OSError)) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert not [word for word in words if word not in message], message
    return caught.value


@pytest.mark.parametrize(
    "data, word",
    [
        ((TOKENS[::-1], VALID), "the array tokens"),
        ((TOKENS[:-1], VALID), "the array tokens"),
        ((TOKENS, VALID[1:]), "the array valid_tokens"),
        ((TOKENS.astype(np.int64), VALID), "the array tokens"),
    ],
)
def test_other_data_is_refused(data, word, tmp_path):
    saved_run(tmp_path)
    before = contents(tmp_path)
    run, _ = load_run(tmp_path)
    run.settings = replace(run.settings, steps=9)
    refuses(
        lambda: loop.train_on_stories(run, *data, tmp_path, progress=False),
        word,
        "is not what this run began with",
        "start a new run",
    )
    assert run.step == 6 and contents(tmp_path) == before


def test_another_tokenizer_is_refused(tmp_path):
    saved_run(tmp_path)
    other = train_bpe(" ".join(tell_stories(20, seed=1)), 300)
    bpe_tokenizer(other).save(tmp_path / checkpoints.TOKENIZER)
    before = contents(tmp_path)
    what = "tokenizer.tiktoken (fingerprint"
    refuses(lambda: load_run(tmp_path), what, "is not what this run began")
    assert contents(tmp_path) == before


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    saved_run(tmp_path)
    bpe_tokenizer(train_bpe("", 290)).save(tmp_path / checkpoints.TOKENIZER)
    refuses(lambda: load_run(tmp_path), "257 tokens and the model 300")


def test_line_ends_do_not_matter_to_the_tokenizer(tmp_path):
    saved_run(tmp_path)
    path = tmp_path / checkpoints.TOKENIZER
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    load_run(tmp_path)  # as git on Windows checks it out


def test_the_log_goes_on_too(tmp_path):
    """Interrupted between two rows, the next row is the same."""
    straight = saved_run(tmp_path / "straight")
    run = start_run(CONFIG, SHORT)
    options = {"progress": False, "agree": lambda _: run.step == 3}
    loop.train_on_stories(run, TOKENS, VALID, **options)
    assert run.step == 3 and [row["step"] for row in run.log] == [2]
    checkpoints.save_run(tmp_path / "stopped", run, TOKENIZER)
    run, _ = load_run(tmp_path / "stopped")
    loop.train_on_stories(run, TOKENS, VALID, progress=False)
    for row, expected in zip(run.log, straight.log, strict=True):
        assert row | {"seconds": 0} == expected | {"seconds": 0}


def test_the_shipped_run_loads():
    run, tokenizer = load_run(DATA / "runs" / SHIPPED)
    assert tokenizer.vocab_size == run.config.vocab_size
    assert run.step == run.settings.steps


# --- the last two checkpoints ---


def test_the_one_before_is_the_row_before(tmp_path):
    run = saved_run(tmp_path)
    steps = [
        checkpoints.read_checkpoint(tmp_path / c).step for c in CHECKPOINTS
    ]
    assert steps == [6, 4] and state(load_run(tmp_path)[0]) == state(run)


def spoil(path, rng):
    """Damage a file as a bad disk or a hurried hand may."""
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    kind = rng.choice(["flip", "flip", "flip", "cut", "insert", "zeros"])
    if kind == "flip":
        content[place] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del content[place:]
    elif kind == "insert":
        content[place:place] = rng.randbytes(rng.randrange(1, 9))
    else:
        end = min(place + 512, len(content))
        content[place:end] = bytes(end - place)
    path.write_bytes(content)
    return kind


def test_any_damage_is_noticed_or_harmless(tmp_path):
    """400 spoiled files; what still loads must be the same run."""
    run, path, rng = saved_run(tmp_path), tmp_path / NEWEST, random.Random(5)
    whole, noticed = path.read_bytes(), 0
    for _ in range(400):
        kind = spoil(path, rng)
        damaged = path.read_bytes()
        try:
            loaded = checkpoints.read_checkpoint(path)
            assert state(loaded) == state(run), kind
        except ValueError as error:
            assert "use an older one" in str(error)
            noticed += 1
        assert path.read_bytes() == damaged
        path.write_bytes(whole)
    assert noticed > 300


def test_the_older_is_used_and_kept(tmp_path, capsys):
    """A damaged newest one never takes the place of the one before."""
    saved_run(tmp_path)
    (tmp_path / NEWEST).write_bytes(b"")
    run, _ = load_run(tmp_path)
    said = capsys.readouterr().err
    assert run.step == 4 and said.count("\n") == 1
    assert f"{NEWEST} is not a whole checkpoint (" in said
    assert said.startswith(NEWEST) and f", so {BEFORE} is used" in said

    older, replaced = (tmp_path / BEFORE).read_bytes(), os.replace
    moved = []

    def note(old, new):
        assert (tmp_path / BEFORE).read_bytes() == older
        moved.append(Path(new).name)
        replaced(old, new)

    os.replace = note
    try:
        checkpoints.save_run(tmp_path, run)
    finally:
        os.replace = replaced
    assert BEFORE not in moved and load_run(tmp_path)[0].step == 4


def test_the_older_is_used_for_a_file_of_something_else(tmp_path, capsys):
    saved_run(tmp_path)
    arrays = read_arrays(tmp_path / NEWEST)
    arrays["about"] = np.array("[]")
    write_arrays(tmp_path / NEWEST, arrays)
    assert load_run(tmp_path)[0].step == 4
    said = capsys.readouterr().err
    assert f"{NEWEST} does not describe a run (" in said
    assert said.endswith(f"), so {BEFORE} is used\n")


def test_two_damaged_ones_are_said(tmp_path):
    saved_run(tmp_path)
    for name in CHECKPOINTS:
        (tmp_path / name).write_bytes(b"PK")
    before = contents(tmp_path)
    refuses(lambda: load_run(tmp_path), NEWEST, "not a whole checkpoint")
    assert contents(tmp_path) == before


def test_force_leaves_nothing_of_the_old_run(tmp_path):
    write_stories(tmp_path)
    assert cli.main(command(tmp_path, "run", steps=3)) == 0
    words = command(tmp_path, "other", steps=1)
    assert cli.main([w.replace("other", "run") for w in words]) == 0
    folder = tmp_path / "runs" / "run"
    steps = [checkpoints.read_checkpoint(folder / c).step for c in CHECKPOINTS]
    assert steps == [1, 0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only on Linux")
@pytest.mark.parametrize("file", ["checkpoint.npz", "tokenizer.tiktoken"])
def test_force_that_fails_keeps_the_old_run(file, tmp_path, monkeypatch):
    write_stories(tmp_path)
    assert cli.main(command(tmp_path, "run", steps=3)) == 0
    folder = tmp_path / "runs" / "run"
    before = contents(folder)
    words = command(tmp_path, "other", steps=1, **{"vocab-size": 290})
    no_room(monkeypatch, only=file)
    assert cli.main([w.replace("other", "run") for w in words]) == 2
    assert contents(folder) == before


def test_a_folder_that_is_removed_comes_back(tmp_path, monkeypatch):
    def save_and_remove(folder, run, *args, save=checkpoints.save_run):
        save(folder, run, *args)
        if run.step == 3:
            shutil.rmtree(folder)

    write_stories(tmp_path)
    monkeypatch.setattr(loop, "save_run", save_and_remove)
    assert cli.main(command(tmp_path, "run", steps=5)) == 0
    assert load(tmp_path, "run").step == 5


def retrain(tmp_path, *options, steps=1):
    """Train a run of another kind under the name of the first."""
    words = command(tmp_path, "other", steps=steps, seed=1)
    words = ["run" if w == "other" else w for w in words if w != "--force"]
    return cli.main([*words, *options])


def test_files_of_somebody_else_are_not_touched(tmp_path, capsys):
    """With --force, too: there is no run that it could replace."""
    write_stories(tmp_path)
    folder = tmp_path / "runs" / "run"
    for name in ("config.json", "log.csv", "notes.txt", "my.partial"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"my {name}")
        before = contents(folder)
        for options in ([], ["--force"]):
            assert retrain(tmp_path, *options) == 2
            said = capsys.readouterr().err
            assert f"{folder} holds {name} and no run; choose" in said
        assert contents(folder) == before
        shutil.rmtree(folder)
    folder.mkdir()
    assert retrain(tmp_path) == 0  # an empty folder is no obstacle


def test_force_lets_other_files_stay(tmp_path):
    write_stories(tmp_path)
    assert cli.main(command(tmp_path, "run", steps=3)) == 0
    folder = tmp_path / "runs" / "run"
    (folder / "notes.txt").write_text("mine")
    (folder / "a.0123abcd.partial").write_text("mine too")
    (folder / "plots").mkdir()
    (folder / "plots" / "a.png").write_text("a figure")
    (folder / "REPORT.md").write_text("a report of the run before")
    assert retrain(tmp_path, "--force") == 0
    assert load(tmp_path, "run").step == 1
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "a.0123abcd.partial").read_text() == "mine too"
    assert (folder / "plots" / "a.png").read_text() == "a figure"
    assert not (folder / "REPORT.md").exists()
    assert os.listdir(tmp_path / "runs") == ["run"]


@pytest.mark.parametrize(
    "name", ["../run", "a/b", "..", ".hidden", "/tmp/run", "a\\b", "x\n"]
)
def test_a_name_stays_in_its_folder(name, tmp_path, capsys):
    write_stories(tmp_path)
    words = command(tmp_path, "run", steps=1)
    words = [name if word == "run" else word for word in words]
    assert cli.main(words) == 2
    assert "--name must name a folder inside runs/" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["stories.txt"]


@pytest.mark.parametrize("option", ["--resume", "--force"])
def test_a_lock_that_is_removed_lets_one_of_two_go_on(
    option, tmp_path, capsys, monkeypatch
):
    """The other stops when it would save, and says why."""
    write_stories(tmp_path)
    words = command(tmp_path, "run", steps=6)
    seen, add_row = [], loop.add_row

    def let_another_in(run, *row):
        add_row(run, *row)
        if run.step == 4 and not seen:
            seen.append(run)
            (tmp_path / "runs" / ".run.lock").unlink()
            other = [option if w == "--force" else w for w in words]
            given = [w for w in other if option == "--force" or "=" not in w]
            assert cli.main([*given, "--steps=5", "--valid-stories=1"]) == 0

    monkeypatch.setattr(loop, "add_row", let_another_in)
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert "another program has written" in said and "step 4 was not" in said
    assert load(tmp_path, "run").step == 5
    assert os.listdir(tmp_path / "runs") == ["run"]


def test_a_folder_that_is_removed_is_whole_again_at_once(
    tmp_path, monkeypatch
):
    """With its tokenizer, not only at the end of the training."""
    save, whole = checkpoints.save_run, []

    def save_and_remove(folder, run, *args):
        save(folder, run, *args)
        whole.append(load_run(folder)[0].step)
        shutil.rmtree(folder)

    write_stories(tmp_path)
    monkeypatch.setattr(loop, "save_run", save_and_remove)
    assert cli.main(command(tmp_path, "run", steps=3)) == 0
    assert whole == [1, 2, 3]


@pytest.mark.skipif(os.name != "posix", reason="modes and links are of Unix")
def test_modes_and_links_stay(tmp_path):
    write_stories(tmp_path)
    assert cli.main(command(tmp_path, "run", steps=2)) == 0
    folder, disk = tmp_path / "runs" / "run", tmp_path / "a larger disk"
    for path in folder.iterdir():
        path.chmod(0o600)
    (folder / "log.csv").rename(tmp_path / "table.csv")
    (folder / "log.csv").symlink_to(tmp_path / "table.csv")
    assert cli.main([*command(tmp_path, "run"), "--steps=4"]) == 0
    assert (folder / "log.csv").is_symlink()
    assert (tmp_path / "table.csv").read_text().count("\n") == 5
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {0o600}

    folder.rename(disk)
    folder.symlink_to(disk)
    disk.chmod(0o700)
    assert retrain(tmp_path, "--force") == 0
    assert folder.is_symlink() and load(tmp_path, "run").step == 1
    assert disk.stat().st_mode & 0o777 == 0o700
    assert sorted(os.listdir(tmp_path)) == [
        *("a larger disk", "runs", "stories.txt", "table.csv")
    ]


def test_runs_of_older_versions_load_and_go_on(tmp_path):
    """They have a lock inside, and say nothing of their stories."""
    write_stories(tmp_path)
    assert cli.main(command(tmp_path, "run", steps=2)) == 0
    folder = tmp_path / "runs" / "run"
    (folder / ".lock").touch()
    arrays = read_arrays(folder / NEWEST)
    about = json.loads(str(arrays["about"]))
    del about["stories"]
    arrays["about"] = np.array(json.dumps(about))
    write_arrays(folder / NEWEST, arrays)
    assert load(tmp_path, "run").notes["stories"] == {}
    assert cli.main([*command(tmp_path, "run"), "--steps=4"]) == 0
    assert load(tmp_path, "run").step == 4
    assert retrain(tmp_path, "--force") == 0
    assert not (folder / ".lock").exists()


def test_another_tokenizer_replaces_the_whole_run(tmp_path, monkeypatch):
    """A kill between the two files would leave a run that does not load."""
    saved_run(tmp_path / "run")
    ranks = train_bpe(" ".join(tell_stories(20, seed=1)), 300)
    run = start_run(CONFIG, SHORT)

    def kill(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "write_checkpoint", kill)
        checkpoints.save_run(tmp_path / "run", run, bpe_tokenizer(ranks))
    assert load_run(tmp_path / "run")[0].step == 6
    checkpoints.save_run(tmp_path / "run", run, bpe_tokenizer(ranks))
    again, tokenizer = load_run(tmp_path / "run")
    assert again.step == 0 and tokenizer.ranks == ranks
    assert os.listdir(tmp_path) == ["run"]


def test_what_kills_leave_is_gone_with_the_next_start(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    left, other = (
        folder / f"{name}.0123abcd.partial" for name in ("log.csv", "mine")
    )
    left.write_text("half")
    other.write_text("a file of somebody else")
    with folders.only_one(folder):
        assert not left.exists() and other.exists()


def test_a_lock_of_another_is_not_removed(tmp_path):
    """Where somebody has removed the first, and a second training began."""
    folder, lock = tmp_path / "run", tmp_path / ".run.lock"
    with contextlib.ExitStack() as second, folders.only_one(folder):
        lock.unlink()
        second.enter_context(folders.only_one(folder))
        first = second.pop_all()
    with first:  # the first is done, the second is not
        assert lock.exists()
        refuses(lambda: folders.only_one(folder).__enter__(), "another")
    assert not lock.exists()


def test_no_two_train_into_one_folder(tmp_path, capsys):
    write_stories(tmp_path)
    assert cli.main(command(tmp_path, "run", steps=3)) == 0
    folder = tmp_path / "runs" / "run"
    before, words = contents(folder), command(tmp_path, "run")
    with folders.only_one(folder):  # as a training does
        for word in ("--resume", "--force"):
            words = [word if w == "--resume" else w for w in words]
            assert cli.main([*words, "--steps=5"]) == 2
            said = capsys.readouterr().err
            assert f"another training writes to {folder};" in said
    assert contents(folder) == before
    assert cli.main([*command(tmp_path, "run"), "--steps=5"]) == 0


# --- a disk that is full, a folder that is locked ---


def no_room(monkeypatch, only=""):
    """Let files be opened for writing where nothing can be written."""

    def open_full(path, mode):
        Path(path).touch()
        full = Path(path).name.startswith(only)
        return open("/dev/full" if full else path, mode)

    monkeypatch.setattr(files, "open", open_full, raising=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only on Linux")
def test_full_disk_stops_with_a_sentence(tmp_path, monkeypatch):
    saved_run(tmp_path)
    before = contents(tmp_path)
    run, _ = load_run(tmp_path)
    run.settings = replace(run.settings, steps=9)
    no_room(monkeypatch)
    error = refuses(
        lambda: loop.train_on_stories(
            run, TOKENS, VALID, tmp_path, progress=False
        ),
        "checkpoint.npz",
        "No space left on device",
        "what stood there stays; make room",
    )
    assert isinstance(error, OSError) and contents(tmp_path) == before
    assert run.step == 8  # and the model keeps what it has learned


def test_disk_full_at_any_byte(tmp_path):
    resource = pytest.importorskip("resource")
    run = saved_run(tmp_path)
    before, limits = contents(tmp_path), resource.getrlimit(RLIMIT)
    size, rng = len(before[NEWEST]), random.Random(3)
    for n_bytes in [0, 1, size - 1, *rng.choices(range(size), k=40)]:
        resource.setrlimit(RLIMIT, (n_bytes, limits[1]))
        try:
            error = refuses(
                lambda: checkpoints.save_run(tmp_path, run), "make room"
            )
        finally:
            resource.setrlimit(RLIMIT, limits)
        assert isinstance(error, OSError)
        assert contents(tmp_path) == before


RLIMIT = 1  # resource.RLIMIT_FSIZE, the largest file


@contextlib.contextmanager
def locked(folder, mode):
    """Give a file or folder a mode; be nobody, to whom it applies, if root."""
    root = os.geteuid() == 0
    folder.chmod(mode)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def open_folder():
    """Return a folder that everybody may look into; tmp_path is private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes are of Unix")
def test_locked_folder(open_folder):
    run = saved_run(open_folder)
    before = contents(open_folder)
    with locked(open_folder, 0o555):
        refuses(
            lambda: checkpoints.save_run(open_folder, run),
            "Permission denied",
            "choose a folder that can be written to",
        )
        assert load_run(open_folder)[0].step == 6  # reading needs no more
    assert contents(open_folder) == before


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes are of Unix")
def test_resume_in_a_locked_folder(open_folder, capsys):
    write_stories(open_folder)
    assert cli.main(command(open_folder, "run", steps=2)) == 0
    folder, words = open_folder / "runs" / "run", command(open_folder, "run")
    before = contents(folder)
    with locked(folder.parent, 0o555):
        assert cli.main([*words, "--steps=4"]) == 2
    assert capsys.readouterr().err.endswith(".lock: Permission denied\n")
    assert contents(folder) == before


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes are of Unix")
def test_a_checkpoint_that_may_not_be_read(open_folder, capsys):
    saved_run(open_folder)
    with locked(open_folder / NEWEST, 0):
        assert load_run(open_folder)[0].step == 4
    said = capsys.readouterr().err
    assert f"Permission denied: '{NEWEST}', so {BEFORE} is used" in said


def test_windows_may_be_asked_again(tmp_path, monkeypatch):
    """There a file cannot be replaced while another program reads it."""
    replaced, refused = os.replace, [1, 2, 3]

    def replace_in_the_end(old, new):
        if refused:
            refused.pop()
            raise PermissionError(13, "Access is denied", str(new))
        replaced(old, new)

    monkeypatch.setattr(os, "replace", replace_in_the_end)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    write_arrays(tmp_path / "a.npz", {"x": np.ones(3)})
    assert not refused and read_arrays(tmp_path / "a.npz")["x"].sum() == 3


def test_writes_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    """A power cut: the bytes first, then the name, then the folder."""
    calls = []

    def note(name):
        call = getattr(os, name)

        def function(*args):
            calls.append(name)
            return call(*args)

        monkeypatch.setattr(os, name, function)

    note("fsync"), note("replace")
    write_arrays(tmp_path / "a.npz", {"x": np.ones(3)})
    folder_too = ["fsync"] if os.name == "posix" else []
    assert calls == ["fsync", "replace", *folder_too]


def test_two_may_write_the_same_file(tmp_path):
    """As two JupyterLabs may: the file is one or the other, never a mix."""
    paths, problems = [tmp_path / "a.npz", tmp_path / "before.npz"], []

    def write(value):
        try:
            for _ in range(20):
                arrays = {"x": np.full(20_000, value)}
                write_arrays(paths[0], arrays, paths[1])
                found = read_newest(read_arrays, *paths)["x"]
                assert np.all(found == found[0])
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(v,)) for v in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and sorted(tmp_path.iterdir()) == paths


def test_another_may_have_moved_it_just_now(tmp_path, monkeypatch):
    path, before, replaced = tmp_path / "a", tmp_path / "b", os.replace

    def replace_too_late(old, new):
        if Path(new) == before:
            Path(old).unlink()
        replaced(old, new)

    write_arrays(path, {"x": np.ones(3)})
    monkeypatch.setattr(os, "replace", replace_too_late)
    write_arrays(path, {"x": np.zeros(3)}, before)
    assert read_arrays(path)["x"].sum() == 0


def test_what_kills_leave_is_swept_up(tmp_path):
    names = ("a.npz.00000001", "a.npz.00000002", "b.npz.00000001", "a.npz.my")
    old, new, *others = (tmp_path / f"{name}.partial" for name in names)
    for path in (old, new, *others):
        path.write_text("half")
    for path in (old, *others):
        os.utime(path, (0, 0))
    write_arrays(tmp_path / "a.npz", {"x": np.ones(3)})
    assert not old.exists() and new.exists()
    assert all(path.exists() for path in others)


def main(kind, n_kills="50", seed="0"):
    """Kill as often as asked, and print what was counted."""
    tqdm.monitor_interval = 0  # a thread could hold its lock at a fork
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_stories(folder)
        if kind == "every":
            return print(json.dumps(kill_at_every_call(folder)))
        print(json.dumps(kill_at_random(folder, int(n_kills), int(seed))))


if __name__ == "__main__":
    main(*sys.argv[1:])
