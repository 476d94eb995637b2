"""The texts that fire a neuron, and whether the strongest of them represent the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from atlas.core.bins import bin_interval
from atlas.topics.example import (
    GUARD,
    TEXTS,
    Example,
    Group,
    IllusionGuard,
    IntervalExamples,
    IntervalShare,
    group_alike,
    illusion_guard,
    interval_examples,
)
from web.sections.section import Reading, Section
from web.site.page import doc

STRONGEST = 5
"""Lines that are shown before the others are asked for."""


@dataclass(frozen=True)
class Interval:
    """The ordinary texts of one octave: how many of all positions have an activation in it, and how many of the texts
    fire on a token on which the maximum texts fire too."""

    texts: IntervalExamples
    groups: tuple[Group, ...]
    n_positions: int
    fraction: float
    share: IntervalShare | None

    def as_json(self) -> dict[str, Any]:
        """For JSON: the examples as stored, without the grouping that only serves display."""
        return {
            "interval": self.texts.interval,
            "lower": self.texts.lower,
            "upper": self.texts.upper,
            "n_positions": self.n_positions,
            "fraction": self.fraction,
            "share": self.share,
            "examples": self.texts.examples,
        }


@dataclass(frozen=True)
class StoredTexts:
    """A neuron's texts of every kind, each kind read when it is asked for."""

    reading: Reading

    @cached_property
    def guard(self) -> IllusionGuard | None:
        """How far the greatest are from the ordinary."""
        return illusion_guard(self.reading.examples("max"), self.reading.examples("interval"))

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """The ordinary texts by octave, the highest first."""
        shares = {share.interval: share for share in self.guard.shares} if self.guard else {}
        n_in: dict[int, int] = {}
        for bar in self.reading.bars:
            n_in[bin_interval(bar.bin)] = n_in.get(bin_interval(bar.bin), 0) + bar.n
        total = sum(n_in.values()) or 1
        return tuple(
            Interval(
                texts,
                tuple(group_alike(texts.examples)),
                n_in.get(texts.interval, 0),
                n_in.get(texts.interval, 0) / total,
                shares.get(texts.interval),
            )
            for texts in interval_examples(self.reading.examples("interval"))
        )

    def as_json(self) -> dict[str, Any]:
        """For JSON: the examples as stored."""
        return {
            "maximum": self.reading.examples("max"),
            "minimum": self.reading.examples("min"),
            "intervals": self.intervals,
            "guard": self.guard,
        }


@dataclass(frozen=True)
class End:
    """The texts of the greatest, or of the least, activations."""

    heading: str
    groups: tuple[Group, ...]


def _end(heading: str, examples: Iterable[Example]) -> End:
    return End(heading, tuple(group_alike(examples)))


@dataclass(frozen=True, kw_only=True)
class Texts(Section, id="texts", heading="Texts", absent="The atlas keeps no texts for this neuron."):
    """The texts of its strongest activations."""

    texts: StoredTexts = field(metadata=doc("Its texts, with the illusion guard."))
    scale: float = field(metadata=doc("The activation of full colour.", json=False))

    @classmethod
    def read(cls, reading: Reading) -> Texts:
        """The texts of one neuron."""
        neuron = reading.neuron
        return cls(
            sql=TEXTS.shown(**reading.one),
            texts=StoredTexts(reading),
            scale=max(abs(neuron.activation_min), abs(neuron.activation_max)),
        )

    @property
    def there(self) -> bool:
        """Whether texts are stored."""
        return bool(self.ends)

    @cached_property
    def ends(self) -> Sequence[End]:
        """Both ends, the one of the greater magnitude first."""
        greatest, least = self.texts.reading.examples("max"), self.texts.reading.examples("min")
        ends = [_end("Greatest activations", greatest), _end("Least activations", least)]
        if greatest and least and -least[0].activation > greatest[0].activation:
            ends.reverse()
        return [end for end in ends if end.groups]

    @property
    def strongest(self) -> tuple[Group, ...]:
        """The first lines of the stronger end."""
        return self.ends[0].groups[:STRONGEST] if self.ends else ()

    @property
    def folded(self) -> type[Section]:
        """What the page leaves folded."""
        return Rest

    @property
    def rest(self) -> Sequence[End]:
        """What is left of both ends."""
        if not self.ends:
            return ()
        first = End(self.ends[0].heading, self.ends[0].groups[STRONGEST:])
        return [end for end in (first, *self.ends[1:]) if end.groups]


@dataclass(frozen=True, kw_only=True)
class Rest(Texts, id="rest", heading="The rest of its texts"):
    """The texts that the page leaves folded."""


@dataclass(frozen=True, kw_only=True)
class Guard(
    Section,
    id="guard",
    heading="Do the top texts represent the rest?",
    absent="The atlas keeps too few texts for this neuron.",
    later=True,
):
    """The illusion guard, and ordinary texts by octave."""

    texts: StoredTexts = field(metadata=doc("Its texts.", json=False))
    scale: float = field(metadata=doc("The activation of full colour.", json=False))

    @classmethod
    def read(cls, reading: Reading) -> Guard:
        """The ordinary texts of one neuron."""
        return cls(sql=GUARD.shown(**reading.one), texts=reading[Texts].texts, scale=reading[Texts].scale)

    @property
    def there(self) -> bool:
        """Whether ordinary texts are stored."""
        return bool(self.texts.intervals)
