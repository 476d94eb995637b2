"""How sure proportions are."""

from __future__ import annotations

import numpy as np

Z_95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95% interval."""


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of the proportion k / n; (0, 1) where nothing was counted."""
    if n == 0:
        return 0.0, 1.0
    low, high = wilson_interval(np.float64(k), np.float64(n))
    return float(low), float(high)


def wilson_interval(k: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95% score interval of each k / n, n >= 1 (Wilson 1927, JASA 22:209); NaN where `n` is.

    Positions of one text are not independent, so that true intervals are wider.
    """
    p, square = k / n, Z_95 * Z_95
    centre = p + square / (2 * n)
    spread = Z_95 * np.sqrt(p * (1 - p) / n + square / (4 * n * n))
    scale = 1 + square / n
    # At k = 0 and k = n an end is exactly 0 or 1; rounding must not move it.
    low = np.where(k == 0, 0.0, np.maximum(0.0, (centre - spread) / scale))
    high = np.where(k == n, 1.0, np.minimum(1.0, (centre + spread) / scale))
    return np.where(np.isnan(n), np.nan, low), np.where(np.isnan(n), np.nan, high)
