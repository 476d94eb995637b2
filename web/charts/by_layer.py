"""A number by layer, with its interval: one chart for every statistic that is asked of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt

from atlas.core.display import show_number
from web.charts.axes import layer_axis
from web.charts.chart import Chart, Table, drawn, interval, interval_tips, rounded, rows_of, specification


@cache
def _spec(what: str, counted: str) -> dict[str, Any]:
    data = rows_of()
    tips = [
        alt.Tooltip("layer:O"),
        alt.Tooltip("value:Q", title=what, format=".3f"),
        *interval_tips(".3f"),
        alt.Tooltip("n:Q", title=counted, format=","),
    ]
    x = layer_axis()
    y = alt.Y("value:Q", title=what, scale=alt.Scale(zero=True))
    rules = data.mark_rule(strokeWidth=2, style="quiet").encode(x=x, y=alt.Y("low:Q"), y2="high:Q", tooltip=tips)
    points = data.mark_circle(size=45, style="accent").encode(x=x, y=y, tooltip=tips)
    return specification(alt.layer(rules, points, width="container", height=220))


def by_layer_chart(
    name: str, title: str, caption: str, what: str, layers: Sequence[Any], counts: Sequence[int], counted: str
) -> Chart:
    """The number `what` of each layer: records with `layer`, `value`, `low` and `high`, None where there is none.
    `counts` of `counted` things stand behind each."""
    numbers = list(zip(layers, counts, strict=True))
    rows = [
        {"layer": item.layer, "n": n, "value": rounded(item.value), **interval(item)}
        for item, n in numbers
        if item.value is not None
    ]
    table = tuple((item.layer, n, *map(show_number, (item.value, item.low, item.high))) for item, n in numbers)
    heads = ("layer", counted, what, "low", "high")
    return drawn(name, title, caption, _spec(what, counted), rows, Table(heads, table))
