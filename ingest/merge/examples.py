"""Examples ranked again over all parts, and the texts that are still cited.

A part keeps the greatest keys of each list, so the greatest of all are among what the parts kept: the lists come out as
`ingest.activations.examples.ExampleLists` would have kept them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Int

from ingest.activations.hashing import example_key, text_hash
from ingest.activations.reader import INTERVAL_EXAMPLES
from ingest.file.writer import Columns
from ingest.merge.sources import Sources, columns
from ingest.process import sort_keys as keys

_KINDS = ("interval", "max", "min")  # In the order of the table's sort.

_EXAMPLE = """
    SELECT * EXCLUDE (n_positions) FROM every_example WHERE neuron_id >= $low AND neuron_id < $high"""
_CITED = "SELECT text_id, source_row, chunk FROM every_text WHERE text_id >= $low AND text_id < $high ORDER BY text_id"
_TEXT = """
    SELECT * EXCLUDE (n_positions) FROM every_text
    WHERE text_id >= $low AND text_id <= $high ORDER BY text_id"""


class CitedTexts:
    """The texts that some part cites: 17 bytes each, whatever their length."""

    def __init__(self, sources: Sources) -> None:
        info = sources.parts[0].info
        ids, hashes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for part in sources.parts:
            for texts in part.ranges:
                for low in range(texts.start, texts.stop, 1 << 20):
                    found = sources.read(_CITED, low=low, high=min(low + (1 << 20), texts.stop))
                    ids.append(found["text_id"].to_numpy())
                    identity = zip(found["source_row"].to_pylist(), found["chunk"].to_pylist(), strict=True)
                    of_part = (text_hash(info.dataset_fingerprint, info.seed, *where) for where in identity)
                    hashes.append(np.fromiter(of_part, np.int64, len(found)))
        order = np.argsort(np.concatenate(ids))
        self.ids: Int[np.ndarray, " text"] = np.concatenate(ids)[order]
        self.hashes: Int[np.ndarray, " text"] = np.concatenate(hashes)[order]
        self.kept: Bool[np.ndarray, " text"] = np.zeros(len(self.ids), bool)
        """Those that a merged list cites."""

    def places(self, text_id: Int[np.ndarray, " item"]) -> Int[np.ndarray, " item"]:
        """Where each id lies in `ids`."""
        return np.searchsorted(self.ids, text_id)


def example_rows(sources: Sources, texts: CitedTexts) -> Iterator[Columns]:
    """Table `example`; marks the texts it cites as kept."""
    limits = np.array([INTERVAL_EXAMPLES, *[sources.parts[0].info.top_texts] * 2])
    for low, high in sources.spans(sources.parts[0].info.n_neurons):
        found = sources.read(_EXAMPLE, low=low, high=high)
        neuron, text_id = found["neuron_id"].to_numpy(), found["text_id"].to_numpy()
        kind = found["kind"].combine_chunks().dictionary_encode()
        kind = np.array([_KINDS.index(name) for name in kind.dictionary.to_pylist()], np.int64)[kind.indices.to_numpy()]
        interval = found["interval"].fill_null(0).to_numpy()
        key = _keys(kind, found["activation"].to_numpy(), text_id, neuron, texts)
        order = np.lexsort((~key, interval, kind, neuron))  # The greatest key first.
        rank = _rank(neuron[order], kind[order], interval[order])
        kept = rank <= limits[kind[order]]
        order = order[kept]
        texts.kept[texts.places(text_id[order])] = True
        yield {**columns(found.take(pa.array(order))), "rank": rank[kept].astype(np.int16)}


def text_rows(sources: Sources, texts: CitedTexts) -> Iterator[Columns]:
    """Table `text`: those that a merged list cites."""
    step = max(1, (1 << 25) // (8 * sources.parts[0].info.context_length))
    for begin in range(0, len(texts.ids), step):
        ids, kept = texts.ids[begin : begin + step], texts.kept[begin : begin + step]
        found = sources.read(_TEXT, low=int(ids[0]), high=int(ids[-1]))
        yield columns(found.filter(pa.array(kept)))


def _keys(
    kind: Int[np.ndarray, " item"],
    activation: np.ndarray,
    text_id: Int[np.ndarray, " item"],
    neuron: Int[np.ndarray, " item"],
    texts: CitedTexts,
) -> Int[np.ndarray, " item"]:
    """The key by which a run keeps each example: activation then text for 'max' and 'min', hash for 'interval'."""
    signed = torch.from_numpy(np.where(kind == _KINDS.index("min"), -activation, activation))
    key = keys.encode(signed, torch.from_numpy(text_id)).numpy()
    chosen = kind == _KINDS.index("interval")
    hashes = texts.hashes[texts.places(text_id[chosen])]
    key[chosen] = interval_keys(hashes, neuron[chosen].astype(np.int64))
    return key


def interval_keys(hashes: Int[np.ndarray, " item"], neuron: Int[np.ndarray, " item"]) -> Int[np.ndarray, " item"]:
    """`example_key` of each (text, neuron) on its own, where it gives every text's with every neuron."""

    def one(text: torch.Tensor, neuron: torch.Tensor) -> torch.Tensor:
        return example_key(text[None], neuron[None])[0, 0]

    return torch.vmap(one)(torch.from_numpy(hashes), torch.from_numpy(neuron)).numpy()


def _rank(*group: Int[np.ndarray, " item"]) -> Int[np.ndarray, " item"]:
    """Place from 1 of each item within its group; items of a group lie together."""
    place = np.arange(len(group[0]))
    starts = np.ones(len(place), bool)
    starts[1:] = np.any([part[1:] != part[:-1] for part in group], axis=0)
    return place - np.maximum.accumulate(np.where(starts, place, 0)) + 1
