"""The parts side by side in one DuckDB connection: `p0.neuron` is the first part's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

import duckdb
import numpy as np
import pyarrow as pa

from atlas.core.files import attached
from ingest.activations.statistic import Span
from ingest.file.writer import Columns
from ingest.merge.parts import Part

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

    def rows_of(self, part: int, table: str, axis: str, low: int, high: int) -> pa.Table:
        """A part's rows of a table with `low <= axis < high`, in its order."""
        query = f'SELECT * FROM p{part}."{table}" WHERE {axis} >= $low AND {axis} < $high'
        return self.read(query, low=low, high=high)

    def span(self, part: int, axis: str, low: int, high: int, text_hash: Callable[[np.ndarray], np.ndarray]) -> Span:
        """A part's rows of some neurons, tokens or texts."""
        info = self.parts[part].info
        return Span(info, low, high, lambda table: self.rows_of(part, table, axis, low, high), text_hash)

    def spans(self, end: int, *, parts: int | None = None, row_bytes: int = 0) -> Iterator[tuple[int, int]]:
        """Ranges that cover 0 to `end`, as (first, one more than last): narrower the more parts are read together.

        Args:
            end: One more than the last id.
            parts: How many parts are read; None: all.
            row_bytes: Bytes of a row, where rows are wide.
        """
        step = max(256, _ROWS // (parts or len(self.parts)))
        if row_bytes:
            step = max(1, min(step, (1 << 26) // row_bytes))
        for low in range(0, end, step):
            yield low, min(low + step, end)


def columns(table: pa.Table) -> Columns:
    """A table's columns, each as one array."""
    return {name: table[name].combine_chunks() for name in table.column_names}
