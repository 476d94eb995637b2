"""The load phase: the same content hash however rows are batched, bounded batches, sorted tables, a full disk."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.congruence.result import RankedList
from ingest.errors import OutputError
from ingest.file import tables
from ingest.file.checks import check_file
from ingest.file.writer import AtlasWriter
from ingest.process import arrow
from ingest.process.arrow import joined, vectors, words
from ingest.process.content_hash import ContentHash
from tests.conftest import Built

COLUMNS = {
    "id": pa.array(range(12), pa.int32()),
    "word": pa.array(["a", "", None, "ab", "a", "c", "c", None, "ü", "a", "a", "x"]),
    "code": words(np.array([0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0], dtype=np.int8), ["top", "bottom"]),
    "bytes": pa.array([b"\xff", None] * 6, pa.binary()),
    "flag": pa.array([True, False, None] * 4),
    "number": pa.array([0.5, None, -1.0] * 4, pa.float32()),
    "list": pa.array([[1, 2], [], [3]] * 4, pa.list_(pa.int16())),
    "vector": pa.array([[1.0, 2.0], None, [3.0, 4.0]] * 4, pa.list_(pa.float32(), 2)),
    "nothing": pa.nulls(12, pa.list_(pa.float32(), 2)),
}


def hashed(cuts: list[int], columns: dict[str, pa.Array] = COLUMNS) -> str:
    content = ContentHash()
    for start, stop in zip([0, *cuts], [*cuts, 12], strict=True):
        content.update("t", {name: array.slice(start, stop - start) for name, array in columns.items()})
    return content.hexdigest()


@given(st.lists(st.integers(0, 12)).map(sorted))
def test_batching_does_not_change_the_hash(cuts: list[int]) -> None:
    assert hashed(cuts) == hashed([])


@given(st.sampled_from(sorted(COLUMNS)), st.integers(0, 11), st.lists(st.integers(0, 12)).map(sorted))
def test_every_value_changes_the_hash(name: str, row: int, cuts: list[int]) -> None:
    """Replaced by another row's different value, or by NULL, or NULL by a value."""
    values = COLUMNS[name].to_pylist()
    others = [other for other in values if other != values[row]] or [[5.0, 6.0]]
    for other in (others[0], None if values[row] is not None else others[0]):
        changed = pa.array([*values[:row], other, *values[row + 1 :]], plain(COLUMNS[name].type))
        assert hashed(cuts, {**COLUMNS, name: changed}) != hashed([])


def test_hash_of_dictionaries_is_that_of_their_strings() -> None:
    assert hashed([], {**COLUMNS, "code": COLUMNS["code"].cast(pa.string())}) == hashed([])
    turned = words(1 - COLUMNS["code"].indices.to_numpy(), ["bottom", "top"])
    assert hashed([5], {**COLUMNS, "code": turned}) == hashed([])


def test_hash_knows_where_lists_tables_and_columns_end() -> None:
    def of(*updates: tuple[str, dict]) -> str:
        content = ContentHash()
        for table, columns in updates:
            content.update(table, {name: pa.array(values) for name, values in columns.items()})
        return content.hexdigest()

    assert of(("t", {"a": [[1], [2, 3]]})) != of(("t", {"a": [[1, 2], [3]]}))
    assert of(("t", {"a": ["ab", "c"]})) != of(("t", {"a": ["a", "bc"]}))
    assert of(("t", {"a": [1], "b": [2]})) != of(("t", {"a": [2], "b": [1]}))
    assert of(("t", {"a": [1, 2]})) != of(("t", {"a": [1]}), ("u", {"a": [2]}))
    assert of(("t", {"a": [1]}), ("u", {"a": [2]})) == of(("u", {"a": [2]}), ("t", {"a": [1]}))
    assert of(("t", {"a": [None, 1]})) != of(("t", {"a": [1, None]}))


def plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_dictionary(kind) else kind


def ranked(rng: np.random.Generator, rows: int, k: int) -> RankedList:
    """Lists some of which end early."""
    ids = rng.integers(0, 50, (rows, k))
    ids[np.arange(k) >= rng.integers(0, k + 1, (rows, 1))] = -1
    return RankedList(torch.from_numpy(ids), torch.from_numpy(rng.normal(size=(rows, k)).astype(np.float32)))


@pytest.mark.parametrize("batch", [1, 7, 1 << 18])
def test_ranked_and_input_rows_against_loops(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(arrow, "BATCH_ROWS", batch)
    rng = np.random.default_rng(batch)
    sides = {side: {d: ranked(rng, 5, 4) for d in ("top", "bottom")} for side in ("in", "gate")}
    expected = [
        (n, side, d, place + 1, int(lists[d].ids[n, place]), float(lists[d].values[n, place]))
        for n in range(5)
        for side, lists in sorted(sides.items())
        for d in ("bottom", "top")
        for place in range(4)
        if lists[d].ids[n, place] >= 0
    ]
    assert collected(tables.sided_rows(sides, "token_id", "value")) == expected
    one = collected(tables.ranked_rows(sides["in"], "neuron_id", "token_id", "value"))
    assert one == [(n, *rest) for n, side, *rest in expected if side == "in"]


def collected(batches) -> list[tuple]:
    found = [pa.table({k: v if isinstance(v, pa.Array) else pa.array(v) for k, v in b.items()}) for b in batches]
    return [tuple(row.values()) for part in found for row in part.to_pylist()]


def fill(writer: AtlasWriter, d_model: int, step: int) -> None:
    """300 rows of a narrow table, 40 wide ones, then narrow ones again, `step` rows a batch."""
    rng = np.random.default_rng(0)
    readout, n = rng.normal(size=(40, d_model)).astype(np.float32), rng.integers(1, 9, 300)
    for start in range(0, 300, step):
        ids = np.arange(start, min(start + step, 300), dtype=np.int32)
        writer.write("activation_histogram", {"neuron_id": ids, "bin": ids.astype(np.int16), "n": n[ids]})
    for start in range(0, 40, step):
        ids = np.arange(start, min(start + step, 40), dtype=np.int32)
        writer.write("token_weight", {"token_id": ids, "readout": vectors(readout[ids])})
    text = {"text_id": [1, 2], "source_row": [1, 2], "chunk": [0, 0]}
    pieces = joined([np.array([1, 2], dtype=np.int32), np.array([3], dtype=np.int32)])
    writer.write("text", {**text, "token_ids": pieces, "predicted_token_ids": pieces})


@pytest.mark.parametrize("d_model", [4, 8192])
def test_batches_change_neither_build_id_nor_rows(tmp_path: Path, d_model: int) -> None:
    """Width 8192 needs small row groups, 4 does not: the file is attached again between the tables."""
    found = {}
    for step in (300, 7):
        with AtlasWriter(tmp_path / f"{step}.duckdb", d_model) as writer:
            fill(writer, d_model, step)
            build_id = writer.build_id()
            writer.close()
            check_file(writer.path, writer.rows)
            with duckdb.connect(str(writer.path), read_only=True) as connection:
                rows = [connection.execute(f'FROM "{t}"').fetchall() for t in writer.rows]
                groups = "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('activation_histogram')"
                assert connection.execute(groups).fetchone() == (1,)
            found[step] = build_id, rows
    assert found[300][0] == found[7][0]
    assert found[300][1] == found[7][1]
    assert not list(tmp_path.iterdir())


def test_when_and_by_which_command_a_file_was_written_is_not_in_its_build_id(built_gpt2: Built, tmp_path: Path) -> None:
    with duckdb.connect(str(built_gpt2.atlas), read_only=True) as connection:
        (row,) = connection.sql("SELECT * EXCLUDE (build_id) FROM atlas").to_arrow_table().to_pylist()

    def build_id(**changes: object) -> str:
        with AtlasWriter(tmp_path / "x.duckdb", row["d_model"]) as writer:
            return writer.write_atlas({name: [value] for name, value in (row | changes).items()})

    same = build_id()
    assert re.fullmatch("[0-9a-f]{12}", same)
    assert build_id(built_at=datetime(2001, 2, 3), command="atlas ingest --elsewhere") == same
    others = {build_id(**change) for change in ({"slug": "x"}, {"seed": row["seed"] + 1}, {"device": "cuda"})}
    assert len(others | {same}) == 4


def test_a_file_out_of_order_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    with AtlasWriter(path, 4) as writer:
        ids = np.array([0, 1, 3, 2], dtype=np.int32)
        writer.write("token_weight", {"token_id": ids, "readout": vectors(np.ones((4, 4), dtype=np.float32))})
        writer.close()
        with pytest.raises(OutputError, match=r"'token_weight' is not sorted by token_id: see row \(2,\)"):
            check_file(writer.path, {})


def test_rows_of_one_key_side_by_side_are_refused(tmp_path: Path) -> None:
    """In order, and not once each: a key of one column, and one of two that differs in neither."""
    with AtlasWriter(tmp_path / "x.duckdb", 4) as writer:
        ids = np.array([0, 1, 1, 2], dtype=np.int32)
        writer.write("token_weight", {"token_id": ids, "readout": vectors(np.ones((4, 4), dtype=np.float32))})
        writer.close()
        with pytest.raises(OutputError, match=r"'token_weight' has two rows of key \(1,\)"):
            check_file(writer.path, {})
    with AtlasWriter(tmp_path / "x.duckdb", 4) as writer:
        bins = np.array([0, 3, 3, 0], dtype=np.int16)
        writer.write("activation_histogram", {"neuron_id": ids, "bin": bins, "n": np.ones(4, dtype=np.int64)})
        writer.close()
        with pytest.raises(OutputError, match=r"'activation_histogram' has two rows of key \(1, 3\)"):
            check_file(writer.path, {})


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    import numpy as np
    from ingest.errors import OutputError
    from ingest.process.arrow import vectors
    from ingest.file.writer import AtlasWriter

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    matrix = np.random.default_rng(0).normal(size=(2048, 512)).astype(np.float32)
    try:
        with AtlasWriter(Path(sys.argv[1]), 512) as writer:
            for start in range(0, 20480, 2048):
                token_id = np.arange(start, start + 2048, dtype=np.int32)
                writer.write("token_weight", {"token_id": token_id, "readout": vectors(matrix)})
            writer.close()
    except OutputError as error:
        print("OutputError:", error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
@pytest.mark.parametrize("limit", [300_000, 8_000_000, 30_000_000])
def test_a_full_disk_is_our_error_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    """The file may not grow beyond a limit: while it is created, while rows are written, when it is closed."""
    out = tmp_path / "full.duckdb"
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(out), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "OutputError: " in done.stdout
    assert "full.duckdb.tmp-" in done.stdout
    assert not list(tmp_path.iterdir())
