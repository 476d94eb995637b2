"""Histogram, moments, extremes and sign of every neuron's activation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from atlas.bins import N_BINS
from ingest.binning import bin_of

_STATE = ("counts", "moments", "positive", "minimum", "maximum")
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

    Moments are kept central and in float64 (mean, and sums of the 2nd to 4th powers of what differs from it), and
    tiles are merged into them by the formulas of Pébay, "Formulas for robust, one-pass parallel computation of
    covariances and arbitrary-order statistical moments" (2008): raw powers would drown a small spread in a large mean.
    """

    def __init__(self, n_layers: int, d_mlp: int, device: torch.device | str = "cpu") -> None:
        self.n_layers, self.d_mlp, self.device = n_layers, d_mlp, torch.device(device)
        neurons = n_layers * d_mlp
        self.counts: Int[Tensor, "layer cell"] = torch.zeros(n_layers, d_mlp * N_BINS, dtype=torch.int64, device=device)
        self.moments: Float[Tensor, "layer moment d_mlp"] = torch.zeros(
            n_layers, 4, d_mlp, dtype=torch.float64, device=device
        )
        """Mean, then sums of (activation - mean)^2, ^3, ^4."""
        self.counted = [0] * n_layers
        self.positive: Int[Tensor, "layer d_mlp"] = torch.zeros(n_layers, d_mlp, dtype=torch.int64, device=device)
        self.minimum: Float[Tensor, " neuron"] = torch.full((neurons,), torch.inf, device=device)
        self.maximum: Float[Tensor, " neuron"] = torch.full((neurons,), -torch.inf, device=device)
        self._offset = torch.arange(d_mlp, dtype=torch.int32, device=device) * N_BINS
        self._cells = torch.empty(0, dtype=torch.int32, device=device)

    def update(
        self, layer: int, activations: Float[Tensor, "pos d_mlp"], bins_out: UInt8[Tensor, "pos d_mlp"] | None = None
    ) -> None:
        """Add one batch's counted positions of a layer; `bins_out` receives the bin of each activation."""
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
            self.moments[layer] = merged(self.counted[layer], self.moments[layer], len(tile), _moments(tile))
            self.counted[layer] += len(tile)
            self.positive[layer] += (tile > 0).sum(0)
            part = slice(first, first + d_mlp)
            torch.maximum(self.maximum[part], tile.amax(0), out=self.maximum[part])
            torch.minimum(self.minimum[part], tile.amin(0), out=self.minimum[part])
        self._count(layer, cells.view(-1))

    def _count(self, layer: int, cells: Int[Tensor, " item"]) -> None:
        if self.device.type == "cpu":
            self.counts[layer] += torch.bincount(cells, minlength=self.counts.shape[1])
        else:  # bincount would make the host wait for the device; this does not.
            one = torch.ones((), dtype=torch.int64, device=self.device).expand(len(cells))
            self.counts[layer].scatter_add_(0, cells.to(torch.int64), one)

    @property
    def n_positions(self) -> int:
        """Positions counted."""
        return self.counted[0]

    def merge(self, other: ActivationStatistics) -> None:
        """Add another accumulator over other positions."""
        for layer in range(self.n_layers):
            self.moments[layer] = merged(
                self.counted[layer], self.moments[layer], other.counted[layer], other.moments[layer]
            )
            self.counted[layer] += other.counted[layer]
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
        mean, *sums = self.moments.transpose(0, 1).reshape(4, -1).cpu()
        variance, third, fourth = (total / max(self.n_positions, 1) for total in sums)
        # A constant rounds to a tiny spread; below a millionth of the mean, float32 cannot tell it from none.
        variance = torch.where(variance > 1e-12 * mean**2, variance, torch.zeros_like(variance))
        return ActivationResult(
            self.counts.view(-1, N_BINS).cpu(), mean, variance.sqrt(), *standardise(variance, third, fourth),
            self.minimum.cpu(), self.maximum.cpu(), self.positive.view(-1).cpu(),
        )  # fmt: skip


def _moments(tile: Float[Tensor, "pos d_mlp"]) -> Float[Tensor, "moment d_mlp"]:
    """Mean and central sums of one tile: powers in float32 about the tile's own mean, where nothing cancels."""
    n = len(tile)
    shift = tile.mean(0)
    part = tile - shift
    square = part * part
    sums = torch.stack([part.sum(0), square.sum(0), (square * part).sum(0), square.square_().sum(0)])
    e1, e2, e3, e4 = sums.to(torch.float64) / n
    # e1 is the rounding of `shift`; take it out of the other powers.
    m2, m3, m4 = e2 - e1**2, e3 - 3 * e1 * e2 + 2 * e1**3, e4 - 4 * e1 * e3 + 6 * e1**2 * e2 - 3 * e1**4
    return torch.stack([shift + e1, n * m2, n * m3, n * m4])


def merged(
    n_a: int, a: Float[Tensor, "moment d_mlp"], n_b: int, b: Float[Tensor, "moment d_mlp"]
) -> Float[Tensor, "moment d_mlp"]:
    """Moments of two samples together (Pébay 2008, equations 2.1 and 3.1)."""
    n = n_a + n_b
    if n_a == 0 or n_b == 0:
        return b.clone() if n_a == 0 else a.clone()
    mean_a, a2, a3, a4 = a
    mean_b, b2, b3, b4 = b
    d = mean_b - mean_a
    m2 = a2 + b2 + d**2 * (n_a * n_b / n)
    m3 = a3 + b3 + d**3 * (n_a * n_b * (n_a - n_b) / n**2) + 3 * d * (n_a * b2 - n_b * a2) / n
    m4 = (
        a4 + b4 + d**4 * (n_a * n_b * (n_a**2 - n_a * n_b + n_b**2) / n**3)
        + 6 * d**2 * (n_a**2 * b2 + n_b**2 * a2) / n**2 + 4 * d * (n_a * b3 - n_b * a3) / n
    )  # fmt: skip
    return torch.stack([mean_a + d * (n_b / n), m2, m3, m4])


def standardise(
    variance: Float[Tensor, " neuron"], third: Float[Tensor, " neuron"], fourth: Float[Tensor, " neuron"]
) -> tuple[Tensor, Tensor]:
    """Skewness and kurtosis from central moments; NaN where the variance is zero."""
    nan = torch.full_like(variance, torch.nan)
    spread = variance > 0
    skewness = torch.where(spread, third / variance**1.5, nan)
    return skewness, torch.where(spread, fourth / variance**2, nan)
