"""`/bridge`: the atlases that are served, and what they share. `/bridge/token?text= an`: one token in all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import current_app, request

from atlas import Atlas
from atlas.core.display import show_token
from atlas.core.info import AtlasInfo
from atlas.topics.bridge import AtlasPair, BridgeToken, atlas_pairs, bridge_token_panels
from atlas.topics.bridge import bridge_token as read_bridge_token
from atlas.topics.tables import column_comments
from web.charts.chart import Chart
from web.charts.curve import curve_charts
from web.sections.curves import apart, pair_label
from web.site import urls
from web.site.page import Page, doc, page
from web.site.urls import AtlasRef, Blueprint

blueprint = Blueprint("bridge", __name__)

LONGEST = 1000
"""Characters of a text that is looked for; no token has more."""

METRICS = (
    "n_predicted",
    "base_rate_predicted",
    "auroc_predicted",
    "average_precision_predicted",
    "best_f1_predicted",
    "best_threshold_predicted",
    "precision_predicted",
    "recall_predicted",
    "lift_predicted",
)
"""Columns of `pair_metric` set side by side."""


@dataclass(frozen=True)
class Served:
    """An atlas that is served; `ref` is where its pages are."""

    ref: AtlasRef
    info: AtlasInfo


@dataclass(frozen=True, kw_only=True)
class BridgePage(Page, template="bridge.html"):
    """The atlases that are served, and what they share."""

    atlases: tuple[Served, ...] = field(metadata=doc("Every atlas, in the order of the command line."))
    pairs: tuple[AtlasPair, ...] = field(metadata=doc("Every two of them, and what they share."))


@dataclass(frozen=True, kw_only=True)
class BridgeTokenPage(Page, template="bridge_token.html"):
    """The same token, by its text, in every atlas; a form to ask for one."""

    text: str | None = field(metadata=doc("The text asked for; null if none was."))
    longest: int = field(metadata=doc("Most characters that are looked for.", json=False))
    refs: dict[str, AtlasRef] = field(metadata=doc("Where each atlas's pages are, by its slug.", json=False))
    found: tuple[BridgeToken, ...] = field(metadata=doc("What each atlas has of it."))
    names: tuple[str, ...] = field(
        metadata=doc("The best neuron of each atlas that has one, with the atlas: what can be compared.", json=False)
    )
    metrics: tuple[str, ...] = field(metadata=doc("Columns of `pair_metric` set side by side.", json=False))
    definitions: dict[str, str] = field(
        metadata=doc("What the schema says of the columns of `token` and `pair_metric`.", json=False)
    )
    curve_charts: tuple[Chart, ...] = field(
        metadata=doc("The best neurons' curves drawn: predicted, and actual.", json=False)
    )
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page, over all the atlases."))


def served() -> dict[str, Atlas]:
    """The atlases that are served, by slug."""
    return current_app.extensions["atlases"]


@page(blueprint, "/bridge")
def bridge() -> BridgePage:
    """The atlases that are served, and what they share."""
    atlases = served()
    return BridgePage(
        title="Atlases together",
        url=urls.to("bridge"),
        description=f"What {', '.join(atlas.info.model_name for atlas in atlases.values()) or 'no atlas'} share: "
        "models, data sets, tokens; and the way to the same token, or to neurons side by side, in several of them.",
        atlases=tuple(Served(AtlasRef(slug), atlas.info) for slug, atlas in atlases.items()),
        pairs=tuple(atlas_pairs(atlases)),
    )


@page(blueprint, "/bridge/token")
def bridge_token() -> BridgeTokenPage:
    """The same token in every atlas."""
    atlases = served()
    text = request.args.get("text", "")[:LONGEST] or None
    found = [] if text is None else [read_bridge_token(atlas, text) for atlas in atlases.values()]
    here = [item for item in found if item.row is not None]
    curves = apart([(item.slug, item.curve) for item in found if item.curve is not None])
    shown = here[0].row.token.shown if here else show_token(0, text, None)
    spelling = here[0].row.token.text if here else None
    return BridgeTokenPage(
        title="A token in every atlas" if text is None else f"Token {shown} in every atlas",
        url=urls.to("bridge_token", text=text),
        description=_description(shown, found) if text is not None else "The same token in every atlas, by its text.",
        text=text,
        longest=LONGEST,
        refs={slug: AtlasRef(slug) for slug in atlases},
        found=tuple(found),
        names=tuple(f"{item.slug}:{item.row.best_neuron.name}" for item in here),
        metrics=METRICS,
        definitions=_definitions(atlases),
        curve_charts=curve_charts(curves, f"Predictions of {shown} by activation", pair_label("neuron")),
        panels={} if spelling is None else bridge_token_panels([item.slug for item in here], spelling),
    )


def _description(shown: str, found: list[BridgeToken]) -> str:
    said = [
        f"{item.model_name}: {item.row.best_neuron.name}, predicted {item.row.n_predicted:,} times"
        if item.row
        else f"{item.model_name}: no such token"
        for item in found
    ]
    return f"The token {shown} and its best neuron in each model. {'; '.join(said)}."


def _definitions(atlases: dict[str, Atlas]) -> dict[str, str]:
    one = next(iter(atlases.values()), None)
    return {} if one is None else column_comments(one, "pair_metric") | column_comments(one, "token")
