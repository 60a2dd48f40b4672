"""Replace a folder as a whole, and let one command at a time write to it.

Support code. While a command works on a folder `name`, there may stand beside
it: .name.lock, which says so; .name.new, with what it prepares; .name.old,
with what was there, between the two renames of a replacement. What a kill
leaves of these, the next command puts in order.
"""

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from filelock import FileLock, Timeout

from helpers.runs.files import move, not_written, sync_folder

RUN_FILES = (
    *("checkpoint.npz", "checkpoint-before.npz", "tokenizer.tiktoken"),
    *("config.json", "log.csv", ".lock"),  # of older versions, that one
)
REPORT_FILES = ("measured.json", "REPORT.md", "losses.png", "attention.png")
STORY_FILES = ("train.txt", "valid.txt")
FETCHED_FILES = (
    *("model.safetensors", "vocab.json", "merges.txt", "tokenizer.json"),
    *("stories260K.bin", "tok512.bin"),
)
OURS = {*RUN_FILES, *REPORT_FILES, *STORY_FILES, *FETCHED_FILES}


def is_partial(name):
    """Tell whether a file was being written for a run or as stories."""
    whole, cut = re.subn(r"\.[0-9a-f]{8}\.partial$", "", name)
    return bool(cut) and whole in {*RUN_FILES, *STORY_FILES}


def strangers(folder):
    """Return the names in a folder that nothing here wrote, in order."""
    names = os.listdir(folder) if Path(folder).is_dir() else []
    return sorted(n for n in names if n not in OURS and not is_partial(n))


def beside(folder):
    """Return folder without links, and its .new, .old and .lock."""
    real = Path(os.path.realpath(folder))
    ends = ("new", "old", "lock")
    return real, *(real.with_name(f".{real.name}.{end}") for end in ends)


# one at a time


@contextlib.contextmanager
def only_one(folder, who="training", hint=", or choose another --name"):
    """Let no other command write to a folder; ValueError if one does.

    First puts in order what a killed one has left.
    """
    *_, place = beside(folder)
    made = [above for above in place.parents if not above.exists()]
    try:
        lock, ours = take(place)
    except Timeout:
        raise ValueError(
            f"another {who} writes to {folder}; wait for its end{hint}"
        ) from None
    try:
        settle(folder)
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes it by itself
            if inode(place) == ours:  # or it is another's, who has removed it
                place.unlink()
        lock.release()
        for above in made:  # if nothing has come into it
            with contextlib.suppress(OSError):
                above.rmdir()


def take(place):
    """Return a lock on the file place, and the file's inode.

    Raises Timeout if another has it.
    """
    while True:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place)
        with contextlib.suppress(FileNotFoundError):  # another ended just now
            if not place.exists():  # Windows touches no file that is locked
                place.touch()
            ours = inode(place)
            try:
                lock.acquire(timeout=0)
            except (Timeout, FileNotFoundError):
                raise
            except (OSError, NotImplementedError) as error:
                raise no_locks(place, error) from None
            if inode(place) == ours:
                return lock, ours
            lock.release()  # of a file that another has removed


def no_locks(place, error):
    """Return an error for a disk that knows no locks."""
    return OSError(
        f"{place.parent} is on a disk that cannot lock files "
        f"({getattr(error, 'strerror', None) or error}); choose another "
        "--folder"
    )


def version(path):
    """Return what tells a file from one that took its place, None if none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def inode(path):
    """Return what stays the same of a file or folder as long as it stands."""
    return (version(path) or ())[:2]


# the whole folder


@contextlib.contextmanager
def replaced(folder):
    """Yield an empty folder that takes the place of folder at the end.

    Needs only_one. Whenever the block fails or is killed, what was there
    stays; files that are not ours move over.
    """
    real, new, old, _ = beside(folder)
    new.mkdir()
    try:
        yield new
        sync_folder(new)
        try:
            if real.exists():
                shutil.copymode(real, new)
                move(real, old)
            move(new, real)
        except OSError as error:
            raise not_written(folder, error) from None
        for above in (real.parent, real.parent.parent):  # if it is new, too
            sync_folder(above)
    finally:
        settle(folder)


def settle(folder):
    """End a replacement that was cut short, and remove what is left of it."""
    real, new, old, _ = beside(folder)
    if old.exists() and not real.exists():
        move(old, real)  # the other was not there yet
    for left in (new, old):
        clear(left, real)
    for path in real.glob("*.partial"):
        if is_partial(path.name):
            path.unlink(missing_ok=True)


def clear(left, real):
    """Remove a folder beside the real one; what is not ours moves there.

    What cannot be removed waits for the next command.
    """
    with contextlib.suppress(OSError):
        for path in left.iterdir():
            if path.name in OURS or is_partial(path.name):
                path.unlink()
            elif not (real / path.name).exists():
                move(path, real / path.name)
        left.rmdir()


def read_whole(folder, read):
    """Return read(), which looks at several files of a folder.

    Once more, if the folder was replaced meanwhile; and first what a kill
    has left is put in order.
    """
    while True:
        put_back(folder)
        before = inode(folder)
        try:
            found = read()
        except (ValueError, OSError):
            if inode(folder) == before:
                raise
        else:
            if inode(folder) == before:
                return found


def put_back(folder):
    """Let a folder come back that is between two renames, or was killed."""
    real, _, old, _ = beside(folder)
    for _ in range(100):
        if real.exists() or not old.exists():
            return
        with contextlib.suppress(ValueError, OSError), only_one(folder):
            return
        time.sleep(0.01)
