"""`/{slug}`: the overview of an atlas."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask import g

from atlas import Atlas
from atlas.core.display import show_value
from atlas.core.info import AtlasInfo
from atlas.topics import overview as statements
from atlas.topics.curve import CURVES, of_pairs
from atlas.topics.glance import Glance
from atlas.topics.kind import LAYER_KINDS, LayerKinds, layer_kinds
from atlas.topics.layer import LAYERS, SUMMARY_COLUMNS, LayerSummary
from atlas.topics.neuron import Neuron
from atlas.topics.neuron_columns import Column
from atlas.topics.overview import highlights
from atlas.topics.pair import ExclusivePair, exclusive_pairs, ranked_pairs
from atlas.topics.story import BEST, MOST_JUDGED, Story, story
from atlas.topics.study.records import Study
from atlas.topics.study.study import STUDIES, list_studies
from atlas.topics.tables import column_comments
from atlas.topics.token import TokenRow
from web.charts.chart import Chart
from web.charts.layers import layer_charts
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, page
from web.site.urls import Blueprint

blueprint = Blueprint("overview", __name__)

_PAIRS = 12


@dataclass(frozen=True)
class Fact:
    """A column of the table `atlas` for people: what it is, and its value."""

    column: str
    label: str
    value: str


@dataclass(frozen=True, kw_only=True)
class OverviewPage(AtlasPage, template="overview.html"):
    """What an atlas is of, and where to start."""

    info: AtlasInfo = field(metadata=doc("The row of the table `atlas`."))
    versions: dict[str, Any] = field(metadata=doc("Versions of the program and the libraries that built the file."))
    provenance: tuple[Fact, ...] = field(metadata=doc("What the file was made of, in words.", json=False))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `atlas`.", json=False))
    story: Story | None = field(
        metadata=doc("The neuron to start with, the study that found it, and its curve; null: there is none.")
    )
    best: tuple[Glance, ...] = field(
        metadata=doc("The neurons whose firing predicts a token best, one for each token, with their verdicts.")
    )
    pairs: tuple[ExclusivePair, ...] = field(metadata=doc("The best exclusive pairs of ordinary tokens that occur."))
    single_token: tuple[Neuron, ...] = field(
        metadata=doc("Neurons whose best token, an ordinary one that occurs, leads the second by the widest margin.")
    )
    hub_tokens: tuple[TokenRow, ...] = field(metadata=doc("Tokens that are the best token of the most neurons."))
    hub_neurons: tuple[Neuron, ...] = field(metadata=doc("Neurons that are the best neuron of the most tokens."))
    layers: tuple[LayerSummary, ...] = field(metadata=doc("Every layer in numbers."))
    numbers: tuple[Column, ...] = field(metadata=doc("The numbers of the layers that are shown.", json=False))
    kinds: tuple[LayerKinds, ...] = field(metadata=doc("How many neurons of each layer are of each kind."))
    layer_charts: tuple[Chart, ...] = field(metadata=doc("Congruence and activity by layer.", json=False))
    studies: tuple[Study, ...] = field(metadata=doc("The experiments that are recorded."))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>")
def overview(atlas: Atlas) -> OverviewPage:
    """The overview of an atlas."""
    highlighted = highlights(atlas)
    return OverviewPage(
        title=atlas.info.model_name,
        url=urls.to("overview", g.ref),
        **atlas_fields(atlas),
        description=(
            f"{atlas.info.n_neurons:,} MLP neurons of {atlas.info.model_name} in {atlas.info.n_layers} layers, read "
            f"over {atlas.info.n_positions:,} positions of {atlas.info.dataset}: the tokens they write, when they "
            "fire, and whether their firing predicts those tokens."
        ),
        info=atlas.info,
        versions=json.loads(atlas.info.versions),
        provenance=_provenance(atlas.info),
        definitions=column_comments(atlas, "atlas"),
        story=story(atlas),
        best=highlighted.best,
        pairs=exclusive_pairs(atlas, limit=_PAIRS).rows,
        single_token=highlighted.single_token,
        hub_tokens=highlighted.hub_tokens,
        hub_neurons=highlighted.hub_neurons,
        layers=highlighted.layers,
        numbers=SUMMARY_COLUMNS,
        kinds=tuple(layer_kinds(atlas)),
        studies=list_studies(atlas),
        panels=atlas.remembered("panels of the overview", lambda: _panels(atlas)),
        layer_charts=layer_charts(
            highlighted.layers,
            atlas.info.model_name,
            lambda number: urls.to("layer", g.ref, number),
            lambda neuron: urls.to("neuron", g.ref, neuron.name),
        ),
    )


_LABELS = {
    "model_name": "model",
    "model_revision": "revision",
    "model_fingerprint": "fingerprint of the weights",
    "n_layers": "layers",
    "d_mlp": "neurons per layer",
    "d_model": "width of the residual stream",
    "d_vocab": "tokens in the vocabulary",
    "act_fn": "activation function",
    "gated": "gated MLP",
    "normalization": "norm",
    "readout": "readout",
    "hook": "activations read at",
    "dataset_name": "dataset",
    "dataset_config": "configuration of the dataset",
    "dataset_split": "split",
    "dataset_fingerprint": "fingerprint of the texts",
    "text_column": "text column",
    "n_texts": "texts",
    "n_texts_planned": "texts of the whole run",
    "n_positions": "positions counted",
    "text_ranges": "ranges of texts",
    "context_length": "longest context, in tokens",
    "overflow": "longer texts",
    "bos_token_id": "BOS token",
    "bos_counted": "BOS position counted",
    "dtype": "precision of activations",
    "device": "device",
    "seed": "seed",
    "top_tokens": "tokens listed per neuron and end",
    "top_neurons": "neurons listed per token and end",
    "top_texts": "strongest texts per neuron and end",
    "pair_candidates": "pairs counted per neuron, per token and end",
    "window": "tokens shown around an example",
    "has_weights": "weights in the file",
    "built_at": "built",
    "schema_version": "schema version",
    "build_id": "build",
}


def _provenance(info: AtlasInfo) -> tuple[Fact, ...]:
    return tuple(
        Fact(column, label, _in_words(column, value))
        for column, label in _LABELS.items()
        if (value := getattr(info, column)) is not None
    )


def _in_words(column: str, value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if column == "overflow":
        return {"truncate": "cut", "split": "split into several"}.get(value, value)
    if column in ("bos_token_id", "seed", "schema_version"):
        return str(value)
    return show_value(value)


def _panels(atlas: Atlas) -> dict[str, str]:
    told = story(atlas)
    return {
        **({"story": CURVES.shown(**of_pairs([told.curve.candidate]))} if told else {}),
        "best": BEST.shown(limit=MOST_JUDGED),
        "pairs": ranked_pairs(atlas, limit=_PAIRS).shown(),
        "single": statements.SINGLE_TOKEN.shown(limit=statements.LISTED),
        "hub_tokens": statements.HUB_TOKENS.shown(limit=statements.LISTED),
        "hub_neurons": statements.HUB_NEURONS.shown(limit=statements.LISTED),
        "layers": LAYERS.shown(first=0, last=atlas.info.n_layers - 1),
        "kinds": LAYER_KINDS.shown(),
        "studies": STUDIES.shown(),
        "provenance": statements.PROVENANCE.shown(),
    }
