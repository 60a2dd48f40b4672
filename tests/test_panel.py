"""Check the sampling panel by clicking its buttons, without a browser.

What only a browser can show is in test_browser.py.
"""

import asyncio
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from helpers.generation import (
    KVCache,
    generate,
    next_logits,
    next_token_probs,
)
from helpers.language_model import (
    ModelConfig,
    init_params,
    language_model,
)
from helpers.panel import knobs, sampling_panel, writer
from helpers.panel.looks import (
    attention_marks,
    bars_html,
    heads_html,
    inked,
    strip_svg,
    token_texts,
    visible,
)
from helpers.runs.params import attention_weights, map_arrays
from helpers.runs.scoring import token_nats
from helpers.tinystories import bpe_tokenizer, char_tokenizer

ALPHABET = "Once upon a time, the <b>cat</b> & dog.\n"
TOKENIZER = char_tokenizer(ALPHABET)
CONFIG = ModelConfig(
    vocab_size=TOKENIZER.vocab_size,
    max_seq_len=64,
    d_model=16,
    n_heads=2,
    n_layers=1,
    d_ff=32,
)
PARAMS = init_params(CONFIG, np.random.default_rng(0))


@pytest.fixture
def panel():
    panel = sampling_panel(PARAMS, CONFIG, TOKENIZER)
    yield panel
    panel.stop.click()
    assert panel.wait(10)


@pytest.fixture
def in_loop():
    """Call as a kernel does: in an event loop, on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def in_loop(function, *args):
        async def call():
            function(*args)

        asyncio.run_coroutine_threadsafe(call(), loop).result(10)

    yield in_loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def ends(panel):
    """Wait for the end of a story that a loop writes; say if it came."""
    patience = time.monotonic() + 10
    while panel.running and time.monotonic() < patience:
        time.sleep(0.01)
    return not panel.running


@pytest.fixture
def slow_model(monkeypatch):
    """Let every token take 20 ms and the story not end by itself."""

    def slow_token(logits, ids, rng, **settings):
        time.sleep(0.02)
        return 0, np.eye(len(logits))[0]

    monkeypatch.setattr(writer, "next_token", slow_token)


def say_end_after(monkeypatch, length_of):
    """Let a story at a temperature end after so many tokens."""

    def token(logits, ids, rng, temperature, **settings):
        n = len(ids) - len("Once upon a time") - 1
        last = n == length_of(temperature)
        return TOKENIZER.end_of_text if last else 4, np.eye(len(logits))[4]

    monkeypatch.setattr(writer, "next_token", token)


class Reader(HTMLParser):
    """Read a view: its text by list, and the attributes of what is picked."""

    def __init__(self, panel, writer=0):
        super().__init__()
        self.lists, self.picks, self.tags = {}, {}, set()
        self._list = self._pick = None
        view = panel.writers[writer].view
        self.feed(view.story + view.note + view.bars + view.heads)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self._list = attributes.get("data-list", self._list)
        if "data-pick" in attributes:
            self._pick = attributes["data-pick"]
            self.picks[self._pick] = attributes

    def handle_data(self, text):
        self.lists[self._list] = self.lists.get(self._list, "") + text

    @property
    def story(self):
        return self.lists["story"].partition("▏")[0]

    def of(self, kind):
        return [pick for pick in self.picks if pick.startswith(kind)]

    def selected(self, kind):
        return [p for p in self.of(kind) if self.is_selected(p)]

    def is_selected(self, pick):
        return self.picks[pick]["aria-selected"] == "true"


def run(panel, **values):
    """Set controls, press Generate, wait, return the new text."""
    for name, value in values.items():
        getattr(panel, name).value = value
    panel.generate.click()
    assert panel.wait(10)
    return panel.text


def pick(panel, what, writer=0):
    """Do what the browser does when something is picked."""
    view = panel.writers[writer].view
    view._handle_custom_msg({"pick": what}, [])


def expected(prompt, n_tokens, seed, **settings):
    """Return what generate writes with the same settings."""
    return continued(TOKENIZER.encode(prompt), n_tokens, seed, **settings)


def continued(ids, n_tokens, seed, **settings):
    """Return what generate writes behind the ids of a text."""
    end = TOKENIZER.end_of_text
    ids = generate(
        [end, *ids],
        PARAMS,
        CONFIG,
        n_tokens=n_tokens,
        rng=np.random.default_rng(seed),
        stop_id=end,
        **settings,
    )
    return TOKENIZER.decode(ids)


# writing


@pytest.mark.parametrize("temperature", [0, 0.8, 2])
@pytest.mark.parametrize("top_k", [0, 5])
def test_same_text_as_generate(panel, temperature, top_k):
    settings = {"temperature": temperature, "top_p": 0.9}
    text = run(panel, length=20, seed=3, top_k=top_k, **settings)
    settings["top_k"] = top_k or None
    assert text == expected("Once upon a time", 20, 3, **settings)
    assert "tokens per second" in panel.status
    assert not panel.running and panel.stop.disabled


def test_empty_prompt_starts_a_story(panel):
    text = run(panel, prompt="", length=10)
    assert text == expected("", 10, 0, temperature=0.8)


def test_enter_in_the_prompt_generates(panel):
    panel.prompt._handle_custom_msg({"event": "submit"}, [])
    assert panel.wait(10) and panel.text


def test_a_loop_writes_the_same(panel, in_loop):
    text = run(panel)
    in_loop(panel.generate.click)
    assert ends(panel) and panel.text == text != ""


def test_a_press_in_a_cell_is_written_after_it(panel):
    async def cell():
        panel.generate.click()
        text = panel.text
        await asyncio.sleep(0.2)
        return text, panel.text

    before, after = asyncio.run(cell())
    assert before == "" and len(after) > 0


def test_colab_writes_at_once(panel, in_loop, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", asyncio)
    in_loop(panel.generate.click)
    assert not panel.running and "tokens per second" in panel.status


def test_interrupt(panel, monkeypatch):
    def interrupt(*args, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "next_token", interrupt)
    with pytest.raises(KeyboardInterrupt):
        panel.generate.click()
    assert not panel.running and panel.stop.disabled


def test_updates_are_few(panel):
    values, start = [], time.perf_counter()
    panel.first.view.observe(lambda c: values.append(c.new), "beat")
    text = run(panel, length=40, temperature=0)
    seconds = time.perf_counter() - start
    assert len(values) <= seconds / knobs.UPDATE_EVERY + 4
    assert Reader(panel).story == "Once upon a time" + text


@pytest.mark.parametrize(
    ("length", "temperature", "sentence"),
    [
        (1, 1, "reached the length of 1 token ("),
        (30, 0, "reached the length of 30 tokens ("),
        (64, 0, "there is no room for more after 47 tokens ("),
    ],
)
def test_status_says_why_it_ended(panel, length, temperature, sentence):
    run(panel, length=length, temperature=temperature)
    assert panel.status.startswith(sentence)
    assert panel.first.view.status.startswith(sentence)
    assert not panel.first.view.alarm and not panel.first.view.busy


def test_story_may_end_by_itself(panel, monkeypatch):
    say_end_after(monkeypatch, lambda temperature: 2)
    run(panel)
    assert panel.status.startswith("the story ended after 2 tokens (")


def test_stop(panel, in_loop, slow_model):
    in_loop(panel.generate.click)
    time.sleep(0.2)
    assert panel.running and not panel.wait(0) and not panel.stop.disabled
    start = time.perf_counter()
    in_loop(panel.stop.click)
    assert not panel.running
    assert time.perf_counter() - start < 1
    assert panel.status.startswith("stopped after ")
    assert panel.text


def test_stop_before_the_first_token(panel, slow_model):
    async def cell():
        panel.generate.click()
        panel.stop.click()
        await asyncio.sleep(0.1)

    asyncio.run(cell())
    assert not panel.running and panel.text == ""
    assert panel.status.startswith("stopped after 0 tokens")


def test_escape_stops(panel, in_loop, slow_model):
    in_loop(panel.generate.click)
    pick(panel, "stop")
    assert not panel.running
    assert panel.status.startswith("stopped after ")


def test_another_thread_stops_it(panel, in_loop, slow_model):
    """A cell runs on one thread of a kernel, a click may on another."""
    in_loop(panel.generate.click)
    time.sleep(0.1)
    panel.stop.click()
    assert not panel.running
    length = len(panel.text)
    time.sleep(0.1)
    assert len(panel.text) == length


def test_generate_again_starts_over(panel, in_loop, slow_model):
    before = threading.active_count()
    for _ in range(3):
        in_loop(panel.generate.click)
        time.sleep(0.1)
    assert panel.running and threading.active_count() == before
    assert len(panel.text) < 12  # 5 tokens of 20 ms each, not of three tasks


def test_click_during_a_preview_counts(panel, in_loop, slow_model):
    preview = threading.Thread(
        target=setattr, args=(panel.prompt, "value", "a cat")
    )
    preview.start()
    while panel.prompt.value != "a cat":  # the edit has arrived
        time.sleep(0.001)
    in_loop(panel.generate.click)
    preview.join()
    assert panel.running
    assert Reader(panel).story.startswith("a cat")


def test_settings_are_those_of_the_click(panel, in_loop):
    in_loop(panel.generate.click)
    panel.top_k.value = 1
    assert panel.wait(10)
    assert panel.text == expected("Once upon a time", 200, 0, temperature=0.8)


def test_new_prompt_starts_over(panel, in_loop, slow_model):
    """The last key may arrive after the Enter that followed it."""
    in_loop(panel.generate.click)
    in_loop(setattr, panel.prompt, "value", "the dog")
    assert panel.running
    panel.stop.click()
    assert Reader(panel).story.startswith("the dog")


def test_new_prompt_after_stop_waits_for_generate(panel, in_loop, slow_model):
    in_loop(panel.generate.click)
    panel.stop.click()
    panel.prompt.value = "the dog"
    assert not panel.running and panel.text == ""
    assert panel.status == "press Generate to write a story"


def test_new_panel_stops_the_old_one(panel, in_loop, slow_model):
    in_loop(panel.generate.click)
    sampling_panel(PARAMS, CONFIG, TOKENIZER)
    assert not panel.running
    assert panel.status.startswith("stopped after ")


# what is shown


def test_text_is_escaped(panel):
    prompt = "the <b>cat</b> &"
    run(panel, prompt=prompt, length=30, temperature=2)
    reader = Reader(panel)
    assert reader.story == prompt + panel.text
    assert reader.tags <= {"p", "div", "span", "code", "i", "b"}


def test_prompt_is_marked(panel):
    run(panel, prompt="a cat", length=5)
    picks = Reader(panel).picks
    marked = [
        "prompt" in picks[f"token {i}"].get("class", "") for i in range(1, 11)
    ]
    assert marked == 5 * [True] + 5 * [False]


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("a" * 63, "The prompt has 63 tokens and there is room for 62: "),
        ("a" * 10_000, "The prompt has 10,000 tokens and there is room for"),
        ("a?", "character '?' is not in this vocabulary"),
    ],
)
def test_bad_prompt_is_one_sentence(panel, prompt, sentence):
    for colour in ("nothing", "surprise", "attention"):
        panel.colour.value = colour
        assert run(panel, prompt=prompt) == ""
        assert panel.status.startswith(sentence)
        assert panel.first.view.alarm
        assert not Reader(panel).of("bar") and Reader(panel).story == ""
        panel.go_on.click()
        assert panel.wait(10) and panel.status.startswith(sentence)
        run(panel, prompt="a cat")
        assert "tokens per second" in panel.status


def test_preview_follows_the_controls(panel):
    assert len(Reader(panel).of("bar")) == 10
    panel.top_k.value = 3
    assert len(Reader(panel).of("bar")) == 3
    panel.temperature.value = 0
    assert panel.first.view.bars.count("100.0%") == 2
    assert panel.status == "press Generate to write a story"


def test_bars_keep_to_the_place_when_a_setting_moves(panel):
    run(panel, length=5, temperature=1)
    status, selected = panel.status, Reader(panel).selected("token")
    panel.temperature.value = 0
    assert Reader(panel).selected("token") == selected == ["token 21"]
    assert panel.status == status


def test_bars_mark_the_token_drawn():
    probs = np.array([0.1, 0.6, 0.3] + [0.0] * (CONFIG.vocab_size - 3))
    value = bars_html(7, probs, TOKENIZER, drawn=1)
    assert value.count("<code>") == 3
    chosen = re.search(r'data-pick="bar 7 1" aria-selected="true".*', value)
    assert "<code>␣</code>" in chosen[0] and "60.0%" in chosen[0]
    assert value.startswith("<p>Token 7: ␣ (60.0%)</p>") and "\\n" in value


def test_tab_stops_once_in_each_list(panel):
    panel.colour.value = "attention"
    run(panel, length=5)
    for kind in ("token", "bar", "head"):
        reader = Reader(panel)
        stops = [reader.picks[p]["tabindex"] for p in reader.of(kind)]
        assert sorted(stops) == ["-1"] * (len(stops) - 1) + ["0"]


def test_surprise_is_the_models_own(panel):
    run(panel, length=8, temperature=2, top_k=5, colour="surprise")
    ids = np.array([panel.first.ids])
    logits, _ = language_model(ids, PARAMS, CONFIG)
    picks = Reader(panel).picks
    for i in range(1, len(panel.first.ids)):
        p = next_token_probs(logits[0, i - 1])[ids[0, i]]
        assert picks[f"token {i}"]["title"] == f"{p:.1%}"
        level = sum(p < limit for limit in (0.2, 0.05, 0.01))
        assert picks[f"token {i}"]["data-level"] == str(level)


def weights_of(ids, params, config):
    """Return the weights (n_layers, H, T) of the last token, by one pass."""
    _, cache = language_model(np.array([ids]), params, config)
    return attention_weights(cache)[:, 0, :, -1]


def test_attention_is_that_of_the_step(panel):
    run(panel, prompt="the cat", length=8, colour="attention")
    pick(panel, "token 6")
    weights = weights_of(panel.first.ids[:6], PARAMS, CONFIG)
    for head in ((0, 0), (0, 1)):
        pick(panel, "head {} {}".format(*head))
        reader = Reader(panel)
        assert reader.selected("head") == ["head {} {}".format(*head)]
        titles = [reader.picks[f"token {i}"].get("title") for i in range(1, 8)]
        shown = [f"weight {w:.1%}" for w in weights[head][1:]]
        assert titles == [*shown, None, None]


@pytest.mark.parametrize("norm", ["pre", "post", "rms"])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rope"])
@pytest.mark.parametrize("bias, n_kv_heads", [(True, None), (False, 1)])
def test_last_attention_is_the_models(norm, positions, bias, n_kv_heads):
    config = ModelConfig(
        vocab_size=11,
        max_seq_len=8,
        d_model=12,
        n_heads=3,
        n_layers=2,
        d_ff=8,
        norm=norm,
        positions=positions,
        bias=bias,
        n_kv_heads=n_kv_heads,
    )
    rng = np.random.default_rng(0)
    params = init_params(config, rng, np.float64)
    params = map_arrays(lambda a: a + rng.normal(0, 0.3, a.shape), params)
    ids = [3, 1, 4, 1, 5]
    kv = KVCache(params, config)
    next_logits(np.array([[*ids, 9, 9]]), params, config, kv)
    for T in (5, 1, 3):
        weights = writer.last_attention(ids[:T], params, config, kv)
        expected = weights_of(ids[:T], params, config)
        np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_the_largest_weight_has_the_full_colour():
    marks = attention_marks(np.array([0.01, 0.04, 0.0]), 4)
    tints = [re.search(r"--tint: (\d+)%", mark) for mark in marks]
    assert [tint and tint[1] for tint in tints] == ["35", "70", "0", None]
    strip = strip_svg(np.array([0.01, 0.04, 0.0]))
    assert re.findall(r'd="([^"]*)" opacity="([^"]*)"', strip) == [
        ("M0 0h1", "0.5"),
        ("M1 0h1", "1.0"),
    ]


def test_attention_begins_with_a_sharp_head(panel):
    weights = np.zeros((2, 3, 4))
    weights[..., 0] = 1  # at rest
    weights[1, 2, 1], weights[0, 1, 3] = 0.2, 0.3
    assert writer.sharpest(weights) == (0, 1)
    assert writer.sharpest(np.ones((2, 3, 1))) == (0, 0)
    run(panel, length=8, colour="attention")
    ids = panel.first.ids[: panel.first.place]
    layer, h = writer.sharpest(weights_of(ids, PARAMS, CONFIG))
    assert Reader(panel).selected("head") == [f"head {layer} {h}"]


def test_no_mark_hangs_over_the_end_of_a_line():
    assert inked(" word") == " <b>word</b>"
    assert inked("<\n") == "<b>&lt;</b>\n"
    assert inked(" \n") == '<b class="gap"> \n</b>'


def test_plain_text(panel):
    bundle = panel._repr_mimebundle_()
    text = "SamplingPanel: run this cell in JupyterLab to use it"
    assert bundle["text/plain"] == repr(panel) == text
    assert "application/vnd.jupyter.widget-view+json" in bundle


# going back


def test_choose_another_token(panel):
    text = run(panel, length=20)
    pick(panel, "token 20")
    reader = Reader(panel)
    drawn = panel.first.ids[20]
    assert reader.selected("token") == ["token 20"]
    assert reader.selected("bar") == [f"bar 20 {drawn}"]
    other = next(p for p in reader.of("bar") if not reader.is_selected(p))
    token = int(other.split()[2])
    pick(panel, other)
    assert panel.text == text[:3] + TOKENIZER.decode([token])
    assert Reader(panel).selected("token") == ["token 21"]  # the cursor
    assert Reader(panel).selected("bar") == []
    before = panel.first.ids[1:]
    panel.go_on.click()
    assert panel.wait(10)
    more = continued(before, 20, 0, temperature=0.8)
    assert panel.text == text[:3] + TOKENIZER.decode([token]) + more


def test_bars_are_those_of_the_place(panel):
    run(panel, length=20, top_p=0.9)
    ids = panel.first.ids
    logits, _ = language_model(np.array([ids]), PARAMS, CONFIG)
    for place in (3, 17, 30, len(ids)):
        pick(panel, f"token {place}")
        probs = next_token_probs(logits[0, place - 1], 0.8, top_p=0.9)
        np.testing.assert_allclose(panel.first.probs, probs, atol=1e-5)


def test_continue_goes_on_behind_the_place(panel):
    text = run(panel, length=20)
    panel.go_on.click()
    assert panel.wait(10)
    assert panel.text.startswith(text) and len(panel.text) == 40
    pick(panel, "token 20")
    panel.go_on.click()
    assert panel.wait(10)
    assert panel.text.startswith(text[:4]) and len(panel.text) == 24


def test_go_back_into_the_prompt(panel):
    run(panel, length=5)
    pick(panel, "token 5")
    token = TOKENIZER.encode("a")[0]
    pick(panel, f"bar 5 {token}")
    assert panel.text == "a" and Reader(panel).story == "Oncea"
    pick(panel, "token 2")
    panel.go_on.click()
    assert panel.wait(10)
    assert Reader(panel).story.startswith("On") and len(panel.text) == 5


def test_picking_stops_the_writing(panel, in_loop, slow_model):
    in_loop(panel.generate.click)
    time.sleep(0.2)
    pick(panel, "token 3")
    assert not panel.running
    assert Reader(panel).selected("token") == ["token 3"]
    in_loop(panel.generate.click)
    pick(panel, "bar 17 0")
    assert not panel.running and panel.text == TOKENIZER.decode([0])


def test_a_full_text_can_be_changed(panel):
    run(panel, length=64, temperature=0)
    pick(panel, "token 64")
    assert "as long as this model can read" in panel.status
    panel.go_on.click()
    assert panel.wait(10) and panel.first.view.alarm
    assert "as long as this model can read" in panel.status
    pick(panel, "token 60")
    assert panel.status.startswith("pick a bar")
    assert Reader(panel).of("bar")


# two settings


def test_same_settings_same_text(panel):
    panel.compare.value = True
    panel.second.controls[0].value = panel.temperature.value
    text = run(panel, length=20)
    assert panel.second.text == text
    panel.second.controls[0].value = 2
    assert run(panel) == text != panel.second.text
    wanted = expected("Once upon a time", 20, 0, temperature=2)
    assert panel.second.text == wanted
    assert panel.second.status.startswith("reached the length of 20")


def test_second_is_hidden_until_wanted(panel):
    parts = [*panel.second.controls, panel.second.view]
    assert {part.layout.display for part in parts} == {"none"}
    run(panel, length=5)
    assert panel.second.text == ""
    panel.compare.value = True
    assert {part.layout.display for part in parts} == {None}
    assert Reader(panel, 1).story == "Once upon a time"
    assert len(Reader(panel, 1).of("bar")) == 10


def test_each_goes_back_by_itself(panel):
    panel.compare.value = True
    text = run(panel, length=10)
    pick(panel, "token 18", writer=1)
    pick(panel, "bar 18 3", writer=1)
    assert panel.text == text
    assert panel.second.text[1:] == TOKENIZER.decode([3])


def test_one_may_end_before_the_other(panel, monkeypatch):
    panel.compare.value = True
    say_end_after(monkeypatch, lambda t: 2 if t == 0.8 else 5)
    run(panel)
    assert panel.status.startswith("the story ended after 2 tokens")
    assert panel.second.status.startswith("the story ended after 5 tokens")


# nothing twice


@pytest.fixture
def calls(monkeypatch):
    """Count the calls of what costs time."""
    calls = Counter()

    def counted(name):
        function = getattr(writer, name)

        def call(*args):
            calls[name] += 1
            return function(*args)

        return call

    for name in ("next_logits", "last_attention", "token_nats"):
        monkeypatch.setattr(writer, name, counted(name))
    return calls


def test_nothing_is_computed_twice(panel, calls):
    run(panel, length=20, temperature=0)
    calls.clear()
    run(panel)
    assert calls == {"next_logits": 20}  # the prompt and 19 tokens
    panel.temperature.value = 1.5
    panel.top_k.value = 5
    panel.temperature.value = 0
    assert calls.total() == 20
    panel.colour.value = "surprise"
    panel.top_p.value = 0.5
    panel.go_on.click()
    assert panel.wait(10)
    assert calls == {"next_logits": 40, "token_nats": 1}
    panel.colour.value = "attention"
    panel.top_p.value = 0.9
    pick(panel, "head 0 1")
    pick(panel, "head 0 0")
    assert calls == {"next_logits": 40, "token_nats": 1, "last_attention": 1}
    pick(panel, "token 9")
    assert calls["next_logits"] == 41 and calls["last_attention"] == 2
    panel.colour.value = "nothing"
    pick(panel, "token 30")
    pick(panel, f"bar 30 {TOKENIZER.encode('a')[0]}")
    assert calls["next_logits"] <= 45


def test_a_place_far_back_reads_one_token(panel, monkeypatch):
    sizes = []

    def logits(ids, *model):
        sizes.append(ids.size)
        return next_logits(ids, *model)

    run(panel, length=40)
    monkeypatch.setattr(writer, "next_logits", logits)
    for place in (5, 40, 20):
        pick(panel, f"token {place}")
    assert sizes == [1, 1, 1]


def test_only_what_has_changed_is_sent(panel):
    run(panel, length=5, colour="attention")
    sent = []
    panel.first.view.observe(lambda change: sent.append(change.name))
    panel.temperature.value = 1.2
    assert sorted(sent) == ["bars", "beat"]
    sent.clear()
    pick(panel, f"head 0 {1 - panel.first.head[1]}")
    assert sorted(sent) == ["beat", "heads", "note", "story"]


def test_attention_of_a_long_text_is_small():
    """24 strips of 384 tokens were 150 kB."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.full(384, 0.02), size=(4, 6))
    assert len(heads_html(weights, ["x"] * 384, (0, 0))) < 40_000


def test_a_refresh_is_on_one_thread(panel, monkeypatch):
    """On a busy machine two threads take several times as long."""
    seen = []

    def nats(ids, params, config):
        pools = threadpoolctl.threadpool_info()
        seen.extend(p["num_threads"] for p in pools if p["user_api"] == "blas")
        return token_nats(ids, params, config)

    monkeypatch.setattr(writer, "token_nats", nats)
    with threadpoolctl.threadpool_limits(2, "blas"):
        panel.colour.value = "surprise"
    assert set(seen) <= {1}


def test_top_p_of_1_is_off(panel):
    """It would sort every token to keep them all."""
    assert panel.first.settings()["top_p"] is None
    panel.top_p.value = 0.95
    assert panel.first.settings()["top_p"] == 0.95


# what no hand can do


@pytest.mark.parametrize(
    "message",
    [
        *("head 99 99", "head 0 2", "token 99", "token 0", "bar 99 0"),
        *("bar 3 9999", "bar 3 -1", "token -1", "token 3 4", "head 1"),
        *("read Once", "text", "", " ", "token x", "token 1e1", "token ²"),
        *("bar 0 0", "begin", "token " + "9" * 400, 5, None, ["stop"]),
    ],
)
def test_a_forged_pick_changes_nothing(panel, message):
    run(panel, length=5, colour="attention")
    before = Reader(panel).lists, panel.text, panel.status
    pick(panel, message)
    panel.first.view._handle_custom_msg(message, [])
    panel.first.view._handle_custom_msg({}, [])
    assert (Reader(panel).lists, panel.text, panel.status) == before


def test_a_prompt_of_odd_characters_is_quick():
    """Each took the time of all before it: two minutes for 8,000."""
    prompt = "\ufffd" * 8000
    panel = sampling_panel(BYTE_PARAMS, BYTE_CONFIG, bpe_tokenizer(BYTES))
    began = time.perf_counter()
    panel.prompt.value = prompt
    assert panel.status.startswith("The prompt has 24,000 tokens")
    ids = bpe_tokenizer(BYTES).encode(prompt)
    assert "".join(token_texts(ids, bpe_tokenizer(BYTES))) == prompt
    assert time.perf_counter() - began < 5


# another story


def test_another_story_has_the_next_seed(panel):
    first = run(panel, length=20, seed=5, temperature=1)
    for seed in (6, 7):
        panel.another.click()
        assert panel.wait(10) and panel.seed.value == seed
        wanted = expected("Once upon a time", 20, seed, temperature=1)
        assert panel.text == wanted != first
    panel.seed.value = knobs.LARGEST_SEED
    panel.another.click()
    assert panel.wait(10) and panel.seed.value < 2


def test_busy_while_it_writes(panel, in_loop, slow_model):
    in_loop(panel.generate.click)
    time.sleep(0.2)
    assert panel.first.view.busy
    panel.stop.click()
    assert not panel.first.view.busy


# parts


@pytest.mark.parametrize(
    ("given", "kept"), [(0.93, 0.95), (0.777, 0.8), (0, 0.05), (7, 1)]
)
def test_decimals_stay_on_their_steps(panel, given, kept):
    panel.top_p.value = given
    assert panel.top_p.value == kept


SHARING = "aé€中😀".encode()  # every pair of bytes is a token
PAIRS = {SHARING[i : i + 2]: 256 + i for i in range(len(SHARING) - 1)}
BYTES = {bytes([i]): i for i in range(256)}
SHARER = bpe_tokenizer(BYTES | PAIRS)


@given(st.text("aé€中😀\n") | st.text() | st.text("�é"))
def test_texts_of_tokens_are_the_text(text):
    """Also where the bytes of a character lie in several tokens."""
    ids = SHARER.encode(text)
    texts = token_texts(ids, SHARER)
    assert len(texts) == len(ids) and "".join(texts) == text


def test_spaces_are_visible():
    assert visible(" a\n") == "␣a\\n"


BYTE_CONFIG = ModelConfig(
    vocab_size=257,
    max_seq_len=64,
    d_model=16,
    n_heads=2,
    n_layers=1,
    d_ff=32,
)
BYTE_PARAMS = init_params(BYTE_CONFIG, np.random.default_rng(0))


def test_bytes_that_are_not_text():
    tokenizer = bpe_tokenizer(BYTES)
    panel = sampling_panel(BYTE_PARAMS, BYTE_CONFIG, tokenizer, prompt="Zoë")
    assert "�" in run(panel, length=30)
    assert "tokens per second" in panel.status
    assert Reader(panel).story.startswith("Zoë")


def test_tokenizer_must_fit_the_model():
    with pytest.raises(ValueError, match="the tokenizer has 4 tokens and"):
        sampling_panel(PARAMS, CONFIG, char_tokenizer("abc"))


def test_two_models_write_from_one_seed():
    """Each as it writes alone, with a tokenizer of its own."""
    tokenizer = char_tokenizer(ALPHABET + "!?")
    config = replace(
        CONFIG,
        vocab_size=tokenizer.vocab_size,
        max_seq_len=CONFIG.max_seq_len + 3,
        norm="rms",
        activation="swiglu",
        positions="rope",
        n_kv_heads=1,
    )
    other = init_params(config, np.random.default_rng(3)), config, tokenizer
    settings = {"seed": 5, "length": 6}
    alone = []
    for model in ((PARAMS, CONFIG, TOKENIZER), other):
        panel = sampling_panel(*model)
        run(panel, **settings)
        alone.append(panel.text)
    panel = sampling_panel(PARAMS, CONFIG, TOKENIZER, other=other)
    assert panel.compare.value and panel.length.max == CONFIG.max_seq_len
    run(panel, **settings)
    assert [panel.first.text, panel.second.text] == alone
    assert panel.second.text.strip()
    with pytest.raises(ValueError, match="the model"):
        wrong = other[0], other[1], TOKENIZER
        sampling_panel(PARAMS, CONFIG, TOKENIZER, other=wrong)
