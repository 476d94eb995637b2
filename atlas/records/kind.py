"""Kinds of neurons, by the moments of their congruence and by what they read."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.units import NeuronRef, Token


@dataclass(frozen=True)
class TokenDetector:
    """The one token whose embedding a neuron's input weights read far more than any other (view `token_detector`)."""

    token: Token
    """The token."""
    side: str
    """'in': the input weights read it. 'gate' (gated models): the gate's, which it opens."""
    direction: str
    """'top': the highest value. 'bottom' (gated models, side 'in'): the lowest, since the sign is a gauge there."""
    lead: float
    """How far it leads the second, over how far the second leads the twentieth."""


@dataclass(frozen=True)
class NeuronKind:
    """What kind of neuron it is (view `neuron_kind`), and the token it detects."""

    neuron: NeuronRef
    """The neuron."""
    kind: str | None
    """'prediction', 'suppression' or 'partition'; None: none of them."""
    kurtosis: float | None
    """Kurtosis of its congruence over the vocabulary, 3 for a normal distribution; None: it has no spread."""
    skewness: float | None
    """Skewness of that, in gated models on the side on which it fires strongly; None: it has no spread."""
    spread: float | None
    """Standard deviation of its congruence for an output norm of 1, over the model's mean; None: no output weights."""
    hub: bool
    """Whether it is the best neuron of far more tokens than is usual."""
    dead: bool
    """Whether every counted activation lies in the zero bin."""
    detects: TokenDetector | None
    """The token that it detects; None: it detects none."""


@dataclass(frozen=True)
class LayerKinds:
    """How many neurons of a layer are of each kind; one may be of several but for the first four."""

    layer: int
    """Block, from 0."""
    prediction: int
    """Prediction neurons."""
    suppression: int
    """Suppression neurons."""
    partition: int
    """Partition neurons."""
    other: int
    """Neurons of none of these."""
    hub: int
    """Hubs."""
    detector: int
    """Token detectors."""
    dead: int
    """Dead neurons."""
