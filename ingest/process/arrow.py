"""Columns of rows on their way into tables: Arrow arrays made of numpy arrays, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Columns = dict[str, Any]
"""Column name to numpy array, Arrow array or list, all of one length."""

BATCH_ROWS = 1 << 18
"""Rows (of lists: entries) converted at once: a few megabytes, which a core's cache holds from step to step."""


def slices(n: int, rows_each: int = 1) -> Iterator[slice]:
    """0 to `n` in slices of at most BATCH_ROWS rows (but at least one item), each item being `rows_each` rows."""
    step = max(1, BATCH_ROWS // rows_each)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def vectors(matrix: np.ndarray) -> pa.FixedSizeListArray:
    """A [row, width] matrix as one fixed-size-list column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).reshape(-1)), matrix.shape[1])


def ragged(matrix: np.ndarray, length: np.ndarray) -> pa.ListArray:
    """The first `length[i]` entries of each row of a [row, width] matrix as one list column."""
    used = np.arange(matrix.shape[1], dtype=length.dtype) < length[:, None]
    offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix[used]))


def joined(pieces: list[np.ndarray]) -> pa.ListArray:
    """One-dimensional arrays, a row each, as one list column."""
    offsets = np.cumsum([0, *(len(piece) for piece in pieces)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(pieces)))


def words(codes: np.ndarray, entries: Sequence[str]) -> pa.DictionaryArray:
    """Strings by their place in `entries`: DuckDB takes the codes as they are."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(entries, pa.string()))


def nullable(values: np.ndarray, dtype: np.dtype | type = np.float32) -> pa.Array:
    """Numbers with NaN as NULL: NaN wins every ORDER BY ... DESC, so none may reach a table."""
    return pa.array(values.astype(dtype), mask=np.isnan(values))
