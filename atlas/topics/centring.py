"""Centring the readout over the vocabulary, and without: which neuron is then the best of each token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.term import Term
from atlas.core.units import NeuronRef, neuron_ref
from atlas.topics.hub import skewness
from atlas.topics.spread import check_weights


@dataclass(frozen=True)
class CentringRow:
    """A neuron, and the tokens whose best neuron it is, with the readout centred over the vocabulary and without."""

    neuron: NeuronRef
    mean_congruence: float
    n_centred: int
    n_uncentred: int


@dataclass(frozen=True)
class Centring:
    """Effect on hubs of centring the readout over the vocabulary.

    `applied`: whether the atlas's own congruence is centred; the other case is computed. `centred` and `uncentred` are
    the greatest hubs of each, `n_hubs` of each how many neurons are best for any token, and `n_uncertified` the tokens
    whose best neuron in the computed case could be one that was not examined.
    """

    applied: bool
    n_tokens: int
    n_looked_at: int
    n_uncertified: int
    n_hubs_centred: int
    n_hubs_uncentred: int
    skewness_centred: float | None
    skewness_uncentred: float | None
    centred: tuple[CentringRow, ...]
    uncentred: tuple[CentringRow, ...]


LOOKED_AT = 16
"""Neurons of the greatest gain that are compared with every token, beside each token's stored list."""

# `sign` is 1 where the atlas's congruence is centred (the mean is added) and -1 where it is not (it is subtracted).
_GAIN = "?::FLOAT * mean_congruence AS gain FROM neuron"

_LISTED = f"""
SELECT token_id, max(value) AS value, arg_max(neuron_id, (value, -neuron_id)) AS neuron_id, min(congruence) AS last
FROM (
    SELECT l.token_id, l.neuron_id, l.congruence, l.congruence + s.gain AS value
    FROM token_neuron AS l JOIN (SELECT neuron_id, {_GAIN}) AS s USING (neuron_id) WHERE l.direction = 'top'
)
GROUP BY 1 ORDER BY 1
"""

# Each token's best neuron with the mean added (or subtracted).
_CENTRING = """WITH shifted AS MATERIALIZED (
    SELECT neuron_id, mean_congruence * CASE a.readout WHEN 'unembed' THEN 1 ELSE -1 END::FLOAT AS gain
    FROM neuron, atlas AS a
),
gaining AS MATERIALIZED (
    SELECT neuron_id, gain, w_out
    FROM (FROM shifted ORDER BY gain DESC, neuron_id LIMIT $looked_at) JOIN neuron_weight USING (neuron_id)
),
offer AS (
    SELECT w.token_id, g.neuron_id, array_inner_product(w.readout, g.w_out) + g.gain AS value
    FROM token_weight AS w CROSS JOIN gaining AS g
    UNION ALL
    SELECT l.token_id, l.neuron_id, l.congruence + s.gain
    FROM token_neuron AS l JOIN shifted AS s USING (neuron_id)
    WHERE l.direction = 'top'
),
best AS (SELECT token_id, arg_max(neuron_id, (value, -neuron_id)) AS neuron_id FROM offer GROUP BY token_id),
counted AS (SELECT neuron_id, count(*) AS n FROM best GROUP BY neuron_id),
hub AS (
    SELECT n.neuron_id, n.name AS neuron, n.mean_congruence,
           CASE a.readout WHEN 'unembed' THEN n.hub_count ELSE coalesce(c.n, 0) END AS best_of_centred,
           CASE a.readout WHEN 'unembed' THEN coalesce(c.n, 0) ELSE n.hub_count END AS best_of_uncentred
    FROM neuron AS n LEFT JOIN counted AS c USING (neuron_id), atlas AS a
)
SELECT neuron, best_of_centred, best_of_uncentred, mean_congruence
FROM hub
WHERE {by} > 0
ORDER BY {by} DESC, neuron_id
LIMIT $limit"""

CENTRING = {by: Statement(_CENTRING.format(by=f"best_of_{by}")) for by in ("centred", "uncentred")}
"""The greatest hubs with and without centring of the readout, as `centring` computes them; `$looked_at` is
LOOKED_AT."""


def other_best(atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """For every token, [d_vocab]: the best neuron with centring undone (or done, where it is not), and whether that is
    certain. Reads all readout columns: a second for 50,000 tokens of width 576.

    Raises:
        WeightsError: the atlas holds no weights.
    """
    check_weights(atlas)
    sign = 1 if atlas.info.readout == "unembed" else -1
    gains = atlas.rows(f"SELECT neuron_id, {_GAIN} ORDER BY gain DESC, neuron_id LIMIT ?", sign, LOOKED_AT + 1)
    gaining = sorted(gains[:LOOKED_AT])  # by id: of equal values the first counts
    ids = [neuron_id for neuron_id, _ in gaining]
    # Looked up by id, not joined: a join holds the weight vectors of all neurons.
    weights = dict(atlas.rows("SELECT neuron_id, w_out FROM neuron_weight WHERE list_contains(?, neuron_id)", ids))
    products = ", ".join(
        f"array_inner_product(readout, ?::FLOAT[{atlas.info.d_model}]) AS v{place}" for place in range(len(ids))
    )
    columns = atlas.arrays(f"SELECT {products} FROM token_weight ORDER BY token_id", *(weights[i] for i in ids))
    offers = np.stack([column + np.float32(gain) for column, (_, gain) in zip(columns.values(), gaining, strict=True)])
    place = offers.argmax(axis=0)
    best, value = np.array(ids)[place], offers.max(axis=0)
    listed = atlas.arrays(_LISTED, sign)
    better = (listed["value"] > value) | ((listed["value"] == value) & (listed["neuron_id"] < best))
    best, value = np.where(better, listed["neuron_id"], best), np.maximum(value, listed["value"])
    if len(gains) <= LOOKED_AT or atlas.info.top_neurons >= atlas.info.n_neurons:
        return best, np.ones(len(best), bool)
    return best, value > listed["last"] + np.float32(gains[LOOKED_AT][1])


def measure_centring(atlas: Atlas, limit: int = 20) -> Centring:
    """The greatest hubs with and without centring of the readout. Computed once; see `other_best` for the cost.

    Raises:
        WeightsError: the atlas holds no weights.
    """
    return atlas.remembered_large(f"centring {limit}", lambda: _centring(atlas, limit))


def _centring(atlas: Atlas, limit: int) -> Centring:
    best, certain = other_best(atlas)
    computed = np.bincount(best, minlength=atlas.info.n_neurons)
    columns = atlas.arrays("SELECT hub_count, mean_congruence FROM neuron ORDER BY neuron_id")
    stored = columns["hub_count"].astype(np.int64)
    applied = atlas.info.readout == "unembed"
    centred, uncentred = (stored, computed) if applied else (computed, stored)

    def greatest(counts: np.ndarray) -> tuple[CentringRow, ...]:
        order = np.argsort(-counts, kind="stable")[:limit].tolist()
        return tuple(
            CentringRow(neuron_ref(atlas, n), float(columns["mean_congruence"][n]), int(centred[n]), int(uncentred[n]))
            for n in order
            if counts[n]
        )

    return Centring(
        applied=applied,
        n_tokens=atlas.info.d_vocab,
        n_looked_at=min(LOOKED_AT, atlas.info.n_neurons),
        n_uncertified=int((~certain).sum()),
        n_hubs_centred=int((centred > 0).sum()),
        n_hubs_uncentred=int((uncentred > 0).sum()),
        skewness_centred=skewness(centred),
        skewness_uncentred=skewness(uncentred),
        centred=greatest(centred),
        uncentred=greatest(uncentred),
    )


TERMS = (
    Term(
        "Mean congruence",
        "mean-congruence",
        "Dot product of a neuron's output weights with the mean of the readout's columns: the part of its congruence "
        "that all tokens share. Softmax cannot see it; readout 'unembed' has it removed, and most hubs with it.",
        "SELECT name AS neuron, mean_congruence FROM neuron ORDER BY mean_congruence DESC, neuron_id LIMIT 3",
    ),
)
