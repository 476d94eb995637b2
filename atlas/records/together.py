"""What several neurons have in common."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.activity import Example
from atlas.records.units import Token


@dataclass(frozen=True)
class SharedToken:
    """A token in several neurons' lists: its congruence with each, in their order; None where it is in no list."""

    token: Token
    congruences: tuple[float | None, ...]


@dataclass(frozen=True)
class SharedText:
    """A text that fires several neurons: each one's example of it, in their order; None where it has none."""

    text_id: int
    examples: tuple[Example | None, ...]
