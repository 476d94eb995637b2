"""Thresholds on a prediction curve: the positions beyond an activation, and how often the token is predicted there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from atlas.core.call import OF_NEURON, call
from atlas.core.db import Atlas
from atlas.core.parameter import Choice, NeuronId, TokenId
from atlas.core.statements import Statement
from atlas.core.stats import wilson
from atlas.core.term import Term
from atlas.topics.curve import BEST_CURVE, Curve, CurvePoint, neuron_curve


@dataclass(frozen=True)
class Threshold:
    """A threshold as a rule, "beyond `edge`, therefore the token", and how often it is right.

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


_BEYOND = """SELECT sum(n) AS n, sum(n_predicted) AS n_predicted, sum(n_predicted) / sum(n) AS precision,
       sum(n_predicted) / (SELECT nullif(sum(n_predicted), 0) FROM prediction_histogram
                           WHERE neuron_id = $neuron_id AND token_id = $token_id) AS recall
FROM prediction_curve
WHERE neuron_id = $neuron_id AND token_id = $token_id AND {beyond}"""

BEYOND = {
    "above": Statement(_BEYOND.format(beyond="lower >= $edge")),
    "below": Statement(_BEYOND.format(beyond="upper <= $edge")),
}
"""Counts beyond an edge of a curve, by side; pages sum them over the curve in memory."""


_Side = Annotated[str, Choice("Only thresholds of this side of zero.", tuple(BEYOND))]


@call(
    OF_NEURON + "/curves/{token}/thresholds",
    python='demo.neuron("{neuron}").thresholds({token})',
)
def curve_thresholds(
    atlas: Atlas, neuron_id: NeuronId, token_id: TokenId, side: _Side | None = None
) -> list[Threshold]:
    """For every edge of a curve's bins: how often the token is predicted beyond it. The most extreme come first,
    'above' zero before 'below'.

    Raises:
        PairError: the pair was not counted.
    """
    curve = neuron_curve(atlas, neuron_id, token_id)
    return [threshold for one in BEYOND if side in (None, one) for threshold in thresholds(curve, one)]


def thresholds(curve: Curve, side: str) -> list[Threshold]:
    """Every threshold at a bin's edge, with the counts beyond it: the most extreme first.

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


_BEST_BEYOND = (
    BEST_CURVE.rstrip()
    + """, beyond AS (
    SELECT sum(n) AS n, sum(n_predicted) AS k FROM curve WHERE lower >= 1
), everywhere AS (
    SELECT sum(n) AS n, sum(n_predicted) AS k FROM curve
)
"""
)

TERMS = (
    Term(
        "Wilson interval",
        "wilson",
        "95% score interval of a fraction k of n: its plausible values for much larger n. It assumes independent "
        "positions; those of one text are not, so true intervals are wider.",
        _BEST_BEYOND + "SELECT k, n, 1.959964 ** 2 AS z2, (k + z2 / 2) / (n + z2) AS centre,\n"
        "       1.959964 * sqrt(k * (n - k) / n + z2 / 4) / (n + z2) AS half,\n"
        "       greatest(0, centre - half) AS lower, least(1, centre + half) AS upper\nFROM everywhere",
        "Wilson, JASA 22 (1927), 209",
    ),
    Term(
        "Threshold",
        "threshold",
        "A bin's edge taken as a rule: where the activation is beyond it, say that the token is predicted. Counts are "
        "of whole bins, so they are exact.",
        _BEST_BEYOND + "SELECT 1 AS threshold, n AS positions, k AS predicted FROM beyond",
    ),
    Term(
        "Precision",
        "precision",
        "For a threshold: the fraction of the positions beyond it at which the token is predicted.",
        _BEST_BEYOND + "SELECT k / n AS precision FROM beyond",
    ),
    Term(
        "Recall",
        "recall",
        "For a threshold: the fraction of the token's predictions that lie beyond it. Most predictions may happen "
        "without the neuron.",
        _BEST_BEYOND + "SELECT beyond.k / nullif(everywhere.k, 0) AS recall FROM beyond, everywhere",
    ),
    Term(
        "Lift",
        "lift",
        "For a threshold: its precision over the fraction of all positions at which the token is predicted. 1: the "
        "activation says nothing.",
        _BEST_BEYOND + "SELECT (beyond.k / beyond.n) / nullif(everywhere.k / everywhere.n, 0) AS lift "
        "FROM beyond, everywhere",
    ),
    Term(
        "Rise",
        "rise",
        "The criterion of notable neurons: the fraction predicted in the activation's tail (whole bins from the "
        "pair's end until they hold 20 positions and as many as there are predictions) less the fraction anywhere.",
        BEST_CURVE.rstrip()
        + """, tail AS (
    SELECT n, n_predicted, sum(n) OVER (ORDER BY bin DESC) - n AS before, sum(n_predicted) OVER () AS wanted FROM curve
)
SELECT sum(n_predicted) / sum(n) - any_value(wanted) / (SELECT sum(n) FROM curve) AS rise
FROM tail WHERE before < greatest(wanted, 20)""",
    ),
)
