"""`/{slug}/exclusive`: tokens by how far their best neuron leads the second, filtered and sorted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from flask import Response, g

from atlas import Atlas
from atlas.core.units import Listing
from atlas.topics.pair import EXCLUSIVITY_SORTS, ranked_tokens, token_exclusivities
from atlas.topics.tables import column_comments
from web.site import urls
from web.site.exports import csv_answer
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, page
from web.site.urls import AtlasRef, Blueprint
from web.views.ranking import PER_PAGE, Ranking, read_ranking

blueprint = Blueprint("exclusive", __name__)

_CHUNK = 50_000
"""Rows a query: each sorts the whole vocabulary again."""
_COLUMNS = (
    "token", "token_id", "neuron", "neuron_id", "second_neuron", "neuron_gap", "congruence", "n_predicted", "n_actual",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExclusivePage(AtlasPage, template="exclusive.html"):
    """Tokens by neuron gap."""

    n_layers: int = field(metadata=doc("Layers of the model."))
    parameters: dict[str, Any] = field(
        metadata=doc(
            "What is selected and how it is sorted, as in the URL: all, layer_min, layer_max (of the best neuron), "
            "token (text it contains), min_predicted, min_gap, sort, order; those that go without saying are left out."
        )
    )
    sort: str = field(metadata=doc("Column that the tokens are sorted by."))
    order: str = field(metadata=doc("'desc' or 'asc'."))
    tokens: Listing = field(metadata=doc("A page of the tokens."))
    page: int = field(metadata=doc("Page of the list, from 1."))
    definitions: dict[str, str] = field(
        metadata=doc("What the schema says of each column of `token_exclusivity`.", json=False)
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


def _found(atlas: Atlas, ranking: Ranking, limit: int, offset: int) -> Listing:
    order = {"sort": ranking.sort, "descending": ranking.descending}
    return token_exclusivities(atlas, ranking.where, **order, limit=limit, offset=offset)


@page(blueprint, "/<atlas:ref>/exclusive")
def exclusive(atlas: Atlas) -> ExclusivePage:
    """Tokens by neuron gap."""
    ranking = read_ranking(atlas, EXCLUSIVITY_SORTS, "gap")
    return ExclusivePage(
        title="Exclusive tokens",
        url=urls.to("exclusive", g.ref, **ranking.parameters, page=ranking.page),
        **atlas_fields(atlas),
        n_layers=atlas.info.n_layers,
        parameters=ranking.parameters,
        sort=ranking.sort,
        order=ranking.order,
        tokens=_found(atlas, ranking, PER_PAGE, ranking.offset),
        page=ranking.page,
        definitions=column_comments(atlas, "token_exclusivity"),
        panels={
            "tokens": ranked_tokens(
                atlas,
                ranking.where,
                sort=ranking.sort,
                descending=ranking.descending,
                limit=PER_PAGE,
                offset=ranking.offset,
            ).shown()
        },
    )


@blueprint.get("/<atlas:ref>/exclusive.csv")
def exclusive_csv(ref: AtlasRef) -> Response:
    """Every token of the selection, whatever the page, as CSV."""
    atlas = find_atlas(ref)
    ranking = read_ranking(atlas, EXCLUSIVITY_SORTS, "gap")

    def rows() -> Iterator[tuple]:
        for offset in count(0, _CHUNK):
            listing = _found(atlas, ranking, _CHUNK, offset)
            for t in listing.rows:
                yield (
                    t.token.text, t.token.token_id, t.neuron.name, t.neuron.neuron_id,
                    None if t.second_neuron is None else t.second_neuron.name, t.neuron_gap, t.congruence,
                    t.n_predicted, t.n_actual,
                )  # fmt: skip
            if offset + _CHUNK >= listing.total:
                return

    return csv_answer(f"{atlas.info.slug}-exclusive", _COLUMNS, rows())
