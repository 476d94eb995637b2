"""The texts shown for each neuron: k places a group, each with its window of activations.

A group is a neuron ('max', 'min') or a neuron's octave ('interval'). Places are ordered by an int64 key, greatest
first (`ingest.keys`), so lists merge exactly. What a place shows lies in a pool whose rows are reused, so memory
follows the places in use: an octave no text fell into costs nothing but its empty keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest import keys
from ingest.topk import place_in_group

_SLICE = 1 << 14  # Windows gathered at once: bounds the scratch memory to _SLICE x context floats.


@dataclass(frozen=True)
class BatchRows:
    """One layer's activations at a batch's counted positions, and where each text lies in them.

    Text t's rows are `start[t] : start[t] + length[t]`, its first row being position `first_position` of the text.
    """

    activations: Float[Tensor, "row d_mlp"]
    start: Int[Tensor, " text"]
    length: Int[Tensor, " text"]
    text_id: Int[Tensor, " text"]
    first_position: int


_FIELDS = {
    "text": torch.int64,
    "position": torch.int32,
    "activation": torch.float32,
    "window_start": torch.int32,
    "window_length": torch.int32,
    "scale": torch.float32,
}


class ExampleLists:
    """`n_groups` lists of `k` places; windows hold at most `window` positions."""

    def __init__(self, n_groups: int, k: int, window: int, device: torch.device | str = "cpu") -> None:
        self.k, self.window = k, window
        self.keys: Int[Tensor, "group k"] = torch.full((n_groups, k), keys.EMPTY, dtype=torch.int64, device=device)
        self.slots: Int[Tensor, "group k"] = torch.full((n_groups, k), -1, dtype=torch.int64, device=device)
        self.n_slots = 0
        self.pool = {name: torch.zeros(0, dtype=dtype, device=device) for name, dtype in _FIELDS.items()}
        self.pool["window"] = torch.zeros(0, window, dtype=torch.int16, device=device)

    def update(
        self,
        rows: BatchRows,
        extreme: Float[Tensor, "text d_mlp"],
        group: Int[Tensor, "text d_mlp"],
        key: Int[Tensor, "text d_mlp"],
        *,
        lowest: bool = False,
    ) -> None:
        """Offer each text of a batch to one group of each neuron of a layer.

        `extreme` is the text's maximum (minimum if `lowest`) of each neuron; `key` decides who stays.
        """
        text, neuron = (key > self.keys[group, -1]).nonzero(as_tuple=True)

        def describe(item: Int[Tensor, " item"]) -> dict[str, Tensor]:
            return _describe(rows, text[item], neuron[item], extreme, self.window, lowest)

        self._insert(group[text, neuron], key[text, neuron], describe)

    def _insert(
        self,
        group: Int[Tensor, " item"],
        key: Int[Tensor, " item"],
        describe: Callable[[Int[Tensor, " item"]], dict[str, Tensor]],
    ) -> None:
        if len(group) == 0:
            return
        order = torch.argsort(key, descending=True)
        order = order[torch.argsort(group[order], stable=True)]
        place = place_in_group(group[order])
        order, place = order[place < self.k], place[place < self.k]
        touched, local = torch.unique_consecutive(group[order], return_inverse=True)
        width = int(place.max()) + 1
        old_keys, old_slots = self.keys[touched], self.slots[touched]
        new_keys = old_keys.new_full((len(touched), width), keys.EMPTY)
        new_keys[local, place] = key[order]
        items = torch.full_like(new_keys, -1)
        items[local, place] = order
        merged, chosen = torch.cat([old_keys, new_keys], 1).topk(self.k, dim=1)
        item = torch.cat([torch.full_like(old_slots, -1), items], 1).gather(1, chosen)
        slot = torch.cat([old_slots, torch.full_like(items, -1)], 1).gather(1, chosen)
        entering = item >= 0
        kept = torch.zeros(self.n_slots + 1, dtype=torch.bool, device=key.device)
        kept[slot] = True  # Slot -1 marks the spare last place.
        left = old_slots[(old_slots >= 0) & ~kept[old_slots]]
        slot[entering] = self._take_slots(int(entering.sum()), left)
        self.keys[touched], self.slots[touched] = merged, slot
        item, slot = item[entering], slot[entering]
        for start in range(0, len(item), _SLICE):
            part = slice(start, start + _SLICE)
            for name, values in describe(item[part]).items():
                self.pool[name][slot[part]] = values

    def _take_slots(self, n: int, freed: Int[Tensor, " freed"]) -> Int[Tensor, " slot"]:
        """Slots for `n` new entries: those just freed first, then unused ones (the pool grows by half when full)."""
        fresh = max(0, n - len(freed))
        capacity = len(self.pool["text"])
        if self.n_slots + fresh > capacity:
            capacity = max(self.n_slots + fresh, capacity * 3 // 2)
            for name, values in self.pool.items():
                grown = values.new_zeros(capacity, *values.shape[1:])
                grown[: self.n_slots] = values[: self.n_slots]
                self.pool[name] = grown
        new = torch.arange(self.n_slots, self.n_slots + fresh, device=freed.device)
        self.n_slots += fresh
        return torch.cat([freed[:n], new])

    def merge(self, other: ExampleLists) -> None:
        """Add another accumulator's places (over other texts)."""
        group, place = (other.keys != keys.EMPTY).nonzero(as_tuple=True)
        slot = other.slots[group, place]
        self._insert(
            group, other.keys[group, place], lambda item: {n: pool[slot[item]] for n, pool in other.pool.items()}
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to go on, as tensors."""
        pool = {f"pool.{name}": values[: self.n_slots] for name, values in self.pool.items()}
        return {"keys": self.keys, "slots": self.slots, **pool}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.keys.copy_(state["keys"])
        self.slots.copy_(state["slots"])
        self.pool = {name: state[f"pool.{name}"].clone() for name in self.pool}
        self.n_slots = len(self.pool["text"])

    def cited(self) -> Int[Tensor, " text"]:
        """Ids of the texts that some place shows, ascending."""
        return torch.unique(self.pool["text"][self.slots[self.slots >= 0]])

    def result(self) -> dict[str, Tensor]:
        """Filled places by group and rank, on the CPU: group, rank (from 1), and the pool's columns."""
        group, place = (self.keys != keys.EMPTY).nonzero(as_tuple=True)
        slot = self.slots[group, place]
        columns = {name: values[slot].cpu() for name, values in self.pool.items()}
        return {"group": group.cpu(), "rank": (place + 1).cpu(), **columns}


def _describe(
    rows: BatchRows,
    text: Int[Tensor, " item"],
    neuron: Int[Tensor, " item"],
    extreme: Float[Tensor, "text d_mlp"],
    window: int,
    lowest: bool,
) -> dict[str, Tensor]:
    """Position of the extreme (the first of equals) and the window around it, three quarters of it before."""
    flat, d_mlp = rows.activations.reshape(-1), rows.activations.shape[1]
    start, length = rows.start[text], rows.length[text]
    step = torch.arange(int(length.max()), device=text.device)
    inside = step < length[:, None]
    at = torch.where(inside, start[:, None] + step, start[:, None])
    column = flat[at * d_mlp + neuron[:, None]]
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
