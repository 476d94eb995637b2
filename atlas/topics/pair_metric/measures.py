"""Measures of one pair and side, from counts by bin: average precision, AUROC, mutual information, slope and others."""

from __future__ import annotations

import numpy as np

from atlas.core.term import BEST_PAIR, Term

_EXACT = 32
"""Harmonic numbers below this are summed; from here on the expansion is exact to float64."""
_HARMONIC = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, _EXACT + 1))])


def average_precision(n: np.ndarray, hits: np.ndarray, *, tied: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average precision, the mean over hits of the precision at the hit's own score: its value for the binned score,
    and its bounds for the unbinned one.

    Positions of equal score enter together (the sum of (R_i - R_{i-1}) * P_i over distinct scores). Take a level with
    h hits and m misses, below K positions with T hits. A hit whose score is cut at with a of its level's hits and b of
    its misses has precision (T + a) / (K + a + b).

    - Most: a = h, b = 0 for every hit, where all hits of the level share one score above its misses: h (T+h) / (K+h).
    - Least: the i-th hit down has a >= i, b <= m, so at least (T + i) / (K + m + i), which is reached where all misses
      are above and no two hits tie: the sum over i of 1 - (M - T) / (M + i), M = K + m, that is
      h - (M - T) (H(M + h) - H(M)) with harmonic numbers H.

    Some scores reach each bound, so the bounds cannot be narrowed. With `tied`, the last level is one score.

    Args:
        n: Positions by level, float64 [row, level], the highest score first.
        hits: Those of them with the outcome; at least one a row.
        tied: Whether the last level is one of exact ties.

    Returns:
        Estimate, lower and upper bound: each [row], 0 to 1.
    """
    ranked, hits_so_far = np.cumsum(n, axis=1), np.cumsum(hits, axis=1)
    total = hits_so_far[:, -1]
    grouped = hits * hits_so_far / np.maximum(ranked, 1)
    most = hits * hits_so_far / np.maximum(ranked - n + hits, 1)
    ahead = ranked - hits
    least = hits - (ahead - (hits_so_far - hits)) * harmonic_difference(ahead, hits)
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


def mutual_information(n: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Mutual information of a position's level and its outcome, bits, [row], >= 0.

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
    """Monotonicity of the curve: the share of its variance between levels (weighted by positions) in the nearest curve
    that never falls as the score grows; 1: it never falls, 0: it never rises; [row].

    The nearest curve is the isotonic regression, found by pooling adjacent violators; the share is R squared against
    the curve itself, sums of squares as in the test statistic of Barlow, Bartholomew, Bremner & Brunk 1972,
    Statistical Inference under Order Restrictions, ch. 3. NaN where the curve is flat.
    """
    total, n_hits = n.sum(axis=1, keepdims=True), hits.sum(axis=1, keepdims=True)
    base = n_hits / total
    between = _squares(n, hits, base)
    rise = _squares(*pooled(n[:, ::-1], hits[:, ::-1]), base)
    chance = (n_hits * (1 - base))[:, 0]
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


def auroc(n: np.ndarray, hits: np.ndarray, *, tied: bool) -> tuple[np.ndarray, np.ndarray]:
    """Area under the ROC curve, and a bound on its difference from the area of the unbinned score.

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

    The cut falls within a level, and the histogram does not say which of its positions are above.

    Returns:
        Proportion if hits are spread evenly over that level, the least that it can be, and the most: each [row].
    """
    ranked = np.cumsum(n, axis=1)
    row = np.arange(len(n))
    cut = (ranked >= k[:, None]).argmax(axis=1)
    inside, level_hits = n[row, cut], hits[row, cut]
    missing = k - (ranked[row, cut] - inside)
    above = np.cumsum(hits, axis=1)[row, cut] - level_hits
    least = above + np.maximum(0.0, missing - (inside - level_hits))
    most = above + np.minimum(missing, level_hits)
    return (above + missing * level_hits / inside) / k, least / k, most / k


def best_threshold(n: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The cut between two levels of greatest F1, taking positions above it as those with the outcome; exact.

    F1 is the harmonic mean of precision and recall, 2 * hits above / (positions above + all hits) (van Rijsbergen
    1979, Information Retrieval, ch. 7). Only cuts that part the positions are looked at; of equals, the highest.

    Returns:
        The last level above the cut (-1: no cut parts them), positions above, hits above, F1 (NaN: no cut): [row].
    """
    ranked, hits_so_far = np.cumsum(n, axis=1), np.cumsum(hits, axis=1)
    parts = (n > 0) & (ranked < ranked[:, -1:])
    f1 = np.where(parts, 2 * hits_so_far / np.maximum(ranked + hits_so_far[:, -1:], 1), -1.0)
    row, level = np.arange(len(n)), f1.argmax(axis=1)
    best = f1[row, level]
    some = best >= 0
    return (
        np.where(some, level, -1),
        np.where(some, ranked[row, level], np.nan),
        np.where(some, hits_so_far[row, level], np.nan),
        np.where(some, best, np.nan),
    )


_OF_BEST_PAIR = "FROM best JOIN pair_metric USING (neuron_id, token_id) WHERE side = 'positive'"


def _metric(columns: str) -> str:
    return f"{BEST_PAIR}SELECT neuron, token, {columns}\n{_OF_BEST_PAIR}"


TERMS = (
    Term(
        "Support",
        "support",
        "The counts a pair needs for metrics of how well its neuron predicts its token: at least 10 counted "
        "positions with the outcome, 10 without, and 10 at which the neuron fires on the side. Below, metrics are "
        "NULL.",
        "SELECT side, count(*) AS pairs, count(auroc_predicted) AS with_support FROM pair_metric GROUP BY side "
        "ORDER BY side DESC",
    ),
    Term(
        "AUROC",
        "auroc",
        "Area under the ROC curve of the activation as a predictor of the positions at which a token is predicted (or "
        "comes next): the probability that such a position has a higher activation than another. 0.5 is chance, 0 "
        "the exact opposite. Positions of one bin tie; the error bounds what that leaves open.",
        _metric("auroc_predicted, auroc_predicted_error"),
        "Hanley and McNeil, Radiology 143 (1982), 29",
    ),
    Term(
        "Average precision",
        "average-precision",
        "Mean, over the positions at which the token is predicted, of the precision from their activation on. Unlike "
        "AUROC it requires that firing is rarely wrong; chance gives the base rate.",
        _metric("average_precision_predicted, base_rate_predicted"),
    ),
    Term(
        "Best F1",
        "best-f",
        "Greatest harmonic mean of precision and recall that a threshold at a bin's edge reaches.",
        _metric("best_f1_predicted, best_threshold_predicted, precision_predicted, recall_predicted"),
    ),
    Term(
        "Top 0.1%",
        "top-thousandth",
        "Of the 0.1% of positions of highest activation, the proportion at which the token is predicted; its lift is "
        "that over the base rate.",
        _metric("top_thousandth_predicted, lift_predicted"),
    ),
    Term(
        "Mutual information",
        "mutual-information",
        "Mutual information, in bits, of the activation's level and whether the token is predicted. Small for rare "
        "tokens, whose outcome has little entropy.",
        _metric("mutual_information_predicted"),
        "Shannon, Bell System Technical Journal 27 (1948), 379",
    ),
    Term(
        "Monotonicity",
        "monotonicity",
        "Share of the prediction curve's variance that the nearest never-falling curve has: 1 if more activation "
        "never makes the token less likely, 0 if it only falls.",
        _metric("monotonicity_predicted"),
    ),
)
