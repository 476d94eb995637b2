"""Reduced congruence, which discounts hubs: rankings by it, and its effect on hubs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from atlas.core.call import OF_NEURON, OF_TOKEN, call
from atlas.core.db import Atlas
from atlas.core.parameter import Most, NeuronId, TokenId
from atlas.core.statements import Statement
from atlas.core.term import BEST_PAIR, Term
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.hub import Occurrence, neuron_occurrence, occurrence_of
from atlas.topics.neuron import CongruentToken, neuron_tokens
from atlas.topics.token import CongruentNeuron, token_neurons


@dataclass(frozen=True)
class ReducedPair:
    """A pair of a stored top list, by reduced congruence (view `reduced_congruence`)."""

    TABLE = "reduced_congruence"

    neuron: NeuronRef
    """The neuron."""
    token: Token
    """The token."""
    reduced: float
    """2 * congruence, less the usual congruence of the neuron and that of the token: the pair's excess over both."""
    congruence: float
    """Their congruence."""
    rank: int
    """Place in the list by congruence, from 1."""


@dataclass(frozen=True)
class HubChange:
    """A neuron, and the tokens whose best neuron it is, by congruence and by reduced congruence."""

    neuron: NeuronRef
    """The neuron."""
    n_plain: int
    """Tokens whose best neuron it is by congruence."""
    n_reduced: int
    """Tokens whose best neuron it is by reduced congruence."""


@dataclass(frozen=True)
class ReducedHubs:
    """Effect on hubs of ranking each token's neurons by reduced congruence."""

    plain: Occurrence
    """Distribution of neurons' k-occurrence by congruence."""
    reduced: Occurrence
    """Distribution of neurons' k-occurrence by reduced congruence."""
    n_tokens: int
    """Tokens of the vocabulary."""
    n_best_plain: int
    """Neurons that are the best of at least one token by congruence."""
    n_best_reduced: int
    """Neurons that are the best of at least one token by reduced congruence."""
    greatest_plain: tuple[HubChange, ...]
    """The greatest hubs by congruence."""
    greatest_reduced: tuple[HubChange, ...]
    """The greatest hubs by reduced congruence."""


LIST_LENGTH = 10
"""k: number of best tokens (neurons) whose mean congruence is the usual one of a neuron (token)."""

_AT_ONCE = 4096
"""Tokens whose lists are in memory at once."""

_MEANS = """
SELECT {unit} AS unit, avg(congruence) AS mean FROM {table} WHERE direction = 'top' AND rank <= ? GROUP BY {unit}
"""

_RANKED = """SELECT {other}, reduced, congruence, rank, neuron_mean, token_mean
FROM reduced_congruence
WHERE list = '{unit}' AND {unit}_id = ${unit}_id
ORDER BY reduced DESC, {other}_id"""

REDUCED_TOKENS = Statement(_RANKED.format(unit="neuron", other="token"))
REDUCED_NEURONS = Statement(_RANKED.format(unit="token", other="neuron"))

_BEST = """WITH best AS (
    SELECT token_id, arg_max(neuron_id, (reduced, -neuron_id)) AS neuron_id
    FROM reduced_congruence WHERE list = 'token' GROUP BY token_id
),
counted AS (SELECT neuron_id, count(*) AS n FROM best GROUP BY neuron_id)
SELECT n.name AS neuron, n.hub_count AS best_of, coalesce(c.n, 0) AS best_of_reduced
FROM neuron AS n LEFT JOIN counted AS c USING (neuron_id)
WHERE {by} > 0
ORDER BY {by} DESC, n.neuron_id
LIMIT $limit"""

REDUCED_HUBS = {
    "occurrence": Statement("""WITH placed AS (
    SELECT neuron_id, rank <= $k AS plain,
           row_number() OVER (PARTITION BY token_id ORDER BY reduced DESC, neuron_id) <= $k AS reduced
    FROM reduced_congruence WHERE list = 'token'
),
occurrence AS (
    SELECT unnest(['congruence', 'reduced congruence']) AS ranked_by,
           unnest([count(*) FILTER (p.plain), count(*) FILTER (p.reduced)]) AS in_lists
    FROM neuron LEFT JOIN placed AS p USING (neuron_id) GROUP BY neuron_id
),
centred AS (SELECT *, in_lists - avg(in_lists) OVER (PARTITION BY ranked_by) AS deviation FROM occurrence)
SELECT ranked_by, max(in_lists) AS greatest, count(*) FILTER (in_lists = 0) AS in_none,
       avg(deviation ** 3) / nullif(avg(deviation ** 2), 0) ** 1.5 AS skewness
FROM centred
GROUP BY ranked_by
ORDER BY ranked_by"""),
    "plain": Statement(_BEST.format(by="best_of")),
    "reduced": Statement(_BEST.format(by="best_of_reduced")),
}
"""The query of `reduced_hubs`; `$k` is LIST_LENGTH."""


@call(
    OF_NEURON + "/reduced",
    name="neuron_reduced",
    python='demo.neuron("{neuron}").reduced()',
    title="best tokens, hubs discounted",
)
def reduced_tokens(atlas: Atlas, neuron_id: NeuronId, limit: Most = 50) -> list[ReducedPair]:
    """A neuron's stored best tokens by reduced congruence (CSLS)."""
    neuron = neuron_ref(atlas, neuron_id)
    pairs = ((neuron, item.token, item) for item in neuron_tokens(atlas, neuron_id, "top"))
    return _ranked(atlas, pairs)[:limit]


@call(
    OF_TOKEN + "/reduced",
    name="token_reduced",
    python="demo.token({token}).reduced()",
    title="best neurons, hubs discounted",
)
def reduced_neurons(atlas: Atlas, token_id: TokenId, limit: Most = 50) -> list[ReducedPair]:
    """A token's stored best neurons by reduced congruence (CSLS).

    Raises:
        TokenError: the id is out of range.
    """
    token = atlas.tokens[token_id]
    pairs = ((item.neuron, token, item) for item in token_neurons(atlas, token_id, "top"))
    return _ranked(atlas, pairs)[:limit]


def reduced_hubs(atlas: Atlas, limit: int = 20) -> ReducedHubs:
    """Effect on hubs of ranking every token's stored neurons by reduced congruence; computed once in a process."""
    return atlas.remembered_large(f"reduced hubs of {limit}", lambda: _hubs(atlas, limit))


def _ranked(
    atlas: Atlas, pairs: Iterable[tuple[NeuronRef, Token, CongruentToken | CongruentNeuron]]
) -> list[ReducedPair]:
    """Pairs of a stored list by reduced congruence, ties by neuron and token."""
    ranked = []
    for neuron, token, item in pairs:
        usual = _neuron_means(atlas)[neuron.neuron_id], _token_means(atlas)[token.token_id]
        reduced = float(2 * item.congruence - usual[0] - usual[1])
        ranked.append(ReducedPair(neuron, token, reduced, item.congruence, item.rank))
    return sorted(ranked, key=lambda pair: (-pair.reduced, pair.neuron.neuron_id, pair.token.token_id))


def _neuron_means(atlas: Atlas) -> np.ndarray:
    return _means(atlas, "neuron_token", "neuron_id", atlas.info.n_neurons)


def _token_means(atlas: Atlas) -> np.ndarray:
    return _means(atlas, "token_neuron", "token_id", atlas.info.d_vocab)


def _means(atlas: Atlas, table: str, unit: str, n_units: int) -> np.ndarray:
    def read() -> np.ndarray:
        columns = atlas.arrays(_MEANS.format(table=table, unit=unit), LIST_LENGTH)
        means = np.zeros(n_units)
        means[columns["unit"]] = columns["mean"]
        return means

    return atlas.remembered(f"mean congruence of {table}", read)


def _hubs(atlas: Atlas, limit: int) -> ReducedHubs:
    n_neurons, means = atlas.info.n_neurons, _neuron_means(atlas)
    counts, best = np.zeros(n_neurons, np.int64), np.zeros(n_neurons, np.int64)
    for first in range(0, atlas.info.d_vocab, _AT_ONCE):
        lists = atlas.arrays(
            "SELECT neuron_id, congruence FROM token_neuron WHERE direction = 'top' AND token_id BETWEEN ? AND ? "
            "ORDER BY token_id, neuron_id",
            first,
            first + _AT_ONCE - 1,
        )
        neuron = np.asarray(lists["neuron_id"]).reshape(min(_AT_ONCE, atlas.info.d_vocab - first), -1)
        # The token's usual congruence is the same for its whole list and does not change the order.
        score = 2 * np.asarray(lists["congruence"], np.float64).reshape(neuron.shape) - means[neuron]
        order = np.argsort(-score, axis=1, kind="stable")[:, :LIST_LENGTH]
        chosen = np.take_along_axis(neuron, order, axis=1)
        counts += np.bincount(chosen.ravel(), minlength=n_neurons)
        best += np.bincount(chosen[:, 0], minlength=n_neurons)
    plain = np.asarray(atlas.arrays("SELECT hub_count FROM neuron ORDER BY neuron_id")["hub_count"], np.int64)

    def greatest(by: np.ndarray) -> tuple[HubChange, ...]:
        first = np.lexsort((np.arange(n_neurons), -by))[:limit]
        return tuple(HubChange(neuron_ref(atlas, n), int(plain[n]), int(best[n])) for n in first.tolist() if by[n])

    return ReducedHubs(
        plain=neuron_occurrence(atlas, LIST_LENGTH),
        reduced=occurrence_of(counts, min(LIST_LENGTH, atlas.info.top_neurons), atlas.info.d_vocab),
        n_tokens=atlas.info.d_vocab,
        n_best_plain=int((plain > 0).sum()),
        n_best_reduced=int((best > 0).sum()),
        greatest_plain=greatest(plain),
        greatest_reduced=greatest(best),
    )


TERMS = (
    Term(
        "Reduced congruence",
        "reduced-congruence",
        "Congruence with hubs discounted: twice the congruence of a neuron with a token, less the neuron's mean "
        "congruence with its ten best tokens and the token's with its ten best neurons. Above 0, the pair exceeds "
        "both usual values. Ranked over the stored lists. It uses congruence and not cosine, since the lists are "
        "exact for congruence and the subtracted means include the effect of norms.",
        BEST_PAIR + "SELECT r.neuron, r.token, r.reduced, r.congruence, r.neuron_mean, r.token_mean\n"
        "FROM reduced_congruence AS r JOIN best USING (neuron_id)\n"
        "WHERE r.list = 'neuron' ORDER BY r.reduced DESC, r.token_id LIMIT 3",
        "Conneau et al., Word Translation Without Parallel Data, 2018",
    ),
)
