"""The activation histogram."""

from __future__ import annotations

from functools import cache
from typing import Any

import altair as alt

from atlas.records import HistogramBar
from web.charts.chart import DATA, HEIGHT, SHORT, Chart, Table, activation_axis, drawn_edges, specification, with_rows

SIGNS = ["negative", "zero", "positive"]


@cache
def _spec() -> dict[str, Any]:
    bars = (
        alt.Chart(alt.NamedData(DATA), width="container", height=HEIGHT)
        .mark_bar(binSpacing=0, stroke=None)
        .encode(
            x=activation_axis("lower"),
            x2="upper:Q",
            y=alt.Y("n:Q", title="positions", scale=alt.Scale(type="symlog", constant=1), axis=alt.Axis(
                values=[0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9], labelExpr=SHORT, labelOverlap="greedy")),
            y2=alt.datum(0),
            color=alt.Color("sign:N", legend=None, scale=alt.Scale(domain=SIGNS, range="diverging")),
            tooltip=[alt.Tooltip("range:N", title="activation"), alt.Tooltip("n:Q", title="positions", format=",")],
        )
    )  # fmt: skip
    return specification(bars)


def _row(bar: HistogramBar) -> dict[str, Any]:
    lower, upper = drawn_edges(bar.lower, bar.upper)
    sign = "zero" if lower < 0 < upper else "positive" if lower > 0 else "negative"
    return {"lower": lower, "upper": upper, "n": bar.n, "range": bar.range, "sign": sign}


def histogram_chart(bars: list[HistogramBar]) -> Chart:
    """How often the activation falls in each bin; counts on a logarithmic axis."""
    return Chart(
        "histogram",
        "How often each activation occurs. Both axes are logarithmic away from zero; a bar is a quarter octave.",
        with_rows(_spec(), [_row(bar) for bar in bars]),
        Table(("activation", "positions"), tuple((bar.range, bar.n) for bar in bars)),
    )
