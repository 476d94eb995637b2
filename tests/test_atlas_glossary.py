"""The glossary: every SQL runs as it is, and computes what the schema's own columns hold."""

from __future__ import annotations

import re

import pytest

from atlas.api.calls import TERMS
from atlas.core.term import BEST_PAIR
from atlas.topics.curve import neuron_candidates, token_curves
from atlas.topics.example import neuron_examples
from atlas.topics.hub import neuron_occurrence
from atlas.topics.neuron import find_neuron
from atlas.topics.percentile import percentiles

BY_ANCHOR = {term.anchor: term for term in TERMS}


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.anchor)
def test_sql_runs_as_it_is(both, term):
    atlas, connection = both
    answer = connection.execute(term.sql)
    assert answer.fetchall()
    assert atlas.query(term.sql).rows


def test_anchors_and_prose():
    assert len(BY_ANCHOR) == len(TERMS) >= 30
    for term in TERMS:
        assert re.fullmatch(r"[a-z][a-z-]*[a-z]", term.anchor)
        assert 1 <= len(re.findall(r"[.:](?=\s|$)", term.definition)) <= 5
        assert term.definition.endswith(".")
        assert not term.sql.rstrip().endswith(";")


@pytest.mark.parametrize(
    ("anchor", "column"),
    [
        ("congruence", "SELECT congruence FROM pair"),
        ("token-gap", "SELECT token_gap FROM pair"),
        ("neuron-gap", "SELECT neuron_gap FROM pair"),
    ],
)
def test_what_is_computed_is_what_is_stored(both, anchor, column):
    _, connection = both
    answer = connection.execute(BY_ANCHOR[anchor].sql).fetchone()[-1]
    where = " WHERE direction = 'top' AND (neuron_id, token_id) = (SELECT (neuron_id, token_id) FROM best)"
    assert answer == pytest.approx(connection.execute(BEST_PAIR + column + where).fetchone()[0], rel=1e-5)


def test_scores_and_counts(both):
    _, connection = both
    for _, _, token_gap, neuron_gap, score in connection.execute(BY_ANCHOR["score"].sql).fetchall():
        assert score == pytest.approx(token_gap * neuron_gap)
    total = connection.execute("SELECT count(*) FROM exclusive_pair WHERE direction = 'top'").fetchone()
    assert connection.execute(BY_ANCHOR["exclusive-pair"].sql).fetchone() == total
    for name, count in connection.execute(BY_ANCHOR["hub-count"].sql).fetchall():
        assert connection.execute("SELECT hub_count FROM neuron WHERE name = ?", [name]).fetchone() == (count,)


def test_measures_agree_with_the_program(both):
    from atlas.core.stats import wilson
    from atlas.topics.example import illusion_guard
    from atlas.topics.threshold import thresholds

    atlas, connection = both
    neuron_id, token_id = connection.execute(BEST_PAIR + "SELECT neuron_id, token_id FROM best").fetchone()
    candidate = next(c for c in neuron_candidates(atlas, neuron_id) if c.token.token_id == token_id)
    (curve,) = token_curves(atlas, [candidate])
    answers = {term.anchor: connection.execute(term.sql).fetchone() for term in TERMS}
    beyond = [threshold for threshold in thresholds(curve, "above") if threshold.edge >= 1]
    if beyond:
        last = beyond[-1]
        assert answers["threshold"][1:] == (last.n, last.n_predicted)
        assert answers["precision"][0] == pytest.approx(last.precision)
        assert answers["recall"][0] == (None if last.recall is None else pytest.approx(last.recall))
        assert answers["lift"][0] == (None if last.lift is None else pytest.approx(last.lift))
    low, high = wilson(sum(p.n_predicted for p in curve.points), atlas.info.n_positions)
    assert answers["wilson"][-2:] == (pytest.approx(low, abs=1e-7), pytest.approx(high, abs=1e-7))
    examples = neuron_examples(atlas, neuron_id)
    guard = illusion_guard([example for example in examples if example.kind == "max"], examples)
    assert answers["illusion-guard"][0] == pytest.approx(guard.distance, abs=0.02)
    standing = percentiles(atlas, find_neuron(atlas, neuron_id))
    assert answers["percentile"][0] == pytest.approx(standing["token_gap"].model)
    assert answers["hubness"][0] == pytest.approx(neuron_occurrence(atlas, 10).skewness)
