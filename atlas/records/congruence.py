"""What the weights say: lists of congruent tokens and neurons, and exclusive pairs."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.units import NeuronRef, Token


@dataclass(frozen=True)
class CongruentToken:
    """A token in a neuron's list: 'top' highest congruence first, 'bottom' lowest first; rank from 1."""

    direction: str
    rank: int
    token: Token
    congruence: float


@dataclass(frozen=True)
class CongruentNeuron:
    """A neuron in a token's list: 'top' highest congruence first, 'bottom' lowest first; rank from 1."""

    direction: str
    rank: int
    neuron: NeuronRef
    congruence: float


@dataclass(frozen=True)
class InputToken:
    """A token that a neuron's input weights ('in') or gate ('gate') read most ('top') or least ('bottom')."""

    side: str
    direction: str
    rank: int
    token: Token
    value: float


@dataclass(frozen=True)
class ExclusivePair:
    """A neuron and a token that are each other's best ('top') or worst ('bottom'); rank by score from 1."""

    direction: str
    rank: int
    neuron: NeuronRef
    token: Token
    congruence: float
    token_gap: float
    neuron_gap: float
    score: float
    n_actual: int
    n_predicted: int


@dataclass(frozen=True)
class TokenExclusivity:
    """How far a token's best neuron leads the second (None: the model has one neuron)."""

    token: Token
    neuron: NeuronRef
    second_neuron: NeuronRef | None
    congruence: float
    neuron_gap: float | None
    n_actual: int
    n_predicted: int
