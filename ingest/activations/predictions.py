"""For each candidate pair: counts of the token as prediction and as actual next token, by bin of the neuron's
activation.

Families of tokens are counted alike, each neuron's with the family of its best token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from atlas.core.bins import N_BINS
from atlas.topics.pair_metric.table import Cells
from ingest.activations.statistic import BatchEnd, Plan, Rows, Span, Statistic
from ingest.activations.text_store import TextStore
from ingest.process.arrow import slices

_COMPRESS_AT = 4_000_000  # Events waiting to be summed: 32 MB of keys.
_CELLS = 3  # Cells a candidate pair fills, typically; most pairs never occur.


class PredictionHistogram(Statistic):
    """Sparse counts, reached through an index from a token to its pairs. Pairs must be unique."""

    name = "predictions"
    tables: ClassVar = {"prediction_histogram": ("neuron_id", "token_id", "bin")}
    laws: ClassVar = {
        "prediction cells above the activation histogram": """
            SELECT count(*) FROM prediction_histogram AS p LEFT JOIN activation_histogram AS a USING (neuron_id, bin)
            WHERE a.n IS NULL OR p.n_predicted > a.n OR p.n_actual > a.n""",
        "prediction cells of pairs that are not candidates": """
            SELECT count(*) FROM prediction_histogram ANTI JOIN candidate_pair USING (neuron_id, token_id)""",
    }
    token: ClassVar[str] = "token_id"
    """The column beside the neuron's."""

    def __init__(self, neuron: Int[Tensor, " pair"], token: Int[Tensor, " pair"], d_vocab: int, d_mlp: int) -> None:
        self.neuron, self.d_vocab, self.d_mlp = neuron.to(torch.int64), d_vocab, d_mlp
        token = token.to(torch.int64)
        self._cell = _cell(self.neuron, token, d_vocab)
        self._pairs_by_token = torch.argsort(token, stable=True)
        self._n_pairs = torch.bincount(token, minlength=d_vocab)
        self._first = torch.cumsum(self._n_pairs, 0) - self._n_pairs
        empty = torch.zeros(0, dtype=torch.int64, device=neuron.device)
        # A cell is (neuron, token, bin) in one number; counts hold [n_predicted, n_actual].
        self.cells: Int[Tensor, " cell"] = empty
        self.counts: Int[Tensor, "cell 2"] = empty.view(0, 2).clone()
        self._waiting: list[tuple[int, Tensor]] = []

    @classmethod
    def make(cls, plan: Plan) -> PredictionHistogram:
        pairs = (torch.from_numpy(ids).to(plan.device) for ids in (plan.pair_neuron, plan.pair_token))
        return cls(*pairs, plan.settings.d_vocab, plan.d_mlp)

    @classmethod
    def size(cls, plan: Plan) -> int:
        return len(plan.pair_neuron) * (24 + 24 * _CELLS)

    def totals(self, actual: Int[Tensor, " pos"], predicted: Int[Tensor, " pos"]) -> Int[Tensor, " role"]:
        """The number of events in a batch, of predicted and of actual tokens, on the device."""
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

        `totals` is the host's copy of the result of `totals`; without it, the result is read from the device here.
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
            self._waiting.append((column, self._cell[pair] + bin))
        if sum(len(cells) for _, cells in self._waiting) > _COMPRESS_AT:
            self._compress()

    def roles(self, batch: BatchEnd) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """The actual next token and the prediction at each counted position; -1: none."""
        return batch.ready.actual, batch.predicted

    def pending(self, batch: BatchEnd) -> Int[Tensor, " count"]:
        return self.totals(*self.roles(batch))

    def settle(self, batch: BatchEnd, counts: list[int]) -> set[int]:
        self.update(batch.bins, *self.roles(batch), counts)
        return set()

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
        self._compress()
        other._compress()
        self._sum(torch.cat([self.cells, other.cells]), torch.cat([self.counts, other.counts]))

    def state_dict(self) -> dict[str, Tensor]:
        """The complete state, as tensors (the constructor gets the pairs themselves)."""
        self._compress()
        return {"cells": self.cells, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._waiting.clear()
        self.cells, self.counts = state["cells"].clone(), state["counts"].clone()

    def result(self) -> Cells:
        """Cells that are not empty, on the CPU, ordered by neuron, token, bin."""
        self._compress()
        cells, counts = self.cells.cpu().numpy(), self.counts.cpu().numpy()
        pair, bin = np.divmod(cells, N_BINS)
        return Cells(*np.divmod(pair, self.d_vocab), bin, *counts.T)

    def rows(self, texts: TextStore) -> Rows:
        result = self.result()
        for part in map(result.part, slices(len(result.neuron))):
            yield (
                next(iter(self.tables)),
                {
                    "neuron_id": part.neuron.astype(np.int32),
                    self.token: part.token.astype(np.int32),
                    "bin": part.bin.astype(np.int16),
                    "n_predicted": part.n_predicted,
                    "n_actual": part.n_actual,
                },
            )

    @classmethod
    def from_rows(cls, span: Span) -> PredictionHistogram:
        """The cells of a span's neurons; these counts cannot be updated."""
        (table,) = cls.tables
        neuron, token, bin, *counts = span.arrays(table, "neuron_id", cls.token, "bin", "n_predicted", "n_actual")
        none = torch.zeros(0, dtype=torch.int64)
        histogram = cls(none, none, span.info.d_vocab, span.info.d_mlp)
        histogram._sum(_cell(neuron, token, span.info.d_vocab) + bin, torch.stack(counts, 1))
        return histogram


class FamilyHistogram(PredictionHistogram):
    """The same for families, each named by a token; `family_of` gives every token's family, and -1's at the end."""

    name = "families"
    tables: ClassVar = {"family_histogram": ("neuron_id", "family_id", "bin")}
    laws: ClassVar = {
        "family cells below those of the neuron's best token": """
            SELECT count(*) FROM prediction_histogram AS p
            JOIN neuron AS n ON n.neuron_id = p.neuron_id AND n.best_token_id = p.token_id
            JOIN token_family AS m ON m.token_id = p.token_id
            LEFT JOIN family_histogram AS f
                ON f.neuron_id = p.neuron_id AND f.family_id = m.family_id AND f.bin = p.bin
            WHERE (f.n_predicted IS NULL OR f.n_predicted < p.n_predicted OR f.n_actual < p.n_actual)
              AND EXISTS (FROM family_histogram)""",
    }
    token = "family_id"
    family_of: Int[Tensor, " token"]

    @classmethod
    def make(cls, plan: Plan) -> FamilyHistogram | None:
        if plan.families is None:
            return None
        made = super().make(_of_families(plan))
        made.family_of = torch.from_numpy(np.append(plan.families.of_token, -1)).to(plan.device)
        return made

    @classmethod
    def size(cls, plan: Plan) -> int:
        return 0 if plan.families is None else super().size(_of_families(plan))

    def roles(self, batch: BatchEnd) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        return self.family_of[batch.ready.actual], self.family_of[batch.predicted]


def _cell(neuron: Int[Tensor, " item"], token: Int[Tensor, " item"], d_vocab: int) -> Int[Tensor, " item"]:
    """The number of bin 0 of a pair: below 2^63 for any model."""
    return (neuron.to(torch.int64) * d_vocab + token) * N_BINS


def _of_families(plan: Plan) -> Plan:
    """A plan whose pairs are those of neuron and family."""
    return replace(plan, pair_neuron=plan.families.neuron, pair_token=plan.families.family)
