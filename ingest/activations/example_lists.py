"""The example texts of each neuron, k places a group, and the insertion of a batch's texts into them.

A group is a neuron ('max', 'min') or a neuron's octave ('interval'). Places are ordered by an int64 key, greatest first
(`ingest.process.sort_keys`), so lists merge exactly. The contents of a place lie in a pool whose rows are reused, so
memory follows the places in use: an octave without texts costs only its empty keys.

Insertion is here in plain torch: the definition, and the path of devices other than the CPU
(`ingest.activations.insertion_cpu` is its compiled form; a test compares the two).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.activations.reduction.reference import Runs
from ingest.congruence.topk import place_in_group
from ingest.process import sort_keys as keys

_SLICE = 1 << 14  # Windows gathered at once: bounds the scratch memory to _SLICE x context floats.

Describe = Callable[[Int[Tensor, " item"]], dict[str, Tensor]]
"""A function from item numbers to their columns in the pool."""


@dataclass(frozen=True)
class BatchRows:
    """One layer's activations in a batch, and the places of each text's counted positions in them.

    The first counted position of every text is position `first_position` of the text.
    """

    activations: Float[Tensor, "flat d_mlp"]
    runs: Runs
    text_id: Int[Tensor, " text"]
    first_position: int


@dataclass(frozen=True)
class Offer:
    """The offer of a batch to lists of one kind: each text to one group of each neuron of a layer.

    `extreme` is the text's maximum (minimum if `lowest`) of each neuron; `key` decides who stays.
    """

    lists: ExampleLists
    extreme: Float[Tensor, "text d_mlp"]
    group: Int[Tensor, "text d_mlp"]
    key: Int[Tensor, "text d_mlp"]
    lowest: bool = False


def update_lists(rows: BatchRows, offers: list[Offer]) -> None:
    """Offer the texts of a batch to lists of different kinds."""
    for offer in offers:
        _update(rows, offer)


def _update(rows: BatchRows, offer: Offer) -> None:
    text, neuron = candidates(offer)

    def describe_items(item: Int[Tensor, " item"]) -> dict[str, Tensor]:
        return describe(rows, text[item], neuron[item], offer.extreme, offer.lists.window, offer.lowest)

    insert(offer.lists, offer.group[text, neuron], offer.key[text, neuron], describe_items)


def candidates(offer: Offer) -> tuple[Int[Tensor, " item"], Int[Tensor, " item"]]:
    """Text and neuron of every candidate that beats its group's last place."""
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
    stays = torch.zeros(lists.n_slots + 1, dtype=torch.bool, device=key.device)
    stays[slot] = True  # Slot -1 marks the spare last place.
    freed = old_slots[(old_slots >= 0) & ~stays[old_slots]]
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


_FIELDS = {
    "text": torch.int64,
    "position": torch.int32,
    "activation": torch.float32,
    "window_start": torch.int32,
    "window_length": torch.int32,
    "scale": torch.float32,
}


class ExampleLists:
    """`n_groups` lists of `k` places; windows hold at most `window` positions.

    `full`: every group will fill, so room for all places is taken at once (the CPU commits it as it is written).
    `reference` asks for the plain torch insertion where the device has a faster one.
    """

    def __init__(
        self,
        n_groups: int,
        k: int,
        window: int,
        device: torch.device | str = "cpu",
        *,
        full: bool = False,
        reference: bool = False,
    ) -> None:
        self.k, self.window, self.full = k, window, full
        self.keys: Int[Tensor, "group k"] = torch.full((n_groups, k), keys.EMPTY, dtype=torch.int64, device=device)
        self.slots: Int[Tensor, "group k"] = torch.full((n_groups, k), -1, dtype=torch.int64, device=device)
        self.n_slots = 0
        self.pool = {name: torch.zeros(0, dtype=dtype, device=device) for name, dtype in _FIELDS.items()}
        self.pool["window"] = torch.zeros(0, window, dtype=torch.int16, device=device)
        self.update_together = update_lists if reference else list_updater(self.keys.device)
        """Updates several lists at once (of this kind and others), so that the activations are read once."""

    def update(
        self,
        rows: BatchRows,
        extreme: Float[Tensor, "text d_mlp"],
        group: Int[Tensor, "text d_mlp"],
        key: Int[Tensor, "text d_mlp"],
        *,
        lowest: bool = False,
    ) -> None:
        """Offer each text of a batch to one group of each neuron of a layer (see `Offer`)."""
        self.update_together(rows, [Offer(self, extreme, group, key, lowest)])

    def take_slots(self, n: int) -> int:
        """Make room for `n` new entries in the pool; returns the first of their slots, which follow one another."""
        first, capacity = self.n_slots, len(self.pool["text"])
        self.n_slots += n
        if self.n_slots > capacity:
            # Doubled, so that copies cost no more than what is kept; never beyond what all places take.
            capacity = self.keys.numel() if self.full else max(self.n_slots, min(2 * capacity, self.keys.numel()))
            for name, values in self.pool.items():
                grown = values.new_empty(capacity, *values.shape[1:])
                grown[:first] = values[:first]
                self.pool[name] = grown
        return first

    def merge(self, other: ExampleLists) -> None:
        """Add another accumulator's places (over other texts)."""
        group, place = (other.keys != keys.EMPTY).nonzero(as_tuple=True)
        slot = other.slots[group, place]

        def describe_items(item: Int[Tensor, " item"]) -> dict[str, Tensor]:
            return {name: values[slot[item]] for name, values in other.pool.items()}

        insert(self, group, other.keys[group, place], describe_items)

    def state_dict(self) -> dict[str, Tensor]:
        """The complete state, as tensors."""
        pool = {f"pool.{name}": values[: self.n_slots] for name, values in self.pool.items()}
        return {"keys": self.keys, "slots": self.slots, **pool}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the state of a `state_dict`."""
        self.keys.copy_(state["keys"])
        self.slots.copy_(state["slots"])
        self.pool = {name: state[f"pool.{name}"].clone() for name in self.pool}
        self.n_slots = len(self.pool["text"])

    def cited(self) -> Int[Tensor, " text"]:
        """Ids of the texts in the lists, ascending."""
        return torch.unique(self.pool["text"][self.slots[self.slots >= 0]])

    def result(self) -> dict[str, Tensor]:
        """Filled places by group and rank, on the CPU: group, rank (from 1), and the pool's columns."""
        group, place = (self.keys != keys.EMPTY).nonzero(as_tuple=True)
        slot = self.slots[group, place]
        columns = {name: values[slot].cpu() for name, values in self.pool.items()}
        return {"group": group.cpu(), "rank": (place + 1).cpu(), **columns}


def list_updater(device: torch.device) -> Callable[[BatchRows, list[Offer]], None]:
    """`update_lists` for a device: compiled on the CPU."""
    return _update_compiled if device.type == "cpu" else update_lists


def _update_compiled(rows: BatchRows, offers: list[Offer]) -> None:
    """`update_lists` by compiled kernels: one inserts the keys of each kind, one describes the texts of all kinds."""
    # Numba takes a second to load, and only the CPU needs it.
    from ingest.activations.insertion_cpu import describe
    from ingest.activations.reduction.cpu import float_bits

    bits, shift = float_bits(rows.activations)
    runs, arrays = rows.runs, zip(*(_insert_compiled(offer) for offer in offers), strict=True)
    describe(bits, shift, runs.first.numpy(), runs.length.numpy(), rows.text_id.numpy(), rows.first_position, *arrays)


def _insert_compiled(offer: Offer) -> tuple[np.ndarray, ...]:
    """Insert the keys of one kind; returns its arguments of the kernel `describe`."""
    from ingest.activations.insertion_cpu import enter

    lists, group = offer.lists, offer.group.contiguous().numpy()
    entered, n_fresh = np.empty(group.shape, np.int64), np.empty(group.shape[1], np.int64)
    slots = lists.slots.numpy()
    enter(group, offer.key.contiguous().numpy(), lists.keys.numpy(), slots, entered, n_fresh)
    fresh = lists.take_slots(int(n_fresh.sum())) + np.cumsum(n_fresh) - n_fresh
    pool = (lists.pool[name].numpy() for name in (*_FIELDS, "window"))
    return offer.extreme.contiguous().numpy(), group, slots, entered, fresh, *pool
