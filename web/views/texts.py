"""The texts of a neuron's page: grouped, de-duplicated, in one of three widths, with the illusion guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atlas import Atlas
from atlas.core.bins import bin_interval
from atlas.core.units import Token
from atlas.topics.curve import HistogramBar
from atlas.topics.example import (
    Example,
    Group,
    IllusionGuard,
    IntervalExamples,
    IntervalShare,
    group_alike,
    illusion_guard,
    interval_examples,
    neuron_examples,
    whole_texts,
)
from atlas.topics.neuron import Neuron
from web.site.page import query_choice

CONTEXTS = ("snippet", "window", "text")
"""Widths in which texts are shown: a line of a concordance, the stored window, the whole text."""


@dataclass(frozen=True)
class Interval:
    """The ordinary texts of one octave: how many of all positions have an activation in it, and how many of the texts
    fire on a token on which the maximum texts fire too."""

    found: IntervalExamples
    groups: tuple[Group, ...]
    n_positions: int
    fraction: float
    share: IntervalShare | None

    def as_json(self) -> dict[str, Any]:
        """For JSON: the examples as stored, without the grouping that only serves display."""
        found = self.found
        return {
            "interval": found.interval,
            "lower": found.lower,
            "upper": found.upper,
            "n_positions": self.n_positions,
            "fraction": self.fraction,
            "share": self.share,
            "examples": found.examples,
        }


@dataclass(frozen=True)
class Texts:
    """A neuron's texts. `context` is the width shown, `wholes` the whole texts by id where that width asks for them;
    `scale` the activation of full colour."""

    context: str
    maximum: tuple[Group, ...]
    minimum: tuple[Group, ...]
    intervals: tuple[Interval, ...]
    guard: IllusionGuard | None
    wholes: dict[int, tuple[Token, ...]]
    scale: float

    def as_json(self) -> dict[str, Any]:
        """For JSON: the examples as stored."""

        def flat(groups: Sequence[Group]) -> list[Example]:
            examples = [example for group in groups for example in (group.shown, *group.alike)]
            return sorted(examples, key=lambda example: example.rank)

        return {
            "maximum": flat(self.maximum),
            "minimum": flat(self.minimum),
            "intervals": self.intervals,
            "guard": self.guard,
        }


def read_texts() -> str:
    """The width that the request asks for.

    Raises:
        BadRequestError: there is no such width.
    """
    return query_choice("context", CONTEXTS, CONTEXTS[0])


def texts_of(atlas: Atlas, neuron: Neuron, bars: Sequence[HistogramBar], context: str) -> Texts:
    """A neuron's texts, to be shown in a width; `bars` is its histogram."""
    found = neuron_examples(atlas, neuron.neuron_id)
    maximum = [example for example in found if example.kind == "max"]
    guard = illusion_guard(maximum, found)
    shares = {share.interval: share for share in guard.shares} if guard else {}
    n_in: dict[int, int] = {}
    for bar in bars:
        n_in[bin_interval(bar.bin)] = n_in.get(bin_interval(bar.bin), 0) + bar.n
    total = sum(n_in.values()) or 1
    intervals = tuple(
        Interval(
            group,
            tuple(group_alike(group.examples)),
            n_in.get(group.interval, 0),
            n_in.get(group.interval, 0) / total,
            shares.get(group.interval),
        )
        for group in interval_examples(found)
    )
    return Texts(
        context=context,
        maximum=tuple(group_alike(maximum)),
        minimum=tuple(group_alike(example for example in found if example.kind == "min")),
        intervals=intervals,
        guard=guard,
        wholes=whole_texts(atlas, (e.text_id for e in found)) if context == "text" else {},
        scale=max(abs(neuron.activation_min), abs(neuron.activation_max)),
    )
