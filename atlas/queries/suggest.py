"""What a text may mean, told at every key: from memory, without a query."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from atlas.db import Atlas
from atlas.errors import NeuronNameError
from atlas.queries.atlas import named_ref
from atlas.queries.search import best_token
from atlas.records import NeuronRef, Suggestion
from atlas.token_index import token_index


def named_neuron(atlas: Atlas, text: str) -> NeuronRef | None:
    """The neuron that a text spells, if this model has it."""
    try:
        return named_ref(atlas, text)
    except NeuronNameError:
        return None


def suggestions(atlas: Atlas, text: str, limit: int) -> list[Suggestion]:
    """At most `limit` neurons and tokens that a text may mean: the neuron, then tokens, the likeliest first."""
    return list(islice(_likely(atlas, text, limit), limit))


def _likely(atlas: Atlas, text: str, limit: int) -> Iterator[Suggestion]:
    neuron = named_neuron(atlas, text)
    if neuron is not None:
        yield Suggestion("neuron", neuron, best_token(atlas, neuron.neuron_id))
    index = token_index(atlas)
    seen = set()
    for kind, tokens in (
        ("exact", index.exact(text)),
        ("same letters", index.same_letters(text)),
        ("prefix", index.beginning(text, 2 * limit)),
    ):
        for token in tokens:
            if token.token_id not in seen:
                seen.add(token.token_id)
                yield Suggestion(kind, None, token)
