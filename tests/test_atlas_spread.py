"""Percentiles, neighbours, everything that scans the weights, and what neurons share: against plain loops."""

from __future__ import annotations

import math

import duckdb
import numpy as np
import pytest

from atlas import open_atlas
from atlas.core.errors import TokenError, WeightsError
from atlas.topics.compare import output_cosines, shared_texts, shared_tokens
from atlas.topics.example import whole_texts
from atlas.topics.neuron import find_neuron, neuron_tokens
from atlas.topics.overview import most_hub_neurons, most_hub_tokens, single_token_neurons
from atlas.topics.percentile import PERCENTILE_COLUMNS, neighbours, percentiles
from atlas.topics.spread import neuron_spread, similar_neurons, token_spread


def column(connection, name):
    return [value for (value,) in connection.execute(f'SELECT "{name}" FROM neuron ORDER BY neuron_id').fetchall()]


def test_percentiles_count_the_neurons_below(both):
    atlas, connection = both
    d_mlp = atlas.info.d_mlp
    for neuron_id in (0, 17, atlas.info.n_neurons - 1):
        neuron = find_neuron(atlas, neuron_id)
        found = percentiles(atlas, neuron)
        for name in PERCENTILE_COLUMNS:
            values = column(connection, name)
            if values[neuron_id] is None or (name == "congruence_mean" and abs(values[neuron_id]) < 1e-5):
                assert name not in found  # a mean that centring makes 0 is rounding noise
                continue
            known = [value for value in values if value is not None]
            layer = [v for v in values[neuron.layer * d_mlp : (neuron.layer + 1) * d_mlp] if v is not None]
            assert found[name].model == sum(v < values[neuron_id] for v in known) / len(known)
            assert found[name].layer == sum(v < values[neuron_id] for v in layer) / len(layer)


def test_neighbours_have_the_same_rank(both):
    atlas, connection = both
    d_mlp, n_layers = atlas.info.d_mlp, atlas.info.n_layers
    values = column(connection, "best_congruence")

    def ranked(layer):
        return sorted(range(layer * d_mlp, (layer + 1) * d_mlp), key=lambda n: (-values[n], n))

    for neuron_id in (0, 5, d_mlp, d_mlp + 7, n_layers * d_mlp - 1):
        layer = neuron_id // d_mlp
        rank = ranked(layer).index(neuron_id)
        found = neighbours(atlas, neuron_id)
        assert found.rank == rank + 1
        assert (found.below and found.below.neuron_id) == (ranked(layer - 1)[rank] if layer else None)
        assert (found.above and found.above.neuron_id) == (ranked(layer + 1)[rank] if layer < n_layers - 1 else None)
        assert (found.previous and found.previous.neuron_id) == (neuron_id - 1 if neuron_id else None)
        assert (found.following and found.following.neuron_id) == (
            neuron_id + 1 if neuron_id < n_layers * d_mlp - 1 else None
        )


def weights(connection):
    neurons = connection.execute("SELECT w_in, w_out, w_gate FROM neuron_weight ORDER BY neuron_id").fetchall()
    tokens = connection.execute("SELECT readout FROM token_weight ORDER BY token_id").fetchall()
    return neurons, [readout for (readout,) in tokens]


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def test_a_neuron_with_every_token(both):
    atlas, connection = both
    neurons, readouts = weights(connection)
    values = [dot(neurons[20][1], readout) for readout in readouts]
    found = token_spread(atlas, 20, n_bars=10, limit=5)
    assert found.n == len(values) == sum(bar.n for bar in found.bars)
    assert (found.bars[0].lower, found.bars[-1].upper) == pytest.approx((min(values), max(values)), rel=1e-4)
    for bar in found.bars:
        slack = 1e-5 * (found.bars[-1].upper - found.bars[0].lower)
        inside = sum(bar.lower + slack <= value < bar.upper - slack for value in values)
        about = sum(bar.lower - slack <= value <= bar.upper + slack for value in values)
        assert inside <= bar.n <= about
    order = sorted(range(len(values)), key=lambda t: -values[t])
    assert [item.congruence for item in found.top] == pytest.approx([values[t] for t in order[:5]], rel=1e-4)
    assert [item.congruence for item in found.bottom] == pytest.approx([values[t] for t in order[:-6:-1]], rel=1e-4)
    for item in (*found.top, *found.bottom):
        assert item.congruence == pytest.approx(values[item.token.token_id], rel=1e-4)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-5)
    assert found.std == pytest.approx(np.std(values), rel=1e-4)


def test_a_token_with_every_neuron(both):
    atlas, connection = both
    neurons, readouts = weights(connection)
    values = [dot(w_out, readouts[40]) for _, w_out, _ in neurons]
    found = neuron_spread(atlas, 40, limit=9)
    d_mlp = atlas.info.d_mlp
    for layer in found.layers:
        own = sorted(values[layer.layer * d_mlp : (layer.layer + 1) * d_mlp])
        assert (layer.quantiles[0], layer.quantiles[-1]) == pytest.approx((own[0], own[-1]), rel=1e-4)
        assert layer.quantiles[3] == pytest.approx((own[d_mlp // 2 - 1] + own[d_mlp // 2]) / 2, abs=1e-5)
    assert [layer.layer for layer in found.layers] == list(range(atlas.info.n_layers))
    farthest = sorted(range(len(values)), key=lambda n: -abs(values[n]))[:9]
    assert {item.neuron.neuron_id for item in found.outliers} == set(farthest)
    assert [item.congruence for item in found.outliers] == sorted(item.congruence for item in found.outliers)[::-1]
    with pytest.raises(TokenError):
        neuron_spread(atlas, 10**6)


@pytest.mark.parametrize("side", ["out", "in", "gate"])
def test_neurons_alike(both, side):
    atlas, connection = both
    if side == "gate" and not atlas.info.gated:
        with pytest.raises(WeightsError, match="cannot be compared by 'gate'"):
            similar_neurons(atlas, 3, side)
        return
    place = {"in": 0, "out": 1, "gate": 2}[side]
    vectors = [row[place] for row in weights(connection)[0]]

    def cosine(n):
        return dot(vectors[3], vectors[n]) / math.sqrt(dot(vectors[3], vectors[3]) * dot(vectors[n], vectors[n]))

    values = {n: cosine(n) for n in range(len(vectors)) if n != 3}
    order = sorted(values, key=lambda n: -values[n])
    found = similar_neurons(atlas, 3, side, limit=4)
    assert [item.neuron.neuron_id for item in found] == [*order[:4], *order[-4:]]
    for item in found:
        row = find_neuron(atlas, item.neuron.neuron_id)
        assert item.cosine == pytest.approx(values[row.neuron_id], abs=1e-5)
        assert (item.best_token, item.worst_token) == (row.best_token, row.worst_token)


def test_an_atlas_without_weights(tiny_gpt2_atlas, tmp_path):
    path = tmp_path / "bare.duckdb"
    path.write_bytes(tiny_gpt2_atlas.read_bytes())
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE atlas SET has_weights = false; DELETE FROM neuron_weight; DELETE FROM token_weight")
    with open_atlas(path) as atlas:
        for question in (token_spread, neuron_spread, similar_neurons):
            with pytest.raises(WeightsError, match=r"holds no weights .* --no-weights"):
                question(atlas, 3)
        assert output_cosines(atlas, [1, 2]) == []


def test_what_neurons_share(both):
    atlas, connection = both
    ids = [4, 50, 90]
    listed = {n: {t.token.token_id: t.congruence for t in neuron_tokens(atlas, n)} for n in ids}
    expected = {t for n in ids for t in listed[n] if sum(t in listed[m] for m in ids) > 1}
    found = shared_tokens(atlas, ids, limit=10**6)
    assert {item.token.token_id for item in found} == expected
    for item in found:
        assert item.congruences == tuple(listed[n].get(item.token.token_id) for n in ids)
    known = [sum(value is not None for value in item.congruences) for item in found]
    assert known == sorted(known, reverse=True)
    texts = {
        n: {row[0] for row in connection.execute("SELECT text_id FROM example WHERE neuron_id = ?", [n]).fetchall()}
        for n in ids
    }
    shared = shared_texts(atlas, ids, limit=10**6)
    assert {text.text_id for text in shared} == {
        t for n in ids for t in texts[n] if sum(t in texts[m] for m in ids) > 1
    }
    for text in shared:
        for n, example in zip(ids, text.examples, strict=True):
            greatest = connection.execute(
                "SELECT max(abs(activation)) FROM example WHERE neuron_id = ? AND text_id = ?", [n, text.text_id]
            ).fetchone()[0]
            assert (example is None) == (greatest is None)
            assert example is None or abs(example.activation) == greatest
    vectors = [weights(connection)[0][n][1] for n in ids]
    cosines = output_cosines(atlas, ids)
    assert cosines[0][2] == pytest.approx(
        dot(vectors[0], vectors[2]) / math.sqrt(dot(vectors[0], vectors[0]) * dot(vectors[2], vectors[2]))
    )
    assert [cosines[i][i] for i in range(3)] == pytest.approx([1, 1, 1])


def test_relatives_and_whole_texts(both):
    atlas, connection = both
    rows = connection.execute('SELECT token_id, "text" FROM token').fetchall()
    letters = {token_id: (text or "").strip().casefold() for token_id, text in rows}
    for token_id in range(0, len(rows), 7):
        found = [token.token_id for token in atlas.tokens.relatives(token_id)]
        same = sorted(t for t in letters if letters[t] == letters[token_id] and t != token_id)
        assert found == (same if letters[token_id] else [])
    stored = dict(connection.execute('SELECT text_id, token_ids FROM "text"').fetchall())
    wanted = list(stored)[:3]
    found = whole_texts(atlas, wanted + wanted)
    assert {text_id: [t.token_id for t in tokens] for text_id, tokens in found.items()} == {
        text_id: stored[text_id] for text_id in wanted
    }
    assert whole_texts(atlas, []) == {}


def test_what_the_overview_points_at(both):
    atlas, connection = both
    gaps = connection.execute(
        "SELECT n.neuron_id FROM neuron n JOIN token t ON t.token_id = n.best_token_id "
        "WHERE NOT t.special AND t.n_actual > 0 ORDER BY token_gap DESC, n.neuron_id LIMIT 4"
    ).fetchall()
    assert [(n.neuron_id,) for n in single_token_neurons(atlas, 4)] == gaps
    for records, table in (
        (most_hub_neurons(atlas, 3), "neuron"),
        (most_hub_tokens(atlas, 3), "token"),
    ):
        most = connection.execute(f"SELECT hub_count FROM {table} ORDER BY hub_count DESC LIMIT 3").fetchall()
        assert [(record.hub_count,) for record in records] == most
