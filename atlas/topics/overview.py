"""What is worth a look: exclusive pairs whose prediction rises most in the neuron's tail, single tokens, hubs."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.db import Atlas
from atlas.core.texts import texts_by_id
from atlas.core.units import neuron_ref
from atlas.topics.kind import neuron_kind
from atlas.topics.layer import LayerSummary, layer_summaries
from atlas.topics.neuron import Neuron, find_neuron
from atlas.topics.pair import PAIR_COLUMNS, ExclusivePair
from atlas.topics.percentile import neighbours, percentiles
from atlas.topics.search import token_index
from atlas.topics.tables import column_comments
from atlas.topics.token import TokenRow, token_row


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


MIN_PREDICTED = 20
"""A token predicted less often than this says little; pairs of rarer tokens come after all others."""

# The tail: whole bins from the pair's end of the activation axis, until they hold MIN_PREDICTED positions and at
# least as many as there are predictions of the token (so that a neuron that fires for nothing else reaches 1).
# The rise is the fraction predicted there, less the fraction anywhere.
_NOTABLE = f"""
WITH pair AS (
    SELECT {PAIR_COLUMNS}
    FROM exclusive_pair AS p JOIN token AS t USING (token_id)
    WHERE NOT t.special AND t.n_actual > 0 AND t.n_predicted > 0
    ORDER BY least(t.n_predicted, ?) DESC, p.score DESC, p.neuron_id
    LIMIT 400
),
cell AS (
    SELECT p.direction, p.neuron_id, p.token_id, p.n_predicted AS wanted, h.n,
           coalesce(c.n_predicted, 0) AS n_predicted,
           sum(h.n) OVER tail - h.n AS beyond
    FROM pair AS p
    JOIN activation_histogram AS h ON h.neuron_id = p.neuron_id
    LEFT JOIN prediction_histogram AS c
        ON c.neuron_id = p.neuron_id AND c.token_id = p.token_id AND c.bin = h.bin
    WINDOW tail AS (
        PARTITION BY p.direction, p.neuron_id ORDER BY CASE p.direction WHEN 'top' THEN -h.bin ELSE h.bin END
    )
),
tail AS (
    SELECT direction, neuron_id, sum(n)::BIGINT AS tail_n, sum(n_predicted) / sum(n) AS tail_fraction
    FROM cell WHERE beyond < greatest(wanted, ?) GROUP BY ALL
)
SELECT pair.*, tail_n, tail_fraction
FROM pair JOIN tail USING (direction, neuron_id)
ORDER BY least(n_predicted, ?) DESC, tail_fraction - n_predicted / ? DESC, score DESC, neuron_id
LIMIT ?
"""


def notable_neurons(atlas: Atlas, limit: int = 3) -> list[Notable]:
    """The neurons most worth a look, best first; fewer where the atlas has few exclusive pairs that are predicted.

    Among the best exclusive pairs with an ordinary token (not special, occurring, predicted at least MIN_PREDICTED
    times or as often as there is), those for which the fraction predicted rises most in the activation's tail.
    """
    n_positions = max(1, atlas.info.n_positions)
    notable, seen = [], set()
    # A gated neuron may be in a pair at either end; it is shown once.
    for row in atlas.rows(_NOTABLE, MIN_PREDICTED, MIN_PREDICTED, MIN_PREDICTED, n_positions, 2 * limit):
        direction, rank, neuron_id, token_id, *numbers, tail_n, tail_fraction = row
        if neuron_id not in seen:
            seen.add(neuron_id)
            pair = ExclusivePair(direction, rank, neuron_ref(atlas, neuron_id), atlas.tokens[token_id], *numbers)
            notable.append(Notable(pair, tail_n, tail_fraction, pair.n_predicted / n_positions))
    return notable[:limit]


def single_token_neurons(atlas: Atlas, limit: int = 8) -> list[Neuron]:
    """Neurons whose best token, an ordinary one that occurs, leads the second by most."""
    rows = atlas.rows(
        "SELECT n.neuron_id FROM neuron AS n JOIN token AS t ON t.token_id = n.best_token_id "
        "WHERE NOT t.special AND t.n_actual > 0 ORDER BY n.token_gap DESC NULLS LAST, n.neuron_id LIMIT ?",
        limit,
    )
    return [find_neuron(atlas, neuron_id) for (neuron_id,) in rows]


def most_hub_tokens(atlas: Atlas, limit: int = 8) -> list[TokenRow]:
    """Tokens that are the best token of most neurons."""
    rows = atlas.rows("SELECT token_id FROM token ORDER BY hub_count DESC, token_id LIMIT ?", limit)
    return [token_row(atlas, token_id) for (token_id,) in rows]


def most_hub_neurons(atlas: Atlas, limit: int = 8) -> list[Neuron]:
    """Neurons that are the best neuron of most tokens."""
    rows = atlas.rows("SELECT neuron_id FROM neuron ORDER BY hub_count DESC, neuron_id LIMIT ?", limit)
    return [find_neuron(atlas, neuron_id) for (neuron_id,) in rows]


def highlights(atlas: Atlas) -> Highlights:
    """What the overview points at, looked for once in a process."""
    return atlas.remembered(
        "highlights",
        lambda: Highlights(
            notable=tuple(notable_neurons(atlas)),
            single_token=tuple(single_token_neurons(atlas)),
            hub_tokens=tuple(most_hub_tokens(atlas)),
            hub_neurons=tuple(most_hub_neurons(atlas)),
            layers=tuple(layer_summaries(atlas)),
        ),
    )


def warm(atlas: Atlas) -> None:
    """Read the vocabulary, the texts and the sorted columns, and what the overview shows: seconds for a large atlas."""
    token_index(atlas)
    neighbours(atlas, 0)
    percentiles(atlas, find_neuron(atlas, 0))
    texts_by_id(atlas, ())
    for table in ("atlas", "neuron", "token", "exclusive_pair"):
        column_comments(atlas, table)
    highlights(atlas)
    neuron_kind(atlas, 0)
