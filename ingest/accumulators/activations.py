"""Histogram, moments, extremes and sign of every neuron's activation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from atlas.bins import N_BINS
from ingest.binning import bin_of

ROW_TILE = 256  # Positions a tile: 256 x 1536 float32 stays in a core's cache while it is read several times.


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


class ActivationStatistics:
    """Accumulates layer by layer: `update(layer, activations)` for the counted positions of one batch.

    Powers are summed in float32 within a tile of positions and in float64 across tiles.
    """

    def __init__(self, n_layers: int, d_mlp: int, device: torch.device | str = "cpu") -> None:
        self.n_layers, self.d_mlp, self.device = n_layers, d_mlp, torch.device(device)
        neurons = n_layers * d_mlp
        self.n_positions = 0
        self.counts: Int[Tensor, "layer cell"] = torch.zeros(n_layers, d_mlp * N_BINS, dtype=torch.int64, device=device)
        self.powers: Float[Tensor, "layer power d_mlp"] = torch.zeros(
            n_layers, 4, d_mlp, dtype=torch.float64, device=device
        )
        self.positive: Int[Tensor, "layer d_mlp"] = torch.zeros(n_layers, d_mlp, dtype=torch.int64, device=device)
        self.minimum: Float[Tensor, " neuron"] = torch.full((neurons,), torch.inf, device=device)
        self.maximum: Float[Tensor, " neuron"] = torch.full((neurons,), -torch.inf, device=device)
        self._offset = torch.arange(d_mlp, dtype=torch.int32, device=device) * N_BINS
        self._cells = torch.empty(0, dtype=torch.int32, device=device)

    def update(
        self, layer: int, activations: Float[Tensor, "pos d_mlp"], bins_out: Int[Tensor, "pos d_mlp"] | None = None
    ) -> None:
        """Add one batch's counted positions of a layer; `bins_out` (uint8) receives the bin of each activation."""
        n, d_mlp = activations.shape
        if self._cells.numel() < n * d_mlp:
            self._cells = torch.empty(n * d_mlp, dtype=torch.int32, device=self.device)
        cells = self._cells[: n * d_mlp].view(n, d_mlp)
        first = layer * d_mlp
        for start in range(0, n, ROW_TILE):
            rows = slice(start, start + ROW_TILE)
            tile = activations[rows]
            bins = bin_of(tile)
            if bins_out is not None:
                bins_out[rows] = bins
            torch.add(bins, self._offset, out=cells[rows])
            square = tile * tile
            self.powers[layer, 0] += tile.sum(0)
            self.powers[layer, 1] += square.sum(0)
            self.powers[layer, 2] += (square * tile).sum(0)
            self.powers[layer, 3] += square.square_().sum(0)
            self.positive[layer] += (tile > 0).sum(0)
            part = slice(first, first + d_mlp)
            torch.maximum(self.maximum[part], tile.amax(0), out=self.maximum[part])
            torch.minimum(self.minimum[part], tile.amin(0), out=self.minimum[part])
        self._count(layer, cells.view(-1))
        if layer == 0:
            self.n_positions += n

    def _count(self, layer: int, cells: Int[Tensor, " item"]) -> None:
        if self.device.type == "cpu":
            self.counts[layer] += torch.bincount(cells, minlength=self.counts.shape[1])
        else:  # bincount would make the host wait for the device; this does not.
            one = torch.ones((), dtype=torch.int64, device=self.device).expand(len(cells))
            self.counts[layer].scatter_add_(0, cells.to(torch.int64), one)

    def merge(self, other: ActivationStatistics) -> None:
        """Add another accumulator over other positions."""
        self.n_positions += other.n_positions
        self.counts += other.counts
        self.powers += other.powers
        self.positive += other.positive
        self.minimum = torch.minimum(self.minimum, other.minimum)
        self.maximum = torch.maximum(self.maximum, other.maximum)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to go on, as tensors."""
        return {
            "n_positions": torch.tensor(self.n_positions),
            **{name: getattr(self, name) for name in ("counts", "powers", "positive", "minimum", "maximum")},
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.n_positions = int(state["n_positions"])
        for name in ("counts", "powers", "positive", "minimum", "maximum"):
            getattr(self, name).copy_(state[name])

    def result(self) -> ActivationResult:
        """Statistics so far, a row a neuron, on the CPU."""
        powers = self.powers.transpose(0, 1).reshape(4, -1).cpu() / max(self.n_positions, 1)
        mean, std, skewness, kurtosis = standardised(powers)
        return ActivationResult(
            self.counts.view(-1, N_BINS).cpu(), mean, std, skewness, kurtosis,
            self.minimum.cpu(), self.maximum.cpu(), self.positive.view(-1).cpu(),
        )  # fmt: skip


def standardised(raw: Float[Tensor, "power neuron"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, standard deviation, skewness and kurtosis from the means of the first four powers, float64."""
    m1, m2, m3, m4 = raw
    variance = (m2 - m1**2).clamp(min=0)
    # Rounding leaves a constant a tiny variance; below this it cannot be told from zero.
    variance = torch.where(variance > 1e-12 * m2, variance, torch.zeros_like(variance))
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    return m1, variance.sqrt(), *standardise(variance, third, fourth)


def standardise(
    variance: Float[Tensor, " neuron"], third: Float[Tensor, " neuron"], fourth: Float[Tensor, " neuron"]
) -> tuple[Tensor, Tensor]:
    """Skewness and kurtosis from central moments; NaN where the variance is zero."""
    nan = torch.full_like(variance, torch.nan)
    spread = variance > 0
    skewness = torch.where(spread, third / variance**1.5, nan)
    return skewness, torch.where(spread, fourth / variance**2, nan)
