"""`/{slug}/hubs`: neurons and tokens that are best for many. `/{slug}/hubs/centring`: what centring does to that."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g

from atlas import Atlas
from atlas.topics.centring import CENTRING, LOOKED_AT, Centring, measure_centring
from atlas.topics.hub import (
    DISTRIBUTION,
    HUB_NEURONS,
    HUB_TOKENS,
    OCCURRENCE,
    HubNeuron,
    HubToken,
    Occurrence,
    hub_neurons,
    hub_tokens,
    neuron_occurrence,
    token_occurrence,
)
from web.charts.chart import Chart
from web.charts.occurrence import occurrence_chart
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, page, query_choice
from web.site.urls import Blueprint

blueprint = Blueprint("hubs", __name__)

_LENGTHS = (1, 5, 10, 20)
_USUAL = 10
_LISTED, _RECENTRED = 50, 20


@dataclass(frozen=True, kw_only=True)
class HubsPage(AtlasPage, template="hubs.html"):
    """Neurons that are best for many tokens, tokens that are best for many neurons."""

    k: int = field(metadata=doc("Length of the lists asked for; an atlas that keeps shorter ones counts those."))
    lengths: tuple[int, ...] = field(metadata=doc("Lengths that can be asked for.", json=False))
    neurons: tuple[HubNeuron, ...] = field(
        metadata=doc(
            "The 50 neurons that are the best neuron of the most tokens: hub_count, its share of all, k-occurrence."
        )
    )
    tokens: tuple[HubToken, ...] = field(
        metadata=doc(
            "The 50 tokens that are the best token of the most neurons: hub_count, its share of all, k-occurrence."
        )
    )
    neuron_occurrence: Occurrence = field(metadata=doc("How neurons' k-occurrence is distributed."))
    token_occurrence: Occurrence = field(metadata=doc("How tokens' k-occurrence is distributed."))
    occurrence_chart: Chart = field(metadata=doc("Both distributions.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@dataclass(frozen=True, kw_only=True)
class CentringPage(AtlasPage, template="centring.html"):
    """What centring the readout over the vocabulary does to hubs."""

    readout: str = field(metadata=doc("The atlas's readout: 'unembed' is centred, 'embed' is not."))
    centring: Centring | None = field(
        metadata=doc("The greatest hubs with centring and without; null: the atlas holds no weights to tell from.")
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>/hubs")
def hubs(atlas: Atlas) -> HubsPage:
    """Hubs."""
    k = int(query_choice("k", tuple(map(str, _LENGTHS)), str(_USUAL)))
    neurons, tokens = neuron_occurrence(atlas, k), token_occurrence(atlas, k)
    return HubsPage(
        title="Hubs",
        url=urls.to("hubs", g.ref, k=k),
        **atlas_fields(atlas),
        k=k,
        lengths=_LENGTHS,
        neurons=tuple(hub_neurons(atlas, k, _LISTED)),
        tokens=tuple(hub_tokens(atlas, k, _LISTED)),
        neuron_occurrence=neurons,
        token_occurrence=tokens,
        occurrence_chart=occurrence_chart(neurons, tokens),
        panels={
            "occurrence": OCCURRENCE.shown(k=k),
            "distribution": DISTRIBUTION.shown(k=k),
            "neurons": HUB_NEURONS.shown(k=k, limit=_LISTED),
            "tokens": HUB_TOKENS.shown(k=k, limit=_LISTED),
        },
    )


@page(blueprint, "/<atlas:ref>/hubs/centring")
def centring(atlas: Atlas) -> CentringPage:
    """What centring does; slow the first time, since it reads all readout columns."""
    return CentringPage(
        title="Hubs and centring",
        url=urls.to("centring", g.ref),
        **atlas_fields(atlas),
        readout=atlas.info.readout,
        centring=measure_centring(atlas, _RECENTRED) if atlas.info.has_weights else None,
        panels={name: statement.shown(looked_at=LOOKED_AT, limit=_RECENTRED) for name, statement in CENTRING.items()}
        if atlas.info.has_weights
        else {},
    )
