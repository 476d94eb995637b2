"""One token: its row, the neurons that write it, the exclusive pairs it is in."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.pair import PAIR_COLUMNS, ExclusivePair, make_pair


@dataclass(frozen=True)
class TokenRow:
    """A row of the table `token`, its two neurons resolved; see the schema for each column's meaning and unit."""

    token: Token
    piece: str | None
    in_tokenizer: bool
    n_input: int
    n_actual: int
    n_predicted: int
    best_neuron: NeuronRef
    best_congruence: float
    neuron_gap: float | None
    worst_neuron: NeuronRef
    worst_congruence: float
    neuron_gap_bottom: float | None
    hub_count: int


@dataclass(frozen=True)
class CongruentNeuron:
    """A neuron in a token's list: 'top' highest congruence first, 'bottom' lowest first; rank from 1."""

    direction: str
    rank: int
    neuron: NeuronRef
    congruence: float


TOKEN_ROW = Statement("""SELECT t.token_id, /*+t."text" AS token, t.bytes, t.special, */t.piece, t.in_tokenizer,
       t.n_input, t.n_actual, t.n_predicted, /*+b.name AS best_neuron, */t.best_neuron_id, t.best_congruence,
       t.neuron_gap, /*+w.name AS worst_neuron, */t.worst_neuron_id, t.worst_congruence,
       t.neuron_gap_bottom, t.hub_count
FROM token AS t/*+
JOIN neuron AS b ON b.neuron_id = t.best_neuron_id
JOIN neuron AS w ON w.neuron_id = t.worst_neuron_id*/
WHERE t.token_id = $token_id""")

TOKEN_NEURONS = Statement("""SELECT /*+n.name AS neuron, */l.rank, l.congruence, l.neuron_id, l.direction
FROM token_neuron AS l/*+ JOIN neuron AS n USING (neuron_id)*/
WHERE l.token_id = $token_id
ORDER BY l.direction DESC, l.rank""")

TOKEN_PAIRS = Statement(f"""SELECT /*+n.name AS neuron, t."text" AS token,
       */{PAIR_COLUMNS}
FROM exclusive_pair AS p JOIN token AS t USING (token_id)/*+ JOIN neuron AS n USING (neuron_id)*/
WHERE p.token_id = $token_id
ORDER BY p.direction DESC""")

RELATIVES = Statement("""SELECT t."text" AS token, t.n_actual, t.n_predicted, t.token_id
FROM token AS t, (SELECT "text" FROM token WHERE token_id = $token_id) AS q
WHERE lower(trim(t."text")) = lower(trim(q."text")) AND trim(q."text") <> '' AND t.token_id <> $token_id
ORDER BY t.token_id
LIMIT $limit""")
"""What `Tokens.relatives` answers from memory."""


def token_row(atlas: Atlas, token_id: int) -> TokenRow:
    """The token of an id, with its counts and its best and worst neuron.

    Raises:
        TokenError: the id is out of range.
    """
    token = atlas.tokens[token_id]
    (row,) = TOKEN_ROW.rows(atlas, token_id=token_id)
    _, *counts, best, best_congruence, gap, worst, worst_congruence, gap_bottom, hub_count = row
    best_numbers = neuron_ref(atlas, best), best_congruence, gap
    return TokenRow(token, *counts, *best_numbers, neuron_ref(atlas, worst), worst_congruence, gap_bottom, hub_count)


def token_neurons(atlas: Atlas, token_id: int) -> list[CongruentNeuron]:
    """The neurons most ('top') and least ('bottom') congruent with a token: top first, by rank."""
    rows = TOKEN_NEURONS.rows(atlas, token_id=token_id)
    return [CongruentNeuron(direction, rank, neuron_ref(atlas, n), value) for rank, value, n, direction in rows]


def token_pairs(atlas: Atlas, token_id: int) -> list[ExclusivePair]:
    """The exclusive pairs a token is in: at most one a direction, 'top' first."""
    return [make_pair(atlas, row) for row in TOKEN_PAIRS.rows(atlas, token_id=token_id)]
