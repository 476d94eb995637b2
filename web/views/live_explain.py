"""`/{slug}/live`: why the model says what it says after a typed text, neuron by neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import g, request

from atlas import Atlas
from atlas.core.units import NeuronRef, Token, named_ref, neuron_ref
from atlas.topics.curve import histogram
from atlas.topics.glance import glances
from atlas.topics.live import AblatedNeuron, ExplainWanted, Explanation, NeuronShare
from atlas.topics.neuron import find_neuron
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, page, wants_card
from web.site.urls import Blueprint
from web.views.live import Trouble, fleeting, live_of, trouble_of, typed, visitor
from web.workers.live.errors import LiveError, LiveRefused
from web.workers.live.live import Live
from web.workers.live.placed import Place, place_of

blueprint = Blueprint("live_explain", __name__)
blueprint.after_request(fleeting)

MOST, MOST_LISTED = 20, 200
"""Neurons listed at each end: unless asked for, and at most."""

FIELDS = ("text", "token", "against")


@dataclass(frozen=True)
class PredictedToken:
    """A token after the text: rank from 1 by logit, the model's own logit and probability."""

    token: Token
    rank: int
    logit: float
    probability: float


@dataclass(frozen=True)
class ShareRow:
    """A neuron's attribution to the token, how far the token's logit falls exactly without the neuron, the
    attribution's direct part, its activation at the last token with its place in the neuron's histogram, what the atlas
    says of the neuron, and its mean |attribution| over the atlas's texts (null: not computed)."""

    neuron: NeuronRef
    attribution: float
    exact: float
    direct: float
    activation: float
    place: Place
    verdict: str
    usual: float | None


@dataclass(frozen=True)
class StrongNeuron:
    """A neuron, and its attribution to what is predicted at a position."""

    neuron: NeuronRef
    attribution: float


@dataclass(frozen=True)
class PositionRow:
    """A token of the text, what the model predicts after it, and the neurons of greatest |attribution| to that."""

    position: int
    token: Token
    predicted: Token
    probability: float
    neurons: tuple[StrongNeuron, ...]


@dataclass(frozen=True)
class Ablated:
    """The token without a neuron: the neuron is set to its mean over the atlas's data at the last token.

    `attribution` is the estimated fall of the explained value, `exact` the fall with the position's keys and values
    held (null: not measured), `exact_full` that in the whole model; so are the probabilities and the prediction, `top`.
    """

    neuron: NeuronRef
    activation: float
    mean: float
    attribution: float
    exact: float | None
    exact_full: float
    probability: float
    probability_after: float
    top: Token
    top_probability: float


@dataclass(frozen=True)
class Explained:
    """What follows a text, and the neurons behind it.

    `value` is what is explained, in logits: the token's logit less that of `against`, or less the mean over the
    vocabulary. `direct` are the neurons of greatest |direct part|.
    """

    tokens: tuple[Token, ...]
    predictions: tuple[PredictedToken, ...]
    token: Token
    against: Token | None
    value: float
    supports: tuple[ShareRow, ...]
    opposes: tuple[ShareRow, ...]
    direct: tuple[ShareRow, ...]
    positions: tuple[PositionRow, ...]
    ablated: Ablated | None

    @property
    def strongest(self) -> ShareRow | None:
        """The listed neuron without which the logit changes most."""
        return max((*self.supports, *self.opposes, *self.direct), key=lambda item: abs(item.exact), default=None)

    @property
    def probability(self) -> float:
        """Of the token."""
        return next(item.probability for item in self.predictions if item.token == self.token)


@dataclass(frozen=True, kw_only=True)
class LiveExplainPage(AtlasPage, template="live.html"):
    """The neurons behind what follows a text that a visitor typed."""

    text: str = field(metadata=doc("The text."))
    token: str = field(metadata=doc("Text of the token that was asked for; empty: the one that is predicted."))
    against: str = field(metadata=doc("Text of the token it is weighed against; empty: the vocabulary's mean."))
    explained: Explained | None = field(metadata=doc("The answer; null if nothing was asked or it has none."))
    trouble: Trouble | None = field(metadata=doc("Why there is no answer; null if nothing went wrong.", json=False))

    @property
    def status(self) -> int:
        """200, or what the trouble is answered with."""
        return self.trouble.status if self.trouble else 200


@page(blueprint, "/<atlas:ref>/live", kept=False)
def live(atlas: Atlas) -> LiveExplainPage:
    """The neurons behind what follows `?text=`: behind the predicted token, `token`, or its lead over `against`;
    `neuron` is ablated, `limit` neurons are listed at each end."""
    model = live_of(g.ref)
    query: dict[str, Any] = {name: request.args.get(name, "") for name in FIELDS}
    name = request.args.get("neuron") or None
    neuron = None if name is None else named_ref(atlas, name)
    answer, trouble = None, None
    try:
        if "text" in request.args and not wants_card():
            answer = _ask(model, atlas, neuron)
    except LiveError as error:
        trouble = trouble_of(error)
    given = {name: text or None for name, text in query.items()}
    return LiveExplainPage(
        title="Why did it say that?",
        url=urls.to("live", g.ref, **given, neuron=neuron and neuron.name, limit=request.args.get("limit")),
        **atlas_fields(atlas),
        description=f"The neurons of {atlas.info.model_name} behind the token that follows a typed text.",
        **query,
        explained=None if answer is None else _explained(atlas, answer),
        trouble=trouble,
    )


def _ask(model: Live, atlas: Atlas, neuron: NeuronRef | None) -> Explanation:
    text, token, against = (typed(model, name) for name in FIELDS)
    limit = request.args.get("limit", str(MOST))
    if not text.strip():
        raise LiveRefused("The text is empty: type at least one word.")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit) <= MOST_LISTED):
        raise LiveRefused(f"The limit {limit!r} is not a whole number from 1 to {MOST_LISTED}.")
    number = None if neuron is None else neuron.neuron_id
    wanted = ExplainWanted(text, token or None, against or None, model.means(atlas), int(limit), number)
    return Explanation.read(model.text(atlas, "explain", wanted, visitor()))


def _explained(atlas: Atlas, answer: Explanation) -> Explained:
    shares = _rows(atlas, {item.neuron_id: item for item in (*answer.supports, *answer.opposes, *answer.direct)})
    return Explained(
        tokens=atlas.tokens.many(answer.token_ids),
        predictions=tuple(
            PredictedToken(atlas.tokens[item.token_id], item.rank, item.logit, item.probability)
            for item in answer.predictions
        ),
        token=atlas.tokens[answer.token_id],
        against=None if answer.against_id is None else atlas.tokens[answer.against_id],
        value=answer.value,
        supports=tuple(shares[item.neuron_id] for item in answer.supports),
        opposes=tuple(shares[item.neuron_id] for item in answer.opposes),
        direct=tuple(shares[item.neuron_id] for item in answer.direct),
        positions=tuple(
            PositionRow(
                item.position,
                atlas.tokens[answer.token_ids[item.position]],
                atlas.tokens[item.token_id],
                item.probability,
                tuple(StrongNeuron(neuron_ref(atlas, number), value) for number, value in item.neurons),
            )
            for item in answer.positions
        ),
        ablated=None if answer.ablated is None else _ablated(atlas, answer.ablated),
    )


def _rows(atlas: Atlas, items: Mapping[int, NeuronShare]) -> dict[int, ShareRow]:
    """By neuron."""
    neurons = [find_neuron(atlas, number) for number in items]
    return {
        item.neuron_id: ShareRow(
            neuron=neuron_ref(atlas, item.neuron_id),
            attribution=item.attribution,
            exact=item.exact,
            direct=item.direct,
            activation=item.activation,
            place=place_of(neuron, histogram(atlas, item.neuron_id), item.activation),
            verdict=glance.verdict.headline,
            usual=glance.attribution,
        )
        for item, neuron, glance in zip(items.values(), neurons, glances(atlas, neurons), strict=True)
    }


def _ablated(atlas: Atlas, item: AblatedNeuron) -> Ablated:
    return Ablated(
        neuron=neuron_ref(atlas, item.neuron_id),
        activation=item.activation,
        mean=item.mean,
        attribution=item.attribution,
        exact=item.exact,
        exact_full=item.exact_full,
        probability=item.probability,
        probability_after=item.probability_after,
        top=atlas.tokens[item.top_id],
        top_probability=item.top_probability,
    )
