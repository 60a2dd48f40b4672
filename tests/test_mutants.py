"""The checks fail when they should: every deliberate mistake is caught.

mutants.txt holds the mistakes, one a line. The module is rebuilt with the
mistake, so its own callers use it, and one of the very calls that
test_gradients.py, test_training.py or test_wiring.py make on the real code
must now raise AssertionError. What check_backward says of it is compared
with the table on the way: each mutant is built and run once.
"""

import ast
import functools
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import test_assistant
import test_training
import test_wiring
from test_gradients import CHECKS, prove

from helpers.checks import Mistake
from helpers.generation import CACHED_ATTENTIONS
from helpers.transformer_block import ACTIVATIONS, ATTENTIONS, NORMS

# a broken softmax may well overflow on the way
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

TABLE = Path(__file__).with_name("mutants.txt")
PROOFS = test_assistant.PROOFS | test_training.PROOFS | test_wiring.PROOFS


@dataclass(frozen=True)
class Mutant:
    """Hold one line of the table."""

    module: str
    function: str
    check: str
    old: str
    new: str
    why: str
    says: str | None = None

    @property
    def name(self):
        return f"{self.module}.{self.function}: {self.why}"


def read_table(text):
    """Return the list of mutants in a table such as mutants.txt."""
    mutants, place = [], None
    for line in text.splitlines():
        if line.startswith("    "):
            mutants.append(read_line(line, *place))
        elif line and not line.startswith("#"):
            place = read_heading(line)
    return mutants


def read_heading(line):
    """Return module, function and check of "module: function [by check]"."""
    place, _, check = line.partition(" by ")
    module, function = place.split(": ")
    name = function.split(".")[0].removesuffix("_backward")
    return module, function, check or name


def read_line(line, *place):
    """Return the mutant of old → new | why [| what the check says]."""
    try:
        old, rest = line.replace("\\n", "\n").split("→")
        cells = [cell.strip() for cell in (old, *rest.split(" | "))]
        return Mutant(*place, *cells)
    except (TypeError, ValueError):
        raise ValueError(f"mutants.txt has no such line: {line!r}") from None


KINDS = {  # what appendix A4 adds to the tables of the lessons
    "NORMS": {"rms": NORMS["rms"]},
    "ACTIVATIONS": {"swiglu": ACTIVATIONS["swiglu"]},
    "ATTENTIONS": {kind: ATTENTIONS[kind] for kind in ("grouped", "rope")},
    "CACHED_ATTENTIONS": {
        kind: CACHED_ATTENTIONS[kind] for kind in ("grouped", "rope")
    },
}
MUTANTS = read_table(TABLE.read_text(encoding="utf-8"))
every_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)


@functools.cache
def source_of(module, function):
    """Return the source of a function or method of a lesson."""
    target = importlib.import_module(f"helpers.{module}")
    for name in function.split("."):
        target = getattr(target, name)
    return inspect.getsource(target)


@functools.cache
def parts_of(module):
    """Return source and code of each statement of a lesson, in order."""
    module = importlib.import_module(f"helpers.{module}")
    source = inspect.getsource(module)
    lines, starts = source.splitlines(keepends=True), []
    for node in ast.parse(source).body:
        decorators = getattr(node, "decorator_list", [])
        starts.append(min(part.lineno for part in (node, *decorators)) - 1)
    ends = [*starts[1:], len(lines)]
    parts = ["".join(lines[i:j]) for i, j in zip(starts, ends)]
    return [(part, compile(part, module.__file__, "exec")) for part in parts]


def rebuild(module, function, old, new):
    """Return a copy of module in which function has new in place of old.

    Raises LookupError, which no check raises, if old is not there once.
    """
    source = source_of(module, function)
    if (times := source.count(old)) != 1:
        raise LookupError(
            f"{module}.{function} has {old!r} {times} times, not once; "
            "mend tests/mutants.txt"
        )
    mutant = ModuleType(f"helpers.{module}")
    changed = 0
    for part, code in parts_of(module):
        if source in part:
            part = part.replace(source, source.replace(old, new))
            code = compile(part, "<mutant>", "exec")
            changed += 1
        exec(code, vars(mutant))
    assert changed == 1
    share_kinds(mutant)
    return mutant


def share_kinds(mutant):
    """Give a copy's tables what A4 adds, and A4's tables back to A4.

    A copy of llama puts its own functions into the tables of others.
    """
    for name in ("NORMS", "ACTIVATIONS", "ATTENTIONS", "CACHED_ATTENTIONS"):
        table = vars(mutant).get(name, {})
        table.update(KINDS[name])


def find_failure(check, module):
    """Return the label of the first case that fails and its error."""
    for label in CHECKS.get(check, [None]):
        try:
            run_check(check, label, module)
        except AssertionError as error:
            return label, error
    return None, None


def run_check(check, label, module):
    """Run one case of test_gradients.py, or a proof, on a module."""
    if label is None:
        return PROOFS[check](module)
    return prove(check, label, module)


@functools.cache
def run_on_real_code(check, label, module):
    run_check(check, label, importlib.import_module(f"helpers.{module}"))


def said_of(error):
    """Return the sentence on the cause, or "" if there is none."""
    if not isinstance(error, Mistake):
        return ""
    if error.line.startswith("count: "):  # says it in the first place
        return str(error)
    return str(error).partition(". ")[2]


@every_mutant
def test_mutant_is_caught(mutant):
    module = rebuild(mutant.module, mutant.function, mutant.old, mutant.new)
    label, error = find_failure(mutant.check, module)
    assert error is not None, f"nothing notices {mutant.name}"
    run_on_real_code(mutant.check, label, mutant.module)
    if mutant.says is not None:
        said = said_of(error)
        expected = "" if mutant.says.startswith("(") else mutant.says
        assert expected in said and bool(expected) == bool(said), said


@pytest.mark.quick
def test_every_text_is_there_once():
    """Without running anything: the table fits the modules of today."""
    for mutant in MUTANTS:
        source = source_of(mutant.module, mutant.function)
        assert source.count(mutant.old) == 1, (mutant.name, mutant.old)


def test_a_text_that_is_not_there_once_is_an_error():
    for old, times in (("no such text", 0), ("weights", 6)):
        sentence = f"{old!r} {times} times, not once; mend tests/mutants.txt"
        with pytest.raises(LookupError, match=sentence):
            rebuild("attention", "softmax", old, "")


@pytest.mark.parametrize(
    "line", ["    a", "    a → b", "    a → b | c | d | e"]
)
def test_a_line_that_is_no_mutant_is_an_error(line):
    with pytest.raises(ValueError, match="no such line"):
        read_line(line, "attention", "softmax", "softmax")


@pytest.mark.parametrize(
    "module, function, check",
    [
        ("attention", "mask_scores", "scaled_dot_product_attention"),
        ("embeddings", "embedding", "embedding"),
        ("transformer_block", "transformer_block", "transformer_block"),
        ("language_model", "loss_and_grads", "loss"),
        ("training", "train_step", "train_steps"),
        ("generation", "next_logits", "padding"),
    ],
)
def test_a_copy_without_a_mistake_passes(module, function, check):
    """It is the mistake that the cases notice, not the copying."""
    first_line = source_of(module, function).splitlines()[0]
    copy = rebuild(module, function, first_line, first_line)
    assert find_failure(check, copy) == (None, None)


def test_there_are_enough_mutants():
    names = {mutant.name for mutant in MUTANTS}
    changes = {(m.module, m.function, m.old, m.new) for m in MUTANTS}
    assert len(names) == len(changes) == len(MUTANTS) >= 170


def test_every_mistake_in_a_backward_pass_has_a_diagnosis():
    for mutant in MUTANTS:
        backward = mutant.function.endswith("_backward")
        assert mutant.says or not backward, mutant.name
