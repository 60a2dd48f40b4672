"""Lose nothing: files that are whole, and an interrupt that waits.

Support code, not built in a lesson.
"""

import contextlib
import os
import signal
from pathlib import Path


@contextlib.contextmanager
def whole_file(path):
    """Open a binary file that takes the place of path once it is complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)  # readers see the old file or the new one


def write_whole(path, text):
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8"))


@contextlib.contextmanager
def ctrl_c_waits():
    """Turn Ctrl-C into an entry of the list that is yielded."""
    pressed = []
    try:
        old = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    except ValueError:  # not in the main thread: no Ctrl-C comes here
        yield pressed
        return
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, old)
