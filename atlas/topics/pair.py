"""Exclusive pairs: a neuron and a token, each the other's best, ranked, filtered and paged."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from atlas.core.db import Atlas
from atlas.core.errors import QueryError
from atlas.core.units import Listing, NeuronRef, Token, neuron_ref


@dataclass(frozen=True)
class ExclusivePair:
    """A neuron and a token that are each other's best ('top') or worst ('bottom'); rank by score from 1."""

    direction: str
    rank: int
    neuron: NeuronRef
    token: Token
    congruence: float
    token_gap: float
    neuron_gap: float
    score: float
    n_actual: int
    n_predicted: int


@dataclass(frozen=True)
class TokenExclusivity:
    """How far a token's best neuron leads the second (None: the model has one neuron)."""

    token: Token
    neuron: NeuronRef
    second_neuron: NeuronRef | None
    congruence: float
    neuron_gap: float | None
    n_actual: int
    n_predicted: int


@dataclass(frozen=True, kw_only=True)
class RankingFilter:
    """What is left in a ranking of pairs or tokens; None does not filter.

    `every` keeps special tokens and tokens that never really come next; `token` is a text that the token's contains,
    case aside; `layer_min` and `layer_max` are of the neuron; `min_score` is of what ranks: a pair's score, a token's
    neuron gap.
    """

    every: bool = False
    layer_min: int | None = None
    layer_max: int | None = None
    token: str | None = None
    min_predicted: int | None = None
    min_score: float | None = None


@dataclass(frozen=True)
class PairStanding:
    """How a neuron's output weights stand to a token: their congruence (None: neither listed nor can it be computed),
    the token's place among the neuron's tokens and the neuron's among the token's neurons, each from either end
    ('top', 'bottom'); None: beyond the lists that the atlas keeps."""

    token: Token
    congruence: float | None
    direction: str | None
    token_rank: int | None
    neuron_direction: str | None
    neuron_rank: int | None


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


_COMPUTED = """
SELECT array_inner_product(n.w_out, t.readout)
FROM (SELECT w_out FROM neuron_weight WHERE neuron_id = ?) AS n,
     (SELECT readout FROM token_weight WHERE token_id = ?) AS t
"""


def pair_standing(atlas: Atlas, neuron_id: int, token_id: int) -> PairStanding:
    """How a neuron and a token stand to each other: read from the lists, computed from the weights where in neither."""
    pair = (neuron_id, token_id)
    # A list shorter than all there is may hold a token at both ends: the nearer end is the place.
    of_neuron = atlas.rows(
        "SELECT direction, rank, congruence FROM neuron_token WHERE neuron_id = ? AND token_id = ? ORDER BY rank", *pair
    )
    of_token = atlas.rows(
        "SELECT direction, rank, congruence FROM token_neuron WHERE neuron_id = ? AND token_id = ? ORDER BY rank", *pair
    )
    listed = [*of_neuron, *of_token] or [(None, None, value) for (value,) in atlas.rows(_COMPUTED, *pair)]
    congruence = listed[0][2] if listed else None
    places = [rows[0][:2] if rows else (None, None) for rows in (of_neuron, of_token)]
    return PairStanding(atlas.tokens[token_id], congruence, *places[0], *places[1])
