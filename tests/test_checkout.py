"""Begin as a learner does, read lessons in JupyterLab, and leave no trace.

In a repository made of these files: `python -m helpers lab`, Chromium, and
git, which has to find nothing changed. Without Chromium or git the tests are
skipped. `pytest -m long tests/test_checkout.py` reads all lessons but 01 and
02, which are always read.
"""

import contextlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
import test_browser
from playwright.sync_api import TimeoutError, expect
from test_browser import (
    ALL_CELLS,
    PATIENCE,
    WINDOW,
    end_of_kernels,
    keep_settings,
    kernels,
    menu,
    panel_page,
    server,
    shows,
)

from helpers.checks.exercises import find

browser = test_browser.browser  # a fixture
ROOT = Path(__file__).resolve().parent.parent
READ_HERE = ["01", "02"]  # in the default run
LONGEST = 900  # seconds a lesson may run where others work too
BUSY = """() => [...document.querySelectorAll(".jp-InputPrompt")]
  .some(prompt => prompt.textContent.includes("*"))"""
DARK = "img => getComputedStyle(img).filter"


def git(folder, *words):
    """Run git; return what it prints."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    return subprocess.run(
        ["git", *who, *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Return a clone, with its origin beside it, of the files here."""
    if not shutil.which("git"):
        pytest.skip("no git here")
    place = tmp_path_factory.mktemp("checkout")
    leave = [".git", ".venv", "my-*", "arrays", "exercises", "lessons"]
    leave += ["tinystories.txt", "*.egg-info", "__pycache__", "node_modules"]
    shutil.copytree(
        ROOT, place / "origin", ignore=shutil.ignore_patterns(*leave)
    )
    git(place, "init", "-q", "origin")
    git(place / "origin", "add", "--all")
    git(place / "origin", "commit", "-q", "-m", "the workbook")
    git(place, "clone", "-q", "origin", "clone")
    return place / "clone"


@pytest.fixture(scope="module")
def lab(checkout, tmp_path_factory):
    """Start JupyterLab as `make lab` does; yield its address and token."""
    folder = tmp_path_factory.mktemp("jupyter")
    keep_settings(folder, "notebook-extension/tracker", ALL_CELLS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(checkout))
        with server(folder, "helpers", "lab") as running:
            yield running


@pytest.fixture
def page(lab, browser):
    """Open what `make lab` opens."""
    address, token = lab
    with browser.new_page(viewport=WINDOW) as page:
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"{address}/?token={token}")
        page.wait_for_selector(".jp-RenderedMarkdown h1")
        page.address = address
        yield page


def read(page, path):
    """Open a notebook in place of the others, run all, save it, close it."""
    page.goto(f"{page.address}/lab/tree/{path}?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    menu(page, "Run", "Run All Cells")
    page.wait_for_function(BUSY)
    page.wait_for_function(f"() => !({BUSY})()", timeout=1000 * LONGEST)
    errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    assert errors.all_inner_texts() == []
    page.keyboard.press("Control+s")


def saved(path, before):
    """Wait until a file is another than it was."""
    end = time.monotonic() + PATIENCE
    while path.read_bytes() == before:
        assert time.monotonic() < end, f"{path.name} was not saved"
        time.sleep(0.2)


def test_it_opens_at_a_rendered_page(page):
    expect(page.locator(".jp-RenderedMarkdown h1")).to_have_text(
        re.compile("Build a language model in NumPy")
    )
    for link, shown in (
        ("lesson\u00a001", "Build causal self-attention"),
        ("exercise\u00a001", "Write softmax"),
        ("the\u00a0panel", "The sampling panel"),
    ):
        click_on_start_page(page, link)
        shows(page.locator(".jp-NotebookPanel:visible").first, shown)


def click_on_start_page(page, link):
    """Follow a link, though a page that still opens may cover it once."""
    target = page.get_by_role("link", name=link, exact=True)
    for _ in range(PATIENCE // 5):
        page.get_by_text("START.md").last.click()
        with contextlib.suppress(TimeoutError):
            return target.click(timeout=5000)
    raise AssertionError(f"no link {link!r} on the start page")


@pytest.mark.slow
@pytest.mark.parametrize(
    "lesson",
    [
        pytest.param(
            path.name,
            marks=[] if path.name[:2] in READ_HERE else [pytest.mark.long],
        )
        for path in find(())
    ],
)
def test_reading_a_lesson_leaves_the_checkout_clean(page, checkout, lesson):
    copy = checkout / "lessons" / lesson
    before = copy.read_bytes()
    read(page, f"lessons/{lesson}")
    saved(copy, before)
    menu(page, "File", "Close Tab")
    assert git(checkout, "status", "--porcelain") == ""


@pytest.mark.slow
def test_an_original_is_not_written(page, checkout):
    original = "notebooks/02_embeddings.ipynb"
    read(page, original)
    page.get_by_text("notebook is read-only").wait_for()
    time.sleep(2)
    assert git(checkout, "status", "--porcelain") == ""


@pytest.mark.slow
def test_pictures_are_dark_in_a_dark_theme(page):
    page.goto(f"{page.address}/lab/tree/lessons/02_embeddings.ipynb?reset")
    picture = page.locator(".jp-RenderedImage img").first
    picture.wait_for()
    for theme, said in (("Dark", "invert"), ("Light", "none")):
        menu(page, "Settings", "Theme", f"JupyterLab {theme}")
        light = str(theme == "Light").lower()
        body = page.locator("body")
        expect(body).to_have_attribute("data-jp-theme-light", light)
        assert picture.evaluate(DARK).startswith(said)


@pytest.mark.slow
def test_pull_brings_what_is_new(checkout):
    """After the lessons were run: the last test of this checkout."""
    origin = checkout.parent / "origin"
    for name, source in (("02_embeddings", "z = 4"), ("01_causal_mask", "")):
        path = origin / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(path, 4)
        notebook.cells[-1].source += f"\n{source} is new"
        nbformat.write(notebook, path)
    edited = checkout / "lessons" / "01_causal_mask.ipynb"
    edited.write_text(edited.read_text("utf-8").replace("softmax", "hardmax"))
    git(origin, "commit", "-q", "-a", "-m", "new")
    git(checkout, "pull", "-q", "--ff-only")
    done = subprocess.run(
        [sys.executable, "-m", "helpers", "lessons"],
        cwd=checkout,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "01_causal_mask.ipynb: kept as you changed it" in done.stdout
    assert "02_embeddings" not in done.stdout
    fresh = checkout / "lessons" / "02_embeddings.ipynb"
    assert "z = 4 is new" in fresh.read_text("utf-8")
    assert git(checkout, "status", "--porcelain") == ""


@pytest.mark.long
def test_twenty_visits_leave_no_kernel(tmp_path):
    with panel_page(tmp_path) as (address, log):
        for _ in range(20):
            urllib.request.urlopen(address, timeout=PATIENCE).close()
        assert kernels(log)[0] >= 20
        end_of_kernels(log, kernels(log)[0])
