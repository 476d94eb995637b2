"""Upgrade an atlas file to this program's schema version: the migrations and their runner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from atlas.core.db import check_schema_version, schema_version
from atlas.core.errors import AtlasError
from atlas.core.files import OutputFileError, attached, check_output, publish, temporary_beside
from atlas.core.schema import SCHEMA_VERSION, STORAGE_VERSION, schema_sql


@dataclass(frozen=True)
class Migration:
    """The step from the version before `to_version` to it."""

    to_version: int
    name: str
    tables: dict[str, str]
    """Table name to a query over `{old}` that gives its columns in the new version (missing ones become NULL)."""


MIGRATIONS: tuple[Migration, ...] = ()
"""All migrations in order of version. Version 1 is the first."""


def migrated(table: str, rows: str, from_version: int) -> str:
    """SQL of a table's rows in the newest version.

    Args:
        table: Name of the table.
        rows: SQL of its rows in version `from_version`: the table's own name, or a query in parentheses.
        from_version: Schema version of those rows.
    """
    for migration in MIGRATIONS:
        if migration.to_version > from_version and table in migration.tables:
            rows = f"({migration.tables[table].format(old=rows)})"
    return rows


OLDEST = 1
"""The first version that was released."""


class UpgradeError(AtlasError):
    """The file cannot be written in this schema version."""


def upgraded_name(file: Path) -> Path:
    """Default path of an upgraded file: `demo.v2.duckdb` beside `demo.duckdb`."""
    return file.with_name(f"{file.stem}.v{SCHEMA_VERSION}{file.suffix}")


def upgrade_file(file: Path, out: Path, *, force: bool = False) -> int:
    """Write `file`, of an older schema version, to `out` in this one; `file` is only read.

    Rows, their order, `build_id` and `built_at` stay: the content is what was built then. A file that has this version
    already is left alone, and nothing is written.

    Returns:
        The schema version of `file`.

    Raises:
        NotAnAtlasError: `file` is not an atlas.
        SchemaVersionError: `file` is of a newer version.
        OutputFileError: `out` is `file`, exists already (unless `force`), or cannot be there.
        UpgradeError: `file` is of a version that was never released, or cannot be copied; nothing is left behind.
    """
    from_version = schema_version(file)
    if from_version < OLDEST:
        raise UpgradeError(
            f"{file} has schema version {from_version}, which was never released; expected {OLDEST} to "
            f"{SCHEMA_VERSION}. Write it again with `atlas ingest`."
        )
    if from_version >= SCHEMA_VERSION:
        check_schema_version(file, from_version)
        return from_version
    if out.exists() and out.samefile(file):
        raise OutputFileError(f"--out {str(out)!r} is the file to upgrade, which is never changed. Choose another.")
    check_output(out, force=force)
    temporary = temporary_beside(out)
    try:
        _write(file, from_version, temporary)
        publish(temporary, out)
    except (duckdb.Error, OSError) as error:
        raise UpgradeError(f"{file} cannot be upgraded into {str(out)!r}: {error}") from error
    finally:
        for leftover in (temporary, Path(f"{temporary}.wal")):
            leftover.unlink(missing_ok=True)
    return from_version


def _write(file: Path, from_version: int, temporary: Path) -> None:
    temporary.unlink(missing_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {attached(file)} AS old (READ_ONLY)")
        connection.execute(f"ATTACH {attached(temporary)} AS target (STORAGE_VERSION '{STORAGE_VERSION}')")
        (d_model,) = connection.execute("SELECT d_model FROM old.atlas").fetchone()
        connection.execute("USE target")
        connection.execute(schema_sql(d_model))
        tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = ?"
        there = {name for (name,) in connection.execute(tables, ["old"]).fetchall()}
        for (table,) in connection.execute(tables, ["target"]).fetchall():
            if table in there:
                rows = migrated(table, f'old."{table}"', from_version)
                version = f"REPLACE ({SCHEMA_VERSION} AS schema_version)" if table == "atlas" else ""
                connection.execute(f'INSERT INTO "{table}" BY NAME SELECT * {version} FROM {rows}')
        connection.execute("CHECKPOINT target")
        connection.execute("USE memory")
        connection.execute("DETACH target")
