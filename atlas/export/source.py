"""Whole tables of an atlas as Arrow record batches, in order, a few at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from atlas.core.db import Atlas
from atlas.core.errors import QueryError
from atlas.core.files import attached
from atlas.core.sql_text import quoted
from atlas.topics.tables import SchemaColumn, SchemaTable, schema_tables

BATCH = 2048
"""Rows of a batch: one DuckDB vector, so that a batch of weights is about 20 MB for the widest models."""

_MEMORY = "128MB"
"""Memory for DuckDB's buffers while a table is read: each block is needed once."""
_VIEW_MEMORY = "2GB"
"""Memory for a view, whose joins need more; beyond it they spill to disk."""

_NUMBERS = re.compile(r"(TINYINT|SMALLINT|INTEGER|BIGINT|FLOAT|DOUBLE)\[\d*\]")


def table_names(atlas: Atlas, *, views: bool = False) -> tuple[str, ...]:
    """Names of the tables, followed by those of the views if `views`; each in alphabetical order."""
    tables = schema_tables(atlas)
    names = [table.name for table in tables if not table.view]
    return tuple(names + ([table.name for table in tables if table.view] if views else []))


def whole_table(atlas: Atlas, name: str) -> SchemaTable:
    """A table or view of the atlas.

    Raises:
        QueryError: there is none of that name; the message lists them.
    """
    for table in schema_tables(atlas):
        if table.name == name:
            return table
    known = ", ".join(table_names(atlas, views=True))
    raise QueryError(f"This atlas has no table {name!r}; it has {known}.")


@contextmanager
def batches(
    atlas: Atlas, table: SchemaTable, *, text: bool, spill: Path | None = None
) -> Iterator[pa.RecordBatchReader]:
    """A reader of the whole table in the order of the file. Views have no order and spill into the folder `spill`.

    `text` converts types that CSV lacks to text: lists and structs to JSON, bytes to hexadecimal digits. Without it
    only JSON becomes text.

    Raises:
        QueryError: DuckDB fails at the table.
    """
    # A separate instance: its buffers are bounded and freed with it, and those of the pages are untouched. One thread
    # keeps the order and prevents a download from using every core.
    config: dict[str, Any] = {"memory_limit": _VIEW_MEMORY if table.view else _MEMORY, "threads": 1}
    config["temp_directory"] = "" if spill is None else str(spill)
    columns = ", ".join(f"{_expression(column, text)} AS {quoted(column.name)}" for column in table.columns)
    try:
        with duckdb.connect(":memory:", config=config) as connection:
            connection.execute(f"ATTACH {attached(atlas.path)} AS source (READ_ONLY)")
            connection.execute("USE source")
            with connection.sql(f"SELECT {columns} FROM {quoted(table.name)}").to_arrow_reader(BATCH) as reader:
                yield reader
    except duckdb.Error as error:
        raise QueryError(f"The table {table.name} of {atlas.path.name} cannot be read: {error}") from error


def _expression(column: SchemaColumn, text: bool) -> str:
    name = quoted(column.name)
    if column.type == "JSON" or (text and _NUMBERS.fullmatch(column.type)):
        # A list of numbers as text is JSON already, with the shortest digits that round-trip a float32;
        # to_json would write each as a double.
        return f"CAST({name} AS VARCHAR)"
    if text and column.type == "BLOB":
        return f"lower(hex({name}))"
    if text and (column.type.endswith("]") or column.type.startswith("STRUCT")):
        return f"CAST(to_json({name}) AS VARCHAR)"
    return name
