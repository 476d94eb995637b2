"""The tokens of a typed text, with the places of a neuron's activations in its stored histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas import Atlas
from atlas.core.units import Token
from atlas.topics.curve import HistogramBar
from atlas.topics.live import Activations
from atlas.topics.neuron import Neuron


@dataclass(frozen=True)
class PlacedToken:
    """A token of a text: the neuron's activation on it, and its place in the neuron's histogram.

    `below` is the fraction of counted positions in lower bins, `within` that in its own bin: both null where the
    position would not count (BOS). `beyond` is 'above' or 'below' where the activation lies outside the data.
    """

    position: int
    token: Token
    activation: float
    below: float | None
    within: float | None
    beyond: str | None


@dataclass(frozen=True)
class Place:
    """The place of an activation in a neuron's histogram: the fractions of counted positions in lower bins and in its
    own bin. `beyond` is 'above' or 'below' where it lies outside the data."""

    below: float
    within: float
    beyond: str | None


def place_of(neuron: Neuron, bars: Sequence[HistogramBar], value: float) -> Place:
    """The place of an activation; `bars` is the neuron's histogram."""
    total = sum(bar.n for bar in bars) or 1
    return Place(
        below=sum(bar.n for bar in bars if bar.upper is not None and bar.upper <= value) / total,
        within=sum(bar.n for bar in bars if _holds(bar, value)) / total,
        beyond="above" if value > neuron.activation_max else "below" if value < neuron.activation_min else None,
    )


def placed(atlas: Atlas, neuron: Neuron, bars: Sequence[HistogramBar], answer: Activations) -> tuple[PlacedToken, ...]:
    """The tokens in order; `bars` is the neuron's histogram."""
    tokens = []
    for position, (token_id, value) in enumerate(zip(answer.token_ids, answer.values, strict=True)):
        # Without BOS the first position counts; so does BOS where the atlas counted it.
        counted = position > 0 or not answer.has_bos or atlas.info.bos_counted
        at = place_of(neuron, bars, value) if counted else None
        place = (None, None, None) if at is None else (at.below, at.within, at.beyond)
        tokens.append(PlacedToken(position, atlas.tokens[token_id], value, *place))
    return tuple(tokens)


def _holds(bar: HistogramBar, value: float) -> bool:
    return (bar.lower is None or bar.lower <= value) and (bar.upper is None or value < bar.upper)
