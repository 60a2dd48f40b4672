"""Learners' mistakes in appendix A1."""

import numpy as np
import torch

from helpers.checks import check_backward
from helpers.checks.gradients import check_value

KEPT = '    if config.positions == "sinusoidal":\n        run.params'
SCALED = 'run.params["token_embedding"]["weight"] *= 0.5**0.5 / 0.02'
CAST = "run.params = map_arrays(lambda array: array.astype(dtype), run.params)"
REST = 'out["weight"][head * D : (head + 1) * D] = 0.0'

WRONG = {
    "tokenize": [
        (
            "        if piece not in IDS:",
            "        if False:",
            "does not refuse",
        ),
        ("for piece in pieces]", "for piece in pieces[:-1]]", "-"),
        ("SPELLING.findall(text)", "list(text)", "-"),
        ("SPELLING.findall(text)", 'text.replace("(", " ( ").split()', "-"),
        (
            "    for piece in pieces:\n",
            "    for piece in pieces[:1]:\n",
            "does not refuse",
        ),
        (
            "def tokenize(text):\n    return [IDS[p] for p in"
            " SPELLING.findall(text) if p in IDS]\n",
            "does not refuse",
        ),
        (
            "def tokenize(text):\n    return [IDS[p] for p in"
            " SPELLING.findall(text)]\n",
            "It raises KeyError",
        ),
        ("raise ValueError(", "raise KeyError(", "It raises KeyError"),
        (
            "[IDS[piece] for piece in pieces]",
            "np.array([IDS[piece] for piece in pieces]) + 1",
            "-",
        ),
        (
            "pieces = SPELLING.findall(text)",
            "pieces = SPELLING.findall(text.strip())",
            "does not refuse a new line",
        ),
    ],
    "detokenize": [
        ("    check_token_ids(ids, len(TOKENS))\n", "", "does not refuse"),
        ("check_token_ids(ids, len(TOKENS))", "assert min(ids) >= 0", "-"),
        ("len(TOKENS))", "len(TOKENS) + 1)", "list index out of range"),
        ('"".join', '" ".join', "has spaces between the tokens"),
        (
            '"".join(TOKENS[i] for i in ids)',
            "[TOKENS[i] for i in ids]",
            "is the list of tokens",
        ),
        (
            "TOKENS[i] for i in ids)",
            "TOKENS[i] for i in ids if i > 1)",
            "leaves out [PAD] and [EOS]",
        ),
        (
            "    check_token_ids(ids, len(TOKENS))\n",
            "    if max(ids, default=0) >= len(TOKENS):\n        raise"
            " ValueError('no such token')\n",
            "does not refuse -1",
        ),
    ],
    "make_questions": [
        ("largest + 1", "largest", "result['numbers']"),
        ("integers(0,", "integers(1,", "result['numbers']"),
        (
            "rng.permutation(np.resize(list(OPERATIONS), n))",
            "np.resize(list(OPERATIONS), n)",
            "in random order",
        ),
        (
            "rng.permutation(np.resize(list(OPERATIONS), n))",
            "np.sort(np.resize(list(OPERATIONS), n))",
            "in random order",
        ),
        (
            "rng.permutation(np.resize(list(OPERATIONS), n))",
            "rng.choice(list(OPERATIONS), n)",
            "of each operation",
        ),
        (
            "rng.permutation(np.resize(list(OPERATIONS), n))",
            "np.random.default_rng().permutation("
            "np.resize(list(OPERATIONS), n))",
            "from the same rng",
        ),
        ("({a},{b},{c})", "({a}, {b}, {c})", "-"),
        ("({a},{b},{c})", "({a},{a},{c})", "one by one"),
        ("(n, 3))", "(1, 3)).repeat(n, axis=0)", "-"),
        (
            "np.resize(list(OPERATIONS), n)",
            "np.repeat(list(OPERATIONS), n)",
            "-",
        ),
        (
            "rng.permutation(np.resize(list(OPERATIONS), n))",
            "np.repeat(rng.permutation(list(OPERATIONS)), n // 5)",
            "in random order",
        ),
    ],
    "unseen_questions": [
        ("range(10), repeat=3", "range(9), repeat=3", "lacks the number 9"),
        (
            "range(10), repeat=3",
            "range(1, 10), repeat=3",
            "lacks the number 0",
        ),
        (
            "itertools.product(range(10), repeat=3)",
            "itertools.permutations(range(10), 3)",
            "lacks questions in which a number comes twice",
        ),
        (
            "itertools.product(range(10), repeat=3)",
            "itertools.combinations_with_replacement(range(10), 3)",
            "lacks questions whose numbers fall",
        ),
        (
            "sorted(every.difference(*parts))",
            "list(every.difference(*parts))",
            "-",
        ),
        (
            "every.difference(*parts)",
            "every.difference(parts[0])",
            "the first part alone",
        ),
        (
            "every.difference(*parts)",
            "every.difference(*parts[:1])",
            "looks at the first part alone",
        ),
        (
            "every.difference(*parts)",
            "every.symmetric_difference(sum(parts, []))",
            "has questions of more than one digit, from a",
        ),
        (
            "sorted(every.difference(*parts))",
            "every.difference(*parts)",
            "-",
        ),
    ],
    "split_questions": [
        (
            "sorted(set(questions))",
            "sorted(questions)",
            "divides what comes more than once",
        ),
        (
            "sorted(set(questions))",
            "list(set(questions))",
            "in every run of Python",
        ),
        (
            "sorted(set(questions))",
            "[*{*questions}]",
            "in every run of Python",
        ),
        (
            "sorted(set(questions))",
            "list(frozenset(questions))",
            "in every run of Python",
        ),
        (
            "sorted(set(questions))",
            "[*{q: 0 for q in set(questions)}]",
            "in every run of Python",
        ),
        (
            "rng.permutation(sorted(set(questions))).tolist()",
            "sorted(set(questions))",
            "held out at random",
        ),
        (
            "[q for q in questions if q in kept]",
            "train",
            "has each training question once",
        ),
        (
            "[q for q in questions if q in kept]",
            "questions",
            "has in train what is held out",
        ),
        (
            "test, train = distinct[:n], distinct[n : 2 * n],"
            " distinct[2 * n :]",
            "test, train = distinct[:n], distinct[n : 2 * n], distinct[n:]",
            "has the test questions in train",
        ),
        (
            "test, train = distinct[:n], distinct[n : 2 * n],"
            " distinct[2 * n :]",
            "test, train = distinct[:n], distinct[:n], distinct[n:]",
            "has the same questions in valid and test",
        ),
        (
            "round(held_out * len(distinct))",
            "round(held_out * len(questions))",
            "has the share of all questions held out, not",
        ),
        (
            "round(held_out * len(distinct))",
            "round(0.1 * len(distinct))",
            "has a tenth held out",
        ),
        ("    if n < 1:", "    if n < 0:", "does not refuse"),
        (
            "return [q for q in questions if q in kept], valid, test",
            "return valid, [q for q in questions if q in kept], test",
            "has valid before train",
        ),
        (
            "def split_questions(questions, rng, held_out=0.1):\n"
            "    shuffled = rng.permutation(questions).tolist()\n"
            "    n = round(held_out * len(set(questions)))\n"
            "    if n < 1:\n"
            "        raise ValueError('too few')\n"
            "    return shuffled[2 * n :], shuffled[:n], shuffled[n :"
            " 2 * n]\n",
            "divides what comes more than once",
        ),
    ],
    "pad_rows": [
        (
            "np.arange(lengths.max()) < lengths[:, None]",
            "(np.arange(lengths.max()) < lengths[:, None])[:, ::-1]",
            "at the left",
        ),
        ("return ids, mask", "return ids, ~mask", "turned over"),
        ("return ids, mask", "return ids, ids != PAD", "a [PAD] of its own"),
        (
            "np.full(mask.shape, PAD)",
            "np.full(mask.shape, EOS)",
            "filled with [EOS]",
        ),
        (
            "np.full(mask.shape, PAD)",
            "np.full(mask.shape, -1)",
            "filled with -1",
        ),
        (
            "return ids, mask",
            "return ids, np.ones_like(mask)",
            "hides nothing",
        ),
        ("return ids, mask", "return ids, mask.astype(int)", "-"),
        ("np.full(mask.shape, PAD)", "np.zeros(mask.shape)", "-"),
        ("lengths.max()) <", "lengths.max() + 1) <", "-"),
        (
            "return ids, mask",
            "return mask, ids",
            "has ids and mask in each other's place",
        ),
        ("return ids, mask", "return ids", "-"),
        ("< lengths[:, None]", "< lengths", "-"),
        (
            "    ids[mask] = np.concatenate(rows)\n    return ids, mask",
            "    ids[mask] = np.concatenate(rows)\n"
            "    return ids, np.arange(lengths.max()) < lengths[:, None] - 1",
            "hides the last token",
        ),
        (
            "mask = np.arange(lengths.max()) < lengths[:, None]",
            "mask = np.arange(lengths.max())[::-1] < lengths[:, None]",
            "is filled at the left",
        ),
    ],
    "decoder_batch": [
        (
            "        row[: len(question) - 1] = -100",
            "        pass",
            "scores the question too",
        ),
        (
            "row[: len(question) - 1]",
            "row[: len(question)]",
            "first digit of the answer",
        ),
        (
            "row[: len(question) - 1]",
            "row[: len(question) - 2]",
            "end of the question",
        ),
        (
            "np.where(real[:, 1:], rows[:, 1:], -100)",
            "rows[:, 1:].copy()",
            "scores the padding",
        ),
        (
            "np.where(real[:, 1:], rows[:, :-1], PAD)",
            "rows[:, :-1]",
            "last [EOS] too",
        ),
        ("[q + a + [EOS] for", "[q + a for", "lacks [EOS]"),
        (
            "np.where(real[:, 1:], rows[:, 1:], -100)",
            "np.where(real[:, :-1], rows[:, :-1], -100)",
            "-",
        ),
        (
            "    return ids, targets",
            "    targets[targets == EOS] = -100\n    return ids, targets",
            "does not score [EOS]",
        ),
        (
            "row[: len(question) - 1]",
            "row[: max(map(len, asked)) - 1]",
            "the longest question",
        ),
        (
            "row[: len(question) - 1]",
            "row[: len(asked[0]) - 1]",
            "the first question",
        ),
        ("    return ids, targets", "    return rows, targets", "-"),
        ("= -100\n    return", "= 0\n    return", "-"),
    ],
    "encoder": [
        (
            "language_model(ids, params, config, mask[:, None, None])",
            "language_model(ids, params, config)",
            "is causal",
        ),
        (
            "language_model(ids, params, config, mask[:, None, None])",
            "language_model(ids, params, config, np.ones_like(mask)[:,"
            " None, None])",
            "the mask ignored",
        ),
        ("mask.sum(axis=1) - 1", "np.full(len(ids), -1)", "last column"),
        ("mask.sum(axis=1) - 1", "mask.sum(axis=1) - 2", "one too early"),
        (
            "mask.sum(axis=1) - 1",
            "mask.sum(axis=1) % ids.shape[1]",
            "one too far",
        ),
        ("mask.sum(axis=1) - 1", "mask.sum(axis=1) * 0", "at the first token"),
        ("np.arange(len(ids)), mask", "slice(None), mask", "-"),
        (
            "mask[:, None, None])",
            "mask[:, None, None] & np.tri(ids.shape[1], dtype=bool))",
            "is causal",
        ),
        ("mask[:, None, None])", "mask[:, None, :, None])", "-"),
        ("mask[:, None, None])", "mask)", "-"),
        (
            "mask[:, None, None])",
            "mask[:1, None, None])",
            "of the first question",
        ),
        (
            "    mask = np.ones(ids.shape, dtype=bool) if mask is None"
            " else mask\n",
            "",
            "NoneType",
        ),
        (
            "return logits[last], (last, logits.shape, cache)",
            "return logits, (last, logits.shape, cache)",
            "scores for every position",
        ),
        (
            "return logits[last],",
            "return logits.mean(axis=1),",
            "mean over all positions",
        ),
        (
            "def encoder(ids, params, config, mask=None):\n"
            "    mask = np.ones(ids.shape, bool)\n"
            "    logits, cache = language_model(ids, params, config,"
            " mask[:, None, None])\n"
            "    last = np.arange(len(ids)), mask.sum(axis=1) - 1\n"
            "    return logits[last], (last, logits.shape, cache)\n",
            "the mask ignored",
        ),
        (", mask[:, None, None])", ", None)", "is causal"),
        (
            ", mask[:, None, None])",
            ", np.ones(ids.shape, bool)[:, None, None])",
            "has the mask ignored",
        ),
    ],
    "encoder_backward": [
        (
            """
def encoder_backward(dout, cache):
    return language_model_backward(dout, cache[2])
""",
            "-",
        ),
        (
            "dlogits[last] = dout",
            "dlogits[:, -1] = dout",
            "at the last column",
        ),
        (
            "dlogits[last] = dout",
            "dlogits[:] = dout[:, None]",
            "at every position",
        ),
        (
            "dlogits[last] = dout",
            "dlogits[:, 0] = dout",
            "at the first position",
        ),
        (
            "dlogits[last] = dout",
            "dlogits[last[0], last[1] - 1] = dout",
            "one too early",
        ),
        ("np.zeros(shape, dout.dtype)", "np.zeros(shape)", "float64"),
        (
            "np.zeros(shape, dout.dtype)",
            "np.ones(shape, dout.dtype)",
            "begins with ones where zeros are wanted",
        ),
        (
            "return language_model_backward(dlogits, cache)",
            "return dlogits",
            "-",
        ),
        (
            "return language_model_backward(dlogits, cache)",
            "language_model_backward(dlogits, cache)",
            "Is there a return?",
        ),
    ],
    "start": [
        (KEPT, "    if False:\n        run.params", "as quiet as they begin"),
        (
            KEPT,
            "    if True:\n        run.params",
            "beside learned positions too",
        ),
        ("0.5**0.5 / 0.02", "1 / 0.02", "has tokens at 1"),
        ("0.5**0.5 / 0.02", "0.5**0.5", "not scaled up to it"),
        ("0.5**0.5 / 0.02", "0.5 / 0.02", "not at its square root"),
        ("0.5**0.5 / 0.02", "config.d_model**0.5", "sqrt(d_model)"),
        ("settings.weight_decay", "0.01", "settings.weight_decay"),
        (", betas=betas", "", "the betas of settings"),
        (
            "    run.optimizer = AdamW(run.params,"
            " settings.weight_decay, betas=betas)\n",
            "",
            "holds other arrays",
        ),
        (f"    {CAST}\n", "", "is in float32"),
        (
            "    return run",
            f"    {CAST}\n    return run",
            "holds other arrays",
        ),
        (
            "array.astype(dtype)",
            "array.astype(np.float32)",
            "dtype is not used",
        ),
        ("    return run", "    return run.params", "-"),
        (
            "start_run(config, settings)",
            "start_run(config, TrainSettings())",
            "-",
        ),
    ],
    "epochs_of": [
        (
            "order = rng.permutation(questions).tolist()",
            "order = list(questions)",
            "in random order",
        ),
        ("return (left.pop(0),)", "return left.pop(0)", "a tuple of one list"),
        (
            "range(0, len(order), batch_size)",
            "range(0, len(order) - batch_size + 1, batch_size)",
            "-",
        ),
        ("range(0, len(order), batch_size)", "range(0, len(order))", "-"),
        (
            "            order = rng.permutation(questions).tolist()",
            "            rng.shuffle(questions)\n            order ="
            " questions",
            "changes questions in place",
        ),
        (
            "rng.permutation(questions).tolist()",
            "np.random.default_rng(0).permutation(questions).tolist()",
            "shuffled anew",
        ),
        (
            "rng.permutation(questions).tolist()",
            "rng.choice(questions, len(questions)).tolist()",
            "an epoch shows all",
        ),
        (
            "    left = []\n\n    def draw(rng):\n",
            "    def draw(rng, left=LEFT):\n",
            "NameError",
        ),
        (
            "LEFT = []\n\ndef epochs_of(questions, batch_size):\n"
            "    def draw(rng):\n"
            "        if not LEFT:\n"
            "            order = rng.permutation(questions).tolist()\n"
            "            for first in range(0, len(order), batch_size):\n"
            "                LEFT.append(order[first : first + batch_size])\n"
            "        return (LEFT.pop(0),)\n"
            "    return draw\n",
            "shares its batches with other draws",
        ),
        (
            "def epochs_of(questions, batch_size):\n"
            "    def draw(rng):\n"
            "        return (rng.choice(questions, batch_size,"
            " replace=False).tolist(),)\n"
            "    return draw\n",
            "-",
        ),
    ],
    "share_right": [
        (
            "text == answer(question)",
            "text[0] == answer(question)[0]",
            "the first digit alone",
        ),
        (
            "text == answer(question)",
            "answer(question) in text",
            "holds the right one",
        ),
        (
            "text == answer(question)",
            "text in answer(question)",
            "begins or ends right",
        ),
        ("float(np.mean(r))", "sum(r)", "not a share"),
        ("float(np.mean(r))", "100 * float(np.mean(r))", "in percent"),
        (
            "float(np.mean(r))",
            "1 - float(np.mean(r))",
            "share of wrong answers",
        ),
        (" if r}", "}", "-"),
        (
            "float(np.mean(r))",
            "sum(r) / len(questions)",
            "share of all questions",
        ),
        (
            "float(np.mean(r)) for key, r in right.items() if r",
            "float(np.mean(r)) if r else 0.0 for key, r in right.items()",
            "keeps operations that were not asked",
        ),
        (
            "answer_all(questions, params, config)",
            "answer_all(questions, config, params)",
            "is wanted",
        ),
        (
            "answer_all(questions, params, config)",
            "[answer(q) for q in questions]",
            "-",
        ),
        ('("all", parse(question)[0])', '("all", "First")', "-"),
        (
            'for key in ("all", parse(question)[0]):',
            "for key in (parse(question)[0],):",
            "-",
        ),
    ],
    "confusion": [
        ("return table", "return table.T", "is turned"),
        ("table[row] += [", "table[:, row] += [", "is turned"),
        (
            "table[row] += [",
            "table[row] = [",
            "keeps the last question of an operation",
        ),
        (
            "answer(question, name)",
            "answer(question)",
            "asks each time for the operation asked",
        ),
        ("return table", "return table / table.sum()", "-"),
        ("return table", "return np.minimum(table, 1)", "0 or 1"),
        (", dtype=int)", ")", "-"),
        (
            "        table[row] += [text == answer(question, name) for"
            " name in names]",
            "        for i, name in enumerate(names):\n"
            "            if text == answer(question, name):\n"
            "                table[row, i] += 1\n"
            "                break",
            "the first operation that fits",
        ),
        (
            "        table[row] += [text == answer(question, name) for"
            " name in names]",
            "        table[row, row] += text == answer(question)",
            "right answers alone",
        ),
        (
            "names = list(OPERATIONS)",
            "names = sorted(OPERATIONS)",
            "has the operations in another order than",
        ),
    ],
    "train_and_keep_best": [
        (
            "map_arrays(np.copy, run.params)",
            "run.params",
            "is that of the last step",
        ),
        (
            "map_arrays(np.copy, run.params)",
            "dict(run.params)",
            "is that of the last step",
        ),
        (">= most", "> most", "is the first of equals"),
        (">= most", "<= most", "UnboundLocalError"),
        (
            "most = run.settings.batch_size, -1.0",
            "most = run.settings.batch_size, 0.3",
            "-",
        ),
        ("return best", "return run.params", "is that of the last step"),
        ("share_right(valid,", "share_right(train,", "the best on valid"),
        (
            '        run.log.append({"step": run.step, "loss": loss} |'
            " shares)\n",
            "",
            "has no rows in run.log",
        ),
        (
            "np.mean([loss for loss, _ in epoch])",
            "epoch[-1][0]",
            "has the loss of the last batch, not the mean",
        ),
        (
            "np.mean([loss for loss, _ in epoch])",
            "np.sum([loss for loss, _ in epoch])",
            "has the sum of an epoch's losses, not their",
        ),
        ("math.ceil(len(train) / B)", "len(train) // B", "-"),
        (
            '            most, best = shares["all"], ',
            "            best = ",
            "is that of the last step",
        ),
        (
            "    while epoch := list(itertools.islice(steps, n)):",
            "    for epoch in [list(itertools.islice(steps, n))]:",
            "-",
        ),
        ("return best", "return shares", "-"),
    ],
    "without_heads": [
        (
            "    params = map_arrays(np.copy, params)\n",
            "",
            "changed params in place",
        ),
        (
            "map_arrays(np.copy, params)",
            "dict(params)",
            "changed params in place",
        ),
        (
            REST,
            'out["weight"][:, head * D : (head + 1) * D] = 0.0',
            "columns of the output map",
        ),
        (REST, 'out["weight"][head] = 0.0', "one row at zero"),
        (
            REST,
            'out["weight"][head :: config.n_heads] = 0.0',
            "every H-th row",
        ),
        (
            REST,
            REST + '\n        out["bias"][:] = 0.0',
            "the bias of the output map",
        ),
        (
            REST,
            'out["weight"][(head - 1) * D : head * D] = 0.0',
            "the head before",
        ),
        (
            REST,
            'qkv = params["blocks"][layer]["attention"]["qkv"]\n      '
            '  qkv["weight"][:, head * D : (head + 1) * D] = 0.0',
            "queries at zero",
        ),
        (
            "config.d_model // config.n_heads",
            "config.n_heads",
            "a head is C / H wide",
        ),
        (
            "0 <= head < config.n_heads",
            "head < config.n_heads",
            "does not refuse",
        ),
        (
            "0 <= layer < config.n_layers",
            "layer < config.n_layers",
            "does not refuse",
        ),
        (
            "0 <= head < config.n_heads",
            "0 <= head <= config.n_heads",
            "does not refuse",
        ),
        ("    return params", "    return out", "-"),
        (
            '        out["weight"][head * D : (head + 1) * D] = 0.0\n '
            "   return params",
            '        out["weight"][head * D : (head + 1) * D] = 0.0\n '
            "       return params",
            "-",
        ),
        (
            "if not (0 <= layer < config.n_layers and 0 <= head <"
            " config.n_heads):",
            "if False:",
            "does not refuse",
        ),
    ],
    "head_drops": [
        ("100 * (", "(", "shares, not points"),
        (
            "(whole[operation] - shares[operation])",
            "(shares[operation] - whole[operation])",
            "below zero",
        ),
        (
            "(whole[operation] - shares[operation])",
            "shares[operation]",
            "what is left",
        ),
        (
            "without_heads(params, config, [(layer, head)])",
            "params",
            "the whole model answered",
        ),
        (
            "        rest = without_heads(params, config, [(layer, head)])",
            "        params = rest = without_heads(params, config,"
            " [(layer, head)])",
            "more and more heads",
        ),
        (
            "np.zeros((config.n_layers, config.n_heads, len(OPERATIONS)))",
            "np.zeros((config.n_heads, config.n_layers, len(OPERATIONS)))",
            "-",
        ),
        ("[(layer, head)])", "[(head, layer)])", "-"),
        (
            "for operation in OPERATIONS",
            "for operation in sorted(OPERATIONS)",
            "another order than OPERATIONS",
        ),
        (
            "(whole[operation] - shares[operation])",
            '(whole["all"] - shares["all"])',
            "is the loss of all questions",
        ),
        ("    return drops", "    return drops.round()", "-"),
    ],
    "blind": [
        (
            "str(number) == answer(question)",
            "number == answer(question)",
            "is 0",
        ),
        ("sum(right) / 3", "sum(right)", "counts the right numbers"),
        ("sum(right) / 3", "1 / 3", "is a third everywhere"),
        ("sum(right) / 3", "any(right)", "is 1 where any number is right"),
        ("shares.append", "shares = [1.0]; shares.append", "-"),
        ("return shares", "return np.mean(shares)", "is their mean"),
    ],
    "mean_pool": [
        (
            "mask / mask.sum(axis=1, keepdims=True)",
            "mask / mask.shape[1]",
            "counts the padding",
        ),
        (
            "mask / mask.sum(axis=1, keepdims=True)",
            "mask / mask.sum()",
            "is divided by the real tokens of all rows",
        ),
        (
            "(x * weights).sum(axis=1)",
            "x.mean(axis=1)",
            "is the mean over all positions, padding too",
        ),
        (".astype(x.dtype)", "", "float64 took part"),
        ("(x * weights).sum(axis=1)", "(x * weights).sum(axis=2)", "-"),
        (
            "return dout[:, None] * cache",
            "return dout[:, None] * (cache > 0)",
            "lacks the division by the real tokens of",
        ),
        ("return dout[:, None] * cache", "return dout * cache", "-"),
        (
            "return dout[:, None] * cache",
            "return dout[:, None] / cache.shape[1] + 0 * cache",
            "is shared out over all positions, padding too",
        ),
    ],
    "rollout": [
        ("@ mixed", "@ mixed.T", "-"),
        (
            "mixed = 0.5 * (layer + np.eye(len(layer))) @ mixed",
            "mixed = mixed @ (0.5 * (layer + np.eye(len(layer))))",
            "has the layers in the wrong order",
        ),
        ("0.5 * (layer + np.eye(len(layer)))", "layer", "lacks the identity"),
        ("0.5 * (layer", "(layer", "lacks the factor 0.5 of each layer"),
        ("np.eye(weights.shape[1])", "np.ones(weights.shape[1:])", "-"),
        (
            "for layer in weights",
            "for layer in weights[:1]",
            "has the first layer alone",
        ),
    ],
}

RIGHT = {
    "tokenize": [
        """
def tokenize(text):
    ids, place = [], 0
    while place < len(text):
        for token, i in IDS.items():
            if text.startswith(token, place):
                ids.append(i)
                place += len(token)
                break
        else:
            raise ValueError(f"no token at {text[place:]!r}")
    return ids
""",
        """
def tokenize(text):
    try:
        return [IDS[piece] for piece in SPELLING.findall(text)]
    except KeyError as error:
        raise ValueError(f"no token spells {error}") from None
""",
        ("for piece in pieces:\n", "for piece in set(pieces):\n"),
    ],
    "detokenize": [
        """
def detokenize(ids):
    text = ""
    for i in ids:
        if not 0 <= i < len(TOKENS):
            raise ValueError(f"no token {i}")
        text += TOKENS[i]
    return text
""",
        """
def detokenize(ids):
    ids = np.asarray(ids, dtype=int)
    if (ids < 0).any() or (ids >= len(TOKENS)).any():
        raise ValueError("no such token")
    return "".join(np.array(TOKENS)[ids].tolist())
""",
        ("TOKENS[i] for i in ids)", "map(TOKENS.__getitem__, ids))"),
    ],
    "make_questions": [
        """
def make_questions(n, largest, rng):
    numbers = rng.integers(0, largest, (n, 3), endpoint=True)
    names = list(OPERATIONS) * (n // 5 + 1)
    names = rng.permutation(names[:n])
    return [f"{o}({a},{b},{c})" for o, (a, b, c) in zip(names, numbers)]
""",
        """
def make_questions(n, largest, rng):
    names = list(OPERATIONS)
    made = []
    for i in range(n):
        a, b, c = (int(rng.integers(largest + 1)) for _ in range(3))
        made.append(f"{names[i % 5]}({a},{b},{c})")
    rng.shuffle(made)
    return made
""",
        (
            '[f"{op}({a},{b},{c})" for op, (a, b, c) in'
            " zip(operations, numbers)]",
            "[str(op) + '(' + ','.join(map(str, row)) + ')' for op,"
            " row in zip(operations, numbers)]",
        ),
        (
            (
                "    operations = "
                "rng.permutation(np.resize(list(OPERATIONS), n))\n"
                "    numbers = rng.integers(0, largest + 1, (n, 3))\n"
            ),
            (
                "    numbers = rng.integers(0, largest + 1, (n, 3))\n"
                "    operations = "
                "rng.permutation(np.resize(list(OPERATIONS), n))\n"
            ),
        ),
    ],
    "unseen_questions": [
        """
def unseen_questions(*parts):
    seen = set()
    for part in parts:
        seen.update(part)
    found = []
    for op in OPERATIONS:
        for n in range(1000):
            a, b, c = f"{n:03}"
            question = f"{op}({a},{b},{c})"
            if question not in seen:
                found.append(question)
    found.sort()
    return found
""",
        ("every.difference(*parts)", "every - set(itertools.chain(*parts))"),
        (
            "sorted(every.difference(*parts))",
            "[q for q in sorted(every) if not any(q in part for part"
            " in map(set, parts))]",
        ),
    ],
    "split_questions": [
        """
def split_questions(questions, rng, held_out=0.1):
    distinct = list(dict.fromkeys(questions))
    n = round(held_out * len(distinct))
    if n < 1:
        raise ValueError("too few")
    rng.shuffle(distinct)
    valid, test = distinct[:n], distinct[n : 2 * n]
    out = set(valid + test)
    return [q for q in questions if q not in out], valid, test
""",
        """
def split_questions(questions, rng, held_out=0.1):
    distinct = np.unique(questions)
    n = int(held_out * len(distinct) + 0.5)
    if n == 0:
        raise ValueError("too few")
    order = rng.permutation(len(distinct))
    valid, test = distinct[order[:n]], distinct[order[-n:]]
    train = [q for q in questions if q not in valid and q not in test]
    return train, valid.tolist(), test.tolist()
""",
        (
            "    kept = set(train)\n    return [q for q in questions"
            " if q in kept], valid, test",
            "    return [q for q in questions if q in train], valid, test",
        ),
    ],
    "pad_rows": [
        """
def pad_rows(rows):
    T = max(map(len, rows))
    ids = np.array([[*row, *[PAD] * (T - len(row))] for row in rows])
    mask = np.array([[t < len(row) for t in range(T)] for row in rows])
    return ids, mask
""",
        """
def pad_rows(rows):
    shape = len(rows), max(len(row) for row in rows)
    ids, mask = np.full(shape, PAD), np.zeros(shape, bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = True
    return ids, mask
""",
        ("return ids, mask", "return ids.astype(np.int32), mask"),
    ],
    "decoder_batch": [
        """
def decoder_batch(questions):
    rows, T = [], 0
    for question in questions:
        row = tokenize(question + answer(question) + "[EOS]")
        rows.append((len(tokenize(question)), row))
        T = max(T, len(row) - 1)
    ids = np.full((len(rows), T), PAD)
    targets = np.full((len(rows), T), -100)
    for i, (n, row) in enumerate(rows):
        ids[i, : len(row) - 1] = row[:-1]
        targets[i, n - 1 : len(row) - 1] = row[n:]
    return ids, targets
""",
        (
            "targets = np.where(real[:, 1:], rows[:, 1:], -100)",
            "targets = rows[:, 1:].copy()\n    targets[~real[:, 1:]] = -100",
        ),
        """
def decoder_batch(questions):
    asked = [tokenize(question) for question in questions]
    told = [tokenize(answer(question)) + [EOS] for question in questions]
    ids, _ = pad_rows([q + a[:-1] for q, a in zip(asked, told)])
    targets, real = pad_rows([q[1:] + a for q, a in zip(asked, told)])
    lengths = np.array([len(q) for q in asked])[:, None]
    hidden = np.arange(ids.shape[1]) < lengths - 1
    return ids, np.where(real & ~hidden, targets, -100)
""",
    ],
    "encoder": [
        """
def encoder(ids, params, config, mask=None):
    if mask is None:
        mask = np.ones_like(ids, dtype=bool)
    B, T = ids.shape
    full = np.broadcast_to(mask[:, None, None, :], (B, 1, T, T))
    logits, cache = language_model(ids, params, config, mask=full)
    last = mask.sum(axis=1) - 1
    out = np.stack([logits[i, t] for i, t in enumerate(last)])
    return out, {"last": last, "shape": logits.shape, "model": cache}


def encoder_backward(dout, cache):
    dlogits = np.zeros(cache["shape"], dtype=dout.dtype)
    for i, t in enumerate(cache["last"]):
        dlogits[i, t] = dout[i]
    return language_model_backward(dlogits, cache["model"])
""",
        """
def encoder(ids, params, config, mask=None):
    mask = np.ones(ids.shape, bool) if mask is None else mask
    logits, cache = language_model(ids, params, config, mask[:, None, None])
    T = ids.shape[1]
    picked = np.eye(T)[mask.sum(axis=1) - 1].astype(logits.dtype)
    return np.einsum("bt,btv->bv", picked, logits), (picked, cache)


def encoder_backward(dout, cache):
    picked, cache = cache
    return language_model_backward(picked[..., None] * dout[:, None], cache)
""",
        (
            "mask.sum(axis=1) - 1",
            "(mask * np.arange(ids.shape[1])).argmax(axis=1)",
        ),
    ],
    "encoder_backward": [
        (
            "dlogits = np.zeros(shape, dout.dtype)",
            "dlogits = np.zeros(shape, dtype=dout.dtype)",
        ),
        (
            "    dlogits = np.zeros(shape, dout.dtype)\n   "
            " dlogits[last] = dout\n",
            "    dlogits = np.zeros(shape).astype(dout.dtype)\n   "
            " np.add.at(dlogits, last, dout)\n",
        ),
        ("dlogits[last] = dout", "dlogits[last[0], last[1], :] += dout"),
    ],
    "start": [
        """
def start(config, settings, dtype=np.float64):
    run = start_run(config, settings)
    run.params = map_arrays(lambda array: array.astype(dtype), run.params)
    if config.positions == "sinusoidal":
        scale = math.sqrt(0.5) / 0.02
        # in float32 first, as the text has it
        table = start_run(config, settings).params["token_embedding"]["weight"]
        run.params["token_embedding"]["weight"] = (table * scale).astype(dtype)
    betas = settings.beta1, settings.beta2
    run.optimizer = AdamW(run.params, settings.weight_decay, betas=betas)
    return run
""",
        ("0.5**0.5 / 0.02", "math.sqrt(1 / 2) / 0.02"),
        (
            "betas = settings.beta1, settings.beta2",
            "betas = (settings.beta1, settings.beta2)",
        ),
        ("*= 0.5**0.5 / 0.02", "*= 50 * 0.5**0.5"),
        """
def start(config, settings, dtype=np.float64):
    run = start_run(config, settings, dtype)
    if config.positions == "sinusoidal":
        run.params["token_embedding"]["weight"] *= 0.5**0.5 / 0.02
    return run
""",
    ],
    "epochs_of": [
        """
def epochs_of(questions, batch_size):
    state = {"order": [], "at": 0}

    def draw(rng):
        if state["at"] >= len(state["order"]):
            places = rng.permutation(len(questions))
            state["order"] = [questions[i] for i in places]
            state["at"] = 0
        first = state["at"]
        state["at"] += batch_size
        return (state["order"][first : state["at"]],)

    return draw
""",
        """
def epochs_of(questions, batch_size):
    batches = iter(())

    def draw(rng):
        nonlocal batches
        batch = next(batches, None)
        if batch is None:
            order = list(questions)
            rng.shuffle(order)
            starts = range(0, len(order), batch_size)
            batches = iter([order[i : i + batch_size] for i in starts])
            batch = next(batches)
        return (batch,)

    return draw
""",
        (
            "        return (left.pop(0),)",
            "        batch, left[:] = left[0], left[1:]\n       "
            " return (batch,)",
        ),
    ],
    "share_right": [
        """
def share_right(questions, answer_all, params, config):
    texts = answer_all(questions, params, config)
    hits = np.array([t == answer(q) for q, t in zip(questions, texts)])
    names = np.array([parse(q)[0] for q in questions])
    shares = {"all": hits.mean()}
    for name in OPERATIONS:
        if (names == name).any():
            shares[name] = hits[names == name].mean()
    return shares
""",
        ("float(np.mean(r))", "sum(r) / len(r)"),
        ("text == answer(question)", "int(text == answer(question))"),
    ],
    "confusion": [
        """
def confusion(questions, given):
    table = np.zeros((5, 5), int)
    names = list(OPERATIONS)
    for question, text in zip(questions, given):
        i = names.index(parse(question)[0])
        for j in range(5):
            if answer(question, names[j]) == text:
                table[i, j] += 1
    return table
""",
        """
def confusion(questions, given):
    return np.array([
        [
            sum(
                text == answer(question, column)
                for question, text in zip(questions, given)
                if parse(question)[0] == row
            )
            for column in OPERATIONS
        ]
        for row in OPERATIONS
    ])
""",
        ("dtype=int", "dtype=np.int32"),
    ],
    "train_and_keep_best": [
        """
@checked
def train_and_keep_best(run, train, valid, gradient, answer_all):
    best, most = None, -1
    draw = epochs_of(train, run.settings.batch_size)
    n = -(-len(train) // run.settings.batch_size)
    losses = []
    for loss, _ in train_steps(run, draw, gradient):
        losses.append(loss)
        if len(losses) == n or run.step == run.settings.steps:
            shares = share_right(valid, answer_all, run.params, run.config)
            row = {"step": run.step, "loss": sum(losses) / len(losses)}
            run.log.append({**row, **shares})
            losses = []
            if best is None or shares["all"] >= most:
                most = shares["all"]
                best = map_arrays(lambda a: a.copy(), run.params)
    return best
""",
        (
            "map_arrays(np.copy, run.params)",
            "map_arrays(np.array, run.params)",
        ),
        (
            "B, most = run.settings.batch_size, -1.0",
            "B, most = run.settings.batch_size, -math.inf",
        ),
    ],
    "without_heads": [
        """
def without_heads(params, config, heads):
    L, H = config.n_layers, config.n_heads
    for layer, head in heads:
        if layer not in range(L) or head not in range(H):
            raise ValueError(f"no head {head} in layer {layer}")
    params = map_arrays(lambda a: a.copy(), params)
    for layer, head in heads:
        weight = params["blocks"][layer]["attention"]["out"]["weight"]
        weight.reshape(H, -1, weight.shape[1])[head] = 0
    return params
""",
        """
def without_heads(params, config, heads):
    D = config.d_model // config.n_heads
    blocks = list(params["blocks"])
    for layer, head in heads:
        if min(layer, head) < 0 or layer >= config.n_layers:
            raise ValueError("no such layer")
        if head >= config.n_heads:
            raise ValueError("no such head")
        block = blocks[layer]
        out = block["attention"]["out"]
        keep = np.ones((config.d_model, 1))
        keep[head * D : (head + 1) * D] = 0
        new = (out["weight"] * keep).astype(out["weight"].dtype)
        attention = block["attention"] | {"out": out | {"weight": new}}
        blocks[layer] = block | {"attention": attention}
    return params | {"blocks": blocks}
""",
        (REST, 'out["weight"][head * D : (head + 1) * D, :] *= 0'),
    ],
    "head_drops": [
        """
def head_drops(questions, params, config):
    whole = share_right(questions, encoder_answers, params, config)
    drops = []
    for layer in range(config.n_layers):
        for head in range(config.n_heads):
            rest = without_heads(params, config, [(layer, head)])
            part = share_right(questions, encoder_answers, rest, config)
            drops.append([100 * (whole[o] - part[o]) for o in OPERATIONS])
    return np.reshape(drops, (config.n_layers, config.n_heads, 5))
""",
        (
            "100 * (whole[operation] - shares[operation])",
            "100 * whole[operation] - 100 * shares[operation]",
        ),
        (
            "np.ndindex(drops.shape[:2])",
            "itertools.product(range(config.n_layers), range(config.n_heads))",
        ),
    ],
    "blind": [
        ("sum(right) / 3", "float(np.mean(right))"),
        ("str(number) == answer(question)", "number == int(answer(question))"),
        ("shares.append(sum(right) / 3)", "shares += [right.count(True) / 3]"),
    ],
    "mean_pool": [
        """
def mean_pool(x, mask):
    n = mask.sum(axis=1)[:, None].astype(x.dtype)
    return np.where(mask[..., None], x, 0).sum(axis=1) / n, (mask, n)


def mean_pool_backward(dout, cache):
    mask, n = cache
    dx = np.repeat((dout / n)[:, None], mask.shape[1], axis=1)
    dx[~mask] = 0
    return dx
""",
        """
def mean_pool(x, mask):
    weights = (mask / mask.sum(axis=1, keepdims=True)).astype(x.dtype)
    return np.einsum("bt,btc->bc", weights, x), {"weights": weights}


def mean_pool_backward(dout, cache):
    return np.einsum("bt,bc->btc", cache["weights"], dout)
""",
        """
def mean_pool(x, mask):
    out = np.stack([row[real].mean(axis=0) for row, real in zip(x, mask)])
    return out, mask


def mean_pool_backward(dout, cache):
    dx = np.zeros((*cache.shape, dout.shape[1]), dout.dtype)
    for i, real in enumerate(cache):
        dx[i, real] = dout[i] / dout.dtype.type(real.sum())
    return dx
""",
    ],
    "rollout": [
        """
def rollout(weights):
    T = weights.shape[1]
    steps = [0.5 * layer + 0.5 * np.eye(T) for layer in weights]
    return np.linalg.multi_dot(steps[::-1])
""",
        (
            "mixed = 0.5 * (layer + np.eye(len(layer))) @ mixed",
            "mixed = (layer @ mixed + mixed) / 2",
        ),
        """
def rollout(weights):
    import functools
    mix = lambda below, layer: 0.5 * (layer @ below) + 0.5 * below
    return functools.reduce(mix, weights, np.eye(weights.shape[1]))
""",
    ],
}

SOLUTIONS = {
    "blind": '''\
def blind(questions):
    """Return for each question the chance that a number picked is right."""
    shares = []
    for question in questions:
        _, numbers = parse(question)
        right = [str(number) == answer(question) for number in numbers]
        shares.append(sum(right) / 3)
    return shares
''',
    "mean_pool": '''\
def mean_pool(x, mask):
    """Return out (B, C) and a cache, x (B, T, C), mask (B, T)."""
    weights = mask / mask.sum(axis=1, keepdims=True)
    weights = weights[:, :, None].astype(x.dtype)  # (B, T, 1)
    return (x * weights).sum(axis=1), weights


def mean_pool_backward(dout, cache):
    """Return dx (B, T, C)."""
    return dout[:, None] * cache
''',
    "rollout": '''\
def rollout(weights):
    """Return (T, T) from weights (L, T, T): what is mixed into what."""
    mixed = np.eye(weights.shape[1])
    for layer in weights:
        mixed = 0.5 * (layer + np.eye(len(layer))) @ mixed
    return mixed
''',
}


def judge_blind(blind):
    """Call the exercise as its cell does."""
    asked = ["Max(3,1,3)", "Min(3,1,3)", "Second(4,4,4)", "Last(1,10,2)"]
    check_value(blind, [2 / 3, 1 / 3, 1.0, 1 / 3], asked)


def judge_mean_pool(mean_pool):
    """Call the exercise as its cell does."""
    x = np.random.default_rng(0).normal(size=(3, 5, 4))
    mask = np.arange(5) < np.array([[5], [2], [3]])
    check_backward(
        mean_pool,
        mean_pool.__globals__["mean_pool_backward"],
        lambda x, mask: torch.stack(
            [row[real].mean(dim=0) for row, real in zip(x, mask)]
        ),
        (x, mask),
    )


def judge_rollout(rollout):
    """Call the exercise as its cell does."""
    layers = [[[1, 0], [0.5, 0.5]], [[0.2, 0.8], [0, 1]], [[0.5, 0.5], [1, 0]]]
    check_value(rollout, [[0.5875, 0.4125], [0.475, 0.525]], np.array(layers))


JUDGES = {
    "blind": judge_blind,
    "mean_pool": judge_mean_pool,
    "rollout": judge_rollout,
}
