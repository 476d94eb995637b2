"""What holds for the whole atlas: ids to neurons, and what the schema says of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.names import neuron_name, parse_neuron
from atlas.records import NeuronRef

if TYPE_CHECKING:
    from atlas.db import Atlas


def neuron_ref(atlas: Atlas, neuron_id: int) -> NeuronRef:
    """The neuron of an id, by arithmetic: neuron_id = layer * d_mlp + index."""
    layer, index = divmod(neuron_id, atlas.info.d_mlp)
    return NeuronRef(neuron_id, layer, index, neuron_name(layer, index))


def named_ref(atlas: Atlas, name: str) -> NeuronRef:
    """The neuron of a name, in any spelling.

    Raises:
        NeuronNameError: the text is no neuron name, or this model has no such neuron.
    """
    layer, index = parse_neuron(name, atlas.info.n_layers, atlas.info.d_mlp)
    return neuron_ref(atlas, layer * atlas.info.d_mlp + index)


def column_comments(atlas: Atlas, table: str) -> dict[str, str]:
    """What the file's own schema says of each column of a table or view."""
    sql = "SELECT column_name, comment FROM duckdb_columns() WHERE schema_name = 'main' AND table_name = ?"
    return atlas.remembered(f"comments of {table}", lambda: dict(atlas.rows(sql, table)))
