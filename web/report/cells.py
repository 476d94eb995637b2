"""The table of a panel: the first rows of its query's answer, formatted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atlas.core.answer.asking import QueryResult
from atlas.core.display import column_decimals, show_decimals, show_value
from atlas.core.names import is_neuron_name
from web.report.block import ROWS
from web.report.names import Links


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, whether that is a number, and the page of the neuron or token that it names."""

    text: str
    number: bool = False
    link: str | None = None


_SHARES = frozenset({"probability", "recovery", "precision", "recall"})
_ENDS = frozenset({"low", "high", "value"})
"""Of an interval, and what an ablation changed: in the unit of the row."""


def heads(answer: QueryResult) -> tuple[str, ...]:
    """Names of its columns; a single row is transposed and has only these."""
    if _turned(answer):
        return ("", "")
    units = {"points": ", points", "share": "", "number": ""}
    return tuple(name.replace("_", " ") + units[_unit(name, answer.columns)] for name in answer.columns)


def cells(answer: QueryResult, links: Links) -> tuple[list[list[Cell]], str]:
    """Rows of cells, and a note below them. An answer of one long row is transposed: a line for each column."""
    if _turned(answer):
        pairs = zip(answer.columns, answer.rows[0], strict=True)
        return [
            [Cell(name.replace("_", " ")), Cell(_plain(name, value), _is_number(value))] for name, value in pairs
        ], ""
    rows = answer.rows[:ROWS]
    by_column = [
        _column(answer, place, [row[place] for row in rows], rows, links) for place in range(len(answer.columns))
    ]
    n = len(answer.rows)
    note = f"{ROWS} of {n:,} rows." if n > ROWS else "" if n else "No rows."
    return [list(row) for row in zip(*by_column, strict=True)], note


def _column(answer: QueryResult, place: int, values: list[Any], rows: Sequence[tuple], links: Links) -> list[Cell]:
    """The cells of a column, its numbers to the same decimals."""
    name, unit = answer.columns[place], _unit(answer.columns[place], answer.columns)
    if any(isinstance(value, float) for value in values):
        scaled = [None if value is None else value * (1 if unit == "number" else 100) for value in values]
        decimals = column_decimals(scaled, 4 if unit == "number" else 3)
        sign = "%" if unit == "share" else ""
        return [Cell("–" if value is None else show_decimals(value, decimals) + sign, True) for value in scaled]
    if name == "token" or name.endswith("_token"):
        ids = [row[answer.columns.index(f"{name}_id")] if f"{name}_id" in answer.columns else None for row in rows]
        return [
            Cell(show_value(value).replace(" ", "␣"), link=links.token(token_id, value))
            for token_id, value in zip(ids, values, strict=True)
        ]
    return [
        Cell(
            _plain(name, value),
            _is_number(value),
            links.neuron(value) if isinstance(value, str) and is_neuron_name(value) else None,
        )
        for value in values
    ]


def _unit(name: str, columns: Sequence[str]) -> str:
    """'share' (shown as a percentage), 'points' (percentage points) or 'number'."""
    if name.endswith("_fraction") or name.startswith("share_") or name in _SHARES:
        return "share"
    if name == "probability_change":
        return "points"
    if name in _ENDS:
        return (
            "points"
            if {"probability_change", "variant"} & set(columns)
            else "share"
            if "recovery" in columns
            else "number"
        )
    return "number"


def _turned(answer: QueryResult) -> bool:
    return len(answer.rows) == 1 and len(answer.columns) > 10


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(name: str, value: Any) -> str:
    # An id or a seed is a name, not a quantity.
    return str(value) if _is_number(value) and (name.endswith("_id") or name == "seed") else show_value(value)
