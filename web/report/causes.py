"""Sections of a report on causes: attribution over all pairs, and published laws."""

from __future__ import annotations

from atlas import Atlas
from atlas.topics.causal import CAUSAL_PAIRS, INDIRECT, LAYER_MAGNITUDES, UNKEPT, causal_answers
from atlas.topics.driver import ranked_drivers
from atlas.topics.law import laws as read_laws
from atlas.topics.reliability import reliability, reliability_words
from web.charts.causal import causal_charts, law_chart
from web.report.block import Panel, Section, panel
from web.views.prediction_words import causal_words

LISTED = 10
"""Pairs in a list."""


def causes(atlas: Atlas) -> Section:
    """What is caused, by attribution."""
    title, answers = "What causes the prediction?", causal_answers(atlas)
    if not answers:
        return Section(title, ("This atlas has no attributions: `atlas attribute FILE` adds them.",))
    words = causal_words(answers[0])
    charts = causal_charts(answers[0], atlas.info.model_name)
    return Section(
        title,
        (*words, reliability_words(reliability(atlas))),
        (
            Panel("By layer", (), CAUSAL_PAIRS.shown(), None, charts),
            panel(atlas, "Neurons that oppose a prediction most", ranked_drivers(atlas, limit=2 * LISTED).shown()),
            panel(atlas, "The weights promise, and little is caused", UNKEPT.shown(limit=LISTED)),
            panel(atlas, "Caused, and not directly", INDIRECT.shown(limit=LISTED)),
            panel(atlas, "Mean magnitudes by layer", LAYER_MAGNITUDES.shown()),
        ),
        f"Causes: {words[0][0].lower()}{words[0][1:]} {words[-1]}",
    )


def laws(atlas: Atlas) -> Section:
    """Published laws about neurons, on this model."""
    asked, model = read_laws(atlas), atlas.info.model_name
    return Section(
        "Published laws",
        ("Each is counted as said here, which is not always how its source counted.",),
        tuple(
            Panel(
                law.title,
                (f"{law.source}.", law.measure, f"Published: {law.published}", f"Here: {law.answer}"),
                law.sql if law.layers else None,
                None,
                (law_chart(law, model),) if law.layers else (),
            )
            for law in asked
        ),
    )
