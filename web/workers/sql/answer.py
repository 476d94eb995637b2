"""The answer of a query, read from the frame that a worker wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from atlas.core.reads import Reads, reads_from_json
from web.workers.sql.errors import SqlFailed, SqlRefused
from web.workers.sql.limits import CUTS


@dataclass(frozen=True)
class Answer:
    """The answer of a query. The rows stay JSON until they are needed: a page passes them on unchanged."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    shapes: tuple[Any, ...]
    """Shapes of its columns, for downloaded files."""
    cut: str | None
    """The limit at which it ends: 'rows', 'size', or 'cells' (ends of long ones are left out); None: it is whole."""
    reads: Reads
    """What the statement reads."""
    rows_json: bytes

    @property
    def truncated(self) -> bool:
        """Whether rows, or parts of cells, were left out."""
        return self.cut is not None

    @cached_property
    def rows(self) -> list[list[Any]]:
        """The rows, cells in terms of JSON (see `atlas.core.answer.shapes`).

        Raises:
            SqlFailed: the bytes are not rows, because a query took over its worker.
        """
        try:
            rows = json.loads(self.rows_json)
            if all(len(row) == len(self.columns) for row in rows):
                return [list(row) for row in rows]
        except (ValueError, TypeError, RecursionError) as error:
            raise SqlFailed("The query ended its process.") from error
        raise SqlFailed("The query ended its process.")


def read_answer(frame: bytes) -> Answer:
    """Parse the answer in a frame. A query may have taken over the worker that wrote it, so it may contain anything.

    Raises:
        SqlRefused, SqlFailed: it reports an error, or is malformed.
    """
    head, _, rows = frame.partition(b"\n")
    try:
        record = json.loads(head)
        if "error" in record:
            error = record["error"]
            kind = SqlRefused if error["code"] == SqlRefused.code else SqlFailed
            raise kind(str(error["message"]), error["position"])
        columns, types = tuple(map(str, record["columns"])), tuple(map(str, record["types"]))
        shapes = tuple(record["shapes"])
        if not len(columns) == len(types) == len(shapes):
            raise ValueError("columns without types")
        cut = record["cut"] if record["cut"] in CUTS else None
        return Answer(columns, types, shapes, cut, reads_from_json(record["reads"]), rows)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SqlFailed("The query ended its process.") from error
