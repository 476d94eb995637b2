"""Pages that scan all weights; other pages load them when they come into view."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g, redirect
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.names import is_neuron_name
from atlas.core.units import NeuronRef, Token, named_ref
from atlas.topics.spread import (
    NEURON_SPREAD,
    SIMILAR,
    TOKEN_SPREAD,
    NeuronSpread,
    SimilarNeuron,
    TokenSpread,
    neuron_spread,
    similar_neurons,
    token_spread,
)
from web.charts.chart import Chart
from web.charts.spread import neuron_spread_chart, token_spread_chart
from web.sections.alike import ALIKE
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page, query_choice
from web.site.urls import Blueprint

blueprint = Blueprint("spread", __name__)

BARS = 80
"""Bars of a neuron's congruence with every token."""

EXTREMES = 20
"""Tokens listed at each end of it."""

OUTLIERS = 60
"""Neurons listed that are farthest from zero for a token."""


@dataclass(frozen=True, kw_only=True)
class NeuronTokensPage(AtlasPage, template="neuron_tokens.html"):
    """A neuron's congruence with every token."""

    neuron: NeuronRef = field(metadata=doc("The neuron."))
    spread: TokenSpread = field(metadata=doc("The distribution, its moments and its extremes."))
    chart: Chart = field(metadata=doc("The distribution drawn.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@dataclass(frozen=True, kw_only=True)
class SimilarPage(AtlasPage, template="similar.html"):
    """Neurons whose weights point the same way as a neuron's."""

    neuron: NeuronRef = field(metadata=doc("The neuron."))
    side: str = field(metadata=doc("Weights they are compared by: 'out', 'in', or 'gate' (gated MLPs)."))
    sides: tuple[str, ...] = field(metadata=doc("Weights they can be compared by."))
    similar: tuple[SimilarNeuron, ...] = field(metadata=doc("The neurons of greatest cosine, then of least."))
    n_each: int = field(metadata=doc("Neurons at each end.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@dataclass(frozen=True, kw_only=True)
class TokenNeuronsPage(AtlasPage, template="token_neurons.html"):
    """A token's congruence with every neuron of the model, by layer."""

    token: Token = field(metadata=doc("The token."))
    spread: NeuronSpread = field(metadata=doc("Quantiles by layer, and the neurons farthest from zero."))
    chart: Chart = field(metadata=doc("Both drawn.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>/<name>/tokens")
def neuron_tokens(atlas: Atlas, name: str) -> NeuronTokensPage | Response:
    """A neuron's congruence with every token."""
    neuron = named_neuron(atlas, name)
    url = urls.to("neuron_tokens", g.ref, neuron.name)
    if name != neuron.name:
        return redirect(like_request(url), 301)
    spread = token_spread(atlas, neuron.neuron_id, n_bars=BARS, limit=EXTREMES)
    title = f"Congruence of {neuron.name} with every token, {atlas.info.model_name}"
    return NeuronTokensPage(
        title=f"{neuron.name} and every token",
        url=url,
        **atlas_fields(atlas),
        neuron=neuron,
        spread=spread,
        chart=token_spread_chart(spread, title, lambda token: urls.to("token", g.ref, token.token_id)),
        panels={
            name: sql.shown(neuron_id=neuron.neuron_id, n_bars=BARS, limit=EXTREMES)
            for name, sql in TOKEN_SPREAD.items()
        },
    )


@page(blueprint, "/<atlas:ref>/<name>/similar")
def similar(atlas: Atlas, name: str) -> SimilarPage | Response:
    """Neurons whose weights point the same way as a neuron's."""
    neuron = named_neuron(atlas, name)
    sides = ("out", "in", "gate") if atlas.info.gated else ("out", "in")
    side = query_choice("side", sides, "out")
    url = urls.to("similar", g.ref, neuron.name, side=side)
    if name != neuron.name:
        return redirect(like_request(url), 301)
    return SimilarPage(
        title=f"Neurons like {neuron.name}",
        url=url,
        **atlas_fields(atlas),
        neuron=neuron,
        side=side,
        sides=sides,
        similar=tuple(similar_neurons(atlas, neuron.neuron_id, side, limit=ALIKE)),
        n_each=ALIKE,
        panels={"similar": SIMILAR[side].shown(neuron_id=neuron.neuron_id, limit=ALIKE)},
    )


@page(blueprint, "/<atlas:ref>/token/<int:token_id>/neurons")
def token_neurons(atlas: Atlas, token_id: int) -> TokenNeuronsPage:
    """A token's congruence with every neuron of the model, by layer."""
    token = atlas.tokens[token_id]
    spread = neuron_spread(atlas, token_id, limit=OUTLIERS)
    title = f"Congruence of every neuron with {token.shown}, {atlas.info.model_name}"
    return TokenNeuronsPage(
        title=f"Token {token.shown} and every neuron",
        url=urls.to("token_neurons", g.ref, token_id),
        **atlas_fields(atlas),
        token=token,
        spread=spread,
        chart=neuron_spread_chart(spread, title, lambda n: urls.to("neuron", g.ref, n.name)),
        panels={name: sql.shown(token_id=token_id, limit=OUTLIERS) for name, sql in NEURON_SPREAD.items()},
    )


def named_neuron(atlas: Atlas, name: str) -> NeuronRef:
    """The neuron of a part of its page, in any spelling.

    Raises:
        NotFound: it is no name of a neuron.
        NeuronNameError: this model has no such neuron.
    """
    if not is_neuron_name(name):
        raise NotFound
    return named_ref(atlas, name)
