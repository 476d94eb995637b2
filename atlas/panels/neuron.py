"""SQL of a neuron's page."""

from __future__ import annotations

from collections.abc import Iterable

from atlas.panels.kind import kind_panel
from atlas.panels.pair import CANDIDATES, EXCLUSIVE, curves
from atlas.panels.sign import sign_cases_panel
from atlas.panels.standing import standing
from atlas.panels.weights import similar_panel
from atlas.queries.study import STANDS_OUT

_TOKENS = """SELECT t."text" AS token, l.rank, l.congruence, l.token_id
FROM neuron_token AS l JOIN token AS t USING (token_id)
WHERE l.neuron_id = {neuron} AND l.direction = '{direction}'
ORDER BY l.rank"""

_HISTOGRAM = """SELECT b.lower, b.upper, h.n
FROM activation_histogram AS h JOIN histogram_bin AS b USING (bin)
WHERE h.neuron_id = {neuron}
ORDER BY b.bin"""

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

_PLACE = """SELECT name AS neuron, best_congruence, rank
FROM (
    SELECT neuron_id, name, best_congruence,
           row_number() OVER (PARTITION BY layer ORDER BY best_congruence DESC, neuron_id) AS rank
    FROM neuron
)
WHERE neuron_id = {neuron}"""

# Equal but for spaces around and case is the same token here.
_GUARD = """WITH fired AS (
    SELECT kind, unnest(['token it fires on', 'token predicted there']) AS what, unnest([token, predicted]) AS token
    FROM max_activating_example
    WHERE neuron_id = {neuron} AND kind IN ('max', 'interval')
),
share AS (
    SELECT what, coalesce(nullif(lower(trim(token)), ''), token, '') AS token,
           count(*) FILTER (kind = 'max') AS n_maximum, count(*) FILTER (kind = 'interval') AS n_ordinary
    FROM fired
    GROUP BY ALL
),
total AS (SELECT what, sum(n_maximum) AS maximum, sum(n_ordinary) AS ordinary FROM share GROUP BY what)
SELECT what, maximum AS n_maximum, count(*) FILTER (n_maximum > 0) AS distinct_maximum,
       ordinary AS n_ordinary, count(*) FILTER (n_ordinary > 0) AS distinct_ordinary,
       1 - sum(least(n_maximum / maximum, n_ordinary / ordinary)) AS distance
FROM share JOIN total USING (what)
GROUP BY ALL
ORDER BY what"""


def neuron_panels(
    neuron_id: int, tokens: Iterable[int] = (), threshold: tuple[int, str, float] | None = None
) -> dict[str, str]:
    """SQL of a neuron's page by panel. `tokens` have their curves drawn, `threshold` is (token id, side, edge)."""
    panels = {
        "place": _PLACE.format(neuron=neuron_id),
        "pairs": EXCLUSIVE.format(key="neuron_id", value=neuron_id),
        "writes": "\nUNION ALL\n".join(
            f"SELECT * FROM (\n{_TOKENS.format(neuron=neuron_id, direction=direction)})"
            for direction in ("top", "bottom")
        ),
        "fires": _HISTOGRAM.format(neuron=neuron_id),
        "candidates": CANDIDATES.format(key="neuron_id", value=neuron_id),
        "texts": _TEXTS.format(neuron=neuron_id),
        "guard": _GUARD.format(neuron=neuron_id),
        "reads": _READS.format(neuron=neuron_id),
        "kind": kind_panel(neuron_id),
        "signs": sign_cases_panel(neuron_id),
        "studies": STANDS_OUT.shown(neuron=neuron_id),
        "alike": similar_panel(neuron_id, "out", 8),
        "numbers": standing([neuron_id]),
    }
    tokens = list(tokens)
    if tokens:
        panels["predicts"] = curves([(neuron_id, token) for token in tokens])
    if threshold is not None:
        token, side, edge = threshold
        beyond = f"lower >= {edge!r}" if side == "above" else f"upper <= {edge!r}"
        panels["threshold"] = _THRESHOLD.format(neuron=neuron_id, token=token, beyond=beyond)
    return panels
