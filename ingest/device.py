"""Every choice that depends on the machine: device, precision, batch size, copies."""

from __future__ import annotations

import numpy as np
import psutil
import torch
from jaxtyping import Int
from torch import Tensor

from ingest.errors import OptionError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_CPU_TOKENS = 4096  # Tokens a batch on a CPU: enough for full-speed GEMMs, few enough for the caches.
_CUDA_TOKENS = 65536


def choose_device(name: str) -> torch.device:
    """'auto' takes CUDA when there is one.

    Raises:
        OptionError: the device is unknown or not present.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"There is no device {name!r}: expected auto, cpu, cuda or cuda:N.") from error
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"The device {name!r} is not supported: expected auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"The device {name!r} was asked for, but torch finds no CUDA here. Use --device cpu.")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """'auto' is float32 on a CPU and bfloat16 on CUDA."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return DTYPES[name]


def batch_tokens(batch_size: int | None, context_length: int, bytes_per_token: int, device: torch.device) -> int:
    """Tokens a batch, padding included: `batch_size` full texts, or as many as a share of free memory holds.

    `bytes_per_token` is what a position costs while its batch runs (activations of a layer, bins of all layers).
    """
    if batch_size is not None:
        return batch_size * context_length
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        limit = _CUDA_TOKENS
    else:
        free, limit = psutil.virtual_memory().available, _CPU_TOKENS
    return max(context_length, min(limit, int(0.3 * free) // bytes_per_token))


def to_device(array: Int[np.ndarray, "*shape"], device: torch.device) -> Int[Tensor, "*shape"]:
    """Copy to the device; from pinned memory without waiting when the device is CUDA."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


def memory_used(device: torch.device) -> int:
    """Bytes this process holds: resident memory, plus what it allocated on the device."""
    used = psutil.Process().memory_info().rss
    return used + (torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)
