"""`atlas export`: files that hold the atlas's rows, their comments, a card; nothing half-written."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from atlas import open_atlas
from atlas.cli.main import main
from atlas.core import files
from atlas.core.errors import QueryError
from atlas.core.files import appearing_folder
from atlas.export.card import size_category
from atlas.export.folder import ExportError, export_folder
from tests.disk import Disk

COMPANIONS = {"README.md", "datapackage.json", "schema.sql", "views.sql"}


@pytest.fixture(scope="module")
def exported(tiny_llama_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny atlas in both formats, by the command."""
    folders = {form: tmp_path_factory.mktemp("export") / form for form in ("parquet", "csv")}
    for form, folder in folders.items():
        result = CliRunner().invoke(main, ["export", str(tiny_llama_atlas), str(folder), "--format", form])
        assert result.exit_code == 0, result.output
        assert f"neuron.{form}: 144 rows" in result.stderr
    return folders


@pytest.fixture
def source(tiny_llama_atlas: Path):
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        yield connection


def tables(source: duckdb.DuckDBPyConnection) -> list[str]:
    return [name for (name,) in source.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()]


def loadable(source: duckdb.DuckDBPyConnection) -> list[str]:
    """Tables with rows: `datasets` loads no others."""
    return [name for name in tables(source) if source.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]]


def remade(folder: Path) -> duckdb.DuckDBPyConnection:
    """What `duckdb -init views.sql` would have in that folder."""
    connection = duckdb.connect()
    connection.execute(
        (folder / "views.sql")
        .read_text()
        .replace("read_parquet('", f"read_parquet('{folder}/")
        .replace("read_csv('", f"read_csv('{folder}/")
    )
    return connection


def test_a_file_for_each_table(exported, source):
    for form, folder in exported.items():
        assert {path.name for path in folder.iterdir()} == {f"{name}.{form}" for name in tables(source)} | COMPANIONS
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_rows_types_and_views_come_back(exported, source, form):
    with remade(exported[form]) as connection:
        kinds = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
        assert connection.execute(kinds).fetchall() == source.execute(kinds).fetchall()
        for name in tables(source):
            # In the file's own order, which is kept; NULL and '' apart, floats to the last bit.
            assert connection.execute(f'FROM "{name}"').fetchall() == source.execute(f'FROM "{name}"').fetchall(), name
        for (view,) in source.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            sql = f'FROM "{view}" ORDER BY ALL'
            assert connection.execute(sql).fetchall() == source.execute(sql).fetchall(), view
        for call in ("congruence_with(5)", "prediction_above(0.5)"):
            sql = f"FROM {call} ORDER BY ALL"
            assert connection.execute(sql).fetchall() == source.execute(sql).fetchall(), call


def test_comments_are_in_the_parquet_files(exported, source, tiny_llama_atlas):
    for name in tables(source):
        schema = pq.read_schema(exported["parquet"] / f"{name}.parquet")
        (comment,) = source.execute("SELECT comment FROM duckdb_tables() WHERE table_name = ?", [name]).fetchone()
        assert schema.metadata[b"comment"].decode() == comment
        columns = source.execute(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [name]
        ).fetchall()
        assert [(field.name, field.metadata[b"comment"].decode()) for field in schema] == columns
        info = json.loads(schema.metadata[b"atlas"])
        assert info["slug"] == "tiny-llama"
        assert info["build_id"] == source.execute("SELECT build_id FROM atlas").fetchone()[0]
    vectors = pq.read_schema(exported["parquet"] / "neuron_weight.parquet").field("w_out").type
    (width,) = source.execute("SELECT d_model FROM atlas").fetchone()
    assert vectors == pa.list_(pa.float32(), width)


def test_the_hubs_viewer_can_show_every_column(exported):
    """Row groups below its 286 MiB, and types that `datasets` has a feature for."""
    from datasets import Features

    for path in exported["parquet"].glob("*.parquet"):
        file = pq.ParquetFile(path)
        assert set(Features.from_arrow_schema(file.schema_arrow)) == set(file.schema_arrow.names)
        kinds = {str(field.type) for field in file.schema_arrow}
        assert not any(re.search("decimal|interval|duration|map|union|uuid", kind) for kind in kinds), (path, kinds)
        sizes = [file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups)]
        assert max(sizes, default=0) < 64 << 20 < 286 << 20


def test_csv_by_hand(exported, source):
    """With nothing but the csv and json modules: vectors as JSON, float32 exact, bytes hexadecimal."""
    csv.field_size_limit(10**7)
    with (exported["csv"] / "neuron_weight.csv").open(newline="") as file:
        found = [(int(row["neuron_id"]), json.loads(row["w_out"])) for row in csv.DictReader(file)]
    expected = source.execute("SELECT neuron_id, w_out FROM neuron_weight").fetchall()
    assert [row[0] for row in found] == [row[0] for row in expected]
    assert np.array_equal(np.float32([row[1] for row in found]), np.float32([row[1] for row in expected]))
    with (exported["csv"] / "token.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = source.execute('SELECT "text", bytes FROM token').fetchall()
    assert [row["text"] for row in rows] == [text or "" for text, _ in expected]
    assert [bytes.fromhex(row["bytes"]) for row in rows] == [raw or b"" for _, raw in expected]
    assert any(text is None for text, _ in expected)


def test_datapackage(exported, source):
    for form, folder in exported.items():
        package = json.loads((folder / "datapackage.json").read_text())
        assert package["name"] == "tiny-llama"
        assert [item["name"] for item in package["resources"]] == tables(source)
        for item in package["resources"]:
            assert (folder / item["path"]).stat().st_size == item["bytes"]
            assert item["rows"] == source.execute(f'SELECT count(*) FROM "{item["name"]}"').fetchone()[0]
            assert all(column["description"] for column in item["schema"]["fields"])
        token = next(item for item in package["resources"] if item["name"] == "token")
        kinds = {column["name"]: column for column in token["schema"]["fields"]}
        assert kinds["special"]["type"] == "boolean"
        assert kinds["bytes"].get("format") == ("hexadecimal" if form == "csv" else None)


def test_the_card(exported, source):
    for form, folder in exported.items():
        _, front, text = (folder / "README.md").read_text().split("---\n", 2)
        card = yaml.safe_load(front)
        assert card["license"] == "unknown"
        assert "Licence: to be filled in" in text
        assert card["configs"] == [
            {"config_name": name, "data_files": f"{name}.{form}", **({"default": True} if name == "neuron" else {})}
            for name in loadable(source)
        ]
        total = sum(source.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables(source))
        assert card["size_categories"] == ["100K<n<1M"]
        assert 100_000 <= total < 1_000_000
        row = source.execute("SELECT build_id, model_fingerprint, dataset_fingerprint FROM atlas").fetchone()
        assert all(value in text for value in row)
        for table, column, comment in source.execute(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE table_name IN "
            "(SELECT table_name FROM duckdb_tables())"
        ).fetchall():
            section = text.split(f"\n### {table}\n")[1].split("\n### ")[0]
            assert f"| `{column}` |" in section
            assert comment.replace("<", "&lt;").replace("|", "\\|") in section
        assert "max_activating_example` decodes" in text


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_datasets_loads_every_configuration(exported, source, form, tmp_path):
    from datasets import disable_progress_bars, get_dataset_config_names, load_dataset

    disable_progress_bars()
    assert sorted(get_dataset_config_names(str(exported[form]))) == loadable(source) != tables(source)
    for name in ("neuron", "example", "neuron_weight", "histogram_bin"):
        loaded = load_dataset(str(exported[form]), name, split="train", cache_dir=str(tmp_path))
        assert loaded.num_rows == source.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
    default = load_dataset(str(exported[form]), split="train", cache_dir=str(tmp_path))
    assert default["name"] == [name for (name,) in source.execute("SELECT name FROM neuron").fetchall()]
    if form == "parquet":
        weights = load_dataset(str(exported[form]), "neuron_weight", split="train", cache_dir=str(tmp_path))
        assert [tuple(row) for row in weights["w_in"]] == [
            row for (row,) in source.execute("SELECT w_in FROM neuron_weight").fetchall()
        ]


@pytest.mark.parametrize(
    ("rows", "word"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (22_100_000, "10M<n<100M"), (10**13, "n>1T")]
)
def test_size_categories(rows, word):
    assert size_category(rows) == word


def test_chosen_tables_and_views(tiny_llama_atlas, source, tmp_path):
    with open_atlas(tiny_llama_atlas) as atlas:
        written = export_folder(atlas, tmp_path / "out", tables=("pair", "neuron"), licence="cc-by-4.0")
        assert [(item.file, item.rows) for item in written] == [("pair.parquet", None), ("neuron.parquet", 144)]
        assert 'license: "cc-by-4.0"' in (tmp_path / "out" / "README.md").read_text()
        with remade(tmp_path / "out") as connection:
            assert connection.execute("SELECT count(*) FROM neuron").fetchall() == [(144,)]
            assert (
                connection.execute("FROM pair ORDER BY ALL").fetchall()
                == source.execute("FROM pair ORDER BY ALL").fetchall()
            )
        with pytest.raises(QueryError, match=r"no table 'nowhere'; it has activation_histogram, .*token_exclusivity"):
            export_folder(atlas, tmp_path / "other", tables=("nowhere",))
        assert not (tmp_path / "other").exists()


def test_every_view_as_data(tiny_llama_atlas, source, tmp_path):
    with open_atlas(tiny_llama_atlas) as atlas:
        written = export_folder(atlas, tmp_path / "parquet", views=True)
        views = [item.table.name for item in written if item.rows is None]
        assert len(views) == source.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchone()[0]
        export_folder(
            atlas, tmp_path / "csv", "csv", tables=("neuron_page", "max_activating_example")
        )  # lists, structs
    for view in views:
        found = duckdb.sql(f"FROM read_parquet('{tmp_path}/parquet/{view}.parquet') ORDER BY ALL").fetchall()
        assert found == source.execute(f'FROM "{view}" ORDER BY ALL').fetchall(), view
    assert not (tmp_path / "parquet" / ".spill").exists()


def test_refusals(tiny_llama_atlas, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    with open_atlas(tiny_llama_atlas) as atlas:
        export_folder(atlas, full, tables=("atlas",))  # an empty folder will do
        with pytest.raises(ExportError, match=r"is not empty.*--force"):
            export_folder(atlas, full, tables=("neuron",))
        export_folder(atlas, full, tables=("neuron",), force=True)
        assert {path.name for path in full.iterdir()} == {"neuron.parquet"} | COMPANIONS
        (full / "thesis.tex").write_text("years of work")
        with pytest.raises(ExportError, match=r"contains 'thesis.tex', which no export wrote"):
            export_folder(atlas, full, force=True)
        with pytest.raises(ExportError, match=r"does not exist\. Create it first"):
            export_folder(atlas, tmp_path / "no" / "where")
        (tmp_path / "file").write_text("")
        with pytest.raises(ExportError, match="is not a folder"):
            export_folder(atlas, tmp_path / "file")
        with pytest.raises(ExportError, match="'xlsx' is not an export format; expected one of parquet, csv"):
            export_folder(atlas, tmp_path / "sheet", "xlsx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_a_full_disk_leaves_nothing(tiny_llama_atlas, tmpfs):
    with open_atlas(tiny_llama_atlas) as atlas:
        export_folder(atlas, tmpfs / "out", tables=("atlas",))
        before = (tmpfs / "out" / "README.md").read_bytes()
        (tmpfs / "ballast").write_bytes(bytes(1_800_000))
        with pytest.raises(ExportError, match=r"No space left on device\. Nothing was left there"):
            export_folder(atlas, tmpfs / "out", "csv", force=True)
    assert sorted(path.name for path in tmpfs.iterdir()) == ["ballast", "out"]
    assert (tmpfs / "out" / "README.md").read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_failure_half_way_leaves_nothing(tiny_llama_atlas, tmp_path, error):
    def fail(_written):
        raise error

    with open_atlas(tiny_llama_atlas) as atlas, pytest.raises((KeyboardInterrupt, ExportError)):
        export_folder(atlas, tmp_path / "out", progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_export_leaves_no_folder_of_that_name(tiny_llama_atlas, tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from atlas import open_atlas; "
        "from atlas.export.folder import export_folder; "
        "export_folder(open_atlas(sys.argv[1]), Path(sys.argv[2]), "
        "progress=lambda item: os.kill(os.getpid(), signal.SIGKILL))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tiny_llama_atlas), str(tmp_path / "out")])
    assert result.returncode == -signal.SIGKILL
    assert [path.name[:8] for path in tmp_path.iterdir()] == ["out.tmp-"]


@pytest.mark.parametrize("exchanged", [True, False])
def test_what_is_in_a_folder_is_on_the_disk_before_the_folder_has_its_name(tmp_path, monkeypatch, exchanged):
    if not exchanged:  # as on systems without it
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old.csv").write_text("old")
    disk = Disk(monkeypatch)
    with appearing_folder(folder) as place:
        (place / "deep").mkdir()
        (place / "deep" / "b").write_text("b")
        (place / "a").write_text("a")
    *before, parent = disk.did
    flushes, renames = before[:4], before[4:]
    assert sorted(flushes) == sorted(
        ("fsync", str(path)) for path in (place, place / "a", place / "deep", place / "deep/b")
    )
    if exchanged:  # the name is at no moment without a folder
        assert renames == []
    else:
        (away, here) = renames
        assert (away[:2], here) == (("rename", str(folder)), ("rename", str(place), str(folder)))
    assert parent == ("fsync", str(tmp_path))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "out",
        "out/a",
        "out/deep",
        "out/deep/b",
    ]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old.csv").write_text("old")
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    rename = Path.rename

    def refuse(path, target):
        if ".tmp-" in path.name:
            raise OSError("no room for a name")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no room"), appearing_folder(folder) as place:
        (place / "new.csv").write_text("new")
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("old.csv", "old")]
    assert list(tmp_path.iterdir()) == [folder]


def test_the_atlas_is_not_touched(tiny_llama_atlas, tmp_path):
    place = Path(shutil.copy(tiny_llama_atlas, tmp_path / "it's.duckdb"))
    before = place.read_bytes()
    os.chmod(place, 0o444)
    with open_atlas(place) as atlas:
        export_folder(atlas, tmp_path / "out")
    assert place.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it's.duckdb", "out"]
