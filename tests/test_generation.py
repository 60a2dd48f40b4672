"""Generation draws from the distribution it says, and the cache is exact.

Filters against plain references and, for any logits, against their defining
properties; cached logits equal those of the whole sequence at every
position; a batch equals its rows one by one; beam search with enough beams
is exhaustive search.
"""

import itertools
import warnings
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pairwise
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import helpers
from helpers import generation
from helpers.generation import (
    KVCache,
    beam_search,
    draw,
    generate,
    generate_batch,
    next_logits,
    next_token_probs,
    penalise_repeats,
    stream,
)
from helpers.language_model import (
    ModelConfig,
    init_params,
    language_model,
    log_softmax,
)
from helpers.runs.checkpoints import save_run
from helpers.runs.params import map_arrays
from helpers.stories.grammar import tell_stories
from helpers.tinystories import bpe_tokenizer, train_bpe
from helpers.training import TrainSettings, start_run

CONFIGS = {
    f"{norm}-{positions}": ModelConfig(
        vocab_size=11,
        max_seq_len=10,
        d_model=12,
        n_heads=3,
        n_layers=2,
        d_ff=7,
        norm=norm,
        positions=positions,
        tied_head=positions == "learned",
    )
    for norm in ("pre", "post")
    for positions in ("learned", "sinusoidal")
}
CONFIGS |= {  # what appendix A4 adds, among all the rest
    name: replace(config, max_seq_len=10, dropout=0.0)
    for name, config in pairwise.CONFIGS.items()
    if config.norm == "rms" or config.attention != "full"
    if not name.startswith("1x1")
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def model(name, seed=8):
    """A model with large random weights that does not only repeat itself."""
    rng = np.random.default_rng(seed)
    params = init_params(CONFIGS[name], rng, np.float64)
    params = map_arrays(lambda a: a + rng.normal(0, 0.4, a.shape), params)
    return params, CONFIGS[name]


def softmax(logits):
    weights = np.exp(np.asarray(logits, float) - np.max(logits))
    return weights / weights.sum()


# --- filters ---

any_logits = arrays.arrays(
    np.float64, st.integers(1, 12), elements=st.floats(-50, 50)
)
tied_logits = arrays.arrays(
    np.float64, st.integers(1, 12), elements=st.sampled_from([-1.0, 0.0, 2.0])
)
temperatures = st.just(0.0) | st.floats(1e-300, 1e3)
settings = st.fixed_dictionaries(
    {"temperature": temperatures},
    optional={
        "top_k": st.integers(1, 15),
        "top_p": st.floats(1e-3, 1),
        "min_p": st.floats(0, 1),
    },
)


@given(any_logits | tied_logits, settings)
def test_probabilities_are_probabilities(logits, settings):
    probs = next_token_probs(logits, **settings)
    assert probs.shape == logits.shape and probs.dtype == np.float64
    assert (probs >= 0).all()
    assert probs.sum() == pytest.approx(1, abs=1e-12)
    assert probs[logits.argmax()] == probs.max() > 0


@given(any_logits | tied_logits, settings)
def test_a_filter_only_takes_away(logits, settings):
    """Never adds a token, and keeps the proportions of what it leaves."""
    temperature = settings.pop("temperature")
    plain = next_token_probs(logits, temperature)
    probs = next_token_probs(logits, temperature, **settings)
    kept = probs > 0
    assert (plain[kept] > 0).all()
    expected = np.where(kept, plain, 0) / plain[kept].sum()
    np.testing.assert_allclose(probs, expected, atol=1e-12)


@given(any_logits | tied_logits, st.integers(1, 11), st.floats(0.01, 0.99))
def test_support_shrinks_with_the_setting(logits, k, p):
    def support(**settings):
        return set(np.flatnonzero(next_token_probs(logits, **settings)))

    assert support(top_k=k) <= support(top_k=k + 1)
    assert len(support(top_k=k)) <= k
    assert support(top_p=p * 0.9) <= support(top_p=p)
    assert support(min_p=p) <= support(min_p=p * 0.9)
    assert support(top_k=k, top_p=p) <= support(top_k=k)
    assert support(top_k=k, min_p=p) <= support(min_p=p)


@given(any_logits, st.floats(0.01, 100))
def test_temperature_divides_logits(logits, temperature):
    probs = next_token_probs(logits, temperature)
    np.testing.assert_allclose(
        probs, softmax(logits / temperature), atol=1e-12
    )


LOGITS = np.log([0.1, 0.4, 0.05, 0.25, 0.2])


@pytest.mark.parametrize(
    "settings, kept",
    [
        ({"top_k": 1}, [1]),
        ({"top_k": 3}, [1, 3, 4]),
        ({"top_k": 99}, [0, 1, 2, 3, 4]),
        ({"top_p": 0.01}, [1]),
        ({"top_p": 0.39}, [1]),
        ({"top_p": 0.41}, [1, 3]),  # 3 crosses p, and stays
        ({"top_p": 0.64}, [1, 3]),
        ({"top_p": 0.66}, [1, 3, 4]),
        ({"top_p": 1.0}, [0, 1, 2, 3, 4]),
        ({"min_p": 0.0}, [0, 1, 2, 3, 4]),
        ({"min_p": 0.49}, [1, 3, 4]),
        ({"min_p": 0.51}, [1, 3]),
        ({"min_p": 1.0}, [1]),
        ({"top_k": 2, "top_p": 0.6}, [1]),  # of what top_k left
        ({"top_k": 2, "top_p": 0.63}, [1, 3]),
        ({"top_p": 0.8, "min_p": 0.51}, [1, 3]),
        ({"temperature": 2.0, "min_p": 0.49}, [0, 1, 3, 4]),
    ],
)
def test_filters_by_hand(settings, kept):
    probs = next_token_probs(LOGITS, **settings)
    assert list(np.flatnonzero(probs)) == kept
    heated = softmax(LOGITS / settings.get("temperature", 1.0))
    expected = heated[kept] / heated[kept].sum()
    np.testing.assert_allclose(probs[kept], expected, rtol=1e-12)


@pytest.mark.parametrize(
    "settings, kept",
    [
        ({"top_k": 1}, [1]),
        ({"top_k": 2}, [1, 2]),
        ({"top_k": 4}, [0, 1, 2, 4]),
        ({"top_p": 0.2}, [1]),
        ({"temperature": 0}, [1]),
        ({"min_p": 1.0}, [1, 2, 4]),
        ({"temperature": 1e-6}, [1, 2, 4]),
    ],
)
def test_among_equals_the_smaller_ids_stay(settings, kept):
    logits = np.array([0.0, 3.0, 3.0, 0.0, 3.0])
    assert list(np.flatnonzero(next_token_probs(logits, **settings))) == kept


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-308, 5e-324])
def test_tiny_temperature_is_greedy_without_a_warning(temperature):
    logits = np.array([-500.0, 10.0, 800.0, 799.0], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probs = next_token_probs(logits, temperature)
    assert list(probs) == [0, 0, 1, 0]


def test_temperature_zero_ignores_filters():
    probs = next_token_probs(LOGITS, 0, top_k=3, top_p=0.9, min_p=0.1)
    assert list(probs) == [0, 1, 0, 0, 0]


def test_forbidden_tokens_stay_forbidden():
    logits = np.array([0.0, -np.inf, 1.0])
    for temperature in (0, 0.5, 5):
        assert next_token_probs(logits, temperature)[1] == 0


def test_top_k_may_be_a_whole_float():
    """A slider sends 2.0."""
    probs = next_token_probs(LOGITS, top_k=2.0)
    assert list(np.flatnonzero(probs)) == [1, 3]


@given(
    any_logits,
    st.lists(st.integers(0, 11), min_size=1),
    st.floats(0.1, 10),
)
def test_penalty_equals_formula(logits, ids, penalty):
    ids = [i % len(logits) for i in ids]
    before = logits.copy()
    got = penalise_repeats(logits, ids, penalty)
    for i, (old, new) in enumerate(zip(before, got)):
        if i not in ids:
            assert new == old
        else:
            assert new == (old / penalty if old > 0 else old * penalty)
    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize("ids", [[], (), np.array([], dtype=np.int64)])
def test_penalty_before_the_first_token(ids):
    np.testing.assert_array_equal(penalise_repeats(LOGITS, ids, 2.0), LOGITS)


def test_draw_follows_the_probabilities():
    probs = np.array([0.0, 0.5, 0.0, 0.2, 0.3, 0.0])
    rng = np.random.default_rng(0)
    counts = np.bincount([draw(probs, rng) for _ in range(4000)], minlength=6)
    assert counts[probs == 0].sum() == 0
    np.testing.assert_allclose(counts / 4000, probs, atol=0.03)


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
def test_draw_at_the_edges(number):
    class Rng:
        def random(self):
            return number

    probs = np.array([0.0, 0.3, 0.7 - 1e-16, 0.0])
    assert draw(probs, Rng()) == (1 if number == 0 else 2)


# --- the cache ---


def whole_logits(ids, params, config):
    return language_model(np.asarray(ids), params, config)[0]


@every_config
@pytest.mark.parametrize("B", [1, 3])
def test_cached_logits_equal_uncached_at_every_position(name, B):
    params, config = model(name)
    ids = np.random.default_rng(1).integers(0, 11, (B, 10))
    expected = whole_logits(ids, params, config)
    kv = KVCache(params, config, B)
    for t in range(10):
        got = next_logits(ids[:, t : t + 1], params, config, kv)
        np.testing.assert_allclose(got, expected[:, t], rtol=0, atol=1e-10)
    assert kv.length == 10


@every_config
@pytest.mark.parametrize("sizes", [[10], [3, 7], [1, 4, 1, 4], [9, 1]])
def test_prefill_in_chunks_equals_at_once(name, sizes):
    params, config = model(name)
    ids = np.random.default_rng(2).integers(0, 11, (2, 10))
    at_once = KVCache(params, config, 2)
    next_logits(ids, params, config, at_once)
    expected = whole_logits(ids, params, config)
    kv, start = KVCache(params, config, 2), 0
    for size in sizes:
        chunk = ids[:, start : start + size]
        start += size
        got = next_logits(chunk, params, config, kv)
        np.testing.assert_allclose(got, expected[:, start - 1], atol=1e-10)
    np.testing.assert_allclose(kv.keys, at_once.keys, atol=1e-10)
    np.testing.assert_allclose(kv.values, at_once.values, atol=1e-10)


@every_config
def test_padding_changes_nothing(name):
    params, config = model(name)
    ids = np.random.default_rng(3).integers(0, 11, (3, 8))
    padding = np.array([0, 2, 5])
    kv = KVCache(params, config, 3, padding=padding)
    got = [next_logits(ids[:, :6], params, config, kv)]
    got += [next_logits(ids[:, t : t + 1], params, config, kv) for t in (6, 7)]
    for row, pad in enumerate(padding):
        expected = whole_logits(ids[row : row + 1, pad:], params, config)[0]
        for i in range(3):
            np.testing.assert_allclose(
                got[i][row], expected[i - 3], atol=1e-10
            )


# --- streaming and batches ---

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [3, 3]]


@every_config
def test_greedy_equals_arg_max_of_the_whole_model(name):
    params, config = model(name)
    ids = [1, 2, 3]
    for _ in range(7):
        logits = whole_logits([ids], params, config)[0, -1]
        ids.append(int(logits.argmax()))
    assert generate([1, 2, 3], params, config, temperature=0) == ids[3:]


@every_config
def test_greedy_batch_equals_rows(name):
    params, config = model(name)
    settings = {"n_tokens": 4, "temperature": 0}
    rows = [generate(p, params, config, **settings) for p in PROMPTS]
    assert generate_batch(PROMPTS, params, config, **settings) == rows
    assert len({tuple(row) for row in rows}) > 1


@every_config
def test_sampled_row_does_not_depend_on_neighbours(name):
    params, config = model(name)

    def sample(prompts):
        rng = np.random.default_rng(5)
        return generate_batch(prompts, params, config, n_tokens=4, rng=rng)

    rows = sample(PROMPTS)
    assert sample(PROMPTS[:1])[0] == rows[0]
    assert sample([PROMPTS[0], [8, 8, 8, 8]])[0] == rows[0]
    assert sample([[2], PROMPTS[1], [9] * 6])[1] == rows[1]
    assert sample([[2], [2]])[0] != sample([[2], [2]])[1]


@every_config
def test_same_seed_same_text(name):
    params, config = model(name)

    def sample(seed):
        rng = np.random.default_rng(seed)
        return generate([1], params, config, n_tokens=8, rng=rng, top_k=5)

    assert sample(0) == sample(0)
    assert len({tuple(sample(seed)) for seed in range(8)}) > 1


@every_config
def test_penalised_batch_equals_rows(name):
    params, config = model(name)
    settings = {"n_tokens": 4, "temperature": 0, "repetition_penalty": 50.0}
    rows = [generate(p, params, config, **settings) for p in PROMPTS]
    assert generate_batch(PROMPTS, params, config, **settings) == rows
    plain = generate_batch(PROMPTS, params, config, 4, temperature=0)
    assert rows != plain


def test_penalty_in_a_batch_sees_a_row_and_not_its_padding(monkeypatch):
    """Padding has id 0, which is the favourite until a row has written it."""
    favourites = np.array([2.0, 1.5, 0.7, 0.6] + [0.0] * 7)
    monkeypatch.setattr(
        generation,
        "next_logits",
        lambda ids, *rest: np.tile(favourites, (len(ids), 1)),
    )
    params, config = model("pre-learned")
    settings = {"n_tokens": 3, "temperature": 0, "repetition_penalty": 2.0}
    rows = generate_batch([[5, 5, 5], [5], [1, 0]], params, config, **settings)
    assert rows == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_samples_follow_the_model():
    """First tokens of 2,000 rows against the model's probabilities."""
    params, config = model("pre-learned")
    rng = np.random.default_rng(0)
    rows = generate_batch([[4]] * 2000, params, config, n_tokens=1, rng=rng)
    counts = np.bincount(np.ravel(rows), minlength=11) / 2000
    expected = softmax(whole_logits([[4]], params, config)[0, -1])
    np.testing.assert_allclose(counts, expected, atol=0.04)


def test_penalty_in_generation_sees_prompt_and_output():
    params, config = model("pre-learned")
    settings = {"temperature": 0, "repetition_penalty": 1e6}
    params["token_embedding"]["weight"] += 3  # a bias to repeat itself
    ids = [1, 2] + generate([1, 2], params, config, **settings)
    expected = [1, 2]
    for _ in range(8):
        logits = whole_logits([expected], params, config)[0, -1]
        for i in set(expected):
            logits[i] *= 1e-6 if logits[i] > 0 else 1e6
        expected.append(int(logits.argmax()))
    assert ids == expected


@pytest.mark.parametrize("length", [1, 5, 9])
def test_ends_when_max_seq_len_is_reached(length):
    params, config = model("pre-learned")
    prompt = [1] * length
    assert len(generate(prompt, params, config)) == 10 - length
    assert len(generate(prompt, params, config, n_tokens=3)) <= 3
    rows = generate_batch([prompt, [2]], params, config)
    assert len(rows[0]) == 10 - length
    assert generate(prompt, params, config, n_tokens=0) == []


def test_stop_id_ends_and_is_not_part_of_the_text():
    params, config = model("pre-learned")
    settings = {"temperature": 0, "n_tokens": 4}
    rows = generate_batch(PROMPTS, params, config, **settings)
    stop = rows[0][2]
    expected = [row[: row.index(stop)] if stop in row else row for row in rows]
    settings["stop_id"] = stop
    assert generate_batch(PROMPTS, params, config, **settings) == expected
    for prompt, row in zip(PROMPTS, expected):
        assert generate(prompt, params, config, **settings) == row
    assert len({len(row) for row in expected}) > 2


def test_stream_yields_before_it_is_done(monkeypatch):
    params, config = model("pre-learned")
    calls = []

    def spy(*args):
        calls.append(1)
        return next_logits(*args)

    monkeypatch.setattr(generation, "next_logits", spy)
    tokens = stream([1], params, config, temperature=0)
    first = next(tokens)
    assert len(calls) == 1
    assert [first, *tokens] == generate([1], params, config, temperature=0)


WRITERS = {
    "sample_steps": generation.sample_steps,
    "stream": stream,
    "generate": generate,
    "generate_batch": generate_batch,
}
every_writer = pytest.mark.parametrize("name", WRITERS)


@every_writer
def test_a_misspelt_setting_is_named_at_the_call(name):
    params, config = model("pre-learned")
    expected = (
        f"{name} has no setting 'temprature'; it takes n_tokens, rng, "
        "stop_id, repetition_penalty, temperature, top_k, top_p, min_p"
    )
    prompts = [[1, 2]] if name == "generate_batch" else [1, 2]
    with pytest.raises(ValueError) as caught:
        WRITERS[name](prompts, params, config, temprature=0.5)
    assert str(caught.value) == expected


@every_writer
@pytest.mark.parametrize(
    "settings",
    [
        {"n_tokens": -1},
        {"repetition_penalty": 0},
        {"temperature": -1},
        {"top_k": 0},
        {"top_p": 0},
        {"min_p": 2},
    ],
    ids=lambda settings: [*settings][0],
)
def test_a_setting_out_of_range_is_refused_at_the_call(name, settings):
    params, config = model("pre-learned")
    prompts = [[1, 2]] if name == "generate_batch" else [1, 2]
    with pytest.raises(ValueError, match=[*settings][0]):
        WRITERS[name](prompts, params, config, **settings)


@every_writer
def test_an_empty_prompt_is_refused_at_the_call(name):
    params, config = model("pre-learned")
    with pytest.raises(ValueError, match="prompt"):
        WRITERS[name]([], params, config)


def test_sample_steps_show_what_was_drawn_from():
    params, config = model("pre-learned")
    steps = generation.sample_steps([1, 2], params, config, top_k=3)
    ids = [1, 2]
    for token, probs in steps:
        logits = whole_logits([ids], params, config)[0, -1]
        expected = next_token_probs(logits, top_k=3)
        np.testing.assert_allclose(probs, expected, atol=1e-10)
        assert probs[token] > 0
        ids.append(token)
    assert len(ids) == 10


# --- beam search ---

TINY = ModelConfig(
    vocab_size=4, max_seq_len=8, d_model=6, n_heads=2, n_layers=1, d_ff=5
)


def tiny_model(seed):
    rng = np.random.default_rng(seed)
    params = init_params(TINY, rng, np.float64)
    return map_arrays(lambda a: a + rng.normal(0, 0.5, a.shape), params)


def log_prob(prompt, ids, params):
    """The model's log probability of ids after prompt."""
    logits = whole_logits([[*prompt, *ids]], params, TINY)[0]
    log_probs = log_softmax(logits[len(prompt) - 1 : -1])
    return sum(row[i] for row, i in zip(log_probs, ids))


def exhaustive_search(prompt, params, n, stop_id=None):
    """Score all continuations; with stop_id also those that end early."""
    others = [i for i in range(4) if i != stop_id]
    found = [
        (list(ids), log_prob(prompt, ids, params))
        for ids in itertools.product(others, repeat=n)
    ]
    for length in range(n) if stop_id is not None else ():
        found += [
            (list(ids), log_prob(prompt, [*ids, stop_id], params))
            for ids in itertools.product(others, repeat=length)
        ]
    return sorted(found, key=lambda pair: -pair[1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stop_id", [None, 2])
def test_enough_beams_are_exhaustive_search(seed, stop_id):
    params, prompt = tiny_model(seed), [1, 3]
    got = beam_search(prompt, params, TINY, 16, n_tokens=3, stop_id=stop_id)
    expected = exhaustive_search(prompt, params, 3, stop_id)
    assert [ids for ids, _ in got] == [ids for ids, _ in expected[:16]]
    np.testing.assert_allclose(
        [score for _, score in got],
        [score for _, score in expected[:16]],
        atol=1e-10,
    )


@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_greedy(seed):
    params = tiny_model(seed)
    greedy = generate([1], params, TINY, n_tokens=6, temperature=0)
    [(ids, score)] = beam_search([1], params, TINY, 1, n_tokens=6)
    assert ids == greedy
    assert score == pytest.approx(log_prob([1], ids, params), abs=1e-10)


@pytest.mark.parametrize("n_beams", [2, 3, 5])
@pytest.mark.parametrize("stop_id", [None, 0])
def test_scores_are_the_models_log_probabilities(n_beams, stop_id):
    for seed in range(4):
        params = tiny_model(seed)
        beams = beam_search([2], params, TINY, n_beams, 5, stop_id)
        assert len(beams) == n_beams
        assert len({tuple(ids) for ids, _ in beams}) == n_beams
        scores = [score for _, score in beams]
        assert scores == sorted(scores, reverse=True)
        for ids, score in beams:
            ended = ids if len(ids) == 5 else [*ids, stop_id]
            expected = log_prob([2], ended, params)
            assert score == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_finished_beams_are_never_beaten_by_what_was_cut_off(seed):
    """Stopping early must not lose: more steps find nothing better."""
    params = tiny_model(seed)
    best = beam_search([2], params, TINY, 64, n_tokens=4, stop_id=1)[0]
    expected = exhaustive_search([2], params, 4, stop_id=1)[0]
    assert best[0] == expected[0]
    assert best[1] == pytest.approx(expected[1], abs=1e-10)


def test_beams_end_when_max_seq_len_is_reached():
    params = tiny_model(0)
    for ids, score in beam_search([1, 2, 3], params, TINY, 3, n_tokens=99):
        assert len(ids) == 5
        expected = log_prob([1, 2, 3], ids, params)
        assert score == pytest.approx(expected, abs=1e-10)


# --- beside the model ---


def test_a_token_is_computed_on_one_thread(monkeypatch):
    """On a busy machine two threads take several times as long."""
    params, config = model("pre-learned")
    seen = []

    def head(x, params):
        seen.append({b["num_threads"] for b in blas_threads()})
        return language_model_head(x, params)

    def blas_threads():
        found = threadpoolctl.threadpool_info()
        return [pool for pool in found if pool["user_api"] == "blas"]

    language_model_head = generation.head
    monkeypatch.setattr(generation, "head", head)
    with threadpoolctl.threadpool_limits(2, "blas"):
        before = blas_threads()
        if not before:
            pytest.skip("a BLAS whose threads cannot be counted")
        generate([1], params, config, n_tokens=2)
        beam_search([1], params, config, n_tokens=1)
        assert blas_threads() == before
    assert seen == 4 * [{1}]


def test_the_lesson_runs_with_a_model_of_lesson_06(tmp_path, monkeypatch):
    """Its reach is 128 tokens; the shipped model's is 384."""
    tokenizer = bpe_tokenizer(train_bpe(" ".join(tell_stories(50)), 400))
    sizes = {"d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 8}
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, max_seq_len=128, **sizes
    )
    run = start_run(config, TrainSettings(seq_len=128))
    save_run(tmp_path / "runs" / "my-lesson-06", run, tokenizer)
    monkeypatch.setattr(helpers, "DATA", tmp_path)
    path = Path(__file__).parents[1] / "notebooks" / "07_generation.ipynb"
    namespace = {"__name__": "__main__"}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            source = cell.source.replace('"tinystories"', '"my-lesson-06"')
            exec(compile(source, "<cell>", "exec"), namespace)
    assert namespace["config"] == config
