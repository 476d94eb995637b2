"""Facets of a selection of neurons: counts by layer, kind and other values."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import sqlalchemy as sa

from atlas.core.db import Atlas
from atlas.core.statements import where
from atlas.core.units import Token
from atlas.topics.kind import count_kinds
from atlas.topics.neuron_list import EXCLUSIVE, NEURON_TABLE, NeuronSelection, known_conditions, neuron_conditions


@dataclass(frozen=True)
class FacetCount:
    """The number `n` of a selection's neurons with a value; where the value is a token's id, the token."""

    value: int | bool | str
    n: int
    token: Token | None = None


@dataclass(frozen=True)
class NeuronFacets:
    """Counts of a selection by layer, dead or not, exclusive pairs, kinds, and its most frequent best tokens.

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
"""Number of the most frequent best tokens to count."""

RECENT_SELECTIONS = 64
"""Selections whose facets are cached: a visitor who sorts and pages a list asks for the same ones again."""

_FACETS = """WITH selected AS (
    SELECT neuron_id, layer, dead, best_token_id
    FROM neuron{where}
),
paired AS (
    SELECT bool_or(direction = 'top') AS top, bool_or(direction = 'bottom') AS bottom
    FROM exclusive_pair SEMI JOIN selected USING (neuron_id)
    GROUP BY neuron_id
),
frequent AS (
    SELECT best_token_id, count(*) AS n FROM selected GROUP BY best_token_id
    ORDER BY n DESC, best_token_id LIMIT {frequent}
)
SELECT 'layer' AS facet, 'L' || layer AS value, count(*) AS n, NULL AS token_id
FROM selected GROUP BY layer
UNION ALL
SELECT 'dead', CASE WHEN dead THEN 'dead' ELSE 'not dead' END, count(*), NULL FROM selected GROUP BY dead
UNION ALL
SELECT 'exclusive pair', value, n, NULL
FROM (
    SELECT unnest(['in a top pair', 'in a bottom pair', 'in any pair', 'in no pair']) AS value,
           unnest([count(*) FILTER (top), count(*) FILTER (bottom), count(*),
                   (SELECT count(*) FROM selected) - count(*)]) AS n
    FROM paired
)
WHERE n > 0
{kinds}UNION ALL
SELECT 'best token', t."text", f.n, f.best_token_id FROM frequent AS f JOIN token AS t ON t.token_id = f.best_token_id
ORDER BY list_position(['layer', 'dead', 'exclusive pair', 'kind', 'best token'], facet),
         CASE facet WHEN 'layer' THEN substr(value, 2)::INTEGER ELSE -n END, token_id"""

_KINDS = """UNION ALL
SELECT 'kind', value, n, NULL
FROM (
    SELECT unnest(['prediction', 'suppression', 'partition', 'none of these', 'hub', 'token detector',
                   'entropy']) AS value,
           unnest([count(*) FILTER (kind = 'prediction'), count(*) FILTER (kind = 'suppression'),
                   count(*) FILTER (kind = 'partition'), count(*) FILTER (kind IS NULL), count(*) FILTER (hub),
                   (SELECT count(*) FROM token_detector SEMI JOIN selected USING (neuron_id)),
                   count(*) FILTER (entropy)]) AS n
    FROM neuron_kind SEMI JOIN selected USING (neuron_id)
)
WHERE n > 0
"""

_EXCLUSIVE = dict(zip(EXCLUSIVE, ("in a top pair", "in a bottom pair", "in any pair", "in no pair"), strict=True))


def facets_sql(selection: NeuronSelection) -> str:
    """Facets of a selection of neurons as one query, including the kinds, which `neuron_facets` counts in memory.

    Raises:
        QueryError: the selection names no column (see `neuron_conditions`).
    """
    return _sql(neuron_conditions(selection), _KINDS)


def _sql(conditions: list[sa.ColumnElement[bool]], kinds: str = "") -> str:
    return _FACETS.format(where=where(conditions, "    "), kinds=kinds, frequent=FREQUENT_TOKENS)


def neuron_facets(atlas: Atlas, selection: NeuronSelection) -> NeuronFacets:
    """The number of neurons in a selection, and its facets.

    Raises:
        QueryError: the selection names no column (see `neuron_conditions`).
    """
    recent = atlas.remembered("recent facets", lambda: lru_cache(RECENT_SELECTIONS)(partial(_count, atlas)))
    return recent(selection)


def _count(atlas: Atlas, selection: NeuronSelection) -> NeuronFacets:
    conditions = known_conditions(atlas, selection)
    counts: dict[str, dict[Any, int]] = defaultdict(dict)
    for facet, value, n, token_id in atlas.rows(_sql(conditions)):
        counts[facet][value if token_id is None else token_id] = n
    # Aggregated as one list: tens of thousands of rows would take a second.
    ids = atlas.select(sa.select(sa.func.list(NEURON_TABLE.c.neuron_id)).where(*conditions))[0][0] or []
    exclusive, dead = counts["exclusive pair"], counts["dead"]
    kinds = count_kinds(atlas, np.array(ids, np.int64))
    return NeuronFacets(
        len(ids),
        layer=tuple(FacetCount(int(value[1:]), n) for value, n in counts["layer"].items()),
        dead=tuple(FacetCount(word == "dead", dead[word]) for word in ("dead", "not dead") if word in dead),
        exclusive=tuple(FacetCount(key, exclusive[word]) for key, word in _EXCLUSIVE.items() if word in exclusive),
        kind=tuple(FacetCount(word, n) for word, n in kinds.items() if n),
        best_token=tuple(FacetCount(token, n, atlas.tokens[token]) for token, n in counts["best token"].items()),
    )
