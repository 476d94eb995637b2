"""Drawing of cards: text, chips, bars and lines on a sheet of 1200 x 630 pixels, as SVG and PNG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

import vl_convert

from atlas.core.display import visible
from web.charts.theme import colours

WIDTH, HEIGHT, MARGIN = 1200, 630, 56

SERIF = "Liberation Serif, DejaVu Serif, serif"
SANS = "Liberation Sans, DejaVu Sans, sans-serif"
MONO = "Liberation Mono, DejaVu Sans Mono, monospace"

_MONO_WIDTH = 0.6
"""Width of a character of a monospaced font, in units of its size."""


# The installed fonts lack both marks, so the renderer would change the font of the whole line.
_MARKS = str.maketrans({"␣": "·", "↵": "¶"})


def colour(name: str) -> str:
    """A colour of the style sheet's light theme."""
    return colours()[name][0]


@dataclass(frozen=True)
class Card:
    """A finished card, as SVG."""

    svg: str

    def png(self) -> bytes:
        """The card as PNG, 1200 x 630."""
        return vl_convert.svg_to_png(self.svg, scale=1.0)


class Sheet:
    """A sheet to draw on; coordinates begin at the top left, and `card` returns the result."""

    def __init__(self, footer: str) -> None:
        self._parts = [
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{colour("paper")}"/>',
            f'<rect width="{WIDTH}" height="10" fill="{colour("accent")}"/>',
        ]
        self.text(MARGIN, HEIGHT - 34, "Neuron Atlas", 24, font=SERIF, weight=700, style="italic")
        self.text(WIDTH - MARGIN, HEIGHT - 34, footer, 20, fill="dim", anchor="end")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        fill: str = "ink",
        font: str = SANS,
        weight: int = 400,
        anchor: str = "start",
        style: str = "normal",
    ) -> None:
        """A line of text with its baseline at y."""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-family={quoteattr(font)} font-size="{size:g}" font-weight="{weight}" '
            f'font-style="{style}" text-anchor="{anchor}" fill="{colour(fill)}" xml:space="preserve">'
            f"{escape(visible(text).translate(_MARKS))}</text>"
        )

    def chips(self, x: float, y: float, words: Iterable[str], size: float, width: float) -> None:
        """Words in boxes, as many as fit the width."""
        end = x + width
        for word in words:
            label = word if len(word) <= 18 else word[:17] + "…"
            wide = len(label) * size * _MONO_WIDTH + 0.7 * size
            if x + wide > end:
                return
            self._parts.append(
                f'<rect x="{x:g}" y="{y - size:g}" width="{wide:g}" height="{1.4 * size:g}" rx="5" '
                f'fill="{colour("wash")}" stroke="{colour("rule")}"/>'
            )
            self.text(x + 0.35 * size, y, label, size, font=MONO)
            x += wide + 0.5 * size

    def marked_line(self, y: float, before: str, peak: str, after: str, size: float, fill: str) -> None:
        """A line of a concordance: the firing token on a coloured ground, a third of the way along."""
        step, middle = size * _MONO_WIDTH, MARGIN + 0.52 * (WIDTH - 2 * MARGIN)
        room_before, room_after = int((middle - MARGIN) / step), int((WIDTH - MARGIN - middle) / step)
        before, peak = before[-room_before:], peak[:room_after]
        after = after[: max(0, room_after - len(peak))]
        self._parts.append(
            f'<rect x="{middle:g}" y="{y - size:g}" width="{len(peak) * step:g}" height="{1.35 * size:g}" rx="4" '
            f'fill="{colour(fill)}" fill-opacity="0.45"/>'
        )
        self.text(middle, y, before, size, font=MONO, anchor="end", fill="dim")
        self.text(middle, y, peak, size, font=MONO, weight=700)
        self.text(middle + len(peak) * step, y, after, size, font=MONO, fill="dim")

    def bars(self, box: tuple[float, float, float, float], heights: Sequence[float], fills: Sequence[str]) -> None:
        """Bars side by side in a box (x, y, width, height); heights are fractions of the box."""
        x, y, width, height = box
        step = width / max(1, len(heights))
        for place, (fraction, fill) in enumerate(zip(heights, fills, strict=True)):
            tall = height * min(1.0, max(0.0, fraction))
            self._parts.append(
                f'<rect x="{x + place * step:.2f}" y="{y + height - tall:.2f}" width="{max(0.5, step - 0.6):.2f}" '
                f'height="{tall:.2f}" fill="{colour(fill)}"/>'
            )
        self.rule(x, y + height, x + width, y + height)

    def line(self, box: tuple[float, float, float, float], values: Sequence[float], fill: str) -> None:
        """A line through values, fractions of the box, evenly spaced; NaN interrupts it."""
        x, y, width, height = box
        step = width / max(1, len(values))
        points = [
            (x + (place + 0.5) * step, y + height * (1 - min(1.0, max(0.0, value))))
            for place, value in enumerate(values)
            if math.isfinite(value)
        ]
        path = " ".join(f"{'L' if place else 'M'}{a:.2f} {b:.2f}" for place, (a, b) in enumerate(points))
        self._parts.append(
            f'<path d="{path}" fill="none" stroke="{colour(fill)}" stroke-width="4" stroke-linejoin="round"/>'
        )

    def rule(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A thin line."""
        self._parts.append(f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{colour("rule")}" stroke-width="1.5"/>')

    def card(self) -> Card:
        """The finished card."""
        inner = "".join(self._parts)
        return Card(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">{inner}</svg>')
