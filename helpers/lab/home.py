"""Write where the repository lives to wherever it is said.

    python -m helpers home somebody/workbook

Support code, for whoever puts the workbook on GitHub: badges, the line that
installs it in Colab and the site lead to [project.urls] of pyproject.toml.
"""

import re
import tomllib
from pathlib import Path

from helpers.runs.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
SAID_IN = ("pyproject.toml", "*.md", "notebooks/*.ipynb", "web/*")


def find_home(root=ROOT):
    """Return "owner/name" of the repository on GitHub."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    address = project["project"]["urls"]["Home"]
    return address.removeprefix("https://github.com/")


def write_home(home, root=ROOT):
    """Put "owner/name" in place of the old one; return the files changed.

    Raises ValueError for what GitHub would not call a repository.
    """
    if not re.fullmatch(r"[\w-]+/[\w.-]+", home):
        raise ValueError(
            f"{home!r} is no repository on GitHub: name it as in owner/name"
        )
    old, changed = find_home(root), []
    for path in [p for where in SAID_IN for p in sorted(root.glob(where))]:
        if path.is_file() and old in (text := path.read_text("utf-8")):
            write_whole(path, text.replace(old, home))
            changed.append(path)
    return changed
