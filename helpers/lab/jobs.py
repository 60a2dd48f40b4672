"""Do what `make` does, also where there is no make: python -m helpers JOB.

Support code, for the command line. A job gets the words behind its name and
returns an exit code. What it needs is imported when it begins: not every
install has JupyterLab or pytest.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Two BLAS threads wait for each other where other programs run as well, and
# the small products of the lessons gain nothing from a second.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# One more than there are processors, as a test that waits for a browser or a
# kernel leaves its own idle; each loads what all tests import, so not many.
WORKERS = str(min((os.cpu_count() or 1) + 1, 6))
OPENS = """\
JupyterLab opens at the start page, in your browser. If it does not, open the
address that it prints below. Ctrl-C, twice, ends it here."""


def run(name, words):
    """Do a job; return its exit code, 2 for an error said in one line."""
    try:
        return JOBS[name](words) or 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        extra = "test" if name in FOR_CONTRIBUTORS else "lab"
        print("error:", say_missing(error, extra), file=sys.stderr)
    except (ValueError, OSError) as error:
        print("error:", error, file=sys.stderr)
    return 2


def say_missing(error, extra):
    """Return how to install what an import did not find."""
    if error.name == "helpers.classes":
        return "this is for instructors, and no part of what is handed out"
    return (
        f"{error.name} is not installed: python -m pip install "
        f'-c constraints.txt -e ".[{extra}]"'
    )


# for learners


def lab(words):
    """Open the start page in JupyterLab; takes options of JupyterLab."""
    from jupyterlab.labapp import LabApp

    from helpers.lab.server import SETTINGS, Server

    os.environ.update(ONE_THREAD | os.environ)  # kernels inherit it
    page = write_folders().relative_to(ROOT).as_posix()
    before = os.environ.get("JUPYTER_CONFIG_PATH")
    places = [str(SETTINGS), *([before] if before else [])]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(places)
    options = [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{page}",
        f"--LabApp.workspaces_dir={ROOT / '.workspaces'}",  # of this alone
        "--LabApp.custom_css=True",
        "--KernelManager.transport_encryption=auto",
        "--log-level=WARN",
    ]
    if getattr(os, "geteuid", lambda: 1)() == 0:  # as in a container
        options.append("--allow-root")
    print(OPENS, flush=True)
    LabApp.serverapp_class = Server
    LabApp.launch_instance([*options, *words])


def write_folders(*, say=False):
    """Bring lessons/, exercises/ and the start page up to date; return it.

    say: print a line for each exercise, also if it is kept.
    """
    from helpers.checks.exercises import write_exercises
    from helpers.lab.copies import COPIES, write_copies
    from helpers.lab.start import write_start

    write_copies()
    with contextlib.redirect_stdout(sys.stdout if say else io.StringIO()):
        write_exercises(read=COPIES)
    return write_start()


def lessons(words):
    """Bring the copies to read up to date; --fresh 03 puts one back."""
    from helpers.lab.copies import COPIES, write_copies
    from helpers.lab.start import write_start

    parser = argparse.ArgumentParser("python -m helpers lessons")
    parser.add_argument("--fresh", nargs="+", default=(), metavar="03")
    write_copies(parser.parse_args(words).fresh)
    write_start()
    print(f"{COPIES.name}/ is up to date")


def exercises(words):
    """Write the lessons to fill in; --fresh 03 writes one more beside it."""
    from helpers.checks.exercises import main

    write_folders()
    return main(["write", *words])


def progress(words):
    """Run what is filled in and show how far it is: all, or 01 02."""
    from helpers.checks.exercises import main
    from helpers.lab.start import write_start

    code = main(["progress", *words])
    write_start()
    return code


def panel(words):
    """Serve the sampling panel as a page of its own."""
    from helpers.panel.__main__ import main

    main(words)


# for instructors


def course(words):
    """Write what a class gets: the lessons to fill in, without solutions."""
    from helpers.classes.jobs import course

    course(words)


def grade(words):
    """Grade what a class handed in; the same words go on after a stop."""
    from helpers.classes.jobs import grade

    grade(words)


# for contributors


def run_lessons(words):
    """Run the lessons in place, all or 01 02, and tell a story."""
    os.environ.update(ONE_THREAD | {"WORKBOOK_DATA": "grammar"})
    code = call("tests/run_notebooks.py", *words)
    return code or call("-m", "helpers", "generate", "--seed", "1")


def test(words):
    """Check style, every cell's output, and what cells cannot show."""
    words = ["--durations=5", "-n", WORKERS, *words]
    return lint([]) or call("-m", "pytest", *words)


def check(words):
    """Check style, hygiene, and one proof a function, in seconds."""
    return lint([]) or call("-m", "pytest", "-m", "quick", "tests", *words)


def lint(words):
    """Check the style."""
    code = call("-m", "ruff", "check", *words)
    return code or call("-m", "ruff", "format", "--check", *words)


def experiments(words):
    """Make what the tables of the appendices lack."""
    tables = ["experiments", "runs.digit_tables", "runs.scale_tables"]
    tables += ["runs.llama_tables", "runs.assistant_tables"]
    codes = (call("-m", f"helpers.{table}", *words) for table in tables)
    return next(filter(None, codes), 0)


def home(words):
    """Write owner/name of the repository to wherever it is said."""
    from helpers.lab.home import write_home

    parser = argparse.ArgumentParser("python -m helpers home")
    parser.add_argument("home", metavar="owner/name")
    for path in write_home(parser.parse_args(words).home):
        print(path.relative_to(ROOT).as_posix())


def call(*words):
    """Run Python on words, in the folder of the workbook."""
    return subprocess.call([sys.executable, *words], cwd=ROOT)


FOR_CONTRIBUTORS = {
    "run": run_lessons,
    "test": test,
    "check": check,
    "lint": lint,
    "experiments": experiments,
    "home": home,
}
JOBS = {
    "lab": lab,
    "lessons": lessons,
    "exercises": exercises,
    "progress": progress,
    "panel": panel,
    "course": course,
    "grade": grade,
} | FOR_CONTRIBUTORS
