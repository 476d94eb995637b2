"""`/{slug}/sql.json`: answers, errors, limits, and what the operator can choose."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from urllib.parse import quote

import duckdb
import pytest
from click.testing import CliRunner

from atlas.core.schema import called_by_macros, macro_names
from web import create_app
from web.server import serve as server
from web.server.command import serve
from web.workers.sql import gate
from web.workers.sql.console import Console, ConsoleOptions
from web.workers.sql.errors import SqlBusy, SqlRefused
from web.workers.sql.limits import CUTS, Limits

SLOW = "SELECT sum(sqrt(a.range) * b.range) FROM range(10000000) a, range(10000000) b"
URL = "/tiny-llama/sql.json"


@pytest.fixture(scope="module")
def console_app(tiny_llama_atlas, tiny_gpt2_atlas):
    """A site over both atlases whose queries have time enough."""
    files = {"tiny-llama": tiny_llama_atlas, "tiny-gpt2": tiny_gpt2_atlas}
    console = Console(files, ConsoleOptions(limits=Limits(seconds=60, running=1, rows=50)))
    reason = console.start()
    if reason is not None:
        console.close()
        pytest.skip(reason)
    app = create_app(files.values(), console=console)
    yield app
    console.close()
    for atlas in app.extensions["atlases"].values():
        atlas.close()


@pytest.fixture
def client(console_app):
    return console_app.test_client()


def error(response) -> dict:
    """The error that a response says, which is strict JSON."""
    assert response.mimetype == "application/json"
    return strict(response)["error"]


def strict(response) -> dict:
    """The JSON of a response, without what JSON does not have."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(response.get_data(as_text=True), parse_constant=refuse)


def test_an_answer(client):
    response = client.get(URL, query_string={"sql": "SELECT layer, 'nan'::DOUBLE AS x FROM neuron LIMIT 2;"})
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert strict(response) == {
        "columns": ["layer", "x"],
        "types": ["INTEGER", "DOUBLE"],
        "truncated": False,
        "notes": [],
        "rows": [[0, "NaN"], [0, "NaN"]],
    }


def test_each_atlas_answers_for_itself(client):
    sql = {"sql": "SELECT slug FROM atlas"}
    assert strict(client.get(URL, query_string=sql))["rows"] == [["tiny-llama"]]
    assert strict(client.get("/tiny-gpt2/sql.json", query_string=sql))["rows"] == [["tiny-gpt2"]]


def test_a_form_and_parameters(client):
    form = {"sql": "SELECT :a || $b AS c", "p.a": "x", "p.b": "é"}
    assert strict(client.post(URL, data=form))["rows"] == [["xé"]]
    assert strict(client.get(URL, query_string=form))["rows"] == [["xé"]]


def test_a_long_answer_is_cut(client):
    answer = strict(client.get(URL, query_string={"sql": "FROM range(1000)"}))
    assert answer["truncated"]
    assert len(answer["rows"]) == 50
    (note,) = answer["notes"]
    assert note == {
        "text": "This is the first part of the answer: it ends at 50 rows, this site's limit. Aggregate, filter, or "
        "ask for the next part with OFFSET.",
        "sql": None,
    }


def test_each_limit_has_a_sentence_that_says_what_to_change():
    limits = Limits(seconds=2.5, memory=64 * 2**20)
    words = [limits.cut_words(cut) for cut in CUTS]
    words += [limits.time_words(), limits.memory_words(), limits.memory_words(disk=True), limits.statement_words()]
    assert len(set(words)) == len(words)
    for number, sentence in zip(
        ("10,000 rows", "2 MiB", "256 KiB", "2.5 s", "64 MiB", "64 MiB", "100,000"), words, strict=True
    ):
        assert number in sentence
    assert "disk" in limits.memory_words(disk=True)


def test_a_pinned_build(client, console_app):
    build = console_app.extensions["atlases"]["tiny-llama"].info.build_id
    sql = {"sql": "SELECT build_id FROM atlas"}
    assert strict(client.get(f"/tiny-llama@{build}/sql.json", query_string=sql))["rows"] == [[build]]
    assert error(client.get("/tiny-llama@000000000000/sql.json", query_string=sql))["code"] == "not_found"
    assert error(client.get("/nothing/sql.json", query_string=sql))["code"] == "not_found"


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("DROP TABLE neuron", 400, "sql_refused"),
        ("SELECT nope", 400, "sql_failed"),
        ("", 400, "sql_refused"),
        ("SELECT '" + "x" * 150_000 + "'", 400, "sql_refused"),
        ("SELECT ('[' || repeat('[', 200000) || repeat(']', 200000) || ']')::JSON::VARIANT", 400, "sql_failed"),
    ],
)
def test_errors(client, sql, status, code):
    response = client.post(URL, data={"sql": sql})
    assert response.status_code == status
    said = error(response)
    assert said["code"] == code
    assert said["message"]


def test_a_query_that_never_ends_is_a_408(tiny_llama_atlas):
    console = Console({"tiny-llama": tiny_llama_atlas}, ConsoleOptions(limits=Limits(seconds=1, running=1)))
    if (reason := console.start()) is not None:
        console.close()
        pytest.skip(reason)
    app = create_app([tiny_llama_atlas], console=console)
    response = app.test_client().post(URL, data={"sql": SLOW})
    assert (response.status_code, error(response)["code"]) == (408, "sql_timeout")
    console.close()
    app.extensions["atlases"]["tiny-llama"].close()


def test_an_error_says_where(client):
    assert error(client.get(URL, query_string={"sql": "SELECT 1, nope"}))["position"] == 10


def test_what_is_not_asked_well(client):
    assert error(client.get(URL))["message"].startswith("There is no sql")
    many = {"sql": "SELECT 1"} | {f"p.a{number}": "1" for number in range(60)}
    assert "60 parameters" in error(client.get(URL, query_string=many))["message"]
    assert client.post(URL, data={"sql": "x" * 2_000_000}).status_code == 413
    assert client.put(URL).status_code == 405


def test_no_room(client, console_app, monkeypatch):
    def ask(*_, **__):
        raise SqlBusy("Too many.", 7)

    monkeypatch.setattr("web.workers.sql.console.Console.ask", ask)
    response = client.get(URL, query_string={"sql": "SELECT 1"})
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "7"
    assert error(response) == {"code": "sql_busy", "message": "Too many."}


def test_health_says_what_is_on(client):
    sql = client.get("/healthz").json["sql"]
    assert sql["on"] is True
    assert sql["reason"] is None
    assert sql["layers"]["landlock"]["on"] is True
    assert sql["layers"]["seccomp"]["on"] is True


def test_no_sql(tiny_llama_atlas):
    console = Console({"tiny-llama": tiny_llama_atlas}, ConsoleOptions(enabled=False))
    app = create_app([tiny_llama_atlas], console=console)
    response = app.test_client().get(URL, query_string={"sql": "SELECT 1"})
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "60"
    assert error(response) == {
        "code": "sql_unavailable",
        "message": "SQL is off here: the operator has switched it off.",
    }
    assert app.test_client().get("/healthz").json["sql"]["on"] is False
    for atlas in app.extensions["atlases"].values():
        atlas.close()


def test_a_machine_that_cannot_confine(tiny_llama_atlas, monkeypatch):
    report = {"layers": {"landlock": {"on": False, "detail": "Linux only"}}, "could": ["read another file"]}
    monkeypatch.setattr("web.workers.sql.console.Console._probed", lambda *_: report)
    for anyway in (False, True):
        console = Console({"tiny-llama": tiny_llama_atlas}, ConsoleOptions(anyway=anyway))
        reason = console.start()
        status = console.status()
        console.close()
        assert status["on"] is anyway
        assert (reason is None) is anyway
        assert status["layers"] == report["layers"]
        if not anyway:
            assert "missing: landlock (Linux only); a query's process could read another file" in reason


def test_the_options(monkeypatch):
    given = {}
    monkeypatch.setattr(server, "serve_files", lambda *arguments, **_: given.update(options=arguments[-1]))
    runner = CliRunner()
    result = runner.invoke(serve, ["x.duckdb"])
    assert result.exit_code == 0, result.output
    assert given["options"] == ConsoleOptions()
    options = "--sql-seconds 2.5 --sql-memory 64 --sql-rows 9 --sql-workers 3 --sql-anyway --no-sql"
    assert runner.invoke(serve, ["x.duckdb", *options.split()]).exit_code == 0
    limits = Limits(seconds=2.5, memory=64 * 2**20, rows=9, running=3)
    assert given["options"] == ConsoleOptions(enabled=False, anyway=True, limits=limits)
    assert runner.invoke(serve, ["x.duckdb", "--sql-seconds", "0"]).exit_code == 2


def test_a_server_ends_queries_whose_visitors_leave(tiny_llama_atlas, console_app):
    code = "from web.server.command import serve; serve()"
    options = ["--port", "0", "--workers", "2", "--sql-seconds", "20", "--sql-workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tiny_llama_atlas), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(re.search(r":(\d+)/", process.stdout.readline())[1])
        for _ in range(6):  # each holds the one place where queries run, until its visitor is gone
            leaver = http.client.HTTPConnection("127.0.0.1", port)
            leaver.request("GET", f"{URL}?sql={quote(SLOW)}")
            time.sleep(0.3)
            leaver.close()
        start = time.monotonic()
        asker = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        asker.request("GET", f"{URL}?sql=SELECT%201")
        response = asker.getresponse()
        assert (response.status, json.load(response)["rows"]) == (200, [[1]])
        asker.close()
        assert time.monotonic() - start < 60  # the six alone may take 20 s each
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def gated():
    """The gate with DuckDB's own parser, before a file whose one table is `token`."""
    with duckdb.connect() as connection:

        def serialize(sql):
            return connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()[0]

        around = gate.Surroundings(
            serialize, lambda name: name == "token", frozenset({"congruence_with", "token_id_of"}), frozenset({"evil"})
        )
        yield lambda sql, longest=1000: gate.check(sql, longest, around).sql


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1", "FROM token", "SHOW token", "SHOW TABLES", "WITH a AS (SELECT 1) FROM a", "FROM congruence_with(1)"],
)
def test_the_gate_lets_through_what_reads_as_it_is(gated, sql):
    assert gated(sql) == sql


def test_behind_explain_every_byte_stays_in_its_place(gated):
    assert gated("EXPLAIN SELECT 1") == "EXPLAIN SELECT 1"
    assert gated("/* é */ explain  SELECT 1") == "         EXPLAIN  SELECT 1"  # é has two bytes
    assert gated("--x\nEXPLAIN FROM token") == "    EXPLAIN FROM token"


@pytest.mark.parametrize(
    ("sql", "code", "position", "said"),
    [
        ("SELECT 1 FROM FROM", "sql_failed", 14, "Parser Error"),
        ("EXPLAIN SELECT 1 FROM FROM", "sql_failed", 22, "Parser Error"),
        ("SELECT 'é' FROM FROM", "sql_failed", 16, "Parser Error"),
        ("SELECT 1; SELECT 2", "sql_refused", None, "There are 2 statements"),
        ("", "sql_refused", None, "There is no statement"),
        ("SELECT 1\0", "sql_refused", 8, "NUL"),
        ("EXPLAIN ANALYZE SELECT 1", "sql_refused", 0, "EXPLAIN ANALYZE runs"),
        (" explain (analyse) SELECT 1", "sql_refused", 1, "EXPLAIN ANALYZE runs"),
        ("SELECT getenv('HOME')", "sql_refused", None, "The function getenv cannot"),
        ("SELECT 1 WHERE Current_Setting('threads') > 1", "sql_refused", None, "The function current_setting cannot"),
        ("FROM read_csv('/etc/passwd')", "sql_refused", None, "The table function read_csv cannot"),
        ("FROM duckdb_settings()", "sql_refused", None, "The table function duckdb_settings cannot"),
        ("FROM evil(1)", "sql_refused", None, "The table function evil cannot"),
        ("SELECT 1 + Evil(1)", "sql_refused", None, "The macro evil cannot be used here"),
        ("SELECT evil(1) OVER ()", "sql_refused", None, "The macro evil cannot be used here"),
        ('FROM "other".congruence_with(1)', "sql_refused", None, "without a database before it"),
        ("SELECT other.main.token_id_of(' an')", "sql_refused", None, "without a database before it"),
        ("FROM congruence_with(getenv('HOME'))", "sql_refused", None, "The function getenv cannot"),
        ("FROM duckdb_databases", "sql_refused", None, "The view duckdb_databases cannot"),
        ("SHOW threads", "sql_refused", None, "nothing to show under the name threads"),
        ("DELETE FROM token", "sql_refused", None, "Only one statement that reads"),
        ("COPY token TO 'x'", "sql_refused", None, "Only one statement that reads"),
    ],
)
def test_the_gate_says_what_is_wrong_and_where(gated, sql, code, position, said):
    with pytest.raises(gate.RefusedError) as caught:
        gated(sql)
    assert said in str(caught.value)
    assert (caught.value.code, caught.value.position) == (code, position)


def test_the_gate_counts_bytes(gated):
    sql = "SELECT 'é'"
    assert gated(sql, 11) == sql
    with pytest.raises(gate.RefusedError, match="longer than 10 bytes"):
        gated(sql, 10)


def test_a_files_own_macros_are_not_run(tiny_llama_atlas, tmp_path):
    path = tmp_path / "hostile.duckdb"
    shutil.copyfile(tiny_llama_atlas, path)
    path.chmod(0o600)
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE OR REPLACE MACRO congruence_with(token) AS TABLE SELECT 'theirs' AS neuron")
        connection.execute("CREATE MACRO peek() AS TABLE SELECT path FROM duckdb_databases()")
        connection.execute("CREATE MACRO abs(x) AS current_setting('temp_directory')")
    console = Console({"tiny-llama": path}, ConsoleOptions(limits=Limits(seconds=60, running=1)))
    if (reason := console.start()) is not None:
        console.close()
        pytest.skip(reason)
    try:
        ours = console.ask("tiny-llama", "SELECT count(*), min(neuron) FROM congruence_with(5)")
        assert ours.rows == [[144, "L0N0"]]
        qualified = ('FROM "tiny-llama".congruence_with(5)', "FROM main.congruence_with(5)")
        for sql in ("FROM peek()", "SELECT abs(-1)", *qualified):
            with pytest.raises(SqlRefused):
                console.ask("tiny-llama", sql)
    finally:
        console.close()


@pytest.mark.parametrize("name", ["list_dot_product", "+"])
def test_macros_that_would_run_a_files_own_are_refused(name):
    """`congruence_with` calls list_dot_product: a file's macro of that name would answer in its place."""
    with duckdb.connect() as connection:
        around = gate.Surroundings(
            serialize=lambda sql: connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()[0],
            is_table=lambda name: False,
            macros=macro_names(),
            foreign={"unrelated", name},
            called=called_by_macros(),
        )
        with pytest.raises(gate.RefusedError, match=f"has a macro {re.escape(repr(name))} of its own"):
            gate.check("FROM congruence_with(' an')", 1000, around)
        assert gate.check("SELECT abs(-1) FROM token", 1000, around)
        fine = replace(around, foreign={"unrelated"})
        assert gate.check("FROM congruence_with(' an')", 1000, fine)
