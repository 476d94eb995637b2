"""Distributions of congruence: one neuron with every token, one token with every neuron by layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import altair as alt

from atlas.core.display import show_number
from atlas.core.units import NeuronRef, Token
from atlas.topics.spread import NeuronSpread, TokenSpread
from web.charts.axes import layer_axis, sides_colour
from web.charts.chart import Chart, Table, drawn, rounded, rows_of, specification
from web.charts.density import names_layers, spread_of, with_names
from web.charts.ends import NAMED, bar_rows, end_rows, ends_spec

HEIGHT = 230
LABELLED = 8
"""Outliers at each end with names."""


def token_spread_chart(spread: TokenSpread, title: str, url: Callable[[Token], str]) -> Chart:
    """The distribution of a neuron's congruence over the vocabulary, its outliers marked and the most extreme named."""
    rows = bar_rows(spread.bars, show_number)
    ends = {"top": spread.top, "bottom": spread.bottom}
    for end, items in ends.items():
        rows += end_rows(end, [(i.token.shown, i.congruence, url(i.token)) for i in items], NAMED[end])
    caption = (
        f"Congruence with each of the {spread.n:,} tokens; counts on a logarithmic axis. Marks are the "
        f"{len(spread.top)} best and worst, which lead to their pages. Mean {show_number(round(spread.mean, 6))}, "
        f"standard deviation {show_number(spread.std)}: the best lies "
        f"{show_number((spread.top[0].congruence - spread.mean) / (spread.std or 1), 3)} of them above the mean."
    )
    cells = [(b.lower, b.upper, b.n) for b in spread.bars]
    table = Table(("from", "to", "tokens"), tuple((show_number(low), show_number(high), n) for low, high, n in cells))
    named = tuple(end for end, items in ends.items() if items)
    return drawn("tokens", title, caption, ends_spec("token", "congruence", "", named), rows, table)


@cache
def _neurons_spec(sides: tuple[str, ...]) -> dict[str, Any]:
    x = layer_axis()

    def y(field: str) -> alt.Y:
        return alt.Y(field, title="congruence", scale=alt.Scale(zero=True))

    ranges = rows_of("layer")
    tips = [
        alt.Tooltip("layer:Q"),
        *(
            alt.Tooltip(f"{name}:Q", title=title, format=".3~r")
            for name, title in (("q6", "greatest"), ("q5", "99%"), ("q3", "median"), ("q1", "1%"), ("q0", "least"))
        ),
    ]
    wide = ranges.mark_rule(strokeWidth=3, style="counts").encode(x=x, y=y("q1:Q"), y2="q5:Q", tooltip=tips)
    middle = ranges.mark_rule(strokeWidth=5, style="quiet").encode(x=x, y=y("q2:Q"), y2="q4:Q", tooltip=tips)
    shown = [alt.Tooltip("name:N", title="neuron"), alt.Tooltip("value:Q", title="congruence", format=".4~r")]
    points = rows_of().transform_filter("datum.kind != 'layer'")
    dots = points.mark_circle(size=26, opacity=0.85).encode(
        x=x,
        y=y("value:Q"),
        href="url:N",
        tooltip=shown,
        color=sides_colour("kind:N", "bottom", "layer", "top"),
    )
    names = names_layers(points, x, y("value:Q"), sides, tooltip=shown)
    return specification(alt.layer(wide, middle, dots, *names, width="container", height=HEIGHT))


def neuron_spread_chart(spread: NeuronSpread, title: str, url: Callable[[NeuronRef], str]) -> Chart:
    """Congruence of every neuron with a token by layer (the original post's figure), the outliers named."""
    rows: list[dict[str, Any]] = []
    for layer in spread.layers:
        row = {"kind": "layer", "layer": layer.layer}
        rows.append(row | {f"q{place}": rounded(value) for place, value in enumerate(layer.quantiles)})
    points: list[dict[str, Any]] = [
        {
            "kind": outlier.direction,
            "layer": outlier.neuron.layer,
            "value": rounded(outlier.congruence),
            "name": outlier.neuron.name,
            "url": url(outlier.neuron),
        }
        for outlier in spread.outliers
    ]
    ends = points[:LABELLED] + [point for point in points[LABELLED:][-LABELLED:] if point["value"] < 0]
    room = len(spread.layers) / 5, spread_of(points, "value") / 18
    sides = with_names(ends, "layer", "value", *room, most=2 * LABELLED)
    rows += points
    caption = (
        "Congruence of every neuron with the token, by layer: half of a layer's neurons lie in the dark bar, 98% in "
        f"the pale one; the {len(spread.outliers)} farthest from zero are points, which lead to their pages."
    )
    heads = ("layer", "least", "1%", "25%", "median", "75%", "99%", "greatest")
    table = Table(heads, tuple((layer.layer, *map(show_number, layer.quantiles)) for layer in spread.layers))
    return drawn("neurons", title, caption, _neurons_spec(sides), rows, table)
