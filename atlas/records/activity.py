"""What the activations do: histograms, curves and texts.

The open ends of the outermost bins are None, so that no record ever holds an infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from atlas.display import show_range
from atlas.records.fields import field_names
from atlas.records.units import NeuronRef, Token


@dataclass(frozen=True)
class HistogramBar:
    """Counted positions `n` at which lower <= activation < upper; None is an open end."""

    bin: int
    lower: float | None
    upper: float | None
    n: int

    @property
    def range(self) -> str:
        """The bar's range in words."""
        return show_range(self.lower, self.upper)


@dataclass(frozen=True)
class CurvePoint:
    """One bin of a curve: of its `n` positions, how many predict the token and how many are followed by it."""

    bin: int
    lower: float | None
    upper: float | None
    n: int
    n_predicted: int
    n_actual: int
    predicted_fraction: float
    actual_fraction: float

    @property
    def range(self) -> str:
        """The bin's range in words."""
        return show_range(self.lower, self.upper)


@dataclass(frozen=True)
class Candidate:
    """A pair whose predictions were counted, and why: 'neuron_top', 'token_bottom', 'exclusive', 'user', ..."""

    neuron: NeuronRef
    token: Token
    congruence: float
    sources: tuple[str, ...]
    n_predicted: int
    n_actual: int


@dataclass(frozen=True)
class Curve:
    """Proportion predicted and actual against activation for one candidate pair, bins in order of activation."""

    candidate: Candidate
    points: tuple[CurvePoint, ...]


class ExampleJson(TypedDict):
    """A text's window around the position where it fires the neuron most (kind 'min': least); the window's tokens are
    `token_ids` and their texts `tokens`, which is a fifth of the size of whole tokens."""

    kind: str
    interval: int | None
    rank: int
    text_id: int
    position: int
    activation: float
    predicted: Token
    actual: Token | None
    window_start: int
    text_length: int
    activations: tuple[float, ...]
    token_ids: list[int]
    tokens: list[str | None]


@dataclass(frozen=True)
class Example:
    """A text's window around the position where it fires the neuron most (kind 'min': least)."""

    kind: str
    interval: int | None
    rank: int
    text_id: int
    position: int
    activation: float
    predicted: Token
    actual: Token | None
    window_start: int
    text_length: int
    tokens: tuple[Token, ...]
    activations: tuple[float, ...]

    def as_json(self) -> ExampleJson:
        """For JSON."""
        data = {name: getattr(self, name) for name in field_names(Example) if name != "tokens"}
        data["token_ids"] = [token.token_id for token in self.tokens]
        data["tokens"] = [token.text for token in self.tokens]
        return data


@dataclass(frozen=True)
class IntervalExamples:
    """Ordinary texts: those whose maximum activation lies in one octave; None is an open end."""

    interval: int
    lower: float | None
    upper: float | None
    examples: tuple[Example, ...]

    @property
    def range(self) -> str:
        """The octave's range in words."""
        return show_range(self.lower, self.upper)


@dataclass(frozen=True)
class Threshold:
    """What lies beyond an activation: "beyond `edge`, therefore the token", and how often that is right.

    `side` 'above' means activation >= edge, 'below' activation < edge. Precision is the fraction of the `n` positions
    beyond it at which the token is predicted (with its 95% Wilson interval), recall the fraction of the token's
    predictions that lie beyond it (None: never predicted), lift precision over the fraction at all positions.
    """

    side: str
    edge: float
    n: int
    n_predicted: int
    n_actual: int
    precision: float
    precision_low: float
    precision_high: float
    recall: float | None
    lift: float | None
    actual_precision: float
    actual_recall: float | None


@dataclass(frozen=True)
class IntervalShare:
    """Of the `n` ordinary texts of one octave, the number whose firing token is also one of the maximum texts'."""

    interval: int
    n: int
    n_shared: int


@dataclass(frozen=True)
class IllusionGuard:
    """Firing tokens of the maximum texts against those of ordinary texts, without spaces and case.

    Distances are total variation distances, 0 (the same distribution) to 1 (nothing in common), of the firing tokens
    and of the tokens predicted there.
    """

    n_maximum: int
    n_ordinary: int
    distinct_maximum: int
    distinct_ordinary: int
    distance: float
    predicted_distance: float
    shares: tuple[IntervalShare, ...]
