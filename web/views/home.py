"""`/`: the atlases that are served. `/healthz`: whether they can be read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from flask import Blueprint, Response, current_app

from atlas.jsonable import dumps
from atlas.records import AtlasInfo
from web import urls
from web.page import Page, doc, page
from web.urls import AtlasRef

blueprint = Blueprint("home", __name__)


@dataclass(frozen=True, kw_only=True)
class AtlasEntry:
    """An atlas in the list."""

    ref: AtlasRef
    info: AtlasInfo


@dataclass(frozen=True, kw_only=True)
class HomePage(Page):
    """The list of atlases, with a search box over all of them."""

    atlases: tuple[AtlasEntry, ...] = field(
        metadata=doc("Every atlas that is served, in the order of the command line.")
    )


@page(blueprint, "/", "home.html")
def home() -> HomePage:
    """The list of atlases."""
    served = current_app.extensions["atlases"].values()
    entries = tuple(AtlasEntry(ref=AtlasRef(atlas.info.slug), info=atlas.info) for atlas in served)
    return HomePage(title="Neuron Atlas", url=urls.home(), atlases=entries)


@blueprint.get("/healthz")
def healthz() -> Response:
    """`{"status": "ok", "atlases": {slug: build_id}, "replaced": …, "sql": …}`, after a query on each atlas; `replaced`
    says why a file that replaced another is not served, if one is not; `sql` whether visitors' SQL is on, and which
    layers confine it (see docs/operating.md)."""
    served = current_app.extensions["atlases"]
    builds = {slug: atlas.rows("SELECT build_id FROM atlas")[0][0] for slug, atlas in served.items()}
    status, sql = current_app.extensions.get("status"), current_app.extensions["console"].status()
    replaced = None if status is None else json.loads(status.read_text())
    said = {"status": "ok", "atlases": builds, "replaced": replaced, "sql": sql}
    return Response(dumps(said), mimetype="application/json", headers={"Cache-Control": "no-store"})
