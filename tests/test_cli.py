"""Check `python -m helpers`: each command, and each way it can go wrong."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from helpers import __main__ as cli
from helpers import tinystories, training
from helpers.runs import files
from helpers.runs.checkpoints import load_run
from helpers.stories import download
from helpers.stories.grammar import tell_stories
from helpers.tinystories import (
    END_OF_TEXT,
    bpe_tokenizer,
    load_stories,
    train_bpe,
)

MAKEFILE = Path(__file__).parent.parent / "Makefile"
STORIES = tell_stories(60)
SMALL = {
    "vocab-size": 300,
    "steps": 4,
    "eval-every": 2,
    "batch-size": 2,
    "seq-len": 16,
    "valid-stories": 3,
}
FEW_STEPS = [f"--{name}={value}" for name, value in SMALL.items()]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(download, "hub_reachable", lambda: False)


@pytest.fixture
def run(capsys):
    """Run one command; return exit code, stdout and stderr."""

    def run(*words):
        code = cli.main([str(word) for word in words])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.txt"
    path.write_text(f"\n{END_OF_TEXT}\n".join(STORIES), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a data folder with one small trained run, my-tiny."""
    folder = tmp_path_factory.mktemp("data")
    path = folder / "stories.txt"
    path.write_text(END_OF_TEXT.join(STORIES), encoding="utf-8")
    words = ["train", *FEW_STEPS, "--stories", path, "--folder", folder]
    assert cli.main([str(word) for word in words]) == 0
    return folder


def error_of(result):
    """Return the sentence of a command that must have failed in one line."""
    code, _, err = result
    assert code == 2 and err.count("\n") == 1
    return err.removeprefix("error: ").strip()


# data


def test_data_splits_a_file(run, source, tmp_path):
    command = "data", "--from", source, "--folder", tmp_path
    code, out, _ = run(*command)
    made = tmp_path / "tinystories"
    assert code == 0
    assert "54 stories to train on, 6 held out, 0 repeated" in out
    assert sorted(path.name for path in made.iterdir()) == [
        "train.txt",
        "valid.txt",
    ]
    train_stories = load_stories(made / "train.txt")
    valid = load_stories(made / "valid.txt")
    assert sorted(train_stories + valid) == sorted(STORIES)


def test_data_takes_the_first_and_drops_repeats(run, tmp_path):
    path = tmp_path / "source.txt"
    path.write_text(END_OF_TEXT.join(STORIES[:20] * 2), encoding="utf-8")
    command = "data", "--from", path, "--folder", tmp_path, "--stories", 30
    assert (
        "18 stories to train on, 2 held out, 10 repeated" in run(*command)[1]
    )


def test_data_keeps_what_is_there(run, source, tmp_path):
    command = "data", "--from", source, "--folder", tmp_path
    run(*command)
    written = (tmp_path / "tinystories" / "train.txt").read_bytes()
    assert "--force replaces them" in error_of(run(*command, "--stories", 9))
    assert (tmp_path / "tinystories" / "train.txt").read_bytes() == written
    assert run(*command, "--stories", 20, "--force")[0] == 0
    assert (tmp_path / "tinystories" / "train.txt").read_bytes() != written


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only on Linux")
def test_data_that_finds_no_room_keeps_what_is_there(
    run, source, tmp_path, monkeypatch
):
    def open_full(path, mode):
        full = Path(path).name.startswith("train.txt")
        return open("/dev/full" if full else path, mode)

    command = "data", "--from", source, "--folder", tmp_path
    run(*command)
    written = {p: p.read_bytes() for p in (tmp_path / "tinystories").iterdir()}
    monkeypatch.setattr(files, "open", open_full, raising=False)
    message = error_of(run(*command, "--stories", 20, "--force"))
    assert "No space left" in message
    assert written == {
        p: p.read_bytes() for p in (tmp_path / "tinystories").iterdir()
    }


def test_data_leaves_other_files_alone(run, source, tmp_path):
    made = tmp_path / "tinystories"
    made.mkdir()
    (made / "notes.txt").write_text("mine")
    command = "data", "--from", source, "--folder", tmp_path
    assert run(*command)[0] == 0
    assert run(*command, "--force", "--stories", 20)[0] == 0
    assert (made / "notes.txt").read_text() == "mine"
    assert sorted(os.listdir(made)) == ["notes.txt", "train.txt", "valid.txt"]
    (made / "train.txt").unlink()  # then whose is the other?
    assert "has stories already" in error_of(run(*command))


@pytest.mark.parametrize("command", ["data", "train"])
def test_five_stories_are_enough(command, run, tmp_path):
    path = tmp_path / "source.txt"
    path.write_text(END_OF_TEXT.join(STORIES[:5]), encoding="utf-8")
    option = {"data": "--from", "train": "--stories"}[command]
    few = FEW_STEPS if command == "train" else []
    code, out, _ = run(command, *few, option, path, "--folder", tmp_path)
    assert code == 0 and ("4 stories" in out or "4 of" in out)


def test_what_cannot_be_seen_is_no_story(run, tmp_path):
    """Nor does it tell two stories apart: files are joined, BOM and all."""
    path = tmp_path / "source.txt"
    ends = f"\r\n{END_OF_TEXT}\r\n"
    joined = [
        "\ufeffOne.\r\nTwo.",
        "\ufeff",
        "\u200b\n",
        "Three.",
        "One.\nTwo.",
    ]
    path.write_bytes(ends.join(joined).encode())
    assert load_stories(path) == ["One.\nTwo.", "Three.", "One.\nTwo."]
    code, out, _ = run("data", "--from", path, "--folder", tmp_path)
    assert code == 0 and "1 repeated" in out


def test_stories_longer_than_a_piece_of_a_file(tmp_path):
    """Whose ends lie across the pieces in which a file is read."""
    stories = ["é" * (2**19 - n) for n in range(14)] + ["z" * 5_000_000, "a"]
    path = tmp_path / "source.txt"
    path.write_text(END_OF_TEXT.join(stories), encoding="utf-8")
    assert load_stories(path) == stories
    path.write_bytes(path.read_bytes() + b"\xe9 ")
    size = path.stat().st_size
    with pytest.raises(ValueError, match=rf"\(byte {size - 2}\)"):
        load_stories(path)


MEMORY = """
import resource, sys
from helpers import __main__ as cli
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert cli.main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts in kB")
@pytest.mark.parametrize("sign", ["", " “Hi”", " 🙂"])
def test_data_takes_five_times_the_file_in_memory(sign, tmp_path):
    path, n_bytes = tmp_path / "source.txt", 0
    with open(path, "wb") as file:
        for i in range(25_000):
            story = f"{i} {STORIES[i % 60]}{sign}\n{END_OF_TEXT}\n"
            n_bytes += file.write(story.encode("utf-8"))
    command = "data", "--from", str(path), "--folder", str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert n_bytes > 1e7
    assert 1024 * int(done.stdout.splitlines()[-1]) < 5 * n_bytes


def test_data_without_network_says_so(run, tmp_path):
    code, out, _ = run("data", "--folder", tmp_path)
    assert (code, out) == (1, cli.NO_NETWORK + "\n")
    assert not list(tmp_path.iterdir())


def test_data_from_the_hub(run, source, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "hub_reachable", lambda: True)
    fetch = download.download_stories
    monkeypatch.setattr(
        download, "download_stories", lambda n: fetch(n, str(source))
    )
    code, out, _ = run("data", "--folder", tmp_path, "--stories", 40)
    assert code == 0 and "36 stories to train on, 4 held out" in out


def test_interrupted_download_writes_nothing(run, tmp_path, monkeypatch):
    def interrupt(n):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "hub_reachable", lambda: True)
    monkeypatch.setattr(download, "download_stories", interrupt)
    assert run("data", "--folder", tmp_path)[0] == 130
    assert not list(tmp_path.iterdir())


# download


@pytest.mark.parametrize(
    "lines",
    [
        ["", "A b.", "C.", END_OF_TEXT, "", "D.", END_OF_TEXT],
        ["A b.", f"C.{END_OF_TEXT}D.", END_OF_TEXT, "", END_OF_TEXT],
        ["A b.", "C.", END_OF_TEXT, "D.", ""],
    ],
    ids=["line of its own", "inside a line", "cut off"],
)
def test_lines_are_grouped_into_stories(lines):
    assert list(download.group_stories(lines)) == ["A b.\nC.", "D."]


def test_download_reads_as_the_hub_is_read(source):
    """The same call of load_dataset, on a file instead of the hub."""
    assert download.download_stories(7, str(source)) == STORIES[:7]
    assert download.download_stories(99, str(source)) == STORIES


def test_failed_download_is_one_oserror(tmp_path):
    with pytest.raises(OSError, match="TinyStories did not arrive"):
        download.download_stories(1, str(tmp_path / "none.txt"))


PROXIES = [
    name
    for kind in ("http", "https", "all", "no")
    for name in (f"{kind}_proxy", f"{kind}_proxy".upper())
]


@pytest.mark.parametrize(
    "variable, form, found",
    [
        ("https_proxy", "http://{}", True),
        ("https_proxy", "{}", True),
        ("HTTPS_PROXY", "{}/", True),
        ("all_proxy", "http://{}", True),
        ("https_proxy", "nonsense:port", False),
    ],
)
def test_hub_is_looked_for_behind_a_proxy(variable, form, found, monkeypatch):
    monkeypatch.undo()  # the true hub_reachable
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT", *PROXIES):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv(variable, form.format(place))
        assert download.hub_reachable() == found
        monkeypatch.setenv("no_proxy", "huggingface.co")
        assert download.gate() == ("huggingface.co", 443)


def test_hub_is_looked_for(monkeypatch):
    monkeypatch.undo()  # the true hub_reachable
    for name in ("HF_HUB_OFFLINE", *PROXIES):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", place)
        assert download.hub_reachable()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not download.hub_reachable()
        monkeypatch.delenv("HF_HUB_OFFLINE")
    assert not download.hub_reachable()


# train


def test_train_writes_a_run(folder):
    path = folder / "runs" / "my-tiny"
    assert {part.name for part in path.iterdir()} == {
        "checkpoint.npz",
        "checkpoint-before.npz",
        "config.json",
        "log.csv",
        "tokenizer.tiktoken",
    }
    assert os.listdir(path.parent) == ["my-tiny"]
    run, tokenizer = load_run(path)
    assert [row["step"] for row in run.log] == [2, 4]
    assert tokenizer.vocab_size == run.config.vocab_size == 300
    assert run.config.max_seq_len == 16


def test_train_keeps_an_existing_run(run, folder):
    command = "train", *FEW_STEPS, "--folder", folder
    before = (folder / "runs/my-tiny/checkpoint.npz").read_bytes()
    assert "--resume goes on with it" in error_of(run(*command))
    assert (folder / "runs/my-tiny/checkpoint.npz").read_bytes() == before


def test_resume_ends_where_one_go_does(run, source, tmp_path, monkeypatch):
    command = "train", *FEW_STEPS, "--stories", source, "--folder", tmp_path
    assert run(*command, "--name", "whole")[0] == 0

    def step_then_press_ctrl_c(run, *batch, gradient):
        done = train_step(run, *batch, gradient=gradient)
        if run.step == 3:
            signal.raise_signal(signal.SIGINT)
        return done

    train_step = training.train_step
    with monkeypatch.context() as patch:
        patch.setattr(training, "train_step", step_then_press_ctrl_c)
        code, out, _ = run(*command, "--name", "parts")
    assert code == 0 and "after step 3" in out
    same = "--stories", source, "--folder", tmp_path, "--valid-stories", 3
    code, out, _ = run("train", "--name", "parts", "--resume", *same)
    assert code == 0 and "after step 4" in out
    whole, parts = (
        load_run(tmp_path / "runs" / name)[0] for name in ("whole", "parts")
    )
    weight = [r.params["token_embedding"]["weight"] for r in (whole, parts)]
    np.testing.assert_array_equal(*weight)


def test_resume_finds_the_stories_of_the_run(
    run, source, tmp_path, monkeypatch
):
    """From any folder; they need not be named again."""
    monkeypatch.chdir(tmp_path)
    command = "train", *FEW_STEPS, "--folder", tmp_path, "--stories"
    assert run(*command, "source.txt", "--name", "mine")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume = "train", "--resume", "--name", "mine", "--folder", tmp_path
    code, out, _ = run(*resume, "--steps", 6)
    assert code == 0 and "after step 6, on 3 stories held out" in out
    assert f"of {source}, and 3 more" in out
    source.unlink()
    message = error_of(run(*resume, "--steps", 8))
    assert message == f"{source}: No such file or directory"


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode")
def test_a_run_on_stories_of_any_name_loads(run, source, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 |\n.txt"))
    source.rename(odd)
    command = "train", *FEW_STEPS, "--folder", tmp_path
    assert run(*command, "--stories", odd)[0] == 0
    resume = "train", "--resume", "--folder", tmp_path, "--steps", 5
    assert run(*resume)[0] == 0


def test_resume_says_what_it_does_to_the_rate(run, source, tmp_path):
    options = "--stories", source, "--folder", tmp_path, "--warmup", 0
    assert run("train", *FEW_STEPS, *options)[0] == 0
    resume = "train", "--resume", "--folder", tmp_path
    code, out, _ = run(*resume)
    assert code == 0 and "all 4 steps are done; --steps asks for more" in out
    code, out, _ = run(*resume, "--steps", 8)
    assert code == 0
    assert "goes on at step 4 with a rate of 0.0011 in place of 0.0002" in out


def test_a_run_that_ends_before_its_rate_has_risen_says_so(
    run, source, tmp_path
):
    options = "--stories", source, "--folder", tmp_path
    out = run("train", *FEW_STEPS, *options)[1]
    assert "still rises when the run ends: --warmup is 50 steps" in out
    options += "--force", "--warmup", 3
    assert "still rises" not in run("train", *FEW_STEPS, *options)[1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_beyond_any_perplexity(run, source, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "bits_per_byte", lambda *_: 1e4)
    options = "--stories", source, "--folder", tmp_path
    code, out, _ = run("train", *FEW_STEPS, *options)
    assert code == 0 and "perplexity beyond e**700" in out


def test_a_reach_of_one_token(run, source, tmp_path):
    """Which leaves no room to tell a story."""
    options = "--stories", source, "--folder", tmp_path, "--seq-len", 1
    code, out, _ = run("train", *FEW_STEPS, *options)
    assert code == 0 and "bits per byte" in out


def test_resume_takes_a_lower_rate(run, source, tmp_path):
    """What to do after a run has diverged."""
    same = "--stories", source, "--folder", tmp_path, "--valid-stories", 3
    assert run("train", *FEW_STEPS, *same)[0] == 0
    changes = "--lr", 1e-5, "--max-norm", 0.5, "--steps", 5
    code, out, _ = run("train", "--resume", *same, *changes)
    settings = load_run(tmp_path / "runs" / "my-tiny")[0].settings
    assert code == 0 and "after step 5" in out
    assert (settings.lr, settings.max_norm, settings.steps) == (1e-5, 0.5, 5)


def test_diverging_run_names_the_checkpoint_to_go_back_to(
    run, source, tmp_path
):
    command = "train", *FEW_STEPS, "--stories", source, "--folder", tmp_path
    options = "--lr", 1e4, "--steps", 60, "--warmup", 3, "--eval-every", 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code, _, err = run(*command, *options)
    message = err.splitlines()[-1]
    assert code == 2 and message.startswith("error: step ")
    found = re.search(r"go back to (.*) \(step (\d+)\) with", message)
    loaded, _ = load_run(tmp_path / "runs" / "my-tiny")
    assert found[1].endswith("checkpoint.npz") and loaded.step == int(found[2])


def test_resume_with_other_stories_changes_nothing(run, folder, tmp_path):
    path = folder / "runs" / "my-tiny"
    other = tmp_path / "other.txt"
    other.write_text(END_OF_TEXT.join(tell_stories(60, seed=3)))
    before = {part: part.read_bytes() for part in path.iterdir()}
    words = "train", "--resume", "--folder", folder, "--stories", other
    message = error_of(run(*words, "--valid-stories", 3))
    assert "is not what this run began with" in message
    assert {part: part.read_bytes() for part in path.iterdir()} == before


def test_resume_takes_more_steps_and_nothing_else(run, folder):
    source = folder / "stories.txt"
    command = "train", "--resume", "--stories", source, "--folder", folder
    message = error_of(run(*command, "--weight-decay", 0.2))
    assert "only --steps, --lr and --max-norm, not weight-decay" in message
    message = error_of(run(*command, "--name", "none"))
    assert "no checkpoint at" in message


@pytest.mark.parametrize("asked", [None, "grammar"])
def test_train_takes_what_the_lessons_take(
    asked, run, source, tmp_path, monkeypatch
):
    monkeypatch.setattr(tinystories, "load_stories", few_of_the_grammar)
    monkeypatch.delenv("WORKBOOK_DATA", raising=False)
    if asked:
        monkeypatch.setenv("WORKBOOK_DATA", asked)
    run("data", "--from", source, "--folder", tmp_path)
    command = "train", *FEW_STEPS, "--folder", tmp_path, "--name", "a"
    name = "10 of embedded grammar" if asked else "54 of TinyStories"
    assert f"stories: {name}" in run(*command)[1]


def few_of_the_grammar(source):
    return STORIES[:11] if source == "grammar" else load_stories(source)


def test_a_recipe_is_what_the_command_leaves_open(run, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "load_stories", few_of_the_grammar)
    asked = "--steps", 2, "--seq-len", 99, "--vocab-size", 300, "--d-model", 8
    command = "train", "--preset", "grammar", "--folder", tmp_path, *asked
    code, out, _ = run(*command)
    assert code == 0 and "stories: 10 of grammar, and 1 more" in out
    made, _ = load_run(tmp_path / "runs" / "my-grammar")
    assert (made.step, made.settings.seq_len, made.config.d_model) == (
        2,
        99,
        8,
    )
    assert (made.settings.lr, made.settings.windows) == (5e-3, "stories")
    assert made.config.d_ff == cli.PRESETS["tiny"].d_ff
    assert made.settings.batch_size == cli.SETTINGS.batch_size
    assert run(*command, "--resume")[0] == 2  # its settings stay
    resumed = "train", "--preset", "grammar", "--folder", tmp_path, "--resume"
    assert "all 2 steps are done" in run(*resumed)[1]


def test_train_takes_the_grammar_without_data(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tinystories, "load_stories", few_of_the_grammar)
    command = "train", *FEW_STEPS, "--folder", tmp_path
    code, out, _ = run(*command)
    assert code == 0 and "stories: 10 of embedded grammar, and 1 more" in out
    assert "bits per byte" in out


@pytest.mark.parametrize(
    "options, sentence",
    [
        ("--vocab-size 12", "vocab_size 12 is too small"),
        ("--lr -1", "lr must be positive"),
        ("--steps 0", "steps must be"),
        ("--dropout 1", "dropout must be in [0, 1)"),
        ("--stories no.txt", "no.txt: No such file or directory"),
    ],
)
def test_train_refuses(run, source, tmp_path, options, sentence):
    command = "train", "--folder", tmp_path, "--stories", source
    assert sentence in error_of(run(*command, *options.split()))
    assert not (tmp_path / "runs").exists()


# generate, eval


def test_generate_repeats_with_its_seed(run, folder):
    command = "generate", "--folder", folder, "--run", "my-tiny"
    options = "--prompt", "Tom", "--length", 9, "--seed", 3
    code, out, _ = run(*command, *options)
    assert code == 0 and out.startswith("Tom") and len(out) > 4
    assert run(*command, *options)[1] == out
    assert run(*command, *options[:-1], 4)[1] != out


def test_generate_by_beam_search(run, folder):
    command = "generate", "--folder", folder, "--run", "my-tiny", "--beams", 2
    code, out, _ = run(*command, "--length", 5)
    assert code == 0 and out
    assert "draws nothing" in error_of(run(*command, "--top-k", 5))


def test_a_space_at_the_end_of_a_prompt_is_left_out(run, folder):
    """Tokens bring the space before them; a second one spoils the text."""
    command = "generate", "--folder", folder, "--run", "my-tiny", "--seed", 1
    plain = run(*command, "--prompt", "Tom and")[1]
    assert run(*command, "--prompt", "Tom and  ")[1] == plain


def test_a_prompt_that_begins_with_a_hyphen(run, folder, capsys):
    command = "generate", "--folder", folder, "--run", "my-tiny"
    assert run(*command, "--prompt=-Hello")[1].startswith("-Hello")
    with pytest.raises(SystemExit):
        cli.main([*map(str, command), "--prompt", "-Hello"])
    said = capsys.readouterr().err
    assert "one that begins with - is written --option=-value" in said


@pytest.mark.skipif(os.name != "posix", reason="said in the shell of Unix")
@pytest.mark.parametrize("command", ["--help", "generate --help", "generate"])
def test_a_reader_that_leaves_is_no_error(command, folder):
    options = f"--folder {folder} --run my-tiny" if " " not in command else ""
    options = "" if "--help" in command else options
    line = f"{sys.executable} -m helpers {command} {options} | head -c 1"
    shell = shutil.which("bash")
    done = subprocess.run(
        [shell, "-c", f"{line}; exit ${{PIPESTATUS[0]}}"], capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only on Linux")
def test_output_that_finds_no_room_is_an_error(folder):
    words = [sys.executable, "-m", "helpers", "generate", "--run", "my-tiny"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*words, "--folder", folder],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the output is lost ([Errno 28]")
    assert done.stderr.count("\n") == 1


def test_generate_takes_a_path(run, folder, tmp_path):
    path = folder / "runs" / "my-tiny"
    assert run("generate", "--run", path, "--folder", tmp_path)[0] == 0


@pytest.mark.parametrize(
    "options, sentence",
    [
        ("--run none", "no checkpoint at"),
        ("--temperature -1", "temperature must be 0 or more"),
        ("--top-p 2", "top_p must be above 0"),
        ("--prompt once" + "xyz" * 9, "leaves no room"),
    ],
)
def test_generate_refuses(run, folder, options, sentence):
    command = "generate", "--folder", folder, "--run", "my-tiny"
    assert sentence in error_of(run(*command, *options.split()))


def test_damaged_run_is_refused(run, folder, tmp_path):
    whole = (folder / "runs/my-tiny/checkpoint.npz").read_bytes()
    (tmp_path / "checkpoint.npz").write_bytes(whole[:-100])
    message = error_of(run("generate", "--run", tmp_path))
    assert "is not a whole checkpoint" in message


def test_half_a_character_waits_for_its_other_half():
    tokenizer = bpe_tokenizer(train_bpe("a", 257))
    ids = tokenizer.encode("aé🐢") + list(b"\xc3")
    pieces = list(cli.decode_stream(ids, tokenizer))
    assert pieces == ["a", "é", "🐢", "\ufffd"]


def test_eval_counts_stories_and_bytes(run, folder, source):
    command = "eval", "--folder", folder, "--run", "my-tiny", "--on", source
    code, out, _ = run(*command)
    n_bytes = sum(len(story) for story in STORIES)
    assert code == 0 and f"60 stories, {n_bytes:,} bytes" in out
    bits = float(out.split()[0])
    assert 1 < bits < 10


def test_eval_refuses(run, folder, tmp_path):
    command = "eval", "--folder", folder, "--run", "my-tiny", "--on"
    assert "No such file" in error_of(run(*command, "no.txt"))
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    assert "holds no story" in error_of(run(*command, empty))


def test_eval_says_so_if_a_file_is_one_story(run, folder, tmp_path):
    play = tmp_path / "play.txt"
    play.write_text("ANN. Where is Tom?\n\nBEN. In the park.\n")
    command = "eval", "--folder", folder, "--run", "my-tiny", "--on", play
    code, out, _ = run(*command)
    assert code == 0 and f"{play} counts as one story" in out


# the command line itself


def test_a_home_folder_in_an_option(run, source, tmp_path, monkeypatch):
    """The shell leaves ~ alone in --folder=~/x."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert run("data", "--from=~/source.txt", "--folder=~/x")[0] == 0
    assert (tmp_path / "x" / "tinystories" / "train.txt").exists()


def test_numbers_of_400_digits(run, source, tmp_path, capsys, monkeypatch):
    nines, base = "9" * 400, ["train", "--folder", str(tmp_path)]
    for option in ("--steps", "--warmup", "--d-model", "--valid-stories"):
        with pytest.raises(SystemExit):
            cli.main([*base, option, nines])
        said = capsys.readouterr().err.splitlines()[-1]
        assert "is not an integer" in said and len(said) < 200
    command = *base, *FEW_STEPS, "--stories", source, "--steps", "9" * 18
    monkeypatch.setattr(cli, "train_on_stories", lambda *_, **__: None)
    assert run(*command)[0] == 0


FAKE = """#!/bin/sh
for word; do printf '[%s]' "$word"; done
"""


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
@pytest.mark.parametrize(
    "words, said",
    [
        ("data", "[data]"),
        ("data FROM=my_stories.txt", "[data][--from][my stories.txt]"),
        ("data FROM=it's.txt", "[data][--from][it's.txt]"),
        ("data FROM=a_b", "[data][--from][a][b]"),
        ("data FROM=none", "[data][--from][none]"),
        ("report", "[report]"),
        ("report RUN=it's", "[report][--run][it's]"),
        ("report ON=my_stories.txt", "[report][--on][my stories.txt]"),
        ("grammar", "[train][--preset][grammar]"),
        ("train NAME=a_b", "[train][--preset][tiny][--name][a b]"),
    ],
)
def test_make_hands_names_on_as_they_are(words, said, tmp_path):
    for name in ("my stories.txt", "it's.txt", "a", "b"):
        (tmp_path / name).touch()
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    shutil.copy(MAKEFILE, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE)
    python.chmod(0o755)
    for extra in ("lab", "data"):
        (tmp_path / ".venv" / f"has-{extra}").touch()
    words = [word.replace("_", " ") for word in words.split()]
    done = subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"[-m][helpers]{said}", done.stderr


@pytest.mark.parametrize(
    "command", ["data", "train", "generate", "eval", "report"]
)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "--folder" in said
    assert (command == "train") == ("lesson 06 shows 32 of 128" in said)


def test_help_loads_nothing_that_takes_seconds():
    source = """
import sys
from helpers import __main__ as cli
try:
    cli.main(["--help"])
finally:
    slow = {"torch", "matplotlib", "datasets", "ipywidgets", "IPython"}
    assert not slow & {*sys.modules}
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "train" in done.stdout


@pytest.mark.parametrize("number", ["0", "-3", "many", "1.5"])
def test_counts_are_positive_integers(number, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["data", "--stories", number])
    assert stop.value.code == 2
    assert "is not an integer >= 1" in capsys.readouterr().err


def test_as_a_program(tmp_path):
    words = [sys.executable, "-m", "helpers", "data", "--folder", tmp_path]
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=offline)
    assert (done.returncode, done.stdout) == (1, cli.NO_NETWORK + "\n")
