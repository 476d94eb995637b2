"""Does congruence predict? Criteria of the weights compared with metrics of the data, over all pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.core.db import Atlas
from atlas.core.errors import QueryError
from atlas.core.stats import RESAMPLES, bootstrap_spearman, interval, number_or_none, spearman
from atlas.core.term import BEST_PAIR, POST, Term
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.pair_metric.table import OUTCOMES, metric_sides
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


@dataclass(frozen=True)
class MetricSupport:
    """Candidate pairs of ordinary tokens that occur, on one side, and how many have a metric."""

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
    """Pairs `n` in one cell of criterion (x) against metric (y); empty cells are left out."""

    x_lower: float
    x_upper: float
    y_lower: float
    y_upper: float
    n: int


@dataclass(frozen=True)
class ComparedPair:
    """A pair's criterion and metric."""

    neuron: NeuronRef
    """The neuron."""
    token: Token
    """The token."""
    criterion: float
    """The criterion's value, signs turned on the negative side."""
    metric: float
    """The metric's value."""
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
    """Correlation of one criterion with the metric."""

    by: str
    """The criterion."""
    value: float | None
    """Spearman's rank correlation over all pairs. None: fewer than two pairs, or all equal."""
    low: float | None
    """Lower end of its 95% interval, by bootstrap over neurons. None: too few neurons."""
    high: float | None
    """Upper end."""
    behind: float | None
    """The best criterion's correlation less this one's, on the same pairs; 0 for the best itself."""
    behind_low: float | None
    """Lower end of that difference's 95% interval, from the same resamples."""
    behind_high: float | None
    """Upper end."""


@dataclass(frozen=True)
class LayerCorrelation:
    """Correlation of the chosen criterion with the metric over the pairs of one layer's neurons."""

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
    """Neurons of these pairs."""
    n_sampled: int
    """Pairs that the bootstrap ran over: all, or those of randomly drawn neurons where there are too many. Intervals
    from a sample are wider than necessary."""
    n_resamples: int
    """Resamples of the bootstrap, whose unit is the neuron."""
    criteria: tuple[Correlation, ...]
    """By criterion, the best first."""
    layers: tuple[LayerCorrelation, ...]
    """By layer, for the criterion that was chosen."""


SAMPLED = 100_000
"""Most pairs that a bootstrap runs over."""


def check_choice(atlas: Atlas, choice: MetricChoice) -> None:
    """Check the words of a choice.

    Raises:
        QueryError: a word is unknown, or the model is not gated and has no negative side.
    """
    known = {
        "by": CRITERIA,
        "metric": METRICS,
        "outcome": OUTCOMES,
        "pairs": PAIRS,
        "side": metric_sides(gated=atlas.info.gated),
    }
    for name, words in known.items():
        word = getattr(choice, name)
        if word not in words:
            raise QueryError(f"{name} {word!r} cannot be compared; expected one of {', '.join(words)}.")


def metric_support(atlas: Atlas, choice: MetricChoice) -> MetricSupport:
    """How many candidate pairs there are on the choice's side, and how many have its metric.

    Raises:
        QueryError: the choice has an unknown word.
    """
    check_choice(atlas, choice)
    sql = support_sql(choice)
    return atlas.remembered(f"support {choice}", lambda: MetricSupport(*atlas.rows(sql)[0]))


def metric_density(atlas: Atlas, choice: MetricChoice) -> tuple[DensityCell, ...]:
    """Pairs by criterion and metric, in equal steps of both (of the square root, for all metrics but areas).

    Raises:
        QueryError: the choice has an unknown word.
    """
    check_choice(atlas, choice)
    sql = density_sql(choice)
    # There are hundreds of choices: an array of each is small, records would not be.
    cells = atlas.remembered_large(f"density {choice}", lambda: np.array(atlas.rows(sql), np.float64).reshape(-1, 5))
    rows: list[Any] = cells.tolist()
    return tuple(DensityCell(*edges, int(n)) for *edges, n in rows)


def contradictions(
    atlas: Atlas, choice: MetricChoice, limit: int = 15
) -> tuple[tuple[ComparedPair, ...], tuple[ComparedPair, ...]]:
    """The pairs whose place by criterion lies farthest above that by metric, and the reverse. Pairs whose places agree
    are in neither list.

    Raises:
        QueryError: the choice has an unknown word.
    """
    check_choice(atlas, choice)

    def make() -> tuple[tuple[ComparedPair, ...], tuple[ComparedPair, ...]]:
        lists: dict[str, list[ComparedPair]] = {"denied": [], "kept": []}
        for name, _, _, *numbers, neuron_id, token_id in atlas.rows(contradictions_sql(choice, limit)):
            lists[name].append(ComparedPair(neuron_ref(atlas, neuron_id), atlas.tokens[token_id], *numbers))
        return tuple(lists["denied"]), tuple(lists["kept"])

    return atlas.remembered_large(f"contradictions {limit} {choice}", make)


def correlations(atlas: Atlas, choice: MetricChoice) -> Correlations:
    """Rank correlation of every criterion with the metric, over the same pairs, and of the chosen one by layer. The
    first call takes seconds.

    Raises:
        QueryError: the choice has an unknown word.
    """
    check_choice(atlas, choice)
    return atlas.remembered_large(f"correlations {choice}", lambda: _correlations(atlas, choice))


def _correlations(atlas: Atlas, choice: MetricChoice) -> Correlations:
    columns = atlas.arrays(rows_sql(choice))
    neuron, outcome = np.asarray(columns["neuron_id"]), np.asarray(columns["metric"], np.float32)
    values = {by: np.asarray(columns[by]) for by in CRITERIA}
    names = np.unique(neuron)
    chosen = _sample(neuron, names)
    return Correlations(
        n_pairs=len(neuron),
        n_neurons=len(names),
        n_sampled=int(chosen.sum()),
        n_resamples=RESAMPLES,
        criteria=rank_criteria(values, outcome, neuron, chosen),
        layers=_layers(atlas, neuron, values[choice.by], outcome, chosen),
    )


def rank_criteria(
    values: Mapping[str, np.ndarray], outcome: np.ndarray, cluster: np.ndarray, chosen: np.ndarray | None = None
) -> tuple[Correlation, ...]:
    """Rank correlation of each criterion with an outcome, the best first. Arrays are [pair]; intervals resample the
    clusters of the `chosen` pairs (None: of all)."""
    names, columns = [*values], [*values.values()]
    here = slice(None) if chosen is None else chosen
    coefficients = spearman(columns, outcome)
    drawn = bootstrap_spearman([column[here] for column in columns], outcome[here], cluster[here])
    order = sorted(range(len(names)), key=lambda place: (-np.nan_to_num(coefficients[place], nan=-2), place))
    best = order[0]
    return tuple(
        Correlation(
            names[place],
            number_or_none(coefficients[place]),
            *interval(drawn[:, place]),
            number_or_none(coefficients[best] - coefficients[place]),
            *interval(drawn[:, best] - drawn[:, place]),
        )
        for place in order
    )


def _layers(
    atlas: Atlas, neuron: np.ndarray, values: np.ndarray, outcome: np.ndarray, chosen: np.ndarray
) -> tuple[LayerCorrelation, ...]:
    layer, correlations = neuron // atlas.info.d_mlp, []
    for number in range(atlas.info.n_layers):
        here = layer == number
        sampled = here & chosen
        value = spearman([values[here]], outcome[here])[0]
        drawn = bootstrap_spearman([values[sampled]], outcome[sampled], neuron[sampled])
        correlations.append(LayerCorrelation(number, int(here.sum()), number_or_none(value), *interval(drawn[:, 0])))
    return tuple(correlations)


def _sample(neuron: np.ndarray, names: np.ndarray) -> np.ndarray:
    """The pairs of the bootstrap: all, or all pairs of randomly drawn neurons, up to about SAMPLED."""
    if len(neuron) <= SAMPLED:
        return np.ones(len(neuron), bool)
    order = np.random.default_rng(0).permutation(len(names))
    place = np.searchsorted(names, neuron)
    ahead = np.cumsum(np.bincount(place, minlength=len(names))[order])
    drawn = np.zeros(len(names), bool)
    drawn[order[ahead <= SAMPLED]] = True
    return drawn[place]


TERMS = (
    Term(
        "Gaps of any pair",
        "pair-gaps",
        "For the pairs that are compared over the whole model: the congruence less the neuron's greatest other "
        "(token gap), or less the token's greatest other (neuron gap). They are above 0 only for the best, where "
        "they are the usual gaps. "
        "The score is the product where both are above 0, else the lesser of the two.",
        f"""{BEST_PAIR}SELECT neuron, token,
       c.congruence - CASE n.best_token_id WHEN c.token_id THEN n.best_congruence - n.token_gap
                      ELSE n.best_congruence END AS token_gap,
       c.congruence - CASE t.best_neuron_id WHEN c.neuron_id THEN t.best_congruence - t.neuron_gap
                      ELSE t.best_congruence END AS neuron_gap
FROM best JOIN candidate_pair AS c USING (neuron_id, token_id)
JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)""",
        POST,
    ),
    Term(
        "Rank correlation",
        "rank-correlation",
        "Spearman's coefficient: the correlation of ranks, 1 where one number always rises with the other, equal "
        "values sharing their mean rank. Its intervals here come from resampling neurons, each with all its pairs.",
        """WITH pair AS (
    SELECT congruence, auroc_predicted AS metric
    FROM pair_metric JOIN candidate_pair USING (neuron_id, token_id) JOIN token AS t USING (token_id)
    WHERE side = 'positive' AND auroc_predicted IS NOT NULL AND NOT t.special AND t.n_actual > 0
),
ranked AS (
    SELECT rank() OVER (ORDER BY congruence) + (count(*) OVER (PARTITION BY congruence) - 1) / 2 AS a,
           rank() OVER (ORDER BY metric) + (count(*) OVER (PARTITION BY metric) - 1) / 2 AS b
    FROM pair
)
SELECT corr(a, b) AS rank_correlation, count(*) AS pairs FROM ranked""",
        "Spearman, American Journal of Psychology 15 (1904), 72",
    ),
)
