"""Texts as Arrow arrays: checked to be UTF-8, and fingerprinted.

Every source of texts, a file or the Hub, gives arrays of strings, which Arrow does not check. The functions below check
them, so all sources agree on broken rows. Nothing is ever replaced: a row is text, or it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from ingest.errors import DatasetError

_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


class Source(Protocol):
    """A source of texts: yields them in order, as arrays of valid strings."""

    def arrays(self, start_row: int = 0) -> Iterator[pa.Array]:
        """Arrays of any length from `start_row` on; reading twice gives the same texts."""
        ...


@dataclass(frozen=True)
class PythonTexts:
    """Texts in memory."""

    texts: tuple[str | None, ...]

    def arrays(self, start_row: int = 0) -> Iterator[pa.Array]:
        """All texts from `start_row` on, as one array."""
        yield pa.array(self.texts[start_row:], pa.large_string())


@dataclass(frozen=True)
class Scan:
    """The result of one pass over every text."""

    fingerprint: str
    n_rows: int


def is_string_type(type_: pa.DataType) -> bool:
    """Whether an Arrow type holds text: string, large_string, string_view, or a dictionary of one."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return any(test(type_) for test in _STRINGS)


def is_text(text: str) -> bool:
    """Whether a Python string is text: it may hold half a character ("\\ud800" in JSON), which UTF-8 cannot express."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked(array: pa.Array, source: str, first_row: int) -> pa.LargeStringArray:
    """An array of strings (or a dictionary of them) as large_string, every one of which is UTF-8.

    `source` and `first_row` are for the error: the origin of the array, and the number of its first row there.

    Raises:
        DatasetError: a row is not UTF-8; names it.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    array = array.cast(pa.large_string())
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        for row, raw in enumerate(array.cast(pa.large_binary()).to_pylist(), first_row):
            try:
                (raw or b"").decode()
            except UnicodeDecodeError as error:
                around = raw[max(0, error.start - 12) : error.start + 12]
                raise DatasetError(
                    f"Row {row} of {source}, counted from 0, is not UTF-8 (at byte {error.start}: {repr(around)[1:]}). "
                    "Decode the data in its own encoding and write it again as UTF-8."
                ) from error
        raise
    return array


def skip_rows(arrays: Iterable[pa.Array], n_rows: int) -> Iterator[pa.Array]:
    """The arrays without their first `n_rows` elements."""
    for array in arrays:
        if n_rows < len(array):
            yield array[n_rows:] if n_rows else array
        n_rows = max(0, n_rows - len(array))


class TextHasher:
    """Fingerprint of a sequence of texts: xxh3-128, the same however the texts are cut into arrays.

    Lengths (-1 for NULL, which is thereby not the empty text) and bytes go into a hash each, and the two into a third:
    both are then contiguous memory, hashed at its full speed with no work per row.
    """

    def __init__(self) -> None:
        self._lengths = xxhash.xxh3_128()
        self._bytes = xxhash.xxh3_128()

    def update(self, array: pa.LargeStringArray) -> None:
        """Add the array's texts."""
        lengths = pc.fill_null(pc.binary_length(array), -1).to_numpy(zero_copy_only=False)
        self._lengths.update(np.ascontiguousarray(lengths, dtype="<i8").data)
        if array.null_count:
            # Arrow lets a NULL own bytes; dropping the NULLs leaves exactly the bytes of the texts.
            array = array.drop_null()
        _, offsets, data = array.buffers()
        if len(array) and data is not None:
            ends = np.frombuffer(offsets, np.int64, count=len(array) + 1, offset=array.offset * 8)
            self._bytes.update(memoryview(data)[int(ends[0]) : int(ends[-1])])

    def hexdigest(self) -> str:
        """32 hex digits."""
        return xxhash.xxh3_128_hexdigest(self._lengths.digest() + self._bytes.digest())


def scan(arrays: Iterable[pa.LargeStringArray]) -> Scan:
    """Read everything once: the fingerprint and the number of rows.

    Equal texts in a Parquet and in a JSON Lines file, or in UTF-16 and UTF-8, have the same fingerprint.
    """
    hasher, n_rows = TextHasher(), 0
    for texts in arrays:
        hasher.update(texts)
        n_rows += len(texts)
    return Scan(hasher.hexdigest(), n_rows)
