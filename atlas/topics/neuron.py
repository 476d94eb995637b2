"""One neuron: its row, the tokens it writes and reads, the exclusive pairs it is in.

Every query filters on neuron_id, by which the tables are sorted: a point lookup reads one block of each column. The
few rows found are sorted here, which costs less than an ORDER BY.
"""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.db import Atlas
from atlas.core.errors import NeuronNameError
from atlas.core.statements import Statement
from atlas.core.units import Token, field_names
from atlas.topics.pair import PAIR_COLUMNS, ExclusivePair, make_pair


@dataclass(frozen=True)
class Neuron:
    """A row of the table `neuron`, its two tokens resolved; see the schema for each column's meaning and unit."""

    neuron_id: int
    layer: int
    index: int
    name: str
    w_in_norm: float
    w_gate_norm: float | None
    w_out_norm: float
    in_out_cosine: float | None
    gate_out_cosine: float | None
    best_token: Token
    best_congruence: float
    token_gap: float | None
    worst_token: Token
    worst_congruence: float
    token_gap_bottom: float | None
    hub_count: int
    mean_congruence: float
    congruence_mean: float
    congruence_std: float
    congruence_skewness: float | None
    congruence_kurtosis: float | None
    activation_mean: float
    activation_std: float
    activation_skewness: float | None
    activation_kurtosis: float | None
    activation_min: float
    activation_max: float
    positive_fraction: float
    dead: bool


@dataclass(frozen=True)
class CongruentToken:
    """A token in a neuron's list: 'top' highest congruence first, 'bottom' lowest first; rank from 1."""

    direction: str
    rank: int
    token: Token
    congruence: float


@dataclass(frozen=True)
class InputToken:
    """A token that a neuron's input weights ('in') or gate ('gate') read most ('top') or least ('bottom')."""

    side: str
    direction: str
    rank: int
    token: Token
    value: float


NEURON_COLUMNS = [name + "_id" if name in ("best_token", "worst_token") else name for name in field_names(Neuron)]
"""Columns of the table `neuron` that make a Neuron, in the record's order."""

_COLUMNS = ", ".join(f'"{name}"' for name in NEURON_COLUMNS)


NEURON_TOKENS = Statement("""SELECT /*+t."text" AS token, */l.rank, l.congruence, l.token_id, l.direction
FROM neuron_token AS l/*+ JOIN token AS t USING (token_id)*/
WHERE l.neuron_id = $neuron_id/*+
ORDER BY l.direction DESC, l.rank*/""")

INPUT_TOKENS = Statement("""SELECT l.side, l.direction, l.rank, /*+t."text" AS token, */l.value, l.token_id
FROM neuron_input_token AS l/*+ JOIN token AS t USING (token_id)*/
WHERE l.neuron_id = $neuron_id/*+
ORDER BY l.side DESC, l.direction DESC, l.rank*/""")

NEURON_PAIRS = Statement(f"""SELECT /*+n.name AS neuron, t."text" AS token,
       */{PAIR_COLUMNS}
FROM exclusive_pair AS p JOIN token AS t USING (token_id)/*+ JOIN neuron AS n USING (neuron_id)*/
WHERE p.neuron_id = $neuron_id
ORDER BY p.direction DESC""")

HISTOGRAM = Statement("""SELECT /*+b.lower, b.upper, */h.n, h.bin
FROM activation_histogram AS h/*+ JOIN histogram_bin AS b USING (bin)*/
WHERE h.neuron_id = $neuron_id/*+
ORDER BY h.bin*/""")


def make_neuron(atlas: Atlas, row: tuple) -> Neuron:
    """A Neuron from a row of NEURON_COLUMNS."""
    values = dict(zip(NEURON_COLUMNS, row, strict=True))
    best, worst = values.pop("best_token_id"), values.pop("worst_token_id")
    return Neuron(best_token=atlas.tokens[best], worst_token=atlas.tokens[worst], **values)


def find_neuron(atlas: Atlas, neuron_id: int) -> Neuron:
    """The neuron of an id.

    Raises:
        NeuronNameError: the id is out of range.
    """
    rows = atlas.rows(f"SELECT {_COLUMNS} FROM neuron WHERE neuron_id = ?", neuron_id)
    if not rows:
        raise NeuronNameError(f"There is no neuron {neuron_id}: neuron ids go from 0 to {atlas.info.n_neurons - 1}.")
    return make_neuron(atlas, rows[0])


def neuron_tokens(atlas: Atlas, neuron_id: int) -> list[CongruentToken]:
    """The tokens a neuron is most ('top') and least ('bottom') congruent with: top first, by rank."""
    rows = NEURON_TOKENS.rows(atlas, neuron_id=neuron_id)
    tokens = [CongruentToken(direction, rank, atlas.tokens[t], value) for rank, value, t, direction in rows]
    return sorted(tokens, key=lambda item: (item.direction != "top", item.rank))


def input_tokens(atlas: Atlas, neuron_id: int) -> list[InputToken]:
    """The tokens whose embedding a neuron's input weights and gate read most and least: 'in' before 'gate'."""
    rows = INPUT_TOKENS.rows(atlas, neuron_id=neuron_id)
    tokens = [InputToken(side, direction, rank, atlas.tokens[t], value) for side, direction, rank, value, t in rows]
    return sorted(tokens, key=lambda item: (item.side != "in", item.direction != "top", item.rank))


def neuron_pairs(atlas: Atlas, neuron_id: int) -> list[ExclusivePair]:
    """The exclusive pairs a neuron is in: at most one a direction, 'top' first."""
    return [make_pair(atlas, row) for row in NEURON_PAIRS.rows(atlas, neuron_id=neuron_id)]
