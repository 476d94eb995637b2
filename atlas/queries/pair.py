"""Rankings: exclusive pairs, and tokens whose best neuron leads the second by most."""

from __future__ import annotations

import sqlalchemy as sa

from atlas.db import Atlas
from atlas.errors import QueryError
from atlas.queries.atlas import neuron_ref
from atlas.records import ExclusivePair, Listing, RankingFilter, TokenExclusivity

PAIR_COLUMNS = (
    "p.direction, p.rank, p.neuron_id, p.token_id, p.congruence, p.token_gap, p.neuron_gap, p.score, "
    "t.n_actual, t.n_predicted"
)
"""What makes an ExclusivePair, from exclusive_pair AS p and token AS t."""

PAIR_SORTS = ("rank", "score", "congruence", "token_gap", "neuron_gap", "n_predicted", "n_actual")
"""Columns by which `exclusive_pairs` sorts."""

EXCLUSIVITY_SORTS = ("neuron_gap", "congruence", "n_predicted", "n_actual")
"""Columns by which `token_exclusivities` sorts."""

PAIR_TABLE = sa.table(
    "exclusive_pair",
    *map(sa.column, ("direction", "rank", "neuron_id", "token_id", "congruence", "token_gap", "neuron_gap", "score")),
).alias("p")
TOKEN_TABLE = sa.table(
    "token",
    *map(
        sa.column,
        ("token_id", "text", "special", "best_neuron_id", "best_congruence", "neuron_gap", "n_actual", "n_predicted"),
    ),
).alias("t")
SECOND_TABLE = sa.table("token_neuron", *map(sa.column, ("token_id", "direction", "rank", "neuron_id"))).alias("s")

_ALL = RankingFilter()


def make_pair(atlas: Atlas, row: tuple) -> ExclusivePair:
    """An ExclusivePair from a row of PAIR_COLUMNS."""
    direction, rank, neuron_id, token_id, *rest = row
    return ExclusivePair(direction, rank, neuron_ref(atlas, neuron_id), atlas.tokens[token_id], *rest)


def ranking_conditions(
    atlas: Atlas, where: RankingFilter, neuron_id: sa.ColumnElement, score: sa.ColumnElement
) -> list[sa.ColumnElement]:
    """What a filter says, of a neuron's id and of what ranks; the token is TOKEN_TABLE's."""
    t, d_mlp = TOKEN_TABLE.c, atlas.info.d_mlp
    conditions = [] if where.every else [sa.not_(t.special), t.n_actual > 0]
    if where.layer_min is not None:
        conditions.append(neuron_id >= where.layer_min * d_mlp)
    if where.layer_max is not None:
        conditions.append(neuron_id < (where.layer_max + 1) * d_mlp)
    if where.token:
        conditions.append(sa.func.contains(sa.func.lower(t.text), sa.func.lower(where.token)))
    if where.min_predicted is not None:
        conditions.append(t.n_predicted >= where.min_predicted)
    if where.min_score is not None:
        # DuckDB would compare in float32 with a parameter rounded to it.
        conditions.append(sa.cast(score, sa.Double) >= where.min_score)
    return conditions


def _order(column: sa.ColumnElement, descending: bool) -> sa.ColumnElement:
    return (column.desc() if descending else column.asc()).nulls_last()


def _check_sort(sort: str, sorts: tuple[str, ...]) -> None:
    if sort not in sorts:
        raise QueryError(f"Cannot sort this ranking by {sort!r}; sort by one of {', '.join(sorts)}.")


def exclusive_pairs(
    atlas: Atlas,
    direction: str = "top",
    where: RankingFilter = _ALL,
    *,
    sort: str = "rank",
    descending: bool = False,
    limit: int = 50,
    offset: int = 0,
) -> Listing:
    """Exclusive pairs of a direction ('top' or 'bottom'), as a Listing of ExclusivePair.

    `sort` is one of PAIR_SORTS; ties by rank.

    Raises:
        QueryError: `sort` is no such column.
    """
    _check_sort(sort, PAIR_SORTS)
    p, t = PAIR_TABLE.c, TOKEN_TABLE.c
    joined = PAIR_TABLE.join(TOKEN_TABLE, p.token_id == t.token_id)
    conditions = [p.direction == direction, *ranking_conditions(atlas, where, p.neuron_id, p.score)]
    names = ("direction", "rank", "neuron_id", "token_id", "congruence", "token_gap", "neuron_gap", "score")
    columns = [*(p[name] for name in names), t.n_actual, t.n_predicted]
    column = t[sort] if sort in ("n_actual", "n_predicted") else p[sort]
    rows = atlas.select(
        sa.select(*columns)
        .select_from(joined)
        .where(*conditions)
        .order_by(_order(column, descending), p.rank)
        .limit(limit)
        .offset(offset)
    )
    total = atlas.select(sa.select(sa.func.count()).select_from(joined).where(*conditions))[0][0]
    return Listing(tuple(make_pair(atlas, tuple(row)) for row in rows), total, offset, limit)


def token_exclusivities(
    atlas: Atlas,
    where: RankingFilter = _ALL,
    *,
    sort: str = "neuron_gap",
    descending: bool = True,
    limit: int = 50,
    offset: int = 0,
) -> Listing:
    """Tokens by how far their best neuron leads the second, as a Listing of TokenExclusivity.

    `sort` is one of EXCLUSIVITY_SORTS; ties by token_id.

    Raises:
        QueryError: `sort` is no such column.
    """
    _check_sort(sort, EXCLUSIVITY_SORTS)
    t = TOKEN_TABLE.c
    conditions = ranking_conditions(atlas, where, t.best_neuron_id, t.neuron_gap)
    order = _order(t.best_congruence if sort == "congruence" else t[sort], descending)
    place = sa.func.row_number().over(order_by=(order, t.token_id)).label("place")
    tokens = (
        sa.select(t.token_id, t.best_neuron_id, t.best_congruence, t.neuron_gap, t.n_actual, t.n_predicted, place)
        .where(*conditions)
        .order_by(place)
        .limit(limit)
        .offset(offset)
        .subquery("b")
    )
    second = (
        (SECOND_TABLE.c.token_id == tokens.c.token_id)
        & (SECOND_TABLE.c.direction == "top")
        & (SECOND_TABLE.c.rank == 2)
    )
    rows = atlas.select(
        sa.select(tokens, SECOND_TABLE.c.neuron_id)
        .select_from(tokens.outerjoin(SECOND_TABLE, second))
        .order_by(tokens.c.place)
    )
    total = atlas.select(sa.select(sa.func.count()).select_from(TOKEN_TABLE).where(*conditions))[0][0]
    records = tuple(
        TokenExclusivity(
            atlas.tokens[token_id],
            neuron_ref(atlas, best),
            None if other is None else neuron_ref(atlas, other),
            congruence,
            gap,
            n_actual,
            n_predicted,
        )
        for token_id, best, congruence, gap, n_actual, n_predicted, _, other in rows
    )
    return Listing(records, total, offset, limit)
