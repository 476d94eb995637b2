"""An atlas file as a source: calls are answered here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas.api import Call
from atlas.client.records import Answer
from atlas.db import open_atlas
from atlas.parameters import with_dollars


class FileSource:
    """An atlas file, read-only."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            NotAnAtlasError, SchemaVersionError: it cannot be read (see `open_atlas`).
        """
        self.atlas = open_atlas(path)
        self.place = str(path)

    def ask(self, call: Call, **arguments: Any) -> Any:
        """The answer of a call: arguments are read from text, as a server would."""
        subject = self.atlas if call.of_atlas else {self.atlas.info.slug: self.atlas}
        return call.ask(subject, call.texts(arguments))

    def sql(self, sql: str, parameters: Mapping[str, str]) -> Answer:
        """The answer of SQL, all of it, in Python's types."""
        return Answer(self.atlas.query(with_dollars(sql), parameters), truncated=False)

    def close(self) -> None:
        """Close the file."""
        self.atlas.close()
