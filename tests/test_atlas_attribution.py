"""Attribution on an atlas with invented rows: every record, list and sentence against plain loops in float64."""

from __future__ import annotations

import re
import shutil
import statistics
from pathlib import Path

import duckdb
import numpy as np
import pytest

from atlas import open_atlas
from atlas.core.errors import QueryError
from atlas.core.stats import bootstrap_ratio, interval
from atlas.topics.attribution import (
    MIN_POSITIONS,
    attributed_positions,
    clearest_cause,
    neuron_attribution,
    neuron_causes,
    token_drivers,
)
from atlas.topics.causal import CAUSAL_PAIRS, PROMISES, causal_answers, indirect_causes, unkept_promises
from atlas.topics.driver import drivers
from atlas.topics.law import laws
from atlas.topics.pair import RankingFilter
from atlas.topics.reliability import attribution_check, holds_in, reliability, reliability_words
from atlas.topics.verdict import verdict
from ingest.attribution import sums
from tests.invented_attribution import with_attribution
from tests.test_atlas_prediction import brute_spearman


@pytest.fixture(scope="module", params=["tiny_llama_atlas", "tiny_gpt2_atlas"])
def attributed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """An open atlas with attributions, and a function that asks a plain connection to the same file."""
    out = tmp_path_factory.mktemp("attributed") / "attributed.duckdb"
    path = with_attribution(request.getfixturevalue(request.param), out)
    with open_atlas(path) as atlas, duckdb.connect(str(path), read_only=True) as connection:
        yield atlas, lambda sql, *values: connection.execute(sql, list(values)).fetchall()


def test_ten_positions_here_and_where_it_is_written():
    assert MIN_POSITIONS == sums.MIN_POSITIONS


def test_the_check_of_estimates(attributed):
    atlas, ask = attributed
    rows = ask("SELECT layer, estimate, exact_full FROM attribution_check JOIN neuron USING (neuron_id)")
    known = reliability(atlas)
    assert attribution_check(atlas) == [known]
    (above, below) = ([row[1:] for row in rows if (row[0] >= 1) == side] for side in (True, False))
    assert (known.n, known.first_layer, known.n_above) == (60, 1, len(above))
    assert known.correlation_above == pytest.approx(statistics.correlation(*zip(*above, strict=True)))
    assert known.rank_correlation_above == pytest.approx(brute_spearman(*map(list, zip(*above, strict=True))))
    assert known.correlation_below == pytest.approx(statistics.correlation(*zip(*below, strict=True)))
    assert known.worst_above == pytest.approx(max(abs(a - b) for a, b in above))
    assert known.worst_below == pytest.approx(max(abs(a - b) for a, b in below))
    assert [holds_in(atlas, layer) for layer in range(2)] == [False, True]
    words = reliability_words(known)
    assert f"{len(above)} exact ablations" in words
    assert f"from layer 1 on; in layer 0 they do not (r = {known.correlation_below:.2f} over {len(below)})" in words


def test_where_no_layer_holds_or_all_do(attributed, tmp_path):
    for name, exact in (("none", "-estimate"), ("all", "estimate")):
        path = tmp_path / f"{name}.duckdb"
        shutil.copyfile(attributed[0].path, path)
        with duckdb.connect(str(path)) as connection:
            connection.execute(f"UPDATE attribution_check SET exact_full = {exact}")
        with open_atlas(path) as atlas:
            known = reliability(atlas)
            assert known.first_layer == (None if name == "none" else 0)
            assert ("poorly (r = -1.00)" in reliability_words(known)) == (name == "none")
            assert "do not" not in reliability_words(known)
            assert holds_in(atlas, 0) == (name == "all")
            if name == "none":
                assert all(clearest_cause(atlas, n, None) is None for n in range(atlas.info.n_neurons))


def test_a_tokens_drivers(attributed):
    atlas, ask = attributed
    tokens = [row[0] for row in ask("SELECT DISTINCT token_id FROM token_driver")]
    for token_id in tokens:
        (readout,) = ask("SELECT readout FROM token_weight WHERE token_id = ?", token_id)[0]
        rows = ask(
            "SELECT direction, rank, neuron_id, n, attribution, direct, standard_error FROM token_driver "
            "WHERE token_id = ? ORDER BY direction DESC, rank",
            token_id,
        )
        answer = token_drivers(atlas, token_id)
        assert [
            (d.direction, d.rank, d.neuron.neuron_id, d.n, d.attribution, d.direct, d.standard_error) for d in answer
        ] == rows
        for driver in answer[::7]:
            (w_out,) = ask("SELECT w_out FROM neuron_weight WHERE neuron_id = ?", driver.neuron.neuron_id)[0]
            assert driver.congruence == pytest.approx(np.dot(np.float64(w_out), np.float64(readout)), abs=1e-5)
            assert driver.holds == (driver.neuron.layer >= 1)
    assert token_drivers(atlas, next(t for t in range(300) if t not in tokens)) == []


def test_what_a_neuron_causes(attributed):
    atlas, ask = attributed
    driven = {
        row[:2]: row[2:] for row in ask("SELECT neuron_id, token_id, direction, rank, attribution FROM token_driver")
    }
    paired = {row[:2]: row[2] for row in ask("SELECT neuron_id, token_id, attribution FROM pair_attribution")}
    congruence = {row[:2]: row[2] for row in ask("SELECT neuron_id, token_id, congruence FROM candidate_pair")}
    magnitudes = [row[0] for row in ask("SELECT attribution_abs_mean FROM neuron_attribution ORDER BY neuron_id")]
    assert attributed_positions(atlas) == 400
    both = 0
    shared = sorted({neuron for neuron, _ in set(driven) & set(paired)})
    for neuron in {*range(0, atlas.info.n_neurons, 5), *shared[:5]}:
        causes = neuron_causes(atlas, neuron)
        keys = {key for key in (*driven, *paired) if key[0] == neuron}
        assert {(neuron, cause.token.token_id) for cause in causes} == keys
        values = [cause.attribution for cause in causes]
        assert values == sorted(values, reverse=True)
        for cause in causes:
            key = neuron, cause.token.token_id
            place = driven.get(key, (None, None, None))
            both += key in driven and key in paired
            assert (cause.direction, cause.rank) == place[:2]
            assert cause.attribution == (place[2] if key in driven else paired[key])
            assert cause.congruence == congruence.get(key)
        (own,) = neuron_attribution(atlas, neuron)
        assert own.attribution_abs_mean == magnitudes[neuron]
        assert own.percentile == sum(value < magnitudes[neuron] for value in magnitudes) / len(magnitudes)
    assert bool(both) == bool(shared)


def test_the_clearest_cause(attributed, tmp_path):
    """Of the asked token where that is clear; else the strongest of those that are; never of an unreliable layer."""
    atlas, ask = attributed
    d_mlp, first = atlas.info.d_mlp, ask("SELECT min(token_id) FROM token_driver")[0][0]
    strongest: dict[int, tuple[int, float]] = {}
    for neuron, token, value, error, n in (
        row
        for table in ("token_driver", "pair_attribution")
        for row in ask(f"SELECT neuron_id, token_id, attribution, standard_error, n FROM {table}")
    ):
        if (
            neuron >= d_mlp
            and n >= 10
            and error is not None
            and abs(value) >= 3 * error
            and abs(value) > abs(strongest.get(neuron, (0, 0))[1])
        ):
            strongest[neuron] = token, value
    answers = {n: clearest_cause(atlas, n, None) for n in range(atlas.info.n_neurons)}
    assert {n: (a.token.token_id, a.attribution) for n, a in answers.items() if a} == strongest
    path = tmp_path / "planted.duckdb"
    shutil.copyfile(atlas.path, path)
    neurons = [0, *(d_mlp + place for place in range(4))]
    with duckdb.connect(str(path)) as connection:
        for table in ("token_driver", "pair_metric", "study_step"):
            connection.execute(f"DELETE FROM {table} WHERE neuron_id IN {tuple(neurons)}")
        connection.execute(
            "UPDATE neuron SET dead = false, activation_min = -4, activation_max = 4, congruence_mean = 0, "
            f"congruence_std = 1, best_congruence = 3, worst_congruence = -3 WHERE neuron_id IN {tuple(neurons)}"
        )
        connection.execute(f"DELETE FROM pair_attribution WHERE neuron_id IN {tuple(neurons)}")
        for neuron, n, value, error in zip(
            neurons, (50, 43, 43, 9, 43), (9.0, 1.31, 0.35, 9.0, -2.0384), (0.1, 0.12, 0.12, 0.1, None), strict=True
        ):
            connection.execute(
                "INSERT INTO pair_attribution VALUES (?, ?, ?, ?, 1, ?)", [neuron, first, n, value, error]
            )
        connection.execute(
            f"INSERT INTO token_driver VALUES ({first}, 'bottom', 60, {neurons[-1]}, 43, -2.0384, -2, 0.08)"
        )
    with open_atlas(path) as planted:
        token = planted.tokens[first]
        causes = [clearest_cause(planted, neuron, token) for neuron in neurons]
        assert [cause and cause.attribution for cause in causes] == pytest.approx([None, 1.31, None, None, -2.0384])
        texts = [verdict(planted, neuron).text for neuron in neurons]
        headlines = [verdict(planted, neuron).headline for neuron in neurons]
    assert (
        f"y attribution it opposes “{token.shown}” where the model predicts it (−2.04 ± 0.08 logits, 43 positions)."
        in (texts[-1])
    )
    assert headlines == ["no clear token", f"supports {token.shown}", *["no clear token"] * 2, f"opposes {token.shown}"]
    assert not any("attribution" in texts[place] for place in (0, 2, 3))
    sentences = [re.split(r"(?<=[^0-9A-Z])\. (?=[A-Z])", re.sub("“.*?”", "", text)) for text in texts]
    assert max(map(len, sentences)) <= 2


def test_drivers_are_ranked(attributed):
    atlas, ask = attributed
    for direction, sort, key in (("bottom", "attribution", 2), ("top", "direct", 3), ("top", "n", 4)):
        rows = ask(
            "SELECT d.neuron_id, d.token_id, d.attribution, d.direct, d.n FROM token_driver AS d "
            "JOIN token USING (token_id) WHERE direction = ? AND NOT special AND n_actual > 0 AND neuron_id >= ? "
            "AND abs(attribution) >= 0.2",
            direction,
            atlas.info.d_mlp,
        )
        rows.sort(key=lambda row: (-abs(row[key]), *row[:2]))
        answer = drivers(atlas, direction, RankingFilter(layer_min=1, min_score=0.2), sort=sort, limit=7, offset=2)
        assert answer.total == len(rows)
        assert [(d.neuron.neuron_id, d.token.token_id, d.attribution, d.direct, d.n) for d in answer.rows] == rows[2:9]
        assert all(d.holds for d in answer.rows)
    with pytest.raises(QueryError, match="Cannot sort drivers by 'rank'; sort by one of attribution"):
        drivers(atlas, sort="rank")


def brute_causes(ask):
    """Pairs with support by (neuron, token): what the weights promise, attribution, direct part. By plain loops."""
    gated, n_layers = ask("SELECT gated, n_layers FROM atlas")[0]
    lists = {}
    for table, owner, other in (("neuron_token", "neuron_id", "token_id"), ("token_neuron", "token_id", "neuron_id")):
        for key, direction, value, item in ask(
            f"SELECT {owner}, direction, congruence, {other} FROM {table} WHERE rank <= 2 "
            f"ORDER BY {owner}, direction, rank"
        ):
            lists.setdefault((table, key, direction), []).append((value, item))
    congruence = {row[:2]: row[2] for row in ask("SELECT neuron_id, token_id, congruence FROM candidate_pair")}
    special = {row[0] for row in ask("SELECT token_id FROM token WHERE special")}
    ends = {row[0]: row[1:] for row in ask("SELECT neuron_id, activation_min, activation_max FROM neuron")}
    pairs = {}
    for neuron, token, n, value, direct in ask(
        "SELECT neuron_id, token_id, n, attribution, direct FROM pair_attribution"
    ):
        if n < 10 or token in special:
            continue
        signed = congruence[neuron, token]
        sign, direction = (-1, "bottom") if gated and signed < 0 else (1, "top")
        gaps = []
        for table, owner, item in (("neuron_token", neuron, token), ("token_neuron", token, neuron)):
            (first, holder), (second, _) = lists[table, owner, direction]
            gaps.append(sign * (signed - (second if holder == item else first)))
        low, high = ends[neuron]
        criteria = {
            "congruence": sign * signed,
            "token_gap": gaps[0],
            "neuron_gap": gaps[1],
            "score": gaps[0] * gaps[1] if min(gaps) > 0 else min(gaps),
            "fired_congruence": signed if high >= -low else -signed,
        }
        pairs[neuron, token] = criteria, value, direct
    return pairs, n_layers


def test_the_causal_answer(attributed):
    atlas, ask = attributed
    pairs, n_layers = brute_causes(ask)
    (answer,) = causal_answers(atlas)
    assert (answer.n_positions, answer.n_pairs) == (400, len(pairs))
    assert (answer.n_neurons, answer.n_tokens) == tuple(len({key[place] for key in pairs}) for place in (0, 1))
    outcome = [row[1] for row in pairs.values()]
    assert {item.by for item in answer.criteria} == set(PROMISES)
    for item in answer.criteria:
        # Gaps are differences of float32: those that tie in one order of rounding need not in another.
        expected = brute_spearman([row[0][item.by] for row in pairs.values()], outcome)
        assert item.value == pytest.approx(expected, abs=2e-3)
        assert item.low <= item.high
    assert answer.direct.value == pytest.approx(brute_spearman([row[2] for row in pairs.values()], outcome))
    assert [layer.layer for layer in answer.layers] == [*range(n_layers)]
    for layer in answer.layers:
        mine = [row for key, row in pairs.items() if key[0] // atlas.info.d_mlp == layer.layer]
        assert layer.n_pairs == len(mine) > 2
        assert layer.value == pytest.approx(brute_spearman([r[0]["congruence"] for r in mine], [r[1] for r in mine]))
        assert layer.kept == pytest.approx(sum(r[1] * r[2] for r in mine) / sum(r[2] ** 2 for r in mine), rel=1e-5)
        assert layer.kept_low <= layer.kept <= layer.kept_high
        sql = "SELECT avg({}) FROM neuron_attribution JOIN neuron USING (neuron_id) WHERE layer = ?"
        assert layer.magnitude == pytest.approx(ask(sql.format("attribution_abs_mean"), layer.layer)[0][0])
        assert layer.direct_magnitude == pytest.approx(ask(sql.format("direct_abs_mean"), layer.layer)[0][0])
    ends: dict[int, list[tuple]] = {}
    for token, value, neuron in ask("SELECT token_id, attribution, neuron_id FROM token_driver"):
        ends.setdefault(token, []).append((value, neuron))
    opposed = [min(rows)[1] for rows in ends.values() if -min(rows)[0] > max(rows)[0]]
    last = (n_layers - 1) * atlas.info.d_mlp
    assert (answer.opposed.n_tokens, answer.opposed.n_opposed) == (3, len(opposed))
    assert answer.opposed.n_by_last_layer == sum(neuron >= last for neuron in opposed)
    rows = atlas.query(CAUSAL_PAIRS.shown()).rows
    assert [row[-2:] for row in rows] == sorted(pairs)
    unkept = sorted(
        (abs(value) - abs(direct), *key) for key, (_, value, direct) in pairs.items() if abs(value) <= 0.2 * abs(direct)
    )
    listed = unkept_promises(atlas, 9)
    assert [(p.neuron.neuron_id, p.token.token_id) for p in listed] == [row[1:] for row in unkept[:9]]
    assert [p.congruence for p in listed] == [pytest.approx(pairs[row[1:]][0]["congruence"]) for row in unkept[:9]]
    indirect = sorted(
        (-abs(value), neuron, token)
        for neuron, token, value, direct, error in ask(
            "SELECT neuron_id, token_id, attribution, direct, standard_error FROM token_driver"
        )
        if abs(direct) <= 0.2 * abs(value) and abs(value) >= 3 * error
    )
    assert indirect
    assert [(p.neuron.neuron_id, p.token.token_id) for p in indirect_causes(atlas, 9)] == [r[1:] for r in indirect[:9]]


def test_ratios_of_resampled_clusters():
    rng = np.random.default_rng(3)
    over, under, cluster = rng.normal(size=40), rng.random(40), np.repeat(np.arange(8) * 3, 5)
    draws, names = np.random.default_rng(5), sorted(set(cluster.tolist()))
    expected = []
    for drawn in draws.integers(8, size=(20, 8)):
        places = [p for d in drawn for p in range(40) if cluster[p] == names[d]]
        expected.append(sum(over[p] for p in places) / sum(under[p] for p in places))
    assert bootstrap_ratio(over, under, cluster, resamples=20, seed=5) == pytest.approx(expected)
    assert interval(bootstrap_ratio(over, np.zeros(40), cluster)) == (None, None)


def test_without_attribution(both):
    atlas, _ = both
    assert causal_answers(atlas) == neuron_attribution(atlas, 3) == neuron_causes(atlas, 3) == []
    assert (
        token_drivers(atlas, 40) == unkept_promises(atlas) == indirect_causes(atlas) == attribution_check(atlas) == []
    )
    assert "none of these, marked with (?), was checked" in reliability_words(reliability(atlas))
    assert (drivers(atlas).total, attributed_positions(atlas)) == (0, 0)


@pytest.fixture(params=["tiny_llama_atlas", "tiny_gpt2_atlas"])
def detecting(request: pytest.FixtureRequest, tmp_path: Path):
    """A copy in which some neurons' input weights read one token far more than any other, at either end."""
    path = tmp_path / "detecting.duckdb"
    shutil.copyfile(request.getfixturevalue(request.param), path)
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        for direction, sign, place in (("top", "+", 0), ("bottom", "-", 3)):
            connection.execute(
                f"UPDATE neuron_input_token SET value = value {sign} 100 WHERE side = 'in' AND rank = 1 "
                f"AND direction = '{direction}' AND neuron_id % 7 = {place}"
            )
    with open_atlas(path) as atlas, duckdb.connect(str(path), read_only=True) as connection:
        yield atlas, lambda sql: connection.execute(sql).fetchall()


def test_laws(detecting):
    """Triggers, next tokens and cosines by plain loops over whole tables."""
    atlas, ask = detecting

    texts = dict(ask('SELECT text_id, token_ids FROM "text"'))
    neurons = {row[0]: row[1:] for row in ask("SELECT neuron_id, best_token_id, worst_token_id, dead FROM neuron")}
    weights, readouts = (
        {key: np.float64(value) for key, value in ask(f"SELECT {key}, {value} FROM {table}")}
        for key, value, table in (
            ("neuron_id", "w_out", "neuron_weight"),
            ("token_id", "readout", "token_weight"),
        )
    )
    sides: dict[tuple[int, str], list[tuple]] = {}
    for neuron, kind, rank, activation, text_id, position in ask(
        "SELECT neuron_id, kind, rank, activation, text_id, position FROM example WHERE kind IN ('max', 'min')"
    ):
        ids = texts[text_id]
        following = ids[position + 1] if position + 1 < len(ids) else None
        sides.setdefault((neuron, kind), []).append((rank, activation, ids[position], following))
    erase: dict[int, list[bool]] = {}
    agree: dict[int, list[bool]] = {}
    for neuron, (best, worst, dead) in neurons.items():
        layer = neuron // atlas.info.d_mlp
        ends = [(max(abs(r[1]) for r in rows), k, sorted(rows)) for (n, k), rows in sides.items() if n == neuron]
        if dead or not ends:
            continue
        _, kind, rows = max(ends, key=lambda end: (end[0], end[1] == "max"))
        tokens = [row[2] for row in rows]
        most = statistics.mode(tokens)
        if len(rows) >= 5 and tokens.count(most) >= 0.95 * len(rows):
            sign = -1 if kind == "min" else 1
            erase.setdefault(layer, []).append(sign * (weights[neuron] @ readouts[most]) < 0)
        if rows[0][3] is not None:
            agree.setdefault(layer, []).append((best if rows[0][1] > 0 else worst) == rows[0][3])
    by_name = {law.name: law for law in laws(atlas)}
    assert list(by_name) == ["erasing", "erasing-by-weights", "agreement", "enrichment"]
    read: dict[int, list[bool]] = {}
    for neuron, token, direction in ask("SELECT neuron_id, token_id, direction FROM token_detector WHERE side = 'in'"):
        sign = 1 if direction == "top" else -1
        read.setdefault(neuron // atlas.info.d_mlp, []).append(sign * (weights[neuron] @ readouts[token]) < 0)
    assert sum(map(len, read.values())) >= atlas.info.n_neurons // 7
    for name, expected in (("erasing", erase), ("erasing-by-weights", read), ("agreement", agree)):
        found = {layer.layer: (layer.n, layer.n_true) for layer in by_name[name].layers}
        assert found == {layer: (len(rows), sum(rows)) for layer, rows in expected.items()}
    assert sum(map(len, agree.values())) > 100
    cosines: dict[int, list[float]] = {}
    for layer, value in ask("SELECT layer, in_out_cosine FROM neuron WHERE in_out_cosine IS NOT NULL"):
        cosines.setdefault(layer, []).append(value)
    for layer in by_name["enrichment"].layers:
        mine = cosines[layer.layer]
        assert (layer.n, layer.n_true) == (len(mine), sum(value > 0 for value in mine))
        assert layer.cosine == pytest.approx(statistics.median(mine))
        assert layer.low <= layer.value <= layer.high
    for law in by_name.values():
        assert [row[:3] for row in atlas.query(law.sql).rows] == [(x.layer, x.n, x.n_true) for x in law.layers]
        assert law.answer.endswith(".")
        assert law.published.endswith((".", "."))
