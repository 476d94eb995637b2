"""SQL of the kinds of neurons."""

from __future__ import annotations

_NEURON = """SELECT k.*, d.token AS detects, d.side, d.direction, d.lead
FROM neuron_kind AS k LEFT JOIN token_detector AS d USING (neuron_id)
WHERE k.neuron_id = {neuron}"""

_LAYERS = """SELECT k.layer, count(*) FILTER (k.kind = 'prediction') AS prediction,
       count(*) FILTER (k.kind = 'suppression') AS suppression, count(*) FILTER (k.kind = 'partition') AS partition,
       count(*) FILTER (k.kind IS NULL) AS other, count(*) FILTER (k.hub) AS hub, count(d.neuron_id) AS detector,
       count(*) FILTER (k.dead) AS dead
FROM neuron_kind AS k LEFT JOIN token_detector AS d USING (neuron_id){where}
GROUP BY k.layer
ORDER BY k.layer"""


def kind_panel(neuron_id: int) -> str:
    """SQL of what kind a neuron is."""
    return _NEURON.format(neuron=neuron_id)


def layer_kinds_panel(layer: int | None = None) -> str:
    """SQL of how many neurons of each layer, or of one, are of each kind."""
    return _LAYERS.format(where="" if layer is None else f"\nWHERE k.layer = {layer}")
