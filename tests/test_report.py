"""Check the shipped run's report: its numbers are the run's own."""

import json
import math
from pathlib import Path

import pytest

from helpers import DATA, SHIPPED
from helpers.language_model import count_params
from helpers.runs import report
from helpers.runs.checkpoints import load_run
from helpers.tinystories import load_stories
from helpers.training import bits_per_byte

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


def test_report_needs_something_measured(tmp_path, shipped):
    from helpers.runs.checkpoints import save_run

    save_run(tmp_path, *shipped)
    with pytest.raises(ValueError, match="has not been measured"):
        report.write_report(tmp_path)
