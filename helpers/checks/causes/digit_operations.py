"""The usual mistakes in the functions of appendix A1."""

import itertools
import re

import numpy as np

from helpers import digit_operations as right
from helpers.language_model import language_model, language_model_backward


def detokenize(ids):
    if all(0 <= i < len(right.TOKENS) for i in ids):
        tokens = [right.TOKENS[i] for i in ids]
        yield "is the list of tokens: join them", tokens
        yield (
            "has spaces between the tokens: join them with nothing",
            (" ".join(tokens)),
        )
        yield "leaves out [PAD] and [EOS]", "".join(tokens[2:])


def unseen_questions(*parts):
    digits = range(10)
    found = right.unseen_questions(*parts)

    def without(*parts, threes=None):
        threes = threes or itertools.product(digits, repeat=3)
        every = {
            f"{op}({a},{b},{c})"
            for op in right.OPERATIONS
            for a, b, c in threes
        }
        return sorted(every.difference(*parts))

    def less(threes):
        return without(*parts, threes=list(threes))

    yield (
        "lacks the number 9: range(10) ends with it",
        less(itertools.product(range(9), repeat=3)),
    )
    yield "lacks the number 0", less(itertools.product(range(1, 10), repeat=3))
    yield (
        "lacks questions in which a number comes twice",
        less(itertools.permutations(digits, 3)),
    )
    yield (
        "lacks questions whose numbers fall",
        less(itertools.combinations_with_replacement(digits, 3)),
    )
    if parts:
        threes = list(itertools.product(digits, repeat=3))
        yield "looks at the first part alone", without(parts[0], threes=threes)
        seen = {q for part in parts for q in part}
        strange = [q for q in seen if re.search(r"\d\d", q)]
        yield (
            "has questions of more than one digit, from a part",
            sorted(found + strange),
        )
    yield "is a set, not a sorted list", set(found)
    order = list(right.OPERATIONS)
    yield (
        "is not sorted",
        sorted(
            found,
            key=lambda q: (right.parse(q)[1], order.index(q.split("(")[0])),
        ),
    )


def split_questions(questions, **settings):
    from helpers.checks.cases.digit_operations import _split

    def wrong(cut):
        def split(questions, rng, held_out=0.1):
            shuffled = rng.permutation(sorted(set(questions))).tolist()
            n = round(held_out * len(shuffled))
            return cut(questions, shuffled, n, rng)

        return _split(split, questions, **settings)

    def keep(questions, train):
        return [q for q in questions if q in train]

    yield (
        "has each training question once: keep them as they came",
        wrong(lambda questions, d, n, rng: (d[2 * n :], d[:n], d[n : 2 * n])),
    )
    yield (
        "has in train what is held out",
        wrong(lambda questions, d, n, rng: (questions, d[:n], d[n : 2 * n])),
    )
    yield (
        "has the test questions in train",
        wrong(
            lambda questions, d, n, rng: (
                keep(questions, d[n:]),
                d[:n],
                d[n : 2 * n],
            )
        ),
    )
    yield (
        "has the same questions in valid and test",
        wrong(
            lambda questions, d, n, rng: (keep(questions, d[n:]), d[:n], d[:n])
        ),
    )
    yield (
        "has valid before train",
        wrong(
            lambda questions, d, n, rng: (
                d[:n],
                keep(questions, d[2 * n :]),
                d[n : 2 * n],
            )
        ),
    )
    yield (
        "has the share of all questions held out, not of distinct ones",
        (
            wrong(
                lambda questions, d, n, rng: _cut_more(
                    questions, d, keep, settings
                )
            )
        ),
    )
    yield (
        "has a tenth held out: held_out is not used",
        wrong(
            lambda questions, d, n, rng: _cut_at(
                questions, d, keep, len(d) // 10
            )
        ),
    )

    def repeated(source, size):
        def cut(questions, d, n, rng):
            shuffled = np.random.default_rng(5).permutation(source(questions))
            shuffled, n = shuffled.tolist(), size(n, questions)
            return shuffled[2 * n :], shuffled[:n], shuffled[n : 2 * n]

        return wrong(cut)

    share = settings.get("held_out", 0.1)
    clause = "divides what comes more than once: take the different questions"
    yield clause, repeated(list, lambda n, questions: n)
    yield (
        clause,
        repeated(list, lambda n, questions: round(share * len(questions))),
    )

    def sorted_all(questions, d, n, rng):
        shuffled = np.random.default_rng(5).permutation(sorted(questions))
        shuffled = shuffled.tolist()
        n = round(share * len(shuffled))
        train = shuffled[2 * n :]
        return keep(questions, train), shuffled[:n], shuffled[n : 2 * n]

    yield clause, wrong(sorted_all)


def _cut_at(questions, d, keep, n):
    return keep(questions, d[2 * n :]), d[:n], d[n : 2 * n]


def _cut_more(questions, d, keep, settings):
    share = settings.get("held_out", 0.1)
    return _cut_at(questions, d, keep, round(share * len(questions)))


def epochs_of(questions, B):
    from helpers.checks.cases.digit_operations import _show

    def show(make):
        return _show(make, questions, B)

    def wrong(order, pick=None, step=B, end=0):
        def epochs(questions, B):
            left = []

            def draw(rng):
                if not left:
                    some = order(rng, questions)
                    for first in range(0, len(some) - end, step):
                        left.append(some[first : first + B])
                return pick(left) if pick else (left.pop(0),)

            return draw

        return show(epochs)

    def mixed(rng, questions):
        return rng.permutation(questions).tolist()

    def in_place(rng, questions):
        rng.shuffle(questions)
        return questions

    yield (
        "shows the same batch again: take it off the list",
        wrong(mixed, lambda left: (left[0],)),
    )
    yield "shows the questions as they came", wrong(lambda rng, q: list(q))
    yield (
        "is not shuffled anew for a second epoch",
        wrong(lambda rng, q: mixed(np.random.default_rng(0), q)),
    )
    yield "changes questions in place: shuffle a copy", wrong(in_place)
    if len(questions) % B:
        yield "drops the last batch, which is smaller", wrong(mixed, end=B - 1)
    yield "begins a batch at every question", wrong(mixed, step=1)
    yield (
        "draws questions again in the same epoch",
        wrong(lambda rng, q: rng.choice(q, len(q)).tolist()),
    )
    if len(questions) >= B:
        yield (
            "draws each batch from all questions, not from those left",
            (
                show(
                    lambda questions, B: (
                        lambda rng: (
                            rng.choice(questions, B, replace=False).tolist(),
                        )
                    )
                )
            ),
        )
    shared = []

    def epochs(questions, B):
        def draw(rng):
            if not shared:
                some = mixed(rng, questions)
                shared.extend(some[i : i + B] for i in range(0, len(some), B))
            return (shared.pop(0),)

        return draw

    yield (
        "shares its batches with other draws: the list belongs in it",
        show(epochs),
    )


def train_and_keep_best(shares, steps, weight):
    from helpers.checks.cases.digit_operations import _train

    found = _train(right.train_and_keep_best, shares, steps, weight)
    rows, steps = found["rows"], found["steps"]

    def change(**changes):
        return found | changes

    def best_of(pick):
        def train(run, train, valid, gradient, answer_all):
            kept = []
            for _ in right.train_steps(
                run, right.epochs_of(train, 4), gradient
            ):
                kept.append(run.params["weight"].copy())
            step = pick([row[2] for row in rows])
            return {"weight": kept[rows[step][0] - 1]}

        result = _train(train, shares, steps, weight)
        return change(best=result["best"])

    yield (
        "is that of the last step: copy the best, and return the copy",
        (best_of(lambda scores: -1)),
    )
    yield (
        "is the first of equals: the later is wanted",
        best_of(lambda scores: int(np.argmax(scores))),
    )
    yield (
        "is the worst on valid",
        best_of(lambda scores: int(np.argmin(scores))),
    )
    yield "has no rows in run.log", change(rows=[])
    last = [[step, float(step), share] for step, _, share in rows]
    yield (
        "has the loss of the last batch, not the mean of the epoch",
        change(rows=last),
    )
    sums = [
        [step, loss * (step - before), share]
        for before, (step, loss, share) in zip(
            [0, *(row[0] for row in rows)], rows
        )
    ]
    yield "has the sum of an epoch's losses, not their mean", change(rows=sums)


def mean_pool(x, mask):
    n = mask.sum(axis=1)[:, None]
    total = (x * mask[..., None]).sum(axis=1)
    yield (
        "counts the padding: divide by the real tokens of each row",
        (total / mask.shape[1]),
    )
    yield "is the mean over all positions, padding too", x.mean(axis=1)
    yield "is divided by the real tokens of all rows", total / mask.sum()
    yield "is a sum: divide by the real tokens of each row", total
    yield "has the padding in its sum", x.sum(axis=1) / n


def mean_pool_backward(dout, x, mask):
    n = mask.sum(axis=1)[:, None, None]
    wide = np.broadcast_to(dout[:, None], x.shape)
    yield (
        "lacks the division by the real tokens of each row",
        (wide * mask[..., None]),
    )
    yield "flows into the padding too", wide / n
    yield (
        "is shared out over all positions, padding too",
        (wide / mask.shape[1]),
    )
    yield (
        "is divided by all positions of a row: only the real ones count",
        (wide * mask[..., None] / mask.shape[1]),
    )


def pad_rows(rows):
    ids, mask = right.pad_rows(rows)
    T = ids.shape[1]
    left = np.array([[0] * (T - len(row)) + list(row) for row in rows])
    there = np.array([[0] * (T - len(row)) + [1] * len(row) for row in rows])
    yield (
        "is filled at the left: the padding goes to the right",
        (
            left,
            there.astype(bool),
        ),
    )
    yield "is filled at the left: the padding goes to the right", (left, mask)
    yield "has ids and mask in each other's place", (mask, ids)
    yield "has its mask turned over: True = a real token", (ids, ~mask)
    yield (
        "has its mask go by the ids: a row may hold a [PAD] of its own",
        (
            ids,
            ids != 0,
        ),
    )
    ends = np.where(mask, ids, right.EOS)
    yield "is filled with [EOS], not with [PAD]", (ends, mask)
    yield "is filled with -1, not with [PAD]", (np.where(mask, ids, -1), mask)
    yield (
        "hides nothing: the mask is True everywhere",
        (
            ids,
            np.ones_like(mask),
        ),
    )
    short = mask & np.append(mask[:, 1:], np.zeros((len(mask), 1), bool), 1)
    yield "hides the last token of each row", (ids, short)
    yield (
        "has a mask of whole numbers, not of True and False",
        (
            ids,
            mask.astype(int),
        ),
    )


def decoder_batch(questions):
    ids, targets = right.decoder_batch(questions)
    asked = [right.tokenize(question) for question in questions]
    told = [right.tokenize(right.answer(question)) for question in questions]
    rows, real = right.pad_rows(
        [q + a + [right.EOS] for q, a in zip(asked, told)]
    )
    whole = np.where(real[:, 1:], rows[:, 1:], -100)
    yield "scores the question too: its targets are -100", (ids, whole)

    def score(first, fill=-100, told=whole):
        wanted = np.where(real[:, 1:], told, fill)
        for row, question in zip(wanted, asked):
            row[: len(question) + first] = -100
        return wanted

    yield "does not score the first digit of the answer", (ids, score(0))
    yield "scores the end of the question", (ids, score(-2))
    yield "scores the padding: its targets are -100", (ids, score(-1, 0))
    yield (
        "has ids that hold the last [EOS] too: it has nothing to foretell",
        (
            rows[:, :-1],
            targets,
        ),
    )
    same = np.where(real[:, :-1], rows[:, :-1], -100)
    yield (
        "has as targets the ids themselves: they are one further",
        (
            ids,
            score(-1, told=same),
        ),
    )
    bare, seen = right.pad_rows([q + a for q, a in zip(asked, told)])
    yield (
        "lacks [EOS] at the end of the answer",
        (
            np.where(seen[:, 1:], bare[:, :-1], 0),
            np.where(seen[:, 1:], _score_bare(bare, asked), -100),
        ),
    )
    none = score(-1)
    none[none == right.EOS] = -100
    yield "does not score [EOS]", (ids, none)
    longest = whole.copy()
    longest[:, : max(map(len, asked)) - 1] = -100
    yield (
        "hides as many targets in each row as the longest question has",
        (
            ids,
            longest,
        ),
    )
    first = whole.copy()
    first[:, : len(asked[0]) - 1] = -100
    yield (
        "hides as many targets in each row as the first question has",
        (
            ids,
            first,
        ),
    )


def _score_bare(rows, asked):
    wanted = rows[:, 1:].copy()
    for row, question in zip(wanted, asked):
        row[: len(question) - 1] = -100
    return wanted


def encoder(ids, params, config, mask=None):
    given = mask is not None
    mask = np.ones(ids.shape, bool) if mask is None else mask
    rows, last = np.arange(len(ids)), mask.sum(axis=1) - 1
    logits, _ = language_model(ids, params, config, mask[:, None, None])
    causal, _ = language_model(ids, params, config)
    T = ids.shape[1]
    if given:
        yield (
            "is read at the last column: there the padding stands",
            (logits[:, -1]),
        )
        yield (
            "is read one too far: the last token is at their number - 1",
            (logits[rows, (last + 1) % T]),
        )
        seen, _ = language_model(
            ids, params, config, np.ones((1, 1, 1, T), bool)
        )
        yield "has the mask ignored: the padding is seen", seen[rows, last]
        yield (
            "has the mask ignored, and is read at the last column",
            (seen[:, -1]),
        )
        both = mask[:, None, None] & np.tri(T, dtype=bool)
        out, _ = language_model(ids, params, config, both)
        yield (
            "is causal: every position sees every real token",
            (out[rows, last]),
        )
        some = mask[0][None, None, None] | np.zeros((len(ids), 1, 1, 1), bool)
        out, _ = language_model(ids, params, config, some)
        yield "has the mask of the first question for all", out[rows, last]
    yield (
        "is causal: every position sees every real token",
        (causal[rows, last]),
    )
    yield "is read at the first token: the last is wanted", logits[:, 0]
    yield "is read one too early", logits[rows, last - 1]
    weights = mask[..., None] / mask.sum(axis=1)[:, None, None]
    yield (
        "is the mean over the real tokens: the last is wanted",
        ((logits * weights).sum(axis=1).astype(logits.dtype)),
    )
    yield (
        "is the mean over all positions: the last is wanted",
        (logits.mean(axis=1)),
    )
    if logits.shape[0] == len(ids):
        yield "has scores for every position: pick the last token's", logits


def encoder_backward(dout, ids, params, config, mask=None):
    _, ((rows, last), shape, cache) = right.encoder(ids, params, config, mask)

    def go(place):
        dlogits = np.zeros(shape, dout.dtype)
        place(dlogits)
        return dict(_named(language_model_backward(dlogits, cache)))

    def at(columns):
        def place(dlogits):
            dlogits[rows, columns] = dout

        return place

    def everywhere(dlogits):
        dlogits[:] = dout[:, None]

    yield (
        "has dout come in at the last column: there the padding stands",
        go(at(-1)),
    )
    yield (
        "has dout come in at every position: only the last was read",
        (go(everywhere)),
    )
    yield "has dout come in at the first position", go(at(0))

    def ones(dlogits):
        dlogits[:] = 1.0
        dlogits[rows, last] = dout

    yield "begins with ones where zeros are wanted", go(ones)
    yield "has dout come in one too early", go(at(last - 1))


def _named(tree):
    from helpers.runs.params import named_arrays

    return named_arrays(tree)


def start(config, settings, dtype=np.float64):
    from helpers.checks.cases.digit_operations import _begin

    def begin(change):
        def wrong(config, settings, dtype=np.float64):
            run = right.start_run(config, settings)
            scale = 0.5**0.5 / 0.02
            change_at = change(run, config, settings, dtype, scale)
            return change_at or run

        return _begin(wrong, config, settings, dtype)

    def scaled(factor, always=False):
        def change(run, config, settings, dtype, scale):
            if config.positions == "sinusoidal" or always:
                run.params["token_embedding"]["weight"] *= factor
            return finish(run, settings, dtype)

        return begin(change)

    def finish(run, settings, dtype, **changes):
        run.params = right.map_arrays(lambda a: a.astype(dtype), run.params)
        chosen = {
            "weight_decay": settings.weight_decay,
            "betas": (settings.beta1, settings.beta2),
        }
        run.optimizer = right.AdamW(run.params, **chosen | changes)
        return run

    def with_changes(**changes):
        def change(run, config, settings, dtype, scale):
            if config.positions == "sinusoidal":
                run.params["token_embedding"]["weight"] *= scale
            return finish(run, settings, dtype, **changes)

        return begin(change)

    yield "has tokens as quiet as they begin, at 0.02", scaled(1.0)
    yield (
        "has tokens scaled up beside learned positions too",
        scaled(0.5**0.5 / 0.02, always=True),
    )
    yield (
        "has tokens at 1: sines have root mean square sqrt(1/2)",
        scaled(1 / 0.02),
    )
    yield "has tokens times sqrt(1/2), not scaled up to it", scaled(0.5**0.5)
    yield "has tokens at 1/2, not at its square root", scaled(0.5 / 0.02)
    yield "has tokens scaled by sqrt(d_model)", scaled(config.d_model**0.5)
    yield "does not use settings.weight_decay", with_changes(weight_decay=0.01)
    yield (
        "does not use the betas of settings",
        with_changes(betas=(0.9, 0.999)),
    )

    def stale(run, config, settings, dtype, scale):
        if config.positions == "sinusoidal":
            run.params["token_embedding"]["weight"] *= scale
        run.params = right.map_arrays(lambda a: a.astype(dtype), run.params)

    yield (
        ("has an optimizer that holds other arrays: make it after the cast"),
        begin(stale),
    )
    single = begin(
        lambda run, config, settings, dtype, scale: _with_scale(
            run, config, settings, scale, finish
        )
    )
    yield "is in float32: dtype is not used", single


def _with_scale(run, config, settings, scale, finish):
    if config.positions == "sinusoidal":
        run.params["token_embedding"]["weight"] *= scale
    return finish(run, settings, np.float32)


def share_right(questions, given, params, config):
    texts = [given[question] for question in questions]
    pairs = list(zip(questions, texts))

    def shares(judge, keep=True):
        found = {"all": []} | {name: [] for name in right.OPERATIONS}
        for question, text in pairs:
            hit = judge(text, right.answer(question))
            found["all"].append(hit)
            found[right.parse(question)[0]].append(hit)
        return {
            key: float(np.mean(part)) if part else 0.0
            for key, part in found.items()
            if part or not keep
        }

    def exact(text, wanted):
        return text == wanted

    whole = shares(exact)
    counts = {
        key: sum(
            text == right.answer(question)
            for question, text in pairs
            if key in ("all", right.parse(question)[0])
        )
        for key in whole
    }
    n = len(pairs)
    yield "is a count, not a share", (counts)
    yield (
        "is a count, not a share",
        ({key: float(c) for key, c in counts.items()}),
    )
    yield (
        "is a share of all questions, not of those of the operation",
        ({key: c / n for key, c in counts.items()}),
    )
    yield (
        "looks at the first digit alone: an answer counts in full",
        (shares(lambda text, wanted: text[0] == wanted[0])),
    )
    yield (
        "counts an answer that begins or ends right",
        (shares(lambda text, wanted: text in wanted)),
    )
    yield (
        "counts an answer that holds the right one",
        (shares(lambda text, wanted: wanted in text)),
    )
    yield (
        "keeps operations that were not asked",
        (shares(exact, keep=False)),
    )
    wrong = {key: 1 - part for key, part in whole.items()}
    yield "is the share of wrong answers", (wrong)
    yield (
        "is in percent, not a share",
        ({key: 100 * part for key, part in whole.items()}),
    )
    mean = np.mean([part for key, part in whole.items() if key != "all"])
    yield (
        "has under all the mean of the operations, not of all answers",
        (whole | {"all": float(mean)}),
    )


def confusion(questions, given):
    names = list(right.OPERATIONS)
    table = right.confusion(questions, given)
    yield (
        "is turned: row = asked, column = the operation that says so",
        (table.T.copy()),
    )
    hits, first = np.zeros_like(table), np.zeros_like(table)
    other = table.copy()
    for question, text in zip(questions, given):
        row = names.index(right.parse(question)[0])
        hits[row, row] += text == right.answer(question)
        said = [text == right.answer(question, name) for name in names]
        if any(said):
            first[row, said.index(True)] += 1
        other[row, row] -= text == right.answer(question)
    names = sorted(names)
    order = [list(right.OPERATIONS).index(name) for name in names]
    yield (
        "has the operations in another order than OPERATIONS",
        (table[order][:, order]),
    )
    latest = np.zeros_like(table)
    for question, text in zip(questions, given):
        asked = right.parse(question)[0]
        row = list(right.OPERATIONS).index(asked)
        said = [text == right.answer(question, o) for o in right.OPERATIONS]
        latest[row] = said
    yield "keeps the last question of an operation: add to the row", latest
    whole = hits.diagonal()[:, None] + 0 * table
    yield "asks each time for the operation asked: name is not used", whole
    yield "counts the first operation that fits, not each", first
    yield "counts right answers alone", hits
    yield "leaves out the operation that was asked", other
    yield "is 0 or 1: answers must be counted, not noted", np.minimum(table, 1)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    yield "holds shares, not counts", share
    yield "is a table of floats", table.astype(float)


def without_heads(params, config, heads):
    from helpers.checks.cases.digit_operations import _written

    D = config.d_model // config.n_heads

    def remove(rows):
        def wrong(params, config, heads):
            rest = right.map_arrays(np.copy, params)
            for layer, head in heads:
                out = rest["blocks"][layer]["attention"]["out"]
                rows(out, rest["blocks"][layer]["attention"]["qkv"], head)
            return rest

        return _written(wrong, params, config, heads)

    def zero(name, index):
        def change(out, qkv, head):
            out[name][index(head)] = 0.0

        return change

    def columns(head):
        return slice(None), slice(head * D, (head + 1) * D)

    yield (
        "has columns of the output map at zero: a head has its rows",
        (remove(zero("weight", columns))),
    )
    yield (
        "has one row at zero: a head has D rows",
        remove(zero("weight", lambda head: head)),
    )
    yield (
        "has every H-th row at zero: those of a head lie side by side",
        (
            remove(
                zero("weight", lambda head: slice(head, None, config.n_heads))
            )
        ),
    )
    yield (
        "has the rows of the head before at zero",
        remove(zero("weight", lambda head: slice((head - 1) * D, head * D))),
    )
    H = config.n_heads
    if D != H:
        yield (
            "cuts heads of n_heads rows: a head is C / H wide",
            remove(
                zero("weight", lambda head: slice(head * H, (head + 1) * H))
            ),
        )
    yield (
        "has all other heads removed too",
        remove(zero("weight", lambda head: slice(None))),
    )

    def with_bias(out, qkv, head):
        out["weight"][head * D : (head + 1) * D] = 0.0
        out["bias"][:] = 0.0

    yield "has the bias of the output map at zero too", remove(with_bias)

    def queries(out, qkv, head):
        qkv["weight"][:, head * D : (head + 1) * D] = 0.0

    yield (
        "has the head's queries at zero: it attends still, to all alike",
        (remove(queries)),
    )
    yield (
        "has all heads in place",
        (_written(lambda p, *_: p, params, config, heads)),
    )


def head_drops(questions, params, config):
    drops = right.head_drops(questions, params, config)
    yield "holds shares, not points", drops / 100
    yield "is below zero where a head is needed: the whole comes first", -drops
    whole = right.share_right(questions, right.encoder_answers, params, config)
    left = np.array([100 * whole[name] for name in right.OPERATIONS]) - drops
    yield "is what is left, not what is lost", left
    growing = np.zeros_like(drops)
    gone = []
    for layer, head in np.ndindex(drops.shape[:2]):
        gone.append((layer, head))
        rest = right.without_heads(params, config, gone)
        shares = right.share_right(
            questions, right.encoder_answers, rest, config
        )
        growing[layer, head] = [
            100 * (whole[name] - shares[name]) for name in right.OPERATIONS
        ]
    yield (
        "takes out more and more heads: begin with the whole each time",
        (growing),
    )
    yield (
        "has the mean over operations in each place",
        np.broadcast_to(
            drops.mean(axis=-1, keepdims=True), drops.shape
        ).copy(),
    )
    names = sorted(right.OPERATIONS)
    order = [list(right.OPERATIONS).index(name) for name in names]
    yield (
        "has the operations in another order than OPERATIONS",
        (drops[..., order]),
    )
    every = np.zeros(drops.shape[:2])
    for layer, head in np.ndindex(every.shape):
        rest = right.without_heads(params, config, [(layer, head)])
        shares = right.share_right(
            questions, right.encoder_answers, rest, config
        )
        every[layer, head] = 100 * (whole["all"] - shares["all"])
    yield (
        "is the loss of all questions: take each operation's",
        (np.broadcast_to(every[..., None], drops.shape).copy()),
    )
    yield "is zero: the whole model answered each time", np.zeros_like(drops)
    over = [100 * whole[name] for name in right.OPERATIONS]
    yield "is a share of what the whole model had", 100 * drops / over


def blind(questions):
    parsed = [right.parse(question)[1] for question in questions]
    answers = [int(right.answer(question)) for question in questions]
    counts = np.array([n.count(a) for n, a in zip(parsed, answers)])
    kinds = np.array([len(set(numbers)) for numbers in parsed])
    yield (
        "is 0: a number is never equal to its text",
        [0.0] * len(questions),
    )
    yield "counts the right numbers: divide by three", counts.tolist()
    yield (
        "counts equal numbers once: each of the three may be picked",
        (1 / kinds).tolist(),
    )
    yield "is a third everywhere: equal numbers add up", [1 / 3] * len(parsed)
    yield "is the share of wrong numbers", (1 - counts / 3).tolist()
    yield "is 1 where any number is right", [1.0] * len(parsed)
    yield "is their mean: a share for each question", (counts / 3).mean()


def rollout(weights):
    ones = np.eye(weights.shape[1])

    def mix(layers=weights, kept=0.5, after=True):
        mixed = ones
        for layer in layers:
            step = (1 - kept) * layer + kept * ones
            mixed = step @ mixed if after else mixed @ step
        return mixed

    yield (
        "has the layers in the wrong order: a later one stands at the left",
        mix(after=False),
    )
    yield "lacks the identity: half stays where it is", mix(kept=0.0)
    doubled = mix() * 2 ** len(weights)
    yield "lacks the factor 0.5 of each layer", doubled
    yield "is the mean over the layers: multiply them", weights.mean(axis=0)
    halves = 0.5 * (weights + ones)
    yield "is the mean over the layers: multiply them", halves.mean(axis=0)
    yield "is the sum over the layers: multiply them", halves.sum(axis=0)
    yield "is the sum over the layers: multiply them", weights.sum(axis=0)
    yield "has * where @ is wanted", np.prod(halves, axis=0)
    yield "has * where @ is wanted", ones * np.prod(halves, axis=0)
    yield "has the last layer alone", halves[-1]
    yield "has the first layer alone", halves[0]
    yield "lacks the first layer", mix(weights[1:])
    yield "lacks the last layer", mix(weights[:-1])
    yield "is the transpose: rows are what mixes", mix().T
