"""Mistakes in the functions of lesson 06, and right ones in other styles."""

import numpy as np

from helpers.checks.gradients import check_value

STEP = "self.params[name] -= self.lr * velocity"
ADAM = "self.params[name] -= self.lr * self.direction(name, grad)"
COUNT = 'self.state["step"] += 1\n'
BOTH = "return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + self.eps)"
SQUARE = "v += (1 - beta2) * (grad * grad - v)"
MEAN = "m += (1 - beta1) * (grad - m)"
SHRINK = "array *= 1 - self.lr * self.weight_decay"
RISE = "return peak * (step + 1) / warmup"
DONE = "done = min((step - warmup) / max(total - warmup, 1), 1.0)"
FALL = "return peak * (final + (1.0 - final) * left)"
HALF = "left = 0.5 * (1.0 + math.cos(math.pi * done))"
NORM = "norm = math.sqrt(sum(float(np.vdot(g, g)) for g in arrays))"
LIMIT = "if max_norm < norm < math.inf:"
SCALE = "grad *= max_norm / norm"
RATE = (
    "lr = learning_rate(run.step, s.lr, s.warmup, s.steps, s.decay, s.final)"
)
FINITE = "    check_finite(run, loss, norm, grads)\n"
CLIP = "norm = clip_grad_norm(grads, s.max_norm)"
YIELD = "yield train_step(run, *draw(run.rng), gradient=gradient)"
LOOP = "while run.step < run.settings.steps:"
REST = """    if whole < len(tokens) - 1:
        yield tokens[None, whole:-1], tokens[None, whole + 1 :]
"""
ROWS = "for i in range(0, len(ids), B):"
ADD = "nats += cross_entropy(logits, targets)[0] * targets.size"
IDS = "ids = [end, *tokenizer.encode(story), end]"
BYTES = 'n_bytes = sum(len(story.encode("utf-8")) for story in stories)'
PER = "return nats / math.log(2) / n_bytes"
WRITE = """    with open(f"{path}.partial", "wb") as file:
        np.savez(file, about=json.dumps(about), **run_arrays(run))
    os.replace(f"{path}.partial", path)
"""
READ = """        for name, array in run_arrays(run).items():
            array[:] = file[name]
"""
STEPS = 'run.step = run.optimizer.state["step"] = about["step"]'
STATE = 'run.rng.bit_generator.state = about["rng"]'

SOLUTIONS = {
    "hold_rate": '''\
def hold_rate(steps, peak, warmup, cooldown, total):
    """Return a rate for each step: rise, stay at peak, fall to zero."""
    rise, fall = (steps + 1) / warmup, (total - steps) / cooldown
    return peak * np.minimum(np.minimum(rise, fall), 1.0)
''',
    "join_grads": '''\
def join_grads(grads, counts):
    """Return the gradient of the mean loss over the targets of all parts."""
    total = sum(count * grad for grad, count in zip(grads, counts))
    return total / sum(counts)
''',
    "averaged": '''\
def averaged(points, beta):
    """Return the running mean of points (N, C), corrected for its start."""
    mean = np.zeros(points.shape[1])
    for point in points:
        mean += (1 - beta) * (point - mean)
    return mean / (1 - beta ** len(points))
''',
}


def judge_hold_rate(hold_rate):
    """Call the exercise as its cell does."""
    rates = np.array([0.5, 1, 1.5, 2, 2, 2, 1.6, 1.2, 0.8, 0.4, 0])
    check_value(hold_rate, rates, np.arange(11), 2.0, 4, 5, 10)


def judge_join_grads(join_grads):
    """Call the exercise as its cell does."""
    each = np.random.default_rng(0).normal(size=(53, 4, 3))
    parts = [each[:48].mean(axis=0), each[48:].mean(axis=0)]
    check_value(join_grads, each.mean(axis=0), parts, [48, 5])


def judge_averaged(averaged):
    """Call the exercise as its cell does."""
    points = np.array([[1.0, 0.0], [3.0, 2.0], [2.0, 4.0]])
    check_value(averaged, np.array([77, 88]) / 37, points, 0.75)


JUDGES = {
    "hold_rate": judge_hold_rate,
    "join_grads": judge_join_grads,
    "averaged": judge_averaged,
}

WRONG = {
    "SGD.step": [
        (STEP, STEP.replace("self.lr * ", ""), "lacks the learning rate"),
        (STEP, "self.params[name] -= self.lr * grad", "lacks the momentum"),
        (STEP, STEP.replace("-=", "+="), "uphill"),
        (
            "velocity += grad",
            "velocity += (1 - self.momentum) * grad",
            "1 - momentum",
        ),
        (
            "velocity += grad\n            " + STEP,
            "velocity += self.lr * grad\n"
            "            self.params[name] -= velocity",
            "inside the velocity",
        ),
        (
            STEP,
            "self.params[name] -= self.lr * (grad + self.momentum * velocity)",
            "Nesterov",
        ),
        ("velocity *= self.momentum", "pass", "forgets nothing"),
        (
            "velocity *= self.momentum",
            "velocity *= 1 - self.momentum",
            "what stays",
        ),
        (
            "velocity += grad\n            " + STEP,
            STEP + "\n            velocity += grad",
            "before the velocity",
        ),
        (
            STEP,
            "self.params[name] = self.params[name] - self.lr * velocity",
            "in place",
        ),
        ("        " + COUNT, "", "-"),
        (
            "velocity += grad",
            "velocity = velocity + grad",
            "lacks the momentum",
        ),
        (
            STEP,
            "grad *= self.lr\n            "
            "self.params[name] -= self.lr * velocity",
            "work on a copy",
        ),
        (
            (
                "            velocity *= self.momentum\n"
                "            velocity += grad\n"
            ),
            "            velocity = self.momentum * velocity + grad\n",
            "lacks the momentum",
        ),
    ],
    "Adam.step": [
        (ADAM, ADAM.replace("self.lr * ", ""), "lacks the learning rate"),
        (ADAM, ADAM.replace("-=", "+="), "uphill"),
        (ADAM, "self.params[name] -= self.lr * grad", "plain SGD"),
        (
            ADAM,
            "self.params[name] = self.params[name]"
            " - self.lr * self.direction(name, grad)",
            "in place",
        ),
        (
            "        "
            + COUNT
            + "        for name, grad in named_arrays(grads).items():\n",
            "        for name, grad in named_arrays(grads).items():\n"
            "            " + COUNT,
            "for each array",
        ),
        (
            "        "
            + COUNT
            + "        for name, grad in named_arrays(grads).items():\n"
            "            " + ADAM,
            "        for name, grad in named_arrays(grads).items():\n"
            "            " + ADAM + "\n        " + COUNT,
            "too late",
        ),
        (
            "        "
            + COUNT
            + "        for name, grad in named_arrays(grads).items():\n"
            "            self",
            "        for name, grad in named_arrays(grads).items():\n"
            "            self",
            "not at all",
        ),
        (ADAM, "self.params[name] -= 1e-3 * self.direction(name, grad)", "-"),
        (ADAM, ADAM + "\n            break", "-"),
    ],
    "Adam.direction": [
        (BOTH, "return m / (np.sqrt(v) + self.eps)", "both corrections"),
        (
            BOTH,
            "return m / (np.sqrt(v / (1 - beta2**t)) + self.eps)",
            "correction of the mean",
        ),
        (
            BOTH,
            "return m / (1 - beta1**t) / (np.sqrt(v) + self.eps)",
            "correction of the square",
        ),
        (
            BOTH,
            "root = np.sqrt(v / (1 - beta2**t) + self.eps)\n"
            "        return m / (1 - beta1**t) / root",
            "inside the root",
        ),
        (
            BOTH,
            "return m / (1 - beta1**t) / (v / (1 - beta2**t) + self.eps)",
            "lacks the root",
        ),
        (
            BOTH,
            "return m / (1 - beta1) / (np.sqrt(v / (1 - beta2)) + self.eps)",
            "were the first",
        ),
        (
            BOTH,
            "return m / (1 - beta1**t)"
            " / (np.sqrt(v) + self.eps) * math.sqrt(1 - beta2**t)",
            "before the correction",
        ),
        (
            't = self.state["step"]',
            't = self.state["step"] + 1',
            "one step more",
        ),
        (
            SQUARE,
            "v[...] = beta2 * v + (1 - beta1) * grad**2",
            "1 - beta1, the old",
        ),
        (
            "beta1, beta2 = self.betas",
            "beta2, beta1 = self.betas",
            "each other's place",
        ),
        (SQUARE, "v += (1 - beta2) * (grad - v)", "their squares"),
        (SQUARE, "v += (1 - beta2) * (m * m - v)", "square of the mean"),
        (
            MEAN + "\n        " + SQUARE,
            "m[...] = (1 - beta1) * m + beta1 * grad\n"
            "        v[...] = (1 - beta2) * v + beta2 * grad * grad",
            "beta that stays",
        ),
        (
            MEAN + "\n        " + SQUARE,
            "m = m + (1 - beta1) * (grad - m)\n"
            "        v = v + (1 - beta2) * (grad * grad - v)",
            "forgotten what was before",
        ),
        (
            MEAN + "\n        " + SQUARE,
            "m[...] = beta1 * m + grad\n"
            "        v[...] = beta2 * v + grad * grad",
            "lacks 1 - beta",
        ),
        (
            BOTH,
            "return -m / (1 - beta1**t)"
            " / (np.sqrt(v / (1 - beta2**t)) + self.eps)",
            "wrong sign",
        ),
        (BOTH, BOTH.removeprefix("return "), "Is there a return"),
    ],
    "AdamW.step": [
        (SHRINK, "pass", "does not decay"),
        ("if array.ndim >= 2:", "if True:", "vectors decay too"),
        ("if array.ndim >= 2:", "if array.ndim == 2:", "two or more"),
        (SHRINK, "array *= 1 - self.weight_decay", "lacks the rate"),
        (SHRINK, "array *= 1 - self.lr", "rate alone"),
        (SHRINK, "array *= 1 + self.lr * self.weight_decay", "grows"),
        (SHRINK, "array *= self.lr * self.weight_decay", "not by 1 minus"),
        ("        super().step(grads)", "", "lacks Adam's step"),
        (
            SHRINK,
            "array = array * (1 - self.lr * self.weight_decay)",
            "does not decay",
        ),
        (
            """
class AdamW(Adam):
    def __init__(self, params, weight_decay=0.01, **settings):
        super().__init__(params, **settings)
        self.weight_decay = weight_decay

    def step(self, grads):
        super().step(grads)
        for array in self.params.values():
            if array.ndim >= 2:
                array *= 1 - self.lr * self.weight_decay
""",
            "after Adam's step",
        ),
        (
            """
class AdamW(Adam):
    def __init__(self, params, weight_decay=0.01, **settings):
        super().__init__(params, **settings)
        self.weight_decay = weight_decay

    def step(self, grads):
        decayed = {}
        for name, grad in named_arrays(grads).items():
            if grad.ndim >= 2:
                grad = grad + self.weight_decay * self.params[name]
            decayed[name] = grad
        super().step(decayed)
""",
            "in its gradient",
        ),
        (SHRINK, SHRINK + "\n                " + SHRINK, "decays twice"),
    ],
    "learning_rate": [
        (RISE, "return peak * step / warmup", "0 at step 0"),
        (RISE, "return peak", "warm-up"),
        (RISE, "return (step + 1) / warmup", "lacks the peak"),
        ("if step < warmup:", "if False:", "warm-up"),
        (
            DONE,
            "done = (step - warmup) / max(total - warmup, 1)",
            "behind the total",
        ),
        (DONE, "done = min(step / total, 1.0)", "from step 0"),
        (DONE, "done = min((step - warmup) / total, 1.0)", "behind the"),
        (
            DONE,
            "done = min((step - warmup - 1) / max(total - warmup, 1), 1.0)",
            "too late",
        ),
        (HALF, "left = 1.0 + math.cos(math.pi * done)", "lacks the half"),
        (HALF, "left = math.cos(math.pi * done)", "from 1 to -1"),
        (
            HALF,
            "left = 0.5 * (1.0 + math.cos(2 * math.pi * done))",
            "whole wave",
        ),
        (HALF, "left = 0.5 * (1.0 - math.cos(math.pi * done))", "share done"),
        (HALF, "pass", "a line where a cosine"),
        ('if decay == "cosine":', "if True:", "a cosine where a line"),
        (FALL, "return peak * left", "falls to 0"),
        (FALL, "return final + (peak - final) * left", "final itself"),
        (FALL, "return peak * (final + left)", "added to the share"),
        (FALL, "return peak * (1 - final + final * left)", "by final"),
        ("@checked\n", "", "-"),
        (FALL, FALL.removeprefix("return "), "Is there a return"),
        (", 1.0)\n", ", 2.0)\n", "rises again behind the total"),
    ],
    "clip_grad_norm": [
        (SCALE, "grad = grad * max_norm / norm", "in place"),
        ("return norm", "return min(norm, max_norm)", "after clipping"),
        (LIMIT, "if norm < math.inf:", "below the limit too"),
        (LIMIT, "if max_norm < norm:", "no number"),
        (SCALE, "grad *= 1 / norm", "max_norm is missing"),
        (SCALE, "grad *= norm / max_norm", "turn it over"),
        (
            NORM,
            "norm = sum(float(np.vdot(g, g)) for g in arrays)",
            "root is missing",
        ),
        (
            NORM,
            "norm = max(float(np.abs(g).max()) for g in arrays)",
            "largest entry",
        ),
        (
            NORM,
            "norm = sum(float(np.abs(g).sum()) for g in arrays)",
            "absolute values",
        ),
        (
            NORM,
            "norm = sum(math.sqrt(np.vdot(g, g)) for g in arrays)",
            "adds up the norms",
        ),
        (
            SCALE,
            "own = math.sqrt(float(np.vdot(grad, grad)))\n"
            "            grad *= min(1.0, max_norm / own)",
            "one factor for all",
        ),
        (
            SCALE,
            "np.clip(grad, -max_norm, max_norm, out=grad)",
            "clips each number",
        ),
        ("return norm", "return grads", "-"),
        ("    return norm\n", "", "Is there a return"),
        ("named_arrays(grads).values()", "grads.values()", "-"),
        (
            "if max_norm < norm < math.inf:",
            "if True:",
            "scales what is below the limit too",
        ),
        (
            "            grad *= max_norm / norm",
            "            grad = grad * (max_norm / norm)",
            "leaves the gradients as they are",
        ),
    ],
    "train_step": [
        (CLIP, "norm = clip_grad_norm(grads, math.inf)", "not clipped"),
        (CLIP, "norm = clip_grad_norm(grads, 1.0)", "-"),
        ("    run.optimizer.lr = lr\n", "", "own rate"),
        (RATE, "lr = s.lr", "peak as its rate"),
        (RATE, RATE.replace(", s.decay, s.final", ""), "neither"),
        (RATE, RATE.replace(", s.final", ""), "final share"),
        (RATE, RATE.replace("run.step, ", "run.step + 1, "), "next step"),
        (RATE, RATE.replace("s.warmup", "0"), "no warm-up"),
        ("    run.step += 1\n", "", "does not count"),
        ("    run.optimizer.step(grads)\n", "", "optimizer's step"),
        (FINITE, "", "-"),
        (
            FINITE + "    " + RATE + "\n    run.optimizer.lr = lr\n"
            "    run.optimizer.step(grads)\n",
            "    " + RATE + "\n    run.optimizer.lr = lr\n"
            "    run.optimizer.step(grads)\n" + FINITE,
            "-",
        ),
        (
            "run.config, run.rng)",
            "run.config, np.random.default_rng(0))",
            "other random numbers",
        ),
        ("= gradient(*batch,", "= loss_and_grads(*batch,", "-"),
        ("return loss, norm", "return loss", "-"),
        ("return loss, norm", "return norm, loss", "-"),
    ],
    "train_steps": [
        (LOOP, "for _ in range(run.settings.steps):", "go on from run.step"),
        (LOOP, "while run.step <= run.settings.steps:", "one step too many"),
        (LOOP, "while run.step < run.settings.steps - 1:", "too few"),
        (
            LOOP + "\n        " + YIELD,
            "batch = draw(run.rng)\n    " + LOOP + "\n"
            "        yield train_step(run, *batch, gradient=gradient)",
            "one batch",
        ),
        (
            "draw(run.rng)",
            "draw(np.random.default_rng(run.settings.seed))",
            "generator of its own",
        ),
        (YIELD, YIELD + "\n        run.step += 1", "counts steps"),
        (
            LOOP + "\n        " + YIELD,
            "found = []\n    " + LOOP + "\n"
            "        found.append("
            "train_step(run, *draw(run.rng), gradient=gradient))\n"
            "    return found",
            "at once",
        ),
        (", gradient=gradient)\n", ")\n", "-"),
        ("*draw(run.rng)", "draw(run.rng)", "-"),
        (YIELD, YIELD.replace("yield ", ""), "-"),
    ],
    "token_windows": [
        (REST, "", "shorter"),
        (
            "targets = tokens[1 : whole + 1]",
            "targets = tokens[:whole]",
            "come one later",
        ),
        (
            "yield ids[i : i + B], targets[i : i + B]",
            "yield targets[i : i + B], ids[i : i + B]",
            "-",
        ),
        (ROWS, "for i in range(0, len(ids) // B * B, B):", "smaller"),
        (ROWS, "for i in range(0, len(ids), 1):", "-"),
        (
            "yield ids[i : i + B], targets[i : i + B]",
            "yield ids[i : i + 1], targets[i : i + 1]",
            "-",
        ),
        (
            "tokens[None, whole:-1], tokens[None, whole + 1 :]",
            "tokens[whole:-1], tokens[whole + 1 :]",
            "without an axis",
        ),
        ("(len(tokens) - 1) // T * T", "len(tokens) // T * T", "-"),
        ("if whole < len(tokens) - 1:", "if True:", "-"),
        (
            """
def token_windows(tokens, B, T):
    starts = range(0, len(tokens) - T, T + 1)
    rows = [tokens[start : start + T + 1] for start in starts]
    for i in range(0, len(rows), B):
        part = np.array(rows[i : i + B])
        yield part[:, :-1], part[:, 1:]
""",
            "T + 1 tokens",
        ),
        (
            """
def token_windows(tokens, B, T):
    for start in range(0, len(tokens) - T, T):
        window = tokens[start : start + T + 1]
        yield window[None, :-1], window[None, 1:]
""",
            "-",
        ),
        (
            """
def token_windows(tokens, B, T):
    rng = np.random.default_rng(0)
    for _ in range(2):
        starts = rng.integers(0, max(len(tokens) - T, 1), B)
        rows = np.array([tokens[s : s + T + 1] for s in starts])
        yield rows[:, :-1], rows[:, 1:]
""",
            "-",
        ),
        ("(len(tokens) - 1) // T * T", "len(tokens) // (T + 1) * T", "-"),
        (
            (
                "def token_windows(tokens, B, T):\n"
                "    rows = range(0, len(tokens) - T, T + 1)\n"
                "    ids = np.array([tokens[i : i + T] for i in rows])\n"
                "    targets = np.array([tokens[i + 1 : i + T + 1] for i "
                "in rows])\n"
                "    for i in range(0, len(ids), B):\n"
                "        yield ids[i : i + B], targets[i : i + B]\n"
            ),
            "starts a window every T + 1 tokens",
        ),
        (
            (
                "def token_windows(tokens, B, T):\n"
                "    ids = np.array([tokens[i : i + T] for i in range(0, "
                "len(tokens) - T, T // 2)])\n"
                "    targets = np.array([tokens[i + 1 : i + T + 1] for i "
                "in range(0, len(tokens) - T, T // 2)])\n"
                "    for i in range(0, len(ids), B):\n"
                "        yield ids[i : i + B], targets[i : i + B]\n"
            ),
            "-",
        ),
        (
            (
                "def token_windows(tokens, B, T):\n"
                "    rng = np.random.default_rng(0)\n"
                "    n = (len(tokens) - 1) // T\n"
                "    starts = rng.integers(0, len(tokens) - T, n)\n"
                "    for i in range(0, n, B):\n"
                "        rows = starts[i : i + B]\n"
                "        yield (\n"
                "            np.array([tokens[s : s + T] for s in rows]),\n"
                "            np.array([tokens[s + 1 : s + T + 1] for s in "
                "rows]),\n"
                "        )\n"
            ),
            "-",
        ),
    ],
    "evaluate": [
        (ADD, ADD.replace(" * targets.size", " * len(targets)"), "-"),
        (ADD, ADD.replace(" * targets.size", ""), "-"),
        ("return nats / n_targets", "return nats", "is a sum"),
        (
            "return nats / n_targets",
            "return nats / len(tokens)",
            "number of tokens",
        ),
        (ADD, ADD.replace("+=", "="), "-"),
        (
            "return nats / n_targets",
            "return nats / n_targets / math.log(2)",
            "in bits",
        ),
        ("T or config.max_seq_len", "T or 5", "-"),
        (
            "T = min(T or config.max_seq_len, n_targets)",
            "T = T or config.max_seq_len - 1",
            "-",
        ),
        ("@checked\n", "", "It raises"),
        ("return nats / n_targets", "    return nats / n_targets", "-"),
        (
            """
@checked
def evaluate(tokens, params, config, B=16, T=None):
    T = min(T or config.max_seq_len, len(tokens) - 1)
    losses = []
    for ids, targets in token_windows(tokens, B, T):
        logits, _ = language_model(ids, params, config)
        losses.append(cross_entropy(logits, targets)[0])
    return float(np.mean(losses))
""",
            "mean of means",
        ),
        (
            """
@checked
def evaluate(tokens, params, config, B=16, T=None):
    T = min(T or config.max_seq_len, len(tokens) - 1)
    nats, count = 0.0, 0
    for ids, targets in token_windows(tokens, B, T):
        logits, _ = language_model(ids, params, config)
        nats += cross_entropy(logits, targets)[0] * len(targets)
        count += len(targets)
    return nats / count
""",
            "with its windows",
        ),
    ],
    "bits_per_byte": [
        (PER, "return nats / n_bytes", "in nats"),
        (PER, "return nats * math.log(2) / n_bytes", "divide"),
        (PER, "return nats / math.log(2)", "not divided"),
        (BYTES, "n_bytes = sum(len(story) for story in stories)", "two bytes"),
        (
            BYTES,
            "n_bytes = sum(len(tokenizer.encode(s)) + 1 for s in stories)",
            "per token",
        ),
        (
            BYTES,
            "n_bytes = sum(len(s.encode()) + 1 for s in stories)",
            "end of each story as a byte",
        ),
        (IDS, "ids = [end, *tokenizer.encode(story)]", "lacks the end"),
        (IDS, "ids = [*tokenizer.encode(story), end]", "lacks the start"),
        (IDS, "ids = tokenizer.encode(story)", "both"),
        ("nats += float", "nats = float", "last story"),
        (
            "nats += float(token_nats(ids, params, config).sum())",
            "nats += float(token_nats(ids, params, config).mean())",
            "-",
        ),
        ("@checked\n", "", "It raises"),
    ],
    "run_arrays": [
        ('{"params": run.params} | means', "means", "lacks params"),
        ('"square": state["square"]', "", "lacks square"),
        ('"mean": state["mean"], ', "", "lacks mean"),
        (
            'named_arrays({"params": run.params} | means)',
            "named_arrays(run.params)",
            "parameters alone",
        ),
        (
            'named_arrays({"params": run.params} | means)',
            'zeros_like(named_arrays({"params": run.params} | means))',
            "-",
        ),
        (
            'return named_arrays({"params": run.params} | means)',
            'arrays = named_arrays({"params": run.params} | means)\n'
            "    return {name: a.copy() for name, a in arrays.items()}",
            "copies",
        ),
        (
            'named_arrays({"params": run.params} | means)',
            '{"params": run.params} | means',
            "-",
        ),
        ("return named_arrays", "named_arrays", "-"),
    ],
    "save_checkpoint": [
        (
            '"rng": run.rng.bit_generator.state',
            '"rng": np.random.default_rng(7).bit_generator.state',
            "state of the generator",
        ),
        ('"step": run.step', '"step": 0', "both steps"),
        (", **run_arrays(run)", ", **run_arrays(run) | {'params.w': 0}", "-"),
        (', "rng": run.rng.bit_generator.state', "", "-"),
        ("**run_arrays(run)", "**named_arrays(run.params)", "-"),
        (
            WRITE,
            '    with open(path, "wb") as file:\n'
            "        np.savez(file, about=json.dumps(about),"
            " **run_arrays(run))\n",
            "half a file",
        ),
        (
            WRITE,
            "    np.savez(path, about=json.dumps(about), **run_arrays(run))\n",
            "half a file",
        ),
        ('os.replace(f"{path}.partial", path)', "pass", "-"),
        (
            'os.replace(f"{path}.partial", path)',
            'import shutil\n    shutil.copy(f"{path}.partial", path)',
            "left its other",
        ),
        (
            'os.replace(f"{path}.partial", path)',
            'os.rename(path, f"{path}.partial")',
            "-",
        ),
        (
            '{"step": run.step, "rng": run.rng.bit_generator.state}',
            (
                '{"step": run.step, "rng": '
                "np.random.default_rng(0).bit_generator.state}"
            ),
            "-",
        ),
    ],
    "load_checkpoint": [
        ("    " + STATE + "\n", "", "state of the generator"),
        (STATE, "run.rng = np.random.default_rng(run.settings.seed)", "-"),
        (STEPS, 'run.step = about["step"]', "optimizer counts"),
        (
            STEPS,
            'run.optimizer.state["step"] = about["step"]',
            "lacks run.step",
        ),
        ("    " + STEPS + "\n", "", "both steps"),
        ("array[:] = file[name]", "array = file[name]", "-"),
        (
            READ,
            "        run.params = {\n"
            '            n: file[f"params.{n}"] for n in run.params\n'
            "        }\n",
            "mean and square",
        ),
        (
            "run_arrays(run).items()",
            'named_arrays({"params": run.params}).items()',
            "mean and square",
        ),
        ("array[:] = file[name]", "array += file[name]", "-"),
        (READ, "        pass\n", "-"),
    ],
    "hold_rate": [
        ("(steps + 1) / warmup", "steps / warmup", "begins at 0"),
        (
            "(total - steps) / cooldown",
            "(total - steps - 1) / cooldown",
            "is at 0 one step too early",
        ),
        ("return peak * np", "return np", "lacks the factor peak"),
        ("np.minimum(rise, fall)", "rise * fall", "multiplies rise and fall"),
        ("np.minimum(rise, fall), 1.0", "rise, fall), 1.0 + 0 * (fall", "-"),
        (
            "(total - steps) / cooldown",
            "(total - steps) / total",
            "falls over all steps, not over cooldown",
        ),
        ("return peak", "peak", "Is there a return"),
    ],
    "join_grads": [
        ("total / sum(counts)", "total", "is a sum"),
        ("count * grad", "grad", "lacks the counts"),
        (
            "total / sum(counts)",
            "total / len(counts)",
            "is divided by the number of parts",
        ),
        (
            "return total / sum(counts)",
            "return sum(grads) / len(grads)",
            "is the plain mean",
        ),
        (
            "return total / sum(counts)",
            "return sum(grads)",
            "is the plain sum of the gradients",
        ),
        ("return total", "total", "Is there a return"),
    ],
    "averaged": [
        ("/ (1 - beta ** len(points))", "", "is not corrected for its start"),
        (
            "** len(points)",
            "** (len(points) - 1)",
            "is corrected for N - 1 points",
        ),
        (
            "(1 - beta) * (point - mean)",
            "beta * (point - mean)",
            "moves by beta",
        ),
        (
            "in points:",
            "in points[::-1]:",
            "goes through the points from the last to",
        ),
        ("in points:", "in points[:-1]:", "lacks the last point"),
        (
            "return mean / (1 - beta ** len(points))",
            "return points.mean(axis=0)",
            "is the plain mean",
        ),
        ("return mean", "mean", "Is there a return"),
    ],
}

RIGHT = {
    "SGD.step": [
        (
            "velocity *= self.momentum\n            velocity += grad",
            "velocity[...] = self.momentum * velocity + grad",
        ),
        (
            STEP,
            "np.subtract(self.params[name], self.lr * velocity,"
            " out=self.params[name])",
        ),
        (
            'velocity = self.state["velocity"][name]\n'
            "            velocity *= self.momentum\n"
            "            velocity += grad\n            " + STEP,
            'u = self.momentum * self.state["velocity"][name] + grad\n'
            '            self.state["velocity"][name] = u\n'
            "            self.params[name] += -self.lr * u",
        ),
    ],
    "Adam.step": [
        (
            ADAM,
            "step = self.direction(name, grad)\n"
            "            self.params[name][...] = self.params[name]"
            " - self.lr * step",
        ),
        (ADAM, "self.params[name] += -self.lr * self.direction(name, grad)"),
        (
            "for name, grad in named_arrays(grads).items():\n            "
            + ADAM,
            "named = named_arrays(grads)\n"
            "        for name in self.params:\n"
            "            step = self.lr * self.direction(name, named[name])\n"
            "            self.params[name] -= step",
        ),
    ],
    "Adam.direction": [
        (
            MEAN + "\n        " + SQUARE,
            "m[...] = beta1 * m + (1 - beta1) * grad\n"
            "        v[...] = beta2 * v + (1 - beta2) * grad**2",
        ),
        (
            MEAN + "\n        " + SQUARE,
            "m *= beta1\n        m += (1 - beta1) * grad\n"
            "        v *= beta2\n        v += (1 - beta2) * np.square(grad)",
        ),
        (
            BOTH,
            "mean = m / (1 - beta1**t)\n"
            "        square = v / (1 - beta2**t)\n"
            "        return mean / (square**0.5 + self.eps)",
        ),
        (
            MEAN + "\n        " + SQUARE + "\n        " + BOTH,
            'm = self.state["mean"][name] = beta1 * m + (1 - beta1) * grad\n'
            "        v = beta2 * v + (1 - beta2) * grad**2\n"
            '        self.state["square"][name] = v\n'
            "        root = np.sqrt(v) / math.sqrt(1 - beta2**t)\n"
            "        return m / ((1 - beta1**t) * (root + self.eps))",
        ),
    ],
    "AdamW.step": [
        (SHRINK, "array -= self.lr * self.weight_decay * array"),
        ("array.ndim >= 2", "array.ndim > 1"),
        (
            "for array in self.params.values():\n"
            "            if array.ndim >= 2:"
            "\n                " + SHRINK,
            "for name in self.params:\n"
            "            if len(self.params[name].shape) > 1:\n"
            "                self.params[name] *= "
            "1 - self.lr * self.weight_decay",
        ),
        ("super().step(grads)", "Adam.step(self, grads)"),
    ],
    "learning_rate": [
        (RISE, "return (step + 1) / warmup * peak"),
        (HALF, "left = math.cos(math.pi / 2 * done) ** 2"),
        """
@checked
def learning_rate(step, peak, warmup, total, decay="cosine", final=0.1):
    if step < warmup:
        return peak * (step + 1) / warmup
    low = final * peak
    if step >= total:
        return low
    done = (step - warmup) / (total - warmup)
    if decay == "linear":
        return peak - done * (peak - low)
    return low + (peak - low) * (1 + np.cos(np.pi * done)) / 2
""",
        """
def learning_rate(step, peak, warmup, total, decay="cosine", final=0.1):
    if decay not in ("cosine", "linear"):
        raise ValueError("cosine or linear")
    if step < warmup:
        return peak * (step + 1) / warmup
    done = 1.0
    if step < total:
        done = (step - warmup) / (total - warmup)
    left = {"linear": 1 - done,
            "cosine": (1 + math.cos(math.pi * done)) / 2}[decay]
    return peak * (left + final * (1 - left))
""",
    ],
    "clip_grad_norm": [
        (NORM, "norm = math.sqrt(sum(float((g * g).sum()) for g in arrays))"),
        (
            NORM,
            "norm = math.sqrt("
            "sum(float(np.linalg.norm(g)) ** 2 for g in arrays))",
        ),
        (SCALE, "grad[...] = grad * (max_norm / norm)"),
        """
def clip_grad_norm(grads, max_norm):
    arrays = named_arrays(grads)
    flat = np.concatenate([g.ravel() for g in arrays.values()])
    norm = float(np.linalg.norm(flat))
    if np.isfinite(norm):
        factor = min(1.0, max_norm / norm)
        for name in arrays:
            arrays[name] *= factor
    return norm
""",
    ],
    "train_step": [
        (
            RATE + "\n    run.optimizer.lr = lr",
            "run.optimizer.lr = learning_rate(\n"
            "        run.step, s.lr, s.warmup, s.steps,"
            " decay=s.decay, final=s.final\n    )",
        ),
        ("run.config, run.rng)", "run.config, rng=run.rng)"),
        (
            FINITE,
            "    if not (math.isfinite(loss) and math.isfinite(norm)):\n"
            '        raise ValueError("the loss is no number")\n',
        ),
        (
            "    run.optimizer.step(grads)\n    run.step += 1\n",
            "    run.step += 1\n    run.optimizer.step(grads)\n",
        ),
    ],
    "train_steps": [
        (LOOP, "for _ in range(run.step, run.settings.steps):"),
        (
            YIELD,
            "batch = draw(run.rng)\n"
            "        loss, norm = train_step(run, *batch, gradient=gradient)\n"
            "        yield loss, norm",
        ),
        (
            LOOP + "\n        " + YIELD,
            "return (train_step(run, *draw(run.rng), gradient=gradient)\n"
            "            for _ in range(run.step, run.settings.steps))",
        ),
    ],
    "token_windows": [
        """
def token_windows(tokens, B, T):
    n = len(tokens) - 1
    starts = list(range(0, n - T + 1, T))
    for i in range(0, len(starts), B):
        part = starts[i : i + B]
        ids = np.stack([tokens[s : s + T] for s in part])
        yield ids, np.stack([tokens[s + 1 : s + T + 1] for s in part])
    rest = n % T
    if rest:
        yield tokens[-rest - 1 : -1][None], tokens[-rest:][None]
""",
        (
            "yield tokens[None, whole:-1], tokens[None, whole + 1 :]",
            "last = tokens[whole:].reshape(1, -1)\n"
            "        yield last[:, :-1], last[:, 1:]",
        ),
        (
            "yield ids[i : i + B], targets[i : i + B]",
            "yield [ids[i : i + B], targets[i : i + B]]",
        ),
    ],
    "evaluate": [
        (
            ADD,
            "loss, _ = cross_entropy(logits, targets)\n"
            "        nats += targets.size * loss",
        ),
        """
@checked
def evaluate(tokens, params, config, B=16, T=None):
    if T is None:
        T = config.max_seq_len
    T = min(T, len(tokens) - 1)
    losses, sizes = [], []
    for ids, targets in token_windows(tokens, B, T):
        logits, _ = language_model(ids, params, config)
        losses.append(cross_entropy(logits, targets)[0])
        sizes.append(targets.size)
    return np.average(losses, weights=sizes)
""",
        """
@checked
def evaluate(tokens, params, config, B=16, T=None):
    T = T or config.max_seq_len
    costs = []
    for start in range(0, len(tokens) - 1, T):
        window = tokens[start : start + T + 1]
        logits, _ = language_model(window[None, :-1], params, config)
        rows = log_softmax(logits[0].astype(np.float64))
        costs += [-row[token] for row, token in zip(rows, window[1:])]
    return float(np.mean(costs))


from helpers.language_model import log_softmax
""",
    ],
    "bits_per_byte": [
        (BYTES, 'n_bytes = len("".join(stories).encode())'),
        (PER, "return nats / n_bytes * math.log2(math.e)"),
        (IDS, "ids = np.array([end] + list(tokenizer.encode(story)) + [end])"),
        (
            "nats += float(token_nats(ids, params, config).sum())",
            "nats += sum(token_nats(ids, params, config))",
        ),
    ],
    "run_arrays": [
        """
def run_arrays(run):
    state = run.optimizer.state
    return named_arrays({
        "params": run.params,
        "mean": state["mean"],
        "square": state["square"],
    })
""",
        """
def run_arrays(run):
    arrays = {f"params.{n}": a for n, a in named_arrays(run.params).items()}
    for part in ("mean", "square"):
        for name, array in run.optimizer.state[part].items():
            arrays[f"{part}.{name}"] = array
    return arrays
""",
        ('{"params": run.params} | means', '{"params": run.params, **means}'),
    ],
    "save_checkpoint": [
        (
            WRITE,
            '    other = f"{path}.new.npz"\n'
            "    np.savez(other, about=json.dumps(about), **run_arrays(run))\n"
            "    os.replace(other, path)\n",
        ),
        ("np.savez(", "np.savez_compressed("),
        (
            'os.replace(f"{path}.partial", path)',
            'os.rename(f"{path}.partial", path)',
        ),
    ],
    "load_checkpoint": [
        ("array[:] = file[name]", "np.copyto(array, file[name])"),
        (
            STEPS,
            'run.step = about["step"]\n'
            '    run.optimizer.state["step"] = run.step',
        ),
        (STATE, "run.rng = np.random.default_rng()\n    " + STATE),
        """
def load_checkpoint(path, run):
    file = np.load(path)
    arrays = run_arrays(run)
    for name in arrays:
        arrays[name][...] = file[name]
    about = json.loads(file["about"].item())
    file.close()
    run.step = about["step"]
    run.optimizer.state["step"] = about["step"]
    run.rng.bit_generator.state = about["rng"]
""",
    ],
    "hold_rate": [
        (
            "np.minimum(np.minimum(rise, fall), 1.0)",
            "np.clip(np.minimum(rise, fall), 0, 1)",
        ),
        (
            "np.minimum(np.minimum(rise, fall), 1.0)",
            "np.min([rise, fall, np.ones(len(steps))], axis=0)",
        ),
        """
def hold_rate(steps, peak, warmup, cooldown, total):
    rates = []
    for step in steps:
        rates.append(peak * min((step + 1) / warmup, 1.0,
                                (total - step) / cooldown))
    return np.array(rates)
""",
    ],
    "join_grads": [
        (
            "return total / sum(counts)",
            "return np.average(grads, axis=0, weights=counts)",
        ),
        (
            "return total / sum(counts)",
            "shares = np.array(counts) / sum(counts)\n"
            '    return np.einsum("n,nab->ab", shares, np.array(grads))',
        ),
        ("count * grad for", "grad * (count / sum(counts)) for"),
    ],
    "averaged": [
        (
            "(1 - beta) * (point - mean)",
            "point - mean - beta * (point - mean)",
        ),
        (
            "return mean / (1 - beta ** len(points))",
            "return mean / (1 - beta ** points.shape[0])",
        ),
        (
            "return mean / (1 - beta ** len(points))",
            "ages = np.arange(len(points))[::-1]\n"
            "    return np.average(points, axis=0, weights=beta**ages)",
        ),
    ],
}
RIGHT["join_grads"][2] = (
    "total = sum(count * grad for grad, count in zip(grads, counts))\n"
    "    return total / sum(counts)",
    "n = sum(counts)\n"
    "    return sum(grad * (count / n) for grad, count in zip(grads, counts))",
)
