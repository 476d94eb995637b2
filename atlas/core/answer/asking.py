"""Run a statement so that its values are exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import duckdb

from atlas.core.answer.shapes import Shape, in_texts, shape_of, teller
from atlas.core.sql_text import statements


@dataclass(frozen=True)
class QueryResult:
    """Answer of a user's SQL: names of the columns, and rows of values as DuckDB returns them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Asked:
    """An unfinished answer: its columns, and the cursor from which its rows are fetched."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    """In DuckDB's words."""
    shapes: tuple[Shape, ...]
    """See `atlas.core.answer.shapes`."""
    fetch: Callable[[int], Sequence[Sequence[Any]]]
    """The next few rows, values as they come."""

    @property
    def tellers(self) -> list[Callable[[Any], Any]]:
        """For each column, the function that converts its values to JSON."""
        return [teller(shape) for shape in self.shapes]

    def rows(self) -> Iterator[list[Any]]:
        """Every row, in terms of JSON."""
        tellers = self.tellers
        while chunk := self.fetch(1000):
            for row in chunk:
                yield [tell(value) for tell, value in zip(tellers, row, strict=True)]


@dataclass(frozen=True)
class Answer:
    """A whole answer; columns, types and shapes as in `Asked`."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    shapes: tuple[Shape, ...]
    rows: tuple[list[Any], ...]
    """In terms of JSON."""


def answer(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
    """The whole answer of one statement (see `ask`)."""
    unfinished = ask(connection, sql, parameters)
    return Answer(unfinished.columns, unfinished.types, unfinished.shapes, tuple(unfinished.rows()))


def ask(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any] | None = None) -> Asked:
    """Run one statement; the rows are not fetched yet.

    Where a column has times that Python's types cannot hold exactly, the statement runs again with DuckDB's texts in
    their place. DuckDB computes rows as they are fetched, so the first run costs little unless the statement sorts or
    aggregates. A statement that cannot be a subquery, such as EXPLAIN, has no such columns.

    Raises:
        duckdb.Error: DuckDB refuses the statement or fails at it.
    """
    values = dict(parameters) if parameters else None
    connection.execute(sql, values)
    described = connection.description or []
    casts = [in_texts(kind) for _, kind, *_ in described]
    parts = statements(sql)
    if any(changed for _, changed in casts) and len(parts) == 1:
        names = [f"c{place}" for place in range(len(casts))]
        selected = [
            f"CAST({name} AS {text})" if changed else name for name, (text, changed) in zip(names, casts, strict=True)
        ]
        again = f"SELECT {', '.join(selected)} FROM (\n{parts[0]}\n) AS answer({', '.join(names)})"
        _again(connection, again, sql, values)
    return Asked(
        tuple(name for name, *_ in described),
        tuple(str(kind) for _, kind, *_ in described),
        tuple(shape_of(kind) for _, kind, *_ in described),
        connection.fetchmany if described else lambda _: (),
    )


def _again(connection: duckdb.DuckDBPyConnection, again: str, sql: str, values: dict[str, Any] | None) -> None:
    with suppress(duckdb.ParserException, duckdb.BinderException):
        connection.execute(again, values)
        return
    connection.execute(sql, values)
