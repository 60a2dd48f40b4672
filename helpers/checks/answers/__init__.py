"""What has to come out: of the cases from the shelf, of checks from torch.

Support code. A file <lesson>.npz or torch_<lesson>.npz holds one long array
for each dtype, and under "index" a text that says in JSON what is made of
their parts; `python -m helpers.checks.record` writes it.
"""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent


@cache
def load(lesson):
    """Return {function: {title: what has to come}} of a lesson."""
    return read(FOLDER / f"{lesson}.npz")


def read(path):
    """Return {function: {title: what has to come}} of a file."""
    with np.load(path) as file:
        store = {name: file[name] for name in file.files}
    index = json.loads(str(store.pop("index")))
    return {
        function: {title: unpack(form, store) for title, form in cases}
        for function, cases in index
    }


def write(path, answers):
    """Write what has to come, as read returns it."""
    store = {}
    index = [
        (function, [(title, pack(v, store)) for title, v in cases.items()])
        for function, cases in answers.items()
    ]
    long = {kind: np.concatenate(parts) for kind, parts in store.items()}
    np.savez_compressed(path, index=json.dumps(index), **long)


def pack(value, store):
    """Return a value as JSON can hold it; put its arrays into store.

    store: {"float64": arrays of one axis}, to be joined end to end.
    """
    if isinstance(value, np.ndarray | np.generic):
        parts = store.setdefault(value.dtype.name, [])
        start = sum(map(len, parts))
        parts.append(np.ravel(value))
        return ["array", [value.dtype.name, start, np.shape(value)]]
    if isinstance(value, tuple | list):
        parts = [pack(part, store) for part in value]
        return [type(value).__name__, parts]
    if isinstance(value, dict):
        parts = [(pack(k, store), pack(v, store)) for k, v in value.items()]
        return ["dict", parts]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    return ["plain", value]


def unpack(form, store):
    """Return the value that pack took apart."""
    kind, content = form
    if kind == "array":
        dtype, start, shape = content
        array = store[dtype][start : start + math.prod(shape)]
        return array.reshape(shape)
    if kind == "dict":
        parts = [(unpack(k, store), unpack(v, store)) for k, v in content]
        return dict(parts)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "plain":
        return content
    parts = [unpack(part, store) for part in content]
    return tuple(parts) if kind == "tuple" else parts
