"""SQL of the page of hubs, and of what centring the readout does to them."""

from __future__ import annotations

from atlas.topics.hub import LOOKED_AT

_NEURONS = """WITH greatest AS (
    SELECT neuron_id, name, hub_count FROM neuron WHERE hub_count > 0 ORDER BY hub_count DESC, neuron_id LIMIT {limit}
)
SELECT g.name AS neuron, g.hub_count AS best_of, g.hub_count / (SELECT d_vocab FROM atlas) AS share_of_tokens,
       count(l.token_id) AS in_lists
FROM greatest AS g
LEFT JOIN token_neuron AS l ON l.neuron_id = g.neuron_id AND l.direction = 'top' AND l.rank <= {k}
GROUP BY g.neuron_id, g.name, g.hub_count
ORDER BY g.hub_count DESC, g.neuron_id"""

_TOKENS = """WITH greatest AS (
    SELECT token_id, "text", hub_count FROM token WHERE hub_count > 0 ORDER BY hub_count DESC, token_id LIMIT {limit}
)
SELECT g."text" AS token, g.hub_count AS best_of, g.hub_count / (SELECT count(*) FROM neuron) AS share_of_neurons,
       count(l.neuron_id) AS in_lists, g.token_id
FROM greatest AS g
LEFT JOIN neuron_token AS l ON l.token_id = g.token_id AND l.direction = 'top' AND l.rank <= {k}
GROUP BY g.token_id, g."text", g.hub_count
ORDER BY g.hub_count DESC, g.token_id"""

_LISTS = """WITH listed AS (
    SELECT neuron_id, count(*) AS n FROM token_neuron WHERE direction = 'top' AND rank <= {k} GROUP BY neuron_id
),
named AS (
    SELECT token_id, count(*) AS n FROM neuron_token WHERE direction = 'top' AND rank <= {k} GROUP BY token_id
),
occurrence AS (
    SELECT 'neurons' AS units, coalesce(n, 0) AS in_lists FROM neuron LEFT JOIN listed USING (neuron_id)
    UNION ALL
    SELECT 'tokens', coalesce(n, 0) FROM token LEFT JOIN named USING (token_id)
)
"""

_SUMMARY = """,
centred AS (SELECT *, in_lists - avg(in_lists) OVER (PARTITION BY units) AS deviation FROM occurrence)
SELECT units, count(*) AS n, avg(in_lists) AS mean, max(in_lists) AS greatest,
       count(*) FILTER (in_lists = 0) AS in_none,
       avg(deviation ** 3) / nullif(avg(deviation ** 2), 0) ** 1.5 AS skewness
FROM centred
GROUP BY units
ORDER BY units"""

_DISTRIBUTION = """SELECT units, in_lists, count(*) AS n,
       sum(count(*)) OVER (PARTITION BY units ORDER BY in_lists DESC) AS n_at_least
FROM occurrence
GROUP BY units, in_lists
ORDER BY units, in_lists"""

# Each token's best neuron with the mean put back (or taken off), looked for as in atlas/topics/hub.py.
_CENTRING = """WITH shifted AS MATERIALIZED (
    SELECT neuron_id, mean_congruence * CASE a.readout WHEN 'unembed' THEN 1 ELSE -1 END::FLOAT AS gain
    FROM neuron, atlas AS a
),
gaining AS MATERIALIZED (
    SELECT neuron_id, gain, w_out
    FROM (FROM shifted ORDER BY gain DESC, neuron_id LIMIT {looked_at}) JOIN neuron_weight USING (neuron_id)
),
offer AS (
    SELECT w.token_id, g.neuron_id, array_inner_product(w.readout, g.w_out) + g.gain AS value
    FROM token_weight AS w CROSS JOIN gaining AS g
    UNION ALL
    SELECT l.token_id, l.neuron_id, l.congruence + s.gain
    FROM token_neuron AS l JOIN shifted AS s USING (neuron_id)
    WHERE l.direction = 'top'
),
best AS (SELECT token_id, arg_max(neuron_id, (value, -neuron_id)) AS neuron_id FROM offer GROUP BY token_id),
counted AS (SELECT neuron_id, count(*) AS n FROM best GROUP BY neuron_id),
hub AS (
    SELECT n.neuron_id, n.name AS neuron, n.mean_congruence,
           CASE a.readout WHEN 'unembed' THEN n.hub_count ELSE coalesce(c.n, 0) END AS best_of_centred,
           CASE a.readout WHEN 'unembed' THEN coalesce(c.n, 0) ELSE n.hub_count END AS best_of_uncentred
    FROM neuron AS n LEFT JOIN counted AS c USING (neuron_id), atlas AS a
)
SELECT neuron, best_of_centred, best_of_uncentred, mean_congruence
FROM hub
WHERE {by} > 0
ORDER BY {by} DESC, neuron_id
LIMIT {limit}"""


def hub_panels(k: int, limit: int = 50) -> dict[str, str]:
    """SQL of the page of hubs by panel; `k` is how long the lists are that are counted."""
    lists = _LISTS.format(k=k)
    return {
        "occurrence": lists.rstrip() + _SUMMARY,
        "distribution": lists + _DISTRIBUTION,
        "neurons": _NEURONS.format(k=k, limit=limit),
        "tokens": _TOKENS.format(k=k, limit=limit),
    }


def centring_panels(limit: int = 20) -> dict[str, str]:
    """SQL of the greatest hubs with the readout centred and without."""
    return {
        name: _CENTRING.format(looked_at=LOOKED_AT, by=f"best_of_{name}", limit=limit)
        for name in ("centred", "uncentred")
    }
