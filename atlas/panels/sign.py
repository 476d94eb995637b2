"""SQL of the sign cases of a gated neuron."""

from __future__ import annotations

_CASES = """SELECT s.gate_positive, s.in_positive, s.n, s.n / a.n_positions AS share, s.activation_mean,
       s.activation_extreme, s.text_id, s.position, t."text" AS token
FROM sign_case AS s JOIN "text" AS x USING (text_id) JOIN token AS t ON t.token_id = x.token_ids[s.position + 1],
     atlas AS a
WHERE s.neuron_id = {neuron}
ORDER BY s.gate_positive DESC, s.in_positive DESC"""


def sign_cases_panel(neuron_id: int) -> str:
    """SQL of a neuron's sign cases."""
    return _CASES.format(neuron=neuron_id)
