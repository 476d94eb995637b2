"""The table of a panel: the first rows of its query's answer, formatted."""

from __future__ import annotations

from typing import Any

from atlas.core.answer.asking import QueryResult
from atlas.core.display import show_value
from web.report.block import ROWS


def heads(answer: QueryResult) -> tuple[str, ...]:
    """Names of its columns; a single row is transposed and has only these."""
    return ("", "") if _turned(answer) else tuple(name.replace("_", " ") for name in answer.columns)


def cells(answer: QueryResult) -> tuple[list[list[tuple[str, bool]]], str]:
    """Rows of (text, whether it is a number), and a note below them. An answer of one long row is transposed: a line
    for each column."""
    if _turned(answer):
        pairs = zip(answer.columns, answer.rows[0], strict=True)
        return [[(name.replace("_", " "), False), _cell(name, value)] for name, value in pairs], ""
    rows = [[_cell(name, value) for name, value in zip(answer.columns, row, strict=True)] for row in answer.rows[:ROWS]]
    n = len(answer.rows)
    return rows, f"{ROWS} of {n:,} rows." if n > ROWS else "" if n else "No rows."


def _turned(answer: QueryResult) -> bool:
    return len(answer.rows) == 1 and len(answer.columns) > 10


def _cell(name: str, value: Any) -> tuple[str, bool]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # An id or a seed is a name, not a quantity.
    text = str(value) if number and (name.endswith("_id") or name == "seed") else show_value(value)
    return (text.replace(" ", "␣") if name == "token" or name.endswith("_token") else text), number
