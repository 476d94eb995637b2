"""One token: its row, the neurons most and least congruent with it, the exclusive pairs it is in."""

from __future__ import annotations

from atlas.db import Atlas
from atlas.queries.atlas import neuron_ref
from atlas.queries.pair import PAIR_COLUMNS, make_pair
from atlas.records import CongruentNeuron, ExclusivePair, TokenRow


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
