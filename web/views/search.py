"""`/search?q=`: a neuron by any spelling of its name, or tokens by their text."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Blueprint, current_app, redirect, request
from werkzeug.wrappers import Response

from atlas import Atlas, queries
from atlas.display import read_shown
from atlas.errors import NeuronNameError
from atlas.names import parse_neuron
from atlas.records import NeuronRef, Token
from web import urls
from web.errors import BadRequestError
from web.page import Page, doc, page, wants_json
from web.urls import AtlasRef

blueprint = Blueprint("search", __name__)

MAX_QUERY = 200


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one atlas has of the query."""

    ref: AtlasRef
    neuron: NeuronRef | None
    exact: tuple[Token, ...]
    containing: tuple[Token, ...]


@dataclass(frozen=True, kw_only=True)
class SearchPage(Page):
    """What a search found, by atlas."""

    query: str = field(metadata=doc("What was searched for, leading space and all."))
    only: str | None = field(metadata=doc("Slug of the atlas searched; null: all of them."))
    found: tuple[Found, ...] = field(
        metadata=doc(
            "By atlas: the neuron of that name; tokens of exactly that text, with or without a leading space; "
            "tokens that contain it (at most 50)."
        )
    )


@page(blueprint, "/search", "search.html")
def search() -> SearchPage | Response:
    """Search; a query that means one thing only leads there."""
    query = request.args.get("q", "")
    if len(query) > MAX_QUERY:
        raise BadRequestError(f"The search has {len(query)} characters; expected at most {MAX_QUERY}.")
    only = request.args.get("atlas") or None
    served: dict[str, Atlas] = current_app.extensions["atlases"]
    if only is not None and only not in served:
        raise BadRequestError(f"atlas={only!r} is not served here; expected one of {', '.join(served)}.")
    chosen = [served[only]] if only else list(served.values())
    found = tuple(_find(atlas, query) for atlas in chosen) if query else ()
    targets = [
        *(urls.neuron(item.ref, item.neuron.layer, item.neuron.index) for item in found if item.neuron),
        *(urls.token(item.ref, token.token_id) for item in found for token in item.exact),
    ]
    if len(targets) == 1:
        return redirect(urls.json(targets[0]) if wants_json() else targets[0])
    return SearchPage(title="Search", url=urls.search(query, only), query=query, only=only, found=found)


def _find(atlas: Atlas, query: str) -> Found:
    try:
        layer, index = parse_neuron(query, atlas.info.n_layers, atlas.info.d_mlp)
        neuron = queries.neuron_ref(atlas, layer * atlas.info.d_mlp + index)
    except NeuronNameError:
        neuron = None
    texts = dict.fromkeys([query, read_shown(query)])
    exact = {token.token_id: token for text in texts for token in queries.tokens_by_text(atlas, text)}
    if not query.startswith((" ", "␣")):
        # ' an' is what most people mean by 'an'; they see both.
        exact |= {token.token_id: token for token in queries.tokens_by_text(atlas, " " + read_shown(query))}
    containing = [token for token in queries.containing_tokens(atlas, read_shown(query)) if token.token_id not in exact]
    return Found(
        ref=AtlasRef(atlas.info.slug), neuron=neuron, exact=tuple(exact.values()), containing=tuple(containing)
    )
