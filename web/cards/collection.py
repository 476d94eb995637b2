"""A list's card: its title, and its first neurons with what the verdict on each begins with."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from atlas.topics.glance import Glance
from web.cards.svg import HEIGHT, MARGIN, MONO, SERIF, WIDTH, Card, Sheet

_TITLE = 40
"""Characters in a line of the title."""

_STEP, _FOOT = 50, HEIGHT - 100
"""Height of a neuron's line, and the lowest place of the last one, pixels."""


def list_card(title: str, neurons: Sequence[Glance], footer: str) -> Card:
    """The card of a list of neurons."""
    sheet = Sheet(footer)
    y = 108.0
    for line in textwrap.wrap(title, _TITLE)[:2]:
        sheet.text(MARGIN, y, line, 54, font=SERIF, weight=700)
        y += 62
    room = int((_FOOT - y) // _STEP) + 1
    listed = neurons if len(neurons) <= room else neurons[: room - 1]
    for item in listed:
        sheet.text(MARGIN, y, item.neuron.name, 27, font=MONO)
        sheet.text(MARGIN + 200, y, item.verdict.headline, 25)
        sheet.chips(MARGIN + 560, y, (token.token.shown for token in item.tokens), 23, WIDTH - 2 * MARGIN - 560)
        y += _STEP
    if len(listed) < len(neurons):
        sheet.text(MARGIN, y, f"and {len(neurons) - len(listed)} more", 24, fill="dim")
    return sheet.card()
