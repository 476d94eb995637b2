"""SQL of where neurons stand among the others."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.core.statements import literal, wrapped
from atlas.queries.percentile import PERCENTILE_COLUMNS

_STANDING = """WITH number AS (
    UNPIVOT (
        SELECT neuron_id, name AS neuron, layer,
               {columns}
        FROM neuron
    )
    ON COLUMNS(* EXCLUDE (neuron_id, neuron, layer))
    INTO NAME number VALUE value
)
SELECT one.neuron, one.number, one.value,
       count(*) FILTER (other.layer = one.layer AND other.value < one.value)
           / count(*) FILTER (other.layer = one.layer) AS lower_in_layer,
       count(*) FILTER (other.value < one.value) / count(*) AS lower_in_model
FROM number AS one JOIN number AS other USING (number)
WHERE one.neuron_id IN ({neurons})
GROUP BY one.neuron_id, one.neuron, one.number, one.value
ORDER BY list_position([
    {names}
], one.number), list_position([{neurons}], one.neuron_id)"""


def standing(neuron_ids: Sequence[int], columns: Sequence[str] = PERCENTILE_COLUMNS) -> str:
    """Numbers of neurons, and the fractions of the layer's and of the model's neurons whose number is lower."""
    return _STANDING.format(
        # UNPIVOT wants values of one type.
        columns=wrapped((f"{name}::DOUBLE AS {name}" for name in columns), 15),
        names=wrapped(map(literal, columns), 4),
        neurons=", ".join(map(str, neuron_ids)),
    )
