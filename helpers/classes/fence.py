"""Put a process behind fences, for good, before it runs what others wrote.

Support code, for sandbox.py. The system's own fences come first: limits of
time, memory, files and processes, a user without rights where we are root,
no network and no other files where the system lets us leave them. Inside,
Python itself refuses (PEP 578) files outside the private folder, sockets,
processes and foreign code, and imports find only what the lesson may import.
"""

import contextlib
import ctypes
import linecache
import os
import resource
import struct
import sys
import sysconfig
import tempfile
from pathlib import PosixPath
from types import ModuleType

NEW_NET, NEW_USER = 0x40000000, 0x10000000  # of Linux's unshare
NOBODY = 65534
LANDLOCK = 444, 445, 446  # its system calls, the same on every Linux
NO_NEW_PRIVILEGES = 38  # of prctl
WRITE, READ, LIST = 2, 4, 8  # of Landlock's rights
MEMORY, FILE_SIZE, FILES = 2**30, 2**20, 100  # bytes, bytes, files opened
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LIBRARY = tuple(
    os.path.join(sysconfig.get_path(name), "")
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
SYSTEM = ("/proc/meminfo", "/proc/self/cgroup", "/sys/fs/cgroup/")
NULL = (os.devnull, "/dev/urandom")
USED = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix)
# What opens files, starts interpreters or keeps notes, and asks no hook.
CLOSED = {
    "_dbm",
    "_gdbm",
    "_interpreters",
    "_posixshmem",
    "_sqlite3",
    "_testcapi",
    "_testinternalcapi",
    "_xxsubinterpreters",
    "dbm",
    "posix",
    "readline",
    "sqlite3",
    "syslog",
}
DENIED = (
    "socket.",
    "subprocess.",
    "os.fork",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.kill",
    "os.chdir",
    "os.symlink",
    "os.link",
    "os.chmod",
    "os.chown",
    "signal.",
    "ctypes.",
    "gc.",
    "pty.",
    "fcntl.",
    "resource.",
    "sys.addaudithook",
    "sys.setprofile",
    "sys.settrace",
)
PATHS = (  # events whose texts are all paths
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.truncate",
    "os.utime",
)


def system_fences(folder, seconds):
    """Give up what the system lets us give up."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.chdir(folder)
    leave_network()
    for name, limit in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, address_space() + MEMORY),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS has no AS
            resource.setrlimit(name, (limit, limit))
    leave_files(folder)
    if os.geteuid() == 0:  # limits of processes do not bind root
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def give_away(folder):
    """Let the user that system_fences becomes have a folder."""
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)


def leave_network():
    """Go where there is no network, if the system allows it."""
    with contextlib.suppress(OSError, AttributeError):
        unshare = ctypes.CDLL(None, use_errno=True).unshare
        unshare(NEW_NET) == 0 or unshare(NEW_USER | NEW_NET)


def leave_files(folder):
    """Let the kernel refuse all files but some, if it has Landlock.

    A private folder can be written; the system's own and Python's be read.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        create, add, restrict = LANDLOCK
        version = libc.syscall(create, None, 0, 1)
        if version < 1:
            return
        every = (1 << min(12 + version, 15)) - 1
        asked = struct.pack("=Q", every)
        rules = libc.syscall(create, asked, len(asked), 0)
        for path, rights in rights_of(folder, every):
            with contextlib.suppress(OSError), named(path) as number:
                rule = struct.pack("=Qi", rights, number)
                libc.syscall(add, rules, 1, rule, 0)
        libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.syscall(restrict, rules, 0)
        os.close(rules)


def rights_of(folder, every):
    """Yield (path, what may be done beneath it)."""
    yield folder, every
    for path in (*LIBRARY, *USED, *SYSTEM):
        yield path, READ | LIST if os.path.isdir(path) else READ
    for path in NULL:
        yield path, READ | WRITE


@contextlib.contextmanager
def named(path):
    """Yield the number of a file or folder that is not read."""
    number = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield number
    finally:
        os.close(number)


def address_space():
    """Return the bytes of address space that this process has by now."""
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
    return 2**30


# inside Python


def python_fences(folder, stubs, packages, seen):
    """Let imports find stubs and packages alone, and refuse the rest.

    stubs: {name: module} of what stands for helpers; seen: a list that gets
    what was refused.
    """
    tempfile.tempdir = folder
    linecache.updatecache = lambda *arguments: []  # it would open sources
    allowed = packages | set(sys.stdlib_module_names)
    for name in list(sys.modules):
        foreign = name.partition(".")[0] not in allowed | {"__main__"}
        if foreign or name in ("ctypes", "_ctypes"):
            del sys.modules[name]
    for module in (os, sys.modules.get("posix", os)):
        module.mkfifo = module.mknod = not_here  # they ask no hook
    sys.modules.update(stubs)
    sys.meta_path.insert(0, Finder(allowed - CLOSED, seen))
    sys.path[:] = [
        path for path in sys.path if (path + "/").startswith(LIBRARY)
    ]
    sys.addaudithook(make_hook(folder, seen))


def not_here(*arguments, **settings):
    """Stand for what makes a file."""
    raise PermissionError("this is not allowed here")


class Finder:
    """Refuse to import what a lesson may not."""

    def __init__(self, allowed, seen):
        self.allowed, self.seen = frozenset(allowed), seen

    def find_spec(self, name, path=None, target=None):
        """Return None, so that others look, or raise ImportError."""
        if name.partition(".")[0] not in self.allowed:
            self.seen.append(f"import {name}")
            raise ImportError(f"import of {name} is not allowed here")


def make_hook(folder, seen):
    """Return what Python asks before it opens, connects or starts.

    It uses no name that other code could bind anew.
    """
    inside, kind, refusal = folder + "/", type, PermissionError
    texts, raws, ways, numbers = str, bytes, PosixPath, (int, type(None))
    library, system, null = LIBRARY, SYSTEM, NULL
    denied, paths, writes, closed = DENIED, PATHS, WRITES, CLOSED
    left = [FILES]

    def refuse(event, what):
        seen.append(f"{event} {what}")
        raise refusal(f"{event} is not allowed here: {what}")

    def name_of(event, path):
        if kind(path) is ways:
            path = path.__str__()
        elif kind(path) is raws:
            path = path.decode("utf-8", "surrogateescape")
        if kind(path) is not texts or "/../" in path + "/":
            refuse(event, "such a path")
        return path if path[:1] == "/" else inside + path

    def readable(path):
        return path.startswith(library) or path.startswith(system)

    def private(path):
        return (path + "/").startswith(inside)

    def look_at_open(path, flags):
        path = name_of("open", path)
        if path in null or (not flags & writes and readable(path)):
            return
        left[0] -= 1
        if left[0] < 0 or not private(path):
            refuse("open", path)

    def hook(event, args):
        if event == "open":
            if kind(args[0]) not in numbers:
                look_at_open(args[0], args[2])
        elif event in paths:
            for path in args:
                if kind(path) not in numbers:
                    path = name_of(event, path)
                    if not private(path):
                        refuse(event, path)
        elif event == "import":
            name, path = args[:2]
            foreign = kind(path) is texts and not readable(path)
            if foreign or (kind(name) is texts and name in closed):
                refuse("import", name)
        elif event.startswith(denied):
            refuse(event, "")

    return hook


def make_stubs(modules):
    """Return {name: module} for {name: {name: value}}, with their parents."""
    stubs = {}
    for name, values in modules.items():
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            path = ".".join(parts[:i])
            if path not in stubs:
                stubs[path] = ModuleType(path)
                stubs[path].__path__ = []
                if i > 1:
                    above = stubs[".".join(parts[: i - 1])]
                    setattr(above, parts[i - 1], stubs[path])
        vars(stubs[name]).update(values)
    return stubs
