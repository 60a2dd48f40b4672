"""Lose nothing: files that are whole, and one writer to a folder.

Support code, not built in a lesson.
"""

import contextlib
import hashlib
import io
import os
import secrets
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout


def brief(value, length=200):
    """Return what a value says as one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 3] + "..."


@contextlib.contextmanager
def whole_file(path, before=None):
    """Open a binary file that takes the place of path once it is complete.

    What stood there moves to the path before, if one is given. Raises
    OSError, in one sentence; then what stood there stays.
    """
    path, mark = Path(path), secrets.token_hex(4)  # two may write at a time
    partial = path.with_name(f"{path.name}.{mark}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            with contextlib.suppress(FileNotFoundError):  # nothing there yet
                move(path, before)
        move(partial, path)  # readers see the old file or the new one
        sync_folder(path.parent)
    except OSError as error:
        raise not_written(path, error) from None
    finally:
        remove_partials(path, partial)


def move(old, new):
    """Rename a file, in the place of another if there is one.

    Windows refuses while a program reads either, so try for some seconds.
    """
    for seconds in (0.01, 0.1, 1, 2):
        with contextlib.suppress(PermissionError):
            return os.replace(old, new)
        time.sleep(seconds)
    os.replace(old, new)


def not_written(path, error):
    """Return an error of the same kind that says what to do."""
    reason = error.strerror or error
    return type(error)(
        f"{path} cannot be written ({reason}), and what stood there stays; "
        "make room, or choose a folder that can be written to"
    )


def sync_folder(folder):
    """Have the system write down now what is called how in a folder."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_partials(path, partial):
    """Remove a file half written, and those that a kill left an hour ago."""
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)
        for old in path.parent.glob("*.partial"):
            of_path = old.name.startswith(f"{path.name}.")
            if of_path and time.time() - old.stat().st_mtime > 3600:
                old.unlink()


def write_whole(path, text):
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8"))


def write_arrays(path, arrays, before=None):
    """Write {name: array} with a checksum to one .npz, whole or not at all.

    What stood there moves to the path before, unless it is damaged: a whole
    file there is worth more.
    """
    if before is not None and not is_whole(path):
        before = None
    content = io.BytesIO()  # some NumPys complain of a file that cannot grow
    np.savez(content, **arrays, sha256=np.array(fingerprint(arrays)))
    with whole_file(path, before) as file:
        file.write(content.getbuffer())


def read_arrays(path):
    """Return what write_arrays wrote.

    Nothing in the file is run. Raises FileNotFoundError, or ValueError if a
    byte is missing or not what it was.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no checkpoint at {path}; train one first")
    try:
        zipfile.ZipFile(path).close()  # np.load takes other files, too
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        wanted = str(arrays.pop("sha256"))
    except PermissionError:
        raise
    except Exception as error:  # damaged bytes can raise almost anything
        raise ValueError(
            f"{path} is not a whole checkpoint ({brief(error)}); use an older "
            "one"
        ) from None
    if wanted != fingerprint(arrays):
        raise ValueError(
            f"{path} was changed after it was written (its checksum does not "
            "fit); use an older one"
        )
    return arrays


def read_newest(read, path, before=None):
    """Return what read(path) returns, or what read(before) does.

    Says why if it is the one before; raises as read(path) does if neither
    can be read.
    """
    try:
        return read(path)
    except (ValueError, OSError) as error:
        if before is None:
            raise
        with contextlib.suppress(ValueError, OSError):
            found = read(before)
            reason = str(error).rpartition("; ")[0] or brief(error)
            reason = reason.replace(str(path), Path(path).name)
            print(f"{reason}, so {Path(before).name} is used", file=sys.stderr)
            return found
        raise


def is_whole(path):
    """Tell whether read_arrays would read the file."""
    try:
        read_arrays(path)
    except (ValueError, OSError):
        return False
    return True


def fingerprint(arrays):
    """Return the SHA-256 of {name: array}: names, dtypes, shapes, values."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def text_fingerprint(path):
    """Return the SHA-256 of a text file, whatever ends its lines."""
    text = Path(path).read_text(encoding="utf-8")
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@contextlib.contextmanager
def put_aside(paths):
    """Move files out of the way, and back if what takes their place fails."""
    aside = {p: p.with_name(f"{p.name}.aside") for p in paths if p.exists()}
    for path, place in aside.items():
        move(path, place)
    try:
        yield
    except BaseException:
        for path, place in aside.items():
            move(place, path)
        raise
    for place in aside.values():
        place.unlink()


@contextlib.contextmanager
def only_one(folder):
    """Let no other process train into a folder; ValueError if one does.

    Removes what killed ones have left there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"another training writes to {folder}; wait for its end, or "
            "choose another --name"
        ) from None
    with lock:
        for partial in folder.glob("*.partial"):
            partial.unlink()
        yield
