"""Add rows to an atlas: a copy is extended, checked and renamed into place, while readers keep the file they opened."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from atlas.core.db import open_atlas
from atlas.core.files import attached, check_output, check_place, publish, temporary_beside
from atlas.core.schema import STORAGE_VERSION
from ingest.errors import OutputError
from ingest.file.checks import check_file
from ingest.process.content_hash import ContentHash
from ingest.process.lock import output_locked

ORDERS = {
    "attribution_check": "neuron_id, token_id, text_id, position",
    "neuron_attribution": "neuron_id",
    "pair_attribution": "neuron_id, token_id",
    "pair_effect": "neuron_id, token_id, side",
    "token_driver": "token_id, direction, rank",
    "study": "name",
    "study_edge": "study, source_neuron_id, target_neuron_id",
    "study_prompt": "study, prompt",
    "study_prediction": "study, prompt, side, rank",
    "study_step": "study, kind, variant NULLS LAST, site NULLS LAST, layer NULLS LAST, position NULLS LAST, "
    "neuron_id NULLS LAST",
}
"""The tables that can be extended, and how each is sorted."""
ADDED_COLUMNS = ("entropy_change", "entropy_change_by_norm", "unigram_divergence_change", "n_ablated")
"""The columns of table `neuron` that a run leaves empty."""

_NOT_HASHED = {"made_at", "command", "versions"}


def extend_atlas(
    file: Path,
    rows: Mapping[str, pa.Table],
    *,
    out: Path | None = None,
    without: str = "FALSE",
    columns: pa.Table | None = None,
) -> str:
    """Write `file` with more rows to `out` (None: over `file` itself), under a new build_id.

    The new build_id is a hash over the old one and the rows: the same additions to the same build give the same.

    Args:
        file: An atlas of this schema version; it is only read, and replaced by a rename at the end.
        rows: By table, rows with the table's columns; tables are among `ORDERS`.
        out: File to write; an older file of that name is replaced.
        without: SQL condition of the rows of those tables that are removed, over the table's first column as `key`.
        columns: Columns of table `neuron` that take the place of the old ones, by neuron_id; neurons that it lacks get
            NULL.

    Returns:
        The new build_id.

    Raises:
        NotAnAtlasError, SchemaVersionError: `file` is no atlas of this version.
        OptionError: another program writes to `out`.
        OutputError: `file` is not complete, or a file cannot be written (disk full) or fails its checks; nothing is
            left behind and `file` is unchanged.
    """
    old = _complete(file)
    content = ContentHash()
    content.update("atlas", {"build_id": pa.array([old])})
    for table, added in (*rows.items(), *([("neuron", columns)] if columns is not None else [])):
        content.update(
            table, {name: added[name].combine_chunks() for name in added.column_names if name not in _NOT_HASHED}
        )
    build_id = content.hexdigest()[:12]
    out = file if out is None else out
    temporary = temporary_beside(out)
    with output_locked(out):
        try:
            _check_room(file, temporary)
            shutil.copyfile(file, temporary)
            temporary.chmod(0o600)
            counts = _insert(temporary, rows, without, columns, build_id)
            check_file(temporary, counts)
            publish(temporary, out)
        except (duckdb.Error, OSError) as error:
            raise OutputError(f"{str(file)!r} cannot be extended as {str(out)!r}: {error}. It is unchanged.") from error
        finally:
            for leftover in (temporary, Path(f"{temporary}.wal")):
                leftover.unlink(missing_ok=True)
    return build_id


def check_extendable(file: Path, out: Path | None, *, force: bool = False) -> None:
    """Refuse, before any work is done, a place where `extend_atlas` could not write.

    Raises:
        NotAnAtlasError, SchemaVersionError: `file` is no atlas of this version.
        OutputFileError: `out` exists already (unless `force`), or nothing can be written there.
        OutputError: `file` is not complete, or the disk has no room for a copy.
    """
    if out is None or out == file:
        check_place(file)
    else:
        check_output(out, force=force)
    if file.exists():
        _complete(file)
        try:
            _check_room(file, temporary_beside(out or file))
        except OSError as error:
            raise OutputError(f"{str(file)!r} cannot be extended as {str(out or file)!r}: {error.strerror}.") from error


def _complete(file: Path) -> str:
    """The build_id of an atlas that no run will replace.

    Raises:
        OutputError: its run has not finished.
    """
    with open_atlas(file) as atlas:
        if atlas.info.share_read is not None:
            raise OutputError(
                f"{str(file)!r} is not complete: {atlas.info.share_read:.0%} of its texts are read, and its run would "
                "replace what is added now. Wait for its end, or start that run again."
            )
        return atlas.info.build_id


def _check_room(file: Path, temporary: Path) -> None:
    needed, free = file.stat().st_size, shutil.disk_usage(temporary.absolute().parent).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"a copy takes {needed:,} bytes, and the disk has {free:,} left")


def _insert(
    path: Path, rows: Mapping[str, pa.Table], without: str, columns: pa.Table | None, build_id: str
) -> dict[str, int]:
    """Insert rows in order; returns the expected number of rows of each table."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {attached(path)} AS target (STORAGE_VERSION '{STORAGE_VERSION}')")
        connection.execute("USE target")
        connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'target'")
        counts = {name: _count(connection, name) for (name,) in connection.fetchall()}
        connection.execute("BEGIN TRANSACTION")
        for table, added in rows.items():
            counts[table] = _merge(connection, table, added, without)
        if columns is not None:
            _replace(connection, columns)
        connection.execute("UPDATE atlas SET build_id = ?", [build_id])
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT target")
        connection.execute("USE memory")
        connection.execute("DETACH target")
    return counts


def _merge(connection: duckdb.DuckDBPyConnection, table: str, added: pa.Table, without: str) -> int:
    """Write the table anew, with old and new rows in order: it is small, and a sorted file answers at once."""
    (first,) = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = 'target' AND table_name = ? "
        "ORDER BY column_index LIMIT 1",
        [table],
    ).fetchone()
    remaining = f"SELECT * EXCLUDE (key) FROM (SELECT *, {first} AS key FROM {table}) WHERE NOT ({without})"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE merged AS {remaining} UNION ALL BY NAME SELECT * FROM added")
    connection.execute(f"DELETE FROM {table}")
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM merged ORDER BY {ORDERS[table]}")
    return _count(connection, table)


def _replace(connection: duckdb.DuckDBPyConnection, columns: pa.Table) -> None:
    """Write table `neuron` anew with other columns, in its order."""
    names = [name for name in columns.column_names if name != "neuron_id"]
    others = ", ".join(f"columns.{name} AS {name}" for name in names)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE merged AS SELECT neuron.* REPLACE ({others}) "
        "FROM neuron LEFT JOIN columns USING (neuron_id)"
    )
    connection.execute("DELETE FROM neuron")
    connection.execute("INSERT INTO neuron BY NAME SELECT * FROM merged ORDER BY neuron_id")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    (count,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    return count
