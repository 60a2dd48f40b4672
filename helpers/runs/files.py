"""Lose nothing: files that are whole.

Support code, not built in a lesson; folders.py does the same for folders.
"""

import contextlib
import errno
import hashlib
import io
import math
import os
import re
import secrets
import shutil
import sys
import time
import zipfile
from pathlib import Path

import numpy as np

from helpers.runs.memory import check_file


def brief(value, length=200):
    """Return what a value says as one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 3] + "..."


@contextlib.contextmanager
def whole_file(path, before=None):
    """Open a binary file that takes the place of path once it is complete.

    What stood there moves to the path before, if one is given; else a link
    stays one. Its mode stays. Raises OSError, in one sentence; then what
    stood there stays.
    """
    asked, mark = path, secrets.token_hex(4)  # two may write at a time
    path = Path(os.path.realpath(path) if before is None else path)
    partial = path.with_name(f"{path.name}.{mark}.partial")
    if path.exists() and not (path.is_file() or path.is_dir()):
        what = OSError(errno.EEXIST, "it is a device or a pipe")
        raise not_written(asked, what)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            with contextlib.suppress(OSError):  # nothing there yet
                shutil.copymode(path, partial)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            with contextlib.suppress(FileNotFoundError):  # nothing there yet
                move(path, before)
        move(partial, path)  # readers see the old file or the new one
        sync_folder(path.parent)
    except OSError as error:
        raise not_written(asked, error) from None
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
        form = re.escape(path.name) + r"\.[0-9a-f]{8}\.partial"
        for old in path.parent.glob("*.partial"):
            ours = re.fullmatch(form, old.name)
            if ours and time.time() - old.stat().st_mtime > 3600:
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

    Nothing in the file is run, and it cannot grow in memory. Raises
    FileNotFoundError, or ValueError if a byte is missing or not what it was.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no checkpoint at {path}; train one first")
    check_file(path)
    try:
        problem = overgrown(path)  # np.load takes other files, too
        if not problem:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            wanted = str(arrays.pop("sha256"))
    except PermissionError:
        raise
    except Exception as error:  # damaged bytes can raise almost anything
        problem = brief(error)
    if problem:
        raise ValueError(
            f"{path} is not a whole checkpoint ({problem}); use an older one"
        )
    if wanted != fingerprint(arrays):
        raise ValueError(
            f"{path} was changed after it was written (its checksum does not "
            "fit); use an older one"
        )
    return arrays


def overgrown(path):
    """Say what a .npz file has no room for and tells to be in it, if so.

    Looks at no more than the sizes that it tells.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_2_0
                if version == (1, 0):
                    read = np.lib.format.read_array_header_1_0
                shape, _, dtype = read(file)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                return f"{member.filename} is larger than it may be"
    if sum(member.file_size for member in members) > os.path.getsize(path):
        return "what it holds is larger than the file"


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
