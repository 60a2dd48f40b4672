"""Training does what it says, to the last digit where that is possible.

Optimizers and clipping equal torch's, the schedule hits its corners, every
target is scored once, ten examples can be learned by heart, and a run that
was interrupted, saved and loaded goes on bit for bit as if nothing had been.
test_mutants.py runs PROOFS on broken copies of the module.
"""

import math
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import training
from helpers.checks import Mistake, check_optimizer, torch_ops
from helpers.language_model import (
    ModelConfig,
    cross_entropy,
    init_params,
    language_model,
    log_softmax,
)
from helpers.runs import checkpoints, loop, scoring, speed
from helpers.runs.guards import check_finite
from helpers.runs.params import map_arrays, named_arrays
from helpers.tinystories import (
    bpe_tokenizer,
    char_tokenizer,
    sample_batch,
    story_starts,
    tokenize_stories,
    train_bpe,
)
from helpers.training import TrainSettings, start_run

CONFIG = ModelConfig(
    vocab_size=13, max_seq_len=8, d_model=12, n_heads=3, n_layers=2, d_ff=16
)
SETTINGS = TrainSettings(
    steps=9, batch_size=3, seq_len=6, warmup=2, eval_every=4, seed=5
)


# --- optimizers, compared with torch ---


def random_tree(rng):
    return {
        "a": {"weight": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)},
        "blocks": [{"weight": rng.normal(size=(2, 5))}],
    }


def compare_with_torch(optimizer_class, torch_class, torch_groups, **settings):
    """Take 10 steps with random gradients and changing rates in both."""
    rng = np.random.default_rng(0)
    params = random_tree(rng)
    tensors = {n: torch.tensor(a) for n, a in named_arrays(params).items()}
    optimizer = optimizer_class(params, **settings)
    reference = torch_class(torch_groups(tensors.values()))
    for step in range(10):
        grads = random_tree(rng)
        for name, grad in named_arrays(grads).items():
            tensors[name].grad = torch.tensor(grad)
        if step:  # the first step takes the usual rate
            optimizer.lr = 0.3 / (step + 1)
            for group in reference.param_groups:
                group["lr"] = optimizer.lr
        optimizer.step(grads)
        reference.step()
        for name, array in named_arrays(params).items():
            np.testing.assert_allclose(
                array, tensors[name].numpy(), rtol=1e-12, atol=1e-12
            )


def prove_sgd(module):
    for settings in ({"lr": 0.2}, {"lr": 0.2, "momentum": 0.9}):
        compare_with_torch(
            module.SGD,
            torch.optim.SGD,
            lambda tensors, s=settings: [{"params": list(tensors), **s}],
            **settings,
        )


def prove_adam(module):
    for settings in (
        {"lr": 0.1},
        {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3},
    ):
        compare_with_torch(
            module.Adam,
            torch.optim.Adam,
            lambda tensors, s=settings: [{"params": list(tensors), **s}],
            **settings,
        )


def prove_adamw(module):
    settings = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}

    def groups(tensors):
        matrices = [t for t in tensors if t.ndim >= 2]
        vectors = [t for t in tensors if t.ndim < 2]
        return [
            {"params": matrices, "weight_decay": 0.3, **settings},
            {"params": vectors, "weight_decay": 0.0, **settings},
        ]

    compare_with_torch(
        module.AdamW, torch.optim.AdamW, groups, weight_decay=0.3, **settings
    )


# torch divides by norm + 1e-6; with norms of 1e7 that is lost in rounding
def prove_clip(module):
    for max_norm, size in ((1e6, 1e7), (3.0, 1e7), (2.0, 0.01)):
        grads = random_tree(np.random.default_rng(1))
        grads = map_arrays(lambda g, s=size: g * s, grads)
        tensors = []
        for grad in named_arrays(grads).values():
            tensors.append(torch.zeros(grad.shape, dtype=torch.float64))
            tensors[-1].grad = torch.tensor(grad)
        expected = torch.nn.utils.clip_grad_norm_(tensors, max_norm)
        norm = module.clip_grad_norm(grads, max_norm)
        np.testing.assert_allclose(norm, float(expected), rtol=1e-12)
        for grad, tensor in zip(named_arrays(grads).values(), tensors):
            np.testing.assert_allclose(grad, tensor.grad, rtol=1e-12)


CORNERS = [  # step, decay, rate for peak 2, warm-up 4, total 12, final 0.1
    (0, "cosine", 0.5),
    (3, "cosine", 2.0),
    (4, "cosine", 2.0),
    (6, "cosine", 0.2 + 1.8 * (0.5 + math.sqrt(0.5) / 2)),
    (8, "cosine", 1.1),
    (12, "cosine", 0.2),
    (99, "cosine", 0.2),
    (1, "linear", 1.0),
    (4, "linear", 2.0),
    (6, "linear", 1.55),
    (12, "linear", 0.2),
    (13, "linear", 0.2),
]


def prove_learning_rate(module):
    for step, decay, expected in CORNERS:
        got = module.learning_rate(step, 2.0, 4, 12, decay, final=0.1)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


PROOFS = {
    "SGD": prove_sgd,
    "Adam": prove_adam,
    "AdamW": prove_adamw,
    "clip_grad_norm": prove_clip,
    "learning_rate": prove_learning_rate,
}


@pytest.mark.parametrize("name", PROOFS)
def test_equals_reference(name):
    PROOFS[name](training)


# what lesson 06 asks of an optimizer


def test_check_optimizer_says_what_it_compared():
    report = check_optimizer(training.SGD, torch_ops.SGD, lr=0.1)
    assert (
        str(report)
        == "SGD matches torch after 10 steps (float64 to 1e-12): a, b, c"
    )


def early(self, grads):
    """Step as Adam does with a count that is one ahead."""
    self.state["step"] += 1
    training.Adam.step(self, grads)
    self.state["step"] -= 1


def all_decay(self, grads):
    for array in self.params.values():
        array *= 1 - self.lr * self.weight_decay
    training.Adam.step(self, grads)


def only_the_first(self, grads):
    training.Adam.step(self, {"a": grads["a"]})


WRONG_STEPS = {
    "Adam counts ahead": (training.Adam, early, {}),
    "AdamW lets vectors decay": (training.AdamW, all_decay, {}),
    "AdamW forgets to decay": (training.AdamW, training.Adam.step, {}),
    "Adam forgets arrays": (training.Adam, only_the_first, {}),
    "SGD climbs": (training.SGD, None, {"lr": -0.1}),
}


@pytest.mark.parametrize("name", WRONG_STEPS)
def test_check_optimizer_notices(name):
    kind, step, settings = WRONG_STEPS[name]
    wrong = type(kind.__name__, (kind,), {"step": step} if step else {})
    if settings:
        wrong.__init__ = lambda self, params, lr: kind.__init__(
            self, params, **settings
        )
    theirs = getattr(torch_ops, kind.__name__)
    decay = {"weight_decay": 0.3} if kind is training.AdamW else {}
    with pytest.raises(Mistake, match=r"is wrong by .* after step \d+"):
        check_optimizer(wrong, theirs, lr=0.1, **decay)


@pytest.mark.parametrize("decay", ["cosine", "linear"])
@pytest.mark.parametrize("warmup, total", [(0, 5), (5, 5), (7, 5), (0, 1)])
def test_learning_rate_at_odd_lengths(decay, warmup, total):
    rates = [
        training.learning_rate(step, 1.0, warmup, total, decay)
        for step in range(12)
    ]
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1)
    top = max(warmup - 1, 0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


# --- evaluation ---


def moved_params(config, seed=0):
    """Large random weights: a window in the wrong place shows at once."""
    rng = np.random.default_rng(seed)
    params = init_params(config, rng, np.float64)
    return map_arrays(lambda a: a + rng.normal(0, 0.3, a.shape), params)


def plain_loss(tokens, params, config, T):
    """Score window after window, one target after the other."""
    losses = []
    for start in range(0, len(tokens) - 1, T):
        window = np.array(tokens[start : start + T + 1], dtype=np.int64)
        logits, _ = language_model(window[None, :-1], params, config)
        log_probs = log_softmax(logits[0])
        losses += [-row[t] for row, t in zip(log_probs, window[1:])]
    assert len(losses) == len(tokens) - 1
    return np.mean(losses)


@pytest.mark.parametrize("n", [2, 3, 8, 9, 10, 17, 40])
@pytest.mark.parametrize("B", [1, 2, 16])
def test_evaluate_equals_a_plain_loop(n, B):
    tokens = np.random.default_rng(n).integers(0, 13, n).astype(np.uint16)
    params = moved_params(CONFIG)
    for T in (None, 1, 3, 8):
        got = training.evaluate(tokens, params, CONFIG, B=B, T=T)
        expected = plain_loss(tokens, params, CONFIG, T or 8)
        assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [2, 8, 9, 10, 31])
def test_evaluate_scores_every_target_once(n, monkeypatch):
    scored = []

    def spy(logits, targets):
        scored.extend(targets[targets >= 0])
        return cross_entropy(logits, targets)

    monkeypatch.setattr(training, "cross_entropy", spy)
    tokens = np.random.default_rng(n).integers(0, 13, n)
    training.evaluate(tokens, moved_params(CONFIG), CONFIG, B=2)
    assert scored == list(tokens[1:])


@given(n=st.integers(0, 70), T=st.integers(1, 20))
def test_story_windows_score_every_target_once(n, T):
    ids = list(range(100, 100 + n))
    scored = []
    for inputs, targets in scoring.story_windows(ids, T):
        assert 1 <= len(inputs) == len(targets) <= T
        fresh = np.flatnonzero(targets >= 0)
        assert len(fresh) > 0
        for place in fresh:
            assert targets[place] == inputs[place] + 1  # one further on
            if inputs[0] != 100:  # not the first window
                assert place + 1 >= T / 2
        scored += list(targets[fresh])
    assert scored == ids[1:]


STORIES = ["Tim sat.", "A cat sat on a mat.", "été 🐈", ""]


def test_bits_per_byte_equals_direct_computation():
    tokenizer = char_tokenizer("".join(STORIES))
    sizes = {"d_model": 6, "n_heads": 2, "n_layers": 1, "d_ff": 8}
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, max_seq_len=32, **sizes
    )
    params, nats, end = moved_params(config), 0.0, tokenizer.end_of_text
    for story in STORIES:
        ids = np.array([end, *tokenizer.encode(story), end])
        logits, _ = language_model(ids[None, :-1], params, config)
        log_probs = log_softmax(logits[0])
        nats -= sum(log_probs[i, t] for i, t in enumerate(ids[1:]))
    n_bytes = 8 + 19 + 10
    got = training.bits_per_byte(STORIES, tokenizer, params, config)
    assert got == pytest.approx(nats / n_bytes / math.log(2), rel=1e-12)


@pytest.mark.parametrize("max_seq_len", [1, 2, 5, 7, 64])
def test_bits_per_byte_counts_every_token_once(max_seq_len):
    """A model that finds all tokens equally likely gives the count away."""
    tokenizer = char_tokenizer("".join(STORIES))
    V = tokenizer.vocab_size
    sizes = {"d_model": 4, "n_heads": 2, "n_layers": 1, "d_ff": 4}
    config = ModelConfig(vocab_size=V, max_seq_len=max_seq_len, **sizes)
    params = init_params(config, np.random.default_rng(0), np.float64)
    params = map_arrays(np.zeros_like, params)
    n_tokens = sum(len(story) + 1 for story in STORIES)
    got = training.bits_per_byte(STORIES, tokenizer, params, config)
    assert got == pytest.approx(n_tokens * math.log2(V) / 37, rel=1e-12)


# --- learning ---


@pytest.mark.parametrize(
    "norm, positions", [("pre", "learned"), ("post", "sinusoidal")]
)
def test_ten_examples_are_learned_by_heart(norm, positions):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 13, (10, 9))
    tokens[:, 0] = np.arange(10)  # the first token says which one it is
    config = ModelConfig(
        vocab_size=13,
        max_seq_len=8,
        d_model=24,
        n_heads=3,
        n_layers=2,
        d_ff=48,
        norm=norm,
        positions=positions,
    )
    settings = TrainSettings(steps=150, lr=1e-2, warmup=10, weight_decay=0)
    run = start_run(config, settings)
    first, _ = training.train_step(run, tokens[:, :-1], tokens[:, 1:])
    for _ in range(149):
        loss, _ = training.train_step(run, tokens[:, :-1], tokens[:, 1:])
    assert first > 2
    assert loss < 0.05


def test_train_logs_and_improves(tmp_path):
    tokens = np.tile(np.arange(13), 20).astype(np.uint16)
    settings = TrainSettings(
        steps=50, batch_size=4, seq_len=8, warmup=5, lr=1e-2, eval_every=20
    )
    run = start_run(CONFIG, settings)
    log = loop.train_on_stories(run, tokens, tokens[:60], progress=False)
    assert [row["step"] for row in log] == [20, 40, 50]
    assert [row["tokens"] for row in log] == [640, 1280, 1600]
    assert log[-1]["valid_loss"] < log[0]["valid_loss"] < math.log(13)
    expected = training.evaluate(tokens[:60], run.params, CONFIG, T=8)
    assert log[-1]["valid_loss"] == expected


def test_train_step_uses_schedule_and_clipping():
    """One step by hand, from the same state."""
    rng = np.random.default_rng(2)
    ids, targets = rng.integers(0, 13, (2, 3, 6))
    settings = TrainSettings(lr=0.1, warmup=4, max_norm=0.05)
    run, twin = (start_run(CONFIG, settings) for _ in range(2))
    _, grads = speed.batch_loss_and_grads(ids, targets, twin.params, CONFIG)
    norm = training.clip_grad_norm(grads, 0.05)
    twin.optimizer.lr = 0.025
    twin.optimizer.step(grads)
    assert norm > 0.05
    gradient = speed.batch_loss_and_grads
    assert training.train_step(run, ids, targets, gradient=gradient)[1] == norm
    assert_same_run(run, twin, step=1)


# --- checkpoints ---


def tokens_of(seed, n=200):
    return np.random.default_rng(seed).integers(0, 13, n).astype(np.uint16)


def assert_same_run(run, other, step):
    """Bit for bit: parameters and optimizer state."""
    assert run.step == step and run.optimizer.state["step"] == step
    for name, array in named_arrays(run.params).items():
        np.testing.assert_array_equal(array, named_arrays(other.params)[name])
    for key in ("mean", "square"):
        for name, array in run.optimizer.state[key].items():
            expected = other.optimizer.state[key][name]
            np.testing.assert_array_equal(array, expected)


def interrupt(owner, name, n, monkeypatch):
    """Press Ctrl-C as the function is called for the n-th time."""
    real, calls = getattr(owner, name), []

    def function(*args, **settings):
        calls.append(1)
        if len(calls) == n:
            signal.raise_signal(signal.SIGINT)
        return real(*args, **settings)

    monkeypatch.setattr(owner, name, function)


def test_checkpoint_round_trip(tmp_path):
    run = start_run(CONFIG, SETTINGS)
    loop.train_on_stories(run, tokens_of(0), tokens_of(1, 30), progress=False)
    checkpoints.write_checkpoint(tmp_path / "new" / "c.npz", run)
    loaded = checkpoints.read_checkpoint(tmp_path / "new" / "c.npz")
    assert (loaded.config, loaded.settings) == (CONFIG, SETTINGS)
    assert loaded.log == run.log
    assert loaded.rng.random() == run.rng.random()
    assert_same_run(loaded, run, step=9)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["c.npz"]


def test_small_checkpoint_keeps_float16_parameters_only(tmp_path):
    run = start_run(CONFIG, SETTINGS)
    path = tmp_path / "small.npz"
    checkpoints.write_checkpoint(path, run, dtype=np.float16, optimizer=False)
    with np.load(path) as file:
        assert not [name for name in file.files if name.startswith("mean")]
    loaded = named_arrays(checkpoints.read_checkpoint(path).params)
    for name, array in named_arrays(run.params).items():
        assert loaded[name].dtype == np.float32
        np.testing.assert_array_equal(loaded[name], np.float16(array))


N_ARRAYS = len(named_arrays(start_run(CONFIG, SETTINGS).params))
MOMENTS = {  # where Ctrl-C may come in the step after step k
    "before the batch": (loop, "sample_batch", 1),
    "before the step": (training, "train_step", 1),
    "in the forward pass": (speed, "check_batch", 1),
    "in the update": (training.Adam, "direction", N_ARRAYS),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("k, dropout", [(0, 0.0), (4, 0.2), (6, 0.2)])
def test_interrupted_run_goes_on_bit_for_bit(
    k, dropout, moment, tmp_path, monkeypatch, capsys
):
    sizes = {"d_model": 12, "n_heads": 3, "n_layers": 2, "d_ff": 16}
    config = ModelConfig(
        vocab_size=13, max_seq_len=8, **sizes, dropout=dropout
    )
    data, path = (tokens_of(0), tokens_of(1, 30)), tmp_path / "c.npz"
    straight = start_run(config, SETTINGS)
    loop.train_on_stories(straight, *data, progress=False)

    run = start_run(config, SETTINGS)
    owner, name, calls = MOMENTS[moment]
    with monkeypatch.context() as patch:
        n = k * calls + (calls + 1) // 2
        interrupt(owner, name, n, patch)
        loop.train_on_stories(run, *data, progress=False)
    assert run.step in (k, k + 1)  # step k + 1 is whole or not at all
    assert f"step {run.step}" in capsys.readouterr().out
    checkpoints.write_checkpoint(path, run)
    run = checkpoints.read_checkpoint(path)
    loop.train_on_stories(run, *data, progress=False)

    assert_same_run(run, straight, step=9)
    rows = zip(run.log, straight.log, strict=True)
    for row, expected in rows:
        assert row["step"] == expected["step"]
        assert row["valid_loss"] == expected["valid_loss"]


def test_run_folder_round_trip(tmp_path):
    tokenizer = bpe_tokenizer(train_bpe("Tim sat. Tim sat.", 260))
    config = replace(CONFIG, vocab_size=260)
    run = start_run(config, SETTINGS)
    data = tokens_of(0), tokens_of(1, 30)
    loop.train_on_stories(run, *data, folder=tmp_path, progress=False)
    checkpoints.save_run(tmp_path, run, tokenizer)
    loaded, again = checkpoints.load_run(tmp_path)
    assert_same_run(loaded, run, step=9)
    assert again.ranks == tokenizer.ranks
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0].startswith("step,tokens,train_loss,valid_loss")
    assert [line.split(",")[0] for line in lines[1:]] == ["4", "8", "9"]


def test_a_rate_of_numpy_is_saved_too(tmp_path):
    settings = replace(SETTINGS, lr=np.float32(0.5), max_norm=np.float64(1))
    config = replace(CONFIG, dropout=np.float32(0.5))
    checkpoints.write_checkpoint(
        tmp_path / "c.npz", start_run(config, settings)
    )
    run = checkpoints.read_checkpoint(tmp_path / "c.npz")
    assert (run.settings, run.config) == (settings, config)


# --- the production loop, and runs of the version before ---


@pytest.mark.parametrize("windows", ["anywhere", "stories"])
def test_the_production_loop_is_the_plain_one_with_books(windows, tmp_path):
    """Nine steps with dropout, written out, bit for bit."""
    tokens = np.resize([12, 3, 4, 5, 6, 7, 8, 9, 1, 2], 200).astype(np.uint16)
    settings = replace(SETTINGS, windows=windows, decay="linear", final=0.2)
    config = replace(CONFIG, dropout=0.2)
    run, plain = (start_run(config, settings) for _ in range(2))
    log = loop.train_on_stories(
        run, tokens, tokens[:41], tmp_path, progress=False
    )

    starts = story_starts(tokens, 6) if windows == "stories" else None
    losses = []
    for step in range(9):
        ids, targets = sample_batch(tokens, 3, 6, plain.rng, starts)
        loss, grads = speed.batch_loss_and_grads(
            ids, targets, plain.params, config, plain.rng
        )
        training.clip_grad_norm(grads, settings.max_norm)
        plain.optimizer.lr = training.learning_rate(
            step, settings.lr, 2, 9, "linear", 0.2
        )
        plain.optimizer.step(grads)
        losses.append(loss)
    assert_same_run(run, replace(plain, step=9), step=9)
    assert [row["step"] for row in log] == [4, 8, 9]
    parts = losses[:4], losses[4:8], losses[8:]
    assert [row["train_loss"] for row in log] == [np.mean(p) for p in parts]


BEFORE = Path(__file__).with_name("run_before")


def test_a_run_of_the_version_before_goes_on(capsys):
    """tests/run_before was saved after six of nine steps, by version 0.1.

    That version then came to after.npz, on another processor perhaps; and
    what it read and drew is what a plain loop reads and draws, to the bit.
    """
    stories = ["Tim sat on a mat.", "A cat ran to the sun."]
    stories = [*stories, "Ann had a hat and a cat."] * 3
    run, tokenizer = checkpoints.load_run(BEFORE)
    plain, _ = checkpoints.load_run(BEFORE)
    tokens = tokenize_stories(stories, tokenizer)
    valid = tokenize_stories(stories[:2], tokenizer)
    assert run.step == 6 and [row["step"] for row in run.log] == [4]
    log = loop.train_on_stories(run, tokens, valid, progress=False)
    assert [row["step"] for row in log] == [4, 8, 9]
    assert log[1]["train_loss"] == pytest.approx(5.509350808461507, rel=1e-6)

    draw = partial(sample_batch, tokens, 5, 6, starts=story_starts(tokens, 6))
    for _ in training.train_steps(plain, draw, speed.batch_loss_and_grads):
        pass
    assert_same_run(run, plain, step=9)
    with np.load(BEFORE / "after.npz") as after:
        arrays = checkpoints.filed_arrays(run)
        assert set(after.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_allclose(
                array, after[name], rtol=1e-4, atol=1e-6
            )


# --- diverging ---


def poison(k, name, value):
    """Return a gradient whose loss or one array is bad at step k."""
    calls = iter(range(100))

    def gradient(ids, targets, params, config, rng):
        batch = ids, targets, params, config, rng
        loss, grads = speed.batch_loss_and_grads(*batch)
        if next(calls) == k:
            if name == "loss":
                return value, grads
            named_arrays(grads)[name].flat[-1] = value
        return loss, grads

    return gradient


BAD = [math.nan, math.inf, -math.inf]
POISONS = [("loss", value) for value in BAD]
POISONS += [("token_embedding.weight", value) for value in [*BAD, 1e30]]
POISONS += [("blocks.1.norm2.bias", value) for value in [*BAD, 1e30]]


@pytest.mark.parametrize("name, value", POISONS)
def test_a_bad_number_stops_before_the_update(name, value, tmp_path):
    data, newest = (
        (tokens_of(0), tokens_of(1, 30)),
        tmp_path / "checkpoint.npz",
    )
    run, twin = (start_run(CONFIG, SETTINGS) for _ in range(2))
    twin.settings = replace(SETTINGS, steps=6)
    loop.train_on_stories(twin, *data, progress=False)
    twin.settings = SETTINGS
    with pytest.raises(ValueError) as caught:
        options = {"gradient": poison(6, name, value), "progress": False}
        loop.train_on_stories(run, *data, tmp_path, **options)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("step 6: the loss is")
    assert f"go back to {newest} (step 4) with a lower lr" in message
    if name != "loss":
        assert f"the gradient of {name} is NaN or too large" in message
    assert run.step == run.optimizer.state["step"] == 6
    for array, expected in zip(*(named_arrays(r.params) for r in (run, twin))):
        np.testing.assert_array_equal(array, expected)
    assert checkpoints.read_checkpoint(newest).step == 4


def test_of_many_bad_arrays_the_last_in_the_model_is_named():
    run = start_run(CONFIG, SETTINGS)
    grads = map_arrays(np.copy, run.params)
    for name in ("token_embedding.weight", "blocks.0.norm1.bias"):
        named_arrays(grads)[name][:] = np.nan
    with pytest.raises(ValueError, match="blocks.0.norm1.bias is NaN.*start"):
        check_finite(run, 1.0, math.nan, grads)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("lr", [1e3, 1e6, 1e12, 1e30])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_an_absurd_rate_stops_with_a_sentence(lr, norm, tmp_path):
    settings = replace(SETTINGS, lr=lr, steps=60, eval_every=1)
    run = start_run(replace(CONFIG, norm=norm), settings)
    data = tokens_of(0), tokens_of(1, 30)
    with pytest.raises(ValueError, match=r"^step \d+: .*lower lr than"):
        loop.train_on_stories(run, *data, tmp_path, progress=False)
    for path in tmp_path.glob("*.npz"):  # no bad number was saved
        loaded = checkpoints.read_checkpoint(path)
        arrays = named_arrays(loaded.params).values()
        assert all(np.isfinite(array).all() for array in arrays)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_has_diverged_is_not_saved(tmp_path):
    run = start_run(CONFIG, SETTINGS)
    checkpoints.write_checkpoint(tmp_path / "c.npz", run)
    before = (tmp_path / "c.npz").read_bytes()
    named_arrays(run.params)["final_norm.bias"][3] = np.inf
    sentence = r"step 0: params/final_norm.bias is not finite.*c.npz \(step 0"
    with pytest.raises(ValueError, match=sentence):
        checkpoints.write_checkpoint(tmp_path / "c.npz", run)
    named_arrays(run.params)["final_norm.bias"][3] = 1e5  # above float16
    with pytest.raises(ValueError, match=sentence):
        checkpoints.write_checkpoint(tmp_path / "c.npz", run, dtype=np.float16)
    assert (tmp_path / "c.npz").read_bytes() == before
