"""Export an atlas's tables to a folder, which is written beside its place under another name and renamed when
complete."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from atlas.core.db import Atlas, open_atlas
from atlas.core.errors import AtlasError
from atlas.core.files import appearing_folder
from atlas.core.schema import schema_sql
from atlas.export.card import card
from atlas.export.companions import datapackage, views_sql
from atlas.export.pieces import FORMATS, pieces
from atlas.export.source import table_names, whole_table
from atlas.topics.tables import SchemaTable, table_sizes

_COMPANIONS = {"README.md", "datapackage.json", "schema.sql", "views.sql"}


class ExportError(AtlasError):
    """The folder cannot be written, or contains files that must not be replaced."""


@dataclass(frozen=True)
class Written:
    """One table's file."""

    table: SchemaTable
    """The table or view."""
    file: str
    """The file's name in the folder."""
    rows: int | None
    """Rows. None: a view, whose rows are not counted."""
    size: int
    """Size, bytes."""


def export_folder(
    atlas: Atlas,
    folder: Path,
    form: str = "parquet",
    *,
    tables: tuple[str, ...] = (),
    views: bool = False,
    licence: str = "unknown",
    force: bool = False,
    progress: Callable[[Written], None] = lambda written: None,
) -> tuple[Written, ...]:
    """Write tables of an atlas to a folder, one file per table, with a README, `datapackage.json`, `schema.sql` and
    `views.sql`.

    Args:
        atlas: the atlas to export.
        folder: the output; it appears when everything is written, or not at all.
        form: 'parquet' or 'csv'.
        tables: tables and views to write; empty: every table.
        views: without `tables`, write every view too, computed in full.
        licence: identifier of the Hub for the card.
        force: replace a folder that an export wrote.
        progress: called after each file.

    Raises:
        ExportError: the folder is not empty (unless `force`), contains files that no export wrote, or cannot be
            written.
        QueryError: a table does not exist, or DuckDB fails at one.
    """
    if form not in FORMATS:
        raise ExportError(f"{form!r} is not an export format; expected one of {', '.join(FORMATS)}.")
    chosen = [whole_table(atlas, name) for name in tables or table_names(atlas, views=views)]
    _check(folder, force)
    try:
        with appearing_folder(folder) as place:
            spill = place / ".spill"
            written = []
            for table in dict.fromkeys(chosen):
                file = f"{table.name}.{form}"
                size = _write(place / file, pieces(atlas, table, form, spill=spill))
                rows = None if table.view else table_sizes(atlas)[table.name].rows
                written.append(Written(table, file, rows, size))
                progress(written[-1])
            shutil.rmtree(spill, ignore_errors=True)
            whole = set(table_names(atlas)) <= {table.name for table in chosen}
            companions = {
                "README.md": card(atlas, tuple(written), form, licence, views=whole),
                "datapackage.json": datapackage(atlas, tuple(written), form),
                "schema.sql": schema_sql(atlas.info.d_model),
                "views.sql": views_sql(atlas, tuple(item.table for item in written), form, views=whole),
            }
            for name, text in companions.items():
                _write(place / name, iter([text.encode()]))
    except OSError as error:
        raise ExportError(
            f"{str(folder)!r} cannot be written: {error.strerror or error}. Nothing was left there; "
            "choose another folder, or free some space."
        ) from error
    return tuple(written)


def _check(folder: Path, force: bool) -> None:
    if not folder.absolute().parent.is_dir():
        raise ExportError(f"The folder {str(folder.absolute().parent)!r} does not exist. Create it first.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ExportError(f"{str(folder)!r} is not a folder; expected one that is empty or does not exist.")
    names = sorted(item.name for item in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in names if name not in _COMPANIONS and not name.endswith((".parquet", ".csv"))]
    if names and not force:
        raise ExportError(f"{str(folder)!r} is not empty. Choose another folder, or replace an export with --force.")
    if foreign:
        raise ExportError(
            f"{str(folder)!r} contains {foreign[0]!r}, which no export wrote: it is not replaced, even with --force. "
            "Choose another folder."
        )


def _write(path: Path, parts: Iterator[bytes]) -> int:
    size = 0
    with path.open("wb") as out:
        for part in parts:
            size += out.write(part)
    return size


_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.argument("folder", metavar="DIR", type=_FILE)
@click.option(
    "--format",
    "form",
    default="parquet",
    show_default=True,
    type=click.Choice(["parquet", "csv"]),
    help="csv: lists are JSON texts, and comments are in datapackage.json.",
)
@click.option("--tables", metavar="NAME,…", help="Tables and views to write; the default is every table.")
@click.option("--views", is_flag=True, help="Write every view too, computed in full: far larger than the tables.")
@click.option(
    "--license",
    "licence",
    metavar="ID",
    default="unknown",
    show_default=True,
    help="Licence for the card, as the Hugging Face Hub spells it (apache-2.0, cc-by-4.0, …).",
)
@click.option("--force", is_flag=True, help="Replace DIR if it is an export.")
def export(file: Path, folder: Path, form: str, tables: str | None, views: bool, licence: str, force: bool) -> None:
    """Write FILE's tables to the folder DIR, one file per table, with a README that is a card for the Hugging Face
    Hub."""
    # Imported here: the help text does not need pyarrow.

    since = time.monotonic()

    def progress(item: Written) -> None:
        nonlocal since
        now = time.monotonic()
        rows = "" if item.rows is None else f"{item.rows:,} rows, "
        click.echo(f"{item.file}: {rows}{item.size / 1e6:,.1f} MB, {now - since:.1f} s", err=True)
        since = now

    names = tuple(name.strip() for name in tables.split(",") if name.strip()) if tables else ()
    with open_atlas(file) as atlas:
        written = export_folder(
            atlas, folder, form, tables=names, views=views, licence=licence, force=force, progress=progress
        )
    click.echo(f"{folder} written: {len(written)} tables, {sum(item.size for item in written) / 1e6:,.1f} MB.")
