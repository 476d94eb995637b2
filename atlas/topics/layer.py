"""Layers: a summary of each in numbers, and its neurons sorted and paged."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.errors import NeuronNameError, QueryError
from atlas.core.statements import Composed, Statement
from atlas.core.units import Listing, NeuronRef, named_ref
from atlas.topics.neuron import make_neuron
from atlas.topics.neuron_columns import COLUMN, USUAL_COLUMNS, Column, column_names, columns_of
from atlas.topics.neuron_list import NeuronSelection, neurons_statement


@dataclass(frozen=True)
class LayerSummary:
    """One layer in numbers: means and extremes over its neurons. `n_exclusive` counts its exclusive pairs ('top')
    with ordinary tokens that occur; `activation_std` is the mean over neurons of each one's own, `most_active_neuron`
    the neuron with the greatest. `best_neuron` has the greatest congruence."""

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


SUMMARY_COLUMNS = (
    Column("best_congruence_mean", words="mean best congruence"),
    Column("best_congruence_max", words="greatest congruence"),
    Column("token_gap_mean", words="mean token gap"),
    Column("token_gap_max", words="greatest token gap"),
    Column("w_out_norm_mean", words="mean output norm"),
    Column("activation_std", words="mean activation std"),
    Column("activation_min", "signed", words="least activation"),
    Column("activation_max", "signed", words="greatest activation"),
    Column("positive_fraction", "share"),
)
"""A LayerSummary's means and extremes, as pages show them."""

LAYER_COLUMNS = (COLUMN["index"], *USUAL_COLUMNS[1:])
"""Columns of a layer's list of neurons."""

NEURON_SORTS = tuple(column.name for column in columns_of("layer") if column.form != "token")
"""Columns by which `layer_neurons` sorts."""

LAYERS = Statement("""WITH paired AS (
    SELECT n.layer, count(*) AS exclusive_pairs
    FROM pair AS p JOIN neuron AS n USING (neuron_id)
    WHERE p.direction = 'top' AND NOT p.special AND p.n_actual > 0
    GROUP BY n.layer
)
SELECT layer, count(*) AS neurons, count(*) FILTER (dead) AS dead,
       coalesce(any_value(exclusive_pairs), 0) AS exclusive_pairs, avg(best_congruence) AS mean_best_congruence,
       max(best_congruence) AS greatest_congruence, avg(token_gap) AS mean_token_gap,
       max(token_gap) AS greatest_token_gap, avg(w_out_norm) AS mean_output_norm,
       avg(activation_std) AS mean_activation_std, min(activation_min) AS least_activation,
       max(activation_max) AS greatest_activation, avg(positive_fraction) AS positive_fraction,
       first(name ORDER BY best_congruence DESC, neuron_id) AS best_neuron,
       max(activation_std) AS greatest_activation_std,
       first(name ORDER BY activation_std DESC, neuron_id) AS most_active_neuron
FROM neuron LEFT JOIN paired USING (layer)
WHERE layer BETWEEN $first AND $last
GROUP BY layer
ORDER BY layer""")
"""Layers in numbers."""


@call(OF_ATLAS + "/layers", name="layers", python="demo.layers()")
def layer_summaries(atlas: Atlas) -> list[LayerSummary]:
    """Every layer in numbers."""
    return _summaries(atlas, 0, atlas.info.n_layers - 1)


def layer_summary(atlas: Atlas, layer: int) -> LayerSummary:
    """One layer in numbers.

    Raises:
        NeuronNameError: the layer is out of range.
    """
    check_layer(atlas, layer)
    return _summaries(atlas, layer, layer)[0]


def _summaries(atlas: Atlas, first: int, last: int) -> list[LayerSummary]:
    return [
        LayerSummary(*numbers, named_ref(atlas, best), std, named_ref(atlas, active))
        for *numbers, best, std, active in LAYERS.rows(atlas, first=first, last=last)
    ]


def check_layer(atlas: Atlas, layer: int) -> None:
    """Check that the model has a layer.

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
    rows = layer_statement(atlas, layer, sort=sort, descending=descending, limit=limit, offset=offset).rows(atlas)
    return Listing(tuple(make_neuron(atlas, tuple(row)) for row in rows), atlas.info.d_mlp, offset, limit)


def layer_statement(atlas: Atlas, layer: int, *, sort: str, descending: bool, limit: int, offset: int) -> Composed:
    """A page of a layer's neurons.

    Raises:
        NeuronNameError: the layer is out of range.
        QueryError: `sort` is no column of NEURON_SORTS.
    """
    check_layer(atlas, layer)
    if sort not in NEURON_SORTS:
        raise QueryError(f"Cannot sort neurons by {sort!r}; sort by one of {', '.join(NEURON_SORTS)}.")
    selection, columns = NeuronSelection(layer_min=layer, layer_max=layer), column_names(columns_of("layer"))
    return neurons_statement(atlas, selection, columns, sort=sort, descending=descending, limit=limit, offset=offset)
