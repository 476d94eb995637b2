"""General statistics: Wilson intervals, rank correlations, bootstrap over clusters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Z_95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95% interval."""


def number_or_none(value: float) -> float | None:
    """A number, or None for NaN."""
    return None if math.isnan(value) else float(value)


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of the proportion k / n; (0, 1) where nothing was counted."""
    if n == 0:
        return 0.0, 1.0
    low, high = _score_interval(k, n, math.sqrt)
    return 0.0 if k == 0 else max(0.0, low), 1.0 if k == n else min(1.0, high)


def wilson_interval(k: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95% score interval of each k / n, n >= 1; NaN where `n` is.

    Positions of one text are not independent, so that true intervals are wider.
    """
    low, high = _score_interval(k, n, np.sqrt)
    # At k = 0 and k = n an end is exactly 0 or 1; rounding must not move it.
    low = np.where(k == 0, 0.0, np.maximum(0.0, low))
    high = np.where(k == n, 1.0, np.minimum(1.0, high))
    return np.where(np.isnan(n), np.nan, low), np.where(np.isnan(n), np.nan, high)


def _score_interval(k: Any, n: Any, root: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Both ends, not bounded (Wilson 1927, JASA 22:209); numbers, or arrays with a root of arrays."""
    p, square = k / n, Z_95 * Z_95
    centre = p + square / (2 * n)
    spread = Z_95 * root(p * (1 - p) / n + square / (4 * n * n))
    scale = 1 + square / n
    return (centre - spread) / scale, (centre + spread) / scale


RESAMPLES = 200
"""Number of bootstrap resamples of the clusters for an interval."""

LEVELS = 4096
"""Most levels of a variable in a resample: with more, neighbours in rank are tied. That moves coefficients in the fifth
decimal (tested), far less than resampling does, and replaces sorting by counting."""


def _groups(values: np.ndarray) -> np.ndarray:
    """The group of equal values that each value is in, from the least up, int32 [value]."""
    return np.unique(values, return_inverse=True)[1].astype(np.int32)


def _ranks(group: np.ndarray, weight: np.ndarray, n: int) -> tuple[np.ndarray, float]:
    """Mean rank of each of `n` groups less the mean of all, where each value counts `weight` times; and the ranks'
    weighted sum of squares."""
    size = np.bincount(group, weight, n)
    end = np.cumsum(size)
    rank = end - size / 2 - end[-1] / 2
    return rank, float(np.einsum("i,i,i->", size, rank, rank))  # not by BLAS, whose threads cost more than they save


def _levels(values: np.ndarray) -> tuple[np.ndarray, int]:
    """A variable as at most LEVELS levels of about equal size, and the number of levels; few groups stay as they
    are."""
    group = _groups(values)
    n = int(group.max()) + 1
    if n <= LEVELS:
        return group, n
    rank, _ = _ranks(group, np.ones(len(group)), n)
    return ((rank / len(values) + 0.5) * LEVELS).astype(np.int64)[group], LEVELS


def _correlations(levels: Sequence[tuple[np.ndarray, int]], weight: np.ndarray) -> list[float]:
    """Correlation of each variable's ranks with the last variable's."""
    *ranked, (target, target_squares) = (_ranks(level, weight, n) for level, n in levels)
    *places, target_level = (level for level, _ in levels)
    weighted = weight * target[target_level]
    correlations = []
    for level, (rank, squares) in zip(places, ranked, strict=True):
        spread = (squares * target_squares) ** 0.5
        correlations.append(float(np.einsum("i,i->", rank[level], weighted)) / spread if spread > 0 else np.nan)
    return correlations


def spearman(variables: Sequence[np.ndarray], outcome: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each variable with the outcome, float64 [variable]; equal values share their mean
    rank. NaN: fewer than two values, or all of them are equal."""
    if len(outcome) < 2:
        return np.full(len(variables), np.nan)
    # One after another: each takes several times the memory of its values.
    target, weight = _groups(outcome), np.ones(len(outcome))
    last = target, int(target.max()) + 1
    correlations = []
    for values in variables:
        group = _groups(values)
        correlations += _correlations([(group, int(group.max()) + 1), last], weight)
    return np.array(correlations)


def bootstrap_spearman(
    variables: Sequence[np.ndarray],
    outcome: np.ndarray,
    cluster: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Spearman's rank correlations of resamples, float64 [resample, variable]. A resample draws as many clusters as
    there are, with replacement, each with all its values, and ranks them again. The variables of a row share a
    resample, so their differences are paired.

    Args:
        variables: each [value].
        outcome: [value].
        cluster: the cluster of each value, any integers, [value].
        resamples: number of resamples.
        seed: seed of the generator; the same seed gives the same answer.
    """
    if len(outcome) < 2:
        return np.full((resamples, len(variables)), np.nan)
    names, member = np.unique(cluster, return_inverse=True)
    levels = [_levels(values) for values in (*variables, outcome)]
    random = np.random.default_rng(seed)
    correlations = np.empty((resamples, len(variables)))
    for row in correlations:
        drawn = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        row[:] = _correlations(levels, drawn.astype(np.float64)[member])
    return correlations


def bootstrap_ratio(
    over: np.ndarray, under: np.ndarray, cluster: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Ratios of the sums of two variables, [value], in resamples of the clusters, float64 [resample]; NaN: the second
    sum is 0. A resample draws as many clusters as there are, with replacement, each with all its values."""
    names, member = np.unique(cluster, return_inverse=True)
    sums = np.array([np.bincount(member, values, len(names)) for values in (over, under)])
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    above, below = sums[:, drawn].sum(axis=2)
    return np.divide(above, below, out=np.full(resamples, np.nan), where=below != 0)


def interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """The 95% percentile interval of resampled values; None where more than one in ten resamples has no value."""
    known = values[~np.isnan(values)]
    if len(known) < 0.9 * len(values) or not len(known):
        return None, None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
