"""For each candidate pair: in which bins of the neuron's activation the token is predicted, and really next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from atlas.core.bins import N_BINS

_COMPRESS_AT = 4_000_000  # Events waiting to be summed: 32 MB of keys.


@dataclass(frozen=True)
class PredictionResult:
    """Cells that are not empty, ordered by neuron, token, bin."""

    neuron: Int[Tensor, " cell"]
    token: Int[Tensor, " cell"]
    bin: Int[Tensor, " cell"]
    n_predicted: Int[Tensor, " cell"]
    n_actual: Int[Tensor, " cell"]


class PredictionHistogram:
    """Sparse counts, found through an index from token to the pairs it is in.

    Pairs must be unique and ordered by (neuron, token).
    """

    def __init__(self, neuron: Int[Tensor, " pair"], token: Int[Tensor, " pair"], d_vocab: int, d_mlp: int) -> None:
        self.neuron, self.token, self.d_mlp = neuron.to(torch.int64), token.to(torch.int64), d_mlp
        self._pairs_by_token = torch.argsort(self.token, stable=True)
        self._n_pairs = torch.bincount(self.token, minlength=d_vocab)
        self._first = torch.cumsum(self._n_pairs, 0) - self._n_pairs
        empty = torch.zeros(0, dtype=torch.int64, device=neuron.device)
        # A cell is (pair, bin); counts hold [n_predicted, n_actual].
        self.cells: Int[Tensor, " cell"] = empty
        self.counts: Int[Tensor, "cell 2"] = empty.view(0, 2).clone()
        self._waiting: list[tuple[int, Tensor]] = []

    def totals(self, actual: Int[Tensor, " pos"], predicted: Int[Tensor, " pos"]) -> Int[Tensor, " role"]:
        """How many events a batch brings, of predicted and of actual tokens, on the device."""
        return torch.stack([self._events(tokens).sum() for tokens in (predicted, actual)])

    def _events(self, tokens: Int[Tensor, " pos"]) -> Int[Tensor, " pos"]:
        """Pairs of each position's token; none where there is no token (-1)."""
        return torch.where(tokens >= 0, self._n_pairs[tokens.to(torch.int64).clamp(min=0)], 0)

    def update(
        self,
        bins: UInt8[Tensor, "layer pos d_mlp"],
        actual: Int[Tensor, " pos"],
        predicted: Int[Tensor, " pos"],
        totals: list[int] | None = None,
    ) -> None:
        """Add one batch's counted positions. `actual` is -1 where a position has no next token.

        `totals` is the host's copy of what `totals` gave; without it, it is read off the device here.
        """
        totals = self.totals(actual, predicted).tolist() if totals is None else totals
        for column, (tokens, total) in enumerate(zip((predicted, actual), totals, strict=True)):
            n = self._events(tokens)
            tokens = tokens.to(torch.int64)
            pos = torch.repeat_interleave(torch.arange(len(tokens), device=tokens.device), n, output_size=total)
            within = torch.arange(total, device=n.device) - torch.repeat_interleave(
                torch.cumsum(n, 0) - n, n, output_size=total
            )
            first = torch.repeat_interleave(self._first[tokens.clamp(min=0)], n, output_size=total)
            pair = self._pairs_by_token[first + within]
            neuron = self.neuron[pair]
            bin = bins[neuron // self.d_mlp, pos, neuron % self.d_mlp].to(torch.int64)
            self._waiting.append((column, pair * N_BINS + bin))
        if sum(len(cells) for _, cells in self._waiting) > _COMPRESS_AT:
            self._compress()

    def _compress(self) -> None:
        if not self._waiting:
            return
        cells, counts = [self.cells], [self.counts]
        for column, events in self._waiting:
            unique, n = torch.unique(events, return_counts=True)
            part = n.new_zeros(len(unique), 2)
            part[:, column] = n
            cells.append(unique)
            counts.append(part)
        self._waiting.clear()
        self._sum(torch.cat(cells), torch.cat(counts))

    def _sum(self, cells: Int[Tensor, " item"], counts: Int[Tensor, "item 2"]) -> None:
        self.cells, inverse = torch.unique(cells, return_inverse=True)
        self.counts = counts.new_zeros(len(self.cells), 2).index_add_(0, inverse, counts)

    def merge(self, other: PredictionHistogram) -> None:
        """Add another accumulator over other positions and the same pairs."""
        self._compress()
        other._compress()
        self._sum(torch.cat([self.cells, other.cells]), torch.cat([self.counts, other.counts]))

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to go on, as tensors (the pairs themselves are given at construction)."""
        self._compress()
        return {"cells": self.cells, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self._waiting.clear()
        self.cells, self.counts = state["cells"].clone(), state["counts"].clone()

    def result(self) -> PredictionResult:
        """Counts so far, on the CPU."""
        self._compress()
        pair, bin = self.cells // N_BINS, self.cells % N_BINS
        columns = (self.neuron[pair], self.token[pair], bin, self.counts[:, 0], self.counts[:, 1])
        return PredictionResult(*(column.cpu() for column in columns))
