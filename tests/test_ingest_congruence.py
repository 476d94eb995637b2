"""The congruence search against a sort, in plain torch and with the compiled kernels."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from ingest import congruence as module
from ingest.congruence import CongruenceSearch, CpuSearch, search
from ingest.topk import TopLists

KINDS = [CongruenceSearch, CpuSearch]


def integers(rows: int, d: int, seed: int) -> torch.Tensor:
    """Small whole numbers: every product is exact in float32, and ties abound."""
    return torch.randint(-3, 4, (rows, d), generator=torch.Generator().manual_seed(seed)).float()


def truth(matrix: torch.Tensor, k: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and values of the k most extreme entries of each row, ties to the lower id."""
    order = np.argsort(-sign * matrix.numpy(), axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(matrix.numpy(), order, axis=1)


def assert_equals_a_sort(result: module.Congruence, matrix: torch.Tensor, k_tokens: int, k_neurons: int) -> None:
    for direction, sign in (("top", 1), ("bottom", -1)):
        for ranked, whole, k in (
            (result.neuron_token[direction], matrix, k_tokens),
            (result.token_neuron[direction], matrix.T.contiguous(), k_neurons),
        ):
            ids, values = truth(whole, min(k, whole.shape[1]), sign)
            np.testing.assert_array_equal(ranked.ids.numpy(), ids)
            np.testing.assert_array_equal(ranked.values.numpy(), values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("d_vocab", "n_neurons", "k"), [(301, 130, 7), (97, 40, 200), (64, 300, 1), (17, 5, 3)])
def test_lists_equal_a_sort_with_ties(kind: type, d_vocab: int, n_neurons: int, k: int, monkeypatch) -> None:
    # Small tiles, so that lists are carried over many of them, with a ragged tail.
    for name, size in {"NEURON_TILE": 64, "CPU_NEURON_TILE": 48, "TOKEN_TILE": 96}.items():
        monkeypatch.setattr(module, name, size)
    readout, w_out = integers(d_vocab, 6, 1), integers(n_neurons, 6, 2)
    state = kind(readout, n_neurons, k, k + 2)
    half = n_neurons // 2
    state.update(half, w_out[half:])  # Layers arrive in any order.
    state.update(0, w_out[:half])
    assert_equals_a_sort(state.result(), w_out @ readout.T, k, k + 2)


@pytest.mark.parametrize("kind", KINDS)
def test_full_size_tiles(kind: type) -> None:
    readout, w_out = integers(5000, 8, 3), integers(2600, 8, 4)
    state = kind(readout, 2600, 50, 50)
    state.update(0, w_out)
    result = state.result()
    assert_equals_a_sort(result, w_out @ readout.T, 50, 50)
    matrix = (w_out @ readout.T).double()
    centred = matrix - matrix.mean(1, keepdim=True)
    assert ((result.third - (centred**3).sum(1)).abs() <= 1e-5 * (centred.abs() ** 3).sum(1)).all()
    torch.testing.assert_close(result.fourth, (centred**4).sum(1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_lists_when_none_are_wanted(kind: type) -> None:
    readout, w_in = integers(200, 6, 5), integers(60, 6, 6)
    state = kind(readout, 60, 9, 0)
    state.update(0, w_in)
    result = state.result()
    assert result.token_neuron == {}
    np.testing.assert_array_equal(result.neuron_token["top"].ids.numpy(), truth(w_in @ readout.T, 9, 1)[0])


def test_search_reports_its_progress_and_takes_layers_in_the_order_given() -> None:
    readout, w_out = integers(50, 4, 7), integers(30, 4, 8)
    asked, done = [], []

    def layer(index: int) -> torch.Tensor:
        asked.append(index)
        return w_out[index * 10 : index * 10 + 10]

    result = search(layer, [2, 0, 1], readout, d_mlp=10, k_tokens=4, k_neurons=4, progress=done.append)
    assert asked == [2, 0, 1]
    assert sum(done) == 30
    assert_equals_a_sort(result, w_out @ readout.T, 4, 4)


@settings(max_examples=50, deadline=None)
@given(
    items=st.lists(st.tuples(st.integers(0, 3), st.integers(-100, 100)), max_size=60, unique_by=lambda item: item[1]),
    cut=st.integers(0, 60),
    k=st.integers(1, 5),
)
def test_top_lists_do_not_depend_on_the_split(items: list[tuple[int, int]], cut: int, k: int) -> None:
    whole, parts = TopLists(4, k), TopLists(4, k)
    for lists, slices in ((whole, [items]), (parts, [items[cut:], items[:cut]])):
        for part in slices:
            rows, keys = torch.tensor(part, dtype=torch.int64).view(-1, 2).T
            lists.update(rows, keys)
    assert whole.keys.tolist() == parts.keys.tolist()
    for row in range(4):
        best = sorted((key for r, key in items if r == row), reverse=True)[:k]
        assert whole.keys[row][: len(best)].tolist() == best
