"""Moments of each neuron's congruence over the vocabulary, and how far it writes what the readout ignores."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ingest.model.weights import Readout


class Moments:
    """Moments of congruence over the vocabulary, float64: mean and variance follow from the readout's own mean and
    covariance, so they need no pass over neurons x tokens; third and fourth powers were summed in that pass."""

    def __init__(self, readout: Readout) -> None:
        columns = readout.columns.to(torch.float64)
        self.n = len(columns)
        self.mean = columns.mean(0)
        centred = columns - self.mean
        self.covariance = centred.T @ centred / self.n
        square = self.covariance + self.mean[:, None] * self.mean
        self.null_space = torch.linalg.eigh(square).eigenvectors[:, : max(1, len(square) // 100)]
        """The smallest singular directions of the readout, [d_model, d_model / 100], at least one."""

    def of(
        self, w_out: Float[Tensor, "row d_model"], third: Float[Tensor, " row"], fourth: Float[Tensor, " row"]
    ) -> dict[str, np.ndarray]:
        rows = w_out.to(torch.float64)
        variance = ((rows @ self.covariance) * rows).sum(1).clamp(min=0)
        skewness, kurtosis = standardise(variance, third.cpu() / self.n, fourth.cpu() / self.n)
        moments = {"mean": rows @ self.mean, "std": variance.sqrt(), "skewness": skewness, "kurtosis": kurtosis}
        return {name: values.numpy() for name, values in moments.items()}

    def null_fraction(self, w_out: Float[Tensor, "row d_model"]) -> np.ndarray:
        """Share of the squared norm of output weights in the null space; NaN for output weights that are zero."""
        rows = w_out.to(torch.float64)
        return ((rows @ self.null_space).square().sum(1) / rows.square().sum(1)).numpy()


def standardise(
    variance: Float[Tensor, " neuron"], third: Float[Tensor, " neuron"], fourth: Float[Tensor, " neuron"]
) -> tuple[Tensor, Tensor]:
    """Skewness and kurtosis from central moments; NaN where the variance is zero."""
    nan = torch.full_like(variance, torch.nan)
    spread = variance > 0
    skewness = torch.where(spread, third / (variance * variance.sqrt()), nan)
    return skewness, torch.where(spread, fourth / (variance * variance), nan)
