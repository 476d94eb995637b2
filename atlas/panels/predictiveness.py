"""SQL of the pages that compare what weights promise with what the data keep."""

from __future__ import annotations

from atlas.core.db import Atlas
from atlas.panels.literal import literal
from atlas.topics.pair_metric.effects import effects_sql
from atlas.topics.pair_metric.ranked import MetricFilter, ranked_statement
from atlas.topics.predictiveness_sql import MetricChoice, contradictions_sql, density_sql, rows_sql, support_sql


def prediction_panels(choice: MetricChoice, limit: int, effects: int) -> dict[str, str]:
    """SQL of the page of a choice: as it is run."""
    return {
        "support": support_sql(choice),
        "density": density_sql(choice),
        "contradictions": contradictions_sql(choice, limit),
        "effects": effects_sql(limit=effects),
    }


def correlations_panels(choice: MetricChoice) -> dict[str, str]:
    """SQL of the pairs whose rank correlations are computed."""
    return {"pairs": rows_sql(choice)}


def predictive_panel(atlas: Atlas, where: MetricFilter, *, sort: str, descending: bool, limit: int, offset: int) -> str:
    """SQL of a page of the ranking by a metric."""
    return literal(ranked_statement(atlas, where, sort=sort, descending=descending, limit=limit, offset=offset))
