"""`atlas attribute`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from atlas.cli.options import no_cache
from ingest.process.startup import quiet_option, starting

FILE = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True})
@click.argument("file", type=FILE)
@click.option("--texts", default="all", metavar="all|N", help="Read all texts of the atlas, or N of them, by a hash.")
@click.option(
    "--tokens", type=click.IntRange(1), default=2000, help="Rank neurons for at most the N tokens predicted most."
)
@click.option("--check", type=click.IntRange(2), default=500, help="Check about N attributions by exact ablation.")
@click.option("--dataset", help="Where the texts are, as for `atlas ingest`; by default the atlas's own dataset.")
@click.option("--model", help="What to load, as for `atlas ingest`; by default the atlas's own model.")
@click.option("--revision", help="Revision of the model on the Hub; by default the atlas's own.")
@no_cache()
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    help="Precision of the blocks; auto is float32 on a CPU, bfloat16 on CUDA. The check is float32.",
)
@click.option("--memory", metavar="SIZE", help="Use at most about this much for batches, such as 4GB.")
@click.option(
    "--checkpoint",
    type=FILE,
    metavar="DIR",
    help="Save the work in DIR, from which the same command resumes.",
)
@click.option("--checkpoint-every", default="5min", metavar="TIME", help="Time between checkpoints, such as 90s or 1h.")
@click.option("--out", type=FILE, help="File to write; by default FILE itself, replaced by a rename.")
@click.option("--seed", type=int, default=0, help="Seed of the choice of what is checked.")
@click.option("--force", is_flag=True, help="Replace the file of --out.")
@quiet_option()
def attribute(file: Path, texts: str, memory: str | None, checkpoint_every: str, quiet: bool, **options: Any) -> None:
    """Attribute what the model predicts to its neurons, over texts of the atlas's dataset, and record it in FILE: for
    every neuron how much it matters, for every frequent token the neurons that support and oppose it most.

    One forward and one backward pass a batch give every neuron's attribution at every position; a sample of them is
    checked by exact ablation. Neurons of the last layer are ablated for what they change in the prediction's entropy.
    FILE is copied, extended, checked and renamed into place, under a new build_id. Under torchrun (`torchrun --nproc-
    per-node N --no-python atlas attribute ...`) the texts are divided over the processes.
    """
    from atlas.cli.streams import plain_console
    from ingest.errors import OptionError
    from ingest.process.settings import parse_bytes, parse_duration
    from ingest.process.stop import Stop

    if texts != "all" and not (texts.isdecimal() and int(texts) > 0):
        raise OptionError(f"--texts {texts!r} is neither all nor a whole number from 1.")
    console = plain_console(stderr=True, quiet=quiet)
    with starting(console):  # torch takes seconds to import.
        from ingest.attribution.record import AttributionRequest, print_attribution, record_attribution
    request = AttributionRequest(
        file=file,
        texts=None if texts == "all" else int(texts),
        memory=parse_bytes(memory),
        checkpoint_every=parse_duration("--checkpoint-every", checkpoint_every),
        **options,
    )
    with Stop(resumable=request.checkpoint is not None, say=console.print) as stop:
        report = record_attribution(request, console, stop)
    if report is not None:
        print_attribution(report, console)
