"""The parts, attached to one DuckDB connection: `p0.neuron` is the first part's table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from atlas.core.files import attached
from ingest.activations.hashing import text_hash
from ingest.activations.statistic import Span
from ingest.merge.parts import Part
from ingest.process.arrow import Columns

_ROWS = 1 << 13  # Neurons or tokens a range, all parts together: some 100 MB of examples.
_MEMORY = "512MB"  # DuckDB's own memory; otherwise it would cache the parts up to the machine's memory.


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


_CITED = "SELECT text_id, source_row, chunk FROM p{}.text WHERE text_id >= $low AND text_id < $high"


class CitedTexts:
    """The texts that some part cites, in 17 bytes each."""

    def __init__(self, sources: Sources) -> None:
        info = sources.parts[0].info
        ids, hashes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, part in enumerate(sources.parts):
            for texts in part.ranges:
                for low in range(texts.start, texts.stop, 1 << 20):
                    rows = sources.read(_CITED.format(number), low=low, high=min(low + (1 << 20), texts.stop))
                    ids.append(rows["text_id"].to_numpy())
                    identity = zip(rows["source_row"].to_pylist(), rows["chunk"].to_pylist(), strict=True)
                    of_part = (text_hash(info.dataset_fingerprint, info.seed, *where) for where in identity)
                    hashes.append(np.fromiter(of_part, np.int64, len(rows)))
        order = np.argsort(np.concatenate(ids))
        self._ids: Int[np.ndarray, " text"] = np.concatenate(ids)[order]
        self._hashes: Int[np.ndarray, " text"] = np.concatenate(hashes)[order]
        self._cited: Bool[np.ndarray, " text"] = np.zeros(len(self._ids), bool)
        self._step = max(1, (1 << 25) // (8 * info.context_length))

    def hash_of(self, text_id: Int[np.ndarray, " item"]) -> Int[np.ndarray, " item"]:
        """The `text_hash` of each text."""
        return self._hashes[np.searchsorted(self._ids, text_id)]

    def keep(self, text_id: Int[np.ndarray, " item"]) -> None:
        """Mark texts that the merged atlas cites."""
        self._cited[np.searchsorted(self._ids, text_id)] = True

    def cited(self) -> Iterator[Int[np.ndarray, " text"]]:
        """Ids of the texts that the merged atlas cites, ascending, some megabytes of texts at a time."""
        ids = self._ids[self._cited]
        for first in range(0, len(ids), self._step):
            yield ids[first : first + self._step]
