"""`/embed/{slug}/L31N892`: a neuron for another site's frame; `/embed/{slug}/L31N892/{panel}`: one panel of its page.

The same for `/embed/{slug}/token/281`. An embed runs no script and sends no form; all its links lead out of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import g, redirect
from werkzeug.wrappers import Response

from atlas import Atlas
from atlas.core.names import is_neuron_name
from atlas.core.units import named_ref
from web.cards.svg import Card
from web.sections.fires import Fires
from web.sections.neuron import SECTIONS
from web.sections.predicts import Predicts
from web.sections.section import Section
from web.sections.texts import Texts
from web.sections.verdict import VerdictSection
from web.sections.writes import Writes
from web.site import urls
from web.site.errors import NotServedError
from web.site.page import AtlasPage, atlas_fields, doc, like_request, page, query_choice, query_int
from web.site.urls import Blueprint
from web.views.neuron import NeuronPage, neuron_page
from web.views.token import TokenPage, token_page

blueprint = Blueprint("embed", __name__)

THEMES = ("auto", "light", "dark")

GLANCE = (VerdictSection, Writes, Fires, Predicts, Texts)
"""Sections of which a neuron at a glance shows something."""

TOKEN_PANELS = (
    "firing",
    "relatives",
    "neurons",
    "curves",
    "causes",
    "texts",
    "pairs",
    "spellings",
    "candidates",
    "studies",
    "family",
    "kin",
    "numbers",
)
"""Panels of a token that can be embedded alone, in the page's order."""


@dataclass(frozen=True, kw_only=True)
class EmbedPage(AtlasPage):
    """What the template of every embed gets; `url` is the page that it shows and leads to."""

    panel: str | None = field(metadata=doc("The panel that is shown; null for the thing at a glance."))
    theme: str = field(metadata=doc("'light', 'dark', or 'auto' for the reader's setting.", json=False))
    page: AtlasPage = field(metadata=doc("The page that it shows.", json=False))

    def address(self) -> str:
        """Where the embed itself is."""
        return urls.embed(self.url, self.panel, None if self.theme == THEMES[0] else self.theme)

    def share_title(self) -> str:
        """The heading of the page that it shows."""
        return self.page.share_title()

    def card(self) -> Card:
        """The picture of the page that it shows."""
        return self.page.card()

    def as_json(self) -> dict[str, Any]:
        """The data of the page that it shows."""
        return self.page.as_json()


@dataclass(frozen=True, kw_only=True)
class NeuronEmbed(EmbedPage, template="embed_neuron.html"):
    """A neuron, or one panel of its page."""

    page: NeuronPage = field(metadata=doc("The neuron's page: every panel is a section of it.", json=False))
    section: Section | None = field(metadata=doc("The section that is the panel; null for the glance.", json=False))
    glance: dict[str, Section] = field(metadata=doc("The sections of a glance, by id.", json=False))


@dataclass(frozen=True, kw_only=True)
class TokenEmbed(EmbedPage, template="embed_token.html"):
    """A token, or one panel of its page."""

    page: TokenPage = field(metadata=doc("The token's page: every panel is drawn from its data.", json=False))


@page(blueprint, "/embed/<atlas:ref>/<name>")
def embedded_neuron(atlas: Atlas, name: str) -> NeuronEmbed | Response:
    """A neuron at a glance; other spellings lead to the canonical one."""
    return _neuron(atlas, name, None)


@page(blueprint, "/embed/<atlas:ref>/<name>/<panel>")
def embedded_neuron_panel(atlas: Atlas, name: str, panel: str) -> NeuronEmbed | Response:
    """One panel of a neuron's page; `31/892` leads to the neuron at a glance."""
    if is_neuron_name(f"{name}/{panel}"):
        return _neuron(atlas, f"{name}/{panel}", None)
    return _neuron(atlas, name, panel)


@page(blueprint, "/embed/<atlas:ref>/token/<int:token_id>")
def embedded_token(atlas: Atlas, token_id: int) -> TokenEmbed:
    """A token at a glance."""
    return _token(atlas, token_id, None)


@page(blueprint, "/embed/<atlas:ref>/token/<int:token_id>/<panel>")
def embedded_token_panel(atlas: Atlas, token_id: int, panel: str) -> TokenEmbed:
    """One panel of a token's page."""
    return _token(atlas, token_id, panel)


def _neuron(atlas: Atlas, name: str, panel: str | None) -> NeuronEmbed | Response:
    ref = named_ref(atlas, name)
    if name != ref.name:
        return redirect(like_request(urls.embed(urls.to("neuron", g.ref, ref.name), panel)), 301)
    shown = neuron_page(atlas, ref.neuron_id, query_int("token", None), framed=True)
    known = [] if panel is None else [kind.id for kind in SECTIONS if shown.reading[kind].sql]
    fields = _fields(atlas, shown, known, panel)
    section = next((shown.reading[kind] for kind in SECTIONS if kind.id == panel), None)
    glance = {kind.id: shown.reading[kind] for kind in GLANCE if panel is None}
    return NeuronEmbed(page=shown, section=section, glance=glance, **fields)


def _token(atlas: Atlas, token_id: int, panel: str | None) -> TokenEmbed:
    shown = token_page(atlas, token_id)
    kept = [name for name in TOKEN_PANELS if name in shown.panels]
    return TokenEmbed(page=shown, **_fields(atlas, shown, kept, panel))


def _fields(atlas: Atlas, shown: AtlasPage, panels: list[str], panel: str | None) -> dict[str, Any]:
    if panel is not None and panel not in panels:
        raise NotServedError(
            f"{shown.title} has no panel {panel!r} to embed; it has {', '.join(panels)}.", urls.embed(shown.url)
        )
    return {
        "title": shown.title,
        "url": shown.url,
        "description": shown.description,
        "panel": panel,
        "theme": query_choice("theme", THEMES, THEMES[0]),
        **atlas_fields(atlas),
    }
