"""`/{slug}/predictive`: pairs ranked by how well activation predicts the token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from flask import Response, g

from atlas import Atlas
from atlas.core.units import Bound, Listing
from atlas.topics.neuron_list import EXCLUSIVE
from atlas.topics.pair_metric.ranked import METRIC_SORTS, MetricFilter, ranked_metrics, ranked_statement
from atlas.topics.pair_metric.table import metric_sides
from atlas.topics.tables import column_comments
from web.site import urls
from web.site.exports import csv_answer
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, page, query_choice
from web.site.urls import AtlasRef, Blueprint
from web.views.ranking import PER_PAGE, Ranking, read_ranking

blueprint = Blueprint("predictive", __name__)

SHOWN = (
    "average_precision", "auroc", "lift", "best_f1", "precision", "recall", "top_thousandth", "mutual_information",
    "monotonicity",
)  # fmt: skip
"""Metrics of an outcome in the table."""

SORTS = (
    *(f"{name}_{outcome}" for outcome in ("predicted", "actual") for name in SHOWN),
    "n_predicted", "n_actual", "n_active",
)  # fmt: skip
"""Columns that the page sorts by."""

_CHUNK = 5000
_COLUMNS = ("neuron", "neuron_id", "token", "token_id", "side", "congruence", "source")


@dataclass(frozen=True, kw_only=True)
class PredictivePage(AtlasPage, template="predictive.html"):
    """Pairs ranked by how well activation predicts the token."""

    n_layers: int = field(metadata=doc("Layers of the model."))
    sides: tuple[str, ...] = field(metadata=doc("Sides of zero that have metrics.", json=False))
    outcome: str = field(metadata=doc("Outcome whose metrics are shown: 'predicted' or 'actual'."))
    parameters: dict[str, Any] = field(
        metadata=doc(
            "What is selected and how it is sorted, as in the URL: side, outcome, exclusive, all, layer_min, "
            "layer_max, token (text it contains), min_predicted, min_active, sort, order; those that go without "
            "saying are left out."
        )
    )
    sort: str = field(metadata=doc("Column that the pairs are sorted by."))
    order: str = field(metadata=doc("'desc' or 'asc'."))
    pairs: Listing = field(metadata=doc("A page of the pairs with all their metrics."))
    page: int = field(metadata=doc("Page of the list, from 1."))
    columns: tuple[tuple[str, str], ...] = field(metadata=doc("Metrics in the table: column, label.", json=False))
    definitions: dict[str, str] = field(
        metadata=doc("What the schema says of each column of `pair_metric`.", json=False)
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@dataclass(frozen=True)
class _Asked:
    outcome: str
    where: MetricFilter
    ranking: Ranking
    parameters: dict[str, Any]

    def found(self, atlas: Atlas, limit: int, offset: int) -> Listing:
        order = {"sort": self.ranking.sort, "descending": self.ranking.descending}
        return ranked_metrics(atlas, self.where, **order, limit=limit, offset=offset)


def _read(atlas: Atlas) -> _Asked:
    outcome = query_choice("outcome", ("predicted", "actual"), "predicted")
    sides = metric_sides(gated=atlas.info.gated)
    side = query_choice("side", ("both", *sides), "both")
    exclusive = query_choice("exclusive", ("", *EXCLUSIVE), "")
    first = f"{SHOWN[0]}_{outcome}"
    ranking = read_ranking(atlas, (first, *(name for name in SORTS if name != first)), "active")
    chosen = ranking.where
    least = {"n_predicted": chosen.min_predicted, "n_active": chosen.min_score}
    where = MetricFilter(
        side=None if side == "both" else side,
        every=chosen.every,
        layer_min=chosen.layer_min,
        layer_max=chosen.layer_max,
        token=chosen.token,
        exclusive=exclusive or None,
        bounds=tuple(Bound(name, "gte", value) for name, value in least.items() if value is not None),
    )
    said = {"side": None if side == "both" else side, "outcome": None if outcome == "predicted" else outcome,
            "exclusive": exclusive or None}  # fmt: skip
    kept = {name: value for name, value in said.items() if value is not None}
    return _Asked(outcome, where, ranking, kept | ranking.parameters)


@page(blueprint, "/<atlas:ref>/predictive")
def predictive(atlas: Atlas) -> PredictivePage:
    """The ranking by a metric."""
    asked = _read(atlas)
    ranking = asked.ranking
    return PredictivePage(
        title="Pairs by how well activation predicts",
        url=urls.to("predictive", g.ref, **asked.parameters, page=ranking.page),
        **atlas_fields(atlas),
        description=f"Neurons of {atlas.info.model_name} whose activation says best that a token comes, pair by pair.",
        n_layers=atlas.info.n_layers,
        sides=metric_sides(gated=atlas.info.gated),
        outcome=asked.outcome,
        parameters=asked.parameters,
        sort=ranking.sort,
        order=ranking.order,
        pairs=asked.found(atlas, PER_PAGE, ranking.offset),
        page=ranking.page,
        columns=tuple((f"{name}_{asked.outcome}", name.replace("_", " ")) for name in SHOWN),
        definitions=column_comments(atlas, "pair_metric"),
        panels={
            "pairs": ranked_statement(
                atlas, asked.where, sort=ranking.sort, descending=ranking.descending,
                limit=PER_PAGE, offset=ranking.offset,
            ).shown()
        },
    )  # fmt: skip


@blueprint.get("/<atlas:ref>/predictive.csv")
def predictive_csv(ref: AtlasRef) -> Response:
    """Every pair of the selection with every metric, whatever the page, as CSV."""
    atlas = find_atlas(ref)
    asked = _read(atlas)

    def rows() -> Iterator[tuple]:
        for offset in count(0, _CHUNK):
            listing = asked.found(atlas, _CHUNK, offset)
            for pair in listing.rows:
                head = (pair.neuron.name, pair.neuron.neuron_id, pair.token.text, pair.token.token_id, pair.side,
                        pair.congruence, ",".join(pair.sources))  # fmt: skip
                yield (*head, *(getattr(pair, name) for name in METRIC_SORTS))
            if offset + _CHUNK >= listing.total:
                return

    return csv_answer(f"{atlas.info.slug}-predictive", (*_COLUMNS, *METRIC_SORTS), rows())
