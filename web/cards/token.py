"""A token's card: its best and worst neurons, and its best neuron's curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

from atlas.core.display import show_number
from atlas.topics.curve import Curve
from atlas.topics.token import CongruentNeuron, TokenRow
from web.cards.svg import MARGIN, MONO, SERIF, WIDTH, Card, Sheet

_BOX = (WIDTH - MARGIN - 520, 270, 520, 220)


def token_card(
    row: TokenRow, best: Sequence[CongruentNeuron], worst: Sequence[CongruentNeuron], curve: Curve | None, footer: str
) -> Card:
    """The card of a token; `curve` is that of its first candidate pair."""
    sheet = Sheet(footer)
    sheet.text(MARGIN, 104, "Token", 40, font=SERIF, weight=700)
    sheet.chips(MARGIN + 150, 104, [row.token.shown], 46, WIDTH - 2 * MARGIN - 150)
    counts = (
        f"predicted at {show_number(row.n_predicted)} positions, the actual next token at {show_number(row.n_actual)}"
    )
    sheet.text(MARGIN, 170, counts, 26, fill="dim")
    for column, (head, neurons, fill) in enumerate((("best neurons", best, "pos"), ("worst", worst, "neg"))):
        x = MARGIN + 260 * column
        sheet.text(x, 250, head, 22, fill="dim")
        for place, item in enumerate(neurons[:6]):
            sheet.text(x, 290 + 40 * place, item.neuron.name, 23, font=MONO)
            sheet.text(x + 225, 290 + 40 * place, show_number(item.congruence), 23, fill=fill, anchor="end")
    if curve is not None:
        name = curve.candidate.neuron.name
        most = max((math.log1p(point.n) for point in curve.points), default=0.0) or 1.0
        sheet.text(_BOX[0], 250, f"predicted, by activation of {name}", 22, fill="dim")
        sheet.bars(_BOX, [math.log1p(point.n) / most for point in curve.points], ["counts"] * len(curve.points))
        sheet.line(_BOX, [point.predicted_fraction for point in curve.points], "accent")
    return sheet.card()
