"""`/{slug}/exclusive`: tokens by how far their best neuron leads the second."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Blueprint, g

from atlas import Atlas, queries
from atlas.records import Listing
from web import urls
from web.page import AtlasPage, atlas_fields, doc, page, query_choice, query_int

blueprint = Blueprint("exclusive", __name__)

PER_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class ExclusivePage(AtlasPage):
    """Tokens by neuron gap."""

    every: bool = field(metadata=doc("Whether special tokens and tokens that never really come next are in the list."))
    tokens: Listing = field(metadata=doc("A page of the tokens."))
    page: int = field(metadata=doc("Page of the list, from 1."))
    definitions: dict[str, str] = field(
        metadata=doc("What the schema says of each column of `token_exclusivity`.", json=False)
    )


@page(blueprint, "/<atlas:ref>/exclusive", "exclusive.html")
def exclusive(atlas: Atlas) -> ExclusivePage:
    """Tokens by neuron gap."""
    every = query_choice("all", ("0", "1"), "0") == "1"
    number = query_int("page", 1, least=1)
    return ExclusivePage(
        title="Exclusive tokens",
        url=urls.exclusive(g.ref, every, number),
        **atlas_fields(atlas),
        every=every,
        tokens=queries.token_exclusivities(atlas, every=every, limit=PER_PAGE, offset=(number - 1) * PER_PAGE),
        page=number,
        definitions=queries.column_comments(atlas, "token_exclusivity"),
    )
