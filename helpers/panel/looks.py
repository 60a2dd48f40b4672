"""Draw a story for the sampling panel: tokens, probabilities, attention.

Support code for knobs.py. The functions return HTML, in which every text has
gone through html.escape. What can be picked carries data-pick, and
looks.js tells Python which one was.
"""

import html
from pathlib import Path

import anywidget
import numpy as np
from traitlets import Unicode

HERE = Path(__file__).parent
N_BARS = 10
LEVELS = (0.2, 0.05, 0.01)  # below each of them the mark of surprise grows
SURPRISE_NOTE = (
    "The model gave it less than <span data-level=1>20%</span>, "
    "<span data-level=2>5%</span>, <span data-level=3>1%</span>. "
    "Point at a token to read the number."
)


class View(anywidget.AnyWidget):
    """Show HTML; send {"pick": ...} for what was chosen."""

    _esm = HERE / "looks.js"
    _css = HERE / "looks.css"
    value = Unicode().tag(sync=True)


def view_html(status, story, note, bars, heads):
    """Return the whole view: status is text, the other parts are HTML."""
    return (
        f"<p>{html.escape(status)}</p>"
        f'<div class="left">{story}<p>{note}</p></div>'
        f'<div class="right">{bars}{heads}</div>'
    )


def listing(name, label, options, selected=None):
    """Return a list box of options (pick, content, attributes).

    The Tab key stops once, at the selected option or else the first.
    """
    spans = []
    for i, (pick, content, attributes) in enumerate(options):
        chosen = "true" if i == selected else "false"
        stop = 0 if i == (selected or 0) else -1
        spans.append(
            f'<span role="option" data-pick="{pick}" aria-selected="{chosen}" '
            f'tabindex="{stop}" {attributes}>{content}</span>'
        )
    return (
        f'<div class="{name}" role="listbox" aria-label="{label}" '
        f'data-list="{name}">{"".join(spans)}</div>'
    )


def story_html(texts, n_prompt, place, marks=None):
    """Return the tokens of a story, with the one at place selected.

    texts[0] starts every story and is not shown; behind the last stands a
    cursor. marks: attributes for each token, as surprise_marks returns.
    """
    options = []
    for i in range(1, len(texts)):
        mark = marks[i] if marks else ""
        if i < n_prompt:
            mark += ' class="prompt"'
        options.append((f"token {i}", html.escape(texts[i]), mark))
    options.append((f"token {len(texts)}", "▏", 'title="the next token"'))
    return listing("story", "story", options, place - 1)


def surprise_marks(probs):
    """Return a mark for each token from its probability."""
    return [
        f'data-level="{sum(p < limit for limit in LEVELS)}" title="{p:.1%}"'
        for p in probs
    ]


def attention_marks(weights, n_tokens):
    """Return a mark for each token from the weight on it, if it has one."""
    marks = [
        f'data-weight style="--tint: {70 * depth:.0f}%" title="weight {w:.1%}"'
        for w, depth in zip(weights, np.sqrt(weights))
    ]
    return marks + [""] * (n_tokens - len(marks))


def bars_html(place, probs, tokenizer, drawn=None):
    """Return up to N_BARS likely tokens as bars; mark the one drawn."""
    top = [i for i in np.argsort(-probs, kind="stable") if probs[i] > 0]
    title, selected, options = "Probabilities of the next token", None, []
    if drawn is not None:
        text = visible(tokenizer.decode([drawn]))
        title = f"Token {place}: {text} ({probs[drawn]:.1%})"
    for row, i in enumerate(top[:N_BARS]):
        selected = row if i == drawn else selected
        text = html.escape(visible(tokenizer.decode([i])))
        content = (
            f'<code>{text}</code><i style="width: {probs[i]:.1%}"></i>'
            f"<span>{probs[i]:.1%}</span>"
        )
        options.append((f"bar {place} {i}", content, ""))
    label = "what may stand here"
    rows = listing("rows bars", label, options, selected)
    return f"<p>{html.escape(title)}</p>{rows}"


def heads_html(weights, texts, head):
    """Return a row for each head: where it looks, and what at most.

    weights (n_layers, H, T) of one position; head (layer, h) is selected.
    """
    n_layers, H, _ = weights.shape
    options = []
    for layer, h in np.ndindex(n_layers, H):
        row = weights[layer, h]
        text = html.escape(visible(texts[row.argmax()]))
        content = (
            f"<code>block {layer} head {h}</code>{strip_svg(row)}"
            f"<code>{text}</code><span>{row.max():.0%}</span>"
        )
        options.append((f"head {layer} {h}", content, ""))
    selected = head[0] * H + head[1]
    return listing("rows heads", "heads", options, selected)


def strip_svg(weights):
    """Return weights (T,) as a strip, the start of the text at the left.

    The colour's strength is the root of the weight, so that 1% is seen.
    """
    T = len(weights)
    wide = max(1.0, T / 60)  # seen even where the text is long
    cells = [
        f'<rect x="{min(i, T - wide):.1f}" width="{wide:.1f}" height="1" '
        f'opacity="{np.sqrt(weights[i]):.2f}"/>'
        for i in np.flatnonzero(weights > 0.002)
    ]
    return (
        f'<svg viewBox="0 0 {T} 1" preserveAspectRatio="none">'
        f"{''.join(cells)}</svg>"
    )


def token_texts(ids, tokenizer):
    """Return the text of each token, which together are that of all.

    Where tokens share a character, the last of them has it.
    """
    texts, start = [], 0
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[start:end])
        if text.endswith("\N{REPLACEMENT CHARACTER}") and end < len(ids):
            texts.append("")  # half a character
        else:
            texts.append(text)
            start = end
    return texts


def visible(text):
    """Return text with its spaces, newlines and odd characters visible."""
    return repr(text)[1:-1].replace(" ", "␣")
