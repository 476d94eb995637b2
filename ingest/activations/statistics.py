"""Histogram, moments, extremes and sign of every neuron's activation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from atlas.core.bins import N_BINS
from ingest.activations.reduction.choice import layer_reducer
from ingest.activations.reduction.exact import LIMBS, added, central_moments, overflown
from ingest.activations.reduction.reference import LayerSums, Runs
from ingest.activations.reduction.trust import Reduce

_STATE = ("counts", "powers", "positive", "minimum", "maximum")


@dataclass(frozen=True)
class ActivationResult:
    """Per neuron, over counted positions. Standard deviation is the population's; skewness and kurtosis are NaN where
    it is zero; kurtosis is not excess (3 for a normal distribution)."""

    histogram: Int[Tensor, "neuron bin"]
    mean: Float[Tensor, " neuron"]
    std: Float[Tensor, " neuron"]
    skewness: Float[Tensor, " neuron"]
    kurtosis: Float[Tensor, " neuron"]
    minimum: Float[Tensor, " neuron"]
    maximum: Float[Tensor, " neuron"]
    positive: Int[Tensor, " neuron"]
    powers: Int[Tensor, "power limb neuron"]


class ActivationStatistics:
    """Accumulates layer by layer: `update(layer, activations, ...)` for the counted positions of one batch.

    Powers are summed in fixed point (`ingest.activations.reduction.exact`), so that their sums, and the moments that
    follow, do not depend on the order of texts, on batches, or on how many processes share them. `reduce` is the work
    of one layer (`ingest.activations.reduction`); the device chooses it unless it is given."""

    def __init__(
        self, n_layers: int, d_mlp: int, device: torch.device | str = "cpu", reduce: Reduce | None = None
    ) -> None:
        self.n_layers, self.d_mlp, self.device = n_layers, d_mlp, torch.device(device)
        neurons = n_layers * d_mlp
        self.counts: Int[Tensor, "layer cell"] = torch.zeros(n_layers, d_mlp * N_BINS, dtype=torch.int64, device=device)
        self.powers: Int[Tensor, "layer power limb d_mlp"] = torch.zeros(
            n_layers, 4, LIMBS, d_mlp, dtype=torch.int64, device=device
        )
        """Sums of the 1st to 4th powers, in limbs."""
        self.counted = [0] * n_layers
        self.positive: Int[Tensor, "layer d_mlp"] = torch.zeros(n_layers, d_mlp, dtype=torch.int64, device=device)
        self.minimum: Float[Tensor, " neuron"] = torch.full((neurons,), torch.inf, device=device)
        self.maximum: Float[Tensor, " neuron"] = torch.full((neurons,), -torch.inf, device=device)
        self._reduce = reduce or layer_reducer(self.device)

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

    def sums(self, layer: int) -> LayerSums:
        """One layer's part, as views."""
        part = slice(layer * self.d_mlp, (layer + 1) * self.d_mlp)
        return LayerSums(
            self.counts[layer], self.powers[layer], self.positive[layer], self.minimum[part], self.maximum[part]
        )

    def finite(self) -> Bool[Tensor, ""]:
        """Whether every activation so far was finite (and its fourth power in bounds), on the device."""
        return ~overflown(self.powers).any()

    @property
    def n_positions(self) -> int:
        """Positions counted."""
        return self.counted[0]

    def merge(self, other: ActivationStatistics) -> None:
        """Add another accumulator over other positions."""
        self.powers = added(self.powers, other.powers)
        self.counted = [ours + theirs for ours, theirs in zip(self.counted, other.counted, strict=True)]
        self.counts += other.counts
        self.positive += other.positive
        self.minimum = torch.minimum(self.minimum, other.minimum)
        self.maximum = torch.maximum(self.maximum, other.maximum)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to go on, as tensors."""
        return {"counted": torch.tensor(self.counted), **{name: getattr(self, name) for name in _STATE}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.counted = state["counted"].tolist()
        for name in _STATE:
            getattr(self, name).copy_(state[name])

    def result(self) -> ActivationResult:
        """Statistics so far, a row a neuron, on the CPU."""
        limbs = self.powers.permute(1, 2, 0, 3).reshape(4, LIMBS, -1).cpu()
        return ActivationResult(
            self.counts.view(-1, N_BINS).cpu(), *statistics_of(self.n_positions, limbs),
            self.minimum.cpu(), self.maximum.cpu(), self.positive.view(-1).cpu(), limbs,
        )  # fmt: skip


def statistics_of(n: int, powers: Int[Tensor, "power limb neuron"]) -> Float[Tensor, "4 neuron"]:
    """Mean, standard deviation, skewness and kurtosis of n activations. By operations that every processor rounds
    alike, so that they are the same bits in whatever company a neuron is computed."""
    mean, variance, third, fourth = torch.from_numpy(central_moments(n, powers.numpy()))
    # A constant rounds to a tiny spread; below a millionth of the mean, float32 cannot tell it from none.
    variance = torch.where(variance > 1e-12 * mean * mean, variance, torch.zeros_like(variance))
    return torch.stack([mean, variance.sqrt(), *standardise(variance, third, fourth)])


def standardise(
    variance: Float[Tensor, " neuron"], third: Float[Tensor, " neuron"], fourth: Float[Tensor, " neuron"]
) -> tuple[Tensor, Tensor]:
    """Skewness and kurtosis from central moments; NaN where the variance is zero."""
    nan = torch.full_like(variance, torch.nan)
    spread = variance > 0
    skewness = torch.where(spread, third / (variance * variance.sqrt()), nan)
    return skewness, torch.where(spread, fourth / (variance * variance), nan)
