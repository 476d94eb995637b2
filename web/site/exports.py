"""Long lists as files, streamed: only a chunk of rows is in memory at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from flask import Response

from atlas.core.jsonable import dumps

_CHUNK = 1000
"""Rows of a chunk: a chunk for each row would cost more than the rows."""


def csv_answer(name: str, columns: tuple[str, ...], rows: Iterable[tuple]) -> Response:
    """Rows under a header as a file to save; NULL is an empty field, texts are exact."""
    answer = Response(_csv(columns, iter(rows)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return answer


def json_answer(head: dict[str, Any], columns: tuple[str, ...], rows: Iterable[tuple]) -> Response:
    """A JSON object: the fields of `head`, then `columns`, then `rows` as arrays, one on each line."""
    return Response(_json(head | {"columns": columns}, iter(rows)), mimetype="application/json")


def _csv(columns: tuple[str, ...], rows: Iterator[tuple]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    while chunk := list(islice(rows, _CHUNK)):
        writer.writerows(chunk)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()  # the header, where there are no rows


def _json(head: dict[str, Any], rows: Iterator[tuple]) -> Iterator[str]:
    yield dumps(head)[:-1] + ', "rows": ['
    separator = "\n"
    while chunk := list(islice(rows, _CHUNK)):
        yield separator + ",\n".join(map(dumps, chunk))
        separator = ",\n"
    yield "\n]}\n"
