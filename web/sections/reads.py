"""The part of a neuron's page about the tokens that it reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas.topics.neuron import INPUT_TOKENS, InputToken, input_tokens
from web.sections.section import Reading, Section
from web.site.page import doc


@dataclass(frozen=True, kw_only=True)
class Reads(Section, id="reads", heading="What it reads", later=True):
    """Tokens whose embedding its input weights and gate read most and least."""

    input_tokens: tuple[InputToken, ...] = field(
        metadata=doc("Tokens whose embedding its input weights and gate read most and least.")
    )

    @classmethod
    def read(cls, reading: Reading) -> Reads:
        """The lists of one neuron."""
        tokens = input_tokens(reading.atlas, reading.neuron.neuron_id)
        return cls(sql=INPUT_TOKENS.shown(**reading.one), input_tokens=tuple(tokens))

    @property
    def lists(self) -> dict[str, list[InputToken]]:
        """The lists by heading."""
        lists: dict[str, list[InputToken]] = {}
        for item in self.input_tokens:
            side, end = "Input" if item.side == "in" else "Gate", "most" if item.direction == "top" else "least"
            lists.setdefault(f"{side}, {end}", []).append(item)
        return lists
