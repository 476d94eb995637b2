"""Answers in the documents: a ```sql block followed by a ```text block is a query and what the demo atlas answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from atlas.core.display import show_number, show_token
from atlas.core.schema import own_macros

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo.duckdb"
FILLED = (ROOT / "README.md", ROOT / "docs" / "findings.md", ROOT / "docs" / "sql.md")
"""Documents with answers."""

_BLOCK = re.compile(r"```sql\n(?P<sql>.*?)```\n\n```text\n(?P<output>.*?)```", re.DOTALL)
_IDENTITY = re.compile(r"build `(\w+)` \(model `(\w+)`, dataset `(\w+)`\)")
_GUTTER = "  "


def connected(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection that reads an atlas, with the schema's macros whether the file has them or not."""
    connection = duckdb.connect(str(path), read_only=True)
    connection.execute(own_macros())
    return connection


@dataclass(frozen=True)
class Answered:
    """A query of a document and the answer printed under it: a header and rows, as shown."""

    document: str
    number: int
    sql: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return f"{self.document}, query {self.number}"


def answered(path: Path) -> Iterator[Answered]:
    """The queries of a document that have an answer, in order."""
    for number, block in enumerate(_BLOCK.finditer(path.read_text(encoding="utf-8")), 1):
        # Cells are padded to a column's width, so a column starts where every line has the gutter before it.
        header, *lines = block["output"].splitlines()
        starts = [match.start() for match in re.finditer(r"(?<!\S)\S", header)]
        cells = [tuple(_cut(line, starts)) for line in [header, *lines]]
        yield Answered(path.name, number, block["sql"], cells[0], tuple(cells[1:]))


def _cut(line: str, starts: list[int]) -> Iterator[str]:
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        yield line[start:stop].strip()


def show(value: object) -> str:
    """A value as the documents show it: invisible characters visible, floats to three digits, NULL as a dash."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return show_number(value, 3).replace("−", "-")
    return show_token(0, str(value), None)


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Column names and rows, as shown."""
    answer = connection.execute(sql)
    columns = tuple(column[0] for column in answer.description)
    return columns, tuple(tuple(map(show, row)) for row in answer.fetchall())


def render(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text, left-aligned so that columns can be told apart again."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [
        _GUTTER.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (columns, *rows)
    ]
    return "".join(line.rstrip() + "\n" for line in lines)


def identity(connection: duckdb.DuckDBPyConnection) -> tuple[str, str, str]:
    """(build_id, model_fingerprint, dataset_fingerprint) of an atlas."""
    return connection.execute("SELECT build_id, model_fingerprint, dataset_fingerprint FROM atlas").fetchone()


def documented_identity() -> tuple[str, str, str]:
    """The same of the atlas whose answers the documents show."""
    return _IDENTITY.search((ROOT / "docs" / "sql.md").read_text(encoding="utf-8")).groups()


def fill(text: str, connection: duckdb.DuckDBPyConnection) -> str:
    """A document with every answer, and the line that says which atlas gave them, made anew."""

    def block(match: re.Match[str]) -> str:
        return f"```sql\n{match['sql']}```\n\n```text\n{render(*ask(connection, match['sql']))}```"

    build, model, dataset = identity(connection)
    return _BLOCK.sub(block, _IDENTITY.sub(f"build `{build}` (model `{model}`, dataset `{dataset}`)", text))
