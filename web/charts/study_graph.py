"""The neurons that stand out in a study, one below the other, with an arc from each to the later ones and to the answer
that it acts through."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt

from atlas.core.display import show_number, show_share
from atlas.core.units import NeuronRef
from atlas.topics.study.records import Study, StudyEdge, StudyNeuron
from web.charts.axes import sides_colour
from web.charts.chart import Chart, Table, drawn, rounded, rows_of, specification
from web.charts.recovery import share_of
from web.charts.suite import means

ARCS = 20
"""Most arcs, by |recovery|."""

_LEAST = 0.01
"""Least |recovery| of an arc."""

_ROW, _NAMES = 30, 130
"""Height of a neuron and width of the names, pixels."""

_POINTS = 16
"""Points of an arc."""


@dataclass(frozen=True)
class Arc:
    """What one neuron does through another, or by itself (`target` is the answer): a relative recovery, and how it was
    measured ('exact', 'estimate' or 'direct share')."""

    source: str
    target: str
    value: float
    how: str


@cache
def _spec(n_nodes: int) -> dict[str, Any]:
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False, rangeMin=_NAMES))
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[-0.5, n_nodes - 0.5], reverse=True, nice=False))
    arcs = (
        rows_of("arc")
        .mark_line(strokeCap="round", interpolate="basis", opacity=0.7)
        .encode(
            x=x,
            y=y,
            order="order:Q",
            detail="name:N",
            color=sides_colour("sign:N", "less", "none", "more"),
            size=alt.Size("size:Q", legend=None, scale=alt.Scale(domainMin=0, range=[1, 12])),
            tooltip=[
                alt.Tooltip("name:N", title="from, to"),
                alt.Tooltip("value:Q", title="recovery", format=".2%"),
                alt.Tooltip("how:N", title="measured"),
            ],
        )
    )
    link: dict[str, Any] = {"href": "url:N", "tooltip": alt.Tooltip("name:N", title="neuron")}
    nodes = rows_of("node").encode(x=alt.X("x:Q", axis=None), y=alt.Y("y:Q", axis=None), **link)
    dots = nodes.mark_circle(size=110, opacity=1, style="accent")
    names = nodes.mark_text(dx=-12, align="right", limit=_NAMES - 14).encode(text="label:N")
    return specification(alt.layer(arcs, dots, names, width="container", height=_ROW * n_nodes))


def graph_chart(
    study: Study,
    edges: Sequence[StudyEdge],
    neurons: Sequence[StudyNeuron],
    model: str,
    url: Callable[[NeuronRef], str],
) -> Chart:
    """The graph; `neurons` are those that stand out. A neuron leads to its page."""
    answer = "the answer" if study.is_suite else study.answer_token.shown
    arcs = _arcs(study, edges, neurons, answer)
    refs = {ref.name: ref for edge in edges for ref in (edge.source, edge.target)}
    refs |= {item.neuron.name: item.neuron for item in neurons}
    recovery = {item.neuron.name: item.recovery for item in neurons}
    order = sorted(refs, key=lambda name: refs[name].neuron_id)
    place = {name: row for row, name in enumerate((*order, answer))}
    rows: list[dict[str, Any]] = [row for arc in arcs for row in _points(arc, place)]
    for name, row in place.items():
        node: dict[str, Any] = {"kind": "node", "x": 0, "y": row, "name": name, "label": name}
        if name in recovery:
            node["label"] = f"{name}  {show_share(recovery[name], 2)}"
        rows.append(node | ({"url": url(refs[name])} if name in refs else {}))
    caption = (
        "Neurons from the first layer down, each with its recovery, and the answer. An arc is the recovery that goes "
        "from a neuron through a later one, or straight to the answer (its direct share); its width is the size, blue "
        f"takes away. Shown are the {len(arcs)} greatest, of {show_share(_LEAST, 1)} and more." + means(study)
    )
    table = Table(
        ("from", "to", "recovery", "measured"),
        tuple((arc.source, arc.target, show_number(arc.value), arc.how) for arc in arcs),
    )
    return drawn("graph", f"Neurons that act through each other, {model}", caption, _spec(len(place)), rows, table)


def _arcs(study: Study, edges: Sequence[StudyEdge], neurons: Sequence[StudyNeuron], answer: str) -> list[Arc]:
    """The greatest, in order."""
    arcs = [
        Arc(edge.source.name, edge.target.name, edge.value, "estimate" if edge.exact is None else "exact")
        for edge in edges
    ]
    for item in neurons:
        share = share_of(study, item)
        if share is not None:
            arcs.append(Arc(item.neuron.name, answer, share, "direct share"))
    return [arc for arc in sorted(arcs, key=lambda arc: -abs(arc.value)) if abs(arc.value) >= _LEAST][:ARCS]


def _points(arc: Arc, place: dict[str, int]) -> list[dict[str, Any]]:
    """Rows of half an ellipse, as wide as it is long."""
    first, last = place[arc.source], place[arc.target]
    same = {
        "kind": "arc",
        "name": f"{arc.source} → {arc.target}",
        "value": rounded(arc.value),
        "size": rounded(abs(arc.value)),
        "sign": "more" if arc.value > 0 else "less",
        "how": arc.how,
    }
    rows = []
    for order in range(_POINTS + 1):
        turn = math.pi * order / _POINTS
        x = (last - first) / max(1, len(place) - 1) * math.sin(turn)
        y = first + (last - first) * (1 - math.cos(turn)) / 2
        rows.append(same | {"order": order, "x": rounded(x), "y": rounded(y)})
    return rows
