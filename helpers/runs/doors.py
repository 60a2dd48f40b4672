"""What the doors of the lessons ask of their arguments.

Support code. `@checked` above a function calls the function of the same name
in this module first, with the same arguments; those raise ValueError as
guards.py says. So a lesson shows what a function does, and not what it
refuses.
"""

import functools

from helpers.runs.guards import check_config, check_ids, check_targets


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
