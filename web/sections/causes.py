"""What a neuron does to predictions: the tokens that it supports and opposes, by attribution."""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas.topics.attribution import (
    NEURON_CAUSES,
    NeuronAttribution,
    NeuronCause,
    neuron_attribution,
    neuron_causes,
)
from atlas.topics.reliability import reliability, reliability_words
from web.sections.section import Reading, Section
from web.site.page import doc

FIRST = 6
"""Rows of a list that are not folded."""


@dataclass(frozen=True, kw_only=True)
class Causes(Section, id="causes", heading="What it supports and opposes", absent="This atlas has no attributions."):
    """The predictions that it supports and opposes where they are made."""

    attribution: NeuronAttribution | None = field(
        metadata=doc("What it does for predictions on the mean; null: attribution was off.")
    )
    causes: tuple[NeuronCause, ...] = field(
        metadata=doc("What it does where the model predicts a token: those that it supports most first.")
    )
    reliability: str = field(metadata=doc("How well attributions estimate exact ablation.", json=False))

    @classmethod
    def read(cls, reading: Reading) -> Causes:
        """The causes of one neuron."""
        atlas, neuron_id = reading.atlas, reading.neuron.neuron_id
        attribution = next(iter(neuron_attribution(atlas, neuron_id)), None)
        causes = neuron_causes(atlas, neuron_id) if attribution else []
        return cls(
            sql=NEURON_CAUSES.shown(**reading.one),
            attribution=attribution,
            causes=tuple(causes),
            reliability=reliability_words(reliability(atlas)),
        )

    @property
    def there(self) -> bool:
        """Whether the atlas has attributions."""
        return self.attribution is not None

    @property
    def first(self) -> int:
        """Rows of a list that are not folded."""
        return FIRST

    @property
    def lists(self) -> list[tuple[str, list[NeuronCause]]]:
        """What it supports and what it opposes, the strongest first, those that are clear before the others."""
        supports = [cause for cause in self.causes if cause.attribution > 0]
        opposes = [cause for cause in reversed(self.causes) if cause.attribution < 0]
        lists = [("Supports", supports), ("Opposes", opposes)]
        return [(name, sorted(causes, key=lambda cause: not cause.clear)) for name, causes in lists]
