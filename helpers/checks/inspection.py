"""Look at one run of a pair in the order in which a teacher would.

Support code, for gradients.py and blanks.py: first out; then whether an
argument, dout or the cache was changed in place; then the number and order of
the gradients; then shapes and values. The first thing that is wrong is raised
as a Mistake, and nothing else is looked at.
"""

import contextlib
import copy
import dataclasses
import inspect
import itertools

import numpy as np

from helpers.checks import lessons, notes
from helpers.checks.diagnosis import Context, diagnose
from helpers.checks.verdicts import (
    Mistake,
    find_problem,
    relative_error,
    to_mistake,
)
from helpers.runs.params import named_arrays


@dataclasses.dataclass
class Trial:
    """Hold one run: a pair, what goes in, and what has to come out."""

    op: object
    op_backward: object  # None: only the forward is looked at
    inputs: list
    settings: dict
    dtype: type
    tolerance: float
    answer: object  # has out, and grads(dout)
    in_place: tuple = ()  # names of arguments that op may change
    noted: list = dataclasses.field(default_factory=list)
    changes: object = None  # what op changed in place

    def draw_dout(self, out):
        """Return the random gradient that flows in.

        Its seed is not that of the cases: dout would be their first array.
        """
        rng = np.random.default_rng(1706_03762)
        drawn = rng.normal(size=np.shape(out)).astype(np.float32)
        return np.asarray(drawn, self.dtype)


def inspect_pair(trial):
    """Return {name: relative error}; raise Mistake at what is first wrong."""
    with notes.collect() as trial.noted:
        out, cache = run_forward(trial)
        errors = judge_out(trial, out)
        if trial.changes:
            raise changed_in_place(trial.op, trial.changes)
        if not trial.op_backward:
            return errors
        trial.noted.clear()
        dout = trial.draw_dout(out)
        try:
            grads = run_backward(trial, dout, cache)
        except NotImplementedError as error:
            error.so_far = f" ({name_of(trial.op)} is right)"
            raise
        return errors | judge_grads(trial, out, dout, grads)


def name_of(function):
    """Return the name of a function, or of what has none."""
    return getattr(function, "__name__", type(function).__name__)


# running


def call(function, *arguments, **settings):
    """Call a learner's function; whatever it raises becomes a Mistake."""
    try:
        with np.errstate(all="ignore"):
            return function(*arguments, **settings)
    except (Mistake, NotImplementedError):
        raise
    except Exception as error:
        raise to_mistake(error, name_of(function)) from None


def run_forward(trial):
    """Return out and cache; keep what op changed in place."""
    given = copy.deepcopy((trial.inputs, trial.settings))
    result = call(trial.op, *given[0], **given[1])
    if not isinstance(result, tuple) or len(result) != 2:
        cause = "Is there a return?" if result is None else None
        raise Mistake("count", "out", "has no cache: return out, cache", cause)
    before = name_arguments(trial)
    after = dict(zip(before, given[0])) | given[1]
    changed = find_changed(before, after)
    trial.changes = None if changed in trial.in_place else changed
    return result


def run_backward(trial, dout, cache):
    """Return the gradients as a list, in the order of trial's arrays."""
    before = None
    with contextlib.suppress(Exception):  # not everything can be copied
        before = copy.deepcopy(cache)
    flowing = dout.copy()
    grads = call(trial.op_backward, flowing, cache)
    changed = None
    if differs(dout, flowing):
        changed = "dout"
    elif before is not None and differs(before, cache):
        changed = "an array of the cache"
    if changed:
        raise changed_in_place(trial.op_backward, changed)
    return collect_grads(trial, grads)


def changed_in_place(function, name):
    """Return the Mistake of a function that changes what it was given."""
    text = f"changed {name} in place: work on a copy"
    function = function if isinstance(function, str) else name_of(function)
    return Mistake("in place", function, text)


def find_changed(before, after):
    """Return the name of the first array that is not what it was, or None."""
    for name, value in before.items():
        if differs(value, after[name]):
            return name


def differs(before, after):
    """Say whether an array in two trees is not the same."""
    if isinstance(before, np.ndarray):
        same = before.dtype == after.dtype and before.shape == after.shape
        return not (same and before.tobytes() == after.tobytes())
    if isinstance(before, dict):
        parts = [(before[key], after.get(key)) for key in before]
        return len(before) != len(after) or any(differs(*p) for p in parts)
    if isinstance(before, tuple | list):
        parts = zip(before, after)
        return len(before) != len(after) or any(differs(*p) for p in parts)
    if dataclasses.is_dataclass(before) and not isinstance(before, type):
        return differs(vars(before), vars(after))
    return False


# the gradients, as they came


def is_float(array):
    """Say whether an argument gets a gradient."""
    if isinstance(array, dict | list):
        return True
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


def name_floats(op, inputs):
    """Return the names of the arguments that get a gradient."""
    names = inspect.signature(op).parameters
    return [name for name, value in zip(names, inputs) if is_float(value)]


def collect_grads(trial, grads):
    """Return the gradients as a list without those of arrays not given.

    Raises Mistake if there are not as many as arrays, or in another order.
    """
    names = name_floats(trial.op, trial.inputs)
    floats = [value for value in trial.inputs if is_float(value)]
    optional = find_optional(trial)
    alone = len(names) == 1 and not optional
    if alone and isinstance(grads, tuple):
        text = f"returned a tuple of {len(grads)}, expected d{names[0]} alone"
        raise Mistake("count", name_of(trial.op_backward), text)
    grads = list(grads) if isinstance(grads, tuple) else [grads]
    if len(grads) == 1 and isinstance(grads[0], list) and not alone:
        (grads,) = grads
    for _ in optional:
        if len(grads) > len(names) and None in map(is_none, grads):
            del grads[[is_none(grad) for grad in grads].index(None)]
    if len(grads) != len(names) or all(grad is None for grad in grads):
        raise miscounted(trial, names, grads)
    for name, grad in zip(names, grads):
        if grad is None:
            text = f"returned None for {name}, which was given"
            raise Mistake("count", name_of(trial.op_backward), text)
    if wrong := find_order(names, grads, floats):
        raise Mistake("order", name_of(trial.op_backward), wrong)
    return grads


def is_none(grad):
    """Return None for None, and else 0: list.index would compare arrays."""
    return None if grad is None else 0


def find_optional(trial):
    """Return the parameters of op that are None here: a bias left out."""
    parameters = inspect.signature(trial.op).parameters.values()
    given = dict(zip([p.name for p in parameters], trial.inputs))
    given |= trial.settings
    return [
        p.name
        for p in parameters
        if p.default is None and given.get(p.name) is None
    ]


def miscounted(trial, names, grads):
    """Return the Mistake of too few or too many gradients."""
    integers = [
        name
        for name, value in name_arguments(trial).items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "iub"
    ]
    cause, count = None, sum(grad is not None for grad in grads)
    if not count:
        cause = "Is there a return?"
    elif len(grads) < len(names):
        cause = "Return one for each, in the order of the arguments."
    elif len(grads) == len(names) + len(integers) > len(names):
        cause = f"No gradient goes to {' and '.join(integers)}."
    elif find_optional(trial) and grads[-1] is not None:
        cause = "Return None for an array that was not given."
    text = (
        f"returned {len(grads) if count else 0} gradients for {len(names)} "
        f"arrays ({', '.join(names)})"
    )
    return Mistake("count", name_of(trial.op_backward), text, cause)


def name_arguments(trial):
    """Return {name: value} of all that goes in."""
    names = inspect.signature(trial.op).parameters
    return dict(zip(names, trial.inputs)) | trial.settings


def name_changed(function, case, arguments, settings):
    """Return the name of an argument of a case that was changed, or None."""
    names = list(inspect.signature(case.use or function).parameters)
    names = names[1:] if case.use else names
    names += [f"argument {i}" for i in range(len(names), len(arguments))]
    before = dict(zip(names, case.arguments)) | case.settings
    return find_changed(before, dict(zip(names, arguments)) | settings)


def find_order(names, grads, floats):
    """Return a clause if the gradients come in another order, or None."""

    def form(tree):
        if isinstance(tree, dict | list):
            return tuple(map(str, sorted(named_arrays(tree))))
        return np.shape(tree)

    found, wanted = list(map(form, grads)), list(map(form, floats))
    if found == wanted or sorted(map(str, found)) != sorted(map(str, wanted)):
        return None
    for order in itertools.permutations(range(len(names))):
        if [wanted[i] for i in order] == found:
            came = ", ".join(f"d{names[i]}" for i in order)
            right = ", ".join(f"d{name}" for name in names)
            return f"returned {came}, in another order than {right}"


# the verdict


def judge_out(trial, out):
    """Return {"out": relative error}; raise Mistake if it is wrong."""
    wanted = {"out": trial.answer.out}
    if np.ndim(trial.answer.out) and not isinstance(out, np.ndarray):
        cause = "Is there a return?" if out is None else None
        text = f"is a {type(out).__name__}, expected an array"
        raise Mistake("wrong", "out", text, cause)
    context = make_context(trial, {"out": out}, wanted, np.asarray(out))
    return judge(trial, context, trial.op, trial.inputs)


def judge_grads(trial, out, dout, grads):
    """Return {name: relative error} of the gradients."""
    got = name_grads(trial, grads)
    shapes = name_grads(trial, [a for a in trial.inputs if is_float(a)])
    for name in [*shapes, *got]:
        if name not in got:
            raise Mistake("count", name, "has no gradient")
        if name not in shapes:
            raise Mistake("count", name, "has a gradient, but is no parameter")
    right = trial.answer.grads(dout)
    wanted = name_grads(trial, right)
    results = {"out": out} | got, {"out": trial.answer.out} | wanted
    context = make_context(trial, *results, dout)
    errors = judge(trial, context, trial.op_backward, [dout])
    return {name: error for name, error in errors.items() if name != "out"}


def name_grads(trial, grads):
    """Return {"dx": ..., "qkv.weight": ...} of a list of gradients."""
    named = {}
    for name, grad in zip(name_floats(trial.op, trial.inputs), grads):
        tree = isinstance(grad, dict | list)
        named |= named_arrays(grad) if tree else {"d" + name: grad}
    return named


def make_context(trial, got, wanted, dout):
    """Return what a diagnosis goes by."""
    floats, integers, numbers = sort_inputs(name_arguments(trial))
    return Context(
        got,
        wanted,
        floats,
        integers,
        numbers,
        dout,
        arguments=tuple(trial.inputs),
        settings=trial.settings,
    )


def sort_inputs(given):
    """Return dicts of the float arrays, integer arrays and numbers given."""
    floats, integers, numbers = {}, {}, {}
    for name, value in given.items():
        if isinstance(value, dict | list):
            floats |= named_arrays(value)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            (floats if value.dtype.kind == "f" else integers)[name] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[name] = value
    return floats, integers, numbers


def judge(trial, context, function, arguments):
    """Return {name: relative error}; raise Mistake at the first wrong."""
    errors, dtype = {}, trial.dtype
    context.function = name_of(function)
    for name, expected in context.expected.items():
        got = context.got[name]
        problem = find_problem(name, got, expected, trial.tolerance, dtype)
        if problem:
            cause = "Is there a return?" if got is None else None
            cause = cause or find_cause(problem[0], context, dtype)
            mistake = Mistake(*problem, cause)
            add_notes(mistake, trial, context, function)
            raise mistake
        errors[name] = relative_error(got, expected)
    return errors


def find_cause(kind, context, dtype):
    """Return a sentence on the usual cause, or None.

    Where out is wrong only out is looked at; else all gradients may tell.
    """
    if kind == "dtype":
        return FLOAT64 if dtype is np.float32 else None
    names = [name for name in context.expected if name != "out"]
    for name in names or ["out"]:
        context.name = name
        with contextlib.suppress(Exception):  # a guess must hide no finding
            if sentence := diagnose(context):
                return sentence
    if kind == "wrong" and dtype is np.float32:
        return "The float64 run agreed: the formula is right, digits get lost."
    return None


def explain_result(name, got, expected, arguments, settings):
    """Return the cause of what a function called name returned, or None."""
    with contextlib.suppress(Exception):  # a guess must hide no finding
        context = Context(
            {"result": got},
            {"result": expected},
            *sort_inputs({}),
            np.zeros(()),
            "result",
            name,
            arguments,
            settings,
        )
        return diagnose(context)


FLOAT64 = (
    "A float64 took part: np.sqrt(number) and np.zeros(shape) give one, "
    "math.sqrt and a dtype do not."
)


def add_notes(mistake, trial, context, function):
    """Add to a Mistake what the noted arrays say, if any were."""
    if not trial.noted:
        return
    module = lessons.lesson_of(function)
    theirs = lessons.shelf(module) if module else {}
    op = theirs.get(name_of(trial.op), trial.op)
    right, arguments = theirs.get(name_of(function)), trial.inputs
    if function is trial.op_backward:
        _, cache = op(*trial.inputs, **trial.settings)
        arguments = [context.dout, cache]
    elif right and trial.settings:
        arguments = [*arguments, *trial.settings.values()]
    if right:
        said = notes.judge(
            trial.noted, right, arguments, context, trial.tolerance
        )
        mistake.cause = f"{said}."
