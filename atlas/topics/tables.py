"""The tables and views of an atlas, and their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import duckdb

from atlas.core.db import Atlas
from atlas.core.schema import schema_sql


@dataclass(frozen=True)
class SchemaColumn:
    """A column of a table or view: its name, its DuckDB type, its comment in the schema."""

    name: str
    type: str
    comment: str | None


@dataclass(frozen=True)
class SchemaTable:
    """A table or a view (for people, ids resolved), its comment in the schema, its columns in order."""

    name: str
    comment: str | None
    view: bool
    columns: tuple[SchemaColumn, ...]


@dataclass(frozen=True)
class SchemaMacro:
    """A macro of the schema: its name, its parameters, its comment, and the columns of its answer (none: a value)."""

    name: str
    parameters: tuple[str, ...]
    comment: str
    columns: tuple[SchemaColumn, ...]


@dataclass(frozen=True)
class TableSize:
    """Size of a table."""

    rows: int
    """Rows."""
    bytes: int
    """Bytes in the atlas's file; a block shared with another table counts for both."""


def schema_tables(atlas: Atlas) -> tuple[SchemaTable, ...]:
    """Every table and view with its columns; the views, which are for people, come first."""
    return atlas.remembered("schema", lambda: _read(atlas))


def _read(atlas: Atlas) -> tuple[SchemaTable, ...]:
    columns: dict[str, list[SchemaColumn]] = {}
    for table, name, kind, comment in atlas.rows(
        "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() "
        "WHERE schema_name = 'main' AND NOT internal ORDER BY table_name, column_index"
    ):
        columns.setdefault(table, []).append(SchemaColumn(name, kind, comment))
    described = atlas.rows(
        "SELECT view_name, comment, true FROM duckdb_views() WHERE NOT internal AND schema_name = 'main' UNION ALL "
        "SELECT table_name, comment, false FROM duckdb_tables() WHERE NOT internal AND schema_name = 'main'"
    )
    tables = [SchemaTable(name, comment, view, tuple(columns[name])) for name, comment, view in described]
    return tuple(sorted(tables, key=lambda table: (not table.view, table.name)))


@cache
def schema_macros() -> tuple[SchemaMacro, ...]:
    """Every macro of the schema, those that answer with a table first."""
    with duckdb.connect() as connection:
        connection.execute(schema_sql(1))
        own = connection.execute(
            "SELECT function_name, parameters, comment, function_type = 'table_macro' FROM duckdb_functions() "
            "WHERE database_name = current_database() AND NOT internal ORDER BY function_type DESC, function_name"
        ).fetchall()
        return tuple(
            SchemaMacro(name, tuple(names), comment, _columns(connection, name, len(names)) if table else ())
            for name, names, comment, table in own
        )


def _columns(connection: duckdb.DuckDBPyConnection, macro: str, n: int) -> tuple[SchemaColumn, ...]:
    described = connection.execute(f"DESCRIBE FROM {macro}({', '.join(['NULL'] * n)})").fetchall()
    return tuple(SchemaColumn(name, kind, None) for name, kind, *_ in described)


def table_sizes(atlas: Atlas) -> dict[str, TableSize]:
    """Rows and bytes of every table, by name; views have none of their own."""
    return atlas.remembered("table sizes", lambda: _sizes(atlas))


def _sizes(atlas: Atlas) -> dict[str, TableSize]:
    ((block,),) = atlas.rows("SELECT block_size FROM pragma_database_size()")
    sizes = {}
    for (name,) in atlas.rows("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' AND NOT internal"):
        ((rows,),) = atlas.rows(f'SELECT count(*) FROM "{name}"')
        ((blocks,),) = atlas.rows(
            "SELECT count(DISTINCT block) FROM (SELECT block_id AS block FROM pragma_storage_info(?) "
            "UNION ALL SELECT unnest(additional_block_ids) FROM pragma_storage_info(?)) WHERE block >= 0",
            name,
            name,
        )
        sizes[name] = TableSize(rows, blocks * block)
    return sizes


def column_comments(atlas: Atlas, table: str) -> dict[str, str]:
    """The comment of each column of a table or view in the file's own schema."""
    sql = "SELECT column_name, comment FROM duckdb_columns() WHERE schema_name = 'main' AND table_name = ?"
    return atlas.remembered(f"comments of {table}", lambda: dict(atlas.rows(sql, table)))
