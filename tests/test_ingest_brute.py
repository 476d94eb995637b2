"""Every table of the atlas against the naive computation, for a gated and an ungated model."""

from __future__ import annotations

from collections import Counter, defaultdict

import duckdb
import numpy as np
import pytest

from tests import brute as bf
from tests.conftest import Built, build_tiny

TOLERANCE = 2e-5
"""Float32 against float64, on values of order 1."""


@pytest.fixture(scope="module", params=["llama", "gpt2", "gpt2-embed"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    built: Built = request.getfixturevalue(f"built_{request.param.split('-')[0]}")
    readout = "embed" if request.param.endswith("embed") else "unembed"
    atlas = built.atlas
    if readout == "embed":
        atlas = build_tiny(
            tmp_path_factory.mktemp("embed"),
            built.model,
            built.dataset,
            "tiny-embed",
            context_length=built.context_length,
            overflow=built.overflow,
            readout="embed",
        )
    connection = duckdb.connect(str(atlas), read_only=True)
    yield connection, bf.compute(built.model, built.dataset, built.context_length, built.overflow, readout)
    connection.close()


ACTIVATION_TOLERANCE = 5e-4
"""The same after layers of random weights, on activations of up to 20."""


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple]:
    return connection.execute(sql).fetchall()


def at_edges(acts: np.ndarray) -> np.ndarray:
    """Which activations are so near a bin's edge that float32 may put them on the other side; few, or it is no test."""
    margin = 1e-5 * (1 + np.abs(acts))
    near = bf.bins_of(acts - margin) != bf.bins_of(acts + margin)
    assert near.mean() < 5e-3
    return near


def assert_ranked(listed: list[tuple[int, float]], values: np.ndarray, sign: int, tolerance: float = TOLERANCE) -> None:
    """`listed` (id, value) is the true order of `values`, up to swaps of near-equals."""
    truth = np.argsort(-sign * values, kind="stable")[: len(listed)]
    for (identity, value), expected in zip(listed, truth, strict=True):
        assert value == pytest.approx(values[identity], abs=tolerance)
        assert value == pytest.approx(values[expected], abs=tolerance)
    assert len({identity for identity, _ in listed}) == len(listed)


@pytest.mark.parametrize(
    ("table", "row", "item"), [("neuron_token", "neuron_id", "token_id"), ("token_neuron", "token_id", "neuron_id")]
)
def test_congruence_lists(case, table: str, row: str, item: str) -> None:
    connection, brute = case
    matrix = brute.congruence if table == "neuron_token" else brute.congruence.T
    lists = defaultdict(list)
    for r, direction, rank, i, value in rows(
        connection, f"SELECT {row}, direction, rank, {item}, congruence FROM {table} ORDER BY ALL"
    ):
        assert rank == len(lists[r, direction]) + 1
        lists[r, direction].append((i, value))
    assert len(lists) == 2 * len(matrix)
    for (r, direction), listed in lists.items():
        assert len(listed) == 20
        assert_ranked(listed, matrix[r], 1 if direction == "top" else -1)


def test_input_tokens(case) -> None:
    connection, brute = case
    lists = defaultdict(list)
    for n, side, direction, rank, token, value in rows(
        connection, "SELECT neuron_id, side, direction, rank, token_id, value FROM neuron_input_token ORDER BY ALL"
    ):
        assert rank == len(lists[n, side, direction]) + 1
        lists[n, side, direction].append((token, value))
    assert {side for _, side, _ in lists} == ({"in", "gate"} if brute.gated else {"in"})
    for (n, side, direction), listed in lists.items():
        layer, index = divmod(n, len(brute.layers[0]["w_in"]))
        assert_ranked(
            listed, brute.layers[layer][f"w_{side}"][index] @ brute.embedding.T, 1 if direction == "top" else -1
        )
    assert len(lists) == len(brute.w_out) * 2 * (2 if brute.gated else 1)


def test_share_of_output_weights_in_the_readouts_null_space(case) -> None:
    connection, brute = case
    _, _, directions = np.linalg.svd(brute.readout, full_matrices=False)
    assert brute.readout.shape[1] < 100  # One direction.
    share = (brute.w_out @ directions[-1]) ** 2 / (brute.w_out**2).sum(1)
    stored = connection.execute("SELECT unembedding_null_fraction AS share FROM neuron ORDER BY neuron_id").fetchnumpy()
    np.testing.assert_allclose(stored["share"], share, atol=1e-6)
    assert share.max() > 0.1 or not brute.gated  # Of a LayerNorm model the direction that it removes.


def test_weights(case) -> None:
    connection, brute = case
    found = connection.execute("SELECT w_in, w_out, w_gate FROM neuron_weight ORDER BY neuron_id").fetchnumpy()
    for name in ("w_in", "w_out", "w_gate") if brute.gated else ("w_in", "w_out"):
        expected = np.concatenate([layer[name] for layer in brute.layers])
        np.testing.assert_allclose(np.stack(list(found[name])), expected, atol=1e-6)
    if not brute.gated:
        assert rows(connection, "SELECT count(w_gate) FROM neuron_weight") == [(0,)]
    readout = connection.execute("SELECT readout FROM token_weight ORDER BY token_id").fetchnumpy()["readout"]
    np.testing.assert_allclose(np.stack(list(readout)), brute.readout, atol=1e-6)
    (mean,) = connection.execute("SELECT readout_mean FROM atlas").fetchone()
    np.testing.assert_allclose(mean, brute.readout_mean, atol=1e-6)


def test_neuron_weight_columns(case) -> None:
    connection, brute = case
    congruence = brute.congruence
    centred = congruence - congruence.mean(1, keepdims=True)
    std = centred.std(1)
    ranked = np.sort(congruence, axis=1)
    best_neuron = brute.congruence.argmax(0)
    w_in = np.concatenate([layer["w_in"] for layer in brute.layers])
    cosine = (w_in * brute.w_out).sum(1) / np.linalg.norm(w_in, axis=1) / np.linalg.norm(brute.w_out, axis=1)
    expected = {
        "w_in_norm": np.linalg.norm(w_in, axis=1),
        "w_out_norm": np.linalg.norm(brute.w_out, axis=1),
        "in_out_cosine": cosine,
        "best_token_id": congruence.argmax(1),
        "worst_token_id": congruence.argmin(1),
        "best_congruence": ranked[:, -1],
        "token_gap": ranked[:, -1] - ranked[:, -2],
        "worst_congruence": ranked[:, 0],
        "token_gap_bottom": ranked[:, 1] - ranked[:, 0],
        "hub_count": np.bincount(best_neuron, minlength=len(congruence)),
        "mean_congruence": brute.w_out @ brute.readout_mean,
        "congruence_mean": congruence.mean(1),
        "congruence_std": std,
        "congruence_skewness": (centred**3).mean(1) / std**3,
        "congruence_kurtosis": (centred**4).mean(1) / std**4,
    }
    columns = connection.execute(f"SELECT {', '.join(expected)} FROM neuron ORDER BY neuron_id").fetchnumpy()
    for name, values in expected.items():
        np.testing.assert_allclose(columns[name], values, rtol=1e-4, atol=TOLERANCE, err_msg=name)
    gate_norms = rows(connection, "SELECT count(w_gate_norm), count(gate_out_cosine) FROM neuron")
    assert gate_norms == [(len(congruence),) * 2 if brute.gated else (0, 0)]


def test_exclusive_pairs(case) -> None:
    connection, brute = case
    found = rows(
        connection,
        "SELECT direction, rank, neuron_id, token_id, congruence, token_gap, neuron_gap, score FROM exclusive_pair",
    )
    expected = {}
    for direction in ("top", "bottom") if brute.gated else ("top",):
        matrix = brute.congruence if direction == "top" else -brute.congruence
        for neuron in range(len(matrix)):
            token = int(matrix[neuron].argmax())
            if int(matrix[:, token].argmax()) == neuron:
                token_gap = matrix[neuron, token] - np.sort(matrix[neuron])[-2]
                neuron_gap = matrix[neuron, token] - np.sort(matrix[:, token])[-2]
                expected[direction, neuron, token] = (brute.congruence[neuron, token], token_gap, neuron_gap)
    assert {(d, n, t) for d, _, n, t, *_ in found} == set(expected)
    for direction, _, neuron, token, congruence, token_gap, neuron_gap, score in found:
        assert (congruence, token_gap, neuron_gap) == pytest.approx(
            expected[direction, neuron, token], abs=TOLERANCE, rel=TOLERANCE
        )
        assert score == pytest.approx(token_gap * neuron_gap, rel=1e-5)
    for direction in {d for d, *_ in found}:
        scores = [row[-1] for row in found if row[0] == direction]
        assert [row[1] for row in found if row[0] == direction] == list(range(1, len(scores) + 1))
        assert scores == sorted(scores, reverse=True)


def test_texts_and_token_counts(case) -> None:
    connection, brute = case
    for text_id, row, chunk, ids, predicted in rows(
        connection, 'SELECT text_id, source_row, chunk, token_ids, predicted_token_ids FROM "text"'
    ):
        assert (row, chunk, ids) == brute.texts[text_id]
        assert predicted == brute.predicted[text_id]
    n_positions = sum(len(ids) - 1 for _, _, ids in brute.texts)
    assert rows(connection, "SELECT n_texts, n_positions FROM atlas") == [(len(brute.texts), n_positions)]
    for role, counts in bf.token_counts(brute).items():
        found = Counter(dict(rows(connection, f"SELECT token_id, n_{role} FROM token WHERE n_{role} > 0")))
        assert found == counts


def test_activation_statistics(case) -> None:
    connection, brute = case
    acts = brute.counted()
    n = acts.shape[1]
    centred = acts - acts.mean(1, keepdims=True)
    std = acts.std(1)
    expected = {
        "activation_mean": acts.mean(1),
        "activation_std": std,
        "activation_skewness": (centred**3).mean(1) / std**3,
        "activation_kurtosis": (centred**4).mean(1) / std**4,
        "activation_min": acts.min(1),
        "activation_max": acts.max(1),
        "positive_fraction": (acts > 0).mean(1),
    }
    columns = connection.execute(f"SELECT {', '.join(expected)} FROM neuron ORDER BY neuron_id").fetchnumpy()
    for name, values in expected.items():
        slack = 1 / n if name == "positive_fraction" else TOLERANCE
        np.testing.assert_allclose(columns[name], values, rtol=1e-4, atol=slack, err_msg=name)
    assert [(b, lo, hi) for b, (lo, hi) in enumerate(bf.edges())] == rows(
        connection, "SELECT bin, lower, upper FROM histogram_bin ORDER BY bin"
    )
    histogram = np.zeros((len(acts), len(bf.edges())), dtype=int)
    for neuron, bin, count in rows(connection, "SELECT neuron_id, bin, n FROM activation_histogram"):
        histogram[neuron, bin] = count
    truth = np.stack([np.bincount(row, minlength=histogram.shape[1]) for row in bf.bins_of(acts)])
    assert (np.abs(histogram - truth).sum(1) <= 2 * at_edges(acts).sum(1)).all()
    dead = [bool((np.abs(row) < 2.0**-6).all()) for row in acts]
    assert [d for (d,) in rows(connection, "SELECT dead FROM neuron ORDER BY neuron_id")] == dead


def test_candidate_pairs(case) -> None:
    connection, brute = case
    congruence, k = brute.congruence, 5
    expected: dict[tuple[int, int], set[str]] = defaultdict(set)
    for direction, matrix in (("top", congruence), ("bottom", -congruence)) if brute.gated else (("top", congruence),):
        for neuron, row in enumerate(matrix):
            for token in np.argsort(-row, kind="stable")[:k]:
                expected[neuron, int(token)].add(f"neuron_{direction}")
        for token, column in enumerate(matrix.T):
            for neuron in np.argsort(-column, kind="stable")[:k]:
                expected[int(neuron), token].add(f"token_{direction}")
    for neuron, token in rows(connection, "SELECT neuron_id, token_id FROM exclusive_pair"):
        expected[neuron, token].add("exclusive")
    found = {
        (n, t): set(s.split(","))
        for n, t, s in rows(connection, "SELECT neuron_id, token_id, source FROM candidate_pair")
    }
    assert found == dict(expected)
    for neuron, token, value in rows(connection, "SELECT neuron_id, token_id, congruence FROM candidate_pair"):
        assert value == pytest.approx(congruence[neuron, token], abs=TOLERANCE, rel=TOLERANCE)


def test_prediction_histogram(case) -> None:
    connection, brute = case
    pairs = rows(connection, "SELECT neuron_id, token_id FROM candidate_pair")
    expected = bf.prediction_counts(brute, pairs)
    found = {(n, t, b): [p, a] for n, t, b, p, a in rows(connection, "FROM prediction_histogram")}
    unsure = at_edges(brute.counted()).any(1)
    for cell in expected.keys() | found.keys():
        assert unsure[cell[0]] or expected.get(cell) == found.get(cell), cell
    for which in (0, 1):
        totals = [Counter(), Counter()]
        for total, cells in zip(totals, (expected, found), strict=True):
            for (neuron, token, _), counts in cells.items():
                total[neuron, token] += counts[which]
        assert totals[0] == totals[1], "edges move counts between a pair's bins, never between pairs"


def test_extreme_examples(case) -> None:
    connection, brute = case
    kinds = {"max": 1, "min": -1} if brute.gated else {"max": 1}
    lists = defaultdict(list)
    for neuron, kind, rank, *rest in rows(
        connection,
        "SELECT neuron_id, kind, rank, text_id, position, activation, predicted_token_id FROM example "
        "WHERE kind <> 'interval' ORDER BY neuron_id, kind, rank",
    ):
        assert rank == len(lists[neuron, kind]) + 1
        lists[neuron, kind].append(rest)
    assert set(lists) == {(neuron, kind) for neuron in range(len(brute.w_out)) for kind in kinds}
    for (neuron, kind), listed in lists.items():
        sign = kinds[kind]
        extremes = np.array([(sign * text[neuron, 1:]).max() for text in brute.activations])
        assert len(listed) == min(6, len(extremes))
        assert_ranked([(text, sign * value) for text, _, value, _ in listed], extremes, 1, ACTIVATION_TOLERANCE)
        for text, position, value, predicted in listed:
            assert brute.activations[text][neuron, position] == pytest.approx(value, abs=ACTIVATION_TOLERANCE)
            assert predicted == brute.predicted[text][position]


def test_interval_examples(case) -> None:
    connection, brute = case
    (fingerprint,) = connection.execute("SELECT dataset_fingerprint FROM atlas").fetchone()
    found = defaultdict(list)
    for neuron, interval, rank, text, position, value in rows(
        connection,
        'SELECT neuron_id, "interval", rank, text_id, position, activation FROM example '
        "WHERE kind = 'interval' ORDER BY ALL",
    ):
        assert rank == len(found[neuron, interval]) + 1
        assert brute.activations[text][neuron, position] == pytest.approx(value, abs=ACTIVATION_TOLERANCE)
        found[neuron, interval].append(text)
    expected = defaultdict(list)
    for neuron in range(len(brute.w_out)):
        for text_id, (row, chunk, _) in enumerate(brute.texts):
            highest = brute.activations[text_id][neuron, 1:].max()
            expected[neuron, bf.octave(highest)].append((bf.example_hash(fingerprint, 0, row, chunk, neuron), text_id))
    chosen = {key: [text for _, text in sorted(texts)[:3]] for key, texts in expected.items()}
    highest = np.stack([text[:, 1:].max(1) for text in brute.activations], axis=1)
    unsure = at_edges(highest).any(1)
    for key in chosen.keys() | found.keys():
        assert unsure[key[0]] or chosen.get(key) == found.get(key), key


def test_windows(case) -> None:
    connection, brute = case
    for neuron, text, position, value, start, window, scale in rows(
        connection,
        "SELECT neuron_id, text_id, position, activation, window_start, window_activations, window_scale FROM example",
    ):
        truth = brute.activations[text][neuron]
        assert len(window) == min(16, len(truth) - 1)
        assert 1 <= start <= position < start + len(window) <= len(truth)
        decoded = np.array(window) * scale
        np.testing.assert_allclose(
            decoded, truth[start : start + len(window)], rtol=0, atol=scale / 2 + ACTIVATION_TOLERANCE
        )
        assert decoded[position - start] == pytest.approx(value, abs=scale / 2 + 1e-6, rel=1e-6)


def test_embed_readout_counts_by_its_own_argmax(case) -> None:
    connection, brute = case
    (readout,) = connection.execute("SELECT readout FROM atlas").fetchone()
    predicted = bf.token_counts(brute)["predicted"]
    found = dict(rows(connection, "SELECT token_id, n_predicted FROM token WHERE n_predicted > 0"))
    assert found == dict(predicted), readout
