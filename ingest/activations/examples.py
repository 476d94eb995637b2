"""The texts shown for each neuron: k places a group, each with its window of activations.

A group is a neuron ('max', 'min') or a neuron's octave ('interval'). Places are ordered by an int64 key, greatest
first (`ingest.process.sort_keys`), so lists merge exactly. What a place shows lies in a pool whose rows are reused, so memory
follows the places in use: an octave no text fell into costs nothing but its empty keys.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.activations import insertion
from ingest.activations.insertion import BatchRows, Offer
from ingest.process import sort_keys as keys

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
        self.update_together = insertion.update if reference else list_updater(self.keys.device)
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

        insertion.insert(self, group, other.keys[group, place], describe_items)

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


def list_updater(device: torch.device) -> Callable[[BatchRows, list[Offer]], None]:
    """`insertion.update` for a device: compiled on the CPU."""
    if device.type != "cpu":
        return insertion.update
    from ingest.activations import insertion_cpu  # Numba takes a second to load, and only the CPU needs it.

    return insertion_cpu.update
