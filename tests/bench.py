"""Time a training step, and generation, against PyTorch. `make bench`.

Every contender runs in a process of its own; the processes take turns, and
medians are compared, because the speed of a shared machine drifts. All start
from the same weights and see the same batch; their losses must agree.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

B, T = 32, 128
CONFIGS = {  # name: preset, vocabulary
    "tiny": ("tiny", 4096),
    "small": ("small", 4096),
    "medium": ("medium", 4096),
    "small, V = 50,257": ("small", 50257),
}
GLIBC = {  # keep freed memory, as helpers.speed does for ours
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
CONTENDERS = {  # name: engine, environment
    "numpy": ("numpy", {}),
    "torch": ("torch", {}),
    "torch, malloc tuned": ("torch", GLIBC),
    "torch.compile": ("compile", {}),
}


# one contender, in a process of its own


def make_problem(preset, vocab_size, seq_len=T, **changes):
    """Return config, params and a batch, the same in every process."""
    from helpers.language_model import PRESETS, init_params

    changes |= {"vocab_size": vocab_size, "max_seq_len": seq_len}
    config = replace(PRESETS[preset], **changes)
    rng = np.random.default_rng(0)
    params = init_params(config, rng)
    ids = rng.integers(0, vocab_size, (B, seq_len + 1))
    return config, params, ids[:, :-1], ids[:, 1:]


def numpy_step(config, params, ids, targets):
    """Return a function that does one step of ours and returns the loss."""
    from helpers.speed import keep_freed_memory
    from helpers.training import Run, TrainSettings, make_optimizer, train_step

    keep_freed_memory()
    settings = TrainSettings(steps=10**6, lr=1e-3, warmup=1)
    optimizer = make_optimizer(params, settings)
    rng = np.random.default_rng(0)
    run = Run(config, settings, params, optimizer, rng)
    return lambda: train_step(run, ids, targets)[0]


def torch_forward(ids, params, config):
    """Return logits of the pre-norm model, written for speed in torch."""
    import torch.nn.functional as F

    def lin(x, p):
        return F.linear(x, p["weight"].T, p["bias"])

    def norm(x, p):
        return F.layer_norm(x, x.shape[-1:], p["weight"], p["bias"])

    def heads(x):
        return x.unflatten(-1, (config.n_heads, -1)).transpose(1, 2)

    table = params["token_embedding"]["weight"]
    x = F.embedding(ids, table)
    x = x + params["position_embedding"]["weight"][: ids.shape[1]]
    for p in params["blocks"]:
        qkv = lin(norm(x, p["norm1"]), p["attention"]["qkv"]).chunk(3, -1)
        mixed = F.scaled_dot_product_attention(
            *map(heads, qkv), is_causal=True
        )
        x = x + lin(mixed.transpose(1, 2).flatten(2), p["attention"]["out"])
        hidden = lin(norm(x, p["norm2"]), p["feed_forward"]["up"])
        hidden = F.gelu(hidden, approximate="tanh")
        x = x + lin(hidden, p["feed_forward"]["down"])
    return F.linear(norm(x, params["final_norm"]), table)


def torch_step(config, params, ids, targets, compiled=False):
    """Return a function that does one step of torch's."""
    import torch

    from helpers.params import map_arrays, named_arrays

    params = map_arrays(lambda a: torch.tensor(a, requires_grad=True), params)
    tensors = list(named_arrays(params).values())
    groups = [
        {"params": [p for p in tensors if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in tensors if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))
    ids, targets = torch.tensor(ids), torch.tensor(targets)

    def loss_of(ids, targets):
        logits = torch_forward(ids, params, config)
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten()
        )

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step():
        optimizer.zero_grad()
        loss = loss_of(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tensors, 1.0)
        optimizer.step()
        return loss.item()

    return step


def sgemm_peak(n=1024, repeats=12):
    """Return the best measured GFLOP/s of a float32 matrix product."""
    a, b = np.random.default_rng(0).random((2, n, n), dtype=np.float32)
    best = np.inf
    for _ in range(repeats):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best / 1e9


def time_step(step, seconds):
    """Return losses of two warm-up steps and the times of more."""
    losses, times = [step(), step()], []
    began = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        losses.append(step())
        times.append(time.perf_counter() - start)
    return losses[:3], times


def peak_megabytes():
    """Return the most memory this process has held."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def run_contender(task):
    """Do what a task says; return its figures."""
    engine = task["engine"]
    if task["kind"] == "peak":
        return {"gflops": sgemm_peak()}
    problem = make_problem(*task["problem"], **task.get("changes", {}))
    if task["kind"] == "generate":
        return {"numpy": generate_numpy, "torch": generate_torch}[engine](
            problem, task["seconds"]
        )
    if engine == "numpy":
        step = numpy_step(*problem)
    else:
        step = torch_step(*problem, compiled=engine == "compile")
    losses, times = time_step(step, task["seconds"])
    return {"losses": losses, "times": times, "mb": peak_megabytes()}


def generate_numpy(problem, seconds, n_tokens=100):
    """Time greedy generation with our KV cache, batch 1."""
    from helpers.generation import generate
    from helpers.speed import one_blas_thread

    config, params, ids, _ = problem
    settings = {"n_tokens": n_tokens, "temperature": 0}
    times, began = [], time.perf_counter()
    with one_blas_thread():
        while len(times) < 3 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            tokens = generate(ids[0, :8], params, config, **settings)
            times.append((time.perf_counter() - start) / n_tokens)
    return {"times": times, "tokens": tokens}


def generate_torch(problem, seconds, n_tokens=100):
    """Time the same in torch, with the same cache."""
    import torch

    from helpers.params import map_arrays

    torch.set_num_threads(1)  # faster for it than two at this size
    config, params, ids, _ = problem
    params = map_arrays(torch.tensor, params)
    times, began = [], time.perf_counter()
    with torch.inference_mode():
        while len(times) < 3 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            tokens = torch_generate(params, config, ids[0, :8], n_tokens)
            times.append((time.perf_counter() - start) / n_tokens)
    return {"times": times, "tokens": tokens}


def torch_generate(params, config, prompt, n_tokens):
    """Return greedy tokens, keys and values of the past kept in arrays."""
    import torch
    import torch.nn.functional as F

    H, C, S = config.n_heads, config.d_model, config.max_seq_len
    keys = torch.zeros(config.n_layers, 1, H, S, C // H)
    values, length = torch.zeros_like(keys), 0
    new, tokens = torch.tensor(prompt)[None], []
    table = params["token_embedding"]["weight"]
    places = params["position_embedding"]["weight"]

    def lin(x, p):
        return F.linear(x, p["weight"].T, p["bias"])

    def norm(x, p):
        return F.layer_norm(x, (C,), p["weight"], p["bias"])

    def heads(x):
        return x.unflatten(-1, (H, -1)).transpose(1, 2)

    for _ in range(n_tokens):
        end = length + new.shape[1]
        x = F.embedding(new, table) + places[length:end]
        for layer, p in enumerate(params["blocks"]):
            qkv = lin(norm(x, p["norm1"]), p["attention"]["qkv"]).chunk(3, -1)
            q, k, v = map(heads, qkv)
            keys[layer, :, :, length:end] = k
            values[layer, :, :, length:end] = v
            mixed = F.scaled_dot_product_attention(
                q,
                keys[layer, :, :, :end],
                values[layer, :, :, :end],
                is_causal=new.shape[1] > 1,
            )
            mixed = mixed.transpose(1, 2).flatten(2)
            x = x + lin(mixed, p["attention"]["out"])
            hidden = lin(norm(x, p["norm2"]), p["feed_forward"]["up"])
            hidden = F.gelu(hidden, approximate="tanh")
            x = x + lin(hidden, p["feed_forward"]["down"])
        logits = F.linear(norm(x[:, -1], params["final_norm"]), table)
        new, length = logits.argmax(-1, keepdim=True), end
        tokens.append(int(new))
    return tokens


# the driver


def ask(task, env):
    """Run a task in a fresh process; return its figures."""
    command = [sys.executable, __file__, "--task", json.dumps(task)]
    done = subprocess.run(
        command, env=os.environ | env, capture_output=True, text=True
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def flops_per_step(preset, vocab_size, seq_len=T):
    """Count the multiplications and additions of all matrix products.

    A product of (m, k) and (k, n) costs 2mkn; backward costs two of each.
    """
    from helpers.language_model import PRESETS

    c = PRESETS[preset]
    per_layer = 4 * c.d_model**2 + 2 * c.d_model * c.d_ff
    attention = 2 * seq_len * c.d_model
    per_token = c.n_layers * (per_layer + attention)
    per_token += vocab_size * c.d_model
    return 3 * 2 * per_token * B * seq_len


def compare(name, rounds, seconds):
    """Let the contenders take turns; return their medians."""
    preset, vocab_size = CONFIGS[name]
    seen = {contender: [] for contender in CONTENDERS}
    peaks = []
    for _ in range(rounds):
        for contender, (engine, env) in CONTENDERS.items():
            task = {"kind": "step", "engine": engine, "seconds": seconds}
            task["problem"] = (preset, vocab_size)
            seen[contender].append(ask(task, env))
        task = {"kind": "peak", "engine": "numpy"}
        peaks.append(ask(task, {})["gflops"])
    flops, rows = flops_per_step(preset, vocab_size), {}
    for contender, figures in seen.items():
        good = [f for f in figures if "error" not in f]
        if not good:
            rows[contender] = {"error": figures[0]["error"]}
            continue
        median = statistics.median(statistics.median(f["times"]) for f in good)
        rows[contender] = {
            "seconds": median,
            "tokens_per_second": B * T / median,
            "mfu": flops / median / 1e9 / max(peaks),
            "peak_mb": max(f["mb"] for f in good),
            "losses": good[0]["losses"],
        }
    ours = rows["numpy"]["seconds"]
    for row in rows.values():
        if "seconds" in row:
            row["ratio"] = row["seconds"] / ours
    return {"sgemm_gflops": max(peaks), "contenders": rows}


def compare_generation(rounds, seconds):
    """Return tokens per second of both engines, and whether they agree."""
    task = {"kind": "generate", "problem": ("small", 4096), "seconds": seconds}
    seen = {"numpy": [], "torch": []}
    for _ in range(rounds):
        for engine in seen:
            seen[engine].append(ask(task | {"engine": engine}, {}))
    medians = {
        engine: statistics.median(statistics.median(f["times"]) for f in many)
        for engine, many in seen.items()
    }
    return {
        "numpy_tokens_per_second": 1 / medians["numpy"],
        "torch_tokens_per_second": 1 / medians["torch"],
        "ratio": medians["torch"] / medians["numpy"],
        "same_tokens": seen["numpy"][0]["tokens"]
        == seen["torch"][0]["tokens"],
    }


def growth(seconds):
    """Return the time of our step as one size at a time doubles."""
    small = {"problem": ("small", 4096)}
    cases = {
        "T": [{"problem": ("small", 4096, n)} for n in (64, 128, 256)],
        "V": [{"problem": ("small", n)} for n in (2048, 4096, 8192)],
        "d_model": [
            small | {"changes": {"d_model": n, "d_ff": 4 * n}}
            for n in (64, 128, 256)
        ],
        "n_layers": [small | {"changes": {"n_layers": n}} for n in (1, 2, 4)],
    }
    base = {"kind": "step", "engine": "numpy", "seconds": seconds}
    return {
        name: [statistics.median(ask(base | c, {})["times"]) for c in many]
        for name, many in cases.items()
    }


def print_table(name, result):
    """Print one configuration, a line a contender."""
    print(f"\n{name}: sgemm {result['sgemm_gflops']:.0f} GFLOP/s")
    print(f"{'':22}{'s a step':>9}{'tokens/s':>10}{'÷ ours':>8}", end="")
    print(f"{'MFU':>7}{'peak MB':>9}{'loss':>9}")
    for contender, row in result["contenders"].items():
        if "error" in row:
            print(f"{contender:22} failed: {row['error']}")
            continue
        print(
            f"{contender:22}{row['seconds']:9.3f}"
            f"{row['tokens_per_second']:10,.0f}{row['ratio']:8.2f}"
            f"{row['mfu']:7.0%}{row['peak_mb']:9.0f}{row['losses'][-1]:9.4f}"
        )


def main():
    """Run the whole comparison, or one task of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", choices=[*CONFIGS, "generation", "growth"])
    args = parser.parse_args()
    if args.task:
        print(json.dumps(run_contender(json.loads(args.task))))
        return
    found = {}
    for name in CONFIGS:
        if args.only in (None, name):
            found[name] = compare(name, args.rounds, args.seconds)
            print_table(name, found[name])
    if args.only in (None, "generation"):
        found["generation"] = g = compare_generation(args.rounds, args.seconds)
        print(
            "\ngeneration, small, batch 1: "
            f"{g['numpy_tokens_per_second']:,.0f} tokens/s, torch "
            f"{g['torch_tokens_per_second']:,.0f}, ratio {g['ratio']:.2f}, "
            f"same tokens: {g['same_tokens']}"
        )
    if args.only in (None, "growth"):
        found["growth"] = growth(args.seconds / 2)
        for name, times in found["growth"].items():
            line = ", ".join(f"{t:.3f}" for t in times)
            print(f"step of small as {name} doubles twice: {line} s")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=2)


if __name__ == "__main__":
    main()
