"""The longer runs of appendix A5, and the tables they leave.

Support code. `python -m helpers.runs.assistant_tables` writes to
data/experiments those of the tables that are not there; both take an hour.
"""

from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from helpers import DATA
from helpers.assistant import (
    adapter_gradient,
    counts,
    draw_requests,
    fine_tune,
    init_adapters,
    merge_adapters,
    policy_gradient,
    roll_outs,
    shares_obeyed,
    supervised_batch,
    verified,
    write_answers,
)
from helpers.language_model import loss_and_grads
from helpers.runs.checkpoints import load_run
from helpers.runs.speed import keep_freed_memory, one_blas_thread
from helpers.runs.tables import FOLDER, write_rows
from helpers.training import TrainSettings, train_steps

BASE = DATA / "runs" / "grammar"
SHORT = TrainSettings(  # the lesson's own
    steps=240, batch_size=16, lr=3e-3, warmup=20, weight_decay=0.0
)
SUPERVISED = replace(SHORT, steps=1500)
ADAPTERS = replace(SUPERVISED, lr=3e-2)
POLICY = replace(SHORT, steps=100, lr=1e-4, warmup=4, final=0.3)
GREEDY = replace(POLICY, steps=48, lr=1e-3)  # to see where it leads
PART = ("seed", "stage", "part", "step", "loss", "reward")
SHARES = ("name", "thing", "end", "all", "grammatical")
DRAWN = ("seed", "goal", "beta", "step", "reward", "kl", "entropy", "tokens")
COLUMNS = {"A5_stages": PART + SHARES, "A5_policies": DRAWN + SHARES}


def supervise(run, tokenizer, gradient=loss_and_grads, every=20):
    """Train on stories told to requests; yield a row every some steps."""

    def draw(rng):
        requests = draw_requests(run.settings.batch_size, rng)
        return supervised_batch(requests, tokenizer, rng)

    losses = []
    for loss, _ in train_steps(run, draw, gradient):
        losses.append(loss)
        if run.step % every == 0:
            mean = float(np.mean(losses[-every:]))
            yield {"step": run.step, "loss": round(mean, 4)}


def examine(params, config, tokenizer, n=200):
    """Yield a row on n requests of pairs that training shows, and others."""
    for part in ("seen", "unseen"):
        rng = np.random.default_rng(99)
        requests = draw_requests(n, rng, part == "unseen")
        stories, *_ = write_answers(requests, params, config, tokenizer, rng)
        whole = [verified(*pair) for pair in zip(requests, stories)]
        shares = shares_obeyed(requests, stories)
        yield {"part": part, "reward": float(np.mean(whole))} | shares


def supervised(params, config, tokenizer, settings):
    """Return fully fine-tuned parameters, and rows of loss."""
    run = fine_tune(params, config, settings)
    rows = list(supervise(run, tokenizer))
    return run.params, rows


def adapted(params, config, tokenizer, settings, rank=4):
    """Return the parameters with adapters trained and merged, and rows."""
    rng = np.random.default_rng(settings.seed)
    adapters = init_adapters(params, rank, rng)
    run = fine_tune(adapters, config, settings)
    rows = list(supervise(run, tokenizer, adapter_gradient(params)))
    return merge_adapters(params, run.params)[0], rows


def reinforced(params, config, tokenizer, settings, reward, beta):
    """Return a run of GRPO from params, which are its reference too."""
    run = fine_tune(params, config, settings)
    draw = roll_outs(run, params, tokenizer, reward, groups=16)
    for _ in train_steps(run, draw, policy_gradient(beta=beta)):
        pass
    return run


def stages(seeds=range(5)):
    """Make an assistant a seed; yield rows of loss, and of what it obeys.

    The stages are the base, fine-tuning as short as in the lesson and in
    full, LoRA, and GRPO from the full.
    """
    base, tokenizer = load_run(BASE)
    world = base.config, tokenizer
    for row in examine(base.params, *world):
        yield {"seed": 0, "stage": "base"} | row
    for seed in seeds:
        brief, plain, thin, few = (
            replace(settings, seed=seed)
            for settings in (SHORT, SUPERVISED, ADAPTERS, POLICY)
        )
        full = supervised(base.params, *world, plain)
        policy = reinforced(full[0], *world, few, verified, 0.05)
        for stage, (params, rows) in {
            "short": supervised(base.params, *world, brief),
            "full": full,
            "LoRA": adapted(base.params, *world, thin),
            "GRPO": (policy.params, []),
        }.items():
            for row in (*rows, *examine(params, *world)):
                yield {"seed": seed, "stage": stage} | row


GOALS = {  # {what is rewarded: {beta, how dear it is to drift: settings}}
    "verified": {0.02: replace(POLICY, steps=300, lr=2e-4)},
    "big": {0.0: GREEDY, 0.1: GREEDY, 0.3: GREEDY},
    "big, verified": {0.0: GREEDY},
}


def goal(name):
    """Return the reward of a name in GOALS."""
    big = counts("big")
    return {
        "verified": verified,
        "big": big,
        "big, verified": lambda *pair: big(*pair) * verified(*pair),
    }[name]


def policies(seeds=range(2)):
    """Train one policy a goal and beta; yield a row each batch drawn.

    They start where the lesson's fine-tuning ends.
    """
    base, tokenizer = load_run(BASE)
    world = base.config, tokenizer
    for seed in seeds:
        start, _ = supervised(base.params, *world, replace(SHORT, seed=seed))
        for name, betas in GOALS.items():
            for beta, settings in betas.items():
                about = {"seed": seed, "goal": name, "beta": beta}
                settings = replace(settings, seed=seed)
                given = start, *world, settings, goal(name), beta
                for row in reinforced(*given).log:
                    yield about | row


TABLES = {"A5_stages": stages, "A5_policies": policies}


def make_table(name, folder=FOLDER):
    """Make a table of TABLES and write it to folder/name.csv."""
    keep_freed_memory()
    with one_blas_thread():
        rows = [
            {
                key: round(n, 4) if type(n) is float else n
                for key, n in r.items()
            }
            for r in tqdm(TABLES[name](), name, unit=" rows")
        ]
    write_rows(folder / f"{name}.csv", rows, COLUMNS[name])


if __name__ == "__main__":
    for name in TABLES:
        if not (FOLDER / f"{name}.csv").exists():
            make_table(name)
