"""The command line: what it prints, and how it fails."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from decimal import Decimal
from importlib.metadata import EntryPoint

import click
import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from atlas.cli import main as cli
from atlas.cli.terminal import sparkline
from atlas.core.display import show_number
from atlas.core.schema import SCHEMA_VERSION


@pytest.fixture
def atlas(monkeypatch):
    """Run `atlas` with arguments; only this package's commands and whatever a test adds are registered."""
    points = {
        name: EntryPoint(name, f"atlas.cli.commands:{name}", "atlas.cli.commands")
        for name in ("info", "show", "sql", "upgrade")
    }

    def run(*arguments, extra=()):
        found = {**points, **{point.name: point for point in extra}}
        monkeypatch.setattr(cli.AtlasGroup, "_points", lambda self: found)
        return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])

    return run


def test_version(atlas):
    result = atlas("--version")
    assert result.output.split()[0] == "atlas"
    assert result.exit_code == 0


def test_the_program_registers_its_commands():
    from importlib.metadata import entry_points

    registered = {point.name: point.value for point in entry_points(group="atlas.commands")}
    assert {"info", "show", "sql", "upgrade", "ingest", "merge", "serve"} <= set(registered)
    assert registered["serve"] == "web.server.command:serve"


def test_help_names_a_command_whose_libraries_are_missing(atlas):
    point = EntryPoint("ingest", "ingest.no_such_module:ingest", "atlas.cli.commands")
    result = atlas("--help", extra=[point])
    assert result.exit_code == 0
    assert "(not installed: pip install 'neuron-atlas[ingest]')" in result.output


def test_a_command_whose_libraries_are_missing_says_what_to_install(atlas):
    point = EntryPoint("ingest", "ingest.no_such_module:ingest", "atlas.cli.commands")
    result = atlas("ingest", "--model", "x", extra=[point])
    assert result.exit_code == 1
    assert (
        "`atlas ingest` needs libraries that are not installed (No module named 'ingest.no_such_module')"
        in result.stderr
    )
    assert "pip install 'neuron-atlas[ingest]'" in result.stderr


def test_an_unknown_command(atlas):
    result = atlas("nonsense")
    assert result.exit_code == 2
    assert "No such command 'nonsense'" in result.stderr


def test_an_error_is_a_message_and_status_1(atlas, tmp_path):
    result = atlas("info", tmp_path / "no.duckdb")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {tmp_path / 'no.duckdb'} does not exist; expected an atlas file")


def test_an_interrupt_is_status_130(atlas, monkeypatch, tiny_llama_atlas):
    @click.command()
    def wait():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "waiting", wait, raising=False)
    result = atlas("wait", extra=[EntryPoint("wait", "atlas.cli.main:waiting", "atlas.cli.commands")])
    assert result.exit_code == 130
    assert "Interrupted." in result.stderr


def test_info(atlas, tiny_llama_atlas):
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        build_id, n_positions = connection.execute("SELECT build_id, n_positions FROM atlas").fetchone()
    result = atlas("info", tiny_llama_atlas)
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.output.splitlines() if len(line.split()) > 1)
    assert lines["build_id"].strip() == build_id
    assert lines["n_positions"].strip() == f"{n_positions:,}"
    data = json.loads(atlas("info", tiny_llama_atlas, "--json").output)
    assert data["build_id"] == build_id
    assert isinstance(data["versions"], dict)


@pytest.mark.parametrize(("fixture", "gated"), [("tiny_llama_atlas", True), ("tiny_gpt2_atlas", False)])
def test_show(atlas, request, fixture, gated):
    path = request.getfixturevalue(fixture)
    result = atlas("show", path, "1.7", "--texts", "2")
    assert result.exit_code == 0, result.output
    output = result.output
    assert output.startswith("L1N7 ")
    for title in ("Best tokens", "Worst tokens", "Predicted and actual against activation", "Greatest activations"):
        assert title in output
    assert ("Least activations" in output) == gated
    with duckdb.connect(str(path), read_only=True) as connection:
        activation = connection.execute(
            "SELECT activation FROM max_activating_example WHERE neuron = 'L1N7' AND kind = 'max' AND rank = 1"
        ).fetchone()[0]
    assert show_number(activation) in output


def test_show_lists_several_neurons(atlas, tiny_llama_atlas):
    result = atlas("show", tiny_llama_atlas, "1.7", "L2N3", "L1N7")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split() == ["neuron", "verdict", "writes"]
    assert [line.split()[0] for line in lines if re.match(r"L\d", line)] == ["L1N7", "L2N3"]
    wrong = atlas("show", tiny_llama_atlas, "L1N7", "L2N99", "nine")
    assert wrong.exit_code == 1
    assert "'L2N99' (nearest: L2N47), 'nine'" in wrong.output


def test_show_never_sends_control_characters_to_the_terminal(atlas, tiny_llama_atlas):
    hostile = "SELECT DISTINCT neuron FROM congruence WHERE token LIKE '%\u202e%' AND rank <= 5 ORDER BY 1 LIMIT 4"
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        neurons = [name for (name,) in connection.execute(hostile).fetchall()]
    assert neurons
    for neuron in neurons:
        output = atlas("show", tiny_llama_atlas, neuron).output
        assert "\u202e" not in output
        assert "\x1b" not in output


def test_show_refuses_other_neurons(atlas, tiny_llama_atlas):
    result = atlas("show", tiny_llama_atlas, "L9N1")
    assert (result.exit_code, result.stderr) == (1, "Error: There is no layer 9: this model has layers 0 to 2.\n")
    result = atlas("show", tiny_llama_atlas, "nine")
    assert "'nine' is not a neuron name; write it as L31N892" in result.stderr


def test_sql_as_json_is_strict(atlas, tiny_llama_atlas):
    sql = "SELECT 'nan'::FLOAT AS a, '-infinity'::DOUBLE AS b, [1, NULL] AS c, bytes AS d FROM token WHERE token_id = 0"
    result = atlas("sql", tiny_llama_atlas, sql, "--format", "json")
    data = json.loads(result.output, parse_constant=pytest.fail)
    assert data["columns"] == ["a", "b", "c", "d"]
    assert data["rows"] == [["NaN", "-Infinity", [1, None], b"<|bos|>".hex()]]
    assert data["truncated"] is False


def test_sql_as_csv(atlas, tiny_llama_atlas):
    sql = "SELECT name, layer, NULL AS nothing FROM neuron ORDER BY neuron_id LIMIT 2"
    result = atlas("sql", tiny_llama_atlas, sql, "--format", "csv")
    assert list(csv.reader(io.StringIO(result.output))) == [
        ["name", "layer", "nothing"],
        ["L0N0", "0", ""],
        ["L0N1", "0", ""],
    ]


def test_sql_keeps_types(atlas, tiny_llama_atlas):
    sql = "-- a note\n\nSELECT 1.50::DECIMAL(4, 2) AS a, INTERVAL 1 MONTH AS a, '' AS b, NULL AS c, {'d': 1} AS d; --\n"
    assert atlas("sql", tiny_llama_atlas, sql, "--format", "csv").output == 'a,a,b,c,d\n1.50,1 month,"",,"{""d"": 1}"\n'
    assert json.loads(atlas("sql", tiny_llama_atlas, sql, "--format", "json").output) == {
        "columns": ["a", "a", "b", "c", "d"],
        "types": [
            "DECIMAL(4,2)",
            "INTERVAL",
            "VARCHAR",
            "INTEGER" if duckdb.__version__ < "2" else '"NULL"',
            "STRUCT(d INTEGER)",
        ],
        "rows": [["1.50", "1 month", "", None, {"d": 1}]],
        "truncated": False,
    }
    made = atlas("sql", tiny_llama_atlas, sql, "--format", "parquet", "--with", tiny_llama_atlas.with_name("x"))
    assert made.exit_code == 1
    made = atlas("sql", tiny_llama_atlas, sql, "--format", "parquet").stdout_bytes
    assert pq.read_table(io.BytesIO(made)).to_pylist() == [
        {"a": Decimal("1.50"), "a_1": "1 month", "b": "", "c": None, "d": {"d": 1}}
    ]
    assert "1 month" in atlas("sql", tiny_llama_atlas, sql).output


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1; SELECT 2", "There are 2 statements; expected one. Run them one at a time."),
        ("-- nothing here\n", "There is no statement; expected one, such as SELECT count(*) FROM neuron."),
        ("", "There is no statement; expected one, such as SELECT count(*) FROM neuron."),
    ],
)
def test_sql_takes_one_statement(atlas, tiny_llama_atlas, sql, said):
    result = atlas("sql", tiny_llama_atlas, sql)
    assert (result.exit_code, result.stderr) == (1, f"Error: {said}\n")


def test_sql_that_begins_with_a_comment_is_no_option(atlas, tiny_llama_atlas):
    for sql in ("--note\nSELECT 7 AS n", "-- format=csv\nSELECT 7 AS n", "SELECT E'a\\';b', 7 AS n", "SELECT 7 AS n;;"):
        assert atlas("sql", "--format", "csv", tiny_llama_atlas, sql).output.endswith("7\n"), sql
    assert atlas("sql", tiny_llama_atlas, "SELECT 1", "--formt", "csv").exit_code == 2
    pivot = atlas("sql", tiny_llama_atlas, "PIVOT (FROM (VALUES (1), (1)) t(a)) ON a USING count(*)", "--format", "csv")
    assert pivot.output == "1\n2\n"


def test_sql_as_a_table_shows_what_is_invisible(atlas, tiny_llama_atlas):
    result = atlas("sql", tiny_llama_atlas, "SELECT chr(27) || '[31m' AS a, chr(8238) AS b, '[bold]x' AS c")
    assert result.output.split() == ["a", "b", "c", "\\x1b[31m", "\\u202e", "[bold]x"]


def test_sql_cannot_change_the_file(atlas, tiny_llama_atlas):
    result = atlas("sql", tiny_llama_atlas, "DELETE FROM token")
    assert result.exit_code == 1
    assert "read-only" in result.stderr
    assert "Traceback" not in result.output


def test_sql_over_several_files(atlas, tiny_llama_atlas, tiny_gpt2_atlas):
    sql = 'SELECT a.slug, b.slug, c.slug FROM atlas AS a, "tiny-llama".atlas AS b, "tiny-gpt2".atlas AS c'
    result = atlas("sql", tiny_llama_atlas, sql, "--with", tiny_gpt2_atlas, "--format", "json")
    assert json.loads(result.output)["rows"] == [["tiny-llama", "tiny-llama", "tiny-gpt2"]]
    refused = atlas("sql", tiny_llama_atlas, 'DELETE FROM "tiny-gpt2".token', "--with", tiny_gpt2_atlas)
    assert refused.exit_code == 1
    assert "read-only" in refused.stderr
    twice = atlas("sql", tiny_llama_atlas, "SELECT 1", "--with", tiny_llama_atlas)
    assert twice.exit_code == 1
    assert "has the slug 'tiny-llama', as does another file; expected different slugs" in twice.stderr


def test_sql_errors_are_duckdbs_own(atlas, tiny_llama_atlas):
    result = atlas("sql", tiny_llama_atlas, "SELECT nonsense FROM token")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The query failed on tiny-llama.duckdb: Binder Error")


def test_upgrade(atlas, tiny_llama_atlas, tmp_path, monkeypatch):
    result = atlas("upgrade", tiny_llama_atlas)
    assert result.exit_code == 0
    assert f"has schema version {SCHEMA_VERSION}, the one this program reads: nothing to do" in result.output
    old, next_one = tmp_path / "old.duckdb", SCHEMA_VERSION + 1
    said = f"in schema version {next_one} from {old}"
    shutil.copy(tiny_llama_atlas, old)
    for module in ("core.schema", "core.upgrade", "core.db", "cli.commands"):
        monkeypatch.setattr(f"atlas.{module}.SCHEMA_VERSION", next_one)
    refused = atlas("info", old)
    assert refused.exit_code == 1
    assert f"`atlas upgrade {old}` writes a new one" in refused.stderr
    for arguments, out in (((), f"old.v{next_one}.duckdb"), (("--out", tmp_path / "new.duckdb"), "new.duckdb")):
        result = atlas("upgrade", old, *arguments)
        assert (result.exit_code, result.output) == (0, f"{tmp_path / out} written {said}, which has version 1.\n")
        assert atlas("info", tmp_path / out).exit_code == 0
    again = atlas("upgrade", old)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "exists already" in again.stderr
    assert atlas("upgrade", old, "--force").exit_code == 0


def test_sparklines():
    assert sparkline([0, 1, 2, 8]) == " ▁▂█"
    assert sparkline([0.5, 1], top=1) == "▄█"
    assert sparkline([0, 0]) == "  "
