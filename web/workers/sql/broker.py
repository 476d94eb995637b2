"""The broker: a small process that forks workers in advance, hands each one query, and kills it at the time limit.

`console.py` starts it with only this program's code: it has one thread, opens no database and reads nothing that a
visitor wrote. It ends when the last process of the site that could send it a request has ended, and its workers end
with it.
"""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import select
import signal
import socket
import sys
import time
import zoneinfo
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atlas.core.schema import own_macros
from web.workers.sql import layers, wire, worker
from web.workers.sql.job import Job, Served
from web.workers.sql.limits import GRACE, STARTING, TURNED_AWAY, Limits

_CONTROL = 3
_SIGNALS = [signal.Signals[f"SIG{name}"] for name in ["HUP", "INT", "TERM", "CHLD", "ALRM", "USR1", "USR2"]]
"""Signals whose default action the broker and its workers restore, whatever the server has set."""

_UTC = zoneinfo.ZoneInfo("UTC")
"""The only time zone that workers need: read here, since they can read no file, and held, so that `zoneinfo` has it
cached."""

_FAIR = 0.5
"""Share of its time below which a stopped query that waited for others is told to try again instead of that it takes
too long."""

_MOST_WAITING = 200
"""Most waiting requests, including those to be turned away soon; the next one is turned away at once."""

_DESCRIPTORS = 512
_MOMENT = 5.0
"""Seconds within which a second failure to start a worker means that none can start."""

_RETRY = 1.0
"""Seconds before another attempt to start a worker after a failure."""


@dataclass
class _Worker:
    """A process, and the socket by which it gets its query."""

    pid: int
    channel: socket.socket
    atlas: int
    ready: bool = False


@dataclass
class _Request:
    """A connection of the web process, and its deadline."""

    kind: bytes
    atlas: int
    connection: socket.socket
    until: float
    patience: float
    """Time at which it is turned away if no worker got it."""
    had: float = 0.0
    """Seconds that were left when a worker got it."""


class Broker:
    """The workers of some atlases and the requests for them."""

    def __init__(self, jobs: list[Job], control: socket.socket) -> None:
        self._jobs, self._control = jobs, control
        self._limits: Limits = jobs[0].limits
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._workers: dict[int, _Worker] = {}
        self._running: dict[int, _Request] = {}
        """By the worker's channel."""
        self._waiting: deque[_Request] = deque()
        self._not_before = [0.0] * len(jobs)
        self._failed = [-math.inf] * len(jobs)

    def serve(self) -> None:
        """Serve until no process is left that could send a request."""
        connected = True
        while connected:
            self._keep_warm()
            # New requests last: one may get the number of a connection that is closed before, and its events with it.
            control = self._control.fileno()
            for descriptor, events in sorted(self._poll.poll(self._patience()), key=lambda item: item[0] == control):
                if descriptor == control:
                    connected = self._take()
                elif descriptor in self._workers:
                    self._hear(self._workers[descriptor])
                elif events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                    self._left(descriptor)
            self._end_late()
            self._start_waiting()
        for process in self._workers.values():
            os.kill(process.pid, signal.SIGKILL)

    def _patience(self) -> float | None:
        """Milliseconds until the next deadline."""
        now = time.monotonic()
        times = [request.until + GRACE for request in self._running.values() if request.until < math.inf]
        times += [request.patience for request in self._waiting]
        times += [later for later in self._not_before if later > now]
        return max(0, math.ceil((min(times) - now) * 1000)) if times else None

    def _keep_warm(self) -> None:
        """Start enough workers of every atlas, so that a query need not wait for one."""
        wanted = self._limits.ready
        for atlas, later in enumerate(self._not_before):
            idle = sum(item.atlas == atlas for key, item in self._workers.items() if key not in self._running)
            if time.monotonic() >= later:
                for _ in range(wanted - idle):
                    self._fork(atlas)

    def _fork(self, atlas: int) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            self._not_before[atlas] = time.monotonic() + _RETRY
            ours.close()
            theirs.close()
            return
        if pid == 0:
            worker.run(self._jobs[atlas], theirs.fileno(), parent)
        theirs.close()
        self._workers[ours.fileno()] = _Worker(pid, ours, atlas)
        self._poll.register(ours, select.POLLIN)

    def _take(self) -> bool:
        """Accept a new request; False when there will be no more."""
        request = wire.receive_request(self._control)
        if request is None:
            return False
        kind, atlas, descriptor = request
        seconds = self._limits.seconds if kind == wire.ASK else STARTING
        until = time.monotonic() + seconds
        taken = _Request(kind, atlas, socket.socket(fileno=descriptor), until, until)
        self._poll.register(taken.connection, 0)  # poll always reports a hang-up
        self._waiting.append(taken)
        self._start_waiting()
        if len(self._waiting) > self._limits.waiting and self._waiting[-1] is taken:
            taken.patience = min(until, time.monotonic() + TURNED_AWAY)
            if len(self._waiting) > _MOST_WAITING:
                self._waiting.pop()
                self._finish(taken, wire.BUSY)
        return True

    def _start_waiting(self) -> None:
        """Hand the longest-waiting requests to idle workers."""
        for request in list(self._waiting):
            if len(self._running) >= self._limits.slots:
                return
            idle = (
                (key, item)
                for key, item in self._workers.items()
                if item.ready and item.atlas == request.atlas and key not in self._running
            )
            key, chosen = next(idle, (None, None))
            if chosen is None:
                continue
            self._waiting.remove(request)
            try:
                request.had = request.until - time.monotonic()
                wire.send_turn(chosen.channel, request.kind, request.had, request.connection.fileno())
            except OSError:  # it died meanwhile, which its channel will report
                self._finish(request, wire.CRASHED)
            else:
                self._running[key] = request

    def _hear(self, process: _Worker) -> None:
        """Handle a message from a worker: it is ready, could not start, or has ended."""
        try:
            message = process.channel.recv(8192)
        except OSError:
            message = b""
        if message == wire.READY:
            process.ready = True
            return
        key = process.channel.fileno()
        if message:
            sys.stderr.write(f"SQL worker: {message[1:].decode('utf-8', 'replace')}\n")
        if not process.ready:
            self._cannot_start(process.atlas)
        self._poll.unregister(key)
        process.channel.close()
        del self._workers[key]
        if message:
            os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
        request = self._running.pop(key, None)
        if request is not None:
            self._finish(request, wire.CRASHED)

    def _cannot_start(self, atlas: int) -> None:
        now = time.monotonic()
        before, self._failed[atlas] = self._failed[atlas], now
        if now - before > _MOMENT:
            return  # for example, a file was replaced while DuckDB opened it: the next worker will succeed
        self._not_before[atlas] = now + _RETRY
        for request in [item for item in self._waiting if item.atlas == atlas]:
            self._waiting.remove(request)
            self._finish(request, wire.BROKEN)

    def _left(self, descriptor: int) -> None:
        """Handle a hang-up of the web process: it has its answer, or the visitor left."""
        for key, request in self._running.items():
            if request.connection.fileno() == descriptor:
                os.kill(self._workers[key].pid, signal.SIGKILL)
                self._poll.unregister(descriptor)
                return
        for request in list(self._waiting):
            if request.connection.fileno() == descriptor:
                self._waiting.remove(request)
                self._finish(request, wire.BUSY)

    def _end_late(self) -> None:
        """Enforce deadlines: a waiting request is told to try again, a running one is killed."""
        now = time.monotonic()
        for request in [item for item in self._waiting if now >= item.patience]:
            self._waiting.remove(request)
            self._finish(request, wire.BUSY)
        for key, request in list(self._running.items()):
            if now >= request.until + GRACE:
                os.kill(self._workers[key].pid, signal.SIGKILL)
                unfair = request.had < _FAIR * self._limits.seconds
                self._finish(request, wire.BUSY if unfair else wire.TIMEOUT)
                # It keeps its place until the process has ended; nobody waits for it any more.
                request.until = math.inf

    def _finish(self, request: _Request, verdict: bytes) -> None:
        """Write a verdict as a connection's last byte; the connection is then closed for the worker too."""
        connection = request.connection
        if connection.fileno() < 0:
            return
        with suppress(KeyError):  # it hung up already
            self._poll.unregister(connection)
        with suppress(OSError):  # nobody reads it any more
            connection.send(verdict, socket.MSG_DONTWAIT)
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def main() -> None:
    """Main function of the broker. Arguments: the atlases and options as JSON; descriptors of the control socket and of
    the held files."""
    setup, descriptors = json.loads(sys.argv[1]), [int(number) for number in sys.argv[2:]]
    for number, descriptor in enumerate(descriptors, _CONTROL):  # the files' own numbers are above all of these
        os.dup2(descriptor, number)
    os.closerange(_CONTROL + len(descriptors), os.sysconf("SC_OPEN_MAX"))
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # Workers close unneeded descriptors one by one: allow only few.
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    # Ctrl-C goes to the site, whose end ends the broker. The broker gets no session of its own: Linux divides the
    # processor
    # among sessions first (autogroup), and workers would get as much as all pages, however low their priority.
    with suppress(OSError):  # it is already a group leader
        os.setpgid(0, 0)
    files = tuple(Served(Path(path), Path(link), name) for path, link, name in setup["files"])
    limits, without = Limits(**setup["limits"]), frozenset(setup["without"])
    jobs = [Job(files, Path(setup["empty"]), limits, number, without) for number in range(len(files))]
    layers.prepare()
    own_macros()  # read here once: workers can open no other file than the atlases
    gc.freeze()
    try:
        Broker(jobs, socket.socket(fileno=_CONTROL)).serve()
    finally:
        os._exit(0)  # at exit DuckDB would print a long report of objects that Python still holds
