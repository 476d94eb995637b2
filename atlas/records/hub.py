"""Hubs: neurons that are best for many tokens, tokens that are best for many neurons."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.units import NeuronRef, Token


@dataclass(frozen=True)
class HubNeuron:
    """A neuron by how many tokens it is the best neuron of; `share` of all tokens; `n_lists` the tokens among whose k
    best neurons it is."""

    neuron: NeuronRef
    hub_count: int
    share: float
    n_lists: int


@dataclass(frozen=True)
class HubToken:
    """A token by how many neurons it is the best token of; `share` of all neurons; `n_lists` the neurons among whose k
    best tokens it is."""

    token: Token
    hub_count: int
    share: float
    n_lists: int


@dataclass(frozen=True)
class Occurrence:
    """How k-occurrence is distributed: in how many of `n_lists` lists of the k best each of `n_units` units is.

    `counts` are (occurrence, units with it), ascending, 0 included; skewness is the third standardised moment, which
    is 0 where no unit is favoured (None: all are in equally many).
    """

    k: int
    n_units: int
    n_lists: int
    n_never: int
    greatest: int
    mean: float
    skewness: float | None
    counts: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class CentringRow:
    """A neuron, and the tokens whose best neuron it is, with the readout centred over the vocabulary and without."""

    neuron: NeuronRef
    mean_congruence: float
    n_centred: int
    n_uncentred: int


@dataclass(frozen=True)
class Centring:
    """What centring the readout over the vocabulary does to hubs.

    `applied`: whether the atlas's own congruence is centred; the other case is computed. `centred` and `uncentred` are
    the greatest hubs of each, `n_hubs` of each how many neurons are best for any token, and `n_uncertified` the tokens
    whose best neuron in the computed case could be one that was not looked at.
    """

    applied: bool
    n_tokens: int
    n_looked_at: int
    n_uncertified: int
    n_hubs_centred: int
    n_hubs_uncentred: int
    skewness_centred: float | None
    skewness_uncentred: float | None
    centred: tuple[CentringRow, ...]
    uncentred: tuple[CentringRow, ...]
