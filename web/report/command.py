"""`atlas report`: the findings of an atlas as a document."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--out", "folder", metavar="DIR", type=_FILE, required=True, help="Folder to write: empty or new.")
@click.option("--force", is_flag=True, help="Replace DIR if it is a report.")
def report(file: Path, folder: Path, force: bool) -> None:
    """Write FILE's findings, each with its SQL, to the folder DIR: a self-contained index.html, and report.md
    with its figures."""
    # Imported here: the help text does not need the charts.
    from atlas import open_atlas
    from web.report.write import write_report

    with open_atlas(file) as atlas:
        sections = write_report(atlas, folder, force=force)
    n_panels = sum(len(section.panels) for section in sections)
    click.echo(f"{folder / 'index.html'} and report.md written: {len(sections)} sections, {n_panels} findings.")
