"""Index of the stored examples by place in the texts: which neurons have an example that fires at a position.

Found by scanning the table `example`, the examples at a few positions take as long as the table is (250 ms for GPT-2
Large); from this index they take as long as they are many. It has 19 bytes an example, in files that a site's processes
share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from atlas.core.db import Atlas
from atlas.core.texts import flat_texts

KINDS = ("interval", "max", "min")
"""Kinds of examples; the index has their places in this list."""

_AT_ONCE = 1 << 22
"""Examples read at once."""

_EXAMPLES = f"""
SELECT text_id, position, neuron_id, list_position({list(KINDS)}, kind) - 1 AS kind, rank, activation
FROM example WHERE text_id BETWEEN ? AND ? ORDER BY text_id, position, neuron_id
"""


class FiringIndex:
    """The examples in order of text and position: columns of the table `example`, without windows."""

    def __init__(self, atlas: Atlas) -> None:
        texts = flat_texts(atlas)
        self._text_ids, self._first = texts.text_ids, texts.first
        arrays = atlas.shared("firing index", lambda: _pieces(atlas))
        self._places: np.ndarray = arrays["places"]
        self.neuron_ids: np.ndarray = arrays["neuron_id"]
        self.kinds: np.ndarray = arrays["kind"]
        self.ranks: np.ndarray = arrays["rank"]
        self.activations: np.ndarray = arrays["activation"]

    def at(self, text_ids: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Examples that fire at some positions, as places in this index, and for each the number of its position among
        those given."""
        places = self._first[np.searchsorted(self._text_ids, text_ids)] + positions
        first = np.searchsorted(self._places, places, side="left")
        counts = np.searchsorted(self._places, places, side="right") - first
        inner = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(first, counts) + inner, np.repeat(np.arange(len(places)), counts)


def _pieces(atlas: Atlas) -> Iterator[tuple[str, np.ndarray]]:
    texts = flat_texts(atlas)
    n_examples = atlas.rows("SELECT count(*) FROM example")[0][0]
    types = {"neuron_id": np.int32, "kind": np.uint8, "rank": np.int16, "activation": np.float32}
    yield "places", np.empty(0, np.int64)
    yield from ((name, np.empty(0, dtype)) for name, dtype in types.items())
    for text_ids in np.array_split(texts.text_ids, max(1, math.ceil(n_examples / _AT_ONCE))):
        if len(text_ids):
            columns = atlas.arrays(_EXAMPLES, int(text_ids[0]), int(text_ids[-1]))
            firsts = texts.first[np.searchsorted(texts.text_ids, columns["text_id"])]
            yield "places", firsts + columns["position"]
            yield from ((name, np.asarray(columns[name], dtype)) for name, dtype in types.items())


def firing_index(atlas: Atlas) -> FiringIndex:
    """The index of an atlas, made at the first search."""
    return atlas.remembered_large("examples by place", lambda: FiringIndex(atlas))
