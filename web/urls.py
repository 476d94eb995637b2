"""Every URL of the site is made here, and nowhere else.

A page of an atlas is addressed by an AtlasRef: a slug, and for a pinned page the build it is pinned to. Links on a
pinned page stay pinned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from atlas.names import is_neuron_name, neuron_name

API = "/api/v1"
"""Where the API is."""

STATIC = Path(__file__).resolve().parent / "static"


@dataclass(frozen=True)
class AtlasRef:
    """Which atlas a URL names: its slug, and the build_id if the URL is pinned to one."""

    slug: str
    build_id: str | None = None

    def __str__(self) -> str:
        return self.slug if self.build_id is None else f"{self.slug}@{self.build_id}"


def _with(path: str, query: dict[str, Any]) -> str:
    pairs = [(name, value) for name, value in query.items() if value is not None and value != []]
    return f"{path}?{urlencode(pairs, quote_via=quote, doseq=True)}" if pairs else path


def home() -> str:
    """The list of atlases."""
    return "/"


def search(query: str | None = None, atlas: str | None = None) -> str:
    """Search for a neuron or a token, in all atlases or in one slug's."""
    return _with("/search", {"atlas": atlas, "q": query})


def overview(ref: AtlasRef) -> str:
    """The overview of an atlas."""
    return f"/{ref}"


def neurons(ref: AtlasRef, **state: str | int | None) -> str:
    """Every neuron: `state` is a NeuronsState's query (see web/neurons_state.py), without it the whole list."""
    return _with(f"/{ref}/neurons", state)


def layer(
    ref: AtlasRef, number: int, sort: str | None = None, order: str | None = None, page: int | None = None
) -> str:
    """A layer, its neurons sorted by a column ('asc' or 'desc') and paged from 1."""
    return _with(f"/{ref}/L{number}", {"sort": sort, "order": order, "page": page})


def neuron(ref: AtlasRef, layer: int, index: int, token: int | None = None, **state: Any) -> str:
    """A neuron; `token` puts that candidate's curve first, `state` is how its texts and thresholds are shown."""
    return _with(f"/{ref}/{neuron_name(layer, index)}", {"token": token, **state})


def neuron_tokens(ref: AtlasRef, layer: int, index: int) -> str:
    """A neuron's congruence with every token."""
    return f"/{ref}/{neuron_name(layer, index)}/tokens"


def similar(ref: AtlasRef, layer: int, index: int, side: str | None = None) -> str:
    """Neurons whose weights ('out', 'in' or 'gate') point the same way."""
    return _with(f"/{ref}/{neuron_name(layer, index)}/similar", {"side": side})


def random_neuron(ref: AtlasRef) -> str:
    """Leads to some neuron, another each time."""
    return f"/{ref}/random"


def compare(ref: AtlasRef, names: Iterable[str] = (), token: int | None = None) -> str:
    """Neurons side by side, by name; `token` puts its curves first."""
    return _with(f"/{ref}/compare", {"n": list(names), "token": token})


def token(ref: AtlasRef, token_id: int) -> str:
    """A token by its id."""
    return f"/{ref}/token/{token_id}"


def token_neurons(ref: AtlasRef, token_id: int) -> str:
    """A token's congruence with every neuron."""
    return f"/{ref}/token/{token_id}/neurons"


def find_token(ref: AtlasRef, text: str | None = None) -> str:
    """A token by its text."""
    return _with(f"/{ref}/token", {"text": text})


def pairs(ref: AtlasRef, **state: str | float | None) -> str:
    """The ranking of exclusive pairs; `state` is a Ranking's parameters (see web/ranking.py)."""
    return _with(f"/{ref}/pairs", state)


def exclusive(ref: AtlasRef, **state: str | float | None) -> str:
    """Tokens by how far their best neuron leads the second; `state` as for `pairs`."""
    return _with(f"/{ref}/exclusive", state)


def hubs(ref: AtlasRef, k: int | None = None) -> str:
    """Neurons and tokens that are best for many; `k` is how long the lists are that are counted."""
    return _with(f"/{ref}/hubs", {"k": k})


def hubs_centring(ref: AtlasRef) -> str:
    """What centring the readout does to hubs."""
    return f"/{ref}/hubs/centring"


def glossary(ref: AtlasRef | None = None) -> str:
    """What every number means, with an atlas's own numbers or without; a term is at '#' and its anchor."""
    return "/glossary" if ref is None else f"/{ref}/glossary"


def api_page() -> str:
    """What the API answers, for people."""
    return "/api"


def openapi() -> str:
    """The same for programs."""
    return f"{API}/openapi.json"


def api(path: str, ref: AtlasRef | None, parts: Mapping[str, str], **query: str) -> str:
    """A call of the API: its path as a template (see `atlas.api`), what stands in it, its other parameters."""
    parts = {"atlas": str(ref), **parts}
    filled = re.sub(r"\{(\w+)\}", lambda found: quote(parts[found[1]], safe="@"), path)
    return _with(f"{API}/{filled}", query)


def json(url: str) -> str:
    """The data of the page at a URL."""
    path, mark, query = url.partition("?")
    return f"{path}.json{mark}{query}"


def chart(url: str, name: str, kind: str) -> str:
    """A chart of the page at a URL as a file: 'svg', 'png', 'csv', or 'json' for its Vega-Lite specification."""
    path, mark, query = url.partition("?")
    return f"{path}.chart.{kind}?{query}{'&' if mark else ''}{urlencode({'chart': name}, quote_via=quote)}"


def csv(url: str) -> str:
    """The whole list of the page at a URL, as CSV."""
    path, mark, query = url.partition("?")
    return f"{path}.csv{mark}{query}"


def sitemap(slug: str | None = None, part: int = 0) -> str:
    """The site map, or a part of it."""
    return "/sitemap.xml" if slug is None else f"/sitemap/{slug}-{part}.xml"


def sql(
    ref: AtlasRef, statement: str | None = None, parameters: Mapping[str, str] | None = None, **state: str | None
) -> str:
    """The SQL console, with a statement, values of its parameters, and how its answer is drawn."""
    return _with(f"/{ref}/sql", {"sql": statement, **_named(parameters), **state})


def answer(ref: AtlasRef, statement: str, parameters: Mapping[str, str | None], kind: str) -> str:
    """A statement's answer as a file: 'csv', 'json' or 'parquet'."""
    return _with(f"/{ref}/sql.{kind}", {"sql": statement, **_named(parameters)})


def _named(parameters: Mapping[str, str | None] | None) -> dict[str, str | None]:
    return {f"p.{name}": value for name, value in (parameters or {}).items()}


def is_neuron(name: str) -> bool:
    """Whether a cell of an answer spells a neuron."""
    return is_neuron_name(name)


def named(ref: AtlasRef, name: str) -> str:
    """A neuron by its name as an answer spells it; the page leads to the canonical spelling."""
    return f"/{ref}/{quote(name)}"


def card(url: str) -> str:
    """The picture of the page at a URL."""
    path, mark, query = url.partition("?")
    return f"{path}.card.png{mark}{query}"


def pinned(ref: AtlasRef, url: str, build_id: str) -> str:
    """A page's URL, pinned to a build (or, already pinned, to that one instead)."""
    return f"/{ref.slug}@{build_id}" + url[len(f"/{ref}") :]


def current(ref: AtlasRef, url: str) -> str:
    """A pinned page's URL without its pin."""
    return f"/{ref.slug}" + url[len(f"/{ref}") :]


@cache
def static(name: str) -> str:
    """A static file; the URL changes with its content, so that it may be kept for ever."""
    return _with(f"/static/{name}", {"v": blake2b((STATIC / name).read_bytes(), digest_size=4).hexdigest()})


def vega(version: str) -> str:
    """The Vega bundle of a version of vl-convert."""
    return f"/static/vega-{version}.js"
