"""A hash of tables' contents that depends on the rows alone, not on their batches or their encoding as Arrow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

_Path = tuple[str, ...]


class ContentHash:
    """Every column of every table is a stream of bytes with a digest of its own; the hash is over the digests.

    A stream holds the values that are not NULL; the row numbers of NULLs, the lengths of lists and what is inside
    them are further streams. Strings enter as their 64-bit hashes, so that a dictionary is hashed once a batch.
    """

    def __init__(self) -> None:
        self._streams: dict[_Path, xxhash.xxh3_128] = {}
        self._counts: dict[_Path, int] = {}

    def update(self, table: str, columns: Mapping[str, pa.Array]) -> None:
        """Add rows to the end of a table."""
        for name, array in columns.items():
            self._add((table, name), array)

    def copy(self) -> ContentHash:
        """Another hash of the same rows; more may follow in each."""
        other = ContentHash()
        other._counts = dict(self._counts)
        other._streams = {path: stream.copy() for path, stream in self._streams.items()}
        return other

    def hexdigest(self) -> str:
        """32 hex digits; more rows may follow."""
        whole = xxhash.xxh3_128()
        for path in sorted({*self._counts, *self._streams}):
            digest = self._streams[path].hexdigest() if path in self._streams else ""
            whole.update("\0".join((*path, str(self._counts.get(path, "")), digest, "")).encode())
        return whole.hexdigest()

    def _add(self, path: _Path, array: pa.Array) -> None:
        first = self._counts.get(path, 0)
        self._counts[path] = first + len(array)
        if array.null_count:
            self._feed((*path, "null"), np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)) + first)
            array = array.drop_null()
        kind = array.type
        if pa.types.is_null(kind):
            return
        if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_binary(kind):
            self._feed(path, _hashed(array))
        elif pa.types.is_list(kind):
            self._feed((*path, "length"), array.value_lengths().to_numpy())
            self._add((*path, "item"), array.flatten())
        elif pa.types.is_fixed_size_list(kind):
            self._add((*path, "item"), array.flatten())
        elif pa.types.is_boolean(kind):
            self._feed(path, array.cast(pa.uint8()).to_numpy())
        else:
            self._feed(path, array.to_numpy())

    def _feed(self, path: _Path, values: np.ndarray) -> None:
        if path not in self._streams:
            self._streams[path] = xxhash.xxh3_128()
        self._streams[path].update(np.ascontiguousarray(values).view(np.uint8).data)


def _hashed(array: pa.Array) -> np.ndarray:
    """The 64-bit hash of each string, bytes or dictionary entry."""
    encoded = array if pa.types.is_dictionary(array.type) else pc.dictionary_encode(array)
    entries = encoded.dictionary.to_pylist()
    raw = (entry.encode() if isinstance(entry, str) else entry for entry in entries)
    hashes = np.fromiter((xxhash.xxh3_64_intdigest(entry) for entry in raw), np.uint64, len(entries))
    return hashes[encoded.indices.to_numpy()]
