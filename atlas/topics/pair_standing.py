"""How one neuron and one token stand to each other: their congruence, and their places in each other's lists."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.units import Token


@dataclass(frozen=True)
class PairStanding:
    """How a neuron's output weights stand to a token: their congruence (None: neither listed nor can it be computed),
    the token's place among the neuron's tokens and the neuron's among the token's neurons, each from either end
    ('top', 'bottom'); None: beyond the lists that the atlas keeps."""

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
    """How a neuron and a token stand to each other: read from the lists, computed from the weights where in neither."""
    rows = PLACES.rows(atlas, neuron=neuron_id, tokens=[token_id])
    # A list shorter than all there is may hold a token at both ends: the nearer end is the place.
    places = {name: place for _, _, name, *place in reversed(rows)}
    values = [row[-1] for row in rows] or [value for (value,) in atlas.rows(_COMPUTED, neuron_id, token_id)]
    of_neuron, of_token = (places.get(name, (None, None, None))[:2] for name in _LISTS)
    return PairStanding(atlas.tokens[token_id], values[0] if values else None, *of_neuron, *of_token)
