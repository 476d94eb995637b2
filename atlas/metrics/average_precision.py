"""Average precision of a binned score, and what binning leaves open."""

from __future__ import annotations

import numpy as np

_EXACT = 32
"""Harmonic numbers below this are summed; from here on the expansion is exact to float64."""
_HARMONIC = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, _EXACT + 1))])


def average_precision(n: np.ndarray, hits: np.ndarray, *, tied: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average precision, the mean over hits of the precision at the hit's own score: that of the binned score, and
    the least and the most that it can be for the unbinned one.

    Positions of equal score enter together (the sum of (R_i - R_{i-1}) * P_i over distinct scores). Take a level with
    h hits and m misses, below K positions with T hits. A hit whose score is cut at with a of its level's hits and b of
    its misses has precision (T + a) / (K + a + b).

    - Most: a = h, b = 0 for every hit, where all hits of the level share one score above its misses: h (T+h) / (K+h).
    - Least: the i-th hit down has a >= i, b <= m, so at least (T + i) / (K + m + i), which is reached where all misses
      are above and no two hits tie: the sum over i of 1 - (M - T) / (M + i), M = K + m, that is
      h - (M - T) (H(M + h) - H(M)) with harmonic numbers H.

    Both are reached by some scores, so that they cannot be narrowed. With `tied`, the last level is one score.

    Args:
        n: Positions by level, float64 [row, level], the highest score first.
        hits: Those of them with the outcome; at least one a row.
        tied: Whether the last level is one of exact ties.

    Returns:
        Estimate, lower and upper bound: each [row], 0 to 1.
    """
    ranked, found = np.cumsum(n, axis=1), np.cumsum(hits, axis=1)
    total = found[:, -1]
    grouped = hits * found / np.maximum(ranked, 1)
    most = hits * found / np.maximum(ranked - n + hits, 1)
    ahead = ranked - hits
    least = hits - (ahead - (found - hits)) * harmonic_difference(ahead, hits)
    if tied:
        most[:, -1] = least[:, -1] = grouped[:, -1]
    value, lower, upper = (terms.sum(axis=1) / total for terms in (grouped, least, most))
    return value, np.minimum(lower, value), np.maximum(upper, value)


def harmonic_difference(start: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """H(start + steps) - H(start), the sum of 1/i for `steps` whole numbers after `start`, without loss by
    cancellation; float64 arrays of whole numbers >= 0.

    From 32 on by the expansion of H (Abramowitz & Stegun 6.3.18), whose next term is below 1e-17 there.
    """
    end = start + steps
    low, high = (np.minimum(places, _EXACT).astype(np.int64) for places in (start, end))
    small = _HARMONIC[high] - _HARMONIC[low]
    start, end = np.maximum(start, _EXACT), np.maximum(end, _EXACT)
    return small + np.log1p((end - start) / start) + _tail(end) - _tail(start)


def _tail(number: np.ndarray) -> np.ndarray:
    """H(number) - log(number) - Euler's constant."""
    square = 1 / (number * number)
    return 1 / (2 * number) - square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
