"""Bins and sort keys, value by value."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given

from atlas.core.bins import N_BINS, ZERO_BIN, bin_edges, bin_interval, interval_edges
from ingest.activations.reduction.reference import bin_of
from ingest.process import sort_keys as keys
from tests import brute

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=True)


def test_edges_are_the_designs() -> None:
    assert [bin_edges(bin) for bin in range(N_BINS)] == brute.edges()
    for bin in range(N_BINS):
        lower, upper = interval_edges(bin_interval(bin))
        assert lower <= bin_edges(bin)[0] < bin_edges(bin)[1] <= upper


@given(FLOATS)
def test_a_value_lies_in_its_bin(value: float) -> None:
    bin = int(bin_of(torch.tensor([value]))[0])
    lower, upper = bin_edges(bin)
    assert lower <= value < upper or (value == math.inf and bin == N_BINS - 1)


def test_every_edge_and_its_neighbours() -> None:
    """Half-open on both sides of zero: the edge itself belongs to the bin above it."""
    for bin in range(1, N_BINS):
        edge = np.float32(bin_edges(bin)[0])
        below, above = np.nextafter(edge, np.float32(-np.inf)), np.nextafter(edge, np.float32(np.inf))
        assert bin_of(torch.tensor([below, edge, above])).tolist() == [bin - 1, bin, bin]


def test_special_values() -> None:
    values = torch.tensor([0.0, -0.0, 1e-40, -1e-40, -math.inf, math.inf])
    assert bin_of(values).tolist() == [ZERO_BIN] * 4 + [0, N_BINS - 1]
    assert 0 <= int(bin_of(torch.tensor([math.nan]))[0]) < N_BINS


def test_bfloat16_is_binned_exactly() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    assert bin_of(values).tolist() == brute.bins_of(values.double().numpy()).tolist()


@given(st.lists(st.tuples(FLOATS, st.integers(0, 2**31 - 1)), min_size=2, max_size=2))
def test_keys_order_by_value_then_lower_id(items: list[tuple[float, int]]) -> None:
    (a, i), (b, j) = items
    one, other = keys.encode(torch.tensor([a, b]), torch.tensor([i, j])).tolist()
    assert (one > other) == (a > b or (a == b and i < j))


@given(FLOATS, st.integers(0, 2**31 - 1))
def test_keys_give_back_what_they_hold(value: float, identity: int) -> None:
    key = keys.encode(torch.tensor([value]), torch.tensor([identity]))
    assert float(keys.decode_values(key)) == value
    assert int(keys.decode_ids(key)) == identity


def test_empty_places_are_below_everything() -> None:
    empty = torch.tensor([keys.EMPTY])
    assert float(keys.decode_values(empty)) == -math.inf
    assert int(keys.decode_ids(empty)) == -1
    assert int(keys.encode(torch.tensor([-math.inf]), torch.tensor([2**31 - 1]))) > keys.EMPTY
