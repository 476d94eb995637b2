"""The part of a neuron's page that says what the neuron does, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from atlas.topics.verdict import PREDICTION, Verdict
from web.sections.section import Reading, Section
from web.site.page import doc


@dataclass(frozen=True, kw_only=True)
class VerdictSection(Section, id="verdict", heading="Verdict"):
    """What a neuron does, as far as the atlas knows."""

    verdict: Verdict = field(metadata=doc("What it does, in one or two sentences, and its best prediction."))

    @classmethod
    def read(cls, reading: Reading) -> VerdictSection:
        """The verdict on one neuron."""
        return cls(sql=PREDICTION.shown(**reading.one), verdict=reading.verdict)

    @property
    def words(self) -> Markup:
        """Its sentences, the tokens in them as chips."""
        text = str(escape(self.verdict.text))
        return Markup(re.sub("“(.*?)”", r'<span class="chip">\1</span>', text))
