"""A worker: the process of one query. It confines itself, connects, runs one query and ends.

The order matters. The broker has imported all modules; Landlock is on before DuckDB opens a file, since DuckDB's own
lockdown would let its files be overwritten; every atlas is attached, read-only, before DuckDB's external access is
switched off; seccomp comes last, since connecting needs more calls than running.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import duckdb

from atlas.core.answer.asking import ask
from atlas.core.reads import SERIALIZE, Reads
from atlas.core.schema import called_by_macros, macro_names, own_macros
from atlas.core.sql_text import parameter_names, quoted, quoted_text, with_dollars
from web.workers.sql import gate, layers, probe, wire
from web.workers.sql.cells import dumps, rows_json
from web.workers.sql.job import EMPTY, FIRST_FILE, Job
from web.workers.sql.limits import GRACE
from web.workers.sql.pivot import TooManyError, pivot_without_values

_CHANNEL = 3
"""The broker's descriptor in every worker; `syscalls.RECEIVING` names it."""

_TRIES, _MOMENT = 4, 0.05
_LONGEST_MESSAGE = 4000
_MIB = 2**20


def run(job: Job, channel: int, parent: int) -> None:
    """Run a worker in a forked process. Does not return."""
    try:
        os.dup2(channel, _CHANNEL)
        os.closerange(FIRST_FILE + len(job.links), os.sysconf("SC_OPEN_MAX"))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        os.close(nowhere)
        broker = socket.socket(fileno=_CHANNEL)
        try:
            connection, states = _confined(job, parent)
        except BaseException as error:
            broker.sendall(f"E{error}".encode("utf-8", "replace")[:_LONGEST_MESSAGE])
            return
        with suppress(OSError):  # the visitor left
            _serve(job, connection, states, broker)
    finally:
        os._exit(0)


def _serve(job: Job, connection: duckdb.DuckDBPyConnection, states: dict[str, Any], broker: socket.socket) -> None:
    """Answer one query."""
    gc.disable()
    os.write(_CHANNEL, wire.READY)
    turn = wire.receive_turn(broker)
    if turn is None:
        return
    kind, seconds, answer_to = turn
    # The broker kills a little earlier; this alarm works even if the broker is delayed.
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0) + GRACE + 0.1)
    if kind == wire.PROBE:
        could = probe.attempts(job.files, os.getppid())
        payload = dumps({"layers": states, "could": could, "foreign": _foreign_macros(connection)}).encode()
    else:
        payload = _answered(job, connection, _received(answer_to, job.limits.statement))
    frame = memoryview(wire.framed(payload))
    while frame:
        frame = frame[os.write(answer_to, frame) :]


def _confined(job: Job, parent: int) -> tuple[duckdb.DuckDBPyConnection, dict[str, Any]]:
    """Apply every layer, and open a read-only connection to the files."""
    limits, links = job.limits, job.links
    before = (
        ("environment", layers.empty_environment),
        ("parent_death", lambda: layers.die_with(parent)),
        ("no_new_privileges", layers.no_new_privileges),
        ("priority", layers.be_nice),
        ("landlock", lambda: layers.landlock(links)),
    )
    states = layers.put_on(before, job.without)
    connection = _opened(job)
    after = (
        ("limits", lambda: layers.resource_limits(limits, len(links))),
        ("seccomp", layers.seccomp),
        ("gate", lambda: "a single read-only statement"),
    )
    return connection, states | layers.put_on(after, job.without)


def _opened(job: Job) -> duckdb.DuckDBPyConnection:
    # DuckDB resolves a link and then opens the path: if the file is replaced in between, Landlock forbids the new one,
    # and a moment later opening succeeds.
    for _ in range(_TRIES - 1):
        with suppress(duckdb.IOException):
            return _connected(job)
        time.sleep(_MOMENT)
    return _connected(job)


def _connected(job: Job) -> duckdb.DuckDBPyConnection:
    path, limits = str(job.empty), job.limits
    config: dict[str, Any] = {
        "threads": 1,
        "memory_limit": f"{limits.memory // _MIB}MiB",
        "python_enable_replacements": False,
        "max_expression_depth": 250,
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "allow_persistent_secrets": False,
    }
    try:
        # DuckDB 2 starts eight threads for reading, which a single-threaded query does not need; DuckDB 1 lacks the
        # setting.
        connection = duckdb.connect(path, read_only=True, config=config | {"async_threads": 0})
    except duckdb.Error as error:
        if "async_threads" not in str(error):
            raise
        connection = duckdb.connect(path, read_only=True, config=config)
    connection.execute("SET errors_as_json = true")
    connection.execute("SET TimeZone = 'UTC'")  # pytz knows this zone without reading a file, and it reveals nothing
    for item in job.files:  # before external access is switched off: nothing can be attached afterwards
        connection.execute(f"ATTACH {quoted_text(str(item.link))} AS {quoted(item.name)} (READ_ONLY)")
    connection.execute(f"USE {quoted(job.served.name)}")
    connection.execute(f'DETACH "{EMPTY}"')
    connection.execute("SET temp_directory = ''")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    connection.execute(own_macros())
    return connection


def _received(connection: int, longest: int) -> dict[str, Any]:
    """Read the query, once the web process has written all of it."""
    data = bytearray()
    # JSON may need six characters for one; the statement's own length is checked by the gate.
    while not data.endswith(b"\n") and len(data) <= 8 * longest + 1000 and (piece := os.read(connection, 1 << 16)):
        data += piece
    return json.loads(data)


def _answered(job: Job, connection: duckdb.DuckDBPyConnection, query: dict[str, Any]) -> bytes:
    """The answer: a line of metadata, then the rows."""
    sql, parameters = with_dollars(query["sql"]), query["parameters"]
    around, written = _surroundings(connection, query["foreign"]), sql
    try:
        if "gate" in job.without:
            return _run(job, connection, gate.Checked(sql, Reads()), parameters)
        while (pivot := pivot_without_values(sql)) is not None:
            sql = pivot.filled(lambda values: _texts(job, connection, around, values, parameters))
        return _run(job, connection, gate.check(sql, job.limits.statement, around), parameters)
    except TooManyError as error:
        return _error("sql_refused", str(error))
    except gate.RefusedError as error:
        return _error(error.code, str(error), error.position if sql == written else None)
    except duckdb.OutOfMemoryException as error:
        return _error("sql_failed", job.limits.memory_words(disk="offload" in str(error)))
    except duckdb.Error as error:
        message, place = _said(error, sql)
        return _error("sql_failed", message, place if sql == written else None)  # else a place in another text
    except MemoryError:
        return _error("sql_failed", job.limits.memory_words())
    except Exception as error:  # an exception in a value's conversion ends only this query
        return _error("sql_failed", f"The answer cannot be converted to JSON: {type(error).__name__}.")


def _texts(
    job: Job, connection: duckdb.DuckDBPyConnection, around: gate.Surroundings, sql: str, parameters: dict[str, Any]
) -> list[str]:
    """The one column of a query for the values of a PIVOT."""
    checked = gate.check(sql, job.limits.statement, around)
    named = {name: parameters[name] for name in parameter_names(sql) if name in parameters}
    return [text for (text,) in connection.execute(checked.sql, named or None).fetchall()]


def _run(job: Job, connection: duckdb.DuckDBPyConnection, checked: gate.Checked, parameters: dict[str, Any]) -> bytes:
    limits = job.limits
    unfinished = ask(connection, checked.sql, parameters)
    rows, cut = rows_json(unfinished, limits.rows, limits.bytes, limits.cell)
    head = dumps(
        {
            "columns": unfinished.columns,
            "types": unfinished.types,
            "shapes": unfinished.shapes,
            "cut": cut,
            "reads": asdict(checked.reads),
        }
    ).encode()
    if len(head) > limits.bytes:
        return _error(
            "sql_failed", f"The answer has {len(unfinished.columns):,} columns, whose names alone are too long."
        )
    return head + b"\n" + rows


def _surroundings(connection: duckdb.DuckDBPyConnection, foreign: list[str]) -> gate.Surroundings:
    """What the gate knows of the connection."""
    find = "SELECT count(*) FROM information_schema.tables WHERE lower(table_name) = lower(?)"
    return gate.Surroundings(
        serialize=lambda sql: connection.execute(SERIALIZE, [sql]).fetchone()[0],
        is_table=lambda name: connection.execute(find, [name]).fetchone()[0] > 0,
        macros=macro_names(),
        called=called_by_macros(),
        foreign=frozenset(foreign),
    )


def _foreign_macros(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Macros of the files that are not the schema's, in lower case: a query for the probe, since it takes as long as
    opening a file."""
    names = connection.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE NOT internal AND database_name <> 'temp'"
    ).fetchall()
    return sorted({name for (name,) in names} - macro_names())


def _said(error: duckdb.Error, sql: str) -> tuple[str, int | None]:
    """Message and place of an error; DuckDB reports it as a JSON record after the kind."""
    text = str(error)
    kind, colon, record = text.partition(": ")
    try:
        details = json.loads(record)
        message, place = f"{kind}{colon}{details['exception_message']}", gate.character(sql, details.get("position"))
    except (ValueError, KeyError, TypeError, RecursionError):
        message, place = text, None
    # A Python traceback would reveal where this program is installed.
    return message.partition("\nTraceback")[0], place


def _error(code: str, message: str, position: int | None = None) -> bytes:
    """An error's record. Characters that UTF-8 cannot encode are replaced."""
    text = message[:_LONGEST_MESSAGE].encode("utf-8", "replace").decode("utf-8")
    return dumps({"error": {"code": code, "message": text, "position": position}}).encode() + b"\n"
