"""What the functions of lesson 04 are tried on."""

from dataclasses import replace

import numpy as np

from helpers import language_model as shelf
from helpers.checks.cases import pair, refusal, value
from helpers.runs.params import map_arrays, named_arrays

V, B, T = 11, 2, 5
CONFIG = shelf.ModelConfig(
    vocab_size=V, max_seq_len=8, d_model=6, n_heads=2, n_layers=2, d_ff=7
)
OTHER = replace(
    CONFIG,
    norm="post",
    activation="relu",
    positions="sinusoidal",
    tied_head=False,
    bias=False,
)
DROPOUT = replace(CONFIG, dropout=0.25)
IDS = np.array([[3, 1, 3, 3, 0], [6, 10, 1, 5, 6]])  # some more than once
TARGETS = np.array([[1, 3, 3, 0, 7], [10, 1, 4, 6, 2]])
ROWS_AT_2 = [1, 3, 4, 6, 10]  # exercise 2
IGNORED = np.array([[1, 3, -100, 0, 7], [10, -100, -100, 6, 2]])


def log_softmax(rng):
    x = 3 * rng.normal(size=(B, T, 7))
    yield value("rows of 7", x)
    yield value("a single row", x[0, 0])
    sure = np.array([[-1000.0, 0.0]])
    yield value("logits of 0 and 1000", -sure[:, ::-1], expected=sure)
    yield value("equal logits", np.ones((3, V)))
    yield value("rows of different size", x + 50 * np.arange(T)[:, None])


def cross_entropy(rng):
    logits = 3 * rng.normal(size=(B, T, V))
    yield pair("a target in each place", logits, TARGETS)
    yield pair("some targets ignored", logits, IGNORED)
    some = np.where(IGNORED < 0, 3, IGNORED)
    yield pair("another ignore_index", logits, some, ignore_index=3)
    yield pair("rows without a batch", logits[0], TARGETS[0])
    yield pair("a single row", logits[:1, :1], TARGETS[:1, :1])
    yield pair("a sure model", 60 * logits, IGNORED)
    yield refusal("targets that are all ignored", logits, 0 * TARGETS - 100)
    yield refusal("a target outside the vocabulary", logits, TARGETS + 1)
    yield refusal("a target of -1", logits, TARGETS - 1)
    yield refusal("targets of another shape", logits, TARGETS[:, :-1])


def accuracy(rng):
    def share(title, *arguments, **settings):
        return value(title, *arguments, keeps_dtype=False, **settings)

    logits = rng.normal(size=(B, T, V))
    best, worst = logits.argmax(axis=-1), logits.argmin(axis=-1)
    mixed = best.copy()
    mixed[0, :2], mixed[0, 2:4] = worst[0, :2], (best[0, 2:4] + 1) % V
    yield share("six of ten right", logits, mixed, expected=0.6)
    few = mixed.copy()
    few[:, 3:] = few[0, 0] = -100  # 5 count, of which 3 are right
    yield share("half of the targets ignored", logits, few, expected=0.6)
    yield share("all right", logits, best, expected=1.0)
    yield share("all wrong", logits, worst, expected=0.0)
    no = int(best[1, 4])
    yield share("an id as ignore_index", logits, mixed, ignore_index=no)


def count_params(rng):
    map_one = {"weight": np.zeros((5, 3)), "bias": np.zeros(3)}
    yield value("a linear map", map_one, expected=18)
    blocks = {"blocks": [map_one, map_one, map_one]}
    yield value("a list of three maps", blocks, expected=54)
    params = shelf.init_params(CONFIG, rng)
    yield value("a model of two blocks", params)
    yield value("a model without biases", shelf.init_params(OTHER, rng))


def init_linear(rng):
    seeded = {"rng": np.random.default_rng(5), "M": 3, "N": 5}
    yield value("3 to 5 channels", CONFIG, **seeded)
    small = seeded | {"rng": np.random.default_rng(5), "std": 0.01}
    yield value("a smaller std", CONFIG, **small)
    bare = seeded | {"rng": np.random.default_rng(5)}
    yield value("bias=False", OTHER, **bare)


def init_norm(rng):
    for C in (3, 1):
        wanted = {"weight": np.ones(C), "bias": np.zeros(C)}
        yield value(f"C = {C}", C, expected=wanted)


def perplexity(rng):
    yield value("a loss of 0", 0.0, expected=1.0)
    yield value("eight equal choices", np.log(8.0).item(), expected=8.0)
    yield value("a loss of 1", 1.0, expected=np.e)


def embed(rng):
    tokens = {"token_embedding": {"weight": rng.normal(size=(V, 6))}}
    table = {"position_embedding": {"weight": rng.normal(size=(8, 6))}}
    learned, full = tokens | table, np.arange(16).reshape(2, 8) % V
    yield pair("learned positions", IDS, learned, CONFIG)
    yield pair("sinusoidal positions", IDS, tokens, OTHER)
    yield pair("T = max_seq_len", full, learned, CONFIG)
    yield pair("T = 1", IDS[:, :1], learned, CONFIG)
    yield pair("dropout", IDS, learned, DROPOUT, np.random.default_rng(3))
    sinusoidal = replace(OTHER, dropout=0.5)
    seeded = {"rng": np.random.default_rng(4)}
    yield pair("dropout without a table", IDS, tokens, sinusoidal, **seeded)
    yield pair("dropout in evaluation", IDS, learned, DROPOUT)
    long = np.zeros((1, 9), int)
    yield refusal("ids without a batch axis", IDS[0], learned, CONFIG)
    yield refusal("more ids than max_seq_len", long, tokens, OTHER)
    yield refusal("an id of -1", IDS - 1, learned, CONFIG)
    yield refusal("an id of vocab_size", IDS + 1, learned, CONFIG)


def head(rng):
    x, weight = rng.normal(size=(B, T, 6)), rng.normal(size=(V, 6))
    tied = {"token_embedding": {"weight": weight}}
    own = {"head": {"weight": rng.normal(size=(6, V))}}
    yield pair("a tied head", x, tied)
    yield pair("a head of its own", x, own)
    yield pair("a head of its own beside a table", x, own, use=_beside_a_table)
    yield pair("T = 1", x[:, :1], tied)


def _beside_a_table(op, op_backward):
    """Let a head meet the token table of a model that is not tied."""

    def head(x, params):
        table = {"token_embedding": {"weight": np.ones((V, 6), x.dtype)}}
        return op(x, table | params)

    return head, op_backward


def language_model(rng):
    params, other = _params(CONFIG, rng), _params(OTHER, rng)
    yield pair("GPT-2's kind", IDS, params, CONFIG)
    yield pair("post-norm and a head of its own", IDS, other, OTHER)
    untied = replace(CONFIG, tied_head=False, n_layers=1)
    yield pair(
        "pre-norm and a head of its own", IDS, _params(untied, rng), untied
    )
    tied = replace(OTHER, tied_head=True, n_layers=1)
    yield pair("post-norm and a tied head", IDS, _params(tied, rng), tied)
    mask = np.eye(T, dtype=bool) | (rng.random((T, T)) < 0.5)
    yield pair("a mask", IDS, params, CONFIG, mask)
    dropout = replace(untied, dropout=0.25)
    seeded = {"rng": np.random.default_rng(3)}
    yield pair("dropout", IDS, _params(untied, rng), dropout, **seeded)
    yield pair("T = 1", IDS[:, :1], _params(untied, rng), untied)
    long = np.zeros((1, 9), int)
    yield refusal("more ids than max_seq_len", long, params, CONFIG)
    yield refusal("an id of -1", IDS - 1, params, CONFIG)


def loss_and_grads(rng):
    small = replace(CONFIG, n_layers=1)
    params = _params(small, rng)
    use = {"use": _named}
    yield value("a batch", IDS, TARGETS, params, small, **use)
    yield value("some targets ignored", IDS, IGNORED, params, small, **use)
    dropout = replace(small, dropout=0.25)
    use["rng"] = np.random.default_rng(3)
    yield value("dropout", IDS, TARGETS, params, dropout, **use)


def _named(function, *arguments, **settings):
    """Return {"loss": loss, "token_embedding.weight": gradient, ...}."""
    loss, grads = function(*arguments, **settings)
    return {"loss": loss} | named_arrays(grads)


def _params(config, rng):
    """Return parameters of a model, no bias 0 and no norm's weight 1."""
    params = shelf.init_params(config, rng, np.float64)
    return map_arrays(lambda a: a + 0.3 * rng.normal(size=a.shape), params)
