"""How one neuron's output weights stand to one token: congruence, and each one's place in the other's list."""

from __future__ import annotations

from atlas.db import Atlas
from atlas.records import PairStanding

_COMPUTED = """
SELECT array_inner_product(n.w_out, t.readout)
FROM (SELECT w_out FROM neuron_weight WHERE neuron_id = ?) AS n,
     (SELECT readout FROM token_weight WHERE token_id = ?) AS t
"""


def pair_standing(atlas: Atlas, neuron_id: int, token_id: int) -> PairStanding:
    """How a neuron and a token stand to each other: read from the lists, computed from the weights where in neither."""
    pair = (neuron_id, token_id)
    # A list shorter than all there is may hold a token at both ends: the nearer end is the place.
    of_neuron = atlas.rows(
        "SELECT direction, rank, congruence FROM neuron_token WHERE neuron_id = ? AND token_id = ? ORDER BY rank", *pair
    )
    of_token = atlas.rows(
        "SELECT direction, rank, congruence FROM token_neuron WHERE neuron_id = ? AND token_id = ? ORDER BY rank", *pair
    )
    listed = [*of_neuron, *of_token] or [(None, None, value) for (value,) in atlas.rows(_COMPUTED, *pair)]
    congruence = listed[0][2] if listed else None
    places = [rows[0][:2] if rows else (None, None) for rows in (of_neuron, of_token)]
    return PairStanding(atlas.tokens[token_id], congruence, *places[0], *places[1])
