"""SQL of rankings by reduced congruence."""

from __future__ import annotations

_RANKED = """SELECT {other}, reduced, congruence, rank, neuron_mean, token_mean
FROM reduced_congruence
WHERE list = '{unit}' AND {unit}_id = {id}
ORDER BY reduced DESC, {other}_id"""

_BEST = """WITH best AS (
    SELECT token_id, arg_max(neuron_id, (reduced, -neuron_id)) AS neuron_id
    FROM reduced_congruence WHERE list = 'token' GROUP BY token_id
),
counted AS (SELECT neuron_id, count(*) AS n FROM best GROUP BY neuron_id)
SELECT n.name AS neuron, n.hub_count AS best_of, coalesce(c.n, 0) AS best_of_reduced
FROM neuron AS n LEFT JOIN counted AS c USING (neuron_id)
WHERE {by} > 0
ORDER BY {by} DESC, n.neuron_id
LIMIT {limit}"""

_OCCURRENCE = """WITH placed AS (
    SELECT neuron_id, rank <= {k} AS plain,
           row_number() OVER (PARTITION BY token_id ORDER BY reduced DESC, neuron_id) <= {k} AS reduced
    FROM reduced_congruence WHERE list = 'token'
),
occurrence AS (
    SELECT unnest(['congruence', 'reduced congruence']) AS ranked_by,
           unnest([count(*) FILTER (p.plain), count(*) FILTER (p.reduced)]) AS in_lists
    FROM neuron LEFT JOIN placed AS p USING (neuron_id) GROUP BY neuron_id
),
centred AS (SELECT *, in_lists - avg(in_lists) OVER (PARTITION BY ranked_by) AS deviation FROM occurrence)
SELECT ranked_by, max(in_lists) AS greatest, count(*) FILTER (in_lists = 0) AS in_none,
       avg(deviation ** 3) / nullif(avg(deviation ** 2), 0) ** 1.5 AS skewness
FROM centred
GROUP BY ranked_by
ORDER BY ranked_by"""


def reduced_tokens_panel(neuron_id: int) -> str:
    """SQL of a neuron's stored tokens by reduced congruence."""
    return _RANKED.format(unit="neuron", other="token", id=neuron_id)


def reduced_neurons_panel(token_id: int) -> str:
    """SQL of a token's stored neurons by reduced congruence."""
    return _RANKED.format(unit="token", other="neuron", id=token_id)


def reduced_hubs_panels(k: int, limit: int) -> dict[str, str]:
    """SQL of what reduced congruence does to hubs, by panel."""
    return {
        "occurrence": _OCCURRENCE.format(k=k),
        "plain": _BEST.format(by="best_of", limit=limit),
        "reduced": _BEST.format(by="best_of_reduced", limit=limit),
    }
