"""The tokens a neuron writes."""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas.topics.neuron import NEURON_TOKENS, CongruentToken
from web.sections.section import Reading, Section
from web.site.page import doc


@dataclass(frozen=True, kw_only=True)
class Writes(Section, id="writes", heading="What it writes"):
    """Its best and its worst tokens by congruence."""

    best_tokens: tuple[CongruentToken, ...] = field(
        metadata=doc("Tokens its output weights are most congruent with, best first.")
    )
    worst_tokens: tuple[CongruentToken, ...] = field(metadata=doc("Tokens they are least congruent with, worst first."))
    side: str | None = field(metadata=doc("The side of zero on which it fires; null for a dead neuron.", json=False))
    gated: bool = field(
        metadata=doc("Whether the MLP is gated: activations are signed and the bottom end means as much as the top.")
    )
    has_weights: bool = field(metadata=doc("Whether its congruence with every token can be shown.", json=False))

    @classmethod
    def read(cls, reading: Reading) -> Writes:
        """The lists of one neuron."""
        best, worst = (
            tuple(token for token in reading.tokens if token.direction == direction) for direction in ("top", "bottom")
        )
        return cls(
            sql=NEURON_TOKENS.shown(**reading.one),
            best_tokens=best,
            worst_tokens=worst,
            side=reading.verdict.side,
            gated=reading.atlas.info.gated,
            has_weights=reading.atlas.info.has_weights,
        )

    @property
    def more(self) -> str:
        """What the page leaves folded, in words."""
        return f"All {len(self.best_tokens)} best and {len(self.worst_tokens)} worst tokens"

    @property
    def folded(self) -> type[Section]:
        """What that is."""
        return Lists

    @property
    def lists(self) -> list[tuple[str, tuple[CongruentToken, ...]]]:
        """The lists with their headings: in a gated MLP that of the side on which it fires first, then the other."""
        best, worst = ("Best tokens", self.best_tokens), ("Worst tokens", self.worst_tokens)
        if self.side != "negative":
            return [best, worst]
        return [("Worst tokens, which it writes below zero", self.worst_tokens), best]

    @property
    def greatest(self) -> float:
        """The length of a full bar."""
        return max((abs(item.congruence) for item in (*self.best_tokens[:1], *self.worst_tokens[:1])), default=1.0)


@dataclass(frozen=True, kw_only=True)
class Lists(Writes, id="lists", heading="Its best and its worst tokens"):
    """Both lists in full."""
