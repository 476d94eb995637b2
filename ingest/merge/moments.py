"""Moments of activations over all parts, from the mean, standard deviation, skewness and kurtosis over each."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float64
from torch import Tensor

from ingest.accumulators.activations import standardise
from ingest.reduction.reference import merged


def central_sums(n: int, statistics: Float64[Tensor, "4 neuron"]) -> Float64[Tensor, "moment neuron"]:
    """Mean, and sums over `n` positions of the 2nd to 4th powers of what differs from it.

    Args:
        n: Positions counted.
        statistics: Mean, standard deviation (population), skewness and kurtosis; the last two NaN where the standard
            deviation is zero.
    """
    mean, std, skewness, kurtosis = statistics
    third, fourth = (torch.where(std > 0, shape, 0.0) for shape in (skewness, kurtosis))
    return torch.stack([mean, n * std**2, n * third * std**3, n * fourth * std**4])


def merged_statistics(parts: Iterable[tuple[int, Float64[Tensor, "4 neuron"]]]) -> Float64[Tensor, "4 neuron"]:
    """Statistics (as `central_sums` takes them) over all positions, by the formulas of Pébay (2008).

    Equal to those of one run but for rounding in float64. A part in which a neuron hardly moves is the exception: its
    spread was written as zero, at most a millionth of its mean.

    Args:
        parts: Positions counted and statistics of each part.
    """
    (total, first), *others = parts
    moments = central_sums(total, first)
    for n, statistics in others:
        moments = merged(total, moments, n, central_sums(n, statistics))
        total += n
    mean, variance, third, fourth = moments[0], *(moments[1:] / total)
    # As one run does: below a millionth of the mean, float32 cannot tell a spread from none.
    variance = torch.where(variance > 1e-12 * mean**2, variance, 0.0)
    return torch.stack([mean, variance.sqrt(), *standardise(variance, third, fourth)])
