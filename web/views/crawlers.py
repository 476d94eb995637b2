"""Files for crawlers: `robots.txt`, a site map in parts, `llms.txt`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from xml.sax.saxutils import escape

from flask import Response, abort, current_app, request

from atlas import Atlas
from atlas.core.names import neuron_name
from atlas.topics.study.study import list_studies
from web.site import urls
from web.site.urls import AtlasRef, Blueprint

blueprint = Blueprint("crawlers", __name__)

PER_PART = 20_000
"""Addresses in a part of the site map; the protocol allows 50,000."""

_LISTED = (
    "overview",
    "neurons",
    "pairs",
    "exclusive",
    "hubs",
    "prediction",
    "predictive",
    "drivers",
    "atlas_glossary",
    "tables",
)
"""Views of an atlas in the site map, before its studies, layers, neurons and tokens."""


def _served() -> dict[str, Atlas]:
    return current_app.extensions["atlases"]


def _full(url: str) -> str:
    return request.host_url.rstrip("/") + url


def _count(atlas: Atlas) -> int:
    return len(fixed(AtlasRef(atlas.info.slug), atlas)) + atlas.info.n_neurons + atlas.info.d_vocab


def fixed(ref: AtlasRef, atlas: Atlas) -> list[str]:
    """Addresses of an atlas's pages that are of no neuron and no token."""
    pages = [urls.to(view, ref) for view in _LISTED]
    studies = [urls.to("study", ref, study.name) for study in list_studies(atlas)]
    pages += [urls.to("studies", ref), *studies] if studies else []
    return pages + [urls.to("layer", ref, number) for number in range(atlas.info.n_layers)]


def _addresses(atlas: Atlas, start: int, stop: int) -> Iterator[str]:
    """Canonical addresses of an atlas's pages: rankings, studies and layers, neurons, tokens."""
    ref, info = AtlasRef(atlas.info.slug), atlas.info
    first = fixed(ref, atlas)
    for place in range(start, min(stop, _count(atlas))):
        if place < len(first):
            yield first[place]
        elif place - len(first) < info.n_neurons:
            layer, index = divmod(place - len(first), info.d_mlp)
            yield urls.to("neuron", ref, neuron_name(layer, index))
        else:
            yield urls.to("token", ref, place - len(first) - info.n_neurons)


@blueprint.get("/robots.txt")
def robots() -> Response:
    """Pages may be read by all; other forms of the same page, and what is drawn at random, need not be."""
    other = ("/*.json", "/*.csv", "/*.parquet", "/*.duckdb", "/*.chart.", "/*/random", "/*/sql", "/search", "/*@")
    return Response(robots_text(other, _full(urls.to("sitemap"))), mimetype="text/plain")


def robots_text(closed: Iterable[str], site_map: str) -> str:
    """A `robots.txt`: paths that crawlers need not read, and the address of the site map."""
    return "\n".join(["User-agent: *", *(f"Disallow: {path}" for path in closed), f"Sitemap: {site_map}", ""])


@blueprint.get("/sitemap.xml")
def sitemap() -> Response:
    """The parts of the site map."""
    parts = [
        f"<sitemap><loc>{escape(_full(urls.to('sitemap_part', slug, part)))}</loc></sitemap>"
        for slug, atlas in _served().items()
        for part in range(-(-_count(atlas) // PER_PART))
    ]
    return _answer(_xml("sitemapindex", "".join(parts)))


@blueprint.get("/sitemap/<slug>-<int:part>.xml")
def sitemap_part(slug: str, part: int) -> Response:
    """One part: the canonical addresses of some of an atlas's pages."""
    atlas = _served().get(slug)
    if atlas is None or part * PER_PART >= _count(atlas):
        abort(404)
    addresses = _addresses(atlas, part * PER_PART, (part + 1) * PER_PART)
    day = atlas.info.built_at.date()
    return _answer(site_map_text((_full(url), day) for url in addresses))


def site_map_text(pages: Iterable[tuple[str, date]]) -> str:
    """A site map of pages: their full addresses, and the days of their data."""
    entries = (f"<url><loc>{escape(url)}</loc><lastmod>{day.isoformat()}</lastmod></url>" for url, day in pages)
    return _xml("urlset", "".join(entries))


def _xml(root: str, inner: str) -> str:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    return f"{text}{inner}</{root}>\n"


def _answer(xml: str) -> Response:
    return Response(xml, mimetype="application/xml")


@blueprint.get("/llms.txt")
def llms() -> Response:
    """What is here and how to read it, in Markdown, for language models."""
    lines = [
        "# Neuron Atlas",
        "",
        "> Every MLP neuron of a language model: the tokens its output weights are congruent with, when it fires, "
        "whether its firing goes with those tokens being predicted, and the texts that fire it most.",
        "",
        "Every page's data is JSON at its address with `.json` behind the path. A neuron is named `L31N892` (layer, "
        "index, both from 0).",
        "",
        "## Atlases",
        "",
    ]
    for slug, atlas in _served().items():
        ref, info = AtlasRef(slug), atlas.info
        page, neuron, token, terms = (
            _full(url)
            for url in (
                urls.to("overview", ref),
                urls.json(urls.to("neuron", ref, neuron_name(0, 0))),
                urls.json(urls.to("token", ref, 0)),
                urls.json(urls.to("atlas_glossary", ref)),
            )
        )
        lines.append(
            f"- [{info.model_name}]({page}): {info.n_neurons:,} neurons in {info.n_layers} layers, "
            f"{info.n_positions:,} positions of {info.dataset}. A neuron: {neuron} (`{neuron_name(0, 0)}`). "
            f"A token: {token}. Terms: {terms}."
        )
    lines += ["", "## Interface", "", f"- [API]({_full(urls.to('api_page'))})", ""]
    return Response("\n".join(lines), mimetype="text/markdown")
