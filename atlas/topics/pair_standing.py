"""The standing of a pair: the congruence of a neuron and a token, and their ranks in each other's lists."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.units import Token


@dataclass(frozen=True)
class PairStanding:
    """Relation of a neuron's output weights to a token: their congruence (None: not listed and not computable), the
    token's place among the neuron's tokens and the neuron's among the token's neurons, each from either end ('top',
    'bottom'); None: beyond the stored lists."""

    token: Token
    congruence: float | None
    direction: str | None
    token_rank: int | None
    neuron_direction: str | None
    neuron_rank: int | None


PLACES = Statement("""SELECT n.name AS neuron, t."text" AS token, l.list, l.direction, l.rank, l.congruence
FROM (
    SELECT 'tokens of the neuron' AS list, neuron_id, token_id, direction, rank, congruence FROM neuron_token
    WHERE neuron_id = $neuron AND token_id IN $tokens
    UNION ALL
    SELECT 'neurons of the token', neuron_id, token_id, direction, rank, congruence FROM token_neuron
    WHERE neuron_id = $neuron AND token_id IN $tokens
) AS l
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id)
ORDER BY list_position($tokens, l.token_id), l.list DESC, l.rank""")
"""Places of a neuron and tokens in each other's lists."""

_LISTS = ("tokens of the neuron", "neurons of the token")

_COMPUTED = """
SELECT array_inner_product(n.w_out, t.readout)
FROM (SELECT w_out FROM neuron_weight WHERE neuron_id = ?) AS n,
     (SELECT readout FROM token_weight WHERE token_id = ?) AS t
"""


def pair_standing(atlas: Atlas, neuron_id: int, token_id: int) -> PairStanding:
    """Relation of a neuron and a token: read from the lists, or computed from the weights where in neither list."""
    rows = PLACES.rows(atlas, neuron=neuron_id, tokens=[token_id])
    # A vocabulary shorter than two lists has a token at both ends: the nearer end is its place.
    places = {name: place for _, _, name, *place in reversed(rows)}
    values = [row[-1] for row in rows] or [value for (value,) in atlas.rows(_COMPUTED, neuron_id, token_id)]
    of_neuron, of_token = (places.get(name, (None, None, None))[:2] for name in _LISTS)
    return PairStanding(atlas.tokens[token_id], values[0] if values else None, *of_neuron, *of_token)
