"""The texts shown for a neuron, their windows decoded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby

from atlas.bins import interval_edges
from atlas.core.statements import Statement
from atlas.db import Atlas
from atlas.records import Example, IntervalExamples, Token
from atlas.texts import texts_by_id

_EXAMPLES = """
SELECT kind, "interval", rank, text_id, position, activation, predicted_token_id, window_start, window_activations,
       window_scale
FROM example WHERE neuron_id = ?
"""

TEXTS = Statement("""SELECT kind, "interval", rank, activation, right(before, 80) AS before, token,
       left(after, 40) AS after, predicted
FROM max_activating_example
WHERE neuron_id = $neuron_id
ORDER BY kind, "interval" DESC, rank""")
"""What `examples` decodes with the texts and the vocabulary in memory."""

# Equal but for spaces around and case is the same token here.
GUARD = Statement("""WITH fired AS (
    SELECT kind, unnest(['token it fires on', 'token predicted there']) AS what, unnest([token, predicted]) AS token
    FROM max_activating_example
    WHERE neuron_id = $neuron_id AND kind IN ('max', 'interval')
),
share AS (
    SELECT what, coalesce(nullif(lower(trim(token)), ''), token, '') AS token,
           count(*) FILTER (kind = 'max') AS n_maximum, count(*) FILTER (kind = 'interval') AS n_ordinary
    FROM fired
    GROUP BY ALL
),
total AS (SELECT what, sum(n_maximum) AS maximum, sum(n_ordinary) AS ordinary FROM share GROUP BY what)
SELECT what, maximum AS n_maximum, count(*) FILTER (n_maximum > 0) AS distinct_maximum,
       ordinary AS n_ordinary, count(*) FILTER (n_ordinary > 0) AS distinct_ordinary,
       1 - sum(least(n_maximum / maximum, n_ordinary / ordinary)) AS distance
FROM share JOIN total USING (what)
GROUP BY ALL
ORDER BY what""")
"""The illusion guard, which is measured on the examples that were read."""


def examples(atlas: Atlas, neuron_id: int) -> list[Example]:
    """A neuron's texts: by kind ('interval', 'max', 'min'), within 'interval' by octave, then by rank."""
    tokens = atlas.tokens
    rows = atlas.rows(_EXAMPLES, neuron_id)
    texts = texts_by_id(atlas, (row[3] for row in rows))
    found = []
    for kind, interval, rank, text_id, position, activation, predicted, start, values, scale in rows:
        text = texts[text_id]
        found.append(
            Example(
                kind=kind,
                interval=interval,
                rank=rank,
                text_id=text_id,
                position=position,
                activation=activation,
                predicted=tokens[predicted],
                actual=tokens[text[position + 1]] if position + 1 < len(text) else None,
                window_start=start,
                text_length=len(text),
                tokens=tokens.many(text[start : start + len(values)]),
                activations=tuple([value * scale for value in values]),
            )
        )
    return sorted(found, key=lambda example: (example.kind, example.interval or 0, example.rank))


def interval_examples(found: Iterable[Example]) -> list[IntervalExamples]:
    """The examples of kind 'interval', grouped by octave from the highest down."""
    ordinary = sorted((example for example in found if example.kind == "interval"), key=lambda e: (-e.interval, e.rank))
    groups = []
    for interval, members in groupby(ordinary, key=lambda example: example.interval):
        lower, upper = (None if math.isinf(edge) else edge for edge in interval_edges(interval))
        groups.append(IntervalExamples(interval, lower, upper, tuple(members)))
    return groups


def whole_texts(atlas: Atlas, text_ids: Iterable[int]) -> dict[int, tuple[Token, ...]]:
    """All tokens of some texts, BOS included, by text_id."""
    texts = texts_by_id(atlas, text_ids)
    return {text_id: atlas.tokens.many(token_ids) for text_id, token_ids in texts.items()}
