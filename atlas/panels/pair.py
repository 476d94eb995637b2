"""SQL of what is counted of pairs, which several pages show."""

from __future__ import annotations

CANDIDATES = """SELECT n.name AS neuron, t."text" AS token, c.congruence, c.source,
       coalesce(sum(p.n_predicted), 0)::BIGINT AS n_predicted, coalesce(sum(p.n_actual), 0)::BIGINT AS n_actual,
       any_value(m.auroc_predicted) AS auroc, any_value(m.average_precision_predicted) AS average_precision,
       any_value(e.probability_change) AS ablated
FROM candidate_pair AS c
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id)
LEFT JOIN prediction_histogram AS p USING (neuron_id, token_id)
LEFT JOIN pair_metric AS m ON m.neuron_id = c.neuron_id AND m.token_id = c.token_id
    AND m.side = CASE WHEN c.congruence < 0 AND (SELECT gated FROM atlas) THEN 'negative' ELSE 'positive' END
LEFT JOIN pair_effect AS e ON e.neuron_id = m.neuron_id AND e.token_id = m.token_id AND e.side = m.side
WHERE c.{key} = {value}
GROUP BY c.neuron_id, c.token_id, n.name, t."text", c.congruence, c.source
ORDER BY c.congruence DESC, c.neuron_id, c.token_id"""
"""Pairs that were counted, by `key` ('neuron_id' or 'token_id') and its value."""


def curves(pairs: list[tuple[int, int]]) -> str:
    """Curves of pairs (neuron_id, token_id), in their order."""
    neurons, tokens = dict.fromkeys(n for n, _ in pairs), dict.fromkeys(t for _, t in pairs)
    listed = ", ".join(f"[{neuron}, {token}]" for neuron, token in pairs)
    wanted = f"WHERE neuron_id IN ({', '.join(map(str, neurons))}) AND token_id IN ({', '.join(map(str, tokens))})"
    if len(pairs) < len(neurons) * len(tokens):
        wanted += f"\n  AND list_contains([{listed}], [neuron_id, token_id])"
    return f"""SELECT neuron, token, lower, upper, n, n_predicted, n_actual, predicted_fraction, actual_fraction
FROM prediction_curve
{wanted}
ORDER BY list_position([{listed}], [neuron_id, token_id]), bin"""


EXCLUSIVE = """SELECT neuron, token, direction, rank, score, token_gap, neuron_gap, congruence
FROM pair
WHERE {key} = {value}
ORDER BY direction DESC"""
"""Exclusive pairs of one neuron or token, by `key` ('neuron_id' or 'token_id') and its value."""
