"""Write the file: Arrow into DuckDB in bulk, under a temporary name, checked, then renamed into place.

A reader never sees half an atlas: until the rename there is only a file with another name, which is removed when
anything goes wrong.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import xxhash

from atlas.schema import STORAGE_VERSION, schema_sql
from ingest.errors import OutputError

Columns = dict[str, Any]
"""Column name to numpy array, Arrow array or list, all of one length."""

_NOT_HASHED = {"atlas": {"build_id", "built_at", "command"}}


class AtlasWriter:
    """Fills a temporary file beside `out`; `publish` renames it. A context manager: leaving it without
    publishing removes the temporary file."""

    def __init__(self, out: Path, d_model: int) -> None:
        self.path = out.with_name(f"{out.name}.tmp-{os.getpid()}")
        self._digest = xxhash.xxh3_128()
        self.rows: dict[str, int] = {}
        try:
            self.path.unlink(missing_ok=True)
            self._connection = duckdb.connect()
            self._connection.execute(f"ATTACH '{_quoted(self.path)}' AS target (STORAGE_VERSION '{STORAGE_VERSION}')")
            self._connection.execute("USE target")
            self._connection.execute(schema_sql(d_model))
        except (duckdb.Error, OSError) as error:
            raise OutputError(f"The file {str(self.path)!r} cannot be created: {error}") from error

    def __enter__(self) -> AtlasWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        for leftover in (self.path, Path(f"{self.path}.wal")):
            leftover.unlink(missing_ok=True)

    def write(self, table: str, columns: Columns) -> None:
        """Append rows to a table (in its sort order: rows of one call follow those of the call before).

        Raises:
            OutputError: DuckDB refuses the rows (disk full, a value out of range).
        """
        arrays = {
            name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()
        }
        batch = pa.table(arrays)
        names = ", ".join(f'"{name}"' for name in arrays)
        try:
            self._connection.register("batch", batch)
            self._connection.execute(f'INSERT INTO "{table}" ({names}) SELECT {names} FROM batch')
            self._connection.unregister("batch")
        except duckdb.Error as error:
            raise OutputError(f"Rows of table {table!r} cannot be written to {str(self.path)!r}: {error}") from error
        self.rows[table] = self.rows.get(table, 0) + len(batch)
        self._digest.update(f"{table} {len(batch)}".encode())
        for name, array in arrays.items():
            if name not in _NOT_HASHED.get(table, ()):
                self._digest.update(name.encode())
                for buffer in array.buffers():
                    if buffer is not None:
                        self._digest.update(memoryview(buffer))

    def build_id(self) -> str:
        """12 hex digits of a hash over everything written so far but the time and the command."""
        return self._digest.hexdigest()[:12]

    def close(self) -> None:
        """Bring everything into the file itself and let go of it."""
        try:
            self._connection.execute("CHECKPOINT target")
            self._connection.execute("USE memory")
            self._connection.execute("DETACH target")
        except duckdb.Error as error:
            raise OutputError(f"The file {str(self.path)!r} cannot be completed: {error}") from error
        self._connection.close()
        if Path(f"{self.path}.wal").exists():
            raise OutputError(f"DuckDB left a write-ahead log beside {str(self.path)!r}: the file is not complete.")

    def publish(self, out: Path) -> None:
        """Flush to disk, make read-only, and rename into place (over an older file of that name)."""
        os.chmod(self.path, 0o444)
        for path in (self.path, out.parent):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        os.replace(self.path, out)
        directory = os.open(out.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def vectors(matrix: np.ndarray) -> pa.FixedSizeListArray:
    """A [row, width] matrix as one fixed-size-list column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).reshape(-1)), matrix.shape[1])


def ragged(matrix: np.ndarray, length: np.ndarray) -> pa.ListArray:
    """The first `length[i]` entries of each row of a [row, width] matrix as one list column."""
    used = np.arange(matrix.shape[1]) < length[:, None]
    offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix[used]))


def nullable(values: np.ndarray, dtype: np.dtype | type = np.float32) -> pa.Array:
    """Numbers with NaN as NULL: NaN wins every ORDER BY ... DESC, so none may reach a table."""
    return pa.array(values.astype(dtype), mask=np.isnan(values))
