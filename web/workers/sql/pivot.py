"""PIVOT without its values (`PIVOT t ON c USING …`): DuckDB runs it as several statements, which the gate does not let
through. Here a first query finds the values, and the statement then names them (`ON c IN (…)`), which is one statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from atlas.core.sql_text import Word, quoted_text, words

MOST = 1_000
"""Most columns that one ON makes: a page and a file would be of no use with more."""

_PIVOT = ("pivot", "pivot_wider")
_END = {"using", "group", "order", "limit", "offset", ";"}
"""Words that end the list behind ON."""


class TooManyError(Exception):
    """A PIVOT would make too many columns; the text says what to do."""


@dataclass(frozen=True)
class Column:
    """An expression behind ON without values, and the place behind it."""

    sql: str
    end: int


@dataclass(frozen=True)
class Pivot:
    """A PIVOT whose columns lack their values."""

    sql: str
    before: str
    """What stands before PIVOT: nothing, or WITH and its queries."""
    source: str
    columns: tuple[Column, ...]

    def values_query(self, column: Column) -> str:
        """The query for a column's values, as texts and in order; one more than there may be."""
        distinct = f"SELECT DISTINCT {column.sql} AS v FROM {self.source}"
        return (
            f"{self.before}SELECT CAST(v AS VARCHAR) FROM (\n{distinct}\n) WHERE v IS NOT NULL ORDER BY v "
            f"LIMIT {MOST + 1}"
        )

    def filled(self, values: Callable[[str], Sequence[str]]) -> str:
        """The statement with its values, each column's found by `values` from its query.

        Raises:
            TooManyError: a column has more values than columns are of use.
        """
        sql = self.sql
        for column in reversed(self.columns):  # later places stay where they are
            texts = values(self.values_query(column))
            if len(texts) > MOST:
                raise TooManyError(
                    f"PIVOT ON {column.sql} makes more than {MOST:,} columns, this site's limit. Filter its rows "
                    f"first, or name the values that you want: ON {column.sql} IN (…)."
                )
            literals = ", ".join(map(quoted_text, texts)) or "NULL"
            sql = f"{sql[: column.end]} IN ({literals}){sql[column.end :]}"
        return sql


def pivot_without_values(sql: str) -> Pivot | None:
    """A statement that is such a PIVOT; None for every other."""
    parts = list(words(sql))
    outer = [(place, part.text.lower()) for place, part in enumerate(parts) if part.depth == 0]
    if not outer or outer[0][1] not in ("with", *_PIVOT):
        return None
    first = next((place for place, word in outer if word in _PIVOT), len(parts))
    on = next((place for place, word in outer if word == "on" and place > first), None)
    if on is None or any(word == "select" for place, word in outer if place < first):
        return None
    end = next((place for place, word in outer if word in _END and place > on), len(parts))
    columns = tuple(_columns(sql, parts[on + 1 : end]))
    if not columns:
        return None
    source = sql[parts[first].end : parts[on].start].strip()
    return Pivot(sql, sql[: parts[first].start], source, columns)


def _columns(sql: str, listed: Sequence[Word]) -> Iterator[Column]:
    """The expressions of a list between commas that have no IN."""
    piece: list[Word] = []
    for part in listed:
        if part.text == "," and part.depth == 0:
            yield from _column(sql, piece)
            piece = []
        else:
            piece.append(part)
    yield from _column(sql, piece)


def _column(sql: str, piece: Sequence[Word]) -> Iterator[Column]:
    if piece and not any(part.text.lower() == "in" and part.depth == 0 for part in piece):
        yield Column(sql[piece[0].start : piece[-1].end], piece[-1].end)
