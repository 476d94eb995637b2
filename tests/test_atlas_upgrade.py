"""A file of an older schema version becomes one of today's: catalogue of a fresh file, same rows, the old file kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest

from atlas import open_atlas
from atlas.errors import NotAnAtlasError, SchemaVersionError
from atlas.files import OutputFileError
from atlas.migrations import MIGRATIONS
from atlas.schema import SCHEMA_VERSION
from atlas.upgrade import OLDEST, UpgradeError, upgrade_file, upgraded_name
from tests.conftest import Built

FLOATS_IN_1 = ("activation_mean", "activation_std", "activation_skewness", "activation_kurtosis")


NEW_IN_3 = (
    "activation_sum",
    "pair_metric",
    "token_family",
    "family_histogram",
    "sign_case",
    "pair_effect",
    "study",
    "study_prompt",
    "study_prediction",
    "study_step",
)
UNCOUNTED = {"family_histogram", "activation_sum"}
"""What version 3 counts at ingest, and older files have not counted."""


def version_2(fresh: Path, path: Path) -> Path:
    """An atlas as version 2 had it: no pair metrics, families or studies."""
    shutil.copy(fresh, path)
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP VIEW pair_prediction; UPDATE atlas SET schema_version = 2")
        for table in NEW_IN_3:
            connection.execute(f"DROP TABLE {table}")
    path.chmod(0o444)
    return path


@pytest.fixture
def tiny_llama_atlas(built_llama: Built) -> Path:
    """Without studies, which no older file has."""
    return built_llama.atlas


@pytest.fixture
def tiny_gpt2_atlas(built_gpt2: Built) -> Path:
    """The same of an ungated model."""
    return built_gpt2.atlas


@pytest.fixture
def old(tiny_llama_atlas: Path, tmp_path: Path) -> Path:
    """The tiny atlas as version 1 had it: no text_ranges, moments of activations in float32."""
    path = version_2(tiny_llama_atlas, tmp_path / "old.duckdb")
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        connection.execute("ALTER TABLE atlas DROP COLUMN text_ranges")
        connection.execute("UPDATE atlas SET schema_version = 1")
        for column in FLOATS_IN_1:
            connection.execute(f"ALTER TABLE neuron ALTER {column} TYPE FLOAT")
        connection.execute("COMMENT ON COLUMN atlas.n_texts IS 'Something that version 1 said.'")
        connection.execute("DROP VIEW pair; CREATE VIEW pair AS SELECT neuron_id FROM exclusive_pair")
    path.chmod(0o444)
    return path


def rows(path: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def tables(path: Path) -> list[str]:
    return [name for (name,) in rows(path, "SELECT table_name FROM duckdb_tables() ORDER BY 1")]


def test_migrations_lead_to_this_version() -> None:
    assert [migration.to_version for migration in MIGRATIONS] == list(range(OLDEST + 1, SCHEMA_VERSION + 1))
    assert len({migration.name for migration in MIGRATIONS}) == len(MIGRATIONS)


def in_order(cell: object) -> object:
    """DuckDB keeps the names of an EXCLUDE in an order that changes each time the file is attached."""
    names = re.compile(r"EXCLUDE \(([^)]*)\)")
    if not isinstance(cell, str):
        return cell
    return names.sub(lambda found: "EXCLUDE " + ", ".join(sorted(found[1].split(", "))), cell)


def test_the_catalogue_is_that_of_a_fresh_file(old: Path, tiny_llama_atlas: Path, tmp_path: Path) -> None:
    """Tables, columns, types, defaults, comments and views."""
    out = tmp_path / "new.duckdb"
    columns = (
        "SELECT table_name, column_index, column_name, data_type, is_nullable, column_default, comment "
        "FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
    )
    assert rows(old, columns) != rows(tiny_llama_atlas, columns), "the old file is no test of anything"
    assert upgrade_file(old, out) == 1
    for query in (
        columns,
        "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
        "SELECT table_name, sql, comment FROM duckdb_tables() ORDER BY ALL",
    ):
        found, expected = ({tuple(map(in_order, row)) for row in rows(path, query)} for path in (out, tiny_llama_atlas))
        assert not found ^ expected
    assert rows(out, "SELECT DISTINCT tags FROM duckdb_databases() WHERE NOT internal") == rows(
        tiny_llama_atlas, "SELECT DISTINCT tags FROM duckdb_databases() WHERE NOT internal"
    ), "another storage version"


def test_rows_stay_and_keep_their_order(old: Path, tiny_llama_atlas: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.duckdb"
    upgrade_file(old, out)
    single = ", ".join(f"{column}::FLOAT AS {column}" for column in FLOATS_IN_1)
    for table in tables(tiny_llama_atlas):
        query = f'SELECT * FROM "{table}"'
        if table in UNCOUNTED:
            assert rows(out, query) == []
            continue
        expected = f"SELECT * REPLACE ({single}) FROM neuron" if table == "neuron" else query
        same = rows(out, query) == rows(tiny_llama_atlas, expected)
        assert same, table
    with open_atlas(out) as atlas, open_atlas(tiny_llama_atlas) as fresh:
        assert atlas.info == fresh.info


@pytest.mark.parametrize("name", ["tiny_llama_atlas", "tiny_gpt2_atlas"])
def test_version_2_gets_its_pair_metrics(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    """Computed from its histograms: those of a fresh file, of gated and other models."""
    fresh = request.getfixturevalue(name)
    out = tmp_path / "it's new.duckdb"
    assert upgrade_file(version_2(fresh, tmp_path / "what's old.duckdb"), out) == 2
    metrics = "SELECT * FROM pair_metric"
    assert rows(out, f"{metrics} WHERE auroc_predicted IS NOT NULL")
    for table in set(tables(fresh)) - UNCOUNTED:
        same = rows(out, f'SELECT * FROM "{table}"') == rows(fresh, f'SELECT * FROM "{table}"')
        assert same, table


def test_a_part_of_the_texts(old: Path, tmp_path: Path) -> None:
    old.chmod(0o644)
    with duckdb.connect(str(old)) as connection:
        connection.execute("UPDATE atlas SET first_text = 40, n_texts = 25")
    upgrade_file(old, tmp_path / "new.duckdb")
    assert rows(tmp_path / "new.duckdb", "SELECT text_ranges FROM atlas") == [("40:65",)]


def test_the_old_file_is_untouched_and_the_new_one_read_only(old: Path) -> None:
    before = old.read_bytes(), old.stat().st_mtime_ns
    out = upgraded_name(old)
    assert out.name == f"old.v{SCHEMA_VERSION}.duckdb"
    upgrade_file(old, out)
    assert (old.read_bytes(), old.stat().st_mtime_ns) == before
    assert out.stat().st_mode & 0o777 == 0o444
    assert sorted(path.name for path in old.parent.iterdir()) == ["old.duckdb", out.name]


def test_where_it_does_not_write(old: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.duckdb"
    out.write_text("mine")
    with pytest.raises(OutputFileError, match=r"mine\.duckdb' exists already. Choose another --out, or .* --force"):
        upgrade_file(old, out)
    assert out.read_text() == "mine"
    with pytest.raises(OutputFileError, match="is the file to upgrade, which is never changed"):
        upgrade_file(old, old, force=True)
    with pytest.raises(OutputFileError, match=r"folder .*nowhere.* does not exist"):
        upgrade_file(old, tmp_path / "nowhere" / "x.duckdb")
    with pytest.raises(OutputFileError, match="is a folder"):
        upgrade_file(old, tmp_path, force=True)
    assert upgrade_file(old, out, force=True) == 1
    assert rows(out, "SELECT schema_version FROM atlas") == [(SCHEMA_VERSION,)]


def test_a_file_of_this_version_is_left_alone(tiny_llama_atlas: Path, tmp_path: Path) -> None:
    assert upgrade_file(tiny_llama_atlas, tmp_path / "out.duckdb") == SCHEMA_VERSION
    assert not list(tmp_path.iterdir())


def test_files_it_cannot_upgrade(old: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.duckdb"
    for version, error, message in (
        (0, UpgradeError, f"has schema version 0, which was never released; expected 1 to {SCHEMA_VERSION}"),
        (99, SchemaVersionError, "has schema version 99.*Upgrade the program"),
    ):
        path = tmp_path / f"{version}.duckdb"
        with duckdb.connect(str(path)) as connection:
            connection.execute(f"CREATE TABLE atlas AS SELECT {version} AS schema_version")
        with pytest.raises(error, match=message):
            upgrade_file(path, out)
    with pytest.raises(NotAnAtlasError, match="does not exist"):
        upgrade_file(tmp_path / "none.duckdb", out)
    assert not out.exists()


def test_a_file_that_cannot_be_copied_leaves_nothing(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.chmod(0o644)
    with duckdb.connect(str(old)) as connection:
        connection.execute("ALTER TABLE example DROP COLUMN activation")
    with pytest.raises(UpgradeError, match=r"old\.duckdb cannot be written anew to .*activation"):
        upgrade_file(old, tmp_path / "new.duckdb")
    monkeypatch.setattr("atlas.upgrade.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with duckdb.connect(str(old)) as connection:
        connection.execute("ALTER TABLE example ADD COLUMN activation FLOAT; UPDATE example SET activation = 0")
    with pytest.raises(KeyboardInterrupt):
        upgrade_file(old, tmp_path / "new.duckdb")
    assert [path.name for path in tmp_path.iterdir()] == ["old.duckdb"]
