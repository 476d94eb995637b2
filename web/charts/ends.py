"""A distribution with its ends named: bars of counts, a tick for each extreme unit, names on leader lines above."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import altair as alt

from web.charts.axes import counts_axis, sides_colour
from web.charts.chart import rounded, rows_of, specification

HEIGHT = 230

NAMED = {"top": 5, "bottom": 3}
"""Units with names at each end."""

_LINE = 14
"""Height of a name, pixels: names stand above the bars, the most extreme one highest."""

_AT = f"{_LINE} * datum.place + {_LINE / 2}"


@cache
def ends_spec(unit: str, quantity: str, format: str, named: tuple[str, ...]) -> dict[str, Any]:
    """Bars and ticks of `unit`s by `quantity`; `named` are the ends with names: Vega warns about a layer without
    rows."""
    x = alt.X(
        "value:Q",
        title=quantity,
        scale=alt.Scale(nice=False, padding=8, zero=False),
        axis=alt.Axis(grid=False, format=format or alt.Undefined),
    )
    most = max((NAMED[end] for end in named), default=0)
    bars = rows_of("bar").mark_bar(binSpacing=0, style="quiet")
    layers = [
        bars.encode(
            x=x,
            x2="upper:Q",
            y=counts_axis(f"{unit}s", _LINE * (most + 1)),
            y2=alt.datum(0),
            tooltip=[alt.Tooltip("range:N", title=quantity), alt.Tooltip("n:Q", title=f"{unit}s", format=",")],
        )
    ]
    value = alt.Tooltip("value:Q", title=quantity, format=".2%" if format else ".4~r")
    link = {"href": "url:N", "tooltip": [alt.Tooltip("name:N", title=unit), value]}
    ticks = rows_of().transform_filter("datum.kind != 'bar'").mark_tick(thickness=1.5, height=10, yOffset=-5)
    layers.append(ticks.encode(x=x, y=alt.datum(1), color=sides_colour("kind:N", "bottom", "bar", "top"), **link))
    for end in named:
        names = rows_of(end).transform_filter("isValid(datum.place)")
        side: Any = {"align": "right", "dx": -4} if end == "top" else {"align": "left", "dx": 4}
        leader = names.mark_rule(style="quiet", strokeWidth=0.75, y=alt.ExprRef(_AT), y2="height")
        words = names.mark_text(limit=150, y=alt.ExprRef(_AT), **side)
        layers += [leader.encode(x=x), words.encode(x=x, text="name:N", **link)]
    return specification(alt.layer(*layers, width="container", height=HEIGHT))


def bar_rows(bars: Iterable[Any], show: Any) -> list[dict[str, Any]]:
    """Rows of bars with `lower`, `upper` and `n`; `show` writes an edge."""
    return [
        {
            "kind": "bar",
            "value": rounded(bar.lower),
            "upper": rounded(bar.upper),
            "n": bar.n,
            "range": f"{show(bar.lower)} to {show(bar.upper)}",
        }
        for bar in bars
    ]


def end_rows(end: str, units: Sequence[tuple[str, float, str]], n_named: int) -> list[dict[str, Any]]:
    """Rows of the units (name, value, address) at the 'top' or 'bottom', the most extreme first; the first have
    names."""
    return [
        {"kind": end, "value": rounded(value), "name": name, "url": url} | ({"place": place} if place < n_named else {})
        for place, (name, value, url) in enumerate(units)
    ]
