"""SQL of the overview and of a layer's page."""

from __future__ import annotations

from atlas.panels.study import STUDIES_PANELS
from atlas.queries.kind import LAYER_KINDS
from atlas.queries.overview import MIN_PREDICTED

PAIRED = """paired AS (
    SELECT n.layer, count(*) AS exclusive_pairs
    FROM pair AS p JOIN neuron AS n USING (neuron_id)
    WHERE p.direction = 'top' AND NOT p.special AND p.n_actual > 0
    GROUP BY n.layer
)"""

_NOTABLE = f"""WITH chosen AS (
    SELECT * FROM pair
    WHERE NOT special AND n_actual > 0 AND n_predicted > 0
    ORDER BY least(n_predicted, {MIN_PREDICTED}) DESC, score DESC, neuron_id
    LIMIT 400
),
cell AS (
    SELECT p.direction, p.neuron_id, p.n_predicted AS wanted, h.n, coalesce(c.n_predicted, 0) AS n_predicted,
           sum(h.n) OVER (
               PARTITION BY p.direction, p.neuron_id
               ORDER BY CASE p.direction WHEN 'top' THEN -h.bin ELSE h.bin END
           ) - h.n AS beyond
    FROM chosen AS p
    JOIN activation_histogram AS h USING (neuron_id)
    LEFT JOIN prediction_histogram AS c ON c.neuron_id = p.neuron_id AND c.token_id = p.token_id AND c.bin = h.bin
),
tail AS (
    SELECT direction, neuron_id, sum(n)::BIGINT AS tail_n, sum(n_predicted) / sum(n) AS tail_fraction
    FROM cell WHERE beyond < greatest(wanted, {MIN_PREDICTED}) GROUP BY ALL
),
risen AS (
    SELECT *, n_predicted / greatest(1, (SELECT n_positions FROM atlas)) AS base_fraction
    FROM chosen JOIN tail USING (direction, neuron_id)
)
SELECT neuron, token, direction, tail_n, tail_fraction, base_fraction, n_predicted, score
FROM risen
QUALIFY row_number() OVER (
    PARTITION BY neuron_id ORDER BY least(n_predicted, {MIN_PREDICTED}) DESC, tail_fraction - base_fraction DESC
) = 1
ORDER BY least(n_predicted, {MIN_PREDICTED}) DESC, tail_fraction - base_fraction DESC, score DESC, neuron_id
LIMIT 3"""

OVERVIEW_PANELS = {
    "notable": _NOTABLE,
    "pairs": """SELECT rank, neuron, token, score, congruence, token_gap, neuron_gap, n_predicted, n_actual
FROM pair
WHERE direction = 'top' AND NOT special AND n_actual > 0
ORDER BY rank
LIMIT 12""",
    "single": """SELECT n.name AS neuron, t."text" AS token, n.token_gap
FROM neuron AS n JOIN token AS t ON t.token_id = n.best_token_id
WHERE NOT t.special AND t.n_actual > 0
ORDER BY n.token_gap DESC NULLS LAST, n.neuron_id
LIMIT 8""",
    "hub_tokens": """SELECT token_id, "text" AS token, hub_count
FROM token ORDER BY hub_count DESC, token_id LIMIT 8""",
    "hub_neurons": "SELECT name AS neuron, hub_count FROM neuron ORDER BY hub_count DESC, neuron_id LIMIT 8",
    "layers": f"""WITH {PAIRED}
SELECT layer, count(*) FILTER (dead) AS dead, coalesce(any_value(exclusive_pairs), 0) AS exclusive_pairs,
       avg(best_congruence) AS mean_best_congruence,
       max(best_congruence) AS greatest, avg(token_gap) AS mean_token_gap, max(token_gap) AS greatest_token_gap,
       avg(w_out_norm) AS mean_output_norm, avg(activation_std) AS mean_activation_std,
       min(activation_min) AS least_activation, max(activation_max) AS greatest_activation,
       avg(positive_fraction) AS positive
FROM neuron LEFT JOIN paired USING (layer)
GROUP BY layer
ORDER BY layer""",
    "kinds": LAYER_KINDS.shown(),
    **STUDIES_PANELS,
    "provenance": "SELECT * EXCLUDE (readout_mean) FROM atlas",
}
"""SQL of the overview's page by panel."""
