"""Reading ahead: a program that goes through all neurons or tokens asks the statements of a page for many at a time.

A point lookup costs a millisecond whatever it returns, and a page makes a dozen; a range of 64 costs little more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from atlas.core.db import Atlas
    from atlas.core.statements import Statement

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")

_MOST = 65_536
"""Most records of a kind that are kept: about 2 kB for a neuron, less for a token."""


class Ahead:
    """What is read ahead of an atlas: rows of statements for a range of ids, and records that were made once."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        atlas.tokens.most_made = _MOST
        self._name, self._ids = "", range(0)
        self._rows: dict[tuple, dict[int, list[tuple]]] = {}
        self._records: dict[str, dict[Any, Any]] = {}

    def turn_to(self, name: str, ids: range) -> None:
        """From now on answer for these ids: 'neuron_id' or 'token_id'."""
        self._name, self._ids = name, ids
        self._rows.clear()

    def rows(self, statement: Statement, parameters: dict[str, Any]) -> Sequence[tuple] | None:
        """The rows of a statement that has `each`; None: it is about something else.

        Raises:
            QueryError: DuckDB refuses the statement or fails at it.
        """
        others = {name: value for name, value in parameters.items() if name != self._name}
        if len(others) == len(parameters) or parameters[self._name] not in self._ids:
            return None
        key = (statement, *others.items())
        if key not in self._rows:
            ends = {"first": self._ids[0], "last": self._ids[-1]}
            by_id = self._rows[key] = {}
            for one, *row in self._atlas.rows(statement.of_range(), others | ends):
                by_id.setdefault(one, []).append(tuple(row))
        return self._rows[key].get(parameters[self._name], [])

    def records(self, kind: str, keys: Iterable[Key], make: Callable[[list[Key]], dict[Key, Made]]) -> dict[Key, Made]:
        """What `make` makes of keys, by key, in their order; what was made before is not made again."""
        keys, known = list(keys), self._records.setdefault(kind, {})
        missing = [key for key in keys if key not in known]
        if missing:
            if len(known) + len(missing) > _MOST:
                known.clear()
                missing = keys
            known.update(make(missing))
        return {key: known[key] for key in keys if key in known}
