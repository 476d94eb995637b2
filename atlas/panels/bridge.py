"""SQL of the pages about several atlases: it runs wherever every one of them is attached under its slug, as in the
site's console and in `atlas sql --with`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atlas.core.names import database_name
from atlas.panels.literal import text as literal

_NUMBERS = """SELECT '{slug}' AS atlas, t."text" AS token, t.n_input, t.n_actual, t.n_predicted,
       n.name AS best_neuron, t.best_congruence, t.neuron_gap, t.token_id
FROM {database}.token AS t JOIN {database}.neuron AS n ON n.neuron_id = t.best_neuron_id
WHERE t."text" = {text}"""

_NEURONS = """SELECT '{slug}' AS atlas, l.rank, n.name AS neuron, l.congruence
FROM {database}.token_neuron AS l
JOIN {database}.neuron AS n USING (neuron_id)
JOIN {database}.token AS t USING (token_id)
WHERE t."text" = {text} AND l.direction = 'top'"""

_CURVES = """SELECT '{slug}' AS atlas, c.neuron, c.lower, c.upper, c.n, c.n_predicted, c.n_actual,
       c.predicted_fraction, c.actual_fraction
FROM {database}.prediction_curve AS c
JOIN {database}.token AS t ON t.token_id = c.token_id AND t.best_neuron_id = c.neuron_id
WHERE t."text" = {text}"""

_METRICS = """SELECT '{slug}' AS atlas, n.name AS neuron, m.* EXCLUDE (neuron_id, token_id)
FROM {database}.pair_metric AS m
JOIN {database}.token AS t ON t.token_id = m.token_id AND t.best_neuron_id = m.neuron_id
JOIN {database}.neuron AS n ON n.neuron_id = m.neuron_id
WHERE t."text" = {text}"""

_NEURON_NUMBERS = """SELECT '{slug}' AS atlas, n.name AS neuron, {columns}
FROM {database}.neuron AS n
WHERE n.neuron_id IN ({neurons})"""

_HISTOGRAMS = """SELECT '{slug}' AS atlas, n.name AS neuron, b.lower, b.upper, h.n
FROM {database}.activation_histogram AS h
JOIN {database}.histogram_bin AS b USING (bin)
JOIN {database}.neuron AS n USING (neuron_id)
WHERE h.neuron_id IN ({neurons})"""

_TOKENS = """SELECT '{slug}' AS atlas, n.name AS neuron, t."text" AS token, l.direction, l.rank, l.congruence
FROM {database}.neuron_token AS l
JOIN {database}.neuron AS n USING (neuron_id)
JOIN {database}.token AS t USING (token_id)
WHERE l.neuron_id IN ({neurons})"""

_NEURON_CURVES = """SELECT '{slug}' AS atlas, c.neuron, c.lower, c.upper, c.n, c.n_predicted, c.n_actual
FROM {database}.prediction_curve AS c
JOIN {database}.token AS t USING (token_id)
WHERE c.neuron_id IN ({neurons}) AND t."text" = {text}"""


def bridge_token_panels(slugs: Iterable[str], spelling: str) -> dict[str, str]:
    """SQL of the page of a token in several atlases, by panel."""
    slugs, wanted = list(slugs), literal(spelling)
    return {
        "numbers": _union(_NUMBERS, slugs, wanted),
        "neurons": f"{_union(_NEURONS, slugs, wanted)}\nORDER BY atlas, rank",
        "curves": f"{_union(_CURVES, slugs, wanted)}\nORDER BY atlas, lower NULLS FIRST",
        "metrics": _union(_METRICS, slugs, wanted),
    }


def bridge_compare_panels(
    neurons: Sequence[tuple[str, int]], columns: Sequence[str], spelling: str | None
) -> dict[str, str]:
    """SQL of the page of neurons of several atlases, by panel. `neurons` are (slug, neuron_id), `columns` those of
    `neuron` set side by side, `spelling` is the token whose curves are drawn."""
    by_slug: dict[str, list[str]] = {}
    for slug, neuron_id in neurons:
        by_slug.setdefault(slug, []).append(str(neuron_id))
    named = ", ".join(f"n.{column}" for column in columns)
    parts = {
        "numbers": _NEURON_NUMBERS,
        "histograms": _HISTOGRAMS,
        "tokens": _TOKENS,
    } | ({} if spelling is None else {"curves": _NEURON_CURVES})
    wanted = "NULL" if spelling is None else literal(spelling)
    return {
        name: "\nUNION ALL\n".join(
            sql.format(slug=slug, database=_quoted(slug), neurons=", ".join(ids), columns=named, text=wanted)
            for slug, ids in by_slug.items()
        )
        for name, sql in parts.items()
    }


def _quoted(slug: str) -> str:
    return f'"{database_name(slug)}"'


def _union(sql: str, slugs: Iterable[str], wanted: str) -> str:
    return "\nUNION ALL\n".join(sql.format(slug=slug, database=_quoted(slug), text=wanted) for slug in slugs)
