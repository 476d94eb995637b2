"""Adding rows to an atlas: everything else stays, readers keep what they have, and a failure leaves no trace."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from atlas.core.db import open_atlas
from atlas.core.errors import NotAnAtlasError
from ingest.errors import OptionError, OutputError
from ingest.file import append as extend
from ingest.file.append import extend_atlas
from ingest.process.lock import output_locked
from tests.conftest import Built
from tests.disk import Disk

STEP = {"variant": None, "site": None, "neuron_id": None, "low": None, "high": None, "n_prompts": 1}


def steps(study: str, *values: float) -> dict[str, pa.Table]:
    """Rows of one heat map, last position first: not in the order they are kept in."""
    rows = [
        {"study": study, "kind": "patch_mlp_out", "layer": 0, "position": place, "value": value, **STEP}
        for place, value in reversed(list(enumerate(values)))
    ]
    return {"study_step": pa.Table.from_pylist(rows)}


def dump(path: Path) -> dict[str, list]:
    """Every row of every table, as text, in the order of the file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: [str(row) for row in connection.execute(f'FROM "{name}"').fetchall()] for name in tables}


def test_columns_of_neurons_are_replaced_and_the_rest_of_the_table_stays(file: Path):
    def of(*pairs: tuple[int, float]) -> pa.Table:
        return pa.table({"neuron_id": [n for n, _ in pairs], "entropy_change": [float(value) for _, value in pairs]})

    before = dump(file)
    builds = [extend_atlas(file, {}, columns=of((7, 0.5), (3, -0.25))), extend_atlas(file, {}, columns=of((5, 0.125)))]
    assert len({*builds, *(row.split("'")[3] for row in before["atlas"])}) == 3
    with duckdb.connect(str(file)) as connection:
        sql = "SELECT neuron_id, entropy_change FROM neuron WHERE entropy_change IS NOT NULL"
        assert connection.execute(sql).fetchall() == [(5, 0.125)]
    extend_atlas(file, {}, columns=of())
    assert dump(file)["neuron"] == before["neuron"]


@pytest.fixture
def file(built_gpt2: Built, tmp_path: Path) -> Path:
    folder = tmp_path / "O'Neil's"
    folder.mkdir()
    return Path(shutil.copy(built_gpt2.atlas, folder / "a.duckdb"))


def test_only_the_named_tables_and_the_build_change(file: Path):
    before = dump(file)
    build = extend_atlas(file, steps("b", 0.125, 0.25))
    after = dump(file)
    assert len(after["study_step"]) == 2
    assert not before["study_step"]
    for table in before:
        if table not in ("study_step", "atlas"):
            assert after[table] == before[table], table
    with open_atlas(file) as atlas:
        assert atlas.info.build_id == build
    assert after["atlas"] != before["atlas"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert [path.name for path in file.parent.iterdir()] == ["a.duckdb"]


def test_what_was_extended_is_flushed_before_it_takes_the_files_place(file: Path, monkeypatch: pytest.MonkeyPatch):
    disk = Disk(monkeypatch)
    extend_atlas(file, steps("b", 0.125))
    *_, chmod, flush, replace, flush_folder = disk.did
    (_, copy, mode), (_, _, name) = chmod, replace
    assert (mode, name) == (0o444, str(file))
    assert [flush, replace, flush_folder] == [("fsync", copy), ("replace", copy, name), ("fsync", str(file.parent))]


def test_rows_are_kept_in_order_whatever_order_they_come_in(file: Path):
    extend_atlas(file, steps("b", 0.125, 0.25, 0.375))
    extend_atlas(file, steps("a", 0.5, 0.75))
    with duckdb.connect(str(file), read_only=True) as connection:
        found = connection.execute("SELECT study, position, value FROM study_step").fetchall()
    assert found == [("a", 0, 0.5), ("a", 1, 0.75), ("b", 0, 0.125), ("b", 1, 0.25), ("b", 2, 0.375)]


def test_the_same_addition_to_the_same_build_gives_the_same_build(file: Path, tmp_path: Path):
    builds = [extend_atlas(file, steps("a", value), out=tmp_path / f"{n}.duckdb") for n, value in enumerate((1, 1, 2))]
    assert builds[0] == builds[1] != builds[2]
    again = extend_atlas(tmp_path / "0.duckdb", steps("a", 1))
    assert again != builds[0]


def test_rows_give_way_to_their_successors(file: Path):
    extend_atlas(file, steps("a", 0.125, 0.25))
    extend_atlas(file, steps("b", 0.375))
    extend_atlas(file, steps("a", 0.875), without="key = 'a'")
    with duckdb.connect(str(file), read_only=True) as connection:
        found = connection.execute("SELECT study, value FROM study_step").fetchall()
    assert found == [("a", 0.875), ("b", 0.375)]


def test_a_reader_keeps_the_build_it_opened(file: Path):
    with duckdb.connect(str(file), read_only=True) as reader:
        (old,) = reader.execute("SELECT build_id FROM atlas").fetchone()
        rows = reader.execute("SELECT count(*) FROM example").fetchone()
        # DuckDB would hand a second connection of this process the old file: another process extends it.
        code = (
            "import sys; from pathlib import Path; from tests.test_ingest_extend import steps\n"
            "from ingest.file.append import extend_atlas; print(extend_atlas(Path(sys.argv[1]), steps('a', 1.0)))"
        )
        new = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True).stdout
        assert reader.execute("SELECT build_id FROM atlas").fetchone() == (old,)
        assert reader.execute("SELECT count(*) FROM example").fetchone() == rows
    with open_atlas(file) as atlas:
        assert atlas.info.build_id == new.strip() != old


def _nothing_changed(file: Path, before: bytes) -> bool:
    return file.read_bytes() == before and [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_failure_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch):
    before = file.read_bytes()
    with pytest.raises(OutputError, match=r"cannot be extended.*NULL.*It is unchanged"):
        extend_atlas(file, {"study_step": steps("a", 1.0)["study_step"].drop_columns("value")})
    assert _nothing_changed(file, before)
    monkeypatch.setattr(extend.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(OutputError, match=r"a copy takes .* bytes, and the disk has 5 left"):
        extend_atlas(file, steps("a", 1.0))
    assert _nothing_changed(file, before)


def test_two_do_not_write_one_file(file: Path):
    with output_locked(file), pytest.raises(OptionError, match="another run is writing"):
        extend_atlas(file, steps("a", 1.0))


def test_only_an_atlas_is_extended(tmp_path: Path):
    (tmp_path / "x.duckdb").write_text("no")
    with pytest.raises(NotAnAtlasError, match="not a DuckDB file"):
        extend_atlas(tmp_path / "x.duckdb", steps("a", 1.0))
