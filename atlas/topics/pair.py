"""Exclusive pairs: a neuron and a token, each the other's best, ranked, filtered and paged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.errors import QueryError
from atlas.core.parameter import Choice, Contained, Direction, Every, Layer, Limit, Number, Offset, Order, Whole
from atlas.core.statements import Composed
from atlas.core.term import POST, Term
from atlas.core.units import Listing, NeuronRef, Token, neuron_ref


@dataclass(frozen=True)
class ExclusivePair:
    """A neuron and a token that are each other's best ('top') or worst ('bottom'); rank by score from 1."""

    TABLE = "exclusive_pair"

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
    """A token, and its best neuron's lead over the second (None: the model has one neuron)."""

    TABLE = "token_exclusivity"

    token: Token
    neuron: NeuronRef
    second_neuron: NeuronRef | None
    congruence: float
    neuron_gap: float | None
    n_actual: int
    n_predicted: int


@dataclass(frozen=True, kw_only=True)
class RankingFilter:
    """Filters of a ranking of pairs or tokens; None does not filter.

    `every` includes special tokens and tokens that never come next; the token's text must contain `token`, ignoring
    case; `layer_min` and `layer_max` bound the neuron's layer; `min_score` bounds the ranking's score: a pair's score
    or a token's neuron gap.
    """

    every: Every = False
    layer_min: Layer | None = None
    layer_max: Layer | None = None
    token: Contained | None = None
    min_predicted: Annotated[int, Whole("Least number of positions at which the token is predicted.")] | None = None
    min_score: Annotated[float, Number("Least score.")] | None = None


PAIR_COLUMNS = (
    "p.direction, p.rank, p.neuron_id, p.token_id, p.congruence, p.token_gap, p.neuron_gap, p.score, "
    "t.n_actual, t.n_predicted"
)
"""Columns of an ExclusivePair, from exclusive_pair AS p and token AS t."""

FAMILY_GAP = """(SELECT min(abs(p.congruence - l.congruence))
    FROM neuron_token AS l LEFT OUTER JOIN token_family AS f ON f.token_id = l.token_id
    WHERE l.neuron_id = p.neuron_id AND l.direction = p.direction
      AND coalesce(f.family_id, l.token_id) <> coalesce((
        SELECT family_id FROM token_family WHERE token_id = p.token_id), p.token_id))"""
"""The token gap of a row of exclusive_pair AS p with other spellings of its token set aside; NULL: the neuron's list
has no other token."""

PAIR_SORTS = ("rank", "score", "congruence", "token_gap", "family_gap", "neuron_gap", "n_predicted", "n_actual")
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
NAME_TABLE = sa.table("neuron", sa.column("neuron_id"), sa.column("name"))
_SECOND = sa.table("token_neuron", *map(sa.column, ("token_id", "direction", "rank", "neuron_id"))).alias("s")
_METRIC = sa.table(
    "pair_metric", *map(sa.column, ("neuron_id", "token_id", "side", "auroc_predicted", "average_precision_predicted"))
).alias("m")
_EFFECT = sa.table("pair_effect", *map(sa.column, ("neuron_id", "token_id", "side", "probability_change"))).alias("e")

_ALL = RankingFilter()


def make_pair(atlas: Atlas, row: tuple) -> ExclusivePair:
    """An ExclusivePair from a row of PAIR_COLUMNS."""
    direction, rank, neuron_id, token_id, *rest = row
    return ExclusivePair(direction, rank, neuron_ref(atlas, neuron_id), atlas.tokens[token_id], *rest)


def ranking_conditions(
    atlas: Atlas, where: RankingFilter, neuron_id: sa.ColumnElement, score: sa.ColumnElement
) -> list[sa.ColumnElement]:
    """The conditions of a filter on a neuron's id and on the score; the token is TOKEN_TABLE's."""
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


_PairSort = Annotated[str, Choice("Column that sorts; ties by rank.", PAIR_SORTS)]
_TokenSort = Annotated[str, Choice("Column that sorts; ties by token_id.", EXCLUSIVITY_SORTS)]


def _order(column: sa.ColumnElement, descending: bool) -> sa.ColumnElement:
    return (column.desc() if descending else column.asc()).nulls_last()


def _check_sort(sort: str, sorts: tuple[str, ...]) -> None:
    if sort not in sorts:
        raise QueryError(f"Cannot sort this ranking by {sort!r}; sort by one of {', '.join(sorts)}.")


def ranked_pairs(
    atlas: Atlas,
    direction: str = "top",
    where: RankingFilter = _ALL,
    *,
    sort: str = "rank",
    descending: bool = False,
    limit: int = 50,
    offset: int = 0,
    figures: bool = False,
) -> Composed:
    """A page of the ranking of exclusive pairs; `figures` adds what `pair_figures` looks up for its pairs alone.

    Raises:
        QueryError: `sort` is no column of PAIR_SORTS.
    """
    _check_sort(sort, PAIR_SORTS)
    p, t, n, m, e = PAIR_TABLE.c, TOKEN_TABLE.c, NAME_TABLE.alias("n").c, _METRIC.c, _EFFECT.c
    family_gap = sa.literal_column(FAMILY_GAP, sa.Float).label("family_gap")
    by: sa.ColumnElement = t[sort] if sort in ("n_actual", "n_predicted") else p.get(sort, sa.literal_column(sort))
    by_family = [family_gap] if sort == "family_gap" else []
    columns = (p.score, p.congruence, p.token_gap, p.neuron_gap, t.n_predicted, t.n_actual)
    pairs = PAIR_TABLE.join(TOKEN_TABLE, t.token_id == p.token_id)
    page = (
        sa.select(p.direction, p.rank, p.neuron_id, p.token_id, *columns, *by_family)
        .select_from(pairs)
        .where(p.direction == direction, *ranking_conditions(atlas, where, p.neuron_id, p.score))
        .order_by(_order(by, descending), *([] if sort == "rank" else [p.rank]))
        .limit(limit)
        .offset(offset or None)
    )
    pairs = pairs.join(n.name.table, n.neuron_id == p.neuron_id)
    measured: tuple[sa.ColumnElement, ...] = ()
    if figures:
        measured = (
            family_gap,
            m.auroc_predicted,
            m.average_precision_predicted,
            e.probability_change,
        )
        side = sa.case((p.congruence < 0, "negative"), else_="positive") if atlas.info.gated else sa.literal("positive")
        for other in (m, e):
            same = (other.neuron_id == p.neuron_id) & (other.token_id == p.token_id) & (other.side == side)
            pairs = pairs.outerjoin(other.side.table, same)
    names = (n.name.label("neuron"), t.text.label("token"))
    return Composed(page, page.with_only_columns(p.rank, *names, *columns, *measured).select_from(pairs))


@call(OF_ATLAS + "/pairs", name="pairs", python="demo.pairs(limit=20)", limit=20)
def exclusive_pairs(
    atlas: Atlas,
    direction: Direction = "top",
    where: RankingFilter = _ALL,
    *,
    sort: _PairSort = "rank",
    descending: Order | None = None,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Listing[ExclusivePair]:
    """Exclusive pairs, ranks ascending and all else descending unless `order` says otherwise.

    Raises:
        QueryError: `sort` is no column of PAIR_SORTS.
    """
    descending = sort != "rank" if descending is None else descending
    page = ranked_pairs(atlas, direction, where, sort=sort, descending=descending, limit=limit, offset=offset)
    pairs = tuple(
        ExclusivePair(way, rank, neuron_ref(atlas, neuron_id), atlas.tokens[token_id], *gaps, score, actual, predicted)
        for way, rank, neuron_id, token_id, score, *gaps, predicted, actual in (row[:10] for row in page.rows(atlas))
    )
    p, t = PAIR_TABLE.c, TOKEN_TABLE.c
    total = sa.select(sa.func.count()).select_from(PAIR_TABLE.join(TOKEN_TABLE, p.token_id == t.token_id))
    conditions = (p.direction == direction, *ranking_conditions(atlas, where, p.neuron_id, p.score))
    return Listing(pairs, atlas.select(total.where(*conditions))[0][0], offset, limit)


def ranked_tokens(
    atlas: Atlas,
    where: RankingFilter = _ALL,
    *,
    sort: str = "neuron_gap",
    descending: bool = True,
    limit: int = 50,
    offset: int = 0,
) -> Composed:
    """A page of the tokens by how far their best neuron leads.

    Raises:
        QueryError: `sort` is no column of EXCLUSIVITY_SORTS.
    """
    _check_sort(sort, EXCLUSIVITY_SORTS)
    t, s, n, m = TOKEN_TABLE.c, _SECOND.c, NAME_TABLE.alias("n").c, NAME_TABLE.alias("m").c
    column = "best_congruence" if sort == "congruence" else sort
    page = (
        sa.select(t.token_id, t.text, t.best_neuron_id, t.best_congruence, t.neuron_gap, t.n_predicted, t.n_actual)
        .where(*ranking_conditions(atlas, where, t.best_neuron_id, t.neuron_gap))
        .order_by(_order(t[column], descending), t.token_id)
        .limit(limit)
        .offset(offset or None)
        .subquery("b")
    )
    b, second = page.c, (s.token_id == page.c.token_id) & (s.direction == "top") & (s.rank == 2)
    joined = page.join(n.name.table, n.neuron_id == b.best_neuron_id).outerjoin(_SECOND, second)
    columns = [
        b.text.label("token"),
        n.name.label("neuron"),
        m.name.label("second_neuron"),
        b.neuron_gap,
        b.best_congruence.label("congruence"),
        b.n_predicted,
        b.n_actual,
        b.token_id,
        b.best_neuron_id,
        s.neuron_id.label("second_neuron_id"),
    ]
    return Composed(
        sa.select(*columns)
        .select_from(joined.outerjoin(m.name.table, m.neuron_id == s.neuron_id))
        .order_by(_order(b[column], descending), b.token_id)
    )


@call(OF_ATLAS + "/exclusive", name="exclusive", python="demo.exclusive(limit=20)", limit=20)
def token_exclusivities(
    atlas: Atlas,
    where: Annotated[RankingFilter, {"min_score": Number("Least neuron gap.", name="min_gap")}] = _ALL,
    *,
    sort: _TokenSort = "neuron_gap",
    descending: Order = True,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Listing[TokenExclusivity]:
    """Tokens by how far their best neuron leads the second; layers are the best neuron's.

    Raises:
        QueryError: `sort` is no column of EXCLUSIVITY_SORTS.
    """
    page = ranked_tokens(atlas, where, sort=sort, descending=descending, limit=limit, offset=offset)
    tokens = tuple(
        TokenExclusivity(
            atlas.tokens[token_id],
            neuron_ref(atlas, best),
            None if second is None else neuron_ref(atlas, second),
            congruence,
            gap,
            n_actual,
            n_predicted,
        )
        for _, _, _, gap, congruence, n_predicted, n_actual, token_id, best, second in page.rows(atlas)
    )
    t = TOKEN_TABLE.c
    conditions = ranking_conditions(atlas, where, t.best_neuron_id, t.neuron_gap)
    total = atlas.select(sa.select(sa.func.count()).select_from(TOKEN_TABLE).where(*conditions))[0][0]
    return Listing(tokens, total, offset, limit)


TERMS = (
    Term(
        "Exclusive pair",
        "exclusive-pair",
        "A neuron and a token that are each other's best: no other token is more congruent with the neuron, and no "
        "other neuron with the token. In gated models also a pair that is each other's worst (direction 'bottom').",
        "SELECT count(*) AS exclusive_pairs\n"
        "FROM neuron AS n JOIN token AS t ON t.token_id = n.best_token_id AND t.best_neuron_id = n.neuron_id",
        POST,
    ),
    Term(
        "Rank",
        "rank",
        "Place in a list, from 1; equal values are ordered by the lower id. The rank of an exclusive pair is by score "
        "and counts pairs with special tokens too, also on pages that leave those out.",
        "SELECT rank, neuron, token, score FROM pair WHERE direction = 'top' ORDER BY rank LIMIT 3",
    ),
    Term(
        "Score",
        "score",
        "For an exclusive pair: token gap × neuron gap. It is high where both gaps are large; pairs are ranked by it.",
        "SELECT neuron, token, token_gap, neuron_gap, token_gap * neuron_gap AS score\n"
        "FROM pair WHERE direction = 'top' ORDER BY rank LIMIT 3",
    ),
)
