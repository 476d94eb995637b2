"""The card of any other page: its title and its description."""

from __future__ import annotations

import textwrap

from web.cards.svg import MARGIN, SERIF, Card, Sheet

_TITLE, _LINE = 38, 72
"""Characters in a line of the title and of the description."""


def plain_card(title: str, description: str, footer: str) -> Card:
    """The card of a page from its title and description."""
    sheet = Sheet(footer)
    y = 130.0
    for line in textwrap.wrap(title, _TITLE)[:3]:
        sheet.text(MARGIN, y, line, 56, font=SERIF, weight=700)
        y += 70
    y += 10
    for line in textwrap.wrap(description, _LINE)[:6]:
        sheet.text(MARGIN, y, line, 29, fill="dim")
        y += 42
    return sheet.card()
