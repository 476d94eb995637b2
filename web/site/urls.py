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

import web
from atlas.core.names import is_neuron_name, neuron_name

API = "/api/v1"
"""Where the API is."""

OEMBED = "/oembed"
"""Where programs ask how a page is embedded."""

EARLIER = "earlier"
"""The parameter that `after` adds; see web/site/earlier.py."""

STATIC = Path(web.__file__).resolve().parent / "static"


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


def runs() -> str:
    """How far the runs are that write the site's files: for the home page's script."""
    return "/healthz/runs"


def search(query: str | None = None, atlas: str | None = None) -> str:
    """Search for a neuron or a token, in all atlases or in one slug's."""
    return _with("/search", {"atlas": atlas, "q": query})


def overview(ref: AtlasRef) -> str:
    """The overview of an atlas."""
    return f"/{ref}"


def neurons(ref: AtlasRef, **state: str | int | None) -> str:
    """Every neuron: `state` is a NeuronsState's query (see web/views/neurons_state.py), without it the whole list."""
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


def neuron_candidates(ref: AtlasRef, layer: int, index: int) -> str:
    """Every token that was counted with a neuron."""
    return f"/{ref}/{neuron_name(layer, index)}/candidates"


def neuron_family(ref: AtlasRef, layer: int, index: int) -> str:
    """Predictions of a neuron's best token alone and with its other spellings."""
    return f"/{ref}/{neuron_name(layer, index)}/family"


def reduced_tokens(ref: AtlasRef, layer: int, index: int) -> str:
    """A neuron's best tokens with hubs discounted."""
    return f"/{ref}/{neuron_name(layer, index)}/reduced"


def random_neuron(ref: AtlasRef) -> str:
    """Leads to some neuron, another each time."""
    return f"/{ref}/random"


def compare(ref: AtlasRef, names: Iterable[str] = (), token: int | None = None) -> str:
    """Neurons side by side, by name; `token` puts its curves first."""
    return _with(f"/{ref}/compare", {"n": list(names), "token": token})


def bridge() -> str:
    """The atlases that are served, and what they share."""
    return "/bridge"


def bridge_token(text: str | None = None) -> str:
    """The same token, by its text, in every atlas that is served."""
    return _with("/bridge/token", {"text": text})


def bridge_compare(names: Iterable[str] = (), text: str | None = None) -> str:
    """Neurons of several atlases side by side, each as `slug:L31N892`; `text` is the token whose curves are drawn."""
    return _with("/bridge/compare", {"n": list(names), "text": text})


def token(ref: AtlasRef, token_id: int) -> str:
    """A token by its id."""
    return f"/{ref}/token/{token_id}"


def token_neurons(ref: AtlasRef, token_id: int) -> str:
    """A token's congruence with every neuron."""
    return f"/{ref}/token/{token_id}/neurons"


def reduced_neurons(ref: AtlasRef, token_id: int) -> str:
    """A token's best neurons with hubs discounted."""
    return f"/{ref}/token/{token_id}/reduced"


def find_token(ref: AtlasRef, text: str | None = None) -> str:
    """A token by its text."""
    return _with(f"/{ref}/token", {"text": text})


def pairs(ref: AtlasRef, **state: str | float | None) -> str:
    """The ranking of exclusive pairs; `state` is a Ranking's parameters (see web/views/ranking.py)."""
    return _with(f"/{ref}/pairs", state)


def exclusive(ref: AtlasRef, **state: str | float | None) -> str:
    """Tokens by how far their best neuron leads the second; `state` as for `pairs`."""
    return _with(f"/{ref}/exclusive", state)


def prediction(ref: AtlasRef, **state: str | None) -> str:
    """Whether congruence predicts, over all pairs; `state` is a MetricChoice's words where they are not the usual."""
    return _with(f"/{ref}/prediction", state)


def correlations(ref: AtlasRef, **state: str | None) -> str:
    """Rank correlations of the same choice."""
    return _with(f"/{ref}/prediction/correlations", state)


def predictive(ref: AtlasRef, **state: str | float | None) -> str:
    """Pairs ranked by how well activation predicts; `state` is what is selected and how it is sorted."""
    return _with(f"/{ref}/predictive", state)


def studies(ref: AtlasRef) -> str:
    """The recorded experiments."""
    return f"/{ref}/studies"


def study(ref: AtlasRef, name: str) -> str:
    """A recorded experiment by its name."""
    return f"/{ref}/study/{quote(name, safe='')}"


def live_neuron(ref: AtlasRef, layer: int, index: int, text: str | None = None) -> str:
    """A neuron's activation on a text that a visitor types."""
    return _with(f"/{ref}/{neuron_name(layer, index)}/live", {"text": text})


def live(ref: AtlasRef, text: str | None = None, token: str | None = None, against: str | None = None) -> str:
    """The neurons behind the next token after a typed text: the one that is predicted, or a given one, or its lead
    over another."""
    return _with(f"/{ref}/live", {"text": text, "token": token, "against": against})


def live_study(ref: AtlasRef, **given: str) -> str:
    """The form that runs a study, filled in with what is given; it is sent there too."""
    return _with(f"/{ref}/live/study", given)


def live_progress(ref: AtlasRef, name: str) -> str:
    """How a study that a visitor runs is getting on."""
    return f"/{ref}/live/study/{quote(name, safe='')}"


def live_result(ref: AtlasRef, name: str) -> str:
    """What it found."""
    return f"{live_progress(ref, name)}/result"


# A study may be called 'live', and is recorded.
_LIVE = re.compile(r"/[a-z0-9@-]+/(?:(?!study/)[^/]+/)?live(?:[./]|$)")


def is_live(path: str) -> bool:
    """Whether a model is asked for what is at a path."""
    return _LIVE.match(path) is not None


def hubs(ref: AtlasRef, k: int | None = None) -> str:
    """Neurons and tokens that are best for many; `k` is how long the lists are that are counted."""
    return _with(f"/{ref}/hubs", {"k": k})


def reduced_hubs(ref: AtlasRef) -> str:
    """What taking hubs off does to them."""
    return f"/{ref}/hubs/reduced"


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


def tables(ref: AtlasRef) -> str:
    """What is in the file: tables, views, columns."""
    return f"/{ref}/tables"


def table(ref: AtlasRef, name: str, form: str) -> str:
    """A whole table as a file: 'parquet' or 'csv'."""
    return f"/{ref}/tables/{quote(name)}.{form}"


def atlas_file(ref: AtlasRef) -> str:
    """The atlas's file."""
    return f"/{ref}/atlas.duckdb"


def sitemap(slug: str | None = None, part: int = 0) -> str:
    """The site map, or a part of it."""
    return "/sitemap.xml" if slug is None else f"/sitemap/{slug}-{part}.xml"


def sql(
    ref: AtlasRef, statement: str | None = None, parameters: Mapping[str, str] | None = None, **state: str | None
) -> str:
    """The SQL console, with a statement, values of its parameters, and how its answer is drawn."""
    return _with(f"/{ref}/sql", {"sql": statement, **_named(parameters), **state})


def save_query(ref: AtlasRef) -> str:
    """Where a form is sent that saves a query."""
    return f"/{ref}/q"


def saved_query(ref: AtlasRef, name: str) -> str:
    """A saved query by its name: its short link."""
    return f"/{ref}/q/{name}"


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


_EMBEDDED = re.compile(r"/[a-z0-9@-]+/(?:L[0-9]+N[0-9]+|token/[0-9]+)(?:\?|$)")


def has_embed(url: str) -> bool:
    """Whether the page at a URL is of a neuron or of a token, which other sites may show in a frame."""
    return _EMBEDDED.match(url) is not None


def embed(url: str, panel: str | None = None, theme: str | None = None) -> str:
    """A neuron's or a token's page for a frame of another site, or one panel of it, 'light' or 'dark'."""
    path, mark, query = url.partition("?")
    url = f"/embed{path}{'' if panel is None else f'/{panel}'}{mark}{query}"
    return url if theme is None else f"{url}{'&' if mark else '?'}theme={theme}"


def oembed(address: str, kind: str = "json") -> str:
    """How the page at a full address is embedded, for programs."""
    return _with(OEMBED, {"url": address, "format": kind})


def may_be_framed(path: str) -> bool:
    """Whether pages of other sites may show this one in a frame: embeds, and nothing else."""
    return path.startswith("/embed/")


def pinned(ref: AtlasRef, url: str, build_id: str) -> str:
    """A page's URL, pinned to a build (or, already pinned, to that one instead)."""
    return f"/{ref.slug}@{build_id}" + url[len(f"/{ref}") :]


def after(url: str, build_id: str) -> str:
    """The URL to which a link to an earlier build of a run leads: a page says there which build was asked for."""
    return f"{url}{'&' if '?' in url else '?'}{EARLIER}={build_id}"


def is_build(text: str) -> bool:
    """Whether a text is of the form of a build_id."""
    return re.fullmatch(r"[0-9a-f]{12}", text) is not None


def current(ref: AtlasRef, url: str) -> str:
    """A pinned page's URL without its pin."""
    return url.replace(f"/{ref}", f"/{ref.slug}", 1)


@cache
def static(name: str) -> str:
    """A static file; the URL changes with its content, so that it may be kept for ever."""
    return _with(f"/static/{name}", {"v": blake2b((STATIC / name).read_bytes(), digest_size=4).hexdigest()})


def vega(version: str) -> str:
    """The Vega bundle of a version of vl-convert."""
    return f"/static/vega-{version}.js"
