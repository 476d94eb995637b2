"""The studies in which a neuron stands out."""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas.topics.study.records import StandsOut
from atlas.topics.study.study import STANDS_OUT, stands_out
from web.sections.section import Reading, Section
from web.site.page import doc


@dataclass(frozen=True, kw_only=True)
class Studies(Section, id="studies", heading="Studies", absent="It stands out in none."):
    """Recorded experiments in which it stands out."""

    studies: tuple[StandsOut, ...] = field(metadata=doc("The studies it stands out in, with its numbers there."))

    @classmethod
    def read(cls, reading: Reading) -> Studies:
        """The studies of one neuron."""
        neuron_id = reading.neuron.neuron_id
        return cls(sql=STANDS_OUT.shown(neuron=neuron_id), studies=tuple(stands_out(reading.atlas, neuron_id)))

    @property
    def there(self) -> bool:
        """Whether it stands out in any."""
        return bool(self.studies)
