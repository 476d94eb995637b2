"""`/{slug}/L31N892`: a neuron."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Blueprint, g, redirect
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from atlas import Atlas, queries
from atlas.errors import NeuronNameError
from atlas.names import NEURON_SPELLINGS, is_neuron_name, parse_neuron
from atlas.records import (
    Candidate,
    CongruentToken,
    Curve,
    Example,
    ExclusivePair,
    HistogramBar,
    InputToken,
    IntervalExamples,
    Neuron,
    NeuronRef,
)
from web import urls
from web.charts import Chart, curve_chart, histogram_chart
from web.errors import BadRequestError
from web.page import AtlasPage, atlas_fields, doc, like_request, page, query_int

blueprint = Blueprint("neuron", __name__)

MAX_CURVES = 6


@dataclass(frozen=True, kw_only=True)
class NeuronPage(AtlasPage):
    """Everything the atlas knows of a neuron."""

    neuron: Neuron = field(metadata=doc("Its numbers."))
    gated: bool = field(
        metadata=doc("Whether the MLP is gated: activations are signed and the bottom end means as much as the top.")
    )
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `neuron`.", json=False))
    previous: NeuronRef | None = field(metadata=doc("The neuron before it; null for the first."))
    following: NeuronRef | None = field(metadata=doc("The neuron after it; null for the last."))
    best_tokens: tuple[CongruentToken, ...] = field(
        metadata=doc("Tokens its output weights are most congruent with, best first.")
    )
    worst_tokens: tuple[CongruentToken, ...] = field(metadata=doc("Tokens they are least congruent with, worst first."))
    pairs: tuple[ExclusivePair, ...] = field(metadata=doc("Exclusive pairs it is in."))
    input_tokens: tuple[InputToken, ...] = field(
        metadata=doc("Tokens whose embedding its input weights and gate read most and least.")
    )
    histogram: tuple[HistogramBar, ...] = field(metadata=doc("Its activation histogram."))
    histogram_chart: Chart = field(metadata=doc("The histogram drawn.", json=False))
    candidates: tuple[Candidate, ...] = field(metadata=doc("Its pairs whose predictions were counted."))
    curves: tuple[Curve, ...] = field(
        metadata=doc("Prediction curves of some of them: the one asked for, exclusive pairs, extremes.")
    )
    curve_charts: tuple[Chart, ...] = field(metadata=doc("The curves drawn, in the same order.", json=False))
    maximum: tuple[Example, ...] = field(metadata=doc("Texts with its greatest activations."))
    minimum: tuple[Example, ...] = field(metadata=doc("Texts with its least activations (gated models)."))
    intervals: tuple[IntervalExamples, ...] = field(
        metadata=doc("Ordinary texts by octave of their greatest activation.")
    )
    scale: float = field(metadata=doc("Its greatest absolute activation: full colour in texts.", json=False))


@page(blueprint, "/<atlas:ref>/<name>", "neuron.html")
def neuron(atlas: Atlas, name: str) -> NeuronPage | Response:
    """A neuron; other spellings lead to the canonical one."""
    if not any(character.isdigit() for character in name):
        raise NotFound
    if not is_neuron_name(name):
        raise BadRequestError(
            f"{name!r} is no neuron or layer; expected one of {NEURON_SPELLINGS}, or L31 for a layer."
        )
    layer, index = parse_neuron(name, atlas.info.n_layers, atlas.info.d_mlp)
    neuron_id = layer * atlas.info.d_mlp + index
    canonical = queries.neuron_ref(atlas, neuron_id).name
    if name != canonical:
        return redirect(like_request(urls.neuron(g.ref, layer, index)), 301)
    return _neuron_page(atlas, neuron_id, query_int("token", None))


@page(blueprint, "/<atlas:ref>/<first>/<second>", "neuron.html")
def slashed(atlas: Atlas, first: str, second: str) -> Response:
    """`31/892` and `L31/N892` lead to `L31N892`."""
    if not is_neuron_name(f"{first}/{second}"):
        raise NotFound
    layer, index = parse_neuron(f"{first}/{second}", atlas.info.n_layers, atlas.info.d_mlp)
    return redirect(like_request(urls.neuron(g.ref, layer, index)), 301)


def _chosen(candidates: list[Candidate], token_id: int | None) -> list[Candidate]:
    """The candidates whose curves are shown: the one asked for, exclusive pairs, the user's, then by |congruence|,
    tokens that are neither predicted nor come last."""

    def place(candidate: Candidate) -> tuple:
        sources = candidate.sources
        return (
            candidate.token.token_id != token_id,
            "exclusive" not in sources,
            "user" not in sources,
            candidate.n_predicted + candidate.n_actual == 0,
            -abs(candidate.congruence),
            candidate.token.token_id,
        )

    return sorted(candidates, key=place)[:MAX_CURVES]


def _neuron_page(atlas: Atlas, neuron_id: int, token_id: int | None) -> NeuronPage:
    record = queries.neuron(atlas, neuron_id)
    tokens = queries.neuron_tokens(atlas, neuron_id)
    bars = queries.histogram(atlas, neuron_id)
    candidates = queries.neuron_candidates(atlas, neuron_id)
    if token_id is not None and all(candidate.token.token_id != token_id for candidate in candidates):
        raise NeuronNameError(
            f"The pair of {record.name} and {atlas.tokens[token_id].shown} was not counted, so it has no curve; "
            "the pairs that were are listed on the neuron's page."
        )
    curves = queries.neuron_curves(atlas, neuron_id, _chosen(candidates, token_id), bars)
    found = queries.examples(atlas, neuron_id)
    last = atlas.info.n_neurons - 1
    return NeuronPage(
        title=record.name,
        url=urls.neuron(g.ref, record.layer, record.index, token_id),
        **atlas_fields(atlas),
        neuron=record,
        gated=atlas.info.gated,
        definitions=queries.column_comments(atlas, "neuron"),
        previous=queries.neuron_ref(atlas, neuron_id - 1) if neuron_id > 0 else None,
        following=queries.neuron_ref(atlas, neuron_id + 1) if neuron_id < last else None,
        best_tokens=tuple(token for token in tokens if token.direction == "top"),
        worst_tokens=tuple(token for token in tokens if token.direction == "bottom"),
        pairs=tuple(queries.neuron_pairs(atlas, neuron_id)),
        input_tokens=tuple(queries.input_tokens(atlas, neuron_id)),
        histogram=tuple(bars),
        histogram_chart=histogram_chart(bars),
        candidates=tuple(candidates),
        curves=tuple(curves),
        curve_charts=tuple(curve_chart(f"curve-{curve.candidate.token.token_id}", curve) for curve in curves),
        maximum=tuple(example for example in found if example.kind == "max"),
        minimum=tuple(example for example in found if example.kind == "min"),
        intervals=tuple(queries.interval_examples(found)),
        scale=max(abs(record.activation_min), abs(record.activation_max)),
    )
