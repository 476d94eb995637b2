"""Histogram, moments, extremes and sign of every neuron's activation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from atlas.core.bins import N_BINS, ZERO_BIN
from ingest.activations.reduction.choice import Reduce, layer_reducer
from ingest.activations.reduction.exact import LIMBS, added, central_moments, overflown
from ingest.activations.reduction.reference import LayerSums, Runs, reduce_layer
from ingest.activations.statistic import BatchEnd, LayerBatch, Plan, Rows, Span, Statistic
from ingest.activations.text_store import TextStore
from ingest.congruence.moments import standardise
from ingest.errors import ActivationError
from ingest.process.arrow import Columns, joined, nullable, slices


class ActivationStatistics(Statistic):
    """Accumulates layer by layer: `update(layer, activations, ...)` for the counted positions of one batch.

    Powers are summed in fixed point (`ingest.activations.reduction.exact`), so that their sums, and the moments that
    follow, do not depend on the order of texts, on batches, or on how many processes share them. `reduce` reduces one
    layer (`ingest.activations.reduction`); None: the device's version. `first_neuron` is the id of the first neuron."""

    name = "activations"
    tables: ClassVar = {"activation_histogram": ("neuron_id", "bin"), "activation_sum": ("neuron_id",)}
    laws: ClassVar = {
        "activation histograms that do not sum to n_positions": """
            SELECT count(*) FROM (
                SELECT neuron_id FROM neuron LEFT JOIN activation_histogram USING (neuron_id)
                GROUP BY neuron_id HAVING coalesce(sum(n), 0) <> (SELECT n_positions FROM atlas))""",
    }
    state = ("counted", "counts", "powers", "positive", "minimum", "maximum")

    def __init__(
        self,
        n_layers: int,
        d_mlp: int,
        device: torch.device | str = "cpu",
        reduce: Reduce | None = None,
        first_neuron: int = 0,
    ) -> None:
        self.n_layers, self.d_mlp, self.device = n_layers, d_mlp, torch.device(device)
        neurons = n_layers * d_mlp
        self.counts: Int[Tensor, "layer cell"] = torch.zeros(n_layers, d_mlp * N_BINS, dtype=torch.int64, device=device)
        self.powers: Int[Tensor, "layer power limb d_mlp"] = torch.zeros(
            n_layers, 4, LIMBS, d_mlp, dtype=torch.int64, device=device
        )
        """Sums of the 1st to 4th powers, in limbs."""
        self.counted: Int[Tensor, " layer"] = torch.zeros(n_layers, dtype=torch.int64)
        self.positive: Int[Tensor, "layer d_mlp"] = torch.zeros(n_layers, d_mlp, dtype=torch.int64, device=device)
        self.minimum: Float[Tensor, " neuron"] = torch.full((neurons,), torch.inf, device=device)
        self.maximum: Float[Tensor, " neuron"] = torch.full((neurons,), -torch.inf, device=device)
        self._reduce = reduce or layer_reducer(self.device)
        self.first_neuron = first_neuron

    @classmethod
    def make(cls, plan: Plan) -> ActivationStatistics:
        return cls(plan.n_layers, plan.d_mlp, plan.device)

    def update(
        self,
        layer: int,
        activations: Float[Tensor, "flat d_mlp"],
        runs: Runs,
        bins: UInt8[Tensor, "row d_mlp"],
        highest: Float[Tensor, "text d_mlp"],
        lowest: Float[Tensor, "text d_mlp"],
    ) -> None:
        """Add one batch's counted positions of a layer, float32 or bfloat16.

        `bins` receives the bin of each activation by compacted row; `highest` and `lowest` each text's extremes.
        """
        self._reduce(activations, runs, self.sums(layer), bins, highest, lowest)
        self.counted[layer] += runs.n_rows

    def update_layer(self, batch: LayerBatch) -> None:
        """Add a layer, and fill the batch's bins and extremes."""
        self.update(batch.layer, batch.activations, batch.ready.runs, batch.bins, batch.highest, batch.lowest)

    def sums(self, layer: int) -> LayerSums:
        """The sums of one layer, as views."""
        part = slice(layer * self.d_mlp, (layer + 1) * self.d_mlp)
        return LayerSums(
            self.counts[layer], self.powers[layer], self.positive[layer], self.minimum[part], self.maximum[part]
        )

    def finite(self) -> Bool[Tensor, ""]:
        """Whether every activation so far was finite (and its fourth power in bounds), on the device."""
        return ~overflown(self.powers).any()

    def pending(self, batch: BatchEnd) -> Int[Tensor, " count"]:
        """1 if every activation so far was finite."""
        return self.finite().to(torch.int64).view(1)

    def settle(self, batch: BatchEnd, counts: list[int]) -> set[int]:
        """Refuse activations whose powers cannot be summed."""
        if not counts[0]:
            raise ActivationError("Some activations are too large to sum their fourth powers; try --dtype float32.")
        return set()

    @property
    def n_positions(self) -> int:
        """Positions counted."""
        return int(self.counted[0])

    @property
    def histogram(self) -> Int[np.ndarray, "neuron bin"]:
        """Positions in each bin."""
        return self.counts.view(-1, N_BINS).cpu().numpy()

    def merge(self, other: ActivationStatistics) -> None:
        self.powers = added(self.powers, other.powers)
        self.counted += other.counted
        self.counts += other.counts
        self.positive += other.positive
        self.minimum = torch.minimum(self.minimum, other.minimum)
        self.maximum = torch.maximum(self.maximum, other.maximum)

    def _limbs(self) -> Int[Tensor, "power limb neuron"]:
        return self.powers.permute(1, 2, 0, 3).reshape(4, LIMBS, -1).cpu()

    def columns(self) -> Columns:
        """The columns of `neuron` about activations. The standard deviation is the population's; skewness and kurtosis
        are NULL where it is zero; kurtosis is not excess (3 for a normal distribution)."""
        mean, std, skewness, kurtosis = statistics_of(self.n_positions, self._limbs()).numpy()
        return {
            "activation_mean": mean,
            "activation_std": std,
            "activation_skewness": nullable(skewness, np.float64),
            "activation_kurtosis": nullable(kurtosis, np.float64),
            "activation_min": self.minimum.cpu().numpy(),
            "activation_max": self.maximum.cpu().numpy(),
            "positive_fraction": self.positive.view(-1).cpu().numpy() / self.n_positions,
            "dead": self.histogram[:, ZERO_BIN] == self.n_positions,
        }

    def rows(self, texts: TextStore) -> Rows:
        histogram = self.histogram
        for neurons in slices(len(histogram), N_BINS):
            neuron, bin = np.nonzero(histogram[neurons])
            yield (
                "activation_histogram",
                {
                    "neuron_id": (neuron + neurons.start + self.first_neuron).astype(np.int32),
                    "bin": bin.astype(np.int16),
                    "n": histogram[neurons][neuron, bin],
                },
            )
        limbs = self._limbs().flatten(0, 1).T.contiguous().numpy()
        neuron = np.arange(self.first_neuron, self.first_neuron + len(limbs), dtype=np.int32)
        yield "activation_sum", {"neuron_id": neuron, "limbs": joined(list(limbs))}

    @classmethod
    def from_rows(cls, span: Span) -> ActivationStatistics:
        n = span.high - span.low
        statistics = cls(1, n, reduce=reduce_layer, first_neuron=span.low)
        statistics.counted[0] = span.info.n_positions
        neuron, bin, count = span.arrays("activation_histogram", "neuron_id", "bin", "n")
        statistics.counts[0, (neuron - span.low).long() * N_BINS + bin] = count
        limbs = span.rows("activation_sum")["limbs"].combine_chunks().flatten().to_numpy()
        statistics.powers[0] = torch.from_numpy(limbs.reshape(n, 4, LIMBS).transpose(1, 2, 0).copy())
        statistics.minimum, statistics.maximum, positive = span.arrays(
            "neuron", "activation_min", "activation_max", "positive_fraction"
        )
        # A whole number over n_positions, which a DOUBLE holds.
        statistics.positive[0] = (positive * span.info.n_positions).round().long()
        return statistics


def statistics_of(n: int, powers: Int[Tensor, "power limb neuron"]) -> Float[Tensor, "4 neuron"]:
    """Mean, standard deviation, skewness and kurtosis of n activations. Every processor rounds these operations alike,
    so a neuron's bits do not depend on the neurons computed with it."""
    mean, variance, third, fourth = torch.from_numpy(central_moments(n, powers.numpy()))
    # A constant rounds to a tiny spread; below a millionth of the mean, float32 cannot tell it from none.
    variance = torch.where(variance > 1e-12 * mean * mean, variance, torch.zeros_like(variance))
    return torch.stack([mean, variance.sqrt(), *standardise(variance, third, fourth)])
