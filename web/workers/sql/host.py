"""The web process's end of the broker: start it, hand it a query, wait for the answer, never longer than promised."""

from __future__ import annotations

import fcntl
import json
import math
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb

from web.workers.sql import wire
from web.workers.sql.errors import SqlBusy, SqlError, SqlFailed, SqlTimeout, SqlUnavailable
from web.workers.sql.hard_links import HardLinks
from web.workers.sql.job import EMPTY, FIRST_FILE, Served, hold, link
from web.workers.sql.limits import Limits

_BOOT = "import json,sys; sys.path[:] = json.loads(sys.argv.pop()); from web.workers.sql.broker import main; main()"
_SIGNALS = [
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGALRM,
    signal.SIGUSR1,
    signal.SIGUSR2,
]
"""Whatever the server does at these, the broker does what a process does."""

_HEAD = 65_536
"""Bytes of an answer besides its rows: an error's text, a probe's report."""


class Host:
    """The broker of some atlas files, shared by every process forked after it was started.

    A statement is about one of them and can name the others: `names` is what their databases are called, without it
    as their files are.
    `places` is how many threads of one process may wait for answers at once, so that some are left for pages.
    `folder` is where links to the files are made; unless given, one of its own, with hard links that keep the files
    openable.
    `without` is for tests: layers that workers go without.
    """

    def __init__(
        self,
        files: Iterable[Path],
        limits: Limits,
        *,
        names: Sequence[str] = (),
        places: int = 64,
        folder: Path | None = None,
        without: Iterable[str] = (),
    ) -> None:
        self.limits = limits
        paths = [Path(file) for file in files]
        self._links = None if folder else HardLinks()
        opened = paths
        if self._links is not None:
            opened = [self._links.link(path, f"file{number}") for number, path in enumerate(paths)]
        self._held = [hold(path) for path in opened]
        folder = folder or self._links.folder
        self._served = [
            Served(path.resolve(), link(folder / str(number), path, FIRST_FILE + number, name), name)
            for number, (path, name) in enumerate(zip(opened, names or [path.stem for path in paths], strict=True))
        ]
        self._empty = self._made_empty(folder)
        self._without = sorted(without)
        self._places = threading.BoundedSemaphore(places)
        self._lock = threading.Lock()
        self._control = -1
        self._pid = self._owner = 0

    def _made_empty(self, folder: Path) -> Path:
        """A database without anything in it, which workers open read-only before they attach the atlases: the name of
        one that is attached can be chosen, that of the one that is opened cannot."""
        folder.mkdir(parents=True, exist_ok=True)
        made = folder / f"{EMPTY}.duckdb"
        if not made.exists():
            duckdb.connect(str(made)).close()
        self._held.append(hold(made))
        return link(folder / "empty", made, FIRST_FILE + len(self._held) - 1)

    def ask(
        self, atlas: int, kind: bytes, query: Mapping[str, Any], seconds: float, client: socket.socket | None = None
    ) -> bytes:
        """A worker's frame.

        Raises:
            SqlError: it has none.
        """
        if not self._places.acquire(blocking=False):
            raise self._busy()
        try:
            until = time.monotonic() + seconds
            connection = self._connected(kind, atlas)
            with connection:
                return self._exchange(connection, json.dumps(query).encode(), until, client)
        finally:
            self._places.release()

    def close(self, *, wait: bool = True) -> None:
        """End the broker, unless other processes still use it; `wait` until it is gone. Nothing can be asked again."""
        with self._lock:
            self._end(wait)
            for descriptor in self._held:
                os.close(descriptor)
            self._held.clear()
            if self._links is not None:
                self._links.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def _end(self, wait: bool = True) -> None:
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        if wait and self._owner == os.getpid() and self._pid:
            # It ends once its last asker is gone; those that were forked may still be leaving.
            with suppress(ChildProcessError):  # gunicorn waits for every child of its own accord
                for _ in range(100):
                    if os.waitpid(self._pid, os.WNOHANG)[0]:
                        break
                    time.sleep(0.01)
            self._pid = 0

    def _connected(self, kind: bytes, atlas: int) -> socket.socket:
        """A connection that a worker will answer on."""
        ours, theirs = socket.socketpair()
        with theirs:
            for attempt in range(2):
                try:
                    wire.send_request(self._running(), kind, atlas, theirs.fileno())
                    return ours
                except OSError as error:
                    if attempt:
                        ours.close()
                        raise SqlUnavailable("The processes that run SQL cannot be started here now.") from error
                    with self._lock:
                        self._end()  # the broker is gone; another is started
        raise AssertionError

    def _running(self) -> int:
        """The descriptor by which the broker is asked; it is started if it is not there."""
        with self._lock:
            if not self._held:
                raise OSError("closed")
            if self._control < 0:
                self._start()
            return self._control

    def _start(self) -> None:
        """Start the broker by exec: it inherits the one descriptor, no thread, no environment."""
        ours, theirs = socket.socketpair()
        told = {
            "files": [(str(item.path), str(item.link), item.name) for item in self._served],
            "empty": str(self._empty),
            "limits": asdict(self.limits),
            "without": self._without,
        }
        arguments = [sys.executable, "-I", "-c", _BOOT, json.dumps(told), json.dumps(sys.path)]
        with ours, theirs:
            nothing = hold(Path(os.devnull))
            moved = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, nothing)
            given = {0: nothing, 1: nothing, 3: moved}
            given |= {FIRST_FILE + number: held for number, held in enumerate(self._held)}
            actions = [(os.POSIX_SPAWN_DUP2, held, number) for number, held in given.items()]
            self._pid = os.posix_spawn(
                sys.executable, arguments, {"LC_ALL": "C.UTF-8"}, file_actions=actions,
                setsigmask=[], setsigdef=_SIGNALS,
            )  # fmt: skip
            os.close(nothing)
            os.close(moved)
            self._owner = os.getpid()
            self._control = os.dup(ours.fileno())

    def _exchange(self, connection: socket.socket, query: bytes, until: float, client: socket.socket | None) -> bytes:
        """Send the query and read until a frame, a verdict or the end of the time; nobody waits if the visitor left."""
        connection.setblocking(False)
        received, sent = bytearray(), 0
        poll = select.poll()
        poll.register(connection, select.POLLIN | select.POLLOUT)
        if client is not None:
            poll.register(client, getattr(select, "POLLRDHUP", select.POLLHUP))
        most = self.limits.bytes * 2 + _HEAD
        while (left := until - time.monotonic()) > 0:
            for descriptor, events in poll.poll(math.ceil(left * 1000)):
                if client is not None and descriptor == client.fileno():
                    raise SqlTimeout("The visitor left.")
                if events & select.POLLOUT and sent < len(query):
                    sent = self._write(connection, query, sent)
                    if sent >= len(query):
                        with suppress(OSError):  # the worker may have died of less
                            connection.shutdown(socket.SHUT_WR)
                        poll.modify(connection, select.POLLIN)
                if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    piece = self._read(connection)
                    received += piece
                    frame = self._frame(received, most)
                    if frame is not None:
                        return frame
                    if not piece:
                        raise self._ended(bytes(received[-1:]))
        raise self._late()

    @staticmethod
    def _write(connection: socket.socket, query: bytes, sent: int) -> int:
        try:
            return sent + connection.send(query[sent : sent + 65_536])
        except BlockingIOError:
            return sent
        except OSError:
            return len(query)  # nobody reads it; what was said instead is there to be read

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        try:
            return connection.recv(1 << 18)
        except OSError:
            return b""

    @staticmethod
    def _frame(received: bytearray, most: int) -> bytes | None:
        try:
            return wire.unframed(received, most)
        except ValueError as error:
            raise SqlFailed("The query ended its process.") from error

    def _ended(self, verdict: bytes) -> SqlError:
        """The error that a verdict stands for."""
        if verdict == wire.TIMEOUT:
            return self._late()
        if verdict == wire.BUSY:
            return self._busy()
        if verdict == wire.BROKEN:
            return SqlUnavailable("The processes that run SQL cannot be started here now.")
        return SqlFailed("The query ended its process: it crashed DuckDB, or needed more memory than it may have here.")

    def _late(self) -> SqlTimeout:
        return SqlTimeout(f"The query was stopped: it may take {self.limits.seconds:g} s here.")

    def _busy(self) -> SqlBusy:
        return SqlBusy("Too many queries are running here; try again soon.", max(1, math.ceil(self.limits.seconds)))
