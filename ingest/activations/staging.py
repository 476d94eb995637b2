"""Staged insertion into the example lists, for a device that runs behind the host: offers during a forward pass are put
aside on the device, in a number of places fixed beforehand, and enter the lists afterwards. Until then the host does
not wait.

The number of offers that a list takes is learnt. A text beats the k-th of N texts with probability k / N, so candidates
a text times the texts seen before stay about the same. A list without such an estimate, or with too many candidates, is
updated at once, as on a CPU; `settle` names the lists that had too few places.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ingest.activations.example_lists import BatchRows, ExampleLists, Offer, describe, insert

_SLACK, _SPARE = 2.0, 64  # Places beyond the expected number, for chance and for longer texts than before.
_FORGET = 0.95  # A batch. Texts come sorted by length, in windows of some batches, and longer ones reach higher.
_SHARE = 0.25  # Of all offers; more places than that would cost more than waiting does.
_SLICE = 1 << 14  # Windows described at once: bounds the scratch memory to _SLICE x context floats.


@dataclass(frozen=True)
class _Staged:
    """Candidates of one list in one layer; the places from `n_candidates` on are void."""

    group: Int[Tensor, " place"]
    key: Int[Tensor, " place"]
    columns: dict[str, Tensor]


class Stage:
    """A stage in front of named example lists: call `offer` during a forward pass, then `counts`, then `settle`."""

    def __init__(self, lists: dict[str, ExampleLists]) -> None:
        self._lists = lists
        self._rate: dict[tuple[str, int], float] = {}
        """Candidates a text, times the texts seen before, by list and layer."""
        self._counts: list[Int[Tensor, ""]] = []
        self._offers: dict[tuple[str, int], _Staged | None] = {}

    def offer(self, name: str, layer: int, n_seen: int, rows: BatchRows, offer: Offer) -> None:
        """Offer a batch's texts to one list of a layer; `n_seen` texts were read before.

        Each list is offered each layer once before `settle`.
        """
        group, key = offer.group, offer.key
        better = (key > offer.lists.keys[group, -1]).view(-1)
        self._counts.append(better.sum())
        places = self._places(name, layer, n_seen, len(key), key.numel())
        staged = None
        if places is None:
            offer.lists.update_together(rows, [offer])
        else:
            item = torch.nonzero_static(better, size=places, fill_value=0)[:, 0]
            text, neuron = item // key.shape[1], item % key.shape[1]
            parts = [
                describe(rows, t, n, offer.extreme, offer.lists.window, offer.lowest)
                for t, n in zip(text.split(_SLICE), neuron.split(_SLICE), strict=True)
            ]
            columns = {column: torch.cat([part[column] for part in parts]) for column in parts[0]}
            staged = _Staged(group[text, neuron], key[text, neuron], columns)
        self._offers[name, layer] = staged

    def _places(self, name: str, layer: int, n_seen: int, n_texts: int, n_offers: int) -> int | None:
        rate = self._rate.get((name, layer))
        if rate is None or n_seen == 0:
            return None
        places = int(_SLACK * rate * n_texts / n_seen) + _SPARE
        return places if places <= _SHARE * n_offers else None

    def counts(self) -> Int[Tensor, " offer"]:
        """The number of candidates of each offer, on the device."""
        return torch.stack(self._counts)

    def settle(self, counts: list[int], n_seen: int, n_texts: int) -> list[tuple[str, int]]:
        """Insert the staged candidates, given the host's copy of `counts`; returns each (list, layer) with too few
        places: these are unchanged, and need their offer again through `ExampleLists.update`."""
        full = []
        for name, lists in self._lists.items():
            fits: list[tuple[_Staged, int]] = []
            for (offered, layer), count in zip(self._offers, counts, strict=True):
                if offered != name:
                    continue
                if n_seen > 0:
                    rate = count * n_seen / n_texts
                    self._rate[name, layer] = max(rate, _FORGET * self._rate.get((name, layer), 0.0))
                staged = self._offers[name, layer]
                if staged is not None:
                    if count > len(staged.key):
                        full.append((name, layer))
                    else:
                        fits.append((staged, count))
            _insert(lists, fits)
        self._counts.clear()
        self._offers.clear()
        return full


def _insert(lists: ExampleLists, fits: list[tuple[_Staged, int]]) -> None:
    """All layers' candidates at once: a group belongs to one layer, and an insertion waits for the device."""
    if not any(count for _, count in fits):
        return
    group = torch.cat([staged.group[:count] for staged, count in fits])
    key = torch.cat([staged.key[:count] for staged, count in fits])
    names = fits[0][0].columns
    columns = {name: torch.cat([staged.columns[name][:count] for staged, count in fits]) for name in names}
    insert(lists, group, key, lambda item: {name: values[item] for name, values in columns.items()})
