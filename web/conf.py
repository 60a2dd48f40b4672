"""Configure Sphinx: the lessons with their outputs, as a site to read.

python -m sphinx -q -E -c web -d web/build/doctrees . site
"""

import re
import shutil
import tomllib
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import nbformat
from docutils import nodes

ROOT = Path(__file__).resolve().parents[1]
MATHJAX = ROOT / "web" / "node_modules" / "mathjax" / "es5"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))[
    "project"
]
IN_BROWSER = "notebooks/0", "notebooks/A1", "notebooks/panel"

project = "A language model in NumPy"
html_title = project
html_show_copyright = html_show_sphinx = False
html_use_index = False
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "data/README.md"]
include_patterns += ["notebooks/*.ipynb", "notebooks/*.md"]
include_patterns += ["data/runs/tinystories/REPORT.md"]
exclude_patterns = ["notebooks/panel.ipynb"]

extensions = ["myst_nb"]
nb_execution_mode = "off"  # the outputs are those that the tests compare
nb_ipywidgets_js = {}  # a slider has a picture, and its script is elsewhere
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]
mathjax_path = "mathjax/tex-chtml.js"

html_theme = "sphinx_book_theme"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_theme_options = {
    "repository_url": PROJECT["urls"]["Home"],
    "repository_branch": "main",
    "use_repository_button": True,
    "use_download_button": False,
    "footer_content_items": "",
    "show_toc_level": 2,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "jupyterlite_url": "../lite/lab/index.html",
        "notebook_interface": "jupyterlab",
    },
}

START = (
    '<p><a href="lite/index.html">Run the lessons in this browser</a>, with '
    "nothing to install, or read them here.</p>"
)
PAGES = """

```{toctree}
:hidden:
:glob:
:caption: The lessons

notebooks/0*
```

```{toctree}
:hidden:
:glob:
:caption: Appendices

notebooks/A*
```

```{toctree}
:hidden:
:caption: Beside the lessons

notebooks/NOTATION
notebooks/ERRORS
notebooks/TEACHING
data/README
data/runs/tinystories/REPORT
CONTRIBUTING
```
"""


def add_pages(app, name, source):
    """Let the first page know the others; a badge is from elsewhere."""
    if name == root_doc:
        text = re.sub(r"!\[(.*?)\]\(https:.*?\)", r"\1", source[0])
        title, _, rest = text.partition("\n\n")
        source[0] = f"{title}\n\n{START}\n\n{rest}{PAGES}"


def describe_pictures(app, doctree):
    """Give each picture of a cell the words that its lesson has for it."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix == ".ipynb":
        said = alternatives(nbformat.read(path, as_version=4))
        for image in doctree.findall(nodes.image):
            name = Path(image["uri"]).stem
            image["alt"] = said.get(name, image.get("alt", ""))


def alternatives(lesson):
    """Return {name that myst-nb gives a picture: its words}."""
    found = {}
    for output in [o for c in lesson.cells for o in c.get("outputs", [])]:
        picture = output.get("data", {}).get("image/png")
        if picture:
            name = sha256(b64decode(picture)).hexdigest()
            found[name] = output.metadata["image/png"]["alt"]
    return found


def name_buttons(app, name, template, context, doctree):
    """Say what a button opens; leave out what the browser edition has not."""
    for group in context.get("header_buttons", []):
        for button in list(group.get("buttons", [])):
            if button.get("text") == "JupyterLite":
                button["text"] = "In this browser"
                button["tooltip"] = "Run it here, nothing to install"
                if not name.startswith(IN_BROWSER):
                    group["buttons"].remove(button)


def add_files(app, error):
    """Put in place what Sphinx does not: formulas, and the first page.

    Takes away the pictures that myst-nb has put beside the site as well.
    """
    beside = Path(app.outdir).parent / "jupyter_execute"
    shutil.rmtree(beside, ignore_errors=True)
    if error is None:
        scripts = Path(app.outdir, "_static", "mathjax")
        for part in ("output/chtml/fonts", "input/tex/extensions"):
            target = scripts / part
            shutil.copytree(MATHJAX / part, target, dirs_exist_ok=True)
        shutil.copy(MATHJAX / "tex-chtml.js", scripts)
        pages = Path(app.outdir)
        shutil.copy(pages / "README.html", pages / "index.html")


def setup(app):
    """Connect the four."""
    app.connect("source-read", add_pages)
    app.connect("doctree-read", describe_pictures)
    app.connect("html-page-context", name_buttons, priority=900)
    app.connect("build-finished", add_files)
