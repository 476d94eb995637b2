"""Which version of `reduce_layer` a device runs."""

from __future__ import annotations

import torch

from ingest.activations.reduction import reference
from ingest.activations.reduction.trust import Reduce, triton_reducer


def layer_reducer(device: torch.device) -> Reduce:
    """The fastest `reduce_layer` for a device."""
    if device.type == "cuda":
        return triton_reducer(device)
    if device.type != "cpu":
        return reference.reduce_layer
    from ingest.activations.reduction import cpu  # Numba takes a second to load, and only the CPU needs it.

    return cpu.reduce_layer
