"""What the doors of the lessons ask of their arguments.

Support code. `@checked` above a function calls the function of the same name
in this module first, with the same arguments; those raise ValueError as
guards.py says. So a lesson shows what a function does, and not what it
refuses; and a generator refuses when it is called, not when its first value
is asked for.
"""

import functools
import importlib

import numpy as np

from helpers.runs.guards import (
    check_alphabet,
    check_beams,
    check_characters,
    check_config,
    check_ids,
    check_integer,
    check_llama2c,
    check_logits,
    check_mask,
    check_memory,
    check_names,
    check_number,
    check_prompt,
    check_prompts,
    check_ranks,
    check_rng,
    check_sampling,
    check_settings,
    check_some_text,
    check_space,
    check_special_tokens,
    check_split,
    check_stop_id,
    check_targets,
    check_text,
    check_texts,
    check_token_ids,
    check_tokenizer,
    check_tokens,
    check_uint16,
    check_vocab_size,
    check_windows,
    check_words,
)


def checked(door):
    """Put a function, or the methods of a class, behind their doors here.

    The door of a method is named Class_method, that of __init__ Class. A
    dataclass, which stands above @checked and has no __init__ yet, gets its
    door as __post_init__: it looks at the fields of each new object.
    """
    doors = globals()
    if not isinstance(door, type):
        return behind(doors[door.__name__], door)
    if "__init__" not in vars(door):
        door.__post_init__ = doors[door.__name__]
        return door
    for name, method in list(vars(door).items()):
        place = f"{door.__name__}_{name}".removesuffix("___init__")
        if place in doors:
            setattr(door, name, behind(doors[place], method))
    return door


def behind(check, function):
    """Return function, with check called first on the same arguments."""

    @functools.wraps(function)
    def call(*args, **settings):
        check(*args, **settings)
        return function(*args, **settings)

    return call


def bring_kinds(config):
    """Put on the shelf what appendix A4 builds, if a model asks for it."""
    from helpers.transformer_block import ACTIVATIONS, ATTENTIONS, NORMS

    for table, kind in (
        (ACTIVATIONS, config.activation),
        (ATTENTIONS, config.attention),
        (NORMS, config.norm),
    ):
        if kind not in table:
            importlib.import_module("helpers.llama")


# lesson 01


def scaled_dot_product_attention(q, k, v, mask=None):
    if mask is not None:
        leading = np.broadcast_shapes(q.shape[:-2], k.shape[:-2])
        check_mask(mask, (*leading, q.shape[-2], k.shape[-2]))


# lesson 04


def ModelConfig(config):
    check_config(config)
    bring_kinds(config)


def embed(ids, params, config, rng=None):
    check_ids(ids, config)


def cross_entropy(logits, targets, ignore_index=-100):
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets of shape {targets.shape} do not fit logits of shape "
            f"{logits.shape}; give one target for each row of logits"
        )
    check_targets(targets, logits.shape[-1], ignore_index)


# lesson 05


def train_bpe(text, vocab_size, special_tokens=("<|endoftext|>",)):
    check_special_tokens(special_tokens)
    check_vocab_size(vocab_size, special_tokens)
    check_text(text)
    check_words(text)


def make_encoding(ranks):
    check_ranks(ranks)


def BPETokenizer_encode(self, text):
    check_text(text)


def BPETokenizer_encode_batch(self, texts):
    check_texts(texts)


def BPETokenizer_decode(self, ids):
    check_token_ids(ids, self.vocab_size)


def CharTokenizer(self, characters):
    check_alphabet(characters)


def CharTokenizer_encode(self, text):
    check_characters(text, self.ids)


def CharTokenizer_encode_batch(self, texts):
    check_texts(texts)


def CharTokenizer_decode(self, ids):
    check_token_ids(ids, self.vocab_size)


def split_stories(stories, valid_fraction=0.1, seed=0):
    check_split(stories, valid_fraction, seed)


def tokenize_stories(stories, tokenizer, path=None):
    check_uint16(tokenizer.vocab_size)
    check_texts(stories)


def sample_batch(tokens, B, T, rng, starts=None):
    check_windows(tokens, B, T, starts)
    check_rng(rng)


# lesson 06


def learning_rate(step, peak, warmup, total, decay="cosine", final=0.1):
    if decay not in ("cosine", "linear"):
        raise ValueError(f'decay must be "cosine" or "linear", not {decay!r}')
    check_integer("warmup", warmup, 0)


def clip_grad_norm(grads, max_norm):
    check_number("max_norm", max_norm)


def evaluate(tokens, params, config, B=16, T=None):
    check_tokens(tokens, B, config.max_seq_len if T is None else T)


def bits_per_byte(stories, tokenizer, params, config):
    check_tokenizer(tokenizer, config)
    check_some_text(stories)


def TrainSettings(settings):
    check_settings(settings)


def start_run(config, settings, dtype=np.float32):
    check_memory(config, settings)


# lesson 07

KNOBS = ("repetition_penalty", "temperature", "top_k", "top_p", "min_p")
WRITING = ("n_tokens", "rng", "stop_id", *KNOBS)


def next_token_probs(
    logits, temperature=1.0, top_k=None, top_p=None, min_p=None
):
    check_sampling(temperature, top_k, top_p, min_p)
    check_logits(logits)


def penalise_repeats(logits, ids, penalty):
    check_number("repetition_penalty", penalty)


def next_logits(ids, params, config, kv):
    check_space(kv.length + ids.shape[1], config)


def sample_steps(
    prompt_ids, params, config, n_tokens=200, rng=None, stop_id=None, **knobs
):
    check_names("sample_steps", knobs, WRITING)
    check_stop_id(stop_id, config)
    check_rng(rng)
    check_prompt(prompt_ids, config, n_tokens)
    check_knobs(**knobs)


def stream(prompt_ids, params, config, **settings):
    check_names("stream", settings, WRITING)
    sample_steps(prompt_ids, params, config, **settings)


def generate(prompt_ids, params, config, **settings):
    check_names("generate", settings, WRITING)


def generate_batch(
    prompts, params, config, n_tokens=200, rng=None, stop_id=None, **knobs
):
    check_names("generate_batch", knobs, WRITING)
    check_stop_id(stop_id, config)
    check_rng(rng)
    check_prompts(prompts, config, n_tokens)
    check_knobs(**knobs)


def beam_search(
    prompt_ids, params, config, n_beams=4, n_tokens=50, stop_id=None
):
    check_prompt(prompt_ids, config, n_tokens)
    check_stop_id(stop_id, config)
    check_beams(n_beams, config)


def extend_beams(beams, logits, n_beams, stop_id):
    for row in logits[: len(beams)]:
        check_logits(row)


def check_knobs(repetition_penalty=1.0, **settings):
    """Raise ValueError for a knob that is out of its range."""
    check_number("repetition_penalty", repetition_penalty)
    check_sampling(**settings)


# appendix A4


def read_llama2c(path):
    check_llama2c(path)


# appendix A1


def train_and_keep_best(run, train, valid, gradient, answer_all):
    if run.step >= run.settings.steps:
        steps = run.settings.steps
        raise ValueError(f"all {steps} steps are done; start a new run")
