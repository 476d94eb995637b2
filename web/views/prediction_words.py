"""Sentences about the comparison of all pairs; every figure is read from its rows."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.core.display import show_number, show_share
from atlas.topics.pair_metric.effects import PairEffect
from atlas.topics.predictiveness import Correlations, MetricSupport
from atlas.topics.predictiveness_sql import MetricChoice
from web.charts.predictiveness import CRITERION_WORDS, METRIC_WORDS


def support_words(support: MetricSupport, choice: MetricChoice) -> str:
    """How many pairs can be judged."""
    share = f" ({show_share(support.n_supported / support.n_pairs, 2)})" if support.n_pairs else ""
    return (
        f"Of {support.n_pairs:,} candidate pairs with an ordinary token that occurs, {support.n_supported:,}{share} "
        f"have support enough for a metric on the {choice.side} side; in {support.n_congruent:,} of those the neuron "
        f"there writes the token, and {support.n_exclusive:,} are each other’s best."
    )


def correlation_words(correlations: Correlations, choice: MetricChoice) -> list[str]:
    """Whether the chosen criterion predicts, which criterion does best, and where in the model."""
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
    text = f"Of the criteria, {CRITERION_WORDS[best.by]} goes with it best ({show_number(best.value, 2)})"
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


def _strength(value: float, low: float | None, high: float | None, by: str, metric: str) -> str:
    interval = f", 95% interval {show_number(low, 2)} to {show_number(high, 2)}" if low is not None else ""
    by = by[0].upper() + by[1:]
    if low is None or low <= 0 <= high:
        verdict = f"{by} cannot be told from useless for {metric}"
    elif value < 0:
        verdict = f"The higher the {by.lower()}, the lower the {metric}"
    else:
        size = "hardly" if value < 0.1 else "weakly" if value < 0.3 else "moderately" if value < 0.6 else "strongly"
        verdict = f"{by} goes {size} with {metric}"
    return f"{verdict}: rank correlation {show_number(value, 2)}{interval},"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def effect_words(effects: Sequence[PairEffect], total: int) -> str:
    """What ablating neurons did to their tokens, over the rows."""
    surely = sum(e.probability_change_high is not None and e.probability_change_high < 0 for e in effects)
    return (
        f"{total:,} pairs were measured; of the {len(effects):,} that lose most, {surely:,} surely lose probability "
        "(their interval lies below 0)."
    )
