"""The signs of a gated neuron's gate and input."""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas.topics.sign_case import SIGN_CASES, SignCase, has_sign_cases, sign_cases
from web.sections.section import Reading, Section
from web.site.page import doc


@dataclass(frozen=True, kw_only=True)
class Signs(Section, id="signs", heading="Signs of gate and input", absent="They were not counted."):
    """The four cases of the signs of its gate and input."""

    sign_cases: tuple[SignCase, ...] = field(
        metadata=doc("The four cases of the signs of its gate and input; none: they were not counted.")
    )

    @classmethod
    def read(cls, reading: Reading) -> Signs:
        """The cases of one neuron."""
        cases = sign_cases(reading.atlas, reading.neuron.neuron_id) if has_sign_cases(reading.atlas) else ()
        return cls(sql=SIGN_CASES.shown(**reading.one), sign_cases=tuple(cases))

    @property
    def there(self) -> bool:
        """Whether the cases were counted."""
        return bool(self.sign_cases)
