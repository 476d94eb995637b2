"""Texts that say the same around the firing token are shown once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from atlas.records import Example

BEFORE = 8
"""Tokens before the firing one that must agree, with it, for two texts to be alike."""


@dataclass(frozen=True)
class Group:
    """An example, and those after it in the list that say the same around the firing token."""

    shown: Example
    alike: tuple[Example, ...]


def _key(example: Example) -> tuple[int, ...]:
    peak = example.position - example.window_start
    return tuple(token.token_id for token in example.tokens[max(0, peak - BEFORE) : peak + 1])


def group_alike(examples: Iterable[Example]) -> list[Group]:
    """The examples in their order, each with those alike that came after it: for display only, nothing is dropped."""
    groups: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        groups.setdefault(_key(example), []).append(example)
    return [Group(members[0], tuple(members[1:])) for members in groups.values()]
