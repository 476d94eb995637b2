"""Saved queries and lists, and their names: hashes of the content, so that the same content has the same link."""

from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from atlas.core.sql_text import parameter_names
from web.saved.errors import SavedRefused

LONGEST_TITLE = 120
"""Most characters of a title."""

LONGEST_DESCRIPTION = 1_000
"""Most characters of a description."""

_LONGEST_AXIS = 200
"""Most characters of the name of a drawn column."""

_LENGTHS = (12, 20, 28, 52)
"""Characters of a name: 60 bits of the hash, and more only where another query has the same ones."""


@dataclass(frozen=True)
class Drawing:
    """How an answer is drawn: one of the console's kinds, and the columns along x and y."""

    kind: str
    x: str
    y: str


@dataclass(frozen=True)
class Query:
    """A query in its normal form: the content that its name is a hash of."""

    sql: str
    """The statement without surrounding space and trailing semicolons, with newlines as line ends."""
    parameters: tuple[tuple[str, str], ...]
    """Values of the parameters that the statement names, by name."""
    drawing: Drawing | None
    """How the answer is drawn; None: as a table only."""

    def content(self) -> object:
        """What its name is a hash of, as JSON values."""
        drawing = self.drawing and [self.drawing.kind, self.drawing.x, self.drawing.y]
        return [self.sql, dict(self.parameters), drawing]


@dataclass(frozen=True)
class SavedQuery:
    """A query as the first who saved it left it."""

    name: str
    """Its name within its atlas, as in `/{slug}/q/{name}`."""
    query: Query
    title: str | None
    """Title from its saver; None if there is none."""
    description: str | None
    """Description from its saver, with newlines as line ends; None if there is none."""
    saved_at: datetime
    """When it was first saved, in UTC."""


@dataclass(frozen=True)
class SharedList:
    """A list of neurons: the content that its name is a hash of."""

    title: str
    """Title; '' if none."""
    entries: tuple[tuple[str, str], ...]
    """Names of the neurons, in order, each with its note ('' if none)."""

    def content(self) -> object:
        """What its name is a hash of, as JSON values."""
        return ["list", self.title, self.entries]


@dataclass(frozen=True)
class SavedList:
    """A list of neurons as it was saved."""

    name: str
    """Its name within its atlas, as in `/{slug}/list/{name}`."""
    shared: SharedList
    saved_at: datetime
    """When it was first saved, in UTC."""


Content = Query | SharedList
"""What can be saved."""


def normal(sql: str, parameters: Mapping[str, str], drawing: Drawing | None = None) -> Query:
    """The normal form of a query. Parameters that the statement does not name are left out."""
    statement = sql.replace("\r\n", "\n").replace("\r", "\n").strip()
    while statement.endswith(";"):
        statement = statement[:-1].rstrip()
    values = sorted((name, parameters[name]) for name in parameter_names(statement) if name in parameters)
    return Query(statement, tuple(values), drawing)


def check_query(sql: str, parameters: Mapping[str, str], drawing: Drawing | None, longest: int) -> Query:
    """The normal form of a query that may be saved; `longest` is in bytes of the statement with its parameters.

    Raises:
        SavedRefused: there is no statement, it is too long, or a parameter has no value.
    """
    query = normal(sql, parameters, drawing)
    values = dict(query.parameters)
    if not query.sql:
        raise SavedRefused("There is no statement to save: expected one in the form field sql.")
    if "\0" in "".join((query.sql, *values.values())):
        raise SavedRefused("The statement contains a NUL character, which SQL does not allow; save it without.")
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in (query.sql, *values.values()))
    if size > longest:
        raise SavedRefused(f"The statement has {size:,} bytes with its parameters; expected at most {longest:,}.")
    for name in parameter_names(query.sql):
        if not values.get(name):
            raise SavedRefused(f"The statement's parameter {name!r} has no value; send it as the form field p.{name}.")
    if drawing and max(len(drawing.x), len(drawing.y)) > _LONGEST_AXIS:
        raise SavedRefused(f"The name of a column to draw is too long; expected at most {_LONGEST_AXIS} characters.")
    return query


def check_note(title: str, description: str) -> tuple[str | None, str | None]:
    """A title (one line) and a description (lines) that may be saved; None where they are empty.

    Raises:
        SavedRefused: one of them is too long.
    """
    title, description = " ".join(title.split()), "\n".join(description.replace("\0", " ").strip().splitlines())
    for what, text, most in (("title", title, LONGEST_TITLE), ("description", description, LONGEST_DESCRIPTION)):
        if len(text) > most:
            raise SavedRefused(f"The {what} has {len(text):,} characters; expected at most {most:,}.")
    return title.replace("\0", " ") or None, description or None


def digest(content: Content) -> str:
    """52 characters of a-z and 2-7: the SHA-256 of a query's or a list's content, in base 32."""
    text = json.dumps(content.content(), separators=(",", ":"))
    return b32encode(sha256(text.encode("ascii")).digest()).decode("ascii").rstrip("=").lower()


def names(content: Content) -> Iterator[str]:
    """Names that a query or a list may have, the shortest first: a longer one only if another has the shorter."""
    whole = digest(content)
    return (whole[:length] for length in _LENGTHS)
