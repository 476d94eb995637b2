"""`/search?q=`: neurons and layers by name, tokens by text and the neurons that write them, stored texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from flask import current_app, redirect, request
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.units import NeuronRef, neuron_ref
from atlas.topics.search import LISTED, Matches, named_layer, named_neuron, search_panels, token_index
from atlas.topics.search import search as matches_of
from atlas.topics.story import story
from atlas.topics.text_index import MIN_LETTERS
from web.site import urls
from web.site.errors import BadRequestError
from web.site.nearest import Nearest, nearest_named
from web.site.page import Page, doc, page, wants_json
from web.site.urls import AtlasRef, Blueprint

blueprint = Blueprint("search", __name__)

MAX_QUERY = 200


@dataclass(frozen=True, kw_only=True)
class Found(Matches):
    """What one atlas has of the query; `nearest` is what is nearest to a name that it does not have, `shorter` the
    longest beginning of the query that is a token's text, where no text has the query; `panels` the SQL behind the
    rest."""

    ref: AtlasRef
    dataset: str
    shorter: str | None
    nearest: tuple[Nearest, ...]
    panels: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class SearchPage(Page, template="search.html"):
    """Matches of a search, by atlas."""

    query: str = field(metadata=doc("What was searched for, leading space and all."))
    only: str | None = field(metadata=doc("Slug of the atlas searched; null: all of them.", json=True))
    example: NeuronRef | None = field(metadata=doc("A neuron to show how names are written.", json=False))
    min_letters: int = field(metadata=doc("Shortest query that is looked for in texts, in characters.", json=False))
    found: tuple[Found, ...] = field(
        metadata=doc(
            "By atlas: the neuron or layer of that name; tokens of exactly that text, with the same letters, beginning "
            f"with them, containing it (at most {LISTED} each); the neurons that write the tokens meant, and the "
            f"neurons whose stored texts fire them at the query (at most {LISTED}), each with its verdict; the texts."
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
    targets = [target for atlas in atlases for target in _targets(atlas, query)]
    if len(targets) == 1:
        return redirect(urls.json(targets[0]) if wants_json() else targets[0])
    return SearchPage(
        title=f"Search: {query}" if query else "Search",
        url=urls.to("search", atlas=only, q=query),
        query=query,
        only=only,
        example=_example(atlases[0]) if atlases else None,
        min_letters=MIN_LETTERS,
        found=tuple(_found(atlas, query) for atlas in atlases if query),
    )


def _example(atlas: Atlas) -> NeuronRef:
    told = story(atlas)
    return neuron_ref(atlas, told.neuron.neuron_id if told else atlas.info.n_neurons - 1)


def _targets(atlas: Atlas, query: str) -> Iterator[str]:
    """The pages of what a query names."""
    ref = AtlasRef(atlas.info.slug)
    neuron, layer = named_neuron(atlas, query), named_layer(atlas, query)
    if neuron is not None:
        yield urls.to("neuron", ref, neuron.name)
    if layer is not None:
        yield urls.to("layer", ref, layer)
    for token in token_index(atlas).exact(query):
        yield urls.to("token", ref, token.token_id)


def _found(atlas: Atlas, query: str) -> Found:
    ref, matches = AtlasRef(atlas.info.slug), matches_of(atlas, query, LISTED)
    named = matches.neuron is not None or matches.layer is not None
    return Found(
        **vars(matches),
        ref=ref,
        dataset=atlas.info.dataset,
        shorter=None if matches.texts is None or matches.texts.n_occurrences else _shorter(atlas, query.strip()),
        nearest=() if named else nearest_named(atlas.info, ref, query),
        panels=search_panels(atlas, query, matches),
    )


def _shorter(atlas: Atlas, query: str) -> str | None:
    """The longest beginning of a query, of MIN_LETTERS characters or more, that is a token's text, with or without a
    leading space; None: there is none."""
    for length in range(len(query) - 1, MIN_LETTERS - 1, -1):
        beginning = query[:length]
        if any(token_index(atlas).exact(f'"{space}{beginning}"') for space in (" ", "")):
            return beginning
    return None
