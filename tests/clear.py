"""What a clear error is: one sentence that this project says itself."""

import ast
import traceback
from functools import cache
from pathlib import Path

HELPERS = Path(__file__).resolve().parent.parent / "helpers"


@cache
def raises_of(path):
    """Return the lines of a file on which a raise statement stands, by start.

    {first line: all its lines}; statements that only hand on are left out.
    """
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {
        node.lineno: range(node.lineno, node.end_lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }


def origin(error):
    """Return (file, line) of the raise in helpers that an error is from.

    None if it is from anywhere else.
    """
    last = traceback.extract_tb(error.__traceback__)[-1]
    path = Path(last.filename)
    if HELPERS not in path.parents:
        return None
    for first, lines in raises_of(last.filename).items():
        if last.lineno in lines:
            return path.relative_to(HELPERS).as_posix(), first
    return None


def from_the_system(error):
    """Tell whether an error names a file and what the system says of it."""
    return isinstance(error, OSError) and error.filename and error.strerror


def assert_clear(error):
    """Fail unless an error is one sentence, and ours or the system's."""
    message = str(error)
    assert isinstance(error, ValueError | OSError), repr(error)
    assert error.__context__ is None or error.__suppress_context__
    if not from_the_system(error):
        assert message and "\n" not in message, repr(message)
        assert len(message) < 400, message
        assert origin(error), "raised inside another library"
