"""Kinds of neurons and reduced congruence, against plain Python over the same file."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from atlas.core.errors import QueryError
from atlas.topics.hub import neuron_occurrence
from atlas.topics.kind import KINDS, KINDS_OF_LAYER, LAYER_KINDS, NEURON_KIND, layer_kinds, neuron_kind
from atlas.topics.neuron_facets import neuron_facets
from atlas.topics.neuron_list import NeuronSelection, page_of_neurons
from atlas.topics.reduced import (
    REDUCED_HUBS,
    REDUCED_NEURONS,
    REDUCED_TOKENS,
    reduced_hubs,
    reduced_neurons,
    reduced_tokens,
)


def records(connection, sql):
    answer = connection.execute(sql)
    names = [column[0] for column in answer.description]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def expected_kinds(connection):
    """By neuron: kind, skewness as it is judged, spread, hub."""
    neurons = records(connection, "FROM neuron ORDER BY neuron_id")
    (gated,) = connection.execute("SELECT gated FROM atlas").fetchone()
    spreads = [n["congruence_std"] / n["w_out_norm"] for n in neurons]
    usual = sum(spreads) / len(spreads)
    counts = [n["hub_count"] for n in neurons]
    mean = sum(counts) / len(counts)
    std = math.sqrt(sum((count - mean) ** 2 for count in counts) / len(counts))
    found = []
    for neuron, spread in zip(neurons, spreads, strict=True):
        skewness, kurtosis = neuron["congruence_skewness"], neuron["congruence_kurtosis"]
        if gated and neuron["activation_skewness"] < 0:
            skewness = -skewness
        kind = None
        if kurtosis > 10:
            kind = "prediction" if skewness > 0 else "suppression"
        elif kurtosis <= 4 and spread > 1.5 * usual:
            kind = "partition"
        found.append((kind, skewness, spread / usual, neuron["hub_count"] > mean + 2 * std))
    return neurons, found


def expected_detectors(connection):
    """By neuron: side, direction, token and lead of its list of greatest lead, if that is above 3."""
    (gated,) = connection.execute("SELECT gated FROM atlas").fetchone()
    lists = defaultdict(dict)
    for row in records(connection, "FROM neuron_input_token"):
        lists[row["neuron_id"], row["side"], row["direction"]][row["rank"]] = row
    found = {}
    for (neuron_id, side, direction), ranked in sorted(lists.items()):
        if (side, direction) == ("gate", "bottom") or ((side, direction) == ("in", "bottom") and not gated):
            continue
        first, second, last = (ranked[rank]["value"] for rank in (1, 2, 20))
        lead = (first - second) / (second - last)
        if lead > 3 and lead > found.get(neuron_id, (None, None, None, 0))[3]:
            found[neuron_id] = (side, direction, ranked[1]["token_id"], lead)
    return found


def test_kinds(both):
    atlas, connection = both
    neurons, kinds = expected_kinds(connection)
    detectors = expected_detectors(connection)
    found = [neuron_kind(atlas, n) for n in range(len(neurons))]
    assert [item.kind for item in found] == [kind for kind, *_ in kinds]
    assert [item.skewness for item in found] == pytest.approx([skewness for _, skewness, _, _ in kinds])
    assert [item.spread for item in found] == pytest.approx([spread for _, _, spread, _ in kinds], rel=1e-5)
    assert [item.hub for item in found] == [hub for *_, hub in kinds]
    assert any(item.hub for item in found)
    assert [item.dead for item in found] == [neuron["dead"] for neuron in neurons]
    assert {
        item.neuron.neuron_id: (item.detects.side, item.detects.direction, item.detects.token.token_id)
        for item in found
        if item.detects
    } == {neuron: where[:3] for neuron, where in detectors.items()}
    for item in found:
        if item.detects:
            assert item.detects.lead == pytest.approx(detectors[item.neuron.neuron_id][3], rel=1e-4)
    row = atlas.query(NEURON_KIND.shown(neuron_id=7)).rows[0]
    assert (row[2], row[5], row[6]) == (found[7].kind, found[7].spread, found[7].hub)


def planted(connection, **changes):
    """A copy of the file in memory with some of the first neurons' numbers changed, and their kinds there."""
    import duckdb

    from atlas.core.schema import schema_sql

    (path,) = connection.execute("SELECT path FROM duckdb_databases() WHERE NOT internal").fetchone()
    with duckdb.connect() as copy:
        copy.execute(schema_sql(1))
        copy.execute(f"ATTACH '{path}' AS old (READ_ONLY)")
        for table in ("atlas", "neuron"):
            copy.execute(f"INSERT INTO {table} SELECT * FROM old.{table}")
        for neuron_id, (column, value) in enumerate(changes.items()):
            for name, number in zip(column.split("__"), value, strict=True):
                copy.execute(f"UPDATE neuron SET {name} = ? WHERE neuron_id = ?", [number, neuron_id])
        return list(copy.execute("SELECT kind, entropy FROM neuron_kind ORDER BY neuron_id LIMIT 2").fetchall())


@pytest.mark.parametrize("kurtosis", [10, 10.5])
@pytest.mark.parametrize("skewness", [-2, 2])
@pytest.mark.parametrize("activation", [-1, 1, None])
def test_the_side_of_a_gated_neuron_is_that_on_which_it_fires(both, kurtosis, skewness, activation):
    atlas, connection = both
    numbers = (kurtosis, skewness, activation)
    ((kind, _), _) = planted(connection, congruence_kurtosis__congruence_skewness__activation_skewness=numbers)
    raises = (skewness > 0) != (atlas.info.gated and activation is not None and activation < 0)
    assert kind == (None if kurtosis <= 10 else "prediction" if raises else "suppression")


def test_partition_wants_no_tails(both):
    _, connection = both
    std = 100 * connection.execute("SELECT congruence_std FROM neuron WHERE neuron_id = 0").fetchone()[0]
    for kurtosis, kind in ((4, "partition"), (4.1, None)):
        assert planted(connection, congruence_std__congruence_kurtosis=(std, kurtosis))[0][0] == kind


@pytest.mark.parametrize(
    ("change", "by_norm", "null", "entropy"),
    [
        (0.02, 0.011, 0.2, True),
        (-0.02, -0.011, 0.2, True),
        (-0.02, 0.011, 0.2, False),
        (0.02, 0.009, 0.2, False),
        (0.009, 0.009, 0.2, False),
        (0.02, 0.011, 0.09, False),
        (0.0, 0.0, 0.2, False),
        (None, None, 0.01, None),
    ],
)
def test_an_entropy_neuron_acts_by_the_norm(both, change, by_norm, null, entropy):
    _, connection = both
    numbers = (change, by_norm, null)
    rows = planted(connection, entropy_change__entropy_change_by_norm__unembedding_null_fraction=numbers)
    assert [flag for _, flag in rows] == [entropy, None]


def test_kinds_divide_layers_and_selections(both):
    atlas, connection = both
    neurons, kinds = expected_kinds(connection)
    detectors = expected_detectors(connection)

    def count(word, chosen):
        if word == "hub":
            return sum(kinds[n["neuron_id"]][3] for n in chosen)
        if word == "entropy":
            return 0
        if word == "detector":
            return sum(n["neuron_id"] in detectors for n in chosen)
        return sum((kinds[n["neuron_id"]][0] or "other") == word for n in chosen)

    for layer, found in enumerate(layer_kinds(atlas)):
        chosen = [n for n in neurons if n["layer"] == layer]
        assert found.layer == layer
        assert {word: getattr(found, word) for word in KINDS} == {word: count(word, chosen) for word in KINDS}
        row = atlas.query(KINDS_OF_LAYER.shown(layer=layer)).rows[0]
        assert row == (layer, *(getattr(found, word) for word in (*KINDS, "dead")))
        assert atlas.query(LAYER_KINDS.shown()).rows[layer] == row
    facets = neuron_facets(atlas, NeuronSelection(layer_min=1))
    later = [n for n in neurons if n["layer"] >= 1]
    assert {item.value: item.n for item in facets.kind} == {word: n for word in KINDS if (n := count(word, later))}
    for word in KINDS:
        selection = NeuronSelection(layer_min=1, kind=word)
        total = neuron_facets(atlas, selection).total
        assert total == count(word, later)
        assert len(page_of_neurons(atlas, selection, total, limit=1000).rows) == total
    with pytest.raises(QueryError, match="kind 'odd'; expected one of prediction"):
        neuron_facets(atlas, NeuronSelection(kind="odd"))


def expected_reduced(connection):
    """Means of both sides' ten best, and the top lists of each."""
    lists = {}
    for table, unit, other in (("neuron_token", "neuron_id", "token_id"), ("token_neuron", "token_id", "neuron_id")):
        found = defaultdict(list)
        for row in records(connection, f"FROM {table} WHERE direction = 'top' ORDER BY {unit}, rank"):
            found[row[unit]].append((row[other], row["congruence"]))
        lists[unit] = found
    means = {
        unit: {key: sum(c for _, c in ranked[:10]) / len(ranked[:10]) for key, ranked in found.items()}
        for unit, found in lists.items()
    }
    return lists, means


def test_reduced_congruence(both):
    atlas, connection = both
    lists, means = expected_reduced(connection)
    for neuron in (0, 41, atlas.info.n_neurons - 1):
        expected = sorted(
            (-(2 * c - means["neuron_id"][neuron] - means["token_id"][token]), token)
            for token, c in lists["neuron_id"][neuron]
        )
        found = reduced_tokens(atlas, neuron)
        assert [pair.token.token_id for pair in found] == [token for _, token in expected]
        assert [-pair.reduced for pair in found] == pytest.approx([value for value, _ in expected], abs=1e-6)
        rows = atlas.query(REDUCED_TOKENS.shown(neuron_id=neuron)).rows
        assert [row[0] for row in rows] == [pair.token.text for pair in found]
        assert [row[1] for row in rows] == pytest.approx([pair.reduced for pair in found], abs=1e-9)
    for token in (3, 40, atlas.info.d_vocab - 1):
        expected = sorted(
            (-(2 * c - means["neuron_id"][neuron] - means["token_id"][token]), neuron)
            for neuron, c in lists["token_id"][token]
        )
        found = reduced_neurons(atlas, token)
        assert [pair.neuron.neuron_id for pair in found] == [neuron for _, neuron in expected]
        rows = atlas.query(REDUCED_NEURONS.shown(token_id=token)).rows
        assert [row[0] for row in rows] == [pair.neuron.name for pair in found]


def test_reduced_hubs(both):
    atlas, connection = both
    lists, means = expected_reduced(connection)
    counts, best = Counter(), Counter()
    for ranked in lists["token_id"].values():
        order = sorted(ranked, key=lambda item: (-(2 * item[1] - means["neuron_id"][item[0]]), item[0]))
        counts.update(neuron for neuron, _ in order[:10])
        best[order[0][0]] += 1
    found = reduced_hubs(atlas, 5)
    numbers = np.array([counts[n] for n in range(atlas.info.n_neurons)])
    assert found.reduced.greatest == numbers.max()
    assert found.reduced.skewness == pytest.approx(((numbers - numbers.mean()) ** 3).mean() / numbers.std() ** 3)
    assert found.plain == neuron_occurrence(atlas, 10)
    assert found.n_best_reduced == len(best)
    greatest = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:5]
    assert [(hub.neuron.neuron_id, hub.n_reduced) for hub in found.greatest_reduced] == greatest
    plain = Counter(n for (n,) in connection.execute("SELECT best_neuron_id FROM token").fetchall())
    assert [(hub.n_plain, hub.n_reduced) for hub in found.greatest_plain] == [
        (count, best[n]) for n, count in sorted(plain.items(), key=lambda item: (-item[1], item[0]))[:5]
    ]
    panels = {name: atlas.query(sql.shown(k=10, limit=5)).rows for name, sql in REDUCED_HUBS.items()}
    assert panels["reduced"] == tuple((h.neuron.name, h.n_plain, h.n_reduced) for h in found.greatest_reduced)
    assert panels["plain"] == tuple((h.neuron.name, h.n_plain, h.n_reduced) for h in found.greatest_plain)
    assert [row[1:3] for row in panels["occurrence"]] == [
        (found.plain.greatest, found.plain.n_never),
        (found.reduced.greatest, found.reduced.n_never),
    ]
