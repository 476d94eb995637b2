"""A prediction curve as small as a word, for lists: how often a token is predicted, by activation."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from atlas.core.bins import N_BINS
from atlas.topics.collection import LEAST
from atlas.topics.curve import CurvePoint

WIDTH, HEIGHT = 160, 40
"""Size of a drawing in its own units; a page scales it."""

_STEP = WIDTH / N_BINS
_TOP, _FOOT = 2, HEIGHT - 2


def spark_drawing(curve: Sequence[CurvePoint]) -> Markup:
    """The shares predicted, 0 to 100%, in the bins of at least LEAST positions, over all bins of activation, -512 and
    less to 512 and more, so that drawings of several neurons compare; a tick at activation 0. Empty without bins."""
    points = [
        (_STEP * (point.bin + 0.5), _FOOT - (_FOOT - _TOP) * point.predicted_fraction)
        for point in curve
        if point.n >= LEAST
    ]
    if not points:
        return Markup("")
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    last = points[-1][0]
    return Markup(
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
        f'<path class="grid" d="M0 {_FOOT}H{WIDTH}M{WIDTH / 2:g} {_TOP}V{_FOOT}"/>'
        f'<path class="area" d="M{points[0][0]:.1f} {_FOOT}L{line}L{last:.1f} {_FOOT}Z"/>'
        f'<path class="line" d="M{line}"/></svg>'
    )
