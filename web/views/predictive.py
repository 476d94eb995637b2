"""`/{slug}/predictive`: pairs ranked by how well activation predicts the token."""

from __future__ import annotations

from typing import Any

from atlas.core.info import AtlasInfo
from atlas.core.units import Bound
from atlas.topics.neuron_list import EXCLUSIVE
from atlas.topics.pair_metric.ranked import METRIC_SORTS, MetricFilter, ranked_metrics, ranked_statement
from atlas.topics.pair_metric.table import metric_sides
from web.views.ranking import Asked, Choice, Column, Ranking, Sentence, Words
from web.views.ranking_page import ranking_page

MAIN = ("average_precision", "auroc", "best_f1", "precision", "recall")
"""Metrics of an outcome in the table, the usual sort first."""

METRICS = (*MAIN, "lift", "top_thousandth", "mutual_information", "monotonicity")
"""All that the table can show."""

_LABELS = {"average_precision": "AP", "auroc": "AUROC", "best_f1": "best F1"}
_NUMBERS = ("lift", "mutual_information")

_OUTCOMES = (("predicted", "predicted"), ("actual", "actual"))


def _choices(info: AtlasInfo) -> tuple[Choice, ...]:
    sides = metric_sides(gated=info.gated)
    offered = [("both", "both sides"), ("positive", "positive"), ("negative", "negative")]
    pairs = [
        ("", "every pair"),
        ("top", "mutual best matches"),
        ("bottom", "mutual worst matches"),
        ("none", "no exclusive pair"),
    ]
    if len(sides) == 1:
        offered, pairs = offered[:1], [pairs[0], pairs[1], pairs[3]]
    return (
        Choice("outcome", _OUTCOMES, resets=True),
        Choice("side", tuple(offered), also=sides),
        Choice("exclusive", tuple(pairs), also=EXCLUSIVE),
        Choice("columns", (("main", "main metrics"), ("all", "all metrics"))),
    )


def _sorts(chosen: dict[str, Any]) -> tuple[str, ...]:
    outcomes = (chosen["outcome"], *(name for name, _ in _OUTCOMES))
    names = (*(f"{name}_{outcome}" for outcome in outcomes for name in METRICS), "n_predicted", "n_actual", "n_active")
    return tuple(dict.fromkeys(names))


def _columns(info: AtlasInfo, chosen: dict[str, Any]) -> tuple[Column, ...]:
    outcome, metrics = chosen["outcome"], METRICS if chosen["columns"] == "all" else MAIN
    return (
        Column("place", "place", "place"),
        Column("neuron", "neuron", "curve"),
        Column("token", "token", "token"),
        *((Column("side", "side", "side", title=""),) if info.gated else ()),
        Column("congruence", "congruence", "signed"),
        *(
            Column(
                f"{name}_{outcome}",
                _LABELS.get(name, name.replace("_", " ")),
                "number" if name in _NUMBERS else "metric",
            )
            for name in metrics
        ),
        Column(f"n_{outcome}", outcome),
        Column("n_active", "fires"),
    )


def _words(info: AtlasInfo, chosen: dict[str, Any]) -> Words:
    comes = "is the model’s top prediction" if chosen["outcome"] == "predicted" else "is the actual next token"
    return Words(
        lede=Sentence(
            "Rank all positions by a neuron’s activation: how well does that find the positions at which a token "
            f"{comes}?",
            "Does congruence predict it?",
            "prediction",
        ),
        note=Sentence(
            f"Only candidate pairs have metrics: each neuron’s most {'or least ' if info.gated else ''}congruent "
            "tokens and each token’s such neurons. Pairs with too little support have none and come last."
        ),
        csv="The whole selection with every metric as",
    )


def _where(asked: Asked) -> tuple[MetricFilter]:
    where = asked.where
    least = {"n_predicted": where.min_predicted, "n_active": where.min_score}
    return (
        MetricFilter(
            side=None if asked.chosen["side"] == "both" else asked.chosen["side"],
            every=where.every,
            layer_min=where.layer_min,
            layer_max=where.layer_max,
            token=where.token,
            exclusive=asked.chosen["exclusive"] or None,
            bounds=tuple(Bound(name, "gte", value) for name, value in least.items() if value is not None),
        ),
    )


RANKING = Ranking(
    name="predictive",
    title="Pairs by how well activation predicts",
    rows="pairs",
    counted="pairs and sides",
    table="pair_metric",
    score="active",
    score_label="fires at least",
    choices=_choices,
    sorts=_sorts,
    columns=_columns,
    words=_words,
    where=_where,
    listing=ranked_metrics,
    statement=ranked_statement,
    csv=f"neuron neuron_id token token_id side congruence source {' '.join(METRIC_SORTS)}",
    chunk=5000,
    more=lambda atlas, *_: {
        "description": f"Neurons of {atlas.info.model_name} whose activation predicts a token best, pair by pair."
    },
    data=lambda page: {"outcome": page.asked.chosen["outcome"]},
)

blueprint = ranking_page(RANKING)
