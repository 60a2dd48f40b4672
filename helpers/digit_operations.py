"""Questions such as Max(3,1,2), and an encoder and a decoder that answer.

Built in notebooks/A1_digit_operations.ipynb. Questions and answers are
strings; TOKENS spells both. An encoder is the model of lesson 04 with a mask
that hides the padding only, read out at the last token.
"""

import itertools
import math
import re
from dataclasses import replace
from operator import itemgetter

import numpy as np

from helpers.generation import generate_batch
from helpers.language_model import (
    ModelConfig,
    cross_entropy,
    cross_entropy_backward,
    language_model,
    language_model_backward,
    loss_and_grads,
)
from helpers.runs.doors import checked
from helpers.runs.guards import check_token_ids
from helpers.runs.params import map_arrays
from helpers.training import AdamW, TrainSettings, start_run, train_steps

OPERATIONS = {
    "First": itemgetter(0),
    "Second": itemgetter(1),
    "Last": itemgetter(2),
    "Max": max,
    "Min": min,
}
TOKENS = ["[PAD]", "[EOS]", *"0123456789", *OPERATIONS, *"(),"]
IDS = {token: i for i, token in enumerate(TOKENS)}
SPELLING = re.compile("|".join(map(re.escape, TOKENS)) + "|.", re.DOTALL)
PAD = IDS["[PAD]"]
EOS = IDS["[EOS]"]


ENCODER = ModelConfig(
    vocab_size=len(TOKENS),
    max_seq_len=16,
    d_model=64,
    n_heads=4,
    n_layers=2,
    d_ff=256,
    norm="post",
    activation="relu",
    positions="sinusoidal",
    tied_head=False,
)
DECODER = replace(ENCODER, norm="pre", activation="gelu")
SETTINGS = TrainSettings(steps=1000, lr=2e-3, warmup=100, seed=7)


def tokenize(text):
    """Return the token ids of a text, numbers digit by digit.

    Raises ValueError for a character that belongs to no token.
    """
    pieces = SPELLING.findall(text)
    for piece in pieces:
        if piece not in IDS:
            raise ValueError(
                f"no token spells {piece!r} in {text!r}; "
                "write it as in Max(3,1,2), without spaces"
            )
    return [IDS[piece] for piece in pieces]


def detokenize(ids):
    """Return the text of token ids; ValueError for one that does not exist."""
    check_token_ids(ids, len(TOKENS))
    return "".join(TOKENS[i] for i in ids)


def parse(question):
    """Return the operation's name and the three numbers of a question.

    Raises ValueError unless it reads like Max(3,1,2).
    """
    match = re.fullmatch(r"(\w+)\(([0-9]+),([0-9]+),([0-9]+)\)", question)
    if match is None or match[1] not in OPERATIONS:
        raise ValueError(
            f"{question!r} is no question; write an operation of "
            f"{', '.join(OPERATIONS)} and three numbers, as in Max(3,1,2)"
        )
    return match[1], [int(number) for number in match.groups()[1:]]


def answer(question, operation=None):
    """Return the right answer as a string; to another operation if given."""
    asked, numbers = parse(question)
    return str(OPERATIONS[operation or asked](numbers))


def make_questions(n, largest, rng):
    """Draw n questions on numbers 0..largest, as many of each operation.

    Returns strings in random order; a question may come more than once.
    """
    operations = rng.permutation(np.resize(list(OPERATIONS), n))
    numbers = rng.integers(0, largest + 1, (n, 3))
    return [f"{op}({a},{b},{c})" for op, (a, b, c) in zip(operations, numbers)]


def split_questions(questions, rng, held_out=0.1):
    """Divide into train, valid, test so that no question is in two of them.

    valid and test get each a share held_out of the distinct questions, every
    one once; train gets the rest, as often as they come.
    """
    distinct = rng.permutation(sorted(set(questions))).tolist()
    n = round(held_out * len(distinct))
    if n < 1:
        raise ValueError(
            f"{len(distinct)} distinct questions are too few to hold out a "
            f"share of {held_out} twice; make more questions"
        )
    valid, test, train = distinct[:n], distinct[n : 2 * n], distinct[2 * n :]
    kept = set(train)
    return [q for q in questions if q in kept], valid, test


def make_data(largest, n=10_000, seed=0):
    """Return train, valid, test of n questions on numbers 0..largest."""
    rng = np.random.default_rng(seed)
    return split_questions(make_questions(n, largest, rng), rng)


def unseen_questions(*parts):
    """Return the questions on single digits that are in no part, sorted."""
    numbers = itertools.product(range(10), repeat=3)
    triples = [f"({a},{b},{c})" for a, b, c in numbers]
    every = {op + triple for op in OPERATIONS for triple in triples}
    return sorted(every.difference(*parts))


def pad_rows(rows):
    """Stack rows of ids, filled at the right with [PAD].

    Returns ids (B, T) and mask (B, T), True = a real token.
    """
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, PAD)
    ids[mask] = np.concatenate(rows)
    return ids, mask


def encoder_batch(questions):
    """Return ids (B, T), mask (B, T) and the answers' token ids (B,).

    Raises ValueError for an answer of more than one digit.
    """
    ids, mask = pad_rows([tokenize(question) for question in questions])
    answers = [answer(question) for question in questions]
    if max(map(len, answers)) > 1:
        raise ValueError(
            f"the answer {max(answers, key=len)} has more than one digit and "
            "the encoder reads out one token; use the decoder"
        )
    return ids, mask, np.array([tokenize(text)[0] for text in answers])


def decoder_batch(questions):
    """Return ids (B, T) and targets (B, T) of question, answer, [EOS].

    Targets are -100, not scored, inside the question and the padding.
    """
    asked = [tokenize(question) for question in questions]
    told = [tokenize(answer(question)) for question in questions]
    rows, real = pad_rows([q + a + [EOS] for q, a in zip(asked, told)])
    ids = np.where(real[:, 1:], rows[:, :-1], PAD)
    targets = np.where(real[:, 1:], rows[:, 1:], -100)
    for row, question in zip(targets, asked):
        row[: len(question) - 1] = -100
    return ids, targets


def encoder(ids, params, config, mask=None):
    """Score the answer to each question where its last token stands.

    ids (B, T), mask (B, T) with True = a real token (None = all are)
    -> logits (B, V). Every position sees every real token.
    """
    mask = np.ones(ids.shape, dtype=bool) if mask is None else mask
    logits, cache = language_model(ids, params, config, mask[:, None, None])
    last = np.arange(len(ids)), mask.sum(axis=1) - 1
    return logits[last], (last, logits.shape, cache)


def encoder_backward(dout, cache):
    """Return grads; only where logits were read does a gradient come in."""
    last, shape, cache = cache
    dlogits = np.zeros(shape, dout.dtype)
    dlogits[last] = dout
    return language_model_backward(dlogits, cache)


def encoder_loss_and_grads(questions, params, config, rng=None):
    """Return the loss of a batch in nats per answer, and grads.

    Nothing is drawn: rng is there because train_step gives one.
    """
    ids, mask, targets = encoder_batch(questions)
    logits, cache = encoder(ids, params, config, mask)
    loss, loss_cache = cross_entropy(logits, targets)
    dlogits = cross_entropy_backward(1.0, loss_cache)
    return loss, encoder_backward(dlogits, cache)


def decoder_loss_and_grads(questions, params, config, rng=None):
    """Return the loss of a batch in nats per token answered, and grads."""
    return loss_and_grads(*decoder_batch(questions), params, config, rng)


def encoder_answers(questions, params, config):
    """Return the token with the highest score for each question."""
    ids, mask = pad_rows([tokenize(question) for question in questions])
    logits, _ = encoder(ids, params, config, mask)
    return [TOKENS[i] for i in logits.argmax(axis=-1)]


def decoder_answers(questions, params, config):
    """Return what the model writes behind each question, up to [EOS]."""
    prompts = [tokenize(question) for question in questions]
    settings = {"n_tokens": 3, "temperature": 0, "stop_id": EOS}
    rows = generate_batch(prompts, params, config, **settings)
    return [detokenize(row) for row in rows]


def start(config, settings, dtype=np.float64):
    """Draw a model to train, its tokens as loud as its positions.

    Sines and cosines have root mean square sqrt(1/2), token embeddings
    begin at 0.02; beside sinusoidal positions they are scaled up to that.
    """
    run = start_run(config, settings)
    if config.positions == "sinusoidal":
        run.params["token_embedding"]["weight"] *= 0.5**0.5 / 0.02
    run.params = map_arrays(lambda array: array.astype(dtype), run.params)
    betas = settings.beta1, settings.beta2
    run.optimizer = AdamW(run.params, settings.weight_decay, betas=betas)
    return run


def epochs_of(questions, batch_size):
    """Return draw(rng): the questions in random order, a batch at a time.

    When all have been shown they are shuffled anew.
    """
    left = []

    def draw(rng):
        if not left:
            order = rng.permutation(questions).tolist()
            for first in range(0, len(order), batch_size):
                left.append(order[first : first + batch_size])
        return (left.pop(0),)

    return draw


def share_right(questions, answer_all, params, config):
    """Return the share answered right, of all and by operation.

    An answer counts if it is right in full.
    """
    given = answer_all(questions, params, config)
    right = {key: [] for key in ("all", *OPERATIONS)}
    for question, text in zip(questions, given):
        for key in ("all", parse(question)[0]):
            right[key].append(text == answer(question))
    return {key: float(np.mean(r)) for key, r in right.items() if r}


@checked
def train_and_keep_best(run, train, valid, gradient, answer_all):
    """Train to the last step; return the parameters best on valid.

    Adds a row to run.log after each epoch. Of equals the later are kept.
    Raises ValueError if all steps are done already.
    """
    B, most = run.settings.batch_size, -1.0
    steps = train_steps(run, epochs_of(train, B), gradient)
    n = math.ceil(len(train) / B)
    while epoch := list(itertools.islice(steps, n)):
        loss = float(np.mean([loss for loss, _ in epoch]))
        shares = share_right(valid, answer_all, run.params, run.config)
        run.log.append({"step": run.step, "loss": loss} | shares)
        if shares["all"] >= most:
            most, best = shares["all"], map_arrays(np.copy, run.params)
    return best


def confusion(questions, given):
    """Count, for each operation asked, whose answers were given.

    Returns (5, 5) in the order of OPERATIONS: row = asked, column = the
    operation that would have said so. One answer may count in several.
    """
    names = list(OPERATIONS)
    table = np.zeros((len(names), len(names)), dtype=int)
    for question, text in zip(questions, given):
        row = names.index(parse(question)[0])
        table[row] += [text == answer(question, name) for name in names]
    return table


def without_heads(params, config, heads):
    """Return a copy of params in which some heads add nothing.

    heads [(layer, head), ...]. What a head writes passes its own rows of
    the output map; these become zero. Raises ValueError for no such head.
    """
    params = map_arrays(np.copy, params)
    D = config.d_model // config.n_heads
    for layer, head in heads:
        if not (0 <= layer < config.n_layers and 0 <= head < config.n_heads):
            raise ValueError(
                f"there is no head {head} in layer {layer}; choose of "
                f"{config.n_layers} layers and {config.n_heads} heads"
            )
        out = params["blocks"][layer]["attention"]["out"]
        out["weight"][head * D : (head + 1) * D] = 0.0
    return params


def head_drops(questions, params, config):
    """Return what removing each head costs, in points: (L, H, 5).

    The last axis is in the order of OPERATIONS.
    """
    setting = encoder_answers, params, config
    whole = share_right(questions, *setting)
    drops = np.zeros((config.n_layers, config.n_heads, len(OPERATIONS)))
    for layer, head in np.ndindex(drops.shape[:2]):
        rest = without_heads(params, config, [(layer, head)])
        shares = share_right(questions, encoder_answers, rest, config)
        drops[layer, head] = [
            100 * (whole[operation] - shares[operation])
            for operation in OPERATIONS
        ]
    return drops


def blindfolded(places, heads=slice(None)):
    """Return an encoder_answers where some tokens do not see the operation.

    places are those of the tokens, heads the heads in which they do not; the
    questions must be of equal length.
    """

    def answer_all(questions, params, config):
        ids = np.array([tokenize(question) for question in questions])
        T = ids.shape[1]
        mask = np.ones((1, config.n_heads, T, T), dtype=bool)
        for place in places:
            mask[:, heads, place, 0] = False
        logits, _ = language_model(ids, params, config, mask)
        return [TOKENS[i] for i in logits[:, -1].argmax(axis=-1)]

    return answer_all
