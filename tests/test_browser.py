"""Use the panel of lesson 07, and a lesson to fill in, as a reader does.

A JupyterLab on this machine, copies of the lessons, and Chromium. Without
Chromium the tests are skipped; where CI is set they fail instead.
`--screenshots DIR` keeps the pictures they take.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from playwright.sync_api import expect, sync_playwright

from helpers.checks import exercises

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PATIENCE = 180  # seconds; a busy machine is no failure
expect.set_options(timeout=1000 * PATIENCE)
NAMES = ["chromium", "chromium-browser", "google-chrome", "chrome"]
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
MISSING = "no Chromium here: apt-get install chromium"
if CHROMIUM is None and not os.environ.get("CI"):
    pytest.skip(MISSING, allow_module_level=True)

OPTIONS = [
    "--no-sandbox",  # it needs rights that a container does not have
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
]
LESSON = "07_generation.ipynb"
WINDOW = {"width": 1440, "height": 1000}
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}
ALL_CELLS = {"windowingMode": "none"}  # also those that are out of sight
STATUS = "> .status"
MARKUP = "<b>bold</b> & <img src=x onerror=alert(1)>"

# A larger model's pace, so that there is time to look and to press Stop, and
# a value between two steps of its slider. Later a cell of ours takes it back.
SLOWER = """
import time
from helpers.panel import writer

quick_token, changes = writer.next_token, []


def slow_token(*args, **settings):
    time.sleep(0.05)
    return quick_token(*args, **settings)


writer.next_token = slow_token
panel.temperature.value, panel.length.value = 0.777, 200
panel.temperature.observe(changes.append, "value")
"""
QUICK_AGAIN = "writer.next_token = quick_token; print(changes)"
BUSY = """import pathlib, time
while not pathlib.Path({end!r}).exists(): time.sleep(0.1)"""

# How many times lighter or darker is the text than what lies behind it?
CONTRAST = """panel => {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  const over = (colour, below) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b].map((c, i) => (c * a + below[i] * (255 - a)) / 255);
  };
  const behind = e => {
    const below = e.parentElement ? behind(e.parentElement) : [255, 255, 255];
    return over(getComputedStyle(e).backgroundColor, below);
  };
  const light = rgb => rgb
    .map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0.05);
  const hasText = e => [...e.childNodes].some(
    n => n.nodeType === 3 && n.data.trim());
  return [...panel.querySelectorAll("*")]
    .filter(e => hasText(e) && e.checkVisibility() && !e.closest("[disabled]"))
    .map(e => {
      const back = behind(e), front = over(getComputedStyle(e).color, back);
      const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
      return [high / low, e.textContent.trim()];
    });
}"""

# Write down when what was shown, and when a button was pressed.
RECORD = """panel => {
  window.seen = [];
  window.pressed = 0;
  const look = () => window.seen.push([
    performance.now(),
    panel.querySelector(".story").textContent.length,
    panel.querySelector(".status").textContent]);
  new MutationObserver(look).observe(panel, {childList: true, subtree: true});
  panel.addEventListener(
    "click", () => { window.pressed = performance.now(); }, true);
  look();
}"""
FORGET = """panel => panel.querySelectorAll(".status").forEach(
  status => { status.textContent = ""; })"""


@pytest.fixture(scope="module")
def browser():
    """Start Chromium, with an empty profile of its own."""
    assert CHROMIUM, MISSING
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=OPTIONS
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def server(folder, *command):
    """Run a Jupyter server on a free port; yield its address and token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    own = {
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "IPYTHONDIR": folder / "ipython",
        "JUPYTER_TOKEN": token,
    }
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--no-browser", f"--port={port}"],
            cwd=folder,
            env=os.environ | {name: str(value) for name, value in own.items()},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/api", process, folder / "server.log")
        yield address, token
    finally:
        end(process)


def wait_for(address, process, log):
    """Wait until a server answers, whatever it says."""
    end_of_patience = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end_of_patience:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")


def end(process):
    """End a server and the kernels it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


@contextlib.contextmanager
def open_lab(browser, folder, place, name):
    """Open a notebook of a place in a folder in JupyterLab; yield the page."""
    keep_settings(folder, "apputils-extension/notification", NO_NEWS)
    keep_settings(folder, "notebook-extension/tracker", ALL_CELLS)
    lab = server(folder, "jupyterlab", "--allow-root", place)
    with lab as (address, token), browser.new_page(viewport=WINDOW) as page:
        page.set_default_timeout(1000 * PATIENCE)
        page.hosts, page.dialogs = set(), []
        page.on("request", lambda r: page.hosts.add(urlsplit(r.url).netloc))
        page.on("dialog", lambda d: (page.dialogs.append(d), d.dismiss()))
        page.goto(f"{address}/lab/tree/{name}?token={token}")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        yield page


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """Open lesson 07 in JupyterLab and run all of its cells."""
    folder = tmp_path_factory.mktemp("lab")
    copy_lesson(folder / "notebooks")
    with open_lab(browser, folder, "notebooks", LESSON) as page:
        menu(page, "Run", "Run All Cells")
        slower = page.locator(".jp-CodeCell").filter(has_text="slow_token")
        number = slower.locator(".jp-InputPrompt")
        shows(number, re.compile(r"\[\d+\]:"))
        yield page


def keep_settings(folder, plugin, settings):
    """Write settings of JupyterLab."""
    path = folder / f"settings/@jupyterlab/{plugin}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings))


def copy_lesson(folder):
    """Write the lesson without outputs, and two cells of ours behind it."""
    shutil.copytree(NOTEBOOKS / "figures", folder / "figures")
    lesson = nbformat.read(NOTEBOOKS / LESSON, as_version=4)
    for cell in lesson.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    lesson.cells += map(new_code_cell, [SLOWER, ""])
    nbformat.write(lesson, folder / LESSON)


def menu(page, *path):
    """Click through the menus."""
    page.click(f'.lm-MenuBar-itemLabel:text-is("{path[0]}")')
    for item in path[1:]:
        page.click(f'.lm-Menu-itemLabel:text-is("{item}")')


def shows(locator, text):
    """Wait until it shows the text; quicker to see it than expect is."""
    locator.filter(has_text=text).wait_for()


class Panel:
    """The panel on a page, and what a reader does with it."""

    def __init__(self, page):
        self.page = page
        self.box = page.locator(".story-panel")
        self.prompt = self.box.get_by_label("prompt")
        self.colour = self.box.get_by_label("colour by")
        self.compare = self.box.get_by_label("compare two settings")
        self.view = self.box.locator(".panel-view").first
        self.status = self.view.locator(STATUS)
        self.story = self.view.locator(".story")
        self.title = self.view.locator('[data-part="bars"] > p')
        self.bars = self.view.locator(".bars [data-pick]")

    def press(self, name):
        """Press a button; the status is then what is shown after that."""
        self.box.evaluate(FORGET)
        self.button(name).click()

    def button(self, name):
        return self.box.get_by_role("button", name=name)

    def generate(self):
        """Press Generate and wait for the end of the story."""
        self.press("Generate")
        self.ended()

    def ended(self, view=None):
        status = (view or self.view).locator(STATUS)
        shows(status, "tokens per second")

    def token(self, place):
        return self.view.locator(f'[data-pick="token {place}"]')

    def text(self):
        return self.story.text_content().removesuffix("▏")

    def slider(self, name):
        """Return the handle of a slider, and its number."""
        box = self.box.locator(f'.widget-slider:has(label:text-is("{name}"))')
        return box.locator(".noUi-handle"), box.locator(".widget-readout")

    def focused(self, selector):
        """Say whether what has the focus is, or is in, such an element."""
        return self.page.evaluate(
            "s => !!document.activeElement.closest(s)", selector
        )

    def tab_to(self, selector):
        """Press Tab until such an element has the focus."""
        for _ in range(20):
            self.page.keyboard.press("Tab")
            if self.focused(selector):
                return
        pytest.fail(f"Tab does not lead to {selector}")


@pytest.fixture
def panel(page):
    """Return the panel with nothing running and the first settings."""
    panel = Panel(page)
    panel.box.scroll_into_view_if_needed()
    panel.prompt.press("Escape")
    expect(panel.button("Stop")).to_be_disabled()
    panel.colour.select_option("nothing")
    panel.compare.set_checked(False)
    for prompt in ("", "Once upon a time"):  # a change starts over
        panel.prompt.fill(prompt)
        shows(panel.story, re.compile(f"^{prompt}▏$"))
    shows(panel.status, "press Generate to write a story")
    return panel


@pytest.fixture
def keep(request, tmp_path):
    """Return a function that keeps a picture of the panel."""
    folder = Path(request.config.getoption("screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def keep(panel, name):
        panel.page.mouse.move(0, 0)
        panel.box.screenshot(path=folder / f"{name}.png")

    return keep


@pytest.fixture
def keep_page(request, tmp_path):
    """Return a function that keeps a picture of a cell and what is near."""
    folder = Path(request.config.getoption("screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page, cell, name):
        cell.scroll_into_view_if_needed()
        page.screenshot(path=folder / f"{name}.png")

    return keep


def test_lesson_runs(page):
    kinds = "vnd.jupyter.error", "vnd.jupyter.stderr"
    for kind in kinds:
        output = page.locator(f'[data-mime-type="application/{kind}"]')
        assert output.all_inner_texts() == []
    assert page.get_by_text("rows as when alone: 3 of 3").count() == 1
    assert page.hosts <= {urlsplit(page.url).netloc, ""}  # "": data in place


def test_text_streams(panel):
    panel.box.evaluate(RECORD)
    panel.press("Generate")
    panel.page.wait_for_function("new Set(seen.map(s => s[1])).size > 3")
    lengths = [length for _, length, _ in panel.page.evaluate("seen")]
    assert lengths == sorted(lengths)


def test_stop_within_a_second(panel):
    def seconds():
        panel.press("Generate")
        shows(panel.status, "so far")
        panel.press("Stop")
        shows(panel.status, "stopped after")
        pressed, seen = panel.page.evaluate("[pressed, seen]")
        return (seen[-1][0] - pressed) / 1000

    panel.box.evaluate(RECORD)
    assert any(seconds() < 1 for _ in range(3))  # others may be busy


def test_keyboard_alone(panel):
    keyboard = panel.page.keyboard
    panel.prompt.focus()
    keyboard.press("Control+a")
    keyboard.type("One day")
    keyboard.press("Enter")
    shows(panel.status, "so far")
    shows(panel.story, "One day")
    keyboard.press("Escape")
    shows(panel.status, "stopped after")
    assert panel.text().startswith("One day")
    panel.tab_to(".story")
    keyboard.press("ArrowLeft")
    keyboard.press("Enter")
    shows(panel.title, "Token ")
    assert panel.focused(".story")
    panel.tab_to(".bars")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    shows(panel.title, "Probabilities of the next token")
    assert panel.focused(".bars")


def test_the_browser_changes_no_value(page):
    """A slider rounds what it is given; the panel has done so before it."""
    expect(Panel(page).slider("temperature")[1]).to_have_text("0.80")
    cell = page.locator(".jp-CodeCell").last
    cell.locator(".cm-content").fill(QUICK_AGAIN)
    page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-OutputArea-output")).to_have_text("[]")


@pytest.mark.parametrize(
    ("name", "key", "back"),
    [
        ("temperature", "ArrowRight", "ArrowLeft"),
        ("top-k (0: off)", "ArrowRight", "ArrowLeft"),
        ("top-p (1: off)", "Home", "End"),
        ("length", "ArrowLeft", "ArrowRight"),
    ],
)
def test_slider_moves_by_keyboard(panel, name, key, back):
    handle, number = panel.slider(name)
    number_before = number.inner_text()
    bars_before = panel.bars.all_inner_texts()
    handle.press(key)
    expect(number).not_to_have_text(number_before)
    if name != "length":
        expect(panel.bars).not_to_have_text(bars_before)
    handle.press(back)


def test_go_back_and_choose_another(panel, keep):
    panel.generate()
    panel.token(12).click()
    shows(panel.title, "Token 12: ")
    kept = panel.text()
    other = panel.view.locator('.bars [aria-selected="false"]').first
    wanted = other.locator("code").inner_text()
    other.click()
    shows(panel.title, "Probabilities of the next token")
    assert panel.token(12).text_content() == wanted.replace("␣", " ")
    assert panel.token(14).count() == 0
    beginning = panel.text()
    assert kept.startswith(beginning.removesuffix(wanted.replace("␣", " ")))
    panel.press("Continue")
    panel.ended()
    assert panel.text().startswith(beginning)
    assert len(panel.text()) > len(beginning)
    keep(panel, "chosen")


def test_markup_stays_text(panel):
    panel.prompt.fill(MARKUP)
    shows(panel.story, MARKUP)
    panel.generate()
    assert panel.text().startswith(MARKUP)
    assert panel.box.locator(".story b b, .story img").count() == 0
    assert panel.page.dialogs == []


def test_colours_have_numbers(panel, keep):
    panel.generate()
    panel.colour.select_option("surprise")
    token = panel.token(10)
    expect(token).to_have_attribute("title", re.compile(r"^\d+\.\d%$"))
    keep(panel, "surprise")
    panel.colour.select_option("attention")
    expect(token).to_have_attribute("title", re.compile(r"^weight \d"))
    heads = panel.view.locator(".heads")
    chosen = heads.locator('[aria-selected="true"]')
    expect(chosen).to_be_in_viewport()  # also where the list had to scroll
    before = panel.story.inner_html()
    other = heads.locator('[aria-selected="false"]').first
    name = other.get_attribute("data-pick")
    other.click()
    expect(chosen).to_have_attribute("data-pick", name)
    assert panel.story.inner_html() != before
    keep(panel, "attention")


def test_two_settings_side_by_side(panel, keep):
    panel.compare.check()
    second = panel.box.locator(".panel-view").nth(1)
    panel.generate()
    panel.ended(second)
    assert second.locator(".story").text_content() != panel.text() + "▏"
    panel.colour.select_option("surprise")
    second.locator("[data-level]").first.wait_for()
    keep(panel, "compare")  # notebooks/figures/panel.png is this picture
    names = ["top-k (0: off)", "top-k B (0: off)"]
    for view, name in zip((panel.view, second), names):
        panel.slider(name)[0].press("ArrowRight")
        expect(view.locator(".bars [data-pick]")).to_have_count(1)
    panel.generate()
    panel.ended(second)
    assert second.locator(".story").text_content() == panel.text() + "▏"
    for name in names:
        panel.slider(name)[0].press("ArrowLeft")


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["Dark", "Light"])
def test_readable(panel, keep, theme):
    menu(panel.page, "Settings", "Theme", f"JupyterLab {theme}")
    light = str(theme == "Light").lower()
    body = panel.page.locator("body")
    expect(body).to_have_attribute("data-jp-theme-light", light)
    panel.generate()
    for colour in ("surprise", "attention"):
        panel.colour.select_option(colour)
        expect(panel.token(10)).to_have_attribute("title", re.compile("%"))
        keep(panel, f"{theme}-{colour}")
        pale = [
            (round(ratio, 2), text)
            for ratio, text in panel.box.evaluate(CONTRAST)
            if ratio < 4.5
        ]
        assert pale == []


def test_an_error_looks_like_one(panel, keep):
    panel.prompt.fill("word " * 2000)
    shows(panel.status, "Error: The prompt has ")
    expect(panel.status).to_have_class(re.compile("alarm"))
    assert panel.text() == ""
    keep(panel, "error")
    panel.prompt.fill("Once")
    shows(panel.status, "press Generate")
    expect(panel.status).not_to_have_class(re.compile("alarm"))


def test_another_story(panel):
    seed = panel.box.get_by_label("seed")
    panel.generate()
    first = panel.text()
    before = int(seed.input_value())
    panel.press("Another story")
    panel.ended()
    expect(seed).to_have_value(f"{before + 1}")
    assert panel.text() != first
    seed.fill(f"{before}")
    seed.press("Enter")


def test_a_reader_of_the_screen_hears_the_end_alone(panel):
    panel.press("Generate")
    shows(panel.status, "so far")
    expect(panel.status).to_have_attribute("aria-live", "off")
    panel.ended()
    expect(panel.status).to_have_attribute("aria-live", "polite")


@pytest.mark.slow
def test_a_press_while_a_cell_runs_is_answered(page, panel, tmp_path):
    cell, end = page.locator(".jp-CodeCell").last, tmp_path / "end"
    cell.locator(".cm-content").fill(BUSY.format(end=str(end)))
    page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")
    panel.press("Generate")
    shows(panel.status, "waiting: Python is")
    end.touch()
    panel.ended()
    assert len(panel.text()) > len("Once upon a time")


@contextlib.contextmanager
def panel_page(folder):
    """Serve the panel as `make panel` does."""
    with server(folder, "helpers.panel") as (address, _):
        log = folder / "server.log"
        yield address, log


def kernels(log):
    """Return how many kernels a page's server has started, and ended."""
    text = log.read_text()
    return text.count("Kernel started"), text.count("Kernel shutdown")


def end_of_kernels(log, n):
    """Wait until so many kernels have ended."""
    end_of_patience = time.monotonic() + PATIENCE
    while kernels(log)[1] < n:
        assert time.monotonic() < end_of_patience, kernels(log)
        time.sleep(0.2)


@pytest.mark.slow
def test_the_page_of_its_own(browser, tmp_path, keep):
    with panel_page(tmp_path) as (address, log):
        page = browser.new_page(viewport=WINDOW)
        hosts, refused = set(), []
        page.on(  # a policy stops what asks elsewhere
            "requestfinished", lambda r: hosts.add(urlsplit(r.url).netloc)
        )
        page.on("requestfailed", lambda r: refused.append(r.failure))
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(address)
        panel = Panel(page)
        panel.generate()
        assert len(panel.text()) > len("Once upon a time")
        keep(panel, "voila")
        assert hosts <= {urlsplit(address).netloc, ""}  # "": data in place
        assert set(refused) <= {"csp"}
        page.goto("about:blank")
        end_of_kernels(log, 1)
        for _ in range(3):  # what is closed cannot say so
            with browser.new_page() as page:
                page.goto(address)
                page.locator(".story-panel").wait_for(timeout=1000 * PATIENCE)
        assert kernels(log)[0] == 4
        end_of_kernels(log, 4)
        assert "eavesdropping" not in log.read_text()


def test_only_this_machine_can_open_the_page(tmp_path):
    with panel_page(tmp_path) as (address, log):
        host = {"Host": "elsewhere.example"}
        with pytest.raises(urllib.error.HTTPError, match="403"):
            request = urllib.request.Request(address, headers=host)
            urllib.request.urlopen(request)
        assert "Only this machine can open the page" in log.read_text()
        assert kernels(log) == (0, 0)


def test_others_need_a_token(tmp_path):
    everywhere = "helpers.panel", "--Voila.ip=0.0.0.0"
    with server(tmp_path, *everywhere) as (address, _):
        with urllib.request.urlopen(address) as page:
            assert urlsplit(page.url).path == "/login"
        log = tmp_path / "server.log"
        assert "Whoever has the address with its token" in log.read_text()
        assert "/?token=" in log.read_text()
        assert kernels(log) == (0, 0)


# a lesson to fill in

RIGHT = """def softmax(x):
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights, weights


check(softmax)"""
TRIES = {  # what a learner writes, and what is then shown
    "axis": (
        RIGHT.replace(".sum(axis=-1, keepdims=True)", ".sum()"),
        "✗ softmax with rows of 6: out is wrong by 0.97 of its size",
    ),
    "crash": (
        RIGHT.replace(".sum(axis=-1, keepdims=True)", ".sum(axis=-1)"),
        "✗ softmax with rows of 6 raises ValueError: operands could not be "
        "broadcast together with shapes",
    ),
    "cache": (
        RIGHT.replace("return weights, weights", "return weights"),
        "✗ softmax with rows of 6: out has no cache: return out, cache",
    ),
    "right": (RIGHT, "✓ softmax: right in 6 cases: rows of 6, a single row,"),
}
TOO_WIDE = "e => e.scrollWidth - e.clientWidth"  # 0 where lines are broken


@pytest.fixture(scope="module")
def copy(browser, tmp_path_factory):
    """Open a copy of lesson 01 in JupyterLab and run its set-up."""
    folder = tmp_path_factory.mktemp("copy")
    name = "01_causal_mask.ipynb"
    notebook = exercises.to_exercise(NOTEBOOKS / name, "../notebooks")
    (folder / "exercises").mkdir()
    nbformat.write(notebook, folder / "exercises" / name)
    with open_lab(browser, folder, "exercises", name) as page:
        set_up = page.locator(".jp-CodeCell").nth(1)
        set_up.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        shows(set_up.locator(".jp-InputPrompt"), re.compile(r"\[\d+\]:"))
        yield page


def run_cell(page, cell, source=None):
    """Run a cell as a learner does; return what it shows then."""
    prompt = cell.locator(".jp-InputPrompt").first
    content = cell.locator(".cm-content")
    content.fill(source) if source else content.click()
    before = prompt.inner_text()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "([e, old]) => /\\[\\d+\\]/.test(e.innerText) && e.innerText != old",
        arg=[prompt.element_handle(), before],
    )
    return cell.locator(".jp-OutputArea-output")


def test_a_blank_filled_in_wrongly_and_rightly(copy, keep_page):
    blank = copy.locator(".jp-CodeCell").filter(has_text="def softmax(x)")
    handle = blank.first.element_handle()
    place = copy.locator(".jp-CodeCell").evaluate_all(
        "(all, one) => all.indexOf(one)", handle
    )
    cell = copy.locator(".jp-CodeCell").nth(place)
    output = run_cell(copy, cell)
    expect(output).to_have_text(re.compile(r"^not yet: write softmax: "))
    for name, (source, sentence) in TRIES.items():
        output = run_cell(copy, cell, source)
        expect(output).to_have_count(1)
        lines = output.inner_text().splitlines()
        assert name == "right" or max(map(len, lines)) <= 79
        text = " ".join(" ".join(lines).split())
        assert text.startswith(sentence), text
        assert "Traceback" not in text and len(text) < 400
        colour = output.locator(".ansi-green-fg, .ansi-red-fg")
        expect(colour).to_have_text(text[0])
        assert output.locator("pre").evaluate(TOO_WIDE) <= 0
        keep_page(copy, cell, f"verdict-{name}")


def test_the_first_cell_shows_it_at_once(copy, keep_page):
    mask = copy.locator(".jp-CodeCell").filter(has_text="def mask_scores(")
    wrong = "def mask_scores(scores, mask):\n    return scores"
    run_cell(copy, mask.last, f"{wrong}\n\n\ncheck(mask_scores)")
    cell = copy.locator(".jp-CodeCell").first
    output = run_cell(copy, cell).last
    for row in (
        r"01_causal_mask: as this kernel has it",
        r"softmax +right",
        r"mask_scores +wrong",
        r"1 of 16 right, 1 wrong, 14 not defined",
        r"mask_scores with a mask for each score: result is wrong",
    ):
        expect(output).to_contain_text(re.compile(row))
    keep_page(copy, cell, "verdict-table")


def test_the_first_cell_leads_to_where_it_stopped(copy):
    menu(copy, "Run", "Run All Cells")
    first = copy.locator(".jp-CodeCell").first
    link = first.get_by_role("link", name="this cell")
    link.scroll_into_view_if_needed()
    place = "() => document.querySelector('.jp-CodeCell')"
    place += ".getBoundingClientRect().top"
    before = copy.evaluate(place)
    link.click()
    copy.wait_for_function(f"top => ({place})() < top - 500", arg=before)
