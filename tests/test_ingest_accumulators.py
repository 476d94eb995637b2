"""Laws every accumulator keeps: any split, any order, merged or saved and restored, gives the same result."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, is_dataclass

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from atlas.bins import MAX_INTERVAL
from ingest import keys
from ingest.accumulators import ActivationStatistics, ExampleLists, PredictionHistogram, TokenCounts
from ingest.accumulators.examples import BatchRows
from ingest.binning import bin_of

LAYERS, D_MLP, VOCAB, POS = 2, 3, 7, 5


class _Part:
    """One batch of made-up activations: a text of POS positions in each layer."""

    def __init__(self, text_id: int) -> None:
        rng = np.random.default_rng(text_id)
        # Few distinct values, so that texts tie; both signs, zeros and both ends of the histogram.
        values = np.array([-600.0, -1.5, -0.01, 0.0, 0.3, 2.0, 2.0, 700.0], dtype=np.float32)
        self.text_id = text_id
        self.acts = torch.from_numpy(values[rng.integers(0, len(values), (LAYERS, POS, D_MLP))])
        self.bins = bin_of(self.acts).to(torch.uint8)
        self.tokens = torch.from_numpy(rng.integers(0, VOCAB, (3, POS)))
        self.tokens[1, -1] = -1

    def rows(self, layer: int) -> BatchRows:
        return BatchRows(
            self.acts[layer], torch.tensor([0]), torch.tensor([POS]), torch.tensor([self.text_id]), first_position=1
        )


def _examples(lowest: bool) -> tuple[Callable, Callable]:
    def feed(lists: ExampleLists, part: _Part) -> None:
        for layer in range(LAYERS):
            acts = part.acts[layer]
            extreme = (acts.amin(0) if lowest else acts.amax(0))[None]
            group = (torch.arange(D_MLP) + layer * D_MLP)[None]
            key = keys.encode(-extreme if lowest else extreme, torch.full_like(group, part.text_id))
            lists.update(part.rows(layer), extreme, group, key, lowest=lowest)

    return lambda: ExampleLists(LAYERS * D_MLP, 2, 4), feed


def _statistics() -> tuple[Callable, Callable]:
    def feed(statistics: ActivationStatistics, part: _Part) -> None:
        for layer in range(LAYERS):
            statistics.update(layer, part.acts[layer])

    return lambda: ActivationStatistics(LAYERS, D_MLP), feed


def _predictions() -> tuple[Callable, Callable]:
    neuron, token = torch.tensor([0, 0, 1, 4, 5]), torch.tensor([1, 3, 3, 0, 6])
    return (
        lambda: PredictionHistogram(neuron, token, VOCAB, D_MLP),
        lambda histogram, part: histogram.update(part.bins, part.tokens[1], part.tokens[2]),
    )


def _counts() -> tuple[Callable, Callable]:
    return lambda: TokenCounts(VOCAB), lambda counts, part: counts.update(*part.tokens)


CASES = {
    "statistics": _statistics(), "counts": _counts(), "predictions": _predictions(),
    "max": _examples(False), "min": _examples(True),
}  # fmt: skip


def plain(result: object) -> dict[str, np.ndarray]:
    if is_dataclass(result):
        result = {field.name: getattr(result, field.name) for field in fields(result)}
    return {name: np.asarray(values) for name, values in result.items()}


def assert_same(one: object, other: object) -> None:
    one, other = plain(one), plain(other)
    assert one.keys() == other.keys()
    for name, values in one.items():
        if values.dtype.kind == "f" and name in ("mean", "std", "skewness", "kurtosis"):
            np.testing.assert_allclose(values, other[name], rtol=1e-9, err_msg=name)
        else:
            np.testing.assert_array_equal(values, other[name], err_msg=name)


def fed(case: str, parts: list[_Part]) -> object:
    make, feed = CASES[case]
    accumulator = make()
    for part in parts:
        feed(accumulator, part)
    return accumulator


@pytest.mark.parametrize("case", CASES)
class TestLaws:
    @settings(max_examples=25, deadline=None)
    @given(ids=st.lists(st.integers(0, 40), min_size=1, max_size=9, unique=True), data=st.data())
    def test_merged_shards_equal_one_run(self, case: str, ids: list[int], data: st.DataObject) -> None:
        cut = data.draw(st.integers(0, len(ids)))
        order = data.draw(st.permutations(ids))
        left, right = fed(case, [_Part(i) for i in order[:cut]]), fed(case, [_Part(i) for i in order[cut:]])
        one_way, other_way = copy.deepcopy(left), copy.deepcopy(right)
        one_way.merge(copy.deepcopy(right))
        other_way.merge(copy.deepcopy(left))
        whole = fed(case, [_Part(i) for i in ids]).result()
        assert_same(one_way.result(), whole)
        assert_same(other_way.result(), whole)

    def test_restored_state_goes_on_as_if_never_saved(self, case: str) -> None:
        make, feed = CASES[case]
        saved = fed(case, [_Part(1), _Part(2)])
        state = {name: value.clone() for name, value in saved.state_dict().items()}
        assert all(isinstance(value, torch.Tensor) for value in state.values())
        restored = make()
        feed(restored, _Part(9))  # What was there before must not matter.
        restored.load_state_dict(state)
        for accumulator in (saved, restored):
            feed(accumulator, _Part(3))
        assert_same(restored.result(), saved.result())
        assert_same(saved.result(), fed(case, [_Part(1), _Part(2), _Part(3)]).result())

    def test_merging_nothing_changes_nothing(self, case: str) -> None:
        accumulator = fed(case, [_Part(1), _Part(2)])
        before = copy.deepcopy(accumulator).result()
        accumulator.merge(fed(case, []))
        assert_same(accumulator.result(), before)


def test_examples_equal_a_sort() -> None:
    """The two texts of greatest maximum, ties to the lower id, whatever the order of feeding."""
    parts = [_Part(i) for i in (7, 2, 30, 11, 4, 19)]
    found = fed("max", parts).result()
    for neuron in range(LAYERS * D_MLP):
        layer, index = divmod(neuron, D_MLP)
        order = sorted(parts, key=lambda part: (-float(part.acts[layer, :, index].max()), part.text_id))[:2]
        here = found["group"] == neuron
        assert found["text"][here].tolist() == [part.text_id for part in order]
        for place, part in enumerate(order):
            column = part.acts[layer, :, index]
            offset = int(column.argmax())
            assert int(found["position"][here][place]) == 1 + offset
            assert float(found["activation"][here][place]) == float(column.max())
            start, length = int(found["window_start"][here][place]) - 1, int(found["window_length"][here][place])
            assert length == 4
            assert start <= offset < start + length
            decoded = found["window"][here][place] * found["scale"][here][place]
            torch.testing.assert_close(decoded, column[start : start + length], atol=0.02, rtol=0)


def test_example_slots_are_reused() -> None:
    """Memory follows the places, not the texts seen."""
    lists = fed("max", [_Part(i) for i in range(200)])
    assert lists.n_slots == LAYERS * D_MLP * 2
    assert sorted(lists.slots.flatten().tolist()) == list(range(lists.n_slots))


def test_statistics_of_a_constant_have_no_shape() -> None:
    statistics = ActivationStatistics(1, 2)
    statistics.update(0, torch.full((10, 2), 0.1))
    result = statistics.result()
    assert result.std.tolist() == [0.0, 0.0]
    assert torch.isnan(result.skewness).all()
    assert torch.isnan(result.kurtosis).all()


def test_moments_keep_precision_far_from_zero() -> None:
    """Mean 50 times the standard deviation: a large mean must not drown the spread."""
    rng = np.random.default_rng(0)
    values = rng.normal(5.0, 0.1, (4096, 1)).astype(np.float32)
    statistics = ActivationStatistics(1, 1)
    statistics.update(0, torch.from_numpy(values))
    exact = values.astype(np.float64)
    centred = exact - exact.mean()
    assert float(statistics.result().std[0]) == pytest.approx(exact.std(), rel=1e-6)
    kurtosis = (centred**4).mean() / exact.std() ** 4
    assert float(statistics.result().kurtosis[0]) == pytest.approx(kurtosis, rel=1e-5)


def test_intervals_cover_every_bin() -> None:
    from ingest.binning import interval_table

    table = interval_table()
    assert table.min() == -MAX_INTERVAL
    assert table.max() == MAX_INTERVAL
    assert (table[1:] >= table[:-1]).all()
