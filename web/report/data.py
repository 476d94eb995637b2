"""Sections of a report from the data: curves of the best pairs, families, predictiveness, causal effects."""

from __future__ import annotations

from atlas import Atlas
from atlas.core.display import show_share
from atlas.topics.curve import CURVES, of_pairs, pair_curves
from atlas.topics.family import FAMILY_CURVES, family_curves
from atlas.topics.overview import notable_neurons
from atlas.topics.pair_metric.effects import effects_sql, pair_effects
from atlas.topics.pair_metric.table import MIN_SUPPORT, metric_sides
from atlas.topics.predictiveness import contradictions, correlations, metric_density, metric_support
from atlas.topics.predictiveness_sql import MetricChoice, contradictions_sql, density_sql, rows_sql
from atlas.topics.verdict import verdict
from web.charts.curve import curves_chart
from web.charts.predictiveness import criteria_chart, layer_correlations_chart, pair_density_chart
from web.report.block import Panel, Section, panel
from web.views.prediction_words import correlation_words, effect_words, support_words

LISTED = 10
"""Pairs in a list."""

_AMONG = {"all": "all pairs", "congruent": "pairs that the neuron writes", "exclusive": "mutual best matches"}


_PREDICTED = """SELECT neuron, token, side, threshold, n_hits, n_beyond, "precision", recall, auroc, neuron_id, token_id
FROM neuron_prediction
WHERE predicts
ORDER BY f1_gain DESC, neuron_id
LIMIT 20"""


def firing(atlas: Atlas) -> Section:
    """Neurons whose firing predicts a token."""
    n = atlas.rows("SELECT count(*) FROM neuron_prediction WHERE predicts")[0][0]
    title, first = "Neurons whose firing predicts a token", atlas.query(_PREDICTED).rows[:1]
    text = f"The firing of {n:,} of {atlas.info.n_neurons:,} neurons predicts a token."
    if not first:
        return Section(title, (text,), finding=text)
    example = f"{first[0][0]} is the clearest. {verdict(atlas, first[0][-2]).text}"
    return Section(
        title,
        (f"{text} {example}", "Threshold: from there on (side 'negative': below it) the neuron counts as firing."),
        (panel(atlas, "The clearest, by F1 above chance", _PREDICTED),),
        f"{text} {example}",
    )


def best_curves(atlas: Atlas) -> Section:
    """Prediction curves of the best pairs, as in the post's figure."""
    notable = notable_neurons(atlas, 5)
    if not notable:
        return Section("Prediction curves of the best pairs", ("This atlas has no pair that is predicted.",))
    sentences = [
        f"{item.pair.neuron.name} and {item.pair.token.shown}: over the {item.tail_n:,} positions where the neuron "
        f"fires most, the token is predicted at {show_share(item.tail_fraction)}; over all positions at "
        f"{show_share(item.base_fraction)}."
        for item in notable
    ]
    drawn = pair_curves(atlas, [item.pair for item in notable])
    title = f"Predictions of exclusive pairs against the neuron’s activation, {atlas.info.model_name}"
    chart = curves_chart(
        "pairs", drawn, title=title, label=lambda c: f"{c.candidate.neuron.name} {c.candidate.token.shown}"
    )
    sql = CURVES.shown(**of_pairs(curve.candidate for curve in drawn))
    panels = [panel(atlas, "Predicted against activation", sql, charts=(chart,), table=False)]
    for item in notable[:2]:
        panels += _family(atlas, item.pair.neuron.neuron_id)
    return Section("Prediction curves of the best pairs", tuple(sentences), tuple(panels))


def _family(atlas: Atlas, neuron_id: int) -> list[Panel]:
    """Whether other spellings explain the misses of a neuron's curve."""
    panels = []
    for item in family_curves(atlas, neuron_id)[:1]:
        tail = item.tail
        names = ", ".join(member.token.shown for member in item.members[:8])
        sentence = (
            f"At the {tail.n:,} strongest positions of {item.neuron.name}, {item.token.shown} itself is predicted at "
            f"{tail.n_token:,}, any of its {len(item.members)} spellings ({names}) at {tail.n_family:,}."
        )
        panels.append(
            panel(
                atlas,
                f"{item.neuron.name} and the family of {item.token.shown}",
                FAMILY_CURVES.shown(
                    neuron_id=neuron_id, token_id=item.token.token_id, family_id=item.members[0].token.token_id
                ),
                sentence,
            )
        )
    return panels


def predictiveness(atlas: Atlas) -> Section:
    """Does congruence predict? The post's open question, over all pairs."""
    panels, sentences = [], []
    for side in reversed(metric_sides(gated=atlas.info.gated)):
        for pairs in ("all", "congruent", "exclusive"):
            metric = "average_precision" if pairs == "exclusive" else "auroc"
            choice = MetricChoice(side=side, pairs=pairs, metric=metric)
            panels += _compared(atlas, choice, whole=side == "positive" and pairs == "all")
    choice = MetricChoice()
    sentences = [
        support_words(metric_support(atlas, choice), choice),
        *correlation_words(correlations(atlas, choice), choice),
    ]
    sentences.append(
        f"Support: at least {MIN_SUPPORT} positions with the outcome, without it, and at which the neuron fires on the "
        "side. Pairs are candidates because they are congruent (or anti-congruent), so this is not a sample of all "
        "pairs. Intervals are bootstrap percentiles with the neuron as unit; pairs of one token and positions of one "
        "text are not independent either."
    )
    return Section("Does congruence predict?", tuple(sentences), tuple(panels), sentences[1])


def _compared(atlas: Atlas, choice: MetricChoice, whole: bool) -> list[Panel]:
    ranks, model = correlations(atlas, choice), atlas.info.model_name
    name = f"{choice.side} side, {_AMONG[choice.pairs]}"
    if not any(item.value is not None for item in ranks.criteria):
        return [Panel(f"Rank correlations, {name}", ("Too few pairs have support.",))]
    charts = (criteria_chart(ranks, choice, model), layer_correlations_chart(ranks, choice, model))
    words = tuple(correlation_words(ranks, choice))
    drawn = charts[:1] if choice.pairs == "exclusive" else charts  # too few pairs for layers
    panels = [Panel(f"Rank correlations, {name}", words, rows_sql(choice, named=True), None, drawn)]
    if not whole:
        return panels
    cells = metric_density(atlas, choice)
    denied, unpromised = contradictions(atlas, choice, LISTED)
    density = pair_density_chart(choice, cells, denied, unpromised, model, lambda pair: "")
    return [
        panel(atlas, "All pairs", density_sql(choice), charts=(density,), table=False),
        *panels,
        panel(
            atlas,
            "Pairs with a high criterion and a low metric, and the reverse",
            contradictions_sql(choice, LISTED),
        ),
    ]


def effects(atlas: Atlas) -> Section:
    """Effects of ablation."""
    measured = pair_effects(atlas, limit=1000)
    if not measured.total:
        return Section(
            "Exact ablations",
            ("This atlas has no ablations: `atlas effects FILE` measures them. Correlation is not cause.",),
        )
    sql = f"""SELECT neuron, token, side, n_positions, probability, probability_change, probability_change_low AS low,
       probability_change_high AS high, rank_change, logit_change, direct_effect, auroc_predicted AS auroc
FROM (
{effects_sql(limit=20)}
)"""
    return Section(
        "Exact ablations",
        (
            effect_words(measured.rows, measured.total),
            "Neurons were mean-ablated at positions of stored texts where they fire; changes are after minus before.",
        ),
        (panel(atlas, "Tokens that lose most", sql),),
        f"Ablation: {effect_words(measured.rows, measured.total)}",
    )
