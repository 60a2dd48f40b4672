"""The same loss and gradients, sooner: every core, and memory that is kept.

Support code. The functions are those of the lessons, on a few sequences at a
time.
"""

import contextlib
import ctypes
import functools
import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import ThreadpoolController

from helpers.language_model import language_model, language_model_backward
from helpers.runs.guards import check_batch
from helpers.runs.params import flat_like, named_arrays


def micro_batch(T):
    """Return how many sequences to take at a time: some thousand tokens."""
    return max(1, min(4, 1024 // T))


def batch_loss_and_grads(
    ids,
    targets,
    params,
    config,
    rng=None,
    size=None,
    workers=None,
    share=(0, 1),
):
    """Do what loss_and_grads does, in micro-batches on every core.

    size counts sequences, None means micro_batch. Small arrays stay in the
    processor's cache, and NumPy lets other threads run while it computes.
    The parts are added in their order, so the result does not depend on the
    number of workers.
    The gradients are views of one flat vector. share (i, n): of n processes
    that see the same batch this is number i, and does its part of the sum.
    """
    check_batch(ids, targets, config)
    n_targets = int((targets != -100).sum())
    size = size or micro_batch(ids.shape[1])
    starts = range(0, len(ids), size)
    rngs = [None] * len(starts)
    if rng is not None:  # one generator each, for dropout
        seeds = rng.integers(2**63, size=len(rngs))
        rngs = [np.random.default_rng(seed) for seed in seeds]

    def work(start, rng):
        part = ids[start : start + size], targets[start : start + size]
        with np.errstate(all="ignore"):  # the norm will tell of overflow
            return micro_loss_and_grads(*part, params, config, rng, n_targets)

    i, n = share
    mine = slice(len(starts) * i // n, len(starts) * (i + 1) // n)
    loss, (_, grads) = 0.0, flat_like(params)
    with one_blas_thread(), ThreadPoolExecutor(workers or cores()) as pool:
        for more, part in pool.map(work, starts[mine], rngs[mine]):
            loss += more
            add_arrays(grads, part)
    return loss, grads


def micro_loss_and_grads(ids, targets, params, config, rng, n_targets):
    """Return what a few sequences add to the loss and grads of a batch."""
    logits, cache = language_model(ids, params, config, rng=rng)
    flat = logits.reshape(-1, config.vocab_size)  # a view of logits
    loss = logits_to_gradient(flat, targets.reshape(-1), n_targets)
    return loss, language_model_backward(logits, cache)


def logits_to_gradient(logits, targets, n_targets, ignore_index=-100):
    """Overwrite logits with the gradient of the loss; return the loss.

    logits (R, V), targets (R,); n_targets counts those of the whole batch.
    What cross_entropy and its backward do, 64 rows at a time and without
    their copies of the largest array there is.
    """
    loss = 0.0
    for first in range(0, len(targets), 64):
        part, wanted = logits[first : first + 64], targets[first : first + 64]
        keep = wanted != ignore_index
        place = np.flatnonzero(keep), wanted[keep]
        part -= part.max(axis=-1, keepdims=True)
        picked = part[place]
        np.exp(part, out=part)
        total = part.sum(axis=-1, keepdims=True)  # (rows, 1)
        loss += float(np.log(total[keep, 0]).sum() - picked.sum())
        part *= keep[:, None] / (total * n_targets)
        part[place] -= 1 / n_targets
    return loss / n_targets


def add_arrays(tree, other):
    """Add each array of other to that of the same name in tree, in place."""
    arrays = named_arrays(tree)
    for name, array in named_arrays(other).items():
        arrays[name] += array


def cores():
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


@functools.cache
def _controller():
    """Find the BLAS library once; the search takes milliseconds."""
    return ThreadpoolController()


class Users:
    """Count who is in one_blas_thread: the first limits, the last frees."""

    lock = threading.Lock()
    inside = 0
    limit = contextlib.ExitStack()


@contextlib.contextmanager
def one_blas_thread():
    """Let each matrix product run on one thread: the threads are ours.

    The number belongs to the process. If several are inside at a time, the
    last to leave puts back what the first found.
    """
    with Users.lock:
        if Users.inside == 0:
            limit = _controller().limit(limits=1, user_api="blas")
            Users.limit.enter_context(limit)
        Users.inside += 1
    try:
        yield
    finally:
        with Users.lock:
            Users.inside -= 1
            if Users.inside == 0:
                Users.limit.close()


def keep_freed_memory():
    """Ask glibc to keep large freed arrays for the next ones of their size.

    A step frees and asks for the same arrays again and again, and the system
    clears each page it hands out. Does nothing where there is no glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # as in malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 64 * 2**20)


def sgemm_peak(n=1024, repeats=12):
    """Return the best measured GFLOP/s of a product of float32 matrices."""
    a, b = np.random.default_rng(0).random((2, n, n), dtype=np.float32)
    best = math.inf
    for _ in range(repeats):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best / 1e9
