"""`/{slug}/pairs`: exclusive pairs, filtered and sorted, and the curves of the first five."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from flask import Response, g

from atlas import Atlas
from atlas.core.units import Listing
from atlas.topics.curve import CURVES, Curve, of_pairs, pair_curves
from atlas.topics.pair import PAIR_SORTS, exclusive_pairs, ranked_pairs
from atlas.topics.pair_metric.effects import PairFigures, pair_figures
from atlas.topics.tables import column_comments
from web.charts.chart import Chart
from web.charts.curve import curves_chart
from web.site import urls
from web.site.exports import csv_answer
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, page, query_choice
from web.site.urls import AtlasRef, Blueprint
from web.views.ranking import PER_PAGE, Ranking, read_ranking

blueprint = Blueprint("pairs", __name__)

MAX_CURVES = 5
_CHUNK = 5000
_COLUMNS = (
    "direction", "rank", "neuron", "neuron_id", "token", "token_id", "score", "congruence", "token_gap", "neuron_gap",
    "n_predicted", "n_actual",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PairsPage(AtlasPage, template="pairs.html"):
    """The ranking of exclusive pairs."""

    gated: bool = field(metadata=doc("Whether the MLP is gated; only then are there pairs at the bottom."))
    n_layers: int = field(metadata=doc("Layers of the model."))
    direction: str = field(metadata=doc("'top': each other's best. 'bottom': each other's worst."))
    parameters: dict[str, Any] = field(
        metadata=doc(
            "What is selected and how it is sorted, as in the URL: all, layer_min, layer_max, token (text it "
            "contains), min_predicted, min_score, sort, order; those that go without saying are left out."
        )
    )
    sort: str = field(metadata=doc("Column that the pairs are sorted by."))
    order: str = field(metadata=doc("'desc' or 'asc'."))
    pairs: Listing = field(metadata=doc("A page of the pairs; `rank` counts those left out too."))
    page: int = field(metadata=doc("Page of the list, from 1."))
    figures: tuple[PairFigures, ...] = field(
        metadata=doc(
            "Of each of the pairs, how well the neuron's activation predicts the token, and what ablation did."
        )
    )
    curves: tuple[Curve, ...] = field(metadata=doc("Prediction curves of the first five pairs of the selection."))
    curves_chart: Chart | None = field(metadata=doc("The curves on one chart; null: no pair is selected.", json=False))
    definitions: dict[str, str] = field(
        metadata=doc("What the schema says of each column of `exclusive_pair`.", json=False)
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


def _read(atlas: Atlas) -> tuple[str, Ranking, dict[str, Any]]:
    direction = query_choice("direction", ("top", "bottom"), "top")
    ranking = read_ranking(atlas, PAIR_SORTS, "score")
    return direction, ranking, ({"direction": direction} if direction != "top" else {}) | ranking.parameters


def _found(atlas: Atlas, direction: str, ranking: Ranking, limit: int, offset: int) -> Listing:
    order = {"sort": ranking.sort, "descending": ranking.descending}
    return exclusive_pairs(atlas, direction, ranking.where, **order, limit=limit, offset=offset)


def _label(curve: Curve) -> str:
    return f"{curve.candidate.neuron.name} {curve.candidate.token.shown}"


@page(blueprint, "/<atlas:ref>/pairs")
def pairs(atlas: Atlas) -> PairsPage:
    """The ranking of exclusive pairs."""
    direction, ranking, parameters = _read(atlas)
    listing = _found(atlas, direction, ranking, PER_PAGE, ranking.offset)
    first = listing if ranking.page == 1 else _found(atlas, direction, ranking, MAX_CURVES, 0)
    curves = tuple(pair_curves(atlas, first.rows[:MAX_CURVES]))
    panels = {
        "pairs": ranked_pairs(
            atlas, direction, ranking.where, sort=ranking.sort, descending=ranking.descending,
            limit=PER_PAGE, offset=ranking.offset, figures=True,
        ).shown()
    }  # fmt: skip
    if curves:
        panels["curves"] = CURVES.shown(**of_pairs(curve.candidate for curve in curves))
    title = f"Predictions of the first {len(curves)} exclusive pairs against the neuron’s activation"
    return PairsPage(
        title="Exclusive pairs",
        url=urls.to("pairs", g.ref, **parameters, page=ranking.page),
        **atlas_fields(atlas),
        gated=atlas.info.gated,
        n_layers=atlas.info.n_layers,
        direction=direction,
        parameters=parameters,
        sort=ranking.sort,
        order=ranking.order,
        pairs=listing,
        figures=tuple(
            pair_figures(atlas, [(p.neuron.neuron_id, p.token.token_id, p.congruence) for p in listing.rows])
        ),
        page=ranking.page,
        curves=curves,
        curves_chart=curves_chart("pairs", curves, title=title, label=_label) if curves else None,
        definitions=column_comments(atlas, "exclusive_pair"),
        panels=panels,
    )


@blueprint.get("/<atlas:ref>/pairs.csv")
def pairs_csv(ref: AtlasRef) -> Response:
    """Every pair of the selection, whatever the page, as CSV."""
    atlas = find_atlas(ref)
    direction, ranking, _ = _read(atlas)

    def rows() -> Iterator[tuple]:
        for offset in count(0, _CHUNK):
            listing = _found(atlas, direction, ranking, _CHUNK, offset)
            for p in listing.rows:
                yield (
                    p.direction, p.rank, p.neuron.name, p.neuron.neuron_id, p.token.text, p.token.token_id, p.score,
                    p.congruence, p.token_gap, p.neuron_gap, p.n_predicted, p.n_actual,
                )  # fmt: skip
            if offset + _CHUNK >= listing.total:
                return

    return csv_answer(f"{atlas.info.slug}-pairs", _COLUMNS, rows())
