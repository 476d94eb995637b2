"""A ranking as a page: `/{slug}/{name}` with its form, table, SQL and CSV, all made from a declared Ranking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from flask import Response, g

from atlas import Atlas
from atlas.core.units import Listing
from atlas.topics.curve import Curve
from atlas.topics.family import FamilyPair
from atlas.topics.pair_metric.effects import PairFigures
from atlas.topics.tables import column_comments
from web.charts.chart import Chart
from web.site import urls
from web.site.exports import csv_answer
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, page
from web.site.urls import AtlasRef, Blueprint
from web.views.ranking import Asked, Column, Ranking, Words, read_ranking

PER_PAGE = 100

_CSV: dict[str, Callable[[Any], Any]] = {
    "neuron": attrgetter("neuron.name"),
    "neuron_id": attrgetter("neuron.neuron_id"),
    "token": attrgetter("token.text"),
    "token_id": attrgetter("token.token_id"),
    "second_neuron": lambda row: row.second_neuron and row.second_neuron.name,
    "source": lambda row: ",".join(row.sources),
}
"""Columns of a CSV that are not the row's attribute of that name."""


@dataclass(frozen=True, kw_only=True)
class RankingPage(AtlasPage, template="ranking.html"):
    """A ranking of pairs or tokens."""

    ranking: Ranking = field(metadata=doc("What is ranked, and how it is shown.", json=False))
    words: Words = field(metadata=doc("What the page says of it.", json=False))
    asked: Asked = field(metadata=doc("What the URL asks for.", json=False))
    columns: tuple[Column, ...] = field(metadata=doc("Columns of the table.", json=False))
    decimals: dict[str, int] = field(metadata=doc("Decimals of each column's numbers.", json=False))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column.", json=False))
    n_layers: int = field(metadata=doc("Layers of the model."))
    parameters: dict[str, Any] = field(
        metadata=doc(
            "What is selected and how it is sorted, as in the URL: the ranking's choices, all, layer_min, layer_max, "
            "token (text it contains), min_predicted, what ranks (min_score, min_gap, min_active), sort, order; "
            "usual values are left out."
        )
    )
    sort: str = field(metadata=doc("Column that the rows are sorted by."))
    order: str = field(metadata=doc("'desc' or 'asc'."))
    rows: Listing = field(metadata=doc("A page of the rows, called `pairs` or `tokens`."))
    page: int = field(metadata=doc("Page of the list, from 1."))
    figures: tuple[PairFigures, ...] | None = field(
        default=None,
        metadata=doc(
            "Of each of the pairs, how well the neuron's activation predicts the token, and what ablation did.",
            json=False,
        ),
    )
    families: tuple[FamilyPair, ...] = field(
        default=(),
        metadata=doc("Of each of the pairs, its gap and rank with other spellings of the token set aside.", json=False),
    )
    curves: tuple[Curve, ...] = field(
        default=(), metadata=doc("Prediction curves of the first pairs of the selection.", json=False)
    )
    curves_chart: Chart | None = field(
        default=None, metadata=doc("The curves on one chart; null: there are none.", json=False)
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))

    def as_json(self) -> dict[str, Any]:
        """The page's data, the rows by their name, with the choices and what else this ranking has."""
        data = super().as_json()
        data[self.ranking.rows] = data.pop("rows")
        return data | self.ranking.data(self)


def ranking_page(ranking: Ranking) -> Blueprint:
    """The views of a ranking: its page and its CSV."""
    blueprint = Blueprint(ranking.name, __name__)

    def view(atlas: Atlas) -> RankingPage:
        return _page(atlas, ranking)

    def whole(ref: AtlasRef) -> Response:
        """Every row of the selection, whatever the page, as CSV."""
        atlas = find_atlas(ref)
        asked, columns = read_ranking(atlas, ranking), tuple(ranking.csv.split())
        getters = [_CSV.get(name) or attrgetter(name) for name in columns]
        total = ranking.find(atlas, asked, 0, 0).total
        rows = (
            tuple(get(row) for get in getters)
            for offset in range(0, total, ranking.chunk)
            for row in ranking.find(atlas, asked, ranking.chunk, offset).rows
        )
        return csv_answer(f"{atlas.info.slug}-{ranking.name}", columns, rows)

    view.__name__ = ranking.name
    page(blueprint, f"/<atlas:ref>/{ranking.name}")(view)
    blueprint.add_url_rule(f"/<atlas:ref>/{ranking.name}.csv", f"{ranking.name}_csv", whole)
    return blueprint


def _page(atlas: Atlas, ranking: Ranking) -> RankingPage:
    asked, info = read_ranking(atlas, ranking), atlas.info
    offset = (asked.page - 1) * PER_PAGE
    listing = ranking.find(atlas, asked, PER_PAGE, offset)
    statement = ranking.statement(atlas, *ranking.where(asked), **asked.sorting, limit=PER_PAGE, offset=offset)
    columns = ranking.columns(info, asked.chosen)
    fields = {
        "title": ranking.title,
        "url": urls.to(ranking.name, g.ref, **asked.parameters, page=asked.page),
        **atlas_fields(atlas),
        "ranking": ranking,
        "words": ranking.words(info, asked.chosen),
        "asked": asked,
        "columns": columns,
        "decimals": {column.name: column.decimals(listing.rows) for column in columns},
        "definitions": column_comments(atlas, ranking.table),
        "n_layers": info.n_layers,
        "parameters": asked.parameters,
        "sort": asked.sort,
        "order": asked.order,
        "rows": listing,
        "page": asked.page,
        "panels": {ranking.rows: statement.shown()},
    }
    more = ranking.more(atlas, ranking, asked, listing)
    return RankingPage(**fields | more | {"panels": fields["panels"] | more.get("panels", {})})
