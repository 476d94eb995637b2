"""Which texts enter the example lists, and what is kept of them, in plain torch: the definition, and the path of
devices other than the CPU. `ingest.activations.insertion_cpu` does the same compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.activations.reduction.reference import Runs
from ingest.congruence.topk import place_in_group
from ingest.process import sort_keys as keys

if TYPE_CHECKING:
    from ingest.activations.examples import ExampleLists


_SLICE = 1 << 14  # Windows gathered at once: bounds the scratch memory to _SLICE x context floats.

Describe = Callable[[Int[Tensor, " item"]], dict[str, Tensor]]
"""From item numbers to what the pool holds of them, by column."""


@dataclass(frozen=True)
class BatchRows:
    """One layer's activations in a batch, and where each text's counted positions lie in them.

    The first counted position of every text is position `first_position` of the text.
    """

    activations: Float[Tensor, "flat d_mlp"]
    runs: Runs
    text_id: Int[Tensor, " text"]
    first_position: int


@dataclass(frozen=True)
class Offer:
    """What a batch offers to lists of one kind: each text to one group of each neuron of a layer.

    `extreme` is the text's maximum (minimum if `lowest`) of each neuron; `key` decides who stays.
    """

    lists: ExampleLists
    extreme: Float[Tensor, "text d_mlp"]
    group: Int[Tensor, "text d_mlp"]
    key: Int[Tensor, "text d_mlp"]
    lowest: bool = False


def update(rows: BatchRows, offers: list[Offer]) -> None:
    """Offer the texts of a batch to lists of different kinds."""
    for offer in offers:
        _update(rows, offer)


def _update(rows: BatchRows, offer: Offer) -> None:
    text, neuron = candidates(offer)

    def describe_items(item: Int[Tensor, " item"]) -> dict[str, Tensor]:
        return describe(rows, text[item], neuron[item], offer.extreme, offer.lists.window, offer.lowest)

    insert(offer.lists, offer.group[text, neuron], offer.key[text, neuron], describe_items)


def candidates(offer: Offer) -> tuple[Int[Tensor, " item"], Int[Tensor, " item"]]:
    """Text and neuron of everything offered that beats its group's last place."""
    text, neuron = (offer.key > offer.lists.keys[offer.group, -1]).nonzero(as_tuple=True)
    return text, neuron


def insert(
    lists: ExampleLists, group: Int[Tensor, " item"], key: Int[Tensor, " item"], describe_items: Describe
) -> None:
    """Insert items into their groups; only those that stay are described."""
    if len(group) == 0:
        return
    order = torch.argsort(key, descending=True)
    order = order[torch.argsort(group[order], stable=True)]
    place = place_in_group(group[order])
    order, place = order[place < lists.k], place[place < lists.k]
    touched, local = torch.unique_consecutive(group[order], return_inverse=True)
    width = int(place.max()) + 1
    old_keys, old_slots = lists.keys[touched], lists.slots[touched]
    new_keys = old_keys.new_full((len(touched), width), keys.EMPTY)
    new_keys[local, place] = key[order]
    items = torch.full_like(new_keys, -1)
    items[local, place] = order
    merged, chosen = torch.cat([old_keys, new_keys], 1).topk(lists.k, dim=1)
    item = torch.cat([torch.full_like(old_slots, -1), items], 1).gather(1, chosen)
    slot = torch.cat([old_slots, torch.full_like(items, -1)], 1).gather(1, chosen)
    entering = item >= 0
    kept = torch.zeros(lists.n_slots + 1, dtype=torch.bool, device=key.device)
    kept[slot] = True  # Slot -1 marks the spare last place.
    freed = old_slots[(old_slots >= 0) & ~kept[old_slots]]
    n_entering = int(entering.sum())
    n_fresh = max(0, n_entering - len(freed))
    first = lists.take_slots(n_fresh)
    slot[entering] = torch.cat([freed[:n_entering], torch.arange(first, first + n_fresh, device=key.device)])
    lists.keys[touched], lists.slots[touched] = merged, slot
    item, slot = item[entering], slot[entering]
    for start in range(0, len(item), _SLICE):
        part = slice(start, start + _SLICE)
        for name, values in describe_items(item[part]).items():
            lists.pool[name][slot[part]] = values


def describe(
    rows: BatchRows,
    text: Int[Tensor, " item"],
    neuron: Int[Tensor, " item"],
    extreme: Float[Tensor, "text d_mlp"],
    window: int,
    lowest: bool,
) -> dict[str, Tensor]:
    """Position of the extreme (the first of equals) and the window around it, three quarters of it before."""
    flat, d_mlp = rows.activations.reshape(-1), rows.activations.shape[1]
    start, length = rows.runs.first[text], rows.runs.length[text]
    step = torch.arange(rows.runs.longest, device=text.device)
    inside = step < length[:, None]
    at = torch.where(inside, start[:, None] + step, start[:, None])
    column = flat[at * d_mlp + neuron[:, None]].to(torch.float32)
    offset = (column * (-1 if lowest else 1)).masked_fill(~inside, -torch.inf).argmax(1)
    first = (offset - window * 3 // 4).clamp(min=0)
    first = torch.minimum(first, (length - window).clamp(min=0))
    size = torch.minimum(length - first, torch.full_like(length, window))
    place = torch.arange(window, device=text.device)
    used = place < size[:, None]
    values = column.gather(1, torch.where(used, first[:, None] + place, first[:, None]))
    values = values.masked_fill(~used, 0.0)
    scale = values.abs().amax(1) / 32767
    quantised = torch.where(scale[:, None] > 0, values / scale[:, None].clamp(min=1e-45), 0.0).round()
    return {
        "text": rows.text_id[text],
        "position": (rows.first_position + offset).to(torch.int32),
        "activation": extreme[text, neuron],
        "window_start": (rows.first_position + first).to(torch.int32),
        "window_length": size.to(torch.int32),
        "scale": scale,
        "window": quantised.clamp(-32767, 32767).to(torch.int16),
    }
