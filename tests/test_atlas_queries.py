"""Records against plain SQL over the same file, through the schema's own views where there is one."""

from __future__ import annotations

import pytest

from atlas.core.bins import interval_edges
from atlas.core.errors import NeuronNameError, TokenError
from atlas.core.units import neuron_ref
from atlas.topics.curve import histogram, neuron_candidates, neuron_curves, token_candidates, token_curves
from atlas.topics.example import interval_examples, neuron_examples
from atlas.topics.neuron import find_neuron, input_tokens, neuron_tokens
from atlas.topics.search import containing_tokens, tokens_by_text
from atlas.topics.tables import column_comments
from atlas.topics.token import token_neurons, token_row


def rows(connection, sql, *parameters):
    return connection.execute(sql, parameters).fetchall()


def some(atlas):
    """A few neurons: the first, the last, and one between."""
    return [0, atlas.info.d_mlp + 7, atlas.info.n_neurons - 1]


def test_neuron(both):
    atlas, connection = both
    for neuron_id in some(atlas):
        record = find_neuron(atlas, neuron_id)
        expected = connection.execute("SELECT * FROM neuron WHERE neuron_id = ?", [neuron_id])
        names = [column[0] for column in expected.description]
        for name, value in zip(names, expected.fetchone(), strict=True):
            if name in ("best_token_id", "worst_token_id"):
                assert getattr(record, name[:-3]).token_id == value
            else:
                assert getattr(record, name) == value
        assert (record.w_gate_norm is None) == (not atlas.info.gated)


def test_neuron_out_of_range(both):
    atlas, _ = both
    with pytest.raises(NeuronNameError, match=f"neuron ids go from 0 to {atlas.info.n_neurons - 1}"):
        find_neuron(atlas, atlas.info.n_neurons)


def test_neuron_tokens(both):
    atlas, connection = both
    for neuron_id in some(atlas):
        found = neuron_tokens(atlas, neuron_id)
        name = neuron_ref(atlas, neuron_id).name
        view = "SELECT direction, rank, token_id, token, congruence FROM congruence WHERE neuron = ?"
        expected = sorted(rows(connection, view, name), key=lambda row: (row[0] == "bottom", row[1]))
        assert [(i.direction, i.rank, i.token.token_id, i.token.text, i.congruence) for i in found] == expected
        top = [item.congruence for item in found if item.direction == "top"]
        assert top == sorted(top, reverse=True)
        assert len(top) == atlas.info.top_tokens


def test_input_tokens(both):
    atlas, connection = both
    found = input_tokens(atlas, 3)
    sql = "SELECT side, direction, rank, token_id, value FROM neuron_input_token WHERE neuron_id = 3"
    assert sorted((i.side, i.direction, i.rank, i.token.token_id, i.value) for i in found) == sorted(
        rows(connection, sql)
    )
    assert {item.side for item in found} == ({"in", "gate"} if atlas.info.gated else {"in"})


def test_histogram_holds_every_position(both):
    atlas, connection = both
    for neuron_id in some(atlas):
        bars = histogram(atlas, neuron_id)
        assert sum(bar.n for bar in bars) == atlas.info.n_positions
        sql = (
            "SELECT bin, nullif(lower, '-infinity'), nullif(upper, 'infinity'), n FROM activation_histogram "
            "JOIN histogram_bin USING (bin) WHERE neuron_id = ? ORDER BY bin"
        )
        assert [(bar.bin, bar.lower, bar.upper, bar.n) for bar in bars] == rows(connection, sql, neuron_id)


def test_curves(both):
    atlas, connection = both
    for neuron_id in some(atlas):
        candidates = neuron_candidates(atlas, neuron_id)
        sql = "SELECT token_id, congruence, source FROM candidate_pair WHERE neuron_id = ? ORDER BY token_id"
        found = sorted((c.token.token_id, c.congruence, ",".join(c.sources)) for c in candidates)
        assert found == rows(connection, sql, neuron_id)
        curves = neuron_curves(atlas, neuron_id, candidates, histogram(atlas, neuron_id))
        view = (
            "SELECT bin, n, n_predicted, n_actual, predicted_fraction, actual_fraction FROM prediction_curve "
            "WHERE neuron_id = ? AND token_id = ? ORDER BY bin"
        )
        for curve in curves:
            expected = rows(connection, view, neuron_id, curve.candidate.token.token_id)
            flat = [
                (p.bin, p.n, p.n_predicted, p.n_actual, p.predicted_fraction, p.actual_fraction) for p in curve.points
            ]
            assert flat == expected
            assert sum(point.n_predicted for point in curve.points) == curve.candidate.n_predicted
            assert token_curves(atlas, [curve.candidate]) == [curve]


def test_a_candidates_total_is_the_tokens_own(both):
    atlas, _ = both
    token_id = max(range(atlas.info.d_vocab), key=lambda t: token_row(atlas, t).n_predicted)
    row = token_row(atlas, token_id)
    candidates = token_candidates(atlas, token_id)
    assert candidates
    assert row.n_predicted > 0
    assert {(c.n_predicted, c.n_actual) for c in candidates} == {(row.n_predicted, row.n_actual)}


def test_examples(both):
    atlas, connection = both
    for neuron_id in some(atlas):
        found = neuron_examples(atlas, neuron_id)
        assert {example.kind for example in found} == (
            {"max", "min", "interval"} if atlas.info.gated else {"max", "interval"}
        )
        view = (
            "SELECT kind, interval, rank, text_id, position, activation, token, predicted, tokens, activations "
            "FROM max_activating_example WHERE neuron_id = ?"
        )
        expected = {row[:3]: row[3:] for row in rows(connection, view, neuron_id)}
        assert len(expected) == len(found)
        for example in found:
            text_id, position, activation, token, predicted, tokens, activations = expected[
                example.kind, example.interval, example.rank
            ]
            peak = example.position - example.window_start
            assert (example.text_id, example.position, example.activation) == (text_id, position, activation)
            assert example.tokens[peak].text == token
            assert example.predicted.text == predicted
            assert [item.text or "" for item in example.tokens] == tokens
            assert example.activations == pytest.approx(activations, rel=1e-6)
            assert example.activations[peak] == pytest.approx(
                example.activation, abs=max(map(abs, activations)) / 32767
            )
            ids = rows(connection, "SELECT token_ids FROM text WHERE text_id = ?", text_id)[0][0]
            following = ids[position + 1] if position + 1 < len(ids) else None
            assert (example.actual.token_id if example.actual else None) == following
            assert example.text_length == len(ids)


def test_maxima_come_best_first_and_intervals_lie_in_their_octave(both):
    atlas, _ = both
    found = neuron_examples(atlas, some(atlas)[1])
    maxima = [example.activation for example in found if example.kind == "max"]
    assert maxima == sorted(maxima, reverse=True)
    assert maxima[0] == find_neuron(atlas, some(atlas)[1]).activation_max
    groups = interval_examples(found)
    assert [group.interval for group in groups] == sorted({group.interval for group in groups}, reverse=True)
    for group in groups:
        lower, upper = interval_edges(group.interval)
        assert all(lower <= example.activation < upper for example in group.examples)


def test_token_row_and_neurons(both):
    atlas, connection = both
    for token_id in (0, 17, atlas.info.d_vocab - 1):
        row = token_row(atlas, token_id)
        same = [
            "piece",
            "in_tokenizer",
            "n_input",
            "n_actual",
            "n_predicted",
            "best_congruence",
            "neuron_gap",
            "worst_congruence",
            "neuron_gap_bottom",
            "hub_count",
        ]
        sql = f"SELECT text, best_neuron_id, worst_neuron_id, {', '.join(same)} FROM token WHERE token_id = ?"
        flat = (row.token.text, row.best_neuron.neuron_id, row.worst_neuron.neuron_id, *(getattr(row, n) for n in same))
        assert [flat] == rows(connection, sql, token_id)
        found = token_neurons(atlas, token_id)
        assert found[0].neuron == row.best_neuron
        assert found[0].congruence == row.best_congruence
        assert [i.rank for i in found] == [*range(1, atlas.info.top_neurons + 1)] * 2
    with pytest.raises(TokenError, match=f"go from 0 to {atlas.info.d_vocab - 1}"):
        token_row(atlas, atlas.info.d_vocab)


def test_tokens_by_text(both):
    atlas, _ = both
    assert [token.text for token in tokens_by_text(atlas, " an")] == [" an"]
    assert tokens_by_text(atlas, " no such token") == []
    containing = containing_tokens(atlas, "AN")
    assert " an" in [token.text for token in containing]
    assert all("an" in token.text.lower() for token in containing)
    assert len(containing_tokens(atlas, "a", limit=2)) == 2


def test_tokens_keep_their_bytes(both):
    atlas, connection = both
    for token_id, raw, special in rows(connection, "SELECT token_id, bytes, special FROM token"):
        assert atlas.tokens[token_id].bytes == raw
        assert atlas.tokens[token_id].special == special
    assert len(atlas.tokens) == atlas.info.d_vocab


def test_column_comments_are_the_files_own(both):
    atlas, connection = both
    comments = column_comments(atlas, "neuron")
    assert comments["token_gap"].startswith("Its best congruence minus its second best")
    assert len(comments) == rows(connection, "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'neuron'")[0][0]
