"""A study's card: its finding in words, the lens with its jump, and the neurons that stand out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from atlas.core.display import show_number, show_share
from atlas.topics.study.lens import lens_depth
from atlas.topics.study.records import LensJump, Study, StudyNeurons, StudyStep
from web.cards.svg import HEIGHT, MARGIN, MONO, SERIF, WIDTH, Card, Sheet

_LENS = (MARGIN, 330, 560, 190)
_CHIPS = 660.0
"""Left edge of the two tokens, pixels."""

_BARS = 720.0
"""Left edge of the neurons' bars, pixels."""


def study_card(
    study: Study, lens: Sequence[StudyStep], jumps: Sequence[LensJump], neurons: StudyNeurons, claim: str, footer: str
) -> Card:
    """The card of a study; `claim` is its finding in words."""
    sheet = Sheet(footer)
    sheet.text(MARGIN, 92, f"Study {study.name}", 50, font=SERIF, weight=700)
    sheet.chips(_CHIPS, 88, [study.answer_token.shown, study.other_token.shown], 32, WIDTH - MARGIN - _CHIPS)
    for place, line in enumerate(textwrap.wrap(claim, 88)[:5]):
        sheet.text(MARGIN, 140 + 33 * place, line, 23)
    # The post's variant, or else the first one.
    variant = "final_norm" if any(step.variant == "final_norm" for step in lens) else "own_norm"
    values = [step.value for step in sorted(lens, key=lens_depth) if step.variant == variant]
    if values:
        low, high = min(values), max(values)
        sheet.text(_LENS[0], 322, "lead of the answer, layer by layer", 20, fill="dim")
        sheet.line(_LENS, [(value - low) / ((high - low) or 1) for value in values], "accent")
        sheet.rule(_LENS[0], _LENS[1] + _LENS[3], _LENS[0] + _LENS[2], _LENS[1] + _LENS[3])
        for jump in jumps:
            if jump.variant == variant:
                rise = f"greatest rise in layer {jump.layer}, +{show_number(jump.after - jump.before, 3)}"
                sheet.text(_LENS[0], HEIGHT - 80, rise, 19, fill="dim")
    best = neurons.top[:5]
    if best:
        sheet.text(_BARS - 60, 322, "recovery by single neurons", 20, fill="dim")
        most = max(abs(item.recovery) for item in best) or 1.0
        for place, item in enumerate(best):
            y = 356 + 38 * place
            sheet.text(_BARS - 60, y, item.neuron.name, 21, font=MONO)
            box = (_BARS + 110, y - 17, 200 * abs(item.recovery) / most, 20)
            sheet.bars(box, [1.0], ["pos" if item.recovery > 0 else "neg"])
            sheet.text(WIDTH - MARGIN, y, show_share(item.recovery), 21, anchor="end")
    return sheet.card()
