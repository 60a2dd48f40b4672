"""Write one story for the sampling panel, and go back in it to choose again.

Support code for knobs.py. A place is an index into the story's tokens: the
bars show what may stand there, behind the tokens before it. The cache of
lesson 07 keeps what was read, so no token is read twice.
"""

import math
import time

import ipywidgets as widgets
import numpy as np
from traitlets import validate

from helpers.attention import linear, softmax, split_heads
from helpers.embeddings import embedding
from helpers.generation import (
    KVCache,
    cached_block,
    new_positions,
    next_logits,
    next_token,
    next_token_probs,
    position_vectors,
)
from helpers.language_model import language_model
from helpers.panel import looks
from helpers.runs.params import attention_weights
from helpers.runs.scoring import token_nats
from helpers.runs.speed import one_blas_thread
from helpers.transformer_block import NORMS

MAX_TOP_K = 100
WIDE = {"style": {"description_width": "9em"}, "layout": {"width": "auto"}}
TOO_LONG = (
    "The prompt has {n:,} tokens and there is room for {most:,}: shorten it."
)
FULL = (
    "The text is as long as this model can read, {n:,} tokens: go back to a "
    "token, or begin again."
)


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
        self.kv = KVCache(params, config)
        self.head = None  # (layer, h) once one was picked or found
        self.ids, self.n_prompt = [], 0
        self.own = []  # the model's probability of each token, if known
        self.n_read = 0  # of how many tokens kv holds keys and values
        self.cut(0)
        self.say("")

    @property
    def text(self):
        """Return what follows the prompt."""
        return self.tokenizer.decode(self.ids[self.n_prompt :])

    def say(self, status, alarm=False):
        """Keep what show says about the story; an alarm is an error."""
        self.status, self.alarm = status, alarm

    def settings(self):
        """Return the settings of now, as next_token_probs takes them.

        top_p is left out where it is off: it would sort every token.
        """
        temperature, top_k, top_p = (c.value for c in self.controls)
        return {
            "temperature": temperature,
            "top_k": top_k or None,
            "top_p": top_p if top_p < 1 else None,
        }

    def attempt(self, task, *args):
        """Return task(*args); an error becomes the status, and None."""
        try:
            return task(*args)
        except Exception as error:
            self.probs = None
            self.say(str(error) or type(error).__name__, alarm=True)

    # the story and its places

    def cut(self, n):
        """Keep the first n tokens and go behind them."""
        del self.ids[n:], self.own[n:]
        self.n_read = min(self.n_read, n)
        self.n_prompt = min(self.n_prompt, n)
        self.go_to(n)

    def go_to(self, place):
        """Go to a place; what was found for another is forgotten."""
        self.place = place
        self.logits = self.probs = self.weights = None

    def append(self, token):
        """Put a token at the place, which is behind the rest."""
        self.ids.append(token)
        own = self.logits - self.logits.max()
        self.own.append(float(np.exp(own[token]) / np.exp(own).sum()))

    def find_logits(self):
        """Read up to the place, if that was not done."""
        if self.logits is None:
            if self.place >= self.config.max_seq_len:
                raise ValueError(FULL.format(n=self.config.max_seq_len))
            self.kv.length = min(self.n_read, self.place - 1)
            new = np.array([self.ids[self.kv.length : self.place]])
            logits = next_logits(new, self.params, self.config, self.kv)
            self.logits = logits[0].astype(np.float64)
            self.n_read = max(self.n_read, self.place)

    def look(self):
        """Find the probabilities of what may stand at the place."""
        self.probs = None
        if self.ids:
            self.find_logits()
            self.probs = next_token_probs(self.logits, **self.settings())

    def read(self, prompt):
        """Begin again with a prompt; one that does not fit is not kept."""
        self.cut(0)
        ids = [self.tokenizer.end_of_text, *self.tokenizer.encode(prompt)]
        room = self.config.max_seq_len - 1
        if len(ids) > room:
            text = TOO_LONG.format(n=len(ids) - 1, most=room - 1)
            raise ValueError(text)
        self.ids, self.own = ids, [None] * len(ids)
        self.n_prompt = len(ids)
        self.go_to(len(ids))
        self.say("press Generate to write a story")

    # what the reader picks in the view

    def pick_token(self, place):
        """Go to a place, or behind the last token."""
        if 1 <= place <= len(self.ids):
            self.go_to(place)
            self.say("pick a bar to put that token here, or press Continue")

    def pick_bar(self, place, token):
        """Put a token at a place; what followed is gone."""
        known = 0 <= token < self.config.vocab_size
        if known and 1 <= place <= len(self.ids):
            self.cut(place)
            self.find_logits()
            self.append(token)
            self.go_to(len(self.ids))
            self.say("pick the next one, or press Continue")

    def pick_head(self, layer, h):
        """Choose the head whose attention colours the story."""
        if layer < self.config.n_layers and h < self.config.n_heads:
            self.head = layer, h

    # writing

    def begin(self, settings, prompt, again, n_tokens, rng):
        """Get ready to write behind the prompt again, or behind the place."""
        if again or not self.ids:
            self.read(prompt)
        self.cut(min(self.place + 1, len(self.ids)))
        self.find_logits()
        self._settings, self._rng = settings, rng
        self._began = len(self.ids), n_tokens, time.perf_counter()
        return True

    def step(self):
        """Write one token; return whether there may be another."""
        start, n_tokens, _ = self._began
        n = len(self.ids) - start
        if n == n_tokens:
            return self.end("reached the length of")
        if len(self.ids) == self.config.max_seq_len:
            return self.end("there is no room for more after")
        if self.place < len(self.ids):
            self.go_to(len(self.ids))
        self.find_logits()
        token, self.probs = next_token(
            self.logits, self.ids, self._rng, **self._settings
        )
        if token == self.tokenizer.end_of_text:
            return self.end("the story ended after")
        self.append(token)
        self.say(f"{count(n + 1)} so far")
        return True

    def end(self, reason):
        """Say why the story ends, after how many tokens, and how fast."""
        start, _, began = self._began
        n = len(self.ids) - start
        speed = n / (time.perf_counter() - began)
        self.say(f"{reason} {count(n)} ({speed:,.0f} tokens per second)")
        return False

    # showing

    def show(self, colour="nothing", busy=False):
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
        self.view.show(
            status=self.status,
            alarm=self.alarm,
            busy=busy,
            story=story,
            note=note,
            bars=bars,
            heads=heads,
        )

    def _surprise(self):
        if None in self.own:  # the prompt: one pass over it
            n = len(self.own) - self.own[::-1].index(None)
            self.own[:n] = token_probs(self.ids[:n], self.params, self.config)
        return looks.surprise_marks(self.own), looks.SURPRISE_NOTE

    def _attention(self, texts):
        if self.weights is None:
            self.weights = last_attention(
                self.ids[: self.place], self.params, self.config, self.kv
            )
        if self.head is None:
            self.head = sharpest(self.weights)
        layer, h = self.head
        row = self.weights[layer, h]
        note = (
            f"Where head {h} of block {layer} looked for token "
            f"{self.place}: the stronger the colour, the more, up to "
            f"{row.max():.0%}; {row[0]:.0%} at the start."
        )
        heads = looks.heads_html(self.weights, texts, self.head)
        return looks.attention_marks(row, len(texts)), note, heads


def token_probs(ids, params, config):
    """Return what the model gave each token (T,), before any setting.

    The first token has no past; it counts as certain.
    """
    with one_blas_thread():
        nats = token_nats(np.array(ids), params, config)  # (T - 1,)
    return [1.0, *np.exp(-nats)]


def last_attention(ids, params, config, kv):
    """Return the weights (n_layers, H, T) with which the last token looks.

    kv holds the keys and values of the tokens before it, at least.
    """
    if config.attention != "full":
        _, cache = language_model(np.array([ids]), params, config)
        return attention_weights(cache)[:, 0, :, -1]
    T, H = len(ids), config.n_heads
    kv.length = T - 1
    table = params["token_embedding"]["weight"]
    x, _ = embedding(np.array([ids[-1:]]), table)  # (1, 1, C)
    place = position_vectors(new_positions(kv, 1), params, config)
    x = x + place.astype(x.dtype)
    rows = []
    for layer, block in enumerate(params["blocks"]):
        norm, _ = NORMS[config.norm]
        h = x if config.norm == "post" else norm(x, **block["norm1"])[0]
        qkv, _ = linear(h, **block["attention"]["qkv"])  # (1, 1, 3C)
        q, _, _ = np.split(split_heads(qkv, 3 * H)[0], 3, axis=1)
        x = cached_block(x, block, config, kv, layer)  # stores the last key
        keys = kv.keys[layer, :, :, :T]  # (1, H, T, D)
        scores = q @ keys.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
        rows.append(softmax(scores)[0][0, :, 0])  # (H, T)
    return np.array(rows)


def sharpest(weights):
    """Return the head (layer, h) that looks most at a single token.

    weights (n_layers, H, T); the start of the text does not count: many a
    head rests there.
    """
    _, H, T = weights.shape
    peaks = weights[:, :, min(1, T - 1) :].max(axis=-1)  # (n_layers, H)
    return divmod(int(peaks.argmax()), H)


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
