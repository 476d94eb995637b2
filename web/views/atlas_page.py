"""`/{slug}`: the overview of an atlas."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from flask import g

from atlas import Atlas
from atlas.core.info import AtlasInfo
from atlas.topics import overview as statements
from atlas.topics.kind import LAYER_KINDS, LayerKinds, layer_kinds
from atlas.topics.layer import LAYERS, SUMMARY_COLUMNS, LayerSummary
from atlas.topics.neuron import Neuron
from atlas.topics.neuron_columns import Column
from atlas.topics.overview import Notable, highlights
from atlas.topics.pair import ExclusivePair, exclusive_pairs, ranked_pairs
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


@dataclass(frozen=True, kw_only=True)
class OverviewPage(AtlasPage, template="overview.html"):
    """What an atlas is of, and where to start."""

    info: AtlasInfo = field(metadata=doc("The row of the table `atlas`."))
    versions: dict[str, Any] = field(metadata=doc("Versions of the program and the libraries that built the file."))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `atlas`.", json=False))
    notable: tuple[Notable, ...] = field(metadata=doc("Three neurons worth a look, and why."))
    pairs: tuple[ExclusivePair, ...] = field(metadata=doc("The best exclusive pairs of ordinary tokens that occur."))
    single_token: tuple[Neuron, ...] = field(
        metadata=doc("Neurons that lead by most with one ordinary token that occurs: the greatest token gaps.")
    )
    hub_tokens: tuple[TokenRow, ...] = field(metadata=doc("Tokens that are the best of most neurons."))
    hub_neurons: tuple[Neuron, ...] = field(metadata=doc("Neurons that are the best of most tokens."))
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
            f"over {atlas.info.n_positions:,} positions of {atlas.info.dataset}: what they write, when they fire, "
            "and whether one predicts the other."
        ),
        info=atlas.info,
        versions=json.loads(atlas.info.versions),
        definitions=column_comments(atlas, "atlas"),
        notable=highlighted.notable,
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


def _panels(atlas: Atlas) -> dict[str, str]:
    return {
        "notable": statements.NOTABLE.shown(limit=statements.MOST_NOTABLE),
        "pairs": ranked_pairs(atlas, limit=_PAIRS).shown(),
        "single": statements.SINGLE_TOKEN.shown(limit=statements.LISTED),
        "hub_tokens": statements.HUB_TOKENS.shown(limit=statements.LISTED),
        "hub_neurons": statements.HUB_NEURONS.shown(limit=statements.LISTED),
        "layers": LAYERS.shown(first=0, last=atlas.info.n_layers - 1),
        "kinds": LAYER_KINDS.shown(),
        "studies": STUDIES.shown(),
        "provenance": statements.PROVENANCE.shown(),
    }
