"""Charts of ablations: the change of the answer without the neurons that stood out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import altair as alt

from atlas.core.display import show_number, show_share
from atlas.core.units import NeuronRef
from atlas.topics.study.records import Study, StudyStep
from web.charts.axes import series_colour
from web.charts.chart import Chart, Series, Table, filled, interval, rounded, rows_of, specification
from web.charts.suite import interval_cells, interval_heads, means

VARIANTS = {"zero": "set to zero", "mean": "set to its mean", "negate": "negated"}
"""Kinds of ablation, in words."""

TOGETHER = "all together"

CHANGE = "datum.value === 0 ? '0%' : format(datum.value, '+~%')"
"""Expression for an axis's labels: a change in per cent."""


@cache
def _spec(n_rows: int, with_intervals: bool) -> dict[str, Any]:
    data = rows_of()
    tips = [
        alt.Tooltip("name:N", title="neuron"),
        alt.Tooltip("label:N", title="is"),
        alt.Tooltip("value:Q", title="change", format="+.2%"),
    ]
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False, grid=True, labelLimit=90))
    offset = alt.YOffset("label:N", sort=list(VARIANTS.values()))
    title = "change of the answer’s probability"
    x = alt.X("value:Q", title=title, axis=alt.Axis(labelExpr=CHANGE), scale=alt.Scale(zero=True))
    dots = data.mark_circle(size=70, opacity=1).encode(
        x=x, y=y, yOffset=offset, color=series_colour(), tooltip=tips, href="url:N"
    )
    layers = [dots]
    if with_intervals:
        low = alt.X("low:Q", title=title)
        lines = data.mark_rule(strokeWidth=1.5).encode(x=low, x2="high:Q", y=y, yOffset=offset, color=series_colour())
        layers.insert(0, lines)
    return specification(alt.layer(*layers, width="container", height=max(110, 46 * n_rows)))


def ablation_chart(study: Study, steps: Sequence[StudyStep], model: str, url: Callable[[NeuronRef], str]) -> Chart:
    """The change of the answer's probability after the clean prompt, by neuron and kind of ablation."""
    order = {neuron: place for place, neuron in enumerate((*study.found_neurons, None))}
    steps = sorted(steps, key=lambda step: (order.get(step.neuron, len(order)), list(VARIANTS).index(step.variant)))
    rows = [
        {
            "name": step.neuron.name if step.neuron else TOGETHER,
            "label": VARIANTS[step.variant],
            "value": rounded(step.value),
            **({"url": url(step.neuron)} if step.neuron else {}),
            **interval(step),
        }
        for step in steps
    ]
    caption = (
        "The clean prompt with the neuron changed at every position but BOS: the answer’s probability after, minus "
        f"before ({show_share(study.p_answer_clean)})."
    )
    caption += means(study, "lines")
    heads = ("neuron", "is", "change", *interval_heads(study))
    table = tuple(
        (row["name"], row["label"], show_number(step.value), *interval_cells(study, step))
        for row, step in zip(rows, steps, strict=True)
    )
    title = f"Probability of {study.answer_token.shown} without the neurons, {model}"
    spec = filled(_spec(len({row["name"] for row in rows}), study.is_suite), rows, title)
    series = tuple(Series(name) for name in dict.fromkeys(VARIANTS[step.variant] for step in steps))
    return Chart("ablation", title, caption, spec, Table(heads, table), series)
