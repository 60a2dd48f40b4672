"""The assistant of appendix A5: requests, judges, gradients, KL, sampling.

test_mutants.py runs PROOFS on broken copies of the module.
"""

import itertools
import math
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch_reference as reference
from pairwise import config_of
from test_gradients import moved_params

from helpers import assistant
from helpers.assistant import (
    ENDINGS,
    IGNORE,
    NAMES,
    PAIRS,
    THINGS,
    draw_requests,
    exact_kl,
    fine_tune,
    grammar_for,
    init_adapters,
    kl_estimate,
    merge_adapters,
    obeys,
    prompt_ids,
    request_text,
    roll_outs,
    shares_obeyed,
    supervised_batch,
    token_log_probs,
    verified,
    write_answers,
)
from helpers.language_model import (
    ModelConfig,
    cross_entropy,
    init_params,
    language_model,
    log_softmax,
    loss_and_grads,
)
from helpers.runs import assistant_tables
from helpers.runs.params import map_arrays, named_arrays
from helpers.runs.tables import read_rows, read_table
from helpers.stories.grammar import (
    GRAMMAR,
    is_story,
    story_log_prob,
    tell_stories,
    tell_story,
    tilted_count,
)
from helpers.tinystories import bpe_tokenizer, train_bpe
from helpers.training import TrainSettings, train_step

REQUEST = {"name": "Tom", "thing": "kite", "end": "happy"}


def equal(got, expected, rtol=1e-9, atol=1e-12):
    np.testing.assert_allclose(got, expected, rtol, atol)


def stories_for(requests, seed=0):
    rng = np.random.default_rng(seed)
    return [tell_story(rng, grammar_for(request)) for request in requests]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe_tokenizer(train_bpe("".join(tell_stories(60)), 400))


def small_model(tokenizer, T=40):
    config = config_of("2x5")
    sizes = {"vocab_size": tokenizer.vocab_size, "max_seq_len": T}
    config = ModelConfig(**vars(config) | sizes)
    return init_params(config, np.random.default_rng(0)), config


# requests and their judges


def test_a_request_reads_as_it_should():
    assert request_text(REQUEST) == "name: Tom. thing: kite. end: happy."


def test_stories_told_for_a_request_obey_it_and_no_other():
    rng = np.random.default_rng(0)
    requests = draw_requests(150, rng)
    stories = stories_for(requests)
    assert set(shares_obeyed(requests, stories).values()) == {1.0}
    others = draw_requests(150, rng, unseen=True)
    for request, story in zip(others, stories):
        assert not verified(request, story)
        assert is_story(story)
    kinds = [obeys(*pair) for pair in zip(others, stories)]
    for kind in ("name", "thing", "end"):
        right = [r[kind] == o[kind] for r, o in zip(requests, others)]
        assert right == [row[kind] for row in kinds]


def test_a_broken_story_may_obey():
    (story,) = stories_for([REQUEST])
    broken = story.replace("nce", "nse", 1)
    assert all(obeys(REQUEST, broken).values())
    assert not verified(REQUEST, broken)
    shares = shares_obeyed([REQUEST] * 2, [story, broken])
    assert shares["all"] == 1.0 and shares["grammatical"] == 0.5


def test_a_request_has_a_known_probability():
    """Which is what every story of it costs more without the request."""
    p = 4 / 10 * 1 / 9 * 3 / 17 * 3 / 7 * 1 / 10
    for story in stories_for([REQUEST] * 5):
        narrow = story_log_prob(story, grammar_for(REQUEST))
        equal(story_log_prob(story) - narrow, math.log(p))


def test_unseen_pairs_stay_unseen():
    rng = np.random.default_rng(3)
    drawn = {}
    for unseen in (False, True):
        requests = draw_requests(4000, rng, unseen)
        drawn[unseen] = {(r["name"], r["thing"]) for r in requests}
        for kind, known in (
            ("name", NAMES),
            ("thing", THINGS),
            ("end", ENDINGS),
        ):
            assert {request[kind] for request in requests} == set(known)
    assert not drawn[False] & drawn[True]
    assert drawn[False] | drawn[True] == set(PAIRS)
    assert len(drawn[True]) == math.ceil(len(PAIRS) / 5)


@pytest.mark.parametrize("kind", ["name", "thing", "end"])
def test_what_no_story_has_is_refused(kind):
    with pytest.raises(ValueError, match=f"no story has the {kind} 'dragon'"):
        grammar_for(REQUEST | {kind: "dragon"})
    with pytest.raises(ValueError, match=f"no story has the {kind} None"):
        grammar_for({k: v for k, v in REQUEST.items() if k != kind})


# the frontier


TOY = {
    "story": "A {size} dog met {other}.{end}",
    "size": [(3, "big"), (1, "small")],
    "other": [(1, "a big, big cat"), (2, "a {size} hen"), (1, "no one")],
    "end": [(1, ""), (4, " The bigger one ran.")],
}


def toy_stories():
    """Yield (probability, count of "big") of each story of TOY."""
    sizes = {0.75: 1, 0.25: 0}
    for (p, n), rest in itertools.product(sizes.items(), range(4)):
        inner = [(0.25, 2), (0.5 * 0.75, 1), (0.5 * 0.25, 0), (0.25, 0)][rest]
        yield p * inner[0], n + inner[1]


@pytest.mark.parametrize("strength", [-2.0, 0.0, 0.3, 4.0])
def test_tilted_count_is_a_sum_over_all_stories(strength):
    p, n = np.array(list(toy_stories())).T
    weights = p * np.exp(strength * n)
    log_z, mean = tilted_count(strength, "big", TOY)
    equal(log_z, math.log(weights.sum()))
    equal(mean, weights @ n / weights.sum())
    tilted = weights / weights.sum()
    equal(tilted @ np.log(tilted / p), strength * mean - log_z)


def test_tilted_count_agrees_with_stories_told():
    counts = [len(re.findall(r"\bbig\b", s)) for s in tell_stories(3000, 1)]
    _, mean = tilted_count(0.0, "big")
    error = np.std(counts) / math.sqrt(len(counts))
    assert abs(np.mean(counts) - mean) < 4 * error


# what training reads


def prove_answer_batch(module):
    ids, targets = module.answer_batch([[9, 1], [9, 2, 3]], [[4, 5, 6], [7]])
    np.testing.assert_array_equal(ids, [[9, 1, 4, 5], [9, 2, 3, 0]])
    no = IGNORE
    np.testing.assert_array_equal(targets, [[no, 4, 5, 6], [no, no, 7, no]])


def test_the_loss_is_that_of_the_answers_alone(tokenizer):
    params, config = small_model(tokenizer, 300)
    requests = draw_requests(3, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    batch = supervised_batch(requests, tokenizer, rng, 300)
    logits, _ = language_model(batch[0], params, config)
    loss, _ = cross_entropy(logits.astype(np.float64), batch[1])
    log_probs = log_softmax(logits.astype(np.float64))
    nats = []
    for row, request, story in zip(
        log_probs, requests, stories_for(requests, 2)
    ):
        start = len(prompt_ids(request, tokenizer))
        ids = [*tokenizer.encode(story), tokenizer.end_of_text]
        places = np.arange(start - 1, start - 1 + len(ids))
        nats.extend(-row[places, ids])
    equal(loss, np.mean(nats))


# gradients that no table of cases holds


def prove_at_the_clip(module):
    """On the clip to the last bit, just inside, just outside, either sign."""
    for edge in (0.25, -0.25):
        log_probs = np.log1p(edge) + np.array([0.0, 1e-9, -1e-9] * 2)
        clip = abs(float(np.exp(log_probs[0])) - 1)
        advantages = np.repeat([1.5, -0.5], 3)
        settings = np.zeros(6), advantages, clip
        _, cache = module.clipped_gain(log_probs, *settings)
        got = module.clipped_gain_backward(np.ones(6), cache)
        leaf = torch.tensor(log_probs, requires_grad=True)
        tensors = map(torch.tensor, settings[:2])
        reference.clipped_gain(leaf, *tensors, clip).sum().backward()
        equal(got, leaf.grad.numpy())
        assert 0 < np.count_nonzero(got) < 6


def pairs_of(seed=0):
    """Return a model and four rows of which the first tokens are given."""
    rng, config = np.random.default_rng(seed), config_of("2x5")
    ids = rng.integers(0, config.vocab_size, (4, 5))
    targets = rng.integers(0, config.vocab_size, (4, 5))
    targets[:, :2] = targets[1, -1] = IGNORE
    return moved_params(config, rng), config, ids, targets, rng


def compare_grads(loss, grads, params, torch_loss):
    """Compare with what torch's autograd makes of the same loss."""
    leaves = map_arrays(lambda a: torch.tensor(a, requires_grad=True), params)
    expected = torch_loss(leaves)
    expected.backward()
    equal(loss, expected.item())
    named = named_arrays(map_arrays(lambda leaf: leaf.grad.numpy(), leaves))
    got = named_arrays(grads)
    assert got.keys() == named.keys()
    for name, grad in named.items():
        equal(got[name], grad, atol=1e-11)


def torch_log_probs(ids, targets, params, config):
    logits = reference.language_model(torch.tensor(ids), params, config)
    return reference.token_log_probs(logits, torch.tensor(targets))


def prove_dpo_loss_and_grads(module):
    params, config, ids, targets, rng = pairs_of()
    start = rng.normal(-9, 1, 4)
    batch = ids, targets, start, params, config
    loss, grads = module.dpo_loss_and_grads(*batch, beta=0.4)

    def torch_loss(params):
        gains = torch_log_probs(ids, targets, params, config).sum(1)
        chosen, rejected = (gains - torch.tensor(start)).split(2)
        return reference.dpo_loss(chosen, rejected, 0.4)

    compare_grads(loss, grads, params, torch_loss)


def prove_policy_gradient(module):
    params, config, ids, targets, rng = pairs_of(1)
    now = token_log_probs(language_model(ids, params, config)[0], targets)[0]
    old, far = now + rng.normal(0, 0.3, (2, *now.shape))
    fixed = old, far, rng.normal(size=4)
    gradient = module.policy_gradient(clip=0.1, beta=0.3)
    loss, grads = gradient(ids, targets, *fixed, params, config)

    def torch_loss(params):
        log_probs = torch_log_probs(ids, targets, params, config)
        scored = torch.tensor(targets != IGNORE)
        tensors = [torch.tensor(array) for array in fixed]
        settings = {"clip": 0.1, "beta": 0.3}
        return reference.policy_loss(log_probs, *tensors, scored, **settings)

    compare_grads(loss, grads, params, torch_loss)


def prove_adapter_gradient(module):
    params, config, ids, targets, rng = pairs_of(2)
    adapters = module.init_adapters(params, 2, rng)
    adapters = map_arrays(lambda a: a + rng.normal(size=a.shape), adapters)
    before = map_arrays(np.copy, params)
    gradient = module.adapter_gradient(params, 0.3)
    loss, grads = gradient(ids, targets, adapters, config)
    assert_same(params, before)

    def torch_loss(adapters):
        leaves = map_arrays(torch.tensor, params)
        arrays = named_arrays(leaves)
        for path, pair in adapters.items():
            added = arrays[path] + 0.3 * pair["A"] @ pair["B"]
            place, _, key = path.rpartition(".")
            part = leaves
            for step in place.split("."):
                part = part[int(step) if step.isdigit() else step]
            part[key] = added
        logits = reference.language_model(torch.tensor(ids), leaves, config)
        return reference.cross_entropy(logits, torch.tensor(targets))

    compare_grads(loss, grads, adapters, torch_loss)


def assert_same(params, others):
    for name, array in named_arrays(params).items():
        np.testing.assert_array_equal(array, named_arrays(others)[name])


def prove_group_advantages(module):
    got = module.group_advantages([1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 2.0], 4)
    equal(got, [1.0, -1.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    equal(module.group_advantages([0.0, 3.0, 3.0], 3).std(), 1.0)


def prove_entropy(module):
    logits = np.random.default_rng(5).normal(0, 3, (2, 3, 7))
    expected = torch.distributions.Categorical(logits=torch.tensor(logits))
    equal(module.entropy(logits), expected.entropy().numpy())


def prove_init_adapters(module):
    """Nothing changes at first, and no gradient is zero in B."""
    params, config, ids, targets, rng = pairs_of(3)
    adapters = module.init_adapters(params, 3, rng)
    assert_same(module.merge_adapters(params, adapters)[0], params)
    assert len(adapters) == 4 * config.n_layers
    _, grads = module.adapter_gradient(params)(ids, targets, adapters, config)
    for path, pair in adapters.items():
        M, N = named_arrays(params)[path].shape
        assert pair["A"].shape == (M, 3) and pair["B"].shape == (3, N)
        assert not grads[path]["A"].any() and grads[path]["B"].any()


PROOFS = {
    "answer_batch": prove_answer_batch,
    "at_the_clip": prove_at_the_clip,
    "dpo_loss_and_grads": prove_dpo_loss_and_grads,
    "policy_gradient": prove_policy_gradient,
    "adapter_gradient": prove_adapter_gradient,
    "group_advantages": prove_group_advantages,
    "entropy": prove_entropy,
    "init_adapters": prove_init_adapters,
}


@pytest.mark.parametrize("proof", PROOFS)
def test_proof(proof):
    PROOFS[proof](assistant)


# LoRA


def test_merging_changes_the_weights_of_the_blocks_alone():
    params, config, *_, rng = pairs_of(4)
    adapters = init_adapters(params, 2, rng)
    adapters = map_arrays(lambda a: a + 1.0, adapters)
    merged = named_arrays(merge_adapters(params, adapters)[0])
    for path, array in named_arrays(params).items():
        assert (merged[path] == array).all() == (path not in adapters)


# DPO and KL


def test_dpo_starts_at_log_2(tokenizer):
    params, config, ids, targets, _ = pairs_of(5)
    batch = ids, targets
    start = assistant.score_targets(*batch, params, config).sum(axis=1)
    loss, _ = assistant.dpo_loss_and_grads(*batch, start, params, config)
    assert abs(loss - math.log(2)) < 1e-6


def test_estimates_agree_with_the_exact_kl_where_all_can_be_counted():
    """Over all prefixes of two tokens of five."""
    rng = np.random.default_rng(0)
    first, far_first = rng.normal(size=(2, 5))
    then, far_then = rng.normal(size=(2, 5, 5))
    p, q = log_softmax(first), log_softmax(far_first)
    p2, q2 = log_softmax(then), log_softmax(far_then)
    joint = p[:, None] + p2  # (5, 5): all texts
    far = q[:, None] + q2
    whole = (np.exp(joint) * (joint - far)).sum()
    chain = exact_kl(first, far_first)[0]
    chain += np.exp(p) @ exact_kl(then, far_then)[0]
    equal(chain, whole)
    mean = np.exp(p) @ kl_estimate(p, q)[0]
    equal(mean, exact_kl(first, far_first)[0])
    equal((np.exp(joint) * kl_estimate(joint, far)[0]).sum(), whole)
    drawn = rng.choice(25, 20_000, p=np.exp(joint).ravel())
    values = kl_estimate(joint.ravel()[drawn], far.ravel()[drawn])[0]
    assert abs(values.mean() - whole) < 4 * values.std() / math.sqrt(20_000)


# sampling


def test_answers_are_scored_as_they_were_drawn(tokenizer):
    params, config = small_model(tokenizer, 60)
    requests = draw_requests(4, np.random.default_rng(1))
    told = write_answers(
        requests, params, config, tokenizer, np.random.default_rng(2)
    )
    stories, ids, targets = told
    for request, story, row, wanted in zip(requests, stories, ids, targets):
        start = len(prompt_ids(request, tokenizer))
        text = wanted[wanted != IGNORE]
        assert tokenizer.decode(list(text)).startswith(story)
        assert (wanted[: start - 1] == IGNORE).all()
        read = row[start : start + len(text) - 1]
        np.testing.assert_array_equal(read, text[:-1])


def test_roll_outs_teach_what_is_rewarded(tokenizer):
    """A reward for one token makes it more frequent, in float32."""
    params, config = small_model(tokenizer, 50)
    settings = TrainSettings(steps=24, lr=0.03, warmup=1, weight_decay=0.0)
    run = fine_tune(params, config, settings)
    letters = {"reward": lambda request, story: float(story.count("e"))}
    draw = roll_outs(run, params, tokenizer, **letters, groups=2, size=8)
    batches = []
    while run.step < settings.steps:
        batches.append(draw(run.rng))
        train_step(run, *batches[-1], gradient=assistant.policy_gradient())
    rewards = [row["reward"] for row in run.log]
    assert len(rewards) == 12 and batches[0] is batches[1]
    assert np.mean(rewards[-3:]) > 2 * np.mean(rewards[:3])
    first, *_, last = run.log
    assert abs(first["kl"]) < 1e-3 < last["kl"]
    assert all(batch[2].dtype == np.float32 for batch in batches)


def test_fine_tuning_leaves_the_model_it_starts_from():
    params, config, ids, targets, _ = pairs_of(6)
    before = map_arrays(np.copy, params)
    run = fine_tune(params, config, TrainSettings(steps=2))
    train_step(run, ids, targets, gradient=loss_and_grads)
    assert_same(params, before)


def test_every_word_asked_for_is_one_the_grammar_can_say():
    texts = str(GRAMMAR)
    for word in (*NAMES, *THINGS, *ENDINGS.values()):
        assert re.search(rf"\b{word}\b", texts)


# the tables


@pytest.mark.parametrize("name", assistant_tables.TABLES)
def test_a_table_is_made_as_it_is_kept(name, monkeypatch, tmp_path):
    """A few steps of a seed give rows of the columns that are shipped."""
    few = {"steps": 2, "batch_size": 2}
    for settings in ("SHORT", "SUPERVISED", "ADAPTERS", "POLICY"):
        changed = replace(getattr(assistant_tables, settings), **few)
        monkeypatch.setattr(assistant_tables, settings, changed)
    goals = {"big": {0.1: assistant_tables.POLICY}}
    monkeypatch.setattr(assistant_tables, "GOALS", goals)
    monkeypatch.setattr(
        assistant_tables, "roll_outs", partial(roll_outs, times=3)
    )
    monkeypatch.setattr(
        assistant_tables, "examine", partial(assistant_tables.examine, n=2)
    )
    table = partial(assistant_tables.TABLES[name], seeds=range(1))
    monkeypatch.setitem(assistant_tables.TABLES, name, table)
    assistant_tables.make_table(name, tmp_path)
    rows = read_rows(tmp_path / f"{name}.csv")
    kept = read_table(name)
    assert list(rows[0]) == list(kept[0]) and rows
    if name == "A5_stages":
        assert {row["stage"] for row in rows} == {row["stage"] for row in kept}


def shares_of(stage, key):
    """Return the shares of a stage on unseen pairs, one a seed."""
    rows = [r for r in read_table("A5_stages") if r["stage"] == stage]
    return np.array([r[key] for r in rows if r["part"] == "unseen"])


def test_what_the_appendix_says_of_its_stages():
    """What was asked for: five seeds, on pairs that no training showed."""
    assert shares_of("base", "all").max() < 0.2
    for stage in ("short", "full", "LoRA", "GRPO"):
        assert len(shares_of(stage, "all")) == 5
    assert shares_of("full", "all").min() > 0.9
    assert shares_of("GRPO", "all").min() > 0.98
    assert shares_of("full", "grammatical").mean() >= 0.9
    assert shares_of("GRPO", "grammatical").mean() >= 0.9


def drawn(goal, beta, key):
    """Return a column of the batches of a goal: (seeds, batches)."""
    rows = [r for r in read_table("A5_policies") if r["goal"] == goal]
    rows = [r for r in rows if r["beta"] == beta]
    n_seeds = len({row["seed"] for row in rows})
    return np.reshape([row[key] for row in rows], (n_seeds, -1))


def test_what_the_appendix_says_of_its_policies():
    """An honest reward rises; a hole is found, and the KL term slows it."""
    verified_share = drawn("verified", 0.02, "reward")
    early, late = verified_share[:, :10], verified_share[:, -10:]
    assert (late.mean(axis=1) > early.mean(axis=1) + 0.05).all()
    big = {beta: drawn("big", beta, "reward") for beta in (0.0, 0.1, 0.3)}
    ends = [big[beta][:, -2:].mean() for beta in (0.0, 0.1, 0.3)]
    assert ends[0] > 2 * ends[1] > 2 * ends[2]
    costs = [drawn("big", b, "kl")[:, -2:].mean() for b in (0.0, 0.1, 0.3)]
    assert costs[0] > 2 * costs[1] > 2 * costs[2]
    assert drawn("big", 0.0, "grammatical")[:, -2:].max() < 0.1
    assert drawn("big, verified", 0.0, "grammatical")[:, -2:].mean() > 0.5
