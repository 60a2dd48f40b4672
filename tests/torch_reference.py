"""What tests compare with: helpers/checks/torch_ops.py, and a few by hand.

Not a test.
"""

from types import SimpleNamespace

import torch

from helpers.checks import torch_ops
from helpers.checks.torch_ops import *  # noqa: F403

torch.set_num_threads(1)  # the tensors are tiny


def encoder_layer(x, params, n_heads, mask, **settings):
    """Call torch's encoder layer; settings as that has them."""
    config = SimpleNamespace(
        n_heads=n_heads,
        norm="pre" if settings.get("norm_first") else "post",
        activation=settings.get("activation", "relu"),
    )
    return torch_ops.encoder_layer(x, params, config, mask)


def gpt2(ids, params, n_heads):
    """GPT-2 (Radford et al. 2019): pre-norm, tanh GELU, tied head."""
    config = SimpleNamespace(n_heads=n_heads, norm="pre", activation="gelu")
    return torch_ops.gpt2(ids, params, config)


def block_2017(x, params, n_heads, mask=None):
    """The block of Vaswani et al. 2017: post-norm, ReLU."""
    return encoder_layer(x, params, n_heads, mask)
