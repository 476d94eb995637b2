"""`/{slug}`: the overview of an atlas."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, g

from atlas import Atlas, queries
from atlas.records import AtlasInfo, ExclusivePair, LayerSummary, Notable
from web import urls
from web.charts import Chart, layer_charts
from web.page import AtlasPage, atlas_fields, doc, page

blueprint = Blueprint("overview", __name__)

_PAIRS = 12


@dataclass(frozen=True, kw_only=True)
class OverviewPage(AtlasPage):
    """What an atlas is of, and where to start."""

    info: AtlasInfo = field(metadata=doc("The row of the table `atlas`."))
    versions: dict[str, Any] = field(metadata=doc("Versions of the program and the libraries that built the file."))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `atlas`.", json=False))
    notable: tuple[Notable, ...] = field(metadata=doc("Three neurons worth a look, and why."))
    pairs: tuple[ExclusivePair, ...] = field(metadata=doc("The best exclusive pairs of ordinary tokens that occur."))
    layers: tuple[LayerSummary, ...] = field(metadata=doc("Every layer in numbers."))
    layer_charts: tuple[Chart, ...] = field(metadata=doc("Congruence and activity by layer.", json=False))


@page(blueprint, "/<atlas:ref>", "overview.html")
def overview(atlas: Atlas) -> OverviewPage:
    """The overview of an atlas."""
    layers = atlas.remembered("layers", lambda: queries.layer_summaries(atlas))
    return OverviewPage(
        title=atlas.info.model_name,
        url=urls.overview(g.ref),
        **atlas_fields(atlas),
        info=atlas.info,
        versions=json.loads(atlas.info.versions),
        definitions=queries.column_comments(atlas, "atlas"),
        notable=tuple(atlas.remembered("notable", lambda: queries.notable_neurons(atlas))),
        pairs=queries.exclusive_pairs(atlas, limit=_PAIRS).rows,
        layers=tuple(layers),
        layer_charts=layer_charts(layers, lambda number: urls.layer(g.ref, number)),
    )
