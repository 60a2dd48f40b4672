"""What the functions of lesson 06 are tried on."""

import contextlib
import copy
import math
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np

from helpers import training as shelf
from helpers.checks.cases import refusal, value
from helpers.language_model import ModelConfig, init_params
from helpers.runs.params import map_arrays, named_arrays

# optimizers: `use` gets the class


def SGD_step(rng):
    w, grads = rng.normal(size=(3, 4)), list(rng.normal(size=(3, 3, 4)))
    settings = {"lr": 0.1, "momentum": 0.8}
    yield value("three steps with momentum", w, grads, use=_walk, **settings)
    yield value("a step without", w, grads[:1], use=_walk, lr=0.1)
    settings["change"] = 0.5
    yield value("a rate that changes", w, grads, use=_walk, **settings)
    yield value("nested parameters", *_nested(rng), use=_walk_tree, lr=0.1)
    yield value(
        "steps counted", w, grads, use=_count, expected={'state["step"]': 3}
    )


def Adam_step(rng):
    w, grads = rng.normal(size=(3, 4)), list(rng.normal(size=(3, 3, 4)))
    yield value("a step", w, grads[:1], use=_walk, lr=0.1)
    yield value("three steps", w, grads, use=_walk, lr=0.1)
    settings = {"lr": 0.1, "change": 0.5}
    yield value("a rate that changes", w, grads, use=_walk, **settings)
    yield value("nested parameters", *_nested(rng), use=_walk_tree, lr=0.1)
    yield value(
        "steps counted", w, grads, use=_count, expected={'state["step"]': 3}
    )


def Adam_direction(rng):
    grads = list(rng.normal(size=(4, 3, 5)))
    yield value("the first step", grads[:1], use=_direct)
    yield value("four steps", grads, use=_direct)
    yield value("other betas", grads, use=_direct, betas=(0.6, 0.7))
    yield value("a large epsilon", grads, use=_direct, eps=0.3)
    zeros = [np.zeros(5), grads[0][0]]
    yield value("a gradient of 0 at first", zeros, use=_direct)


def AdamW_step(rng):
    w, grads = 5 * rng.normal(size=(3, 4)), list(rng.normal(size=(3, 3, 4)))
    settings = {"lr": 0.1, "weight_decay": 0.3}
    yield value("a step of a matrix", w, grads[:1], use=_walk, **settings)
    yield value("three steps of a matrix", w, grads, use=_walk, **settings)
    row = [grad[0] for grad in grads]
    yield value("a vector that stays", w[0], row, use=_walk, **settings)
    box = [np.stack([grad, grad]) for grad in grads]
    three = np.stack([w, w + 1])
    yield value("three axes", three, box, use=_walk, **settings)
    other = settings | {"change": 0.5}
    yield value("a rate that changes", w, grads, use=_walk, **other)
    tree = _nested(rng)
    yield value("nested parameters", *tree, use=_walk_tree, **settings)


def _walk(kind, w, grads, change=1.0, **settings):
    """Return a parameter at first and after each step.

    The rate changes by a factor after each.
    """
    params, path = {"w": w.copy()}, [w.copy()]
    optimizer = kind(params, **settings)
    for grad in grads:
        optimizer.step({"w": grad})
        optimizer.lr *= change
        path.append(params["w"].copy())
    return np.array(path)


def _walk_tree(kind, params, grads, **settings):
    """Return nested parameters after two steps, by their names."""
    params = copy.deepcopy(params)
    optimizer = kind(params, **settings)
    optimizer.step(grads)
    optimizer.step(grads)
    return named_arrays(params)


def _count(kind, w, grads):
    """Return how many steps an optimizer has counted, under their name."""
    optimizer = kind({"w": w.copy()})
    for grad in grads:
        optimizer.step({"w": grad})
    return {'state["step"]': optimizer.state["step"]}


def _direct(kind, grads, **settings):
    """Return what direction returns for one gradient after the other."""
    optimizer, found = kind({"w": np.zeros_like(grads[0])}, **settings), []
    for grad in grads:
        optimizer.state["step"] += 1
        found.append(copy.copy(optimizer.direction("w", grad)))
    return _stack(found)


def _stack(found):
    """Return an array of what was found, or None if nothing was."""
    return None if None in map(_is_none, found) else np.array(found)


def _is_none(value):
    """Return None for None, and else 0."""
    return None if value is None else 0


def _nested(rng):
    """Return nested parameters and their gradients."""
    params = {
        "table": {"weight": rng.normal(size=(4, 3))},
        "blocks": [{"bias": rng.normal(size=3)}, {"bias": np.ones(5)}],
    }
    return params, map_arrays(lambda a: rng.normal(size=a.shape), params)


# schedule and clipping


def learning_rate(rng):
    steps, use = np.arange(40), {"use": _follow_rate}
    yield value("a cosine", steps, 2.0, 5, 30, **use)
    yield value("a line", steps, 2.0, 5, 30, "linear", **use)
    yield value("a line to zero", steps, 0.3, 4, 20, "linear", 0.0, **use)
    yield value("a cosine to a half", steps, 0.3, 4, 20, final=0.5, **use)
    yield value("no warm-up", steps[:9], 1.0, 0, 7, **use)
    yield refusal("a decay of another name", 3, 1.0, 5, 30, "stairs")


def _follow_rate(function, steps, *arguments, **settings):
    """Return the rates of some steps."""
    rates = [function(int(s), *arguments, **settings) for s in steps]
    return _stack(rates)


def clip_grad_norm(rng):
    grads = {"a": np.array([[1.0, 2.0, -2.0]]), "b": np.array([0.0, 4.0])}
    clipped = {"norm": 5.0, "a": grads["a"] / 5, "b": grads["b"] / 5}
    yield value("a norm of 5", grads, 1.0, use=_clip, expected=clipped)
    yield value("another limit", grads, 2.5, use=_clip)
    yield value("a norm below the limit", grads, 7.5, use=_clip)
    yield value("a norm at the limit", grads, 5.0, use=_clip)
    yield value("nested gradients", _nested(rng)[1], 0.3, use=_clip)
    grads = {"a": np.array([np.inf, 1.0]), "b": np.array([2.0])}
    yield value("a gradient of infinity", grads, 1.0, use=_clip)
    grads = {"a": np.array([np.nan, 1.0]), "b": np.array([2.0])}
    yield value(
        "a gradient of NaN",
        grads,
        1.0,
        use=_clip,
        expected={
            "norm": "nan",
            "a": np.array([0.0, 1.0]),
            "b": np.array([2.0]),
        },
    )


def _clip(function, grads, max_norm):
    """Return the norm and the clipped gradients; NaN becomes 0."""
    grads = copy.deepcopy(grads)
    norm = _say(function(grads, max_norm))
    return {"norm": norm} | named_arrays(map_arrays(_without_nan, grads))


def _say(norm):
    """Return a norm; as a text if it is no number."""
    if not isinstance(norm, float | np.floating):
        return norm
    return float(norm) if math.isfinite(norm) else str(float(norm))


def _without_nan(array):
    """Return an array with 0 for NaN."""
    return np.where(np.isnan(array), array.dtype.type(0), array)


# one step, and the loop


def train_step(rng):
    yield value("three steps", use=_train)
    yield value("no clipping", use=_train, max_norm=1e9)
    linear = {"start": 12, "decay": "linear", "final": 0.3}
    yield value("a line at step 12", use=_train, **linear)
    yield value("a model with dropout", use=_train_model)
    bad = {"use": _train}
    yield refusal("a loss that is NaN", **bad, loss=math.nan)
    yield refusal("a gradient of infinity", **bad, factor=math.inf)
    yield value("a bad gradient changes nothing", use=_fail)


def train_steps(rng):
    yield value("all eight steps", 0, use=_loop)
    yield value("the last three steps", 5, use=_loop)
    yield value("no steps left", 8, use=_loop)
    yield value("two of eight", use=_loop_a_little)


def _train(function, start=0, loss=0.0, factor=1.0, **settings):
    """Return what three calls of train_step return and change."""
    run, rows = _start(start, **settings), []
    for i in range(3):
        batch = np.array([i, 1.0]), np.array([2.0, i])
        gradient = _make_gradient(loss, factor)
        got, norm = function(run, *batch, gradient=gradient)
        rows.append([got, norm, run.optimizer.lr])
    losses, norms, rates = np.array(rows).T
    found = {"losses": losses, "norms": norms, "rates": rates}
    found |= {"w": run.params["w"], "b": run.params["b"], "step": run.step}
    return found | {"optimizer's step": run.optimizer.state["step"]}


def _fail(function):
    """Return what is left of a run that has met a bad gradient."""
    run = _start(0)
    batch = np.array([1.0, 1.0]), np.array([2.0, 1.0])
    with contextlib.suppress(ValueError):
        function(run, *batch, gradient=_make_gradient(0.0, math.nan))
    return {"w": run.params["w"], "b": run.params["b"], "step": run.step}


def _start(step, **settings):
    """Return a run of 20 steps of a matrix and a vector."""
    params = {"w": np.linspace(-1, 1, 12).reshape(3, 4), "b": np.ones(5)}
    settings = {"steps": 20, "lr": 0.2, "warmup": 4} | settings
    settings = shelf.TrainSettings(**settings)
    optimizer = shelf.AdamW(params, settings.weight_decay, betas=(0.9, 0.95))
    generator = np.random.default_rng(7)
    return shelf.Run(None, settings, params, optimizer, generator, step)


def _make_gradient(loss, factor):
    """Return a function as loss_and_grads, which draws random numbers."""

    def gradient(ids, targets, params, config, rng):
        noise = rng.normal(size=(3, 4))
        value = loss + float((params["w"] ** 2).sum()) + ids.sum()
        dw = 2 * params["w"] + noise + ids[0]
        return value, {"w": dw, "b": factor * (params["b"] + targets[1])}

    return gradient


CONFIG = ModelConfig(
    vocab_size=11, max_seq_len=8, d_model=6, n_heads=2, n_layers=1, d_ff=7
)


def _train_model(function):
    """Return what a step of a small model with dropout gives."""
    config = replace(CONFIG, dropout=0.25)
    settings = shelf.TrainSettings(steps=9, warmup=2, lr=0.01)
    run = shelf.start_run(config, settings, np.float64)
    ids = np.array([[3, 1, 3, 3, 0], [6, 10, 1, 5, 6]])
    loss, norm = function(run, ids, ids[:, ::-1])
    table = run.params["token_embedding"]["weight"]
    return {"loss": loss, "norm": norm, "token_embedding.weight": table}


def _loop(function, start):
    """Return all losses and norms of a loop, and the step it ends at."""
    run = _start(start, steps=8)
    rows = list(function(run, _draw, gradient=_make_gradient(0.0, 1.0)))
    return {"losses and norms": np.array(rows), "step": run.step}


def _loop_a_little(function):
    """Return the step of a run after two results of its loop."""
    run = _start(0, steps=8)
    steps = iter(function(run, _draw, gradient=_make_gradient(0.0, 1.0)))
    losses = [next(steps)[0], next(steps)[0]]
    return {"losses": np.array(losses), "step": run.step}


def _draw(rng):
    """Return a random batch of a run."""
    return rng.normal(size=2), rng.normal(size=2)


# evaluation


def token_windows(rng):
    tokens = rng.integers(0, 50, 24)
    use = {"use": _list_windows}
    yield value("23 targets in windows of 5", tokens, 2, 5, **use)
    yield value("20 targets in windows of 5", tokens[:21], 3, 5, **use)
    yield value("B = 1", tokens, 1, 7, **use)
    yield value("T = 1", tokens[:8], 3, 1, **use)
    yield value("fewer tokens than T", tokens[:4], 2, 9, **use)
    yield value("a single target", tokens[:2], 2, 9, **use)


def _list_windows(function, tokens, B, T):
    """Return all ids and targets in a list."""
    return list(function(tokens, B, T))


def evaluate(rng):
    params = _model(rng)
    tokens = rng.integers(0, 11, 24)

    def score(title, tokens, **settings):
        given = tokens, params, CONFIG
        return value(title, *given, keeps_dtype=False, **settings)

    yield score("windows of 5", tokens, B=2, T=5)
    yield score("windows of max_seq_len", tokens, B=2)
    yield score("one window at a time", tokens, B=1, T=3)
    yield score("all in one batch", tokens, T=7)
    yield score("T longer than the text", tokens[:4], B=2, T=8)
    yield score("a single target", tokens[:2])
    yield refusal("a text of one token", tokens[:1], params, CONFIG)
    yield refusal("B = 0", tokens, params, CONFIG, 0)


def bits_per_byte(rng):
    params, letters = _model(rng), _Letters()

    def score(title, *stories):
        given = list(stories), letters, params, CONFIG
        return value(title, *given, keeps_dtype=False)

    yield score("letters of two bytes", "é", "aéé")
    yield score("one story", "abcab")
    yield score("stories of different length", "abcab", "ha", "bad")
    yield score("an empty story among them", "bad", "")
    yield score("a story longer than max_seq_len", "abcabcahabcab")
    yield refusal("no stories", [], letters, params, CONFIG)
    other = replace(CONFIG, vocab_size=12)
    yield refusal("a tokenizer of another size", ["ha"], letters, {}, other)


class _Letters:
    """Stand in for a tokenizer: an id for each letter, 0 ends a story."""

    end_of_text, vocab_size = 0, 11

    def encode(self, text):
        return [1 + "abcdefghé".index(letter) for letter in text]


def _model(rng):
    """Return parameters of CONFIG, large enough to have an opinion."""
    params = init_params(CONFIG, rng, np.float64)
    return map_arrays(lambda a: a + 0.3 * rng.normal(size=a.shape), params)


# checkpoints


def run_arrays(rng):
    yield value("a run after three steps", use=_list_arrays)
    yield value("not copied", use=_change_arrays)


def save_checkpoint(rng):
    yield value("a run after three steps", use=_save_and_look)
    yield value("twice to one file", use=_save_and_look, times=2)
    whole = {"whole": True, "files": ["run.npz"]}
    yield value("an older file", use=_save_over, expected=whole)
    yield value("a full disk", use=_save_in_vain, expected={"whole": True})


def load_checkpoint(rng):
    yield value("a run after three steps", use=_load_and_look)
    yield value("two steps more", use=_load_and_look, more=2)


def _three_steps():
    """Return a run that has made three steps."""
    run = _start(0)
    _go_on(run, 3)
    return run


def _go_on(run, n):
    """Make n more steps of a run."""
    steps = shelf.train_steps(run, _draw, _make_gradient(0.0, 1.0))
    for _ in range(n):
        next(steps)


def _look(run):
    """Return all that a run has to remember."""
    state, found = run.optimizer.state, named_arrays({"params": run.params})
    found |= named_arrays({"mean": state["mean"], "square": state["square"]})
    generator = copy.deepcopy(run.rng)
    found |= {"step": run.step, "optimizer's step": state["step"]}
    return found | {"next random number": generator.random()}


def _list_arrays(function):
    """Return what run_arrays returns of a run."""
    return dict(function(_three_steps()))


def _change_arrays(function):
    """Return a run whose arrays were changed through run_arrays."""
    run = _three_steps()
    for array in function(run).values():
        array += 1
    return _look(run)


def _save_and_look(save, times=1):
    """Return a new run into which a saved one was loaded."""
    saved, run, load = _start(0), _start(0), _partner(save, "load_checkpoint")
    with TemporaryDirectory() as folder:
        for _ in range(times):
            _go_on(saved, 3)
            save(f"{folder}/run.npz", saved)
        load(f"{folder}/run.npz", run)
    return _look(run)


def _load_and_look(load, more=0):
    """Return a new run into which a saved one was loaded."""
    saved, run, save = _three_steps(), _start(0), shelf.save_checkpoint
    save = _partner(load, "save_checkpoint")
    with TemporaryDirectory() as folder:
        save(f"{folder}/run.npz", saved)
        load(f"{folder}/run.npz", run)
    _go_on(run, more)
    return _look(run)


def _partner(function, name):
    """Return the function that reads what this one writes, or writes it."""
    return function.__globals__[name]


def _save_over(save):
    """Save over a file that is no checkpoint; look at what is there."""
    load = _partner(save, "load_checkpoint")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.npz"
        path.write_bytes(b"an older file")
        save(str(path), _three_steps())
        files = sorted(os.listdir(folder))
        load(str(path), _start(0))
    return {"whole": True, "files": files}


def _save_in_vain(save):
    """Save while the disk is full; say if the file before is still whole."""

    def fail(file, *arrays, **named):
        if hasattr(file, "write"):
            file.write(b"half")
        else:
            Path(file).write_bytes(b"half")
        raise OSError("no space left on device")

    full = mock.patch.multiple(np, savez=fail, savez_compressed=fail)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.npz"
        save(str(path), _three_steps())
        before = path.read_bytes()
        with full, contextlib.suppress(OSError):
            save(str(path), _three_steps())
        return {"whole": path.read_bytes() == before}
