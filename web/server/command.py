"""`atlas serve`: the site of some atlas files."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.cli.options import no_cache


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: any free port.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes that answer; the default is two, or one where --memory has no room for two.",
)
@click.option("--threads", default=8, show_default=True, type=click.IntRange(1), help="Threads in each.")
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory of all processes together, as in 512MiB, 1GB or 25%: what the machine must have besides the system's "
    "cache of the files, and besides models of --live. The default is a quarter of the machine's, at least 512MiB.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="The site's own address, as in https://atlas.example.org, for its links. The default is the address in "
    "each request; set it behind a proxy or a cache.",
)
@click.option(
    "--wait",
    is_flag=True,
    help="Start even if FILEs are missing, and serve each once it appears; the home page shows the progress of the "
    "runs that write them.",
)
@click.option(
    "--rate-limit",
    metavar="N/UNIT",
    help="Limit of requests for data (API, .json) from one address, as in 60/min; also s, h, d. Each process counts "
    "separately: an address gets up to --workers times as many. The default is no limit.",
)
@click.option("--sql/--no-sql", default=True, show_default=True, help="Let visitors run SQL in a sandbox, or not.")
@click.option(
    "--sql-seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1, 600),
    help="Seconds from a query to its answer, including the wait for its turn.",
)
@click.option(
    "--sql-memory",
    type=click.IntRange(64, 1 << 20),
    help="MiB for a query's buffers; the default is 256, or less where --memory has no room for it.",
)
@click.option(
    "--sql-rows",
    default=10_000,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Most rows of an answer.",
)
@click.option(
    "--sql-workers",
    type=click.IntRange(1, 256),
    help="Queries that run at once, for all visitors together; the default is the number of cores less one.",
)
@click.option(
    "--sql-anyway",
    is_flag=True,
    help="Let visitors run SQL even where this machine cannot sandbox it: a query may then overwrite the atlas.",
)
@click.option(
    "--saved",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Keep short links of visitors' queries and lists in FILE (never an atlas), created if missing. The "
    "default is none.",
)
@click.option(
    "--saved-most",
    default=10_000,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Most queries and lists in the --saved FILE.",
)
@click.option(
    "--downloads/--no-downloads",
    default=True,
    show_default=True,
    help="Let visitors download whole tables and the atlas file, or not.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Let visitors try the models: a neuron on a text they type, the neurons behind a prediction, studies. Needs "
    "neuron-atlas[ingest]; a model is loaded when it is first asked for.",
)
@click.option(
    "--live-tokens", default=128, show_default=True, type=click.IntRange(1, 4096), help="Most tokens of a typed text."
)
@click.option(
    "--live-queue",
    default=8,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Most texts, and most studies, that wait for their turn.",
)
@click.option(
    "--live-seconds",
    default=300.0,
    show_default=True,
    type=click.FloatRange(1, 36_000),
    help="Seconds that a study may run; an answer about a text may take as long, but at most 30.",
)
@click.option(
    "--live-models",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Models in memory at once; the least recently used one makes room for another.",
)
@click.option(
    "--live-model",
    multiple=True,
    metavar="[SLUG=]MODEL",
    help="Model to load, as for `atlas ingest`, in place of the atlas's own; its weights must be the same. "
    "May be repeated.",
)
@no_cache("--live-no-cache")
def serve(
    files: tuple[Path, ...],
    host: str,
    port: int,
    workers: int | None,
    threads: int,
    memory: str | None,
    public_url: str | None,
    wait: bool,
    rate_limit: str | None,
    sql: bool,
    sql_seconds: float,
    sql_memory: int | None,
    sql_rows: int,
    sql_workers: int | None,
    sql_anyway: bool,
    downloads: bool,
    saved: Path | None,
    saved_most: int,
    live: bool,
    live_tokens: int,
    live_queue: int,
    live_seconds: float,
    live_models: int,
    live_model: tuple[str, ...],
) -> None:
    """Serve atlas FILEs as a site, read-only."""
    for file in files:
        if wait and not file.exists() and any(sign in file.name for sign in "*?["):
            raise click.UsageError(
                f"{file} is a pattern that no file matches; --wait needs the names of the files to come."
            )
    # Imported here: the help text does not need gunicorn.
    from web.server.serve import serve_files
    from web.workers.live.options import LiveOptions
    from web.workers.sql.console import ConsoleOptions
    from web.workers.sql.limits import Limits

    limits = Limits(seconds=sql_seconds, memory=(sql_memory or 256) << 20, rows=sql_rows, running=sql_workers or 0)
    options = ConsoleOptions(enabled=sql, anyway=sql_anyway, limits=limits)
    serve_files(
        files,
        host,
        port,
        workers,
        threads,
        rate_limit,
        options,
        downloads=downloads,
        saved=saved,
        most_saved=saved_most,
        public_url=public_url,
        live=LiveOptions(live_tokens, live_queue, live_seconds, live_models) if live else None,
        live_models=live_model,
        memory=memory,
        sql_memory=sql_memory is not None,
        wait=wait,
    )
