"""The usual mistakes in the functions of appendix A3."""

from dataclasses import replace

import numpy as np

from helpers import scale as right


def parameter_counts(config):
    V, C, F = config.vocab_size, config.d_model, config.d_ff
    L, counts = config.n_layers, right.parameter_counts(config)

    def change(**changes):
        names = {name.replace("_", " "): n for name, n in changes.items()}
        if "feed forward" in names:
            names["feed-forward"] = names.pop("feed forward")
        return counts | names

    whole = config.max_seq_len * C
    yield (
        "counts a table of sines, which is not trained",
        change(positions=whole),
    )
    yield "lacks the table of positions", change(positions=0)
    with_bias = right.parameter_counts(replace(config, bias=True))
    bare = right.parameter_counts(replace(config, bias=False))
    yield "counts biases though config.bias is False", (with_bias)
    yield "lacks the biases", (bare)
    bias = config.bias
    yield (
        "counts biases though config.bias is False",
        change(attention=with_bias["attention"]),
    )
    yield "lacks the biases of attention", change(attention=L * 4 * C * C)
    yield (
        "lacks the map behind the heads: attention has 4 C x C",
        change(attention=L * (3 * C * C + bias * 3 * C)),
    )
    yield (
        "counts C biases in attention where there are 4 C",
        change(attention=L * (4 * C * C + bias * C)),
    )
    yield (
        "lacks the bias of the map behind the heads",
        change(attention=L * (4 * C * C + bias * 3 * C)),
    )
    yield (
        "takes 4 C for d_ff: the config says how wide it is",
        change(feed_forward=L * (8 * C * C + bias * 5 * C)),
    )
    yield (
        "counts one of the two maps of the feed-forward layer",
        change(feed_forward=L * (C * F + bias * F)),
    )
    yield (
        "lacks one bias of the feed-forward layer",
        change(feed_forward=L * (2 * C * F + bias * F)),
    )
    final = config.norm == "pre"
    yield "lacks the norm behind the last block", change(norms=2 * L * 2 * C)
    yield (
        "counts a norm behind the last block, which post-norm lacks",
        change(norms=(2 * L + 1) * 2 * C),
    )
    yield (
        "counts C for a norm: it has a weight and a bias",
        change(norms=(2 * L + final) * C),
    )
    yield (
        "counts one norm in a block: there are two",
        change(norms=(L + final) * 2 * C),
    )
    yield (
        "counts the head though it is the token embedding",
        change(head=C * V),
    )
    yield "lacks the untied head", change(head=0)
    one = right.parameter_counts(replace(config, n_layers=1))
    yield "counts one block: n_layers is missing", (one)


def product_flops(config, B, T):
    C, L, H = config.d_model, config.n_layers, config.n_heads
    flops = right.product_flops(config, B, T)

    def times(factor, *names):
        return {
            name: round(n * factor) if name in names else n
            for name, n in flops.items()
        }

    every = tuple(flops)
    yield (
        "counts multiplications and no additions: twice as many",
        times(0.5, *every),
    )
    one = right.product_flops(config, 1, T)
    yield "counts one sequence: B is missing", (one)
    yield "counts the head once for each layer", times(L, "head")
    yield "counts one block: n_layers is missing", times(1 / L, *every[:-1])
    yield "counts C columns in qkv where there are 3 C", times(1 / 3, "qkv")
    pairs = "scores", "mix"
    yield (
        "counts H times too much in scores and mix: a head is C / H wide",
        (times(H, *pairs)),
    )
    yield (
        "counts one head in scores and mix: together they are C wide",
        times(1 / H, *pairs),
    )
    yield (
        "counts half of scores and mix: the mask hides, it saves nothing",
        (times(0.5, *pairs)),
    )
    longest = right.product_flops(config, B, config.max_seq_len)
    yield "takes max_seq_len where T is wanted", (longest)
    rows = config.max_seq_len / T
    yield "takes max_seq_len where T is wanted", times(rows, *every)
    yield (
        "counts H times too much in scores: a head is C / H wide",
        times(H, "scores"),
    )
    yield "takes 4 C for d_ff", times(4 * C / config.d_ff, "up", "down")
    yield (
        "lacks a T in scores and mix: each of T rows meets T others",
        times(1 / T, *pairs),
    )


def step_flops(config, B, T):
    forward = sum(right.product_flops(config, B, T).values())
    yield "is one forward pass: backward takes twice as much again", forward
    yield "is twice the forward pass: three times is right", 2 * forward
    yield "is four times the forward pass: three times is right", 4 * forward
    yield (
        "counts one sequence: B is missing",
        (3 * sum(right.product_flops(config, 1, T).values())),
    )
    n_params = sum(right.parameter_counts(config).values())
    yield "is 6 N D, which leaves out attention", 6 * n_params * B * T


def activation_bytes(config, B, T, itemsize=4, rng=None):
    held = right.activation_bytes(config, B, T, itemsize, rng)
    C, F, H, L = (
        config.d_model,
        config.d_ff,
        config.n_heads,
        config.n_layers,
    )

    def plus(block, ends=0):
        return held + itemsize * B * T * (L * block + ends)

    yield "takes 4 bytes where itemsize is wanted", held // itemsize * 4
    yield "counts numbers, not bytes", held // itemsize
    if config.activation == "gelu":
        yield "counts two hidden arrays: GELU keeps its tanh too", plus(-F)
        yield "counts one hidden array: GELU keeps three", plus(-2 * F)
    else:
        yield "counts a tanh, which ReLU has not", plus(F)
        yield "counts one hidden array: ReLU keeps two", plus(-F)
    yield "lacks the attention weights", plus(-H * T)
    yield "counts the attention weights of one head", plus(T - H * T)
    yield (
        "counts (T, T) attention weights for each position",
        plus(H * T * T - H * T),
    )
    yield "lacks q, k and v", plus(-3 * C)
    if rng is None:
        yield "lacks the merged heads", plus(-C)
        yield "lacks the head's input", plus(0, -C)
    yield "lacks the rstd of the norms", plus(-2, -(config.norm == "pre"))
    yield "lacks the rstd of the norms in the blocks", plus(-2)
    yield "counts one norm in a block: there are two", plus(-(C + 1))
    drop = C if config.dropout > 0 else 0
    if rng is None:
        yield (
            ("counts dropout without a generator: nothing is dropped then"),
            plus(2 * drop, drop),
        )
    elif drop:
        yield "lacks the factors of dropout", plus(-2 * drop, -drop)
        yield "lacks the factors of the first dropout", plus(0, -drop)
        yield "counts one dropout in a block: there are two", plus(-drop)
    else:
        yield "counts dropout though config.dropout is 0", plus(2 * C, C)
    if config.norm == "pre":
        yield "lacks the norm behind the last block", plus(0, -C - 1)
        yield "lacks the last norm and the head's input", plus(0, -2 * C - 1)
    else:
        yield (
            "counts a norm behind the last block, which post-norm lacks",
            (plus(0, C + 1)),
        )
    ends = held - right.activation_bytes(
        replace(config, n_layers=L + 1), B, T, itemsize, rng
    )
    yield "counts one block: n_layers is missing", held + (L - 1) * ends
    yield "counts one sequence: B is missing", held // B


def slope(x, y):
    def fit(x, y):
        return np.polyfit(x, y, 1)

    straight, logs = fit(x, y), fit(np.log(x), np.log(y))
    yield "lacks both logarithms", float(straight[0])
    yield "lacks the logarithm of x", float(fit(x, np.log(y))[0])
    yield "lacks the logarithm of y", float(fit(np.log(x), y)[0])
    yield "is a: polyfit returns the slope first", float(logs[1])
    turned = fit(np.log(y), np.log(x))
    yield "has x and y in each other's place", float(turned[0])
    ends = np.log(y[-1] / y[0]) / np.log(x[-1] / x[0])
    yield "goes by the first and the last point alone", float(ends)


def tokens_for_loss(log, loss):
    rows = [i for i, row in enumerate(log) if row["valid_loss"] <= loss]
    if not rows:
        yield "is infinite where None is wanted", "inf"
        yield (
            "is the last row's, though the loss was never there",
            log[-1]["tokens"],
        )
        return
    last = [i for i in rows if i and log[i - 1]["valid_loss"] > loss]
    places = [(rows[0], ""), *((i, LATER) for i in last[1:])]
    for i, when in places:
        if not i:
            yield "is None where the first row is low enough", None
            continue
        before, row = log[i - 1], log[i]
        start, end = before["tokens"], row["tokens"]
        fall = before["valid_loss"] - row["valid_loss"]
        share = (before["valid_loss"] - loss) / fall
        if when:
            yield when, start * (end / start) ** share
            continue
        yield "is that of the row: between two rows, interpolate", end
        yield "is that of the row before", start
        yield (
            "is a line over tokens, not over log(tokens)",
            (start + share * (end - start)),
        )
        yield (
            "has the share of the way turned round",
            (start * (end / start) ** (1 - share)),
        )
        yield (
            "is the logarithm of the tokens",
            (float(np.log(start) + share * np.log(end / start))),
        )
        yield (
            "has the share in front, not as an exponent",
            (start * (end / start) * share),
        )


LATER = "is when the loss was there again: the first time is wanted"


def lawful_loss(n_params, n_tokens, law):
    E, A, alpha, B, beta = law
    size, text = A / n_params**alpha, B / n_tokens**beta
    yield "lacks E, what no model can get below", size + text
    yield "lacks the term of the tokens", E + size
    yield "lacks the term of the parameters", E + text
    yield (
        "has alpha and beta in each other's place",
        (E + A / n_params**beta + B / n_tokens**alpha),
    )
    yield (
        "has A and B in each other's place",
        (E + B / n_params**alpha + A / n_tokens**beta),
    )
    yield (
        "has parameters and tokens in each other's place",
        (E + A / n_tokens**alpha + B / n_params**beta),
    )
    yield (
        "grows with size: divide by the powers",
        (E + A * n_params**alpha + B * n_tokens**beta),
    )
    yield (
        "has A and B inside the powers",
        (E + (A / n_params) ** alpha + (B / n_tokens) ** beta),
    )


def best_split(flops, law):
    n_params, n_tokens = right.best_split(flops, law)
    _, A, alpha, B, beta = law
    yield (
        "has tokens and parameters in each other's place",
        (
            n_tokens,
            n_params,
        ),
    )

    def split(G, share=beta / (alpha + beta), budget=flops / 6):
        n_params = G * budget**share
        return n_params, budget / n_params

    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    yield "lacks the 6 of 6 N D", split(G, budget=flops)
    half = G * flops ** (beta / (alpha + beta))
    yield "lacks the 6 under the power", (half, flops / 6 / half)
    yield "lacks the 6 in the tokens", (n_params, flops / n_params)
    turned = alpha / (alpha + beta)
    yield "has alpha where beta is wanted in the exponent", split(G, turned)
    yield "has G upside down", split(1 / G)
    wrong = (A / B) ** (1 / (alpha + beta))
    yield "lacks alpha and beta in G", split(wrong)
    yield "lacks the exponent of G", split(G ** (alpha + beta))
    yield "lacks G", split(1.0)
    yield (
        "has alpha and beta in each other's place in G",
        split((beta * A / (alpha * B)) ** (1 / (alpha + beta))),
    )


def training_days(flops, peak, utilisation, n_devices=1):
    seconds = flops / (n_devices * peak * utilisation)
    yield "is in seconds", seconds
    yield "is in hours", seconds / 3600
    yield "is in minutes", seconds / 60
    yield "lacks utilisation", seconds * utilisation / 86_400
    yield (
        "is multiplied by utilisation, not divided",
        (seconds * utilisation**2 / 86_400),
    )
    yield "lacks n_devices", seconds * n_devices / 86_400
    yield (
        "grows with n_devices: more of them take less",
        (seconds * n_devices**2 / 86_400),
    )


def state_bytes(n_params, n_devices=1, stage=0):
    def hold(shared):
        whole = 16 - shared
        return n_params * (shared / n_devices + whole)

    shares = 0, 12, 14, 16
    for other in range(4):
        if other == stage + 1 < 3:
            yield "shares out one part too many", hold(shares[other])
        if other == stage - 1 > 0:
            yield "shares out one part too few", hold(shares[other])
    turned = 0, 2, 4, 16
    yield (
        "begins to share at the wrong end: the 12 bytes come first",
        hold(turned[stage]),
    )
    rest = hold(shares[stage])
    yield "is of all devices: each holds its share", rest * n_devices
    yield "has all shared out, whatever the stage", 16 * n_params / n_devices
    yield "has nothing shared out", 16 * n_params
    yield (
        "shares what stays and keeps what is shared",
        hold(16 - shares[stage]),
    )
    for each, what in ((4, "is in float32: weights and gradients take 2"),):
        whole = (12, each, each)
        part = sum(whole[:stage]) / n_devices + sum(whole[stage:])
        yield what, n_params * part
    lost = sum((8, 2, 2)[:stage]) / n_devices + sum((8, 2, 2)[stage:])
    yield (
        "lacks the float32 copy of the weights: 12 bytes, not 8",
        (n_params * lost),
    )


def ring_all_reduce(vectors):
    total, N = sum(vectors), len(vectors)
    sums, sent = right.ring_all_reduce(vectors)
    if N == 1:
        return
    yield (
        "has one number of bytes for each step: one a rank is wanted",
        (
            sums,
            sent[:, 0],
        ),
    )
    yield "counts numbers, not bytes", (sums, sent // total.itemsize)
    yield (
        "has the axes of sent turned: steps first, then ranks",
        (
            sums,
            sent.T,
        ),
    )
    yield (
        ("has whole vectors sent: a message is one of N chunks"),
        (sums, np.full_like(sent, total.nbytes)),
    )
    even = np.full(sent.shape, total.nbytes / N)
    yield (
        ("has made up the bytes: not all chunks are equally long"),
        (sums, even),
    )
    yield (
        ("has made up the bytes: not all chunks are equally long"),
        (sums, even.astype(int)),
    )
    yield (
        (
            "has whole vectors travel once round: that is N - 1 steps, and "
            "messages of full length"
        ),
        (sums, np.full((N - 1, N), total.nbytes)),
    )
    for steps in (N - 1, N):
        yield (
            "stops early: 2 (N - 1) steps are needed",
            (_run(vectors, steps)),
        )
    yield (
        "goes on adding when the sums are handed on",
        _run(vectors, added=2 * N),
    )
    yield "replaces one step too early", _run(vectors, added=N - 2)
    yield "adds one step too long", _run(vectors, added=N)
    yield (
        "never adds: what arrives replaces what was there",
        _run(vectors, added=0),
    )
    yield "has the mean, not the sum", ([total / N] * N, sent)
    yield (
        ("sends chunk (r + s): it has to be (r - s), what has just come in"),
        _run(vectors, way=1),
    )
    yield "sends the same chunk in every step", _run(vectors, way=0)


def _run(vectors, steps=None, added=None, way=-1):
    """Return what a ring does that goes wrong."""
    N = len(vectors)
    added = N - 1 if added is None else added
    chunks = [np.array_split(vector.copy(), N) for vector in vectors]
    sent = []
    for step in range(2 * (N - 1) if steps is None else steps):
        messages = []
        for rank in range(N):
            which = (rank + way * step) % N
            messages.append((rank, which, chunks[rank][which].copy()))
        for rank, which, message in messages:
            place = chunks[(rank + 1) % N][which]
            place[:] = place + message if step < added else message
        sent.append([message.nbytes for _, _, message in messages])
    return [np.concatenate(parts) for parts in chunks], np.array(sent)


def ring_seconds(n_bytes, N, latency, bandwidth):
    def take(steps, m=n_bytes / N, latency=latency):
        return steps * (latency + m / bandwidth)

    yield "has N - 1 messages: as many more hand the sums on", take(N - 1)
    yield "has 2 N messages: the last of each round is not needed", take(2 * N)
    yield "has a single message", take(1)
    yield (
        "sends whole vectors: a message is n_bytes / N",
        take(2 * (N - 1), n_bytes),
    )
    yield "lacks the latency", take(2 * (N - 1), latency=0)
    yield (
        "has the latency once: each message waits",
        (latency + take(2 * (N - 1), latency=0)),
    )
    yield (
        "is multiplied by bandwidth, not divided",
        (2 * (N - 1) * (latency + n_bytes / N * bandwidth)),
    )
    yield (
        "has n_bytes a message and all ranks one after another",
        take(2 * (N - 1) * N),
    )


def step_seconds(shared, alone, n_bytes, N, latency, bandwidth):
    ring = right.ring_seconds(n_bytes, N, latency, bandwidth)
    yield "lacks the ring", shared / N + alone
    yield "lacks what each rank does alone", shared / N + ring
    yield (
        "has the shared work whole: N ranks divide it",
        (shared + alone + ring),
    )
    yield (
        "divides what each rank must do itself",
        ((shared + alone) / N + ring),
    )
    yield "divides the ring by N", (shared + ring) / N + alone
    yield "divides everything by N", (shared + alone + ring) / N
    yield "lacks the shared work", alone + ring


def utilisation(config, T, tokens_per_second, peak):
    second = tokens_per_second / peak
    window = right.step_flops(config, 1, T)
    yield (
        "counts T tokens as one: divide FLOPs by the tokens they are for",
        window * second,
    )
    n_params = sum(right.parameter_counts(config).values())
    yield (
        "takes 6 N for a token, which leaves out attention",
        6 * n_params * second,
    )
    yield (
        "counts forward alone: backward takes twice as much again",
        window / T * second / 3,
    )
    yield (
        "counts backward alone: forward takes half as much again",
        window / T * second * 2 / 3,
    )
    yield "lacks peak: a share is wanted", window / T * tokens_per_second
    yield "is peak over what is done", 1 / (window / T * second)
    yield "is in per cent: a share is wanted", 100 * window / T * second
    yield (
        "takes the FLOPs of a window of one token",
        right.step_flops(config, 1, 1) * second,
    )


def bill(forward, backward):
    # [bytes kept, FLOPs, whether the gradients are right] of feed_forward
    kept, flops = 2400, 7200
    yield "is that of feed_forward: its cache was kept", [kept, flops, 1]
    yield (
        "keeps what feed_forward keeps, though it is computed again",
        [kept, flops + 2400, 1],
    )
    yield (
        "has a forward pass too many: one, and one again",
        [0, flops + 2 * 2400, 1],
    )


def doubling(vectors):
    N = len(vectors)
    ranks, steps = np.arange(N), range(N.bit_length() - 1)

    def run(partner, held=vectors, meet=np.add):
        rows = [held]
        for s in steps:
            rows.append(meet(rows[-1], rows[-1][partner(s)]))
        return np.array(rows)

    def fold(s):
        return ranks ^ (1 << s)

    whole = run(fold)
    yield "lacks the start: k + 1 arrays, the first before any step", whole[1:]
    yield "lacks the last step: there are k = log2 N", whole[:-1]
    yield "is what the ranks hold in the end: return every step", whole[-1]
    one = [vectors.copy()]
    for s in steps:
        held = one[-1].copy()
        for rank in ranks:
            held[rank] += held[rank ^ (1 << s)]
        one.append(held)
    yield (
        "adds before all have sent: make the new array from the old one",
        np.array(one),
    )
    yield "has the same partner in every step", run(lambda s: ranks ^ 1)
    yield (
        "has r ^ s for r ^ (1 << s)",
        run(lambda s: ranks ^ s),
    )
    yield (
        "begins with the farthest partner: step s is bit s",
        run(lambda s: ranks ^ (N >> s + 1)),
    )
    yield (
        "has r + 2^s for r ^ 2^s, a ring",
        run(lambda s: (ranks + (1 << s)) % N),
    )
    yield (
        "has r - 2^s for r ^ 2^s, a ring",
        run(lambda s: (ranks - (1 << s)) % N),
    )
    yield (
        "holds what arrives: add it to what a rank has",
        run(fold, meet=lambda held, came: came),
    )
    yield (
        "sends the first vectors in every step: send what is held now",
        np.array([vectors, *_sums_of_first(vectors, fold, steps)]),
    )
    yield "has the ranks along axis 0: steps come first", whole.swapaxes(0, 1)
    total = np.broadcast_to(vectors.sum(axis=0), vectors.shape)
    yield (
        "has one array k + 1 times: make a new one in each step",
        np.array([whole[-1], *[whole[-1] for _ in steps]]),
    )
    yield (
        "has the sum of all at once: a step adds one partner's",
        np.array([vectors, *[total for _ in steps]]),
    )


def _sums_of_first(vectors, fold, steps):
    """Yield what is held where each rank sends only its own vector."""
    held = vectors
    for s in steps:
        held = held + vectors[fold(s)]
        yield held
