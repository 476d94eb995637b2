"""Verdicts: the view against plain loops, and each claim on a copy of an atlas with planted rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from atlas import open_atlas
from atlas.core.bins import ZERO_BIN
from atlas.topics.verdict import PREDICTION, best_prediction, verdict


def _best_of_loops(connection: duckdb.DuckDBPyConnection) -> dict[int, tuple]:
    """For each neuron the pair and side that leads chance most by F1, by plain loops."""
    special = {row[0] for row in connection.execute("SELECT token_id FROM token WHERE special").fetchall()}
    congruence = {
        (row[0], row[1]): row[2]
        for row in connection.execute("SELECT neuron_id, token_id, congruence FROM candidate_pair").fetchall()
    }
    best: dict[int, tuple] = {}
    for neuron, token, side, n, hits, f1, precision, low, recall in connection.execute(
        "SELECT neuron_id, token_id, side, n_positions, n_predicted, best_f1_predicted, precision_predicted, "
        "precision_predicted_low, recall_predicted FROM pair_metric ORDER BY neuron_id, token_id, side"
    ).fetchall():
        value = congruence[neuron, token]
        if not f1 or token in special or (value <= 0 if side == "positive" else value >= 0):
            continue
        rate = hits / n
        gain = f1 - 2 * rate / (1 + rate)
        right = round(recall * hits)
        predicts = gain >= 0.05 and right >= 5 and low >= 3 * rate
        rank = (not predicts, -gain, token, side)
        if neuron not in best or rank < best[neuron][0]:
            best[neuron] = (rank, token, side, right, round(right / precision), gain, predicts)
    return {neuron: row[1:] for neuron, row in best.items()}


def test_the_best_prediction_of_each_neuron(both):
    atlas, connection = both
    expected = _best_of_loops(connection)
    assert expected
    answers = {n: best_prediction(atlas, n) for n in range(atlas.info.n_neurons)}
    assert {n for n, answer in answers.items() if answer} == set(expected)
    for neuron, (token, side, right, beyond, gain, predicts) in expected.items():
        answer = answers[neuron]
        assert (answer.token.token_id, answer.side, answer.n_hits, answer.n_beyond, answer.predicts) == (
            token,
            side,
            right,
            beyond,
            predicts,
        )
        assert answer.f1_gain == pytest.approx(gain, abs=1e-6)
        (row,) = atlas.query(PREDICTION.shown(neuron_id=neuron)).rows
        assert row[-1] == neuron
        assert row[-2] == token


@pytest.fixture(scope="module")
def planted(tiny_llama_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Neurons 0 and 4 predict a token below zero, but ablating 4 changes nothing; 1 writes a token that is never
    predicted, 2 is dead, 3 has no clear token and never fires above zero."""
    path = tmp_path_factory.mktemp("verdict") / "planted.duckdb"
    shutil.copyfile(tiny_llama_atlas, path)
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        token = connection.execute("SELECT token_id FROM token WHERE NOT special ORDER BY token_id LIMIT 1").fetchone()[
            0
        ]
        for sql in (
            "DELETE FROM pair_metric WHERE neuron_id < 5",
            "DELETE FROM candidate_pair WHERE neuron_id < 5",
            "DELETE FROM pair_effect",
            "UPDATE neuron SET dead = false, activation_min = -0.5, activation_max = 4, congruence_mean = 0, "
            "congruence_std = 1, best_congruence = 3, worst_congruence = -3 WHERE neuron_id < 5",
            f"UPDATE neuron SET best_congruence = 20, best_token_id = {token} WHERE neuron_id = 1",
            f"UPDATE token SET n_predicted = 0 WHERE token_id = {token}",
            "UPDATE neuron SET dead = true WHERE neuron_id = 2",
            "UPDATE neuron SET activation_max = 0.01, activation_min = -4 WHERE neuron_id = 3",
            f"INSERT INTO candidate_pair VALUES (0, {token}, -2.5, 'token_bottom'), (4, {token}, -2, 'token_bottom')",
            "INSERT INTO pair_metric BY NAME SELECT m.* REPLACE (n AS neuron_id, "
            f"{token} AS token_id, 'negative' AS side, 1000 AS n_positions, 20 AS n_predicted, 0.02 AS "
            "base_rate_predicted, 0.9 AS auroc_predicted, 0.5 AS average_precision_predicted, -2 AS "
            "best_threshold_predicted, 0.6 AS best_f1_predicted, 0.75 AS precision_predicted, 0.5 AS "
            "precision_predicted_low, 0.9 AS precision_predicted_high, 0.5 AS recall_predicted) "
            "FROM (FROM pair_metric LIMIT 1) AS m, (VALUES (0), (4)) AS planted(n)",
            "INSERT INTO pair_effect BY NAME SELECT "
            f"n AS neuron_id, {token} AS token_id, 'negative' AS side, 'metric' AS chosen_by, 8 AS n_positions, "
            "-3 AS activation_mean, 0.5 AS probability, -0.2 AS probability_change, -0.3 AS probability_change_low, "
            "high AS probability_change_high, 1 AS rank_median, 2 AS rank_change, -1 AS logit_change, "
            "1 AS direct_effect FROM (VALUES (0, -0.1), (4, 0.1)) AS planted(n, high)",
        ):
            connection.execute(sql)
    return path


def test_each_claim(planted):
    with open_atlas(planted) as atlas:
        predicts, writes, dead, none, idle = (verdict(atlas, neuron_id) for neuron_id in range(5))
    token = predicts.token.shown
    assert (predicts.claim, predicts.side, predicts.headline) == ("predicts", "negative", f"predicts {token}")
    assert predicts.text == (
        f"Predicts “{token}”: where its activation is below −2, “{token}” is the model’s top prediction at 10 of 13 "
        "positions (75%), 50% of those where the model predicts it (area under ROC 0.90). Ablating it at 8 positions "
        f"where it fires lowers the probability of “{token}” from 50% to 30% (95% interval of the change −30 to −10 "
        "points)."
    )
    assert idle.text.endswith(f"Ablating it where it fires does not change the probability of “{token}” significantly.")
    assert (writes.claim, writes.side, writes.token, writes.prediction) == ("writes", "positive", predicts.token, None)
    assert "20.0 standard deviations" in writes.text
    assert "the model never predicts it in these texts" in writes.text
    assert (dead.claim, dead.token) == ("dead", None)
    assert (none.claim, none.side, none.token) == ("none", "negative", None)
    assert "it never fires above zero" in none.text
    assert "by 3.0 standard deviations" in none.text


def test_the_side_is_one_on_which_it_fires(both):
    atlas, connection = both
    judged = 0
    for (neuron_id,) in connection.execute("SELECT neuron_id FROM neuron WHERE NOT dead").fetchall():
        answer = verdict(atlas, neuron_id)
        sql = "SELECT bin FROM activation_histogram WHERE neuron_id = ?"
        bins = {bin for (bin,) in connection.execute(sql, [neuron_id]).fetchall()}
        fires = any(bin > ZERO_BIN if answer.side == "positive" else bin < ZERO_BIN for bin in bins)
        assert fires or (answer.claim == "none" and not atlas.info.gated)
        judged += fires
    assert judged > 100


def test_a_token_is_not_written_where_the_neuron_never_fires(tiny_gpt2_atlas, tmp_path):
    path = tmp_path / "never.duckdb"
    shutil.copyfile(tiny_gpt2_atlas, path)
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM pair_metric WHERE neuron_id < 2")
        connection.execute(
            "UPDATE neuron SET dead = false, activation_min = -0.1, activation_max = if(neuron_id = 0, 0.01, 2), "
            "congruence_mean = 0, congruence_std = 1, best_congruence = 20 WHERE neuron_id < 2"
        )
    with open_atlas(path) as atlas:
        assert [verdict(atlas, neuron_id).claim for neuron_id in range(2)] == ["none", "writes"]
        assert "it never fires above zero" in verdict(atlas, 0).text
