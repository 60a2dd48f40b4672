"""Draw what a training step keeps in memory, and for what."""

from dataclasses import replace

import numpy as np

from helpers.pictures.plots import plot_bars


def show_memory(config, B, T):
    """Draw the megabytes (10^6 bytes) of a step on B windows of T tokens."""
    sizes = memory_of(config, B, T)
    names = [f"{name}: {size:.1f}" for name, size in sizes.items()]
    plot_bars(names, list(sizes.values()), "megabytes")
    print(f"{B * T:,} tokens a step, {sum(sizes.values()):.1f} megabytes")


def memory_of(config, B, T):
    """Return {what for: megabytes} of a step in float32.

    What is kept for the backward is counted as in appendix A3; of the size
    of the logits there are three: they, their logarithms, their gradient.
    """
    from helpers.language_model import count_params, init_params
    from helpers.scale import activation_bytes  # not before they are wanted

    config = replace(config, max_seq_len=T)
    params = count_params(init_params(config, np.random.default_rng(0)))
    kept = activation_bytes(config, B, T)
    weights = 4 * config.n_layers * B * config.n_heads * T * T
    sizes = {
        "parameters, gradients, Adam's means": 4 * 4 * params,
        "logits": 3 * 4 * B * T * config.vocab_size,
        "attention weights": weights,
        "the rest of the cache": kept - weights,
    }
    return {name: size / 1e6 for name, size in sizes.items()}
