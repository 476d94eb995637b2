"""One token: its row, the neurons that write it, the exclusive pairs it is in."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.db import Atlas
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


def token_row(atlas: Atlas, token_id: int) -> TokenRow:
    """The token of an id, with its counts and its best and worst neuron.

    Raises:
        TokenError: the id is out of range.
    """
    token = atlas.tokens[token_id]
    piece, in_tokenizer, n_input, n_actual, n_predicted, best, best_congruence, gap, worst, *rest = atlas.rows(
        "SELECT piece, in_tokenizer, n_input, n_actual, n_predicted, best_neuron_id, best_congruence, neuron_gap, "
        "worst_neuron_id, worst_congruence, neuron_gap_bottom, hub_count FROM token WHERE token_id = ?",
        token_id,
    )[0]
    counts = (piece, in_tokenizer, n_input, n_actual, n_predicted)
    return TokenRow(token, *counts, neuron_ref(atlas, best), best_congruence, gap, neuron_ref(atlas, worst), *rest)


def token_neurons(atlas: Atlas, token_id: int) -> list[CongruentNeuron]:
    """The neurons most ('top') and least ('bottom') congruent with a token: top first, by rank."""
    rows = atlas.rows(
        "SELECT direction, rank, neuron_id, congruence FROM token_neuron WHERE token_id = ? "
        "ORDER BY direction DESC, rank",
        token_id,
    )
    return [CongruentNeuron(direction, rank, neuron_ref(atlas, n), value) for direction, rank, n, value in rows]


def token_pairs(atlas: Atlas, token_id: int) -> list[ExclusivePair]:
    """The exclusive pairs a token is in: at most one a direction, 'top' first."""
    rows = atlas.rows(
        f"SELECT {PAIR_COLUMNS} FROM exclusive_pair AS p JOIN token AS t USING (token_id) "
        "WHERE p.token_id = ? ORDER BY p.direction DESC",
        token_id,
    )
    return [make_pair(atlas, row) for row in rows]
