"""Play with a trained model: a prompt, some settings, the text as it comes.

Used in notebooks/07_generation.ipynb and, as a page, in panel.ipynb.
"""

import asyncio
import math
import re
import sys
import threading
import time
from functools import partial
from weakref import WeakSet

import ipywidgets as widgets
import numpy as np

from helpers.panel.writer import WIDE, Writer, slider
from helpers.runs.guards import check_tokenizer
from helpers.runs.speed import one_blas_thread

UPDATE_EVERY = 0.05  # seconds; a browser cannot keep up with every token
WRAP = {"flex_flow": "row wrap", "grid_gap": "4px 16px"}
GRID = "repeat(auto-fit, minmax(300px, 1fr))"
LARGEST_SEED = 2**31 - 1
PICKS = {"token": 1, "bar": 2, "head": 2, "stop": 0}  # and how many numbers

_panels = WeakSet()


def sampling_panel(
    params, config, tokenizer, prompt="Once upon a time", other=None
):
    """Return a panel that writes stories with the model.

    other: params, config and tokenizer of a model to compare it with, from
    the same seed. Stops the panels made before, as when a cell is run again.
    Raises ValueError if a tokenizer does not belong to its model.
    """
    models = [(params, config, tokenizer), *([other] if other else [])]
    for _, its_config, its_tokenizer in models:
        check_tokenizer(its_tokenizer, its_config)
    for panel in _panels:
        panel.stop.click()
    panel = SamplingPanel(*models[0], prompt, other)
    _panels.add(panel)
    return panel


class SamplingPanel(widgets.VBox):
    """Show controls and a story, or two with settings of their own.

    The controls are attributes, so a cell can use the panel as a hand does:
    panel.seed.value = 1; panel.generate.click(); panel.wait(); panel.text.
    """

    def __init__(self, params, config, tokenizer, prompt, other=None):
        model = params, config, tokenizer
        self.first = Writer(*model)
        self.second = Writer(*(other or model), " B", 0.8 if other else 1.2)
        self.running = False
        self._story = self._write([])  # each step writes a token
        # JupyterLab can run the callbacks of two controls side by side
        self._turn = threading.RLock()
        writers = self.first, self.second
        most = min(writer.config.max_seq_len for writer in writers)
        self._make_controls(prompt, most)
        self.compare.value = bool(other)
        super().__init__(self._rows(), layout={"max_width": "1000px"})
        self.add_class("story-panel")
        self._connect()
        self._compare()
        self._read()

    def __repr__(self):
        return "SamplingPanel: run this cell in JupyterLab to use it"

    @property
    def writers(self):
        """Return the writers at work: one, or two that are compared."""
        return [self.first, self.second][: 1 + self.compare.value]

    @property
    def text(self):
        """Return what the first writer wrote."""
        return self.first.text

    @property
    def status(self):
        """Return what the first writer says about its story."""
        return self.first.status

    def wait(self, timeout=None):
        """Write on, at most timeout seconds; return whether that is all."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while self._step() and time.monotonic() < end:
            pass
        return not self.running

    def _make_controls(self, prompt, most):
        self.temperature, self.top_k, self.top_p = self.first.controls
        self.prompt = widgets.Text(prompt, description="prompt", **WIDE)
        self.length = slider("length", min(200, most), 1, most)
        self.seed = widgets.BoundedIntText(
            0, min=0, max=LARGEST_SEED, description="seed", **WIDE
        )
        self.colour = widgets.Dropdown(
            options=["nothing", "surprise", "attention"],
            description="colour by",
            **WIDE,
        )
        self.generate = button("Generate", "play", button_style="primary")
        self.another = button("Another story", "refresh")
        self.go_on = button("Continue", "step-forward")
        self.stop = button("Stop", "stop", disabled=True)
        self.compare = widgets.Checkbox(
            description="compare two settings", indent=False
        )

    def _rows(self):
        others = [self.length, self.seed, self.colour]
        buttons = [self.generate, self.another, self.go_on, self.stop]
        return [
            self.prompt,
            *map(grid, (self.first.controls, self.second.controls, others)),
            widgets.HBox(
                [*buttons, self.compare],
                layout=WRAP | {"align_items": "center"},
            ),
            widgets.HBox([self.first.view, self.second.view], layout=WRAP),
        ]

    def _connect(self):
        self.generate.on_click(lambda _: self._start(again=True))
        self.another.on_click(self._start_another)
        self.go_on.on_click(lambda _: self._start(again=False))
        self.stop.on_click(lambda _: self._end())
        self.prompt.on_msg(self._entered)
        self.prompt.observe(self._read, "value")
        self.colour.observe(self._refresh, "value")
        self.compare.observe(self._compare, "value")
        for writer in (self.first, self.second):
            writer.view.on_msg(partial(self._picked, writer))
            for control in writer.controls:
                control.observe(self._refresh, "value")

    def _refresh(self, _=None):
        """Show what may follow, unless a story is being written."""
        with self._turn:
            if not self.running:
                for writer in self.writers:
                    writer.attempt(writer.look)
                self._show()

    def _compare(self, _=None):
        """Show the second writer and its settings, or hide them."""
        display = None if self.compare.value else "none"
        for widget in (*self.second.controls, self.second.view):
            widget.layout.display = display
        mark = self.add_class if self.compare.value else self.remove_class
        mark("compared")
        self._refresh()

    def _read(self, _=None):
        """Take a new prompt; a story on its way starts over."""
        with self._turn:
            if self.running:
                return self._start(again=True)
            for writer in (self.first, self.second):
                writer.attempt(writer.read, self.prompt.value)
            self._refresh()

    def _entered(self, _, message, __):
        """Generate when Enter is pressed in the prompt."""
        if message.get("event") == "submit":
            self.generate.click()

    def _picked(self, writer, _, message, __):
        """Do what the reader picked in the view of a writer, if it can be."""
        kind, numbers = read_pick(message)
        with self._turn:
            if kind in ("stop", "token", "bar"):
                self._end()
            if kind in ("head", "token", "bar"):
                pick = getattr(writer, f"pick_{kind}")
                writer.attempt(pick, *numbers)
                self._refresh()

    def _start(self, again):
        """Write behind the prompt, or go on; with the settings of now."""
        with self._turn:
            self._end()
            begin = partial(self._begin, again=again)
            ready = [w for w in self.writers if w.attempt(begin, w)]
            self._story = self._write(ready)
            next(self._story, None)  # begun, so that closing it ends it
        self._write_on()

    def _begin(self, writer, again):
        """Get a writer ready to write behind the prompt, or to go on."""
        rng = np.random.default_rng(self.seed.value)
        settings, n_tokens = writer.settings(), self.length.value
        prompt = self.prompt.value
        return writer.begin(settings, prompt, again, n_tokens, rng)

    def _start_another(self, _):
        """Write another story: the one of the next seed."""
        self.seed.value = (self.seed.value + 1) % LARGEST_SEED
        self._start(again=True)

    def _end(self):
        """End the story that is being written, if there is one."""
        with self._turn:
            self._story.close()

    def _step(self):
        """Write a token; return whether another may follow."""
        with self._turn, one_blas_thread():  # two get in each other's way
            next(self._story, None)
            return self.running

    def _write_on(self):
        """Let the loop of the kernel write, or write now where there is none.

        Between two tokens the loop answers the reader, also in a browser,
        where there are no threads.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is None or "google.colab" in sys.modules:
            self.wait()  # Colab shows nothing that comes later
        else:
            self._task = loop.create_task(self._keep_writing(self._story))

    async def _keep_writing(self, story):
        """Write a story to its end, and let others work after each token."""
        while story is self._story and self._step():
            await asyncio.sleep(0)

    def _write(self, writers):
        """Let each write a token in turn, and yield, until all have ended."""
        self.running, self.stop.disabled, due = True, False, 0
        try:
            while writers:
                yield
                writers = [w for w in writers if w.attempt(w.step)]
                if (began := time.perf_counter()) >= due:
                    self._show()
                    now = time.perf_counter()
                    due = now + max(UPDATE_EVERY, 3 * (now - began))
        finally:
            for writer in writers:
                writer.end("stopped after")
            self.running, self.stop.disabled = False, True
            self._show()

    def _show(self):
        for writer in self.writers:
            writer.show(self.colour.value, self.running)


def read_pick(message):
    """Return the kind and the numbers that were picked; None, [] if odd."""
    text = message.get("pick") if isinstance(message, dict) else None
    kind, *numbers = f"{text}".split() or [""]
    if PICKS.get(kind) != len(numbers):
        return None, []
    if not all(re.fullmatch("[0-9]{1,9}", number) for number in numbers):
        return None, []
    return kind, [int(number) for number in numbers]


def grid(controls):
    """Return controls side by side, as many as there is room for."""
    return widgets.GridBox(
        controls, layout={"grid_template_columns": GRID, "width": "auto"}
    )


def button(description, icon, **options):
    """Return a button."""
    return widgets.Button(description=description, icon=icon, **options)
