"""Families of tokens: those that differ in spelling alone, and those that share best neurons."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.activity import Curve, CurvePoint
from atlas.records.units import NeuronRef, Token


@dataclass(frozen=True)
class FamilyMember:
    """A token of a family, and how often it occurs."""

    token: Token
    """The token."""
    n_predicted: int
    """Counted positions at which it is the model's top prediction."""
    n_actual: int
    """Counted positions after which it really comes next."""


@dataclass(frozen=True)
class FamilyTail:
    """Predictions at the strongest positions of a neuron: whole bins from the end until they hold 100."""

    n: int
    """Positions in these bins."""
    edge: float
    """Where they begin: activation at least this, or below it where `direction` of the family is 'bottom'."""
    n_token: int
    """Of these, positions at which the token itself is predicted."""
    n_family: int
    """Of these, positions at which any member is predicted."""


@dataclass(frozen=True)
class FamilyCurve:
    """Predictions of a neuron's best (or worst) token, alone and with its family, against activation."""

    neuron: NeuronRef
    """The neuron."""
    token: Token
    """Its best token, or its worst."""
    direction: str
    """'top': its best token; 'bottom' (gated models): its worst."""
    members: tuple[FamilyMember, ...]
    """The token's family by id, itself included: equal after stripping space at both ends and letter case."""
    alone: Curve
    """The token's own curve."""
    points: tuple[CurvePoint, ...]
    """The family's: a position counts once if any member is predicted (really next)."""
    tail: FamilyTail
    """Both at the neuron's strongest positions on the side on which it writes the token."""


@dataclass(frozen=True)
class KinToken:
    """A token that shares best neurons with another."""

    token: Token
    """The token."""
    likeness: float
    """Weighted Jaccard index of the two lists of 5 best neurons, 0 to 1: a neuron weighs ln(d_vocab / tokens in whose
    lists it is), so that hubs count little."""
    shared: tuple[NeuronRef, ...]
    """The neurons in both lists, in the order of the other token's."""
    same_family: bool
    """Whether they differ in spelling alone."""
