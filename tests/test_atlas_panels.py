"""The SQL behind each panel answers what the panel shows."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from atlas.panels.literal import literal, text, where
from atlas.panels.neuron import neuron_panels
from atlas.panels.overview import OVERVIEW_PANELS
from atlas.panels.token import token_panels
from atlas.topics.curve import histogram, neuron_candidates, neuron_cells, neuron_curves, thresholds, token_candidates
from atlas.topics.example import neuron_examples
from atlas.topics.neuron import find_neuron, input_tokens, neuron_tokens
from atlas.topics.overview import highlights
from atlas.topics.pair import exclusive_pairs
from atlas.topics.spread import similar_neurons
from atlas.topics.token import token_neurons


@pytest.mark.parametrize("neuron_id", [3, 60])
def test_a_neurons_panels(both, neuron_id):
    atlas, _ = both
    bars, cells = histogram(atlas, neuron_id), neuron_cells(atlas, neuron_id)
    candidates = neuron_candidates(atlas, neuron_id, cells)
    (curve,) = neuron_curves(atlas, neuron_id, candidates[:1], bars, cells)
    token_id = candidates[0].token.token_id
    read = thresholds(curve, "above")[0]
    panels = neuron_panels(neuron_id, [token_id], (token_id, "above", read.edge))
    answers = {name: atlas.query(sql).rows for name, sql in panels.items()}
    tokens = neuron_tokens(atlas, neuron_id)
    assert answers["writes"] == tuple((t.token.text, t.rank, t.congruence, t.token.token_id) for t in tokens)
    assert [row[2] for row in answers["fires"]] == [bar.n for bar in bars]
    assert [row[4:7] for row in answers["predicts"]] == [(p.n, p.n_predicted, p.n_actual) for p in curve.points]
    assert tuple(row[:6] for row in answers["candidates"]) == tuple(
        (c.neuron.name, c.token.text, c.congruence, ",".join(c.sources), c.n_predicted, c.n_actual) for c in candidates
    )
    n, n_predicted, precision, recall = answers["threshold"][0]
    assert (n, n_predicted, precision) == (read.n, read.n_predicted, read.precision)
    assert recall == read.recall
    assert sorted(row[3] for row in answers["texts"]) == sorted(e.activation for e in neuron_examples(atlas, neuron_id))
    assert [(r[0], r[1], r[2], r[5]) for r in answers["reads"]] == [
        (i.side, i.direction, i.rank, i.token.token_id) for i in input_tokens(atlas, neuron_id)
    ]
    alike = similar_neurons(atlas, neuron_id, limit=8)
    assert [row[0] for row in answers["alike"]] == [item.neuron.name for item in alike]
    assert [row[1] for row in answers["alike"]] == pytest.approx([item.cosine for item in alike], abs=1e-5)
    assert [(row[0], row[2]) for row in answers["numbers"] if row[1] == "token_gap"] == [
        (candidates[0].neuron.name, find_neuron(atlas, neuron_id).token_gap)
    ]
    below = thresholds(curve, "below")
    if below:
        sql = neuron_panels(neuron_id, [token_id], (token_id, "below", below[-1].edge))["threshold"]
        assert atlas.query(sql).rows[0][0] == below[-1].n


def test_a_tokens_panels(both):
    atlas, _ = both
    panels = token_panels(40)
    neurons = token_neurons(atlas, 40)
    assert atlas.query(panels["neurons"]).rows == tuple((n.neuron.name, n.rank, n.congruence) for n in neurons)
    assert [row[0] for row in atlas.query(panels["candidates"]).rows] == [
        candidate.neuron.name for candidate in token_candidates(atlas, 40)
    ]
    assert atlas.query(panels["numbers"]).rows[0][0] == 40


def test_the_overviews_panels(both):
    atlas, _ = both
    found = highlights(atlas)
    rows = {name: atlas.query(sql).rows for name, sql in OVERVIEW_PANELS.items()}
    pairs = exclusive_pairs(atlas, limit=12).rows
    assert [(row[0], row[1], row[3]) for row in rows["pairs"]] == [(p.rank, p.neuron.name, p.score) for p in pairs]
    assert [row[0] for row in rows["single"]] == [neuron.name for neuron in found.single_token]
    assert [row[0] for row in rows["hub_tokens"]] == [token.token.token_id for token in found.hub_tokens]
    assert [row[0] for row in rows["hub_neurons"]] == [neuron.name for neuron in found.hub_neurons]
    assert [row[3] for row in rows["layers"]] == pytest.approx([layer.best_congruence_mean for layer in found.layers])
    assert len(rows["provenance"]) == 1


def test_values_are_written_so_that_they_read_back(both):
    _, connection = both
    texts = ["it's", "100%", "back\\slash", 'quo"te', "ORDER  BY\nLIMIT x FROM y", ":name $name", "é\u202e"]
    numbers = [0.1, -2.5e-7, 1e300, 16777217.0, 5]
    columns = [sa.literal(value).label(f"c{place}") for place, value in enumerate([*texts, *numbers])]
    written = literal(sa.select(*columns).where(sa.literal(1) == 1).limit(1))
    assert connection.execute(written).fetchone() == (*texts, *numbers)
    assert written.splitlines()[-2:] == ["WHERE 1 = 1", "LIMIT 1"]
    assert connection.execute(f"SELECT {text(texts[0])}").fetchone()[0] == texts[0]


def test_conditions_have_a_line_each():
    a, b = sa.column("a"), sa.column("b")
    assert where([]) == ""
    assert where([a > 0.5, (b == "x") | b.is_(None)], "  ") == "\n  WHERE a > 0.5e0\n    AND (b = 'x' OR b IS NULL)"
