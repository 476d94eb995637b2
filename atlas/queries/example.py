"""The texts shown for a neuron, their windows decoded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby

from atlas.bins import interval_edges
from atlas.db import Atlas
from atlas.records import Example, IntervalExamples

# One join over few texts; lists are cut in SQL, so that a long text costs no more to hand over than its window.
_EXAMPLES = """
SELECT e.kind, e."interval", e.rank, e.text_id, e.position, e.activation, e.predicted_token_id,
       x.token_ids[e.position + 2], e.window_start, len(x.token_ids),
       x.token_ids[e.window_start + 1:e.window_start + len(e.window_activations)],
       e.window_activations, e.window_scale
FROM example AS e JOIN "text" AS x USING (text_id)
WHERE e.neuron_id = ?
ORDER BY e.kind, e."interval", e.rank
"""


def examples(atlas: Atlas, neuron_id: int) -> list[Example]:
    """A neuron's texts: by kind ('interval', 'max', 'min'), within 'interval' by octave, then by rank."""
    tokens = atlas.tokens
    return [
        Example(
            kind=kind,
            interval=interval,
            rank=rank,
            text_id=text_id,
            position=position,
            activation=activation,
            predicted=tokens[predicted],
            actual=None if actual is None else tokens[actual],
            window_start=window_start,
            text_length=length,
            tokens=tuple(tokens[token_id] for token_id in token_ids),
            activations=tuple(value * scale for value in values),
        )
        for (
            kind, interval, rank, text_id, position, activation, predicted, actual, window_start, length, token_ids,
            values, scale,
        ) in atlas.rows(_EXAMPLES, neuron_id)
    ]  # fmt: skip


def interval_examples(found: Iterable[Example]) -> list[IntervalExamples]:
    """The examples of kind 'interval', grouped by octave from the highest down."""
    ordinary = sorted((example for example in found if example.kind == "interval"), key=lambda e: (-e.interval, e.rank))
    groups = []
    for interval, members in groupby(ordinary, key=lambda example: example.interval):
        lower, upper = (None if math.isinf(edge) else edge for edge in interval_edges(interval))
        groups.append(IntervalExamples(interval, lower, upper, tuple(members)))
    return groups
