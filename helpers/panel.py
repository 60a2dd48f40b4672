"""Play with a trained model: a prompt, some settings, the text as it comes.

Used in notebooks/07_generation.ipynb.
"""

import html
import sys
import threading
import time
from weakref import WeakSet

import ipywidgets as widgets
import numpy as np

from helpers.borders import check_tokenizer
from helpers.generation import sample_steps
from helpers.speed import one_blas_thread

UPDATE_EVERY = 0.05  # seconds; a browser cannot keep up with every token
N_BARS = 10
MAX_TOP_K = 100
WIDE = {"style": {"description_width": "7em"}, "layout": {"width": "auto"}}

# Colours come from JupyterLab's theme where there is one.
STYLE = """<style>
.story-panel .story {
  line-height: 1.5; min-height: 18.5em; padding: 8px 12px;
  white-space: pre-wrap; overflow-wrap: anywhere;
  border: 1px solid var(--jp-border-color1, #bdbdbd); border-radius: 4px;
}
.story-panel .bars {
  display: grid; grid-template-columns: 7em auto 4em; gap: 0 8px;
  align-items: center; line-height: 1.7;
}
.story-panel .bars p { grid-column: 1 / -1; margin: 6px 8px; }
.story-panel .bars code {
  overflow: hidden; text-align: right; text-overflow: ellipsis;
  white-space: pre; background: none; color: inherit;
}
.story-panel .bars div {
  height: 12px; min-width: 1px; opacity: 0.5;
  background: var(--jp-brand-color1, #1976d2);
}
.story-panel .bars span { text-align: right; }
.story-panel .bars .drawn { font-weight: bold; opacity: 1; }
</style>"""

_panels = WeakSet()


def sampling_panel(params, config, tokenizer, prompt="Once upon a time"):
    """Return a panel that writes stories with the model.

    Stops the panels made before, as when a cell is run again.
    Raises ValueError if the tokenizer does not belong to the model.
    """
    check_tokenizer(tokenizer, config)
    for panel in _panels:
        panel.stop.click()
    panel = SamplingPanel(params, config, tokenizer, prompt)
    _panels.add(panel)
    return panel


class SamplingPanel(widgets.VBox):
    """Show controls, the story and the probabilities of the next token.

    The controls are attributes, so a cell can use the panel as a hand does:
    panel.seed.value = 1; panel.generate.click(); panel.wait(); panel.text.
    """

    def __init__(self, params, config, tokenizer, prompt):
        self.params, self.config, self.tokenizer = params, config, tokenizer
        self.text = ""
        # JupyterLab can run the callbacks of two controls side by side
        self._lock = threading.RLock()
        self._stopping, self._idle = threading.Event(), threading.Event()
        self._idle.set()
        self._make_controls(prompt)
        self._make_displays()
        super().__init__(self._rows(), layout={"max_width": "900px"})
        self.add_class("story-panel")
        self._connect()
        self._show(prompt, [])
        self._preview()

    def __repr__(self):
        return "SamplingPanel: open this notebook in JupyterLab to use it"

    @property
    def running(self):
        """Tell whether a story is being written."""
        return not self._idle.is_set()

    def wait(self, timeout=None):
        """Wait, at most timeout seconds; return whether the story is done."""
        return self._idle.wait(timeout)

    def _make_controls(self, prompt):
        self.prompt = widgets.Textarea(prompt, description="prompt", **WIDE)
        most = self.config.max_seq_len
        self.temperature = slider("temperature", 0.8, 0, 2, step=0.05)
        self.length = slider("length", min(200, most), 1, most)
        self.top_k = slider("top-k (0: off)", 0, 0, MAX_TOP_K)
        self.top_p = slider("top-p (1: off)", 1, 0.05, 1, step=0.05)
        self.seed = widgets.BoundedIntText(
            0, min=0, max=2**31 - 1, description="seed", **WIDE
        )
        self.generate = widgets.Button(
            description="Generate", icon="play", button_style="primary"
        )
        self.stop = widgets.Button(
            description="Stop", icon="stop", disabled=True
        )

    def _make_displays(self):
        self.status = widgets.HTML()
        self.story = widgets.HTML(layout={"flex": "3 1 340px"})
        self.bars = widgets.HTML(layout={"flex": "2 1 280px"})

    def _rows(self):
        settings = [
            self.temperature,
            self.length,
            self.top_k,
            self.top_p,
            self.seed,
            widgets.HBox([self.generate, self.stop]),
        ]
        columns = "repeat(auto-fit, minmax(340px, 1fr))"
        return [
            widgets.HTML(STYLE, layout={"display": "none"}),
            self.prompt,
            widgets.GridBox(
                settings, layout={"grid_template_columns": columns}
            ),
            self.status,
            widgets.HBox(
                [self.story, self.bars], layout={"flex_flow": "row wrap"}
            ),
        ]

    def _connect(self):
        self.generate.on_click(self._start)
        self.stop.on_click(lambda _: self._stopping.set())
        for control in (self.prompt, self.temperature, self.top_k, self.top_p):
            control.observe(self._preview, "value")

    def _settings(self):
        return {
            "temperature": self.temperature.value,
            "top_k": self.top_k.value or None,
            "top_p": self.top_p.value,
        }

    def _preview(self, _=None):
        """Show what may follow the prompt, unless a story is being written."""
        with self._lock:
            if not self.running:
                self._attempt(self._show_first)

    def _start(self, _):
        """Write a story with the settings of now, unless one is on its way."""
        with self._lock:
            if self.running:
                return
            self._idle.clear()
        self._stopping.clear()
        self.generate.disabled, self.stop.disabled = True, False
        settings = self._settings() | {
            "n_tokens": self.length.value,
            "rng": np.random.default_rng(self.seed.value),
            "stop_id": self.tokenizer.end_of_text,
        }
        run_in_thread(self._finish, self.prompt.value, settings)

    def _finish(self, prompt, settings):
        try:
            self._attempt(self._write, prompt, settings)
        finally:
            self.generate.disabled, self.stop.disabled = False, True
            self._idle.set()

    def _attempt(self, task, *args):
        """Run a task; an error becomes a sentence below the buttons."""
        try:
            task(*args)
        except Exception as error:
            self.bars.value = ""
            self._say(str(error) or type(error).__name__)

    def _ids(self, prompt):
        return [self.tokenizer.end_of_text, *self.tokenizer.encode(prompt)]

    def _show_first(self):
        ids = self._ids(self.prompt.value)
        steps = sample_steps(ids, self.params, self.config, **self._settings())
        title = "Probabilities of the next token"
        self.bars.value = bars_html(title, next(steps)[1], self.tokenizer)
        self._say("press Generate to write a story")

    def _write(self, prompt, settings):
        self._show(prompt, [])
        new, probs, due, start = [], None, 0, time.perf_counter()
        ids = self._ids(prompt)
        steps = sample_steps(ids, self.params, self.config, **settings)
        with one_blas_thread():  # two only get in each other's way here
            for token, probs in steps:
                new.append(token)
                if self._stopping.is_set():
                    break
                if time.perf_counter() >= due:
                    self._show(prompt, new, probs)
                    due = time.perf_counter() + UPDATE_EVERY
        speed = len(new) / (time.perf_counter() - start)
        self._show(prompt, new, probs)
        ending = self._ending(len(ids), len(new), settings["n_tokens"])
        self._say(f"{ending} ({speed:,.0f} tokens per second)")

    def _ending(self, n_prompt, n, n_tokens):
        if self._stopping.is_set():
            return f"stopped after {count(n)}"
        if n == n_tokens:
            return f"reached the length of {count(n)}"
        if n_prompt + n == self.config.max_seq_len:
            return f"reached max_seq_len after {count(n)}"
        return f"the story ended after {count(n)}"

    def _show(self, prompt, new, probs=None):
        """Show the story so far and the step that led to its last token."""
        self.text = self.tokenizer.decode(new)
        self.story.value = story_html(prompt, self.text)
        if new:
            token = new[-1]
            drawn = visible(self.tokenizer.decode([token]))
            title = f"Token {len(new)}: drew {drawn} ({probs[token]:.1%})"
            self.bars.value = bars_html(title, probs, self.tokenizer, token)
            self._say(f"{count(len(new))} so far")

    def _say(self, sentence):
        self.status.value = html.escape(sentence)


def slider(description, value, low, high, step=1):
    """Return a slider: of integers if step is 1, of decimals if not."""
    kind = widgets.IntSlider if step == 1 else widgets.FloatSlider
    return kind(
        value, min=low, max=high, step=step, description=description, **WIDE
    )


def run_in_thread(task, *args):
    """Run a task in a thread, or right here where threads do not work."""
    if "google.colab" in sys.modules:  # shows nothing that a thread sends
        return task(*args)
    try:
        threading.Thread(target=task, args=args, daemon=True).start()
    except RuntimeError:  # Pyodide has no threads
        task(*args)


def count(n):
    """Say how many tokens."""
    return f"{n} token" if n == 1 else f"{n} tokens"


def visible(text):
    """Return text with its spaces, newlines and odd characters visible."""
    return repr(text)[1:-1].replace(" ", "␣")


def story_html(prompt, text):
    """Return the story with its prompt marked."""
    prompt, text = html.escape(prompt), html.escape(text)
    return f'<div class="story"><b>{prompt}</b>{text}</div>'


def bars_html(title, probs, tokenizer, drawn=None):
    """Return up to N_BARS likely tokens as bars; mark the one drawn."""
    bars = [f"<p>{html.escape(title)}</p>"]
    for i in np.argsort(-probs, kind="stable")[:N_BARS]:
        if probs[i] > 0:
            token = html.escape(visible(tokenizer.decode([i])))
            mark = ' class="drawn"' if i == drawn else ""
            bars.append(
                f"<code{mark}>{token}</code>"
                f'<div{mark} style="width: {probs[i]:.1%}"></div>'
                f"<span>{probs[i]:.1%}</span>"
            )
    return f'<div class="bars">{"".join(bars)}</div>'
