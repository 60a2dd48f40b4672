"""Check the shipped run's report, and that every run there can be has one."""

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pairwise
import pytest
from matplotlib.text import Text

from helpers import DATA, SHIPPED
from helpers import __main__ as cli
from helpers.language_model import (
    ModelConfig,
    count_params,
    init_params,
    loss_and_grads,
)
from helpers.pictures import figures, plots
from helpers.runs import report
from helpers.runs.checkpoints import load_run, save_run
from helpers.scale import trace
from helpers.stories.grammar import tell_stories
from helpers.tinystories import (
    END_OF_TEXT,
    bpe_tokenizer,
    load_stories,
    train_bpe,
)
from helpers.training import TrainSettings, bits_per_byte, start_run

FOLDER = DATA / "runs" / SHIPPED
FIXTURE = Path(__file__).with_name("stories.txt")  # written for this test
README = DATA.parent / "README.md"


@pytest.fixture(scope="module")
def shipped():
    return load_run(FOLDER)


@pytest.fixture(scope="module")
def measured():
    return json.loads((FOLDER / "measured.json").read_text("utf-8"))


def test_bits_per_byte_are_those_of_the_shipped_files(shipped, measured):
    run, tokenizer = shipped
    stories = load_stories(FIXTURE)
    found = bits_per_byte(stories, tokenizer, run.params, run.config)
    written = measured["stories"][FIXTURE.name]["bits_per_byte"]
    assert math.isclose(found, written, rel_tol=1e-4)


def test_kinds_of_tokens_hold_all_bits(shipped):
    run, tokenizer = shipped
    found = report.measure(load_stories(FIXTURE), FIXTURE, run, tokenizer)
    bits = sum(bits for _, bits in found["bits_by_kind"].values())
    assert math.isclose(
        bits / found["bytes"], found["bits_per_byte"], rel_tol=1e-5
    )


def test_report_is_what_the_files_say(shipped, measured):
    written = (FOLDER / "REPORT.md").read_text("utf-8")
    assert written == report.report_text(SHIPPED, shipped[0], measured)


def test_samples_are_those_of_the_seeds(shipped, measured):
    again = report.tell_samples(*shipped)
    assert [s["seed"] for s in again] == [
        s["seed"] for s in measured["samples"]
    ]
    # sampled text may part ways on another machine, but not at once
    for new, old in zip(again, measured["samples"]):
        assert new["text"][:40] == old["text"][:40]


def test_readme_quotes_the_report(shipped, measured):
    text = " ".join(README.read_text("utf-8").split())
    found = next(iter(measured["stories"].values()))
    assert f"{found['bits_per_byte']:.3f} bits per byte" in text
    assert f"{count_params(shipped[0].params):,} parameters" in text


# --- every run there can be ---

STORIES = tell_stories(12)
ROW = {
    "step": 1,
    "tokens": 8,
    "train_loss": 5.0,
    "valid_loss": 5.5,
    "grad_norm": 1.0,
    "seconds": 0.0,
}
CONFIG = ModelConfig(
    vocab_size=280, max_seq_len=16, d_model=8, n_heads=2, n_layers=1, d_ff=8
)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Tell two stories, and time three steps."""
    monkeypatch.setattr(report, "N_TOLD", 2)
    monkeypatch.setattr(report, "sgemm_peak", lambda: 1.0)
    measure_speed = report.measure_speed
    monkeypatch.setattr(
        report, "measure_speed", lambda run: measure_speed(run, seconds=0)
    )


def a_run(folder, stories=STORIES, log=(), **changes):
    """Save a run as it begins, with a log."""
    ranks = train_bpe(END_OF_TEXT.join(stories), 280)
    tokenizer = bpe_tokenizer(ranks)
    config = replace(CONFIG, vocab_size=tokenizer.vocab_size, **changes)
    settings = TrainSettings(2, 2, config.max_seq_len)
    run = start_run(config, settings)
    run.log = list(log)
    save_run(folder, run, tokenizer)
    return folder


def text_file(path, stories=STORIES):
    path.parent.mkdir(exist_ok=True)
    ends = f"\n{END_OF_TEXT}\n"
    path.write_text(ends.join(stories) + ends, encoding="utf-8")
    return path


def reported(folder, *files):
    """Report on a run, with no warning; return the result and the report."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line = report.write_report(folder, files)
    for name in ("losses.png", "attention.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    return line, (folder / "REPORT.md").read_text("utf-8")


RUNS = {  # a log, changes of the config, the stories it is measured on
    "just begun": ([], {}, STORIES),
    "too quick": ([ROW], {}, STORIES),
    "one that took its time": ([ROW | {"seconds": 61.0}] * 40, {}, STORIES),
    "a reach of one token": ([ROW], {"max_seq_len": 1}, STORIES),
    "a reach of two": ([ROW], {"max_seq_len": 2}, STORIES),
    "a reach beyond every story": ([ROW], {"max_seq_len": 999}, STORIES),
    "one story of one word": ([ROW], {}, ["Hi"]),
    "stories of marks": ([ROW], {}, ["!!!", "?", '"']),
    "a story of 20,000 words": ([ROW], {}, ["a b " * 10_000]),
    "odd letters": ([ROW], {}, ["\ufffd\0\x1b[31m|`<b>\u2028_*$$ $x$ 猫 🙂"]),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_run_has_a_report(name, tmp_path):
    log, changes, stories = RUNS[name]
    folder = a_run(tmp_path / "run", log=log, **changes)
    line, text = reported(folder, text_file(tmp_path / "six.txt", stories))
    assert "bits per byte on six.txt" in line
    assert "nan" not in text and "None" not in text and "\x1b" not in text
    again = reported(folder)  # from what was measured
    assert again == (line, text)


def test_a_report_says_what_there_is_not(tmp_path):
    """No row, no second, and no story that comes to an end."""
    folder = a_run(tmp_path / "run", max_seq_len=4)
    _, text = reported(folder, text_file(tmp_path / "six.txt"))
    assert "Its log has no row yet." in text
    assert "| words (median) | – | – |" in text
    a_run(folder, log=[ROW])
    _, text = reported(folder)
    assert "8 tokens in less than a tenth of a second." in text


def test_a_story_that_ends_at_once(tmp_path):
    run, tokenizer = load_run(a_run(tmp_path / "run"))
    bias = run.params["final_norm"]["bias"]
    bias[:] = 100 * run.params["token_embedding"]["weight"][-1]
    run.params["final_norm"]["weight"][:] = 0
    save_run(tmp_path / "run", run)
    _, text = reported(tmp_path / "run", text_file(tmp_path / "six.txt"))
    assert "> (nothing: it ends at once)" in text


def test_dollars_are_no_mathematics(tmp_path):
    money = [f"$$ {name} has $$ and $$ 5." for name in "ABCDEF"]
    folder = a_run(tmp_path / "run", money)
    reported(folder, text_file(tmp_path / "money.txt", money))


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg")
def test_no_plot_reads_mathematics(monkeypatch):
    odd, drawn = ["$$", "$x", "a$b$c"], []

    def show(figure, alt):
        figures.as_png(figure)
        texts = figure.findobj(Text)
        drawn.append({t.get_text().replace("\\$", "$") for t in texts})

    monkeypatch.setattr(plots, "show", show)
    square, line = np.full((1, 3, 3), 0.3), [1.0, 2.0]
    plots.plot_attention(square, odd, odd[:1])
    plots.plot_lines(line, dict.fromkeys(odd, line), odd[0], odd[1])
    plots.plot_table(square[0], *odd)
    plots.plot_bars(odd, [1, 2, 3], odd[0])
    plots.plot_log_log(dict.fromkeys(odd, (line, line)), odd[0], odd[1])
    runs = dict.fromkeys(odd, line)
    plots.plot_runs(dict.fromkeys(odd, runs), odd[0], odd[1])
    assert len(drawn) == 6
    assert all(set(odd) <= texts for texts in drawn)


def test_two_files_of_one_name_are_two_rows(tmp_path):
    folder = a_run(tmp_path / "run")
    x = text_file(tmp_path / "x" / "valid.txt", STORIES[:3])
    y = text_file(tmp_path / "y" / "valid.txt", STORIES[3:])
    line, text = reported(folder, x, y)
    assert f"on {x} (3 stories" in line
    assert f"`{x}` (3 stories" in text and f"`{y}` (9 stories" in text


def test_the_result_is_that_of_this_call(tmp_path):
    folder = a_run(tmp_path / "run")
    six = text_file(tmp_path / "six.txt", STORIES[:6])
    assert "on six.txt (6 stories" in reported(folder, six)[0]
    two = text_file(tmp_path / "two.txt", STORIES[:2])
    three = text_file(tmp_path / "three.txt", STORIES[:3])
    line, text = reported(folder, two, three)
    assert "on two.txt (2 stories" in line
    assert text.index("`two.txt`") < text.index("`six.txt` (6 stories")
    assert reported(folder) == (line, text)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"5", b"\xff", b"{"])
def test_damaged_measurements(content, tmp_path):
    folder = a_run(tmp_path / "run")
    (folder / "measured.json").write_bytes(content)
    with pytest.raises(ValueError, match="measure once more"):
        report.write_report(folder)
    assert (folder / "measured.json").read_bytes() == content
    reported(folder, text_file(tmp_path / "six.txt"))
    reported(folder)


def test_measurements_with_any_one_thing_missing(tmp_path):
    folder = a_run(tmp_path / "run")
    reported(folder, text_file(tmp_path / "six.txt"))
    path, run = folder / "measured.json", load_run(folder)[0]
    whole, optional = json.loads(path.read_text("utf-8")), set()
    for keys in places(whole):
        damaged = json.loads(json.dumps(whole))
        inner = damaged
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        path.write_text(json.dumps(damaged))
        try:
            report.read_measured(path, run)
            optional.add(keys[-1])
        except ValueError as error:
            assert "measure once more" in str(error)
    kinds = set(whole["stories"]["six.txt"]["bits_by_kind"])
    assert optional - kinds <= {"seen", *report.habits([])}


def places(value):
    """Yield the keys that lead to each entry of dicts in dicts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (key,)
            yield from ((key, *more) for more in places(inner))


def test_text_it_was_trained_on_is_not_called_held_out(tmp_path):
    path = text_file(tmp_path / "six.txt")
    sizes = ["--steps=1", "--vocab-size=280", "--seq-len=16", "--d-model=8"]
    words = ["train", "--name=run", "--stories", str(path), *sizes]
    assert cli.main([*words, "--folder", str(tmp_path)]) == 0
    line, text = reported(tmp_path / "runs" / "run", path)
    assert ", which the run was trained on)" in line and "trained on" in text
    other = text_file(tmp_path / "other.txt", tell_stories(5, seed=3))
    assert "trained on" not in reported(tmp_path / "runs" / "run", other)[0]


def test_report_needs_something_measured(tmp_path):
    folder = a_run(tmp_path / "run")
    with pytest.raises(ValueError, match="has not been measured"):
        report.write_report(folder)


def test_the_command_with_files_and_without(tmp_path, capsys):
    folder, six = a_run(tmp_path / "run"), text_file(tmp_path / "six.txt")
    base = ["report", "--run", str(folder)]
    assert cli.main(base) == 2
    assert "has not been measured yet" in capsys.readouterr().err
    assert cli.main([*base, "--on", str(six), str(six)]) == 0
    first = capsys.readouterr().out
    assert cli.main(base) == 0
    assert capsys.readouterr().out == first
    with pytest.raises(SystemExit):
        cli.main([*base, "--on=--"])


@pytest.mark.parametrize("config", pairwise.CONFIGS.values())
def test_flops_are_those_of_the_products(config):
    ids = np.zeros((2, config.max_seq_len), int)
    params = init_params(config, np.random.default_rng(0))
    coins = np.random.default_rng(0)
    _, notes = trace(loss_and_grads, ids, ids, params, config, coins)
    seen = sum(flops for name, flops, _ in notes if name == "matmul")
    assert report.flops_of(config, *ids.shape) == seen
