"""Does congruence predict? Choices of what is compared, and what the comparison of all pairs finds."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.units import NeuronRef, Token


@dataclass(frozen=True)
class MetricChoice:
    """What is compared with what, over which pairs."""

    by: str = "congruence"
    """Criterion of the weights: one of `atlas.queries.CRITERIA`."""
    metric: str = "auroc"
    """Metric of the data: one of `atlas.queries.METRICS`."""
    outcome: str = "predicted"
    """What is to be predicted: 'predicted' (the model's top prediction) or 'actual' (what really comes next)."""
    side: str = "positive"
    """Side of zero on which the neuron fires: 'positive' or, in gated models, 'negative'."""
    pairs: str = "all"
    """'all': candidate pairs with support. 'congruent': those whose congruence on the side is above 0. 'exclusive':
    those that are each other's best on the side."""

    @property
    def column(self) -> str:
        """The metric's column of `pair_metric`."""
        return f"{self.metric}_{self.outcome}"


@dataclass(frozen=True)
class MetricSupport:
    """Candidate pairs of ordinary tokens that occur, on one side, and how many have a metric at all."""

    n_pairs: int
    """Pairs."""
    n_supported: int
    """Of those, pairs with support."""
    n_congruent: int
    """Of those with support, pairs whose congruence on the side is above 0."""
    n_exclusive: int
    """Of those with support, pairs that are each other's best on the side."""


@dataclass(frozen=True)
class DensityCell:
    """Pairs `n` in one cell of criterion (x) against metric (y); cells without any are left out."""

    x_lower: float
    x_upper: float
    y_lower: float
    y_upper: float
    n: int


@dataclass(frozen=True)
class ComparedPair:
    """A pair by what its weights promise and what the data keep."""

    neuron: NeuronRef
    """The neuron."""
    token: Token
    """The token."""
    criterion: float
    """The criterion's value, signs turned on the negative side."""
    metric: float
    """The metric's."""
    criterion_place: float
    """Share of the other pairs whose criterion is lower, 0 to 1."""
    metric_place: float
    """Share of the other pairs whose metric is lower, 0 to 1."""
    n_outcome: int
    """Positions with the outcome."""
    n_active: int
    """Positions at which the neuron fires on the side."""


@dataclass(frozen=True)
class Correlation:
    """How one criterion goes with the metric."""

    by: str
    """The criterion."""
    value: float | None
    """Spearman's rank correlation over all pairs. None: fewer than two pairs, or all equal."""
    low: float | None
    """Lower end of its 95% interval, by bootstrap over neurons. None: too few neurons."""
    high: float | None
    """Upper end."""
    behind: float | None
    """The best criterion's correlation less this one's, on the same pairs; 0 of the best itself."""
    behind_low: float | None
    """Lower end of that difference's 95% interval, from the same resamples."""
    behind_high: float | None
    """Upper end."""


@dataclass(frozen=True)
class LayerCorrelation:
    """How the chosen criterion goes with the metric in the pairs of one layer's neurons."""

    layer: int
    """Block, from 0."""
    n_pairs: int
    """Pairs with support."""
    value: float | None
    """Spearman's rank correlation. None: fewer than two pairs, or all equal."""
    low: float | None
    """Lower end of its 95% interval, by bootstrap over neurons."""
    high: float | None
    """Upper end."""


@dataclass(frozen=True)
class Correlations:
    """Rank correlations of criteria with a metric over the pairs of a choice."""

    n_pairs: int
    """Pairs."""
    n_neurons: int
    """Neurons that they are of."""
    n_sampled: int
    """Pairs that the bootstrap ran over: all, or those of neurons drawn at random where there are too many. Intervals
    of a sample are wider than need be."""
    n_resamples: int
    """Resamples of the bootstrap, whose unit is the neuron."""
    criteria: tuple[Correlation, ...]
    """By criterion, the best first."""
    layers: tuple[LayerCorrelation, ...]
    """By layer, for the criterion that was chosen."""


@dataclass(frozen=True)
class PairFigures:
    """A pair's figures on the side on which its neuron writes the token, for tables of pairs."""

    side: str
    """'positive', or 'negative' where the congruence is below 0 in a gated model."""
    auroc_predicted: float | None
    """See `pair_metric`."""
    average_precision_predicted: float | None
    """See `pair_metric`."""
    probability_change: float | None
    """See `pair_effect`. None: the pair was not measured."""


@dataclass(frozen=True)
class PairEffect:
    """A row of the table `pair_effect`, which see, with the pair's congruence and what its activation predicts."""

    neuron: NeuronRef
    token: Token
    side: str
    chosen_by: tuple[str, ...]
    n_positions: int
    activation_mean: float
    probability: float
    probability_change: float
    probability_change_low: float | None
    probability_change_high: float | None
    rank_median: float
    rank_change: float
    rank_change_low: float | None
    rank_change_high: float | None
    logit_change: float
    logit_change_low: float | None
    logit_change_high: float | None
    direct_effect: float
    congruence: float
    auroc_predicted: float | None
    average_precision_predicted: float | None
