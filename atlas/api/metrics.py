"""Calls about pair metrics: how well activation predicts."""

from __future__ import annotations

from typing import Annotated, Any

from atlas.core.call import Declared, Page, call
from atlas.core.db import Atlas
from atlas.core.parameter import (
    AfterRow,
    Choice,
    Contained,
    Every,
    Layer,
    Limit,
    NeuronId,
    Number,
    Order,
    Parameter,
    TokenId,
    Whole,
)
from atlas.core.units import Bound
from atlas.topics.neuron_list import EXCLUSIVE
from atlas.topics.pair_metric.effects import EFFECT_SORTS, PairEffect
from atlas.topics.pair_metric.effects import pair_effects as read_pair_effects
from atlas.topics.pair_metric.ranked import (
    METRIC_SORTS,
    WHOLE_METRICS,
    MetricFilter,
    PairMetric,
    neuron_metrics,
    ranked_metrics,
    token_metrics,
)
from atlas.topics.pair_metric.table import SIDES

Sort = Annotated[str, Choice("Column that sorts: NULLs last, ties by neuron, token, side.", METRIC_SORTS)]
Side = Annotated[str, Choice("Only this side of zero; 'negative' of gated MLPs only.", SIDES)]
Exclusive = Annotated[str, Choice("Exclusive pairs of a direction, of 'any', or of 'none'.", EXCLUSIVE)]


def _bound(column: str, op: str) -> Declared:
    word = "At least" if op == "gte" else "At most"
    what = f"{word} this `{column}`; NULL is neither."
    kind: Parameter = Whole(what) if column in WHOLE_METRICS else Number(what)
    return Declared(name=f"{column}.{op}", kind=kind)


_BOUNDS = {f"{column}_{op}": (column, op) for column in METRIC_SORTS for op in ("gte", "lte")}


@call(
    "atlases/{atlas}/pair-metrics",
    python="demo.pair_metrics(n_predicted_gte=100, limit=20)",
    more=[_bound(column, op) for column, op in _BOUNDS.values()],
    limit=20,
    n_predicted_gte=100,
)
def pair_metrics(
    atlas: Atlas,
    side: Side | None = None,
    every: Every = False,
    layer_min: Layer | None = None,
    layer_max: Layer | None = None,
    token: Contained | None = None,
    exclusive: Exclusive | None = None,
    sort: Sort = "average_precision_predicted",
    order: Order = "desc",
    after: AfterRow = 0,
    limit: Limit = 100,
    **bounds: Any,
) -> Page[PairMetric]:
    """How well activation predicts: counted pairs and sides for which everything that is given holds, sorted."""
    where = MetricFilter(
        side=side,
        every=every,
        layer_min=layer_min,
        layer_max=layer_max,
        token=token,
        exclusive=exclusive,
        bounds=tuple(Bound(*_BOUNDS[name], value) for name, value in bounds.items()),
    )
    found = ranked_metrics(atlas, where, sort=sort, descending=order == "desc", limit=limit, offset=after)
    end = found.offset + len(found.rows)
    return Page(found.rows, found.total, str(end) if found.rows and end < found.total else None)


EffectSort = Annotated[str, Choice("Column that sorts: NULLs last, ties by neuron, token, side.", EFFECT_SORTS)]


@call("atlases/{atlas}/pair-effects", python="demo.pair_effects(limit=20)", limit=20)
def pair_effects(
    atlas: Atlas,
    sort: EffectSort = "probability_change",
    order: Order = "asc",
    after: AfterRow = 0,
    limit: Limit = 100,
) -> Page[PairEffect]:
    """What became of tokens when neurons were ablated where they fire, beside the pairs' metrics: those that lose most
    first. Empty: `atlas effects` was not run on the file."""
    found = read_pair_effects(atlas, sort=sort, descending=order == "desc", limit=limit, offset=after)
    end = found.offset + len(found.rows)
    return Page(found.rows, found.total, str(end) if found.rows and end < found.total else None)


@call("atlases/{atlas}/neurons/{neuron}/pair-metrics", python='demo.neuron("{neuron}").pair_metrics()')
def neuron_pair_metrics(atlas: Atlas, neuron: NeuronId) -> tuple[PairMetric, ...]:
    """How well a neuron predicts each of its counted tokens, the most congruent first."""
    return tuple(neuron_metrics(atlas, neuron))


@call("atlases/{atlas}/tokens/{token}/pair-metrics", python="demo.token({token}).pair_metrics()")
def token_pair_metrics(atlas: Atlas, token: TokenId) -> tuple[PairMetric, ...]:
    """How well each neuron counted with a token predicts it, the most congruent first."""
    return tuple(token_metrics(atlas, atlas.tokens[token].token_id))
