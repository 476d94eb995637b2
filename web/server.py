"""The production server, embedded: gunicorn with threads, each worker opening the files for itself."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from gunicorn.app.base import BaseApplication

from atlas import open_atlas, queries
from atlas.errors import AtlasError
from web import bundle, urls
from web.app import create_app, open_atlases


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
    def __init__(self, files: Sequence[Path], options: dict[str, Any]) -> None:
        self._files, self._options = files, options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        # Called in each worker, after the fork: no DuckDB or V8 thread is ever inherited.
        app = create_app(self._files)
        bundle.warm()
        return app


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


def serve_files(files: Sequence[Path], host: str, port: int, workers: int, threads: int) -> None:
    """Serve until interrupted.

    Raises:
        AtlasError: a file cannot be served, or the address cannot be listened on.
    """
    slugs = list(open_atlases(files))
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{listening.getsockname()[1]}"
    click.echo(f"Serving {', '.join(slugs)} at {base}/ (Ctrl-C stops)")
    _point_out(files, base)
    options = {
        "bind": f"fd://{listening.fileno()}",
        "worker_class": "gthread",
        "workers": workers,
        "threads": threads,
        "loglevel": "warning",
        "proc_name": "atlas",
        "control_socket_disable": True,
    }
    _Server(files, options).run()
