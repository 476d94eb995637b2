"""Commands that read an atlas: info, show, sql, upgrade."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from atlas.cli.streams import plain_console
from atlas.cli.study_view import study_view
from atlas.cli.terminal import glance_table, neuron_page
from atlas.core.answer import texts
from atlas.core.answer.asking import Answer
from atlas.core.db import answer_together, open_atlas
from atlas.core.display import show_value, visible
from atlas.core.errors import NeuronNameError
from atlas.core.info import AtlasInfo, count_words, unfinished_words
from atlas.core.jsonable import dumps, jsonable
from atlas.core.schema import SCHEMA_VERSION
from atlas.core.units import names_refused, read_names
from atlas.core.upgrade import upgrade_file, upgraded_name
from atlas.topics.collection import collection
from atlas.topics.cut_list import statement_notes

FILE = click.Path(path_type=Path)


def _console() -> Console:
    # A pipe gets lines of a fixed width, independent of the terminal.
    return plain_console(highlight=False, width=None if sys.stdout.isatty() else 120)


@click.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print the row as JSON.")
def info(file: Path, as_json: bool) -> None:
    """Print the model, dataset, settings and versions of FILE."""
    with open_atlas(file) as atlas:
        record = atlas.info
    if as_json:
        click.echo(dumps({**jsonable(record), "versions": json.loads(record.versions)}, indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for field in fields(AtlasInfo):
        table.add_row(Text(field.name, "dim"), Text(show_value(getattr(record, field.name))))
    _console().print(table)
    _say_unfinished(record)


def _say_unfinished(record: AtlasInfo) -> None:
    note = unfinished_words(record)
    if note is not None:
        _console().print(Text(f"{note} ({count_words(record)} texts)", "bold"))


@click.command()
@click.argument("file", type=FILE)
@click.argument("neurons", metavar="NEURON", nargs=-1)
@click.option("--texts", default=5, show_default=True, type=click.IntRange(0), help="Texts shown of each kind.")
@click.option("--study", metavar="NAME", help="A recorded study instead of a neuron.")
def show(file: Path, neurons: tuple[str, ...], texts: int, study: str | None) -> None:
    """Print a neuron's page, or a study's, in the terminal. NEURON is a name such as L12N345 (also 12.345, 12:345,
    12/345); several are listed at a glance, each with its verdict and tokens."""
    if bool(neurons) == (study is not None):
        raise click.UsageError("Name either a NEURON or a --study.")
    with open_atlas(file) as atlas:
        _say_unfinished(atlas.info)
        if study is not None:
            _console().print(study_view(atlas, study))
            return
        refs, misnamed = read_names(atlas, neurons)
        if misnamed:
            raise NeuronNameError(misnamed[0].reason if len(neurons) == 1 else names_refused(misnamed))
        ids = tuple(ref.neuron_id for ref in refs)
        _console().print(neuron_page(atlas, ids[0], texts) if len(ids) == 1 else glance_table(collection(atlas, ids)))


class _Asking(click.Command):
    """A command whose argument may begin with an SQL comment (`--`), which is not an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. One that contains a space and begins with `--`, but with no option's name, is a
        statement."""
        known = {name for parameter in self.params for name in parameter.opts}

        def is_statement(arg: str) -> bool:
            return arg.startswith("--") and bool(re.search(r"\s", arg)) and re.split(r"[\s=]", arg)[0] not in known

        return super().parse_args(ctx, [f" {arg}" if is_statement(arg) else arg for arg in args])


@click.command(cls=_Asking)
@click.argument("file", type=FILE)
@click.argument("statement", metavar="SQL")
@click.option(
    "--format",
    "form",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="json: strict, {columns, types, rows, truncated}; NaN and infinities are strings. parquet: not to a terminal.",
)
@click.option(
    "--with",
    "others",
    metavar="FILE",
    multiple=True,
    type=FILE,
    help='Another atlas that the SQL names by its slug, as in "gpt2-small".neuron. Repeatable.',
)
def sql(file: Path, statement: str, form: str, others: tuple[Path, ...]) -> None:
    """Run one SQL statement on FILE. The statement cannot change FILE."""
    if form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet cannot be written to a terminal: send it to a file, as in `> answer.parquet`.")
    with open_atlas(file) as atlas:
        answer = answer_together([atlas, *map(open_atlas, others)], statement) if others else atlas.answer(statement)
        for note in statement_notes(atlas, statement):
            ask_all = "" if note.sql is None else f" Without that limit: {' '.join(note.sql.split())}"
            click.echo(f"Note: {note.text}{ask_all}", err=True)
    if form == "json":
        document = {"columns": answer.columns, "types": answer.types, "rows": answer.rows, "truncated": False}
        click.echo(json.dumps(document, allow_nan=False, ensure_ascii=False))
    elif form == "csv":
        click.echo("".join(texts.csv(answer.columns, answer.rows)), nl=False)
    elif form == "parquet":
        from atlas.core.answer.parquet import parquet  # the other formats do not need pyarrow

        click.echo(parquet(answer.columns, answer.types, answer.shapes, answer.rows), nl=False)
    else:
        _console().print(_table(answer))


def _table(answer: Answer) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name, shape in zip(answer.columns, answer.shapes, strict=True):
        justify: Any = "right" if texts.is_number(shape) else "left"
        table.add_column(Text(visible(name)), justify=justify, overflow="fold")
    for row in answer.rows:
        table.add_row(*(Text("NULL", "dim") if value is None else Text(visible(texts.text(value))) for value in row))
    return table


@click.command()
@click.argument("file", type=FILE)
@click.option("--out", type=FILE, help="File to write; the default is beside FILE, as in demo.v2.duckdb.")
@click.option("--force", is_flag=True, help="Replace the output file if it exists.")
def upgrade(file: Path, out: Path | None, force: bool) -> None:
    """Write FILE again in this program's schema version. Rows and build_id stay the same; FILE itself is never
    changed."""
    out = upgraded_name(file) if out is None else out
    version = upgrade_file(file, out, force=force)
    if version == SCHEMA_VERSION:
        click.echo(f"{file} has schema version {version}, the one this program reads: nothing to do.")
    else:
        click.echo(f"{out} written in schema version {SCHEMA_VERSION} from {file}, which has version {version}.")
