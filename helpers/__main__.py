"""The command line: all that the Makefile does, also where there is no make.

    python -m helpers lab | exercises | progress | data | train | ...

Support code, not built in a lesson. The commands for what takes minutes to
hours are here and call the functions of the notebooks; each has --help. The
others are in lab/jobs.py.
"""

import argparse
import contextlib
import math
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from helpers import DATA, SHIPPED
from helpers.generation import beam_search, generate_batch, stream
from helpers.lab import jobs
from helpers.lab.jobs import JOBS
from helpers.language_model import PRESETS, count_params, perplexity
from helpers.llama import LLAMA
from helpers.pretrained import fetch
from helpers.pretrained import folders as pretrained
from helpers.runs import distributed
from helpers.runs.checkpoints import (
    CHECKPOINTS,
    load_run,
    replace_run,
    write_summary,
)
from helpers.runs.files import brief, whole_file
from helpers.runs.folders import STORY_FILES, only_one, read_whole, replaced
from helpers.runs.guards import check_data, check_integer, check_name
from helpers.runs.loop import train_on_stories
from helpers.runs.stops import patient_output, signals_call
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
from helpers.training import (
    TrainSettings,
    bits_per_byte,
    learning_rate,
    start_run,
)

STORIES = 25_000  # from the hub, unless --stories says otherwise
VALID_STORIES = 200  # to measure on, unless --valid-stories says otherwise
SETTINGS = TrainSettings(batch_size=16, seq_len=256)
WHY_SETTINGS = (
    "A batch is 16 windows of 256 tokens, because most stories fit into one; "
    "lesson 06 shows 32 of 128, as many tokens, which take less time."
)
RECIPES = {  # what --preset NAME stands for, beside the sizes of PRESETS
    "grammar": {
        "preset": "tiny",
        "source": "grammar",
        "valid_stories": 100,
        "vocab_size": 1024,
        "seq_len": 144,
        "lr": 5e-3,
        "windows": "stories",
        "decay": "linear",
        "final": 0.02,
        "steps": 4500,
        "eval_every": 1500,
    },
}
SIZES = ["vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "dropout"]
SIZES += ["n_kv_heads"]
NO_NETWORK = (
    "The Hugging Face hub cannot be reached, so no TinyStories: connect and "
    "run `make data`, or take a file with `make data FROM=file`; the "
    "notebooks use the embedded grammar meanwhile."
)

NO_HUB = (
    "The Hugging Face hub cannot be reached, so no weights: connect and run "
    "`make {name}`, or take a folder with `make {name} FROM=folder`."
)


def main(argv=None):
    """Run one command; return the exit code.

    0 done, 1 no network, 2 an error said in one line, 130 interrupted.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in JOBS:
        return jobs.run(argv[0], argv[1:])
    with contextlib.suppress(AttributeError):  # what a notebook prints to
        sys.stdout.reconfigure(errors="replace")  # not every terminal has é
    stop_like_ctrl_c = signals_call(signal.default_int_handler)
    with patient_output() as out, stop_like_ctrl_c:
        code = run_command(argv)
        out.flush()
        if error := out.failed():
            print(f"error: the output is lost ({error})", file=sys.stderr)
            return 2
        return code


def run_command(argv):
    """Do what main does, with output that cannot fail."""
    args = build_parser().parse_args(argv)
    if [] in vars(args).values():  # what argparse makes of --run=--
        build_parser().error("-- is no value of an option")
    try:
        return args.command(args) or 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:  # datasets
        print("error:", jobs.say_missing(error, "data"), file=sys.stderr)
        return 2
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
    with only_one(folder, "`data` command", hint=""):
        there = any((folder / name).exists() for name in STORY_FILES)
        if there and not args.force:
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
        source = " ".join(args.source or ["the hub"])
        parts = split(stories, source, args.held_out)
        n_bytes = write_stories(folder, *parts)
    n_train, n_valid = map(len, parts)
    print(
        f"{folder}: {n_train:,} stories to train on, {n_valid:,} held out, "
        f"{len(stories) - n_train - n_valid:,} repeated ones dropped, "
        f"{n_bytes:,} bytes"
    )


def split(stories, source, held_out=None):
    """Return stories to train on and stories held out, a tenth or one."""
    if len(stories) == 1:
        raise ValueError(
            f"{source} holds one story; put a line {END_OF_TEXT} between "
            "stories"
        )
    if held_out is None:
        held_out = max(0.1, 1 / len(set(stories)))
    return split_stories(stories, held_out)


def write_stories(folder, train_stories, valid_stories):
    """Write both files, or neither; return their size in bytes."""
    n_bytes = 0
    with replaced(folder) as new:
        for name, part in zip(STORY_FILES, (train_stories, valid_stories)):
            with whole_file(new / name) as file:
                for story in part:
                    n_bytes += file.write(story.encode("utf-8"))
                    n_bytes += file.write(f"\n{END_OF_TEXT}\n".encode())
    return n_bytes


# train


@distributed.all_or_none()
def train_command(args):
    """Train a new run, or go on with one, and say how good it is."""
    team = distributed.find_team()
    if team and team.rank > 0:
        return distributed.follow(team)
    name = args.name or f"my-{args.preset}"
    check_name(name)
    folder = args.folder / "runs" / name
    with only_one(folder):
        make = resume if args.resume else begin
        run, tokenizer, stories, valid = make(args, folder)
        print(
            f"model: {count_params(run.params):,} parameters, "
            f"{tokenizer.vocab_size:,} tokens; writes to {folder}"
        )
        parts = [
            tokenize_stories(part, tokenizer) for part in (stories, valid)
        ]
        check_data(run, *parts)
        distributed.check_share(team, run.settings)
        if args.resume:
            write_summary(folder, run)
        else:  # save at once, so that it can be resumed
            replace_run(folder, run, tokenizer)
        with distributed.lead(team, folder, run, parts) as plugs:
            train_on_stories(run, *parts, folder, tokenizer=tokenizer, **plugs)
    report(run, tokenizer, valid)
    if run.notes["stories"]["source"] == "grammar":
        ask_grammar(run, tokenizer, valid)


def find_stories(folder, source=None, valid_stories=VALID_STORIES):
    """Return stories to train on, some to measure on, and how to find them.

    source: "grammar", a file to split, or None for what open_stories finds.
    """
    if source is None:
        stories, valid, name = read_whole(
            folder / "tinystories", lambda: open_stories(folder)
        )
        source = "grammar" if name == "embedded grammar" else None
    else:
        name, source = source, source_of(source)
        stories, valid = split(load_stories(source), name)
    valid = valid[:valid_stories]
    print(
        f"stories: {len(stories):,} of {name}, "
        f"and {len(valid):,} more to measure on"
    )
    found = {"source": source, "valid_stories": valid_stories}
    return stories, valid, found


def source_of(source):
    """Return "grammar", or the path of a file from wherever one stands."""
    return source if source == "grammar" else os.path.abspath(source)


def given(args, names):
    """Return {name: value} of those options that stood in the command."""
    said = vars(args).items()
    return {k: v for k, v in said if k in names and v is not None}


def begin(args, folder):
    """Return a new run, a tokenizer, and stories to train and measure on."""
    check_free(folder, args.force)
    args = with_recipe(args)
    config, settings = PRESETS[args.preset], SETTINGS
    if args.like:
        about, _ = load_run(args.folder / "runs" / args.like)
        config, settings = about.config, about.settings
    settings = replace(settings, **given(args, vars(SETTINGS)))
    kind = LLAMA if args.llama else {}
    config = replace(config, **given(args, SIZES), **kind)
    asked = given(args, ["source", "valid_stories"])
    stories, valid, found = find_stories(args.folder, **asked)
    ranks = train_bpe(END_OF_TEXT.join(stories), config.vocab_size)
    tokenizer = bpe_tokenizer(ranks)
    config = replace(
        config,
        vocab_size=tokenizer.vocab_size,  # few stories give fewer tokens
        max_seq_len=settings.seq_len,  # no position is left untrained
    )
    run = start_run(config, settings)
    run.notes["stories"] = found
    say_warmup(settings)
    return run, tokenizer, stories, valid


def with_recipe(args):
    """Return options as given, else as the recipe has it, if it is one."""
    recipe = RECIPES.get(args.preset, {})
    said = given(args, vars(args).keys() - {"preset"})
    return argparse.Namespace(**vars(args) | recipe | said)


def check_free(folder, force):
    """Raise ValueError unless a new run may be made in a folder."""
    held = set(os.listdir(folder)) - {".lock"} if folder.exists() else set()
    if held & set(CHECKPOINTS):
        if not force:
            raise ValueError(
                f"{folder} holds a run; --resume goes on with it, --force "
                "replaces it, --name makes another"
            )
    elif held:
        raise ValueError(
            f"{folder} holds {min(held)} and no run; choose another --name"
        )


def resume(args, folder):
    """Return what begin does, of the run in folder.

    A longer run and one that has diverged need other steps, lr or max_norm;
    raises ValueError for any other setting in the command.
    """
    changed = given(args, [*vars(SETTINGS), *SIZES, "like", "llama"])
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
    before, run.settings = run.settings, replace(run.settings, **changed)
    if run.step > run.settings.steps:
        raise ValueError(
            f"{folder} has made {run.step:,} steps already; --steps must be "
            "more"
        )
    asked = given(args, ["source", "valid_stories"])
    asked = run.notes["stories"] | asked
    stories, valid, run.notes["stories"] = find_stories(args.folder, **asked)
    say_rate(run, before)
    return run, tokenizer, stories, valid


def say_warmup(settings):
    """Say so if a run is over before its rate has risen."""
    if settings.warmup >= settings.steps:
        print(
            f"the rate still rises when the run ends: --warmup is "
            f"{settings.warmup:,} steps and --steps {settings.steps:,}"
        )


def say_rate(run, before):
    """Say what --resume does to the rate, or that there is nothing to do."""
    rates = [
        learning_rate(run.step, s.lr, s.warmup, s.steps, s.decay, s.final)
        for s in (before, run.settings)
    ]
    if run.step == run.settings.steps:
        print(f"all {run.step:,} steps are done; --steps asks for more")
    elif run.settings != before:
        print(
            f"goes on at step {run.step:,} with a rate of {rates[1]:.3g} in "
            f"place of {rates[0]:.3g}, as a run of {run.settings.steps:,} "
            f"steps and --lr {run.settings.lr:g} has it"
        )


def report(run, tokenizer, valid):
    """Print loss, perplexity and bits per byte on valid, and one story."""
    bits = bits_per_byte(valid, tokenizer, run.params, run.config)
    nats = bits * math.log(2) * sum(len(s.encode("utf-8")) for s in valid)
    loss = nats / (len(tokenize_stories(valid, tokenizer)) - 1)
    guesses = f"{perplexity(loss):.2f}" if loss < 700 else "beyond e**700"
    print(
        f"after step {run.step:,}, on {len(valid):,} stories held out: loss "
        f"{loss:.3f} nats per token, perplexity {guesses}, "
        f"{bits:.3f} bits per byte\n"
    )
    rng = np.random.default_rng(run.settings.seed)
    print(*tell(1, run, tokenizer, rng, temperature=0.8))


def tell(n, run, tokenizer, rng, **settings):
    """Return n stories of the model."""
    end, n_tokens = tokenizer.end_of_text, run.config.max_seq_len
    if n_tokens == 1:  # there is no room for a first word
        return [""] * n
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
    text = args.prompt.rstrip(" ")  # words bring the space before them
    prompt = [tokenizer.end_of_text, *tokenizer.encode(text)]
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
    print(text, end="", flush=True)
    for piece in decode_stream(ids, tokenizer):
        print(piece, end="", flush=True)
    print()


def decode_stream(ids, tokenizer):
    """Yield text as ids come; half a character waits for its other half."""
    held = []
    for i in ids:
        held.append(i)
        text = tokenizer.decode(held)
        if not text.endswith("\ufffd"):
            yield text
            held = []
    yield tokenizer.decode(held)


def evaluate_command(args):
    """Print the bits per byte of a run on the stories of a file."""
    run, tokenizer = load_run(args.folder / "runs" / args.run)
    stories = load_stories(args.on)
    if len(stories) == 1:
        print(f"{args.on} counts as one story: it has no line {END_OF_TEXT}")
    bits = bits_per_byte(stories, tokenizer, run.params, run.config)
    n_bytes = sum(len(story.encode("utf-8")) for story in stories)
    print(
        f"{bits:.3f} bits per byte on {len(stories):,} stories, "
        f"{n_bytes:,} bytes"
    )


def export_command(args):
    """Write a run as a Hugging Face folder that transformers loads."""
    run, tokenizer = load_run(args.folder / "runs" / args.run)
    with only_one(args.to, "`export` command", hint=""):
        if args.to.exists() and any(args.to.iterdir()):
            raise ValueError(f"{args.to} holds files; choose another --to")
        with replaced(args.to) as new:
            pretrained.export(run, tokenizer, new)
    print(
        f"{args.to}: {count_params(run.params):,} parameters, for "
        "transformers' AutoModelForCausalLM and AutoTokenizer"
    )


def gpt2_command(args):
    """Fetch GPT-2 with 124 million parameters to runs/gpt2."""
    return fetch_command(args, "gpt2")


def llama_command(args):
    """Fetch stories260K, a small Llama of llama2.c, to runs/stories260K."""
    return fetch_command(args, "stories260K")


def fetch_command(args, name):
    """Write somebody else's model to a folder in runs, and say what it is."""
    folder = args.folder / "runs" / name
    with only_one(folder, f"`{name}` command", hint=""):
        if folder.exists() and not args.force:
            raise ValueError(f"{folder} is there already; --force replaces it")
        if not (args.source or download.hub_reachable()):
            print(NO_HUB.format(name="gpt2" if name == "gpt2" else "llama"))
            return 1
        with replaced(folder) as new:
            fetch.fetch(name, new, args.source)
            run, tokenizer = load_run(new)
    print(
        f"{folder}: {count_params(run.params):,} parameters, "
        f"{tokenizer.vocab_size:,} tokens; python -m helpers generate --run "
        f"{name}"
    )


def report_command(args):
    """Measure what a run can do, and write REPORT.md beside it."""
    os.environ["MPLBACKEND"] = "Agg"  # no window for a figure
    from helpers.runs.report import write_report  # matplotlib takes a second

    print(write_report(args.folder / "runs" / args.run, args.on))


# options


class Parser(argparse.ArgumentParser):
    """A parser that knows why a value that begins with - is not taken."""

    def error(self, message):
        if message.endswith("expected one argument"):
            message += "; one that begins with - is written --option=-value"
        super().error(message)


def build_parser():
    """Return the parser of all commands."""
    parser = Parser("python -m helpers")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, job in JOBS.items():
        commands.add_parser(name, help=job.__doc__)
    for name, command, add_options in (
        ("data", data_command, add_data_options),
        ("train", train_command, add_train_options),
        ("generate", generate_command, add_generate_options),
        ("eval", evaluate_command, add_eval_options),
        ("report", report_command, add_report_options),
        ("export", export_command, add_export_options),
        ("gpt2", gpt2_command, add_fetch_options),
        ("llama", llama_command, add_fetch_options),
    ):
        text = command.__doc__
        why = WHY_SETTINGS if name == "train" else None
        sub = commands.add_parser(
            name, help=text, description=text, epilog=why
        )
        add_options(sub.add_argument)
        sub.add_argument(
            "--folder",
            type=folder_of,
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
        type=os.path.expanduser,
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
        metavar="X",
        help="share of the stories that goes to valid.txt (default: 0.1, and "
        "one at least)",
    )
    add("--force", action="store_true", help="replace what is there")


def add_train_options(add):
    """Ask for the model, the stories, and every field of TrainSettings."""
    add(
        "--preset",
        choices=[*PRESETS, *RECIPES],
        default="tiny",
        help="grammar: tiny on the story grammar, close to its entropy",
    )
    add("--like", metavar="RUN", help="model and settings of another run")
    add(
        "--llama",
        action="store_const",
        const=True,
        help="with Llama's block in place of GPT-2's, see A4",
    )
    add("--name", help="name of the run (default: my-PRESET)")
    add(
        "--stories",
        dest="source",
        metavar="FILE",
        type=os.path.expanduser,
        help='or "grammar" (default: what `make data` wrote, or the grammar; '
        "with --resume: those of the run)",
    )
    add(
        "--valid-stories",
        type=count,
        metavar="N",
        help=f"how many stories to measure on (default: {VALID_STORIES})",
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
        kind = whole_number if type(default) is int else type(default)
        add(option, type=kind, help=f"default: {default}", **unset)


def add_generate_options(add):
    """Ask which run writes, from which prompt, and how it draws."""
    add_run(add)
    add(
        "--prompt",
        default="",
        metavar="TEXT",
        help="default: none, a new story; spaces at its end are left out, and "
        "one that begins with - is written --prompt=-TEXT",
    )
    add("--temperature", type=float, help="default: 0.8")
    add("--top-k", type=count, help="keep the K most likely tokens")
    add("--top-p", type=float, help="keep the most likely mass P")
    add("--min-p", type=float, help="keep P times the highest, and above")
    add("--length", type=count, help="tokens (default: as many as fit)")
    add("--seed", type=int, help="the same seed writes the same text")
    add("--beams", type=count, help="search the best text with N beams")


def add_run(add):
    """Ask for a run: its name, or the path of its folder."""
    add(
        "--run",
        default=SHIPPED,
        type=os.path.expanduser,
        help=f"a name in runs/, or a folder (default: {SHIPPED})",
    )


def add_eval_options(add):
    """Ask which run to measure, and on what."""
    add_run(add)
    add(
        "--on",
        required=True,
        metavar="FILE",
        type=os.path.expanduser,
        help="stories to measure on",
    )


def add_report_options(add):
    """Ask which run to report on, and which stories to measure it on."""
    add_run(add)
    add(
        "--on",
        nargs="+",
        default=(),
        metavar="FILE",
        type=os.path.expanduser,
        help="measure it on these stories first",
    )


def add_export_options(add):
    """Ask which run to write, and where to."""
    add_run(add)
    add("--to", required=True, metavar="FOLDER", type=folder_of)


def add_fetch_options(add):
    """Ask where the files come from."""
    add(
        "--from",
        dest="source",
        metavar="FOLDER",
        type=folder_of,
        help="take the files of a folder, not the hub's",
    )
    add("--force", action="store_true", help="replace what is there")


def count(text):
    """Read an integer that is at least 1."""
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{brief(text, 60)!r} is not an integer >= 1"
        )
    return int(text)


def whole_number(text):
    """Read an integer of at most 18 digits."""
    if not re.fullmatch(r"[-+]?\d{1,18}", text):
        raise argparse.ArgumentTypeError(
            f"{brief(text, 60)!r} is not an integer of at most 18 digits"
        )
    return int(text)


def folder_of(text):
    """Read a folder; the shell leaves ~ alone in --folder=~/x."""
    return Path(os.path.expanduser(text))


if __name__ == "__main__":
    sys.exit(main())
