"""What a model costs: parameters, FLOPs, bytes, time, and messages.

Built in notebooks/A3_scale.ipynb. Counts are exact and come from the sizes
alone: B sequences of T positions go through a model described by its config.
"""

import time

import numpy as np

from helpers.runs.params import map_arrays

__all__ = [
    "parameter_counts",
    "product_flops",
    "step_flops",
    "apply",
    "Traced",
    "traced",
    "note",
    "trace",
    "activation_bytes",
    "owners",
    "distinct_bytes",
    "slope",
    "best_seconds",
    "roof",
    "tokens_for_loss",
    "LAWS",
    "lawful_loss",
    "best_split",
    "training_days",
    "state_bytes",
    "ring_all_reduce",
    "ring_seconds",
    "step_seconds",
]


def parameter_counts(config):
    """Return {part: how many numbers training may change}."""
    V, C, F = config.vocab_size, config.d_model, config.d_ff
    L = config.n_layers
    learned = config.positions == "learned"
    final_norm = config.norm == "pre"
    return {
        "token embedding": V * C,
        "positions": learned * config.max_seq_len * C,
        "attention": L * (4 * C * C + config.bias * 4 * C),
        "feed-forward": L * (2 * C * F + config.bias * (F + C)),
        "norms": (2 * L + final_norm) * 2 * C,
        "head": (not config.tied_head) * C * V,
    }


def product_flops(config, B, T):
    """Return {matrix product: FLOPs} of one forward pass.

    (m, k) @ (k, n) takes m n k multiplications and as many additions.
    """
    V, C, F = config.vocab_size, config.d_model, config.d_ff
    L = config.n_layers
    rows = B * T
    return {
        "qkv": L * 2 * rows * C * 3 * C,
        "scores": L * 2 * rows * C * T,
        "mix": L * 2 * rows * T * C,
        "out": L * 2 * rows * C * C,
        "up": L * 2 * rows * C * F,
        "down": L * 2 * rows * F * C,
        "head": 2 * rows * C * V,
    }


def step_flops(config, B, T):
    """Return the FLOPs of the products of one forward and backward pass.

    Backward takes two for each one: the gradient of either factor.
    """
    return 3 * sum(product_flops(config, B, T).values())


def apply(function, value):
    """Apply function to each array in nested dicts, lists and tuples."""
    if isinstance(value, tuple):
        return tuple(apply(function, part) for part in value)
    if isinstance(value, dict | list):
        return map_arrays(lambda part: apply(function, part), value)
    return function(value) if isinstance(value, np.ndarray) else value


class Traced(np.ndarray):
    """An array that writes down every operation of NumPy on it."""

    def __array_finalize__(self, source):
        self.notes = getattr(source, "notes", None)  # views share the list

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        function = getattr(ufunc, method)
        return self.carry_out(function, ufunc.__name__, inputs, settings)

    def __array_function__(self, function, types, inputs, settings):
        name = function.__name__
        return self.carry_out(function, name, inputs, settings)

    def carry_out(self, function, name, inputs, settings):
        inputs = apply(np.asarray, inputs)
        settings = apply(np.asarray, settings)
        result = function(*inputs, **settings)
        self.notes.append(note(name, inputs, result))
        return traced(result, self.notes)


def traced(value, notes):
    """Have the arrays in value write what is done with them to notes."""

    def mark(array):
        array = array.view(Traced)
        array.notes = notes
        return array

    return apply(mark, value)


def note(name, inputs, result):
    """Return (name, FLOPs, bytes read and written) of one operation.

    A product counts its multiplications and additions, other arithmetic one
    FLOP for each number of its largest array, a copy or a choice none.
    """
    arrays = [a for a in (*inputs, result) if isinstance(a, np.ndarray)]
    flops = max((a.size for a in arrays), default=0)
    if name == "matmul":
        flops = 2 * result.size * inputs[0].shape[-1]
    elif name in ("concatenate", "where", "copyto"):
        flops = 0
    return name, flops, sum(a.nbytes for a in arrays)


def trace(function, *arguments):
    """Call function and return what it returns, and notes of what it did.

    Arrays may stand in dicts, lists and tuples. Indexing and what makes an
    array from nothing leave no note.
    """
    notes = []
    arguments = traced(arguments, notes)
    result = function(*arguments)
    return apply(np.asarray, result), notes


def activation_bytes(config, B, T, itemsize=4, rng=None):
    """Return the bytes that the cache of language_model holds.

    rng as in language_model: with one, dropout keeps its factors.
    """
    C, H = config.d_model, config.n_heads
    final_norm = config.norm == "pre"
    drop = C if rng is not None and config.dropout > 0 else 0
    attention = C + 3 * C + H * T + C  # x; q, k, v; weights; merged heads
    kept = {"gelu": 3, "relu": 2}[config.activation]  # gelu keeps its tanh
    feed_forward = C + kept * config.d_ff
    norms = 2 * (C + 1)  # the normalised x and one rstd
    block = attention + feed_forward + norms + 2 * drop
    ends = drop + final_norm * (C + 1) + C
    return itemsize * B * T * (config.n_layers * block + ends)


def owners(tree):
    """Return {id: bytes} of the memory that the arrays of a tree view."""
    found = {}

    def collect(array):
        while isinstance(array.base, np.ndarray):
            array = array.base
        found[id(array)] = array.nbytes

    apply(collect, tree)
    return found


def distinct_bytes(cache, given):
    """Return the bytes of the arrays in cache, each memory counted once.

    Arrays of given, such as parameters and ids, are not counted.
    """
    kept = owners(cache)
    return sum(kept[memory] for memory in kept.keys() - owners(given).keys())


def slope(x, y):
    """Return b of the line log y = a + b log x that fits best: y ~ x^b."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def best_seconds(function, *arguments, repeats=5):
    """Return the shortest of several times that function takes.

    What else the machine does can only lengthen a time.
    """
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - began)
    return min(times)


def roof(intensity, peak, bandwidth):
    """Return the FLOP/s that arithmetic and memory allow.

    intensity in FLOPs per byte, peak in FLOP/s, bandwidth in bytes/s.
    Source: Williams, Waterman and Patterson 2009.
    """
    return np.minimum(peak, np.asarray(intensity) * bandwidth)


def tokens_for_loss(log, loss):
    """Return after how many tokens a run first had a validation loss.

    log: rows as train writes them; in between, the loss is taken as a line
    over log(tokens). None if the run never got there.
    """
    before = None
    for row in log:
        tokens = row["tokens"]
        if row["valid_loss"] <= loss:
            if before is None:
                return tokens
            fall = before["valid_loss"] - row["valid_loss"]
            share = (before["valid_loss"] - loss) / fall
            return before["tokens"] * (tokens / before["tokens"]) ** share
        before = row
    return None


LAWS = {  # E, A, alpha, B, beta
    "Hoffmann et al. 2022": (1.69, 406.4, 0.34, 410.7, 0.28),
    "Besiroglu et al. 2024": (1.8172, 482.01, 0.3478, 2085.43, 0.3658),
}


def lawful_loss(n_params, n_tokens, law):
    """Return E + A / params^alpha + B / tokens^beta, in nats per token.

    Source: Hoffmann et al. 2022, section 3.3; law is one of LAWS.
    """
    E, A, alpha, B, beta = law
    return E + A / n_params**alpha + B / n_tokens**beta


def best_split(flops, law):
    """Return params and tokens of least lawful_loss, 6 params tokens = flops.

    Source: Hoffmann et al. 2022, equation 4.
    """
    _, A, alpha, B, beta = law
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    n_params = G * (flops / 6) ** (beta / (alpha + beta))
    return n_params, flops / 6 / n_params


def training_days(flops, peak, utilisation, n_devices=1):
    """Return days of work on devices that reach a share of their peak."""
    return flops / (n_devices * peak * utilisation) / 86_400


def state_bytes(n_params, n_devices=1, stage=0):
    """Return the bytes each device holds for weights, gradients and Adam.

    In mixed precision: weights and gradients in 2 bytes each, and in float32
    weights, means and squares, 12 bytes. Stage 1 shares those 12 out over
    the devices, stage 2 the gradients too, stage 3 everything.
    Source: Rajbhandari et al. 2020, sections 3 and 5.
    """
    bytes_each = (12, 2, 2)  # optimizer, gradients, weights
    shared, whole = sum(bytes_each[:stage]), sum(bytes_each[stage:])
    return n_params * (shared / n_devices + whole)


def ring_all_reduce(vectors):
    """Sum the vectors of N ranks, each sending only to the next in a ring.

    N - 1 steps add up chunks on their way around, N - 1 more hand the sums
    on. Returns N results and the bytes each rank sent, (steps, N).
    Source: Patarasuk and Yuan 2009.
    """
    N = len(vectors)
    chunks = [np.array_split(vector.copy(), N) for vector in vectors]
    sent = []
    for step in range(2 * (N - 1)):
        messages = []
        for rank in range(N):
            which = (rank - step) % N
            messages.append((rank, which, chunks[rank][which].copy()))
        for rank, which, message in messages:
            place = chunks[(rank + 1) % N][which]
            place[:] = place + message if step < N - 1 else message
        sent.append([message.nbytes for _, _, message in messages])
    return [np.concatenate(parts) for parts in chunks], np.array(sent)


def ring_seconds(n_bytes, N, latency, bandwidth):
    """Return the time of a ring all-reduce of n_bytes over N ranks.

    A message of m bytes takes latency + m / bandwidth seconds.
    """
    steps = 2 * (N - 1)
    return steps * (latency + n_bytes / N / bandwidth)


def step_seconds(shared, alone, n_bytes, N, latency, bandwidth):
    """Return the time of a training step on N ranks.

    shared: seconds of work that N ranks divide; alone: of what each must do
    itself. Source: Amdahl 1967, and the ring.
    """
    return shared / N + alone + ring_seconds(n_bytes, N, latency, bandwidth)
