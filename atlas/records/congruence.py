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


@dataclass(frozen=True, kw_only=True)
class RankingFilter:
    """What is left in a ranking of pairs or tokens; None does not filter.

    `every` keeps special tokens and tokens that never really come next; `token` is a text that the token's contains,
    case aside; `layer_min` and `layer_max` are of the neuron; `min_score` is of what ranks: a pair's score, a token's
    neuron gap.
    """

    every: bool = False
    layer_min: int | None = None
    layer_max: int | None = None
    token: str | None = None
    min_predicted: int | None = None
    min_score: float | None = None


@dataclass(frozen=True)
class SpreadBar:
    """Tokens (or neurons) `n` whose congruence lies in lower <= congruence < upper; the last bar includes its end."""

    lower: float
    upper: float
    n: int


@dataclass(frozen=True)
class TokenSpread:
    """Congruence of one neuron with every token of the vocabulary: bars of equal width, extremes and moments."""

    bars: tuple[SpreadBar, ...]
    top: tuple[CongruentToken, ...]
    bottom: tuple[CongruentToken, ...]
    n: int
    mean: float
    std: float


@dataclass(frozen=True)
class LayerSpread:
    """Congruence of one token with every neuron of a layer: quantiles at 0, 1, 25, 50, 75, 99 and 100%."""

    layer: int
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class NeuronSpread:
    """Congruence of one token with every neuron of the model: layers, and the outliers, best first."""

    layers: tuple[LayerSpread, ...]
    outliers: tuple[CongruentNeuron, ...]
