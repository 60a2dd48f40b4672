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
from functools import partial

import numpy as np

B, T = 32, 128
CONFIGS = {  # name: preset, vocabulary
    "tiny": ("tiny", 4096),
    "small": ("small", 4096),
    "medium": ("medium", 4096),
    "small, V = 50,257": ("small", 50257),
}
GLIBC = {  # keep freed memory, as helpers.runs.speed does for ours
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
    from helpers.runs.speed import batch_loss_and_grads, keep_freed_memory
    from helpers.training import TrainSettings, start_run, train_step

    keep_freed_memory()
    run = start_run(config, TrainSettings(steps=10**6, lr=1e-3, warmup=1))
    gradient = batch_loss_and_grads  # the run draws the params again
    return lambda: train_step(run, ids, targets, gradient=gradient)[0]


def torch_linear(x, p):
    """Return x @ weight + bias."""
    import torch.nn.functional as F

    return F.linear(x, p["weight"].T, p["bias"])


def torch_norm(x, p):
    """Return the layer norm over the last axis."""
    import torch.nn.functional as F

    return F.layer_norm(x, x.shape[-1:], p["weight"], p["bias"])


def torch_forward(ids, params, config):
    """Return logits of the pre-norm model, written for speed in torch."""
    import torch.nn.functional as F

    def heads(x):
        return x.unflatten(-1, (config.n_heads, -1)).transpose(1, 2)

    lin, norm = torch_linear, torch_norm
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

    from helpers.runs.params import map_arrays, named_arrays

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
        from helpers.runs.speed import sgemm_peak

        return {"gflops": sgemm_peak()}
    problem = make_problem(*task["problem"], **task.get("changes", {}))
    if task["kind"] == "generate":
        return GENERATORS[engine](problem, task["seconds"])
    if engine == "numpy":
        step = numpy_step(*problem)
    else:
        step = torch_step(*problem, compiled=engine == "compile")
    losses, times = time_step(step, task["seconds"])
    return {"losses": losses, "times": times, "mb": peak_megabytes()}


def generate_numpy(problem, seconds, n_tokens=100):
    """Time greedy generation with our KV cache, batch 1."""
    from helpers.generation import generate
    from helpers.runs.speed import one_blas_thread

    config, params, ids, _ = problem
    settings = {"n_tokens": n_tokens, "temperature": 0}
    times, began = [], time.perf_counter()
    with one_blas_thread():
        while len(times) < 3 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            tokens = generate(ids[0, :8], params, config, **settings)
            times.append((time.perf_counter() - start) / n_tokens)
    return {"times": times, "tokens": tokens}


def generate_torch(problem, seconds, n_tokens=100, tuned=True):
    """Time the same in torch, with the same cache.

    tuned: plain functions, inference mode and one thread, the fastest torch
    we know; otherwise nn.Module as one writes it, under no_grad.
    """
    import torch

    from helpers.runs.params import map_arrays

    config, params, ids, _ = problem
    params = map_arrays(torch.tensor, params)
    if tuned:
        torch.set_num_threads(1)  # faster for it than two at this size
        mode, forward = torch.inference_mode, torch_next_logits
    else:
        mode, forward = torch.no_grad, torch_module(params, config)
    times, began = [], time.perf_counter()
    with mode():
        while len(times) < 3 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            tokens = torch_generate(
                forward, params, config, ids[0, :8], n_tokens
            )
            times.append((time.perf_counter() - start) / n_tokens)
    return {"times": times, "tokens": tokens}


def torch_generate(forward, params, config, prompt, n_tokens):
    """Return greedy tokens, keys and values of the past kept in arrays."""
    import torch

    H, S, D = config.n_heads, config.max_seq_len, config.d_model
    keys = torch.zeros(config.n_layers, 1, H, S, D // H)
    values, length = torch.zeros_like(keys), 0
    new, tokens = torch.tensor(prompt)[None], []
    for _ in range(n_tokens):
        logits = forward(new, params, config, keys, values, length)
        length += new.shape[1]
        new = logits.argmax(-1, keepdim=True)
        tokens.append(int(new))
    return tokens


def torch_next_logits(new, params, config, keys, values, length):
    """Return logits (1, V) after new ids (1, T), and fill the cache."""
    import torch.nn.functional as F

    table, end = params["token_embedding"]["weight"], length + new.shape[1]
    x = F.embedding(new, table)
    x = x + params["position_embedding"]["weight"][length:end]
    for k_past, v_past, p in zip(keys, values, params["blocks"]):
        qkv = torch_linear(torch_norm(x, p["norm1"]), p["attention"]["qkv"])
        q, k, v = (
            part.unflatten(-1, (config.n_heads, -1)).transpose(1, 2)
            for part in qkv.chunk(3, -1)
        )
        k_past[:, :, length:end], v_past[:, :, length:end] = k, v
        mixed = F.scaled_dot_product_attention(
            q, k_past[:, :, :end], v_past[:, :, :end], is_causal=length == 0
        )
        mixed = mixed.transpose(1, 2).flatten(2)
        x = x + torch_linear(mixed, p["attention"]["out"])
        hidden = torch_linear(
            torch_norm(x, p["norm2"]), p["feed_forward"]["up"]
        )
        hidden = F.gelu(hidden, approximate="tanh")
        x = x + torch_linear(hidden, p["feed_forward"]["down"])
    return F.linear(torch_norm(x[:, -1], params["final_norm"]), table)


def torch_module(params, config):
    """Return the same model as an nn.Module, called in the same way."""
    import torch
    from torch import nn
    from torch.nn.functional import scaled_dot_product_attention

    C, H, F = config.d_model, config.n_heads, config.d_ff

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
            self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
            self.up, self.down = nn.Linear(C, F), nn.Linear(F, C)
            self.gelu = nn.GELU(approximate="tanh")

        def forward(self, x, keys, values, length):
            B, T, _ = x.shape
            parts = self.qkv(self.norm1(x)).view(B, T, 3, H, C // H)
            q, k, v = parts.permute(2, 0, 3, 1, 4)
            end = length + T
            keys[:, :, length:end], values[:, :, length:end] = k, v
            mixed = scaled_dot_product_attention(
                q, keys[:, :, :end], values[:, :, :end], is_causal=length == 0
            )
            x = x + self.out(mixed.transpose(1, 2).reshape(B, T, C))
            return x + self.down(self.gelu(self.up(self.norm2(x))))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(config.vocab_size, C)
            self.positions = nn.Embedding(config.max_seq_len, C)
            self.blocks = nn.ModuleList(
                Block() for _ in range(config.n_layers)
            )
            self.norm = nn.LayerNorm(C)
            self.head = nn.Linear(C, config.vocab_size, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, new, params, config, keys, values, length):
            places = torch.arange(length, length + new.shape[1])
            x = self.tokens(new) + self.positions(places)
            for block, k, v in zip(self.blocks, keys, values):
                x = block(x, k, v, length)
            return self.head(self.norm(x[:, -1]))

    model = Model().eval()
    with torch.no_grad():
        copy_params(model, params)
    return model


def copy_params(model, params):
    """Put params into a torch_module; nn.Linear keeps (out, in)."""
    model.tokens.weight.copy_(params["token_embedding"]["weight"])
    model.positions.weight.copy_(params["position_embedding"]["weight"])
    pairs = [(model.norm, params["final_norm"])]
    for block, p in zip(model.blocks, params["blocks"]):
        inner = p["attention"] | p["feed_forward"]
        inner |= {"norm1": p["norm1"], "norm2": p["norm2"]}
        pairs += [(getattr(block, name), part) for name, part in inner.items()]
    for layer, part in pairs:
        weight = part["weight"]
        layer.weight.copy_(weight.T if weight.ndim == 2 else weight)
        layer.bias.copy_(part["bias"])


GENERATORS = {
    "numpy": generate_numpy,
    "torch, nn.Module": partial(generate_torch, tuned=False),
    "torch, tuned by hand": generate_torch,
}


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


def compare(name, rounds, seconds):
    """Let the contenders take turns; return their medians."""
    from helpers.language_model import PRESETS
    from helpers.scale import step_flops

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
    config = replace(PRESETS[preset], vocab_size=vocab_size)
    flops, rows = step_flops(config, B, T), {}
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
    """Return the median seconds a token of each; their tokens must agree."""
    task = {"kind": "generate", "problem": ("small", 4096), "seconds": seconds}
    seen = {engine: [] for engine in GENERATORS}
    for _ in range(rounds):
        for engine in seen:
            seen[engine].append(ask(task | {"engine": engine}, {}))
    rows = {}
    for engine, found in seen.items():
        median = statistics.median(
            statistics.median(f["times"]) for f in found
        )
        rows[engine] = {"seconds": median, "tokens_per_second": 1 / median}
        rows[engine]["ratio"] = median / rows["numpy"]["seconds"]
        rows[engine]["same_tokens"] = (
            found[0]["tokens"] == seen["numpy"][0]["tokens"]
        )
    return rows


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
        found["generation"] = compare_generation(args.rounds, args.seconds)
        print("\ngeneration, small, batch 1, greedy, with a KV cache")
        for engine, row in found["generation"].items():
            print(
                f"{engine:22}{row['tokens_per_second']:10,.0f} tokens/s"
                f"{row['ratio']:8.2f}  same tokens: {row['same_tokens']}"
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
