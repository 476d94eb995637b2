"""An opened atlas: the same object over a file and over a server."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.table import Table

from atlas.client.neuron import OpenNeuron
from atlas.client.records import Answer, Pages, Records
from atlas.client.sources import FileSource, HttpSource, Source
from atlas.client.study import OpenStudy
from atlas.client.table import flat, html_table, rich_table
from atlas.client.token import OpenToken
from atlas.core.call import CALLS
from atlas.core.display import read_shown, visible
from atlas.core.errors import NeuronNameError, QueryError, RemoteError, TokenError
from atlas.core.info import AtlasInfo
from atlas.core.names import neuron_name, parse_neuron
from atlas.core.parameter import MOST_ROWS
from atlas.core.units import Token
from atlas.glossary.term import Term
from atlas.topics.bridge import BridgeToken
from atlas.topics.kind import LayerKinds
from atlas.topics.layer import LayerSummary
from atlas.topics.neuron import Neuron
from atlas.topics.pair import ExclusivePair, TokenExclusivity
from atlas.topics.pair_metric.effects import PairEffect
from atlas.topics.pair_metric.ranked import PairMetric
from atlas.topics.search import Matches, Suggestion
from atlas.topics.study.records import Study


class OpenAtlas:
    """An atlas, wherever it is. Made by `atlas.open`."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __repr__(self) -> str:
        return f"<atlas {self._source.place}>"

    def __enter__(self) -> OpenAtlas:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; of a server nothing is held."""
        self._source.close()

    @cached_property
    def info(self) -> AtlasInfo:
        """What it is of: model, dataset, settings, versions."""
        return self._source.ask(CALLS["info"])

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
        """A token by its id, or by exactly its text, leading space and all (or as pages show it: '␣an').

        Raises:
            TokenError: there is none, or there are several of that text.
        """
        token_id = token if isinstance(token, int) else self._token_id(token)
        return OpenToken(self._source, self.info, self._source.ask(CALLS["token"], token=token_id))

    def neurons(self, limit: int | None = None, **filters: Any) -> Pages[Neuron]:
        """Neurons, the first `limit` of them or all: read a page at a time while one iterates.

        Filters are the parameters of /neurons, dots as underscores: `layer_min=3, token_gap_gte=0.5, dead=False,
        sort="token_gap"`.

        Raises:
            ParameterError: there is no such filter, or its value is not right.
        """
        return self._pages("neurons", limit, filters)

    def pairs(self, limit: int | None = None, **filters: Any) -> Pages[ExclusivePair]:
        """Exclusive pairs, the first `limit` of them or all; filters are the parameters of /pairs.

        Raises:
            ParameterError: there is no such filter, or its value is not right.
        """
        return self._pages("pairs", limit, filters)

    def pair_metrics(self, limit: int | None = None, **filters: Any) -> Pages[PairMetric]:
        """How well activation predicts, pair by pair, the first `limit` of them or all; filters are the parameters of
        /pair-metrics, dots as underscores: `side="positive", auroc_predicted_gte=0.9, sort="lift_predicted"`.

        Raises:
            ParameterError: there is no such filter, or its value is not right.
        """
        return self._pages("pair_metrics", limit, filters)

    def pair_effects(self, limit: int | None = None, **filters: Any) -> Pages[PairEffect]:
        """What became of tokens when neurons were ablated where they fire; filters are the parameters of /pair-effects.

        Raises:
            ParameterError: there is no such filter, or its value is not right.
        """
        return self._pages("pair_effects", limit, filters)

    def exclusive(self, limit: int | None = None, **filters: Any) -> Pages[TokenExclusivity]:
        """Tokens by how far their best neuron leads; filters are the parameters of /exclusive.

        Raises:
            ParameterError: there is no such filter, or its value is not right.
        """
        return self._pages("exclusive", limit, filters)

    def tokens(self, limit: int | None = None, text: str | None = None) -> Pages[Token]:
        """The vocabulary by id, or the tokens of exactly a text."""
        return self._pages("tokens", limit, {"text": text})

    def studies(self) -> Records[Study]:
        """The experiments that it records."""
        return Records("studies", self._source.ask(CALLS["studies"]))

    def study(self, name: str) -> OpenStudy:
        """A recorded experiment by its name.

        Raises:
            StudyNameError: there is none of that name.
        """
        return OpenStudy(self._source, self._source.ask(CALLS["study"], study=name))

    def layers(self) -> Records[LayerSummary]:
        """Every layer in numbers."""
        return Records("layers", self._source.ask(CALLS["layers"]))

    def kinds(self) -> Records[LayerKinds]:
        """How many neurons of each layer are of each kind."""
        return Records("kinds of neurons", self._source.ask(CALLS["kinds"]))

    def search(self, text: str, limit: int = 50) -> Matches:
        """The neuron of a name, tokens of a text, neurons whose texts fire them there.

        Raises:
            ParameterError: the text is empty or longer than 200 characters.
        """
        return self._source.ask(CALLS["search"], q=text, limit=limit)

    def suggest(self, text: str, limit: int = 10) -> Records[Suggestion]:
        """What a text may mean, the likeliest first.

        Raises:
            ParameterError: the text is empty or longer than 200 characters.
        """
        return Records(f"suggestions for {text}", self._source.ask(CALLS["suggest"], q=text, limit=limit))

    def glossary(self) -> Records[Term]:
        """What every number means."""
        return Records("glossary", self._source.ask(CALLS["glossary"]))

    def sql(self, sql: str, /, **parameters: str | int | float | bool) -> Answer:
        """The answer of SQL, its `:name` standing for the parameters: `sql("… WHERE token = :token", token=" an")`.

        A value is text in the statement, as it is in the site's form: a comparison reads it as what it is compared
        with, elsewhere a number is `CAST(:n AS INTEGER)`. A file answers with all of it, in Python's types; a server
        within its limits, in JSON's (a date is text there, NaN the text 'NaN').

        Raises:
            QueryError: the query is refused or fails, or a value is missing, is not used or is no text or number.
        """
        return self._source.sql(sql, {name: _text(name, value) for name, value in parameters.items()})

    def __rich__(self) -> Table:
        return rich_table(*self._row(), 0)

    def _repr_html_(self) -> str:
        return html_table(*self._row(), 0)

    def _row(self) -> tuple[str, dict[str, list[Any]]]:
        row = flat(self.info)
        return self.info.slug, {"column": list(row), "value": list(row.values())}

    def _pages(self, name: str, limit: int | None, filters: dict[str, Any]) -> Pages:
        call, size = CALLS[name], MOST_ROWS if limit is None else max(1, min(limit, MOST_ROWS))
        call.texts(filters)  # says at once what is no filter
        return Pages(name, lambda after: self._source.ask(call, **filters, limit=size, after=after), limit)

    def _token_id(self, text: str) -> int:
        for spelt in dict.fromkeys((text, read_shown(text))):
            found = list(self.tokens(text=spelt))
            if len(found) == 1:
                return found[0].token_id
            if found:
                ids = ", ".join(str(token.token_id) for token in found)
                raise TokenError(f"{len(found)} tokens are {text!r}: {ids}; expected one. Ask for it by its id.")
        raise TokenError(
            f"No token is exactly {text!r} (a leading space counts). `search` finds those that contain it."
        )


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise QueryError(f"{name}={value!r} is not right: expected text or a number. NULL can be written in the SQL.")
    return str(value)


def open_any(place: Path | str, *, timeout: float = 30.0) -> OpenAtlas:
    """Open an atlas: a file, or the URL of one that is served, `http://host:8000/slug` (`slug@build_id` for one build).

    `timeout` is how long a server may be silent, in seconds.

    Raises:
        NotAnAtlasError, SchemaVersionError: the file cannot be read.
        RemoteError: nothing answers at the URL, or it serves several atlases and names none.
    """
    if isinstance(place, str) and urlsplit(place).scheme in ("http", "https"):
        return OpenAtlas(HttpSource(place, timeout))
    return OpenAtlas(FileSource(Path(place)))


def bridge(atlases: Iterable[OpenAtlas | Path | str], text: str) -> Records[BridgeToken]:
    """The same token, by its text, in several atlases, in their order: opened ones, files, or URLs, in any mixture.

    Raises:
        AtlasError: one of them cannot be opened or reached.
    """
    with ExitStack() as closing:
        opened = [item if isinstance(item, OpenAtlas) else closing.enter_context(open_any(item)) for item in atlases]
        return Records(f"{visible(text)!r} in {len(opened)} atlases", [_of(atlas, text) for atlas in opened])


def _of(atlas: OpenAtlas, text: str) -> BridgeToken:
    info = atlas.info
    # A server answers for all that it serves.
    for found in atlas._source.ask(CALLS["bridge_token"], text=text):
        if (found.slug, found.build_id) == (info.slug, info.build_id):
            return found
    raise RemoteError(f"{atlas!r} serves another build by now than {info.build_id}; open it again.")
