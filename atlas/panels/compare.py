"""SQL of the page that sets neurons side by side."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.core.statements import wrapped
from atlas.panels.pair import curves
from atlas.panels.standing import standing

_NUMBERS = """SELECT n.name AS neuron, best."text" AS best_token, worst."text" AS worst_token,
       {columns}
FROM neuron AS n
JOIN token AS best ON best.token_id = n.best_token_id
JOIN token AS worst ON worst.token_id = n.worst_token_id
WHERE n.neuron_id IN ({neurons})
ORDER BY list_position([{neurons}], n.neuron_id)"""

_COSINES = """WITH chosen AS (
    SELECT n.neuron_id, n.name AS neuron, w.w_out
    FROM neuron AS n JOIN neuron_weight AS w USING (neuron_id)
    WHERE n.neuron_id IN ({neurons})
)
SELECT a.neuron, b.neuron AS second_neuron, array_cosine_similarity(a.w_out, b.w_out) AS cosine
FROM chosen AS a CROSS JOIN chosen AS b
ORDER BY list_position([{neurons}], a.neuron_id), list_position([{neurons}], b.neuron_id)"""

_HISTOGRAMS = """SELECT n.name AS neuron, b.lower, b.upper, h.n
FROM activation_histogram AS h
JOIN histogram_bin AS b USING (bin)
JOIN neuron AS n USING (neuron_id)
WHERE h.neuron_id IN ({neurons})
ORDER BY list_position([{neurons}], h.neuron_id), b.bin"""

_TOKENS = """WITH listed AS (
    SELECT neuron_id, token_id, any_value(congruence) AS congruence
    FROM neuron_token
    WHERE neuron_id IN ({neurons})
    GROUP BY neuron_id, token_id
)
SELECT t."text" AS token,
       {columns},
       t.token_id
FROM listed AS l JOIN token AS t USING (token_id)
GROUP BY t.token_id, t."text"
HAVING count(*) > 1
ORDER BY count(*) DESC, sum(abs(l.congruence::DOUBLE)) DESC, t.token_id
LIMIT 40"""

_TEXTS = """WITH strongest AS (
    SELECT *, count(*) OVER (PARTITION BY text_id) AS n_neurons
    FROM (
        SELECT * FROM example
        WHERE neuron_id IN ({neurons})
        QUALIFY row_number() OVER (PARTITION BY text_id, neuron_id ORDER BY abs(activation) DESC, kind) = 1
    )
)
SELECT s.text_id, n.name AS neuron, s.position, s.activation, t."text" AS token, p."text" AS predicted
FROM strongest AS s
JOIN neuron AS n USING (neuron_id)
JOIN "text" AS x USING (text_id)
JOIN token AS t ON t.token_id = x.token_ids[s.position + 1]
JOIN token AS p ON p.token_id = s.predicted_token_id
WHERE s.n_neurons > 1
QUALIFY dense_rank() OVER (ORDER BY s.n_neurons DESC, s.text_id) <= 20
ORDER BY s.n_neurons DESC, s.text_id, list_position([{neurons}], s.neuron_id)"""


def compare_panels(
    neuron_ids: Sequence[int], names: Sequence[str], columns: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> dict[str, str]:
    """SQL of the page by panel. `names` are the neurons', `columns` those of `neuron` set side by side, `pairs` the
    pairs (neuron_id, token_id) whose curves are drawn."""
    if not neuron_ids:
        return {}
    neurons = ", ".join(map(str, neuron_ids))
    by_neuron = ",\n       ".join(
        f'any_value(l.congruence) FILTER (l.neuron_id = {neuron_id}) AS "{name}"'
        for neuron_id, name in zip(neuron_ids, names, strict=True)
    )
    panels = {
        "numbers": _NUMBERS.format(columns=wrapped((f"n.{name}" for name in columns), 7), neurons=neurons),
        "percentiles": standing(neuron_ids, columns),
        "cosines": _COSINES.format(neurons=neurons),
        "histograms": _HISTOGRAMS.format(neurons=neurons),
        "tokens": _TOKENS.format(neurons=neurons, columns=by_neuron),
        "texts": _TEXTS.format(neurons=neurons),
    }
    return panels | ({"curves": curves(list(pairs))} if pairs else {})
