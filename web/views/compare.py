"""`/{slug}/compare?n=L31N892&n=L28N1921`: two to eight neurons side by side, in columns.

With a neuron of another atlas among them, `n=other-slug:L3N4`, it leads to `/bridge/compare`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from flask import current_app, g, redirect, request
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.errors import NeuronNameError
from atlas.core.names import is_neuron_name
from atlas.core.units import Misnamed, Token, names_refused, read_names
from atlas.topics.collection import collection
from atlas.topics.compare import (
    COSINES,
    HISTOGRAMS,
    SHARED_TEXTS,
    SharedText,
    SharedToken,
    output_cosines,
    shared_texts,
    shared_tokens,
    shared_tokens_statement,
    side_by_side,
)
from atlas.topics.curve import CURVES, Candidate, Curve, histogram, neuron_candidates, of_pairs, token_curves
from atlas.topics.example import Example, neuron_examples
from atlas.topics.glance import LISTED, LISTED_TOKENS, Glance
from atlas.topics.neuron import Neuron
from atlas.topics.neuron_columns import Column, column_names, columns_of
from atlas.topics.percentile import Percentile, percentiles, standing
from atlas.topics.tables import column_comments
from web.charts.chart import Chart
from web.charts.curve import curve_charts
from web.charts.histogram import histograms_chart
from web.sections.curves import pair_label
from web.site import urls
from web.site.errors import BadRequestError
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page, query_int, wants_json
from web.site.urls import AtlasRef, Blueprint

blueprint = Blueprint("compare", __name__)

MOST = 8

TOKENS, TEXTS = 40, 20
"""Tokens and texts in common that are listed."""

EXAMPLES = 3
"""Texts of each neuron."""

NUMBERS = columns_of("compare")
"""Numbers set side by side."""


@dataclass(frozen=True, kw_only=True)
class ComparePage(AtlasPage, template="compare.html"):
    """Neurons side by side: verdicts, tokens, predictions, texts, activations, numbers."""

    neurons: tuple[Neuron, ...] = field(metadata=doc("The neurons, in the order of the URL."))
    misnamed: tuple[Misnamed, ...] = field(
        metadata=doc("Names in the address that no neuron has; a request for data with any is refused.", json=False)
    )
    glances: tuple[Glance, ...] = field(metadata=doc("The verdict on each, and the tokens that it writes."))
    own_curves: tuple[tuple[Curve, ...], ...] = field(
        metadata=doc("Of each, the prediction curve of its verdict's token, or else of its first token.")
    )
    examples: tuple[tuple[Example, ...], ...] = field(
        metadata=doc(f"Of each, the {EXAMPLES} texts that fire it most on the side of its verdict.")
    )
    percentiles: tuple[dict[str, Percentile], ...] = field(metadata=doc("Their percentiles, by column."))
    numbers: tuple[Column, ...] = field(metadata=doc("Columns set side by side.", json=False))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `neuron`.", json=False))
    most: int = field(metadata=doc("Most neurons that can be compared.", json=False))
    slugs: tuple[str, ...] = field(metadata=doc("The atlases that are served.", json=False))
    placed: tuple[str, ...] = field(
        metadata=doc("The neurons' names with their atlas, as pages of several atlases take them.", json=False)
    )
    cosines: tuple[tuple[float | None, ...], ...] = field(
        metadata=doc("Cosine of every two neurons' output weights; empty if the atlas holds no weights.")
    )
    histogram_chart: Chart | None = field(metadata=doc("Their activation histograms on shared axes.", json=False))
    tokens: tuple[SharedToken, ...] = field(metadata=doc("Tokens in the lists of at least two of them."))
    token: Token | None = field(
        metadata=doc("Token whose curves are shown together; null if none was counted with two of them.")
    )
    curve_tokens: tuple[Token, ...] = field(
        metadata=doc("Tokens counted with at least two of them, those counted with most first.")
    )
    curves: tuple[Curve, ...] = field(metadata=doc("Prediction curves of the token with each that was counted."))
    curve_charts: tuple[Chart, ...] = field(metadata=doc("The curves drawn, if there are any.", json=False))
    texts: tuple[SharedText, ...] = field(metadata=doc("Texts among the stored examples of at least two of them."))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


def parted(name: str) -> tuple[AtlasRef | None, str]:
    """The atlas and the neuron of `slug:L31N892` or `slug@build:L31N892`; no atlas where there is the neuron alone."""
    name = name.strip()
    place, colon, rest = name.partition(":")
    if not colon or is_neuron_name(name):  # 31:892 is a neuron's name
        return None, name
    slug, _, build_id = place.partition("@")
    return AtlasRef(slug, build_id or None), rest


@page(blueprint, "/<atlas:ref>/compare")
def compare(atlas: Atlas) -> ComparePage | Response:
    """Neurons side by side; other spellings lead to the canonical address, names of other atlases to their page. A name
    that no neuron has leaves the rest, but for data."""
    written = [(place or g.ref, name) for place, name in map(parted, request.args.getlist("n")) if name]
    if any(place not in (g.ref, AtlasRef(g.ref.slug)) for place, _ in written):
        return redirect(like_request(_among_others(atlas, [f"{place}:{name}" for place, name in written])), 302)
    refs, misnamed = read_names(atlas, (name for _, name in written))
    if misnamed and (wants_json() or not refs):
        raise NeuronNameError(names_refused(misnamed))
    names = [ref.name for ref in refs]
    if len(names) > MOST:
        raise BadRequestError(f"There are {len(names)} neurons to compare; expected at most {MOST}.")
    token_id = query_int("token", None)
    url = urls.to("compare", g.ref, n=names, token=token_id)
    if names != request.args.getlist("n") and not misnamed:
        return redirect(like_request(url), 301)
    return _compare_page(atlas, tuple(ref.neuron_id for ref in refs), misnamed, token_id, url)


def _among_others(atlas: Atlas, names: list[str]) -> str:
    """The same comparison on the page that takes neurons of several atlases, where a token goes by its text."""
    token_id = query_int("token", None)
    return urls.to("bridge_compare", n=names, text=None if token_id is None else atlas.tokens[token_id].text)


def _compare_page(
    atlas: Atlas, ids: tuple[int, ...], misnamed: Sequence[Misnamed], token_id: int | None, url: str
) -> ComparePage:
    glances = collection(atlas, ids)
    neurons = [item.neuron for item in glances]
    names = ", ".join(neuron.name for neuron in neurons)
    histograms = {neuron.name: histogram(atlas, neuron.neuron_id) for neuron in neurons}
    counted = [neuron_candidates(atlas, neuron_id) for neuron_id in ids]
    ordered = _tokens(counted)
    shared = [token for token, n in ordered.items() if n > 1]
    if token_id is not None and token_id not in ordered:
        raise BadRequestError(
            f"token={token_id} was counted with none of {names}; expected a token of their lists, on their pages."
        )
    own = (item.own_token.token_id for item in glances if item.verdict.token is not None)
    chosen = token_id if token_id is not None else next((t for t in own if t in shared), next(iter(shared), None))
    pairs = [candidate for candidates in counted for candidate in candidates if candidate.token.token_id == chosen]
    curves = token_curves(atlas, pairs)
    token = None if chosen is None else atlas.tokens[chosen]
    return ComparePage(
        title=f"Compare {names}" if neurons else "Compare neurons",
        url=url,
        **atlas_fields(atlas),
        description="; ".join(f"{item.neuron.name} {item.verdict.headline}" for item in glances)
        or "Verdicts, tokens, predictions, texts and numbers of neurons side by side.",
        neurons=tuple(neurons),
        misnamed=tuple(misnamed),
        glances=tuple(glances),
        own_curves=tuple(
            tuple(token_curves(atlas, (pair for pair in candidates if pair.token == item.own_token)))
            for item, candidates in zip(glances, counted, strict=True)
        ),
        examples=tuple(
            tuple(neuron_examples(atlas, item.neuron.neuron_id, item.kind_of_text)[:EXAMPLES]) for item in glances
        ),
        percentiles=tuple(percentiles(atlas, neuron) for neuron in neurons),
        numbers=NUMBERS,
        definitions=column_comments(atlas, "neuron"),
        most=MOST,
        slugs=tuple(current_app.extensions["atlases"]),
        placed=tuple(f"{g.ref}:{neuron.name}" for neuron in neurons),
        cosines=tuple(map(tuple, output_cosines(atlas, ids))),
        histogram_chart=histograms_chart(histograms, f"Activations, {atlas.info.model_name}") if neurons else None,
        tokens=tuple(shared_tokens(atlas, ids, TOKENS)),
        token=token,
        curve_tokens=tuple(atlas.tokens[other] for other in shared[:24]),
        curves=tuple(curves),
        curve_charts=curve_charts(
            curves,
            f"Predictions of {token.shown} by activation, {atlas.info.model_name}" if token else "",
            pair_label("neuron"),
        ),
        texts=tuple(shared_texts(atlas, ids, TEXTS)),
        panels=_panels(atlas, ids, pairs) if ids else {},
    )


def _panels(atlas: Atlas, ids: Sequence[int], pairs: list[Candidate]) -> dict[str, str]:
    """The SQL of the page by panel. `pairs` are those whose curves are drawn."""
    some = {"neuron_ids": list(ids)}
    panels = {
        "best_tokens": LISTED_TOKENS.shown(**some, limit=LISTED),
        "numbers": side_by_side(column_names(NUMBERS)).shown(**some),
        "percentiles": standing(column_names(NUMBERS)).shown(**some),
        "cosines": COSINES.shown(**some),
        "histograms": HISTOGRAMS.shown(**some),
        "tokens": shared_tokens_statement(atlas, ids).shown(**some, limit=TOKENS),
        "texts": SHARED_TEXTS.shown(**some, limit=TEXTS),
    }
    if pairs:
        panels["curves"] = CURVES.shown(**of_pairs(pairs))
    return panels


def _tokens(counted: list[list[Candidate]]) -> dict[int, int]:
    """Tokens counted with the neurons, with how many: most first, then the most predicted, then by id."""
    n = Counter(candidate.token.token_id for candidates in counted for candidate in candidates)
    predicted: Counter[int] = Counter()
    for candidates in counted:
        for candidate in candidates:
            predicted[candidate.token.token_id] = max(predicted[candidate.token.token_id], candidate.n_predicted)
    return {t: n[t] for t in sorted(n, key=lambda t: (-n[t], -predicted[t], t))}
