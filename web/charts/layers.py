"""Congruence and activity by layer; every point leads to its layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import altair as alt

from atlas.display import show_number
from atlas.records import LayerSummary
from web.charts.chart import DATA, HEIGHT, Chart, Table, specification, with_rows

WHOLE = "datum.value == floor(datum.value) ? datum.value : ''"
"""Expression for an axis's labels: only whole numbers have one."""


@cache
def _spec(title: str) -> dict[str, Any]:
    chart = (
        alt.Chart(alt.NamedData(DATA), width="container", height=HEIGHT)
        .mark_line(point=alt.OverlayMarkDef(size=45, style="accent"), style="accent")
        .encode(
            x=alt.X("layer:Q", title="layer", axis=alt.Axis(labelExpr=WHOLE, tickMinStep=1, grid=False),
                    scale=alt.Scale(nice=False, padding=8)),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(tickCount=4), scale=alt.Scale(zero=True)),
            href="url:N",
            tooltip=[alt.Tooltip("layer:Q"), alt.Tooltip("value:Q", title=title, format=".4~r")],
        )
    )  # fmt: skip
    return specification(chart)


def layer_charts(layers: list[LayerSummary], url: Callable[[int], str]) -> tuple[Chart, Chart]:
    """Two charts over layers: mean best congruence, and mean standard deviation of the activation."""
    charts = []
    for name, field, title in (
        ("congruence", "best_congruence_mean", "mean best congruence"),
        ("activity", "activation_std", "mean std of activation"),
    ):
        values = [(layer.layer, getattr(layer, field)) for layer in layers]
        rows = [{"layer": number, "value": value, "url": url(number)} for number, value in values]
        table = Table(("layer", title), tuple((number, show_number(value)) for number, value in values))
        charts.append(Chart(name, f"{title[0].upper()}{title[1:]}, by layer", with_rows(_spec(title), rows), table))
    return charts[0], charts[1]
