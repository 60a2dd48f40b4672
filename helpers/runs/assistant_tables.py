"""The longer runs of appendix A5, and the tables they leave.

Support code. `python -m helpers.runs.assistant_tables` writes to
data/experiments those of the tables that are not there.
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
SUPERVISED = TrainSettings(
    steps=240, batch_size=16, lr=3e-3, warmup=20, weight_decay=0.0
)
ADAPTERS = replace(SUPERVISED, lr=1e-2)
POLICY = replace(SUPERVISED, steps=48, lr=3e-4, warmup=4, final=0.3)
GREEDY = replace(POLICY, lr=1e-3)  # to see in few steps where it leads
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


def examine(params, config, tokenizer, n=100):
    """Yield a row on n requests of pairs that training shows, and others."""
    for part in ("seen", "unseen"):
        rng = np.random.default_rng(99)
        requests = draw_requests(n, rng, part == "unseen")
        stories, *_ = write_answers(requests, params, config, tokenizer, rng)
        whole = [verified(*pair) for pair in zip(requests, stories)]
        shares = shares_obeyed(requests, stories)
        yield {"part": part, "reward": float(np.mean(whole))} | shares


def supervised(params, config, tokenizer, settings):
    """Return a fully fine-tuned run, and its rows of loss."""
    run = fine_tune(params, config, settings)
    return run, list(supervise(run, tokenizer))


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
    draw = roll_outs(run, params, tokenizer, reward, groups=6, size=6)
    for _ in train_steps(run, draw, policy_gradient(beta=beta)):
        pass
    return run


def stages(seeds=range(2)):
    """Make an assistant a seed; yield rows of loss, and of what it obeys.

    The stages are the base, full fine-tuning, LoRA, and GRPO from the full.
    """
    base, tokenizer = load_run(BASE)
    world = base.config, tokenizer
    for row in examine(base.params, *world):
        yield {"seed": 0, "stage": "base"} | row
    for seed in seeds:
        plain, thin, few = (
            replace(settings, seed=seed)
            for settings in (SUPERVISED, ADAPTERS, POLICY)
        )
        full, full_rows = supervised(base.params, *world, plain)
        merged, thin_rows = adapted(base.params, *world, thin)
        policy = reinforced(full.params, *world, few, verified, 0.02)
        for stage, params, rows in (
            ("full", full.params, full_rows),
            ("LoRA", merged, thin_rows),
            ("GRPO", policy.params, []),
        ):
            for row in (*rows, *examine(params, *world)):
                yield {"seed": seed, "stage": stage} | row


GOALS = {  # what is rewarded, and how dear it is to drift: beta
    "big": (0.0, 0.1, 0.3),
    "big, verified": (0.0,),
}


def goal(name):
    """Return the reward of a name in GOALS."""
    big = counts("big")
    return {
        "big": big,
        "big, verified": lambda *pair: big(*pair) * verified(*pair),
    }[name]


def policies(seeds=range(1)):
    """Train one policy a goal and beta; yield a row each batch drawn."""
    base, tokenizer = load_run(BASE)
    world = base.config, tokenizer
    for seed in seeds:
        settings = replace(SUPERVISED, seed=seed)
        full, _ = supervised(base.params, *world, settings)
        for name, betas in GOALS.items():
            for beta in betas:
                about = {"seed": seed, "goal": name, "beta": beta}
                settings = replace(GREEDY, seed=seed)
                given = full.params, *world, settings, goal(name), beta
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
