"""The SQL behind each panel answers what the panel shows."""

from __future__ import annotations

import pytest

from atlas.topics.curve import CURVES, NEURON_CANDIDATES, histogram, neuron_candidates, neuron_curves, of_pairs
from atlas.topics.example import TEXTS, neuron_examples
from atlas.topics.neuron import find_neuron
from atlas.topics.percentile import standing
from atlas.topics.spread import SIMILAR, similar_neurons
from atlas.topics.threshold import BEYOND, thresholds


@pytest.mark.parametrize("neuron_id", [3, 60])
def test_a_neurons_panels(both, neuron_id):
    atlas, _ = both
    bars, (candidate, *others) = histogram(atlas, neuron_id), neuron_candidates(atlas, neuron_id)
    assert [row[1:6] for row in atlas.query(NEURON_CANDIDATES.shown(neuron_id=neuron_id)).rows] == [
        (c.token.text, c.congruence, ",".join(c.sources), c.n_predicted, c.n_actual) for c in (candidate, *others)
    ]
    (curve,) = neuron_curves(atlas, neuron_id, [candidate], bars)
    token_id = candidate.token.token_id
    assert [row[4:7] for row in atlas.query(CURVES.shown(**of_pairs([candidate]))).rows] == [
        (point.n, point.n_predicted, point.n_actual) for point in curve.points
    ]
    for side in ("above", "below"):
        for read in thresholds(curve, side):
            sql = BEYOND[side].shown(neuron_id=neuron_id, token_id=token_id, edge=read.edge)
            assert atlas.query(sql).rows[0] == (read.n, read.n_predicted, read.precision, read.recall)
    assert sorted(row[3] for row in atlas.query(TEXTS.shown(neuron_id=neuron_id)).rows) == sorted(
        e.activation for e in neuron_examples(atlas, neuron_id)
    )
    alike = similar_neurons(atlas, neuron_id, limit=8)
    rows = atlas.query(SIMILAR["out"].shown(neuron_id=neuron_id, limit=8)).rows
    assert [row[0] for row in rows] == [item.neuron.name for item in alike]
    assert [row[1] for row in rows] == pytest.approx([item.cosine for item in alike], abs=1e-5)
    numbers = atlas.query(standing().shown(neuron_ids=[neuron_id])).rows
    assert [(row[0], row[2]) for row in numbers if row[1] == "token_gap"] == [
        (candidate.neuron.name, find_neuron(atlas, neuron_id).token_gap)
    ]
