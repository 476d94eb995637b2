"""The four cases of the signs of a gated neuron's two sides."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.units import Token


@dataclass(frozen=True)
class SignCase:
    """One of the four cases: how often it is, how large the activation, and where it is largest (`sign_case`)."""

    gate_positive: bool
    """Whether the gate's pre-activation is above 0."""
    in_positive: bool
    """Whether the input side is above 0. The activation is >= 0 where both are alike."""
    n: int
    """Counted positions."""
    share: float
    """Their share of all counted positions, 0 to 1."""
    activation_mean: float
    """Mean activation over them."""
    activation_extreme: float
    """The activation of the greatest magnitude among them."""
    text_id: int
    """Text in which that is."""
    position: int
    """Its position there, BOS being 0."""
    before: str
    """Up to 16 tokens of that text before it."""
    token: Token
    """The token at it."""
    after: str
    """Up to 8 tokens after it."""
