"""Every URL of the site is made here, and nowhere else.

`to` writes the URL of a view from its own rule, which `Blueprint` records; the other functions make one URL of another.
Neither needs a request or an app. (Flask's `url_for` does, and takes ten times as long: a page has hundreds of links.)

A page of an atlas is addressed by an AtlasRef: a slug, and for a pinned page the build it is pinned to. Links on a
pinned page stay pinned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import flask

import web

API = "/api/v1"
"""Where the API is."""

EARLIER = "earlier"
"""The parameter that `after` adds; see web/site/earlier.py."""

STATIC = Path(web.__file__).resolve().parent / "static"

_RULES: dict[str, str] = {}
"""By name of the view: its rule, with %s for each part."""


@dataclass(frozen=True)
class AtlasRef:
    """Which atlas a URL names: its slug, and the build_id if the URL is pinned to one."""

    slug: str
    build_id: str | None = None

    def __str__(self) -> str:
        return self.slug if self.build_id is None else f"{self.slug}@{self.build_id}"


class Blueprint(flask.Blueprint):
    """The views of a module; `to` writes their URLs."""

    def add_url_rule(  # type: ignore[override]
        self, rule: str, endpoint: str | None = None, view_func: Callable | None = None, **options: Any
    ) -> None:
        """Add a view, and record its rule; a layer is written L31 and given by its number."""
        _RULES[endpoint or view_func.__name__] = re.sub("<[^>]*>", "%s", rule.replace("<layer:", "L<"))
        super().add_url_rule(rule, endpoint, view_func, **options)


def to(view: str, /, *parts: AtlasRef | str | int, **query: Any) -> str:
    """The URL of a view by its function's name: `parts` fill the rule in order, `query` is what follows '?'.

    None and an empty list are left out of the query; a list is repeated.

    Raises:
        KeyError: there is no such view.
        TypeError: the rule has more parts, or fewer.
    """
    path = _RULES[view] % tuple(quote(part, safe="") if isinstance(part, str) else part for part in parts)
    return _with(path, query) if query else path


def _with(path: str, query: dict[str, Any]) -> str:
    pairs = [(name, value) for name, value in query.items() if value is not None and value != []]
    return f"{path}?{urlencode(pairs, quote_via=quote, doseq=True)}" if pairs else path


# A study may be called 'live', and is recorded.
_LIVE = re.compile(r"/[a-z0-9@-]+/(?:(?!study/)[^/]+/)?live(?:[./]|$)")


def is_live(path: str) -> bool:
    """Whether a model is asked for what is at a path."""
    return _LIVE.match(path) is not None


def openapi() -> str:
    """What the API answers, for programs."""
    return f"{API}/openapi.json"


def api(path: str, ref: AtlasRef | None, parts: Mapping[str, str], **query: str) -> str:
    """A call of the API: its path as a template (see `atlas.api`), what stands in it, its other parameters."""
    parts = {"atlas": str(ref), **parts}
    filled = re.sub(r"\{(\w+)\}", lambda name: quote(parts[name[1]], safe="@"), path)
    return _with(f"{API}/{filled}", query)


def _ended(url: str, ending: str) -> str:
    """A URL with an ending of its path."""
    path, mark, query = url.partition("?")
    return f"{path}{ending}{mark}{query}"


def json(url: str) -> str:
    """The data of the page at a URL."""
    return _ended(url, ".json")


def report(ref: AtlasRef) -> str:
    """The report on an atlas, which published copies may have."""
    return f"/{ref}/report"


def chart(url: str, name: str, kind: str) -> str:
    """A chart of the page at a URL as a file: 'svg', 'png', 'csv', or 'json' for its Vega-Lite specification."""
    url = _ended(url, f".chart.{kind}")
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'chart': name}, quote_via=quote)}"


def csv(url: str) -> str:
    """The whole list of the page at a URL, as CSV."""
    return _ended(url, ".csv")


def sql(
    ref: AtlasRef, statement: str | None = None, parameters: Mapping[str, str] | None = None, **state: str | None
) -> str:
    """The SQL console, with a statement, values of its parameters, and how its answer is drawn."""
    named = {f"p.{name}": value for name, value in (parameters or {}).items()}
    return to("console", ref, sql=statement, **named, **state)


def answer(ref: AtlasRef, statement: str, parameters: Mapping[str, str | None], kind: str) -> str:
    """A statement's answer as a file: 'csv', 'json' or 'parquet'."""
    return _ended(sql(ref, statement, parameters), f".{kind}")


def named(ref: AtlasRef, name: str) -> str:
    """A neuron by its name as an answer spells it; the page leads to the canonical spelling."""
    return f"/{ref}/{quote(name)}"


def card(url: str) -> str:
    """The picture of the page at a URL."""
    return _ended(url, ".card.png")


_EMBEDDED = re.compile(r"/[a-z0-9@-]+/(?:L[0-9]+N[0-9]+|token/[0-9]+|list(?:/[a-z0-9]+)?)(?:\?|$)")


def has_embed(url: str) -> bool:
    """Whether the page at a URL is of a neuron, a token or a list, which other sites may show in a frame."""
    return _EMBEDDED.match(url) is not None


def embed(url: str, panel: str | None = None, theme: str | None = None) -> str:
    """A neuron's, a token's or a list's page for a frame of another site, or one panel of it, 'light' or 'dark'."""
    path, mark, query = url.partition("?")
    url = f"/embed{path}{'' if panel is None else f'/{panel}'}{mark}{query}"
    return url if theme is None else f"{url}{'&' if mark else '?'}theme={theme}"


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
def script(name: str) -> str:
    """A script among the static files, as its text, for a page that has it inline."""
    return (STATIC / name).read_text(encoding="utf-8")


@cache
def static(name: str) -> str:
    """A static file; the URL changes with its content, so browsers may keep it without asking."""
    return to("static_file", name, v=blake2b((STATIC / name).read_bytes(), digest_size=4).hexdigest())
