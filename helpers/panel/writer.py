"""Write one story for the sampling panel, and go back in it to choose again.

Support code for knobs.py. A place is an index into the story's tokens: the
bars show what may stand there, behind the tokens before it.
"""

import time

import ipywidgets as widgets
import numpy as np
from traitlets import validate

from helpers.generation import sample_steps
from helpers.language_model import language_model
from helpers.panel import looks
from helpers.runs.params import attention_weights
from helpers.runs.scoring import token_nats

MAX_TOP_K = 100
WIDE = {"style": {"description_width": "8em"}, "layout": {"width": "auto"}}


class Writer:
    """Keep a story, the settings it is written with, and its view."""

    def __init__(self, params, config, tokenizer, name="", temperature=0.8):
        self.params, self.config, self.tokenizer = params, config, tokenizer
        self.controls = (
            slider(f"temperature{name}", temperature, 0, 2, step=0.05),
            slider(f"top-k{name} (0: off)", 0, 0, MAX_TOP_K),
            slider(f"top-p{name} (1: off)", 1, 0.05, 1, step=0.05),
        )
        self.view = looks.View(layout={"flex": "1 1 300px"})
        self.ids, self.n_prompt, self.place = [], 0, 0
        self.probs, self.status, self.head = None, "", (0, 0)

    @property
    def text(self):
        """Return what follows the prompt."""
        return self.tokenizer.decode(self.ids[self.n_prompt :])

    def settings(self):
        """Return the settings of now, as sample_steps takes them."""
        temperature, top_k, top_p = (c.value for c in self.controls)
        return {
            "temperature": temperature,
            "top_k": top_k or None,
            "top_p": top_p,
        }

    def attempt(self, task, *args):
        """Return task(*args); an error becomes the status, and None."""
        try:
            return task(*args)
        except Exception as error:
            self.probs = None
            self.status = str(error) or type(error).__name__

    def read(self, prompt):
        """Begin again with a prompt."""
        self.ids = []  # stays empty if the prompt cannot be encoded
        self.ids = [
            self.tokenizer.end_of_text,
            *self.tokenizer.encode(prompt),
        ]
        self.n_prompt = self.place = len(self.ids)
        self.status = "press Generate to write a story"

    def look(self):
        """Find the probabilities of what may stand at the place."""
        self.probs = None
        if self.ids:
            before = self.ids[: self.place]
            steps = sample_steps(
                before, self.params, self.config, **self.settings()
            )
            _, self.probs = next(steps)

    def pick_token(self, place):
        """Go to a place, or behind the last token."""
        self.place = min(place, len(self.ids))
        self.status = "pick a bar to put that token here, or press Continue"

    def pick_bar(self, place, token):
        """Put a token at a place; what followed is gone."""
        self.ids[place:] = [token]
        self.n_prompt = min(self.n_prompt, place)
        self.place = len(self.ids)
        self.status = "pick the next one, or press Continue"

    def pick_head(self, *head):
        """Choose the head (layer, h) whose attention colours the story."""
        self.head = head

    def begin(self, settings, prompt, again):
        """Get ready to write behind the prompt again, or behind the place."""
        if again or not self.ids:
            self.read(prompt)
        del self.ids[self.place + 1 :]
        self.place = len(self.ids)
        self.n_prompt = min(self.n_prompt, self.place)
        self._began = self.place, settings["n_tokens"], time.perf_counter()
        self._steps = sample_steps(
            self.ids, self.params, self.config, **settings
        )
        return True

    def step(self):
        """Write one token; return whether there may be another."""
        step = next(self._steps, None)
        if step is None:
            self.end(self._reason())
            return False
        token, self.probs = step
        self.place = len(self.ids)
        self.ids.append(token)
        self.status = f"{count(len(self.ids) - self._began[0])} so far"
        return True

    def end(self, reason):
        """Say why the story ends, after how many tokens, and how fast."""
        start, _, began = self._began
        n = len(self.ids) - start
        speed = n / (time.perf_counter() - began)
        self.status = f"{reason} {count(n)} ({speed:,.0f} tokens per second)"

    def _reason(self):
        start, n_tokens, _ = self._began
        if len(self.ids) - start == n_tokens:
            return "reached the length of"
        if len(self.ids) == self.config.max_seq_len:
            return "reached max_seq_len after"
        return "the story ended after"

    def show(self, colour="nothing"):
        """Show the story, its status and the bars of the place."""
        texts = looks.token_texts(self.ids, self.tokenizer)
        marks, note, heads, bars = None, "", "", ""
        if self.probs is not None:
            drawn = (self.ids[self.place :] or [None])[0]
            bars = looks.bars_html(
                self.place, self.probs, self.tokenizer, drawn
            )
            if colour == "surprise":
                marks, note = self._surprise()
            elif colour == "attention":
                marks, note, heads = self._attention(texts)
        story = looks.story_html(texts, self.n_prompt, self.place, marks)
        self.view.value = looks.view_html(
            self.status, story, note, bars, heads
        )

    def _surprise(self):
        probs = token_probs(self.ids, self.params, self.config)
        return looks.surprise_marks(probs), looks.SURPRISE_NOTE

    def _attention(self, texts):
        before = self.ids[: self.place]
        weights = last_attention(before, self.params, self.config)
        layer, h = self.head
        marks = looks.attention_marks(weights[layer, h], len(texts))
        note = (
            f"Where head {h} of block {layer} looked for token "
            f"{self.place}: the stronger the colour, the more; "
            f"{weights[layer, h, 0]:.0%} at the start."
        )
        return marks, note, looks.heads_html(weights, texts, self.head)


def token_probs(ids, params, config):
    """Return what the model gave each token (T,), before any setting.

    The first token has no past; it counts as certain.
    """
    nats = token_nats(np.array(ids), params, config)  # (T - 1,)
    return np.concatenate([[1.0], np.exp(-nats)])


def last_attention(ids, params, config):
    """Return the weights (n_layers, H, T) with which the last token looks."""
    _, cache = language_model(np.array([ids]), params, config)
    return attention_weights(cache)[:, 0, :, -1]


class Decimals(widgets.FloatSlider):
    """Keep the value on a step: the browser would put it there later."""

    @validate("value")
    def _validate_value(self, proposal):
        value = round(proposal.value / self.step) * self.step
        return round(min(max(value, self.min), self.max), 6)


def slider(description, value, low, high, step=1):
    """Return a slider: of integers if step is 1, of decimals if not."""
    kind = widgets.IntSlider if step == 1 else Decimals
    return kind(
        value, min=low, max=high, step=step, description=description, **WIDE
    )


def count(n):
    """Say how many tokens."""
    return f"{n} token" if n == 1 else f"{n} tokens"
