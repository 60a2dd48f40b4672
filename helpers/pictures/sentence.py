"""The sentence that goes through the course, and made-up vectors for it.

A trained model finds such numbers by itself, more of them and without names.
"""

import numpy as np

WORDS = ["Tom", "had", "a", "cat", "and", "he", "loved", "it"]
VOCABULARY = sorted(WORDS, key=str.lower)
IDS = np.array([VOCABULARY.index(word) for word in WORDS])

FEATURES = ["person", "animal", "action", "pronoun"]
EMBEDDING = np.array(  # (V, C): a row for each word of VOCABULARY
    [
        [0.1, 0.1, 0.0, 0.2],  # a
        [0.0, 0.0, 0.1, 0.2],  # and
        [0.1, 1.0, 0.0, 0.0],  # cat
        [0.0, 0.0, 0.9, 0.1],  # had
        [0.6, 0.0, 0.0, 1.0],  # he
        [0.0, 0.6, 0.0, 1.0],  # it
        [0.2, 0.1, 1.0, 0.0],  # loved
        [1.0, 0.1, 0.0, 0.0],  # Tom
    ]
)

BLOCK = {  # a Transformer block: pronouns find whom they mean
    "norm1": {"weight": np.ones(4), "bias": np.zeros(4)},
    "attention": {
        "qkv": {
            "weight": np.array(  # wants, offers, gives: 4 columns each
                [
                    [3.0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
                    [0.0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0],
                    [0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                    [2.0, 2, 0, 0, -1, -1, 0, 0, 0, 0, 0, 0],
                ]
            )
        },
        "out": {"weight": np.eye(4) / 2},
    },
    "norm2": {"weight": np.ones(4), "bias": np.zeros(4)},
    "feed_forward": {  # a person that is a pronoun, an animal that is one
        "up": {
            "weight": np.array([[2.0, 0], [0, 2], [0, 0], [2, 2]]),
            "bias": np.full(2, -2.4),
        },
        "down": {"weight": np.array([[0, 0, 0, -0.7], [0, 0, 0, -0.7]])},
    },
}
