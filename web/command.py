"""`atlas serve`: the site of some atlas files."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes that answer.")
@click.option("--threads", default=8, show_default=True, type=click.IntRange(1), help="Threads in each.")
@click.option(
    "--rate-limit", metavar="N/UNIT",
    help="Requests for data (the API, .json) of one address, as in 60/min; also s, h, d. Each process counts for "
    "itself: an address gets up to --workers times as many. Off unless given.",
)  # fmt: skip
@click.option("--sql/--no-sql", default=True, show_default=True, help="Let visitors run SQL, confined, or not.")
@click.option(
    "--sql-seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1, 600),
    help="Seconds from a query to its answer, waiting for its turn included.",
)
@click.option(
    "--sql-memory", default=256, show_default=True, type=click.IntRange(64, 1 << 20), help="MiB for a query's buffers."
)
@click.option(
    "--sql-rows",
    default=10_000,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Rows of an answer.",
)
@click.option(
    "--sql-workers",
    type=click.IntRange(1, 256),
    help="Queries that run at once, of all visitors together. As many as there are cores, but one, unless given.",
)
@click.option(
    "--sql-anyway", is_flag=True,
    help="Let visitors run SQL even where this machine cannot confine it: a query may then overwrite the atlas.",
)  # fmt: skip
def serve(
    files: tuple[Path, ...],
    host: str,
    port: int,
    workers: int,
    threads: int,
    rate_limit: str | None,
    sql: bool,
    sql_seconds: float,
    sql_memory: int,
    sql_rows: int,
    sql_workers: int | None,
    sql_anyway: bool,
) -> None:
    """Serve atlas FILEs as a site, read-only."""
    # Imported here: the help text can do without gunicorn.
    from web.sandbox.console import ConsoleOptions
    from web.sandbox.limits import Limits
    from web.server import serve_files

    limits = Limits(seconds=sql_seconds, memory=sql_memory << 20, rows=sql_rows, running=sql_workers or 0)
    options = ConsoleOptions(enabled=sql, anyway=sql_anyway, limits=limits)
    serve_files(files, host, port, workers, threads, rate_limit, options)
