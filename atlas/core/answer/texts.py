"""An answer as text: a cell of a table, lines of CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from atlas.core.answer.shapes import Shape
from atlas.core.sql_text import quoted

_NUMBERS = {"FLOAT", "DOUBLE", "BIGNUM", "INTEGER", "UINTEGER"} | {
    sign + size + "INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")
}


def is_number(shape: Shape) -> bool:
    """Whether a column's values are numbers."""
    return shape in _NUMBERS if isinstance(shape, str) else shape[0] == "DECIMAL"


def text(value: Any) -> str:
    """A value of a row as text: a text as it is, anything else its JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lines of CSV. NULL is an empty field, an empty text `""`; lists, structs and maps are JSON."""
    if columns:
        yield _line(columns)
        yield from map(_line, rows)


def _line(values: Sequence[Any]) -> str:
    return ",".join("" if value is None else _field(text(value)) for value in values) + "\n"


def _field(text: str) -> str:
    bare = text and not any(mark in text for mark in '",\r\n')
    return text if bare else quoted(text)
