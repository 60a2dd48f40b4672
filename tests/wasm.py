"""Run NOTEBOOKS cell by cell and print what each found; see wasm.mjs."""

import importlib
import json
import os
import sys
import time

os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"

from IPython.core.interactiveshell import InteractiveShell  # noqa: E402
from IPython.utils.capture import capture_output  # noqa: E402
from matplotlib import pyplot  # noqa: E402


def run_notebook(name):
    """Yield for each code cell what came of it, as JSON can hold it."""
    with open(f"/drive/{name}", encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    InteractiveShell.clear_instance()
    for module in [m for m in sys.modules if m.split(".")[0] == "helpers"]:
        del sys.modules[module]
    shell = InteractiveShell.instance()
    shell.kernel = None  # a notebook's shell has one, and verdicts their marks
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            began = time.perf_counter()
            with capture_output() as shown:
                done = shell.run_cell("".join(cell["source"]), True)
            error = done.error_before_exec or done.error_in_exec
            yield {
                "notebook": name,
                "cell": i,
                "seconds": round(time.perf_counter() - began, 2),
                "error": error and f"{type(error).__name__}: {error}",
                "stdout": shown.stdout,
                "stderr": shown.stderr,
            }


importlib.invalidate_caches()  # the folder was not there before
for name in NOTEBOOKS:  # noqa: F821
    os.chdir(os.path.dirname(f"/drive/{name}"))
    for line in run_notebook(name):
        print(json.dumps(line), flush=True)
    pyplot.close("all")
