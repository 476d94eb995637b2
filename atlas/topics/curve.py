"""Activation histograms, prediction curves of candidate pairs, and thresholds on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from atlas.core.bins import bin_edges
from atlas.core.db import Atlas
from atlas.core.display import show_range
from atlas.core.stats import wilson
from atlas.core.units import NeuronRef, Token, neuron_ref
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


Cells = Mapping[int, Mapping[int, tuple[int, int]]]
"""By token: by bin: how often it was predicted, and how often it came. Empty cells are left out."""

_TOKEN_CANDIDATES = """
SELECT c.neuron_id, c.congruence, c.source, coalesce(p.n_predicted, 0), coalesce(p.n_actual, 0)
FROM (SELECT * FROM candidate_pair WHERE token_id = $1) AS c
LEFT JOIN (
    SELECT neuron_id, sum(n_predicted)::BIGINT AS n_predicted, sum(n_actual)::BIGINT AS n_actual
    FROM prediction_histogram WHERE token_id = $1 GROUP BY ALL
) AS p USING (neuron_id)
ORDER BY c.congruence DESC, c.neuron_id
"""


def neuron_cells(atlas: Atlas, neuron_id: int) -> Cells:
    """What was counted of a neuron's pairs: one lookup for its candidates' totals and all its curves."""
    cells: dict[int, dict[int, tuple[int, int]]] = {}
    sql = "SELECT token_id, bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = ?"
    for token_id, bin, predicted, actual in atlas.rows(sql, neuron_id):
        cells.setdefault(token_id, {})[bin] = (predicted, actual)
    return cells


def neuron_candidates(atlas: Atlas, neuron_id: int, cells: Cells | None = None) -> list[Candidate]:
    """The pairs of a neuron that were counted, highest congruence first, with their totals over all bins.

    `cells` is what was counted of them, if it has been read.
    """
    cells = neuron_cells(atlas, neuron_id) if cells is None else cells
    neuron = neuron_ref(atlas, neuron_id)
    found = []
    sql = "SELECT token_id, congruence, source FROM candidate_pair WHERE neuron_id = ?"
    for token_id, congruence, source in atlas.rows(sql, neuron_id):
        counts = cells.get(token_id, {}).values()
        predicted, actual = sum(p for p, _ in counts), sum(a for _, a in counts)
        found.append(Candidate(neuron, atlas.tokens[token_id], congruence, tuple(source.split(",")), predicted, actual))
    return sorted(found, key=lambda candidate: (-candidate.congruence, candidate.token.token_id))


def token_candidates(atlas: Atlas, token_id: int) -> list[Candidate]:
    """The pairs of a token that were counted, highest congruence first, with their totals over all bins."""
    token = atlas.tokens[token_id]
    return [
        Candidate(neuron_ref(atlas, neuron_id), token, congruence, tuple(source.split(",")), predicted, actual)
        for neuron_id, congruence, source, predicted, actual in atlas.rows(_TOKEN_CANDIDATES, token_id)
    ]


def _curve(candidate: Candidate, bars: Iterable[HistogramBar], cells: Mapping[int, tuple[int, int]]) -> Curve:
    points = []
    for bar in bars:
        predicted, actual = cells.get(bar.bin, (0, 0))
        points.append(
            CurvePoint(bar.bin, *finite_edges(bar.bin), bar.n, predicted, actual, predicted / bar.n, actual / bar.n)
        )
    return Curve(candidate, tuple(points))


def neuron_curves(
    atlas: Atlas,
    neuron_id: int,
    candidates: Iterable[Candidate],
    bars: Iterable[HistogramBar],
    cells: Cells | None = None,
) -> list[Curve]:
    """Curves of some of a neuron's candidates, in their order; `bars` is the neuron's histogram, `cells` what was
    counted of its pairs, if it has been read."""
    cells = neuron_cells(atlas, neuron_id) if cells is None else cells
    bars = list(bars)
    return [_curve(candidate, bars, cells.get(candidate.token.token_id, {})) for candidate in candidates]


def token_curves(atlas: Atlas, candidates: Iterable[Candidate]) -> list[Curve]:
    """Curves of some of a token's candidates, in their order: two point lookups for each."""
    curves = []
    for candidate in candidates:
        neuron_id, token_id = candidate.neuron.neuron_id, candidate.token.token_id
        cells = atlas.rows(
            "SELECT bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = ? AND token_id = ?",
            neuron_id,
            token_id,
        )
        curves.append(_curve(candidate, histogram(atlas, neuron_id), {bin: (p, a) for bin, p, a in cells}))
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
    rows = atlas.rows("SELECT bin, n FROM activation_histogram WHERE neuron_id = ?", neuron_id)
    return [HistogramBar(bin, *finite_edges(bin), n) for bin, n in sorted(rows)]
