"""What the README and the documents say: commands run, links lead somewhere, numbers are the demo atlas's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import duckdb
import pytest
from click.testing import CliRunner

from atlas.cli.main import main
from atlas.export.folder import export
from docs.outputs import DEMO, ROOT, documented_identity, identity
from ingest.effects.command import effects
from ingest.file.checks import bytes_per_table
from ingest.merge.command import merge
from ingest.run.command import ingest
from ingest.study.command import study
from web.server.command import serve

README = (ROOT / "README.md").read_text(encoding="utf-8")
FINDINGS = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
SQL = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
SCALE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    line
    for document in DOCUMENTS
    for block in re.findall(r"```sh\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    for line in re.sub(r"\\\n\s*", "", block).splitlines()
    if line and not line.startswith("#")
]

_CURVE = "SELECT sum(n), sum(n_predicted) FROM prediction_curve WHERE neuron = '{}' AND token = '{}' AND lower >= {}"
_NEURONS = """SELECT n.name, round(c.congruence, 1), b."text" FROM token_neuron AS c JOIN token AS t USING (token_id)
    JOIN neuron AS n USING (neuron_id) JOIN token AS b ON b.token_id = n.best_token_id
    WHERE t."text" = ' an' AND c.direction = 'top' AND c.rank <= 6 ORDER BY c.rank"""
_DIRECTION = """SELECT n.name,
    round(list_dot_product(w.w_out, x.readout) - list_dot_product(w.w_out, y.readout), 2) AS c,
    round(list_dot_product(w.w_out, y.readout), 2)
    FROM neuron_weight AS w JOIN neuron AS n USING (neuron_id),
    (SELECT readout FROM token_weight JOIN token USING (token_id) WHERE "text" = ' an') AS x,
    (SELECT readout FROM token_weight JOIN token USING (token_id) WHERE "text" = ' a') AS y ORDER BY c DESC LIMIT 2"""
FACTS = [
    ("30 layers of 1,536 gated neurons", "SELECT n_layers, d_mlp, gated FROM atlas", [(30, 1536, True)]),
    ("Of the 102,610 positions read", "SELECT n_positions FROM atlas", [(102610,)]),
    (
        'The runner-up for " than" trails by 11.9',
        "SELECT round(neuron_gap, 1) FROM token WHERE \"text\" = ' than'",
        [(11.9,)],
    ),
    ("at 89 positions in all", "SELECT n_predicted FROM token WHERE \"text\" = ' than'", [(89,)]),
    ("at 79 of them this neuron is at 2 or more", _CURVE.format("L24N917", " than", 2), [(650, 79)]),
    (
        "at only one of the 187 positions where that neuron is at 1.5 or more",
        _CURVE.format("L27N1263", " right", 1.5),
        [(187, 1)],
    ),
    (
        "The best-scoring positive pair of a word that occurs in the texts",
        "SELECT neuron, token FROM pair WHERE direction = 'top' AND n_actual > 0 AND regexp_matches(token, '[a-z]') "
        "ORDER BY rank LIMIT 1",
        [("L27N1263", " right")],
    ),
    ("(12.4 to 11.4)", _NEURONS + " LIMIT 2", [("L25N1527", 12.4, " an"), ("L27N554", 11.4, " a")]),
    ("the five after it are\nmost congruent with", f'SELECT "text" FROM ({_NEURONS} OFFSET 1)', [(" a",)] * 5),
    ('its own congruence with " a" is -2.90', f"SELECT * FROM ({_DIRECTION}) LIMIT 1", [("L25N1527", 15.31, -2.9)]),
    ("congruence is 15.3, the next neuron's 7.12", f"SELECT c FROM ({_DIRECTION})", [(15.31,), (7.12,)]),
    ("predicted at 6 of 10 positions", _CURVE.format("L25N1527", " an", 4), [(10, 6)]),
    ("only 11: strong firing coincides", _CURVE.format("L25N1527", " an", 2), [(81, 11)]),
    ("of the 46 positions", "SELECT n_predicted FROM token WHERE \"text\" = ' an'", [(46,)]),
    ('" an" comes 423 times', "SELECT n_actual FROM token WHERE \"text\" = ' an'", [(423,)]),
    ('53 predict " than"', _CURVE.format("L24N917", " than", 16), [(93, 53)]),
    ("predicts at 13 in all", "SELECT n_predicted FROM token WHERE \"text\" = ' right'", [(13,)]),
    ("is 15.3, the runner-up's 7.12", f"SELECT c FROM ({_DIRECTION})", [(15.31,), (7.12,)]),
    (
        "restores 62% of the logit",
        "SELECT neuron, round(recovery, 2) FROM study_neuron WHERE study = 'an' ORDER BY rank LIMIT 1",
        [("L25N1527", 0.62)],
    ),
    ("at only 11 of the 46 positions", _CURVE.format("L25N1527", " an", 2), [(81, 11)]),
    (
        "the model’s top prediction at 62 of 119 positions (52%)",
        "SELECT n_hits, n_beyond, threshold, round(recall, 2), round(auroc, 2) FROM neuron_prediction "
        "WHERE neuron = 'L24N917'",
        [(62, 119, 14, 0.7, 0.95)],
    ),
    (
        "over 20,472 pairs of 60 tokens (5,791 positions)",
        "SELECT count(*), count(DISTINCT token_id), (SELECT max(n_positions) FROM neuron_attribution) "
        "FROM pair_attribution WHERE n >= 10",
        [(20472, 60, 5791)],
    ),
    ("46,080 neurons and 49,152 tokens", "SELECT n_layers * d_mlp, d_vocab FROM atlas", [(46080, 49152)]),
]
"""Sentences of the README or of docs/findings.md, the query behind each, and its answer."""


@pytest.fixture(scope="module")
def demo() -> Iterator[duckdb.DuckDBPyConnection]:
    """The demo atlas, if it is the build that the README speaks of."""
    if not DEMO.exists():
        pytest.skip("there is no demo.duckdb; `make demo` builds it")
    with duckdb.connect(str(DEMO), read_only=True) as connection:
        if identity(connection) != documented_identity():
            pytest.skip("demo.duckdb is another build than the README's")
        yield connection


@pytest.mark.parametrize(("sentence", "sql", "answer"), FACTS, ids=[sentence for sentence, *_ in FACTS])
def test_what_the_documents_say_is_so(demo: duckdb.DuckDBPyConnection, sentence: str, sql: str, answer: list) -> None:
    assert sentence in README + FINDINGS + SCALE
    rows = [tuple(round(v, 3) if isinstance(v, float) else v for v in row) for row in demo.execute(sql).fetchall()]
    assert rows == [tuple(pytest.approx(v) if isinstance(v, float) else v for v in row) for row in answer]


def test_the_table_of_tables(demo: duckdb.DuckDBPyConnection) -> None:
    listed = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| .*\| ([\d,]+) \| ([\d.]+) \|$", SCALE, re.MULTILINE)
    sizes = bytes_per_table(DEMO)
    found = []
    for names, rows, megabytes in listed:
        tables = re.findall(r"\w+", names)
        found += tables
        counted = sum(demo.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables)
        assert counted == int(rows.replace(",", "")), names
        assert sum(sizes[table] for table in tables) / 1e6 == pytest.approx(float(megabytes), abs=0.6), (
            names
        )  # builds differ by a block or two
    assert set(found) == set(sizes)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make ")])
def test_make_targets_exist(line: str) -> None:
    target = line.split("#")[0].split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("atlas ingest")])
def test_ingest_lines_are_well_formed(line: str) -> None:
    with ingest.make_context("ingest", shlex.split(line)[2:]) as context:
        assert isinstance(context, click.Context)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("torchrun")])
def test_torchrun_lines_are_well_formed(line: str) -> None:
    launcher, arguments = line.split(" -m ingest ")
    assert re.fullmatch(r"torchrun --nproc-per-node \d+", launcher)
    with ingest.make_context("ingest", shlex.split(arguments)) as context:
        assert context.params["checkpoint"]


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("atlas merge")])
def test_merge_lines_are_well_formed(line: str) -> None:
    with merge.make_context("merge", shlex.split(line)[2:]) as context:
        assert len(context.params["parts"]) == 2


@pytest.mark.parametrize("line", re.findall(r"`(atlas serve [^`]*)`", README))
def test_serve_lines_are_well_formed(line: str) -> None:
    with serve.make_context("serve", shlex.split(line)[2:]) as context:
        assert context.params["files"]


@pytest.mark.parametrize("line", [line for line in COMMANDS if re.match("atlas (info|show|sql)", line)])
def test_reading_commands_run(line: str, tiny_llama_atlas: Path) -> None:
    words = [str(tiny_llama_atlas) if word == "demo.duckdb" else word for word in shlex.split(line)[1:]]
    result = CliRunner().invoke(main, ["L1N7" if word == "L24N917" else word for word in words])
    assert result.exit_code == 0, result.output
    assert result.output.strip()


@pytest.mark.parametrize("line", [line for line in COMMANDS if re.match("atlas (study|effects)", line)])
def test_lines_of_experiments_are_well_formed(line: str) -> None:
    command = {"study": study, "effects": effects}[shlex.split(line)[1]]
    with command.make_context("experiment", shlex.split(line)[2:]) as context:
        assert context.params["file"]


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("atlas export")])
def test_export_lines_are_well_formed(line: str) -> None:
    with export.make_context("export", shlex.split(line)[2:]) as context:
        assert context.params["folder"]


def test_the_readme_is_short() -> None:
    """What a reader reads before deciding; the rest is in docs/."""
    assert len(README[: README.index("\n## More\n")].split()) <= 900


def test_every_command_is_tested() -> None:
    assert {" ".join(line.split()[:2]) for line in COMMANDS} == {
        "make demo",
        "make test",
        "atlas effects",
        "atlas export",
        "atlas ingest",
        "atlas info",
        "atlas merge",
        "atlas show",
        "atlas sql",
        "atlas study",
        "torchrun --nproc-per-node",
    }


def test_the_python_example_runs(tiny_llama_atlas: Path, capsys: pytest.CaptureFixture) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", SQL, re.DOTALL)
    exec(code.replace("demo.duckdb", str(tiny_llama_atlas)), {})
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def test_the_schema_is_counted_right() -> None:
    schema = (ROOT / "schema.sql").read_text()
    tables, views = len(re.findall(r"^CREATE TABLE", schema, re.MULTILINE)), schema.count("CREATE VIEW")
    assert f"now {tables} tables and {views} views" in " ".join((ROOT / "CHANGELOG.md").read_text().split())
