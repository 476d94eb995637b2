"""The SQL behind each panel of the site's pages, for people: it runs as it is, on the file or in the console."""

from __future__ import annotations

from collections.abc import Iterable

_TOKENS = """SELECT t."text" AS token, l.rank, l.congruence, l.token_id
FROM neuron_token AS l JOIN token AS t USING (token_id)
WHERE l.neuron_id = {neuron} AND l.direction = '{direction}'
ORDER BY l.rank"""

_HISTOGRAM = """SELECT b.lower, b.upper, h.n
FROM activation_histogram AS h JOIN histogram_bin AS b USING (bin)
WHERE h.neuron_id = {neuron}
ORDER BY b.bin"""

_CURVE = """SELECT lower, upper, n, n_predicted, n_actual, predicted_fraction, actual_fraction
FROM prediction_curve
WHERE neuron_id = {neuron} AND token_id = {token}
ORDER BY bin"""

_CANDIDATES = """SELECT n.name AS neuron, t."text" AS token, c.congruence, c.source,
       coalesce(sum(p.n_predicted), 0)::BIGINT AS n_predicted, coalesce(sum(p.n_actual), 0)::BIGINT AS n_actual
FROM candidate_pair AS c
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id)
LEFT JOIN prediction_histogram AS p USING (neuron_id, token_id)
WHERE c.{key} = {value}
GROUP BY c.neuron_id, c.token_id, n.name, t."text", c.congruence, c.source
ORDER BY c.congruence DESC, c.neuron_id, c.token_id"""

_THRESHOLD = """SELECT sum(n) AS n, sum(n_predicted) AS n_predicted, sum(n_predicted) / sum(n) AS precision,
       sum(n_predicted) / (SELECT nullif(sum(n_predicted), 0) FROM prediction_histogram
                           WHERE neuron_id = {neuron} AND token_id = {token}) AS recall
FROM prediction_curve
WHERE neuron_id = {neuron} AND token_id = {token} AND {beyond}"""

_TEXTS = """SELECT kind, "interval", rank, activation, right(before, 80) AS before, token, left(after, 40) AS after,
       predicted
FROM max_activating_example
WHERE neuron_id = {neuron}
ORDER BY kind, "interval" DESC, rank"""

_READS = """SELECT l.side, l.direction, l.rank, t."text" AS token, l.value, l.token_id
FROM neuron_input_token AS l JOIN token AS t USING (token_id)
WHERE l.neuron_id = {neuron}
ORDER BY l.side DESC, l.direction DESC, l.rank"""

_SIMILAR = """WITH alike AS (
    SELECT w.neuron_id, array_cosine_similarity(w.w_out, q.w_out) AS cosine
    FROM neuron_weight AS w, (SELECT w_out FROM neuron_weight WHERE neuron_id = {neuron}) AS q
    WHERE w.neuron_id <> {neuron}
    ORDER BY cosine DESC, w.neuron_id LIMIT 8)
SELECT n.name AS neuron, cosine FROM alike JOIN neuron AS n USING (neuron_id) ORDER BY cosine DESC"""

_NEURONS = """SELECT n.name AS neuron, l.rank, l.congruence
FROM token_neuron AS l JOIN neuron AS n USING (neuron_id)
WHERE l.token_id = {token} AND l.direction = '{direction}'
ORDER BY l.rank"""


def neuron_panels(
    neuron_id: int, curves: Iterable[int] = (), threshold: tuple[int, str, float] | None = None
) -> dict[str, str]:
    """SQL of a neuron's page by panel. `curves` are the token ids drawn, `threshold` (token id, side, edge)."""
    panels = {
        "writes": "\nUNION ALL\n".join(
            f"SELECT * FROM (\n{_TOKENS.format(neuron=neuron_id, direction=direction)})"
            for direction in ("top", "bottom")
        ),
        "fires": _HISTOGRAM.format(neuron=neuron_id),
        "candidates": _CANDIDATES.format(key="neuron_id", value=neuron_id),
        "texts": _TEXTS.format(neuron=neuron_id),
        "reads": _READS.format(neuron=neuron_id),
        "alike": _SIMILAR.format(neuron=neuron_id),
        "numbers": f"SELECT * FROM neuron WHERE neuron_id = {neuron_id}",
    }
    curves = list(curves)
    if curves:
        panels["predicts"] = _CURVE.format(neuron=neuron_id, token=curves[0])
    if threshold is not None:
        token, side, edge = threshold
        beyond = f"lower >= {edge!r}" if side == "above" else f"upper <= {edge!r}"
        panels["threshold"] = _THRESHOLD.format(neuron=neuron_id, token=token, beyond=beyond)
    return panels


def token_panels(token_id: int) -> dict[str, str]:
    """SQL of a token's page by panel."""
    return {
        "neurons": "\nUNION ALL\n".join(
            f"SELECT * FROM (\n{_NEURONS.format(token=token_id, direction=direction)})"
            for direction in ("top", "bottom")
        ),
        "candidates": _CANDIDATES.format(key="token_id", value=token_id),
        "numbers": f"SELECT * FROM token WHERE token_id = {token_id}",
    }


OVERVIEW_PANELS = {
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
    "layers": """SELECT layer, count(*) FILTER (dead) AS dead, avg(best_congruence) AS mean_best_congruence,
       max(best_congruence) AS greatest, avg(token_gap) AS mean_token_gap, max(token_gap) AS greatest_token_gap,
       avg(w_out_norm) AS mean_output_norm, avg(activation_std) AS mean_activation_std,
       min(activation_min) AS least_activation, max(activation_max) AS greatest_activation,
       avg(positive_fraction) AS positive
FROM neuron
GROUP BY layer
ORDER BY layer""",
    "provenance": "SELECT * EXCLUDE (readout_mean) FROM atlas",
}
"""SQL of the overview's page by panel."""
