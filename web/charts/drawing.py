"""Small charts as handwritten SVG, for pages that run no script: a few kilobytes each, drawn within a millisecond.

Their marks have classes instead of colours, so that one drawing serves the light and the dark theme. They contain only
numbers; the names of lines are beside them, in HTML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from atlas.core.display import show_edge
from atlas.core.stats import wilson
from atlas.topics.curve import Curve, HistogramBar
from web.charts.axes import LINEAR, labelled_powers, linear_part
from web.charts.chart import drawn_centre, drawn_edges
from web.charts.curve import base_rate
from web.charts.theme import SERIES

WIDTH, HEIGHT = 320, 165
"""Size of a drawing in its own units; a page scales it."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 6, 8, 22
_APART = 24
"""Least distance of two labels of the activation axis."""

_SHORT = {3: "k", 6: "M", 9: "G"}


def _bent(activation: float, linear: float) -> float:
    """The activation axis of the site's charts: about linear below `linear`, then all octaves are equally wide."""
    return math.copysign(math.log1p(abs(activation) / linear), activation)


class _Frame:
    """A drawing: the activation axis between two edges, and the marks on it."""

    def __init__(self, edges: Sequence[float], linear: float = LINEAR) -> None:
        self._linear = linear
        self._low, high = _bent(min(edges), linear), _bent(max(edges), linear)
        self._scale = (WIDTH - _LEFT - _RIGHT) / (high - self._low or 1.0)
        self._parts: list[str] = []
        # Zero first, then inwards: a label that would overlap another is left out.
        powers, placed = labelled_powers((_bent(2.0, linear) - _bent(1.0, linear)) * self._scale, linear), list[float]()
        for value in (0.0, *(sign * power for power in reversed(powers) for sign in (1, -1))):
            x = self.x(value)
            if not _LEFT <= x <= WIDTH - _RIGHT or any(abs(x - other) < _APART for other in placed):
                continue
            placed.append(x)
            edge = "end" if x > WIDTH - _RIGHT - 12 else "middle"
            self._parts.append(
                f'<path class="tick" d="M{x:.1f} {HEIGHT - _BOTTOM}v3"/>'
                f'<text x="{x:.1f}" y="{HEIGHT - 7}" text-anchor="{edge}">{show_edge(value)}</text>'
            )

    def x(self, activation: float) -> float:
        """Horizontal place of an activation."""
        return _LEFT + (_bent(activation, self._linear) - self._low) * self._scale

    @staticmethod
    def y(fraction: float) -> float:
        """Vertical place of a fraction of the height."""
        return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * min(1.0, max(0.0, fraction))

    def level(self, fraction: float, label: str) -> None:
        """A horizontal grid line with its label."""
        y = self.y(fraction)
        self._parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>'
            f'<text x="{_LEFT - 4}" y="{y + 3.5:.1f}" text-anchor="end">{label}</text>'
        )

    def bar(self, lower: float, upper: float, fraction: float, kind: str) -> None:
        """A bar over a bin."""
        x, y = self.x(lower), self.y(fraction)
        wide = max(0.5, self.x(upper) - x)
        self._parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{self.y(0) - y:.1f}"/>'
        )

    def path(self, kind: str, path: str) -> None:
        """A line."""
        self._parts.append(f'<path class="{kind}" d="{path}"/>')

    def svg(self) -> Markup:
        """The drawing; the page that shows it names it."""
        inner = "".join(self._parts)
        return Markup(f'<svg class="drawn" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{inner}</svg>')


def _counted(n: float) -> str:
    thousands = max((power for power in _SHORT if n >= 10**power), default=0)
    return f"{n / 10**thousands:g}{_SHORT.get(thousands, '')}"


def histogram_drawing(bars: Sequence[HistogramBar]) -> Markup:
    """How often the activation falls in each bin; counts on a logarithmic axis. Empty without bars."""
    if not bars:
        return Markup("")
    edges = [drawn_edges(bar.lower, bar.upper) for bar in bars]
    most = max(bar.n for bar in bars)
    frame = _Frame([edge for pair in edges for edge in pair])
    step = 1 + math.floor(math.log10(most)) // 4
    for power in range(0, math.floor(math.log10(most)) + 1, step):
        frame.level(math.log1p(10**power) / math.log1p(most), _counted(10**power))
    for bar, (lower, upper) in zip(bars, edges, strict=True):
        kind = "zero" if lower < 0 < upper else "pos" if lower > 0 else "neg"
        frame.bar(lower, upper, math.log1p(bar.n) / math.log1p(most), kind)
    return frame.svg()


def curves_drawing(curves: Sequence[Curve], kind: str = "predicted") -> Markup:
    """Fraction of positions, 0 to 100%, at which a token is 'predicted' or 'actual' by activation, up to six curves,
    with 95% Wilson intervals and dotted base rates; empty without curves.

    Pale bars are the positions behind the first curve's bins.
    """
    if not curves or not any(curve.points for curve in curves):
        return Markup("")
    edges = [edge for curve in curves for p in curve.points for edge in drawn_edges(p.lower, p.upper)]
    frame = _Frame(edges, linear_part(edges))
    most = max(point.n for point in curves[0].points)
    if len({curve.candidate.neuron.neuron_id for curve in curves}) == 1:
        for point in curves[0].points:
            frame.bar(*drawn_edges(point.lower, point.upper), math.log1p(point.n) / math.log1p(most), "counts")
    for fraction in (0.0, 0.25, 0.5, 0.75, 1.0):
        frame.level(fraction, f"{100 * fraction:g}%")
    for place, curve in reversed(list(enumerate(curves))):  # the first on top
        series = f"s{place % SERIES + 1}"
        points = [(frame.x(drawn_centre(p.lower, p.upper)), getattr(p, f"n_{kind}"), p.n) for p in curve.points]
        for x, k, n in points:
            if k:
                low, high = wilson(k, n)
                frame.path(f"interval {series}", f"M{x:.1f} {frame.y(low):.1f}V{frame.y(high):.1f}")
        k, n = base_rate(curve, kind)
        frame.path(f"rate {series}", f"M{_LEFT} {frame.y(k / n):.1f}H{WIDTH - _RIGHT}")
        line = [f"{x:.1f} {frame.y(k / n):.1f}" for x, k, n in points]
        frame.path(f"line {series}", "M" + "L".join(line))
        # Points are strokes of no length with round ends: one element for all of them.
        frame.path(f"points {series}", "".join(f"M{point}h0" for point in line))
    return frame.svg()
