"""From the accumulators' lists of examples to the rows of table `example`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int, Int32

from atlas.core.bins import MAX_INTERVAL
from ingest.activations.examples import ExampleLists
from ingest.activations.text_store import StoredText
from ingest.file.tables import slices
from ingest.file.writer import Columns, ragged, words


def example_rows(examples: dict[str, ExampleLists], texts: dict[int, StoredText], n_neurons: int) -> Iterator[Columns]:
    """Table `example`, ordered by neuron, kind, interval, rank. `texts` must hold every text that is cited."""
    kinds = sorted(examples)
    predictions = _Predictions(texts)
    layout = _Layout(examples, kinds, n_neurons)
    for neurons in slices(n_neurons, len(layout.rank)):
        slots = np.concatenate([layout.slots(kind, neurons) for kind in kinds], axis=1)
        neuron, place = np.nonzero(slots >= 0)
        kind = layout.kind[place]
        pool = _gather([examples[name] for name in kinds], kind, slots[neuron, place])
        yield {
            "neuron_id": (neuron + neurons.start).astype(np.int32),
            "kind": words(kind, kinds),
            "interval": pa.array(layout.interval[place], mask=layout.no_interval[place]),
            "rank": layout.rank[place],
            "text_id": pool["text"],
            "position": pool["position"],
            "activation": pool["activation"],
            "predicted_token_id": predictions.at(pool["text"], pool["position"]),
            "window_start": pool["window_start"],
            "window_activations": ragged(pool["window"], pool["window_length"]),
            "window_scale": pool["scale"],
        }


class _Layout:
    """A neuron's places side by side, in the table's order: kinds by name, their groups, their ranks."""

    def __init__(self, examples: dict[str, ExampleLists], kinds: list[str], n_neurons: int) -> None:
        self._examples, self._n_neurons = examples, n_neurons
        kind, group, rank = [], [], []
        for number, name in enumerate(kinds):
            n_groups, k = self._groups(name), examples[name].k
            kind += [number] * (n_groups * k)
            group += np.repeat(np.arange(n_groups), k).tolist()
            rank += list(range(1, k + 1)) * n_groups
        self.kind: Int[np.ndarray, " place"] = np.array(kind, dtype=np.int8)
        self.interval: Int[np.ndarray, " place"] = np.array(group, dtype=np.int16) - np.int16(MAX_INTERVAL)
        self.no_interval = np.array([kinds[number] != "interval" for number in kind])
        self.rank: Int[np.ndarray, " place"] = np.array(rank, dtype=np.int16)

    def slots(self, kind: str, neurons: slice) -> Int[np.ndarray, "neuron place"]:
        """Where in the kind's pool each place is shown; -1 for an empty place."""
        groups = self._groups(kind)
        part = self._examples[kind].slots[neurons.start * groups : neurons.stop * groups]
        return part.cpu().numpy().reshape(neurons.stop - neurons.start, -1)

    def _groups(self, kind: str) -> int:
        return len(self._examples[kind].slots) // self._n_neurons


def _gather(
    lists: list[ExampleLists], kind: Int[np.ndarray, " item"], slot: Int[np.ndarray, " item"]
) -> dict[str, np.ndarray]:
    """The pool's columns at each (kind, slot)."""
    columns: dict[str, np.ndarray] = {}
    for number, part in enumerate(lists):
        rows = np.flatnonzero(kind == number)
        chosen = torch.from_numpy(slot[rows]).to(part.slots.device)
        for name, pool in part.pool.items():
            values = pool.index_select(0, chosen).cpu().numpy()  # A ninth of the time of pool[chosen].
            columns.setdefault(name, np.empty((len(kind), *values.shape[1:]), values.dtype))[rows] = values
    return columns


class _Predictions:
    """The top prediction at every position of the cited texts, end to end."""

    def __init__(self, texts: dict[int, StoredText]) -> None:
        self.text_id = np.array(sorted(texts), dtype=np.int64)
        pieces = [texts[text_id].predicted for text_id in self.text_id.tolist()]
        length = np.array([len(piece) for piece in pieces], dtype=np.int64)
        self.start = np.cumsum(length) - length
        self.flat = np.concatenate([np.zeros(0, dtype=np.int32), *pieces])

    def at(self, text: Int[np.ndarray, " item"], position: Int[np.ndarray, " item"]) -> Int32[np.ndarray, " item"]:
        """Prediction at each (text, position)."""
        return self.flat[self.start[np.searchsorted(self.text_id, text)] + position]
