"""From a storyteller to an assistant: requests, LoRA, DPO, GRPO.

Built in notebooks/A5_assistant.ipynb. A request asks for a name, a thing and
an end; the story grammar, narrowed to what is asked for, is an exact judge of
the answer. Log probabilities are in nats.
"""

import itertools
import re

import numpy as np

from helpers.generation import generate_batch
from helpers.language_model import (
    language_model,
    language_model_backward,
    log_softmax,
    loss_and_grads,
)
from helpers.runs.params import map_arrays, named_arrays
from helpers.stories.grammar import GRAMMAR, is_story, tell_story
from helpers.training import AdamW, Run

PLOTS = {
    "stuck": "light_toy",
    "splash": "wet_toy",
    "lost": "treasure",
    "broken": "part_toy",
    "share": "treat",
    "seed": "plant",
}
NAMES = {
    name: symbol
    for symbol in ("girl", "boy", "cub_name")
    for _, name, *_ in GRAMMAR[symbol]
}
THINGS = {
    thing: plot
    for plot, symbol in PLOTS.items()
    for _, thing, *_ in GRAMMAR[symbol]
}
ENDINGS = {
    "friends": "From that day on",
    "next day": "The next day",
    "often": "After that",
    "happy": "was happy",
}
ASKABLE = {"name": NAMES, "thing": THINGS, "end": ENDINGS}
PAIRS = list(itertools.product(NAMES, THINGS))
IGNORE = -100  # as a target: not scored


def says(text, words):
    """Return whether a text holds these whole words."""
    return re.search(rf"\b{re.escape(words)}\b", text) is not None


def draw_requests(n, rng, unseen=False):
    """Draw n requests, dicts of a name, a thing and an end.

    Every fifth pair of a name and a thing comes only if unseen, and then no
    other does.
    """
    places = [i for i in range(len(PAIRS)) if (i % 5 == 0) == unseen]
    requests = []
    for place in rng.choice(places, n):
        name, thing = PAIRS[place]
        end = str(rng.choice(list(ENDINGS)))
        requests.append({"name": name, "thing": thing, "end": end})
    return requests


def request_text(request):
    """Write a request as in "name: Tom. thing: kite. end: happy."."""
    return " ".join(f"{kind}: {asked}." for kind, asked in request.items())


def check_request(request):
    """Raise ValueError for what no story can have."""
    for kind, known in ASKABLE.items():
        if request.get(kind) not in known:
            raise ValueError(
                f"no story has the {kind} {request.get(kind)!r}; ask for one "
                f"of {', '.join(known)}"
            )


def grammar_for(request):
    """Return the grammar of all stories that a request asks for.

    It keeps one choice where the request decides, and everything else.
    """
    check_request(request)
    plot = THINGS[request["thing"]]
    symbol = NAMES[request["name"]]
    wanted = {
        "child": f"hero={symbol}",
        symbol: request["name"],
        "plot": plot,
        PLOTS[plot]: request["thing"],
        "ending": ENDINGS[request["end"]],
    }
    return GRAMMAR | {
        name: [choice for choice in GRAMMAR[name] if says(choice[1], words)]
        for name, words in wanted.items()
    }


def obeys(request, story):
    """Return {kind: whether the story does what was asked}, word by word.

    Right grammar is not asked for: a broken story may obey.
    """
    end = story.rpartition("\n")[2]
    return {
        "name": says(story, f"named {request['name']}"),
        "thing": says(story, request["thing"]),
        "end": says(end, ENDINGS[request["end"]]),
    }


def verified(request, story):
    """Return 1.0 if the story is whole, right and as asked for, else 0.0."""
    return float(is_story(story, grammar_for(request)))


def counts(word):
    """Return a reward with a hole: how often a story says the word."""
    whole = re.compile(rf"\b{re.escape(word)}\b")

    def reward(request, story):
        return float(len(whole.findall(story)))

    return reward


def shares_obeyed(requests, stories):
    """Return the share obeyed of each kind, of all, and of whole stories."""
    rows = [obeys(request, story) for request, story in zip(requests, stories)]
    shares = {kind: np.mean([row[kind] for row in rows]) for kind in rows[0]}
    shares["all"] = np.mean([all(row.values()) for row in rows])
    shares["grammatical"] = np.mean([is_story(story) for story in stories])
    return {key: float(share) for key, share in shares.items()}


def prompt_ids(request, tokenizer):
    """Return <|endoftext|> and the request's line as token ids."""
    line = request_text(request) + "\n"
    return [tokenizer.end_of_text, *tokenizer.encode(line)]


def answer_batch(prompts, answers):
    """Put answers behind their prompts; score the answers alone.

    Lists of ids -> ids (B, T), targets (B, T), with IGNORE as the target
    inside a prompt and in the padding, which is at the right.
    """
    rows = [[*p, *a] for p, a in zip(prompts, answers)]
    T = max(map(len, rows)) - 1
    ids = np.zeros((len(rows), T), dtype=np.int64)
    targets = np.full((len(rows), T), IGNORE)
    for i, (row, prompt) in enumerate(zip(rows, prompts)):
        ids[i, : len(row) - 1] = row[:-1]
        targets[i, len(prompt) - 1 : len(row) - 1] = row[len(prompt) :]
    return ids, targets


def supervised_batch(requests, tokenizer, rng, longest=160):
    """Tell a story for each request; return ids, targets (B, T).

    Rows of more than longest ids, about one in a thousand, are cut.
    """
    prompts = [prompt_ids(request, tokenizer) for request in requests]
    stories = [tell_story(rng, grammar_for(request)) for request in requests]
    end = [tokenizer.end_of_text]
    answers = [tokenizer.encode(story) + end for story in stories]
    ids, targets = answer_batch(prompts, answers)
    return ids[:, :longest], targets[:, :longest]


def fine_tune(params, config, settings):
    """Return a run that starts from a copy of params."""
    params = map_arrays(np.copy, params)
    betas = settings.beta1, settings.beta2
    optimizer = AdamW(params, settings.weight_decay, betas=betas)
    rng = np.random.default_rng(settings.seed)
    return Run(config, settings, params, optimizer, rng)


def lora(weight, A, B, scale=1.0):
    """Add a product of two thin matrices: weight + scale * A @ B.

    weight (M, N), A (M, r), B (r, N) -> (M, N).
    Source: Hu et al. 2021, section 4.1.
    """
    return weight + scale * (A @ B), (A, B, scale)


def lora_backward(dout, cache):
    """Return dweight, dA, dB; what is frozen has no use for dweight."""
    A, B, scale = cache
    dA = scale * (dout @ B.T)
    dB = scale * (A.T @ dout)
    return dout, dA, dB


def init_adapters(params, rank, rng):
    """Return {path: {"A": drawn, "B": zeros}}, one for each map of a block.

    Zeros, so that the first step starts from the model as it is.
    """
    adapters = {}
    for path, weight in named_arrays(params).items():
        if path.startswith("blocks") and weight.ndim == 2:
            M, N = weight.shape
            A = rng.normal(0.0, M**-0.5, (M, rank)).astype(weight.dtype)
            B = np.zeros((rank, N), weight.dtype)
            adapters[path] = {"A": A, "B": B}
    return adapters


def merge_adapters(params, adapters, scale=1.0):
    """Return a copy of params with the adapters added, and {path: cache}."""
    merged = map_arrays(np.copy, params)
    arrays = named_arrays(merged)
    caches = {}
    for path, adapter in adapters.items():
        added, caches[path] = lora(arrays[path], **adapter, scale=scale)
        arrays[path][:] = added
    return merged, caches


def adapter_gradient(params, scale=1.0):
    """Return a loss_and_grads of adapters, for train_step; params stay."""

    def gradient(ids, targets, adapters, config, rng=None):
        merged, caches = merge_adapters(params, adapters, scale)
        loss, grads = loss_and_grads(ids, targets, merged, config, rng)
        douts = named_arrays(grads)
        dadapters = {}
        for path, cache in caches.items():
            _, dA, dB = lora_backward(douts[path], cache)
            dadapters[path] = {"A": dA, "B": dB}
        return loss, dadapters

    return gradient


def token_log_probs(logits, targets):
    """Return the log probability of each target, 0 where it is IGNORE.

    logits (B, T, V), targets (B, T) -> (B, T).
    """
    scored = targets != IGNORE
    log_probs = log_softmax(logits)
    rows = np.where(scored, targets, 0)[..., None]
    picked = np.take_along_axis(log_probs, rows, axis=-1)[..., 0]
    return picked * scored, (log_probs, rows, scored)


def token_log_probs_backward(dout, cache):
    """Return dlogits = dout * (one-hot - softmax), zero where ignored."""
    log_probs, rows, scored = cache
    dlogits = -np.exp(log_probs)
    picked = np.take_along_axis(dlogits, rows, axis=-1)
    np.put_along_axis(dlogits, rows, picked + 1, axis=-1)
    return dlogits * (dout * scored)[..., None]


def score_targets(ids, targets, params, config):
    """Return the log probability of each target (B, T), no gradient."""
    logits, _ = language_model(ids, params, config)
    return token_log_probs(logits, targets)[0]


def dpo_loss(chosen, rejected, beta=0.1):
    """Average -log of the chance that the chosen answer wins.

    chosen, rejected (B,): how much likelier than under the reference each
    answer has become, in nats -> loss, a float.
    Source: Rafailov et al. 2023, equation 7.
    """
    margin = beta * (chosen - rejected)
    loss = float(np.logaddexp(0.0, -margin).mean())
    return loss, (margin, beta)


def dpo_loss_backward(dout, cache):
    """Return dchosen, drejected; pairs in the wrong order weigh most."""
    margin, beta = cache
    wrong = np.exp(-np.logaddexp(0.0, margin))  # chance that rejected wins
    dmargin = -wrong * (float(dout) / margin.size)
    return beta * dmargin, -beta * dmargin


def dpo_loss_and_grads(
    ids, targets, reference, params, config, rng=None, beta=0.1
):
    """Return the loss of pairs in nats, and grads.

    ids, targets (2B, T): first the chosen answers, then the rejected in the
    same order; reference (2B,): their log probabilities before training.
    """
    logits, cache = language_model(ids, params, config)
    log_probs, token_cache = token_log_probs(logits, targets)
    chosen, rejected = np.split(log_probs.sum(axis=1) - reference, 2)
    loss, loss_cache = dpo_loss(chosen, rejected, beta)
    dgain = np.concatenate(dpo_loss_backward(1.0, loss_cache))  # (2B,)
    dlog_probs = np.broadcast_to(dgain[:, None], log_probs.shape)
    dlogits = token_log_probs_backward(dlog_probs, token_cache)
    return loss, language_model_backward(dlogits, cache)


def group_advantages(rewards, size):
    """Compare each reward with its group's: (B,) -> (B,).

    Groups of size stand one after the other. Less the mean, over the
    standard deviation; where all are equal nothing is to be learnt: 0.
    Source: Shao et al. 2024, section 4.1.
    """
    groups = np.asarray(rewards, dtype=np.float64).reshape(-1, size)
    centred = groups - groups.mean(axis=1, keepdims=True)
    spread = groups.std(axis=1, keepdims=True)
    return (centred / np.where(spread > 0, spread, 1.0)).reshape(-1)


def clipped_gain(log_probs, old, advantages, clip=0.2):
    """Return min(ratio * advantage, clipped ratio * advantage).

    ratio = exp(log_probs - old); all of one shape, or broadcast to it.
    Source: Schulman et al. 2017, equation 7.
    """
    ratio = np.exp(log_probs - old)
    inside = np.clip(ratio, 1 - clip, 1 + clip)
    gain = np.minimum(ratio * advantages, inside * advantages)
    return gain, (ratio, advantages, clip)


def clipped_gain_backward(dout, cache):
    """Return dlog_probs: zero where the ratio is already beyond the clip."""
    ratio, advantages, clip = cache
    too_high = (advantages > 0) & (ratio > 1 + clip)
    too_low = (advantages < 0) & (ratio < 1 - clip)
    return dout * ratio * advantages * ~(too_high | too_low)


def kl_estimate(log_probs, reference):
    """Estimate KL(policy || reference) from what the policy has drawn.

    q / p - log(q / p) - 1 for each token, never negative, any shape.
    Source: Schulman 2020, "Approximating KL divergence".
    """
    gap = reference - log_probs
    return np.exp(gap) - gap - 1, gap


def kl_estimate_backward(dout, cache):
    """Return dlog_probs, dreference."""
    dlog_probs = dout * (1 - np.exp(cache))
    return dlog_probs, -dlog_probs


def exact_kl(logits, reference):
    """Return KL(policy || reference) of the next token in nats.

    logits and the reference's logits (..., V) -> (...).
    """
    p, q = log_softmax(logits), log_softmax(reference)
    kl = (np.exp(p) * (p - q)).sum(axis=-1)
    return kl, (p, q, kl)


def exact_kl_backward(dout, cache):
    """Return dlogits, dreference: the second is what distillation uses."""
    p, q, kl = cache
    dout = dout[..., None]
    dlogits = dout * np.exp(p) * (p - q - kl[..., None])
    return dlogits, dout * (np.exp(q) - np.exp(p))


def entropy(logits):
    """Return the entropy of the next token in nats: (..., V) -> (...)."""
    log_probs = log_softmax(logits)
    return -(np.exp(log_probs) * log_probs).sum(axis=-1)


def policy_loss(
    log_probs, old, reference, advantages, scored, clip=0.2, beta=0.0
):
    """Average -(clipped gain - beta * KL estimate) over scored tokens.

    log_probs, old, reference (B, T), advantages (B,), scored (B, T) boolean
    -> loss, a float. Source: Shao et al. 2024, equation 3.
    """
    gain, gain_cache = clipped_gain(log_probs, old, advantages[:, None], clip)
    kl, kl_cache = kl_estimate(log_probs, reference)
    loss = float((beta * kl - gain)[scored].mean())
    return loss, (gain_cache, kl_cache, scored, beta)


def policy_loss_backward(dout, cache):
    """Return dlog_probs (B, T), zero where nothing is scored."""
    gain_cache, kl_cache, scored, beta = cache
    each = scored * (float(dout) / int(scored.sum()))
    each = each.astype(kl_cache.dtype)
    dgain = clipped_gain_backward(-each, gain_cache)
    dkl, _ = kl_estimate_backward(beta * each, kl_cache)
    return dgain + dkl


def policy_gradient(clip=0.2, beta=0.0):
    """Return a loss_and_grads for train_step, on what roll_outs draws."""

    def gradient(
        ids, targets, old, reference, advantages, params, config, rng=None
    ):
        logits, cache = language_model(ids, params, config)
        log_probs, token_cache = token_log_probs(logits, targets)
        fixed = old, reference, advantages, targets != IGNORE
        loss, loss_cache = policy_loss(log_probs, *fixed, clip, beta)
        dlog_probs = policy_loss_backward(1.0, loss_cache)
        dlogits = token_log_probs_backward(dlog_probs, token_cache)
        dlogits = dlogits.astype(logits.dtype)
        return loss, language_model_backward(dlogits, cache)

    return gradient


def write_answers(requests, params, config, tokenizer, rng):
    """Let a model answer side by side at temperature 1.

    Returns the stories, ids (B, T) and targets (B, T).
    """
    end = tokenizer.end_of_text
    prompts = [prompt_ids(request, tokenizer) for request in requests]
    room = config.max_seq_len - max(map(len, prompts))
    settings = {"n_tokens": room, "rng": rng, "stop_id": end}
    answers = generate_batch(prompts, params, config, **settings)
    stories = [tokenizer.decode(ids) for ids in answers]
    ended = [[*ids, end] if len(ids) < room else ids for ids in answers]
    return stories, *answer_batch(prompts, ended)


def per_story(values, scored):
    """Return the mean over rows of the sum of what is scored, a float."""
    return float((values * scored).sum(axis=1).mean())


def compare_policies(ids, targets, params, reference, config):
    """Return each target's log probability under params and reference.

    ids, targets (B, T) -> (B, T) twice, and a row of numbers per story:
    exact KL and entropy in nats, summed along what was drawn, and tokens.
    """
    logits, _ = language_model(ids, params, config)
    distant, _ = language_model(ids, reference, config)
    scored = targets != IGNORE
    row = {
        "kl": per_story(exact_kl(logits, distant)[0], scored),
        "entropy": per_story(entropy(logits), scored),
        "tokens": per_story(scored, scored),
    }
    old, _ = token_log_probs(logits, targets)
    far, _ = token_log_probs(distant, targets)
    return old, far, row


def roll_outs(run, reference, tokenizer, reward, groups=8, size=8, times=2):
    """Return draw(rng): answers of the run's policy, and what they earned.

    reference: the parameters not to drift from; reward(request, story) is a
    float. Each batch comes times times before new answers are drawn, and
    leaves a row in run.log.
    """
    left = []

    def draw(rng):
        if left:
            return left.pop()
        requests = np.repeat(draw_requests(groups, rng), size).tolist()
        world = run.params, run.config, tokenizer, rng
        stories, ids, targets = write_answers(requests, *world)
        rewards = [reward(*pair) for pair in zip(requests, stories)]
        both = run.params, reference, run.config
        old, far, row = compare_policies(ids, targets, *both)
        row |= {"step": run.step, "reward": float(np.mean(rewards))}
        run.log.append(row | shares_obeyed(requests, stories))
        advantages = group_advantages(rewards, size).astype(old.dtype)
        left.extend([(ids, targets, old, far, advantages)] * times)
        return left.pop()

    return draw
