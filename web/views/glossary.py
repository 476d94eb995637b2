"""`/{slug}/glossary`, `/glossary`: what every number means, and the SQL that computes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g

from atlas import Atlas
from atlas.api.calls import TERMS
from atlas.core.answer.asking import QueryResult
from atlas.core.term import Term
from web.site import urls
from web.site.page import AtlasPage, Page, atlas_fields, doc, page
from web.site.urls import Blueprint

blueprint = Blueprint("glossary", __name__)


@dataclass(frozen=True, kw_only=True)
class GlossaryPage(Page, template="glossary.html"):
    """Every term."""

    terms: tuple[Term, ...] = field(
        metadata=doc("Terms: name, anchor ('#' and it is the term's place), definition, SQL, source (null: none).")
    )


@dataclass(frozen=True, kw_only=True)
class AtlasGlossaryPage(AtlasPage, template="atlas_glossary.html"):
    """Every term, with what its SQL answers on this atlas."""

    terms: tuple[Term, ...] = field(
        metadata=doc("Terms: name, anchor ('#' and it is the term's place), definition, SQL, source (null: none).")
    )
    answers: dict[str, QueryResult] = field(metadata=doc("What the SQL of each term answers here, by anchor."))


@page(blueprint, "/glossary")
def glossary() -> GlossaryPage:
    """Every term."""
    return GlossaryPage(title="Glossary", url=urls.to("glossary"), terms=TERMS)


@page(blueprint, "/<atlas:ref>/glossary")
def atlas_glossary(atlas: Atlas) -> AtlasGlossaryPage:
    """Every term, with this atlas's numbers."""
    return AtlasGlossaryPage(
        title="Glossary",
        url=urls.to("atlas_glossary", g.ref),
        **atlas_fields(atlas),
        terms=TERMS,
        answers=atlas.remembered("glossary", lambda: {term.anchor: atlas.query(term.sql) for term in TERMS}),
    )
