"""`atlas study`."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click

from atlas.cli.options import no_cache
from ingest.process.startup import quiet_option, starting

FILE = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True})
@click.argument("file", type=FILE)
@click.option("--name", required=True, help="Name of the study in URLs, [a-z0-9-]+.")
@click.option("--clean", help="Prompt after which the answer is expected.")
@click.option("--corrupt", help="Prompt of as many tokens after which the other token is expected.")
@click.option("--answer", help="Token expected after the clean prompt, with its space, as in ' an'.")
@click.option("--other", help="Token that the answer is compared with, as in ' a'.")
@click.option(
    "--suite",
    type=FILE,
    help="Many prompt pairs (YAML or JSON Lines of clean, corrupt, answer, other); "
    "answer and other may come from the options.",
)
@click.option(
    "--patched",
    type=click.IntRange(1),
    default=200,
    help="Patch this many neurons of the model exactly, those of greatest attribution.",
)
@click.option(
    "--found", type=click.IntRange(0), default=10, help="At most this many neurons that stand out are ablated."
)
@click.option("--model", help="What to load, as for `atlas ingest`; by default the atlas's own model.")
@click.option("--revision", help="Revision of the model on the Hub; by default the atlas's own.")
@no_cache()
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option("--batch-size", type=click.IntRange(1), help="Forward passes run together  [default: by the prompt].")
@click.option("--out", type=FILE, help="File to write; by default FILE itself, replaced by a rename.")
@click.option("--seed", type=int, default=0, help="Seed of the bootstrap of a suite.")
@click.option("--force", is_flag=True, help="Replace a study of the same name, or the file of --out.")
@quiet_option()
def study(
    file: Path,
    name: str,
    clean: str | None,
    corrupt: str | None,
    answer: str | None,
    other: str | None,
    suite: Path | None,
    quiet: bool,
    **options: object,
) -> None:
    """Run the post's experiments on the model of FILE and record them in it: predictions of two prompts, the logit
    lens, activation patching by layer and by neuron, direct effects, ablations, edges between neurons.

    FILE is copied, extended, checked and renamed into place, under a new build_id; running readers keep the old one.
    """
    # torch takes seconds to import: not before the options are known to be well formed.
    from ingest.errors import OptionError

    if not re.fullmatch("[a-z0-9-]+", name):
        raise OptionError(f"The study's name {name!r} is not allowed: use only a-z, 0-9 and '-'.")
    prompt_options = {"--clean": clean, "--corrupt": corrupt, "--answer": answer, "--other": other}
    missing = [option for option, value in prompt_options.items() if value is None]
    if suite is None and missing:
        raise OptionError(
            f"{missing[0]} is missing: give all of {', '.join(prompt_options)}, or many pairs with --suite."
        )
    if suite is not None and (clean is not None or corrupt is not None):
        raise OptionError("--suite brings its own prompts: leave --clean and --corrupt out.")
    from atlas.cli.streams import plain_console

    console = plain_console(stderr=True, quiet=quiet)
    with starting(console):
        from ingest.study.record import Request, record_study
        from ingest.study.summary import print_study
    request = Request(
        file=file,
        name=name,
        clean=clean,
        corrupt=corrupt,
        answer=answer,
        other=other,
        suite=suite,
        command=shlex.join(["atlas", *sys.argv[1:]]),
        **options,
    )
    recorded = record_study(request, console)
    print_study(recorded, console)
