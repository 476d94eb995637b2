"""Neurons side by side: tokens and texts in common, cosines of their output weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from atlas.core.db import Atlas
from atlas.core.statements import Statement, wrapped
from atlas.core.units import Token, neuron_ref
from atlas.topics.example import Example, neuron_examples


@dataclass(frozen=True)
class SharedToken:
    """A token in several neurons' lists: its congruence with each, in their order; None where it is in no list."""

    token: Token
    congruences: tuple[float | None, ...]


@dataclass(frozen=True)
class SharedText:
    """A text that fires several neurons: each one's example of it, in their order; None where it has none."""

    text_id: int
    examples: tuple[Example | None, ...]


_NUMBERS = """SELECT n.name AS neuron, best."text" AS best_token, worst."text" AS worst_token,
       {columns}
FROM neuron AS n
JOIN token AS best ON best.token_id = n.best_token_id
JOIN token AS worst ON worst.token_id = n.worst_token_id
WHERE n.neuron_id IN (SELECT unnest($neuron_ids))
ORDER BY list_position($neuron_ids, n.neuron_id)"""

COSINES = Statement("""WITH chosen AS (
    SELECT n.neuron_id, n.name AS neuron, w.w_out
    FROM neuron AS n JOIN neuron_weight AS w USING (neuron_id)
    WHERE n.neuron_id IN (SELECT unnest($neuron_ids))
)
SELECT a.neuron, b.neuron AS second_neuron, list_cosine_similarity(a.w_out::DOUBLE[], b.w_out::DOUBLE[]) AS cosine
FROM chosen AS a CROSS JOIN chosen AS b
ORDER BY list_position($neuron_ids, a.neuron_id), list_position($neuron_ids, b.neuron_id)""")

HISTOGRAMS = Statement("""SELECT n.name AS neuron, b.lower, b.upper, h.n
FROM activation_histogram AS h
JOIN histogram_bin AS b USING (bin)
JOIN neuron AS n USING (neuron_id)
WHERE h.neuron_id IN (SELECT unnest($neuron_ids))
ORDER BY list_position($neuron_ids, h.neuron_id), b.bin""")
"""The histograms of several neurons; the page reads them one by one."""

_SHARED_TOKENS = """WITH listed AS (
    SELECT neuron_id, token_id, any_value(congruence) AS congruence
    FROM neuron_token
    WHERE neuron_id IN (SELECT unnest($neuron_ids))
    GROUP BY neuron_id, token_id
)
SELECT t."text" AS token,
       {columns},
       t.token_id
FROM listed AS l JOIN token AS t USING (token_id)
GROUP BY t.token_id, t."text"
HAVING count(*) > 1
ORDER BY count(*) DESC, sum(abs(l.congruence::DOUBLE)) DESC, t.token_id
LIMIT $limit"""

SHARED_TEXTS = Statement("""WITH strongest AS (
    SELECT *, count(*) OVER (PARTITION BY text_id) AS n_neurons
    FROM (
        SELECT * FROM example
        WHERE neuron_id IN (SELECT unnest($neuron_ids))
        QUALIFY row_number() OVER (PARTITION BY text_id, neuron_id ORDER BY abs(activation) DESC, kind) = 1
    )
)
SELECT s.text_id, n.name AS neuron, s.position, s.activation, t."text" AS token, p."text" AS predicted
FROM strongest AS s
JOIN neuron AS n USING (neuron_id)
JOIN "text" AS x USING (text_id)
JOIN token AS t ON t.token_id = x.token_ids[s.position + 1]
JOIN token AS p ON p.token_id = s.predicted_token_id
WHERE s.n_neurons > 1
QUALIFY dense_rank() OVER (ORDER BY s.n_neurons DESC, s.text_id) <= $limit
ORDER BY s.n_neurons DESC, s.text_id, list_position($neuron_ids, s.neuron_id)""")
"""The result of `shared_texts`, over the decoded examples."""


def side_by_side(columns: Sequence[str]) -> Statement:
    """Columns of `neuron` for several neurons (`$neuron_ids`); the page reads them one by one."""
    return Statement(_NUMBERS.format(columns=wrapped((f"n.{name}" for name in columns), 7)))


def shared_tokens_statement(atlas: Atlas, neuron_ids: Sequence[int]) -> Statement:
    """Tokens that several neurons (`$neuron_ids`) share, with a column of congruences for each; at most `$limit`."""
    columns = (
        f'any_value(l.congruence) FILTER (l.neuron_id = {n}) AS "{neuron_ref(atlas, n).name}"' for n in neuron_ids
    )
    return Statement(_SHARED_TOKENS.format(columns=",\n       ".join(columns)))


def shared_tokens(atlas: Atlas, neuron_ids: Sequence[int], limit: int = 40) -> list[SharedToken]:
    """Tokens in the lists (most or least congruent) of at least two of the neurons: in most lists first, then by the
    sum of |congruence|. A congruence is None where the token is in neither list of that neuron."""
    if not neuron_ids:
        return []
    rows = shared_tokens_statement(atlas, neuron_ids).rows(atlas, neuron_ids=list(neuron_ids), limit=limit)
    return [SharedToken(atlas.tokens[token_id], tuple(congruences)) for _, *congruences, token_id in rows]


def shared_texts(atlas: Atlas, neuron_ids: Sequence[int], limit: int = 20) -> list[SharedText]:
    """Texts among the stored examples of at least two of the neurons: of most neurons first, then by text_id.

    Of each neuron the example of the text with the greatest |activation| is taken; None where it has none.
    """
    by_text: dict[int, list[Example | None]] = defaultdict(lambda: [None] * len(neuron_ids))
    for place, neuron_id in enumerate(neuron_ids):
        for example in neuron_examples(atlas, neuron_id):
            best = by_text[example.text_id][place]
            if best is None or abs(example.activation) > abs(best.activation):
                by_text[example.text_id][place] = example
    shared = [
        SharedText(text_id, tuple(best)) for text_id, best in by_text.items() if sum(e is not None for e in best) > 1
    ]
    return sorted(shared, key=lambda text: (-sum(e is not None for e in text.examples), text.text_id))[:limit]


def output_cosines(atlas: Atlas, neuron_ids: Sequence[int]) -> list[list[float | None]]:
    """Cosine of every two neurons' output weights, -1 to 1, in the order of the arguments; None where a neuron's are
    zero.

    Empty if the atlas holds no weights.
    """
    if not atlas.info.has_weights or not neuron_ids:
        return []
    values = [None if math.isnan(value) else value for *_, value in COSINES.rows(atlas, neuron_ids=list(neuron_ids))]
    return [values[first : first + len(neuron_ids)] for first in range(0, len(values), len(neuron_ids))]
