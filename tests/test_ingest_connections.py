"""Connections between neurons: against a product of whole matrices, resumed, shared; written, merged, left out."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import torch
from rich.console import Console

from ingest.congruence import connections
from ingest.congruence.connections import connect
from ingest.congruence.cpu import CpuSearch
from ingest.congruence.reference import CongruenceSearch
from ingest.congruence.result import DIRECTIONS, Congruence, congruence_of, merge_states
from ingest.file.append import extend_atlas
from ingest.merge.merge import merge
from tests.conftest import Built, build_tiny

N_LAYERS, D_MLP, D_MODEL, K = 5, 24, 12, 7
N = N_LAYERS * D_MLP


def integers(seed: int) -> torch.Tensor:
    """Weights whose products are exact and often equal: the tie rule shows."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, (N, D_MODEL), generator=generator).float()


W_OUT, READS = integers(0), integers(1)


def run(order: list[int], **options: object) -> Congruence:
    reads = lambda layer: READS[layer * D_MLP : (layer + 1) * D_MLP]  # noqa: E731
    return connect(reads, W_OUT, order, d_mlp=D_MLP, k=K, **options)


def expected(products: np.ndarray, allowed: np.ndarray, sign: float) -> list[list[tuple[int, float]]]:
    """Of each row the allowed columns, greatest `sign * product` first, then the lower id."""
    lists = []
    for row, may in zip(products, allowed, strict=True):
        ids = np.flatnonzero(may)
        lists.append([(int(i), float(row[i])) for i in ids[np.lexsort((ids, -sign * row[ids]))][:K]])
    return lists


def listed(ranked) -> list[list[tuple[int, float]]]:
    pairs = zip(ranked.ids.tolist(), ranked.values.tolist(), strict=True)
    return [[(i, value) for i, value in zip(*row, strict=True) if i >= 0] for row in pairs]


def assert_plain(result: Congruence) -> None:
    products, layer = (READS @ W_OUT.T).numpy(), np.arange(N) // D_MLP
    earlier = layer[None, :] < layer[:, None]
    for direction, sign in DIRECTIONS.items():
        assert listed(result.neuron_token[direction]) == expected(products, earlier, sign)
        assert listed(result.token_neuron[direction]) == expected(products.T, earlier.T, sign)


@pytest.mark.parametrize("kind", [CpuSearch, CongruenceSearch])
def test_lists_are_those_of_whole_products_in_any_order_of_layers(kind: type, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "CpuSearch", kind)  # The other serves GPUs.
    done: list[int] = []
    assert_plain(run([0, 1, 2, 3, 4], progress=done.append))
    assert sum(done) == N
    assert_plain(run([4, 0, 3, 1, 2]))


def test_resumed_and_shared_they_end_the_same():
    def states(order: list[int]) -> list[dict[str, torch.Tensor]]:
        after: list[dict[str, torch.Tensor]] = []
        run(order, on_layer=lambda n, state: after.append(state()))
        return after

    for state in states([3, 0, 4, 2, 1]):
        assert_plain(run([3, 0, 4, 2, 1], state=state))
    assert_plain(congruence_of(merge_states([states(order)[-1] for order in ([0, 3], [1, 4], [2])])))


def test_fewer_earlier_neurons_than_places():
    w_out, reads = W_OUT[:9], READS[:9]
    result = connect(lambda layer: reads[layer * 3 : layer * 3 + 3], w_out, [0, 1, 2], d_mlp=3, k=K)
    assert (result.neuron_token["top"].ids >= 0).sum(1).tolist() == [0] * 3 + [3] * 3 + [6] * 3
    assert (result.token_neuron["bottom"].ids >= 0).sum(1).tolist() == [6] * 3 + [3] * 3 + [0] * 3


def rows(path: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_the_tables_are_products_of_the_weights_in_the_file(optional_atlas: Path):
    weights = [
        np.array(column)
        for column in zip(
            *rows(optional_atlas, "SELECT w_out, w_in, w_gate FROM neuron_weight ORDER BY neuron_id"), strict=True
        )
    ]
    w_out, by_side = weights[0].astype(np.float64), dict(zip(("in", "gate"), weights[1:], strict=True))
    d_mlp = rows(optional_atlas, "SELECT d_mlp FROM atlas")[0][0]
    layer = np.arange(len(w_out)) // d_mlp
    for table, later in (("neuron_downstream", True), ("neuron_upstream", False)):
        lists = defaultdict(list)
        for n, side, direction, rank, other, weight in rows(optional_atlas, f"FROM {table} ORDER BY ALL"):
            lists[n, side, direction].append((other, weight))
            assert rank == len(lists[n, side, direction])
        end = layer[-1] if later else 0
        assert lists.keys() == {
            (n, side, direction) for n in np.flatnonzero(layer != end) for side in by_side for direction in DIRECTIONS
        }
        for (n, side, direction), pairs in lists.items():
            reads, sign = by_side[side].astype(np.float64), DIRECTIONS[direction]
            products = reads @ w_out[n] if later else w_out @ reads[n]
            others = np.flatnonzero(layer > layer[n] if later else layer < layer[n])
            values = np.sort(sign * products[others])[::-1][:20]
            assert [other for other, _ in pairs] == list(dict.fromkeys(other for other, _ in pairs))
            np.testing.assert_allclose([weight for _, weight in pairs], sign * values, atol=1e-5)
            np.testing.assert_allclose([products[other] for other, _ in pairs], sign * values, atol=1e-5)
            assert {other for other, _ in pairs} <= set(others.tolist())


def test_they_are_kept_only_if_asked_for_and_merged_from_the_part_that_has_them(
    built_gpt2: Built, tiny_gpt2_atlas: Path, tmp_path: Path
):
    assert rows(tiny_gpt2_atlas, "SELECT count(*) FROM neuron_downstream") == [(0,)]
    options = {"context_length": built_gpt2.context_length, "overflow": built_gpt2.overflow, "weights": False}
    parts = [
        build_tiny(tmp_path, built_gpt2.model, built_gpt2.dataset, name, **options, **part)
        for name, part in (("a", {"last_text": 4}), ("b", {"first_text": 4, "statistics": ("--connections",)}))
    ]
    measured = pa.table({"neuron_id": [0], "entropy_change": [0.5], "n_ablated": pa.array([3], pa.int32())})
    extend_atlas(parts[0], {}, columns=measured)
    merge(parts, tmp_path / "whole.duckdb", Console(quiet=True), slug="whole")
    for table in ("neuron_downstream", "neuron_upstream"):
        whole = rows(tmp_path / "whole.duckdb", f"FROM {table}")
        assert whole == rows(parts[1], f"FROM {table}")
        assert len(whole) == 96 * 2 * 20
        assert {row[1] for row in whole} == {"in"}
    # What was measured over the texts of one part does not hold for all.
    assert rows(tmp_path / "whole.duckdb", "SELECT count(entropy_change), count(n_ablated) FROM neuron") == [(0, 0)]


@pytest.mark.parametrize(
    ("table", "row"),
    [("neuron_downstream", "(0, 'in', 'top', 21, 1, 0)"), ("neuron_upstream", "(1, 'in', 'top', 1, 1, 0)")],
)
def test_a_connection_within_a_layer_is_refused(optional_atlas: Path, tmp_path: Path, table: str, row: str):
    from shutil import copyfile

    from ingest.errors import OutputError
    from ingest.file.checks import check_file

    path = tmp_path / "broken.duckdb"
    copyfile(optional_atlas, path)
    path.chmod(0o600)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TEMP TABLE old AS FROM {table}")
        connection.execute(f"DELETE FROM {table}")
        connection.execute(f"INSERT INTO {table} FROM (FROM old UNION ALL VALUES {row}) ORDER BY ALL")
    with pytest.raises(OutputError, match="connections that do not go from a layer to a later one"):
        check_file(path, {})
