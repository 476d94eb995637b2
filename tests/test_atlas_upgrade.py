"""A file of an older schema version becomes one of today's: catalogue of a fresh file, same rows, the old file kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest

from atlas import open_atlas
from atlas.core.errors import NotAnAtlasError, SchemaVersionError
from atlas.core.files import OutputFileError
from atlas.core.schema import SCHEMA_VERSION
from atlas.core.upgrade import MIGRATIONS, OLDEST, Migration, UpgradeError, upgrade_file, upgraded_name

NEXT = SCHEMA_VERSION + 1
"""The version of a schema that is made up here: what the mechanism does is shown by it, until there is a true one."""

FLOAT_BEFORE = "activation_mean"
ADDED = Migration(NEXT, "n_texts_planned", {"atlas": "SELECT *, NULL AS n_texts_planned FROM {old}"})


@pytest.fixture(autouse=True)
def next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that reads the next version, which is today's schema but for its number."""
    for module in ("core.schema", "core.upgrade", "core.db", "cli.commands"):
        monkeypatch.setattr(f"atlas.{module}.SCHEMA_VERSION", NEXT)
    monkeypatch.setattr("atlas.core.upgrade.MIGRATIONS", (ADDED,))


@pytest.fixture
def fresh(tiny_llama_atlas: Path, tmp_path: Path) -> Path:
    """The tiny atlas, as a program of the next version would write it."""
    path = Path(shutil.copy(tiny_llama_atlas, tmp_path / "fresh.duckdb"))
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"UPDATE atlas SET schema_version = {NEXT}")
    path.chmod(0o444)
    return path


@pytest.fixture
def old(tiny_llama_atlas: Path, tmp_path: Path) -> Path:
    """The same as this version might have had it: a column less, one narrower, no table of effects, another view."""
    (tmp_path / "before").mkdir()
    path = Path(shutil.copy(tiny_llama_atlas, tmp_path / "before" / "old.duckdb"))
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        connection.execute("ALTER TABLE atlas DROP COLUMN n_texts_planned")
        connection.execute(f"ALTER TABLE neuron ALTER {FLOAT_BEFORE} TYPE FLOAT")
        connection.execute("DROP TABLE pair_effect")
        connection.execute("COMMENT ON COLUMN atlas.n_texts IS 'Something that it said before.'")
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


def test_the_catalogue_is_that_of_a_fresh_file(old: Path, fresh: Path, tmp_path: Path) -> None:
    """Tables, columns, types, defaults, comments and views."""
    out = tmp_path / "new.duckdb"
    columns = (
        "SELECT table_name, column_index, column_name, data_type, is_nullable, column_default, comment "
        "FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
    )
    assert rows(old, columns) != rows(fresh, columns), "the old file is no test of anything"
    assert upgrade_file(old, out) == SCHEMA_VERSION
    for query in (
        columns,
        "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
        "SELECT table_name, sql, comment FROM duckdb_tables() ORDER BY ALL",
    ):
        found, expected = ({tuple(map(in_order, row)) for row in rows(path, query)} for path in (out, fresh))
        assert not found ^ expected
    assert rows(out, "SELECT DISTINCT tags FROM duckdb_databases() WHERE NOT internal") == rows(
        fresh, "SELECT DISTINCT tags FROM duckdb_databases() WHERE NOT internal"
    ), "another storage version"


def test_rows_stay_and_keep_their_order(old: Path, fresh: Path, tmp_path: Path) -> None:
    out = tmp_path / "it's new.duckdb"
    upgrade_file(old, out)
    single = f"SELECT * REPLACE ({FLOAT_BEFORE}::FLOAT AS {FLOAT_BEFORE}) FROM neuron"
    for table in tables(fresh):
        query = f'SELECT * FROM "{table}"'
        same = rows(out, query) == rows(fresh, single if table == "neuron" else query)
        assert same, table
    with open_atlas(out) as atlas, open_atlas(fresh) as expected:
        assert atlas.info == expected.info


def test_the_old_file_is_untouched_and_the_new_one_read_only(old: Path) -> None:
    before = old.read_bytes(), old.stat().st_mtime_ns
    out = upgraded_name(old)
    assert out.name == f"old.v{NEXT}.duckdb"
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
    assert upgrade_file(old, out, force=True) == SCHEMA_VERSION
    assert rows(out, "SELECT schema_version FROM atlas") == [(NEXT,)]


def test_a_file_of_this_version_is_left_alone(fresh: Path, tmp_path: Path) -> None:
    assert upgrade_file(fresh, tmp_path / "out.duckdb") == NEXT
    assert list(tmp_path.iterdir()) == [fresh]


def test_files_it_cannot_upgrade(old: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.duckdb"
    for version, error, message in (
        (0, UpgradeError, f"has schema version 0, which was never released; expected 1 to {NEXT}"),
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
    with pytest.raises(UpgradeError, match=r"old\.duckdb cannot be upgraded into .*activation"):
        upgrade_file(old, tmp_path / "new.duckdb")
    monkeypatch.setattr("atlas.core.upgrade.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with duckdb.connect(str(old)) as connection:
        connection.execute("ALTER TABLE example ADD COLUMN activation FLOAT; UPDATE example SET activation = 0")
    with pytest.raises(KeyboardInterrupt):
        upgrade_file(old, tmp_path / "new.duckdb")
    assert [path.name for path in tmp_path.iterdir()] == ["before"]
