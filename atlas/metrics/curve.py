"""The curve of a pair, its proportion of hits by level: how much it tells, how steep it is, whether it only rises.

All functions take `n` and `hits`, float64 [row, level]: positions of each level, and those of them with the outcome;
levels from the highest score to the lowest.
"""

from __future__ import annotations

import numpy as np


def mutual_information(n: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Bits that the level of a position tells about its outcome, [row], >= 0.

    At most what the score itself tells, for levels are made from it (data processing inequality: Cover & Thomas 2006,
    Elements of Information Theory, 2.8). Estimated by the observed proportions, which is too high by about
    (levels - 1) / (2 ln 2 positions) (Miller 1955).
    """
    total = n.sum(axis=1, keepdims=True)
    bits = np.zeros(len(n))
    for part in (hits, n - hits):
        expected = n * (part.sum(axis=1, keepdims=True) / total)
        ratio = np.divide(part, expected, out=np.ones_like(part), where=part > 0)
        bits += (part * np.log2(ratio)).sum(axis=1)
    return np.maximum(bits / total[:, 0], 0.0)


def slope(n: np.ndarray, hits: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Least-squares slope of the proportion of hits against the score, each level weighted by its positions: [row].

    The same as regressing each position's outcome, 0 or 1, on its level's score. NaN where all are in one level.

    Args:
        n: Positions.
        hits: Those with the outcome.
        score: Score that stands for each level, [level].
    """
    total = n.sum(axis=1, keepdims=True)
    apart = score - (n * score).sum(axis=1, keepdims=True) / total
    spread = (n * apart * apart).sum(axis=1)
    several = (n > 0).sum(axis=1) > 1
    return np.divide((hits * apart).sum(axis=1), spread, out=np.full(len(n), np.nan), where=several)


def monotonicity(n: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """How much of the curve is a rise: the share of its variance between levels (weighted by positions) that is left in
    the nearest curve that never falls as the score grows; 1: it never falls, 0: it never rises; [row].

    The nearest curve is the isotonic regression, found by pooling adjacent violators; the share is R squared against
    the curve itself, sums of squares as in the test statistic of Barlow, Bartholomew, Bremner & Brunk 1972,
    Statistical Inference under Order Restrictions, ch. 3. NaN where the curve is flat.
    """
    total, found = n.sum(axis=1, keepdims=True), hits.sum(axis=1, keepdims=True)
    base = found / total
    between = _squares(n, hits, base)
    rise = _squares(*pooled(n[:, ::-1], hits[:, ::-1]), base)
    chance = (found * (1 - base))[:, 0]
    return np.divide(np.minimum(rise, between), between, out=np.full(len(n), np.nan), where=between > 1e-12 * chance)


def _squares(n: np.ndarray, hits: np.ndarray, base: np.ndarray) -> np.ndarray:
    apart = hits - n * base
    return np.divide(apart * apart, n, out=np.zeros_like(apart), where=n > 0).sum(axis=1)


def pooled(n: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of the isotonic regression of proportions, levels from the lowest score: positions and hits of each block,
    [row, level], filled from the left; their proportions never fall.

    Pool adjacent violators (Ayer, Brunk, Ewing, Reid & Silverman 1955), each row a stack of blocks, all rows at once.
    """
    size = np.zeros(len(n), dtype=np.int64)
    block_n, block_hits = np.zeros(n.shape), np.zeros(n.shape)
    for level in range(n.shape[1]):
        rows = np.flatnonzero(n[:, level] > 0)
        block_n[rows, size[rows]] = n[rows, level]
        block_hits[rows, size[rows]] = hits[rows, level]
        size[rows] += 1
        rows = rows[size[rows] > 1]
        while len(rows):
            last = size[rows] - 1
            low_n, low_hits = block_n[rows, last - 1], block_hits[rows, last - 1]
            high_n, high_hits = block_n[rows, last], block_hits[rows, last]
            falls = low_hits * high_n > high_hits * low_n
            rows, last = rows[falls], last[falls]
            block_n[rows, last - 1] += high_n[falls]
            block_hits[rows, last - 1] += high_hits[falls]
            block_n[rows, last] = block_hits[rows, last] = 0
            size[rows] -= 1
            rows = rows[size[rows] > 1]
    return block_n, block_hits
