"""One token: its row, the neurons that write it, the exclusive pairs it is in."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.call import OF_ATLAS, OF_TOKEN, call
from atlas.core.db import Atlas
from atlas.core.parameter import End, Exactly, Limit, Offset, TokenId
from atlas.core.statements import Statement
from atlas.core.term import BEST_PAIR, POST, Term
from atlas.core.units import Listing, NeuronRef, Token, neuron_ref
from atlas.topics.pair import PAIR_COLUMNS, ExclusivePair, make_pair
from atlas.topics.search import tokens_by_text


@dataclass(frozen=True)
class TokenRow:
    """A row of the table `token`, its two neurons resolved; see the schema for each column's meaning and unit."""

    TABLE = "token"

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

    TABLE = "token_neuron"

    direction: str
    rank: int
    neuron: NeuronRef
    congruence: float


TOKEN_ROW = Statement(
    """SELECT t.token_id, /*+t."text" AS token, t.bytes, t.special, */t.piece, t.in_tokenizer,
       t.n_input, t.n_actual, t.n_predicted, /*+b.name AS best_neuron, */t.best_neuron_id, t.best_congruence,
       t.neuron_gap, /*+w.name AS worst_neuron, */t.worst_neuron_id, t.worst_congruence,
       t.neuron_gap_bottom, t.hub_count
FROM token AS t/*+
JOIN neuron AS b ON b.neuron_id = t.best_neuron_id
JOIN neuron AS w ON w.neuron_id = t.worst_neuron_id*/
WHERE t.token_id = $token_id""",
    each="t.token_id",
)

TOKEN_NEURONS = Statement(
    """SELECT /*+n.name AS neuron, */l.rank, l.congruence, l.neuron_id, l.direction
FROM token_neuron AS l/*+ JOIN neuron AS n USING (neuron_id)*/
WHERE l.token_id = $token_id
ORDER BY l.direction DESC, l.rank""",
    each="l.token_id",
)

TOKEN_PAIRS = Statement(
    f"""SELECT /*+n.name AS neuron, t."text" AS token,
       */{PAIR_COLUMNS}
FROM exclusive_pair AS p JOIN token AS t USING (token_id)/*+ JOIN neuron AS n USING (neuron_id)*/
WHERE p.token_id = $token_id
ORDER BY p.direction DESC""",
    each="p.token_id",
)

RELATIVES = Statement("""SELECT t."text" AS token, t.n_actual, t.n_predicted, t.token_id
FROM token AS t, (SELECT "text" FROM token WHERE token_id = $token_id) AS q
WHERE lower(trim(t."text")) = lower(trim(q."text")) AND trim(q."text") <> '' AND t.token_id <> $token_id
ORDER BY t.token_id
LIMIT $limit""")
"""The rows of `Tokens.relatives`, which answers from memory."""


@call(OF_ATLAS + "/tokens", name="tokens", python="demo.tokens(limit=20)", limit=20)
def vocabulary(atlas: Atlas, text: Exactly | None = None, offset: Offset = 0, limit: Limit = 100) -> Listing[Token]:
    """Tokens by id: the vocabulary, or those of exactly a text (several, where bytes are not UTF-8 by themselves)."""
    if text is not None:
        same = tokens_by_text(atlas, text)
        return Listing(tuple(same[offset : offset + limit]), len(same), offset, limit)
    total = atlas.info.d_vocab
    return Listing(atlas.tokens.many(range(offset, min(offset + limit, total))), total, offset, limit)


@call(OF_TOKEN, name="token", python="demo.token({token}).record")
def token_row(atlas: Atlas, token_id: TokenId) -> TokenRow:
    """One token: its row of the table `token`.

    Raises:
        TokenError: the id is out of range.
    """
    token = atlas.tokens[token_id]
    (row,) = TOKEN_ROW.rows(atlas, token_id=token_id)
    _, *counts, best, best_congruence, gap, worst, worst_congruence, gap_bottom, hub_count = row
    best_numbers = neuron_ref(atlas, best), best_congruence, gap
    return TokenRow(token, *counts, *best_numbers, neuron_ref(atlas, worst), worst_congruence, gap_bottom, hub_count)


@call(OF_TOKEN + "/neurons", python="demo.token({token}).best_neurons")
def token_neurons(atlas: Atlas, token_id: TokenId, direction: End | None = None) -> list[CongruentNeuron]:
    """The neurons most congruent with a token, then the least congruent.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    rows = [row for row in TOKEN_NEURONS.rows(atlas, token_id=token_id) if direction in (None, row[-1])]
    return [CongruentNeuron(end, rank, neuron_ref(atlas, n), value) for rank, value, n, end in rows]


@call(OF_TOKEN + "/relatives", python="demo.token({token}).relatives()")
def relatives(atlas: Atlas, token_id: TokenId) -> list[Token]:
    """Other tokens with the same letters: equal after stripping spaces and case."""
    return list(atlas.tokens.relatives(token_id))


@call(OF_TOKEN + "/pairs", python="demo.token({token}).pairs()", title="exclusive pairs")
def token_pairs(atlas: Atlas, token_id: TokenId) -> list[ExclusivePair]:
    """The exclusive pairs of a token: at most one of each direction.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    return [make_pair(atlas, row) for row in TOKEN_PAIRS.rows(atlas, token_id=token_id)]


TERMS = (
    Term(
        "Token",
        "token",
        "A piece of text that the model reads and writes as one, shown with ␣ for a space at either end. Special "
        "tokens (BOS, chat marks) and rows that pad the vocabulary beyond the tokenizer are tokens too, and lists "
        "that leave them out say so.",
        "SELECT count(*) AS tokens, count(*) FILTER (special) AS special, "
        "count(*) FILTER (NOT in_tokenizer) AS padding FROM token",
    ),
    Term(
        "Readout",
        "readout",
        "The matrix that turns the final residual stream into one score a token. 'unembed' is the unembedding with "
        "the final norm's gain folded in, centred over the vocabulary; 'embed' is the embedding transposed, not "
        "folded and not centred, as in the post.",
        "SELECT readout, normalization, d_model, d_vocab FROM atlas",
        POST,
    ),
    Term(
        "Position",
        "position",
        "A place in a text, BOS being 0. Every number is over the counted positions: all positions of all texts that "
        "were read, without the BOS unless the atlas says that it is counted.",
        "SELECT n_texts, n_positions, bos_counted FROM atlas",
    ),
    Term(
        "Neuron gap",
        "neuron-gap",
        "For a token: its best congruence minus its second best, over all neurons of the model. A large gap: one "
        "neuron writes it more than any other does.",
        BEST_PAIR + "SELECT max(congruence) FILTER (rank = 1) - max(congruence) FILTER (rank = 2) AS neuron_gap\n"
        "FROM token_neuron WHERE direction = 'top' AND rank <= 2 AND token_id = (SELECT token_id FROM best)",
        POST,
    ),
    Term(
        "Predicted",
        "predicted",
        "Counted positions at which the token is the model's top prediction: the greatest of its logits (with readout "
        "'embed', of that readout's scores).",
        'SELECT "text" AS token, n_predicted FROM token ORDER BY n_predicted DESC, token_id LIMIT 3',
    ),
    Term(
        "Actual",
        "actual",
        "Counted positions after which the token comes next in the text. The last position of a text has no "
        "next token, so it counts as a position and for no token.",
        'SELECT "text" AS token, n_actual FROM token ORDER BY n_actual DESC, token_id LIMIT 3',
    ),
)
