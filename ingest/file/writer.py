"""Write the file: Arrow into DuckDB in bulk, under a temporary name, checked, then renamed into place.

A reader never sees half an atlas: until the rename there is only a file with another name, which is removed after any
error. DuckDB's own protection of half-written files is therefore switched off: no write-ahead log (every row would be
written twice), and one transaction, so that row groups fill up however small the batches are.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType

import duckdb
import pyarrow as pa

from atlas.core.files import attached, publish, temporary_beside
from atlas.core.info import unfinished_build_id
from atlas.core.schema import STORAGE_VERSION, schema_sql
from ingest.errors import OutputError
from ingest.process.arrow import Columns
from ingest.process.content_hash import ContentHash

_NOT_HASHED = {"atlas": {"build_id", "built_at", "command"}}
_LIBRARIES = ("neuron-atlas", "torch", "transformers", "transformer-lens", "tokenizers", "datasets", "duckdb", "numpy")
_WIDE = {"neuron_weight", "token_weight"}
_GROUP_ROWS = 122_880  # DuckDB's own choice.
_GROUP_NUMBERS = 1 << 24
"""Numbers of a wide column in a row group. A group is in memory until it is full; and from some 30 million numbers on
DuckDB 2.0's ALPRD compression misjudges its samples, and makes 6.4 bytes of a float."""


@dataclass(frozen=True)
class Begun:
    """A file with some of the tables, from which other files start."""

    path: Path
    rows: dict[str, int]
    content: ContentHash

    def remove(self) -> None:
        """Remove the file, if it is there still."""
        self.path.unlink(missing_ok=True)


class AtlasWriter:
    """Fills a temporary file beside `out`; `publish` renames it. A context manager: leaving it without
    publishing removes the temporary file.

    Args:
        memory: bytes that DuckDB may use; None: its own choice.
        begun: the file to start from: a copy of it, or (with `last`) the file itself. None: an empty file.
    """

    def __init__(
        self, out: Path, d_model: int, memory: int | None = None, *, begun: Begun | None = None, last: bool = False
    ) -> None:
        self.path = temporary_beside(out)
        self._content = ContentHash() if begun is None else begun.content.copy()
        self.rows: dict[str, int] = {} if begun is None else dict(begun.rows)
        self._wide_rows = min(_GROUP_ROWS, max(2048, _GROUP_NUMBERS // d_model // 2048 * 2048))
        self._group_rows = _GROUP_ROWS
        try:
            self.path.unlink(missing_ok=True)
            if begun is not None and last:
                os.replace(begun.path, self.path)
            elif begun is not None:
                shutil.copyfile(begun.path, self.path)
            self._connection = duckdb.connect(config={} if memory is None else {"memory_limit": f"{memory}B"})
            # Trying these on every column takes a tenth of the time. ALP wins nowhere; FSST would save 1 MB of the
            # demo's 900, in the spellings of tokens.
            self._connection.execute("SET disabled_compression_methods = 'fsst,alp'")
            self._attach()
            if begun is None:
                self._connection.execute(schema_sql(d_model))
            self._connection.execute("BEGIN TRANSACTION")
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
        n_rows = len(batch)
        self.rows[table] = self.rows.get(table, 0) + n_rows
        if not n_rows:  # Whether nothing was written, or nothing at a time, is not part of the content.
            return
        names = ", ".join(f'"{name}"' for name in arrays)
        try:
            self._set_group(self._wide_rows if table in _WIDE else _GROUP_ROWS)
            # DuckDB finds the variable itself. Registered by name, a batch would be held until the transaction's end.
            self._connection.execute(f'INSERT INTO "{table}" ({names}) SELECT {names} FROM batch')
        except duckdb.Error as error:
            raise OutputError(f"Rows of table {table!r} cannot be written to {str(self.path)!r}: {error}") from error
        skip = _NOT_HASHED.get(table, ())
        self._content.update(table, {name: array for name, array in arrays.items() if name not in skip})

    def write_atlas(self, row: Columns) -> str:
        """Write the row of table `atlas`, after all others, with its build_id; returns that.

        Raises:
            OutputError: as `write`.
        """
        skip = _NOT_HASHED["atlas"]
        self._content.update("atlas", {name: pa.array(value) for name, value in row.items() if name not in skip})
        build_id = self.build_id()
        if row["n_texts_planned"][0] is not None:
            build_id = unfinished_build_id({name: value[0] for name, value in row.items()}, build_id)
        self.write("atlas", {**row, "build_id": [build_id]})
        return build_id

    def build_id(self) -> str:
        """12 hex digits of a hash over every row written so far but the time and the command, in any batches."""
        return self._content.hexdigest()[:12]

    def close(self) -> None:
        """Write everything into the file itself and close it."""
        self._complete()

    def _complete(self) -> None:
        try:
            self._detach()
        except duckdb.Error as error:
            raise OutputError(f"The file {str(self.path)!r} cannot be completed: {error}") from error
        self._connection.close()
        if Path(f"{self.path}.wal").exists():
            raise OutputError(f"DuckDB left a write-ahead log beside {str(self.path)!r}: the file is not complete.")

    def begun(self) -> Begun:
        """Close, and keep the file as a start for other files."""
        self._complete()
        place = self.path.with_name(f"{self.path.name}-begun")
        os.replace(self.path, place)
        return Begun(place, self.rows, self._content)

    def _set_group(self, rows: int) -> None:
        """Row groups of so many rows from here on: DuckDB takes their size when a file is attached."""
        if self._group_rows != rows:
            self._detach()
            self._group_rows = rows
            self._attach()
            self._connection.execute("BEGIN TRANSACTION")

    def _attach(self) -> None:
        self._connection.execute(
            f"ATTACH {attached(self.path)} AS target (STORAGE_VERSION '{STORAGE_VERSION}', "
            f"RECOVERY_MODE no_wal_writes, ROW_GROUP_SIZE {self._group_rows})"
        )
        self._connection.execute("USE target")

    def _detach(self) -> None:
        # While another connection reads, a checkpoint writes only new data. Without a reader, it would merge the row
        # groups of tables that were finished before into larger ones: read them, write them, and leave the room empty.
        with self._connection.cursor() as reading:
            reading.execute("BEGIN TRANSACTION")
            reading.execute("SELECT count(*) FROM target.atlas").fetchall()
            self._connection.execute("COMMIT")
            self._connection.execute("CHECKPOINT target")
            reading.execute("ROLLBACK")
        self._connection.execute("USE memory")
        self._connection.execute("DETACH target")

    def publish(self, out: Path) -> None:
        """Flush to disk, make read-only, and rename into place (over an older file of that name)."""
        publish(self.path, out)


def library_versions() -> dict[str, str | None]:
    """Versions of Python, of this program and of its main libraries; None for those not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _LIBRARIES}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
