"""SQL of families of tokens: by spelling, and by the neurons they share."""

from __future__ import annotations

_CURVES = """SELECT 'token' AS counted, p.token, p.lower, p.upper, p.n, p.n_predicted, p.n_actual, p.predicted_fraction
FROM prediction_curve AS p
WHERE p.neuron_id = {neuron} AND p.token_id = {token}
UNION ALL
SELECT 'family', f.family, f.lower, f.upper, f.n, f.n_predicted, f.n_actual, f.predicted_fraction
FROM family_curve AS f
WHERE f.neuron_id = {neuron} AND f.family_id = (SELECT family_id FROM token_family WHERE token_id = {token})
ORDER BY counted DESC, lower"""

_FAMILY = """SELECT t."text" AS token, t.n_predicted, t.n_actual, t.token_id
FROM token_family AS f JOIN token_family AS m USING (family_id) JOIN token AS t ON t.token_id = m.token_id
WHERE f.token_id = {token}
ORDER BY t.token_id"""

# A neuron weighs less the more tokens have it among their best.
_KIN = """WITH best AS (
    SELECT token_id, neuron_id, ln((SELECT d_vocab FROM atlas) / count(*) OVER (PARTITION BY neuron_id)) AS weight
    FROM token_neuron WHERE direction = 'top' AND rank <= {k}
),
own AS (SELECT neuron_id FROM best WHERE token_id = {token}),
total AS (SELECT token_id, sum(weight) AS weight FROM best GROUP BY token_id),
shared AS (
    SELECT b.token_id, count(*) AS n, sum(b.weight) AS weight, list(n.name ORDER BY b.neuron_id) AS neurons
    FROM best AS b SEMI JOIN own USING (neuron_id) JOIN neuron AS n USING (neuron_id)
    WHERE b.token_id <> {token} GROUP BY b.token_id
)
SELECT t."text" AS token,
       s.weight / (o.weight + (SELECT weight FROM total WHERE token_id = {token}) - s.weight) AS likeness,
       s.n AS n_shared, s.neurons AS shared, s.token_id
FROM shared AS s JOIN total AS o USING (token_id) JOIN token AS t USING (token_id)
WHERE s.n >= {least} AND s.weight > 0
ORDER BY likeness DESC, s.token_id
LIMIT {limit}"""


def family_curves_panel(neuron_id: int, token_id: int) -> str:
    """SQL of a token's curve of a neuron, alone and with its family."""
    return _CURVES.format(neuron=neuron_id, token=token_id)


def family_panel(token_id: int) -> str:
    """SQL of a token's spelled family."""
    return _FAMILY.format(token=token_id)


def kin_panel(token_id: int, k: int, least: int, limit: int) -> str:
    """SQL of the tokens that share at least `least` of their `k` best neurons with a token."""
    return _KIN.format(token=token_id, k=k, least=least, limit=limit)
