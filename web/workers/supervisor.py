"""The site's client of a separate process: start it at the first request, send requests, and respect time limits.

Two kinds of process are supervised: the broker of visitors' SQL (`web.workers.sql`) and the desk of live mode
(`web.workers.live`). Each is a new interpreter that serves every process of the site forked after its supervisor was
made. It is restarted if it died, and ends with the last process that could send it a request. A request is a line of
JSON on its own connection.
"""

from __future__ import annotations

import json
import math
import select
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

_PATH = "import json,sys; sys.path[:] = json.loads(sys.argv.pop()); "


class NoAnswerError(Exception):
    """A request has no answer."""

    def __init__(self, why: str, received: bytes = b"") -> None:
        super().__init__(why)
        self.why = why
        """'place' (too many threads wait), 'late', 'left' (the visitor did) or 'end' (of the connection)."""
        self.received = received
        """The bytes received before the end."""


def start(code: str, setup: Any, descriptors: Sequence[int], *flags: str, **options: Any) -> subprocess.Popen:
    """Start a new interpreter that runs code with this one's module path. Its arguments are `setup` as JSON, and the
    numbers of the only descriptors that it inherits, besides standard error. `flags` are the interpreter's, `options`
    those of `Popen`.
    """
    arguments = [json.dumps(setup), *map(str, descriptors), json.dumps(sys.path)]
    return subprocess.Popen(
        [sys.executable, *flags, "-c", _PATH + code, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=descriptors,
        **options,
    )


class Supervisor(ABC):
    """Base of the supervisors of both kinds of process.

    `places` is the most threads of one process that wait for answers at once, so that some are left for pages.
    """

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._lock = threading.Lock()
        self._started: list[subprocess.Popen] = []

    @abstractmethod
    def _connect(self, *about: Any) -> socket.socket:
        """A connection for one request.

        Raises:
            OSError: the process is not running.
        """

    @abstractmethod
    def _start(self) -> subprocess.Popen:
        """Start the process; called under the lock.

        Raises:
            OSError: it cannot be started.
        """

    def _alone(self) -> AbstractContextManager[Any]:
        """Keep other processes of the site from starting one at the same time; the lock keeps other threads from it."""
        return nullcontext()

    def _exchange(
        self,
        question: Any,
        seconds: float,
        client: socket.socket | None,
        whole: Callable[[bytearray], bytes | None],
        *about: Any,
    ) -> bytes:
        """The answer to a request: the result of `whole` on the received bytes, once it is not None.

        Raises:
            NoAnswerError: there is none, for example because `client`, the visitor's socket, was closed.
            OSError: the process cannot be reached.
        """
        if not self._places.acquire(blocking=False):
            raise NoAnswerError("place")
        try:
            until = time.monotonic() + seconds
            with self._connected(*about) as connection:
                return _exchange(connection, json.dumps(question).encode() + b"\n", until, client, whole)
        finally:
            self._places.release()

    def _connected(self, *about: Any) -> socket.socket:
        """A connection to the process, which is started if it is not running."""
        try:
            return self._connect(*about)
        except OSError:
            with self._lock, self._alone():
                with suppress(OSError):  # another thread or process has started it
                    return self._connect(*about)
                self._started = [process for process in self._started if process.poll() is None]
                self._started.append(self._start())
                return self._connect(*about)

    def _wait(self, seconds: float) -> None:
        """Wait until the processes that this one started have ended, for at most `seconds` each."""
        for process in self._started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)


def _exchange(
    connection: socket.socket,
    question: bytes,
    until: float,
    client: socket.socket | None,
    whole: Callable[[bytearray], bytes | None],
) -> bytes:
    connection.setblocking(False)
    received, unsent = bytearray(), memoryview(question)
    poll = select.poll()
    poll.register(connection, select.POLLIN | select.POLLOUT)
    if client is not None:
        poll.register(client, getattr(select, "POLLRDHUP", select.POLLHUP))
    while (left := until - time.monotonic()) > 0:
        for descriptor, events in poll.poll(math.ceil(left * 1000)):
            if client is not None and descriptor == client.fileno():
                raise NoAnswerError("left")
            if events & select.POLLOUT and unsent:
                try:
                    unsent = unsent[connection.send(unsent[:65_536]) :]
                except BlockingIOError:
                    pass
                except OSError:
                    unsent = unsent[:0]  # it no longer reads; a verdict that it wrote can be read
                if not unsent:
                    poll.modify(connection, select.POLLIN)
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                piece = b""
                with suppress(OSError):
                    piece = connection.recv(1 << 18)
                received += piece
                answer = whole(received)
                if answer is not None:
                    return answer
                if not piece:
                    raise NoAnswerError("end", bytes(received))
    raise NoAnswerError("late")
