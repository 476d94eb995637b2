"""An opened atlas: the same object over a file and over a server."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.table import Table

from atlas.client.methods import Opened
from atlas.client.neuron import OpenNeuron
from atlas.client.records import Answer, Records
from atlas.client.sources import FileSource, HttpSource
from atlas.client.study import OpenStudy
from atlas.client.table import html_table, rich_table, rows_of
from atlas.client.token import OpenToken
from atlas.core.display import read_shown, visible
from atlas.core.errors import NeuronNameError, QueryError, RemoteError, TokenError
from atlas.core.names import neuron_name, parse_neuron
from atlas.topics.bridge import BridgeToken
from atlas.topics.search import Matches, Suggestion


class OpenAtlas(Opened, spelt="demo"):
    """An atlas, local or remote. Made by `atlas.open`."""

    def __repr__(self) -> str:
        return f"<atlas {self._source.place}>"

    def __enter__(self) -> OpenAtlas:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a server needs no closing."""
        self._source.close()

    def neuron(self, name: str | int) -> OpenNeuron:
        """A neuron by its name, in any spelling (L12N345, 12.345), or by its id.

        Raises:
            NeuronNameError: this model has no such neuron.
        """
        info = self.info
        if isinstance(name, int):
            if not 0 <= name < info.n_neurons:
                raise NeuronNameError(f"There is no neuron {name}: neuron ids go from 0 to {info.n_neurons - 1}.")
            return OpenNeuron(self._source, info, neuron_name(*divmod(name, info.d_mlp)))
        return OpenNeuron(self._source, info, neuron_name(*parse_neuron(name, info.n_layers, info.d_mlp)))

    def token(self, token: str | int) -> OpenToken:
        """A token by its id, or by its exact text with any leading space (or as pages show it: '␣an').

        Raises:
            TokenError: no token, or more than one, has that text.
        """
        token_id = token if isinstance(token, int) else self._token_id(token)
        return OpenToken(self._source, self.info, self._ask("token", token=token_id))

    def study(self, name: str) -> OpenStudy:
        """A recorded experiment by its name.

        Raises:
            StudyNameError: there is no study of that name.
        """
        return OpenStudy(self._source, self._ask("study", study=name))

    def search(self, text: str, limit: int = 50) -> Matches:
        """Search for a neuron's name, tokens of a text, and neurons that fire on a text.

        Raises:
            ParameterError: the text is empty or longer than 200 characters.
        """
        return self._ask("search", q=text, limit=limit)

    def suggest(self, text: str, limit: int = 10) -> Records[Suggestion]:
        """Suggestions for a text, the likeliest first.

        Raises:
            ParameterError: the text is empty or longer than 200 characters.
        """
        return self._list(f"suggestions for {text}", "suggest", q=text, limit=limit)

    def sql(self, sql: str, /, **parameters: str | int | float | bool) -> Answer:
        """The answer of SQL, with parameters for its `:name`: `sql("… WHERE token = :token", token=" an")`.

        A value is text in the statement, as in the site's form: a comparison casts it to the type of the other side;
        elsewhere a number is `CAST(:n AS INTEGER)`. A file gives the whole answer in Python's types; a server answers
        within its limits in JSON's types (a date is text, NaN the text 'NaN').

        Raises:
            QueryError: the query is refused or fails, or a value is missing, unused, or neither text nor a number.
        """
        return self._source.sql(sql, {name: _text(name, value) for name, value in parameters.items()})

    def __rich__(self) -> Table:
        return rich_table(self.info.slug, rows_of(self.info), 0)

    def _repr_html_(self) -> str:
        return html_table(self.info.slug, rows_of(self.info), 0)

    def _token_id(self, text: str) -> int:
        for spelt in dict.fromkeys((text, read_shown(text))):
            tokens = list(self.tokens(text=spelt))
            if len(tokens) == 1:
                return tokens[0].token_id
            if tokens:
                ids = ", ".join(str(token.token_id) for token in tokens)
                raise TokenError(f"{len(tokens)} tokens are {text!r}: {ids}; expected one. Ask for it by its id.")
        raise TokenError(
            f"No token is exactly {text!r} (a leading space counts). `search` finds those that contain it."
        )


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise QueryError(f"{name}={value!r} is invalid: expected text or a number. Write NULL in the SQL itself.")
    return str(value)


def open_any(place: Path | str, *, timeout: float = 30.0) -> OpenAtlas:
    """Open an atlas: a file, or the URL of one that is served, `http://host:8000/slug` (`slug@build_id` for one build).

    `timeout` is the longest wait for data from a server, in seconds.

    Raises:
        NotAnAtlasError, SchemaVersionError: the file cannot be read.
        RemoteError: no server answers at the URL, or it serves several atlases and the URL names none.
    """
    if isinstance(place, str) and urlsplit(place).scheme in ("http", "https"):
        return OpenAtlas(HttpSource(place, timeout))
    return OpenAtlas(FileSource(Path(place)))


def bridge(atlases: Iterable[OpenAtlas | Path | str], text: str) -> Records[BridgeToken]:
    """The same token, by its text, in several atlases, in their order. Each is an opened atlas, a file or a URL.

    Raises:
        AtlasError: one of them cannot be opened or reached.
    """
    with ExitStack() as closing:
        opened = [item if isinstance(item, OpenAtlas) else closing.enter_context(open_any(item)) for item in atlases]
        return Records(f"{visible(text)!r} in {len(opened)} atlases", [_of(atlas, text) for atlas in opened])


def _of(atlas: OpenAtlas, text: str) -> BridgeToken:
    info = atlas.info
    # A server answers for every atlas that it serves.
    for answer in atlas._ask("bridge_token", text=text):
        if (answer.slug, answer.build_id) == (info.slug, info.build_id):
            return answer
    raise RemoteError(f"{atlas!r} no longer serves build {info.build_id}; open it again.")
