"""Measure a trained run and write its report: `make report`.

Support code. What needs minutes or a file from outside (losses on held-out
stories, samples, speed) is measured into measured.json; REPORT.md and its
figures are then written from that, the log and the checkpoint. Nothing in
them is typed by hand.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import statistics
import time
import warnings
from collections import defaultdict
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np

from helpers.generation import generate, generate_batch
from helpers.language_model import count_params, language_model
from helpers.pictures.figures import DPI, collect
from helpers.pictures.plots import plot_attention, plot_losses
from helpers.runs.checkpoints import load_run
from helpers.runs.files import brief, fingerprint, whole_file, write_whole
from helpers.runs.folders import inode
from helpers.runs.params import attention_weights
from helpers.runs.scoring import token_nats
from helpers.runs.speed import (
    batch_loss_and_grads,
    keep_freed_memory,
    sgemm_peak,
)
from helpers.scale import step_flops
from helpers.tinystories import load_stories, tokenize_stories
from helpers.training import (
    bits_per_byte,
    start_run,
    train_step,
)

TEMPERATURES, SEEDS = (0, 0.5, 0.8, 1.0), (1, 2)
N_TOLD = 100  # stories told to count what goes wrong in them

# Bits per byte of others on the very same file, by the start of its SHA-256.
REFERENCES = {
    "e52c10ebc422": {
        "xz, primed with train.txt": 1.57,
        "stories260K of llama2.c, 260 thousand parameters, trained on all "
        "of TinyStories": 1.014,
    }
}


def write_report(folder, files=()):
    """Measure a run on files of held-out stories, and write its report.

    Without files, what was measured before is written up once more. Returns
    one line with the main result. Raises ValueError if nothing was measured,
    or if that is damaged.
    """
    run, tokenizer = load_run(folder)
    began, path = inode(folder), folder / "measured.json"
    if files:
        measured = measure_all(dict.fromkeys(files), run, tokenizer)
        with contextlib.suppress(ValueError):  # nothing whole: nothing kept
            before = read_measured(path, run)["stories"]
            measured["stories"] = measured["stories"] | {
                name: found
                for name, found in before.items()
                if name not in measured["stories"]
            }
    else:
        measured = read_measured(path, run)
    if inode(folder) != began:
        raise ValueError(
            f"{folder} was replaced while it was measured; report once more"
        )
    write_whole(path, json.dumps(measured, indent=1) + "\n")
    draw_figures(folder, run, tokenizer, measured)
    report = report_text(folder.name, run, measured)
    write_whole(folder / "REPORT.md", report)
    return f"{folder / 'REPORT.md'}: {headline(measured)}"


def read_measured(path, run):
    """Return what an earlier report has measured; ValueError if nothing."""
    if not path.exists():
        raise ValueError(
            f"{path.parent} has not been measured yet; name a file of "
            "held-out stories (make report ON=FILE)"
        )
    try:
        measured = json.loads(path.read_text("utf-8"))
        headline(measured)
        report_text("", run, measured)  # which reads all of it
        measured["samples"][0]["text"].strip()  # of which a figure is drawn
    except Exception as error:  # what is missing or odd can raise anything
        raise ValueError(
            f"{path} is not what a report has written ({brief(error)}); "
            "measure once more (make report ON=FILE)"
        ) from None
    return measured


# measure


def measure_all(files, run, tokenizer):
    """Return all that is measured, for the first file more than for others.

    A name that two of the files have gives way to their paths.
    """
    bases = [Path(file).name for file in files]
    loaded = [load_stories(file) for file in files]
    measured = {"stories": {}}
    for file, base, stories in zip(files, bases, loaded):
        name = base if bases.count(base) == 1 else str(file)
        measured["stories"][name] = measure(stories, file, run, tokenizer)
    return measured | {
        "told": count_mistakes(loaded[0], run, tokenizer),
        "samples": tell_samples(run, tokenizer),
        "speed": measure_speed(run),
    }


def measure(stories, path, run, tokenizer):
    """Return the bits per byte of a run on stories, and where they go."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "sha256": digest,
        "seen": was_trained_on(stories, path, run, tokenizer),
        "stories": len(stories),
        "bytes": sum(len(story.encode("utf-8")) for story in stories),
        "bits_per_byte": bits_per_byte(
            stories, tokenizer, run.params, run.config
        ),
        "bits_by_kind": bits_by_kind(stories, run, tokenizer),
    }


def was_trained_on(stories, path, run, tokenizer):
    """Tell whether a file is known to be what a run was trained on."""
    tokens = tokenize_stories(stories, tokenizer)
    same = run.notes["hashes"].get("tokens") == fingerprint({"tokens": tokens})
    return same or run.notes["stories"].get("source") == os.path.abspath(path)


def bits_by_kind(stories, run, tokenizer):
    """Return {kind: (tokens, bits)} of all tokens of the stories."""
    end, sums = tokenizer.end_of_text, defaultdict(lambda: [0, 0.0])
    for story in stories:
        ids = [end, *tokenizer.encode(story), end]
        texts = [tokenizer.decode([i]) for i in ids]
        bits = token_nats(ids, run.params, run.config) / math.log(2)
        for place in range(1, len(ids)):
            entry = sums[kind_of(place, ids, texts, end)]
            entry[0] += 1
            entry[1] += float(bits[place - 1])
    return dict(sums)


def kind_of(place, ids, texts, end):
    """Say what kind of token stands at a place of a story."""
    if ids[place] == end:
        return "the end of a story"
    text, before = texts[place], texts[place - 1]
    if not any(c.isalnum() for c in text):
        return "marks and line ends"
    if ids[place - 1] == end or before.rstrip(" ")[-1:] in '.!?"\n':
        return "first word of a sentence"
    if re.fullmatch(r" [A-Z][a-z]+", text):
        again = ids[place] in ids[:place]
        return "name, again" if again else "name, first time"
    return "other words" if text[0] == " " else "later parts of words"


def count_mistakes(stories, run, tokenizer):
    """Count what goes wrong in stories told, and in as many written ones."""
    end, config = tokenizer.end_of_text, run.config
    told = []
    if config.max_seq_len > 1:  # or there is no room for a first word
        told = generate_batch(
            [[end]] * N_TOLD,
            run.params,
            config,
            n_tokens=config.max_seq_len,
            rng=np.random.default_rng(0),
            stop_id=end,
            temperature=0.8,
        )
    longest = config.max_seq_len - 2  # with room for both ends
    ended = [tokenizer.decode(ids) for ids in told if len(ids) <= longest]
    short = [s for s in stories if len(tokenizer.encode(s)) <= longest]
    return {
        "n": N_TOLD,
        "ended": len(ended) / N_TOLD,
        "told": habits(ended),
        "written": habits(short[:N_TOLD]),
    }


def habits(texts):
    """Return what can be counted in stories, as means or shares.

    None stands for what there is nothing to count of.
    """
    words = [re.findall(r"\w+", text.lower()) for text in texts]
    runs = [list(zip(*(w[i:] for i in range(4)))) for w in words]
    names = [re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", text) for text in texts]
    repeats = sum(len(r) - len(set(r)) for r in runs)
    lengths = [len(w) for w in words]
    return {
        "words (median)": statistics.median(lengths) if words else None,
        "runs of four words said before in the story, %": share(
            100 * repeats, sum(map(len, runs))
        ),
        "stories with a quotation left open, %": share(
            100 * sum(text.count('"') % 2 for text in texts), len(texts)
        ),
        "different names (mean)": share(
            sum(len(set(found)) for found in names), len(names)
        ),
    }


def share(part, whole):
    """Return part / whole, None of nothing."""
    return part / whole if whole else None


def tell_samples(run, tokenizer):
    """Return a story for each temperature and seed, as they come."""
    end, samples = tokenizer.end_of_text, []
    for temperature, seed in product(TEMPERATURES, SEEDS):
        if temperature == 0 and seed != SEEDS[0]:
            continue  # nothing is drawn
        ids = []
        if run.config.max_seq_len > 1:
            ids = generate(
                [end],
                run.params,
                run.config,
                n_tokens=run.config.max_seq_len,
                rng=np.random.default_rng(seed),
                stop_id=end,
                temperature=temperature,
            )
        sample = {"temperature": temperature, "seed": seed}
        samples.append(sample | {"text": tokenizer.decode(ids)})
    return samples


def measure_speed(run, seconds=20):
    """Time training steps of a run of this kind, beside plain products."""
    keep_freed_memory()
    fresh, s = start_run(run.config, run.settings), run.settings
    shape = 2, s.batch_size, s.seq_len
    batch = fresh.rng.integers(run.config.vocab_size, size=shape)
    times, peaks, began = [], [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < seconds:
        peaks.append(sgemm_peak())
        start = time.perf_counter()
        train_step(fresh, *batch, gradient=batch_loss_and_grads)
        times.append(time.perf_counter() - start)
    return {
        "seconds_per_step": statistics.median(times),
        "gflop_per_step": flops_of(run.config, *shape[1:]) / 1e9,
        "sgemm_gflops": max(peaks),
    }


# write


def flops_of(config, B, T):
    """Return the FLOPs of the products of a step, of Llama's too."""
    C, L = config.d_model, config.n_layers
    D, kv = C // config.n_heads, config.n_kv_heads or config.n_heads
    gate = C * config.d_ff if config.activation == "swiglu" else 0
    shared = 2 * C * (C - kv * D)  # columns that k and v do without
    return step_flops(config, B, T) + 6 * B * T * L * (gate - shared)


def draw_figures(folder, run, tokenizer, measured):
    """Draw losses.png, and attention.png of two heads on a story's start."""
    save_figure(folder / "losses.png", (6, 3.5), plot_losses, run.log)
    text = measured["samples"][0]["text"]
    ids = [tokenizer.end_of_text, *tokenizer.encode(text)]
    ids = ids[: min(24, run.config.max_seq_len)]
    texts = ["start", *(tokenizer.decode([i]) for i in ids[1:])]
    cache = language_model(np.array([ids]), run.params, run.config)[1]
    weights = attention_weights(cache)[:, 0]  # (n_layers, H, T, T)
    heads = [nearest_head(weights), farthest_head(weights)]
    titles = [f"block {layer}, head {head}" for layer, head in heads]
    pictures = np.array([weights[head] for head in heads])
    picture = plot_attention, pictures, texts, titles
    save_figure(folder / "attention.png", (9, 4.4), *picture)


def nearest_head(weights):
    """Return (layer, head) of the head that looks most at the token before."""
    before = np.diagonal(weights, -1, axis1=-2, axis2=-1).sum(-1)
    return np.unravel_index(before.argmax(), before.shape)


def farthest_head(weights):
    """Return (layer, head) of the one that looks back farthest.

    What goes to the first token counts as looking nowhere.
    """
    place = np.arange(weights.shape[-1])
    distance = np.maximum(place[:, None] - place, 0) * (place > 0)
    mean = (weights * distance).sum(-1).mean(-1)  # (n_layers, H)
    return np.unravel_index(mean.argmax(), mean.shape)


def save_figure(path, size, plot, *args):
    """Write what a function of plots.py draws, size in inches, as PNG."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd letters
        with collect() as figures:
            plot(*args)
        [(figure, _)] = figures
        figure.set_size_inches(size)
        with whole_file(path) as file:
            figure.savefig(file, format="png", dpi=DPI)


def headline(measured):
    """Return the main result in one line."""
    name, found = next(iter(measured["stories"].items()))
    return (
        f"{found['bits_per_byte']:.3f} bits per byte on {name} "
        f"({size_of(found)})"
    )


def size_of(found):
    """Return how much was measured, and whether it was held out at all."""
    seen = ", which the run was trained on" if found.get("seen") else ""
    return f"{found['stories']:,} stories, {found['bytes']:,} bytes{seen}"


def report_text(name, run, measured):
    """Return REPORT.md."""
    parts = [
        f"# The run `{name}`",
        "Written by `make report` from the files in this folder.",
        about_model(run),
        "## Result",
        about_losses(measured),
        "![Loss on training text and on held-out stories.](losses.png)",
        table(
            ["step", "tokens", "train loss", "valid loss", "minutes"],
            [
                [
                    f"{row['step']:,}",
                    f"{row['tokens']:,}",
                    f"{row['train_loss']:.3f}",
                    f"{row['valid_loss']:.3f}",
                    f"{row['seconds'] / 60:.1f}",
                ]
                for row in run.log[:: -max(1, len(run.log) // 10)][::-1]
            ],
        ),
        "Losses are in nats per token.",
        about_time(run, measured),
        "## What it gets wrong",
        about_kinds(measured),
        about_mistakes(measured),
        "## Attention",
        "The head that looks most at the token before, and the one that "
        "looks back farthest (the first token, where a head rests, not "
        "counted), on the start of the first sample.",
        "![Attention weights of two heads.](attention.png)",
        "## Samples",
        "The first story of each setting and seed, uncut.",
        *map(sample_text, measured["samples"]),
    ]
    return "\n\n".join(parts) + "\n"


def about_model(run):
    """Return the tables of the model and of the settings."""
    counted = {"parameters": f"{count_params(run.params):,}"}
    rows = counted | asdict(run.config) | asdict(run.settings)
    found = [[k, v] for k, v in rows.items() if v is not None]
    return table(["setting", "value"], found)


def about_losses(measured):
    """Return the bits per byte on each file, beside those of others."""
    rows = []
    for name, found in measured["stories"].items():
        bits = f"**{found['bits_per_byte']:.3f} bits per byte**"
        rows.append([f"`{name}` ({size_of(found)})", "this run", bits])
        others = REFERENCES.get(found["sha256"][:12], {})
        rows += [["", k, f"{v:.3f} bits per byte"] for k, v in others.items()]
    return table(["held-out stories", "who", "cost"], rows) + (
        "\n\nEvery story is scored from its start, and its end is scored "
        "too; bytes are those of the text."
    )


def about_time(run, measured):
    """Return a paragraph on tokens, time and speed."""
    found = measured["speed"]
    tokens = run.settings.batch_size * run.settings.seq_len
    step, peak = found["seconds_per_step"], found["sgemm_gflops"]
    return (
        f"{about_log(run.log)} "
        f"Measured for this report, a step alone takes {step:.2f} s: "
        f"{tokens / step:,.0f} tokens per second, "
        f"{found['gflop_per_step'] / step:.0f} GFLOP/s, which is "
        f"{found['gflop_per_step'] / step / peak:.0%} of the "
        f"{peak:.0f} GFLOP/s of a plain matrix product in the same minute."
    )


def about_log(log):
    """Return a sentence on what the training took, as far as it says."""
    if not log:
        return "Its log has no row yet."
    tokens, seconds = log[-1]["tokens"], log[-1]["seconds"]
    if not seconds:
        return f"{tokens:,} tokens in less than a tenth of a second."
    return (
        f"{tokens:,} tokens in {seconds / 60:.0f} minutes, "
        f"{tokens / seconds:,.0f} tokens per second."
    )


def about_kinds(measured):
    """Return the table of what kinds of tokens cost."""
    found = next(iter(measured["stories"].values()))["bits_by_kind"]
    total = sum(bits for _, bits in found.values()) or 1
    rows = [
        [kind, f"{n:,}", f"{bits / n:.2f}", f"{bits / total:.1%}"]
        for kind, (n, bits) in sorted(
            found.items(), key=lambda item: -item[1][1] / item[1][0]
        )
    ]
    heads = ["kind of token", "tokens", "bits each", "share of all bits"]
    return "What it pays for each kind of token:\n\n" + table(heads, rows)


def about_mistakes(measured):
    """Return the table of habits, told stories beside written ones."""
    found = measured["told"]
    rows = [
        [habit, *map(tenths, (found["told"][habit], value))]
        for habit, value in found["written"].items()
    ]
    return (
        f"Of {found['n']} stories told at temperature 0.8, "
        f"{found['ended']:.0%} came to an end within the model's reach. "
        "These, beside held-out stories that are no longer:\n\n"
        + table(["", "told", "held out"], rows)
    )


def tenths(value):
    """Return a number with one decimal, a dash for none."""
    return "–" if value is None else f"{value:.1f}"


def sample_text(sample):
    """Return a sample as a quotation under its setting."""
    text = re.sub(r"[^\S\n ]|[\0-\x08\x0e-\x1f\x7f]", " ", sample["text"])
    lines = [line for line in text.split("\n") if line.strip()]
    lines = lines or ["(nothing: it ends at once)"]
    quoted = "\n>\n".join(f"> {line}" for line in lines)
    return (
        f"**Temperature {sample['temperature']}, seed {sample['seed']}**"
        f"\n\n{quoted}"
    )


def table(heads, rows):
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[str(c).replace("|", "\\|") for c in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
