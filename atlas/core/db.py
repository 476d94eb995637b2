"""Open an atlas file read-only and run queries on it. The only module of `atlas` that owns a connection."""

from __future__ import annotations

import json
import os
import shlex
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import duckdb_engine
import numpy as np
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from atlas.core.ahead import Ahead
from atlas.core.answer.asking import Answer, QueryResult, answer
from atlas.core.errors import NotAnAtlasError, QueryError, SchemaVersionError, SlugError
from atlas.core.files import attached, database
from atlas.core.info import AtlasInfo
from atlas.core.names import database_name
from atlas.core.reads import SERIALIZE, misplaced_macro
from atlas.core.room import Pieces, Room, shared_arrays
from atlas.core.schema import SCHEMA_VERSION, macro_names, own_macros
from atlas.core.tokens import Tokens
from atlas.core.units import field_names

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")

_AGAIN = (0.05, 0.1, 0.2, 0.5, *[1.0] * 30)
"""Seconds before a query that ran out of memory is tried again, one at a time: other queries take seconds."""

_one_at_a_time = threading.RLock()
"""Held while this process computes a cached value that needs tens of MB."""


def program_version() -> str:
    """Version of this program as installed; 'unknown' from a checkout that was never installed."""
    try:
        return version("neuron-atlas")
    except PackageNotFoundError:
        return "unknown"


class Atlas:
    """One atlas file, read-only. Made by `open_atlas`; safe to share between threads.

    The file is opened at the first query, so an Atlas made before a fork may be used after it. Each thread keeps its
    own connection: checking one out of a pool costs as much as a point lookup.
    """

    def __init__(self, path: Path, info: AtlasInfo, room: Room | None = None) -> None:
        self.path = path
        self.info = info
        self.room = room or Room()
        self.ahead: Ahead | None = None
        self._remembered: dict[str, Any] = {}
        self._making: dict[str, threading.Lock] = {}
        self._local = threading.local()
        self._lock = threading.Lock()
        self._alone = threading.Lock()
        self._connections: list[sa.Connection] = []

    def __repr__(self) -> str:
        return f"Atlas({str(self.path)!r}, slug={self.info.slug!r}, build_id={self.info.build_id!r})"

    def __enter__(self) -> Atlas:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, sql: str, *parameters: Any) -> Sequence[tuple]:
        """Rows of a fixed query with parameters for its `?`, or one mapping for its `$name`.

        Raises:
            QueryError: DuckDB refuses the query or fails at it.
        """
        # Through the driver: a page runs a dozen fixed queries, and SQLAlchemy's overhead on each is half a point
        # lookup.
        return self._execute(lambda c: c.connection.driver_connection.execute(sql, _values(parameters)).fetchall())

    def arrays(self, sql: str, *parameters: Any) -> dict[str, np.ndarray]:
        """Columns of a fixed query as NumPy arrays, masked where there are NULLs: for whole tables, whose rows as
        Python objects would take seconds. Parameters are those of `rows`.

        Raises:
            QueryError: DuckDB refuses the query or fails at it.
        """
        return self._execute(lambda c: c.connection.driver_connection.execute(sql, _values(parameters)).fetchnumpy())

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> QueryResult:
        """Answer of a user's SQL: column names and rows, both empty for a statement without an answer.

        `parameters` are the values of its `$name`. The schema's macros work whether the file has them or not.

        Raises:
            QueryError: DuckDB refuses the query or fails at it; nothing can be written.
        """

        def run(connection: sa.Connection) -> QueryResult:
            cursor = self._with_macros(connection).execute(sql, dict(parameters) if parameters else None)
            columns = tuple(name for name, *_ in cursor.description or ())
            return QueryResult(columns, tuple(cursor.fetchall()) if columns else ())

        return self._execute(run)

    def answer(self, sql: str) -> Answer:
        """Answer of a user's single statement with its types; values are JSON without loss.

        Raises:
            QueryError: there is not one statement, or DuckDB refuses it or fails at it; nothing can be written.
        """
        return self._execute(lambda connection: _answer(self._with_macros(connection), sql))

    def select(self, statement: sa.Select) -> Sequence[tuple]:
        """Rows of a query composed with SQLAlchemy Core.

        Raises:
            QueryError: DuckDB refuses the query or fails at it.
        """
        return self._execute(lambda connection: connection.execute(statement).fetchall())

    @cached_property
    def tokens(self) -> Tokens:
        """The vocabulary, read once."""
        return Tokens(
            self.rows(
                'SELECT "text", CASE WHEN encode("text") = bytes THEN NULL ELSE bytes END, special '
                "FROM token ORDER BY token_id"
            )
        )

    def remembered(self, name: str, make: Callable[[], Made]) -> Made:
        """The value of `make`, computed once per name, however many threads ask: an atlas never changes."""
        if name not in self._remembered:
            with self._making.setdefault(name, threading.Lock()):
                if name not in self._remembered:
                    self._remembered[name] = make()
        return self._remembered[name]

    def records(self, kind: str, keys: Iterable[Key], make: Callable[[list[Key]], dict[Key, Made]]) -> dict[Key, Made]:
        """What `make` makes of keys, by key: made anew, but for a program that reads ahead."""
        return make(list(keys)) if self.ahead is None else self.ahead.records(kind, keys, make)

    def remembered_large(self, name: str, make: Callable[[], Made]) -> Made:
        """As `remember`, for values that need much memory to compute: one at a time in a process."""
        if name not in self._remembered:
            with _one_at_a_time:
                return self.remembered(name, make)
        return self._remembered[name]

    def shared(self, name: str, make: Callable[[], Pieces]) -> dict[str, np.ndarray]:
        """Arrays that are computed once, in pieces, and shared by all processes where the atlas has a folder."""
        return self.remembered_large(name, lambda: shared_arrays(self.room, name, make))

    def close(self) -> None:
        """Close the connections of every thread. The Atlas opens the file again if it is queried again."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._local = threading.local()

    @cached_property
    def _engine(self) -> sa.Engine:
        # Connections made here have DuckDB's own configuration; those of the engine's URL carry a user agent, and
        # DuckDB refuses to open a file twice in a process with two configurations.
        return sa.create_engine(
            "duckdb://",
            creator=lambda: duckdb_engine.ConnectionWrapper(duckdb.connect(database(self.path), read_only=True)),
            poolclass=NullPool,
        )

    def _connected(self) -> sa.Connection:
        """This thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            with self._lock:
                connection = self._local.connection = self._engine.connect()
                if not self._connections:  # settings are shared by all connections
                    if self.room.folder is not None:
                        with suppress(OSError):  # for example a full disk: nothing is spilled then
                            self.room.folder.mkdir(parents=True, exist_ok=True)
                    for name, value in self.room.settings():
                        connection.connection.driver_connection.execute(f"SET {name} = '{value}'")
                self._connections.append(connection)
        return connection

    def _with_macros(self, connection: sa.Connection) -> duckdb.DuckDBPyConnection:
        """This thread's connection once it has the schema's macros, which only users' SQL calls."""
        driver = connection.connection.driver_connection
        if getattr(self._local, "has_macros", None) is not connection:
            driver.execute(own_macros())
            self._local.has_macros = connection
        return driver

    def _execute(self, run: Callable[[sa.Connection], Made]) -> Made:
        try:
            return run(self._connected())
        except (sa.exc.DBAPIError, duckdb.Error) as error:
            self._roll_back()
            cause = getattr(error, "orig", error)
            if self.room.memory is not None and isinstance(cause, duckdb.OutOfMemoryException):
                return self._executed_alone(run)
            raise QueryError(f"The query failed on {self.path.name}: {cause}") from error

    def _executed_alone(self, run: Callable[[sa.Connection], Made]) -> Made:
        """Run a query again that ran out of memory: one at a time, after the other queries."""
        with self._alone:
            for pause in _AGAIN:
                time.sleep(pause)
                try:
                    return run(self._connected())
                except (sa.exc.DBAPIError, duckdb.Error) as error:
                    self._roll_back()
                    failed = error
            cause = getattr(failed, "orig", failed)
            raise QueryError(f"The query failed on {self.path.name}: {cause}") from failed

    def _roll_back(self) -> None:
        """Roll back a failed transaction, in which DuckDB runs nothing more. Where memory is too short even for that,
        drop the connection: the thread's next query opens another."""
        connection = self._connected()
        try:
            connection.rollback()
        except (sa.exc.DBAPIError, duckdb.Error):
            self._local.connection = None
            with self._lock:
                self._connections.remove(connection)
            with suppress(sa.exc.SQLAlchemyError, duckdb.Error):
                connection.invalidate()
                connection.close()


def _values(parameters: tuple[Any, ...]) -> tuple[Any, ...] | Mapping[str, Any]:
    """The values of `?` in order, or one mapping of those of `$name`."""
    return parameters[0] if len(parameters) == 1 and isinstance(parameters[0], Mapping) else parameters


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    extracted = connection.extract_statements(sql)
    # DuckDB 1 turns a PIVOT without its values into several statements, which have no text.
    n = len([item for item in extracted if item.query.strip()]) or min(1, len(extracted))
    if n == 0:
        raise QueryError("There is no statement; expected one, such as SELECT count(*) FROM neuron.")
    if n > 1:
        raise QueryError(f"There are {n} statements; expected one. Run them one at a time.")
    return answer(connection, sql)


def answer_together(atlases: Sequence[Atlas], sql: str) -> Answer:
    """Answer of a user's single statement over several atlases: plain names are tables of the first, `"slug".neuron` of
    the atlas with that slug. Every file is attached read-only.

    Raises:
        SlugError: two of them have the same slug.
        QueryError: there is not one statement, or DuckDB refuses it or fails at it.
    """
    with duckdb.connect() as connection:
        slugs: list[str] = []
        for atlas in atlases:
            name = database_name(atlas.info.slug)
            if name in slugs:
                raise SlugError(
                    f"{atlas.path} has the slug {name!r}, as does another file; expected different slugs. Ingest "
                    "one again with another --slug."
                )
            slugs.append(name)
            connection.execute(f'ATTACH {attached(atlas.path)} AS "{name}" (READ_ONLY)')
        connection.execute(f'USE "{slugs[0]}"')
        connection.execute(own_macros())
        _refuse_misplaced(connection, sql)
        try:
            return _answer(connection, sql)
        except duckdb.Error as error:
            raise QueryError(f"The query failed on {', '.join(slugs)}: {error}") from error


def _refuse_misplaced(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    record = json.loads(connection.execute(SERIALIZE, [sql]).fetchone()[0])
    misplaced = misplaced_macro(record, macro_names())
    if misplaced is not None:
        raise QueryError(misplaced)


def open_atlas(path: Path | str, room: Room | None = None) -> Atlas:
    """Open an atlas file after checking that it is one and that this program can read it. `room` bounds its resources.

    Raises:
        NotAnAtlasError: the file does not exist, is not DuckDB, is being written, or has no `atlas` row.
        SchemaVersionError: it was written for an older or a newer schema.
    """
    path = Path(path)
    with _connected(path) as connection:
        check_schema_version(path, _read_version(connection, path))
        columns = ", ".join(f'"{name}"' for name in field_names(AtlasInfo))
        return Atlas(path, AtlasInfo(*connection.execute(f"SELECT {columns} FROM atlas").fetchone()), room)


def schema_version(path: Path) -> int:
    """Schema version of an atlas file, whether this program reads it or not.

    Raises:
        NotAnAtlasError: the file does not exist, is not DuckDB, is being written, or has no `atlas` row.
    """
    with _connected(path) as connection:
        return _read_version(connection, path)


@contextmanager
def _connected(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise NotAnAtlasError(f"{path} {what}; expected an atlas file (.duckdb). `atlas ingest` writes one.")
    try:
        with duckdb.connect(database(path), read_only=True) as connection:
            yield connection
    except duckdb.IOException as error:
        if "Could not set lock" in str(error):
            raise NotAnAtlasError(
                f"{path} is open for writing in another program; expected a closed file. Close that program first."
            ) from error
        if not os.access(path, os.R_OK):
            raise NotAnAtlasError(f"{path} cannot be read: permission denied. Ask its owner, or copy it.") from error
        raise NotAnAtlasError(
            f"{path} is not a DuckDB file; expected an atlas, which `atlas ingest` writes."
        ) from error
    except duckdb.Error as error:
        raise NotAnAtlasError(
            f"{path} cannot be read as an atlas: {error}. Write it again with `atlas ingest`."
        ) from error


def _read_version(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    try:
        versions = connection.execute("SELECT schema_version FROM atlas").fetchall()
    except duckdb.CatalogException as error:
        raise NotAnAtlasError(
            f"{path} is a DuckDB file without a table `atlas`; expected a file that `atlas ingest` wrote."
        ) from error
    if len(versions) != 1:
        raise NotAnAtlasError(
            f"{path} has {len(versions)} rows in its table `atlas`; expected one. Write it again with `atlas ingest`."
        )
    return versions[0][0]


def check_schema_version(path: Path, version: int) -> None:
    """Accept the schema version that this program reads.

    Raises:
        SchemaVersionError: the version differs; the message says what to do.
    """
    if version == SCHEMA_VERSION:
        return
    if version < SCHEMA_VERSION:
        remedy = f"`atlas upgrade {shlex.quote(str(path))}` writes a new one."
    else:
        remedy = "Upgrade the program: pip install --upgrade neuron-atlas."
    raise SchemaVersionError(
        f"{path} has schema version {version}; this program (neuron-atlas {program_version()}) "
        f"reads version {SCHEMA_VERSION}. {remedy}"
    )
