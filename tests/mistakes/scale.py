"""Learners' mistakes in appendix A3."""

import numpy as np

from helpers.checks.gradients import check_value
from helpers.language_model import ModelConfig
from helpers.runs.params import named_arrays
from helpers.scale import distinct_bytes, step_flops, trace, training_days
from helpers.transformer_block import feed_forward, feed_forward_backward

WRONG = {
    "parameter_counts": [
        (
            "learned * config.max_seq_len",
            "config.max_seq_len",
            "a table of sines",
        ),
        ("learned * config.max_seq_len * C", "0", "lacks the table"),
        ("config.bias * 4 * C", "4 * C", "config.bias is False"),
        (
            "4 * C * C + config.bias * 4 * C",
            "4 * C * C",
            "biases of attention",
        ),
        (
            "4 * C * C + config.bias * 4 * C",
            "3 * C * C + config.bias * 3 * C",
            "lacks the map behind the heads",
        ),
        ("config.bias * 4 * C", "config.bias * C", "counts C biases"),
        (
            "config.bias * 4 * C",
            "config.bias * 3 * C",
            "lacks the bias of the map",
        ),
        (
            "2 * C * F + config.bias * (F + C)",
            "8 * C * C + config.bias * 5 * C",
            "takes 4 C for d_ff",
        ),
        ("config.bias * (F + C)", "config.bias * F", "lacks one bias"),
        ("2 * L + final_norm", "2 * L", "behind the last block"),
        ('config.norm == "pre"', "True", "which post-norm lacks"),
        (
            "(2 * L + final_norm) * 2 * C",
            "(2 * L + final_norm) * C",
            "a weight and a bias",
        ),
        ("(not config.tied_head) * C * V", "C * V", "the token embedding"),
        ("(not config.tied_head) * C * V", "0", "lacks the untied head"),
        (
            "config.tied_head)",
            "config.tied_head is None)",
            "the token embedding",
        ),
        ("L = config.n_layers", "L = 1", "counts one block"),
        (
            '"head": (not config.tied_head) * C * V,',
            "",
            "-",
        ),
        (
            "config.d_model, config.d_ff",
            "config.d_model, config.ff",
            "no attribute",
        ),
    ],
    "product_flops": [
        ("rows = B * T", "rows = T", "counts one sequence"),
        ("rows = B * T", "rows = B * T / 2", "counts multiplications"),
        ("L = config.n_layers", "L = 1", "counts one block"),
        ('"head": 2', '"head": L * 2', "once for each layer"),
        ("C * 3 * C", "C * C", "where there are 3 C"),
        ("rows * C * T", "rows * C * T * config.n_heads", "a head is C / H"),
        ("rows = B * T", "rows = B * config.max_seq_len", "takes max_seq_len"),
        (
            "V, C, F = config.vocab_size, config.d_model, config.d_ff",
            "V, C, F = config.vocab_size, config.d_model, 4 * config.d_model",
            "takes 4 C for d_ff",
        ),
        (
            """"scores": L * 2 * rows * C * T,
        "mix": L * 2 * rows * T * C,""",
            """"scores": L * rows * C * T,
        "mix": L * rows * T * C,""",
            "the mask hides",
        ),
        (
            """"scores": L * 2 * rows * C * T,
        "mix": L * 2 * rows * T * C,""",
            """"scores": L * 2 * rows * C,
        "mix": L * 2 * rows * C,""",
            "lacks a T",
        ),
        (
            """"scores": L * 2 * rows * C * T,
        "mix": L * 2 * rows * T * C,""",
            """"scores": config.n_heads * L * 2 * rows * C * T,
        "mix": config.n_heads * L * 2 * rows * T * C,""",
            "a head is C / H wide",
        ),
        ('"scores"', '"q @ k.T"', "lacks 'scores'"),
    ],
    "step_flops": [
        ("3 * ", "", "one forward pass"),
        ("3 * ", "2 * ", "twice the forward pass"),
        ("3 * ", "4 * ", "three times is right"),
        (
            "sum(product_flops(config, B, T)",
            "sum(product_flops(config, 1, T)",
            "B is missing",
        ),
        (
            "sum(product_flops(config, B, T).values())",
            "2 * sum(parameter_counts(config).values()) * B * T",
            "6 N D",
        ),
        (".values())", ")", "TypeError"),
        ("return 3 * sum", "3 * sum", "Is there a return?"),
        ("return 3 *", "return 3 * B *", "-"),
    ],
    "activation_bytes": [
        ("return itemsize *", "return 4 *", "where itemsize is wanted"),
        ("return itemsize *", "return", "numbers, not bytes"),
        (
            '{"gelu": 3, "relu": 2}',
            '{"gelu": 2, "relu": 2}',
            "GELU keeps its tanh",
        ),
        (
            '{"gelu": 3, "relu": 2}',
            '{"gelu": 1, "relu": 1}',
            "GELU keeps three",
        ),
        ('{"gelu": 3, "relu": 2}', '{"gelu": 3, "relu": 3}', "ReLU has not"),
        (
            "C + 3 * C + H * T + C",
            "C + 3 * C + C",
            "lacks the attention weights",
        ),
        ("C + 3 * C + H * T + C", "C + 3 * C + T + C", "of one head"),
        (
            "C + 3 * C + H * T + C",
            "C + 3 * C + H * T * T + C",
            "for each position",
        ),
        ("C + 3 * C + H * T + C", "C + H * T + C", "lacks q, k and v"),
        (
            "C + 3 * C + H * T + C",
            "C + 3 * C + H * T",
            "lacks the merged heads",
        ),
        (
            "norms = 2 * (C + 1)",
            "norms = 2 * C",
            "rstd of the norms in the blocks",
        ),
        ("norms = 2 * (C + 1)", "norms = C + 1", "there are two"),
        (
            "rng is not None and config.dropout > 0",
            "rng is not None",
            "config.dropout is 0",
        ),
        (
            "rng is not None and config.dropout > 0",
            "config.dropout > 0",
            "nothing is dropped then",
        ),
        (
            "C if rng is not None and config.dropout > 0 else 0",
            "0",
            "lacks the factors of dropout",
        ),
        ("2 * drop", "drop", "one dropout in a block"),
        ("ends = drop + ", "ends = ", "of the first dropout"),
        ("final_norm * (C + 1) + C", "C", "behind the last block"),
        ("final_norm * (C + 1) + C", "C + 1 + C", "which post-norm lacks"),
        (
            "final_norm * (C + 1) + C",
            "final_norm * (C + 1)",
            "lacks the head's input",
        ),
        ("config.n_layers * block", "block", "counts one block"),
        ("itemsize * B * T", "itemsize * T", "counts one sequence"),
    ],
    "slope": [
        ("np.log(x), np.log(y)", "x, y", "lacks both logarithms"),
        ("np.log(x), np.log(y)", "x, np.log(y)", "lacks the logarithm of x"),
        ("np.log(x), np.log(y)", "np.log(x), y", "lacks the logarithm of y"),
        ("[0]", "[1]", "slope first"),
        ("np.log(x), np.log(y)", "np.log(y), np.log(x)", "each other's place"),
        (", 1)[0]", ", 2)[0]", "-"),
        (
            "float(np.polyfit(np.log(x), np.log(y), 1)[0])",
            "np.polyfit(np.log(x), np.log(y), 1)",
            "-",
        ),
        (
            "float(np.polyfit(np.log(x), np.log(y), 1)[0])",
            "np.log(y[-1] / y[0]) / np.log(x[-1] / x[0])",
            "the first and the last point",
        ),
    ],
    "best_seconds": [
        ("min(times)", "sum(times) / len(times)", "the mean"),
        ("min(times)", "np.median(times)", "the median"),
        ("min(times)", "max(times)", "the longest"),
        ("min(times)", "times[-1]", "the last"),
        ("min(times)", "times[0]", "the first"),
        ("min(times)", "sum(times)", "the sum"),
        ("range(repeats)", "range(1)", "'calls'] is 1"),
        ("range(repeats)", "range(5)", "'calls'] is 5"),
        ("min(times)", "times", "-"),
        ("        function(*arguments)\n", "        pass\n", "-"),
        (
            "        function(*arguments)\n",
            "        function()\n",
            "TypeError",
        ),
        (
            "def best_seconds(function, *arguments, repeats=5):\n"
            "    began = time.perf_counter()\n"
            "    for _ in range(repeats):\n"
            "        function(*arguments)\n"
            "    return (time.perf_counter() - began) / repeats\n",
            "the mean",
        ),
    ],
    "tokens_for_loss": [
        (
            'before["tokens"] * (tokens / before["tokens"]) ** share',
            "tokens",
            "between two rows, interpolate",
        ),
        (
            'before["tokens"] * (tokens / before["tokens"]) ** share',
            'before["tokens"]',
            "that of the row before",
        ),
        (
            'before["tokens"] * (tokens / before["tokens"]) ** share',
            'before["tokens"] + share * (tokens - before["tokens"])',
            "not over log(tokens)",
        ),
        (
            '(before["valid_loss"] - loss) / fall',
            '(loss - row["valid_loss"]) / fall',
            "turned round",
        ),
        ("<= loss", "< loss", "-"),
        ("    return None", '    return row["tokens"]', "never there"),
        ("    return None", '    return float("inf")', "None is wanted"),
        (
            "            if before is None:\n                return tokens\n",
            "",
            "TypeError",
        ),
        ("for row in log", "for row in log[1:]", "-"),
        (
            'before["tokens"] * (tokens / before["tokens"]) ** share',
            'before["tokens"] * (tokens / before["tokens"]) * share',
            "not as an exponent",
        ),
        (
            "def tokens_for_loss(log, loss):\n"
            "    losses = [row['valid_loss'] for row in log]\n"
            "    logs = [np.log(row['tokens']) for row in log]\n"
            "    return float(np.exp(np.interp(loss, losses, logs)))\n",
            "-",
        ),
        ('row["valid_loss"] <= loss', 'row["train_loss"] <= loss', "-"),
    ],
    "lawful_loss": [
        ("return E + A", "return A", "lacks E"),
        (" + B / n_tokens**beta", "", "lacks the term of the tokens"),
        ("A / n_params**alpha + ", "", "lacks the term of the parameters"),
        (
            "A / n_params**alpha + B / n_tokens**beta",
            "A / n_params**beta + B / n_tokens**alpha",
            "alpha and beta in each other's place",
        ),
        (
            "A / n_params**alpha + B / n_tokens**beta",
            "A / n_tokens**alpha + B / n_params**beta",
            "parameters and tokens in each other's place",
        ),
        ("E, A, alpha, B, beta", "E, A, B, alpha, beta", "-"),
        (
            "A / n_params**alpha + B / n_tokens**beta",
            "A * n_params**alpha + B * n_tokens**beta",
            "grows with size",
        ),
        (
            "A / n_params**alpha + B / n_tokens**beta",
            "(A / n_params)**alpha + (B / n_tokens)**beta",
            "inside the powers",
        ),
        (
            "A / n_params**alpha + B / n_tokens**beta",
            "B / n_params**alpha + A / n_tokens**beta",
            "has A and B in each other's place",
        ),
    ],
    "best_split": [
        (
            "return n_params, flops / 6 / n_params",
            "return flops / 6 / n_params, n_params",
            "each other's place",
        ),
        (
            "n_params = G * (flops / 6) ** (beta / (alpha + beta))\n"
            "    return n_params, flops / 6 / n_params",
            "n_params = G * flops ** (beta / (alpha + beta))\n"
            "    return n_params, flops / n_params",
            "lacks the 6 of 6 N D",
        ),
        ("G * (flops / 6)", "G * flops", "under the power"),
        ("flops / 6 / n_params", "flops / n_params", "in the tokens"),
        ("** (beta / (", "** (alpha / (", "in the exponent"),
        (
            "(alpha * A / (beta * B))",
            "(beta * B / (alpha * A))",
            "upside down",
        ),
        ("(alpha * A / (beta * B))", "(A / B)", "lacks alpha and beta in G"),
        (
            "(beta * B)) ** (1 / (alpha + beta))",
            "(beta * B))",
            "lacks the exponent of G",
        ),
        ("(alpha * A / (beta * B))", "(beta * A / (alpha * B))", "place in G"),
        ("return n_params, flops / 6 / n_params", "return n_params", "-"),
    ],
    "training_days": [
        (" / 86_400", "", "in seconds"),
        ("86_400", "3600", "in hours"),
        ("86_400", "60", "in minutes"),
        (" * utilisation", "", "lacks utilisation"),
        (
            "(n_devices * peak * utilisation)",
            "(n_devices * peak) * utilisation",
            "multiplied by utilisation",
        ),
        ("n_devices * peak", "peak", "lacks n_devices"),
        (
            "flops / (n_devices * peak",
            "n_devices * flops / (peak",
            "more of them take less",
        ),
    ],
    "state_bytes": [
        (
            "[:stage]), sum(bytes_each[stage:])",
            "[:stage + 1]), sum(bytes_each[stage + 1:])",
            "one part too many",
        ),
        ("(12, 2, 2)", "(2, 2, 12)", "wrong end"),
        (
            "(shared / n_devices + whole)",
            "(shared + whole)",
            "nothing shared out",
        ),
        (
            "(shared / n_devices + whole)",
            "(shared + whole) / n_devices",
            "whatever the stage",
        ),
        (
            "(shared / n_devices + whole)",
            "(shared + whole / n_devices)",
            "shares what stays",
        ),
        ("(12, 2, 2)", "(12, 4, 4)", "is in float32"),
        ("(12, 2, 2)", "(8, 2, 2)", "float32 copy"),
        (
            "(shared / n_devices + whole)",
            "(shared + whole * n_devices)",
            "of all devices",
        ),
        ("shared / n_devices", "shared // n_devices", "-"),
    ],
    "ring_all_reduce": [
        ("vector.copy()", "vector", "changed vectors in place"),
        ("range(2 * (N - 1))", "range(N - 1)", "stops early"),
        ("range(2 * (N - 1))", "range(N)", "stops early"),
        ("step < N - 1", "True", "goes on adding"),
        ("step < N - 1", "step < N - 2", "one step too early"),
        ("step < N - 1", "step < N", "one step too long"),
        ("step < N - 1", "False", "never adds"),
        ("(rank - step) % N", "(rank + step) % N", "sends chunk (r + s)"),
        ("(rank - step) % N", "rank", "sends the same chunk"),
        ("message.nbytes for", "message.size for", "numbers, not bytes"),
        (
            "sent.append([message.nbytes for _, _, message in messages])",
            "sent.append(messages[0][2].nbytes)",
            "one number of bytes",
        ),
        (
            "[np.concatenate(parts) for parts in chunks]",
            "np.concatenate(chunks[0])",
            "-",
        ),
        (
            "def ring_all_reduce(vectors):\n"
            "    N, total = len(vectors), sum(vectors)\n"
            "    sent = np.full((2 * (N - 1), N), total.nbytes / N)\n"
            "    return [total.copy() for _ in vectors], sent\n",
            "has made up the bytes",
        ),
        (
            "def ring_all_reduce(vectors):\n"
            "    N, total = len(vectors), sum(vectors)\n"
            "    sent = np.full((2 * (N - 1), N), total.nbytes // N)\n"
            "    return [total.copy() for _ in vectors], sent\n",
            "has made up the bytes",
        ),
        (
            "def ring_all_reduce(vectors):\n"
            "    N, total = len(vectors), sum(vectors)\n"
            "    sent = np.full((2 * (N - 1), N), total.nbytes)\n"
            "    return [total.copy() for _ in vectors], sent\n",
            "has whole vectors sent",
        ),
        (
            "def ring_all_reduce(vectors):\n"
            "    N, held, sent = len(vectors), list(vectors), []\n"
            "    going = list(vectors)\n"
            "    for step in range(N - 1):\n"
            "        going = [going[(rank - 1) % N] for rank in range(N)]\n"
            "        held = [a + b for a, b in zip(held, going)]\n"
            "        sent.append([part.nbytes for part in going])\n"
            "    return held, np.array(sent)\n",
            "whole vectors travel once round",
        ),
        (
            "def ring_all_reduce(vectors):\n"
            "    N = len(vectors)\n"
            "    chunks = [np.split(v.copy(), N) for v in vectors]\n"
            "    return chunks, None\n",
            "ValueError",
        ),
        ("np.array(sent)", "np.array(sent).T", "axes of sent turned"),
        (
            (
                "def ring_all_reduce(vectors):\n"
                "    N = len(vectors)\n"
                "    total = sum(vectors)\n"
                "    sent = np.full((2 * (N - 1), N), total.nbytes // N)\n"
                "    return [total.copy() for _ in vectors], sent\n"
            ),
            "has made up the bytes",
        ),
    ],
    "ring_seconds": [
        ("2 * (N - 1)", "N - 1", "has N - 1 messages"),
        ("2 * (N - 1)", "2 * N", "has 2 N messages"),
        ("n_bytes / N / bandwidth", "n_bytes / bandwidth", "whole vectors"),
        ("(latency + ", "(", "lacks the latency"),
        (
            "steps * (latency + n_bytes / N / bandwidth)",
            "latency + steps * n_bytes / N / bandwidth",
            "latency once",
        ),
        ("/ N / bandwidth", "/ N * bandwidth", "multiplied by bandwidth"),
        ("steps * (", "(", "a single message"),
        ("2 * (N - 1)", "2 * (N - 1) * N", "one after another"),
        (
            "steps * (latency + n_bytes / N / bandwidth)",
            "max(0, steps) * (latency + n_bytes / N / bandwidth)",
            "-",
        ),
    ],
    "step_seconds": [
        (
            " + ring_seconds(n_bytes, N, latency, bandwidth)",
            "",
            "lacks the ring",
        ),
        (" + alone", "", "lacks what each rank does alone"),
        ("shared / N", "shared", "N ranks divide it"),
        ("shared / N + alone", "(shared + alone) / N", "must do itself"),
        (
            "+ ring_seconds(n_bytes, N, latency, bandwidth)",
            "+ ring_seconds(n_bytes, N, latency, bandwidth) / N",
            "divides the ring",
        ),
        ("shared / N + ", "", "lacks the shared work"),
        (
            "ring_seconds(n_bytes, N, latency, bandwidth)",
            "ring_seconds(n_bytes, N, bandwidth, latency)",
            "-",
        ),
    ],
}

RIGHT = {
    "parameter_counts": [
        """
def parameter_counts(config):
    C, L = config.d_model, config.n_layers
    counts = dict.fromkeys(("token embedding", "positions", "attention"), 0)
    counts["token embedding"] = config.vocab_size * C
    if config.positions == "learned":
        counts["positions"] = config.max_seq_len * C
    linear = lambda m, n: m * n + (n if config.bias else 0)
    counts["attention"] = L * (linear(C, 3 * C) + linear(C, C))
    F = config.d_ff
    counts["feed-forward"] = L * (linear(C, F) + linear(F, C))
    n_norms = 2 * L + 1 if config.norm == "pre" else 2 * L
    counts["norms"] = n_norms * 2 * C
    counts["head"] = 0 if config.tied_head else C * config.vocab_size
    return counts
""",
        (
            "learned * config.max_seq_len * C",
            "config.max_seq_len * C if learned else 0",
        ),
        ("return {", "return {"),
        (
            "L * (4 * C * C + config.bias * 4 * C)",
            "np.int64(L * (4 * C**2 + 4 * C * int(config.bias)))",
        ),
    ],
    "product_flops": [
        """
def product_flops(config, B, T):
    C, F, H, L = config.d_model, config.d_ff, config.n_heads, config.n_layers
    def product(m, k, n):
        return 2 * m * k * n
    each = {
        "qkv": product(B * T, C, 3 * C),
        "scores": B * H * product(T, C // H, T),
        "mix": B * H * product(T, T, C // H),
        "out": product(B * T, C, C),
        "up": product(B * T, C, F),
        "down": product(B * T, F, C),
    }
    flops = {name: L * n for name, n in each.items()}
    return flops | {"head": product(B * T, C, config.vocab_size)}
""",
        ("rows = B * T", "rows = float(B * T)"),
        ('"head": 2 * rows * C * V', '"head": np.int64(2) * V * C * rows'),
    ],
    "step_flops": [
        (
            "3 * sum(product_flops(config, B, T).values())",
            "sum(3 * n for n in product_flops(config, B, T).values())",
        ),
        (
            "    return 3 * sum(product_flops(config, B, T).values())",
            "    forward = sum(product_flops(config, B, T).values())\n"
            "    return forward + 2 * forward",
        ),
        (
            "3 * sum(product_flops(config, B, T).values())",
            "3 * np.sum(list(product_flops(config, B, T).values()))",
        ),
    ],
    "activation_bytes": [
        """
def activation_bytes(config, B, T, itemsize=4, rng=None):
    C, F, H, L = config.d_model, config.d_ff, config.n_heads, config.n_layers
    per_block = 3 * C + 3 * C + H * T + 2 * (C + 1)
    per_block += 3 * F if config.activation == "gelu" else 2 * F
    total = L * per_block + C
    if config.norm == "pre":
        total += C + 1
    if rng is not None and config.dropout:
        total += (2 * L + 1) * C
    return total * B * T * itemsize
""",
        ("rng is not None and config.dropout > 0", "config.dropout and rng"),
        ("return itemsize *", "return float(itemsize) *"),
    ],
    "slope": [
        (
            "float(np.polyfit(np.log(x), np.log(y), 1)[0])",
            "np.polyfit(np.log(x), np.log(y), deg=1)[0]",
        ),
        """
def slope(x, y):
    x, y = np.log(np.asarray(x)), np.log(np.asarray(y))
    x = x - x.mean()
    return (x * (y - y.mean())).sum() / (x * x).sum()
""",
        """
def slope(x, y):
    columns = np.stack([np.ones(len(x)), np.log(x)], axis=1)
    (a, b), *_ = np.linalg.lstsq(columns, np.log(y), rcond=None)
    return b
""",
        ("np.log(x), np.log(y)", "np.log10(x), np.log10(y)"),
    ],
    "best_seconds": [
        """
def best_seconds(function, *arguments, repeats=5):
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        function(*arguments)
        best = min(best, time.perf_counter() - began)
    return best
""",
        """
def best_seconds(function, *arguments, repeats=5):
    import timeit
    times = timeit.repeat(
        lambda: function(*arguments), number=1, repeat=repeats
    )
    return min(times)
""",
        """
def best_seconds(function, *arguments, repeats=5):
    function(*arguments)
    times = np.zeros(repeats)
    for i in range(repeats):
        began = time.monotonic()
        function(*arguments)
        times[i] = time.monotonic() - began
    return times.min()
""",
    ],
    "tokens_for_loss": [
        """
def tokens_for_loss(log, loss):
    for i, row in enumerate(log):
        if row["valid_loss"] <= loss:
            break
    else:
        return None
    if i == 0:
        return float(row["tokens"])
    pair = log[i - 1 : i + 1]
    losses = [-r["valid_loss"] for r in pair]
    logs = np.log([r["tokens"] for r in pair])
    return np.exp(np.interp(-loss, losses, logs))
""",
        (
            'before["tokens"] * (tokens / before["tokens"]) ** share',
            'before["tokens"] ** (1 - share) * tokens**share',
        ),
        """
def tokens_for_loss(log, loss):
    losses = np.array([row["valid_loss"] for row in log])
    tokens = np.array([row["tokens"] for row in log])
    there = np.flatnonzero(losses <= loss)
    if len(there) == 0:
        return None
    i = there[0]
    if i == 0:
        return tokens[0]
    share = (losses[i - 1] - loss) / (losses[i - 1] - losses[i])
    logs = np.log(tokens[i - 1 : i + 1])
    return float(np.exp(logs[0] + share * (logs[1] - logs[0])))
""",
    ],
    "lawful_loss": [
        ("A / n_params**alpha", "A * n_params ** (-alpha)"),
        ("A / n_params**alpha", "A / np.power(n_params, alpha)"),
        (
            "E + A / n_params**alpha + B / n_tokens**beta",
            "E + A * np.exp(-alpha * np.log(n_params)) + B / n_tokens**beta",
        ),
    ],
    "best_split": [
        """
def best_split(flops, law):
    E, A, a, B, b = law
    product = flops / 6
    n_params = (a * A / (b * B) * product**b) ** (1 / (a + b))
    return n_params, product / n_params
""",
        (
            "return n_params, flops / 6 / n_params",
            "return [n_params, flops / (6 * n_params)]",
        ),
        """
def best_split(flops, law):
    E, A, alpha, B, beta = law
    n = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    n_params = n * (flops / 6) ** (beta / (alpha + beta))
    n_tokens = (flops / 6) ** (alpha / (alpha + beta)) / n
    return np.array([n_params, n_tokens])
""",
    ],
    "training_days": [
        (
            "flops / (n_devices * peak * utilisation) / 86_400",
            "flops / n_devices / peak / utilisation / (24 * 60 * 60)",
        ),
        (
            "    return flops / (n_devices * peak * utilisation) / 86_400",
            "    rate = n_devices * peak * utilisation\n"
            "    return np.float64(flops) / rate / 3600 / 24",
        ),
        ("flops / (n_devices", "float(flops) / (n_devices"),
    ],
    "state_bytes": [
        """
def state_bytes(n_params, n_devices=1, stage=0):
    total = 0
    for i, size in enumerate((12, 2, 2)):
        total += size / n_devices if i < stage else size
    return n_params * total
""",
        """
def state_bytes(n_params, n_devices=1, stage=0):
    state = 12 / n_devices if stage >= 1 else 12
    grads = 2 / n_devices if stage >= 2 else 2
    weights = 2 / n_devices if stage >= 3 else 2
    return n_params * (state + grads + weights)
""",
        (
            "n_params * (shared / n_devices + whole)",
            "n_params * shared / n_devices + n_params * whole",
        ),
    ],
    "ring_all_reduce": [
        """
def ring_all_reduce(vectors):
    N = len(vectors)
    chunks = [[c.copy() for c in np.array_split(v, N)] for v in vectors]
    sent = np.zeros((2 * (N - 1), N), dtype=int)
    for step in range(N - 1):
        out = [chunks[r][(r - step) % N] for r in range(N)]
        for r, message in enumerate(out):
            i, to = (r - step) % N, (r + 1) % N
            chunks[to][i] = chunks[to][i] + message
            sent[step, r] = message.nbytes
    for step in range(N - 1):
        out = [chunks[r][(r + 1 - step) % N] for r in range(N)]
        for r, message in enumerate(out):
            i, to = (r + 1 - step) % N, (r + 1) % N
            chunks[to][i] = message.copy()
            sent[N - 1 + step, r] = message.nbytes
    return [np.concatenate(parts) for parts in chunks], sent
""",
        (
            "[np.concatenate(parts) for parts in chunks]",
            "np.array([np.concatenate(parts) for parts in chunks])",
        ),
        ("which = (rank - step) % N", "which = (rank + (N - 1) * step) % N"),
    ],
    "ring_seconds": [
        (
            "    steps = 2 * (N - 1)\n"
            "    return steps * (latency + n_bytes / N / bandwidth)",
            "    message = n_bytes / N\n"
            "    return 2 * (N - 1) * (latency + message / bandwidth)",
        ),
        (
            "steps * (latency + n_bytes / N / bandwidth)",
            "steps * latency + steps * n_bytes / (N * bandwidth)",
        ),
        ("2 * (N - 1)", "(N - 1) + (N - 1)"),
    ],
    "step_seconds": [
        (
            "return shared / N + alone +",
            "return alone + np.divide(shared, N) +",
        ),
        (
            "ring_seconds(n_bytes, N, latency, bandwidth)",
            "2 * (N - 1) * (latency + n_bytes / N / bandwidth)",
        ),
        (
            "    return shared / N",
            "    link = latency, bandwidth\n    return np.divide(shared, N)",
        ),
    ],
}

LIGHT = """\
from helpers.transformer_block import feed_forward, feed_forward_backward


def light(x, params, activation):
    out, _ = feed_forward(x, params, activation)
    return out, (x, params, activation)


def light_backward(dout, cache):
    _, full_cache = feed_forward(*cache)
    return feed_forward_backward(dout, full_cache)
"""
SOLUTIONS = {
    "utilisation": """\
def utilisation(config, T, tokens_per_second, peak):
    return step_flops(config, 1, T) / T * tokens_per_second / peak
""",
    "light": LIGHT,
    "doubling": """\
def doubling(vectors):
    ranks, held = np.arange(len(vectors)), [vectors]
    for s in range(len(vectors).bit_length() - 1):
        held.append(held[-1] + held[-1][ranks ^ (1 << s)])
    return np.array(held)
""",
}


def judge_utilisation(utilisation):
    """Call the exercise as its cell does."""
    wide = {"d_model": 2048, "n_heads": 16, "d_ff": 8192}
    billion = ModelConfig(
        vocab_size=50_257, max_seq_len=2048, n_layers=18, **wide
    )
    eight = 8 * 312e12
    days = training_days(step_flops(billion, 1, 2048), eight, 0.4)
    arguments = billion, 2048, 2048 / days / 86_400, eight
    check_value(utilisation, 0.4, *arguments)


def bill(forward, backward):
    """Return the bytes kept, the FLOPs, and whether gradients are right."""
    rng = np.random.default_rng(1)
    up, down = rng.normal(size=(6, 10)), rng.normal(size=(10, 6))
    params = {"up": {"weight": up}, "down": {"weight": down}}
    x, dout = rng.normal(size=(2, 2, 5, 6))
    (_, cache), first = trace(forward, x, params, "gelu")
    got, second = trace(backward, dout, cache)
    wanted = feed_forward_backward(dout, feed_forward(x, params, "gelu")[1])
    got, wanted = named_arrays(list(got)), named_arrays(list(wanted))
    right = all(np.allclose(got[name], wanted[name]) for name in wanted)
    flops = [f for name, f, _ in first + second if name == "matmul"]
    return [distinct_bytes(cache, [x, params]), sum(flops), int(right)]


def judge_light(light):
    """Call the exercise as its cell does."""
    product = 2 * (2 * 5) * 6 * 10
    backward = light.__globals__["light_backward"]
    check_value(bill, [0, 8 * product, 1], light, backward)


def judge_doubling(doubling):
    """Call the exercise as its cell does."""
    vectors = np.random.default_rng(1).integers(-99, 99, (8, 5))
    groups = [vectors.reshape(-1, n, 5).sum(axis=1) for n in (1, 2, 4, 8)]
    expected = [np.repeat(g, 8 // len(g), axis=0) for g in groups]
    check_value(doubling, np.array(expected), vectors)


JUDGES = {
    "utilisation": judge_utilisation,
    "light": judge_light,
    "doubling": judge_doubling,
}

WRONG |= {
    "utilisation": [
        (" / T *", " *", "counts T tokens as one"),
        (
            "step_flops(config, 1, T) / T",
            "6 * sum(parameter_counts(config).values())",
            "leaves out attention",
        ),
        (
            "step_flops(config, 1, T)",
            "sum(product_flops(config, 1, T).values())",
            "counts forward alone",
        ),
        (" / peak", "", "lacks peak"),
        ("config, 1, T) / T", "config, 1, 1)", "window of one token"),
        ("config, 1, T)", "config, T, T)", "counts T tokens as one"),
        ("return step", "return 100 * step", "per cent"),
        ("    return step", "    step", "Is there a return?"),
        ("tokens_per_second / peak", "peak / tokens_per_second", "-"),
        ("config, 1, T)", "config, 1, config)", "-"),
    ],
    "light": [
        (
            "out, _ = feed_forward(x, params, activation)\n"
            "    return out, (x, params, activation)",
            "return feed_forward(x, params, activation)",
            "-",
        ),
        (
            LIGHT.split("def light_backward")[0].replace(
                "    out, _ = feed_forward(x, params, activation)\n"
                "    return out, (x, params, activation)",
                "    return feed_forward(x, params, activation)",
            )
            + "light_backward = feed_forward_backward\n",
            "its cache was kept",
        ),
        (
            "(x, params, activation)\n\n\n",
            "(x, params, activation, out)\n\n\n",
            "-",
        ),
        (
            "_, full_cache = feed_forward(*cache)",
            "feed_forward(*cache)\n    _, full_cache = feed_forward(*cache)",
            "a forward pass too many",
        ),
        (
            "out, _ = feed_forward(x, params, activation)\n    return out, ("
            "x, params, activation)",
            "out, kept = feed_forward(x, params, activation)\n"
            "    return out, (x, params, activation, kept)",
            "-",
        ),
        (
            "    _, full_cache = feed_forward(*cache)",
            "    *cache, kept = cache\n"
            "    _, full_cache = feed_forward(*cache)",
            "-",
        ),
        ("backward(dout, full_cache)", "backward(0 * dout, full_cache)", "-"),
        ("return feed_forward_b", "feed_forward_b", "-"),
        (
            "feed_forward(*cache)",
            "feed_forward(*cache[:2], 'relu')",
            "-",
        ),
    ],
    "doubling": [
        (", [vectors]", ", [0 * vectors]", "zero everywhere"),
        ("np.array(held)", "np.array(held[1:])", "lacks the start"),
        ("np.array(held)", "np.array(held[:-1])", "lacks the last step"),
        ("np.array(held)", "held[-1]", "return every step"),
        ("1 << s", "s", "r ^ s"),
        ("1 << s", "1", "the same partner"),
        ("1 << s", "len(ranks) >> s + 1", "begins with the farthest"),
        ("ranks ^ (1 << s)", "(ranks + (1 << s)) % len(ranks)", "a ring"),
        ("held[-1] + held[-1][", "held[-1][", "holds what arrives"),
        ("+ held[-1][", "+ vectors[", "sends the first vectors"),
        (
            """
def doubling(vectors):
    N, held = len(vectors), vectors.copy()
    rows = [held.copy()]
    for s in range(N.bit_length() - 1):
        for rank in range(N):
            held[rank] += held[rank ^ (1 << s)]
        rows.append(held.copy())
    return np.array(rows)
""",
            "adds before all have sent",
        ),
        (
            """
def doubling(vectors):
    N, held = len(vectors), vectors.copy()
    rows = [held]
    for s in range(N.bit_length() - 1):
        held += held[np.arange(N) ^ (1 << s)]
        rows.append(held)
    return np.array(rows)
""",
            "one array k + 1 times",
        ),
        ("    return np.array(held)", "    np.array(held)", "Is there a"),
    ],
}

RIGHT |= {
    "utilisation": [
        """
def utilisation(config, T, tokens_per_second, peak):
    a_token = 3 * sum(product_flops(config, 1, T).values()) / T
    return a_token * tokens_per_second / peak
""",
        """
def utilisation(config, T, tokens_per_second, peak):
    windows = tokens_per_second / T
    return np.float64(windows * step_flops(config, 1, T)) / peak
""",
        """
def utilisation(config, T, tokens_per_second, peak):
    ideal = peak / (step_flops(config, 8, T) / (8 * T))
    return tokens_per_second / ideal
""",
    ],
    "light": [
        """
from helpers.transformer_block import feed_forward, feed_forward_backward


def light(*arguments):
    return feed_forward(*arguments)[0], arguments


def light_backward(dout, cache):
    return feed_forward_backward(dout, feed_forward(*cache)[1])
""",
        """
from helpers.transformer_block import feed_forward, feed_forward_backward


def light(x, params, activation):
    out, _ = feed_forward(x, params, activation)
    return out, {"x": x, "params": params, "activation": activation}


def light_backward(dout, cache):
    _, full = feed_forward(**cache)
    dx, grads = feed_forward_backward(dout, full)
    return dx, grads
""",
        """
from helpers.transformer_block import feed_forward, feed_forward_backward


def light(x, params, activation):
    def again():
        return feed_forward(x, params, activation)

    return again()[0], again


def light_backward(dout, again):
    return feed_forward_backward(dout, again()[1])
""",
    ],
    "doubling": [
        """
def doubling(vectors):
    held, bit = [np.array(vectors)], 1
    while bit < len(vectors):
        came = [held[-1][rank ^ bit] for rank in range(len(vectors))]
        held.append(held[-1] + np.stack(came))
        bit *= 2
    return np.stack(held)
""",
        """
def doubling(vectors):
    N, M = vectors.shape
    k = int(np.log2(N))
    held = np.zeros((k + 1, N, M), vectors.dtype)
    held[0] = vectors
    for s in range(k):
        for r in range(N):
            held[s + 1, r] = held[s, r] + held[s, r ^ (1 << s)]
    return held
""",
        """
def doubling(vectors):
    N, M = vectors.shape
    rows = [vectors]
    for s in range(N.bit_length() - 1):
        pairs = rows[-1].reshape(-1, 2, 1 << s, M)
        rows.append((pairs + pairs[:, ::-1]).reshape(N, M).tolist())
        rows[-1] = np.array(rows[-1])
    return rows
""",
    ],
}
