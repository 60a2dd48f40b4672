"""Write the page on which a learner begins: three ways in, and the path.

Support code. lessons/START.md is written anew by `make lab`, `make exercises`
and `make progress`, since it says how far one is.
"""

import re

import nbformat

from helpers import DATA
from helpers.checks.cells import read, to_write
from helpers.checks.exercises import EXERCISES, find, load_results
from helpers.checks.table import saved_states
from helpers.checks.torch_answers import filed_versions, is_installed
from helpers.lab.copies import COPIES, LESSONS
from helpers.runs.files import write_whole

START = "START.md"  # in COPIES
NOT_HANDED_OUT = ("panel.ipynb", "gpt.py")  # to a class

PAGE = """\
# Build a language model in NumPy

{n} notebooks, in which a Transformer grows from one softmax to a model that
tells stories, every gradient by hand. There are {ways} ways in; change from
one to another whenever you like.

| | | |
|---|---|---|
| **Read it** | [lesson 01](01_causal_mask.ipynb) | The \
lessons as they are. Run a cell with Shift+Enter, change it, run it again. |
| **Write it yourself** | [exercise 01](../exercises/01_causal_mask.ipynb) \
| The same lessons with the functions left out. A check below each says what \
is right, what is wrong, and usually why. |
{play}{go_on}
## The path

| | lesson | minutes | read | write | right so far |
|---|---|---|---|---|---|
{rows}

The appendices come in any order after 07, only A4 after A2. Letters and words
are in [NOTATION](NOTATION.md){gpt}.

## Good to know

- **Checks compare with {reference}
- **Stories** come from {stories}
- These are copies of your own: run, change and save what you like. \
`make lessons FRESH=03` brings lesson 03 back as it was, `make exercises \
FRESH=03` writes new blanks beside yours, and what you wrote stays.
- `make progress` runs your copies and brings the last column up to date. \
Without `make` it is `python -m helpers progress`; `python -m helpers` lists \
the rest.
"""
PLAY = """\
| **Play** | [the panel](panel.ipynb) | A trained model tells stories. Choose \
*Run ▸ Run All Cells*, then press *Generate*. |
"""
ONE_PAGE = ", the whole of GPT-2 on one page in [gpt.py](gpt.py)"
LIVE = (
    "PyTorch, which is installed** and answers whatever you ask it. A verdict "
    "says *matches torch*."
)
ON_FILE = (
    "what PyTorch {version} answered** to the lessons' checks: it is not "
    "installed. Arrays of your own are checked by central differences. "
    "`make torch` installs it; each verdict says what it compared with."
)
TINY = "TinyStories, in `data/tinystories/`."
GRAMMAR = (
    "a grammar that is part of the workbook; `make data` fetches TinyStories."
)


def write_start(lessons=LESSONS, copies=COPIES, exercises=EXERCISES):
    """Write the start page; return its path."""
    rows = [row_of(path, copies, exercises) for path in find((), lessons)]
    reference = LIVE
    if not is_installed():
        reference = ON_FILE.format(version=", ".join(filed_versions()))
    here = {name: (lessons / name).exists() for name in NOT_HANDED_OUT}
    page = PAGE.format(
        n=len(rows),
        ways="three" if here["panel.ipynb"] else "two",
        play=PLAY if here["panel.ipynb"] else "",
        gpt=ONE_PAGE if here["gpt.py"] else "",
        go_on=say_latest(lessons, copies, exercises),
        rows="\n".join(rows),
        reference=reference,
        stories=TINY if (DATA / "tinystories").exists() else GRAMMAR,
    )
    write_whole(copies / START, page)
    return copies / START


def row_of(path, copies, exercises):
    """Return the row of a lesson in the table of the path."""
    number, title = title_of(path)
    cells = nbformat.read(path, as_version=4).cells
    top = "\n".join(cell.source for cell in cells[:5])
    minutes = re.search(r"\| Time \| (\d+)", top)
    begun = ", begun" if is_changed(path, copies / path.name) else ""
    words = words_of(path, exercises)
    cells = [
        number,
        title,
        minutes[1] if minutes else "",
        f"[read]({path.name}){begun}",
        f"[write](../{exercises.name}/{path.name})",
        f"{words.count('right')} of {len(words)}",
    ]
    return f"| {' | '.join(cells)} |"


def title_of(path):
    """Return number and title of a lesson."""
    first = nbformat.read(path, as_version=4).cells[0].source
    return first.splitlines()[0].removeprefix("# ").split(" · ", 1)


def is_changed(original, copy):
    """Say whether a copy was saved since it was made."""
    try:
        return copy.read_bytes() != original.read_bytes()
    except OSError:
        return False


def words_of(path, exercises):
    """Return how far each function of a lesson is: "right", "blank", ..."""
    names = to_write(path)
    try:
        notebook = read(exercises / path.name)
    except ValueError:
        return ["blank"] * len(names)
    result = load_results(exercises).get(path.stem, {})
    states = saved_states(names, notebook, result)
    return [state.word for state in states.values()]


def say_latest(lessons, copies, exercises):
    """Return a line that leads to what was saved last, if anything was."""
    begun = []
    for path in find((), lessons):
        if is_changed(path, copies / path.name):
            begun.append((copies / path.name, path))
        if {*words_of(path, exercises)} != {"blank"}:
            begun.append((exercises / path.name, path))
    if not begun:
        return ""
    copy, path = max(begun, key=lambda pair: pair[0].stat().st_mtime)
    number, title = title_of(path)
    return (
        f"\n**Go on** where you saved last: [{number} {title}]"
        f"(../{copy.parent.name}/{copy.name})\n"
    )
