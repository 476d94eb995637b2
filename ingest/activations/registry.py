"""Every statistic of an atlas. A new one needs its module, its line here, and its table in schema.sql."""

from __future__ import annotations

from ingest.activations.counts import TokenCounts
from ingest.activations.example_kinds import Examples
from ingest.activations.pair_metrics import PairMetrics
from ingest.activations.predictions import FamilyHistogram, PredictionHistogram
from ingest.activations.signs import SignCases
from ingest.activations.statistic import Plan, Statistic
from ingest.activations.statistics import ActivationStatistics

STATISTICS: tuple[type[Statistic], ...] = (
    ActivationStatistics,  # First: it fills the bins and extremes that the others read.
    TokenCounts,
    PredictionHistogram,
    FamilyHistogram,
    SignCases,
    Examples,
)


DERIVED = (PairMetrics,)
"""Tables that follow from the statistics of some neurons."""


def make_statistics(plan: Plan) -> dict[str, Statistic]:
    """The statistics of a run, empty, by name."""
    made = ((kind.name, kind.make(plan)) for kind in _requested(plan))
    return {name: statistic for name, statistic in made if statistic is not None}


def bytes_of_state(plan: Plan) -> int:
    """Bytes of a run's statistics on the device at the end: they grow with neurons and pairs, not with texts."""
    return sum(kind.size(plan) for kind in _requested(plan))


def _requested(plan: Plan) -> list[type[Statistic]]:
    return [kind for kind in STATISTICS if kind.option is None or kind.option in plan.settings.statistics]
