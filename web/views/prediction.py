"""`/{slug}/prediction`: does congruence predict? Every pair's promise against what the data keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from flask import g

from atlas import Atlas
from atlas.core.units import Listing
from atlas.topics.pair_metric.effects import effects_sql, pair_effects
from atlas.topics.pair_metric.table import MIN_SUPPORT, OUTCOMES, metric_sides
from atlas.topics.predictiveness import (
    ComparedPair,
    Correlations,
    DensityCell,
    MetricSupport,
    contradictions,
    metric_density,
    metric_support,
)
from atlas.topics.predictiveness import correlations as read_correlations
from atlas.topics.predictiveness_sql import (
    CRITERIA,
    METRICS,
    PAIRS,
    MetricChoice,
    contradictions_sql,
    density_sql,
    rows_sql,
    support_sql,
)
from atlas.topics.tables import column_comments
from web.charts.chart import Chart
from web.charts.predictiveness import (
    CRITERION_WORDS,
    METRIC_WORDS,
    criteria_chart,
    layer_correlations_chart,
    pair_density_chart,
)
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, page, query_choice
from web.site.urls import Blueprint
from web.views.prediction_words import correlation_words, effect_words, support_words

blueprint = Blueprint("prediction", __name__)

LISTED = 15
"""Pairs in each list of contradictions."""

EFFECTS = 30
"""Ablated pairs shown."""

_QUESTION = (
    "Does the congruence of a neuron with a token actually measure the extent to which the neuron predicts that token?"
)


@dataclass(frozen=True)
class Option:
    """One word that can be chosen."""

    value: str
    label: str
    url: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class PredictionPage(AtlasPage, template="prediction.html"):
    """What weights promise against what the data keep, over all pairs."""

    question: str = field(metadata=doc("The question that the post leaves open."))
    choice: MetricChoice = field(metadata=doc("What is compared, as in the URL: by, metric, outcome, side, pairs."))
    choices: dict[str, tuple[Option, ...]] = field(metadata=doc("What else can be compared, by parameter.", json=False))
    words: dict[str, str] = field(metadata=doc("The chosen criterion and metric as people read them.", json=False))
    state: dict[str, str] = field(metadata=doc("The choice as the URL has it.", json=False))
    least: int = field(metadata=doc("Positions that support needs at least.", json=False))
    support: MetricSupport = field(metadata=doc("How many pairs there are, and how many can be judged."))
    support_said: str = field(metadata=doc("The same in words."))
    density: tuple[DensityCell, ...] = field(metadata=doc("Pairs by criterion and metric."))
    density_chart: Chart | None = field(metadata=doc("The same drawn; null: no pair has support.", json=False))
    denied: tuple[ComparedPair, ...] = field(metadata=doc("Pairs whose weights promise and whose data deny."))
    kept: tuple[ComparedPair, ...] = field(metadata=doc("Pairs whose weights do not promise what the data show."))
    effects: Listing = field(metadata=doc("Pairs whose neuron was ablated where it fires, the greatest loss first."))
    effects_said: str = field(metadata=doc("What that did, in words; empty: nothing was ablated."))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of `pair_effect`.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))


@dataclass(frozen=True, kw_only=True)
class CorrelationsPage(AtlasPage, template="correlations.html"):
    """Rank correlations of criteria with a metric, over all pairs and by layer."""

    choice: MetricChoice = field(metadata=doc("What is compared, as in the URL."))
    words: dict[str, str] = field(metadata=doc("Every criterion as people read it.", json=False))
    correlations: Correlations = field(metadata=doc("The coefficients, their intervals and differences."))
    said: list[str] = field(metadata=doc("What they say, in sentences."))
    charts: tuple[Chart, ...] = field(metadata=doc("The criteria, and the chosen one by layer.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL of the pairs, from whose rows the coefficients are computed."))


def _words(atlas: Atlas) -> dict[str, tuple[str, ...]]:
    sides = tuple(reversed(metric_sides(gated=atlas.info.gated)))
    return {"by": CRITERIA, "metric": METRICS, "outcome": OUTCOMES, "side": sides, "pairs": PAIRS}


def _read(atlas: Atlas) -> tuple[MetricChoice, dict[str, str]]:
    usual = asdict(MetricChoice())
    chosen = {name: query_choice(name, words, usual[name]) for name, words in _words(atlas).items()}
    return MetricChoice(**chosen), {name: word for name, word in chosen.items() if word != usual[name]}


_LABELS = {
    **CRITERION_WORDS,
    **METRIC_WORDS,
    "all": "all with support",
    "congruent": "that the neuron writes",
    "exclusive": "each other’s best",
}


def _options(atlas: Atlas, choice: MetricChoice) -> dict[str, tuple[Option, ...]]:
    usual, chosen = asdict(MetricChoice()), asdict(choice)

    def url(name: str, word: str) -> str:
        state = chosen | {name: word}
        return urls.to("prediction", g.ref, **{key: value for key, value in state.items() if value != usual[key]})

    return {
        name: tuple(Option(word, _LABELS.get(word, word), url(name, word), word == chosen[name]) for word in words)
        for name, words in _words(atlas).items()
        if len(words) > 1
    }


@page(blueprint, "/<atlas:ref>/prediction")
def prediction(atlas: Atlas) -> PredictionPage:
    """Whether congruence predicts."""
    choice, state = _read(atlas)
    support, density = metric_support(atlas, choice), metric_density(atlas, choice)
    denied, unpromised = contradictions(atlas, choice, LISTED)
    effects = pair_effects(atlas, limit=EFFECTS)

    def link(pair: ComparedPair) -> str:
        return urls.to("neuron", g.ref, pair.neuron.name, token=pair.token.token_id)

    model = atlas.info.model_name
    sentence = support_words(support, choice)
    return PredictionPage(
        title="Does congruence predict?",
        url=urls.to("prediction", g.ref, **state),
        **atlas_fields(atlas),
        description=f"{_QUESTION} Every pair of {model}: {sentence}",
        question=_QUESTION,
        choice=choice,
        choices=_options(atlas, choice),
        words={"by": CRITERION_WORDS[choice.by], "metric": METRIC_WORDS[choice.metric]},
        state=state,
        least=MIN_SUPPORT,
        support=support,
        support_said=sentence,
        density=density,
        density_chart=pair_density_chart(choice, density, denied, unpromised, model, link) if density else None,
        denied=denied,
        kept=unpromised,
        effects=effects,
        effects_said=effect_words(effects.rows, effects.total) if effects.total else "",
        definitions=column_comments(atlas, "pair_effect"),
        panels={
            "support": support_sql(choice),
            "density": density_sql(choice),
            "contradictions": contradictions_sql(choice, LISTED),
            "effects": effects_sql(limit=EFFECTS),
        },
    )


@page(blueprint, "/<atlas:ref>/prediction/correlations")
def correlations(atlas: Atlas) -> CorrelationsPage:
    """Rank correlations; slow the first time, since it resamples all pairs."""
    choice, state = _read(atlas)
    ranks, model = read_correlations(atlas, choice), atlas.info.model_name
    known = any(item.value is not None for item in ranks.criteria)
    return CorrelationsPage(
        title="Rank correlations of weights and data",
        url=urls.to("correlations", g.ref, **state),
        **atlas_fields(atlas),
        choice=choice,
        words=CRITERION_WORDS,
        correlations=ranks,
        said=correlation_words(ranks, choice),
        charts=(criteria_chart(ranks, choice, model), layer_correlations_chart(ranks, choice, model)) if known else (),
        panels={"pairs": rows_sql(choice, named=True)},
    )
