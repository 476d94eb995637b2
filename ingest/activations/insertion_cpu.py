"""Insertion into the example lists on a CPU: `ingest.activations.insertion.update` by compiled kernels.

The first kernel inserts keys, neuron by neuron, and settles which texts stay; the second takes the columns of those out
of the activations and describes them.
"""

from __future__ import annotations

import numpy as np

from ingest.activations.insertion import BatchRows, Offer
from ingest.activations.reduction.cpu import float_bits
from ingest.activations.reduction.list_kernels import describe, enter

_POOL = ("text", "position", "activation", "window_start", "window_length", "scale", "window")


def update(rows: BatchRows, offers: list[Offer]) -> None:
    """Offer the texts of a batch to lists of different kinds: `ingest.activations.insertion.update`."""
    bits, shift = float_bits(rows.activations)
    arrays = zip(*(_entered(offer) for offer in offers), strict=True)
    describe(
        bits, shift, rows.runs.first.numpy(), rows.runs.length.numpy(), rows.text_id.numpy(), rows.first_position,
        *arrays,
    )  # fmt: skip


def _entered(offer: Offer) -> tuple[np.ndarray, ...]:
    """Insert the keys of one kind; returns its part of what `describe` takes."""
    lists, group = offer.lists, offer.group.contiguous().numpy()
    entered, n_fresh = np.empty(group.shape, np.int64), np.empty(group.shape[1], np.int64)
    slots = lists.slots.numpy()
    enter(group, offer.key.contiguous().numpy(), lists.keys.numpy(), slots, entered, n_fresh)
    fresh = lists.take_slots(int(n_fresh.sum())) + np.cumsum(n_fresh) - n_fresh
    pool = (lists.pool[name].numpy() for name in _POOL)
    return offer.extreme.contiguous().numpy(), group, slots, entered, fresh, *pool
