"""Families of tokens: who belongs together, and counts against plain loops over raw activations."""

from __future__ import annotations

from collections import defaultdict

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.topics.family import family_ids
from tests import brute
from tests.conftest import Built


def test_members_differ_in_space_and_case_alone():
    texts = [
        " an",
        "an",
        " An",
        "AN ",
        "ans",
        "\n",
        " ",
        "\u00a0An",
        "STRASSE",
        "straße",
        None,
        None,
        "a\ufffd",
        "a\ufffd",
    ]
    special = [False] * len(texts)
    assert family_ids(texts, special).tolist() == [0, 0, 0, 0, 4, 5, 6, 0, 8, 8, 10, 11, 12, 13]
    special[0] = True
    assert family_ids(texts, special).tolist() == [0, 1, 1, 1, 4, 5, 6, 1, 8, 8, 10, 11, 12, 13]


@given(st.lists(st.text(alphabet="aAbB \n", max_size=3), max_size=12))
def test_two_tokens_share_a_family_if_and_only_if_their_spellings_are_equal(texts: list[str]):
    family = family_ids(texts, [False] * len(texts))
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            same = one.strip().lower() == other.strip().lower() != ""
            assert (family[i] == family[j]) == (same or i == j)
        assert family[i] == min(j for j in range(len(texts)) if family[j] == family[i])


@pytest.mark.parametrize("name", ["built_llama", "built_gpt2"])
def test_counts_are_those_of_plain_loops(name: str, request: pytest.FixtureRequest):
    built: Built = request.getfixturevalue(name)
    whole = brute.compute(built.model, built.dataset, built.context_length, built.overflow)
    with duckdb.connect(str(built.atlas), read_only=True) as connection:
        family = dict(connection.execute("FROM token_family").fetchall())
        ends = "best_token_id, worst_token_id" if whole.gated else "best_token_id, best_token_id"
        neurons = connection.execute(f"SELECT neuron_id, {ends} FROM neuron").fetchall()
        columns = "neuron_id, family_id, bin, n_predicted, n_actual"
        stored = {
            tuple(row[:3]): list(row[3:])
            for row in connection.execute(f"SELECT {columns} FROM family_histogram").fetchall()
        }
        texts = [text for (text,) in connection.execute('SELECT "text" FROM token ORDER BY token_id').fetchall()]
    assert {texts[token].strip().lower() for token in family} >= {"a", "b"}
    counted = {(neuron, family[token]) for neuron, *tokens in neurons for token in tokens if token in family}
    bins = brute.bins_of(whole.counted())
    cells: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0])
    for column, (_, _, predicted, actual) in enumerate(whole.positions()):
        for which, token in enumerate((predicted, actual)):
            for neuron, members in counted:
                if token is not None and family.get(token) == members:
                    cells[neuron, members, int(bins[neuron, column])][which] += 1
    assert {cell[:2] for cell in stored} <= counted
    totals = np.zeros((2, 2), dtype=int)
    for place, found in enumerate((stored, cells)):
        for n_predicted, n_actual in found.values():
            totals[place] += n_predicted, n_actual
    assert totals[0].tolist() == totals[1].tolist()
    assert totals[0].min() > 0
    # A value at a bin's edge may fall on the other side in float32.
    different = [cell for cell in {*stored, *cells} if stored.get(cell) != cells.get(cell)]
    assert len(different) <= 0.002 * len(cells) + 2, different[:5]
    with duckdb.connect(str(built.atlas), read_only=True) as connection:
        curve = "SELECT sum(n_predicted), sum(n_actual) FROM family_curve"
        assert list(connection.execute(curve).fetchone()) == totals[0].tolist()
