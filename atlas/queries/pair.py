"""Rankings: exclusive pairs, and tokens whose best neuron leads the second by most."""

from __future__ import annotations

import sqlalchemy as sa

from atlas.db import Atlas
from atlas.queries.atlas import neuron_ref
from atlas.records import ExclusivePair, Listing, TokenExclusivity

PAIR_COLUMNS = (
    "p.direction, p.rank, p.neuron_id, p.token_id, p.congruence, p.token_gap, p.neuron_gap, p.score, "
    "t.n_actual, t.n_predicted"
)
"""What makes an ExclusivePair, from exclusive_pair AS p and token AS t."""

_PAIR = sa.table(
    "exclusive_pair",
    *map(sa.column, ("direction", "rank", "neuron_id", "token_id", "congruence", "token_gap", "neuron_gap", "score")),
).alias("p")
_TOKEN = sa.table(
    "token",
    *map(
        sa.column, ("token_id", "special", "best_neuron_id", "best_congruence", "neuron_gap", "n_actual", "n_predicted")
    ),
).alias("t")
_SECOND = sa.table("token_neuron", *map(sa.column, ("token_id", "direction", "rank", "neuron_id"))).alias("s")


def make_pair(atlas: Atlas, row: tuple) -> ExclusivePair:
    """An ExclusivePair from a row of PAIR_COLUMNS."""
    direction, rank, neuron_id, token_id, *rest = row
    return ExclusivePair(direction, rank, neuron_ref(atlas, neuron_id), atlas.tokens[token_id], *rest)


def _ordinary() -> tuple[sa.ColumnElement, sa.ColumnElement]:
    """What pages point at by default: tokens that are not special and that occur."""
    return sa.not_(_TOKEN.c.special), _TOKEN.c.n_actual > 0


def exclusive_pairs(
    atlas: Atlas, direction: str = "top", *, every: bool = False, limit: int = 50, offset: int = 0
) -> Listing:
    """Exclusive pairs of a direction ('top' or 'bottom') by rank, as a Listing of ExclusivePair.

    Pairs of special tokens and of tokens that never really come next are left out unless `every`.
    """
    joined = _PAIR.join(_TOKEN, _PAIR.c.token_id == _TOKEN.c.token_id)
    conditions = [_PAIR.c.direction == direction, *(() if every else _ordinary())]
    p, t = _PAIR.c, _TOKEN.c
    columns = [
        *(
            p[name]
            for name in ("direction", "rank", "neuron_id", "token_id", "congruence", "token_gap", "neuron_gap", "score")
        ),
        t.n_actual,
        t.n_predicted,
    ]
    rows = atlas.select(
        sa.select(*columns).select_from(joined).where(*conditions).order_by(p.rank).limit(limit).offset(offset)
    )
    total = atlas.select(sa.select(sa.func.count()).select_from(joined).where(*conditions))[0][0]
    return Listing(tuple(make_pair(atlas, tuple(row)) for row in rows), total, offset, limit)


def token_exclusivities(atlas: Atlas, *, every: bool = False, limit: int = 50, offset: int = 0) -> Listing:
    """Tokens by how far their best neuron leads the second, as a Listing of TokenExclusivity.

    Special tokens and tokens that never really come next are left out unless `every`.
    """
    t = _TOKEN.c
    conditions = [] if every else list(_ordinary())
    tokens = (
        sa.select(t.token_id, t.best_neuron_id, t.best_congruence, t.neuron_gap, t.n_actual, t.n_predicted)
        .where(*conditions)
        .order_by(t.neuron_gap.desc().nulls_last(), t.token_id)
        .limit(limit)
        .offset(offset)
        .subquery("b")
    )
    second = (_SECOND.c.token_id == tokens.c.token_id) & (_SECOND.c.direction == "top") & (_SECOND.c.rank == 2)
    rows = atlas.select(
        sa.select(tokens, _SECOND.c.neuron_id)
        .select_from(tokens.outerjoin(_SECOND, second))
        .order_by(tokens.c.neuron_gap.desc().nulls_last(), tokens.c.token_id)
    )
    total = atlas.select(sa.select(sa.func.count()).select_from(_TOKEN).where(*conditions))[0][0]
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
        for token_id, best, congruence, gap, n_actual, n_predicted, other in rows
    )
    return Listing(records, total, offset, limit)
