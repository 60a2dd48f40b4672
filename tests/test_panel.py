"""Check the sampling panel by clicking its buttons, without a browser.

What only a browser can show is in test_browser.py.
"""

import re
import threading
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.attention import causal_mask, linear, softmax
from helpers.generation import generate, next_token_probs
from helpers.language_model import (
    ModelConfig,
    embed,
    init_params,
    language_model,
)
from helpers.panel import knobs, sampling_panel, writer
from helpers.panel.looks import bars_html, token_texts, visible
from helpers.runs.params import map_arrays
from helpers.tinystories import bpe_tokenizer, char_tokenizer
from helpers.transformer_block import layer_norm, transformer_block

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
def slow_model(monkeypatch):
    """Let every token take 20 ms and the story never end."""

    def slow_steps(ids, params, config, n_tokens=200, **settings):
        probs = np.eye(config.vocab_size)[0]
        for _ in range(10_000):
            time.sleep(0.02)
            yield 0, probs

    monkeypatch.setattr(writer, "sample_steps", slow_steps)


class Reader(HTMLParser):
    """Read a view: its text by list, and the attributes of what is picked."""

    def __init__(self, panel, writer=0):
        super().__init__()
        self.lists, self.picks, self.tags = {}, {}, set()
        self._list = self._pick = None
        self.feed(panel.writers[writer].view.value)

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


def test_without_threads(panel, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    panel.generate.click()
    assert not panel.running
    text = panel.text
    monkeypatch.undo()
    assert text == run(panel) != ""


def test_interrupt_without_threads(panel, monkeypatch):
    def interrupt(*args, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "sample_steps", interrupt)
    monkeypatch.setattr(
        knobs, "run_in_thread", lambda task, *args: task(*args)
    )
    with pytest.raises(KeyboardInterrupt):
        panel.generate.click()
    assert not panel.running and panel.stop.disabled


def test_updates_are_few(panel):
    values, start = [], time.perf_counter()
    panel.first.view.observe(lambda c: values.append(c.new), "value")
    text = run(panel, length=40, temperature=0)
    seconds = time.perf_counter() - start
    assert len(values) <= seconds / knobs.UPDATE_EVERY + 4
    assert Reader(panel).story == "Once upon a time" + text


@pytest.mark.parametrize(
    ("length", "temperature", "sentence"),
    [
        (1, 1, "reached the length of 1 token ("),
        (30, 0, "reached the length of 30 tokens ("),
        (64, 0, "reached max_seq_len after 47 tokens ("),
    ],
)
def test_status_says_why_it_ended(panel, length, temperature, sentence):
    run(panel, length=length, temperature=temperature)
    assert panel.status.startswith(sentence)
    assert f"<p>{sentence}" in panel.first.view.value


def test_story_may_end_by_itself(panel, monkeypatch):
    probs = np.eye(CONFIG.vocab_size)[4]
    steps = [(4, probs), (5, probs)]
    monkeypatch.setattr(writer, "sample_steps", lambda *_, **__: iter(steps))
    run(panel)
    assert panel.status.startswith("the story ended after 2 tokens (")


def test_stop(panel, slow_model):
    panel.generate.click()
    time.sleep(0.2)
    assert panel.running and not panel.wait(0) and not panel.stop.disabled
    start = time.perf_counter()
    panel.stop.click()
    assert panel.wait(5)
    assert time.perf_counter() - start < 1
    assert panel.status.startswith("stopped after ")
    assert panel.text


def test_escape_stops(panel, slow_model):
    panel.generate.click()
    pick(panel, "stop")
    assert panel.wait(5)
    assert panel.status.startswith("stopped after ")


def test_generate_again_starts_over(panel, slow_model):
    before = threading.active_count()
    for _ in range(3):
        panel.generate.click()
        time.sleep(0.1)
    assert panel.running and threading.active_count() == before + 1


def test_click_during_a_preview_counts(panel, slow_model):
    preview = threading.Thread(
        target=setattr, args=(panel.prompt, "value", "a cat")
    )
    preview.start()
    while panel.prompt.value != "a cat":  # the edit has arrived
        time.sleep(0.001)
    panel.generate.click()
    preview.join()
    assert panel.running
    assert Reader(panel).story.startswith("a cat")


def test_settings_are_those_of_the_click(panel):
    panel.generate.click()
    panel.top_k.value = 1
    assert panel.wait(10)
    assert panel.text == expected("Once upon a time", 200, 0, temperature=0.8)


def test_new_prompt_starts_over(panel, slow_model):
    """The last key may arrive after the Enter that followed it."""
    panel.generate.click()
    panel.prompt.value = "the dog"
    assert panel.running
    panel.stop.click()
    assert panel.wait(5)
    assert Reader(panel).story.startswith("the dog")


def test_new_prompt_after_stop_waits_for_generate(panel, slow_model):
    panel.generate.click()
    panel.stop.click()
    panel.prompt.value = "the dog"
    assert not panel.running and panel.text == ""
    assert panel.status == "press Generate to write a story"


def test_new_panel_stops_the_old_one(panel, slow_model):
    panel.generate.click()
    sampling_panel(PARAMS, CONFIG, TOKENIZER)
    assert panel.wait(1)
    assert panel.status.startswith("stopped after ")


# what is shown


def test_text_is_escaped(panel):
    prompt = "the <b>cat</b> &"
    run(panel, prompt=prompt, length=30, temperature=2)
    reader = Reader(panel)
    assert reader.story == prompt + panel.text
    assert reader.tags <= {"p", "div", "span", "code", "i"}


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
        ("a" * 64, "a prompt of 65 tokens leaves no room"),
        ("a?", "character '?' is not in this vocabulary"),
    ],
)
def test_bad_prompt_is_one_sentence(panel, prompt, sentence):
    for colour in ("nothing", "surprise", "attention"):
        panel.colour.value = colour
        assert run(panel, prompt=prompt) == ""
        assert panel.status.startswith(sentence)
        assert not Reader(panel).of("bar")
        panel.go_on.click()
        assert panel.wait(10) and panel.status.startswith(sentence)
        run(panel, prompt="a cat")
        assert "tokens per second" in panel.status


def test_preview_follows_the_controls(panel):
    assert len(Reader(panel).of("bar")) == 10
    panel.top_k.value = 3
    assert len(Reader(panel).of("bar")) == 3
    panel.temperature.value = 0
    assert panel.first.view.value.count("100.0%") == 2
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


def test_attention_is_that_of_the_step(panel):
    run(panel, prompt="the cat", length=8, colour="attention")
    pick(panel, "token 6")
    weights = writer.last_attention(panel.first.ids[:6], PARAMS, CONFIG)
    assert weights.shape == (CONFIG.n_layers, CONFIG.n_heads, 6)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    for head in ((0, 0), (0, 1)):
        pick(panel, "head {} {}".format(*head))
        reader = Reader(panel)
        assert reader.selected("head") == ["head {} {}".format(*head)]
        titles = [reader.picks[f"token {i}"].get("title") for i in range(1, 8)]
        shown = [f"weight {w:.1%}" for w in weights[head][1:]]
        assert titles == [*shown, None, None]


def test_last_attention_is_softmax_of_queries_and_keys():
    sizes = {"d_model": 12, "n_heads": 3, "n_layers": 2, "d_ff": 8}
    config = ModelConfig(vocab_size=11, max_seq_len=8, **sizes)
    rng = np.random.default_rng(0)
    params = init_params(config, rng, np.float64)
    params = map_arrays(lambda a: a + rng.normal(0, 0.3, a.shape), params)
    ids = [3, 1, 4, 1, 5]
    weights = writer.last_attention(ids, params, config)
    x, _ = embed(np.array([ids]), params, config)
    for rows, block in zip(weights, params["blocks"]):
        h, _ = layer_norm(x, **block["norm1"])
        qkv, _ = linear(h, **block["attention"]["qkv"])
        q, k, _ = np.split(qkv[0], 3, -1)  # (T, C)
        for row, part in zip(rows, np.split(np.arange(12), 3)):
            scores = k[:, part] @ q[-1, part] / np.sqrt(4)
            np.testing.assert_allclose(row, softmax(scores)[0])
        x, _ = transformer_block(x, block, config, causal_mask(len(ids)))


def test_plain_text(panel):
    bundle = panel._repr_mimebundle_()
    text = "SamplingPanel: open this notebook in JupyterLab to use it"
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


def test_picking_stops_the_writing(panel, slow_model):
    panel.generate.click()
    time.sleep(0.2)
    pick(panel, "token 3")
    assert not panel.running
    assert Reader(panel).selected("token") == ["token 3"]
    panel.generate.click()
    pick(panel, "bar 17 0")
    assert not panel.running and panel.text == TOKENIZER.decode([0])


def test_a_full_text_can_be_changed(panel):
    run(panel, length=64, temperature=0)
    pick(panel, "token 64")
    assert "leaves no room" in panel.status
    panel.go_on.click()
    assert panel.wait(10) and "leaves no room" in panel.status
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
    probs = np.eye(CONFIG.vocab_size)[4]

    def steps(ids, params, config, temperature, **settings):
        yield from [(4, probs)] * (2 if temperature == 0.8 else 5)

    monkeypatch.setattr(writer, "sample_steps", steps)
    run(panel)
    assert panel.status.startswith("the story ended after 2 tokens")
    assert panel.second.status.startswith("the story ended after 5 tokens")


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


@given(st.text("aé€中😀\n") | st.text())
def test_texts_of_tokens_are_the_text(text):
    """Also where the bytes of a character lie in several tokens."""
    ids = SHARER.encode(text)
    texts = token_texts(ids, SHARER)
    assert len(texts) == len(ids) and "".join(texts) == text


def test_spaces_are_visible():
    assert visible(" a\n") == "␣a\\n"


def test_bytes_that_are_not_text():
    tokenizer = bpe_tokenizer(BYTES)
    config = ModelConfig(
        vocab_size=257,
        max_seq_len=64,
        d_model=16,
        n_heads=2,
        n_layers=1,
        d_ff=32,
    )
    params = init_params(config, np.random.default_rng(0))
    panel = sampling_panel(params, config, tokenizer, prompt="Zoë")
    assert "�" in run(panel, length=30)
    assert "tokens per second" in panel.status
    assert Reader(panel).story.startswith("Zoë")


def test_tokenizer_must_fit_the_model():
    with pytest.raises(ValueError, match="the tokenizer has 4 tokens and"):
        sampling_panel(PARAMS, CONFIG, char_tokenizer("abc"))
