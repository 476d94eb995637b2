"""Counts of each token as input, as actual next token, and as prediction."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from ingest.activations.statistic import BatchEnd, Plan, Span, Statistic
from ingest.process.arrow import Columns

_COLUMNS = ("n_input", "n_actual", "n_predicted")


class TokenCounts(Statistic):
    """Counts over counted positions; the actual token of a position without one is -1 and counts nowhere."""

    name = "tokens"
    axis = "token_id"
    laws: ClassVar = {
        "input tokens that do not sum to n_positions": """
            SELECT abs(sum(n_input) - (SELECT n_positions FROM atlas)) FROM token""",
        "predicted tokens that do not sum to n_positions": """
            SELECT abs(sum(n_predicted) - (SELECT n_positions FROM atlas)) FROM token""",
    }
    state = ("counts",)

    def __init__(self, d_vocab: int, device: torch.device | str = "cpu") -> None:
        self.counts: Int[Tensor, "role d_vocab"] = torch.zeros(
            len(_COLUMNS), d_vocab + 1, dtype=torch.int64, device=device
        )

    @classmethod
    def make(cls, plan: Plan) -> TokenCounts:
        return cls(plan.settings.d_vocab, plan.device)

    def update(self, input: Int[Tensor, " pos"], actual: Int[Tensor, " pos"], predicted: Int[Tensor, " pos"]) -> None:
        """Add one batch's counted positions."""
        for row, tokens in zip(self.counts, (input, actual, predicted), strict=True):
            # Absent tokens (-1) go to the spare last place.
            row.scatter_add_(0, tokens.to(torch.int64) % len(row), torch.ones_like(tokens, dtype=torch.int64))

    def settle(self, batch: BatchEnd, counts: list[int]) -> set[int]:
        self.update(batch.ready.input, batch.ready.actual, batch.predicted)
        return set()

    def merge(self, other: TokenCounts) -> None:
        self.counts += other.counts

    def columns(self) -> Columns:
        return {name: row[:-1].cpu().numpy() for name, row in zip(_COLUMNS, self.counts, strict=True)}

    @classmethod
    def from_rows(cls, span: Span) -> TokenCounts:
        counts = cls(span.high - span.low)
        counts.counts[:, :-1] = torch.stack(span.arrays("token", *_COLUMNS))
        return counts
