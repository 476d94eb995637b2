"""`/`: the atlases that are served. `/healthz`: whether they can be read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from flask import Response, current_app

from atlas import Atlas
from atlas.core.info import AtlasInfo
from atlas.core.jsonable import dumps
from atlas.core.units import neuron_ref
from atlas.topics.overview import highlights
from atlas.topics.story import Story, story
from web.server.watched import Run, Watched
from web.site import urls
from web.site.page import Page, doc, page
from web.site.published import published
from web.site.urls import AtlasRef, Blueprint

blueprint = Blueprint("home", __name__)


@dataclass(frozen=True, kw_only=True)
class AtlasEntry:
    """An atlas in the list."""

    ref: AtlasRef
    info: AtlasInfo


@dataclass(frozen=True)
class SearchExample:
    """A search to try: what to type, and what it leads to."""

    query: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class HomePage(Page, template="home.html"):
    """The list of atlases, with a search box over all of them, and the best story of the first."""

    story: Story | None = field(metadata=doc("The story of the first atlas; null: it has none.", json=False))
    examples: tuple[SearchExample, ...] = field(metadata=doc("Searches to try, of the first atlas.", json=False))
    atlases: tuple[AtlasEntry, ...] = field(
        metadata=doc("Every atlas that is served, in the order of the command line.")
    )
    runs: tuple[Run, ...] = field(metadata=doc("The runs that write files of this site, and the files it waits for."))
    follows: bool = field(
        metadata=doc("Whether the page follows runs: one goes on, or an atlas is not complete.", json=False)
    )
    builds: dict[str, str] = field(metadata=doc("Build of each atlas, by slug.", json=False))


@page(blueprint, "/")
def home() -> HomePage:
    """The list of atlases."""
    served: list[Atlas] = list(current_app.extensions["atlases"].values())
    entries = tuple(AtlasEntry(ref=AtlasRef(atlas.info.slug), info=atlas.info) for atlas in served)
    going, unfinished = _runs(), any(entry.info.n_texts_planned is not None for entry in entries)
    return HomePage(
        title="Neuron Atlas",
        url=urls.to("home"),
        story=story(served[0]) if served else None,
        examples=_examples(served[0]) if served else (),
        atlases=entries,
        runs=going,
        follows=bool(going) or unfinished,
        builds=_builds(),
    )


def _examples(atlas: Atlas) -> tuple[SearchExample, ...]:
    """A token and the neuron that predicts it, the neuron with the best verdict, words of a text."""
    told, best = story(atlas), highlights(atlas).best
    if told is None:
        name = neuron_ref(atlas, 0).name
        return (SearchExample(name, "a neuron"),)
    token = SearchExample(f'"{told.token.text}"', f"the token {told.token.shown} and its neurons")
    named, texts = best[0] if best else told, published() is None  # a copy does not search texts
    return (
        token,
        SearchExample(named.neuron.name, f"the neuron that {named.verdict.headline}"),
        *([SearchExample(told.phrase, "texts and the neurons that fire there")] if told.phrase and texts else []),
    )


@blueprint.get("/healthz/runs")
def runs() -> Response:
    """`{"runs": […], "builds": {slug: build_id}}`: what the home page's script shows, and when it loads it again."""
    state = {"runs": _runs(), "builds": _builds()}
    return Response(dumps(state), mimetype="application/json", headers={"Cache-Control": "no-store"})


def _runs() -> tuple[Run, ...]:
    watched: Watched = current_app.extensions["watched"]
    return tuple(watched.runs(_files()["awaited"]))


def _builds() -> dict[str, str]:
    return {slug: atlas.info.build_id for slug, atlas in current_app.extensions["atlases"].items()}


def _files() -> dict[str, Any]:
    """What the master says of files that are not served."""
    status = current_app.extensions.get("status")
    return {"replaced": None, "awaited": {}} if status is None else json.loads(status.read_text())


@blueprint.get("/healthz")
def healthz() -> Response:
    """`{"status": "ok", "atlases": {slug: build_id}, "replaced": …, "awaited": {file: …}, "sql": …}`, after a query on
    each atlas; `replaced` says why a file that replaced another is not served, if one is not; `awaited` which files
    are, and why what is there is none, if anything is; `sql` whether visitors' SQL is on, and which
    layers confine it (see docs/operating.md)."""
    served = current_app.extensions["atlases"]
    builds = {slug: atlas.rows("SELECT build_id FROM atlas")[0][0] for slug, atlas in served.items()}
    health = {"status": "ok", "atlases": builds, **_files(), "sql": current_app.extensions["console"].status()}
    return Response(dumps(health), mimetype="application/json", headers={"Cache-Control": "no-store"})
