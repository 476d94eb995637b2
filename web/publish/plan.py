"""What a published copy holds: the pages that are files, and those that are packed into archives."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from html import unescape
from pathlib import Path

from flask import Flask

from atlas import Atlas
from atlas.core.names import neuron_name
from web.saved.store import SavedQueries
from web.site import urls
from web.site.caching import program_digest
from web.site.published import Published
from web.site.urls import AtlasRef
from web.views.crawlers import fixed

_CHUNK = 64
"""Neurons or tokens of a job."""
_UNCHOSEN = re.compile(r"/[^/]+/(?:neurons|tables|glossary|L[0-9]+)$")
"""Fixed pages whose neurons and tokens are not chosen for anything."""
LAZY = re.compile(r'class="lazy" data-src="([^"]+)"')


@dataclass(frozen=True)
class Job:
    """Pages that one process makes, and keeps in one file until all are made."""

    name: str
    kind: str
    """'file' (HTML of its own, data and card, and packed), 'list' (the same, and the pages that follow it), 'packed',
    'report' (a file, and packed), or 'site' (of no atlas: a file only)."""
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A copy to write."""

    files: tuple[Path, ...]
    base_url: str | None
    published: Published
    builds: dict[str, str]
    """Build of each atlas, by slug."""
    jobs: tuple[Job, ...]
    saved: Path | None
    """The file of saved queries and lists; None: none are published."""
    digest: str
    """12 hex: of the files' builds, the program, and the options. The same for the same pages."""

    def of_slug(self, slug: str) -> Path:
        """The file of an atlas."""
        return self.files[list(self.builds).index(slug)]

    def folder(self, slug: str) -> str:
        """Name of the folder that holds an atlas's archives: never the same for other pages."""
        return f"{self.builds[slug]}-{self.digest}"

    def tokens(self, slug: str) -> frozenset[int]:
        """The tokens of an atlas that have a page."""
        token = re.compile(rf"/{slug}/token/([0-9]+)")
        return frozenset(int(match[1]) for url in self.published.addresses if (match := token.fullmatch(url)))


@dataclass(frozen=True)
class Chosen:
    """Pages of neurons and tokens: those that are files with cards, and those that are packed only."""

    plain: list[str]
    packed: list[str]


Choose = Callable[[Atlas, dict[str, str]], Chosen]
"""Chooses the neurons and tokens of a copy; it is given the HTML of the atlas's fixed pages, by address."""


def every(atlas: Atlas, pages: dict[str, str]) -> Chosen:
    """Every neuron and token; those that the overview names are files."""
    ref, plain = AtlasRef(atlas.info.slug), _of_overview(atlas, pages)
    neurons = (neuron_name(*divmod(neuron_id, atlas.info.d_mlp)) for neuron_id in range(atlas.info.n_neurons))
    packed = [urls.to("neuron", ref, name) for name in neurons]
    packed += [urls.to("token", ref, token_id) for token_id in range(atlas.info.d_vocab)]
    return Chosen(plain, packed)


def notable(atlas: Atlas, pages: dict[str, str]) -> Chosen:
    """The neurons and tokens that the overview and the rankings name; those of the overview are files."""
    texts = [text for url, text in pages.items() if not _UNCHOSEN.match(url)]
    return Chosen(_of_overview(atlas, pages), named(atlas, texts))


def _of_overview(atlas: Atlas, pages: dict[str, str]) -> list[str]:
    return named(atlas, [pages[urls.to("overview", AtlasRef(atlas.info.slug))]])


def named(atlas: Atlas, texts: list[str]) -> list[str]:
    """The neurons and tokens that pages lead to."""
    link = re.compile(rf'href="(/{atlas.info.slug}/(?:L[0-9]+N[0-9]+|token/[0-9]+))[?"]')
    return sorted({url for text in texts for url in link.findall(text)})


def make_plan(
    app: Flask,
    files: tuple[Path, ...],
    base_url: str | None,
    choose: Choose = every,
    *,
    paged: bool = True,
    data: bool = False,
    file: bool = True,
    engine: str | None = None,
    saved: Path | None = None,
    report: bool = False,
    beside: object = None,
) -> Plan:
    """The plan of a copy; `app` is the site, `paged` whether lists are followed, `data` whether pages have their data,
    `file` whether the atlas files are in it, `engine` the folder of what runs SQL on them, `saved` the file of saved
    queries and lists, `report` whether each atlas has its report; `beside`: what else the copy depends on."""
    atlases: dict[str, Atlas] = app.extensions["atlases"]
    builds = {slug: atlas.info.build_id for slug, atlas in atlases.items()}
    site = [urls.to("home"), urls.to("glossary"), urls.to("search"), *([urls.to("bridge")] if len(atlases) > 1 else [])]
    jobs = [Job("site", "site", tuple(site))]
    for atlas in atlases.values():
        jobs += _jobs(app, atlas, choose)
        jobs += _chunks(f"{atlas.info.slug}-saved", "file", _saved(atlas.info.slug, saved), 8)
        if report:
            jobs.append(Job(f"{atlas.info.slug}-report", "report", (urls.report(AtlasRef(atlas.info.slug)),)))
    pages = [address for job in jobs for address in job.addresses]
    drawn = [urls.to("random_neuron", AtlasRef(slug)) for slug in atlases]  # by the worker
    drawn += [urls.to("atlas_file", AtlasRef(slug)) for slug in atlases if file]
    key = repr((builds, program_digest(), base_url, paged, data, file, engine, beside, [str(job) for job in jobs]))
    digest = blake2b(key.encode(), digest_size=6).hexdigest()
    published = Published(frozenset(pages + drawn), base_url, paged, data, file, engine)
    return Plan(files, base_url, published, builds, tuple(jobs), saved, digest)


def _saved(slug: str, saved: Path | None) -> list[str]:
    """The short links of an atlas."""
    if saved is None:
        return []
    queries, lists = SavedQueries(saved).names_of(slug)
    views = ("saved_query", queries), ("saved_collection", lists)
    return [urls.to(view, AtlasRef(slug), name) for view, names in views for name in names]


def _jobs(app: Flask, atlas: Atlas, choose: Choose) -> list[Job]:
    slug, ref, client = atlas.info.slug, AtlasRef(atlas.info.slug), app.test_client()
    layer = re.compile(rf"/{slug}/L[0-9]+$")
    texts = {url: client.get(url) for url in fixed(ref, atlas) if not layer.match(url)}
    pages = {url: answer.get_data(as_text=True) for url, answer in texts.items() if answer.status_code == 200}
    lists = [*pages, urls.sql(ref), *(url for url in fixed(ref, atlas) if layer.match(url))]
    sources = dict.fromkeys(unescape(src) for text in pages.values() for src in LAZY.findall(text))
    folded = [url for url in sources if client.get(url).status_code == 200]
    chosen = choose(atlas, pages)
    plain = set(chosen.plain)
    packed = [url for url in chosen.packed if url not in plain]
    return [
        *(Job(f"{slug}-list-{number}", "list", (url,)) for number, url in enumerate(lists)),
        *_chunks(f"{slug}-best", "file", chosen.plain, 8),
        *_chunks(f"{slug}-folded", "packed", folded, 1),
        *_chunks(f"{slug}-pages", "packed", packed, _CHUNK),
    ]


def _chunks(name: str, kind: str, pages: list[str], size: int) -> list[Job]:
    starts = range(0, len(pages), size)
    return [Job(f"{name}-{start // size}", kind, tuple(pages[start : start + size])) for start in starts]
