"""The file of saved queries and lists, an SQLite database for several processes: created if missing, refused if it is
another file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from web.saved.errors import SavedFileError

APPLICATION = 0x41746C51
"""`AtlQ`: the application id in SQLite's header."""

VERSION = 1
"""Version of the tables, SQLite's `user_version`. A table that is missing is created: an earlier program's file has
queries only."""

MOST_BYTES = 64 * 2**20
"""Most bytes of the file; SQLite then refuses to write."""

_PAGE = 4096
"""Bytes of a page of the file: SQLite's default, set explicitly so that the bound above holds."""

_PATIENCE = 5.0
"""Seconds to wait for another process that writes."""

_FILE = sa.MetaData()

QUERIES = sa.Table(
    "saved_query",
    _FILE,
    sa.Column("slug", sa.Text, primary_key=True, doc="Slug of its atlas."),
    sa.Column("name", sa.Text, primary_key=True, doc="The end of its address: see `web.saved.query`."),
    sa.Column("statement", sa.Text, nullable=False, doc="The statement in its normal form."),
    sa.Column("parameters", sa.JSON, nullable=False, doc="Values of its parameters by name, as a JSON object."),
    sa.Column("drawing", sa.JSON(none_as_null=True), doc="[kind, x, y]; NULL if the answer is not drawn."),
    sa.Column("title", sa.Text, doc="Title from its first saver; NULL if none."),
    sa.Column("description", sa.Text, doc="Description from its first saver; NULL if none."),
    sa.Column("saved_at", sa.Text, nullable=False, doc="Time of saving, in UTC, as ISO 8601."),
    sqlite_with_rowid=False,
)

LISTS = sa.Table(
    "saved_list",
    _FILE,
    sa.Column("slug", sa.Text, primary_key=True, doc="Slug of its atlas."),
    sa.Column("name", sa.Text, primary_key=True, doc="The end of its address: see `web.saved.query`."),
    sa.Column("title", sa.Text, nullable=False, doc="Title; '' if none."),
    sa.Column("entries", sa.JSON, nullable=False, doc="Its neurons in order, as JSON: [[name, note], …]."),
    sa.Column("saved_at", sa.Text, nullable=False, doc="Time of saving, in UTC, as ISO 8601."),
    sqlite_with_rowid=False,
)

TABLES = (QUERIES, LISTS)


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """A connection without implicit transactions, which one thread at a time may use."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute(f"PRAGMA page_size = {_PAGE}")
    connection.execute(f"PRAGMA max_page_count = {MOST_BYTES // _PAGE}")
    return connection


def prepare(path: Path, atlases: Iterable[Path] = ()) -> None:
    """Create the file if it is missing, and check that it can be written.

    Raises:
        SavedFileError: it is one of the atlases or another program's, or cannot be written.
    """
    _check_kind(path, atlases)
    try:
        with closing(connect(path, "rwc")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                connection.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=sqlite.dialect())))
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            # Written each time, even if unchanged: a file that cannot be written fails here.
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
            # Where the file system allows it, readers do not wait for writers; without it everything still works.
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
    except (sqlite3.Error, OSError) as error:
        raise SavedFileError(
            f"Saved queries cannot be kept in {path}: {error}. Expected a file that this user may write, in a folder "
            "that exists and may be written too; choose another with --saved."
        ) from error


def _check_kind(path: Path, atlases: Iterable[Path]) -> None:
    """Inspect the file without opening it as a database: other programs' files are not touched."""
    remedy = "Choose a file of its own with --saved; it is made if it is missing."
    if not path.exists():
        return
    if not path.is_file():
        raise SavedFileError(f"{path} is {'a folder' if path.is_dir() else 'not a plain file'}. {remedy}")
    if any(atlas.exists() and path.samefile(atlas) for atlas in atlases):
        raise SavedFileError(f"{path} is an atlas that is served: nothing is ever written into one. {remedy}")
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise SavedFileError(f"{path} cannot be read: {error.strerror}. {remedy}") from error
    if not head:
        return
    if head[8:12] == b"DUCK":
        raise SavedFileError(f"{path} is a DuckDB file, an atlas perhaps: saved queries never go into one. {remedy}")
    if head[:16] != b"SQLite format 3\0" or int.from_bytes(head[68:72], "big") != APPLICATION:
        raise SavedFileError(f"{path} is not a file of saved queries but another program's. {remedy}")
    version = int.from_bytes(head[60:64], "big")
    if version > VERSION:
        raise SavedFileError(
            f"{path} was written by a newer version of this program: version {version}, expected {VERSION}. "
            "Upgrade the program: pip install --upgrade neuron-atlas."
        )
