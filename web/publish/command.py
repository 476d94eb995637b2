"""`atlas publish`: the site of some atlas files as a folder that any static host serves."""

from __future__ import annotations

import os
from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option(
    "--out",
    "folder",
    metavar="DIR",
    type=_FILE,
    required=True,
    help="Folder to write: empty, new, or published before, whose links to earlier builds go on working.",
)
@click.option(
    "--base-url",
    metavar="URL",
    help="Address of the copy, as in https://someone.github.io/atlas, for links, cards and citations. Without it "
    "pages have no cards and citations, and belong at the root of a host.",
)
@click.option(
    "--pages",
    type=click.Choice(["all", "notable"]),
    default="all",
    show_default=True,
    help="Every neuron and token, or those that the overview and the rankings name.",
)
@click.option(
    "--data/--no-data",
    default=False,
    show_default=True,
    help="Write the data of each page (.json) too: three times the size.",
)
@click.option("--report", is_flag=True, help="Write the report of each atlas too (see atlas report), at /SLUG/report.")
@click.option(
    "--pages-site",
    is_flag=True,
    help="For GitHub Pages: refuse what is over its limits (1 GB in all, 100 MiB a file), and write the CNAME of a "
    "host of one's own.",
)
@click.option(
    "--space",
    is_flag=True,
    help="For a Hugging Face static Space: write its README, and refuse what is over 1 GB.",
)
@click.option("--license", "licence", metavar="ID", help="The licence that the Space's README names, as the Hub does.")
@click.option(
    "--file/--no-file",
    "with_file",
    default=True,
    show_default=True,
    help="Write the atlas files too, for SQL in the browser and for DuckDB: for hosts that take files of this size.",
)
@click.option(
    "--engine",
    "engine_folder",
    metavar="DIR",
    type=_FILE,
    help="Folder with DuckDB for browsers: the `dist` of the npm package @duckdb/duckdb-wasm in the version that a "
    "refusal names. Without it npm downloads the package; without npm too, the copy has no SQL.",
)
@click.option(
    "--saved",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The file of short links that `atlas serve --saved` writes: each query and list gets its page.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes that make pages; the default is one for each core.")
def publish(
    files: tuple[Path, ...],
    folder: Path,
    base_url: str | None,
    pages: str,
    data: bool,
    report: bool,
    pages_site: bool,
    space: bool,
    licence: str | None,
    with_file: bool,
    engine_folder: Path | None,
    saved: Path | None,
    workers: int | None,
) -> None:
    """Write the pages of FILEs to the folder DIR, for a host without a server. DIR is replaced when everything is
    written; a command that was interrupted goes on where it was when it is given again."""
    # Imported here: the help text does not need the site.
    from web.publish.engine import find_engine
    from web.publish.hosts import PAGES_SITE, SPACE, Hosting
    from web.publish.plan import every, notable
    from web.publish.write import publish_site

    whole = pages == "all"
    hosts = (*([PAGES_SITE] if pages_site else []), *([SPACE] if space else []))
    engine, lacking = (
        find_engine(engine_folder, folder) if with_file else (None, "--no-file leaves out the atlas files.")
    )

    with click.progressbar(length=0, label="Pages", show_pos=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        outcome = publish_site(
            files,
            folder,
            base_url=base_url,
            choose=every if whole else notable,
            paged=whole,
            data=data,
            report=report,
            file=with_file,
            engine=engine,
            saved=saved,
            hosting=Hosting(hosts, licence),
            workers=workers or os.cpu_count() or 1,
            progress=progress,
        )
    click.echo(outcome)
    if engine is None:
        click.echo(f"The copy has no SQL. {lacking}")
