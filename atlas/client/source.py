"""Where an opened atlas reads: the few things a file and a server must both be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from atlas.api import Call
from atlas.client.records import Answer


class Source(Protocol):
    """A file or a server. The same calls give equal records."""

    place: str
    """What was opened."""

    def ask(self, call: Call, **arguments: Any) -> Any:
        """The answer of a call.

        Raises:
            AtlasError: an argument is not right, the atlas has no such thing, or it cannot be reached.
        """

    def sql(self, sql: str, parameters: Mapping[str, str]) -> Answer:
        """The answer of SQL, its `:name` standing for the parameters.

        Raises:
            AtlasError: the query is refused or fails.
        """

    def close(self) -> None:
        """Let go of what is open."""
