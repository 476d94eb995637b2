"""`/{slug}/token/281`: a token. `/{slug}/token?text=`: finds one by its text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from flask import g, redirect, request
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.display import read_shown, visible
from atlas.core.units import Token
from atlas.topics.attribution import (
    MIN_POSITIONS,
    TOKEN_DRIVERS,
    TokenDriver,
    attributed_positions,
    token_drivers,
)
from atlas.topics.curve import CURVES, TOKEN_CANDIDATES, Candidate, Curve, of_pairs, token_candidates, token_curves
from atlas.topics.example import TEXTS, Group, group_alike, neuron_examples
from atlas.topics.family import (
    BEST,
    FAMILY,
    FAMILY_PAIRS,
    KIN,
    SHARED,
    FamilyMember,
    FamilyPair,
    KinToken,
    family,
    family_pairs,
    kin,
)
from atlas.topics.pair import ExclusivePair
from atlas.topics.pair_metric.effects import PairFigures, pair_figures
from atlas.topics.reliability import reliability, reliability_words
from atlas.topics.search import TOKENS_OF_TEXT, tokens_by_text
from atlas.topics.study.records import Study
from atlas.topics.study.study import ASKS_FOR, token_studies
from atlas.topics.tables import column_comments
from atlas.topics.token import (
    RELATIVES,
    TOKEN_NEURONS,
    TOKEN_PAIRS,
    TOKEN_ROW,
    TokenRow,
    token_pairs,
    token_row,
)
from atlas.topics.writer import (
    TOKEN_PREDICTIONS,
    WritingNeuron,
    token_predictions,
    writing_neurons,
)
from web.cards.svg import Card
from web.cards.token import token_card
from web.charts.chart import Chart
from web.charts.curve import curve_charts, curves_chart
from web.sections.curves import by_promise, pair_label
from web.site import urls
from web.site.errors import BadRequestError, NotServedError
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page, wants_json
from web.site.urls import Blueprint
from web.views.token_words import TokenVerdict, token_verdict

blueprint = Blueprint("token", __name__)

MAX_KIN = 20
MAX_CURVES = 5
MAX_RELATIVES = 30
MAX_TEXTS = 5


@dataclass(frozen=True, kw_only=True)
class TokenPage(AtlasPage, template="token.html"):
    """Everything the atlas knows of a token."""

    row: TokenRow = field(metadata=doc("Its numbers, its best and its worst neuron."))
    n_tokens: int = field(metadata=doc("Tokens of the vocabulary."))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `token`.", json=False))
    verdict: TokenVerdict = field(
        metadata=doc("Which neuron writes it, and whether that neuron's firing predicts it, in words.")
    )
    best_neurons: tuple[WritingNeuron, ...] = field(
        metadata=doc("Neurons most congruent with it over the whole model, best first.")
    )
    worst_neurons: tuple[WritingNeuron, ...] = field(metadata=doc("Neurons least congruent with it, worst first."))
    texts: tuple[Group, ...] = field(metadata=doc("Texts that fire its best neuron most, similar ones together."))
    scale: float = field(metadata=doc("The greatest of these activations.", json=False))
    gated: bool = field(
        metadata=doc("Whether a neuron of negative congruence writes it where its activation is negative.")
    )
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
    family_pairs: tuple[FamilyPair, ...] = field(
        metadata=doc("Of each pair: its gap and its rank with other spellings of the token set aside.")
    )
    candidates: tuple[Candidate, ...] = field(metadata=doc("Its pairs whose predictions were counted."))
    figures: tuple[PairFigures, ...] = field(
        metadata=doc("Of each candidate, how well its activation predicts the token, and what ablation did.")
    )
    curves: tuple[Curve, ...] = field(
        metadata=doc("Prediction curves of some of them: its best neuron's, exclusive pairs, then by |congruence|.")
    )
    best_chart: Chart | None = field(
        metadata=doc("The curve of its best neuron; null: never predicted, or not counted.", json=False)
    )
    curve_charts: tuple[Chart, ...] = field(metadata=doc("The curves drawn, if there are any.", json=False))
    supports: tuple[TokenDriver, ...] = field(
        metadata=doc(
            "Neurons that support its prediction most where it is predicted, by attribution, the strongest first."
        )
    )
    opposes: tuple[TokenDriver, ...] = field(metadata=doc("Neurons that oppose it most there, the strongest first."))
    drivers_said: str = field(metadata=doc("How well attributions hold, or why the token has none."))
    studies: tuple[Study, ...] = field(
        metadata=doc("The studies whose answer it is, or what the answer is weighed against.")
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))

    def share_title(self) -> str:
        """Its title for sites that show a link to it."""
        return f"{self.title}: {self.verdict.headline} · {self.model_name}"

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
    predictions = token_predictions(atlas, token_id)
    neurons = writing_neurons(atlas, token_id, predictions)
    candidates = token_candidates(atlas, token_id)
    chosen = sorted(
        candidates,
        key=lambda item: (item.neuron != row.best_neuron, *by_promise(item), item.neuron.neuron_id),
    )
    curves = token_curves(atlas, chosen[:MAX_CURVES])
    pairs = tuple(token_pairs(atlas, token_id))
    families = tuple(family_pairs(atlas, pairs))
    verdict = token_verdict(row, predictions, pairs, families)
    drivers = token_drivers(atlas, token_id)
    groups = group_alike(neuron_examples(atlas, row.best_neuron.neuron_id, "max"))
    return TokenPage(
        title=f"Token {row.token.shown}",
        url=urls.to("token", g.ref, token_id),
        **atlas_fields(atlas),
        description=f"{row.best_neuron.name} writes “{row.token.shown}” most. {verdict.firing}",
        row=row,
        n_tokens=atlas.info.d_vocab,
        definitions=column_comments(atlas, "token"),
        verdict=verdict,
        texts=tuple(groups[:MAX_TEXTS]),
        scale=max((abs(group.shown.activation) for group in groups), default=0.0),
        best_neurons=tuple(item for item in neurons if item.direction == "top"),
        worst_neurons=tuple(item for item in neurons if item.direction == "bottom"),
        gated=atlas.info.gated,
        has_weights=atlas.info.has_weights,
        relatives=tuple(atlas.tokens.relatives(token_id)[:MAX_RELATIVES]),
        family=tuple(family(atlas, token_id)),
        kin=tuple(kin(atlas, token_id, MAX_KIN)),
        pairs=pairs,
        family_pairs=families,
        candidates=tuple(candidates),
        figures=tuple(pair_figures(atlas, [(c.neuron.neuron_id, token_id, c.congruence) for c in candidates])),
        supports=tuple(driver for driver in drivers if driver.direction == "top"),
        opposes=tuple(driver for driver in drivers if driver.direction == "bottom"),
        drivers_said=reliability_words(reliability(atlas)) if drivers else _no_drivers(atlas),
        studies=tuple(token_studies(atlas, token_id)),
        panels=_panels(row, chosen[:MAX_CURVES]),
        curves=tuple(curves),
        best_chart=_best_chart(row, curves),
        curve_charts=curve_charts(
            curves,
            f"Predictions of {row.token.shown} by activation, {atlas.info.model_name}",
            pair_label("neuron"),
        ),
    )


def _no_drivers(atlas: Atlas) -> str:
    """Why a token has no drivers."""
    n = attributed_positions(atlas)
    if not n:
        return "Attribution was off when this atlas was made: `atlas attribute FILE` adds it."
    return (
        f"The model predicts it at fewer than {MIN_POSITIONS} of the {n:,} positions read for attribution, or it is "
        "not among the tokens predicted most: too rarely for a mean."
    )


def _best_chart(row: TokenRow, curves: list[Curve]) -> Chart | None:
    """The curve of the best neuron, which comes first if it was counted."""
    own = [curve for curve in curves[:1] if curve.candidate.neuron == row.best_neuron]
    if not own or not row.n_predicted:
        return None
    title = f"{row.token.shown} predicted against activation of {row.best_neuron.name}"
    return curves_chart("best", own, title=title, label=pair_label("neuron"))


def _panels(row: TokenRow, chosen: list[Candidate]) -> dict[str, str]:
    """The SQL of the page by panel. `chosen` are the pairs whose curves are drawn."""
    one = {"token_id": row.token.token_id}
    panels = {
        "relatives": RELATIVES.shown(**one, limit=MAX_RELATIVES),
        "family": FAMILY.shown(**one),
        "studies": ASKS_FOR.shown(token=row.token.token_id),
        "kin": KIN.shown(**one, best=BEST, shared=SHARED, limit=MAX_KIN),
        "pairs": TOKEN_PAIRS.shown(**one),
        "neurons": TOKEN_NEURONS.shown(**one),
        "causes": TOKEN_DRIVERS.shown(**one),
        "firing": TOKEN_PREDICTIONS.shown(**one),
        "spellings": FAMILY_PAIRS.shown(),
        "texts": TEXTS.shown(neuron_id=row.best_neuron.neuron_id),
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
