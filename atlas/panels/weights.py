"""SQL that reads all the weights: one neuron with every token, one token with every neuron, neurons alike."""

from __future__ import annotations

_CONGRUENCES = """WITH congruence AS MATERIALIZED (
    SELECT token_id, array_inner_product(
        readout, (SELECT w_out FROM neuron_weight WHERE neuron_id = {neuron})) AS congruence
    FROM token_weight
)"""

_BARS = """,
ends AS (
    SELECT min(congruence)::DOUBLE AS least, (max(congruence)::DOUBLE - min(congruence)) / {bars} AS width
    FROM congruence
),
binned AS (
    SELECT least + width * place AS lower, least + width * (place + 1) AS upper
    FROM (SELECT least, width, least({bars} - 1, floor((congruence - least) / nullif(width, 0)))::INTEGER AS place
          FROM congruence, ends)
)
SELECT lower, upper, count(*) AS tokens FROM binned GROUP BY ALL ORDER BY lower"""

_TOKENS = """
SELECT row_number() OVER (ORDER BY c.congruence {order}, c.token_id) AS rank, t."text" AS token, c.congruence,
       c.token_id
FROM congruence AS c JOIN token AS t USING (token_id)
ORDER BY c.congruence {order}, c.token_id
LIMIT {limit}"""

_OF_TOKEN = """WITH congruence AS MATERIALIZED (
    SELECT neuron_id, array_inner_product(
        w_out, (SELECT readout FROM token_weight WHERE token_id = {token})) AS congruence
    FROM neuron_weight
)"""

_LAYERS = """
SELECT n.layer, min(congruence) AS least, quantile_cont(congruence, 0.01) AS p1, quantile_cont(congruence, 0.25) AS p25,
       median(congruence) AS median, quantile_cont(congruence, 0.75) AS p75, quantile_cont(congruence, 0.99) AS p99,
       max(congruence) AS greatest
FROM congruence JOIN neuron AS n USING (neuron_id)
GROUP BY n.layer
ORDER BY n.layer"""

_FARTHEST = """
SELECT n.name AS neuron, far.congruence
FROM (SELECT * FROM congruence ORDER BY abs(congruence) DESC, neuron_id LIMIT {limit}) AS far
JOIN neuron AS n USING (neuron_id)
ORDER BY far.congruence DESC, neuron_id"""

_SIMILAR = """WITH alike AS MATERIALIZED (
    SELECT w.neuron_id, array_cosine_similarity(w.w_{side}, q.w_{side}) AS cosine
    FROM neuron_weight AS w, (SELECT w_{side} FROM neuron_weight WHERE neuron_id = {neuron}) AS q
    WHERE w.neuron_id <> {neuron}
),
chosen AS (
    FROM (FROM alike WHERE NOT isnan(cosine) ORDER BY cosine DESC, neuron_id LIMIT {each})
    UNION
    FROM (FROM alike WHERE NOT isnan(cosine) ORDER BY cosine, neuron_id DESC LIMIT {each})
)
SELECT n.name AS neuron, cosine, b."text" AS best_token, w."text" AS worst_token
FROM chosen
JOIN neuron AS n USING (neuron_id)
JOIN token AS b ON b.token_id = n.best_token_id
JOIN token AS w ON w.token_id = n.worst_token_id
ORDER BY cosine DESC, neuron_id"""


def neuron_tokens_panels(neuron_id: int, n_bars: int, limit: int) -> dict[str, str]:
    """SQL of a neuron's congruence with every token: the bars of the chart, the extremes."""
    start = _CONGRUENCES.format(neuron=neuron_id)
    return {
        "spread": start + _BARS.format(bars=n_bars),
        "top": start + _TOKENS.format(order="DESC", limit=limit),
        "bottom": start + _TOKENS.format(order="ASC", limit=limit),
    }


def token_neurons_panels(token_id: int, limit: int) -> dict[str, str]:
    """SQL of a token's congruence with every neuron: quantiles by layer, the neurons farthest from zero."""
    start = _OF_TOKEN.format(token=token_id)
    return {"layers": start + _LAYERS, "outliers": start + _FARTHEST.format(limit=limit)}


def similar_panel(neuron_id: int, side: str, n_each: int) -> str:
    """SQL of the neurons whose weights on a side ('out', 'in', 'gate') point most the same way, then least."""
    return _SIMILAR.format(neuron=neuron_id, side=side, each=n_each)
