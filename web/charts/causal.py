"""What neurons cause, and published laws, by layer."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.topics.causal import CausalAnswer
from atlas.topics.law import Law
from web.charts.by_layer import by_layer_chart
from web.charts.chart import Chart


@dataclass(frozen=True)
class _Kept:
    layer: int
    value: float | None
    low: float | None
    high: float | None


def causal_charts(answer: CausalAnswer, model: str) -> tuple[Chart, Chart]:
    """By layer: the correlation of congruence with attribution, and what remains of the direct part."""
    counts = [item.n_pairs for item in answer.layers]
    kept = [_Kept(item.layer, item.kept, item.kept_low, item.kept_high) for item in answer.layers]
    correlation = by_layer_chart(
        "causes",
        f"Congruence and attribution by layer, {model}",
        "Spearman’s rank correlation over the pairs of each layer’s neurons; lines are 95% intervals.",
        "rank correlation",
        answer.layers,
        counts,
        "pairs",
    )
    remains = by_layer_chart(
        "kept",
        f"Attribution for each logit of direct part, by layer, {model}",
        "Slope of attribution on direct part through the origin: 1 where nothing answers what a neuron writes. "
        "Lines are 95% intervals.",
        "logits that remain",
        kept,
        counts,
        "pairs",
    )
    return correlation, remains


def law_chart(law: Law, model: str) -> Chart:
    """The share of each layer's neurons for which a law is true."""
    return by_layer_chart(
        law.name,
        f"{law.title}: by layer, {model}",
        "Share of the layer’s neurons that can be judged; lines are 95% intervals (Wilson).",
        "share",
        law.layers,
        [layer.n for layer in law.layers],
        "neurons",
    )
