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

pytestmark = pytest.mark.site

ROOT = Path(__file__).resolve().parents[1]
SITE, TESTS = ROOT / "site", ROOT / "tests"
LITE, BUILD = SITE / "lite", ROOT / "web" / "build"
PYODIDE = BUILD / "lite" / "static" / "pyodide"
CONTENTS = BUILD / "contents"
HOST = "http://127.0.0.1"
LESSONS = [p.name for p in sorted((ROOT / "notebooks").glob("0*.ipynb"))]
QUICK = [name for name in LESSONS if name[:2] != "06"]
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
        page.set_default_timeout(1000 * PATIENCE)
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
    """Read the links of a page, what it loads, and its anchors."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
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
    command += [f"notebooks/{name}" for name in QUICK]
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


@pytest.mark.parametrize("name", QUICK)
def test_every_cell_runs(ran, name):
    """It prints what the lesson does, but for where torch's answers are."""
    lesson = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    code = [i for i, c in enumerate(lesson.cells) if c.cell_type == "code"]
    assert sorted(ran[name]) == code
    differ = []
    for i, line in ran[name].items():
        assert line["error"] is None, (i, line["error"])
        tags = lesson.cells[i].metadata.get("tags", [])
        wanted = printed(lesson.cells[i])
        if "nbval-ignore-output" not in tags and wanted != says(line):
            differ.append((i, wanted, says(line)))
    assert differ == []


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
    assert page.get_by_text("[[0. 1.]\n [2. 0.]").count() == 1
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
