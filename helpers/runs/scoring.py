"""Score a story of any length, each token once and with what came before it.

Support code, for bits per byte in lesson 06, the report and the panel.
"""

import numpy as np

from helpers.language_model import language_model, log_softmax


def story_windows(ids, T):
    """Cut a story's ids into windows of T, each half over the one before.

    Yields ids, targets; a target the window before has scored is ignored,
    so each is scored once, with at least T / 2 tokens before it.
    """
    done = 0  # targets scored so far
    while done < len(ids) - 1:
        start = max(0, done - T // 2) if done else 0
        window = np.asarray(ids[start : start + T + 1], dtype=np.int64)
        targets = window[1:].copy()
        targets[: done - start] = -100
        yield window[:-1], targets
        done = start + len(window) - 1


def token_nats(ids, params, config):
    """Return what each token of a story after the first costs, in nats.

    ids (N,) -> minus the log probabilities (N - 1,), in float64.
    """
    nats = []
    for window, targets in story_windows(ids, config.max_seq_len):
        logits, _ = language_model(window[None], params, config)
        places = np.flatnonzero(targets >= 0)
        log_probs = log_softmax(logits[0, places].astype(np.float64))
        nats.extend(-log_probs[np.arange(len(places)), targets[places]])
    return np.array(nats)
