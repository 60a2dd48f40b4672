"""Draw a story for the sampling panel: tokens, probabilities, attention.

Support code for knobs.py. The functions return HTML, in which every text has
gone through html.escape. What can be picked carries data-pick, and
looks.js tells Python which one was.
"""

import codecs
import html
from pathlib import Path

import anywidget
import numpy as np
from traitlets import Bool, Int, Unicode

HERE = Path(__file__).parent
N_BARS = 10
LEVELS = (0.2, 0.05, 0.01)  # below each of them the mark of surprise grows
SURPRISE_NOTE = (
    "The model gave it less than <span data-level=1>20%</span>, "
    "<span data-level=2>5%</span>, <span data-level=3>1%</span>. "
    "Point at a token to read the number."
)


class View(anywidget.AnyWidget):
    """Show a story in parts; send {"pick": ...} for what was chosen.

    status is text, the parts are HTML. Only what has changed is sent; beat
    tells the browser of every answer, also of one that changes nothing.
    """

    _esm = HERE / "looks.js"
    _css = HERE / "looks.css"
    status = Unicode().tag(sync=True)
    alarm = Bool().tag(sync=True)
    busy = Bool().tag(sync=True)
    story = Unicode().tag(sync=True)
    note = Unicode().tag(sync=True)
    bars = Unicode().tag(sync=True)
    heads = Unicode().tag(sync=True)
    beat = Int().tag(sync=True)

    def show(self, **parts):
        """Show these parts, in one message."""
        with self.hold_sync():
            for name, part in parts.items():
                setattr(self, name, part)
            self.beat += 1


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
        options.append((f"token {i}", inked(texts[i]), mark))
    options.append((f"token {len(texts)}", "▏", 'title="the next token"'))
    return listing("story", "story", options, place - 1)


def inked(text):
    """Return a token with what can be seen of it in <b>, for its marks.

    The space before a word hangs over the end of a line; no mark should.
    """
    word = text.strip()
    if not word:
        return f'<b class="gap">{text}</b>'
    before, after = text.split(word, 1)
    return f"{before}<b>{html.escape(word)}</b>{after}"


def surprise_marks(probs):
    """Return a mark for each token from its probability."""
    return [
        f'data-level="{sum(p < limit for limit in LEVELS)}" title="{p:.1%}"'
        for p in probs
    ]


def attention_marks(weights, n_tokens):
    """Return a mark for each token from the weight on it, if it has one.

    The largest weight has the full colour, however small it is.
    """
    marks = [
        f'data-weight style="--tint: {70 * depth:.0f}%" title="weight {w:.1%}"'
        for w, depth in zip(weights, np.sqrt(weights / weights.max()))
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
    rows = listing("rows heads", "heads", options, head[0] * H + head[1])
    return f"<p>The {len(options)} heads, and where each looks most</p>{rows}"


def strip_svg(weights):
    """Return weights (T,) as a strip, the start of the text at the left.

    The largest has the full colour. A colour's strength is the root of the
    weight, in eight steps, so that a small one is seen.
    """
    T = len(weights)
    wide = max(1.0, T / 60)  # seen even where the text is long
    steps = np.rint(8 * np.sqrt(weights / weights.max()))
    paths = []
    for step in range(1, 9):
        places = np.minimum(np.flatnonzero(steps == step), T - wide)
        lines = "".join(f"M{place:.4g} 0h{wide:.3g}" for place in places)
        if lines:
            paths.append(f'<path d="{lines}" opacity="{step / 8}"/>')
    return (
        f'<svg viewBox="0 -0.5 {T} 1" preserveAspectRatio="none">'
        f"{''.join(paths)}</svg>"
    )


def token_texts(ids, tokenizer):
    """Return the text of each token, which together are that of all.

    Where tokens share a character, the last of them has it.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = [decoder.decode(token_bytes(i, tokenizer)) for i in ids]
    if texts:
        texts[-1] += decoder.decode(b"", final=True)
    return texts


def token_bytes(i, tokenizer):
    """Return the bytes of a token: they need not be whole characters."""
    if hasattr(tokenizer, "encoding"):
        return tokenizer.encoding.decode_single_token_bytes(i)
    return tokenizer.decode([i]).encode("utf-8")


def visible(text):
    """Return text with its spaces, newlines and odd characters visible."""
    return repr(text)[1:-1].replace(" ", "␣")
