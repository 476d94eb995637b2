"""Two atlases, table by table."""

from __future__ import annotations

from pathlib import Path

import duckdb

_OF_THE_RUN = ("built_at", "command", "build_id")


def differences(one: Path, other: Path) -> list[str]:
    """What differs: row counts of the symmetric difference by table. When and by which command a file was written is
    never compared."""
    left_out = {"atlas": _OF_THE_RUN}
    found = []
    with duckdb.connect() as connection:
        for name, path in (("a", one), ("b", other)):
            connection.execute(f"ATTACH '{path}' AS {name} (READ_ONLY)")
        tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'a'").fetchall()
        assert len(tables) >= 15
        for (table,) in tables:
            exclude = ", ".join(left_out.get(table, ()))
            columns = f"* EXCLUDE ({exclude})" if exclude else "*"
            (n,) = connection.execute(
                f"SELECT count(*) FROM ((SELECT {columns} FROM a.{table} EXCEPT ALL SELECT {columns} FROM b.{table}) "
                f"UNION ALL (SELECT {columns} FROM b.{table} EXCEPT ALL SELECT {columns} FROM a.{table}))"
            ).fetchone()
            if n:
                found.append(f"{table}: {n} rows")
    return found


def build_id(path: Path) -> str:
    """The file's own identity."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute("SELECT build_id FROM atlas").fetchone()[0]
