"""The desk's handle of a model's process: start it, send it jobs, end it."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from web.workers import supervisor
from web.workers.live.job import TEXT, Job

GROUP = "atlas.live"
"""Entry points of the package that loads models: `model`, a process's main function, and `check`, which raises
ImportError where it cannot run."""

_CODE = f"from importlib.metadata import entry_points; next(iter(entry_points(group='{GROUP}', name='model'))).load()()"

_SENDING = 5
"""Seconds within which it must read a message."""


class Holder:
    """The process of one model. `on_message` is called with each line of its output, and with None when it ends."""

    def __init__(self, key: str, tokens: int, on_message: Callable[[Holder, dict[str, Any] | None], None]) -> None:
        self.key = key
        self.ready = False
        self.reason: str | None = None
        """The reason why it cannot serve."""
        self.used = time.monotonic()
        self.lanes: dict[str, Job] = {}
        """Its current jobs."""
        self._on_message = on_message
        self._connection, theirs = socket.socketpair()
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SENDING, 0))
        with theirs:
            self._process = supervisor.start(_CODE, {"model": json.loads(key), "tokens": tokens}, [theirs.fileno()])
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def takes(self, job: Job) -> bool:
        """Whether it would begin a job now. A study is not sent to a process that is busy with a text: the process is
        killed with it if the text takes too long."""
        return self.ready and job.lane not in self.lanes and (job.lane == TEXT or not self.lanes)

    def start(self, job: Job) -> None:
        """Send it a job."""
        job.begin()
        self.lanes[job.lane] = job
        self.used = time.monotonic()
        self._say({"id": job.number, "job": job.job, **job.wanted})

    def cancel(self, job: Job) -> None:
        """Tell it to cancel a job."""
        job.ending = True
        self._say({"cancel": job.number})

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:  # it has ended, which its reader notices, or no longer reads
            self._process.kill()

    def _read(self) -> None:
        with self._connection, self._connection.makefile("rb") as lines, suppress(OSError, ValueError):
            for line in lines:
                self._on_message(self, json.loads(line))
        self._process.wait()
        self._on_message(self, None)
