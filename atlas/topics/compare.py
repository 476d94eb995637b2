"""Neurons side by side: tokens and texts in common, cosines of their output weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atlas.core.db import Atlas
from atlas.core.units import Token
from atlas.topics.example import Example, neuron_examples
from atlas.topics.neuron import neuron_tokens


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


def shared_tokens(atlas: Atlas, neuron_ids: Sequence[int], limit: int = 40) -> list[SharedToken]:
    """Tokens in the lists (most or least congruent) of at least two of the neurons: in most lists first, then by the
    sum of |congruence|. A congruence is None where the token is in neither list of that neuron."""
    found: dict[int, list[float | None]] = defaultdict(lambda: [None] * len(neuron_ids))
    for place, neuron_id in enumerate(neuron_ids):
        for item in neuron_tokens(atlas, neuron_id):
            found[item.token.token_id][place] = item.congruence
    shared = [
        SharedToken(atlas.tokens[token_id], tuple(values))
        for token_id, values in found.items()
        if sum(value is not None for value in values) > 1
    ]

    def place_of(item: SharedToken) -> tuple:
        known = [abs(value) for value in item.congruences if value is not None]
        return -len(known), -sum(known), item.token.token_id

    return sorted(shared, key=place_of)[:limit]


def shared_texts(atlas: Atlas, neuron_ids: Sequence[int], limit: int = 20) -> list[SharedText]:
    """Texts among the stored examples of at least two of the neurons: of most neurons first, then by text_id.

    Of each neuron the example of the text with the greatest |activation| is taken; None where it has none.
    """
    found: dict[int, list[Example | None]] = defaultdict(lambda: [None] * len(neuron_ids))
    for place, neuron_id in enumerate(neuron_ids):
        for example in neuron_examples(atlas, neuron_id):
            held = found[example.text_id][place]
            if held is None or abs(example.activation) > abs(held.activation):
                found[example.text_id][place] = example
    shared = [
        SharedText(text_id, tuple(held)) for text_id, held in found.items() if sum(e is not None for e in held) > 1
    ]
    return sorted(shared, key=lambda text: (-sum(e is not None for e in text.examples), text.text_id))[:limit]


def output_cosines(atlas: Atlas, neuron_ids: Sequence[int]) -> list[list[float | None]]:
    """Cosine of every two neurons' output weights, -1 to 1, in the order given; None where a neuron's are zero.

    Empty if the atlas holds no weights.
    """
    if not atlas.info.has_weights:
        return []
    rows = atlas.rows("SELECT neuron_id, w_out FROM neuron_weight WHERE list_contains(?, neuron_id)", list(neuron_ids))
    weights = {neuron_id: np.asarray(w_out, dtype=np.float64) for neuron_id, w_out in rows}
    vectors = [weights[neuron_id] for neuron_id in neuron_ids]
    norms = [float(np.linalg.norm(vector)) for vector in vectors]

    def cosine(i: int, j: int) -> float | None:
        return float(vectors[i] @ vectors[j] / (norms[i] * norms[j])) if norms[i] and norms[j] else None

    return [[cosine(i, j) for j in range(len(vectors))] for i in range(len(vectors))]
