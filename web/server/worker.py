"""The web process: gunicorn's threaded worker, which accepts no more connections than it has threads for."""

from __future__ import annotations

from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from web.site.headers import HEADERS

_MOST_CONNECTIONS = 1000
"""Most connections of one process, including idle ones."""


class Worker(ThreadWorker):
    """A connection stays in the listening socket while no thread is free, where another process can accept it; it waits
    no longer than necessary and is not lost with a process that dies."""

    @property
    def worker_connections(self) -> int:
        """Most busy connections at which another is accepted; idle ones do not count."""
        return min(_MOST_CONNECTIONS, self.cfg.threads + len(self.keepalived_conns) + len(self.pending_conns))

    @worker_connections.setter
    def worker_connections(self, _configured: int) -> None:
        pass

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer malformed requests with the site's headers."""
        super().handle_error(req, _Headed(client), addr, exc)


class _Headed:
    """A connection on which gunicorn's answer to an error gets the headers that every answer has."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sendall(self, answer: bytes) -> None:
        """Send the answer, the headers behind its first line."""
        first, _, rest = answer.partition(b"\r\n")
        added = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()).encode("latin-1")
        self._connection.sendall(first + b"\r\n" + added + rest)
