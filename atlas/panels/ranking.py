"""SQL of the rankings and lists of neurons, as they are filtered, sorted and paged."""

from __future__ import annotations

import sqlalchemy as sa

from atlas.db import Atlas
from atlas.panels.literal import literal, where
from atlas.panels.overview import PAIRED
from atlas.queries.kind import KINDS_OF_LAYER
from atlas.queries.layer import NEURON_SORTS
from atlas.queries.neuron_facets import FREQUENT_TOKENS
from atlas.queries.neuron_index import INDEX_SORTS, NEURON_TABLE, neuron_conditions
from atlas.queries.pair import PAIR_TABLE, SECOND_TABLE, TOKEN_TABLE, ranking_conditions
from atlas.records import NeuronSelection, RankingFilter

_NAMES = sa.table("neuron", sa.column("neuron_id"), sa.column("name"))
_TEXTS = sa.table("token", sa.column("token_id"), sa.column("text"))

_METRICS = sa.table("pair_metric", *map(sa.column, (
    "neuron_id", "token_id", "side", "auroc_predicted", "average_precision_predicted"))).alias("m")  # fmt: skip
_EFFECTS = sa.table(
    "pair_effect", *map(sa.column, ("neuron_id", "token_id", "side", "probability_change"))
).alias("e")  # fmt: skip

_FACETS = """WITH selected AS (
    SELECT neuron_id, layer, dead, best_token_id
    FROM neuron{where}
),
paired AS (
    SELECT bool_or(direction = 'top') AS top, bool_or(direction = 'bottom') AS bottom
    FROM exclusive_pair SEMI JOIN selected USING (neuron_id)
    GROUP BY neuron_id
),
frequent AS (
    SELECT best_token_id, count(*) AS n FROM selected GROUP BY best_token_id
    ORDER BY n DESC, best_token_id LIMIT {frequent}
)
SELECT 'layer' AS facet, 'L' || layer AS value, count(*) AS n, NULL AS token_id
FROM selected GROUP BY layer
UNION ALL
SELECT 'dead', CASE WHEN dead THEN 'dead' ELSE 'not dead' END, count(*), NULL FROM selected GROUP BY dead
UNION ALL
SELECT 'exclusive pair', value, n, NULL
FROM (
    SELECT unnest(['in a top pair', 'in a bottom pair', 'in any pair', 'in no pair']) AS value,
           unnest([count(*) FILTER (top), count(*) FILTER (bottom), count(*),
                   (SELECT count(*) FROM selected) - count(*)]) AS n
    FROM paired
)
WHERE n > 0
UNION ALL
SELECT 'kind', value, n, NULL
FROM (
    SELECT unnest(['prediction', 'suppression', 'partition', 'none of these', 'hub', 'token detector']) AS value,
           unnest([count(*) FILTER (kind = 'prediction'), count(*) FILTER (kind = 'suppression'),
                   count(*) FILTER (kind = 'partition'), count(*) FILTER (kind IS NULL), count(*) FILTER (hub),
                   (SELECT count(*) FROM token_detector SEMI JOIN selected USING (neuron_id))]) AS n
    FROM neuron_kind SEMI JOIN selected USING (neuron_id)
)
WHERE n > 0
UNION ALL
SELECT 'best token', t."text", f.n, f.best_token_id FROM frequent AS f JOIN token AS t ON t.token_id = f.best_token_id
ORDER BY list_position(['layer', 'dead', 'exclusive pair', 'kind', 'best token'], facet),
         CASE facet WHEN 'layer' THEN substr(value, 2)::INTEGER ELSE -n END, token_id"""

_LAYER = """WITH {paired}
SELECT count(*) AS neurons, count(*) FILTER (dead) AS dead,
       coalesce(any_value(exclusive_pairs), 0) AS exclusive_pairs, avg(best_congruence) AS mean_best_congruence,
       max(best_congruence) AS greatest_congruence, avg(token_gap) AS mean_token_gap,
       max(token_gap) AS greatest_token_gap, avg(w_out_norm) AS mean_output_norm,
       avg(activation_std) AS mean_activation_std, min(activation_min) AS least_activation,
       max(activation_max) AS greatest_activation, avg(positive_fraction) AS positive_fraction
FROM neuron LEFT JOIN paired USING (layer)
WHERE layer = {layer}"""


def _order(column: sa.ColumnElement, descending: bool) -> sa.ColumnElement:
    return (column.desc() if descending else column.asc()).nulls_last()


def pairs_panel(
    atlas: Atlas, direction: str, chosen: RankingFilter, *, sort: str, descending: bool, limit: int, offset: int
) -> str:
    """SQL of a page of the ranking of exclusive pairs."""
    p, t, n = PAIR_TABLE.c, TOKEN_TABLE.c, _NAMES.alias("n").c
    columns = [p.rank, n.name.label("neuron"), t.text.label("token"), p.score, p.congruence, p.token_gap, p.neuron_gap]
    m, e = _METRICS.c, _EFFECTS.c
    columns += [t.n_predicted, t.n_actual, t.token_id, m.auroc_predicted, m.average_precision_predicted]
    columns.append(e.probability_change)
    side = sa.case((p.congruence < 0, "negative"), else_="positive") if atlas.info.gated else sa.literal("positive")
    joined = PAIR_TABLE.join(TOKEN_TABLE, t.token_id == p.token_id).join(n.name.table, n.neuron_id == p.neuron_id)
    for other in (m, e):
        joined = joined.outerjoin(
            other.side.table,
            (other.neuron_id == p.neuron_id) & (other.token_id == p.token_id) & (other.side == side),
        )
    statement = sa.select(*columns).select_from(joined)
    statement = statement.where(p.direction == direction, *ranking_conditions(atlas, chosen, p.neuron_id, p.score))
    column = t[sort] if sort in ("n_actual", "n_predicted") else p[sort]
    order = [_order(column, descending), *([p.rank] if sort != "rank" else [])]
    return literal(statement.order_by(*order).limit(limit).offset(offset or None))


def exclusive_panel(
    atlas: Atlas, chosen: RankingFilter, *, sort: str, descending: bool, limit: int, offset: int
) -> str:
    """SQL of a page of the tokens by how far their best neuron leads."""
    t, s, n, m = TOKEN_TABLE.c, SECOND_TABLE.c, _NAMES.alias("n").c, _NAMES.alias("m").c
    columns = [t.text.label("token"), n.name.label("neuron"), m.name.label("second_neuron"), t.neuron_gap]
    columns += [t.best_congruence.label("congruence"), t.n_predicted, t.n_actual, t.token_id]
    second = (s.token_id == t.token_id) & (s.direction == "top") & (s.rank == 2)
    joined = TOKEN_TABLE.join(n.name.table, n.neuron_id == t.best_neuron_id)
    joined = joined.outerjoin(SECOND_TABLE, second).outerjoin(m.name.table, m.neuron_id == s.neuron_id)
    statement = sa.select(*columns).select_from(joined)
    statement = statement.where(*ranking_conditions(atlas, chosen, t.best_neuron_id, t.neuron_gap))
    column = t.best_congruence if sort == "congruence" else t[sort]
    statement = statement.order_by(_order(column, descending), t.token_id)
    return literal(statement.limit(limit).offset(offset or None))


def neurons_panel(
    selection: NeuronSelection,
    columns: tuple[str, ...] = INDEX_SORTS,
    *,
    sort: str,
    descending: bool,
    limit: int,
    offset: int,
) -> str:
    """SQL of a page of a list of neurons; the columns' ids as names and texts.

    Raises:
        QueryError: the selection names no column (see `neuron_conditions`).
    """
    n, best, worst = NEURON_TABLE.c, _TEXTS.alias("best").c, _TEXTS.alias("worst").c
    shown = {
        "neuron_id": n.name.label("neuron"),
        "index": n.name.label("neuron"),
        "best_token_id": best.text.label("best_token"),
        "worst_token_id": worst.text.label("worst_token"),
    }
    joined = NEURON_TABLE.join(best.text.table, best.token_id == n.best_token_id)
    joined = joined.join(worst.text.table, worst.token_id == n.worst_token_id)
    statement = sa.select(*(shown.get(name, n[name]) for name in columns)).select_from(joined)
    statement = statement.where(*neuron_conditions(selection)).order_by(_order(n[sort], descending), n.neuron_id)
    return literal(statement.limit(limit).offset(offset or None))


def facets_panel(selection: NeuronSelection) -> str:
    """SQL of how a selection of neurons divides.

    Raises:
        QueryError: the selection names no column (see `neuron_conditions`).
    """
    return _FACETS.format(where=where(neuron_conditions(selection), "    "), frequent=FREQUENT_TOKENS)


def layer_panels(layer: int, *, sort: str, descending: bool, limit: int, offset: int) -> dict[str, str]:
    """SQL of a layer's page: the layer in numbers, its neurons."""
    selection = NeuronSelection(layer_min=layer, layer_max=layer)
    columns = (NEURON_SORTS[0], "best_token_id", *NEURON_SORTS[1:3], "worst_token_id", *NEURON_SORTS[3:])
    neurons = neurons_panel(selection, columns, sort=sort, descending=descending, limit=limit, offset=offset)
    kinds = KINDS_OF_LAYER.shown(layer=layer)
    return {"kinds": kinds, "numbers": _LAYER.format(paired=PAIRED, layer=layer), "neurons": neurons}
