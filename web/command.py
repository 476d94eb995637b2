"""`atlas serve`: the site of some atlas files."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes that answer.")
@click.option("--threads", default=4, show_default=True, type=click.IntRange(1), help="Threads in each.")
def serve(files: tuple[Path, ...], host: str, port: int, workers: int, threads: int) -> None:
    """Serve atlas FILEs as a site, read-only."""
    from web.server import serve_files  # imports gunicorn, which the help text can do without

    serve_files(files, host, port, workers, threads)
