"""Laws every statistic keeps: any split, any order, merged, saved and restored, or written and read, gives the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from itertools import chain, pairwise

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given

from atlas.api.calls import OPTIONS
from atlas.core.bins import MAX_INTERVAL
from atlas.core.info import AtlasInfo
from ingest.activations.batch import PreparedBatch
from ingest.activations.counts import TokenCounts
from ingest.activations.example_lists import BatchRows, ExampleLists
from ingest.activations.hashing import text_hash
from ingest.activations.predictions import PredictionHistogram
from ingest.activations.reduction import reference
from ingest.activations.reduction.choice import layer_reducer
from ingest.activations.reduction.reference import Runs, bin_of
from ingest.activations.registry import STATISTICS
from ingest.activations.statistic import BatchEnd, LayerBatch, Plan, Span, Statistic, StreamSettings
from ingest.activations.statistics import ActivationStatistics
from ingest.activations.text_store import TextStore
from ingest.congruence.pairs import NeuronFamilies
from ingest.process import sort_keys as keys
from ingest.process.cursor import Cursor
from ingest.texts.tokens import Text, TextBatch

LAYERS, D_MLP, VOCAB, POS = 2, 3, 7, 5
WIDTH = POS + 2
CPU = torch.device("cpu")
SETTINGS = StreamSettings(
    d_vocab=VOCAB,
    gated=True,
    count_bos=False,
    has_bos=True,
    top_texts=3,
    window=4,
    fingerprint="f",
    seed=0,
    statistics=[option.flag for option in OPTIONS],
)
PLAN = Plan(
    LAYERS,
    D_MLP,
    CPU,
    SETTINGS,
    np.array([0, 0, 1, 4, 5]),
    np.array([1, 3, 3, 0, 6]),
    NeuronFamilies(np.array([0, 2, 5]), np.array([1, 1, 3]), np.array([0, 1, 1, 3, 3, 5, 6])),
    staged=False,
)
TEXTS = TextStore()
"""Every text, whose predictions differ by text and position."""
for number in range(200):
    TEXTS.add(Text(number, number, 0, np.zeros(WIDTH, np.int32)), number + np.arange(WIDTH))


def hash_of(text_id: np.ndarray) -> np.ndarray:
    return np.array([text_hash("f", 0, number, 0) for number in text_id.tolist()], dtype=np.int64)


class _Part:
    """One batch of made-up activations: texts of POS and POS - 2 positions, with BOS and padding around them."""

    def __init__(self, number: int) -> None:
        rng = np.random.default_rng(number)
        # Few distinct values, so that texts tie; both signs, zeros and both ends of the histogram.
        values = np.array([-600.0, -1.5, -0.01, 0.0, 0.3, 2.0, 2.0, 700.0], dtype=np.float32)
        self.flat = torch.from_numpy(values[rng.integers(0, len(values), (LAYERS, 2 * WIDTH, D_MLP))])
        self.text_ids = [2 * number, 2 * number + 1]
        self.runs = Runs.of(np.array([1, WIDTH + 1]), np.array([POS, POS - 2]), "cpu")
        self.acts = [self.flat[:, 1 : 1 + POS], self.flat[:, WIDTH + 1 : WIDTH + POS - 1]]
        self.bins = bin_of(torch.cat(self.acts, 1)).to(torch.uint8)
        self.tokens = torch.from_numpy(rng.integers(0, VOCAB, (3, 2 * POS - 2)))
        self.tokens[1, -1] = -1
        self.sides = torch.from_numpy(rng.integers(-1, 2, (LAYERS, 2, 2 * POS - 2, D_MLP)))
        self.index = torch.tensor([*range(1, 1 + POS), *range(WIDTH + 1, WIDTH + POS - 1)])

    @cached_property
    def ready(self) -> PreparedBatch:
        ids, texts = np.zeros((2, WIDTH), np.int64), [TEXTS.texts[number].text for number in self.text_ids]
        return PreparedBatch(
            TextBatch(texts, ids, np.array([POS + 1, POS - 1]), Cursor()),
            torch.from_numpy(ids),
            self.runs,
            self.index,
            torch.tensor(self.text_ids),
            torch.from_numpy(hash_of(np.array(self.text_ids))),
            *self.tokens[:2],
            None,
        )

    def rows(self, layer: int) -> BatchRows:
        return BatchRows(self.flat[layer], self.runs, torch.tensor(self.text_ids), first_position=1)

    def feed(self, statistic: Statistic) -> None:
        """What the reader does in one batch."""
        for layer in range(LAYERS):
            extremes = [torch.stack([getattr(text[layer], end)(0) for text in self.acts]) for end in ("amax", "amin")]
            bins = self.bins[layer].clone()
            statistic.update_layer(LayerBatch(layer, self.flat[layer], self.ready, bins, *extremes, 0))
            rows = self.flat[layer][self.index], *self.sides[layer].float()
            text_id = torch.tensor(self.text_ids)[self.index // WIDTH]
            statistic.update_sides(layer, *rows, text_id, self.index % WIDTH)
        end = BatchEnd(self.ready, self.bins, self.tokens[2], 0)
        counts = statistic.pending(end)
        assert statistic.settle(end, [] if counts is None else counts.tolist()) == set()


def _examples(lowest: bool, reference: bool = False) -> tuple[Callable, Callable]:
    def feed(lists: ExampleLists, part: _Part) -> None:
        for layer in range(LAYERS):
            acts = [text[layer] for text in part.acts]
            extreme = torch.stack([text.amin(0) if lowest else text.amax(0) for text in acts])
            group = (torch.arange(D_MLP) + layer * D_MLP).expand(2, D_MLP)
            ids = torch.tensor(part.text_ids)[:, None].expand(2, D_MLP)
            lists.update(
                part.rows(layer), extreme, group, keys.encode(-extreme if lowest else extreme, ids), lowest=lowest
            )

    return lambda: ExampleLists(LAYERS * D_MLP, 3, 4, reference=reference), feed


def _statistics(reduce: Callable) -> tuple[Callable, Callable]:
    def feed(statistics: ActivationStatistics, part: _Part) -> None:
        for layer in range(LAYERS):
            bins = torch.zeros(part.runs.n_rows, D_MLP, dtype=torch.uint8)
            highest, lowest = torch.zeros(2, 2, D_MLP)
            statistics.update(layer, part.flat[layer], part.runs, bins, highest, lowest)
            assert torch.equal(bins, part.bins[layer])
            assert torch.equal(highest, torch.stack([text[layer].amax(0) for text in part.acts]))
            assert torch.equal(lowest, torch.stack([text[layer].amin(0) for text in part.acts]))

    return lambda: ActivationStatistics(LAYERS, D_MLP, reduce=reduce), feed


def _statistic(kind: type[Statistic]) -> tuple[Callable, Callable]:
    return lambda: kind.make(PLAN), lambda statistic, part: part.feed(statistic)


KINDS = {kind.name: kind for kind in STATISTICS}
CASES = {name: _statistic(kind) for name, kind in KINDS.items()} | {
    "compiled sums": _statistics(layer_reducer(CPU)),
    "sums in torch": _statistics(reference.reduce_layer),
    "max": _examples(False),
    "max in torch": _examples(False, reference=True),
    "min": _examples(True),
    "min in torch": _examples(True, reference=True),
}


def tables_of(statistic: Statistic) -> dict[str, pa.Table]:
    """Everything that it writes, by table."""
    tables: dict[str, list[pa.Table]] = {}
    for table, columns in ((statistic.axis.removesuffix("_id"), statistic.columns()), *statistic.rows(TEXTS)):
        arrays = {name: v if isinstance(v, pa.Array) else pa.array(v) for name, v in columns.items()}
        tables.setdefault(table, []).append(pa.table(arrays))
    return {table: pa.concat_tables(parts) for table, parts in tables.items()}


def written(accumulator: Statistic | ExampleLists) -> dict[str, list]:
    """What an accumulator ends with, as lists that compare."""
    if isinstance(accumulator, ExampleLists):
        return {name: values.tolist() for name, values in accumulator.result().items()}
    return {table: rows.to_pydict() for table, rows in tables_of(accumulator).items()}


def fed(case: str, parts: list[_Part]) -> Statistic | ExampleLists:
    make, feed = CASES[case]
    accumulator = make()
    for part in parts:
        feed(accumulator, part)
    return accumulator


@pytest.mark.parametrize("case", CASES)
class TestLaws:
    @given(ids=st.lists(st.integers(0, 40), min_size=1, max_size=9, unique=True), data=st.data())
    def test_merged_shards_equal_one_run(self, case: str, ids: list[int], data: st.DataObject) -> None:
        cut = data.draw(st.integers(0, len(ids)))
        order = data.draw(st.permutations(ids))
        left, right = fed(case, [_Part(i) for i in order[:cut]]), fed(case, [_Part(i) for i in order[cut:]])
        one_way, other_way = copy.deepcopy(left), copy.deepcopy(right)
        one_way.merge(copy.deepcopy(right))
        other_way.merge(copy.deepcopy(left))
        whole = written(fed(case, [_Part(i) for i in ids]))
        assert written(one_way) == whole
        assert written(other_way) == whole

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
        assert written(restored) == written(saved) == written(fed(case, [_Part(1), _Part(2), _Part(3)]))

    def test_merging_nothing_changes_nothing(self, case: str) -> None:
        accumulator = fed(case, [_Part(1), _Part(2)])
        before = written(copy.deepcopy(accumulator))
        accumulator.merge(fed(case, []))
        assert written(accumulator) == before


@pytest.mark.parametrize("name", KINDS)
class TestLawsOfRows:
    def read(self, name: str, tables: dict[str, pa.Table], low: int, high: int, n_positions: int) -> Statistic:
        """A statistic of some neurons (or tokens), from rows."""
        known = {"n_positions": n_positions, "top_texts": 3, "window": 4, "gated": True, "d_vocab": VOCAB}
        info = AtlasInfo(**{f.name: (known | {"d_mlp": D_MLP}).get(f.name) for f in fields(AtlasInfo)})
        axis = KINDS[name].axis

        def rows(table: str) -> pa.Table:
            whole = tables[table]
            if axis not in whole.column_names:  # Columns alone, a row each.
                whole = whole.append_column(axis, pa.array(np.arange(len(whole), dtype=np.int32)))
            return whole.filter((pc.field(axis) >= low) & (pc.field(axis) < high))

        return KINDS[name].from_rows(Span(info, low, high, rows, hash_of))

    def test_rows_are_those_of_what_is_made_of_rows(self, name: str) -> None:
        """Of all neurons, and of some at a time."""
        tables = tables_of(fed(name, [_Part(i) for i in range(9)]))
        n, n_positions = VOCAB if KINDS[name].axis == "token_id" else LAYERS * D_MLP, 9 * (2 * POS - 2)
        for cuts in ([0, n], [0, 2, 5, n]):
            parts = [tables_of(self.read(name, tables, low, high, n_positions)) for low, high in pairwise(cuts)]
            for table, rows in tables.items():
                assert pa.concat_tables([part[table] for part in parts]).to_pydict() == rows.to_pydict(), table

    def test_what_is_made_of_rows_merges_alike(self, name: str) -> None:
        groups = [[_Part(1), _Part(7)], [_Part(2)], [_Part(5), _Part(3), _Part(4)]]
        n = VOCAB if KINDS[name].axis == "token_id" else LAYERS * D_MLP
        whole = None
        for group in groups:
            part = self.read(name, tables_of(fed(name, group)), 0, n, len(group) * (2 * POS - 2))
            whole = part if whole is None else (whole.merge(part), whole)[1]
        assert written(whole) == written(fed(name, list(chain(*groups))))


@pytest.mark.parametrize("case", ["max", "max in torch", "min", "min in torch"])
def test_examples_equal_a_sort(case: str) -> None:
    """The three texts of most extreme value, ties to the lower id, whatever the order of feeding."""
    sign = -1 if case.startswith("min") else 1
    parts = [_Part(i) for i in (7, 2, 30, 11, 4, 19)]
    texts = {text_id: acts for part in parts for text_id, acts in zip(part.text_ids, part.acts, strict=True)}
    found = fed(case, parts).result()
    for neuron in range(LAYERS * D_MLP):
        layer, index = divmod(neuron, D_MLP)
        order = sorted(texts, key=lambda i: (-float((sign * texts[i][layer, :, index]).max()), i))[:3]
        here = found["group"] == neuron
        assert found["text"][here].tolist() == order
        assert found["rank"][here].tolist() == [1, 2, 3]
        for place, text_id in enumerate(order):
            column = texts[text_id][layer, :, index]
            offset = (sign * column).tolist().index(float((sign * column).max()))
            assert int(found["position"][here][place]) == 1 + offset
            assert float(found["activation"][here][place]) == float(column[offset])
            start, length = int(found["window_start"][here][place]) - 1, int(found["window_length"][here][place])
            assert length == min(4, len(column))
            assert start <= offset < start + length
            window = found["window"][here][place]
            assert window[length:].tolist() == [0] * (4 - length)
            decoded = window[:length] * found["scale"][here][place]
            torch.testing.assert_close(decoded, column[start : start + length], atol=0.02, rtol=0)


@given(order=st.permutations(range(12)), lowest=st.booleans())
def test_compiled_and_torch_lists_are_equal(order: list[int], lowest: bool) -> None:
    both = []
    for reference_version in (False, True):
        make, feed = _examples(lowest, reference_version)
        lists = make()
        for number in order:
            feed(lists, _Part(number))
        assert sorted(lists.slots.flatten().tolist()) == list(range(lists.n_slots))
        both.append(written(lists))
    assert both[0] == both[1]


def test_room_for_full_lists_is_taken_once() -> None:
    make, feed = _examples(lowest=False)
    lists, same = ExampleLists(LAYERS * D_MLP, 3, 4, full=True), make()
    for number in range(3):
        feed(lists, _Part(number))
        feed(same, _Part(number))
        assert len(lists.pool["window"]) == lists.keys.numel()
    assert written(lists) == written(same)
    assert lists.state_dict()["pool.text"].shape == (lists.n_slots,)


@pytest.mark.parametrize("case", ["max", "max in torch"])
def test_example_slots_are_reused(case: str) -> None:
    """Memory follows the places, not the texts seen."""
    lists = fed(case, [_Part(i) for i in range(100)])
    assert lists.n_slots == LAYERS * D_MLP * 3
    assert len(lists.pool["text"]) == lists.n_slots
    assert sorted(lists.slots.flatten().tolist()) == list(range(lists.n_slots))


def test_counts_by_hand() -> None:
    """Three positions: the last has no next token (-1), which is counted for no token, the first one or the last."""
    counts = TokenCounts(3)
    counts.update(torch.tensor([0, 2, 2]), torch.tensor([2, 2, -1]), torch.tensor([1, 0, 1]))
    found = {name: values.tolist() for name, values in counts.columns().items()}
    assert found == {"n_input": [1, 0, 2], "n_actual": [0, 0, 2], "n_predicted": [1, 2, 0]}


def test_prediction_cells_by_hand() -> None:
    """Two layers of two neurons, pairs (neuron 0, token 1), (1, 0), (3, 0), (3, 2); bins differ by position."""
    histogram = PredictionHistogram(torch.tensor([0, 1, 3, 3]), torch.tensor([1, 0, 0, 2]), 3, 2)
    bins = torch.tensor([[[5, 6], [7, 8], [9, 10]], [[15, 16], [17, 18], [19, 20]]], dtype=torch.uint8)
    actual, predicted = torch.tensor([0, 2, -1]), torch.tensor([1, 1, 0])
    assert histogram.totals(actual, predicted).tolist() == [4, 3]  # of predicted tokens, and of actual ones
    for _ in range(2):
        histogram.update(bins, actual, predicted)
    result = histogram.result()
    rows = zip(
        *(getattr(result, name).tolist() for name in ("neuron", "token", "bin", "n_predicted", "n_actual")), strict=True
    )
    assert list(rows) == [
        (0, 1, 5, 2, 0),
        (0, 1, 7, 2, 0),
        (1, 0, 6, 0, 2),
        (1, 0, 10, 2, 0),
        (3, 0, 16, 0, 2),
        (3, 0, 20, 2, 0),
        (3, 2, 18, 0, 2),
    ]


def columns_of(statistics: ActivationStatistics) -> dict[str, np.ndarray]:
    """Its columns of `neuron`, NULL as NaN."""
    columns = statistics.columns().items()
    return {name: v.to_numpy(zero_copy_only=False) if isinstance(v, pa.Array) else v for name, v in columns}


def statistics_of(values: torch.Tensor) -> dict[str, np.ndarray]:
    """Columns of one layer over one text."""
    n, d_mlp = values.shape
    statistics = ActivationStatistics(1, d_mlp)
    runs = Runs.of(np.array([0]), np.array([n]), "cpu")
    statistics.update(0, values, runs, torch.empty(n, d_mlp, dtype=torch.uint8), *torch.empty(2, 1, d_mlp))
    return columns_of(statistics)


def test_statistics_of_a_constant_have_no_shape() -> None:
    found = statistics_of(torch.full((10, 2), 0.1))
    assert found["activation_std"].tolist() == [0.0, 0.0]
    assert np.isnan(found["activation_skewness"]).all()
    assert np.isnan(found["activation_kurtosis"]).all()


@pytest.mark.parametrize("reduce", [layer_reducer(torch.device("cpu")), reference.reduce_layer])
@pytest.mark.parametrize(("size", "finite"), [(2.0**19, True), (2.0**22, False), (np.inf, False), (np.nan, False)])
def test_powers_that_overflow_are_noticed(reduce: Callable, size: float, finite: bool) -> None:
    """The sums of fourth powers hold activations up to about 2^20, more than any model has."""
    statistics, runs = ActivationStatistics(2, 2, reduce=reduce), Runs.of(np.array([0]), np.array([4]), "cpu")
    values = torch.tensor([[0.0, size], [1.0, -size], [2.0, size], [3.0, -size]])
    for layer, part in ((0, torch.ones(4, 2)), (1, values)):
        statistics.update(layer, part, runs, torch.empty(4, 2, dtype=torch.uint8), *torch.empty(2, 1, 2))
    assert bool(statistics.finite()) == finite


@given(st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=12), min_size=2, max_size=5))
def test_moments_of_any_parts_are_those_of_all_values(samples: list[list[int]]) -> None:
    """By their definitions, in float64; whatever the values, and however they are divided."""
    total = ActivationStatistics(1, 1)
    for sample in samples:
        part = ActivationStatistics(1, 1)
        n, values = len(sample), torch.tensor(sample, dtype=torch.float32)[:, None]
        runs = Runs.of(np.array([0]), np.array([n]), "cpu")
        part.update(0, values, runs, torch.empty(n, 1, dtype=torch.uint8), *torch.empty(2, 1, 1))
        total.merge(part)
    found, values = columns_of(total), np.concatenate(samples).astype(float)
    std = values.std()
    assert [found["activation_mean"][0], found["activation_std"][0]] == pytest.approx(
        [values.mean(), std], rel=1e-6, abs=1e-9
    )
    if std > 0:
        scaled = (values - values.mean()) / std
        shape = [found["activation_skewness"][0], found["activation_kurtosis"][0]]
        assert shape == pytest.approx([(scaled**3).mean(), (scaled**4).mean()], rel=1e-5, abs=1e-5)
    else:
        assert np.isnan(found["activation_kurtosis"][0])


@pytest.mark.parametrize(("mean", "std"), [(5.0, 0.1), (100.0, 0.1), (-1000.0, 1.0)])
def test_moments_keep_precision_far_from_zero(mean: float, std: float) -> None:
    """Mean 50 to 1,000 times the standard deviation: a large mean must not drown the spread."""
    rng = np.random.default_rng(0)
    values = rng.normal(mean, std, (4096, 1)).astype(np.float32)
    found = statistics_of(torch.from_numpy(values))
    exact = values.astype(np.float64)
    centred = exact - exact.mean()
    assert found["activation_std"][0] == pytest.approx(exact.std(), rel=1e-6)
    kurtosis = (centred**4).mean() / exact.std() ** 4
    assert found["activation_kurtosis"][0] == pytest.approx(kurtosis, rel=1e-5)


def test_intervals_cover_every_bin() -> None:
    from ingest.activations.reduction.reference import interval_table

    table = interval_table()
    assert table.min() == -MAX_INTERVAL
    assert table.max() == MAX_INTERVAL
    assert (table[1:] >= table[:-1]).all()
