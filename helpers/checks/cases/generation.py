"""What the functions of lesson 07 are tried on."""

from itertools import islice
from types import SimpleNamespace

import numpy as np

from helpers.checks.cases import refusal, value
from helpers.generation import KVCache
from helpers.language_model import ModelConfig, init_params
from helpers.runs.params import map_arrays

# Uneven sizes: no length is another's.
V, C, H, N = 11, 12, 4, 13  # N: max_seq_len
STOP = 5


def draw(rng):
    probs = [0.125, 0.5, 0.25, 0.125]

    def dart(title, probs, expected, *darts):
        wanted = {"use": _throw, "expected": expected}
        return value(title, probs, darts, **wanted)

    yield dart("darts in the middle", probs, [0, 1, 2, 3], 0.1, 0.3, 0.7, 0.9)
    yield value(
        "five hundred draws", [0.1, 0.4, 0.3, 0.2], (), 500, use=_throw
    )
    yield dart("a dart on an edge", probs, [1, 2], 0.125, 0.625)
    yield dart("probability 0 in front", [0, 0.5, 0.5], [1, 2], 0.0, 0.5)
    short = [0.5, 0.25, 0.25 - 2.0**-26]
    yield dart("a last edge a little below 1", short, [2], 1 - 2.0**-28)
    yield dart("a single token", [1.0], [0], 0.4)


class _Darts(np.random.Generator):
    """Throw given darts, and then those of a real generator."""

    def __init__(self, darts):
        super().__init__(np.random.PCG64(5))
        self.darts = list(darts)

    def random(self, size=None, *more, **options):
        if not self.darts:
            return super().random(size, *more, **options)
        dart = self.darts.pop(0)
        return dart if size in (None, ()) else np.full(size, dart)

    def uniform(self, low=0.0, high=1.0, size=None):
        return low + (high - low) * self.random(size)


def _throw(f, probs, darts, times=None):
    rng = _Darts(darts)
    found = [f(np.array(probs), rng) for _ in range(times or len(darts))]
    return None if found[0] is None else [int(token) for token in found]


def keep_top_k(rng):
    probs = np.array([0.1, 0.4, 0.05, 0.25, 0.2])
    yield value("k = 2", probs, 2, expected=_marks(5, 1, 3))
    yield value("k = 1", probs, 1, expected=_marks(5, 1))
    equal = np.array([0.125, 0.25, 0.125, 0.25, 0.125, 0.125])
    yield value("equals at the edge", equal, 3, expected=_marks(6, 0, 1, 3))
    flat = np.full(40, 1 / 32)
    flat[:8] = 0
    yield value("many equals", flat, 5, expected=_marks(40, *range(8, 13)))
    yield value("k above V", probs, 9, expected=np.ones(5, dtype=bool))
    half = np.array([0.0, 0.5, 0.0, 0.5])
    yield value(
        "a k whose edge has no probability",
        half,
        3,
        expected=_marks(4, 0, 1, 3),
    )


def keep_top_p(rng):
    probs = np.array([0.125, 0.25, 0.0625, 0.5, 0.0625])
    yield value(
        "the token that crosses stays", probs, 0.6, expected=_marks(5, 1, 3)
    )
    yield value("p reached to the dot", probs, 0.75, expected=_marks(5, 1, 3))
    yield value("p below the favourite", probs, 0.1, expected=_marks(5, 3))
    yield value("p = the favourite", probs, 0.5, expected=_marks(5, 3))
    yield value("p = 1", probs, 1.0, expected=np.ones(5, dtype=bool))
    row = np.array([0.0, 0.3, 0.0, 0.2, 0.5])
    yield value(
        "some that are cut already", row, 0.7, expected=_marks(5, 1, 4)
    )
    yield value("a tiny p", row, 1e-30, expected=_marks(5, 4))
    yield value("one token", np.array([1.0]), 0.9, expected=_marks(1, 0))


def keep_min_p(rng):
    probs = np.array([0.0625, 0.5, 0.125, 0.25, 0.0625])
    yield value("p = 0.4", probs, 0.4, expected=_marks(5, 1, 3))
    row = np.array([0.5, 0.1875, 0.125, 0.125, 0.0625])
    dot = _marks(5, 0, 1, 2, 3)
    yield value("p times the favourite to the dot", row, 0.25, expected=dot)
    two = np.array([0.375, 0.25, 0.375])
    yield value("p = 1", two, 1.0, expected=_marks(3, 0, 2))
    flat = np.full(9, 1 / 16)
    yield value("no favourite", flat, 0.5, expected=np.ones(9, dtype=bool))
    yield value(
        "a p above every probability",
        flat,
        0.9,
        expected=np.ones(9, dtype=bool),
    )


def _marks(n, *places):
    return np.isin(np.arange(n), places)


def apply_temperature(rng):
    logits = rng.normal(size=V)

    def case(title, logits, temperature, **more):
        return value(title, logits, temperature, keeps_dtype=False, **more)

    yield case("T = 0.5", logits, 0.5)
    yield case("T = 2", logits, 2.0)
    yield case("T = 1", logits, 1.0)
    first = np.array([0, 1, 0, 0.0])
    yield case("T = 0", logits, 0, expected=1.0 * _marks(V, logits.argmax()))
    yield case(
        "T = 0 with equals", np.array([1.0, 3, 3, -2]), 0, expected=first
    )
    yield case("logits near 1000", 1000 + np.float32(logits), 0.5)
    yield case(
        "a tiny T",
        np.array([1000.0, 3000, 2000, -2000]),
        1e-37,
        expected=first,
    )
    yield case("negative logits alone", -3 - np.abs(logits), 1.5)


def next_token_probs(rng):
    logits = 2 * rng.normal(size=V)

    def case(title, logits=logits, **settings):
        wanted = {"use": _look, "keeps_dtype": False}
        return value(title, logits, **wanted, **settings)

    yield case("no setting")
    yield case("temperature 0.5", temperature=0.5)
    yield case("temperature 0", temperature=0)
    yield case("top_k 4", top_k=4)
    yield case("top_p 0.6", top_p=0.6)
    yield case("min_p 0.2", min_p=0.2)
    log = np.log([0.30, 0.22, 0.18, 0.12, 0.09, 0.06, 0.03])
    yield case("top_k, then top_p of what is left", log, top_k=5, top_p=0.55)
    yield case("top_p, then min_p of what is left", log, top_p=0.6, min_p=0.5)
    yield case("all at once", temperature=1.5, top_k=7, top_p=0.8, min_p=0.1)
    yield case("temperature 0 with filters", temperature=0, top_k=3, top_p=0.5)
    yield case("top_p 1e-9", top_p=1e-9)
    yield case("logits near 1000", 1000 + np.float32(logits), min_p=0.1)
    yield refusal("top_p = 0", logits, top_p=0)
    yield refusal("a temperature below 0", logits, temperature=-1)
    yield refusal("logits that hold NaN", np.array([0.0, np.nan]))


def _look(f, logits, **settings):
    probs = f(logits, **settings)
    return {"probs": probs, "dtype": str(np.asarray(probs).dtype)}


def penalise_repeats(rng):
    logits = np.array([2.0, -1, 3, 0.5, -4, 0])
    once = np.array([1.0, -1, 3, 0.5, -8, 0])
    yield value(
        "a positive and a negative logit", logits, [0, 4], 2.0, expected=once
    )
    yield value(
        "ids that occur often", logits, [4, 0, 0, 4, 0], 2.0, expected=once
    )
    yield value(
        "ids in an array", logits, np.array([4, 0, 4]), 2.0, expected=once
    )
    yield value("a penalty of 1", logits, [0, 1, 2], 1.0, expected=logits)
    yield value("a penalty below 1", logits, [1, 3], 0.5)
    yield value("no ids yet", logits, [], 1.5, expected=logits)
    yield value("a logit of 0", logits, [5], 1.5, expected=logits)
    yield value("all ids", rng.normal(size=V), list(range(V)), 1.3)
    yield refusal("a penalty of 0", logits, [0], 0)


def next_token(rng):
    logits = rng.normal(size=V)[::-1]
    seen = [int(i) for i in np.argsort(logits)[-4:]]

    def case(title, ids=seen, **settings):
        wanted = {"use": _choose, "keeps_dtype": False}
        return value(title, logits, ids, **wanted, **settings)

    yield case("no setting")
    yield case("a repetition penalty", repetition_penalty=2.5)
    yield case("temperature 0", temperature=0)
    yield case("penalty and top_k", repetition_penalty=3.0, top_k=2)
    yield case(
        "all settings",
        repetition_penalty=1.4,
        temperature=0.7,
        top_k=9,
        top_p=0.9,
        min_p=0.05,
    )
    yield case("nothing seen", [], repetition_penalty=2.0)


def _choose(f, logits, ids, **settings):
    found = [
        f(logits, ids, np.random.default_rng(seed), **settings)
        for seed in range(5)
    ]
    if found[0] is None:
        return None
    result = {"returned": _kind(found[0])}
    if result["returned"] == "a tuple of 2" and np.ndim(found[0][0]) > 0:
        result["returned"] = "a tuple of 2, an array first"
    elif result["returned"] == "a tuple of 2":
        result["tokens"] = [int(token) for token, _ in found]
        result["probs"] = found[-1][1]
    return result


def _kind(value):
    """Return in words what a function returned."""
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"one thing: {type(value).__name__}"


# the model: small, and nothing in it is 0 or 1


def _config(**changes):
    sizes = {
        "vocab_size": V,
        "max_seq_len": N,
        "d_model": C,
        "n_heads": H,
        "n_layers": 2,
        "d_ff": 7,
    }
    return ModelConfig(**sizes | changes)


def _params(config, rng):
    def draw_one(array):
        drawn = rng.normal(size=array.shape)
        if array.ndim > 1:
            return 0.6 * drawn
        return array + 0.2 * drawn  # near 1 in the norms, near 0 in biases

    return map_arrays(draw_one, init_params(config, rng))


def KVCache_store(rng):
    k, v = rng.normal(size=(2, 3, H, 5, 3)).astype(np.float32).astype(float)

    def case(title, *cuts, layer=1, keeps=1):
        parts = np.split(k, cuts, axis=2), np.split(v, cuts, axis=2)
        keys, values = np.zeros((2, 2, 3, H, N, 3))
        keys[layer, :, :, :5], values[layer, :, :, :5] = k, v
        right = {
            "keys it returned": k,
            "values it returned": v,
            "kv.keys": keys,
            "kv.values": values,
            "places it moved length on by": 0,
        }
        return value(title, *parts, layer, use=_store, expected=right)

    yield case("five places")
    yield case("three places behind two", 2)
    yield case("one place at a time", 1, 2, 3, 4)
    yield case("the first layer", 3, layer=0)


def _store(kind, keys, values, layer):
    config = _config()
    kv = kind({"token_embedding": {"weight": keys[0]}}, config, len(keys[0]))
    length = moved = 0
    for k, v in zip(keys, values):
        found = kv.store(layer, k, v)
        if found is None:
            return None
        moved += kv.length - length
        kv.length = length = length + k.shape[2]
    return {
        "keys it returned": found[0],
        "values it returned": found[1],
        "kv.keys": kv.keys,
        "kv.values": kv.values,
        "places it moved length on by": moved,
    }


def new_positions(rng):
    padding = np.array([2, 0, 4])
    yield value("an empty cache", _kv(0), 4, expected=np.arange(4))
    yield value("behind three places", _kv(3), 2, expected=np.array([3, 4]))
    yield value("one token", _kv(7), 1, expected=np.array([7]))
    rows = [[0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 1]]
    yield value("padding", _kv(0, padding), 6, expected=np.array(rows))
    rows = [[6, 7], [8, 9], [4, 5]]
    yield value(
        "padding behind eight places",
        _kv(8, padding),
        2,
        expected=np.array(rows),
    )
    yield value(
        "one token and padding",
        _kv(5, padding),
        1,
        expected=np.array([[3], [5], [1]]),
    )


def new_mask(rng):
    padding = np.array([2, 0, 4])
    yield value("an empty cache", _kv(0), 4, use=_mask)
    yield value("behind three places", _kv(3), 2, use=_mask)
    yield value("one token", _kv(5), 1, use=_mask)
    yield value("padding", _kv(0, padding), 6, use=_mask)
    yield value("padding behind five places", _kv(5, padding), 3, use=_mask)
    yield value("one token and padding", _kv(5, padding), 1, use=_mask)
    yield value("padding of 0", _kv(1, padding[1:2]), 4, use=_mask)


def _mask(f, kv, T):
    mask = f(kv, T)
    return np.ones((T, kv.length + T), bool) if mask is None else mask


def _kv(length, padding=None):
    return SimpleNamespace(length=length, padding=padding)


def cached_attention(rng):
    params = _params(_config(), rng)["blocks"][0]["attention"]
    x = rng.normal(size=(3, 5, C))

    def case(title, *cuts, x=x, n_heads=H, padding=None):
        given = np.split(x, cuts, axis=1), params, n_heads, padding
        return value(title, *given, use=_attend)

    yield case("all at once")
    yield case("one at a time", 1, 2, 3, 4)
    yield case("three behind two", 2)
    yield case("padding", padding=np.array([2, 0, 3]))
    yield case("padding, one at a time", 3, 4, padding=np.array([2, 0, 3]))
    yield case("one text", 2, x=x[:1])
    yield case("one head", 4, n_heads=1)


def _attend(f, pieces, params, n_heads, padding):
    config = _config(n_heads=n_heads)
    weight = {"token_embedding": {"weight": pieces[0]}}
    kv = KVCache(weight, config, len(pieces[0]), padding)
    found = []
    for x in pieces:
        found.append(f(x, params, n_heads, kv, 1))
        kv.length += x.shape[1]
    if found[0] is None:
        return None
    if _kind(found[0]) != "a tuple of 2":
        return {"returned": _kind(found[0])}
    return {
        "returned": "a tuple of 2",
        "out": np.concatenate([result[0] for result in found], axis=1),
        "kv.keys": kv.keys[1, :, :, : kv.length],
        "kv.values": kv.values[1, :, :, : kv.length],
        "the other layer of kv": kv.keys[0, 0, 0, :2],
    }


def cached_block(rng):
    x = rng.normal(size=(3, 5, C))

    def case(title, *cuts, padding=None, **changes):
        config = _config(**changes)
        params = _params(config, rng)["blocks"][0]
        pieces = np.split(x, cuts, axis=1)
        return value(title, pieces, params, config, padding, use=_block)

    yield case("all at once")
    yield case("one at a time", 1, 2, 3, 4)
    yield case("post-norm", 3, norm="post")
    yield case("relu", 3, activation="relu")
    yield case("padding", 4, padding=np.array([2, 0, 3]))
    yield case("no biases", bias=False)


def _block(f, pieces, params, config, padding):
    weight = {"token_embedding": {"weight": pieces[0]}}
    kv = KVCache(weight, config, len(pieces[0]), padding)
    found = []
    for x in pieces:
        found.append(f(x, params, config, kv, 1))
        kv.length += x.shape[1]
    if found[0] is None:
        return None
    if not isinstance(found[0], np.ndarray):
        return {"returned": _kind(found[0])}
    return {
        "returned": "one thing: ndarray",
        "out": np.concatenate(found, axis=1),
        "the other layer of kv": kv.keys[0, 0, 0, :2],
    }


def position_vectors(rng):
    def case(kind, title, places):
        config = _config(positions=kind)
        given = np.array(places), _params(config, rng), config
        learned = kind == "learned"
        return value(f"{kind}, {title}", *given, keeps_dtype=learned)

    for kind in ("learned", "sinusoidal"):
        yield case(kind, "a row", [3, 4, 8])
        yield case(kind, "a row for each text", [[0, 1], [5, 6], [0, 0]])
        yield case(kind, "one place", [N - 1])


def next_logits(rng):
    ids = rng.integers(0, V, (3, 6))

    def case(title, *cuts, padding=None, ids=ids, **changes):
        config = _config(**changes)
        pieces = np.split(ids, cuts, axis=1)
        given = pieces, _params(config, rng), config, padding
        return value(title, *given, use=_feed)

    yield case("a prompt")
    yield case("one at a time", 1, 2, 3, 4, 5)
    yield case("in two pieces", 4)
    yield case("padding", 4, 5, padding=np.array([2, 0, 3]))
    yield case("post-norm", 4, norm="post")
    yield case("sinusoidal positions", 4, 5, positions="sinusoidal")
    yield case("an untied head", 4, tied_head=False)
    yield case("no biases", bias=False)
    yield case("a single id", ids=ids[:1, :1])
    config = _config()
    params = _params(config, rng)
    kv = KVCache(params, config)
    long = np.zeros((1, N + 1), dtype=np.int64)
    yield refusal("more ids than there is room for", long, params, config, kv)


def _feed(f, pieces, params, config, padding):
    kv = KVCache(params, config, len(pieces[0]), padding)
    logits = [f(ids, params, config, kv) for ids in pieces]
    return {"logits": logits, "kv.length": kv.length}


# writing


def sample_steps(rng):
    config = _config(tied_head=False)
    params = _params(config, rng)

    def case(title, prompt, seed=0, use=_write, config=config, **settings):
        wanted = {"use": use, "keeps_dtype": False}
        given = prompt, params, config, seed
        return value(title, *given, **wanted, **settings)

    yield case("temperature 0", [2, 5, 1], temperature=0, n_tokens=6)
    yield case("a seed", [2, 5, 1], 3, n_tokens=6)
    yield case("up to max_seq_len", [2, 5, 1, 9])
    yield case(
        "a repetition penalty",
        [0, 1],
        n_tokens=8,
        temperature=0,
        repetition_penalty=4.0,
    )
    yield case(
        "temperature and filters",
        [3],
        1,
        n_tokens=9,
        top_k=6,
        temperature=1.7,
        top_p=0.9,
        min_p=0.05,
    )
    yield case("stop_id", [2, 5, 1], 2, stop_id=STOP, temperature=2.0)
    yield case("stop_id in the prompt", [STOP, 5], n_tokens=2, stop_id=STOP)
    yield case("stop_id = 0", [2, 5, 1], 6, stop_id=0, temperature=2.0)
    yield case("no tokens asked for", [2, 5, 1], n_tokens=0)
    yield case("a prompt in an array", np.array([2, 5, 1]), 4, n_tokens=3)
    yield case("one token asked for, and no more drawn", [2, 5], use=_begin)
    yield case("each token fed once", [2, 5, 1], 5, _feeds, n_tokens=4)
    yield refusal("an empty prompt", [], params, config)
    yield refusal("a prompt as long as the model", [1] * N, params, config)


def _write(f, prompt, params, config, seed, **settings):
    generator = np.random.default_rng(seed)
    steps = f(prompt, params, config, rng=generator, **settings)
    if not hasattr(steps, "__next__"):
        return {"returned": f"no generator, but {_kind(steps)}"}
    found = list(islice(steps, 30))
    kinds = sorted({_kind(step) for step in found})
    result = {"returned": "a generator", "yielded": kinds}
    if kinds in ([], ["a tuple of 2"]):
        result["ids"] = [int(token) for token, _ in found]
        result["probs"] = [probs for _, probs in found]
    return result


def _begin(f, prompt, params, config, seed):
    generator = np.random.default_rng(seed)
    next(iter(f(prompt, params, config, rng=generator)))
    return {"the dart after the first": generator.random()}


class _Watched(np.ndarray):
    """Note how many rows are taken at a time."""

    def __getitem__(self, ids):
        self.fed.append(int(np.size(ids)))
        return np.asarray(self)[ids]


def _feeds(f, prompt, params, config, seed, **settings):
    """Return how many tokens were fed to the model in its steps."""
    weight = params["token_embedding"]["weight"].view(_Watched)
    weight.fed = []
    params = params | {"token_embedding": {"weight": weight}}
    generator = np.random.default_rng(seed)
    list(f(prompt, params, config, rng=generator, **settings))
    return {
        "tokens fed at first": weight.fed[0],
        "tokens fed later, at most": max(weight.fed[1:]),
    }


def generate_batch(rng):
    config = _config(tied_head=False)
    params = _params(config, rng)
    prompts = [[2, 5, 1], [4], [3, 9, 9, 0]]

    def case(title, prompts=prompts, seed=0, **settings):
        given = prompts, params, config, seed
        return value(title, *given, use=_write_batch, **settings)

    yield case("temperature 0", n_tokens=5, temperature=0)
    yield case("a seed", seed=1, n_tokens=5)
    yield case("up to max_seq_len", seed=2)
    yield case(
        "a repetition penalty",
        n_tokens=6,
        temperature=0,
        repetition_penalty=30.0,
    )
    zero = [[2, 5, 1], [4], [3, 9, 9, 6]]
    yield case(
        "a penalty that padding must not feel",
        zero,
        n_tokens=6,
        temperature=0,
        repetition_penalty=50.0,
    )
    yield case("stop_id", seed=3, stop_id=STOP, temperature=2.0)
    yield case("filters", seed=4, n_tokens=7, top_k=5, min_p=0.1)
    yield case("a prompt alone", prompts[:1], seed=5, n_tokens=4)
    given = prompts, params, config, 6
    yield value("each token fed once", *given, use=_feeds, n_tokens=4)
    yield case("prompts as long as each other", [[2, 5], [4, 1]], n_tokens=4)
    yield case("no tokens asked for", n_tokens=0)
    yield refusal("no prompts", [], params, config)
    yield refusal("an empty prompt among others", [[1], []], params, config)


def _write_batch(f, prompts, params, config, seed, **settings):
    generator = np.random.default_rng(seed)
    rows = f(prompts, params, config, rng=generator, **settings)
    if rows is None:
        return None
    return [[int(token) for token in row] for row in rows]


def pad_left(rng):
    def case(title, prompts, ids, padding):
        expected = np.array(ids), np.array(padding)
        return value(title, prompts, expected=expected, use=_pad)

    yield case(
        "three prompts",
        [[5, 6, 7], [8], [9, 4]],
        [[5, 6, 7], [0, 0, 8], [0, 9, 4]],
        [0, 2, 1],
    )
    yield case(
        "the longest last",
        [[5], [1, 2, 3, 4]],
        [[0, 0, 0, 5], [1, 2, 3, 4]],
        [3, 0],
    )
    yield case("one prompt", [[3, 1]], [[3, 1]], [0])
    yield case(
        "prompts as long as each other",
        [[3, 1], [2, 2]],
        [[3, 1], [2, 2]],
        [0, 0],
    )


def _pad(f, prompts):
    found = f(prompts)
    return found if found is None else tuple(found)


def cut_at(rng):
    yield value("stop_id in the middle", [4, 7, 2, 9], 7, expected=[4])
    yield value("stop_id twice", [4, 2, 7, 2, 7], 7, expected=[4, 2])
    yield value("stop_id first", [7, 4], 7, expected=[])
    yield value("no stop_id there", [4, 2], 7, expected=[4, 2])
    yield value("stop_id = None", [4, 2], None, expected=[4, 2])
    yield value("no ids", [], 7, expected=[])


def extend_beams(rng):
    logits = 2 * rng.normal(size=(4, V))
    two = [([3, 1], -1.0), ([3, STOP - 1], -1.5)]

    def case(title, beams, logits, n_beams, stop_id=None):
        given = beams, logits, n_beams, stop_id
        return value(title, *given, use=_extend, keeps_dtype=False)

    yield case("two beams", two, logits[:2], 3)
    yield case("the first step", [([], 0.0)], logits, 4)
    yield case("more rows than beams", two, logits, 2)
    likely = logits.copy()
    likely[:, STOP] += 4
    yield case("stop_id on every beam", two, likely, 2, STOP)
    yield case("stop_id on one beam", two, likely[:1].repeat(2, 0), 3, STOP)
    last = logits.copy()
    last[:, STOP] -= 30
    yield case("stop_id that is unlikely", two, last, 3, STOP)
    yield case("one beam", two[:1], logits[1:2], 1, STOP)
    yield case("fewer tokens than beams", [([], 0.0)], logits[:, :3], 5)
    far = [([1], -1.0), ([2], -90.0)]
    yield case("a beam that falls behind", far, logits, 3)
    yield case("logits near 1000", two, 1000 + np.float32(logits), 3)


def _extend(f, beams, logits, n_beams, stop_id):
    result = f(beams, logits, n_beams, stop_id)
    if not isinstance(result, tuple | list) or len(result) != 3:
        return result
    found, parents, finished = result
    done = sorted(finished, key=lambda beam: -beam[1])
    return {
        "open beams": [_plain(beam) for beam in found],
        "parents": [int(parent) for parent in parents],
        "finished": [_plain(beam) for beam in done],
    }


def _plain(beam):
    ids, score = beam
    return [int(token) for token in ids], float(score)


def beam_search(rng):
    config = _config(tied_head=False)
    params = _params(config, rng)
    prompt = [2, 5, 1]

    def case(title, prompt=prompt, config=config, **settings):
        given = prompt, params, config
        wanted = {"use": _search, "keeps_dtype": False}
        return value(title, *given, **wanted, **settings)

    yield case("one beam", n_beams=1, n_tokens=5)
    yield case("three beams", n_beams=3, n_tokens=5)
    yield case("six beams", n_beams=6, n_tokens=7)
    yield case("up to max_seq_len", n_beams=3)
    yield case("stop_id", n_beams=4, stop_id=STOP)
    yield case("stop_id and few tokens", n_beams=5, n_tokens=3, stop_id=3)
    yield case("another stop_id", n_beams=3, stop_id=6)
    yield case("more beams than tokens", n_beams=15, n_tokens=2)
    yield case("no tokens asked for", n_tokens=0)
    yield case("a prompt in an array", np.array(prompt), n_beams=2, n_tokens=2)
    yield refusal("an empty prompt", [], params, config)
    yield refusal("no beams", prompt, params, config, 0)


def _search(f, prompt, params, config, **settings):
    beams = f(prompt, params, config, **settings)
    return beams if beams is None else [_plain(beam) for beam in beams]
