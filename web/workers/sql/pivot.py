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

_MAIN = {"select", "from", "values", "table", *_PIVOT}
"""Words with which a statement begins, behind its WITH."""


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
    """The innermost such PIVOT of a statement, in brackets or by itself; None: it has none."""
    parts = list(words(sql))
    scopes = sorted(_scopes(parts), key=lambda scope: -scope.depth)
    return next(filter(None, (_pivot(sql, parts, scope) for scope in scopes)), None)


@dataclass(frozen=True)
class _Scope:
    """The words of a statement, or of what stands in brackets: from `start` to before `stop`, `depth` brackets deep."""

    start: int
    stop: int
    depth: int


def _scopes(parts: Sequence[Word]) -> Iterator[_Scope]:
    opened: list[int] = []
    yield _Scope(0, len(parts), 0)
    for place, part in enumerate(parts):
        if part.text == "(":
            opened.append(place)
        elif part.text == ")" and opened:
            start = opened.pop() + 1
            if start < place and parts[start].text.lower() in ("with", *_PIVOT):
                yield _Scope(start, place, part.depth)


def _pivot(sql: str, parts: Sequence[Word], scope: _Scope) -> Pivot | None:
    places = range(scope.start, scope.stop)
    outer = [(place, parts[place].text.lower()) for place in places if parts[place].depth == scope.depth]
    if not outer or outer[0][1] not in ("with", *_PIVOT):
        return None
    first = next((place for place, word in outer if word in _PIVOT), scope.stop)
    on = next((place for place, word in outer if word == "on" and place > first), None)
    if on is None or any(word == "select" for place, word in outer if place < first):
        return None
    end = next((place for place, word in outer if word in _END and place > on), scope.stop)
    columns = tuple(_columns(sql, parts[on + 1 : end], scope.depth))
    if not columns:
        return None
    source = sql[parts[first].end : parts[on].start].strip()
    before = sql[parts[scope.start].start : parts[first].start] or _queries_before(sql, parts, scope)
    return Pivot(sql, before, source, columns)


def _queries_before(sql: str, parts: Sequence[Word], scope: _Scope) -> str:
    """The statement's WITH and those of its queries that come before what stands in brackets; empty without."""
    outer = [part for part in parts[: scope.start] if part.depth == 0]
    if scope.depth == 0 or not outer or outer[0].text.lower() != "with":
        return ""
    main = next((part for part in outer if part.text.lower() in _MAIN), None)
    commas = [part for part in outer if part.text == ","]
    if main is not None:
        return sql[: main.start]
    return f"{sql[: commas[-1].start]} " if commas else ""


def _columns(sql: str, listed: Sequence[Word], depth: int) -> Iterator[Column]:
    """The expressions of a list between commas that have no IN."""
    piece: list[Word] = []
    for part in listed:
        if part.text == "," and part.depth == depth:
            yield from _column(sql, piece, depth)
            piece = []
        else:
            piece.append(part)
    yield from _column(sql, piece, depth)


def _column(sql: str, piece: Sequence[Word], depth: int) -> Iterator[Column]:
    if piece and not any(part.text.lower() == "in" and part.depth == depth for part in piece):
        yield Column(sql[piece[0].start : piece[-1].end], piece[-1].end)
