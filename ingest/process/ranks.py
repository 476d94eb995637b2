"""The processes of a distributed run: this one's rank, and the transfer of accumulators between them.

Started by torchrun, or by any launcher that sets torch.distributed's variables (RANK, WORLD_SIZE, MASTER_ADDR,
MASTER_PORT, LOCAL_RANK). One process without those variables is a run of one rank, at no cost.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ingest.errors import OptionError, RankError

T = TypeVar("T")
_CPU = torch.device("cpu")
State = dict[str, Tensor]
_TIMEOUT = timedelta(days=1)  # Ranks wait for the slowest; when one dies, its connections close and the others notice.
_CHUNK = 1 << 28  # Bytes a message.


@dataclass(frozen=True)
class Ranks:
    """This process among `world`; `device` holds the tensors that are sent (NCCL for CUDA, gloo for the CPU)."""

    rank: int = 0
    world: int = 1
    device: torch.device = _CPU

    @property
    def main(self) -> bool:
        """Whether this is the rank that writes the atlas."""
        return self.rank == 0

    def on_main(self, work: Callable[[], T]) -> T | None:
        """Call a function on rank 0 while the others wait; returns its result there, None elsewhere.

        Raises:
            RankError: (on the others) it failed on rank 0, which says why.
        """
        if self.world == 1:
            return work()
        failed, result = True, None
        try:
            if self.main:
                result = work()
            failed = False
        finally:
            with self._peers():
                verdicts = [None] * self.world
                dist.all_gather_object(verdicts, failed)
        if verdicts[0] and not self.main:
            raise RankError("Rank 0 failed, and says why; this one has stopped.")
        return result

    def agree(self, what: str, facts: dict[str, Any]) -> None:
        """Check that every rank was started with the same facts.

        Raises:
            RankError: names the first fact that differs, and both values.
        """
        if self.world == 1:
            return
        everyone = self.gather(facts)
        for rank, theirs in enumerate(everyone):
            for name, value in everyone[0].items():
                if theirs.get(name) != value:
                    raise RankError(
                        f"The ranks differ in {what}: {name} is {value!r} on rank 0 and {theirs.get(name)!r} on rank "
                        f"{rank}. Start all of them with the same arguments, model and dataset."
                    )

    def gather(self, facts: T) -> list[T]:
        """Every rank's facts, by rank, on every rank; waits for all of them."""
        if self.world == 1:
            return [facts]
        everyone: list[Any] = [None] * self.world
        with self._peers():
            dist.all_gather_object(everyone, facts)
        return everyone

    def reduce(self, give: Callable[[], State], take: Callable[[State], None]) -> bool:
        """Merge every rank's state into rank 0's, pairwise: log2(world) rounds. True on rank 0.

        `give` returns this rank's state once it has merged the states it receives.
        """
        step = 1
        while step < self.world:
            if self.rank % (2 * step):
                self._send(give(), self.rank - step)
                return False
            if self.rank + step < self.world:
                take(self._receive(self.rank + step))
            step *= 2
        return True

    def broadcast(self, state: State | None) -> State:
        """Rank 0's state, on every rank (in host memory)."""
        if self.world == 1:
            return state or {}
        if self.main:
            for rank in range(1, self.world):
                self._send(state or {}, rank)
            return state or {}
        return {name: tensor.cpu() for name, tensor in self._receive(0).items()}

    def barrier(self) -> None:
        """Wait for every rank."""
        self.gather(self.rank)

    def _send(self, state: State, to: int) -> None:
        shapes = [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()]
        with self._peers():
            dist.send_object_list([shapes], dst=to, device=_CPU)
            for tensor in state.values():
                for chunk in _bytes_of(tensor.detach().to(self.device).contiguous()).split(_CHUNK):
                    dist.send(chunk, dst=to)

    def _receive(self, source: int) -> State:
        header: list[Any] = [None]
        state = {}
        with self._peers():
            dist.recv_object_list(header, src=source, device=_CPU)
            for name, dtype, shape in header[0]:
                state[name] = torch.empty(shape, dtype=dtype, device=self.device)
                for chunk in _bytes_of(state[name]).split(_CHUNK):
                    dist.recv(chunk, src=source)
        return state

    @contextmanager
    def _peers(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, dist.DistError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            cause = re.sub(r"\[/[^]]*\]\s*", "", str(error).strip()).splitlines()[0].split(". ")[0]
            raise RankError(
                f"Rank {self.rank} of {self.world} lost another rank ({cause}). It died or cannot be reached: look at "
                "its own output. With --checkpoint, the same command goes on from the last checkpoints."
            ) from error


def _bytes_of(tensor: Tensor) -> Tensor:
    """The same memory as bytes: not every backend sends every type."""
    return tensor.view(-1).view(torch.uint8) if tensor.numel() else torch.empty(0, dtype=torch.uint8)


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the launcher's group for a block, or use the one that an outer block has joined; a run of one rank when no
    launcher set its variables.

    Raises:
        RankError: the variables are set, but the group cannot be formed.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(device=device)
        return
    rank = int(os.environ.get("RANK", "0"))
    if dist.is_initialized():
        yield Ranks(rank, world, device)
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise RankError(
            f"Rank {rank} of {world} cannot join the others: {error}. Expected RANK, WORLD_SIZE, MASTER_ADDR and "
            "MASTER_PORT as torchrun sets them."
        ) from error
    try:
        yield Ranks(rank, world, device)
    finally:
        dist.destroy_process_group()


def own_device(device: torch.device, per_rank: int = 1) -> torch.device:
    """This process's GPU among those of its machine, if several processes share it; the first, if it has several.

    Raises:
        OptionError: there are not as many GPUs as the processes of this machine divide models over.
    """
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) * per_rank)
    _check_group(device, per_rank)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return device


def own_group(device: torch.device, per_rank: int) -> list[torch.device]:
    """The GPUs of a process whose first is `device`."""
    first = device.index or 0
    return [device, *(torch.device(device.type, first + number) for number in range(1, per_rank))]


def _check_group(device: torch.device, per_rank: int) -> None:
    n_devices = torch.cuda.device_count() if device.type == "cuda" else 0
    if per_rank > 1 and (device.index or 0) + per_rank > n_devices:
        raise OptionError(
            f"--devices-per-rank {per_rank} asks for GPUs up to number {(device.index or 0) + per_rank - 1}, and this "
            f"process sees {n_devices}. Start fewer processes a machine, or ask for fewer GPUs each."
        )
