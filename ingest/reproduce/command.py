"""`atlas reproduce`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from atlas.cli.options import no_cache
from ingest.process.startup import quiet_option, starting

FILE = click.Path(path_type=Path)
DIFFERS = 3
"""Exit status when a measured figure differs from the published one."""


@click.command(context_settings={"show_default": True})
@click.argument("what", type=click.Choice(["an-neuron"]))
@click.option("--model", help="What to load, as for `atlas ingest`; by default gpt2-large, or the atlas's own.")
@click.option("--revision", help="Revision of the model on the Hub.")
@no_cache()
@click.option(
    "--atlas", type=FILE, help="An atlas of that model to use instead of making one; the study is added to it."
)
@click.option("--out", type=FILE, default="an-neuron.duckdb", help="Atlas to make, without --atlas.")
@click.option("--dataset", help="Path or Hub id of the dataset; by default NeelNanda/pile-10k.")
@click.option(
    "--max-texts",
    type=click.IntRange(1),
    help="Read at most this many texts; figures that count all texts are not judged.",
)
@click.option("--report", type=FILE, metavar="DIR", help="Folder of the report  [default: beside the atlas].")
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--checkpoint", type=FILE, metavar="DIR", help="Save the work in DIR, from which the same command resumes."
)
@click.option("--force", is_flag=True, help="Replace the file of --out.")
@quiet_option()
@click.option("--figures", type=FILE, help="Compare with other figures: a file like ingest/reproduce/an_neuron.json.")
def reproduce(what: str, figures: Path | None, out: Path, atlas: Path | None, quiet: bool, **options: object) -> None:
    """Measure the figures of "We Found An Neuron in GPT-2", and print published against measured values.

    Makes an atlas of GPT-2 Large by the post's conventions, or uses --atlas; runs the post's study on it and records it
    there; counts the post's own bins in a second pass over the data. Writes the report as Markdown and JSON. Exit
    codes: 0 all measured figures are reproduced; 3 some figure differs; 1 an error, which is printed.
    """
    from atlas.cli.streams import plain_console

    console = plain_console(stderr=True, quiet=quiet)
    with starting(console):  # torch takes seconds to import.
        from ingest.reproduce.figures import read_published
        from ingest.reproduce.report import print_findings
        from ingest.reproduce.reproduce import ReproduceRequest
        from ingest.reproduce.reproduce import reproduce as run
    published = read_published() if figures is None else read_published(figures)
    request = ReproduceRequest(out=out, atlas=atlas, command=shlex.join(["atlas", *sys.argv[1:]]), **options)
    done = run(request, published, console)
    if not quiet:
        print_findings(done.report, plain_console(highlight=False, width=None if sys.stdout.isatty() else 140))
    console.print(f"{done.markdown}\n{done.json}", markup=False, soft_wrap=True)
    if done.report.n_differing:
        sys.exit(DIFFERS)
