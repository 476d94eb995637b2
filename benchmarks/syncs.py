"""Where the host would wait for the device: operations whose result the host needs, caught at the dispatcher.

Works on any device, so a machine without a GPU can tell. What it cannot see are waits below the dispatcher (a copy from
memory that is not pinned, a library that synchronises): on CUDA, `torch.cuda.set_sync_debug_mode` sees those too.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ALWAYS = {
    "aten._local_scalar_dense",
    "aten.equal",
    "aten.is_nonzero",
    "aten.nonzero",
    "aten.masked_select",
    "aten._unique",
    "aten._unique2",
    "aten.unique_consecutive",
    "aten.unique_dim",
    "aten.bincount",
    "aten.histc",
}


class SyncWatch(TorchDispatchMode):
    """Counts, while active, the operations that would make the host wait for a device, by name.

    On the CPU a copy "to the host" is no copy at all, so `to` and `cpu` are seen only where they copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Operations caught."""
        return sum(self.seen.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = str(func.overloadpacket)
        if name in _ALWAYS or _waits(name, args, kwargs):
            self.seen[name] += 1
        return func(*args, **kwargs)


def _waits(name: str, args: tuple, kwargs: dict) -> bool:
    if name == "aten.repeat_interleave":
        return kwargs.get("output_size") is None
    if name in ("aten.index", "aten.index_put", "aten.index_put_", "aten._index_put_impl_"):
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if name == "aten._to_copy":
        moves = torch.device(kwargs.get("device") or args[0].device).type == "cpu" and args[0].device.type != "cpu"
        return moves and not kwargs.get("non_blocking", False)
    return False
