"""`/search/suggest.json?q=`: suggestions for a search box while somebody types; texts are not searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Response

from atlas import Atlas
from atlas.core.jsonable import dumps
from atlas.topics.search import suggestions
from web.site import urls
from web.site.urls import AtlasRef, Blueprint
from web.views.search import asked

blueprint = Blueprint("suggest", __name__)

MAX_SUGGESTIONS = 10
_KINDS = ("layer", "neuron", "exact", "same letters", "prefix")


@dataclass(frozen=True)
class Suggestion:
    """One line below the box: 'layer', 'neuron', 'exact', 'same letters' or 'prefix'; `detail` is a neuron's verdict in
    a few words: of a token the verdict on the neuron that predicts it best. `text` is the neuron's name or the token's
    text as SQL compares them."""

    kind: str
    label: str
    text: str
    url: str
    detail: str


@blueprint.get("/search/suggest.json")
def suggest() -> Response:
    """At most 10 suggestions: layers, neurons, then tokens, the likeliest first; those of all atlases by kind."""
    query, _, atlases = asked()
    items = [item for atlas in atlases for item in _suggestions(atlas, query)] if query else []
    items.sort(key=lambda item: _KINDS.index(item[0].kind))  # stable: atlases stay in order
    lines = [
        {**vars(item), "detail": f"{item.detail} · {slug}" if len(atlases) > 1 else item.detail}
        for item, slug in items[:MAX_SUGGESTIONS]
    ]
    return Response(dumps({"query": query, "suggestions": lines}), mimetype="application/json")


def _suggestions(atlas: Atlas, query: str) -> Iterator[tuple[Suggestion, str]]:
    slug = atlas.info.slug
    ref = AtlasRef(slug)
    for item in suggestions(atlas, query, MAX_SUGGESTIONS):
        if item.layer is not None:
            url, name = urls.to("layer", ref, item.layer), f"L{item.layer}"
            yield Suggestion(item.kind, name, name, url, f"layer, {atlas.info.d_mlp:,} neurons"), slug
        elif item.token is None:
            name = item.neuron.name
            yield Suggestion(item.kind, name, name, urls.to("neuron", ref, name), item.headline), slug
        else:
            token, url = item.token, urls.to("token", ref, item.token.token_id)
            detail = f"{item.neuron.name}: {item.headline}"
            yield Suggestion(item.kind, token.shown, token.text or "", url, detail), slug
