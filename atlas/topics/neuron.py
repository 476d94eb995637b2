"""One neuron: its row, the tokens it writes and reads, the exclusive pairs it is in.

Every query filters on neuron_id, by which the tables are sorted: a point lookup reads one block of each column. Python
sorts the few rows, which costs less than an ORDER BY.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from atlas.core.call import OF_NEURON, call
from atlas.core.db import Atlas
from atlas.core.errors import NeuronNameError
from atlas.core.parameter import End, NeuronId
from atlas.core.statements import Statement, wrapped
from atlas.core.term import BEST_PAIR, POST, Term
from atlas.core.units import Token, field_names
from atlas.topics.pair import PAIR_COLUMNS, ExclusivePair, make_pair


@dataclass(frozen=True)
class Neuron:
    """A row of the table `neuron`, its two tokens resolved; see the schema for each column's meaning and unit."""

    TABLE = "neuron"

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
    unembedding_null_fraction: float | None
    entropy_change: float | None
    entropy_change_by_norm: float | None
    unigram_divergence_change: float | None
    n_ablated: int | None


@dataclass(frozen=True)
class CongruentToken:
    """A token in a neuron's list: 'top' highest congruence first, 'bottom' lowest first; rank from 1."""

    TABLE = "neuron_token"

    direction: str
    rank: int
    token: Token
    congruence: float


@dataclass(frozen=True)
class InputToken:
    """A token that a neuron's input weights ('in') or gate ('gate') read most ('top') or least ('bottom')."""

    TABLE = "neuron_input_token"

    side: str
    direction: str
    rank: int
    token: Token
    value: float


NEURON_COLUMNS = [name + "_id" if name in ("best_token", "worst_token") else name for name in field_names(Neuron)]
"""Columns of the table `neuron` that make a Neuron, in the record's order."""

_COLUMNS = ", ".join(f'"{name}"' for name in NEURON_COLUMNS)


_COLUMNS_OF_N = wrapped((f'n."{name}"' for name in NEURON_COLUMNS), 7)

NEURONS = Statement(f"""SELECT /*+best."text" AS best_token, worst."text" AS worst_token,
       */{_COLUMNS_OF_N}
FROM neuron AS n/*+
JOIN token AS best ON best.token_id = n.best_token_id
JOIN token AS worst ON worst.token_id = n.worst_token_id*/
WHERE n.neuron_id IN (SELECT unnest($neuron_ids))/*+
ORDER BY list_position($neuron_ids, n.neuron_id)*/""")

_NEURON = Statement(f"SELECT {_COLUMNS} FROM neuron WHERE neuron_id = $neuron_id", each="neuron_id")

NEURON_TOKENS = Statement(
    """SELECT /*+t."text" AS token, */l.rank, l.congruence, l.token_id, l.direction
FROM neuron_token AS l/*+ JOIN token AS t USING (token_id)*/
WHERE l.neuron_id = $neuron_id/*+
ORDER BY l.direction DESC, l.rank*/""",
    each="l.neuron_id",
)

INPUT_TOKENS = Statement(
    """SELECT l.side, l.direction, l.rank, /*+t."text" AS token, */l.value, l.token_id
FROM neuron_input_token AS l/*+ JOIN token AS t USING (token_id)*/
WHERE l.neuron_id = $neuron_id/*+
ORDER BY l.side DESC, l.direction DESC, l.rank*/""",
    each="l.neuron_id",
)

NEURON_PAIRS = Statement(
    f"""SELECT /*+n.name AS neuron, t."text" AS token,
       */{PAIR_COLUMNS}
FROM exclusive_pair AS p JOIN token AS t USING (token_id)/*+ JOIN neuron AS n USING (neuron_id)*/
WHERE p.neuron_id = $neuron_id
ORDER BY p.direction DESC""",
    each="p.neuron_id",
)

HISTOGRAM = Statement(
    """SELECT /*+b.lower, b.upper, */h.n, h.bin
FROM activation_histogram AS h/*+ JOIN histogram_bin AS b USING (bin)*/
WHERE h.neuron_id = $neuron_id/*+
ORDER BY h.bin*/""",
    each="h.neuron_id",
)


def make_neuron(atlas: Atlas, row: tuple) -> Neuron:
    """A Neuron from a row of NEURON_COLUMNS."""
    values = dict(zip(NEURON_COLUMNS, row, strict=True))
    best, worst = values.pop("best_token_id"), values.pop("worst_token_id")
    return Neuron(best_token=atlas.tokens[best], worst_token=atlas.tokens[worst], **values)


def find_neuron(atlas: Atlas, neuron_id: int) -> Neuron:
    """One neuron: its row of the table `neuron`.

    Raises:
        NeuronNameError: the id is out of range.
    """
    rows = _NEURON.rows(atlas, neuron_id=neuron_id)
    if not rows:
        raise NeuronNameError(f"There is no neuron {neuron_id}: neuron ids go from 0 to {atlas.info.n_neurons - 1}.")
    return make_neuron(atlas, rows[0])


def neurons_by_id(atlas: Atlas, neuron_ids: Iterable[int]) -> dict[int, Neuron]:
    """The rows of several neurons, by neuron_id. Ids out of range are left out."""

    def read(ids: list[int]) -> dict[int, Neuron]:
        rows = NEURONS.rows(atlas, neuron_ids=ids)
        return {neuron.neuron_id: neuron for neuron in (make_neuron(atlas, row) for row in rows)}

    return atlas.records("neurons", dict.fromkeys(neuron_ids), read)


@call(OF_NEURON + "/tokens", python='demo.neuron("{neuron}").best_tokens')
def neuron_tokens(atlas: Atlas, neuron_id: NeuronId, direction: End | None = None) -> list[CongruentToken]:
    """The tokens most congruent with a neuron, then the least congruent."""
    rows = NEURON_TOKENS.rows(atlas, neuron_id=neuron_id)
    tokens = [CongruentToken(end, rank, atlas.tokens[t], value) for rank, value, t, end in rows if _of(end, direction)]
    return sorted(tokens, key=lambda item: (item.direction != "top", item.rank))


@call(OF_NEURON + "/input-tokens", python='demo.neuron("{neuron}").input_tokens()')
def input_tokens(atlas: Atlas, neuron_id: NeuronId, direction: End | None = None) -> list[InputToken]:
    """The tokens whose embedding a neuron's input weights, and its gate, read most and least."""
    rows = [row for row in INPUT_TOKENS.rows(atlas, neuron_id=neuron_id) if _of(row[1], direction)]
    tokens = [InputToken(side, end, rank, atlas.tokens[t], value) for side, end, rank, value, t in rows]
    return sorted(tokens, key=lambda item: (item.side != "in", item.direction != "top", item.rank))


def _of(end: str, direction: str | None) -> bool:
    return direction in (None, end)


@call(OF_NEURON + "/pairs", python='demo.neuron("{neuron}").pairs()', title="exclusive pairs")
def neuron_pairs(atlas: Atlas, neuron_id: NeuronId) -> list[ExclusivePair]:
    """The exclusive pairs of a neuron: at most one of each direction."""
    return [make_pair(atlas, row) for row in NEURON_PAIRS.rows(atlas, neuron_id=neuron_id)]


TERMS = (
    Term(
        "Neuron",
        "neuron",
        "One hidden unit of one layer's MLP. L31N892 is layer 31, index 892, both from 0; its neuron_id is "
        "layer × d_mlp + index.",
        'SELECT neuron_id, name, layer, "index" FROM neuron ORDER BY neuron_id LIMIT 3',
    ),
    Term(
        "Activation",
        "activation",
        "The number that multiplies a neuron's output weights at a position: TransformerLens' hook_post. In a gated "
        "MLP it is act(gate) × in, which has either sign; otherwise it is the activation function's value, which for "
        "GELU is never below −0.17.",
        "SELECT act_fn, gated, hook FROM atlas",
    ),
    Term(
        "Congruence",
        "congruence",
        "Dot product of a neuron's output weights with a token's readout column: what one unit of the neuron's "
        "activation adds to the token's score along the direct path, before the final norm divides. It has no unit, "
        "and paths through later layers are not included.",
        BEST_PAIR + "SELECT best.neuron, best.token, array_inner_product(n.w_out, t.readout) AS congruence\n"
        "FROM best JOIN neuron_weight AS n USING (neuron_id) JOIN token_weight AS t USING (token_id)",
        POST,
    ),
    Term(
        "Top and bottom",
        "direction",
        "The two ends of a congruence: 'top' is the highest first, 'bottom' the lowest first. In a gated MLP the sign "
        "of a neuron is arbitrary, so the bottom means as much as the top; otherwise activations are rarely negative "
        "and only the top is useful.",
        BEST_PAIR + 'SELECT nt.direction, nt.rank, t."text" AS token, nt.congruence\n'
        "FROM best JOIN neuron_token AS nt USING (neuron_id) JOIN token AS t ON t.token_id = nt.token_id\n"
        "WHERE nt.rank <= 2 ORDER BY nt.direction DESC, nt.rank",
    ),
    Term(
        "Token gap",
        "token-gap",
        "For a neuron: its best congruence minus its second best, over all tokens of the vocabulary. A large gap: it "
        "writes one token more than any other.",
        BEST_PAIR + "SELECT max(congruence) FILTER (rank = 1) - max(congruence) FILTER (rank = 2) AS token_gap\n"
        "FROM neuron_token WHERE direction = 'top' AND rank <= 2 AND neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Moments of congruence",
        "congruence-moments",
        "Mean, standard deviation, skewness and kurtosis (3 for a normal distribution) of a neuron's congruence over "
        "the whole vocabulary. High kurtosis: a few tokens stand far out from the rest.",
        BEST_PAIR + "SELECT name AS neuron, congruence_mean, congruence_std, congruence_skewness, congruence_kurtosis\n"
        "FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Norm",
        "norm",
        "Euclidean length of a neuron's input, gate or output weights, after the norm's gain is folded into input and "
        "gate. Congruence grows with the norm of the output weights.",
        BEST_PAIR + "SELECT name AS neuron, w_in_norm, w_gate_norm, w_out_norm\n"
        "FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Cosine",
        "cosine",
        "Dot product of two weight vectors over the product of their norms, −1 to 1. Between a neuron's input (or "
        "gate) and output weights it tells whether the neuron strengthens or weakens what it reads; between two "
        "neurons' vectors, how similar their roles are.",
        BEST_PAIR + "SELECT name AS neuron, in_out_cosine, gate_out_cosine\n"
        "FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Input tokens",
        "input-tokens",
        "The tokens whose embedding a neuron's input weights (or gate) read most and least, by dot product. Only the "
        "embedding counts, not what attention and earlier layers add to the residual stream.",
        BEST_PAIR + 'SELECT i.side, i.rank, t."text" AS token, i.value\n'
        "FROM neuron_input_token AS i JOIN token AS t USING (token_id)\n"
        "WHERE i.neuron_id = (SELECT neuron_id FROM best) AND i.direction = 'top' AND i.rank = 1 ORDER BY i.side DESC",
    ),
    Term(
        "Moments of activation",
        "activation-moments",
        "Mean, standard deviation, skewness and kurtosis (3 for a normal distribution) of a neuron's activation over "
        "the counted positions, exact, not from the histogram. Kurtosis in the hundreds: it fires rarely and hard.",
        BEST_PAIR + "SELECT activation_mean, activation_std, activation_skewness, activation_kurtosis\n"
        "FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Positive fraction",
        "positive-fraction",
        "Fraction of the counted positions at which the activation is above 0. In a gated MLP about a half is usual.",
        "SELECT min(positive_fraction) AS least, median(positive_fraction) AS median, "
        "max(positive_fraction) AS greatest\nFROM neuron",
    ),
    Term(
        "Dead",
        "dead",
        "A dead neuron's counted activations all lie in the zero bin: their magnitude was never 1/64 or more in "
        "these texts. Other texts may activate it.",
        "SELECT count(*) FILTER (dead) AS dead, count(*) AS neurons FROM neuron",
    ),
)
