"""The sections of a neuron's page, in its order."""

from __future__ import annotations

from web.sections.alike import Alike
from web.sections.causes import Causes
from web.sections.connections import Downstream, Upstream
from web.sections.fires import Fires
from web.sections.place import Kind, Numbers, Pairs, Place
from web.sections.predicts import Candidates, Predicts, Threshold
from web.sections.reads import Reads
from web.sections.section import Section
from web.sections.signs import Signs
from web.sections.studies import Studies
from web.sections.texts import Guard, Rest, Texts
from web.sections.verdict import VerdictSection
from web.sections.writes import Lists, Writes

SECTIONS: tuple[type[Section], ...] = (
    VerdictSection,
    Writes,
    Predicts,
    Texts,
    Causes,
    Threshold,
    Candidates,
    Fires,
    Guard,
    Signs,
    Reads,
    Upstream,
    Downstream,
    Alike,
    Studies,
    Pairs,
    Place,
    Kind,
    Numbers,
)

_STANDING_ALONE: tuple[type[Section], ...] = (*SECTIONS, Lists, Rest)

PARTS = {kind.id: kind for kind in _STANDING_ALONE}
"""By id: the sections, and what the page leaves folded of them."""
