"""What centring the readout over the vocabulary does: which neuron would be each token's best the other way.

Centring takes the same number, its `mean_congruence`, from a neuron's congruence with every token; it cannot reorder
the tokens of a neuron, but it does reorder the neurons of a token. The other way's best neuron of a token is looked
for among the token's own list and the LOOKED_AT neurons that gain most. Any other neuron's congruence is at most the
list's last and its gain at most that of the next neuron: where that bound is below the best found, the answer is exact.
"""

from __future__ import annotations

import numpy as np

from atlas.db import Atlas
from atlas.queries.atlas import neuron_ref
from atlas.queries.hub import skewness
from atlas.queries.spread import check_weights
from atlas.records import Centring, CentringRow

LOOKED_AT = 16

# `sign` is 1 where the atlas's congruence is centred (the mean is put back) and -1 where it is not (it is taken off).
_BEST = """
WITH shifted AS MATERIALIZED (SELECT neuron_id, ?::FLOAT * mean_congruence AS gain FROM neuron),
gaining AS MATERIALIZED (
    SELECT neuron_id, gain, w_out
    FROM (SELECT * FROM shifted ORDER BY gain DESC, neuron_id LIMIT {looked_at})
    JOIN neuron_weight USING (neuron_id)
),
offer AS (
    SELECT w.token_id, g.neuron_id, array_inner_product(w.readout, g.w_out) + g.gain AS value
    FROM token_weight AS w CROSS JOIN gaining AS g
    UNION ALL
    SELECT l.token_id, l.neuron_id, l.congruence + s.gain
    FROM token_neuron AS l JOIN shifted AS s USING (neuron_id) WHERE l.direction = 'top'
),
best AS (
    SELECT token_id, max(value) AS value, arg_max(neuron_id, (value, -neuron_id)) AS neuron_id FROM offer GROUP BY 1
),
last AS (SELECT token_id, min(congruence) AS congruence FROM token_neuron WHERE direction = 'top' GROUP BY 1)
SELECT best.token_id, best.neuron_id,
       coalesce(value > last.congruence + (
           SELECT gain FROM shifted ORDER BY gain DESC, neuron_id LIMIT 1 OFFSET {looked_at}
       ), TRUE) AS certain
FROM best JOIN last USING (token_id)
ORDER BY best.token_id
"""


def other_best(atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """For every token, [d_vocab]: the best neuron with centring undone (or done, where it is not), and whether that is
    certain. Reads all readout columns: a second for 50,000 tokens of width 576.

    Raises:
        WeightsError: the atlas holds no weights.
    """
    check_weights(atlas)
    sign = 1 if atlas.info.readout == "unembed" else -1
    found = atlas.arrays(_BEST.format(looked_at=LOOKED_AT), sign)
    every_neuron_is_listed = atlas.info.top_neurons >= atlas.info.n_neurons
    return found["neuron_id"], found["certain"].astype(bool) | every_neuron_is_listed


def centring(atlas: Atlas, limit: int = 20) -> Centring:
    """The greatest hubs with the readout centred and without. Made once; see `other_best` for what it costs.

    Raises:
        WeightsError: the atlas holds no weights.
    """
    return atlas.remembered(f"centring {limit}", lambda: _centring(atlas, limit))


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
