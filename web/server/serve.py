"""The embedded production server: gunicorn with threads; each worker opens the files for itself."""

from __future__ import annotations

import ctypes
import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication

from atlas import Atlas, open_atlas
from atlas.core.errors import AtlasError
from atlas.topics.overview import warm
from atlas.topics.story import best_neurons
from web.saved.store import MOST_SAVED, open_saved
from web.server.arbiter import SwappingArbiter, forget, mark
from web.server.arbiter import wait as wait_for_turn
from web.server.memory import divide, read_memory
from web.server.plan import Plan
from web.server.swap import Site
from web.server.watched import Watched
from web.server.worker import Worker
from web.site import bundle, urls
from web.site import public_url as public
from web.site.app import create_app, open_atlases
from web.site.rate_limit import read_rate
from web.workers.live.live import Live, check_installed
from web.workers.live.options import LiveOptions, places_of, read_models
from web.workers.sql.console import ConsoleOptions

_TURNED_AWAY = 8
"""Threads of each process for queries that are turned away. Each waits half a second, which slows down clients that
retry at once."""

_KEPT = 15
"""Seconds that an idle connection stays open for a next request: the time a reader spends on a page."""

_DRAINING = 300
"""Seconds that a process has to finish its requests when told to end: a download may take minutes."""

_WARMING = 15.0
_TRIES, _MOMENT = 4, 0.2


class ListenError(AtlasError):
    """The address cannot be listened on."""


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, bound here so that a port in use is an error instead of gunicorn's retries."""
    listening = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(256)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise ListenError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}. "
            "Expected a free port of this machine; choose another with --port (0: any)."
        ) from error
    return listening


class _Server(BaseApplication):
    """`make` makes the app of the current generation's files; `share` is the most bytes that a process may hold."""

    def __init__(self, site: Site, make: Callable[[Site], Flask], options: dict[str, Any], share: int) -> None:
        self.site, self._make, self._options, self.share = site, make, options, share
        self.first = True
        """Whether a process answers at once, without waiting for the warm-up."""
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def run(self) -> None:
        # Objects that exist now live on: a garbage collector that visits them in every process makes the system copy
        # their pages.
        gc.collect()
        gc.freeze()
        SwappingArbiter(self).run()

    def _made(self) -> Flask:
        # DuckDB resolves a link and then opens the path: it fails if the file is replaced in between, and succeeds
        # a moment later. A worker that cannot start would end the site.
        for _ in range(_TRIES - 1):
            with suppress(AtlasError):
                return self._make(self.site)
            time.sleep(_MOMENT)
        return self._make(self.site)

    def load(self) -> Any:
        # Called in each worker, after the fork: no DuckDB or V8 thread is ever inherited.
        _give_memory_back()
        app = self._made()
        warming = warm_up(app)
        if not self.first:
            # Other processes answer meanwhile.
            warming.join(_WARMING)
        return app


def _give_memory_back() -> None:
    """With glibc, let the threads share two heaps, and return large blocks to the system: otherwise every thread
    permanently keeps the memory of its largest request. The numbers are M_ARENA_MAX and M_MMAP_THRESHOLD of glibc's
    malloc.h."""
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(-8, 2)
        libc.mallopt(-3, 65_536)


def warm_up(app: Flask) -> threading.Thread:
    """Compute what every page needs in a background thread, which is returned: otherwise the first pages of a process
    would take seconds."""

    def make() -> None:
        for atlas in app.extensions["atlases"].values():
            warm(atlas)
        bundle.bundle()

    thread = threading.Thread(target=make, name="warm-up", daemon=True)
    thread.start()
    return thread


def _leave(_server: Any, _worker: Any) -> None:
    """End a worker at once. Interpreter shutdown under DuckDB's and V8's threads (of the warm-up or a chart) can hang
    until gunicorn kills it half a minute later; there is nothing left to write."""
    os._exit(0)


def _forking(server: Any, worker: Any) -> None:
    """Before a fork, record the process's generation and whether visitors wait for it: it starts the site, or replaces
    a process that exceeded its share."""
    mark(server, worker)
    server.app.first = worker.age <= server.cfg.workers or server.replaces_one


def _point_out(files: Sequence[Path], base: str) -> None:
    """Print the addresses of the neurons with the best verdicts, from a query. The files are closed again before any
    worker is forked."""
    for file in files:
        with open_atlas(file) as atlas:
            for item in best_neurons(atlas, 3):
                address = urls.to("neuron", urls.AtlasRef(atlas.info.slug), item.neuron.name)
                click.echo(f"  {base}{address}  {item.verdict.headline}")


def _is_atlas(file: Path) -> bool:
    """Whether a file that may be awaited can be served at once; the reason against it is reported once the site
    answers."""
    with suppress(AtlasError):
        open_atlas(file)
        return True
    return False


def serve_files(
    files: Sequence[Path],
    host: str,
    port: int,
    workers: int | None,
    threads: int,
    rate: str | None = None,
    sql: ConsoleOptions | None = None,
    downloads: bool = True,
    saved: Path | None = None,
    most_saved: int = MOST_SAVED,
    public_url: str | None = None,
    live: LiveOptions | None = None,
    live_models: Sequence[str] = (),
    memory: str | None = None,
    sql_memory: bool = False,
    wait: bool = False,
) -> None:
    """Serve until interrupted; `rate` limits requests for data (see `web.site.rate_limit`), `sql` visitors' SQL;
    `downloads` lets them have whole files; `saved` is the file of their saved queries, at most so many; `public_url` is
    the site's own address; `live` lets visitors try the models, `live_models` says what to load (see
    `web.workers.live.options`). `memory` bounds all processes (see `web.server.memory`): the number of `workers`
    follows from it if that is None, and so does the memory of a query unless `sql_memory` is true. A file that another
    replaces is served as soon as its processes are ready (see `web.server.swap`); `wait` lets files be missing, which
    are served as soon as they are there.

    Raises:
        AtlasError: a file cannot be served or hold saved queries, the rate, the public address or the memory cannot be
            read or is not enough, or the address cannot be listened on, or live mode's libraries are not installed.
    """
    if live is not None:
        check_installed()
    if rate is not None:
        read_rate(rate)
    if public_url is not None:
        public.read_public_url(public_url)
    total = read_memory(memory)
    there = [file for file in files if not wait or _is_atlas(file)]
    awaited = [file for file in files if file not in there]
    atlases = open_atlases(there)
    if live is not None:
        live = replace(live, load=read_models(live_models, None if awaited else atlases))
    options = sql or ConsoleOptions()

    def planned(atlases: Mapping[str, Atlas]) -> Plan:
        budget = divide(
            total,
            list(atlases.values()),
            workers=workers,
            downloads=max(1, threads // 4) if downloads else 0,
            limits=options.limits if options.enabled else None,
            sql_memory=sql_memory,
        )
        limits = budget.limits or options.limits
        # Threads that wait for answers come on top: all others are for pages, however many wait.
        waiting = limits.slots + limits.waiting + _TURNED_AWAY if options.enabled else 0
        places = 0 if live is None else places_of(live)
        return Plan(budget, replace(options, limits=limits, places=max(1, waiting)), threads + waiting + places)

    plan = planned(atlases)
    saved_queries = None if saved is None else open_saved(saved, files, most_saved)
    listening = _listen(host, port)
    name = f"[{host}]" if ":" in host else host
    base = f"http://{name}:{listening.getsockname()[1]}"
    click.echo(f"Serving {', '.join(atlases) or 'no atlas yet'} at {base}/ (Ctrl-C stops)")
    if awaited:
        click.echo(f"Waiting for {', '.join(file.name for file in awaited)}")
    site = Site(there, list(atlases), plan.sql, awaited=awaited, order=files, plan=planned, laid_out=plan)
    if site.reason is not None:
        click.echo(site.reason, err=True)
    elif options.anyway:
        click.echo("SQL is on even if this machine cannot sandbox it (--sql-anyway); see /healthz.", err=True)
    _point_out(there, base)
    trying = None if live is None else Live(live)
    if trying is not None:
        click.echo("Live mode is on: a model is loaded at a visitor's first request.")

    def make(site: Site) -> Flask:
        budget = site.plan.budget
        app = create_app(
            site.files,
            rate,
            site.generation.console,
            saved_queries,
            downloads=budget.downloads,
            live=trying,
            room=lambda slug: budget.room(site.shared / slug),
            watched=Watched(dict(zip(site.slugs, site.paths, strict=True)), tuple(site.awaited)),
        )
        app.extensions["status"] = site.status
        if public_url is not None:
            public.register(app, public_url)
        return app

    settings = {
        "bind": f"fd://{listening.fileno()}",
        "worker_class": Worker,
        "workers": plan.budget.workers,
        "threads": plan.threads,
        "loglevel": "warning",
        "proc_name": "atlas",
        "control_socket_disable": True,
        "keepalive": _KEPT,
        "graceful_timeout": _DRAINING,
        "limit_request_line": 8190,
        "pre_fork": _forking,
        "post_fork": forget,
        "post_worker_init": wait_for_turn,
        "worker_exit": _leave,
    }
    try:
        _Server(site, make, settings, plan.budget.share).run()
    finally:
        site.close()
        if trying is not None:
            trying.close()
