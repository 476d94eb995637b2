"""The same things in several atlases: a token by its text, what neurons of different models have in common."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.activity import Curve, Example
from atlas.records.congruence import CongruentNeuron, ExclusivePair
from atlas.records.metric import PairMetric
from atlas.records.units import Token, TokenRow


@dataclass(frozen=True)
class BridgeToken:
    """What one atlas has of a text: its token's numbers, best neurons, exclusive pairs, and how well the best predicts
    it; of a text that is no token here, the tokens that are spelt most like it."""

    slug: str
    """The atlas."""
    build_id: str
    """Its build."""
    model_name: str
    """Its model."""
    tokens: tuple[Token, ...]
    """Tokens of exactly the text: none, or one, or several whose bytes are not UTF-8 by themselves."""
    row: TokenRow | None
    """Numbers of the first of them, which is meant below; None: there is none."""
    best_neurons: tuple[CongruentNeuron, ...]
    """Neurons most congruent with it, best first."""
    pairs: tuple[ExclusivePair, ...]
    """Exclusive pairs it is in, at most one of each direction."""
    curve: Curve | None
    """How often it is predicted, and comes, by the activation of its best neuron; None: the pair was not counted."""
    metrics: tuple[PairMetric, ...]
    """How well its best neuron predicts it, a row a side of zero; none where the pair has no metrics."""
    nearest: tuple[Token, ...]
    """Where there is no such token: those of the same letters, spaces and case aside, the shortest first."""


@dataclass(frozen=True)
class SharedSpelling:
    """A text that is a token in the lists of several neurons, each of its own model: by neuron its token and their
    congruence, None where it is in no list of that neuron."""

    text: str
    tokens: tuple[Token | None, ...]
    congruences: tuple[float | None, ...]


@dataclass(frozen=True)
class SharedRow:
    """A row of one dataset of which several neurons, each of its own atlas, have an example: in their order, None where
    a neuron has none. Tokens and positions are each model's own."""

    source_row: int
    examples: tuple[Example | None, ...]


@dataclass(frozen=True)
class AtlasPair:
    """Two atlases, and what they share: whether the model's weights, the data set and the build are the same, and how
    many texts are a token of both."""

    first: str
    second: str
    same_model: bool
    same_dataset: bool
    same_build: bool
    tokens: int
