"""The production server, embedded: gunicorn with threads, each worker opening the files for itself."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication

from atlas import open_atlas, queries
from atlas.errors import AtlasError
from web import bundle, urls
from web.app import create_app, open_atlases
from web.rate_limit import read_rate
from web.sandbox.console import Console, ConsoleOptions


class ListenError(AtlasError):
    """The address cannot be listened on."""


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket: bound here, so that a port in use is an error and not gunicorn's retries."""
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
    def __init__(self, files: Sequence[Path], rate: str | None, console: Console, options: dict[str, Any]) -> None:
        self._files, self._rate, self._console, self._options = files, rate, console, options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        # Called in each worker, after the fork: no DuckDB or V8 thread is ever inherited.
        _give_memory_back()
        app = create_app(self._files, self._rate, self._console)
        warm_up(app)
        return app


def _give_memory_back() -> None:
    """Let the threads share two heaps and large blocks go back to the system, where the C library is glibc: else every
    thread keeps for ever what its largest request needed. The numbers are M_ARENA_MAX and M_MMAP_THRESHOLD of its
    malloc.h."""
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(-8, 2)
        libc.mallopt(-3, 65_536)


def warm_up(app: Flask) -> None:
    """Make what every page needs in the background, so that no visitor waits for it: the first pages of a process
    would else take seconds."""

    def make() -> None:
        for atlas in app.extensions["atlases"].values():
            queries.warm(atlas)
        bundle.bundle()

    threading.Thread(target=make, name="warm-up", daemon=True).start()


def _leave(_server: Any, _worker: Any) -> None:
    """A worker's end: at once. Tearing the interpreter down under DuckDB's and V8's threads (the warm-up's, a chart's)
    can hang until gunicorn kills it, half a minute later; nothing here is left to be written."""
    os._exit(0)


def _point_out(files: Sequence[Path], base: str) -> None:
    """Print the addresses of a few neurons worth a look, found by query. Closed again before any worker is forked."""
    for file in files:
        with open_atlas(file) as atlas:
            for item in queries.notable_neurons(atlas):
                neuron, ref = item.pair.neuron, urls.AtlasRef(atlas.info.slug)
                click.echo(
                    f"  {base}{urls.neuron(ref, neuron.layer, neuron.index)}  predicts {item.pair.token.shown} at "
                    f"{item.tail_fraction:.0%} of its {item.tail_n} strongest positions"
                )


def serve_files(
    files: Sequence[Path],
    host: str,
    port: int,
    workers: int,
    threads: int,
    rate: str | None = None,
    sql: ConsoleOptions | None = None,
) -> None:
    """Serve until interrupted; `rate` limits requests for data (see `web.rate_limit`), `sql` visitors' SQL.

    Raises:
        AtlasError: a file cannot be served, the rate cannot be read, or the address cannot be listened on.
    """
    if rate is not None:
        read_rate(rate)
    atlases = open_atlases(files)
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{listening.getsockname()[1]}"
    click.echo(f"Serving {', '.join(atlases)} at {base}/ (Ctrl-C stops)")
    # Half of the threads are for pages, however many wait for the answers of queries.
    options = replace(sql or ConsoleOptions(), places=max(1, threads // 2))
    console = Console({slug: atlas.path for slug, atlas in atlases.items()}, options)
    reason = console.start()
    if reason is not None:
        click.echo(reason, err=True)
    elif options.anyway:
        click.echo("SQL is on whether this machine can confine it or not (--sql-anyway); /healthz says.", err=True)
    _point_out(files, base)
    settings = {
        "bind": f"fd://{listening.fileno()}",
        "worker_class": "gthread",
        "workers": workers,
        "threads": threads,
        "loglevel": "warning",
        "proc_name": "atlas",
        "control_socket_disable": True,
        "worker_exit": _leave,
    }
    try:
        _Server(files, rate, console, settings).run()
    finally:
        console.close()
