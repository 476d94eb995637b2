"""How often each token is input, really next, and predicted."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

ROLES = ("input", "actual", "predicted")


class TokenCounts:
    """Counts over counted positions; the actual token of a position without one is -1 and counts nowhere."""

    def __init__(self, d_vocab: int, device: torch.device | str = "cpu") -> None:
        self.counts: Int[Tensor, "role d_vocab"] = torch.zeros(
            len(ROLES), d_vocab + 1, dtype=torch.int64, device=device
        )

    def update(self, input: Int[Tensor, " pos"], actual: Int[Tensor, " pos"], predicted: Int[Tensor, " pos"]) -> None:
        """Add one batch's counted positions."""
        for row, tokens in zip(self.counts, (input, actual, predicted), strict=True):
            # Absent tokens (-1) go to the spare last place.
            row.scatter_add_(0, tokens.to(torch.int64) % len(row), torch.ones_like(tokens, dtype=torch.int64))

    def merge(self, other: TokenCounts) -> None:
        """Add another accumulator over other positions."""
        self.counts += other.counts

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to go on, as tensors."""
        return {"counts": self.counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.counts.copy_(state["counts"])

    def result(self) -> dict[str, Int[Tensor, " d_vocab"]]:
        """Counts by role ('input', 'actual', 'predicted'), on the CPU."""
        return {role: row[:-1].cpu() for role, row in zip(ROLES, self.counts, strict=True)}
