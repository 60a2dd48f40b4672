"""The usual mistakes in the functions of appendix A5."""

import numpy as np

from helpers import assistant as right
from helpers.assistant import IGNORE
from helpers.attention import softmax
from helpers.checks.cases.assistant import _told as tell
from helpers.language_model import log_softmax
from helpers.stories.grammar import GRAMMAR


def grammar_for(request):
    symbol = right.NAMES[request["name"]]
    plot = right.THINGS[request["thing"]]
    parts = {
        "child": "who the hero is",
        symbol: "the name",
        "plot": "the plot",
        right.PLOTS[plot]: "the thing",
        "ending": "the ending",
    }
    narrow = right.grammar_for(request)
    for key, what in parts.items():
        yield (
            f'leaves {what} open: narrow "{key}"',
            tell(lambda _, key=key: narrow | {key: GRAMMAR[key]}, request),
        )
    yield "is the grammar as it was", tell(lambda _: GRAMMAR, request)


# rows of prompts and answers


def _batch(prompts, answers, first=-1, late=0, last=0, empty=IGNORE, pad=0):
    """Return ids, targets with something of it elsewhere.

    first: of the places that are scored, from the prompt's end; late: by how
    many places a target stands behind its own; last: how many are left out.
    """
    rows = [[*p, *a] for p, a in zip(prompts, answers)]
    T = max(map(len, rows)) - 1
    ids = np.full((len(rows), T), pad)
    targets = np.full((len(rows), T), empty)
    for i, (row, prompt) in enumerate(zip(rows, prompts)):
        ids[i, : len(row) - 1] = row[:-1]
        begin = 0 if first is None else max(len(prompt) + first, 0)
        scored = (row[1:] if not late else row)[begin : len(row) - 1 - last]
        targets[i, begin : begin + len(scored)] = scored
        if empty != IGNORE:
            targets[i, :begin] = IGNORE
    return ids, targets


def _from_the_right(array, empty):
    """Return rows with what is empty at the left."""
    rows = [[*row[row == empty], *row[row != empty]] for row in array]
    return np.array(rows)


def answer_batch(prompts, answers):
    given = prompts, answers
    ids, targets = right.answer_batch(*given)
    yield (
        "has targets that are the ids: the target at a place is the token "
        "after it",
        _batch(*given, first=0, late=1),
    )
    yield (
        "has the ids as targets, from the prompt's last token on: the target "
        "at a place is the token after it",
        _batch(*given, first=-1, late=1),
    )
    yield "scores the prompt too", _batch(*given, first=None)
    yield "scores the prompt's last token", _batch(*given, first=-2)
    yield (
        "does not score the answer's first token: it is the target where the "
        "prompt's last token stands",
        _batch(*given, first=0),
    )
    yield (
        "does not score the answer's last token, its end",
        _batch(*given, last=1),
    )
    yield "has 0 as the target in the padding", _batch(*given, empty=0)
    yield (
        "has 0 for what is not to be scored: IGNORE is wanted",
        (ids, np.where(targets == IGNORE, 0, targets)),
    )
    yield "has IGNORE for ids in the padding", _batch(*given, pad=IGNORE)
    yield "has targets and ids in each other's place", (targets, ids)
    yield (
        "scores each row from the end of the first prompt",
        _batch([[*prompts[0]] for _ in prompts], answers)
        if len({*map(len, prompts)}) == 1
        else (ids, _from_one_prompt(*given)),
    )


def _from_one_prompt(prompts, answers):
    """Return targets that begin where the first prompt's answer does."""
    _, every = _batch(prompts, answers, first=None)
    every[:, : len(prompts[0]) - 1] = IGNORE
    return every


# thin matrices


def lora(weight, A, B, scale=1.0):
    product = A @ B
    yield "lacks weight, which the product is added to", scale * product
    yield "lacks the product", weight
    yield "has the product subtracted", weight - scale * product
    yield "lacks the factor scale", weight + product
    yield "has weight times scale too", scale * (weight + product)
    yield "has scale on weight, not on the product", scale * weight + product
    yield "divides by scale: multiply", weight + product / scale
    yield "has scale twice", weight + scale**2 * product
    yield "divides by the rank", weight + scale / A.shape[1] * product
    yield "has weight times the product", weight * scale * product


def lora_backward(dout, weight, A, B, scale=1.0):
    _, dA, dB = right.lora_backward(dout, (A, B, scale))
    whole = {"dweight": dout, "dA": dA, "dB": dB}
    bare = {"dA": dA / scale, "dB": dB / scale}
    yield "lacks the factor scale in dA and dB", whole | bare
    yield "lacks the factor scale", {"dA": bare["dA"], "dB": dB}
    yield "lacks the factor scale", {"dB": bare["dB"], "dA": dA}
    yield "has scale twice", {"dA": scale * dA, "dB": dB}
    yield "has scale twice", {"dB": scale * dB, "dA": dA}
    yield "has scale twice, in dA and dB", {"dA": scale * dA, "dB": scale * dB}
    yield (
        "has the factor scale: weight has none, so dweight is dout",
        {"dweight": scale * dout},
    )
    yield (
        "is zero: dout goes on to weight, frozen or not",
        {"dweight": 0 * dout},
    )
    yield "is the gradient of the product: dout alone", {"dweight": dA @ B}


# log probabilities


def token_log_probs(logits, targets):
    scored = targets != IGNORE
    log_probs = log_softmax(logits)

    def pick(values, targets=targets, mask=scored):
        rows = np.where(targets == IGNORE, 0, targets)[..., None]
        return np.take_along_axis(values, rows, axis=-1)[..., 0] * mask

    out = pick(log_probs)
    yield (
        "is not 0 where the target is IGNORE",
        pick(log_probs, mask=True),
    )
    yield (
        "keeps what is to be ignored, and no more",
        pick(log_probs, mask=~scored),
    )
    yield (
        "is 0 where the target is 0: IGNORE is what is not scored",
        pick(log_probs, mask=targets != 0),
    )
    yield "is the probability: take its log", pick(np.exp(log_probs))
    yield "is minus what it should be: a loss, not a log probability", -out
    yield "is in bits: nats are wanted", out / np.log(2)
    yield "is the logit: log_softmax is left out", pick(logits)
    yield (
        "has a softmax along the positions: axis -1 is the vocabulary",
        pick(_log_softmax_of(logits, 1)),
    )
    yield (
        "has log_softmax twice, once of probabilities",
        pick(log_softmax(np.exp(log_probs))),
    )
    yield "is summed along the row: one number for each target", out.sum(1)
    yield (
        "is the mean along the row: one number for each target",
        out.mean(axis=1),
    )
    yield (
        "is divided by the number of targets that count",
        out / scored.sum(),
    )
    yield (
        "takes the next target: the targets are shifted already",
        pick(log_probs, np.roll(targets, -1, axis=1)),
    )
    yield (
        "takes the target before: the targets are shifted already",
        pick(log_probs, np.roll(targets, 1, axis=1)),
    )
    yield (
        "takes the most likely token, not the target",
        (log_probs.max(axis=-1) * scored),
    )


def _log_softmax_of(logits, axis):
    """Return log_softmax along another axis."""
    return np.moveaxis(log_softmax(np.moveaxis(logits, axis, -1)), -1, axis)


def token_log_probs_backward(dout, logits, targets):
    scored = (targets != IGNORE)[..., None]
    p = softmax(logits)[0]
    y = np.eye(logits.shape[-1])[np.where(scored[..., 0], targets, 0)]
    d = dout[..., None]
    yield (
        "has the wrong sign: it is one-hot minus softmax",
        (d * (p - y) * scored),
    )
    yield "lacks the one-hot", -d * p * scored
    yield "lacks the softmax", d * y * scored
    yield "has the softmax added: subtract it", d * (y + p) * scored
    yield "lacks the factor dout", (y - p) * scored
    yield "is not zero where the target is IGNORE", d * (y - p)
    yield (
        "has log probabilities where probabilities are wanted",
        d * (y - log_softmax(logits)) * scored,
    )
    yield (
        "is divided by the number of targets that count: that is the mean's",
        d * (y - p) * scored / scored.sum(),
    )
    yield "has the slope of one output alone", d * y * (1 - p) * scored
    yield (
        "has dout as it would be of a sum along the row",
        (d.sum(axis=1, keepdims=True) * (y - p) * scored),
    )


# preferences


def dpo_loss(chosen, rejected, beta=0.1):
    gap = chosen - rejected

    def loss(margin):
        return np.logaddexp(0.0, -margin)

    yield (
        "has chosen and rejected in each other's place, or the sign of the "
        "margin wrong",
        loss(-beta * gap).mean(),
    )
    yield "is log sigma: a loss is minus that", -loss(beta * gap).mean()
    yield "lacks the factor beta", loss(gap).mean()
    yield (
        "has beta outside the logarithm: it belongs to the margin",
        beta * loss(gap).mean(),
    )
    yield "divides the margin by beta: multiply", loss(gap / beta).mean()
    yield "has beta twice", loss(beta**2 * gap).mean()
    yield "is a sum over the pairs: the mean is wanted", loss(beta * gap).sum()
    yield "is one number a pair: take the mean", loss(beta * gap)
    yield (
        "is the loss of the mean margin: the mean comes last",
        loss((beta * gap).mean()),
    )
    yield "lacks rejected", loss(beta * chosen).mean()
    yield (
        "adds rejected: it is the difference",
        (loss(beta * (chosen + rejected)).mean()),
    )
    yield "is in bits: nats are wanted", loss(beta * gap).mean() / np.log(2)
    chance = np.exp(-loss(beta * gap))
    yield "is the chance itself: take minus its log", chance.mean()
    yield "is minus the chance: take its log", -chance.mean()
    yield (
        "is the chance that rejected wins: -log is left out",
        ((1 - chance).mean()),
    )
    yield (
        "takes the log of the mean chance: the mean comes last",
        (-np.log(chance.mean())),
    )
    yield "is the mean margin: -log sigma is left out", (beta * gap).mean()
    yield (
        "is minus the mean margin: -log sigma is left out",
        (-(beta * gap).mean()),
    )
    yield (
        "is a hinge: log(1 + e^-h) is wanted, not max(0, 1 - h)",
        (np.maximum(0, 1 - beta * gap).mean()),
    )
    yield (
        "is a hinge: log(1 + e^-h) is wanted, not max(0, -h)",
        (np.maximum(0, -beta * gap).mean()),
    )


def dpo_loss_backward(dout, chosen, rejected, beta=0.1):
    h = beta * (chosen - rejected)
    wrong = np.exp(-np.logaddexp(0.0, h))
    d = -beta * wrong * dout / h.size

    def both(dchosen):
        return {"dchosen": dchosen, "drejected": -dchosen}

    yield "has dchosen and drejected in each other's place", both(-d)
    yield "lacks the factor beta", both(d / beta)
    yield "has beta twice", both(beta * d)
    yield "lacks the division by the number of pairs", both(d * h.size)
    yield (
        "weighs with sigma(h), the chance that chosen wins: sigma(-h) is "
        "wanted",
        both(-beta * (1 - wrong) * dout / h.size),
    )
    yield "lacks sigma(-h)", both(-beta * dout / h.size + 0 * h)
    yield "has the slope of sigma, not of -log sigma", (both(d * (1 - wrong)))
    yield "lacks the factor dout", both(d / dout)
    yield (
        "has the sign of dchosen: rejected enters with a minus",
        {"drejected": d, "dchosen": d},
    )
    yield (
        "has the sign of drejected: a likelier chosen makes the loss smaller",
        {"dchosen": -d, "drejected": -d},
    )


# rewards


def group_advantages(rewards, size):
    flat = np.asarray(rewards, float)
    groups = flat.reshape(-1, size)
    mean = groups.mean(axis=1, keepdims=True)
    centred = groups - mean

    def over(spread, top=centred):
        return (top / np.where(spread > 0, spread, 1.0)).reshape(-1)

    def std(values, **more):
        return values.std(axis=1, keepdims=True, **more)

    yield "lacks the division by the spread", centred.reshape(-1)
    yield (
        "lacks the mean, which is to be subtracted",
        (over(std(groups), groups)),
    )
    yield "has rewards subtracted from the mean", -over(std(groups))
    yield "has the mean added: subtract it", over(std(groups), groups + mean)
    yield (
        "multiplies by the spread: divide",
        ((centred * std(groups)).reshape(-1)),
    )
    yield (
        "divides by the variance: its root is wanted",
        (over(groups.var(axis=1, keepdims=True))),
    )
    yield (
        "has the standard deviation with a correction (ddof=1): std alone",
        over(std(groups, ddof=1)) if size > 1 else None,
    )
    whole = flat - flat.mean()
    yield (
        "compares with all rewards: each group is for itself",
        (whole / flat.std()),
    )
    yield (
        "has the mean of all rewards: that of the group is wanted",
        (over(std(groups), groups - flat.mean())),
    )
    yield (
        "has the spread of all rewards: that of the group is wanted",
        ((centred / flat.std()).reshape(-1)),
    )
    for little in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        yield (
            f"adds {little:.0e} to the spread: divide by 1 where it is 0",
            (centred / (std(groups) + little)).reshape(-1),
        )
    yield (
        "has the deviation from the median, not from the mean",
        (over(std(groups), groups - np.median(groups, axis=1, keepdims=True))),
    )
    yield from _other_groups(flat, size)
    yield (
        "divides by the root of the sum of squares: std has the mean",
        (over(np.sqrt((centred**2).sum(axis=1, keepdims=True)))),
    )
    yield (
        "divides by the range: the standard deviation is wanted",
        (over(np.ptp(groups, axis=1, keepdims=True))),
    )
    yield (
        "is right in each group, but not flat",
        (over(std(groups)).reshape(groups.shape)),
    )


def _other_groups(flat, size):
    """Yield what comes of rewards that are grouped otherwise."""

    def compare(groups):
        centred = groups - groups.mean(axis=1, keepdims=True)
        spread = groups.std(axis=1, keepdims=True)
        return centred / np.where(spread > 0, spread, 1.0)

    across = flat.reshape(size, -1)
    yield (
        "has size groups: each has size rewards, reshape(-1, size)",
        compare(across).reshape(-1),
    )
    each = compare(across.T)
    for found in (each, each.T):
        yield (
            "takes every n-th reward for a group: those of a group stand one "
            "after the other",
            found.reshape(-1),
        )


def clipped_gain(log_probs, old, advantages, clip=0.2):
    low, high = 1 - clip, 1 + clip
    ratio = np.exp(log_probs - old)
    inside = np.clip(ratio, low, high)
    other = np.exp(old - log_probs)
    gain = np.minimum(ratio * advantages, inside * advantages)
    yield (
        "has the ratio upside down: it is new over old",
        np.minimum(other * advantages, np.clip(other, low, high) * advantages),
    )
    gap = log_probs - old
    yield (
        "lacks exp: the ratio is exp(log_probs - old)",
        np.minimum(gap * advantages, np.clip(gap, low, high) * advantages),
    )
    division = log_probs / old
    yield (
        "divides log probabilities: the ratio is exp of their difference",
        np.minimum(
            division * advantages, np.clip(division, low, high) * advantages
        ),
    )
    yield (
        "is the larger of the two: the smaller is wanted",
        np.maximum(ratio * advantages, inside * advantages),
    )
    yield "has nothing clipped", ratio * advantages
    yield (
        "is clipped on both sides, whatever the advantage: take the smaller "
        "of clipped and not",
        inside * advantages,
    )
    yield (
        "has the smaller ratio times the advantage: multiply first, then "
        "take the smaller",
        np.minimum(ratio, inside) * advantages,
    )
    yield (
        "has the product clipped: clip the ratio, then multiply",
        np.minimum(ratio * advantages, np.clip(ratio * advantages, low, high)),
    )
    yield (
        "is clipped to -clip and clip: 1 - clip and 1 + clip",
        np.minimum(
            ratio * advantages, np.clip(ratio, -clip, clip) * advantages
        ),
    )
    yield (
        "has the logarithm clipped: clip the ratio",
        np.minimum(
            ratio * advantages, np.exp(np.clip(gap, -clip, clip)) * advantages
        ),
    )
    yield "lacks the advantages", np.minimum(ratio, inside)
    for where, bounded in {
        "above": np.minimum(ratio, high),
        "below": np.maximum(ratio, low),
    }.items():
        yield (
            f"is clipped {where} alone: a clip has two ends",
            np.minimum(ratio * advantages, bounded * advantages),
        )
    yield (
        "has the advantages in the clipped part alone",
        np.minimum(ratio, inside * advantages),
    )
    yield "has the wrong sign: it is a gain, not a loss", -gain


def clipped_gain_backward(dout, log_probs, old, advantages, clip=0.2):
    ratio = np.exp(log_probs - old)
    high, low = ratio > 1 + clip, ratio < 1 - clip
    good, bad = advantages > 0, advantages < 0
    stopped = (good & high) | (bad & low)
    slope = dout * ratio * advantages
    yield (
        "lacks the factor ratio: the slope of exp is exp",
        (dout * advantages * ~stopped),
    )
    yield "lacks the advantages", dout * ratio * ~stopped
    yield "lacks the factor dout", ratio * advantages * ~stopped
    yield "is zero nowhere: beyond the clip nothing is gained", slope
    yield (
        "is zero beyond the clip on either side, whatever the advantage",
        slope * ~(high | low),
    )
    yield (
        "is zero where the clip is not passed, and only there",
        slope * stopped,
    )
    yield (
        "has the two cases exchanged: too high counts with a positive "
        "advantage",
        slope * ~((good & low) | (bad & high)),
    )
    yield "is zero for what is too high alone", slope * ~(good & high)
    yield "is zero for what is too low alone", slope * ~(bad & low)
    yield (
        "is zero for what is too high, whatever the advantage",
        slope * ~high,
    )
    yield "is zero for what is too low, whatever the advantage", slope * ~low
    yield (
        "is zero where the advantage is negative alone",
        slope * ~(bad & (high | low)),
    )
    yield (
        "is zero where the advantage is positive alone",
        slope * ~(good & (high | low)),
    )
    yield "has the wrong sign: it is the slope of a gain", -slope * ~stopped
    yield (
        "has the slope of the clipped ratio: beyond the clip that is 0",
        dout * np.clip(ratio, 1 - clip, 1 + clip) * advantages,
    )


# drift


def kl_estimate(log_probs, reference):
    gap = reference - log_probs
    ratio = np.exp(gap)
    yield (
        "has the ratio upside down: it is reference over policy",
        np.exp(-gap) + gap - 1,
    )
    yield "lacks - 1", ratio - gap
    yield "lacks - log(q / p)", ratio - 1
    yield "lacks q / p", -gap - 1
    yield "has log(q / p) added: subtract it", ratio + gap - 1
    yield "has 1 added: subtract it", ratio - gap + 1
    yield "is log p - log q, which can be negative", -gap
    yield "is log q - log p, which can be negative", gap
    yield "is half the square of log p - log q", gap**2 / 2
    yield "is the square of log p - log q", gap**2
    yield "is |log p - log q|", abs(gap)
    yield "has log(q / p) where q / p is wanted", gap - gap - 1
    yield "has the wrong sign: it is never negative", 1 + gap - ratio
    yield "is the mean: one number for each token", (ratio - gap - 1).mean()


def kl_estimate_backward(dout, log_probs, reference):
    ratio = np.exp(reference - log_probs)
    d = dout * (1 - ratio)

    def both(first):
        return {"dlog_probs": first, "dreference": -first}

    yield (
        "has dlog_probs and dreference in each other's place, or the sign "
        "wrong",
        both(-d),
    )
    yield "lacks q / p", both(dout + 0 * ratio)
    yield "lacks the 1", both(-dout * ratio)
    yield "has q / p where 1 - q / p is wanted", both(dout * ratio)
    yield "lacks the factor dout", both(1 - ratio)
    yield "has the ratio upside down", both(dout * (1 - 1 / ratio))
    yield (
        "has the sign of dlog_probs: the two differ in sign",
        {"dreference": d, "dlog_probs": d},
    )
    yield (
        "is zero: the estimate depends on the reference too",
        {"dreference": 0 * d, "dlog_probs": d},
    )


def exact_kl(logits, reference):
    p, q = log_softmax(logits), log_softmax(reference)
    each = np.exp(p) * (p - q)
    yield (
        "is KL(reference || policy): the mean is taken under the policy",
        (np.exp(q) * (q - p)).sum(axis=-1),
    )
    yield (
        "has the mean under the reference: weigh with the policy",
        (np.exp(q) * (p - q)).sum(axis=-1),
    )
    yield "has the wrong sign: a KL is never negative", -each.sum(axis=-1)
    yield (
        "is the cross entropy: the policy's own log is left out",
        -(np.exp(p) * q).sum(axis=-1),
    )
    yield (
        "is minus the policy's entropy: the reference is left out",
        (np.exp(p) * p).sum(axis=-1),
    )
    yield "has no weights: it is a mean under the policy", (p - q).sum(axis=-1)
    yield "is a mean over the vocabulary: a sum is wanted", each.mean(axis=-1)
    yield "is not summed over the vocabulary", each
    yield "is in bits: nats are wanted", each.sum(axis=-1) / np.log(2)
    yield (
        "has logits where log probabilities are wanted",
        (np.exp(p) * (logits - reference)).sum(axis=-1),
    )
    yield (
        "has exp(logits) where probabilities are wanted",
        (np.exp(logits) * (p - q)).sum(axis=-1),
    )
    yield (
        "has probabilities where logarithms are wanted",
        (np.exp(p) * (np.exp(p) - np.exp(q))).sum(axis=-1),
    )
    yield (
        "is the sum of both directions",
        ((np.exp(p) - np.exp(q)) * (p - q)).sum(axis=-1),
    )
    yield "is one number for all rows: sum over the last axis", each.sum()


def exact_kl_backward(dout, logits, reference):
    p, q = log_softmax(logits), log_softmax(reference)
    kl = (np.exp(p) * (p - q)).sum(axis=-1, keepdims=True)
    d = dout[..., None]
    dlogits = d * np.exp(p) * (p - q - kl)
    dreference = d * (np.exp(q) - np.exp(p))
    yield (
        "lacks - K: softmax's backward is left out",
        {"dlogits": d * np.exp(p) * (p - q)},
    )
    yield (
        "has K added: subtract it",
        {"dlogits": d * np.exp(p) * (p - q + kl)},
    )
    yield "lacks the factor p", {"dlogits": d * (p - q - kl)}
    yield (
        "has q for the factor p",
        {"dlogits": d * np.exp(q) * (p - q - kl)},
    )
    yield (
        "has the 1 of the product rule: the sum of p (1 + ...) takes it out",
        {"dlogits": d * np.exp(p) * (p - q + 1)},
    )
    yield (
        "lacks the factor dout",
        {
            "dlogits": np.exp(p) * (p - q - kl),
            "dreference": np.exp(q) - np.exp(p),
        },
    )
    yield (
        "is the gradient of KL(reference || policy): softmax of the policy "
        "minus softmax of the reference",
        {"dlogits": d * (np.exp(p) - np.exp(q))},
    )
    yield "has the wrong sign", {"dlogits": -dlogits, "dreference": dreference}
    yield (
        "has the wrong sign: it is softmax of the reference minus softmax of "
        "the policy",
        {"dreference": -dreference, "dlogits": dlogits},
    )
    yield (
        "has log probabilities where probabilities are wanted",
        {"dreference": d * (q - p)},
    )
    yield "lacks - p", {"dreference": d * np.exp(q)}
    yield "lacks softmax of the reference", {"dreference": -d * np.exp(p)}
    yield (
        "is minus dlogits: the two are not alike",
        {"dreference": -dlogits, "dlogits": dlogits},
    )
    yield (
        "is zero: the KL depends on the reference too",
        {"dreference": 0 * dreference, "dlogits": dlogits},
    )


# the loss of a policy


def policy_loss(
    log_probs, old, reference, advantages, scored, clip=0.2, beta=0.0
):
    A = advantages[:, None]
    gain, _ = right.clipped_gain(log_probs, old, A, clip)
    kl, _ = right.kl_estimate(log_probs, reference)
    each = beta * kl - gain
    yield (
        "is the mean over all tokens, with zeros: over what is scored alone",
        (each * scored).mean(),
    )
    yield "takes in what is not scored", each.mean()
    yield "is the mean over what is not scored", each[~scored].mean()
    yield (
        "is a sum over what is scored: the mean is wanted",
        each[scored].sum(),
    )
    rows = (each * scored).sum(axis=1)
    yield (
        "is a mean of the rows' means: all scored tokens weigh the same",
        (rows / np.maximum(scored.sum(axis=1), 1)).mean(),
    )
    yield (
        "is a mean of the rows' sums: the mean over scored tokens is wanted",
        rows.mean(),
    )
    yield "has the wrong sign everywhere: a loss", -each[scored].mean()
    if beta:
        yield (
            "lacks the minus before the gain",
            (beta * kl + gain)[scored].mean(),
        )
    yield (
        "has the ratio to the reference: that to old is wanted",
        _loss(log_probs, reference, kl, A, scored, clip, beta),
    )
    yield (
        "has the ratio upside down: it is new over old",
        _loss(old, log_probs, kl, A, scored, clip, beta),
    )
    unclipped = np.exp(log_probs - old) * A
    yield "has nothing clipped", (beta * kl - unclipped)[scored].mean()
    yield "lacks the factor beta on the KL", (kl - gain)[scored].mean()
    yield (
        "has beta on the gain: it belongs to the KL",
        (kl - beta * gain)[scored].mean(),
    )
    if beta:
        yield "lacks the KL", -gain[scored].mean()
        yield (
            "has the KL as a reward: it is a penalty",
            (-beta * kl - gain)[scored].mean(),
        )
        yield (
            "has log p - log q for the KL estimate",
            (beta * (log_probs - reference) - gain)[scored].mean(),
        )
        for what, pair in {
            "has the KL to old: that to the reference is wanted": (
                log_probs,
                old,
            ),
            "has the KL in the other direction": (reference, log_probs),
        }.items():
            other, _ = right.kl_estimate(*(array for array in pair))
            yield what, (beta * other - gain)[scored].mean()
    if clip != 0.2:
        yield (
            "clips at 0.2 whatever clip is: hand clip on",
            _loss(log_probs, old, kl, A, scored, 0.2, beta),
        )


def _loss(log_probs, old, kl, A, scored, clip, beta):
    """Return the loss with another ratio."""
    gain, _ = right.clipped_gain(log_probs, old, A, clip)
    return (beta * kl - gain)[scored].mean()


def policy_loss_backward(
    dout, log_probs, old, reference, advantages, scored, clip=0.2, beta=0.0
):
    given = old, reference, advantages, scored, clip, beta
    _, cache = right.policy_loss(log_probs, *given)
    gain_cache, kl_cache, *_ = cache

    def grads(each, beta=beta, sign=-1):
        gain = right.clipped_gain_backward(sign * each, gain_cache)
        kl, _ = right.kl_estimate_backward(beta * each, kl_cache)
        return gain + kl

    n = scored.sum()
    each = scored * (dout / n)
    yield "has the wrong sign everywhere", -grads(each)
    yield (
        "is divided by the number of all tokens: by that of the scored ones",
        grads(scored * (dout / scored.size)),
    )
    yield (
        "is not zero where nothing is scored",
        grads(np.full(scored.shape, dout / n)),
    )
    yield (
        "is that of a mean over all tokens",
        grads(np.full(scored.shape, dout / scored.size)),
    )
    yield (
        "lacks the division by the number of scored tokens",
        grads(scored * dout),
    )
    yield "lacks the factor dout", grads(scored / n)
    yield (
        "is divided by the scored tokens of each row: by all of them",
        grads(
            scored * dout / np.maximum(scored.sum(axis=1, keepdims=True), 1)
        ),
    )
    yield "lacks the minus before the gain", grads(each, sign=1)
    if beta:
        yield "lacks the KL", grads(each, beta=0.0)
        yield (
            "has the KL subtracted: it is a penalty, and of its two gradients "
            "the first is wanted",
            grads(each, -beta),
        )
        yield "lacks the gain", grads(each) - grads(each, beta=0.0)
    yield "lacks the factor beta on the KL", grads(each, beta=1.0)


# exercises


def price(p, r):
    good, bad = np.log(r / p), np.log((1 - r) / (1 - p))
    yield (
        "is the mean under the reference: weigh with r",
        (p * good + (1 - p) * bad),
    )
    yield "is the other direction: weigh with r", -(p * good + (1 - p) * bad)
    yield (
        "has the wrong sign: a KL is never negative",
        (-(r * good + (1 - r) * bad)),
    )
    yield "lacks the wrong answers", r * good
    yield "lacks the right answers", (1 - r) * bad
    yield "lacks the weights r and 1 - r", good + bad
    yield "has 1 - r and r in each other's place", (1 - r) * good + r * bad
    yield "is log(r / p): that is the price of the right answers", good
    yield "is -log p: the price for r = 1", -np.log(p)
    yield (
        "is in bits: nats are wanted",
        ((r * good + (1 - r) * bad) / np.log(2)),
    )
    yield (
        "subtracts the part of the wrong answers: add it",
        (r * good - (1 - r) * bad),
    )
    yield (
        "divides 1 - r by p: by 1 - p",
        (r * good + (1 - r) * np.log((1 - r) / p)),
    )
    yield (
        "is minus the entropy: the reference is left out",
        (r * np.log(r) + (1 - r) * np.log(1 - r)),
    )
    yield (
        "is the cross entropy: r log r is left out",
        (-r * np.log(p) - (1 - r) * np.log(1 - p)),
    )


def leave_one_out(rewards, size):
    groups = rewards.reshape(-1, size)
    total = groups.sum(axis=1, keepdims=True)
    others = total - groups
    mean = others / (size - 1)
    yield (
        "is less the mean of all: the own reward goes out of it",
        ((groups - total / size).reshape(-1)),
    )
    yield (
        "divides the sum of the others by size: by size - 1",
        ((groups - others / size).reshape(-1)),
    )
    yield (
        "has the own reward in the sum: take it out, as out of the count",
        (groups - total / (size - 1)).reshape(-1),
    )
    yield (
        "is less the sum of the others: their mean",
        ((groups - others).reshape(-1)),
    )
    yield (
        "is the mean of the others: subtract it from the reward",
        (mean.reshape(-1)),
    )
    yield "has the wrong sign everywhere", (mean - groups).reshape(-1)
    yield (
        "is the rewards as they came: subtract the mean of the others",
        rewards,
    )
    yield "is right in each group, but not flat", groups - mean
    n = rewards.size
    yield (
        "compares with the others of all groups",
        (rewards - (rewards.sum() - rewards) / (n - 1)),
    )
    spread = groups.std(axis=1, keepdims=True)
    yield (
        "divides by the spread: this baseline does not",
        (((groups - mean) / np.where(spread > 0, spread, 1)).reshape(-1)),
    )
    across = rewards.reshape(size, -1)
    rest = (across.sum(axis=0) - across) / (size - 1)
    for found in (across - rest, (across - rest).T):
        yield (
            "takes every n-th reward for a group: those of a group stand one "
            "after the other",
            found.reshape(-1),
        )


def thin(x, A, B, weight):
    yield "lacks (x A) B", x @ weight
    yield "lacks x W", x @ A @ B
    yield "has (x A) B subtracted", x @ weight - x @ A @ B
    yield "has (x A) B twice", x @ weight + 2 * (x @ A @ B)


def thin_backward(dout, x, A, B, weight):
    dlow = dout @ B.T
    dx = dout @ weight.T + dlow @ A.T
    dA, dB = x.T @ dlow, (x @ A).T @ dout

    def whole(**wrong):
        return {"dx": dx, "dA": dA, "dB": dB} | wrong

    yield (
        "lacks the frozen map: it sends a gradient back too",
        {"dx": dlow @ A.T},
    )
    yield "lacks the thin branch", {"dx": dout @ weight.T}
    yield (
        "has the thin branch subtracted",
        {"dx": dout @ weight.T - dlow @ A.T},
    )
    yield "has the wrong sign", whole(dA=-dA)
    yield "has the wrong sign", whole(dB=-dB)
    yield (
        "is divided by the rows: they add up",
        whole(dA=dA / len(x), dB=dB / len(x)),
    )
