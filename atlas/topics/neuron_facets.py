"""How the neurons of a selection divide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import sqlalchemy as sa

from atlas.core.db import Atlas
from atlas.core.units import Token
from atlas.topics.kind import count_kinds
from atlas.topics.neuron_list import EXCLUSIVE, NEURON_TABLE, PAIR_TABLE, NeuronSelection, known_conditions


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


FREQUENT_TOKENS = 10
"""Most frequent best tokens that are counted."""

RECENT_SELECTIONS = 64
"""Selections whose facets are kept: who sorts and pages a list asks for the same ones again."""


def neuron_facets(atlas: Atlas, selection: NeuronSelection) -> NeuronFacets:
    """How many neurons a selection has, and how they divide.

    Raises:
        QueryError: the selection names no column (see `neuron_conditions`).
    """
    recent = atlas.remembered("recent facets", lambda: lru_cache(RECENT_SELECTIONS)(partial(_count, atlas)))
    return recent(selection)


def _count(atlas: Atlas, selection: NeuronSelection) -> NeuronFacets:
    n, number = NEURON_TABLE.c, sa.func.count().label("number")
    conditions = known_conditions(atlas, selection)

    def counted(column: sa.ColumnElement) -> sa.Select:
        return sa.select(column, number).where(*conditions).group_by(column)

    layers = atlas.select(counted(n.layer).order_by(n.layer))
    dead = atlas.select(counted(n.dead).order_by(n.dead.desc()))
    tokens = atlas.select(counted(n.best_token_id).order_by(number.desc(), n.best_token_id).limit(FREQUENT_TOKENS))
    p = PAIR_TABLE.c
    # A neuron is in at most one pair of each direction, so rows count neurons but for those in both.
    top, bottom, either = atlas.select(
        sa.select(
            sa.func.count().filter(p.direction == "top"),
            sa.func.count().filter(p.direction == "bottom"),
            sa.func.count(p.neuron_id.distinct()),
        )
        .select_from(PAIR_TABLE.join(NEURON_TABLE, p.neuron_id == n.neuron_id))
        .where(*conditions)
    )[0]
    # As one list: tens of thousands of rows would take a second.
    ids = np.array(atlas.select(sa.select(sa.func.list(n.neuron_id)).where(*conditions))[0][0] or [], np.int64)
    total = sum(count for _, count in layers)
    exclusive = zip(EXCLUSIVE, (top, bottom, either, total - either), strict=True)
    return NeuronFacets(
        total,
        layer=tuple(FacetCount(layer, count) for layer, count in layers),
        dead=tuple(FacetCount(value, count) for value, count in dead),
        exclusive=tuple(FacetCount(word, count) for word, count in exclusive if count),
        kind=tuple(FacetCount(word, count) for word, count in count_kinds(atlas, ids).items() if count),
        best_token=tuple(FacetCount(token_id, count, atlas.tokens[token_id]) for token_id, count in tokens),
    )
