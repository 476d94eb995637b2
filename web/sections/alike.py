"""Neurons whose weights point the same way."""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas.topics.spread import SIMILAR, SimilarNeuron, similar_neurons
from web.sections.section import Reading, Section
from web.site.page import doc

ALIKE = 8
"""Neurons shown at each end of the cosine."""


@dataclass(frozen=True, kw_only=True)
class Alike(
    Section, id="alike", heading="Similar neurons", absent="This atlas holds no weights to compare neurons by."
):
    """Neurons by the cosine of their weights with this one's; the page fetches them when they come into view."""

    sides: tuple[str, ...] = field(metadata=doc("Weights that neurons are compared by.", json=False))
    similar: tuple[SimilarNeuron, ...] = field(
        metadata=doc("In a frame: neurons whose output weights point most the same way.", json=False)
    )

    @classmethod
    def read(cls, reading: Reading) -> Alike:
        """The neurons most like one."""
        info = reading.atlas.info
        sides = (("out", "in", "gate") if info.gated else ("out", "in")) if info.has_weights else ()
        framed = reading.framed and info.has_weights
        similar = similar_neurons(reading.atlas, reading.neuron.neuron_id, "out", limit=ALIKE) if framed else []
        sql = SIMILAR["out"].shown(**reading.one, limit=ALIKE) if info.has_weights else None
        # The greatest come first, then as many of the least.
        return cls(sql=sql, sides=sides, similar=tuple(similar[:ALIKE]))

    @property
    def there(self) -> bool:
        """Whether the atlas holds weights."""
        return bool(self.sides)
