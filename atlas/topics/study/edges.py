"""Edges between the neurons that stand out in a study: how much of a neuron's recovery goes through a later one."""

from __future__ import annotations

from atlas.core.call import call
from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.units import neuron_ref
from atlas.topics.study.records import StudyEdge
from atlas.topics.study.study import OF_STUDY, StudyName, find_study

EDGES = Statement("""SELECT s.name AS source, t.name AS target, e.estimate, e.exact,
       e.source_neuron_id, e.target_neuron_id
FROM study_edge AS e
JOIN neuron AS s ON s.neuron_id = e.source_neuron_id
JOIN neuron AS t ON t.neuron_id = e.target_neuron_id
WHERE e.study = $study
ORDER BY abs(e.estimate) DESC, e.source_neuron_id, e.target_neuron_id""")
"""The edges of a study, greatest |estimate| first."""


@call(OF_STUDY + "/edges", python='demo.study("{study}").edges()')
def study_edges(atlas: Atlas, name: StudyName) -> tuple[StudyEdge, ...]:
    """How the neurons that stand out in a study act through each other, greatest |estimate| first."""
    find_study(atlas, name)
    return tuple(
        StudyEdge(neuron_ref(atlas, source), neuron_ref(atlas, target), estimate, exact)
        for _, _, estimate, exact, source, target in EDGES.rows(atlas, study=name)
    )
