"""Layers: each in numbers, and its neurons sorted and paged."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from atlas.core.db import Atlas
from atlas.core.errors import NeuronNameError, QueryError
from atlas.core.units import Listing, NeuronRef, neuron_ref
from atlas.topics.neuron import NEURON_COLUMNS, make_neuron


@dataclass(frozen=True)
class LayerSummary:
    """One layer in numbers: means and extremes over its neurons. `n_exclusive` counts its exclusive pairs ('top')
    with ordinary tokens that occur; `activation_std` is the mean over neurons of each one's own, `most_active_neuron`
    the one of the greatest. `best_neuron` has the greatest congruence."""

    layer: int
    n_neurons: int
    n_dead: int
    n_exclusive: int
    best_congruence_mean: float
    best_congruence_max: float
    token_gap_mean: float | None
    token_gap_max: float | None
    w_out_norm_mean: float
    activation_std: float
    activation_min: float
    activation_max: float
    positive_fraction: float
    best_neuron: NeuronRef
    activation_std_max: float
    most_active_neuron: NeuronRef


_NEURON = sa.table("neuron", *(sa.column(name) for name in NEURON_COLUMNS))

NEURON_SORTS = (
    "index",
    "best_congruence",
    "token_gap",
    "worst_congruence",
    "token_gap_bottom",
    "w_out_norm",
    "activation_min",
    "activation_max",
    "activation_std",
    "positive_fraction",
    "hub_count",
)
"""Columns by which `layer_neurons` sorts."""

_SUMMARIES = """
SELECT layer, count(*), count(*) FILTER (dead), coalesce(any_value(x.n_exclusive), 0),
       avg(best_congruence), max(best_congruence), avg(token_gap), max(token_gap), avg(w_out_norm),
       avg(activation_std), min(activation_min), max(activation_max), avg(positive_fraction),
       first(neuron.neuron_id ORDER BY best_congruence DESC, neuron.neuron_id),
       max(activation_std), first(neuron.neuron_id ORDER BY activation_std DESC, neuron.neuron_id)
FROM neuron
LEFT JOIN (
    SELECT p.neuron_id // ? AS layer, count(*) AS n_exclusive
    FROM exclusive_pair AS p JOIN token AS t USING (token_id)
    WHERE p.direction = 'top' AND NOT t.special AND t.n_actual > 0
    GROUP BY ALL
) AS x USING (layer)
{where}
GROUP BY layer
ORDER BY layer
"""


def layer_summaries(atlas: Atlas) -> list[LayerSummary]:
    """Every layer in numbers, from layer 0."""
    return [_summary(atlas, row) for row in atlas.rows(_SUMMARIES.format(where=""), atlas.info.d_mlp)]


def _summary(atlas: Atlas, row: tuple) -> LayerSummary:
    *numbers, best, greatest_std, most_active = row
    return LayerSummary(*numbers, neuron_ref(atlas, best), greatest_std, neuron_ref(atlas, most_active))


def layer_summary(atlas: Atlas, layer: int) -> LayerSummary:
    """One layer in numbers.

    Raises:
        NeuronNameError: the layer is out of range.
    """
    check_layer(atlas, layer)
    first, d_mlp = layer * atlas.info.d_mlp, atlas.info.d_mlp
    where = "WHERE neuron.neuron_id >= ? AND neuron.neuron_id < ?"
    return _summary(atlas, atlas.rows(_SUMMARIES.format(where=where), d_mlp, first, first + d_mlp)[0])


def check_layer(atlas: Atlas, layer: int) -> None:
    """Accept a layer of this model.

    Raises:
        NeuronNameError: the layer is out of range.
    """
    if not 0 <= layer < atlas.info.n_layers:
        raise NeuronNameError(f"There is no layer {layer}: this model has layers 0 to {atlas.info.n_layers - 1}.")


def layer_neurons(
    atlas: Atlas,
    layer: int,
    *,
    sort: str = "best_congruence",
    descending: bool = True,
    limit: int = 100,
    offset: int = 0,
) -> Listing:
    """A layer's neurons, a page of them, as a Listing of Neuron. `sort` is one of NEURON_SORTS; ties by index.

    Raises:
        NeuronNameError: the layer is out of range.
        QueryError: `sort` is no such column.
    """
    check_layer(atlas, layer)
    if sort not in NEURON_SORTS:
        raise QueryError(f"Cannot sort neurons by {sort!r}; sort by one of {', '.join(NEURON_SORTS)}.")
    n, d_mlp = _NEURON.c, atlas.info.d_mlp
    column = n[sort].desc() if descending else n[sort].asc()
    rows = atlas.select(
        sa.select(*n)
        .where(n.neuron_id >= layer * d_mlp, n.neuron_id < (layer + 1) * d_mlp)
        .order_by(column.nulls_last(), n.neuron_id)
        .limit(limit)
        .offset(offset)
    )
    return Listing(tuple(make_neuron(atlas, tuple(row)) for row in rows), d_mlp, offset, limit)
