"""Every URL of the site is made here, and nowhere else.

A page of an atlas is addressed by an AtlasRef: a slug, and for a pinned page the build it is pinned to. Links on a
pinned page stay pinned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from atlas.names import neuron_name

STATIC = Path(__file__).resolve().parent / "static"


@dataclass(frozen=True)
class AtlasRef:
    """Which atlas a URL names: its slug, and the build_id if the URL is pinned to one."""

    slug: str
    build_id: str | None = None

    def __str__(self) -> str:
        return self.slug if self.build_id is None else f"{self.slug}@{self.build_id}"


def _with(path: str, query: dict[str, Any]) -> str:
    pairs = [(name, value) for name, value in query.items() if value is not None]
    return f"{path}?{urlencode(pairs, quote_via=quote)}" if pairs else path


def home() -> str:
    """The list of atlases."""
    return "/"


def search(query: str | None = None, atlas: str | None = None) -> str:
    """Search for a neuron or a token, in all atlases or in one slug's."""
    return _with("/search", {"atlas": atlas, "q": query})


def overview(ref: AtlasRef) -> str:
    """The overview of an atlas."""
    return f"/{ref}"


def layer(
    ref: AtlasRef, number: int, sort: str | None = None, order: str | None = None, page: int | None = None
) -> str:
    """A layer, its neurons sorted by a column ('asc' or 'desc') and paged from 1."""
    return _with(f"/{ref}/L{number}", {"sort": sort, "order": order, "page": page})


def neuron(ref: AtlasRef, layer: int, index: int, token: int | None = None) -> str:
    """A neuron; `token` puts that candidate's curve first."""
    return _with(f"/{ref}/{neuron_name(layer, index)}", {"token": token})


def token(ref: AtlasRef, token_id: int) -> str:
    """A token by its id."""
    return f"/{ref}/token/{token_id}"


def find_token(ref: AtlasRef, text: str | None = None) -> str:
    """A token by its text."""
    return _with(f"/{ref}/token", {"text": text})


def pairs(ref: AtlasRef, direction: str | None = None, every: bool = False, page: int | None = None) -> str:
    """The ranking of exclusive pairs."""
    return _with(f"/{ref}/pairs", {"direction": direction, "all": 1 if every else None, "page": page})


def exclusive(ref: AtlasRef, every: bool = False, page: int | None = None) -> str:
    """Tokens by how far their best neuron leads the second."""
    return _with(f"/{ref}/exclusive", {"all": 1 if every else None, "page": page})


def json(url: str) -> str:
    """The data of the page at a URL."""
    path, mark, query = url.partition("?")
    return f"{path}.json{mark}{query}"


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
