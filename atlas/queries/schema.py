"""The file's own description of itself: tables, views, columns, and their comments."""

from __future__ import annotations

from atlas.db import Atlas
from atlas.records import SchemaColumn, SchemaTable, TableSize


def schema_tables(atlas: Atlas) -> tuple[SchemaTable, ...]:
    """Every table and view with its columns, views first, for they are for people."""
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
    found = [SchemaTable(name, comment, view, tuple(columns[name])) for name, comment, view in described]
    return tuple(sorted(found, key=lambda table: (not table.view, table.name)))


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
