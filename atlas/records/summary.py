"""Summaries and pages of longer lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atlas.records.congruence import ExclusivePair
from atlas.records.units import Neuron, NeuronRef, TokenRow


@dataclass(frozen=True)
class LayerSummary:
    """One layer in numbers: means and extremes over its neurons. `n_exclusive` counts its exclusive pairs ('top')
    with ordinary tokens that occur; `activation_std` is the mean over neurons of each one's own, `most_active_neuron`
    the one of the greatest. `best_neuron` has the greatest congruence."""

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
    best_neuron: NeuronRef
    activation_std_max: float
    most_active_neuron: NeuronRef


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
class Highlights:
    """What an overview points at: notable neurons, those of single tokens, hubs, and every layer in numbers."""

    notable: tuple[Notable, ...]
    single_token: tuple[Neuron, ...]
    hub_tokens: tuple[TokenRow, ...]
    hub_neurons: tuple[Neuron, ...]
    layers: tuple[LayerSummary, ...]


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


@dataclass(frozen=True)
class SchemaColumn:
    """A column of a table or view: its name, its type in DuckDB's words, what the schema says of it."""

    name: str
    type: str
    comment: str | None


@dataclass(frozen=True)
class SchemaTable:
    """A table or a view (for people, ids resolved), what the schema says of it, its columns in order."""

    name: str
    comment: str | None
    view: bool
    columns: tuple[SchemaColumn, ...]


@dataclass(frozen=True)
class TableSize:
    """How large a table is."""

    rows: int
    """Its rows."""
    bytes: int
    """What it takes of the atlas's file; a block that it shares with another table counts for both."""
