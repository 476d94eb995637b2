"""The threshold explorer: "it fires beyond here, therefore the token is predicted", and how often that is right."""

from __future__ import annotations

from collections.abc import Iterable

from atlas.measures.wilson import wilson
from atlas.records import Curve, CurvePoint, Threshold


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
