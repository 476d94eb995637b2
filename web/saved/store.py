"""The store of saved queries and lists, shared by several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from web.saved.errors import SavedFull, SavedUnavailable
from web.saved.file import LISTS, MOST_BYTES, QUERIES, TABLES, connect, prepare
from web.saved.query import Content, Drawing, Query, SavedList, SavedQuery, SharedList, names

MOST_SAVED = 10_000
"""Default limit of saved queries and lists."""

_Content = TypeVar("_Content", bound=Content)
_Saved = TypeVar("_Saved", SavedQuery, SavedList)


@dataclass(frozen=True)
class _Kind(Generic[_Content, _Saved]):
    """How what is saved becomes a row of its table, and a row what was saved."""

    table: sa.Table
    content: Callable[[_Saved], _Content]
    columns: Callable[[_Saved], dict[str, object]]
    read: Callable[[Any], _Saved]

    def same(self, rows: Iterable[_Saved], content: _Content) -> _Saved | None:
        """The row of a content."""
        return next((row for row in rows if self.content(row) == content), None)


class SavedQueries:
    """The saved queries and lists of a site's atlases, in one file. Made by `open_saved`; safe to share between
    threads, and between processes that were forked before any of them used it."""

    def __init__(self, path: Path, most: int = MOST_SAVED) -> None:
        self.path = path
        self.most = most
        self._engine = sa.create_engine("sqlite://", creator=lambda: connect(path), poolclass=QueuePool)

    def named(self, slug: str, name: str) -> SavedQuery | None:
        """The query of a name, saved for an atlas.

        Raises:
            SavedUnavailable: the file cannot be read.
        """
        return self._named(_QUERY, slug, name)

    def named_list(self, slug: str, name: str) -> SavedList | None:
        """The list of a name, saved for an atlas.

        Raises:
            SavedUnavailable: the file cannot be read.
        """
        return self._named(_LIST, slug, name)

    def names_of(self, slug: str) -> tuple[list[str], list[str]]:
        """The names of the queries and of the lists that are saved for an atlas.

        Raises:
            SavedUnavailable: the file cannot be read.
        """
        with self._connected() as connection:
            queries, lists = (
                list(connection.scalars(sa.select(table.c.name).where(table.c.slug == slug).order_by(table.c.name)))
                for table in (QUERIES, LISTS)
            )
        return queries, lists

    def find(self, slug: str, query: Query) -> SavedQuery | None:
        """The saved query with this content, if it is saved for an atlas.

        Raises:
            SavedUnavailable: the file cannot be read.
        """
        return self._find(_QUERY, slug, query)

    def save(
        self, slug: str, query: Query, title: str | None = None, description: str | None = None
    ) -> tuple[SavedQuery, bool]:
        """Save a query for an atlas; an earlier saver's title and description stay.

        Returns the saved query, and whether it is new.

        Raises:
            SavedFull: the file has reached its limit of queries and lists, or of bytes.
            SavedUnavailable: the file cannot be written.
        """
        return self._save(_QUERY, slug, query, lambda name, now: SavedQuery(name, query, title, description, now))

    def save_list(self, slug: str, shared: SharedList) -> tuple[SavedList, bool]:
        """Save a list of neurons for an atlas.

        Returns the saved list, and whether it is new.

        Raises:
            SavedFull: the file has reached its limit of queries and lists, or of bytes.
            SavedUnavailable: the file cannot be written.
        """
        return self._save(_LIST, slug, shared, lambda name, now: SavedList(name, shared, now))

    def _named(self, kind: _Kind[_Content, _Saved], slug: str, name: str) -> _Saved | None:
        with self._connected() as connection:
            return next(iter(_rows(connection, kind, slug, [name])), None)

    def _find(self, kind: _Kind[_Content, _Saved], slug: str, content: _Content) -> _Saved | None:
        with self._connected() as connection:
            return kind.same(_rows(connection, kind, slug, names(content)), content)

    def _save(
        self,
        kind: _Kind[_Content, _Saved],
        slug: str,
        content: _Content,
        make: Callable[[str, datetime], _Saved],
    ) -> tuple[_Saved, bool]:
        existing = self._find(kind, slug, content)
        if existing is not None:
            return existing, False  # saving the same again writes nothing
        with self._connected() as connection:
            # One writer at a time from here to the end: no other process can insert in between.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            rows = _rows(connection, kind, slug, names(content))
            existing = kind.same(rows, content)
            if existing is not None:
                return existing, False
            counts = (sa.select(sa.func.count()).select_from(table) for table in TABLES)
            if sum(connection.execute(count).scalar_one() for count in counts) >= self.most:
                raise SavedFull(
                    f"{self.most:,} queries and lists are saved here, which is this site's limit. A page works "
                    "without saving: share its address, which contains all of it."
                )
            taken = {row.name for row in rows}
            name = next(name for name in names(content) if name not in taken)
            saved = make(name, datetime.now(UTC).replace(microsecond=0))
            connection.execute(sa.insert(kind.table).values(slug=slug, **kind.columns(saved)))
            return saved, True

    def close(self) -> None:
        """Close the connections. The file is opened again if it is used again."""
        self._engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        """A connection whose transaction, if one was begun, is committed at the end or rolled back on an error."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            if "is full" in str(error.orig):
                raise SavedFull(
                    f"The file of saved queries is full: it, or its disk, has no room ({MOST_BYTES >> 20} MiB at "
                    "most). Share the page's own address instead, which contains all of it."
                ) from error
            raise SavedUnavailable(
                f"Saved queries cannot be read or written here now ({error.orig}); try again soon."
            ) from error


def open_saved(path: Path, atlases: Iterable[Path] = (), most: int = MOST_SAVED) -> SavedQueries:
    """The saved queries of a file, which is created if missing. `atlases` are files that it must not be.

    Raises:
        SavedFileError: the file cannot hold saved queries (see `prepare`).
    """
    prepare(path, atlases)
    return SavedQueries(path, most)


def _rows(connection: sa.Connection, kind: _Kind[_Content, _Saved], slug: str, wanted: Iterable[str]) -> list[_Saved]:
    table = kind.table
    query = sa.select(table).where(table.c.slug == slug, table.c.name.in_(list(wanted)))
    return [kind.read(row) for row in connection.execute(query)]


def _query_columns(saved: SavedQuery) -> dict[str, object]:
    drawing = saved.query.drawing
    return {
        "name": saved.name,
        "statement": saved.query.sql,
        "parameters": dict(saved.query.parameters),
        "drawing": drawing and [drawing.kind, drawing.x, drawing.y],
        "title": saved.title,
        "description": saved.description,
        "saved_at": saved.saved_at.isoformat(),
    }


def _read_query(row: Any) -> SavedQuery:
    return SavedQuery(
        name=row.name,
        query=Query(row.statement, tuple(sorted(row.parameters.items())), row.drawing and Drawing(*row.drawing)),
        title=row.title,
        description=row.description,
        saved_at=datetime.fromisoformat(row.saved_at),
    )


def _list_columns(saved: SavedList) -> dict[str, object]:
    return {
        "name": saved.name,
        "title": saved.shared.title,
        "entries": saved.shared.entries,
        "saved_at": saved.saved_at.isoformat(),
    }


def _read_list(row: Any) -> SavedList:
    shared = SharedList(row.title, tuple((name, note) for name, note in row.entries))
    return SavedList(row.name, shared, datetime.fromisoformat(row.saved_at))


_QUERY: _Kind[Query, SavedQuery] = _Kind(QUERIES, lambda saved: saved.query, _query_columns, _read_query)
_LIST: _Kind[SharedList, SavedList] = _Kind(LISTS, lambda saved: saved.shared, _list_columns, _read_list)
