"""The store of saved queries, shared by several processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from web.saved.errors import SavedFull, SavedUnavailable
from web.saved.file import MOST_BYTES, TABLE, connect, prepare
from web.saved.query import Drawing, Query, SavedQuery, names

MOST_SAVED = 10_000
"""Default limit of saved queries."""


class SavedQueries:
    """The saved queries of a site's atlases, in one file. Made by `open_saved`; safe to share between threads, and
    between processes that were forked before any of them used it."""

    def __init__(self, path: Path, most: int = MOST_SAVED) -> None:
        self.path = path
        self.most = most
        self._engine = sa.create_engine("sqlite://", creator=lambda: connect(path), poolclass=QueuePool)

    def named(self, slug: str, name: str) -> SavedQuery | None:
        """The query of a name, saved for an atlas.

        Raises:
            SavedUnavailable: the file cannot be read.
        """
        with self._connected() as connection:
            return next(iter(_rows(connection, slug, [name])), None)

    def find(self, slug: str, query: Query) -> SavedQuery | None:
        """The saved query with this content, if it is saved for an atlas.

        Raises:
            SavedUnavailable: the file cannot be read.
        """
        with self._connected() as connection:
            return _same(_rows(connection, slug, names(query)), query)

    def save(
        self, slug: str, query: Query, title: str | None = None, description: str | None = None
    ) -> tuple[SavedQuery, bool]:
        """Save a query for an atlas; an earlier saver's title and description stay.

        Returns the saved query, and whether it is new.

        Raises:
            SavedFull: the file has reached its limit of queries or bytes.
            SavedUnavailable: the file cannot be written.
        """
        existing = self.find(slug, query)
        if existing is not None:
            return existing, False  # saving the same query again writes nothing
        with self._connected() as connection:
            # One writer at a time from here to the end: no other process can insert in between.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            rows = list(_rows(connection, slug, names(query)))
            existing = _same(rows, query)
            if existing is not None:
                return existing, False
            if connection.execute(sa.select(sa.func.count()).select_from(TABLE)).scalar_one() >= self.most:
                raise SavedFull(
                    f"{self.most:,} queries are saved here, which is this site's limit. The query works without "
                    f"saving: "
                    "share the console's address, which contains all of it."
                )
            taken = {row.name for row in rows}
            name = next(name for name in names(query) if name not in taken)
            saved = SavedQuery(name, query, title, description, datetime.now(UTC).replace(microsecond=0))
            connection.execute(sa.insert(TABLE).values(slug=slug, **_columns(saved)))
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
                    "most). Share the console's address instead, which contains the whole query."
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


def _rows(connection: sa.Connection, slug: str, wanted: Iterable[str]) -> list[SavedQuery]:
    query = sa.select(TABLE).where(TABLE.c.slug == slug, TABLE.c.name.in_(list(wanted)))
    return [
        SavedQuery(
            name=row.name,
            query=Query(row.statement, tuple(sorted(row.parameters.items())), row.drawing and Drawing(*row.drawing)),
            title=row.title,
            description=row.description,
            saved_at=datetime.fromisoformat(row.saved_at),
        )
        for row in connection.execute(query)
    ]


def _same(rows: Iterable[SavedQuery], query: Query) -> SavedQuery | None:
    return next((row for row in rows if row.query == query), None)


def _columns(saved: SavedQuery) -> dict[str, object]:
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
