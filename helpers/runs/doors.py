"""What the doors of the lessons ask of their arguments.

Support code. `@checked` above a function calls the function of the same name
in this module first, with the same arguments; those raise ValueError as
guards.py says. So a lesson shows what a function does, and not what it
refuses.
"""

import functools

from helpers.runs.guards import (
    check_config,
    check_ids,
    check_memory,
    check_settings,
    check_targets,
    check_texts,
    check_tokenizer,
    check_tokens,
)


def checked(door):
    """Check the arguments of a function, or the fields of a dataclass.

    Above a class it stands below @dataclass and looks at each new object.
    """
    check = globals()[door.__qualname__.replace(".", "_")]
    if isinstance(door, type):
        door.__post_init__ = check
        return door

    @functools.wraps(door)
    def call(*args, **settings):
        check(*args, **settings)
        return door(*args, **settings)

    return call


# lesson 04


def ModelConfig(config):
    check_config(config)


def embed(ids, params, config, rng=None):
    check_ids(ids, config)


def cross_entropy(logits, targets, ignore_index=-100):
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets of shape {targets.shape} do not fit logits of shape "
            f"{logits.shape}; give one target for each row of logits"
        )
    check_targets(targets[targets != ignore_index], logits.shape[-1])


# lesson 06


def learning_rate(step, peak, warmup, total, decay="cosine", final=0.1):
    if decay not in ("cosine", "linear"):
        raise ValueError(f'decay must be "cosine" or "linear", not {decay!r}')


def TrainSettings(settings):
    check_settings(settings)


def start_run(config, settings, dtype=None):
    check_memory(config, settings)


def evaluate(tokens, params, config, B=16, T=None):
    check_tokens(tokens, B, config.max_seq_len if T is None else T)


def bits_per_byte(stories, tokenizer, params, config):
    check_tokenizer(tokenizer, config)
    check_texts(stories)
    if not any(stories):
        raise ValueError("no story text to score; give at least one story")
