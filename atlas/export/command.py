"""`atlas export`: an atlas as Parquet or CSV files."""

from __future__ import annotations

import time
from pathlib import Path

import click

from atlas.db import open_atlas

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.argument("folder", metavar="DIR", type=_FILE)
@click.option(
    "--format", "form", default="parquet", show_default=True, type=click.Choice(["parquet", "csv"]),
    help="csv: lists are JSON texts, and comments are in datapackage.json.",
)  # fmt: skip
@click.option("--tables", metavar="NAME,…", help="Tables and views to write. Every table unless given.")
@click.option("--views", is_flag=True, help="Write every view too, computed whole: far larger than the tables.")
@click.option(
    "--license", "licence", metavar="ID", default="unknown", show_default=True,
    help="Licence for the card, as the Hugging Face Hub spells it (apache-2.0, cc-by-4.0, …).",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace DIR if it is an export.")
def export(file: Path, folder: Path, form: str, tables: str | None, views: bool, licence: str, force: bool) -> None:
    """Write FILE's tables to the folder DIR, a file each, with a README that is a card for the Hugging Face Hub."""
    # Imported here: the help text can do without pyarrow.
    from atlas.export.folder import Written, export_folder

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
