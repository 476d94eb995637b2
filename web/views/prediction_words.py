"""Sentences about the comparison of all pairs, and what is caused; every figure is read from its rows."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.core.display import show_number, show_share
from atlas.topics.causal import CausalAnswer
from atlas.topics.pair_metric.effects import PairEffect
from atlas.topics.predictiveness import Correlations, MetricSupport
from atlas.topics.predictiveness_sql import MetricChoice
from web.charts.predictiveness import CRITERION_WORDS, METRIC_WORDS

PROMISE_WORDS = {
    **CRITERION_WORDS,
    "fired_congruence": "congruence on the side on which it fires",
    "direct": "direct part",
}
"""Names of what attribution is compared with."""


def support_words(support: MetricSupport, choice: MetricChoice) -> str:
    """How many pairs can be judged."""
    share = f" ({show_share(support.n_supported / support.n_pairs, 2)})" if support.n_pairs else ""
    return (
        f"Of {support.n_pairs:,} candidate pairs with an ordinary token that occurs, {support.n_supported:,}{share} "
        f"have enough support for a metric on the {choice.side} side; in {support.n_congruent:,} of those the neuron "
        f"there writes the token, and {support.n_exclusive:,} are mutual best matches."
    )


def correlation_words(correlations: Correlations, choice: MetricChoice) -> list[str]:
    """Whether the selected criterion predicts, which criterion does best, and where in the model."""
    metric = f"{METRIC_WORDS[choice.metric]} ({choice.outcome})"
    known = [item for item in correlations.criteria if item.value is not None]
    if not known:
        return [f"{correlations.n_pairs:,} pairs are too few to tell."]
    selected = next((item for item in known if item.by == choice.by), None)
    sentences = []
    if selected is not None:
        sentences.append(
            f"{_strength(selected.value, selected.low, selected.high, CRITERION_WORDS[choice.by], metric)} over "
            f"{correlations.n_pairs:,} pairs of {correlations.n_neurons:,} neurons."
        )
    best = known[0]
    sure = [CRITERION_WORDS[i.by] for i in known[1:] if i.behind_low is not None and i.behind_low > 0]
    open_ = [CRITERION_WORDS[i.by] for i in known[1:] if i.behind_low is None or i.behind_low <= 0]
    text = f"Of the criteria, {CRITERION_WORDS[best.by]} is correlated with it most ({show_number(best.value, 2)})"
    if sure:
        text += f", ahead of {_listed(sure)}"
    sentences.append(text + (f"; its lead over {_listed(open_)} may be chance." if open_ else "."))
    layers = [item for item in correlations.layers if item.low is not None and item.value is not None]
    if layers:
        least, most = min(layers, key=lambda i: i.value), max(layers, key=lambda i: i.value)
        sentences.append(
            f"By layer, the correlation goes from {show_number(least.value, 2)} in layer {least.layer} to "
            f"{show_number(most.value, 2)} in layer {most.layer}; its interval lies above 0 in "
            f"{sum(item.low > 0 for item in layers)} of {len(layers)} layers, below 0 in "
            f"{sum(item.high < 0 for item in layers)}."
        )
    return sentences


def causal_words(answer: CausalAnswer) -> list[str]:
    """Whether congruence tells what is caused, where in the model, how much is direct, and who opposes."""
    best, layers = answer.criteria[0], [item for item in answer.layers if item.value is not None]
    congruence = next(item for item in answer.criteria if item.by == "congruence")
    sentences = [
        f"{_strength(congruence.value, congruence.low, congruence.high, 'congruence', 'attribution')} over "
        f"{answer.n_pairs:,} pairs of {answer.n_neurons:,} neurons and {answer.n_tokens:,} tokens, predicted at 10 or "
        f"more of {answer.n_positions:,} positions."
    ]
    if best.by != "congruence" and best.value is not None:
        sentences.append(f"Of the criteria, {PROMISE_WORDS[best.by]} does best ({show_number(best.value, 2)}).")
    if answer.direct.value is not None:
        sentences.append(
            f"The direct part, weights and activations together, is correlated with it at "
            f"{show_number(answer.direct.value, 2)}{_interval(answer.direct.low, answer.direct.high)}."
        )
    if layers:
        most, least = max(layers, key=lambda i: i.value), min(layers, key=lambda i: i.value)
        kept = [item for item in layers if item.kept is not None]
        last, rest = kept[-1], kept[:-1]
        sentences.append(
            f"By layer, congruence does best in layer {most.layer} ({show_number(most.value, 2)}"
            f"{_interval(most.low, most.high)}) and worst in layer {least.layer} ({show_number(least.value, 2)}"
            f"{_interval(least.low, least.high)}). Of each logit that a neuron of layer {last.layer} adds directly, "
            f"{show_number(last.kept, 2)} remains; in the other layers between "
            f"{show_number(min(i.kept for i in rest), 2)} and {show_number(max(i.kept for i in rest), 2)}."
            if rest
            else f"In layer {most.layer} the correlation is {show_number(most.value, 2)}."
        )
    opposed = answer.opposed
    sentences.append(
        f"Of {opposed.n_tokens:,} tokens, {opposed.n_opposed:,} have a neuron that opposes them more than any neuron "
        f"supports them; for {opposed.n_by_last_layer:,} of these it is in the last layer."
    )
    return sentences


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None else f", 95% interval {show_number(low, 2)} to {show_number(high, 2)}"


def _strength(value: float, low: float | None, high: float | None, by: str, metric: str) -> str:
    interval = _interval(low, high)
    by = by[0].upper() + by[1:]
    if low is None or low <= 0 <= high:
        verdict = f"{by} cannot be told from useless for {metric}"
    elif value < 0:
        verdict = f"The higher the {by.lower()}, the lower the {metric}"
    else:
        size = "barely" if value < 0.1 else "weakly" if value < 0.3 else "moderately" if value < 0.6 else "strongly"
        verdict = f"{by} is {size} correlated with {metric}"
    return f"{verdict}: rank correlation {show_number(value, 2)}{interval},"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def effect_words(effects: Sequence[PairEffect], total: int) -> str:
    """What ablating neurons did to their tokens, over the rows."""
    significant = sum(e.probability_change_high is not None and e.probability_change_high < 0 for e in effects)
    return (
        f"{total:,} pairs were measured; of the {len(effects):,} that lose most, {significant:,} lose probability "
        "significantly (their interval lies below 0)."
    )
