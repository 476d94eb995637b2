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
_WORDS = {"exact": "", "same letters": ", same letters", "prefix": ", begins so"}


@dataclass(frozen=True)
class Suggestion:
    """One line below the box: 'neuron', 'exact', 'same letters' or 'prefix'; `detail` says which unit it is, `text` is
    the neuron's name or the token's text as SQL compares them."""

    kind: str
    label: str
    text: str
    url: str
    detail: str


@blueprint.get("/search/suggest.json")
def suggest() -> Response:
    """At most 10 suggestions: neurons, then tokens, the likeliest first; those of all atlases by kind."""
    query, _, atlases = asked()
    suggestions = [item for atlas in atlases for item in _suggestions(atlas, query)] if query else []
    suggestions.sort(key=lambda item: ["neuron", *_WORDS].index(item[0].kind))  # stable: atlases stay in order
    lines = [
        {**vars(item), "detail": f"{item.detail} · {slug}" if len(atlases) > 1 else item.detail}
        for item, slug in suggestions[:MAX_SUGGESTIONS]
    ]
    return Response(dumps({"query": query, "suggestions": lines}), mimetype="application/json")


def _suggestions(atlas: Atlas, query: str) -> Iterator[tuple[Suggestion, str]]:
    slug = atlas.info.slug
    ref = AtlasRef(slug)
    for item in suggestions(atlas, query, MAX_SUGGESTIONS):
        token, neuron = item.token, item.neuron
        if neuron is not None:
            url = urls.to("neuron", ref, neuron.name)
            yield Suggestion(item.kind, neuron.name, neuron.name, url, f"neuron for {token.shown}"), slug
        else:
            detail, url = f"token {token.token_id}{_WORDS[item.kind]}", urls.to("token", ref, token.token_id)
            yield Suggestion(item.kind, token.shown, token.text or "", url, detail), slug
