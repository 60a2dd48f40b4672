"""Say no at once to what this machine has no memory for.

Support code: how much memory there is, how much of it is free, and what a
container or `ulimit -v` leaves of it. Where a system does not say, everything
is taken to fit.
"""

import os
import stat
from functools import cache
from pathlib import Path

NO_LIMIT = 2**47  # what a process can address
PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
LARGE = 2**28  # what is smaller needs no look at what is free


@cache
def memory_size():
    """Return the bytes of memory that this process may have at most."""
    sizes = [limit for limit, _ in groups()]
    try:
        pages = os.sysconf("SC_PHYS_PAGES")
        sizes.append(os.sysconf("SC_PAGE_SIZE") * pages)
        import resource

        sizes.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    except (AttributeError, ImportError, ValueError, OSError):  # Windows
        pass
    return min([size for size in sizes if size > 0], default=NO_LIMIT)


def memory_free():
    """Return the bytes that can be had without taking them from others."""
    sizes = [limit - used for limit, used in groups()]
    for line in text_of(PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            sizes.append(1024 * int(line.split()[1]))
    return max(min(sizes, default=NO_LIMIT), 0)


def groups():
    """Yield the limit and the use of each group this process belongs to.

    cgroups of Linux: a container is one, and a service.
    """
    for line in text_of(PROC / "self" / "cgroup").splitlines():
        _, kinds, group = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        root = GROUPS / kinds
        here = root / group.lstrip("/")
        for place in (here, *here.parents):
            if place == root or root in place.parents:
                yield from group_of(place)


def group_of(place):
    """Yield the limit and the use of a group, if it has a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),  # version 1
    ):
        found = text_of(place / limit).strip()
        if found.isdecimal() and int(found) < NO_LIMIT:
            taken = int(text_of(place / used) or 0)
            for line in text_of(place / "memory.stat").splitlines():
                if line.startswith(("inactive_file ", "total_inactive_file ")):
                    taken -= int(line.split()[1])  # of files: given back
                    break
            yield int(found), taken


def text_of(path):
    """Return what a small file of the system says, nothing if it is not."""
    try:
        return path.read_text()
    except OSError:
        return ""


def gigabytes(n_bytes, up=False):
    """Return a size in GB, with a tenth if it is small."""
    tenths = -(-10 * n_bytes // 2**30) if up else 10 * n_bytes // 2**30
    if tenths >= 1000:
        return f"{n_bytes // 2**30:,}"
    return f"{tenths / 10:g}"


def check_room(what, n_bytes):
    """Raise ValueError for what this machine cannot hold in its memory."""
    memory = memory_size()
    if n_bytes > memory:
        raise ValueError(
            f"{what} needs {gigabytes(n_bytes, up=True)} GB of memory or more "
            f"and the machine has {gigabytes(memory)}; choose something "
            "smaller"
        )
    if n_bytes > LARGE and n_bytes > (free := memory_free()):
        raise ValueError(
            f"{what} needs {gigabytes(n_bytes, up=True)} GB of memory or more "
            f"and {gigabytes(free)} are free; close other programs, or choose "
            "something smaller"
        )


def check_file(path, times=3):
    """Raise ValueError for a file that would not fit into memory, or none.

    times: how much memory a byte of it takes. Leaves it to open() to say
    that there is nothing.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ValueError(
            f"{path} is a pipe or a device, which may never end; write what "
            "it gives to a file first"
        )
    check_room(f"{path}", times * found.st_size)
