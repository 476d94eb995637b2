"""The card of a saved query: its title, its description and the statement."""

from __future__ import annotations

import textwrap

from web.cards.svg import HEIGHT, MARGIN, MONO, SERIF, Card, Sheet

_TITLE, _LINE, _CODE = 38, 72, 72
"""Characters in a line of the title, of the description and of the statement."""

_FOOT = HEIGHT - 90
"""Lowest place of the statement's last line, pixels from the top."""


def saved_card(title: str, description: str | None, sql: str, footer: str) -> Card:
    """The card of a saved query. It runs no query: the answer is on the page."""
    sheet = Sheet(footer)
    y = 120.0
    for line in textwrap.wrap(title, _TITLE)[:2]:
        sheet.text(MARGIN, y, line, 54, font=SERIF, weight=700)
        y += 64
    for line in textwrap.wrap(description or "", _LINE)[:2]:
        sheet.text(MARGIN, y, line, 28, fill="dim")
        y += 38
    y += 12
    lines = [part for line in sql.expandtabs(4).split("\n") for part in _parts(line)]
    room = int((_FOOT - y) // 33) + 1
    for line in lines if len(lines) <= room else [*lines[: room - 1], "…"]:
        sheet.text(MARGIN, y, line, 25, font=MONO)
        y += 33
    return sheet.card()


def _parts(line: str) -> list[str]:
    """Split a line into pieces that fit; an empty line stays."""
    return [line[start : start + _CODE] for start in range(0, len(line), _CODE)] or [""]
