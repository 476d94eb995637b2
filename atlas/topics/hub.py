"""Hubs: neurons and tokens that are best for many, and the skewness of k-occurrence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.term import Term
from atlas.core.units import NeuronRef, Token, neuron_ref


@dataclass(frozen=True)
class HubNeuron:
    """A neuron by how many tokens it is the best neuron of; `share` of all tokens; `n_lists` the tokens among whose k
    best neurons it is."""

    neuron: NeuronRef
    hub_count: int
    share: float
    n_lists: int


@dataclass(frozen=True)
class HubToken:
    """A token by how many neurons it is the best token of; `share` of all neurons; `n_lists` the neurons among whose k
    best tokens it is."""

    token: Token
    hub_count: int
    share: float
    n_lists: int


@dataclass(frozen=True)
class Occurrence:
    """Distribution of k-occurrence: in how many of `n_lists` lists of the k best each of `n_units` units is.

    `counts` are (occurrence, units with it), ascending, 0 included; skewness is the third standardised moment, which
    is 0 where no unit is favoured (None: all are in equally many).
    """

    k: int
    n_units: int
    n_lists: int
    n_never: int
    greatest: int
    mean: float
    skewness: float | None
    counts: tuple[tuple[int, int], ...]


_LISTS = """
SELECT {unit} AS unit, count(*)::INTEGER AS n FROM {table} WHERE direction = 'top' AND rank <= ? GROUP BY ALL
"""

_HUBS = """SELECT /*+u.{name} AS {unit}, */u.hub_count AS best_of,
       /*+u.hub_count / {n_others} AS share_of_{other}s, coalesce(l.n, 0) AS in_lists, */u.{unit}_id
FROM {unit} AS u/*+ LEFT JOIN (
    SELECT {unit}_id, count(*) AS n FROM {other}_{unit} WHERE direction = 'top' AND rank <= $k GROUP BY {unit}_id
) AS l USING ({unit}_id)*/
WHERE u.hub_count > 0
ORDER BY u.hub_count DESC, u.{unit}_id
LIMIT $limit"""

HUB_NEURONS = Statement(_HUBS.format(unit="neuron", name="name", other="token", n_others="(SELECT d_vocab FROM atlas)"))
HUB_TOKENS = Statement(
    _HUBS.format(unit="token", name='"text"', other="neuron", n_others="(SELECT count(*) FROM neuron)")
)

_OCCURRENCES = """WITH listed AS (
    SELECT neuron_id, count(*) AS n FROM token_neuron WHERE direction = 'top' AND rank <= $k GROUP BY neuron_id
),
named AS (
    SELECT token_id, count(*) AS n FROM neuron_token WHERE direction = 'top' AND rank <= $k GROUP BY token_id
),
occurrence AS (
    SELECT 'neurons' AS units, coalesce(n, 0) AS in_lists FROM neuron LEFT JOIN listed USING (neuron_id)
    UNION ALL
    SELECT 'tokens', coalesce(n, 0) FROM token LEFT JOIN named USING (token_id)
)"""

OCCURRENCE = Statement(
    _OCCURRENCES
    + """,
centred AS (SELECT *, in_lists - avg(in_lists) OVER (PARTITION BY units) AS deviation FROM occurrence)
SELECT units, count(*) AS n, avg(in_lists) AS mean, max(in_lists) AS greatest,
       count(*) FILTER (in_lists = 0) AS in_none,
       avg(deviation ** 3) / nullif(avg(deviation ** 2), 0) ** 1.5 AS skewness
FROM centred
GROUP BY units
ORDER BY units"""
)
"""Distribution of neurons and tokens over the lists of the `$k` best; pages compute it once."""

DISTRIBUTION = Statement(
    _OCCURRENCES
    + """
SELECT units, in_lists, count(*) AS n,
       sum(count(*)) OVER (PARTITION BY units ORDER BY in_lists DESC) AS n_at_least
FROM occurrence
GROUP BY units, in_lists
ORDER BY units, in_lists"""
)
"""Counts of units by the number of lists that contain them."""


def skewness(values: np.ndarray) -> float | None:
    """Third standardised moment. None: all values are equal."""
    deviations = values - values.mean()
    std = np.sqrt(np.mean(deviations**2))
    return float(np.mean(deviations**3) / std**3) if std > 0 else None


def neuron_occurrences(atlas: Atlas, k: int) -> np.ndarray:
    """For each neuron, the tokens among whose k best neurons it is, [neuron]; k is capped at atlas.top_neurons."""
    k = min(k, atlas.info.top_neurons)
    return _occurrences(atlas, "token_neuron", "neuron_id", k, atlas.info.n_neurons)


def token_occurrences(atlas: Atlas, k: int) -> np.ndarray:
    """For each token, the neurons among whose k best tokens it is, [d_vocab]; k is capped at atlas.top_tokens."""
    k = min(k, atlas.info.top_tokens)
    return _occurrences(atlas, "neuron_token", "token_id", k, atlas.info.d_vocab)


def _occurrences(atlas: Atlas, table: str, unit: str, k: int, n_units: int) -> np.ndarray:
    def count() -> np.ndarray:
        listed = atlas.arrays(_LISTS.format(table=table, unit=unit), k)
        counts = np.zeros(n_units, np.int64)
        counts[listed["unit"]] = listed["n"]
        return counts

    return atlas.remembered(f"{table} of {k}", count)


def neuron_occurrence(atlas: Atlas, k: int) -> Occurrence:
    """Distribution of neurons over tokens' lists of the k best."""
    return occurrence_of(neuron_occurrences(atlas, k), min(k, atlas.info.top_neurons), atlas.info.d_vocab)


def token_occurrence(atlas: Atlas, k: int) -> Occurrence:
    """Distribution of tokens over neurons' lists of the k best."""
    return occurrence_of(token_occurrences(atlas, k), min(k, atlas.info.top_tokens), atlas.info.n_neurons)


def occurrence_of(counts: np.ndarray, k: int, n_lists: int) -> Occurrence:
    """Distribution of k-occurrence: `counts` has each unit's, [unit], over `n_lists` lists of the k best."""
    values, units = np.unique(counts, return_counts=True)
    return Occurrence(
        k=k,
        n_units=len(counts),
        n_lists=n_lists,
        n_never=int((counts == 0).sum()),
        greatest=int(counts.max()),
        mean=float(counts.mean()),
        skewness=skewness(counts),
        counts=tuple(zip(values.tolist(), units.tolist(), strict=True)),
    )


def hub_neurons(atlas: Atlas, k: int, limit: int = 50) -> list[HubNeuron]:
    """Neurons by how many tokens they are the best neuron of, most first, ties by id."""
    lists = neuron_occurrences(atlas, k)
    rows = HUB_NEURONS.rows(atlas, limit=limit)
    return [HubNeuron(neuron_ref(atlas, n), count, count / atlas.info.d_vocab, int(lists[n])) for count, n in rows]


def hub_tokens(atlas: Atlas, k: int, limit: int = 50) -> list[HubToken]:
    """Tokens by how many neurons they are the best token of, most first, ties by id."""
    lists = token_occurrences(atlas, k)
    rows = HUB_TOKENS.rows(atlas, limit=limit)
    return [HubToken(atlas.tokens[t], count, count / atlas.info.n_neurons, int(lists[t])) for count, t in rows]


TERMS = (
    Term(
        "Hub count",
        "hub-count",
        "For a neuron: how many tokens have it as their best neuron. For a token: how many neurons have it as their "
        "best token. A hub is a neuron or token with a very high count, so that being its best says little.",
        "SELECT n.name AS neuron, count(*) AS hub_count\n"
        "FROM token AS t JOIN neuron AS n ON n.neuron_id = t.best_neuron_id\n"
        "GROUP BY ALL ORDER BY hub_count DESC, neuron LIMIT 3",
    ),
    Term(
        "k-occurrence",
        "k-occurrence",
        "For a neuron: how many tokens have it among their k best neurons; for a token: how many neurons have it among "
        "their k best tokens. The mean is fixed by k, so hubs are at the expense of all others.",
        "SELECT n.name AS neuron, count(*) AS occurrence\n"
        "FROM token_neuron AS l JOIN neuron AS n USING (neuron_id)\n"
        "WHERE l.direction = 'top' AND l.rank <= 10 GROUP BY ALL ORDER BY occurrence DESC, neuron LIMIT 3",
        "Radovanović, Nanopoulos and Ivanović, Hubs in Space, JMLR 11 (2010)",
    ),
    Term(
        "Hubness",
        "hubness",
        "Skewness of the k-occurrence: the third standardised moment of its distribution over all neurons (or all "
        "tokens). 0 where none is favoured; tens or hundreds where a few are in nearly every list.",
        "WITH occurrence AS (\n"
        "    SELECT count(l.neuron_id) AS n\n"
        "    FROM neuron LEFT JOIN (FROM token_neuron WHERE direction = 'top' AND rank <= 10) AS l USING (neuron_id)\n"
        "    GROUP BY neuron_id\n"
        "), moment AS (SELECT avg(n) AS mean, stddev_pop(n) AS std FROM occurrence)\n"
        "SELECT avg(((n - mean) / std) ** 3) AS skewness FROM occurrence, moment WHERE std > 0",
        "Radovanović, Nanopoulos and Ivanović, Hubs in Space, JMLR 11 (2010)",
    ),
)
