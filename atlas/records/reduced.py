"""Congruence with hubs discounted: rankings by it, and what it does to hubs."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.hub import Occurrence
from atlas.records.units import NeuronRef, Token


@dataclass(frozen=True)
class ReducedPair:
    """A pair of a stored top list, by reduced congruence (view `reduced_congruence`)."""

    neuron: NeuronRef
    """The neuron."""
    token: Token
    """The token."""
    reduced: float
    """2 * congruence, less what is usual for the neuron and for the token: how far the pair is beyond both."""
    congruence: float
    """Their congruence."""
    rank: int
    """Place in the list by congruence, from 1."""


@dataclass(frozen=True)
class HubChange:
    """A neuron, and the tokens whose best neuron it is, by congruence and by reduced congruence."""

    neuron: NeuronRef
    """The neuron."""
    n_plain: int
    """Tokens whose best neuron it is by congruence."""
    n_reduced: int
    """Tokens whose best neuron it is by reduced congruence."""


@dataclass(frozen=True)
class ReducedHubs:
    """What ranking each token's neurons by reduced congruence does to hubs."""

    plain: Occurrence
    """How neurons' k-occurrence is distributed by congruence."""
    reduced: Occurrence
    """The same by reduced congruence."""
    n_tokens: int
    """Tokens of the vocabulary."""
    n_best_plain: int
    """Neurons that are the best of any token by congruence."""
    n_best_reduced: int
    """The same by reduced congruence."""
    greatest_plain: tuple[HubChange, ...]
    """The greatest hubs by congruence."""
    greatest_reduced: tuple[HubChange, ...]
    """The greatest hubs by reduced congruence."""
