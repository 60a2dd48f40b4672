"""Carry values out of a process that nobody trusts, as JSON.

Support code. Reading makes numbers, texts and arrays, and runs nothing: no
pickle. What is none of these arrives as an Odd that only says what it was.
"""

import base64
import math

import numpy as np

DEEPEST = 40  # lists within lists


class Odd:
    """Stand for a value that cannot be sent."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def pack(value, depth=0):
    """Return a value as JSON can hold it."""
    kind = type(value)
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            raw = base64.b64encode(np.ascontiguousarray(array).tobytes())
            single = isinstance(value, np.generic)
            form = [array.dtype.str, array.shape, raw.decode(), single]
            return ["array", form]
    elif kind in (bool, float, type(None), str) or (
        kind is int and abs(value) < 10**300  # longer ones have no text
    ):
        return ["plain", value]
    elif kind is bytes:
        return ["bytes", value.hex()]
    elif kind in (tuple, list) and depth < DEEPEST:
        return [kind.__name__, [pack(part, depth + 1) for part in value]]
    elif isinstance(value, dict) and depth < DEEPEST:
        parts = [
            [pack(key, depth + 1), pack(part, depth + 1)]
            for key, part in value.items()
        ]
        return ["dict", parts]
    return ["odd", f"an object of {kind.__name__}"]


def unpack(form):
    """Return the value that pack took apart; ValueError for other forms."""
    try:
        kind, content = form
        return READ[kind](content)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"came in no form that is known: {error}") from None


def unpack_array(content):
    """Return an array, or a number of NumPy's, of [dtype, shape, raw]."""
    dtype, shape, raw, single = content
    raw, dtype = base64.b64decode(raw), np.dtype(str(dtype))
    if dtype.kind not in "biuf" or len(raw) != dtype.itemsize * math.prod(
        shape
    ):
        raise ValueError("came as an array that is not whole")
    array = np.frombuffer(raw, dtype).reshape(shape).copy()
    return array[()] if single else array


READ = {
    "array": unpack_array,
    "plain": lambda content: content,
    "odd": lambda content: Odd(str(content)),
    "bytes": bytes.fromhex,
    "list": lambda content: [unpack(part) for part in content],
    "tuple": lambda content: tuple(unpack(part) for part in content),
    "dict": lambda content: {unpack(k): unpack(v) for k, v in content},
}
