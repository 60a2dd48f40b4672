"""Ten models that stand for all: every two choices meet in one of them.

Not a test: test_gradients.py and test_dtypes.py run these, and prove that
every pair of values of every two fields of ModelConfig, and of the sizes,
occurs. The first eight rows are an orthogonal array: there each pair of what
the lessons build occurs twice; the last rows pair all of it with what appendix
A4 builds. A mistake that needs three particular choices at a time may escape;
one that needs one or two cannot.
"""

from dataclasses import MISSING, fields

from helpers.language_model import ModelConfig

V = 11
SIZES = {  # name, B x T: B, T, H, D, F; max_seq_len is T + 3
    "2x5": (2, 5, 4, 6, 7),
    "3x4": (3, 4, 2, 8, 5),
    "1x1": (1, 1, 2, 6, 5),
}
CHOICES = [f.name for f in fields(ModelConfig) if f.default is not MISSING]
ROWS = [
    # size, norm, activation, positions, tied_head, bias, dropout, n_kv_heads
    ("2x5", "pre", "gelu", "learned", True, True, 0.0, None),  # GPT-2
    ("3x4", "pre", "gelu", "sinusoidal", True, False, 0.3, None),
    ("3x4", "pre", "relu", "learned", False, True, 0.3, None),
    ("2x5", "pre", "relu", "sinusoidal", False, False, 0.0, None),
    ("3x4", "post", "relu", "sinusoidal", True, True, 0.0, None),
    ("3x4", "post", "gelu", "learned", False, False, 0.0, None),
    ("2x5", "post", "gelu", "sinusoidal", False, True, 0.3, None),
    ("2x5", "post", "relu", "learned", True, False, 0.3, None),
    # one token alone: GPT-2, what differs from it in everything, Llama
    ("1x1", "pre", "gelu", "learned", True, True, 0.0, None),
    ("1x1", "post", "relu", "sinusoidal", False, False, 0.3, 1),
    ("1x1", "rms", "swiglu", "rope", True, False, 0.0, 2),
    # Llama, and its parts with those of the lessons
    ("2x5", "rms", "swiglu", "rope", True, False, 0.0, 2),
    ("3x4", "rms", "swiglu", "sinusoidal", False, True, 0.3, 2),
    ("3x4", "pre", "swiglu", "rope", True, True, 0.3, 1),
    ("2x5", "rms", "gelu", "learned", True, False, 0.0, 1),
    ("1x1", "post", "gelu", "rope", False, True, 0.0, 2),
    ("3x4", "rms", "relu", "rope", True, False, 0.0, None),
    ("1x1", "pre", "relu", "learned", False, True, 0.3, 2),
    ("3x4", "post", "swiglu", "learned", False, True, 0.3, None),
]


def config_of(size, **choices):
    """Return a small model of that size."""
    _, T, H, D, F = SIZES[size]
    sizes = {"d_model": H * D, "n_heads": H, "n_layers": 2, "d_ff": F}
    return ModelConfig(vocab_size=V, max_seq_len=T + 3, **sizes, **choices)


def name_of(row):
    """Return a row's name: its values."""
    return " ".join(map(str, row))


CONFIGS = {
    name_of(row): config_of(row[0], **dict(zip(CHOICES, row[1:])))
    for row in ROWS
}
