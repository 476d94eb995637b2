"""SQL as text: quoting, statements, and `:name` parameters, which DuckDB does not know, as its own `$name`.

The sandbox's small processes import this too: it needs only the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Text without parameters, and possible parameters, in the order in which they must be tried.
_TOKEN = re.compile(
    r"""
    (?P<skip>--[^\n]*|[eE]'(?:[^'\\]|\\.|'')*'?|'(?:[^']|'')*'?|"(?:[^"]|"")*"?|\$(?P<tag>[A-Za-z_]\w*|)\$.*?(?:\$(?P=tag)\$|\Z))
    |(?P<comment>/\*)
    |(?P<pair>::|:=)
    |:(?P<name>[A-Za-z_]\w*)
    |\$(?P<own>[A-Za-z_]\w*)
    |(?P<word>\w+)
    |(?P<space>\s+)
    |(?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")

# A value follows one of these words: there ':name' is a parameter, after any other it is part of 'key: value'.
_BEFORE_VALUE = frozenset(
    """
    select where and or not limit offset like ilike glob between in is then else when case on having by distinct any all
    escape to similar using percent values from
    """.split()  # noqa: SIM905  a list of forty lines says no more
)


def quoted(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """A text in single quotes."""
    return "'" + text.replace("'", "''") + "'"


def _comment_end(sql: str, start: int) -> int:
    """The end of a block comment; block comments nest."""
    depth = 0
    for mark in _COMMENT.finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(sql)


def _tokens(sql: str) -> Iterator[tuple[re.Match, int, bool]]:
    """Each token, its end, and whether it is only space or a comment."""
    place = 0
    while place < len(sql):
        token = _TOKEN.match(sql, place)
        place = _comment_end(sql, place) if token["comment"] else token.end()
        yield token, place, bool(token["space"] or token["comment"] or token[0].startswith("--"))


@dataclass(frozen=True)
class Word:
    """A word, a quoted text or name, or a mark of a statement, and its place."""

    text: str
    start: int
    end: int
    depth: int
    """Brackets around it; those of an opening and its closing bracket are counted for themselves too."""


def words(sql: str) -> Iterator[Word]:
    """The words and marks of a statement, without space and comments."""
    depth = 0
    for token, end, nothing in _tokens(sql):
        if nothing:
            continue
        opens, closes = token[0] in ("(", "[", "{"), token[0] in (")", "]", "}")
        depth += opens
        yield Word(sql[token.start() : end], token.start(), end, depth)
        depth -= closes


def _found(sql: str) -> Iterator[tuple[int, str]]:
    """The place of each parameter's mark, and the parameter's name."""
    before, spaced = "", False
    for token, _, nothing in _tokens(sql):
        if nothing:
            spaced = True
            continue
        name = token["name"]
        if token["own"]:
            yield token.start(), token["own"]
        elif name and (before in "=<>!(,+-*/%|&^~:" or (spaced and before.lower() in _BEFORE_VALUE)):
            yield token.start(), name
        before, spaced = ("]" if token["skip"] or name or token["own"] else token[0]), False


def with_dollars(sql: str) -> str:
    """The statement with `$name` for every `:name`; every character stays in its place."""
    characters = list(sql)
    for place, _ in _found(sql):
        characters[place] = "$"
    return "".join(characters)


def parameter_names(sql: str) -> list[str]:
    """Names of a statement's parameters, `$name` and `:name`, in the order of their first mention."""
    return list(dict.fromkeys(name for _, name in _found(sql)))


def statements(sql: str) -> list[str]:
    """The statements between semicolons, without surrounding space and comments; empty ones are left out."""
    texts: list[str] = []
    first = last = 0
    for token, end, nothing in _tokens(sql):
        if token[0] == ";":
            texts += [sql[first:last]] if last > first else []
            first = last = end
        elif not nothing:
            first = token.start() if last <= first else first
            last = end
    return [*texts, sql[first:last]] if last > first else texts
