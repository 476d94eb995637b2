"""`/{slug}/pairs`: exclusive pairs by score."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Blueprint, g

from atlas import Atlas, queries
from atlas.records import Listing
from web import urls
from web.page import AtlasPage, atlas_fields, doc, page, query_choice, query_int

blueprint = Blueprint("pairs", __name__)

PER_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class PairsPage(AtlasPage):
    """The ranking of exclusive pairs."""

    gated: bool = field(metadata=doc("Whether the MLP is gated; only then are there pairs at the bottom."))
    direction: str = field(metadata=doc("'top': each other's best. 'bottom': each other's worst."))
    every: bool = field(metadata=doc("Whether special tokens and tokens that never really come next are in the list."))
    pairs: Listing = field(metadata=doc("A page of the pairs; `rank` counts those left out too."))
    page: int = field(metadata=doc("Page of the list, from 1."))
    definitions: dict[str, str] = field(
        metadata=doc("What the schema says of each column of `exclusive_pair`.", json=False)
    )


@page(blueprint, "/<atlas:ref>/pairs", "pairs.html")
def pairs(atlas: Atlas) -> PairsPage:
    """The ranking of exclusive pairs."""
    direction = query_choice("direction", ("top", "bottom"), "top")
    every = query_choice("all", ("0", "1"), "0") == "1"
    number = query_int("page", 1, least=1)
    offset = (number - 1) * PER_PAGE
    return PairsPage(
        title="Exclusive pairs",
        url=urls.pairs(g.ref, direction, every, number),
        **atlas_fields(atlas),
        gated=atlas.info.gated,
        direction=direction,
        every=every,
        pairs=queries.exclusive_pairs(atlas, direction, every=every, limit=PER_PAGE, offset=offset),
        page=number,
        definitions=queries.column_comments(atlas, "exclusive_pair"),
    )
