"""`atlas ingest`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from atlas.api.calls import OPTIONS
from atlas.cli.options import no_cache
from ingest.process.startup import quiet_option, starting

READOUTS = ("unembed", "embed")

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _statistics(command: _Function) -> _Function:
    """Add a flag for each optional statistic; they share the keyword `statistics`, a tuple of flags."""
    for flag, text in ((option.flag, option.help) for option in reversed(OPTIONS)):
        command = click.option(flag, "statistics", flag_value=flag, multiple=True, help=text)(command)
    return command


@click.command(context_settings={"show_default": True})
@click.option("--model", required=True, help="smollm2-135m, a GGUF file, a Hugging Face folder, or a Hub id.")
@click.option(
    "--dataset",
    default="pydoc",
    help="pydoc, vital-articles, .parquet/.jsonl/.csv/.txt (file, folder, glob), or a Hub id.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write, as in atlas.duckdb.")
@click.option("--slug", help="Name in URLs, [a-z0-9-]+; derived from the model's name by default.")
@click.option("--revision", help="Revision of the model on the Hub.")
@no_cache()
@click.option("--dataset-config", help="Configuration of a dataset on the Hub, or of a clone of one.")
@click.option("--split", default="train", help="Split of the dataset, or of a folder.")
@click.option("--text-column", default="text", help="Column that holds the texts.")
@click.option("--max-texts", type=click.IntRange(1), help="Read at most this many texts; streams a Hub dataset.")
@click.option("--context-length", type=click.IntRange(1), help="Most tokens per text, including BOS  [default: 1024].")
@click.option(
    "--overflow",
    type=click.Choice(["truncate", "split"]),
    default="truncate",
    help="Cut longer texts, or split them into several.",
)
@click.option("--batch-size", default="auto", help="Full-length texts per batch, or auto.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    help="Precision of the blocks; auto is float32 on a CPU, bfloat16 on CUDA.",
)
@click.option(
    "--readout",
    type=click.Choice(READOUTS),
    default="unembed",
    help="Matrix that turns the residual into scores; embed is the original post's convention.",
)
@click.option("--top-tokens", type=click.IntRange(1), default=50, help="Tokens kept per neuron and direction.")
@click.option("--top-neurons", type=click.IntRange(1), default=50, help="Neurons kept per token and direction.")
@click.option("--top-texts", type=click.IntRange(1), default=20, help="Texts kept per neuron and kind.")
@click.option(
    "--pair-candidates",
    type=click.IntRange(1),
    default=5,
    help="Count each neuron's K best (gated: and worst) tokens, each token's K best neurons.",
)
@click.option("--pairs", type=click.Path(path_type=Path), help="CSV of more pairs to count: neuron,token per line.")
@click.option("--texts", metavar="A:B", help="Only texts A up to B, by global text id.")
@click.option("--window", type=click.IntRange(1), default=64, help="Tokens shown around each example.")
@click.option("--count-bos", is_flag=True, help="Count the BOS position in statistics and examples.")
@click.option("--no-weights", is_flag=True, help="Omit the weights: a smaller file, fewer questions for SQL.")
@_statistics
@click.option(
    "--attribution",
    default="auto",
    metavar="all|N|0",
    help="Attribute predictions to neurons afterwards, as `atlas attribute` does, over all texts or N; auto is all on "
    "CUDA, 48 on a CPU.",
)
@click.option("--seed", type=int, default=0, help="Seed of the choice of interval examples.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Save the work in DIR, from which the same command resumes.",
)
@click.option("--checkpoint-every", default="5min", metavar="TIME", help="Time between checkpoints, such as 90s or 1h.")
@click.option(
    "--publish-every",
    metavar="TIME",
    help="While texts are read, write the atlas of those read so far "
    "about every TIME, such as 2min, for `atlas serve` to show.",
)
@click.option(
    "--resume",
    type=click.Choice(["auto", "never"]),
    default="auto",
    help="auto resumes from a checkpoint in DIR; never discards it and starts over.",
)
@click.option("--memory", metavar="SIZE", help="Use at most about this much, such as 8GB (of GPU memory on a GPU).")
@click.option(
    "--devices-per-rank",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="GPUs over which each process divides the model; weights without room there are read from the files.",
)
@quiet_option()
def ingest(
    batch_size: str,
    texts: str | None,
    no_weights: bool,
    checkpoint_every: str,
    publish_every: str | None,
    memory: str | None,
    attribution: str,
    quiet: bool,
    **options: Any,
) -> None:
    """Build an atlas of MODEL over DATASET: every neuron's congruence, activations and texts in one DuckDB file.

    Under torchrun (`torchrun --nproc-per-node N -m ingest ...`) the work is divided over the processes. Exit codes: 0
    done; 1 an error, printed; 2 wrong usage; 75 stopped by SIGTERM and resumable, 143 not resumable; 130 Ctrl-C.
    """
    # torch takes seconds to import: not before the options are known to be well formed.
    from atlas.cli.streams import plain_console
    from ingest.errors import OptionError
    from ingest.process.settings import Settings, parse_attribution, parse_bytes, parse_duration, parse_range
    from ingest.process.stop import Stop

    if batch_size != "auto" and not (batch_size.isdecimal() and int(batch_size) > 0):
        raise OptionError(f"--batch-size {batch_size!r} is neither auto nor a whole number from 1.")
    first, last = parse_range(texts)
    parse_attribution(attribution, "cpu")  # A mistake in it is told at once.
    console = plain_console(stderr=True, quiet=quiet)
    with starting(console):
        from ingest.process.device import choose_run_device
        from ingest.run.ingest import ingest as run_ingest
    settings = Settings(
        batch_size=None if batch_size == "auto" else int(batch_size),
        first_text=first,
        last_text=last,
        weights=not no_weights,
        command=shlex.join(["atlas", *sys.argv[1:]]),
        checkpoint_every=parse_duration("--checkpoint-every", checkpoint_every),
        publish_every=None if publish_every is None else parse_duration("--publish-every", publish_every),
        memory=parse_bytes(memory),
        attribution=parse_attribution(attribution, choose_run_device(options["device"]).type),
        **options,
    )
    with Stop(resumable=settings.checkpoint is not None, say=console.print) as stop:
        run_ingest(settings, console, stop, asked=attribution != "auto")
