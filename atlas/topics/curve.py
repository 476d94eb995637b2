"""Activation histograms, prediction curves of candidate pairs, and thresholds on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from atlas.core.bins import bin_edges
from atlas.core.db import Atlas
from atlas.core.display import show_range
from atlas.core.statements import Statement
from atlas.core.stats import wilson
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.neuron import HISTOGRAM
from atlas.topics.pair import ExclusivePair


@dataclass(frozen=True)
class HistogramBar:
    """Counted positions `n` at which lower <= activation < upper; None is an open end."""

    bin: int
    lower: float | None
    upper: float | None
    n: int

    @property
    def range(self) -> str:
        """The bar's range in words."""
        return show_range(self.lower, self.upper)


@dataclass(frozen=True)
class CurvePoint:
    """One bin of a curve: of its `n` positions, how many predict the token and how many are followed by it."""

    bin: int
    lower: float | None
    upper: float | None
    n: int
    n_predicted: int
    n_actual: int
    predicted_fraction: float
    actual_fraction: float

    @property
    def range(self) -> str:
        """The bin's range in words."""
        return show_range(self.lower, self.upper)


@dataclass(frozen=True)
class Candidate:
    """A pair whose predictions were counted, and why: 'neuron_top', 'token_bottom', 'exclusive', 'user', ..."""

    neuron: NeuronRef
    token: Token
    congruence: float
    sources: tuple[str, ...]
    n_predicted: int
    n_actual: int


@dataclass(frozen=True)
class Curve:
    """Proportion predicted and actual against activation for one candidate pair, bins in order of activation."""

    candidate: Candidate
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class Threshold:
    """What lies beyond an activation: "beyond `edge`, therefore the token", and how often that is right.

    `side` 'above' means activation >= edge, 'below' activation < edge. Precision is the fraction of the `n` positions
    beyond it at which the token is predicted (with its 95% Wilson interval), recall the fraction of the token's
    predictions that lie beyond it (None: never predicted), lift precision over the fraction at all positions.
    """

    side: str
    edge: float
    n: int
    n_predicted: int
    n_actual: int
    precision: float
    precision_low: float
    precision_high: float
    recall: float | None
    lift: float | None
    actual_precision: float
    actual_recall: float | None


_CANDIDATES = """SELECT /*+n.name AS neuron, t."text" AS token, */c.congruence, c.source, /*+t.n_predicted, t.n_actual,
       */c.neuron_id, c.token_id/*+,
       m.auroc_predicted AS auroc, m.average_precision_predicted AS average_precision, e.probability_change AS ablated*/
FROM candidate_pair AS c/*+
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id)
LEFT JOIN pair_metric AS m ON m.neuron_id = c.neuron_id AND m.token_id = c.token_id
    AND m.side = CASE WHEN c.congruence < 0 AND (SELECT gated FROM atlas) THEN 'negative' ELSE 'positive' END
LEFT JOIN pair_effect AS e ON e.neuron_id = m.neuron_id AND e.token_id = m.token_id AND e.side = m.side*/
WHERE c.{unit} = ${unit}/*+
ORDER BY c.congruence DESC, c.neuron_id, c.token_id*/"""

NEURON_CANDIDATES = Statement(_CANDIDATES.format(unit="neuron_id"))
TOKEN_CANDIDATES = Statement(_CANDIDATES.format(unit="token_id"))

CURVES = Statement("""SELECT neuron, token, lower, upper, n, n_predicted, n_actual, predicted_fraction, actual_fraction
FROM prediction_curve
WHERE neuron_id IN (SELECT unnest($neuron_ids)) AND token_id IN (SELECT unnest($token_ids))
  AND list_contains($pairs, [neuron_id, token_id])
ORDER BY list_position($pairs, [neuron_id, token_id]), bin""")
"""Curves of pairs [neuron_id, token_id], in their order; pages make them of point lookups, which cost less."""

_BEYOND = """SELECT sum(n) AS n, sum(n_predicted) AS n_predicted, sum(n_predicted) / sum(n) AS precision,
       sum(n_predicted) / (SELECT nullif(sum(n_predicted), 0) FROM prediction_histogram
                           WHERE neuron_id = $neuron_id AND token_id = $token_id) AS recall
FROM prediction_curve
WHERE neuron_id = $neuron_id AND token_id = $token_id AND {beyond}"""

BEYOND = {
    "above": Statement(_BEYOND.format(beyond="lower >= $edge")),
    "below": Statement(_BEYOND.format(beyond="upper <= $edge")),
}
"""What lies beyond an edge of a curve, by side; pages sum it over the curve that they have made."""


def of_pairs(candidates: Iterable[Candidate]) -> dict[str, list]:
    """The parameters of CURVES for some pairs."""
    pairs = [[candidate.neuron.neuron_id, candidate.token.token_id] for candidate in candidates]
    neurons, tokens = ([*dict.fromkeys(pair[place] for pair in pairs)] for place in (0, 1))
    return {"neuron_ids": neurons, "token_ids": tokens, "pairs": pairs}


def neuron_candidates(atlas: Atlas, neuron_id: int) -> list[Candidate]:
    """The pairs of a neuron that were counted, highest congruence first, with their totals over all bins."""
    return _candidates(atlas, NEURON_CANDIDATES.rows(atlas, neuron_id=neuron_id))


def token_candidates(atlas: Atlas, token_id: int) -> list[Candidate]:
    """The pairs of a token that were counted, highest congruence first, with their totals over all bins.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    return _candidates(atlas, TOKEN_CANDIDATES.rows(atlas, token_id=token_id))


def _candidates(atlas: Atlas, rows: Iterable[tuple]) -> list[Candidate]:
    # A pair's totals over all bins are the token's own: every counted position is in some bin of a neuron.
    sql = "SELECT n_predicted, n_actual FROM token ORDER BY token_id"
    totals = atlas.shared("counts of tokens", lambda: atlas.arrays(sql).items())
    return [
        Candidate(neuron_ref(atlas, neuron_id), atlas.tokens[token_id], congruence, tuple(source.split(",")),
                  int(totals["n_predicted"][token_id]), int(totals["n_actual"][token_id]))
        for congruence, source, neuron_id, token_id in sorted(rows, key=lambda row: (-row[0], *row[2:]))
    ]  # fmt: skip


def curve_point(bin: int, n: int, n_predicted: int, n_actual: int) -> CurvePoint:
    """A point of a curve from what was counted in a bin."""
    return CurvePoint(bin, *finite_edges(bin), n, n_predicted, n_actual, n_predicted / n, n_actual / n)


def _curve(candidate: Candidate, bars: Iterable[HistogramBar], cells: Mapping[int, Sequence[int]]) -> Curve:
    return Curve(candidate, tuple(curve_point(bar.bin, bar.n, *cells.get(bar.bin, (0, 0))) for bar in bars))


def neuron_curves(
    atlas: Atlas, neuron_id: int, candidates: Iterable[Candidate], bars: Sequence[HistogramBar]
) -> list[Curve]:
    """Curves of some of a neuron's candidates, in their order, from one lookup; `bars` is the neuron's histogram."""
    cells: dict[int, dict[int, tuple[int, int]]] = {}
    sql = "SELECT token_id, bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = ?"
    for token_id, bin, predicted, actual in atlas.rows(sql, neuron_id):
        cells.setdefault(token_id, {})[bin] = (predicted, actual)
    return [_curve(candidate, bars, cells.get(candidate.token.token_id, {})) for candidate in candidates]


def token_curves(atlas: Atlas, candidates: Iterable[Candidate]) -> list[Curve]:
    """Curves of some candidates, in their order: two point lookups for each."""
    sql = "SELECT bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = ? AND token_id = ?"
    curves = []
    for candidate in candidates:
        neuron_id, token_id = candidate.neuron.neuron_id, candidate.token.token_id
        cells = {bin: counts for bin, *counts in atlas.rows(sql, neuron_id, token_id)}
        curves.append(_curve(candidate, histogram(atlas, neuron_id), cells))
    return curves


def pair_curves(atlas: Atlas, pairs: Iterable[ExclusivePair]) -> list[Curve]:
    """Curves of exclusive pairs, in their order: every exclusive pair is counted."""
    sql = "SELECT source FROM candidate_pair WHERE neuron_id = ? AND token_id = ?"
    candidates = []
    for pair in pairs:
        source = atlas.rows(sql, pair.neuron.neuron_id, pair.token.token_id)[0][0]
        # A pair's totals over all bins are the token's own: every counted position is in some bin.
        totals = (pair.n_predicted, pair.n_actual)
        candidates.append(Candidate(pair.neuron, pair.token, pair.congruence, tuple(source.split(",")), *totals))
    return token_curves(atlas, candidates)


def thresholds(curve: Curve, side: str) -> list[Threshold]:
    """Every threshold at a bin's edge, with what lies beyond it: the most extreme first.

    `side` 'above' takes the positions with activation >= edge, for the lower edges of bins above zero; 'below' those
    with activation < edge, for the upper edges of bins below zero. Bins are whole, so the counts are exact.
    """
    points = [point for point in curve.points if _is_on(point, side)]
    ordered = sorted(points, key=lambda point: point.bin, reverse=side == "above")
    total_n = sum(point.n for point in curve.points)
    totals = tuple(sum(getattr(point, name) for point in curve.points) for name in ("n_predicted", "n_actual"))
    return list(_cumulative(ordered, side, total_n, totals))


def _is_on(point: CurvePoint, side: str) -> bool:
    edge = point.lower if side == "above" else point.upper
    return edge is not None and (edge > 0 if side == "above" else edge < 0)


def _cumulative(points: Iterable[CurvePoint], side: str, total_n: int, totals: tuple[int, int]) -> Iterable[Threshold]:
    n = n_predicted = n_actual = 0
    for point in points:
        n, n_predicted, n_actual = n + point.n, n_predicted + point.n_predicted, n_actual + point.n_actual
        low, high = wilson(n_predicted, n)
        yield Threshold(
            side=side,
            edge=point.lower if side == "above" else point.upper,
            n=n,
            n_predicted=n_predicted,
            n_actual=n_actual,
            precision=n_predicted / n,
            precision_low=low,
            precision_high=high,
            recall=n_predicted / totals[0] if totals[0] else None,
            lift=(n_predicted / n) / (totals[0] / total_n) if totals[0] else None,
            actual_precision=n_actual / n,
            actual_recall=n_actual / totals[1] if totals[1] else None,
        )


@cache
def finite_edges(bin: int) -> tuple[float | None, float | None]:
    """Edges of a bin with None for an open end."""
    lower, upper = bin_edges(bin)
    return (None if math.isinf(lower) else lower), (None if math.isinf(upper) else upper)


def histogram(atlas: Atlas, neuron_id: int) -> list[HistogramBar]:
    """A neuron's activation histogram: the bins that are not empty, in order of activation."""
    bars = [HistogramBar(bin, *finite_edges(bin), n) for n, bin in HISTOGRAM.rows(atlas, neuron_id=neuron_id)]
    return sorted(bars, key=lambda bar: bar.bin)
