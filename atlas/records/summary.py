"""Summaries and pages of longer lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atlas.records.congruence import ExclusivePair


@dataclass(frozen=True)
class LayerSummary:
    """One layer in numbers: means and extremes over its neurons. `n_exclusive` counts its exclusive pairs ('top')
    with ordinary tokens that occur; `activation_std` is the mean over neurons of each neuron's own."""

    layer: int
    n_neurons: int
    n_dead: int
    n_exclusive: int
    best_congruence_mean: float
    best_congruence_max: float
    token_gap_mean: float | None
    token_gap_max: float | None
    w_out_norm_mean: float
    activation_std: float
    activation_min: float
    activation_max: float
    positive_fraction: float


@dataclass(frozen=True)
class Notable:
    """A neuron worth a look, and why: in the tail of its activation it predicts the token far more than usual.

    `tail_fraction` is the fraction of the `tail_n` most extreme positions (in the pair's direction, whole bins) at
    which the token is predicted, `base_fraction` that of all positions.
    """

    pair: ExclusivePair
    tail_n: int
    tail_fraction: float
    base_fraction: float


@dataclass(frozen=True)
class Listing:
    """One page of a longer list: `rows` from `offset`, `total` in all, `limit` a page."""

    rows: tuple[Any, ...]
    total: int
    offset: int
    limit: int


@dataclass(frozen=True)
class QueryResult:
    """Answer of a user's SQL: names of the columns, and rows of values as DuckDB gives them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
