"""What the functions of appendix A1 are tried on."""

import itertools
import re
from collections import Counter
from dataclasses import replace

import numpy as np

from helpers.checks.cases import pair, refusal, value
from helpers.digit_operations import (
    ENCODER,
    IDS,
    OPERATIONS,
    answer,
)
from helpers.digit_operations import (
    start as begin,
)
from helpers.language_model import init_params
from helpers.runs.params import map_arrays
from helpers.training import TrainSettings

SMALL = {"d_model": 12, "n_heads": 3, "n_layers": 1, "d_ff": 7}  # D = 4


def tokenize(rng):
    ids = [IDS[token] for token in ("Max", "(", "4", "2", ",", "0", ")")]
    yield value("Max(42,0)", "Max(42,0)", expected=ids)
    yield value("all operations", "First,Second,Last,Max,Min")
    yield value("[PAD] and [EOS]", "3[EOS][PAD]", expected=[IDS["3"], 1, 0])
    yield value("an empty text", "", expected=[])
    yield refusal("a space", "Max(3, 1,2)")
    yield refusal("a name cut off", "Ma(3,1,2)")
    yield refusal("a new line", "Max(3,1,2)\n")


def detokenize(rng):
    yield value("one of each token", list(range(20)))
    yield value("no ids", [], expected="")
    yield value("an array", np.array([6, 4, 1]), expected="42[EOS]")
    yield refusal("-1", [5, -1])
    yield refusal("the number after the last", [5, 20])


def make_questions(rng):
    yield value("600 questions", 600, 9, 0, expected=_DRAWN, use=_draw)
    longer = _DRAWN | {"numbers": list(range(13))}
    yield value("numbers to 12", 600, 12, 0, expected=longer, use=_draw)


def unseen_questions(rng):
    numbers = itertools.product(range(10), repeat=3)
    every = [f"{op}({a},{b},{c})" for a, b, c in numbers for op in OPERATIONS]
    left = ["First(0,0,0)", "Max(9,0,1)", "Min(0,9,9)", "Min(5,0,5)"]
    left = sorted([*left, "Second(7,7,7)"])
    part = [q for q in every if q not in left]
    parts = part[::3] + ["Max(10,2,3)"] + part[::90], part[1::3], part[2::3]
    yield value("three parts", *parts, expected=left)
    more = sorted({*every} - {*parts[0], *parts[1]})
    yield value("two parts", *parts[:2], expected=_shorten(more), use=_ends)
    yield value("no part", expected=_shorten(sorted(every)), use=_ends)


def split_questions(rng):
    fifty = [f"Max({a},{b},1)" for a in range(10) for b in range(5)]
    thrice = rng.permutation(fifty * 3).tolist()
    sizes = {"train": 120, "valid": 5, "test": 5}
    yield value("a tenth", thrice, expected=sizes | _APART, use=_split)
    sizes = {"train": 60, "valid": 15, "test": 15}
    settings = {"expected": sizes | _APART, "use": _split}
    yield value("held_out=0.3", thrice, held_out=0.3, **settings)
    few = ["Max(1,2,3)", "Min(1,2,3)", "Last(1,2,3)"] * 40
    yield refusal("three different questions", few, use=_split)


def pad_rows(rng):
    ids = np.array([[3, 5, 0, 0], [4, 0, 0, 0], [9, 6, 7, 8]])
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], bool)
    rows = [[3, 5], [4], [9, 6, 7, 8]]
    yield value("rows of three lengths", rows, expected=(ids, mask))
    yield value("rows that hold a [PAD]", [[3, 0, 5], [7, 0]])
    alone = np.array([[3, 5, 4]])
    yield value("one row", [[3, 5, 4]], expected=(alone, alone > 0))


def decoder_batch(rng):
    uneven = ["Max(3,1,2)", "Second(1,22,3)", "Last(10,4,57)"]
    yield value("answers of one and two digits", uneven)
    yield value("one question", ["Min(30,12,20)"])
    yield value("the longest first", uneven[::-1])


def encoder(rng):
    config = replace(ENCODER, **SMALL | {"n_layers": 2})
    params = _params(rng, config)
    ids = rng.integers(2, 20, (3, 7))
    mask = np.arange(7) < np.array([[5], [7], [3]])
    yield pair("padding", np.where(mask, ids, 0), params, config, mask)
    yield pair("no mask", ids[:2, :6], params, config)
    pre = replace(config, norm="pre", tied_head=True)
    yield pair("pre-norm", ids, _params(rng, pre), pre, mask=mask)


def start(rng):
    config = replace(ENCODER, d_model=6, n_heads=3, n_layers=1, d_ff=4)
    config = replace(config, vocab_size=7, max_seq_len=5)
    settings = TrainSettings(steps=9, seed=3, beta1=0.8, beta2=0.7)
    yield value("sines for positions", config, settings, use=_begin)
    learned = replace(config, positions="learned")
    yield value("learned positions", learned, settings, use=_begin)
    heavy = replace(settings, weight_decay=0.4)
    yield value("float32", config, heavy, np.float32, use=_begin)


def epochs_of(rng):
    ten = [f"Max({a},0,1)" for a in range(11)]
    epoch = _SHOWN | {"batches of": [4, 4, 3]}
    yield value("batches of 4", ten, 4, expected=epoch, use=_show)
    whole = _SHOWN | {"batches of": [11]}
    yield value("a batch of all", ten, 11, expected=whole, use=_show)
    yield value("more than there are", ten, 20, expected=whole, use=_show)


def share_right(rng):
    asked = ["Max(3,1,2)", "Max(4,4,9)", "First(5,6,7)", "Min(1,0,8)"]
    asked += ["Second(2,3,4)", "Last(2,2,6)", "Max(7,1,0)", "Min(4,5,3)"]
    given = dict(zip(asked, ["3", "4", "5", "0", "2", "6", "7", "3"]))
    shares = {"all": 0.75, "First": 1.0, "Second": 0.0, "Last": 1.0}
    shares |= {"Max": 2 / 3, "Min": 1.0}
    fixed = given, "params", "config"
    yield value("all operations", asked, *fixed, expected=shares, use=_share)
    some = {"all": 0.75, "Max": 2 / 3, "First": 1.0}
    few = asked[:3] + asked[6:7]
    yield value("some operations", few, *fixed, expected=some, use=_share)
    long = ["Max(3,12,4)", "Min(10,23,11)", "Max(20,5,6)", "Max(1,2,30)"]
    long += ["Max(25,3,1)", "Max(7,36,8)"]
    given = (
        dict(zip(long, ["1", "10", "200", "30", "5", "6"])),
        "params",
        "config",
    )
    shares = {"all": 1 / 3, "Max": 1 / 5, "Min": 1.0}
    yield value("two digits", long, *given, expected=shares, use=_share)


def confusion(rng):
    asked = ["Max(3,1,2)", "Max(4,9,6)", "Second(5,6,7)", "Min(1,0,8)"]
    asked += ["Second(2,3,4)", "Last(2,2,6)", "Max(7,1,0)", "Min(4,5,3)"]
    given = ["3", "4", "7", "8", "3", "2", "5", "53"]
    yield value("8 questions", asked, given)
    yield value("an answer of two operations", ["Last(3,3,1)"], ["3"])
    yield value("two digits", ["Min(10,23,11)"], ["23"])


def train_and_keep_best(rng):
    def run(shares, steps):
        return shares, steps, rng.normal(size=(4, 3))

    yield value("the best in the middle", *run((1, 3, 2), 9), use=_train)
    yield value("the best at the end", *run((1, 2, 3), 9), use=_train)
    yield value("equals", *run((1, 3, 3, 0), 12), use=_train)
    yield value("none right", *run((0, 0), 6), use=_train)
    yield value("a last epoch cut short", *run((1, 2, 3), 7), use=_train)
    yield refusal("a run that is over", *run((1,), 0), use=_train)


def without_heads(rng):
    config = replace(ENCODER, **SMALL | {"n_layers": 2})
    params = _params(rng, config)
    yield value("one head", params, config, [(0, 1)], use=_written)
    yield value("two heads", params, config, [(1, 2), (0, 0)], use=_written)
    yield value("no heads", params, config, [], use=_written)
    for head in ((0, 3), (2, 0), (0, -1), (-1, 0)):
        yield refusal(f"head {head}", params, config, [head])


def head_drops(rng):
    config = replace(ENCODER, **SMALL | {"n_layers": 2})
    params = _params(np.random.default_rng(3), config, 0.8)
    numbers = {  # the model is right on most of them
        "First": "215 909 925 960 974",
        "Second": "280 394 597 795 894",
        "Last": "069 211 449 649 989",
        "Max": "525 897 898 948 967",
        "Min": "139 976 999",
    }
    asked = [
        f"{operation}({','.join(three)})"
        for operation, threes in numbers.items()
        for three in threes.split()
    ]
    yield value("2 layers of 3 heads", asked, params, config, **_LOOSE)
    one = replace(config, n_layers=1)
    params = params | {"blocks": params["blocks"][1:]}
    yield value("one layer", asked[::-1], params, one, **_LOOSE)


_LOOSE = {"keeps_dtype": False}
_DRAWN = {
    "questions": 600,
    "read like Max(3,1,2)": True,
    "of each operation": dict.fromkeys(OPERATIONS, 120),
    "numbers": list(range(10)),
    "operations in random order": True,
    "numbers drawn one by one": True,
    "the same again from the same rng": True,
}
_APART = {
    "in train and in valid": 0,
    "in train and in test": 0,
    "in valid and in test": 0,
    "in no part": 0,
    "valid and test hold each once": True,
    "train holds each as often as it came": True,
    "held out at random": True,
    "the same in every run of Python": True,
}
_SHOWN = {
    "a batch is a tuple of one list": True,
    "an epoch shows all": True,
    "in random order": True,
    "shuffled anew": True,
    "two draws share nothing": True,
    "questions as they were": True,
}


def _params(rng, config, noise=0.3):
    """Return parameters away from their initial values."""
    drawn = init_params(config, rng, np.float64)
    return map_arrays(lambda a: a + noise * rng.normal(size=a.shape), drawn)


def _draw(make_questions, n, largest, seed):
    """Say what questions were drawn."""
    made = make_questions(n, largest, np.random.default_rng(seed))
    again = make_questions(n, largest, np.random.default_rng(seed))
    form = r"(\w+)\((\d+),(\d+),(\d+)\)"
    read = [re.fullmatch(form, question) for question in made]
    if not all(read):
        return {"questions": len(made), "read like Max(3,1,2)": False}
    names = [match[1] for match in read]
    numbers = np.array([match.groups()[1:] for match in read], dtype=int)
    a, b, c = numbers.T
    in_turn = names == names[:5] * (n // 5) or names == sorted(names)
    return {
        "questions": len(made),
        "read like Max(3,1,2)": True,
        "of each operation": dict(Counter(names)),
        "numbers": np.unique(numbers).tolist(),
        "operations in random order": not in_turn and _runs(names) > n / 2,
        "numbers drawn one by one": max(np.bincount(a)) < n / 4
        and not ((a == b).all() or (b == c).all() or (a == c).all())
        and len(set(made)) > n / 3,
        "the same again from the same rng": list(made) == list(again),
    }


def _runs(names):
    """Count where a list goes on with another name."""
    return sum(a != b for a, b in itertools.pairwise(names))


def _ends(unseen_questions, *parts):
    """Return what is unseen, shortened."""
    return _shorten(list(unseen_questions(*parts)))


def _shorten(found):
    return {"questions": len(found), "first": found[:3], "last": found[-3:]}


def _rename(question):
    """Return another question, that stands at the same place when sorted.

    In a set it stands elsewhere, as in another run of Python.
    """
    return question.replace(",1)", ",7)")


def _split(split_questions, questions, **settings):
    """Say how questions were divided."""

    def split(questions):
        rng = np.random.default_rng(5)
        parts = split_questions(questions, rng, **settings)
        return [list(map(str, part)) for part in parts]

    train, valid, test = split(list(questions))
    again = split(list(map(_rename, questions)))
    parts = [set(train), set(valid), set(test)]
    both = [a & b for a, b in itertools.combinations(parts, 2)]
    counts = Counter(questions)
    inside = {q: n for q, n in counts.items() if q in parts[0]}
    first = sorted(set(questions))[: len(valid)]
    return {
        "train": len(train),
        "valid": len(valid),
        "test": len(test),
        "in train and in valid": len(both[0]),
        "in train and in test": len(both[1]),
        "in valid and in test": len(both[2]),
        "in no part": len(set(questions).difference(*parts)),
        "valid and test hold each once": len(valid) == len(parts[1])
        and len(test) == len(parts[2]),
        "train holds each as often as it came": Counter(train) == inside,
        "held out at random": sorted(valid) != first and sorted(test) != first,
        "the same in every run of Python": again
        == [list(map(_rename, part)) for part in (train, valid, test)],
    }


def _begin(start, *arguments):
    """Return arrays of a run that begins, and after two steps."""
    run = start(*arguments)
    table = run.params["token_embedding"]["weight"]
    up = run.params["blocks"][0]["feed_forward"]["up"]["weight"]
    found = {"dtype": table.dtype.name, "embedding": _cut(table)}
    found["another matrix"] = _cut(up)
    run.optimizer.lr = 0.01
    run.optimizer.step(map_arrays(np.ones_like, run.params))
    run.optimizer.step(map_arrays(lambda a: -0.5 + 0 * a, run.params))
    found["embedding after two steps"] = _cut(table)
    found["steps done"] = run.step
    return found


def _cut(array):
    """Return an array as exact as it is drawn, be it float32 or float64."""
    return array.astype(np.float64).round(4)


def _show(epochs_of, questions, B):
    """Say what batches come."""
    given = list(questions)
    draw, other = epochs_of(given, B), epochs_of(given, B)
    rng, n = np.random.default_rng(1), -(-len(questions) // B)
    drawn = []
    for i in range(2 * n):
        drawn.append(draw(rng))
        if i == 0:
            first = other(np.random.default_rng(1))
    single = all(isinstance(b, tuple) and len(b) == 1 for b in drawn)
    batches = [b[0] if single else b for b in drawn]
    epoch, later = (
        list(itertools.chain(*part)) for part in (batches[:n], batches[n:])
    )
    return {
        "batches of": [len(batch) for batch in batches[:n]],
        "a batch is a tuple of one list": single,
        "an epoch shows all": sorted(epoch) == sorted(questions),
        "in random order": epoch != list(questions),
        "shuffled anew": later != epoch and sorted(later) == sorted(questions),
        "two draws share nothing": list(first[0]) == list(batches[0]),
        "questions as they were": given == list(questions),
    }


def _share(share_right, questions, given, *setting):
    """Call share_right with a model that gives fixed answers."""

    def answer_all(asked, params, config):
        order = "answer_all(questions, params, config) is wanted"
        assert (params, config) == setting, order
        return [given[question] for question in asked]

    return share_right(questions, answer_all, *setting)


def _train(train_and_keep_best, shares, steps, weight):
    """Train a model that gets some of 4 questions right after each epoch."""
    settings = TrainSettings(
        steps=max(steps, 1), batch_size=4, lr=0.1, warmup=1
    )
    config = replace(ENCODER, **SMALL)
    run = begin(config, settings)
    run.params = {"weight": weight.copy()}
    run.optimizer = type("Steps", (), {"lr": 0.0, "step": _down})()
    run.optimizer.weight = run.params["weight"]
    run.step = 0 if steps else 1
    left, losses = list(shares), iter(range(1, 99))
    valid = [f"Max({a},1,0)" for a in range(3, 7)]
    train = [f"Min({a},1,0)" for a in range(10)]  # three batches

    def gradient(questions, params, config, rng):
        assert len(questions) <= 4, "a batch has batch_size questions"
        return float(next(losses)), {"weight": np.ones(weight.shape)}

    def answer_all(questions, params, config):
        assert sorted(questions) == valid, "the best on valid is wanted"
        n = left.pop(0) if left else 0
        return [answer(q) if i < n else "" for i, q in enumerate(questions)]

    best = train_and_keep_best(run, train, valid, gradient, answer_all)
    rows = [[row["step"], row["loss"], row["all"]] for row in run.log]
    return {"rows": rows, "steps": run.step, "best": best["weight"]}


def _down(optimizer, grads):
    optimizer.weight -= optimizer.lr * grads["weight"]


def _written(without_heads, params, config, heads):
    """Return the output maps, and say if all else is as it was."""
    rest = without_heads(params, config, heads)
    found = {}
    for i, block in enumerate(rest["blocks"]):
        found[f"layer {i}"] = block["attention"]["out"]["weight"]
        found[f"bias {i}"] = block["attention"]["out"]["bias"]
        found[f"qkv {i}"] = block["attention"]["qkv"]["weight"].sum(axis=0)
    return found
