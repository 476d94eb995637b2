"""What is not merged, and how it is said: the first difference with both files; and nothing half-written."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from atlas import open_atlas
from atlas.cli import main as cli
from atlas.core.errors import AtlasError, NotAnAtlasError, SchemaVersionError, SlugError
from atlas.core.files import OutputFileError
from atlas.core.info import AtlasInfo
from ingest.errors import OutputError
from ingest.file.writer import AtlasWriter
from ingest.merge.merge import MergeReport, merge
from ingest.merge.parts import MAY_DIFFER, MergeError, Part, check_alike

Altered = Callable[..., Path]


def change(path: Path, statement: str, *values: object) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement, values)


@pytest.fixture
def altered(tiny_gpt2_atlas: Path, tmp_path: Path) -> Altered:
    """Make a part out of the tiny atlas, its texts renumbered from `first`, and change it by SQL."""

    def make(name: str, *statements: str, first: int = 0) -> Path:
        path = tmp_path / f"{name}.duckdb"
        shutil.copy(tiny_gpt2_atlas, path)
        path.chmod(0o644)
        change(path, f'UPDATE "text" SET text_id = text_id + {first}, source_row = source_row + {first}')
        change(path, f"UPDATE example SET text_id = text_id + {first}")
        change(path, f"UPDATE atlas SET first_text = {first}, text_ranges = concat({first}, ':', {first} + n_texts)")
        for statement in statements:
            change(path, statement)
        return path

    return make


@pytest.fixture
def parts(altered: Altered) -> list[Path]:
    """Two parts that merge."""
    return [altered("one"), altered("two", first=1000)]


def run(*paths: Path, out: Path | None = None, **options: object) -> MergeReport:
    return merge(paths, out or paths[0].with_name("out.duckdb"), Console(quiet=True), **options)


def contents(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def refused(error: type[AtlasError], *paths: Path, **options: object) -> str:
    before = contents(paths[0].parent)
    with pytest.raises(error) as caught:
        run(*paths, **options)
    assert contents(paths[0].parent) == before, "something was left behind"
    return str(caught.value)


COLUMNS = [field.name for field in fields(AtlasInfo) if field.name not in {*MAY_DIFFER, "schema_version"}]


def test_every_setting_must_agree() -> None:
    assert set(COLUMNS) == {
        "model_fingerprint",
        "n_layers",
        "d_model",
        "d_mlp",
        "d_vocab",
        "act_fn",
        "gated",
        "normalization",
        "readout",
        "dataset_fingerprint",
        "text_column",
        "context_length",
        "bos_token_id",
        "bos_counted",
        "overflow",
        "dtype",
        "seed",
        "hook",
        "top_tokens",
        "top_neurons",
        "top_texts",
        "pair_candidates",
        "window",
        "has_weights",
    }


def test_a_setting_that_differs_is_named_with_both_values(tiny_gpt2_atlas: Path) -> None:
    with open_atlas(tiny_gpt2_atlas) as atlas:
        one = Part(Path("one.duckdb"), atlas.info, [range(10)])
    for name in COLUMNS:
        value = getattr(one.info, name)
        different = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else f"not {value}"
        other = Part(Path("two.duckdb"), replace(one.info, **{name: different}), [range(10, 20)])
        said = f"'one.duckdb' and 'two.duckdb' cannot be merged: {name} is {value!r} in the first and {different!r} in"
        with pytest.raises(MergeError, match=re.escape(said)):
            check_alike(one, other, None)


def test_another_model(parts: list[Path]) -> None:
    one, two = parts
    change(two, "UPDATE atlas SET seed = 3, model_fingerprint = 'f00d'")
    text = refused(MergeError, one, two)
    assert f"'{one}' and '{two}' cannot be merged: model_fingerprint is '" in text
    assert "' in the first and 'f00d' in the second. Parts must be of the same model, data and options." in text


def test_a_text_run_twice(altered: Altered) -> None:
    one, two = altered("one"), altered("two", first=40)
    with duckdb.connect(str(one), read_only=True) as connection:
        ((n,),) = connection.execute("SELECT n_texts FROM atlas").fetchall()
    text = refused(MergeError, two, one)
    assert f"'{one}' and '{two}' cannot be merged: both ran texts 40:{n} " in text
    assert f"text_ranges is '0:{n}' in the first and '40:{40 + n}' in the second" in text


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        (
            "DELETE FROM candidate_pair WHERE neuron_id = 3 AND token_id = "
            "(SELECT min(token_id) FROM candidate_pair WHERE neuron_id = 3)",
            r"the number of rows of candidate_pair for neuron_id 3, token_id \d+ is 1 in the .* 0 in the",
        ),
        (
            "INSERT INTO candidate_pair (FROM candidate_pair WHERE false) UNION ALL VALUES (5, 99999, 0.0, 'user')",
            "the number of rows of candidate_pair for neuron_id 5, token_id 99999 is 0 in the first and "
            "1 in the second",
        ),
        (
            "UPDATE candidate_pair SET source = 'user' WHERE neuron_id = 9",
            r"candidate_pair\.source of neuron_id 9, token_id \d+ is '.*' in the first and 'user' in the "
            "second.*--pairs",
        ),
        (
            "UPDATE token SET piece = 'Ġan' WHERE token_id >= 7",
            r"token\.piece of token_id 7 is .* in the first and 'Ġan' in the second.*same tokenizer",
        ),
    ],
)
def test_other_pairs_or_tokens(parts: list[Path], statement: str, difference: str) -> None:
    change(parts[1], statement)
    assert re.search(difference, refused(MergeError, *parts))


def test_congruence_may_round_differently(parts: list[Path]) -> None:
    """Two machines; the first part's is kept."""
    change(parts[1], "UPDATE candidate_pair SET congruence = congruence + 1e-6")
    assert run(*parts).n_parts == 2


def test_files_that_are_no_parts(parts: list[Path]) -> None:
    one, two = parts
    assert "1 file to merge; expected two or more" in refused(MergeError, one)
    assert f"'{one}' is named twice" in refused(MergeError, one, two, one)
    link = one.with_name("link.duckdb")
    link.symlink_to(one)
    assert f"'{link}' is named twice, the first time as '{one}'" in refused(MergeError, one, link)
    assert "does not exist" in refused(NotAnAtlasError, one, one.with_name("none.duckdb"))
    change(two, "UPDATE atlas SET schema_version = 0")
    assert f"`atlas upgrade {two}` writes a new one" in refused(SchemaVersionError, one, two)


def test_the_output(parts: list[Path]) -> None:
    one, two = parts
    text = refused(MergeError, one, two, out=two, force=True)
    assert f"--out '{two}' is one of the parts, which are only read" in text
    out = one.with_name("out.duckdb")
    out.write_text("mine")
    assert "out.duckdb' exists already. Choose another --out" in refused(OutputFileError, one, two)
    assert "does not exist. Create it first" in refused(OutputFileError, one, two, out=out.parent / "no" / "x.duckdb")
    assert run(one, two, force=True).out == out
    assert not out.stat().st_mode & 0o222, "a published file is read-only"
    with open_atlas(out) as atlas:
        assert atlas.info.text_ranges.count(",") == 1


def test_slugs(parts: list[Path]) -> None:
    change(parts[1], "UPDATE atlas SET slug = 'another'")
    text = refused(MergeError, *parts)
    assert "slug is 'tiny-gpt2' in the first and 'another' in the second. Name the whole with --slug." in text
    assert "'Not A Slug' is not allowed" in refused(SlugError, *parts, slug="Not A Slug")
    report = run(*parts, slug="together")
    with open_atlas(report.out) as atlas:
        assert (atlas.info.slug, atlas.info.build_id) == ("together", report.build_id)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("place", ["write", "close", "publish"])
def test_an_interrupted_merge_leaves_nothing(
    parts: list[Path], monkeypatch: pytest.MonkeyPatch, error: type[BaseException], place: str
) -> None:
    out = parts[0].with_name("out.duckdb")
    out.write_text("mine")
    before = contents(out.parent)
    monkeypatch.setattr(AtlasWriter, place, lambda *_: (_ for _ in ()).throw(error()))
    with pytest.raises(error):
        run(*parts, force=True)
    assert contents(out.parent) == before


def test_a_finished_merge_is_not_lost_to_a_file_that_appeared(
    parts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = parts[0].with_name("out.duckdb")
    monkeypatch.setattr("ingest.merge.merge.check_file", lambda *_: out.write_text("theirs"))
    report = run(*parts)
    assert out.read_text() == "theirs"
    assert report.out.name == f"out-{report.build_id}.duckdb"


def test_parts_that_do_not_hold_together_are_not_published(parts: list[Path]) -> None:
    change(parts[1], "DELETE FROM activation_histogram WHERE neuron_id = 3")
    assert "histograms that do not sum to n_positions" in refused(OutputError, *parts)


def test_a_part_without_a_table(parts: list[Path]) -> None:
    change(parts[1], "DROP TABLE prediction_histogram")
    text = refused(MergeError, *parts)
    assert "A part cannot be read" in text
    assert "prediction_histogram" in text


def command(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, ["merge", *map(str, arguments)])


def test_the_command_line(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    out = parts[0].with_name("out.duckdb")
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/atlas", "merge", "one.duckdb", "a part.duckdb"])
    result = command(*parts, "--out", out)
    assert result.exit_code == 0, result.output
    with open_atlas(out) as atlas:
        info = atlas.info
    assert result.stdout.startswith(
        f"{out}  build {info.build_id}: 2 parts, {info.n_texts:,} texts, {info.n_positions:,} positions, "
    )
    assert info.command == "atlas merge one.duckdb 'a part.duckdb'"
    again = command(*parts, "--out", out)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "exists already" in again.stderr
    assert command(*parts, "--out", out, "--force").exit_code == 0
    assert command(parts[0], "--out", out, "--force").exit_code == 1
    assert command("--out", out).exit_code == 2
    assert sorted(path.name for path in out.parent.iterdir()) == ["one.duckdb", "out.duckdb", "two.duckdb"]
