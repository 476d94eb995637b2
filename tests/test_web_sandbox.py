"""Visitors' SQL in its sandbox: what it answers, what it may not do, when it ends, and what each layer does alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from atlas.core.answer.parquet import parquet
from atlas.core.sql_text import parameter_names, with_dollars
from tests.answer_types import known
from tests.hostile_sql import ALL, DATABASE, HOSTILE, OTHER
from web.workers.sql.answer import Answer
from web.workers.sql.console import Console, ConsoleOptions
from web.workers.sql.errors import SqlBusy, SqlError, SqlFailed, SqlRefused, SqlTimeout, SqlUnavailable
from web.workers.sql.limits import TURNED_AWAY, Limits

SLOW = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
LIMITS = Limits(seconds=1, running=2)
PATIENT = Limits(seconds=60, running=2)
"""Where time is not what is tested."""
AT_LAST = 20
"""Seconds by which a query with a limit of one has ended, on whatever machine; most of those here never would."""


@pytest.fixture(scope="module")
def served(tiny_llama_atlas, tiny_gpt2_atlas, tmp_path_factory) -> Path:
    """An atlas in a folder of its own, another one beside it."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(tiny_gpt2_atlas, folder / "beside.duckdb")
    return Path(shutil.copy(tiny_llama_atlas, folder / "atlas.duckdb"))


@pytest.fixture(scope="module")
def sandbox(served):
    """A sandbox with time enough, the other atlas attached."""
    with closing(together(served, PATIENT)) as made:
        yield made


@dataclass(frozen=True)
class Sandbox:
    """One atlas of a console."""

    console: Console
    slug: str

    def ask(self, sql: str, parameters: dict | None = None, client: socket.socket | None = None) -> Answer:
        return self.console.ask(self.slug, sql, parameters, client=client)

    def layers(self) -> dict:
        return self.console.layers(self.slug)

    def why_not(self) -> str | None:
        return self.console.why_not(self.slug)

    def close(self) -> None:
        self.console.close()

    @property
    def broker(self) -> int:
        """The number of the broker's process."""
        return self.console._started[-1].pid


class closing:  # noqa: N801  as contextlib's
    """A sandbox for the length of a block; skipped where this machine cannot confine one."""

    def __init__(self, made: Sandbox) -> None:
        self.made = made

    def __enter__(self) -> Sandbox:
        why_not = self.made.why_not()
        if why_not is not None:
            self.made.close()
            pytest.skip(why_not)
        return self.made

    def __exit__(self, *_: object) -> None:
        self.made.close()


def beside(path: Path) -> Path:
    """The other atlas."""
    return path.with_name("beside.duckdb")


def alone(
    path: Path, limits: Limits, *, places: int = 64, slug: str = "alone", without: tuple[str, ...] = ()
) -> Sandbox:
    """A sandbox of one atlas."""
    return Sandbox(Console({slug: path}, ConsoleOptions(places=places, limits=limits), without=without), slug)


def together(path: Path, limits: Limits = LIMITS, without: tuple[str, ...] = ()) -> Sandbox:
    """A sandbox of both atlases, under their slugs, which is used even where it lacks layers."""
    files = {"tiny-llama": path, "tiny-gpt2": beside(path)}
    options = ConsoleOptions(places=64, limits=limits, anyway=bool(without))
    return Sandbox(Console(files, options, without=without), "tiny-llama")


def state(folder: Path) -> list[tuple]:
    """What is in a folder, to the byte."""
    return [
        (path.name, path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
    ]


def asked(sandbox: Sandbox, sql: str, database: Path) -> tuple[float, object]:
    """How long a statement takes, and how it ends."""
    start = time.monotonic()
    try:
        end = sandbox.ask(sql.replace(DATABASE, str(database)).replace(OTHER, str(beside(database))))
    except SqlError as error:
        end = error
    return time.monotonic() - start, end


def children(pid: int) -> list[int]:
    """The processes that a process has."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_every_layer_is_on_and_nothing_can_be_done(sandbox):
    layers = sandbox.layers()
    assert [name for name, layer in layers.items() if not layer["on"]] == []
    assert {"landlock", "seccomp", "limits", "no_new_privileges", "parent_death", "environment", "gate"} <= set(layers)
    assert sandbox.why_not() is None


REFUSED = {
    "writes",
    "copy through other statements",
    "other databases",
    "the database beside it",
    "several statements",
    "what it tells",
}


def test_no_hostile_statement_writes_tells_or_outlives_its_time(sandbox, served):
    assert len(ALL) >= 60
    before = state(served.parent)
    with closing(together(served)) as hasty, ThreadPoolExecutor(LIMITS.running) as pool:
        ends = list(pool.map(lambda item: asked(sandbox if item[0] in REFUSED else hasty, item[1], served), ALL))
    late = [(what, sql[:60], took) for (what, sql), (took, _) in zip(ALL, ends, strict=True) if took > AT_LAST]
    assert late == []
    assert state(served.parent) == before
    for (what, sql), (_, end) in zip(ALL, ends, strict=True):
        said = str(end) if isinstance(end, SqlError) else json.dumps(end.rows)
        if DATABASE not in sql and OTHER not in sql:  # what a visitor wrote may come back
            assert str(served.parent) not in said, (what, sql)
        if what in REFUSED:
            assert isinstance(end, SqlRefused | SqlFailed), (what, sql)
    assert sandbox.ask("SELECT count(*) FROM neuron").rows == [[144]]


@pytest.mark.parametrize("missing", [("gate",), ("gate", "landlock"), ("gate", "seccomp")])
def test_nothing_is_written_even_without_the_gate_and_another_layer(served, missing):
    before = state(served.parent)
    kinds = ["files", "copy through other statements", "other databases", "the database beside it"]
    kinds += ["writes", "settings", "what would stay"] if missing == ("gate",) else []
    with closing(together(served, without=missing)) as bare, ThreadPoolExecutor(LIMITS.running) as pool:
        statements = [sql for kind in kinds for sql in HOSTILE[kind]]
        ends = list(pool.map(lambda sql: asked(bare, sql, served), statements))
        assert max(took for took, _ in ends) <= AT_LAST
    with closing(together(served, PATIENT, missing)) as bare:
        for path in (served, beside(served)):
            with pytest.raises(SqlFailed):
                bare.ask(f"COPY (SELECT 'junk') TO '{path}' (FORMAT csv, USE_TMP_FILE false)")
    assert state(served.parent) == before


def test_the_atlas_beside_it_can_be_named(sandbox, tiny_llama_atlas, tiny_gpt2_atlas):
    paths = (str(tiny_llama_atlas), str(tiny_gpt2_atlas))
    with duckdb.connect(paths[0], read_only=True) as one, duckdb.connect(paths[1], read_only=True) as other:
        best = 'SELECT t."text", n.name FROM token AS t JOIN neuron AS n ON n.neuron_id = t.best_neuron_id'
        ours, theirs = dict(one.execute(best).fetchall()), dict(other.execute(best).fetchall())
        views = [
            name for (name,) in other.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        ]
        counts = {view: other.execute(f"SELECT count(*), sum(hash(v)) FROM {view} AS v").fetchone() for view in views}
    asked = sandbox.ask(
        'SELECT a."text", m.name, n.name FROM token AS a JOIN neuron AS m ON m.neuron_id = a.best_neuron_id '
        'JOIN "tiny-gpt2".token AS b USING ("text") '
        'JOIN "tiny-gpt2".main.neuron AS n ON n.neuron_id = b.best_neuron_id '
        "WHERE a.\"text\" LIKE ' %'"
    )
    assert len(asked.rows) > 10
    assert all((ours[text], theirs[text]) == (mine, its) for text, mine, its in asked.rows)
    assert sandbox.ask("SELECT slug, current_database() FROM atlas").rows == [["tiny-llama", "tiny-llama"]]
    assert sandbox.ask('SELECT a.slug, b.slug FROM "tiny-llama".atlas AS a, "tiny-gpt2".atlas AS b').rows == [
        ["tiny-llama", "tiny-gpt2"]
    ]
    assert sandbox.ask("SHOW DATABASES").rows == [["tiny-gpt2"], ["tiny-llama"]]
    # Views read the tables of their own file.
    for view, (n, digest) in counts.items():
        seen = sandbox.ask(f'SELECT count(*), sum(hash(v)) FROM "tiny-gpt2".{view} AS v').rows
        assert seen == [[n, digest]], view
    of_other = Sandbox(sandbox.console, "tiny-gpt2")
    assert of_other.ask('SELECT a.slug, b.slug FROM atlas AS a, "tiny-llama".atlas AS b').rows == [
        ["tiny-gpt2", "tiny-llama"]
    ]


def test_an_atlas_beside_it_that_was_replaced_is_still_read(served, tiny_llama_atlas, tmp_path):
    one, other = (Path(shutil.copy(path, tmp_path)) for path in (served, beside(served)))
    with closing(together(one, PATIENT)) as made:
        os.replace(shutil.copy(tiny_llama_atlas, tmp_path / "new.duckdb"), other)
        for _ in range(6):  # more than wait in advance
            assert made.ask('SELECT slug FROM "tiny-gpt2".atlas').rows == [["tiny-gpt2"]]


def test_the_self_test_finds_what_is_open(served):
    with closing(together(served, without=("landlock", "seccomp"))) as bare:
        could = bare.console._probed(bare.slug)["could"]
    assert {"open a socket", "start a process", "read another file"} <= set(could)
    assert "read the server's environment" not in could


@pytest.mark.parametrize("missing", ["landlock", "seccomp"])
def test_without_a_layer_nothing_is_run(served, missing):
    refusing = alone(served, LIMITS, without=(missing,))
    try:
        with pytest.raises(SqlUnavailable, match=f"cannot sandbox it .missing: {missing} .*--sql-anyway"):
            refusing.ask("SELECT 1")
        assert refusing.layers()[missing] == {"on": False, "detail": "left out by a test"}
    finally:
        refusing.close()


HABITS = {
    "SELECT 1;": [[1]],
    "select 1 ;; -- the end": [[1]],
    "-- first\n/* then /* nested */ */ SELECT 'COPY x TO y; DROP TABLE neuron' AS a": [
        ["COPY x TO y; DROP TABLE neuron"]
    ],
    "FROM neuron SELECT count(*)": [[144]],
    "VALUES (1), (2)": [[1], [2]],
    "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1 DESC": [[2], [1]],
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) FROM t": [[1], [2], [3]],
    "PIVOT neuron ON layer IN (0, 1) USING count(*) GROUP BY dead": None,
    "PIVOT (SELECT layer FROM neuron) ON layer USING count(*)": [[48, 48, 48]],
    "WITH a AS (SELECT layer, dead FROM neuron WHERE layer < 2) PIVOT a ON layer USING count(*);": None,
    "PIVOT (SELECT NULL::INTEGER AS a, 1 AS b) ON a USING count(*)": None,
    "SELECT 1 AS one, * FROM (PIVOT (SELECT layer FROM neuron) ON layer USING count(*))": [[1, 48, 48, 48]],
    "WITH a AS (SELECT layer FROM neuron), p AS (PIVOT a ON layer USING count(*)) FROM p": [[48, 48, 48]],
    "WITH a AS (FROM neuron) SELECT * FROM (PIVOT (SELECT layer FROM a) ON layer USING count(*))": [[48, 48, 48]],
    "FROM (PIVOT (VALUES (1, 2), (1, 3)) t(a, b) ON a, b IN (2) USING count(*))": [[1]],
    "PIVOT (PIVOT (VALUES (1, 2, 3)) t(a, b, c) ON a USING sum(b)) ON c USING count(*)": None,
    "SELECT * FROM neuron PIVOT (count(*) FOR layer IN (0, 1))": None,
    "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b": [["a", 1], ["b", 2]],
    "SHOW": None,
    "SHOW TABLES;": None,
    "SHOW ALL TABLES": None,
    "SHOW neuron": None,
    "DESCRIBE congruence": None,
    "DESCRIBE SELECT 1 AS a": [["a", "INTEGER", "YES", None, None, None]],
    "SUMMARIZE SELECT layer FROM neuron": None,
    "EXPLAIN SELECT 1": None,
    "/* plan */ explain FROM neuron;": None,
    "SELECT 'NaN'::FLOAT, '-inf'::DOUBLE, [1, NULL], {'a': 1.5::DECIMAL(4, 2)}": [
        ["NaN", "-Infinity", [1, None], {"a": "1.50"}]
    ],
    "SELECT TIMESTAMPTZ '2020-01-02 03:04:05+01', DATE '2020-01-01', 'ab'::BLOB": [
        ["2020-01-02T02:04:05+00:00", "2020-01-01", "6162"]
    ],
    "SELECT table_name FROM information_schema.tables WHERE table_name = 'neuron' "
    "AND table_catalog = current_database()": [["neuron"]],
    "SELECT $$it's$$": [["it's"]],
}


@pytest.mark.parametrize("sql", HABITS)
def test_ordinary_habits_work(sandbox, sql):
    answer = sandbox.ask(sql)
    assert answer.rows == HABITS[sql] if HABITS[sql] is not None else answer.rows
    assert len(answer.columns) == len(answer.types) == len(answer.rows[0])
    assert not answer.truncated


def test_types_and_repeated_names(sandbox):
    answer = sandbox.ask("SELECT 1::HUGEINT AS a, [0.5::FLOAT] AS a, now() AS t WHERE false")
    assert answer.columns == ("a", "a", "t")
    assert answer.types == ("HUGEINT", "FLOAT[]", "TIMESTAMP WITH TIME ZONE")
    assert answer.rows == []


def test_parameters(sandbox):
    sql = "SELECT count(*), ':not $this' FROM neuron WHERE layer = :layer AND name LIKE $pattern -- :nor\n"
    assert sandbox.ask(sql, {"layer": "1", "pattern": "L1N%"}).rows == [[48, ":not $this"]]
    hostile = sandbox.ask("SELECT :a AS a", {"a": "'; DROP TABLE neuron; --"})
    assert hostile.rows == [["'; DROP TABLE neuron; --"]]
    with pytest.raises(SqlFailed, match="Values were not provided for the following parameters: b"):
        sandbox.ask("SELECT :b")


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT :a, $b, :a::INT WHERE x=:c AND :d LIMIT :e", ["a", "b", "c", "d", "e"]),
        ("SELECT {'k':v, k: w, j :x}, l[1:n], l[:n], a::b, f(y:=1), :z", ["z"]),
        ("':a' \":b\" $$ :c $$ $t$ :d $t$ /* :e /* :f */ :g */ -- :h\n :i", []),
        ("SELECT * FROM t WHERE a IN (:p, :q) OR b<:r", ["p", "q", "r"]),
        ("SELECT 'unclosed :a", []),
    ],
)
def test_names_of_parameters(sql, names):
    assert parameter_names(sql) == names
    assert len(with_dollars(sql)) == len(sql)


@pytest.mark.parametrize(
    ("sql", "kind", "text", "position"),
    [
        ("SELECT 'é', nope FROM neuron", SqlFailed, 'column "nope" not found', 12),
        ("explain SELECT 'é', nope FROM neuron", SqlFailed, 'column "nope" not found', 20),
        ("SELCT 1", SqlFailed, "syntax error at or near", 0),
        ("DROP TABLE neuron", SqlRefused, "Only one statement that reads", None),
        ("SELECT 1; SELECT 2", SqlRefused, "There are 2 statements", None),
        ("EXPLAIN ANALYZE SELECT 1", SqlRefused, "EXPLAIN alone shows the plan", 0),
        ("SELECT 1\0", SqlRefused, "NUL", 8),
        ("SELECT error('said')", SqlFailed, "said", None),
    ],
)
def test_errors_say_what_and_where(sandbox, sql, kind, text, position):
    with pytest.raises(SqlError, match=text) as caught:
        sandbox.ask(sql)
    assert type(caught.value) is kind
    assert caught.value.position == position


def test_answers_are_bounded(served):
    limits = Limits(seconds=60, rows=10, bytes=5000, cell=100)
    with closing(alone(served, limits)) as small:
        rows = small.ask("FROM range(1000)")
        assert rows.truncated
        assert rows.rows == [[number] for number in range(10)]
        assert not small.ask("FROM range(10)").truncated
        long = small.ask("SELECT repeat('x', 1000), range(1000)")
        assert long.truncated
        assert long.rows[0][0] == "x" * 100 + "…"
        assert long.rows[0][1].startswith("[0,1,2,")
        wide = small.ask(
            "SELECT " + ", ".join(f"repeat('y', 90) AS c{number}" for number in range(40)) + " FROM range(9)"
        )
        assert wide.truncated
        assert len(wide.rows_json) <= 5000
        assert len(wide.rows) == 1
        with pytest.raises(SqlFailed, match="columns, whose names alone are too long"):
            small.ask("SELECT " + ", ".join(f"1 AS {'c' * 200}{number}" for number in range(40)))


def test_values_of_every_type(served):
    """Whatever a type's values need on their way to Python is there, and they are what they are outside."""
    told = known()
    assert len(told) > 50
    with closing(alone(served, PATIENT)) as patient:
        answer = patient.ask("SELECT " + ", ".join(f"{item.sql} AS c{place}" for place, item in enumerate(told)))
    for item, said in zip(told, answer.rows[0], strict=True):
        assert said == item.json, item.sql
    made = parquet(answer.columns, answer.types, answer.shapes, answer.rows)
    kinds = [str(field.type).partition(" ('")[0].rstrip(">") for field in pq.read_schema(io.BytesIO(made))]
    assert kinds == [item.arrow.rstrip(">") for item in told]


def test_what_values_need_is_loaded_before():
    """A worker can read no library and no zone's file: what any type needs on its way to Python, the broker has."""
    code = """
import sys, duckdb, web.workers.sql.broker
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
described = connection.execute("FROM test_all_types()").description
columns = [name for name, kind, *_ in described if kind.id != "geometry"]
def refuse(event, arguments):
    if event in ("open", "import"):
        raise RuntimeError(f"{event} {arguments[0]}")
sys.addaudithook(refuse)
for name in columns:
    connection.execute(f'SELECT "{name}" FROM test_all_types()').fetchall()
moment = connection.execute("SELECT TIMESTAMPTZ '2020-01-02 03:04:05+01'").fetchone()[0]
assert str(moment) == "2020-01-02 02:04:05+00:00"
connection.execute("SELECT {'a': 1.5::DECIMAL(4, 2)}::VARIANT, uuid(), now()").fetchall()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_crash_costs_one_query(sandbox):
    with pytest.raises(SqlFailed, match="The query ended its process"):
        sandbox.ask("SELECT ('[' || repeat('[', 200000) || repeat(']', 200000) || ']')::JSON::VARIANT")
    assert sandbox.ask("SELECT 1").rows == [[1]]


def test_nothing_of_a_query_is_left_for_the_next(served):
    with closing(together(served, PATIENT, ("gate",))) as bare:
        for sql in ("CREATE TEMP TABLE left_behind AS SELECT 1", "SET VARIABLE left_behind = 1"):
            bare.ask(sql)
        with pytest.raises(SqlFailed, match="left_behind does not exist"):
            bare.ask("FROM left_behind")
        assert bare.ask("SELECT getvariable('left_behind')").rows == [[None]]


def test_turns_are_bounded_and_nobody_waits_longer_than_promised(served):
    with closing(alone(served, Limits(seconds=3, running=1, waiting=2))) as one:
        with ThreadPoolExecutor(6) as pool:
            ends = list(pool.map(lambda _: asked(one, SLOW, served), range(6)))
        assert max(took for took, _ in ends) <= AT_LAST
        kinds = sorted(type(end).__name__ for _, end in ends)
        assert kinds.count("SqlTimeout") == 1
        assert kinds.count("SqlBusy") == 5
        turned_away = min(took for took, end in ends if isinstance(end, SqlBusy))
        assert TURNED_AWAY - 0.01 <= turned_away < 3  # not at once: whoever asks again at once is slowed
        assert all(end.retry_after >= 1 for _, end in ends if isinstance(end, SqlBusy))


def test_places_for_waiting_are_bounded(served):
    with closing(alone(served, Limits(seconds=5, running=2), places=1)) as narrow:
        thread = threading.Thread(target=lambda: asked(narrow, SLOW, served))
        thread.start()
        busy = False
        while thread.is_alive() and not busy:
            try:
                narrow.ask("SELECT 1")  # until the other query has the only place
            except SqlBusy:
                busy = True
        thread.join()
        assert busy
        assert narrow.ask("SELECT 1").rows == [[1]]


def test_a_visitor_who_leaves_ends_the_query(served):
    with closing(alone(served, PATIENT)) as one:
        ours, theirs = socket.socketpair()
        threading.Timer(0.3, theirs.close).start()
        start = time.monotonic()
        with ours, pytest.raises(SqlTimeout, match="left"):
            one.ask(SLOW, client=ours)
        assert one.ask("SELECT 1").rows == [[1]]
        assert time.monotonic() - start < 40  # it alone would take a minute


def test_the_broker_is_small_and_clean(sandbox):
    broker = sandbox.broker
    assert len(os.listdir(f"/proc/{broker}/task")) == 1
    assert set(Path(f"/proc/{broker}/environ").read_text().split("\0")) - {""} == {"LC_ALL=C.UTF-8"}
    code = "import sys, web.workers.sql.broker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"flask", "sqlalchemy", "altair", "numpy", "pyarrow", "rich"}.isdisjoint(loaded)
    assert {name for name in loaded if name.split(".")[0] == "atlas"} == {
        "atlas",
        "atlas.core",
        "atlas.core.answer",
        "atlas.core.answer.asking",
        "atlas.core.answer.shapes",
        "atlas.core.jsonable",
        "atlas.core.reads",
        "atlas.core.schema",
        "atlas.core.sql_text",
    }


def test_a_broker_that_dies_takes_its_workers_and_is_replaced(served):
    with closing(alone(served, PATIENT)) as own:
        first = own.broker
        workers = children(first)
        assert workers
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{pid}").exists() and alive(pid) for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(alive(pid) for pid in workers)
        assert own.ask("SELECT 1").rows == [[1]]
        assert own.broker != first


def alive(pid: int) -> bool:
    """Whether a process runs: one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_processes_forked_later_share_the_broker(served):
    code = f"""
import os
from pathlib import Path
from web.workers.sql.console import Console, ConsoleOptions
from web.workers.sql.limits import Limits
console = Console({{"a": Path({str(served)!r})}}, ConsoleOptions(limits=Limits(seconds=60)))
console.layers("a")
broker = console._started[-1].pid
child = os.fork()
rows = console.ask("a", "SELECT count(*) FROM neuron").rows
assert rows == [[144]] and [process.pid for process in console._started] == [broker]
if child == 0:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
console.close()
assert not Path(f"/proc/{{broker}}").exists()
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "ended\n", done.stderr


def test_a_file_that_was_replaced_is_still_read(served, tiny_gpt2_atlas, tmp_path):
    copy = Path(shutil.copy(served, tmp_path / "copy.duckdb"))
    with closing(alone(copy, PATIENT, slug="copy")) as one:
        os.replace(shutil.copy(tiny_gpt2_atlas, tmp_path / "new.duckdb"), copy)
        # More than wait in advance, and a broker that was started after.
        for _ in range(6):
            assert one.ask("SELECT slug FROM atlas").rows == [["tiny-llama"]]
        os.kill(one.broker, signal.SIGKILL)
        os.waitpid(one.broker, 0)
        with suppress(SqlFailed):  # a worker just forked may still hold the broker's end, and with it a request
            one.ask("SELECT 1")
        assert one.ask("SELECT slug, current_database() FROM atlas").rows == [["tiny-llama", "copy"]]
        assert one.layers()["landlock"]["on"]


def test_queries_share_the_processor_with_the_pages(sandbox):
    # In a session of its own the broker and its workers would have a share of the processor (Linux's autogroup) that no
    # priority within it lowers.
    sandbox.layers()
    broker = sandbox.broker
    assert os.getsid(broker) == os.getsid(0)
    assert os.getpgid(broker) == broker  # Ctrl-C is for the site
    assert sandbox.layers()["priority"]["on"]


def test_the_web_process_does_not_grow(sandbox):
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    sandbox.ask("SELECT 1")
    before = resident()
    for _ in range(5):
        answer = sandbox.ask("SELECT repeat('x', 1000) FROM range(20000)")
        assert len(answer.rows_json) > 1_500_000
    assert resident() - before < 30 * 2**20
