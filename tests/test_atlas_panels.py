"""The SQL behind each panel answers what the panel shows."""

from __future__ import annotations

import pytest

from atlas import queries
from atlas.measures import thresholds
from atlas.panels import neuron_panels, token_panels


@pytest.mark.parametrize("neuron_id", [3, 60])
def test_a_neurons_panels(both, neuron_id):
    atlas, _ = both
    bars, cells = queries.histogram(atlas, neuron_id), queries.neuron_cells(atlas, neuron_id)
    candidates = queries.neuron_candidates(atlas, neuron_id, cells)
    (curve,) = queries.neuron_curves(atlas, neuron_id, candidates[:1], bars, cells)
    token_id = candidates[0].token.token_id
    read = thresholds(curve, "above")[0]
    panels = neuron_panels(neuron_id, [token_id], (token_id, "above", read.edge))
    answers = {name: atlas.query(sql).rows for name, sql in panels.items()}
    tokens = queries.neuron_tokens(atlas, neuron_id)
    assert answers["writes"] == tuple((t.token.text, t.rank, t.congruence, t.token.token_id) for t in tokens)
    assert [row[2] for row in answers["fires"]] == [bar.n for bar in bars]
    assert [row[4:7] for row in answers["predicts"]] == [(p.n, p.n_predicted, p.n_actual) for p in curve.points]
    assert tuple(row[:6] for row in answers["candidates"]) == tuple(
        (c.neuron.name, c.token.text, c.congruence, ",".join(c.sources), c.n_predicted, c.n_actual) for c in candidates
    )
    n, n_predicted, precision, recall = answers["threshold"][0]
    assert (n, n_predicted, precision) == (read.n, read.n_predicted, read.precision)
    assert recall == read.recall
    assert sorted(row[3] for row in answers["texts"]) == sorted(
        e.activation for e in queries.examples(atlas, neuron_id)
    )
    assert [(r[0], r[1], r[2], r[5]) for r in answers["reads"]] == [
        (i.side, i.direction, i.rank, i.token.token_id) for i in queries.input_tokens(atlas, neuron_id)
    ]
    alike = queries.similar_neurons(atlas, neuron_id, limit=8)
    assert [row[0] for row in answers["alike"]] == [item.neuron.name for item in alike]
    assert [row[1] for row in answers["alike"]] == pytest.approx([item.cosine for item in alike], abs=1e-5)
    assert [(row[0], row[2]) for row in answers["numbers"] if row[1] == "token_gap"] == [
        (candidates[0].neuron.name, queries.neuron(atlas, neuron_id).token_gap)
    ]
    below = thresholds(curve, "below")
    if below:
        sql = neuron_panels(neuron_id, [token_id], (token_id, "below", below[-1].edge))["threshold"]
        assert atlas.query(sql).rows[0][0] == below[-1].n


def test_a_tokens_panels(both):
    atlas, _ = both
    panels = token_panels(40)
    neurons = queries.token_neurons(atlas, 40)
    assert atlas.query(panels["neurons"]).rows == tuple((n.neuron.name, n.rank, n.congruence) for n in neurons)
    assert [row[0] for row in atlas.query(panels["candidates"]).rows] == [
        candidate.neuron.name for candidate in queries.token_candidates(atlas, 40)
    ]
    assert atlas.query(panels["numbers"]).rows[0][0] == 40
