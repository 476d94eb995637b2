"""A copy of an atlas file for readers that fetch parts of it over a network, and the parts that they need first.

DuckDB reads whole blocks: 64 KiB here, not 256. A row of `neuron` lies in a few blocks side by side, since its row
groups are small and each is written by itself. What DuckDB reads before any row, its metadata, lies in blocks all over
the file: `metadata_pages` finds them, so that they can be sent as one.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from atlas.core.files import attached, database
from atlas.core.schema import STORAGE_VERSION, schema_sql
from atlas.core.sql_text import quoted

LAYOUT = 1
"""Version of the layout: a copy of another is made again."""
PAGE = 16384
"""Bytes: DuckDB-WASM reads in pages of this size."""
_BLOCK = 65536
_HEADER = 3 * 4096
"""Bytes before the first block of a DuckDB file."""
_ROWS, _FEW_ROWS = 32768, 2048
"""Rows of a row group, and of one of the tables with a row for each neuron and many columns."""
_BY_NEURON = ("neuron", "neuron_attribution")


def copy_for_ranges(file: Path, out: Path) -> None:
    """Write a copy of an atlas file: its rows in their order, tables, views and macros of this schema.

    Raises:
        duckdb.Error: `out` cannot be written.
    """
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(f"ATTACH {attached(file)} AS old (READ_ONLY)")
        connection.execute("SET write_buffer_row_group_count = 1")  # otherwise columns of five row groups are mixed
        (d_model,) = connection.execute("SELECT d_model FROM old.atlas").fetchone()
        there = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'old'"
        tables = {name for (name,) in connection.execute(there).fetchall()}
        # The small groups last: a checkpoint joins groups that are smaller than those of its session.
        _append(connection, out, _ROWS, sorted(tables.difference(_BY_NEURON)), schema_sql(d_model))
        _append(connection, out, _FEW_ROWS, [name for name in _BY_NEURON if name in tables])


def _append(connection: duckdb.DuckDBPyConnection, out: Path, rows: int, tables: list[str], before: str = "") -> None:
    """Append tables in row groups of so many rows."""
    options = f"STORAGE_VERSION '{STORAGE_VERSION}', BLOCK_SIZE {_BLOCK}, ROW_GROUP_SIZE {rows}"
    connection.execute(f"ATTACH {attached(out)} AS target ({options})")
    connection.execute(f"USE target; {before}")
    for table in map(quoted, tables):
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM old.{table}")
    connection.execute("CHECKPOINT target")
    connection.execute("USE memory; DETACH target")


def metadata_pages(file: Path) -> dict[int, bytes]:
    """The pages of a file that hold its header and its metadata, by number; the last of the file may be short."""
    with duckdb.connect(database(file), read_only=True) as connection:
        ((block,),) = connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()
        blocks = connection.execute("SELECT block_id FROM pragma_metadata_info()").fetchall()
    starts = [_HEADER + block * number for (number,) in blocks]
    pages = {0, *(page for start in starts for page in range(start // PAGE, (start + block - 1) // PAGE + 1))}
    held = {}
    with file.open("rb") as content:
        for page in sorted(pages):
            content.seek(page * PAGE)
            held[page] = content.read(PAGE)
    return held
