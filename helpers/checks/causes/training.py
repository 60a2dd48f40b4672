"""The usual mistakes in the functions of lesson 06."""

import math

import numpy as np

from helpers import training as right
from helpers.checks.cases import training as cases
from helpers.language_model import (
    cross_entropy,
    language_model,
    loss_and_grads,
)
from helpers.runs.params import named_arrays, zeros_like
from helpers.runs.scoring import token_nats


def follow(kind, w, grads, **settings):
    """Return what a class makes of a parameter, or of a nested dict."""
    if isinstance(w, dict):
        return cases._walk_tree(kind, w, grads, **settings)
    return cases._walk(kind, w, grads, **settings)


def stepping(base, update, count=True):
    """Return a class like base that calls update(self, name, grad)."""

    class Wrong(base):
        def step(self, grads):
            self.state["step"] += count
            for name, grad in named_arrays(grads).items():
                update(self, name, grad)

    return Wrong


def SGD_step(w, grads, **settings):
    def velocity(self, name, keep, add):
        u = self.state["velocity"][name]
        u *= keep
        u += add
        return u

    def unscaled(self, name, grad):
        self.params[name] -= velocity(self, name, self.momentum, grad)

    def plain(self, name, grad):
        self.params[name] -= self.lr * grad

    def uphill(self, name, grad):
        u = velocity(self, name, self.momentum, grad)
        self.params[name] += self.lr * u

    def damped(self, name, grad):
        u = velocity(self, name, self.momentum, (1 - self.momentum) * grad)
        self.params[name] -= self.lr * u

    def kept(self, name, grad):
        add = self.lr * grad
        self.params[name] -= velocity(self, name, self.momentum, add)

    def ahead(self, name, grad):
        u = velocity(self, name, self.momentum, grad)
        self.params[name] -= self.lr * (grad + self.momentum * u)

    def summed(self, name, grad):
        self.params[name] -= self.lr * velocity(self, name, 1.0, grad)

    def other(self, name, grad):
        u = velocity(self, name, 1 - self.momentum, grad)
        self.params[name] -= self.lr * u

    def late(self, name, grad):
        u = self.state["velocity"][name]
        self.params[name] -= self.lr * self.momentum * u
        velocity(self, name, self.momentum, grad)

    kinds = {
        "lacks the learning rate": unscaled,
        "lacks the momentum": plain,
        "went uphill: the step is subtracted": uphill,
        "weighs the gradient with 1 - momentum: torch's SGD does not": damped,
        "has the rate inside the velocity, where it stays when the rate "
        "changes": kept,
        "is Nesterov's step, with the momentum once more": ahead,
        "has a velocity that forgets nothing: multiply by momentum": summed,
        "has stepped before the velocity was updated": late,
        "keeps 1 - momentum of the velocity: momentum is what stays": other,
        "is what it was at the start: change the arrays in place": (
            lambda self, name, grad: None
        ),
    }
    for clause, update in kinds.items():
        kind = stepping(right.SGD, update)
        yield clause, follow(kind, w, grads, **settings)


def Adam_direction(grads, **settings):
    def make(formula):
        class Wrong(right.Adam):
            def direction(self, name, grad):
                beta1, beta2 = self.betas
                t, state = self.state["step"], self.state
                m, v = state["mean"][name], state["square"][name]
                return formula(grad, m, v, beta1, beta2, t, self.eps)

        return Wrong

    def update(g, m, v, b1, b2):
        m += (1 - b1) * (g - m)
        v += (1 - b2) * (g * g - v)

    def plain(g, m, v, b1, b2, t, eps):
        update(g, m, v, b1, b2)
        return m / (np.sqrt(v) + eps)

    def bare_mean(g, m, v, b1, b2, t, eps):
        update(g, m, v, b1, b2)
        return m / (np.sqrt(v / (1 - b2**t)) + eps)

    def bare_square(g, m, v, b1, b2, t, eps):
        update(g, m, v, b1, b2)
        return m / (1 - b1**t) / (np.sqrt(v) + eps)

    def shifted(by):
        def direct(g, m, v, b1, b2, t, eps):
            return finish(g, m, v, b1, b2, t + by, eps)

        return direct

    def finish(g, m, v, b1, b2, t, eps):
        update(g, m, v, b1, b2)
        return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)

    def once(g, m, v, b1, b2, t, eps):
        update(g, m, v, b1, b2)
        return m / (1 - b1) / (np.sqrt(v / (1 - b2)) + eps)

    def inside(g, m, v, b1, b2, t, eps):
        update(g, m, v, b1, b2)
        return m / (1 - b1**t) / np.sqrt(v / (1 - b2**t) + eps)

    def early(g, m, v, b1, b2, t, eps):
        update(g, m, v, b1, b2)
        root = np.sqrt(v) + eps
        return m / (1 - b1**t) / root * math.sqrt(1 - b2**t)

    def rootless(g, m, v, b1, b2, t, eps):
        update(g, m, v, b1, b2)
        return m / (1 - b1**t) / (v / (1 - b2**t) + eps)

    def mixed(g, m, v, b1, b2, t, eps):
        v[...] = b2 * v + (1 - b1) * g * g
        m += (1 - b1) * (g - m)
        return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)

    def swapped(g, m, v, b1, b2, t, eps):
        return finish(g, m, v, b2, b1, t, eps)

    def turned(g, m, v, b1, b2, t, eps):
        update(g, m, v, 1 - b1, 1 - b2)
        return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)

    def unsquared(g, m, v, b1, b2, t, eps):
        m += (1 - b1) * (g - m)
        v += (1 - b2) * (g - v)
        return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)

    def of_means(g, m, v, b1, b2, t, eps):
        m += (1 - b1) * (g - m)
        v += (1 - b2) * (m * m - v)
        return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)

    def forgotten(g, m, v, b1, b2, t, eps):
        return finish(g, m.copy(), v.copy(), b1, b2, t, eps)

    def summed(g, m, v, b1, b2, t, eps):
        m[...] = b1 * m + g
        v[...] = b2 * v + g * g
        return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)

    def negative(g, m, v, b1, b2, t, eps):
        return -finish(g, m, v, b1, b2, t, eps)

    def signs(g, m, v, b1, b2, t, eps):
        return g / (np.abs(g) + eps)

    formulas = {
        "lacks both corrections": plain,
        "lacks the correction of the mean": bare_mean,
        "lacks the correction of the square": bare_square,
        "is corrected for one step more: t is state['step'] as it is": (
            shifted(1)
        ),
        "is corrected for one step less: t is state['step'] as it is": (
            shifted(-1)
        ),
        "is corrected as if each step were the first: beta**t": once,
        "has epsilon inside the root": inside,
        "has epsilon added before the correction": early,
        "lacks the root": rootless,
        "weighs the new square with 1 - beta1, the old one with beta2": (
            mixed
        ),
        "has beta1 and beta2 in each other's place": swapped,
        "keeps 1 - beta of the old mean: it is beta that stays": turned,
        "has a mean of gradients where their squares are wanted": unsquared,
        "has the square of the mean, not the mean of squares": of_means,
        "has forgotten what was before: update mean and square in place": (
            forgotten
        ),
        "lacks 1 - beta in front of the new gradient": summed,
        "has the wrong sign: step subtracts it": negative,
        "is the sign of the gradient alone, without its means": signs,
    }
    for clause, formula in formulas.items():
        yield clause, cases._direct(make(formula), grads, **settings)


def Adam_step(w, grads, **settings):
    def once(factor):
        def update(self, name, grad):
            step = factor(self) * self.direction(name, grad)
            self.params[name] -= step

        return update

    def rate(self):
        return self.lr

    def plain(self, name, grad):
        self.params[name] -= self.lr * grad

    class Each(right.Adam):
        def step(self, grads):
            for name, grad in named_arrays(grads).items():
                self.state["step"] += 1
                self.params[name] -= self.lr * self.direction(name, grad)

    class Late(right.Adam):
        def step(self, grads):
            for name, grad in named_arrays(grads).items():
                self.params[name] -= self.lr * self.direction(name, grad)
            self.state["step"] += 1

    def make(update, count=True):
        return stepping(right.Adam, update, count)

    kinds = {
        "lacks the learning rate": make(once(lambda self: 1.0)),
        "went uphill: the step is subtracted": (
            make(once(lambda self: -self.lr))
        ),
        "is plain SGD's: the direction is not used": make(plain),
        "counts a step for each array: count once": Each,
        "counts the step too late or not at all: t starts at 1": Late,
        "is what it was at the start: change the arrays in place": (
            make(lambda self, name, grad: None)
        ),
    }
    pairs = [*kinds.items(), (list(kinds)[-2], make(once(rate), False))]
    for clause, kind in pairs:
        with np.errstate(all="ignore"):
            yield clause, follow(kind, w, grads, **settings)


def AdamW_step(w, grads, **settings):
    def make(shrink, axes=2, after=False):
        class Wrong(right.AdamW):
            def step(self, grads):
                if after:
                    right.Adam.step(self, grads)
                for array in self.params.values():
                    if axes is None or array.ndim >= axes:
                        array *= 1 - shrink(self)
                if not after:
                    right.Adam.step(self, grads)

        return Wrong

    class Added(right.AdamW):
        def step(self, grads):
            named = named_arrays(grads)
            right.Adam.step(
                self,
                {
                    name: grad
                    + (grad.ndim > 1) * self.weight_decay * self.params[name]
                    for name, grad in named.items()
                },
            )

    class Alone(right.AdamW):
        def step(self, grads):
            for array in self.params.values():
                if array.ndim >= 2:
                    array *= 1 - self.lr * self.weight_decay

    class Flat(right.AdamW):
        def step(self, grads):
            for array in self.params.values():
                if array.ndim == 2:
                    array *= 1 - self.lr * self.weight_decay
            right.Adam.step(self, grads)

    def product(self):
        return self.lr * self.weight_decay

    kinds = {
        "lets vectors decay too: only matrices do": make(product, None),
        "lacks the rate in its decay": make(lambda self: self.weight_decay),
        "has the rate alone as its decay": make(lambda self: self.lr),
        "grows: the factor is 1 - rate * decay": make(
            lambda self: -product(self)
        ),
        "is multiplied by rate * decay, not by 1 minus it": make(
            lambda self: 1 - product(self)
        ),
        "decays after Adam's step, which shrinks that too": (
            make(product, after=True)
        ),
        "has the decay in its gradient, where the root undoes it": Added,
        "lacks Adam's step": Alone,
        "decays twice": make(lambda self: 1 - (1 - product(self)) ** 2),
    }
    if isinstance(w, dict) or w.ndim < 3:
        kinds["does not decay"] = make(lambda self: 0.0)
    else:
        kinds["lets matrices of two axes decay alone: two or more"] = Flat
    for clause, kind in kinds.items():
        yield clause, follow(kind, w, grads, **settings)


def learning_rate(steps, peak, warmup, total, decay="cosine", final=0.1):
    if np.ndim(steps) == 0:
        return

    def rates(
        rise=1,
        done=lambda s: min((s - warmup) / max(total - warmup, 1), 1.0),
        left=None,
        floor=final,
        scale=1.0,
        warm=True,
    ):
        def line(d):
            return 1.0 - d

        def cosine(d):
            return 0.5 * (1.0 + math.cos(math.pi * d))

        left = left or (cosine if decay == "cosine" else line)
        found = []
        for s in map(int, steps):
            rate = peak * (floor + (scale - floor) * left(done(s)))
            if s < warmup and warm:
                rate = peak * (s + rise) / warmup
            found.append(rate)
        return np.array(found)

    span = max(total - warmup, 1)
    yield "is 0 at step 0: that is the first of warmup stairs", rates(0)
    yield (
        "lacks the warm-up",
        rates(warm=False, done=lambda s: min(max(s - warmup, 0) / span, 1.0)),
    )
    yield "lacks the warm-up", rates(warm=False)
    short = rates()
    short[: min(warmup, len(short))] /= peak
    yield "lacks the peak in its warm-up", short
    if decay == "cosine":
        yield (
            "rises again behind the total: stop at 1 done",
            rates(done=lambda s: (s - warmup) / span),
        )
        yield (
            "is a line where a cosine is wanted",
            rates(left=lambda d: 1.0 - d),
        )
        yield (
            "has a whole wave of the cosine: half of one, pi",
            rates(left=lambda d: 0.5 * (1.0 + math.cos(2 * math.pi * d))),
        )
        yield (
            "lacks the half in front of 1 + cosine",
            rates(left=lambda d: 1.0 + math.cos(math.pi * d)),
        )
        yield (
            "has a cosine that goes from 1 to -1: 1 + cos, halved",
            rates(left=lambda d: math.cos(math.pi * d)),
        )
    else:
        yield (
            "goes on behind the total: the rate stays at its end",
            rates(done=lambda s: (s - warmup) / span),
        )
        yield (
            "is a cosine where a line is wanted",
            rates(left=lambda d: 0.5 * (1.0 + math.cos(math.pi * d))),
        )
    if final:
        yield "falls to 0, not to final * peak", rates(floor=0.0)
        yield (
            "falls to final itself, not to final * peak",
            rates(floor=final / peak),
        )
        yield "falls by final * peak, not to it", rates(floor=1 - final)
        yield (
            "has final added to the share that is left",
            rates(scale=1.0 + final),
        )
    yield (
        "counts the fall from step 0, not from the end of warm-up",
        rates(done=lambda s: min(s / total, 1.0)),
    )
    yield (
        "takes total steps for the fall, behind the warm-up",
        rates(done=lambda s: min((s - warmup) / total, 1.0)),
    )
    yield (
        "begins its fall a step too late",
        rates(done=lambda s: min((s - warmup - 1) / span, 1.0)),
    )
    yield (
        "begins its fall a step too early",
        rates(done=lambda s: min((s - warmup + 1) / span, 1.0)),
    )
    yield (
        "has the share done in place of the share left",
        rates(
            left=lambda d: (
                d if decay == "linear" else 0.5 * (1.0 - math.cos(math.pi * d))
            )
        ),
    )


def clip_grad_norm(grads, max_norm):
    named = named_arrays(grads)
    with np.errstate(all="ignore"):
        norms = {n: math.sqrt(float(np.vdot(g, g))) for n, g in named.items()}
        norm = math.sqrt(sum(x * x for x in norms.values()))
        largest = max(float(np.abs(g).max()) for g in named.values())
        total = sum(float(np.abs(g).sum()) for g in named.values())

        def scaled(factor, norm=norm, clip=True):
            factor = factor if clip else 1.0
            arrays = {n: g * g.dtype.type(factor) for n, g in named.items()}
            arrays = {n: cases._without_nan(g) for n, g in arrays.items()}
            return {"norm": cases._say(norm)} | arrays

        over = norm > max_norm
        yield (
            "leaves the gradients as they are: scale them in place",
            (scaled(1.0)),
        )
        yield (
            "returns the norm after clipping",
            (scaled(max_norm / norm, min(norm, max_norm), over)),
        )
        clause = "scales what is below the limit too"
        if not math.isfinite(norm):
            clause = "is spoiled by a norm that is no number: change nothing"
        yield clause, scaled(max_norm / norm)
        yield (
            "is divided by the norm: max_norm is missing",
            (scaled(1.0 / norm, clip=over)),
        )
        yield (
            "is multiplied by norm / max_norm: turn it over",
            (scaled(norm / max_norm, clip=over)),
        )
        yield (
            "returns the square of the norm: the root is missing",
            (scaled(max_norm / norm**2, norm**2, norm**2 > max_norm)),
        )
        yield (
            "has the largest entry as its norm",
            (scaled(max_norm / largest, largest, largest > max_norm)),
        )
        yield (
            "has the sum of absolute values as its norm",
            (scaled(max_norm / total, total, total > max_norm)),
        )
        added = sum(norms.values())
        yield (
            "adds up the norms, not their squares",
            (scaled(max_norm / added, added, added > max_norm)),
        )
        each = (
            {}
            if not math.isfinite(norm)
            else {
                n: g * g.dtype.type(min(1.0, max_norm / norms[n]))
                for n, g in named.items()
            }
        )
        yield (
            "clips each array by itself: one factor for all",
            {"norm": cases._say(norm)} | each,
        )
        cut = {n: np.clip(g, -max_norm, max_norm) for n, g in named.items()}
        yield (
            "clips each number: the direction must stay",
            {"norm": cases._say(norm)} | cut,
        )


def train_step(**settings):
    def make(
        clip=True,
        rate=lambda run, s: right.learning_rate(
            run.step, s.lr, s.warmup, s.steps, s.decay, s.final
        ),
        count=1,
        other_rng=False,
        after=False,
        update=True,
    ):
        def train_step(run, *batch, gradient=loss_and_grads):
            s, rng = run.settings, run.rng
            rng = np.random.default_rng(s.seed) if other_rng else rng
            run.step += count if after else 0
            loss, grads = gradient(*batch, run.params, run.config, rng)
            norm = right.clip_grad_norm(
                grads, s.max_norm if clip else math.inf
            )
            found = rate(run, s)
            if found is not None:
                run.optimizer.lr = found
            if update:
                run.optimizer.step(grads)
            run.step += 0 if after else count
            return loss, norm

        return train_step

    def without(**changes):
        def rate(run, s):
            names = "lr", "warmup", "steps", "decay", "final"
            given = {name: getattr(s, name) for name in names} | changes
            return right.learning_rate(run.step, *given.values())

        return rate

    kinds = {
        "has gradients that are not clipped": make(clip=False),
        "has the optimizer's own rate: set optimizer.lr first": (
            make(rate=lambda run, s: None)
        ),
        "has the peak as its rate in every step": (
            make(rate=lambda run, s: s.lr)
        ),
        "has the rate of the next step: count at the end": make(after=True),
        "does not count the step: run.step += 1": make(count=0),
        "lacks the optimizer's step": make(update=False),
        "has other random numbers: hand run.rng to gradient": (
            make(other_rng=True)
        ),
        "has a cosine whatever settings.decay says": (
            make(rate=without(decay="cosine"))
        ),
        "has the final share 0.1 whatever settings.final says": (
            make(rate=without(final=0.1))
        ),
        "has neither decay nor final from the settings": (
            make(rate=without(decay="cosine", final=0.1))
        ),
        "has no warm-up in its rate": make(rate=without(warmup=0)),
    }
    for clause, function in kinds.items():
        yield clause, cases._train(function, **settings)
        if not settings:
            yield clause, cases._train_model(function)


def train_steps(start=0):
    def all_again(run, draw, gradient):
        for _ in range(run.settings.steps):
            yield right.train_step(run, *draw(run.rng), gradient=gradient)

    def one_more(run, draw, gradient):
        while run.step <= run.settings.steps:
            yield right.train_step(run, *draw(run.rng), gradient=gradient)

    def one_less(run, draw, gradient):
        while run.step < run.settings.steps - 1:
            yield right.train_step(run, *draw(run.rng), gradient=gradient)

    def one_batch(run, draw, gradient):
        batch = draw(run.rng)
        while run.step < run.settings.steps:
            yield right.train_step(run, *batch, gradient=gradient)

    def same_seed(run, draw, gradient):
        while run.step < run.settings.steps:
            rng = np.random.default_rng(run.settings.seed)
            yield right.train_step(run, *draw(rng), gradient=gradient)

    def counted_twice(run, draw, gradient):
        while run.step < run.settings.steps:
            yield right.train_step(run, *draw(run.rng), gradient=gradient)
            run.step += 1

    def at_once(run, draw, gradient):
        return iter(list(right.train_steps(run, draw, gradient)))

    kinds = {
        "makes all steps anew: go on from run.step": all_again,
        "makes one step too many": one_more,
        "makes one step too few": one_less,
        "has one batch for all steps: draw in each": one_batch,
        "has a generator of its own: draw(run.rng)": same_seed,
        "counts steps that train_step has counted": counted_twice,
        "makes all steps at once: yield after each": at_once,
    }
    for clause, function in kinds.items():
        yield clause, cases._loop(function, start)
        if not start:
            yield clause, cases._loop_a_little(function)


def token_windows(tokens, B, T):
    n = len(tokens) - 1
    whole = n // T * T
    full = list(right.token_windows(tokens, B, T))
    if whole < n:
        yield "lacks the last window, which is shorter", full[:-1]
        yield (
            "has targets equal to the ids: they come one later",
            [(ids, ids) for ids, _ in full[:-1]] + full[-1:],
        )
    yield (
        "has targets equal to the ids: they come one later",
        [(ids, ids) for ids, _ in full],
    )
    yield (
        "has ids and targets in each other's place",
        [(targets, ids) for ids, targets in full],
    )
    starts = range(0, n - T + 1, T + 1)
    rows = [tokens[s : s + T + 1] for s in starts]
    apart = [
        (np.stack(part)[:, :-1], np.stack(part)[:, 1:])
        for part in (rows[i : i + B] for i in range(0, len(rows), B))
    ]
    yield "starts a window every T + 1 tokens: every T", apart
    at = len(rows) * (T + 1)
    if at < n:
        rest = tokens[None, at:-1], tokens[None, at + 1 :]
        yield "starts a window every T + 1 tokens: every T", [*apart, rest]
    lines = tokens[:whole].reshape(-1, T), tokens[1 : whole + 1].reshape(-1, T)
    even = len(lines[0]) // B * B
    some = [
        (lines[0][i : i + B], lines[1][i : i + B]) for i in range(0, even, B)
    ]
    if even < len(lines[0]):
        yield (
            "lacks the last batch, which is smaller",
            some + full[-1:] * (whole < n),
        )
    yield (
        "has one window at a time: B of them in a batch",
        [
            (lines[0][i : i + 1], lines[1][i : i + 1])
            for i in range(len(lines[0]))
        ]
        + full[-1:] * (whole < n),
    )
    if whole < n:
        flat = tokens[whole:-1], tokens[whole + 1 :]
        yield (
            "has a last window without an axis for the batch",
            [
                *full[:-1],
                flat,
            ],
        )


def evaluate(tokens, params, config, B=16, T=None):
    n = len(tokens) - 1
    T = min(T or config.max_seq_len, n)
    rows = []
    for ids, targets in right.token_windows(tokens, B, T):
        logits, _ = language_model(ids, params, config)
        loss, _ = cross_entropy(logits, targets)
        rows.append([loss, targets.size, len(targets)])
    losses, sizes, counts = np.array(rows).T
    nats = losses * sizes
    yield (
        "is a mean of means: weigh each loss with its targets",
        (float(losses.mean())),
    )
    yield "is the sum of the means of the windows", float(losses.sum())
    yield "is a sum: divide by the number of targets", float(nats.sum())
    yield (
        "is divided by the number of tokens: one less are targets",
        (float(nats.sum() / len(tokens))),
    )
    yield (
        "weighs a loss with its windows, not with its targets",
        (float((losses * counts).sum() / counts.sum())),
    )
    yield "is the loss of the last batch alone", float(losses[-1])
    yield "is the loss of the first batch alone", float(losses[0])
    if len(rows) > 1:
        yield (
            "lacks the last window, which is shorter",
            (float(nats[:-1].sum() / sizes[:-1].sum())),
        )
        yield (
            "lacks the last window in its sum, but not in its count",
            (float(nats[:-1].sum() / n)),
        )
    yield "is in bits: nats are wanted", float(nats.sum() / n / np.log(2))


def bits_per_byte(stories, tokenizer, params, config):
    end = tokenizer.end_of_text
    ids = [tokenizer.encode(story) for story in stories]

    def cost(before, after):
        costs = [
            token_nats([*before, *part, *after], params, config)
            for part in ids
            if len([*before, *part, *after]) > 1
        ]
        return sum(float(nats.sum()) for nats in costs)

    nats = cost([end], [end])
    n_bytes = [len(story.encode("utf-8")) for story in stories]
    total, n_letters = sum(n_bytes), sum(map(len, stories))
    n_tokens = sum(len(part) + 1 for part in ids)
    log2 = math.log(2)
    yield "is in nats: divide by log(2)", nats / total
    yield "is multiplied by log(2): divide", nats * log2 / total
    if n_letters != total:
        yield "is per letter: é has two bytes", nats / log2 / n_letters
    yield "is per token", nats / log2 / n_tokens
    yield "is not divided by the bytes", nats / log2
    yield "lacks the end of each story", cost([end], []) / log2 / total
    yield (
        "lacks the start of each story, and with it the first token",
        (cost([], [end]) / log2 / total),
    )
    yield (
        "lacks both the start and the end of a story",
        (cost([], []) / log2 / total),
    )
    yield (
        "counts the end of each story as a byte",
        (nats / log2 / (total + len(stories))),
    )
    if len(stories) > 1 and all(n_bytes):
        each = [
            float(token_nats([end, *part, end], params, config).sum()) / n
            for part, n in zip(ids, n_bytes)
        ]
        yield (
            "is a mean over the stories: each byte counts once",
            (float(np.mean(each)) / log2),
        )
        last = float(token_nats([end, *ids[-1], end], params, config).sum())
        yield "has the last story alone in its sum", last / log2 / total


def run_arrays():
    found = cases._list_arrays(right.run_arrays)
    for part in ("params", "mean", "square"):
        yield (
            f"lacks {part}",
            {
                name: array
                for name, array in found.items()
                if not name.startswith(part)
            },
        )
    alone = {
        name.removeprefix("params."): array
        for name, array in found.items()
        if name.startswith("params.")
    }
    yield (
        "has the parameters alone: mean and square are changed too",
        alone,
    )
    yield (
        "has copies: the arrays themselves are wanted",
        cases._look(cases._three_steps()),
    )


def restored(more=0, times=1):
    """Yield what a run is like if something was not saved or not loaded."""
    n = 3 * times

    def run_with(change):
        run, new = cases._start(0), cases._start(0)
        cases._go_on(run, n)
        change(run, new)
        cases._go_on(run, more)
        return cases._look(run)

    def rng(run, new):
        run.rng = new.rng

    def step(run, new):
        run.step = 0

    def count(run, new):
        run.optimizer.state["step"] = 0

    def both(run, new):
        step(run, new)
        count(run, new)

    def clear(part):
        def change(run, new):
            kept = run.optimizer.state
            kept[part] = zeros_like(kept[part])

        return change

    def means(run, new):
        clear("mean")(run, new)
        clear("square")(run, new)

    def params(run, new):
        for name, array in new.params.items():
            run.params[name][:] = array

    def nothing_but_arrays(run, new):
        both(run, new)
        rng(run, new)

    def nothing_but_params(run, new):
        nothing_but_arrays(run, new)
        means(run, new)

    yield "lacks the state of the generator", run_with(rng)
    yield "lacks run.step", run_with(step)
    yield "lacks the step that the optimizer counts", run_with(count)
    yield "lacks both steps, the run's and the optimizer's", run_with(both)
    yield "lacks the mean of the optimizer", run_with(clear("mean"))
    yield "lacks the square of the optimizer", run_with(clear("square"))
    yield "lacks mean and square of the optimizer", run_with(means)
    yield (
        "lacks the parameters: copy into the arrays that are there",
        (run_with(params)),
    )
    yield (
        "has the arrays, but neither steps nor generator",
        (run_with(nothing_but_arrays)),
    )
    yield "has the parameters alone", run_with(nothing_but_params)


def save_checkpoint(times=1):
    yield from restored(times=times)
    yield (
        ("is half a file: write beside it, then rename with os.replace"),
        {"whole": False},
    )
    yield (
        "left its other file behind: os.replace renames it",
        {"whole": True, "files": ["run.npz", "run.npz.partial"]},
    )


def load_checkpoint(more=0):
    yield from restored(more)


def hold_rate(steps, peak, warmup, cooldown, total):
    def rate(rise=(steps + 1) / warmup, fall=(total - steps) / cooldown):
        return peak * np.minimum(np.minimum(rise, fall), 1.0)

    yield (
        "begins at 0: the first stair is 1 / warmup",
        rate(rise=steps / warmup),
    )
    yield (
        "is at 0 one step too early: fall is (total - steps) / cooldown",
        rate(fall=(total - steps - 1) / cooldown),
    )
    yield "falls one step too late", rate(fall=(total - steps + 1) / cooldown)
    yield "lacks the factor peak", rate() / peak
    yield "never falls", rate(fall=np.ones(len(steps)))
    yield (
        "does not rise: it starts at the peak",
        rate(rise=np.ones(len(steps))),
    )
    yield (
        "falls over all steps, not over cooldown",
        rate(fall=(total - steps) / total),
    )
    yield (
        "has warmup and cooldown exchanged",
        rate((steps + 1) / cooldown, (total - steps) / warmup),
    )
    rise, fall = (steps + 1) / warmup, (total - steps) / cooldown
    yield "goes above the peak", peak * np.minimum(rise, fall)
    yield (
        "multiplies rise and fall: take the lower",
        (peak * np.minimum(rise * fall, 1.0)),
    )
    ramp = np.minimum(rise, 1.0) * np.minimum(fall, 1.0)
    if not np.allclose(peak * ramp, rate()):
        yield "multiplies rise and fall: take the lower", peak * ramp
    yield (
        "has the higher of rise and fall: take the lower",
        (peak * np.minimum(np.maximum(rise, fall), 1.0)),
    )


def join_grads(grads, counts):
    total = sum(count * grad for grad, count in zip(grads, counts))
    yield "is a sum: divide by the number of targets", total
    yield (
        "is divided by the number of parts: that of the targets is wanted",
        total / len(counts),
    )
    yield (
        "lacks the counts: a mean times its count is a sum",
        sum(grads) / sum(counts),
    )
    yield (
        "is the plain mean: a part of few targets weighs too much",
        sum(grads) / len(grads),
    )
    yield "is the plain sum of the gradients", sum(grads)
    turned = sum(n * grad for grad, n in zip(grads, counts[::-1]))
    yield "has the counts in another order", turned / sum(counts)
    yield "is the gradient of the first part alone", grads[0]
    yield "is the gradient of the last part alone", grads[-1]


def averaged(points, beta):
    def walk(points=points, move=1 - beta, mean=0.0):
        for point in points:
            mean = mean + move * (point - mean)
        return mean

    N = len(points)
    start = 1 - beta**N
    yield "is not corrected for its start: divide by 1 - beta**N", walk()
    yield (
        "is corrected for N - 1 points: there are N",
        walk() / (1 - beta ** (N - 1)),
    )
    yield (
        "is corrected for N + 1 points: there are N",
        walk() / (1 - beta ** (N + 1)),
    )
    yield "is divided by 1 - beta: by 1 - beta**N", walk() / (1 - beta)
    yield "is multiplied by the correction: divide", walk() * start
    yield (
        "moves by beta: 1 - beta of the way is wanted",
        walk(move=beta) / start,
    )
    yield (
        "moves by beta: 1 - beta of the way is wanted",
        walk(move=beta) / (1 - (1 - beta) ** N),
    )
    yield "moves by beta, and is not corrected", walk(move=beta)
    yield (
        "goes through the points from the last to the first",
        walk(points[::-1]) / start,
    )
    yield "lacks the last point", walk(points[:-1]) / start
    yield (
        "lacks the last point",
        walk(points[:-1]) / (1 - beta ** (N - 1)),
    )
    yield "lacks the first point", walk(points[1:]) / start
    yield (
        "starts at the first point: start at zero, and correct",
        walk(points[1:], mean=points[0]),
    )
    yield "is the plain mean: the newest weighs most", points.mean(axis=0)
    yield "is the last point", points[-1]
