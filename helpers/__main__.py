"""The command line, for what takes minutes to hours.

    python -m helpers data | train | generate | eval | report, each with --help

Support code, not built in a lesson: every command calls the functions of the
notebooks.
"""

import argparse
import contextlib
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from helpers import DATA, SHIPPED
from helpers.generation import beam_search, generate_batch, stream
from helpers.language_model import PRESETS, count_params, perplexity
from helpers.runs import distributed
from helpers.runs.checkpoints import (
    CHECKPOINTS,
    TOKENIZER,
    load_run,
    save_run,
)
from helpers.runs.files import brief, only_one, put_aside, write_whole
from helpers.runs.guards import check_data, check_integer
from helpers.runs.loop import train_on_stories
from helpers.stories import download
from helpers.stories.grammar import is_story, story_log_prob
from helpers.tinystories import (
    END_OF_TEXT,
    bpe_tokenizer,
    load_stories,
    open_stories,
    split_stories,
    tokenize_stories,
    train_bpe,
)
from helpers.training import TrainSettings, bits_per_byte, start_run

STORIES = 25_000  # from the hub, unless --stories says otherwise
SETTINGS = TrainSettings(batch_size=16, seq_len=256)
RUN_FILES = [*CHECKPOINTS, TOKENIZER, "config.json", "log.csv"]
SIZES = ["vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "dropout"]
NO_NETWORK = (
    "The Hugging Face hub cannot be reached, so no TinyStories: connect and "
    "run `make data`, or take a file with `make data FROM=file`; the "
    "notebooks use the embedded grammar meanwhile."
)


def main(argv=None):
    """Run one command; return the exit code.

    0 done, 1 no network, 2 an error said in one line, 130 interrupted.
    """
    with contextlib.suppress(AttributeError):  # what a notebook prints to
        sys.stdout.reconfigure(errors="replace")  # not every terminal has é
    args = build_parser().parse_args(argv)
    if [] in vars(args).values():  # what argparse makes of --run=--
        build_parser().error("-- is no value of an option")
    try:
        return args.command(args) or 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError) as error:
        print("error:", one_line(error), file=sys.stderr)
        return 2


def one_line(error):
    """Return what an exception says, without line breaks and numbers."""
    if getattr(error, "filename", None):
        return f"{error.filename}: {error.strerror}"
    return brief(error, 500)


# data


def data_command(args):
    """Write data/tinystories/train.txt and valid.txt."""
    folder = args.folder / "tinystories"
    if (folder / "train.txt").exists() and not args.force:
        raise ValueError(
            f"{folder} has stories already; --force replaces them"
        )
    if args.source:
        stories = [s for file in args.source for s in load_stories(file)]
        stories = stories[: args.stories]
    elif download.hub_reachable():
        stories = download.download_stories(args.stories or STORIES)
    else:
        print(NO_NETWORK)
        return 1
    parts = split_stories(stories, args.held_out)
    n_bytes = write_stories(folder, *parts)
    n_train, n_valid = map(len, parts)
    print(
        f"{folder}: {n_train:,} stories to train on, {n_valid:,} held out, "
        f"{len(stories) - n_train - n_valid:,} repeated ones dropped, "
        f"{n_bytes:,} bytes"
    )


def write_stories(folder, train_stories, valid_stories):
    """Write both files, each whole or not at all; return their size in bytes.

    train.txt goes first and comes back last, so that it never stands beside
    the valid.txt of another split.
    """
    n_bytes = 0
    parts = {"valid.txt": valid_stories, "train.txt": train_stories}
    with put_aside([folder / "train.txt", folder / "valid.txt"]):
        for name, stories in parts.items():
            text = "".join(f"{story}\n{END_OF_TEXT}\n" for story in stories)
            write_whole(folder / name, text)
            n_bytes += len(text.encode("utf-8"))
    return n_bytes


def find_stories(source, folder):
    """Return stories to train on, stories held out, and where they are from.

    source: "grammar", a file to split, or None for what open_stories finds.
    """
    if source is None:
        return open_stories(folder)
    return *split_stories(load_stories(source)), source


# train


@distributed.all_or_none()
def train_command(args):
    """Train a new run, or go on with one, and say how good it is."""
    team = distributed.find_team()
    if team and team.rank > 0:
        return distributed.follow(team)
    folder = args.folder / "runs" / (args.name or f"my-{args.preset}")
    begun = any((folder / name).exists() for name in CHECKPOINTS)
    if begun and not (args.resume or args.force):
        raise ValueError(
            f"{folder} holds a run; --resume goes on with it, --force "
            "replaces it, --name makes another"
        )
    stories, valid, source = find_stories(args.source, args.folder)
    valid = valid[: args.valid_stories]
    print(
        f"stories: {len(stories):,} of {source}, "
        f"and {len(valid):,} more to measure on"
    )
    make = resume if args.resume else begin
    run, tokenizer = make(args, folder, stories)
    print(
        f"model: {count_params(run.params):,} parameters, "
        f"{tokenizer.vocab_size:,} tokens; writes to {folder}"
    )
    parts = [tokenize_stories(part, tokenizer) for part in (stories, valid)]
    check_data(run, *parts)
    distributed.check_share(team, run.settings)
    with only_one(folder):
        if not args.resume:  # save at once, so that it can be resumed
            with put_aside(folder / name for name in RUN_FILES):
                save_run(folder, run, tokenizer)
        with distributed.lead(team, folder, run, parts) as plugs:
            train_on_stories(run, *parts, folder, **plugs)
        if not (folder / TOKENIZER).exists():  # the folder was removed
            tokenizer.save(folder / TOKENIZER)
    report(run, tokenizer, valid)
    if source in ("grammar", "embedded grammar"):
        ask_grammar(run, tokenizer, valid)


def given(args, names):
    """Return {name: value} of those options that stood in the command."""
    said = vars(args).items()
    return {k: v for k, v in said if k in names and v is not None}


def begin(args, folder, stories):
    """Return a new run and a tokenizer made from the stories."""
    config, settings = PRESETS[args.preset], SETTINGS
    if args.like:
        about, _ = load_run(args.folder / "runs" / args.like)
        config, settings = about.config, about.settings
    settings = replace(settings, **given(args, vars(SETTINGS)))
    config = replace(config, **given(args, SIZES))
    ranks = train_bpe(END_OF_TEXT.join(stories), config.vocab_size)
    tokenizer = bpe_tokenizer(ranks)
    config = replace(
        config,
        vocab_size=tokenizer.vocab_size,  # few stories give fewer tokens
        max_seq_len=settings.seq_len,  # no position is left untrained
    )
    return start_run(config, settings), tokenizer


def resume(args, folder, stories):
    """Return the run and the tokenizer in folder.

    A longer run and one that has diverged need other steps, lr or max_norm;
    raises ValueError for any other setting in the command.
    """
    changed = given(args, [*vars(SETTINGS), *SIZES, "like"])
    if others := sorted(set(changed) - {"steps", "lr", "max_norm"}):
        raise ValueError(
            "--resume goes on with the settings of the run and takes only "
            "--steps, --lr and --max-norm, not "
            f"{', '.join(others).replace('_', '-')}"
        )
    run, tokenizer = load_run(folder)
    if run.optimizer.state["step"] != run.step:
        raise ValueError(
            f"{folder} was saved to generate from, without its optimizer, "
            "and cannot go on; train a new run"
        )
    run.settings = replace(run.settings, **changed)
    if run.step > run.settings.steps:
        raise ValueError(
            f"{folder} has made {run.step:,} steps already; --steps must be "
            "more"
        )
    return run, tokenizer


def report(run, tokenizer, valid):
    """Print loss, perplexity and bits per byte on valid, and one story."""
    bits = bits_per_byte(valid, tokenizer, run.params, run.config)
    nats = bits * math.log(2) * sum(len(s.encode("utf-8")) for s in valid)
    loss = nats / (len(tokenize_stories(valid, tokenizer)) - 1)
    print(
        f"after step {run.step:,}, on {len(valid):,} stories held out: loss "
        f"{loss:.3f} nats per token, perplexity {perplexity(loss):.2f}, "
        f"{bits:.3f} bits per byte\n"
    )
    rng = np.random.default_rng(run.settings.seed)
    print(*tell(1, run, tokenizer, rng, temperature=0.8))


def tell(n, run, tokenizer, rng, **settings):
    """Return n stories of the model."""
    end, n_tokens = tokenizer.end_of_text, run.config.max_seq_len
    options = {"n_tokens": n_tokens, "rng": rng, "stop_id": end}
    model = [[end]] * n, run.params, run.config
    told = generate_batch(*model, **options, **settings)
    return [tokenizer.decode(ids) for ids in told]


def ask_grammar(run, tokenizer, valid, n=100):
    """Print the least possible loss on valid, and how many stories pass."""
    n_tokens = len(tokenize_stories(valid, tokenizer)) - 1
    floor = -sum(map(story_log_prob, valid)) / n_tokens
    told = tell(n, run, tokenizer, np.random.default_rng(0))
    print(
        f"\nthe grammar itself pays {floor:.3f} nats per token for these "
        f"stories; of {n} told at temperature 1 it accepts "
        f"{sum(map(is_story, told))}"
    )


# generate, eval


def generate_command(args):
    """Print the prompt and what the model makes of it, as it comes."""
    settings = {
        name: value
        for name in ("temperature", "top_k", "top_p", "min_p")
        if (value := getattr(args, name)) is not None
    }
    if args.beams and settings:
        raise ValueError(
            "beam search draws nothing; leave out --beams or the settings "
            "of sampling"
        )
    if args.seed is not None:
        check_integer("seed", args.seed, 0)
    run, tokenizer = load_run(args.folder / "runs" / args.run)
    prompt = [tokenizer.end_of_text, *tokenizer.encode(args.prompt)]
    options = {
        "n_tokens": args.length or run.config.max_seq_len,
        "stop_id": tokenizer.end_of_text,
    }
    model = prompt, run.params, run.config
    if args.beams:
        ids, _ = beam_search(*model, n_beams=args.beams, **options)[0]
    else:
        rng = np.random.default_rng(args.seed)
        settings = {"temperature": 0.8} | settings | options
        ids = stream(*model, rng=rng, **settings)
    print(args.prompt, end="", flush=True)
    for piece in decode_stream(ids, tokenizer):
        print(piece, end="", flush=True)
    print()


def decode_stream(ids, tokenizer):
    """Yield text as ids come; half a character waits for its other half."""
    seen, shown = [], 0
    for i in ids:
        seen.append(i)
        text = tokenizer.decode(seen)
        if not text.endswith("\ufffd"):
            yield text[shown:]
            shown = len(text)
    yield tokenizer.decode(seen)[shown:]


def evaluate_command(args):
    """Print the bits per byte of a run on the stories of a file."""
    run, tokenizer = load_run(args.folder / "runs" / args.run)
    stories = load_stories(args.on)
    bits = bits_per_byte(stories, tokenizer, run.params, run.config)
    n_bytes = sum(len(story.encode("utf-8")) for story in stories)
    print(
        f"{bits:.3f} bits per byte on {len(stories):,} stories, "
        f"{n_bytes:,} bytes"
    )


def report_command(args):
    """Measure what a run can do, and write REPORT.md beside it."""
    from helpers.runs.report import write_report  # matplotlib takes a second

    print(write_report(args.folder / "runs" / args.run, args.on))


# options


def build_parser():
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser("python -m helpers")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, add_options in (
        ("data", data_command, add_data_options),
        ("train", train_command, add_train_options),
        ("generate", generate_command, add_generate_options),
        ("eval", evaluate_command, add_eval_options),
        ("report", report_command, add_report_options),
    ):
        text = command.__doc__
        sub = commands.add_parser(name, help=text, description=text)
        add_options(sub.add_argument)
        sub.add_argument(
            "--folder",
            type=Path,
            default=DATA,
            help="where tinystories/ and runs/ are (default: data/)",
        )
        sub.set_defaults(command=command)
    return parser


def add_data_options(add):
    """Ask where the stories come from, and how many."""
    add(
        "--from",
        dest="source",
        metavar="FILE",
        nargs="+",
        help="take files, not the hub",
    )
    add(
        "--stories",
        type=count,
        metavar="N",
        help=f"the first N (default: {STORIES:,} of the hub, all of a file)",
    )
    add(
        "--held-out",
        type=float,
        default=0.1,
        metavar="X",
        help="share of the stories that goes to valid.txt (default: 0.1)",
    )
    add("--force", action="store_true", help="replace what is there")


def add_train_options(add):
    """Ask for the model, the stories, and every field of TrainSettings."""
    add("--preset", choices=PRESETS, default="tiny")
    add("--like", metavar="RUN", help="model and settings of another run")
    add("--name", help="name of the run (default: my-PRESET)")
    add(
        "--stories",
        dest="source",
        metavar="FILE",
        help='or "grammar" (default: what `make data` wrote, or the grammar)',
    )
    add(
        "--valid-stories",
        type=count,
        default=200,
        metavar="N",
        help="how many stories to measure on (default: 200)",
    )
    add("--resume", action="store_true", help="go on with the run")
    add("--force", action="store_true", help="replace the run")
    unset = {"default": argparse.SUPPRESS, "metavar": "X"}
    for name in SIZES:
        kind = float if name == "dropout" else count
        option = "--" + name.replace("_", "-")
        add(option, type=kind, help="default: the preset's", **unset)
    for name, default in vars(SETTINGS).items():
        option = "--" + name.replace("_", "-")
        add(option, type=type(default), help=f"default: {default}", **unset)


def add_generate_options(add):
    """Ask which run writes, from which prompt, and how it draws."""
    add("--run", default=SHIPPED, help=f"default: {SHIPPED}")
    add("--prompt", default="", help="default: none, a new story")
    add("--temperature", type=float, help="default: 0.8")
    add("--top-k", type=count, help="keep the K most likely tokens")
    add("--top-p", type=float, help="keep the most likely mass P")
    add("--min-p", type=float, help="keep P times the highest, and above")
    add("--length", type=count, help="tokens (default: as many as fit)")
    add("--seed", type=int, help="the same seed writes the same text")
    add("--beams", type=count, help="search the best text with N beams")


def add_eval_options(add):
    """Ask which run to measure, and on what."""
    add("--run", default=SHIPPED, help=f"default: {SHIPPED}")
    add("--on", required=True, metavar="FILE", help="stories to measure on")


def add_report_options(add):
    """Ask which run to report on, and which stories to measure it on."""
    add("--run", default=SHIPPED, help=f"default: {SHIPPED}")
    add(
        "--on",
        nargs="+",
        default=[],
        metavar="FILE",
        help="measure it on these stories first",
    )


def count(text):
    """Read an integer that is at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
