"""`/search?q=`: a neuron by any spelling of its name, tokens by their text, neurons by the texts that fire them."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import current_app, redirect, request
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.display import read_shown
from atlas.core.units import NeuronRef
from atlas.topics.search import TextMatches, TokenMatches, matching_tokens, named_neuron, search_panels, text_matches
from atlas.topics.text_index import MIN_LETTERS
from web.site import urls
from web.site.errors import BadRequestError
from web.site.page import Page, doc, page, wants_json
from web.site.urls import AtlasRef, Blueprint

blueprint = Blueprint("search", __name__)

MAX_QUERY = 200
MAX_NEURONS = 30


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one atlas has of the query; `texts` is null for a query too short to be looked for in texts, `panels` the
    SQL behind the rest."""

    ref: AtlasRef
    neuron: NeuronRef | None
    tokens: TokenMatches
    texts: TextMatches | None
    panels: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class SearchPage(Page, template="search.html"):
    """What a search found, by atlas."""

    query: str = field(metadata=doc("What was searched for, leading space and all."))
    only: str | None = field(metadata=doc("Slug of the atlas searched; null: all of them."))
    min_letters: int = field(metadata=doc("Shortest query that is looked for in texts, in characters.", json=False))
    found: tuple[Found, ...] = field(
        metadata=doc(
            "By atlas: the neuron of that name; tokens of exactly that text, with the same letters, beginning with "
            "them, containing it (at most 50 each); the neurons whose stored texts fire them there (at most 30)."
        )
    )


def asked() -> tuple[str, str | None, list[Atlas]]:
    """What is searched for, the slug searched if it is one, and the atlases searched.

    Raises:
        BadRequestError: the query is too long, or no such atlas is served.
    """
    query = request.args.get("q", "")
    if len(query) > MAX_QUERY:
        raise BadRequestError(f"The search has {len(query)} characters; expected at most {MAX_QUERY}.")
    only = request.args.get("atlas") or None
    served: dict[str, Atlas] = current_app.extensions["atlases"]
    if only is not None and only not in served:
        raise BadRequestError(f"atlas={only!r} is not served here; expected one of {', '.join(served)}.")
    return query, only, [served[only]] if only else list(served.values())


@page(blueprint, "/search")
def search() -> SearchPage | Response:
    """Search; a query that means one thing only leads there."""
    query, only, atlases = asked()
    named = [(atlas, named_neuron(atlas, query), matching_tokens(atlas, query)) for atlas in atlases if query]
    targets = [
        target
        for atlas, neuron, tokens in named
        for target in (
            *([urls.to("neuron", AtlasRef(atlas.info.slug), neuron.name)] if neuron else []),
            *(urls.to("token", AtlasRef(atlas.info.slug), token.token_id) for token in tokens.exact),
        )
    ]
    if len(targets) == 1:
        return redirect(urls.json(targets[0]) if wants_json() else targets[0])
    phrase = read_shown(query)
    return SearchPage(
        title="Search",
        url=urls.to("search", atlas=only, q=query),
        query=query,
        only=only,
        min_letters=MIN_LETTERS,
        found=tuple(
            Found(
                ref=AtlasRef(atlas.info.slug),
                neuron=neuron,
                tokens=tokens,
                texts=text_matches(atlas, phrase, MAX_NEURONS),
                panels=search_panels(atlas, query, MAX_NEURONS),
            )
            for atlas, neuron, tokens in named
        ),
    )
