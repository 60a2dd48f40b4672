"""Time a training step, and generation, against PyTorch. `make bench`.

Every contender runs in a process of its own; the processes take turns, round
after round, and a ratio is of two processes of one round, because the speed of
a shared machine drifts: its median and its range are printed. All start from
the same weights and see the same batch; their losses must agree. At the end
stand the rows of the README's table.
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
CONTENDERS = {  # name: engine, environment; ours first
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
        found = GENERATORS[engine](problem, task["seconds"])
        return found | {"mb": peak_megabytes()}
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


def ask(task, env=None):
    """Run a task in a fresh process; return its figures."""
    command = [sys.executable, __file__, "--task", json.dumps(task)]
    env = os.environ | (env or {})
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    figures = json.loads(done.stdout.splitlines()[-1])
    if "times" in figures:
        figures["seconds"] = statistics.median(figures["times"])
    return figures


def ask_all(name, seconds):
    """Let the contenders for a configuration have a turn each."""
    if name == "generation":
        task = {"kind": "generate", "problem": ("small", 4096)}
        turns = {engine: (engine, {}) for engine in GENERATORS}
    else:
        task = {"kind": "step", "problem": CONFIGS[name]}
        turns = CONTENDERS
    found = {
        contender: ask(task | {"engine": engine, "seconds": seconds}, env)
        for contender, (engine, env) in turns.items()
    }
    return found | {"peak": ask({"kind": "peak", "engine": "numpy"})}


def take_turns(names, seconds, minutes):
    """Return {name: rounds} of what ask_all finds.

    A round is one turn for every name; one that would take too long, as the
    last did, is not begun. The first compiles and is the longest.
    """
    rounds = {name: [] for name in names}
    began, took = time.monotonic(), 0
    while time.monotonic() - began + took < 60 * minutes:
        start = time.monotonic()
        for name, found in rounds.items():
            found.append(ask_all(name, seconds))
        took = time.monotonic() - start
        print(f"round {len(found)}: {took:.0f} s", flush=True)
    return rounds


def summary(rounds, contender):
    """Return what the rounds say of a contender, the ratios to ours."""
    pairs = [(r["numpy"], r[contender]) for r in rounds]
    good = [(ours, it) for ours, it in pairs if "error" not in it]
    if not good:
        return {"error": pairs[0][1]["error"]}
    last = good[-1][1]
    result = f"loss {last['losses'][-1]:.4f}" if "losses" in last else ""
    return {
        "seconds": statistics.median(it["seconds"] for _, it in good),
        "tokens": 1 if "tokens" in last else B * T,
        "ratios": [it["seconds"] / ours["seconds"] for ours, it in good],
        "peak_mb": max(it.get("mb", 0) for _, it in good),
        "result": result or last["tokens"],
    }


def summarize(name, rounds):
    """Return the summaries of a configuration, and how good ours is."""
    from helpers.language_model import PRESETS
    from helpers.scale import step_flops

    rows = {c: summary(rounds, c) for c in rounds[0] if c != "peak"}
    found = {"contenders": rows, "rounds": len(rounds)}
    if name in CONFIGS:
        preset, vocab_size = CONFIGS[name]
        config = replace(PRESETS[preset], vocab_size=vocab_size)
        gflop = step_flops(config, B, T) / 1e9
        found["sgemm_gflops"] = max(r["peak"]["gflops"] for r in rounds)
        found["tokens_per_second"] = B * T / rows["numpy"]["seconds"]
        reached = gflop / rows["numpy"]["seconds"]
        found["of_peak"] = reached / found["sgemm_gflops"]
    return found


def say_range(numbers):
    """Return a median and, of several numbers, their range."""
    said = f"{statistics.median(numbers):.2f}"
    if len(numbers) > 1:
        said += f" ({min(numbers):.2f}–{max(numbers):.2f})"
    return said


def print_found(name, found):
    """Print one configuration, a line a contender."""
    print(f"\n{name}, rounds: {found['rounds']}")
    print(f"{'':22}{'÷ ours (range)':20}{'tokens/s':>9}{'peak MB':>9}  result")
    rows = found["contenders"]
    for contender, row in rows.items():
        if "error" in row:
            print(f"{contender:22}failed: {row['error']}")
            continue
        said = row["result"]
        if name == "generation":
            said = (
                "same tokens" if said == rows["numpy"]["result"] else "OTHER"
            )
        print(
            f"{contender:22}{say_range(row['ratios']):20}"
            f"{1 / row['seconds'] * row['tokens']:9,.0f}"
            f"{row['peak_mb']:9.0f}  {said}"
        )


def readme_row(name, found):
    """Return the row of a configuration in the README's table."""
    rows = found["contenders"]
    ratios = [
        "failed" if "error" in row else say_range(row["ratios"])
        for contender, row in rows.items()
        if contender != "numpy"
    ]
    peaks = [f"{rows[c].get('peak_mb', 0):,.0f}" for c in ("numpy", "torch")]
    cells = [name, f"{found['tokens_per_second']:,.0f}", *ratios]
    cells += [f"{found['of_peak']:.0%}", " / ".join(peaks)]
    return f"| {' | '.join(cells)} |"


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
        name: [ask(base | case)["seconds"] for case in many]
        for name, many in cases.items()
    }


def main():
    """Run the whole comparison, or one task of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    parser.add_argument("--minutes", type=float, default=9, help="for rounds")
    parser.add_argument("--seconds", type=float, default=2, help="of a turn")
    parser.add_argument("--only", choices=[*CONFIGS, "generation", "growth"])
    args = parser.parse_args()
    if args.task:
        print(json.dumps(run_contender(json.loads(args.task))))
        return
    everything = {}
    if args.only in (None, "growth"):
        everything["growth"] = growth(args.seconds / 2)
        for name, times in everything["growth"].items():
            line = ", ".join(f"{t:.3f}" for t in times)
            print(f"step of small as {name} doubles twice: {line} s")
    names = [n for n in (*CONFIGS, "generation") if args.only in (None, n)]
    if args.only != "growth":
        rounds = take_turns(names, args.seconds, args.minutes)
        found = {name: summarize(name, rounds[name]) for name in names}
        for name in names:
            print_found(name, found[name])
        print()
        for name in filter(CONFIGS.get, names):
            print(readme_row(name, found[name]))
        everything |= {"rounds": rounds, "found": found}
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(everything, file, indent=2)


if __name__ == "__main__":
    main()
