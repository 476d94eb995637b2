"""The neurons that a study patched: the distribution of their recovery, and recovery against direct effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import altair as alt

from atlas.core.display import show_number, show_share
from atlas.core.units import NeuronRef
from atlas.topics.study.neurons import direct_share
from atlas.topics.study.records import Agreement, EffectCell, Study, StudyNeuron, StudyNeurons
from web.charts.axes import sides_colour
from web.charts.chart import Chart, Table, drawn, interval, rounded, rows_of, specification
from web.charts.density import cell_rows, cells_layer, names_layers, spread_of, with_names
from web.charts.ends import NAMED as NAMED_ENDS
from web.charts.ends import bar_rows, end_rows, ends_spec
from web.charts.suite import interval_cells, interval_heads, means

SHOWN = 15
"""Most bars of single neurons."""

NAMED = 8
"""Most points of the scatter with names."""


@cache
def _bars_spec(n_bars: int, with_intervals: bool) -> dict[str, Any]:
    data = rows_of()
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
        color=sides_colour("sign:N", "less", "none", "more"),
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
            **interval(item),
        }
        for item in bars
    ]
    caption = (
        f"The {len(bars)} of {neurons.n:,} patched neurons with the greatest effect; a bar leads to the neuron. Full "
        "colour: those that stood out, and were ablated."
    )
    caption += means(study, "lines")
    table = Table(
        ("neuron", "recovery", "attribution", *interval_heads(study)),
        tuple(
            (i.neuron.name, show_number(i.recovery), show_number(i.attribution), *interval_cells(study, i))
            for i in neurons.top
        ),
    )
    title = f"Recovery by patching single neurons, {model}"
    return drawn("recovery", title, caption, _bars_spec(len(bars), study.is_suite), rows, table)


def distribution_chart(neurons: StudyNeurons, model: str, url: Callable[[NeuronRef], str]) -> Chart:
    """Distribution of the recovery of all neurons, estimated where they were not patched; those that stood out have
    names."""
    rows = bar_rows(neurons.bars, show_share)
    top = neurons.top[:SHOWN]
    ends = {
        "top": [item for item in top if item.recovery >= 0],
        "bottom": [item for item in top if item.recovery < 0],
    }
    named = {end: min(NAMED_ENDS[end], sum(item.found for item in items)) for end, items in ends.items()}
    for end, items in ends.items():
        items.sort(key=lambda item: -abs(item.recovery))
        rows += end_rows(end, [(i.neuron.name, i.recovery, url(i.neuron)) for i in items], named[end])
    table = Table(
        ("from", "to", "neurons"), tuple((show_number(b.lower), show_number(b.upper), b.n) for b in neurons.bars)
    )
    n = sum(bar.n for bar in neurons.bars)
    title = f"Recovery of {n:,} neurons, {model}"
    by = "recovery, by attribution where they were not patched" if n > neurons.n else "recovery"
    caption = f"{n:,} neurons by {by}; counts on a logarithmic axis, marks lead to single neurons."
    spec = ends_spec("neuron", "recovery", "~%", tuple(end for end, n in named.items() if n))
    return drawn("distribution", title, caption, spec, rows, table)


@cache
def _scatter_spec(sides: tuple[str, ...], x_title: str) -> dict[str, Any]:
    # The same values on both axes of a square: the identity line runs at 45 degrees from corner to corner.
    scale = alt.Scale(domain=[alt.ExprRef("least"), alt.ExprRef("most")], nice=False)
    axis = alt.Axis(format="~%", tickCount=6, grid=False)
    x = alt.X("x:Q", title=x_title, axis=axis, scale=scale)
    y = alt.Y("y:Q", title="recovery", axis=axis, scale=scale)
    line = rows_of("line").mark_line(style="quiet", strokeDash=[4, 3]).encode(x=x, y=y)
    tips = [
        alt.Tooltip("name:N", title="neuron"),
        alt.Tooltip("y:Q", title="recovery", format=".2%"),
        alt.Tooltip("x:Q", title=x_title, format=".2%"),
    ]
    points = rows_of("neuron")
    dots = points.mark_circle(size=45, style="accent").encode(x=x, y=y, href="url:N", tooltip=tips)
    layers = [cells_layer(x, y, "neurons"), line, dots, *names_layers(points, x, y, sides, tooltip=tips)]
    square = alt.layer(*layers, width="container", height="container", autosize=alt.AutoSizeParams(type="fit"))
    return specification(square.add_params(*(alt.param(name=name, value=0) for name in ("least", "most"))))


def direct_chart(study: Study, neurons: StudyNeurons, model: str, url: Callable[[NeuronRef], str]) -> Chart:
    """Recovery against the share of the neuron's direct path alone; outliers lead to their pages."""
    items = {item.neuron: (share_of(study, item), item) for item in (*neurons.top[:SHOWN], *neurons.direct[:SHOWN])}
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
            show_number(item.recovery),
            show_number(share_of(study, item)),
            show_number(item.direct_effect_clean),
            show_number(item.direct_effect_corrupt),
        )
        for item in neurons.top
    )
    return _square("direct", "direct share", title, caption, neurons.cells, items.values(), Table(heads, table), url)


def estimate_chart(neurons: StudyNeurons, agreement: Agreement, model: str, url: Callable[[NeuronRef], str]) -> Chart:
    """Recovery against its estimate; outliers lead to their pages."""
    items = {item.neuron: (item.attribution, item) for item in (agreement.worst, *neurons.top[:SHOWN])}
    caption = (
        "Shading: density of neurons. On the dashed line patching gives exactly what one backward pass estimates; the "
        f"estimate of {agreement.worst.neuron.name} is furthest off."
    )
    title = f"Recovery against attribution, {model}"
    table = tuple((i.neuron.name, show_number(i.attribution), show_number(i.recovery)) for i in neurons.top)
    heads = Table(("neuron", "attribution", "recovery"), table)
    return _square("estimate", "attribution", title, caption, agreement.cells, items.values(), heads, url)


def _square(
    name: str,
    x_title: str,
    title: str,
    caption: str,
    cells: Iterable[EffectCell],
    items: Iterable[tuple[float | None, StudyNeuron]],
    table: Table,
    url: Callable[[NeuronRef], str],
) -> Chart:
    """Recovery against another share, with the line on which both are equal; the first items have names."""
    rows = cell_rows(cells)
    points: list[dict[str, Any]] = [
        {"kind": "neuron", "x": rounded(x), "y": rounded(i.recovery), "name": i.neuron.name, "url": url(i.neuron)}
        for x, i in items
        if x is not None
    ]
    sides = with_names(points, "x", "y", spread_of(points, "x") / 6, spread_of(points, "y") / 16, NAMED)
    rows += points
    values = [row[name] for row in rows for name in ("x", "x2", "y", "y2") if name in row]
    room = 0.03 * (max(values) - min(values))
    least, most = rounded(min(values) - room), rounded(max(values) + room)
    rows += [{"kind": "line", "x": end, "y": end} for end in (least, most)]
    return drawn(name, title, caption, _scatter_spec(sides, x_title), rows, table, least=least, most=most)


def share_of(study: Study, item: StudyNeuron) -> float | None:
    """The direct share of a neuron."""
    return direct_share(study, item.direct_effect_clean, item.direct_effect_corrupt)
