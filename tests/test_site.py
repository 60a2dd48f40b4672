"""Read the site of the lessons, and use the browser edition, as a reader does.

For `make testsite`, which builds both first: minutes, so not in `make test`.
Nothing outside of this machine can be reached from the pages. The cells also
run under node, in the same Python as in the browser, which is quicker.
`--screenshots DIR` keeps a picture of every page.
"""

import functools
import json
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

import nbformat
import pytest
from playwright.sync_api import expect
from test_browser import (
    PATIENCE,
    RECORD,
    TRIES,
    WINDOW,
    Panel,
    browser,  # noqa: F401
    menu,
    run_cell,
    shows,
)

from helpers.lab.home import find_home

pytestmark = pytest.mark.site

ROOT = Path(__file__).resolve().parents[1]
SITE, TESTS = ROOT / "site", ROOT / "tests"
LITE, BUILD = SITE / "lite", ROOT / "web" / "build"
PYODIDE = BUILD / "lite" / "static" / "pyodide"
CONTENTS = BUILD / "contents"
HOST = "http://127.0.0.1"
NOTEBOOKS = {p.name: p for p in sorted((ROOT / "notebooks").glob("*.ipynb"))}
# What these cells print comes out of fewer steps: helpers/runs/browser.py.
TRAINED = {
    "06_training.ipynb": {"s602", "c29", "c38"},
    "A1_digit_operations.ipynb": {"c40", "c42", "c45", "c49", "c52"},
}
NUMBERED = [n for n in NOTEBOOKS if n[0] in "0A"]
WHOLE = [n for n in NOTEBOOKS if n[0] == "0" and n not in TRAINED]
SCROLLS = """() => [...document.querySelectorAll("article *")]
  .filter(e => e.scrollWidth > e.clientWidth + 1
    && ["auto", "scroll"].includes(getComputedStyle(e).overflowX))
  .map(e => [e.textContent.trim().slice(0, 40),
    parseFloat(getComputedStyle(e).getPropertyValue("--fade-right"))])"""
WIDE_CODE = """all => all.filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => e.textContent).filter(text => !text.includes("%pip install"))"""
BUSY = 4  # times the patience: Python starts anew in each tab
NOT_BUILT = "not built: make book (it needs npm and a package index)"

if not (SITE / "index.html").exists() or not (LITE / "lab").exists():
    pytest.skip(NOT_BUILT, allow_module_level=True)

PAGES = [
    p.relative_to(SITE).as_posix()
    for p in sorted(SITE.rglob("*.html"))
    if LITE not in p.parents and "_static" not in p.parts
]


class Quiet(SimpleHTTPRequestHandler):
    """Serve files and say nothing."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    """Serve the site on a free port; yield its address."""
    handler = functools.partial(Quiet, directory=SITE)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{HOST}:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(browser, address):  # noqa: F811
    """Open a tab from which nothing but the site can be reached."""
    with browser.new_context(viewport=WINDOW) as context:
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE * BUSY)
        page.outside, page.errors = set(), []

        def check(route):
            url = route.request.url
            if url.startswith((f"{address}/", "data:", "blob:")):
                return route.continue_()
            page.outside.add(url)
            route.abort()

        context.route("**/*", check)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        yield page
        assert page.outside == set() and page.errors == []


class Links(HTMLParser):
    """Read a page's links, what it loads, its anchors and its pictures."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.pictures = []  # what is said in their place
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        if tag == "img":
            self.pictures.append(attributes.get("alt", ""))
        if "href" in attributes and tag == "a":
            self.links.append(attributes["href"])
        elif tag != "a":
            found = attributes.get("src") or attributes.get("href")
            self.loads += [found] if found else []


@functools.cache
def links_of(path):
    return Links(path)


def broken(page, link):
    """Say whether a link of a page leads to nothing of the site."""
    parts = urlsplit(urljoin(f"{HOST}/{page}", link))
    if f"{parts.scheme}://{parts.netloc}" != HOST:
        return parts.scheme not in ("https", "mailto")
    path = SITE / unquote(parts.path).lstrip("/")
    path = path / "index.html" if path.is_dir() else path
    if not path.is_file():
        return True
    opened = parse_qs(parts.query).get("path")
    if opened and LITE in path.parents:
        return not (LITE / "files" / opened[0]).is_file()
    anchor = unquote(parts.fragment)
    return bool(
        anchor
        and path.suffix == ".html"
        and anchor not in links_of(path).anchors
    )


# the lessons


@pytest.mark.parametrize("page", [*PAGES, "lite/index.html"])
def test_no_link_is_broken(page):
    found = links_of(SITE / page)
    assert len(found.links) > 3
    assert [link for link in found.links if broken(page, link)] == []
    here = [link for link in found.loads if not link.startswith("data:")]
    assert [link for link in here if ":" in link or broken(page, link)] == []


@pytest.mark.parametrize("name", [p for p in PAGES if "notebooks/0" in p])
def test_a_lesson_can_be_opened_elsewhere(name):
    notebook = name.replace(".html", ".ipynb")
    links = links_of(SITE / name).links
    assert f"../lite/lab/index.html?path={notebook}" in links
    for host in ("colab.research.google.com", "mybinder.org"):
        assert any(host in x and x.endswith(notebook) for x in links)


def links_to_lessons(path):
    """Return the names of notebooks to which the text of one links."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    return set(re.findall(r"\]\(([^)#]+\.ipynb)", text))


@pytest.mark.parametrize("name", NUMBERED)
def test_links_lead_from_lesson_to_lesson(name):
    """In the book, and in the browser edition if they are there."""
    links = links_to_lessons(NOTEBOOKS[name])
    page = links_of(SITE / "notebooks" / name.replace(".ipynb", ".html"))
    assert {x.replace(".ipynb", ".html") for x in links} <= set(page.links)
    for folder in (CONTENTS / "notebooks", CONTENTS / "exercises"):
        if (copy := folder / name).exists():
            found = links_to_lessons(copy)
            assert len(found) >= len(links)  # a copy leads to its lesson
            assert [x for x in found if leads_nowhere(folder, x)] == []


def leads_nowhere(folder, link):
    """Say whether what a link of the browser edition names is missing."""
    abroad = f"https://github.com/{find_home()}/blob/main/notebooks/"
    name = link.removeprefix(abroad)
    found = NOTEBOOKS.get(name) if name != link else folder / link
    return found is None or not found.exists()


@pytest.mark.parametrize("page", [p for p in PAGES if "notebooks/" in p])
def test_pictures_have_words(page):
    said = links_of(SITE / page).pictures
    assert [x for x in said if not x or x.endswith((".png", ".svg"))] == []


@pytest.mark.parametrize("width", [1280, 400])
def test_what_is_wider_than_the_page_fades_at_its_edge(page, address, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/notebooks/A1_digit_operations.html")
    page.evaluate("MathJax.startup.promise")
    found = page.evaluate(SCROLLS)
    assert found and [text for text, edge in found if not edge] == []
    code = page.locator(".cell_input pre").evaluate_all(WIDE_CODE)
    assert width < 1280 or code == []


@pytest.mark.parametrize("width", [1280, 400])
def test_pages(page, address, width, request):
    folder = request.config.getoption("screenshots")
    page.set_viewport_size({"width": width, "height": 900})
    too_wide, unread = [], []
    for name in PAGES:
        page.goto(f"{address}/{name}")
        page.wait_for_function("!window.MathJax || MathJax.startup?.promise")
        page.evaluate("window.MathJax && MathJax.startup.promise")
        if page.evaluate("document.documentElement.scrollWidth") > width:
            too_wide.append(name)
        formulas = page.locator("mjx-container").count()
        is_lesson = name.startswith("notebooks/0")
        if page.locator("mjx-merror").count() or is_lesson and not formulas:
            unread.append(name)
        if folder:
            path = Path(folder, f"{width}-{name.replace('/', '-')}.png")
            page.screenshot(path=path)
    assert (too_wide, unread) == ([], [])


def test_folds_open(page, address):
    page.goto(f"{address}/notebooks/01_causal_mask.html")
    fold = page.locator("details:has(> summary)").first
    inside = fold.locator("p").first
    expect(inside).to_be_hidden()
    fold.locator("summary").click()
    expect(inside).to_be_visible()


def test_search(page, address):
    page.goto(f"{address}/search.html?q=perplexity")
    found = page.locator("#search-results a")
    expect(
        found.filter(has_text="Assemble the language model")
    ).to_be_visible()


# the browser edition


def test_it_is_small_and_ours():
    size = sum(p.stat().st_size for p in LITE.rglob("*") if p.is_file())
    assert size < 70e6
    assert "AGPL" not in (LITE / "package.json").read_text("utf-8")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run the cells under node; return {lesson: {cell: what it printed}}."""
    if not shutil.which("node"):
        pytest.skip("no node here, which runs the same Python as a browser")
    contents = shutil.copytree(CONTENTS, tmp_path_factory.mktemp("ran") / "c")
    command = ["node", TESTS / "wasm.mjs", PYODIDE, contents]
    command += [f"notebooks/{name}" for name in (*WHOLE, *TRAINED)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [x for x in done.stdout.splitlines() if x.startswith('{"notebook')]
    cells = {}
    for line in map(json.loads, lines):
        lesson = cells.setdefault(
            line["notebook"].removeprefix("notebooks/"), {}
        )
        lesson[line["cell"]] = line
    return cells


@pytest.mark.parametrize("name", [*WHOLE, *TRAINED])
def test_every_cell_runs(ran, name):
    """It prints what the lesson does, but for where torch's answers are."""
    lesson = nbformat.read(NOTEBOOKS[name], as_version=4)
    wanted = {c.id: c for c in lesson.cells if c.cell_type == "code"}
    lines, trained = by_id(ran, name), TRAINED.get(name, set())
    assert lines.keys() == wanted.keys() and trained <= wanted.keys()
    assert {i: x["error"] for i, x in lines.items() if x["error"]} == {}
    differ = {
        i: (printed(cell), says(lines[i]))
        for i, cell in wanted.items()
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
        and printed(cell) != says(lines[i])
    }
    assert {i: differ[i] for i in differ.keys() - trained} == {}


def by_id(ran, name):
    """Return {id of a cell: what came of it} for a lesson of the site."""
    cells = nbformat.read(CONTENTS / "notebooks" / name, as_version=4).cells
    return {cells[i].id: line for i, line in ran[name].items()}


def test_fewer_steps_teach_enough(ran):
    """The losses of 06 fall, and A1 answers nearly all it has not seen."""
    lines = by_id(ran, "06_training.ipynb")
    losses = re.findall(r"held out ([\d.]+)", lines["c36"]["stdout"])
    first, *_, last = map(float, losses)
    assert last < first - 0.5 and "so the run stops" in lines["c46"]["stdout"]
    lines = by_id(ran, "A1_digit_operations.ipynb")
    shares = re.findall(r"test: \{'all': ([\d.]+)", lines["c40"]["stdout"])
    assert len(shares) == 2 and min(map(float, shares)) > 0.97


def printed(cell):
    """Return what a cell of a lesson printed and returned, without spaces."""
    texts = [o.text for o in cell.outputs if o.get("name") == "stdout"]
    texts += [
        o.data["text/plain"]
        for o in cell.outputs
        if o.output_type == "execute_result"
    ]
    return "".join("".join(texts).split())


def says(line):
    """Return what a cell gave in the browser's Python, as it does at home."""
    text = re.sub(r"torch [\d.]+ on file", "torch", line["stdout"])
    return "".join(re.sub(r"Out\[\d+\]:", "", text).split())


def open_notebook(page, address, path):
    """Open a notebook in the browser edition."""
    page.goto(f"{address}/lite/lab/index.html?path={path}")
    page.get_by_text("Python (Pyodide) | Idle").wait_for()


def run_all(page):
    """Run all cells and wait for the last of them."""
    menu(page, "Run", "Run All Cells")
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    shows(last, re.compile(r"\[\d+\]:"))


def test_a_lesson_runs_and_remembers(page, address):
    open_notebook(page, address, "notebooks/02_embeddings.ipynb")
    run_all(page)
    for kind in ("error", "stderr"):
        output = page.locator(
            f'[data-mime-type="application/vnd.jupyter.{kind}"]'
        )
        assert output.all_inner_texts() == []
    verdict = re.compile("embedding matches torch .* on file")
    assert page.get_by_text(verdict).count() == 1
    lines = "-0.7008]\nit loved Tom and"  # with no comma between them
    assert page.get_by_text(lines).count() == 1
    cell = page.locator(".jp-CodeCell").nth(1)
    cell.locator(".cm-content").fill("# mine, and still there")
    menu(page, "File", "Save Notebook")
    page.wait_for_timeout(2000)
    open_notebook(page, address, "notebooks/02_embeddings.ipynb")
    page.get_by_text("# mine, and still there").wait_for()


def test_a_blank_is_judged(page, address):
    open_notebook(page, address, "exercises/01_causal_mask.ipynb")
    cells = page.locator(".jp-CodeCell")
    run_cell(page, cells.nth(1))
    place = cells.evaluate_all(
        "all => all.findIndex(e => /def softmax\\(x\\)/.test(e.textContent))"
    )
    cell = cells.nth(place)
    expect(run_cell(page, cell)).to_contain_text("not yet: write softmax: ")
    for source, sentence in TRIES.values():
        text = " ".join(run_cell(page, cell, source).inner_text().split())
        assert text.startswith(sentence), text


def test_the_panel(page, address):
    open_notebook(page, address, "notebooks/panel.ipynb")
    menu(page, "Run", "Run All Cells")
    panel = Panel(page)
    panel.box.wait_for()
    panel.box.evaluate(RECORD)

    def seconds():
        panel.press("Generate")
        shows(panel.status, "so far")
        panel.press("Stop")
        shows(panel.status, "stopped after")
        pressed, seen = page.evaluate("[pressed, seen]")
        return (seen[-1][0] - pressed) / 1000

    assert min(seconds() for _ in range(5)) < 1
    panel.generate()
    lengths = {length for _, length, _ in page.evaluate("seen")}
    assert len(lengths) > 10
