"""How well a score ranks positions that have an outcome (hits) above those that have not (misses).

All functions take `n` and `hits`, float64 [row, level]: positions of each level, and those of them with the outcome;
levels from the highest score to the lowest. Every row needs a hit and a miss. How positions are ordered within a level
is not known, unless `tied` says that the last level is one of exact ties.
"""

from __future__ import annotations

import numpy as np


def auroc(n: np.ndarray, hits: np.ndarray, *, tied: bool) -> tuple[np.ndarray, np.ndarray]:
    """Area under the ROC curve, and how far from it the area of the unbinned score may lie.

    The area is the probability that a hit scores above a miss, a tie counting half (Hanley & McNeil 1982, Radiology
    143:29): so pairs within a level count half, and may really count 0 or 1.

    Returns:
        Area and error, each [row], 0 to 1.
    """
    misses = n - hits
    above = np.cumsum(hits, axis=1) - hits
    pairs = hits.sum(axis=1) * misses.sum(axis=1)
    area = (misses * (above + hits / 2)).sum(axis=1) / pairs
    open_levels = slice(0, -1) if tied else slice(None)
    error = (hits * misses)[:, open_levels].sum(axis=1) / (2 * pairs)
    return area, error


def top_share(n: np.ndarray, hits: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Proportion of hits among the `k` positions of highest score, [row], 1 <= k <= positions.

    Of the level that the cut falls in, some positions are within; which, the histogram does not say.

    Returns:
        Proportion if hits are spread evenly over that level, the least that it can be, and the most: each [row].
    """
    ranked = np.cumsum(n, axis=1)
    row = np.arange(len(n))
    cut = (ranked >= k[:, None]).argmax(axis=1)
    inside, level_hits = n[row, cut], hits[row, cut]
    wanted = k - (ranked[row, cut] - inside)
    above = np.cumsum(hits, axis=1)[row, cut] - level_hits
    least = above + np.maximum(0.0, wanted - (inside - level_hits))
    most = above + np.minimum(wanted, level_hits)
    return (above + wanted * level_hits / inside) / k, least / k, most / k


def best_threshold(n: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The cut between two levels of greatest F1, taking positions above it as those with the outcome; exact.

    F1 is the harmonic mean of precision and recall, 2 * hits above / (positions above + all hits) (van Rijsbergen
    1979, Information Retrieval, ch. 7). Only cuts that part the positions are looked at; of equals, the highest.

    Returns:
        The last level above the cut (-1: no cut parts them), positions above, hits above, F1 (NaN: no cut): [row].
    """
    ranked, found = np.cumsum(n, axis=1), np.cumsum(hits, axis=1)
    parts = (n > 0) & (ranked < ranked[:, -1:])
    f1 = np.where(parts, 2 * found / np.maximum(ranked + found[:, -1:], 1), -1.0)
    row, level = np.arange(len(n)), f1.argmax(axis=1)
    best = f1[row, level]
    some = best >= 0
    return (
        np.where(some, level, -1),
        np.where(some, ranked[row, level], np.nan),
        np.where(some, found[row, level], np.nan),
        np.where(some, best, np.nan),
    )
