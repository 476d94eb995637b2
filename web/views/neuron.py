"""`/{slug}/L31N892`: a neuron. `/{slug}/random`: some neuron."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from flask import g, redirect
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.names import NEURON_SPELLINGS, is_neuron_name
from atlas.core.units import named_ref, neuron_ref
from atlas.topics.neuron import Neuron, find_neuron
from atlas.topics.percentile import Neighbours
from web.cards.neuron import neuron_card
from web.cards.svg import Card
from web.charts.chart import Chart
from web.sections.neuron import PARTS, SECTIONS
from web.sections.predicts import Predicts
from web.sections.section import Reading, Section
from web.sections.texts import Texts
from web.sections.threshold import Explorer
from web.sections.writes import Writes
from web.site import urls
from web.site.errors import BadRequestError, NotServedError
from web.site.page import AtlasPage, atlas_fields, charts_of, doc, like_request, page, query_int
from web.site.urls import Blueprint

blueprint = Blueprint("neuron", __name__)


@dataclass(frozen=True, kw_only=True)
class NeuronPage(AtlasPage, template="neuron.html"):
    """Everything the atlas knows of a neuron, in sections."""

    neuron: Neuron = field(metadata=doc("Its numbers."))
    headline: str = field(metadata=doc("Its name and its verdict in a few words."))
    neighbours: Neighbours = field(
        metadata=doc("The neurons before and after it, and those of its rank in the layers below and above.")
    )
    reading: Reading = field(metadata=doc("Reads its sections.", json=False))
    sections: tuple[type[Section], ...] = field(metadata=doc("The sections, in their order.", json=False))

    def as_json(self) -> dict[str, Any]:
        """The data of all sections, and the SQL behind each."""
        sections = [self.reading[kind] for kind in self.sections]
        data = {name: value for section in sections for name, value in section.as_json().items()}
        return {**super().as_json(), **data, "panels": {item.id: item.sql for item in sections if item.sql}}

    def every_chart(self) -> list[Chart]:
        """The charts of its sections."""
        return [chart for kind in self.sections for chart in charts_of(self.reading[kind])]

    def share_title(self) -> str:
        """Its title for sites that show a link to it."""
        return f"{self.headline} · {self.model_name} · Neuron Atlas"

    def card(self) -> Card:
        """The neuron at a glance."""
        curves, texts = self.reading[Predicts].curves, self.reading[Texts].strongest
        (_, written), _ = self.reading[Writes].lists
        return neuron_card(
            self.neuron,
            self.reading.verdict.headline,
            written,
            self.reading.bars,
            curves[0] if curves else None,
            texts[0].shown if texts else None,
            self._footer(),
        )


@dataclass(frozen=True, kw_only=True)
class NeuronPartPage(AtlasPage, template="neuron_part.html"):
    """A section of a neuron's page by itself: what the page fetches when it is opened."""

    neuron: Neuron = field(metadata=doc("The neuron's numbers.", json=False))
    section: Section = field(metadata=doc("The section."))


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


@page(blueprint, "/<atlas:ref>/<name>/part/<section>")
def neuron_part(atlas: Atlas, name: str, section: str) -> NeuronPartPage | Response:
    """A section of a neuron's page."""
    if not is_neuron_name(name):
        raise NotFound
    ref = named_ref(atlas, name)
    url = urls.to("neuron_part", g.ref, ref.name, section)
    if section not in PARTS:
        raise NotServedError(
            f"A neuron's page has no part {section!r}; expected one of {', '.join(PARTS)}.",
            urls.to("neuron", g.ref, ref.name),
        )
    if name != ref.name:
        return redirect(like_request(url), 301)
    return part_page(Reading(atlas, find_neuron(atlas, ref.neuron_id)), section)


def part_page(reading: Reading, section: str) -> NeuronPartPage:
    """A section of a neuron that is read already, by itself."""
    record, part = reading.neuron, reading[PARTS[section]]
    url = urls.to("neuron_part", g.ref, record.name, section)
    title = f"{record.name}: {part.heading}"
    return NeuronPartPage(title=title, url=url, **atlas_fields(reading.atlas), neuron=record, section=part)


@page(blueprint, "/<atlas:ref>/random")
def random_neuron(atlas: Atlas) -> Response:
    """Leads to a neuron drawn anew each time, dead ones too: nothing is chosen for the reader."""
    ref = neuron_ref(atlas, secrets.randbelow(atlas.info.n_neurons))
    response = redirect(like_request(urls.to("neuron", g.ref, ref.name)), 302)
    response.headers["Cache-Control"] = "no-store"
    return response


def _description(reading: Reading, asked: Explorer | None) -> str:
    """What previews say of the page: what lies beyond the threshold that the address names, and the verdict."""
    neuron, name = reading.neuron, reading.atlas.info.model_name
    beyond = (
        ""
        if asked is None
        else f"Where its activation is {asked.shown['edge']}, “{asked.candidate.token.shown}” is the model’s top "
        f"prediction at {asked.shown['n_predicted']} of {asked.shown['n']} positions ({asked.shown['precision']}). "
    )
    return f"Neuron {neuron.index} of layer {neuron.layer} of {name}. {beyond}{reading.verdict.text}"


def neuron_page(atlas: Atlas, neuron_id: int, token_id: int | None, *, framed: bool = False) -> NeuronPage:
    """A neuron's page, or the page behind its frame on another site; `token_id` puts that candidate's curve first."""
    record = find_neuron(atlas, neuron_id)
    reading = Reading(atlas, record, token_id, framed=framed)
    explorer = reading[Predicts].explorer
    asked = explorer if explorer and explorer.asked else None
    threshold = asked and asked.threshold.edge
    return NeuronPage(
        title=record.name,
        url=urls.to("neuron", g.ref, record.name, token=token_id, threshold=threshold),
        **atlas_fields(atlas),
        description=_description(reading, asked),
        neuron=record,
        headline=f"{record.name} {reading.verdict.headline}",
        neighbours=reading.neighbours,
        reading=reading,
        sections=SECTIONS,
    )
