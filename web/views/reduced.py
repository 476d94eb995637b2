"""Rankings by reduced congruence, hubs discounted: of a neuron's tokens, of a token's neurons, and what hubs become."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g, redirect
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.units import NeuronRef, Token
from atlas.topics.reduced import LIST_LENGTH, REDUCED_HUBS, REDUCED_NEURONS, REDUCED_TOKENS, ReducedHubs, ReducedPair
from atlas.topics.reduced import reduced_hubs as read_reduced_hubs
from atlas.topics.reduced import reduced_neurons as read_reduced_neurons
from atlas.topics.reduced import reduced_tokens as read_reduced_tokens
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page
from web.site.urls import Blueprint
from web.views.spread import named_neuron

blueprint = Blueprint("reduced", __name__)

SHOWN = 12
"""Rows shown of a list beside which another part of a page stands."""

HUBS = 20
"""Hubs shown of each ranking."""


@dataclass(frozen=True, kw_only=True)
class ReducedTokensPage(AtlasPage, template="reduced_tokens.html"):
    """A neuron's best tokens by reduced congruence."""

    neuron: NeuronRef = field(metadata=doc("The neuron."))
    ranked: tuple[ReducedPair, ...] = field(metadata=doc("Its stored best tokens by reduced congruence."))
    k: int = field(metadata=doc("Best tokens and neurons whose mean is taken off."))
    n_shown: int = field(metadata=doc("Rows that stand outside the fold.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@dataclass(frozen=True, kw_only=True)
class ReducedNeuronsPage(AtlasPage, template="reduced_neurons.html"):
    """A token's best neurons by reduced congruence."""

    token: Token = field(metadata=doc("The token."))
    ranked: tuple[ReducedPair, ...] = field(metadata=doc("Its stored best neurons by reduced congruence."))
    k: int = field(metadata=doc("Best tokens and neurons whose mean is taken off."))
    n_shown: int = field(metadata=doc("Rows that stand outside the fold.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@dataclass(frozen=True, kw_only=True)
class ReducedHubsPage(AtlasPage, template="reduced_hubs.html"):
    """What ranking neurons by reduced congruence does to hubs."""

    hubs: ReducedHubs = field(metadata=doc("The greatest hubs and how k-occurrence is distributed, with and without."))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>/<name>/reduced")
def reduced_tokens(atlas: Atlas, name: str) -> ReducedTokensPage | Response:
    """A neuron's best tokens by reduced congruence."""
    neuron = named_neuron(atlas, name)
    url = urls.to("reduced_tokens", g.ref, neuron.name)
    if name != neuron.name:
        return redirect(like_request(url), 301)
    return ReducedTokensPage(
        title=f"{neuron.name}, hub-corrected",
        url=url,
        **atlas_fields(atlas),
        neuron=neuron,
        ranked=tuple(read_reduced_tokens(atlas, neuron.neuron_id, atlas.info.top_tokens)),
        k=LIST_LENGTH,
        n_shown=SHOWN,
        panels={"ranked": REDUCED_TOKENS.shown(neuron_id=neuron.neuron_id)},
    )


@page(blueprint, "/<atlas:ref>/token/<int:token_id>/reduced")
def reduced_neurons(atlas: Atlas, token_id: int) -> ReducedNeuronsPage:
    """A token's best neurons by reduced congruence."""
    token = atlas.tokens[token_id]
    return ReducedNeuronsPage(
        title=f"Token {token.shown}, hub-corrected",
        url=urls.to("reduced_neurons", g.ref, token_id),
        **atlas_fields(atlas),
        token=token,
        ranked=tuple(read_reduced_neurons(atlas, token_id, atlas.info.top_neurons)),
        k=LIST_LENGTH,
        n_shown=SHOWN,
        panels={"ranked": REDUCED_NEURONS.shown(token_id=token_id)},
    )


@page(blueprint, "/<atlas:ref>/hubs/reduced")
def reduced_hubs(atlas: Atlas) -> ReducedHubsPage:
    """What reduced congruence does to hubs; takes a second the first time, since it ranks every token's list."""
    return ReducedHubsPage(
        title="Hubs taken off",
        url=urls.to("reduced_hubs", g.ref),
        **atlas_fields(atlas),
        hubs=read_reduced_hubs(atlas, HUBS),
        panels={name: sql.shown(k=LIST_LENGTH, limit=HUBS) for name, sql in REDUCED_HUBS.items()},
    )
