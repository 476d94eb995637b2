"""`/{slug}/token/281`: a token. `/{slug}/token?text=`: finds one by its text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from flask import g, redirect, request
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.display import read_shown, visible
from atlas.core.units import Token
from atlas.topics.curve import CURVES, TOKEN_CANDIDATES, Candidate, Curve, of_pairs, token_candidates, token_curves
from atlas.topics.family import BEST, FAMILY, KIN, SHARED, FamilyMember, KinToken, family, kin
from atlas.topics.pair import ExclusivePair
from atlas.topics.pair_metric.effects import PairFigures, pair_figures
from atlas.topics.search import TOKENS_OF_TEXT, tokens_by_text
from atlas.topics.study.records import Study
from atlas.topics.study.study import ASKS_FOR, token_studies
from atlas.topics.tables import column_comments
from atlas.topics.token import (
    RELATIVES,
    TOKEN_NEURONS,
    TOKEN_PAIRS,
    TOKEN_ROW,
    CongruentNeuron,
    TokenRow,
    token_neurons,
    token_pairs,
    token_row,
)
from web.cards.svg import Card
from web.cards.token import token_card
from web.charts.chart import Chart
from web.charts.curve import curve_charts
from web.sections.curves import by_promise, pair_label
from web.site import urls
from web.site.errors import BadRequestError, NotServedError
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page, wants_json
from web.site.urls import Blueprint

blueprint = Blueprint("token", __name__)

MAX_KIN = 20
MAX_CURVES = 5
MAX_RELATIVES = 30


@dataclass(frozen=True, kw_only=True)
class TokenPage(AtlasPage, template="token.html"):
    """Everything the atlas knows of a token."""

    row: TokenRow = field(metadata=doc("Its numbers, its best and its worst neuron."))
    n_tokens: int = field(metadata=doc("Tokens of the vocabulary."))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `token`.", json=False))
    best_neurons: tuple[CongruentNeuron, ...] = field(
        metadata=doc("Neurons most congruent with it over the whole model, best first.")
    )
    worst_neurons: tuple[CongruentNeuron, ...] = field(metadata=doc("Neurons least congruent with it, worst first."))
    has_weights: bool = field(metadata=doc("Whether its congruence with every neuron can be shown.", json=False))
    relatives: tuple[Token, ...] = field(
        metadata=doc("Other tokens with the same letters: equal after stripping spaces and case.")
    )
    family: tuple[FamilyMember, ...] = field(
        metadata=doc("Its family by id, itself included: tokens that differ in spelling alone; none: it has no others.")
    )
    kin: tuple[KinToken, ...] = field(
        metadata=doc("Tokens that share at least two of their five best neurons with it, the most alike first.")
    )
    pairs: tuple[ExclusivePair, ...] = field(metadata=doc("Exclusive pairs it is in."))
    candidates: tuple[Candidate, ...] = field(metadata=doc("Its pairs whose predictions were counted."))
    figures: tuple[PairFigures, ...] = field(
        metadata=doc("Of each candidate, how well its activation predicts the token, and what ablation did.")
    )
    curves: tuple[Curve, ...] = field(
        metadata=doc("Prediction curves of some of them: exclusive pairs first, then by |congruence|.")
    )
    curve_charts: tuple[Chart, ...] = field(metadata=doc("The curves drawn, if there are any.", json=False))
    studies: tuple[Study, ...] = field(
        metadata=doc("The studies whose answer it is, or what the answer is weighed against.")
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))

    def card(self) -> Card:
        """The token at a glance."""
        curve = self.curves[0] if self.curves else None
        return token_card(self.row, self.best_neurons, self.worst_neurons, curve, self._footer())


@dataclass(frozen=True, kw_only=True)
class TokenChoicePage(AtlasPage, template="token_choice.html"):
    """Several tokens of the same text, or a form to ask for one."""

    text: str | None = field(metadata=doc("The text asked for; null if none was."))
    tokens: tuple[Token, ...] = field(metadata=doc("The tokens that add exactly this text."))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>/token/<name>")
def token(atlas: Atlas, name: str) -> TokenPage | Response:
    """A token by its id; whatever follows the id and a '-' is for people."""
    match = re.fullmatch(r"([0-9]{1,9})(-.*)?", name, flags=re.DOTALL)
    if match is None:
        raise BadRequestError(
            f"{visible(name)!r} is no token id; expected a whole number. A token can be found by its text too.",
            urls.to("find_token", g.ref, text=name),
        )
    token_id = int(match[1])
    shown = token_page(atlas, token_id)
    return shown if name == str(token_id) else redirect(like_request(urls.to("token", g.ref, token_id)), 301)


def token_page(atlas: Atlas, token_id: int) -> TokenPage:
    """A token's page.

    Raises:
        TokenError: the vocabulary has no such token.
    """
    row = token_row(atlas, token_id)
    neurons = token_neurons(atlas, token_id)
    candidates = token_candidates(atlas, token_id)
    chosen = sorted(candidates, key=lambda candidate: (*by_promise(candidate), candidate.neuron.neuron_id))
    curves = token_curves(atlas, chosen[:MAX_CURVES])
    return TokenPage(
        title=f"Token {row.token.shown}",
        url=urls.to("token", g.ref, token_id),
        **atlas_fields(atlas),
        description=(
            f"Token {token_id} of {atlas.info.model_name}, {row.token.shown}: predicted at {row.n_predicted:,} "
            f"positions, next after {row.n_actual:,}. Its best neuron is {row.best_neuron.name}."
        ),
        row=row,
        n_tokens=atlas.info.d_vocab,
        definitions=column_comments(atlas, "token"),
        best_neurons=tuple(item for item in neurons if item.direction == "top"),
        worst_neurons=tuple(item for item in neurons if item.direction == "bottom"),
        has_weights=atlas.info.has_weights,
        relatives=tuple(atlas.tokens.relatives(token_id)[:MAX_RELATIVES]),
        family=tuple(family(atlas, token_id)),
        kin=tuple(kin(atlas, token_id, MAX_KIN)),
        pairs=tuple(token_pairs(atlas, token_id)),
        candidates=tuple(candidates),
        figures=tuple(pair_figures(atlas, [(c.neuron.neuron_id, token_id, c.congruence) for c in candidates])),
        studies=tuple(token_studies(atlas, token_id)),
        panels=_panels(token_id, chosen[:MAX_CURVES]),
        curves=tuple(curves),
        curve_charts=curve_charts(
            curves,
            f"Predictions of {row.token.shown} by activation, {atlas.info.model_name}",
            pair_label("neuron"),
        ),
    )


def _panels(token_id: int, chosen: list[Candidate]) -> dict[str, str]:
    """The SQL of the page by panel. `chosen` are the pairs whose curves are drawn."""
    one = {"token_id": token_id}
    panels = {
        "relatives": RELATIVES.shown(**one, limit=MAX_RELATIVES),
        "family": FAMILY.shown(**one),
        "studies": ASKS_FOR.shown(token=token_id),
        "kin": KIN.shown(**one, best=BEST, shared=SHARED, limit=MAX_KIN),
        "pairs": TOKEN_PAIRS.shown(**one),
        "neurons": TOKEN_NEURONS.shown(**one),
        "candidates": TOKEN_CANDIDATES.shown(**one),
        "numbers": TOKEN_ROW.shown(**one),
    }
    if chosen:
        panels["curves"] = CURVES.shown(**of_pairs(chosen))
    return panels


@page(blueprint, "/<atlas:ref>/token")
def find_token(atlas: Atlas) -> TokenChoicePage | Response:
    """The token of a text, leading space and all: led to where there is one, listed where there are several."""
    text = request.args.get("text")
    found = []
    if text is not None:
        found = tokens_by_text(atlas, text) or tokens_by_text(atlas, read_shown(text))
        if not found:
            raise NotServedError(
                f"No token is exactly {visible(text)!r} (a leading space counts). Search finds those that contain it.",
                urls.to("search", atlas=g.ref.slug, q=text),
            )
        if len(found) == 1:
            url = urls.to("token", g.ref, found[0].token_id)
            return redirect(urls.json(url) if wants_json() else url)
    return TokenChoicePage(
        title="Tokens",
        url=urls.to("find_token", g.ref, text=text),
        **atlas_fields(atlas),
        text=text,
        tokens=tuple(found),
        panels={} if text is None else {"tokens": TOKENS_OF_TEXT.shown(text=found[0].text)},
    )
