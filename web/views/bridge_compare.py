"""`/bridge/compare?n=gpt2:L31N892&n=smollm2-135m:L24N917`: neurons of several atlases side by side.

An atlas may be pinned, as in `gpt2@0123456789ab:L31N892`. Neurons of one atlas alone are compared on its own page, and
names of other atlases given there lead here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from flask import redirect, request
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.display import show_token
from atlas.core.info import AtlasInfo
from atlas.core.units import named_ref
from atlas.topics.bridge import (
    SharedRow,
    SharedSpelling,
    bridge_compare_panels,
    is_spelt,
    same_dataset,
    shared_rows,
    shared_spellings,
)
from atlas.topics.curve import Candidate, Curve, histogram, neuron_candidates, token_curves
from atlas.topics.neuron import Neuron, find_neuron
from atlas.topics.neuron_columns import Column, column_names
from atlas.topics.percentile import Percentile, percentiles
from atlas.topics.tables import column_comments
from web.charts.chart import Chart
from web.charts.curve import curve_charts
from web.charts.histogram import histograms_chart
from web.sections.curves import apart, pair_label
from web.site import urls
from web.site.errors import BadRequestError, EarlierBuildError, NotServedError
from web.site.page import Page, doc, find_atlas, like_request, page
from web.site.urls import AtlasRef, Blueprint
from web.views.bridge import served
from web.views.compare import MOST, NUMBERS, parted

blueprint = Blueprint("bridge_compare", __name__)

_CHOICES = 24
"""Tokens whose curves are offered."""


@dataclass(frozen=True)
class Placed:
    """A neuron and the atlas it is of; `ref` is pinned if the URL pins it, `name` spells both as the URL does."""

    ref: AtlasRef
    name: str
    info: AtlasInfo
    neuron: Neuron
    percentiles: dict[str, Percentile]


@dataclass(frozen=True, kw_only=True)
class BridgeComparePage(Page, template="bridge_compare.html"):
    """Neurons of several atlases side by side: what can be compared, and in words what cannot."""

    neurons: tuple[Placed, ...] = field(metadata=doc("The neurons with their atlases, in the order of the URL."))
    slugs: tuple[str, ...] = field(metadata=doc("The atlases that are served.", json=False))
    numbers: tuple[Column, ...] = field(metadata=doc("Columns set side by side.", json=False))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `neuron`.", json=False))
    most: int = field(metadata=doc("Most neurons that can be compared.", json=False))
    left_out: tuple[str, ...] = field(metadata=doc("What is not shown, since it cannot be compared, and why."))
    histogram_chart: Chart | None = field(metadata=doc("Their activation histograms on shared axes.", json=False))
    tokens: tuple[SharedSpelling, ...] = field(metadata=doc("Tokens, by text, in the lists of at least two of them."))
    text: str | None = field(metadata=doc("Text of the token whose curves are shown; null if no pair was counted."))
    shown: str | None = field(metadata=doc("The text as it is shown.", json=False))
    curve_texts: tuple[tuple[str, str], ...] = field(
        metadata=doc("Texts of tokens counted with them, those counted with most of them first; each as shown too.")
    )
    curves: tuple[Curve, ...] = field(metadata=doc("Prediction curves of the token with each that was counted."))
    curve_charts: tuple[Chart, ...] = field(metadata=doc("The curves drawn, if there are any.", json=False))
    rows: tuple[SharedRow, ...] = field(
        metadata=doc("Texts of a data set that several atlases read, of which at least two neurons have an example.")
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page, over all the atlases."))


@page(blueprint, "/bridge/compare")
def bridge_compare() -> BridgeComparePage | Response:
    """Neurons of several atlases; other spellings, and neurons of one atlas, lead to the canonical address."""
    given = [name for name in request.args.getlist("n") if name.strip()]
    text = request.args.get("text") or None
    placed = list(dict.fromkeys(_placed(name, request.args.get("in")) for name in given))
    if len(placed) > MOST:
        raise BadRequestError(f"There are {len(placed)} neurons to compare; expected at most {MOST}.")
    refs = list(dict.fromkeys(ref for ref, _ in placed))
    if len({ref.slug for ref in refs}) == 1:
        pinned = max(refs, key=lambda ref: ref.build_id is not None)
        return redirect(like_request(urls.to("compare", pinned, n=[name for _, name in placed])), 302)
    names = [f"{ref}:{name}" for ref, name in placed]
    url = urls.to("bridge_compare", n=names, text=text)
    if names != request.args.getlist("n") or "in" in request.args:
        return redirect(like_request(url), 302)
    return _page([_neuron(ref, name) for ref, name in placed], text, url)


def _placed(name: str, default: str | None) -> tuple[AtlasRef, str]:
    """The atlas and the canonical name of a neuron; one without an atlas is of the `default`."""
    ref, rest = parted(name)
    if ref is None:
        if not default:
            raise BadRequestError(
                f"{name!r} names no atlas; expected one before it, as in {_example()}.", urls.to("bridge_compare")
            )
        ref = AtlasRef(default)
    return ref, named_ref(_atlas(ref), rest).name


def _example() -> str:
    return f"{next(iter(served()), 'slug')}:L0N0"


def _atlas(ref: AtlasRef) -> Atlas:
    """The atlas of a name.

    Raises:
        EarlierBuildError: a later build of the same run is served.
        NotServedError: it is not served, or not in that build; with the way on from here.
    """
    try:
        return find_atlas(ref)
    except NotServedError as error:
        if ref.build_id is None or ref.slug not in served():
            raise NotServedError(str(error), urls.to("bridge")) from error
        now = [name.replace(f"{ref}:", f"{ref.slug}:", 1) for name in request.args.getlist("n")]
        link = urls.to("bridge_compare", n=now, text=request.args.get("text"))
        if isinstance(error, EarlierBuildError):
            raise EarlierBuildError(str(error), link, ref.build_id) from error
        raise NotServedError(str(error), link) from error


def _neuron(ref: AtlasRef, name: str) -> tuple[Atlas, Placed]:
    atlas = _atlas(ref)
    neuron = find_neuron(atlas, named_ref(atlas, name).neuron_id)
    return atlas, Placed(ref, f"{ref}:{name}", atlas.info, neuron, percentiles(atlas, neuron))


def _page(found: list[tuple[Atlas, Placed]], text: str | None, url: str) -> BridgeComparePage:
    placed = [item for _, item in found]
    ids = [(atlas, item.neuron.neuron_id) for atlas, item in found]
    labels = [f"{item.ref.slug} {item.neuron.name}" for item in placed]
    named = ", ".join(labels)
    candidates = [neuron_candidates(*one) for one in ids]
    texts = _texts(candidates)
    if text is not None and text not in texts:
        raise BadRequestError(
            f"text={text!r} was counted with none of {named or 'no neurons'}; expected a token of their lists, on "
            "their pages.",
            urls.to("bridge_compare", n=[item.name for item in placed]),
        )
    chosen = text if text is not None else next(iter(texts), None)
    pairs = [
        (item.ref.slug, token_curves(atlas, [candidate])[0])
        for (atlas, item), found_here in zip(found, candidates, strict=True)
        for candidate in _of_text(found_here, chosen)
    ]
    curves = apart(pairs)
    shown = None if chosen is None else show_token(0, chosen, chosen.encode())
    title = "Activations" if placed else ""
    one = next(iter(served().values()), None)
    return BridgeComparePage(
        title=f"Compare {named}" if placed else "Compare neurons of several atlases",
        url=url,
        description=f"Numbers, tokens, activations and predictions of {named or 'neurons of several models'} side by "
        "side.",
        neurons=tuple(placed),
        slugs=tuple(served()),
        numbers=NUMBERS,
        definitions={} if one is None else column_comments(one, "neuron"),
        most=MOST,
        left_out=_left_out([atlas for atlas, _ in found]),
        histogram_chart=histograms_chart(
            {label: histogram(*one) for label, one in zip(labels, ids, strict=True)}, title
        )
        if placed
        else None,
        tokens=tuple(shared_spellings(ids)),
        text=chosen,
        shown=shown,
        curve_texts=tuple((word, show_token(0, word, word.encode())) for word in texts[:_CHOICES]),
        curves=tuple(curves),
        curve_charts=curve_charts(curves, f"Predictions of {shown} by activation", pair_label("neuron")),
        rows=tuple(shared_rows(ids)),
        panels=bridge_compare_panels(
            [(item.ref.slug, item.neuron.neuron_id) for item in placed], column_names(NUMBERS), chosen
        )
        if placed
        else {},
    )


def _texts(candidates: Iterable[list[Candidate]]) -> list[str]:
    """Texts of tokens counted with the neurons: those of most neurons first, then the most predicted, then by text."""
    n: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    for found in candidates:
        found = [candidate for candidate in found if is_spelt(candidate.token)]
        n.update({candidate.token.text for candidate in found})
        for candidate in found:
            predicted[candidate.token.text] = max(predicted[candidate.token.text], candidate.n_predicted)
    return sorted(n, key=lambda text: (-n[text], -predicted[text], text))


def _of_text(candidates: list[Candidate], text: str | None) -> list[Candidate]:
    """The candidate of a text, if there is one; of several tokens of the text, the most congruent."""
    return [candidate for candidate in candidates if text is not None and candidate.token.text == text][:1]


def _left_out(atlases: list[Atlas]) -> tuple[str, ...]:
    """What cannot be compared, and why."""
    if not atlases:
        return ()
    infos = {atlas.info.slug: atlas.info for atlas in atlases}
    widths = sorted({info.d_model for info in infos.values()})
    said = []
    if len({info.model_fingerprint for info in infos.values()}) > 1:
        wide = f", here of widths {' and '.join(map(str, widths))}" if len(widths) > 1 else ""
        said.append(
            f"Cosines of weights: each model’s vectors are in a space of its own{wide}, and an angle between two of "
            "them means nothing."
        )
        said.append(
            "Differences of congruences, gaps and activations: their units are each model’s own. Percentiles, tokens "
            "and fractions predicted can be compared."
        )
    else:
        said.append(
            "Cosines of weights: the atlases are of the same model, so each holds all of these neurons, and its own "
            "page compares their weights."
        )
    if len({info.readout for info in infos.values()}) > 1:
        said.append("One kind of congruence: the atlases read tokens out differently, by unembed and by embed.")
    if not same_dataset(atlases):
        said.append("Texts of different data sets: only atlases that read the same one have texts in common.")
    return tuple(said)
