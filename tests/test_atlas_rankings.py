"""Rankings and summaries against plain SQL over the same file."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict

import pytest

from atlas.core.errors import NeuronNameError, QueryError
from atlas.core.units import neuron_ref
from atlas.topics import overview
from atlas.topics.curve import histogram, neuron_candidates, neuron_curves, pair_curves
from atlas.topics.family import family_pairs
from atlas.topics.layer import NEURON_SORTS, layer_neurons, layer_summaries, layer_summary
from atlas.topics.neuron import neuron_pairs
from atlas.topics.overview import notable_neurons
from atlas.topics.pair import EXCLUSIVITY_SORTS, PAIR_SORTS, RankingFilter, exclusive_pairs, token_exclusivities
from atlas.topics.token import token_pairs


def rows(connection, sql, *parameters):
    return connection.execute(sql, parameters).fetchall()


def test_pairs_of_neurons_and_tokens(both):
    atlas, connection = both
    columns = "direction, rank, neuron, token_id, congruence, token_gap, neuron_gap, score, n_actual, n_predicted"
    every = rows(connection, f"SELECT {columns} FROM pair")
    by_neuron, by_token = defaultdict(list), defaultdict(list)
    for row in every:
        by_neuron[row[2]].append(row)
        by_token[row[3]].append(row)

    def flat(pairs):
        return sorted(
            (
                p.direction,
                p.rank,
                p.neuron.name,
                p.token.token_id,
                *(getattr(p, name) for name in columns.split(", ")[4:]),
            )
            for p in pairs
        )

    assert every
    for neuron_id in range(atlas.info.n_neurons):
        expected = by_neuron[neuron_ref(atlas, neuron_id).name]
        assert flat(neuron_pairs(atlas, neuron_id)) == sorted(expected)
    for token_id in {row[3] for row in every}:
        assert flat(token_pairs(atlas, token_id)) == sorted(by_token[token_id])


def test_ranking_of_pairs_pages_and_filters(both):
    atlas, connection = both
    sql = "SELECT rank FROM pair WHERE direction = 'top' {} ORDER BY rank"
    every = [rank for (rank,) in rows(connection, sql.format(""))]
    ordinary = [rank for (rank,) in rows(connection, sql.format("AND NOT special AND n_actual > 0"))]
    assert len(ordinary) < len(every)
    whole = exclusive_pairs(atlas, where=RankingFilter(every=True), limit=1000)
    assert [pair.rank for pair in whole.rows] == every
    assert whole.total == len(every)
    pages = [exclusive_pairs(atlas, limit=3, offset=offset) for offset in range(0, len(ordinary) + 3, 3)]
    assert [pair.rank for page in pages for pair in page.rows] == ordinary
    assert {page.total for page in pages} == {len(ordinary)}
    assert bool(exclusive_pairs(atlas, "bottom", RankingFilter(every=True)).rows) == atlas.info.gated


def test_token_exclusivities(both):
    atlas, connection = both
    sql = (
        "SELECT token_id, neuron, second_neuron, congruence, neuron_gap, n_actual, n_predicted FROM token_exclusivity "
        "WHERE NOT special AND n_actual > 0 ORDER BY neuron_gap DESC, token_id"
    )
    found = token_exclusivities(atlas, limit=1000)
    flat = [
        (r.token.token_id, r.neuron.name, r.second_neuron.name, r.congruence, r.neuron_gap, r.n_actual, r.n_predicted)
        for r in found.rows
    ]
    assert flat == rows(connection, sql)
    assert found.total == len(flat)
    assert token_exclusivities(atlas, RankingFilter(every=True)).total == atlas.info.d_vocab


FILTERS = [
    RankingFilter(),
    RankingFilter(every=True, layer_min=1),
    RankingFilter(layer_max=0),
    RankingFilter(every=True, layer_min=1, layer_max=1, token="A"),
    RankingFilter(token=" p"),
    RankingFilter(token="'\"%_"),
    RankingFilter(min_predicted=3, min_score=0.01),
    RankingFilter(every=True, min_predicted=0, min_score=0.1),
]


def keeps(where, layer, text, special, n_actual, n_predicted, score):
    """What a filter says, in plain Python."""
    return (
        (where.every or (not special and n_actual > 0))
        and (where.layer_min is None or layer >= where.layer_min)
        and (where.layer_max is None or layer <= where.layer_max)
        and (where.token is None or where.token.lower() in (text or "").lower())
        and (where.min_predicted is None or n_predicted >= where.min_predicted)
        and (where.min_score is None or score >= where.min_score)
    )


@pytest.mark.parametrize("where", FILTERS)
def test_filtered_pairs_in_every_order(both, where):
    atlas, connection = both
    whole = exclusive_pairs(atlas, "top", RankingFilter(every=True), limit=1000).rows
    families = zip(whole, family_pairs(atlas, whole), strict=True)
    family_gaps = {pair.rank: family.family_gap for pair, family in families}
    columns = "p.rank, score, congruence, token_gap, 0 AS family_gap, p.neuron_gap, n_predicted, n_actual"
    sql = (
        f'SELECT {columns}, neuron_id // ?, t."text", t.special FROM exclusive_pair AS p JOIN token AS t '
        "USING (token_id) WHERE direction = 'top'"
    )
    every = rows(connection, sql.replace("congruence,", "p.congruence,"), atlas.info.d_mlp)
    every = [(*r[:4], family_gaps.get(r[0]), *r[5:]) for r in every]
    kept = [r for r in every if keeps(where, r[8], r[9], r[10], r[7], r[6], r[1])]
    for place, sort in enumerate(PAIR_SORTS):
        for descending in (True, False):
            expected = sorted(
                kept, key=lambda r: (r[place] is None, -(r[place] or 0) if descending else r[place], r[0])
            )
            found = exclusive_pairs(atlas, "top", where, sort=sort, descending=descending, limit=1000)
            assert [pair.rank for pair in found.rows] == [r[0] for r in expected]
            assert found.total == len(expected)


@pytest.mark.parametrize("where", FILTERS)
def test_filtered_tokens_in_every_order(both, where):
    atlas, connection = both
    sql = (
        'SELECT token_id, neuron_gap, best_congruence, n_predicted, n_actual, best_neuron_id // ?, "text", special '
        "FROM token"
    )
    every = rows(connection, sql, atlas.info.d_mlp)
    kept = [r for r in every if keeps(where, r[5], r[6], r[7], r[4], r[3], r[1])]
    for place, sort in enumerate(EXCLUSIVITY_SORTS, 1):
        for descending in (True, False):
            expected = sorted(kept, key=lambda r: (-r[place] if descending else r[place], r[0]))
            found = token_exclusivities(atlas, where, sort=sort, descending=descending, limit=1000)
            assert [row.token.token_id for row in found.rows] == [r[0] for r in expected]
            assert found.total == len(expected)


def test_rankings_cannot_be_sorted_by_anything(both):
    atlas, _ = both
    with pytest.raises(QueryError, match="Cannot sort this ranking by 'name'; sort by one of rank, score"):
        exclusive_pairs(atlas, sort="name")
    with pytest.raises(QueryError, match="Cannot sort this ranking by 'rank'; sort by one of neuron_gap"):
        token_exclusivities(atlas, sort="rank")


def test_curves_of_pairs(both):
    atlas, _ = both
    pairs = exclusive_pairs(atlas, where=RankingFilter(every=True), limit=8).rows
    curves = pair_curves(atlas, pairs)
    assert [(c.candidate.neuron, c.candidate.token) for c in curves] == [(p.neuron, p.token) for p in pairs]
    for curve in curves:
        neuron_id = curve.candidate.neuron.neuron_id
        candidates = [c for c in neuron_candidates(atlas, neuron_id) if c.token == curve.candidate.token]
        assert candidates == [curve.candidate]
        assert neuron_curves(atlas, neuron_id, candidates, histogram(atlas, neuron_id)) == [curve]


def test_layers(both):
    atlas, connection = both
    summaries = layer_summaries(atlas)
    assert [summary.layer for summary in summaries] == list(range(atlas.info.n_layers))
    for summary in summaries:
        alone, of_all = asdict(layer_summary(atlas, summary.layer)), asdict(summary)
        for name, column in (("best_neuron", "best_congruence"), ("most_active_neuron", "activation_std")):
            sql = f"SELECT neuron_id FROM neuron WHERE layer = ? ORDER BY {column} DESC, neuron_id LIMIT 1"
            found = connection.execute(sql, [summary.layer]).fetchone()[0]
            assert alone.pop(name)["neuron_id"] == of_all.pop(name)["neuron_id"] == found
        assert alone == pytest.approx(of_all)
    plain = (
        "SELECT layer, count(*), count(*) FILTER (dead), max(best_congruence), min(activation_min) "
        "FROM neuron GROUP BY layer ORDER BY layer"
    )
    flat = [(s.layer, s.n_neurons, s.n_dead, s.best_congruence_max, s.activation_min) for s in summaries]
    assert flat == rows(connection, plain)
    total = exclusive_pairs(atlas).total
    assert sum(summary.n_exclusive for summary in summaries) == total
    with pytest.raises(NeuronNameError, match=f"layers 0 to {atlas.info.n_layers - 1}"):
        layer_summary(atlas, atlas.info.n_layers)


@pytest.mark.parametrize("sort", NEURON_SORTS)
@pytest.mark.parametrize("descending", [True, False])
def test_neurons_of_a_layer_sorted_and_paged(both, sort, descending):
    atlas, connection = both
    order = "DESC" if descending else "ASC"
    sql = f'SELECT neuron_id FROM neuron WHERE layer = 1 ORDER BY "{sort}" {order} NULLS LAST, neuron_id'
    pages = [
        layer_neurons(atlas, 1, sort=sort, descending=descending, limit=40, offset=offset)
        for offset in range(0, atlas.info.d_mlp, 40)
    ]
    assert [(neuron.neuron_id,) for page in pages for neuron in page.rows] == rows(connection, sql)
    assert pages[0].total == atlas.info.d_mlp


def test_neurons_of_a_layer_cannot_be_sorted_by_anything(both):
    atlas, _ = both
    with pytest.raises(QueryError, match=r"Cannot sort neurons by 'name; DROP'; sort by one of index, best_congruence"):
        layer_neurons(atlas, 0, sort="name; DROP")


def test_notable_neurons_rise(both):
    atlas, connection = both
    notable = notable_neurons(atlas, 5)
    assert notable
    assert len({item.pair.neuron for item in notable}) == len(notable)
    for item in notable:
        pair = item.pair
        assert not pair.token.special
        assert pair.n_actual > 0
        end = "DESC" if pair.direction == "top" else "ASC"
        sql = f"SELECT n, n_predicted FROM prediction_curve WHERE neuron_id = ? AND token_id = ? ORDER BY bin {end}"
        seen = predicted = 0
        for n, n_predicted in rows(connection, sql, pair.neuron.neuron_id, pair.token.token_id):
            if seen >= max(pair.n_predicted, overview.MIN_PREDICTED):
                break
            seen, predicted = seen + n, predicted + n_predicted
        assert item.tail_n == seen
        assert item.tail_fraction == pytest.approx(predicted / seen)
        assert item.base_fraction == pytest.approx(pair.n_predicted / atlas.info.n_positions)
    often = [min(item.pair.n_predicted, overview.MIN_PREDICTED) for item in notable]
    assert often == sorted(often, reverse=True)
