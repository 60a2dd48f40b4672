"""Try the workbook where it was not made.

    python tests/environments.py [PLACE ...]

Each place is prepared in a temporary folder; there the lessons run and the
tests that need no PyTorch pass. Without names: all places that this machine
has. Takes minutes each, so `make test` does without it.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUIET = {
    "WORKBOOK_DATA": "grammar",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JUPYTER_PLATFORM_DIRS": "1",
}
PYTEST = ["-m", "pytest", "-n", "2", "-p", "no:cacheprovider"]


def requirements(leave_out=()):
    """Return what pyproject.toml asks for, with all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = project["dependencies"] + [w for extra in extras for w in extra]
    return [
        w for w in wanted if not w.startswith((project["name"], *leave_out))
    ]


def run(python, *words, cwd=ROOT, wrap=(), **changes):
    """Run Python on words; raise CalledProcessError if it fails."""
    words = [*wrap, str(python), *map(str, words)]
    environment = os.environ | QUIET | changes
    subprocess.run(words, cwd=cwd, env=environment, check=True)


def install(folder, python, *packages):
    """Make a virtual environment with packages; return its Python."""
    run(python, "-m", "venv", folder / "venv")
    made = folder / "venv" / "bin" / "python"
    pip = "-m", "pip", "install", "-q", "--disable-pip-version-check"
    run(made, *pip, *packages)
    run(made, *pip, "--no-deps", "--editable", ROOT)
    return made


def tests_without_torch(root=ROOT):
    """Return the test files that do without torch, and without a browser."""
    paths = sorted((root / "tests").glob("test_*.py"))
    return [path for path in paths if not imports(path, "torch|playwright")]


def imports(path, names):
    """Tell whether a file imports one of the names, or a file that does."""
    text = path.read_text(encoding="utf-8")
    if re.search(rf"^\s*(import|from) ({names})\b", text, re.MULTILINE):
        return True
    others = re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)
    beside = [path.with_name(f"{other}.py") for other in others]
    return any(imports(p, names) for p in beside if p.exists())


def lessons(root=ROOT):
    return sorted((root / "notebooks").glob("[0A]*.ipynb"))


def without_torch(folder, python):
    """Run the lessons and what needs no torch, as a learner has them."""
    made = install(folder, python, *requirements(leave_out=["torch"]))
    run(made, *PYTEST, *tests_without_torch())
    run(made, Path(__file__), "--cells", *lessons())


def cells(paths):
    """Run all cells of notebooks; fail if one fails."""
    import nbformat
    from nbclient import NotebookClient

    for path in map(Path, paths):
        notebook = nbformat.read(path, as_version=4)
        where = {"metadata": {"path": str(path.parent)}}
        NotebookClient(notebook, resources=where, timeout=600).execute()
        print(f"{path.name}: every cell runs", flush=True)


def with_numpy(version):
    """Return a place with that NumPy, and whatever else fits it."""

    def place(folder):
        made = install(folder, sys.executable, *requirements(), *version)
        run(made, "-c", "import numpy; print('numpy', numpy.__version__)")
        run(made, *PYTEST, *lessons(), *tests_without_torch())

    return place


def odd_folder(folder):
    """Work in a folder with spaces, accents and other letters."""
    root = folder / "Übungen & 猫 's" / "my workbook"
    leave = shutil.ignore_patterns(
        ".git", ".venv", "my-*", "arrays", "exercises", "lessons"
    )
    shutil.copytree(ROOT, root, ignore=leave)
    place = {"cwd": root, "PYTHONPATH": str(root)}
    run(sys.executable, "-c", "import helpers; print(helpers.DATA)", **place)
    tests = tests_without_torch(root)
    run(sys.executable, *PYTEST, *lessons(root), *tests, **place)


def locked_home(folder):
    """Have no home to write to and no network at all."""
    offline = ["unshare", "--net"]
    if subprocess.run([*offline, "true"], capture_output=True).returncode:
        offline = []  # not allowed here: QUIET must do
    print("network cut off:", bool(offline), flush=True)
    place = {"HOME": os.devnull, "wrap": offline, "TMPDIR": str(folder)}
    if offline:  # kernels talk over the loopback device
        up = 'ip link set lo up 2>/dev/null; exec "$@"'
        place["wrap"] = [*offline, "sh", "-c", up, "sh"]
    run(sys.executable, *PYTEST, *lessons(), **place)
    run(sys.executable, "-m", "helpers", "generate", "--seed", "1", **place)


def two_labs(folder):
    """Start two JupyterLabs in the workbook and run the same lessons."""
    lab = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    lab += ["--ServerApp.root_dir=.", "--IdentityProvider.token="]
    ports = (18881, 18882)
    with contextlib.ExitStack() as stack:
        for port in ports:
            words = [*lab, f"--port={port}", "--log-level=ERROR"]
            server = subprocess.Popen(words, cwd=ROOT)
            stack.callback(server.wait, 30)
            stack.callback(server.terminate)
        for port in ports:
            print(port, answer(f"http://127.0.0.1:{port}/api/status"))
        words = [sys.executable, *PYTEST]
        words += [p for p in lessons() if p.name[:2] in ("05", "06")]
        both = [
            subprocess.Popen(words, cwd=ROOT, env=os.environ | QUIET)
            for _ in ports
        ]
        assert [one.wait() for one in both] == [0, 0]


def answer(address, seconds=60):
    """Return the status of a server as soon as it answers."""
    for _ in range(seconds * 2):
        try:
            return urllib.request.urlopen(address).status
        except OSError:
            time.sleep(0.5)
    raise OSError(f"{address} does not answer")


def python(version):
    """Return a place with that Python, without torch."""

    def place(folder):
        without_torch(folder, shutil.which(f"python{version}"))

    return place


def has(name):
    """Tell whether this machine has a Python that can make environments."""
    words = [name, "-c", "import ensurepip, venv"]
    try:
        return not subprocess.run(words, capture_output=True).returncode
    except FileNotFoundError:
        return False


PLACES = {
    "python3.11": python("3.11"),
    "python3.12": python("3.12"),
    "python3.13": python("3.13"),
    "oldest-numpy": with_numpy(["numpy==2.0.0"]),
    "newest": with_numpy(["--upgrade", "--upgrade-strategy=eager"]),
    "odd-folder": odd_folder,
    "locked-home": locked_home,
    "two-labs": two_labs,
}


def main(names):
    """Try each place; return how many failed."""
    rows = []
    for name in names or PLACES:
        if name.startswith("python") and not has(name):
            rows.append(f"{name:14} not on this machine")
            continue
        began, said = time.perf_counter(), "passes"
        with tempfile.TemporaryDirectory() as folder:
            try:
                PLACES[name](Path(folder))
            except (subprocess.CalledProcessError, AssertionError) as error:
                said = f"FAILS: {error}"
        rows.append(f"{name:14} {said}, {time.perf_counter() - began:.0f} s")
    print("\n".join(rows))
    return sum("FAILS" in row for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", action="store_true", help="run notebooks")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PLACES)}")
    given = parser.parse_args()
    sys.exit(cells(given.names) if given.cells else main(given.names))
