"""Save a run so that no accident loses it, and read it back.

Support code. The checkpoint of lesson 06, and what a product adds: checks of
all that is read and written, a checksum, the checkpoint before, the tokenizer,
the settings in plain text, fingerprints of the data.
"""

import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import numpy as np

from helpers.language_model import ModelConfig
from helpers.runs.files import (
    brief,
    read_arrays,
    read_newest,
    text_fingerprint,
    write_arrays,
    write_whole,
)
from helpers.runs.folders import only_one, read_whole, replaced
from helpers.runs.guards import (
    check_about,
    check_arrays,
    check_fit,
    check_same,
    check_size,
    check_tokenizer,
)
from helpers.runs.tables import write_rows
from helpers.tinystories import BPETokenizer
from helpers.training import TrainSettings, run_arrays, start_run

CHECKPOINTS = ("checkpoint.npz", "checkpoint-before.npz")  # newest first
TOKENIZER = "tokenizer.tiktoken"


def describe_run(run):
    """Return what is not an array in a run, ready for JSON."""
    return {
        "config": plain(run.config),
        "settings": plain(run.settings),
        "step": run.step,
        "rng": run.rng.bit_generator.state,
        "log": run.log,
        "recent": run.notes.get("recent", []),
        "hashes": run.notes.get("hashes", {}),
        "stories": run.notes.get("stories", {}),
    }


def plain(settings):
    """Return the fields of a dataclass, with no number of NumPy among them."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in asdict(settings).items()
    }


def make_run(about):
    """Return the run that describe_run described, but for its arrays."""
    config = ModelConfig(**about["config"])
    run = start_run(config, TrainSettings(**about["settings"]))
    run.rng.bit_generator.state = about["rng"]
    run.step = about["step"]
    run.log = about["log"]
    run.notes = {key: about[key] for key in ("recent", "hashes")}
    run.notes["stories"] = about.get("stories", {})  # older ones have none
    check_about(run)
    return run


def filed_arrays(run):
    """Return {"params/blocks.0...": array}, under the names in a file."""
    arrays = run_arrays(run).items()
    return {name.replace(".", "/", 1): array for name, array in arrays}


def write_checkpoint(path, run, dtype=np.float32, optimizer=True, before=None):
    """Write a run to one .npz file, whole or not at all.

    The checkpoint that stood there moves to the path before, if one is
    given. dtype float16 and optimizer=False make a small file to generate
    from. Raises OSError, or ValueError if the run has diverged.
    """
    arrays = {
        name: array.astype(dtype)
        for name, array in filed_arrays(run).items()
        if optimizer or name.startswith("params/")
    }
    check_arrays(run, arrays)
    arrays["about"] = np.array(json.dumps(describe_run(run)))
    write_arrays(path, arrays, before)
    run.notes["saved"] = f"{path} (step {run.step})"


def read_checkpoint(path, before=None):
    """Read what write_checkpoint wrote and return the run.

    Takes the file before, and says so, if path is missing or damaged. Raises
    FileNotFoundError, or ValueError if there is no whole one that fits.
    """
    return read_newest(read_run, path, before)


def read_run(path):
    """Return the run of one checkpoint; raise as read_checkpoint does."""
    arrays = read_arrays(path)
    try:
        about = json.loads(str(arrays["about"]))
        config = ModelConfig(**about["config"])
    except Exception as error:  # what is missing or odd can raise anything
        raise no_run(path, error) from None
    check_size(path, config, arrays)
    try:
        run = make_run(about)
    except Exception as error:
        raise no_run(path, error) from None
    trained = any(name.startswith("mean/") for name in arrays)
    for name, array in filed_arrays(run).items():
        if trained or name.startswith("params/"):
            check_fit(path, name, arrays.get(name), array)
            array[:] = arrays[name]
    run.optimizer.state["step"] = run.step if trained else 0
    run.notes["saved"] = f"{path} (step {run.step})"
    return run


def no_run(path, error):
    """Return an error for a checkpoint that says impossible things."""
    return ValueError(
        f"{path} does not describe a run ({brief(error)}); use an older one"
    )


def save_run(folder, run, tokenizer=None, **options):
    """Write the tokenizer, checkpoint.npz, config.json and log.csv.

    The checkpoint before this one stays as checkpoint-before.npz, unless
    the tokenizer is another: then the folder is replaced as a whole. options
    are write_checkpoint's.
    """
    newest, before = (Path(folder) / name for name in CHECKPOINTS)
    if tokenizer is not None and is_another(folder, tokenizer):
        with only_one(folder):
            return replace_run(folder, run, tokenizer, **options)
    if tokenizer is not None:
        path = Path(folder) / TOKENIZER
        tokenizer.save(path)
        hashes = run.notes.setdefault("hashes", {})
        hashes["tokenizer"] = text_fingerprint(path)
    write_checkpoint(newest, run, before=before, **options)
    write_summary(folder, run)


def is_another(folder, tokenizer):
    """Tell whether a folder holds a run with another tokenizer."""
    newest, before = (Path(folder) / name for name in CHECKPOINTS)
    path = Path(folder) / TOKENIZER
    if not path.exists() or not (newest.exists() or before.exists()):
        return False
    try:
        found = BPETokenizer.load(path).ranks
        return found != getattr(tokenizer, "ranks", None)
    except (ValueError, OSError):
        return True


def replace_run(folder, run, tokenizer, **options):
    """Save a run in the place of the one in a folder; needs only_one."""
    with replaced(folder) as new:
        save_run(new, run, tokenizer, **options)
    run.notes["saved"] = f"{Path(folder) / CHECKPOINTS[0]} (step {run.step})"


def write_summary(folder, run):
    """Write config.json and log.csv, which people read and no program.

    Says so if that is not possible: a spreadsheet may hold one of them.
    """
    about, folder = describe_run(run), Path(folder)
    text = json.dumps({k: about[k] for k in ("config", "settings")}, indent=2)
    try:
        write_whole(folder / "config.json", text + "\n")
        write_rows(folder / "log.csv", run.log)
    except OSError as error:
        print(f"{brief(error)}; the run itself is saved", file=sys.stderr)


def load_run(folder):
    """Return the run and the tokenizer that save_run wrote to a folder.

    A folder that holds somebody else's model, of Hugging Face or llama2.c,
    gives a run to generate from. Raises OSError, or ValueError if run and
    tokenizer do not belong together.
    """
    return read_whole(folder, lambda: load_parts(Path(folder)))


def load_parts(folder):
    """Return what load_run does, of a folder that stays."""
    newest, before = (folder / name for name in CHECKPOINTS)
    if not newest.exists() and not before.exists():
        pretrained = import_module("helpers.pretrained.folders")
        if pretrained.holds_pretrained(folder):
            return pretrained.load_pretrained(folder)
    run = read_checkpoint(newest, before)
    path = folder / TOKENIZER
    tokenizer = BPETokenizer.load(path)
    check_tokenizer(tokenizer, run.config)
    check_same(run.notes["hashes"], "tokenizer", text_fingerprint(path), path)
    return run, tokenizer
