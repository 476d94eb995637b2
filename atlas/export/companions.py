"""Companion files of an export: the tables' schema for programs, and SQL views over the files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb

from atlas.core.db import Atlas
from atlas.core.jsonable import dumps
from atlas.core.schema import schema_sql
from atlas.topics.tables import SchemaColumn, SchemaTable

if TYPE_CHECKING:
    from atlas.export.folder import Written


_TYPES = {
    "BOOLEAN": "boolean",
    "SMALLINT": "integer",
    "INTEGER": "integer",
    "BIGINT": "integer",
    "FLOAT": "number",
    "DOUBLE": "number",
    "TIMESTAMP": "datetime",
}
"""The Data Package's types; other types are text in CSV."""

_OF_A_VIEW = re.compile(r'CREATE (?:VIEW|MACRO)|COMMENT ON (?:VIEW|MACRO)|COMMENT ON COLUMN "?(\w+)')


def datapackage(atlas: Atlas, files: tuple[Written, ...], form: str) -> str:
    """A Data Package (frictionless standard): every file, its columns, their types and comments; for CSV the only place
    that has them."""
    info = atlas.info
    resources = [
        {
            "name": item.table.name,
            "path": item.file,
            "format": form,
            "description": item.table.comment or "",
            "bytes": item.size,
            **({} if item.rows is None else {"rows": item.rows}),
            "schema": {"fields": [_field(column, form) for column in item.table.columns], "missingValues": [""]},
        }
        for item in files
    ]
    head = {"name": info.slug, "version": info.build_id, "title": f"Neuron Atlas of {info.model_name}", "atlas": info}
    return dumps({**head, "resources": resources}, indent=2) + "\n"


def _field(column: SchemaColumn, form: str) -> dict[str, str]:
    kind = _TYPES.get(column.type, "string")
    if column.type.endswith("]") or column.type.startswith("STRUCT"):
        kind = "array" if column.type.endswith("]") else "object"
    described = {"name": column.name, "type": kind, "duckdb": column.type, "description": column.comment or ""}
    if form == "csv" and column.type == "BLOB":
        described["format"] = "hexadecimal"
    return described


def views_sql(atlas: Atlas, tables: tuple[SchemaTable, ...], form: str, *, views: bool) -> str:
    """SQL that makes a DuckDB of the folder: each file as a view under its table's name, with the table's types, and
    after them, with `views`, the atlas's own views and macros."""
    lines = ["-- Run in this folder: `duckdb -init views.sql`. Nothing is copied.", ""]
    names = {table.name for table in tables if not table.view} if views else {table.name for table in tables}
    for table in tables:
        if table.name in names:
            columns = ",\n    ".join(_typed(column, form) for column in table.columns)
            lines.append(f'CREATE VIEW "{table.name}" AS SELECT\n    {columns}\nFROM {_read(table, form)};\n')
    if views:
        lines += _own_views(atlas.info.d_model)
    return "\n".join(lines)


def _typed(column: SchemaColumn, form: str) -> str:
    name = f'"{column.name}"'
    value = f"unhex({name})" if form == "csv" and column.type == "BLOB" else f"CAST({name} AS {column.type})"
    return f"{value} AS {name}"


def _read(table: SchemaTable, form: str) -> str:
    if form == "parquet":
        return f"read_parquet('{table.name}.parquet')"
    # All columns as text, since DuckDB might guess other types; a quoted empty field is an empty text, a bare one NULL.
    columns = ", ".join(f"'{column.name}': 'VARCHAR'" for column in table.columns)
    return (
        f"read_csv('{table.name}.csv', header = true, delim = ',', quote = '\"', escape = '\"', auto_detect = false, "
        f"nullstr = '', allow_quoted_nulls = false, max_line_size = 16777216, columns = {{{columns}}})"
    )


def _own_views(d_model: int) -> list[str]:
    statements = [statement.query.strip() for statement in duckdb.extract_statements(schema_sql(d_model))]
    plain = [re.sub(r"\A(\s*--[^\n]*\n)+", "", statement).strip() for statement in statements]
    names = {match[1] for sql in plain if (match := re.match(r'CREATE VIEW "?(\w+)', sql))}
    views = []
    for sql in plain:
        match = _OF_A_VIEW.match(sql)
        if match and (match[1] is None or match[1] in names):
            views.append(sql.rstrip(";") + ";\n")
    return views
