"""Distribution of k-occurrence: how many neurons (and tokens) are in at least x lists."""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from typing import Any

import altair as alt

from atlas.core.display import show_share
from atlas.topics.hub import Occurrence
from web.charts.axes import SHORT, series_colour
from web.charts.chart import HEIGHT, Chart, Series, Table, filled, rounded, rows_of, specification

_POINTS_PER_OCTAVE = 4
_POWERS = [10**power for power in range(7)]
"""Labels of the axes: Vega's logarithmic axis would have too many."""


@cache
def _spec() -> dict[str, Any]:
    log = alt.Scale(type="log", nice=False)
    chart = (
        rows_of()
        .properties(width="container", height=HEIGHT)
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "occurrence:Q", title="lists", scale=log, axis=alt.Axis(labelExpr=SHORT, values=_POWERS, grid=False)
            ),
            y=alt.Y(
                "share:Q",
                title="share in at least x lists",
                scale=log,
                axis=alt.Axis(format="~%", values=[1 / power for power in _POWERS]),
            ),
            color=series_colour(),
            tooltip=[
                alt.Tooltip("label:N", title="of"),
                alt.Tooltip("occurrence:Q", title="lists, at least", format=","),
                alt.Tooltip("n:Q", title="how many", format=","),
                alt.Tooltip("share:Q", format=".3~%"),
            ],
        )
    )
    return specification(chart)


def _points(occurrence: Occurrence) -> list[tuple[int, int]]:
    """(x, units in at least x lists) at x = 1 and up to the greatest, at most four an octave."""
    below = dict(
        zip([value for value, _ in occurrence.counts], accumulate(n for _, n in occurrence.counts), strict=True)
    )
    steps = {1, occurrence.greatest}
    x = 1.0
    while x < occurrence.greatest:
        steps.add(round(x))
        x *= 2 ** (1 / _POINTS_PER_OCTAVE)
    points, seen, values = [], 0, iter(sorted(below))
    value = next(values, None)
    for step in sorted(steps):
        while value is not None and value < step:
            seen, value = below[value], next(values, None)
        points.append((step, occurrence.n_units - seen))
    return points


def occurrence_chart(neurons: Occurrence, tokens: Occurrence) -> Chart:
    """Both distributions, cumulative from above, both axes logarithmic; units in no list are not drawn."""
    data = [
        (what, x, n, n / occurrence.n_units)
        for what, occurrence in ((f"neurons, k = {neurons.k}", neurons), (f"tokens, k = {tokens.k}", tokens))
        for x, n in _points(occurrence)
    ]
    rows = [{"label": what, "occurrence": x, "n": n, "share": rounded(share)} for what, x, n, share in data]
    return Chart(
        "occurrence",
        "How many lists of the best contain them?",
        "Share of neurons that are among the k best of at least x tokens, and of tokens among the k best of at "
        "least x neurons. Without hubs the lines would drop steeply just beyond the mean.",
        filled(_spec(), rows, "k-occurrence of neurons and tokens"),
        Table(
            ("of", "lists, at least", "how many", "share"),
            tuple((what, x, n, show_share(share)) for what, x, n, share in data),
        ),
        tuple(map(Series, dict.fromkeys(what for what, *_ in data))),
    )
