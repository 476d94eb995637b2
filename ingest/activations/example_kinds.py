"""The examples of every neuron: its lists of each kind, what each text offers them, and table `example`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int, Int32
from torch import Tensor

from atlas.core.bins import MAX_INTERVAL
from ingest.activations.example_lists import BatchRows, ExampleLists, Offer, insert
from ingest.activations.hashing import example_key
from ingest.activations.reduction.reference import bin_of, interval_table
from ingest.activations.staging import Stage
from ingest.activations.statistic import BatchEnd, LayerBatch, Plan, Rows, Span, Statistic
from ingest.activations.statistics import ActivationStatistics
from ingest.activations.text_store import TextStore
from ingest.process import sort_keys as keys
from ingest.process.arrow import ragged, slices, words
from ingest.process.device import runs_behind

N_INTERVALS = 2 * MAX_INTERVAL + 1
INTERVAL_EXAMPLES = 3
"""Texts kept for each octave of a neuron's per-text maximum."""
_OCTAVES = 6  # Octaves in which a neuron typically has texts; the lists of the others are empty.


def _make_lists(
    n_neurons: int, k: int, window: int, gated: bool, device: torch.device | str = "cpu", *, reference: bool = False
) -> dict[str, ExampleLists]:
    """The lists of each kind (see `ExampleLists`). Lists of extremes fill up; most lists of octaves stay empty."""
    sizes = {"max": (n_neurons, k), "min": (n_neurons, k), "interval": (n_neurons * N_INTERVALS, INTERVAL_EXAMPLES)}
    return {
        kind: ExampleLists(*size, window, device, full=kind != "interval" and not reference, reference=reference)
        for kind, size in sizes.items()
        if gated or kind != "min"
    }


class Examples(Statistic):
    """Lists by kind: 'max', 'min' (gated models only) and 'interval'.

    `plan`: of the run whose batches are read; None for lists that are only merged. `first_neuron` is the id of the
    first neuron.
    """

    name = "examples"
    tables: ClassVar = {"example": ("neuron_id", "kind", '"interval"', "rank")}
    laws: ClassVar = {
        "examples whose text is missing": """
            SELECT count(*) FROM example ANTI JOIN "text" USING (text_id)""",
        "examples outside their text or window": """
            WITH lengths AS MATERIALIZED (SELECT text_id, len(token_ids) AS length FROM "text")
            SELECT count(*) FROM example JOIN lengths USING (text_id)
            WHERE position >= length OR position < window_start
               OR position >= window_start + len(window_activations)""",
        "neurons whose extreme example is not their extreme activation": """
            SELECT count(*) FROM example JOIN neuron USING (neuron_id)
            WHERE rank = 1 AND ((kind = 'max' AND activation <> activation_max)
                             OR (kind = 'min' AND activation <> activation_min))""",
    }

    def __init__(
        self, lists: dict[str, ExampleLists], n_neurons: int, plan: Plan | None = None, first_neuron: int = 0
    ) -> None:
        self.lists, self._n_neurons, self._first = lists, n_neurons, first_neuron
        self._stage = self._again = None
        if plan is not None:
            device = plan.device
            self._first_position = plan.settings.first_position
            self._interval = interval_table(device) + MAX_INTERVAL
            self._neurons = torch.arange(n_neurons, device=device).view(plan.n_layers, plan.d_mlp)
            staged = runs_behind(device) if plan.staged is None else plan.staged
            self._stage = Stage(lists) if staged else None

    @classmethod
    def make(cls, plan: Plan) -> Examples:
        settings = plan.settings
        lists = _make_lists(plan.n_neurons, settings.top_texts, settings.window, settings.gated, plan.device)
        return cls(lists, plan.n_neurons, plan)

    @classmethod
    def size(cls, plan: Plan) -> int:
        """Keys of all places, and windows of those in use."""
        settings = plan.settings
        place = 28 + 2 * settings.window  # Text, position, activation, window with its start, length and scale.
        key = 16  # And the slot.
        extremes = (2 if settings.gated else 1) * settings.top_texts * (key + place)
        octaves = INTERVAL_EXAMPLES * (N_INTERVALS * key + _OCTAVES * place)
        return plan.n_neurons * (extremes + octaves)

    def update_layer(self, batch: LayerBatch) -> None:
        """Offer the texts of a batch to a layer's lists, or put the offers aside."""
        rows, offers = self._offers(batch)
        if self._stage is None:
            self.lists["max"].update_together(rows, list(offers.values()))
            return
        for kind, offer in offers.items():
            self._stage.offer(kind, batch.layer, batch.n_seen, rows, offer)

    def _offers(self, batch: LayerBatch) -> tuple[BatchRows, dict[str, Offer]]:
        """The offers of a layer to each kind of list."""
        ready, highest, lowest, neurons = batch.ready, batch.highest, batch.lowest, self._neurons[batch.layer]
        group = neurons.expand_as(highest)
        ids = ready.text_id[:, None].expand_as(highest)
        offers = {"max": Offer(self.lists["max"], highest, group, keys.encode(highest, ids))}
        if "min" in self.lists:
            offers["min"] = Offer(self.lists["min"], lowest, group, keys.encode(-lowest, ids), lowest=True)
        octave = neurons * N_INTERVALS + self._interval[bin_of(highest).long()]
        chosen = example_key(ready.text_hash[:, None], neurons[None, :])
        offers["interval"] = Offer(self.lists["interval"], highest, octave, chosen)
        return BatchRows(batch.activations, ready.runs, ready.text_id, self._first_position), offers

    def pending(self, batch: BatchEnd) -> Int[Tensor, " count"] | None:
        """The number of candidates of each offer, if they were put aside."""
        return None if self._stage is None else self._stage.counts()

    def settle(self, batch: BatchEnd, counts: list[int]) -> set[int]:
        """Insert the examples put aside; returns the layers with too few places."""
        if self._stage is None:
            return set()
        self._again: dict[int, set[str]] = {}
        for kind, layer in self._stage.settle(counts, batch.n_seen, len(batch.ready.batch.texts)):
            self._again.setdefault(layer, set()).add(kind)
        return set(self._again)

    def again(self, batch: LayerBatch) -> None:
        """Offer a layer again to the lists that had too few places."""
        # Only for the texts' extremes: its sums are not used.
        extremes_of = ActivationStatistics(1, batch.activations.shape[1], batch.activations.device)
        extremes_of.update(0, batch.activations, batch.ready.runs, batch.bins, batch.highest, batch.lowest)
        rows, offers = self._offers(batch)
        self.lists["max"].update_together(rows, [offers[kind] for kind in self._again[batch.layer]])

    def merge(self, other: Examples) -> None:
        for kind, lists in self.lists.items():
            lists.merge(other.lists[kind])

    def state_dict(self) -> dict[str, Tensor]:
        return {
            f"{kind}.{key}": value for kind, lists in self.lists.items() for key, value in lists.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for kind, lists in self.lists.items():
            prefix = f"{kind}."
            lists.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})

    def cited(self) -> Int[np.ndarray, " item"]:
        """Ids of the texts in the lists."""
        return np.concatenate([lists.cited().cpu().numpy() for lists in self.lists.values()])

    def rows(self, texts: TextStore) -> Rows:
        """Table `example`, ordered by neuron, kind, interval, rank."""
        kinds = sorted(self.lists)
        predictions = _Predictions(texts)
        layout = _Layout(self.lists, kinds, self._n_neurons)
        for neurons in slices(self._n_neurons, len(layout.rank)):
            slots = np.concatenate([layout.slots(kind, neurons) for kind in kinds], axis=1)
            neuron, place = np.nonzero(slots >= 0)
            kind = layout.kind[place]
            pool = _gather([self.lists[name] for name in kinds], kind, slots[neuron, place])
            if "predicted" not in pool:  # Lists that come from rows carry it.
                pool["predicted"] = predictions.at(pool["text"], pool["position"])
            yield (
                "example",
                {
                    "neuron_id": (neuron + neurons.start + self._first).astype(np.int32),
                    "kind": words(kind, kinds),
                    "interval": pa.array(layout.interval[place], mask=layout.no_interval[place]),
                    "rank": layout.rank[place],
                    "text_id": pool["text"],
                    "position": pool["position"],
                    "activation": pool["activation"],
                    "predicted_token_id": pool["predicted"],
                    "window_start": pool["window_start"],
                    "window_activations": ragged(pool["window"], pool["window_length"]),
                    "window_scale": pool["scale"],
                },
            )

    @classmethod
    def from_rows(cls, span: Span) -> Examples:
        """The neurons of a span: lists that carry the predicted token of each place."""
        info, n = span.info, span.high - span.low
        lists = _make_lists(n, info.top_texts, info.window, info.gated, reference=True)
        rows = span.rows("example")
        kinds = rows["kind"].combine_chunks().dictionary_encode()
        kinds = np.array(kinds.dictionary.to_pylist(), dtype=object)[kinds.indices.to_numpy()]
        interval = rows["interval"].fill_null(0).to_numpy()
        windows = rows["window_activations"].combine_chunks()
        length = windows.value_lengths().to_numpy().astype(np.int64)
        window = np.zeros((len(rows), info.window), dtype=np.int16)
        window[np.arange(info.window) < length[:, None]] = windows.flatten().to_numpy()
        neuron, *columns = span.arrays(
            "example",
            "neuron_id",
            "text_id",
            "position",
            "activation",
            "predicted_token_id",
            "window_start",
            "window_scale",
        )
        names = ("text", "position", "activation", "predicted", "window_start", "scale")
        pool = dict(zip(names, columns, strict=True))
        pool["window_length"], pool["window"] = torch.from_numpy(length.astype(np.int32)), torch.from_numpy(window)
        for kind, part in lists.items():
            part.pool["predicted"] = torch.zeros(0, dtype=torch.int32)
            here = torch.from_numpy(np.flatnonzero(kinds == kind))
            items = {name: values[here] for name, values in pool.items()}
            group, ids = (neuron[here] - span.low).long(), items["text"]
            if kind == "interval":
                group = group * N_INTERVALS + MAX_INTERVAL + torch.from_numpy(interval[here.numpy()])
                key = example_key(torch.from_numpy(span.text_hash(ids.numpy())), neuron[here].long())
            else:
                key = keys.encode(-items["activation"] if kind == "min" else items["activation"], ids)
            insert(part, group, key, lambda item, items=items: {k: v[item] for k, v in items.items()})
        return cls(lists, n, first_neuron=span.low)


class _Layout:
    """A neuron's places side by side, in the table's order: kinds by name, their groups, their ranks."""

    def __init__(self, examples: Mapping[str, ExampleLists], kinds: list[str], n_neurons: int) -> None:
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
        """The slot of each place in its kind's pool; -1 for an empty place."""
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

    def __init__(self, texts: TextStore) -> None:
        self.text_id = np.array(sorted(texts.texts), dtype=np.int64)
        pieces = [texts.texts[text_id].predicted for text_id in self.text_id.tolist()]
        length = np.array([len(piece) for piece in pieces], dtype=np.int64)
        self.start = np.cumsum(length) - length
        self.flat = np.concatenate([np.zeros(0, dtype=np.int32), *pieces])

    def at(self, text: Int[np.ndarray, " item"], position: Int[np.ndarray, " item"]) -> Int32[np.ndarray, " item"]:
        """Prediction at each (text, position)."""
        return self.flat[self.start[np.searchsorted(self.text_id, text)] + position]
