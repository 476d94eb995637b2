"""Sources of an open atlas's answers: a local file, or a site that serves it."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from atlas.api.calls import CALLS
from atlas.api.codec import ERRORS, decode
from atlas.client.records import Answer
from atlas.core.answer.asking import QueryResult
from atlas.core.call import Call
from atlas.core.db import open_atlas
from atlas.core.errors import QueryError, RemoteError
from atlas.core.sql_text import with_dollars
from atlas.topics.cut_list import statement_notes


class Source(Protocol):
    """A file or a server. Both answer the same call with equal records."""

    place: str
    """The path or URL that was opened."""

    def ask(self, call: Call, **arguments: Any) -> Any:
        """The answer of a call.

        Raises:
            AtlasError: an argument is invalid, the atlas has no such thing, or it cannot be reached.
        """

    def sql(self, sql: str, parameters: Mapping[str, str]) -> Answer:
        """The answer of SQL, with parameters for its `:name`.

        Raises:
            AtlasError: the query is refused or fails.
        """

    def close(self) -> None:
        """Close the source."""


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
        """The answer of a call; arguments are parsed from text, as a server does."""
        subject = self.atlas if call.of_atlas else {self.atlas.info.slug: self.atlas}
        return call.ask(subject, call.texts(arguments))

    def sql(self, sql: str, parameters: Mapping[str, str]) -> Answer:
        """The whole answer of SQL, in Python's types."""
        notes = tuple(note.text for note in statement_notes(self.atlas, sql))
        return Answer(self.atlas.query(with_dollars(sql), parameters), truncated=False, notes=notes)

    def close(self) -> None:
        """Close the file."""
        self.atlas.close()


API = "api/v1"


class HttpSource:
    """An atlas that `atlas serve` serves at `http://host/slug` (or `slug@build_id`)."""

    def __init__(self, url: str, timeout: float) -> None:
        """Send no request yet, unless the URL names no atlas.

        Raises:
            RemoteError: the URL names no atlas, and the site does not serve exactly one.
        """
        parts = urlsplit(url)
        self.timeout = timeout
        path, _, self.ref = parts.path.rstrip("/").rpartition("/")
        self.base = f"{parts.scheme}://{parts.netloc}{path}/"
        if not self.ref:
            self.ref = self._only_atlas()
        self.place = self.base + self.ref

    def ask(self, call: Call, **arguments: Any) -> Any:
        """The answer of a call."""
        texts = call.texts(arguments)
        path = call.path.replace("{atlas}", quote(self.ref, safe="@"))
        for declared in call.parameters:
            if declared.in_path:
                path = path.replace(f"{{{declared.name}}}", quote(texts.pop(declared.name), safe=""))
        body = self._read(f"{API}/{path}" + (f"?{urlencode(texts, quote_via=quote)}" if texts else ""))
        try:
            return decode(call, body)
        except (KeyError, TypeError, ValueError) as error:
            raise RemoteError(
                f"The answer of {self.base} to {call.name} cannot be read ({error!r}); expected one from the same "
                "version of neuron-atlas. Compare `atlas --version` here and there."
            ) from error

    def sql(self, sql: str, parameters: Mapping[str, str]) -> Answer:
        """The answer of SQL, within the server's limits, in JSON's types."""
        form = urlencode({"sql": sql} | {f"p.{name}": value for name, value in parameters.items()}).encode()
        body = self._read(f"{quote(self.ref, safe='@')}/sql.json", form)
        try:
            rows = tuple(tuple(row) for row in body["rows"])
            notes = tuple(note["text"] for note in body.get("notes", ()))
            return Answer(QueryResult(tuple(body["columns"]), rows), body["truncated"], notes)
        except (KeyError, TypeError) as error:
            raise RemoteError(f"The answer of {self.place} to SQL cannot be read: {error!r}.") from error

    def close(self) -> None:
        """Do nothing: no connection stays open."""

    def _only_atlas(self) -> str:
        served = [item["slug"] for item in self._read(f"{API}/{CALLS['atlases'].path}")["data"]]
        if len(served) != 1:
            raise RemoteError(
                f"{self.base} serves {', '.join(served) or 'no atlas'}; expected the URL of one of them, as in "
                f"{self.base}{served[0] if served else 'slug'}."
            )
        return served[0]

    def _read(self, path: str, form: bytes | None = None) -> Mapping[str, Any]:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "neuron-atlas"}
        try:
            with urlopen(Request(self.base + path, form, headers), timeout=self.timeout) as response:
                return _parse(response.read(), response.headers)
        except HTTPError as error:
            with error:
                raise self._refusal(error) from error
        except (OSError, http.client.HTTPException, ValueError, EOFError) as error:
            cause = getattr(error, "reason", error)
            raise RemoteError(
                f"{self.base} could not be read: {cause}. Expected a site that `atlas serve` serves; is it running?"
            ) from error

    def _refusal(self, error: HTTPError) -> Exception:
        try:
            failure = _parse(error.read(), dict(error.headers))["error"]
            code, message = failure["code"], failure["message"]
        except (OSError, http.client.HTTPException, ValueError, EOFError, KeyError, TypeError):
            code, message = None, f"it answered {error.code} {error.reason}, which is not an answer of `atlas serve`"
        if code is not None and error.code not in (404, 429, 503) and error.url.endswith("/sql.json"):
            return QueryError(f"The query failed on {self.place}: {message}")
        if code in ERRORS:
            return ERRORS[code](message)
        wait = f" Wait {error.headers['Retry-After']} s." if error.headers.get("Retry-After") else ""
        return RemoteError(f"{self.base} refused: {message}{wait}")


def _parse(content: bytes, headers: Mapping[str, str]) -> Mapping[str, Any]:
    if headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return json.loads(content)
