r"""What the workbook does without where Python runs in a browser.

Support code; helpers/__init__.py calls stand_in there, before all else. There
are no threads, no processes, no file locks, and nothing that is written in
Rust: lesson 05 encodes for tiktoken, the standard library matches for regex,
and notebooks are validated without jsonschema.
"""

import concurrent.futures
import functools
import re
import sys
import unicodedata
import warnings
from types import ModuleType

SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
LAST = 0x40000  # no letter and no number comes after
SEARCHES = "findall", "finditer", "fullmatch", "match", "search", "split"
# What the copies of two lessons have there, where a step takes so much longer.
FEWER_STEPS = {
    "06": {
        "steps=100": "steps=25",
        "range(100)": "range(25)",
        "steps=420": "steps=60",
        "warmup=30": "warmup=10",
        "run.step % 60": "run.step % 20",
        "losses[-60:]": "losses[-20:]",
        "steps=480": "steps=90",
    },
    "A1": {
        "pair = decoder_loss_and_grads": "run.settings = half = "
        "replace(SETTINGS, steps=500)\npair = decoder_loss_and_grads",
        "start(DECODER, SETTINGS)": "start(DECODER, half)",
    },
}


def stand_in():
    """Put what a browser can do in the place of what it cannot."""
    concurrent.futures.ThreadPoolExecutor = OneByOne
    concurrent.futures.ProcessPoolExecutor = OneByOne
    searches = {name: functools.partial(search, name) for name in SEARCHES}
    put("regex", compile=compile_classes, escape=re.escape, **searches)
    put("tiktoken", Encoding=Encoding)
    put("tiktoken_ext")
    put("tiktoken_ext.openai_public", gpt2=no_download)
    errors = {"ErrorTree": None, "ValidationError": Invalid}
    put("jsonschema", Draft4Validator=lambda schema: None)
    put("jsonschema.exceptions", **errors)
    warnings.filterwarnings("ignore", "only soft file lock")
    warnings.filterwarnings("ignore", "tqdm:disabling monitor")


def put(name, **contents):
    """Put a module with these contents where import finds it."""
    sys.modules[name] = module = ModuleType(name)
    vars(module).update(contents)


class OneByOne(concurrent.futures.Executor):
    """Do at once, in the order they come, what others do side by side."""

    def __init__(self, *_, **__):
        pass

    def submit(self, task, /, *args, **options):
        """Return a future that is done."""
        future = concurrent.futures.Future()
        try:
            future.set_result(task(*args, **options))
        except Exception as error:
            future.set_exception(error)
        return future


class Encoding:
    """Do what tiktoken.Encoding does, by encode_word of lesson 05."""

    def __init__(self, _, *, pat_str, mergeable_ranks, special_tokens):
        self.pattern, self.ranks = pat_str, mergeable_ranks
        self.n_vocab = len(mergeable_ranks) + len(special_tokens)
        (self.eot_token,) = special_tokens.values()
        self._parts = {i: part for part, i in mergeable_ranks.items()}
        self._parts |= {i: s.encode() for s, i in special_tokens.items()}
        self._encode = functools.lru_cache(10_000)(self._encode_word)

    def _encode_word(self, word):
        from helpers.tinystories import encode_word

        return encode_word(word.encode("utf-8"), self.ranks)

    def encode_ordinary(self, text):
        """Return the ids of a text."""
        words = search("findall", self.pattern, text)
        return [i for word in words for i in self._encode(word)]

    def encode_ordinary_batch(self, texts):
        """Return the ids of each text."""
        return [self.encode_ordinary(text) for text in texts]

    def decode(self, ids):
        """Return the text of ids; what is no text becomes U+FFFD."""
        parts = map(self.decode_single_token_bytes, ids)
        return b"".join(parts).decode("utf-8", errors="replace")

    def decode_single_token_bytes(self, i):
        """Return the bytes of an id."""
        return self._parts[i]


class Invalid(Exception):
    """Be what nbformat raises; fastjsonschema has found it."""

    def __init__(self, message, schema_path=()):
        super().__init__(message)
        self.message, self.schema_path = message, schema_path


def no_download():
    """Raise OSError, as tiktoken does without a network."""
    raise OSError("a browser does not download GPT-2's vocabulary")


def search(method, pattern, text):
    """Return what a method of a compiled pattern of regex finds in a text."""
    return getattr(compile_classes(pattern), method)(text)


@functools.cache
def compile_classes(pattern):
    r"""Compile a pattern of regex; re has no \p{L} and \p{N}."""
    parts = re.split(r"(\[[^]]*\])", pattern)  # every other one is a set
    for name, characters in classes().items():
        for i, part in enumerate(parts):
            inside = characters if i % 2 else f"[{characters}]"
            parts[i] = part.replace(name, inside)
    return re.compile("".join(parts))


@functools.cache
def classes():
    """Return {name in a pattern: its characters, as a set of re has them}."""
    ranges = {"L": [], "N": []}
    kind_before = None
    for i in range(LAST):
        kind = unicodedata.category(chr(i))[0]
        if kind in ranges:
            if kind == kind_before:
                ranges[kind][-1][1] = i
            else:
                ranges[kind].append([i, i])
        kind_before = kind
    found = {
        rf"\p{{{kind}}}": "".join(rf"\U{a:08x}-\U{b:08x}" for a, b in pairs)
        for kind, pairs in ranges.items()
    }
    return found | {r"\S": f"^{SPACE}", r"\s": SPACE}
