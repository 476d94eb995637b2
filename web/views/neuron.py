"""`/{slug}/L31N892`: a neuron. `/{slug}/random`: some neuron."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from flask import g, redirect
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.display import show_number, show_share
from atlas.core.names import NEURON_SPELLINGS, is_neuron_name
from atlas.core.units import named_ref, neuron_ref
from atlas.topics.curve import (
    CURVES,
    NEURON_CANDIDATES,
    Candidate,
    Curve,
    HistogramBar,
    histogram,
    neuron_candidates,
    neuron_curves,
    of_pairs,
)
from atlas.topics.example import GUARD, TEXTS
from atlas.topics.family import has_family
from atlas.topics.kind import NEURON_KIND, NeuronKind, neuron_kind
from atlas.topics.neuron import (
    HISTOGRAM,
    INPUT_TOKENS,
    NEURON_PAIRS,
    NEURON_TOKENS,
    CongruentToken,
    InputToken,
    Neuron,
    find_neuron,
    input_tokens,
    neuron_pairs,
    neuron_tokens,
)
from atlas.topics.neuron_columns import COLUMNS, Column
from atlas.topics.pair import ExclusivePair
from atlas.topics.percentile import PLACE, Neighbours, Percentile, neighbours, percentiles, standing
from atlas.topics.sign_case import SIGN_CASES, SignCase, has_sign_cases, sign_cases
from atlas.topics.spread import SIMILAR
from atlas.topics.study.records import StandsOut
from atlas.topics.study.study import STANDS_OUT, stands_out
from atlas.topics.tables import column_comments
from atlas.topics.threshold import BEYOND
from atlas.topics.verdict import verdict_of
from web.cards.neuron import neuron_card
from web.cards.svg import Card
from web.charts.chart import Chart
from web.charts.curve import curve_charts
from web.charts.histogram import histogram_chart
from web.site import urls
from web.site.errors import BadRequestError
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page, query_int
from web.site.urls import Blueprint
from web.views.curves import choose, pair_label
from web.views.spread import ALIKE
from web.views.texts import Texts, read_texts, texts_of
from web.views.threshold import Explorer, explore

blueprint = Blueprint("neuron", __name__)

MAX_CURVES = 5


@dataclass(frozen=True, kw_only=True)
class NeuronPage(AtlasPage, template="neuron.html"):
    """Everything the atlas knows of a neuron."""

    neuron: Neuron = field(metadata=doc("Its numbers."))
    percentiles: dict[str, Percentile] = field(
        metadata=doc("By column: the fractions of the layer's and of the model's neurons whose value is lower.")
    )
    gated: bool = field(
        metadata=doc("Whether the MLP is gated: activations are signed and the bottom end means as much as the top.")
    )
    has_weights: bool = field(metadata=doc("Whether its congruence with every token can be shown.", json=False))
    columns: tuple[Column, ...] = field(metadata=doc("The columns of `neuron` that are shown.", json=False))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `neuron`.", json=False))
    neighbours: Neighbours = field(
        metadata=doc("The neurons before and after it, and those of its rank in the layers below and above.")
    )
    kind: NeuronKind = field(metadata=doc("What kind it is, by the moments of its congruence, and what it detects."))
    best_tokens: tuple[CongruentToken, ...] = field(
        metadata=doc("Tokens its output weights are most congruent with, best first.")
    )
    worst_tokens: tuple[CongruentToken, ...] = field(metadata=doc("Tokens they are least congruent with, worst first."))
    pairs: tuple[ExclusivePair, ...] = field(metadata=doc("Exclusive pairs it is in."))
    input_tokens: tuple[InputToken, ...] = field(
        metadata=doc("Tokens whose embedding its input weights and gate read most and least.")
    )
    histogram: tuple[HistogramBar, ...] = field(metadata=doc("Its activation histogram."))
    histogram_chart: Chart = field(metadata=doc("The histogram drawn.", json=False))
    candidates: tuple[Candidate, ...] = field(metadata=doc("Its pairs whose predictions were counted."))
    curves: tuple[Curve, ...] = field(
        metadata=doc("Prediction curves of some of them: the one asked for, exclusive pairs, extremes.")
    )
    curve_charts: tuple[Chart, ...] = field(metadata=doc("The curves drawn, if there are any.", json=False))
    explorer: Explorer | None = field(
        metadata=doc("The threshold explorer of the first curve; null where nothing was counted.")
    )
    has_family: bool = field(
        metadata=doc("Whether its best (or worst) token has other spellings, and they were counted.", json=False)
    )
    sign_cases: tuple[SignCase, ...] = field(
        metadata=doc("The four cases of the signs of its gate and input; none: they were not counted.")
    )
    texts: Texts = field(metadata=doc("Its texts, with the illusion guard."))
    studies: tuple[StandsOut, ...] = field(metadata=doc("The studies it stands out in, with its numbers there."))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))

    def card(self) -> Card:
        """The neuron at a glance."""
        curve = self.curves[0] if self.curves else None
        top = self.texts.maximum[0].shown if self.texts.maximum else None
        return neuron_card(self.neuron, self.best_tokens, self.histogram, curve, top, self._footer())


@page(blueprint, "/<atlas:ref>/<name>")
def neuron(atlas: Atlas, name: str) -> NeuronPage | Response:
    """A neuron; other spellings lead to the canonical one."""
    if not any(character.isdigit() for character in name):
        raise NotFound
    if not is_neuron_name(name):
        raise BadRequestError(
            f"{name!r} is no neuron or layer; expected one of {NEURON_SPELLINGS}, or L31 for a layer."
        )
    ref = named_ref(atlas, name)
    if name != ref.name:
        return redirect(like_request(urls.to("neuron", g.ref, ref.name)), 301)
    return neuron_page(atlas, ref.neuron_id, query_int("token", None))


@page(blueprint, "/<atlas:ref>/<first>/<second>")
def slashed(atlas: Atlas, first: str, second: str) -> Response:
    """`31/892` and `L31/N892` lead to `L31N892`."""
    if not is_neuron_name(f"{first}/{second}"):
        raise NotFound
    return redirect(like_request(urls.to("neuron", g.ref, named_ref(atlas, f"{first}/{second}").name)), 301)


@page(blueprint, "/<atlas:ref>/random")
def random_neuron(atlas: Atlas) -> Response:
    """Leads to a neuron drawn anew each time, dead ones too: nothing is chosen for the reader."""
    ref = neuron_ref(atlas, secrets.randbelow(atlas.info.n_neurons))
    response = redirect(like_request(urls.to("neuron", g.ref, ref.name)), 302)
    response.headers["Cache-Control"] = "no-store"
    return response


def neuron_page(atlas: Atlas, neuron_id: int, token_id: int | None) -> NeuronPage:
    """A neuron's page; `token_id` puts that candidate's curve first."""
    record = find_neuron(atlas, neuron_id)
    tokens = neuron_tokens(atlas, neuron_id)
    bars = histogram(atlas, neuron_id)
    candidates = neuron_candidates(atlas, neuron_id)
    verdict = verdict_of(atlas, record)
    prediction = verdict.prediction
    chosen = choose(record, candidates, token_id, verdict.token or getattr(prediction, "token", None), MAX_CURVES)
    curves = neuron_curves(atlas, neuron_id, chosen, bars)
    explorer = explore(curves[0], prediction) if curves else None
    texts = read_texts()
    state = {
        "context": None if texts == "snippet" else texts,
        "threshold": explorer.threshold.edge if explorer and explorer.asked else None,
    }
    model = atlas.info.model_name
    return NeuronPage(
        title=record.name,
        url=urls.to("neuron", g.ref, record.name, token=token_id, **state),
        **atlas_fields(atlas),
        description=_description(atlas, record, [token.token.shown for token in tokens if token.direction == "top"]),
        neuron=record,
        percentiles=percentiles(atlas, record),
        gated=atlas.info.gated,
        has_weights=atlas.info.has_weights,
        columns=COLUMNS,
        definitions=column_comments(atlas, "neuron"),
        neighbours=neighbours(atlas, neuron_id),
        kind=neuron_kind(atlas, neuron_id),
        best_tokens=tuple(token for token in tokens if token.direction == "top"),
        worst_tokens=tuple(token for token in tokens if token.direction == "bottom"),
        pairs=tuple(neuron_pairs(atlas, neuron_id)),
        input_tokens=tuple(input_tokens(atlas, neuron_id)),
        histogram=tuple(bars),
        histogram_chart=histogram_chart(bars, f"Activation of {record.name}, {model}"),
        candidates=tuple(candidates),
        curves=tuple(curves),
        curve_charts=curve_charts(
            curves,
            f"Tokens predicted by activation of {record.name}, {model}",
            pair_label("token"),
            lambda curve: urls.to("neuron", g.ref, record.name, token=curve.candidate.token.token_id) + "#predicts",
        ),
        explorer=explorer,
        studies=stands_out(atlas, neuron_id),
        has_family=_has_family(atlas, record),
        sign_cases=tuple(sign_cases(atlas, neuron_id)) if has_sign_cases(atlas) else (),
        texts=texts_of(atlas, record, bars, texts),
        panels=_panels(neuron_id, chosen, explorer),
    )


def _panels(neuron_id: int, chosen: list[Candidate], explorer: Explorer | None) -> dict[str, str]:
    """The SQL of the page by panel. `chosen` are the pairs whose curves are drawn."""
    one = {"neuron_id": neuron_id}
    panels = {
        "place": PLACE.shown(**one),
        "pairs": NEURON_PAIRS.shown(**one),
        "writes": NEURON_TOKENS.shown(**one),
        "fires": HISTOGRAM.shown(**one),
        "candidates": NEURON_CANDIDATES.shown(**one),
        "texts": TEXTS.shown(**one),
        "guard": GUARD.shown(**one),
        "reads": INPUT_TOKENS.shown(**one),
        "kind": NEURON_KIND.shown(**one),
        "signs": SIGN_CASES.shown(**one),
        "studies": STANDS_OUT.shown(neuron=neuron_id),
        "alike": SIMILAR["out"].shown(**one, limit=ALIKE),
        "numbers": standing().shown(neuron_ids=[neuron_id]),
    }
    if chosen:
        panels["predicts"] = CURVES.shown(**of_pairs(chosen))
    if explorer:
        threshold = {"token_id": explorer.candidate.token.token_id, "edge": explorer.threshold.edge}
        panels["threshold"] = BEYOND[explorer.threshold.side].shown(**one, **threshold)
    return panels


def _has_family(atlas: Atlas, neuron: Neuron) -> bool:
    tokens = (neuron.best_token, neuron.worst_token) if atlas.info.gated else (neuron.best_token,)
    return any(has_family(atlas, token.token_id) for token in tokens)


def _description(atlas: Atlas, neuron: Neuron, best: list[str]) -> str:
    share = "never fires" if neuron.dead else f"is positive at {show_share(neuron.positive_fraction)} of positions"
    return (
        f"Neuron {neuron.index} of layer {neuron.layer} of {atlas.info.model_name}. Its output weights are most "
        f"congruent with {', '.join(best[:4])}. Its activation {share}, up to {show_number(neuron.activation_max)}."
    )
