"""SQL of the comparison of criteria with metrics: the text that the pages both run and link to.

On the negative side, where a neuron writes its worst tokens, all signs are reversed: a pair's criterion is minus its
congruence. The gaps of any pair are its congruence less the greatest other congruence of the neuron (token gap) or of
the token (neuron gap), so that the best pair of a list has the usual gap of the list's owner, and other pairs a gap of
at most 0. The score of a pair whose gaps are both above 0, which makes it exclusive, is their product; of others the
lesser gap, so that it never falls as a gap rises.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricChoice:
    """The criterion, the metric, and the pairs to compare."""

    by: str = "congruence"
    """Criterion of the weights: one of `atlas.topics.predictiveness_sql.CRITERIA`."""
    metric: str = "auroc"
    """Metric of the data: one of `atlas.topics.predictiveness_sql.METRICS`."""
    outcome: str = "predicted"
    """The outcome: 'predicted' (the model's top prediction) or 'actual' (the token that comes next)."""
    side: str = "positive"
    """Side of zero on which the neuron fires: 'positive' or, in gated models, 'negative'."""
    pairs: str = "all"
    """'all': candidate pairs with support. 'congruent': those whose congruence on the side is above 0. 'exclusive':
    those that are each other's best on the side."""

    @property
    def column(self) -> str:
        """The metric's column of `pair_metric`."""
        return f"{self.metric}_{self.outcome}"


CRITERIA = ("congruence", "token_gap", "neuron_gap", "score")
"""Criteria: numbers of a pair from the weights."""

METRICS = ("auroc", "average_precision", "lift", "best_f1", "top_thousandth", "mutual_information", "monotonicity")
"""Metrics: numbers of a pair from the data, by outcome."""

PAIRS = ("all", "congruent", "exclusive")
"""Sets of pairs."""

ROOTED = frozenset({"average_precision", "lift", "best_f1", "top_thousandth", "mutual_information"})
"""Metrics that are small for most pairs, drawn by their square root."""

_PAIRS = """WITH gap AS (
    SELECT m.neuron_id, m.token_id, m.{column} AS metric, m.n_{outcome} AS n_outcome, m.n_active,
           {sign}c.congruence AS congruence,
           CASE n.{end}_token_id WHEN m.token_id THEN n.token_gap{bottom}
                ELSE {sign}(c.congruence - n.{end}_congruence) END AS token_gap,
           CASE t.{end}_neuron_id WHEN m.neuron_id THEN t.neuron_gap{bottom}
                ELSE {sign}(c.congruence - t.{end}_congruence) END AS neuron_gap
    FROM pair_metric AS m
    JOIN candidate_pair AS c USING (neuron_id, token_id)
    JOIN neuron AS n USING (neuron_id)
    JOIN token AS t USING (token_id)
    WHERE m.side = '{side}' AND NOT t.special AND t.n_actual > 0{supported}{among}
),
pair AS MATERIALIZED (
    SELECT *, CASE WHEN least(token_gap, neuron_gap) > 0 THEN token_gap * neuron_gap
                   ELSE least(token_gap, neuron_gap) END AS score
    FROM gap
)
"""

_AMONG = {
    "all": "",
    "congruent": "\n      AND {sign}c.congruence > 0",
    "exclusive": "\n      AND n.{end}_token_id = m.token_id AND t.{end}_neuron_id = m.neuron_id",
}

SUPPORT = """SELECT count(*) AS n_pairs, count(metric) AS n_supported,
       count(metric) FILTER (congruence > 0) AS n_congruent,
       count(metric) FILTER (token_gap >= 0 AND neuron_gap >= 0) AS n_exclusive
FROM pair"""

ROWS = """SELECT {names}p.metric, p.congruence, p.token_gap, p.neuron_gap, p.score, p.neuron_id, p.token_id
FROM pair AS p{joins}
ORDER BY p.neuron_id, p.token_id"""

DENSITY = """, drawn AS (SELECT {by}::DOUBLE AS x, {drawn} AS y FROM pair),
edge AS (
    SELECT min(x) AS x0, coalesce(nullif(max(x) - min(x), 0), 1) / 40 AS dx,
           min(y) AS y0, coalesce(nullif(max(y) - min(y), 0), 1) / 26 AS dy
    FROM drawn
),
cell AS (
    SELECT least(39, floor((x - x0) / dx)) AS i, least(25, floor((y - y0) / dy)) AS j, count(*) AS n
    FROM drawn, edge GROUP BY ALL
)
SELECT x0 + i * dx AS x_lower, x0 + (i + 1) * dx AS x_upper,
       (y0 + j * dy){squared} AS y_lower, (y0 + (j + 1) * dy){squared} AS y_upper, n
FROM cell, edge
ORDER BY i, j"""

CONTRADICTIONS = """, placed AS (
    SELECT neuron_id, token_id, {by} AS criterion, metric, n_outcome, n_active,
           percent_rank() OVER (ORDER BY {by}) AS criterion_place, percent_rank() OVER (ORDER BY metric) AS metric_place
    FROM pair
),
listed AS (
    SELECT 'denied' AS list, *
    FROM (FROM placed WHERE criterion_place > metric_place
          ORDER BY criterion_place - metric_place DESC, n_outcome DESC, neuron_id, token_id LIMIT {limit})
    UNION ALL
    SELECT 'kept', *
    FROM (FROM placed WHERE criterion_place < metric_place
          ORDER BY metric_place - criterion_place DESC, n_outcome DESC, neuron_id, token_id LIMIT {limit})
)
SELECT list, n.name AS neuron, t."text" AS token, criterion, metric, criterion_place, metric_place, n_outcome, n_active,
       l.neuron_id, l.token_id
FROM listed AS l JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)
ORDER BY list, abs(criterion_place - metric_place) DESC, n_outcome DESC, l.neuron_id, l.token_id"""


def pairs_sql(choice: MetricChoice, *, supported: bool = True) -> str:
    """The beginning of a query: `WITH pair AS (…)`, a row for each pair of the choice with its criteria and metric.
    Without `supported`, all candidate pairs of the side; an unknown metric is NULL."""
    positive = choice.side == "positive"
    words = {"sign": "" if positive else "-", "end": "best" if positive else "worst"}
    return _PAIRS.format(
        column=choice.column,
        outcome=choice.outcome,
        side=choice.side,
        bottom="" if positive else "_bottom",
        supported=f"\n      AND m.{choice.column} IS NOT NULL" if supported else "",
        among=_AMONG[choice.pairs].format(**words) if supported else "",
        **words,
    )


def density_sql(choice: MetricChoice) -> str:
    """Pairs by criterion and metric."""
    rooted = choice.metric in ROOTED
    drawn, squared = ("sqrt(metric::DOUBLE)", " ** 2") if rooted else ("metric::DOUBLE", "")
    return pairs_sql(choice) + DENSITY.format(by=choice.by, drawn=drawn, squared=squared)


def contradictions_sql(choice: MetricChoice, limit: int) -> str:
    """Pairs whose places by criterion and by metric differ most, in each direction."""
    return pairs_sql(choice) + CONTRADICTIONS.format(by=choice.by, limit=limit)


def rows_sql(choice: MetricChoice, *, named: bool = False) -> str:
    """Every pair, its criteria and its metric; `named` adds the neuron's name and the token's text for people; the
    coefficients do not need them."""
    names = 'n.name AS neuron, t."text" AS token, ' if named else ""
    joins = " JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)" if named else ""
    return pairs_sql(choice) + ROWS.format(names=names, joins=joins)


def support_sql(choice: MetricChoice) -> str:
    """How many pairs there are on the choice's side, and how many have its metric."""
    return pairs_sql(choice, supported=False) + SUPPORT
