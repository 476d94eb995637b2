"""Hubs against plain Python over the same file."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace

import duckdb
import numpy as np
import pytest

from atlas import open_atlas
from atlas.core.errors import WeightsError
from atlas.topics import centring, hub
from atlas.topics.centring import measure_centring, other_best
from atlas.topics.hub import (
    hub_neurons,
    hub_tokens,
    neuron_occurrence,
    neuron_occurrences,
    token_occurrence,
    token_occurrences,
)


def rows(connection, sql, *parameters):
    return connection.execute(sql, parameters).fetchall()


@pytest.mark.parametrize("k", [1, 5, 10, 20, 50])
def test_k_occurrence(both, k):
    atlas, connection = both
    for table, unit, n_units, kept, counted, summary in (
        (
            "token_neuron",
            "neuron_id",
            atlas.info.n_neurons,
            atlas.info.top_neurons,
            neuron_occurrences,
            neuron_occurrence,
        ),
        ("neuron_token", "token_id", atlas.info.d_vocab, atlas.info.top_tokens, token_occurrences, token_occurrence),
    ):
        lists = rows(connection, f"SELECT {unit}, rank FROM {table} WHERE direction = 'top'")
        seen = Counter(unit_id for unit_id, rank in lists if rank <= k)
        counts = [seen[unit_id] for unit_id in range(n_units)]
        assert counted(atlas, k).tolist() == counts
        found = summary(atlas, k)
        assert found.k == min(k, kept)
        assert dict(found.counts) == Counter(counts)
        assert (found.n_units, found.n_never, found.greatest) == (n_units, counts.count(0), max(counts))
        assert sum(counts) == found.n_lists * found.k
        mean = sum(counts) / n_units
        std = (sum((n - mean) ** 2 for n in counts) / n_units) ** 0.5
        assert found.mean == pytest.approx(mean)
        assert found.skewness == pytest.approx(sum((n - mean) ** 3 for n in counts) / n_units / std**3)


def test_rankings(both):
    atlas, connection = both
    best = Counter(n for (n,) in rows(connection, "SELECT best_neuron_id FROM token"))
    lists = Counter(
        n for (n,) in rows(connection, "SELECT neuron_id FROM token_neuron WHERE direction = 'top' AND rank <= 5")
    )
    expected = sorted(((n, count) for n, count in best.items()), key=lambda item: (-item[1], item[0]))[:50]
    found = hub_neurons(atlas, 5)
    assert [(hub.neuron.neuron_id, hub.hub_count) for hub in found] == expected
    assert [hub.n_lists for hub in found] == [lists[n] for n, _ in expected]
    assert [hub.share for hub in found] == [count / atlas.info.d_vocab for _, count in expected]

    best = Counter(t for (t,) in rows(connection, "SELECT best_token_id FROM neuron"))
    expected = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:7]
    found = hub_tokens(atlas, 20, limit=7)
    assert [(hub.token.token_id, hub.hub_count) for hub in found] == expected
    assert [hub.share for hub in found] == [count / atlas.info.n_neurons for _, count in expected]


def other_scores(connection, sign):
    """Congruence of every token with every neuron the other way, [token, neuron], in float64."""
    readout = np.array([r for (r,) in rows(connection, "SELECT readout FROM token_weight ORDER BY token_id")], float)
    w_out = np.array([w for (w,) in rows(connection, "SELECT w_out FROM neuron_weight ORDER BY neuron_id")], float)
    mean = np.array([m for (m,) in rows(connection, "SELECT mean_congruence FROM neuron ORDER BY neuron_id")], float)
    return readout @ w_out.T + sign * mean, readout @ w_out.T, sign * mean


@pytest.mark.parametrize("looked_at", [1, 16])
@pytest.mark.parametrize("readout", ["unembed", "embed"])
def test_best_neurons_the_other_way(both, readout, looked_at, monkeypatch):
    atlas, connection = both
    atlas.info = replace(atlas.info, readout=readout)  # the arithmetic is the same whichever way the file was built
    monkeypatch.setattr(centring, "LOOKED_AT", looked_at)
    scores, congruence, gain = other_scores(connection, 1 if readout == "unembed" else -1)
    best, certain = other_best(atlas)
    assert len(best) == atlas.info.d_vocab
    expected = scores.argmax(axis=1)
    tokens = np.arange(len(best))
    assert scores[tokens, best] == pytest.approx(np.where(certain, scores.max(axis=1), scores[tokens, best]), abs=1e-4)
    tied = np.isclose(scores[tokens, best], scores[tokens, expected], atol=1e-4)
    assert (tied | ~certain).all()
    last = -np.sort(-congruence, axis=1)[:, atlas.info.top_neurons - 1]
    bound = last + np.sort(gain)[::-1][looked_at]
    clear = abs(scores[tokens, best] - bound) > 1e-4
    assert (certain == (scores[tokens, best] > bound))[clear].all()
    assert certain.any()


def test_of_equal_best_neurons_the_other_way_the_first_is_taken(tiny_gpt2_atlas, tmp_path):
    """Three neurons with the same weights, which gain more than all others: whatever order they are met in."""
    path = tmp_path / "tied.duckdb"
    shutil.copy(tiny_gpt2_atlas, path)
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE neuron SET mean_congruence = 1e4 WHERE neuron_id IN (90, 7, 33)")
        same = "(FROM (SELECT w_out FROM neuron_weight WHERE neuron_id = 33))"
        connection.execute(f"UPDATE neuron_weight SET w_out = {same} WHERE neuron_id IN (90, 7)")
        connection.execute("DELETE FROM token_neuron WHERE neuron_id IN (90, 7, 33)")
    with open_atlas(path) as atlas:
        best, _ = other_best(atlas)
    assert set(best.tolist()) == {7}


def test_centring(both):
    atlas, connection = both
    found = measure_centring(atlas)
    assert measure_centring(atlas) is found
    scores, _, _ = other_scores(connection, 1)
    uncentred = Counter(scores.argmax(axis=1).tolist())
    centred = Counter(n for (n,) in rows(connection, "SELECT best_neuron_id FROM token"))
    assert found.applied
    assert found.n_tokens == atlas.info.d_vocab
    assert [row.n_centred for row in found.centred] == [n for _, n in Counter(centred).most_common(20)]
    for row in (*found.centred, *found.uncentred):
        assert row.n_centred == centred[row.neuron.neuron_id]
        assert abs(row.n_uncentred - uncentred[row.neuron.neuron_id]) <= found.n_uncertified
    assert found.n_hubs_centred == len(centred)
    counts = np.array([centred[n] for n in range(atlas.info.n_neurons)], float)
    standard = (counts - counts.mean()) / counts.std()
    assert found.skewness_centred == pytest.approx((standard**3).mean())


def test_centring_needs_weights(both):
    atlas, _ = both
    atlas.info = replace(atlas.info, has_weights=False)
    with pytest.raises(WeightsError, match="holds no weights"):
        measure_centring(atlas)


def test_skewness_of_equal_values_is_not_known():
    assert hub.skewness(np.array([2, 2, 2])) is None
