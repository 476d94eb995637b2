"""SQL of the pages that compare what weights promise with what the data keep."""

from __future__ import annotations

from atlas.db import Atlas
from atlas.panels.literal import literal
from atlas.queries.pair_effect import effects_sql
from atlas.queries.pair_metric import ranked_statement
from atlas.queries.predictiveness_sql import contradictions_sql, density_sql, rows_sql, support_sql
from atlas.records import MetricChoice, MetricFilter


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
