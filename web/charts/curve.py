"""Charts of prediction curves: the fraction of positions at which a token is predicted, or comes next, by
activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import altair as alt

from atlas.core.stats import wilson
from atlas.topics.curve import Curve, CurvePoint
from web.charts.chart import (
    DATA,
    HEIGHT,
    SHORT,
    Chart,
    Table,
    activation_axis,
    drawn_centre,
    drawn_edges,
    filled,
    rounded,
    specification,
)

KINDS = ("predicted", "actual")


@cache
def _spec(kind: str, with_counts: bool) -> dict[str, Any]:
    base = alt.Chart(alt.NamedData(DATA))
    tooltip = [
        alt.Tooltip("label:N", title="pair"),
        alt.Tooltip("range:N", title="activation"),
        alt.Tooltip("n:Q", title="positions", format=","),
        alt.Tooltip("k:Q", title=kind, format=","),
        alt.Tooltip("fraction:Q", format=".3%"),
        alt.Tooltip("low:Q", title="95% interval from", format=".3%"),
        alt.Tooltip("high:Q", title="to", format=".3%"),
    ]
    x = activation_axis("centre")
    colour = alt.Color(
        "label:N",
        title=None,
        sort=None,
        legend=alt.Legend(orient="top", columns=3, symbolOpacity=1),
        scale=alt.Scale(range="category"),
    )
    y = alt.Y(
        "fraction:Q",
        title=f"fraction {kind}",
        axis=alt.Axis(format="~%", tickCount=4),
        scale=alt.Scale(domainMin=0, domainMax=alt.ExprRef("ceiling"), clamp=True),
    )
    lines = base.mark_line(point=True).encode(x=x, y=y, color=colour, tooltip=tooltip)
    # Points at zero have no intervals, which would hide those of other points.
    seen = alt.condition("datum.k > 0", alt.value(0.45), alt.value(0))
    low = alt.Y("low:Q", title=f"fraction {kind}")
    intervals = base.mark_rule(strokeWidth=1).encode(
        x=x, y=low, y2="high:Q", color=colour, opacity=seen, tooltip=tooltip
    )
    # The threshold of the explorer; the page's script moves it.
    mark = base.mark_rule(style="accent", strokeDash=[4, 3], opacity=alt.ExprRef("isNumber(threshold) ? 0.9 : 0"))
    threshold = mark.transform_sample(1).transform_calculate(centre="isNumber(threshold) ? threshold : 0").encode(x=x)
    layers = [alt.layer(intervals, lines, threshold)]
    if with_counts:
        counts = (
            base.transform_filter("datum.counted")
            .mark_bar(binSpacing=0, style="counts")
            .encode(
                x=activation_axis("lower"),
                x2="upper:Q",
                y=alt.Y(
                    "n:Q",
                    title="positions",
                    scale=alt.Scale(type="symlog", constant=1),
                    axis=alt.Axis(orient="right", grid=False, values=[0, 1, 100, 1e4, 1e6, 1e8], labelExpr=SHORT),
                ),
                y2=alt.datum(0),
                tooltip=[tooltip[1], tooltip[2]],
            )
        )
        layers.insert(0, counts)
    layered = alt.layer(*layers, width="container", height=HEIGHT)
    layered = layered.resolve_scale(y="independent") if with_counts else layered
    return specification(
        layered.add_params(alt.param(name="ceiling", value=1), alt.param(name="threshold", value=None))
    )


def _row(label: str, point: CurvePoint, k: int, counted: bool) -> dict[str, Any]:
    low, high = wilson(k, point.n)
    row = {
        "label": label,
        "centre": rounded(drawn_centre(point.lower, point.upper)),
        "range": point.range,
        "n": point.n,
        "k": k,
        "fraction": rounded(k / point.n),
        "low": rounded(low),
        "high": rounded(high),
    }
    if counted:
        lower, upper = drawn_edges(point.lower, point.upper)
        row |= {"counted": True, "lower": lower, "upper": upper}
    return row


def _table(curves: Sequence[Curve], labels: Sequence[str], kind: str, shared: bool) -> Table:
    bins = sorted({(point.bin, point.range) for curve in curves for point in curve.points})
    by_bin = [{point.bin: point for point in curve.points} for curve in curves]
    heads = ["activation"]
    rows: list[list[Any]] = [[text] for _, text in bins]
    if shared:
        heads.append("positions")
    for points, label in zip(by_bin, labels, strict=True):
        heads.append(f"{kind}: {label}")
        for row, (number, _) in zip(rows, bins, strict=True):
            point = points.get(number)
            if shared and len(row) == 1:
                row.append(point.n)
            if point is None:
                row.append(None)
            else:
                k = getattr(point, f"n_{kind}")
                row.append(k if shared else f"{k:,} of {point.n:,}")
    return Table(tuple(heads), tuple(map(tuple, rows)))


def ceiling_of(curves: Sequence[Curve]) -> float:
    """Top of the fraction axis, for both kinds: the greatest fraction that is not noise, plus a tenth.

    A point counts with the lower end of its interval doubled, so that one prediction at one position does not flatten
    every line; curves that are zero throughout lie on the axis, not in the middle of an empty scale.
    """
    tops = [
        min(k / point.n, 2 * wilson(k, point.n)[0] + 0.01)
        for curve in curves
        for point in curve.points
        for k in (point.n_predicted, point.n_actual)
    ]
    return min(1.0, 1.1 * max(tops, default=0.0)) or 0.01


def curves_chart(
    name: str,
    curves: Sequence[Curve],
    *,
    title: str,
    label: Callable[[Curve], str],
    kind: str = "predicted",
    ceiling: float | None = None,
) -> Chart:
    """Curves of several pairs on shared axes, each with its 95% Wilson intervals.

    `kind` is 'predicted' (the model's top prediction) or 'actual' (the token that comes next). Curves of one neuron
    have the positions behind each bin as pale bars on the right-hand axis.
    """
    labels = [label(curve) for curve in curves]
    shared = len({curve.candidate.neuron.neuron_id for curve in curves}) == 1
    rows = [
        _row(text, point, getattr(point, f"n_{kind}"), counted=shared and place == 0)
        for place, (curve, text) in enumerate(zip(curves, labels, strict=True))
        for point in curve.points
    ]
    top = ceiling_of(curves) if ceiling is None else ceiling
    caption = (
        "Fraction of positions at which the model predicts the token"
        if kind == "predicted"
        else "Fraction of positions after which the token comes next"
    )
    caption += ", by activation; vertical lines are 95% Wilson intervals"
    caption += ", pale bars the positions behind each point (right-hand axis)." if shared else "."
    spec = filled(_spec(kind, shared), rows, title, ceiling=top, threshold=None)
    return Chart(name, title, caption, spec, _table(curves, labels, kind, shared))


def family_charts(
    name: str, curves: Sequence[Curve], labels: Sequence[str], title: Callable[[str], str]
) -> tuple[Chart, ...]:
    """Both charts of a token's curve and its family's, 'predicted' and 'actual', with one scale."""
    ceiling, names = ceiling_of(curves), {id(curve): text for curve, text in zip(curves, labels, strict=True)}
    return tuple(
        curves_chart(
            f"{name}-{kind}",
            curves,
            title=title(kind),
            label=lambda curve: names[id(curve)],
            kind=kind,
            ceiling=ceiling,
        )
        for kind in KINDS
    )


def curve_charts(
    curves: Sequence[Curve], title: Callable[[str], str], label: Callable[[Curve], str]
) -> tuple[Chart, ...]:
    """Both charts of some curves, 'predicted' and 'actual', with one scale; none without curves."""
    ceiling = ceiling_of(curves)
    return tuple(
        curves_chart(kind, curves, title=title(kind), label=label, kind=kind, ceiling=ceiling)
        for kind in KINDS
        if curves
    )
