"""One atlas file that visitors may query: whether they may, and what a query answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from web.workers.sql import wire
from web.workers.sql.errors import SqlError, SqlFailed, SqlRefused, SqlUnavailable
from web.workers.sql.host import Host
from web.workers.sql.limits import GIVEN_UP, STARTING, Limits


@dataclass(frozen=True)
class Answer:
    """What a query answers. The rows stay JSON until somebody wants them: a page passes them on as they are."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    shapes: tuple[Any, ...]
    """What its values are, for the files that people save."""
    truncated: bool
    """Whether rows, or parts of cells, were left out."""
    rows_json: bytes

    @cached_property
    def rows(self) -> list[list[Any]]:
        """The rows, cells in terms of JSON (see `atlas.core.answer.shapes`).

        Raises:
            SqlFailed: they are no rows: a query took its worker over.
        """
        try:
            rows = json.loads(self.rows_json)
            if all(len(row) == len(self.columns) for row in rows):
                return [list(row) for row in rows]
        except (ValueError, TypeError, RecursionError) as error:
            raise SqlFailed("The query ended its process.") from error
        raise SqlFailed("The query ended its process.")


class Sandbox:
    """One atlas file that visitors may query. May be made before or after a fork, and used by any thread.

    `host` shares one broker, and so one count of running queries, among several files; without it the sandbox has its
    own. `anyway` runs queries even where a layer is missing.
    """

    def __init__(
        self, path: Path, limits: Limits | None = None, *, host: tuple[Host, int] | None = None, anyway: bool = False
    ) -> None:
        self.limits = limits or (host[0].limits if host else Limits())
        self._own = host is None
        self._host, self._number = host or (Host([path], self.limits), 0)
        self._anyway = anyway
        self._report: dict[str, Any] | None = None
        self._lock = threading.Lock()

    def ask(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, client: socket.socket | None = None
    ) -> Answer:
        """Answer of a statement, its `$name` and `:name` standing for the parameters; ended early if `client`, the
        visitor's socket, is closed.

        Raises:
            SqlRefused, SqlFailed, SqlTimeout, SqlBusy: it has none.
            SqlUnavailable: nothing may be run here.
        """
        why_not = self.why_not()
        if why_not is not None:
            raise SqlUnavailable(why_not)
        query = {"sql": sql, "parameters": dict(parameters or {})}
        if sum(len(str(text)) for text in (sql, *query["parameters"].values())) > self.limits.statement:
            raise SqlRefused(f"The statement is longer than {self.limits.statement:,} bytes, the most taken here.")
        return _answer(self._host.ask(self._number, wire.ASK, query, self.limits.seconds + GIVEN_UP, client))

    def layers(self) -> dict[str, dict[str, Any]]:
        """Each layer of the sandbox: whether it is 'on', and in 'detail' what it is or why not.

        Raises:
            SqlUnavailable: no worker can be started.
        """
        return self._probed()["layers"]

    def why_not(self) -> str | None:
        """Why no query may be run here; None if any may."""
        try:
            report = self._probed()
        except SqlUnavailable as error:
            return str(error)
        missing = [f"{name} ({state['detail']})" for name, state in report["layers"].items() if not state["on"]]
        could = report["could"]
        if self._anyway or not (missing or could):
            return None
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"a query's process could {', '.join(could)}"] if could else []
        return (
            f"SQL is off: this machine cannot confine it ({'; '.join(parts)}). --sql-anyway turns it on all the same."
        )

    def close(self) -> None:
        """End the processes, if they are this sandbox's own."""
        if self._own:
            self._host.close()

    def _probed(self) -> dict[str, Any]:
        """What a worker says of itself, asked once."""
        with self._lock:
            if self._report is None:
                try:
                    self._report = json.loads(self._host.ask(self._number, wire.PROBE, {}, STARTING))
                except SqlError as error:
                    raise SqlUnavailable("SQL is off: no process to run it can be started here.") from error
            return self._report


def _answer(frame: bytes) -> Answer:
    """The answer in a frame, which a worker wrote that a query may have taken over: anything may be in it.

    Raises:
        SqlRefused, SqlFailed: it says that there is none, or is not a frame's content.
    """
    head, _, rows = frame.partition(b"\n")
    try:
        said = json.loads(head)
        if "error" in said:
            error = said["error"]
            kind = SqlRefused if error["code"] == SqlRefused.code else SqlFailed
            raise kind(str(error["message"]), error["position"])
        columns, types = tuple(map(str, said["columns"])), tuple(map(str, said["types"]))
        shapes = tuple(said["shapes"])
        if not len(columns) == len(types) == len(shapes):
            raise ValueError("columns without types")
        return Answer(columns, types, shapes, bool(said["truncated"]), rows)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SqlFailed("The query ended its process.") from error
