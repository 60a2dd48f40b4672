"""Check the sampling panel by clicking its buttons, without a browser."""

import html
import threading
import time

import numpy as np
import pytest

from helpers import panel as panel_module
from helpers.generation import generate
from helpers.language_model import ModelConfig, init_params
from helpers.panel import bars_html, sampling_panel, visible
from helpers.tinystories import bpe_tokenizer, char_tokenizer

ALPHABET = "Once upon a time, the <b>cat</b> & dog.\n"
TOKENIZER = char_tokenizer(ALPHABET)
CONFIG = ModelConfig(
    TOKENIZER.vocab_size, 64, d_model=16, n_heads=2, n_layers=1, d_ff=32
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

    monkeypatch.setattr(panel_module, "sample_steps", slow_steps)


def run(panel, **values):
    """Set controls, press Generate, wait, return the new text."""
    for name, value in values.items():
        getattr(panel, name).value = value
    panel.generate.click()
    assert panel.wait(10)
    return panel.text


def expected(prompt, n_tokens, seed, **settings):
    """Return what generate writes with the same settings."""
    end = TOKENIZER.end_of_text
    ids = generate(
        [end, *TOKENIZER.encode(prompt)],
        PARAMS,
        CONFIG,
        n_tokens=n_tokens,
        rng=np.random.default_rng(seed),
        stop_id=end,
        **settings,
    )
    return TOKENIZER.decode(ids)


@pytest.mark.parametrize("temperature", [0, 0.8, 2])
@pytest.mark.parametrize("top_k", [0, 5])
def test_same_text_as_generate(panel, temperature, top_k):
    settings = {"temperature": temperature, "top_p": 0.9}
    text = run(panel, length=20, seed=3, top_k=top_k, **settings)
    settings["top_k"] = top_k or None
    assert text == expected("Once upon a time", 20, 3, **settings)
    assert "tokens per second" in panel.status.value
    assert not panel.running
    assert panel.stop.disabled and not panel.generate.disabled


def test_empty_prompt_starts_a_story(panel):
    text = run(panel, prompt="", length=10)
    assert text == expected("", 10, 0, temperature=0.8)


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

    monkeypatch.setattr(panel_module, "sample_steps", interrupt)
    monkeypatch.setattr(
        panel_module, "run_in_thread", lambda task, *args: task(*args)
    )
    with pytest.raises(KeyboardInterrupt):
        panel.generate.click()
    assert not panel.running and not panel.generate.disabled


def test_updates_are_few(panel):
    values, start = [], time.perf_counter()
    panel.story.observe(lambda change: values.append(change.new), "value")
    text = run(panel, length=40, temperature=0)
    seconds = time.perf_counter() - start
    assert len(values) <= seconds / panel_module.UPDATE_EVERY + 3
    assert values[-1].endswith(f"</b>{html.escape(text)}</div>")


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
    assert panel.status.value.startswith(sentence)


def test_story_may_end_by_itself(panel, monkeypatch):
    probs = np.eye(CONFIG.vocab_size)[4]
    steps = [(4, probs), (5, probs)]
    monkeypatch.setattr(
        panel_module, "sample_steps", lambda *_, **__: iter(steps)
    )
    run(panel)
    assert panel.status.value.startswith("the story ended after 2 tokens (")


def test_stop(panel, slow_model):
    panel.generate.click()
    time.sleep(0.2)
    assert panel.running and not panel.wait(0)
    start = time.perf_counter()
    panel.stop.click()
    assert panel.wait(5)
    assert time.perf_counter() - start < 1
    assert panel.status.value.startswith("stopped after ")
    assert panel.text


def test_second_click_is_ignored(panel, slow_model):
    before = threading.active_count()
    for _ in range(3):
        panel.generate.click()
    assert threading.active_count() == before + 1


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
    assert "<b>a cat</b>" in panel.story.value


def test_settings_are_those_of_the_click(panel, slow_model):
    panel.generate.click()
    panel.prompt.value = "the dog"
    time.sleep(0.1)
    assert "<b>Once upon a time</b>" in panel.story.value


def test_new_panel_stops_the_old_one(panel, slow_model):
    panel.generate.click()
    sampling_panel(PARAMS, CONFIG, TOKENIZER)
    assert panel.wait(1)
    assert panel.status.value.startswith("stopped after ")


def test_text_is_escaped(panel):
    run(panel, prompt="the <b>cat</b> &", length=30, temperature=2)
    assert "the &lt;b&gt;cat&lt;/b&gt; &amp;</b>" in panel.story.value
    assert "<code><" not in panel.bars.value


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("a" * 64, "a prompt of 65 tokens leaves no room"),
        ("a?", "character &#x27;?&#x27; is not in this vocabulary"),
    ],
)
def test_bad_prompt_is_one_sentence(panel, prompt, sentence):
    assert run(panel, prompt=prompt) == ""
    assert panel.status.value.startswith(sentence)
    assert panel.bars.value == ""
    run(panel, prompt="a cat")
    assert "tokens per second" in panel.status.value


def test_preview_follows_the_controls(panel):
    assert panel.bars.value.count("<code") == 10
    panel.top_k.value = 3
    assert panel.bars.value.count("<code") == 3
    panel.temperature.value = 0
    assert panel.bars.value.count("100.0%") == 2


def test_bars_mark_the_token_drawn():
    probs = np.array([0.1, 0.6, 0.3] + [0.0] * (CONFIG.vocab_size - 3))
    value = bars_html("title", probs, TOKENIZER, drawn=1)
    assert value.count("<code") == 3
    assert '<code class="drawn">␣</code>' in value
    assert "60.0%" in value and "\\n" in value


def test_spaces_are_visible():
    assert visible(" a\n") == "␣a\\n"


def test_bytes_that_are_not_text():
    tokenizer = bpe_tokenizer({bytes([i]): i for i in range(256)})
    config = ModelConfig(257, 64, d_model=16, n_heads=2, n_layers=1, d_ff=32)
    params = init_params(config, np.random.default_rng(0))
    panel = sampling_panel(params, config, tokenizer, prompt="Zoë")
    assert "�" in run(panel, length=30)
    assert "tokens per second" in panel.status.value


def test_plain_text(panel):
    bundle = panel._repr_mimebundle_()
    text = "SamplingPanel: open this notebook in JupyterLab to use it"
    assert bundle["text/plain"] == repr(panel) == text
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_tokenizer_must_fit_the_model():
    with pytest.raises(ValueError, match="the tokenizer has 4 tokens and"):
        sampling_panel(PARAMS, CONFIG, char_tokenizer("abc"))
