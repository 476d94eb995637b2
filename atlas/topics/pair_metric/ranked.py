"""Pair metrics of a neuron, of a token, and ranked over all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa

from atlas.core.call import OF_ATLAS, OF_NEURON, OF_TOKEN, call
from atlas.core.db import Atlas
from atlas.core.errors import QueryError
from atlas.core.parameter import BoundsOf, Choice, Contained, Every, Layer, Limit, NeuronId, Offset, Order, TokenId
from atlas.core.statements import Composed
from atlas.core.units import Bound, Listing, NeuronRef, Token, neuron_ref
from atlas.topics.neuron_list import EXCLUSIVE
from atlas.topics.pair import NAME_TABLE
from atlas.topics.pair_metric.table import COLUMNS, SIDES, SUPPORT


@dataclass(frozen=True)
class PairMetric:
    """How well a neuron's activation, on one side of zero, predicts a token: a row of the table `pair_metric` (see
    there for each column's meaning and unit), with the pair's congruence and why it was counted.

    Metrics are None where support is too small (see `atlas.topics.pair_metric.table.MIN_SUPPORT`).
    """

    TABLE = "pair_prediction"

    neuron: NeuronRef
    token: Token
    side: str
    congruence: float
    sources: tuple[str, ...]
    n_positions: int
    n_active: int
    n_predicted: int
    n_actual: int
    top_bin: int | None
    top_bin_n: int | None
    base_rate_predicted: float
    auroc_predicted: float | None
    auroc_predicted_error: float | None
    average_precision_predicted: float | None
    average_precision_predicted_lower: float | None
    average_precision_predicted_upper: float | None
    best_threshold_predicted: float | None
    best_f1_predicted: float | None
    precision_predicted: float | None
    precision_predicted_low: float | None
    precision_predicted_high: float | None
    recall_predicted: float | None
    top_bin_predicted: float | None
    top_bin_predicted_low: float | None
    top_bin_predicted_high: float | None
    top_thousandth_predicted: float | None
    top_thousandth_predicted_lower: float | None
    top_thousandth_predicted_upper: float | None
    lift_predicted: float | None
    mutual_information_predicted: float | None
    slope_predicted: float | None
    monotonicity_predicted: float | None
    base_rate_actual: float
    auroc_actual: float | None
    auroc_actual_error: float | None
    average_precision_actual: float | None
    average_precision_actual_lower: float | None
    average_precision_actual_upper: float | None
    best_threshold_actual: float | None
    best_f1_actual: float | None
    precision_actual: float | None
    precision_actual_low: float | None
    precision_actual_high: float | None
    recall_actual: float | None
    top_bin_actual: float | None
    top_bin_actual_low: float | None
    top_bin_actual_high: float | None
    top_thousandth_actual: float | None
    top_thousandth_actual_lower: float | None
    top_thousandth_actual_upper: float | None
    lift_actual: float | None
    mutual_information_actual: float | None
    slope_actual: float | None
    monotonicity_actual: float | None


METRIC_SORTS = (*SUPPORT, *COLUMNS)
"""Columns that `ranked_metrics` sorts by and bounds."""

WHOLE_METRICS = frozenset(SUPPORT)
"""Those of them that hold whole numbers."""

_Side = Annotated[str, Choice("Only this side of zero; 'negative' of gated MLPs only.", SIDES)]
_Exclusive = Annotated[str, Choice("Exclusive pairs of a direction, of 'any', or of 'none'.", EXCLUSIVE)]
_Sort = Annotated[str, Choice("Column that sorts: NULLs last, ties by neuron, token, side.", METRIC_SORTS)]


@dataclass(frozen=True, kw_only=True)
class MetricFilter:
    """Filters of rows; None does not filter, and layer ranges include both ends.

    `every` includes special tokens and tokens that never come next; the token's text must contain `token`, ignoring
    case; `exclusive` is 'top' or 'bottom' (the pair is exclusive in that direction), 'any' (in either) or 'none';
    `bounds` are of METRIC_SORTS (columns of the table).
    """

    side: _Side | None = None
    every: Every = False
    layer_min: Layer | None = None
    layer_max: Layer | None = None
    token: Contained | None = None
    exclusive: _Exclusive | None = None
    bounds: Annotated[tuple[Bound, ...], BoundsOf("this", METRIC_SORTS, WHOLE_METRICS)] = ()


_METRIC = sa.table("pair_metric", *map(sa.column, ("neuron_id", "token_id", "side", *METRIC_SORTS))).alias("m")
_TOKEN = sa.table("token", *map(sa.column, ("token_id", "text", "special", "n_actual"))).alias("t")
_CANDIDATE = sa.table("candidate_pair", *map(sa.column, ("neuron_id", "token_id", "congruence", "source"))).alias("c")
_EXCLUSIVE = sa.table("exclusive_pair", *map(sa.column, ("neuron_id", "token_id", "direction"))).alias("e")

_ALL = MetricFilter()


@call(
    OF_NEURON + "/pair-metrics",
    name="neuron_pair_metrics",
    python='demo.neuron("{neuron}").pair_metrics()',
    title="how well it predicts",
)
def neuron_metrics(atlas: Atlas, neuron_id: NeuronId) -> list[PairMetric]:
    """How well a neuron predicts each of its counted tokens, the most congruent first."""
    return _of(atlas, _METRIC.c.neuron_id == neuron_id)


@call(
    OF_TOKEN + "/pair-metrics",
    name="token_pair_metrics",
    python="demo.token({token}).pair_metrics()",
    title="how well neurons predict it",
)
def token_metrics(atlas: Atlas, token_id: TokenId) -> list[PairMetric]:
    """How well each neuron counted with a token predicts it, the most congruent first.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    return _of(atlas, _METRIC.c.token_id == token_id)


@call(
    OF_ATLAS + "/pair-metrics",
    name="pair_metrics",
    python="demo.pair_metrics(n_predicted_gte=100, limit=20)",
    limit=20,
    n_predicted_gte=100,
)
def ranked_metrics(
    atlas: Atlas,
    where: MetricFilter = _ALL,
    *,
    sort: _Sort = "average_precision_predicted",
    descending: Order = True,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Listing[PairMetric]:
    """How well activation predicts: counted pairs and sides that meet every filter, sorted.

    Raises:
        QueryError: there is no such column to sort or to bound by, or `exclusive` is an unknown word.
    """
    page = ranked_statement(atlas, where, sort=sort, descending=descending, limit=limit, offset=offset)
    joined, conditions = _METRIC.join(_TOKEN, _METRIC.c.token_id == _TOKEN.c.token_id), _conditions(atlas, where)
    total = atlas.select(sa.select(sa.func.count()).select_from(joined).where(*conditions))[0][0]
    return Listing(tuple(_records(atlas, page)), total, offset, limit)


def ranked_statement(
    atlas: Atlas, where: MetricFilter, *, sort: str, descending: bool, limit: int, offset: int
) -> Composed:
    """A page of the ranking by a metric.

    Raises:
        QueryError: there is no such column to sort or to bound by, or `exclusive` is an unknown word.
    """
    _check(sort)
    m, t = _METRIC.c, _TOKEN.c
    page = (
        sa.select(*m)
        .select_from(_METRIC.join(_TOKEN, m.token_id == t.token_id))
        .where(*_conditions(atlas, where))
        .order_by(*_order(_METRIC, sort, descending))
        .limit(limit)
        .offset(offset or None)
        .subquery("p")
    )
    order = _order(page, sort, descending)
    return Composed(_pairs(page).order_by(*order), named=_pairs(page, named=True).order_by(*order))


def _conditions(atlas: Atlas, where: MetricFilter) -> list[sa.ColumnElement[bool]]:
    m, t, d_mlp = _METRIC.c, _TOKEN.c, atlas.info.d_mlp
    conditions = [] if where.every else [sa.not_(t.special), t.n_actual > 0]
    if where.side is not None:
        conditions.append(m.side == where.side)
    if where.layer_min is not None:
        conditions.append(m.neuron_id >= where.layer_min * d_mlp)
    if where.layer_max is not None:
        conditions.append(m.neuron_id < (where.layer_max + 1) * d_mlp)
    if where.token:
        conditions.append(sa.func.contains(sa.func.lower(t.text), sa.func.lower(where.token)))
    if where.exclusive is not None:
        conditions.append(_exclusive(where.exclusive))
    return [*conditions, *map(_bounded, where.bounds)]


def _exclusive(word: str) -> sa.ColumnElement[bool]:
    if word not in EXCLUSIVE:
        raise QueryError(f"Cannot select pairs by exclusive {word!r}; expected one of {', '.join(EXCLUSIVE)}.")
    e, m = _EXCLUSIVE.c, _METRIC.c
    same = (e.neuron_id == m.neuron_id) & (e.token_id == m.token_id)
    paired = sa.exists().where(same & (e.direction == word) if word in ("top", "bottom") else same)
    return sa.not_(paired) if word == "none" else paired


def _bounded(bound: Bound) -> sa.ColumnElement[bool]:
    _check(bound.column)
    # DuckDB would compare in float32 with a parameter rounded to it.
    column = sa.cast(_METRIC.c[bound.column], sa.Double)
    return column >= bound.value if bound.op == "gte" else column <= bound.value


def _check(column: str) -> None:
    if column not in METRIC_SORTS:
        raise QueryError(f"Pair metrics have no column {column!r}; expected one of {', '.join(METRIC_SORTS)}.")


def _order(table: sa.FromClause, sort: str, descending: bool) -> list[sa.ColumnElement]:
    column = table.c[sort].desc() if descending else table.c[sort].asc()
    return [column.nulls_last(), table.c.neuron_id, table.c.token_id, table.c.side]


def _of(atlas: Atlas, condition: sa.ColumnElement[bool]) -> list[PairMetric]:
    m = _METRIC.c
    order = (_CANDIDATE.c.congruence.desc(), m.neuron_id, m.token_id, m.side.desc())
    return _records(atlas, Composed(_pairs(_METRIC).where(condition).order_by(*order)))


def _pairs(metrics: sa.FromClause, *, named: bool = False) -> sa.Select:
    """Rows of `pair_metric` with their congruence and source, and their names first."""
    m, c = metrics.c, _CANDIDATE.c
    columns = [m.side, c.congruence, c.source, *(m[name] for name in METRIC_SORTS), m.neuron_id, m.token_id]
    joined = metrics.join(_CANDIDATE, (c.neuron_id == m.neuron_id) & (c.token_id == m.token_id))
    if named:
        n, t = NAME_TABLE.alias("n").c, _TOKEN.c
        columns = [n.name.label("neuron"), t.text.label("token"), *columns]
        joined = joined.join(n.name.table, n.neuron_id == m.neuron_id).join(_TOKEN, t.token_id == m.token_id)
    return sa.select(*columns).select_from(joined)


def _records(atlas: Atlas, statement: Composed) -> list[PairMetric]:
    return [
        PairMetric(
            neuron_ref(atlas, neuron_id), atlas.tokens[token_id], side, congruence, tuple(source.split(",")), *rest
        )
        for side, congruence, source, *rest, neuron_id, token_id in statement.rows(atlas)
    ]
