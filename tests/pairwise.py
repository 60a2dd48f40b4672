"""Ten models that stand for all: every two choices meet in one of them.

Not a test: test_gradients.py and test_dtypes.py run these, and prove that
every pair of values of every two fields of ModelConfig, and of the sizes,
occurs. The first eight rows are an orthogonal array: there each pair occurs
twice. A mistake that needs three particular choices at a time may escape;
one that needs one or two cannot.
"""

from dataclasses import MISSING, fields

from helpers.language_model import ModelConfig

V = 11
SIZES = {  # name, B x T: B, T, H, D, F; max_seq_len is T + 3
    "2x5": (2, 5, 3, 4, 7),
    "3x4": (3, 4, 2, 5, 6),
    "1x1": (1, 1, 2, 3, 5),
}
CHOICES = [f.name for f in fields(ModelConfig) if f.default is not MISSING]
ROWS = [
    # size, norm, activation, positions, tied_head, bias, dropout
    ("2x5", "pre", "gelu", "learned", True, True, 0.0),  # GPT-2
    ("3x4", "pre", "gelu", "sinusoidal", True, False, 0.3),
    ("3x4", "pre", "relu", "learned", False, True, 0.3),
    ("2x5", "pre", "relu", "sinusoidal", False, False, 0.0),
    ("3x4", "post", "relu", "sinusoidal", True, True, 0.0),
    ("3x4", "post", "gelu", "learned", False, False, 0.0),
    ("2x5", "post", "gelu", "sinusoidal", False, True, 0.3),
    ("2x5", "post", "relu", "learned", True, False, 0.3),
    # one token alone: GPT-2 and what differs from it in everything
    ("1x1", "pre", "gelu", "learned", True, True, 0.0),
    ("1x1", "post", "relu", "sinusoidal", False, False, 0.3),
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
