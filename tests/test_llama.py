"""Somebody else's weights write what they are known to write, here and there.

stories260K is compared with its published text where /work/shared or
WORKBOOK_SHARED has it; GPT-2 and Llama with transformers, where that is
installed. Whatever is damaged or of another kind is refused in one sentence.
"""

import json
import math
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_gradients import moved_params

from helpers import DATA, SHIPPED
from helpers import __main__ as cli
from helpers.generation import generate, generate_batch
from helpers.language_model import (
    ModelConfig,
    init_params,
    language_model,
)
from helpers.llama import (
    LLAMA,
    llama2c_config,
    llama2c_shapes,
    read_llama2c,
    rope,
    to_halves,
    to_pairs,
)
from helpers.pretrained import files
from helpers.pretrained.folders import export, load_pretrained
from helpers.pretrained.llama2c import LlamaTokenizer, read_pieces
from helpers.pretrained.models import Zeros, describe
from helpers.runs.checkpoints import load_run
from helpers.runs.params import map_arrays, named_arrays
from helpers.stories.grammar import tell_stories
from helpers.tinystories import (
    END_OF_TEXT,
    bpe_tokenizer,
    load_stories,
    train_bpe,
)
from helpers.training import TrainSettings, bits_per_byte, start_run

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("WORKBOOK_SHARED", ROOT.parent / "shared"))
STORIES = SHARED / "stories260K"
there = pytest.mark.skipif(
    not STORIES.exists(), reason="stories260K is not beside the project"
)
PUBLISHED = (
    " Once upon a time, there was a little girl named Lily. She loved to play "
    "outside in the park. One day, she saw a big, red ball. She wanted to "
    "play with it, but it was too high."
)


# stories260K


@there
def test_greedy_text_is_the_published_one():
    run, tokenizer = load_pretrained(STORIES)
    model = run.params, run.config
    ids = generate([1], *model, n_tokens=100, temperature=0)
    assert tokenizer.decode(ids).startswith(PUBLISHED)
    expected = tokenizer.encode(PUBLISHED[1:])
    assert ids[: len(expected)] == expected
    batch = generate_batch([[1], [1, *ids[:9]]], *model, n_tokens=20)
    assert len(batch) == 2


@there
@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / "tinystories").exists(),
    reason="TinyStories are not beside the project",
)
def test_bits_per_byte_are_the_known_ones():
    """0.974 on stories that fit into 512 ids, both ends among them."""
    run, tokenizer = load_pretrained(STORIES)
    stories = load_stories(SHARED / "tinystories" / "valid.txt")
    lengths = map(len, tokenizer.encode_batch(stories))
    fit = [s for s, n in zip(stories, lengths) if n + 2 <= 512]
    assert (len(stories), len(fit)) == (691, 581)
    model = tokenizer, run.params, run.config
    bits = bits_per_byte(fit, *model)
    assert bits == pytest.approx(0.974, abs=0.0005)
    rest = [story for story in stories if story not in set(fit)]
    held = [sum(len(s.encode()) for s in part) for part in (fit, rest)]
    both = bits * held[0] + bits_per_byte(rest, *model) * held[1]
    assert both / sum(held) == pytest.approx(1.014, abs=0.0005)


@there
def test_tokenizer_merges_as_llama2c_does():
    """Against the loop of its own code, one best pair at a time."""
    pieces, scores = read_pieces(STORIES / "tok512.bin")
    tokenizer = LlamaTokenizer(pieces, scores)
    ids = {piece: i for i, piece in enumerate(pieces) if i > 2}
    texts = ["Once upon a time", "  two  spaces\n\tand é ☃", "a", ""]
    for text in texts + tell_stories(5, seed=3):
        tokens = []
        for letter in f" {text}" if text else "":
            raw = letter.encode()
            known = [ids[raw]] if raw in ids else [byte + 3 for byte in raw]
            tokens += known
        while True:
            pairs = list(zip(tokens, tokens[1:]))
            unions = [ids.get(pieces[a] + pieces[b]) for a, b in pairs]
            places = [p for p, union in enumerate(unions) if union is not None]
            if not places:
                break
            place = max(places, key=lambda p: (scores[unions[p]], -p))
            tokens[place : place + 2] = [unions[place]]
        assert tokenizer.encode(text) == tokens
        assert tokenizer.decode(tokens) == (f" {text}" if text else "")


def tiny_llama2c(path, tied=True, cut=0):
    """Write a small checkpoint of llama2.c; return its arrays."""
    sizes = np.array([24, 7, 2, 4, 2, 11 if tied else -11, 9], "<i4")
    shapes = llama2c_shapes(llama2c_config(sizes))
    rng = np.random.default_rng(0)
    arrays = {n: rng.normal(size=s).astype("<f4") for n, s in shapes.items()}
    content = b"".join(a.tobytes() for a in (sizes, *arrays.values()))
    path.write_bytes(content[: len(content) - cut])
    return arrays


@pytest.mark.parametrize("tied", [True, False])
def test_llama2c_checkpoint_is_read_in_its_order(tmp_path, tied):
    arrays = tiny_llama2c(tmp_path / "a.bin", tied)
    params, config = read_llama2c(tmp_path / "a.bin")
    wanted = named_arrays(init_params(config, Zeros(), np.int8))
    shapes = {n: a.shape for n, a in named_arrays(params).items()}
    assert shapes == {n: a.shape for n, a in wanted.items()}
    block = params["blocks"][1]
    gate = block["feed_forward"]["up"]["weight"][:, :7]
    np.testing.assert_array_equal(gate, arrays["gate"][1].T)
    k = block["attention"]["qkv"]["weight"][:, 24:36]
    np.testing.assert_array_equal(k, arrays["k"][1].T)
    assert ("head" in params) is not tied


def test_layouts_are_one_reordering_apart():
    x = np.random.default_rng(0).normal(size=(2, 5, 24))
    np.testing.assert_array_equal(to_pairs(to_halves(x, 6), 6), x)
    heads = x.reshape(2, 5, 4, 6).swapaxes(1, 2)
    turned, _ = rope(heads, np.arange(5))
    other, _ = rope(to_halves(heads, 6), np.arange(5), "halves")
    np.testing.assert_allclose(other, to_halves(turned, 6), atol=1e-12)


# to transformers and back

TOKENIZER = bpe_tokenizer(train_bpe("".join(tell_stories(40)), 300))
SMALL = ModelConfig(
    vocab_size=TOKENIZER.vocab_size,
    max_seq_len=24,
    d_model=24,
    n_heads=4,
    n_layers=2,
    d_ff=20,
)
MODELS = {
    "GPT-2": SMALL,
    "with relu": replace(SMALL, activation="relu"),
    "no biases": replace(SMALL, bias=False),
    "untied": replace(SMALL, tied_head=False),
    "Llama": replace(SMALL, **LLAMA),
    "with groups": replace(SMALL, n_kv_heads=2, **LLAMA),
    "one head, untied": replace(SMALL, n_kv_heads=1, tied_head=False, **LLAMA),
}
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module")
def transformers():
    """Return transformers, quiet and without the hub."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    found = pytest.importorskip("transformers")
    found.logging.set_verbosity_error()
    found.logging.disable_progress_bar()
    return found


def run_of(config, seed=0):
    """Return a run with parameters away from where they begin."""
    run = start_run(config, TrainSettings(steps=1))
    params = moved_params(config, np.random.default_rng(seed))
    run.params = map_arrays(lambda a: a.astype(np.float32) / 2, params)
    return run


def ids_of(config, T=20):
    return np.random.default_rng(1).integers(0, config.vocab_size, (2, T))


def gap(params, config, model, dtype):
    """Return the largest difference between our logits and a model's.

    It is a share of the largest logit, where that is above 1.
    """
    import torch

    ids = ids_of(config)
    params = map_arrays(lambda a: a.astype(dtype), params)
    ours, _ = language_model(ids, params, config)
    kind = torch.float32 if dtype == np.float32 else torch.float64
    with torch.no_grad():
        theirs = model.to(kind)(torch.tensor(ids)).logits.numpy()
    return np.abs(ours - theirs).max() / max(1, np.abs(theirs).max())


@every_model
def test_exported_gives_the_same_logits(name, tmp_path, transformers):
    """Llama's own code has norms and turns in float32, whatever is asked."""
    run = run_of(MODELS[name])
    export(run, TOKENIZER, tmp_path)
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(tmp_path)
    assert type(model).__name__ == describe(run.config, 0)["architectures"][0]
    assert gap(run.params, run.config, model, np.float32) < 1e-4
    if run.config.norm == "pre":
        assert gap(run.params, run.config, model, np.float64) < 1e-10


@every_model
def test_exported_comes_back(name, tmp_path):
    pytest.importorskip("safetensors")
    run = run_of(MODELS[name])
    export(run, TOKENIZER, tmp_path)
    back, tokenizer = load_run(tmp_path)
    kept = replace(run.config, bias=True, n_kv_heads=None)
    if run.config.norm == "rms":
        kv_heads = run.config.n_kv_heads or run.config.n_heads
        kept = replace(run.config, n_kv_heads=kv_heads)
    assert (back.config, tokenizer.ranks) == (kept, TOKENIZER.ranks)
    ids = ids_of(run.config)
    logits, _ = language_model(ids, run.params, run.config)
    again, _ = language_model(ids, back.params, back.config)
    np.testing.assert_allclose(again, logits, atol=1e-5)


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_what_transformers_saves_is_read(name, kind, tmp_path, transformers):
    import torch

    if name == "GPT-2":
        config = transformers.GPT2Config(
            vocab_size=300, n_positions=24, n_embd=24, n_layer=2, n_head=4
        )
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            vocab_size=300,
            max_position_embeddings=24,
            hidden_size=24,
            intermediate_size=20,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-5,
        )
        model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor += 0.1 * torch.randn(tensor.shape)
    model.to(getattr(torch, kind)).save_pretrained(tmp_path)
    export_words(tmp_path)
    run, _ = load_pretrained(tmp_path)
    model.eval()
    assert gap(run.params, run.config, model.float(), np.float32) < 1e-4
    if name == "GPT-2":
        run, _ = load_pretrained(tmp_path, np.float64)
        assert gap(run.params, run.config, model, np.float64) < 1e-10


def export_words(folder):
    """Write the words of TOKENIZER to vocab.json, as OpenAI did."""
    letters = files.byte_letters()
    words = {
        "".join(letters[byte] for byte in token): rank
        for token, rank in TOKENIZER.ranks.items()
    }
    words[END_OF_TEXT] = len(words)
    (folder / "vocab.json").write_text(json.dumps(words), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")


def test_the_shipped_run_in_transformers(tmp_path, transformers):
    run, tokenizer = load_run(DATA / "runs" / SHIPPED)
    assert cli.main(["export", "--to", str(tmp_path / "out")]) == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert gap(run.params, run.config, model, np.float32) < 1e-4
    assert gap(run.params, run.config, model, np.float64) < 1e-10
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = ["  two  spaces\n\n\tand 123 don't é ☃ 😀", "", " Lily's"]
    for text in texts + tell_stories(20, seed=5):
        ids = tokenizer.encode(text)
        assert words(text)["input_ids"] == ids
        assert words.decode(ids) == text


# refused in one sentence


def refusal(call, *arguments):
    """Return what a call says no with: one sentence, and no traceback."""
    with pytest.raises((ValueError, OSError)) as refused:
        call(*arguments)
    said = str(refused.value)
    assert "\n" not in said and len(said) < 400
    return said


def folder_with(tmp_path, **changes):
    """Return the folder of an exported model with other settings."""
    pytest.importorskip("safetensors")
    export(run_of(SMALL), TOKENIZER, tmp_path)
    path = tmp_path / "config.json"
    about = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(about))
    return tmp_path


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"model_type": "bert"}, "a model of type 'bert'"),
        ({"n_embd": 12}, "token_embedding.weight is (300, 24)"),
        ({"n_layer": 3}, "has no tensor 'h.2."),
        ({"n_head": 5}, "5 heads do not divide"),
        ({"activation_function": "silu"}, "its activation is silu"),
        ({"layer_norm_epsilon": 1e-6}, "the eps of its norms 1e-06"),
        ({"n_embd": None}, "cannot be built here"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path, changes, said):
    folder = folder_with(tmp_path, **changes)
    assert said in refusal(load_pretrained, folder)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"rope_theta": 5e5, "rope_parameters": None}, "rope_theta is 5"),
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps is 1e-06"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"head_dim": 8}, "head_dim is 8"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope_type is llama3"),
        ({"num_key_value_heads": 3}, "cannot share"),
        ({"num_key_value_heads": 1}, "qkv.weight is"),
    ],
)
def test_a_llama_of_another_kind_is_refused(tmp_path, changes, said):
    pytest.importorskip("safetensors")
    export(run_of(MODELS["Llama"]), TOKENIZER, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert said in refusal(load_pretrained, tmp_path)


@pytest.mark.parametrize("left", [0, 5, 60, -4])
def test_a_truncated_tensor_file_is_refused(tmp_path, left):
    path = folder_with(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    said = refusal(load_pretrained, tmp_path)
    assert "is not a whole .safetensors file" in said


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_damaged_text_file_is_refused(tmp_path, name):
    path = folder_with(tmp_path) / name
    path.write_text("{")
    assert f"{name} is not a whole JSON file" in refusal(
        load_pretrained, tmp_path
    )
    path.unlink()
    assert "No such file" in refusal(load_pretrained, tmp_path)


def test_another_kind_of_tokenizer_is_refused(tmp_path):
    path = folder_with(tmp_path) / "tokenizer.json"
    path.write_text('{"model": {"type": "WordPiece", "vocab": {}}}')
    assert "is no byte-level BPE" in refusal(load_pretrained, tmp_path)


def test_nan_in_a_tensor_is_refused(tmp_path):
    pytest.importorskip("safetensors")
    run = run_of(SMALL)
    run.params["final_norm"]["bias"][0] = np.nan
    export(run, TOKENIZER, tmp_path)
    assert "NaN or infinity in final_norm" in refusal(
        load_pretrained, tmp_path
    )


@pytest.mark.parametrize("cut", [1, 4, 8000])
def test_a_truncated_llama2c_file_is_refused(tmp_path, cut):
    tiny_llama2c(tmp_path / "a.bin", cut=cut)
    assert "fetch it again" in refusal(read_llama2c, tmp_path / "a.bin")


def test_no_llama2c_file_is_refused(tmp_path):
    path = tmp_path / "a.bin"
    for content in (b"", b"short", bytes(100), b"\xff" * 100):
        path.write_bytes(content)
        said = refusal(read_llama2c, path)
        assert "is no checkpoint of llama2.c" in said
    assert "No such file" in refusal(read_llama2c, tmp_path / "none.bin")


def test_a_damaged_tokenizer_is_refused(tmp_path):
    path = tmp_path / "tok.bin"
    path.write_bytes(struct.pack("<ifi", 3, 0.0, 99) + b"abc")
    assert "is cut short" in refusal(read_pieces, path)
    path.write_bytes(struct.pack("<ifi", 3, 0.0, 3) + b"abc")
    assert "256 single bytes" in refusal(LlamaTokenizer.load, path)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "post"},
        {"positions": "sinusoidal"},
        {"activation": "swiglu"},
        {"n_kv_heads": 2},
        {"positions": "rope"},
        LLAMA | {"bias": True},
    ],
)
def test_what_has_no_counterpart_is_not_exported(tmp_path, changes):
    run = run_of(replace(SMALL, **changes))
    said = refusal(export, run, TOKENIZER, tmp_path / "out")
    assert "has no counterpart at Hugging Face" in said
    assert not (tmp_path / "out").exists()


# the commands


def fake_hub(monkeypatch, reachable):
    monkeypatch.setattr(cli.download, "hub_reachable", lambda: reachable)


@pytest.mark.parametrize("command", ["gpt2", "llama"])
def test_without_network_nothing_is_left(
    command, tmp_path, monkeypatch, capsys
):
    fake_hub(monkeypatch, False)
    assert cli.main([command, "--folder", str(tmp_path / "data")]) == 1
    said = capsys.readouterr().out
    assert f"`make {command} FROM=folder`" in said and said.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch, capsys):
    import huggingface_hub

    def broken(repository, file, subfolder, local_dir):
        (Path(local_dir) / file).write_bytes(b"half")
        raise ConnectionError("the line\nis dead")

    fake_hub(monkeypatch, True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    assert cli.main(["gpt2", "--folder", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "openai-community/gpt2 did not arrive (the line is dead)" in said
    assert not (tmp_path / "runs").exists()


def test_gpt2_is_fetched_and_writes(tmp_path, monkeypatch, capsys):
    """Through a hub that has a small model under GPT-2's name."""
    import huggingface_hub

    pytest.importorskip("safetensors")
    export(run_of(SMALL), TOKENIZER, tmp_path / "hub")
    (tmp_path / "hub" / "tokenizer.json").unlink()
    export_words(tmp_path / "hub")

    def copy(repository, file, subfolder, local_dir):
        path = Path(local_dir) / file
        path.write_bytes((tmp_path / "hub" / file).read_bytes())
        return str(path)

    fake_hub(monkeypatch, True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", copy)
    at = ["--folder", str(tmp_path / "data")]
    assert cli.main(["gpt2", *at]) == 0
    assert cli.main(["gpt2", *at]) == 2  # is there already
    assert cli.main(["gpt2", *at, "--force"]) == 0
    assert cli.main(["gpt2", *at, "--force", "--from", str(tmp_path)]) == 2
    capsys.readouterr()
    assert cli.main(["generate", "--run", "gpt2", "--seed", "1", *at]) == 0
    assert capsys.readouterr().out.strip()
    args = ["train", "--name", "gpt2", "--resume", *at]
    assert cli.main(args) == 2
    assert "without its optimizer" in capsys.readouterr().err


@there
def test_stories260k_is_a_run_like_any_other(tmp_path, capsys):
    at = ["--folder", str(tmp_path)]
    assert cli.main(["llama", "--from", str(STORIES), *at]) == 0
    args = ["generate", "--run", "stories260K", "--length", "60"]
    capsys.readouterr()
    assert cli.main([*args, "--temperature", "0", *at]) == 0
    assert capsys.readouterr().out.startswith(PUBLISHED[:60])
    text = tmp_path / "a.txt"
    text.write_text(PUBLISHED.strip())
    args = ["eval", "--run", "stories260K", "--on", str(text)]
    assert cli.main([*args, *at]) == 0
    said = capsys.readouterr().out
    bits = float(said.split(" bits per byte")[0].split()[-1])
    assert 0 < bits < 0.5 and not math.isnan(bits)
    out = ["--to", str(tmp_path / "out")]
    assert cli.main(["export", "--run", "stories260K", *out, *at]) == 2
    assert "has no counterpart" in capsys.readouterr().err


def test_export_takes_no_folder_that_holds_files(tmp_path, capsys):
    (tmp_path / "note").write_text("mine")
    assert cli.main(["export", "--to", str(tmp_path)]) == 2
    assert "holds files" in capsys.readouterr().err


@pytest.mark.slow
def test_a_llama_is_trained_saved_resumed_and_reported(tmp_path, capsys):
    """By the commands that train a GPT-2, and through the panel's loader."""
    at = ["--folder", str(tmp_path), "--name", "small"]
    sizes = ["--d-model", "16", "--n-heads", "4", "--n-kv-heads", "2"]
    sizes += ["--n-layers", "1", "--d-ff", "12", "--vocab-size", "300"]
    brief = ["--batch-size", "2", "--seq-len", "16", "--valid-stories", "2"]
    train = ["train", *at, "--stories", "grammar"]
    assert cli.main([*train, "--llama", *sizes, *brief, "--steps", "3"]) == 0
    assert cli.main([*train, "--resume", "--llama"]) == 2
    assert "not llama" in capsys.readouterr().err
    assert cli.main([*train, "--resume", "--steps", "5"]) == 0
    run, _ = load_run(tmp_path / "runs" / "small")
    assert run.step == 5 and run.config.n_kv_heads == 2
    assert {key: getattr(run.config, key) for key in LLAMA} == LLAMA
    text = tmp_path / "a.txt"
    text.write_text(f"One day.\n{END_OF_TEXT}\nTwo.\n{END_OF_TEXT}\n")
    report = ["report", *at[:2], "--run", "small", "--on", str(text)]
    assert cli.main(report) == 0
    page = (tmp_path / "runs" / "small" / "REPORT.md").read_text("utf-8")
    assert "| positions | rope |" in page and "| n_kv_heads | 2 |" in page


def test_a_run_from_before_these_fields_loads(tmp_path):
    """The shipped one, whose config says nothing of n_kv_heads."""
    run, _ = load_run(DATA / "runs" / SHIPPED)
    about = json.loads((DATA / "runs" / SHIPPED / "config.json").read_text())
    assert "n_kv_heads" not in about["config"]
    assert run.config.n_kv_heads is None and run.config.attention == "full"
