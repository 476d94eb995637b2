"""`/{slug}/L31N892/family`: whether the noise of a neuron's curve goes with its token's other spellings."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g, redirect
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.units import NeuronRef
from atlas.topics.curve import Curve
from atlas.topics.family import FAMILY_CURVES, FamilyCurve, family_curves
from web.charts.chart import Chart
from web.charts.curve import curves_chart
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page
from web.site.urls import Blueprint
from web.views.spread import named_neuron

blueprint = Blueprint("family", __name__)


@dataclass(frozen=True, kw_only=True)
class FamilyPage(AtlasPage, template="neuron_family.html"):
    """Predictions of a neuron's best (and worst) token alone and with its family."""

    neuron: NeuronRef = field(metadata=doc("The neuron."))
    families: tuple[FamilyCurve, ...] = field(
        metadata=doc("Of its best token, then (gated models) of its worst: those that have other spellings.")
    )
    charts: tuple[Chart, ...] = field(metadata=doc("A chart of each.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@page(blueprint, "/<atlas:ref>/<name>/family")
def neuron_family(atlas: Atlas, name: str) -> FamilyPage | Response:
    """A neuron's tokens and their families."""
    neuron = named_neuron(atlas, name)
    url = urls.to("neuron_family", g.ref, neuron.name)
    if name != neuron.name:
        return redirect(like_request(url), 301)
    families = tuple(family_curves(atlas, neuron.neuron_id))
    return FamilyPage(
        title=f"{neuron.name} and families of tokens",
        url=url,
        **atlas_fields(atlas),
        neuron=neuron,
        families=families,
        charts=tuple(_chart(one, atlas.info.model_name) for one in families),
        panels={
            one.direction: FAMILY_CURVES.shown(
                neuron_id=neuron.neuron_id, token_id=one.token.token_id, family_id=one.members[0].token.token_id
            )
            for one in families
        },
    )


def _chart(one: FamilyCurve, model: str) -> Chart:
    whole = Curve(one.alone.candidate, one.points)
    return curves_chart(
        one.direction,
        (one.alone, whole),
        title=f"Predictions of {one.token.shown} and its family by activation of {one.neuron.name}, {model}",
        label=lambda curve: one.token.shown if curve is one.alone else "any spelling of it",
    )
