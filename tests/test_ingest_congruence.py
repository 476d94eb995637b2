"""The congruence search against a sort, in plain torch and with the compiled kernels."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from ingest.congruence import cpu
from ingest.congruence import reference as reference_module
from ingest.congruence.cpu import CpuSearch
from ingest.congruence.pairs import exclusive_pairs, gap, hub_count
from ingest.congruence.reference import CongruenceSearch
from ingest.congruence.result import Congruence, RankedList, congruence_of, merge_states
from ingest.congruence.search import search
from ingest.congruence.topk import TopLists
from ingest.errors import CheckpointError, RankError
from ingest.process import error_bound
from ingest.process import sort_keys as keys

SIDES = (("top", 1), ("bottom", -1))
KINDS = {
    "torch": CongruenceSearch,
    "float32": CpuSearch,
    "exact": lambda *args, **options: CpuSearch(*args, moments=False, dtype=torch.float32, **options),
    "bfloat16": lambda *args, **options: CpuSearch(*args, moments=False, dtype=torch.bfloat16, **options),
}
EXACT = ["exact", "bfloat16"]


def integers(rows: int, d: int, seed: int) -> torch.Tensor:
    """Small whole numbers: every product is exact in float32, and ties abound."""
    return torch.randint(-3, 4, (rows, d), generator=torch.Generator().manual_seed(seed)).float()


def normal(rows: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, d, generator=torch.Generator().manual_seed(seed))


def truth(matrix: np.ndarray, k: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and values of the k most extreme entries of each row, ties to the lower id."""
    order = np.argsort(-sign * matrix, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(matrix, order, axis=1)


def assert_equals_a_sort(result: Congruence, matrix: np.ndarray, k_tokens: int, k_neurons: int) -> None:
    for direction, sign in SIDES:
        for ranked, whole, k in (
            (result.neuron_token[direction], matrix, k_tokens),
            (result.token_neuron[direction], matrix.T, k_neurons),
        ):
            ids, values = truth(whole, min(k, whole.shape[1]), sign)
            np.testing.assert_array_equal(ranked.ids.numpy(), ids)
            np.testing.assert_array_equal(ranked.values.numpy(), values)


def keys_of(ranked: dict[str, RankedList]) -> torch.Tensor:
    """Keys of both directions' lists, stacked (see `ingest.process.sort_keys`): `ranked_of` undoes it."""
    stacked = [
        torch.where(part.ids < 0, keys.EMPTY, keys.encode(part.values * sign, part.ids.clamp(min=0)))
        for sign, part in ((sign, ranked[direction]) for direction, sign in SIDES)
    ]
    return torch.stack(stacked)


def merged(parts: list[Congruence]) -> Congruence:
    """`merge_states` over results."""

    def state(part: Congruence) -> dict[str, torch.Tensor]:
        neuron_keys = keys_of(part.neuron_token)
        token_keys = keys_of(part.token_neuron) if part.token_neuron else neuron_keys.new_empty((2, 0, 0))
        nothing = torch.zeros(2, 0, dtype=torch.float64)
        powers = nothing if part.third is None or part.fourth is None else torch.stack([part.third, part.fourth])
        return {"neuron_keys": neuron_keys, "token_keys": token_keys, "powers": powers}

    return congruence_of(merge_states([state(part) for part in parts]))


def assert_same(one: Congruence, other: Congruence) -> None:
    for lists, others in ((one.neuron_token, other.neuron_token), (one.token_neuron, other.token_neuron)):
        assert lists.keys() == others.keys()
        for direction in lists:
            np.testing.assert_array_equal(lists[direction].ids.numpy(), others[direction].ids.numpy())
            np.testing.assert_array_equal(lists[direction].values.numpy(), others[direction].values.numpy())
    for sums, more in ((one.third, other.third), (one.fourth, other.fourth)):
        np.testing.assert_array_equal(sums, more)


def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that lists are carried over many tiles, with a ragged last one."""
    monkeypatch.setattr(cpu, "NEURON_TILE", 48)
    monkeypatch.setattr(cpu, "TOKEN_TILE", 128)
    monkeypatch.setattr(reference_module, "TILE_BYTES", {"cpu": 64 * 256 * 4})


def exact_products(w_out: torch.Tensor, readout: torch.Tensor) -> np.ndarray:
    return (w_out.double() @ readout.double().T).float().numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("d_vocab", "n_neurons", "k"), [(301, 130, 7), (97, 40, 200), (64, 300, 1), (17, 5, 3)])
def test_lists_equal_a_sort_with_ties(kind: str, d_vocab: int, n_neurons: int, k: int, monkeypatch) -> None:
    small_tiles(monkeypatch)
    readout, w_out = integers(d_vocab, 6, 1), integers(n_neurons, 6, 2)
    state = KINDS[kind](readout, n_neurons, k, k + 2)
    half = n_neurons // 2
    state.update(half, w_out[half:])  # Layers arrive in any order.
    state.update(0, w_out[:half])
    assert_equals_a_sort(state.result(), (w_out @ readout.T).numpy(), k, k + 2)


@pytest.mark.parametrize("kind", KINDS)
def test_full_size_tiles(kind: str) -> None:
    readout, w_out = integers(4300, 8, 3), integers(1600, 8, 4)
    state = KINDS[kind](readout, 1600, 50, 50)
    state.update(0, w_out)
    result = state.result()
    matrix = (w_out @ readout.T).double()
    assert_equals_a_sort(result, matrix.float().numpy(), 50, 50)
    if kind in EXACT:
        assert result.third is None
        assert result.fourth is None
        return
    centred = matrix - matrix.mean(1, keepdim=True)
    assert ((result.third - (centred**3).sum(1)).abs() <= 1e-5 * (centred.abs() ** 3).sum(1)).all()
    torch.testing.assert_close(result.fourth, (centred**4).sum(1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["torch", "float32"])
@pytest.mark.parametrize("d_vocab", [700, 704, 65])
def test_float32_lists_are_right_to_rounding(kind: str, d_vocab: int, monkeypatch) -> None:
    """Every value is near the truth, nothing that is left out is greater, and both lists give a pair one value."""
    small_tiles(monkeypatch)
    readout, w_out = normal(d_vocab, 33, 5), normal(210, 33, 6)
    state = KINDS[kind](readout, 210, 9, 11)
    state.update(0, w_out)
    result, matrix = state.result(), (w_out.double() @ readout.double().T).numpy()
    pairs: dict[tuple[int, int], float] = {}
    for direction, sign in SIDES:
        for ranked, whole, swap in (
            (result.neuron_token[direction], matrix, False),
            (result.token_neuron[direction], matrix.T, True),
        ):
            ids, values = ranked.ids.numpy(), ranked.values.numpy()
            np.testing.assert_allclose(values, np.take_along_axis(whole, ids, axis=1), atol=1e-5)
            np.testing.assert_allclose(values, truth(whole, ids.shape[1], sign)[1], atol=1e-5)
            for row, column in np.ndindex(ids.shape):
                pair = (int(ids[row, column]), row) if swap else (row, int(ids[row, column]))
                assert pairs.setdefault(pair, float(values[row, column])) == values[row, column]


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("d_vocab", [700, 704, 65])
def test_exact_lists_are_the_products_rounded_once(kind: str, d_vocab: int, monkeypatch) -> None:
    small_tiles(monkeypatch)
    readout, w_out = normal(d_vocab, 33, 5), normal(210, 33, 6)
    state = KINDS[kind](readout, 210, 9, 11)
    state.update(0, w_out)
    assert_equals_a_sort(state.result(), exact_products(w_out, readout), 9, 11)


def hostile(rows: int, d: int, seed: int, kind: str) -> torch.Tensor:
    """Vectors that bfloat16 cannot tell apart, or of very different sizes."""
    rng = np.random.default_rng(seed)
    if kind == "twins":  # Differ below bfloat16's resolution only.
        matrix = rng.standard_normal((1, d)) * (1 + 1e-5 * rng.standard_normal((rows, d)))
    elif kind == "scales":
        matrix = rng.standard_normal((rows, d)) * 10.0 ** rng.uniform(-9, 9, (rows, 1))
    elif kind == "spikes":
        matrix = rng.standard_normal((rows, d)) * 10.0 ** rng.choice([-6, 0, 6], (rows, d))
    elif kind == "equal":
        matrix = np.repeat(rng.standard_normal((1, d)), rows, 0)
    elif kind == "few":  # Many rows the same, and zeros.
        matrix = rng.standard_normal((3, d))[rng.integers(0, 3, rows)] * rng.integers(0, 2, (rows, 1))
    elif kind == "offset":  # All far from the origin: great products, small differences.
        matrix = 1000 + rng.standard_normal((rows, d))
    else:
        matrix = rng.standard_normal((rows, d)) * 1e-22  # Products among the denormals.
    return torch.from_numpy(matrix.astype(np.float32))


_HOSTILE = ("twins", "scales", "spikes", "equal", "few", "offset", "tiny")


@given(
    sides=st.tuples(st.sampled_from(_HOSTILE), st.sampled_from(_HOSTILE)),
    shape=st.tuples(st.integers(1, 200), st.integers(1, 90), st.integers(1, 70)),
    k=st.integers(1, 12),
    seed=st.integers(0, 2**16),
)
def test_the_certificate_loses_nothing(sides, shape, k, seed) -> None:
    """The lists are those of exact products, even where the cheap ones say nothing."""
    d_vocab, n_neurons, d = shape
    readout, w_out = hostile(d_vocab, d, seed, sides[0]), hostile(n_neurons, d, seed + 1, sides[1])
    state = KINDS["bfloat16"](readout, n_neurons, k, k)
    state.update(0, w_out)
    result, matrix = state.result(), exact_products(w_out, readout)
    for direction, sign in SIDES:
        for ranked, whole in ((result.neuron_token[direction], matrix), (result.token_neuron[direction], matrix.T)):
            size = np.abs(whole).max(initial=0.0)
            values = truth(whole, min(k, whole.shape[1]), sign)[1]
            np.testing.assert_allclose(ranked.values.numpy(), values, rtol=2e-7, atol=1e-13 * size)


@given(
    sides=st.tuples(st.sampled_from(_HOSTILE), st.sampled_from(_HOSTILE)),
    d=st.integers(1, 300),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 2**16),
)
def test_products_stay_within_the_certificate(sides, d, dtype, seed) -> None:
    w, r = hostile(40, d, seed, sides[0]), hostile(64, d, seed + 1, sides[1])
    given_w, given_r = w.to(dtype), r.to(dtype)
    product = (given_w @ given_r.T).double()
    rows, columns = error_bound.row_bound(w, given_w).double(), error_bound.column_bound(r, given_r, 1).double()
    bound = rows.T @ columns + error_bound.ROUNDING[dtype] * product.abs() + 1e-30
    assert ((w.double() @ r.double().T - product).abs() <= bound).all()


def test_values_depend_on_neither_tiles_nor_threads_nor_dtype(monkeypatch) -> None:
    readout, w_in = normal(1000, 40, 7), normal(300, 40, 8)

    def found(tile_bytes: int | None, dtype: torch.dtype) -> Congruence:
        state = CpuSearch(readout, 300, 12, 12, moments=False, tile_bytes=tile_bytes, dtype=dtype)
        state.update(0, w_in)
        return state.result()

    expected, threads = found(None, torch.bfloat16), torch.get_num_threads()
    assert_same(found(1, torch.float32), expected)
    monkeypatch.setattr(cpu, "TOKEN_TILE", 192)
    try:
        torch.set_num_threads(1)
        assert_same(found(1 << 17, torch.bfloat16), expected)
    finally:
        torch.set_num_threads(threads)


def test_tile_bytes_bound_what_is_held() -> None:
    readout = normal(4096, 8, 9)
    blocks = [CpuSearch(readout, 4096, 5, 5, tile_bytes=size).block for size in (1, 1 << 21, None)]
    assert blocks[0] == cpu.LEAST_NEURONS
    assert blocks[0] < blocks[1] < blocks[2] == cpu.NEURON_TILE
    assert blocks[1] * 4096 * 4.5 <= 1 << 21


def test_huge_weights_are_not_rounded_to_bfloat16(monkeypatch) -> None:
    monkeypatch.setattr(cpu, "bfloat16_pays", lambda device: True)
    small = normal(70, 8, 10)
    assert CpuSearch(small, 9, 5, 0, moments=False).dtype == torch.bfloat16
    assert CpuSearch(small * 1e20, 9, 5, 0, moments=False).dtype == torch.float32
    assert CpuSearch(small, 9, 5, 5).dtype == torch.float32  # Moments need true products.


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_lists_when_none_are_wanted(kind: str) -> None:
    readout, w_in = integers(200, 6, 5), integers(60, 6, 6)
    state = KINDS[kind](readout, 60, 9, 0)
    state.update(0, w_in)
    result = state.result()
    assert result.token_neuron == {}
    ids, _ = truth((w_in @ readout.T).numpy(), 9, 1)
    np.testing.assert_array_equal(result.neuron_token["top"].ids.numpy(), ids)


@pytest.mark.parametrize("cls", [CongruenceSearch, CpuSearch])
def test_reduced_precision_elsewhere_in_the_process_does_not_reach_the_search(cls: type) -> None:
    readout, w_out = normal(300, 64, 11), normal(40, 64, 12)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        state = cls(readout, 40, 5, 5)
        state.update(0, w_out)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    _, values = truth((w_out.double() @ readout.double().T).numpy(), 5, 1)
    np.testing.assert_allclose(state.result().neuron_token["top"].values.numpy(), values, atol=1e-4)


class TestLayers:
    """`search`: some of the layers, stopped and gone on with, shared and merged."""

    readout, w_out = normal(150, 12, 13), normal(60, 12, 14)

    def run(self, order: list[int], **options) -> Congruence:
        def layer(index: int) -> torch.Tensor:
            return self.w_out[index * 10 : index * 10 + 10]

        fixed = {"d_mlp": 10, "n_layers": 6, "k_tokens": 7, "k_neurons": 5}
        return search(layer, self.readout, order, **{**fixed, **options})

    def test_it_reports_progress_and_takes_layers_in_the_order_given(self) -> None:
        asked, done = [], []
        readout, w_out = integers(50, 4, 7), integers(30, 4, 8)

        def layer(index: int) -> torch.Tensor:
            asked.append(index)
            return w_out[index * 10 : index * 10 + 10]

        result = search(layer, readout, [2, 0, 1], d_mlp=10, k_tokens=4, k_neurons=4, progress=done.append)
        assert asked == [2, 0, 1]
        assert sum(done) == 30
        assert_equals_a_sort(result, (w_out @ readout.T).numpy(), 4, 4)

    @pytest.mark.parametrize("moments", [True, False])
    def test_resumed_after_any_layer_it_ends_the_same(self, moments: bool) -> None:
        order, states = [3, 0, 5, 1, 4, 2], []
        whole = self.run(order, moments=moments, on_layer=lambda n, state: states.append((n, state())))
        assert [n for n, _ in states] == [1, 2, 3, 4, 5, 6]
        for n, state in states:
            assert state["layers"].tolist() == order[:n]
            more, done = [], []
            again = self.run(
                order,
                moments=moments,
                state=state,
                on_layer=lambda n, _, more=more: more.append(n),
                progress=done.append,
            )
            assert_same(again, whole)
            assert more == list(range(n + 1, 7))
            assert sum(done) == 60

    def test_what_on_layer_raises_is_raised(self) -> None:
        def stop(n: int, _) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.run([0, 1], on_layer=stop)

    @pytest.mark.parametrize("options", [{}, {"moments": False}, {"k_neurons": 0, "moments": False}])
    def test_shared_out_and_merged_it_is_the_same(self, options: dict) -> None:
        whole = self.run([0, 1, 2, 3, 4, 5], **options)
        parts = [self.run(order, **options) for order in ([4, 1], [], [0, 5, 2], [3])]
        assert_same(merged(parts), whole)
        assert_same(merged(parts[::-1]), whole)

    def test_a_part_is_empty_where_it_has_not_been(self) -> None:
        part = self.run([2])
        assert (part.neuron_token["top"].ids[:20] == -1).all()
        assert (part.third[:20] == 0).all()
        assert (part.token_neuron["bottom"].ids // 10 == 2).all()

    def test_a_cpu_state_goes_on_in_plain_torch(self) -> None:
        readout, w_out = integers(90, 5, 15), integers(40, 5, 16)
        first, second = CpuSearch(readout, 40, 6, 6), CongruenceSearch(readout, 40, 6, 6)
        first.update(20, w_out[20:])
        second.load_state_dict(first.state_dict())
        second.update(0, w_out[:20])
        assert_equals_a_sort(second.result(), (w_out @ readout.T).numpy(), 6, 6)

    def test_a_state_of_another_search_is_refused(self) -> None:
        states = []
        self.run([0], on_layer=lambda n, state: states.append(state()))
        with pytest.raises(CheckpointError, match=r"has int64 \[2, 60, 7\] for 'neuron_keys', expected int64 \[2, 60,"):
            self.run([0, 1], k_tokens=8, state=states[0])
        with pytest.raises(CheckpointError, match="has nothing for 'powers'"):
            self.run([0, 1], state={name: part for name, part in states[0].items() if name != "powers"})

    def test_parts_that_overlap_or_differ_are_refused(self) -> None:
        with pytest.raises(RankError, match="Neuron 10 is in 2 of the searches"):
            merged([self.run([0, 1]), self.run([1, 2])])
        with pytest.raises(RankError, match=r"\[2, 60, 7\] and \[2, 60, 8\] for 'neuron_keys'"):
            merged([self.run([0]), self.run([1], k_tokens=8)])


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


def listed(*rows: list[tuple[int, float]]) -> RankedList:
    return RankedList(*(torch.tensor([[pair[side] for pair in row] for row in rows]) for side in (0, 1)))


def test_exclusive_pairs_by_hand() -> None:
    """Neurons 0 to 4, tokens 0 to 4. 0 and 3, 1 and 4, 2 and 0 are each other's best; 3 and 4 want tokens that prefer
    others. Gaps are 2 x 1.5, 1 x 3 and 4 x 0.5: a tie of 3 goes to the lower neuron, whatever the gaps."""
    neurons = listed(
        [(3, 9.0), (1, 7.0)], [(4, 5.0), (3, 4.0)], [(0, 8.0), (2, 4.0)], [(3, 7.5), (0, 1.0)], [(0, 7.5), (4, 2.0)]
    )
    tokens = listed(
        [(2, 8.0), (4, 7.5)], [(0, 7.0), (2, 1.0)], [(2, 4.0), (0, 3.5)], [(0, 9.0), (3, 7.5)], [(1, 5.0), (4, 2.0)]
    )
    for direction in ("top", "bottom"):
        sign = 1 if direction == "top" else -1
        lists = [{direction: RankedList(part.ids, sign * part.values)} for part in (neurons, tokens)]
        found = exclusive_pairs(Congruence(*lists, None, None), direction)
        assert found.neuron.tolist() == [0, 1, 2]
        assert found.token.tolist() == [3, 4, 0]
        assert found.congruence.tolist() == [9.0 * sign, 5.0 * sign, 8.0 * sign]
        assert found.token_gap.tolist() == [2.0, 1.0, 4.0]
        assert found.neuron_gap.tolist() == [1.5, 3.0, 0.5]
        assert found.score.tolist() == [3.0, 3.0, 2.0]
    alone = listed([(0, 1.0)], [(0, 0.5)])
    assert np.isnan(gap(alone)).tolist() == [True, True]
    one_token = Congruence({"top": alone}, {"top": listed([(0, 1.0), (1, 0.5)])}, None, None)
    assert exclusive_pairs(one_token, "top").neuron.size == 0
    assert hub_count(np.array([3, 0, 3, 1]), 5).tolist() == [1, 1, 0, 2, 0]


def test_keys_take_both_zeros_for_one() -> None:
    """So that of +0.0 and -0.0 the lower id comes first, as of any equal values."""
    values = torch.tensor([0.0, -0.0, 1e-45, -1e-45, torch.inf, -torch.inf, 2.0, 2.0])
    ids = torch.tensor([5, 2, 0, 0, 7, 0, 9, 8])
    order = keys.encode(values, ids).argsort(descending=True).tolist()
    assert order == [4, 7, 6, 2, 1, 0, 3, 5]
    assert keys.decode_ids(keys.encode(values, ids)).tolist() == ids.tolist()
    assert keys.decode_values(keys.encode(values, ids)).tolist() == values.tolist()
