"""`atlas merge`."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import click

from ingest.process.startup import quiet_option, starting

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("parts", metavar="PART...", nargs=-1, required=True, type=FILE)
@click.option("--out", required=True, type=FILE, help="File to write, as in atlas.duckdb.")
@click.option("--slug", help="Name in URLs, [a-z0-9-]+; by default that of the parts.")
@click.option("--force", is_flag=True, help="Replace the file to write if it exists.")
@quiet_option()
def merge(parts: tuple[Path, ...], out: Path, slug: str | None, force: bool, quiet: bool) -> None:
    """Make one atlas of PARTs (made with `atlas ingest --texts A:B`), as if their texts had been run together.

    Parts must be of the same model, data and options, over disjoint texts; they may be of different devices of one
    precision, and are named in any order. The tables from weights alone are those of the part with the first text.
    Attributions, studies and effects are not carried over: `atlas attribute` adds attributions to the whole.
    """
    from atlas.cli.streams import plain_console

    console = plain_console(stderr=True, quiet=quiet)
    with starting(console):  # torch takes seconds to import.
        from ingest.merge.merge import merge
    # A terminated job cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    command = shlex.join(["atlas", *sys.argv[1:]])
    report = merge(parts, out, console, slug=slug, force=force, command=command)
    if quiet:
        return
    click.echo(
        f"{report.out}  build {report.build_id}: {report.n_parts} parts, {report.n_texts:,} texts, "
        f"{report.n_positions:,} positions, {report.seconds:.1f} s."
    )
