"""Every choice that depends on the machine: device, precision, batch size, copies, waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import psutil
import torch
from jaxtyping import Int
from torch import Tensor

from ingest.errors import OptionError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device(name: str) -> torch.device:
    """'auto' takes CUDA (or ROCm, which torch calls so) when there is one.

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


def choose_run_device(name: str) -> torch.device:
    """The device of all but the model's blocks: for 'mps', an Apple GPU, the CPU. It has no float64, and shares the
    CPU's memory, where all that is computed from activations is.

    Raises:
        OptionError: the device is unknown or not present.
    """
    if name != "mps":
        return choose_device(name)
    if not torch.backends.mps.is_available():
        raise OptionError(f"The device {name!r} was asked for, but torch finds no Apple GPU here. Use --device cpu.")
    return torch.device("cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """'auto' is float32 on a CPU and bfloat16 on CUDA."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return DTYPES[name]


def to_device(array: Int[np.ndarray, "*shape"], device: torch.device) -> Int[Tensor, "*shape"]:
    """Copy to the device; from pinned memory without waiting when the device is CUDA."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


class CopyStream:
    """A stream for copies to a CUDA device, beside its work; on a CPU, where nothing is copied, it does nothing."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Use this stream for the copies of a block, in any thread."""
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            yield

    def mark(self) -> torch.cuda.Event | None:
        """An event after the copies so far, for `await_copies`."""
        return None if self._stream is None else self._stream.record_event()


def await_copies(copied: torch.cuda.Event | None, tensors: list[Tensor]) -> None:
    """Let the device's work wait for copies of `tensors` made on another stream; the host goes on."""
    if copied is None:
        return
    stream = torch.cuda.current_stream(tensors[0].device)
    stream.wait_event(copied)
    for tensor in tensors:
        tensor.record_stream(stream)


def runs_behind(device: torch.device) -> bool:
    """Whether the device works through a queue behind the host, so that reading a result back is worth avoiding."""
    return device.type == "cuda"


def memory_used(device: torch.device) -> int:
    """Bytes this process holds: resident memory, plus what it allocated on the device. Pages of files (a model's
    weights, libraries) are left out where the system tells them apart: it takes them back when memory runs short."""
    info = psutil.Process().memory_info()
    return info.rss - getattr(info, "shared", 0) + (torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)
