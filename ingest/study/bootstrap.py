"""Means over the pairs of a suite, with percentile bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32

_LOW, _HIGH = 0.025, 0.975
_CELLS = 1 << 22
"""Resampled means held at once."""


@dataclass(frozen=True)
class Means:
    """A value a column: NaN in `low` and `high` where there was one pair."""

    value: Float64[np.ndarray, " column"]
    low: Float64[np.ndarray, " column"]
    high: Float64[np.ndarray, " column"]
    n: Int32[np.ndarray, " column"]
    """Pairs that the column is a mean over."""


def means(values: Float32[np.ndarray, "pair column"], resamples: int, seed: int) -> Means:
    """Mean and 95% interval of each column over the pairs that have it (NaN: missing).

    Pairs are drawn with replacement by `numpy.random.default_rng(seed).integers(n, size=(resamples, n))`, the same
    draws for every column of as many pairs; the interval is from the 2.5th to the 97.5th percentile of their means.
    """
    there = ~np.isnan(values)
    columns = values.shape[1]
    out = Means(np.empty(columns), np.full(columns, np.nan), np.full(columns, np.nan), there.sum(0, dtype=np.int32))
    patterns, pattern_of = np.unique(there, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        at = np.flatnonzero(pattern_of == number)
        n = int(pattern.sum())
        rows = np.flatnonzero(pattern)
        if n > 1:
            draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
            weights = np.stack([np.bincount(draw, minlength=n) for draw in draws]) / n
        step = max(1, _CELLS // resamples)
        for part in (at[i : i + step] for i in range(0, len(at), step)):
            mine = values[np.ix_(rows, part)].astype(np.float64)
            out.value[part] = mine.mean(0)
            if n > 1:
                out.low[part], out.high[part] = np.quantile(mine.T @ weights.T, (_LOW, _HIGH), axis=1)
    return out
