"""SQL in the browser, of a published copy: what the console's script fills in, and the site's rules and words as data.

The script has no HTML of its own: it copies that of an answer which has a cell of each kind.
"""

from __future__ import annotations

from typing import Any

from flask import current_app

from atlas import Atlas
from atlas.core.names import database_name
from atlas.core.sql_text import quoted
from atlas.topics.cut_list import CUT, Note
from web.charts.chart import Chart
from web.charts.result import chart_parts, result_chart
from web.site import urls
from web.site.published import ENGINE_WASM, ENGINE_WORKER, published
from web.site.urls import AtlasRef
from web.views.answering import LINKED, SHOWN, Problem, Result, console

_CELLS = {"neuron": "L0N0", "token_id": 0, "token": "a", "number": 1.5, "words": "a", "nothing": None}
"""A cell of each kind."""

ANSWER = Result(
    columns=tuple(_CELLS),
    types=("",) * len(_CELLS),
    rows=(tuple(_CELLS.values()),),
    n=1,
    notes=(Note("A note."),),
    numbers=(False,) * len(_CELLS),
    neurons=(),
    notes_of_list=None,
)
PROBLEM = Problem("sql_failed", "A message.", 400, ("before", "wrong", "after"))


def chart(atlas: Atlas) -> Chart:
    """A chart of an answer."""
    return result_chart("bar", ("x", "y"), [("a", 1)], "x", "y", f"SQL on {atlas.info.model_name}")


def rules(atlas: Atlas, ref: AtlasRef) -> dict[str, Any]:
    """What the script knows: files, limits, kinds of cells, lists that are cut, charts."""
    limits = console().options.limits
    copy = published()
    engine = urls.to("static_file", copy.engine) if copy and copy.engine else ""
    addresses = {
        "wasm": f"{engine}/{ENGINE_WASM}",
        "engine": f"{engine}/{ENGINE_WORKER}",
        "worker": urls.static("engine.js"),
        "state": urls.to("static_file", "published.json"),
        "archives": urls.to("static_file", "atlases"),
    }
    slugs = sorted(current_app.extensions["atlases"], key=lambda slug: slug != ref.slug)
    return {
        "atlases": [
            {
                "slug": slug,
                "name": quoted(database_name(slug)),
                "url": urls.to("atlas_file", ref if slug == ref.slug else AtlasRef(slug)),
            }
            for slug in slugs
        ],
        **{name: {"url": url} for name, url in addresses.items()},
        "rows": limits.rows,
        "shown": SHOWN,
        "cut": limits.cut_words("rows"),
        "kinds": tuple(_CELLS),
        "cells": {kind: value for kind, value in _CELLS.items() if kind in LINKED},
        "linked": LINKED,
        "lists": {name: words(atlas.info) for name, words in CUT.items()},
        "charts": chart_parts(),
    }
