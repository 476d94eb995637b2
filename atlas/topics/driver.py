"""Drivers of all tokens, ranked: the neurons that oppose or support predictions most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.errors import QueryError
from atlas.core.parameter import Choice, Limit, Number, Offset, Order
from atlas.core.statements import Composed
from atlas.core.units import Listing, NeuronRef, Token, neuron_ref
from atlas.topics.pair import NAME_TABLE, TOKEN_TABLE, RankingFilter, ranking_conditions
from atlas.topics.reliability import holds_in


@dataclass(frozen=True)
class RankedDriver:
    """A row of `token_driver` (see there) with the pair's congruence (None: the atlas holds no weights) and how often
    the whole dataset predicts the token."""

    TABLE = "token_driver"

    direction: str
    rank: int
    neuron: NeuronRef
    token: Token
    attribution: float
    standard_error: float | None
    direct: float
    congruence: float | None
    n: int
    n_predicted: int
    holds: bool
    """Whether estimates hold in the neuron's layer (see `Reliability`)."""


DRIVER_SORTS = ("attribution", "direct", "n", "n_predicted")
"""Columns by which drivers sort, the first two by magnitude."""

DRIVER_ENDS = ("bottom", "top")
"""Directions: drivers that oppose, drivers that support."""

_NUMBERS = ("attribution", "standard_error", "direct", "n")
_DRIVER = sa.table("token_driver", *map(sa.column, ("token_id", "direction", "rank", "neuron_id", *_NUMBERS))).alias(
    "d"
)
_W_OUT = sa.table("neuron_weight", sa.column("neuron_id"), sa.column("w_out")).alias("w")
_READOUT = sa.table("token_weight", sa.column("token_id"), sa.column("readout")).alias("r")

_ALL = RankingFilter()


def _conditions(atlas: Atlas, direction: str, where: RankingFilter) -> list[sa.ColumnElement]:
    d = _DRIVER.c
    return [d.direction == direction, *ranking_conditions(atlas, where, d.neuron_id, sa.func.abs(d.attribution))]


def ranked_drivers(
    atlas: Atlas,
    direction: str = "bottom",
    where: RankingFilter = _ALL,
    *,
    sort: str = "attribution",
    descending: bool = True,
    limit: int = 50,
    offset: int = 0,
) -> Composed:
    """A page of the drivers of all tokens.

    Raises:
        QueryError: `sort` is no column of DRIVER_SORTS.
    """
    if sort not in DRIVER_SORTS:
        raise QueryError(f"Cannot sort drivers by {sort!r}; sort by one of {', '.join(DRIVER_SORTS)}.")
    d, t = _DRIVER.c, TOKEN_TABLE.c
    key = t.n_predicted if sort == "n_predicted" else d.n if sort == "n" else sa.func.abs(d[sort])
    page = (
        sa.select(d.direction, d.rank, *(d[name] for name in _NUMBERS), t.n_predicted, t.text, d.neuron_id, d.token_id)
        .select_from(_DRIVER.join(TOKEN_TABLE, t.token_id == d.token_id))
        .where(*_conditions(atlas, direction, where))
        .order_by(key.desc() if descending else key.asc(), d.neuron_id, d.token_id)
        .limit(limit)
        .offset(offset or None)
        .subquery("p")
    )
    p, n, w, r = page.c, NAME_TABLE.alias("n").c, _W_OUT.c, _READOUT.c
    joined = page.join(n.name.table, n.neuron_id == p.neuron_id)
    joined = joined.outerjoin(_W_OUT, w.neuron_id == p.neuron_id).outerjoin(_READOUT, r.token_id == p.token_id)
    again = p[sort] if sort in ("n", "n_predicted") else sa.func.abs(p[sort])
    return Composed(
        sa.select(
            n.name.label("neuron"),
            p.text.label("token"),
            p.direction,
            p.rank,
            p.attribution,
            p.standard_error,
            p.direct,
            sa.func.array_inner_product(w.w_out, r.readout).label("congruence"),
            p.n,
            p.n_predicted,
            p.neuron_id,
            p.token_id,
        )
        .select_from(joined)
        .order_by(again.desc() if descending else again.asc(), p.neuron_id, p.token_id)
    )


_Direction = Annotated[str, Choice("'bottom': drivers that oppose; 'top': drivers that support.", DRIVER_ENDS)]
_Sort = Annotated[
    str, Choice("Column that sorts, attribution and direct by magnitude; ties by neuron, token.", DRIVER_SORTS)
]


@call(OF_ATLAS + "/drivers", name="drivers", python="demo.drivers(limit=20)", limit=20)
def drivers(
    atlas: Atlas,
    direction: _Direction = "bottom",
    where: Annotated[
        RankingFilter, {"min_score": Number("Least magnitude of the attribution, logits.", name="min_attribution")}
    ] = _ALL,
    *,
    sort: _Sort = "attribution",
    descending: Order = True,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Listing[RankedDriver]:
    """Neurons that oppose (or support) the prediction of a token most, over all tokens. Empty: attribution was off.

    Raises:
        QueryError: `sort` is no column of DRIVER_SORTS.
    """
    page = ranked_drivers(atlas, direction, where, sort=sort, descending=descending, limit=limit, offset=offset)
    rows = tuple(
        RankedDriver(end, rank, ref, atlas.tokens[token_id], *rest, holds_in(atlas, ref.layer))
        for _, _, end, rank, *rest, neuron_id, token_id in page.rows(atlas)
        for ref in (neuron_ref(atlas, neuron_id),)
    )
    joined = _DRIVER.join(TOKEN_TABLE, TOKEN_TABLE.c.token_id == _DRIVER.c.token_id)
    total = sa.select(sa.func.count()).select_from(joined).where(*_conditions(atlas, direction, where))
    return Listing(rows, atlas.select(total)[0][0], offset, limit)
