"""Axes and colours that several charts share: activation, layers, counts, the lines that a chart compares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt

from atlas.core.bins import MAX_EXPONENT, MIN_EXPONENT

SHORT = "format(datum.value, '~s')"
"""Expression for an axis's labels: 1k, 10k. The axis's own format would use one prefix for all labels."""

WHOLE = "datum.value == floor(datum.value) ? datum.value : ''"
"""Expression for an axis's labels: only whole numbers have one."""

POWERS = tuple(2.0**exponent for exponent in range(MIN_EXPONENT, MAX_EXPONENT + 2))
"""Magnitudes that have a tick on the activation axis: every power of two from the zero bin's edge on."""

LINEAR = POWERS[0]
"""Magnitude below which the activation axis of a histogram is about linear: the zero bin's edge."""

_ROOM, _ROOM_BELOW_1 = (26, 13), (42, 20)
"""Width of an octave, pixels, from which each power of two has a label, or each second; narrower: each third. Labels
below 1 are longer, and closer together."""

_NEAR = "max(abs(domain('x')[0]), abs(domain('x')[1])) < 0.5"
_OCTAVE = f"abs(scale('x', 2) - scale('x', 1)) / ({_NEAR} ? 2 : 1)"
_STEP, _STEP_BELOW_1 = (f"({_OCTAVE} >= {one} ? 1 : {_OCTAVE} >= {two} ? 2 : 3)" for one, two in (_ROOM, _ROOM_BELOW_1))


def linear_part(edges: Iterable[float]) -> float:
    """Magnitude below which the axis of curves between some edges is about linear: curves rise far from zero, so what
    lies near it gets less room than in a histogram, where most activations are."""
    return 0.125 if max(map(abs, edges), default=0.0) >= 2 else LINEAR


def least_label(linear: float) -> float:
    """The least power of two that has a label: smaller ones stand too close together."""
    return max(0.125, 2 * linear)


def labelled_powers(octave: float, linear: float) -> tuple[float, ...]:
    """The powers of two that have a label where an octave is `octave` pixels wide."""
    steps = [1 if octave >= one else 2 if octave >= two else 3 for one, two in (_ROOM, _ROOM_BELOW_1)]
    return tuple(
        power
        for power, exponent in zip(POWERS, range(MIN_EXPONENT, MAX_EXPONENT + 2), strict=True)
        if power >= least_label(linear) and exponent % steps[power < 1] == 0
    )


def activation_axis(field: str, domain: Any = alt.Undefined, linear: str = str(LINEAR)) -> alt.X:
    """The activation axis: about linear below `linear` (an expression), then all octaves are equally wide. Zero has a
    line, each power of two a tick, and a label where there is room: 1, 2, 4, 8 or 1, 4, 16 or 1, 8, 64."""
    values = [*(-power for power in reversed(POWERS)), 0, *POWERS]
    step = f"(abs(datum.value) < 1 ? {_STEP_BELOW_1} : {_STEP})"
    label = (
        f"datum.value === 0 ? '0' : (abs(datum.value) >= max(0.125, 2 * {linear}) || {_NEAR}) "
        f"&& round(log(abs(datum.value)) / LN2) % {step} === 0 ? format(datum.value, '.3~g') : ''"
    )
    return alt.X(
        field,
        type="quantitative",
        title="activation",
        scale=alt.Scale(type="symlog", constant=alt.ExprRef(linear), nice=False, zero=False, domain=domain),
        axis=alt.Axis(
            values=values,
            tickCount=len(values),
            labelExpr=label,
            labelOverlap=False,
            labelFlush=True,
            grid=True,
            gridOpacity=alt.condition("datum.value === 0", alt.value(1), alt.value(0)),
        ),
    )


def layer_axis(field: str = "layer:Q") -> alt.X:
    """The axis of layers: whole numbers only."""
    axis = alt.Axis(labelExpr=WHOLE, tickMinStep=1, grid=False)
    return alt.X(field, title="layer", axis=axis, scale=alt.Scale(nice=False, padding=10))


def counts_axis(of: str, top: int = 0, **axis: Any) -> alt.Y:
    """A logarithmic axis of counts that begins at 0, below `top` pixels of room."""
    axis = {"values": [0, *(10.0**power for power in range(10))], "labelOverlap": "greedy"} | axis
    scale = alt.Scale(type="symlog", constant=1, rangeMax=top or alt.Undefined)
    return alt.Y("n:Q", title=of, scale=scale, axis=alt.Axis(labelExpr=SHORT, **axis))


def series_colour(names: Any = alt.Undefined) -> alt.Color:
    """One colour for each label in the data, in the order of `names` or of the rows. Exported files have a legend; a
    page has the chart's key instead (see `Series`)."""
    return alt.Color("label:N", title=None, sort=None, scale=alt.Scale(range="category", domain=names))


def sides_colour(field: str, *names: str) -> alt.Color:
    """The colours of the negative side, of neither, and of the positive side, for three values of a field."""
    return alt.Color(field, legend=None, scale=alt.Scale(domain=names, range="diverging"))
