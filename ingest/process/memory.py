"""The memory budget of a run, and the sizes that follow: batch, tile, or a refusal with the figures."""

from __future__ import annotations

import os

import psutil
import torch

from ingest.errors import OutOfMemoryError
from ingest.process.device import memory_used

_SHARE = 0.3  # Share of the remaining memory for the scratch of one batch; the rest is for temporary objects.
_CPU_TOKENS = 4096  # Tokens a batch on a CPU: enough for full-speed GEMMs, few enough for the caches.
_CUDA_TOKENS = 65536
_ADVICE = "fewer --top-texts, a smaller --window, a shorter --context-length"
_DUCKDB = 256 << 20  # With less, DuckDB may fail to write a table.
_TILE = (1 << 20, 1 << 24)  # Least and usual bytes of a tile of neurons x tokens on a CPU.


class Budget:
    """Memory of this process (and of its GPU), in bytes; None: all of the machine's.

    On CUDA the budget is the device's; on a CPU it is the resident memory of the process without pages of files.
    """

    def __init__(self, total: int | None, device: torch.device) -> None:
        self.total, self.device = total, device

    def used(self) -> int:
        """Memory in use."""
        return torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else memory_used(self.device)

    def left(self) -> int:
        """Memory left."""
        if self.total is not None:
            return self.total - self.used()
        if self.device.type == "cuda":
            return torch.cuda.mem_get_info(self.device)[0]
        return psutil.virtual_memory().available // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def reserve(self, what: str, size: int, advice: str) -> None:
        """Check that something of `size` bytes will fit.

        Raises:
            OutOfMemoryError: says how much is needed, and `advice`.
        """
        if self.total is not None and size > self.left():
            raise OutOfMemoryError(
                f"--memory {show(self.total)} is not enough: {show(self.used())} is taken, and {what} needs about "
                f"{show(size)}. Allow {show(self.used() + size)} or more, or {advice}."
            )

    def batch_tokens(self, context_length: int, bytes_per_token: int, held: int = 0) -> int:
        """Tokens a batch, padding included, at least one text of `context_length`, if `held` bytes will be taken too.

        Raises:
            OutOfMemoryError: not even that fits.
        """
        left = self.left() - held
        usual = _CUDA_TOKENS if self.device.type == "cuda" else _CPU_TOKENS
        tokens = max(context_length, min(usual, int(_SHARE * left) // bytes_per_token))
        self.reserve("counting, with a batch of one text,", held + tokens * bytes_per_token, _ADVICE)
        return tokens

    def for_batch(self, size: int) -> int:
        """Bytes that must be left so that a batch with scratch of `size` bytes fits."""
        return int(size / _SHARE)

    def for_writing(self) -> int | None:
        """Bytes for DuckDB while the file is written, in host memory; None: DuckDB's own choice."""
        if self.total is None or self.device.type == "cuda":
            return None
        return max(_DUCKDB, self.left())

    def tile_bytes(self) -> int | None:
        """Bytes of a congruence tile; None: the search's own choice."""
        if self.total is None:
            return None
        least, usual = _TILE
        return max(least, min(usual, self.left() // 4))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the host or on the device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def show(size: int) -> str:
    """Bytes for people: '50MB', '3.2GB', '42GB'."""
    if size < 10**9:
        return f"{size / 1e6:.0f}MB"
    return f"{size / 1e9:.1f}GB" if size < 10**10 else f"{size / 1e9:.0f}GB"
