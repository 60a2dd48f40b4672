"""Keep copies of the lessons that a reader may run, change and save.

    python -m helpers lessons [--fresh 03]

Support code. The copies stand in lessons/, which git does not know: whatever
is done to them, the files of the checkout stay as they are. A copy follows
its original until its text or code is edited; outputs do not count.
"""

import hashlib
import itertools
import json
import os
from pathlib import Path

from helpers.runs.files import whole_file, write_whole

ROOT = Path(__file__).resolve().parents[2]
LESSONS, COPIES = ROOT / "notebooks", ROOT / "lessons"
DIGESTS = ".digests.json"  # in COPIES: of each original when it was copied
SUFFIXES = (".ipynb", ".md", ".py", ".svg", ".png")


def write_copies(fresh=(), lessons=LESSONS, folder=COPIES):
    """Write the copies that are missing, and those whose original changed.

    An edited copy is kept, and a line says so if its original has changed.
    fresh: beginnings of names, such as "03": these become as the original,
    and what was edited moves beside it. Raises ValueError if one fits none.
    """
    originals = find_originals(lessons)
    for start in fresh:
        if not any(name.startswith(start) for name in originals):
            raise ValueError(
                f"no lesson begins with {start!r}; name one as in 03 or A1"
            )
    digests = load_digests(folder)
    for name, path in originals.items():
        copy, now = folder / name, digest(path)
        mine = digest(copy) if os.path.lexists(copy) else None
        edited = mine not in (None, now, digests.get(name))
        if edited and name.startswith(tuple(fresh)):
            move_aside(copy)
        elif edited:
            say_kept(copy, digests.get(name) != now)
            continue
        if mine != now or name.startswith(tuple(fresh)):
            with whole_file(copy) as file:
                file.write(path.read_bytes())
        digests[name] = now
    write_whole(folder / DIGESTS, json.dumps(digests, indent=1) + "\n")


def find_originals(lessons):
    """Return {name: path} of the files that are copied, figures as well."""
    paths = [path for path in sorted(lessons.rglob("*")) if path.is_file()]
    return {
        path.relative_to(lessons).as_posix(): path
        for path in paths
        if path.suffix in SUFFIXES and ".ipynb_checkpoints" not in path.parts
    }


def load_digests(folder):
    """Return {name: digest} as it was written, {} where it was not."""
    try:
        found = json.loads((folder / DIGESTS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def digest(path):
    """Return a number that changes with the cells of a notebook, or a file.

    None for what cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if path.suffix == ".ipynb":
        try:
            cells = json.loads(data)["cells"]
            cells = [(c["cell_type"], "".join(c["source"])) for c in cells]
            data = json.dumps(cells).encode()
        except (ValueError, KeyError, TypeError):
            pass  # not a notebook any more: then its bytes count
    return hashlib.sha256(data).hexdigest()


def move_aside(copy):
    """Rename an edited copy to a name that is free; say which."""
    for n in itertools.count(1):
        aside = copy.with_name(f"{copy.stem}.mine-{n}{copy.suffix}")
        if not os.path.lexists(aside):
            os.rename(copy, aside)
            print(f"{aside.parent.name}/{aside.name}: what you had changed")
            return


def say_kept(copy, outdated):
    """Say that an edited copy stays behind its original, if it does."""
    if outdated:
        number = copy.name[:2]
        print(
            f"{copy.parent.name}/{copy.name}: kept as you changed it, though "
            f"the lesson is newer; make lessons FRESH={number} fetches that"
        )
