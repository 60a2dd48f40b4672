"""Print how much each lesson shows, and how much it only judges.

    python tests/lesson_table.py

A drawing is a picture that a cell shows, a slider one that can be moved. What
is shown is pictures and text with numbers; a verdict is text in which every
line only says that something is right, wrong, or not yet there.
"""

import re
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
VERDICT = re.compile(
    r"right in \d+ case|matches torch|match torch|^not yet|^caught: "
    r"|: same as helpers/|: (True|False)$|^(True|False)$|^right\b"
)
COLUMNS = "cells words code drawings sliders predictions whys shown verdicts"


def measure(path):
    """Return {column: number} of one notebook."""
    cells = nbformat.read(path, as_version=4).cells
    texts = [c.source for c in cells if c.cell_type == "markdown"]
    code = [c for c in cells if c.cell_type == "code"]
    row = dict.fromkeys(COLUMNS.split(), 0)
    row["cells"] = len(cells)
    row["words"] = sum(len(re.findall(r"\S*\w\S*", text)) for text in texts)
    row["code"] = sum(len(c.source.splitlines()) for c in code)
    row["whys"] = sum(text.count("**Why?**") for text in texts)
    for cell in code:
        row["predictions"] += "predict" in cell.metadata.get("tags", [])
        row["sliders"] += "slide(" in cell.source
        pictures = ["image/png" in o.get("data", {}) for o in cell.outputs]
        row["drawings"] += sum(pictures) * ("slide(" not in cell.source)
        row["shown"] += sum(pictures)
        for text in printed(cell):
            row["verdicts" if is_verdict(text) else "shown"] += 1
    return row


def printed(cell):
    """Return the texts of a cell: all it printed, and each result."""
    streams = "".join(o.text for o in cell.outputs if "text" in o)
    data = [o.get("data", {}) for o in cell.outputs]
    results = [d["text/plain"] for d in data if "image/png" not in d and d]
    return [text for text in [streams, *results] if text.strip()]


def is_verdict(text):
    """Say whether every line of a text is a verdict.

    A line that is set in goes on with the one above.
    """
    text = re.sub(r"\n +", " ", text)
    lines = [line for line in text.splitlines() if line.strip()]
    return all(VERDICT.search(line) for line in lines)


def main():
    """Print the table."""
    print("| lesson |", " | ".join(COLUMNS.split()), "|")
    print("|---|" + "---|" * len(COLUMNS.split()))
    for path in sorted(NOTEBOOKS.glob("[0A]*.ipynb")):
        numbers = map(str, measure(path).values())
        print(f"| {path.stem[:2]} |", " | ".join(numbers), "|")


if __name__ == "__main__":
    main()
