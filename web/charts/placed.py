"""The activation histogram with the tokens of a text marked on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt

from atlas.topics.curve import HistogramBar
from web.charts.axes import activation_axis
from web.charts.chart import HEIGHT, Chart, Table, drawn, rounded, rows_of, specification
from web.charts.histogram import bar_rows, bars_layer

_ROOM = 18
"""Height for names above the bars."""


@cache
def _spec() -> dict[str, Any]:
    marks = rows_of().transform_filter("isValid(datum.at)")
    rules = marks.mark_rule(strokeWidth=1.5, opacity=0.75, style="accent").encode(
        x=activation_axis("at"),
        tooltip=[alt.Tooltip("token:N"), alt.Tooltip("position:Q"), alt.Tooltip("at:Q", title="activation")],
    )
    names = (
        rows_of()
        .transform_filter("isValid(datum.label)")
        .mark_text(align="left", dx=4, fontWeight="bold", y=_ROOM / 2)
        .encode(x=activation_axis("at"), text="label:N")
    )
    layers = alt.layer(bars_layer(_ROOM), rules, names).properties(width="container", height=HEIGHT)
    return specification(layers)


def placed_chart(bars: Sequence[HistogramBar], places: Sequence[tuple[int, str, float]], title: str) -> Chart:
    """A neuron's histogram over the atlas's data, a line at the activation of each token of a text.

    `places` are (position, token as it is shown, activation).
    """
    # Only the greatest on either side of zero: more names would overlap.
    sides = ([place for place in places if sign * place[2] > 0] for sign in (1, -1))
    named = {max(side, key=lambda place: (abs(place[2]), -place[0]))[0] for side in sides if side}
    marks = []
    for position, token, activation in places:
        mark = {"position": position, "token": token, "at": rounded(activation)}
        if position in named:
            mark["label"] = token
        marks.append(mark)
    caption = (
        "How often each activation occurs over the atlas’s data; a line is a token of the text. Both axes are "
        "logarithmic away from zero."
    )
    table = Table(("position", "token", "activation"), tuple(places))
    return drawn("place", title, caption, _spec(), [*bar_rows(bars), *marks], table)
