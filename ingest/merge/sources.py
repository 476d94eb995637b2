"""The parts side by side in one DuckDB connection: `p0.neuron` is the first part's, `every_neuron` that of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType

import duckdb
import pyarrow as pa

from atlas.core.files import attached
from ingest.file.writer import Columns
from ingest.merge.parts import Part

_TOGETHER = (
    "token", "neuron", "activation_histogram", "prediction_histogram", "family_histogram", "sign_case", "text",
    "example",
)  # fmt: skip
"""Tables that follow from the texts; the others follow from the weights alone."""

_ROWS = 1 << 13  # Neurons or tokens a range, all parts together: some 100 MB of examples.
_MEMORY = "512MB"  # Of DuckDB's own; otherwise it would keep as much of the parts as the machine has room for.


class Sources:
    """Attached parts, read-only. A context manager.

    Args:
        parts: In order of their first text.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self._connection = duckdb.connect(config={"memory_limit": _MEMORY})
        for i, part in enumerate(parts):
            self._connection.execute(f"ATTACH {attached(part.path)} AS p{i} (READ_ONLY)")
        for table in _TOGETHER:
            every = " UNION ALL ".join(
                f'SELECT t.*, {part.info.n_positions} AS n_positions FROM p{i}."{table}" AS t'
                for i, part in enumerate(parts)
            )
            self._connection.execute(f'CREATE TEMP VIEW "every_{table}" AS {every}')

    def __enter__(self) -> Sources:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def read(self, sql: str, **parameters: int) -> pa.Table:
        """Answer of a query, `$name` standing for the parameters."""
        return self._connection.sql(sql, params=parameters).to_arrow_table()

    def rows(self, sql: str, *parameters: int) -> list[tuple]:
        """Rows of a query that has few, `?` standing for the parameters."""
        return self._connection.execute(sql, parameters).fetchall()

    def read_by_range(self, sql: str, end: int, *, from_every: bool = True, row_bytes: int = 0) -> Iterator[Columns]:
        """Answers of a query for `$low <= id < $high`, over ranges that cover 0 to `end`.

        Args:
            sql: A query with both parameters.
            end: One more than the last id.
            from_every: Whether all parts are read, so that a range must be the narrower the more there are.
            row_bytes: Bytes of a row, where rows are wide.
        """
        for low, high in self.spans(end, from_every=from_every, row_bytes=row_bytes):
            yield columns(self.read(sql, low=low, high=high))

    def spans(self, end: int, *, from_every: bool = True, row_bytes: int = 0) -> Iterator[tuple[int, int]]:
        """The ranges of `read_by_range`, as (first, one more than last)."""
        step = max(256, _ROWS // len(self.parts)) if from_every else _ROWS
        if row_bytes:
            step = max(1, min(step, (1 << 26) // row_bytes))
        for low in range(0, end, step):
            yield low, min(low + step, end)


def columns(table: pa.Table) -> Columns:
    """A table's columns, each as one array."""
    return {name: table[name].combine_chunks() for name in table.column_names}
