"""`/{slug}/neurons`: every neuron, filtered, sorted, counted; the whole selection as `.csv` and `.json?all=1`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from flask import Response, g, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from atlas import Atlas
from atlas.topics.glance import Glance, glances, glances_sql
from atlas.topics.neuron_columns import LIST_COLUMNS
from atlas.topics.neuron_facets import facets_sql, neuron_facets
from atlas.topics.neuron_list import (
    EXPORT_COLUMNS,
    NeuronIndex,
    NeuronSelection,
    neuron_rows,
    neurons_statement,
    page_of_neurons,
)
from web.site import urls
from web.site.caching import lasting, not_modified, validated
from web.site.errors import BadRequestError
from web.site.exports import csv_answer, json_answer
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, page, wants_json
from web.site.urls import AtlasRef, Blueprint
from web.views.heads import Head, heads
from web.views.neurons_facets import ActiveFilter, FacetLinks, active_filters, facet_links
from web.views.neurons_state import NeuronsState, is_typed, read_state

blueprint = Blueprint("neurons", __name__)

PER_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class NeuronsPage(AtlasPage, template="neurons.html"):
    """Every neuron of a selection, a page of them, and how the selection divides."""

    n_layers: int = field(metadata=doc("Layers of the model."))
    n_neurons: int = field(metadata=doc("Neurons of the model."))
    selection: NeuronSelection = field(metadata=doc("Which neurons are selected."))
    parameters: dict[str, str | int] = field(metadata=doc("Parameters of the URL of the list's first page."))
    filters: tuple[ActiveFilter, ...] = field(
        metadata=doc("What narrows the selection; `url` is the list without that filter.")
    )
    facets: tuple[FacetLinks, ...] = field(
        metadata=doc(
            "How the selection divides; `url` is the list with that value as a filter, or without it if active."
        )
    )
    neurons: NeuronIndex = field(
        metadata=doc("A page of the neurons; `offset` is the place of the first in the list, from 0.")
    )
    glances: tuple[Glance, ...] = field(
        metadata=doc("Each neuron at a glance: its verdict, the area under ROC of that, what it writes and fires on.")
    )
    heads: tuple[Head, ...] = field(metadata=doc("Heads of the table's columns.", json=False))
    every_head: tuple[Head, ...] = field(metadata=doc("Heads of all columns that can be shown.", json=False))
    sort: str = field(metadata=doc("Column that the neurons are sorted by: NULLs last, ties by neuron_id."))
    order: str = field(metadata=doc("'desc' or 'asc'."))
    first: str = field(metadata=doc("The list's first page."))
    previous: str | None = field(metadata=doc("The page before; null: this is the first."))
    next: str | None = field(metadata=doc("The page after; null: this is the last."))
    csv: str = field(metadata=doc("The whole selection as CSV, with every column of the table `neuron`."))
    all: str = field(metadata=doc("The whole selection as JSON: `columns`, and `rows` of arrays."))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>/neurons")
def neurons(atlas: Atlas) -> NeuronsPage | BaseResponse:
    """Every neuron; what a form sends leads to the canonical URL, `all=1` to the whole selection as data."""
    arguments = request.args.copy()
    whole = arguments.poplist("all")
    state = read_state(atlas, arguments)
    if whole:
        return _whole(atlas, state, whole)
    if is_typed(arguments) and not wants_json():
        return redirect(state.url(g.ref))
    return _page(atlas, state)


def neurons_csv(ref: AtlasRef) -> Response:
    """The whole selection as CSV."""
    g.ref, atlas = ref, find_atlas(ref)
    held = not_modified(atlas.info.build_id)
    if held is not None:
        return held
    state = read_state(atlas, request.args)
    _check_whole(state)
    answer = csv_answer(f"{atlas.info.slug}-neurons", EXPORT_COLUMNS, _rows(atlas, state))
    return validated(answer, atlas.info.build_id, pinned=lasting(ref, atlas.info))


blueprint.add_url_rule("/<atlas:ref>/neurons.csv", "neurons_csv", neurons_csv)


def _page(atlas: Atlas, state: NeuronsState) -> NeuronsPage:
    facets = neuron_facets(atlas, state.selection)
    listing = page_of_neurons(
        atlas,
        state.selection,
        facets.total,
        sort=state.sort,
        descending=state.order == "desc",
        after=state.after,
        before=state.before,
        limit=PER_PAGE,
    )

    def link(other: NeuronsState) -> str:
        return urls.json(other.url(g.ref)) if wants_json() else other.url(g.ref)

    # By place, not by key: people read it, and the rows are the same.
    listed = neurons_statement(
        atlas,
        state.selection,
        sort=state.sort,
        descending=state.order == "desc",
        limit=len(listing.rows) or PER_PAGE,
        offset=listing.offset if listing.rows else listing.total,
    ).shown()
    first, every = state.at(), _heads(atlas, state)
    return NeuronsPage(
        title="Neurons",
        url=state.url(g.ref),
        **atlas_fields(atlas),
        n_layers=atlas.info.n_layers,
        n_neurons=atlas.info.n_neurons,
        selection=state.selection,
        parameters=first.query(),
        filters=active_filters(atlas, state, link),
        facets=facet_links(state, facets, link),
        neurons=listing,
        glances=tuple(glances(atlas, listing.rows)),
        heads=tuple(head for head in every if head.column.name in state.columns),
        every_head=every,
        sort=state.sort,
        order=state.order,
        first=link(first),
        previous=link(state.at(before=listing.previous)) if listing.previous else None,
        next=link(state.at(after=listing.next)) if listing.next else None,
        csv=urls.csv(first.url(g.ref)),
        all=urls.json(urls.to("neurons", g.ref, **first.query(), all=1)),
        panels={"facets": facets_sql(state.selection), "neurons": listed, "glances": glances_sql(listed)},
    )


def _heads(atlas: Atlas, state: NeuronsState) -> tuple[Head, ...]:
    def url(name: str, order: str) -> str:
        return replace(state.at(), sort=name, order=order).url(g.ref)

    return heads(atlas, LIST_COLUMNS, state.sort, state.order, url)


def _rows(atlas: Atlas, state: NeuronsState) -> Iterator[tuple]:
    return neuron_rows(atlas, state.selection, sort=state.sort, descending=state.order == "desc")


def _check_whole(state: NeuronsState) -> None:
    if state.after or state.before:
        raise BadRequestError("The whole selection has no pages: expected neither 'after' nor 'before'.")


def _whole(atlas: Atlas, state: NeuronsState, values: list[str]) -> Response:
    if values != ["1"]:
        raise BadRequestError(f"all={','.join(values)!r} is invalid: expected 1, once.")
    url = urls.json(urls.to("neurons", g.ref, **state.at().query(), all=1))
    if not wants_json():
        raise BadRequestError("all=1 is the whole selection as data: expected '.json' behind the path.", url)
    _check_whole(state)
    total = neuron_facets(atlas, state.selection).total
    info = atlas.info
    head = {"title": "Neurons", "url": url, "slug": info.slug, "build_id": info.build_id, "total": total}
    return json_answer(head, EXPORT_COLUMNS, _rows(atlas, state))
