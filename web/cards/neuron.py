"""A neuron's card: the tokens it writes, its activation histogram, its best pair's prediction curve, its top text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from atlas.core.display import show_range, show_share
from atlas.topics.curve import Curve, HistogramBar
from atlas.topics.example import Example
from atlas.topics.neuron import CongruentToken, Neuron
from web.cards.svg import HEIGHT, MARGIN, SERIF, WIDTH, Card, Sheet

_LEFT = (MARGIN, 290, 500, 150)
_RIGHT = (WIDTH - MARGIN - 500, 290, 500, 150)


def _fill(bar: HistogramBar) -> str:
    if bar.lower is None or (bar.upper is not None and bar.upper <= 0):
        return "neg"
    return "pos" if bar.lower >= 0 else "zero"


def neuron_card(
    neuron: Neuron,
    headline: str,
    best: Sequence[CongruentToken],
    bars: Sequence[HistogramBar],
    curve: Curve | None,
    top: Example | None,
    footer: str,
) -> Card:
    """The card of a neuron; `headline` goes on from its name, `curve` is its best pair's, `top` its strongest text."""
    sheet = Sheet(footer)
    sheet.text(MARGIN, 108, neuron.name, 68, font=SERIF, weight=700)
    sheet.text(WIDTH - MARGIN, 108, headline, 40, font=SERIF, anchor="end")
    sheet.text(MARGIN, 178, "writes", 26, fill="dim")
    sheet.chips(MARGIN + 96, 178, (item.token.shown for item in best), 28, WIDTH - 2 * MARGIN - 96)
    most = max((math.log1p(bar.n) for bar in bars), default=0.0) or 1.0
    sheet.text(_LEFT[0], 268, "how often it has each activation (log)", 21, fill="dim")
    sheet.bars(_LEFT, [math.log1p(bar.n) / most for bar in bars], [_fill(bar) for bar in bars])
    if bars:
        first, last = bars[0], bars[-1]
        sheet.text(_LEFT[0], 466, show_range(first.lower, first.upper), 18, fill="dim")
        sheet.text(_LEFT[0] + _LEFT[2], 466, show_range(last.lower, last.upper), 18, fill="dim", anchor="end")
    if curve is not None:
        token = curve.candidate.token.shown
        most_predicted = show_share(max((point.predicted_fraction for point in curve.points), default=0.0), 2)
        sheet.text(_RIGHT[0], 268, f"predicts {token} by activation, up to {most_predicted}", 21, fill="dim")
        sheet.bars(_RIGHT, [math.log1p(point.n) / most for point in curve.points], ["counts"] * len(curve.points))
        sheet.line(_RIGHT, [point.predicted_fraction for point in curve.points], "accent")
    if top is not None:
        peak = top.position - top.window_start
        words = [token.in_text for token in top.tokens]
        fill = "pos-fill" if top.activation >= 0 else "neg-fill"
        sheet.marked_line(HEIGHT - 108, "".join(words[:peak]), words[peak], "".join(words[peak + 1 :]), 24, fill)
    return sheet.card()
