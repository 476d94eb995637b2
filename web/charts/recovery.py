"""The neurons that a study patched: the distribution of their recovery, and recovery against direct effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import altair as alt

from atlas.core.display import show_number, show_share
from atlas.core.units import NeuronRef
from atlas.topics.study.neurons import direct_share
from atlas.topics.study.records import Study, StudyNeuron, StudyNeurons
from web.charts.chart import DATA, HEIGHT, Chart, Table, filled, rounded, specification

SHOWN = 15
"""Most bars of single neurons."""

NAMED = 8
"""Most points of the scatter with names."""


@cache
def _bars_spec(n_bars: int, with_intervals: bool) -> dict[str, Any]:
    data = alt.Chart(alt.NamedData(DATA))
    tips = [
        alt.Tooltip("name:N", title="neuron"),
        alt.Tooltip("value:Q", title="recovery", format=".2%"),
        alt.Tooltip("rank:Q", title="place"),
    ]
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=90))
    x = alt.X("value:Q", title="recovery", axis=alt.Axis(format="~%", tickCount=6), scale=alt.Scale(zero=True))
    bars = data.mark_bar().encode(
        x=x,
        y=y,
        href="url:N",
        tooltip=tips,
        color=alt.Color("sign:N", legend=None, scale=alt.Scale(domain=["less", "none", "more"], range="diverging")),
        opacity=alt.condition("datum.found", alt.value(1), alt.value(0.55)),
    )
    layers = [bars]
    if with_intervals:
        layers.append(
            data.mark_rule(strokeWidth=1.5).encode(
                x=alt.X("low:Q", title="recovery"), x2="high:Q", y=y, href="url:N", tooltip=tips
            )
        )
    return specification(alt.layer(*layers, width="container", height=max(120, 19 * n_bars)))


def recovery_chart(study: Study, neurons: StudyNeurons, model: str, url: Callable[[NeuronRef], str]) -> Chart:
    """The neurons of greatest |recovery| as bars that lead to their pages."""
    bars = neurons.top[:SHOWN]
    rows = [
        {
            "name": item.neuron.name,
            "value": rounded(item.recovery),
            "rank": item.rank,
            "found": item.found,
            "sign": "more" if item.recovery > 0 else "less",
            "url": url(item.neuron),
            **({"low": rounded(item.low), "high": rounded(item.high)} if item.low is not None else {}),
        }
        for item in bars
    ]
    caption = (
        f"The {len(bars)} of {neurons.n:,} patched neurons with the greatest effect; a bar leads to the neuron. Full "
        "colour: those that stood out, and were ablated."
    )
    if study.is_suite:
        caption += f" Means over {study.n_prompts:,} pairs, lines their 95% bootstrap intervals."
    heads = ("neuron", "recovery", *(("low", "high") if study.is_suite else ()))
    table = tuple(
        (
            item.neuron.name,
            show_number(item.recovery),
            *((show_number(item.low), show_number(item.high)) if study.is_suite else ()),
        )
        for item in neurons.top
    )
    title = f"Recovery by patching single neurons, {model}"
    return Chart(
        "recovery", title, caption, filled(_bars_spec(len(bars), study.is_suite), rows, title), Table(heads, table)
    )


@cache
def _distribution_spec(named: bool) -> dict[str, Any]:
    data = alt.Chart(alt.NamedData(DATA))
    x = alt.X(
        "value:Q",
        title="recovery",
        axis=alt.Axis(format="~%", grid=False, tickCount=6),
        scale=alt.Scale(nice=False, padding=8),
    )
    y = alt.Y(
        "n:Q",
        title="neurons",
        scale=alt.Scale(type="symlog", constant=1),
        axis=alt.Axis(values=[0, 1, 10, 100, 1e3, 1e4, 1e5], labelExpr="format(datum.value, '~s')"),
    )
    bars = (
        data.transform_filter("datum.kind == 'bar'")
        .mark_bar(binSpacing=0, style="quiet")
        .encode(
            x=x,
            x2="upper:Q",
            y=y,
            y2=alt.datum(0),
            tooltip=[alt.Tooltip("range:N", title="recovery"), alt.Tooltip("n:Q", title="neurons", format=",")],
        )
    )
    marks = data.transform_filter("datum.kind == 'neuron'")
    tips = [alt.Tooltip("name:N", title="neuron"), alt.Tooltip("value:Q", title="recovery", format=".2%")]
    ticks = marks.mark_tick(thickness=1.5, height=10, yOffset=-5, style="accent").encode(
        x=x, y=alt.datum(1), href="url:N", tooltip=tips
    )
    words = (
        marks.transform_filter("isValid(datum.height)")
        .mark_text(align="left", angle=300, fontSize=10.5, dx=3)
        .encode(x=x, y=alt.Y("height:Q"), text="name:N", href="url:N", tooltip=tips)
    )
    # Vega warns in the browser about a layer without rows.
    return specification(alt.layer(bars, ticks, *([words] if named else []), width="container", height=HEIGHT))


def distribution_chart(neurons: StudyNeurons, model: str, url: Callable[[NeuronRef], str]) -> Chart:
    """Distribution of the recovery of all patched neurons; those that stood out have names."""
    rows: list[dict[str, Any]] = [
        {
            "kind": "bar",
            "value": rounded(bar.lower),
            "upper": rounded(bar.upper),
            "n": bar.n,
            "range": f"{show_share(bar.lower)} to {show_share(bar.upper)}",
        }
        for bar in neurons.bars
    ]
    apart = (neurons.bars[-1].upper - neurons.bars[0].lower) / 22
    drawn: list[float] = []
    for item in neurons.top[:SHOWN]:
        row = {"kind": "neuron", "value": rounded(item.recovery), "name": item.neuron.name, "url": url(item.neuron)}
        if item.found and all(abs(item.recovery - value) >= apart for value in drawn):
            row["height"] = 4
            drawn.append(item.recovery)
        rows.append(row)
    table = Table(
        ("from", "to", "neurons"), tuple((show_number(b.lower), show_number(b.upper), b.n) for b in neurons.bars)
    )
    title = f"Recovery of all {neurons.n:,} patched neurons, {model}"
    caption = "All patched neurons by recovery; counts on a logarithmic axis, marks lead to single neurons."
    return Chart("distribution", title, caption, filled(_distribution_spec(bool(drawn)), rows, title), table)


@cache
def _scatter_spec(sides: tuple[str, ...]) -> dict[str, Any]:
    data = alt.Chart(alt.NamedData(DATA))
    x = alt.X(
        "x:Q",
        title="direct share",
        axis=alt.Axis(format="~%", tickCount=6, grid=False),
        scale=alt.Scale(padding=12, nice=False),
    )
    y = alt.Y("y:Q", title="recovery", axis=alt.Axis(format="~%", tickCount=6), scale=alt.Scale(padding=12))
    cells = (
        data.transform_filter("datum.kind == 'cell'")
        .mark_rect(style="quiet")
        .encode(
            x=x,
            x2="x2:Q",
            y=y,
            y2="y2:Q",
            opacity=alt.Opacity("n:Q", legend=None, scale=alt.Scale(type="log", range=[0.3, 1])),
            tooltip=[alt.Tooltip("n:Q", title="neurons", format=",")],
        )
    )
    line = data.transform_filter("datum.kind == 'line'").mark_line(style="quiet", strokeDash=[4, 3]).encode(x=x, y=y)
    tips = [
        alt.Tooltip("name:N", title="neuron"),
        alt.Tooltip("y:Q", title="recovery", format=".2%"),
        alt.Tooltip("x:Q", title="direct share", format=".2%"),
    ]
    points = data.transform_filter("datum.kind == 'neuron'")
    dots = points.mark_circle(size=45, style="accent").encode(x=x, y=y, href="url:N", tooltip=tips)
    names = [
        points.transform_filter(f"datum.ends == '{ends}'")
        .mark_text(align=cast(Any, ends), dx=6 if ends == "left" else -6, dy=-4)
        .encode(x=x, y=y, text="name:N", href="url:N", tooltip=tips)
        for ends in sides
    ]
    return specification(alt.layer(cells, line, dots, *names, width="container", height=300))


def direct_chart(study: Study, neurons: StudyNeurons, model: str, url: Callable[[NeuronRef], str]) -> Chart:
    """Recovery against the share of the neuron's direct path alone; outliers lead to their pages."""
    rows: list[dict[str, Any]] = [
        {
            "kind": "cell",
            "x": rounded(cell.x_lower),
            "x2": rounded(cell.x_upper),
            "y": rounded(cell.y_lower),
            "y2": rounded(cell.y_upper),
            "n": cell.n,
        }
        for cell in neurons.cells
    ]
    low = max(min(c.x_lower for c in neurons.cells), min(c.y_lower for c in neurons.cells))
    high = min(max(c.x_upper for c in neurons.cells), max(c.y_upper for c in neurons.cells))
    rows += [{"kind": "line", "x": rounded(end), "y": rounded(end)} for end in (low, high)]
    points = _points(study, [*neurons.top[:SHOWN], *neurons.direct[:SHOWN]], url)
    rows += points
    sides = tuple(sorted({point["ends"] for point in points if "ends" in point}))
    caption = (
        "Shading: density of neurons. The direct share is the change of the neuron’s direct effect from corrupt "
        "to clean over that of the logit difference. On the dashed line the direct path explains all of the recovery; "
        "off it, later layers add or take away."
    )
    title = f"Recovery against direct effect, {model}"
    heads = ("neuron", "recovery", "direct share", "direct effect, clean", "corrupt")
    table = tuple(
        (
            item.neuron.name,
            *(
                show_number(value)
                for value in (
                    item.recovery,
                    share_of(study, item),
                    item.direct_effect_clean,
                    item.direct_effect_corrupt,
                )
            ),
        )
        for item in neurons.top
    )
    return Chart("direct", title, caption, filled(_scatter_spec(sides), rows, title), Table(heads, table))


def share_of(study: Study, item: StudyNeuron) -> float | None:
    """The direct share of a neuron."""
    return direct_share(study, item.direct_effect_clean, item.direct_effect_corrupt)


def _points(study: Study, items: Sequence[StudyNeuron], url: Callable[[NeuronRef], str]) -> list[dict[str, Any]]:
    points = {item.neuron: (share_of(study, item), item) for item in items}
    known = {neuron: (x, item) for neuron, (x, item) in points.items() if x is not None}
    xs, ys = [x for x, _ in known.values()], [item.recovery for _, item in known.values()]
    wide, tall = (max(xs) - min(xs)) / 6 if xs else 0, (max(ys) - min(ys)) / 16 if ys else 0
    named: list[tuple[float, float]] = []
    rows = []
    for neuron, (x, item) in known.items():
        row = {"kind": "neuron", "x": rounded(x), "y": rounded(item.recovery), "name": neuron.name, "url": url(neuron)}
        free = all(abs(x - a) > wide or abs(item.recovery - b) > tall for a, b in named)
        if len(named) < NAMED and free:
            named.append((x, item.recovery))
            row["ends"] = "right" if x > (max(xs) + min(xs)) / 2 else "left"
        rows.append(row)
    return rows
