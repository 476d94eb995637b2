"""Congruence and activity by layer; points lead to the layer, or to its greatest neuron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import altair as alt

from atlas.core.display import show_number
from atlas.core.units import NeuronRef
from atlas.topics.layer import LayerSummary
from web.charts.axes import layer_axis
from web.charts.chart import HEIGHT, Chart, Table, drawn, rounded, rows_of, specification

_CHARTS = (
    ("congruence", "best congruence", ("best_congruence_mean", "best_congruence_max", "best_neuron"), "linear"),
    ("activity", "std of activation", ("activation_std", "activation_std_max", "most_active_neuron"), "log"),
)


@cache
def _spec(title: str, scale: str) -> dict[str, Any]:
    x = layer_axis()
    axis = alt.Axis(tickCount=4, labelExpr="format(datum.value, '~g')")
    tips = [
        alt.Tooltip("layer:Q"),
        alt.Tooltip("what:N", title="of"),
        alt.Tooltip("value:Q", title=title, format=".4~r"),
    ]

    def y(field: str) -> alt.Y:
        kind = alt.Scale(type="log") if scale == "log" else alt.Scale(zero=True)
        return alt.Y(field, title=title, axis=axis, scale=kind)

    mean = rows_of("mean").mark_line(point=alt.OverlayMarkDef(size=45, style="accent"), style="accent")
    greatest = rows_of("greatest").mark_point(size=30, filled=False, style="quiet")
    layers = [mark.encode(x=x, y=y("value:Q"), href="url:N", tooltip=tips) for mark in (greatest, mean)]
    return specification(alt.layer(*layers, width="container", height=HEIGHT))


def layer_charts(
    layers: Sequence[LayerSummary], model: str, layer_url: Callable[[int], str], neuron_url: Callable[[NeuronRef], str]
) -> tuple[Chart, Chart]:
    """Two charts over layers: best congruence, and standard deviation of the activation: the mean over a layer's
    neurons, and its greatest."""
    charts = []
    for name, what, fields, scale in _CHARTS:
        values = [(layer.layer, *(getattr(layer, field) for field in fields)) for layer in layers]
        rows = [
            {"kind": "mean", "layer": n, "value": rounded(mean), "what": "mean of the layer", "url": layer_url(n)}
            for n, mean, _, _ in values
        ]
        rows += [
            {"kind": "greatest", "layer": n, "value": rounded(most), "what": neuron.name, "url": neuron_url(neuron)}
            for n, _, most, neuron in values
            if most > 0 or scale == "linear"
        ]
        heads = ("layer", f"mean {what}", f"greatest {what}", "neuron")
        table = tuple((n, show_number(mean), show_number(most), neuron.name) for n, mean, most, neuron in values)
        title = f"{what[0].upper()}{what[1:]} by layer, {model}"
        caption = "The line is the mean over a layer's neurons; circles are its greatest, and lead to the neuron."
        charts.append(drawn(name, title, caption, _spec(what, scale), rows, Table(heads, table)))
    return charts[0], charts[1]
