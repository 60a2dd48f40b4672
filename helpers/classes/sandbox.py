"""Run the functions of one submission, each in a process of its own.

    python -m helpers.classes.sandbox < job > answers

Support code, for grade.py. A job is a line of JSON: the lesson, the cells of
the notebook, the names of its functions, the seed of the numbers, seconds;
the lines behind it name a function and the company it is tried in. This
process loads what the lesson may use and never runs a line of the notebook;
each time it forks one that does, behind fences, and passes on what that one
wrote, a line of JSON. What has to come out is not here.
"""

import ast
import contextlib
import gc
import inspect
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from functools import partial
from importlib import import_module
from typing import NamedTuple

import numpy as np

from helpers.checks import cases, lessons
from helpers.checks.blanks import run_value, try_refusal
from helpers.checks.cells import one_line
from helpers.checks.inspection import Trial, run_backward, run_forward
from helpers.checks.lift import lift
from helpers.checks.shelf import statements
from helpers.checks.table import find_own, look_up, read_states
from helpers.checks.verdicts import TOLERANCE, Mistake, to_mistake
from helpers.classes import drawn, fence
from helpers.classes.similar import tree_of
from helpers.classes.solutions import cells_of, code_of, published, solve
from helpers.classes.wire import pack
from helpers.runs.speed import one_blas_thread

LARGEST = 32 * 2**20  # bytes of what a function returns in all cases
NO_ANSWER = {
    "state": None,  # [word, why] of a function that is not tried
    "tree": None,  # of similar.py
    "cases": [],  # what came out of each
    "seen": [],  # what the fences refused
    "ended": False,  # all cases were tried
    "late": False,  # it took too long
}
COMMON = (  # of Python's library, loaded before the fences stand
    "bisect collections copy dataclasses datetime decimal encodings.cp437 "
    "fractions functools hashlib heapq io itertools json math mmap operator "
    "os pathlib pickle random re shutil statistics string struct tempfile "
    "time timeit types typing unicodedata unittest.mock warnings zipfile zlib"
)


def main():
    """Read a job; then answer each line that asks for [name, way]."""
    job = json.loads(sys.stdin.readline())
    job["room"] = prepare(job["lesson"])
    gc.freeze()  # so that a child does not copy what it only looks at
    job["looks"] = look(job)
    print("ready", flush=True)
    for line in sys.stdin:
        name, way = json.loads(line)
        print(json.dumps(run_fenced(job, name, way)), flush=True)


def ways_of(lesson, name):
    """Return in which company a function is tried.

    alone: among the shelf's; together: among the learner's own, where a
    cache may have another form; beside: a backward behind the shelf's
    forward, should the learner's be wrong.
    """
    _, forward = kinds_of(lesson, name)
    return ("alone", "together", "beside")[: 2 if forward == name else 3]


def prepare(lesson):
    """Load all that a lesson's functions may need; return its Room."""
    for name in COMMON.split():
        import_module(name)
    import_module(f"helpers.checks.cases.{lesson}")
    drawn.practised(lesson)
    with one_blas_thread():  # looks up functions of the library once
        pass
    room = furnish(lesson)
    lessons.shelf(lesson)  # for children, which find no file
    published(lesson)
    cells_of.cache_clear()
    lessons.tree_of.cache_clear()
    return room


# around the fences


def run_fenced(job, name, way):
    """Return what a function answered."""
    return read_answer(*ask_child(job, partial(answer, job, name, way)))


def look(job):
    """Return {name: [state, tree]} of functions, {} if none can be told."""
    text, _ = ask_child(job, partial(tell_looks, job))
    try:
        return json.loads(text)
    except ValueError:  # it had too much to read
        return {}


def ask_child(job, task):
    """Return what a task writes, and whether it took too long.

    task(folder, writes): runs in a process that it cannot leave.
    """
    folder = os.path.realpath(tempfile.mkdtemp(prefix="submission-"))
    fence.give_away(folder)
    try:
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reads)
            try:
                fence.system_fences(folder, job["seconds"])
                task(folder, writes)
            finally:
                os._exit(1)
        os.close(writes)
        return collect(reads, child, job["seconds"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def collect(reads, child, seconds):
    """Return what a child wrote, and whether it took too long.

    It has as many seconds of computing, and three times as many in all.
    """
    parts, size, late = [], 0, False
    end = time.monotonic() + 3 * seconds
    with open(reads, "rb", buffering=0) as file:
        while size <= LARGEST:
            ready, _, _ = select.select(
                [file], [], [], max(0, end - time.monotonic())
            )
            part = file.read(2**20) if ready else b""
            late = late or not ready
            if not part:
                break
            parts.append(part)
            size += len(part)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, _, used = os.wait4(child, 0)
    late = late or used.ru_utime + used.ru_stime > 0.9 * seconds
    return b"".join(parts), late


def read_answer(text, late):
    """Return NO_ANSWER with what came in its place."""
    found = NO_ANSWER | {"late": late, "cases": []}
    if len(text) > LARGEST:
        return found | {"seen": ["return more than 32 MB"]}
    for line in text.decode("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(line)
            if isinstance(said, dict) and len(said) == 1:
                ((key, value),) = said.items()
                if key == "cases":
                    found["cases"].append(value)
                elif key != "late" and key in found:
                    found[key] = value
    return found


# inside


def tell_looks(job, folder, writes):
    """Write the state of each function, None if it can be tried, its tree."""
    states, looks = read_states(job["cells"]), {}
    for name in job["names"]:
        state = look_up(states, name)
        if not state:
            looks[name] = ["missing", ""], None
        elif state.word in ("blank", "wrong"):
            looks[name] = [state.word, state.sentence], None
        else:
            looks[name] = None, tree_of(job["cells"], name)
    write_all(writes, looks)


def write_all(writes, said):
    """Write a line of JSON."""
    line = json.dumps(said).encode() + b"\n"
    while line:
        line = line[os.write(writes, line) :]


def answer(job, name, way, folder, writes):
    """Try one function in all its cases; write a line for each."""
    lesson, seen = job["lesson"], []

    def tell(**said):
        write_all(writes, said)

    state, tree = job["looks"][name]
    if state:
        tell(state=state)
        return
    tell(tree=tree)
    room = job["room"]
    theirs = lessons.shelf(lesson)
    runs = list(draw_cases(lesson, name, job["seed"]))
    if way == "beside":
        theirs |= solve(lesson, without=[name])
    empty_shelf(lesson, name, theirs, way)
    forget_cases(lesson, runs)
    published.cache_clear()
    fence.python_fences(folder, room.stubs, room.packages, seen)
    random.seed(0)
    np.random.seed(0)
    functions = take(job, name, theirs, way)
    if functions[-1] is None:
        tell(state=["missing", ""])
    for case, dtype in [] if None in functions else runs:
        said = try_run(functions, case, dtype, name)
        tell(cases=said)
        tell(seen=list(map(one_line, seen[:1])))
    tell(seen=list(map(one_line, seen[:1])))
    tell(ended=True)


def draw_cases(lesson, name, seed):
    """Yield the cases of a function in each dtype, without what has to come.

    A backward is tried with its forward, in the cases of that.
    """
    kinds, forward = kinds_of(lesson, name)
    for dtype in TOLERANCE:
        for case in drawn.find_cases(lesson, forward, seed):
            if case.kind in kinds and (
                dtype is np.float64 or cases.has_floats(case)
            ):
                case.arguments = cases.cast(case.arguments, dtype)
                case.settings = cases.cast(case.settings, dtype)
                case.expected = None
                yield case, dtype


def kinds_of(lesson, name):
    """Return which kinds of cases a function has, and the forward of it."""
    forward = name.removesuffix("_backward")
    known = lessons.names_in(lesson) | drawn.practised(lesson)
    if forward != name and forward in known:
        return ("pair",), forward
    return ("pair", "value", "refusal"), name


class Room(NamedTuple):
    """Hold what a notebook finds around it.

    world: {name: value} of what its lesson imports and the shelf defines;
    stubs: {name: module} in place of helpers; packages: others it may import.
    """

    world: dict
    stubs: dict
    packages: set


def furnish(lesson):
    """Return the Room of a lesson.

    A stub holds the names that the lesson imports and no others; of earlier
    lessons all that they hand on.
    """
    world, stubs, packages = {}, {"helpers": {}}, {"numpy"}
    for earlier in lessons.LESSONS[: lessons.LESSONS.index(lesson)]:
        module = import_module(f"helpers.{earlier}")
        names = getattr(module, "__all__", lessons.shelf(earlier))
        stubs[module.__name__] = {
            name: getattr(module, name) for name in names
        }
    for source in code_of(lesson):
        for node in statements(source):
            if isinstance(node, ast.Import):
                roots = [a.name.partition(".")[0] for a in node.names]
                packages |= set(roots)
            elif isinstance(node, ast.ImportFrom):
                packages.add(node.module.partition(".")[0])
                if node.module.partition(".")[0] == "helpers":
                    found = take_names(node)
                    stubs.setdefault(node.module, {}).update(found)
                    world |= found
    stubs.setdefault("helpers.checks", {})["note"] = nothing
    world |= vars(import_module(f"helpers.{lesson}"))
    packages -= {"helpers", "torch"}
    return Room(world, fence.make_stubs(stubs), packages)


def take_names(node):
    """Return {name: value} of what an import of the lesson brings.

    Of checks and pictures come functions that do nothing.
    """
    names = [alias.name for alias in node.names]
    if node.module.startswith(("helpers.checks", "helpers.pictures")):
        names = ["note"] if names == ["*"] else names
        return dict.fromkeys(names, nothing)
    module = import_module(node.module)
    if names == ["*"]:
        public = [name for name in vars(module) if name[0] != "_"]
        names = getattr(module, "__all__", public)
    for name in names:
        if not hasattr(module, name):
            import_module(f"{node.module}.{name}")
    return {name: getattr(module, name) for name in names}


def nothing(*arguments, **settings):
    """Stand for a check or a picture."""


def empty_shelf(lesson, name, theirs, way):
    """Let the shelf's function, and its other half, only refuse."""
    _, forward = kinds_of(lesson, name)
    pair = {name, forward, f"{forward}_backward"}
    for each in {name} if way == "beside" else pair:
        owner, _, method = each.rpartition(".")
        if owner:
            setattr(theirs[owner], method, refuse)
        elif each in theirs:
            inner = inspect.unwrap(theirs[each])
            inner.__code__ = refuse.__code__
            inner.__kwdefaults__ = None


def refuse(*arguments, **settings):
    """Stand for a function of the shelf that the learner writes."""
    raise ImportError("the shelf has no such function here")


def forget_cases(lesson, runs):
    """Take away what makes the cases, for some say what has to come.

    What looks at a function in one of runs stays, with all that it calls.
    """
    modules = []
    for package in (cases, drawn):
        modules.append(sys.modules.pop(f"{package.__name__}.{lesson}"))
        delattr(package, lesson)
    needed = names_below([case.use for case, _ in runs], modules)
    for module in modules:
        for name in set(vars(module)) - needed - {"__builtins__"}:
            delattr(module, name)


def names_below(things, modules):
    """Return the names that functions read, and those of what they call.

    The classes of modules are among them.
    """
    found, waiting = set(), list(things)
    for module in modules:
        waiting += filter(inspect.isclass, vars(module).values())
    while waiting:
        names = names_read(waiting.pop()) - found
        found |= names
        for module in modules:
            waiting += [vars(module)[n] for n in names & set(vars(module))]
    return found


def names_read(thing):
    """Return the names that the code of a function or class reads."""
    if inspect.isclass(thing):
        parts = filter(inspect.isfunction, vars(thing).values())
        return {thing.__name__}.union(*map(names_read, parts))
    code = thing if inspect.iscode(thing) else getattr(thing, "__code__", None)
    if code is None:
        return set()
    inner = filter(inspect.iscode, code.co_consts)
    return set(code.co_names).union(*map(names_read, inner))


# the learner's


def take(job, name, theirs, way):
    """Return a learner's function, a backward behind its forward.

    None stands for one that is not there. way: one of ways_of.
    """
    _, forward = kinds_of(job["lesson"], name)
    pair = list(dict.fromkeys([forward, name]))
    names = job["names"] if way == "together" else pair
    if way == "beside":
        names = [name]
    lifted = lift(job["cells"], job["room"].world, names)
    functions = [find_own(each, lifted) for each in pair]
    if way == "beside":
        functions[0] = theirs[forward]
    if None in functions:
        return functions
    if way == "together":
        return tuple(map(lessons.plain, functions))
    return lessons.put_among(theirs, lifted, functions)


def try_run(functions, case, dtype, name):
    """Return what functions do in a case, as JSON can hold it."""
    said = {}
    try:
        run_case(functions, case, dtype, name, said)
        return said
    except Mistake as mistake:
        found = mistake
    except NotImplementedError as error:
        return said | {"blank": one_line(error)}
    except MemoryError:
        found = Mistake("error", name, "needs more than 1 GB of memory")
    except BaseException as error:  # also SystemExit
        found = to_mistake(error, name)
    found.__traceback__ = found.__context__ = None  # they hold arrays
    keys = "kind", "name", "text", "cause"
    return said | {"mistake": [getattr(found, key) for key in keys]}


def run_case(functions, case, dtype, name, said):
    """Put into said what comes out of a case, as far as it comes."""
    if case.kind == "refusal":
        try_refusal(name, functions, case, None, dtype)
    elif case.kind == "value":
        got, changed = run_value(name, functions[0], case)
        said |= {"result": pack(got), "changed": changed}
    else:
        trial = make_trial(functions, case, dtype)
        out, cache = run_forward(trial)
        said |= {"out": pack(out), "changed": trial.changes}
        if len(functions) == 2:
            grads = run_backward(trial, trial.draw_dout(out), cache)
            said["grads"] = pack(grads)


def make_trial(functions, case, dtype, tolerance=0, answer=None):
    """Return the Trial of a pair, or of a forward alone."""
    op, op_backward = functions if len(functions) == 2 else (*functions, None)
    if case.use:
        op, adapted = case.use(op, op_backward)
        op_backward = op_backward and adapted
    inputs = list(case.arguments), case.settings
    asked = dtype, tolerance, answer, case.in_place
    return Trial(op, op_backward, *inputs, *asked)
