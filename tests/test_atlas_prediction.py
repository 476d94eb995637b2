"""Does congruence predict: correlations, densities, contradictions and effects against plain loops over the tables."""

from __future__ import annotations

import math
import random
from itertools import product

import duckdb
import numpy as np
import pytest

from atlas import open_atlas
from atlas.core.errors import QueryError
from atlas.core.stats import bootstrap_spearman, interval, spearman
from atlas.topics.pair_metric.effects import pair_effects, pair_figures
from atlas.topics.predictiveness import contradictions, correlations, metric_density, metric_support
from atlas.topics.predictiveness_sql import CRITERIA, METRICS, MetricChoice
from tests.invented_effects import with_effects


def mean_ranks(values):
    """Ranks from 1; equal values share the mean of theirs. By counting, for each value."""
    return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]


def brute_spearman(x, y):
    a, b = mean_ranks(x), mean_ranks(y)
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    above = sum((p - ma) * (q - mb) for p, q in zip(a, b, strict=True))
    below = math.sqrt(sum((p - ma) ** 2 for p in a) * sum((q - mb) ** 2 for q in b))
    return above / below if below else math.nan


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_spearman_with_ties(levels):
    rng = random.Random(levels)
    x, z = ([rng.randrange(levels) for _ in range(80)] for _ in range(2))
    y = [a + rng.randrange(levels) for a in x]
    found = spearman([np.array(x), np.array(z), -np.array(x)], np.array(y, np.float32))
    assert found == pytest.approx([brute_spearman(x, y), brute_spearman(z, y), -brute_spearman(x, y)])


def test_spearman_of_too_little():
    assert np.isnan(spearman([np.array([1.0])], np.array([2.0]))).all()
    assert np.isnan(spearman([np.ones(5)], np.arange(5.0))).all()
    assert interval(np.full(20, np.nan)) == (None, None)
    assert np.isnan(bootstrap_spearman([np.array([])], np.array([]), np.array([], np.int64))).all()


def test_resamples_draw_whole_clusters():
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(12) * 7, 5)
    x, z = rng.normal(size=60), rng.integers(4, size=60)
    y = x + rng.normal(size=60)
    found = bootstrap_spearman([x, z], y, cluster, resamples=20, seed=5)
    draws, names = np.random.default_rng(5), sorted(set(cluster.tolist()))
    for row in found:
        places = [
            place
            for drawn in draws.integers(len(names), size=len(names))
            for place in range(60)
            if cluster[place] == names[drawn]
        ]
        assert row == pytest.approx([brute_spearman([v[p] for p in places], [y[p] for p in places]) for v in (x, z)])
    low, high = interval(found[:, 0])
    assert low < brute_spearman(x.tolist(), y.tolist()) < high


def test_many_levels_are_joined_without_harm():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    y = x + rng.normal(size=20_000)
    once = bootstrap_spearman([x], y, np.zeros(20_000, np.int64), resamples=1)  # one cluster: every draw is the whole
    assert once[0, 0] == pytest.approx(spearman([x], y)[0], abs=1e-5)


def brute_pairs(connection, choice):
    """Pairs of a choice by (neuron_id, token_id): criteria by name, the metric, counts. By loops over whole tables."""
    sign = 1 if choice.side == "positive" else -1
    direction = "top" if sign > 0 else "bottom"
    of_neuron, of_token = {}, {}
    for table, key, other, lists in (
        ("neuron_token", "neuron_id", "token_id", of_neuron),
        ("token_neuron", "token_id", "neuron_id", of_token),
    ):
        sql = f"SELECT {key}, {other}, congruence FROM {table} WHERE direction = ? AND rank <= 2 ORDER BY {key}, rank"
        for owner, item, value in connection.execute(sql, [direction]).fetchall():
            lists.setdefault(owner, []).append((item, sign * value))
    ordinary = {
        t for (t,) in connection.execute("SELECT token_id FROM token WHERE NOT special AND n_actual > 0").fetchall()
    }
    sql = (
        f"SELECT neuron_id, token_id, congruence, {choice.column}, n_{choice.outcome}, n_active "
        "FROM pair_metric JOIN candidate_pair USING (neuron_id, token_id) WHERE side = ?"
    )
    found, n_pairs = {}, 0
    for neuron, token, congruence, metric, n_outcome, n_active in connection.execute(sql, [choice.side]).fetchall():
        if token not in ordinary:
            continue
        n_pairs += 1
        value = sign * congruence
        token_gap = value - next(v for t, v in of_neuron[neuron] if t != token)
        neuron_gap = value - next(v for n, v in of_token[token] if n != neuron)
        both = of_neuron[neuron][0][0] == token and of_token[token][0][0] == neuron
        score = token_gap * neuron_gap if min(token_gap, neuron_gap) > 0 else min(token_gap, neuron_gap)
        criteria = {"congruence": value, "token_gap": token_gap, "neuron_gap": neuron_gap, "score": score}
        if metric is not None and (choice.pairs == "all" or (both if choice.pairs == "exclusive" else value > 0)):
            found[neuron, token] = (criteria, metric, n_outcome, n_active)
    return found, n_pairs


def choices(gated):
    sides = ("positive", "negative") if gated else ("positive",)
    for by, side in product(CRITERIA, sides):
        yield MetricChoice(by=by, side=side)
    for metric, outcome in product(METRICS, ("predicted", "actual")):
        yield MetricChoice(metric=metric, outcome=outcome)
    yield MetricChoice(pairs="congruent")
    yield MetricChoice(pairs="exclusive", by="score")


def test_correlations(both):
    atlas, connection = both
    for choice in [*choices(atlas.info.gated)][:12:3]:
        pairs, _ = brute_pairs(connection, choice)
        found = correlations(atlas, choice)
        metric = [row[1] for row in pairs.values()]
        assert found.n_pairs == found.n_sampled == len(pairs) > 20
        assert found.n_neurons == len({neuron for neuron, _ in pairs})
        expected = {by: brute_spearman([row[0][by] for row in pairs.values()], metric) for by in CRITERIA}
        # Gaps are differences of float32: those that tie in one order of rounding need not in another.
        assert {item.by: item.value for item in found.criteria} == pytest.approx(expected, abs=2e-3)
        values = [item.value for item in found.criteria]
        assert values == sorted(values, reverse=True)
        for item in found.criteria:
            assert item.behind == pytest.approx(values[0] - item.value)
            assert item.low < item.value < item.high
            assert item.behind_low <= item.behind <= item.behind_high
        for layer in found.layers:
            mine = [row for (neuron, _), row in pairs.items() if neuron // atlas.info.d_mlp == layer.layer]
            assert layer.n_pairs == len(mine)
            if len(mine) > 2:
                assert layer.value == pytest.approx(
                    brute_spearman([row[0][choice.by] for row in mine], [row[1] for row in mine]), abs=5e-3
                )


def test_support_and_density(both):
    atlas, connection = both
    for choice in choices(atlas.info.gated):
        pairs, n_pairs = brute_pairs(connection, choice)
        support = metric_support(atlas, choice)
        every, _ = brute_pairs(connection, MetricChoice(side=choice.side, metric=choice.metric, outcome=choice.outcome))
        assert (support.n_pairs, support.n_supported) == (n_pairs, len(every))
        assert support.n_congruent == sum(row[0]["congruence"] > 0 for row in every.values())
        cells = metric_density(atlas, choice)
        assert sum(cell.n for cell in cells) == len(pairs)
        for cell in cells:
            # Every point within, but for those on an edge, which rounding may move.
            eps = 1e-5 * (1 + abs(cell.x_upper) + abs(cell.y_upper))
            inside = [
                1
                for criteria, metric, *_ in pairs.values()
                if cell.x_lower - eps <= criteria[choice.by] <= cell.x_upper + eps
                and cell.y_lower - eps <= metric <= cell.y_upper + eps
            ]
            assert len(inside) >= cell.n > 0


def test_contradictions(both):
    atlas, connection = both
    for choice in [*choices(atlas.info.gated)][::4]:
        pairs, _ = brute_pairs(connection, choice)
        n = max(1, len(pairs) - 1)
        metrics = [row[1] for row in pairs.values()]
        place = {key: sum(m < row[1] for m in metrics) / n for key, row in pairs.items()}
        for sign, listed in zip((1, -1), contradictions(atlas, choice, 9), strict=True):
            gaps = []
            for item in listed:
                key = item.neuron.neuron_id, item.token.token_id
                criteria, metric, n_outcome, n_active = pairs[key]
                assert (item.metric, item.n_outcome, item.n_active) == (metric, n_outcome, n_active)
                assert item.criterion == pytest.approx(criteria[choice.by], abs=1e-5)
                assert item.metric_place == pytest.approx(place[key])
                gaps.append(sign * (item.criterion_place - item.metric_place))
            assert gaps == sorted(gaps, reverse=True)
            assert all(gap > 0 for gap in gaps)
        if choice.by == "congruence":
            values = [row[0]["congruence"] for row in pairs.values()]
            best = max(sum(v < row[0]["congruence"] for v in values) / n - place[key] for key, row in pairs.items())
            denied, _ = contradictions(atlas, choice, 9)
            assert denied[0].criterion_place - denied[0].metric_place == pytest.approx(best)


@pytest.mark.parametrize("wrong", [{"by": "rank"}, {"metric": "f1"}, {"outcome": "both"}, {"pairs": "some"}])
def test_unknown_words(both, wrong):
    with pytest.raises(QueryError, match=f"{next(iter(wrong))} .* cannot be compared; expected one of"):
        metric_density(both[0], MetricChoice(**wrong))


def test_no_negative_side_without_a_gate(tiny_gpt2_atlas):
    with open_atlas(tiny_gpt2_atlas) as atlas, pytest.raises(QueryError, match="expected one of positive"):
        correlations(atlas, MetricChoice(side="negative"))


def test_effects_beside_metrics(tiny_llama_atlas, tmp_path):
    path = with_effects(tiny_llama_atlas, tmp_path / "effects.duckdb")
    with open_atlas(path) as atlas, duckdb.connect(str(path), read_only=True) as connection:
        found = pair_effects(atlas, limit=5)
        assert found.total == 12
        rows = connection.execute("SELECT * FROM pair_effect").fetchall()
        changes = sorted(row[7] for row in rows)
        assert [item.probability_change for item in found.rows] == changes[:5]
        every = pair_effects(atlas, sort="auroc_predicted", descending=True).rows
        by_pair = {(item.neuron.neuron_id, item.token.token_id, item.side): item for item in every}
        for neuron, token, side, *_ in rows:
            (auroc,) = connection.execute(
                "SELECT auroc_predicted FROM pair_metric WHERE neuron_id = ? AND token_id = ? AND side = ?",
                [neuron, token, side],
            ).fetchone()
            assert by_pair[neuron, token, side].auroc_predicted == auroc
        pairs = connection.execute("SELECT neuron_id, token_id, congruence FROM candidate_pair").fetchall()
        figures = pair_figures(atlas, pairs)
        measured = {(n, t, s): change for n, t, s, _, _, _, _, change, *_ in rows}
        for (neuron, token, congruence), item in zip(pairs, figures, strict=True):
            assert item.side == ("negative" if congruence < 0 else "positive")
            assert item.probability_change == measured.get((neuron, token, item.side))
        assert any(item.probability_change is not None for item in figures)
        with pytest.raises(QueryError, match="Cannot sort effects by 'name'; sort by one of"):
            pair_effects(atlas, sort="name")


def test_no_effects(both):
    assert pair_effects(both[0]).total == 0
    assert pair_figures(both[0], []) == []


def test_an_interval_needs_nine_resamples_in_ten():
    """Of 10 to 99, which are 89 steps, 2.5% is 2.225 steps from either end."""
    values = np.arange(100.0)
    values[:10] = np.nan
    assert interval(values) == pytest.approx((12.225, 96.775))
    values[10] = np.nan
    assert interval(values) == (None, None)
    assert interval(np.array([])) == (None, None)
