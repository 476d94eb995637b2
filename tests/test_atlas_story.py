"""Where to start in an atlas: against plain SQL."""

from __future__ import annotations

from atlas.topics.story import best_neurons, story
from atlas.topics.verdict import predictors


def test_the_best_neurons_are_those_that_predict_best_one_for_each_token(both):
    atlas, connection = both
    items = best_neurons(atlas, 4)
    gains = connection.execute(
        "SELECT max(f1_gain) FROM neuron_prediction WHERE predicts GROUP BY token_id ORDER BY 1 DESC LIMIT 4"
    ).fetchall()
    assert [predictors(atlas, item.verdict.token.token_id)[0][:2] for item in items] == [
        (item.neuron.neuron_id, gain) for item, (gain,) in zip(items, gains, strict=True)
    ]
    assert len({item.verdict.token for item in items}) == len(items) > 1


def test_the_story_is_of_the_neuron_that_recovers_most_in_a_study(both):
    atlas, connection = both
    told = story(atlas)
    study, row = told.study.study, told.study.neuron
    best = connection.execute(
        "SELECT n.neuron_id, n.recovery FROM study_neuron AS n "
        "JOIN candidate_pair AS c ON c.neuron_id = n.neuron_id AND c.token_id = ? "
        "WHERE n.study = ? AND n.found AND n.recovery > 0 ORDER BY n.recovery DESC LIMIT 1",
        [study.answer_token.token_id, study.name],
    ).fetchone()
    assert (told.neuron.neuron_id, row.recovery) == best
    assert told.token == study.answer_token == told.curve.candidate.token
    assert told.text
    changed = [word for word, other in told.prompt if other is not None]
    assert len(changed) < len(study.clean.split())
    assert told.phrase is None or len(told.phrase.split(" ")) == 2
