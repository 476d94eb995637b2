"""Notable neurons and tokens: exclusive pairs whose prediction rises most in the neuron's tail, single tokens, hubs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.info import AtlasInfo
from atlas.core.statements import Statement
from atlas.core.texts import texts_by_id
from atlas.core.units import neuron_ref
from atlas.topics.family import family_pairs
from atlas.topics.glance import Glance
from atlas.topics.kind import neuron_kind
from atlas.topics.layer import LayerSummary, layer_summaries
from atlas.topics.neuron import Neuron, find_neuron
from atlas.topics.pair import ExclusivePair
from atlas.topics.percentile import neighbours, percentiles
from atlas.topics.search import token_index
from atlas.topics.story import best_neurons, story
from atlas.topics.tables import column_comments
from atlas.topics.token import TokenRow, token_row


@dataclass(frozen=True)
class Notable:
    """A notable neuron: in the tail of its activation it predicts the token far more than usual.

    `tail_fraction` is the fraction of the `tail_n` most extreme positions (in the pair's direction, whole bins) at
    which the token is predicted, `base_fraction` that of all positions.
    """

    pair: ExclusivePair
    tail_n: int
    tail_fraction: float
    base_fraction: float


@dataclass(frozen=True)
class Highlights:
    """Content of an overview: the neurons with the best verdicts, neurons of single tokens, hubs, and every layer in
    numbers."""

    best: tuple[Glance, ...]
    single_token: tuple[Neuron, ...]
    hub_tokens: tuple[TokenRow, ...]
    hub_neurons: tuple[Neuron, ...]
    layers: tuple[LayerSummary, ...]


MIN_PREDICTED = 20
"""Fewest predictions of a token: pairs of rarer tokens come after all others."""

LISTED = 8
"""Neurons or tokens in its other lists."""

# The tail: whole bins from the pair's end of the activation axis, until they hold MIN_PREDICTED positions and at
# least as many as there are predictions of the token (so that a neuron that fires for nothing else reaches 1).
# The rise is the fraction predicted there, less the fraction anywhere. A gated neuron may be in a pair at either end;
# the list has it once.
NOTABLE = Statement(f"""WITH chosen AS (
    SELECT * FROM pair
    WHERE NOT special AND n_actual > 0 AND n_predicted > 0
    ORDER BY least(n_predicted, {MIN_PREDICTED}) DESC, score DESC, neuron_id
    LIMIT 400
),
cell AS (
    SELECT p.direction, p.neuron_id, p.n_predicted AS wanted, h.n, coalesce(c.n_predicted, 0) AS n_predicted,
           sum(h.n) OVER (
               PARTITION BY p.direction, p.neuron_id
               ORDER BY CASE p.direction WHEN 'top' THEN -h.bin ELSE h.bin END
           ) - h.n AS beyond
    FROM chosen AS p
    JOIN activation_histogram AS h USING (neuron_id)
    LEFT JOIN prediction_histogram AS c ON c.neuron_id = p.neuron_id AND c.token_id = p.token_id AND c.bin = h.bin
),
tail AS (
    SELECT direction, neuron_id, sum(n)::BIGINT AS tail_n, sum(n_predicted) / sum(n) AS tail_fraction
    FROM cell WHERE beyond < greatest(wanted, {MIN_PREDICTED}) GROUP BY ALL
),
risen AS (
    SELECT *, n_predicted / greatest(1, (SELECT n_positions FROM atlas)) AS base_fraction
    FROM chosen JOIN tail USING (direction, neuron_id)
)
SELECT neuron, token, direction, tail_n, tail_fraction, base_fraction, n_predicted, score,
       n_actual, rank, congruence, token_gap, neuron_gap, neuron_id, token_id
FROM risen
QUALIFY row_number() OVER (
    PARTITION BY neuron_id
    ORDER BY least(n_predicted, {MIN_PREDICTED}) DESC, tail_fraction - base_fraction DESC, score DESC, direction
) = 1
ORDER BY least(n_predicted, {MIN_PREDICTED}) DESC, tail_fraction - base_fraction DESC, score DESC, neuron_id
LIMIT $limit""")
"""The most notable neurons, best first."""

SINGLE_TOKEN = Statement("""SELECT n.name AS neuron, t."text" AS token, n.token_gap, n.neuron_id
FROM neuron AS n JOIN token AS t ON t.token_id = n.best_token_id
WHERE NOT t.special AND t.n_actual > 0
ORDER BY n.token_gap DESC NULLS LAST, n.neuron_id
LIMIT $limit""")
"""Neurons whose best token, an ordinary one that occurs, leads the second by most."""

HUB_TOKENS = Statement("""SELECT token_id, "text" AS token, hub_count
FROM token ORDER BY hub_count DESC, token_id LIMIT $limit""")
"""Tokens that are the best token of the most neurons."""

HUB_NEURONS = Statement("""SELECT neuron_id, name AS neuron, hub_count
FROM neuron ORDER BY hub_count DESC, neuron_id LIMIT $limit""")
"""Neurons that are the best neuron of the most tokens."""

PROVENANCE = Statement("SELECT * EXCLUDE (readout_mean) FROM atlas")
"""The row that `Atlas.info` holds."""


def notable_neurons(atlas: Atlas, limit: int = 3) -> list[Notable]:
    """The most notable neurons, best first; fewer where the atlas has few exclusive pairs that are predicted.

    Among the best exclusive pairs with an ordinary token (not special, occurring, predicted at least MIN_PREDICTED
    times where there are any), those whose fraction predicted rises most in the activation's tail.
    """
    notable = []
    for _, _, direction, *tail, n_predicted, score, n_actual, rank, a, b, c, neuron_id, token_id in NOTABLE.rows(
        atlas, limit=limit
    ):
        pair = (direction, rank, neuron_ref(atlas, neuron_id), atlas.tokens[token_id], a, b, c, score)
        notable.append(Notable(ExclusivePair(*pair, n_actual, n_predicted), *tail))
    return notable


def single_token_neurons(atlas: Atlas, limit: int = LISTED) -> list[Neuron]:
    """Neurons whose best token, an ordinary one that occurs, leads the second by most."""
    return [find_neuron(atlas, neuron_id) for *_, neuron_id in SINGLE_TOKEN.rows(atlas, limit=limit)]


def most_hub_tokens(atlas: Atlas, limit: int = LISTED) -> list[TokenRow]:
    """Tokens that are the best token of the most neurons."""
    return [token_row(atlas, token_id) for token_id, *_ in HUB_TOKENS.rows(atlas, limit=limit)]


def most_hub_neurons(atlas: Atlas, limit: int = LISTED) -> list[Neuron]:
    """Neurons that are the best neuron of the most tokens."""
    return [find_neuron(atlas, neuron_id) for neuron_id, *_ in HUB_NEURONS.rows(atlas, limit=limit)]


def highlights(atlas: Atlas) -> Highlights:
    """The overview, computed once in a process."""
    return atlas.remembered(
        "highlights",
        lambda: Highlights(
            best=best_neurons(atlas),
            single_token=tuple(single_token_neurons(atlas)),
            hub_tokens=tuple(most_hub_tokens(atlas)),
            hub_neurons=tuple(most_hub_neurons(atlas)),
            layers=tuple(layer_summaries(atlas)),
        ),
    )


def warm(atlas: Atlas) -> None:
    """Read the vocabulary, the texts, the sorted columns and the overview: seconds for a large atlas."""
    token_index(atlas)
    neighbours(atlas, 0)
    percentiles(atlas, find_neuron(atlas, 0))
    texts_by_id(atlas, ())
    for table in ("atlas", "neuron", "token", "exclusive_pair"):
        column_comments(atlas, table)
    highlights(atlas)
    story(atlas)
    neuron_kind(atlas, 0)
    family_pairs(atlas, ())


@call("atlases", python="atlas.open({place!r}).info")
def atlases(served: Mapping[str, Atlas]) -> list[AtlasInfo]:
    """The served atlases."""
    return [atlas.info for atlas in served.values()]


@call(OF_ATLAS, name="info", python="demo.info")
def atlas_info(atlas: Atlas) -> AtlasInfo:
    """One atlas: the row of the table `atlas`."""
    return atlas.info
