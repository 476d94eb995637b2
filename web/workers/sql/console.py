"""Visitors' SQL: permission to run it, the broker that runs it, and the answers.

`Console` is the web process's end of the broker (`broker.py`), one for all atlases of the site.
"""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from atlas.core.names import database_name
from web.workers import supervisor
from web.workers.sql import wire
from web.workers.sql.answer import Answer, read_answer
from web.workers.sql.errors import SqlBusy, SqlError, SqlFailed, SqlRefused, SqlTimeout, SqlUnavailable
from web.workers.sql.hard_links import HardLinks
from web.workers.sql.job import EMPTY, FIRST_FILE, hold, link
from web.workers.sql.limits import GIVEN_UP, STARTING, Limits
from web.workers.supervisor import NoAnswerError, Supervisor

_CODE = "from web.workers.sql.broker import main; main()"
_HEAD = 65_536
"""Most bytes of an answer besides its rows: an error's text, a probe's report."""

_OFF = "SQL is off here: the operator has switched it off."


@dataclass(frozen=True)
class ConsoleOptions:
    """The operator's options of visitors' SQL."""

    enabled: bool = True
    anyway: bool = False
    """Run it even where this machine cannot sandbox it."""
    places: int = 2
    """Most threads of one process that wait for answers at once: the others are for pages."""
    limits: Limits = field(default_factory=Limits)


class Console(Supervisor):
    """SQL on atlas files, by slug. May be made before or after a fork, and used by any thread.

    The files are held open from the first query on. A statement is about one of them and can name the others. `folder`
    is the place of links to the files; the default is a separate folder, with hard links that keep the files openable.
    `without` is for tests: layers that workers leave out.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        options: ConsoleOptions | None = None,
        folder: Path | None = None,
        *,
        without: Iterable[str] = (),
    ) -> None:
        self.options = options or ConsoleOptions()
        super().__init__(self.options.places)
        self._files = {slug: Path(path) for slug, path in files.items()}
        self._folder, self._without = folder, sorted(without)
        self._links: HardLinks | None = None
        self._held: list[int] = []
        self._told: dict[str, Any] = {}
        self._control: socket.socket | None = None
        self._reports: dict[str, dict[str, Any]] = {}
        self._probing = {slug: threading.Lock() for slug in self._files}

    def start(self) -> str | None:
        """Start the processes and test them; return the reason against their use by visitors, or None. Call it once,
        before the site's processes are forked, so that all of them share one count of running queries."""
        if not self.options.enabled:
            return _OFF
        return next((reason for slug in self._files if (reason := self.why_not(slug)) is not None), None)

    def status(self) -> dict[str, Any]:
        """The report for `/healthz`: whether visitors' SQL is on, why not, and which layers confine it."""
        reason = self.start()
        layers = {}
        if self.options.enabled and self._files:
            with suppress(SqlUnavailable):  # the reason explains it
                layers = self.layers(next(iter(self._files)))
        return {"on": reason is None, "reason": reason, "anyway": self.options.anyway, "layers": layers}

    def ask(
        self,
        slug: str,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        client: socket.socket | None = None,
    ) -> Answer:
        """Answer of a statement about an atlas, its `$name` and `:name` standing for the parameters; ended early if
        `client`, the visitor's socket, is closed.

        Raises:
            SqlRefused, SqlFailed, SqlTimeout, SqlBusy: there is no answer.
            SqlUnavailable: nothing may be run here.
        """
        why_not = self.why_not(slug)
        if why_not is not None:
            raise SqlUnavailable(why_not)
        limits, values = self.options.limits, dict(parameters or {})
        query = {"sql": sql, "parameters": values, "foreign": self._probed(slug)["foreign"]}
        if sum(len(str(text)) for text in (sql, *values.values())) > limits.statement:
            raise SqlRefused(limits.statement_words())
        return read_answer(self._frame(slug, wire.ASK, query, limits.seconds + GIVEN_UP, client))

    def layers(self, slug: str) -> dict[str, dict[str, Any]]:
        """Each layer that confines queries about an atlas: whether it is 'on', and in 'detail' a description or the
        reason why not.

        Raises:
            SqlUnavailable: no worker can be started.
        """
        return self._probed(slug)["layers"]

    def why_not(self, slug: str) -> str | None:
        """The reason why no query about an atlas may run here; None if queries may run."""
        if not self.options.enabled:
            return _OFF
        try:
            report = self._probed(slug)
        except SqlUnavailable as error:
            return str(error)
        missing = [f"{name} ({state['detail']})" for name, state in report["layers"].items() if not state["on"]]
        could = report["could"]
        if self.options.anyway or not (missing or could):
            return None
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"a query's process could {', '.join(could)}"] if could else []
        return f"SQL is off: this machine cannot sandbox it ({'; '.join(parts)}). --sql-anyway turns it on regardless."

    def close(self, *, wait: bool = True) -> None:
        """End the broker, unless other processes still use it; `wait` until it is gone."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
            if wait:
                # It ends once its last client has ended; forked processes may still be ending.
                self._wait(1)
            for descriptor in self._held:
                os.close(descriptor)
            self._held.clear()
            self._reports.clear()
            if self._links is not None:
                self._links.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def _probed(self, slug: str) -> dict[str, Any]:
        """A worker's report about itself, requested once."""
        with self._probing[slug]:
            if slug not in self._reports:
                try:
                    self._reports[slug] = json.loads(self._frame(slug, wire.PROBE, {}, STARTING))
                except SqlError as error:
                    raise SqlUnavailable("SQL is off: no process to run it can be started here.") from error
            return self._reports[slug]

    # --- the broker

    def _frame(
        self, slug: str, kind: bytes, query: Mapping[str, Any], seconds: float, client: socket.socket | None = None
    ) -> bytes:
        """A worker's frame.

        Raises:
            SqlError: it has none.
        """
        with self._lock:
            if not self._held:
                self._open()
        try:
            return self._exchange(query, seconds, client, self._whole, kind, list(self._files).index(slug))
        except NoAnswerError as error:
            raise self._error(error.received[-1:] if error.why == "end" else error.why) from None
        except OSError as error:
            raise self._error(wire.BROKEN) from error

    def _error(self, why: bytes | str) -> SqlError:
        """The error for a verdict of the broker, or for a missing answer."""
        limits = self.options.limits
        if why in (wire.BUSY, "place"):
            return SqlBusy("Too many queries are running here; try again soon.", max(1, math.ceil(limits.seconds)))
        if why in (wire.TIMEOUT, "late"):
            return SqlTimeout(limits.time_words())
        if why == "left":
            return SqlTimeout("The visitor left.")
        if why == wire.BROKEN:
            return SqlUnavailable("The processes that run SQL cannot be started here now.")
        return SqlFailed(f"The query ended its process: it crashed DuckDB, or was too large. {limits.memory_words()}")

    def _whole(self, received: bytearray) -> bytes | None:
        try:
            return wire.unframed(received, self.options.limits.bytes * 2 + _HEAD)
        except ValueError as error:
            raise SqlFailed("The query ended its process.") from error

    def _open(self) -> None:
        """Hold the files open, and make the links by which workers open them.

        Workers open an empty database, read-only, before they attach the atlases: an attached database can be given a
        name, the opened one cannot.
        """
        paths = list(self._files.values())
        if self._folder is None:
            self._links = HardLinks()
            paths = [self._links.link(path, f"file{number}") for number, path in enumerate(paths)]
        folder = self._folder or self._links.folder
        folder.mkdir(parents=True, exist_ok=True)
        empty = folder / f"{EMPTY}.duckdb"
        if not empty.exists():
            duckdb.connect(str(empty)).close()
        self._held = [hold(path) for path in (*paths, empty)]
        files = []
        for number, (slug, path) in enumerate(zip(self._files, paths, strict=True)):
            name = database_name(slug)
            files.append((str(path.resolve()), str(link(folder / str(number), path, FIRST_FILE + number, name)), name))
        self._told = {
            "files": files,
            "empty": str(link(folder / "empty", empty, FIRST_FILE + len(files))),
            "limits": asdict(self.options.limits),
            "without": self._without,
        }

    def _connect(self, kind: bytes, atlas: int) -> socket.socket:
        """One end of a socket pair, whose other end the broker has."""
        if self._control is None:
            raise OSError("no broker was started")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                wire.send_request(self._control, kind, atlas, theirs.fileno())
            except OSError:
                ours.close()
                raise
        return ours

    def _start(self) -> subprocess.Popen:
        """Start the broker, which inherits only the control socket and the files: no thread and no environment."""
        if not self._held:
            raise OSError("closed")
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            descriptors = [theirs.fileno(), *self._held]
            return supervisor.start(_CODE, self._told, descriptors, "-I", env={"LC_ALL": "C.UTF-8"})
