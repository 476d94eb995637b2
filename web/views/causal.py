"""`/{slug}/prediction/causes`: congruence against what is caused. `/{slug}/prediction/laws`: published laws."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import g

from atlas import Atlas
from atlas.topics.causal import (
    CAUSAL_PAIRS,
    INDIRECT,
    LAYER_MAGNITUDES,
    OPPOSED,
    UNKEPT,
    CausalAnswer,
    CausedPair,
    causal_answers,
    indirect_causes,
    unkept_promises,
)
from atlas.topics.law import Law
from atlas.topics.law import laws as read_laws
from atlas.topics.reliability import Reliability, reliability, reliability_words
from web.charts.causal import causal_charts, law_chart
from web.charts.chart import Chart
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, page
from web.site.urls import Blueprint
from web.views.prediction_words import PROMISE_WORDS, causal_words

blueprint = Blueprint("causal", __name__)

LISTED = 10
"""Pairs in each list."""


@dataclass(frozen=True, kw_only=True)
class CausalPage(AtlasPage, template="causal.html"):
    """What the weights promise against what is caused, over all pairs."""

    answer: CausalAnswer | None = field(metadata=doc("The comparison; null: attribution was off."))
    said: list[str] = field(metadata=doc("What it says, in sentences."))
    words: dict[str, str] = field(metadata=doc("Every criterion as people read it.", json=False))
    charts: tuple[Chart, ...] = field(
        metadata=doc("The correlation, and the share that remains, by layer.", json=False)
    )
    unkept: tuple[CausedPair, ...] = field(metadata=doc("Pairs that promise much and cause little."))
    indirect: tuple[CausedPair, ...] = field(metadata=doc("Pairs that cause much and not directly."))
    reliability: Reliability | None = field(metadata=doc("How well attributions estimate exact ablation."))
    reliability_said: str = field(metadata=doc("The same in words."))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@dataclass(frozen=True, kw_only=True)
class LawsPage(AtlasPage, template="laws.html"):
    """Published laws about neurons, each asked of this model."""

    laws: tuple[Law, ...] = field(metadata=doc("The laws, each with its figure by layer."))
    charts: tuple[Chart, ...] = field(metadata=doc("The shares by layer, a chart for each law.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each law."))


@page(blueprint, "/<atlas:ref>/prediction/causes")
def causal(atlas: Atlas) -> CausalPage:
    """Whether congruence tells what is caused; slow the first time, since it resamples all pairs."""
    answer, known = next(iter(causal_answers(atlas)), None), reliability(atlas)
    return CausalPage(
        title="What the neurons cause",
        url=urls.to("causal", g.ref),
        **atlas_fields(atlas),
        answer=answer,
        said=causal_words(answer) if answer else [],
        words=PROMISE_WORDS,
        charts=causal_charts(answer, atlas.info.model_name) if answer else (),
        unkept=tuple(unkept_promises(atlas, LISTED)),
        indirect=tuple(indirect_causes(atlas, LISTED)),
        reliability=known,
        reliability_said=reliability_words(known),
        panels={
            "pairs": CAUSAL_PAIRS.shown(),
            "layers": LAYER_MAGNITUDES.shown(),
            "opposed": OPPOSED.shown(),
            "unkept": UNKEPT.shown(limit=LISTED),
            "indirect": INDIRECT.shown(limit=LISTED),
        },
    )


@page(blueprint, "/<atlas:ref>/prediction/laws")
def laws(atlas: Atlas) -> LawsPage:
    """Published laws, on this model."""
    asked = tuple(read_laws(atlas))
    return LawsPage(
        title="Published laws",
        url=urls.to("laws", g.ref),
        **atlas_fields(atlas),
        laws=asked,
        charts=tuple(law_chart(law, atlas.info.model_name) for law in asked),
        panels={law.name: law.sql for law in asked},
    )
