"""The context of a run besides its data: checkpoints, ranks, signals, memory, progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from rich.console import Console

from ingest.errors import CheckpointError
from ingest.process.memory import Budget
from ingest.process.progress import Phases
from ingest.process.ranks import Ranks
from ingest.process.resume import RunCheckpoints
from ingest.process.stop import Stop


@dataclass(frozen=True)
class Session:
    """Checkpoints, ranks, stop signals, memory budget and progress of a run."""

    checkpoints: RunCheckpoints
    ranks: Ranks
    stop: Stop
    budget: Budget
    phases: Phases
    began: float = field(default_factory=lambda: time.monotonic())
    """By `time.monotonic`."""

    def try_to_save(self, save: Callable[[], None]) -> None:
        """Save; report a failure and go on. A disk that is full now need not end a run, and the next save tries
        again."""
        try:
            save()
        except CheckpointError as error:
            self.phases.say(f"{error} The run goes on.")


def alone(device: torch.device) -> Session:
    """One process that saves nothing and shows nothing: for benchmarks and tests of a phase."""
    ranks = Ranks(device=device)
    phases = Phases(Console(quiet=True), device)
    return Session(RunCheckpoints(None, {}, ranks), ranks, Stop(), Budget(None, device), phases)
