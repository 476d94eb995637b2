"""Weights in the dtype of their files, computed with in another.

A model's parameters are the memory map of its safetensors files. Where a module computes in a wider dtype, each of its
parameters is converted whenever it is used and forgotten afterwards (`torch.nn.utils.parametrize`): at no time is there
a converted copy of the whole model. Widening bfloat16 or float16 to float32 is exact, so results are those of a
converted copy.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils import parametrize

T = TypeVar("T")


class _Widened(nn.Module):
    """The parametrization: a parameter in another dtype, made anew at each use."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def forward(self, stored: Tensor) -> Tensor:
        made = stored.detach().to(self._dtype)
        address = made.data_ptr()

        def forget(gone: weakref.ref[Tensor]) -> None:
            if address in _MADE and _MADE[address][0] is gone:
                del _MADE[address]

        _MADE[address] = weakref.ref(made, forget), stored
        return made


_MADE: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}
"""Converted parameters in use, by the address of their memory, and what they were made of."""


def stored_parts(module: nn.Module) -> list[nn.Module]:
    """A module and those inside it, without what holds the originals of converted parameters."""
    return [part for part in module.modules() if not isinstance(part, parametrize.ParametrizationList)]


def _narrower(module: nn.Module, dtype: torch.dtype) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """The parameters and buffers of a module, and of those inside it, with fewer bytes than `dtype`, with their
    owners."""
    for owner in stored_parts(module):
        for name, tensor in [*owner._parameters.items(), *owner._buffers.items()]:
            if tensor is not None and tensor.is_floating_point() and tensor.itemsize < dtype.itemsize:
                yield owner, name, tensor


def widen(module: nn.Module, dtype: torch.dtype = torch.float32, most: int = 0) -> None:
    """Let a module compute in `dtype`, its narrower parameters converted at each use.

    Args:
        most: bytes; where all of the converted parameters take no more, they are converted once and kept.
    """
    narrow = list(_narrower(module, dtype))
    size = dtype.itemsize * sum({id(tensor): tensor.numel() for _, _, tensor in narrow}.values())
    for owner, name, tensor in narrow:
        if size <= most:
            tensor.data = tensor.data.to(dtype)
        else:
            parametrize.register_parametrization(owner, name, _Widened(dtype), unsafe=True)


@contextmanager
def widened(module: nn.Module, dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Let a module compute in `dtype` for the length of a block."""
    narrow = list(_narrower(module, dtype))
    for owner, name, _ in narrow:
        parametrize.register_parametrization(owner, name, _Widened(dtype), unsafe=True)
    try:
        yield
    finally:
        for owner, name, _ in narrow:
            parametrize.remove_parametrizations(owner, name, leave_parametrized=False)


def move(module: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> None:
    """Move a module to a device and a dtype (None: each tensor's own), tensor by tensor.

    Rotary frequencies stay in float32, as in `from_pretrained`: rounded to bfloat16 they would turn a position a
    hundred tokens on by a wrong angle. On a CPU, parameters that are narrower than `dtype` stay as they are and are
    converted at each use.
    """
    if device.type == "cpu" and dtype is not None:
        widen(module, dtype)
    for part in stored_parts(module):
        for parameter in [each for each in part._parameters.values() if each is not None]:
            parameter.data = parameter.data.to(device, dtype)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                exact = name.endswith("inv_freq") or not buffer.is_floating_point()
                part._buffers[name] = buffer.to(device, None if exact else dtype)


def aliased(value: T, *modules: nn.Module) -> T:
    """A deep copy (of modules, or of what holds them) whose parameters share the memory of those of `modules`."""
    memo: dict[int, Any] = {}
    for module in modules:
        for parameter in module.parameters():
            memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    return copy.deepcopy(value, memo)


def recomputed() -> saved_tensors_hooks:
    """Within this context a graph keeps what converted parameters were made of, and converts again going backward."""

    def pack(saved: Tensor) -> Tensor | Callable[[], Tensor]:
        made, stored = _MADE.get(saved.untyped_storage().data_ptr(), (lambda: None, saved))
        if made() is None:  # The address is another tensor's by now.
            return saved
        dtype, layout = saved.dtype, (saved.size(), saved.stride(), saved.storage_offset())
        return lambda: stored.detach().to(dtype).as_strided(*layout)

    return saved_tensors_hooks(pack, lambda kept: kept() if callable(kept) else kept)
