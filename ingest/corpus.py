"""Texts as Arrow arrays: made valid UTF-8, and fingerprinted.

Every source of texts, a file or the Hub, gives arrays of strings or raw bytes. What is below turns them into valid
strings, and says what changed, in one place, so that no source has its own idea of a broken row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

_NOT_ESCAPED_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


class Source(Protocol):
    """Where texts come from: yields them in order, as arrays of strings (or of bytes, not always UTF-8)."""

    def arrays(self, start_row: int = 0) -> Iterator[pa.Array]:
        """Arrays of any length from `start_row` on; reading twice gives the same texts."""
        ...


@dataclass(frozen=True)
class PythonTexts:
    """Texts that are in memory already."""

    texts: tuple[str | None, ...]

    def arrays(self, start_row: int = 0) -> Iterator[pa.Array]:
        """All texts from `start_row` on, as one array."""
        yield to_arrow(list(self.texts[start_row:]))


@dataclass(frozen=True)
class Scan:
    """What one pass over every text says."""

    fingerprint: str
    n_rows: int
    invalid_utf8_rows: int


def is_string_type(type_: pa.DataType) -> bool:
    """Whether an Arrow type holds text: string, large_string, string_view, or a dictionary of one."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return any(test(type_) for test in _STRINGS)


def to_arrow(texts: list[str | None]) -> pa.Array:
    """Python strings as large_string; as large_binary when one of them cannot be UTF-8.

    A file decoded with `surrogateescape` gets its raw bytes back. Any other lone surrogate (JSON's "\\ud800") becomes
    the byte 0xFF, which is never UTF-8, so that `clean` sees one broken character.
    """
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        raw = [
            text if text is None else _NOT_ESCAPED_BYTE.sub("\udcff", text).encode("utf-8", "surrogateescape")
            for text in texts
        ]
        return pa.array(raw, pa.large_binary())


def clean(array: pa.Array) -> tuple[pa.LargeStringArray, list[int]]:
    """The same texts as valid UTF-8, and the indices of those in which bytes were replaced by U+FFFD."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_string_type(array.type):
        array = array.cast(pa.large_string())
        try:
            array.validate(full=True)
            return array, []
        except pa.ArrowInvalid:
            array = array.cast(pa.large_binary())
    invalid: list[int] = []
    texts: list[str | None] = []
    for index, raw in enumerate(array.to_pylist()):
        try:
            texts.append(raw if raw is None else raw.decode("utf-8"))
        except UnicodeDecodeError:
            invalid.append(index)
            texts.append(raw.decode("utf-8", "replace"))
    return pa.array(texts, pa.large_string()), invalid


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


def scan(arrays: Iterable[pa.Array]) -> Scan:
    """Read everything once: the fingerprint, the number of rows, the rows that are not valid UTF-8.

    Texts are hashed as the model will read them, after repair, so equal texts in a Parquet and in a JSON Lines file
    have the same fingerprint.
    """
    hasher, n_rows, n_invalid = TextHasher(), 0, 0
    for array in arrays:
        texts, invalid = clean(array)
        hasher.update(texts)
        n_rows += len(texts)
        n_invalid += len(invalid)
    return Scan(hasher.hexdigest(), n_rows, n_invalid)
