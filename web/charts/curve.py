"""Predictions against activation: is the token predicted, and does it come, where the neuron fires?"""

from __future__ import annotations

from functools import cache
from typing import Any

import altair as alt

from atlas.records import Curve
from web.charts.chart import (
    DATA,
    HEIGHT,
    SHORT,
    Chart,
    Table,
    activation_axis,
    drawn_centre,
    drawn_edges,
    specification,
    with_rows,
)

_WHAT = ["predicted", "actual"]


@cache
def _spec() -> dict[str, Any]:
    base = alt.Chart(alt.NamedData(DATA))
    tooltip = [
        alt.Tooltip("range:N", title="activation"),
        alt.Tooltip("n:Q", title="positions", format=","),
        alt.Tooltip("n_predicted:Q", title="predicted", format=","),
        alt.Tooltip("n_actual:Q", title="actual", format=","),
    ]
    counts = base.mark_bar(binSpacing=0, style="counts").encode(
        x=activation_axis("lower"),
        x2="upper:Q",
        y=alt.Y("n:Q", title="positions", scale=alt.Scale(type="symlog", constant=1), axis=alt.Axis(
            orient="right", grid=False, values=[0, 1, 100, 1e4, 1e6, 1e8], labelExpr=SHORT)),
        y2=alt.datum(0),
        tooltip=tooltip,
    )  # fmt: skip
    lines = (
        base.transform_fold(["predicted_fraction", "actual_fraction"], as_=["kind", "fraction"])
        .transform_calculate(what="datum.kind == 'actual_fraction' ? 'actual' : 'predicted'")
        .mark_line(point=True, interpolate="linear")
        .encode(
            x=activation_axis("centre"),
            y=alt.Y("fraction:Q", title="fraction", scale=alt.Scale(domainMin=0, domainMax=alt.ExprRef("ceiling")),
                    axis=alt.Axis(format="~%", tickCount=4)),
            color=alt.Color("what:N", title=None, legend=alt.Legend(orient="top"), sort=_WHAT,
                            scale=alt.Scale(domain=_WHAT, range="category")),
            strokeDash=alt.StrokeDash("what:N", title=None, legend=alt.Legend(orient="top"), sort=_WHAT,
                                      scale=alt.Scale(domain=_WHAT, range=[[1, 0], [4, 3]])),
            tooltip=[*tooltip[:2], alt.Tooltip("what:N", title="line"), alt.Tooltip("fraction:Q", format=".3%")],
        )
    )  # fmt: skip
    layered = alt.layer(counts, lines, width="container", height=HEIGHT).resolve_scale(y="independent")
    layered = layered.add_params(alt.param(name="ceiling", value=1))
    return specification(layered)


def curve_chart(name: str, curve: Curve) -> Chart:
    """One candidate pair's curve; the pale bars are the positions behind each point, on the right-hand axis."""
    rows = []
    for point in curve.points:
        lower, upper = drawn_edges(point.lower, point.upper)
        rows.append(
            {
                "lower": lower,
                "upper": upper,
                "centre": drawn_centre(point.lower, point.upper),
                "range": point.range,
                "n": point.n,
                "n_predicted": point.n_predicted,
                "n_actual": point.n_actual,
                "predicted_fraction": point.predicted_fraction,
                "actual_fraction": point.actual_fraction,
            }
        )
    heads = ("activation", "positions", "predicted", "actual", "predicted of positions", "actual of positions")
    table = tuple(
        (p.range, p.n, p.n_predicted, p.n_actual, f"{p.predicted_fraction:.2%}", f"{p.actual_fraction:.2%}")
        for p in curve.points
    )
    # A curve that is zero throughout lies on the axis, not in the middle of an empty scale.
    ceiling = max((max(p.predicted_fraction, p.actual_fraction) for p in curve.points), default=0.0) or 0.01
    spec = {**with_rows(_spec(), rows), "params": [{"name": "ceiling", "value": ceiling}]}
    return Chart(name, "", spec, Table(heads, table))
