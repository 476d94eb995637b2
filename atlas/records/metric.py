"""How well activation predicts: rows of the table `pair_metric`."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.index import Bound
from atlas.records.units import NeuronRef, Token


@dataclass(frozen=True)
class PairMetric:
    """How well a neuron's activation, on one side of zero, predicts a token: a row of the table `pair_metric`, which
    see for each column's meaning and unit; with the pair's congruence and why it was counted.

    Metrics are None where support is too small (see `atlas.metrics.MIN_SUPPORT`).
    """

    neuron: NeuronRef
    token: Token
    side: str
    congruence: float
    sources: tuple[str, ...]
    n_positions: int
    n_active: int
    n_predicted: int
    n_actual: int
    top_bin: int | None
    top_bin_n: int | None
    base_rate_predicted: float
    auroc_predicted: float | None
    auroc_predicted_error: float | None
    average_precision_predicted: float | None
    average_precision_predicted_lower: float | None
    average_precision_predicted_upper: float | None
    best_threshold_predicted: float | None
    best_f1_predicted: float | None
    precision_predicted: float | None
    precision_predicted_low: float | None
    precision_predicted_high: float | None
    recall_predicted: float | None
    top_bin_predicted: float | None
    top_bin_predicted_low: float | None
    top_bin_predicted_high: float | None
    top_thousandth_predicted: float | None
    top_thousandth_predicted_lower: float | None
    top_thousandth_predicted_upper: float | None
    lift_predicted: float | None
    mutual_information_predicted: float | None
    slope_predicted: float | None
    monotonicity_predicted: float | None
    base_rate_actual: float
    auroc_actual: float | None
    auroc_actual_error: float | None
    average_precision_actual: float | None
    average_precision_actual_lower: float | None
    average_precision_actual_upper: float | None
    best_threshold_actual: float | None
    best_f1_actual: float | None
    precision_actual: float | None
    precision_actual_low: float | None
    precision_actual_high: float | None
    recall_actual: float | None
    top_bin_actual: float | None
    top_bin_actual_low: float | None
    top_bin_actual_high: float | None
    top_thousandth_actual: float | None
    top_thousandth_actual_lower: float | None
    top_thousandth_actual_upper: float | None
    lift_actual: float | None
    mutual_information_actual: float | None
    slope_actual: float | None
    monotonicity_actual: float | None


@dataclass(frozen=True, kw_only=True)
class MetricFilter:
    """Which rows: those for which everything that is not None holds, both ends of the layers included.

    `every` keeps special tokens and tokens that never really come next; `token` is a text that the token's contains,
    case aside; `exclusive` is 'top' or 'bottom' (the pair is exclusive in that direction), 'any' (in either) or 'none';
    `bounds` are of METRIC_SORTS (see `atlas.queries`).
    """

    side: str | None = None
    every: bool = False
    layer_min: int | None = None
    layer_max: int | None = None
    token: str | None = None
    exclusive: str | None = None
    bounds: tuple[Bound, ...] = ()
