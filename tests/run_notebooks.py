"""Run the lessons in place, in order: the outputs that are committed.

    python tests/run_notebooks.py [01 02 ...]

Without names all of notebooks/*.ipynb. A notebook is written when all its
cells have run; one that fails stays as it is.
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers.runs.files import write_whole

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"  # its ids are random


def main(names, folder=NOTEBOOKS):
    """Run notebooks whose names begin so, or all; return the exit code."""
    paths = [
        path
        for path in sorted(folder.glob("*.ipynb"))
        if not names or path.name.startswith(tuple(names))
    ]
    if not paths:
        print(f"no such notebook in {folder}", file=sys.stderr)
        return 1
    failed = [path for path in paths if not run(path)]
    return 1 if failed else 0


def run(path):
    """Run one notebook and write it; return whether every cell ran."""
    notebook, began = nbformat.read(path, as_version=4), time.perf_counter()
    started = [0]
    client = NotebookClient(
        notebook,
        timeout=300,  # seconds a cell
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        on_cell_start=lambda cell, cell_index: started.append(cell_index),
    )
    try:
        client.execute()
    except (CellExecutionError, RuntimeError, TimeoutError) as error:
        say_failure(path, notebook.cells[started[-1]], started[-1], error)
        return False
    tidy(notebook)
    nbformat.validate(notebook)
    write_whole(path, nbformat.writes(notebook) + "\n")
    seconds = time.perf_counter() - began
    print(f"{path.stem:<24}{seconds:6.1f} s{len(notebook.cells):5} cells")
    return True


def say_failure(path, cell, index, error):
    """Print the notebook, the cell and the last line of the error."""
    if isinstance(error, CellExecutionError):
        what = f"{error.ename}: {error.evalue}"
    else:
        what = str(error).strip().splitlines()[0]
    print(f"{path.name}: cell {index} did not run\n", file=sys.stderr)
    for line in cell.source.splitlines():
        print("   ", line, file=sys.stderr)
    print(f"\n{what}", file=sys.stderr)


def tidy(notebook):
    """Remove what would differ on another machine or at another time."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if "predict" in cell.metadata.get("tags", []):
            hide_until_run(cell)
        cell.outputs = [o for o in cell.outputs if not is_bar(o)]
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET, None)


def hide_until_run(cell):
    """Let JupyterLab fold the output away until the reader runs the cell."""
    cell.metadata["jupyter"] = {"outputs_hidden": True}


def is_bar(output):
    """Say whether an output is a progress bar, as it looked at its start."""
    data = output.get("data", {})
    return WIDGET in data and "%|" in data.get("text/plain", "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
