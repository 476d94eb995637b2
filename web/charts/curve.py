"""Charts of prediction curves: the fraction of positions at which a token is predicted, or comes next, by
activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import altair as alt

from atlas.core.display import show_share
from atlas.core.stats import Z_95
from atlas.topics.curve import Curve, CurvePoint
from web.charts.axes import activation_axis, counts_axis, linear_part, series_colour
from web.charts.chart import (
    Chart,
    Series,
    Table,
    drawn_centre,
    drawn_edges,
    filled,
    interval_tips,
    rounded,
    rows_of,
    specification,
)

HEIGHT = 220

KINDS = ("predicted", "actual")
"""What is counted at a position: the token is the model's top prediction, or comes next."""

FRACTION = "datum.k / datum.n"

_END = (
    f"min(1, max(0, (datum.k + {Z_95**2 / 2} {{}} "
    f"{Z_95} * sqrt(datum.k * (datum.n - datum.k) / datum.n + {Z_95**2 / 4})) / (datum.n + {Z_95**2})))"
)
"""Expression for an end of Wilson's interval, as `wilson` has it: a page's rows hold counts only."""


@cache
def _spec(with_counts: bool) -> dict[str, Any]:
    data = rows_of()
    drawn = (
        data.transform_filter("indexof(shown, datum.label) >= 0")
        .transform_fold([*KINDS], as_=["kind", "k"])
        .transform_filter("more || datum.kind == 'predicted'")
    )
    points = drawn.transform_calculate(fraction=FRACTION, low=_END.format("-"), high=_END.format("+"))
    rates = drawn.transform_aggregate(k="sum(k)", n="sum(n)", groupby=["label", "kind"])
    rates = rates.transform_calculate(fraction=FRACTION, range="'any'")
    tips = [
        alt.Tooltip("label:N", title="curve"),
        alt.Tooltip("range:N", title="activation"),
        alt.Tooltip("n:Q", title="positions", format=","),
        alt.Tooltip("k:Q", title="of them", format=","),
        alt.Tooltip("kind:N", title="token"),
        alt.Tooltip("fraction:Q", title="fraction", format=".3~p"),
    ]
    domain = [alt.ExprRef("least"), alt.ExprRef("most")]
    x = activation_axis("centre", domain, "linear")
    colour = series_colour(alt.ExprRef("labels"))
    dash = alt.StrokeDash("kind:N", legend=None, scale=alt.Scale(domain=KINDS, range=[[1, 0], [5, 3]]))
    axis = alt.Axis(format="~%", values=[0, 0.25, 0.5, 0.75, 1])
    fraction: dict[str, Any] = {"title": "fraction of positions", "axis": axis, "scale": alt.Scale(domain=[0, 1])}
    y = alt.Y("fraction:Q", **fraction)
    # Points at zero have no intervals, which would hide those of other points.
    rules = points.transform_filter("datum.k > 0").mark_rule(strokeWidth=1, opacity=0.45)
    intervals = rules.encode(x=x, y=alt.Y("low:Q", **fraction), y2="high:Q", color=colour)
    lines = points.mark_line(point=True).encode(
        x=x, y=y, color=colour, strokeDash=dash, tooltip=[*tips, *interval_tips(".3~p")]
    )
    base = rates.mark_rule(strokeWidth=1.5, strokeDash=[1.5, 3]).encode(y=y, color=colour, tooltip=tips)
    layers = [alt.layer(base, intervals, lines)]
    if with_counts:
        counts = data.transform_filter("datum.counted").mark_bar(binSpacing=0, style="counts")
        layers.insert(
            0,
            counts.encode(
                x=activation_axis("lower", domain, "linear"),
                x2="upper:Q",
                y=counts_axis("positions", orient="right", grid=False, values=[0, 1, 100, 1e4, 1e6, 1e8]),
                y2=alt.datum(0),
                tooltip=tips[1:3],
            ),
        )
    layered = alt.layer(*layers, width="container", height=HEIGHT)
    layered = layered.resolve_scale(y="independent") if with_counts else layered
    return specification(layered.add_params(*map(_parameter, ("labels", "shown", "more", "least", "most", "linear"))))


def _parameter(name: str) -> Any:
    return alt.param(name=name, value=0)  # every chart gives values of its own


def _row(label: str, point: CurvePoint, counted: bool) -> dict[str, Any]:
    row = {
        "label": label,
        "centre": rounded(drawn_centre(point.lower, point.upper)),
        "range": point.range,
        "n": point.n,
        **{kind: getattr(point, f"n_{kind}") for kind in KINDS},
    }
    if counted:
        lower, upper = drawn_edges(point.lower, point.upper)
        row |= {"counted": True, "lower": lower, "upper": upper}
    return row


def base_rate(curve: Curve, kind: str) -> tuple[int, int]:
    """How many positions of all bins predict the token (are followed by it), and how many positions there are."""
    return sum(getattr(point, f"n_{kind}") for point in curve.points), sum(point.n for point in curve.points)


def _table(curves: Sequence[Curve], labels: Sequence[str], shared: bool) -> Table:
    bins = sorted({(point.bin, point.range) for curve in curves for point in curve.points})
    by_bin = [{point.bin: point for point in curve.points} for curve in curves]
    heads = ["activation"]
    rows: list[list[Any]] = [[text] for _, text in bins]
    if shared:
        heads.append("positions")
        for row, (number, _) in zip(rows, bins, strict=True):
            row.append(by_bin[0][number].n)
    for points, label in zip(by_bin, labels, strict=True):
        for kind in KINDS:
            heads.append(f"{kind}: {label}")
            for row, (number, _) in zip(rows, bins, strict=True):
                point = points.get(number)
                k = point and getattr(point, f"n_{kind}")
                row.append(k if shared or point is None else f"{k:,} of {point.n:,}")
    return Table(tuple(heads), tuple(map(tuple, rows)))


def curves_chart(
    name: str,
    curves: Sequence[Curve],
    *,
    title: str,
    label: Callable[[Curve], str],
    alone: Callable[[Curve], str] | None = None,
) -> Chart:
    """Curves of several pairs from 0 to 100%, each with its 95% Wilson intervals and its base rate, a dotted line.

    The fraction that is predicted is drawn at first, the fraction that really comes next on demand. With `alone`, the
    address that draws a curve alone, only the first curve is drawn at first; otherwise all are. Curves of one neuron
    have the positions behind each bin as pale bars on the right-hand axis.
    """
    labels = [label(curve) for curve in curves]
    shared = len({curve.candidate.neuron.neuron_id for curve in curves}) == 1
    rows = [
        _row(text, point, shared and place == 0)
        for place, (curve, text) in enumerate(zip(curves, labels, strict=True))
        for point in curve.points
    ]
    edges = [edge for curve in curves for point in curve.points for edge in drawn_edges(point.lower, point.upper)]
    series = tuple(
        Series(text, alone is None or place == 0, alone and alone(curve))
        for place, (curve, text) in enumerate(zip(curves, labels, strict=True))
    )
    caption = (
        "Fraction of positions at which the model predicts the token, by activation. Vertical lines are 95% Wilson "
        f"intervals, a dotted line is the fraction at all positions ({_rates(curves, series)})"
    )
    caption += ", pale bars are the positions behind each point (right-hand axis)." if shared else "."
    spec = filled(
        _spec(shared),
        rows,
        title,
        labels=labels,
        shown=[one.label for one in series if one.drawn],
        more=False,
        least=min(edges, default=0),
        most=max(edges, default=1),
        linear=linear_part(edges),
    )
    return Chart(name, title, caption, spec, _table(curves, labels, shared), series, "where it really comes next")


def _rates(curves: Sequence[Curve], series: Sequence[Series]) -> str:
    """The base rates of the curves that are drawn at first; the neurons of one token share its rate."""
    counts = {one.label: base_rate(curve, KINDS[0]) for curve, one in zip(curves, series, strict=True) if one.drawn}
    rates = {label: show_share(k / n) for label, (k, n) in counts.items() if n}
    if len(set(rates.values())) == 1:
        return next(iter(rates.values()))
    return ", ".join(f"{label} {rate}" for label, rate in rates.items())


def curve_charts(
    curves: Sequence[Curve],
    title: str,
    label: Callable[[Curve], str],
    alone: Callable[[Curve], str] | None = None,
) -> tuple[Chart, ...]:
    """The chart of a page's curves; none without curves."""
    return (curves_chart("predicted", curves, title=title, label=label, alone=alone),) if curves else ()
