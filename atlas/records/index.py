"""The index of neurons: which are selected, where a page of them starts, the page, and how the selection divides."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.units import Neuron, Token


@dataclass(frozen=True)
class Bound:
    """What a column's value must be: at least (`op` 'gte') or at most ('lte') a value. NULL is neither."""

    column: str
    op: str
    value: float | int


@dataclass(frozen=True)
class NeuronSelection:
    """Which neurons: those for which everything that is not None holds, both ends of the layers included.

    `exclusive` is 'top' or 'bottom' (in an exclusive pair of that direction), 'any' (of either) or 'none'; `kind` is
    'prediction', 'suppression', 'partition', 'other' (none of these), 'hub' or 'detector'.
    """

    layer_min: int | None = None
    layer_max: int | None = None
    best_token_id: int | None = None
    worst_token_id: int | None = None
    dead: bool | None = None
    exclusive: str | None = None
    kind: str | None = None
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True)
class Cursor:
    """A place in the sorted list: a value of the column it is sorted by (None: NULL), and a neuron_id.

    It need not be a neuron's own place, so that a list can be entered anywhere.
    """

    value: float | int | None
    neuron_id: int


@dataclass(frozen=True)
class NeuronIndex:
    """A page of a selection: `rows` from place `offset` of `total`; the cursors of its neighbours, None at the ends."""

    rows: tuple[Neuron, ...]
    total: int
    offset: int
    next: Cursor | None
    previous: Cursor | None


@dataclass(frozen=True)
class FacetCount:
    """How many neurons `n` of a selection have a value; where it is a token's id, the token."""

    value: int | bool | str
    n: int
    token: Token | None = None


@dataclass(frozen=True)
class NeuronFacets:
    """How a selection divides: by layer, dead or not, exclusive pairs, kinds, and its most frequent best tokens.

    A value that no neuron of the selection has is left out. `exclusive` counts 'top', 'bottom', 'any' and 'none':
    a neuron may be in a pair of each direction. `kind` counts those of `NeuronSelection`, which overlap too.
    """

    total: int
    layer: tuple[FacetCount, ...]
    dead: tuple[FacetCount, ...]
    exclusive: tuple[FacetCount, ...]
    kind: tuple[FacetCount, ...]
    best_token: tuple[FacetCount, ...]
