"""`/{slug}/L31`: a layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import g, redirect
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.errors import NeuronNameError
from atlas.core.units import Listing
from atlas.topics.glance import Glance, glances, glances_sql
from atlas.topics.kind import KINDS_OF_LAYER, LayerKinds, layer_kinds
from atlas.topics.layer import (
    LAYER_COLUMNS,
    LAYERS,
    NEURON_SORTS,
    SUMMARY_COLUMNS,
    LayerSummary,
    layer_neurons,
    layer_statement,
    layer_summary,
)
from atlas.topics.neuron_columns import Column
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page, query_choice, query_int
from web.site.urls import Blueprint
from web.views.heads import Head, heads

blueprint = Blueprint("layer", __name__)

PER_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class LayerPage(AtlasPage, template="layer.html"):
    """A layer in numbers, and its neurons."""

    layer: LayerSummary = field(metadata=doc("The layer in numbers."))
    kinds: LayerKinds = field(metadata=doc("How many of its neurons are of each kind."))
    n_layers: int = field(metadata=doc("Layers of the model."))
    numbers: tuple[Column, ...] = field(metadata=doc("The numbers of the layer that are shown.", json=False))
    heads: tuple[Head, ...] = field(metadata=doc("Heads of the columns of the neurons' table.", json=False))
    neurons: Listing = field(metadata=doc("A page of its neurons."))
    glances: tuple[Glance, ...] = field(
        metadata=doc("Each neuron at a glance: its verdict, the area under ROC of that, what it writes and fires on.")
    )
    sort: str = field(metadata=doc("Column that the neurons are sorted by."))
    order: str = field(metadata=doc("'desc' or 'asc'."))
    page: int = field(metadata=doc("Page of the list, from 1."))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>/<layer:name>")
def layer(atlas: Atlas, name: str) -> LayerPage | Response:
    """A layer; `L007` and `l7` lead to `L7`."""
    number = int(name[1:])
    if not 0 <= number < atlas.info.n_layers:
        raise NeuronNameError(f"There is no layer {number}: this model has layers 0 to {atlas.info.n_layers - 1}.")
    if name != f"L{number}":
        return redirect(like_request(urls.to("layer", g.ref, number)), 301)
    sort = query_choice("sort", NEURON_SORTS, "best_congruence")
    order = query_choice("order", ("desc", "asc"), "desc")
    number_of_page = query_int("page", 1, least=1)
    selection: dict[str, Any] = {
        "sort": sort,
        "descending": order == "desc",
        "limit": PER_PAGE,
        "offset": (number_of_page - 1) * PER_PAGE,
    }

    def link(column: str, order: str) -> str | None:
        return urls.to("layer", g.ref, number, sort=column, order=order) if column in NEURON_SORTS else None

    listed = layer_statement(atlas, number, **selection).shown()
    listing = layer_neurons(atlas, number, **selection)
    return LayerPage(
        title=f"Layer {number}",
        url=urls.to("layer", g.ref, number, sort=sort, order=order, page=number_of_page),
        **atlas_fields(atlas),
        layer=layer_summary(atlas, number),
        kinds=layer_kinds(atlas)[number],
        n_layers=atlas.info.n_layers,
        numbers=SUMMARY_COLUMNS,
        heads=heads(atlas, LAYER_COLUMNS, sort, order, link),
        neurons=listing,
        glances=tuple(glances(atlas, listing.rows)),
        sort=sort,
        order=order,
        page=number_of_page,
        panels={
            "kinds": KINDS_OF_LAYER.shown(layer=number),
            "numbers": LAYERS.shown(first=number, last=number),
            "neurons": listed,
            "glances": glances_sql(listed),
        },
    )
