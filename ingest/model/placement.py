"""A model over several devices: its blocks one after another, and what has no room is left in the files.

`accelerate` assigns the blocks, moves the stream from device to device, and brings what was left in the files (the
memory map of `ingest.model.pretrained`) to the first device each time it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import dispatch_model, infer_auto_device_map
from torch import nn

from ingest.model.precision import move

_ANY = 1 << 60
_SHARE = 0.9
"""Share of a device's free memory for weights; the rest is for a batch's stream."""


@dataclass(frozen=True)
class Room:
    """The devices of a process, and the bytes of weights that each has room for. The first runs what is left over."""

    devices: Sequence[torch.device]
    size: Sequence[int]


def room_for(weights: int, devices: Sequence[torch.device], free: Sequence[int], reserved: int) -> Room | None:
    """The room for a model's weights; None: the first device has it.

    Args:
        weights: bytes of the whole.
        free: bytes that are free on each device.
        reserved: bytes of the first that other things take: it holds all that is computed from activations, so the
            other devices are filled before it.
    """
    own, others = max(0, free[0] - reserved), [int(size * _SHARE) for size in free[1:]]
    if weights <= own and not others:
        return None
    return Room(devices, [min(own, max(0, weights - sum(others))) if others else own, *others])


def divide(module: nn.Module, blocks: Sequence[nn.Module], dtype: torch.dtype, room: Room) -> dict[str, object]:
    """Put a module's parts on the devices in a dtype, as far as they have room, in order; blocks stay whole.

    Returns:
        Where each part is: a device, or 'cpu' (on CPUs: 'disk') for what is read from the files at each use.
    """
    first = room.devices[0]
    left_over = "disk" if first.type == "cpu" else "cpu"
    sizes = {_key(device): size for device, size in zip(room.devices, room.size, strict=True)}
    kinds = sorted({type(block).__name__ for block in blocks})
    places = infer_auto_device_map(
        module, max_memory={**sizes, left_over: _ANY}, no_split_module_classes=kinds, dtype=dtype
    )
    stored = module.state_dict()
    for name, place in places.items():
        part = module.get_submodule(name)
        if place == left_over:
            _empty(part, dtype)
        else:
            move(part, torch.device(place), dtype)
    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)  # It warns of what is meant.
    dispatch_model(module, places, main_device=_key(first), state_dict=stored, offload_index={}, force_hooks=True)
    return places


def _key(device: torch.device) -> int | str:
    return device.type if device.type == "cpu" else device.index or 0


def _empty(part: nn.Module, dtype: torch.dtype) -> None:
    """Parameters without memory, to be filled from the files: accelerate converts to their dtype."""
    for module in part.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                empty = torch.empty_like(parameter, device="meta", dtype=dtype)
                module._parameters[name] = nn.Parameter(empty, requires_grad=False)
