"""The neurons that write a token, against the tables and the verdicts of the neurons themselves."""

from __future__ import annotations

from atlas.topics.curve import token_candidates
from atlas.topics.neuron import find_neuron
from atlas.topics.token import token_neurons, token_row
from atlas.topics.verdict import verdict_of
from atlas.topics.writer import TOKEN_PREDICTIONS, token_predictions, writing_neurons
from web.views.token_words import token_verdict


def test_a_token_is_predicted_as_the_view_of_neurons_has_it(both):
    """`neuron_prediction` has the best token of each neuron: every row of it is among that token's."""
    atlas, connection = both
    names = "side, threshold, n_beyond, n_hits, n_predicted, recall, auroc, f1_gain, predicts"
    rows = connection.execute(f"SELECT token_id, neuron_id, {names} FROM neuron_prediction").fetchall()
    read = {}
    for token_id in {row[0] for row in rows}:
        items = token_predictions(atlas, token_id)
        assert [(-item.predicts, -item.f1_gain) for item in items if item.f1_gain is not None] == sorted(
            (-item.predicts, -item.f1_gain) for item in items if item.f1_gain is not None
        )
        read |= {(token_id, item.neuron.neuron_id, item.side): item for item in items}
    assert len(rows) > 20
    for token_id, neuron_id, side, *numbers in rows:
        item = read[token_id, neuron_id, side]
        assert [getattr(item, name) for name in names.split(", ")[1:]] == numbers
    shown = atlas.query(TOKEN_PREDICTIONS.shown(token_id=token_id))
    assert shown.columns[1:-1] == tuple(
        names.replace("recall", "precision, recall").replace("auroc", "auroc, average_precision").split(", ")
    )


def test_what_writes_a_token(both):
    atlas, _ = both
    for token_id in (5, 40, 200):
        predictions = token_predictions(atlas, token_id)
        counted = {candidate.neuron.neuron_id for candidate in token_candidates(atlas, token_id)}
        assert {item.neuron.neuron_id for item in predictions} <= counted
        items = writing_neurons(atlas, token_id, predictions)
        assert [(i.direction, i.rank, i.neuron, i.congruence) for i in items] == [
            (i.direction, i.rank, i.neuron, i.congruence) for i in token_neurons(atlas, token_id)
        ]
        for item in items[:3] + items[-3:]:
            neuron = find_neuron(atlas, item.neuron.neuron_id)
            assert item.own_token == (neuron.best_token if item.direction == "top" else neuron.worst_token)
            assert item.headline == verdict_of(atlas, neuron).headline
        row = token_row(atlas, token_id)
        words = token_verdict(row, predictions, (), ())
        assert words.writes.startswith("writes it most")
        best = next((item for item in predictions if item.neuron == row.best_neuron), None)
        if best is not None and best.auroc is not None:
            assert f"(area under ROC {best.auroc:.2f})" in words.firing
            assert words.firing.startswith("Its firing predicts" if best.predicts else "No threshold")
        else:
            assert "cannot tell" in words.firing or "too rarely" in words.firing
