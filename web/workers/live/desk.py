"""The desk: a small process of a site that queues live requests and hands them to models' processes.

Each request is a connection to its socket: a line of JSON in, a line out. The desk loads no model and does not
interpret visitors' texts. It ends, together with the models, when the last process of the site has ended.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from atlas.topics.live import CANCELLED
from web.workers.live.holder import Holder
from web.workers.live.job import STUDY, TEXT, Job
from web.workers.live.options import LiveOptions

_TICK = 0.2
_PATIENCE = 3.0
"""Seconds that a request waits for a model to load; the page reloads itself."""

_FAILED = 30.0
"""Seconds before another attempt to load a model that failed to load."""

_ENDING = 5.0
"""Seconds for a cancelled job to end; after that its process is killed."""

ABANDONED = 120.0
"""Seconds without a request for a study after which it is cancelled."""

_KEPT = 3600.0
_MOST_KEPT = 32
"""Seconds for which finished studies are kept, and the most that are kept."""


class Desk:
    """The queue. Threads: one accepts connections, one serves each connection, one reads each model's output, one is
    the clock."""

    def __init__(self, options: LiveOptions, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._changed = threading.Condition()
        self._holders: dict[str, Holder] = {}
        self._failed: dict[str, tuple[str, float]] = {}
        self._waiting: list[Job] = []
        self._studies: OrderedDict[str, Job] = OrderedDict()
        self._numbers = 0

    def answer(self, connection: socket.socket) -> None:
        """Answer one connection."""
        with connection, suppress(OSError, ValueError, KeyError):
            message = json.loads(connection.makefile("rb").readline())
            answers = {"text": self._text, "study": self._study, "status": self._status}
            answer = answers[message["do"]](message, connection)
            connection.sendall(json.dumps(answer).encode() + b"\n")

    def watch(self) -> None:
        """Enforce time limits, in an endless loop."""
        while True:
            time.sleep(_TICK)
            with self._changed:
                self._end_late()
                self._forget()
                self._dispatch()

    def close(self) -> None:
        """End every model's process."""
        for holder in self._holders.values():
            holder.kill()

    # --- requests

    def _text(self, message: dict[str, Any], connection: socket.socket) -> dict[str, Any]:
        """Wait for an answer about a text, until the visitor leaves."""
        with self._changed:
            job = self._queue(TEXT, message)
            if job is None:
                return _error("live_busy", "Too many texts wait here; try again soon.")
            arrived = time.monotonic()
            while job.state != "done":
                self._changed.wait(_TICK)
                holder, waited = self._holders.get(job.model), time.monotonic() - arrived
                if select.select([connection], [], [], 0)[0]:  # no answer: the visitor has left
                    self._drop(job, CANCELLED, "The visitor left.")
                elif job.state == "waiting" and holder is not None and not holder.ready and waited > _PATIENCE:
                    self._drop(job, "live_loading", "The model is being loaded: try again in a moment.")
                elif job.state == "waiting" and waited > self._options.answer_seconds:
                    self._drop(job, "live_busy", "The model is busy; try again soon.")
            return {"answer": job.answer} if job.error is None else {"error": job.error}

    def _study(self, message: dict[str, Any], _: socket.socket) -> dict[str, Any]:
        """Queue a study and return its name."""
        name = secrets.token_urlsafe(9)
        with self._changed:
            wanted = message["wanted"] | {"folder": str(self._folder / name)}
            job = self._queue(STUDY, message | {"wanted": wanted}, name)
            if job is None:
                return _error("live_busy", "Too many studies wait here; try again later.")
            job.shown = {field: text for field, text in message["wanted"].items() if field not in ("means", "folder")}
            self._studies[name] = job
            return {"answer": {"name": name}}

    def _status(self, message: dict[str, Any], _: socket.socket) -> dict[str, Any]:
        """Status of a study."""
        with self._changed:
            job = self._studies.get(message["name"])
            if job is None:
                return {"answer": None}
            job.asked = time.monotonic()
            holder = self._holders.get(job.model)
            before = [other for other in self._waiting if other.lane == STUDY and other.number < job.number]
            return {
                "answer": {
                    "state": job.state,
                    "before": len(before) if job.state == "waiting" else 0,
                    "loading": job.state == "waiting" and holder is not None and not holder.ready,
                    "progress": job.progress,
                    "seconds": (job.ended or job.asked) - job.started if job.started else 0.0,
                    "error": job.error,
                    "folder": str(self._folder / job.name),
                    "shown": job.shown,
                }
            }

    def _queue(self, lane: str, message: dict[str, Any], name: str = "") -> Job | None:
        """Queue a job; None: the queue is full."""
        if sum(job.lane == lane for job in self._waiting) >= self._options.queue:
            return None
        self._numbers += 1
        model = json.dumps(message["model"], sort_keys=True)
        job = Job(self._numbers, lane, model, message["job"], message["wanted"], name)
        self._waiting.append(job)
        self._dispatch()
        return job

    # --- models

    def _dispatch(self) -> None:
        """Hand jobs to free models, in order, and start the models that jobs need."""
        for job in list(self._waiting):
            if job.model in self._failed:
                self._drop(job, "live_unavailable", self._failed[job.model][0])
                continue
            holder = self._holders.get(job.model) or self._start(job.model)
            if holder is not None and holder.takes(job):
                self._waiting.remove(job)
                holder.start(job)
        self._changed.notify_all()

    def _start(self, key: str) -> Holder | None:
        """The process of a model; None while there is no room for one."""
        while len(self._holders) >= self._options.most_models:
            idle = [holder for holder in self._holders.values() if holder.ready and not holder.lanes]
            if not idle:
                return None
            oldest = min(idle, key=lambda holder: holder.used)
            del self._holders[oldest.key]
            oldest.kill()
        holder = self._holders[key] = Holder(key, self._options.tokens, self._hear)
        return holder

    def _hear(self, holder: Holder, message: dict[str, Any] | None) -> None:
        """Handle a line from a model's process, or its end (None)."""
        with self._changed:
            if message is None:
                self._gone(holder)
            elif "ready" in message:
                holder.ready = True
            elif "failed" in message:
                holder.reason = message["failed"]
            elif (job := next((job for job in holder.lanes.values() if job.number == message["id"]), None)) is not None:
                if "progress" in message:
                    job.progress = tuple(message["progress"])
                else:
                    del holder.lanes[job.lane]
                    job.end(answer=message.get("answer"), **message.get("error", {}))
            self._dispatch()

    def _gone(self, holder: Holder) -> None:
        """Forget a dead process; waiting jobs get another, unless it could not load its model."""
        if self._holders.get(holder.key) is holder:
            del self._holders[holder.key]
        if not holder.ready:
            reason = holder.reason or "The process ended while it loaded the model, perhaps for lack of memory."
            self._failed[holder.key] = (reason, time.monotonic())
        for job in holder.lanes.values():
            if job.state == "running" and job.lane == TEXT and job.begun == 1:
                # The process may have died before it got the job, so try once more; not twice, since the job may be the
                # cause.
                job.state = "waiting"
                self._waiting.append(job)
            else:
                job.end(code="live_failed", message="The model's process ended; another is starting. Try again.")

    # --- time

    def _end_late(self) -> None:
        now = time.monotonic()
        for holder in self._holders.values():
            for job in list(holder.lanes.values()):
                most = self._options.seconds if job.lane == STUDY else self._options.answer_seconds
                if job.lane == STUDY and now - job.asked > ABANDONED:
                    job.end(code=CANCELLED, message="It was cancelled, since nobody asked for it any more.")
                elif now - job.started > most:
                    job.end(code="live_timeout", message=f"It was stopped at this site's time limit of {most:g} s.")
                if job.state == "done" and not job.ending:
                    holder.cancel(job)
                # An answer about a text cannot be interrupted except by killing its process.
                late = now - job.ended > _ENDING if job.lane == STUDY else now - job.started > most
                if job.state == "done" and late:
                    holder.kill()
        for job in [job for job in self._waiting if job.lane == STUDY and now - job.asked > ABANDONED]:
            self._drop(job, CANCELLED, "It was not started, since nobody asked for it any more.")

    def _forget(self) -> None:
        """Remove old finished studies and failures."""
        now = time.monotonic()
        done = [job for job in self._studies.values() if job.state == "done"]
        for place, job in enumerate(done):
            if now - job.ended > _KEPT or len(done) - place > _MOST_KEPT:
                del self._studies[job.name]
                shutil.rmtree(self._folder / job.name, ignore_errors=True)
        self._failed = {key: item for key, item in self._failed.items() if now - item[1] < _FAILED}

    def _drop(self, job: Job, code: str, message: str) -> None:
        """Cancel a job; a running one is told to end."""
        job.end(code=code, message=message)
        if job in self._waiting:
            self._waiting.remove(job)


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def main() -> None:
    """Main function of the desk. Arguments: the options and a folder as JSON, descriptors of the socket and of a pipe
    that the site holds open."""
    setup, listening, life = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    desk = Desk(LiveOptions(**setup["options"]), Path(setup["folder"]))

    def accept() -> None:
        with socket.socket(fileno=listening) as server:
            while True:
                connection, _ = server.accept()
                threading.Thread(target=desk.answer, args=[connection], daemon=True).start()

    for work in (accept, desk.watch):
        threading.Thread(target=work, daemon=True).start()
    os.read(life, 1)  # read returns when no process holds the other end
    desk.close()
    shutil.rmtree(setup["folder"], ignore_errors=True)
    os._exit(0)
