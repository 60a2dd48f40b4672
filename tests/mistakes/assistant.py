"""Mistakes in the functions of appendix A5, and right versions of them."""

import inspect

import numpy as np

from helpers.checks import check_backward, torch_ops
from helpers.checks.gradients import check_value

_rng = np.random.default_rng(5)
_logits = _rng.normal(size=(2, 4, 11))
_targets = np.array([[-100, 3, 0, 5], [7, -100, -100, 10]])
_pair = _rng.normal(size=(2, 3, 7))
CALLS = {
    "lora": (
        torch_ops.lora,
        tuple(_rng.normal(size=s) for s in ((7, 5), (7, 2), (2, 5))),
        {"scale": 0.5},
    ),
    "token_log_probs": (torch_ops.token_log_probs, (_logits, _targets), {}),
    "dpo_loss": (torch_ops.dpo_loss, tuple(_rng.normal(size=(2, 9))), {}),
    "kl_estimate": (torch_ops.kl_estimate, tuple(_pair), {}),
    "exact_kl": (torch_ops.exact_kl, tuple(_pair), {}),
}

TARGETS = "targets[i, len(prompt) - 1 : len(row) - 1] = row[len(prompt) :]"
SPREAD = "spread = groups.std(axis=1, keepdims=True)"
OVER = "np.where(spread > 0, spread, 1.0)"
LEAST = "np.minimum(ratio * advantages, inside * advantages)"
STOP = "~(too_high | too_low)"
ALONE = "(beta * kl - gain)[scored].mean()"

WRONG = {
    "grammar_for": [
        ("    check_request(request)\n", "", "It raises KeyError"),
        (
            "    check_request(request)\n",
            "    assert request['thing'] in THINGS\n",
            "It raises AssertionError",
        ),
        ("    return GRAMMAR | {", "    return {", "-"),
        ('        "child": f"hero={symbol}",\n', "", "who the hero is open"),
        ('        symbol: request["name"],\n', "", "leaves the name open"),
        ('        "plot": plot,\n', "", "leaves the plot open"),
        (
            '        PLOTS[plot]: request["thing"],\n',
            "",
            "leaves the thing open",
        ),
        (
            '        "ending": ENDINGS[request["end"]],\n',
            "",
            "leaves the ending open",
        ),
        (
            "for choice in GRAMMAR[name] if says(choice[1], words)",
            "for choice in GRAMMAR[name]",
            "as it was",
        ),
        ("if says(", "if not says(", "-"),
        ("choice[1], words)", "choice[0], words)", "-"),
        ("    return GRAMMAR", "    GRAMMAR", "-"),
    ],
    "answer_batch": [
        (
            TARGETS,
            "targets[i, len(prompt) : len(row) - 1] = row[len(prompt) : -1]",
            "the token after it",
        ),
        (
            TARGETS,
            TARGETS.replace("row[len(prompt) :]", "row[len(prompt) - 1 : -1]"),
            "the token after it",
        ),
        (
            TARGETS,
            "targets[i, : len(row) - 1] = row[1:]",
            "scores the prompt too",
        ),
        (
            TARGETS,
            TARGETS.replace("prompt) - 1", "prompt) - 2").replace(
                "prompt) :]", "prompt) - 1 :]"
            ),
            "prompt's last token",
        ),
        (
            TARGETS,
            "targets[i, len(prompt) : len(row) - 1] = row[len(prompt) + 1 :]",
            "answer's first token",
        ),
        (
            TARGETS,
            TARGETS.replace("row) - 1", "row) - 2").replace(
                "prompt) :]", "prompt) : -1]"
            ),
            "answer's last token",
        ),
        (
            "np.full((len(rows), T), IGNORE)",
            "np.zeros((len(rows), T), int)",
            "IGNORE is wanted",
        ),
        (
            "np.zeros((len(rows), T), dtype=np.int64)",
            "np.full((len(rows), T), IGNORE)",
            "IGNORE for ids",
        ),
        ("return ids, targets", "return targets, ids", "each other's place"),
        (" - 1\n    ids = ", "\n    ids = ", "-"),
        ("max(map(len, rows))", "min(map(len, rows))", "-"),
        (
            TARGETS,
            TARGETS.replace("len(prompt)", "len(prompts[0])"),
            "first prompt",
        ),
        ("[[*p, *a] for", "[[*a, *p] for", "-"),
        (
            "ids[i, : len(row) - 1] = row[:-1]",
            "ids[i, T - len(row) + 1 :] = row[:-1]",
            "-",
        ),
        ("return ids, targets", "ids, targets", "return"),
        ("dtype=np.int64", "dtype=np.float64", "-"),
    ],
    "lora": [
        ("weight + scale * (A @ B),", "scale * (A @ B),", "lacks weight"),
        ("return weight + scale", "return weight - scale", "subtracted"),
        ("scale * (A @ B)", "(A @ B)", "lacks the factor scale"),
        ("weight + scale * (A @ B)", "scale * (weight + A @ B)", "scale too"),
        ("weight + scale * (A @ B)", "scale * weight + A @ B", "scale on w"),
        ("scale * (A @ B)", "(A @ B) / scale", "divides by scale"),
        ("scale * (A @ B)", "scale / len(B) * (A @ B)", "by the rank"),
        ("(A @ B)", "(B @ A)", "In a @ b the last axis"),
        ("(A @ B)", "(A.T @ B.T)", "In a @ b the last axis"),
        ("weight + scale * (A @ B), ", "weight, ", "lacks the product"),
        (
            "return weight + scale * (A @ B)",
            "weight += scale * (A @ B)\n    return weight",
            "changed weight in place",
        ),
        (
            "return weight + scale * (A @ B), (A, B, scale)",
            "return weight + scale * (A @ B)",
            "has no cache",
        ),
    ],
    "lora_backward": [
        ("dA = scale * ", "dA = ", "lacks the factor scale"),
        ("dB = scale * ", "dB = ", "lacks the factor scale"),
        ("return dout, dA", "return scale * dout, dA", "so dweight is dout"),
        ("return dout, dA, dB", "return dA, dB", "returned 2 gradients"),
        ("return dout, dA, dB", "return None, dA, dB", "None for weight"),
        ("return dout, dA, dB", "return 0 * dout, dA, dB", "frozen or not"),
        ("return dout, dA, dB", "return dout, dB, dA", "another order"),
        ("dA = scale", "dA = -scale", "wrong sign"),
        ("dout @ B.T", "dout @ B", "In a @ b the last axis"),
        ("A.T @ dout", "A @ dout", "In a @ b the last axis"),
        ("(A.T @ dout)", "(dout.T @ A)", "is the transpose"),
        ("dA = scale * ", "dA = scale**2 * ", "scale twice"),
        ("dout @ B.T", "dout.sum() * np.ones_like(A)", "-"),
    ],
    "token_log_probs": [
        ("picked * scored,", "picked,", "not 0 where the target"),
        ("targets != IGNORE", "targets == IGNORE", "to be ignored"),
        ("targets != IGNORE", "targets != 0", "target is 0"),
        ("= log_softmax(logits)", "= logits", "log_softmax is left out"),
        (
            "= log_softmax(logits)",
            "= np.exp(log_softmax(logits))",
            "take its log",
        ),
        ("picked * scored,", "-picked * scored,", "a loss"),
        ("picked * scored,", "picked * scored / np.log(2),", "in bits"),
        (
            "= log_softmax(logits)",
            "= np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))",
            "NaN or inf",
        ),
        (
            "= log_softmax(logits)",
            "= np.moveaxis(log_softmax(np.moveaxis(logits, 1, -1)), -1, 1)",
            "along the positions",
        ),
        ("picked * scored,", "(picked * scored).sum(axis=1),", "summed along"),
        ("picked * scored,", "(picked * scored).mean(axis=1),", "mean along"),
        (
            "picked * scored,",
            "picked * scored / scored.sum(),",
            "targets that count",
        ),
        (
            "np.where(scored, targets, 0)",
            "np.roll(np.where(scored, targets, 0), -1, 1)",
            "next target",
        ),
        (
            "np.where(scored, targets, 0)[..., None]",
            "targets[..., None]",
            "-",
        ),
        ("[..., 0]\n", "\n", "-"),
    ],
    "token_log_probs_backward": [
        ("picked + 1", "picked", "lacks the one-hot"),
        ("picked + 1", "picked - 1", "at targets alone"),
        (
            "dlogits = -np.exp(log_probs)",
            "dlogits = np.exp(log_probs)",
            "softmax added",
        ),
        ("return dlogits * ", "return -dlogits * ", "one-hot minus softmax"),
        ("-np.exp(log_probs)", "-log_probs", "where probabilities"),
        (
            "-np.exp(log_probs)",
            "np.zeros_like(log_probs)",
            "lacks the softmax",
        ),
        ("(dout * scored)", "dout", "is not zero where"),
        ("(dout * scored)", "scored", "lacks the factor dout"),
        (
            "(dout * scored)",
            "(dout * scored / scored.sum())",
            "targets that count",
        ),
        ("[..., None]", "[None]", "-"),
        (
            "(dout * scored)",
            "(dout.sum(axis=1, keepdims=True) * scored)",
            "sum along the row",
        ),
        ("    return dlogits", "    dlogits", "Is there a return?"),
    ],
    "dpo_loss": [
        ("chosen - rejected", "rejected - chosen", "each other's place"),
        ("0.0, -margin", "0.0, margin", "the sign"),
        ("float(np", "-float(np", "a loss is minus that"),
        ("margin = beta * (", "margin = (", "lacks the factor beta"),
        (
            "np.logaddexp(0.0, -margin).mean()",
            "beta * np.logaddexp(0.0, rejected - chosen).mean()",
            "outside the log",
        ),
        ("beta * (", "1 / beta * (", "by beta: multiply"),
        (".mean()", ".sum()", "the mean is wanted"),
        (
            "float(np.logaddexp(0.0, -margin).mean())",
            "np.logaddexp(0.0, -margin)",
            "one number a pair",
        ),
        ("-margin).mean()", "-margin.mean())", "the mean comes last"),
        ("chosen - rejected", "chosen", "lacks rejected"),
        ("chosen - rejected", "chosen + rejected", "it is the difference"),
        (
            "np.logaddexp(0.0, -margin)",
            "np.logaddexp2(0.0, -margin / np.log(2))",
            "bits",
        ),
        (
            "np.logaddexp(0.0, -margin)",
            "np.log(1 + np.exp(-margin))",
            "NaN or inf",
        ),
        (
            "np.logaddexp(0.0, -margin)",
            "-np.log(1 / (1 + np.exp(-margin)))",
            "NaN or inf",
        ),
        (
            "np.logaddexp(0.0, -margin)",
            "(1 / (1 + np.exp(-margin)))",
            "the chance itself",
        ),
        (
            "np.logaddexp(0.0, -margin)",
            "(1 / (1 + np.exp(margin)))",
            "-log is left out",
        ),
        ("np.logaddexp(0.0, -margin)", "np.maximum(0, 1 - margin)", "hinge"),
        ("np.logaddexp(0.0, -margin)", "-margin", "-log sigma is left out"),
        ("return loss, (margin, beta)", "return loss", "has no cache"),
    ],
    "dpo_loss_backward": [
        (
            "return beta * dmargin, -beta * dmargin",
            "return -beta * dmargin, beta * dmargin",
            "each other's place",
        ),
        ("dmargin = -wrong", "dmargin = wrong", "each other's place"),
        (
            "return beta * dmargin, -beta * dmargin",
            "return dmargin, -dmargin",
            "lacks the factor beta",
        ),
        (" / margin.size", "", "number of pairs"),
        (
            "np.logaddexp(0.0, margin)",
            "np.logaddexp(0.0, -margin)",
            "sigma(-h) is wanted",
        ),
        ("-wrong *", "-1 * np.ones_like(margin) *", "lacks sigma(-h)"),
        ("-wrong *", "-wrong * (1 - wrong) *", "not of -log sigma"),
        ("float(dout)", "1.0", "lacks the factor dout"),
        (", -beta * dmargin", ", beta * dmargin", "rejected enters with"),
        ("return beta", "return -beta", "likelier chosen"),
        (
            "return beta * dmargin, -beta * dmargin",
            "return beta * dmargin",
            "returned 1 gradients",
        ),
        (
            "np.exp(-np.logaddexp(0.0, margin))",
            "1 - 1 / (1 + np.exp(margin))",
            "chance that chosen",
        ),
        (
            "np.exp(-np.logaddexp(0.0, margin))",
            "np.exp(-margin) / (1 + np.exp(-margin))",
            "NaN or inf",
        ),
        ("beta * dmargin, -", "beta**2 * dmargin, -beta * ", "beta twice"),
    ],
    "group_advantages": [
        (
            "groups - groups.mean(axis=1, keepdims=True)",
            "groups",
            "lacks the mean",
        ),
        (
            "groups.mean(axis=1, keepdims=True)",
            "groups.mean()",
            "mean of all rewards",
        ),
        (SPREAD, "spread = groups.std()", "spread of all rewards"),
        (
            SPREAD,
            "spread = groups.std(axis=1, keepdims=True, ddof=1)",
            "ddof=1",
        ),
        (SPREAD, "spread = groups.var(axis=1, keepdims=True)", "variance"),
        (OVER, "1.0", "lacks the division by the spread"),
        (OVER, "spread", "NaN or inf"),
        (OVER, "(spread + 1e-4)", "by 1 where it is 0"),
        (OVER, "(spread + 1e-6)", "by 1 where it is 0"),
        ("centred / ", "centred * ", "multiplies by the spread"),
        ("reshape(-1, size)", "reshape(size, -1)", "has size groups"),
        ("spread, 1.0)).reshape(-1)", "spread, 1.0))", "but not flat"),
        (
            "groups - groups.mean(axis=1, keepdims=True)",
            "groups.mean(axis=1, keepdims=True) - groups",
            "from the mean",
        ),
        (
            "groups - groups.mean(axis=1, keepdims=True)",
            "groups - np.median(groups, axis=1, keepdims=True)",
            "median",
        ),
        ("groups.mean(axis=1, keepdims=True)", "groups.mean(axis=0)", "-"),
        (SPREAD, "spread = np.ptp(groups, axis=1, keepdims=True)", "range"),
        (
            "groups.mean(axis=1, keepdims=True)",
            "groups.mean(axis=1)",
            "last axis got lost",
        ),
        ("    return (", "    (", "Is there a return?"),
    ],
    "clipped_gain": [
        (
            "np.exp(log_probs - old)\n    i",
            "np.exp(old - log_probs)\n    i",
            "upside down",
        ),
        ("np.exp(log_probs - old)", "log_probs - old", "lacks exp"),
        ("np.exp(log_probs - old)", "log_probs / old", "divides log prob"),
        ("np.minimum", "np.maximum", "smaller is wanted"),
        (LEAST, "ratio * advantages", "nothing clipped"),
        (LEAST, "inside * advantages", "whatever the advantage"),
        (LEAST, "np.minimum(ratio, inside) * advantages", "multiply first"),
        (
            LEAST,
            "np.minimum(ratio * advantages, "
            "np.clip(ratio * advantages, 1 - clip, 1 + clip))",
            "product clipped",
        ),
        (
            "np.clip(ratio, 1 - clip, 1 + clip)",
            "np.clip(ratio, -clip, clip)",
            "1 - clip and 1 + clip",
        ),
        (
            "np.clip(ratio, 1 - clip, 1 + clip)",
            "np.exp(np.clip(log_probs - old, -clip, clip))",
            "logarithm clipped",
        ),
        (LEAST, "np.minimum(ratio, inside)", "lacks the advantages"),
        (
            LEAST,
            "-np.minimum(ratio * advantages, inside * advantages)",
            "not a loss",
        ),
        ("1 - clip, 1 + clip", "0.8, 1.2", "-"),
        ("1 - clip, 1 + clip", "1 + clip, 1 - clip", "-"),
        (
            "np.clip(ratio, 1 - clip, 1 + clip)",
            "np.minimum(ratio, 1 + clip)",
            "clipped above alone",
        ),
        (
            "return gain, (ratio, advantages, clip)",
            "return gain",
            "has no cache",
        ),
    ],
    "clipped_gain_backward": [
        ("dout * ratio * advantages", "dout * advantages", "slope of exp"),
        ("dout * ratio * advantages", "dout * ratio", "lacks the advantages"),
        ("dout * ratio", "ratio", "lacks the factor dout"),
        (" * " + STOP, "", "is zero nowhere"),
        (STOP, "(too_high | too_low)", "only there"),
        (STOP, "~((ratio > 1 + clip) | (ratio < 1 - clip))", "on either side"),
        (STOP, "~too_high", "too high alone"),
        (STOP, "~too_low", "too low alone"),
        (
            "(advantages > 0) & (ratio > 1 + clip)",
            "(advantages < 0) & (ratio > 1 + clip)",
            "advantage is negative alone",
        ),
        ("too_high | too_low", "too_high & too_low", "is zero nowhere"),
        ("return dout", "return -dout", "slope of a gain"),
        (
            "return dout * ratio * advantages * " + STOP,
            "return dout * ratio * advantages * " + STOP + ", None",
            "dlog_probs alone",
        ),
        (
            "dout * ratio * advantages * " + STOP,
            "dout * np.clip(ratio, 1 - clip, 1 + clip) * advantages",
            "clipped ratio",
        ),
        ("    return dout", "    dout", "Is there a return?"),
    ],
    "kl_estimate": [
        ("reference - log_probs", "log_probs - reference", "upside down"),
        ("np.exp(gap) - gap - 1,", "np.exp(gap) - gap,", "lacks - 1"),
        ("np.exp(gap) - gap - 1,", "np.exp(gap) - 1,", "lacks - log"),
        ("np.exp(gap) - gap - 1,", "np.exp(gap) + gap - 1,", "added: sub"),
        ("np.exp(gap) - gap - 1,", "np.exp(gap) - gap + 1,", "1 added"),
        ("np.exp(gap) - gap - 1,", "-gap,", "log p - log q, which"),
        ("np.exp(gap) - gap - 1,", "gap,", "log q - log p, which"),
        ("np.exp(gap) - gap - 1,", "gap**2 / 2,", "half the square"),
        ("np.exp(gap) - gap - 1,", "gap - np.log(np.abs(gap)) - 1,", "-"),
        ("np.exp(gap) - gap - 1,", "np.abs(gap),", "|log p - log q|"),
        ("np.exp(gap) - gap - 1,", "1 + gap - np.exp(gap),", "never negative"),
        (
            "np.exp(gap) - gap - 1,",
            "(np.exp(gap) - gap - 1).mean(),",
            "expected an array",
        ),
        ("- gap - 1, gap", "- gap - 1", "has no cache"),
    ],
    "kl_estimate_backward": [
        ("1 - np.exp(cache)", "np.exp(cache) - 1", "each other's place"),
        (
            "return dlog_probs, -dlog_probs",
            "return -dlog_probs, dlog_probs",
            "each other's place",
        ),
        ("1 - np.exp(cache)", "1 - np.exp(-cache)", "upside down"),
        ("dout * (1 - np.exp(cache))", "dout * -np.exp(cache)", "lacks the 1"),
        (
            "dout * (1 - np.exp(cache))",
            "dout * np.ones_like(cache)",
            "lacks q / p",
        ),
        ("dout * (1", "(1", "lacks the factor dout"),
        (
            "return dlog_probs, -dlog_probs",
            "return dlog_probs, dlog_probs",
            "differ in sign",
        ),
        (
            "return dlog_probs, -dlog_probs",
            "return dlog_probs, 0 * dlog_probs",
            "the reference too",
        ),
        (
            "return dlog_probs, -dlog_probs",
            "return dlog_probs",
            "returned 1 gradients",
        ),
        ("(1 - np.exp(cache))", "(1 - cache)", "-"),
        (
            "return dlog_probs, -dlog_probs",
            "return dlog_probs, None",
            "returned None",
        ),
    ],
    "exact_kl": [
        ("(np.exp(p) * (p - q))", "(np.exp(q) * (q - p))", "KL(reference"),
        ("(np.exp(p) * (p - q))", "(np.exp(q) * (p - q))", "under the ref"),
        ("(p - q)", "(q - p)", "a KL is never"),
        ("(np.exp(p) * (p - q))", "-(np.exp(p) * q)", "cross entropy"),
        ("(np.exp(p) * (p - q))", "(np.exp(p) * p)", "policy's entropy"),
        ("(np.exp(p) * (p - q))", "(p - q)", "has no weights"),
        (".sum(axis=-1)", ".mean(axis=-1)", "sum is wanted"),
        (".sum(axis=-1)", "", "not summed"),
        (".sum(axis=-1)", ".sum()", "expected an array"),
        (".sum(axis=-1)", ".sum(axis=0)", "-"),
        (".sum(axis=-1)", ".sum(axis=-1) / np.log(2)", "in bits"),
        (
            "p, q = log_softmax(logits), log_softmax(reference)",
            "p, q = logits, reference",
            "-",
        ),
        ("(p - q)).sum", "(logits - reference)).sum", "has logits where"),
        ("(p - q)).sum", "(np.exp(p) - np.exp(q))).sum", "where logarithms"),
        (
            "np.exp(p) * (p - q)",
            "(np.exp(p) - np.exp(q)) * (p - q)",
            "both directions",
        ),
        ("return kl, (p, q, kl)", "return kl", "has no cache"),
    ],
    "exact_kl_backward": [
        ("(p - q - kl[..., None])", "(p - q)", "softmax's backward"),
        ("- kl[", "+ kl[", "has K added"),
        ("dout * np.exp(p) * (p", "dout * (p", "lacks the factor p"),
        ("dout * np.exp(p) * (p", "dout * np.exp(q) * (p", "q for the factor"),
        ("(p - q - kl[..., None])", "(p - q + 1)", "product rule"),
        ("dout = dout[..., None]", "dout = 1.0", "lacks the factor dout"),
        ("(p - q - kl[..., None])", "(1 - np.exp(q - p))", "KL(reference"),
        ("= dout * np.exp(p)", "= -dout * np.exp(p)", "wrong sign"),
        (
            "(np.exp(q) - np.exp(p))",
            "(np.exp(p) - np.exp(q))",
            "softmax of the reference minus",
        ),
        ("(np.exp(q) - np.exp(p))", "(q - p)", "where probabilities"),
        ("(np.exp(q) - np.exp(p))", "np.exp(q)", "lacks - p"),
        (
            "return dlogits, dout * (np.exp(q) - np.exp(p))",
            "return dlogits, -dlogits",
            "not alike",
        ),
        (
            "return dlogits, dout * (np.exp(q) - np.exp(p))",
            "return dlogits, 0 * dlogits",
            "the reference too",
        ),
        (
            "return dlogits, dout * (np.exp(q) - np.exp(p))",
            "return dout * (np.exp(q) - np.exp(p)), dlogits",
            "changed places",
        ),
        ("kl[..., None])", "kl)", "last axis got lost"),
        ("dout = dout[..., None]", "", "last axis got lost"),
    ],
    "policy_loss": [
        (ALONE, "((beta * kl - gain) * scored).mean()", "with zeros"),
        (ALONE, "(beta * kl - gain).mean()", "what is not scored"),
        (ALONE, "(beta * kl - gain)[~scored].mean()", "over what is not"),
        ("[scored].mean()", "[scored].sum()", "the mean is wanted"),
        (ALONE, "(gain - beta * kl)[scored].mean()", "wrong sign"),
        (ALONE, "(beta * kl + gain)[scored].mean()", "wrong sign"),
        (ALONE, "(-gain)[scored].mean()", "lacks the KL"),
        (ALONE, "(kl - gain)[scored].mean()", "factor beta"),
        (ALONE, "(-beta * kl - gain)[scored].mean()", "a penalty"),
        (ALONE, "(kl - beta * gain)[scored].mean()", "beta on the gain"),
        (
            ALONE,
            "np.mean([(beta * k - g)[s].mean() "
            "for k, g, s in zip(kl, gain, scored)])",
            "rows' means",
        ),
        (
            ALONE,
            "((beta * kl - gain) * scored).sum(axis=1).mean()",
            "rows' sums",
        ),
        (
            "kl_estimate(log_probs, reference)",
            "kl_estimate(log_probs, old)",
            "KL to old",
        ),
        (
            "kl_estimate(log_probs, reference)",
            "kl_estimate(reference, log_probs)",
            "other direction",
        ),
        (
            "log_probs, old, advantages",
            "log_probs, reference, advantages",
            "ratio to the reference",
        ),
        (
            "log_probs, old, advantages",
            "old, log_probs, advantages",
            "upside down",
        ),
        (", clip)\n", ")\n", "clips at 0.2"),
        ("advantages[:, None]", "advantages", "-"),
        ("advantages[:, None]", "advantages[None]", "-"),
        (
            "return loss, (gain_cache, kl_cache, scored, beta)",
            "return loss",
            "has no cache",
        ),
    ],
    "policy_loss_backward": [
        ("(-each, gain", "(each, gain", "wrong sign"),
        ("int(scored.sum())", "scored.size", "number of all tokens"),
        (
            "each = scored * (",
            "each = np.ones(scored.shape) * (",
            "not zero where",
        ),
        (
            "scored * (float(dout) / int(scored.sum()))",
            "scored * float(dout)",
            "number of scored",
        ),
        ("float(dout) / ", "1.0 / ", "lacks the factor dout"),
        ("return dgain + dkl", "return dgain", "lacks the KL"),
        ("(beta * each", "(each", "lacks the factor beta"),
        ("return dgain + dkl", "return dgain - dkl", "a penalty"),
        ("return dgain + dkl", "return -dgain - dkl", "wrong sign"),
        ("return dgain + dkl", "return dkl", "is zero everywhere"),
        ("dkl, _ =", "_, dkl =", "the first is wanted"),
        (
            "scored * (float(dout) / int(scored.sum()))",
            "scored * float(dout) / scored.sum(axis=1, keepdims=True)",
            "of each row",
        ),
        ("    each = each.astype(kl_cache.dtype)\n", "", "float64"),
        ("    return dgain", "    dgain", "Is there a return?"),
    ],
}

RIGHT = {
    "grammar_for": [
        ("return GRAMMAR | {", "return {**GRAMMAR} | {"),
        (
            "for name, words in wanted.items()",
            "for name, words in [*wanted.items()]",
        ),
        """
def grammar_for(request):
    check_request(request)
    grammar = dict(GRAMMAR)

    def keep(name, words):
        grammar[name] = [row for row in GRAMMAR[name] if says(row[1], words)]

    keep("child", "hero=" + NAMES[request["name"]])
    keep(NAMES[request["name"]], request["name"])
    keep("plot", THINGS[request["thing"]])
    keep(PLOTS[THINGS[request["thing"]]], request["thing"])
    keep("ending", ENDINGS[request["end"]])
    return grammar
""",
    ],
    "answer_batch": [
        (
            "[[*p, *a] for p, a in zip(prompts, answers)]",
            "[list(p) + list(a) for p, a in zip(prompts, answers)]",
        ),
        ("np.full((len(rows), T), IGNORE)", "IGNORE + np.zeros_like(ids)"),
        """
def answer_batch(prompts, answers):
    B = len(prompts)
    T = max(len(p) + len(a) for p, a in zip(prompts, answers)) - 1
    ids = np.zeros((B, T), int)
    targets = np.full((B, T), IGNORE)
    for b in range(B):
        row = prompts[b] + answers[b]
        for t in range(len(row) - 1):
            ids[b, t] = row[t]
            if t + 1 >= len(prompts[b]):
                targets[b, t] = row[t + 1]
    return ids, targets
""",
    ],
    "lora": [
        ("scale * (A @ B)", "(scale * A) @ B"),
        ("scale * (A @ B)", "scale * np.einsum('mr,rn->mn', A, B)"),
        """
def lora(weight, A, B, scale=1.0):
    low = A * scale
    return low @ B + weight, {"A": A, "B": B, "scale": scale}


def lora_backward(dout, cache):
    A, B, scale = cache.values()
    dproduct = dout * scale
    return dout, dproduct @ B.T, A.T @ dproduct
""",
    ],
    "lora_backward": [
        ("scale * (dout @ B.T)", "(scale * dout) @ B.T"),
        ("(A.T @ dout)", "(dout.T @ A).T"),
        ("return dout, dA, dB", "return dout.copy(), dA, dB"),
    ],
    "token_log_probs": [
        ("picked * scored,", "np.where(scored, picked, 0),"),
        ("targets != IGNORE", "~(targets == IGNORE)"),
        """
def token_log_probs(logits, targets):
    scored = targets >= 0
    top = logits - logits.max(axis=-1, keepdims=True)
    log_probs = top - np.log(np.exp(top).sum(axis=-1, keepdims=True))
    B, T = targets.shape
    rows = targets * scored
    picked = log_probs[np.arange(B)[:, None], np.arange(T), rows]
    return picked * scored, (log_probs, rows, scored)


def token_log_probs_backward(dout, cache):
    log_probs, rows, scored = cache
    one_hot = np.eye(log_probs.shape[-1], dtype=dout.dtype)[rows]
    return (one_hot - np.exp(log_probs)) * (dout * scored)[..., None]
""",
    ],
    "token_log_probs_backward": [
        ("(dout * scored)[..., None]", "(scored * dout)[:, :, None]"),
        ("-np.exp(log_probs)", "0 - np.exp(log_probs)"),
        ("picked + 1", "1 + picked"),
    ],
    "dpo_loss": [
        (
            "np.logaddexp(0.0, -margin).mean()",
            "np.mean(np.logaddexp(-margin, 0.0))",
        ),
        ("beta * (chosen - rejected)", "beta * chosen - beta * rejected"),
        """
def dpo_loss(chosen, rejected, beta=0.1):
    h = beta * (chosen - rejected)
    each = np.maximum(-h, 0) + np.log1p(np.exp(-np.abs(h)))
    return float(each.sum() / len(h)), (h, beta, len(h))


def dpo_loss_backward(dout, cache):
    h, beta, B = cache
    small = np.exp(-np.abs(h))
    sigma = np.where(h > 0, small, 1) / (1 + small)
    dchosen = (-float(dout) * beta / B) * sigma
    return dchosen, -dchosen
""",
    ],
    "dpo_loss_backward": [
        (
            "np.exp(-np.logaddexp(0.0, margin))",
            "np.exp(-margin - np.logaddexp(0.0, -margin))",
        ),
        (
            "-wrong * (float(dout) / margin.size)",
            "-float(dout) * wrong / len(margin)",
        ),
        (
            "return beta * dmargin, -beta * dmargin",
            "return [beta * dmargin, -beta * dmargin]",
        ),
    ],
    "group_advantages": [
        ("np.where(spread > 0, spread, 1.0)", "(spread + (spread == 0))"),
        ("np.asarray(rewards, dtype=np.float64)", "np.array(rewards, float)"),
        """
def group_advantages(rewards, size):
    found = []
    for start in range(0, len(rewards), size):
        group = np.array(rewards[start : start + size], dtype=float)
        centred = group - group.mean()
        spread = np.sqrt((centred**2).mean())
        found.append(centred / spread if spread else 0 * centred)
    return np.concatenate(found)
""",
    ],
    "clipped_gain": [
        (
            "np.clip(ratio, 1 - clip, 1 + clip)",
            "ratio.clip(1 - clip, 1 + clip)",
        ),
        (
            "np.minimum(ratio * advantages, inside * advantages)",
            "advantages * np.where(advantages > 0, "
            "np.minimum(ratio, 1 + clip), np.maximum(ratio, 1 - clip))",
        ),
        """
def clipped_gain(log_probs, old, advantages, clip=0.2):
    ratio = np.exp(log_probs) / np.exp(old)
    inside = np.minimum(np.maximum(ratio, 1 - clip), 1 + clip)
    plain, bounded = ratio * advantages, inside * advantages
    return np.minimum(plain, bounded), (plain, plain <= bounded)


def clipped_gain_backward(dout, cache):
    plain, free = cache
    return dout * plain * free
""",
    ],
    "clipped_gain_backward": [
        (STOP, "(~too_high & ~too_low)"),
        (
            "dout * ratio * advantages * " + STOP,
            "np.where(too_high | too_low, 0, dout * ratio * advantages)",
        ),
        ("return dout * ratio", "return ratio * dout"),
    ],
    "kl_estimate": [
        ("np.exp(gap) - gap - 1,", "np.expm1(gap) - gap,"),
        ("np.exp(gap) - gap - 1,", "-1 - gap + np.exp(gap),"),
        """
def kl_estimate(log_probs, reference):
    gap = log_probs - reference
    ratio = np.exp(-gap)
    return ratio - 1 + gap, ratio


def kl_estimate_backward(dout, cache):
    return dout - dout * cache, dout * cache - dout
""",
    ],
    "kl_estimate_backward": [
        ("dout * (1 - np.exp(cache))", "-dout * np.expm1(cache)"),
        (
            "return dlog_probs, -dlog_probs",
            "return dlog_probs, 0 - dlog_probs",
        ),
        ("dout * (1 - np.exp(cache))", "dout - dout * np.exp(cache)"),
    ],
    "exact_kl": [
        ("(np.exp(p) * (p - q))", "(np.exp(p) * p - np.exp(p) * q)"),
        (
            "(np.exp(p) * (p - q)).sum(axis=-1)",
            "np.einsum('...v,...v->...', np.exp(p), p - q)",
        ),
        """
def exact_kl(logits, reference):
    log_p, log_q = log_softmax(logits), log_softmax(reference)
    p, gap = np.exp(log_p), log_p - log_q
    return (p * gap).sum(axis=-1), (p, np.exp(log_q), gap)


def exact_kl_backward(dout, cache):
    p, q, gap = cache
    dout = dout[..., None]
    dlog_p = dout * p * (gap + 1)
    dlogits = dlog_p - p * dlog_p.sum(axis=-1, keepdims=True)
    return dlogits, -dout * (p - q)
""",
    ],
    "exact_kl_backward": [
        ("kl[..., None]", "np.expand_dims(kl, -1)"),
        (
            "dout * np.exp(p) * (p - q - kl[..., None])",
            "np.exp(p) * (p - q - kl[..., None]) * dout",
        ),
        (
            "dout * (np.exp(q) - np.exp(p))",
            "dout * np.exp(q) - dout * np.exp(p)",
        ),
    ],
    "policy_loss": [
        (ALONE, "((beta * kl - gain) * scored).sum() / scored.sum()"),
        ("advantages[:, None]", "np.expand_dims(advantages, 1)"),
        (ALONE, "(beta * kl[scored].mean() - gain[scored].mean())"),
    ],
    "policy_loss_backward": [
        ("int(scored.sum())", "np.count_nonzero(scored)"),
        ("return dgain + dkl", "return dkl + dgain"),
        """
def policy_loss_backward(dout, cache):
    gain_cache, kl_cache, scored, beta = cache
    share = np.zeros(scored.shape, kl_cache.dtype)
    share[scored] = dout / scored.sum()
    dlog_probs = -clipped_gain_backward(share, gain_cache)
    return dlog_probs + beta * kl_estimate_backward(share, kl_cache)[0]
""",
    ],
}

# exercises

SOLUTIONS = {
    "price": '''
def price(p, r):
    """Return the least KL in nats that raises a share p to r, 0 < r < 1."""
    return r * np.log(r / p) + (1 - r) * np.log((1 - r) / (1 - p))
''',
    "leave_one_out": '''
def leave_one_out(rewards, size):
    """Return each reward less the mean of the others in its group, (B,)."""
    groups = rewards.reshape(-1, size)
    others = groups.sum(axis=1, keepdims=True) - groups
    return (groups - others / (size - 1)).reshape(-1)
''',
}
SOLUTIONS["thin"] = SOLUTIONS["thin_backward"] = '''
def thin(x, A, B, weight):
    """Return x @ weight + (x @ A) @ B, (R, N), and a cache."""
    low = x @ A  # (R, r)
    return x @ weight + low @ B, (x, low, A, B, weight)


def thin_backward(dout, cache):
    """Return dx (R, M), dA (M, r), dB (r, N)."""
    x, low, A, B, weight = cache
    dlow = dout @ B.T  # (R, r)
    return dout @ weight.T + dlow @ A.T, x.T @ dlow, low.T @ dout
'''


def judge_price(price):
    """Call the exercise as its cell does."""
    check_value(price, 0.07246032792714362, 0.75, 0.9)
    check_value(price, 0.3680642071684971, 0.5, 0.9)


def judge_leave_one_out(leave_one_out):
    """Call the exercise as its cell does."""
    expected = np.array([1.0, -0.5, -0.5, -4.0, 2.0, 2.0])
    rewards = np.array([1.0, 0.0, 0.0, 1.0, 5.0, 5.0])
    check_value(leave_one_out, expected, rewards, 3)


def judge_thin(function):
    """Call the exercise as its cell does."""
    names = inspect.unwrap(function).__globals__
    rng = np.random.default_rng(2)
    frozen = rng.normal(size=(5, 7)).astype(np.float32)
    arrays = tuple(rng.normal(size=s) for s in ((6, 5), (5, 2), (2, 7)))

    def merged(x, A, B, weight):
        return x @ (weight.to(x.dtype) + A @ B)

    pair = names["thin"], names["thin_backward"]
    check_backward(*pair, merged, arrays, weight=frozen)


JUDGES = {
    "price": judge_price,
    "leave_one_out": judge_leave_one_out,
    "thin": judge_thin,
    "thin_backward": judge_thin,
}

PRICE = "r * np.log(r / p) + (1 - r) * np.log((1 - r) / (1 - p))"
BAD = "(1 - r) * np.log((1 - r) / (1 - p))"
OTHERS = "groups.sum(axis=1, keepdims=True) - groups"
TWO = "dout @ weight.T + dlow @ A.T"

WRONG |= {
    "price": [
        (
            PRICE,
            "p * np.log(r / p) + (1 - p) * np.log((1 - r) / (1 - p))",
            "weigh with r",
        ),
        (
            PRICE,
            "p * np.log(p / r) + (1 - p) * np.log((1 - p) / (1 - r))",
            "other direction",
        ),
        (
            PRICE,
            "r * np.log(p / r) + (1 - r) * np.log((1 - p) / (1 - r))",
            "wrong sign",
        ),
        (" + " + BAD, "", "lacks the wrong answers"),
        ("r * np.log(r / p) + ", "", "lacks the right answers"),
        (PRICE, "np.log(r / p) + np.log((1 - r) / (1 - p))", "weights r"),
        (" + (1 - r)", " - (1 - r)", "add it"),
        ("(1 - r) / (1 - p)", "(1 - r) / p", "by 1 - p"),
        (
            PRICE,
            "r * np.log2(r / p) + (1 - r) * np.log2((1 - r) / (1 - p))",
            "in bits",
        ),
        (PRICE, "-np.log(p)", "price for r = 1"),
        (PRICE, "np.log(r / p)", "of the right answers"),
        (
            PRICE,
            "r * np.log(r) + (1 - r) * np.log(1 - r)",
            "the reference is left out",
        ),
        (PRICE, "-r * np.log(p) - (1 - r) * np.log(1 - p)", "cross entropy"),
        ("    return r", "    r", "return"),
        (PRICE, "(r - p) ** 2", "-"),
    ],
    "leave_one_out": [
        (
            "others / (size - 1)",
            "groups.mean(axis=1, keepdims=True)",
            "own reward goes out",
        ),
        ("(size - 1)", "size", "by size - 1"),
        (OTHERS, "groups.sum(axis=1, keepdims=True)", "take it out"),
        (" / (size - 1)", "", "their mean"),
        ("groups - others / (size - 1)", "others / (size - 1)", "subtract it"),
        (
            "groups - others / (size - 1)",
            "others / (size - 1) - groups",
            "wrong sign",
        ),
        (OTHERS, "rewards.sum() - groups", "-"),
        (
            "others / (size - 1)).reshape(-1)",
            "others / (size - 1))",
            "not flat",
        ),
        ("reshape(-1, size)", "reshape(size, -1).T", "one after the other"),
        ("sum(axis=1, keepdims=True)", "sum(axis=1)", "last axis got lost"),
        ("sum(axis=1, keepdims=True)", "sum(axis=0)", "-"),
        (
            "(groups - others / (size - 1))",
            "((groups - others / (size - 1)) / groups.std(1, keepdims=True))",
            "divides by the spread",
        ),
        ("    return (", "    (", "return"),
    ],
    "thin": [
        ("x @ weight + low @ B,", "x @ weight,", "lacks (x A) B"),
        ("x @ weight + low @ B,", "low @ B,", "lacks x W"),
        ("x @ weight + low", "x @ weight - low", "subtracted"),
        ("low = x @ A", "low = A @ x", "In a @ b the last axis"),
        ("low @ B,", "low @ B.T,", "In a @ b the last axis"),
        ("low @ B, (x, low, A, B, weight)", "low @ B", "has no cache"),
        ("low @ B,", "2 * low @ B,", "twice"),
    ],
    "thin_backward": [
        (TWO, "dlow @ A.T", "sends a gradient back too"),
        (TWO, "dout @ weight.T", "lacks the thin branch"),
        (TWO, "dout @ weight.T - dlow @ A.T", "subtracted"),
        (
            TWO + ", x.T @ dlow, low.T @ dout",
            TWO + ", low.T @ dout, x.T @ dlow",
            "another order",
        ),
        (TWO + ",", TWO + ", x.T @ dout,", "returned 4 gradients"),
        ("x.T @ dlow", "-x.T @ dlow", "wrong sign"),
        ("low.T @ dout", "-low.T @ dout", "wrong sign"),
        ("dout @ B.T", "dout @ B", "In a @ b the last axis"),
        ("low.T @ dout", "x.T @ dout", "-"),
        ("x.T @ dlow", "x.T @ low", "-"),
        ("dout @ weight.T", "dout @ weight", "In a @ b the last axis"),
        ("    return dout", "    dout", "Is there a return?"),
    ],
}

RIGHT |= {
    "price": [
        (
            PRICE,
            "r * (np.log(r) - np.log(p)) "
            "+ (1 - r) * (np.log(1 - r) - np.log(1 - p))",
        ),
        (
            PRICE,
            "float(np.log((r / p) ** r * ((1 - r) / (1 - p)) ** (1 - r)))",
        ),
        """
def price(p, r):
    new, old = np.array([r, 1 - r]), np.array([p, 1 - p])
    return float(new @ np.log(new / old))
""",
    ],
    "leave_one_out": [
        (
            "groups - others / (size - 1)",
            "(size * groups - groups.sum(axis=1, keepdims=True)) / (size - 1)",
        ),
        (".reshape(-1)\n", ".ravel()\n"),
        """
def leave_one_out(rewards, size):
    found = []
    for i in range(len(rewards)):
        start = i // size * size
        rest = [rewards[j] for j in range(start, start + size) if j != i]
        found.append(rewards[i] - sum(rest) / len(rest))
    return np.array(found)
""",
    ],
    "thin": [
        ("x @ weight + low @ B,", "low @ B + x @ weight,"),
        ("low = x @ A", "low = np.matmul(x, A)"),
        ("(x, low, A, B, weight)", "[x, low, A, B, weight]"),
    ],
    "thin_backward": [
        (TWO, "dlow @ A.T + dout @ weight.T"),
        ("low.T @ dout", "(dout.T @ low).T"),
        ("x.T @ dlow", "np.einsum('rm,rk->mk', x, dlow)"),
    ],
}
