"""The activation histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import altair as alt

from atlas.topics.curve import HistogramBar
from web.charts.axes import activation_axis, counts_axis, series_colour, sides_colour
from web.charts.chart import HEIGHT, Chart, Series, Table, drawn, drawn_edges, filled, rows_of, specification


def bars_layer(top: int = 0) -> alt.Chart:
    """The bars, from the edges, counts and signs of the data, below `top` pixels of room."""
    return (
        rows_of()
        .properties(width="container", height=HEIGHT)
        .mark_bar(binSpacing=0, stroke=None)
        .encode(
            x=activation_axis("lower"),
            x2="upper:Q",
            y=counts_axis("positions", top),
            y2=alt.datum(0),
            color=sides_colour("sign:N", "negative", "zero", "positive"),
            tooltip=[alt.Tooltip("range:N", title="activation"), alt.Tooltip("n:Q", title="positions", format=",")],
        )
    )


@cache
def _spec() -> dict[str, Any]:
    return specification(bars_layer())


@cache
def _lines_spec() -> dict[str, Any]:
    lines = (
        rows_of()
        .properties(width="container", height=HEIGHT)
        .mark_line(interpolate="step", strokeWidth=1.5)
        .encode(
            x=activation_axis("centre"),
            y=counts_axis("positions"),
            color=series_colour(),
            tooltip=[
                alt.Tooltip("label:N", title="neuron"),
                alt.Tooltip("range:N", title="activation"),
                alt.Tooltip("n:Q", title="positions", format=","),
            ],
        )
    )
    return specification(lines)


def _sign(lower: float, upper: float) -> str:
    return "zero" if lower < 0 < upper else "positive" if lower > 0 else "negative"


def bar_rows(bars: Sequence[HistogramBar]) -> list[dict[str, Any]]:
    """The data of `bars_layer`."""
    rows = []
    for bar in bars:
        lower, upper = drawn_edges(bar.lower, bar.upper)
        rows.append({"lower": lower, "upper": upper, "n": bar.n, "range": bar.range, "sign": _sign(lower, upper)})
    return rows


def histogram_chart(bars: Sequence[HistogramBar], title: str) -> Chart:
    """How often the activation falls in each bin; counts on a logarithmic axis."""
    rows = bar_rows(bars)
    caption = "How often each activation occurs. Both axes are logarithmic away from zero; a bar is a quarter octave."
    table = Table(("activation", "positions"), tuple((bar.range, bar.n) for bar in bars))
    return drawn("histogram", title, caption, _spec(), rows, table)


def histograms_chart(histograms: Mapping[str, Sequence[HistogramBar]], title: str) -> Chart:
    """Histograms of several neurons, by label, on shared axes."""
    rows = []
    for label, bars in histograms.items():
        for bar in bars:
            lower, upper = drawn_edges(bar.lower, bar.upper)
            centre = 0.0 if lower < 0 < upper else (lower + upper) / 2
            rows.append({"label": label, "centre": centre, "n": bar.n, "range": bar.range})
    bins = sorted({(bar.bin, bar.range) for bars in histograms.values() for bar in bars})
    counts = [{bar.bin: bar.n for bar in bars} for bars in histograms.values()]
    table = Table(
        ("activation", *histograms), tuple((text, *(n.get(number, 0) for n in counts)) for number, text in bins)
    )
    caption = "How often each activation occurs. Both axes are logarithmic away from zero; a step is a quarter octave."
    series = tuple(map(Series, histograms))
    return Chart("histograms", title, caption, filled(_lines_spec(), rows, title), table, series)
