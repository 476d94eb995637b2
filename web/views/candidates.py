"""`/{slug}/L31N892/candidates`: every token whose predictions were counted with a neuron."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g, redirect
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.units import NeuronRef
from atlas.topics.curve import NEURON_CANDIDATES, Candidate
from atlas.topics.curve import neuron_candidates as read_neuron_candidates
from atlas.topics.pair_metric.effects import PairFigures, pair_figures
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page
from web.site.urls import Blueprint
from web.views.spread import named_neuron

blueprint = Blueprint("candidates", __name__)


@dataclass(frozen=True, kw_only=True)
class CandidatesPage(AtlasPage, template="neuron_candidates.html"):
    """A neuron's candidate pairs, each with how well the activation predicts its token."""

    neuron: NeuronRef = field(metadata=doc("The neuron."))
    candidates: tuple[Candidate, ...] = field(metadata=doc("Its pairs whose predictions were counted."))
    figures: tuple[PairFigures, ...] = field(
        metadata=doc("What is known of each of `candidates`, in their order: metrics, and effects where measured.")
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>/<name>/candidates")
def neuron_candidates(atlas: Atlas, name: str) -> CandidatesPage | Response:
    """A neuron's candidate pairs."""
    neuron = named_neuron(atlas, name)
    url = urls.to("neuron_candidates", g.ref, neuron.name)
    if name != neuron.name:
        return redirect(like_request(url), 301)
    candidates = tuple(read_neuron_candidates(atlas, neuron.neuron_id))
    pairs = [(neuron.neuron_id, item.token.token_id, item.congruence) for item in candidates]
    return CandidatesPage(
        title=f"Tokens counted with {neuron.name}",
        url=url,
        **atlas_fields(atlas),
        neuron=neuron,
        candidates=candidates,
        figures=tuple(pair_figures(atlas, pairs)),
        panels={"candidates": NEURON_CANDIDATES.shown(neuron_id=neuron.neuron_id)},
    )
