"""The texts that some part cites, and those that the whole still cites."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int

from ingest.activations.hashing import text_hash
from ingest.merge.sources import Sources

_CITED = "SELECT text_id, source_row, chunk FROM p{}.text WHERE text_id >= $low AND text_id < $high"


class CitedTexts:
    """The texts that some part cites: 17 bytes each, whatever their length."""

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
        self._kept: Bool[np.ndarray, " text"] = np.zeros(len(self._ids), bool)
        self._step = max(1, (1 << 25) // (8 * info.context_length))

    def hash_of(self, text_id: Int[np.ndarray, " item"]) -> Int[np.ndarray, " item"]:
        """The `text_hash` of each text."""
        return self._hashes[np.searchsorted(self._ids, text_id)]

    def keep(self, text_id: Int[np.ndarray, " item"]) -> None:
        """Mark texts that the whole cites."""
        self._kept[np.searchsorted(self._ids, text_id)] = True

    def kept(self) -> Iterator[Int[np.ndarray, " text"]]:
        """Ids of the texts that the whole cites, ascending, some megabytes of texts at a time."""
        ids = self._ids[self._kept]
        for first in range(0, len(ids), self._step):
            yield ids[first : first + self._step]
