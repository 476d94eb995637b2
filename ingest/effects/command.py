"""`atlas effects`."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.cli.options import no_cache
from ingest.process.startup import quiet_option, starting

FILE = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True})
@click.argument("file", type=FILE)
@click.option(
    "--pairs",
    type=click.IntRange(1),
    default=50,
    help="Measure the N best exclusive pairs and the N best by average precision.",
)
@click.option("--positions", type=click.IntRange(1), default=16, help="Most positions of stored texts per pair.")
@click.option("--budget", type=click.IntRange(1), default=20_000, help="Most forward passes, best pairs first.")
@click.option("--model", help="What to load, as for `atlas ingest`; by default the atlas's own model.")
@click.option("--revision", help="Revision of the model on the Hub; by default the atlas's own.")
@no_cache()
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option("--out", type=FILE, help="File to write; by default FILE itself, replaced by a rename.")
@click.option("--seed", type=int, default=0, help="Seed of the bootstrap intervals.")
@click.option("--force", is_flag=True, help="Replace the file of --out.")
@quiet_option()
def effects(file: Path, quiet: bool, **options: object) -> None:
    """Measure whether neurons cause the predictions that their weights promise: each is mean-ablated where it fires,
    and the token's probability, rank and logit before and after are recorded in FILE, with intervals.

    FILE is copied, extended, checked and renamed into place, under a new build_id; running readers keep the old one.
    """
    from atlas.cli.streams import plain_console

    console = plain_console(stderr=True, quiet=quiet)
    with starting(console):  # torch takes seconds to import.
        from ingest.effects.record import EffectsRequest, record_effects
    report = record_effects(EffectsRequest(file=file, **options), console)
    left_out = f"; {report.n_left_out} left out by --budget" if report.n_left_out else ""
    summary = (
        f"{report.out}  build {report.build_id}: {report.n_pairs} pairs{left_out}, {report.forward_passes:,} forward "
        f"passes, {report.seconds['Ablation']:.1f} s."
    )
    console.print(summary, markup=False, soft_wrap=True)
