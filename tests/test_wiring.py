"""What is built of the parts is wired as it should be, against torch.

Nine steps of training equal a loop of torch's own optimizer and schedule;
losses over a text and bits per byte equal a sum over single tokens; batches,
the cache, masks, positions and counts do what they say. test_mutants.py runs
PROOFS on broken copies of the modules.
"""

import functools
import math
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch_reference as reference
from pairwise import config_of
from test_gradients import moved_params
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LinearLR, SequentialLR

from helpers import (
    attention,
    embeddings,
    generation,
    language_model,
    llama,
    tinystories,
    training,
)
from helpers.language_model import ModelConfig, init_params, loss_and_grads
from helpers.runs import loop, scoring
from helpers.runs.params import map_arrays, named_arrays
from helpers.tinystories import char_tokenizer
from helpers.training import TrainSettings


def equal(got, expected, rtol=1e-9, atol=1e-12):
    np.testing.assert_allclose(got, expected, rtol, atol)


CONFIG = ModelConfig(
    vocab_size=13,
    max_seq_len=7,
    d_model=12,
    n_heads=3,
    n_layers=2,
    d_ff=10,
    dropout=0.2,
)
SETTINGS = TrainSettings(  # nothing as it is by default
    steps=9,
    lr=0.03,
    warmup=3,
    decay="linear",
    final=0.2,
    weight_decay=0.4,
    beta1=0.6,
    beta2=0.8,
    max_norm=0.95,
    seed=4,
)
PROOFS = {}  # name: function of a module
MODULES = {}  # name: the module as it is


def proof_of(module):
    """Put a function on the list, under its name without prove_."""

    def add(prove):
        name = prove.__name__.removeprefix("prove_")
        PROOFS[name], MODULES[name] = prove, module
        return prove

    return add


# --- training ---


def draw(rng):
    """Return a batch of 3 windows of 5 random tokens."""
    windows = rng.integers(0, 13, (3, 6))
    return windows[:, :-1], windows[:, 1:]


def schedule_of(optimizer, s):
    """Return torch's linear warm-up and linear decay, one after the other."""
    up = LinearLR(optimizer, 1 / s.warmup, 1.0, s.warmup - 1)
    down = LinearLR(optimizer, 1.0, s.final, s.steps - s.warmup)
    return SequentialLR(optimizer, [up, down], [s.warmup])


@functools.cache
def train_with_torch():
    """Return rows of loss, norm and rate, and the parameters at the end."""
    s, rng = SETTINGS, np.random.default_rng(SETTINGS.seed)
    params = init_params(CONFIG, rng, np.float64)
    params = map_arrays(lambda a: torch.tensor(a, requires_grad=True), params)
    tensors = named_arrays(params).values()
    matrices = [t for t in tensors if t.ndim > 1]
    vectors = [t for t in tensors if t.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": s.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, s.lr, (s.beta1, s.beta2))
    schedule, rows = schedule_of(optimizer, s), []
    for _ in range(s.steps):
        ids, targets = map(torch.tensor, draw(rng))
        optimizer.zero_grad()
        loss = reference.loss(ids, targets, params, CONFIG, rng)
        loss.backward()
        norm = torch.cat([t.grad.flatten() for t in tensors]).norm()
        for t in tensors:
            t.grad *= min(1.0, s.max_norm / norm)
        rows.append([loss.item(), norm.item(), schedule.get_last_lr()[0]])
        optimizer.step()
        schedule.step()
    return rows, {n: t.detach() for n, t in named_arrays(params).items()}


@proof_of(training)
def prove_train_steps(module):
    """Decay, warm-up, betas, clipping, dropout, weight decay, the count."""
    rows, tensors = train_with_torch()
    run, steps = module.start_run(CONFIG, SETTINGS, np.float64), 0
    for loss, norm in module.train_steps(run, draw):
        steps += 1
        assert run.step == steps <= len(rows)
        equal([loss, norm, run.optimizer.lr], rows[steps - 1])
    assert steps == len(rows)
    for name, array in named_arrays(run.params).items():
        equal(array, tensors[name], atol=1e-9)


def test_some_of_the_nine_steps_are_clipped():
    norms = [norm for _, norm, _ in train_with_torch()[0]]
    assert min(norms) < SETTINGS.max_norm < max(norms)


@proof_of(training)
def prove_own_gradient(module):
    """Every step asks the gradient it is given, and does what that says."""
    run, asked = module.start_run(CONFIG, SETTINGS), []

    def gradient(*arguments):
        asked.append(arguments)
        return loss_and_grads(*arguments)

    for _ in module.train_steps(run, draw, gradient=gradient):
        assert len(asked) == run.step
        *_, params, config, rng = asked[-1]
        assert params is run.params and config is CONFIG and rng is run.rng
    assert len(asked) == SETTINGS.steps


@proof_of(training)
def prove_bad_number(module):
    """A loss that is no number stops, with everything as it was."""
    run = module.start_run(CONFIG, SETTINGS)
    before = named_arrays(map_arrays(np.copy, run.params))

    def gradient(*arguments):
        return math.nan, loss_and_grads(*arguments)[1]

    try:
        module.train_step(run, *draw(run.rng), gradient=gradient)
    except ValueError:
        assert run.step == 0
        for name, array in named_arrays(run.params).items():
            np.testing.assert_array_equal(array, before[name])
    else:
        raise AssertionError("nothing stopped")


# --- the loss of a text ---


def nats_with_torch(ids, params, config):
    """Return minus the log probability of each id after the first."""
    params = map_arrays(torch.tensor, params)
    ids = torch.tensor(np.asarray(ids, dtype=np.int64))
    logits = reference.language_model(ids[None, :-1], params, config)[0]
    return cross_entropy(logits, ids[1:], reduction="none").tolist()


def story_nats_with_torch(ids, params, config):
    """Score each token of a story by itself, behind half a window or more."""
    T, nats = config.max_seq_len, []
    stride = T - T // 2
    for place in range(1, len(ids)):
        windows = 0 if place <= T else 1 + (place - T - 1) // stride
        behind = ids[windows * stride : place + 1]
        nats += nats_with_torch(behind, params, config)[-1:]
    return nats


@functools.cache
def text_case(T):
    """Return a model, tokens, and what they cost in windows of T."""
    config = config_of("2x5")
    params = moved_params(config, np.random.default_rng(0))
    tokens = np.random.default_rng(1).integers(0, 11, 20).astype(np.uint16)
    windows = [tokens[start : start + T + 1] for start in range(0, 19, T)]
    nats = [nats_with_torch(window, params, config) for window in windows]
    return params, config, tokens, sum(nats, [])


@proof_of(training)
def prove_evaluate(module):
    for T in (3, 8):
        params, config, tokens, nats = text_case(T)
        assert len(nats) == 19
        got = module.evaluate(tokens, params, config, B=2, T=T)
        equal(got, np.mean(nats))
    assert config.max_seq_len == T
    equal(module.evaluate(tokens, params, config), got)


@functools.cache
def stories_case():
    """Return a model, stories as ids, and what torch says they cost."""
    config = config_of("2x5", norm="post", positions="sinusoidal")
    params = moved_params(config, np.random.default_rng(0))
    rng = np.random.default_rng(2)
    lengths = (3, 20, 0, 7, 8)
    stories = [np.array([0, *rng.integers(1, 11, n), 0]) for n in lengths]
    nats = [story_nats_with_torch(ids, params, config) for ids in stories]
    return params, config, stories, nats


@proof_of(scoring)
def prove_token_nats(module):
    params, config, stories, nats = stories_case()
    for ids, expected in zip(stories, nats):
        got = module.token_nats(ids, params, config)
        assert got.shape == (len(ids) - 1,)
        equal(got, expected)


@proof_of(loop)
def prove_evaluate_stories(module):
    params, config, stories, nats = stories_case()
    tokens = np.concatenate([[0], *(ids[1:] for ids in stories)])
    got = module.evaluate_stories(tokens, params, config)
    equal(got, np.concatenate(nats).mean())


STORIES = ["Tim sat.", "", "A cat sat on a mat.", "été 🐈"]
TOKENIZER = char_tokenizer("".join(STORIES))


@functools.cache
def letters_case():
    """Return a model of letters and what the stories cost it."""
    config = replace(config_of("2x5"), vocab_size=TOKENIZER.vocab_size)
    params, nats = moved_params(config, np.random.default_rng(0)), []
    end = TOKENIZER.end_of_text
    for story in STORIES:
        ids = [end, *TOKENIZER.encode(story), end]
        nats += story_nats_with_torch(ids, params, config)
    return params, config, nats


@proof_of(training)
def prove_bits_per_byte(module):
    params, config, nats = letters_case()
    got = module.bits_per_byte(STORIES, TOKENIZER, params, config)
    equal(got, sum(nats) / math.log(2) / (8 + 19 + 10))


# --- batches ---


@proof_of(tinystories)
def prove_sample_batch(module):
    """Every window of 6 in 12 tokens that count up, and no other."""
    tokens = np.arange(100, 112, dtype=np.uint16)
    for starts, firsts in ((None, range(7)), (np.array([2, 5]), (2, 5))):
        rng, again = np.random.default_rng(0), np.random.default_rng(0)
        ids, targets = module.sample_batch(tokens, 200, 5, rng, starts)
        assert set(ids[:, 0] - 100) == set(firsts)
        np.testing.assert_array_equal(ids, ids[:, :1] + np.arange(5))
        np.testing.assert_array_equal(targets, ids + 1)
        assert ids.dtype == targets.dtype == np.int64
        assert not np.shares_memory(ids, targets)
        same, _ = module.sample_batch(tokens, 200, 5, again, starts)
        np.testing.assert_array_equal(same, ids)


@proof_of(tinystories)
def prove_story_starts(module):
    tokens = np.array([7, 1, 2, 7, 7, 3, 4, 5, 7, 6, 7])
    for T, starts in ((1, [0, 3, 4, 8]), (2, [0, 3, 4, 8]), (3, [0, 3, 4])):
        assert module.story_starts(tokens, T).tolist() == starts


# --- the cache ---

KINDS = (("learned", "pre"), ("sinusoidal", "post"))
LLAMAS = (("rope", "rms", 2), ("rope", "post", None), ("learned", "rms", 1))


@functools.cache
def model_of(positions, norm, n_kv_heads=None):
    """Return params and config of one of the models."""
    kind = {"positions": positions, "norm": norm, "n_kv_heads": n_kv_heads}
    config = config_of("2x5", **kind)
    return moved_params(config, np.random.default_rng(7)), config


@functools.cache
def logits_with_torch(ids, *kind):
    """Return what follows each of a tuple of ids, (T, V)."""
    params, config = model_of(*kind)
    params = map_arrays(torch.tensor, params)
    ids = torch.tensor([ids])
    return reference.language_model(ids, params, config)[0].numpy()


@proof_of(generation)
def prove_next_logits(module, kinds=KINDS):
    """Chunk after chunk, as if the whole had been read at once."""
    ids = np.random.default_rng(4).integers(0, 11, (2, 8))
    for kind in kinds:
        params, config = model_of(*kind)
        rows = [logits_with_torch(tuple(row), *kind) for row in ids.tolist()]
        kv, start = module.KVCache(params, config, 2), 0
        for end in (3, 4, 6, 7, 8):
            got = module.next_logits(ids[:, start:end], params, config, kv)
            equal(got, [row[end - 1] for row in rows])
            assert kv.length == end
            start = end


@proof_of(generation)
def prove_padding(module, kinds=KINDS):
    """Rows of different length, as if each were alone."""
    for kind in kinds:
        params, config = model_of(*kind)
        prompts = [(3, 1, 4, 1, 5), (9, 2)]
        ids, padding = module.pad_left(prompts)
        kv = module.KVCache(params, config, 2, padding)
        for new in ((6, 5), (0, 7), (8, 8)):
            got = module.next_logits(ids, params, config, kv)
            equal(got, [logits_with_torch(p, *kind)[-1] for p in prompts])
            ids = np.array(new)[:, None]
            prompts = [(*p, i) for p, i in zip(prompts, new)]


@proof_of(llama)
def prove_llama_cache(module):
    """The same, with the cached attentions of a copy of appendix A4."""
    theirs = {
        "grouped": module.cached_grouped_attention,
        "rope": module.cached_rope_attention,
    }
    with patch.dict(generation.CACHED_ATTENTIONS, theirs):
        prove_next_logits(generation, LLAMAS)
        prove_padding(generation, LLAMAS)


# --- sampling ---


def probs_by_hand(
    logits,
    ids,
    repetition_penalty=1.0,
    temperature=1.0,
    top_k=11,
    top_p=1.0,
    min_p=0.0,
):
    """Say the rules of sampling once more, token after token."""
    odds = {}
    for i, logit in enumerate(logits.tolist()):
        if i in ids and logit > 0:
            logit /= repetition_penalty
        elif i in ids:
            logit *= repetition_penalty
        odds[i] = math.exp(logit / temperature)
    best = sorted(odds, key=odds.get, reverse=True)[:top_k]
    total, mass = sum(odds[i] for i in best), 0.0
    kept = []
    for i in best:
        if mass < top_p * total and odds[i] >= min_p * odds[best[0]]:
            kept.append(i)
        mass += odds[i]
    total = sum(odds[i] for i in kept)
    return np.array([odds[i] / total * (i in kept) for i in odds])


@proof_of(generation)
def prove_sample_steps(module):
    """Each token is drawn from what the rules make of the logits."""
    params, config = model_of(*KINDS[0])
    for knobs in (
        {"repetition_penalty": 1.3},
        {"temperature": 0.7, "top_k": 4},
        {"top_p": 0.8},
        {"min_p": 0.2, "temperature": 2.0},
    ):
        twin, ids = np.random.default_rng(5), (1, 2)
        options = {"n_tokens": 6, "rng": np.random.default_rng(5), **knobs}
        for token, got in module.sample_steps(ids, params, config, **options):
            logits = logits_with_torch(ids, *KINDS[0])[-1]
            probs = probs_by_hand(logits, ids, **knobs)
            equal(got, probs)
            assert token == np.flatnonzero(probs.cumsum() > twin.random())[0]
            ids = (*ids, token)
        assert len(ids) == 8


@proof_of(generation)
def prove_generate(module):
    """One by one and as a batch the same, up to stop_id."""
    params, config = model_of(*KINDS[1])
    prompts, rows = [(3, 1, 4), (1,), (5, 9)], []
    options = {"temperature": 0, "repetition_penalty": 1e6, "n_tokens": 5}
    for prompt in prompts:
        ids = prompt
        for _ in range(5):
            logits = logits_with_torch(ids, *KINDS[1])[-1]
            ids = (*ids, int(probs_by_hand(logits, ids, 1e6).argmax()))
        rows.append(list(ids[len(prompt) :]))
    stop = rows[0][2]
    cut = [row[: row.index(stop)] if stop in row else row for row in rows]
    assert len({len(row) for row in cut}) > 1
    for expected, more in ((rows, {}), (cut, {"stop_id": stop})):
        got = module.generate_batch(prompts, params, config, **options, **more)
        assert got == expected
        for prompt, row in zip(prompts, expected):
            got = module.generate(prompt, params, config, **options, **more)
            assert got == row


# --- masks, positions, first numbers, counts ---


@proof_of(attention)
def prove_causal_mask(module):
    for T in (1, 2, 5):
        mask, expected = module.causal_mask(T), torch.ones(T, T).tril()
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, expected.bool())


@proof_of(embeddings)
def prove_sinusoidal_positions(module):
    for T, C in ((1, 1), (5, 12), (7, 5), (40, 6)):
        got = module.sinusoidal_positions(T, C)
        equal(got, reference.sinusoidal_positions(T, C))


@proof_of(language_model)
def prove_init_params(module):
    """The numbers of GPT-2, section 2.3: 0.02, less into the residual."""
    config = replace(
        config_of("2x5", tied_head=False),
        vocab_size=500,
        max_seq_len=400,
        d_model=60,
        d_ff=300,
    )
    params = module.init_params(config, np.random.default_rng(0))
    for name, array in named_arrays(params).items():
        assert array.dtype == np.float32
        if array.ndim == 1:
            one = "norm" in name and name.endswith("weight")
            np.testing.assert_array_equal(array, float(one))
        else:
            small = name.endswith(("out.weight", "down.weight"))
            std = 0.02 / math.sqrt(2 * 2) if small else 0.02
            equal(array.std(), std, rtol=0.05)
            equal(array.mean(), 0.0, atol=4 * std / math.sqrt(array.size))


@proof_of(language_model)
def prove_init_llama(module):
    """The shapes of Llama's parts: no bias on a norm, G heads, a gate."""
    config = config_of("2x5", norm="rms", activation="swiglu", n_kv_heads=2)
    C, F = config.d_model, config.d_ff
    params = module.init_params(config, np.random.default_rng(0))
    block = params["blocks"][0]
    for norm in (block["norm1"], block["norm2"], params["final_norm"]):
        assert list(norm) == ["weight"] and (norm["weight"] == 1).all()
    assert block["attention"]["qkv"]["weight"].shape == (C, 2 * C)
    assert block["feed_forward"]["up"]["weight"].shape == (C, 2 * F)
    assert block["feed_forward"]["down"]["weight"].shape == (F, C)


@proof_of(language_model)
def prove_count_params(module):
    config = config_of("2x5")
    C, H, F = config.d_model, config.n_heads, config.d_ff
    layer = torch.nn.TransformerEncoderLayer(C, H, F)
    expected = 2 * sum(tensor.numel() for tensor in layer.parameters())
    expected += (config.vocab_size + config.max_seq_len + 2) * C
    params = init_params(config, np.random.default_rng(0))
    assert module.count_params(params) == expected


@proof_of(language_model)
def prove_accuracy(module):
    logits = np.eye(4)[[[2, 0, 1], [3, 3, 0]]]
    targets = np.array([[2, 0, 3], [0, 3, -100]])
    assert module.accuracy(logits, targets) == 3 / 5
    assert module.accuracy(logits, targets, ignore_index=3) == 2 / 4


@proof_of(language_model)
def prove_perplexity(module):
    equal(module.perplexity(math.log(50.0)), 50.0)


@pytest.mark.parametrize("name", PROOFS)
def test_equals_reference(name):
    PROOFS[name](MODULES[name])
