"""The SQL behind each panel answers what the panel shows."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from atlas import queries
from atlas.measures import thresholds
from atlas.panels import OVERVIEW_PANELS
from atlas.panels.literal import literal, text, where
from atlas.queries.example import TEXTS
from atlas.queries.percentile import standing
from atlas.queries.prediction import BEYOND, CURVES, NEURON_CANDIDATES, of_pairs
from atlas.queries.spread import SIMILAR


@pytest.mark.parametrize("neuron_id", [3, 60])
def test_a_neurons_panels(both, neuron_id):
    atlas, _ = both
    bars, (candidate, *others) = queries.histogram(atlas, neuron_id), queries.neuron_candidates(atlas, neuron_id)
    assert [row[1:6] for row in atlas.query(NEURON_CANDIDATES.shown(neuron_id=neuron_id)).rows] == [
        (c.token.text, c.congruence, ",".join(c.sources), c.n_predicted, c.n_actual) for c in (candidate, *others)
    ]
    (curve,) = queries.neuron_curves(atlas, neuron_id, [candidate], bars)
    token_id = candidate.token.token_id
    assert [row[4:7] for row in atlas.query(CURVES.shown(**of_pairs([candidate]))).rows] == [
        (point.n, point.n_predicted, point.n_actual) for point in curve.points
    ]
    for side in ("above", "below"):
        for read in thresholds(curve, side):
            sql = BEYOND[side].shown(neuron_id=neuron_id, token_id=token_id, edge=read.edge)
            assert atlas.query(sql).rows[0] == (read.n, read.n_predicted, read.precision, read.recall)
    assert sorted(row[3] for row in atlas.query(TEXTS.shown(neuron_id=neuron_id)).rows) == sorted(
        e.activation for e in queries.examples(atlas, neuron_id)
    )
    alike = queries.similar_neurons(atlas, neuron_id, limit=8)
    rows = atlas.query(SIMILAR["out"].shown(neuron_id=neuron_id, limit=8)).rows
    assert [row[0] for row in rows] == [item.neuron.name for item in alike]
    assert [row[1] for row in rows] == pytest.approx([item.cosine for item in alike], abs=1e-5)
    numbers = atlas.query(standing().shown(neuron_ids=[neuron_id])).rows
    assert [(row[0], row[2]) for row in numbers if row[1] == "token_gap"] == [
        (candidate.neuron.name, queries.neuron(atlas, neuron_id).token_gap)
    ]


def test_the_overviews_panels(both):
    atlas, _ = both
    found = queries.highlights(atlas)
    rows = {name: atlas.query(sql).rows for name, sql in OVERVIEW_PANELS.items()}
    pairs = queries.exclusive_pairs(atlas, limit=12).rows
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
